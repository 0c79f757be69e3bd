"""Infinite dates and timestamps, for whom an error is not enough.

Knows `infinity` and `-infinity` of date, timestamp and timestamptz in both formats (PostgreSQL manual, "Special Values"
of dates and times). Must not know other dates: their dumpers and loaders do.

They are no `date` and no `datetime`: what is asked of one, its year for example, has no answer, and so none that is
wrong. They are compared with these, and can be in a list with them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timezone, tzinfo
from functools import total_ordering
from typing import Any, ClassVar

from ..adapt.adapters_map import AdaptContext, adapters_of
from ..adapt.base import Dumper, Loader
from ..errors import DataError
from . import datetime as finite

__all__ = ["InfiniteDate", "InfiniteDatetime", "register_infinity"]


@total_ordering
@dataclass(frozen=True)
class _Infinite:
    text: str = "infinity"
    """`infinity`, later than everything else, or `-infinity`."""

    def __post_init__(self) -> None:
        if self.text not in ("infinity", "-infinity"):
            raise ValueError(f"it is infinity or -infinity, not {self.text!r}")

    def __str__(self) -> str:
        return self.text

    @property
    def sign(self) -> int:
        """1 for `infinity`, -1 for `-infinity`."""
        return -1 if self.text.startswith("-") else 1

    def _compared(self, other: object) -> int | None:
        """Return a number, less than 0 if this is earlier than the other; None if these are not compared."""
        raise NotImplementedError

    def __lt__(self, other: object) -> bool:
        compared = self._compared(other)
        return NotImplemented if compared is None else compared < 0


@dataclass(frozen=True)
class InfiniteDate(_Infinite):
    """A date later, or earlier, than every other: `InfiniteDate()`, `InfiniteDate("-infinity")`."""

    def _compared(self, other: object) -> int | None:
        if isinstance(other, InfiniteDate):
            return self.sign - other.sign
        return self.sign if isinstance(other, date) and not isinstance(other, datetime) else None


@dataclass(frozen=True, eq=False)
class InfiniteDatetime(_Infinite):
    """A timestamp later, or earlier, than every other; with a `tzinfo`, whichever, it is a timestamptz."""

    tzinfo: tzinfo | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, InfiniteDatetime) and self._compared(other) == 0

    def __hash__(self) -> int:
        return hash((self.text, self.tzinfo is None))

    def _compared(self, other: object) -> int | None:
        if not isinstance(other, InfiniteDatetime | datetime) or (self.tzinfo is None) is not (other.tzinfo is None):
            return None
        return self.sign - other.sign if isinstance(other, InfiniteDatetime) else self.sign


# How they are written.
_TEXT = {"infinity": b"infinity", "-infinity": b"-infinity"}
_DATE = {"infinity": b"\x7f\xff\xff\xff", "-infinity": b"\x80\0\0\0"}
_TIMESTAMP = {"infinity": b"\x7f" + b"\xff" * 7, "-infinity": b"\x80" + b"\0" * 7}


class _InfiniteDumper(Dumper):
    """What the dumpers below do before they dump something finite."""

    written: ClassVar[dict[str, bytes]]

    def dump(self, obj: Any) -> Any:
        if not isinstance(obj, _Infinite):
            return super().dump(obj)
        aware: bool | None = getattr(self, "aware", None)
        if isinstance(obj, InfiniteDatetime) is (aware is None) or (
            isinstance(obj, InfiniteDatetime) and (obj.tzinfo is not None) is not aware
        ):
            raise DataError(f"cannot dump {obj!r} as {type(self).__name__} does: it is of another type")
        return self.written[obj.text]


class _InfiniteLoader(Loader):
    """What the loaders below do before they load something finite."""

    infinities: ClassVar[dict[bytes, _Infinite]]

    def load(self, data: bytes) -> Any:
        infinite = self.infinities.get(data)
        return super().load(data) if infinite is None else infinite


class InfinityDateDumper(_InfiniteDumper, finite.DateDumper):
    """Dump a date or an infinite one, in text."""

    written = _TEXT


class InfinityDateBinaryDumper(_InfiniteDumper, finite.DateBinaryDumper):
    """Dump a date or an infinite one, in binary."""

    written = _DATE


class InfinityDatetimeDumper(_InfiniteDumper, finite.DatetimeDumper):
    """Dump an aware datetime or an infinite one, in text."""

    written = _TEXT


class InfinityDatetimeNoTzDumper(_InfiniteDumper, finite.DatetimeNoTzDumper):
    """Dump a naive datetime or an infinite one, in text."""

    written = _TEXT


class InfinityDatetimeBinaryDumper(_InfiniteDumper, finite.DatetimeBinaryDumper):
    """Dump an aware datetime or an infinite one, in binary."""

    written = _TIMESTAMP


class InfinityDatetimeNoTzBinaryDumper(_InfiniteDumper, finite.DatetimeNoTzBinaryDumper):
    """Dump a naive datetime or an infinite one, in binary."""

    written = _TIMESTAMP


InfinityDatetimeDumper.other = InfinityDatetimeNoTzDumper
InfinityDatetimeNoTzDumper.other = InfinityDatetimeDumper
InfinityDatetimeBinaryDumper.other = InfinityDatetimeNoTzBinaryDumper
InfinityDatetimeNoTzBinaryDumper.other = InfinityDatetimeBinaryDumper


def _by_bytes(written: dict[str, bytes], cls: type[_Infinite], **more: Any) -> dict[bytes, _Infinite]:
    return {data: cls(text, **more) for text, data in written.items()}


class InfinityDateLoader(_InfiniteLoader, finite.DateLoader):
    """Load a date, also an infinite one, from text."""

    infinities = _by_bytes(_TEXT, InfiniteDate)


class InfinityDateBinaryLoader(_InfiniteLoader, finite.DateBinaryLoader):
    """Load a date, also an infinite one, from binary."""

    infinities = _by_bytes(_DATE, InfiniteDate)


class InfinityTimestampLoader(_InfiniteLoader, finite.TimestampLoader):
    """Load a timestamp, also an infinite one, from text."""

    infinities = _by_bytes(_TEXT, InfiniteDatetime)


class InfinityTimestampBinaryLoader(_InfiniteLoader, finite.TimestampBinaryLoader):
    """Load a timestamp, also an infinite one, from binary."""

    infinities = _by_bytes(_TIMESTAMP, InfiniteDatetime)


class InfinityTimestamptzLoader(_InfiniteLoader, finite.TimestamptzLoader):
    """Load a timestamptz, also an infinite one, from text."""

    infinities = _by_bytes(_TEXT, InfiniteDatetime, tzinfo=timezone.utc)


class InfinityTimestamptzBinaryLoader(_InfiniteLoader, finite.TimestamptzBinaryLoader):
    """Load a timestamptz, also an infinite one, from binary."""

    infinities = _by_bytes(_TIMESTAMP, InfiniteDatetime, tzinfo=timezone.utc)


def register_infinity(context: AdaptContext | None = None) -> None:
    """Load infinite dates and timestamps as `InfiniteDate` and `InfiniteDatetime`, and dump lists of these and others.

    :param context: a connection, a cursor or a map; None for all connections that are opened from now on.
    """
    adapters = adapters_of(context)
    # The items of a list have one dumper, whether they are infinite or not.
    for cls, dumpers in ((date, _DATE_DUMPERS), (datetime, _DATETIME_DUMPERS), (None, _NAIVE_DUMPERS)):
        for dumper in dumpers:
            adapters.register_dumper(cls, dumper)
    # The last one of a type is preferred.
    adapters.register_loader("date", InfinityDateLoader)
    adapters.register_loader("date", InfinityDateBinaryLoader)
    adapters.register_loader("timestamp", InfinityTimestampLoader)
    adapters.register_loader("timestamp", InfinityTimestampBinaryLoader)
    adapters.register_loader("timestamptz", InfinityTimestamptzLoader)
    adapters.register_loader("timestamptz", InfinityTimestamptzBinaryLoader)


def register_default_adapters(context: AdaptContext) -> None:
    """Register the dumpers of infinite dates and timestamps."""
    for cls, dumpers in ((InfiniteDate, _DATE_DUMPERS), (InfiniteDatetime, _DATETIME_DUMPERS)):
        for dumper in dumpers:
            context.adapters.register_dumper(cls, dumper)


# The last one is preferred.
_DATE_DUMPERS = (InfinityDateDumper, InfinityDateBinaryDumper)
_DATETIME_DUMPERS = (InfinityDatetimeDumper, InfinityDatetimeBinaryDumper)
_NAIVE_DUMPERS = (InfinityDatetimeNoTzDumper, InfinityDatetimeNoTzBinaryDumper)
