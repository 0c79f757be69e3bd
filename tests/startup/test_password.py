"""Where a password comes from, and logging in without it."""

from __future__ import annotations

import secrets
import threading
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import pytest

from anyq import AsyncConnection
from anyq import errors as e
from anyq.conninfo import HostSpec
from anyq.protocol import messages as be
from anyq.protocol.auth.scram import ScramClient, scram_keys
from tests.support import frontend_messages as fm
from tests.support.deadlines import LIMIT, Deadlines
from tests.support.fakeserver import READY, FakeClient, fake_server
from tests.support.server import Server
from tests.support.stepping import cancel_at_each_wait
from tests.support.vault import Vault, dsn_of

pytestmark = pytest.mark.anyio

PATIENCE = 20.0


# -- a function that gives it


@pytest.mark.parametrize("kind", ["sync", "asynchronous", "callable object", "partial", "lambda"])
async def test_a_function(kind: str, embedded_server: Server) -> None:
    role = embedded_server.roles["scram-sha-256"]
    vault = Vault(role.password)
    async with AsyncConnection.connect(dsn_of(embedded_server, role), password=vault.source(kind)) as conn:
        assert conn.info.user == role.user
        assert conn.info.password == ""
    ((host, thread),) = vault.asked
    assert host == HostSpec("127.0.0.1", None, embedded_server.port)
    assert (thread == threading.get_ident()) == (kind not in ("sync", "partial"))


@pytest.mark.parametrize("method", ["scram-sha-256", "md5", "password"])
async def test_a_function_comes_before_the_string(method: str, embedded_server: Server) -> None:
    role = embedded_server.roles[method]
    vault = Vault(role.password)
    async with AsyncConnection.connect(f"{dsn_of(embedded_server, role)} password=wrong", password=vault.sync):
        pass
    assert len(vault.asked) == 1


async def test_a_function_comes_before_the_password_file(
    embedded_server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The file is not even read: that would give a warning about this one."""
    role = embedded_server.roles["scram-sha-256"]
    vault = Vault(role.password)
    async with AsyncConnection.connect(dsn_of(embedded_server, role), passfile=str(tmp_path), password=vault.sync):
        pass
    assert len(vault.asked) == 1
    assert not [record.getMessage() for record in caplog.records if "password file" in record.getMessage()]
    with pytest.raises(e.OperationalError, match="none was given"):
        await AsyncConnection.connect(dsn_of(embedded_server, role), passfile=str(tmp_path))
    assert "is not a plain file" in caplog.text


async def test_it_is_not_asked_where_the_server_does_not_ask(embedded_server: Server) -> None:
    vault = Vault("secret")
    dsn = dsn_of(embedded_server, embedded_server.roles["trust"])
    async with AsyncConnection.connect(dsn, password=vault.sync):
        assert not vault.asked


async def test_it_is_asked_once_for_each_attempt() -> None:
    """For the next host again, where it may be another one."""

    async def refuses(client: FakeClient) -> None:
        await client.expect(fm.Startup)
        await client.send(be.AuthenticationCleartextPassword())
        await client.expect(fm.PasswordMessage, password=b"first")
        await client.send(be.ErrorResponse({"S": "FATAL", "V": "FATAL", "C": "57P03", "M": "not now"}))

    async def accepts(client: FakeClient) -> None:
        await client.expect(fm.Startup)
        await client.send(be.AuthenticationCleartextPassword())
        await client.expect(fm.PasswordMessage, password=b"second")
        await client.send(be.AuthenticationOk(), READY)
        await client.expect(fm.Terminate)

    ports: list[int] = []

    def password(host: HostSpec) -> str:
        ports.append(host.port)
        return ["first", "second"][len(ports) - 1]

    async with fake_server(refuses) as one, fake_server(accepts) as other:
        dsn = f"host=127.0.0.1,127.0.0.1 port={one.port},{other.port} user=test dbname=test"
        async with AsyncConnection.connect(dsn, password=password):
            assert ports == [one.port, other.port]


async def asks_for_it(client: FakeClient) -> None:
    await client.expect(fm.Startup)
    await client.send(be.AuthenticationCleartextPassword())
    await client.expect_end()


@pytest.mark.parametrize("kind", ["sync", "asynchronous"])
@pytest.mark.parametrize("answer", [None, ""])
async def test_a_function_that_has_none(kind: str, answer: str | None) -> None:
    async with fake_server(asks_for_it) as server:
        with pytest.raises(e.OperationalError, match=r'for user "test", and password\(\) returned none'):
            await AsyncConnection.connect(server.conninfo, password=Vault(answer).source(kind))


@pytest.mark.parametrize("kind", ["sync", "asynchronous"])
async def test_a_function_that_returns_something_else(kind: str) -> None:
    async with fake_server(asks_for_it) as server:
        with pytest.raises(e.InterfaceError, match="must return a str, not bytes") as caught:
            await AsyncConnection.connect(server.conninfo, password=Vault(b"hunter2").source(kind))
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("answer", ["hunter2\0", "hunter2\ud800"])
async def test_a_function_that_returns_what_cannot_be_a_password(answer: str) -> None:
    async with fake_server(asks_for_it) as server:
        with pytest.raises(e.OperationalError) as caught:
            await AsyncConnection.connect(server.conninfo, password=Vault(answer).sync)
    error: BaseException | None = caught.value
    while error is not None:
        assert "hunter2" not in str(error)
        error = error.__cause__


async def test_a_function_that_fails() -> None:
    """Its error comes out as it is, and no other host is tried: the reason is on this side."""

    async def broken(host: HostSpec) -> str:
        raise ZeroDivisionError

    async with fake_server(asks_for_it) as server, fake_server() as untouched:
        dsn = f"host=127.0.0.1,127.0.0.1 port={server.port},{untouched.port} user=test dbname=test"
        with pytest.raises(ZeroDivisionError):
            await AsyncConnection.connect(dsn, password=broken)


@pytest.mark.parametrize("end", ["cancel", "connect_timeout"])
async def test_a_function_that_takes_too_long(end: str, deadlines: Deadlines) -> None:
    """In its thread it goes on, but nobody waits for that."""
    asked, go_on = anyio.Event(), threading.Event()

    def password(host: HostSpec) -> str:
        anyio.from_thread.run_sync(asked.set)
        if end == "connect_timeout":
            anyio.from_thread.run_sync(deadlines.pass_now)
        go_on.wait(PATIENCE)
        return "too late"

    async def connect(dsn: str, **kwargs: Any) -> None:
        await AsyncConnection.connect(dsn, password=password, **kwargs)

    try:
        async with fake_server(asks_for_it) as server:
            with anyio.fail_after(PATIENCE):
                if end == "cancel":
                    async with anyio.create_task_group() as group:
                        group.start_soon(connect, server.conninfo)
                        await asked.wait()
                        group.cancel_scope.cancel()
                else:
                    with pytest.raises(e.ConnectionTimeout):
                        await connect(server.conninfo, connect_timeout=LIMIT)
    finally:
        go_on.set()


@pytest.mark.parametrize("method", ["scram-sha-256", "md5", "password"])
@pytest.mark.parametrize("kind", ["sync", "asynchronous"])
async def test_cancelled_at_each_wait(method: str, kind: str, embedded_server: Server) -> None:
    """The next attempt succeeds, and none leaves a connection behind."""
    role = embedded_server.roles[method]
    name = f"anyq_{secrets.token_hex(6)}"

    async def connect() -> None:
        source = Vault(role.password).source(kind)
        async with AsyncConnection.connect(dsn_of(embedded_server, role), password=source, application_name=name):
            pass

    async with AsyncConnection.connect(embedded_server.dsn, autocommit=True) as observer:

        async def nothing_left() -> None:
            count = None
            with anyio.fail_after(PATIENCE):
                while count != (0,):
                    cursor = await observer.execute(
                        "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s", [name]
                    )
                    count = await cursor.fetchone()

        assert await cancel_at_each_wait(connect, nothing_left) > 3
        await connect()


# -- no password at all


async def test_keys_instead_of_a_password(embedded_server: Server) -> None:
    """As postgres_fdw passes them on."""
    role = embedded_server.roles["scram-sha-256"]
    stored = embedded_server.psql(f"SELECT rolpassword FROM pg_authid WHERE rolname = '{role.user}'")
    iterations, salt = stored.split("$")[1].split(":")
    salted = ScramClient.salted_password(role.password, b64decode(salt), int(iterations))
    client_key, server_key = [b64encode(key).decode() for key in scram_keys(salted)]
    dsn = dsn_of(embedded_server, role)
    async with AsyncConnection.connect(dsn, scram_client_key=client_key, scram_server_key=server_key) as conn:
        assert conn.info.password == ""
        for key in (client_key, server_key):
            assert key not in conn.info.dsn + repr(conn)
    with pytest.raises(e.InvalidPassword):
        await AsyncConnection.connect(dsn, scram_client_key=server_key, scram_server_key=server_key)
    with pytest.raises(e.OperationalError, match="signature is wrong"):
        await AsyncConnection.connect(dsn, scram_client_key=client_key, scram_server_key=client_key)
    with pytest.raises(e.OperationalError, match="none was given"):
        await AsyncConnection.connect(
            dsn_of(embedded_server, embedded_server.roles["md5"]),
            scram_client_key=client_key,
            scram_server_key=server_key,
        )


KEY = b64encode(bytes(32)).decode()


@pytest.mark.parametrize(
    ("keys", "match"),
    [
        ({"scram_client_key": KEY}, "must be given together"),
        ({"scram_server_key": KEY}, "must be given together"),
        ({"scram_client_key": "hunter2", "scram_server_key": KEY}, "'scram_client_key' must be 32 bytes"),
        ({"scram_client_key": KEY, "scram_server_key": KEY[:-4]}, "'scram_server_key' must be 32 bytes"),
    ],
)
async def test_keys_that_are_none(keys: dict[str, Any], match: str) -> None:
    with pytest.raises(e.ProgrammingError, match=match) as caught:
        await AsyncConnection.connect("host=127.0.0.1", **keys)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("method", ["scram-sha-256", "md5", "password"])
async def test_no_password(
    method: str, embedded_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No password file of the user's.
    monkeypatch.setenv("HOME", str(tmp_path))
    role = embedded_server.roles[method]
    with pytest.raises(e.OperationalError) as caught:
        await AsyncConnection.connect(f"host=127.0.0.1 port={embedded_server.port} user={role.user} dbname=postgres")
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
