"""Opening a session for a connection, and telling those who watch of it.

Knows when a connection begins to be made, and when it is. Must not know how.
"""

from __future__ import annotations

from typing import NamedTuple

from ..conninfo import ConnectOptions, HostSpec
from ..session.tracing import SessionTracing
from ..session.wire import Wire
from ..tracing import Server, TracedConnect
from ..tracing.telling import calling_context, opening_pool, tracing_of
from ..transport.socket import SocketStream
from .opening import Opened
from .opening import open_session as _open_session
from .parameters import ConnectParameters


class Watched(NamedTuple):
    """A session that is ready, and who watches it: see :class:`Opened`."""

    wire: Wire
    host: HostSpec
    options: ConnectOptions
    tracing: SessionTracing | None


async def open_session(parameters: ConnectParameters) -> Watched:
    """Return a session that is ready and suits, on the first host that lets us in.

    :raises TypeError: its tracer is none.

    The rest is that of :func:`opening.open_session`.
    """
    tracing = tracing_of(parameters.tracer)
    if tracing is None:
        opened = await _open_session(parameters)
        return Watched(opened.wire, opened.host, opened.options, None)
    running = tracing.connect.begin(TracedConnect(opening_pool.get()), calling_context())
    try:
        opened = await _open_session(parameters)
    except BaseException as error:
        running.fail(error)
        raise
    running.event.server = server = _server(opened)
    running.end()
    return Watched(opened.wire, opened.host, opened.options, SessionTracing(tracing, opened.wire, server))


def _server(opened: Opened) -> Server:
    channel, host, options = opened.wire.channel, opened.host, opened.options
    peer = channel.peer[1] if isinstance(channel, SocketStream) else None
    address = str(peer[0]) if isinstance(peer, tuple) else None
    return Server(host.host, host.port, address, options.dbname, options.user, opened.wire.protocol.backend_pid)
