"""A value is sent as the type that psycopg sends it as: by what it is, and by what is in it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from enum import Enum, IntEnum
from importlib import import_module
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any
from uuid import UUID

import pytest

UTC = dt.timezone.utc
DAY, NAIVE, AWARE = dt.date(2000, 1, 1), dt.datetime(2000, 1, 1), dt.datetime(2000, 1, 1, tzinfo=UTC)


class Plain(Enum):
    a = 1


class Number(IntEnum):
    small = 1
    great = 70_000


class Text(str, Enum):
    a = "q"


class MyInt(int):
    pass


class MyStr(str):
    pass


def values(driver: str) -> Iterator[Any]:
    """Yield the values, made of a driver's classes."""
    numeric, json = import_module(f"{driver}.types.numeric"), import_module(f"{driver}.types.json")
    ranges, multi = import_module(f"{driver}.types.range"), import_module(f"{driver}.types.multirange")
    span, spans = ranges.Range, multi.Multirange
    limits = [bound + step for bits in (15, 31, 63) for bound in (2**bits, -(2**bits)) for step in (-1, 0)]
    yield from (None, True, 0, -1, *limits, 10**30, MyInt(5), MyInt(2**40), *Number, *Plain, *Text, MyStr("x"), "a", "")
    yield from (b"a", bytearray(b"a"), memoryview(b"a"), 1.5, float("nan"), Decimal("1.50"), Decimal("NaN"))
    for name in ("Int2", "Int4", "Int8", "Oid", "Float4", "Float8"):
        yield getattr(numeric, name)(1)
    scalars = [DAY, NAIVE, AWARE, dt.time(1), dt.time(1, tzinfo=UTC), dt.timedelta(1), UUID(int=1), ip_address("::1")]
    scalars += [
        ip_address("1.1.1.1"),
        ip_interface("1.1.1.1/8"),
        ip_network("1.0.0.0/8"),
        json.Json([1]),
        json.Jsonb(1),
    ]
    yield from scalars
    yield from ([scalar, None] for scalar in scalars)
    # By magnitude, whichever item is the widest, and with None anywhere.
    yield from ([[None, 1, limit] for limit in limits] + [[[limit], [1]] for limit in limits])
    yield from (
        [],
        [None],
        ["a"],
        ["a", None],
        [[1], [2]],
        [1.5],
        [Decimal(1)],
        [b"x"],
        [True],
        [Number.great],
        [Plain.a],
    )
    # By the bounds.
    yield from (span(1, 5), span(empty=True), span(), span(1, 2**40), span(None, Decimal(1)), span(DAY, None))
    yield from (span(None, NAIVE), span(AWARE, AWARE), span("a", "b"), span(1.5, 2.5), ranges.Int4Range(1, 2))
    yield from (ranges.DateRange(DAY, None), [span(1, 2), None], [span(DAY, None)], [None, ranges.Int8Range(1, 2)])
    yield from (spans(), spans([span(1, 2)]), spans([span(DAY, None)]), spans([span(empty=True)]))
    yield from (
        [spans([span(DAY, None)]), None],
        multi.Int4Multirange([]),
        spans([span(empty=True), span(None, AWARE)]),
    )
    yield from ((1, "a"), (), (None,))


#: A binary array of text is not what these are meant for, so that the server is to find the type out.
UNKNOWN_HERE = {("b", "[<Plain.a: 1>]"), ("b", "[Range(1, 2, '[)'), None]")}


def chosen(driver: str, value: Any, letter: str) -> int | str:
    adapt, package = import_module(f"{driver}.adapt"), import_module(driver)
    tx = adapt.Transformer(package.adapters)
    try:
        found = tx.dump_sequence([value], [adapt.PyFormat(letter)])
    except package.Error as ex:
        return type(ex).__name__
    oids = found[1] if driver == "anyq" else tx.types
    return int(oids[0])


@pytest.mark.parametrize("letter", ["s", "t", "b"])
def test_types_are_chosen_as_psycopg_does(letter: str, psycopg: Any) -> None:
    count = 0
    for ours, theirs in zip(values("anyq"), values("psycopg"), strict=True):
        count += 1
        wanted = chosen("psycopg", theirs, letter)
        if (letter, repr(ours)) in UNKNOWN_HERE:
            assert wanted == psycopg.adapters.types["text"].array_oid
            wanted = 0
        assert chosen("anyq", ours, letter) == wanted, (letter, ours)
    assert count > 100


def test_what_is_chosen_better() -> None:
    """A list of ranges of which some are empty, and bounds that are an int and a Decimal."""
    from anyq.postgres import types
    from anyq.types.numeric import IntNumeric
    from anyq.types.range import Range

    mixed = [Range(DAY, None), Range(empty=True), None]
    for letter in "stb":
        assert chosen("anyq", mixed, letter) == types["daterange"].array_oid
        assert chosen("anyq", Range(Decimal(1), 2), letter) == types["numrange"].oid
        assert chosen("anyq", IntNumeric(1), letter) == types["numeric"].oid
        assert chosen("anyq", [2**63, None], letter) == types["numeric"].array_oid
