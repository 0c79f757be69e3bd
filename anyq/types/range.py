"""Ranges.

Knows ranges of every subtype in both formats, and the Python class `Range` (PostgreSQL manual, "Range Types";
src/backend/utils/adt/rangetypes.c). Must not know the subtypes: it finds their dumpers and loaders in the map.

A bound that is None is infinite. That is something else than a bound whose value is `infinity`, which the subtype has
or has not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .._accel import twin
from .._accel.twins import LoadRangeArguments
from ..adapt.adapters_map import AdaptContext, adapters_of
from ..adapt.base import BinaryLoaders
from ..adapt.encodings import encoding_of, is_ascii_safe
from ..adapt.recursive import RecursiveLoader
from ..adapt.typeinfo import BASE_OID, TypeInfo, TypesRegistry, check_info, global_types
from ..protocol.constants import Format
from ._inside import by_characters
from ._range_bounds import BoundsDumper
from ._range_formats import dump_range_binary, dump_range_text, load_range_binary, load_range_text, malformed
from ._range_values import (
    CLASSES,
    DateRange,
    Int4Range,
    Int8Range,
    NumericRange,
    Range,
    TimestampRange,
    TimestamptzRange,
)

__all__ = [
    "DateRange",
    "Int4Range",
    "Int8Range",
    "NumericRange",
    "Range",
    "RangeInfo",
    "TimestampRange",
    "TimestamptzRange",
    "register_range",
]


class RangeInfo(TypeInfo):
    """Describe a range type.

    :param subtype_oid: the oid of the type of its bounds; for a domain, of its base type.
    """

    _kind = "r"
    _extra_columns = (
        f", (SELECT ({BASE_OID.format(type='r.rngsubtype')}) FROM pg_catalog.pg_range r WHERE r.rngtypid = t.oid)"
    )

    def __init__(self, name: str, oid: int, array_oid: int, *, regtype: str = "", subtype_oid: int):
        super().__init__(name, oid, array_oid, regtype=regtype)
        self.subtype_oid = subtype_oid

    @classmethod
    def _details(cls, *details: Any) -> dict[str, Any]:
        return {"subtype_oid": details[0]}

    def added(self, registry: TypesRegistry) -> None:
        """Let a `Range` find the type by that of its bounds."""
        registry.add_by_subtype(self, self.subtype_oid)


# Dumping


class BaseRangeDumper(BoundsDumper):
    """Dump a `Range` as the type that its bounds belong to."""

    info_class = RangeInfo

    def bounds_of(self, obj: Range[Any]) -> list[Any]:
        return [value for value in (obj.lower, obj.upper) if value is not None]


class RangeDumper(BaseRangeDumper):
    """Dump a `Range` in text format."""

    @twin("dump_range_text")
    def dump(self, obj: Range[Any]) -> bytes:
        self.check((obj.lower, obj.upper))
        return dump_range_text(obj, self.dump_bound, self._encoding)


class RangeBinaryDumper(BaseRangeDumper):
    """Dump a `Range` in binary format."""

    format = Format.BINARY

    @twin("dump_range")
    def dump(self, obj: Range[Any]) -> bytes:
        self.check((obj.lower, obj.upper))
        return dump_range_binary(obj, self.dump_bound)


BaseRangeDumper.untyped = RangeDumper


# Loading


class BaseRangeLoader(RecursiveLoader):
    """Load a range. Subclasses know the type of its bounds."""

    subtype_oid: int

    def __init__(self, oid: int, context: AdaptContext | None = None):
        super().__init__(oid, context)
        self._load_bound = self._tx.nested().get_load_function(self.subtype_oid, self.format)
        self._encoding = encoding_of(self._tx)
        self._ascii_safe = is_ascii_safe(self._encoding)

    @classmethod
    def is_usable(cls, oid: int, tx: BinaryLoaders) -> bool:
        return tx.has_binary_loader(cls.subtype_oid)

    def load_arguments(self) -> LoadRangeArguments | None:
        """Return what the compiled twin needs to know, None where it is no good."""
        usable = self._ascii_safe or self.format == Format.BINARY
        return LoadRangeArguments(self._load_bound, CLASSES) if usable else None


class RangeLoader(BaseRangeLoader):
    """Load a `Range` from text format."""

    @twin("load_range_text")
    def load(self, data: bytes) -> Range[Any]:
        if self._ascii_safe:
            return self._parse(data)
        loaded: Range[Any] = by_characters(data, self._encoding, self._parse)
        return loaded

    def _parse(self, data: bytes, recode: Callable[[bytes], bytes] | None = None) -> Range[Any]:
        loaded, end = load_range_text(data, self._load_bound, 0, recode)
        if end != len(data):
            raise malformed(data)
        return loaded


class RangeBinaryLoader(BaseRangeLoader):
    """Load a `Range` from binary format."""

    format = Format.BINARY

    @twin("load_range")
    def load(self, data: bytes) -> Range[Any]:
        return load_range_binary(data, self._load_bound)


# Those that every server has


class Int4RangeDumper(RangeDumper):
    """Dump `Int4Range` in text format."""

    oid = global_types["int4range"].oid
    subtype_oid = global_types["int4"].oid


class Int4RangeBinaryDumper(RangeBinaryDumper):
    """Dump `Int4Range` in binary format."""

    oid = global_types["int4range"].oid
    subtype_oid = global_types["int4"].oid


class Int8RangeDumper(RangeDumper):
    """Dump `Int8Range` in text format."""

    oid = global_types["int8range"].oid
    subtype_oid = global_types["int8"].oid


class Int8RangeBinaryDumper(RangeBinaryDumper):
    """Dump `Int8Range` in binary format."""

    oid = global_types["int8range"].oid
    subtype_oid = global_types["int8"].oid


class NumericRangeDumper(RangeDumper):
    """Dump `NumericRange` in text format."""

    oid = global_types["numrange"].oid
    subtype_oid = global_types["numeric"].oid


class NumericRangeBinaryDumper(RangeBinaryDumper):
    """Dump `NumericRange` in binary format."""

    oid = global_types["numrange"].oid
    subtype_oid = global_types["numeric"].oid


class DateRangeDumper(RangeDumper):
    """Dump `DateRange` in text format."""

    oid = global_types["daterange"].oid
    subtype_oid = global_types["date"].oid


class DateRangeBinaryDumper(RangeBinaryDumper):
    """Dump `DateRange` in binary format."""

    oid = global_types["daterange"].oid
    subtype_oid = global_types["date"].oid


class TimestampRangeDumper(RangeDumper):
    """Dump `TimestampRange` in text format."""

    oid = global_types["tsrange"].oid
    subtype_oid = global_types["timestamp"].oid


class TimestampRangeBinaryDumper(RangeBinaryDumper):
    """Dump `TimestampRange` in binary format."""

    oid = global_types["tsrange"].oid
    subtype_oid = global_types["timestamp"].oid


class TimestamptzRangeDumper(RangeDumper):
    """Dump `TimestamptzRange` in text format."""

    oid = global_types["tstzrange"].oid
    subtype_oid = global_types["timestamptz"].oid


class TimestamptzRangeBinaryDumper(RangeBinaryDumper):
    """Dump `TimestamptzRange` in binary format."""

    oid = global_types["tstzrange"].oid
    subtype_oid = global_types["timestamptz"].oid


class Int4RangeLoader(RangeLoader):
    """Load int4range from text format."""

    subtype_oid = global_types["int4"].oid


class Int4RangeBinaryLoader(RangeBinaryLoader):
    """Load int4range from binary format."""

    subtype_oid = global_types["int4"].oid


class Int8RangeLoader(RangeLoader):
    """Load int8range from text format."""

    subtype_oid = global_types["int8"].oid


class Int8RangeBinaryLoader(RangeBinaryLoader):
    """Load int8range from binary format."""

    subtype_oid = global_types["int8"].oid


class NumericRangeLoader(RangeLoader):
    """Load numrange from text format."""

    subtype_oid = global_types["numeric"].oid


class NumericRangeBinaryLoader(RangeBinaryLoader):
    """Load numrange from binary format."""

    subtype_oid = global_types["numeric"].oid


class DateRangeLoader(RangeLoader):
    """Load daterange from text format."""

    subtype_oid = global_types["date"].oid


class DateRangeBinaryLoader(RangeBinaryLoader):
    """Load daterange from binary format."""

    subtype_oid = global_types["date"].oid


class TimestampRangeLoader(RangeLoader):
    """Load tsrange from text format."""

    subtype_oid = global_types["timestamp"].oid


class TimestampRangeBinaryLoader(RangeBinaryLoader):
    """Load tsrange from binary format."""

    subtype_oid = global_types["timestamp"].oid


class TimestampTZRangeLoader(RangeLoader):
    """Load tstzrange from text format."""

    subtype_oid = global_types["timestamptz"].oid


class TimestampTZRangeBinaryLoader(RangeBinaryLoader):
    """Load tstzrange from binary format."""

    subtype_oid = global_types["timestamptz"].oid


def register_range(info: RangeInfo, context: AdaptContext | None = None) -> None:
    """Load a range type as `Range`, and dump a `Range` whose bounds are of its subtype as that type.

    :param info: from `RangeInfo.fetch`.
    :param context: a connection, a cursor or a map; None for all connections that are opened from now on.
    :raises TypeError: `info` is None: there is no such range type; or it is no `RangeInfo`.
    """
    check_info(info, RangeInfo, "range type")
    register_own(info, info.subtype_oid, (RangeDumper, RangeBinaryDumper), (RangeLoader, RangeBinaryLoader), context)


def register_own(
    info: TypeInfo,
    subtype_oid: int,
    dumpers: Sequence[type[BoundsDumper]],
    loaders: Sequence[type[BaseRangeLoader]],
    context: AdaptContext | None,
) -> None:
    """For this module and that of multiranges: register classes made of those for any type, for one of these."""
    adapters = adapters_of(context)
    made: Any
    for dumper in dumpers:
        made = type(dumper.__name__, (dumper,), {"oid": info.oid, "subtype_oid": subtype_oid})
        adapters.register_dumper(None, made)
    for loader in loaders:
        made = type(loader.__name__, (loader,), {"subtype_oid": subtype_oid})
        adapters.register_loader(info.oid, made)
    info.register(context)


_BUILTIN: tuple[
    tuple[type[Range[Any]], str, tuple[type[BaseRangeDumper], ...], tuple[type[BaseRangeLoader], ...]], ...
] = (
    (
        Int4Range,
        "int4range",
        (Int4RangeDumper, Int4RangeBinaryDumper),
        (Int4RangeLoader, Int4RangeBinaryLoader),
    ),
    (
        Int8Range,
        "int8range",
        (Int8RangeDumper, Int8RangeBinaryDumper),
        (Int8RangeLoader, Int8RangeBinaryLoader),
    ),
    (
        NumericRange,
        "numrange",
        (NumericRangeDumper, NumericRangeBinaryDumper),
        (NumericRangeLoader, NumericRangeBinaryLoader),
    ),
    (
        DateRange,
        "daterange",
        (DateRangeDumper, DateRangeBinaryDumper),
        (DateRangeLoader, DateRangeBinaryLoader),
    ),
    (
        TimestampRange,
        "tsrange",
        (TimestampRangeDumper, TimestampRangeBinaryDumper),
        (TimestampRangeLoader, TimestampRangeBinaryLoader),
    ),
    (
        TimestamptzRange,
        "tstzrange",
        (TimestamptzRangeDumper, TimestamptzRangeBinaryDumper),
        (TimestampTZRangeLoader, TimestampTZRangeBinaryLoader),
    ),
)


def register_default_adapters(context: AdaptContext) -> None:
    """Register the ranges that every server has."""
    adapters = context.adapters
    # Text is preferred where the type is found by the bounds; it goes by what the server makes of it.
    adapters.register_dumper(Range, RangeBinaryDumper)
    adapters.register_dumper(Range, RangeDumper)
    for cls, name, dumpers, loaders in _BUILTIN:
        info = adapters.types[name]
        subtype_oid = loaders[0].subtype_oid
        adapters.types.add(
            RangeInfo(info.name, info.oid, info.array_oid, regtype=info.regtype, subtype_oid=subtype_oid)
        )
        for dumper in dumpers:
            adapters.register_dumper(cls, dumper)
        for loader in loaders:
            adapters.register_loader(info.oid, loader)
