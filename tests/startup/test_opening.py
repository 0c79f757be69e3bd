"""Which host a session is made on, when the next one is tried, and when the same once more."""

from __future__ import annotations

import gc
import random
import ssl
from contextlib import suppress
from typing import Any

import anyio
import anyio.abc
import pytest
from anyio.abc import SocketAttribute

import anyq
from anyq import errors as e
from anyq.protocol import messages as be
from anyq.protocol.constants import PROTOCOL_3_0, PROTOCOL_3_2
from tests.support import frontend_messages as fm
from tests.support.fakeserver import READY, FakeClient, Script, fake_server
from tests.support.hostile import answer, connect_to, let_in, refusal, refusing_for_two_reasons
from tests.support.replicas import Replicas
from tests.support.scripts import in_recovery, refusing, session, several
from tests.support.sockets import open_sockets
from tests.support.stepping import cancel_at_each_wait

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("home")]


async def test_no_other_host_after_two_refusals(context: ssl.SSLContext) -> None:
    async with fake_server(*refusing_for_two_reasons(context)) as first, fake_server() as second:
        hosts = {"host": f"{first.host},{second.host}", "port": f"{first.port},{second.port}"}
        with pytest.raises(e.OperationalError, match="with TLS: wrong password\n- .*without TLS: no entry"):
            await connect_to(first, sslmode="prefer", **hosts)
    assert second.clients == []


async def test_an_older_version_of_the_protocol_with_tls(context: ssl.SSLContext) -> None:
    """Asked for on a connection of its own, which has TLS too."""

    async def script(client: FakeClient) -> None:
        await client.start_tls(context)
        await client.expect(fm.Startup)

    async with (
        fake_server(script, let_in_over_tls(context)) as server,
        await connect_to(server, sslmode="require") as conn,
    ):
        assert conn.info.ssl_in_use
        assert conn.info.protocol_version == 30000


async def test_the_next_host(context: ssl.SSLContext) -> None:
    async with fake_server(answer(b"N")) as first, fake_server(let_in_over_tls(context)) as second:
        hosts = {"host": f"{first.host},{second.host}", "port": f"{first.port},{second.port}"}
        async with await connect_to(second, sslmode="require", **hosts) as conn:
            assert conn.info.port == second.port


def let_in_over_tls(context: ssl.SSLContext) -> Script:
    async def script(client: FakeClient) -> None:
        await client.start_tls(context)
        await let_in(client)

    return script


async def test_the_next_host_after_a_refusal_and_a_session_that_does_not_suit(context: ssl.SSLContext) -> None:
    """The refusal was of TLS: that it would be the same anywhere says nothing about the session without."""

    async def with_tls(client: FakeClient) -> None:
        await client.start_tls(context)
        await client.expect(fm.Startup)
        await client.send(refusal("28000"))

    async def standby(client: FakeClient) -> None:
        await client.accept_startup(parameters={"in_hot_standby": "on", "default_transaction_read_only": "off"})
        await client.expect(fm.Terminate)

    async def primary(client: FakeClient) -> None:
        await client.start_tls(context)
        await client.accept_startup(parameters={"in_hot_standby": "off", "default_transaction_read_only": "off"})
        await client.expect(fm.Terminate)

    async with fake_server(with_tls, standby) as first, fake_server(primary) as second:
        hosts = {"host": f"{first.host},{second.host}", "port": f"{first.port},{second.port}"}
        async with await connect_to(first, sslmode="prefer", target_session_attrs="primary", **hosts) as conn:
            assert conn.info.port == second.port


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


def too_new(code: str | None, *, engaged: bool = False) -> Script:
    """A server that cannot cope with 3.2."""

    async def script(client: FakeClient) -> None:
        await client.expect(fm.Startup, version=PROTOCOL_3_2)
        if engaged:
            await client.send(be.AuthenticationOk())
        if code is not None:
            await client.send(be.ErrorResponse({"S": "ERROR", "C": code, "M": "what is that?"}))

    return script


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
        too_new("0A000"),
        too_new("08P01"),
        # As pgpool-II, which finds out only when the server sends its key.
        too_new("XX000", engaged=True),
        too_new(None),
    ],
)
async def test_a_server_that_knows_nothing_newer(refusal: Script) -> None:
    """It is asked again, on another connection."""
    async with fake_server(refusal, speaking(PROTOCOL_3_0)) as server:
        conn = await anyq.AsyncConnection.connect(server.conninfo)
        assert conn.info.protocol_version == 30000
        await conn.close()


@pytest.mark.parametrize("refusal", [too_new("57P03"), too_new(None, engaged=True)])
async def test_other_refusals_are_final(refusal: Script) -> None:
    async with fake_server(refusal) as server:
        with pytest.raises(e.OperationalError):
            await anyq.AsyncConnection.connect(server.conninfo)


@pytest.mark.parametrize("code", ["0A000", None])
async def test_the_next_host_after_an_older_version_and_a_session_that_does_not_suit(code: str | None) -> None:
    """What the first host has said about the version says nothing about the second, which knows the newest."""
    seen: list[int] = []

    async def standby(client: FakeClient) -> None:
        startup = await client.accept_startup(
            parameters={"in_hot_standby": "on", "default_transaction_read_only": "off"}
        )
        seen.append(startup.version)
        await client.expect(fm.Terminate)

    async def primary(client: FakeClient) -> None:
        startup = await client.accept_startup(
            parameters={"in_hot_standby": "off", "default_transaction_read_only": "off"}
        )
        seen.append(startup.version)
        await client.expect(fm.Terminate)

    async with fake_server(too_new(code), standby) as first, fake_server(primary) as second:
        hosts = {"host": f"{first.host},{second.host}", "port": f"{first.port},{second.port}"}
        async with await connect_to(first, target_session_attrs="primary", sslmode="disable", **hosts) as conn:
            assert conn.info.port == second.port
    assert seen == [PROTOCOL_3_0, PROTOCOL_3_2]


async def test_nothing_older_where_that_is_not_wanted() -> None:
    async with fake_server(too_new("0A000")) as server:
        with pytest.raises(e.FeatureNotSupported, match="what is that"):
            await anyq.AsyncConnection.connect(server.conninfo, min_protocol_version="3.2")


async def test_a_server_that_refuses_twice() -> None:
    async def script(client: FakeClient) -> None:
        await client.expect(fm.Startup, version=PROTOCOL_3_0)
        await client.send(be.ErrorResponse({"S": "FATAL", "C": "0A000", "M": "nothing at all"}))

    async with fake_server(too_new("0A000"), script) as server:
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


async def test_cancelled_at_each_wait_of_two_versions(warm_loop: None) -> None:
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


@pytest.mark.parametrize("code", ["57P03", "53300", "08004", "58000", "XX000"])
async def test_a_server_that_is_not_fit_now(code: str) -> None:
    # The last of them may be about the version of the protocol, which is tried first.
    refusals = [refusing(code)] * (2 if code == "XX000" else 1)
    async with fake_server(*refusals, session({})) as server, anyq.AsyncConnection.connect(several(server, 2)):
        pass


@pytest.mark.parametrize("code", ["28P01", "28000", "3D000", "42501"])
async def test_a_refusal_that_is_about_us(code: str) -> None:
    """Manual, "Specifying Multiple Hosts": the remaining hosts are not tried."""
    async with fake_server(refusing("57P03", "not yet"), refusing(code)) as server:
        with pytest.raises(e.OperationalError) as caught:
            await anyq.AsyncConnection.connect(several(server, 3))
    assert caught.value.__cause__ is not None
    assert caught.value.__cause__.diag.sqlstate == code  # type: ignore[attr-defined]
    lines = str(caught.value).splitlines()
    assert len(lines) == 3 and "not yet" in lines[1] and "go away" in lines[2]


async def test_what_we_refuse_is_refused_everywhere() -> None:
    async def script(client: FakeClient) -> None:
        await client.expect(fm.Startup)
        await client.send(be.AuthenticationCleartextPassword())
        await client.expect_end()

    async with fake_server(script) as server:
        with pytest.raises(e.OperationalError, match="asks for a password"):
            await anyq.AsyncConnection.connect(several(server, 2))


async def test_a_server_that_goes_away_in_the_start_up() -> None:
    async def script(client: FakeClient) -> None:
        await client.expect(fm.Startup)
        await client.send(be.AuthenticationOk())

    async with fake_server(script, session({})) as server, anyq.AsyncConnection.connect(several(server, 2)):
        pass


@pytest.fixture
def reverse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chance that puts everything into the opposite order."""
    monkeypatch.setattr(random, "shuffle", lambda sequence: sequence.reverse())


async def test_hosts_in_random_order(pair: Replicas, reverse: None) -> None:
    conninfo = pair.conninfo(pair.primary, pair.standby)
    for option, standby in [("random", True), ("disable", False)]:
        async with anyq.AsyncConnection.connect(conninfo, load_balance_hosts=option) as conn:
            assert await in_recovery(conn) is standby


@pytest.mark.parametrize("natively", [False, True])
async def test_cancelled_at_each_wait(pair: Replicas, warm_loop: None, natively: bool, anyio_backend_name: str) -> None:
    """On the way over several hosts: a dead one, two that do not suit, one that does."""
    if natively and anyio_backend_name != "asyncio":
        pytest.skip("only asyncio cancels tasks")
    conninfo = pair.conninfo(pair.primary, pair.primary, pair.standby)
    conninfo = conninfo.replace("host=", "host=/no/such/dir,").replace("port=", "port=5432,")
    before = open_sockets()

    async def connect() -> None:
        async with anyq.AsyncConnection.connect(conninfo, target_session_attrs="standby"):
            pass

    async def check() -> None:
        assert open_sockets() <= before

    assert await cancel_at_each_wait(connect, check, natively=natively) > 5
