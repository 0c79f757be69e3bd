"""Intervals that keep their months, for whom a `timedelta` is not enough.

Knows `Interval` and both formats of it (PostgreSQL manual, "Interval Input", "Interval Output"). Must not know how each
IntervalStyle looks (:mod:`anyq.types._datestyle`), nor `timedelta`, which stays what intervals are loaded as until
`register_interval` is called.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from struct import error as StructError

from ..adapt.adapters_map import AdaptContext, adapters_of
from ..adapt.base import Dumper, Loader
from ..adapt.typeinfo import global_types
from ..errors import DataError
from ..protocol.constants import Format
from . import _datestyle

__all__ = [
    "Interval",
    "IntervalBinaryDumper",
    "IntervalDumper",
    "MonthsIntervalBinaryLoader",
    "MonthsIntervalLoader",
    "register_interval",
]

_binary = Struct("!qii")  # microseconds, days, months


@dataclass(frozen=True)
class Interval:
    """A PostgreSQL interval: three numbers that are not converted into each other, each with a sign of its own.

    A month is no number of days, and a day no number of hours, so intervals are equal if all three are, and there is
    no order. Infinity, which PostgreSQL 17 has, is the largest, or smallest, of all three: its own way to write it.

    :param months: 12 for a year.
    """

    months: int = 0
    days: int = 0
    microseconds: int = 0

    @property
    def is_infinite(self) -> bool:
        """Whether it is `infinity` or `-infinity`, for PostgreSQL 17 or later."""
        return self in (_INFINITY, _NEGATIVE_INFINITY)


_INFINITY = Interval(2**31 - 1, 2**31 - 1, 2**63 - 1)
_NEGATIVE_INFINITY = Interval(-(2**31), -(2**31), -(2**63))


class IntervalDumper(Dumper):
    """Dump an `Interval` as interval, in text."""

    oid = global_types["interval"].oid

    def dump(self, obj: Interval) -> bytes:
        _pack(obj)
        if obj.is_infinite:
            return b"infinity" if obj.months > 0 else b"-infinity"
        # Every number has its sign, because with IntervalStyle sql_standard one at the beginning would count for all.
        seconds, fraction = divmod(abs(obj.microseconds), _datestyle.USECS_PER_SECOND)
        minutes, seconds = divmod(seconds, 60)
        hours, minutes = divmod(minutes, 60)
        sign = "-" if obj.microseconds < 0 else "+"
        clock = f"{sign}{hours:02}:{minutes:02}:{seconds:02}.{fraction:06}"
        return f"{obj.months:+} months {obj.days:+} days {clock}".encode()


class IntervalBinaryDumper(Dumper):
    """Dump an `Interval` as interval, in binary."""

    format = Format.BINARY
    oid = global_types["interval"].oid

    def dump(self, obj: Interval) -> bytes:
        return _pack(obj)


def _pack(obj: Interval) -> bytes:
    try:
        return _binary.pack(obj.microseconds, obj.days, obj.months)
    except StructError as ex:
        raise DataError(f"an interval has months and days of 32 bits, and microseconds of 64, not {obj!r}") from ex


class MonthsIntervalLoader(Loader):
    """Load an interval from text, in any IntervalStyle, as `Interval`."""

    def load(self, data: bytes) -> Interval:
        if data == b"infinity":
            return _INFINITY
        if data == b"-infinity":
            return _NEGATIVE_INFINITY
        loaded = Interval(*_datestyle.parse_interval(data.decode("ascii")))
        _pack(loaded)
        return loaded


class MonthsIntervalBinaryLoader(Loader):
    """Load an interval from binary as `Interval`."""

    format = Format.BINARY

    def load(self, data: bytes) -> Interval:
        microseconds, days, months = _binary.unpack(data)
        return Interval(months, days, microseconds)


def register_interval(context: AdaptContext | None = None) -> None:
    """Load intervals as `Interval`, with their months, in place of `timedelta`.

    :param context: a connection, a cursor or a map; None for all connections that are opened from now on.
    """
    adapters = adapters_of(context)
    adapters.register_loader("interval", MonthsIntervalLoader)
    adapters.register_loader("interval", MonthsIntervalBinaryLoader)


def register_default_adapters(context: AdaptContext) -> None:
    """Register the dumpers of `Interval`."""
    context.adapters.register_dumper(Interval, IntervalDumper)
    context.adapters.register_dumper(Interval, IntervalBinaryDumper)
