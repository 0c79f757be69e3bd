# Part of loading.pyx: bool, text, bytea, numbers, uuid and json. Doubles the marked loaders of `anyq/types/bool.py`,
# `anyq/types/string.py`, `anyq/types/numeric.py` (and `anyq/types/_numeric_binary.py`), `anyq/types/uuid.py`
# and `anyq/types/json.py`.

# -- bool, text, bytes

cdef object load_bool_text(LoadTwin self, Bytes data, Py_ssize_t size):
    if size == 1 and data[0] == b"t":
        return True
    if size == 1 and data[0] == b"f":
        return False
    return slow(self, data, size)


cdef object load_bool(LoadTwin self, Bytes data, Py_ssize_t size):
    if size == 1 and data[0] <= 1:
        return data[0] == 1
    return slow(self, data, size)


cdef object load_text(LoadTwin self, Bytes data, Py_ssize_t size):
    text = anyq_text(<const char *>data, size)
    return slow(self, data, size) if text is None else text


cdef object load_bytes(LoadTwin self, Bytes data, Py_ssize_t size):
    return PyBytes_FromStringAndSize(<const char *>data, size)


cdef unsigned char HEX[256]
"""The value of a hexadecimal digit, 255 for what is none."""
for _code in range(256):
    HEX[_code] = int(chr(_code), 16) if chr(_code) in "0123456789abcdefABCDEF" else 255


cdef object load_bytea_text(LoadTwin self, Bytes data, Py_ssize_t size):
    cdef Py_ssize_t i
    cdef unsigned char high, low, bad = 0
    cdef unsigned char *out
    if size < 2 or size & 1 or data[0] != b"\\" or data[1] != b"x":
        return slow(self, data, size)
    value = PyBytes_FromStringAndSize(NULL, size // 2 - 1)
    out = <unsigned char *>PyBytes_AS_STRING(value)
    for i in range(size // 2 - 1):
        high = HEX[data[2 * i + 2]]
        low = HEX[data[2 * i + 3]]
        bad |= high | low
        out[i] = <unsigned char>(high << 4) | low
    # A digit is less than 16.
    return value if bad < 16 else slow(self, data, size)


# -- numbers

cdef object load_int_text(LoadTwin self, Bytes data, Py_ssize_t size):
    cdef Py_ssize_t i = 1 if size > 1 and data[0] == b"-" else 0
    cdef unsigned char digit
    cdef int64_t number = 0
    # 18 digits are certain to fit.
    if not 0 < size - i <= 18:
        return slow(self, data, size)
    negative = i == 1
    while i < size:
        digit = <unsigned char>(data[i] - 48)
        if digit > 9:
            return slow(self, data, size)
        number = number * 10 + digit
        i += 1
    return PyLong_FromLongLong(-number if negative else number)


cdef object load_int2(LoadTwin self, Bytes data, Py_ssize_t size):
    return PyLong_FromLong(<int16_t>get_uint16(data)) if size == 2 else slow(self, data, size)


cdef object load_int4(LoadTwin self, Bytes data, Py_ssize_t size):
    return PyLong_FromLong(<int32_t>get_uint32(data)) if size == 4 else slow(self, data, size)


cdef object load_int8(LoadTwin self, Bytes data, Py_ssize_t size):
    return PyLong_FromLongLong(<int64_t>get_uint64(data)) if size == 8 else slow(self, data, size)


cdef object load_oid(LoadTwin self, Bytes data, Py_ssize_t size):
    return PyLong_FromUnsignedLong(get_uint32(data)) if size == 4 else slow(self, data, size)


cdef object load_xid8(LoadTwin self, Bytes data, Py_ssize_t size):
    return PyLong_FromUnsignedLongLong(get_uint64(data)) if size == 8 else slow(self, data, size)


cdef bint parse_double(Bytes data, Py_ssize_t size, double *number) noexcept:
    """Read a finite decimal number; return False if it is something else."""
    cdef char text[48]
    cdef char *stop = NULL
    cdef Py_ssize_t i
    if not 0 < size < 48:
        return False
    for i in range(size):
        # The end is only known to the parser by a zero byte, so it needs a copy anyway.
        if not (48 <= data[i] <= 57 or data[i] == b"." or data[i] == b"-" or data[i] == b"e" or data[i] == b"+"):
            return False
        text[i] = <char>data[i]
    text[size] = 0
    return anyq_to_double(text, &stop, number) and stop == text + size


cdef object load_float8_text(LoadTwin self, Bytes data, Py_ssize_t size):
    cdef double number
    if parse_double(data, size, &number):
        return PyFloat_FromDouble(number)
    return slow(self, data, size)


cdef object load_float4_text(LoadTwin self, Bytes data, Py_ssize_t size):
    cdef double number
    if parse_double(data, size, &number) and not isinf(<float>number):
        return PyFloat_FromDouble(<float>number)
    return slow(self, data, size)


cdef object load_float4(LoadTwin self, Bytes data, Py_ssize_t size):
    cdef uint32_t bits
    cdef float number
    if size != 4:
        return slow(self, data, size)
    bits = get_uint32(data)
    memcpy(&number, &bits, 4)
    return PyFloat_FromDouble(number)


cdef object load_float8(LoadTwin self, Bytes data, Py_ssize_t size):
    cdef uint64_t bits
    cdef double number
    if size != 8:
        return slow(self, data, size)
    bits = get_uint64(data)
    memcpy(&number, &bits, 8)
    return PyFloat_FromDouble(number)


cdef object load_numeric_text(LoadTwin self, Bytes data, Py_ssize_t size):
    cdef Py_ssize_t i
    for i in range(size):
        if not (48 <= data[i] <= 57 or data[i] == b"." or data[i] == b"-"):
            return slow(self, data, size)
    try:
        return PyObject_CallOneArg(Decimal, anyq_ascii(<const char *>data, size))
    except ArithmeticError:
        return slow(self, data, size)


cdef enum:
    MOST_DIGITS = 32  # of base 10000
    MOST_WEIGHT = 32
    MOST_SCALE = 256


cdef object load_numeric(LoadTwin self, Bytes data, Py_ssize_t size):
    # A Decimal has no faster constructor than the one from text, so that is written here: all digits up to the
    # units, and `scale` digits of the fraction.
    cdef char text[2 + 4 * (MOST_WEIGHT + 1) + MOST_SCALE + 4]
    cdef Py_ssize_t ndigits, weight, scale, i, stop, written = 0
    cdef uint16_t sign
    if size < 8:
        return slow(self, data, size)
    ndigits = get_uint16(data)
    weight = <int16_t>get_uint16(data + 2)
    sign = get_uint16(data + 4)
    scale = get_uint16(data + 6)
    if (
        ndigits > MOST_DIGITS or size != 8 + 2 * ndigits or (sign != 0 and sign != 0x4000)
        or not -MOST_WEIGHT <= weight <= MOST_WEIGHT or scale > MOST_SCALE
    ):
        return slow(self, data, size)
    for i in range(ndigits):
        if get_uint16(data + 8 + 2 * i) > 9999:
            return slow(self, data, size)
    if sign:
        text[0] = b"-"
        written = 1
    if weight < 0:
        text[written] = b"0"
        written += 1
    # The groups of digits before the first one that was sent, and after the last one, are zeros.
    for i in range(weight + 1):
        write_group(text + written, get_uint16(data + 8 + 2 * i) if i < ndigits else 0)
        written += 4
    if scale:
        text[written] = b"."
        written += 1
        stop = written + scale
        i = weight + 1
        while written < stop:
            write_group(text + written, get_uint16(data + 8 + 2 * i) if 0 <= i < ndigits else 0)
            written += 4
            i += 1
        written = stop
    if sign:
        # Minus zero, which the server has not: so it is no matter how long this takes.
        for i in range(1, written):
            if text[i] != b"0" and text[i] != b".":
                break
        else:
            return slow(self, data, size)
    return PyObject_CallOneArg(Decimal, anyq_ascii(text, written))


cdef inline void write_group(char *text, uint32_t group) noexcept nogil:
    text[0] = <char>(48 + group // 1000)
    text[1] = <char>(48 + group // 100 % 10)
    text[2] = <char>(48 + group // 10 % 10)
    text[3] = <char>(48 + group % 10)


# -- uuid

cdef PyObject *UUID_TYPE = <PyObject *>UUID
cdef object SAFE_UNKNOWN = SafeUUID.unknown
cdef PyObject *UUID_INT = <PyObject *>UUID.int
cdef PyObject *UUID_IS_SAFE = <PyObject *>UUID.is_safe
_alive = (UUID, UUID.int, UUID.is_safe)


cdef object load_uuid(LoadTwin self, Bytes data, Py_ssize_t size):
    if size != 16:
        return slow(self, data, size)
    number = anyq_uint128(data)
    # The class refuses assignments, so its slots are set as its own __init__ does it.
    value = anyq_new(UUID_TYPE)
    anyq_set_slot(UUID_INT, value, <PyObject *>number)
    anyq_set_slot(UUID_IS_SAFE, value, <PyObject *>SAFE_UNKNOWN)
    return value


cdef object load_uuid_text(LoadTwin self, Bytes data, Py_ssize_t size):
    cdef unsigned char binary[16]
    cdef unsigned char bad = 0, high, low
    cdef Py_ssize_t i, at = 0
    if size != 36:
        return slow(self, data, size)
    for i in range(16):
        if i == 4 or i == 6 or i == 8 or i == 10:
            if data[at] != b"-":
                return slow(self, data, size)
            at += 1
        high = HEX[data[at]]
        low = HEX[data[at + 1]]
        bad |= high | low
        binary[i] = <unsigned char>(high << 4) | low
        at += 2
    return load_uuid(self, binary, 16) if bad < 16 else slow(self, data, size)


# -- json

cdef object JSON_LOADS = json.loads
cdef object SCAN_JSON = json.JSONDecoder().scan_once
"""What `json.loads` runs at its heart. The rest of it looks for white space and forgotten options."""


cdef object load_json(LoadTwin self, Bytes data, Py_ssize_t size):
    return parse_json(self, data, size, 0)


cdef object load_jsonb(LoadTwin self, Bytes data, Py_ssize_t size):
    if size == 0 or data[0] != 1:
        return slow(self, data, size)
    return parse_json(self, data, size, 1)


cdef object parse_json(LoadTwin self, Bytes data, Py_ssize_t size, Py_ssize_t start):
    global PASS
    text = anyq_text(<const char *>data + start, size - start)
    if text is None:
        return slow(self, data, size)
    # Asked for at each value, as it may be set at any time.
    loads = self.owner.loads
    if loads is not JSON_LOADS:
        PASS = 0
        return PyObject_CallOneArg(loads, text)
    try:
        value, stop = SCAN_JSON(text, 0)
        if stop == len(text):
            return value
    except (ValueError, StopIteration, RecursionError):
        pass
    return slow(self, data, size)
