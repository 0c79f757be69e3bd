"""Fan-out: one connection, several channels, a task group of workers, and a graceful shutdown.

    python examples/fan_out.py [--dsn DSN] [--backend asyncio|trio] [--orders N]

Orders come as notifications on one channel and are shared out among workers: each goes to one of them. Announcements
come on another, and every worker gets each. All of it, and the workers' queries, goes over one connection. Ctrl-C, or
the last order, ends it: what has been taken is worked off, nothing new is taken.
"""

from __future__ import annotations

import argparse
import signal
import sys

import anyio
import anyio.abc

import anyq
from anyq.cli.embedded import EmbeddedServer, ServerUnavailable

WORKERS = 3


class Shift:
    """What the workers have done, and whether that is enough."""

    def __init__(self, count: int) -> None:
        self.wanted = count
        self.done: list[str] = []
        self.over = anyio.Event()

    def finish(self, order: str) -> None:
        self.done.append(order)
        if len(self.done) == self.wanted:
            self.over.set()


async def work(name: str, conn: anyq.AsyncConnection, orders: anyq.NotificationStream, shift: Shift) -> None:
    """Take orders until there are no more; `orders` is this worker's clone of the shared stream."""
    async with orders:
        async for order in orders:
            # A query on the connection that the notifications come from; nothing has to wait for anything.
            cur = await conn.execute("SELECT %s::int * 10", (order.payload,))
            row = await cur.fetchone()
            assert row is not None
            print(f"{name}: order {order.payload} costs {row[0]}")
            shift.finish(order.payload)


async def follow(name: str, conn: anyq.AsyncConnection, *, task_status: anyio.abc.TaskStatus[None]) -> None:
    """Print every announcement: a subscription of its own sees all of them."""
    async with conn.listen("announcements") as stream:
        task_status.started()
        async for announcement in stream:
            print(f"{name} heard: {announcement.payload}")
            if announcement.payload == "closing time":
                return


async def send(dsn: str, count: int) -> None:
    """Be the rest of the world: send announcements and orders from another connection."""
    async with anyq.AsyncConnection.connect(dsn, autocommit=True) as conn:
        await conn.notify("announcements", "open for business")
        for number in range(1, count + 1):
            await conn.notify("orders", str(number))


async def end_on_signal(shift: Shift) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            shift.over.set()


async def main(dsn: str, count: int) -> None:
    shift = Shift(count)
    async with anyq.AsyncConnection.connect(dsn, autocommit=True) as conn, anyio.create_task_group() as outer:
        outer.start_soon(end_on_signal, shift)
        async with anyio.create_task_group() as followers:
            for number in range(WORKERS):
                await followers.start(follow, f"follower {number}", conn)
            async with anyio.create_task_group() as workers, conn.listen("orders") as orders:
                for number in range(WORKERS):
                    workers.start_soon(work, f"worker {number}", conn, orders.clone(), shift)
                outer.start_soon(send, dsn, count)
                await shift.over.wait()
                # Leaving the block ends the stream: workers finish what they have and come to their end.
            await conn.notify("announcements", "closing time")
        outer.cancel_scope.cancel()
    print(f"{len(shift.done)} orders done, by {WORKERS} workers on one connection")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--dsn", help="connection string or URI; by default an embedded server is started")
    parser.add_argument("--backend", choices=("asyncio", "trio"), default="asyncio")
    parser.add_argument("--orders", type=int, default=9)
    arguments = parser.parse_args()
    try:
        if arguments.dsn is not None:
            anyio.run(main, arguments.dsn, arguments.orders, backend=arguments.backend)
        else:
            with EmbeddedServer() as server:
                anyio.run(main, server.dsn, arguments.orders, backend=arguments.backend)
    except ServerUnavailable as error:
        sys.exit(str(error))
