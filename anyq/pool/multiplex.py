"""Multiplexing: statements of many tasks on few connections, none of which is any task's.

Theory of operation. A *line* is a connection in autocommit mode that statements of several tasks are sent on, one
behind the other. Many on one line are cheaper than few on many: they go out in one packet, and their replies come in
one. So a line is filled before another one is taken of the pool, and given back when nothing is under way on it.

*Nobody is to wait for long because of another.* The server runs what is on a line in turn. So a line whose statement
has run for `SLOW`, beyond the time to the server and back, gets nothing more: another is taken, and if there is none
the pool grows. A text whose statements have been slow is remembered, and gets a connection of its own. Where neither
can be had, statements wait here, and have not been sent: whichever line has room first takes the oldest, or a
connection that comes back to the pool.

*Nobody keeps a connection from those who wait for one.* While a client waits for a connection that is not being opened,
lines get nothing more, so that they end: a line under load never would. So it is while a slow statement waits, unless
another one is running, whose connection it will have. A connection that then becomes a line takes as
many statements as there is room for, and no more until the next client has had its turn.

*Each is a transaction of its own*, and leaves nothing behind on its connection. What would, or needs what another
statement has left, is refused by its text (`refusing`).

*A connection that is lost* fails the statement that the server may have begun with. What was behind that has certainly
not been run, if the server itself has said that it closes the connection: this is sent again on another one.

Knows how connections are lent. Must not know how statements are sent.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from time import monotonic
from typing import Any

import anyio

from ..abc import Params, Query
from ..backends import uninterrupted
from ..connection import AsyncConnection
from ..errors import OperationalError, ProgrammingError, ReadOnlySqlTransaction
from ..errors.arguments import check_seconds
from .batches import Batch
from .bookkeeping import Place
from .engine import Engine, Request
from .following import Followed
from .lending import Lender
from .opening import FIRST_PAUSE, LONGEST_PAUSE, Opener
from .options import Hooks, Options
from .refusing import KnownTexts, refused, text_of

DEPTH = 32
"""Statements on a line at most."""
ROUND_TRIPS = 2
"""Round trips to the server that no statement counts as slow for."""
SLOW = 0.01
"""Seconds beyond these after which a statement holds up those behind it."""
MANY = "executemany: "
"""Before the texts of those that are executed for many sets of parameters, where it is kept how long they take."""
ATTEMPTS = 3
"""How often a statement is sent that is certain not to have been run."""


class Line:
    """A connection that statements of several tasks run on.

    :param connection: what the lender has lent.
    :param alone: whether it is for one statement.
    """

    __slots__ = (
        *("alone", "autocommit", "connection", "expires_at", "followed", "inner", "moved_at", "running"),
        "_protocol",
    )

    def __init__(self, connection: Any, inner: AsyncConnection[Any], now: float, *, alone: bool) -> None:
        self.connection = connection
        self.inner = inner
        self.alone = alone
        self.running = 0
        """How many statements are on it."""
        self.moved_at = now
        """When the server may have begun with the first of them."""
        place: Any = inner.pooled
        self.expires_at: float = place.expires_at
        """When it gets nothing more, so that it ends and the connection can be replaced."""
        self.followed: Followed | None = place.followed
        self._protocol = inner.session.wire.protocol
        transactions = inner.session.transactions
        self.autocommit = transactions.autocommit
        transactions.autocommit = True

    def has_room(self, now: float, slow: float) -> bool:
        """Return whether another statement may be sent on it.

        :param slow: for how long the first one may have run, in seconds.
        """
        if not self.running:
            self.moved_at = now
        return self.running < DEPTH and now - self.moved_at < slow and now < self.expires_at and not self._protocol.over

    def end(self) -> None:
        """Make the connection what it was."""
        self.inner.session.transactions.autocommit = self.autocommit


class Turn(Request):
    """A statement that waits for a line, or for a connection that becomes one."""

    __slots__ = ("line",)

    is_statement = True

    def __init__(self, waiter: Any) -> None:
        super().__init__(waiter)
        self.line: Line | None = None

    @property
    def is_served(self) -> bool:
        return self.line is not None or self.place is not None or self.error is not None


class Multiplexer:
    """The statements of one pool that are executed without a connection."""

    def __init__(self, engine: Engine, opener: Opener, lender: Lender, hooks: Hooks, options: Options) -> None:
        self._engine = engine
        self._books = engine.books
        self._opener = opener
        self._lender = lender
        self._hooks = hooks
        self._timeout = options.timeout
        self._lines: list[Line] = []
        self._turns: OrderedDict[Turn, None] = OrderedDict()
        engine.books.statements = self._turns
        engine.retire = self.retire
        self._alone_running = 0
        self._alone_waiting = 0
        self._allowed = KnownTexts[None]()
        self._durations = KnownTexts[float]()

    @property
    def waiting(self) -> int:
        """How many statements have not been sent."""
        return len(self._turns)

    def running(self) -> list[Line]:
        """Return the line of each statement that is under way, but for those that have one of their own."""
        return [line for line in self._lines for _ in range(line.running)]

    def statistics(self) -> Iterator[tuple[str, int]]:
        """Yield the name and the number of what there is now."""
        yield "statements_waiting", len(self._turns)
        yield "statements_running", sum([line.running for line in self._lines]) + self._alone_running
        yield "statements_connections", len(self._lines) + self._alone_running

    # -- statements

    async def execute(
        self,
        query: Query,
        params: Params | Batch | None,
        *,
        prepare: bool | None = None,
        binary: bool = False,
        row_factory: Any,
        timeout: float | None,  # noqa: ASYNC109 - the user's
    ) -> Any:
        """Execute one statement; see :meth:`AsyncConnectionPool.execute` and `executemany`.

        :param params: a batch, if it is executed for many sets of them.
        """
        self._engine.check_here()
        key = query if isinstance(query, str) else None
        batch = params if isinstance(params, Batch) else None
        if key is None or key not in self._allowed:
            self.check(query, "execute" if batch is None else "executemany")
        alone, slow = False, self._slow()
        if batch is not None:
            alone = batch.is_long
            # How long one of them takes says nothing of many, nor these of a single one.
            key = None if key is None or alone else MANY + key
        if key is not None and self._durations.get(key, 0.0) >= slow:
            alone = True
        counters = self._books.counters
        counters.statements_num += 1
        counters.statements_alone += alone
        attempt = 0
        while True:
            attempt += 1
            line = None if alone else self._line_at_once(slow)
            if line is None:
                line = await self._wait_for_line(alone, self._timeout if timeout is None else timeout)
            sent_at = monotonic()
            try:
                cursor, inner = self._hooks.result(line.connection, row_factory)
                if batch is None:
                    await inner.run(query, params, prepare=prepare, binary=binary or None)
                else:
                    await inner.run_many(query, batch.sets, returning=batch.returning)
                return cursor
            except OperationalError as error:
                if not error.never_run or attempt == ATTEMPTS or batch is not None and not batch.is_repeatable:
                    raise
                counters.statements_repeated += 1
            except ReadOnlySqlTransaction as error:
                self._lender.suspect(line.connection, error)
                raise
            finally:
                self._learn(line, key, sent_at, slow)
                if self._leave(line):
                    await self._give_back(line)

    def count_alone(self) -> None:
        """Count a statement that is executed elsewhere, on a connection of its own."""
        counters = self._books.counters
        counters.statements_num += 1
        counters.statements_alone += 1

    def check(self, query: Query, method: str) -> None:
        """Check that a statement needs no session.

        :param method: what it was given to.
        :raises ProgrammingError: it does.
        """
        reason = refused(text_of(query))
        if reason is not None:
            raise ProgrammingError(
                f"{method}() of a pool cannot be used for {reason}: take a connection, by {self._hooks.taking}"
            )
        if isinstance(query, str):
            self._allowed.keep(query, None)

    def _learn(self, line: Line, key: str | None, sent_at: float, slow: float) -> None:
        """Take note of how long a statement has taken, and of what it may have told of the server."""
        now = monotonic()
        if line.followed is not None and line.followed.may_have_changed(line.inner):
            line.expires_at = now
        seconds = now - max(sent_at, line.moved_at)
        line.moved_at = now
        if key is not None and (seconds >= slow or key in self._durations):
            known = self._durations.get(key, seconds)
            self._durations.keep(key, known + (seconds - known) / 4)

    # -- lines

    def retire(self) -> None:
        """Have no more statements sent on the lines that there are, so that their connections come back."""
        for line in self._lines:
            line.expires_at = float("-inf")

    def _slow(self) -> float:
        """Return for how many seconds a statement may run before it holds up others: the way to the server counts."""
        return SLOW + ROUND_TRIPS * self._engine.round_trip

    def _line_at_once(self, slow: float) -> Line | None:
        """Return a line with room, on which the statement is counted; None where it has to wait for one."""
        if self._turns:
            return None
        now = monotonic()
        line = self._with_room(now, slow)
        if line is None:
            connection = self._lender.lend_at_once(now)
            if connection is None:
                return None
            line = self._new_line(connection, now, False)
        line.running += 1
        return line

    def _with_room(self, now: float, slow: float) -> Line | None:
        found: Line | None = None
        if self._books.waiting and self._client_waits():
            return None
        for line in self._lines:
            if line.has_room(now, slow) and (found is None or line.running < found.running):
                found = line
        return found

    def _client_waits(self) -> bool:
        """Return whether the next connection is to be a client's, and is none that is being opened."""
        books = self._books
        if isinstance(next(iter(books.waiting)), Turn):
            return False
        if self._alone_running and len(books.waiting) - bool(self._turns) <= self._alone_waiting:
            # Only slow statements do: the next has the connection of one of them.
            return False
        return books.retrying or len(books.waiting) > books.opening

    def _new_line(self, connection: Any, now: float, alone: bool) -> Line:
        line = Line(connection, self._hooks.inner(connection), now, alone=alone)
        if alone:
            self._alone_running += 1
        else:
            self._lines.append(line)
        return line

    async def _wait_for_line(self, alone: bool, timeout: float) -> Line:  # noqa: ASYNC109 - the user's
        """Wait for a line, or for a connection of the pool.

        :param alone: whether only the latter will do.
        """
        check_seconds(timeout=timeout)
        if alone:
            self._alone_waiting += 1
            try:
                connection = await self._lender.lend(timeout)
            finally:
                self._alone_waiting -= 1
            line = self._new_line(connection, monotonic(), True)
            line.running = 1
            return line
        counters = self._books.counters
        counters.requests_num += 1
        began = monotonic()
        served = False
        try:
            line = await self._wait_for_turn(timeout)
            served = True
            return line
        finally:
            counters.requests_errors += not served
            counters.waited(monotonic() - began, served=served)

    async def _wait_for_turn(self, timeout: float) -> Line:  # noqa: ASYNC109 - the user's
        """Wait until there is room on a line, or a connection that becomes one."""
        self._lender.check_may_wait()
        engine, books = self._engine, self._books
        books.counters.requests_queued += 1
        turn = Turn(engine.here().create_waiter())
        self._turns[turn] = None
        pause = FIRST_PAUSE
        try:
            with anyio.move_on_after(timeout):
                while True:
                    self._ask_for_first()
                    await engine.wait(turn)
                    if turn.line is not None:
                        line = turn.line
                        turn.line = None
                        return line
                    place = turn.take()
                    if await self._lender.is_good(place):
                        return self._line_of(place, turn)
                    if place.fresh:
                        # Others would be no better.
                        await anyio.sleep(pause)
                        pause = min(2 * pause, LONGEST_PAUSE)
                    if not books.is_open:
                        raise engine.not_open()
                    turn.renew(engine.here().create_waiter())
                    self._turns[turn] = None
                    self._turns.move_to_end(turn, last=False)
                    books.queue_again(turn)
        finally:
            await self._give_up_turn(turn)
        raise self._opener.timed_out("had no connection for a statement", timeout)

    def _line_of(self, place: Place, turn: Turn) -> Line:
        connection = place.connection
        place.connection = None
        line = self._new_line(connection, monotonic(), False)
        line.running = 1
        self._turns.pop(turn, None)
        self._serve(line)
        return line

    async def _give_up_turn(self, turn: Turn) -> None:
        """Take a statement out of the queue, with what it was given at the same moment."""
        self._turns.pop(turn, None)
        place = self._books.leave_queue(turn)
        if place is not None:
            self._lender.put_back(place, place.connection)
        line = turn.line
        turn.line = None
        if line is not None and self._leave(line):
            await self._give_back(line)
        self._engine.settle()
        self._ask_for_first()

    def _ask_for_first(self) -> None:
        """Have the statement that has waited longest wait for a connection, too: one at a time, for a line has room."""
        if self._turns:
            turn = next(iter(self._turns))
            if not turn.is_served and turn not in self._books.waiting:
                self._books.queue(turn)
            self._engine.settle()

    def _serve(self, new: Line | None = None) -> None:
        """Give the room that there is to those who wait.

        :param new: a line that gets statements whoever else waits.
        """
        now, slow = monotonic(), self._slow()
        while self._turns:
            line = new if new is not None and new.has_room(now, slow) else self._with_room(now, slow)
            if line is None:
                break
            turn, _ = self._turns.popitem(last=False)
            if turn.is_served:
                continue
            self._books.leave_queue(turn)
            line.running += 1
            turn.line = line
            turn.wake_up.set()
        self._ask_for_first()

    def _leave(self, line: Line) -> bool:
        """Take note that a statement is at its end; return whether it was the last one."""
        line.running -= 1
        if self._turns:
            self._serve()
        return not line.running

    async def _give_back(self, line: Line) -> None:
        """Give the connection of a line back that has no statement."""
        if line.alone:
            self._alone_running -= 1
        else:
            self._lines.remove(line)
        line.end()
        if not self._lender.take_back_at_once(line.connection):
            await self._lender.take_back(line.connection)


uninterrupted(Multiplexer)
