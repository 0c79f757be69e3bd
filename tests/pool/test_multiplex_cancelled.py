"""Statements of a pool, each of their waits cancelled: no line, turn or place is left, and nobody else is hurt."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
import pytest

from anyq import AsyncConnection
from anyq.errors import AdminShutdown
from anyq.pool import AsyncConnectionPool, multiplex
from tests.support.activity import PATIENCE
from tests.support.pools import opened, until
from tests.support.stepping import MANY, cancelled_at

NEVER = 1e9
"""Seconds after which a statement holds up others, where none is to."""

SETTING = """SELECT "set_config"('work_mem', '1234kB', false)"""
"""It is not refused, as a function of the user's is not that does the same; and it is noticed, as that is not."""

Execute = Callable[[], Awaitable[object]]


@pytest.fixture
def natively(anyio_backend: tuple[str, dict[str, Any]]) -> bool:
    """Each way to cancel on one of asyncio's two loops; trio has cancel scopes only."""
    name, options = anyio_backend
    return name == "asyncio" and not options["use_uvloop"]


async def look(conn: AsyncConnection) -> None:
    """A check that waits, and leaves a transaction."""
    await conn.execute("SELECT 1")


class Failing:
    """A check that every other connection does not pass."""

    def __init__(self) -> None:
        self.count = 0

    async def __call__(self, conn: AsyncConnection) -> None:
        self.count += 1
        await look(conn)
        if self.count % 2:
            raise ValueError


class Neighbours:
    """Statements of others, none of which is cancelled."""

    def __init__(self, pool: AsyncConnectionPool, group: Any) -> None:
        self._pool = pool
        self._group = group
        self.sent = 0
        self.got: list[int] = []

    async def _execute(self, number: int) -> None:
        cursor = await self._pool.execute("SELECT %s::int4", [number])
        self.got += [value async for (value,) in cursor]

    def start(self) -> None:
        self._group.start_soon(self._execute, self.sent)
        self.sent += 1


# What there is when a statement is executed, and what becomes of the connections meanwhile.


@asynccontextmanager
async def alone_there(pool: AsyncConnectionPool, neighbours: Neighbours) -> AsyncIterator[None]:
    yield


@asynccontextmanager
async def amid_others(pool: AsyncConnectionPool, neighbours: Neighbours) -> AsyncIterator[None]:
    """One before and one behind, on the same line or, where a line has room for one, in the queue."""
    neighbours.start()
    await until(lambda: pool.multiplexer.running() or neighbours.got)
    neighbours.start()
    yield


@asynccontextmanager
async def before_others(pool: AsyncConnectionPool, neighbours: Neighbours) -> AsyncIterator[None]:
    neighbours.start()
    neighbours.start()
    yield


@asynccontextmanager
async def behind_a_client(pool: AsyncConnectionPool, neighbours: Neighbours) -> AsyncIterator[None]:
    """All connections are with clients, who give them back while it waits; another statement waits behind it."""
    held = [await pool.getconn() for _ in range(pool.max_size)]

    async def give_back() -> None:
        await until(lambda: pool.get_stats()["requests_waiting"])
        neighbours.start()
        for conn in held:
            await pool.putconn(conn)

    async with anyio.create_task_group() as group:
        group.start_soon(give_back)
        yield
        # If it was cancelled before it waited.
        neighbours.start()


@asynccontextmanager
async def behind_one_that_kills(pool: AsyncConnectionPool, neighbours: Neighbours) -> AsyncIterator[None]:
    """The line is lost by the statement before it, so that it is sent again; so is the one behind."""

    killed = False

    async def kill() -> None:
        nonlocal killed
        with pytest.raises(AdminShutdown):
            await pool.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        killed = True

    async with anyio.create_task_group() as group:
        group.start_soon(kill)
        await until(lambda: pool.multiplexer.running() or killed)
        neighbours.start()
        yield


async def cancel_at_each_wait(
    pool: AsyncConnectionPool,
    execute: Execute,
    situation: Callable[[AsyncConnectionPool, Neighbours], Any],
    *,
    natively: bool,
    anew: bool = False,
) -> int:
    """Cancel a statement at its first wait, its second, and so on; return how often.

    :param anew: whether the pool has no connection each time.
    """
    for wait in range(1, MANY):
        if anew:
            await pool.drain()
            assert pool.books.size == 0
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as group:
                neighbours = Neighbours(pool, group)
                async with situation(pool, neighbours):
                    cancelled = await cancelled_at(wait, execute, natively=natively)  # type: ignore[arg-type]
            assert sorted(neighbours.got) == list(range(neighbours.sent))
            await check_nothing_left(pool)
        if not cancelled:
            return wait - 1
    raise AssertionError(f"it has waited {MANY} times, and is not at its end")


async def check_nothing_left(pool: AsyncConnectionPool) -> None:
    books, multiplexer = pool.books, pool.multiplexer
    # Openers and what is cleaned come to their end by themselves.
    await until(lambda: not (books.opening or books.busy))
    assert (multiplexer._lines, multiplexer.waiting) == ([], 0)
    assert (multiplexer._alone_running, multiplexer._alone_waiting) == (0, 0)
    assert (len(books.waiting), len(books.out)) == (0, 0)
    assert len(books.idle) == books.size <= books.max_size
    sessions = [pool.hooks.inner(place.connection).session for place in books.idle]
    assert not any(session.transactions.autocommit for session in sessions)
    assert await (await pool.execute("SHOW work_mem")).fetchone() == ("4MB",)
    async with pool.connection() as conn:
        assert await (await conn.execute("SHOW work_mem")).fetchone() == ("4MB",)
    assert len(books.idle) == books.size


SITUATIONS: dict[str, tuple[Any, dict[str, Any]]] = {
    "at once": (alone_there, {}),
    "head": (before_others, {}),
    "between": (amid_others, {}),
    "queue": (amid_others, {"depth": 1}),
    "first of the queue": (before_others, {"depth": 1}),
    "client": (behind_a_client, {}),
    "check": (before_others, {"check": look}),
    "failing check": (before_others, {"check": Failing(), "max_size": 2}),
    "lost line": (behind_one_that_kills, {"max_size": 2}),
    "cleaned": (before_others, {"text": SETTING}),
    "reset": (before_others, {"reset": AsyncConnection.rollback}),
    "slow": (before_others, {"slow": True, "max_size": 2}),
    "slow, client": (behind_a_client, {"slow": True}),
    "slow, cleaned": (before_others, {"slow": True, "text": SETTING}),
    "few": (amid_others, {"many": 3}),
    "few in the queue": (amid_others, {"many": 3, "depth": 1}),
    "many": (before_others, {"many": 3000, "max_size": 2}),
    "many, client": (behind_a_client, {"many": 3000}),
}


@pytest.mark.anyio
@pytest.mark.parametrize("kind", SITUATIONS)
async def test_each_wait_cancelled(kind: str, dsn: str, natively: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    situation, options = SITUATIONS[kind]
    await run_each(dsn, situation, monkeypatch, natively=natively, **options)


@pytest.mark.anyio
@pytest.mark.parametrize("block", [True, False], ids=["block", "open"])
@pytest.mark.parametrize("kind", ["at once", "first of the queue", "check", "slow", "slow, others"])
async def test_each_wait_cancelled_with_a_connection_to_open(
    kind: str, block: bool, dsn: str, natively: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a block the attempt is the cancelled one's own, and others begin another."""
    options: dict[str, Any] = {"slow": kind.startswith("slow"), "check": look if kind == "check" else None}
    situation = alone_there if kind in ("at once", "slow") else before_others
    await run_each(dsn, situation, monkeypatch, natively=natively, block=block, anew=True, **options)


async def run_each(
    dsn: str,
    situation: Any,
    monkeypatch: pytest.MonkeyPatch,
    *,
    natively: bool,
    text: str = "SELECT 1 AS ours",
    depth: int = 32,
    slow: bool = False,
    block: bool = True,
    anew: bool = False,
    max_size: int = 1,
    many: int = 0,
    **options: Any,
) -> None:
    monkeypatch.setattr(multiplex, "SLOW", NEVER)
    monkeypatch.setattr(multiplex, "DEPTH", depth)
    monkeypatch.setattr(multiplex, "FIRST_PAUSE", 0.0)
    monkeypatch.setattr("anyq.pool.lending.FIRST_PAUSE", 0.0)
    sets = {"grace_period": PATIENCE}
    pool = AsyncConnectionPool(dsn, min_size=0, max_size=max_size, timeout=PATIENCE, kwargs=sets, **options)
    async with opened(pool, block=block):
        await pool.execute("SELECT 1")
        opened_before = pool.get_stats()["connections_num"]
        if slow:
            pool.multiplexer._durations[text] = 1e3 * NEVER
        execute = partial(pool.executemany, "SELECT %s::int4", [[1]] * many) if many else partial(pool.execute, text)
        times = await cancel_at_each_wait(pool, execute, situation, natively=natively, anew=anew)
        if max_size == 1 and not anew:
            assert pool.get_stats()["connections_num"] == opened_before, "a cancellation has cost a connection"
    assert times


@pytest.mark.anyio
async def test_cancelled_in_the_tick_of_the_hand_over(
    dsn: str, natively: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was given room on a line at the same moment: that goes to the next one."""
    monkeypatch.setattr(multiplex, "SLOW", NEVER)
    monkeypatch.setattr(multiplex, "DEPTH", 1)
    ended: list[int] = []
    async with AsyncConnectionPool(dsn, min_size=1, max_size=1, timeout=PATIENCE) as pool:
        scope = anyio.CancelScope()
        cancels: list[Callable[[], object]] = []

        async def first() -> None:
            await pool.execute("SELECT 0")
            # Its place on the line is the second one's, which has not run since.
            assert [line.running for line in pool.multiplexer._lines] == [1]
            assert pool.multiplexer.waiting == 1
            cancels[0]()
            ended.append(0)

        async def second() -> None:
            if natively:
                task = asyncio.ensure_future(pool.execute("SELECT 1"))
                cancels.append(task.cancel)
                await asyncio.wait([task])
            else:
                cancels.append(scope.cancel)
                with scope:
                    await pool.execute("SELECT 1")

        async def third() -> None:
            await pool.execute("SELECT 2")
            ended.append(2)

        async with anyio.create_task_group() as group, pool.connection():
            for number, function in enumerate((first, second, third)):
                group.start_soon(function)
                await until(lambda: pool.multiplexer.waiting == number + 1)  # noqa: B023
        await check_nothing_left(pool)
    assert ended == [0, 2]
