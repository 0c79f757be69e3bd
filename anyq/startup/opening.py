"""From what connect() is given to a session that is ready: on which host.

Knows the order in which hosts are tried, when the next one is, and when a login is tried once more. Must not know how
a stream is opened, nor what a session is used for.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import anyio
import anyio.abc
import anyio.to_thread

from .._accel import end_of_copy_data, keep_rows, take_replies
from ..backends import Backend, current_backend
from ..conninfo import ConnectOptions, HostSpec
from ..errors import (
    ConnectionTimeout,
    Error,
    InterfaceError,
    InvalidPassword,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
)
from ..protocol.constants import PROTOCOL_3_2
from ..protocol.session import ProtocolSession
from ..session.wire import Wire
from ..transport.channel import Channel
from ..transport.dialing import host_deadline
from ..transport.failures import DialError, combine_errors, failed_to_connect, failure_at
from ..transport.socket import SocketStream
from ..transport.watching import ConnectWatcher
from .cancel_request import Reopen, canceller
from .encryption import Encryption
from .login import LoginFailed, check_policy, log_in
from .parameters import ConnectParameters
from .routes import CallersStream, DialRoute, Route, SocketRoute
from .targets import why_unsuitable

__all__ = ["Opened", "open_session"]


class Opened(NamedTuple):
    """A session that is ready."""

    wire: Wire
    host: HostSpec
    options: ConnectOptions
    """Those of this host, with its own password."""


async def open_session(parameters: ConnectParameters, watcher: ConnectWatcher | None = None) -> Opened:
    """Return a session that is ready and suits, on the first host that lets us in.

    :param watcher: is told of the steps, as far as they are taken on sockets of our own.
    :raises OperationalError: there is none; the message has every attempt.
    :raises ProgrammingError: what was given makes no sense.

    A cancellation leaves nothing open, not even the caller's stream.
    """
    stream, dial, ssl_context = parameters.stream, parameters.dial, parameters.ssl_context
    try:
        # In a stream of the caller's it is the caller's business, as all options of TLS.
        if ssl_context is not None and (stream is not None or dial is not None):
            raise ProgrammingError("ssl_context does nothing with a stream of your own: put TLS on the stream")
        # Files are read, and a directory service may be asked, by what may hang and changes nothing.
        options, encryption = await anyio.to_thread.run_sync(_prepare, parameters, abandon_on_cancel=True)
        check_policy(options)
        backend = current_backend()
        route: Route
        if stream is not None:
            if dial is not None:
                raise ProgrammingError("stream and dial exclude each other: give the one or the other")
            route = CallersStream(stream)
        elif dial is not None:
            route = DialRoute(dial)
        else:
            route = SocketRoute(options, backend, encryption, watcher)
        return await _Opening(options, parameters.grace_period, backend, route, watcher).run()
    except BaseException:
        if isinstance(stream, anyio.abc.AsyncResource):
            await anyio.aclose_forcefully(stream)
        raise


def _prepare(parameters: ConnectParameters) -> tuple[ConnectOptions, Encryption]:
    """Return the options, and how TLS is used. Blocks: whatever is to be read from files is read here.

    :raises ProgrammingError: see :func:`conninfo.resolve`; files that TLS cannot use are told of when it is to be used.
    """
    options = parameters.options()
    encryption = Encryption(options.tls)
    if any(encryption.order(host)[0] for host in options.hosts):
        encryption.prepare()
    return options, encryption


class _Opening:
    """The attempts at all hosts: which have failed, and why."""

    def __init__(
        self,
        options: ConnectOptions,
        grace: float,
        backend: Backend,
        route: Route,
        watcher: ConnectWatcher | None,
    ) -> None:
        self._options = options
        self._grace = grace
        self._backend = backend
        self._route = route
        self._watcher = watcher
        self._hosts = route.hosts(options)
        self._who = f'user "{options.user}", database "{options.dbname}"'
        self._errors: list[Error] = []
        self._unsuitable: list[HostSpec] = []

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
            raise combine_errors(self._errors, self._who)
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
        final = False
        try:
            channel = await self._route.open(host, deadline)
            with anyio.CancelScope(deadline=deadline):
                wire = await self._route.log_in(host, channel, partial(self._log_in, host, options))
                reason = await self._look_at(wire, target)
                if reason is None:
                    wire.cancelling.grace = self._grace
                    return Opened(wire, host, options)
                self._unsuitable.append(host)
                raise OperationalError(f"{reason}, and target_session_attrs={self._options.target_session_attrs}")
            raise ConnectionTimeout("the server did not complete the start-up within connect_timeout")
        except LoginFailed as failed:
            error, final = failed.error, failed.final
        except Error as failed:
            error = failed
        if self._watcher is not None:
            self._watcher.failed(error)
        if not isinstance(error, DialError):
            error = self._told_where_from(error, options)
            stream = channel if isinstance(channel, SocketStream) else None
            if len(self._hosts) == 1 and not self._unsuitable:
                where = self._route.where(host, stream)
                error.say(failed_to_connect(str(error), self._who, where), error.diag.fields)
                if isinstance(error, OperationalError | NotSupportedError | InterfaceError):
                    raise error
                raise OperationalError(*error.args, fields=error.diag.fields) from error
            error = failure_at(host, stream, error)
        self._errors.append(error)
        if final:
            raise combine_errors(self._errors, self._who)
        return None

    async def _log_in(self, host: HostSpec, options: ConnectOptions, channel: Channel) -> Wire:
        """Return a session over a stream, or over one more where the version of the protocol was refused."""
        reopen = self._route.reopener(host, channel)
        version = options.max_protocol_version
        if version is None:
            # On a stream that cannot be opened again there is no second chance, nor any use of a longer key.
            version = options.min_protocol_version if reopen is None else PROTOCOL_3_2
        try:
            return await self._start(channel, options, host, version, reopen)
        except LoginFailed as failed:
            if not failed.version_refused or reopen is None or options.min_protocol_version == version:
                raise
            if self._watcher is not None:
                self._watcher.failed(failed.error)
        return await self._start(await reopen(), options, host, options.min_protocol_version, reopen)

    async def _start(
        self, channel: Channel, options: ConnectOptions, host: HostSpec, version: int, reopen: Reopen | None
    ) -> Wire:
        protocol = ProtocolSession(keep_rows, take_replies, find_copy_data=end_of_copy_data)
        cancel = None if reopen is None else canceller(reopen, protocol)
        # No grace: a connection that is not handed over is closed, whatever it is waiting for.
        wire = Wire(channel, protocol, self._backend, canceller=cancel, grace=0)
        try:
            await log_in(wire, options, host, version, self._watcher)
        except BaseException:
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
