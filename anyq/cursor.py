"""AsyncCursor and its kin: execute statements, fetch rows.

Knows how psycopg's cursors behave. Must not know messages (that is ``_execution``), sockets or event loops.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from typing_extensions import Self, TypeVar

from .abc import Params, Query
from .adapt import AdaptersMap, Transformer
from .adapt.typeinfo import TypesRegistry
from .errors import InterfaceError, NotSupportedError, OperationalError
from .protocol.constants import Format
from .protocol.request import Result
from .protocol.state import ENDED
from .row_stream import AsyncRowStream
from .rows import AsyncRowFactory, RowMaker, TupleRow
from .session.cancelling import was_victim
from .session.executemany import executemany
from .statements import placeholders as _queries
from .statements.composer import (
    QueryKey,
    RememberedRequest,
    Statement,
    StatementRequest,
    affected_rows,
    had_own_transaction,
    is_repeatable,
    went_stale,
    with_advice,
    without_begin,
)
from .statements.placeholders import QueryPlan
from .statements.results import ResultHolder

if TYPE_CHECKING:
    # The connection makes cursors, so it imports this module; a cursor only holds the connection that made it.
    from .connection import AsyncConnection

Row = TypeVar("Row", default=TupleRow)
AnyRow = TypeVar("AnyRow")
CursorT = TypeVar("CursorT", bound="AsyncCursor[Any]")

_ONLY_TEXT = "a client cursor gets its results as text; use another cursor for binary ones"

ROWS_PER_CHECKPOINT = 64
"""``async for`` over rows that have arrived lets other tasks run once for so many rows."""


class AsyncCursor(ResultHolder[Row]):
    """Executes statements on a connection and holds their results.

    Made by :meth:`AsyncConnection.cursor`. Several cursors of one connection, in one task or in many, may execute at
    the same time: their statements are pipelined. One cursor is for one task at a time.

    :param row_factory: makes rows from values; by default the connection's.
    """

    _format = Format.TEXT
    _remembers = True
    """Whether what was learned from a query that has the same text holds for this cursor."""
    _adapters: AdaptersMap | None = None
    _tx: Transformer | None = None
    _tx_version = -1

    def __init__(self, connection: AsyncConnection[Any], *, row_factory: AsyncRowFactory[Row] | None = None) -> None:
        self._row_factory = row_factory or connection.row_factory
        self._conn = connection

    def __repr__(self) -> str:
        state = "closed" if self.closed else ("no result" if self._result is None else self.statusmessage or "ready")
        return f"<{type(self).__module__}.{type(self).__qualname__} [{state}] at 0x{id(self):x}>"

    # -- what it is

    @property
    def connection(self) -> AsyncConnection[Any]:
        """The connection that the cursor executes on."""
        return self._conn

    @property
    def adapters(self) -> AdaptersMap:
        """The adapters of this cursor: what is registered here changes neither the connection's nor the global ones."""
        if self._adapters is None:
            self._adapters = AdaptersMap(self._conn.adapters)
            self._remembers = False
        return self._adapters

    @property
    def format(self) -> Format:
        """BINARY to ask for binary results always, as ``cursor(binary=True)`` does."""
        return self._format

    @format.setter
    def format(self, format: Format) -> None:
        self._format = format
        if format:
            self._remembers = False

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
        conn = self._conn
        wire = conn.wire
        if self._closed or wire.protocol.phase >= ENDED:
            self._check_open()
        if self._result is not None or self._rowcount >= 0:
            self._reset()
        key: QueryKey | None = None
        if self._remembers and prepare is None and binary is None and type(query) is str:
            key = query, params is None
            repeat = conn.executor.remembered.get(key)
            if repeat is not None:
                begin = await conn.turn()
                composed = conn.executor.compose_again(repeat, params, wire.protocol.parameters_version, begin)
                if composed is not None:
                    request, data = composed
                    await wire.run(request, data)
                    if request.error is None and request.failure is None and request.results:
                        self._take(request.results)
                        if conn.notifications.unsettled:
                            await conn.notifications.settle()
                        return self
                    if not await self._may_repeat(request, self._bind(query, params, self._transformer())):
                        self._raise(request, begin)
        await self._execute(query, params, prepare, binary, key)
        return self

    async def _execute(
        self, query: Query, params: Params | None, prepare: bool | None, binary: bool | None, key: QueryKey | None
    ) -> None:
        """Execute a statement of which nothing is known.

        :param key: what to remember it by; None if it is special.
        """
        conn = self._conn
        wire = conn.wire
        tx = self._transformer()
        version = wire.protocol.parameters_version
        statement = self._bind(query, params, tx)
        if binary is None and self._format:
            binary = True
        if not self._extended:
            if binary:
                raise NotSupportedError(_ONLY_TEXT)
            prepare = False
        if binary:
            await self._describe(statement, tx)
        while True:
            begin = await conn.turn()
            request, data = conn.executor.compose(statement, tx, begin, prepare, binary, key, version)
            await wire.run(request, data)
            if request.error is not None or request.failure is not None or not request.results:
                if await self._may_repeat(request, statement):
                    continue
                self._raise(request, begin)
            break
        self._take(request.results)
        if conn.notifications.unsettled:
            await conn.notifications.settle()

    async def executemany(self, query: Query, params_seq: Iterable[Params], *, returning: bool = False) -> None:
        """Execute a statement once for each set of parameters, pipelined: a batch costs one round trip.

        :param params_seq: the sets of parameters; consumed as they are sent, so it may be a generator.
        :param returning: keep the results, one for each set: see :meth:`results` and :meth:`nextset`.
        :raises Error: at the first set that fails; all of them are one transaction, even in autocommit mode, unless
            the statement itself ends it.

        ``rowcount`` is the sum over all sets. A cancellation, like an error, rolls back what was sent in autocommit
        mode.
        """
        self._check_open()
        self._reset()
        await executemany(self, query, params_seq, returning)
        if self._conn.notifications.unsettled:
            await self._conn.notifications.settle()

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
        self._check_open()
        if size < 1:
            raise ValueError(f"size must be at least 1 row, not {size}")
        self._reset()
        if binary is None and self._format:
            binary = True
        if binary and not self._extended:
            raise NotSupportedError(_ONLY_TEXT)
        return AsyncRowStream(self, query, params, binary, size)

    # -- fetching

    async def fetchone(self) -> Row | None:
        """Return the next row, or None after the last one.

        :raises ProgrammingError: there is no result, or it has no rows.
        """
        await self._conn.wire.backend.checkpoint()
        return self._fetchone()

    async def fetchmany(self, size: int = 0) -> list[Row]:
        """Return the next `size` rows, or as many as are left.

        :param size: rows; by default :attr:`arraysize`.
        :raises ProgrammingError: there is no result, or it has no rows.
        """
        await self._conn.wire.backend.checkpoint()
        return self._fetchmany(size)

    async def fetchall(self) -> list[Row]:
        """Return all rows that are left.

        :raises ProgrammingError: there is no result, or it has no rows.
        """
        await self._conn.wire.backend.checkpoint()
        return self._fetchall()

    def __aiter__(self) -> Self:
        self._check_open()
        return self

    async def __anext__(self) -> Row:
        position = self._position
        if position % ROWS_PER_CHECKPOINT == 0:
            await self._conn.wire.backend.checkpoint()
        rows = self._rows()
        if position >= len(rows):
            raise StopAsyncIteration
        self._position = position + 1
        row = rows[position]
        return row if self._make_row is None else self._make_row(row)  # type: ignore[return-value]

    async def scroll(self, value: int, mode: str = "relative") -> None:
        """Move to another row of the result.

        :param value: rows, from where the cursor is (`mode` "relative") or from the first row ("absolute").
        :raises IndexError: there is no such row; the cursor stays where it is.
        """
        await self._conn.wire.backend.checkpoint()
        self._scroll(value, mode)

    # -- several results

    def results(self) -> AsyncIterator[Self]:
        """Iterate over the results of several statements, from where the cursor is: it is yielded once for each."""
        return _Results(self)

    async def set_result(self, index: int) -> Self:
        """Go to the result of the statement at `index`, from 0; negative ones count from the last.

        :raises IndexError: there is no such result.
        """
        await self._conn.wire.backend.checkpoint()
        self._set_result(index)
        return self

    # -- the end, and PEP 249's formalities

    async def close(self) -> None:
        """Close the cursor and forget its result. The connection stays open."""
        self._close()
        await self._conn.wire.backend.checkpoint()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        # No checkpoint: nothing is waited for, and a cancellation here would hide the error that is on its way.
        self._close()

    def setinputsizes(self, sizes: Sequence[Any]) -> None:
        """Do nothing (PEP 249): sizes are not needed."""

    def setoutputsize(self, size: int, column: int | None = None) -> None:
        """Do nothing (PEP 249): sizes are not needed."""

    # -- for this package

    _extended = True  # whether parameters are bound by the server

    def _transformer(self) -> Transformer:
        """Return the transformer to use: the connection's, unless the cursor has adapters of its own."""
        adapters = self._adapters
        if adapters is None:
            return self._conn.transformer()
        version = self._conn.wire.protocol.parameters_version
        if self._tx is None or self._tx_version != version:
            self._tx = self._conn.make_transformer(adapters)
            self._tx_version = version
        return self._tx

    def _bind(self, query: Query, params: Params | None, tx: Transformer) -> Statement:
        """Return the statement with its parameters adapted."""
        plan = _queries.plan_query(query, params, tx, tx.encoding)
        if params is None:
            return Statement(plan.sql, (), (), (), True, False, plan)
        values, oids, formats = tx.dump_sequence(plan.bind_params(params), plan.formats)
        # Not by its name: a named tuple's own constructor is written in Python.
        return tuple.__new__(  # pyright: ignore[reportUnknownMemberType]
            Statement, (plan.sql, values, oids, formats, not values, False, plan)
        )

    def _plan(self, query: Query, tx: Transformer) -> QueryPlan | None:
        """Return the plan that all sets of parameters have in common; None if there is none, but :meth:`_bind`."""
        return _queries.plan_query(query, (), tx, tx.encoding)

    async def _describe(self, statement: Statement, tx: Transformer) -> None:
        """Find out which columns have a binary format, if that is not known yet."""
        conn = self._conn
        while True:
            begin = await conn.turn()
            composed = conn.executor.compose_describe(statement, tx, begin)
            if composed is None:
                return
            request, data = composed
            await conn.wire.run(request, data)
            if not (was_victim(request) and had_own_transaction(request)):
                break
            if request.after_begin:
                await conn.rollback()
        if request.error is not None or request.failure is not None:
            self._raise(request, None)
        conn.executor.described(statement, request.description[0])

    async def _may_repeat(self, request: StatementRequest | RememberedRequest, statement: Statement) -> bool:
        """Return whether a statement that failed for a reason of the driver's own is to be sent again."""
        if went_stale(request):
            self._conn.executor.forget(statement)
            if request.error is None:
                return False
        elif not (was_victim(request) and is_repeatable(statement.sql)):
            return False
        if not had_own_transaction(request):
            return False
        if request.after_begin:
            await self._conn.rollback()
        return True

    def _raise(self, request: StatementRequest | RememberedRequest, begin: bytes | None) -> None:
        if request.failure is not None:
            raise request.failure
        if request.error is not None:
            if begin is not None and not request.extended:
                raise without_begin(request.error, begin)
            raise with_advice(request.error, self._conn.executor.statements)
        raise OperationalError(
            "the server did not run the statement: a COPY that another task began on this connection was in its way"
        )

    def _start_of_stream(self, result: Result) -> RowMaker[Any]:
        """Take the result whose rows are about to be streamed; return what makes rows."""
        self._select(result, 0)
        self._rowcount = -1
        return self._make_row or tuple

    def _end_of_stream(self, request: StatementRequest, statement: Statement) -> None:
        """Take the end of a stream's request; raise if it failed or was not a query."""
        if request.error is not None or request.failure is not None or not request.results:
            if went_stale(request):
                self._conn.executor.forget(statement)
            self._raise(request, None)
        result = request.results[0]
        self._select(result, 0)
        self._rowcount = affected_rows(result.tag)
        self._rows()

    def _end_of_many(self, results: Sequence[Result], rowcount: int, last: Result | None) -> None:
        """Take what executemany() has given."""
        self._results = results
        if results:
            self._select(results[0], 0)
        else:
            self._result, self._rowcount = last, rowcount

    def _types(self) -> TypesRegistry:
        return (self._adapters or self._conn.adapters).types

    def _has_results(self) -> bool:
        return bool(self._results)

    def _check_open(self) -> None:
        if self._closed:
            raise InterfaceError("the cursor is closed; make a new one with connection.cursor()")
        self._conn.check_open()


class _Results(AsyncIterator[CursorT]):
    """What :meth:`AsyncCursor.results` iterates by. An object and not a generator, so that it may be left early."""

    def __init__(self, cursor: CursorT) -> None:
        self._cursor = cursor
        self._started = False

    async def __anext__(self) -> CursorT:
        cursor = self._cursor
        await cursor.connection.wire.backend.checkpoint()
        if self._started:
            more = cursor.nextset()
        else:
            self._started = True
            more = cursor._has_results()  # pyright: ignore[reportPrivateUsage]
        if not more:
            raise StopAsyncIteration
        return cursor


class AsyncClientCursor(AsyncCursor[Row]):
    """A cursor that puts parameters into the statement as literals, and sends text.

    For statements that take no parameters on the server (``CREATE``, ``SET``, ``NOTIFY``...), and for servers and
    poolers without the extended protocol.
    """

    _extended = False
    _remembers = False

    def mogrify(self, query: Query, params: Params | None = None) -> str:
        """Return the statement with its parameters as it would be sent."""
        self._check_open()
        tx = self._transformer()
        return self._bind(query, params, tx).sql.decode(tx.encoding)

    def _bind(self, query: Query, params: Params | None, tx: Transformer) -> Statement:
        plan = _queries.plan_query(query, params, tx, tx.encoding)
        sql = plan.sql if params is None else plan.interpolate([tx.as_literal(p) for p in plan.bind_params(params)])
        return Statement(sql, (), (), (), True, True)

    def _plan(self, query: Query, tx: Transformer) -> QueryPlan | None:
        return None


class AsyncRawCursor(AsyncCursor[Row]):
    """A cursor whose statements are written with PostgreSQL's own placeholders, ``$1``, ``$2``, ..."""

    _remembers = False

    def _bind(self, query: Query, params: Params | None, tx: Transformer) -> Statement:
        plan = _queries.convert_raw(_queries.query_text(query, tx, tx.encoding), params)
        values, oids, formats = tx.dump_sequence(params or (), plan.formats)  # type: ignore[arg-type]
        return Statement(plan.sql, values, oids, formats, not values)

    def _plan(self, query: Query, tx: Transformer) -> QueryPlan | None:
        return None
