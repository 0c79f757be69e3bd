"""Copy: the data of one COPY, written or read in synchronous code.

Knows the asynchronous object inside, what of it has to be called in the event loop, and what is collected, or has
arrived already, and is dealt with without. Must not know rows, formats or the protocol.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, Generic

from typing_extensions import Self, TypeVar

from ..abc import Buffer, Params, Query
from ..copy import AsyncCopy, Writer, check_writer
from .calls import Calls

PIECE = 128 * 1024
"""Bytes of data that are collected here before they are sent. Nothing else waits for this thread meanwhile, and calling
into the event loop takes as long as what is done there."""

ConnectionT = TypeVar("ConnectionT", bound=Any, default=Any)


class Copy(Generic[ConnectionT]):
    """The data of one COPY, made by :meth:`Cursor.copy`; to be used as ``with cur.copy(...) as copy``.

    Of COPY FROM STDIN it is written by :meth:`write` or :meth:`write_row`, of COPY TO STDOUT read by :meth:`read`,
    by iteration, or by :meth:`rows` and :meth:`read_row`. The statement is sent when the block is entered.

    Leaving the block by an exception gives the COPY up: nothing is stored. So does an interruption of any of the
    methods. Leaving a COPY TO STDOUT before its end cancels it, and with it the transaction that it is in.

    While the block is open the connection is busy: statements of other threads wait, those of the same are refused.

    Made by hand it has no statement, and writes rows to a writer.

    :param cursor: made by a :class:`Connection`.
    :param binary: whether rows are written in binary format, if it is made by hand.
    :param writer: what takes the data instead of the server.
    """

    def __init__(self, cursor: Any, *, binary: bool | None = None, writer: Writer | None = None) -> None:
        if writer is not None:
            check_writer(writer, Writer)
        self.cursor = cursor
        """The cursor that it was made by."""
        self.writer = writer
        """What takes the data instead of the server, or None."""
        self._calls: Calls = cursor.connection.calls
        self._async: AsyncCopy[Any] = AsyncCopy(cursor.async_cursor, binary=binary)
        self._async.enough = PIECE
        self._calls.watch(self, self._async)

    def with_statement(self, statement: Query, params: Params | None) -> Self:
        """For this package: run a statement when the block is entered; return the object itself."""
        self._async.with_statement(statement, params)
        return self

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__qualname__} [{self._async.describe()}] at 0x{id(self):x}>"

    @property
    def connection(self) -> ConnectionT:
        """The connection that it is on."""
        connection: ConnectionT = self.cursor.connection
        return connection

    # -- the block

    def __enter__(self) -> Self:
        self._async.enter()
        try:
            self._calls.drive(self._async.begin)
        except BaseException as error:
            # Interrupted when it had begun.
            self._end(error)
            raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        self.finish(exc_val)

    def finish(self, exc: BaseException | None = None) -> None:
        """End the COPY, as leaving its block does, after which this does nothing.

        :param exc: the exception that ends it; None for a COPY FROM STDIN that is to take effect.
        :raises Error: what the server says.
        """
        try:
            if self.writer is not None and self._async.takes_data:
                self._finish_writer(self.writer, exc)
        except BaseException as error:
            self._end(error)
            raise
        if exc is None:
            try:
                self._calls.drive(self._async.finish)
            except BaseException as error:
                self._end(error)
                raise
        else:
            self._end(exc)

    def _finish_writer(self, writer: Writer, exc: BaseException | None) -> None:
        if exc is None:
            self._async.end_rows()
            self._write(writer, b"")
            self._async.begin_anew()
        writer.finish(exc)

    def _end(self, error: BaseException) -> None:
        """Give it up, in any case."""
        self._calls.drive_unless_ended(self._async.finish, error)

    # -- writing

    def write(self, buffer: Buffer | str) -> None:
        """Write data of a COPY FROM STDIN, in its format; it may be cut anywhere.

        :param buffer: bytes, or text that is to be encoded as the server expects it.
        :raises ProgrammingError: the COPY is none FROM STDIN.
        :raises Error: what the server says of what was written before.

        Data is collected, and sent when there are 128 KiB of it: then this waits while the server is slow to take it.
        """
        data = self._async.as_bytes(buffer)
        if self.writer is not None:
            self._write(self.writer, data)
        elif len(data) > PIECE:
            self._calls.drive(self._async.write, data)
        elif self._async.collect(data):
            self._calls.drive(self._async.flush)

    def write_row(self, row: Sequence[Any]) -> None:
        """Write a row of a COPY FROM STDIN, in text or binary format.

        :param row: its values, one for each column; None is NULL.
        :raises ProgrammingError: the COPY is none FROM STDIN, or in a format that rows cannot be written in.
        :raises DataError: a value has no form in PostgreSQL, or the row another number of columns. It is not written,
            and others may be.
        :raises Error: what the server says of what was written before.

        Waits as :meth:`write` does.
        """
        inner = self._async
        format_row = inner.format_row
        if format_row is None:
            format_row = inner.begin_rows()
        if format_row(row, inner.buffer):
            if self.writer is None:
                self._calls.drive(inner.flush)
            else:
                self._write(self.writer, b"")

    def set_types(self, types: Sequence[int | str]) -> None:
        """Tell of which type each column is: rows are written and read by these from now on.

        A COPY does not tell it. In binary format, values have to be of exactly these types.

        :param types: names or oids, one for each column.
        :raises ProgrammingError: a type is not known, or there is another number of columns.
        """
        self._async.set_types(types)

    def _write(self, writer: Writer, data: Buffer) -> None:
        for piece in self._async.pieces(data):
            writer.write(piece)

    # -- reading

    def read(self) -> bytes:
        """Return the next row of a COPY TO STDOUT, as the server has sent it; empty at the end.

        :raises ProgrammingError: the COPY is none TO STDOUT, or rows have been read of it and are not at their end.
        :raises Error: what the server says.

        Waits when what has arrived has been read.
        """
        payloads = self._async.payloads
        while not payloads:
            if not self._calls.drive(self._async.receive):
                return b""
        return payloads.popleft()

    def __iter__(self) -> Iterator[bytes]:
        self._async.check_out()
        return self

    def __next__(self) -> bytes:
        payloads = self._async.payloads
        while not payloads:
            if not self._calls.drive(self._async.receive):
                raise StopIteration
        return payloads.popleft()

    def blocks(self) -> Iterator[bytes]:
        """Iterate over the data of a COPY TO STDOUT in blocks, each of as many rows as have arrived.

        No row is cut: a block has one row, or up to 127 KiB of them. To hand the data on, or to store it in a file,
        this is the fastest way.

        :raises ProgrammingError: as :meth:`read`.
        :raises Error: what the server says.
        """
        self._async.check_data()
        return self._each_block()

    def _each_block(self) -> Iterator[bytes]:
        while (block := self._calls.drive(self._async.receive_block)) is not None:
            yield block

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """Iterate over the rows of a COPY TO STDOUT in text or binary format, as tuples of values.

        Without :meth:`set_types` values are str in text format, and bytes in binary format; NULL is None.

        :raises ProgrammingError: the COPY is none TO STDOUT, or in a format that rows cannot be read of.
        :raises DataError: a value cannot be loaded; or the data is not complete.
        """
        self._async.check_rows()
        return self._each_row()

    def _each_row(self) -> Iterator[tuple[Any, ...]]:
        loaded = self._async.loaded
        while True:
            while loaded:
                yield loaded.popleft()
            if not self._calls.drive(self._async.receive_rows):
                return

    def read_row(self) -> tuple[Any, ...] | None:
        """Return the next row of a COPY TO STDOUT as :meth:`rows` does, None at the end."""
        loaded = self._async.loaded
        while not loaded:
            if not self._calls.drive(self._async.receive_rows):
                return None
        return loaded.popleft()
