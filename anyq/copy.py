"""AsyncCopy: the data of one COPY, as a user writes or reads it; and writers, which take it instead of the server.

Knows when data is sent and received, and how the block ends. Must not know messages, sockets or event loops; what can
be done without waiting is in `statements.copy_holder`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from types import TracebackType
from typing import IO, Any, Generic, Protocol

from typing_extensions import Self, TypeVar

from ._accel import DONE, join_copy_data, split_copy_data
from .abc import Buffer, Params, Query
from .adapt import Transformer
from .adapt.encodings import python_codec
from .adapt.placing import uses_standard_strings
from .backends import Finalizer, uninterrupted
from .errors import Error
from .protocol.request import CopyDirection
from .session.copying import Copying, at_its_end, reason_of
from .session.pipeline import refuse_if_in_pipeline
from .session.session import Adaptation, Session
from .session.traced import new_copying
from .statements.binders import Binder
from .statements.copy_data import PIECE, check_copy
from .statements.copy_holder import COMPLETE, FAILED, FINISHED, LEFT, NOT_BEGUN, OPEN, CopyHolder
from .statements.requests import RowsRequest
from .tracing.telling import Running

T = TypeVar("T")


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


class AsyncCopy(CopyHolder, Generic[ConnectionT]):
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
    _statement: tuple[Any, Params | None] | None = None
    _session: Session
    _if_dropped: Finalizer | None = None
    _running: Running | None = None

    def __init__(self, cursor: CopyCursor, *, binary: bool | None = None, writer: AsyncWriter | None = None) -> None:
        super().__init__(bool(binary))
        if writer is not None:
            check_writer(writer, AsyncWriter)
        self.cursor = cursor
        """The cursor that it was made by."""
        self.writer = writer
        """What takes the data instead of the server, or None."""

    def with_statement(self, statement: Query, params: Params | None) -> Self:
        """For this package: run a statement when the block is entered; return the object itself."""
        self._statement = statement, params
        return self

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__qualname__} [{self.describe()}] at 0x{id(self):x}>"

    def describe(self) -> str:
        """For this package: return its direction and state, and the connection's status."""
        direction = "" if self.state is NOT_BEGUN else f"{self._direction.value}, "
        session, _, _ = self.cursor.parts_for_copy()
        return f"{direction}{self.state}, {session.transaction_status.name}"

    @property
    def connection(self) -> ConnectionT:
        """The connection that it is on."""
        connection: ConnectionT = self.cursor.connection
        return connection

    # -- the block

    @uninterrupted
    async def __aenter__(self) -> Self:
        self.enter()  # first, as to refuse it is no reason to give the COPY up
        try:
            await self.begin()
            return self
        except BaseException:
            await self._make_sure()
            raise

    @uninterrupted
    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        try:
            await self.finish(exc_val)
        except BaseException:
            await self._make_sure()
            raise

    @uninterrupted
    async def _make_sure(self) -> None:
        """See to it that the COPY is at its end, after an interrupt at whatever moment."""
        if self._copying is not None:
            await self._copying.give_up()

    @uninterrupted
    async def begin(self) -> None:
        """For this package: run the statement, and be ready for data; behind :meth:`enter`."""
        try:
            await self._begin()
        except BaseException as error:
            self._tell(error)
            raise
        finally:
            self._is_entered = False

    @uninterrupted
    async def _begin(self) -> None:
        self.cursor.check_open()
        self._session, adaptation, binder = self.cursor.parts_for_copy()
        if self._statement is not None:
            refuse_if_in_pipeline(self._session, "copy()")
            self.cursor.forget_results()
            if self._session.tracing is not None:
                self._running = self._session.tracing.begin_copy(*self._statement)
            tx = adaptation.transformer()
            statement = binder.bind(*self._statement, tx)
            self._options = check_copy(statement, tx.encoding, standard_strings=uses_standard_strings(tx))
            self._copying = copying = new_copying(self._session, statement, tx, self._running)
            request = await copying.begin()
            assert request.direction is not None
            self._if_dropped = Finalizer(self, _dropped, copying, self._running)
            self._direction, self._binary, self._columns = request.direction, request.binary, request.columns
        self.state = OPEN
        self._tx = adaptation.transformer()
        if self._options.encoding is not None:
            encoding = python_codec(self._options.encoding)
            self._tx = Transformer(adaptation, encoding=encoding, parameters=self._tx.parameters)

    @uninterrupted
    async def finish(self, exc: BaseException | None = None) -> None:
        """End the COPY, as leaving its block does, after which this does nothing.

        :param exc: the exception that ends it; None for a COPY FROM STDIN that is to take effect.
        :raises Error: what the server says.

        A cancellation gives it up, if it is not complete.
        """
        if self.state is COMPLETE:
            self.state = FINISHED
            if self._if_dropped is not None:
                self._if_dropped.call_off()
        if self.state is not OPEN:
            return
        copying, is_out = self._copying, self._direction is CopyDirection.OUT
        try:
            if is_out and exc is None:
                # Whoever has taken all data need not have seen that there is no more.
                more = bool(self.payloads or self.loaded)
                more = more or await (self.receive_rows() if self._reads_rows else self.receive())
                self.state = LEFT if more else FINISHED
            elif not is_out:
                self.state = FINISHED
                if self.writer is not None:
                    await self._finish_writer(self.writer, exc)
                if exc is None and copying is not None:
                    await self._finish_in(copying)
        except BaseException as error:
            exc = error
            raise
        finally:
            self.format_row = None
            self._tell(exc)
            if exc is not None:
                self.state = FAILED
            if self._if_dropped is not None:
                self._if_dropped.call_off()
            if copying is not None:
                await copying.give_up(reason_of(exc))

    async def _finish_in(self, copying: Copying) -> None:
        self.end_rows()
        try:
            await copying.finish(self.take())
        except Error as error:
            raise self.explained(error) from error.__cause__
        self._succeeded()

    async def _finish_writer(self, writer: AsyncWriter, exc: BaseException | None) -> None:
        if exc is None:
            self.end_rows()
            await self.flush()
            self.begin_anew()
        await writer.finish(exc)

    def _succeeded(self) -> None:
        assert self._copying is not None
        assert self._copying.request is not None
        self.cursor.take_request(self._copying.request)

    # -- writing

    # These two are no coroutine functions, since mostly there is nothing to wait for.
    def write(self, buffer: Buffer | str) -> Coroutine[Any, Any, None]:
        """Write data of a COPY FROM STDIN, in its format; it may be cut anywhere.

        :param buffer: bytes, or text that is to be encoded as the server expects it.
        :raises ProgrammingError: the COPY is none FROM STDIN.
        :raises Error: what the server says of what was written before.

        Data is collected, and sent when there are 64 KiB of it: then this is a checkpoint, and waits while the server
        is slow to take it. A cancellation gives the COPY up.
        """
        data = self.as_bytes(buffer)
        if len(data) > PIECE:
            return self._send(data)
        if not data:
            return self._pause()
        return self.flush() if self.collect(data) else DONE

    def write_row(self, row: Sequence[Any]) -> Coroutine[Any, Any, None]:
        """Write a row of a COPY FROM STDIN, in text or binary format.

        :param row: its values, one for each column; None is NULL.
        :raises ProgrammingError: the COPY is none FROM STDIN, or in a format that rows cannot be written in.
        :raises DataError: a value has no form in PostgreSQL, or the row another number of columns. It is not written,
            and others may be.
        :raises Error: what the server says of what was written before.

        Waits as :meth:`write` does.
        """
        format_row = self.format_row
        if format_row is None:
            format_row = self.begin_rows()
        return self.flush() if format_row(row, self.buffer) else DONE

    async def _pause(self) -> None:
        await self._session.wire.backend.checkpoint()

    async def flush(self) -> None:
        """For this package: send what has been collected, and wait until there is room for more."""
        await self._send(b"")

    async def _send(self, data: Buffer) -> None:
        if self.writer is not None:
            await self._session.wire.backend.checkpoint_if_cancelled()
            for piece in self.pieces(data):
                await self.writer.write(piece)
        elif self._copying is not None:
            try:
                await self._copying.send(self.messages(data))
            except Error as error:
                raise self.explained(error) from error.__cause__

    # -- reading

    async def read(self) -> bytes:
        """Return the next row of a COPY TO STDOUT, as the server has sent it; empty at the end.

        :raises ProgrammingError: the COPY is none TO STDOUT, or rows have been read of it and are not at their end.
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

    def blocks(self) -> AsyncIterator[bytes]:
        """Iterate over the data of a COPY TO STDOUT in blocks, each of as many rows as have arrived.

        No row is cut: a block has one row, or up to 127 KiB of them. To hand the data on, or to store it in a file,
        this is the fastest way. Each is a checkpoint; a cancellation gives the COPY up.

        :raises ProgrammingError: as :meth:`read`.
        :raises Error: what the server says.
        """
        self.check_data()
        return AsyncCopyBlocks(self)

    def rows(self) -> AsyncCopyRows:
        """Iterate over the rows of a COPY TO STDOUT in text or binary format, as tuples of values.

        Without :meth:`set_types` values are str in text format, and bytes in binary format; NULL is None.

        :raises ProgrammingError: the COPY is none TO STDOUT, or in a format that rows cannot be read of.
        :raises DataError: a value cannot be loaded; or the data is not complete.
        """
        self.check_rows()
        return AsyncCopyRows(self)

    async def read_row(self) -> tuple[Any, ...] | None:
        """Return the next row of a COPY TO STDOUT as :meth:`rows` does, None at the end."""
        while not self.loaded:
            if not await self.receive_rows():
                return None
        return self.loaded.popleft()

    async def receive(self) -> bool:
        """For this package: wait for more data; return False at the end."""
        self.check_data()
        found = await self._receive(split_copy_data)
        if found is not None:
            self.payloads.extend(found)
        return found is not None

    async def receive_block(self) -> bytes | None:
        """For this package: return what has arrived and not been read, or else wait for more; None at the end."""
        self.check_data()
        block: bytes | None = self.unread()
        while block == b"":
            block = await self._receive(_join_all)
        return block

    async def receive_rows(self) -> bool:
        """For this package: wait for more rows; return False at the end."""
        self.check_rows()
        return self.load(self.unread() or await self._receive(join_copy_data))

    async def _receive(self, cut: Callable[[bytes, int, int, int], tuple[T, int]]) -> T | None:
        self.check_out()
        copying = self._copying
        assert copying is not None
        if self.state is COMPLETE:
            await self._session.wire.backend.checkpoint()
            return None
        piece = await copying.receive(cut)
        if piece is None and self.state is OPEN:
            self.state = COMPLETE
            self._succeeded()
        return piece

    # -- its own

    @property
    def under_way(self) -> bool:
        """For this package, and for one who drops it then: whether there is something to be ended."""
        # Which happens soon, and not at once: statements may come first, and are to wait.
        return self._copying is not None and self._copying.disown()

    def drop(self) -> None:
        """For this package: give it up without waiting, in the event loop."""
        if self._copying is not None:
            self._copying.drop()
        self._tell(at_its_end())
        self.state = FAILED

    def _tell(self, error: BaseException | None) -> None:
        """Tell those who watch that it is at its end, unless they know."""
        if self._running is not None:
            self._running.end() if error is None else self._running.fail(error)


class AsyncCopyBlocks:
    """Asynchronous iterator over the data of a COPY; an object, so that it may be left early."""

    def __init__(self, copy: AsyncCopy[Any]) -> None:
        self._copy = copy

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        block = await self._copy.receive_block()
        if block is None:
            raise StopAsyncIteration
        return block


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


def _dropped(copying: Copying, running: Running | None) -> None:
    if running is not None:
        running.fail(at_its_end())
    copying.drop_from_anywhere()


def _join_all(run: bytes, pos: int, stop: int, most: int) -> tuple[bytes, int]:
    """Join what was received at once: whoever hands it on has less to do with it than whoever loads rows."""
    return join_copy_data(run, pos, stop, stop - pos)


def check_writer(writer: object, wanted: type[Writer] | type[AsyncWriter]) -> None:
    """Look whether something can take data instead of the server.

    :raises TypeError: it cannot.
    """
    # A class would be taken for an object of it.
    no_writers = (type, Writer if wanted is AsyncWriter else AsyncWriter)
    if isinstance(writer, no_writers) or not all(callable(getattr(writer, name, None)) for name in ("write", "finish")):
        kind = "coroutine functions" if wanted is AsyncWriter else "functions"
        file = " (FileWriter makes one of a file)" if wanted is Writer else ""
        raise TypeError(
            f"a writer of a COPY needs write(data) and finish(exc), which are {kind} here, as those of a subclass of "
            f"anyq.copy.{wanted.__name__}{file}, and {writer!r:.100} is none"
        )
