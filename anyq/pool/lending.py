"""Lending: how a client gets a connection of a pool, and gives it back.

A client waits for its turn, has its connection looked at, and when it gives it back has it cleaned, shielded and within
the connection's grace time: it is its own transaction or cancellation that made that necessary.

Knows clients and callbacks; what is cleaned, and how, is in `cleaning`. Must not know how connections are opened.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from time import monotonic, perf_counter
from types import TracebackType
from typing import Any, cast

import anyio

from ..backends import alone, uninterrupted
from ..connection import AsyncConnection
from ..errors import ProgrammingError
from ..errors.arguments import check_seconds
from ..protocol.constants import TransactionStatus
from ..tracing import TracedCheckout
from ..tracing.telling import Tracing, calling_context
from .bookkeeping import IDLE, OUT, Place
from .cleaning import clean, is_clean, left_open, restore
from .engine import Engine, Request
from .errors import TooManyRequests, told_by
from .opening import FIRST_PAUSE, LONGEST_PAUSE, Opener, check_idle, is_alive
from .options import Callback, Hooks, Options

logger = logging.getLogger("anyq.pool")

TRUSTED = 0.01
"""Seconds for which a connection that was used is taken to be there still; later it is looked whether it is."""


class Lender:
    """How one pool lends its connections."""

    def __init__(self, engine: Engine, opener: Opener, hooks: Hooks, options: Options) -> None:
        self._engine = engine
        self._books = engine.books
        self._opener = opener
        self._hooks = hooks
        self._name = options.name
        self._timeout = options.timeout
        self._check = options.check
        self._reset = options.reset
        self.tracing: Tracing | None = None
        """Who watches; who asks for a connection looks."""

    # -- to a client

    def turn_of(self, connection: Any) -> int:
        """Return which turn of lending a connection is in: a client's first one, second, and so on; 0 if in none."""
        turn: int = getattr(self._hooks.inner(connection).pooled, "turn", 0)
        return turn

    async def lend(self, timeout: float | None, *, told: bool = False) -> Any:  # noqa: ASYNC109 - the user's
        """Return a connection that is a client's from now on; see :meth:`AsyncConnectionPool.getconn`.

        :param told: whether those who watch know of it.
        """
        if self.tracing is not None and not told:
            return await self._lend_watched(self.tracing, timeout)
        if timeout is not None:
            check_seconds(timeout=timeout)
        books = self._books
        books.counters.requests_num += 1
        backend = self._engine.here()
        if not backend.may_go_on():
            self._engine.check_here()
            await backend.checkpoint_if_cancelled()
        now = monotonic()
        place = books.take(now)
        if place is None or self._check is not None or now - place.idle_since > TRUSTED and not self._is_alive(place):
            try:
                place = await self._serve(place, self._timeout if timeout is None else timeout)
            except BaseException:
                books.counters.requests_errors += 1
                raise
        connection = place.connection
        place.connection = None
        return connection

    async def _lend_watched(self, tracing: Tracing, timeout: float | None) -> Any:  # noqa: ASYNC109 - the user's
        running = tracing.checkout.begin(TracedCheckout(self._name), calling_context())
        try:
            connection = await self.lend(timeout, told=True)
        except BaseException as error:
            running.fail(error)
            raise
        inner = self._hooks.inner(connection)
        place: Any = inner.pooled
        place.checkout = running
        if inner.session.tracing is not None:
            running.event.server = inner.session.tracing.server
        running.end()
        return connection

    def _tell_back(self, place: Any) -> None:
        """Tell those who watch that a client has a connection no more."""
        running, place.checkout = place.checkout, None
        if running is not None and self.tracing is not None:
            checkout: TracedCheckout = running.event
            checkout.held = perf_counter() - checkout.began - checkout.seconds
            self.tracing.tell_checkin(checkout, calling_context())

    def _is_alive(self, place: Place) -> bool:
        return is_alive(self._hooks.inner(place.connection))

    def _is_trusted(self, place: Place) -> bool:
        """Return whether a connection needs no look at it."""
        return self._check is None and monotonic() - place.idle_since <= TRUSTED

    def lend_at_once(self, now: float) -> Any | None:
        """Return a connection that can be had without waiting and without a check; None if there is none."""
        place = None if self._check is not None else self._books.take(now)
        if place is None:
            return None
        if now - place.idle_since > TRUSTED and not self._is_alive(place):
            self._lose(place)
            return None
        self._books.counters.requests_num += 1
        connection = place.connection
        place.connection = None
        return connection

    async def _serve(self, place: Place | None, timeout: float) -> Place:  # noqa: ASYNC109 - the user's
        """Wait until there is a connection that is good.

        :param place: one that may be, and was given already.
        """
        books, engine = self._books, self._engine
        request = Request(engine.here().create_waiter())
        request.place = place
        began = monotonic()
        request.deadline = began + timeout
        if place is None:
            self.check_may_wait()
            books.counters.requests_queued += 1
            books.queue(request)
        pause = FIRST_PAUSE
        served = False
        try:
            while True:
                if not request.is_served:
                    engine.settle_waiting()
                    if engine.keeps_time and not request.is_served and request.deadline > monotonic():
                        # As below, but for two coroutines: mostly it is woken once, by who serves it.
                        await request.waiter.wait()
                    if not request.is_served:
                        await self._wait_on(request)
                if request.place is None and request.error is None:
                    break
                given = request.take()
                served = self._is_trusted(given) or await self._is_good_in_time(given, request)
                if served:
                    if given is not place:
                        books.counters.waited(monotonic() - began)
                    return given
                if given.fresh and not request.is_late:
                    # Others would be no better.
                    await anyio.sleep(max(0.0, min(pause, request.deadline - monotonic())))
                    pause = min(2 * pause, LONGEST_PAUSE)
                if not books.is_open:
                    raise engine.not_open()
                request.renew(engine.here().create_waiter())
                if not request.is_late:
                    books.queue_again(request)
        finally:
            self._wait_no_longer(request, None if served else began)
        raise self._opener.timed_out("had no connection", timeout)

    def _wait_no_longer(self, request: Request, in_vain_since: float | None) -> None:
        """Have a client wait no longer.

        :param in_vain_since: since when it has waited, if it was not served.
        """
        books = self._books
        changed = request.work or in_vain_since is not None
        if in_vain_since is not None:
            books.counters.waited(monotonic() - in_vain_since, served=False)
        given_late = books.leave_queue(request)
        if given_late is not None:
            self.put_back(given_late, given_late.connection)
        if changed:
            self._engine.settle()

    async def _wait_on(self, request: Request) -> None:
        """Wait until a client has a connection or an error, or its time is over."""
        if request.deadline > monotonic():
            await self._engine.wait(request)
        else:
            await self._engine.here().checkpoint()
            request.is_late = True

    async def _is_good_in_time(self, place: Place, request: Request) -> bool:
        """Return whether a client can have a connection; its time may be over meanwhile."""
        with anyio.move_on_after(max(0.0, request.deadline - monotonic())) as scope:
            return await self.is_good(place)
        request.is_late = scope.cancelled_caught
        return False

    def check_may_wait(self) -> None:
        """Check that one more may wait.

        :raises PoolClosed: the pool is not open.
        :raises TooManyRequests: as many as may do so already.
        """
        books = self._books
        if not books.is_open:
            raise self._engine.not_open()
        if 0 < books.max_waiting <= books.waiting_number:
            raise TooManyRequests(f"the pool {self._name!r} has {books.waiting_number} requests waiting already")

    async def is_good(self, place: Place) -> bool:
        """Return whether a client can have a connection that it was given; otherwise it is dropped.

        A cancellation has it put back.
        """
        connection = place.connection
        if monotonic() - place.idle_since <= TRUSTED or self._is_alive(place):
            if self._check is None:
                return True
            try:
                if await self._passes(self._check, connection):
                    return True
            except BaseException:
                await self._take_back(place, connection, told=False)
                raise
        self._lose(place)
        return False

    async def _passes(self, check: Callback, connection: Any) -> bool:
        """Return whether a connection passes a check, of which no transaction is left."""
        inner = self._hooks.inner(connection)
        try:
            await self._hooks.call(check, connection)
            if inner.session.transaction_status is not TransactionStatus.IDLE:
                await inner.session.end_transaction(b"ROLLBACK", cancellable=False)
            reason = await self._why_unsuitable(inner)
        except Exception as error:
            reason = told_by(error)
        self._opener.unfit = reason
        if reason is not None:
            logger.info("a connection of %r did not pass its check: %s", self._name, reason)
        return reason is None and not inner.closed

    async def _why_unsuitable(self, inner: AsyncConnection[Any]) -> str | None:
        """Return why the server of a connection is none any more that is asked for, None if it is one.

        If it is none all connections are replaced, as the others will be no better.
        """
        target = cast(Place, inner.pooled).followed
        if target is None or inner.closed or not target.may_have_changed(inner):
            return None
        reason: str | None = await target.why_unsuitable(inner)
        if reason is not None:
            logger.warning("%r replaces its connections: %s", self._name, reason)
            self.drain()
        return reason

    def drain(self) -> None:
        """Have all connections that there are closed rather than used again."""
        self._books.drain(monotonic())
        self._engine.retire()
        self._engine.settle()

    def suspect(self, connection: Any, error: BaseException) -> None:
        """Take note of what a client has got of a connection that he has: its server may be none any more to use."""
        place: Any = self._hooks.inner(connection).pooled
        if place.followed is not None:
            place.followed.suspect(error)

    def _lose(self, place: Place) -> None:
        """Drop a connection that was found not to be good."""
        self._books.counters.connections_lost += 1
        self._engine.close(self._books.drop(place))

    async def check_idle_ones(self, check: Callback) -> None:
        """Drop the idle connections that do not pass a check within the pool's timeout."""
        books = self._books
        for place in tuple(books.idle):
            if place.state is not IDLE:
                continue  # it was lent meanwhile
            idle_since = place.idle_since
            books.hold(place)
            good = False
            try:
                with anyio.move_on_after(self._timeout):
                    good = await self._passes(check, place.connection)
            except BaseException:
                await self._make_ready(place, place.connection, told=False, idle_since=idle_since)
                raise
            if good:
                self._put(place, idle_since)
            else:
                self._lose(place)
            self._engine.settle()

    # -- back from a client

    def take_back_at_once(self, connection: Any, turn: int | None = None) -> bool:
        """Take a connection back if nothing is left on it, without waiting; return False otherwise.

        :param turn: as for :meth:`end`, if it is known.
        """
        inner = self._hooks.inner(connection)
        place: Any = inner.pooled
        if (
            self._reset is not None
            or place.state is not OUT
            or turn not in (None, place.turn)
            or place.followed is not None
            and place.followed.may_have_changed(inner)
            or not is_clean(inner, connection, place.settings)
        ):
            return False
        self._hooks.returned(connection)
        now = monotonic()
        if self.tracing is not None:
            self._tell_back(place)
        if not self._books.hand_over(place, connection, now):
            self._books.take_back(place, connection, now)
            self._books.put(place, now)
            self._engine.settle_soon(now)
        return True

    def take_back_unused(self, connection: Any) -> None:
        """Take a connection back that its client never had; to be called in the event loop, but in no task."""
        place: Any = self._hooks.inner(connection).pooled
        self.put_back(place, connection)
        self._engine.settle_from_outside()

    def close_lent(self, connection: Any, turn: int) -> None:
        """Close a connection whose client was interrupted before it was returned; to be called as the one above."""
        place: Any = self._hooks.inner(connection).pooled
        if is_lent(place, turn):
            if self.tracing is not None:
                self._tell_back(place)
            self._books.counters.connections_lost += 1
            self._books.drop(place)
            self._engine.close(connection)
            self._engine.settle_from_outside()

    def put_back(self, place: Place, connection: Any) -> None:
        """Put back a connection that its client never had; the books are to be settled then."""
        self._hooks.returned(connection)
        self._books.take_back(place, connection, monotonic())
        self._put(place)

    async def take_back(self, connection: Any) -> None:
        """Take a connection back, and say what is left open on it."""
        place: Any = self._hooks.inner(connection).pooled
        await self._take_back(place, connection, told=True)

    async def end(self, connection: Any, turn: int, exc: BaseException | None) -> None:
        """End the block of a client: commit, or roll back because of an exception, and take the connection back.

        :param turn: the place's when it was lent: if it is another one, the connection was given back in the block.
        """
        inner = self._hooks.inner(connection)
        place: Any = inner.pooled
        if not is_lent(place, turn):
            return
        if exc is not None:
            self.suspect(connection, exc)
        try:
            if exc is None and inner.session.transaction_status is not TransactionStatus.IDLE and not inner.closed:
                await inner.commit_at_end()
        finally:
            if is_lent(place, turn) and not self.take_back_at_once(connection, turn):
                await self._take_back(place, connection, told=False)

    async def _take_back(self, place: Place, connection: Any, *, told: bool) -> None:
        books = self._books
        self._hooks.returned(connection)
        if self.tracing is not None:
            self._tell_back(place)
        books.take_back(place, connection, monotonic())
        if self._hooks.inner(connection).closed:
            logger.warning("a connection of %r was closed or lost while it was lent", self._name)
            books.counters.connections_lost += 1
        elif books.is_open:
            await self._make_ready(place, connection, told=told)
            return
        self._engine.close(books.drop(place))
        self._engine.settle()

    def _put(self, place: Place, idle_since: float | None = None) -> None:
        """Put back a connection that is ready for the next client."""
        if self._books.is_open and not self._hooks.inner(place.connection).closed:
            self._books.put(place, monotonic(), idle_since=idle_since)
        else:
            self._engine.close(self._books.drop(place))

    async def _make_ready(self, place: Place, connection: Any, *, told: bool, idle_since: float | None = None) -> None:
        """Clean a connection and put it back; close it if that does not succeed.

        A cancellation waits for that, also asyncio's own.
        """
        inner = self._hooks.inner(connection)
        left = left_open(inner)

        async def clean_now() -> None:
            nonlocal left
            left = await self._clean(place, connection)

        try:
            if left is None:
                if told and inner.session.wire.protocol.transaction_status is not TransactionStatus.IDLE:
                    logger.warning("a connection was returned to %r in a transaction, which is rolled back", self._name)
                    self._books.counters.returns_bad += 1
                left = "its cleaning was interrupted"
                await _out_of_reach(clean_now)
        finally:
            if left is None:
                self._put(place, idle_since)
            else:
                logger.warning("a connection that was returned to %r is closed: %s", self._name, left)
                self._books.counters.returns_bad += 1
                self._engine.close(self._books.drop(place))
            self._engine.settle()

    async def _clean(self, place: Place, connection: Any) -> str | None:
        """Clean a connection; return why it cannot be used, None if it can."""
        inner = self._hooks.inner(connection)
        grace = inner.session.wire.cancelling.grace
        try:
            with anyio.CancelScope(shield=True, deadline=anyio.current_time() + grace):
                if await clean(inner, connection, place.settings):
                    await self._opener.configure(connection)
                    restore(inner, connection, place.settings)  # it may have added handlers once more
                if self._reset is not None:
                    await self._hooks.call(self._reset, connection)
                    check_idle("reset", inner)
                inner.session.composer.statements.changes_session = False
                return "it was lost" if inner.closed else await self._why_unsuitable(inner)
        except Exception as error:
            return f"it could not be cleaned: {told_by(error)}"
        return f"it could not be cleaned within {grace:g} s"


uninterrupted(Lender)


async def _out_of_reach(func: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Await a function that shields itself; a cancellation is raised when it is at its end.

    It is in a task of its own, as asyncio's `task.cancel()` does not stop at a shield.
    """
    try:
        with anyio.CancelScope(shield=True):
            async with anyio.create_task_group() as group:
                group.start_soon(func)
    except BaseException as error:
        raise alone(error) from None


class LendingBlock:
    """A block that has a connection of a pool. Compiled, it is kept without a dictionary."""

    __slots__ = ("_connection", "_lender", "_timeout", "_turn")

    def __init__(self, lender: Lender, timeout: float | None) -> None:
        self._lender = lender
        self._timeout = timeout
        self._connection: Any = None
        self._turn = 0

    async def __aenter__(self) -> Any:
        if self._connection is not None:
            raise ProgrammingError("the block was entered already; make a new one with pool.connection()")
        self._connection = connection = await self._lender.lend(self._timeout)
        self._turn = self._lender.turn_of(connection)
        return connection

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        connection = self._connection
        self._connection = None
        if exc_val is not None or not self._lender.take_back_at_once(connection, self._turn):
            await self._lender.end(connection, self._turn, exc_val)


def is_lent(place: Place, turn: int) -> bool:
    """Return whether a connection is with the client still that it was given to in that turn."""
    return place.state is OUT and place.turn == turn
