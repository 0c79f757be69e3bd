"""What is special about trio: guest mode, and that nothing stands between it and who waits."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.lowlevel
import trio.testing

from anyq.backends import current_backend
from anyq.backends.trio_backend import TrioBackend
from tests.support.pairs import Pair


def test_checkpoints_are_trios_own() -> None:
    """One call less in each of them."""
    assert TrioBackend.checkpoint is trio.lowlevel.checkpoint


def test_guest_mode(pair: Pair) -> None:
    """Its tasks run in the thread of another loop, and are trio's all the same."""
    ours, theirs = pair
    names: list[str] = []

    async def guest() -> bytes:
        names.append(current_backend().name)
        waiter = current_backend().socket_waiter(ours)
        theirs.send(b"x")
        await waiter.wait(True, False)
        waiter.close()
        return ours.recv(10)

    async def host() -> bytes:
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[Any] = loop.create_future()

        def in_host(function: Callable[[], object]) -> None:
            loop.call_soon_threadsafe(function)

        trio.lowlevel.start_guest_run(guest, run_sync_soon_threadsafe=in_host, done_callback=ended.set_result)
        outcome = await ended
        names.append(current_backend().name)
        received: bytes = outcome.unwrap()
        return received

    assert asyncio.run(host()) == b"x"
    assert names == ["trio", "asyncio"]


def test_a_wait_leaves_no_registration(pair: Pair) -> None:
    """Another task may wait for the same socket by itself afterwards, as trio allows one at a time."""

    async def main(sock: socket.socket) -> None:
        waiter = current_backend().socket_waiter(sock)
        for readable, writable in [(False, True), (True, True)]:
            await waiter.wait(readable, writable)
        with trio.move_on_after(0):
            await waiter.wait(True, False)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.lowlevel.wait_readable, sock)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await waiter.wait(True, False)
            nursery.cancel_scope.cancel()
        waiter.close()

    trio.run(main, pair[0])
