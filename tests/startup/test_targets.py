"""Which session suits: target_session_attrs."""

from __future__ import annotations

import anyio
import pytest

import anyq
from anyq import errors as e
from anyq.protocol import messages as be
from anyq.protocol.constants import Format
from anyq.protocol.messages import FieldDescription
from tests.support import frontend_messages as fm
from tests.support.activity import PATIENCE
from tests.support.deadlines import LIMIT, Deadlines
from tests.support.fakeserver import READY, FakeClient, Script, fake_server
from tests.support.replicas import Replicas
from tests.support.scripts import HOT_STANDBY, PRIMARY, READ_ONLY, in_recovery, refusing, session, several

pytestmark = pytest.mark.anyio


# --- a primary and a standby ---


async def test_the_standby_follows(pair: Replicas) -> None:
    """Otherwise the others would say nothing."""
    async with anyq.AsyncConnection.connect(pair.primary.dsn, autocommit=True) as conn:
        states: list[tuple[str]] = []
        with anyio.fail_after(PATIENCE):
            # It catches up first.
            while states != [("streaming",)]:
                cur = await conn.execute("SELECT state FROM pg_stat_replication")
                states = await cur.fetchall()


@pytest.mark.parametrize(
    ("target", "standby"),
    [
        ("any", None),
        ("read-write", False),
        ("read-only", True),
        ("primary", False),
        ("standby", True),
        ("prefer-standby", True),
    ],
)
async def test_both_orders(pair: Replicas, target: str, standby: bool | None) -> None:
    for first, second in [(pair.primary, pair.standby), (pair.standby, pair.primary)]:
        conninfo = pair.conninfo(first, second)
        async with anyq.AsyncConnection.connect(conninfo, target_session_attrs=target) as conn:
            expected = first is pair.standby if standby is None else standby
            assert await in_recovery(conn) is expected
            assert conn.info.parameter_status("in_hot_standby") in ("on" if expected else "off", None)


async def test_a_session_that_is_read_only_on_a_primary(pair: Replicas) -> None:
    conninfo = f"{pair.conninfo(pair.primary)} options='-c default_transaction_read_only=on'"
    async with anyq.AsyncConnection.connect(conninfo, target_session_attrs="read-only") as conn:
        assert not await in_recovery(conn)
    async with anyq.AsyncConnection.connect(conninfo, target_session_attrs="primary"):
        pass
    with pytest.raises(e.OperationalError, match="the session is read-only, and target_session_attrs=read-write"):
        await anyq.AsyncConnection.connect(conninfo, target_session_attrs="read-write")


@pytest.mark.parametrize(
    ("target", "servers", "reasons"),
    [
        ("primary", ["standby", "standby"], ["the server is in hot standby, and target_session_attrs=primary"] * 2),
        ("read-write", ["standby"], ["the session is read-only"]),
        ("standby", ["primary"], ["the server is not in hot standby"]),
        ("read-only", ["primary"], ["the session is not read-only"]),
    ],
)
async def test_no_host_suits(pair: Replicas, target: str, servers: list[str], reasons: list[str]) -> None:
    conninfo = pair.conninfo(*[getattr(pair, name) for name in servers])
    with pytest.raises(e.OperationalError) as caught:
        await anyq.AsyncConnection.connect(conninfo, target_session_attrs=target)
    lines = str(caught.value).splitlines()
    if len(reasons) > 1:
        assert lines.pop(0).endswith(f", all {len(reasons)} attempts:")
    for line, reason in zip(lines, reasons, strict=True):
        assert reason in line


async def test_prefer_standby_takes_what_there_is(pair: Replicas) -> None:
    conninfo = pair.conninfo(pair.primary, pair.primary)
    async with anyq.AsyncConnection.connect(conninfo, target_session_attrs="prefer-standby") as conn:
        assert not await in_recovery(conn)


def test_the_synchronous_connection(pair: Replicas) -> None:
    conninfo = pair.conninfo(pair.primary, pair.standby)
    with anyq.connect(conninfo, target_session_attrs="standby") as conn:
        assert conn.execute("SELECT pg_is_in_recovery()").fetchone() == (True,)


# --- servers that follow a script ---


SHOW = b"SHOW transaction_read_only"
RECOVERY = b"SELECT pg_catalog.pg_is_in_recovery()"


def value(text: bytes) -> tuple[be.BackendMessage, ...]:
    """The reply of one row to a query."""
    field = FieldDescription("x", 0, 0, 25, -1, -1, Format.TEXT)
    return be.RowDescription((field,)), be.DataRow((text,)), be.CommandComplete("SELECT 1"), READY


def asked(query: bytes, answer: bytes) -> Script:
    """A server that reports nothing, as those before PostgreSQL 14, and is asked."""

    async def script(client: FakeClient) -> None:
        await client.accept_startup()
        await client.expect(fm.Query, sql=query)
        await client.send(*value(answer))
        await client.expect(fm.Terminate)
        await client.expect_end()

    return script


@pytest.mark.parametrize(
    ("target", "hosts", "scripts"),
    [
        ("any", 2, [session({})]),
        ("any", 2, [session(HOT_STANDBY)]),
        ("read-write", 3, [session(HOT_STANDBY), session(READ_ONLY), session(PRIMARY)]),
        ("read-only", 2, [session(PRIMARY), session(READ_ONLY)]),
        ("primary", 2, [session(HOT_STANDBY), session(READ_ONLY)]),
        ("standby", 2, [session(READ_ONLY), session(HOT_STANDBY)]),
        ("read-write", 2, [asked(SHOW, b"on"), asked(SHOW, b"off")]),
        ("read-only", 2, [asked(SHOW, b"off"), asked(SHOW, b"on")]),
        ("primary", 2, [asked(RECOVERY, b"t"), asked(RECOVERY, b"f")]),
        ("standby", 2, [asked(RECOVERY, b"f"), asked(RECOVERY, b"t")]),
        ("prefer-standby", 3, [session(PRIMARY), asked(RECOVERY, b"f"), session(HOT_STANDBY)]),
        # Once more from the beginning, and nobody is asked.
        ("prefer-standby", 2, [session(PRIMARY), asked(RECOVERY, b"f"), session({})]),
        # Only those that were there the first time.
        ("prefer-standby", 3, [refusing("57P03"), session(PRIMARY), refusing("53300"), session({})]),
    ],
)
async def test_the_first_that_suits(target: str, hosts: int, scripts: list[Script]) -> None:
    async with fake_server(*scripts) as server:
        conn = await anyq.AsyncConnection.connect(several(server, hosts), target_session_attrs=target)
        assert len(server.clients) == len(scripts)
        await conn.close()


async def test_prefer_standby_where_nobody_is_left() -> None:
    async with fake_server(session(PRIMARY), refusing("57P03", "starting up")) as server:
        with pytest.raises(e.OperationalError) as caught:
            await anyq.AsyncConnection.connect(server.conninfo, target_session_attrs="prefer-standby")
    first, *lines = str(caught.value).splitlines()
    assert first == 'connection failed for user "test", database "test", all 2 attempts:'
    assert "not in hot standby, and target_session_attrs=prefer-standby" in lines[0]
    assert "starting up" in lines[1]


@pytest.mark.parametrize(
    "reply",
    [
        (be.ErrorResponse({"S": "ERROR", "V": "ERROR", "C": "42501", "M": "permission denied"}), READY),
        (be.CommandComplete("SELECT 0"), READY),
    ],
)
async def test_a_server_that_does_not_say(reply: tuple[be.BackendMessage, ...]) -> None:
    async def script(client: FakeClient) -> None:
        await client.accept_startup()
        await client.expect(fm.Query)
        await client.send(*reply)
        await client.expect_end()

    async with fake_server(script, asked(RECOVERY, b"f")) as server:
        conn = await anyq.AsyncConnection.connect(several(server, 2), target_session_attrs="primary")
        await conn.close()


async def test_connect_timeout_covers_the_question(deadlines: Deadlines) -> None:
    async def script(client: FakeClient) -> None:
        await client.accept_startup()
        await client.expect(fm.Query)
        deadlines.pass_now()
        await client.stall()

    async with fake_server(script) as server:
        with pytest.raises(e.ConnectionTimeout):
            await anyq.AsyncConnection.connect(server.conninfo, target_session_attrs="primary", connect_timeout=LIMIT)
        # Without a grace time, and so without a request to cancel.
        assert len(server.clients) == 1


async def test_a_stream_of_the_callers_has_to_suit_too() -> None:
    async with fake_server(session(PRIMARY)) as server:
        stream = await anyio.connect_tcp(server.host, server.port)
        with pytest.raises(e.OperationalError, match="not in hot standby"):
            await anyq.AsyncConnection.connect(server.conninfo, stream=stream, target_session_attrs="standby")
