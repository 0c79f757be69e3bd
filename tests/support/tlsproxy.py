"""A server's TLS for a server that has none: a proxy that answers SSLRequest and passes on what is inside.

The embedded PostgreSQL is built without OpenSSL, so this stands before it. It runs in an event loop of its own, in a
thread, so that it does not depend on the loop of the test, nor stops with it. Knows Python's ssl, and of the protocol
no more than SSLRequest; it uses nothing of the driver.
"""

from __future__ import annotations

import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from typing import Any

import anyio
from anyio.abc import ByteStream, SocketAttribute
from anyio.from_thread import BlockingPortal
from anyio.streams.tls import TLSStream

SSL_REQUEST = struct.pack(">II", 8, 80877103)
CANCEL_CODE = struct.pack(">I", 80877102)


class TlsProxy:
    """One listening port on 127.0.0.1; made by :func:`tls_proxy`.

    :param context: the server's end of TLS; None to have no TLS.
    :param clear: whether it also passes on connections without TLS; otherwise it drops them.
    :param direct: whether the handshake may come at once (ALPN is up to the context).
    """

    def __init__(self, target: int, context: ssl.SSLContext | None, *, clear: bool = True, direct: bool = True) -> None:
        self.port = 0
        self.log: list[str] = []
        """What has come: "tls", "direct", "clear", "refused", "handshake failed"; and "cancel", encrypted or not."""
        self.names: list[str | None] = []
        """Server names that clients have sent."""
        self.opened = 0
        """How many connections have come."""
        self.closed = threading.Semaphore(0)
        """Released when a connection is over."""
        self._target = target
        self._context = context
        self._clear = clear
        self._direct = direct
        if context is not None:
            context.sni_callback = lambda _, name, __: self.names.append(name)

    def deny_tls(self) -> None:
        """Claim from now on that there is no TLS."""
        self._context = None

    async def run(self, started: threading.Event, stop: anyio.Event) -> None:
        async with AsyncExitStack() as stack:
            listener = await stack.enter_async_context(await anyio.create_tcp_listener(local_host="127.0.0.1"))
            self.port = listener.extra(SocketAttribute.local_port)
            group = await stack.enter_async_context(anyio.create_task_group())
            group.start_soon(listener.serve, self._serve)
            started.set()
            await stop.wait()
            group.cancel_scope.cancel()

    async def _serve(self, client: ByteStream) -> None:
        self.opened += 1
        try:
            with suppress(anyio.BrokenResourceError, anyio.EndOfStream, OSError, ssl.SSLError):
                async with client:
                    await self._talk(client)
        finally:
            self.closed.release()

    async def _talk(self, client: ByteStream) -> None:
        start = await client.receive()
        if start == SSL_REQUEST:
            if self._context is None:
                self.log.append("refused")
                await client.send(b"N")
                start = await client.receive()
            else:
                await client.send(b"S")
                client = await self._wrap(client)
                self.log.append("tls")
                start = await client.receive()
        elif start[:1] == b"\x16" and self._direct and self._context is not None:
            client = await self._wrap(_Prefixed(client, start))
            self.log.append("direct")
            start = await client.receive()
        elif not self._clear:
            self.log.append("dropped")
            return
        else:
            self.log.append("clear")
        if start[4:8] == CANCEL_CODE:
            self.log.append("cancel")
        async with client, await anyio.connect_tcp("127.0.0.1", self._target) as server:
            await server.send(start)
            async with anyio.create_task_group() as group:
                group.start_soon(_pass_on, client, server, group)
                group.start_soon(_pass_on, server, client, group)

    async def _wrap(self, client: ByteStream) -> ByteStream:
        assert self._context is not None
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        ssl_object = self._context.wrap_bio(incoming, outgoing, server_side=True)
        while True:
            try:
                ssl_object.do_handshake()
            except ssl.SSLWantReadError:
                await _flush(outgoing, client)
                incoming.write(await client.receive())
            except ssl.SSLError:
                self.log.append("handshake failed")
                # TLSStream.wrap() would not send the alert. A socket that is closed with data unread would lose it.
                await _flush(outgoing, client)
                await client.send_eof()
                while True:
                    await client.receive()
            else:
                await _flush(outgoing, client)
                return TLSStream(
                    transport_stream=client,
                    standard_compatible=False,
                    _ssl_object=ssl_object,
                    _read_bio=incoming,
                    _write_bio=outgoing,
                )


async def _flush(outgoing: ssl.MemoryBIO, client: ByteStream) -> None:
    if outgoing.pending:
        await client.send(outgoing.read())


class _Prefixed(ByteStream):
    """A stream of which something has been read already."""

    def __init__(self, stream: ByteStream, start: bytes) -> None:
        self._stream = stream
        self._start = start

    async def receive(self, max_bytes: int = 65536) -> bytes:
        if self._start:
            start, self._start = self._start, b""
            return start
        return await self._stream.receive(max_bytes)

    async def send(self, item: Any) -> None:
        await self._stream.send(item)

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()


async def _pass_on(source: ByteStream, target: ByteStream, group: Any) -> None:
    with suppress(anyio.BrokenResourceError, anyio.EndOfStream, anyio.ClosedResourceError, ssl.SSLError):
        while True:
            await target.send(await source.receive())
    # One side has gone, so the other one is to go too.
    group.cancel_scope.cancel()


@contextmanager
def tls_proxy(
    portal: BlockingPortal, target: int, context: ssl.SSLContext | None, *, clear: bool = True, direct: bool = True
) -> Iterator[TlsProxy]:
    """Run a proxy to the port `target` of 127.0.0.1 in the portal's event loop."""
    proxy = TlsProxy(target, context, clear=clear, direct=direct)
    started = threading.Event()
    stop = portal.call(anyio.Event)
    running = portal.start_task_soon(proxy.run, started, stop)
    started.wait(10)
    try:
        yield proxy
    finally:
        portal.call(stop.set)
        running.result(10)
