"""The tasks of a pool: those that are there, when they work, and that they end with the block that they belong to."""

from __future__ import annotations

from typing import Any

import anyio
import anyio.lowlevel
import pytest

from anyq.pool import AsyncConnectionPool, PoolClosed, PoolTimeout, engine
from anyq.pool.bookkeeping import Todo
from tests.support.activity import PATIENCE
from tests.support.pools import Gate, opened, pid_of, until
from tests.support.stepping import cancel_at_each_wait

pytestmark = pytest.mark.anyio


async def test_what_has_expired_is_replaced(dsn: str) -> None:
    async with AsyncConnectionPool(dsn, min_size=2, max_lifetime=0.02) as pool:
        await until(lambda: pool.get_stats()["connections_num"] > 6)
        await pool.wait()
        assert pool.get_stats()["pool_size"] == 2


async def test_what_nobody_uses_is_closed(dsn: str) -> None:
    async with AsyncConnectionPool(dsn, min_size=1, max_size=3, max_idle=0.02) as pool:
        async with pool.connection(), pool.connection(), pool.connection():
            assert pool.get_stats()["pool_size"] == 3
        await until(lambda: pool.get_stats()["pool_size"] == 1)


async def test_an_earlier_time_wakes_the_keeper(dsn: str) -> None:
    """It sleeps until a time; what is put back may be due before."""
    async with AsyncConnectionPool(dsn, min_size=0, max_size=1, max_idle=0.02) as pool:
        await anyio.wait_all_tasks_blocked()
        await pid_of(pool)
        await until(lambda: pool.get_stats()["pool_size"] == 0)


async def test_the_keeper_does_not_go_round_in_circles(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even if what was due is with a client, and nothing else is there."""
    settled = 0
    pool = AsyncConnectionPool(dsn, min_size=0, max_size=1, max_idle=0.01)
    settle = pool.books.settle

    def counted(now: float) -> Todo | None:
        nonlocal settled
        settled += 1
        return settle(now)

    monkeypatch.setattr(pool.books, "settle", counted)
    async with pool:
        await pid_of(pool)
        conn = await pool.getconn()
        with anyio.fail_after(PATIENCE):
            while pool.books.due < float("inf"):
                await anyio.lowlevel.checkpoint()
        before = settled
        for _ in range(20):
            await anyio.lowlevel.checkpoint()
        assert settled <= before + 2
        await pool.putconn(conn)


async def test_without_a_block_it_is_closed_with_the_next_return(dsn: str) -> None:
    async with opened(AsyncConnectionPool(dsn, min_size=0, max_size=3), block=False) as pool:
        async with pool.connection(), pool.connection():
            pass
        for place in pool.books.idle:
            place.idle_since -= 3600
        pool.books.due -= 3600
        assert pool.get_stats()["pool_size"] == 2
        async with pool.connection():
            pass
        assert pool.get_stats()["pool_size"] == 1


@pytest.mark.parametrize("block", [True, False], ids=["block", "open"])
async def test_who_waits_is_told_of_the_end(dsn: str, block: bool) -> None:
    gate = Gate(dsn)
    told = 0
    async with anyio.create_task_group() as group, opened(gate.pool(), block=block) as pool:
        held = await pool.getconn()

        async def client() -> None:
            nonlocal told
            with pytest.raises(PoolClosed):
                await pool.getconn()
            told += 1

        async def waits_for_all() -> None:
            nonlocal told
            with pytest.raises(PoolClosed):
                await pool.wait()
            told += 1

        await pool.resize(2, 2)
        gate.shut()
        for _ in range(3):
            group.start_soon(client)
        group.start_soon(waits_for_all)
        await until(lambda: pool.get_stats()["requests_waiting"] == 3 and pool.engine._watchers)
    assert told == 4
    assert not held.closed
    await pool.putconn(held)
    assert held.closed


@pytest.mark.parametrize("natively", [False, True])
async def test_each_wait_of_a_block_cancelled(dsn: str, natively: bool, anyio_backend_name: str) -> None:
    """Entering it, waiting in it and leaving it: no task is left, and no connection."""
    if natively and anyio_backend_name != "asyncio":
        pytest.skip("trio has cancel scopes only")
    pool: Any = None

    async def block() -> None:
        nonlocal pool
        pool = AsyncConnectionPool(dsn, min_size=2, timeout=PATIENCE)
        async with pool:
            await pool.wait()
            await pid_of(pool)

    async def check() -> None:
        await until(lambda: pool.get_stats()["pool_size"] == 0)
        assert pool.closed
        assert not pool.engine._scopes

    await cancel_at_each_wait(block, check, natively=natively)


@pytest.mark.parametrize("natively", [False, True])
async def test_each_wait_without_a_block_cancelled(dsn: str, natively: bool, anyio_backend_name: str) -> None:
    if natively and anyio_backend_name != "asyncio":
        pytest.skip("trio has cancel scopes only")
    pool = AsyncConnectionPool(dsn, min_size=2, timeout=PATIENCE)

    async def use() -> None:
        await pool.open(wait=True)
        await pool.drain()
        await pool.resize(2)
        await pid_of(pool)

    async def check() -> None:
        await until(lambda: not pool.engine._scopes)
        stats = pool.get_stats()
        assert stats["pool_size"] == stats["pool_available"]
        assert stats["requests_waiting"] == 0
        assert await pid_of(pool)

    await cancel_at_each_wait(use, check, natively=natively)
    await pool.close()


@pytest.mark.parametrize("block", [True, False], ids=["block", "open"])
async def test_the_time_of_each_is_over_by_itself(dsn: str, block: bool) -> None:
    """In whichever order they have come; who has time left goes on waiting, and is served."""
    got = []
    async with opened(AsyncConnectionPool(dsn, min_size=1, timeout=PATIENCE), block=block) as pool:
        held = await pool.getconn()

        async def client(seconds: float) -> None:
            try:
                async with pool.connection(seconds):
                    got.append(seconds)
            except PoolTimeout:
                got.append(-seconds)

        async with anyio.create_task_group() as group:
            for seconds in (PATIENCE, 0.03, 0.01, 0.02, 1e9, 0):
                group.start_soon(client, seconds)
            await until(lambda: len(got) == 4)
            assert pool.get_stats()["requests_waiting"] == 2
            await pool.putconn(held)
        assert sorted(got) == [-0.03, -0.02, -0.01, 0, PATIENCE, 1e9]


async def test_many_times_that_are_over_at_about_the_same_time(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The keeper goes through those who wait a few times, and not once for each of them."""
    passed = 0
    pool = AsyncConnectionPool(dsn, min_size=1, timeout=PATIENCE)
    expire = pool.books.expire

    def counted(now: float) -> None:
        nonlocal passed
        passed += now >= pool.books.first_deadline
        expire(now)

    monkeypatch.setattr(pool.books, "expire", counted)
    monkeypatch.setattr(engine, "GRAIN", 0.2)
    late = 0
    async with pool, pool.connection():

        async def client(number: int) -> None:
            nonlocal late
            with pytest.raises(PoolTimeout):
                await pool.getconn(0.02 + number * 1e-5)
            late += 1

        async with anyio.create_task_group() as group:
            for number in range(1000):
                group.start_soon(client, number)
        assert late == 1000
        assert passed < 100


@pytest.mark.parametrize("seconds", [0.05, PATIENCE])
async def test_who_waits_sees_to_the_time_where_the_block_is_cancelled(dsn: str, seconds: float) -> None:
    got: list[object] = []
    with anyio.CancelScope() as scope:
        async with AsyncConnectionPool(dsn, min_size=1, timeout=PATIENCE) as pool:
            with anyio.CancelScope(shield=True):
                held = await pool.getconn()

                async def client() -> None:
                    try:
                        got.append(await pool.getconn(seconds))
                    except PoolTimeout as error:
                        got.append(error)

                async with anyio.create_task_group() as group:
                    group.start_soon(client)
                    await until(lambda: pool.get_stats()["requests_waiting"] == 1 and pool.engine._keeper)
                    scope.cancel()
                    await until(lambda: not pool.engine.keeps_time)
                    if seconds == PATIENCE:
                        await pool.putconn(held)
                assert got[0] is held if seconds == PATIENCE else isinstance(got[0], PoolTimeout)
                await pool.putconn(held)


async def test_a_client_takes_over_from_a_block_that_is_cancelled(dsn: str) -> None:
    """A client that waits already opens what it needs by itself, if the pool's tasks cannot any more."""
    gate = Gate(dsn)
    gate.shut()
    pids = []
    with anyio.CancelScope() as scope:
        async with gate.pool() as pool:
            with anyio.CancelScope(shield=True):
                async with anyio.create_task_group() as group:

                    async def client() -> None:
                        pids.append(await pid_of(pool))

                    group.start_soon(client)
                    await until(lambda: gate.under_way)
                    scope.cancel()
                    await until(lambda: gate.attempts == 2)
                    gate.open()
    assert len(pids) == 1


async def test_a_pool_that_is_closed_in_its_block_opens_nothing_more(dsn: str) -> None:
    gate = Gate(dsn)
    gate.shut()
    async with gate.pool(min_size=1) as pool:
        await until(lambda: gate.under_way)
        await pool.close()
        await until(lambda: not gate.under_way)
        assert pool.get_stats()["pool_size"] == 0
