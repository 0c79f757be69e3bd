"""A pool as its users have it: opening and closing it, having connections of it and giving them back."""

from __future__ import annotations

import gc
import inspect
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from functools import partial
from typing import Any
from weakref import ref

import anyio
import pytest

from anyq import AsyncConnection, conninfo
from anyq import errors as e
from anyq.pool import (
    AsyncConnectionPool,
    AsyncNullConnectionPool,
    ConnectionPool,
    NullConnectionPool,
    PoolClosed,
    PoolTimeout,
    TooManyRequests,
)
from anyq.rows import DictRow, dict_row
from tests.support.activity import PATIENCE
from tests.support.pools import Gate, kill, opened, pid_of, sessions, until

pytestmark = pytest.mark.anyio

NAME = "anyq-pooled"


@pytest.fixture(params=[True, False], ids=["block", "open"])
async def pool(request: pytest.FixtureRequest, dsn: str) -> AsyncIterator[AsyncConnectionPool]:
    """A pool of two connections, in a block or opened without one."""
    pool = AsyncConnectionPool(
        conninfo.make_conninfo(dsn, application_name=NAME), min_size=0, max_size=2, timeout=PATIENCE
    )
    async with opened(pool, block=request.param):
        yield pool


# -- opening and closing


async def test_a_block_has_its_connections_and_leaves_none(dsn: str, conn: AsyncConnection) -> None:
    async with AsyncConnectionPool(dsn, min_size=2, kwargs={"application_name": NAME}) as pool:
        assert pool.min_size == pool.max_size == 2
        await pool.wait()
        assert len(await sessions(conn, NAME)) == 2
        await conn.rollback()
        async with pool.connection() as one, pool.connection() as two:
            assert one is not two
            assert await (await one.execute("SELECT 1")).fetchone() == (1,)
    assert pool.closed
    with anyio.fail_after(PATIENCE):
        while await sessions(conn, NAME):
            await conn.rollback()


async def test_four_by_default(dsn: str) -> None:
    async with AsyncConnectionPool(dsn) as pool:
        await pool.wait()
        assert (pool.min_size, pool.max_size, pool.get_stats()["pool_size"]) == (4, 4, 4)


async def test_the_bodys_exception_comes_out_as_it_is(dsn: str) -> None:
    with pytest.raises(ZeroDivisionError):
        async with AsyncConnectionPool(dsn, min_size=1):
            _ = 1 / 0


async def test_a_cancelled_block(dsn: str) -> None:
    with anyio.CancelScope() as scope:
        async with AsyncConnectionPool(dsn, min_size=1) as pool, pool.connection():
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert pool.closed
    assert pool.get_stats()["pool_size"] == 0


async def test_a_cancelled_block_whose_body_goes_on(dsn: str) -> None:
    """No task is begun again and again only to be cancelled; clients open what they need."""
    gate = Gate(dsn)
    with anyio.CancelScope() as scope:
        async with gate.pool(min_size=1) as pool:
            gate.shut()
            await until(lambda: gate.under_way == 1)
            scope.cancel()
            with anyio.CancelScope(shield=True):
                await until(lambda: gate.under_way == 0)
                await anyio.wait_all_tasks_blocked()
                assert gate.attempts == 1
                gate.open()
                assert await pid_of(pool)
    assert gate.attempts == 2


async def test_what_was_not_opened(dsn: str) -> None:
    pool = AsyncConnectionPool(dsn)
    assert pool.closed
    for asking in (pool.getconn, pool.wait):
        with pytest.raises(PoolClosed, match="is not open yet: use it in 'async with', or await its open"):
            await asking()
    await pool.close()
    with pytest.raises(PoolClosed):
        await pool.getconn()


async def test_opening_twice_and_closing_twice(dsn: str) -> None:
    pool = AsyncConnectionPool(dsn, min_size=1, name="mine")
    await pool.open()
    await pool.open(wait=True)
    await pool.wait()
    async with pool.connection() as conn:
        await conn.execute("SELECT 1")
        assert await pid_of(pool) if pool.max_size > 1 else True
    await pool.close()
    await pool.close()
    with pytest.raises(PoolClosed, match="'mine' is closed"):
        await pool.getconn()
    with pytest.raises(PoolClosed, match="'mine' is closed"):
        await pool.wait()
    with pytest.raises(PoolClosed, match="cannot be opened again"):
        await pool.open()
    with pytest.raises(PoolClosed, match="cannot be opened again"):
        await pool.__aenter__()


async def test_a_block_is_entered_once(dsn: str) -> None:
    async with AsyncConnectionPool(dsn, min_size=1) as pool:
        with pytest.raises(e.ProgrammingError, match="was entered already"):
            await pool.__aenter__()
        block = pool.connection()
        async with block:
            with pytest.raises(e.ProgrammingError, match="was entered already"):
                await block.__aenter__()
        async with block:
            pass


async def test_open_at_once(dsn: str) -> None:
    pool = AsyncConnectionPool(dsn, min_size=1, open=True)
    assert not pool.closed
    async with pool:
        await pool.wait()
        assert await pid_of(pool)


async def test_waiting_without_a_block(dsn: str) -> None:
    """Connections are opened meanwhile, and whether clients may wait does not matter."""
    async with opened(AsyncConnectionPool(dsn, min_size=3, max_waiting=1), block=False) as pool:
        await pool.wait()
        assert pool.get_stats()["pool_available"] == 3
        assert pool.get_stats()["requests_num"] == 0
        conns = [await pool.getconn() for _ in range(3)]
        await pool.wait()  # all are out, and that is as good
        for conn in conns:
            await pool.putconn(conn)


async def test_several_wait_without_a_block_and_one_is_cancelled(dsn: str) -> None:
    gate = Gate(dsn)
    async with opened(gate.pool(min_size=2, max_size=2), block=False) as pool:
        gate.shut()
        async with anyio.create_task_group() as group:
            cancelled = anyio.CancelScope()

            async def first() -> None:
                with cancelled:
                    await pool.wait(PATIENCE)

            group.start_soon(first)
            await until(lambda: gate.under_way == 2)
            group.start_soon(pool.wait, PATIENCE)
            await anyio.wait_all_tasks_blocked()
            cancelled.cancel()
            await until(lambda: gate.attempts == 4)
            gate.open()
        assert pool.get_stats()["pool_size"] == pool.get_stats()["pool_available"] == 2


@pytest.mark.parametrize("block", [True, False])
async def test_waiting_in_vain_closes_the_pool(dsn: str, block: bool) -> None:
    gate = Gate(dsn)
    gate.refuses = True
    async with opened(gate.pool(min_size=1), block=block) as pool:
        with pytest.raises(
            PoolTimeout, match=r"had 0 of its 1 connections within 0.1 s; opening one has failed: refused"
        ):
            await pool.wait(0.1)
        assert pool.closed


@pytest.mark.parametrize("block", [True, False])
async def test_a_connect_that_never_answers_does_not_outlast_it(dsn: str, block: bool) -> None:
    gate = Gate(dsn)
    gate.shut()
    pool = gate.pool()
    async with anyio.create_task_group() as group, opened(pool, block=block):

        async def ask() -> None:
            with pytest.raises(PoolClosed, match="is closed"):
                await pool.getconn()

        group.start_soon(ask)
        await until(lambda: gate.under_way)
    assert gate.under_way == 0
    gate.open()
    assert pool.get_stats()["pool_size"] == 0


@pytest.mark.parametrize("block", [True, False])
async def test_what_a_client_has_when_it_is_closed(dsn: str, block: bool) -> None:
    pool = AsyncConnectionPool(dsn, min_size=0, max_size=1)
    async with opened(pool, block=block):
        conn = await pool.getconn()
    assert await (await conn.execute("SELECT 1")).fetchone() == (1,)
    await pool.putconn(conn)
    assert conn.closed
    assert pool.get_stats()["pool_size"] == 0


async def test_it_belongs_to_one_event_loop(dsn: str, anyio_backend_name: str) -> None:
    """Whatever is called in another one is refused before anything of it was touched."""
    async with AsyncConnectionPool(dsn, min_size=1) as pool:
        await pool.wait()
        held = await pool.getconn()
        before = pool.get_stats()
        calls: list[Callable[[], Any]] = [
            *(pool.getconn, pool.open, pool.wait, pool.check, pool.drain, partial(pool.resize, 1, 2)),
            *(partial(pool.putconn, held), partial(pool.execute, "SELECT 1")),
            partial(pool.executemany, "SELECT %s", [[1]]),
        ]

        def elsewhere() -> None:
            for call in calls:
                with pytest.raises(e.InterfaceError, match=f"the pool {pool.name!r} belongs to another event loop"):
                    anyio.run(call, backend=anyio_backend_name)

        await anyio.to_thread.run_sync(elsewhere)
        after = pool.get_stats()
        assert {**after, "requests_num": 0} == {**before, "requests_num": 0}
        await pool.putconn(held)
        async with pool.connection() as conn:
            assert conn is held


@pytest.mark.parametrize("ended", [True, False], ids=["ended", "running"])
def test_closed_from_another_event_loop(dsn: str, ended: bool) -> None:
    """It is done where the pool is; where that has ended nobody else is at work."""
    pool = AsyncConnectionPool(dsn, min_size=1, max_size=1)
    wires: list[Any] = []

    async def use() -> None:
        await pool.open()
        async with pool.connection() as conn:
            wires.append(conn.session.wire)

    async def wait_for_the_end() -> None:
        await use()
        async with pool.connection(), anyio.create_task_group() as group:
            group.start_soon(anyio.to_thread.run_sync, partial(anyio.run, pool.close))
            with pytest.raises(PoolClosed):
                await pool.getconn(timeout=PATIENCE)

    anyio.run(use if ended else wait_for_the_end)
    if ended:
        anyio.run(pool.close)
    assert pool.closed
    assert wires[0].closed
    assert pool.get_stats()["pool_size"] == 0


async def test_a_pool_that_was_never_closed_warns(dsn: str) -> None:
    pool = AsyncConnectionPool(dsn, name="forgotten")
    await pool.open()
    with pytest.warns(ResourceWarning, match="the pool 'forgotten' was never closed"):
        del pool
        gc.collect()


async def test_a_pool_that_is_dropped_ends_its_sessions(dsn: str, conn: AsyncConnection) -> None:
    """But not while a client has one of its connections, which may come back."""
    pool = AsyncConnectionPool(dsn, min_size=2, name="forgotten", kwargs={"application_name": NAME})
    await pool.open(wait=True)
    held = await pool.getconn()
    dropped = ref(pool)
    del pool
    gc.collect()
    assert dropped() is not None
    assert await (await held.execute("SELECT 1")).fetchone() == (1,)
    with pytest.warns(ResourceWarning) as told:
        del held
        gc.collect()
    # The others are of its sockets.
    assert [warning for warning in told if str(warning.message).startswith("the pool 'forgotten' was never closed")]
    with anyio.fail_after(PATIENCE):
        while await sessions(conn, NAME):
            await conn.rollback()


async def test_nothing_is_logged_while_all_is_well(dsn: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    check = AsyncConnectionPool.check_connection
    async with AsyncConnectionPool(dsn, min_size=1, max_size=2, max_lifetime=0.001, max_idle=0, check=check) as pool:
        async with pool.connection() as conn, pool.connection():
            await conn.execute("SET work_mem TO '1234kB'")
        await pool.execute("SELECT 1")
        await pool.executemany("SELECT %s", [[1], [2]])
        with suppress(e.DivisionByZero):
            await pool.execute("SELECT 1 / 0")
        with anyio.CancelScope() as scope:
            scope.cancel()
            await pool.execute("SELECT 1")
        with suppress(ZeroDivisionError):
            async with pool.transaction() as conn:
                await conn.execute("SELECT 1")
                raise ZeroDivisionError
        await pool.check()
        await pool.resize(1, 1)
        await pool.drain()
    assert [record for record in caplog.records if record.name.startswith("anyq")] == []


# -- what it is


def test_wrong_arguments() -> None:
    for wrong, message in [
        ({"min_size": -1}, "min_size must be 0 or more"),
        ({"min_size": 2, "max_size": 1}, r"max_size \(1\) must be min_size \(2\) or more"),
        ({"min_size": 0}, "max_size must be given"),
        ({"timeout": -1}, "timeout must be 0 or more"),
        ({"num_workers": 0}, "num_workers must be 1 or more"),
    ]:
        with pytest.raises(ValueError, match=message):
            AsyncConnectionPool("", **wrong)  # type: ignore[arg-type]


def test_what_is_told_of_it() -> None:
    pool = AsyncConnectionPool(
        "password=secret",
        kwargs={"password": "secret"},
        min_size=1,
        max_size=3,
        name="mine",
        max_waiting=4,
        max_idle=5,
        max_lifetime=6,
        timeout=7,
        reconnect_timeout=8,
        num_workers=9,
    )
    assert repr(pool) == "<anyq.pool.pool.AsyncConnectionPool 'mine' [not open yet, 0 of 3]>"
    assert (pool.name, pool.conninfo, pool.kwargs) == ("mine", "password=secret", {"password": "secret"})
    assert (pool.min_size, pool.max_size, pool.max_waiting, pool.max_idle) == (1, 3, 4, 5)
    assert (pool.max_lifetime, pool.timeout, pool.reconnect_timeout, pool.num_workers) == (6, 7, 8, 9)
    assert not pool.close_returns
    assert AsyncConnectionPool().name.startswith("pool-")
    assert "0 of any number" in repr(AsyncNullConnectionPool())


async def test_what_is_told_of_one_that_is_open(pool: AsyncConnectionPool) -> None:
    async with pool.connection():
        assert f"{pool.name!r} [open, 1 of 2]" in repr(pool)
    await pool.close()
    assert f"{pool.name!r} [closed, 0 of 2]" in repr(pool)


#: Of psycopg_pool 3.3: the methods, and the arguments of each.
METHODS = {
    "__init__": "conninfo connection_class kwargs min_size max_size open configure check reset name close_returns "
    "timeout max_waiting max_lifetime max_idle reconnect_timeout reconnect_failed num_workers tracer",
    "connection": "timeout",
    "getconn": "timeout",
    "putconn": "conn",
    "open": "wait timeout",
    "wait": "timeout",
    "close": "timeout",
    "check": "",
    "check_connection": "conn",
    "resize": "min_size max_size",
    "drain": "",
    "get_stats": "",
    "pop_stats": "",
}


@pytest.mark.parametrize("kind", [AsyncConnectionPool, AsyncNullConnectionPool, ConnectionPool, NullConnectionPool])
def test_methods_and_their_arguments(kind: type[Any]) -> None:
    found = {name: set(inspect.signature(getattr(kind, name)).parameters) - {"self", "portal"} for name in METHODS}
    assert found == {name: set(arguments.split()) for name, arguments in METHODS.items()}


# -- clients


async def test_a_block_commits_or_rolls_back(pool: AsyncConnectionPool, schema: str) -> None:
    async with pool.connection() as conn:
        await conn.execute(f"CREATE TABLE {schema}.t (n int)".encode())
        await conn.execute(f"INSERT INTO {schema}.t VALUES (1)".encode())
    with pytest.raises(ZeroDivisionError):
        async with pool.connection() as conn:
            await conn.execute(f"INSERT INTO {schema}.t VALUES (2)".encode())
            _ = 1 / 0
    with anyio.CancelScope() as scope:
        async with pool.connection() as conn:
            await conn.execute(f"INSERT INTO {schema}.t VALUES (3)".encode())
            scope.cancel()
            await conn.execute("SELECT pg_sleep(60)")
    async with pool.connection() as conn:
        assert await (await conn.execute(f"SELECT n FROM {schema}.t".encode())).fetchall() == [(1,)]
    stats = pool.get_stats()
    assert stats["pool_size"] == stats["connections_num"] == 1
    assert stats["returns_bad"] == 0


async def test_a_commit_that_fails(pool: AsyncConnectionPool) -> None:
    with pytest.raises(e.UniqueViolation):
        async with pool.connection() as conn:
            await conn.execute("CREATE TEMP TABLE t (n int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
            await conn.execute("INSERT INTO t VALUES (1), (1)")
    stats = pool.get_stats()
    assert (stats["pool_size"], stats["pool_available"], stats["returns_bad"]) == (1, 1, 0)


async def test_a_connection_is_used_again(pool: AsyncConnectionPool) -> None:
    assert await pid_of(pool) == await pid_of(pool)
    assert pool.get_stats()["connections_num"] == 1


async def test_getconn_and_putconn(pool: AsyncConnectionPool, conn: AsyncConnection, dsn: str) -> None:
    mine = await pool.getconn()
    async with mine:  # as psycopg's: it is not closed
        await mine.execute("SELECT 1")
    assert not mine.closed
    await pool.putconn(mine)
    with pytest.raises(ValueError, match="was given back to the pool 'pool-.*' already"):
        await pool.putconn(mine)
    with pytest.raises(ValueError, match="is of no pool"):
        await pool.putconn(conn)
    with pytest.raises(ValueError, match="is of no pool: None"):
        await pool.putconn(None)  # type: ignore[arg-type]
    async with AsyncConnectionPool(dsn, min_size=1, name="other") as other, pool.connection() as mine:
        with pytest.raises(ValueError, match="is of the pool 'pool-.*', not of 'other'"):
            await other.putconn(mine)


async def test_a_connections_own_block_rolls_back(pool: AsyncConnectionPool) -> None:
    mine = await pool.getconn()
    with pytest.raises(ZeroDivisionError):
        async with mine:
            await mine.execute("CREATE TABLE never (n int)")
            _ = 1 / 0
    assert (await (await mine.execute("SELECT to_regclass('never')")).fetchone()) == (None,)
    await mine.rollback()
    await pool.putconn(mine)


@pytest.mark.parametrize("closes", [True, False])
@pytest.mark.parametrize("used", [True, False])
async def test_given_back_inside_of_the_block(dsn: str, closes: bool, used: bool) -> None:
    """Then it may be another client's when the block is left, and is not taken from that one."""
    async with AsyncConnectionPool(dsn, min_size=1, close_returns=closes) as pool:
        async with pool.connection() as mine:
            await (mine.close() if closes else pool.putconn(mine))
            assert not mine.closed
            others = await pool.getconn()
            assert others is mine
            if used:
                await others.execute("SELECT 1")
        assert pool.get_stats()["pool_available"] == 0
        assert others.info.transaction_status.name == ("INTRANS" if used else "IDLE")
        await others.rollback()
        await pool.putconn(others)


async def test_close_in_a_client(pool: AsyncConnectionPool) -> None:
    async with pool.connection() as conn:
        await conn.close()
    assert pool.get_stats()["pool_size"] == 0
    assert await pid_of(pool)


async def test_first_come_first_served(pool: AsyncConnectionPool) -> None:
    order = []
    held = [await pool.getconn(), await pool.getconn()]

    async def client(number: int) -> None:
        async with pool.connection():
            order.append(number)

    async with anyio.create_task_group() as group:
        for number in range(10):
            group.start_soon(client, number)
            await until(lambda: pool.get_stats()["requests_waiting"] == number + 1)  # noqa: B023
        await pool.putconn(held.pop())
    assert order == list(range(10))
    await pool.putconn(held.pop())


async def test_none_in_time(pool: AsyncConnectionPool) -> None:
    async with pool.connection(), pool.connection():
        for timeout in (0.01, 0):
            with pytest.raises(PoolTimeout, match=f"had no connection within {timeout:g} s; clients have 2 of 2$"):
                await pool.getconn(timeout)
    async with pool.connection(timeout=0):
        pass
    assert pool.get_stats()["requests_errors"] == 2


async def test_too_many_wait(dsn: str) -> None:
    """One that was cancelled, or has waited in vain, does not wait any more."""
    async with AsyncConnectionPool(dsn, min_size=1, max_waiting=1, timeout=PATIENCE) as pool:
        async with pool.connection(), anyio.create_task_group() as group:
            for _ in range(2):
                with pytest.raises(PoolTimeout):
                    await pool.getconn(timeout=0)
            group.start_soon(pool.getconn)
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(TooManyRequests, match="has 1 requests waiting already"):
                await pool.getconn()
            group.cancel_scope.cancel()
        assert pool.get_stats()["requests_waiting"] == 0
        async with pool.connection(), anyio.create_task_group() as group:
            group.start_soon(pool.getconn)
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()
        assert pool.get_stats()["pool_available"] == 1


async def test_a_connection_that_was_dropped(pool: AsyncConnectionPool, caplog: pytest.LogCaptureFixture) -> None:
    conns = [await pool.getconn() for _ in range(2)]
    dropped = conns[0].info.backend_pid
    with pytest.warns(ResourceWarning) as warned:
        del conns[0]
        gc.collect()
    with anyio.fail_after(PATIENCE):
        conns.append(await pool.getconn())
    assert conns[1].info.backend_pid != dropped
    assert "was dropped and not returned" in caplog.text
    assert any("a connection of the pool 'pool-" in str(warning.message) for warning in warned)
    assert pool.get_stats()["connections_lost"] == 1
    for conn in conns:
        await pool.putconn(conn)


async def test_a_dropped_connection_is_replaced_at_once(dsn: str) -> None:
    """By the pool's own task, as there is nobody else who would."""
    gate = Gate(dsn)
    async with gate.pool(min_size=1) as pool:
        with pytest.warns(ResourceWarning):
            await pool.getconn()
            gc.collect()
        await until(lambda: gate.attempts == 2 and pool.get_stats()["pool_available"] == 1)


# -- arguments


@pytest.mark.parametrize("is_async", [True, False])
async def test_conninfo_and_kwargs_as_functions(dsn: str, is_async: bool) -> None:
    """They are called for each connection, as a password may be another one by then."""
    names = iter(["first", "second"])

    def kwargs() -> dict[str, Any]:
        return {"application_name": next(names), "row_factory": dict_row}

    async def conninfo_later() -> str:
        await anyio.lowlevel.checkpoint()
        return dsn

    async def kwargs_later() -> dict[str, Any]:
        await anyio.lowlevel.checkpoint()
        return kwargs()

    given = (conninfo_later, kwargs_later) if is_async else (lambda: dsn, kwargs)
    kind = AsyncConnection[Any]
    async with AsyncConnectionPool(given[0], connection_class=kind, kwargs=given[1], min_size=1) as pool:
        for expected in ("first", "second"):
            async with pool.connection() as conn:
                cur = await conn.execute("SELECT current_setting('application_name') AS name")
                assert await cur.fetchone() == {"name": expected}
                await conn.close()
            if expected == "second":
                break


class Mine(AsyncConnection[Any]):
    """A class of the user's."""


@pytest.mark.parametrize("is_async", [True, False])
async def test_configure_check_and_reset(dsn: str, is_async: bool) -> None:
    called = []

    def callback(what: str) -> Any:
        def call(conn: Mine) -> None:
            assert type(conn) is Mine
            called.append(what)

        async def call_async(conn: Mine) -> None:
            await conn.execute("SELECT 1")
            await conn.rollback()
            call(conn)

        return call_async if is_async else call

    names = ("configure", "check", "reset")
    async with AsyncConnectionPool(
        dsn, min_size=1, connection_class=Mine, **{name: callback(name) for name in names}
    ) as pool:
        for _ in range(2):
            async with pool.connection() as conn:
                assert type(conn) is Mine
    assert called == ["configure", "check", "reset", "check", "reset"]


async def test_a_class_with_its_rows(dsn: str) -> None:
    """As a type checker is told of them."""
    kwargs = {"row_factory": dict_row}
    pool = AsyncConnectionPool(dsn, connection_class=AsyncConnection[DictRow], min_size=1, kwargs=kwargs)
    async with pool, pool.connection() as conn:
        row = await (await conn.execute("SELECT 1 AS n")).fetchone()
        assert row is not None
        assert row["n"] == 1
        assert type(conn) is AsyncConnection


# -- at any time


async def test_resize(dsn: str, conn: AsyncConnection) -> None:
    async with AsyncConnectionPool(dsn, min_size=1, kwargs={"application_name": NAME}) as pool:
        await pool.resize(3)
        await pool.wait()
        assert (pool.min_size, pool.max_size, pool.get_stats()["pool_size"]) == (3, 3, 3)
        mine = await pool.getconn()
        await pool.resize(0, 1)
        assert pool.get_stats()["pool_size"] == 1
        await pool.putconn(mine)
        assert pool.get_stats()["pool_available"] == 1
        with pytest.raises(ValueError, match="max_size"):
            await pool.resize(2, 1)


async def test_drain(pool: AsyncConnectionPool) -> None:
    async with pool.connection() as one:
        async with pool.connection() as two:
            pass
        await pool.drain()
        assert two.closed
    assert one.closed
    assert pool.get_stats()["pool_size"] == 0
    assert await pid_of(pool)


async def test_checking_all(pool: AsyncConnectionPool, dsn: str) -> None:
    async with pool.connection() as one, pool.connection() as two:
        pids = one.info.backend_pid, two.info.backend_pid
    await pool.check()
    assert pool.get_stats()["pool_available"] == 2
    await kill(dsn, pids[0])
    await pool.check()
    stats = pool.get_stats()
    assert (stats["pool_available"], stats["connections_lost"]) == (1, 1)
    assert await pid_of(pool) == pids[1]


async def test_check_connection(pool: AsyncConnectionPool, dsn: str) -> None:
    async with pool.connection() as conn:
        await AsyncConnectionPool.check_connection(conn)
        assert conn.info.transaction_status.name == "IDLE"
        await kill(dsn, conn.info.backend_pid)
        with pytest.raises(e.OperationalError):
            await AsyncConnectionPool.check_connection(conn)


async def test_statistics(pool: AsyncConnectionPool) -> None:
    async with pool.connection():
        assert pool.get_stats()["pool_size"] == 1
        with suppress(PoolTimeout):
            async with pool.connection():
                await pool.getconn(timeout=0)
    stats = pool.pop_stats()
    assert {name: value for name, value in stats.items() if "ms" not in name} == {
        "pool_min": 0,
        "pool_max": 2,
        "pool_size": 2,
        "pool_available": 2,
        "requests_waiting": 0,
        "requests_num": 3,
        "requests_queued": 3,
        "requests_errors": 1,
        "returns_bad": 0,
        "connections_num": 2,
        "connections_errors": 0,
        "connections_lost": 0,
        "statements_num": 0,
        "statements_alone": 0,
        "statements_repeated": 0,
        "statements_waiting": 0,
        "statements_running": 0,
        "statements_connections": 0,
    }
    assert pool.get_stats()["requests_num"] == 0


# -- one that keeps none


async def test_a_null_pool(dsn: str, conn: AsyncConnection, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    kwargs = {"application_name": NAME}
    async with AsyncNullConnectionPool(dsn, max_size=1, kwargs=kwargs, timeout=PATIENCE) as pool:
        assert (pool.min_size, pool.max_size) == (0, 1)
        await pool.wait()
        first = await pool.getconn()
        second: list[AsyncConnection] = []

        async def ask() -> None:
            second.append(await pool.getconn())

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            await pool.putconn(first)
        assert second == [first], "who waits gets it"
        await pool.putconn(first)
        assert first.closed
        assert pool.get_stats()["pool_size"] == 0
        with anyio.fail_after(PATIENCE):
            while await sessions(conn, NAME):
                await conn.rollback()
        assert await pid_of(pool)
        with pytest.raises(ValueError, match="a null pool keeps no connections"):
            await pool.resize(1)
    assert not caplog.records


# -- arguments of no use


@pytest.mark.parametrize("wrong", ["x", [], int, object()], ids=["str", "list", "class", "object"])
async def test_times_that_are_none(pool: AsyncConnectionPool, wrong: Any) -> None:
    """They are refused whether there is a connection or not."""
    message = "timeout must be a number of seconds, or None, not"
    for _ in range(2):
        with pytest.raises(TypeError, match=message):
            await pool.getconn(wrong)
        with pytest.raises(TypeError, match=message):
            async with pool.connection(wrong):
                raise AssertionError
        with pytest.raises(TypeError, match=message):
            async with pool.transaction(timeout=wrong):
                raise AssertionError
        with pytest.raises(TypeError, match=message):
            await pool.wait(wrong)
        async with pool.connection():
            pass
    with pytest.raises(ValueError, match="timeout must be a number of seconds, not nan"):
        await pool.getconn(float("nan"))


async def test_a_statement_that_has_to_wait_for_a_time_that_is_none(dsn: str) -> None:
    async with AsyncConnectionPool(dsn, min_size=0, max_size=1) as pool:
        with pytest.raises(TypeError, match="timeout must be a number of seconds, or None, not 'x'"):
            await pool.execute("SELECT 1", timeout="x")  # type: ignore[arg-type]
        assert await (await pool.execute("SELECT 1")).fetchone() == (1,)
