"""Every family through a server: there and back, and the same from both formats."""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from anyq import sql
from anyq.adapt import PyFormat
from anyq.types.geometric import Box, Point
from anyq.types.json import Json, Jsonb
from anyq.types.numeric import Float4, Float8, Int2, Int4, Int8, IntNumeric, Oid

if TYPE_CHECKING:
    from anyq import AsyncConnection

pytestmark = pytest.mark.anyio

_COUNT = 40
_CHARACTERS = "aZ09 _'\"\\{},;()[]%\t\né\u00a0表\U0001f600"


def _text(rng: random.Random) -> str:
    return "".join(rng.choices(_CHARACTERS, k=rng.randrange(12)))


def _decimal(rng: random.Random) -> Decimal:
    digits = tuple(rng.randrange(10) for _ in range(rng.randint(1, 40)))
    return Decimal((rng.randrange(2), digits, rng.randint(-60, 20)))


def _float(rng: random.Random) -> float:
    number: float = struct.unpack(">d", rng.randbytes(8))[0]
    return number if number == number else 0.0


def _float4(rng: random.Random) -> float:
    number: float = struct.unpack(">f", rng.randbytes(4))[0]
    return number if number == number else 0.0


def _document(rng: random.Random, depth: int = 3) -> Any:
    kind = rng.randrange(7 if depth else 5)
    if kind < 5:
        return [None, rng.random() < 0.5, rng.randrange(10**6), rng.random(), _text(rng)][kind]
    if kind == 5:
        return [_document(rng, depth - 1) for _ in range(rng.randrange(3))]
    return {_text(rng): _document(rng, depth - 1) for _ in range(rng.randrange(3))}


def _signed(bits: int) -> Callable[[random.Random], int]:
    return lambda rng: rng.randrange(-(2 ** (bits - 1)), 2 ** (bits - 1)) >> rng.randrange(bits)


FAMILIES: dict[str, tuple[Callable[[random.Random], Any], Callable[[Any], Any]]] = {
    "bool": (lambda rng: rng.random() < 0.5, bool),
    "int2": (_signed(16), Int2),
    "int4": (_signed(32), Int4),
    "int8": (_signed(64), Int8),
    "oid": (lambda rng: rng.randrange(2**32), Oid),
    "numeric": (_decimal, Decimal),
    "float4": (_float4, Float4),
    "float8": (_float, Float8),
    "text": (_text, str),
    "varchar": (_text, str),
    "bytea": (lambda rng: rng.randbytes(rng.randrange(20)), bytes),
    "uuid": (lambda rng: UUID(bytes=rng.randbytes(16)), lambda value: value),
    "json": (_document, Json),
    "jsonb": (_document, Jsonb),
}

#: Values that a parameter cannot be, or that are special.
EXPRESSIONS: dict[str, Any] = {
    "NULL::int4": None,
    "'-32768'::int2": -(2**15),
    "'-9223372036854775808'::int8": -(2**63),
    "'4294967295'::oid": 2**32 - 1,
    "'4294967295'::xid": 2**32 - 1,
    "'7'::cid": 7,
    "'18446744073709551615'::xid8": 2**64 - 1,
    "0.1::float4": 0.10000000149011612,
    "'Infinity'::float4": math.inf,
    "'-Infinity'::float8": -math.inf,
    "'1e-40'::float4": struct.unpack(">f", struct.pack(">f", 1e-40))[0],
    "'-0'::float8": -0.0,
    "0.00::numeric": Decimal("0.00"),
    "1.10::numeric(10, 5)": Decimal("1.10000"),
    "10000::numeric": Decimal(10000),
    "1e100::numeric": Decimal(10**100),
    "-1e-100::numeric": Decimal("-1e-100"),
    "'abc'::bpchar(5)": "abc  ",
    "'a name'::name": "a name",
    "''::text": "",
    "'x'::\"char\"": "x",
    "'\\x'::bytea": b"",
    "'\\x00ff5c27'::bytea": b"\x00\xff\\'",
    "'null'::jsonb": None,
    '\'{"a": [1, 2.5, "\\u00e9"]}\'::jsonb': {"a": [1, 2.5, "é"]},
    "'1'::json": 1,
    "'{}'::int4[]": [],
    "'{NULL}'::int4[]": [None],
    "'[2:3][-1:0]={{1,2},{3,NULL}}'::int4[]": [[1, 2], [3, None]],
    "array['', 'NULL', null, 'a b', '\"', '\\', '{}', ',']": ["", "NULL", None, "a b", '"', "\\", "{}", ","],
    "array['a'::\"char\"]": ["a"],
    "array['(3,4),(1,2)'::box, null]": [Box(Point(3.0, 4.0), Point(1.0, 2.0)), None],
    "array['pg_class'::regclass]": ["pg_class"],
    "array[0.1::float4]": [0.10000000149011612],
    "array['\\x5c'::bytea, null]": [b"\\", None],
    "array['{\"a\": null}'::jsonb]": [{"a": None}],
    "array[[[1.5::numeric]]]": [[[Decimal("1.5")]]],
    "'pg_class'::regclass": "pg_class",
    "'1 2 -3'::int2vector": "1 2 -3",
    "array[''::int2vector, null, '1'::int2vector]": ["", None, "1"],
    "'1 4294967295'::oidvector": "1 4294967295",
    "''::oidvector": "",
    "''::\"char\"": "",
    "'\\'::\"char\"": "\\",
    '(-1)::"char"': "\\377",
    "array[''::\"char\", null, ',']": ["", None, ","],
    "'(4294967295,65535)'::tid": "(4294967295,65535)",
    "array['(0,1)'::tid, null]": ["(0,1)", None],
    "'16/B374D848'::pg_lsn": "16/B374D848",
    "array['FFFFFFFF/0'::pg_lsn]": ["FFFFFFFF/0"],
    "'10:20:10,14,15'::pg_snapshot": "10:20:10,14,15",
    "'10:20:'::txid_snapshot": "10:20:",
    "array['10:20:10,14'::pg_snapshot]": ["10:20:10,14"],
    "'a cursor'::refcursor": "a cursor",
    "pg_advisory_unlock_all()": "",
    "'101'::bit(3)": "101",
    "''::varbit": "",
    "'111100001'::varbit": "111100001",
    "array[['101'::bit(3), null]]": [["101", None]],
    "'$.a[*] ? (@ > 1)'::jsonpath": '$."a"[*]?(@ > 1)',
    "array['$'::jsonpath, null]": ["$", None],
    "$$a:1A fat:2B,4C cat:5D,16383 'it''s' '\\\\'$$::tsvector": "'\\\\' 'a':1A 'cat':5,16383 'fat':2B,4C 'it''s'",
    "''::tsvector": "",
    "array['a b'::tsvector, null]": ["'a' 'b'", None],
    "'a:*ABC & (b | !(c & d))'::tsquery": "'a':*ABC & ( 'b' | !( 'c' & 'd' ) )",
    "'a <2> (b <-> c)'::tsquery": "'a' <2> ( 'b' <-> 'c' )",
    "''::tsquery": "",
    "array['a & b'::tsquery, null]": ["'a' & 'b'", None],
    "'$1,234.50'::money::numeric": Decimal("1234.50"),
}


async def _select(conn: AsyncConnection[Any], query: str, params: list[Any], binary: bool) -> Any:
    cursor = await conn.execute(query, params, binary=binary)
    row = await cursor.fetchone()
    assert row is not None
    return row


@pytest.mark.parametrize("name", FAMILIES)
async def test_there_and_back(conn: AsyncConnection[Any], name: str) -> None:
    make, wrap = FAMILIES[name]
    rng = random.Random(name)
    values = [make(rng) for _ in range(_COUNT)]
    for format in PyFormat:
        query = "SELECT " + ", ".join([f"%{format.value}::{name}"] * _COUNT)
        for binary in (False, True):
            got = await _select(conn, query, [wrap(value) for value in values], binary)
            assert list(got) == values
            assert [type(value) for value in got] == [type(value) for value in values]


@pytest.mark.parametrize("name", FAMILIES)
async def test_arrays_there_and_back(conn: AsyncConnection[Any], name: str) -> None:
    make, wrap = FAMILIES[name]
    rng = random.Random(name)
    flat = [None if rng.random() < 0.2 else make(rng) for _ in range(_COUNT)]
    cube = [[flat[i : i + 5], flat[i + 5 : i + 10]] for i in range(0, _COUNT, 10)]
    wrapped = [None if value is None else wrap(value) for value in flat]
    wrapped_cube = [[wrapped[i : i + 5], wrapped[i + 5 : i + 10]] for i in range(0, _COUNT, 10)]
    for format in PyFormat:
        query = f"SELECT %{format.value}::{name}[], %{format.value}::{name}[], %{format.value}::{name}[]"
        for binary in (False, True):
            got = await _select(conn, query, [wrapped, wrapped_cube, []], binary)
            assert got == (flat, cube, [])


@pytest.mark.parametrize("name", FAMILIES)
async def test_literals(conn: AsyncConnection[Any], name: str) -> None:
    make, wrap = FAMILIES[name]
    rng = random.Random(name)
    values = [make(rng) for _ in range(_COUNT)]
    literals = [sql.Literal(wrap(value)).as_bytes(conn) for value in values]
    for standard in ("on", "off"):
        await conn.execute(f"SET standard_conforming_strings TO {standard}".encode())
        await conn.execute("SET escape_string_warning TO off")
        query = b"SELECT " + b", ".join(literal + b"::" + name.encode() for literal in literals)
        cursor = await conn.execute(query)
        assert list(await cursor.fetchone() or ()) == values


@pytest.mark.parametrize("expression", EXPRESSIONS)
async def test_both_formats_load_the_same(conn: AsyncConnection[Any], expression: str) -> None:
    expected = EXPRESSIONS[expression]
    for binary in (False, True):
        [got] = await _select(conn, f"SELECT {expression}".replace("%", "%%"), [], binary)
        assert got == expected
        assert type(got) is type(expected)
        assert repr(got) == repr(expected)


async def test_numbers_that_are_not(conn: AsyncConnection[Any]) -> None:
    special = [math.nan, Float4(math.nan), Decimal("NaN"), [math.nan], [Decimal("NaN")]]
    for format in PyFormat:
        for binary in (False, True):
            got = await _select(conn, "SELECT " + ", ".join([f"%{format.value}"] * 5), special, binary)
            assert str(got) == "(nan, nan, Decimal('NaN'), [nan], [Decimal('NaN')])"
            if conn.info.server_version >= 140000:
                infinite = [Decimal("Infinity"), Decimal("-Infinity")]
                got = await _select(conn, f"SELECT %{format.value}, %{format.value}", infinite, binary)
                assert got == tuple(infinite)


@pytest.mark.parametrize("format", PyFormat)
async def test_int_of_every_size(conn: AsyncConnection[Any], format: PyFormat) -> None:
    sizes = (("smallint", 15), ("integer", 31), ("bigint", 63))
    for power in (1, 15, 16, 31, 32, 63, 64, 200, 20_000):
        for value in (2**power - 1, 2**power, -(2**power), -(2**power) - 1):
            for binary in (False, True):
                query = f"SELECT %{format.value}, pg_typeof(%{format.value})::text"
                got, name = await _select(conn, query, [value, value], binary)
                assert got == value
                assert name == next((n for n, bits in sizes if -(2**bits) <= value < 2**bits), "numeric")
    got = await _select(conn, f"SELECT %{format.value}", [IntNumeric(5)], True)
    assert got == (Decimal(5),)


@pytest.mark.parametrize("output", ["hex", "escape"])
async def test_every_byte(conn: AsyncConnection[Any], output: str) -> None:
    await conn.execute(f"SET bytea_output TO {output}".encode())
    value = bytes(range(256))
    for format in PyFormat:
        for binary in (False, True):
            got = await _select(conn, f"SELECT %{format.value}, %{format.value}::bytea[]", [value, [value]], binary)
            assert got == (value, [value])


@pytest.mark.parametrize("encoding", ["UTF8", "LATIN1", "EUC_JP", "SJIS", "GBK", "BIG5"])
async def test_text_in_every_kind_of_encoding(conn: AsyncConnection[Any], encoding: str) -> None:
    await conn.execute(f"SET client_encoding TO '{encoding}'".encode())
    # Characters whose second byte is a backslash, a brace or a bar.
    text = {"UTF8": "表é", "LATIN1": "é", "EUC_JP": "表", "SJIS": "表ソボ", "GBK": "誠功", "BIG5": "功許"}[encoding]
    value = f"'{text}\\{{\"{text}"
    document = {text: [value]}
    for format in PyFormat:
        for binary in (False, True):
            p = f"%{format.value}"
            query = f"SELECT {p}::text, {p}::text[], {p}, {p}"
            got = await _select(conn, query, [value, [value, text], Jsonb(document), [Json(document)]], binary)
            assert got == (value, [value, text], document, [document])
    literals = sql.SQL("SELECT {}::text, {}::text[]").format(sql.Literal(value), sql.Literal([value, text]))
    cursor = await conn.execute(literals)
    assert await cursor.fetchone() == (value, [value, text])
