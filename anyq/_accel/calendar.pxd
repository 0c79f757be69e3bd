"""The arithmetic of the Gregorian calendar that loading and dumping share.

Knows days counted from 2000-01-01. Doubles `anyq/types/_datestyle.py` (days_from_civil, civil_from_days), where it is
explained.
"""

from libc.stdint cimport int64_t


cdef inline int64_t floor_div(int64_t number, int64_t divisor) noexcept nogil:
    cdef int64_t quotient = number // divisor
    return quotient - 1 if number % divisor < 0 else quotient


cdef inline void civil_from_days(int64_t days, int *year, int *month, int *day) noexcept nogil:
    """Set the date that is so many days after 2000-01-01."""
    cdef int cycle, day_of_cycle, year_of_cycle, day_of_year, shifted
    days += 730_425
    cycle = <int>floor_div(days, 146_097)
    day_of_cycle = <int>(days - cycle * <int64_t>146_097)
    year_of_cycle = (day_of_cycle - day_of_cycle // 1_460 + day_of_cycle // 36_524 - day_of_cycle // 146_096) // 365
    day_of_year = day_of_cycle - (365 * year_of_cycle + year_of_cycle // 4 - year_of_cycle // 100)
    shifted = (5 * day_of_year + 2) // 153
    day[0] = day_of_year - (153 * shifted + 2) // 5 + 1
    year[0] = year_of_cycle + cycle * 400 + (0 if shifted < 10 else 1)
    month[0] = shifted + 3 if shifted < 10 else shifted - 9


cdef inline int64_t days_from_civil(int year, int month, int day) noexcept nogil:
    """Return the days from 2000-01-01 to a date of the years from 1 on."""
    cdef int year_of_cycle, cycle
    if month < 3:
        year -= 1
        month += 12
    cycle = year // 400
    year_of_cycle = year - cycle * 400
    return (
        cycle * <int64_t>146_097 + year_of_cycle * 365 + year_of_cycle // 4 - year_of_cycle // 100
        + (153 * (month - 3) + 2) // 5 + day - 1 - 730_425
    )


cdef inline int days_in_month(int year, int month) noexcept nogil:
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 if month == 4 or month == 6 or month == 9 or month == 11 else 31
