"""Where the records of TLS are in what a server sends, so that OpenSSL is given few of them at a time.

Theory of operation. OpenSSL deals with everything that it has been given, for as long as there is nothing to return to
whoever asked for data. There are records that have none, and take longer than those that have: new keys take 0.1 ms for
27 bytes. A server that sends nothing else would keep the event loop for as long as it likes. So records are handed out
in slices that are dealt with in a few milliseconds whatever they are, and whoever does so counts what came out.

Knows the five bytes before a record (RFC 8446, section 5.1), and what may come after the handshake. Must not know
OpenSSL, sockets or what is in a record.
"""

from __future__ import annotations

from ..errors import RemoteProtocolError

__all__ = ["Records"]

_HEADER = 5
"""Bytes before a record: its type, a version, and the length of what follows."""

_MOST_RECORDS = 32
"""Records of a slice, at most: 3 ms of new keys."""

_MOST_BYTES = 32 * 1024
"""Bytes of a slice from which on it takes no further record. As many bytes of tickets take 30 ms, the most of all."""

_ALERT, _DATA = 21, 23
"""The types of record that may come after the handshake. In TLS 1.3 all the others are inside of the second."""


class Records:
    """What has arrived, and was not handed out yet."""

    __slots__ = ("_data", "_left", "_pos", "begun", "established", "pending")

    def __init__(self) -> None:
        self.established = False
        """Whether the handshake is over, and so no other ones may begin: in TLS 1.2 they show what they are."""
        self.pending = False
        """Whether there is a slice to be had."""
        self.begun = 0
        """How many records have begun in the slice that was taken last."""
        self._data = b""
        self._pos = 0  # what is before it was handed out
        self._left = 0  # bytes of the record under way that come before the next one's header

    def put(self, data: bytes) -> bytes | memoryview:
        """Take what has arrived, after all that could be was handed out; return the next slice as :meth:`take` does."""
        if self._data:
            # A part of a header.
            self._data = self._data[self._pos :] + data
            self._pos = 0
        else:
            size = len(data) - _HEADER
            if size > 0 and size == data[3] << 8 | data[4] and data[0] == _DATA and not self._left:
                # One record, as the reply to a short query is.
                self.begun = 1
                return data
            self._data = data
        return self.take()

    def take(self) -> bytes | memoryview:
        """Return the next slice: whole records, or as much as there is of the last one. Empty if there is none.

        :raises RemoteProtocolError: a record begins that cannot be after the handshake.
        """
        data, start = self._data, self._pos
        end = len(data)
        pos = start + self._left
        last = min(start + _MOST_BYTES, end - _HEADER + 1)
        begun = 0
        while pos < last and begun < _MOST_RECORDS:
            if self.established and data[pos] != _DATA and data[pos] != _ALERT:
                raise RemoteProtocolError("the server begins another TLS handshake, which PostgreSQL does not")
            pos += _HEADER + (data[pos + 3] << 8 | data[pos + 4])
            begun += 1
        self.begun = begun
        if pos >= end:
            self._left = pos - end
            self._data, self._pos, self.pending = b"", 0, False
            return memoryview(data)[start:] if start else data
        self._left, self._pos, self.pending = 0, pos, end - pos >= _HEADER
        return memoryview(data)[start:pos]
