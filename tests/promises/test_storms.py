"""Promise 2, at random: tasks that are cancelled at any moment leave a connection that is right for all others.

Whatever one of them is given is what it has asked for. What is cancelled at each point in turn is in test_cancellation.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable
from typing import Any

import anyio
import pytest

from anyq import AsyncConnection, TransactionStatus
from anyq import errors as e
from tests.support.activity import SCALE
from tests.support.cancelled import (
    PATIENCE,
    WORK,
    at_work,
    check_ready,
    connected,
    observer,
    until_none_is_left,
)
from tests.support.sockets import open_sockets
from tests.support.stepping import CancelAt

__all__ = ["observer"]

pytestmark = pytest.mark.anyio


async def echo(conn: AsyncConnection, chance: random.Random) -> None:
    text = f"{chance.random()}"
    cursor = await conn.execute("SELECT %s::text", [text])
    assert await cursor.fetchall() == [(text,)]


async def series(conn: AsyncConnection, chance: random.Random) -> None:
    start, count = chance.randrange(10**6), chance.choice([0, 1, 10, 2000])
    cursor = await conn.execute(f"SELECT generate_series({start}, {start} + {count} - 1)".encode())
    assert await cursor.fetchall() == [(start + i,) for i in range(count)]


async def work(conn: AsyncConnection, chance: random.Random) -> None:
    count = chance.choice([1, 10, 100]) * chance.randrange(1000)
    cursor = await conn.execute(WORK, [count])
    assert await cursor.fetchall() == [(count,)]


async def wrong(conn: AsyncConnection, chance: random.Random) -> None:
    name = f"nosuch{chance.randrange(10**6)}"
    with pytest.raises(e.UndefinedTable, match=name):
        await conn.execute(f"SELECT * FROM {name}".encode())


async def large(conn: AsyncConnection, chance: random.Random) -> None:
    size = chance.randrange(400_000)
    letter = chance.choice("abc")
    cursor = await conn.execute("SELECT repeat(%s, %s), length(%s)", [letter, size, "x" * size])
    assert await cursor.fetchall() == [(letter * size, size)]


async def streamed(conn: AsyncConnection, chance: random.Random) -> None:
    start, stop = chance.randrange(10**6), chance.randrange(1, 100)
    seen = 0
    try:
        async with conn.cursor().stream(f"SELECT generate_series({start}, {start + 5000})".encode()) as rows:
            async for row in rows:
                assert row == (start + seen,)
                seen += 1
                if seen == stop:
                    break
    except e.QueryCanceled:
        # Hit by a CancelRequest for the query before it that came too late: it cannot begin again any more.
        assert seen
        return
    assert seen == stop


async def pipelined(conn: AsyncConnection, chance: random.Random) -> None:
    numbers = [chance.randrange(10**6) for _ in range(chance.randrange(1, 20))]
    async with conn.pipeline() as pipeline:
        cursors = [await conn.execute("SELECT %s::int", [number]) for number in numbers]
        if chance.random() < 0.3:
            await conn.execute(WORK, [chance.randrange(100_000)])
            await pipeline.sync()
        chosen = chance.randrange(len(numbers))
        assert await cursors[chosen].fetchone() == (numbers[chosen],)
        failing = await conn.execute("SELECT 1 / 0")
        last = await conn.execute("SELECT 1")
        with pytest.raises(e.PipelineAborted):
            await last.fetchone()
        with pytest.raises(e.DivisionByZero):
            await failing.fetchone()
    assert [await cursor.fetchall() for cursor in cursors] == [
        [] if i == chosen else [(number,)] for i, number in enumerate(numbers)
    ]


async def by_name(conn: AsyncConnection, chance: random.Random) -> None:
    start, count = chance.randrange(10**6), chance.choice([0, 1, 99, 100, 250])
    async with conn.cursor(f"c{chance.randrange(10**9)}", withhold=True) as cursor:
        await cursor.execute("SELECT generate_series(%s, %s::int)", [start, start + count - 1])
        rows = []
        try:
            async for row in cursor:
                rows.append(row)
        except e.QueryCanceled:
            # As a stream: what the server had given before is given.
            count = len(rows)
        assert rows == [(start + i,) for i in range(count)]


async def copied(conn: AsyncConnection, chance: random.Random) -> None:
    start, count = chance.randrange(1000), chance.choice([0, 1, 30, 3000])
    cursor = conn.cursor()
    rows = []
    try:
        if chance.random() < 0.5:
            text = f"COPY (SELECT generate_series({start}, {start + count - 1})) TO STDOUT"
            async with cursor.copy(text.encode()) as copy:
                async for row in copy.rows():
                    rows.append(row)
        else:
            async with cursor.copy("COPY t FROM STDIN") as copy:
                for i in range(count):
                    row = (str(start + i),)
                    await copy.write_row(row)
                    rows.append(row)
        assert cursor.rowcount == count
    except e.QueryCanceled:
        # It was hit by the CancelRequest for another one, and its data is not there to be sent again.
        count = len(rows)
    assert rows == [(str(start + i),) for i in range(count)]


MIXTURE = [
    echo,
    echo,
    echo,
    series,
    series,
    work,
    wrong,
    large,
    streamed,
    by_name,
    pipelined,
    pipelined,
    copied,
    copied,
]


class Storm:
    """Operations of many tasks that are cancelled at random moments: by progress, not by a clock.

    One is cancelled before it has begun, another at one of its waits, a third whenever the operation of another task
    has come to its end.
    """

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._running: list[anyio.CancelScope] = []
        self.done = self.cancelled = 0

    async def run(self, operation: Awaitable[Any]) -> None:
        """Run an operation of one of the tasks, which may be cancelled; return in either case."""
        with anyio.CancelScope() as scope:
            self._running.append(scope)
            if self._chance.random() < 0.1:
                scope.cancel()
            # 0: at none of them.
            await CancelAt(operation, self._chance.choice([0, 0, 0, 0, 0, 0, 1, 2, 3, 5, 8]), scope.cancel)
        self._running.remove(scope)
        if scope.cancelled_caught:
            self.cancelled += 1
        else:
            self.done += 1
        if self._running and self._chance.random() < 0.3:
            self._chance.choice(self._running).cancel()


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_storm_on_one_connection(seed: int, dsn: str, observer: AsyncConnection) -> None:
    """Tasks that are cancelled at random, and what they are given is what they asked for."""
    storm = Storm(seed)

    async def client(number: int) -> None:
        chance = random.Random(seed * 1000 + number)
        for _ in range(20 * SCALE):
            await storm.run(chance.choice(MIXTURE)(conn, chance))

    async with connected(dsn, autocommit=True) as conn:
        before = open_sockets()
        with anyio.fail_after(2 * PATIENCE * SCALE):
            async with anyio.create_task_group() as group:
                for number in range(50):
                    group.start_soon(client, number)
        assert open_sockets() == before
        assert await at_work(observer) == 0
        await check_ready(conn, 5)
    assert storm.done > 200 * SCALE
    assert storm.cancelled > 200 * SCALE


async def test_neighbours_of_cancelled_tasks_notice_nothing(dsn: str, observer: AsyncConnection) -> None:
    """By whichever signals of a CancelRequest they are hit. ANYQ_TEST_SCALE=10 for 2000 neighbours of 500 tasks.

    They sleep, as that is how a server's process is hit twice: the first signal wakes it, and it goes on to the next
    statement before the second one is sent. Others are cancelled by another session's progress.
    """
    short = "SELECT pg_sleep(0.001)"
    chance = random.Random(9)
    cancelled = 0

    async def neighbour(conn: AsyncConnection) -> None:
        cursor = await conn.execute(short)
        assert await cursor.fetchall() == [("",)]

    async def many_sets(conn: AsyncConnection) -> None:
        cursor = conn.cursor()
        await cursor.executemany(short + " WHERE %s", [(True,), (True,)])
        assert cursor.rowcount == 2

    async def stream(conn: AsyncConnection) -> None:
        assert [row async for row in conn.cursor().stream(short)] == [("",)]

    async def doomed(conn: AsyncConnection, scope: anyio.CancelScope) -> None:
        nonlocal cancelled
        with scope:
            await conn.execute(short)
        cancelled += scope.cancelled_caught

    async with connected(dsn, autocommit=True) as conn:
        with anyio.fail_after(2 * PATIENCE * SCALE):
            for _ in range(50 * SCALE):
                async with anyio.create_task_group() as group:
                    scope = anyio.CancelScope()
                    group.start_soon(doomed, conn, scope)
                    for _ in range(4):
                        group.start_soon(chance.choice([neighbour, neighbour, many_sets, stream]), conn)
                    await observer.execute(WORK, [chance.randrange(10_000)])
                    scope.cancel()
        await check_ready(conn, 5)
    assert cancelled > 10 * SCALE


async def test_a_storm_of_transactions(dsn: str, schema: str, observer: AsyncConnection) -> None:
    """What is moved from one row to another is neither lost nor doubled."""
    table = f"{schema}.accounts"
    await observer.execute(f"CREATE TABLE {table} AS SELECT id, 100 AS money FROM generate_series(0, 9) AS id".encode())
    storm = Storm(0)

    async def move(conn: AsyncConnection, chance: random.Random) -> None:
        async with conn.transaction():
            # One after the other in the same order, so that nobody waits in a circle.
            first, second = sorted(chance.sample(range(10), 2))
            async with conn.cursor("pair") as cursor:
                await cursor.execute(f"SELECT id FROM {table} WHERE id IN (%s, %s)".encode(), [first, second])
                assert sorted([one async for (one,) in cursor]) == [first, second]
            change = f"UPDATE {table} SET money = money + %s WHERE id = %s".encode()
            await conn.execute(change, [-1, first])
            await conn.execute(change, [1, second])

    async def client(number: int) -> None:
        chance = random.Random(number)
        async with connected(dsn, autocommit=number % 2 == 0) as conn:
            for _ in range(25 * SCALE):
                await storm.run(move(conn, chance))
                assert conn.info.transaction_status is TransactionStatus.IDLE
                assert conn.session.transactions.blocks == []

    with anyio.fail_after(2 * PATIENCE * SCALE):
        async with anyio.create_task_group() as group:
            for number in range(8):
                group.start_soon(client, number)
    cursor = await observer.execute(f"SELECT sum(money) FROM {table}".encode())
    assert await cursor.fetchall() == [(1000,)]
    assert storm.done > 20 * SCALE
    assert storm.cancelled > 20 * SCALE
    await until_none_is_left(observer)
