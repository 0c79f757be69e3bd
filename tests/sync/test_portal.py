"""Portals and their workers, without a connection: the ways from threads into an event loop that is there."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from anyq.errors import InterfaceError
from anyq.sync.portal import MARGIN, Portal, portal_of
from anyq.sync.worker import Job, PortalStopped
from tests.support.activity import PATIENCE

GRACE = 1.0


async def answer() -> int:
    return 42


@pytest.fixture(params=["asyncio", "trio"])
def blocking(request: pytest.FixtureRequest) -> Any:
    """A portal of the caller's."""
    with start_blocking_portal(request.param) as portal:
        yield portal


def test_calls_return_and_raise(blocking: BlockingPortal) -> None:
    portal = portal_of(blocking)

    async def fail(text: str, *, more: str) -> None:
        await anyio.lowlevel.checkpoint()
        raise ValueError(text + more)

    assert portal.call(GRACE, answer) == 42
    with pytest.raises(ValueError, match="ab"):
        portal.call(GRACE, fail, "a", more="b")
    assert portal.call(GRACE, answer) == 42


def test_one_portal_for_one_loop(blocking: BlockingPortal) -> None:
    assert portal_of(blocking) is portal_of(blocking)


def test_a_thread_has_one_worker(blocking: BlockingPortal) -> None:
    portal = portal_of(blocking)
    for _ in range(10):
        portal.call(GRACE, answer)
    assert len(portal.workers) == 1


def test_the_loops_own_thread_is_refused(blocking: BlockingPortal) -> None:
    portal = portal_of(blocking)
    for func in (lambda: portal.call(GRACE, answer), lambda: portal_of(blocking)):
        with pytest.raises(InterfaceError, match="its own portal's event loop"):
            blocking.call(func)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_loop_that_has_stopped(backend: str) -> None:
    with start_blocking_portal(backend) as blocking:
        portal = portal_of(blocking)
        portal.call(GRACE, answer)
    with pytest.raises(PortalStopped, match="has stopped"):
        portal.call(GRACE, answer)
    with pytest.raises(PortalStopped, match="has stopped"):
        portal.spawn(answer)
    with pytest.raises(InterfaceError, match="has stopped"):
        portal_of(blocking)
    here: list[int] = []
    portal.post(lambda: here.append(threading.get_ident()))
    assert here == [threading.get_ident()]


def test_an_interrupted_call_is_cancelled(blocking: BlockingPortal, monkeypatch: pytest.MonkeyPatch) -> None:
    """As by Ctrl-C: what the signal's handler raises comes out of the wait."""
    portal = portal_of(blocking)
    begun, cancelled = threading.Event(), threading.Event()

    async def wait() -> None:
        begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            cancelled.set()

    def interrupted(job: Job) -> None:
        assert begun.wait(PATIENCE)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Job, "wait", interrupted)
        portal.call(GRACE, wait)
    assert cancelled.is_set()
    assert portal.call(GRACE, answer) == 42
    assert len(portal.workers) == 1


def test_a_call_inside_a_call_has_another_worker(blocking: BlockingPortal, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal handler may call, too."""
    portal = portal_of(blocking)
    wait = Job.wait
    inside: list[int] = []

    def handler_first(job: Job) -> None:
        monkeypatch.setattr(Job, "wait", wait)
        inside.append(portal.call(GRACE, answer))
        wait(job)

    monkeypatch.setattr(Job, "wait", handler_first)
    assert portal.call(GRACE, answer) == 42
    assert inside == [42]
    assert len(portal.workers) == 2


def test_an_interrupted_call_that_does_not_end(blocking: BlockingPortal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its worker is left to itself: the next call has another one."""
    portal = portal_of(blocking)
    go_on = blocking.call(anyio.Event)

    async def shielded() -> None:
        with anyio.CancelScope(shield=True):
            await go_on.wait()

    def interrupted(job: Job) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Job, "wait", interrupted)
        patched.setattr(Job, "wait_at_most", lambda job, seconds: False)
        portal.call(GRACE, shielded)
    assert portal.call(GRACE, answer) == 42
    blocking.call(go_on.set)


@pytest.mark.parametrize("grace", [0.0, 0.2, 1.0, 7.5])
def test_how_long_an_interrupted_call_is_waited_for(
    grace: float, blocking: BlockingPortal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is cancelled may take the whole grace time, however short that is, and a margin until it is known here."""
    portal = portal_of(blocking)
    waited: list[float] = []
    wait_at_most = Job.wait_at_most

    def interrupted(job: Job) -> None:
        raise KeyboardInterrupt

    def count(job: Job, seconds: float) -> bool:
        waited.append(seconds)
        return wait_at_most(job, PATIENCE)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Job, "wait", interrupted)
        patched.setattr(Job, "wait_at_most", count)
        portal.call(grace, anyio.sleep_forever)
    assert waited == [grace + MARGIN]
    assert portal.call(grace, answer) == 42
    # It is done, so its worker goes on.
    assert len(portal.workers) == 1


def test_in_the_child_of_a_fork(blocking: BlockingPortal) -> None:
    portal = Portal()
    blocking.call(portal.attach, blocking)
    portal.call(GRACE, answer)
    # This process is no child, so the worker must be told to end.
    blocking.call(portal.end_workers)
    portal.after_fork()
    assert portal.inherited and portal.failure is not None
    with pytest.raises(PortalStopped, match="before fork"):
        portal.call(GRACE, answer)
    portal.post(lambda: pytest.fail("the callback of another process's connection is called"))


@pytest.mark.anyio
async def test_a_worker_that_begins_after_the_end_ends(anyio_backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread may make its first call while the portal is being stopped: its worker is not among those that are told.

    Otherwise the portal would wait for the worker for ever, and the worker for the next call.
    """
    portal = Portal()
    refused: list[Exception] = []

    def call() -> None:
        try:
            portal.call(GRACE, answer)
        except InterfaceError as error:
            refused.append(error)

    spawn: Callable[..., None] = portal.spawn

    def stop_first(func: Any, *args: object) -> None:
        # Between the thread's request for a worker and the worker's first step.
        stopped = threading.Event()
        portal.post(portal.end_workers)
        portal.post(stopped.set)
        assert stopped.wait(PATIENCE)
        spawn(func, *args)

    monkeypatch.setattr(portal, "spawn", stop_first)
    with anyio.fail_after(PATIENCE):
        async with BlockingPortal() as blocking:
            portal.attach(blocking)
            await anyio.to_thread.run_sync(call)
            await blocking.stop()
    assert len(refused) == 1
