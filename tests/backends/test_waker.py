"""Wakers: how another thread wakes a task, on every event loop, by eventfd and without."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Any

import anyio
import anyio.to_thread
import pytest

from anyq.backends import Backend, current_backend, eventfd
from tests.support.loops import ALL_LOOPS

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module", params=ALL_LOOPS)
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(params=["eventfd", "queue"])
async def backend(anyio_backend: Any, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Backend:
    """The backend, with its faster way of waking a task where the system has it, and without."""
    if request.param == "queue":
        monkeypatch.setattr(eventfd, "AVAILABLE", False)
    return current_backend()


async def test_a_thread_wakes_a_task_again_and_again(backend: Backend) -> None:
    waker = backend.create_waker()
    wanted = threading.Semaphore(0)

    def wake() -> None:
        for _ in range(100):
            wanted.acquire()
            waker.wake()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.to_thread.run_sync, wake)
        with anyio.fail_after(30):
            for _ in range(100):
                wanted.release()
                await waker.wait()


async def test_a_wake_before_the_wait_is_not_lost(backend: Backend) -> None:
    waker = backend.create_waker()
    waker.wake()
    waker.wake()
    with anyio.fail_after(30):
        await waker.wait()


async def test_a_cancelled_wait_leaves_nothing_behind(backend: Backend) -> None:
    waker = backend.create_waker()
    for _ in range(3):
        async with anyio.create_task_group() as group:
            group.start_soon(waker.wait)
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()
        assert group.cancel_scope.cancelled_caught
    with anyio.CancelScope() as scope:
        scope.cancel()
        await anyio.lowlevel.checkpoint_if_cancelled()
    waker.wake()
    with anyio.fail_after(30):
        await waker.wait()


async def test_cancelled_and_woken_at_once(backend: Backend) -> None:
    """Whichever comes first, the task wakes once, and the next wake wakes it as well."""
    waker = backend.create_waker()
    for _ in range(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(waker.wait)
            await anyio.wait_all_tasks_blocked()
            waker.wake()
            tasks.cancel_scope.cancel()
    waker.wake()
    with anyio.fail_after(30):
        await waker.wait()


async def test_the_tasks_context_is_its_own(backend: Backend) -> None:
    from contextvars import ContextVar

    variable: ContextVar[str] = ContextVar("variable", default="nobody's")
    variable.set("the task's")
    waker = backend.create_waker()

    def wake() -> None:
        variable.set("the thread's")
        waker.wake()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.to_thread.run_sync, wake)
        with anyio.fail_after(30):
            await waker.wait()
        assert variable.get() == "the task's"
        assert anyio.get_current_task().name


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_nothing_is_called_after_the_end(anyio_backend: str) -> None:
    def run(backend: str) -> Any:
        async def main() -> Any:
            return current_backend().create_waker(), current_backend().thread_waker()

        return anyio.run(main, backend=backend)

    waker, wake = await anyio.to_thread.run_sync(run, anyio_backend)
    with contextlib.suppress(RuntimeError):
        waker.wake()
    with pytest.raises(RuntimeError):
        wake(lambda: None)


async def test_a_closed_waker_may_be_woken(backend: Backend) -> None:
    """A thread may be about to wake while the task ends."""
    waker = backend.create_waker()
    waker.wake()
    waker.close()
    waker.wake()
    await anyio.wait_all_tasks_blocked()
    with anyio.move_on_after(0):
        await waker.wait()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_native_cancellation(backend: Backend) -> None:
    waker = backend.create_waker()
    task = asyncio.create_task(waker.wait())
    await anyio.wait_all_tasks_blocked()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    waker.wake()
    with anyio.fail_after(30):
        await waker.wait()
