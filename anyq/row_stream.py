"""AsyncRowStream: the rows of one query, taken from the connection as they arrive.

Knows one request under way. Must not know messages, sockets, or what a cursor does with the end of a result.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Generic, NamedTuple

from typing_extensions import Self, TypeVar

from .abc import Params
from .protocol.request import Result
from .rows import RowMaker, TupleRow
from .session.execute import describe, may_repeat
from .session.session import Adaptation, Session
from .statements.binders import Binder
from .statements.outcome import failure_of, went_stale
from .statements.requests import StatementRequest
from .statements.statement import Statement

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


class AsyncRowStream(Generic[Row]):
    """Asynchronous iterator over the rows of a query; made by :meth:`AsyncCursor.stream`.

    An object and not a generator, so that leaving it early is safe on every event loop: ``aclose()`` or the end of its
    ``async with`` block cancels the query, and a stream that is dropped without either is cleaned up by the next
    operation on the connection.
    """

    def __init__(
        self,
        session: Session,
        query: StreamedQuery,
        begins: Callable[[Result], RowMaker[Row]],
        ends: Callable[[Result], None],
    ) -> None:
        self._session = session
        self._query = query
        self._begins = begins
        self._ends = ends
        self._statement: Statement | None = None
        self._encoding = ""
        self._request: StatementRequest | None = None
        self.rows: list[tuple[Any, ...]] = []
        """For this package: the rows that have arrived together."""
        self.position = 0
        """For this package: the index of the next one of them."""
        self._make_row: RowMaker[Row] | None = None
        self._exhausted = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Row:
        """Return the next row.

        A cancellation cancels the query; the stream is at its end then.
        """
        if self.position == len(self.rows):
            await self.more()
        return self.next_row()

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

        Takes the connection's grace time at most, whatever cancels it.
        """
        self._exhausted = True
        self.rows = []
        self.position = 0
        request, self._request = self._request, None
        if request is not None and not request.done:
            await self._session.wire.abandon(request)

    @property
    def under_way(self) -> bool:
        """For this package: whether the query has been sent and not come to its end."""
        return self._request is not None and not self._request.done

    def next_row(self) -> Row:
        """For this package: return the row at :attr:`position`, and go to the next one."""
        row = self.rows[self.position]
        self.position += 1
        assert self._make_row is not None
        return self._make_row(row)

    async def more(self) -> None:
        """For this package: wait for more rows.

        :raises StopAsyncIteration: there are none.
        """
        wire = self._session.wire
        if self._exhausted:
            await wire.backend.checkpoint()
            raise StopAsyncIteration
        try:
            if self._request is None:
                self._request = await self._start()
            else:
                await wire.backend.checkpoint()
            request = self._request
            if not request.ready():
                await wire.wait(request)
        except BaseException:
            await self.aclose()
            raise
        assert self._statement is not None
        if (
            request.error is not None
            and self._make_row is None  # nobody has seen a row of it yet
            and await may_repeat(self._session, request, self._statement.key)
        ):
            self._request = None
            await self.more()
            return
        self.position = 0
        # An error does not take the rows with it that came before.
        result = request.current or (request.results[0] if request.results else None)
        if result is not None and result.rows:
            self._take(result)
            return
        if request.failure is not None:
            # There may be no end to the rows that nobody wants any more.
            await self.aclose()
            raise request.failure
        self._exhausted = True
        self.rows = []
        if request.error is not None or not request.results:
            composer = self._session.composer
            if went_stale(request):
                composer.forget(self._statement.key)
            failure = failure_of(request, None, composer.statements)
            raise self._session.explained(failure, self._statement, self._encoding)
        self._ends(request.results[0])
        raise StopAsyncIteration

    def _take(self, result: Result) -> None:
        if self._make_row is None:
            self._make_row = self._begins(result)
        self.rows, result.rows = result.rows, []

    async def _start(self) -> StatementRequest:
        session = self._session
        query, params, binder, adaptation, binary, size = self._query
        tx = adaptation().transformer()
        self._encoding = tx.encoding
        # One statement only: what streams is one result.
        self._statement = statement = binder.bind(query, params, tx)._replace(simple=False)
        if binary:
            await describe(session, statement, tx)
        begin = await session.transactions.turn()
        request, data = session.composer.compose(statement, tx, begin, prepare=False, binary=binary)
        request.streaming = size
        session.wire.submit(request, data)
        self._request = request
        await session.wire.backend.checkpoint()
        return request

    def drop(self) -> None:
        """For this package: end the stream without waiting, in the event loop."""
        request = self._request
        if request is not None and not request.done:
            # Nothing can be waited for here; whoever reads next drops the rows and cancels the query.
            self._session.wire.drop(request)

    def __del__(self) -> None:
        self.drop()
