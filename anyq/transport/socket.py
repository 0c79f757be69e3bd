"""Streams to the server: our own over a socket, or any anyio ByteStream of the caller's.

Knows: sockets and how they fail. Must not know: the wire protocol, DNS, connection options.
"""

from __future__ import annotations

import os
import socket
import warnings
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, TypeAlias, TypeVar

import anyio
from anyio.abc import ByteStream, SocketAttribute

from .._accel import readable_within, receive_now, send_now
from ..backends import Backend, Finalizer, SocketWaiter, current_backend
from .channel import Buffer, Channel
from .foreign import ForeignStream

__all__ = ["Address", "Buffer", "Channel", "ForeignStream", "SocketStream", "as_channel"]

T = TypeVar("T")

SocketAddress: TypeAlias = "str | bytes | tuple[Any, ...]"
"""What `socket.connect()` takes: a path, or a numeric address and a port (and more, for IPv6)."""

Address: TypeAlias = "tuple[int, SocketAddress]"
"""An address family (`socket.AF_...`) and an address in it: enough to reach the very same peer once more."""


class PlainSocket:
    """What a channel sends and receives by, where nothing is between it and the socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._closed = False

    def try_send(self, data: Buffer) -> int:
        return self.put(data)

    def try_receive(self, max_bytes: int) -> bytes | None:
        return self.take(max_bytes)

    # The same two, which nobody overrides.

    def put(self, data: Buffer) -> int:
        """For this package: see :meth:`Channel.try_send`."""
        try:
            return send_now(self._sock, data)
        except OSError as error:
            raise self._lost(error) from error

    def take(self, max_bytes: int) -> bytes | None:
        """For this package: see :meth:`Channel.try_receive`."""
        try:
            return receive_now(self._sock, max_bytes)
        except OSError as error:
            raise self._lost(error) from error

    def _lost(self, error: OSError) -> Exception:
        if self._closed:
            return anyio.ClosedResourceError()
        return anyio.BrokenResourceError(error.strerror or str(error))


def plain_socket(channel: Channel) -> PlainSocket | None:
    """Return a channel itself, if what it sends and receives is what its socket does."""
    kind: Any = type(channel)
    if not isinstance(channel, PlainSocket) or kind.try_send is not PlainSocket.try_send:
        return None
    return channel if kind.try_receive is PlainSocket.try_receive else None


class SocketStream(PlainSocket, Channel, ByteStream):
    """A stream socket of our own.

    Use it either as a `Channel`, or as an anyio ByteStream with one receiving and one sending task.

    A cancelled `wait()` or `receive()` loses nothing. A cancelled `send()` may have sent a part of its data.

    Nothing here looks at the bytes; `TlsStream` puts OpenSSL between the `try_` methods and the socket.
    """

    def __init__(self, sock: socket.socket, *, backend: Backend | None = None, peer: Address | None = None) -> None:
        """Take over `sock`, which may still be connecting; if this raises, it is still the caller's to close.

        :param peer: the address that the socket was connected to; asked of the socket if left out.
        :raises RuntimeError: no event loop is running.
        """
        sock.setblocking(False)
        if _is_ip(sock):
            # Queries are short messages that wait for an answer: Nagle's algorithm would hold them back.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().__init__(sock)
        self._peer = peer
        self._backend = backend or current_backend()
        self._waiter: SocketWaiter = self._backend.socket_waiter(sock)
        # Its own ones, while it is lent to another backend.
        self._lender: tuple[Backend, SocketWaiter] | None = None
        # send() has one of its own, so that another task can receive meanwhile. They do not clash: event
        # loops keep one waiter for each direction.
        self._send_waiter: SocketWaiter | None = None
        self._duplicate: socket.socket | None = None
        self._held = [sock]
        _open[id(self._held)] = self._held
        self._finalizer = Finalizer(self, _forgotten, self._waiter, self._held, repr(self))
        self._receiving = self._sending = self._sent_eof = False

    # -- as a channel

    def try_receive_into(self, view: memoryview) -> int | None:
        try:
            return self._sock.recv_into(view)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError as error:
            raise self._lost(error) from error

    def readable_within(self, seconds: float) -> bool:
        return seconds > 0 and readable_within(self._sock.fileno(), seconds)

    # Not a coroutine function, but what it returns is to be awaited: one frame less in the hottest path.
    def wait(self, readable: bool, writable: bool) -> Awaitable[None]:
        if writable and self._sending:
            raise anyio.BusyResourceError("writing to")
        return self._waiter.wait(readable, writable)

    def wake(self) -> None:
        self._waiter.wake()

    def fileno(self) -> int:
        if self._closed:
            raise anyio.ClosedResourceError
        if self._duplicate is None:
            self._duplicate = self._sock.dup()
            self._held.append(self._duplicate)
        return self._duplicate.fileno()

    @property
    def backend(self) -> Backend:
        """The event loop's library."""
        return self._backend

    @property
    def known_peer(self) -> Address | None:
        """The address that the socket was connected to, if it was told to this stream."""
        return self._peer

    @property
    def peer(self) -> Address:
        """The address of the server: the one that was dialled, where it was (see `dialing.open_same()`).

        :raises anyio.BrokenResourceError: the socket is not connected.
        """
        if self._peer is None:
            self._peer = (self._sock.family, self._ask(self._sock.getpeername))
        return self._peer

    def detach(self) -> socket.socket:
        """Return the socket, which is the caller's from then on: this stream is closed, and the socket is not.

        :raises anyio.ClosedResourceError: the stream was closed on this side.
        """
        if self._closed:
            raise anyio.ClosedResourceError
        self._let_go()
        return self._sock

    def lend(self, backend: Backend, waiter: SocketWaiter) -> None:
        """Have another backend wait for the socket until :meth:`take_back`; nobody waits for it now.

        Between the two the stream belongs to whoever runs that backend. It may be closed, but the descriptor is left to
        the event loop to close, which may have registered it.
        """
        if self._lender is None:
            self._lender = self._backend, self._waiter
        self._backend, self._waiter = backend, waiter

    def take_back(self) -> None:
        """Undo :meth:`lend`; again, nothing."""
        if self._lender is not None:
            self._backend, self._waiter = self._lender
            self._lender = None

    def _let_go(self) -> None:
        self._finalizer.call_off()
        _open.pop(id(self._held), None)
        (self._waiter if self._lender is None else self._lender[1]).close()
        if self._send_waiter is not None:
            self._send_waiter.close()
        if self._duplicate is not None:
            self._duplicate.close()
        self._closed = True

    def close_now(self) -> None:
        if not self._closed:
            if self._lender is not None and self._lender[0].call_there(self._close):
                self._closed = True
                return
            try:
                self._close()
            except BaseException:
                # Interrupted amid it: the same again, which does what is left of it.
                self._close()
                raise

    def _close(self) -> None:
        self._let_go()
        # Some systems report a connection that was reset once more, when it is closed.
        with suppress(OSError):
            self._sock.close()

    async def aclose(self) -> None:
        self.close_now()
        await self._backend.checkpoint()

    # -- as an anyio ByteStream

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Return the next 1 to `max_bytes` bytes. A cancellation loses nothing.

        :raises anyio.EndOfStream: the peer will send no more.
        :raises anyio.BrokenResourceError: the connection is lost.
        :raises anyio.BusyResourceError: another task is receiving.
        :raises anyio.ClosedResourceError: the stream was closed on this side.
        """
        if self._receiving:
            raise anyio.BusyResourceError("reading from")
        self._receiving = True
        try:
            await self._backend.checkpoint()
            while (data := self.try_receive(max_bytes)) is None:
                await self._waiter.wait(True, False)
        finally:
            self._receiving = False
        if not data:
            raise anyio.EndOfStream
        return data

    async def send(self, item: Buffer) -> None:
        """Send all of `item`. After a cancellation an unknown part of it was sent.

        :raises anyio.BrokenResourceError: the connection is lost.
        :raises anyio.BusyResourceError: another task is sending.
        :raises anyio.ClosedResourceError: the stream was closed on this side, or send_eof() was called.
        """
        if self._sending:
            raise anyio.BusyResourceError("writing to")
        self._sending = True
        try:
            await self._backend.checkpoint()
            if self._closed or self._sent_eof:
                raise anyio.ClosedResourceError
            rest = memoryview(item)
            while rest or self.has_backlog():
                sent = self.try_send(rest)
                if sent:
                    rest = rest[sent:]
                    continue
                if self._send_waiter is None:
                    self._send_waiter = self._backend.socket_waiter(self._sock)
                await self._send_waiter.wait(False, True)
        finally:
            self._sending = False

    def has_backlog(self) -> bool:
        """Return whether try_send() has taken data that is not on its way yet."""
        return False

    async def send_eof(self) -> None:
        """Tell the peer that no more will be sent; receiving goes on.

        :raises anyio.BrokenResourceError: the connection is lost.
        :raises anyio.BusyResourceError: another task is sending.
        :raises anyio.ClosedResourceError: the stream was closed on this side.
        """
        if self._sending:
            raise anyio.BusyResourceError("writing to")
        await self._backend.checkpoint()
        self._ask(lambda: self._sock.shutdown(socket.SHUT_WR))
        self._sent_eof = True

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        """anyio's typed attributes of a socket."""
        sock = self._sock
        attributes: dict[Any, Callable[[], Any]] = {
            SocketAttribute.family: lambda: sock.family,
            SocketAttribute.local_address: lambda: _as_anyio(self._ask(sock.getsockname)),
            SocketAttribute.raw_socket: lambda: sock,
            SocketAttribute.remote_address: lambda: _as_anyio(self._ask(sock.getpeername)),
        }
        if _is_ip(sock):
            attributes[SocketAttribute.local_port] = lambda: self._ask(sock.getsockname)[1]
            attributes[SocketAttribute.remote_port] = lambda: self._ask(sock.getpeername)[1]
        return attributes

    def _ask(self, ask: Callable[[], T]) -> T:
        try:
            return ask()
        except OSError as error:
            raise self._lost(error) from error


def _forgotten(waiter: SocketWaiter, held: list[socket.socket], text: str) -> None:
    """Close what a stream has held that was dropped without having been closed."""
    _open.pop(id(held), None)
    sock, *duplicates = held
    for duplicate in duplicates:
        duplicate.close()
    waiter.abandon(sock)
    warnings.warn(f"unclosed {text}", ResourceWarning, stacklevel=2)


_open: dict[int, list[socket.socket]] = {}
"""What the streams that are open hold."""


def _close_in_child() -> None:
    """Let go of the sockets that a forked child has inherited: without a word to the peer, who is the parent's."""
    for held in _open.values():
        for sock in held:
            sock.close()
    _open.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)


def _is_ip(sock: socket.socket) -> bool:
    return sock.family in (socket.AF_INET, socket.AF_INET6)


def _as_anyio(address: Any) -> Any:
    """Return an address in the form of anyio's SocketAttribute: text, or host and port."""
    if isinstance(address, bytes):  # of Linux's abstract sockets
        return address.decode("utf-8", "surrogateescape")
    if isinstance(address, str):
        return address
    host = str(address[0])
    scope = address[3] if len(address) > 3 else 0
    return f"{host}%{scope}" if scope and "%" not in host else host, address[1]


def as_channel(stream: Channel | ByteStream) -> Channel:
    """Return `stream` itself if it is a channel, otherwise one around it, which owns it from then on.

    :raises TypeError: it is neither a channel nor an anyio ByteStream.
    """
    if isinstance(stream, Channel):
        return stream
    if isinstance(stream, ByteStream):  # pyright: ignore[reportUnnecessaryIsInstance] - users have no checker
        return ForeignStream(stream)
    raise TypeError(
        f"expected an anyio.abc.ByteStream, not {type(stream).__qualname__}: wrap a pair of byte streams in "
        "anyio.streams.stapled.StapledByteStream, and connect by anyio.connect_tcp() or anyio.connect_unix()"
    )
