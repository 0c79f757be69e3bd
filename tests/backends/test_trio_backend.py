"""What is special about trio: its checkpoints, guest mode, and what a wait registers."""

from __future__ import annotations

import asyncio
import math
import signal
import socket
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.lowlevel
import trio.testing

from anyq.backends import current_backend
from tests.support.pairs import Pair


def test_a_checkpoint_is_what_trios_is() -> None:
    """It is made of trio's halves, which are run without its function: others run, and cancellations are raised."""

    async def main() -> list[str]:
        backend, seen = current_backend(), []
        with trio.testing.assert_checkpoints():
            await backend.checkpoint()

        async def other() -> None:
            seen.append("another task")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(other)
            for _ in range(2):  # tasks of one turn run in any order
                await backend.checkpoint()
            seen.append("this one")
        with trio.CancelScope() as scope:
            scope.cancel()
            with pytest.raises(trio.Cancelled):
                await backend.checkpoint()
            with trio.CancelScope(shield=True):
                await backend.checkpoint()
        with trio.CancelScope(deadline=-math.inf) as late:
            await backend.checkpoint()
        assert late.cancelled_caught
        return seen

    assert trio.run(main) == ["another task", "this one"]


def test_ctrl_c_is_raised_by_a_checkpoint_of_the_main_task() -> None:
    async def main() -> None:
        backend = current_backend()

        @trio.lowlevel.enable_ki_protection
        def ctrl_c() -> None:
            signal.raise_signal(signal.SIGINT)

        ctrl_c()
        with pytest.raises(KeyboardInterrupt):
            await backend.checkpoint()
        await backend.checkpoint()

    trio.run(main)


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
