"""Dates, times and intervals: date, time, timetz, timestamp, timestamptz, interval.

Knows: how Python's `datetime` types and PostgreSQL's correspond, and where they do not. Must not know: how
each DateStyle looks (:mod:`anyq.types._datestyle`), connections beyond their parameters.

PostgreSQL reaches from 4713 BC to the year 294276 (date: 5874897), Python from year 1 to 9999, and only
PostgreSQL has infinity. What Python cannot hold raises a `DataError` that names the value; it is never
clipped. Aware values come back in the time zone of the connection, as the server prints them.

An interval has months, days and microseconds, a `timedelta` only the last two: as in psycopg, a year counts
as 365 days and a month as 30.

In binary all of this is arithmetic on microseconds (of dates: days) since 2000-01-01. PostgreSQL manual:
"Date/Time Types"; the binary forms are in its source, ``src/backend/utils/adt/{date,timestamp}.c``.
"""

from __future__ import annotations

import sys
from datetime import date, datetime, time, timedelta, tzinfo
from struct import Struct

from .._accel import twin
from .._accel.twins import LoadTimestamptzArguments
from ..adapt.adapters_map import AdaptContext, parameter_of
from ..adapt.base import Loader
from ..adapt.timezones import fixed_timezone, timezone_of
from ..errors import DataError
from ..protocol.constants import Format
from . import _datestyle
from ._datestyle import USECS_PER_DAY, USECS_PER_SECOND
from ._datetime_dumpers import (
    EPOCH,
    EPOCH_ORDINAL,
    EPOCH_UTC,
    DateBinaryDumper,
    DateDumper,
    DatetimeBinaryDumper,
    DatetimeDumper,
    DatetimeNoTzBinaryDumper,
    DatetimeNoTzDumper,
    TimeBinaryDumper,
    TimedeltaBinaryDumper,
    TimedeltaDumper,
    TimeDumper,
    TimeTzBinaryDumper,
    TimeTzDumper,
)

__all__ = [
    "DateBinaryDumper",
    "DateBinaryLoader",
    "DateDumper",
    "DateLoader",
    "DatetimeBinaryDumper",
    "DatetimeDumper",
    "DatetimeNoTzBinaryDumper",
    "DatetimeNoTzDumper",
    "IntervalBinaryLoader",
    "IntervalLoader",
    "TimeBinaryDumper",
    "TimeBinaryLoader",
    "TimeDumper",
    "TimeLoader",
    "TimeTzBinaryDumper",
    "TimeTzDumper",
    "TimedeltaBinaryDumper",
    "TimedeltaDumper",
    "TimestampBinaryLoader",
    "TimestampLoader",
    "TimestamptzBinaryLoader",
    "TimestamptzLoader",
    "TimetzBinaryLoader",
    "TimetzLoader",
    "register_default_adapters",
]

_unpack_date = Struct("!i").unpack  # days
_unpack_usecs = Struct("!q").unpack
_unpack_timetz = Struct("!qi").unpack  # microseconds of the day, seconds *west* of Greenwich
_unpack_interval = Struct("!qii").unpack  # microseconds, days, months

# "infinity" and "-infinity" are the largest and the smallest numbers.
_INFINITE_DATES = {2**31 - 1: "infinity", -(2**31): "-infinity"}
_INFINITE_TIMESTAMPS = {2**63 - 1: "infinity", -(2**63): "-infinity"}
_INFINITE_INTERVALS = {
    (2**31 - 1, 2**31 - 1, 2**63 - 1): "infinity",
    (-(2**31), -(2**31), -(2**63)): "-infinity",
}


_SHOWN = 80  # characters of a value in a message

# Loaders

# Text is tried as ISO, by the interpreter's own parser, which is faster than the arithmetic of the binary
# form. Before Python 3.11 that parser took only what isoformat() writes.
if sys.version_info >= (3, 11):
    _datetime_fromiso = datetime.fromisoformat
    _time_fromiso = time.fromisoformat
else:

    def _isoformat(text: str, fraction_at: int) -> str:
        """Write out what the server leaves away: trailing zeros of the fraction, minutes of the offset."""
        sign = text.find("+", fraction_at)
        if sign < 0:
            sign = text.find("-", fraction_at)
        clock, offset = (text[:sign], text[sign:]) if sign >= 0 else (text, "")
        if clock[fraction_at : fraction_at + 1] == ".":
            clock = clock.ljust(fraction_at + 7, "0")
        return clock + (f"{offset}:00" if len(offset) == 3 else offset)

    def _datetime_fromiso(date_string: str, /) -> datetime:
        return datetime.fromisoformat(_isoformat(date_string, len("2000-01-01 00:00:00")))

    def _time_fromiso(time_string: str, /) -> time:
        return time.fromisoformat(_isoformat(time_string, len("00:00:00")))


def _cannot_load(type_name: str, text: str, why: str) -> DataError:
    if len(text) > _SHOWN:
        text = f"{text[:_SHOWN]}..."
    return DataError(
        f"cannot load {type_name} {text!r}: {why}."
        " Cast it to text in the query (column::text), or register a loader for this type"
    )


def _out_of_range(type_name: str, text: str) -> DataError:
    if text.endswith("infinity"):
        module = "interval" if type_name == "interval" else "infinity"
        why = f"Python has no infinite dates, times or intervals; register_{module}() of anyq.types.{module} loads them"
        return _cannot_load(type_name, text, why)
    return _cannot_load(type_name, text, "Python's years are from 1 to 9999")


class _StyledLoader(Loader):
    """A text loader for every DateStyle, which needs to know it only where day and month look alike."""

    _type_name: str

    def __init__(self, oid: int, context: AdaptContext | None = None) -> None:
        super().__init__(oid, context)
        style = parameter_of(context, "DateStyle")
        # A value that is not ISO where the style is has been written by another one, of which the order is not known.
        self._day_first = None if style is None or style.startswith("ISO") else "DMY" in style

    def _parse(self, data: bytes) -> tuple[str, _datestyle.Moment]:
        text = data.decode("ascii", "replace")
        if text in ("infinity", "-infinity"):
            raise _out_of_range(self._type_name, text)
        try:
            return text, _datestyle.parse_timestamp(text, self._day_first)
        except ValueError as ex:
            raise _cannot_load(self._type_name, text, f"{ex}; ISO is the best DateStyle to use") from None


class DateLoader(_StyledLoader):
    """Load a date from text."""

    _type_name = "date"

    @twin("load_date_text")
    def load(self, data: bytes) -> date:
        try:
            return date.fromisoformat(data.decode())
        except ValueError:
            text, moment = self._parse(data)
            return _date(moment.days, text)


class DateBinaryLoader(Loader):
    """Load a date from binary."""

    format = Format.BINARY

    @twin("load_date")
    def load(self, data: bytes) -> date:
        (days,) = _unpack_date(data)
        try:
            return date.fromordinal(days + EPOCH_ORDINAL)
        except (ValueError, OverflowError):
            return _date(days, _INFINITE_DATES.get(days))


def _date(days: int, text: str | None) -> date:
    try:
        return date.fromordinal(days + EPOCH_ORDINAL)
    except (ValueError, OverflowError):
        raise _out_of_range("date", text or _datestyle.format_date(days)) from None


class TimeLoader(Loader):
    """Load a time from text."""

    @twin("load_time_text")
    def load(self, data: bytes) -> time:
        # Newer versions of Python take 24:00 for 00:00.
        if data[:2] != b"24":
            try:
                return _time_fromiso(data.decode())
            except ValueError:
                pass
        return _slow_time("time", data)


class TimeBinaryLoader(Loader):
    """Load a time from binary."""

    format = Format.BINARY

    @twin("load_time")
    def load(self, data: bytes) -> time:
        (usecs,) = _unpack_usecs(data)
        return _time("time", usecs, None)


class TimetzLoader(Loader):
    """Load a timetz from text."""

    @twin("load_timetz_text")
    def load(self, data: bytes) -> time:
        if data[:2] != b"24":
            try:
                return _time_fromiso(data.decode())
            except ValueError:
                pass
        return _slow_time("timetz", data)


class TimetzBinaryLoader(Loader):
    """Load a timetz from binary."""

    format = Format.BINARY

    @twin("load_timetz")
    def load(self, data: bytes) -> time:
        usecs, west = _unpack_timetz(data)
        return _time("timetz", usecs, fixed_timezone(-west))


def _slow_time(type_name: str, data: bytes) -> time:
    text = data.decode("ascii", "replace")
    try:
        moment = _datestyle.parse_time(text)
        offset = None if moment.zone is None else _datestyle.parse_offset(moment.zone)
        return _time(type_name, moment.usecs, None if offset is None else fixed_timezone(offset))
    except ValueError as ex:
        raise _cannot_load(type_name, text, str(ex)) from None


def _time(type_name: str, usecs: int, zone: tzinfo | None) -> time:
    # Splitting off the microseconds first keeps the rest to small integers.
    seconds, usecs = divmod(usecs, USECS_PER_SECOND)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    try:
        return time(hours, minutes, seconds, usecs, zone)
    except ValueError:
        offset = "" if zone is None else zone.tzname(None)
        text = f"{hours:02}:{minutes:02}:{seconds:02}{offset}"
        why = "Python's times are before 24:00"
        if type_name == "time":
            why += "; as an interval (column::interval) it is a day"
        raise _cannot_load(type_name, text, why) from None


class TimestampLoader(_StyledLoader):
    """Load a timestamp from text."""

    _type_name = "timestamp"

    @twin("load_timestamp_text")
    def load(self, data: bytes) -> datetime:
        try:
            return _datetime_fromiso(data.decode())
        except ValueError:
            text, moment = self._parse(data)
            return _timestamp(moment.days * USECS_PER_DAY + moment.usecs, text)


class TimestampBinaryLoader(Loader):
    """Load a timestamp from binary."""

    format = Format.BINARY

    @twin("load_timestamp")
    def load(self, data: bytes) -> datetime:
        (usecs,) = _unpack_usecs(data)
        try:
            return EPOCH + timedelta(0, 0, usecs)
        except OverflowError:
            return _timestamp(usecs, _INFINITE_TIMESTAMPS.get(usecs))


def _timestamp(usecs: int, text: str | None) -> datetime:
    try:
        return EPOCH + timedelta(0, 0, usecs)
    except OverflowError:
        raise _out_of_range("timestamp", text or _datestyle.format_timestamp(usecs)) from None


class TimestamptzLoader(_StyledLoader):
    """Load a timestamptz from text, into the time zone of the connection."""

    _type_name = "timestamptz"

    def __init__(self, oid: int, context: AdaptContext | None = None) -> None:
        super().__init__(oid, context)
        self._timezone = timezone_of(context)

    @twin("load_timestamptz_text")
    def load(self, data: bytes) -> datetime:
        try:
            return _datetime_fromiso(data.decode()).astimezone(self._timezone)
        except (ValueError, OverflowError):
            return self._load_slow(data)

    def load_arguments(self) -> LoadTimestamptzArguments:
        """Return what the compiled twin needs to know."""
        return LoadTimestamptzArguments(self._timezone)

    def _load_slow(self, data: bytes) -> datetime:
        text, moment = self._parse(data)
        usecs = moment.days * USECS_PER_DAY + moment.usecs
        if moment.zone is None:
            raise _cannot_load("timestamptz", text, "there is no offset")
        offset = _datestyle.parse_offset(moment.zone)
        if offset is not None:
            return _timestamptz(usecs - offset * USECS_PER_SECOND, self._timezone, text)
        # Styles other than ISO print local time and an abbreviation. That it is one of this zone tells that
        # the zone is the one it was printed in, and which it was of the two times of the hour at which summer
        # ends.
        local = _timestamp(usecs, text)
        for fold in (0, 1):
            aware = local.replace(tzinfo=self._timezone, fold=fold)
            if aware.tzname() == moment.zone:
                return aware
        raise _cannot_load("timestamptz", text, f"cannot tell the offset of {moment.zone!r}; use SET DateStyle TO ISO")


class TimestamptzBinaryLoader(Loader):
    """Load a timestamptz from binary, into the time zone of the connection."""

    format = Format.BINARY

    def __init__(self, oid: int, context: AdaptContext | None = None) -> None:
        super().__init__(oid, context)
        self._timezone = timezone_of(context)

    @twin("load_timestamptz")
    def load(self, data: bytes) -> datetime:
        (usecs,) = _unpack_usecs(data)
        try:
            return (EPOCH_UTC + timedelta(0, 0, usecs)).astimezone(self._timezone)
        except (ValueError, OverflowError):
            return _timestamptz(usecs, self._timezone, _INFINITE_TIMESTAMPS.get(usecs))

    def load_arguments(self) -> LoadTimestamptzArguments:
        """Return what the compiled twin needs to know."""
        return LoadTimestamptzArguments(self._timezone)


def _timestamptz(usecs: int, zone: tzinfo, text: str | None) -> datetime:
    """Return an instant, given in microseconds from 2000-01-01 in UTC, as time of a zone."""
    try:
        return (EPOCH_UTC + timedelta(0, 0, usecs)).astimezone(zone)
    # ZoneInfo reports some as a wrong year.
    except (ValueError, OverflowError):
        pass
    try:
        # In UTC it is out of range, but maybe not in this zone: datetime.max in America is one.
        offset = zone.utcoffset(datetime.max if usecs > 0 else datetime.min) or timedelta(0)
        return (EPOCH + (timedelta(0, 0, usecs) + offset)).replace(tzinfo=zone)
    except (ValueError, OverflowError):
        pass
    if text is None:
        text = f"{_datestyle.format_timestamp(usecs)} UTC"
    raise _out_of_range("timestamptz", text)


class IntervalLoader(Loader):
    """Load an interval from text."""

    @twin("load_interval_text")
    def load(self, data: bytes) -> timedelta:
        text = data.decode("ascii", "replace")
        if text in ("infinity", "-infinity"):
            raise _out_of_range("interval", text)
        try:
            months, days, usecs = _datestyle.parse_interval(text)
        except ValueError as ex:
            raise _cannot_load("interval", text, str(ex)) from None
        return _interval(months, days, usecs)


class IntervalBinaryLoader(Loader):
    """Load an interval from binary."""

    format = Format.BINARY

    @twin("load_interval")
    def load(self, data: bytes) -> timedelta:
        usecs, days, months = _unpack_interval(data)
        if not months:
            try:
                return timedelta(days, 0, usecs)
            except OverflowError:
                pass
        return _interval(months, days, usecs)


def _interval(months: int, days: int, usecs: int) -> timedelta:
    if (months, days, usecs) in _INFINITE_INTERVALS:
        raise _out_of_range("interval", _INFINITE_INTERVALS[months, days, usecs])
    # As the server prints them: the years and the months left over have the same sign.
    years, months_left = divmod(abs(months), 12)
    of_months = years * 365 + months_left * 30
    try:
        return timedelta(days + (of_months if months >= 0 else -of_months), 0, usecs)
    except OverflowError:
        text = f"{months} months {days} days {usecs} microseconds"
        raise _cannot_load("interval", text, "Python's timedelta has up to 999999999 days") from None


def register_default_adapters(context: AdaptContext) -> None:
    """Register the dumpers and loaders of this module."""
    adapters = context.adapters

    # Of two dumpers for a type the later one is preferred where the format is not chosen by the user.
    adapters.register_dumper(date, DateDumper)
    adapters.register_dumper(date, DateBinaryDumper)
    adapters.register_dumper(time, TimeDumper)
    adapters.register_dumper(time, TimeBinaryDumper)
    adapters.register_dumper(datetime, DatetimeDumper)
    adapters.register_dumper(datetime, DatetimeBinaryDumper)
    adapters.register_dumper(timedelta, TimedeltaDumper)
    adapters.register_dumper(timedelta, TimedeltaBinaryDumper)
    # To be found by the oid that they dump to.
    for dumper in (TimeTzDumper, TimeTzBinaryDumper, DatetimeNoTzDumper, DatetimeNoTzBinaryDumper):
        adapters.register_dumper(None, dumper)

    adapters.register_loader("date", DateLoader)
    adapters.register_loader("date", DateBinaryLoader)
    adapters.register_loader("time", TimeLoader)
    adapters.register_loader("time", TimeBinaryLoader)
    adapters.register_loader("timetz", TimetzLoader)
    adapters.register_loader("timetz", TimetzBinaryLoader)
    adapters.register_loader("timestamp", TimestampLoader)
    adapters.register_loader("timestamp", TimestampBinaryLoader)
    adapters.register_loader("timestamptz", TimestamptzLoader)
    adapters.register_loader("timestamptz", TimestamptzBinaryLoader)
    adapters.register_loader("interval", IntervalLoader)
    adapters.register_loader("interval", IntervalBinaryLoader)
