"""Behind PgBouncer, in session and in transaction mode, and behind pgpool-II: real ones, where they are installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import anyio
import pytest

import anyq
from anyq import AsyncConnection
from anyq import errors as e
from tests.activity import until_sleeping
from tests.poolers import Pooler, PoolerMissing, pgbouncer, pgpool
from tests.server import Server

pytestmark = pytest.mark.anyio

PATIENCE = 30.0
MODES = ["session", "transaction", "pgpool"]


class Poolers:
    """The poolers of this module's tests, started when the first test asks for them."""

    def __init__(self, server: Server, stack: ExitStack) -> None:
        self._server = server
        self._stack = stack
        self._running: dict[str, Pooler | PoolerMissing] = {}

    def _start(self, name: str, run: Callable[[Server], AbstractContextManager[Pooler]]) -> Pooler:
        if name not in self._running:
            try:
                self._running[name] = self._stack.enter_context(run(self._server))
            except PoolerMissing as missing:
                self._running[name] = missing
        pooler = self._running[name]
        if isinstance(pooler, PoolerMissing):
            pytest.skip(str(pooler))
        return pooler

    @property
    def pgbouncer(self) -> Pooler:
        return self._start("pgbouncer", pgbouncer)

    @property
    def pgpool(self) -> Pooler:
        return self._start("pgpool", pgpool)

    def dsn(self, mode: str) -> str:
        """The connection string of the superuser through a pooler in that mode."""
        return self.pgpool.dsn("postgres") if mode == "pgpool" else self.pgbouncer.dsn(mode)


@pytest.fixture(scope="module")
def poolers(server: Server) -> Iterator[Poolers]:
    if not server.is_embedded:
        pytest.skip("a pooler needs the embedded server, and the tests were given an external one")
    with ExitStack() as stack:
        yield Poolers(server, stack)


def settings(mode: str) -> dict[str, Any]:
    """What the documentation says to connect with."""
    return {"prepare_threshold": None} if mode == "transaction" else {}


async def both_server_connections(poolers: Poolers) -> None:
    """Have both connections of the pool for transactions made, so that they take turns from now on."""
    async with (
        AsyncConnection.connect(poolers.dsn("transaction")) as one,
        AsyncConnection.connect(poolers.dsn("transaction")) as other,
    ):
        await one.execute("SELECT 1")
        await other.execute("SELECT 1")


async def value(conn: AsyncConnection, query: str, params: Any = None, **kwargs: Any) -> Any:
    cursor = await conn.execute(query, params, **kwargs)
    row = await cursor.fetchone()
    assert row is not None
    return row[0]


# -- what works in every mode


@pytest.mark.parametrize("mode", MODES)
async def test_queries(mode: str, poolers: Poolers) -> None:
    """By the simple protocol and by the extended one, and the statements that are run often enough to be prepared."""
    async with AsyncConnection.connect(poolers.dsn(mode), **settings(mode)) as conn:
        assert conn.info.server_version >= 160000 and conn.info.encoding == "utf-8"
        assert await value(conn, "SELECT 1") == 1
        await conn.commit()
        for number in range(8):
            assert await value(conn, "SELECT %s::int", [number]) == number
            await conn.commit()
        assert await value(conn, "SELECT %s::int4[]", [[1, 2]], binary=True) == [1, 2]
        cursor = await conn.execute("SELECT 1; SELECT 'ä'")
        assert [await result.fetchall() async for result in cursor.results()] == [[(1,)], [("ä",)]]
        with pytest.raises(e.DivisionByZero):
            await conn.execute("SELECT 1 / %s", [0])
        await conn.rollback()
        assert await value(conn, "SELECT 2") == 2


@pytest.mark.parametrize("mode", MODES)
async def test_transactions(mode: str, poolers: Poolers, schema: str) -> None:
    async with AsyncConnection.connect(poolers.dsn(mode), autocommit=True, **settings(mode)) as conn:
        await conn.execute(f"CREATE TABLE {schema}.t (n int)".encode())
        async with conn.transaction():
            await conn.execute(f"INSERT INTO {schema}.t VALUES (1)".encode())
            with pytest.raises(ZeroDivisionError):
                async with conn.transaction():
                    await conn.execute(f"INSERT INTO {schema}.t VALUES (2)".encode())
                    raise ZeroDivisionError
            await conn.execute(f"INSERT INTO {schema}.t VALUES (%s)".encode(), [3])
        with pytest.raises(ZeroDivisionError):
            async with conn.transaction():
                await conn.execute(f"INSERT INTO {schema}.t VALUES (4)".encode())
                raise ZeroDivisionError
        cursor = await conn.execute(f"SELECT n FROM {schema}.t ORDER BY n".encode())
        assert await cursor.fetchall() == [(1,), (3,)]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("autocommit", [False, True])
async def test_tasks_that_share_a_connection(autocommit: bool, mode: str, poolers: Poolers) -> None:
    """They are pipelined: many requests are on their way when the first reply comes."""
    found: dict[int, Any] = {}

    async def ask(conn: AsyncConnection, number: int) -> None:
        found[number] = await value(conn, "SELECT %s::int", [number])

    async with AsyncConnection.connect(poolers.dsn(mode), autocommit=autocommit, **settings(mode)) as conn:
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as group:
                for number in range(30):
                    group.start_soon(ask, conn, number)
        assert found == {number: number for number in range(30)}
        assert await value(conn, "SELECT 'still here'") == "still here"


@pytest.mark.parametrize("mode", MODES)
async def test_executemany(mode: str, poolers: Poolers, schema: str) -> None:
    async with AsyncConnection.connect(poolers.dsn(mode), autocommit=True, **settings(mode)) as conn:
        await conn.execute(f"CREATE TABLE {schema}.t (n int, s text)".encode())
        cursor = conn.cursor()
        with anyio.fail_after(PATIENCE):
            await cursor.executemany(
                f"INSERT INTO {schema}.t VALUES (%s, %s)".encode(), [(n, "x" * 100) for n in range(5000)]
            )
        assert cursor.rowcount == 5000
        await cursor.executemany("SELECT %s::int", [(1,), (2,)], returning=True)
        assert [await result.fetchone() async for result in cursor.results()] == [(1,), (2,)]
        assert await value(conn, f"SELECT count(*) FROM {schema}.t") == 5000
        with pytest.raises(e.NotNullViolation):
            await conn.execute(f"ALTER TABLE {schema}.t ALTER n SET NOT NULL".encode())
            await cursor.executemany(f"INSERT INTO {schema}.t VALUES (%s, '')".encode(), [(1,), (None,), (2,)])
        assert await value(conn, f"SELECT count(*) FROM {schema}.t") == 5000


@pytest.mark.parametrize("mode", MODES)
async def test_stream(mode: str, poolers: Poolers) -> None:
    async with AsyncConnection.connect(poolers.dsn(mode), **settings(mode)) as conn:
        total = 0
        with anyio.fail_after(PATIENCE):
            async for row in conn.cursor().stream("SELECT n, repeat('x', 100) FROM generate_series(1, %s) n", [20000]):
                total += row[0]
            assert total == 20000 * 20001 // 2
            async with conn.cursor().stream("SELECT generate_series(1, 100000000)") as rows:
                assert await anext(aiter(rows)) == (1,)
        await conn.rollback()
        assert await value(conn, "SELECT 1") == 1


@pytest.mark.parametrize("mode", MODES)
async def test_a_cancelled_statement(mode: str, poolers: Poolers, dsn: str) -> None:
    """The request to cancel goes through the pooler, which passes it on to the right server process."""
    async with AsyncConnection.connect(poolers.dsn(mode), **settings(mode)) as conn:
        pid = await value(conn, "SELECT pg_backend_pid()")
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as group:

                async def sleep() -> None:
                    await conn.execute("SELECT pg_sleep(1000)")

                group.start_soon(sleep)
                await until_sleeping(dsn, pid)
                group.cancel_scope.cancel()
        assert not conn.closed
        await conn.rollback()
        assert await value(conn, "SELECT 1") == 1


@pytest.mark.parametrize("mode", MODES)
async def test_cancel_safe(mode: str, poolers: Poolers, dsn: str) -> None:
    async with AsyncConnection.connect(poolers.dsn(mode), **settings(mode)) as conn:
        pid = await value(conn, "SELECT pg_backend_pid()")
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as group:

                async def sleep() -> None:
                    with pytest.raises(e.QueryCanceled):
                        await conn.execute("SELECT pg_sleep(1000)")

                group.start_soon(sleep)
                await until_sleeping(dsn, pid)
                await conn.cancel_safe()
        await conn.rollback()
        assert await value(conn, "SELECT 1") == 1
