"""Portal: how threads that have no event loop get their calls run in one, and the one that a process shares.

A portal of the caller's is an anyio ``BlockingPortal``, whose event loop is already there. The shared one is a thread
with an event loop, which is there for as long as somebody uses it. Both start the tasks that do the work (see
``_worker``) through the BlockingPortal, and then leave it aside: a call through it takes two hops, and one does.

Knows threads, fork and the end of the interpreter. Must not know what is called.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, TypeVar
from weakref import WeakSet, WeakValueDictionary

import anyio
from anyio.from_thread import BlockingPortal
from typing_extensions import ParamSpec

from ..backends import Backend, Waiter, current_backend
from ..errors import InterfaceError, ProgrammingError
from .worker import STOPPED, Job, Lease, PortalStopped, Worker

P = ParamSpec("P")
T = TypeVar("T")

MARGIN = 1.0
"""Seconds on top of the grace time that an interrupted call waits for its cancellation."""

EXIT_PATIENCE = 10.0
"""Seconds that the end of the interpreter waits for the shared portal's thread."""

_limit: ContextVar[float | None] = ContextVar("anyq.sync.timeout", default=None)


@contextmanager
def timeout(seconds: float | None) -> Generator[None, None, None]:
    """Limit the time of each call that this thread makes inside the block, to any synchronous object.

    A call that takes longer is cancelled as a task is: the statement is cancelled on the server, and the connection can
    be used at once, or is closed at the end of the grace time. Fetching what has arrived is no such call.

    :param seconds: for each call; None for no limit, as outside of any block.
    :raises OperationTimeout: from the call.
    """
    if seconds is not None and not seconds >= 0:
        raise ValueError(f"the time allowed must be a number of seconds, 0 or more, or None, not {seconds!r}")
    token = _limit.set(seconds)
    try:
        yield
    finally:
        _limit.reset(token)


class Portal:
    """The way from threads into one event loop."""

    def __init__(self) -> None:
        self._local = threading.local()
        self._thread: int | None = None
        self._failure: str | None = None
        self._blocking: BlockingPortal
        self._backend: Backend
        self._post: Callable[[Callable[[], object]], object]
        self._workers: set[Worker] = set()
        _portals.add(self)

    @property
    def failure(self) -> str | None:
        """Why nothing can be called any more; None while it can."""
        return self._failure

    @property
    def inherited(self) -> bool:
        """Whether its event loop runs in the process that this one was forked from."""
        return self._failure == FORKED

    # -- calling

    def call(self, grace: float, func: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a coroutine function in the loop and return what it returns.

        What interrupts the thread meanwhile, such as Ctrl-C, cancels it, and goes on when that is over, or `grace` is
        (seconds, and a margin).

        :raises InterfaceError: this is the loop's own thread, or there is no loop any more.
        """
        if self._failure is not None:
            raise PortalStopped(self._failure)
        if threading.get_ident() == self._thread:
            raise InterfaceError(OWN_THREAD)
        # One that is in use is not there: a signal handler that interrupts a call may make calls of its own.
        idle: list[Lease] | None = getattr(self._local, "idle", None)
        if idle is None:
            idle = self._local.idle = []
        lease = idle.pop() if idle else self._new_lease()
        job = Job(func, args, kwargs, _limit.get())
        try:
            lease.worker.submit(job)
            job.wait()
        except BaseException:
            with suppress(RuntimeError):
                lease.worker.cancel(job)
                # A worker that is not done in time is left to itself.
                if job.wait_at_most(grace + MARGIN):
                    idle.append(lease)
            raise
        idle.append(lease)
        error = job.error
        if error is None:
            result: T = job.result
            return result
        try:
            raise error
        finally:
            # The error's traceback has this frame.
            job.error = error = None

    def check_thread(self) -> None:
        """Raise an InterfaceError if this is the loop's own thread."""
        if threading.get_ident() == self._thread:
            raise InterfaceError(OWN_THREAD)

    def _new_lease(self) -> Lease:
        worker = Worker(self._backend, self._post)
        lease = Lease(worker)
        self.spawn(self._run_worker, worker)
        return lease

    async def _run_worker(self, worker: Worker) -> None:
        self._workers.add(worker)
        if self._failure is not None:
            # The others were told to end before this one was there.
            worker.end_now()
        try:
            await worker.run()
        finally:
            self._workers.discard(worker)

    def spawn(self, func: Callable[..., Awaitable[object]], *args: object) -> None:
        """Start a task in the portal.

        :raises InterfaceError: there is no loop any more.
        """
        try:
            self._blocking.start_task_soon(func, *args)
        except RuntimeError as error:
            raise PortalStopped(self._failure or STOPPED) from error

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

    async def watch(self, blocking: BlockingPortal) -> None:
        """End the workers when the portal is stopped: it waits for its tasks."""
        try:
            await blocking.sleep_until_stopped()
        finally:
            self.end_workers()

    def end_workers(self) -> None:
        """Let every worker end when it has done what it does."""
        self._failure = self._failure or STOPPED
        for worker in tuple(self._workers):
            worker.end_now()

    # -- its users

    def release(self, user: object) -> None:
        """Note that a user is gone; never raises."""

    def forget(self, user: object) -> None:
        """Do the same from a finalizer: without waiting for anything."""


class SharedPortal(Portal):
    """A portal with a thread and an event loop of its own, for all who do not say which they want."""

    def __init__(self, backend: str, backend_options: dict[str, Any]) -> None:
        super().__init__()
        self._cancel = False
        self._stopping: Waiter
        started: list[BaseException | None] = []
        ready = threading.Event()

        async def main() -> None:
            async with BlockingPortal() as blocking:
                self.attach(blocking)
                self._stopping = self._backend.create_waiter()
                started.append(None)
                ready.set()
                await self._stopping.wait()
                self.end_workers()
                await blocking.stop(self._cancel)

        def run() -> None:
            try:
                anyio.run(main, backend=backend, backend_options=backend_options)
            except BaseException as error:
                if started:
                    raise
                started.append(error)
                ready.set()

        # A daemon, since the interpreter would otherwise wait for it before our atexit function is called.
        self._runner = threading.Thread(target=run, name="anyq portal", daemon=True)
        self._runner.start()
        ready.wait()
        if started[0] is not None:
            raise started[0]

    def release(self, user: object) -> None:
        _shared.leave(user, wait=True)

    def forget(self, user: object) -> None:
        _shared.leave(user, wait=False)

    def stop(self, *, cancel: bool) -> None:
        """Have the thread end, with what is under way cancelled or not; does not wait for it."""
        with suppress(RuntimeError):
            self._post(lambda: self._stop(cancel))

    def _stop(self, cancel: bool) -> None:
        self._cancel = cancel
        self._stopping.set()

    def fail(self, reason: str) -> None:
        """Refuse all calls from now on."""
        self._failure = reason

    def join(self, seconds: float | None = None) -> None:
        """Wait for the end of the thread."""
        if self._runner is not threading.current_thread():
            self._runner.join(seconds)


class _Shared:
    """The account of the shared portal: it is there while it has users."""

    def __init__(self) -> None:
        self.backend = "asyncio"
        self.options: dict[str, Any] = {}
        self._portal: SharedPortal | None = None
        self._left: list[SharedPortal] = []  # stopping, and not waited for
        # Finalizers come here, in whatever this thread is doing: so it can be entered twice, and changes to the set
        # are all that has to be right.
        self._lock = threading.RLock()
        self._users: set[object] = set()

    def join(self, user: object) -> SharedPortal:
        """Return the portal for a new user, started if it is the first."""
        with self._lock:
            self._users.add(user)
            try:
                if self._portal is None:
                    self._portal = SharedPortal(self.backend, self.options)
                return self._portal
            except BaseException:
                self._users.discard(user)
                raise

    def leave(self, user: object, *, wait: bool) -> None:
        """Stop the portal if this was its last user."""
        with self._lock:
            self._users.discard(user)
            if self._users or self._portal is None:
                return
            portal, self._portal = self._portal, None
            portal.stop(cancel=False)
            if not wait:
                self._left.append(portal)
        if wait:
            portal.join()

    def configure(self, backend: str, options: dict[str, Any]) -> None:
        with self._lock:
            if self._portal is not None:
                raise ProgrammingError(
                    "the shared portal is running: choose its backend before the first connection is opened, or after "
                    "the last one was closed"
                )
            self.backend = backend
            self.options = options

    def exit(self) -> None:
        """Leave no thread behind, whoever has forgotten to close what."""
        portals = [*self._left, *([self._portal] if self._portal is not None else [])]
        for portal in portals:
            portal.stop(cancel=True)
        for portal in portals:
            portal.join(EXIT_PATIENCE)


OWN_THREAD = (
    "a synchronous object cannot be used in the thread of its own portal's event loop, which would wait for itself for "
    "ever: use the asynchronous one there (its async_connection), or call this in a worker thread "
    "(anyio.to_thread.run_sync). Handlers of notices and notifications are called in that thread too"
)

FORKED = (
    "this connection was opened before fork() and belongs to the parent process: open a new one in this process, "
    "with anyq.connect()"
)

_portals: WeakSet[Portal] = WeakSet()
_by_blocking: WeakValueDictionary[int, Portal] = WeakValueDictionary()
_by_blocking_lock = threading.Lock()
_shared = _Shared()


def set_portal_backend(backend: str = "asyncio", backend_options: dict[str, Any] | None = None) -> None:
    """Choose the event loop of the shared portal, for all connections that are opened without ``portal=``.

    :param backend: "asyncio" or "trio".
    :param backend_options: as for ``anyio.run()``; for instance ``{"use_uvloop": True}``.
    :raises ProgrammingError: the portal is running, because a connection is open.
    """
    if backend not in ("asyncio", "trio"):
        raise ValueError(f"backend must be 'asyncio' or 'trio', not {backend!r}")
    _shared.configure(backend, dict(backend_options or {}))


def open_portal(blocking: BlockingPortal | None, user: object) -> Portal:
    """Return the way into the caller's portal, or into the shared one for a new user of it.

    :raises InterfaceError: this is the portal's own thread, or the portal is not running.
    """
    if blocking is None:
        return _shared.join(user)
    with _by_blocking_lock:
        portal = _by_blocking.get(id(blocking))
        if portal is not None:
            portal.check_thread()
        if portal is None or portal.failure is not None:
            portal = Portal()
            try:
                blocking.start_task_soon(portal.attach, blocking).result()
                # The task keeps the portal, and the portal keeps the id from being used again.
                blocking.start_task_soon(portal.watch, blocking)
            except RuntimeError as error:
                raise InterfaceError(f"{error}: {OWN_THREAD if 'thread' in str(error) else STOPPED}") from error
            _by_blocking[id(blocking)] = portal
        return portal


def _after_fork() -> None:
    """Start anew in the child: the threads of the parent are not there, and their locks may be held for ever."""
    global _shared, _by_blocking, _by_blocking_lock, _portals
    parents = _shared
    for portal in tuple(_portals):
        portal._failure = FORKED  # pyright: ignore[reportPrivateUsage]
        portal._post = _nowhere  # pyright: ignore[reportPrivateUsage]
        for worker in portal._workers:  # pyright: ignore[reportPrivateUsage]
            worker.disown(_nowhere)
    _portals = WeakSet()
    _by_blocking = WeakValueDictionary()
    _by_blocking_lock = threading.Lock()
    _shared = _Shared()
    _shared.backend, _shared.options = parents.backend, parents.options


def _nowhere(callback: Callable[[], object]) -> None:
    raise RuntimeError(FORKED)


def _at_exit() -> None:
    _shared.exit()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)
