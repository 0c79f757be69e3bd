"""What is known about a connection without asking the server."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from anyq import AsyncConnection, TransactionStatus
from anyq import errors as e
from anyq.pq import ConnStatus
from tests.support import frontend_messages as fm
from tests.support.activity import held_lock
from tests.support.fakeserver import FakeClient, fake_server
from tests.support.queries import one
from tests.support.server import Server
from tests.support.state import status

pytestmark = [pytest.mark.anyio, pytest.mark.any_loop]


async def test_info(conn: AsyncConnection, server: Server) -> None:
    info = conn.info
    assert info.backend_pid == await one(conn, "SELECT pg_backend_pid()")
    assert info.server_version == int(await one(conn, "SHOW server_version_num"))
    assert info.dbname == await one(conn, "SELECT current_database()")
    assert info.user == await one(conn, "SELECT current_user::text")
    assert info.encoding == "utf-8"
    assert info.protocol_version in (30000, 30002)
    assert info.parameter_status("client_encoding") == "UTF8"
    assert info.parameter_status("nonsense") is None
    await conn.execute("SET TimeZone TO 'Europe/Rome'")
    assert info.parameter_status("TimeZone") == "Europe/Rome"
    assert str(info.timezone) == "Europe/Rome"
    assert info.error_message == ""
    await conn.execute("SET client_encoding TO 'latin1'")
    assert info.encoding == "iso8859-1"
    assert await one(conn, "SELECT 'Grüße'") == "Grüße"


async def test_info_can_be_connected_to_again(dsn: str) -> None:
    async with AsyncConnection.connect(dsn, application_name="again") as conn:
        parameters = conn.info.get_parameters()
        assert parameters["application_name"] == "again"
        assert "password" not in parameters
        if not conn.info.password:
            async with AsyncConnection.connect(conn.info.dsn) as other:
                assert other.info.get_parameters() == parameters


async def test_the_transaction_status(conn: AsyncConnection, dsn: str) -> None:
    assert status(conn) is TransactionStatus.IDLE
    async with held_lock(dsn) as lock, anyio.create_task_group() as group:
        group.start_soon(conn.execute, lock.statement)
        await lock.until_wanted(conn.info.backend_pid)
        assert status(conn) is TransactionStatus.ACTIVE
        await lock.release()
    assert status(conn) is TransactionStatus.INTRANS
    with pytest.raises(e.UndefinedTable):
        await conn.execute("SELECT * FROM nosuch")
    assert status(conn) is TransactionStatus.INERROR


async def test_nothing_shows_the_password(embedded_server: Server) -> None:
    role = embedded_server.roles["scram-sha-256"]
    conn = await AsyncConnection.connect(embedded_server.role_dsn("scram-sha-256"))
    assert conn.info.password == role.password
    for text in (conn.info.dsn, repr(conn.info.get_parameters())):
        assert role.password not in text
    for _ in range(2):
        for text in (repr(conn), str(conn), repr(conn.info)):
            assert role.password not in text
        assert f"user={role.user}" in repr(conn)
        await conn.close()


OF_A_CONNECTION = (
    *("host", "hostaddr", "port", "dbname", "user", "password", "options", "dsn"),
    *("server_version", "backend_pid", "protocol_version", "full_protocol_version", "timezone"),
)


async def test_a_closed_connection_tells_nothing_any_more(conn: AsyncConnection) -> None:
    info = conn.info
    assert (info.vendor, info.status) == ("PostgreSQL", ConnStatus.OK)
    assert info.full_protocol_version == info.protocol_version
    await conn.close()
    for name in OF_A_CONNECTION:
        with pytest.raises(e.OperationalError, match="the connection is closed"):
            getattr(info, name)
    with pytest.raises(e.OperationalError, match="the connection is closed"):
        info.get_parameters()
    assert (info.vendor, info.status) == ("PostgreSQL", ConnStatus.BAD)
    assert info.error_message == "the connection is closed"
    assert info.encoding == "utf-8"
    assert info.parameter_status("server_encoding") == "UTF8"


async def test_a_lost_connection_tells_where_it_was(dsn: str, server: Server) -> None:
    conn = await AsyncConnection.connect(dsn)
    before = [getattr(conn.info, name) for name in OF_A_CONNECTION]
    server.psql(f"SELECT pg_terminate_backend({conn.info.backend_pid})")
    await conn.wait_disconnected()
    assert conn.info.status is ConnStatus.BAD
    assert [getattr(conn.info, name) for name in OF_A_CONNECTION] == before
    await conn.close()


GIVEN: dict[str, Any] = {
    "application_name": "again",
    "connect_timeout": "2.5",
    "keepalives": "0",
    "keepalives_idle": "7",
    "keepalives_interval": "8",
    "keepalives_count": "9",
    "tcp_user_timeout": "10000",
    "options": "-c work_mem=8MB",
    "client_encoding": "LATIN1",
    "max_protocol_version": "3.0",
    "target_session_attrs": "read-write",
    "load_balance_hosts": "random",
    "require_auth": "!password",
}


async def test_parameters_that_differ_from_the_default(dsn: str) -> None:
    async with AsyncConnection.connect(dsn, **GIVEN) as conn:
        parameters = conn.info.get_parameters()
        assert parameters.items() >= GIVEN.items()
        if not conn.info.password:
            async with AsyncConnection.connect(conn.info.dsn) as other:
                assert other.info.get_parameters() == parameters
    async with AsyncConnection.connect(dsn) as conn:
        assert not set(GIVEN) & set(conn.info.get_parameters())


async def test_every_object_tells_where_it_is_and_the_status(conn: AsyncConnection) -> None:
    info = conn.info
    where = f"(host={info.host} port={info.port} user={info.user} dbname={info.dbname})"
    assert info.summary() == f"[IDLE] {where}"
    cur = await conn.execute("SELECT 1")
    block = conn.transaction()
    for thing in (conn, cur, block):
        assert f"[INTRANS] {where} at 0x{id(thing):x}>" in repr(thing)
    await conn.close()
    for thing in (conn, cur, block):
        assert f"[closed] {where} at 0x" in repr(thing)
    assert info.summary("open") == f"[open] {where}"


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("18.4", 180004),
        ("15.4 (Debian 15.4-1.pgdg120+1)", 150004),
        ("19beta1", 190000),
        ("20devel", 200000),
        ("9.6.3", 90603),
        ("9.6rc1", 90600),
        ("13.1.2.3", 130001),
        ("", 0),
        ("none", 0),
        ("9" * 5000, 0),
        ("\u00b2.1", 0),
        ("\u0661\u0662", 0),
        ("12.\u0661", 120000),
        ("16." + "9" * 5000, 160000),
    ],
)
async def test_versions_that_servers_report(text: str, number: int) -> None:
    """As libpq counts them; what is no version is not known."""

    async def script(client: FakeClient) -> None:
        await client.accept_startup(parameters={"server_version": text})
        await client.expect(fm.Terminate)

    async with fake_server(script) as server, AsyncConnection.connect(server.conninfo) as conn:
        assert conn.info.server_version == number
