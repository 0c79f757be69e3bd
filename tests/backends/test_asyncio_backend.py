"""What is special about asyncio: loops that watch sockets, and those that do not."""

from __future__ import annotations

import asyncio
import gc
import importlib.util
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import pytest
from typing_extensions import Unpack

from anyq.backends import SocketWaiter, current_backend
from tests.support.loops import BlindLoop, Ts, waits
from tests.support.pairs import Pair, empty, fill


def counting(kind: Any) -> Any:
    """Return a kind of loop that counts its registrations."""

    class CountingLoop(kind):  # type: ignore[misc]
        calls: list[str]

        def add_reader(self, *args: Any) -> Any:
            self.calls.append("add_reader")
            return super().add_reader(*args)

        def remove_reader(self, *args: Any) -> Any:
            self.calls.append("remove_reader")
            return super().remove_reader(*args)

    return CountingLoop


def counting_loops() -> list[Any]:
    loops: list[Any] = [counting(asyncio.SelectorEventLoop)]
    if importlib.util.find_spec("uvloop") is not None:
        import uvloop

        loops.append(counting(uvloop.Loop))
    return loops


@pytest.fixture(params=counting_loops())
def loop(request: pytest.FixtureRequest) -> Iterator[Any]:
    loop = request.param()
    loop.calls = []
    yield loop
    loop.close()


def test_reader_stays_registered(loop: Any, pair: Pair) -> None:
    ours, theirs = pair

    async def main() -> None:
        waiter = current_backend().socket_waiter(ours)
        loop.calls.clear()  # of finding out whether the loop can watch sockets
        for _ in range(10):
            theirs.send(b"x")
            await waiter.wait(True, False)
            assert ours.recv(10) == b"x"
            await current_backend().checkpoint()
        assert loop.calls == ["add_reader"]
        waiter.close()
        assert loop.calls == ["add_reader", "remove_reader"]

    loop.run_until_complete(main())


def test_unread_data_does_not_spin_the_loop(loop: Any, pair: Pair) -> None:
    ours, theirs = pair

    async def main() -> None:
        waiter = current_backend().socket_waiter(ours)
        for _ in range(3):
            theirs.send(b"x")
            await waiter.wait(True, False)
            assert ours.recv(10) == b"x"
            loop.calls.clear()
            theirs.send(b"x")
            for _ in range(10):
                await current_backend().checkpoint()
            assert loop.calls == ["remove_reader"]
            await waiter.wait(True, False)
            assert ours.recv(10) == b"x"
            assert loop.calls == ["remove_reader", "add_reader"]
        waiter.close()

    loop.run_until_complete(main())


def test_writability_does_not_wake_for_data_nor_spin(loop: Any, pair: Pair) -> None:
    ours, theirs = pair

    async def main() -> None:
        waiter = current_backend().socket_waiter(ours)
        theirs.send(b"x")
        await waiter.wait(True, False)  # registers the reader
        fill(ours)
        async with anyio.create_task_group() as group:
            loop.calls.clear()
            group.start_soon(waits, waiter, False, True)
            for _ in range(10):
                await current_backend().checkpoint()
            assert loop.calls == ["remove_reader"]
            empty(theirs)
        waiter.close()

    loop.run_until_complete(main())


def test_loop_is_asked_once_whether_it_can_watch_sockets(pair: Pair) -> None:
    class Loop(BlindLoop):
        calls = 0

        def add_reader(self, fd: Any, callback: Callable[[Unpack[Ts]], Any], *args: Unpack[Ts]) -> None:
            self.calls += 1
            raise NotImplementedError

    async def main() -> None:
        for _ in range(3):
            current_backend().socket_waiter(pair[0]).close()

    loop = Loop()
    loop.run_until_complete(main())
    loop.close()
    assert loop.calls == 1


def test_lost_report_of_the_thread(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """anyio's thread may lose one when a descriptor's number is used again; that must not hang."""
    monkeypatch.setattr("anyq.backends.asyncio_backend._RECHECK_SECONDS", 0.01)
    monkeypatch.setattr(anyio, "wait_readable", lambda sock: anyio.sleep_forever())

    async def main() -> None:
        waiter = current_backend().socket_waiter(pair[0])
        await waiter.wait(True, False)
        waiter.close()

    loop = BlindLoop()
    loop.run_until_complete(main())
    loop.close()


@pytest.mark.parametrize("where", ["same thread", "other thread", "after the loop"])
def test_abandon(loop: Any, pair: Pair, where: str) -> None:
    ours, theirs = pair
    waiters: list[SocketWaiter] = []

    async def main() -> None:
        waiter = current_backend().socket_waiter(ours)
        theirs.send(b"x")
        await waiter.wait(True, False)
        ours.recv(10)
        loop.calls.clear()
        if where == "same thread":
            waiter.abandon(ours)
        elif where == "other thread":
            await anyio.to_thread.run_sync(waiter.abandon, ours)
            await current_backend().checkpoint()
        else:
            waiters.append(waiter)

    loop.run_until_complete(main())
    for waiter in waiters:
        waiter.abandon(ours)
    assert loop.calls == ["remove_reader"]
    assert ours.fileno() == -1
    assert theirs.recv(1) == b""


def test_closing_after_the_loop(loop: Any, pair: Pair) -> None:
    ours, theirs = pair
    waiters: list[SocketWaiter] = []

    async def main() -> None:
        waiters.append(current_backend().socket_waiter(ours))
        theirs.send(b"x")
        await waiters[0].wait(True, False)

    loop.run_until_complete(main())
    loop.close()
    waiters[0].close()
    gc.collect()
