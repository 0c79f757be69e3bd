"""AsyncCopy: the data of one COPY, as a user writes or reads it; and writers, which take it instead of the server.

Knows rows, formats and what is collected before it is sent. Must not know messages, sockets or event loops.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import IO, Any, Generic, Protocol

from typing_extensions import Self, TypeVar

from ._accel import join_copy_data, split_copy_data
from .abc import Buffer, Params, Query
from .adapt import Transformer
from .adapt.copy import BINARY_HEADER, BINARY_TRAILER, RowFormatter, RowParser
from .adapt.encodings import encode_text, encoding_to_write, python_codec
from .backends import Finalizer, uninterrupted
from .errors import Error, InterfaceError, NotSupportedError, ProgrammingError
from .protocol.frontend import COPY_DATA_HEADER, end_copy_data
from .protocol.request import CopyDirection
from .session.copying import Copying, with_types_hint, wrong_direction
from .session.pipeline import refuse_if_in_pipeline
from .session.session import Adaptation, Session
from .statements.binders import Binder
from .statements.copy_data import PIECE, CopyOptions, CopyRequest, check_copy
from .statements.requests import RowsRequest


class CopyCursor(Protocol):
    """What a COPY asks of the cursor that it is made by."""

    @property
    def connection(self) -> Any: ...

    def check_open(self) -> None: ...

    def forget_results(self) -> None: ...

    def take_request(self, request: RowsRequest) -> None: ...

    def parts_for_copy(self) -> tuple[Session, Adaptation, Binder]: ...


ConnectionT = TypeVar("ConnectionT", bound=Any, default=Any)


class Writer(ABC):
    """What takes the data of a synchronous COPY FROM STDIN instead of the server; to be subclassed."""

    @abstractmethod
    def write(self, data: Buffer) -> None:
        """Take some data: it may be cut anywhere."""

    def finish(self, exc: BaseException | None = None) -> None:  # noqa: B027 - what need not be done
        """Take note that there is no more.

        :param exc: why the block ended before, or None.
        """


class AsyncWriter(ABC):
    """What takes the data of an asynchronous COPY FROM STDIN instead of the server; to be subclassed."""

    @abstractmethod
    async def write(self, data: Buffer) -> None:
        """Take some data: it may be cut anywhere."""

    async def finish(self, exc: BaseException | None = None) -> None:  # noqa: B027 - what need not be done
        """Take note that there is no more.

        :param exc: why the block ended before, or None.
        """


class FileWriter(Writer):
    """Writes the data to a file.

    :param file: open for writing, in binary mode. It is not closed.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file

    def write(self, data: Buffer) -> None:
        self.file.write(data)


class AsyncCopy(Generic[ConnectionT]):
    """The data of one COPY, made by :meth:`AsyncCursor.copy`; to be used as ``async with cur.copy(...) as copy``.

    Of COPY FROM STDIN it is written by :meth:`write` or :meth:`write_row`, of COPY TO STDOUT read by :meth:`read`,
    by iteration, or by :meth:`rows` and :meth:`read_row`. The statement is sent when the block is entered.

    Leaving the block by an exception gives the COPY up: nothing is stored. So does a cancellation of any of the
    methods. Leaving a COPY TO STDOUT before its end cancels it, and with it the transaction that it is in.

    While the block is open the connection is busy: statements of other tasks wait, those of the same task are refused.

    Made by hand it has no statement, and writes rows to a writer.

    :param cursor: made by an :class:`AsyncConnection`.
    :param binary: whether rows are written in binary format, if it is made by hand.
    :param writer: what takes the data instead of the server.
    """

    _copying: Copying | None = None
    _state = "not begun"
    _statement: tuple[Any, Params | None] | None = None
    _options = CopyOptions()
    _session: Session
    _adaptation: Adaptation
    _tx: Transformer
    _formatter: RowFormatter | None = None
    _parser: RowParser | None = None
    _has_data = False  # so that no header is due
    _if_dropped: Finalizer | None = None

    def __init__(self, cursor: CopyCursor, *, binary: bool | None = None, writer: AsyncWriter | None = None) -> None:
        if writer is not None:
            check_writer(writer, AsyncWriter)
        self.cursor = cursor
        """The cursor that it was made by."""
        self.writer = writer
        """What takes the data instead of the server, or None."""
        self._binary = bool(binary)
        self.buffer = bytearray(COPY_DATA_HEADER)
        """For this package: what is collected to be sent, behind the header of a message."""
        self.format_row: Callable[[Sequence[Any], bytearray], None] | None = None
        """For this package: what appends a row to that; None before the first one."""
        self.payloads: deque[bytes] = deque()
        """For this package: data that has arrived and not been read."""
        self.loaded: deque[tuple[Any, ...]] = deque()
        """For this package: rows that have been loaded of it."""

    def with_statement(self, statement: Query, params: Params | None) -> Self:
        """For this package: run a statement when the block is entered; return the object itself."""
        self._statement = statement, params
        return self

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__qualname__} [{self.describe()}] at 0x{id(self):x}>"

    def describe(self) -> str:
        """For this package: return its state, in a few words."""
        request = self._request
        direction = "" if request is None or request.direction is None else f"{request.direction.value}, "
        session, _, _ = self.cursor.parts_for_copy()
        return f"{direction}{self._state}, {session.transaction_status.name}"

    @property
    def connection(self) -> ConnectionT:
        """The connection that it is on."""
        connection: ConnectionT = self.cursor.connection
        return connection

    # -- the block

    @uninterrupted
    async def __aenter__(self) -> Self:
        await self.begin()
        return self

    @uninterrupted
    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        await self.finish(exc_val)

    @uninterrupted
    async def begin(self) -> None:
        """For this package: run the statement, and be ready for data."""
        if self._state != "not begun":
            raise InterfaceError("the block of a COPY can be entered once; make a new one with cursor.copy()")
        self.cursor.check_open()
        self._session, self._adaptation, binder = self.cursor.parts_for_copy()
        if self._statement is not None:
            refuse_if_in_pipeline(self._session, "copy()")
            self.cursor.forget_results()
            query, params = self._statement
            tx = self._adaptation.transformer()
            statement = binder.bind(query, params, tx)
            self._options = check_copy(statement, tx.encoding)
            self._copying = copying = Copying(self._session, statement, tx)
            request = await copying.begin()
            self._if_dropped = Finalizer(self, copying.drop_from_anywhere)
            self._binary = request.binary
        self._state = "open"
        self._tx = self._adaptation.transformer()
        if self._options.encoding is not None:
            self._tx = Transformer(
                self._adaptation, encoding=python_codec(self._options.encoding), parameters=self._tx.parameters
            )

    @uninterrupted
    async def finish(self, exc: BaseException | None = None) -> None:
        """End the COPY, as leaving its block does, after which this does nothing.

        :param exc: the exception that ends it; None for a COPY FROM STDIN that is to take effect.
        :raises Error: what the server says.

        A cancellation gives it up, if it is not complete.
        """
        if self._state == "complete":
            self._state = "finished"
        if self._state != "open":
            return
        self._state = "finished" if exc is None else "failed"
        copying = self._copying
        try:
            if self._is_out():
                await self._finish_out(exc)
            elif self.writer is not None:
                await self._finish_writer(self.writer, exc)
            elif copying is not None and exc is None:
                await self._finish_in(copying)
        except BaseException as error:
            self._state = "failed"
            exc = exc or error
            raise
        finally:
            self.format_row = None
            if self._if_dropped is not None:
                self._if_dropped.call_off()
            if copying is not None:
                await copying.give_up(_reason(exc))

    async def _finish_in(self, copying: Copying) -> None:
        self.end_rows()
        if len(self.buffer) > 2 * PIECE:
            await self.flush()
        message = self._take()
        try:
            await copying.finish(bytearray() if message is None else message)
        except Error as error:
            raise self._explained(error) from error.__cause__
        self._succeeded()

    async def _finish_out(self, exc: BaseException | None) -> None:
        if exc is not None:
            return
        # Whoever has taken all data need not have seen that there is no more.
        more = bool(self.payloads or self.loaded)
        if not more:
            self._state = "open"
            more = await (self.receive() if self._parser is None else self.receive_rows())
        self._state = "left before its end" if more else "finished"

    def _succeeded(self) -> None:
        assert self._request is not None
        if self._state == "open":
            self._state = "complete"
        self.cursor.take_request(self._request)

    async def _finish_writer(self, writer: AsyncWriter, exc: BaseException | None) -> None:
        if exc is None:
            self.end_rows()
            await self.flush()
        await writer.finish(exc)
        if self._copying is not None and exc is None:
            self.begin_anew()
            await self._finish_in(self._copying)

    def begin_anew(self) -> None:
        """For this package: forget what was written: it has gone to the writer, and the server gets no row."""
        self._has_data = False
        self.format_row = None

    def _is_out(self) -> bool:
        return self._request is not None and self._request.direction is CopyDirection.OUT

    # -- writing

    async def write(self, buffer: Buffer | str) -> None:
        """Write data of a COPY FROM STDIN, in its format; it may be cut anywhere.

        :param buffer: bytes, or text that is to be encoded as the server expects it.
        :raises ProgrammingError: the COPY is none FROM STDIN.
        :raises Error: what the server says of what was written before.

        Data is collected, and sent when there are 64 KiB of it: then this is a checkpoint, and waits while the server
        is slow to take it. A cancellation gives the COPY up.
        """
        data = self.as_bytes(buffer)
        if len(data) > PIECE:
            await self._send(data)
        elif not data:
            await self._session.wire.backend.checkpoint()
        elif self.collect(data):
            await self.flush()

    async def write_row(self, row: Sequence[Any]) -> None:
        """Write a row of a COPY FROM STDIN, in text or binary format.

        :param row: its values, one for each column; None is NULL.
        :raises ProgrammingError: the COPY is none FROM STDIN, or in a format that rows cannot be written in.
        :raises DataError: a value has no form in PostgreSQL, or the row another number of columns. It is not written,
            and others may be.
        :raises Error: what the server says of what was written before.

        Waits as :meth:`write` does.
        """
        format_row = self.format_row
        buffer = self.buffer
        if format_row is None:
            format_row = self.begin_rows()
        format_row(row, buffer)
        if len(buffer) > PIECE:
            await self.flush()

    def set_types(self, types: Sequence[int | str]) -> None:
        """Tell of which type each column is: rows are written and read by these from now on.

        A COPY does not tell it. In binary format, values have to be of exactly these types.

        :param types: names or oids, one for each column.
        :raises ProgrammingError: a type is not known, or there is another number of columns.
        """
        self._check_open()
        if self._is_out():
            self._get_parser().set_types(types)
        else:
            formatter = self._get_formatter()
            formatter.set_types(types)
            if self.format_row is not None:
                self.format_row = formatter.format_row

    async def flush(self) -> None:
        """For this package: send what has been collected, and wait until there is room for more."""
        await self._send(b"")

    async def _send(self, data: Buffer) -> None:
        if self.writer is not None:
            await self._session.wire.backend.checkpoint_if_cancelled()
            for piece in self.pieces(data):
                await self.writer.write(piece)
            return
        copying = self._check_open()
        assert copying is not None
        try:
            await copying.send(self._messages(data))
        except Error as error:
            raise self._explained(error) from error.__cause__

    def as_bytes(self, buffer: Buffer | str) -> Buffer:
        """For this package: return data as it is sent."""
        self._check_in()
        if isinstance(buffer, str):
            return encode_text(buffer, encoding_to_write(self._tx.encoding))
        if isinstance(buffer, bytes | bytearray):
            return buffer
        if isinstance(buffer, memoryview):  # pyright: ignore[reportUnnecessaryIsInstance]
            return buffer.cast("B") if buffer.c_contiguous else buffer.tobytes()
        raise TypeError(f"data of a COPY is bytes or str, not {type(buffer).__name__}; write_row() takes values")

    def collect(self, data: Buffer) -> bool:
        """For this package: take data to be sent; return whether there is enough of it."""
        self._has_data = True
        self.buffer += data
        return len(self.buffer) > PIECE

    def begin_rows(self) -> Callable[[Sequence[Any], bytearray], None]:
        """For this package: return what appends a row to what has been collected."""
        self._check_in()
        formatter = self._get_formatter()
        if self._binary and not self._has_data:
            self.buffer += BINARY_HEADER
        self._has_data = True
        self.format_row = formatter.format_row
        return formatter.format_row

    def end_rows(self) -> None:
        """For this package: append what is due at the end."""
        if self._binary and not self._has_data:
            self.buffer += BINARY_HEADER + BINARY_TRAILER
        elif self._binary and self.format_row is not None:
            self.buffer += BINARY_TRAILER

    def _take(self) -> bytearray | None:
        """Return what has been collected, as a message; None if there is nothing."""
        message = self.buffer
        if len(message) <= len(COPY_DATA_HEADER):
            return None
        self.buffer = bytearray(COPY_DATA_HEADER)
        end_copy_data(message)
        return message

    def _messages(self, data: Buffer) -> Iterator[bytearray]:
        """Return what has been collected, and data that was not, as messages of moderate size."""
        if len(self.buffer) <= 2 * PIECE:
            message = self._take()
            if message is not None:
                yield message
        else:
            collected, self.buffer = self.buffer, bytearray(COPY_DATA_HEADER)
            yield from _cut(memoryview(collected)[len(COPY_DATA_HEADER) :])
        if data:
            self._has_data = True
            yield from _cut(memoryview(data))

    def pieces(self, data: Buffer) -> Iterator[Buffer]:
        """For this package: return the same for a writer."""
        collected, self.buffer = self.buffer, bytearray(COPY_DATA_HEADER)
        if len(collected) > len(COPY_DATA_HEADER):
            yield bytes(memoryview(collected)[len(COPY_DATA_HEADER) :])
        if data:
            self._has_data = True
            yield data

    # -- reading

    async def read(self) -> bytes:
        """Return the next row of a COPY TO STDOUT, as the server has sent it; empty at the end.

        :raises ProgrammingError: the COPY is none TO STDOUT.
        :raises Error: what the server says.

        Waits, and is a checkpoint, when what has arrived has been read: at the latest after 64 KiB. A cancellation
        gives the COPY up.
        """
        while not self.payloads:
            if not await self.receive():
                return b""
        return self.payloads.popleft()

    def __aiter__(self) -> Self:
        self.check_out()
        return self

    async def __anext__(self) -> bytes:
        while not self.payloads:
            if not await self.receive():
                raise StopAsyncIteration
        return self.payloads.popleft()

    def rows(self) -> AsyncCopyRows:
        """Iterate over the rows of a COPY TO STDOUT in text or binary format, as tuples of values.

        Without :meth:`set_types` values are str in text format, and bytes in binary format; NULL is None.

        :raises ProgrammingError: the COPY is none TO STDOUT, or in a format that rows cannot be read of.
        :raises DataError: a value cannot be loaded; or the data is not complete.
        """
        self.check_rows()
        return AsyncCopyRows(self)

    def check_rows(self) -> None:
        """For this package: raise what :meth:`rows` raises at once."""
        self._get_parser()

    async def read_row(self) -> tuple[Any, ...] | None:
        """Return the next row of a COPY TO STDOUT as :meth:`rows` does, None at the end."""
        while not self.loaded:
            if not await self.receive_rows():
                return None
        return self.loaded.popleft()

    async def receive(self) -> bool:
        """For this package: wait for more data; return False at the end."""
        found = await self._receive_piece(split_copy_data)
        if found is not None:
            self.payloads.extend(found)
        return found is not None

    async def receive_rows(self) -> bool:
        """For this package: wait for more rows; return False at the end."""
        parser = self._get_parser()
        if self.payloads:
            # Somebody has read before.
            data: bytes | None = b"".join(self.payloads)
            self.payloads.clear()
        else:
            data = await self._receive_piece(join_copy_data)
        rows = parser.finish() if data is None else parser.parse(data)
        self.loaded.extend(rows)
        return data is not None or bool(rows)

    async def _receive_piece(self, cut: Callable[[bytes, int, int, int], tuple[Any, int]]) -> Any:
        copying = self.check_out()
        if self._state == "complete":
            await self._session.wire.backend.checkpoint()
            return None
        try:
            piece = await copying.receive(cut)
        except Error as error:
            raise self._explained(error) from error.__cause__
        if piece is None:
            self._succeeded()
        return piece

    # -- its own

    @property
    def _request(self) -> CopyRequest | None:
        return None if self._copying is None else self._copying.request

    @property
    def is_open(self) -> bool:
        """For this package: whether its block has been entered and not been left."""
        return self._state in ("open", "complete")

    @property
    def takes_data(self) -> bool:
        """For this package: whether that is so, and data is to be written."""
        return self.is_open and not self._is_out()

    @property
    def under_way(self) -> bool:
        """For this package: whether there is something to be ended."""
        return self._copying is not None and self._copying.under_way

    def drop(self) -> None:
        """For this package: give it up without waiting, in the event loop."""
        if self._copying is not None:
            self._copying.drop()
        self._state = "failed"

    def _get_formatter(self) -> RowFormatter:
        self._check_in()
        if self._formatter is None:
            self._check_format("write_row()", "write()")
            self._formatter = RowFormatter(
                self._tx, self._binary, None if self._request is None else self._request.columns
            )
        return self._formatter

    def _get_parser(self) -> RowParser:
        self.check_out()
        if self._parser is None:
            self._check_format("rows()", "read()")
            assert self._request is not None
            self._parser = RowParser(self._tx, self._binary, self._request.columns)
        return self._parser

    def _check_format(self, what: str, instead: str) -> None:
        if self._options.csv or self._options.other_text:
            form = "CSV" if self._options.csv else "text with a DELIMITER or NULL of its own"
            raise NotSupportedError(
                f"{what} is for COPY in binary format, or in text format as it is without options, and this one is of "
                f"{form}: use {instead}, with the csv module for example"
            )

    def _check_open(self) -> Copying | None:
        if self.is_open:
            return self._copying
        if self._state == "not begun":
            raise ProgrammingError("this COPY has not begun: use it as a block, 'with cursor.copy(...) as copy'")
        raise ProgrammingError("this COPY is at its end: its data is written and read in its block")

    def _check_in(self) -> None:
        self._check_open()
        if self._is_out():
            assert self._request is not None
            raise wrong_direction(self._request)

    def check_out(self) -> Copying:
        """For this package: return the COPY, if it is one to be read.

        :raises ProgrammingError: it is none, or not open.
        """
        copying = self._check_open()
        if copying is None:
            raise ProgrammingError("this COPY has no statement, and nothing to read: it writes rows to its writer")
        if not self._is_out():
            assert self._request is not None
            raise wrong_direction(self._request)
        return copying

    def _explained(self, error: Error) -> Error:
        """Return an error of the server's, with a hint if it may come of values that had no types."""
        untyped = self._binary and self._formatter is not None and self._formatter.types is None
        return with_types_hint(error) if untyped else error


class AsyncCopyRows:
    """Asynchronous iterator over the rows of a COPY; an object, so that it may be left early."""

    def __init__(self, copy: AsyncCopy[Any]) -> None:
        self._copy = copy
        self._rows = copy.loaded

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> tuple[Any, ...]:
        rows = self._rows
        while not rows:
            if not await self._copy.receive_rows():
                raise StopAsyncIteration
        return rows.popleft()


def check_writer(writer: object, wanted: type[Writer] | type[AsyncWriter]) -> None:
    """Look whether something can take data instead of the server.

    :raises TypeError: it cannot.
    """
    other = Writer if wanted is AsyncWriter else AsyncWriter
    if isinstance(writer, other) or not all(callable(getattr(writer, name, None)) for name in ("write", "finish")):
        kind = "coroutine functions" if wanted is AsyncWriter else "functions"
        file = " (FileWriter makes one of a file)" if wanted is Writer else ""
        raise TypeError(
            f"a writer of a COPY needs write(data) and finish(exc), which are {kind} here, as those of a subclass of "
            f"anyq.copy.{wanted.__name__}{file}, and {writer!r:.100} is none"
        )


def _cut(data: memoryview) -> Iterator[bytearray]:
    """Return data as messages."""
    for start in range(0, len(data), PIECE):
        message = bytearray(COPY_DATA_HEADER)
        message += data[start : start + PIECE]
        end_copy_data(message)
        yield message


def _reason(exc: BaseException | None) -> str:
    """Return what the server is told about an exception that ends a COPY."""
    if exc is None:
        return ""
    name = type(exc).__qualname__
    try:
        return f"{name}: {exc}"
    except Exception:
        return name  # it cannot say what it is, and something has to be said
