"""Statements of many tasks on few connections: whose result is whose, what is refused, who waits for whom."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import pytest

import anyq
from anyq import sql
from anyq.errors import AdminShutdown, DivisionByZero, InterfaceError, ProgrammingError, QueryCanceled
from anyq.pool import AsyncConnectionPool, PoolClosed, PoolTimeout, TooManyRequests, multiplex
from anyq.rows import dict_row
from tests.support.activity import PATIENCE, held_lock
from tests.support.pools import opened, whole_at_the_end

NEVER = 1e9
"""Seconds after which a statement holds up others, where none is to."""


@pytest.fixture
async def pool(anyio_backend: object, dsn: str) -> AsyncIterator[AsyncConnectionPool]:
    async with whole_at_the_end(AsyncConnectionPool(dsn, min_size=1, max_size=4)) as pool:
        yield pool


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No statement is slow, however busy the machine is."""
    monkeypatch.setattr(multiplex, "SLOW", NEVER)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every statement that is under way is slow."""
    monkeypatch.setattr(multiplex, "SLOW", 1e-12)
    monkeypatch.setattr(multiplex, "ROUND_TRIPS", 0)


async def value(pool: AsyncConnectionPool, query: str, *params: Any) -> Any:
    row = await (await pool.execute(query, params)).fetchone()
    assert row is not None
    return row[0]


async def in_tasks(*functions: Callable[[], Awaitable[object]]) -> list[Any]:
    """Run functions at the same time; return what each has returned or raised."""
    outcomes: list[Any] = [None] * len(functions)

    async def run(index: int, function: Callable[[], Awaitable[object]]) -> None:
        try:
            outcomes[index] = await function()
        except anyq.Error as error:
            outcomes[index] = error

    async with anyio.create_task_group() as group:
        for index, function in enumerate(functions):
            group.start_soon(run, index, function)
    return outcomes


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(PATIENCE):
        while not condition():
            await anyio.lowlevel.checkpoint()


# -- what comes back


@pytest.mark.anyio
async def test_rows_come_as_a_cursor_gives_them(pool: AsyncConnectionPool) -> None:
    cursor = await pool.execute("SELECT %s::int4 AS a, %s AS b", [1, "x"], row_factory=dict_row)
    assert await cursor.fetchall() == [{"a": 1, "b": "x"}]
    assert cursor.rowcount == 1
    assert cursor.description is not None
    assert [column.name for column in cursor.description] == ["a", "b"]
    assert [row async for row in await pool.execute("SELECT generate_series(1, 3)")] == [(1,), (2,), (3,)]
    assert await value(pool, "SELECT %s::int8", 2**40) == 2**40
    composed = await pool.execute(sql.SQL("SELECT {}").format(sql.Literal(";")))
    assert await composed.fetchone() == (";",)
    binary = await pool.execute("SELECT 1::int4", binary=True)
    assert binary.description is not None
    assert await binary.fetchone() == (1,)


@pytest.mark.anyio
async def test_a_result_executes_nothing_more(pool: AsyncConnectionPool) -> None:
    cursor = await pool.execute("SELECT generate_series(1, 2)")
    refusals: list[Callable[[], Any]] = [
        partial(cursor.execute, "SELECT 1"),
        partial(cursor.executemany, "SELECT %s", [[1]]),
        partial(cursor.stream, "SELECT 1"),
        partial(cursor.copy, "COPY x TO STDOUT"),
    ]
    for refusal in refusals:
        with pytest.raises(ProgrammingError, match="call pool.execute\\(\\) again"):
            refusal()
    assert await cursor.fetchall() == [(1,), (2,)]
    await cursor.close()
    with pytest.raises(InterfaceError, match="closed"):
        await cursor.fetchone()


@pytest.mark.anyio
async def test_a_result_outlives_the_pool(anyio_backend: object, dsn: str) -> None:
    async with AsyncConnectionPool(dsn, min_size=1) as pool:
        cursor = await pool.execute("SELECT generate_series(1, 100)")
    assert [row[0] async for row in cursor] == list(range(1, 101))


@pytest.mark.anyio
async def test_an_error_is_that_of_one_statement(pool: AsyncConnectionPool, patient: None) -> None:
    outcomes = await in_tasks(*(partial(value, pool, "SELECT 6 / %s", divisor) for divisor in (1, 2, 0, 3, 0, 6)))
    assert [outcome if isinstance(outcome, int) else type(outcome) for outcome in outcomes] == [
        *(6, 3, DivisionByZero, 2, DivisionByZero, 1)
    ]


@pytest.mark.anyio
async def test_each_statement_is_a_transaction_of_its_own(pool: AsyncConnectionPool, patient: None) -> None:
    ids = await in_tasks(*(partial(value, pool, "SELECT pg_current_xact_id()::text") for _ in range(8)))
    assert len(set(ids)) == 8


# -- which connections


@pytest.mark.anyio
async def test_tasks_share_a_connection(pool: AsyncConnectionPool, patient: None) -> None:
    pids = await in_tasks(*(partial(value, pool, "SELECT pg_backend_pid() + %s * 0", n) for n in range(20)))
    assert len(set(pids)) == 1
    assert pool.get_stats()["pool_size"] == 1


@pytest.mark.anyio
async def test_a_full_line_is_followed_by_another(
    pool: AsyncConnectionPool, patient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multiplex, "DEPTH", 3)
    outcomes = await in_tasks(*(partial(value, pool, "SELECT %s::int4", n) for n in range(50)))
    assert outcomes == list(range(50))
    assert 1 <= pool.get_stats()["pool_size"] <= 4


@pytest.mark.anyio
async def test_the_line_with_the_fewest_is_taken(
    pool: AsyncConnectionPool, patient: None, monkeypatch: pytest.MonkeyPatch, dsn: str
) -> None:
    """Not the one that was there first, which has room as well."""
    monkeypatch.setattr(multiplex, "DEPTH", 3)
    async with held_lock(dsn) as lock, anyio.create_task_group() as group:
        for count in range(1, 5):
            group.start_soon(pool.execute, lock.statement)
            await until(lambda: len(pool.multiplexer.running()) == count)  # noqa: B023
        assert sorted(Counter(pool.multiplexer.running()).values()) == [1, 3]
        monkeypatch.setattr(multiplex, "DEPTH", 32)
        for count, expected in [(5, [2, 3]), (6, [3, 3]), (7, [3, 4])]:
            group.start_soon(pool.execute, lock.statement)
            await until(lambda: len(pool.multiplexer.running()) == count)  # noqa: B023
            assert sorted(Counter(pool.multiplexer.running()).values()) == expected
        await lock.release()


@pytest.mark.anyio
async def test_nobody_waits_behind_a_slow_statement(pool: AsyncConnectionPool, impatient: None, dsn: str) -> None:
    async with held_lock(dsn) as lock, anyio.create_task_group() as group:
        group.start_soon(pool.execute, lock.statement)
        await until(lambda: pool.get_stats()["pool_available"] < pool.get_stats()["pool_size"])
        with anyio.fail_after(PATIENCE):
            assert [await value(pool, "SELECT %s::int4", n) for n in range(5)] == list(range(5))
        await lock.release()


@pytest.mark.anyio
async def test_a_text_that_was_slow_has_a_connection_of_its_own(
    pool: AsyncConnectionPool, impatient: None, dsn: str
) -> None:
    async with held_lock(dsn) as lock, anyio.create_task_group() as group:
        group.start_soon(pool.execute, lock.statement)
        await until(lambda: len(pool.multiplexer.running()) == 1)
        await lock.release()
    async with held_lock(dsn) as lock, anyio.create_task_group() as group:
        group.start_soon(pool.execute, lock.statement)
        await until(lambda: pool.get_stats()["pool_available"] < pool.get_stats()["pool_size"])
        assert not pool.multiplexer.running()
        await lock.release()


@pytest.mark.anyio
async def test_the_way_to_a_distant_server_is_no_slowness(
    pool: AsyncConnectionPool, impatient: None, monkeypatch: pytest.MonkeyPatch, dsn: str
) -> None:
    assert 0 < pool.engine.round_trip < PATIENCE
    monkeypatch.setattr(multiplex, "ROUND_TRIPS", 1)
    pool.engine.round_trip = NEVER
    async with held_lock(dsn) as lock, anyio.create_task_group() as group:
        group.start_soon(pool.execute, lock.statement)
        await until(lambda: len(pool.multiplexer.running()) == 1)
        group.start_soon(pool.execute, "SELECT 1")
        await until(lambda: len(pool.multiplexer.running()) == 2)
        assert len(set(pool.multiplexer.running())) == 1
        await lock.release()


# -- cancellation and loss


@pytest.mark.anyio
@pytest.mark.parametrize("which", [0, 2, 4], ids=["the head", "in between", "the last"])
async def test_a_cancelled_one_hurts_no_neighbour(
    pool: AsyncConnectionPool, patient: None, dsn: str, which: int
) -> None:
    got: dict[int, Any] = {}
    scopes: dict[int, anyio.CancelScope] = {}

    async def statement(number: int, text: str) -> None:
        with anyio.CancelScope() as scopes[number]:
            got[number] = await value(pool, text, number)

    async with held_lock(dsn) as lock, anyio.create_task_group() as group:
        group.start_soon(statement, 0, f"{lock.statement.replace('SELECT', 'SELECT %s::int4,')}")
        await until(lambda: pool.get_stats()["pool_available"] < pool.get_stats()["pool_size"])
        for number in range(1, 5):
            group.start_soon(statement, number, "SELECT %s::int4")
        await until(lambda: len(scopes) == 5)
        scopes[which].cancel()
        if which:
            await lock.release()
    assert got == {number: number for number in range(5) if number != which}


@pytest.mark.anyio
async def test_what_was_behind_a_lost_statement_is_sent_again(
    pool: AsyncConnectionPool, patient: None, dsn: str
) -> None:
    async with held_lock(dsn) as lock, await anyq.AsyncConnection.connect(dsn, autocommit=True) as killer:
        pid = await value(pool, "SELECT pg_backend_pid()")
        behind = [partial(value, pool, "SELECT %s::int4", n) for n in range(5)]

        async def others() -> list[Any]:
            await lock.until_wanted(pid)
            return await in_tasks(*behind, kill)

        async def kill() -> None:
            await until(lambda: len(pool.multiplexer.running()) == 6)
            await killer.execute("SELECT pg_terminate_backend(%s)", [pid])

        head, outcomes = await in_tasks(partial(pool.execute, lock.statement), others)
        assert pool.get_stats()["statements_repeated"] == 5
    assert isinstance(head, AdminShutdown)
    assert not head.never_run
    assert outcomes == [*range(5), None]


@pytest.mark.anyio
async def test_a_statement_that_was_cancelled_on_the_server_says_so(
    pool: AsyncConnectionPool, patient: None, dsn: str
) -> None:
    async with held_lock(dsn) as lock, await anyq.AsyncConnection.connect(dsn, autocommit=True) as killer:
        pid = await value(pool, "SELECT pg_backend_pid()")

        async def cancel() -> None:
            await lock.until_wanted(pid)
            await killer.execute("SELECT pg_cancel_backend(%s)", [pid])

        head, _ = await in_tasks(partial(pool.execute, lock.statement), cancel)
    assert isinstance(head, QueryCanceled)


# -- waiting


@pytest.mark.anyio
async def test_those_that_wait_are_served_in_order(
    anyio_backend: object, dsn: str, patient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multiplex, "DEPTH", 1)
    order: list[int] = []
    async with AsyncConnectionPool(dsn, min_size=1, max_size=1) as pool:

        async def statement(number: int) -> None:
            order.append(await value(pool, "SELECT %s::int4", number))

        async with held_lock(dsn) as lock, anyio.create_task_group() as group:
            group.start_soon(pool.execute, lock.statement)
            await until(lambda: bool(pool.multiplexer.running()))
            for number in range(10):
                group.start_soon(statement, number)
                await until(lambda number=number: pool.multiplexer.waiting == number + 1)  # type: ignore[misc]
            await lock.release()
    assert order == list(range(10))


@pytest.mark.anyio
async def test_one_that_waits_in_vain_is_told_and_forgotten(anyio_backend: object, dsn: str, impatient: None) -> None:
    async with AsyncConnectionPool(dsn, min_size=1, max_size=1, max_waiting=1) as pool:
        async with pool.connection():
            with pytest.raises(PoolTimeout, match="no connection for a statement within 0.01 s"):
                await pool.execute("SELECT 1", timeout=0.01)
            async with anyio.create_task_group() as group:
                group.start_soon(pool.execute, "SELECT 1")
                await until(lambda: pool.multiplexer.waiting == 1)
                group.cancel_scope.cancel()
            assert pool.multiplexer.waiting == 0
            async with anyio.create_task_group() as group:
                group.start_soon(partial(pool.execute, "SELECT 2", timeout=NEVER))
                await until(lambda: pool.multiplexer.waiting == 1)
                with pytest.raises(TooManyRequests):
                    await pool.execute("SELECT 3")
                group.cancel_scope.cancel()
        assert await value(pool, "SELECT 4") == 4


@pytest.mark.anyio
async def test_statements_that_wait_are_counted_as_clients_are(anyio_backend: object, dsn: str, patient: None) -> None:
    async with AsyncConnectionPool(dsn, min_size=1, max_size=1, max_waiting=3) as pool:
        async with anyio.create_task_group() as group, pool.connection():
            pool.pop_stats()
            for number in range(3):
                group.start_soon(pool.execute, "SELECT 1")
                await until(lambda number=number: pool.get_stats()["requests_waiting"] == number + 1)  # type: ignore[misc]
            with pytest.raises(TooManyRequests, match="3 requests waiting"):
                await pool.execute("SELECT 2")
            with pytest.raises(TooManyRequests, match="3 requests waiting"):
                await pool.getconn()
        stats = pool.get_stats()
    assert (stats["requests_num"], stats["requests_queued"], stats["requests_errors"]) == (5, 3, 2)
    assert (stats["requests_waiting"], stats["requests_wait_le_10000ms"]) == (0, 3)


@pytest.mark.anyio
async def test_statements_in_the_statistics(anyio_backend: object, dsn: str, patient: None) -> None:
    async with (
        AsyncConnectionPool(dsn, min_size=1, max_size=2) as pool,
        held_lock(dsn) as lock,
        anyio.create_task_group() as group,
    ):

        def stats() -> dict[str, int]:
            return {name.removeprefix("statements_"): n for name, n in pool.get_stats().items() if "statements" in name}

        await pool.wait()
        pool.multiplexer._durations["SELECT 'slow'"] = 2 * NEVER
        await pool.execute("SELECT 'slow'")
        assert stats() == {"num": 1, "alone": 1, **dict.fromkeys(("repeated", "running", "connections", "waiting"), 0)}
        group.start_soon(pool.execute, lock.statement)
        await until(lambda: stats()["running"] == 1)
        group.start_soon(pool.execute, "SELECT 1")
        await until(lambda: stats()["running"] == 2)
        assert stats()["connections"] == 1
        group.start_soon(pool.execute, lock.statement.replace("SELECT", "SELECT 'slow',"))
        pool.multiplexer._durations[lock.statement.replace("SELECT", "SELECT 'slow',")] = 2 * NEVER
        await until(lambda: stats()["connections"] == 2)
        assert (stats()["running"], stats()["alone"], stats()["waiting"]) == (3, 2, 0)
        await lock.release()
    assert stats() == {"num": 4, "alone": 2, **dict.fromkeys(("repeated", "running", "connections", "waiting"), 0)}


@pytest.mark.anyio
@pytest.mark.parametrize("leave", ["served", "cancelled", "closed"])
async def test_who_waits_is_counted_once_and_to_the_end(
    anyio_backend: object, dsn: str, patient: None, leave: str
) -> None:
    """A statement is in two queues, and clients are among them."""
    async with AsyncConnectionPool(dsn, min_size=1, max_size=1, timeout=NEVER) as pool:
        held = await pool.getconn()
        async with anyio.create_task_group() as group:

            async def client() -> None:
                with suppress(PoolClosed):
                    async with pool.connection():
                        pass

            async def statement() -> None:
                with suppress(PoolClosed):
                    await pool.execute("SELECT 1")

            for number in range(10):
                group.start_soon(client if number % 3 else statement)
                await until(lambda number=number: pool.books.waiting_number == number + 1)  # type: ignore[misc]
            if leave == "served":
                await pool.putconn(held)
            elif leave == "cancelled":
                group.cancel_scope.cancel()
            else:
                await pool.close()
        assert (pool.books.waiting_number, len(pool.books.waiting), pool.books._waiting_for_both) == (0, 0, 0)
        if leave != "served":
            await pool.putconn(held)


@pytest.mark.anyio
async def test_a_client_that_waited_before_comes_first(anyio_backend: object, dsn: str, impatient: None) -> None:
    order: list[str] = []
    async with AsyncConnectionPool(dsn, min_size=1, max_size=1) as pool:

        async def client() -> None:
            async with pool.connection():
                order.append("client")

        async def statement() -> None:
            await pool.execute("SELECT 1")
            order.append("statement")

        async with anyio.create_task_group() as group, pool.connection():
            group.start_soon(client)
            await until(lambda: pool.get_stats()["requests_waiting"] == 1)
            group.start_soon(statement)
            await until(lambda: pool.get_stats()["requests_waiting"] == 2)
    assert order == ["client", "statement"]


@pytest.mark.anyio
async def test_a_client_gets_the_connection_of_a_line_under_load(
    anyio_backend: object, dsn: str, patient: None
) -> None:
    async with AsyncConnectionPool(dsn, min_size=1, max_size=1) as pool:
        done: list[int] = []

        async def load() -> None:
            while True:
                await pool.execute("SELECT 1")
                done.append(1)

        async with anyio.create_task_group() as group:
            for _ in range(8):
                group.start_soon(load)
            await until(lambda: bool(done))
            for _ in range(3):
                async with pool.connection(timeout=PATIENCE):
                    done.clear()
                # Who waited meanwhile comes next.
                await until(lambda: bool(done))
            group.cancel_scope.cancel()


@pytest.mark.anyio
async def test_slow_statements_that_wait_stop_no_line(anyio_backend: object, dsn: str, patient: None) -> None:
    async with AsyncConnectionPool(dsn, min_size=2, max_size=2) as pool, held_lock(dsn) as lock:
        await pool.wait()
        multiplexer = pool.multiplexer
        multiplexer._durations[lock.statement] = multiplexer._durations["SELECT 1"] = 2 * NEVER
        async with anyio.create_task_group() as group:
            group.start_soon(pool.execute, lock.statement)
            await until(lambda: pool.get_stats()["pool_available"] == 1)
            async with pool.connection():
                group.start_soon(pool.execute, "SELECT 1")
                await until(lambda: pool.get_stats()["requests_waiting"] == 1)
                assert not multiplexer._client_waits()
                client = pool_client(pool, group)
                await until(lambda: pool.get_stats()["requests_waiting"] == 2)
                assert multiplexer._client_waits()
                client.cancel()
                await until(lambda: pool.get_stats()["requests_waiting"] == 1)
                group.start_soon(pool.execute, "SELECT 2")
                await until(lambda: multiplexer.waiting == 1)
                assert not multiplexer._client_waits()
            await lock.release()


def pool_client(pool: AsyncConnectionPool, group: Any) -> anyio.CancelScope:
    """Have a client wait for a connection, until it is cancelled."""
    scope = anyio.CancelScope()

    async def wait() -> None:
        with scope:
            await pool.getconn()

    group.start_soon(wait)
    return scope


@pytest.mark.anyio
async def test_a_slow_statement_gets_the_connection_of_a_line_under_load(
    anyio_backend: object, dsn: str, patient: None
) -> None:
    async with AsyncConnectionPool(dsn, min_size=1, max_size=1) as pool, anyio.create_task_group() as group:

        async def load() -> None:
            while True:
                await pool.execute("SELECT 1")

        for _ in range(8):
            group.start_soon(load)
        pool.multiplexer._durations["SELECT 2"] = 2 * NEVER
        for _ in range(3):
            await pool.execute("SELECT 2", timeout=PATIENCE)
        group.cancel_scope.cancel()


@pytest.mark.anyio
async def test_a_connection_that_becomes_a_line_takes_all_that_wait(
    anyio_backend: object, dsn: str, patient: None
) -> None:
    async with AsyncConnectionPool(dsn, min_size=1, max_size=1) as pool, anyio.create_task_group() as group:
        order: list[object] = []

        async def statement(number: int) -> None:
            order.append(await value(pool, "SELECT %s::int4", number))

        async def client() -> None:
            async with pool.connection():
                order.append("client")

        async with pool.connection():
            for number in range(3):
                group.start_soon(statement, number)
                await until(lambda number=number: pool.multiplexer.waiting == number + 1)  # type: ignore[misc]
            group.start_soon(client)
            await until(lambda: pool.get_stats()["requests_waiting"] == 4)
    assert order[3] == "client"


@pytest.mark.anyio
async def test_new_connections_that_are_no_good_are_not_asked_for_at_once(anyio_backend: object, dsn: str) -> None:
    tried: list[object] = []

    async def check(conn: object) -> None:
        tried.append(conn)
        raise ValueError

    async with AsyncConnectionPool(dsn, min_size=0, max_size=1, check=check) as pool:
        with pytest.raises(PoolTimeout):
            await pool.execute("SELECT 1", timeout=0.5)
    assert len(tried) <= 5


@pytest.mark.anyio
async def test_a_pool_that_is_not_open_has_none(anyio_backend: object, dsn: str) -> None:
    pool = AsyncConnectionPool(dsn, min_size=1)
    with pytest.raises(PoolClosed, match="not open yet"):
        await pool.execute("SELECT 1")
    async with pool:
        assert await value(pool, "SELECT 1") == 1
    with pytest.raises(PoolClosed, match="closed"):
        await pool.execute("SELECT 1")


@pytest.mark.anyio
@pytest.mark.parametrize("block", [True, False], ids=["block", "open"])
async def test_one_that_is_closed_gets_nothing_more(
    anyio_backend: object, dsn: str, patient: None, block: bool
) -> None:
    """Though another one is under way, which goes on."""
    async with opened(AsyncConnectionPool(dsn, min_size=1), block=block) as pool, held_lock(dsn) as lock:
        async with anyio.create_task_group() as group:
            group.start_soon(pool.execute, lock.statement)
            await until(lambda: len(pool.multiplexer.running()) == 1)
            (line,) = pool.multiplexer.running()
            await pool.close()
            for _ in range(2):
                with pytest.raises(PoolClosed, match="is closed"):
                    await pool.execute("SELECT 1")
            await lock.release()
        assert line.inner.closed
        assert pool.get_stats()["pool_size"] == 0


@pytest.mark.anyio
async def test_without_a_block_too(anyio_backend: object, dsn: str, patient: None) -> None:
    pool = AsyncConnectionPool(dsn, min_size=1, max_size=2)
    await pool.open()
    assert await in_tasks(*(partial(value, pool, "SELECT %s::int4", n) for n in range(5))) == list(range(5))
    await pool.close()


# -- what is refused


@pytest.mark.anyio
async def test_the_error_says_what_to_do(pool: AsyncConnectionPool) -> None:
    with pytest.raises(ProgrammingError, match="settings of a session: take a connection.*pool.connection\\(\\)"):
        await pool.execute("SET x = 1")
