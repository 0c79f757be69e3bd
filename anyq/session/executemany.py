"""executemany: one statement, many sets of parameters, pipelined in batches within one request.

Knows the session and how a request is sent piece by piece. Must not know cursors, or how a row is made.

The sets are sent as Bind and Execute messages without a Sync in between, so that all of them are one implicit
transaction in autocommit mode. Each batch ends with a Flush, the last one of a list or a tuple with the Sync; the next
one is sent while the server works on it, and no further: what is under way is bounded, whatever the number of sets.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from operator import length_hint
from typing import Any, NamedTuple

from .._accel import bind, bind_sets
from ..abc import Params, Query
from ..adapt import Transformer
from ..backends import interruptible, uninterrupted
from ..errors.arguments import each_of
from ..protocol import frontend
from ..protocol.request import Result, TransactionEffect
from ..statements.binders import Binder
from ..statements.composer import Composer, refuse_copy
from ..statements.outcome import affected_rows, failure_of
from ..statements.placeholders import ParsedQuery, query_text
from ..statements.requests import StatementRequest, add_begin
from ..statements.statement import Statement, is_query
from ..tracing.telling import Running
from .execute import forget_if_stale, may_repeat
from .naming import Names
from .session import Session
from .tracing import measure

BATCH_BYTES = 64 * 1024
BATCH_SETS = 1000
"""A batch ends when it has so many bytes or so many sets of parameters, whichever comes first."""

_COUNTED: tuple[type[object], ...] = type(iter([0])), type(iter((0,)))
"""Iterators that know how many sets are left."""

BATCHES_AT_RISK = 3
"""How many batches may have been made when the last of those is complete that a CancelRequest for another can hit."""


def _ending() -> bytes:
    # No SQL, so that it is an error. Not an Execute of a portal that is none: pgpool-II closes the connection for that.
    data = bytearray()
    frontend.parse(data, b"", b"anyq has given executemany() up", ())
    return bytes(data + frontend.SYNC)


class _ManyRequest(StatementRequest):
    """Counts rows and, if they are wanted, keeps results; ready when a batch is complete."""

    ending = _ending()

    def __init__(self, composer: Composer, names: Names, keep: bool) -> None:
        super().__init__(composer.statements)
        self._names = names
        # If they are not wanted, nothing is described, and a statement that returns rows is welcome.
        self.keeps_rows = keep
        self.counting = not keep
        self.rowcount = 0
        self.tag: str | None = None
        """The command tag of the last result."""
        self._affected = 0
        self.completed = 0
        self.wanted = 0
        """How many sets must be complete before the next batch may be sent."""

    def add(self, result: Result) -> None:
        before = self.completed
        self.count(result.tag, 1)
        if not self.counting and self.completed > before:
            self.results.append(result)

    def count(self, tag: str | None, count: int) -> None:
        if self.after_begin and not self._begun:
            self._begun = True
            count -= 1
            if not count:
                return
        self.completed += count
        if tag != self.tag:
            if self.text is not None:
                self.hear(tag, self.text)
            self.tag = tag
            self._affected = affected_rows(tag, 0)
        self.rowcount += self._affected * count

    def last(self) -> Result | None:
        """Return the last result, None if there was none."""
        if not self.completed:
            return None
        # Of its tag only, so that rows that nobody asked for cannot be fetched.
        result = Result()
        result.tag = self.tag
        return result

    def abandon(self) -> None:
        super().abandon()
        # It is ready when it is done, and no sooner: else whoever drains it would not sleep.
        self.wanted = 0

    def finish(self) -> None:
        self._names.settle(self.parsed - self.after_begin)
        super().finish()

    def ready(self) -> bool:
        return self.done or self.wanted > 0 and (self.error is not None or self.wanted <= self.completed)


def sets_of(params_seq: Iterable[Params]) -> Iterator[Params]:
    """Return the sets of parameters of an executemany(), one after the other.

    :raises TypeError: what was given is none that can be gone through.
    """
    return each_of(params_seq, "executemany() takes a sequence of sets of parameters, or another iterable")


class ManyResults(NamedTuple):
    """What executemany() has given."""

    request: StatementRequest
    """With a result for each set, if they are wanted."""
    rowcount: int
    """The sum over all sets."""
    last: Result | None
    """The command tag of the last one, if results are not wanted."""


@uninterrupted
class ManyExecutions:
    """One executemany() under way. The sets of parameters may come in several portions.

    Between two portions the connection is in use: other statements wait.
    """

    def __init__(self, session: Session, query: Query, binder: Binder, tx: Transformer, *, returning: bool) -> None:
        self._session = session
        self._names = Names(session.composer, by_name=binder.extended)
        self._new_request = partial(_ManyRequest, session.composer, self._names, returning)
        self._request = self._new_request()
        self._sent: list[bytearray] | None = []  # all batches, as long as one could be hit; then None
        # Also where there is no set, by which it would be bound. A template string is refused here, too.
        refuse_copy(query_text(query, tx, tx.encoding))
        self._sets = Sets(query, binder, tx, returning, self._names)
        self._opened = False
        self._head = bytearray()
        self.outcome = ManyResults(self._request, 0, None)
        """What it has given, when the last portion has been fed."""
        self._running: Running | None = None
        if session.query_tracing is not None:
            self._running = session.query_tracing.begin("executemany", query, stays=False)

    async def feed(self, params_seq: Iterable[Params], *, last: bool) -> bool:
        """Execute for the sets of one portion; return whether another one is wanted.

        :param last: whether this one is the last.
        """
        wire = self._session.wire
        try:
            self._sets.refill(sets_of(params_seq))
            # The first batch is made before anything is sent: what is wrong with it stays between the caller and us.
            batch, more = self._sets.batch()
            if not self._opened:
                if not batch:
                    await wire.backend.checkpoint()
                    if last:
                        self._tell_end()
                    return not last
                await self._open()
            return await self._send(batch, more, last)
        except BaseException as error:
            await self.abandon(error)
            raise

    async def abandon(self, error: BaseException) -> None:
        """Undo what was sent, unless it has come to its end; shielded, within the grace time.

        :param error: why.
        """
        self.tell_failure(error)
        if self._opened:
            await self._session.wire.abandon(self._request)
        else:
            self._names.settle(0)

    def tell_failure(self, error: BaseException) -> None:
        """Tell those who watch that it has failed, if they do not know that it is at its end."""
        if self._running is not None:
            self._running.event.sets = self._sets.count
            self._running.fail(error)

    def _tell_end(self) -> None:
        if self._running is not None:
            event = self._running.event
            event.sets = self._sets.count
            measure(event, self._request.results)
            event.rows, event.tag = self.outcome.rowcount, self._request.tag
            self._running.end()

    async def _open(self) -> None:
        session = self._session
        begin = await session.transactions.turn()
        self._opened = True  # first, so that it is abandoned whatever interrupts
        session.wire.open(self._request)
        if self._sets.utility is not None:
            self._request.effect = TransactionEffect.UNCERTAIN
            self._request.text = self._sets.utility
        self._head = bytearray()
        session.composer.catch_up(self._head)
        if begin is not None:
            add_begin(self._request, self._head, begin)
        self._names.open(self._head)

    async def _send(self, batch: bytearray, more: bool, last: bool) -> bool:
        """Send a batch and those that follow it; return whether another portion is wanted."""
        wire = self._session.wire
        request = self._request
        while more or not last:
            if not batch:
                return True
            wire.send(self._with_head(batch, frontend.FLUSH))
            request.wanted = self._sets.previous
            await wire.backend.checkpoint()
            if request.wanted:
                await wire.wait(request)
            if request.error is not None or request.done:
                batch = bytearray()
                break
            if not more:
                return True
            batch, more = self._sets.batch()
        # With the Sync it all takes effect.
        await wire.backend.checkpoint_if_cancelled()
        request.wanted = 0
        wire.close_request(request, self._with_head(batch, frontend.SYNC))
        await wire.backend.checkpoint()
        await wire.wait(request)
        if request.error is not None or request.failure is not None:
            sent = await self._begin_again()
            if sent is not None:
                return await self._send(sent, more, last)
            failure = failure_of(request, None, self._session.composer.statements)
            raise self._session.explained(failure, self._sets.statement, self._sets.encoding)
        self.outcome = ManyResults(request, request.rowcount, request.last() if request.counting else None)
        self._tell_end()
        return False

    def _with_head(self, batch: bytearray, end: bytes) -> bytes:
        """Return what to send for a batch, behind what goes before the first one."""
        self._keep(batch)
        head, self._head = self._head, bytearray()
        return b"".join((head, batch, end))

    def _keep(self, batch: bytearray) -> None:
        """Keep what is going to be sent, while it could be hit by a CancelRequest meant for a request before this one.

        Two batches may be on their way when that is sent. A third one waits for its end, and the fourth for that of the
        second.
        """
        if self._sent is not None and batch:
            self._sent.append(batch)
            if len(self._sent) == BATCHES_AT_RISK - 1:
                # A statement that is new in the next batch fails when that cannot be sent again.
                self._names.close()
            if len(self._sent) > BATCHES_AT_RISK:
                self._sent = None

    async def _begin_again(self) -> bytearray | None:
        """Begin a new request after one that failed for a reason of the driver's own; return what to send once more.

        None if it did not, or that cannot be done: then the next executemany() is right.
        """
        session, request, statement, sent = self._session, self._request, self._sets.statement, self._sent
        request.reused = self._names.relies
        stale = forget_if_stale(session, request, statement)
        again = bool(sent) and await may_repeat(session, request, statement)
        if stale or again:
            self._names.forget()
        if sent is None or not again:
            return None
        self._opened = False
        self._request = self._new_request()
        self._sent = []
        await self._open()
        return bytearray().join(sent)


class Sets:
    """Turns sets of parameters into messages, a batch at a time."""

    def __init__(self, query: Query, binder: Binder, tx: Transformer, describe: bool, names: Names) -> None:
        # A LiteralString is narrowed to str by an assignment; what was checked at the call stays what it is.
        self._query: Any = query
        self._binder = binder
        self._tx = tx
        self._names = names
        self._name = b""
        self._sets: Iterator[Any] = iter(())
        # What is another statement than the one before is described once, if results are wanted.
        self._first = frontend.DESCRIBE_EXECUTE if describe else frontend.EXECUTE
        self._parsed: ParsedQuery | None = None
        self._sql: bytes | None = None  # the last statement, and the types of its parameters
        self._oids: tuple[int, ...] = ()
        self._bound: Statement | None = None  # what was bound last, where sets have nothing in common
        self._count = 0
        self._last = 0
        self.previous = 0
        """How many sets had been sent before the batch that was made last."""
        self.utility: bytes | None = None
        """The text, if it is no query."""

    @property
    def count(self) -> int:
        """How many sets there have been."""
        return self._count

    def refill(self, params_seq: Iterator[Any]) -> None:
        """Take the next sets from here."""
        self._sets = params_seq

    @property
    def encoding(self) -> str:
        """The Python codec of the client encoding."""
        return self._tx.encoding

    @property
    def statement(self) -> Statement:
        """The statement of all sets, as errors show it."""
        sql, bound = self._sql or b"", self._bound
        if bound is not None and bound.query is not None:
            # Each set made a text of its own, and it is not known here which one has failed.
            sql = bound.query.sql
        return Statement(sql, [b""] * len(self._oids), self._oids, ())

    @interruptible
    def batch(self) -> tuple[bytearray, bool]:
        """Return the messages of the next sets, and whether there may be more."""
        data = bytearray()
        self.previous = self._last
        self._last = self._count
        self._parsed = self._binder.parse(self._query, self._tx)
        count = bind_sets(data, self._sets, BATCH_SETS, BATCH_BYTES, self._add)
        self._count += count
        more = count == BATCH_SETS or len(data) >= BATCH_BYTES
        if more and isinstance(self._sets, _COUNTED):
            # Else a full batch that is the last one would go without the Sync, which the server would wait for.
            more = length_hint(self._sets) > 0
        return data, more

    def _add(self, data: bytearray, params: Any) -> tuple[Any, ...] | None:
        """Append the messages of one set; for what it returns see :func:`bind_sets`."""
        tx = self._tx
        parsed = self._parsed
        if parsed is None:
            bound = self._binder.bind(self._query, params, tx)
            sql, values, oids, formats, *_ = bound
            self._bound = bound
        else:
            sql = parsed.sql
            values, oids, formats = tx.dump_sequence(parsed.bind_params(params), parsed.formats)
        if sql != self._sql or oids != self._oids:
            # Other types are another statement; the description must be that of this one.
            if sql != self._sql and not is_query(sql):
                self.utility = sql
            self._name, parse = self._names.find((sql, oids))
            if parse:
                frontend.parse(data, self._name, sql, oids)
            bind(data, b"", self._name, formats, values, (), self._first)
            self._sql, self._oids = sql, oids
        else:
            bind(data, b"", self._name, formats, values, (), frontend.EXECUTE)
        if parsed is None or parsed.names is not None:
            return None
        return tx, parsed.formats, oids, formats, self._name, (), frontend.EXECUTE
