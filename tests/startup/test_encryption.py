"""TLS or clear: which comes first, how TLS begins, and what is tried when one of them does not work."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
from anyio.from_thread import BlockingPortal

from anyq import AsyncConnection
from anyq import errors as e
from anyq.protocol import messages as be
from anyq.transport import tls_context
from tests.support import frontend_messages as fm
from tests.support.certificates import Certificates
from tests.support.deadlines import LIMIT, Deadlines
from tests.support.fakeserver import READY, FakeClient, Script, fake_server
from tests.support.hostile import FORGED, answer, connect_to, let_in, refusal, refused, refusing_for_two_reasons
from tests.support.server import Server
from tests.support.stepping import cancel_at_each_wait
from tests.support.tlsproxies import PATIENCE, REASONS, Proxy
from tests.support.tlsproxy import tls_proxy

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("home")]

MEGABYTE = 1 << 20


# --- sslmode by certificates

NAMES = ["right", "wrong-host", "expired", "early", "self-signed", "stranger", "revoked"]
MODES = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]


def outcome(mode: str, name: str, trusts: bool) -> str:
    """Return what libpq does: "tls", "clear" or "error"."""
    if mode in ("disable", "allow"):
        return "clear"
    if not trusts:
        # Without root certificates there is nothing to verify with.
        return "error" if mode.startswith("verify") else "tls"
    if name == "right" or name == "wrong-host" and mode != "verify-full":
        return "tls"
    return "clear" if mode == "prefer" else "error"


@pytest.mark.parametrize("trusts", [False, True], ids=["blind", "trusting"])
@pytest.mark.parametrize("mode", MODES)
async def test_sslmode(
    mode: str, trusts: bool, proxy: Proxy, connect: Any, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    options: dict[str, Any] = {"sslmode": mode}
    if trusts:
        options |= {"sslrootcert": certificates.root, "sslcrl": certificates.crl}
    for name in NAMES:
        running = proxy(name)
        caplog.clear()
        expected = outcome(mode, name, trusts)
        if expected == "error":
            with pytest.raises(e.OperationalError) as caught:
                await connect(running, **options)
            message = str(caught.value)
            if trusts:
                assert 'host "localhost" (127.0.0.1), port' in message
                assert REASONS[name] in message
                assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)
                assert await anyio.to_thread.run_sync(lambda: running.closed.acquire(timeout=10))  # noqa: B023 - awaited here
                assert running.log == ["handshake failed"]
            else:
                assert "needs a root certificate file" in message
            continue
        async with connect(running, **options) as conn:
            cursor = await conn.execute("SELECT 42")
            assert await cursor.fetchone() == (42,)
            assert conn.info.ssl_in_use is (expected == "tls")
        fell_back = expected == "clear" and mode == "prefer"
        assert running.log == (["handshake failed", "clear"] if fell_back else [expected])
        # That others can read the connection is told.
        assert ("trying without TLS" in caplog.text) is fell_back


@pytest.mark.parametrize("mode", MODES)
async def test_server_without_tls(
    mode: str, embedded_server: Server, connect: Any, certificates: Certificates, tls_portal: BlockingPortal
) -> None:
    with tls_proxy(tls_portal, embedded_server.port, None) as running:
        options = {"sslmode": mode, "sslrootcert": certificates.root}
        if mode in ("disable", "allow", "prefer"):
            async with connect(running, **options) as conn:
                assert not conn.info.ssl_in_use
            # On one connection, asked or not.
            assert running.log == (["refused"] if mode == "prefer" else ["clear"])
        else:
            with pytest.raises(e.OperationalError, match="does not support TLS, and it is required"):
                await connect(running, **options)


@pytest.mark.parametrize("mode", MODES)
async def test_unix_sockets_have_no_tls(mode: str, embedded_server: Server) -> None:
    async with AsyncConnection.connect(embedded_server.dsn, sslmode=mode) as conn:
        assert not conn.info.ssl_in_use


async def test_default_is_prefer(proxy: Proxy, connect: Any) -> None:
    running = proxy()
    async with connect(running) as conn:
        assert conn.info.ssl_in_use
    assert running.log == ["tls"]


# --- names


@pytest.mark.any_loop
@pytest.mark.parametrize("sni", ["0", "1"])
@pytest.mark.parametrize(
    ("name", "host", "right"),
    [
        ("right", "localhost", True),
        ("right", "LOCALHOST", True),
        ("right", "127.0.0.1", True),
        ("wrong-host", "db.example.com", True),
        ("wrong-host", "localhost", False),
        ("wrong-host", "127.0.0.1", False),
        ("wildcard", "db.example.com", True),
        ("wildcard", "a.db.example.com", False),
        ("wildcard", "example.com", False),
        ("common-name", "localhost", True),
        ("common-name", "example.com", False),
        ("common-name", "127.0.0.1", False),
    ],
)
async def test_host_names(
    name: str, host: str, right: bool, sni: str, proxy: Proxy, connect: Any, certificates: Certificates
) -> None:
    running = proxy(name)
    root = certificates.certificate(name) if name == "common-name" else certificates.root
    options = {"host": host, "sslmode": "verify-full", "sslrootcert": root, "sslsni": sni}
    if right:
        async with connect(running, **options):
            pass
    else:
        with pytest.raises(e.OperationalError, match="is for another host name|is not for this IP address"):
            await connect(running, **options)
    is_address = host[0].isdigit()
    assert running.names == [None if is_address or sni == "0" else host]


@pytest.mark.parametrize("host", ["a..b", "x" * 100])
async def test_name_that_tls_cannot_have(host: str, proxy: Proxy, connect: Any) -> None:
    with pytest.raises(e.OperationalError, match="cannot be used with TLS"):
        await connect(proxy(), host=host, sslmode="require")


@pytest.mark.any_loop
@pytest.mark.parametrize("host", ["a..b", ".", "x" * 100, "xn--\u00e9", "\u00e9..x", "\u202e"])
@pytest.mark.parametrize("sni", ["0", "1"])
async def test_name_that_no_certificate_can_have(
    host: str, sni: str, proxy: Proxy, connect: Any, certificates: Certificates
) -> None:
    """Also where it is neither looked up nor sent, but only compared."""
    options = {"host": host, "hostaddr": "127.0.0.1", "sslmode": "verify-full", "sslsni": sni}
    with pytest.raises(e.OperationalError, match="cannot be used with TLS"):
        await connect(proxy(), **options, sslrootcert=certificates.root)


# --- versions and negotiation


async def test_direct(proxy: Proxy, connect: Any) -> None:
    running = proxy()
    async with connect(running, sslmode="require", sslnegotiation="direct") as conn:
        assert conn.info.ssl_attribute("alpn") == "postgresql"
    assert running.log == ["direct"]
    with pytest.raises(e.OperationalError, match=r"did not choose the protocol .postgresql. \(ALPN\)"):
        await connect(proxy(alpn=False), sslmode="require", sslnegotiation="direct")
    # Nobody asks for it otherwise, as servers before PostgreSQL 17 do not know it.
    async with connect(proxy(alpn=False), sslmode="require") as conn:
        assert conn.info.ssl_attribute("alpn") == ""


async def test_direct_to_a_server_that_wants_to_be_asked(proxy: Proxy, connect: Any) -> None:
    with pytest.raises(e.OperationalError, match="sslnegotiation=direct needs PostgreSQL 17 or newer"):
        await connect(proxy(clear=False, direct=False), sslmode="require", sslnegotiation="direct")


# --- a context of the caller's


async def test_context(proxy: Proxy, connect: Any, certificates: Certificates) -> None:
    context = certificates.client_context()
    for options in ({}, {"sslmode": "verify-full"}, {"sslnegotiation": "direct"}):
        async with connect(proxy(), ssl_context=context, **options) as conn:
            assert conn.info.ssl_in_use
    for name, reason in REASONS.items():
        if name != "revoked":
            with pytest.raises(e.OperationalError, match=reason):
                await connect(proxy(name), ssl_context=context)


async def test_context_never_goes_without_tls(
    embedded_server: Server, tls_portal: BlockingPortal, connect: Any, certificates: Certificates
) -> None:
    with (
        tls_proxy(tls_portal, embedded_server.port, None) as running,
        pytest.raises(e.OperationalError, match="does not support TLS"),
    ):
        await connect(running, ssl_context=certificates.client_context())


async def test_context_of_another_protocol(proxy: Proxy, connect: Any, certificates: Certificates) -> None:
    context = ssl.create_default_context(cafile=certificates.root)
    async with connect(proxy(), ssl_context=context):
        pass
    with pytest.raises(e.OperationalError, match="context.set_alpn_protocols"):
        await connect(proxy(), ssl_context=context, sslnegotiation="direct")


async def test_server_of_another_protocol(
    embedded_server: Server, tls_portal: BlockingPortal, connect: Any, certificates: Certificates
) -> None:
    server, client = certificates.server_context("right"), certificates.client_context()
    for context in (server, client):
        context.set_alpn_protocols(["imap"])
    with (
        tls_proxy(tls_portal, embedded_server.port, server) as running,
        pytest.raises(e.OperationalError, match='speaks the protocol "imap"'),
    ):
        await connect(running, ssl_context=client)


async def test_context_and_stream(proxy: Proxy, certificates: Certificates) -> None:
    stream = await anyio.connect_tcp("127.0.0.1", proxy().port)
    with pytest.raises(e.ProgrammingError, match="stream of your own"):
        await AsyncConnection.connect("user=x", stream=stream, ssl_context=certificates.client_context())
    with pytest.raises(anyio.ClosedResourceError):
        await stream.receive()


@pytest.mark.parametrize("natively", [False, True])
async def test_cancelled_connect_leaves_no_socket(
    anyio_backend: Any, natively: bool, proxy: Proxy, connect: Any, certificates: Certificates
) -> None:
    if natively and anyio_backend[0] == "trio":
        pytest.skip("trio has one kind of cancellation")
    running = proxy()
    options = {"sslmode": "verify-full", "sslrootcert": certificates.root}

    async def dial() -> None:
        async with connect(running, **options):
            pass

    async def check() -> None:
        """Nothing to see from here; the proxy is asked at the end."""

    assert await cancel_at_each_wait(dial, check, natively=natively) > 5
    # The last to come, so all the others have been counted.
    await dial()
    for _ in range(running.opened):
        assert await anyio.to_thread.run_sync(lambda: running.closed.acquire(timeout=10))


async def test_fallback_keeps_to_the_deadline(proxy: Proxy, connect: Any, certificates: Certificates) -> None:
    running = proxy("stranger")
    with pytest.raises(e.ConnectionTimeout):
        await connect(running, sslmode="prefer", sslrootcert=certificates.root, connect_timeout=1e-9)


@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
async def test_downgrade(mode: str, certificates: Certificates) -> None:
    message = await refused(answer(b"N"), sslmode=mode, sslrootcert=str(certificates.root))
    assert "the server does not support TLS, and it is required" in message


ERROR = refusal("28000", FORGED).encode()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (ERROR, "reported an error when it was asked for TLS, which is not shown"),
        (ERROR[:1], "reported an error when it was asked for TLS"),
        (b"X", "no valid answer to SSLRequest"),
        (b"\0", "no valid answer to SSLRequest"),
        (b"s", "no valid answer to SSLRequest"),
        (b"S" + be.AuthenticationOk().encode() + READY.encode(), "without encryption came after the answer"),
        (b"S\x16\x03\x03", "without encryption came after the answer"),
        (b"SS", "without encryption came after the answer"),
        (b"N" + be.AuthenticationCleartextPassword().encode(), "without encryption came after the answer"),
    ],
)
@pytest.mark.parametrize("mode", ["prefer", "require"])
async def test_bad_answers(mode: str, data: bytes, reason: str) -> None:
    """None of them is a reason to go on in clear: a server that has no TLS says so."""
    message = await refused(answer(data), sslmode=mode)
    assert reason in message
    assert FORGED not in message
    assert 'host "127.0.0.1", port' in message


async def test_early_bytes_in_a_packet_of_their_own(context: ssl.SSLContext) -> None:
    """They come after the answer was read, so they meet OpenSSL, which does not take them for anything it was sent."""

    async def early(client: FakeClient) -> None:
        await client.expect(fm.SSLRequest)
        await client.send_raw(b"S")
        assert (await client.receive_raw())[:1] == b"\x16"
        await client.send(be.AuthenticationOk(), READY)

    message = await refused(early, sslmode="require")
    assert "answered with something that is not TLS" in message


@pytest.mark.parametrize("mode", ["prefer", "require"])
async def test_closed_when_asked_for_tls(mode: str) -> None:
    async def script(client: FakeClient) -> None:
        await client.expect(fm.SSLRequest)

    assert "closed the connection when it was asked for TLS" in await refused(script, sslmode=mode)


async def test_reset_when_asked_for_tls() -> None:
    async def script(client: FakeClient) -> None:
        await client.expect(fm.SSLRequest)
        await client.abort()

    assert "was lost when the server was asked for TLS" in await refused(script, sslmode="require")


@pytest.mark.parametrize("after", [b"", b"S", b"S\x16\x03\x03\x00\x7a"], ids=["request", "answer", "handshake"])
async def test_silence(after: bytes, deadlines: Deadlines) -> None:
    async def script(client: FakeClient) -> None:
        await client.expect(fm.SSLRequest)
        await client.send_raw(after[:1])
        if after[:1]:
            assert await client.receive_raw()
            await client.send_raw(after[1:] or b"")
        deadlines.pass_now()
        # A reset, where the client has not read what was sent to it.
        with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
            while True:
                await client.receive_raw()

    async with fake_server(script) as server:
        with pytest.raises(e.ConnectionTimeout):
            await connect_to(server, sslmode="prefer", connect_timeout=LIMIT)


async def test_cancelled_in_silence() -> None:
    asked, ended = anyio.Event(), anyio.Event()

    async def script(client: FakeClient) -> None:
        await client.expect(fm.SSLRequest)
        asked.set()
        await client.expect_end()
        ended.set()

    async with fake_server(script) as server:
        async with anyio.create_task_group() as group:
            group.start_soon(connect_to, server)
            await asked.wait()
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()
        with anyio.fail_after(PATIENCE):
            await ended.wait()


async def test_cut_in_the_handshake() -> None:
    async def script(client: FakeClient) -> None:
        await client.expect(fm.SSLRequest)
        await client.send_raw(b"S")
        assert await client.receive_raw()

    assert "closed the connection during the TLS handshake" in await refused(script, sslmode="require")


HELLO_REQUEST = b"\x16\x03\x03\0\4" + bytes(4)
"""What OpenSSL passes over while it waits for a server's first message."""

BIG_HELLO_REQUESTS = b"\x16\x03\x03\x40\0" + bytes(16384)
"""The same, as many of them as one record has room for."""


def going_on(data: bytes, asked: Callable[[], object] = lambda: None) -> Script:
    """Return a server that begins with TLS and sends this again and again, until the client has gone."""

    async def script(client: FakeClient) -> None:
        await client.expect(fm.SSLRequest)
        await client.send_raw(b"S")
        assert await client.receive_raw()
        with anyio.CancelScope() as sending:

            async def listen() -> None:
                with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                    while True:
                        await client.receive_raw()
                sending.cancel()

            async with anyio.create_task_group() as group:
                group.start_soon(listen)
                while True:
                    await client.send_raw(data)
                    asked()
                    await anyio.lowlevel.checkpoint()

    return script


@pytest.mark.parametrize("data", [HELLO_REQUEST * 1000, BIG_HELLO_REQUESTS, HELLO_REQUEST], ids=["many", "big", "few"])
async def test_a_handshake_that_has_no_end(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is given up, and others have had their turn: the server of this test, for one, runs in the same event loop."""
    if data == HELLO_REQUEST:
        # 58,000 of them would be needed.
        monkeypatch.setattr("anyq.transport.tls._MOST_HANDSHAKE", 16_384)
    with anyio.fail_after(PATIENCE):
        message = await refused(going_on(data), sslmode="require")
    assert "does not come to the end of the TLS handshake" in message


async def test_a_handshake_that_has_no_end_within_connect_timeout(deadlines: Deadlines) -> None:
    async with fake_server(going_on(HELLO_REQUEST * 100, deadlines.pass_now)) as server:
        with anyio.fail_after(PATIENCE), pytest.raises(e.ConnectionTimeout):
            await AsyncConnection.connect(server.conninfo, sslmode="require", connect_timeout=LIMIT)


async def test_direct_to_one_who_does_not_speak_tls() -> None:
    async def script(client: FakeClient) -> None:
        assert (await client.receive_raw())[:1] == b"\x16"
        await client.send(refusal("08P01", FORGED))

    message = await refused(script, sslmode="require", sslnegotiation="direct")
    assert "something that is not TLS; check host, port and sslnegotiation" in message
    assert FORGED not in message


async def test_prefer_goes_on_in_clear_on_the_same_connection() -> None:
    async def script(client: FakeClient) -> None:
        await client.expect(fm.SSLRequest)
        await client.send_raw(b"N")
        await let_in(client)

    async with fake_server(script) as server, await connect_to(server, sslmode="prefer") as conn:
        assert not conn.info.ssl_in_use


@pytest.mark.parametrize("code", ["28000", "28P01", "53300"])
async def test_prefer_after_a_refusal(code: str, context: ssl.SSLContext) -> None:
    async def with_tls(client: FakeClient) -> None:
        await client.start_tls(context)
        await client.expect(fm.Startup)
        await client.send(refusal(code))

    async with fake_server(with_tls, let_in) as server, await connect_to(server, sslmode="prefer") as conn:
        assert not conn.info.ssl_in_use


async def test_allow_after_a_refusal(context: ssl.SSLContext) -> None:
    async def in_clear(client: FakeClient) -> None:
        await client.expect(fm.Startup)
        await client.send(refusal("28000"))

    async def with_tls(client: FakeClient) -> None:
        await client.start_tls(context)
        await let_in(client)

    async with fake_server(in_clear, with_tls) as server, await connect_to(server, sslmode="allow") as conn:
        assert conn.info.ssl_in_use


async def test_files_that_turn_out_to_be_needed_are_read_in_a_thread(
    context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With sslmode=allow that is known when the server has refused a connection without TLS, in the event loop."""
    threads: list[int] = []

    def build(options: Any) -> Any:
        threads.append(threading.get_ident())
        return tls_context.build_context(options)

    async def in_clear(client: FakeClient) -> None:
        await client.expect(fm.Startup)
        await client.send(refusal("28000"))

    async def with_tls(client: FakeClient) -> None:
        await client.start_tls(context)
        await let_in(client)

    monkeypatch.setattr("anyq.startup.encryption.build_context", build)
    async with fake_server(in_clear, with_tls) as server, await connect_to(server, sslmode="allow") as conn:
        assert conn.info.ssl_in_use
    assert len(threads) == 1
    assert threads[0] != threading.get_ident()


async def test_allow_where_tls_is_not_there_either() -> None:
    async def in_clear(client: FakeClient) -> None:
        await client.expect(fm.Startup)
        await client.send(refusal("28000", "no entry"))

    message = await refused(in_clear, answer(b"N"), sslmode="allow")
    assert message.startswith('connection failed for user "test", database "test", all 2 attempts:\n- ')
    assert "without TLS: no entry\n- " in message
    assert "with TLS: the server does not support TLS" in message


async def test_both_ways_refused(context: ssl.SSLContext) -> None:
    async def with_tls(client: FakeClient) -> None:
        await client.start_tls(context)
        await in_clear(client)

    async def in_clear(client: FakeClient) -> None:
        await client.expect(fm.Startup)
        await client.send(refusal("28P01", "wrong password"))

    async with fake_server(with_tls, in_clear) as server:
        # Both for the same reason, so it is still told by its class.
        with pytest.raises(e.InvalidPassword) as caught:
            await connect_to(server, sslmode="prefer")
    assert caught.value.sqlstate == "28P01"
    assert "with TLS: wrong password\n- " in str(caught.value)
    assert "without TLS: wrong password" in str(caught.value)


async def test_two_reasons(context: ssl.SSLContext) -> None:
    message = await refused(*refusing_for_two_reasons(context), sslmode="prefer")
    assert "with TLS: wrong password\n- " in message and "without TLS: no entry" in message


@pytest.mark.parametrize("let_in_first", [False, True])
async def test_no_other_way_where_it_would_not_help(let_in_first: bool, context: ssl.SSLContext) -> None:
    """The server is starting, or has let us in and found that there is no such database."""

    async def script(client: FakeClient) -> None:
        await client.start_tls(context)
        await client.expect(fm.Startup)
        if let_in_first:
            await client.send(be.AuthenticationOk(), refusal("3D000", "no such database"))
        else:
            await client.send(refusal("57P03", "starting up"))

    async with fake_server(script) as server:
        with pytest.raises(e.OperationalError, match="no such database|starting up"):
            await connect_to(server, sslmode="prefer")
    assert len(server.clients) == 1


async def test_no_other_way_after_a_lost_connection(context: ssl.SSLContext) -> None:
    async def script(client: FakeClient) -> None:
        await client.start_tls(context)
        await client.expect(fm.Startup)

    # With the newest version there would be an attempt with the oldest one, with TLS as well.
    message = await refused(script, sslmode="prefer", max_protocol_version="3.0")
    assert "closed the connection during the start-up" in message
