"""What tests of pipelines have in common: connections with a table, what is put into it, and what is there.

The fixtures are for a module, which imports them; pytest finds them by their names there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from anyq import AsyncConnection


@pytest.fixture(params=[False, True], ids=["manual", "autocommit"])
async def conn(anyio_backend: object, dsn: str, request: pytest.FixtureRequest) -> AsyncIterator[AsyncConnection]:
    """A connection with an empty table `t`, whose `a` is unique, in either mode."""
    async with AsyncConnection.connect(dsn, autocommit=request.param) as connection:
        await connection.execute("CREATE TEMPORARY TABLE t (a int PRIMARY KEY)")
        await connection.commit()
        yield connection
        assert not connection.session.transactions.pipelines


@pytest.fixture
async def manual(anyio_backend: object, dsn: str) -> AsyncIterator[AsyncConnection]:
    async with AsyncConnection.connect(dsn) as connection:
        await connection.execute("CREATE TEMPORARY TABLE t (a int PRIMARY KEY)")
        await connection.commit()
        yield connection


@pytest.fixture
async def autocommit(anyio_backend: object, dsn: str) -> AsyncIterator[AsyncConnection]:
    async with AsyncConnection.connect(dsn, autocommit=True) as connection:
        await connection.execute("CREATE TEMPORARY TABLE t (a int PRIMARY KEY)")
        yield connection


async def insert(conn: AsyncConnection, *values: int) -> None:
    for value in values:
        await conn.execute("INSERT INTO t VALUES (%s)", [value])


async def content(conn: AsyncConnection) -> list[int]:
    """Return what is in the table `t`."""
    cursor = await conn.execute("SELECT a FROM t ORDER BY a")
    return [a for (a,) in await cursor.fetchall()]
