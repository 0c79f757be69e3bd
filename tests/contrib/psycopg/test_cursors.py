"""Classes of cursors that are mixed as psycopg's are."""

from __future__ import annotations

from typing import Any

import pytest

import anyq
from anyq.contrib.psycopg.cursors import ClientCursorMixin

QUERY = "SELECT n, %s || '%%' FROM generate_series(1, 5) AS n WHERE n > %s"
ROWS = [(n, "it's%") for n in range(3, 6)]


class Cursor(ClientCursorMixin, anyq.Cursor[Any]):
    pass


class ServerCursor(ClientCursorMixin, anyq.ServerCursor[Any]):
    pass


class AsyncCursor(ClientCursorMixin, anyq.AsyncCursor[Any]):
    pass


class AsyncServerCursor(ClientCursorMixin, anyq.AsyncServerCursor[Any]):
    pass


def statements(conn: anyq.Connection) -> list[str]:
    rows = conn.execute("SELECT statement FROM pg_cursors WHERE name = 'named'").fetchall()
    return [row[0] for row in rows]


def test_synchronous_ones(dsn: str) -> None:
    with anyq.connect(dsn) as conn:
        assert Cursor(conn).mogrify("SELECT %s", ["it's"]) == "SELECT 'it''s'"
        with Cursor(conn) as cursor:
            assert cursor.execute(QUERY, ["it's", 2]).fetchall() == ROWS
            # By the simple protocol a statement may be several.
            cursor.execute("SELECT %s; SELECT %s", [1, 2])
            assert [found.fetchall() for found in cursor.results()] == [[(1,)], [(2,)]]
        with ServerCursor(conn, "named", withhold=False) as named:
            assert named.mogrify("SELECT %s", [1]) == "SELECT 1"
            named.execute(QUERY, ["it's", 2])
            (declared,) = statements(conn)
            assert declared.endswith("SELECT n, 'it''s' || '%' FROM generate_series(1, 5) AS n WHERE n > 2")
            assert named.fetchmany(1) + list(named) == ROWS
        assert statements(conn) == []
        with ServerCursor(conn, "named") as named, pytest.raises(anyq.errors.UndefinedTable):
            named.execute("SELECT %s FROM nowhere", [1])


@pytest.mark.anyio
async def test_asynchronous_ones(conn: anyq.AsyncConnection) -> None:
    async with AsyncCursor(conn) as cursor:
        assert cursor.mogrify("SELECT %s", ["it's"]) == "SELECT 'it''s'"
        await cursor.execute("SELECT %s; SELECT %s", [1, 2])
        assert await cursor.fetchall() == [(1,)]
    async with AsyncServerCursor(conn, "named") as named:
        await named.execute(QUERY, ["it's", 2])
        assert [row async for row in named] == ROWS
        assert named.mogrify("SELECT %s", [1]) == "SELECT 1"
