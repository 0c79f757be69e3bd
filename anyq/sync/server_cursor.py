"""ServerCursor and its kin: named cursors in synchronous code.

Knows the asynchronous cursor inside, and that rows which have come are taken in the calling thread: there is one hop
into the event loop for a fetch. Must not know results, the protocol or SQL.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from typing_extensions import Self, TypeVar

from ..abc import Params, Query
from ..rows import RowFactory, TupleRow
from ..server_cursor import AsyncRawServerCursor, AsyncServerCursor
from .calls import ConnectionT
from .cursor import Cursor

Row = TypeVar("Row", default=TupleRow)


class ServerCursor(Cursor[Row, ConnectionT]):
    """A named cursor: its query runs on the server as far as rows are fetched, and they are not kept in memory.

    Made by ``Connection.cursor(name)``. It lives until the end of the transaction that it is executed in, or with
    `withhold` until it is closed. One that was declared otherwise, by a statement or a function, is fetched from
    without being executed. It is for one thread at a time.

    :param name: 63 bytes at most; whatever is in it, it is quoted.
    :param row_factory: makes rows from values; by default the connection's.
    :param scrollable: True to be able to go backwards, False not to; None leaves it to what costs the server nothing.
    :param withhold: True to fetch rows after the transaction was committed, too.
    :raises ProgrammingError: the name is one that no cursor can have.
    """

    is_named = True
    _named_class: type[AsyncServerCursor[Any]] = AsyncServerCursor

    def __init__(
        self,
        connection: ConnectionT,
        name: str,
        *,
        row_factory: RowFactory[Row] | None = None,
        scrollable: bool | None = None,
        withhold: bool = False,
    ) -> None:
        self._options = name, scrollable, withhold
        super().__init__(connection, row_factory=row_factory)

    def _new_async(self, connection: Any, row_factory: RowFactory[Any]) -> AsyncServerCursor[Any]:
        name, scrollable, withhold = self._options
        self._named = self._named_class(
            connection, name, row_factory=row_factory, scrollable=scrollable, withhold=withhold
        )
        return self._named

    # -- what it is

    @property
    def name(self) -> str:
        """The name of the cursor."""
        return self._named.name

    @property
    def scrollable(self) -> bool | None:
        """Whether it can go backwards; None leaves it to the server."""
        return self._named.scrollable

    @property
    def withhold(self) -> bool:
        """Whether rows can be fetched after the transaction was committed."""
        return self._named.withhold

    @property
    def itersize(self) -> int:
        """How many rows an iteration fetches at once."""
        return self._named.itersize

    @itersize.setter
    def itersize(self, value: int) -> None:
        self._named.itersize = value

    # -- executing

    def execute(
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

        An interruption leaves no cursor on the server: it is cancelled, or closed with the next statement.
        """
        return super().execute(query, params, prepare=prepare, binary=binary)

    def executemany(self, query: Query, params_seq: Iterable[Params], *, returning: bool = False) -> None:
        """Refuse: it is not for named cursors.

        :raises NotSupportedError: always.
        """
        self._calls.drive(self._named.executemany, query, (), returning=returning)

    # -- fetching

    def fetchone(self) -> Row | None:
        """Return the next row, or None after the last one.

        :raises InvalidCursorName: there is no such cursor on the server, or no more.
        :raises OperationalError: a fetch before was interrupted or has failed, so that rows are lost.

        What has come for an iteration is taken first; then one row is fetched. An interruption, when rows are being
        fetched, cancels that: they are lost, and nothing more is fetched until the cursor is executed again or has
        gone to a row by ``scroll(..., "absolute")``.
        """
        inner = self._named
        if not inner.rows_left:
            self._calls.drive(inner.have_rows, 1)
        return inner.next_row()

    def fetchmany(self, size: int = 0) -> list[Row]:
        """Return the next `size` rows, or as many as are left.

        :param size: rows; by default :attr:`arraysize`.
        :raises InvalidCursorName: as for :meth:`fetchone`; so is what an interruption does.
        """
        inner = self._named
        size = inner.check_size(size)
        if size > inner.rows_left:
            self._calls.drive(inner.have_rows, size)
        return inner.next_rows(size)

    def fetchall(self) -> list[Row]:
        """Return all rows that are left.

        :raises InvalidCursorName: as for :meth:`fetchone`; so is what an interruption does.
        """
        self._calls.drive(self._named.have_rows, None)
        return self._named.remaining_rows()

    def __iter__(self) -> Iterator[Row]:
        self._named.begin_iteration()
        return self._each_row()

    def _each_row(self) -> Iterator[Row]:
        inner, have_next = self._named, self._named.have_next
        while inner.rows_left or self._calls.drive(have_next):
            yield from inner.each_row()

    def __next__(self) -> Row:
        inner = self._named
        if not inner.rows_left and not self._calls.drive(inner.have_next):
            raise StopIteration
        return inner.next_row()  # type: ignore[return-value]

    def scroll(self, value: int, mode: str = "relative") -> None:
        """Move to another row of the result.

        :param value: rows, from where the cursor is (`mode` "relative") or from the first row ("absolute").
        :raises IndexError: there is no such row; if it would be behind the last one, the cursor is there then.
        :raises Error: what the server says, such as that the cursor cannot go backwards.

        The row is fetched with it, so the server is on that row. An interruption is that of :meth:`fetchone`.
        """
        self._calls.drive(self._named.scroll, value, mode)

    # -- the end

    def close(self) -> None:
        """Close the cursor, here and on the server. The connection stays open.

        It is closed on the server if this object has executed it or fetched from it, whatever has become of the
        transaction; what is gone already is no error. An interruption does not undo it.
        """
        if self._named.is_on_server:
            self._calls.drive_unless_ended(self._named.close)
        self._named.end()


class RawServerCursor(ServerCursor[Row, ConnectionT]):
    """A named cursor whose query is written with PostgreSQL's own placeholders, ``$1``, ``$2``, ..."""

    _named_class = AsyncRawServerCursor
