"""CopyHolder: the data of one COPY that is collected to be sent, or has arrived, and what can be done with it at once.

Knows rows, formats, encodings and the states of a COPY. Must not know connections, or how data is sent and received, so
that the asynchronous object and the synchronous one do alike.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ..abc import Buffer
from ..adapt import Transformer
from ..adapt.copy import BINARY_HEADER, BINARY_TRAILER, RowFormatter, RowParser
from ..adapt.encodings import encode_text, encoding_to_write
from ..errors import Error, InterfaceError, NotSupportedError, ProgrammingError
from ..protocol.frontend import COPY_DATA_HEADER, end_copy_data
from ..protocol.request import CopyDirection
from .copy_data import PIECE, CopyOptions, with_types_hint, wrong_direction

NOT_BEGUN, OPEN, COMPLETE, FINISHED = "not begun", "open", "complete", "finished"
FAILED, LEFT = "failed", "left before its end"
"""The states of a COPY. COMPLETE: all data has been read, and the block has not been left."""


class CopyHolder:
    """What is collected, or has arrived."""

    _direction = CopyDirection.IN
    _columns: int | None = None
    _options = CopyOptions()
    _tx: Transformer
    _formatter: RowFormatter | None = None
    _parser: RowParser | None = None
    _has_data = False  # so that no header is due
    _has_loaded = False  # some of what has arrived, as rows
    _is_entered = False  # by somebody who waits for it to begin

    def __init__(self, binary: bool) -> None:
        self._binary = binary
        self.enough = PIECE
        """For this package: how many bytes are collected before they are sent; to be set before there are any."""
        self.state = NOT_BEGUN
        """For this package: how far it has come."""
        self.buffer = bytearray(COPY_DATA_HEADER)
        """For this package: what is collected to be sent, behind the header of a message."""
        self.format_row: Callable[[Sequence[Any], bytearray], bool] | None = None
        """For this package: what appends a row to that, and returns whether there is enough; None before the first."""
        self.payloads: deque[bytes] = deque()
        """For this package: data that has arrived and not been read."""
        self.loaded: deque[tuple[Any, ...]] = deque()
        """For this package: rows that have been loaded of it."""

    # -- what may be done

    @property
    def is_open(self) -> bool:
        """For this package: whether its block has been entered and not been left."""
        return self.state in (OPEN, COMPLETE)

    @property
    def takes_data(self) -> bool:
        """For this package: whether that is so, and data is to be written."""
        return self.is_open and self._direction is CopyDirection.IN

    def enter(self) -> None:
        """For this package: take note that its block is being entered.

        :raises InterfaceError: it was entered before, or another task or thread is at that.
        """
        if self.state is not NOT_BEGUN or self._is_entered:
            raise InterfaceError("the block of a COPY can be entered once; make a new one with cursor.copy()")
        self._is_entered = True

    def check(self, direction: CopyDirection | None = None) -> None:
        """For this package: look whether its data can be written, or read.

        :raises ProgrammingError: it cannot.
        """
        if self.state is OPEN and direction is self._direction:
            return
        if self.state is NOT_BEGUN:
            raise ProgrammingError(
                "this COPY has not begun: use it as a block, 'async with cursor.copy(...) as copy', in "
                "synchronous code 'with cursor.copy(...) as copy'"
            )
        if not self.is_open:
            raise ProgrammingError("this COPY is at its end: its data is written and read in its block")
        if direction is not None and direction is not self._direction:
            raise wrong_direction(self._direction)

    def check_out(self) -> None:
        """For this package: do the same for one who wants to read."""
        self.check(CopyDirection.OUT)

    def check_data(self) -> None:
        """For this package: do the same for one who wants to read data as it is sent."""
        self.check_out()
        if self._has_loaded and (self.loaded or self.state is OPEN):
            raise ProgrammingError(
                "rows of this COPY have been read, and what has arrived is loaded: go on by rows() or read_row()"
            )

    def check_rows(self) -> None:
        """For this package: do the same for one who wants to read rows."""
        self._get_parser()

    def set_types(self, types: Sequence[int | str]) -> None:
        """Tell of which type each column is: rows are written and read by these from now on.

        A COPY does not tell it. In binary format, values have to be of exactly these types.

        :param types: names or oids, one for each column.
        :raises ProgrammingError: a type is not known, or there is another number of columns.
        """
        self.check()
        if self._direction is CopyDirection.OUT:
            self._get_parser().set_types(types)
            return
        formatter = self._get_formatter()
        formatter.set_types(types)
        if self.format_row is not None:
            self.format_row = formatter.format_row

    # -- what is written

    def as_bytes(self, buffer: Buffer | str) -> Buffer:
        """For this package: return data as it is sent."""
        self.check(CopyDirection.IN)
        self._refuse_amid_row()
        if isinstance(buffer, (bytes, bytearray)):
            return buffer
        if isinstance(buffer, str):
            return encode_text(buffer, encoding_to_write(self._tx.encoding))
        if isinstance(buffer, memoryview):  # pyright: ignore[reportUnnecessaryIsInstance]
            return buffer.cast("B") if buffer.c_contiguous else buffer.tobytes()
        raise TypeError(f"data of a COPY is bytes or str, not {type(buffer).__name__}; write_row() takes values")

    def collect(self, data: Buffer) -> bool:
        """For this package: take data to be sent; return whether there is enough of it."""
        self._has_data = True
        # Not `self.buffer +=`, which would bring back what another thread has taken meanwhile.
        buffer = self.buffer
        buffer += data
        return len(buffer) > self.enough

    def begin_rows(self) -> Callable[[Sequence[Any], bytearray], bool]:
        """For this package: return what appends a row to what has been collected."""
        formatter = self._get_formatter()
        if self._binary and not self._has_data:
            self.buffer += BINARY_HEADER
        self._has_data = True
        self.format_row = formatter.format_row
        return formatter.format_row

    def end_rows(self) -> None:
        """For this package: append what is due at the end."""
        self._refuse_amid_row()
        if self._binary and not self._has_data:
            self.buffer += BINARY_HEADER + BINARY_TRAILER
        elif self._binary and self.format_row is not None:
            self.buffer += BINARY_TRAILER
        self.format_row = None

    def begin_anew(self) -> None:
        """For this package: forget what was written: it has gone to the writer, and the server gets no row."""
        self._has_data = False

    def take(self) -> bytearray:
        """For this package: return what has been collected, as a message; nothing if there is nothing."""
        message = self.buffer
        if len(message) <= len(COPY_DATA_HEADER):
            return bytearray()
        self.buffer = bytearray(COPY_DATA_HEADER)
        end_copy_data(message)
        return message

    def messages(self, data: Buffer) -> Iterator[bytearray]:
        """For this package: return what has been collected, and data that was not, as messages of moderate size."""
        if not data and self._is_amid_row():
            # Another thread's, which sends it.
            return
        self._refuse_amid_row()
        if len(self.buffer) <= 2 * self.enough:
            message = self.take()
            if message:
                yield message
        else:
            collected, self.buffer = self.buffer, bytearray(COPY_DATA_HEADER)
            yield from _cut(memoryview(collected)[len(COPY_DATA_HEADER) :])
        if data:
            self._has_data = True
            yield from _cut(memoryview(data))

    def pieces(self, data: Buffer) -> Iterator[Buffer]:
        """For this package: return the same for a writer."""
        if not data and self._is_amid_row():
            return
        self._refuse_amid_row()
        collected, self.buffer = self.buffer, bytearray(COPY_DATA_HEADER)
        if len(collected) > len(COPY_DATA_HEADER):
            yield bytes(memoryview(collected)[len(COPY_DATA_HEADER) :])
        if data:
            self._has_data = True
            yield data

    def _is_amid_row(self) -> bool:
        return self._formatter is not None and self._formatter.is_writing(self.buffer)

    def _refuse_amid_row(self) -> None:
        if self._formatter is not None and self._is_amid_row():
            raise self._formatter.amid_row()

    def explained(self, error: Error) -> Error:
        """For this package: return an error of the server's, with a hint if it may come of the types of the values."""
        if not self._binary or self._formatter is None:
            return error
        return with_types_hint(error, self._formatter.dumpers is not None)

    # -- what is read

    @property
    def _reads_rows(self) -> bool:
        return self._parser is not None

    def unread(self) -> bytes:
        """For this package: return what has been received row by row and not been read."""
        data = b"".join(self.payloads)
        self.payloads.clear()
        return data

    def load(self, data: bytes | None) -> bool:
        """For this package: load the rows of data, None being its end; return whether there may be more.

        :raises DataError: a value cannot be loaded, or the data is malformed.
        """
        parser = self._get_parser()
        self._has_loaded = True
        rows = parser.finish() if data is None else parser.parse(data)
        self.loaded.extend(rows)
        return data is not None or bool(rows)

    # -- its own

    def _get_formatter(self) -> RowFormatter:
        self.check(CopyDirection.IN)
        if self._formatter is None:
            self._check_format("write_row()", "write()")
            self._formatter = RowFormatter(self._tx, self._binary, self._columns, self.enough)
        return self._formatter

    def _get_parser(self) -> RowParser:
        self.check(CopyDirection.OUT)
        if self._parser is None:
            self._check_format("rows()", "read()")
            self._parser = RowParser(self._tx, self._binary, self._columns)
        return self._parser

    def _check_format(self, what: str, instead: str) -> None:
        if self._options.csv or self._options.other_text:
            form = "CSV" if self._options.csv else "text with a DELIMITER or NULL of its own"
            raise NotSupportedError(
                f"{what} is for COPY in binary format, or in text format as it is without options, and this one is of "
                f"{form}: use {instead}, with the csv module for example"
            )


def _cut(data: memoryview) -> Iterator[bytearray]:
    """Return data as messages."""
    for start in range(0, len(data), PIECE):
        message = bytearray(COPY_DATA_HEADER)
        message += data[start : start + PIECE]
        end_copy_data(message)
        yield message
