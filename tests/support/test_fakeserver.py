"""The scripted server does what its script says, and tells when the client does not."""

from __future__ import annotations

import struct
from collections.abc import Awaitable, Callable

import anyio
import pytest
from anyio.abc import ByteStream

from anyq.protocol import frontend
from anyq.protocol import messages as be
from tests.support import frontend_messages as fm
from tests.support.fakeserver import DEFAULT_PARAMETERS, READY, FakeClient, FakeServer, ScriptFailure, fake_server

pytestmark = pytest.mark.anyio


async def connect(server: FakeServer) -> ByteStream:
    if server.host.startswith("/"):
        return await anyio.connect_unix(f"{server.host}/.s.PGSQL.{server.port}")
    return await anyio.connect_tcp(server.host, server.port)


async def say(stream: ByteStream, write: Callable[..., None], *args: object) -> None:
    out = bytearray()
    write(out, *args)
    await stream.send(bytes(out))


GSSENC_REQUEST = struct.pack(">II", 8, 1234 << 16 | 5680)
"""The driver has no use for this one."""


async def listen(stream: ByteStream) -> bytes:
    """Return everything until the server closes."""
    received = bytearray()
    try:
        while True:
            received += await stream.receive()
    except anyio.EndOfStream:
        return bytes(received)


def wire(*messages: be.BackendMessage) -> bytes:
    return b"".join([message.encode() for message in messages])


@pytest.mark.parametrize("unix", [False, True])
async def test_a_script_is_followed(unix: bool) -> None:
    async def script(client: FakeClient) -> None:
        startup = await client.accept_startup(parameters={"TimeZone": "Europe/Rome", "extra": "1"})
        assert startup.params == {"user": "test"}
        await client.expect(fm.Query, sql=b"select 1")
        await client.send(be.CommandComplete("SELECT 1"), READY)
        await client.send_raw(b"garbage")
        await client.expect(fm.Terminate)

    async with fake_server(script, unix=unix) as server:
        assert server.conninfo == f"host={server.host} port={server.port} user=test dbname=test"
        async with await connect(server) as stream:
            await say(stream, frontend.startup, {"user": "test"})
            await say(stream, frontend.query, b"select 1")
            await stream.send(frontend.TERMINATE)
            received = await listen(stream)
    parameters = {**DEFAULT_PARAMETERS, "TimeZone": "Europe/Rome", "extra": "1"}
    assert received == (
        wire(
            be.AuthenticationOk(),
            *[be.ParameterStatus(name, value) for name, value in parameters.items()],
            be.BackendKeyData(4242, b"\1\2\3\4"),
            READY,
            be.CommandComplete("SELECT 1"),
            READY,
        )
        + b"garbage"
    )
    assert server.clients[0].startup == fm.Startup(196608, {"user": "test"})


async def test_each_connection_has_its_script() -> None:
    async def session(client: FakeClient) -> None:
        await client.accept_startup(pid=7, secret=b"12345678")
        await client.expect_end()

    async def cancellation(client: FakeClient) -> None:
        await client.expect(fm.CancelRequest, pid=7, secret=b"12345678")

    async with fake_server(session, cancellation) as server, await connect(server) as first:
        await say(first, frontend.startup, {"user": "test"})
        # The second connection must come second: the first has its script when it has an answer.
        await first.receive(1)
        async with await connect(server) as second:
            await say(second, frontend.cancel_request, 7, b"12345678")
            assert await listen(second) == b""
        await first.aclose()


async def test_encryption_is_refused_unless_the_script_wants_the_request() -> None:
    async def script(client: FakeClient) -> None:
        await client.expect(fm.GSSENCRequest)
        await client.send_raw(b"N")
        await client.accept_startup()

    async with fake_server(script) as server, await connect(server) as stream:
        await stream.send(GSSENC_REQUEST)
        assert await stream.receive() == b"N"
        await stream.send(frontend.SSL_REQUEST)
        assert await stream.receive() == b"N"
        await say(stream, frontend.startup, {"user": "test"})
        assert (await listen(stream)).startswith(be.AuthenticationOk().encode())


async def test_answers_are_read_as_what_was_asked_for() -> None:
    async def script(client: FakeClient) -> None:
        await client.expect(fm.Startup)
        await client.expect(fm.SASLInitialResponse, mechanism="SCRAM-SHA-256", data=b"first")
        await client.expect(fm.SASLResponse, data=b"second")
        await client.expect(fm.PasswordMessage, password=b"third")
        await client.expect(fm.GSSResponse, data=b"fourth")

    async with fake_server(script) as server, await connect(server) as stream:
        await say(stream, frontend.startup, {"user": "test"})
        await say(stream, frontend.sasl_initial_response, "SCRAM-SHA-256", b"first")
        await say(stream, frontend.sasl_response, b"second")
        await say(stream, frontend.password, b"third")
        await say(stream, frontend.sasl_response, b"fourth")
        assert await listen(stream) == b""


async def test_many_messages_at_once() -> None:
    async def script(client: FakeClient) -> None:
        await client.accept_startup()
        assert await client.expect_all(fm.Flush, fm.Flush) == [fm.Flush(), fm.Flush()]
        assert await client.receive_until(fm.Sync) == [fm.Flush(), fm.Sync()]
        await client.ignore_the_rest()

    async with fake_server(script) as server, await connect(server) as stream:
        await say(stream, frontend.startup, {"user": "test"})
        for message in (frontend.FLUSH, frontend.FLUSH, frontend.FLUSH, frontend.SYNC, frontend.SYNC):
            await stream.send(message)
        await stream.aclose()


async def test_a_server_that_stalls_holds_nobody_up() -> None:
    async with fake_server(FakeClient.stall) as server, await connect(server) as stream:
        await say(stream, frontend.startup, {"user": "test"})


async def test_a_server_that_dies() -> None:
    async def script(client: FakeClient) -> None:
        await client.expect(fm.Startup)
        await client.abort()

    async with fake_server(script) as server, await connect(server) as stream:
        await say(stream, frontend.startup, {"user": "test"})
        with pytest.raises(anyio.BrokenResourceError):
            await stream.receive()


# --- Failures


async def unwanted(stream: ByteStream) -> None:
    await say(stream, frontend.startup, {"user": "test"})
    await say(stream, frontend.query, b"select 2")


async def silent(stream: ByteStream) -> None:
    await stream.aclose()


async def torn(stream: ByteStream) -> None:
    await stream.send(b"\0\0\0\x08\0\3")
    await stream.aclose()


async def nonsense(stream: ByteStream) -> None:
    await stream.send(b"GET / HTTP/1.1\r\n\r\n")


@pytest.mark.parametrize(
    ("behave", "match"),
    [
        (
            unwanted,
            r"script 1: the client sent Query\(sql=b'select 2'\) where \{'sql': b'select 1'\} was expected",
        ),
        (silent, "script 1: the client closed the connection where Startup was expected"),
        (torn, "script 1: the client closed inside a message"),
        (nonsense, "script 1: BadMessage"),
    ],
)
async def test_a_client_that_does_something_else(behave: Callable[[ByteStream], Awaitable[None]], match: str) -> None:
    async def script(client: FakeClient) -> None:
        await client.expect(fm.Startup)
        await client.expect(fm.Query, sql=b"select 1")

    with pytest.raises(ScriptFailure, match=match):
        async with fake_server(script) as server, await connect(server) as stream:
            await behave(stream)
            await server.finish()


async def test_another_message_than_expected() -> None:
    async def script(client: FakeClient) -> None:
        await client.expect(fm.Startup)
        await client.expect_end()

    with pytest.raises(ScriptFailure, match="sent Sync.* where the end of the connection was expected"):
        async with fake_server(script) as server, await connect(server) as stream:
            await say(stream, frontend.startup, {"user": "test"})
            await stream.send(frontend.SYNC)
            await listen(stream)


async def test_a_connection_too_many() -> None:
    with pytest.raises(ScriptFailure, match="connection 1 came, and there is no script"):
        async with fake_server() as server, await connect(server) as stream:
            assert await listen(stream) == b""


async def test_a_script_that_is_not_followed_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.support.fakeserver._GRACE", 0.01)

    async def script(client: FakeClient) -> None:
        await client.accept_startup()
        await client.expect(fm.Terminate)

    with pytest.raises(ScriptFailure, match="script 1: Terminate never came"):
        async with fake_server(script) as server, await connect(server) as stream:
            await say(stream, frontend.startup, {"user": "test"})
            await stream.receive(1)
            await server.finish()


async def test_a_connection_that_never_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.support.fakeserver._GRACE", 0.01)
    with pytest.raises(ScriptFailure, match="script 1: its connection never came"):
        async with fake_server(FakeClient.ignore_the_rest):
            pass


async def test_the_script_is_blamed_before_the_block() -> None:
    async def script(client: FakeClient) -> None:
        raise ZeroDivisionError("in the script")

    error = ValueError("in the block")
    with pytest.raises(ScriptFailure, match="script 1: ZeroDivisionError") as caught:
        async with fake_server(script) as server, await connect(server) as stream:
            await listen(stream)
            raise error
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert caught.value.__cause__.__cause__ is error


async def test_an_error_of_the_block_is_raised_as_it_is() -> None:
    with pytest.raises(ValueError, match="in the block"):
        async with fake_server(FakeClient.ignore_the_rest):
            raise ValueError("in the block")


async def test_the_block_can_be_cancelled() -> None:
    with anyio.CancelScope() as scope:
        async with fake_server(FakeClient.stall) as server, await connect(server):
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught
