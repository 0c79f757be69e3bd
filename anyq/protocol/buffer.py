"""Framing: turns chunks of a byte stream into runs that start at a message boundary.

Knows how long a message is and how to keep an unfinished one without copying it again for every chunk that
arrives. Must not know what any message means, except that a large DataRow is made of columns: its big values
are received straight into the memory that becomes the ``bytes`` the user gets, so that a value of 200 MB never
exists twice.
"""

from __future__ import annotations

import io

from ..errors import OperationalError, RemoteProtocolError

HEADER = 5
"""Bytes before a message's payload: the code and a length that counts itself (4) and the payload."""

LARGE_MESSAGE = 256 * 1024
"""A DataRow longer than this is taken apart while it arrives; shorter ones are cheaper to collect and slice."""

LARGE_VALUE = 64 * 1024
"""A value longer than this inside a large row gets memory of its own."""

FIRST_GROWTH = 1024 * 1024
"""What a big value is given at first, in bytes. More only when that much has arrived: a length is only a claim."""


class ReceiveBuffer:
    """Keeps the unfinished message between two chunks."""

    __slots__ = ("_needed", "partial")

    def __init__(self) -> None:
        self.partial: bytes | bytearray = b""
        """What is kept; mostly nothing, and then a chunk is a run as it is."""
        self._needed = 0

    def __len__(self) -> int:
        return len(self.partial)

    def feed(self, chunk: bytes) -> bytes | None:
        """Return what is kept and `chunk`, if that has the length asked for by :meth:`keep`; None to wait for more."""
        partial = self.partial
        if len(partial) + len(chunk) < self._needed:
            self.partial = bytearray(partial) if isinstance(partial, bytes) else partial
            self.partial += chunk
            return None
        self.partial = b""
        return b"".join((partial, chunk))

    def keep(self, run: bytes, pos: int, needed: int) -> None:
        """Keep `run` from `pos` on until it has grown to `needed` bytes."""
        self.partial = run[pos:]
        self._needed = needed


class LargeRow:
    """One large DataRow while it arrives.

    :meth:`feed` takes what was received with other data; as soon as :meth:`target` gives a view, the rest of the
    value may be received into it directly, followed by :meth:`received`.
    """

    __slots__ = ("_columns", "_left", "_scratch", "_value", "_value_end", "_value_pos", "values")

    def __init__(self, payload_length: int) -> None:
        self.values: list[bytes | None] = []
        self._left = payload_length  # bytes of the message not yet taken
        self._columns = -1  # not known before the first two bytes
        self._scratch = bytearray()  # a piece that is not complete: the count, a length, a small value
        self._value: io.BytesIO | None = None
        self._value_pos = 0
        self._value_end = 0

    @property
    def done(self) -> bool:
        return self._left == 0 and self._value is None

    def feed(self, run: bytes, pos: int) -> int:
        """Take bytes of `run` from `pos` on; return where it stopped (the row's end, or that of `run`).

        :raises RemoteProtocolError: they are no row.
        :raises OperationalError: there is no memory for a value.
        """
        end = min(len(run), pos + self._left)
        while pos < end:
            if self._value is not None:
                pos = self._feed_value(run, pos, end)
                continue
            pos = self._feed_piece(run, pos, end)
        return pos

    def finish(self) -> list[bytes | None]:
        """Return the column values of the complete row.

        :raises RemoteProtocolError: the columns do not add up to the length of the message.
        """
        if self._columns != len(self.values) or self._scratch:
            raise RemoteProtocolError("the columns of a DataRow message do not add up to its length")
        return self.values

    def target(self) -> memoryview | None:
        """Return where the next bytes of a big value may be received, or None if they should be fed."""
        value = self._value
        if value is None:
            return None
        view = value.getbuffer()
        if self._value_pos == len(view):
            view.release()
            self._grow()
            view = value.getbuffer()
        return view[self._value_pos :]

    def received(self, count: int) -> None:
        """Take note that `count` bytes were received into :meth:`target`'s view, which is released by now."""
        self._value_pos += count
        self._left -= count
        self._finish_value()

    def _feed_value(self, run: bytes, pos: int, end: int) -> int:
        view = self.target()
        assert view is not None
        with view:
            count = min(len(view), end - pos)
            view[:count] = memoryview(run)[pos : pos + count]
        self.received(count)
        return pos + count

    def _feed_piece(self, run: bytes, pos: int, end: int) -> int:
        """Take one piece: the number of columns, a column's length with the start of its value."""
        scratch = self._scratch
        header = 2 if self._columns < 0 else 4
        wanted = header - len(scratch)
        size = 0
        if wanted <= 0 and header == 4:
            size = int.from_bytes(scratch[:4], "big", signed=True)
            wanted = 4 + size - len(scratch)
        count = min(wanted, end - pos)
        scratch += memoryview(run)[pos : pos + count]
        self._left -= count
        pos += count
        if count < wanted:
            return pos
        if header == 2:
            self._columns = int.from_bytes(scratch, "big")
            scratch.clear()
        elif len(scratch) > 4 or size:
            self.values.append(bytes(scratch[4:]))
            scratch.clear()
        else:
            self._start_column(int.from_bytes(scratch, "big", signed=True))
        return pos

    def _start_column(self, size: int) -> None:
        if size > self._left or size < -1 or len(self.values) == self._columns:
            raise RemoteProtocolError(f"a DataRow message has a column of {size} bytes where {self._left} are left")
        if size <= 0:
            self.values.append(None if size < 0 else b"")
            self._scratch.clear()
        elif size > LARGE_VALUE:
            self._scratch.clear()
            self._value = io.BytesIO()
            self._value_pos = 0
            self._value_end = size
            self._grow()

    def _grow(self) -> None:
        assert self._value is not None
        size = min(self._value_end, max(FIRST_GROWTH, 2 * self._value_pos))
        try:
            self._value.seek(size - 1)
            self._value.write(b"\0")
        except MemoryError:
            column = len(self.values) + 1
            raise OperationalError(
                f"there is no memory for a value of {self._value_end:,} bytes, in column {column} of a row"
            ) from None

    def _finish_value(self) -> None:
        if self._value is not None and self._value_pos == self._value_end:
            # BytesIO hands out its own memory, it makes no copy: this is what the class is used for.
            self.values.append(self._value.getvalue())
            self._value = None
