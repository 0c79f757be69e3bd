"""Which mechanism is taken, what is said about binding, and who cheats about it."""

from __future__ import annotations

import hashlib
import ssl

import anyio
import pytest

from anyq import errors as e
from anyq.protocol import messages as be
from tests.support import frontend_messages as fm
from tests.support.certificates import Certificates
from tests.support.fakeserver import READY, FakeClient, Script, fake_server
from tests.support.hostile import SECRET, connect_to, refused
from tests.support.scram import FakeScramServer

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("home")]


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

    async with fake_server(script) as server, await connect_to(server, sslmode="require", channel_binding=policy):
        pass


async def test_no_word_of_binding_in_clear() -> None:
    async def script(client: FakeClient) -> None:
        await client.expect(fm.Startup)
        await scram(client, BOTH[1:], header=b"n,,")

    async with fake_server(script) as server, await connect_to(server, sslmode="disable", channel_binding="prefer"):
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
    async with fake_server(script) as server, await connect_to(server, sslmode="verify-full", sslrootcert=root):
        pass


async def test_stream_of_the_callers(context: ssl.SSLContext) -> None:
    """Whether there is TLS on it is not known, so the offer to bind is passed over."""

    async def script(client: FakeClient) -> None:
        await client.expect(fm.Startup)
        await scram(client, BOTH, header=b"n,,")

    async with fake_server(script) as server:
        stream = await anyio.connect_tcp(server.host, server.port)
        async with await connect_to(server, stream=stream, sslmode="require"):
            pass

    async def require(client: FakeClient) -> None:
        await client.expect(fm.Startup)
        await client.send(be.AuthenticationSASL(BOTH))
        await client.expect_end()

    async with fake_server(require) as server:
        stream = await anyio.connect_tcp(server.host, server.port)
        with pytest.raises(e.OperationalError, match="nothing is known about TLS in a stream of your own"):
            await connect_to(server, stream=stream, channel_binding="require")
