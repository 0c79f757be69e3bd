"""What is built on a connection works on a session: its commands, its transformer, what it says of itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from anyq import AsyncConnection, TransactionStatus
from anyq import errors as e
from anyq.protocol import messages as be
from anyq.session.session import Session
from anyq.types.string import TextLoader
from tests.support import frontend_messages as fm
from tests.support.activity import PATIENCE, held_lock
from tests.support.fakeserver import IN_TRANSACTION, READY, FakeClient, Script, fake_server

pytestmark = pytest.mark.anyio

WRONG = be.ErrorResponse({"S": "ERROR", "V": "ERROR", "C": "42P01", "M": "no such table"})


@asynccontextmanager
async def session_with(script: Script) -> AsyncIterator[Session]:
    """A session whose server follows a script after the start-up, and then reads whatever comes."""

    async def whole(client: FakeClient) -> None:
        await client.accept_startup()
        await script(client)
        await client.ignore_the_rest()

    with anyio.fail_after(PATIENCE):
        async with fake_server(whole) as server, AsyncConnection.connect(server.conninfo) as conn:
            yield conn.session


async def nothing(client: FakeClient) -> None:
    """Wait for no message."""


class Settled:
    """Counts how often it is awaited that something is settled."""

    def __init__(self, session: Session) -> None:
        self.times = 0
        session.settle = self

    async def __call__(self) -> None:
        self.times += 1


# -- commands


async def test_a_command() -> None:
    async def script(client: FakeClient) -> None:
        await client.expect(fm.Query, sql=b"SET a TO b")
        await client.send(be.CommandComplete("SET"), READY)

    async with session_with(script) as session:
        await session.wire.turn()
        await session.send_command(b"SET a TO b")


async def test_a_command_that_fails() -> None:
    async def script(client: FakeClient) -> None:
        await client.expect(fm.Query)
        await client.send(WRONG, READY)

    async with session_with(script) as session:
        await session.wire.turn()
        with pytest.raises(e.UndefinedTable):
            await session.send_command(b"LOCK nosuch")


@pytest.mark.parametrize("status", [READY, IN_TRANSACTION], ids=["none", "open"])
async def test_the_end_of_a_transaction(status: be.ReadyForQuery) -> None:
    """It is asked for only if there is one; what waits for there to be none is settled in either case."""

    async def script(client: FakeClient) -> None:
        await client.expect(fm.Query, sql=b"BEGIN")
        await client.send(be.CommandComplete("BEGIN"), status)
        if status is IN_TRANSACTION:
            await client.expect(fm.Query, sql=b"COMMIT")
            await client.send(be.CommandComplete("COMMIT"), READY)
        await client.expect(fm.Query, sql=b"SET a TO b")
        await client.send(be.CommandComplete("SET"), READY)

    async with session_with(script) as session:
        await session.wire.turn()
        await session.send_command(b"BEGIN")
        settled = Settled(session)
        await session.end_transaction(b"COMMIT", cancellable=True)
        assert settled.times == 1
        await session.wire.turn()
        await session.send_command(b"SET a TO b")
        # That is no end of a transaction.
        assert settled.times == 1


async def test_a_command_that_is_carried_out_though_the_task_is_cancelled() -> None:
    carried_out = anyio.Event()

    async def script(client: FakeClient) -> None:
        await client.expect(fm.Query, sql=b"ROLLBACK")
        await client.send(be.CommandComplete("ROLLBACK"), READY)
        carried_out.set()

    async with session_with(script) as session:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await session.carry_out(b"ROLLBACK", wait=False)
        await carried_out.wait()
        assert not session.closed


async def test_a_command_that_is_carried_out_and_fails() -> None:
    async def script(client: FakeClient) -> None:
        await client.expect(fm.Query, sql=b"RELEASE a")
        await client.send(WRONG, READY)

    async with session_with(script) as session:
        with pytest.raises(e.UndefinedTable):
            await session.carry_out(b"RELEASE a")


# -- what it says of itself


async def test_the_transaction_status(conn: AsyncConnection, dsn: str) -> None:
    session = conn.session
    seen = [session.transaction_status]
    async with held_lock(dsn) as lock, anyio.create_task_group() as group:
        group.start_soon(conn.execute, lock.statement)
        await lock.until_wanted(conn.info.backend_pid)
        seen.append(session.transaction_status)
        await lock.release()
    seen.append(session.transaction_status)
    await conn.close()
    seen.append(session.transaction_status)
    status = TransactionStatus
    assert seen == [status.IDLE, status.ACTIVE, status.INTRANS, status.UNKNOWN]


async def test_it_ends() -> None:
    async with session_with(nothing) as session:
        session.check_open()
        assert (session.closed, session.encoding) == (False, "utf-8")
        await session.wire.aclose()
        assert session.closed
        with pytest.raises(e.OperationalError, match="closed"):
            session.check_open()


# -- adapters


async def test_the_transformer_is_made_again_when_a_parameter_changes() -> None:
    async def script(client: FakeClient) -> None:
        await client.expect(fm.Query)
        await client.send(be.CommandComplete("SET"), READY)
        await client.expect(fm.Query)
        await client.send(be.ParameterStatus("client_encoding", "LATIN1"), be.CommandComplete("SET"), READY)

    async with session_with(script) as session:
        first = session.transformer()
        await session.wire.turn()
        await session.send_command(b"SET a TO b")
        assert session.transformer() is first
        await session.wire.turn()
        await session.send_command(b"SET client_encoding TO latin1")
        second = session.transformer()
        assert second is not first
        assert (first.encoding, second.encoding) == ("utf-8", "iso8859-1")
        assert session.transformer() is second


async def test_adapters_of_ones_own_begin_as_a_copy() -> None:
    async with session_with(nothing) as session:
        own = session.adaptation.copy()
        assert own.connection is session.adaptation.connection
        assert own.transformer() is not session.transformer()
        before = session.adaptation.adapters.version
        own.adapters.register_loader("int4", TextLoader)
        assert session.adaptation.adapters.version == before
        assert own.transformer().get_load_function(23, 0)(b"1") == "1"
        assert session.transformer().get_load_function(23, 0)(b"1") == 1
