"""Multiranges.

Knows multiranges of every subtype in both formats, and the Python class `Multirange` (PostgreSQL manual, "Range Types";
src/backend/utils/adt/multirangetypes.c). Must not know the subtypes, nor what a range in one looks like: `range` does.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from struct import error as StructError
from typing import Any

from .._accel import twin
from ..adapt.adapters_map import AdaptContext
from ..adapt.typeinfo import BASE_OID, TypeInfo, TypesRegistry, check_info, global_types
from ..protocol.constants import Format
from ._inside import by_characters
from ._range_bounds import BoundsDumper
from ._range_formats import dump_range_binary, dump_range_text, load_range_binary, load_range_text, malformed
from ._range_values import (
    DateMultirange,
    Int4Multirange,
    Int8Multirange,
    Multirange,
    NumericMultirange,
    Range,
    TimestampMultirange,
    TimestamptzMultirange,
)
from .range import BaseRangeLoader, register_own

__all__ = [
    "DateMultirange",
    "Int4Multirange",
    "Int8Multirange",
    "Multirange",
    "MultirangeInfo",
    "NumericMultirange",
    "TimestampMultirange",
    "TimestamptzMultirange",
    "register_multirange",
]


class MultirangeInfo(TypeInfo):
    """Describe a multirange type.

    :param range_oid: the oid of the type of its ranges.
    :param subtype_oid: the oid of the type of their bounds; for a domain, of its base type.
    """

    _kind = "m"
    _extra_columns = (
        ", (SELECT r.rngtypid FROM pg_catalog.pg_range r WHERE r.rngmultitypid = t.oid)"
        f", (SELECT ({BASE_OID.format(type='r.rngsubtype')}) FROM pg_catalog.pg_range r WHERE r.rngmultitypid = t.oid)"
    )

    def __init__(self, name: str, oid: int, array_oid: int, *, regtype: str = "", range_oid: int, subtype_oid: int):
        super().__init__(name, oid, array_oid, regtype=regtype)
        self.range_oid = range_oid
        self.subtype_oid = subtype_oid

    @classmethod
    def _details(cls, *details: Any) -> dict[str, Any]:
        return {"range_oid": details[0], "subtype_oid": details[1]}

    def added(self, registry: TypesRegistry) -> None:
        """Let a `Multirange` find the type by that of its bounds."""
        registry.add_by_subtype(self, self.subtype_oid)
        registry.add_by_subtype(self, self.range_oid)


class BaseMultirangeDumper(BoundsDumper):
    """Dump a `Multirange` as the type that the bounds of its ranges belong to."""

    info_class = MultirangeInfo

    def bounds_of(self, obj: Multirange[Any]) -> list[Any]:
        return [value for item in obj for value in (item.lower, item.upper) if value is not None]


class MultirangeDumper(BaseMultirangeDumper):
    """Dump a `Multirange` in text format."""

    @twin("dump_multirange_text")
    def dump(self, obj: Multirange[Any]) -> bytes:
        self.check(self.bounds_of(obj))
        return b"{%b}" % b",".join([dump_range_text(item, self.dump_bound, self._encoding) for item in obj])


_pack_length = Struct(">i").pack
_unpack_length = Struct(">i").unpack_from


class MultirangeBinaryDumper(BaseMultirangeDumper):
    """Dump a `Multirange` in binary format."""

    format = Format.BINARY

    @twin("dump_multirange")
    def dump(self, obj: Multirange[Any]) -> bytes:
        self.check(self.bounds_of(obj))
        out = [_pack_length(len(obj))]
        for item in obj:
            data = dump_range_binary(item, self.dump_bound)
            out += (_pack_length(len(data)), data)
        return b"".join(out)


BaseMultirangeDumper.untyped = MultirangeDumper


class BaseMultirangeLoader(BaseRangeLoader):
    """Load a multirange. Subclasses know the type of the bounds of its ranges."""


class MultirangeLoader(BaseMultirangeLoader):
    """Load a `Multirange` from text format."""

    @twin("load_multirange_text")
    def load(self, data: bytes) -> Multirange[Any]:
        if self._ascii_safe:
            return self._parse(data)
        loaded: Multirange[Any] = by_characters(data, self._encoding, self._parse)
        return loaded

    def _parse(self, data: bytes, recode: Callable[[bytes], bytes] | None = None) -> Multirange[Any]:
        if data == b"{}":
            return Multirange()
        ranges: list[Range[Any]] = []
        position = 0
        separator = b"{"
        while data[position : position + 1] == separator:
            loaded, position = load_range_text(data, self._load_bound, position + 1, recode)
            ranges.append(loaded)
            separator = b","
        if data[position:] != b"}" or not ranges:
            raise malformed(data)
        return Multirange(ranges)


class MultirangeBinaryLoader(BaseMultirangeLoader):
    """Load a `Multirange` from binary format."""

    format = Format.BINARY

    @twin("load_multirange")
    def load(self, data: bytes) -> Multirange[Any]:
        ranges: list[Range[Any]] = []
        try:
            count = _unpack_length(data)[0]
            position = 4
            # Each of them has a length of four bytes.
            if not 0 <= count <= len(data) // 4:
                raise malformed(data)
            for _ in range(count):
                length = _unpack_length(data, position)[0]
                start = position + 4
                position = start + length
                if length < 0:
                    raise malformed(data)
                ranges.append(load_range_binary(data[start:position], self._load_bound))
        except StructError as ex:
            raise malformed(data) from ex
        if position != len(data):
            raise malformed(data)
        return Multirange(ranges)


# Those that every server has


class Int4MultirangeDumper(MultirangeDumper):
    """Dump `Int4Multirange` in text format."""

    oid = global_types["int4multirange"].oid
    subtype_oid = global_types["int4"].oid


class Int4MultirangeBinaryDumper(MultirangeBinaryDumper):
    """Dump `Int4Multirange` in binary format."""

    oid = global_types["int4multirange"].oid
    subtype_oid = global_types["int4"].oid


class Int8MultirangeDumper(MultirangeDumper):
    """Dump `Int8Multirange` in text format."""

    oid = global_types["int8multirange"].oid
    subtype_oid = global_types["int8"].oid


class Int8MultirangeBinaryDumper(MultirangeBinaryDumper):
    """Dump `Int8Multirange` in binary format."""

    oid = global_types["int8multirange"].oid
    subtype_oid = global_types["int8"].oid


class NumericMultirangeDumper(MultirangeDumper):
    """Dump `NumericMultirange` in text format."""

    oid = global_types["nummultirange"].oid
    subtype_oid = global_types["numeric"].oid


class NumericMultirangeBinaryDumper(MultirangeBinaryDumper):
    """Dump `NumericMultirange` in binary format."""

    oid = global_types["nummultirange"].oid
    subtype_oid = global_types["numeric"].oid


class DateMultirangeDumper(MultirangeDumper):
    """Dump `DateMultirange` in text format."""

    oid = global_types["datemultirange"].oid
    subtype_oid = global_types["date"].oid


class DateMultirangeBinaryDumper(MultirangeBinaryDumper):
    """Dump `DateMultirange` in binary format."""

    oid = global_types["datemultirange"].oid
    subtype_oid = global_types["date"].oid


class TimestampMultirangeDumper(MultirangeDumper):
    """Dump `TimestampMultirange` in text format."""

    oid = global_types["tsmultirange"].oid
    subtype_oid = global_types["timestamp"].oid


class TimestampMultirangeBinaryDumper(MultirangeBinaryDumper):
    """Dump `TimestampMultirange` in binary format."""

    oid = global_types["tsmultirange"].oid
    subtype_oid = global_types["timestamp"].oid


class TimestamptzMultirangeDumper(MultirangeDumper):
    """Dump `TimestamptzMultirange` in text format."""

    oid = global_types["tstzmultirange"].oid
    subtype_oid = global_types["timestamptz"].oid


class TimestamptzMultirangeBinaryDumper(MultirangeBinaryDumper):
    """Dump `TimestamptzMultirange` in binary format."""

    oid = global_types["tstzmultirange"].oid
    subtype_oid = global_types["timestamptz"].oid


class Int4MultirangeLoader(MultirangeLoader):
    """Load int4multirange from text format."""

    subtype_oid = global_types["int4"].oid


class Int4MultirangeBinaryLoader(MultirangeBinaryLoader):
    """Load int4multirange from binary format."""

    subtype_oid = global_types["int4"].oid


class Int8MultirangeLoader(MultirangeLoader):
    """Load int8multirange from text format."""

    subtype_oid = global_types["int8"].oid


class Int8MultirangeBinaryLoader(MultirangeBinaryLoader):
    """Load int8multirange from binary format."""

    subtype_oid = global_types["int8"].oid


class NumericMultirangeLoader(MultirangeLoader):
    """Load nummultirange from text format."""

    subtype_oid = global_types["numeric"].oid


class NumericMultirangeBinaryLoader(MultirangeBinaryLoader):
    """Load nummultirange from binary format."""

    subtype_oid = global_types["numeric"].oid


class DateMultirangeLoader(MultirangeLoader):
    """Load datemultirange from text format."""

    subtype_oid = global_types["date"].oid


class DateMultirangeBinaryLoader(MultirangeBinaryLoader):
    """Load datemultirange from binary format."""

    subtype_oid = global_types["date"].oid


class TimestampMultirangeLoader(MultirangeLoader):
    """Load tsmultirange from text format."""

    subtype_oid = global_types["timestamp"].oid


class TimestampMultirangeBinaryLoader(MultirangeBinaryLoader):
    """Load tsmultirange from binary format."""

    subtype_oid = global_types["timestamp"].oid


class TimestampTZMultirangeLoader(MultirangeLoader):
    """Load tstzmultirange from text format."""

    subtype_oid = global_types["timestamptz"].oid


class TimestampTZMultirangeBinaryLoader(MultirangeBinaryLoader):
    """Load tstzmultirange from binary format."""

    subtype_oid = global_types["timestamptz"].oid


def register_multirange(info: MultirangeInfo, context: AdaptContext | None = None) -> None:
    """Load a multirange type as `Multirange`, and dump a `Multirange` whose bounds are of its subtype as that type.

    :param info: from `MultirangeInfo.fetch`.
    :param context: a connection, a cursor or a map; None for all connections that are opened from now on.
    :raises TypeError: `info` is None: there is no such multirange type; or it is no `MultirangeInfo`.
    """
    check_info(info, MultirangeInfo, "multirange type")
    dumpers = (MultirangeDumper, MultirangeBinaryDumper)
    register_own(info, info.subtype_oid, dumpers, (MultirangeLoader, MultirangeBinaryLoader), context)


_BUILTIN: tuple[
    tuple[type[Multirange[Any]], str, tuple[type[BaseMultirangeDumper], ...], tuple[type[BaseMultirangeLoader], ...]],
    ...,
] = (
    (
        Int4Multirange,
        "int4multirange",
        (Int4MultirangeDumper, Int4MultirangeBinaryDumper),
        (Int4MultirangeLoader, Int4MultirangeBinaryLoader),
    ),
    (
        Int8Multirange,
        "int8multirange",
        (Int8MultirangeDumper, Int8MultirangeBinaryDumper),
        (Int8MultirangeLoader, Int8MultirangeBinaryLoader),
    ),
    (
        NumericMultirange,
        "nummultirange",
        (NumericMultirangeDumper, NumericMultirangeBinaryDumper),
        (NumericMultirangeLoader, NumericMultirangeBinaryLoader),
    ),
    (
        DateMultirange,
        "datemultirange",
        (DateMultirangeDumper, DateMultirangeBinaryDumper),
        (DateMultirangeLoader, DateMultirangeBinaryLoader),
    ),
    (
        TimestampMultirange,
        "tsmultirange",
        (TimestampMultirangeDumper, TimestampMultirangeBinaryDumper),
        (TimestampMultirangeLoader, TimestampMultirangeBinaryLoader),
    ),
    (
        TimestamptzMultirange,
        "tstzmultirange",
        (TimestamptzMultirangeDumper, TimestamptzMultirangeBinaryDumper),
        (TimestampTZMultirangeLoader, TimestampTZMultirangeBinaryLoader),
    ),
)


def register_default_adapters(context: AdaptContext) -> None:
    """Register the multiranges that every server has."""
    adapters = context.adapters
    adapters.register_dumper(Multirange, MultirangeBinaryDumper)
    adapters.register_dumper(Multirange, MultirangeDumper)
    for cls, name, dumpers, loaders in _BUILTIN:
        info = adapters.types[name]
        subtype_oid = loaders[0].subtype_oid
        range_oid = adapters.types[name.replace("multi", "")].oid
        adapters.types.add(
            MultirangeInfo(
                info.name,
                info.oid,
                info.array_oid,
                regtype=info.regtype,
                range_oid=range_oid,
                subtype_oid=subtype_oid,
            )
        )
        for dumper in dumpers:
            adapters.register_dumper(cls, dumper)
        for loader in loaders:
            adapters.register_loader(info.oid, loader)
