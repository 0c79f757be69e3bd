# Part of copy_rows.pyx: dates and times, and uuid, as they are written into rows. Doubles the marked dumpers of
# `anyq/types/_datetime_dumpers.py` and `anyq/types/uuid.py`.

# -- dates and times

cdef inline int64_t datetime_usecs(object obj):
    """Return the microseconds from 2000-01-01 00:00 to a datetime, as if it had no time zone."""
    cdef int64_t seconds = days_from_civil(date_year(obj), date_month(obj), date_day(obj)) * SECONDS_PER_DAY
    seconds += datetime_hour(obj) * 3600 + datetime_minute(obj) * 60 + datetime_second(obj)
    return seconds * USECS_PER_SECOND + datetime_microsecond(obj)


cdef int write_date(object obj, Out *out) except -1:
    if type(obj) is not DATE:
        return 0
    return put_value32(out, <uint32_t>days_from_civil(date_year(obj), date_month(obj), date_day(obj)))


cdef int write_time(object obj, Out *out) except -1:
    cdef int64_t seconds
    if type(obj) is not TIME or time_tzinfo(obj) is not None:
        return 0
    seconds = time_hour(obj) * 3600 + time_minute(obj) * 60 + time_second(obj)
    return put_value64(out, <uint64_t>(seconds * USECS_PER_SECOND + time_microsecond(obj)))


cdef int write_timestamp(object obj, Out *out) except -1:
    if type(obj) is not DATETIME or datetime_tzinfo(obj) is not None:
        return 0
    return put_value64(out, <uint64_t>datetime_usecs(obj))


cdef int write_timestamptz(object obj, Out *out) except -1:
    # Other zones are asked for their offset, in Python.
    if type(obj) is not DATETIME or datetime_tzinfo(obj) is not UTC:
        return 0
    return put_value64(out, <uint64_t>datetime_usecs(obj))


cdef int write_datetime(object obj, Out *out) except -1:
    """Write a datetime as timestamp or timestamptz."""
    if type(obj) is not DATETIME or datetime_tzinfo(obj) is not None and datetime_tzinfo(obj) is not UTC:
        return 0
    return put_value64(out, <uint64_t>datetime_usecs(obj))


cdef int write_interval(object obj, Out *out) except -1:
    cdef char *to
    if type(obj) is not TIMEDELTA:
        return 0
    to = reserve(out, 20)
    put_uint32(to, 16)
    put_uint64(to + 4, <uint64_t>(timedelta_seconds(obj) * USECS_PER_SECOND + timedelta_microseconds(obj)))
    put_uint32(to + 12, <uint32_t>timedelta_days(obj))
    put_uint32(to + 16, 0)
    out.used += 20
    return 1


cdef inline char *put_digits(char *to, int number, int count) noexcept nogil:
    cdef int i
    for i in range(count - 1, -1, -1):
        to[i] = <char>(48 + number % 10)
        number //= 10
    return to + count


cdef inline char *put_date(char *to, object obj):
    to = put_digits(to, date_year(obj), 4)
    to[0] = b"-"
    to = put_digits(to + 1, date_month(obj), 2)
    to[0] = b"-"
    return put_digits(to + 1, date_day(obj), 2)


cdef inline char *put_clock(char *to, int hour, int minute, int second, int microsecond) noexcept nogil:
    to = put_digits(to, hour, 2)
    to[0] = b":"
    to = put_digits(to + 1, minute, 2)
    to[0] = b":"
    to = put_digits(to + 1, second, 2)
    if microsecond:
        to[0] = b"."
        to = put_digits(to + 1, microsecond, 6)
    return to


cdef int write_date_text(object obj, Out *out) except -1:
    if type(obj) is not DATE:
        return 0
    put_date(reserve(out, 10), obj)
    out.used += 10
    return 1


cdef int write_time_text(object obj, Out *out) except -1:
    cdef char *to
    if type(obj) is not TIME or time_tzinfo(obj) is not None:
        return 0
    to = reserve(out, 15)
    out.used = put_clock(to, time_hour(obj), time_minute(obj), time_second(obj), time_microsecond(obj)) - out.data
    return 1


cdef int write_timestamp_text(object obj, Out *out) except -1:
    if type(obj) is not DATETIME or datetime_tzinfo(obj) is not None:
        return 0
    return write_datetime_text(obj, out)


cdef int write_timestamptz_text(object obj, Out *out) except -1:
    if type(obj) is not DATETIME or datetime_tzinfo(obj) is not UTC:
        return 0
    return write_datetime_text(obj, out)


cdef int write_datetime_text(object obj, Out *out) except -1:
    """Write a datetime as timestamp or timestamptz."""
    cdef char *to
    if type(obj) is not DATETIME or datetime_tzinfo(obj) is not None and datetime_tzinfo(obj) is not UTC:
        return 0
    to = put_date(reserve(out, 32), obj)
    to[0] = b" "
    to = put_clock(
        to + 1, datetime_hour(obj), datetime_minute(obj), datetime_second(obj), datetime_microsecond(obj)
    )
    if datetime_tzinfo(obj) is not None:
        memcpy(to, b"+00:00", 6)
        to += 6
    out.used = to - out.data
    return 1


# -- uuid

cdef bint uuid_bytes(object obj, unsigned char *data) except -1:
    if type(obj) is not UUID_TYPE:
        return False
    number = obj.int
    return PyLong_CheckExact(number) and anyq_put_uint128(number, data)


cdef int write_uuid(object obj, Out *out) except -1:
    cdef char *to
    cdef unsigned char data[16]
    if not uuid_bytes(obj, data):
        return 0
    to = reserve(out, 20)
    put_uint32(to, 16)
    memcpy(to + 4, data, 16)
    out.used += 20
    return 1


cdef int write_uuid_text(object obj, Out *out) except -1:
    cdef char *to
    cdef unsigned char data[16]
    cdef int i
    if not uuid_bytes(obj, data):
        return 0
    to = put_hex(reserve(out, 36), data, 4)
    for i in range(4, 10, 2):
        to[0] = b"-"
        to = put_hex(to + 1, data + i, 2)
    to[0] = b"-"
    put_hex(to + 1, data + 10, 6)
    out.used += 36
    return 1
