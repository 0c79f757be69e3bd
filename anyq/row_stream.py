"""AsyncRowStream: the rows of one query, taken from the connection as they arrive.

Knows one request under way. Must not know messages, sockets, or what a cursor does with the end of a result.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Iterator
from operator import length_hint
from types import TracebackType
from typing import Any, Generic, NamedTuple, NoReturn

from typing_extensions import Self, TypeVar

from .abc import Params
from .backends import Finalizer, uninterrupted
from .errors import DataError, InterfaceError, OperationalError
from .protocol.request import Fields, Result
from .rows import RowMaker, TupleRow
from .session.cancelling import was_victim
from .session.execute import describe, forget_if_stale, may_repeat, undo_begin
from .session.session import Adaptation, Session
from .session.tracing import size_of
from .session.wire import Wire
from .statements.binders import Binder
from .statements.layout import changed_format
from .statements.loading import RowLoads
from .statements.outcome import changed_settings, failure_of, had_own_transaction
from .statements.requests import StatementRequest
from .statements.statement import Statement
from .tracing.telling import Running

Row = TypeVar("Row", default=TupleRow)


class StreamedQuery(NamedTuple):
    """What is streamed, and how."""

    # A LiteralString is narrowed to str where it is kept; what was checked at the call stays what it is.
    query: Any
    params: Params | None
    binder: Binder
    adaptation: Callable[[], Adaptation]
    """Asked when the stream begins: adapters may be registered until then."""
    binary: bool | None
    size: int
    """Rows wanted in one go at least."""


@uninterrupted
class AsyncRowStream(Generic[Row]):
    """Asynchronous iterator over the rows of a query; made by :meth:`AsyncCursor.stream`.

    An object and not a generator, so that leaving it early is safe on every event loop: ``aclose()`` or the end of its
    ``async with`` block cancels the query, and a stream that is dropped without either is cleaned up by the next
    operation on the connection. An exception out of it, a row's that cannot be loaded or made, ends it as well; so does
    the end of the cursor, and that of a transaction which it was begun in.
    """

    def __init__(
        self,
        session: Session,
        query: StreamedQuery,
        begins: Callable[[Result], RowMaker[Row] | None],
        ends: Callable[[Result], None],
    ) -> None:
        self._session = session
        self._query = query
        self._begins = begins
        self._ends = ends
        self._statement: Statement | None = None
        self._encoding = ""
        self._request: StatementRequest | None = None
        self._if_dropped: Finalizer | None = None
        self._runs: deque[tuple[Any, int, int, int]] = deque()
        self._start = 0  # where in the first of them the next row begins
        self._fields: Fields = ()
        self._loads: RowLoads | None = None
        self.rows: Iterator[tuple[Any, ...]] = iter(())
        """For this package: the rows that have been loaded together. Taking one is atomic, among threads too."""
        self.make_row: RowMaker[Row] | None = None
        """For this package: what makes what the user gets of a row; None where that is the tuple."""
        self._begun = False
        self._early = False  # whether rows were taken before the query was at its end
        self._exhausted = False
        self._dropped = False
        self._waiting = False
        self._running: Running | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Row:
        """Return the next row.

        :raises InterfaceError: another task is waiting for one.

        A cancellation cancels the query; the stream is at its end then.
        """
        while True:
            try:
                for row in self.rows:
                    return row if self.make_row is None else self.make_row(row)  # type: ignore[return-value]
            except BaseException:
                await self.aclose()
                raise
            await self.more()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End the stream: cancel the query if it is still running, and make the connection ready.

        :raises InterfaceError: in another event loop than the connection's.

        Takes the connection's grace time at most, whatever cancels it.
        """
        request = self._request
        if request is not None and not request.done:
            self._session.wire.backend.check_here()
        self._end()
        if request is not None and not request.done:
            await self._session.wire.abandon(request)
        self._request = None

    def _end(self) -> None:
        self._exhausted = True
        self.rows = iter(())
        self._runs.clear()
        if self._running is not None:
            self._running.end()
        if self._if_dropped is not None:
            self._if_dropped.call_off()

    @property
    def under_way(self) -> bool:
        """For this package: whether the query has been sent and not come to its end."""
        return self._request is not None and not self._request.done

    async def more(self) -> None:
        """For this package: wait for more rows.

        :raises StopAsyncIteration: there are none.
        :raises InterfaceError: that is being done already.
        """
        self._session.wire.backend.check_here()
        if self._waiting:
            raise InterfaceError(
                "rows of this stream are being waited for by another task or thread: let one iterate and hand the rows "
                "on, by a memory object stream for example, or execute the query once for each"
            )
        self._waiting = True
        try:
            await self._more()
        except StopAsyncIteration:
            raise
        except BaseException as error:
            if self._running is not None:
                self._running.fail(error)
            await self.aclose()
            raise
        finally:
            self._waiting = False

    async def _more(self) -> None:
        wire = self._session.wire
        if length_hint(self.rows):
            # Another thread has got them since this one had seen the end of those before, and has not taken all.
            await wire.backend.checkpoint()
            return
        if self._exhausted:
            await wire.backend.checkpoint()
            if self._dropped:
                raise _dropped()
            raise StopAsyncIteration
        if self._runs:
            await wire.backend.checkpoint()
            self._load()
            return
        while True:
            if self._request is None:
                self._request = await self._begin()
            else:
                await wire.backend.checkpoint()
            request = self._request
            if not request.ready():
                await wire.wait(request)
            assert self._statement is not None
            # Whatever rows came with the error, nobody has seen them.
            unseen = was_victim(request) and not self._begun
            if unseen and await may_repeat(self._session, request, self._statement):
                self._request = None
                continue
            # An error does not take the rows with it that came before.
            result = request.current or (request.results[0] if request.results else None)
            if result is not None and result.runs:
                if self._is_stale(request, result):
                    await self._begin_anew(request)
                    continue
                self._take(request, result)
                return
            if request.error is None or self._begun or not await may_repeat(self._session, request, self._statement):
                self._finish(request)
            self._request = None

    def _is_stale(self, request: StatementRequest, result: Result) -> bool:
        """Return whether the result is not what had been foreseen, so that nothing can be made of it."""
        if self._begun or not request.foreseen or result.fields is None:
            return False
        request.failure = changed_format(self._query.adaptation().transformer(), result.fields)
        return request.failure is not None

    async def _begin_anew(self, request: StatementRequest) -> None:
        """Cancel a query whose result is another than had been foreseen, so that it can be sent again.

        :raises DataError: it has run to its end already, or a transaction has failed with it that is not its own.
        """
        session, statement = self._session, self._statement
        assert statement is not None
        assert request.failure is not None
        self._request = None
        await session.wire.abandon(request)
        forget_if_stale(session, request, statement)
        if request.error is None or not had_own_transaction(request):
            raise request.failure
        await undo_begin(session, request)

    def _take(self, request: StatementRequest, result: Result) -> None:
        assert result.fields is not None
        self._early = self._early or not request.done
        if not self._begun:
            self._begun = True
            self.make_row = self._begins(result)
        self._fields = result.fields
        if self._running is not None:
            event = self._running.event
            event.rows += result.count
            event.bytes += sum([size_of(run, len(self._fields)) for run in result.runs])
        self._runs.extend(result.runs)
        self._start = self._runs[0][1]
        result.runs, result.count = [], 0
        self._loads = RowLoads(self._query.adaptation().transformer(request.parameters), self._fields)
        self._load()

    def _load(self) -> None:
        """Load the next run, as far as that is possible."""
        assert self._loads is not None
        run = self._runs[0]
        rows: list[tuple[Any, ...]] = []
        self._start = self._loads.load(run, self._start, rows)
        if self._start >= run[2]:
            self._runs.popleft()
            self._start = self._runs[0][1] if self._runs else 0
        self.rows = iter(rows)

    def _finish(self, request: StatementRequest) -> NoReturn:
        """Raise what a stream ends in.

        :raises StopAsyncIteration: it has ended well.
        """
        assert self._statement is not None
        if self._dropped:
            self._end()
            raise _dropped()
        if request.error is not None or request.failure is not None or not request.results:
            forget_if_stale(self._session, request, self._statement)
            failure = failure_of(request, None, self._session.composer.statements)
            raise self._session.explained(failure, self._statement, self._encoding)
        if self._early and changed_settings(request):
            raise DataError(
                "the statement changed settings by which its rows are written, and rows had been given out before that "
                "was known; execute it instead of streaming it, or change the settings by another statement"
            )
        if self._running is not None:
            self._running.event.tag = request.results[0].tag
        self._end()
        self._ends(request.results[0])
        raise StopAsyncIteration

    async def _begin(self) -> StatementRequest:
        session = self._session
        query, params, binder, adaptation, binary, size = self._query
        if self._running is None and session.query_tracing is not None:
            self._running = session.query_tracing.begin("stream", query, params, stays=False)
            self._running.event.rows = 0
        tx = adaptation().transformer()
        self._encoding = tx.encoding
        statement = self._statement
        if statement is None:
            # One statement only: what streams is one result.
            self._statement = statement = binder.bind(query, params, tx)._replace(simple=False)
        if binary:
            await describe(session, statement, tx)
        begin = await session.transactions.turn()
        request, data = session.composer.compose(statement, tx, begin, prepare=False, binary=binary)
        request.streaming = size
        request.taker = weakref.ref(self)
        self._request = request  # first, so that it is abandoned whatever interrupts
        if self._if_dropped is not None:
            self._if_dropped.call_off()
        self._if_dropped = Finalizer(self, _abandon, session.wire, request, self._running)
        session.wire.submit(request, data)
        await session.wire.backend.checkpoint()
        return request

    def drop(self) -> None:
        """For this package: end the stream without waiting, in the event loop, unless it is at its end."""
        request = self._request
        if not self._exhausted and request is not None and not request.done:
            # Nothing can be waited for here; whoever reads next drops the rows and cancels the query.
            self._end()
            self._dropped = True
            self._session.wire.drop(request)


def _abandon(wire: Wire, request: StatementRequest, running: Running | None) -> None:
    """Leave the request of a stream behind that nobody has a reference to."""
    if running is not None:
        running.end()
    if not request.done:
        wire.drop(request)


def _dropped() -> OperationalError:
    return OperationalError(
        "the stream was ended before its last row: its cursor was closed, or a transaction rolled back that it was in"
    )
