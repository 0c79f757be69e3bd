"""executemany() of pools: all or nothing, what comes back, and that nobody waits for long because of many sets."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any

import anyio
import pytest

import anyq
from anyq import errors as e
from anyq.errors import ProgrammingError, UniqueViolation
from anyq.pool import (
    AsyncConnectionPool,
    AsyncNullConnectionPool,
    ConnectionPool,
    NullConnectionPool,
    PoolTimeout,
    multiplex,
)
from anyq.pool.batches import MOST_BYTES, MOST_SETS
from anyq.rows import dict_row
from tests.support.activity import PATIENCE, held_lock
from tests.support.pools import until, whole_at_the_end

MANY = 3 * MOST_SETS
NEVER = 1e9


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No statement is slow, however busy the machine is."""
    monkeypatch.setattr(multiplex, "SLOW", NEVER)


@pytest.fixture
async def pool(anyio_backend: object, dsn: str) -> AsyncIterator[AsyncConnectionPool]:
    async with whole_at_the_end(AsyncConnectionPool(dsn, min_size=1, max_size=3, timeout=PATIENCE)) as pool:
        yield pool


@pytest.fixture
async def table(pool: AsyncConnectionPool, schema: str) -> str:
    await pool.execute(f"CREATE TABLE {schema}.many (n int4 PRIMARY KEY, t text)")
    return f"{schema}.many"


async def numbers(pool: AsyncConnectionPool, table: str) -> list[int]:
    cursor = await pool.execute(f"SELECT n FROM {table} ORDER BY n")
    return [n async for (n,) in cursor]


COUNTS = pytest.mark.parametrize("count", [3, MANY], ids=["few", "many"])
KINDS = pytest.mark.parametrize("kind", [list, tuple, iter], ids=["list", "tuple", "iterator"])


# -- what comes back


@pytest.mark.anyio
@COUNTS
@KINDS
async def test_rows_that_were_inserted(pool: AsyncConnectionPool, table: str, count: int, kind: Any) -> None:
    sets = kind([(number, "x") for number in range(count)])
    cursor = await pool.executemany(f"INSERT INTO {table} VALUES (%s, %s)", sets)
    assert (cursor.rowcount, cursor.statusmessage) == (count, "INSERT 0 1")
    assert await numbers(pool, table) == list(range(count))
    with pytest.raises(ProgrammingError, match="call pool.execute\\(\\) again"):
        await cursor.executemany("SELECT %s", [[1]])


@pytest.mark.anyio
@COUNTS
async def test_results_come_as_a_cursor_gives_them(pool: AsyncConnectionPool, count: int) -> None:
    sets = [{"n": number} for number in range(count)]
    text = "SELECT %(n)s::int4 AS a FROM generate_series(1, %(n)s)"
    cursor = await pool.executemany(text, sets, returning=True, row_factory=dict_row)
    got = [(result.rowcount, await result.fetchall()) async for result in cursor.results()]
    assert got == [(number, [{"a": number}] * number) for number in range(count)]
    await cursor.set_result(2)
    assert await cursor.fetchone() == {"a": 2}
    await cursor.set_result(0)
    assert cursor.nextset()
    assert await cursor.fetchall() == [{"a": 1}]


@pytest.mark.anyio
async def test_no_sets(pool: AsyncConnectionPool, table: str) -> None:
    assert (await pool.executemany(f"INSERT INTO {table} VALUES (%s)", [])).rowcount == 0
    assert await numbers(pool, table) == []


@pytest.mark.anyio
async def test_a_pool_that_keeps_none(anyio_backend: object, dsn: str) -> None:
    async with AsyncNullConnectionPool(dsn, max_size=1) as pool:
        cursor = await pool.executemany("SELECT %s::int4", [[1], [2]], returning=True)
        assert [await result.fetchone() async for result in cursor.results()] == [(1,), (2,)]


# -- all or nothing


@pytest.mark.anyio
@COUNTS
@KINDS
async def test_all_or_nothing(pool: AsyncConnectionPool, table: str, count: int, kind: Any) -> None:
    sets = [(number,) for number in range(count)] + [(1,)]
    with pytest.raises(UniqueViolation):
        await pool.executemany(f"INSERT INTO {table} VALUES (%s)", kind(sets))
    assert await numbers(pool, table) == []


@pytest.mark.anyio
@COUNTS
async def test_a_set_that_cannot_be_bound(pool: AsyncConnectionPool, table: str, count: int) -> None:
    sets = [(number,) for number in range(count)] + [(1, 2)]
    with pytest.raises(ProgrammingError, match="placeholder"):
        await pool.executemany(f"INSERT INTO {table} VALUES (%s)", sets)
    assert await numbers(pool, table) == []


def failing(count: int) -> Iterator[tuple[int]]:
    yield from ((number,) for number in range(count))
    raise KeyError("the generator's")


@pytest.mark.anyio
@pytest.mark.parametrize("count", [0, 3, MANY, 5000])
async def test_a_generator_that_fails(pool: AsyncConnectionPool, table: str, count: int) -> None:
    with pytest.raises(KeyError, match="the generator's"):
        await pool.executemany(f"INSERT INTO {table} VALUES (%s)", failing(count))
    assert await numbers(pool, table) == []


@pytest.mark.anyio
async def test_what_needs_a_session_is_refused(pool: AsyncConnectionPool) -> None:
    for text in ("SET a.b = %s", "SELECT set_config('a.b', %s, false)", "COPY x FROM STDIN"):
        with pytest.raises(
            ProgrammingError, match="executemany\\(\\) of a pool cannot be used for .* take a connection"
        ):
            await pool.executemany(text, [["x"]])


# -- neighbours


@pytest.mark.anyio
async def test_few_share_a_connection_with_others(pool: AsyncConnectionPool) -> None:
    pids: set[int] = set()

    async def many() -> None:
        cursor = await pool.executemany("SELECT pg_backend_pid() + %s * 0", [[1], [2]], returning=True)
        pids.update([(await result.fetchall())[0][0] async for result in cursor.results()])

    async def one() -> None:
        pids.update([pid async for (pid,) in await pool.execute("SELECT pg_backend_pid()")])

    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(one if number % 2 else many)
    assert len(pids) == 1
    assert pool.get_stats()["pool_size"] == 1


@pytest.mark.anyio
@pytest.mark.parametrize("why", ["sets", "bytes", "slow"])
async def test_many_have_a_connection_of_their_own(pool: AsyncConnectionPool, dsn: str, why: str) -> None:
    async with held_lock(dsn) as lock, anyio.create_task_group() as group:
        text = f"{lock.statement.replace('SELECT', 'SELECT %s::text,')}"
        sets = {"sets": [["x"]] * MANY, "bytes": [["x" * 2 * MOST_BYTES]], "slow": [["x"]]}[why]
        if why == "slow":
            pool.multiplexer._durations[multiplex.MANY + text] = 2 * NEVER
        group.start_soon(pool.executemany, text, sets)
        await until(lambda: pool.get_stats()["pool_available"] < pool.get_stats()["pool_size"])
        assert not pool.multiplexer.running()
        for number in range(5):
            assert await (await pool.execute("SELECT %s::int4", [number])).fetchall() == [(number,)]
        await lock.release()


@pytest.mark.anyio
async def test_how_long_many_take_says_nothing_of_one(
    pool: AsyncConnectionPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multiplex, "SLOW", 1e-12)
    monkeypatch.setattr(multiplex, "ROUND_TRIPS", 0)
    await pool.executemany("SELECT %s::int4", [[1], [2]])
    await pool.executemany("SELECT %s::text", [["x"]] * MANY)
    assert list(pool.multiplexer._durations) == [multiplex.MANY + "SELECT %s::int4"]


@pytest.mark.anyio
@pytest.mark.parametrize("which", ["the head", "behind"])
async def test_a_cancellation_hurts_nobody_and_none_or_all_take_effect(
    pool: AsyncConnectionPool, table: str, dsn: str, which: str
) -> None:
    got: list[Any] = []
    async with held_lock(dsn) as lock, anyio.create_task_group() as group:
        scope = anyio.CancelScope()
        text = f"INSERT INTO {table} SELECT %s FROM ({lock.statement}) AS x"

        async def many() -> None:
            with scope:
                await pool.executemany(text if which == "the head" else f"INSERT INTO {table} VALUES (%s)", [[1], [2]])

        async def one(number: int) -> None:
            got.extend(await (await pool.execute("SELECT %s::int4", [number])).fetchall())

        group.start_soon(many if which == "the head" else partial(pool.execute, lock.statement))
        await until(lambda: len(pool.multiplexer.running()) == 1)
        if which == "behind":
            group.start_soon(many)
            await until(lambda: len(pool.multiplexer.running()) == 2)
        group.start_soon(one, 7)
        await until(lambda: len(pool.multiplexer.running()) == (2 if which == "the head" else 3))
        scope.cancel()
        if which == "behind":
            await lock.release()
    assert got == [(7,)]
    # What is behind another one may have been run before it could be cancelled.
    assert await numbers(pool, table) in ([[]] if which == "the head" else [[], [1, 2]])


@pytest.mark.anyio
@pytest.mark.parametrize("kind", [list, iter], ids=["list", "iterator"])
async def test_few_that_were_behind_a_lost_statement_are_sent_again(
    pool: AsyncConnectionPool, table: str, dsn: str, kind: Any
) -> None:
    async with held_lock(dsn) as lock, await anyq.AsyncConnection.connect(dsn, autocommit=True) as killer:
        lost: list[Exception] = []

        async def head() -> None:
            with pytest.raises(e.AdminShutdown) as info:
                await pool.execute(lock.statement)
            lost.append(info.value)

        async with anyio.create_task_group() as group:
            [(pid,)] = await (await pool.execute("SELECT pg_backend_pid()")).fetchall()
            group.start_soon(head)
            await lock.until_wanted(pid)
            group.start_soon(pool.executemany, f"INSERT INTO {table} VALUES (%s)", kind([[1], [2]]))
            await until(lambda: len(pool.multiplexer.running()) == 2)
            await killer.execute("SELECT pg_terminate_backend(%s)", [pid])
    assert [error.never_run for error in lost if isinstance(error, anyq.Error)] == [False]
    assert await numbers(pool, table) == [1, 2]


@pytest.mark.anyio
async def test_what_was_consumed_is_not_sent_again(pool: AsyncConnectionPool, monkeypatch: pytest.MonkeyPatch) -> None:
    attempts: list[int] = []
    result = pool.hooks.result

    def with_one_that_is_lost(*args: Any) -> Any:
        cursor, inner = result(*args)

        async def run_many(query: Any, sets: Any, *, returning: bool) -> None:
            attempts.append(len(list(sets)))
            error = e.OperationalError("lost")
            error.never_run = True
            raise error

        inner.run_many = run_many
        return cursor, inner

    monkeypatch.setattr(pool.hooks, "result", with_one_that_is_lost)
    with pytest.raises(e.OperationalError, match="lost"):
        await pool.executemany("SELECT %s::int4", iter([[1]] * MANY))
    assert attempts == [MANY]
    with pytest.raises(e.OperationalError, match="lost"):
        await pool.executemany("SELECT %s::int4", [[1]] * MANY)
    assert attempts == [MANY] * (1 + multiplex.ATTEMPTS)


@pytest.mark.anyio
async def test_who_waits_in_vain_is_told(anyio_backend: object, dsn: str) -> None:
    async with AsyncConnectionPool(dsn, min_size=1, max_size=1) as pool, pool.connection():
        for count in (1, MANY):
            with pytest.raises(PoolTimeout, match="within 0.01 s"):
                await pool.executemany("SELECT %s", [[1]] * count, timeout=0.01)


# -- threads


@pytest.fixture(scope="module")
def sync_pool(dsn: str) -> Iterator[ConnectionPool]:
    with ConnectionPool(dsn, min_size=1, max_size=2, timeout=PATIENCE) as pool:
        yield pool


@COUNTS
@KINDS
def test_a_thread_executes_many(sync_pool: ConnectionPool, count: int, kind: Any) -> None:
    sets = kind([(number,) for number in range(count)])
    cursor = sync_pool.executemany("SELECT %s::int4 AS a", sets, returning=True, row_factory=dict_row)
    assert [result.fetchall() for result in cursor.results()] == [[{"a": number}] for number in range(count)]
    with pytest.raises(ProgrammingError, match="call pool.execute\\(\\) again"):
        cursor.execute("SELECT 1")
    with sync_pool.connection() as conn:
        assert not conn.autocommit


@pytest.mark.parametrize("count", [0, 3, MANY])
def test_a_threads_generator_runs_in_the_thread(sync_pool: ConnectionPool, count: int) -> None:
    threads: set[int] = set()

    def generate() -> Iterator[tuple[int]]:
        for number in range(count):
            threads.add(threading.get_ident())
            yield (number,)
        threads.add(threading.get_ident())

    before = sync_pool.get_stats()
    assert sync_pool.executemany("SELECT %s::int4", generate()).rowcount == count
    after = sync_pool.get_stats()
    counted = [after[name] - before[name] for name in ("statements_num", "statements_alone")]
    assert counted == [1, int(count == MANY)]
    assert threads == {threading.get_ident()}


@COUNTS
def test_all_or_nothing_in_a_thread(sync_pool: ConnectionPool, schema: str, count: int) -> None:
    sync_pool.execute(f"CREATE TABLE {schema}.of_threads (n int4 PRIMARY KEY)")
    with pytest.raises(KeyError):
        sync_pool.executemany(f"INSERT INTO {schema}.of_threads VALUES (%s)", failing(count))
    sets = [(number,) for number in range(count)] + [(1,)]
    with pytest.raises(UniqueViolation):
        sync_pool.executemany(f"INSERT INTO {schema}.of_threads VALUES (%s)", iter(sets))
    assert sync_pool.execute(f"SELECT n FROM {schema}.of_threads").fetchall() == []
    with pytest.raises(ProgrammingError, match="executemany\\(\\) of a pool"):
        sync_pool.executemany("SET a.b = %s", iter([("x",)] * count))


def test_a_pool_for_threads_that_keeps_none(dsn: str) -> None:
    with NullConnectionPool(dsn, max_size=1) as pool:
        assert pool.executemany("SELECT %s::int4", [[1], [2]]).rowcount == 2
