"""Multiranges: the Python class, which type one is sent as, both formats, and whatever else may arrive."""

from __future__ import annotations

import copy
import pickle
from contextlib import suppress
from datetime import date, datetime, timezone
from decimal import Decimal
from struct import pack
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import anyq
from anyq import AsyncClientCursor, AsyncConnection
from anyq.adapt import PyFormat, Transformer
from anyq.errors import DataError, ProgrammingError
from anyq.postgres import types
from anyq.types.multirange import (
    DateMultirange,
    Int4Multirange,
    Int4MultirangeDumper,
    Int8Multirange,
    Multirange,
    MultirangeInfo,
    NumericMultirange,
    TimestampMultirange,
    TimestamptzMultirange,
    register_multirange,
)
from anyq.types.range import Int4Range, Range, RangeInfo, register_range
from tests.support.values import FORMATS, PYFORMATS, FakeConnection, dump, load, there_and_back, transformer

OID, ARRAY_OID, RANGE_OID = 70_000, 70_001, 70_002
DAY = date(2024, 1, 2)
NAIVE = datetime(2024, 1, 2, 3, 4, 5, 6)
AWARE = NAIVE.replace(tzinfo=timezone.utc)

BUILTIN: list[tuple[type[Multirange[Any]], str, Any]] = [
    (Int4Multirange, "int4multirange", st.integers(-(2**31), 2**31 - 1)),
    (Int8Multirange, "int8multirange", st.integers(-(2**63), 2**63 - 1)),
    (NumericMultirange, "nummultirange", st.decimals(allow_nan=False, allow_infinity=False, places=3)),
    (DateMultirange, "datemultirange", st.dates()),
    (TimestampMultirange, "tsmultirange", st.datetimes()),
    (TimestamptzMultirange, "tstzmultirange", st.datetimes(timezones=st.just(timezone.utc))),
]


def name_of(value: Any, format: PyFormat = PyFormat.AUTO) -> str:
    oid = dump(value, format)[1]
    return types[oid].name + "[]" * (oid == types[oid].array_oid) if oid else "unknown"


# -- the class


def test_a_sequence_that_can_be_changed() -> None:
    value: Multirange[int] = Multirange([Range(1, 2), Range(5, 6)])
    value.append(Range(8, 9))
    value.insert(0, Range(None, 0))
    value[1] = Range(1, 3)
    assert list(value) == [Range(None, 0), Range(1, 3), Range(5, 6), Range(8, 9)]
    part = value[1:3]
    assert type(part) is Multirange
    assert part == Multirange([Range(1, 3), Range(5, 6)])
    value[1:3] = [Range(4, 5)]
    del value[0]
    assert value == Multirange([Range(4, 5), Range(8, 9)])
    assert len(value) == 2 and value[-1] == Range(8, 9)
    assert Range(8, 9) in value
    assert bool(Multirange()) is False
    assert type(Int4Multirange([Int4Range(1, 2)])[:]) is Int4Multirange


def test_only_ranges() -> None:
    value: Multirange[Any] = Multirange([Range(1, 2)])
    wrong: Any = (1, 2)
    for change in (
        lambda: Multirange([wrong]),
        lambda: value.append(wrong),
        lambda: value.__setitem__(0, wrong),
        lambda: value.__setitem__(slice(0, 1), [wrong]),
    ):
        with pytest.raises(TypeError, match="is a sequence of Range"):
            change()
    assert value == Multirange([Range(1, 2)])


def test_compared_and_shown() -> None:
    one, two = Multirange([Range(1, 2)]), Multirange([Range(1, 2), Range(5, 6)])
    assert one == Int4Multirange([Range(1, 2)]) != two
    assert one < two and one <= two and two > one and two >= one and Multirange() < one
    assert one != [Range(1, 2)]
    with pytest.raises(TypeError):
        hash(one)
    with pytest.raises(TypeError):
        one < [Range(1, 2)]  # noqa: B015
    assert repr(two) == "Multirange([Range(1, 2, '[)'), Range(5, 6, '[)')])"
    assert str(two) == "{[1, 2), [5, 6)}"
    for again in (pickle.loads(pickle.dumps(two)), copy.copy(two), copy.deepcopy(two)):
        assert again == two
        again.append(Range(7, 8))
        assert again != two


def test_copies_of_subclasses() -> None:
    class Named(Int4Multirange):
        name = ""

    value = Named([Range(1, 2)])
    value.name = "x"
    for again in (copy.copy(value), copy.deepcopy(value)):
        assert (type(again), again, again.name) == (Named, value, "x")


def test_one_that_was_not_initialised() -> None:
    value = object.__new__(Multirange)
    for format in PyFormat:
        with pytest.raises(ProgrammingError, match=r"this Multirange has no bounds"):
            dump(value, format)


# -- which type


@pytest.mark.parametrize("format", PYFORMATS)
@pytest.mark.parametrize(
    ("value", "name"),
    [
        (Multirange(), "unknown"),
        (Multirange([Range()]), "unknown"),
        (Multirange([Range(1, 2), Range(2**40)]), "unknown"),
        (Multirange[Any]([Range(1, 2), Range(Decimal(5))]), "nummultirange"),
        (Multirange([Range(), Range(DAY)]), "datemultirange"),
        (Multirange([Range(NAIVE)]), "tsmultirange"),
        (Multirange([Range(AWARE)]), "tstzmultirange"),
        (Int4Multirange(), "int4multirange"),
        (Int8Multirange([Range(1, 2)]), "int8multirange"),
        (NumericMultirange(), "nummultirange"),
        (DateMultirange(), "datemultirange"),
        (TimestampMultirange(), "tsmultirange"),
        (TimestamptzMultirange(), "tstzmultirange"),
        ([Multirange(), Multirange([Range(DAY)])], "datemultirange[]"),
        ([[Int4Multirange([Range(1, 2)])]], "int4multirange[]"),
        ([Multirange([Range(1, 2)])], "unknown"),
    ],
)
def test_which_type(value: Any, name: str, format: PyFormat) -> None:
    assert name_of(value, format) == name
    if name == "unknown":
        assert dump(value, format)[2] == 0


@pytest.mark.parametrize("format", PYFORMATS)
@pytest.mark.parametrize(
    "value",
    [
        Multirange([Range(NAIVE), Range(AWARE)]),
        TimestamptzMultirange([Range(NAIVE), Range(AWARE)]),
        TimestampMultirange([Range(AWARE)]),
        Multirange[Any]([Range(DAY), Range(NAIVE)]),
        Multirange[Any]([Range(1), Range("a")]),
        [Multirange([Range(DAY)]), Multirange([Range(NAIVE)])],
    ],
)
def test_bounds_that_do_not_go_together(value: Any, format: PyFormat) -> None:
    with pytest.raises(DataError):
        dump(value, format)


# -- there and back without a server


@st.composite
def multiranges(draw: st.DrawFn, bounds: st.SearchStrategy[Any], cls: type[Multirange[Any]] = Multirange) -> Any:
    brackets = st.sampled_from(["[]", "[)", "(]", "()"])
    some = st.builds(Range, st.none() | bounds, st.none() | bounds, brackets)
    return cls(draw(st.lists(some | st.just(Range(empty=True)), max_size=3)))


@pytest.mark.parametrize(("cls", "name", "bounds"), BUILTIN, ids=[name for _, name, _ in BUILTIN])
def test_there_and_back(cls: type[Multirange[Any]], name: str, bounds: Any) -> None:
    tx = transformer()

    @given(
        st.sampled_from(PYFORMATS), multiranges(bounds, cls), st.lists(st.none() | multiranges(bounds, cls), max_size=1)
    )
    def check(format: PyFormat, value: Any, several: list[Any]) -> None:
        got = there_and_back(value, format, tx)
        assert type(got) is Multirange
        assert got == value
        assert there_and_back([value, *several], format, tx) == [value, *several]

    check()


def text_multiranges(encoding: str = "utf-8") -> Transformer:
    connection = FakeConnection(encoding)
    info = MultirangeInfo("spans", OID, ARRAY_OID, range_oid=RANGE_OID, subtype_oid=types["text"].oid)
    register_multirange(info, connection)
    return Transformer(connection)


@pytest.mark.parametrize("format", PYFORMATS)
@pytest.mark.parametrize(
    ("encoding", "characters"),
    [("utf-8", "é表"), ("shift_jis", "表ソボ|"), ("gbk", "誠功|"), ("big5", "功許|"), ("gb18030", "誠功|")],
)
def test_bounds_of_text(encoding: str, characters: str, format: PyFormat) -> None:
    tx = text_multiranges(encoding)

    @given(multiranges(st.text(characters + 'a [](),"\\{}')))
    def check(value: Any) -> None:
        for obj, default in ((value, OID), ([value, None], ARRAY_OID)):
            data, oid, wire = dump(obj, format, tx)
            assert data is not None
            assert load(bytes(data), oid or default, wire, tx) == obj

    check()


def test_text() -> None:
    tx = text_multiranges()
    assert load(b"{}", OID, 0, tx) == Multirange()
    assert load(b'{["a,}","""{"),(,x]}', OID, 0, tx) == Multirange([Range("a,}", '"{'), Range(None, "x", "(]")])
    assert tx.as_literal(Multirange([Range("a", "b")])) == b"'{[a,b)}'::spans"
    assert tx.as_literal(Int4Multirange()) == b"'{}'::int4multirange"


# -- whatever else may arrive

ONE = b"\x02" + pack(">iiii", 4, 1, 4, 2)
MALFORMED = {
    0: [
        b"",
        b"{",
        b"}",
        b"{,}",
        b"{[1,2)",
        b"[1,2)",
        b"{[1,2)}x",
        b"{[1,2),}",
        b"{[1,2)[3,4)}",
        b"{[1,2);[3,4)}",
        b"{}}",
    ],
    1: [
        b"",
        b"\0\0\0",
        b"\0\0\0\0\0",
        pack(">i", -1),
        pack(">i", 2**31 - 1) + b"\0" * 9,
        pack(">ii", 1, len(ONE)) + ONE[:-1],
        pack(">ii", 1, len(ONE)) + ONE + b"\0",
        pack(">ii", 1, -1),
        pack(">ii", 2, len(ONE)) + ONE,
    ],
}


@pytest.mark.parametrize("format", FORMATS)
def test_malformed(format: int) -> None:
    for data in MALFORMED[format]:
        with pytest.raises(DataError):
            load(data, "int4multirange", format)


@pytest.mark.parametrize("name", [name for _, name, _ in BUILTIN])
def test_any_bytes(name: str) -> None:
    pieces = [b"{", b"}", b"[", b"(", b",", b")", b'"', b"\\", b"1", pack(">i", 1), pack(">i", len(ONE)), ONE, b"\xff"]
    in_sjis = text_multiranges("shift_jis")

    @given(
        st.sampled_from(FORMATS), st.binary(max_size=30) | st.lists(st.sampled_from(pieces), max_size=12).map(b"".join)
    )
    def check(format: int, data: bytes) -> None:
        for kind, tx in ((name, None), (name + "[]", None), (OID, in_sjis), (ARRAY_OID, in_sjis)):
            with suppress(DataError):
                load(data, kind, format, tx)

    check()


def test_no_such_multirange() -> None:
    missing: Any = None
    with pytest.raises(TypeError, match=r"MultirangeInfo\.fetch\(\) returns None"):
        register_multirange(missing)


def test_by_subtype() -> None:
    for key in ("int4", "int4range"):
        assert types.get_by_subtype(MultirangeInfo, key) is types["int4multirange"]
    assert types.get_by_subtype(MultirangeInfo, "text") is None


def test_a_dumper_of_ones_own() -> None:
    class Shifts(Multirange[int]):
        pass

    connection = FakeConnection()
    connection.adapters.register_dumper(Shifts, Int4MultirangeDumper)
    tx = Transformer(connection)
    assert dump(Shifts([Range(1, 2)]), PyFormat.TEXT, tx)[:2] == (b"{[1,2)}", types["int4multirange"].oid)


# -- with a server


@pytest.mark.anyio
@pytest.mark.parametrize("name", [name for _, name, _ in BUILTIN])
async def test_round_trip(conn: AsyncConnection[Any], name: str) -> None:
    cls = next(cls for cls, other, _ in BUILTIN if other == name)
    await conn.execute("SET TIME ZONE 'UTC'")
    low: Any
    high: Any
    low, high = {
        "int4multirange": (-(2**31), 2**31 - 1),
        "int8multirange": (-(2**63), 2**63 - 1),
        "nummultirange": (Decimal("-1.50"), Decimal(1000)),
        "datemultirange": (DAY, date(9999, 12, 31)),
        "tsmultirange": (NAIVE, datetime.max),
        "tstzmultirange": (AWARE, datetime.max.replace(tzinfo=timezone.utc)),
    }[name]
    cases: list[list[Range[Any]]] = [[], [Range(None, low), Range(high, None)], [Range(low, high)], [Range()]]
    for ranges in cases:
        for value in (cls(ranges), Multirange(ranges)):
            for format in PyFormat:
                for binary in (False, True):
                    p = f"%{format.value}::{name}"
                    query = f"SELECT {p}, {p}[], isempty({p}), lower({p})"
                    cursor = await conn.execute(query, [value, [value, None], value, value], binary=binary)
                    lower = value[0].lower if value else None
                    assert await cursor.fetchone() == (value, [value, None], not value, lower)


@pytest.mark.anyio
async def test_the_server_joins_and_sorts(conn: AsyncConnection[Any]) -> None:
    value = Int4Multirange([Range(5, 9), Range(1, 3, "[]"), Range(4, 6), Range(empty=True), Range(20, 21)])
    for binary in (False, True):
        cursor = await conn.execute("SELECT %s", [value], binary=binary)
        assert await cursor.fetchone() == (Multirange([Range(1, 9), Range(20, 21)]),)


@pytest.mark.anyio
@pytest.mark.parametrize("encoding", ["UTF8", "SJIS", "GBK", "BIG5", "GB18030"])
async def test_one_of_the_users(conn: AsyncConnection[Any], encoding: str) -> None:
    await conn.execute(
        'CREATE TYPE pg_temp."a range" AS RANGE (subtype = text, multirange_type_name = pg_temp."the, ranges")'
    )
    await conn.execute(f"SET client_encoding TO '{encoding}'".encode())
    info = await MultirangeInfo.fetch(conn, 'pg_temp."the, ranges"')
    span = await RangeInfo.fetch(conn, 'pg_temp."a range"')
    assert info is not None and span is not None
    assert (info.range_oid, info.subtype_oid) == (span.oid, types["text"].oid)
    register_range(span, conn)
    register_multirange(info, conn)
    text = {"UTF8": "é", "SJIS": "表", "GBK": "誠", "BIG5": "功", "GB18030": "誠"}[encoding]
    value = Multirange([Range("", ' "\\[],(){}', "[]"), Range("a,}", text + '"', "[]")])
    client = AsyncClientCursor(conn)
    for binary in (False, True):
        for format in PyFormat:
            p = f"%{format.value}"
            query = f"SELECT {p}, {p}, pg_typeof({p})::oid, (SELECT r FROM unnest({p}) r ORDER BY r DESC LIMIT 1)"
            cursor = await conn.execute(query, [value, [value, None], value, value], binary=binary)
            assert await cursor.fetchone() == (value, [value, None], info.oid, value[1])
    await client.execute("SELECT %s, %s", [value, [[value]]])
    assert await client.fetchone() == (value, [[value]])


@pytest.mark.anyio
async def test_fetch(conn: AsyncConnection[Any]) -> None:
    built_in, number, single = await MultirangeInfo.fetch(conn, ["int4multirange", "int4", "int4range"])
    assert built_in is not None
    assert (built_in.range_oid, built_in.subtype_oid) == (types["int4range"].oid, types["int4"].oid)
    assert number is single is None


def test_fetch_synchronously(dsn: str) -> None:
    with anyq.connect(dsn, autocommit=True) as conn:
        info = MultirangeInfo.fetch(conn, "tsmultirange")
        assert info is not None
        register_multirange(info, conn)
        value = Multirange([Range(NAIVE)])
        assert conn.execute("SELECT %s", [value]).fetchone() == (value,)


def test_what_has_no_ranges() -> None:
    with pytest.raises(TypeError, match="a Multirange is made of ranges, not int"):
        Multirange(3)  # type: ignore[arg-type]
