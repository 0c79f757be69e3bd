"""Direct: synchronous calls that the calling thread runs itself, as far as they need no event loop.

Theory of operation. A call in the portal costs a hop from thread to thread and back, which takes longer than a short
query. So a thread that calls *borrows* the connection, if nothing else is going on there, and runs the coroutine
itself, by `backends.blocking`. Most calls come to their end in that way. One that cannot, since it has to drain a reply
after Ctrl-C, or to wait for another task, is *handed over*: the thread gives the connection back, and its worker in the
portal goes on with the same coroutine, half-run as it is. So there is but one implementation, and whatever is difficult
happens in the event loop.

*Who has the connection.* Either one driver, or calls in the portal. Each of the two says that it is there before it
looks for the other (`_driver`, `_calling`): where both come at once, both have seen each other, and the driver steps
back before it has touched anything. A call in the portal that finds a driver has its bell rung and waits, in the event
loop, until the connection is given back; the driver hands over at its next checkpoint, or when it has to wait for the
server, and the next calls are not driven, twice as many each time that somebody was in the way.

*Pools.* While the connection is the pool's, it is not driven: `pause()` is called in the loop, by a call
which has waited for the driver and is seen by others, or where no client has the connection.

*Looking for the reply.* A thread that is the only one of the process which drives a call looks for its reply before it
sleeps, as tasks do (`session.wire`): if there are others they need the processors.

*Ctrl-C.* While the thread waits it is outside of the coroutine, which therefore never sees what a signal handler raises
then: it is handed over and cancelled, as any task is. Elsewhere it comes out of the coroutine's own code, which is
prepared for that: see "Interrupts" in docs/design.md.

*Calls inside of a call.* A signal handler that runs while the thread waits may call: the call that it has interrupted
is handed over before. Whatever else of the user's runs amid a call, a row factory, a handler of notices, or a signal
handler at another moment, finds the coroutine running, which nobody else can go on with: it is refused.

Knows turns, the portal, and how a coroutine is run. Must not know what is called.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import suppress
from functools import partial
from typing import Any, ClassVar

from anyio.abc import SocketAttribute

from .._accel import Seat, compiled_driving
from ..backends.blocking import HANDOVER, Bell, BlockingBackend, available
from ..errors import InterfaceError, ProgrammingError
from ..session.busy_wait import Traffic
from ..session.wire import Wire
from ..transport.socket import SocketStream
from .portal import MARGIN, Portal
from .timeout import time_limit
from .worker import Job, PortalStopped, WorkerHandle

MOST_SKIPS = 63
"""How many calls, at most, go by the portal without looking whether anybody is in the way, after one that was."""

MOST_INTERRUPTS = 8
"""How many of them, in a row, at most, do not keep a call from giving the connection back."""

AMID = (
    "a connection cannot be used amid a call of the same thread on it: by a row factory, a handler of notices or "
    "notifications, a dumper or a loader, or by a signal handler that has interrupted the call while it was at work; "
    "cancel() and close() can be called by a signal handler at any time"
)


class Turn:
    """One call that a thread runs, or tries to."""

    __slots__ = (
        *("_idle", "bell", "coro", "given_up", "handle", "interrupts", "job", "over", "thread", "waiting", "wanted"),
    )

    def __init__(self, idle: list[WorkerHandle]) -> None:
        self._idle: list[WorkerHandle] | None = idle
        self.handle = handle = idle.pop()
        """The worker that goes on with it, if it is handed over; given back by :meth:`give_back_worker`."""
        self.interrupts = handle.interrupts
        self.thread = threading.get_ident()
        bell = handle.bell
        if bell is None:
            bell = handle.bell = Bell()
        self.bell = bell
        self.coro: Coroutine[Any, Any, Any] | None = None
        self.over = False
        """Whether it is known to be at its end."""
        self.wanted = False
        """Whether others want the connection."""
        self.waiting = False
        """Whether the thread waits for the server, so that a signal handler may hand the call over."""
        self.job: Job | None = None
        """What goes on with it, once it was handed over."""
        self.given_up = False
        """Whether it was cancelled there."""

    def want(self) -> None:
        """Have it handed over, unless it comes to its end before."""
        if not self.wanted:
            self.wanted = True
            self.bell.ring()

    def is_to_stop(self) -> bool:
        """Return whether it is to be handed over at its next checkpoint: the server may never have it wait."""
        return self.wanted or self.interrupts.pending

    def is_unfinished(self) -> bool:
        """Return whether there is a coroutine that is not at its end."""
        coro: Any = self.coro
        return coro is not None and not self.over and coro.cr_frame is not None

    def give_back_worker(self) -> None:
        """Let others have the worker, unless it is still at work on this; again, nothing."""
        idle, job = self._idle, self.job
        if idle is not None and (job is None or job.done):
            if job is not None:
                job.args = ()  # no circle, which would keep descriptors open
            self._idle = None
            idle.append(self.handle)


class _GoOn:
    """Awaits a coroutine that has begun somewhere else."""

    __slots__ = ("_coro",)

    def __init__(self, coro: Coroutine[Any, Any, Any]) -> None:
        self._coro = coro

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._coro.__await__()


class Direct(Seat):
    """The calls on one connection, which nobody can reach but by these.

    :param portal: whose event loop the connection belongs to.
    """

    # For the compiled twin of `call()`.
    _limit = time_limit
    _make_bell = Bell

    driving: ClassVar[set[object]] = set()
    """Those that drive a call now. Only one that is alone keeps its processor busy while it waits for a reply."""

    def __init__(self, wire: Wire, stream: SocketStream, portal: Portal) -> None:
        self._wire = wire
        self._stream = stream
        self._portal = portal
        self._own = wire.backend
        self._backend = BlockingBackend(wire.backend, stream.extra(SocketAttribute.raw_socket))
        self._loop_traffic = wire.traffic
        self._traffic = Traffic()
        # A signal handler may come between, in the same thread.
        self._lock = threading.RLock()
        self._driver: Turn | None = None
        self._calling: set[object] = set()  # calls in the portal that are under way, or about to be
        self._behind: deque[Callable[[], object]] = deque()  # to be called in the loop when the driver is gone
        self._skip = 0
        self._last_skips = 0
        self._off = False
        self._paused = False

    # -- for the threads

    def call_in_python(
        self,
        grace: float,
        func: Callable[..., Awaitable[Any]],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """Run a coroutine function here, as far as that is possible, and then in the portal; see :meth:`Portal.call`.

        :raises InterfaceError: it is called amid a call of this thread.
        """
        if self._skip:
            self._skip -= 1
            return self.call_in_loop(grace, func, args, kwargs)
        portal = self._portal
        idle = portal.idle_workers()
        # A thread's first call goes by the portal, which makes its worker.
        if not idle or self._off or self._paused or portal.failure is not None or time_limit.get() is not None:
            return self.call_in_loop(grace, func, args, kwargs)
        turn = Turn(idle)
        # Twice, as the first one may not even begin.
        try:
            try:
                if self._begin(turn):
                    return self._drive(turn, func, args, kwargs)
            finally:
                self._end(turn, grace)
        except BaseException:
            # Here, as what is called next may be interrupted before it has begun.
            try:
                self._end(turn, grace)
            except BaseException:
                self._surely_end(turn, grace, MOST_INTERRUPTS)
                raise
            raise
        return self.call_in_loop(grace, func, args, kwargs)

    def _drive(
        self, turn: Turn, func: Callable[..., Awaitable[Any]], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        coro: Any = func(*args, **kwargs)
        turn.coro = coro
        send = coro.send
        while True:
            try:
                events = send(None)
            except StopIteration as end:
                turn.over = True
                if not turn.wanted:
                    self._last_skips = 0
                return end.value
            if events == HANDOVER:
                self._back_off(turn)
                break
            if not self._wait(turn, events):
                break
        job = self._hand_over(turn)
        turn.interrupts.raise_pending()
        job.wait()
        return job.outcome()

    call = call_in_python if compiled_driving is None else compiled_driving.Seat.call

    def call_in_loop(
        self,
        grace: float,
        func: Callable[..., Awaitable[Any]],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """Run a coroutine function in the portal, as soon as no thread drives; see :meth:`Portal.call`."""
        if self._portal.failure is not None:
            raise PortalStopped(self._portal.failure)
        driver = self._driver
        if driver is not None and driver.thread == threading.get_ident():
            self._hand_over_outer(driver)
        entry = _Entry()
        try:
            self._calling.add(entry)
            return self._portal.call(grace, self._run, entry, func, args, kwargs)
        finally:
            if not entry.begun:
                self._calling.discard(entry)

    def post(self, callback: Callable[[], object]) -> None:
        """Have a function called in the loop when no thread drives, without waiting; for finalizers too."""
        self._portal.post(partial(self._run_posted, callback))

    def is_amid_call(self) -> bool:
        """Return whether this thread is running a coroutine now, so that nothing can be called in the loop."""
        driver = self._driver
        return driver is not None and driver.thread == threading.get_ident() and not driver.waiting

    def switch_off(self, grace: float) -> None:
        """Drive no more: from now on tasks of the loop may use the connection as well."""
        self._off = True
        driver = self._driver
        if driver is None:
            return
        if driver.thread == threading.get_ident():
            driver.want()  # amid its own call, which is handed over as soon as it can be
        else:
            self.call_in_loop(grace, _nothing, (), {})

    # -- one turn

    def _begin(self, turn: Turn) -> bool:
        """Borrow the connection; return False, and leave it alone, if something is going on there."""
        with self._lock:
            if self._driver is None:
                self._driver = turn
        # A signal handler may have handed a call over amid whose wait it still is.
        busy = self._calling or self._off or self._paused or self._backend.waiting
        if self._driver is not turn or busy or not self._wire.idle():
            return False
        turn.interrupts.hold()
        wire, backend = self._wire, self._backend
        backend.begin(turn.thread, turn.handle.worker.task, turn.is_to_stop)
        self._traffic.under_way = 1 if self.driving else 0
        self.driving.add(self)
        wire.traffic = self._traffic
        self._stream.lend(backend, backend.waiter)
        wire.backend = backend
        return True

    def _give_back(self, turn: Turn) -> None:
        """Leave the connection to the loop; again, nothing."""
        if self._driver is turn:
            self._wire.backend = self._own
            self._stream.take_back()
            self._wire.traffic = self._loop_traffic
            self.driving.discard(self)
            self._backend.end()
            turn.interrupts.let_go()
            self._driver = None
        # Whoever is put there after this look finds no driver.
        if self._behind and self._driver is None:
            self._portal.post(self._let_go_on)

    def _surely_end(self, turn: Turn, grace: float, attempts: int) -> None:
        """Do what :meth:`_end` does, once more if that is interrupted, or the connection could never be used again."""
        try:
            self._end(turn, grace)
        except BaseException:
            if attempts:
                self._surely_end(turn, grace, attempts - 1)
            raise

    def _end(self, turn: Turn, grace: float) -> None:
        """Leave everything as it has to be, whatever has come of it; again, nothing."""
        if not turn.given_up and turn.is_unfinished():
            # An interrupt that the coroutine has not seen.
            self._give_up(turn, grace)
        self._give_back(turn)
        turn.give_back_worker()
        turn.interrupts.raise_pending()

    def _give_up(self, turn: Turn, grace: float) -> None:
        """Have the coroutine cancelled in the portal."""
        with suppress(PortalStopped):
            job = self._hand_over(turn)
            turn.handle.worker.cancel(job)
            turn.given_up = True
            # A worker that is not done in time, or before the next Ctrl-C, is left to itself.
            job.wait_at_most(grace + MARGIN)

    def _wait(self, turn: Turn, events: int) -> bool:
        """Wait for the server; return False if the coroutine is to be handed over, or was."""
        interrupts = turn.interrupts
        turn.waiting = interrupts.may_raise = True
        interrupts.raise_pending()
        # The bell may have been rung for a turn before.
        while not turn.wanted and turn.job is None:
            if self._backend.wait(events, turn.bell):
                break
        turn.waiting = interrupts.may_raise = False
        self._back_off(turn)
        return not turn.wanted and turn.job is None

    def _back_off(self, turn: Turn) -> None:
        """Drive less, if somebody was in the way."""
        if turn.wanted:
            self._skip = self._last_skips = min(2 * self._last_skips + 1, MOST_SKIPS)

    def _hand_over(self, turn: Turn) -> Job:
        """Have the coroutine run on in the portal; return what to wait for. Again, nothing."""
        # First, so that no other signal handler that comes amid this does the same.
        turn.waiting = False
        job = turn.job
        if job is None:
            job = Job(self._go_on, (turn,), {}, None)
            job.begins_always = True
            self._calling.add(turn)
            self._give_back(turn)
            turn.job = job
        try:
            turn.handle.worker.submit(job)
        except PortalStopped:
            self._calling.discard(turn)
            assert turn.coro is not None
            turn.coro.close()
            raise
        return job

    def _hand_over_outer(self, outer: Turn) -> None:
        """Let a call of this thread go on in the loop that a signal handler has interrupted, for the handler's calls.

        :raises InterfaceError: nobody else can go on with it.
        """
        if not outer.waiting:
            raise InterfaceError(AMID)
        # In this order: it wakes when the handler is at its end, which may be by an interrupt of what follows.
        outer.bell.ring()
        try:
            self._hand_over(outer)
        except BaseException:
            outer.wanted = True  # it does what is left of that itself, should the handler come to its end
            raise

    # -- in the loop

    def pause(self) -> None:
        """Drive no more until :meth:`resume`: tasks of the loop use the connection. Only while no thread drives."""
        self._paused = True

    def resume(self) -> None:
        """Let threads drive again, as no task of the loop uses the connection."""
        self._paused = False

    async def _go_on(self, turn: Turn) -> Any:
        assert turn.coro is not None
        try:
            return await _GoOn(turn.coro)
        finally:
            self._calling.discard(turn)

    async def _run(
        self, entry: _Entry, func: Callable[..., Awaitable[Any]], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        entry.begun = True
        self._calling.add(entry)
        try:
            while self._driver is not None:
                waiter = self._own.create_waiter()
                self._put_behind(waiter.set)
                await waiter.wait()
            return await func(*args, **kwargs)
        finally:
            self._calling.discard(entry)

    def _run_posted(self, callback: Callable[[], object]) -> None:
        entry = _Entry()
        self._calling.add(entry)
        try:
            if self._driver is None:
                callback()
            else:
                self._put_behind(partial(self._run_posted, callback))
        finally:
            self._calling.discard(entry)

    def _put_behind(self, callback: Callable[[], object]) -> None:
        self._behind.append(callback)
        driver = self._driver
        if driver is not None:
            driver.want()
        else:
            self._let_go_on()

    def _let_go_on(self) -> None:
        while self._behind:
            driver = self._driver
            if driver is not None:
                # Another one, who does not know that somebody waits.
                driver.want()
                break
            self._behind.popleft()()


def is_wanted() -> bool:
    """Return whether threads are to run calls directly, as far as the user is concerned.

    :raises ProgrammingError: ``ANYQ_SYNC`` has a value that it cannot have.
    """
    how = os.environ.get("ANYQ_SYNC", "direct")
    if how not in ("direct", "portal"):
        raise ProgrammingError(f"the environment variable ANYQ_SYNC must be 'direct' or 'portal', not {how!r}")
    return how == "direct"


def direct_of(wire: Wire, portal: Portal) -> Direct | None:
    """Return what runs the calls on a connection directly; None where that cannot be, or was switched off.

    :raises ProgrammingError: ``ANYQ_SYNC`` has a value that it cannot have.
    """
    stream = wire.channel
    if not is_wanted() or not available() or not isinstance(stream, SocketStream):
        return None
    return Direct(wire, stream, portal)


class _Entry:
    """One call in the portal."""

    __slots__ = ("begun",)

    def __init__(self) -> None:
        self.begun = False
        """Whether it has come to the loop, which takes note of its end then."""


async def _nothing() -> None:
    """Only wait until it is called."""


if hasattr(os, "register_at_fork"):
    # Threads that were at it are not there in a child.
    os.register_at_fork(after_in_child=Direct.driving.clear)
