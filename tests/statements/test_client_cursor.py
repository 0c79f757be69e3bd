"""AsyncClientCursor: parameters that are written into the statement."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from anyq import AsyncClientCursor, AsyncConnection
from anyq import errors as e

pytestmark = pytest.mark.anyio

AWKWARD = [
    "O'Reilly",
    "'",
    "''",
    "\\",
    "\\'",
    "\\\\'; DROP TABLE users; --",
    '"',
    "%",
    "%s",
    "%(a)s",
    "$1",
    "$$",
    "",
    "a\nb\tc",
    "ünï¢ødé ☃ 🐘",
    b"\x00\xff'\\",
    -1,
    2**62,
    -(2**63),
    1.5,
    float("inf"),
    True,
    False,
    None,
    date(2020, 2, 29),
    [1, None, 3],
]


@pytest.fixture
async def cur(conn: AsyncConnection) -> AsyncClientCursor:
    return AsyncClientCursor(conn)


# -- mogrify


@pytest.mark.parametrize(
    ("query", "params", "expected"),
    [
        ("SELECT %s, %s", ["O'Reilly", 1], "SELECT 'O''Reilly', 1"),
        ("SELECT %(a)s, %(b)s, %(a)s", {"a": 1, "b": None}, "SELECT 1, NULL, 1"),
        ("SELECT %s - %s", [-1, -1], "SELECT (-1) - (-1)"),
        ("SELECT %s", [True], "SELECT true"),
        ("SELECT %s", [1.5], "SELECT 1.5"),
        ("SELECT %s", [date(2020, 2, 29)], "SELECT '2020-02-29'::date"),
        ("SELECT %s", [[1, 2]], "SELECT '{1,2}'::int2[]"),
        ("SELECT %b, %t", [1, 2], "SELECT 1, 2"),
        ("SELECT '%%', %s", ["%s"], "SELECT '%', '%s'"),
        ("SELECT '%%'", (), "SELECT '%'"),
        ("SELECT '%s'", None, "SELECT '%s'"),
    ],
)
async def test_mogrify(cur: AsyncClientCursor, query: Any, params: Any, expected: str) -> None:
    # Spaces keep an E'' apart from the word before it; how many there are does not matter.
    assert " ".join(cur.mogrify(query, params).split()) == expected


async def test_mogrify_sends_nothing(cur: AsyncClientCursor) -> None:
    cur.mogrify("SELECT %s", [1])
    assert cur.connection.info.transaction_status.name == "IDLE"
    await cur.close()
    with pytest.raises(e.InterfaceError, match="cursor is closed"):
        cur.mogrify("SELECT 1")


@pytest.mark.parametrize(
    ("query", "params", "error"),
    [
        ("SELECT %s", (), e.ProgrammingError),
        ("SELECT %s", {"a": 1}, TypeError),
        ("SELECT %(a)s", {"b": 1}, e.ProgrammingError),
        ("SELECT %", (), e.ProgrammingError),
        ("SELECT %s", "x", TypeError),
        ("SELECT %s", [object()], e.ProgrammingError),
        ("SELECT %s", ["\0"], e.DataError),
    ],
)
async def test_wrong_parameters(cur: AsyncClientCursor, query: Any, params: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        cur.mogrify(query, params)
    with pytest.raises(error):
        await cur.execute(query, params)
    assert cur.connection.info.transaction_status.name == "IDLE"


# -- quoting


@pytest.mark.parametrize("strings", ["on", "off"])
@pytest.mark.parametrize("encoding", ["UTF8", "LATIN1"])
async def test_values_come_back_as_they_were(cur: AsyncClientCursor, strings: str, encoding: str) -> None:
    await cur.execute("SELECT set_config('standard_conforming_strings', %s, true)", [strings])
    await cur.execute("SELECT set_config('client_encoding', %s, true)", [encoding])
    await cur.execute("SET LOCAL escape_string_warning = off")
    for value in AWKWARD:
        if encoding == "LATIN1" and isinstance(value, str) and "☃" in value:
            value = "ünï¢ødé"
        await cur.execute("SELECT %s, pg_typeof(%s)::text", [value, value])
        row = await cur.fetchone()
        assert row is not None and row[0] == value, row
        await cur.execute("SELECT 1 WHERE %s IS NOT DISTINCT FROM %s", [value, value])
        assert await cur.fetchone() == (1,)
        if isinstance(value, str):
            # Beside a word, of which it might be taken for a part.
            await cur.execute("SELECT%sAS a", [value])
            assert await cur.fetchone() == (value,)


async def test_types_are_those_of_server_side_parameters(cur: AsyncClientCursor, conn: AsyncConnection) -> None:
    # But for floats, which are written as numerics.
    for value in [2**40, True, date(2020, 2, 29), [1, 2], [2**40], b"x"]:
        mine = await (await cur.execute("SELECT pg_typeof(%s)::text", [value])).fetchone()
        theirs = await (await conn.execute("SELECT pg_typeof(%s)::text", [value])).fetchone()
        assert mine == theirs


async def test_strings_in_lists(cur: AsyncClientCursor) -> None:
    value = ["a'b", 'c"d', "e\\f", None, "NULL", "{,}", "", "%s", "ünï"]
    await cur.execute("SELECT %s::text[]", [value])
    assert await cur.fetchone() == (value,)


# -- execute


async def test_statements_that_take_no_parameters_on_the_server(cur: AsyncClientCursor) -> None:
    await cur.execute("CREATE TEMP TABLE t (a text DEFAULT %s, b int CHECK (b > %s))", ["it's", 0])
    await cur.execute("INSERT INTO t (b) VALUES (%s)", [1])
    assert cur.rowcount == 1
    assert await (await cur.execute("SELECT * FROM t")).fetchall() == [("it's", 1)]
    await cur.execute("SET LOCAL application_name = %s", ["it's me"])
    assert await (await cur.execute("SHOW application_name")).fetchone() == ("it's me",)
    await cur.execute("NOTIFY anyq_test, %s", ["it's"])


async def test_several_statements_with_parameters(cur: AsyncClientCursor) -> None:
    await cur.execute("SELECT %s; SELECT %s", [1, "x"])
    assert [await result.fetchall() async for result in cur.results()] == [[(1,)], [("x",)]]


async def test_nothing_is_prepared(cur: AsyncClientCursor, conn: AsyncConnection) -> None:
    for _ in range(8):
        await cur.execute("SELECT %s", [1])
        await cur.execute("SELECT %s", [1], prepare=True)
    rows = await conn.execute("SELECT * FROM pg_prepared_statements", prepare=False)
    assert await rows.fetchall() == []


async def test_no_binary_results(cur: AsyncClientCursor, conn: AsyncConnection) -> None:
    for attempt in (lambda: cur.execute("SELECT 1", binary=True), lambda: cur.stream("SELECT 1", binary=True)):
        with pytest.raises(e.NotSupportedError, match="text"):
            await attempt()  # type: ignore[misc]
    conn.cursor_factory = AsyncClientCursor
    with pytest.raises(e.NotSupportedError, match="text"):
        await conn.cursor(binary=True).execute("SELECT 1")
    assert conn.info.transaction_status.name == "IDLE"


async def test_as_the_cursor_factory(conn: AsyncConnection, dsn: str) -> None:
    async with AsyncConnection.connect(dsn, cursor_factory=AsyncClientCursor) as other:
        cur = await other.execute("SELECT %s; SELECT %s", [1, 2])
        assert isinstance(cur, AsyncClientCursor)
        assert cur.nextset() is True


async def test_executemany(cur: AsyncClientCursor) -> None:
    await cur.execute("CREATE TEMP TABLE t (a int, b text)")
    await cur.executemany("INSERT INTO t VALUES (%s, %s)", [(1, "it's"), (2, None)])
    assert cur.rowcount == 2
    await cur.executemany("SELECT b FROM t WHERE a = %s", [(1,), (2,), (3,)], returning=True)
    assert [await result.fetchall() async for result in cur.results()] == [[("it's",)], [(None,)], []]


async def test_stream(cur: AsyncClientCursor) -> None:
    assert [row async for row in cur.stream("SELECT generate_series(1, %s)", [3])] == [(1,), (2,), (3,)]


async def test_the_position_of_an_error(cur: AsyncClientCursor) -> None:
    with pytest.raises(e.UndefinedColumn) as caught:
        await cur.execute("SELECT %s, wrong", ["text"])
    assert caught.value.query == "SELECT $1, wrong"
    assert caught.value.diag.statement_position == str("SELECT $1, wrong".index("wrong") + 1)
