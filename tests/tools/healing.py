"""Measure how long pools take to heal when their server was restarted under load: `python -m tests.tools.healing`.

    python -m tests.tools.healing [--loop trio ...] [--kind statements ...] [--users 50] [--down 0 2] [--mode immediate]

A server of its own is stopped while all users of a pool are at work, stays down for a while, and is started again. The
time is from when it was first seen to accept a connection to the first user's success, and to that of the last one.
Users go on at once after an error, each as it began: with ``connections`` they have one, execute a query and give it
back, with ``statements`` they use ``pool.execute()``. The status is 1 if a user had to wait for longer than `--limit`
seconds.

The loops are asyncio, uvloop, trio and sync: a pool for threads, each user one of them.
"""

from __future__ import annotations

import argparse
import logging
import socket
import statistics
import struct
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import anyio
import anyio.lowlevel
import anyio.to_thread

from anyq.cli.embedded import EmbeddedServer
from anyq.errors import OperationalError
from anyq.pool import AsyncConnectionPool, ConnectionPool
from tests.support.server import another_server

LOOPS: dict[str, tuple[str, dict[str, Any]]] = {
    "asyncio": ("asyncio", {}),
    "uvloop": ("asyncio", {"use_uvloop": True}),
    "trio": ("trio", {}),
    "sync": ("", {}),
}
KINDS = "connections", "statements"

#: Seconds that a user waits for a connection, more than any server is down.
PATIENCE = 60.0
#: Seconds between two looks whether the server accepts connections.
GRAIN = 0.002
STARTED = "SELECT pg_postmaster_start_time()"
PROTOCOL = 196608
"""Version 3.0, as a client names it first."""


class Times(NamedTuple):
    """Seconds from when the server accepted connections."""

    first: float
    all: float


class Load:
    """The users of a pool, and when each has had its first success with the server as it was started last."""

    def __init__(self, users: int) -> None:
        self.users = users
        self.is_over = False
        self._server: object = None
        self._server_before: object = None
        self._left: set[int] = set()
        self._succeeded: list[float] = []
        self._all = threading.Event()

    def expect(self) -> None:
        """Have a success of each user expected, with another server than that of the last one."""
        self._all.clear()
        self._succeeded = []
        self._server_before = self._server
        self._left = set(range(self.users))

    def has_succeeded(self, user: int, server: object) -> None:
        """Take note of a success.

        :param server: when the server was started, which the query tells.
        """
        if server != self._server_before and user in self._left:
            self._server = server
            self._succeeded.append(time.perf_counter())
            self._left.discard(user)
            if not self._left:
                self._all.set()

    def wait(self) -> tuple[float, float]:
        """Wait until each has; return when the first and the last one had."""
        if not self._all.wait(PATIENCE):
            raise TimeoutError(f"{len(self._left)} users have had no success for {PATIENCE:g} s")
        return min(self._succeeded), max(self._succeeded)


# -- the server


def accepts_connections(server: EmbeddedServer) -> bool:
    """Return whether the server lets a client begin to log in."""
    user = f"user\0{server.user}\0\0".encode()
    try:
        with socket.create_connection((server.host, server.port), PATIENCE) as client:
            client.sendall(struct.pack("!ii", 8 + len(user), PROTOCOL) + user)
            return client.recv(1) == b"R"
    except OSError:
        return False


def when_it_accepts(server: EmbeddedServer) -> float:
    """Wait for the first connection that the server accepts; return when that was begun."""
    pause = threading.Event()
    while True:
        began = time.perf_counter()
        if accepts_connections(server):
            return began
        pause.wait(GRAIN)


def restart(server: EmbeddedServer, load: Load, mode: str, down: float) -> Times:
    """Restart the server; return how long the users have waited for it. Blocks.

    :param down: for how long it is stopped, in seconds.
    """
    server.stop(mode)
    load.expect()
    threading.Event().wait(down)
    starting = threading.Thread(target=server.start)
    starting.start()
    accepted = when_it_accepts(server)
    first, last = load.wait()
    starting.join()
    return Times(first - accepted, last - accepted)


# -- the users


async def use(pool: AsyncConnectionPool, kind: str) -> object:
    """Return when the server was started."""
    if kind == "statements":
        return await (await pool.execute(STARTED)).fetchone()
    async with pool.connection() as conn:
        return await (await conn.execute(STARTED)).fetchone()


async def measure(
    server: EmbeddedServer, load: Load, size: int, kind: str, mode: str, downs: list[float]
) -> list[Times]:
    async def user(number: int) -> None:
        while not load.is_over:
            try:
                load.has_succeeded(number, await use(pool, kind))
            except OperationalError:
                await anyio.lowlevel.checkpoint()

    async with (
        AsyncConnectionPool(server.dsn, min_size=size, timeout=PATIENCE) as pool,
        anyio.create_task_group() as users,
    ):
        await pool.wait()
        for number in range(load.users):
            users.start_soon(user, number)
        await anyio.to_thread.run_sync(load.wait)
        times = [await anyio.to_thread.run_sync(restart, server, load, mode, down) for down in downs]
        load.is_over = True
    return times


def use_in_thread(pool: ConnectionPool, kind: str) -> object:
    """Return when the server was started."""
    if kind == "statements":
        return pool.execute(STARTED).fetchone()
    with pool.connection() as conn:
        return conn.execute(STARTED).fetchone()


def measure_threads(
    server: EmbeddedServer, load: Load, size: int, kind: str, mode: str, downs: list[float]
) -> list[Times]:
    def user(number: int) -> None:
        while not load.is_over:
            try:
                load.has_succeeded(number, use_in_thread(pool, kind))
            except OperationalError:
                continue

    with ConnectionPool(server.dsn, min_size=size, timeout=PATIENCE) as pool:
        pool.wait()
        threads = [threading.Thread(target=user, args=(number,)) for number in range(load.users)]
        for thread in threads:
            thread.start()
        try:
            load.wait()
            return [restart(server, load, mode, down) for down in downs]
        finally:
            load.is_over = True
            for thread in threads:
                thread.join()


# -- the outcome


def told(times: Sequence[Times]) -> str:
    """Return the figures of some restarts."""
    return "; ".join(
        f"{what} {statistics.median(seconds):.3f} s, at most {max(seconds):.3f}"
        for what, seconds in (
            ("the first after", [one.first for one in times]),
            ("all after", [one.all for one in times]),
        )
    )


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.tools.healing", description=__doc__)
    parser.add_argument("--loop", choices=list(LOOPS), action="append", help="by default all of them")
    parser.add_argument("--kind", choices=KINDS, action="append", help="what users do; by default one after the other")
    parser.add_argument("--users", type=int, default=50)
    parser.add_argument("--size", type=int, default=10, help="connections of the pool")
    parser.add_argument(
        "--down", type=float, nargs="+", default=[0.0, 0.5, 1.0, 2.0, 3.0], help="seconds, of each restart"
    )
    parser.add_argument("--mode", choices=["fast", "immediate"], default="fast", help="of stopping the server")
    parser.add_argument("--limit", type=float, default=1.0, help="seconds")
    given = parser.parse_args(arguments)
    logging.getLogger("anyq").setLevel(logging.CRITICAL)
    longest = 0.0
    with another_server(tcp=True) as server:
        for loop in given.loop or LOOPS:
            backend, options = LOOPS[loop]
            for kind in given.kind or KINDS:
                load = Load(given.users)
                load.expect()
                settings = server, load, given.size, kind, given.mode, given.down
                if loop == "sync":
                    times = measure_threads(*settings)
                else:
                    times = anyio.run(measure, *settings, backend=backend, backend_options=options)
                print(f"{loop:8} {kind:12} {len(times)} restarts: {told(times)}", flush=True)
                longest = max(longest, *[one.all for one in times])
    return 0 if longest <= given.limit else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
