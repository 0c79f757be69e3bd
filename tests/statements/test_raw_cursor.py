"""AsyncRawCursor: statements with PostgreSQL's own placeholders."""

from __future__ import annotations

from typing import Any

import pytest

from anyq import AsyncConnection, AsyncRawCursor
from anyq import errors as e

pytestmark = pytest.mark.anyio


@pytest.fixture
async def cur(conn: AsyncConnection) -> AsyncRawCursor:
    return AsyncRawCursor(conn)


@pytest.mark.parametrize(
    ("query", "params", "row"),
    [
        ("SELECT $1::int + $2::int", [1, 2], (3,)),
        ("SELECT $2::text, $1::int, $2::text", (1, "x"), ("x", 1, "x")),
        ("SELECT 5 % $1::int, '%s', '%%', '%(a)s'", [3], (2, "%s", "%%", "%(a)s")),
        ("SELECT 5 % 3", None, (2,)),
        ("SELECT 5 % 3", [], (2,)),
        ("SELECT $1::text, '$1', $$ $1 $$", ["x"], ("x", "$1", " $1 ")),
        ("SELECT $1::text", [None], (None,)),
        ("SELECT $1 -- and $2", ["x"], ("x",)),
    ],
)
@pytest.mark.parametrize("options", [{}, {"prepare": True}, {"binary": True}])
async def test_execute(cur: AsyncRawCursor, query: Any, params: Any, row: Any, options: dict[str, Any]) -> None:
    for _ in range(3):
        assert await (await cur.execute(query, params, **options)).fetchall() == [row]


@pytest.mark.parametrize(
    ("query", "params", "error"),
    [
        ("SELECT $1", {"a": 1}, TypeError),
        ("SELECT $1", "x", TypeError),
        ("SELECT $1", 5, TypeError),
        ("SELECT $1", {1}, TypeError),
        # Which one it is depends on the protocol that the statement goes by.
        ("SELECT $1::int", [], (e.UndefinedParameter, e.ProtocolViolation)),
        ("SELECT $1::int", None, (e.UndefinedParameter, e.ProtocolViolation)),
        ("SELECT $1::int, $2::int", [1], e.ProtocolViolation),
        ("SELECT %s", [1], e.SyntaxError),
        ("SELECT $1::int; SELECT 2", [1], e.SyntaxError),
    ],
)
async def test_wrong_parameters(cur: AsyncRawCursor, query: Any, params: Any, error: Any) -> None:
    with pytest.raises(error):
        await cur.execute(query, params)
    await cur.connection.rollback()
    assert await (await cur.execute("SELECT $1::int", [1])).fetchone() == (1,)


async def test_several_statements(cur: AsyncRawCursor) -> None:
    nothing: list[int] = []
    for params in (None, nothing):
        await cur.execute("SELECT 1; SELECT 5 % 3", params)
        assert [await result.fetchall() async for result in cur.results()] == [[(1,)], [(2,)]]


async def test_executemany(cur: AsyncRawCursor) -> None:
    await cur.executemany("SELECT $1::int * $2::int", [(1, 2), [3, 4]], returning=True)
    assert [await result.fetchone() async for result in cur.results()] == [(2,), (12,)]
    with pytest.raises(TypeError):
        await cur.executemany("SELECT $1", [{"a": 1}])


async def test_stream(cur: AsyncRawCursor) -> None:
    assert [row async for row in cur.stream("SELECT generate_series(1, $1)", [3])] == [(1,), (2,), (3,)]


async def test_it_is_prepared_like_any_other(cur: AsyncRawCursor, conn: AsyncConnection) -> None:
    for number in range(8):
        assert await (await cur.execute("SELECT $1::int", [number])).fetchone() == (number,)
    rows = await conn.execute("SELECT statement FROM pg_prepared_statements", prepare=False)
    assert await rows.fetchall() == [("SELECT $1::int",)]


async def test_as_the_cursor_factory(conn: AsyncConnection, dsn: str) -> None:
    async with AsyncConnection.connect(dsn, cursor_factory=AsyncRawCursor) as other:
        assert await (await other.execute("SELECT $1::int", [1])).fetchone() == (1,)
