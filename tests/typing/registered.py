"""The types of what is fetched about types, and of the classes for values."""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import Enum

from typing_extensions import assert_type

import anyq
from anyq import AsyncConnection
from anyq.adapt import AdaptersMap
from anyq.types import TypeInfo
from anyq.types.composite import CompositeInfo, register_composite
from anyq.types.enum import EnumInfo, register_enum
from anyq.types.multirange import Int4Multirange, Multirange, MultirangeInfo, register_multirange
from anyq.types.numpy import register_numpy_arrays
from anyq.types.range import DateRange, Range, RangeInfo, register_range
from anyq.types.shapely import register_shapely


class Mood(Enum):
    happy = 1


@dataclass
class Point:
    x: float
    y: float


async def fetched(conn: AsyncConnection, blocking: anyq.Connection, adapters: AdaptersMap) -> None:
    assert_type(await TypeInfo.fetch(conn, "a"), TypeInfo | None)
    assert_type(await EnumInfo.fetch(conn, "a"), EnumInfo | None)
    assert_type(await RangeInfo.fetch(conn, ["a", "b"]), list[RangeInfo | None])
    assert_type(CompositeInfo.fetch(blocking, "a"), CompositeInfo | None)
    assert_type(MultirangeInfo.fetch(blocking, ["a"]), list[MultirangeInfo | None])
    assert_type(adapters.types.get_by_subtype(RangeInfo, "date"), RangeInfo | None)
    assert_type(register_numpy_arrays(conn, masked=True), None)
    info = await TypeInfo.fetch(conn, "geometry")
    assert info is not None
    assert_type(register_shapely(info, conn), None)
    await TypeInfo.fetch(conn, 7)  # type: ignore[call-overload]


def registered(enum: EnumInfo, composite: CompositeInfo, span: RangeInfo, spans: MultirangeInfo) -> None:
    register_enum(enum, None, Mood, mapping={Mood.happy: "a"})
    register_enum(enum, mapping=[(Mood.happy, "a")])
    register_composite(composite, None, Point, make_sequence=lambda point, info: [point.x, point.y])
    register_composite(composite, make_object=lambda values, info: dict(zip(info.field_names, values, strict=True)))
    register_range(span)
    register_multirange(spans)
    register_enum(span)  # type: ignore[arg-type]


def ranges() -> None:
    numbers = Range(1, 5)
    assert_type(numbers, Range[int])
    assert_type(numbers.lower, int | None)
    assert_type(numbers.bounds, str)
    assert_type(DateRange(date.min, None).upper, date | None)
    assert_type(Multirange([numbers]), Multirange[int])
    assert_type(Multirange([numbers])[0], Range[int])
    assert_type(Int4Multirange()[1:], Multirange[int])
