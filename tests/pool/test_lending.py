"""A client that waits, is given a connection and gives it back, with every one of its waits cancelled."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from anyq import AsyncConnection
from anyq.errors import OperationalError
from anyq.pool import AsyncConnectionPool, PoolClosed, PoolTimeout
from tests.support.activity import PATIENCE, held_lock
from tests.support.pools import Gate, kill, opened, pid_of, until
from tests.support.server import Server
from tests.support.stepping import cancel_at_each_wait

pytestmark = pytest.mark.anyio

NEVER = 1e9


@pytest.fixture(params=["scope", "native"])
def natively(request: pytest.FixtureRequest, anyio_backend_name: str) -> bool:
    if request.param == "native" and anyio_backend_name != "asyncio":
        pytest.skip("trio has cancel scopes only")
    return bool(request.param == "native")


async def check(conn: AsyncConnection) -> None:
    """A check that leaves a transaction, which is nobody's business."""
    await conn.execute("SELECT 1")


# -- each wait


@pytest.mark.parametrize("block", [True, False], ids=["block", "open"])
@pytest.mark.parametrize("kind", ["plain", "check", "waiting", "left", "first", "all"])
async def test_each_wait_cancelled(dsn: str, block: bool, kind: str, natively: bool) -> None:
    """Whatever it is that a client waits for: the next one has a connection, and there is one only."""
    kwargs: dict[str, Any] = {"check": check, "configure": check_and_roll_back} if kind in ("check", "first") else {}
    sets = {"grace_period": PATIENCE}
    pool = AsyncConnectionPool(dsn, min_size=0, max_size=1, timeout=PATIENCE, kwargs=sets, **kwargs)

    async def client() -> None:
        if kind == "all":
            await pool.check()
            return
        async with pool.connection() as conn:
            if kind == "left":
                await conn.execute("SET work_mem TO '1234kB'")
                raise ZeroDivisionError

    async def waiting() -> None:
        if kind != "waiting":
            with suppress(ZeroDivisionError):
                await client()
            return
        held = await pool.getconn()
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(client)
                await until(lambda: pool.get_stats()["requests_waiting"])
                await pool.putconn(held)
        finally:
            with suppress(ValueError), anyio.CancelScope(shield=True):
                await pool.putconn(held)

    async def still_good() -> None:
        await until(lambda: pool.get_stats()["pool_available"] == pool.get_stats()["pool_size"])
        stats = pool.get_stats()
        assert stats["pool_size"] <= 1
        assert stats["requests_waiting"] == pool.books.busy == pool.books.opening == 0
        async with pool.connection() as conn:
            assert await (await conn.execute("SHOW work_mem")).fetchone() == ("4MB",)
            if kind == "first":
                await conn.close()

    async with opened(pool, block=block):
        if kind != "first":
            await still_good()
        assert await cancel_at_each_wait(waiting, still_good, natively=natively) >= (kind not in ("plain", "waiting"))
        if kind != "first":
            assert pool.get_stats()["connections_num"] == 1, "a cancellation has cost a connection"


async def cancel(task: asyncio.Task[None], limit: asyncio.Event) -> None:
    task.cancel()
    for _ in range(3):
        await anyio.lowlevel.checkpoint()


async def cancel_twice(task: asyncio.Task[None], limit: asyncio.Event) -> None:
    await cancel(task, limit)
    await cancel(task, limit)


async def let_time_be_over(task: asyncio.Task[None], limit: asyncio.Event) -> None:
    limit.set()
    for _ in range(5):
        await anyio.lowlevel.checkpoint()


async def by_cancel(client: Callable[[], Coroutine[Any, Any, None]], limit: asyncio.Event) -> None:
    await client()


async def by_timeout(client: Callable[[], Coroutine[Any, Any, None]], limit: asyncio.Event) -> None:
    async with asyncio.timeout(None) as timeout:  # type: ignore[attr-defined]

        async def set_limit() -> None:
            await limit.wait()
            timeout.reschedule(0.0)

        setting = asyncio.ensure_future(set_limit())
        await client()
        await setting


async def by_wait_for(client: Callable[[], Coroutine[Any, Any, None]], limit: asyncio.Event) -> None:
    await asyncio.wait_for(client(), PATIENCE)


@pytest.mark.parametrize(
    ("way", "stop", "error"),
    [
        pytest.param(by_cancel, cancel_twice, asyncio.CancelledError, id="cancel"),
        pytest.param(by_wait_for, cancel, asyncio.CancelledError, id="wait_for"),
        pytest.param(
            *(by_timeout, let_time_be_over, TimeoutError),
            id="timeout",
            marks=pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.timeout() is new in Python 3.11"),
        ),
    ],
)
async def test_cancelled_by_asyncio_while_it_is_cleaned(
    dsn: str, anyio_backend_name: str, way: Any, stop: Any, error: type[BaseException]
) -> None:
    """asyncio's own cancellation does not stop at a shield, and yet the connection is kept."""
    if anyio_backend_name != "asyncio":
        pytest.skip("trio has cancel scopes only")
    cleaning, go_on, limit = anyio.Event(), anyio.Event(), asyncio.Event()

    async def reset(conn: AsyncConnection) -> None:
        cleaning.set()
        await go_on.wait()

    async with AsyncConnectionPool(dsn, min_size=1, reset=reset, kwargs={"grace_period": PATIENCE}) as pool:

        async def client() -> None:
            async with pool.connection() as conn:
                await conn.execute("SET work_mem TO '1234kB'")
                await conn.commit()

        task = asyncio.ensure_future(way(client, limit))
        await cleaning.wait()
        await stop(task, limit)
        assert not task.done()
        go_on.set()
        with pytest.raises(error):
            await task
        assert pool.get_stats()["pool_available"] == 1
        async with pool.connection() as conn:
            assert await (await conn.execute("SHOW work_mem")).fetchone() == ("4MB",)
        assert pool.get_stats()["connections_num"] == 1


async def check_and_roll_back(conn: AsyncConnection) -> None:
    await check(conn)
    await conn.rollback()


@pytest.mark.parametrize("block", [True, False], ids=["block", "open"])
async def test_cancelled_in_the_tick_of_the_hand_over(dsn: str, block: bool) -> None:
    gate = Gate(dsn)
    got = []
    async with opened(gate.pool(), block=block) as pool:
        held = await pool.getconn()
        async with anyio.create_task_group() as group:
            scopes = [anyio.CancelScope() for _ in range(3)]

            async def client(number: int) -> None:
                with scopes[number]:
                    async with pool.connection():
                        await anyio.lowlevel.checkpoint()
                        got.append(number)

            for number in range(3):
                group.start_soon(client, number)
                await until(lambda: pool.get_stats()["requests_waiting"] == number + 1)  # noqa: B023
            # Neither of the first two runs in between.
            assert pool.lender.take_back_at_once(held)
            scopes[0].cancel()
            scopes[1].cancel()
        assert got == [2]
        assert pool.get_stats()["pool_available"] == gate.attempts == 1


@pytest.mark.parametrize("block", [True, False], ids=["block", "open"])
async def test_cancelled_during_the_only_attempt(dsn: str, block: bool) -> None:
    """The attempt is for whoever comes next; and without a block, whoever comes next begins one."""
    gate = Gate(dsn)
    gate.shut()
    async with opened(gate.pool(), block=block) as pool:
        async with anyio.create_task_group() as group:
            scope = anyio.CancelScope()

            async def first() -> None:
                with scope:
                    await pool.getconn()

            group.start_soon(first)
            await until(lambda: gate.under_way == 1)
            group.start_soon(pid_of, pool)
            await until(lambda: pool.get_stats()["requests_waiting"] == 2)
            scope.cancel()
            await until(lambda: scope.cancelled_caught)
            await until(lambda: gate.under_way == 1)
            assert pool.get_stats()["pool_size"] == 1
            gate.open()
        assert gate.attempts == (1 if block else 2)
        assert pool.get_stats()["pool_available"] == 1


async def test_each_opens_for_all(dsn: str) -> None:
    """Without a block: those who wait begin one attempt each, and none of these is broken off."""
    gate = Gate(dsn)
    gate.shut()
    async with opened(gate.pool(max_size=5), block=False) as pool:
        async with anyio.create_task_group() as group:
            for number in range(5):
                group.start_soon(pid_of, pool)
                await until(lambda: gate.under_way == number + 1)  # noqa: B023
            gate.open()
        assert gate.attempts <= 9


async def test_cancelled_during_the_check(dsn: str) -> None:
    """The connection is good still, with nothing of the check left on it; the next one has it."""
    async with held_lock(dsn) as lock:

        async def wait(conn: AsyncConnection) -> None:
            pids.append(conn.info.backend_pid)
            await conn.execute(lock.statement)

        pids: list[int] = []
        async with AsyncConnectionPool(dsn, min_size=1, timeout=PATIENCE, check=wait) as pool:
            async with anyio.create_task_group() as group:
                group.start_soon(pool.getconn)
                await until(lambda: pids)
                await lock.until_wanted(pids[0])
                group.start_soon(pid_of, pool)
                await until(lambda: pool.get_stats()["requests_waiting"] == 1)
                group.cancel_scope.cancel()
            await lock.release()
            assert await pid_of(pool) == pids[0]
            assert pool.get_stats()["connections_num"] == 1


async def test_a_check_that_takes_too_long(dsn: str) -> None:
    async with held_lock(dsn) as lock:

        async def wait(conn: AsyncConnection) -> None:
            await conn.execute(lock.statement)

        async with AsyncConnectionPool(dsn, min_size=1, check=wait) as pool:
            with pytest.raises(PoolTimeout, match="had no connection within 0.05 s"):
                await pool.getconn(0.05)
            await lock.release()
            assert await pid_of(pool)
            assert pool.get_stats()["pool_size"] == 1


async def test_cancelled_with_a_statement_under_way(dsn: str) -> None:
    async with held_lock(dsn) as lock, AsyncConnectionPool(dsn, min_size=1, timeout=PATIENCE) as pool:
        pid = await pid_of(pool)
        async with anyio.create_task_group() as group:

            async def client() -> None:
                async with pool.connection() as conn:
                    await conn.execute(lock.statement)

            group.start_soon(client)
            await lock.until_wanted(pid)
            group.cancel_scope.cancel()
        assert await pid_of(pool) == pid
        stats = pool.get_stats()
        assert (stats["connections_num"], stats["returns_bad"], stats["pool_size"]) == (1, 0, 1)


async def test_returned_in_a_cancelled_scope(dsn: str) -> None:
    async with AsyncConnectionPool(dsn, min_size=1, timeout=PATIENCE) as pool:
        conn = await pool.getconn()
        await conn.execute("SELECT 1")
        with anyio.CancelScope() as scope:
            scope.cancel()
            await pool.putconn(conn)
        async with pool.connection() as again:
            assert again is conn


# -- connections that are no good


async def test_a_lost_connection_is_seen_without_a_check(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anyq.pool.lending.TRUSTED", -1.0)
    async with AsyncConnectionPool(dsn, min_size=2, timeout=PATIENCE) as pool:
        await pool.wait()
        async with pool.connection() as one, pool.connection() as two:
            pids = one.info.backend_pid, two.info.backend_pid
        await kill(dsn, *pids)
        async with pool.connection() as one, pool.connection() as two:
            assert not {one.info.backend_pid, two.info.backend_pid}.intersection(pids)
        assert pool.get_stats()["connections_lost"] == 2


async def test_a_statement_is_not_sent_on_a_lost_connection(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anyq.pool.lending.TRUSTED", -1.0)
    async with AsyncConnectionPool(dsn, min_size=1, timeout=PATIENCE) as pool:
        await kill(dsn, await pid_of(pool))
        before = pool.pop_stats()
        await pool.execute("SELECT 1")
        stats = pool.get_stats()
    assert (before["connections_lost"], stats["connections_lost"], stats["connections_num"]) == (0, 1, 1)
    assert (stats["pool_size"], stats["pool_available"], stats["requests_num"]) == (1, 1, 1)


async def test_one_that_was_lost_while_it_was_lent(dsn: str, caplog: pytest.LogCaptureFixture) -> None:
    async with AsyncConnectionPool(dsn, min_size=1, timeout=PATIENCE) as pool:
        with pytest.raises(OperationalError):
            async with pool.connection() as conn:
                await kill(dsn, conn.info.backend_pid)
                await conn.execute("SELECT 1")
        assert "was closed or lost while it was lent" in caplog.text
        assert await pid_of(pool) != conn.info.backend_pid
        assert pool.get_stats()["connections_lost"] == 1


async def test_many_killed_connections_and_more_users(dsn: str) -> None:
    """With a check nobody has an error, and there are as many new connections as were killed."""
    size, users = 20, 100
    async with AsyncConnectionPool(
        dsn, min_size=size, check=AsyncConnectionPool.check_connection, timeout=PATIENCE
    ) as pool:
        await pool.wait()
        conns = [await pool.getconn() for _ in range(size)]
        pids = [conn.info.backend_pid for conn in conns]
        for conn in conns:
            await pool.putconn(conn)
        await kill(dsn, *pids)
        async with anyio.create_task_group() as group:
            for _ in range(users):
                group.start_soon(pid_of, pool)
        stats = pool.get_stats()
        assert (stats["connections_num"], stats["connections_lost"], stats["pool_size"]) == (2 * size, size, size)
        assert stats["requests_errors"] == 0


async def test_a_check_that_always_fails(
    dsn: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """There is a pause before each new connection, or a server would be asked for them without end."""
    caplog.set_level(logging.INFO)
    pauses = []

    async def slept(seconds: float) -> None:
        pauses.append(seconds)
        await anyio.lowlevel.checkpoint()

    async def fail(conn: AsyncConnection) -> None:
        if len(pauses) < 8:
            raise ZeroDivisionError

    async with AsyncConnectionPool(dsn, min_size=1, check=fail, timeout=PATIENCE) as pool:
        await pool.wait()
        monkeypatch.setattr(anyio, "sleep", slept)
        await pid_of(pool)
        assert pauses[:6] == [0.05, 0.1, 0.2, 0.4, 0.5, 0.5]
        assert "did not pass its check" in caplog.text


async def test_a_check_that_fails_for_all_the_time_there_is(dsn: str) -> None:
    """Who waited is told what the check has raised: a mistake in it looks like a lost server otherwise."""
    calls = 0

    def check(conn: AsyncConnection) -> None:
        nonlocal calls
        calls += 1
        raise ZeroDivisionError("a mistake")

    async with AsyncConnectionPool(dsn, min_size=1, check=check) as pool, anyio.create_task_group() as group:
        group.start_soon(pool.getconn, PATIENCE)
        await until(lambda: calls > 1)  # what the first call has raised is known
        with pytest.raises(PoolTimeout, match=r"within 0.02 s; one did not pass its check: a mistake"):
            await pool.getconn(timeout=0.02)
        group.cancel_scope.cancel()


async def test_a_check_that_closes_the_connection(dsn: str) -> None:
    """It has not passed, though nothing was raised."""
    checked: list[AsyncConnection] = []

    async def check(conn: AsyncConnection) -> None:
        checked.append(conn)
        if len(checked) == 1:
            await conn.close()

    async with AsyncConnectionPool(dsn, min_size=1, max_size=1, check=check, timeout=PATIENCE) as pool:
        assert await pid_of(pool)
        assert [conn.closed for conn in checked] == [True, False]
        assert pool.get_stats()["connections_lost"] == 1


@pytest.mark.parametrize("statement", [True, False], ids=["statement", "client"])
async def test_closed_while_a_check_fails(dsn: str, statement: bool) -> None:
    """There is nothing to wait for any more."""
    checking, go_on = anyio.Event(), anyio.Event()

    async def check(conn: AsyncConnection) -> None:
        checking.set()
        await go_on.wait()
        raise ValueError

    async with AsyncConnectionPool(dsn, min_size=1, max_size=1, check=check, timeout=NEVER) as pool:

        async def client() -> None:
            with pytest.raises(PoolClosed):
                await (pool.execute("SELECT 1") if statement else pool.getconn())

        async with anyio.create_task_group() as group:
            group.start_soon(client)
            await checking.wait()
            await pool.close()
            go_on.set()


async def test_a_check_is_no_wait(dsn: str) -> None:
    async with AsyncConnectionPool(dsn, min_size=1, max_size=1, check=check, timeout=PATIENCE) as pool:
        await pool.wait()
        await pid_of(pool)
        stats = pool.get_stats()
    assert (stats["requests_num"], stats["requests_queued"], stats["requests_wait_le_10000ms"]) == (1, 0, 0)


@pytest.mark.parametrize("checked", ["by the pool", "by a client"])
async def test_a_frozen_server(embedded_server: Server, checked: str) -> None:
    """A connection that does not answer is given up after the grace time, and another one takes its place."""
    kwargs = {"grace_period": 0.1, "connect_timeout": 5}
    async with AsyncConnectionPool(embedded_server.dsn, min_size=1, kwargs=kwargs, timeout=PATIENCE) as pool:
        conn = await pool.getconn()
        pid = conn.info.backend_pid
        await conn.execute("SELECT 1")
        os.kill(pid, signal.SIGSTOP)
        try:
            with anyio.fail_after(PATIENCE):
                if checked == "by a client":
                    with anyio.move_on_after(0):
                        await conn.rollback()
                await pool.putconn(conn)
                assert conn.closed
                assert await pid_of(pool) != pid
        finally:
            os.kill(pid, signal.SIGCONT)
