"""Worker: runs the calls of one thread in the portal's event loop, one after the other.

Theory of operation. A thread waits for each of its calls, so one task in the loop serves it for as long as it lives:
nothing is started for a call. The thread puts a `Job` down, wakes the task (the one hop there is) and sleeps on the
job's lock, which the task releases when the job is done. A `WorkerHandle` belongs to one thread; the task ends when the
handle is freed, which is what happens to a thread's handles when the thread ends.

All jobs of a worker run in one cancel scope, since making one for each would cost more than a third of the whole
call. So the scope is used up when a job in it was cancelled, and the worker enters a new one.

Knows jobs, one cancel scope, and how a thread and a task hand things over. Must not know connections, or whose portal
it is.
"""

from __future__ import annotations

import _thread
import math
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import Context, copy_context
from functools import partial
from typing import Any

import anyio

from ..backends import Backend, Finalizer, Waker
from ..backends.blocking import Bell, most_to_wait
from ..errors import InterfaceError, OperationTimeout
from ..tracing.telling import call_context
from .interrupts import Interrupts

_WINDOWS = sys.platform == "win32"

_CTRL_C_INTERVAL = 0.05
"""Seconds between two looks at Ctrl-C on Windows, where the wait for a lock is not interrupted by it."""

LOOP_STOPPED = (
    "the event loop that this connection works in has stopped: its portal was stopped, or the interpreter is exiting; "
    "open a new connection"
)


class PortalStopped(InterfaceError):
    """There is no event loop any more to call anything in."""


class Job:
    """One call: what to run, and what came of it."""

    __slots__ = (
        "_finished",
        "args",
        "begins_always",
        "context",
        "done",
        "error",
        "func",
        "kwargs",
        "result",
        "seconds",
    )

    def __init__(
        self,
        func: Callable[..., Awaitable[Any]],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        seconds: float | None,
    ) -> None:
        self.func = func
        self.args = args
        self.kwargs = kwargs
        self.seconds = seconds
        """How long it may take; None for any time."""
        self.begins_always = False
        """Whether something is left half-done if it is cancelled before it has begun, so that it must begin."""
        self.context = copy_context()
        """The thread's, for those who watch; the job itself is run in the task's."""
        self.result: Any = None
        self.error: BaseException | None = None
        self.done = False
        self._finished = _thread.allocate_lock()
        self._finished.acquire()

    def finish(self) -> None:
        """Let the thread go on that waits for it."""
        if not self.done:
            self.done = True
            self._finished.release()

    def wait(self) -> None:
        """Sleep until it is done. Signals are handled meanwhile, and what their handlers raise is raised."""
        most = _CTRL_C_INTERVAL * 1000 if _WINDOWS else most_to_wait()
        while not self._finished.acquire(timeout=-1 if most is None else most / 1000):
            pass

    def wait_at_most(self, seconds: float) -> bool:
        """Sleep until it is done, or for so long; return whether it is done."""
        return self.done or self._finished.acquire(timeout=seconds)

    def outcome(self) -> Any:
        """Return what it has returned, or raise what it has raised; once, when it is done."""
        error = self.error
        if error is None:
            return self.result
        try:
            raise error
        finally:
            # The error's traceback has this frame.
            self.error = error = None


class Worker:
    """The loop's half: a task that runs one job at a time.

    :param post: has a function called in the loop, from any thread.
    """

    def __init__(self, backend: Backend, post: Callable[[Callable[[], object]], object]) -> None:
        self._backend = backend
        self._post = post
        self._waker: Waker | None = None  # made in the loop
        self._next: Job | None = None
        self._running: Job | None = None
        self._scope: anyio.CancelScope
        self._ended = False
        self._stopped = False
        self.task: object = None
        """The task, as soon as it runs."""
        self.if_freed: Finalizer | None = None
        """The handle's, which is called off when there is no task any more to be ended."""

    # -- for the thread

    def submit(self, job: Job) -> None:
        """Have a job run; nothing else may be submitted until it is done. Again, after an interrupt, the same job.

        :raises InterfaceError: the portal has stopped.
        """
        if not self._has(job):
            self._next = job
        # In this order: the task sets the one and then looks at the other, so one of the two notices.
        if self._stopped:
            raise PortalStopped(LOOP_STOPPED)
        try:
            if self._waker is not None:
                self._waker.wake()
        except RuntimeError:
            raise PortalStopped(LOOP_STOPPED) from None

    def _has(self, job: Job) -> bool:
        # In the order in which the loop goes on with it, so that it is never missed between two.
        return job is self._next or job is self._running or job.done

    def cancel(self, job: Job) -> None:
        """Cancel a job, if it is not done; it is done soon, in any case."""
        self._post(partial(self._cancel, job))

    def end(self) -> None:
        """Have the task end when it has nothing to do. May be called by a finalizer."""
        self._post(self.end_now)

    def after_fork(self, post: Callable[[Callable[[], object]], object]) -> None:
        """Know that the loop is in another process, from which this one was forked."""
        self._post = post
        self._waker = None
        self._stopped = True

    # -- in the loop

    def end_now(self) -> None:
        """Do what :meth:`end` does, in the loop."""
        self._ended = True
        if self._waker is not None:
            self._waker.wake()

    def _cancel(self, job: Job) -> None:
        if job is self._running:
            self._scope.cancel()
        elif job.begins_always:
            job.seconds = 0.0
        elif not job.done:
            # The interrupt came before it was under way.
            if job is self._next:
                self._next = None
            job.finish()

    async def run(self) -> None:
        """Run jobs until :meth:`end`; the body of the task."""
        self._waker = waker = self._backend.create_waker()
        self.task = self._backend.current_task()
        asked = call_context.set(self._context_of_call)
        try:
            while not self._ended:
                with anyio.CancelScope() as self._scope:
                    await self._serve(self._scope)
                job = self._running
                if job is not None:
                    # By its deadline; a thread that has called cancel() does not look at the error.
                    job.error = OperationTimeout(
                        f"the operation did not end within the {job.seconds or 0:g} s that anyq.sync.timeout() allows, "
                        "and was cancelled"
                    )
                    job.finish()
                    self._running = None
        finally:
            self._stopped = True
            waker.close()
            if self.if_freed is not None:
                self.if_freed.call_off()
            for job in (self._running, self._next):
                if job is not None:
                    job.error = PortalStopped(LOOP_STOPPED)
                    job.finish()
            # No circle, which would keep descriptors open. Closed by somebody else, it ends in another context.
            with suppress(ValueError):
                call_context.reset(asked)

    def _context_of_call(self) -> Context | None:
        """Return that of the call that is run now, for its task: others that it has started inherit the question."""
        job = self._running
        return None if job is None or self._backend.current_task() is not self.task else job.context

    async def _serve(self, scope: anyio.CancelScope) -> None:
        """Run jobs until the scope is used up."""
        cancelled = self._backend.cancelled_exc_class
        waker = self._waker
        assert waker is not None
        while not scope.cancel_called:
            job = self._next
            if job is None:
                if self._ended:
                    return
                await waker.wait()
                continue
            self._running = job
            self._next = None
            if job.seconds is not None:
                scope.deadline = anyio.current_time() + job.seconds
            try:
                job.result = await job.func(*job.args, **job.kwargs)
            except (cancelled, GeneratorExit):
                raise
            except BaseException as error:
                job.error = error
            if job.seconds is not None:
                scope.deadline = math.inf
            job.finish()
            self._running = None
            # The error's traceback has this frame.
            job = None


class WorkerHandle:
    """The thread's half: it has the worker for itself; freeing it ends the worker."""

    __slots__ = ("__weakref__", "bell", "interrupts", "worker")

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.bell: Bell | None = None
        """What has the thread return from a wait for a server; made at the first one."""
        self.interrupts = Interrupts()
        """Ctrl-C in what the thread runs itself."""
        worker.if_freed = Finalizer(self, _freed, worker)


def _freed(worker: Worker) -> None:
    # If the loop has ended, the worker has with it.
    with suppress(RuntimeError):
        worker.end()
