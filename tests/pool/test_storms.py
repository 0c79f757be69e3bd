"""Storms: many clients with random time limits on few connections, of which some are killed now and then.

``ANYQ_TEST_SCALE=100`` has 100,000 turns of each; ``-o timeout=0 -rP`` lets it take its time and tells the outcomes.
"""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import anyio
import anyio.lowlevel
import pytest

import anyq
from anyq import AsyncConnection
from anyq import errors as e
from anyq.pool import AsyncConnectionPool, ConnectionPool, multiplex
from tests.support.activity import PATIENCE
from tests.support.pools import until, wait_until
from tests.support.storms import (
    KILLED_EVERY,
    LEFT_BEHIND,
    NOTHING_LEFT,
    PROCESSES,
    SIZE,
    TASKS,
    THREADS,
    TURNS,
    Hands,
    Queue,
    check_books,
    is_whole,
)
from tests.sync.conftest import Background, portal_backend, way

__all__ = ["portal_backend", "way"]

NAME = "anyq-storm"
KILL = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'anyq-storm' "
    "AND datname = current_database() ORDER BY random() LIMIT 1"
)
KINDS = (*["select"] * 6, "write", "raise", "fail", "set", "sleep", "commit", "leave open")
"""What clients do, by how often they do it."""


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, logger="anyq.pool")


def limit_of(chance: random.Random) -> float:
    """Return seconds: some are too few to get a connection, most are not."""
    return chance.random() * chance.choice([0.01, 0.1, 1.0, PATIENCE])


@pytest.fixture
async def observer(dsn: str) -> AsyncIterator[AsyncConnection]:
    async with AsyncConnection.connect(dsn, autocommit=True) as conn:
        yield conn


async def check_at_the_end(pool: AsyncConnectionPool, observer: AsyncConnection) -> None:
    """The pool has its connections, all of them good, and the server has no other of its processes."""
    await pool.wait(PATIENCE)
    await until(lambda: len(pool.books.idle) == SIZE)
    check_books(pool.books)
    await pool.check()
    await pool.wait(PATIENCE)
    check_books(pool.books)
    with anyio.fail_after(PATIENCE):
        processes: list[Any] = []
        while not is_whole(pool.books, processes, lambda conn: conn.info.backend_pid):
            processes = await (await observer.execute(PROCESSES, [NAME])).fetchall()


# -- connections that are lent


async def use(conn: AsyncConnection, kind: str, number: int, table: str, patience: float) -> None:
    """Do what a client of some kind does."""
    if kind in ("write", "raise", "commit", "leave open"):
        await conn.execute(f"INSERT INTO {table} VALUES (%s)".encode(), [number])
    if kind == "raise":
        raise ZeroDivisionError
    elif kind == "commit":
        await conn.commit()
    elif kind == "fail":
        await conn.execute("SELECT 1 / 0")
    elif kind == "set":
        await conn.execute("SET work_mem TO '1234kB'")
    elif kind == "sleep":
        with anyio.move_on_after(patience / 100):
            await conn.execute("SELECT pg_sleep(60)")
        raise ZeroDivisionError


@asynccontextmanager
async def by_hand(pool: AsyncConnectionPool) -> AsyncIterator[AsyncConnection]:
    """Have a connection as it is had without a block: what is open when it is returned is rolled back."""
    conn = await pool.getconn()
    try:
        yield conn
    finally:
        await pool.putconn(conn)


@pytest.mark.anyio
async def test_connections(
    anyio_backend: object, dsn: str, schema: str, observer: AsyncConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None is lost, in two hands, or given with anything left on it; and who came first is served first."""
    hands, chance, table = Hands(), random.Random(7), f"{schema}.storm"
    await observer.execute(f"CREATE TABLE {table} (number int)".encode())
    kwargs = {"application_name": NAME}
    async with AsyncConnectionPool(dsn, min_size=SIZE, timeout=PATIENCE, kwargs=kwargs) as pool:
        await pool.wait()
        queue = Queue(pool.books, monkeypatch)

        async def client(kind: str) -> str:
            with anyio.move_on_after(limit_of(chance)) as scope:
                async with by_hand(pool) if kind == "leave open" else pool.connection() as conn:
                    number = hands.take_turn()
                    with hands.holding(conn):
                        assert conn.info.transaction_status.name == "IDLE"
                        if number % KILLED_EVERY == 0:
                            await observer.execute(KILL)
                        row = await (await conn.execute(LEFT_BEHIND, [number])).fetchone()
                        assert row is not None
                        assert row[:-1] == (number, *NOTHING_LEFT)
                        with hands.holding(row[-1]):
                            await use(conn, kind, number, table, chance.random())
            return "cancelled" if scope.cancelled_caught else "done"

        async def clients() -> None:
            while hands.turns < TURNS:
                try:
                    outcome = await client(chance.choice(KINDS))
                except e.OperationalError:
                    outcome = "lost"
                except (e.DivisionByZero, ZeroDivisionError):
                    outcome = "failed"
                hands.outcomes[outcome] += 1

        async with anyio.create_task_group() as tasks:
            for _ in range(TASKS):
                tasks.start_soon(clients)
        hands.check_empty()
        await check_at_the_end(pool, observer)
    print(f"{hands.turns} turns: {dict(hands.outcomes)}; {queue.served} times somebody waited")
    assert set(hands.outcomes) == {"done", "cancelled", "lost", "failed"}
    assert queue.served > TURNS / 10


# -- connections that are lent to threads


@contextmanager
def by_hand_in_thread(pool: ConnectionPool) -> Iterator[anyq.Connection]:
    """Have a connection as it is had without a block."""
    conn = pool.getconn()
    try:
        yield conn
    finally:
        pool.putconn(conn)


def use_in_thread(conn: anyq.Connection, kind: str, number: int, table: str) -> None:
    """Do what a client of some kind does."""
    if kind in ("write", "raise", "commit", "leave open"):
        conn.execute(f"INSERT INTO {table} VALUES (%s)".encode(), [number])
    if kind == "raise":
        raise ZeroDivisionError
    elif kind == "commit":
        conn.commit()
    elif kind == "fail":
        conn.execute("SELECT 1 / 0")
    elif kind == "set":
        conn.execute("SET work_mem TO '1234kB'")
    elif kind == "sleep":
        with anyq.sync.timeout(0.001):
            conn.execute("SELECT pg_sleep(60)")


def test_threads(portal_backend: object, dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same with threads."""
    hands = Hands()
    kwargs = {"application_name": NAME}
    with (
        anyq.connect(dsn, autocommit=True) as observer,
        ConnectionPool(dsn, min_size=SIZE, timeout=PATIENCE, kwargs=kwargs) as pool,
    ):
        table = f"storm_{id(pool)}"
        observer.execute(f"CREATE TABLE {table} (number int)".encode())
        pool.wait()
        inner = pool._inner
        queue = Queue(inner.books, monkeypatch)

        def client(kind: str, limit: float) -> None:
            with (
                anyq.sync.timeout(limit),
                by_hand_in_thread(pool) if kind == "leave open" else pool.connection() as conn,
            ):
                number = hands.take_turn()
                with hands.holding(conn):
                    assert conn.info.transaction_status.name == "IDLE"
                    if number % KILLED_EVERY == 0:
                        observer.execute(KILL)
                    row = conn.execute(LEFT_BEHIND, [number]).fetchone()
                    assert row is not None
                    assert row[:-1] == (number, *NOTHING_LEFT)
                    with hands.holding(row[-1]):
                        use_in_thread(conn, kind, number, table)

        def clients(seed: int) -> None:
            chance = random.Random(seed)
            while hands.turns < TURNS:
                outcome = "done"
                try:
                    client(chance.choice(KINDS), limit_of(chance))
                except e.OperationTimeout:
                    outcome = "cancelled"
                except e.OperationalError:
                    outcome = "lost"
                except (e.DivisionByZero, ZeroDivisionError):
                    outcome = "failed"
                hands.outcomes[outcome] += 1

        for thread in [Background(lambda seed=seed: clients(seed)) for seed in range(THREADS)]:  # type: ignore[misc]
            thread.result()
        hands.check_empty()
        pool.wait(PATIENCE)
        wait_until(lambda: len(inner.books.idle) == SIZE)
        check_books(inner.books)
        pool.check()
        pool.wait(PATIENCE)
        check_books(inner.books)
        processes: list[Any] = []
        with anyq.sync.timeout(PATIENCE):
            while not is_whole(inner.books, processes, lambda conn: conn.info.backend_pid):
                processes = observer.execute(PROCESSES, [NAME]).fetchall()
        observer.execute(f"DROP TABLE {table}".encode())
    print(f"{hands.turns} turns: {dict(hands.outcomes)}; {queue.served} times somebody waited")
    assert {"done", "cancelled", "failed"} <= set(hands.outcomes)
    assert queue.served > TURNS / 10


# -- statements without a connection


@pytest.mark.anyio
@pytest.mark.parametrize("attempts", [1, TURNS])
async def test_statements(
    anyio_backend: object,
    dsn: str,
    schema: str,
    observer: AsyncConnection,
    attempts: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each is run once or not at all, and it is known of each; a lost connection fails one of them only.

    :param attempts: with one, what has not been run is told; with many, it is sent again until it has been.
    """
    monkeypatch.setattr(multiplex, "ATTEMPTS", attempts)
    chance, table = random.Random(8), f"{schema}.storm"
    insert = f"INSERT INTO {table} VALUES (%s) RETURNING number"
    await observer.execute(f"CREATE TABLE {table} (number int)".encode())
    sent = killed = 0
    over = False
    outcomes: dict[str, set[int]] = {what: set() for what in ("done", "not run", "in doubt", "cancelled")}
    kwargs = {"application_name": NAME}
    async with AsyncConnectionPool(dsn, min_size=SIZE, timeout=PATIENCE, kwargs=kwargs) as pool:
        await pool.wait()
        queue = Queue(pool.books, monkeypatch)

        async def statement(number: int) -> str:
            with anyio.move_on_after(limit_of(chance)):
                try:
                    cursor = await pool.execute(insert, [number])
                except e.OperationalError as error:
                    return "not run" if error.never_run else "in doubt"
                assert await cursor.fetchall() == [(number,)]
                return "done"
            return "cancelled"

        async def statements() -> None:
            nonlocal sent, killed
            while sent < TURNS:
                sent = number = sent + 1
                lines = pool.multiplexer.running()
                if number % KILLED_EVERY == 0 and lines:
                    killed += 1
                    await observer.execute("SELECT pg_terminate_backend(%s)", [lines[0].inner.info.backend_pid])
                outcomes[await statement(number)].add(number)

        async def client() -> None:
            while not over:
                with suppress(e.OperationalError):
                    async with pool.connection() as conn:
                        assert conn.info.transaction_status.name == "IDLE"
                        assert not conn.autocommit
                        await conn.execute("SELECT 1")

        async with anyio.create_task_group() as group:
            group.start_soon(client)
            async with anyio.create_task_group() as tasks:
                for _ in range(TASKS):
                    tasks.start_soon(statements)
            over = True
        await check_at_the_end(pool, observer)
    rows = await (await observer.execute(f"SELECT number FROM {table}".encode())).fetchall()
    run = Counter(number for (number,) in rows)
    counts = {what: len(numbers) for what, numbers in outcomes.items()}
    print(f"{sent} statements, {killed} lost connections: {counts}; {queue.served} times somebody waited")
    assert sum(counts.values()) == sent
    assert set(run.values()) == {1}
    assert outcomes["done"] <= set(run)
    assert not outcomes["not run"] & set(run)
    assert len(outcomes["in doubt"]) <= killed
    assert set(run) <= outcomes["done"] | outcomes["in doubt"] | outcomes["cancelled"]
    assert bool(outcomes["not run"]) == (attempts == 1)
