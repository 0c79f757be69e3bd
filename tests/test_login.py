"""Whatever a server asks to believe who we are."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import pytest

from anyq import AsyncConnection
from anyq import errors as e
from anyq.protocol import backend as be
from anyq.protocol.auth import ScramClient
from tests.fakeserver import READY, FakeClient, FakeServer, fake_server
from tests.protocol import frontend_messages as fm
from tests.server import Server

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


@pytest.mark.parametrize("method", METHODS[:-1])
@pytest.mark.parametrize("password", ["wrong", "", "wrong €"])
async def test_a_wrong_password(method: str, password: str, embedded_server: Server) -> None:
    with pytest.raises(e.OperationalError) as caught:
        await AsyncConnection.connect(embedded_server.role_dsn(method), password=password)
    if password:
        assert caught.value.sqlstate == "28P01"
        assert password not in str(caught.value)


@pytest.mark.parametrize("method", METHODS[:-1])
async def test_no_password(
    method: str, embedded_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No password file of the user's.
    monkeypatch.setenv("HOME", str(tmp_path))
    role = embedded_server.roles[method]
    with pytest.raises(e.OperationalError) as caught:
        await AsyncConnection.connect(
            f"host=127.0.0.1 port={embedded_server.port} user={role.user} dbname=postgres"
        )
    assert f'password for user "{role.user}", and none was given' in str(caught.value)


async def test_a_password_beyond_ascii(embedded_server: Server) -> None:
    """Prepared by SASLprep on both sides: U+00AD is mapped to nothing, U+2168 to IX (RFC 4013)."""
    user = "anyq_beyond_ascii"
    embedded_server.psql(f"DROP ROLE IF EXISTS {user}; CREATE ROLE {user} LOGIN PASSWORD 'I\u00adX-ñ€'")
    dsn = f"host=127.0.0.1 port={embedded_server.port} user={user} dbname=postgres"
    try:
        for password in ("I\u00adX-ñ€", "\u2168-ñ€"):
            async with AsyncConnection.connect(dsn, password=password) as conn:
                assert not conn.closed
    finally:
        embedded_server.psql(f"DROP ROLE {user}")


async def test_many_iterations_are_counted_in_a_thread(embedded_server: Server) -> None:
    user = "anyq_iterations"
    embedded_server.psql(
        f"SET scram_iterations = 20000; DROP ROLE IF EXISTS {user}; CREATE ROLE {user} LOGIN PASSWORD 'slow'"
    )
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


async def test_a_server_that_asks_again_and_again() -> None:
    """Each time it gets an answer; it is the server that has to decide."""

    async def script(client: FakeClient) -> None:
        for _ in range(3):
            await client.send(be.AuthenticationCleartextPassword())
            await client.expect(fm.PasswordMessage, password=b"secret")
        await client.send(be.ErrorResponse({"S": "FATAL", "V": "FATAL", "C": "28P01", "M": "enough"}))

    with pytest.raises(e.InvalidPassword, match="enough"):
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
