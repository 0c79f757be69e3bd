"""A PostgreSQL server that follows a script: what it waits for, and what it sends.

For tests of the whole driver against a server that is slow, wrong or gone at a chosen moment. Knows the
protocol's messages, and nothing of the driver. A script is a coroutine function that gets one connection::

    async def script(client: FakeClient) -> None:
        await client.accept_startup()
        await client.expect(fm.Query, sql=b"SELECT 1")
        await client.send(be.CommandComplete("SELECT 0"), READY)
        await client.expect(fm.Terminate)

    async with fake_server(script) as server:
        ... connect to server.conninfo ...

With several scripts the first connection gets the first one, and so on: ``fake_server(session, cancel)``. When a
script returns, its connection is closed. Leaving the block waits until all scripts have been followed to their
end; one that was not fails the test with :exc:`ScriptFailure`. If the block has failed too, most likely for the
same reason, its exception is at the end of the causes of that one.
"""

from __future__ import annotations

import os
import socket
import ssl
import struct
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, TypeVar

import anyio
from anyio.abc import ByteStream, Listener, SocketAttribute, SocketStream
from anyio.streams.tls import TLSStream

from anyq.protocol import messages as be
from anyq.protocol.constants import TransactionStatus
from tests.support import frontend_messages as fm

__all__ = [
    "DEFAULT_PARAMETERS",
    "FAILED",
    "IN_TRANSACTION",
    "READY",
    "FakeClient",
    "FakeServer",
    "Script",
    "ScriptFailure",
    "fake_server",
]

READY = be.ReadyForQuery(TransactionStatus.IDLE)
IN_TRANSACTION = be.ReadyForQuery(TransactionStatus.INTRANS)
FAILED = be.ReadyForQuery(TransactionStatus.INERROR)

DEFAULT_PARAMETERS: Mapping[str, str] = {
    "server_version": "18.0",
    "server_encoding": "UTF8",
    "client_encoding": "UTF8",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "TimeZone": "Etc/UTC",
    "integer_datetimes": "on",
    "standard_conforming_strings": "on",
    "is_superuser": "off",
    "session_authorization": "test",
    "application_name": "",
}
"""What `accept_startup` reports."""

_GRACE = 5.0
"""Seconds that scripts get to end after the block: reached only by a test that fails."""

M = TypeVar("M", bound=fm.FrontendMessage)


class ScriptFailure(AssertionError):
    """The client did not do what a script waited for."""


class FakeClient:
    """One connection, as its script sees it."""

    def __init__(self, stream: ByteStream, block_left: anyio.Event) -> None:
        self._stream = stream
        self._block_left = block_left
        self._messages = fm.FrontendStream()
        self.startup: fm.Startup | None = None
        """What the client has started up with."""
        self.waiting_for = "nothing"
        """For the report of a script that does not end."""

    # --- What the client sends

    async def receive(self) -> fm.FrontendMessage | None:
        """Return the next message, None if the client has closed the connection (between messages)."""
        while True:
            message = self._messages.next_message()
            if message is not None:
                if isinstance(message, fm.Startup):
                    self.startup = message
                return message
            try:
                self._messages.feed(await self._stream.receive())
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                if self._messages.buffer:
                    raise ScriptFailure(
                        f"the client closed inside a message: {bytes(self._messages.buffer)!r}"
                    ) from None
                return None

    async def receive_raw(self) -> bytes:
        """Return the next bytes of a client that does not send messages.

        :raises anyio.EndOfStream: the client has closed the connection.
        """
        return await self._stream.receive()

    async def expect(self, kind: type[M], **content: object) -> M:
        """Wait for the next message, which must be of `kind` and have `content` as far as it is given.

        Requests for encryption are refused unless that is what is waited for.

        :raises ScriptFailure: if it is another message, or the client closes the connection.
        """
        self.waiting_for = kind.__name__
        message = await self.receive()
        while isinstance(message, fm.SSLRequest | fm.GSSENCRequest) and not isinstance(message, kind):
            await self.send_raw(b"N")
            message = await self.receive()
        if message is None:
            raise ScriptFailure(f"the client closed the connection where {kind.__name__} was expected")
        message = fm.as_kind(message, kind)
        if not isinstance(message, kind):
            raise ScriptFailure(f"the client sent {message} where {kind.__name__} was expected")
        wrong = {name: value for name, value in content.items() if getattr(message, name) != value}
        if wrong:
            raise ScriptFailure(f"the client sent {message} where {wrong} was expected")
        self.waiting_for = "nothing"
        return message

    async def expect_all(self, *kinds: type[fm.FrontendMessage]) -> list[fm.FrontendMessage]:
        """Wait for messages of these kinds, in this order, and return them."""
        return [await self.expect(kind) for kind in kinds]

    async def expect_end(self) -> None:
        """Wait until the client closes the connection, without another message.

        :raises ScriptFailure: if it sends one.
        """
        self.waiting_for = "the end of the connection"
        message = await self.receive()
        if message is not None:
            raise ScriptFailure(f"the client sent {message} where the end of the connection was expected")
        self.waiting_for = "nothing"

    async def receive_until(self, kind: type[fm.FrontendMessage]) -> list[fm.FrontendMessage]:
        """Wait for messages up to the first of `kind`, and return all of them.

        :raises ScriptFailure: if the client closes the connection before.
        """
        messages: list[fm.FrontendMessage] = []
        while not messages or not isinstance(messages[-1], kind):
            self.waiting_for = kind.__name__
            message = await self.receive()
            if message is None:
                raise ScriptFailure(f"the client closed the connection where {kind.__name__} was expected")
            messages.append(message)
        self.waiting_for = "nothing"
        return messages

    async def ignore_the_rest(self) -> None:
        """Read without an answer until the client closes the connection."""
        self.waiting_for = "the end of the connection"
        while await self.receive() is not None:
            pass
        self.waiting_for = "nothing"

    async def stall(self) -> None:
        """Neither read nor write until the block of `fake_server` is left: what the client sends piles up."""
        await self._block_left.wait()

    # --- What the server sends

    async def send(self, *messages: be.BackendMessage) -> None:
        """Send `messages` in one piece."""
        await self.send_raw(b"".join([message.encode() for message in messages]))

    async def send_raw(self, data: bytes) -> None:
        """Send `data`, whatever it is. Nothing happens if the client is gone: `expect` tells."""
        with suppress(anyio.BrokenResourceError):
            await self._stream.send(data)

    async def close(self) -> None:
        """Close the connection, in order."""
        await self._stream.aclose()

    async def abort(self) -> None:
        """Close the connection as a server that dies does: the client gets a reset (over TCP)."""
        sock = self._stream.extra(SocketAttribute.raw_socket)
        # Linger of 0 seconds: what has not been sent is thrown away, and RST is sent in place of FIN.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # Closed by putting another one in its place: anyio 4.10 would say that nothing more comes before it closes.
        with socket.socket() as another:
            os.dup2(another.fileno(), sock.fileno())
        await self._stream.aclose()

    # --- Canned pieces

    async def accept_startup(
        self,
        *,
        parameters: Mapping[str, str] | None = None,
        pid: int = 4242,
        secret: bytes = b"\1\2\3\4",
        status: be.ReadyForQuery = READY,
    ) -> fm.Startup:
        """Wait for StartupMessage and let the client in: `parameters` replace some of DEFAULT_PARAMETERS."""
        startup = await self.expect(fm.Startup)
        reported = {**DEFAULT_PARAMETERS, **(parameters or {})}
        await self.send(
            be.AuthenticationOk(),
            *[be.ParameterStatus(name, value) for name, value in reported.items()],
            be.BackendKeyData(pid, secret),
            status,
        )
        return startup

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """Wait for SSLRequest, agree, and go on over TLS with `context`."""
        await self.expect(fm.SSLRequest)
        await self.send_raw(b"S")
        if self._messages.buffer:
            raise ScriptFailure("the client did not wait for the answer to SSLRequest")
        self._stream = await TLSStream.wrap(
            self._stream, server_side=True, ssl_context=context, standard_compatible=False
        )


Script = Callable[[FakeClient], Awaitable[object]]


class FakeServer:
    """A listening server: how to reach it, and what has happened."""

    def __init__(self, host: str, port: int, scripts: tuple[Script, ...]) -> None:
        self.host = host
        """An address, or the directory of the Unix socket."""
        self.port = port
        self.clients: list[FakeClient] = []
        """Connections in the order they came."""
        self.failures: list[ScriptFailure] = []
        self._scripts = scripts
        self._block_left = anyio.Event()
        self._running = len(scripts)
        self._done = anyio.Event()
        if not scripts:
            self._done.set()

    @property
    def conninfo(self) -> str:
        """What a client connects to."""
        return f"host={self.host} port={self.port} user=test dbname=test"

    async def serve(self, stream: SocketStream) -> None:
        async with stream:
            number = len(self.clients)
            client = FakeClient(stream, self._block_left)
            self.clients.append(client)
            if number >= len(self._scripts):
                self._fail(ScriptFailure(f"connection {number + 1} came, and there is no script for it"))
                return
            try:
                await self._scripts[number](client)
            except Exception as ex:  # whatever goes wrong in a script is the test's failure, in `fake_server`
                why = ex if isinstance(ex, ScriptFailure) else repr(ex)
                failure = ScriptFailure(f"script {number + 1}: {why}")
                failure.__cause__ = ex
                self._fail(failure)
            self._running -= 1
            if not self._running:
                self._done.set()

    def _fail(self, failure: ScriptFailure) -> None:
        self.failures.append(failure)
        # Nothing after a failure is worth waiting for.
        self._done.set()

    async def finish(self) -> None:
        """Wait for the scripts; note those that do not end."""
        self._block_left.set()
        with anyio.move_on_after(_GRACE):
            await self._done.wait()
        if self._done.is_set():
            return
        for number in range(len(self._scripts)):
            if number >= len(self.clients):
                self._fail(ScriptFailure(f"script {number + 1}: its connection never came"))
            elif self.clients[number].waiting_for != "nothing":
                waiting = self.clients[number].waiting_for
                self._fail(ScriptFailure(f"script {number + 1}: {waiting} never came"))
        if not self.failures:
            self._fail(ScriptFailure("a script did not end"))


@asynccontextmanager
async def fake_server(*scripts: Script, unix: bool = False) -> AsyncGenerator[FakeServer, None]:
    """Run a server on 127.0.0.1, or on a Unix socket in a directory of its own, that follows `scripts`.

    :raises ScriptFailure: when a script fails, is not followed to its end, or there is none for a connection.
    """
    error: BaseException | None = None
    async with AsyncExitStack() as stack:
        listener: Listener[Any]
        if unix:
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="anyq-"))
            host, port = directory, 5432
            listener = await anyio.create_unix_listener(os.path.join(directory, f".s.PGSQL.{port}"))
        else:
            listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
            host, port = "127.0.0.1", listener.extra(SocketAttribute.local_port)
        await stack.enter_async_context(listener)
        server = FakeServer(host, port, scripts)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, server.serve)
            try:
                yield server
                await server.finish()
            except (anyio.get_cancelled_exc_class(), GeneratorExit):
                raise
            except BaseException as ex:  # raised below, where the task group does not make a group of it
                error = ex
            tasks.cancel_scope.cancel()
    if server.failures:
        failure = server.failures[0]
        if error is not None:
            (failure.__cause__ or failure).__cause__ = error
        raise failure
    if error is not None:
        raise error
