"""Many statements at once: on one connection they are pipelined, on several they run side by side.

    python examples/side_by_side.py ["connection string"]

Without an argument it connects as the environment says (PGHOST, PGUSER, ...). It makes no tables.
"""

from __future__ import annotations

import sys
import time
from contextlib import AsyncExitStack

import anyio

import anyq

STATEMENTS = 200
CONNECTIONS = 4


async def main(dsn: str) -> None:
    async with AsyncExitStack() as stack:
        connections = [
            await stack.enter_async_context(anyq.AsyncConnection.connect(dsn, autocommit=True))
            for _ in range(CONNECTIONS)
        ]
        conn = connections[0]

        # Short statements: what they cost is the way there and back.
        started = time.perf_counter()
        for number in range(STATEMENTS):
            await double(conn, number)
        show(f"{STATEMENTS} statements, one after the other", started)

        started = time.perf_counter()
        async with anyio.create_task_group() as tasks:
            for number in range(STATEMENTS):
                tasks.start_soon(double, conn, number)
        show(f"{STATEMENTS} statements, each in a task, on one connection", started)

        # Slow statements: the server works on one for each connection.
        started = time.perf_counter()
        async with anyio.create_task_group() as tasks:
            for _ in range(CONNECTIONS):
                tasks.start_soon(work, conn)
        show(f"{CONNECTIONS} slow statements on one connection", started)

        started = time.perf_counter()
        async with anyio.create_task_group() as tasks:
            for each in connections:
                tasks.start_soon(work, each)
        show(f"{CONNECTIONS} slow statements, each on a connection of its own", started)


async def double(conn: anyq.AsyncConnection, number: int) -> None:
    row = await (await conn.execute("SELECT %s::int * 2", (number,))).fetchone()
    assert row == (number * 2,)


async def work(conn: anyq.AsyncConnection) -> None:
    await conn.execute("SELECT pg_sleep(0.2)")


def show(what: str, started: float) -> None:
    print(f"{(time.perf_counter() - started) * 1000:7.1f} ms: {what}")


if __name__ == "__main__":
    anyio.run(main, sys.argv[1] if len(sys.argv) > 1 else "")
