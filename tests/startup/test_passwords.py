"""Where a password comes from, changing it, and logging in without it."""

from __future__ import annotations

import functools
import logging
import secrets
import threading
import traceback
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import pytest

import anyq
from anyq import AsyncConnection
from anyq import errors as e
from anyq.conninfo import HostSpec, PasswordSource
from anyq.protocol import backend as be
from anyq.protocol.auth import ScramClient, scram_keys
from tests.support import frontend_messages as fm
from tests.support.fakeserver import READY, FakeClient, fake_server
from tests.support.server import Role, Server
from tests.support.stepping import cancel_at_each_wait

pytestmark = pytest.mark.anyio

PATIENCE = 20.0


def dsn_of(server: Server, role: Role) -> str:
    """The connection string of a role, without its password."""
    return f"host=127.0.0.1 port={server.port} user={role.user} dbname=postgres"


# -- a function that gives it


class Vault:
    """Something that keeps a password, asked in every way that there is; notes what it was asked."""

    def __init__(self, password: Any) -> None:
        self.password = password
        self.asked: list[tuple[HostSpec, int]] = []

    def sync(self, host: HostSpec) -> str:
        self.asked.append((host, threading.get_ident()))
        return self.password  # type: ignore[no-any-return]

    async def asynchronous(self, host: HostSpec) -> str:
        await anyio.lowlevel.checkpoint()
        return self.sync(host)

    async def __call__(self, host: HostSpec) -> str:
        return await self.asynchronous(host)

    def partial(self, host: HostSpec, word: str) -> str:
        return self.sync(host)

    def source(self, kind: str) -> PasswordSource:
        sources: dict[str, PasswordSource] = {
            "sync": self.sync,
            "asynchronous": self.asynchronous,
            "callable object": self,
            "partial": functools.partial(self.partial, word="hunter2"),
            "lambda": lambda host: self.asynchronous(host),
        }
        return sources[kind]


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
    """Once, however often the server asks; and for the next host again, where it may be another one."""

    async def refuses(client: FakeClient) -> None:
        await client.expect(fm.Startup)
        for _ in range(2):
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


@pytest.mark.parametrize("way", ["cancel", "connect_timeout"])
async def test_a_function_that_takes_too_long(way: str) -> None:
    """In its thread it goes on, but nobody waits for that."""
    asked, go_on = anyio.Event(), threading.Event()

    def password(host: HostSpec) -> str:
        anyio.from_thread.run_sync(asked.set)
        go_on.wait(PATIENCE)
        return "too late"

    async def connect(dsn: str, **kwargs: Any) -> None:
        await AsyncConnection.connect(dsn, password=password, **kwargs)

    try:
        async with fake_server(asks_for_it) as server:
            with anyio.fail_after(PATIENCE):
                if way == "cancel":
                    async with anyio.create_task_group() as group:
                        group.start_soon(connect, server.conninfo)
                        await asked.wait()
                        group.cancel_scope.cancel()
                else:
                    with pytest.raises(e.ConnectionTimeout):
                        await connect(server.conninfo, connect_timeout=0.05)
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


# -- it is kept to itself


@pytest.mark.parametrize("method", ["scram-sha-256", "md5", "password"])
@pytest.mark.parametrize("given", ["keyword", "string", "function"])
async def test_no_error_and_no_log_has_it(
    given: str, method: str, embedded_server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the one that is right nor one that is wrong."""
    role = embedded_server.roles[method]
    dsn = dsn_of(embedded_server, role)
    texts: list[str] = []
    with caplog.at_level(logging.DEBUG):
        for password in (role.password, "hunter2 wrong"):
            conninfo = anyq.conninfo.make_conninfo(dsn, password=password) if given == "string" else dsn
            source = {"keyword": password, "string": None, "function": Vault(password).asynchronous}[given]
            try:
                async with AsyncConnection.connect(conninfo, password=source) as conn:
                    texts += [repr(conn), repr(conn.info), conn.info.dsn, str(conn.info.get_parameters())]
                    texts += [repr(conn.info._options)]  # pyright: ignore[reportPrivateUsage]
            except e.InvalidPassword as error:
                texts += traceback.format_exception(error)
    assert len(texts) > 5
    texts.append(caplog.text)
    for text in texts:
        assert role.password not in text and "hunter2" not in text


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


# -- another password


@pytest.fixture
async def role(embedded_server: Server) -> AsyncIterator[Role]:
    """A role that logs in over TCP by SCRAM, and whose name has to be quoted."""
    made = Role(f'anyq "{secrets.token_hex(4)}', "old")
    quoted = made.user.replace('"', '""')
    embedded_server.psql(f"CREATE ROLE \"{quoted}\" LOGIN PASSWORD 'old'")
    yield made
    embedded_server.psql(f'DROP ROLE "{quoted}"')


@pytest.mark.parametrize("password", ["new", "it's \\ 'new' €\u00ad"])
async def test_change_password(password: str, role: Role, embedded_server: Server) -> None:
    dsn = anyq.conninfo.make_conninfo(embedded_server.tcp_dsn, user=role.user)
    async with AsyncConnection.connect(dsn, password="old") as conn:
        await conn.change_password(role.user, password)
        # Like any statement, it waits for the commit.
        async with AsyncConnection.connect(dsn, password="old"):
            pass
        await conn.commit()
    async with AsyncConnection.connect(dsn, password=password):
        pass
    with pytest.raises(e.InvalidPassword):
        await AsyncConnection.connect(dsn, password="old")


@pytest.mark.parametrize(("encryption", "prefix"), [("md5", "md5"), ("scram-sha-256", "SCRAM-SHA-256$123:")])
async def test_the_server_says_how_it_is_stored(
    encryption: str, prefix: str, role: Role, embedded_server: Server
) -> None:
    async with AsyncConnection.connect(embedded_server.dsn, autocommit=True) as conn:
        await conn.execute("SET md5_password_warnings = off")
        await conn.execute(f"SET password_encryption = '{encryption}'")
        await conn.execute("SET scram_iterations = 123")
        await conn.change_password(role.user, "new")
        cursor = await conn.execute("SELECT rolpassword FROM pg_authid WHERE rolname = %s", [role.user])
        row = await cursor.fetchone()
        assert row is not None and row[0].startswith(prefix)


async def test_no_statement_has_the_password(role: Role, embedded_server: Server) -> None:
    async with AsyncConnection.connect(embedded_server.dsn, autocommit=True) as conn:
        await conn.execute("SET log_statement = 'all'")
        await conn.change_password(role.user, "hunter2")
        with pytest.raises(e.UndefinedObject) as caught:
            await conn.change_password("nobody like that", "hunter2")
    assert "hunter2" not in str(caught.value)
    log = embedded_server.logfile.read_text()
    assert "ALTER ROLE" in log and "SCRAM-SHA-256$" in log
    assert "hunter2" not in log


async def test_a_change_that_is_cancelled(role: Role, embedded_server: Server) -> None:
    """It is the old one or the new one, and the connection is as good as before."""
    dsn = anyq.conninfo.make_conninfo(embedded_server.tcp_dsn, user=role.user)
    candidates = ["old"]

    async def works() -> None:
        assert (await (await conn.execute("SELECT 1")).fetchone()) == (1,)
        for password in candidates[-2:]:
            try:
                async with AsyncConnection.connect(dsn, password=password):
                    candidates[:] = [password]
                    return
            except e.InvalidPassword:
                continue
        raise AssertionError("neither password works")

    async with AsyncConnection.connect(embedded_server.dsn, autocommit=True) as conn:

        async def change() -> None:
            candidates.append(f"new{len(candidates)}{secrets.token_hex(2)}")
            await conn.change_password(role.user, candidates[-1])

        assert await cancel_at_each_wait(change, works) > 2
        await change()
        async with AsyncConnection.connect(dsn, password=candidates[-1]):
            pass


@pytest.mark.parametrize("method", ["scram-sha-256", "md5"])
async def test_encrypt_password_by_hand(method: str, embedded_server: Server) -> None:
    """What it returns is stored as it is, and lets us in."""
    role = embedded_server.roles[method]
    stored = anyq.encrypt_password(role.password, role.user, method)
    async with AsyncConnection.connect(embedded_server.dsn, autocommit=True) as conn:
        await conn.execute(b"SET client_min_messages = error")
        query = anyq.sql.SQL("ALTER ROLE {} PASSWORD {}").format(anyq.sql.Identifier(role.user), stored)
        await conn.execute(query)
    async with AsyncConnection.connect(embedded_server.role_dsn(method)):
        pass
