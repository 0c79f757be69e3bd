"""Pools for tests: connections whose opening a test decides on, and what is left on the server."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel

import anyq
from anyq import AsyncConnection
from anyq.errors import OperationalError
from anyq.pool import AsyncConnectionPool, ConnectionPool
from tests.support.activity import PATIENCE


class Gate:
    """How connections are opened: at once, never, or not before the test says so.

    :param dsn: where to.
    """

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self.attempts = 0
        self.under_way = 0
        self.refuses = False
        self._open: anyio.Event | None = None

    def shut(self) -> None:
        """Have attempts wait."""
        self._open = anyio.Event()

    def open(self) -> None:
        """Have those that wait go on."""
        if self._open is not None:
            self._open.set()
            self._open = None

    @property
    def connection_class(self) -> type[AsyncConnection[Any]]:
        """A class of connections that go through here."""
        gate = self

        class Guarded(AsyncConnection[Any]):
            @classmethod
            async def connect(cls, conninfo: str = "", **kwargs: Any) -> Any:  # type: ignore[override]
                return await gate.connect(conninfo, **kwargs)

        return Guarded

    async def connect(self, conninfo: str, **kwargs: Any) -> AsyncConnection[Any]:
        """Open a connection."""
        self.attempts += 1
        self.under_way += 1
        try:
            if self._open is not None:
                await self._open.wait()
            if self.refuses:
                await anyio.lowlevel.checkpoint()
                raise OperationalError("refused")
            return await AsyncConnection.connect(conninfo or self.dsn, **kwargs)
        finally:
            self.under_way -= 1

    def pool(self, **kwargs: Any) -> AsyncConnectionPool[AsyncConnection[Any]]:
        """Return a pool of one connection whose connections go through here."""
        settings = {"min_size": 0, "max_size": 1, "timeout": PATIENCE, **kwargs}
        return AsyncConnectionPool(self.dsn, connection_class=self.connection_class, **settings)


@asynccontextmanager
async def opened(pool: Any, *, block: bool = True) -> AsyncIterator[Any]:
    """Have a pool open, with a block of its own or without one."""
    if block:
        async with pool:
            yield pool
        return
    await pool.open()
    try:
        yield pool
    finally:
        await pool.close()


@asynccontextmanager
async def whole_at_the_end(pool: AsyncConnectionPool) -> AsyncIterator[AsyncConnectionPool]:
    """Have a pool open whose connections are all back at the end, and as they were."""
    async with pool:
        await pool.wait()
        yield pool
        await until(lambda: pool.get_stats()["pool_available"] == pool.get_stats()["pool_size"])
        assert pool.get_stats()["requests_waiting"] == 0
        async with pool.connection() as conn:
            assert not conn.autocommit


async def until(fact: Callable[[], object]) -> None:
    """Return when something is so, of which nobody is told."""
    with anyio.fail_after(PATIENCE):
        while not fact():
            await anyio.lowlevel.checkpoint()


async def pid_of(pool: Any) -> int:
    """Return which session of the server a pool gives."""
    async with pool.connection() as conn:
        return int(conn.info.backend_pid)


async def kill(dsn: str, *pids: int) -> None:
    """Have the server end sessions; return when they are gone."""
    async with AsyncConnection.connect(dsn, autocommit=True) as killer:
        for pid in pids:
            await killer.execute("SELECT pg_terminate_backend(%s, 30000)", [pid])


async def sessions(conn: AsyncConnection[Any], name: str) -> list[int]:
    """Return the backend pids of the sessions of an application."""
    cur = await conn.execute("SELECT pid FROM pg_stat_activity WHERE application_name = %s ORDER BY pid", [name])
    return [pid for (pid,) in await cur.fetchall()]


# -- the same in threads


def wait_until(fact: Callable[[], object]) -> None:
    """Return when something is so, of which nobody is told."""
    with anyq.sync.timeout(PATIENCE):
        while not fact():
            threading.Event().wait(0)


def pid_of_sync(pool: ConnectionPool[Any]) -> int:
    """Return which session of the server a pool gives."""
    with pool.connection() as conn:
        return int(conn.info.backend_pid)


def kill_by(conn: anyq.Connection[Any], *pids: int) -> None:
    """Have the server end sessions; return when they are gone."""
    for pid in pids:
        conn.execute("SELECT pg_terminate_backend(%s, 30000)", [pid])
