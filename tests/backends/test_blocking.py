"""A thread in the place of an event loop: what a coroutine yields to it, and what the event loop's backend does."""

from __future__ import annotations

import socket
import threading
from collections.abc import Coroutine
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from anyq.backends import current_backend
from anyq.backends.base import CancellationCheck
from anyq.backends.blocking import HANDOVER, Bell, BlockingBackend, available
from anyq.errors import InterfaceError
from tests.support.pairs import Pair

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(not available(), reason="there is no poll()")]

READABLE, WRITABLE = 1, 4


def begun(pair: Pair) -> BlockingBackend:
    """Return a backend that this thread has begun with, in the place of the event loop that runs now."""
    backend = BlockingBackend(current_backend(), pair[0])
    backend.begin(threading.get_ident(), "a task", lambda: False)
    return backend


def yielded(awaitable: Any) -> list[Any]:
    """Return what is yielded by what is awaited, until it is at its end."""

    async def wait() -> None:
        await awaitable

    values: list[Any] = []
    coro: Coroutine[Any, Any, None] = wait()
    while True:
        try:
            values.append(coro.send(None))
        except StopIteration:
            return values


async def test_what_a_coroutine_yields(anyio_backend: Any, pair: Pair) -> None:
    backend = begun(pair)
    waiter = backend.waiter
    assert yielded(backend.checkpoint()) == yielded(backend.checkpoint_if_cancelled()) == []
    assert yielded(backend.in_loop()) == [HANDOVER]
    assert yielded(waiter.wait(True, False)) == [READABLE]
    assert yielded(waiter.wait(False, True)) == [WRITABLE]
    assert yielded(waiter.wait(True, True)) == [READABLE | WRITABLE]
    assert HANDOVER not in (READABLE, WRITABLE)
    assert backend.current_task() == "a task"
    backend.begin(threading.get_ident(), "a task", lambda: True)
    assert yielded(backend.checkpoint()) == [HANDOVER]
    assert yielded(backend.checkpoint_if_cancelled()) == []
    assert backend.may_go_on()
    assert backend.is_here()


async def test_when_it_has_ended_the_event_loops_backend_is_behind_it(anyio_backend: Any, pair: Pair) -> None:
    own = current_backend()
    backend = begun(pair)
    backend.end()
    assert (backend.name, backend.cancelled_exc_class) == (own.name, own.cancelled_exc_class)
    assert backend.is_here()
    assert backend.current_task() is own.current_task()
    with anyio.CancelScope() as scope:
        assert backend.may_go_on()
        scope.cancel()
        assert not backend.may_go_on()
        await backend.in_loop()  # no checkpoint
        with pytest.raises(backend.cancelled_exc_class):
            await backend.checkpoint_if_cancelled()
        await backend.checkpoint()
    assert scope.cancelled_caught
    assert not await anyio.to_thread.run_sync(backend.is_here)


async def test_nobody_else_is_here_meanwhile(anyio_backend: Any, pair: Pair) -> None:
    backend = BlockingBackend(current_backend(), pair[0])
    done = threading.Event()
    driving = threading.Event()

    def drive() -> None:
        backend.begin(threading.get_ident(), None, bool)
        driving.set()
        done.wait()

    async with anyio.create_task_group() as group:
        group.start_soon(anyio.to_thread.run_sync, drive)
        await anyio.to_thread.run_sync(driving.wait)
        assert not backend.is_here()
        assert not backend.may_go_on()
        with pytest.raises(InterfaceError, match="belongs to the"):
            backend.checkpoint_if_cancelled()
        done.set()


async def test_what_others_set_is_waited_for_in_the_loop(anyio_backend: Any, pair: Pair) -> None:
    backend = begun(pair)
    waiter = backend.create_waiter()
    coro = waiter.wait()
    assert coro.send(None) == HANDOVER
    backend.end()
    called: list[bool] = []
    assert backend.call_there(lambda: called.append(True))
    waiter.set()

    class GoOn:
        def __await__(self) -> Any:
            return coro.__await__()

    await GoOn()
    while not called:
        await anyio.lowlevel.checkpoint()


@pytest.fixture(params=[True, False], ids=["eventfd", "sockets"])
def bell(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Bell:
    if not request.param:
        monkeypatch.setattr("anyq.backends.eventfd.AVAILABLE", False)
    return Bell()


async def test_waiting(anyio_backend: Any, pair: Pair, bell: Bell) -> None:
    backend = begun(pair)
    ours, theirs = pair
    assert backend.wait(WRITABLE, bell)
    theirs.send(b"x")
    assert backend.wait(READABLE, bell)
    assert backend.wait(READABLE | WRITABLE, bell)
    ours.recv(1)
    bell.ring()
    bell.ring()
    assert not backend.wait(READABLE, bell)
    # It is rung no more.
    bell.hush()
    theirs.send(b"x")
    assert backend.wait(READABLE, bell)
    # Another thread's takes its place.
    other = Bell()
    bell.ring()
    assert backend.wait(READABLE, other)
    other.ring()
    assert not backend.wait(READABLE, other)


async def test_a_bell_is_rung_by_another_thread(anyio_backend: Any, pair: Pair, bell: Bell) -> None:
    backend = begun(pair)
    thread = threading.Thread(target=bell.ring)
    thread.start()
    assert not backend.wait(READABLE, bell)
    thread.join()


async def test_the_end_of_file_and_a_lost_connection_are_readable(anyio_backend: Any, pair: Pair) -> None:
    backend = begun(pair)
    pair[1].shutdown(socket.SHUT_WR)
    assert backend.wait(READABLE, Bell())
    pair[1].close()
    assert backend.wait(READABLE, Bell())


@pytest.mark.parametrize("until", range(1, 7))
def test_a_wait_that_is_interrupted_as_it_begins(until: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread's, and for something else: the next one waits for what it is told to, and nothing more."""
    left = [1000]

    class Poll:
        def __init__(self) -> None:
            self.masks: dict[int, int] = {}
            self.step()

        def step(self) -> None:
            left[0] -= 1
            if not left[0]:
                raise KeyboardInterrupt

        def register(self, fd: int, events: int) -> None:
            self.masks[fd] = events
            self.step()

        modify = register

        def unregister(self, fd: int) -> None:
            del self.masks[fd]
            self.step()

        def poll(self, most: float | None) -> list[tuple[int, int]]:
            self.step()
            masks.append(self.masks)
            return [(ours.fileno(), 0)]

    masks: list[dict[int, int]] = []
    monkeypatch.setattr("select.poll", Poll)
    first, second = Bell(), Bell()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        none: Any = SimpleNamespace(name="none", cancelled_exc_class=BaseException, check=CancellationCheck())
        backend = BlockingBackend(none, ours)
        assert backend.wait(1, first)
        left[0] = until
        with suppress(KeyboardInterrupt):
            backend.wait(4, first)
            backend.wait(5, second)
        left[0] = 1000
        assert not backend.waiting
        assert backend.wait(1, second)
        assert masks[-1] == {ours.fileno(): 1, second.fd: 1}
        left[0] = until
        with suppress(KeyboardInterrupt):
            backend.wait(4, second)
        left[0] = 1000
        assert backend.wait(1, second)
        assert masks[-1] == {ours.fileno(): 1, second.fd: 1}
