"""A server that stops answering: cancellation and close() are bounded, whatever is being waited for.

The server process of a connection is frozen with SIGSTOP, so its socket stays open and takes what is sent.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

import anyq
from tests.support.server import Server
from tests.support.stepping import cancel_when_blocked

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGSTOP"),
]

GRACE = 0.3
MARGIN = 3.0
"""Seconds above the grace time after which something is taken to hang; no measure of anything."""

Operation = Callable[[anyq.AsyncConnection], Awaitable[Any]]


async def _stream(conn: anyq.AsyncConnection) -> None:
    async for _ in conn.cursor().stream("SELECT 1"):
        pass


async def _transaction(conn: anyq.AsyncConnection) -> None:
    async with conn.transaction():
        await conn.execute("SELECT 1")


async def _listen(conn: anyq.AsyncConnection) -> None:
    async with conn.listen("somewhere") as stream:
        await stream.receive()


OPERATIONS: dict[str, Operation] = {
    "execute": lambda conn: conn.execute("SELECT 1"),
    "executemany": lambda conn: conn.cursor().executemany("SELECT %s::text", [("x" * 1000,)] * 2000),
    "stream": _stream,
    "transaction": _transaction,
    "listen": _listen,
    "notify": lambda conn: conn.notify("somewhere"),
    "large": lambda conn: conn.execute("SELECT %s::text", ("x" * 10_000_000,)),
}


@pytest.fixture
def local_server(server: Server) -> Server:
    if not server.is_embedded:
        pytest.skip("the processes of another server are not ours to stop")
    return server


def postmaster_pid(server: Server) -> int:
    with open(os.path.join(server.datadir, "postmaster.pid")) as file:
        return int(file.readline())


@asynccontextmanager
async def frozen(server: Server) -> AsyncIterator[anyq.AsyncConnection]:
    """A connection whose server process is stopped."""
    async with anyq.AsyncConnection.connect(server.dsn, autocommit=True, grace_period=GRACE) as conn:
        pid = conn.info.backend_pid
        os.kill(pid, signal.SIGSTOP)
        try:
            yield conn
        finally:
            os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("name", OPERATIONS)
async def test_cancellation_returns_and_the_connection_is_closed(local_server: Server, name: str) -> None:
    async with frozen(local_server) as conn:
        with anyio.fail_after(GRACE + MARGIN):
            await cancel_when_blocked(lambda: OPERATIONS[name](conn))
        assert conn.closed
        assert conn.broken
        with pytest.raises(anyq.OperationalError, match="grace time"):
            await conn.execute("SELECT 1")


async def test_close_does_not_wait_for_the_server(local_server: Server) -> None:
    async with frozen(local_server) as conn:
        with anyio.fail_after(MARGIN):
            await conn.close()
        assert conn.closed
        assert not conn.broken


async def test_close_ends_what_other_tasks_wait_for(local_server: Server) -> None:
    async with frozen(local_server) as conn:
        failed: list[anyq.Error] = []

        async def ask() -> None:
            with pytest.raises(anyq.OperationalError, match="closed") as caught:
                await conn.execute("SELECT 1")
            failed.append(caught.value)

        with anyio.fail_after(MARGIN):
            async with anyio.create_task_group() as group:
                for _ in range(3):
                    group.start_soon(ask)
                await anyio.wait_all_tasks_blocked()
                await conn.close()
        assert len(failed) == 3
        assert len(set(map(id, failed))) == 3


async def test_a_connection_attempt_is_bounded_by_its_timeout(local_server: Server) -> None:
    """The postmaster is stopped: the kernel still accepts, and nobody answers."""
    pid = postmaster_pid(local_server)
    os.kill(pid, signal.SIGSTOP)
    try:
        with anyio.fail_after(MARGIN), pytest.raises(anyq.ConnectionTimeout):
            await anyq.AsyncConnection.connect(local_server.dsn, connect_timeout=0.2)
    finally:
        os.kill(pid, signal.SIGCONT)
