"""From connection options to a session that is ready: which host, which stream, and how to cancel over another one.

Knows the order in which hosts are tried. Must not know what a session is used for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import anyio.abc

from ._accel import decode_rows, take_replies
from ._login import log_in
from .backends import Backend, current_backend
from .conninfo import ConnectOptions, HostSpec
from .dialing import DialError, attempts, combine_errors, failure_at, host_deadline, open_host, open_same
from .errors import ConnectionTimeout, Error, InterfaceError, NotSupportedError, OperationalError
from .protocol import frontend
from .protocol.session import ProtocolSession
from .streams import Channel, SocketStream, as_channel
from .wire import Wire


async def open_session(
    options: ConnectOptions, grace: float, stream: anyio.abc.ByteStream | None
) -> tuple[Wire, HostSpec]:
    """Return a session that is ready, on the first host that lets us in, or on the caller's own stream.

    :raises OperationalError: none did; the message has every attempt.

    A cancellation leaves nothing open, not even the caller's stream.
    """
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
                return await _log_in(channel, options, grace, backend), host
            raise ConnectionTimeout("the server did not complete the start-up within connect_timeout")
        except DialError as error:
            errors.append(error)
        except Error as error:
            if len(hosts) == 1:
                if isinstance(error, OperationalError | NotSupportedError | InterfaceError):
                    raise
                raise OperationalError(*error.args, fields=error.diag.fields) from error
            errors.append(failure_at(host, channel if isinstance(channel, SocketStream) else None, error))
    raise combine_errors(errors)


async def _log_in(channel: Channel, options: ConnectOptions, grace: float, backend: Backend) -> Wire:
    session = ProtocolSession(decode_rows, take_replies)
    # On a stream of the caller's nobody knows how to make a second connection.
    canceller = _canceller(channel, session, options, backend) if isinstance(channel, SocketStream) else None
    wire = Wire(channel, session, backend, canceller=canceller, grace=grace)
    try:
        await log_in(wire, options)
    except BaseException:
        wire.abort("the connection could not be made")
        await wire.aclose()
        raise
    return wire


def _canceller(
    channel: SocketStream, session: ProtocolSession, options: ConnectOptions, backend: Backend
) -> Callable[[], Awaitable[None]]:
    """Return what cancels the statement that a session's server is running, over a second connection to that server.

    Manual: "Canceling Requests in Progress" (protocol-flow).
    """
    peer = channel.peer

    async def cancel() -> None:
        stream = await open_same(peer, options, backend=backend)
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
