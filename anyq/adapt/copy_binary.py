"""COPY's binary format: what is around the rows, and where each value is.

Knows the header, rows and the trailer (PostgreSQL manual, "COPY", "Binary Format"). Must not know types or connections.
"""

from __future__ import annotations

from collections import deque
from struct import Struct

from ..errors import DataError

SIGNATURE = b"PGCOPY\n\xff\r\n\0"
BINARY_HEADER = SIGNATURE + bytes(8)
"""What binary data begins with: the signature, flags, and the length of an extension of the header, 0."""
BINARY_TRAILER = b"\xff\xff"
"""What binary data ends with: a row of -1 values."""

_HEADER_SIZE = len(BINARY_HEADER)
_CRITICAL = 0xFFFF_0000
"""Flags that change what comes behind the header. One says that rows have oids, as they had in old servers."""
_unpack_header = Struct("!Ii").unpack_from  # flags, length of the extension
_unpack_count = Struct("!h").unpack_from
_unpack_length = Struct("!i").unpack_from


class BinarySplitter:
    """Split binary data, which may be cut anywhere, into the values of its rows.

    It takes a time that is linear in the length of the data, and keeps no more than the row that is not complete.

    :param columns: how many each row has, None for as many as the first.
    """

    def __init__(self, columns: int | None) -> None:
        self.columns = columns
        """How many each row has, None as long as nobody knows."""
        self._rest = bytearray()
        self._need = _HEADER_SIZE
        """How many bytes the rest must have before there is anything to do."""
        self._started = self._ended = False
        self._skip = 0
        """How many bytes of an extension of the header are still to come."""
        self._fields: list[bytes | None] | None = None
        """Those of a row that is not complete."""

    @property
    def is_between_rows(self) -> bool:
        """Whether the next byte begins a row, or the trailer."""
        return self._started and not (self._rest or self._skip or self._ended) and self._fields is None

    def missing(self) -> str | None:
        """Return where the data ends, None if that is where it should."""
        if not self._started or self._skip:
            return "within its header"
        if self._fields is not None or self._rest:
            return "within a row"
        return None if self._ended else "without its trailer"

    def split(self, chunk: bytes, records: deque[list[bytes | None]]) -> None:
        """Take more of the data, and append the values of each row that is complete.

        :raises DataError: the data is malformed. The rows before that have been appended.
        """
        rest = self._rest
        rest += chunk
        if len(rest) < self._need:
            return
        data = bytes(rest)
        pos = 0 if self._started and not self._skip else self._take_header(data)
        while not self._skip and not self._ended:
            if self._fields is None:
                self._need = 2
                if len(data) - pos < 2:
                    break
                (count,) = _unpack_count(data, pos)
                pos += 2
                if count == -1:
                    self._ended = True
                    self._need = 1
                    break
                if self.columns is None and count >= 0:
                    self.columns = count
                # Before any value of it is kept: a row may say that it has 32,767 of them.
                if count != self.columns:
                    raise DataError(f"malformed data of a COPY: a row of {count} columns, expected {self.columns or 0}")
                self._fields = []
            pos = self._take_fields(data, pos, self._fields)
            if len(self._fields) != self.columns:
                break
            records.append(self._fields)
            self._fields = None
        del rest[:pos]
        if self._ended and rest:
            raise DataError("malformed data of a COPY: it goes on behind its end")

    def _take_header(self, data: bytes) -> int:
        """Return where the header ends, or this part of it."""
        pos = 0
        if not self._started:
            if not data.startswith(SIGNATURE):
                raise DataError(f"malformed data of a COPY: binary data begins with {SIGNATURE!r}, not {data[:11]!r}")
            flags, self._skip = _unpack_header(data, len(SIGNATURE))
            if flags & _CRITICAL or self._skip < 0:
                raise DataError(
                    f"malformed data of a COPY: a header with flags {flags:#x} and an extension of {self._skip} bytes"
                )
            self._started = True
            pos = _HEADER_SIZE
        # An extension is for those who know it; others are to skip it.
        skipped = min(self._skip, len(data) - pos)
        self._skip -= skipped
        self._need = 1
        return pos + skipped

    def _take_fields(self, data: bytes, pos: int, fields: list[bytes | None]) -> int:
        """Append the values of a row that are complete; return the position behind them."""
        while len(fields) != self.columns:
            self._need = 4
            if len(data) - pos < 4:
                break
            (length,) = _unpack_length(data, pos)
            if length < -1:
                raise DataError(f"malformed data of a COPY: a value of {length} bytes")
            end = pos + 4 + max(length, 0)
            if end > len(data):
                self._need = 4 + length
                break
            fields.append(None if length < 0 else data[pos + 4 : end])
            pos = end
        return pos
