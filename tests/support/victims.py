"""Making a statement the victim of a CancelRequest that was meant for the one before it, on a real server.

Knows how the driver is told to send one. Knows nothing of what a victim does, which is what is tested.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import anyio

from anyq import AsyncConnection

from .activity import LOCKS, PATIENCE, held_lock

_FIRST, SECOND = 1, 2
"""Keys of locks that are held."""

WAITS = f"pg_advisory_xact_lock_shared({LOCKS}, {SECOND})"
"""The call in SQL that a victim waits in."""


async def as_victim(conn: AsyncConnection, dsn: str, neighbour: Callable[[str], Coroutine[Any, Any, object]]) -> None:
    """Run `neighbour` behind a statement that is cancelled too late: the server is at the neighbour's by then.

    :param neighbour: is given :data:`WAITS`, which its statement has to call; the first time that is where it is hit,
        from then on it returns at once.
    """
    cancelling = conn.session.wire.cancelling
    canceller = cancelling.canceller
    assert canceller is not None
    pid = conn.info.backend_pid
    async with held_lock(dsn, _FIRST) as first, held_lock(dsn, SECOND) as second:

        async def too_late(may_send: Callable[[], bool]) -> None:
            assert may_send()
            await first.release()
            await _until(dsn, pid, True)
            await canceller(lambda: True)
            await _until(dsn, pid, False)
            await second.release()

        cancelling.canceller = too_late
        grace, cancelling.grace = cancelling.grace, PATIENCE
        try:
            with anyio.fail_after(PATIENCE):
                async with anyio.create_task_group() as group, anyio.create_task_group() as doomed:
                    doomed.start_soon(conn.execute, first.statement)
                    await first.until_wanted(pid)
                    group.start_soon(neighbour, WAITS)
                    await anyio.wait_all_tasks_blocked()
                    doomed.cancel_scope.cancel()
        finally:
            cancelling.canceller, cancelling.grace = canceller, grace


async def _until(dsn: str, pid: int, wanted: bool) -> None:
    """Return when a session of the server waits for the second lock, or does not."""
    async with AsyncConnection.connect(dsn, autocommit=True) as observer:
        found = not wanted
        while found is not wanted:
            cursor = await observer.execute(
                "SELECT 1 FROM pg_locks WHERE pid = %s AND objid = %s AND NOT granted", [pid, SECOND]
            )
            found = await cursor.fetchone() is not None
