"""The dumpers of :mod:`anyq.types.datetime`, which says what is dumped to what.

Knows: how Python's `datetime` types are written for PostgreSQL, in text and in binary. Must not know: how
values are loaded, connections and their settings: what is written reads the same with any of them.
"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta, timezone
from struct import Struct
from typing import Any

from .._accel import twin
from .._accel.failures import shown_object
from ..adapt.adapters_map import DumperKey, DumperProtocol, PyFormat
from ..adapt.base import Dumper
from ..adapt.typeinfo import global_types
from ..errors import DataError
from ..protocol.constants import Format
from ._datestyle import USECS_PER_SECOND

_pack_date = Struct("!i").pack  # days
_pack_usecs = Struct("!q").pack
_pack_timetz = Struct("!qi").pack  # microseconds of the day, seconds *west* of Greenwich
_pack_interval = Struct("!qii").pack  # microseconds, days, months

EPOCH = datetime(2000, 1, 1)
EPOCH_UTC = datetime(2000, 1, 1, tzinfo=timezone.utc)
EPOCH_ORDINAL = EPOCH.toordinal()

# The server takes offsets of less than 16 hours, and of whole seconds; Python's may be just below 24 hours.
_MAX_OFFSET = timedelta(hours=16)
_SECOND = timedelta(seconds=1)


def _check_date(obj: date) -> None:
    """Refuse an aware datetime, which only the type asked for can bring here: a cast has the day of its time zone.

    Of a naive one it is the date that a cast gives as well.
    """
    if isinstance(obj, datetime) and obj.tzinfo is not None:
        raise DataError(
            f"cannot dump {obj!r} as a date: which day that is depends on the time zone; pass .date(), after "
            "astimezone() if another one is meant"
        )


class DateDumper(Dumper):
    """Dump a `date` as date, in text."""

    oid = global_types["date"].oid

    @twin("dump_date_text")
    def dump(self, obj: date) -> bytes:
        _check_date(obj)
        # ISO is understood whatever DateStyle is set.
        return obj.isoformat().encode()


class DateBinaryDumper(Dumper):
    """Dump a `date` as date, in binary."""

    format = Format.BINARY
    oid = global_types["date"].oid

    @twin("dump_date")
    def dump(self, obj: date) -> bytes:
        _check_date(obj)
        return _pack_date(obj.toordinal() - EPOCH_ORDINAL)


class NaiveOrAwareDumper(Dumper):
    """What `time` and `datetime` share: one Python type that, by its value, is one of two here.

    The dumpers for aware `datetime` and for naive `time` are the ones found by type; they hand over to the
    other.
    """

    # Whether this dumper is the one for aware values, and which one is for the other kind.
    aware: bool
    other: type[NaiveOrAwareDumper]

    @twin("key_aware")
    def get_key(self, obj: Any, format: PyFormat) -> DumperKey:
        return self.cls if (obj.tzinfo is not None) is self.aware else (self.cls, not self.aware)

    def upgrade(self, obj: Any, format: PyFormat) -> DumperProtocol:
        return self if (obj.tzinfo is not None) is self.aware else self.other(self.cls)

    def wrong_kind(self, obj: Any) -> DataError:
        kind, other, how = (
            ("aware", "without", "give it a tzinfo") if self.aware else ("naive", "with", "replace(tzinfo=None)")
        )
        return DataError(f"cannot dump {shown_object(obj)}, {other} time zone, where {kind} values are expected: {how}")


class TimeDumper(NaiveOrAwareDumper):
    """Dump a `time` as time, in text, or as timetz if it is aware."""

    oid = global_types["time"].oid
    aware = False

    @twin("dump_time_text")
    def dump(self, obj: time | datetime) -> bytes:
        if obj.tzinfo is not None:
            raise self.wrong_kind(obj)
        if isinstance(obj, datetime):
            # Which only the type asked for can bring here: it has a time of day, as a cast has it.
            obj = obj.time()
        return obj.isoformat().encode()


class TimeTzDumper(NaiveOrAwareDumper):
    """Dump an aware `time` as timetz, in text."""

    oid = global_types["timetz"].oid
    aware = True

    def dump(self, obj: time) -> bytes:
        _time_offset(self, obj)
        return obj.isoformat().encode()


class TimeBinaryDumper(NaiveOrAwareDumper):
    """Dump a `time` as time, in binary, or as timetz if it is aware."""

    format = Format.BINARY
    oid = global_types["time"].oid
    aware = False

    @twin("dump_time")
    def dump(self, obj: time) -> bytes:
        if obj.tzinfo is not None:
            raise self.wrong_kind(obj)
        seconds = (obj.hour * 60 + obj.minute) * 60 + obj.second
        return _pack_usecs(seconds * USECS_PER_SECOND + obj.microsecond)


class TimeTzBinaryDumper(NaiveOrAwareDumper):
    """Dump an aware `time` as timetz, in binary."""

    format = Format.BINARY
    oid = global_types["timetz"].oid
    aware = True

    def dump(self, obj: time) -> bytes:
        offset = _time_offset(self, obj)
        seconds = (obj.hour * 60 + obj.minute) * 60 + obj.second
        return _pack_timetz(seconds * USECS_PER_SECOND + obj.microsecond, -(offset // _SECOND))


TimeDumper.other = TimeTzDumper
TimeTzDumper.other = TimeDumper
TimeBinaryDumper.other = TimeTzBinaryDumper
TimeTzBinaryDumper.other = TimeBinaryDumper


def _time_offset(dumper: TimeTzDumper | TimeTzBinaryDumper, obj: time) -> timedelta:
    """Return the offset of an aware time, of the range and resolution that timetz has."""
    if obj.tzinfo is None:
        raise dumper.wrong_kind(obj)
    offset = obj.utcoffset()
    if offset is None:
        raise DataError(
            f"cannot tell the offset of {obj!r} without a date: use a datetime, or a tzinfo that is a fixed offset"
        )
    if offset.microseconds or abs(offset) >= _MAX_OFFSET:
        raise DataError(f"cannot dump {obj!r}: PostgreSQL's offsets are of whole seconds, and less than 16 hours")
    return offset


class DatetimeDumper(NaiveOrAwareDumper):
    """Dump an aware `datetime` as timestamptz, in text, or as timestamp if it is naive."""

    oid = global_types["timestamptz"].oid
    aware = True

    @twin("dump_timestamptz_text")
    def dump(self, obj: datetime) -> bytes:
        offset = obj.utcoffset()
        if offset is None:
            raise self.wrong_kind(obj)
        if offset.microseconds or abs(offset) >= _MAX_OFFSET:
            # What counts is the instant, and UTC has it too.
            obj = obj.astimezone(timezone.utc)
        return obj.isoformat(" ").encode()


class DatetimeNoTzDumper(NaiveOrAwareDumper):
    """Dump a naive `datetime` as timestamp, in text."""

    oid = global_types["timestamp"].oid
    aware = False

    @twin("dump_timestamp_text")
    def dump(self, obj: datetime) -> bytes:
        if obj.tzinfo is not None:
            raise self.wrong_kind(obj)
        return obj.isoformat(" ").encode()


class DatetimeBinaryDumper(NaiveOrAwareDumper):
    """Dump an aware `datetime` as timestamptz, in binary, or as timestamp if it is naive."""

    format = Format.BINARY
    oid = global_types["timestamptz"].oid
    aware = True

    @twin("dump_timestamptz")
    def dump(self, obj: datetime) -> bytes:
        try:
            delta = obj - EPOCH_UTC
        except TypeError:
            raise self.wrong_kind(obj) from None
        return _pack_usecs((delta.days * 86_400 + delta.seconds) * USECS_PER_SECOND + delta.microseconds)


class DatetimeNoTzBinaryDumper(NaiveOrAwareDumper):
    """Dump a naive `datetime` as timestamp, in binary."""

    format = Format.BINARY
    oid = global_types["timestamp"].oid
    aware = False

    @twin("dump_timestamp")
    def dump(self, obj: datetime) -> bytes:
        try:
            delta = obj - EPOCH
        except TypeError:
            raise self.wrong_kind(obj) from None
        return _pack_usecs((delta.days * 86_400 + delta.seconds) * USECS_PER_SECOND + delta.microseconds)


DatetimeDumper.other = DatetimeNoTzDumper
DatetimeNoTzDumper.other = DatetimeDumper
DatetimeBinaryDumper.other = DatetimeNoTzBinaryDumper
DatetimeNoTzBinaryDumper.other = DatetimeBinaryDumper


class TimedeltaDumper(Dumper):
    """Dump a `timedelta` as interval, in text."""

    oid = global_types["interval"].oid

    def dump(self, obj: timedelta) -> bytes:
        # Every number has its sign, because with IntervalStyle sql_standard one at the beginning would count
        # for all.
        return b"%+d days %+d seconds %+d microseconds" % (obj.days, obj.seconds, obj.microseconds)


class TimedeltaBinaryDumper(Dumper):
    """Dump a `timedelta` as interval, in binary."""

    format = Format.BINARY
    oid = global_types["interval"].oid

    @twin("dump_interval")
    def dump(self, obj: timedelta) -> bytes:
        return _pack_interval(obj.seconds * USECS_PER_SECOND + obj.microseconds, obj.days, 0)
