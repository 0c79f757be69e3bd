"""Whatever a server asks to believe who we are."""

from __future__ import annotations

import struct
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import anyio.from_thread
import pytest

from anyq import AsyncConnection
from anyq import errors as e
from anyq.conninfo import HostSpec
from anyq.protocol import messages as be
from anyq.protocol.auth.scram import ScramClient
from anyq.protocol.auth.verifiers import encrypt_password
from anyq.protocol.constants import MAX_AUTH_MESSAGE_LENGTH
from tests.support import frontend_messages as fm
from tests.support.deadlines import LIMIT, Deadlines
from tests.support.fakeserver import READY, FakeClient, FakeServer, fake_server
from tests.support.server import Server

pytestmark = pytest.mark.anyio

PATIENCE = 20.0
METHODS = ["scram-sha-256", "md5", "password", "trust"]

Script = Callable[[FakeClient], Awaitable[None]]


async def log_in(script: Script, **kwargs: Any) -> None:
    """Connect to a server that follows a script, once the start-up message is there."""

    async def whole_script(client: FakeClient) -> None:
        await client.expect(fm.Startup)
        await script(client)

    async with fake_server(whole_script) as server:
        with anyio.fail_after(PATIENCE):
            async with AsyncConnection.connect(server.conninfo, **{"password": "secret", **kwargs}):
                pass


async def let_in(client: FakeClient) -> None:
    await client.send(be.AuthenticationOk(), be.BackendKeyData(1, b"1234"), READY)
    await client.expect(fm.Terminate)


# -- a real server


@pytest.mark.parametrize("method", METHODS)
async def test_roles_log_in(method: str, embedded_server: Server) -> None:
    async with AsyncConnection.connect(embedded_server.role_dsn(method)) as conn:
        cursor = await conn.execute("SELECT current_user::text")
        assert await cursor.fetchone() == (embedded_server.roles[method].user,)


@pytest.mark.any_loop
@pytest.mark.parametrize("method", METHODS[:-1])
@pytest.mark.parametrize("password", ["wrong", "", "wrong €"])
async def test_a_wrong_password(method: str, password: str, embedded_server: Server) -> None:
    with pytest.raises(e.OperationalError) as caught:
        await AsyncConnection.connect(embedded_server.role_dsn(method), password=password)
    if password:
        assert caught.value.sqlstate == "28P01"
        assert password not in str(caught.value)


@pytest.mark.parametrize("method", METHODS)
async def test_a_required_method(method: str, embedded_server: Server) -> None:
    dsn, own = embedded_server.role_dsn(method), "none" if method == "trust" else method
    others = [name for name in ("scram-sha-256", "md5", "password", "none") if name != own]
    for allowed in (own, f"gss,{own}", "!gss", ",".join([f"!{name}" for name in others])):
        async with AsyncConnection.connect(dsn, require_auth=allowed) as conn:
            assert not conn.closed
    for forbidding in (f"!{own}", ",".join(others)):
        with pytest.raises(e.OperationalError, match=f"does not comply with require_auth='{forbidding}'"):
            await AsyncConnection.connect(dsn, require_auth=forbidding)


async def test_a_required_method_from_the_environment(embedded_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGREQUIREAUTH", "!password")
    with pytest.raises(e.OperationalError, match="it asks for authentication by a password in clear"):
        await AsyncConnection.connect(embedded_server.role_dsn("password"))


async def test_many_iterations_are_counted_in_a_thread(embedded_server: Server) -> None:
    user = "anyq_iterations"
    stored = encrypt_password("slow", user, iterations=20000)
    embedded_server.psql(f"DROP ROLE IF EXISTS {user}; CREATE ROLE {user} LOGIN PASSWORD '{stored}'")
    dsn = f"host=127.0.0.1 port={embedded_server.port} user={user} dbname=postgres password=slow"
    try:
        async with AsyncConnection.connect(dsn) as conn:
            assert not conn.closed
    finally:
        embedded_server.psql(f"DROP ROLE {user}")


# -- a server that follows a script


async def test_cleartext() -> None:
    async def script(client: FakeClient) -> None:
        await client.send(be.AuthenticationCleartextPassword())
        await client.expect(fm.PasswordMessage, password=b"s3cret")
        await let_in(client)

    await log_in(script, password="s3cret")


async def test_md5() -> None:
    async def script(client: FakeClient) -> None:
        await client.send(be.AuthenticationMD5Password(b"\1\2\3\4"))
        # md5(md5(password || user) || salt), computed by md5sum.
        await client.expect(fm.PasswordMessage, password=b"md5e5b08260d03f129beed3006c703fb72c")
        await let_in(client)

    await log_in(script, password="s3cret")


async def first_of_scram(client: FakeClient, iterations: int = 4096) -> None:
    await client.send(be.AuthenticationSASL(("SCRAM-SHA-256", "SCRAM-SHA-512")))
    first = await client.expect(fm.SASLInitialResponse, mechanism="SCRAM-SHA-256")
    assert first.data is not None
    nonce = first.data.split(b"r=")[1]
    await client.send(be.AuthenticationSASLContinue(b"r=" + nonce + b"server,s=c2FsdA==,i=%d" % iterations))


async def test_a_server_that_skips_its_proof() -> None:
    async def script(client: FakeClient) -> None:
        await first_of_scram(client)
        await client.expect(fm.SASLResponse)
        await client.send(be.AuthenticationOk(), READY)

    with pytest.raises(e.RemoteProtocolError, match="without proving that it knows the password"):
        await log_in(script)


async def test_a_server_that_lets_us_in_after_one_step() -> None:
    async def script(client: FakeClient) -> None:
        await client.send(be.AuthenticationSASL(("SCRAM-SHA-256",)))
        await client.expect(fm.SASLInitialResponse)
        await client.send(be.AuthenticationOk(), READY)

    with pytest.raises(e.RemoteProtocolError, match="without proving"):
        await log_in(script)


async def test_a_server_whose_proof_is_wrong() -> None:
    async def script(client: FakeClient) -> None:
        await first_of_scram(client)
        await client.expect(fm.SASLResponse)
        await client.send(be.AuthenticationSASLFinal(b"v=" + b"A" * 43 + b"="), be.AuthenticationOk(), READY)

    with pytest.raises(e.OperationalError):
        await log_in(script)


async def test_a_server_that_would_keep_us_busy() -> None:
    async def script(client: FakeClient) -> None:
        await first_of_scram(client, 2_000_000_000)
        await client.expect_end()

    with pytest.raises(e.OperationalError, match="iterations"):
        await log_in(script)


async def test_a_login_that_is_cancelled_while_it_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    """In its thread it goes on, but nobody waits for that."""
    computing, ended = anyio.Event(), anyio.Event()
    enough = threading.Event()

    def compute(*args: object) -> bytes:
        anyio.from_thread.run_sync(computing.set)
        enough.wait(PATIENCE)
        return bytes(32)

    async def script(client: FakeClient) -> None:
        await client.expect(fm.Startup)
        await first_of_scram(client, 400_000)
        await client.expect_end()
        ended.set()

    monkeypatch.setattr(ScramClient, "salted_password", staticmethod(compute))
    try:
        async with fake_server(script) as server:
            with anyio.fail_after(PATIENCE):
                async with anyio.create_task_group() as group:
                    group.start_soon(connect, server)
                    await computing.wait()
                    group.cancel_scope.cancel()
                await ended.wait()
    finally:
        enough.set()


async def connect(server: FakeServer) -> None:
    await AsyncConnection.connect(server.conninfo, password="secret")


# -- what require_auth forbids gets no answer


@pytest.mark.any_loop
@pytest.mark.parametrize(
    ("message", "forbidding", "name"),
    [
        (be.AuthenticationCleartextPassword(), "!password", "a password in clear"),
        (be.AuthenticationCleartextPassword(), "scram-sha-256", "a password in clear"),
        (be.AuthenticationCleartextPassword(), "scram-sha-256,md5,none", "a password in clear"),
        (be.AuthenticationMD5Password(b"salt"), "!md5", "a password hashed by MD5"),
        (be.AuthenticationMD5Password(b"salt"), "password", "a password hashed by MD5"),
        (be.AuthenticationSASL(("SCRAM-SHA-256",)), "!scram-sha-256", "SCRAM-SHA-256"),
        (be.AuthenticationSASL(("SCRAM-SHA-256",)), "password,md5", "SCRAM-SHA-256"),
        (be.AuthenticationSASL(("OAUTHBEARER",)), "!oauth", "OAUTHBEARER"),
        (be.AuthenticationGSS(), "scram-sha-256", "GSSAPI"),
        (be.AuthenticationSSPI(), "!sspi", "SSPI"),
        # These have no name there, so a policy of any kind is against them.
        (be.AuthenticationKerberosV5(), "!password", "Kerberos V5"),
        (be.AuthenticationSCMCredential(), "password", "SCM credentials"),
    ],
)
async def test_a_forbidden_method(message: be.Authentication, forbidding: str, name: str) -> None:
    asked = False

    def password(host: HostSpec) -> str:
        nonlocal asked
        asked = True
        return "secret"

    async def script(client: FakeClient) -> None:
        await client.send(message)
        await client.expect_end()

    with pytest.raises(e.OperationalError) as caught:
        await log_in(script, require_auth=forbidding, password=password)
    assert ": the server does not comply with require_auth" in str(caught.value)
    assert str(caught.value).endswith(f"it asks for authentication by {name}")
    assert not asked


@pytest.mark.parametrize("forbidding", ["!none", "scram-sha-256", "password,md5"])
async def test_a_server_that_asks_for_nothing_and_should(forbidding: str) -> None:
    async def script(client: FakeClient) -> None:
        await client.send(be.AuthenticationOk(), READY)
        await client.expect_end()

    with pytest.raises(e.OperationalError, match="it asks for no authentication"):
        await log_in(script, require_auth=forbidding)


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ("plain", e.ProgrammingError),
        ("md5,!password", e.ProgrammingError),
        ("md5,md5", e.ProgrammingError),
        ("gss,oauth", e.NotSupportedError),
        ("!none,!password,!md5,!scram-sha-256", e.NotSupportedError),
    ],
)
async def test_a_policy_that_cannot_be(value: str, error: type[Exception]) -> None:
    """It is refused before there is a connection."""
    async with fake_server() as server:
        with pytest.raises(error, match="require_auth"):
            await AsyncConnection.connect(server.conninfo, require_auth=value)


# -- servers that cheat


CLEARTEXT = be.AuthenticationCleartextPassword()
MD5 = be.AuthenticationMD5Password(b"salt")
SASL = be.AuthenticationSASL(("SCRAM-SHA-256",))


@pytest.mark.parametrize(
    ("first", "answer", "second"),
    [
        (SASL, fm.SASLInitialResponse, CLEARTEXT),
        (SASL, fm.SASLInitialResponse, MD5),
        (MD5, fm.PasswordMessage, CLEARTEXT),
        (CLEARTEXT, fm.PasswordMessage, MD5),
        (CLEARTEXT, fm.PasswordMessage, SASL),
        (SASL, fm.SASLInitialResponse, be.AuthenticationGSS()),
    ],
)
async def test_a_server_that_changes_its_mind(
    first: be.Authentication, answer: type[fm.FrontendMessage], second: be.Authentication
) -> None:
    """The weaker answer is not given to one that has asked for the stronger one, nor the other way round."""

    async def script(client: FakeClient) -> None:
        await client.send(first)
        await client.expect(answer)
        await client.send(second)
        await client.expect_end()

    with pytest.raises(e.RemoteProtocolError, match="the server asks for .* after it has asked for"):
        await log_in(script)


async def test_a_server_that_asks_for_cleartext_after_the_challenge() -> None:
    async def script(client: FakeClient) -> None:
        await first_of_scram(client)
        await client.expect(fm.SASLResponse)
        await client.send(CLEARTEXT)
        await client.expect_end()

    with pytest.raises(e.RemoteProtocolError, match="asks for a password in clear after"):
        await log_in(script)


async def test_a_second_scram_exchange() -> None:
    async def script(client: FakeClient) -> None:
        await first_of_scram(client)
        await client.expect(fm.SASLResponse)
        await client.send(SASL)
        await client.expect_end()

    with pytest.raises(e.RemoteProtocolError, match="asks for SCRAM-SHA-256 once more"):
        await log_in(script)


@pytest.mark.parametrize("message", [CLEARTEXT, MD5])
async def test_the_password_is_given_once(message: be.Authentication) -> None:
    """However often it is asked for."""

    async def script(client: FakeClient) -> None:
        await client.send(message)
        await client.expect(fm.PasswordMessage)
        await client.send(message)
        await client.expect_end()

    with pytest.raises(e.RemoteProtocolError, match="asks for a password .* once more"):
        await log_in(script)


@pytest.mark.parametrize("repeated", [False, True])
async def test_a_scram_step_out_of_order(repeated: bool) -> None:
    async def script(client: FakeClient) -> None:
        if repeated:
            await first_of_scram(client)
            await client.expect(fm.SASLResponse)
            await client.send(be.AuthenticationSASLContinue(b"r=x,s=c2FsdA==,i=1"))
        else:
            await client.send(SASL)
            await client.expect(fm.SASLInitialResponse)
            await client.send(be.AuthenticationSASLFinal(b"v=AAAA"))
        await client.expect_end()

    with pytest.raises(e.RemoteProtocolError, match="out of turn"):
        await log_in(script)


async def test_a_scram_error_of_the_server() -> None:
    async def script(client: FakeClient) -> None:
        await first_of_scram(client)
        await client.expect(fm.SASLResponse)
        await client.send(be.AuthenticationSASLFinal(b"e=invalid-proof"))
        await client.expect_end()

    with pytest.raises(e.OperationalError, match="the server ended the exchange: invalid-proof"):
        await log_in(script)


async def test_a_nonce_that_is_not_ours() -> None:
    async def script(client: FakeClient) -> None:
        await client.send(SASL)
        await client.expect(fm.SASLInitialResponse)
        await client.send(be.AuthenticationSASLContinue(b"r=another,s=c2FsdA==,i=4096"))
        await client.expect_end()

    with pytest.raises(e.RemoteProtocolError, match="nonce does not continue"):
        await log_in(script)


@pytest.mark.parametrize("length", [MAX_AUTH_MESSAGE_LENGTH + 1, 2**31 - 1])
@pytest.mark.parametrize("at", ["start", "challenge"])
async def test_an_endless_message(length: int, at: str) -> None:
    """It is refused by its length: nothing of it is waited for."""

    async def script(client: FakeClient) -> None:
        if at == "challenge":
            await client.send(SASL)
            await client.expect(fm.SASLInitialResponse)
        await client.send_raw(b"R" + struct.pack("!II", length, 11))
        await client.expect_end()

    with pytest.raises(e.RemoteProtocolError, match="bytes"):
        await log_in(script)


@pytest.mark.parametrize("steps", [0, 1, 2])
async def test_a_server_that_falls_silent(steps: int, deadlines: Deadlines) -> None:
    """connect_timeout covers every step of the log-in."""

    async def script(client: FakeClient) -> None:
        if steps == 1:
            await client.send(SASL)
            await client.expect(fm.SASLInitialResponse)
        elif steps == 2:
            await first_of_scram(client)
            await client.expect(fm.SASLResponse)
        deadlines.pass_now()
        await client.expect_end()

    with pytest.raises(e.ConnectionTimeout):
        await log_in(script, connect_timeout=LIMIT)


@pytest.mark.parametrize(
    "message",
    [
        be.AuthenticationSASLContinue(b"r=x,s=c2FsdA==,i=1"),
        be.AuthenticationSASLFinal(b"v=x"),
        be.AuthenticationGSSContinue(b""),
    ],
)
async def test_a_step_out_of_turn(message: be.Authentication) -> None:
    async def script(client: FakeClient) -> None:
        await client.send(message)

    with pytest.raises(e.RemoteProtocolError, match="out of turn"):
        await log_in(script)


@pytest.mark.parametrize("data", [b"", b"nonsense", b"r=x", b"\xff\xfe", b"e=other-error"])
async def test_a_challenge_that_is_none(data: bytes) -> None:
    async def script(client: FakeClient) -> None:
        await client.send(be.AuthenticationSASL(("SCRAM-SHA-256",)))
        await client.expect(fm.SASLInitialResponse)
        await client.send(be.AuthenticationSASLContinue(data))

    with pytest.raises(e.OperationalError):
        await log_in(script)


@pytest.mark.parametrize(
    ("message", "name"),
    [
        (be.AuthenticationGSS(), "GSSAPI"),
        (be.AuthenticationSSPI(), "SSPI"),
        (be.AuthenticationKerberosV5(), "Kerberos V5"),
        (be.AuthenticationSCMCredential(), "SCM credentials"),
        (be.AuthenticationSASL(("OAUTHBEARER",)), "OAUTHBEARER"),
    ],
)
async def test_methods_that_are_not_supported(message: be.Authentication, name: str) -> None:
    async def script(client: FakeClient) -> None:
        await client.send(message)

    with pytest.raises(e.NotSupportedError, match=name):
        await log_in(script)


async def test_notices_during_the_login() -> None:
    async def script(client: FakeClient) -> None:
        notice = be.NoticeResponse({"S": "NOTICE", "M": "be warned"})
        await client.send(notice, be.AuthenticationCleartextPassword(), notice)
        await client.expect(fm.PasswordMessage)
        await client.send(notice)
        await let_in(client)

    await log_in(script)


async def test_everything_in_single_bytes() -> None:
    async def script(client: FakeClient) -> None:
        for data in (be.AuthenticationCleartextPassword().encode(), be.AuthenticationOk().encode() + READY.encode()):
            for position in range(len(data)):
                await client.send_raw(data[position : position + 1])
                await anyio.lowlevel.checkpoint()
            if data[8] == 3:
                await client.expect(fm.PasswordMessage)
        await client.expect(fm.Terminate)

    await log_in(script)
