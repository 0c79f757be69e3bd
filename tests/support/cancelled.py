"""Connections that are cancelled, and what must not be left of them: work of the server, sockets, cursors."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from anyq import AsyncConnection, TransactionStatus

PATIENCE = 20.0
"""Seconds after which something is taken to hang."""

NAME = "anyq-cancelled"
"""Under which the server knows the connections."""

WORK = "SELECT count(*) FROM generate_series(1, %s::int)"
"""Keeps a server busy, and ends at once when it is cancelled."""


@pytest.fixture
async def observer(anyio_backend: object, dsn: str) -> AsyncIterator[AsyncConnection]:
    async with AsyncConnection.connect(dsn, autocommit=True) as connection:
        yield connection


async def at_work(observer: AsyncConnection) -> int:
    """How many of our sessions the server is working for."""
    cursor = await observer.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s AND state NOT LIKE 'idle%%'", [NAME]
    )
    return int((await cursor.fetchall())[0][0])


async def until_none_is_left(observer: AsyncConnection) -> None:
    """Return when the server has noticed that all our connections are closed."""
    with anyio.fail_after(PATIENCE):
        left = 1
        while left:
            cursor = await observer.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = %s", [NAME])
            ((left,),) = await cursor.fetchall()


@asynccontextmanager
async def connected(dsn: str, **kwargs: Any) -> AsyncIterator[AsyncConnection]:
    async with AsyncConnection.connect(dsn, application_name=NAME, **kwargs) as conn:
        await conn.execute("CREATE TEMPORARY TABLE t (a int)")
        await conn.commit()
        yield conn


async def check_ready(conn: AsyncConnection, n: int) -> None:
    """Ask something that has never been asked, and has as many rows as nothing else."""
    assert not conn.closed
    await conn.rollback()
    cursor = await conn.execute(f"SELECT {n} + generate_series(1, 7)".encode())
    assert await cursor.fetchall() == [(n + i,) for i in range(1, 8)]
    cursor = await conn.execute("SELECT name FROM pg_cursors WHERE name <> ''")
    assert await cursor.fetchall() == []
    await conn.rollback()
    assert conn.info.transaction_status is TransactionStatus.IDLE
