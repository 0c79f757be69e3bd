"""AsyncCursor and its kin: execute statements, fetch rows.

Knows how psycopg's cursors behave. Must not know how a statement is sent, sockets or event loops.
"""

from __future__ import annotations

import weakref
from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol

from typing_extensions import Self, TypeVar

from .abc import Params, Query
from .adapt import AdaptersMap, Transformer
from .adapt.typeinfo import TypesRegistry
from .copy import AsyncCopy, AsyncWriter
from .errors import InterfaceError
from .errors.arguments import check_ints
from .postgres import pristine_adapters
from .pq import PGRESULT, Libpq
from .protocol.constants import Format
from .protocol.request import Result
from .row_stream import AsyncRowStream, StreamedQuery
from .rows import AsyncRowFactory, RowMaker, TupleRow, tuple_row
from .session.cursor_state import NOTHING_SENT, CursorState
from .session.execute import execute, execute_again, refuse_binary
from .session.executemany import ManyExecutions, ManyResults
from .session.info import ConnectionInfo, described
from .session.late import LateHolder
from .session.pipeline import PipelineQueue, own_pipeline, refuse_if_in_pipeline
from .session.session import Adaptation, Held, Session
from .statements.binders import CLIENT_SIDE, RAW, Binder
from .statements.outcome import affected_rows
from .statements.results import ResultsIterator
from .statements.segment import Queued


class CursorOwner(Protocol):
    """What a cursor asks of the connection that made it."""

    row_factory: AsyncRowFactory[Any]

    @property
    def info(self) -> ConnectionInfo: ...

    @property
    def session(self) -> Session: ...

    @property
    def closed(self) -> bool: ...


Row = TypeVar("Row", default=TupleRow)
ConnectionT = TypeVar("ConnectionT", bound=CursorOwner, default=Any)

ROWS_PER_CHECKPOINT = 64
"""``async for`` over rows that have arrived lets other tasks run once for so many rows."""


class AsyncCursor(LateHolder[Row], CursorState, Generic[Row, ConnectionT]):
    """Executes statements on a connection and holds their results.

    Made by :meth:`AsyncConnection.cursor`. Several cursors of one connection, in one task or in many, may execute at
    the same time: their statements are pipelined. One cursor is for one task at a time.

    :param row_factory: makes rows from values; by default the connection's.
    """

    is_named: ClassVar[bool] = False
    """For this package: whether it is made with a name."""

    pgresult = Libpq(PGRESULT)

    _label = ""
    """What it is shown by, besides its state."""
    _stream: weakref.ref[AsyncRowStream[Any]] | None = None
    """The last one."""

    if TYPE_CHECKING:

        def __init__(self, connection: ConnectionT, *, row_factory: AsyncRowFactory[Row] | None = None) -> None: ...

    @classmethod
    def of_driver(cls, connection: ConnectionT) -> AsyncCursor[TupleRow, ConnectionT]:
        """For this package: return one for queries of the driver's own, which knows nothing of what a user has set."""
        make: Any = cls
        cursor: AsyncCursor[TupleRow, ConnectionT] = make(connection, row_factory=tuple_row)
        cursor._held = Held(cursor._session.adaptation.with_adapters(pristine_adapters), private=True)
        return cursor

    def __repr__(self) -> str:
        state = "closed" if self.closed else ("no result" if self._result is None else self.statusmessage or "ready")
        return described(self, f"{self._label}[{state}] {self._conn.info.summary()}")

    # -- what it is

    @property
    def connection(self) -> ConnectionT:
        """The connection that the cursor executes on."""
        return self._conn  # type: ignore[no-any-return]  # any kind of it has the same state

    @property
    def adapters(self) -> AdaptersMap:
        """The adapters of this cursor, which are the connection's as they were when it was made.

        What is registered here changes neither the connection's nor the global ones.
        """
        if not self._held.private:
            self._held = Held(self._adaptation().copy(), private=True)
            for result in self._results:
                result.loads = None  # it is by the session's adapters
            if self.late is not None:
                self.late.reloads = True
        # What is registered now counts for rows that are not fetched yet.
        self.forget_loaded()
        return self._adaptation().adapters

    @property
    def format(self) -> Format:
        """BINARY to ask for binary results always, as ``cursor(binary=True)`` does."""
        return self._format

    @format.setter
    def format(self, format: Format) -> None:
        self._format = format if type(format) is Format else Format(format)

    @property
    def closed(self) -> bool:
        """Whether the cursor is closed, or its connection is."""
        return self._closed or self._conn.closed

    # -- executing

    async def execute(
        self,
        query: Query,
        params: Params | None = None,
        *,
        prepare: bool | None = None,
        binary: bool | None = None,
    ) -> Self:
        """Execute a statement; without parameters there may be several, separated by semicolons.

        :param query: a string, an object of :mod:`anyq.sql`, bytes, or a template string with its parameters in it.
        :param params: values for the placeholders, a sequence or a mapping.
        :param prepare: True to prepare the statement now, False never to; None leaves it to how often it is run.
        :param binary: True for results in binary format, False for text; None for what is faster.
        :return: the cursor itself.
        :raises ProgrammingError: wrong placeholders or parameters, or the statement is wrong.
        :raises Error: what the server says, by SQLSTATE.

        A cancellation cancels the statement on the server; the connection is ready or closed within the grace time.
        Whether the statement took effect is not known then, as after a lost connection; in a transaction it can be
        rolled back.

        Manual: "Extended Query" (protocol-flow).
        """
        try:
            run = self.send_remembered(query, params, prepare, binary)
            if run is None:
                await self.execute_unknown(query, params, prepare, binary)
            else:
                await run
                if not self.has_arrived():
                    await self.finish_remembered(query, params)
        except BaseException as error:
            if self._running is not None:
                self._running.fail(error)
            raise
        return self

    async def finish_remembered(self, query: Any, params: Params | None) -> None:
        """For this package: execute a remembered query again if that has failed, and may be; else raise its error."""
        (request, data), self._sent = self._sent, NOTHING_SENT
        if request is not None:
            key = (query,) if params is None else query
            self.take_executed(await execute_again(self._session, request, data, key))
        if self._session.settle is not None:
            await self._session.settle()

    async def execute_unknown(
        self, query: Query, params: Params | None, prepare: bool | None, binary: bool | None
    ) -> None:
        """For this package: execute a statement that is not remembered, or has anything special about it."""
        session = self._session
        if session.transactions.pipelines:
            pipeline = own_pipeline(session)
            if pipeline is not None:
                await pipeline.checkpoint()
                if self.queue(pipeline, query, params, prepare, binary):
                    await pipeline.flush()
                return
        self.begin()
        if binary is None and self._format:
            binary = True
        if session.query_tracing is not None and self._running is None:
            self._running = session.query_tracing.begin("execute", query, params)
        self.take_executed(await execute(session, query, params, self._binder, self._held.adaptation, prepare, binary))
        if session.settle is not None:
            await session.settle()

    async def executemany(self, query: Query, params_seq: Iterable[Params], *, returning: bool = False) -> None:
        """Execute a statement once for each set of parameters, pipelined: a batch costs one round trip.

        :param params_seq: the sets of parameters; consumed as they are sent, so it may be a generator.
        :param returning: keep the results, one for each set: see :meth:`results` and :meth:`nextset`.
        :raises Error: at the first set that fails; all of them are one transaction, even in autocommit mode, unless
            the statement itself ends it.

        ``rowcount`` is the sum over all sets. A cancellation, like an error, rolls back what was sent in autocommit
        mode; after the last set was, all of them may have taken effect.
        """
        many = self.begin_many(query, returning)
        await many.feed(params_seq, last=True)
        self.take_many(many.outcome)
        if self._session.settle is not None:
            await self._session.settle()

    def stream(
        self, query: Query, params: Params | None = None, *, binary: bool | None = None, size: int = 1
    ) -> AsyncRowStream[Row]:
        """Execute a query and give its rows as they arrive, without keeping them.

        Use it as ``async for row in cur.stream(...)``, and to leave early as ``async with cur.stream(...) as rows``.

        :param size: rows wanted in one go at least; more are given as soon as they have arrived.
        :raises ProgrammingError: the statement returns no rows.

        While nobody takes rows none are read, and the server waits. Other statements on the connection go on
        meanwhile: then the rows that come before their replies are kept in memory. Leaving early, or a cancellation,
        cancels the query, and with it the transaction that it is in.
        """
        self.check_open()
        check_ints(1, size=size)
        self.forget_results()
        if binary is None and self._format:
            binary = True
        if not self._binder.extended:
            refuse_binary(binary)
        refuse_if_in_pipeline(self._session, "stream()")
        statement = StreamedQuery(query, params, self._binder, self._adaptation, binary, size)
        stream: AsyncRowStream[Row] = AsyncRowStream(self._session, statement, self._stream_begins, self._stream_ends)
        self._stream = weakref.ref(stream)
        return stream

    def queue(
        self, pipeline: PipelineQueue, query: Query, params: Params | None, prepare: bool | None, binary: bool | None
    ) -> bool:
        """For this package: queue a statement, from any thread; return whether the pipeline is to be flushed."""
        self.check_open()
        self.forget_results()
        binder = self._binder
        if binary is None and self._format:
            binary = True
        if not binder.extended:
            refuse_binary(binary)
            prepare = False
        tx = self._adaptation().transformer()
        statement = binder.bind(query, params, tx)
        make = Queued if self._session.query_tracing is None else self._session.query_tracing.queued(query, params)
        return self.queue_late(pipeline, make(statement, tx, prepare, binary))

    def copy(
        self, statement: Query, params: Params | None = None, *, writer: AsyncWriter | None = None
    ) -> AsyncCopy[ConnectionT]:
        """Copy data from the client to the server, or the other way: ``async with cur.copy(...) as copy``.

        :param statement: COPY ... FROM STDIN or COPY ... TO STDOUT.
        :param params: values for the placeholders, which are put into the text: COPY takes none on the server.
        :param writer: what takes the data that is written, instead of the server.
        :raises ProgrammingError: it is another statement, as the block is entered.

        See :class:`AsyncCopy`. Manual: "COPY Operations" (protocol-flow).
        """
        self.check_open()
        return AsyncCopy(self, writer=writer).with_statement(statement, params)

    # -- fetching

    async def fetchone(self) -> Row | None:
        """Return the next row, or None after the last one.

        :raises ProgrammingError: there is no result, or it has no rows.
        """
        if not self.may_fetch():
            await (self._checkpoint() if self.late is None else self.arrive())
        return self.next_row()

    async def fetchmany(self, size: int = 0) -> list[Row]:
        """Return the next `size` rows, or as many as are left.

        :param size: rows; by default :attr:`arraysize`.
        :raises ProgrammingError: there is no result, or it has no rows.
        """
        return await self._take(size or 0)

    async def fetchall(self) -> list[Row]:
        """Return all rows that are left.

        :raises ProgrammingError: there is no result, or it has no rows.
        """
        return await self._take(None)

    def __aiter__(self) -> Self:
        self.check_open()
        return self

    async def __anext__(self) -> Row:
        if self._position % ROWS_PER_CHECKPOINT == 0:
            await (self._checkpoint() if self.late is None else self.arrive())
        # Another task may have taken rows meanwhile; from here on nothing is waited for.
        position = self._position
        number = position - self._window_start
        row = self._window[number] if 0 <= number < len(self._window) else self._load(position)
        if row is None:
            raise StopAsyncIteration
        self._position = position + 1
        return row if self._make_row is None else self._make_row(row)  # type: ignore[return-value]

    async def _take(self, size: int | None) -> list[Row]:
        await (self._checkpoint() if self.late is None else self.arrive())
        taking = self.take_rows(size)
        try:
            while True:
                try:
                    next(taking)
                except StopIteration as end:
                    rows: list[Row] = end.value
                    return rows
                # It takes a moment, and there is no end to how many there may be.
                await self._checkpoint()
        finally:
            taking.close()

    def _checkpoint(self) -> Awaitable[None]:
        """Let others run, and check for cancellation: only that where `execute()` has just let them."""
        if self._rested:
            self._rested = False
            return self._session.wire.backend.checkpoint_if_cancelled()
        return self._session.wire.backend.checkpoint()

    async def scroll(self, value: int, mode: str = "relative") -> None:
        """Move to another row of the result.

        :param value: rows, from where the cursor is (`mode` "relative") or from the first row ("absolute").
        :raises IndexError: there is no such row; the cursor stays where it is.
        """
        await (self._session.wire.backend.checkpoint() if self.late is None else self.arrive())
        self.move(value, mode)

    # -- several results

    def results(self) -> AsyncIterator[Self]:
        """Iterate over the results of several statements, from where the cursor is: it is yielded once for each."""
        return ResultsIterator(self, self._checkpoint_of_results)

    def _checkpoint_of_results(self) -> Awaitable[None]:
        return self._session.wire.backend.checkpoint() if self.late is None else self.arrive()

    async def set_result(self, index: int) -> Self:
        """Go to the result of the statement at `index`, from 0; negative ones count from the last.

        :raises IndexError: there is no such result.
        """
        await (self._session.wire.backend.checkpoint() if self.late is None else self.arrive())
        self.go_to_result(index)
        return self

    # -- the end, and PEP 249's formalities

    async def close(self) -> None:
        """Close the cursor and forget its result. A stream of it is ended. The connection stays open."""
        self.drop_stream()
        self.end()
        await self._session.wire.backend.checkpoint()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        # No checkpoint: nothing is waited for, and a cancellation here would hide the error that is on its way.
        self.drop_stream()
        self.end()

    def setinputsizes(self, sizes: Sequence[Any]) -> None:
        """Do nothing (PEP 249): sizes are not needed."""

    def setoutputsize(self, size: int, column: int | None = None) -> None:
        """Do nothing (PEP 249): sizes are not needed."""

    # -- its own

    def parts_for_copy(self) -> tuple[Session, Adaptation, Binder]:
        """For this package: return what a COPY works on, and what puts parameters into its text."""
        return self._session, self._adaptation(), RAW if self._binder is RAW else CLIENT_SIDE

    @property
    def has_stream(self) -> bool:
        """For this package: whether there is a stream that has to be ended with the cursor."""
        stream = None if self._stream is None else self._stream()
        return stream is not None and stream.under_way

    def drop_stream(self) -> None:
        """For this package: end the stream that was made last, in the event loop, without waiting."""
        if self._stream is not None:
            stream = self._stream()
            if stream is not None:
                stream.drop()

    def begin_many(self, query: Query, returning: bool) -> ManyExecutions:
        """For this package: begin an executemany(), to be fed with sets of parameters."""
        self.check_open()
        self.forget_results()
        return ManyExecutions(self._session, query, self._binder, self._adaptation().transformer(), returning=returning)

    def take_many(self, outcome: ManyResults) -> None:
        """For this package: take what an executemany() has given."""
        if outcome.request.results:
            self.take_request(outcome.request)
        else:
            self._result, self._rowcount = outcome.last, outcome.rowcount

    def _stream_begins(self, result: Result) -> RowMaker[Any] | None:
        """Take the result whose rows are about to be streamed; return what makes rows, None for tuples."""
        self._select(result, 0)
        self._rowcount = -1
        return self._make_row

    def _stream_ends(self, result: Result) -> None:
        """Take the end of a streamed result.

        :raises ProgrammingError: it is none of a query.
        """
        self._select(result, 0)
        self._rowcount = affected_rows(result.tag)
        self._with_rows()

    def _adaptation(self) -> Adaptation:
        return self._held.adaptation or self._session.adaptation

    def _types(self) -> TypesRegistry:
        return self._adaptation().adapters.types

    def _transformer(self, parameters: Mapping[str, str] | None) -> Transformer:
        return self._adaptation().transformer(parameters)

    def check_open(self) -> None:
        """For this package: raise if the cursor cannot be used."""
        if self._closed:
            raise InterfaceError("the cursor is closed; make a new one with connection.cursor()")
        self._session.check_open()


class AsyncClientCursor(AsyncCursor[Row, ConnectionT]):
    """A cursor that puts parameters into the statement as literals, and sends text.

    For statements that take no parameters on the server (``CREATE``, ``SET``, ``NOTIFY``...), and for servers and
    poolers without the extended protocol.
    """

    _binder = CLIENT_SIDE

    def mogrify(self, query: Query, params: Params | None = None) -> str:
        """Return the statement with its parameters as it would be sent."""
        self.check_open()
        tx = self._adaptation().transformer()
        return self._binder.bind(query, params, tx).sql.decode(tx.encoding)


class AsyncRawCursor(AsyncCursor[Row, ConnectionT]):
    """A cursor whose statements are written with PostgreSQL's own placeholders, ``$1``, ``$2``, ..."""

    _binder = RAW
