"""A socket stream with TLS on it.

Theory of operation. OpenSSL never touches the socket: it reads what the server sent from one memory buffer, and writes
what goes to the server into another. `try_receive()` takes what has arrived from the socket, puts it into the first
and reads from OpenSSL; `try_send()` writes to OpenSSL and sends what is in the second.

What was encrypted cannot be taken back. So data that `try_send()` has taken may still be here, the *backlog*, when the
socket is full: then `wait()` also waits for room, whatever it was asked for, and sends the backlog.

No more is taken from the socket than the caller has room for once it is decrypted. So what is left in here after
`try_receive()` is at most a part of a record, and a descriptor that is not readable means that there is nothing.

A server can send records without data, as many as it likes, and each of them takes its time. So OpenSSL is given a few
at a time (see `tls_records`), and an attempt to receive ends after a few that had none: then something may be left, and
`wait()` returns at once, but to the event loop first. Where nothing else comes the connection is given up.

Knows: sockets and OpenSSL. Must not know: the wire protocol, files, connection options.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, NoReturn

import anyio

from ..errors import RemoteProtocolError
from .channel import Buffer, TlsState
from .socket import SocketStream
from .tls_errors import explain
from .tls_records import Records

__all__ = ["Wrap", "TlsStream", "WatchedObject", "watch_certificate_requests"]

Wrap = Callable[[ssl.MemoryBIO, ssl.MemoryBIO], ssl.SSLObject]
"""Makes the SSL object for the bytes that come and those that go: `SSLContext.wrap_bio` with a server name."""

_RECORD = 16384 + 256 + 5
"""Bytes that one record of TLS has at most (RFC 8446, section 5.2)."""

_MOST = 256 * 1024
"""Bytes taken from the socket at once, at most."""

_PIECE = 64 * 1024
"""Bytes encrypted before they are sent: the backlog is hardly more."""

_MOST_HANDSHAKE = 512 * 1024
"""Bytes that a server may need for a handshake. OpenSSL takes 100 kB of certificates."""

_MOST_EMPTY_RECORDS = 32
_MOST_WASTE = 8 * 1024
"""Records without data, and bytes that are none, after which an attempt to receive ends."""

_OVERHEAD = 64
"""Bytes that a record may have beside its data."""

_MOST_IDLE = 64 * 1024
"""Bytes without any data, at most: two tickets for other sessions are all that is sent, and new keys now and then."""

_MOST_ANSWERS = 256 * 1024
"""Bytes that OpenSSL may want to answer by itself to a server that takes nothing."""


class TlsStream(SocketStream):
    """TLS over the socket of another stream, which it takes over. :meth:`handshake` comes first.

    A cancelled `wait()` or `receive()` loses nothing. After a cancelled `send()` or `handshake()` it is to be closed.
    """

    def __init__(self, stream: SocketStream, wrap: Wrap) -> None:
        """Take over the socket of `stream`; if this raises, `stream` is still the caller's to close.

        :raises ValueError: what `wrap` raises for what cannot be a host name.
        """
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._ssl = wrap(self._incoming, self._outgoing)
        self._backlog: memoryview | None = None
        self._records = Records()
        # What this attempt to receive has given to OpenSSL: records, as far as they have begun, and bytes.
        self._begun = self._fed = 0
        self._idle = 0  # bytes since there was any data
        self._more = False  # there may be something in here that can be decrypted
        self._ended = False  # the server will send no more
        self._needs_input = False  # OpenSSL cannot encrypt before it has received something
        self._send_error: OSError | None = None
        peer = stream.known_peer
        backend = stream.backend
        super().__init__(stream.detach(), backend=backend, peer=peer)

    @property
    def ssl_object(self) -> ssl.SSLObject:
        """What OpenSSL knows about this connection."""
        return self._ssl

    async def handshake(self) -> None:
        """Negotiate keys and check certificates. A cancellation leaves a stream that can only be closed.

        :raises ssl.SSLError: the two sides cannot agree, or a certificate is not accepted; the server has been told.
        :raises anyio.BrokenResourceError: the connection was lost, or closed by the server.
        """
        await self._backend.checkpoint()
        while True:
            try:
                self._ssl.do_handshake()
            except ssl.SSLWantReadError:
                self._push()
                self._check_sent()
                if not self._feed(_PIECE):
                    await self._waiter.wait(True, self._backlog is not None)
                elif self._fed > _MOST_HANDSHAKE:
                    raise anyio.BrokenResourceError(
                        "the server does not come to the end of the TLS handshake"
                    ) from None
                else:
                    await self._backend.checkpoint()
            except ssl.SSLEOFError:
                raise anyio.BrokenResourceError("the server closed the connection during the TLS handshake") from None
            except ssl.SSLError:
                self._push()
                raise
            else:
                break
        # The server may have said more than the handshake already.
        self._records.established = True
        self._more = bool(self._incoming.pending or self._records.pending)
        self._push()
        self.tls = _state(self._ssl)

    # -- as a channel

    def try_send(self, data: Buffer) -> int:
        if self._closed:
            raise anyio.ClosedResourceError
        taken = 0
        through = self._backlog is None or self._push()
        # Released at once, also by an error, whose traceback would keep them: the caller's buffer may shrink then.
        with memoryview(data) as view:
            while through and taken < len(view):
                with view[taken : taken + _PIECE] as piece:
                    try:
                        taken += self._ssl.write(piece)
                    except ssl.SSLWantReadError:
                        self._needs_input = True
                        break
                    except ssl.SSLError as error:
                        self._fail(error)
                through = self._push()
        if not through:
            self._check_sent()
            # A task that sleeps until there is something to read must watch for room as well.
            self._waiter.wake()
        return taken

    def try_receive(self, max_bytes: int) -> bytes | None:
        if self._closed:
            raise anyio.ClosedResourceError
        pieces: list[bytes] = []
        room = max_bytes
        self._begun = self._fed = 0
        while room and (self._more or self._feed_on(room, len(pieces), max_bytes - room)):
            piece = self._decrypt(room)
            if piece is not None:
                if not piece:
                    break
                pieces.append(piece)
                room -= len(piece)
        if not pieces:
            self._count_idle()
            return b"" if self._ended else None
        self._idle = 0
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def try_receive_into(self, view: memoryview) -> int | None:
        if self._closed:
            raise anyio.ClosedResourceError
        filled = reads = 0
        self._begun = self._fed = 0
        while filled < len(view) and (self._more or self._feed_on(len(view), reads, filled)):
            count = self._decrypt(len(view) - filled, view[filled:])
            if count is not None:
                if not count:
                    break
                filled += count
                reads += 1
        if not filled:
            self._count_idle()
            return 0 if self._ended else None
        self._idle = 0
        return filled

    def wait(self, readable: bool, writable: bool) -> Awaitable[None]:
        if self._backlog is None and not self._more and not self._needs_input:
            return super().wait(readable, writable)
        return self._wait(readable, writable)

    async def _wait(self, readable: bool, writable: bool) -> None:
        if self._more and readable and not self._closed:
            await self._backend.checkpoint()
            return
        if self._needs_input and writable:
            # There is room, and still nothing can be sent.
            await super().wait(True, self._backlog is not None)
            self._feed(_PIECE)
            self._needs_input = False
        else:
            await super().wait(readable, writable or self._backlog is not None)
        self._push()

    def close_now(self) -> None:
        if not self._closed and self.tls is not None and self._backlog is None and self._send_error is None:
            # Tell the server that nothing was cut off. It says the same, which is not waited for.
            with suppress(ssl.SSLError):
                self._ssl.unwrap()
            self._push()
        super().close_now()

    # -- as an anyio ByteStream

    async def send_eof(self) -> None:
        """Not possible: whoever gets the end of a TLS connection answers with its own.

        :raises NotImplementedError: always.
        """
        raise NotImplementedError("TLS cannot close one direction only")

    def has_backlog(self) -> bool:
        return self._backlog is not None

    # -- between OpenSSL and the socket

    def _decrypt(self, room: int, view: memoryview | None = None) -> Any:
        """Return up to `room` bytes, or how many have been put into `view`; None if no record is complete."""
        try:
            if view is None:
                got: Any = self._ssl.read(room)
            else:
                with view:
                    got = self._ssl.read(room, view)  # pyright: ignore[reportArgumentType] - its stub lacks memoryview
        except ssl.SSLWantReadError:
            self._more = False
            got = None
        except ssl.SSLEOFError:
            # Without a goodbye. Whether something is missing is for the wire protocol to say.
            got = 0
        except ssl.SSLError as error:
            self._fail(error)
        else:
            self._more = bool(self._incoming.pending or self._ssl.pending())
        if got is not None and not got:
            self._ended, self._more = True, False
        if self._outgoing.pending:
            # An answer of OpenSSL's own, such as to new keys.
            self._push()
            if self._outgoing.pending > _MOST_ANSWERS:
                raise anyio.BrokenResourceError("the server asks for new TLS keys, and takes no answers")
        return got

    def _feed_on(self, room: int, reads: int, got: int) -> bool:
        """Do what :meth:`_feed` does within one attempt to receive, which has got so many bytes by so many reads."""
        if not self._records.pending:
            # One look at the socket, whatever has come of it.
            return not self._fed and self._feed(room)
        if self._begun - reads >= _MOST_EMPTY_RECORDS or self._fed - got - reads * _OVERHEAD >= _MOST_WASTE:
            self._more = True
            return False
        return self._feed(room)

    def _feed(self, room: int) -> bool:
        """Give OpenSSL a slice of what has arrived, no more than `room` bytes need; return False if it is nothing."""
        records = self._records
        try:
            if records.pending:
                piece = records.take()
            else:
                if self._ended:
                    return False
                data = super().try_receive(min(max(room - _RECORD, _RECORD), _MOST))
                if data is None:
                    return False
                self._more = True
                if not data:
                    self._incoming.write_eof()
                    return True
                piece = records.put(data)
        except RemoteProtocolError as error:
            raise anyio.BrokenResourceError(str(error)) from None
        self._more = True
        self._incoming.write(piece)
        self._begun += records.begun
        self._fed += len(piece)
        return True

    def _count_idle(self) -> None:
        """Take note that an attempt to receive has come to nothing."""
        self._idle += self._fed
        if self._idle > _MOST_IDLE:
            raise anyio.BrokenResourceError("the server goes on sending TLS records that have no data")

    def _push(self) -> bool:
        """Send what is encrypted; return whether that is all of it. Errors are kept for the next attempt to send."""
        if self._send_error is not None:
            return False
        while True:
            if self._backlog is None:
                if not self._outgoing.pending:
                    return True
                self._backlog = memoryview(self._outgoing.read())
            try:
                sent = self._sock.send(self._backlog)
            except (BlockingIOError, InterruptedError):
                return False
            except OSError as error:
                self._send_error, self._backlog = error, None
                return False
            self._backlog = self._backlog[sent:] if sent < len(self._backlog) else None

    def _check_sent(self) -> None:
        if self._send_error is not None:
            raise self._lost(self._send_error) from self._send_error

    def _fail(self, error: ssl.SSLError) -> NoReturn:
        """Raise for an error of OpenSSL's, which ends the connection."""
        self._push()  # the alert, by which the server learns of it
        cause = ssl.SSLError(error.errno, explain(error))
        cause.__cause__ = error
        raise anyio.BrokenResourceError(cause.strerror) from cause


def _state(ssl_object: ssl.SSLObject) -> TlsState:
    cipher, _, bits = ssl_object.cipher() or ("", "", 0)
    attributes = {
        "library": "OpenSSL",
        "protocol": ssl_object.version() or "",
        "cipher": cipher,
        "key_bits": str(bits),
        "compression": "off" if ssl_object.compression() is None else "on",
        "alpn": ssl_object.selected_alpn_protocol() or "",
    }
    return TlsState(
        attributes,
        ssl_object.getpeercert(binary_form=True),
        verified=ssl_object.context.verify_mode is ssl.CERT_REQUIRED,
        certificate_requested=isinstance(ssl_object, WatchedObject) and ssl_object.certificate_requested,
    )


# --- Whether the server asked for a certificate


class WatchedObject(ssl.SSLObject):
    """An SSL object of a context that was given to :func:`watch_certificate_requests`."""

    certificate_requested = False


_HANDSHAKE, _CERTIFICATE_REQUEST = 22, 13
"""A type of record and one of handshake message (RFC 8446, sections 5.1 and 4)."""


def watch_certificate_requests(context: ssl.SSLContext) -> bool:
    """Have SSL objects of `context` note whether the server asks for a certificate; False if Python cannot tell."""
    if not hasattr(type(context), "_msg_callback"):
        return False
    context.sslobject_class = WatchedObject
    # Python tells of handshake messages in this way only, made for its own tests.
    setattr(context, "_msg_callback", _note)  # noqa: B010 - it is in no stub
    return True


def _note(connection: object, direction: str, version: int, content_type: int, message_type: int, data: bytes) -> None:
    if isinstance(connection, WatchedObject) and (direction, content_type, message_type) == (
        *("read", _HANDSHAKE),
        _CERTIFICATE_REQUEST,
    ):
        connection.certificate_requested = True
