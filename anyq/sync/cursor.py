"""Cursor and its kin: execute statements and fetch rows in synchronous code.

Knows the asynchronous cursor inside, what of it has to be called in the event loop, and what has arrived already and
is taken without. Must not know results, the protocol or SQL.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, ClassVar, Generic

from typing_extensions import Self, TypeVar

from ..abc import Params, Query
from ..adapt import AdaptersMap
from ..copy import Writer
from ..cursor import AsyncClientCursor, AsyncCursor, AsyncRawCursor
from ..errors import InterfaceError
from ..pq import PGRESULT, Libpq
from ..protocol.constants import Format
from ..row_stream import AsyncRowStream
from ..rows import RowFactory, RowMaker, TupleRow, check_row_factory, tuple_row
from ..session.executemany import BATCH_SETS, sets_of
from ..session.info import described
from ..session.pipeline import refuse_in_pipeline
from ..statements.column import Column
from .calls import Calls, ConnectionT
from .closing import Closing
from .copy import Copy

Row = TypeVar("Row", default=TupleRow)


class _FactoryFor:
    """A row factory that is given the cursor that the user has, not the asynchronous one inside it."""

    __slots__ = ("cursor", "factory")

    def __init__(self, cursor: Cursor[Any], factory: RowFactory[Any]) -> None:
        # Weakly: cursors that are part of a circle would keep their rows until the garbage collector comes.
        self.cursor = weakref.ref(cursor)
        self.factory = factory

    def __call__(self, inner: AsyncCursor[Any]) -> RowMaker[Any]:
        cursor = self.cursor()
        return self.factory(inner if cursor is None else cursor)


class Cursor(Closing, Generic[Row, ConnectionT]):
    """Executes statements on a connection and holds their results.

    Made by :meth:`Connection.cursor`. Several cursors of one connection, in one thread or in many, may execute at the
    same time: their statements are pipelined. One cursor is for one thread at a time.

    :param row_factory: makes rows from values; by default the connection's. It is called amid the
        call that executes, so that it cannot use the connection; the row maker that it returns is called by the thread
        that fetches.
    """

    pgresult = Libpq(PGRESULT)

    async_class: type[AsyncCursor[Any]] = AsyncCursor
    """For this package: the class of the asynchronous cursor inside."""
    _async: AsyncCursor[Any]
    is_named: ClassVar[bool] = False
    """For this package: whether it is made with a name."""

    def __init__(self, connection: ConnectionT, *, row_factory: RowFactory[Row] | None = None) -> None:
        self._conn = connection
        try:
            self._calls = connection.calls
        except AttributeError:
            name = type(connection).__qualname__
            raise InterfaceError(f"{type(self).__qualname__} needs a Connection, not an {name}") from None
        if row_factory is None:
            row_factory = connection.row_factory
        elif row_factory is not tuple_row:
            check_row_factory(row_factory)
        self._row_factory: RowFactory[Any] = row_factory
        self._async = self._new_async(connection.inner, self._inner(self._row_factory))

    def _new_async(self, connection: Any, row_factory: RowFactory[Any]) -> AsyncCursor[Any]:
        return self.async_class(connection, row_factory=row_factory)

    def _inner(self, factory: RowFactory[Any]) -> RowFactory[Any]:
        return factory if factory is tuple_row else _FactoryFor(self, factory)

    def __repr__(self) -> str:
        # Its state is that of the asynchronous cursor.
        return described(self, repr(self._async).split(" ", 1)[1].rpartition(" at ")[0])

    # -- what it is

    @property
    def connection(self) -> ConnectionT:
        """The connection that the cursor executes on."""
        return self._conn

    @property
    def adapters(self) -> AdaptersMap:
        """The adapters of this cursor, which are the connection's as they were when it was made."""
        return self._async.adapters

    @property
    def closed(self) -> bool:
        """Whether the cursor is closed, or its connection is."""
        return self._async.closed or self._conn.closed

    @property
    def arraysize(self) -> int:
        """How many rows :meth:`fetchmany` returns if it is not told (PEP 249)."""
        return self._async.arraysize

    @arraysize.setter
    def arraysize(self, value: int) -> None:
        self._async.arraysize = value

    @property
    def format(self) -> Format:
        """BINARY to ask for binary results always, as ``cursor(binary=True)`` does."""
        return self._async.format

    @format.setter
    def format(self, value: Format) -> None:
        self._async.format = value

    @property
    def row_factory(self) -> RowFactory[Row]:
        """The factory of the rows that are fetched; a new one takes effect on the next row fetched."""
        return self._row_factory

    @row_factory.setter
    def row_factory(self, row_factory: RowFactory[Row]) -> None:
        check_row_factory(row_factory)
        self._row_factory = row_factory
        self._async.row_factory = self._inner(row_factory)

    # -- what the last statement gave

    @property
    def description(self) -> list[Column] | None:
        """The columns of the result; None if there is no result, or it has no rows."""
        return self._async.description

    @property
    def column_names(self) -> list[str] | None:
        """For this package: the names of the columns, where the description has some."""
        return self._async.column_names

    @property
    def rowcount(self) -> int:
        """How many rows the last statement affected or returned; -1 where that is not known."""
        return self._async.rowcount

    @property
    def rownumber(self) -> int | None:
        """The index, from 0, of the row that would be fetched next; None if there are none to fetch."""
        return self._async.rownumber

    @property
    def statusmessage(self) -> str | None:
        """The command tag of the last statement, such as ``INSERT 0 1``."""
        return self._async.statusmessage

    @property
    def async_cursor(self) -> AsyncCursor[Any]:
        """For this package: the asynchronous cursor inside."""
        return self._async

    # -- executing

    def execute(
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

        Ctrl-C, or any exception of a signal handler, cancels the statement on the server; the connection is ready or
        closed within the grace time. Whether the statement took effect is not known then, as after a lost connection;
        in a transaction it can be rolled back.

        Manual: "Extended Query" (protocol-flow).
        """
        pipeline = self._calls.own.current_pipeline()
        if pipeline is None:
            self._calls.drive(self._async.execute, query, params, prepare=prepare, binary=binary)
        else:
            self._calls.check_callable()
            if self._async.queue(pipeline, query, params, prepare, binary):
                self._calls.drive(pipeline.flush)
        return self

    def executemany(self, query: Query, params_seq: Iterable[Params], *, returning: bool = False) -> None:
        """Execute a statement once for each set of parameters, pipelined: a batch costs one round trip.

        :param params_seq: the sets of parameters; consumed as they are sent, so it may be a generator, which runs in
            this thread and must not use this connection.
        :param returning: keep the results, one for each set: see :meth:`results` and :meth:`nextset`.
        :raises Error: at the first set that fails; all of them are one transaction, even in autocommit mode, unless
            the statement itself ends it.

        ``rowcount`` is the sum over all sets. An interruption, like an error, rolls back what was sent in autocommit
        mode; after the last set was, all of them may have taken effect.
        """
        if isinstance(params_seq, list | tuple):
            self._calls.drive(self._async.executemany, query, params_seq, returning=returning)
            return
        many = self._async.begin_many(query, returning)
        try:
            sets = sets_of(params_seq)
            portion = list(islice(sets, BATCH_SETS))
        except BaseException as error:
            many.tell_failure(error)
            raise
        try:
            while self._calls.drive(many.feed, portion, last=len(portion) < BATCH_SETS):
                self._calls.begin_feeding()
                portion = list(islice(sets, BATCH_SETS))
                self._calls.end_feeding()
        except BaseException as error:
            # The generator failed; or a call, which is over then; or it was interrupted anywhere.
            self._calls.end_feeding()
            many.tell_failure(error)
            self._calls.drive_unless_ended(many.abandon, error)
            raise
        self._async.take_many(many.outcome)

    def stream(
        self, query: Query, params: Params | None = None, *, binary: bool | None = None, size: int = 1
    ) -> RowStream[Row]:
        """Execute a query and give its rows as they arrive, without keeping them.

        Use it as ``for row in cur.stream(...)``, and to leave early as ``with cur.stream(...) as rows``.

        :param size: rows wanted in one go at least; more are given as soon as they have arrived.
        :raises ProgrammingError: the statement returns no rows.

        While nobody takes rows none are read, and the server waits. Other statements on the connection go on
        meanwhile: then the rows that come before their replies are kept in memory. Leaving early, or an interruption,
        cancels the query, and with it the transaction that it is in.
        """
        if self._calls.own.current_pipeline() is not None:
            refuse_in_pipeline("stream()")
        return RowStream(self, self._calls, self._async.stream(query, params, binary=binary, size=size))

    def copy(
        self, statement: Query, params: Params | None = None, *, writer: Writer | None = None
    ) -> Copy[ConnectionT]:
        """Copy data from the client to the server, or the other way: ``with cur.copy(...) as copy``.

        :param statement: COPY ... FROM STDIN or COPY ... TO STDOUT.
        :param params: values for the placeholders, which are put into the text: COPY takes none on the server.
        :param writer: what takes the data that is written, instead of the server.
        :raises ProgrammingError: it is another statement, as the block is entered.

        See :class:`Copy`. Manual: "COPY Operations" (protocol-flow).
        """
        self._async.copy(statement, params)  # raises what there is to raise
        return Copy(self, writer=writer).with_statement(statement, params)

    # -- fetching

    def fetchone(self) -> Row | None:
        """Return the next row, or None after the last one.

        :raises ProgrammingError: there is no result, or it has no rows.
        """
        if self._async.late is not None:
            self._arrive()
        return self._async.next_row()

    def fetchmany(self, size: int = 0) -> list[Row]:
        """Return the next `size` rows, or as many as are left.

        :param size: rows; by default :attr:`arraysize`.
        :raises ProgrammingError: there is no result, or it has no rows.
        """
        if self._async.late is not None:
            self._arrive()
        return self._async.next_rows(size)

    def fetchall(self) -> list[Row]:
        """Return all rows that are left.

        :raises ProgrammingError: there is no result, or it has no rows.
        """
        if self._async.late is not None:
            self._arrive()
        return self._async.remaining_rows()

    def __iter__(self) -> Iterator[Row]:
        if self._async.late is not None:
            self._arrive()
        self._async.check_open()
        return self._async.each_row()

    def __next__(self) -> Row:
        if self._async.late is not None:
            self._arrive()
        row: Row = next(self._async.each_row())
        return row

    def scroll(self, value: int, mode: str = "relative") -> None:
        """Move to another row of the result.

        :param value: rows, from where the cursor is (`mode` "relative") or from the first row ("absolute").
        :raises IndexError: there is no such row; the cursor stays where it is.
        """
        if self._async.late is not None:
            self._arrive()
        self._async.move(value, mode)

    # -- several results

    def nextset(self) -> bool | None:
        """Go to the result of the next statement; return True if there is one, None if there is not."""
        return self._async.nextset()

    def results(self) -> Iterator[Self]:
        """Iterate over the results of several statements, from where the cursor is: it is yielded once for each."""
        if self._async.late is not None:
            self._arrive()
        more: bool | None = self._async.has_results
        while more:
            yield self
            more = self.nextset()

    def set_result(self, index: int) -> Self:
        """Go to the result of the statement at `index`, from 0; negative ones count from the last.

        :raises IndexError: there is no such result.
        """
        if self._async.late is not None:
            self._arrive()
        self._async.go_to_result(index)
        return self

    def _arrive(self) -> None:
        """Wait for the result of a statement in a pipeline, if it is not there."""
        late = self._async.late
        if late is not None and not late.done:
            self._calls.drive(self._async.arrive)
        elif late is not None:
            late.raise_error()
            self._async.look()

    # -- the end, and PEP 249's formalities

    def close(self) -> None:
        """Close the cursor and forget its result. A stream of it is ended. The connection stays open."""
        if self._async.has_stream:
            # In the loop, since others may be at work there.
            self._calls.post(self._async.drop_stream)
        self._async.end()

    def setinputsizes(self, sizes: Sequence[Any]) -> None:
        """Do nothing (PEP 249): sizes are not needed."""

    def setoutputsize(self, size: int, column: int | None = None) -> None:
        """Do nothing (PEP 249): sizes are not needed."""


class ClientCursor(Cursor[Row, ConnectionT]):
    """A cursor that puts parameters into the statement as literals, and sends text.

    For statements that take no parameters on the server (``CREATE``, ``SET``, ``NOTIFY``...), and for servers and
    poolers without the extended protocol.
    """

    async_class = AsyncClientCursor

    def mogrify(self, query: Query, params: Params | None = None) -> str:
        """Return the statement with its parameters as it would be sent."""
        inner = self._async
        assert isinstance(inner, AsyncClientCursor)
        return inner.mogrify(query, params)


class RawCursor(Cursor[Row, ConnectionT]):
    """A cursor whose statements are written with PostgreSQL's own placeholders, ``$1``, ``$2``, ..."""

    async_class = AsyncRawCursor


class RowStream(Closing, Generic[Row]):
    """Iterator over the rows of a query; made by :meth:`Cursor.stream`.

    ``close()`` or the end of its ``with`` block cancels the query; a stream that is dropped without either is cleaned
    up by the next operation on the connection.
    """

    def __init__(self, cursor: Cursor[Row], calls: Calls, stream: AsyncRowStream[Row]) -> None:
        self._calls = calls
        # Row makers may want it, and the stream holds only what is inside.
        self._cursor = cursor
        self._async = stream
        calls.watch(self, stream)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Row:
        """Return the next row."""
        stream = self._async
        while True:
            try:
                for row in stream.rows:
                    return row if stream.make_row is None else stream.make_row(row)  # type: ignore[return-value]
            except BaseException:
                self.close()
                raise
            try:
                self._calls.drive(stream.more)
            except StopAsyncIteration:
                raise StopIteration from None
            except Exception:
                raise
            except BaseException:
                # Ctrl-C may come when the call has ended.
                self.close()
                raise

    def close(self) -> None:
        """End the stream: cancel the query if it is still running, and make the connection ready.

        Takes the connection's grace time at most.
        """
        self._calls.drive_unless_ended(self._async.aclose)
