"""transaction() blocks that are cancelled, at their beginning, amid what is in them, and at their end."""

from __future__ import annotations

from contextlib import suppress

import anyio
import anyio.lowlevel
import pytest

from anyq import AsyncConnection, TransactionStatus
from anyq import errors as e
from anyq.protocol import messages as be
from tests.support import frontend_messages as fm
from tests.support.activity import held_lock, until_sleeping
from tests.support.fakeserver import FAILED, IN_TRANSACTION, READY, FakeClient, fake_server
from tests.support.state import status
from tests.test_transaction import Oops, conn, insert, kept

__all__ = ["conn"]

pytestmark = pytest.mark.anyio

PATIENCE = 20.0


async def test_a_cancelled_block_is_rolled_back(conn: AsyncConnection) -> None:
    with anyio.CancelScope() as scope:
        async with conn.transaction() as block:
            await insert(conn, 1)
            scope.cancel()
            await insert(conn, 2)
    assert scope.cancelled_caught
    assert "(rolled back)" in repr(block)
    assert status(conn) is TransactionStatus.IDLE
    assert await kept(conn) == []


async def test_a_block_that_is_cancelled_at_its_end(conn: AsyncConnection) -> None:
    with anyio.CancelScope() as scope:
        async with conn.transaction():
            await insert(conn, 1)
            scope.cancel()
    assert scope.cancelled_caught
    assert status(conn) is TransactionStatus.IDLE
    assert await kept(conn) == []


async def test_an_inner_block_that_is_cancelled(conn: AsyncConnection, dsn: str) -> None:
    async with conn.transaction():
        await insert(conn, 1)
        async with anyio.create_task_group() as group:

            async def doomed() -> None:
                async with conn.transaction():
                    await insert(conn, 2)
                    await conn.execute("SELECT pg_sleep(1000)")

            group.start_soon(doomed)
            await until_sleeping(dsn, conn.info.backend_pid)
            group.cancel_scope.cancel()
        assert status(conn) is TransactionStatus.INTRANS
        await insert(conn, 3)
    assert await kept(conn) == [1, 3]


@pytest.mark.parametrize("error", [None, Oops])
async def test_a_cancelled_task_leaves_a_block(error: type[Exception] | None, conn: AsyncConnection) -> None:
    """The cancellation comes out, whatever error there is; the block is rolled back in either case."""
    with anyio.CancelScope() as scope:
        try:
            async with conn.transaction(force_rollback=True):
                await insert(conn, 1)
                scope.cancel()
                if error is not None:
                    raise error
        except Oops:
            raise AssertionError("the cancellation has to come out") from None
    assert scope.cancelled_caught
    assert status(conn) is TransactionStatus.IDLE
    assert await kept(conn) == []


async def test_a_block_that_is_cancelled_before_it_is_begun(conn: AsyncConnection) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        async with conn.transaction():
            raise AssertionError("a cancelled task has entered a block")
    assert status(conn) is TransactionStatus.IDLE
    assert conn.session.transactions.blocks == []


@pytest.mark.parametrize("savepoint_name", [None, "name"])
async def test_a_block_that_is_cancelled_in_the_queue(
    savepoint_name: str | None, conn: AsyncConnection, dsn: str
) -> None:
    """Its BEGIN is on its way, and cannot be called back: so a ROLLBACK follows."""
    await conn.set_autocommit(True)

    async def doomed() -> None:
        async with conn.transaction(savepoint_name):
            raise AssertionError("entered")

    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as group, anyio.create_task_group() as first:
            first.start_soon(conn.execute, "SELECT pg_sleep(1000)")
            await until_sleeping(dsn, conn.info.backend_pid)
            async with anyio.create_task_group() as second:
                second.start_soon(doomed)
                await anyio.wait_all_tasks_blocked()
                second.cancel_scope.cancel()
            assert conn.session.transactions.blocks == []
            group.start_soon(insert, conn, 1)
            await anyio.wait_all_tasks_blocked()
            first.cancel_scope.cancel()
    assert status(conn) is TransactionStatus.IDLE
    assert await kept(conn) == [1]


async def test_a_commit_that_is_cancelled_in_the_queue(conn: AsyncConnection, dsn: str) -> None:
    """It is not known what became of it, but no transaction is left open, nor that of somebody else ended."""
    await conn.set_autocommit(True)
    entered, leave = anyio.Event(), anyio.Event()

    async def doomed() -> None:
        async with conn.transaction():
            entered.set()
            await leave.wait()

    with anyio.fail_after(PATIENCE):
        async with held_lock(dsn) as lock, anyio.create_task_group() as group:
            async with anyio.create_task_group() as second:
                second.start_soon(doomed)
                await entered.wait()
                group.start_soon(conn.execute, lock.statement)
                await lock.until_wanted(conn.info.backend_pid)
                leave.set()
                await anyio.wait_all_tasks_blocked()
                second.cancel_scope.cancel()
            assert conn.session.transactions.blocks == []
            await lock.release()
    assert status(conn) is TransactionStatus.IDLE


async def test_a_rollback_waits_its_turn(dsn: str) -> None:
    """Longer than the grace time, if nobody is cancelled: the connection must not be closed on the other task."""
    leaving, left = anyio.Event(), anyio.Event()
    # No grace time at all, so that any wait is longer.
    async with AsyncConnection.connect(dsn, autocommit=True, grace_period=0) as conn, held_lock(dsn) as lock:
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as group:

                async def leave() -> None:
                    with pytest.raises(Oops):
                        async with conn.transaction():
                            group.start_soon(conn.execute, lock.statement)
                            await lock.until_wanted(conn.info.backend_pid)
                            leaving.set()
                            raise Oops
                    left.set()

                group.start_soon(leave)
                await leaving.wait()
                await anyio.wait_all_tasks_blocked()
                assert not left.is_set()
                await lock.release()
        assert left.is_set()
        assert not conn.closed
        assert status(conn) is TransactionStatus.IDLE


async def test_a_cancelled_rollback_does_not_wait_its_turn(dsn: str) -> None:
    """It happens in its turn, whoever reads then, and the task has left long before."""
    async with AsyncConnection.connect(dsn, autocommit=True, grace_period=0) as conn, held_lock(dsn) as lock:
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as group:
                with anyio.CancelScope() as scope:
                    async with conn.transaction():
                        group.start_soon(conn.execute, lock.statement)
                        await lock.until_wanted(conn.info.backend_pid)
                        scope.cancel()
                        await anyio.lowlevel.checkpoint()
                assert status(conn) is TransactionStatus.ACTIVE
                # The task that reads may now take its time for the reply to ROLLBACK.
                conn.session.wire.cancelling.grace = PATIENCE
                await lock.release()
        assert not conn.closed
        assert status(conn) is TransactionStatus.IDLE


@pytest.mark.parametrize("waits", [True, False], ids=["waits", "has-left"])
async def test_a_rollback_that_a_cancel_request_has_hit(waits: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was for another task's statement. The ROLLBACK is sent again; if nobody is left for that, it is the end."""
    monkeypatch.setattr("anyq.session.cancelling.CANCEL_AGAIN", 1000.0)
    canceled = be.ErrorResponse({"S": "ERROR", "V": "ERROR", "C": "57014", "M": "canceled"})
    sent, rolling_back, cancelled = anyio.Event(), anyio.Event(), anyio.Event()

    async def session(client: FakeClient) -> None:
        await client.accept_startup(parameters={"server_version": "17.6"})
        await client.expect(fm.Query, sql=b"BEGIN")
        await client.send(be.CommandComplete("BEGIN"), IN_TRANSACTION)
        await client.expect(fm.Query, sql=b"SELECT 'doomed'")
        sent.set()
        await client.expect(fm.Query, sql=b"ROLLBACK")
        rolling_back.set()
        await cancelled.wait()
        await client.send(canceled, FAILED, canceled, FAILED)
        if waits:
            await client.expect(fm.Query, sql=b"ROLLBACK")
            await client.send(be.CommandComplete("ROLLBACK"), READY)
            await client.expect(fm.Terminate)
        else:
            await client.expect_end()

    async def cancel(client: FakeClient) -> None:
        await client.expect(fm.CancelRequest)
        cancelled.set()

    async def leave(conn: AsyncConnection) -> None:
        with anyio.CancelScope() as scope, suppress(Oops):
            async with conn.transaction():
                doomed.start_soon(conn.execute, "SELECT 'doomed'")
                await sent.wait()
                if waits:
                    raise Oops
                scope.cancel()
                await anyio.lowlevel.checkpoint()

    async with (
        fake_server(session, cancel) as server,
        AsyncConnection.connect(server.conninfo, autocommit=True) as conn,
    ):
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as group, anyio.create_task_group() as doomed:
                group.start_soon(leave, conn)
                await rolling_back.wait()
                doomed.cancel_scope.cancel()
        assert conn.broken is not waits
        if waits:
            assert status(conn) is TransactionStatus.IDLE


@pytest.mark.parametrize("cancel", [False, True])
async def test_a_rollback_waits_for_a_request_that_is_sent_in_pieces(cancel: bool, dsn: str) -> None:
    """Nothing can be sent in between: an error waits for its end, a cancellation no longer than the grace time."""
    errors: list[e.Error] = []

    async def insert_many(conn: AsyncConnection) -> None:
        try:
            await conn.cursor().executemany("SELECT pg_advisory_xact_lock(8), %s", [(i,) for i in range(5000)])
        except e.Error as error:
            errors.append(error)

    async with (
        AsyncConnection.connect(dsn) as other,
        # No grace time at all, so that any wait is longer.
        AsyncConnection.connect(dsn, autocommit=True, grace_period=0.1 if cancel else 0) as conn,
    ):
        await other.execute("SELECT pg_advisory_xact_lock(8)")
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as group:
                entered = anyio.Event()

                async def leave() -> None:
                    with anyio.CancelScope() as scope, pytest.raises(Oops):
                        async with conn.transaction():
                            group.start_soon(insert_many, conn)
                            await anyio.wait_all_tasks_blocked()
                            entered.set()
                            if cancel:
                                scope.cancel()
                                await anyio.lowlevel.checkpoint()
                            raise Oops

                group.start_soon(leave)
                await entered.wait()
                await anyio.wait_all_tasks_blocked()
                if not cancel:
                    assert not errors
                    await other.rollback()
        assert conn.broken is cancel
        assert len(errors) == cancel
        await conn.close()
