"""From what connect() is given to a session that is ready: which host, which stream, and how to cancel over another.

Knows the order in which hosts are tried, and when the next one is. Must not know what a session is used for.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, NamedTuple, Protocol

import anyio
import anyio.abc
import anyio.to_thread

from .. import conninfo as _conninfo
from .._accel import decode_rows, take_replies
from ..backends import Backend, current_backend
from ..conninfo import ConnectOptions, HostSpec, PasswordSource
from ..errors import (
    ConnectionTimeout,
    Error,
    InterfaceError,
    InvalidPassword,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
    RemoteProtocolError,
)
from ..protocol import frontend
from ..protocol.constants import PROTOCOL_3_2
from ..protocol.session import ProtocolSession
from ..session.wire import Wire
from ..transport.dialing import attempts, host_deadline, open_host, open_same
from ..transport.failures import DialError, Failure, combine_errors, failure_at
from ..transport.socket import Channel, SocketStream, as_channel
from .encryption import Encryption, start_encrypted
from .login import check_policy, log_in
from .targets import why_unsuitable

__all__ = ["Dial", "Opened", "open_session"]

Dial = Callable[[HostSpec], Awaitable[anyio.abc.ByteStream]]
"""What opens a stream to a host, in place of our own sockets."""


class Opened(NamedTuple):
    """A session that is ready."""

    wire: Wire
    host: HostSpec
    options: ConnectOptions
    """Those of this host, with its own password."""


async def open_session(
    conninfo: str,
    kwargs: Mapping[str, Any],
    password: str | PasswordSource | None,
    ssl_context: ssl.SSLContext | None,
    grace: float,
    stream: anyio.abc.ByteStream | None,
    dial: Dial | None,
) -> Opened:
    """Return a session that is ready and suits, on the first host that lets us in.

    :param ssl_context: for our own sockets, as all options of TLS: in a stream of the caller's it is the caller's
        business.
    :param stream: a stream that is open, which takes the place of all hosts.
    :param dial: what opens streams to hosts.
    :raises OperationalError: there is none; the message has every attempt.
    :raises ProgrammingError: what was given makes no sense.

    A cancellation leaves nothing open, not even the caller's stream. For the other parameters see
    :meth:`AsyncConnection.connect`.
    """
    try:
        if ssl_context is not None and (stream is not None or dial is not None):
            raise ProgrammingError("ssl_context does nothing with a stream of your own: put TLS on the stream")
        # Files are read, and a directory service may be asked, by what may hang and changes nothing.
        text, source = (None, password) if callable(password) else (password, None)
        given = {**kwargs, "password": text}
        options, encryption = await anyio.to_thread.run_sync(
            _prepare, conninfo, given, os.environ, ssl_context, source, abandon_on_cancel=True
        )
        check_policy(options)
        backend = current_backend()
        way: _Way
        if stream is not None:
            if dial is not None:
                raise ProgrammingError("stream and dial exclude each other: give the one or the other")
            way = _OpenStream(stream)
        elif dial is not None:
            way = _Dialled(dial)
        else:
            way = _Sockets(options, backend, encryption)
        return await _Opening(options, grace, backend, way).run()
    except BaseException:
        if isinstance(stream, anyio.abc.AsyncResource):
            await anyio.aclose_forcefully(stream)
        raise


def _prepare(
    conninfo: str,
    kwargs: Mapping[str, Any],
    environ: Mapping[str, str],
    ssl_context: ssl.SSLContext | None,
    password_source: PasswordSource | None,
) -> tuple[ConnectOptions, Encryption]:
    """Return the options, and how TLS is used. Blocks: whatever is to be read from files is read here.

    :raises ProgrammingError: see :func:`conninfo.resolve`; files that TLS cannot use are told of when it is to be used.
    """
    options = _conninfo.resolve(conninfo, kwargs, environ, ssl_context, password_source)
    encryption = Encryption(options.tls)
    if any(encryption.ways(host)[0] for host in options.hosts):
        encryption.prepare()
    return options, encryption


# --- ways to a host ---

_Again = Callable[[], Awaitable[Channel]]
"""What makes one more stream to the same server."""


class _Way(Protocol):
    """How to get a stream to a host."""

    async def open(self, host: HostSpec, deadline: float) -> Channel:
        """Return a stream to a host.

        :raises Error: there is none.
        """
        ...

    def again(self, host: HostSpec, channel: Channel) -> _Again | None:
        """Return what makes one more stream to the same server, with TLS if `channel` has it; None if nobody can."""
        ...


class _Sockets:
    """Sockets of our own."""

    def __init__(self, options: ConnectOptions, backend: Backend, encryption: Encryption) -> None:
        self._options = options
        self._backend = backend
        self.encryption = encryption

    async def open(self, host: HostSpec, deadline: float) -> Channel:
        return await open_host(host, self._options, backend=self._backend, deadline=deadline)

    def again(self, host: HostSpec, channel: Channel) -> _Again:
        assert isinstance(channel, SocketStream)
        peer = channel.peer

        async def open_again() -> Channel:
            stream = await open_same(peer, self._options, backend=self._backend)
            return stream if channel.tls is None else await self.encryption.start(stream, host, required=True)

        return open_again


class _Dialled:
    """Streams that a function of the caller's opens."""

    def __init__(self, dial: Dial) -> None:
        self._dial = dial

    async def open(self, host: HostSpec, deadline: float) -> Channel:
        with anyio.CancelScope(deadline=deadline):
            try:
                return as_channel(await self._dial(host))
            except OSError as error:
                raise DialError.of([Failure(host, None, str(error) or type(error).__name__)]) from error
        raise DialError.of([Failure(host, None, "dial() did not open a stream within connect_timeout", True)])

    def again(self, host: HostSpec, channel: Channel) -> _Again:
        async def open_again() -> Channel:
            try:
                return as_channel(await self._dial(host))
            except Exception as error:
                # Whoever cancels a statement cannot know what the caller's function may raise.
                raise OperationalError(f"dial() could not open another stream: {error!r}") from error

        return open_again


class _OpenStream:
    """One stream that the caller has opened."""

    def __init__(self, stream: anyio.abc.ByteStream) -> None:
        self._stream = stream

    async def open(self, host: HostSpec, deadline: float) -> Channel:
        return as_channel(self._stream)

    def again(self, host: HostSpec, channel: Channel) -> None:
        return None


# --- hosts in order ---

_OTHERS_MAY_DO = ("08", "53", "57", "58", "XX")
"""Classes of SQLSTATEs that are about the state of a server. What is about us is true of the others as well."""

_VERSION_REFUSED = ("0A000", "08P01", "XX000")
"""What servers and poolers that do not know the version asked for answer, if they do not offer another.

Old servers: 0A000. PgBouncer before 1.24: 08P01. pgpool-II takes the version, and then not the longer key: XX000.
"""


class _Opening:
    """The attempts at all hosts: which have failed, and why."""

    def __init__(self, options: ConnectOptions, grace: float, backend: Backend, way: _Way) -> None:
        self._options = options
        self._grace = grace
        self._backend = backend
        self._way = way
        # A stream that is open leads to one server, whichever that is.
        self._hosts = list(options.hosts[:1]) if isinstance(way, _OpenStream) else attempts(options)
        self._errors: list[Error] = []
        self._unsuitable: list[HostSpec] = []
        self._final = False
        """Whether the login that failed last would fail in the same way on any other host."""
        self._version_refused = False
        """Whether it may have been the version of the protocol that was refused."""
        self._refused = False
        """Whether it was the server that said no, before it had let us in."""

    async def run(self) -> Opened:
        target = self._options.target_session_attrs
        if target != "prefer-standby":
            opened = await self._first_of(self._hosts, target)
        else:
            opened = await self._first_of(self._hosts, "standby")
            if opened is None:
                # Not those that could not be reached just now: each could take its connect_timeout once more.
                opened = await self._first_of(self._unsuitable.copy(), "any")
        if opened is None:
            raise combine_errors(self._errors)
        return opened

    async def _first_of(self, hosts: list[HostSpec], target: str) -> Opened | None:
        for host in hosts:
            opened = await self._attempt(host, target)
            if opened is not None:
                return opened
        return None

    async def _attempt(self, host: HostSpec, target: str) -> Opened | None:
        """Return a session on a host; None, with a note why, if another one is to be tried."""
        options = self._options.for_host(host)
        deadline = host_deadline(options)
        channel: Channel | None = None
        self._final = self._refused = False
        try:
            channel = await self._way.open(host, deadline)
            with anyio.CancelScope(deadline=deadline):
                wire = await self._log_in_somehow(host, channel, options)
                reason = await self._look_at(wire, target)
                if reason is None:
                    wire.cancelling.grace = self._grace
                    return Opened(wire, host, options)
                self._unsuitable.append(host)
                raise OperationalError(f"{reason}, and target_session_attrs={self._options.target_session_attrs}")
            raise ConnectionTimeout("the server did not complete the start-up within connect_timeout")
        except DialError as dial_error:
            self._errors.append(dial_error)
            if self._final:
                raise combine_errors(self._errors) from dial_error.__cause__
            return None
        except Error as failed:
            error = self._told_where_from(failed, options)
        if len(self._hosts) == 1 and not self._unsuitable:
            if isinstance(error, OperationalError | NotSupportedError | InterfaceError):
                raise error
            raise OperationalError(*error.args, fields=error.diag.fields) from error
        self._errors.append(failure_at(host, channel if isinstance(channel, SocketStream) else None, error))
        if self._final:
            raise combine_errors(self._errors)
        return None

    async def _log_in_somehow(self, host: HostSpec, channel: Channel, options: ConnectOptions) -> Wire:
        """Log in with TLS or without; a stream of the caller's is taken as it is."""
        if not isinstance(self._way, _Sockets):
            return await self._log_in(host, options, channel)
        assert isinstance(channel, SocketStream)
        log_in = partial(self._log_in, host, options)
        encryption = self._way.encryption
        return await start_encrypted(channel, host, options, encryption, self._backend, log_in, lambda: self._refused)

    async def _log_in(self, host: HostSpec, options: ConnectOptions, channel: Channel) -> Wire:
        again = self._way.again(host, channel)
        version = options.max_protocol_version
        if version is None:
            # On a stream that cannot be made again there is no second chance, nor any use of the longer key to cancel.
            version = options.min_protocol_version if again is None else PROTOCOL_3_2
        try:
            return await self._start(channel, options, host, version, again)
        except Error:
            if not self._version_refused or again is None or options.min_protocol_version == version:
                raise
            self._final = False
            return await self._start(await again(), options, host, options.min_protocol_version, again)

    async def _start(
        self, channel: Channel, options: ConnectOptions, host: HostSpec, version: int, again: _Again | None
    ) -> Wire:
        session = ProtocolSession(decode_rows, take_replies)
        canceller = None if again is None else _canceller(again, session)
        # No grace: a connection that is not handed over is closed, whatever it is waiting for.
        wire = Wire(channel, session, self._backend, canceller=canceller, grace=0)
        try:
            await log_in(wire, options, host, version)
        except BaseException as error:
            if isinstance(error, Error):
                self._final = _is_final(error, wire.closed)
                self._version_refused = _is_about_version(error, wire.closed, session)
                self._refused = session.refused
            await _give_up(wire)
            raise
        return wire

    async def _look_at(self, wire: Wire, target: str) -> str | None:
        """Return why a session does not suit, after it has been closed; None if it does."""
        try:
            reason = await why_unsuitable(wire, target)
        except BaseException:
            await _give_up(wire)
            raise
        if reason is not None:
            await wire.aclose()
        return reason

    def _told_where_from(self, error: Error, options: ConnectOptions) -> Error:
        """Return an error, which says if it is about a password that nobody has given here."""
        if not isinstance(error, InvalidPassword) or not self._options.host_passwords or options.password is None:
            return error
        text = f'{error} (the password was the one in the file "{options.passfile}")'
        return type(error)(text, fields=error.diag.fields)


async def _give_up(wire: Wire) -> None:
    wire.abort("the connection could not be made")
    await wire.aclose()


def _is_final(error: Error, lost: bool) -> bool:
    """Return whether an error will be the same on another host.

    Manual, "Specifying Multiple Hosts": when authentication fails, the remaining hosts are not tried.

    :param lost: whether the connection was lost, or closed by the server.
    """
    code = error.diag.sqlstate
    # Without a code, and on a connection that stands, it is we who refuse.
    return not lost if code is None else code[:2] not in _OTHERS_MAY_DO


def _is_about_version(error: Error, lost: bool, session: ProtocolSession) -> bool:
    """Return whether the version of the protocol may be what a server has refused."""
    code = error.diag.sqlstate
    if code is None:
        # It went away without a word; or what it says is not PostgreSQL's, in any version.
        return lost and not session.engaged and not isinstance(error, RemoteProtocolError)
    return code in _VERSION_REFUSED


def _canceller(again: _Again, session: ProtocolSession) -> Callable[[], Awaitable[None]]:
    """Return what cancels the statement that a session's server is running, over a second connection to that server.

    Manual: "Canceling Requests in Progress" (protocol-flow).
    """

    async def cancel() -> None:
        channel = await again()
        try:
            data = bytearray()
            frontend.cancel_request(data, session.backend_pid, session.secret_key)
            while data:
                del data[: channel.try_send(data)]
                if data:
                    await channel.wait(False, True)
            # The server closes when it has signalled the process; there is no other answer.
            while (answer := channel.try_receive(64)) != b"":
                if answer is None:
                    await channel.wait(True, False)
        except anyio.BrokenResourceError:
            pass
        finally:
            channel.close_now()
            if not channel.closes_at_once:
                await channel.aclose()

    return cancel
