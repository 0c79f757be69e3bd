"""Our TLS stream and Python's own TLS socket, joined by a handshake."""

from __future__ import annotations

import socket
import ssl
from functools import partial

import anyio
import anyio.to_thread

from anyq.transport.socket import SocketStream
from anyq.transport.tls import TlsStream, Wrap
from tests.support.certificates import Certificates


async def tls_ends(
    ours: socket.socket,
    theirs: socket.socket,
    certificates: Certificates,
    *,
    server: ssl.SSLContext | None = None,
    client: ssl.SSLContext | None = None,
    wrap: Wrap | None = None,
) -> tuple[TlsStream, ssl.SSLSocket]:
    """Return a stream over `ours`, and the server's end over `theirs`, which blocks as long as `theirs` did.

    :param wrap: makes our SSL object, instead of `client`.
    """
    context = client or certificates.client_context()
    stream = TlsStream(SocketStream(ours), wrap or partial(context.wrap_bio, server_hostname="localhost"))
    wrap_socket = partial((server or certificates.server_context("right")).wrap_socket, theirs, server_side=True)
    accepted: list[ssl.SSLSocket] = []

    async def accept() -> None:
        accepted.append(await anyio.to_thread.run_sync(wrap_socket))

    async with anyio.create_task_group() as group:
        group.start_soon(accept)
        await stream.handshake()
    return stream, accepted[0]
