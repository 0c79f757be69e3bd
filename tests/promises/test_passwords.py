"""A password is kept to itself: in no message, log or statement, also when it is changed."""

from __future__ import annotations

import logging
import secrets
import traceback
from collections.abc import AsyncIterator

import pytest

import anyq
from anyq import AsyncConnection
from anyq import errors as e
from tests.support.server import Role, Server
from tests.support.stepping import cancel_at_each_wait
from tests.support.vault import Vault, dsn_of

pytestmark = pytest.mark.anyio


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
            except e.InvalidPassword as error:
                texts += traceback.format_exception(error)
    assert len(texts) > 5
    texts.append(caplog.text)
    for text in texts:
        assert role.password not in text and "hunter2" not in text


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


@pytest.mark.parametrize("encryption", ["md5", "scram-sha-256"])
async def test_the_server_says_how_it_is_stored(encryption: str, role: Role, embedded_server: Server) -> None:
    async with AsyncConnection.connect(embedded_server.dsn, autocommit=True) as conn:
        await conn.execute(f"SET password_encryption = '{encryption}'")
        # Before it had that setting, a server always used as many.
        iterations = 123 if conn.info.server_version >= 160000 else 4096
        prefix = {"md5": "md5", "scram-sha-256": f"SCRAM-SHA-256${iterations}:"}[encryption]
        if iterations == 123:
            await conn.execute("SET scram_iterations = 123")
        if conn.info.server_version >= 180000:
            await conn.execute("SET md5_password_warnings = off")
        await conn.change_password(role.user, "new")
        cursor = await conn.execute("SELECT rolpassword FROM pg_authid WHERE rolname = %s", [role.user])
        row = await cursor.fetchone()
        assert row is not None and row[0].startswith(prefix)


async def test_no_statement_has_the_password(role: Role, embedded_server: Server) -> None:
    # Nobody else's: the log has the statements of other tests too.
    password = secrets.token_hex(8)
    async with AsyncConnection.connect(embedded_server.dsn, autocommit=True) as conn:
        await conn.execute("SET log_statement = 'all'")
        await conn.change_password(role.user, password)
        with pytest.raises(e.UndefinedObject) as caught:
            await conn.change_password("nobody like that", password)
    assert password not in str(caught.value)
    log = embedded_server.logfile.read_text()
    assert "ALTER ROLE" in log and "SCRAM-SHA-256$" in log
    assert password not in log


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
