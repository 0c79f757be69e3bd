"""From connection options to a session that is ready: which host, which stream, and how to cancel over another one.

Knows the order in which hosts are tried. Must not know what a session is used for.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import anyio
import anyio.abc

from ._accel import decode_rows
from ._encryption import Encryption, Refusal, start_encrypted
from ._login import check_policy, log_in
from .backends import Backend, current_backend
from .conninfo import ConnectOptions, HostSpec, resolve
from .dialing import DialError, attempts, combine_errors, failure_at, host_deadline, open_host, open_same
from .errors import ConnectionTimeout, Error, InterfaceError, NotSupportedError, OperationalError
from .protocol import frontend
from .protocol.session import ProtocolSession
from .streams import Channel, SocketStream, as_channel
from .wire import Wire

Encrypt = Callable[[SocketStream], Awaitable[SocketStream]]
"""Puts TLS on a stream, as another one of the same connection has it; closes it if that fails."""


def prepare(
    conninfo: str, kwargs: Mapping[str, Any], environ: Mapping[str, str], ssl_context: ssl.SSLContext | None = None
) -> tuple[ConnectOptions, Encryption]:
    """Return what :func:`open_session` needs. Blocks: everything that is to be read from files is read here.

    :raises ProgrammingError: see :func:`conninfo.resolve`; files that TLS cannot use are told of when it is to be used.
    """
    options = resolve(conninfo, kwargs, environ, ssl_context)
    encryption = Encryption(options.tls)
    if any(encryption.ways(host)[0] for host in options.hosts):
        encryption.prepare()
    return options, encryption


async def open_session(
    options: ConnectOptions, encryption: Encryption, grace: float, stream: anyio.abc.ByteStream | None
) -> tuple[Wire, HostSpec]:
    """Return a session that is ready, on the first host that lets us in, or on the caller's own stream.

    :raises OperationalError: none did; the message has every attempt.
    :raises ProgrammingError: `require_auth` makes no sense.

    A cancellation leaves nothing open, not even the caller's stream.
    """
    check_policy(options)
    backend = current_backend()
    hosts = attempts(options) if stream is None else options.hosts[:1]
    errors: list[Error] = []
    for host in hosts:
        channel: Channel | None = None
        deadline = host_deadline(options)
        try:
            if stream is None:
                channel = await open_host(host, options, backend=backend, deadline=deadline)
            else:
                channel = as_channel(stream)
            with anyio.CancelScope(deadline=deadline):
                if isinstance(channel, SocketStream) and stream is None:
                    log_in = partial(_try_to_log_in, host, options, grace, backend, encryption)
                    return await start_encrypted(channel, host, options, encryption, backend, log_in), host
                return await _log_in(channel, ProtocolSession(decode_rows), options, host, grace, backend), host
            raise ConnectionTimeout("the server did not complete the start-up within connect_timeout")
        except (Error, Refusal) as failed:
            error = failed.error if isinstance(failed, Refusal) else failed
            if isinstance(error, DialError):
                errors.append(error)
                continue
            if len(hosts) == 1:
                if isinstance(error, OperationalError | NotSupportedError | InterfaceError):
                    raise error from error.__cause__
                raise OperationalError(*error.args, fields=error.diag.fields) from error
            errors.append(failure_at(host, channel if isinstance(channel, SocketStream) else None, error))
    raise combine_errors(errors)


async def _try_to_log_in(
    host: HostSpec,
    options: ConnectOptions,
    grace: float,
    backend: Backend,
    encryption: Encryption,
    stream: SocketStream,
) -> Wire:
    """Log in over a stream of our own.

    :raises Refusal: what the server says, or we say of it.
    """
    session = ProtocolSession(decode_rows)
    encrypt = None if stream.tls is None else partial(encryption.start, host=host, required=True)
    try:
        return await _log_in(stream, session, options, host, grace, backend, encrypt)
    except Error as error:
        raise Refusal(error, refused=session.refused) from error


async def _log_in(
    channel: Channel,
    session: ProtocolSession,
    options: ConnectOptions,
    host: HostSpec,
    grace: float,
    backend: Backend,
    encrypt: Encrypt | None = None,
) -> Wire:
    # On a stream of the caller's nobody knows how to make a second connection.
    canceller = _canceller(channel, session, options, backend, encrypt) if isinstance(channel, SocketStream) else None
    wire = Wire(channel, session, backend, canceller=canceller, grace=grace)
    try:
        await log_in(wire, options, host)
    except BaseException:
        wire.abort("the connection could not be made")
        await wire.aclose()
        raise
    return wire


def _canceller(
    channel: SocketStream,
    session: ProtocolSession,
    options: ConnectOptions,
    backend: Backend,
    encrypt: Encrypt | None,
) -> Callable[[], Awaitable[None]]:
    """Return what cancels the statement that a session's server is running, over a second connection to that server.

    :param encrypt: puts TLS on it, if the session has TLS: the key that it sends is a secret.

    Manual: "Canceling Requests in Progress" (protocol-flow).
    """
    peer = channel.peer

    async def cancel() -> None:
        stream = await open_same(peer, options, backend=backend)
        if encrypt is not None:
            stream = await encrypt(stream)
        try:
            data = bytearray()
            frontend.cancel_request(data, session.backend_pid, session.secret_key)
            await stream.send(bytes(data))
            # The server closes when it has signalled the process; there is no other answer.
            while True:
                await stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            pass
        finally:
            stream.close_now()

    return cancel
