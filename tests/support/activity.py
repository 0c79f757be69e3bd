"""What a server is doing, seen from another connection: so a test knows that a statement runs, without sleeping."""

from __future__ import annotations

import os

import anyio

from anyq import AsyncConnection

PATIENCE = 30.0
"""Seconds after which the test has failed; it is not a time that anything is supposed to take."""

SCALE = int(os.environ.get("ANYQ_TEST_SCALE", "1"))
"""How many times longer than usual the storms are: 10 for 10,000 cancelled operations, 80 for 100,000 queries."""


async def until_sleeping(dsn: str, pid: int) -> None:
    """Return when the session `pid` of the server is in pg_sleep()."""
    with anyio.fail_after(PATIENCE):
        # Not in a transaction, which would be shown the same picture again and again.
        async with AsyncConnection.connect(dsn, autocommit=True) as observer:
            found = None
            while found is None:
                cursor = await observer.execute(
                    "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND state = 'active' AND wait_event = 'PgSleep'",
                    [pid],
                )
                found = await cursor.fetchone()
