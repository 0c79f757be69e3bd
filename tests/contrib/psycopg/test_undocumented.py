"""What programs use of psycopg's objects without its being documented."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest

import anyq
from anyq.contrib.psycopg.undocumented import NAMES, add_names, remove_names
from anyq.pool import AsyncConnectionPool, ConnectionPool


@pytest.fixture
def names() -> Iterator[None]:
    add_names()
    yield
    remove_names()


def test_they_are_there_only_while_they_are_wanted() -> None:
    before = {(cls, name): vars(cls).get(name) for cls, name in NAMES}
    add_names()
    try:
        assert all(vars(cls)[name] is value for (cls, name), value in NAMES.items())
    finally:
        remove_names()
    assert {(cls, name): vars(cls).get(name) for cls, name in NAMES} == before


def test_the_pool_of_a_connection(names: None, dsn: str) -> None:
    with ConnectionPool(dsn, min_size=1) as pool:
        connection: Any = pool.getconn()
        assert connection._pool is pool
        connection._pool.putconn(connection)
    with anyq.connect(dsn) as alone:
        assert getattr(alone, "_pool") is None  # noqa: B009 - only there meanwhile


@pytest.mark.anyio
async def test_a_connection_as_a_pool_makes_them(names: None, dsn: str) -> None:
    async def kwargs() -> dict[str, Any]:
        return {"application_name": "another"}

    for given in (kwargs, {"application_name": "another"}):
        async with AsyncConnectionPool(lambda: dsn, kwargs=given, min_size=1) as pool:
            unknown: Any = pool
            assert await unknown._resolve_conninfo() == dsn
            assert await unknown._resolve_kwargs() == {"application_name": "another"}
            async with pool.connection() as connection:
                unknown = connection
                assert unknown._pool is pool


def test_what_was_sent(names: None, dsn: str) -> None:
    with anyq.connect(dsn) as conn:
        cursor = cast(Any, anyq.ClientCursor(conn))
        assert not cursor._query
        cursor.execute("SELECT %s", ["it's"])
        assert cursor._query.query == b"SELECT 'it''s'"
        with pytest.raises(anyq.errors.DivisionByZero):
            cursor.execute("SELECT %s / 0", [1])
        assert cursor._query.query == b"SELECT 1 / 0"
        cursor = cast(Any, anyq.Cursor(conn))
        conn.rollback()
        assert cursor.execute("SELECT %s", ["it's"])._query is None


@pytest.mark.anyio
async def test_what_libpq_would_tell(names: None, conn: anyq.AsyncConnection) -> None:
    unknown: Any = conn
    assert unknown.pgconn.server_version == conn.info.server_version
    cursor = cast(Any, conn.cursor())
    await cursor.execute("SELECT 1")
    assert cursor.pgresult.ntuples == 1
    cursor._close()
    assert cursor.closed
    with pytest.raises(anyq.InterfaceError):
        await cursor.fetchall()
