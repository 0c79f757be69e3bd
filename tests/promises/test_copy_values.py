"""What COPY carries, with a server: each text in each client encoding, and values that other drivers store wrongly.

The other side of each COPY is a statement, so that what is written and what is read are not wrong alike.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from anyq import AsyncConnection, sql
from anyq import errors as e
from anyq.adapt.encodings import python_codec
from tests.support.queries import one

pytestmark = [pytest.mark.anyio, pytest.mark.any_loop]

ENCODINGS = ["UTF8", "LATIN1", "SJIS", "GBK", "BIG5", "GB18030", "EUC_JP", "EUC_KR", "UHC"]
ENCODINGS += ["SHIFT_JIS_2004", "WIN1252", "SQL_ASCII"]

FORMATS = ["TEXT", "BINARY"]

SPECIAL = [
    *["", "\\", "\\\\", "\\.", "\\N", "N", ".", "\\n", "\\t", "\\x41", "\\101", "\\0", "\t", "\n", "\r", "\r\n"],
    *["\b\t\n\v\f\r\\", "a\\", "\\a", "\n\\.\n", "\\.\n", " ", '"', "'", ",", "a" * 5000 + "\\", "\x01\x1f\x7f"],
]


def texts(encoding: str) -> list[str]:
    """Return text that has everything special, and all characters whose bytes are easily taken for something else."""
    if encoding == "SQL_ASCII":
        return SPECIAL
    codec = python_codec(encoding)
    found: list[str] = ["\U0001f418 \u20ac \U0001f418\\"] if encoding in ("UTF8", "GB18030") else []
    wide: list[str] = []
    for code in [*range(0xA0, 0xD800), *range(0xF900, 0x10000)]:
        try:
            data = chr(code).encode(codec)
        except UnicodeEncodeError:
            continue
        if len(data) > 1 and set(data[1:]) & set(b"\\{}|[]^`@"):
            wide.append(chr(code))
        elif code < 0x100 or code % 97 == 0:
            found.append(chr(code))
    found += ["".join(wide), "\\".join(wide), "\n".join(wide[:50]), "N".join(wide[:50])]
    found += [one + "\\" for one in wide[::17]] + ["\\" + one for one in wide[::17]] + wide[::17]
    return SPECIAL + found


def decoded(value: bytes | None) -> str | None:
    return None if value is None else value.decode()


@pytest.fixture
async def table(dsn: str, anyio_backend: object) -> AsyncIterator[AsyncConnection]:
    """A connection in autocommit mode, with an empty table t."""
    async with AsyncConnection.connect(dsn, autocommit=True) as conn:
        await conn.execute("CREATE TEMPORARY TABLE t (i int, b text, c text[])")
        yield conn


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_every_text_in_every_encoding(table: AsyncConnection, encoding: str, format: str) -> None:
    written = [(i, text, [text, None, text + "x"]) for i, text in enumerate(texts(encoding))]
    await table.execute(f"SET client_encoding TO '{encoding}'")
    cur = table.cursor()
    async with cur.copy(f"COPY t FROM STDIN (FORMAT {format})") as copy:
        copy.set_types(["int4", "text", "text[]"])
        for row in written:
            await copy.write_row(row)
        await copy.write_row((-1, None, None))
    assert cur.rowcount == len(written) + 1

    async with cur.copy(f"COPY (SELECT * FROM t ORDER BY i) TO STDOUT (FORMAT {format})") as copy:
        copy.set_types(["int4", "text", "text[]"])
        read = [row async for row in copy.rows()]
    await table.execute("SET client_encoding TO 'UTF8'")
    stored = await (await table.execute("SELECT * FROM t ORDER BY i")).fetchall()
    assert stored == [(-1, None, None), *written]
    if encoding == "SQL_ASCII":
        read = [(i, decoded(b), None if c is None else [decoded(item) for item in c]) for i, b, c in read]
    assert read == stored


@pytest.mark.parametrize("encoding", ["SJIS", "LATIN1", "UTF8"])
async def test_text_without_types(table: AsyncConnection, encoding: str) -> None:
    """By the class of each value; and all that is read is str."""
    await table.execute(f"SET client_encoding TO '{encoding}'")
    written = [(i, text) for i, text in enumerate(texts(encoding)[:100])]
    cur = table.cursor()
    async with cur.copy("COPY t (i, b) FROM STDIN") as copy:
        for row in written:
            await copy.write_row(row)
    async with cur.copy("COPY (SELECT i, b, NULL FROM t ORDER BY i) TO STDOUT") as copy:
        assert [row async for row in copy.rows()] == [(str(i), text, None) for i, text in written]
    assert await (await cur.execute("SELECT i, b FROM t ORDER BY i")).fetchall() == written


UTC = dt.timezone.utc
VALUES: dict[str, list[Any]] = {
    "bool": [True, False],
    "int2": [0, 32767, -32768],
    "int4": [0, 2**31 - 1, -(2**31)],
    "int8": [0, 2**63 - 1, -(2**63)],
    "oid": [0, 2**32 - 1],
    "float8": [0.0, 1.37, 0.1, 1e-300, 5e-324, 1e15, 1e16, 123456.75, -1e22, 0.0001, 0.00001, float("inf")],
    "float4": [0.5, -1.25, 2.0**100],
    "numeric": [
        *map(Decimal, ("0.0001", "0.0000", "1E-20", "0", "1.50", "-1.5", "1E+20", "10000", "9999.9999", "0E-7")),
        *map(Decimal, ("123456789.000001", "-0.5", "12e-4", "Infinity")),
    ],
    "text": ["", "a\\b\n", "\u20ac"],
    "bytea": [b"", b"\0\\\xff", bytes(range(256))],
    "date": [dt.date(1, 1, 1), dt.date(2000, 1, 1), dt.date(9999, 12, 31)],
    "time": [dt.time(0), dt.time(23, 59, 59, 999_999)],
    "timestamp": [dt.datetime(1, 1, 1), dt.datetime(2020, 2, 29, 1, 2, 3, 4), dt.datetime(9999, 12, 31, 23, 59, 59)],
    "timestamptz": [dt.datetime(2, 1, 1, tzinfo=UTC), dt.datetime(2020, 2, 29, 1, 2, 3, 4, tzinfo=UTC)],
    "interval": [dt.timedelta(0), dt.timedelta(days=-1, seconds=1), dt.timedelta(microseconds=-1)],
    "uuid": [UUID(int=0), UUID(int=2**127 + 5)],
    "int4[]": [[], [1, None, -3], [[1, 2], [3, 4]]],
    "text[]": [["\\", '"', "NULL", None, "", "\n{},"]],
    "numeric[]": [[Decimal("0.0001"), None]],
}


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("type", VALUES)
async def test_values_of_types(table: AsyncConnection, type: str, format: str) -> None:
    """Written by COPY they are what they are as parameters; and read, what they are in a result."""
    await table.execute("SET TIME ZONE 'UTC'")
    await table.execute(f"CREATE TEMPORARY TABLE v (i int, x {type})")
    cur = table.cursor()
    values = VALUES[type]
    async with cur.copy(f"COPY v FROM STDIN (FORMAT {format})") as copy:
        copy.set_types(["int4", type])
        for i, value in enumerate([*values, None]):
            await copy.write_row((i, value))
    for i, value in enumerate(values):
        assert await one(table, f"SELECT x::text = %s::{type}::text FROM v WHERE i = {i}", value), value
    selected = await (await cur.execute("SELECT i, x FROM v ORDER BY i", binary=format == "BINARY")).fetchall()
    async with cur.copy(f"COPY (SELECT * FROM v ORDER BY i) TO STDOUT (FORMAT {format})") as copy:
        copy.set_types(["int4", type])
        read = [row async for row in copy.rows()]
    assert repr(read) == repr(selected)
    assert [x for _, x in read] == [*values, None]


@pytest.mark.parametrize(
    ("type", "value"),
    [
        *[("int2", 70_000), ("int2", 2**15), ("int4", 2**31), ("int8", 2**63), ("int8", -(2**63) - 1)],
        *[("float4", 1e39), ("int4", math.nan)],
    ],
)
async def test_numbers_that_do_not_fit(table: AsyncConnection, type: str, value: Any) -> None:
    """Neither the client nor the server stores another number."""
    await table.execute(f"CREATE TEMPORARY TABLE v (x {type})")
    for format in FORMATS:
        with pytest.raises(e.DataError):
            async with table.cursor().copy(f"COPY v FROM STDIN (FORMAT {format})") as copy:
                copy.set_types([type])
                await copy.write_row((value,))
    assert await one(table, "SELECT count(*) FROM v") == 0


async def test_a_row_that_is_refused_leaves_the_others(table: AsyncConnection) -> None:
    for format in FORMATS:
        async with table.cursor().copy(f"COPY t (i, b) FROM STDIN (FORMAT {format})") as copy:
            copy.set_types(["int4", "text"])
            for row, error in (
                ((1, "a\0"), e.DataError),
                ((1,), e.DataError),
                ("ab", TypeError),
                ((1, 5), e.DataError),
            ):
                with pytest.raises(error):
                    await copy.write_row(row)
                await copy.write_row((2, "b"))
    assert await one(table, "SELECT count(*) FROM t WHERE (i, b) = (2, 'b')") == 8


@pytest.mark.parametrize("format", FORMATS)
async def test_no_columns_and_no_rows(table: AsyncConnection, format: str) -> None:
    cur = table.cursor()
    async with cur.copy(f"COPY (SELECT FROM generate_series(1, 3)) TO STDOUT (FORMAT {format})") as copy:
        assert [row async for row in copy.rows()] == [(), (), ()]
    async with cur.copy(f"COPY t TO STDOUT (FORMAT {format})") as copy:
        assert [row async for row in copy.rows()] == []
    await table.execute("CREATE TEMPORARY TABLE nothing ()")
    async with cur.copy(f"COPY nothing FROM STDIN (FORMAT {format})") as copy:
        for _ in range(3):
            await copy.write_row(())
    assert await one(table, "SELECT count(*) FROM nothing") == 3
    async with cur.copy(f"COPY t FROM STDIN (FORMAT {format})") as copy:
        copy.set_types(["int4", "text", "text[]"])
    assert await one(table, "SELECT count(*) FROM t") == 0


NUMBERS: dict[str, list[Any]] = {
    "float8": [math.nan, math.inf, -math.inf, -0.0, 0.0, 5e-324, 1.7976931348623157e308, 0.1],
    "float4": [math.nan, math.inf, -math.inf, -0.0, 2.0**-149, 3.4028234663852886e38, 0.5],
    "numeric": [
        Decimal(text)
        for text in (
            "NaN",
            "Infinity",
            "-Infinity",
            "0",
            "0.00",
            "0E-20",
            "-1.50",
            "1E-30",
            "1" + "0" * 130,
            "9999.9999",
            "10000",
        )
    ],
    "int2": [-(2**15), 2**15 - 1],
    "int4": [-(2**31), 2**31 - 1],
    "int8": [-(2**63), 2**63 - 1],
    "oid": [0, 2**32 - 1],
}


@pytest.mark.parametrize("options", ["", " (FORMAT binary)"])
@pytest.mark.parametrize("name", NUMBERS)
async def test_special_numbers(conn: AsyncConnection, name: str, options: str) -> None:
    """In and out, and as the server writes them."""
    values = NUMBERS[name]
    await conn.execute(sql.SQL("CREATE TEMP TABLE numbers (id int, x {}) ON COMMIT DROP").format(sql.Identifier(name)))
    async with conn.cursor().copy(f"COPY numbers FROM STDIN{options}".encode()) as copy:
        copy.set_types(["int4", name])
        for row in enumerate(values):
            await copy.write_row(row)
    if not options:
        # Without types they are written as parameters are.
        async with conn.cursor().copy(b"COPY numbers FROM STDIN") as copy:
            for i, value in enumerate(values, len(values)):
                await copy.write_row((i, value))
        values = values * 2
    cur = await conn.execute("SELECT x, x::text FROM numbers ORDER BY id")
    stored = await cur.fetchall()
    assert list(map(repr, [x for x, _ in stored])) == list(map(repr, values))
    query = f"COPY (SELECT x, x::text FROM numbers ORDER BY id) TO STDOUT{options}".encode()
    async with conn.cursor().copy(query) as copy:
        copy.set_types([name, "text"])
        assert repr([row async for row in copy.rows()]) == repr(stored)
