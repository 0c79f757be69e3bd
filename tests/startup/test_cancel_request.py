"""How a CancelRequest is sent, and that it goes no other way than the session."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import anyio
import anyio.abc
import anyio.lowlevel
import anyio.to_thread
import pytest
from anyio.from_thread import BlockingPortal

import anyq
from anyq import errors as e
from anyq._accel import keep_rows, take_replies
from anyq.protocol import frontend
from anyq.protocol import messages as be
from anyq.protocol.constants import MAX_SECRET_KEY_LENGTH, PROTOCOL_3_0
from anyq.protocol.session import ProtocolSession
from anyq.startup.cancel_request import canceller
from anyq.transport.channel import Buffer, Channel
from tests.support import frontend_messages as fm
from tests.support.certificates import Certificates
from tests.support.fakeserver import READY, FakeClient, fake_server
from tests.support.server import Server
from tests.support.stepping import cancel_when_blocked
from tests.support.tlsproxies import Proxy
from tests.support.tlsproxy import tls_proxy

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("home")]


@pytest.mark.parametrize("negotiation", ["postgres", "direct"])
async def test_cancel_over_tls(negotiation: str, proxy: Proxy, connect: Any, certificates: Certificates) -> None:
    running = proxy()
    options = {"sslmode": "verify-full", "sslrootcert": certificates.root, "sslnegotiation": negotiation}
    opened = "direct" if negotiation == "direct" else "tls"
    async with connect(running, autocommit=True, **options) as conn:
        async with anyio.create_task_group() as group:
            group.start_soon(conn.execute, "SELECT pg_sleep(60)")
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()
        cursor = await conn.execute("SELECT 1")
        assert await cursor.fetchone() == (1,)
    assert running.log[:3] == [opened, opened, "cancel"]
    assert set(running.log[3:]) <= {opened, "cancel"}  # if the first came too early, it was sent again
    # By the same name.
    assert set(running.names) == {"localhost"}


async def test_cancel_key_is_not_sent_in_clear(
    embedded_server: Server, tls_portal: BlockingPortal, connect: Any, certificates: Certificates
) -> None:
    context = certificates.server_context("right")
    with tls_proxy(tls_portal, embedded_server.port, context) as running:
        async with connect(running, sslmode="prefer", grace_period=0.5) as conn:
            # From now on the server claims that it has no TLS.
            running.deny_tls()
            with anyio.CancelScope() as scope:
                scope.cancel()
                await conn.execute("SELECT 1")
            async with anyio.create_task_group() as group:
                group.start_soon(conn.execute, "SELECT pg_sleep(60)")
                await anyio.wait_all_tasks_blocked()
                group.cancel_scope.cancel()
            assert conn.broken
        assert "cancel" not in running.log


@pytest.mark.parametrize("length", [4, 32, MAX_SECRET_KEY_LENGTH])
async def test_keys_of_any_length(length: int) -> None:
    secret = bytes(range(256))[:length]

    async def script(client: FakeClient) -> None:
        await client.accept_startup(secret=secret)
        await client.expect(fm.Terminate)

    async def cancel(client: FakeClient) -> None:
        await client.expect(fm.CancelRequest, secret=secret)

    async with fake_server(script, cancel) as server:
        conn = await anyq.AsyncConnection.connect(server.conninfo)
        await conn.cancel_safe()
        await conn.close()


class ScriptedChannel(Channel):
    """A channel that takes a few bytes at a time, and at whose other end things happen in a given order."""

    closes_at_once = False

    def __init__(self, *received: bytes | None | Exception) -> None:
        self.sent = bytearray()
        self.waits: list[tuple[bool, bool]] = []
        self.closed: list[str] = []
        self._received = list(received)

    def try_send(self, data: Buffer) -> int:
        # Nothing at every second time, as a socket that is full.
        taken = 0 if self.waits[-1:] != [(False, True)] and self.sent else 5
        self.sent += data[:taken]
        return min(taken, len(data))

    def try_receive(self, max_bytes: int) -> bytes | None:
        item = self._received.pop(0)
        if isinstance(item, Exception):
            raise item
        return item

    def try_receive_into(self, view: memoryview) -> int | None:
        raise NotImplementedError

    async def wait(self, readable: bool, writable: bool) -> None:
        self.waits.append((readable, writable))
        await anyio.lowlevel.checkpoint()

    def wake(self) -> None:
        raise NotImplementedError

    def fileno(self) -> int:
        raise NotImplementedError

    def close_now(self) -> None:
        self.closed.append("at once")

    async def aclose(self) -> None:
        self.closed.append("with all that belongs to it")


def session_of(pid: int, secret: bytes) -> ProtocolSession:
    """Return a session whose server has given it this key."""
    protocol = ProtocolSession(keep_rows, take_replies)
    protocol.start({"user": "u"}, PROTOCOL_3_0)
    protocol.receive_data(be.AuthenticationOk().encode() + be.BackendKeyData(pid, secret).encode())
    return protocol


@pytest.mark.parametrize("end", [b"", anyio.BrokenResourceError()])
async def test_what_is_sent_and_waited_for(end: bytes | Exception) -> None:
    channel = ScriptedChannel(None, None, end)

    async def reopen() -> Channel:
        return channel

    await canceller(reopen, session_of(7, b"key!"))(lambda: True)
    expected = bytearray()
    frontend.cancel_request(expected, 7, b"key!")
    assert channel.sent == expected
    assert channel.waits.count((True, False)) == 2 and (False, True) in channel.waits
    assert channel.closed == ["at once", "with all that belongs to it"]


async def test_an_answer_is_not_waited_for_to_its_end() -> None:
    """Nobody says anything here: one byte is enough to close, as there may be no end of them."""
    channel = ScriptedChannel(None, b"E")

    async def reopen() -> Channel:
        return channel

    with pytest.raises(e.OperationalError, match="gave an answer to a CancelRequest"):
        await canceller(reopen, session_of(7, b"key!"))(lambda: True)
    assert channel.closed == ["at once", "with all that belongs to it"]


@pytest.mark.parametrize("tls", [False, True])
async def test_a_server_that_goes_on_talking(
    tls: bool, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    """On the connection of the CancelRequest: the query is drained all the same, and the connection usable."""
    context = certificates.server_context("right")
    cancelled = anyio.Event()

    async def session(client: FakeClient) -> None:
        if tls:
            await client.start_tls(context)
        await client.accept_startup()
        await client.expect(fm.Query)
        await cancelled.wait()
        await client.send(be.ErrorResponse({"S": "ERROR", "V": "ERROR", "C": "57014", "M": "canceled"}), READY)
        await client.expect(fm.Terminate)

    async def cancel(client: FakeClient) -> None:
        if tls:
            await client.start_tls(context)
        await client.expect(fm.CancelRequest)
        with anyio.CancelScope() as talking:

            async def listen() -> None:
                with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                    while True:
                        await client.receive_raw()
                talking.cancel()

            async with anyio.create_task_group() as group:
                group.start_soon(listen)
                while True:
                    await client.send_raw(bytes(65536))
                    await anyio.lowlevel.checkpoint()
        cancelled.set()

    async with fake_server(session, cancel) as server:
        mode = "require" if tls else "disable"
        conn = await anyq.AsyncConnection.connect(server.conninfo, autocommit=True, sslmode=mode)
        with anyio.fail_after(20):
            await cancel_when_blocked(lambda: conn.execute("SELECT pg_sleep(60)"))
        assert not conn.closed
        await conn.close()
    assert "could not be cancelled: the server gave an answer" in caplog.text


async def test_where_no_connection_can_be_made() -> None:
    async def reopen() -> Channel:
        raise e.OperationalError("no way there")

    with pytest.raises(e.OperationalError, match="no way there"):
        await canceller(reopen, session_of(7, b"key!"))(lambda: True)


async def test_a_cancellation_closes_the_connection() -> None:
    channel = ScriptedChannel(None)

    async def reopen() -> Channel:
        scope.cancel()
        return channel

    with anyio.CancelScope() as scope:
        await canceller(reopen, session_of(7, b"key!"))(lambda: True)
    assert scope.cancelled_caught
    assert channel.closed[0] == "at once"
