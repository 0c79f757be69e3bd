"""Servers, and those in between, that cheat or fail while TLS is being made; and what is tried after that."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from anyq import AsyncConnection
from anyq import errors as e
from anyq.protocol import backend as be
from tests.protocol.test_auth import FakeScramServer
from tests.support import frontend_messages as fm
from tests.support.certificates import Certificates
from tests.support.fakeserver import READY, FakeClient, FakeServer, fake_server

pytestmark = pytest.mark.anyio

PATIENCE = 20.0
SECRET = "s3cr3t"
FORGED = "call this number to have your password restored"

Script = Callable[[FakeClient], Awaitable[object]]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def context(certificates: Certificates) -> ssl.SSLContext:
    """What a server has for a client that does not look closely."""
    return certificates.server_context("self-signed")


async def connect(server: FakeServer, **kwargs: Any) -> AsyncConnection[Any]:
    with anyio.fail_after(PATIENCE):
        return await AsyncConnection.connect(server.conninfo, **{"password": SECRET, **kwargs})


async def let_in(client: FakeClient) -> None:
    await client.accept_startup()
    await client.expect(fm.Terminate)


def refusal(code: str, text: str = "no") -> be.ErrorResponse:
    return be.ErrorResponse({"S": "FATAL", "V": "FATAL", "C": code, "M": text})


async def refused(*scripts: Script, **kwargs: Any) -> str:
    """Connect, expect an error, return its message."""
    async with fake_server(*scripts) as server:
        with pytest.raises(e.OperationalError) as caught:
            await connect(server, **kwargs)
    assert SECRET not in str(caught.value)
    return str(caught.value)


# --- the answer to SSLRequest


def answer(*pieces: bytes) -> Script:
    async def script(client: FakeClient) -> None:
        await client.expect(fm.SSLRequest)
        for piece in pieces:
            await client.send_raw(piece)
        await client.expect_end()

    return script


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
        assert (await client._stream.receive())[:1] == b"\x16"
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
async def test_silence(after: bytes, anyio_backend: Any) -> None:
    async def script(client: FakeClient) -> None:
        await client.expect(fm.SSLRequest)
        await client.send_raw(after[:1])
        if after[:1]:
            assert await client._stream.receive()
            await client.send_raw(after[1:] or b"")
        with pytest.raises(anyio.EndOfStream):
            while True:
                await client._stream.receive()

    async with fake_server(script) as server:
        with pytest.raises(e.ConnectionTimeout):
            await connect(server, sslmode="prefer", connect_timeout=0.2)


async def test_cancelled_in_silence() -> None:
    asked, ended = anyio.Event(), anyio.Event()

    async def script(client: FakeClient) -> None:
        await client.expect(fm.SSLRequest)
        asked.set()
        await client.expect_end()
        ended.set()

    async with fake_server(script) as server:
        async with anyio.create_task_group() as group:
            group.start_soon(connect, server)
            await asked.wait()
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()
        with anyio.fail_after(PATIENCE):
            await ended.wait()


async def test_cut_in_the_handshake() -> None:
    async def script(client: FakeClient) -> None:
        await client.expect(fm.SSLRequest)
        await client.send_raw(b"S")
        assert await client._stream.receive()

    assert "closed the connection during the TLS handshake" in await refused(script, sslmode="require")


async def test_direct_to_one_who_does_not_speak_tls() -> None:
    async def script(client: FakeClient) -> None:
        assert (await client._stream.receive())[:1] == b"\x16"
        await client.send(refusal("08P01", FORGED))

    message = await refused(script, sslmode="require", sslnegotiation="direct")
    assert "something that is not TLS; check host, port and sslnegotiation" in message
    assert FORGED not in message


# --- the other way


async def test_prefer_goes_on_in_clear_on_the_same_connection() -> None:
    async def script(client: FakeClient) -> None:
        await client.expect(fm.SSLRequest)
        await client.send_raw(b"N")
        await let_in(client)

    async with fake_server(script) as server, await connect(server, sslmode="prefer") as conn:
        assert not conn.info.ssl_in_use


@pytest.mark.parametrize("code", ["28000", "28P01", "53300"])
async def test_prefer_after_a_refusal(code: str, context: ssl.SSLContext) -> None:
    async def with_tls(client: FakeClient) -> None:
        await client.start_tls(context)
        await client.expect(fm.Startup)
        await client.send(refusal(code))

    async with fake_server(with_tls, let_in) as server, await connect(server, sslmode="prefer") as conn:
        assert not conn.info.ssl_in_use


async def test_allow_after_a_refusal(context: ssl.SSLContext) -> None:
    async def in_clear(client: FakeClient) -> None:
        await client.expect(fm.Startup)
        await client.send(refusal("28000"))

    async def with_tls(client: FakeClient) -> None:
        await client.start_tls(context)
        await let_in(client)

    async with fake_server(in_clear, with_tls) as server, await connect(server, sslmode="allow") as conn:
        assert conn.info.ssl_in_use


async def test_allow_where_tls_is_not_there_either() -> None:
    async def in_clear(client: FakeClient) -> None:
        await client.expect(fm.Startup)
        await client.send(refusal("28000", "no entry"))

    message = await refused(in_clear, answer(b"N"), sslmode="allow")
    assert message.startswith("connection failed, all 2 attempts:\n- ")
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
            await connect(server, sslmode="prefer")
    assert caught.value.sqlstate == "28P01"
    assert "with TLS: wrong password\n- " in str(caught.value)
    assert "without TLS: wrong password" in str(caught.value)


def refusing_for_two_reasons(context: ssl.SSLContext) -> tuple[Script, Script]:
    """Return what a server does that refuses with TLS for one reason, and without for another."""

    async def with_tls(client: FakeClient) -> None:
        await client.start_tls(context)
        await client.expect(fm.Startup)
        await client.send(refusal("28P01", "wrong password"))

    async def in_clear(client: FakeClient) -> None:
        await client.expect(fm.Startup)
        await client.send(refusal("28000", "no entry"))

    return with_tls, in_clear


async def test_two_reasons(context: ssl.SSLContext) -> None:
    message = await refused(*refusing_for_two_reasons(context), sslmode="prefer")
    assert "with TLS: wrong password\n- " in message and "without TLS: no entry" in message


async def test_no_other_host_after_two_refusals(context: ssl.SSLContext) -> None:
    async with fake_server(*refusing_for_two_reasons(context)) as first, fake_server() as second:
        hosts = {"host": f"{first.host},{second.host}", "port": f"{first.port},{second.port}"}
        with pytest.raises(e.OperationalError, match="with TLS: wrong password\n- .*without TLS: no entry"):
            await connect(first, sslmode="prefer", **hosts)
    assert second.clients == []


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
            await connect(server, sslmode="prefer")
    assert len(server.clients) == 1


async def test_no_other_way_after_a_lost_connection(context: ssl.SSLContext) -> None:
    async def script(client: FakeClient) -> None:
        await client.start_tls(context)
        await client.expect(fm.Startup)

    # With the newest version there would be an attempt with the oldest one, with TLS as well.
    message = await refused(script, sslmode="prefer", max_protocol_version="3.0")
    assert "closed the connection during the start-up" in message


async def test_an_older_version_of_the_protocol_with_tls(context: ssl.SSLContext) -> None:
    """Asked for on a connection of its own, which has TLS too."""

    async def script(client: FakeClient) -> None:
        await client.start_tls(context)
        await client.expect(fm.Startup)

    async with (
        fake_server(script, let_in_over_tls(context)) as server,
        await connect(server, sslmode="require") as conn,
    ):
        assert conn.info.ssl_in_use
        assert conn.info.protocol_version == 30000


async def test_the_next_host(context: ssl.SSLContext) -> None:
    async with fake_server(answer(b"N")) as first, fake_server(let_in_over_tls(context)) as second:
        hosts = {"host": f"{first.host},{second.host}", "port": f"{first.port},{second.port}"}
        async with await connect(second, sslmode="require", **hosts) as conn:
            assert conn.info.port == second.port


def let_in_over_tls(context: ssl.SSLContext) -> Script:
    async def script(client: FakeClient) -> None:
        await client.start_tls(context)
        await let_in(client)

    return script


# --- channel binding


def over_tls(context: ssl.SSLContext, *messages: be.BackendMessage) -> Script:
    """Return the script of a server that answers the start-up with these messages and expects nothing in return."""

    async def script(client: FakeClient) -> None:
        await client.start_tls(context)
        await client.expect(fm.Startup)
        await client.send(*messages)
        await client.expect_end()

    return script


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (be.AuthenticationSASL(("SCRAM-SHA-256",)), "does not offer SCRAM-SHA-256-PLUS"),
        (be.AuthenticationSASL(("OAUTHBEARER",)), "does not offer SCRAM-SHA-256-PLUS"),
        (be.AuthenticationCleartextPassword(), "another authentication than SCRAM"),
        (be.AuthenticationMD5Password(b"salt"), "another authentication than SCRAM"),
        (be.AuthenticationGSS(), "another authentication than SCRAM"),
        (be.AuthenticationOk(), "let us in without binding"),
    ],
)
async def test_binding_required(message: be.Authentication, reason: str, context: ssl.SSLContext) -> None:
    """Somebody in between takes the offer away, or has another wish; nothing of the password leaves this machine."""
    script = over_tls(context, message)
    assert reason in await refused(script, sslmode="require", channel_binding="require")


async def test_binding_required_without_tls() -> None:
    async def script(client: FakeClient) -> None:
        await client.expect(fm.Startup)
        await client.send(be.AuthenticationSASL(("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256")))
        await client.expect_end()

    assert "nothing to bind to without TLS" in await refused(script, sslmode="disable", channel_binding="require")


async def test_binding_offered_without_tls() -> None:
    async def script(client: FakeClient) -> None:
        await client.expect(fm.Startup)
        await client.send(be.AuthenticationSASL(("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256")))
        await client.expect_end()

    assert "without TLS: somebody may be in between" in await refused(script, sslmode="disable")


async def scram(client: FakeClient, offer: tuple[str, ...], binding: bytes = b"", header: bytes = b"") -> None:
    """Go through SCRAM as a server that offers these mechanisms; check what the client says about binding."""
    server = FakeScramServer(SECRET, binding=binding)
    await client.send(be.AuthenticationSASL(offer))
    initial = await client.expect(fm.SASLInitialResponse)
    assert initial.mechanism == ("SCRAM-SHA-256-PLUS" if binding else "SCRAM-SHA-256")
    assert initial.data is not None
    await client.send(be.AuthenticationSASLContinue(server.first(initial.data)))
    assert server.gs2_header == header
    final = server.final((await client.expect(fm.SASLResponse)).data)
    await client.send(be.AuthenticationSASLFinal(final), be.AuthenticationOk(), be.BackendKeyData(1, b"1234"), READY)
    await client.expect(fm.Terminate)


BOTH = ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256")


@pytest.mark.parametrize(
    ("policy", "offer", "header"),
    [
        ("prefer", BOTH, b"p=tls-server-end-point,,"),
        ("require", BOTH, b"p=tls-server-end-point,,"),
        ("require", BOTH[:1], b"p=tls-server-end-point,,"),
        # "I would have": a server that did offer it refuses, as somebody has taken the offer away.
        ("prefer", BOTH[1:], b"y,,"),
        ("disable", BOTH, b"n,,"),
        ("disable", BOTH[1:], b"n,,"),
    ],
)
async def test_what_the_client_says(
    policy: str, offer: tuple[str, ...], header: bytes, context: ssl.SSLContext, certificates: Certificates
) -> None:
    binding = hashlib.sha256(certificates.der("self-signed")).digest() if header[:1] == b"p" else b""

    async def script(client: FakeClient) -> None:
        await client.start_tls(context)
        await client.expect(fm.Startup)
        await scram(client, offer, binding, header)

    async with fake_server(script) as server, await connect(server, sslmode="require", channel_binding=policy):
        pass


async def test_no_word_of_binding_in_clear() -> None:
    async def script(client: FakeClient) -> None:
        await client.expect(fm.Startup)
        await scram(client, BOTH[1:], header=b"n,,")

    async with fake_server(script) as server, await connect(server, sslmode="disable", channel_binding="prefer"):
        pass


@pytest.mark.parametrize("policy", ["prefer", "require"])
async def test_certificate_that_cannot_be_bound(policy: str, certificates: Certificates) -> None:
    """Not without a certificate that was verified: one in between would show such a one."""
    script = over_tls(certificates.server_context("ed25519"), be.AuthenticationSASL(BOTH))
    message = await refused(script, sslmode="require", channel_binding=policy)
    assert "has no hash to bind to (Ed25519, for one)" in message


async def test_verified_certificate_that_cannot_be_bound(certificates: Certificates) -> None:
    async def script(client: FakeClient) -> None:
        await client.start_tls(certificates.server_context("ed25519"))
        await client.expect(fm.Startup)
        await scram(client, BOTH, header=b"n,,")

    root = str(certificates.certificate("ed25519"))
    async with fake_server(script) as server, await connect(server, sslmode="verify-full", sslrootcert=root):
        pass


async def test_stream_of_the_callers(context: ssl.SSLContext) -> None:
    """Whether there is TLS on it is not known, so the offer to bind is passed over."""

    async def script(client: FakeClient) -> None:
        await client.expect(fm.Startup)
        await scram(client, BOTH, header=b"n,,")

    async with fake_server(script) as server:
        stream = await anyio.connect_tcp(server.host, server.port)
        async with await connect(server, stream=stream, sslmode="require"):
            pass

    async def require(client: FakeClient) -> None:
        await client.expect(fm.Startup)
        await client.send(be.AuthenticationSASL(BOTH))
        await client.expect_end()

    async with fake_server(require) as server:
        stream = await anyio.connect_tcp(server.host, server.port)
        with pytest.raises(e.OperationalError, match="nothing is known about TLS in a stream of your own"):
            await connect(server, stream=stream, channel_binding="require")


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
        async with await connect(first, sslmode="prefer", target_session_attrs="primary", **hosts) as conn:
            assert conn.info.port == second.port
