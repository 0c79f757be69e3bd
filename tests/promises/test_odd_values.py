"""Values of the right Python type that PostgreSQL has no place for, and objects of any other type.

Each is dumped, or refused by a DataError or ProgrammingError before anything is sent. What is said is about the value
and what to do, and not about struct, codecs or attributes: in each format, as a literal, in lists, tuples, ranges and
multiranges, and where a column has a type that it does not go with.
"""

from __future__ import annotations

import datetime as dt
import re
from array import array
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum, Flag, IntEnum, IntFlag
from fractions import Fraction
from ipaddress import IPv6Address, IPv6Interface, IPv6Network, ip_address, ip_interface, ip_network
from itertools import count
from typing import Any
from uuid import UUID

import pytest

import anyq
from anyq.adapt import Format, PyFormat
from anyq.adapt.copy import RowFormatter
from anyq.errors import DataError, ProgrammingError
from anyq.postgres import adapters
from anyq.types.geometric import Box, Circle, Line, Lseg, Path, Point, Polygon
from anyq.types.infinity import InfiniteDate, InfiniteDatetime
from anyq.types.interval import Interval
from anyq.types.json import Json, Jsonb
from anyq.types.multirange import (
    DateMultirange,
    Int4Multirange,
    Int8Multirange,
    Multirange,
    NumericMultirange,
    TimestampMultirange,
    TimestamptzMultirange,
)
from anyq.types.numeric import Float4, Float8, Int2, Int4, Int8, IntNumeric, Oid
from anyq.types.range import (
    DateRange,
    Int4Range,
    Int8Range,
    NumericRange,
    Range,
    TimestampRange,
    TimestamptzRange,
)
from tests.support.values import transformer

UTC = dt.timezone.utc
EAST = dt.timezone(dt.timedelta(hours=23, minutes=59, seconds=59, microseconds=999_999))
WEST = dt.timezone(-dt.timedelta(hours=23, minutes=59, seconds=59))
DAY = dt.date(2000, 1, 1)
NAIVE = dt.datetime(2000, 1, 1)
AWARE = NAIVE.replace(tzinfo=UTC)


class NoOffset(dt.tzinfo):
    def utcoffset(self, _: dt.datetime | None) -> None:
        return None

    def dst(self, _: dt.datetime | None) -> None:
        return None

    def tzname(self, _: dt.datetime | None) -> None:
        return None


class MyInt(int):
    pass


class MyStr(str):
    pass


class MyFloat(float):
    pass


class MyTuple(tuple[Any, ...]):
    pass


class Plain(Enum):
    a = object()


class Huge(IntEnum):
    a = 2**70


class Text(str, Enum):
    nul = "\0"
    surrogate = "\ud800"


class Flags(Flag):
    a = 1
    b = 2


class HugeFlags(IntFlag):
    a = 1
    b = 2**66


@dataclass
class Data:
    a: int = 1


class NoRepr:
    def __repr__(self) -> str:
        raise ValueError("mine")


def nested(levels: int, wrap: Callable[[Any], Any], value: Any) -> Any:
    for _ in range(levels):
        value = wrap(value)
    return value


endless: list[Any] = []
endless.append(endless)
endless_tuple: tuple[Any, ...] = ([],)
endless_tuple[0].append(endless_tuple)


def values() -> Iterator[Any]:
    """Yield the values, each time anew: some can be iterated over but once."""
    yield from (0, -1, 2**31, 2**63, -(2**63) - 1, 2**200, 10**5000, True, MyInt(2**40), MyInt(2**70), Int2(2**20))
    yield from (Int4(2**40), Int8(2**70), Oid(-1), Oid(2**32), IntNumeric(10**5000))
    yield from (float("nan"), float("inf"), MyFloat(1e300), Float4(1e300), Float4("nan"), Float8(1e300))
    yield from map(Decimal, ("NaN", "sNaN", "-sNaN123", "inf", "1e999999", "1e-999999", "1e140000", "-0", "0E+999999"))
    yield Decimal((0, (1,), 10**15))
    yield from ("a", "", "\0", "a\0b", "\ud800", "\udcff", MyStr("x\0"), MyStr("x"), "表", "x" * 70)
    yield from (b"", b"\0", bytearray(b"\0"), memoryview(b"abcdef")[::2], memoryview(array("i", [1, 2])), array("d"))
    yield from (memoryview(bytearray(8)).cast("i", [2]), array("i", [1]), UUID(int=2**128 - 1))
    yield from (dt.date.min, dt.date.max, dt.time.max)
    yield from [dt.time(1, tzinfo=zone) for zone in (EAST, WEST, NoOffset())]
    yield from [day.replace(tzinfo=zone) for day in (dt.datetime.min, dt.datetime.max) for zone in (None, EAST, WEST)]
    yield from (NAIVE, AWARE, NAIVE.replace(tzinfo=NoOffset()))
    yield from (dt.timedelta.max, dt.timedelta.min, dt.timedelta(0), dt.timedelta(microseconds=-1))
    yield from (ip_address("::1"), IPv6Address("fe80::1%eth0"), IPv6Interface("fe80::1%eth0/64"))
    yield from (ip_network("10.0.0.0/8"), IPv6Network("fe80::/64"), IPv6Address("fe80::1%e'\0"))
    point: Any = (1, 2)
    a: Any = "a"
    many: Any = 2**2000
    none: Any = None
    yield from (Point(a, a), Point(many, 1), Point(float("nan"), 1), Point(none, 1), Line(1, 2, a), Lseg(many, many))
    yield from (Box(a, point), Circle(point, a), Circle(point, -1), Path([], True), Path([point], a), Path(many, True))
    yield from (Path([point], many), Path([point], none))
    points: Any
    for points in ([], iter([point]), [(1,)], [(1, 2, 3)], count(), ip_network("0.0.0.0/0")):
        yield Polygon(points)
    yield from (Interval(2**40), Interval(0, 2**40), Interval(0, 0, 2**70), Interval(a, 0, 0))
    yield from (InfiniteDate("infinity"), InfiniteDatetime("infinity"), InfiniteDatetime("-infinity", tzinfo=UTC))
    yield from (Json(endless), Jsonb(float("nan")), Jsonb("\0"), Jsonb("\ud800"), Jsonb(10**5000), Json(None))
    yield from ([], [[]], [[], []], [[1], []], [[1], 2], [1, [2]], [None], [[None]], [None, [1]], [1, "a"], [1, 1.5])
    yield from ([True, 1], [Decimal(1), 1], [NAIVE, AWARE], [dt.time(1), dt.time(1, tzinfo=UTC)], [dt.date.min, NAIVE])
    yield from (endless, endless_tuple, nested(7, lambda inner: [inner], 1), nested(100, lambda inner: [inner], 1))
    yield from (nested(900, lambda inner: (inner,), 1), nested(30, lambda inner: [(inner,)], 1), [[1, 2], (3, 4)])
    yield from (["\0"], ["\ud800"], [2**20_000], [Plain.a], [1, Huge.a], [b"\0", bytearray(1)], [Point(a, 1)])
    yield from ([Decimal("sNaN")], [{}], [set()], [(1,), (2, "a")], [Range(1, 2), Range("a", "b")])
    yield from ([Multirange([Range(1, 2)]), Multirange([Range("a", "b")])], [ip_address("::1"), ip_interface("::1/3")])
    yield from (Plain.a, Huge.a, Text.nul, Text.surrogate, Flags.a | Flags.b, HugeFlags.b, Data(), Data, NoRepr())
    yield from (set(), {1}, {}, {"a": 1}, frozenset([1]), range(3), iter([1]), (i for i in [1]), object(), int, count())
    yield from (Fraction(1, 3), 1j, ..., len)
    yield from (Range(5, 1), Range(1, "a"), Range(), Range(empty=True), Range(2**70, 2**80), Range("b", "a"))
    yield from (Range("\0", "\ud800"), Range(NAIVE, AWARE), Range(dt.date.min, NAIVE), Range(1.5, 2))
    yield from (Range(Decimal("sNaN"), Decimal(1)), Range(Decimal(1), 5), Range([1], [2]), Range((1,)), Range(object()))
    yield from (Range(Range(1, 2)), Range(True, False), Range(Int4(1), Int8(2)), Range(Int4(2**50)), Range(NoRepr()))
    bad: Any
    for bad in (
        2**70,
        1.5,
        Decimal("1.5"),
        Decimal("sNaN"),
        float("nan"),
        "x",
        10**5000,
        NAIVE,
        AWARE,
        dt.date.min,
        [1],
    ):
        for range_class in (Int4Range, Int8Range, NumericRange, DateRange, TimestampRange, TimestamptzRange):
            yield range_class(None, bad)
        for multirange_class in (Int4Multirange, Int8Multirange, NumericMultirange, DateMultirange):
            yield multirange_class([Range(bad)])
        yield from (TimestampMultirange([Range(bad)]), TimestamptzMultirange([Range(bad)]), Multirange([Range(1, bad)]))
    yield from (
        TimestamptzRange(dt.datetime.min.replace(tzinfo=EAST)),
        TimestamptzRange(dt.datetime.max.replace(tzinfo=WEST)),
    )
    yield from ((1, "\0"), (object(),), (2**20_000,), (Decimal("sNaN"),), ({},), ((),), (None,), ([],), ([[1], []],))
    yield from ((Int4(2**40), Oid(-1)), MyTuple((1,)), (NoRepr(),))


WRAPS: dict[str, Callable[[Any], Any]] = {
    "alone": lambda value: value,
    "in a list": lambda value: [None, value],
    "in a list of lists": lambda value: [[value], [None]],
    "in a tuple": lambda value: (1, value),
    "in a list of tuples": lambda value: [(value,)],
    "in a range": lambda value: Range(value, None),
    "in a list of ranges": lambda value: [Range(value, value), Range(empty=True)],
    "in a multirange": lambda value: Multirange([Range(None, value)]),
}

PYTHONS_OWN_WORDS = re.compile(
    r"format requires|required argument|too large to|int too|C (long|int)|has no attribute|'NoneType'|unpack"
    r"|codec can't|object is not (a|c|i|s)|must be real|signal|Conversion|sequence item|positional"
)


def check(dump: Callable[[Any], object], value: Any) -> bool:
    """Dump a value; return whether that was refused."""
    try:
        dump(value)
    except (DataError, ProgrammingError) as ex:
        assert len(str(ex)) < 1000
        assert not PYTHONS_OWN_WORDS.search(str(ex)), str(ex)
        return True
    return False


@pytest.mark.parametrize("encoding", ["utf-8", "shift_jis"])
@pytest.mark.parametrize("wrap", WRAPS)
def test_parameters_and_literals(wrap: str, encoding: str) -> None:
    tx = transformer(encoding)
    refused = 0
    for format in PyFormat:
        for value in values():
            refused += check(lambda obj: tx.dump_sequence([obj], [format]), WRAPS[wrap](value))  # noqa: B023 (called at once)
    for value in values():
        refused += check(tx.as_literal, WRAPS[wrap](value))
    assert refused > 200


@pytest.mark.parametrize("format", [Format.TEXT, Format.BINARY])
def test_columns_of_every_type(format: Format) -> None:
    """As in a COPY: an object of any class is given to each of the dumpers that are found by an oid."""
    refused = types = 0
    for oid in adapters._dumpers_by_oid[format]:
        formatter = RowFormatter(transformer(), format == Format.BINARY)
        with suppress(ProgrammingError):  # of items of an array that are written in text alone
            formatter.set_types([oid])
            types += 1
            out = bytearray()
            for value in values():
                refused += check(lambda obj: formatter.format_row((obj,), out), value)  # noqa: B023
                refused += check(lambda obj: formatter.format_row((obj,), out), [value])  # noqa: B023
    assert types > 100
    assert refused > 10_000


def test_json_that_the_standard_library_does_not_write() -> None:
    """What has no place in JSON is a TypeError of its, as in psycopg; a user's `dumps` raises what it likes."""
    tx = transformer()
    with pytest.raises(TypeError, match="object is not JSON serializable"):
        tx.dump_sequence([Jsonb({"a": object()})], [PyFormat.AUTO])
    with pytest.raises(DataError, match="cannot dump list as JSON: Circular reference detected; convert it"):
        tx.dump_sequence([Jsonb(endless)], [PyFormat.AUTO])


def test_nothing_is_sent(dsn: str) -> None:
    """So the transaction goes on, and so does the connection."""
    with anyq.connect(dsn) as conn:
        conn.execute("SELECT 1")
        for value in (Int4Range(1, 2**40), ["\0"], Oid(-1), [[1], []], (Decimal("1e999999"), "\ud800"), 10**200_000):
            for placeholder in ("%s", "%b"):
                with pytest.raises((DataError, ProgrammingError)):
                    conn.execute(f"SELECT {placeholder}", (value,))
            with pytest.raises((DataError, ProgrammingError)):
                conn.cursor().executemany("SELECT %b", [(1,), (value,)])
            if not isinstance(value, Range):  # whose bounds the server reads, where they are text
                with anyq.ClientCursor(conn) as cursor, pytest.raises((DataError, ProgrammingError)):
                    cursor.execute("SELECT %s", (value,))
            assert conn.info.transaction_status.name == "INTRANS"
            assert conn.execute("SELECT 1").fetchone() == (1,)
