"""Workers: one job at a time, cancelled or not, without a connection and without a portal."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from anyq.backends import Backend, current_backend
from anyq.errors import OperationTimeout
from anyq.sync.worker import Job, PortalStopped, Worker, WorkerHandle
from tests.support.activity import PATIENCE

pytestmark = pytest.mark.anyio


async def double(number: int) -> int:
    await anyio.lowlevel.checkpoint()
    return 2 * number


async def fail() -> None:
    raise ZeroDivisionError


def job(func: Any, *args: Any, seconds: float | None = None, **kwargs: Any) -> Job:
    return Job(func, args, kwargs, seconds)


async def done(one: Job) -> Job:
    """Wait for a job as its thread does."""
    with anyio.fail_after(PATIENCE):
        await anyio.to_thread.run_sync(one.wait)
    return one


async def run(worker: Worker, one: Job) -> Job:
    worker.submit(one)
    return await done(one)


@pytest.fixture
async def worker(anyio_backend: Any) -> AsyncIterator[Worker]:
    backend = current_backend()
    made = Worker(backend, backend.thread_waker())
    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as group:
            group.start_soon(made.run)
            yield made
            made.end()


async def test_results_and_errors(worker: Worker) -> None:
    assert (await run(worker, job(double, 21))).result == 42
    assert (await run(worker, job(double, number=2))).result == 4
    assert isinstance((await run(worker, job(fail))).error, ZeroDivisionError)
    assert (await run(worker, job(double, 1))).result == 2


async def test_a_job_that_was_submitted_before_the_task_began(anyio_backend: Any) -> None:
    backend = current_backend()
    worker = Worker(backend, backend.thread_waker())
    early = job(double, 4)
    worker.submit(early)
    async with anyio.create_task_group() as group:
        group.start_soon(worker.run)
        assert (await done(early)).result == 8
        worker.end()


async def test_a_running_job_is_cancelled(worker: Worker) -> None:
    begun, seen = anyio.Event(), []

    async def wait() -> None:
        begun.set()
        try:
            await anyio.sleep_forever()
        except BaseException as error:
            seen.append(type(error))
            raise

    one = job(wait)
    worker.submit(one)
    await begun.wait()
    worker.cancel(one)
    await done(one)
    assert seen == [anyio.get_cancelled_exc_class()]
    # The scope of the worker is another one now.
    assert (await run(worker, job(double, 3))).result == 6


async def test_a_job_is_cancelled_before_it_begins(anyio_backend: Any) -> None:
    called = []

    async def note() -> None:
        called.append(True)

    backend = current_backend()
    worker = Worker(backend, backend.thread_waker())
    one = job(note)
    worker.submit(one)
    worker.cancel(one)
    await done(one)
    async with anyio.create_task_group() as group:
        group.start_soon(worker.run)
        worker.cancel(one)
        # Nothing else is submitted, which would take its place.
        await anyio.wait_all_tasks_blocked()
        assert not called
        assert (await run(worker, job(double, 3))).result == 6
        worker.end()
    assert not called


async def test_a_job_is_cancelled_when_it_is_done(worker: Worker) -> None:
    """The interrupt came a moment too late: neither the job is any different, nor the next one, which is under way."""
    go_on, begun = anyio.Event(), anyio.Event()

    async def wait() -> str:
        begun.set()
        await go_on.wait()
        return "unharmed"

    first = await run(worker, job(double, 1))
    worker.cancel(first)
    worker.cancel(first)
    second = job(wait)
    worker.submit(second)
    await begun.wait()
    worker.cancel(first)
    await anyio.wait_all_tasks_blocked()
    go_on.set()
    await done(second)
    assert (first.result, first.error, second.result, second.error) == (2, None, "unharmed", None)
    third = job(double, 3)
    worker.submit(third)
    worker.cancel(second)
    assert (await done(third)).result == 6


async def test_a_job_that_takes_too_long(worker: Worker) -> None:
    error = (await run(worker, job(anyio.sleep_forever, seconds=0.01))).error
    assert isinstance(error, OperationTimeout) and "0.01 s" in str(error)
    # The limit was that job's.
    assert (await run(worker, job(double, 3, seconds=PATIENCE))).result == 6
    assert (await run(worker, job(double, 3))).result == 6


async def test_the_end_waits_for_what_runs(anyio_backend: Any) -> None:
    backend = current_backend()
    worker = Worker(backend, backend.thread_waker())
    begun, go_on = anyio.Event(), anyio.Event()

    async def wait() -> str:
        begun.set()
        await go_on.wait()
        return "finished"

    one = job(wait)
    async with anyio.create_task_group() as group:
        group.start_soon(worker.run)
        worker.submit(one)
        await begun.wait()
        worker.end_now()
        go_on.set()
        assert (await done(one)).result == "finished"
    with pytest.raises(PortalStopped, match="has stopped"):
        worker.submit(job(double, 1))


async def test_what_runs_when_the_loop_is_cancelled(anyio_backend: Any) -> None:
    backend = current_backend()
    worker = Worker(backend, backend.thread_waker())
    begun = anyio.Event()

    async def wait() -> None:
        begun.set()
        await anyio.sleep_forever()

    one = job(wait)
    async with anyio.create_task_group() as group:
        group.start_soon(worker.run)
        worker.submit(one)
        await begun.wait()
        group.cancel_scope.cancel()
    assert one.done and isinstance(one.error, PortalStopped)


async def test_a_handle_that_is_freed_ends_its_worker(anyio_backend: Any) -> None:
    backend = current_backend()
    worker = Worker(backend, backend.thread_waker())
    handle: Any = WorkerHandle(worker)
    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as group:
            group.start_soon(worker.run)
            await run(worker, job(double, 1))
            del handle
            gc.collect()


async def test_after_a_fork_nothing_is_submitted(anyio_backend: Any) -> None:
    backend = current_backend()
    worker = Worker(backend, backend.thread_waker())
    posted: list[Any] = []
    worker.after_fork(posted.append)
    with pytest.raises(PortalStopped):
        worker.submit(job(double, 1))
    worker.end()
    assert posted == [worker.end_now]


class CountedWaker:
    """A waker that counts how often it is used, in a backend that makes it."""

    def __init__(self, backend: Backend) -> None:
        self.cancelled_exc_class = backend.cancelled_exc_class
        self.current_task = backend.current_task
        self.wakes = 0
        waker = backend.create_waker()
        self.wait, self.close, self._wake = waker.wait, waker.close, waker.wake

    def create_waker(self) -> CountedWaker:
        return self

    def wake(self) -> None:
        self.wakes += 1
        self._wake()


async def test_a_handle_that_is_freed_in_a_child_leaves_the_parent_alone(anyio_backend: Any) -> None:
    """What wakes the task is shared by both processes, as every descriptor is."""
    backend = current_backend()
    counted: Any = CountedWaker(backend)
    posted: list[Any] = []

    def post_nowhere(callback: Any) -> None:
        raise RuntimeError("the loop is another process's")

    worker = Worker(counted, posted.append)
    handle: Any = WorkerHandle(worker)
    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as group:
            group.start_soon(worker.run)
            await run(worker, job(double, 1))
            before = counted.wakes
            worker.after_fork(post_nowhere)
            with pytest.raises(PortalStopped):
                worker.submit(job(double, 1))
            del handle
            gc.collect()
            worker.end_now()
            assert (counted.wakes, posted) == (before, [])
            group.cancel_scope.cancel()


def test_waiting_for_at_most_some_time() -> None:
    one = job(double, 1)
    assert not one.wait_at_most(0)
    one.finish()
    one.finish()
    assert one.wait_at_most(0)
