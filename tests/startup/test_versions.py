"""Which version of the protocol is spoken, also by servers that know only the oldest."""

from __future__ import annotations

import gc
from contextlib import suppress
from typing import Any

import anyio
import anyio.abc
import pytest
from anyio.abc import SocketAttribute

import anyq
from anyq import errors as e
from anyq.protocol import backend as be
from anyq.protocol.constants import MAX_SECRET_KEY_LENGTH, PROTOCOL_3_0, PROTOCOL_3_2
from tests.support import frontend_messages as fm
from tests.support.fakeserver import READY, FakeClient, Script, fake_server
from tests.support.stepping import cancel_at_each_wait

pytestmark = pytest.mark.anyio


def speaking(version: int) -> Script:
    """A server that is asked for this version, and knows it."""

    async def script(client: FakeClient) -> None:
        startup = await client.accept_startup()
        assert startup.version == version
        await client.expect(fm.Terminate)

    return script


def negotiating(newest: int, *, let_in: bool = True) -> Script:
    """A server that is asked for 3.2, and says which version it knows."""

    async def script(client: FakeClient) -> None:
        await client.expect(fm.Startup, version=PROTOCOL_3_2)
        await client.send(be.NegotiateProtocolVersion(newest), be.AuthenticationOk())
        if let_in:
            await client.send(be.BackendKeyData(1, b"1234"), READY)
            await client.expect(fm.Terminate)
        await client.expect_end()

    return script


def refusing(code: str | None, *, engaged: bool = False) -> Script:
    """A server that cannot cope with 3.2."""

    async def script(client: FakeClient) -> None:
        await client.expect(fm.Startup, version=PROTOCOL_3_2)
        if engaged:
            await client.send(be.AuthenticationOk())
        if code is not None:
            await client.send(be.ErrorResponse({"S": "ERROR", "C": code, "M": "what is that?"}))

    return script


# --- a real server ---


async def test_the_newest_that_the_server_knows(dsn: str) -> None:
    async with anyq.AsyncConnection.connect(dsn, autocommit=True) as conn:
        newest = 30002 if conn.info.server_version >= 180000 else 30000
        assert conn.info.protocol_version == conn.info.full_protocol_version == newest
        # Its key is longer in 3.2, and right.
        async with anyio.create_task_group() as group:
            group.start_soon(wait_to_be_cancelled, conn)
            cur = await conn.cursor().execute("SELECT 1")
            assert await cur.fetchone() == (1,)


async def wait_to_be_cancelled(conn: anyq.AsyncConnection) -> None:
    with anyio.move_on_after(0):
        await conn.execute("SELECT pg_sleep(1000)")


@pytest.mark.parametrize("version", ["3.0", "3.2", "latest"])
async def test_at_most(dsn: str, version: str) -> None:
    async with anyq.AsyncConnection.connect(dsn, max_protocol_version=version) as conn:
        newer = version != "3.0" and conn.info.server_version >= 180000
        assert conn.info.protocol_version == (30002 if newer else 30000)


async def test_at_least(dsn: str) -> None:
    async with anyq.AsyncConnection.connect(dsn, min_protocol_version="3.0") as conn:
        newest = conn.info.protocol_version
    if newest == 30002:
        async with anyq.AsyncConnection.connect(dsn, min_protocol_version="3.2") as conn:
            assert conn.info.protocol_version == 30002
    else:
        with pytest.raises(e.OperationalError, match="speaks version 3.0 of the protocol, which is less than min"):
            await anyq.AsyncConnection.connect(dsn, min_protocol_version="3.2")


# --- servers that follow a script ---


async def test_a_server_that_negotiates() -> None:
    async with fake_server(negotiating(PROTOCOL_3_0)) as server:
        conn = await anyq.AsyncConnection.connect(server.conninfo)
        assert conn.info.protocol_version == 30000
        await conn.close()


async def test_a_server_that_negotiates_less_than_is_wanted() -> None:
    async with fake_server(negotiating(PROTOCOL_3_0, let_in=False)) as server:
        with pytest.raises(e.OperationalError, match="which is less than min_protocol_version"):
            await anyq.AsyncConnection.connect(server.conninfo, min_protocol_version="3.2")


async def test_a_server_that_negotiates_more_than_is_asked_for() -> None:
    async with fake_server(negotiating(PROTOCOL_3_2 + 1, let_in=False)) as server:
        with pytest.raises(e.RemoteProtocolError, match=r"wants to speak version 3\.3"):
            await anyq.AsyncConnection.connect(server.conninfo)


@pytest.mark.parametrize(
    "refusal",
    [
        refusing("0A000"),
        refusing("08P01"),
        # As pgpool-II, which finds out only when the server sends its key.
        refusing("XX000", engaged=True),
        refusing(None),
    ],
)
async def test_a_server_that_knows_nothing_newer(refusal: Script) -> None:
    """It is asked again, on another connection."""
    async with fake_server(refusal, speaking(PROTOCOL_3_0)) as server:
        conn = await anyq.AsyncConnection.connect(server.conninfo)
        assert conn.info.protocol_version == 30000
        await conn.close()


@pytest.mark.parametrize("refusal", [refusing("57P03"), refusing(None, engaged=True)])
async def test_other_refusals_are_final(refusal: Script) -> None:
    async with fake_server(refusal) as server:
        with pytest.raises(e.OperationalError):
            await anyq.AsyncConnection.connect(server.conninfo)


async def test_nothing_older_where_that_is_not_wanted() -> None:
    async with fake_server(refusing("0A000")) as server:
        with pytest.raises(e.FeatureNotSupported, match="what is that"):
            await anyq.AsyncConnection.connect(server.conninfo, min_protocol_version="3.2")


async def test_a_server_that_refuses_twice() -> None:
    async def script(client: FakeClient) -> None:
        await client.expect(fm.Startup, version=PROTOCOL_3_0)
        await client.send(be.ErrorResponse({"S": "FATAL", "C": "0A000", "M": "nothing at all"}))

    async with fake_server(refusing("0A000"), script) as server:
        with pytest.raises(e.FeatureNotSupported, match="nothing at all"):
            await anyq.AsyncConnection.connect(server.conninfo)


@pytest.mark.parametrize(
    ("keywords", "version"),
    [
        ({}, PROTOCOL_3_0),
        ({"max_protocol_version": "3.2"}, PROTOCOL_3_2),
        ({"min_protocol_version": "3.2"}, PROTOCOL_3_2),
        ({"max_protocol_version": "3.0"}, PROTOCOL_3_0),
    ],
)
async def test_a_stream_of_the_callers_asks_once(keywords: dict[str, Any], version: int) -> None:
    """So it asks for what every server knows, unless it is told otherwise."""
    async with fake_server(speaking(version)) as server:
        stream = await anyio.connect_tcp(server.host, server.port)
        conn = await anyq.AsyncConnection.connect(server.conninfo, stream=stream, **keywords)
        await conn.close()


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


async def test_cancelled_at_each_wait(warm_loop: None) -> None:
    """Whichever of the two connections is under way, nothing is left of it."""

    async def serve(stream: anyio.abc.SocketStream) -> None:
        # One for any number of connections: how many come depends on when they are cancelled.
        async with stream:
            with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                startup = await stream.receive()
                if startup[4:8] == PROTOCOL_3_2.to_bytes(4, "big"):
                    await stream.send(be.ErrorResponse({"S": "FATAL", "C": "0A000", "M": "what?"}).encode())
                    return
                for message in (be.AuthenticationOk(), be.BackendKeyData(1, b"1234"), READY):
                    await stream.send(message.encode())
                await stream.receive()

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    conninfo = f"host=127.0.0.1 port={listener.extra(SocketAttribute.local_port)} user=test sslmode=disable"

    async def connect() -> None:
        await (await anyq.AsyncConnection.connect(conninfo)).close()

    async def check() -> None:
        pass

    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, serve)
        assert await cancel_at_each_wait(connect, check) > 3
        group.cancel_scope.cancel()
    # A socket that nobody has closed is a warning, and so an error.
    gc.collect()
