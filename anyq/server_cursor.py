"""AsyncServerCursor and its kin: named cursors, whose rows stay on the server until they are fetched.

Knows how psycopg's server-side cursors behave, and when which rows are asked for. Must not know how a statement is
sent, sockets or event loops.

Manual: "DECLARE", "FETCH".
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable
from functools import partial
from operator import index
from types import TracebackType

from typing_extensions import Self, TypeVar

from .abc import Params, Query
from .adapt import AdaptersMap
from .adapt.encodings import python_codec
from .backends import Finalizer, uninterrupted
from .copy import AsyncCopy, AsyncWriter
from .cursor import ROWS_PER_CHECKPOINT, AsyncCursor, ConnectionT
from .errors import Error, InterfaceError, NotSupportedError, OperationalError, ProgrammingError
from .errors.arguments import check_ints, int_of
from .protocol.request import Result
from .row_stream import AsyncRowStream
from .rows import AsyncRowFactory, TupleRow
from .session.named_cursors import Fetching, Piece, close, declare, describe
from .session.pipeline import PipelineQueue, refuse_if_in_pipeline, refuse_in_pipeline
from .statements.binders import RAW
from .statements.declare import MOST_ROWS, DeclareRequest, Options, check_name
from .statements.layout import Layouts
from .statements.outcome import no_rows_message
from .statements.pieces import PieceHolder

logger = logging.getLogger("anyq")

FOR_NAMED_CURSORS = "scrollable and withhold are for named cursors: write cursor(name, ...)"
"""Why they are refused for others."""

Row = TypeVar("Row", default=TupleRow)


class AsyncServerCursor(PieceHolder[Row], AsyncCursor[Row, ConnectionT]):
    """A named cursor: its query runs on the server as far as rows are fetched, and they are not kept in memory.

    Made by ``AsyncConnection.cursor(name)``. It lives until the end of the transaction that it is executed in, or with
    `withhold` until it is closed. One that was declared otherwise, by a statement or a function, is fetched from
    without being executed. It is for one task at a time.

    :param name: 63 bytes at most; whatever is in it, it is quoted.
    :param row_factory: makes rows from values; by default the connection's.
    :param scrollable: True to be able to go backwards, False not to; None leaves it to what costs the server nothing.
    :param withhold: True to fetch rows after the transaction was committed, too.
    :raises ProgrammingError: the name is one that no cursor can have.
    """

    is_named = True

    itersize: int = 100
    """How many rows ``async for`` fetches at once."""

    def __init__(
        self,
        connection: ConnectionT,
        name: str,
        *,
        row_factory: AsyncRowFactory[Row] | None = None,
        scrollable: bool | None = None,
        withhold: bool = False,
    ) -> None:
        self._behind = deque()
        super().__init__(connection, row_factory=row_factory)
        session = self._session
        server = session.wire.protocol.parameters.get("server_encoding", "UTF8")
        check_name(name, session.encoding, python_codec(server))
        self._label = f"{name!r} "
        self._options = Options(name, None if scrollable is None else bool(scrollable), bool(withhold))
        self._declared: DeclareRequest | None = None  # by this object
        self._fetching: Fetching | None = None  # since it is known which columns there are
        self._adopts = True  # whether a cursor is taken that somebody else has declared
        self._binary: bool | None = None
        self._busy = False
        self._at_end = False  # whether the server is behind the last row
        self._exhausted = False  # whether an iteration need not ask for more
        self._if_dropped: Finalizer | None = None

    # -- what it is

    @property
    def name(self) -> str:
        """The name of the cursor."""
        return self._options.name

    @property
    def scrollable(self) -> bool | None:
        """Whether it can go backwards; None leaves it to the server."""
        return self._options.scrollable

    @property
    def withhold(self) -> bool:
        """Whether rows can be fetched after the transaction was committed."""
        return self._options.withhold

    @property
    def adapters(self) -> AdaptersMap:
        """The adapters of this cursor, which are the connection's as they were when it was made."""
        for _, result in self._behind:
            result.loads = None
        return super().adapters

    # -- executing

    @uninterrupted
    async def execute(
        self,
        query: Query,
        params: Params | None = None,
        *,
        prepare: bool | None = None,
        binary: bool | None = None,
    ) -> Self:
        """Declare the cursor for a query, of which no row is fetched yet. What it had before is closed.

        :param params: values for the placeholders, a sequence or a mapping; bound by the server.
        :param prepare: not for named cursors: only None and False are taken.
        :param binary: True for results in binary format, False for text; None for what is faster.
        :return: the cursor itself.
        :raises ProgrammingError: wrong placeholders or parameters, or the statement is wrong, or no query.
        :raises NoActiveSqlTransaction: in autocommit mode outside of a transaction, without `withhold`.
        :raises Error: what the server says, by SQLSTATE.

        A cancellation leaves no cursor on the server: it is cancelled, or closed with the next statement.
        """
        self.check_open()
        if prepare:
            raise NotSupportedError("the query of a named cursor is not prepared: leave out prepare=True")
        self._begin_operation()
        try:
            session = self._session
            self.forget_results()
            self._adopts = False
            tx = self._adaptation().transformer()
            statement = self._binder.bind(query, params, tx)
            run = partial(declare, session, statement, tx, self._options, self._declared, self._begun)
            request = await (
                session.query_tracing.observe("declare", query, params, run) if session.query_tracing else run()
            )
            layouts = Layouts(request.description[0])
            self._binary = True if binary is None and self._format else binary
            self._begin_fetching(Fetching(session, self.name, layouts, statement), request.results[0], 0)
            if session.settle is not None:
                await session.settle()
            self._rested = True
        finally:
            self._busy = False
        return self

    def _begun(self, request: DeclareRequest) -> None:
        """Have a request that is about to be sent: whatever interrupts from here on, what it declares is closed."""
        finalizer, self._if_dropped = self._if_dropped, None
        self._if_dropped = Finalizer(self, self._session.cursors.close_later, self.name, request)
        self._declared = request
        if finalizer is not None:
            finalizer.call_off()

    def _begin_fetching(self, fetching: Fetching, result: Result, before: int | None) -> None:
        self._fetching = fetching
        self.begin_pieces(fetching.described(result), before)

    def forget_results(self) -> None:
        super().forget_results()
        self._fetching = None
        self._at_end = self._exhausted = False

    def queue(
        self, pipeline: PipelineQueue, query: Query, params: Params | None, prepare: bool | None, binary: bool | None
    ) -> bool:
        """For this package: refuse to be a part of a pipeline.

        :raises ProgrammingError: always.
        """
        refuse_in_pipeline("a named cursor")

    async def executemany(self, query: Query, params_seq: Iterable[Params], *, returning: bool = False) -> None:
        """Refuse: it is not for named cursors.

        :raises NotSupportedError: always.
        """
        raise _not_for_named("executemany()", "use a cursor without a name")

    def stream(
        self, query: Query, params: Params | None = None, *, binary: bool | None = None, size: int = 1
    ) -> AsyncRowStream[Row]:
        """Refuse: it is not for named cursors.

        :raises NotSupportedError: always.
        """
        raise _not_for_named("stream()", "iterate over the cursor, or use one without a name")

    def copy(
        self, statement: Query, params: Params | None = None, *, writer: AsyncWriter | None = None
    ) -> AsyncCopy[ConnectionT]:
        """Refuse: it is not for named cursors.

        :raises NotSupportedError: always.
        """
        raise _not_for_named("copy()", "use a cursor without a name")

    # -- fetching

    async def fetchone(self) -> Row | None:
        """Return the next row, or None after the last one.

        :raises InvalidCursorName: there is no such cursor on the server, or no more.
        :raises OperationalError: a fetch before was cancelled or has failed, so that rows are lost.

        What has come for an iteration is taken first; then one row is fetched. A cancellation, when rows are being
        fetched, cancels that: they are lost, and nothing more is fetched until the cursor is executed again or has
        gone to a row by ``scroll(..., "absolute")``.
        """
        await self.have_rows(1)
        await self._checkpoint()
        return self.next_row()

    async def fetchmany(self, size: int = 0) -> list[Row]:
        """Return the next `size` rows, or as many as are left.

        :param size: rows; by default :attr:`arraysize`.
        :raises InvalidCursorName: as for :meth:`fetchone`; so is what a cancellation does.
        """
        size = self.check_size(size)
        await self.have_rows(size)
        return await self._take(size)

    async def fetchall(self) -> list[Row]:
        """Return all rows that are left.

        :raises InvalidCursorName: as for :meth:`fetchone`; so is what a cancellation does.
        """
        await self.have_rows(None)
        return await self._take(None)

    def __aiter__(self) -> Self:
        self.begin_iteration()
        return self

    async def __anext__(self) -> Row:
        position = self._position
        number = position - self._window_start
        if 0 <= number < len(self._window) and position % ROWS_PER_CHECKPOINT:
            row = self._window[number]
            self._position = position + 1
            return row if self._make_row is None else self._make_row(row)  # type: ignore[return-value]
        if self.rows_left or self._exhausted:
            await self._checkpoint()
        if not (self.rows_left or await self.have_next()):
            raise StopAsyncIteration
        return self.next_row()  # type: ignore[return-value]

    async def scroll(self, value: int, mode: str = "relative") -> None:
        """Move to another row of the result.

        :param value: rows, from where the cursor is (`mode` "relative") or from the first row ("absolute").
        :raises IndexError: there is no such row; if it would be behind the last one, the cursor is there then.
        :raises Error: what the server says, such as that the cursor cannot go backwards.

        The row is fetched with it, so the server is on that row. A cancellation is that of :meth:`fetchone`.
        """
        if mode not in ("relative", "absolute"):
            raise ValueError(f"mode must be 'relative' or 'absolute', not {mode!r}")
        self.check_open()
        value, number = int_of("value", value), self.rownumber
        target = value if mode == "absolute" else None if number is None else number + value
        if target is not None and target < 0:
            await self._checkpoint()
            raise IndexError(f"position {target} is before the first row")
        ahead = value if mode == "relative" else -1 if number is None else value - number
        if self._result is not None and 0 <= ahead < self._result.count - self._position:
            await self._checkpoint()
            self._position += ahead
        elif mode == "absolute":
            await self._go_to("ABSOLUTE", value + 1, target)
        else:
            # Counted from where the server is.
            await self._go_to("RELATIVE", value + 1 - self.rows_left - self._at_end, target)

    async def _go_to(self, how: str, count: int, target: int | None) -> None:
        """Have the row in memory that the server is to go to, and no other."""
        if abs(count) > MOST_ROWS:
            raise ValueError(f"a cursor can be moved by {MOST_ROWS} rows at most, and not by {count}")
        piece = await self._fetch(f"{how} {count}", absolutely=how == "ABSOLUTE")
        found = piece.result.count > 0
        behind = count > 0 or count == 0 and self._at_end  # 0 stays where it is, which may be behind the last row
        self._at_end = self._exhausted = behind and not found
        self.begin_pieces(piece.result, target if found else None if behind else 0, piece.request)
        self._found()
        if not found:
            raise IndexError(f"there is no such row: it would be {'behind the last' if behind else 'before the first'}")

    # -- fetching, as the synchronous cursor does it too

    def begin_iteration(self) -> None:
        """For this package: ask the server for more rows, if that has been done in vain before."""
        self.check_open()
        self._exhausted = False

    async def have_rows(self, count: int | None) -> None:
        """For this package: have so many rows in memory, all for None, or those that are left."""
        left = self.rows_left
        if count is not None:
            if count <= left:
                return
            if count - left > MOST_ROWS:
                count = None
        wanted = None if count is None else count - left
        piece = await self._fetch(f"FORWARD {'ALL' if wanted is None else wanted}")
        self._at_end = self._exhausted = wanted is None or piece.result.count < wanted
        self.add_piece(piece.request, piece.result)
        self._found()

    async def have_next(self) -> bool:
        """For this package: have rows in memory, those of a piece at most; return whether there are any."""
        if not (self.rows_left or self._exhausted):
            check_ints(1, itersize=self.itersize)
            await self.have_rows(index(self.itersize))
        return self.rows_left > 0

    @uninterrupted
    async def _fetch(self, direction: str, *, absolutely: bool = False) -> Piece:
        """Fetch rows, which are lost until :meth:`_found`."""
        self.check_open()
        self._begin_operation()
        try:
            fetching = self._fetching or await self._adopt()
            if fetching.lost and not absolutely:
                raise OperationalError(
                    f"rows of cursor {self.name!r} were lost, as a fetch was cancelled or has failed: execute it "
                    "again, or if it is scrollable go to a row by scroll(..., 'absolute')"
                )
            cursors = self._session.cursors
            if self._declared is not None and cursors.owner(self.name) is not self._declared:
                raise ProgrammingError(f"cursor {self.name!r} has been declared anew, by another object of that name")
            piece = await fetching.fetch(direction, self._adaptation().transformer(), self._binary)
            self.check_open()
            self._rested = True
            return piece
        finally:
            self._busy = False

    def _found(self) -> None:
        if self._fetching is not None:
            self._fetching.lost = False

    async def _adopt(self) -> Fetching:
        """Take the cursor that somebody else has declared."""
        if not self._adopts:
            raise ProgrammingError(no_rows_message(None))
        session = self._session
        layouts = Layouts(await describe(session, self.name, self._adaptation().transformer()))
        self._binary = True if self._format else None
        self._begin_fetching(Fetching(session, self.name, layouts, None), Result(), None)
        assert self._fetching is not None
        return self._fetching

    def _begin_operation(self) -> None:
        self._session.wire.backend.check_here()
        refuse_if_in_pipeline(self._session, "a named cursor")
        if self._busy:
            raise InterfaceError(
                "rows of this cursor are being waited for by another task or thread: let one fetch and hand the rows "
                "on, by a memory object stream for example, or make a cursor of another name for each"
            )
        self._busy = True

    # -- the end

    @uninterrupted
    async def close(self) -> None:
        """Close the cursor, here and on the server. The connection stays open.

        It is closed on the server if this object has executed it or fetched from it, whatever has become of the
        transaction; what is gone already is no error. A cancellation does not undo it.
        """
        await self._close(wait=True)
        await self._session.wire.backend.checkpoint()

    @uninterrupted
    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        cancelled = isinstance(exc_val, self._session.wire.backend.cancelled_exc_class)
        try:
            await self._close(wait=not cancelled)
        except Error as error:
            if exc_val is None:
                raise
            # The first error is the one to know about.
            logger.warning("error ignored in closing of %s: %s", self, error)

    @uninterrupted
    async def _close(self, *, wait: bool) -> None:
        is_there = self.is_on_server
        self.end()
        if is_there:
            await close(self._session, self.name, wait=wait)
        # Only now: where that is interrupted, it is closed when this object is dropped, or closed again.
        if self._declared is not None:
            self._session.cursors.closed(self.name, self._declared)
        if self._if_dropped is not None:
            self._if_dropped.call_off()

    @property
    def is_on_server(self) -> bool:
        """For this package: whether this object has to close a cursor on the server, as far as it knows."""
        if self._session.closed:
            return False
        owner = self._session.cursors.owner(self.name)
        return owner is self._declared and (owner is not None or self._fetching is not None)


class AsyncRawServerCursor(AsyncServerCursor[Row, ConnectionT]):
    """A named cursor whose query is written with PostgreSQL's own placeholders, ``$1``, ``$2``, ..."""

    _binder = RAW


def _not_for_named(what: str, instead: str) -> NotSupportedError:
    return NotSupportedError(f"{what} is not for named cursors: {instead}")
