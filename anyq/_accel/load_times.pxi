# Part of loading.pyx: dates, times and intervals. Doubles the marked loaders of `anyq/types/datetime.py`, and what these
# call in `anyq/types/_datestyle.py` for the style ISO.

cdef int64_t USECS_PER_SECOND = 1_000_000
cdef int64_t USECS_PER_DAY = 86_400_000_000

# Days from 2000-01-01 to 0001-01-01 and to 9999-12-31, which is what Python has.
cdef int64_t FIRST_DAY = -730_119
cdef int64_t LAST_DAY = 2_921_939

cdef object UTC = timezone.utc


cdef inline int two_digits(Bytes data) noexcept nogil:
    """Return the number that two digits are; 100 or more, or less than 0, if they are none."""
    cdef unsigned char tens = <unsigned char>(data[0] - 48), units = <unsigned char>(data[1] - 48)
    return tens * 10 + units if tens <= 9 and units <= 9 else -10_000


cdef bint parse_date(Bytes data, int *year, int *month, int *day) noexcept nogil:
    """Read the ten characters of a date in ISO style; return False if they are something else."""
    cdef int century = two_digits(data), of_century = two_digits(data + 2)
    if data[4] != b"-" or data[7] != b"-" or century < 0 or of_century < 0:
        return False
    year[0] = century * 100 + of_century
    month[0] = two_digits(data + 5)
    day[0] = two_digits(data + 8)
    return 1 <= month[0] <= 12 and 1 <= day[0] <= days_in_month(year[0], month[0]) and year[0] > 0


cdef Py_ssize_t parse_clock(Bytes data, Py_ssize_t size, int64_t *usecs) noexcept nogil:
    """Read a time of day; return how many characters it has, 0 if it is something else."""
    cdef int hour, minute, second, fraction = 0, digits = 0
    cdef Py_ssize_t i = 8
    cdef unsigned char digit
    if size < 8 or data[2] != b":" or data[5] != b":":
        return 0
    hour, minute, second = two_digits(data), two_digits(data + 3), two_digits(data + 6)
    if not (0 <= hour < 24 and 0 <= minute < 60 and 0 <= second < 60):
        return 0
    if size > 8 and data[8] == b".":
        i = 9
        while i < size and digits < 7:
            digit = <unsigned char>(data[i] - 48)
            if digit > 9:
                break
            fraction = fraction * 10 + digit
            digits += 1
            i += 1
        if not 1 <= digits <= 6:
            return 0
        while digits < 6:
            fraction *= 10
            digits += 1
    usecs[0] = (hour * 3600 + minute * 60 + second) * USECS_PER_SECOND + fraction
    return i


cdef bint parse_offset(Bytes data, Py_ssize_t size, int64_t *seconds) noexcept nogil:
    """Read an offset such as +05:30; return False if it is something else."""
    cdef int hours, minutes = 0, rest = 0
    if (size != 3 and size != 6 and size != 9) or (data[0] != b"+" and data[0] != b"-"):
        return False
    hours = two_digits(data + 1)
    if size > 3:
        minutes = two_digits(data + 4) if data[3] == b":" else -1
    if size > 6:
        rest = two_digits(data + 7) if data[6] == b":" else -1
    if not (0 <= hours < 24 and 0 <= minutes < 60 and 0 <= rest < 60):
        return False
    seconds[0] = hours * 3600 + minutes * 60 + rest
    if data[0] == b"-":
        seconds[0] = -seconds[0]
    return True


cdef object make_date(int64_t days):
    cdef int year = 0, month = 0, day = 0
    civil_from_days(days, &year, &month, &day)
    return date_new(year, month, day)


cdef inline object make_time(int64_t usecs, object zone):
    cdef int seconds = <int>(usecs // USECS_PER_SECOND)
    return time_new(
        seconds // 3600, seconds // 60 % 60, seconds % 60, <int>(usecs % USECS_PER_SECOND), zone
    )


cdef object make_datetime(int64_t usecs, object zone):
    """Return the time that is so many microseconds after 2000-01-01; None if Python has not got its year."""
    cdef int year = 0, month = 0, day = 0, seconds
    cdef int64_t days = floor_div(usecs, USECS_PER_DAY)
    if not FIRST_DAY <= days <= LAST_DAY:
        return None
    usecs -= days * USECS_PER_DAY
    seconds = <int>(usecs // USECS_PER_SECOND)
    civil_from_days(days, &year, &month, &day)
    return datetime_new(
        year, month, day, seconds // 3600, seconds // 60 % 60, seconds % 60, <int>(usecs % USECS_PER_SECOND), zone
    )


cdef object make_timestamptz(LoadTwin self, int64_t usecs):
    """Return an instant in the time zone of the connection; None if Python has not got its year."""
    value = make_datetime(usecs, self.extra)
    if value is None or self.extra is UTC:
        return value
    try:
        # What astimezone() comes down to: a time zone is given the fields in UTC.
        return self.extra.fromutc(value)
    except (ValueError, OverflowError):
        return None


cdef object load_date_text(LoadTwin self, Bytes data, Py_ssize_t size):
    cdef int year = 0, month = 0, day = 0
    if size == 10 and parse_date(data, &year, &month, &day):
        return date_new(year, month, day)
    return slow(self, data, size)


cdef object load_date(LoadTwin self, Bytes data, Py_ssize_t size):
    cdef int64_t days
    if size == 4:
        days = <int32_t>get_uint32(data)
        if FIRST_DAY <= days <= LAST_DAY:
            return make_date(days)
    return slow(self, data, size)


cdef object load_time_text(LoadTwin self, Bytes data, Py_ssize_t size):
    cdef int64_t usecs = 0
    if size >= 8 and parse_clock(data, size, &usecs) == size:
        return make_time(usecs, None)
    return slow(self, data, size)


cdef object load_time(LoadTwin self, Bytes data, Py_ssize_t size):
    cdef int64_t usecs
    if size == 8:
        usecs = <int64_t>get_uint64(data)
        if 0 <= usecs < USECS_PER_DAY:
            return make_time(usecs, None)
    return slow(self, data, size)


cdef object fixed_zone(int64_t seconds):
    return UTC if seconds == 0 else timezone_new(timedelta_new(0, <int>seconds, 0))


cdef object load_timetz_text(LoadTwin self, Bytes data, Py_ssize_t size):
    cdef int64_t usecs = 0, offset = 0
    cdef Py_ssize_t clock = parse_clock(data, size, &usecs)
    if clock and parse_offset(data + clock, size - clock, &offset):
        return make_time(usecs, fixed_zone(offset))
    return slow(self, data, size)


cdef object load_timetz(LoadTwin self, Bytes data, Py_ssize_t size):
    cdef int64_t usecs, west
    if size == 12:
        usecs = <int64_t>get_uint64(data)
        west = <int32_t>get_uint32(data + 8)
        if 0 <= usecs < USECS_PER_DAY and -86_400 < west < 86_400:
            return make_time(usecs, fixed_zone(-west))
    return slow(self, data, size)


cdef Py_ssize_t parse_timestamp(Bytes data, Py_ssize_t size, int64_t *usecs) noexcept nogil:
    """Read a date and a time; return how many characters they have, 0 if it is something else."""
    cdef int year = 0, month = 0, day = 0
    cdef Py_ssize_t clock
    if size < 19 or data[10] != b" " or not parse_date(data, &year, &month, &day):
        return 0
    clock = parse_clock(data + 11, size - 11, usecs)
    usecs[0] += days_from_civil(year, month, day) * USECS_PER_DAY
    return clock + 11 if clock else 0


cdef object load_timestamp_text(LoadTwin self, Bytes data, Py_ssize_t size):
    cdef int64_t usecs = 0
    if size >= 19 and parse_timestamp(data, size, &usecs) == size:
        return make_datetime(usecs, None)
    return slow(self, data, size)


cdef object load_timestamp(LoadTwin self, Bytes data, Py_ssize_t size):
    value = make_datetime(<int64_t>get_uint64(data), None) if size == 8 else None
    return slow(self, data, size) if value is None else value


cdef object load_timestamptz_text(LoadTwin self, Bytes data, Py_ssize_t size):
    cdef int64_t usecs = 0, offset = 0
    cdef Py_ssize_t local = parse_timestamp(data, size, &usecs)
    value = None
    if local and parse_offset(data + local, size - local, &offset):
        value = make_timestamptz(self, usecs - offset * USECS_PER_SECOND)
    return slow(self, data, size) if value is None else value


cdef object load_timestamptz(LoadTwin self, Bytes data, Py_ssize_t size):
    value = make_timestamptz(self, <int64_t>get_uint64(data)) if size == 8 else None
    return slow(self, data, size) if value is None else value


cdef object make_interval(int64_t months, int64_t days, int64_t usecs):
    """Return a timedelta; None if Python has none so long, and for infinity."""
    # The sign of what is left of a year is that of the months, as C divides.
    cdef int64_t whole = floor_div(usecs, USECS_PER_DAY)
    days += months // 12 * 365 + months % 12 * 30 + whole
    usecs -= whole * USECS_PER_DAY
    if not -999_999_999 <= days <= 999_999_999:
        return None
    return timedelta_new(<int>days, <int>(usecs // USECS_PER_SECOND), <int>(usecs % USECS_PER_SECOND))


cdef object load_interval(LoadTwin self, Bytes data, Py_ssize_t size):
    cdef int64_t usecs, days, months
    value = None
    if size == 16:
        usecs = <int64_t>get_uint64(data)
        days = <int32_t>get_uint32(data + 8)
        months = <int32_t>get_uint32(data + 12)
        value = make_interval(months, days, usecs)
    return slow(self, data, size) if value is None else value


cdef object load_interval_text(LoadTwin self, Bytes data, Py_ssize_t size):
    # IntervalStyle postgres, which is the default: "1 year 2 mons -3 days -04:05:06.789".
    cdef int64_t usecs = 0, number, months = 0, days = 0
    cdef Py_ssize_t i = 0, start, clock
    cdef int part = 0
    cdef bint negative
    while i < size:
        start = i
        negative = data[i] == b"-"
        if negative or data[i] == b"+":
            i += 1
        if size - i >= 8 and data[i + 2] == b":":
            clock = parse_clock(data + i, size - i, &usecs)
            if not clock or i + clock != size:
                return slow(self, data, size)
            if negative:
                usecs = -usecs
            i = size
            break
        number = 0
        start = i
        while i < size and 48 <= data[i] <= 57:
            number = number * 10 + (data[i] - 48)
            i += 1
        if not 1 <= i - start <= 9:
            return slow(self, data, size)
        if negative:
            number = -number
        if part < 1 and unit_at(data, size, &i, b" year"):
            months = number * 12
            part = 1
        elif part < 2 and unit_at(data, size, &i, b" mon"):
            months += number
            part = 2
        elif part < 3 and unit_at(data, size, &i, b" day"):
            days = number
            part = 3
        else:
            return slow(self, data, size)
        if i < size:
            # Something must follow the space.
            if data[i] != b" " or i + 1 == size:
                return slow(self, data, size)
            i += 1
    value = make_interval(months, days, usecs) if size else None
    return slow(self, data, size) if value is None else value


cdef bint unit_at(Bytes data, Py_ssize_t size, Py_ssize_t *at, const char *unit) noexcept nogil:
    """Step over the name of a unit, with or without the s of the plural; return False if it is not there."""
    cdef Py_ssize_t i = at[0]
    while unit[0]:
        if i == size or data[i] != <unsigned char>unit[0]:
            return False
        i += 1
        unit += 1
    if i < size and data[i] == b"s":
        i += 1
    at[0] = i
    return True
