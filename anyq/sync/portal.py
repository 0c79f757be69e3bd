"""Portal: how threads that have no event loop get their calls run in one that is there.

It is that of an anyio ``BlockingPortal``: the caller's, or the one that a process shares (`shared_portal`). The tasks
that do the work (`worker`) are started through the BlockingPortal, which is then left aside: a call through it takes
two hops, and one does.

Knows threads and fork. Must not know what is called, or who else uses a portal.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar
from weakref import WeakSet, WeakValueDictionary

from anyio.from_thread import BlockingPortal
from typing_extensions import ParamSpec

from ..backends import Backend, current_backend
from ..errors import InterfaceError
from .timeout import time_limit
from .worker import LOOP_STOPPED, Job, PortalStopped, Worker, WorkerHandle

P = ParamSpec("P")
T = TypeVar("T")

MARGIN = 1.0
"""Seconds on top of the grace time that an interrupted call waits for its cancellation."""

OWN_THREAD = (
    "a synchronous object cannot be used in the thread of its own portal's event loop, which would wait for itself for "
    "ever: use the asynchronous one there (its async_connection), or call this in a worker thread "
    "(anyio.to_thread.run_sync). Handlers of notices and notifications are called in that thread too"
)

FORKED = (
    "this connection was opened before fork() and belongs to the parent process: open a new one in this process, "
    "with anyq.connect()"
)


class Portal:
    """The way from threads into one event loop."""

    def __init__(self) -> None:
        self._local = threading.local()
        self._thread: int | None = None
        self.failure: str | None = None
        """Why nothing can be called any more; None while it can."""
        self.attached = False
        """Whether it has its event loop."""
        self._blocking: BlockingPortal
        self._backend: Backend
        self._post: Callable[[Callable[[], object]], object]
        self.workers: set[Worker] = set()
        """Those that run now: one for each thread that calls, and each call of a thread inside another of its own."""
        _portals.all.add(self)

    @property
    def inherited(self) -> bool:
        """Whether its event loop runs in the process that this one was forked from."""
        return self.failure == FORKED

    # -- calling

    def call(self, grace: float, func: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a coroutine function in the loop and return what it returns.

        What interrupts the thread meanwhile, such as Ctrl-C, cancels it, and goes on when that is over, or `grace` is
        (seconds, and a margin).

        :raises InterfaceError: this is the loop's own thread, or there is no loop any more.
        """
        if self.failure is not None:
            raise PortalStopped(self.failure)
        if threading.get_ident() == self._thread:
            raise InterfaceError(OWN_THREAD)
        idle = self.idle_workers()
        handle = idle.pop() if idle else self._new_worker()
        job = Job(func, args, kwargs, time_limit.get())
        try:
            handle.worker.submit(job)
            job.wait()
        except BaseException:
            with suppress(RuntimeError):
                handle.worker.cancel(job)
                # A worker that is not done in time is left to itself.
                if job.wait_at_most(grace + MARGIN):
                    idle.append(handle)
            raise
        idle.append(handle)
        result: T = job.outcome()
        return result

    def idle_workers(self) -> list[WorkerHandle]:
        """Return this thread's workers that do nothing, for whoever wants one to take it and to give it back.

        One that is in use is not there: a signal handler that interrupts a call may make calls of its own.
        """
        try:
            idle: list[WorkerHandle] = self._local.idle
        except AttributeError:
            idle = self._local.idle = []
        return idle

    def check_thread(self) -> None:
        """Raise an InterfaceError if this is the loop's own thread."""
        if threading.get_ident() == self._thread:
            raise InterfaceError(OWN_THREAD)

    def _new_worker(self) -> WorkerHandle:
        worker = Worker(self._backend, self._post)
        handle = WorkerHandle(worker)
        self.spawn(self._run_worker, worker)
        return handle

    async def _run_worker(self, worker: Worker) -> None:
        self.workers.add(worker)
        if self.failure is not None:
            # The others were told to end before this one was there.
            worker.end_now()
        try:
            await worker.run()
        finally:
            self.workers.discard(worker)

    def spawn(self, func: Callable[..., Awaitable[object]], *args: object) -> None:
        """Start a task in the portal.

        :raises InterfaceError: there is no loop any more.
        """
        try:
            self._blocking.start_task_soon(func, *args)
        except RuntimeError as error:
            raise PortalStopped(self.failure or LOOP_STOPPED) from error

    def post(self, callback: Callable[[], object]) -> None:
        """Have a function called in the loop, without waiting; or here, if the loop has ended. For finalizers too."""
        try:
            self._post(callback)
        except RuntimeError:
            if not self.inherited:
                callback()

    # -- in the loop

    def attach(self, blocking: BlockingPortal) -> None:
        """Take the event loop that is running now."""
        self._blocking = blocking
        self._backend = current_backend()
        self._post = self._backend.thread_waker()
        self._thread = threading.get_ident()
        self.attached = True

    async def watch(self, blocking: BlockingPortal) -> None:
        """End the workers when the portal is stopped: it waits for its tasks."""
        try:
            await blocking.sleep_until_stopped()
        finally:
            self.end_workers()

    def end_workers(self) -> None:
        """Let every worker end when it has done what it does."""
        self.failure = self.failure or LOOP_STOPPED
        for worker in tuple(self.workers):
            worker.end_now()

    # -- its users

    def release(self, user: object) -> None:
        """Note that a user is gone; never raises."""

    def forget(self, user: object) -> None:
        """Do the same from a finalizer: without waiting for anything."""

    # -- fork

    def after_fork(self) -> None:
        """Know that the loop is in another process, from which this one was forked."""
        self.failure = FORKED
        self._post = _post_nowhere
        for worker in self.workers:
            worker.after_fork(_post_nowhere)


def _post_nowhere(callback: Callable[[], object]) -> None:
    raise RuntimeError(FORKED)


class _Portals:
    """The portals of this process."""

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self.all: WeakSet[Portal] = WeakSet()
        self._lock = threading.Lock()
        self._by_blocking: WeakValueDictionary[int, Portal] = WeakValueDictionary()

    def of(self, blocking: BlockingPortal) -> Portal:
        with self._lock:
            portal = self._by_blocking.get(id(blocking))
            if portal is not None:
                portal.check_thread()
            if portal is None or portal.failure is not None:
                portal = Portal()
                try:
                    blocking.start_task_soon(portal.attach, blocking).result()
                    # The task keeps the portal, and the portal keeps the id from being used again.
                    blocking.start_task_soon(portal.watch, blocking)
                except RuntimeError as error:
                    reason = OWN_THREAD if "thread" in str(error) else LOOP_STOPPED
                    raise InterfaceError(f"{error}: {reason}") from error
                self._by_blocking[id(blocking)] = portal
            return portal

    def after_fork(self) -> None:
        """Start anew in the child: the threads of the parent are not there, and the lock may be held for ever."""
        parents = tuple(self.all)
        self._clear()
        for portal in parents:
            portal.after_fork()


_portals = _Portals()


def portal_of(blocking: BlockingPortal) -> Portal:
    """Return the way into the event loop of a portal of the caller's.

    :raises InterfaceError: this is the portal's own thread, or the portal is not running.
    """
    return _portals.of(blocking)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_portals.after_fork)
