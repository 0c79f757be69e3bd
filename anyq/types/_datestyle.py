"""The text forms of dates, times and intervals, in every style that a server can be set to.

Knows: the output of each DateStyle and IntervalStyle, read into integers of any size (PostgreSQL's range of
years is wider than Python's). Must not know: Python's datetime types, connections, loaders.

Styles are told apart by their shape, so that a value is never read wrongly because a setting changed while it
was on its way. Only the order of day and month in ``01/02/2003`` needs to be told.

PostgreSQL manual: "Date/Time Types / Date/Time Output" and "/ Interval Output".
"""

from __future__ import annotations

import re
from typing import NamedTuple

USECS_PER_SECOND = 1_000_000
USECS_PER_DAY = 86_400 * USECS_PER_SECOND

_MONTHS = {
    name: n
    for n, name in enumerate(["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"], 1)
}

_TIME = r"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)(?:\.(?P<fraction>\d{1,6}))?"
_ZONE = r"(?:[ ]?(?P<zone>(?!BC$)[A-Za-z+<-]\S*))?"
_BC = r"(?P<bc>[ ]BC)?"

# ISO; or Postgres, SQL and German, which differ in the separator.
_NUMERIC = (
    r"(?a)(?:(?P<y1>\d{4,})-(?P<m1>\d\d)-(?P<d1>\d\d)"
    r"|(?P<a>\d\d)(?P<sep>[-/.])(?P<b>\d\d)(?P=sep)(?P<y2>\d{4,}))"
    rf"(?:[ ]{_TIME}{_ZONE})?{_BC}"
)
# "Wed Dec 17 07:37:16 1997 PST", or "Wed 17 Dec ..." with the day first.
_POSTGRES = (
    r"(?a)[A-Z][a-z][a-z][ ](?:(?P<mon1>[A-Z][a-z][a-z])[ ](?P<d1>\d\d)|(?P<d2>\d\d)[ ](?P<mon2>[A-Z][a-z][a-z]))"
    rf"[ ]{_TIME}[ ](?P<y>\d{{4,}}){_ZONE}{_BC}"
)
_TIME_OF_DAY = rf"(?a){_TIME}(?P<zone>[-+]\S+)?"
_OFFSET = r"(?a)([-+])(\d\d)(?::?(\d\d)(?::?(\d\d))?)?"

# Every one of these has the groups that any of them has, if need be empty.
_CLOCK = r"(?P<second_sign>)(?P<hours>\d+):(?P<minutes>\d\d):(?P<seconds>\d\d)(?:\.(?P<fraction>\d{1,6}))?"
# IntervalStyle postgres: "1 year 2 mons -3 days +04:05:06.789".
_INTERVAL_POSTGRES = (
    r"(?a)(?:(?P<years>[-+]?\d+)[ ]years?)?[ ]?"
    r"(?:(?P<months>[-+]?\d+)[ ]mons?)?[ ]?(?:(?P<days>[-+]?\d+)[ ]days?)?"
    rf"[ ]?(?:(?P<sign>[-+]?){_CLOCK})?"
)
# IntervalStyle postgres_verbose: "@ 1 year 2 mons -3 days 4 hours 5 mins 6.789 secs ago".
_INTERVAL_VERBOSE = (
    r"(?a)@(?:[ ](?P<years>[-+]?\d+)[ ]years?)?"
    r"(?:[ ](?P<months>[-+]?\d+)[ ]mons?)?(?:[ ](?P<days>[-+]?\d+)[ ]days?)?"
    r"(?:[ ](?P<hours>[-+]?\d+)[ ]hours?)?(?:[ ](?P<minutes>[-+]?\d+)[ ]mins?)?"
    r"(?:[ ](?P<second_sign>[-+]?)(?P<seconds>\d+)(?:\.(?P<fraction>\d{1,6}))?[ ]secs?)?"
    r"(?:[ ]0)?(?P<ago>[ ]ago)?"
)
# IntervalStyle iso_8601: "P1Y2M-3DT4H5M6.789S".
_INTERVAL_ISO = (
    r"(?a)P(?:(?P<years>-?\d+)Y)?(?:(?P<months>-?\d+)M)?(?:(?P<days>-?\d+)D)?"
    r"(?:T(?:(?P<hours>-?\d+)H)?(?:(?P<minutes>-?\d+)M)?"
    r"(?:(?P<second_sign>-?)(?P<seconds>\d+)(?:\.(?P<fraction>\d{1,6}))?S)?)?(?P<ago>)"
)
# A space if there was a part before; and a sign that is not the first of all.
_JOINED = r"(?:(?<=\d)[ ]|(?<!\d))"
_OWN_SIGN = r"(?:(?<=[ ])[-+])?"
# IntervalStyle sql_standard: "1-2", "3 4:05:06", a "-" before either, or "+1-2 -3 +4:05:06".
_INTERVAL_SQL = (
    r"(?a)(?P<lead>[-+]?)(?:(?P<years>\d+)-(?P<months>\d+))?"
    rf"(?:{_JOINED}(?P<day_sign>{_OWN_SIGN})(?P<days>\d+)(?![:\d]))?(?:{_JOINED}(?P<sign>{_OWN_SIGN}){_CLOCK})?"
)


class Moment(NamedTuple):
    """A day, counted from 2000-01-01, microseconds of it, and the text of a time zone if there was one."""

    days: int
    usecs: int
    zone: str | None


def days_from_civil(year: int, month: int, day: int) -> int:
    """Return the days from 2000-01-01 to a date of the Gregorian calendar, of any year (1 BC is 0)."""
    # With the year beginning in March the leap day is the last one, and months before do not depend on it:
    # the day of the year at which a month begins is then a linear function, (153 * month + 2) // 5.
    if month < 3:
        year -= 1
        month += 12
    cycle, year_of_cycle = divmod(year, 400)
    day_of_year = (153 * (month - 3) + 2) // 5 + day - 1
    # 146,097 days are 400 years; 730,425 is the count of this formula for 2000-01-01.
    return cycle * 146_097 + year_of_cycle * 365 + year_of_cycle // 4 - year_of_cycle // 100 + day_of_year - 730_425


def civil_from_days(days: int) -> tuple[int, int, int]:
    """Return the (year, month, day) of the Gregorian calendar that is so many days after 2000-01-01."""
    cycle, day_of_cycle = divmod(days + 730_425, 146_097)
    # Take out the leap days before this one (of each 4, 100 and 400 years), so that every year has 365 days.
    year = (day_of_cycle - day_of_cycle // 1_460 + day_of_cycle // 36_524 - day_of_cycle // 146_096) // 365
    day_of_year = day_of_cycle - (365 * year + year // 4 - year // 100)
    month = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * month + 2) // 5 + 1
    year += cycle * 400
    return (year, month + 3, day) if month < 10 else (year + 1, month - 9, day)


def format_date(days: int) -> str:
    """Return the date that is so many days after 2000-01-01, in ISO style."""
    year, month, day = civil_from_days(days)
    return f"{year:04}-{month:02}-{day:02}" if year > 0 else f"{1 - year:04}-{month:02}-{day:02} BC"


def format_timestamp(usecs: int) -> str:
    """Return the time that is so many microseconds after 2000-01-01 00:00, in ISO style."""
    days, usecs = divmod(usecs, USECS_PER_DAY)
    date, _, era = format_date(days).partition(" ")
    seconds, usecs = divmod(usecs, USECS_PER_SECOND)
    text = f"{date} {seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    if usecs:
        text += f".{usecs:06}".rstrip("0")
    return f"{text} {era}" if era else text


def parse_timestamp(text: str, day_first: bool | None) -> Moment:
    """Read a timestamp, or a date, in any style.

    `day_first` tells 01/02 apart: True for the first of February, None where it is not known.

    :raises ValueError: not a timestamp, or not to be told which one.
    """
    if match := re.fullmatch(_NUMERIC, text):
        if match["sep"] is None:
            year, month, day = int(match["y1"]), int(match["m1"]), int(match["d1"])
        else:
            year, month, day = int(match["y2"]), int(match["a"]), int(match["b"])
            if match["sep"] == "." or day_first:
                month, day = day, month
            elif day_first is None:
                raise ValueError("the DateStyle is not known, and the first number may be the day or the month")
    elif match := re.fullmatch(_POSTGRES, text):
        month = _MONTHS.get(match["mon1"] or match["mon2"], 0)
        year, day = int(match["y"]), int(match["d1"] or match["d2"])
    else:
        raise ValueError("unknown format")
    if match["bc"]:
        year = 1 - year
    if not 1 <= month <= 12:
        raise ValueError("no such month")
    days = days_from_civil(year, month, day)
    if civil_from_days(days) != (year, month, day):
        raise ValueError("no such day")
    return Moment(days, _usecs_of_day(match) if match["hour"] else 0, match["zone"])


def parse_time(text: str) -> Moment:
    """Read a time of day, with or without an offset. Its `days` are 0.

    :raises ValueError: not a time.
    """
    match = re.fullmatch(_TIME_OF_DAY, text)
    if not match:
        raise ValueError("unknown format")
    return Moment(0, _usecs_of_day(match), match["zone"])


def parse_offset(text: str) -> int | None:
    """Return the seconds east of Greenwich of "+05:30", None for what is not a number (such as "PST")."""
    match = re.fullmatch(_OFFSET, text)
    if not match:
        return None
    seconds = int(match[2]) * 3600 + int(match[3] or 0) * 60 + int(match[4] or 0)
    return -seconds if match[1] == "-" else seconds


def parse_interval(text: str) -> tuple[int, int, int]:
    """Return the (months, days, microseconds) of an interval in any style.

    :raises ValueError: not an interval.
    """
    if match := re.fullmatch(_INTERVAL_POSTGRES, text) if text else None:
        usecs = _clock_usecs(match)
        return _months(match), int(match["days"] or 0), -usecs if match["sign"] == "-" else usecs
    if match := re.fullmatch(_INTERVAL_VERBOSE, text) or re.fullmatch(_INTERVAL_ISO, text):
        usecs = _clock_usecs(match)
        if match["ago"]:
            return -_months(match), -int(match["days"] or 0), -usecs
        return _months(match), int(match["days"] or 0), usecs
    if match := re.fullmatch(_INTERVAL_SQL, text) if text else None:
        months, days, usecs = _months(match), int(match["days"] or 0), _clock_usecs(match)
        if match["years"] and (match["days"] or match["hours"]):
            # Mixed: every part has its sign.
            return (
                -months if match["lead"] == "-" else months,
                -days if match["day_sign"] == "-" else days,
                -usecs if match["sign"] == "-" else usecs,
            )
        return (-months, -days, -usecs) if match["lead"] == "-" else (months, days, usecs)
    raise ValueError("unknown format")


def _months(match: re.Match[str]) -> int:
    return int(match["years"] or 0) * 12 + int(match["months"] or 0)


def _clock_usecs(match: re.Match[str]) -> int:
    """Return the microseconds of hours, minutes and seconds; the last may have a sign and a fraction."""
    seconds = int(match["seconds"] or 0) * USECS_PER_SECOND + _fraction(match)
    if match["second_sign"] == "-":
        seconds = -seconds
    return (int(match["hours"] or 0) * 3600 + int(match["minutes"] or 0) * 60) * USECS_PER_SECOND + seconds


def _usecs_of_day(match: re.Match[str]) -> int:
    hour, minute, second = int(match["hour"]), int(match["minute"]), int(match["second"])
    usecs = (hour * 3600 + minute * 60 + second) * USECS_PER_SECOND + _fraction(match)
    if minute > 59 or second > 59 or usecs > USECS_PER_DAY:
        raise ValueError("no such time of day")
    return usecs


def _fraction(match: re.Match[str]) -> int:
    """Return the microseconds of a fraction of a second that is printed without its trailing zeros."""
    fraction: str | None = match["fraction"]
    return int(fraction.ljust(6, "0")) if fraction else 0
