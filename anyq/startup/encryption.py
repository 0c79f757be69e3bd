"""TLS or clear: which comes first, how TLS begins, and what is tried when one of them does not work.

Knows libpq's sslmode and sslnegotiation, SSLRequest and what servers answer. Must not know passwords, nor the order of
hosts. Nothing that a server says before TLS is there is believed, nor shown: anybody may have said it.

See the PostgreSQL manual, "SSL Session Encryption" (protocol-flow) and "SSL Support" (libpq).
"""

from __future__ import annotations

import ipaddress
import logging
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import anyio
import anyio.to_thread

from ..backends import Backend
from ..conninfo import ConnectOptions, HostSpec, TlsOptions
from ..errors import Error, NotSupportedError, OperationalError
from ..protocol import frontend
from ..transport.dialing import open_same
from ..transport.failures import DialError, Failure
from ..transport.socket import Address, SocketStream
from ..transport.tls import TlsStream
from ..transport.tls_context import ALPN, ClientContext, build_context
from ..transport.tls_errors import explain
from ..transport.watching import ConnectWatcher
from .login import LoginFailed

__all__ = ["DeadEnd", "Encryption", "start_encrypted"]

logger = logging.getLogger("anyq")

T = TypeVar("T")

_CANNOT_CONNECT_NOW = "57P03"
"""What a server says that is starting or stopping: with TLS as without."""

_AT_MOST = 64
"""Bytes to take of an answer that has one: to see that there are no others."""


class _TlsFailed(Exception):
    """TLS could not be had of this server; the message says why."""


class _NoAnswer(_TlsFailed):
    """The server did not answer as servers with or without TLS do."""


class DeadEnd(DialError):
    """What failed is no reason to try without TLS: whoever is at the other end may just want that."""


class Encryption:
    """The TLS of one `connect()`: of every host it tries, and of the CancelRequests of the connection it makes."""

    def __init__(self, options: TlsOptions) -> None:
        self._options = options
        self._prepared: ClientContext | Error | None = None

    def prepare(self) -> None:
        """Load files, if that has not been done yet. Blocks; an error is kept until TLS is to be used."""
        if self._prepared is None:
            try:
                self._prepared = build_context(self._options)
            except Error as error:
                self._prepared = error

    async def _client(self) -> ClientContext:
        while self._prepared is None:
            await anyio.to_thread.run_sync(self.prepare, abandon_on_cancel=True)
        if isinstance(self._prepared, Error):
            raise self._prepared
        return self._prepared

    def order(self, host: HostSpec) -> list[bool]:
        """Return what to try in which order: True is TLS, False is clear."""
        if host.socket_path is not None:
            # Never, whatever the mode: nobody but the operating system is in between.
            return [False]
        weak = {"disable": [False], "allow": [False, True], "prefer": [True, False]}
        return weak.get(self._options.mode, [True])

    async def start(self, stream: SocketStream, host: HostSpec, *, required: bool) -> SocketStream:
        """Return a stream with TLS over `stream`, or `stream` itself if the server has no TLS and need not have it.

        If this raises or is cancelled, the socket is closed.

        :raises DialError: there is no TLS to be had; the message says why.
        """
        peer = stream
        try:
            client = await self._client()
            if not self._options.direct and not await _ask_for_tls(stream):
                if required:
                    raise _TlsFailed(
                        "the server does not support TLS, and it is required; turn on ssl in its postgresql.conf, or "
                        "check that nobody is in between"
                    )
                return stream
            peer = await self._shake_hands(stream, host, client)
        except (_TlsFailed, OperationalError, NotSupportedError) as error:
            stream.close_now()
            kind = DeadEnd if isinstance(error, _NoAnswer) else DialError
            raise kind.of([failure(host, peer, f"{error}")]) from (error.__cause__ or error)
        except BaseException:
            stream.close_now()
            raise
        return peer

    async def _shake_hands(self, stream: SocketStream, host: HostSpec, client: ClientContext) -> TlsStream:
        context, name = client.context, _server_name(host.host)
        # With a name OpenSSL sends it, unless it is an address, and checks it if the context says so.
        sent_name = name if self._options.sni or context.check_hostname else None
        try:
            tls = TlsStream(stream, partial(context.wrap_bio, server_hostname=sent_name))
        except (ValueError, ssl.SSLError) as error:
            raise _TlsFailed(f"this host name cannot be used with TLS: {error}") from error
        try:
            await tls.handshake()
            _check_protocol(tls.ssl_object, required=self._options.direct)
            if client.check_name:
                _check_name(tls.ssl_object, name)
        except ssl.SSLError as error:
            tls.close_now()
            raise _TlsFailed(explain(error)) from error
        except anyio.BrokenResourceError as error:
            tls.close_now()
            hint = "; sslnegotiation=direct needs PostgreSQL 17 or newer" if self._options.direct else ""
            raise _TlsFailed(f"{error}{hint}") from error
        except BaseException:
            tls.close_now()
            raise
        if tls.tls is not None:
            tls.tls = replace(tls.tls, certificate_sent=tls.tls.certificate_requested and client.has_certificate)
        return tls


async def start_encrypted(
    stream: SocketStream,
    host: HostSpec,
    options: ConnectOptions,
    encryption: Encryption,
    backend: Backend,
    log_in: Callable[[SocketStream], Awaitable[T]],
    watcher: ConnectWatcher | None = None,
) -> T:
    """Return what `log_in` does on a stream to the server, with TLS or without as sslmode says.

    Where it lets us choose, the other one is tried on a new connection to the same address: after a handshake that
    failed, and after the server's refusal. Both reasons are in the error then. What a server says after it has let us
    in has nothing to do with TLS.

    :param log_in: closes the stream that it is given if it fails.
    :raises DialError: TLS is not to be had and required, or there was no new connection.
    :raises LoginFailed: what `log_in` raises; if it failed twice with the same SQLSTATE, with an error of that class
        for both.
    :raises Error: what else `log_in` raises.

    A cancellation leaves no socket open, nor does an error.
    """
    peer = stream.peer
    order = encryption.order(host)
    attempts: list[tuple[str, Error]] = []
    final = False
    while True:
        with_tls = order.pop(0)
        try:
            if attempts:
                stream = await _open_again(peer, options, backend, watcher, attempts[-1][1])
            if with_tls:
                stream = await _start(encryption, stream, host, False not in order, watcher)
                if stream.tls is None:
                    # On the same connection, and that was the other one.
                    with_tls, order = False, []
            return await log_in(stream)
        except DialError as error:
            attempts.append(("with TLS", error))
            if order and not isinstance(error, DeadEnd):
                # A refusal in clear will be told; that this connection could be read by others would not be.
                logger.warning("trying without TLS, as sslmode is %s: %s", options.tls.mode, error)
                continue
        except LoginFailed as failed:
            attempts.append(("with TLS" if with_tls else "without TLS", failed.error))
            final = failed.final
            if order and failed.refused and failed.error.sqlstate != _CANNOT_CONNECT_NOW:
                continue
            if len(attempts) == 1:
                raise
        except Error as error:
            attempts.append(("with TLS" if with_tls else "without TLS", error))
        last = attempts[-1][1]
        if len(attempts) == 1:
            raise last
        raise LoginFailed(_combined(host, stream, attempts), final=final)


async def _open_again(
    peer: Address, options: ConnectOptions, backend: Backend, watcher: ConnectWatcher | None, failed: Error
) -> SocketStream:
    if watcher is not None:
        watcher.failed(failed)
    return await open_same(peer, options, backend=backend, watcher=watcher)


async def _start(
    encryption: Encryption, stream: SocketStream, host: HostSpec, required: bool, watcher: ConnectWatcher | None
) -> SocketStream:
    if watcher is None:
        return await encryption.start(stream, host, required=required)
    watcher.securing()
    stream = await encryption.start(stream, host, required=required)
    watcher.secured(stream.tls)
    return stream


def _combined(host: HostSpec, stream: SocketStream, attempts: Sequence[tuple[str, Error]]) -> Error:
    """Return the one error for both attempts."""
    lines: list[Failure] = []
    for how, error in attempts:
        reason = error.failures[0].reason if isinstance(error, DialError) and error.failures else str(error)
        lines.append(failure(host, stream, f"{how}: {reason}"))
    first, second = (error for _, error in attempts)
    combined: Error = DialError.of(lines)
    if first.sqlstate is not None and first.sqlstate == second.sqlstate:
        # Still the class that says what is wrong, such as InvalidPassword.
        combined = type(second)(str(combined), fields=second.diag.fields)
    combined.__cause__ = second.__cause__
    return combined


def failure(host: HostSpec, stream: SocketStream, reason: str) -> Failure:
    """Return the record of an attempt that failed on this stream."""
    peer = stream.known_peer
    address = str(peer[1][0]) if peer is not None and isinstance(peer[1], tuple) else None
    return Failure(host, address, reason)


async def _ask_for_tls(stream: SocketStream) -> bool:
    """Send SSLRequest; return whether the server agrees."""
    try:
        await stream.send(frontend.SSL_REQUEST)
        answer = await stream.receive(_AT_MOST)
    except anyio.EndOfStream:
        raise _NoAnswer(
            "the server closed the connection when it was asked for TLS; check that host and port are PostgreSQL's"
        ) from None
    except anyio.BrokenResourceError as error:
        raise _NoAnswer(f"the connection was lost when the server was asked for TLS: {error}") from error
    if answer[:1] == b"E":
        # CVE-2024-10977: its text would be shown as if it came from the server.
        raise _NoAnswer(
            "the server reported an error when it was asked for TLS, which is not shown as anybody could have sent it; "
            "see the server's log"
        )
    if answer[:1] not in (b"S", b"N"):
        raise _NoAnswer("the server gave no valid answer to SSLRequest; check that host and port are PostgreSQL's")
    if len(answer) > 1:
        # CVE-2021-23222: they would be read as if they had come over TLS.
        raise _NoAnswer("bytes without encryption came after the answer to SSLRequest; somebody may be in between")
    return answer == b"S"


def _server_name(host: str) -> str:
    """Return a host as certificates have it: an address without a zone."""
    address, _, zone = host.partition("%")
    if zone:
        try:
            ipaddress.ip_address(address)
        except ValueError:
            return host
        return address
    return host


def _check_protocol(ssl_object: ssl.SSLObject, *, required: bool) -> None:
    """Refuse a server of another protocol (CVE-2021-3618's class: one certificate for several services)."""
    chosen = ssl_object.selected_alpn_protocol()
    if chosen is None and required:
        raise _TlsFailed(
            f'the server did not choose the protocol "{ALPN}" (ALPN), as sslnegotiation=direct needs; a context of '
            f'your own has to offer it: context.set_alpn_protocols(["{ALPN}"])'
        )
    if chosen not in (None, ALPN):
        raise _TlsFailed(f'the server speaks the protocol "{chosen}" (ALPN), not "{ALPN}"; check host and port')


def _check_name(ssl_object: ssl.SSLObject, name: str) -> None:
    """Compare the certificate with the host's name, as OpenSSL does it where it may send the name (RFC 6125)."""
    certificate: Any = ssl_object.getpeercert() or {}
    names: list[tuple[str, str]] = list(certificate.get("subjectAltName", ()))
    try:
        wanted = ipaddress.ip_address(name)
        found = any(kind == "IP Address" and ipaddress.ip_address(value) == wanted for kind, value in names)
    except ValueError:
        known = [value for kind, value in names if kind == "DNS"]
        if not known:
            subject = [pair for part in certificate.get("subject", ()) for pair in part]
            known = [value for key, value in subject if key == "commonName"]
        try:
            ascii_name = name.encode("idna").decode("ascii").lower()
        except UnicodeError as error:
            raise _TlsFailed(f"this host name cannot be used with TLS: {error}") from error
        found = any(_matches(pattern, ascii_name) for pattern in known)
    if not found:
        raise _TlsFailed(
            "the server's certificate is for another host name; connect by a name that the certificate has, or check "
            "that this is the right server"
        )


def _matches(pattern: str, name: str) -> bool:
    """Return whether a name in a certificate is that of the host; a first label of "*" stands for any one label."""
    first, _, rest = pattern.lower().partition(".")
    label, _, parent = name.partition(".")
    if first == "*":
        return bool(label) and "." in rest and rest == parent
    return (first, rest) == (label, parent)
