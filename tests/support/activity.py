"""What a server is doing, seen from another connection: so a test knows that a statement runs, without sleeping.

Knows pg_stat_activity and advisory locks. Knows nothing of what is tested, which it sees by a backend pid only.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from anyq import AsyncConnection

PATIENCE = 30.0
"""Seconds after which the test has failed; it is not a time that anything is supposed to take."""

SCALE = int(os.environ.get("ANYQ_TEST_SCALE", "1"))
"""How many times longer than usual the storms are: 10 for 10,000 cancelled operations, 80 for 100,000 queries."""

LOCKS = 1_701
"""First half of the keys of advisory locks that :func:`held_lock` takes; tests take others by themselves."""


async def _until(observer: AsyncConnection, pid: int, wait_event: str) -> None:
    found = None
    with anyio.fail_after(PATIENCE):
        while found is None:
            cursor = await observer.execute(
                "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND state = 'active' AND wait_event = %s",
                [pid, wait_event],
            )
            found = await cursor.fetchone()


async def until_sleeping(dsn: str, pid: int) -> None:
    """Return when the session `pid` of the server is in pg_sleep()."""
    # Not in a transaction, which would be shown the same picture again and again.
    async with AsyncConnection.connect(dsn, autocommit=True) as observer:
        await _until(observer, pid, "PgSleep")


async def cancelled_asleep(dsn: str, conn: AsyncConnection) -> None:
    """Cancel a statement that sleeps, as soon as it does."""
    async with anyio.create_task_group() as group:
        group.start_soon(conn.execute, "SELECT pg_sleep(60)")
        await until_sleeping(dsn, conn.info.backend_pid)
        group.cancel_scope.cancel()


class HeldLock:
    """An advisory lock that a session of the test's own holds."""

    def __init__(self, holder: AsyncConnection, key: int) -> None:
        self._holder = holder
        self._key = key
        self.statement = f"SELECT pg_advisory_xact_lock_shared({LOCKS}, {key})"
        """It lasts until the lock is released; any number of sessions may execute it. Its row is ('',)."""

    async def until_wanted(self, pid: int) -> None:
        """Return when the session `pid` of the server waits for it."""
        await _until(self._holder, pid, "advisory")

    async def release(self) -> None:
        """Let the statements come to their end."""
        await self._holder.execute("SELECT pg_advisory_unlock(%s, %s)", [LOCKS, self._key])


@asynccontextmanager
async def held_lock(dsn: str, key: int = 0) -> AsyncIterator[HeldLock]:
    """Hold a lock, so that a statement lasts for as long as the test wants, and no longer."""
    async with AsyncConnection.connect(dsn, autocommit=True) as holder:
        await holder.execute("SELECT pg_advisory_lock(%s, %s)", [LOCKS, key])
        yield HeldLock(holder, key)
