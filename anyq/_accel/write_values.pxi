# Part of copy_rows.pyx: where rows are written to, and text, bool, bytea and numbers as they are written there. Doubles
# `anyq/adapt/copy_text.py` (escape) and the marked dumpers of `anyq/types/bool.py`, `anyq/types/string.py` and
# `anyq/types/numeric.py`.
#
# A function that writes an object writes its length before it in binary format. It returns 0, having written nothing,
# where the object is not as usual.

# -- where rows are written to

cdef struct Out:
    PyObject *array  # the bytearray
    char *data
    Py_ssize_t used
    Py_ssize_t room


cdef inline char *reserve(Out *out, Py_ssize_t size) except NULL:
    """Return where so many bytes may be written; `used` is for the caller to move."""
    if out.room - out.used < size:
        # Some more, as it costs nothing: the array has always more memory than it tells.
        PyByteArray_Resize(<object>out.array, out.used + size + 64)
        out.data = PyByteArray_AS_STRING(<object>out.array)
        out.room = PyByteArray_GET_SIZE(<object>out.array)
    return out.data + out.used


cdef int look_again(Out *out) except -1:
    """Find the array where it is now: others have run."""
    if PyByteArray_GET_SIZE(<object>out.array) != out.room:
        raise RuntimeError("the rows of a COPY were changed while a value was dumped")
    out.data = PyByteArray_AS_STRING(<object>out.array)
    return 0


cdef inline void put_uint32(char *data, uint32_t value) noexcept nogil:
    data[0] = <char>(value >> 24)
    data[1] = <char>(value >> 16)
    data[2] = <char>(value >> 8)
    data[3] = <char>value


cdef inline void put_uint64(char *data, uint64_t value) noexcept nogil:
    put_uint32(data, <uint32_t>(value >> 32))
    put_uint32(data + 4, <uint32_t>value)


cdef inline int put_value32(Out *out, uint32_t value) except -1:
    cdef char *to = reserve(out, 8)
    put_uint32(to, 4)
    put_uint32(to + 4, value)
    out.used += 8
    return 1


cdef inline int put_value64(Out *out, uint64_t value) except -1:
    cdef char *to = reserve(out, 12)
    put_uint32(to, 8)
    put_uint64(to + 4, value)
    out.used += 12
    return 1


# -- text that is escaped

cdef Py_ssize_t SHORT = 4096
"""Text that is longer is looked through before, for how much room it needs."""


cdef inline char letter_of(unsigned char code) noexcept nogil:
    """Return what stands behind the backslash for a backslash or a control character from 8 to 13."""
    return b"\\" if code == b"\\" else (<const char *>b"btnvfr")[code - 8]


cdef inline bint is_special(unsigned char code) noexcept nogil:
    return code == b"\\" or <unsigned char>(code - 8) <= 5


cdef int put_escaped(const char *data, Py_ssize_t size, Out *out) except -1:
    """Write text in an encoding that is ASCII-safe; return 0 if it has a NUL."""
    cdef Py_ssize_t i = 0, count, room = 2 * size
    cdef unsigned char code
    cdef char *to
    if size > SHORT:
        room = size
        while i < size:
            if size - i >= 8:
                count = anyq_first_special(data + i)
                i += count
                if count == 8:
                    continue
            room += is_special(<unsigned char>data[i])
            i += 1
        i = 0
    to = reserve(out, room + 8)
    while i < size:
        if size - i >= 8:
            memcpy(to, data + i, 8)
            count = anyq_first_special(data + i)
            to += count
            i += count
            if count == 8:
                continue
        code = <unsigned char>data[i]
        if is_special(code):
            to[0] = b"\\"
            to[1] = letter_of(code)
            to += 2
        elif code == 0:
            return 0
        else:
            to[0] = <char>code
            to += 1
        i += 1
    out.used = to - out.data
    return 1


cdef int put_wide(object text, Out *out, Py_ssize_t extra, bint escaped) except -1:
    """Write a str that is not ASCII as UTF-8; return 0 if it has a NUL or a surrogate.

    :param extra: how many bytes are left free in front of it.
    """
    cdef int kind = PyUnicode_KIND(text)
    cdef void *data = PyUnicode_DATA(text)
    cdef Py_ssize_t i, size = PyUnicode_GET_LENGTH(text)
    cdef uint32_t code
    # A character of one byte takes two, one of two bytes three, one of four bytes four at most; and two if escaped.
    cdef char *to = reserve(out, extra + size * (2 if kind == 1 else 3 if kind == 2 else 4)) + extra
    for i in range(size):
        code = PyUnicode_READ(kind, data, i)
        if code < 0x80:
            if escaped and is_special(<unsigned char>code):
                to[0] = b"\\"
                to[1] = letter_of(<unsigned char>code)
                to += 2
                continue
            if code == 0:
                return 0
            to[0] = <char>code
            to += 1
        elif code < 0x800:
            to[0] = <char>(0xC0 | (code >> 6))
            to[1] = <char>(0x80 | (code & 0x3F))
            to += 2
        elif code < 0x10000:
            if 0xD800 <= code < 0xE000:
                return 0
            to[0] = <char>(0xE0 | (code >> 12))
            to[1] = <char>(0x80 | ((code >> 6) & 0x3F))
            to[2] = <char>(0x80 | (code & 0x3F))
            to += 3
        else:
            to[0] = <char>(0xF0 | (code >> 18))
            to[1] = <char>(0x80 | ((code >> 12) & 0x3F))
            to[2] = <char>(0x80 | ((code >> 6) & 0x3F))
            to[3] = <char>(0x80 | (code & 0x3F))
            to += 4
    out.used = to - out.data
    return 1


cdef int write_str_text(object obj, Out *out) except -1:
    if not PyUnicode_CheckExact(obj):
        return 0
    if anyq_is_ascii(obj):
        return put_escaped(<const char *>PyUnicode_DATA(obj), PyUnicode_GET_LENGTH(obj), out)
    return put_wide(obj, out, 0, True)


cdef int write_str(object obj, Out *out) except -1:
    cdef Py_ssize_t size, start = out.used
    cdef char *to
    if not PyUnicode_CheckExact(obj):
        return 0
    if not anyq_is_ascii(obj):
        if PyUnicode_GET_LENGTH(obj) > MOST_BYTES // 4 or not put_wide(obj, out, 4, False):
            return 0
        put_uint32(out.data + start, <uint32_t>(out.used - start - 4))
        return 1
    size = PyUnicode_GET_LENGTH(obj)
    if size > MOST_BYTES or memchr(PyUnicode_DATA(obj), 0, size) != NULL:
        return 0
    to = reserve(out, 4 + size)
    put_uint32(to, <uint32_t>size)
    memcpy(to + 4, PyUnicode_DATA(obj), size)
    out.used += 4 + size
    return 1


# -- bool and bytes

cdef int write_bool(object obj, Out *out) except -1:
    cdef char *to
    if obj is not True and obj is not False:
        return 0
    to = reserve(out, 5)
    put_uint32(to, 1)
    to[4] = obj is True
    out.used += 5
    return 1


cdef int write_bool_text(object obj, Out *out) except -1:
    if obj is not True and obj is not False:
        return 0
    reserve(out, 1)[0] = b"t" if obj is True else b"f"
    out.used += 1
    return 1


cdef int write_bytes(object obj, Out *out) except -1:
    cdef Py_ssize_t size
    cdef char *to
    if not PyBytes_CheckExact(obj) or PyBytes_GET_SIZE(obj) > MOST_BYTES:
        return 0
    size = PyBytes_GET_SIZE(obj)
    to = reserve(out, 4 + size)
    put_uint32(to, <uint32_t>size)
    memcpy(to + 4, PyBytes_AS_STRING(obj), size)
    out.used += 4 + size
    return 1


cdef const char *HEX_DIGITS = b"0123456789abcdef"


cdef inline char *put_hex(char *to, const unsigned char *data, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(size):
        to[0] = HEX_DIGITS[data[i] >> 4]
        to[1] = HEX_DIGITS[data[i] & 15]
        to += 2
    return to


cdef int write_bytes_text(object obj, Out *out) except -1:
    cdef char *to
    if not PyBytes_CheckExact(obj):
        return 0
    to = reserve(out, 3 + 2 * PyBytes_GET_SIZE(obj))
    memcpy(to, b"\\\\x", 3)
    put_hex(to + 3, <const unsigned char *>PyBytes_AS_STRING(obj), PyBytes_GET_SIZE(obj))
    out.used += 3 + 2 * PyBytes_GET_SIZE(obj)
    return 1


# -- numbers

cdef int write_int2(object obj, Out *out) except -1:
    cdef long long value = 0
    cdef char *to
    if not PyLong_CheckExact(obj) or not anyq_fits(obj, &value) or not -0x8000 <= value <= 0x7FFF:
        return 0
    to = reserve(out, 6)
    put_uint32(to, 2)
    to[4] = <char>(value >> 8)
    to[5] = <char>value
    out.used += 6
    return 1


cdef int write_int4(object obj, Out *out) except -1:
    cdef long long value = 0
    if not PyLong_CheckExact(obj) or not anyq_fits(obj, &value) or not -0x8000_0000LL <= value <= 0x7FFF_FFFFLL:
        return 0
    return put_value32(out, <uint32_t>value)


cdef int write_int8(object obj, Out *out) except -1:
    cdef long long value = 0
    if not PyLong_CheckExact(obj) or not anyq_fits(obj, &value):
        return 0
    return put_value64(out, <uint64_t>value)


cdef int write_int(object obj, Out *out) except -1:
    """Write an int as the first of int2, int4 and int8 that it fits in."""
    return write_int2(obj, out) or write_int4(obj, out) or write_int8(obj, out)


cdef int put_number(long long value, Out *out) except -1:
    cdef char text[24]
    cdef char *start = text + 24
    cdef uint64_t rest = <uint64_t>value if value >= 0 else 0 - <uint64_t>value
    while True:
        start -= 1
        start[0] = <char>(48 + rest % 10)
        rest //= 10
        if rest == 0:
            break
    if value < 0:
        start -= 1
        start[0] = b"-"
    memcpy(reserve(out, 24), start, text + 24 - start)
    out.used += text + 24 - start
    return 1


cdef int write_int_text(object obj, Out *out) except -1:
    cdef long long value = 0
    if not PyLong_CheckExact(obj) or not anyq_fits(obj, &value):
        return 0
    return put_number(value, out)


cdef int write_float8(object obj, Out *out) except -1:
    cdef double number
    cdef uint64_t bits
    if not PyFloat_CheckExact(obj):
        return 0
    number = PyFloat_AS_DOUBLE(obj)
    memcpy(&bits, &number, 8)
    return put_value64(out, bits)


cdef enum:
    MOST_PLACES = 6


cdef double POWERS[MOST_PLACES + 1]
for _places in range(MOST_PLACES + 1):
    POWERS[_places] = 10**_places


cdef int put_short_float(double number, Out *out) except -1:
    """Write a number of few decimal places as repr() does; return 0 if it is none.

    Where an integer below 1e15, divided by a power of ten, gives the number, it has the digits of the only decimal of
    so few that does: so there is no shorter one.
    """
    cdef double size = -number if number < 0 else number
    cdef int64_t digits
    cdef int places
    cdef char *to
    if not 1e-4 <= size < 1e15:
        return 0
    for places in range(MOST_PLACES + 1):
        if size * POWERS[places] >= 1e15:
            return 0
        digits = <int64_t>(size * POWERS[places] + 0.5)
        if <double>digits / POWERS[places] == size:
            break
    else:
        return 0
    if places == 0:
        put_number(-digits if number < 0 else digits, out)
        memcpy(reserve(out, 2), b".0", 2)
        out.used += 2
        return 1
    if digits % 10 == 0:
        # One place less would have done, but for a product that was rounded.
        return 0
    if number < 0:
        reserve(out, 1)[0] = b"-"
        out.used += 1
    put_number(digits // <int64_t>POWERS[places], out)
    to = reserve(out, 1 + MOST_PLACES)
    to[0] = b"."
    digits = digits % <int64_t>POWERS[places]
    out.used += 1 + places
    while places:
        to[places] = <char>(48 + digits % 10)
        digits //= 10
        places -= 1
    return 1


cdef int write_float_text(object obj, Out *out) except -1:
    cdef char *text
    cdef Py_ssize_t size = 0
    if not PyFloat_CheckExact(obj):
        return 0
    if put_short_float(PyFloat_AS_DOUBLE(obj), out):
        return 1
    text = PyOS_double_to_string(PyFloat_AS_DOUBLE(obj), b"r", 0, Py_DTSF_ADD_DOT_0, NULL)
    try:
        while text[size]:
            size += 1
        memcpy(reserve(out, size), text, size)
        out.used += size
    finally:
        PyMem_Free(text)
    return 1


cdef enum:
    MOST_DIGITS = 120
    MOST_GROUPS = 32  # of four digits
    MOST_EXPONENT = 999


cdef struct Digits:
    bint negative
    Py_ssize_t count  # of digits, without zeros in front; 0 for zero
    Py_ssize_t scale  # of digits behind the point
    Py_ssize_t exponent  # the power of ten that the last digit counts
    char digit[MOST_DIGITS]


cdef bint parse_decimal(object text, Digits *digits) except -1:
    """Read the text of a Decimal; return False if it is no number, or a long one."""
    cdef const char *data = <const char *>PyUnicode_DATA(text)
    cdef Py_ssize_t i = 0, size = PyUnicode_GET_LENGTH(text), exponent = 0, start
    cdef bint point = False, minus
    if not anyq_is_ascii(text) or size == 0 or size > MOST_DIGITS:
        return False
    digits.count = digits.scale = 0
    digits.negative = data[0] == b"-"
    i = digits.negative
    while i < size and data[i] != b"E":
        if data[i] == b".":
            point = True
        elif not 48 <= data[i] <= 57:
            return False
        else:
            digits.scale += point
            if digits.count or data[i] != 48:
                digits.digit[digits.count] = data[i] - 48
                digits.count += 1
        i += 1
    if i < size:
        i += 1
        minus = i < size and data[i] == b"-"
        if i < size and (data[i] == b"-" or data[i] == b"+"):
            i += 1
        start = i
        while i < size:
            if not 48 <= data[i] <= 57 or i - start > 3:
                return False
            exponent = exponent * 10 + (data[i] - 48)
            i += 1
        if i == start or exponent > MOST_EXPONENT:
            return False
        if minus:
            exponent = -exponent
    digits.exponent = exponent - digits.scale
    digits.scale = max(0, -digits.exponent)
    return True


cdef int write_decimal(object obj, Out *out) except -1:
    """Write a Decimal in the binary format of numeric, see `anyq/types/_numeric_binary.py`."""
    cdef Digits digits
    cdef uint16_t groups[MOST_GROUPS]
    cdef Py_ssize_t i, power, first = 0, group, count = 0
    cdef char *to
    if type(obj) is not DECIMAL or not parse_decimal(str(obj), &digits):
        return 0
    if digits.count:
        # The power of ten of each digit tells which group of four it is in, counted from the first.
        first = (digits.count - 1 + digits.exponent + 4000) // 4
        count = first - (digits.exponent + 4000) // 4 + 1
        for i in range(count):
            groups[i] = 0
        for i in range(digits.count):
            power = digits.count - 1 - i + digits.exponent + 4000
            group = first - power // 4
            power = power % 4
            groups[group] += <uint16_t>(digits.digit[i] * (1 if power == 0 else 10 if power == 1 else 100 if power == 2 else 1000))
        while groups[count - 1] == 0:
            count -= 1
        first -= 1000
    to = reserve(out, 12 + 2 * count)
    put_uint32(to, <uint32_t>(8 + 2 * count))
    put_uint32(to + 4, <uint32_t>((count << 16) | <uint16_t>first))
    put_uint32(to + 8, <uint32_t>((0x4000_0000 if digits.negative and count else 0) | digits.scale))
    for i in range(count):
        to[12 + 2 * i] = <char>(groups[i] >> 8)
        to[13 + 2 * i] = <char>groups[i]
    out.used += 12 + 2 * count
    return 1


cdef int write_decimal_text(object obj, Out *out) except -1:
    cdef const char *data
    cdef Py_ssize_t size
    if type(obj) is not DECIMAL:
        return 0
    text = str(obj)
    if not anyq_is_ascii(text):
        return 0
    data = <const char *>PyUnicode_DATA(text)
    size = PyUnicode_GET_LENGTH(text)
    # NaN, sNaN and Infinity are letters.
    if size == 0 or data[size - 1] > 57 or (size > 3 and data[1] > 57 and data[1] != b"E"):
        return 0
    memcpy(reserve(out, size), data, size)
    out.used += size
    return 1
