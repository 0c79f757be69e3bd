"""AsyncRowStream: the rows of one query, taken from the connection as they arrive.

Knows one request under way and its cursor. Must not know messages or sockets.
"""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic

from typing_extensions import Self, TypeVar

from .abc import Params, Query
from .protocol.request import Result
from .rows import RowMaker, TupleRow
from .statements.composer import Statement, StatementRequest

if TYPE_CHECKING:
    # A stream is made by a cursor and works on that cursor; neither can be first.
    from .cursor import AsyncCursor

Row = TypeVar("Row", default=TupleRow)


class AsyncRowStream(Generic[Row]):
    """Asynchronous iterator over the rows of a query; made by :meth:`AsyncCursor.stream`.

    An object and not a generator, so that leaving it early is safe on every event loop: ``aclose()`` or the end of its
    ``async with`` block cancels the query, and a stream that is dropped without either is cleaned up by the next
    operation on the connection.
    """

    def __init__(
        self, cursor: AsyncCursor[Row], query: Query, params: Params | None, binary: bool | None, size: int
    ) -> None:
        self._cursor = cursor
        # A LiteralString is narrowed to str by an assignment; what was checked at the call stays what it is.
        self._query: Any = query
        self._params = params
        self._binary = binary
        self._size = size
        self._statement: Statement | None = None
        self._request: StatementRequest | None = None
        self._rows: list[tuple[Any, ...]] = []
        self._position = 0
        self._make_row: RowMaker[Row] | None = None
        self._exhausted = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Row:
        """Return the next row.

        A cancellation cancels the query; the stream is at its end then.
        """
        if self._position == len(self._rows):
            await self._more()
        return self._next_row()

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
        self._rows = []
        self._position = 0
        request, self._request = self._request, None
        if request is not None and not request.done:
            await self._cursor.connection.wire.abandon(request)

    def _next_row(self) -> Row:
        row = self._rows[self._position]
        self._position += 1
        assert self._make_row is not None
        return self._make_row(row)

    async def _more(self) -> None:
        """Wait for more rows.

        :raises StopAsyncIteration: there are none.
        """
        wire = self._cursor.connection.wire
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
            and await self._cursor._may_repeat(request, self._statement)  # pyright: ignore[reportPrivateUsage]
        ):
            self._request = None
            await self._more()
            return
        self._position = 0
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
        self._rows = []
        self._cursor._end_of_stream(request, self._statement)  # pyright: ignore[reportPrivateUsage]
        raise StopAsyncIteration

    def _take(self, result: Result) -> None:
        if self._make_row is None:
            self._make_row = self._cursor._start_of_stream(result)  # pyright: ignore[reportPrivateUsage]
        self._rows, result.rows = result.rows, []

    async def _start(self) -> StatementRequest:
        cursor = self._cursor
        conn = cursor.connection
        tx = cursor._transformer()  # pyright: ignore[reportPrivateUsage]
        statement: Statement = cursor._bind(self._query, self._params, tx)  # pyright: ignore[reportPrivateUsage]
        # One statement only: what streams is one result.
        self._statement = statement = statement._replace(simple=False)
        if self._binary:
            await cursor._describe(statement, tx)  # pyright: ignore[reportPrivateUsage]
        wire = conn.wire
        begin = await conn.turn()
        request, data = conn.executor.compose(statement, tx, begin, False, self._binary)
        request.streaming = self._size
        wire.submit(request, data)
        self._request = request
        await wire.backend.checkpoint()
        return request

    def _drop(self) -> None:
        request = self._request
        if request is not None and not request.done:
            # Nothing can be waited for here; whoever reads next drops the rows and cancels the query.
            self._cursor.connection.wire.drop(request)

    def __del__(self) -> None:
        self._drop()
