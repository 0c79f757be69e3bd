from __future__ import annotations

import asyncio
import gc
import importlib.util
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import anyio
import pytest
from typing_extensions import Unpack

from anyq.backends import Backend, SocketWaiter, current_backend
from tests.support.loops import ALL_LOOPS, BlindLoop, Ts, waits

pytestmark = pytest.mark.anyio

Pair: TypeAlias = tuple[socket.socket, socket.socket]


@pytest.fixture(scope="module", params=ALL_LOOPS)
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    with ours, theirs:
        yield ours, theirs


@pytest.fixture
async def backend(anyio_backend: Any) -> Backend:
    return current_backend()


@pytest.fixture
async def waiter(backend: Backend, pair: Pair) -> Any:
    waiter = backend.socket_waiter(pair[0])
    yield waiter
    waiter.close()


def fill(sock: socket.socket) -> None:
    """Send until the socket takes no more."""
    try:
        while True:
            sock.send(bytes(65536))
    except BlockingIOError:
        pass


def empty(sock: socket.socket) -> None:
    try:
        while sock.recv(1 << 20):
            pass
    except BlockingIOError:
        pass


# --- current_backend ---


async def test_current_backend_is_the_running_one(anyio_backend_name: str) -> None:
    backend = current_backend()
    assert backend.name == anyio_backend_name
    assert backend is current_backend()
    assert backend.cancelled_exc_class is anyio.get_cancelled_exc_class()


def test_current_backend_needs_an_event_loop() -> None:
    with pytest.raises(RuntimeError, match=r"no event loop .*asyncio\.run"):
        current_backend()


def test_asyncio_does_not_import_trio() -> None:
    code = """if True:
        import asyncio, sys
        import anyq.transport.dialing
        async def main():
            assert anyq.backends.current_backend().name == "asyncio"
        asyncio.run(main())
        assert "trio" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", code], check=True, timeout=50)


# --- checkpoints ---


async def test_checkpoint_lets_others_run(backend: Backend) -> None:
    ran = False

    async def other() -> None:
        nonlocal ran
        ran = True

    async with anyio.create_task_group() as group:
        group.start_soon(other)
        while not ran:
            await backend.checkpoint()


@pytest.mark.parametrize("name", ["checkpoint", "checkpoint_if_cancelled"])
async def test_checkpoints_raise_in_a_cancelled_scope(backend: Backend, name: str) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await getattr(backend, name)()
        pytest.fail("not cancelled")
    assert scope.cancelled_caught


async def test_checkpoint_if_cancelled_does_not_yield(backend: Backend) -> None:
    ran = False

    async def other() -> None:
        nonlocal ran
        ran = True

    async with anyio.create_task_group() as group:
        group.start_soon(other)
        await backend.checkpoint_if_cancelled()
        assert not ran


# --- Waiter ---


async def test_waiter_wakes_all(backend: Backend) -> None:
    waiter = backend.create_waiter()
    woken = 0

    async def wait() -> None:
        nonlocal woken
        await waiter.wait()
        woken += 1

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        group.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        waiter.set()
        waiter.set()
    assert woken == 2


async def test_waiter_that_is_set_is_a_checkpoint(backend: Backend) -> None:
    waiter = backend.create_waiter()
    waiter.set()
    await waiter.wait()
    with anyio.CancelScope() as scope:
        scope.cancel()
        await waiter.wait()
    assert scope.cancelled_caught


async def test_waiter_survives_a_cancelled_wait(backend: Backend) -> None:
    waiter = backend.create_waiter()
    scope = anyio.CancelScope()
    woken = False

    async def cancelled() -> None:
        with scope:
            await waiter.wait()

    async def wait() -> None:
        nonlocal woken
        await waiter.wait()
        woken = True

    async with anyio.create_task_group() as group:
        group.start_soon(cancelled)
        group.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        scope.cancel()
        await anyio.wait_all_tasks_blocked()
        assert scope.cancelled_caught
        waiter.set()
    assert woken


# --- SocketWaiter ---

MODES = [
    pytest.param(True, False, id="read"),
    pytest.param(False, True, id="write"),
    pytest.param(True, True, id="both"),
]


async def test_waits_for_data(waiter: SocketWaiter, pair: Pair) -> None:
    ours, theirs = pair
    for _ in range(5):
        async with anyio.create_task_group() as group:
            group.start_soon(waits, waiter, True, False)
            await anyio.wait_all_tasks_blocked()
            theirs.send(b"x")
        # Waiting again at once: the event loop may still have a report of the byte that is read here.
        assert ours.recv(10) == b"x"


async def test_finds_data_that_arrived_before(waiter: SocketWaiter, pair: Pair) -> None:
    ours, theirs = pair
    for _ in range(3):
        theirs.send(b"x")
        for _ in range(5):
            await current_backend().checkpoint()
        with anyio.fail_after(10):
            await waiter.wait(True, False)
        assert ours.recv(10) == b"x"


async def test_waits_for_room(waiter: SocketWaiter, pair: Pair) -> None:
    ours, theirs = pair
    await waiter.wait(False, True)
    fill(ours)
    async with anyio.create_task_group() as group:
        group.start_soon(waits, waiter, False, True)
        await anyio.wait_all_tasks_blocked()
        # Data is not what it waits for.
        theirs.send(b"x")
        await anyio.wait_all_tasks_blocked()
        empty(theirs)
    assert ours.send(b"x") == 1
    with anyio.fail_after(10):
        await waiter.wait(True, False)


@pytest.mark.parametrize("what", ["data", "room"])
async def test_waits_for_both(waiter: SocketWaiter, pair: Pair, what: str) -> None:
    ours, theirs = pair
    fill(ours)
    for _ in range(2):
        async with anyio.create_task_group() as group:
            group.start_soon(waits, waiter, True, True)
            await anyio.wait_all_tasks_blocked()
            if what == "data":
                theirs.send(b"x")
            else:
                empty(theirs)
        if what == "data":
            assert ours.recv(10) == b"x"
        else:
            fill(ours)


async def test_end_of_file_is_readable(waiter: SocketWaiter, pair: Pair) -> None:
    pair[1].close()
    await waiter.wait(True, False)
    assert pair[0].recv(1) == b""


@pytest.mark.parametrize(("readable", "writable"), MODES)
async def test_wake(waiter: SocketWaiter, pair: Pair, readable: bool, writable: bool) -> None:
    waiter.wake()
    fill(pair[0])
    for _ in range(2):
        async with anyio.create_task_group() as group:
            group.start_soon(waits, waiter, readable, writable)
            await anyio.wait_all_tasks_blocked()
            waiter.wake()
            waiter.wake()


async def test_wake_at_the_first_moment_of_a_wait(
    waiter: SocketWaiter, pair: tuple[socket.socket, socket.socket]
) -> None:
    fill(pair[0])
    done = anyio.Event()

    async def wait() -> None:
        await waiter.wait(True, True)
        done.set()

    for turns in range(4):
        done = anyio.Event()
        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            for _ in range(turns):
                await current_backend().checkpoint()
            with anyio.fail_after(10):
                while not done.is_set():
                    waiter.wake()
                    await current_backend().checkpoint()


@pytest.mark.parametrize(("readable", "writable"), MODES)
async def test_close_wakes_the_waiting_task(waiter: SocketWaiter, pair: Pair, readable: bool, writable: bool) -> None:
    fill(pair[0])

    async def wait() -> None:
        with pytest.raises(anyio.ClosedResourceError):
            await waiter.wait(readable, writable)

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        waiter.close()
        pair[0].close()
        waiter.close()
    with pytest.raises(anyio.ClosedResourceError):
        await waiter.wait(readable, writable)


async def test_close_at_the_first_moment_of_a_wait(backend: Backend, pair: Pair) -> None:
    async def wait(waiter: SocketWaiter) -> None:
        with pytest.raises(anyio.ClosedResourceError):
            await waiter.wait(True, True)

    for turns in range(4):
        sock = pair[0].dup()
        fill(sock)
        waiter = backend.socket_waiter(sock)
        async with anyio.create_task_group() as group:
            group.start_soon(wait, waiter)
            for _ in range(turns):
                await backend.checkpoint()
            waiter.close()
            sock.close()


async def test_one_task_at_a_time(waiter: SocketWaiter) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(waits, waiter, True, False)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(anyio.BusyResourceError):
            await waiter.wait(False, True)
        group.cancel_scope.cancel()


async def test_nothing_to_wait_for(waiter: SocketWaiter) -> None:
    with pytest.raises(ValueError, match="readable, writable or both"):
        await waiter.wait(False, False)


@pytest.mark.parametrize(("readable", "writable"), MODES)
async def test_cancelled_wait_leaves_nothing_behind(
    waiter: SocketWaiter, pair: Pair, readable: bool, writable: bool
) -> None:
    ours, theirs = pair
    fill(ours)
    caught: list[BaseException] = []

    async def wait() -> None:
        try:
            await waiter.wait(readable, writable)
        except BaseException as error:
            caught.append(error)
            raise

    for _ in range(2):
        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()
    # Never inside an exception group.
    assert [type(error) for error in caught] == [anyio.get_cancelled_exc_class()] * 2
    empty(theirs)
    await waiter.wait(False, True)
    theirs.send(b"x")
    await waiter.wait(True, False)


@pytest.mark.parametrize(("readable", "writable"), MODES)
async def test_native_cancellation(
    waiter: SocketWaiter,
    pair: Pair,
    anyio_backend_name: str,
    readable: bool,
    writable: bool,
) -> None:
    if anyio_backend_name != "asyncio":
        pytest.skip("trio has cancel scopes only")
    ours, theirs = pair
    fill(ours)
    task = asyncio.ensure_future(waiter.wait(readable, writable))
    await anyio.wait_all_tasks_blocked()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    empty(theirs)
    await waiter.wait(False, True)
    theirs.send(b"x")
    await waiter.wait(True, False)


# --- asyncio's loops ---


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


@pytest.mark.parametrize("close_first", [False, True])
def test_waiter_follows_into_another_loop(pair: Pair, close_first: bool) -> None:
    ours, theirs = pair
    waiters: list[SocketWaiter] = []

    async def main() -> None:
        if not waiters:
            waiters.append(current_backend().socket_waiter(ours))
        theirs.send(b"x")
        await waiters[0].wait(True, False)
        assert ours.recv(10) == b"x"

    first, second = asyncio.SelectorEventLoop(), asyncio.SelectorEventLoop()
    first.run_until_complete(main())
    if close_first:
        first.close()
    second.run_until_complete(main())
    second.close()
    waiters[0].close()
    first.close()


def test_waiter_refuses_a_second_running_loop(pair: Pair) -> None:
    waiters: list[SocketWaiter] = []
    ready, done = threading.Event(), threading.Event()

    async def owner() -> None:
        waiters.append(current_backend().socket_waiter(pair[0]))
        ready.set()
        await anyio.to_thread.run_sync(done.wait)

    thread = threading.Thread(target=lambda: asyncio.run(owner()))
    thread.start()
    try:
        assert ready.wait(30)
        with pytest.raises(RuntimeError, match="another thread"):
            asyncio.run(waits(waiters[0], True, False))
    finally:
        done.set()
        thread.join()


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
