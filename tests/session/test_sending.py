"""Who has been cancelled sends nothing; what is interrupted between the FIFO and the socket closes the connection."""

from __future__ import annotations

from collections import deque
from typing import Any

import anyio
import pytest

import anyq
from anyq import AsyncConnection
from anyq import errors as e
from anyq.protocol import frontend
from anyq.protocol import messages as be
from anyq.protocol.request import Request
from anyq.session.link import TORN
from tests.support import frontend_messages as fm
from tests.support.asking import PATIENCE, ask, connect, row
from tests.support.fakeserver import READY, FakeClient, fake_server
from tests.support.spying import passing
from tests.support.state import is_closed

pytestmark = pytest.mark.anyio


def interrupt(*args: object) -> Any:
    raise KeyboardInterrupt


class Interrupted(deque[Request]):
    """Requests under way, where an interrupt comes behind one that is added."""

    def append(self, request: Request) -> None:
        super().append(request)
        raise KeyboardInterrupt


@pytest.mark.parametrize("what", ["enqueue", "try_send", "put"])
async def test_interrupted_while_a_request_is_sent(
    conn: AsyncConnection, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    if anyq.__impl__ == "cython" and what == "put":
        pytest.skip("no interrupt can come there in compiled code")
    wire = conn.session.wire
    await conn.execute("SELECT 1")
    if what == "put":
        wire.submit(Request(), frontend.SYNC)
    if what == "enqueue":
        wire.protocol.pending = Interrupted()
    else:
        monkeypatch.setattr(passing(conn) if what == "try_send" else wire, what, interrupt)
    with pytest.raises(KeyboardInterrupt):
        await conn.execute("SELECT 2")
    assert is_closed(conn)
    with pytest.raises(e.OperationalError, match=TORN):
        await conn.execute("SELECT 3")


async def test_interrupted_when_a_request_in_pieces_ends(
    conn: AsyncConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire = conn.session.wire
    request = Request()
    await wire.turn()
    wire.open(request)
    monkeypatch.setattr(passing(conn), "try_send", interrupt)
    with pytest.raises(KeyboardInterrupt):
        wire.close_request(request, frontend.SYNC)
    assert is_closed(conn)
    assert request.done
    assert not wire.sending


async def test_a_session_that_is_over_is_not_interrupted(conn: AsyncConnection) -> None:
    await conn.close()
    with pytest.raises(e.LocalProtocolError):
        conn.session.wire.submit(Request(), frontend.SYNC)
    with pytest.raises(e.OperationalError, match="the connection is closed"):
        await conn.session.wire.turn()


@pytest.mark.parametrize("operation", ["execute", "remembered", "executemany", "stream", "block", "begin"])
async def test_a_task_that_is_cancelled_sends_nothing(operation: str) -> None:
    """Neither with nothing under way nor behind another task's request."""
    prepared = [be.ParseComplete(), be.BindComplete(), be.NoData(), be.CommandComplete("SET"), READY]
    reading = anyio.Event()

    async def script(client: FakeClient) -> None:
        await client.accept_startup()
        for reply in (prepared, [be.BindComplete(), be.CommandComplete("SET"), READY]):
            await client.receive_until(fm.Sync)
            await client.send(*reply)
        await client.expect(fm.Query, sql=b"SELECT 'first'")
        await reading.wait()
        await client.send(*row("first"))
        await client.expect(fm.Query, sql=b"SELECT 'last'")
        await client.send(*row("last"))
        await client.expect(fm.Terminate)

    async with fake_server(script) as server, connect(server) as conn:

        async def run() -> None:
            with anyio.CancelScope() as scope:
                scope.cancel()
                if operation == "execute":
                    await conn.execute("SELECT 'doomed'")
                elif operation == "remembered":
                    await conn.execute("SELECT %s", [1])
                elif operation == "executemany":
                    await conn.cursor().executemany("SELECT %s", [(1,)])
                elif operation == "stream":
                    async for _ in conn.cursor().stream("SELECT 1"):
                        pass
                elif operation == "block":
                    async with conn.transaction():
                        pass
                else:
                    conn.session.transactions.autocommit = False
                    try:
                        await conn.execute("SELECT 'doomed'")
                    finally:
                        conn.session.transactions.autocommit = True
            assert scope.cancelled_caught

        with anyio.fail_after(PATIENCE):
            for _ in range(2):
                await conn.execute("SELECT %s", [1], prepare=True)
            await run()
            async with anyio.create_task_group() as group:
                group.start_soon(ask, conn, "SELECT 'first'")
                await anyio.wait_all_tasks_blocked()
                await run()
                reading.set()
            assert await ask(conn, "SELECT 'last'") == "last"
