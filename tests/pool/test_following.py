"""Several hosts: connections are spread over them, and a pool moves on when a server is none any more to use."""

from __future__ import annotations

import itertools
import random
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import pytest
from typing_extensions import LiteralString

import anyq
from anyq import errors as e
from anyq.cli.embedded import ServerUnavailable
from anyq.pool import AsyncConnectionPool, ConnectionPool, PoolTimeout, multiplex
from anyq.pool.following import Followed
from anyq.protocol import messages as be
from anyq.protocol.constants import Format
from tests.support import frontend_messages as fm
from tests.support.activity import PATIENCE, held_lock
from tests.support.fakeserver import READY, FakeClient, FakeServer, Script, fake_server
from tests.support.pools import until
from tests.support.replicas import Replicas, replicas
from tests.support.scripts import HOT_STANDBY, PRIMARY, READ_ONLY

anyio_test = pytest.mark.anyio


class Part:
    """What a server says that it is, until it is something else: then it says so with its next reply.

    :param reports: whether it says so without being asked.
    """

    def __init__(self, parameters: dict[str, str], *, reports: bool = True) -> None:
        self.parameters = parameters
        self.reports = reports
        self.asked = 0

    def script(self) -> Script:
        async def script(client: FakeClient) -> None:
            told = self.parameters
            await client.accept_startup(parameters=told if self.reports else None)
            while True:
                message = await client.receive()
                if message is None:
                    return
                if self.reports and told is not self.parameters:
                    told = self.parameters
                    await client.send(*[be.ParameterStatus(name, value) for name, value in told.items()])
                if isinstance(message, fm.Sync):
                    await client.send(READY)
                elif isinstance(message, fm.Query) and b"SHOW transaction_read_only" in message.sql:
                    self.asked += 1
                    await client.send(*_value(self.parameters["default_transaction_read_only"].encode()))
                elif isinstance(message, fm.Query) and message.sql.startswith(b"write"):
                    await client.send(_READ_ONLY if self.parameters == READ_ONLY else be.CommandComplete("X"), READY)
                elif isinstance(message, fm.Query):
                    await client.send(be.CommandComplete("X"), READY)

        return script


_READ_ONLY = be.ErrorResponse({"S": "ERROR", "V": "ERROR", "C": "25006", "M": "cannot do that"})


def _value(text: bytes) -> tuple[be.BackendMessage, ...]:
    field = be.FieldDescription("x", 0, 0, 25, -1, -1, Format.TEXT)
    return be.RowDescription((field,)), be.DataRow((text,)), be.CommandComplete("SELECT 1"), READY


def on(*servers: FakeServer, **options: str) -> str:
    hosts, ports = ",".join(server.host for server in servers), ",".join(str(server.port) for server in servers)
    return " ".join([f"host={hosts} port={ports} user=test dbname=test", *(f"{k}={v}" for k, v in options.items())])


def pool_on(*servers: FakeServer, target: str = "any", **arguments: Any) -> AsyncConnectionPool:
    kwargs = {"autocommit": True, "cursor_factory": anyq.AsyncClientCursor}
    conninfo = on(*servers, target_session_attrs=target)
    return AsyncConnectionPool(conninfo, kwargs=kwargs, timeout=PATIENCE, **{"min_size": 2, **arguments})


# -- scripted servers


@anyio_test
@pytest.mark.parametrize(
    ("target", "before", "after", "reason"),
    [
        ("read-write", PRIMARY, READ_ONLY, "the session is read-only"),
        ("read-write", PRIMARY, HOT_STANDBY, "the session is read-only"),
        ("primary", PRIMARY, HOT_STANDBY, "the server is in hot standby"),
        ("standby", HOT_STANDBY, PRIMARY, "the server is not in hot standby"),
        ("prefer-standby", HOT_STANDBY, PRIMARY, "the server is not in hot standby"),
        ("read-only", READ_ONLY, PRIMARY, "the session is not read-only"),
    ],
)
@pytest.mark.parametrize("how", ["returned", "checked", "all checked", "by a statement"])
async def test_a_pool_moves_on(
    anyio_backend: object,
    caplog: pytest.LogCaptureFixture,
    target: str,
    before: dict[str, str],
    after: dict[str, str],
    reason: str,
    how: str,
) -> None:
    first, second = Part(before), Part(before)
    # Of what was on the first one nothing is left, though one of two has been used only. It is asked first again.
    async with fake_server(*[first.script()] * 4) as a, fake_server(*[second.script()] * 2) as b:
        check = AsyncConnectionPool.check_connection if how == "checked" else None
        async with pool_on(a, b, target=target, check=check) as pool:
            await pool.wait()
            async with pool.connection() as conn:
                assert conn.info.port == a.port
            first.parameters = after
            if how == "returned":
                async with pool.connection() as conn:
                    await conn.execute("read")
            elif how == "all checked":
                await pool.check()
            elif how == "by a statement":
                await pool.execute("read")
            async with pool.connection() as conn, pool.connection() as other:
                assert {conn.info.port, other.info.port} == {b.port}
            assert (pool.get_stats()["pool_size"], pool.get_stats()["connections_errors"]) == (2, 0)
    told = [record.getMessage() for record in caplog.records if "replaces its connections" in record.getMessage()]
    assert told == [f"{pool.name!r} replaces its connections: {reason}, and target_session_attrs={_asked(target)}"]


def _asked(target: str) -> str:
    return "standby" if target == "prefer-standby" else target


@anyio_test
@pytest.mark.parametrize("how", ["a client", "a group", "a statement"])
async def test_a_server_that_does_not_report_is_asked_after_an_error(anyio_backend: object, how: str) -> None:
    first, second = Part(PRIMARY, reports=False), Part(PRIMARY, reports=False)
    async with (
        fake_server(*[first.script()] * 2) as a,
        fake_server(second.script()) as b,
        pool_on(a, b, target="read-write", min_size=1) as pool,
    ):
        await pool.wait()
        first.parameters = READ_ONLY
        with pytest.raises(Exception) as info:
            if how == "a statement":
                await pool.execute("write")
            elif how == "a group":
                async with pool.connection() as conn, anyio.create_task_group() as group:
                    group.start_soon(conn.execute, "write")
            else:
                async with pool.connection() as conn:
                    await conn.execute("write")
        assert isinstance(getattr(info.value, "exceptions", [info.value])[0], e.ReadOnlySqlTransaction)
        async with pool.connection() as conn:
            assert conn.info.port == b.port
    assert first.asked == 3, "when it was opened, after the error, and when another one was to be opened"


@anyio_test
async def test_a_transaction_that_is_read_only_by_itself_costs_nothing(
    anyio_backend: object, dsn: str, schema: str
) -> None:
    async with AsyncConnectionPool(f"{dsn} target_session_attrs=read-write", min_size=1) as pool:
        for _ in range(2):
            with pytest.raises(e.ReadOnlySqlTransaction):
                async with pool.transaction(read_only=True) as conn:
                    await conn.execute(f"CREATE TABLE {schema}.t (a int)")
        async with pool.connection() as conn:
            await conn.execute("SET TimeZone TO 'Asia/Tokyo'")
        assert pool.get_stats()["connections_num"] == 1


@anyio_test
async def test_who_asks_for_any_server_stays(anyio_backend: object) -> None:
    part = Part(PRIMARY)
    async with fake_server(part.script()) as server, pool_on(server, min_size=1) as pool:
        await pool.wait()
        part.parameters = READ_ONLY
        for _ in range(2):
            with pytest.raises(e.ReadOnlySqlTransaction):
                await pool.execute("write")
        assert pool.get_stats()["connections_num"] == 1


@anyio_test
async def test_who_prefers_a_standby_and_has_none_stays(anyio_backend: object) -> None:
    part = Part(PRIMARY)
    # Each is opened twice: as none is a standby, the second time whatever it is.
    async with (
        fake_server(*[part.script()] * 2) as server,
        pool_on(server, target="prefer-standby", min_size=1) as pool,
    ):
        await pool.wait()
        part.parameters = READ_ONLY
        for _ in range(2):
            await pool.execute("read")
        assert pool.get_stats()["connections_num"] == 1


@anyio_test
async def test_while_none_suits_who_waits_is_told_why(anyio_backend: object) -> None:
    part = Part(PRIMARY)
    async with (
        fake_server(*[part.script()] * 2) as server,
        pool_on(server, target="primary", min_size=0, max_size=1, reconnect_timeout=0) as pool,
    ):
        async with pool.connection() as conn:
            part.parameters = HOT_STANDBY
            await conn.execute("read")
        with pytest.raises(PoolTimeout, match="the server is in hot standby, and target_session_attrs=primary"):
            await pool.getconn()


# -- names


@anyio_test
async def test_connections_are_spread(anyio_backend: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes the hosts in an order of its own, which is up to chance."""
    reverses = itertools.cycle([False, True])

    def shuffle(sequence: list[Any]) -> None:
        # There are other sequences: of the addresses of a host.
        if len(sequence) > 1 and next(reverses):
            sequence.reverse()

    monkeypatch.setattr(random, "shuffle", shuffle)
    part = Part(PRIMARY)
    async with fake_server(*[part.script()] * 2) as a, fake_server(*[part.script()] * 2) as b:
        conninfo = on(a, b, load_balance_hosts="random")
        async with AsyncConnectionPool(conninfo, min_size=4, timeout=PATIENCE) as pool:
            await pool.wait()
            held = [await pool.getconn() for _ in range(4)]
            assert sorted(conn.info.port for conn in held) == sorted([a.port, b.port] * 2)
            for conn in held:
                await pool.putconn(conn)


@anyio_test
async def test_a_name_is_looked_up_for_each_connection(anyio_backend: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """So a new address, after a failover, is where the next connection goes."""
    part = Part(PRIMARY)
    async with fake_server(part.script()) as old, fake_server(part.script()) as new:
        port = old.port

        async def getaddrinfo(host: str, _: int, **kwargs: Any) -> list[Any]:
            assert host == "db.example"
            return socket.getaddrinfo("127.0.0.1", port, **kwargs)

        monkeypatch.setattr(anyio, "getaddrinfo", getaddrinfo)
        async with AsyncConnectionPool("host=db.example user=test dbname=test", min_size=1, timeout=PATIENCE) as pool:
            async with pool.connection():
                port = new.port
            await pool.drain()
            async with pool.connection() as conn:
                assert conn.info.host == "db.example"
    assert [len(server.clients) for server in (old, new)] == [1, 1]


# -- a failover


@pytest.fixture
def pair() -> Iterator[Replicas]:
    if sys.platform == "win32":
        pytest.skip("the servers of this test listen at Unix-domain sockets")
    try:
        with replicas() as running:
            yield running
    except ServerUnavailable as error:
        pytest.skip(f"no primary with a standby to test on: {error}")


@anyio_test
@pytest.mark.any_loop
async def test_a_failover(anyio_backend: object, pair: Replicas) -> None:
    """The standby takes over, and the old primary takes no more writes, but goes on: a switch that is made by hand."""
    conninfo = pair.conninfo(pair.primary, pair.standby)
    write = "CREATE TABLE IF NOT EXISTS after_it (n int)"
    async with (
        AsyncConnectionPool(f"{conninfo} target_session_attrs=read-write", min_size=2, timeout=PATIENCE) as writing,
        AsyncConnectionPool(f"{conninfo} target_session_attrs=prefer-standby", min_size=1, timeout=PATIENCE) as reading,
        anyq.AsyncConnection.connect(pair.primary.dsn, autocommit=True) as old,
        anyq.AsyncConnection.connect(pair.standby.dsn, autocommit=True) as new,
    ):
        await writing.wait()
        await writing.execute("CREATE TABLE before_it (n int)")
        assert await row(reading, "SELECT pg_is_in_recovery()") == (True,)
        await old.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        await old.execute("SELECT pg_reload_conf()")
        await new.execute("SELECT pg_promote()")
        errors = 0
        with anyio.fail_after(PATIENCE):
            while True:
                try:
                    await writing.execute(write)
                    if errors:
                        break
                except e.ReadOnlySqlTransaction:
                    errors += 1
        assert errors == 1, "one has found out for all"
        async with writing.connection() as conn, writing.connection() as other:
            assert conn.info.port == other.info.port == pair.standby.port
        # Reading goes on, wherever: what it has asked for there is none of any more.
        assert await row(reading, "SELECT pg_is_in_recovery()") == (False,)
        assert await row(reading, "SELECT 1") == (1,)


async def row(pool: AsyncConnectionPool, query: LiteralString) -> Any:
    return await (await pool.execute(query)).fetchone()


def test_a_pool_for_threads_moves_on(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is read only from some time on, for sessions that were there before."""
    unsuitable = Followed.why_unsuitable

    async def why(self: Followed, inner: Any) -> str | None:
        return await unsuitable(self, inner) or "the session is read-only"

    with ConnectionPool(f"{dsn} target_session_attrs=read-write", min_size=2, timeout=PATIENCE) as pool:
        pool.wait()
        with pool.connection() as before, pytest.raises(e.ReadOnlySqlTransaction), pool.connection() as conn:
            conn.read_only = True
            monkeypatch.setattr(Followed, "why_unsuitable", why)
            conn.execute("CREATE TABLE never (n int)")
        monkeypatch.undo()
        assert before.closed
        assert conn.closed
        assert pool.execute("SELECT 1").fetchall() == [(1,)]


# -- statements under way


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No statement is slow, however busy the machine is."""
    monkeypatch.setattr(multiplex, "SLOW", 1e9)


async def drain(pool: AsyncConnectionPool) -> None:
    await pool.drain()


async def expire(pool: AsyncConnectionPool) -> None:
    for line in pool.multiplexer._lines:
        line.expires_at = line.inner.pooled.expires_at = 0.0  # type: ignore[union-attr]


async def shrink(pool: AsyncConnectionPool) -> None:
    await pool.resize(1, 1)


@anyio_test
@pytest.mark.parametrize("how", [drain, expire, shrink])
async def test_a_connection_under_load_is_replaced(
    anyio_backend: object, dsn: str, patient: None, how: Callable[[AsyncConnectionPool], Any]
) -> None:
    """While statements follow each other on it, it would never come back."""
    async with (
        AsyncConnectionPool(dsn, min_size=0, max_size=2, timeout=PATIENCE) as pool,
        held_lock(dsn) as lock,
        anyio.create_task_group() as group,
    ):
        held = await pool.getconn() if how is shrink else None
        group.start_soon(pool.execute, lock.statement)
        await until(lambda: len(pool.multiplexer.running()) == 1)
        old = pool.multiplexer.running()[0]
        await how(pool)
        if held is not None:
            group.start_soon(pool.execute, "SELECT 1")
            await until(lambda: pool.multiplexer.waiting == 1)
            await pool.putconn(held)
            assert held.closed, "there are too many"
        else:
            await pool.execute("SELECT 1")
        assert pool.multiplexer.running() == [old], "nothing more is sent there"
        await lock.release()
        if how is not shrink:
            await until(lambda: old.inner.closed)
