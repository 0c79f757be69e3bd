# Part of dumping.pyx: dates and times in text format. Doubles the marked dumpers of `anyq/types/_datetime_dumpers.py`.

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


cdef int write_date_text(DumpTwin self, object obj, Writer *out) except -1:
    if type(obj) is not DATE:
        return 0
    put_date(reserve(out, 10), obj)
    out.size += 10
    return 1


cdef int write_time_text(DumpTwin self, object obj, Writer *out) except -1:
    cdef char *to
    if type(obj) is not TIME or obj.tzinfo is not None:
        return 0
    to = reserve(out, 15)
    out.size = put_clock(to, time_hour(obj), time_minute(obj), time_second(obj), time_microsecond(obj)) - out.data
    return 1


cdef int write_timestamp_text(DumpTwin self, object obj, Writer *out) except -1:
    if type(obj) is not DATETIME or obj.tzinfo is not None:
        return 0
    return write_datetime_text(obj, False, out)


cdef int write_timestamptz_text(DumpTwin self, object obj, Writer *out) except -1:
    # Other zones are asked for their offset, in Python.
    if type(obj) is not DATETIME or obj.tzinfo is not UTC:
        return 0
    return write_datetime_text(obj, True, out)


cdef int write_datetime_text(object obj, bint in_utc, Writer *out) except -1:
    cdef char *to = put_date(reserve(out, 32), obj)
    to[0] = b" "
    to = put_clock(
        to + 1, datetime_hour(obj), datetime_minute(obj), datetime_second(obj), datetime_microsecond(obj)
    )
    if in_utc:
        memcpy(to, b"+00:00", 6)
        to += 6
    out.size = to - out.data
    return 1
