"""What every event loop has to do: checkpoints, events, wakers, waiting for sockets."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import anyio
import pytest

from anyq.backends import Backend, SocketWaiter, current_backend
from tests.support.loops import ALL_LOOPS, waits
from tests.support.pairs import Pair, empty, fill

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module", params=ALL_LOOPS)
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
async def backend(anyio_backend: Any) -> Backend:
    return current_backend()


@pytest.fixture
async def waiter(backend: Backend, pair: Pair) -> Any:
    waiter = backend.socket_waiter(pair[0])
    yield waiter
    waiter.close()


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
