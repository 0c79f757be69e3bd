"""The caller's own stream as a channel: `ForeignStream`.

Knows: anyio's ByteStream. Must not know: sockets beyond anyio's SocketAttribute, the wire protocol.
"""

from __future__ import annotations

import io
import socket
from collections import deque
from contextlib import suppress

import anyio
import anyio.lowlevel
from anyio.abc import ByteStream, SocketAttribute

from .channel import Buffer, Channel

__all__ = ["ForeignStream"]

_RECEIVE_SIZE = 64 * 1024
"""Bytes asked of the stream at a time: what anyio's own streams give at most."""

_PIECE_SIZE = 64 * 1024
"""Bytes given to the stream at a time; between two of them `wait()` can return."""

_HIGH_WATER = 256 * 1024
"""Bytes on the way to the stream from which on it would block: a few pieces ahead, no more memory."""

_FLUSH_SECONDS = 1.0
"""How long closing tries to send the rest, which is a farewell that nobody waits for."""


class ForeignStream(Channel):
    """Any anyio ByteStream, as a channel.

    Such a stream can only be awaited, so all the work is done within `wait()`: it sends what `try_send()` has
    taken and receives at the same time, so that client and server never sit blocked writing to each other. It
    returns, and both have ended: no task is left behind. What was received goes to an inbox, for
    `try_receive()`.

    This relies on receiving being cancellable without loss, as it is for anyio's streams: a receive is
    cancelled when something else makes `wait()` return. Sending is not: a piece that is on its way when
    `wait()` should return (or is woken) is sent to its end before, while receiving goes on. So a server that
    takes nothing, but sends, fills the inbox. A cancelled `wait()` tears the piece: nobody knows how much of
    it was sent, and the channel is broken then. If nothing was on its way, a cancelled `wait()` loses
    nothing.
    """

    closes_at_once = False

    def __init__(self, stream: ByteStream) -> None:
        """Take over `stream`."""
        self._stream = stream
        self._outgoing = bytearray()
        self._inbox: deque[memoryview] = deque()
        self._ended = False
        """Nothing more will come, by end of file or by `_receive_error`."""
        self._receive_error: Exception | None = None
        self._send_error: Exception | None = None
        self._torn = False
        self._closed = False
        self._scope: anyio.CancelScope | None = None
        """Around all that the wait of the moment does."""
        self._send_scope: anyio.CancelScope | None = None
        """Around the piece that is on its way."""
        self._woken = False
        self._duplicate: socket.socket | None = None

    def try_send(self, data: Buffer) -> int:
        """Take all of `data`, or nothing while much is on its way already; `wait()` sends it."""
        self._check()
        if self._send_error is not None:
            raise anyio.BrokenResourceError(_reason(self._send_error)) from self._send_error
        if len(self._outgoing) >= _HIGH_WATER:
            return 0
        self._outgoing += data
        if self._send_scope is None:
            # A wait() that only receives would not notice that there is something to send.
            self.wake()
        return len(data)

    def try_receive(self, max_bytes: int) -> bytes | None:
        self._check()
        if not self._inbox:
            return b"" if self._at_end() else None
        return self._take(max_bytes).tobytes()

    def try_receive_into(self, view: memoryview) -> int | None:
        self._check()
        if not self._inbox:
            return 0 if self._at_end() else None
        data = self._take(len(view))
        view[: len(data)] = data
        return len(data)

    def _take(self, max_bytes: int) -> memoryview:
        data = self._inbox.popleft()
        if len(data) > max_bytes:
            self._inbox.appendleft(data[max_bytes:])
            data = data[:max_bytes]
        return data

    def _at_end(self) -> bool:
        if self._receive_error is not None:
            raise anyio.BrokenResourceError(_reason(self._receive_error)) from self._receive_error
        return self._ended

    def _check(self) -> None:
        if self._closed:
            raise anyio.ClosedResourceError
        if self._torn:
            raise anyio.BrokenResourceError(
                "a cancellation came while data was being sent, so that nobody knows how much of it was"
            )

    async def wait(self, readable: bool, writable: bool) -> None:
        """Send what was taken, and receive, until the channel is in any of the states asked for.

        "Writable" means that everything was sent, so `wait(False, True)` flushes. See the class about
        cancellation.

        :raises anyio.BrokenResourceError: a cancellation has torn the stream.
        :raises anyio.BusyResourceError: another task is waiting here.
        :raises anyio.ClosedResourceError: the channel was closed on this side, before or meanwhile.
        :raises ValueError: neither state was asked for.
        """
        if self._scope is not None:
            raise anyio.BusyResourceError("waiting for")
        self._check()
        if not (readable or writable):
            raise ValueError("nothing to wait for: ask for readable, writable or both")
        if self._is_ready(readable, writable):
            await anyio.lowlevel.checkpoint()
            return
        with anyio.CancelScope() as scope:
            self._scope = scope
            try:
                if self._outgoing:
                    # Whoever is cancelled already has sent nothing yet, and tears nothing.
                    await anyio.lowlevel.checkpoint_if_cancelled()
                    async with anyio.create_task_group() as group:
                        group.start_soon(self._receive_while_sending)
                        await self._send_pieces(readable, writable)
                        if self._woken or self._is_ready(readable, writable):
                            scope.cancel()
                else:
                    await self._receive()
            finally:
                self._scope = None
                self._woken = False
        if self._closed:
            raise anyio.ClosedResourceError

    def _is_ready(self, readable: bool, writable: bool) -> bool:
        return (readable and (bool(self._inbox) or self._ended)) or (writable and not self._outgoing)

    async def _send_pieces(self, readable: bool, writable: bool) -> None:
        while self._outgoing and not self._woken and not self._is_ready(readable, writable):
            piece = bytes(self._outgoing[:_PIECE_SIZE])
            sent = False
            try:
                with anyio.CancelScope() as self._send_scope:
                    await self._stream.send(piece)
                    sent = True
            except Exception as error:
                self._send_error = error
            except BaseException:
                self._torn = True
                raise
            finally:
                self._send_scope = None
            if sent:
                del self._outgoing[: len(piece)]
                continue
            if self._send_error is None:
                # Given up by _receive_while_sending.
                self._send_error = self._receive_error or anyio.EndOfStream()
            self._outgoing.clear()

    async def _receive_while_sending(self) -> None:
        await self._receive()
        while self._send_scope is not None:
            if self._ended:
                # The peer is gone, so it may be that this piece will never be taken, nor fail.
                self._send_scope.cancel()
                return
            await self._receive()

    async def _receive(self) -> None:
        try:
            data = await self._stream.receive(_RECEIVE_SIZE)
        except anyio.EndOfStream:
            self._ended = True
        except Exception as error:
            self._ended = True
            self._receive_error = error
        else:
            if data:
                self._inbox.append(memoryview(data))

    def wake(self) -> None:
        """Make the wait of the moment return as soon as the piece that is on its way has been sent."""
        if self._scope is not None:
            self._woken = True
            if self._send_scope is None:
                self._scope.cancel()

    def fileno(self) -> int:
        """Return a duplicate of the socket's descriptor, if the stream has SocketAttribute.raw_socket.

        It says when bytes arrive at the socket; the stream may have taken them from there before.

        :raises anyio.ClosedResourceError: the channel was closed on this side.
        :raises io.UnsupportedOperation: the stream has no socket (an OSError).
        """
        if self._closed:
            raise anyio.ClosedResourceError
        if self._duplicate is None:
            raw = self._raw_socket()
            if raw is None:
                raise io.UnsupportedOperation(
                    "this connection has no file descriptor: it runs over a "
                    f"{type(self._stream).__qualname__}, without anyio's SocketAttribute.raw_socket"
                )
            self._duplicate = raw.dup()
        return self._duplicate.fileno()

    def _raw_socket(self) -> socket.socket | None:
        return self._stream.extra(SocketAttribute.raw_socket, None)

    def close_now(self) -> None:
        """Shut the channel at once, without blocking; data that is still to be sent is dropped.

        An anyio stream cannot be closed without awaiting, so `aclose()` must follow, sooner or later. Its
        socket, if it is known, is shut down already, so that the server hears of it.
        """
        if not self._closed:
            raw = self._raw_socket()
            self._close_channel()
            if raw is not None:
                # By a duplicate: uvloop does not let its own be shut down.
                with suppress(OSError), raw.dup() as duplicate:
                    duplicate.shutdown(socket.SHUT_RDWR)

    def _close_channel(self) -> None:
        self._closed = True
        self._outgoing.clear()
        self._inbox.clear()
        if self._duplicate is not None:
            self._duplicate.close()
        if self._scope is not None:
            self._scope.cancel()

    async def aclose(self) -> None:
        """Send what is to be sent, for a second at most, and close the stream.

        Cancelled, it closes the stream nevertheless, and forcefully (see anyio's aclose_forcefully()).
        """
        try:
            if not self._closed and not self._torn and self._scope is None:
                with anyio.move_on_after(_FLUSH_SECONDS):
                    while self._outgoing:
                        await self.wait(False, True)
        finally:
            if not self._closed:
                self._close_channel()
            await self._stream.aclose()


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
