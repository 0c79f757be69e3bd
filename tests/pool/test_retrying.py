"""Transactions of a pool, and run_transaction(): what is run again, and what is not."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

import anyq
from anyq import AsyncConnection, Connection, IsolationLevel, TransactionStatus
from anyq.errors import (
    DeadlockDetected,
    OperationalError,
    ProgrammingError,
    ReadOnlySqlTransaction,
    SerializationFailure,
    UniqueViolation,
)
from anyq.pool import AsyncConnectionPool, ConnectionPool, retrying, run_transaction
from anyq.pool.retrying import is_retried, with_settings
from tests.support.activity import PATIENCE
from tests.support.interrupting import interrupt_at_each_step
from tests.support.pools import until
from tests.support.stepping import cancel_at_each_wait
from tests.sync.conftest import portal_backend, way

__all__ = ["portal_backend", "way"]


@pytest.fixture
async def pool(anyio_backend: object, dsn: str) -> AsyncIterator[AsyncConnectionPool]:
    async with AsyncConnectionPool(dsn, min_size=1, max_size=4) as pool:
        yield pool


@pytest.fixture
async def table(pool: AsyncConnectionPool) -> AsyncIterator[str]:
    """A table with one row, 0."""
    name = f"retried_{secrets.token_hex(4)}"
    await pool.execute(f"CREATE TABLE {name} AS SELECT 0 AS n")
    yield name
    await pool.execute(f"DROP TABLE {name}")


def failing(times: int, error: Callable[[], Exception]) -> tuple[Callable[[Any], Any], list[int]]:
    """Return a coroutine function that fails so many times, and the pids of the sessions that it was called with."""
    pids: list[int] = []

    async def function(conn: AsyncConnection[Any]) -> str:
        pids.append(conn.info.backend_pid)
        if len(pids) <= times:
            raise error()
        return "done"

    return function, pids


# -- what is run again


@pytest.mark.anyio
async def test_transactions_that_cannot_be_serialized_are_run_again(pool: AsyncConnectionPool, table: str) -> None:
    attempts = 0

    async def increment(conn: AsyncConnection[Any]) -> None:
        nonlocal attempts
        attempts += 1
        cursor = await conn.execute(f"SELECT n FROM {table}")
        row = await cursor.fetchone()
        assert row is not None
        await conn.execute(f"UPDATE {table} SET n = %s", [row[0] + 1])

    async def client() -> None:
        await run_transaction(pool, increment, isolation_level=IsolationLevel.SERIALIZABLE, retries=1000, backoff=0.001)

    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(client)
    assert await (await pool.execute(f"SELECT n FROM {table}")).fetchone() == (8,)
    assert attempts >= 8


@pytest.mark.anyio
@pytest.mark.parametrize("error", [SerializationFailure, DeadlockDetected])
@pytest.mark.parametrize("owner", ["pool", "connection"])
async def test_so_often_and_no_more(pool: AsyncConnectionPool, error: type[Exception], owner: str) -> None:
    async with pool.connection() as conn:
        source: Any = pool if owner == "pool" else conn
        function, calls = failing(2, error)
        assert await run_transaction(source, function, retries=2, backoff=0) == "done"
        assert len(calls) == 3
        function, calls = failing(3, error)
        with pytest.raises(error):
            await run_transaction(source, function, retries=2, backoff=0)
        assert len(calls) == 3


@pytest.mark.anyio
@pytest.mark.parametrize("error", [UniqueViolation, OperationalError, ValueError, anyq.Rollback])
async def test_nothing_else_is(pool: AsyncConnectionPool, error: type[Exception]) -> None:
    function, calls = failing(1, error)
    if error is anyq.Rollback:
        assert await run_transaction(pool, function) is None
    else:
        with pytest.raises(error):
            await run_transaction(pool, function)
    assert len(calls) == 1


@pytest.mark.anyio
async def test_nor_is_a_lost_connection(pool: AsyncConnectionPool) -> None:
    calls = 0

    async def lose(conn: AsyncConnection[Any]) -> None:
        nonlocal calls
        calls += 1
        await conn.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    with pytest.raises(OperationalError):
        await run_transaction(pool, lose)
    assert calls == 1


class Group(Exception):
    """As an exception group is, which not every Python has."""

    def __init__(self, *exceptions: Exception) -> None:
        self.exceptions = exceptions


def test_of_a_group_all_must_be() -> None:
    assert is_retried(Group(SerializationFailure(), Group(DeadlockDetected())))
    assert not is_retried(Group(SerializationFailure(), ValueError()))
    assert not is_retried(ValueError())


@pytest.mark.anyio
async def test_a_cancellation_rolls_back(pool: AsyncConnectionPool, table: str) -> None:
    async def wait(conn: AsyncConnection[Any]) -> None:
        await conn.execute(f"UPDATE {table} SET n = 1")
        scope.cancel()
        await anyio.sleep_forever()

    with anyio.CancelScope() as scope:
        await run_transaction(pool, wait)
    assert scope.cancelled_caught
    assert await (await pool.execute(f"SELECT n FROM {table}")).fetchone() == (0,)


@pytest.fixture
def natively(anyio_backend: tuple[str, dict[str, Any]]) -> bool:
    """Each way to cancel on one of asyncio's two loops; trio has cancel scopes only."""
    name, options = anyio_backend
    return name == "asyncio" and not options["use_uvloop"]


@pytest.mark.anyio
@pytest.mark.parametrize("owner", ["pool", "connection", "block"])
async def test_each_wait_cancelled(dsn: str, table: str, owner: str, natively: bool) -> None:
    """All of it is rolled back, or committed; settings are what they were, and the connection is back in its pool."""
    settings = IsolationLevel.REPEATABLE_READ, False, True
    sets = {"grace_period": PATIENCE, "autocommit": True}
    kept: list[Any] = []
    values = [0]
    calls = 0
    ran = False

    async def set_some(conn: AsyncConnection[Any]) -> None:
        await conn.set_isolation_level(settings[0])
        await conn.set_read_only(settings[1])
        await conn.set_deferrable(settings[2])
        kept.append(conn)

    async def increment(conn: AsyncConnection[Any]) -> None:
        nonlocal calls, ran
        assert await (await conn.execute("SHOW transaction_isolation")).fetchone() == ("serializable",)
        await conn.execute(f"UPDATE {table} SET n = n + 1")
        await conn.execute(f"UPDATE {table} SET n = n + 1")
        calls += 1
        if calls % 2 and owner != "block":
            raise SerializationFailure
        ran = True

    async def operation() -> None:
        nonlocal ran
        ran = False
        if owner == "block":
            level = IsolationLevel.SERIALIZABLE
            async with pool.transaction(isolation_level=level, read_only=False, deferrable=False) as conn:
                await increment(conn)
        else:
            source: Any = pool if owner == "pool" else own
            await run_transaction(source, increment, isolation_level=IsolationLevel.SERIALIZABLE, backoff=0.001)

    async def check() -> None:
        await until(lambda: not (pool.books.busy or pool.books.opening))
        assert (len(pool.books.out), len(pool.books.waiting), len(pool.books.idle)) == (0, 0, 1)
        async with pool.connection() as lent:
            assert lent is kept[0]
            for conn in (lent, own):
                assert conn.session.transaction_status is TransactionStatus.IDLE
                assert (conn.isolation_level, conn.read_only, conn.deferrable) == settings
                assert not conn.session.transactions.blocks
                row = await (await conn.execute(f"SELECT n FROM {table}")).fetchone()
        assert row is not None
        assert row[0] in ((values[-1], values[-1] + 2) if ran else (values[-1],))
        values.append(row[0])

    async with (
        AsyncConnectionPool(dsn, min_size=1, max_size=1, kwargs=sets, configure=set_some, timeout=PATIENCE) as pool,
        AsyncConnection.connect(dsn, autocommit=True, grace_period=PATIENCE) as own,
    ):
        await pool.wait()
        await set_some(own)
        assert await cancel_at_each_wait(operation, check, natively=natively) > 5
    assert values[-1] - values[-2] == 2, "the last one was not cancelled"


@pytest.mark.anyio
async def test_each_wait_for_a_setting_cancelled(dsn: str, natively: bool) -> None:
    async def operation() -> None:
        async with with_settings(conn, IsolationLevel.SERIALIZABLE, True, True):
            assert (conn.isolation_level, conn.read_only, conn.deferrable) == (IsolationLevel.SERIALIZABLE, True, True)

    async def check() -> None:
        assert (conn.isolation_level, conn.read_only, conn.deferrable) == (IsolationLevel.REPEATABLE_READ, False, None)

    async with AsyncConnection.connect(dsn) as conn:
        await conn.set_isolation_level(IsolationLevel.REPEATABLE_READ)
        await conn.set_read_only(False)
        assert await cancel_at_each_wait(operation, check, natively=natively) >= 3


@pytest.mark.anyio
async def test_only_a_whole_transaction_can_be(pool: AsyncConnectionPool) -> None:
    function, calls = failing(0, ValueError)
    async with pool.connection() as conn, conn.transaction():
        with pytest.raises(ProgrammingError, match="one is open"):
            await run_transaction(conn, function)
    assert not calls


# -- settings


@pytest.mark.anyio
async def test_a_block_has_its_settings_and_the_next_client_not(pool: AsyncConnectionPool, table: str) -> None:
    async with pool.transaction(isolation_level=IsolationLevel.REPEATABLE_READ, read_only=True) as conn:
        row = await (await conn.execute("SHOW transaction_isolation")).fetchone()
        assert row == ("repeatable read",)
        with pytest.raises(ReadOnlySqlTransaction):
            await conn.execute(f"UPDATE {table} SET n = 1")
        raise anyq.Rollback
    async with pool.transaction() as conn:
        assert (conn.isolation_level, conn.read_only) == (None, None)
        await conn.execute(f"UPDATE {table} SET n = 2")
    assert await (await pool.execute(f"SELECT n FROM {table}")).fetchone() == (2,)


@pytest.mark.anyio
async def test_the_level_is_of_the_transaction(pool: AsyncConnectionPool) -> None:
    async def level(conn: AsyncConnection[Any]) -> Any:
        return await (await conn.execute("SHOW transaction_isolation")).fetchone()

    async with pool.connection() as conn:
        assert await run_transaction(conn, level, isolation_level=IsolationLevel.SERIALIZABLE) == ("serializable",)
        assert conn.isolation_level is None


# -- in threads


@pytest.fixture
def sync_pool(dsn: str) -> Iterator[ConnectionPool]:
    with ConnectionPool(dsn, min_size=1, max_size=2) as pool:
        yield pool


def test_threads_do_the_same(sync_pool: ConnectionPool) -> None:
    calls: list[Connection[Any]] = []

    def function(conn: Connection[Any]) -> str:
        calls.append(conn)
        if len(calls) < 3:
            raise SerializationFailure
        row = conn.execute("SHOW transaction_isolation").fetchone()
        assert row is not None
        return str(row[0])

    assert run_transaction(sync_pool, function, isolation_level=IsolationLevel.SERIALIZABLE, backoff=0) == (
        "serializable"
    )
    assert len(calls) == 3
    with sync_pool.connection() as conn:
        assert run_transaction(conn, function) == "read committed"
        conn.execute("SELECT 1")
        with pytest.raises(ProgrammingError, match="one is open"):
            run_transaction(conn, function)
    with pytest.raises(ValueError, match="^no$"):
        run_transaction(sync_pool, _raise)


def _raise(conn: Connection[Any]) -> None:
    raise ValueError("no")


@pytest.mark.parametrize("retries", [0, 1, 9])
def test_so_often_and_no_more_in_a_thread(
    sync_pool: ConnectionPool, monkeypatch: pytest.MonkeyPatch, retries: int
) -> None:
    """The pauses are given by the longest that each may be: chance takes up to a half of it."""
    pauses: list[float] = []
    monkeypatch.setattr(retrying, "time", SimpleNamespace(sleep=pauses.append))
    monkeypatch.setattr(retrying, "random", SimpleNamespace(uniform=lambda low, high: {(0.5, 1.0): 1.0}[low, high]))
    calls = 0

    def function(conn: Connection[Any]) -> None:
        nonlocal calls
        calls += 1
        raise SerializationFailure

    with pytest.raises(SerializationFailure):
        run_transaction(sync_pool, function, retries=retries, backoff=0.01)
    assert calls == retries + 1
    assert pauses == pytest.approx([0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.0, 1.0][:retries])


def test_a_block_in_a_thread(sync_pool: ConnectionPool) -> None:
    with sync_pool.transaction(read_only=True, deferrable=True) as conn:
        assert conn.execute("SHOW transaction_read_only").fetchone() == ("on",)
        assert conn.execute("SHOW transaction_deferrable").fetchone() == ("on",)
    with sync_pool.transaction() as conn:
        assert conn.execute("SHOW transaction_deferrable").fetchone() == ("off",)
        raise anyq.Rollback
    with sync_pool.connection() as conn:
        assert (conn.read_only, conn.deferrable) == (None, None)


@pytest.mark.any_loop
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # of connections that nobody has any more
@pytest.mark.parametrize("owner", ["pool", "connection", "block"])
def test_interrupted_at_any_step(portal_backend: object, dsn: str, owner: str) -> None:
    """By Ctrl-C: what was begun is rolled back, settings are what they were, and no connection is lost for good."""

    def function(conn: Connection[Any]) -> None:
        assert conn.execute("SHOW transaction_isolation").fetchone() == ("serializable",)

    def call() -> None:
        if owner == "block":
            with pool.transaction(isolation_level=IsolationLevel.SERIALIZABLE, read_only=True) as conn:
                function(conn)
        else:
            source: Any = pool if owner == "pool" else own
            run_transaction(source, function, isolation_level=IsolationLevel.SERIALIZABLE)

    def check(where: str) -> None:
        with pool.connection() as lent:
            assert (lent.isolation_level, lent.read_only) == (None, None), where
            lent.execute("SELECT 1")
        assert pool.get_stats()["pool_size"] == 1, where
        assert own.isolation_level is IsolationLevel.REPEATABLE_READ, where
        own.execute("SELECT 1")
        assert own.info.transaction_status is TransactionStatus.IDLE, where

    with (
        ConnectionPool(dsn, min_size=1, max_size=1, timeout=PATIENCE) as pool,
        anyq.connect(dsn, autocommit=True) as own,
    ):
        own.isolation_level = IsolationLevel.REPEATABLE_READ
        call()
        assert interrupt_at_each_step(call, check) > 100


# -- arguments of no use


async def task_function(conn: object) -> int:
    return 1


def thread_function(conn: object) -> int:
    return 1


WRONG = pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"retries": "x"}, TypeError, "retries must be an int, not 'x'"),
        ({"retries": 1.5}, TypeError, "retries must be an int, not 1.5"),
        ({"retries": -1}, ValueError, "retries must be 0 or more, not -1"),
        ({"backoff": "x"}, TypeError, "backoff must be a number, not 'x'"),
        ({"backoff": -1}, ValueError, "backoff must be 0 or more, not -1"),
        ({"isolation_level": "x"}, ValueError, "must be one of IsolationLevel.READ_UNCOMMITTED, .*not 'x'"),
    ],
)


@pytest.mark.anyio
@WRONG
async def test_settings_of_no_use(
    pool: AsyncConnectionPool, kwargs: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        await run_transaction(pool, task_function, **kwargs)


@WRONG
def test_settings_of_no_use_in_a_thread(
    portal_backend: object, dsn: str, kwargs: dict[str, Any], error: type[Exception], message: str
) -> None:
    with ConnectionPool(dsn, min_size=0, max_size=1) as pool, pytest.raises(error, match=message):
        run_transaction(pool, thread_function, **kwargs)


@pytest.mark.anyio
async def test_arguments_in_each_others_place(pool: AsyncConnectionPool) -> None:
    run: Any = run_transaction
    for wrong in (
        (task_function, pool),
        (pool, None),
        (pool, "x"),
        (None, task_function),
        (AsyncConnectionPool, print),
    ):
        with pytest.raises(TypeError, match=r"run_transaction\(\) takes a connection or a pool, and then a function"):
            await run(*wrong)


@pytest.mark.anyio
async def test_a_function_that_is_not_asynchronous(pool: AsyncConnectionPool, table: str) -> None:
    run: Any = run_transaction
    with pytest.raises(TypeError, match="thread_function.* cannot be awaited: .* it has to be a coroutine function"):
        await run(pool, thread_function)
    assert await (await pool.execute(f"SELECT n FROM {table}")).fetchone() == (0,)
