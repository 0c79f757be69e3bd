# Part of dumping.pyx: bool, text, bytea, numbers, dates and times, and uuid. Doubles the marked dumpers of
# `anyq/types/bool.py`, `anyq/types/string.py`, `anyq/types/numeric.py`, `anyq/types/_datetime_dumpers.py` and
# `anyq/types/uuid.py`.

# -- bool, text, bytes

cdef int write_bool(DumpTwin self, object obj, Writer *out) except -1:
    return put(out, obj is True, 1) if obj is True or obj is False else 0


cdef int write_bool_text(DumpTwin self, object obj, Writer *out) except -1:
    return put(out, b"t" if obj is True else b"f", 1) if obj is True or obj is False else 0


cdef object dump_text(DumpTwin self, object obj):
    cdef const char *data
    cdef Py_ssize_t size
    if not PyUnicode_CheckExact(obj):
        return slow(self, obj)
    if anyq_is_ascii(obj):
        data = anyq_ascii_data(obj)
        size = PyUnicode_GET_LENGTH(obj)
        if memchr(data, 0, size) != NULL:
            return slow(self, obj)
        return PyBytes_FromStringAndSize(data, size)
    try:
        value = PyUnicode_AsUTF8String(obj)
    except UnicodeEncodeError:
        return slow(self, obj)
    if memchr(PyBytes_AS_STRING(value), 0, PyBytes_GET_SIZE(value)) != NULL:
        return slow(self, obj)
    return value


cdef int write_text(DumpTwin self, object obj, Writer *out) except -1:
    cdef const char *data
    cdef Py_ssize_t size
    if not PyUnicode_CheckExact(obj):
        return 0
    if not anyq_is_ascii(obj):
        value = dump_text(self, obj)
        look_again(out)
        return put_bytes(out, PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value)) if PyBytes_CheckExact(value) else 0
    data = anyq_ascii_data(obj)
    size = PyUnicode_GET_LENGTH(obj)
    return put_bytes(out, data, size) if memchr(data, 0, size) == NULL else 0


cdef int write_bytes(DumpTwin self, object obj, Writer *out) except -1:
    return put_bytes(out, PyBytes_AS_STRING(obj), PyBytes_GET_SIZE(obj)) if PyBytes_CheckExact(obj) else 0


cdef object dump_bytes(DumpTwin self, object obj):
    return obj if PyBytes_CheckExact(obj) else slow(self, obj)


# -- numbers

cdef int write_int2(DumpTwin self, object obj, Writer *out) except -1:
    cdef long long value = 0
    if PyLong_CheckExact(obj) and anyq_fits(obj, &value) and -0x8000 <= value <= 0x7FFF:
        return put(out, <uint64_t>value, 2)
    return 0


cdef int write_int4(DumpTwin self, object obj, Writer *out) except -1:
    cdef long long value = 0
    if PyLong_CheckExact(obj) and anyq_fits(obj, &value) and -0x8000_0000LL <= value <= 0x7FFF_FFFFLL:
        return put(out, <uint64_t>value, 4)
    return 0


cdef int write_int8(DumpTwin self, object obj, Writer *out) except -1:
    cdef long long value = 0
    if PyLong_CheckExact(obj) and anyq_fits(obj, &value):
        return put(out, <uint64_t>value, 8)
    return 0


cdef char *write_int(char *end, long long value) noexcept nogil:
    """Write a number that ends at `end`; return where it begins, at most 20 bytes before."""
    cdef uint64_t rest = <uint64_t>value if value >= 0 else 0 - <uint64_t>value
    while True:
        end -= 1
        end[0] = <char>(48 + rest % 10)
        rest //= 10
        if rest == 0:
            break
    if value < 0:
        end -= 1
        end[0] = b"-"
    return end


cdef int write_int_text(DumpTwin self, object obj, Writer *out) except -1:
    cdef long long value = 0
    cdef char text[24]
    cdef char *start
    if PyLong_CheckExact(obj) and anyq_fits(obj, &value):
        start = write_int(text + 24, value)
        return put_bytes(out, start, text + 24 - start)
    return 0


cdef int write_float8(DumpTwin self, object obj, Writer *out) except -1:
    cdef double number
    cdef uint64_t bits
    if not PyFloat_CheckExact(obj):
        return 0
    number = PyFloat_AS_DOUBLE(obj)
    memcpy(&bits, &number, 8)
    return put(out, bits, 8)


cdef int write_float_text(DumpTwin self, object obj, Writer *out) except -1:
    cdef char *text
    if not PyFloat_CheckExact(obj):
        return 0
    text = PyOS_double_to_string(PyFloat_AS_DOUBLE(obj), b"r", 0, Py_DTSF_ADD_DOT_0, NULL)
    try:
        return put_bytes(out, text, strlen(text))
    finally:
        PyMem_Free(text)


cdef int write_decimal_text(DumpTwin self, object obj, Writer *out) except -1:
    cdef const char *data
    cdef Py_ssize_t size
    if type(obj) is not DECIMAL:
        return 0
    text = str(obj)
    if not anyq_is_ascii(text):
        return 0
    data = anyq_ascii_data(text)
    size = PyUnicode_GET_LENGTH(text)
    # NaN, sNaN and Infinity are letters.
    if size == 0 or data[size - 1] > 57 or (size > 3 and data[1] > 57 and data[1] != b"E"):
        return 0
    return put_bytes(out, data, size)


# -- dates and times

cdef inline int64_t datetime_usecs(object obj):
    """Return the microseconds from 2000-01-01 00:00 to a datetime, as if it had no time zone."""
    cdef int64_t seconds = days_from_civil(date_year(obj), date_month(obj), date_day(obj)) * SECONDS_PER_DAY
    seconds += datetime_hour(obj) * 3600 + datetime_minute(obj) * 60 + datetime_second(obj)
    return seconds * USECS_PER_SECOND + datetime_microsecond(obj)


cdef int write_date(DumpTwin self, object obj, Writer *out) except -1:
    if type(obj) is not DATE:
        return 0
    return put(out, <uint64_t>days_from_civil(date_year(obj), date_month(obj), date_day(obj)), 4)


cdef int write_time(DumpTwin self, object obj, Writer *out) except -1:
    cdef int64_t seconds
    if type(obj) is not TIME or obj.tzinfo is not None:
        return 0
    seconds = time_hour(obj) * 3600 + time_minute(obj) * 60 + time_second(obj)
    return put(out, <uint64_t>(seconds * USECS_PER_SECOND + time_microsecond(obj)), 8)


cdef int write_timestamp(DumpTwin self, object obj, Writer *out) except -1:
    if type(obj) is not DATETIME or obj.tzinfo is not None:
        return 0
    return put(out, <uint64_t>datetime_usecs(obj), 8)


cdef int write_timestamptz(DumpTwin self, object obj, Writer *out) except -1:
    cdef int64_t usecs
    if type(obj) is not DATETIME:
        return 0
    usecs = datetime_usecs(obj)
    if obj.tzinfo is not UTC:
        try:
            offset = obj.utcoffset()
        except Exception:
            offset = None
        if type(offset) is not TIMEDELTA:
            return 0
        usecs -= (
            (timedelta_days(offset) * SECONDS_PER_DAY + timedelta_seconds(offset)) * USECS_PER_SECOND
            + timedelta_microseconds(offset)
        )
    return put(out, <uint64_t>usecs, 8)


cdef int write_interval(DumpTwin self, object obj, Writer *out) except -1:
    cdef unsigned char data[16]
    cdef uint64_t usecs
    if type(obj) is not TIMEDELTA:
        return 0
    usecs = <uint64_t>(timedelta_seconds(obj) * USECS_PER_SECOND + timedelta_microseconds(obj))
    put_uint32(data, <uint32_t>(usecs >> 32))
    put_uint32(data + 4, <uint32_t>usecs)
    put_uint32(data + 8, <uint32_t>timedelta_days(obj))
    put_uint32(data + 12, 0)
    return put_bytes(out, <char *>data, 16)


# -- uuid

cdef int write_uuid(DumpTwin self, object obj, Writer *out) except -1:
    cdef unsigned char data[16]
    if type(obj) is UUID_TYPE:
        number = obj.int
        if PyLong_CheckExact(number) and anyq_put_uint128(number, data):
            return put_bytes(out, <char *>data, 16)
    return 0
