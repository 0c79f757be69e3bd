"""Ranges: the Python class, which type one is sent as, both formats, and whatever else may arrive."""

from __future__ import annotations

import copy
import pickle
from contextlib import suppress
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from struct import pack
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import anyq
from anyq import AsyncClientCursor, AsyncConnection, sql
from anyq.adapt import Format, PyFormat, Transformer
from anyq.errors import DataError, ProgrammingError
from anyq.postgres import types
from anyq.types.multirange import Multirange
from anyq.types.numeric import Int8
from anyq.types.range import (
    DateRange,
    Int4Range,
    Int4RangeDumper,
    Int4RangeLoader,
    Int8Range,
    NumericRange,
    Range,
    RangeDumper,
    RangeInfo,
    TimestampRange,
    TimestamptzRange,
    register_range,
)
from tests.support.values import FORMATS, PYFORMATS, FakeConnection, dump, load, there_and_back, transformer

OID, ARRAY_OID = 70_000, 70_001
UTC = timezone.utc
DAY = date(2024, 1, 2)
NAIVE = datetime(2024, 1, 2, 3, 4, 5, 6)
AWARE = NAIVE.replace(tzinfo=UTC)

BUILTIN: list[tuple[type[Range[Any]], str, Any, Any]] = [
    (Int4Range, "int4range", -(2**31), 2**31 - 1),
    (Int8Range, "int8range", -(2**63), 2**63 - 1),
    (NumericRange, "numrange", Decimal("-1.50"), Decimal("1E+3")),
    (DateRange, "daterange", DAY, date(9999, 12, 31)),
    (TimestampRange, "tsrange", NAIVE, NAIVE + timedelta(days=1)),
    (TimestamptzRange, "tstzrange", AWARE, AWARE + timedelta(days=1)),
]


def name_of(value: Any, format: PyFormat = PyFormat.AUTO) -> str:
    oid = dump(value, format)[1]
    return types[oid].name + "[]" * (oid == types[oid].array_oid) if oid else "unknown"


# -- the class


def test_what_it_has() -> None:
    one: Range[int] = Range(1, 5, "[]")
    assert (one.lower, one.upper, one.bounds) == (1, 5, "[]")
    assert (one.isempty, one.lower_inf, one.upper_inf, one.lower_inc, one.upper_inc) == (False,) * 3 + (True,) * 2
    all_of_them: Range[int] = Range(bounds="[]")
    assert all_of_them.bounds == "()"
    assert all_of_them.lower_inf and all_of_them.upper_inf
    assert not all_of_them.lower_inc and not all_of_them.upper_inc
    empty: Range[int] = Range(1, 2, empty=True)
    assert empty.isempty
    assert (empty.lower, empty.upper, empty.bounds) == (None, None, "")
    assert not (empty.lower_inf or empty.upper_inf or empty.lower_inc or empty.upper_inc)
    assert bool(all_of_them) is bool(one) is True
    assert bool(empty) is False
    with pytest.raises(AttributeError):
        one.lower = 3  # type: ignore[misc]


@pytest.mark.parametrize("bounds", ["", "[", "[[", "][", "empty", "{}"])
def test_bounds(bounds: str) -> None:
    with pytest.raises(ValueError, match="bounds of a range are"):
        Range(1, 2, bounds)


def test_shown() -> None:
    assert repr(Range(1, None)) == "Range(1, None, '[)')"
    assert repr(Int4Range(empty=True)) == "Int4Range(empty=True)"
    assert str(Range(1, 2, "(]")) == "(1, 2]"
    assert str(Range(empty=True)) == "empty"


@pytest.mark.parametrize("bounds", ["[]", "[)", "(]", "()"])
def test_contains(bounds: str) -> None:
    value: Range[int] = Range(1, 5, bounds)
    assert [n for n in range(7) if n in value] == [
        *([1] if bounds[0] == "[" else []),
        *[2, 3, 4],
        *([5] if bounds[1] == "]" else []),
    ]
    assert 10**9 in Range(1, None) and 0 not in Range(1, None)
    assert -(10**9) in Range(None, 1)
    empty: Range[int] = Range(empty=True)
    assert 1 not in empty
    with pytest.raises(TypeError):
        "a" in value  # type: ignore[operator]  # noqa: B015


def test_equal_and_hashed() -> None:
    assert Range(1, 2) == Int4Range(1, 2) == Range(Decimal(1), 2)
    assert hash(Range(1, 2)) == hash(Int4Range(1, 2))
    assert len({Range(1, 2), Range(1, 2), Range(1, 2, "[]"), Range(empty=True), Range(5, empty=True)}) == 3
    assert Range(1, 2) != (1, 2)
    with pytest.raises(TypeError):
        Range(1, 2) < 3  # noqa: B015


class Named(Range[int]):
    def __init__(self, name: str, *args: Any) -> None:
        super().__init__(*args)
        self.name = name


class Forgetful(Range[int]):
    def __init__(self) -> None:
        pass


def copies(value: Any) -> list[Any]:
    pickled = [pickle.loads(pickle.dumps(value, protocol)) for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1)]
    return [*pickled, copy.copy(value), copy.deepcopy(value)]


def test_copied() -> None:
    for value in (Range(1, 2), Int4Range(None, 2, "()"), Range(empty=True), Named("x", 1, 2, "[]")):
        for again in copies(value):
            assert again == value
            assert not again < value and again <= value
            assert type(again) is type(value)
            assert (hash(again), repr(again), str(again)) == (hash(value), repr(value), str(value))
            assert vars(again) == vars(value) if isinstance(value, Named) else not hasattr(again, "__dict__")
    # Of bounds that can be changed, a deep copy has others.
    bound = [1]
    of_lists = Range(bound, [2])
    shallow, deep = copy.copy(of_lists), copy.deepcopy(of_lists)
    bound.append(3)
    assert shallow.lower == [1, 3]
    assert deep.lower == [1]
    with pytest.raises(TypeError, match="unhashable"):
        hash(of_lists)


@pytest.mark.parametrize("format", FORMATS)
def test_loaded_ones_are_like_those_that_are_made(format: Format) -> None:
    """Without the constructor, which the compiled path does not call."""
    for made in (Range(1, 5), Range(None, 5), Range(1), Range(), Range(empty=True)):
        data, _, _ = dump(Int4Range(made.lower, made.upper, empty=made.isempty), PyFormat.from_pq(format))
        loaded = load(bytes(data or b""), "int4range", format)
        for again in [loaded, *copies(loaded)]:
            assert again == made
            assert type(again) is Range
            assert (hash(again), repr(again), again.isempty) == (hash(made), repr(made), made.isempty)
            assert (again.lower_inf, again.upper_inf, again.lower_inc, again.upper_inc) == (
                *(made.lower_inf, made.upper_inf, made.lower_inc, made.upper_inc),
            )


def test_a_subclass_that_forgets_its_base_class() -> None:
    value = Forgetful()
    assert not hasattr(value, "nothing")
    with pytest.raises(AttributeError, match="'Forgetful' object has no attribute 'nothing'"):
        value.nothing  # type: ignore[attr-defined]  # noqa: B018
    for format in PyFormat:
        for obj in (value, [value], (value,) if format is not PyFormat.BINARY else value, Multirange([value])):
            with pytest.raises(ProgrammingError, match=r"this Forgetful has no bounds: Forgetful.__init__"):
                dump(obj, format)


ints = st.none() | st.integers(0, 3)


@st.composite
def int_ranges(draw: st.DrawFn) -> Range[int]:
    if draw(st.integers(0, 5)) == 0:
        return Range(empty=True)
    lower, upper = draw(ints), draw(ints)
    if lower is not None and upper is not None and lower > upper:
        lower, upper = upper, lower
    return Range(lower, upper, draw(st.sampled_from(["[]", "[)", "(]", "()"])))


@given(st.lists(int_ranges(), max_size=6))
def test_order_is_total(values: list[Range[int]]) -> None:
    ordered = sorted(values)
    for one, two in zip(ordered, ordered[1:], strict=False):
        assert one <= two and two >= one and not one > two and not two < one
        assert (one == two) is (not one < two)


@pytest.mark.anyio
async def test_order_is_that_of_the_server(conn: AsyncConnection[Any]) -> None:
    steps = [None, Decimal(0), Decimal(1)]
    values: list[Range[Decimal]] = [
        Range(lower, upper, bounds)
        for lower in steps
        for upper in steps
        for bounds in ("[]", "[)", "(]", "()")
        if lower is None or upper is None or lower < upper
    ]
    values.append(Range(empty=True))
    cursor = await conn.execute("SELECT r FROM unnest(%s::numrange[]) r ORDER BY 1", [values])
    assert [row[0] for row in await cursor.fetchall()] == sorted(values)


# -- which type


@pytest.mark.parametrize("format", PYFORMATS)
@pytest.mark.parametrize(
    ("value", "name"),
    [
        (Range(1, 2), "unknown"),
        (Range(2**40, 2**70), "unknown"),
        (Range(), "unknown"),
        (Range(empty=True), "unknown"),
        (Range(1.5, 2.5), "unknown"),
        (Range("a", "b"), "unknown"),
        (Range(Int8(1), Int8(2)), "int8range"),
        (Range(Decimal(1), None), "numrange"),
        (Range(Decimal(1), 2), "numrange"),
        (Range(1, Decimal(2)), "numrange"),
        (Range(DAY, None), "daterange"),
        (Range(None, NAIVE), "tsrange"),
        (Range(AWARE, AWARE), "tstzrange"),
        (Int4Range(), "int4range"),
        (Int8Range(1, 2), "int8range"),
        (NumericRange(1, 2), "numrange"),
        (DateRange(empty=True), "daterange"),
        (TimestampRange(), "tsrange"),
        (TimestamptzRange(), "tstzrange"),
        ([Range(1, 2), Range(2**40), Range()], "unknown"),
        ([Range(), Range(DAY), None, Range(empty=True)], "daterange[]"),
        ([[Int4Range(1, 2)]], "int4range[]"),
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
        Range(NAIVE, AWARE),
        Range(AWARE, NAIVE),
        TimestamptzRange(NAIVE, AWARE),
        TimestampRange(AWARE),
        TimestampRange(NAIVE, AWARE),
        Range(DAY, NAIVE),
        DateRange(DAY, NAIVE),
        DateRange(NAIVE),
        Range(1, "a"),
        Range(DAY, 1),
        [Range(1, 2), Range(DAY)],
        [Range(NAIVE), Range(AWARE)],
    ],
)
def test_bounds_that_do_not_go_together(value: Any, format: PyFormat) -> None:
    with pytest.raises(DataError):
        dump(value, format)
    with pytest.raises(DataError):
        transformer().as_literal(value)


@pytest.mark.parametrize("value", [Int4Range(2**31), Int4Range(1.5), Int4Range("a"), Int8Range(2**63)])  # type: ignore[arg-type]
def test_bounds_that_do_not_fit(value: Any) -> None:
    with pytest.raises(DataError, match="as a bound of int"):
        dump(value, PyFormat.BINARY)


# -- there and back without a server

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])) | st.text('[](),;"\\ {}NULempty')
dates = st.dates()
NUMBERS = st.decimals(allow_nan=False, allow_infinity=False, places=3)


@st.composite
def ranges(draw: st.DrawFn, bounds: st.SearchStrategy[Any], cls: type[Range[Any]] = Range) -> Range[Any]:
    if draw(st.integers(0, 9)) == 0:
        return cls(empty=True)
    brackets = draw(st.sampled_from(["[]", "[)", "(]", "()"]))
    return cls(draw(st.none() | bounds), draw(st.none() | bounds), brackets)


@pytest.mark.parametrize(
    ("cls", "bounds"),
    [
        (Int4Range, st.integers(-(2**31), 2**31 - 1)),
        (Int8Range, st.integers(-(2**63), 2**63 - 1)),
        (NumericRange, NUMBERS),
        (DateRange, dates),
        (TimestampRange, st.datetimes()),
        (TimestamptzRange, st.datetimes(timezones=st.just(UTC))),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_there_and_back(cls: type[Range[Any]], bounds: st.SearchStrategy[Any]) -> None:
    tx = transformer()

    @given(st.sampled_from(PYFORMATS), ranges(bounds, cls), st.lists(st.none() | ranges(bounds, cls), max_size=1))
    def check(format: PyFormat, value: Range[Any], several: list[Range[Any] | None]) -> None:
        got = there_and_back(value, format, tx)
        assert type(got) is Range
        assert got == value
        assert there_and_back([value, *several], format, tx) == [value, *several]

    check()


def text_ranges(encoding: str = "utf-8") -> Transformer:
    connection = FakeConnection(encoding)
    register_range(RangeInfo("span", OID, ARRAY_OID, subtype_oid=types["text"].oid), connection)
    return Transformer(connection)


@pytest.mark.parametrize("format", PYFORMATS)
@pytest.mark.parametrize(
    ("encoding", "characters"),
    [("utf-8", "é表"), ("shift_jis", "表ソボ|"), ("gbk", "誠功|"), ("big5", "功許|"), ("gb18030", "誠功|")],
)
def test_bounds_of_text(encoding: str, characters: str, format: PyFormat) -> None:
    tx = text_ranges(encoding)
    some = st.text(characters + 'a [](),"\\{}') | (texts if encoding == "utf-8" else st.nothing())

    @given(ranges(some), ranges(some))
    def check(one: Range[str], two: Range[str]) -> None:
        for value in (one, [one], [[one, None, two]]):
            data, oid, wire = dump(value, format, tx)
            assert data is not None
            # Without bounds nothing says that it is of that type.
            oid = oid or (ARRAY_OID if isinstance(value, list) else OID)
            assert load(bytes(data), oid, wire, tx) == value

    check()


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"empty", Range(empty=True)),
        (b"(,)", Range()),
        (b"[a,b]", Range("a", "b", "[]")),
        (b'["",""]', Range("", "", "[]")),
        (b'("a""b","c\\\\d")', Range('a"b', "c\\d", "()")),
        (b'["[],()",)', Range("[],()")),
        (b'[" ",NULL)', Range(" ", "NULL")),
    ],
)
def test_text(data: bytes, value: Range[str]) -> None:
    assert load(data, OID, 0, text_ranges()) == value


def test_literals() -> None:
    tx = transformer()
    assert tx.as_literal(Range(1, 2)) == b"'[1,2)'"
    assert tx.as_literal(Int4Range(1, None)) == b"'[1,)'::int4range"
    assert tx.as_literal(DateRange(empty=True)) == b"'empty'::daterange"
    assert tx.as_literal([Range(DAY)]) == b"'{\"[2024-01-02,)\"}'::daterange[]"
    assert text_ranges().as_literal(Range("'", "\\")) == rb""" E'['',"\\\\")'::span"""


def test_a_dumper_and_a_loader_of_ones_own() -> None:
    class Width(Range[int]):
        pass

    class WidthDumper(Int4RangeDumper):
        def dump(self, obj: Range[Any]) -> bytes:
            return super().dump(Range(obj.lower, obj.upper, "[]"))

    class Halves(Int4RangeLoader):
        def load(self, data: bytes) -> Any:
            return super().load(data).lower

    connection = FakeConnection()
    connection.adapters.register_dumper(Width, WidthDumper)
    connection.adapters.register_loader("int4range", Halves)
    tx = Transformer(connection)
    assert dump(Width(1, 2), PyFormat.TEXT, tx)[:2] == (b"[1,2]", types["int4range"].oid)
    assert load(b"[1,3)", "int4range", 0, tx) == 1
    assert load(b'{"[1,3)"}', "int4range[]", 0, tx) == [1]
    # A text loader does not touch what comes in binary.
    assert load(b"\x01", "int4range", 1, tx) == Range(empty=True)
    # As a dumper of ranges of unknown kind, too.
    connection.adapters.register_dumper(Width, RangeDumper)
    assert dump(Width(1, 2), PyFormat.TEXT, Transformer(connection))[:2] == (b"[1,2)", 0)


# -- whatever else may arrive

MALFORMED = {
    0: [b"", b"[", b"[1", b"[1,", b"[1,2", b"1,2)", b"[1,2)x", b"[1,2,3)", b"[x,2)", b'["1,2)', b"[(1),2)", b"EMPTY "],
    1: [
        b"",
        b"\x01\0",
        b"\x02",
        b"\x02" + pack(">i", 4),
        b"\x02" + pack(">iii", 4, 1, 4),
        b"\x02" + pack(">iiii", 4, 1, 4, 2) + b"\0",
        b"\x02" + pack(">i", -1) * 2,
        b"\x08" + pack(">ihh", 2, 1, 1),
        b"\x20" + pack(">iiii", 4, 1, 4, 2),
        b"\xff",
        b"\x18\0",
    ],
}


@pytest.mark.parametrize("format", FORMATS)
def test_malformed(format: int) -> None:
    for data in MALFORMED[format]:
        with pytest.raises(DataError):
            load(data, "int4range", format)


@pytest.mark.parametrize("name", [name for _, name, _, _ in BUILTIN])
def test_any_bytes(name: str) -> None:
    pieces = [
        b"[",
        b"(",
        b",",
        b")",
        b"]",
        b'"',
        b'""',
        b"\\",
        b"1",
        b"empty",
        b"\x02",
        b"\x08",
        pack(">i", 4),
        b"\xff",
    ]

    @given(
        st.sampled_from(FORMATS), st.binary(max_size=30) | st.lists(st.sampled_from(pieces), max_size=12).map(b"".join)
    )
    def check(format: int, data: bytes) -> None:
        with suppress(DataError):
            load(data, name, format)
        with suppress(DataError):
            load(data, name + "[]", format)
        with suppress(DataError):
            load(data, OID, format, in_sjis)

    in_sjis = text_ranges("shift_jis")
    check()


def test_infinity_is_a_bound() -> None:
    got = load(b"[-Infinity,Infinity)", "numrange", 0)
    assert (got.lower, got.upper) == (Decimal("-Infinity"), Decimal("Infinity"))
    for name in ("daterange", "tsrange", "tstzrange"):
        for data in (b"[-infinity,infinity]", b"[,infinity)", b"(-infinity,)"):
            with pytest.raises(DataError, match="infinity"):
                load(data, name, 0)


def test_no_such_range() -> None:
    missing: Any = None
    with pytest.raises(TypeError, match=r"RangeInfo\.fetch\(\) returns None"):
        register_range(missing)


def test_a_range_of_itself_ends() -> None:
    connection = FakeConnection()
    register_range(RangeInfo("span", OID, ARRAY_OID, subtype_oid=OID), connection)
    for format in FORMATS:
        with pytest.raises(DataError, match="more than 32 levels"):
            load(b"(,)", OID, format, Transformer(connection))


def test_by_subtype() -> None:
    assert types.get_by_subtype(RangeInfo, "int4") is types["int4range"]
    assert types.get_by_subtype(RangeInfo, types["date"].oid) is types["daterange"]
    assert types.get_by_subtype(RangeInfo, "text") is None
    assert types.get_by_subtype(RangeInfo, "nothing") is None


# -- with a server


@pytest.mark.anyio
@pytest.mark.parametrize(("cls", "name", "lower", "upper"), BUILTIN)
async def test_round_trip(conn: AsyncConnection[Any], cls: type[Range[Any]], name: str, lower: Any, upper: Any) -> None:
    await conn.execute("SET TIME ZONE 'UTC'")
    values = [cls(lower, upper), cls(None, lower), cls(upper, None), cls(), cls(empty=True)]
    for value in (*values, *[Range(v.lower, v.upper, v.bounds or "[)", v.isempty) for v in values]):
        for format in PyFormat:
            for binary in (False, True):
                p = f"%{format.value}::{name}"
                cursor = await conn.execute(
                    f"SELECT {p}, {p}[], lower({p}), upper({p}), isempty({p})",
                    [value, [value, None], value, value, value],
                    binary=binary,
                )
                got = await cursor.fetchone()
                assert got == (value, [value, None], value.lower, value.upper, value.isempty)
                assert type(got[0]) is Range
        literal = await conn.execute(sql.SQL("SELECT {}::{}").format(value, sql.SQL(name)))
        assert await literal.fetchone() == (value,)


@pytest.mark.anyio
async def test_the_server_has_its_own_way(conn: AsyncConnection[Any]) -> None:
    cases = {
        "[1,5]": Range(1, 6),
        "(1,2)": Range(empty=True),
        "(1,3)": Range(2, 3),
        "(,)": Range(),
        "[,5]": Range(None, 6, "()"),
        "[3,3]": Range(3, 4),
    }
    for text, value in cases.items():
        for binary in (False, True):
            cursor = await conn.execute("SELECT %s::int4range", [text], binary=binary)
            assert await cursor.fetchone() == (value,)
    cursor = await conn.execute("SELECT %s::int4range, %s::int8range", [Range(1, 5, "[]"), Range(1, 5, "[]")])
    assert await cursor.fetchone() == (Range(1, 6), Range(1, 6))


@pytest.mark.anyio
async def test_infinite_bounds_of_the_server(conn: AsyncConnection[Any]) -> None:
    for binary in (False, True):
        for text in ("[2024-01-01,infinity]", "[-infinity,2024-01-01)"):
            cursor = await conn.execute("SELECT %s::tsrange UNION ALL SELECT '(,)'", [text], binary=binary)
            with pytest.raises(DataError, match="infinity"):
                await cursor.fetchone()
            assert await cursor.fetchone() == (Range(),)


@pytest.mark.anyio
@pytest.mark.parametrize("encoding", ["UTF8", "SJIS", "GBK", "BIG5", "GB18030"])
async def test_one_of_the_users(conn: AsyncConnection[Any], encoding: str) -> None:
    await conn.execute('CREATE TYPE pg_temp."a, range" AS RANGE (subtype = text)')
    await conn.execute(f"SET client_encoding TO '{encoding}'".encode())
    info = await RangeInfo.fetch(conn, 'pg_temp."a, range"')
    assert info is not None
    assert info.subtype_oid == types["text"].oid
    register_range(info, conn)
    text = {"UTF8": "é", "SJIS": "表", "GBK": "誠", "BIG5": "功", "GB18030": "誠"}[encoding]
    value = Range(" ", text + ' "\\[],(){}', "[]")
    client = AsyncClientCursor(conn)
    for binary in (False, True):
        for format in PyFormat:
            p = f"%{format.value}"
            cursor = await conn.execute(
                f"SELECT {p}, {p}, upper({p}), pg_typeof({p})::oid", [value, [value, None], value, value], binary=binary
            )
            assert await cursor.fetchone() == (value, [value, None], value.upper, info.oid)
    await client.execute("SELECT %s, %s, upper(%s)", [value, [[value]], value])
    assert await client.fetchone() == (value, [[value]], value.upper)


@pytest.mark.anyio
async def test_of_a_domain(conn: AsyncConnection[Any]) -> None:
    await conn.execute("CREATE DOMAIN pg_temp.price AS numeric; CREATE DOMAIN pg_temp.free AS pg_temp.price")
    await conn.execute("CREATE TYPE pg_temp.prices AS RANGE (subtype = pg_temp.free)")
    await conn.execute("CREATE DOMAIN pg_temp.named AS pg_temp.prices")
    info = await RangeInfo.fetch(conn, "pg_temp.prices")
    assert info is not None
    assert info.subtype_oid == types["numeric"].oid
    register_range(info, conn)
    for binary in (False, True):
        query = "SELECT '[1,2]'::pg_temp.prices, '[1,2]'::pg_temp.named, '{\"[1,2]\"}'::pg_temp.prices[]"
        cursor = await conn.execute(query, binary=binary)
        value = Range(Decimal(1), Decimal(2), "[]")
        assert await cursor.fetchone() == (value, value, [value])


@pytest.mark.anyio
async def test_of_a_range_of_arrays(conn: AsyncConnection[Any]) -> None:
    await conn.execute("CREATE TYPE pg_temp.r1 AS RANGE (subtype = text[])")
    first = await RangeInfo.fetch(conn, "pg_temp.r1")
    assert first is not None
    register_range(first, conn)
    await conn.execute("CREATE TYPE pg_temp.r2 AS RANGE (subtype = pg_temp.r1)")
    second = await RangeInfo.fetch(conn, "pg_temp.r2")
    assert second is not None
    register_range(second, conn)
    inner = Range(["a", '"', None], ["b", "\\,", "]"])
    value = Range(inner, None)
    for format in PyFormat:
        for binary in (False, True):
            query = f"SELECT %{format.value}::pg_temp.r2, %{format.value}::pg_temp.r2[]"
            cursor = await conn.execute(query, [value, [value]], binary=binary)
            assert await cursor.fetchone() == (value, [value])


@pytest.mark.anyio
async def test_fetch(conn: AsyncConnection[Any]) -> None:
    built_in, number, multi, missing = await RangeInfo.fetch(
        conn, ["int4range", "int4", "int4multirange", "no_such_range"]
    )
    assert built_in is not None
    assert (built_in.oid, built_in.subtype_oid) == (types["int4range"].oid, types["int4"].oid)
    assert number is multi is missing is None


def test_fetch_synchronously(dsn: str) -> None:
    with anyq.connect(dsn, autocommit=True) as conn:
        info = RangeInfo.fetch(conn, "tsrange")
        assert info is not None
        register_range(info, conn)
        assert conn.execute("SELECT %s", [Range(NAIVE)]).fetchone() == (Range(NAIVE),)


@pytest.mark.anyio
async def test_one_query_and_ranges_of_many_types(conn: AsyncConnection[Any]) -> None:
    """What is remembered of a query is not for a range of another type."""
    values: list[tuple[Any, str]] = [
        (Int4Range(1, 5), "int4range"),
        (Range(DAY, None), "daterange"),
        (Range(Decimal(1)), "numrange"),
        (Int8Range(), "int8range"),
        (Range(NAIVE, None), "tsrange"),
        (Range(AWARE, None), "tstzrange"),
    ]
    for _ in range(8):
        for value, name in values:
            for obj, suffix in ((value, ""), ([value], "[]")):
                cursor = await conn.execute("SELECT %s, pg_typeof(%s)::text", [obj, obj])
                assert await cursor.fetchone() == (obj, name + suffix)


@pytest.mark.anyio
async def test_executemany(conn: AsyncConnection[Any]) -> None:
    await conn.execute("CREATE TEMP TABLE spans (a int4range, b daterange[])")
    rows: list[tuple[Any, Any]] = [
        (Range(1, 5), [Range(DAY, None)]),
        (Range(), [Range()]),
        (None, []),
        (Int4Range(7, 9), [None, Range(empty=True), Range(None, DAY)]),
        (Range(empty=True), None),
    ] * 3
    for format in PyFormat:
        cursor = conn.cursor()
        await cursor.executemany(f"INSERT INTO spans VALUES (%{format.value}, %{format.value})", rows)
        got = await (await conn.execute("DELETE FROM spans RETURNING a, b")).fetchall()
        assert got == rows
