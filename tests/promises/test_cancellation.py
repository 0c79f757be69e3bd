"""Promise 2: an operation that is cancelled at any point leaves a connection that is ready or closed.

Every public coroutine is cancelled at the first point where it waits, at the second, and so on until it gets through.
After each time the connection must answer the next query with that query's rows, the server must have stopped working
for it, and no socket may be left over.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import anyio
import pytest

from anyq import AsyncConnection, TransactionStatus
from anyq import errors as e
from anyq.types import TypeInfo
from tests.support.cancelled import (
    NAME,
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

ROWS = 3000

Operation = Callable[[AsyncConnection], Awaitable[Any]]


async def cancelled_at(operation: Awaitable[Any], n: int, native: bool) -> bool:
    """Cancel `operation` when it waits for the n-th time; return whether it came to that.

    :param native: by asyncio's task.cancel() rather than by a cancel scope.
    """
    with anyio.fail_after(PATIENCE):
        if native:
            task: asyncio.Task[Any]

            async def run() -> Any:
                return await attempt

            attempt = CancelAt(operation, n, lambda: task.cancel())
            task = asyncio.ensure_future(run())
            try:
                await task
            except asyncio.CancelledError:
                assert attempt.waits >= n
        else:
            with anyio.CancelScope() as scope:
                attempt = CancelAt(operation, n, scope.cancel)
                await attempt
            # A cancellation in the very last wait may have come too late to stop anything, but not before.
            assert not scope.cancelled_caught or attempt.waits >= n
    return attempt.waits >= n


@pytest.fixture(params=[False, True], ids=["scope", "native"])
def native(request: pytest.FixtureRequest, anyio_backend_name: str) -> bool:
    if request.param and anyio_backend_name != "asyncio":
        pytest.skip("trio has cancel scopes only")
    return bool(request.param)


# -- operations on a connection


async def simple(conn: AsyncConnection) -> None:
    await conn.execute("SELECT generate_series(1, 10)")


async def several(conn: AsyncConnection) -> None:
    cursor = await conn.execute("SELECT 1; SELECT 2; SELECT 3")
    async for _ in cursor.results():
        await cursor.fetchall()
    await cursor.set_result(1)


async def with_parameters(conn: AsyncConnection) -> None:
    await conn.execute("SELECT %s, %s", [1, "x"])


async def prepared(conn: AsyncConnection) -> None:
    for _ in range(3):
        await conn.execute("SELECT %s + 1", [1], prepare=True)


async def binary(conn: AsyncConnection) -> None:
    await conn.cursor(binary=True).execute(f"SELECT {random.random()}".encode())


async def many_rows(conn: AsyncConnection) -> None:
    await conn.execute("SELECT repeat('x', 100) FROM generate_series(1, 30000)")


async def large_values(conn: AsyncConnection) -> None:
    await conn.execute("SELECT repeat('x', 3000000), length(%s)", ["x" * 3_000_000])


async def failing(conn: AsyncConnection) -> None:
    with pytest.raises(e.UndefinedTable):
        await conn.execute("SELECT * FROM nosuch")


async def fetching(conn: AsyncConnection) -> None:
    cursor = await conn.execute("SELECT generate_series(1, 200)")
    await cursor.fetchone()
    await cursor.fetchmany(3)
    await cursor.scroll(1)
    async for _ in cursor:
        pass
    await cursor.fetchall()
    await cursor.close()


async def streaming(conn: AsyncConnection) -> None:
    async for _ in conn.cursor().stream("SELECT repeat('x', 100) FROM generate_series(1, 2000)"):
        pass


async def streaming_in_part(conn: AsyncConnection) -> None:
    async with conn.cursor().stream("SELECT generate_series(1, 10000000)", size=10) as rows:
        async for (number,) in rows:
            if number == 20:
                break


async def a_named_cursor(conn: AsyncConnection) -> None:
    async with conn.cursor("c", withhold=True, scrollable=True) as cursor:
        cursor.itersize = 20
        await cursor.execute("SELECT generate_series(1, %s)", [50])
        assert [number async for (number,) in cursor] == list(range(1, 51))
        await cursor.scroll(-10)
        assert len(await cursor.fetchmany(3) + await cursor.fetchall()) == 10
    async with conn.cursor("c", withhold=True) as cursor:
        await cursor.execute("SELECT 1")
        await cursor.execute("SELECT 2")
        assert await cursor.fetchone() == (2,)


async def many(conn: AsyncConnection) -> None:
    await conn.cursor().executemany("INSERT INTO t VALUES (%s)", [(i,) for i in range(ROWS)])


async def block(conn: AsyncConnection) -> None:
    async with conn.transaction():
        await conn.execute("INSERT INTO t VALUES (1)")
        await conn.execute("INSERT INTO t VALUES (2)")


async def nested_blocks(conn: AsyncConnection) -> None:
    async with conn.transaction("outer"):
        await conn.execute("INSERT INTO t VALUES (1)")
        async with conn.transaction():
            await conn.execute("INSERT INTO t VALUES (2)")
        async with conn.transaction(force_rollback=True):
            await conn.execute("INSERT INTO t VALUES (3)")


async def block_with_an_error(conn: AsyncConnection) -> None:
    with pytest.raises(ZeroDivisionError):
        async with conn.transaction():
            await conn.execute("INSERT INTO t VALUES (1)")
            raise ZeroDivisionError


async def pipelining(conn: AsyncConnection) -> None:
    async with conn.pipeline() as pipeline:
        await conn.execute("INSERT INTO t VALUES (1)")
        cursor = await conn.execute("SELECT 2")
        await cursor.fetchone()
        await conn.execute("SET work_mem = '4MB'")
        await pipeline.sync()
        await conn.cursor().executemany("INSERT INTO t VALUES (%s)", [[3], [4]])
        async with conn.pipeline():
            await conn.execute("INSERT INTO t VALUES (5)")
        await conn.commit()


async def pipelined_block(conn: AsyncConnection) -> None:
    async with conn.pipeline(), conn.transaction():
        await conn.execute("INSERT INTO t VALUES (1)")
        await conn.execute("INSERT INTO t VALUES (2)")


async def committing(conn: AsyncConnection) -> None:
    await conn.execute("SELECT 1")
    await conn.commit()


async def rolling_back(conn: AsyncConnection) -> None:
    await conn.execute("SELECT 1")
    await conn.rollback()


async def settings(conn: AsyncConnection) -> None:
    await conn.set_read_only(None)
    await conn.set_isolation_level(None)
    await conn.set_deferrable(None)


async def copying(conn: AsyncConnection) -> None:
    for query in (b"COPY t FROM STDIN", b"COPY t TO STDOUT"):
        with pytest.raises(e.ProgrammingError):
            await conn.execute(query, prepare=True)
        await conn.rollback()


async def copying_in(conn: AsyncConnection) -> None:
    async with conn.cursor().copy("COPY t FROM STDIN") as copy:
        await copy.write(b"1\n" * 100_000)
        for i in range(ROWS):
            await copy.write_row((i,))


async def copying_out(conn: AsyncConnection) -> None:
    async with conn.cursor().copy("COPY (SELECT generate_series(1, 30000)) TO STDOUT") as copy:
        async for _ in copy.rows():
            pass


async def copying_in_part(conn: AsyncConnection) -> None:
    async with conn.cursor().copy("COPY (SELECT generate_series(1, 300000)) TO STDOUT") as copy:
        await copy.read()


async def notifying(conn: AsyncConnection) -> None:
    await conn.notify("anyq_test_cancellation", "x")
    await conn.commit()


async def looking_up_a_type(conn: AsyncConnection) -> None:
    assert await TypeInfo.fetch(conn, "int4") is not None


async def changing_a_password(conn: AsyncConnection) -> None:
    with pytest.raises(e.UndefinedObject):
        await conn.change_password("nosuch", "secret")


async def several_tasks(conn: AsyncConnection) -> None:
    async def one_of_them() -> None:
        # A cancelled statement fails the transaction that all of them share; a CancelRequest that comes too late hits
        # one of the others, which cannot be repeated in the middle of a transaction.
        with suppress(*() if conn.autocommit else (e.InFailedSqlTransaction, e.QueryCanceled)):
            await conn.execute(WORK, [1000])

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(one_of_them)
        await conn.execute(WORK, [1000])


OPERATIONS: list[Operation] = [
    simple,
    several,
    with_parameters,
    prepared,
    binary,
    many_rows,
    large_values,
    failing,
    fetching,
    streaming,
    streaming_in_part,
    a_named_cursor,
    many,
    block,
    nested_blocks,
    block_with_an_error,
    pipelining,
    pipelined_block,
    committing,
    rolling_back,
    settings,
    copying,
    copying_in,
    copying_out,
    copying_in_part,
    notifying,
    looking_up_a_type,
    changing_a_password,
    several_tasks,
]


@pytest.fixture(params=[False, True], ids=["manual", "autocommit"])
def autocommit(request: pytest.FixtureRequest, native: bool, anyio_backend: tuple[str, dict[str, Any]]) -> bool:
    """Each with each way to cancel, on one of asyncio's two loops; both of them on trio."""
    name, options = anyio_backend
    if name == "asyncio" and request.param is (native is options["use_uvloop"]):
        pytest.skip("on the other one of asyncio's loops")
    return bool(request.param)


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_an_operation_that_is_cancelled_anywhere(
    operation: Operation, autocommit: bool, native: bool, dsn: str, observer: AsyncConnection
) -> None:
    whole: dict[Operation, set[int]] = {
        **{many: {0, ROWS}, block: {0, 2}, nested_blocks: {0, 2}, block_with_an_error: {0}, pipelined_block: {0, 2}}
    }
    async with connected(dsn, autocommit=autocommit) as conn:
        before = open_sockets()
        n = 1
        # A sample of the later points of long operations: they are many, and much the same.
        while await cancelled_at(operation(conn), n, native):
            assert conn.session.transactions.blocks == []
            assert not conn.session.transactions.pipelines
            assert not conn.closed
            if autocommit or operation in (block, pipelined_block, nested_blocks, block_with_an_error):
                assert conn.info.transaction_status is TransactionStatus.IDLE
            assert await at_work(observer) == 0
            assert open_sockets() == before
            await check_ready(conn, n)
            if operation in whole:
                cursor = await conn.execute("SELECT count(*) FROM t")
                assert (await cursor.fetchall())[0][0] in whole[operation]
                await conn.execute("TRUNCATE t")
                await conn.commit()
            n += 1 + n // 8
        assert n > 1
        await check_ready(conn, 0)


@pytest.mark.parametrize(
    ("n", "skips"),
    [
        pytest.param(1, 0, id="yields"),
        pytest.param(2, 0, id="waits"),
        pytest.param(1, 1000, id="waits-at-once"),
    ],
)
@pytest.mark.parametrize("prepare", [False, True])
async def test_a_statement_that_takes_for_ever(
    n: int, skips: int, prepare: bool, native: bool, dsn: str, observer: AsyncConnection
) -> None:
    async with connected(dsn) as conn:
        # Whether it looks for the reply before it waits.
        conn.session.wire.busy_wait.skip = skips
        assert await cancelled_at(conn.execute("SELECT pg_sleep(1000)", prepare=prepare), n, native)
        assert await at_work(observer) == 0
        await check_ready(conn, n)


async def connect_and_close(dsn: str) -> None:
    async with AsyncConnection.connect(dsn, application_name=NAME):
        pass


async def test_connecting(native: bool, dsn: str, observer: AsyncConnection) -> None:
    await connect_and_close(dsn)
    before = open_sockets()
    n = 1
    while await cancelled_at(connect_and_close(dsn), n, native):
        assert open_sockets() == before
        n += 1
    assert n > 3
    await until_none_is_left(observer)


async def test_connecting_with_a_password_to_one_of_several_hosts(
    native: bool, embedded_server: Any, observer: AsyncConnection
) -> None:
    dsn = f"{embedded_server.role_dsn('scram-sha-256')} host=/no/such/dir,localhost port=1,{embedded_server.port}"
    await connect_and_close(dsn)
    before = open_sockets()
    n = 1
    while await cancelled_at(connect_and_close(dsn), n, native):
        assert open_sockets() == before
        n += 1
    await until_none_is_left(observer)


@pytest.mark.parametrize("dirty", [False, True])
async def test_closing(dirty: bool, native: bool, dsn: str, observer: AsyncConnection) -> None:
    before = open_sockets()
    again, n = True, 1
    while again:
        conn = await AsyncConnection.connect(dsn, application_name=NAME)
        if dirty:
            await conn.execute("SELECT 1")
        again = await cancelled_at(conn.close(), n, native)
        assert conn.closed
        assert open_sockets() == before
        n += 1
    await until_none_is_left(observer)


async def test_leaving_the_block_of_a_connection(native: bool, dsn: str, observer: AsyncConnection) -> None:
    before = open_sockets()
    again, n = True, 1
    while again:
        conn = await AsyncConnection.connect(dsn, application_name=NAME)
        await conn.execute("SELECT 1")
        again = await cancelled_at(conn.__aexit__(None, None, None), n, native)
        assert conn.closed
        assert open_sockets() == before
        n += 1
    assert n > 2
    await until_none_is_left(observer)


async def test_waiting_for_the_end(native: bool, dsn: str) -> None:
    async with connected(dsn) as conn:
        for n in (1, 2):
            assert await cancelled_at(conn.wait_disconnected(), n, native)
            await check_ready(conn, n)


async def test_having_the_server_cancel(native: bool, dsn: str, observer: AsyncConnection) -> None:
    """A request that is on its way may still arrive, and then hits whatever runs; the connection is fine."""
    async with connected(dsn, autocommit=True) as conn:
        before = open_sockets()
        n = 1
        while await cancelled_at(conn.cancel_safe(), n, native):
            assert open_sockets() == before
            with suppress(e.QueryCanceled):
                await check_ready(conn, n)
            n += 1
        assert n > 1
        assert not conn.closed
    await until_none_is_left(observer)


async def test_everything_is_a_checkpoint(dsn: str) -> None:
    """Each coroutine waits at least once, and notices there that it is cancelled."""

    async def check(operation: Awaitable[Any]) -> None:
        with anyio.CancelScope() as scope:
            attempt = CancelAt(operation, 0, scope.cancel)
            scope.cancel()
            await attempt
        assert scope.cancelled_caught, operation

    async with connected(dsn) as conn:
        cursor = await conn.execute("SELECT 1; SELECT 2")
        named = await conn.cursor("c").execute("SELECT generate_series(1, 1000)")
        await named.__anext__()
        for operation in (
            conn.execute("SELECT 1"),
            conn.commit(),
            conn.rollback(),
            conn.set_autocommit(False),
            conn.set_isolation_level(None),
            conn.set_read_only(None),
            conn.set_deferrable(None),
            conn.transaction().__aenter__(),
            conn.notify("a"),
            conn.listen("a").__aenter__(),
            conn.notifies(timeout=0).__anext__(),
            conn.change_password("nosuch", "secret"),
            conn.cancel_safe(),
            conn.cancel(),
            TypeInfo.fetch(conn, "int4"),
            conn.wait_disconnected(),
            cursor.fetchone(),
            cursor.fetchmany(),
            cursor.fetchall(),
            cursor.__anext__(),
            cursor.scroll(0, "absolute"),
            cursor.results().__anext__(),
            cursor.set_result(0),
            conn.cursor().execute("SELECT 1"),
            conn.cursor().executemany("INSERT INTO t VALUES (%s)", []),
            conn.cursor().executemany("INSERT INTO t VALUES (%s)", [(1,)]),
            conn.cursor().stream("SELECT 1").__anext__(),
            conn.cursor().close(),
            conn.cursor("other").execute("SELECT 1"),
            named.fetchone(),
            named.fetchmany(),
            named.fetchall(),
            named.scroll(0),
            named.scroll(100, "absolute"),
            named.close(),
            connect_and_close(dsn),
            conn.pipeline().__aenter__(),
        ):
            await check(operation)
        async with conn.pipeline() as pipeline:
            for operation in (pipeline.sync(), conn.execute("SELECT 1"), conn.pipeline().__aenter__()):
                await check(operation)
            cursor = await conn.execute("SELECT 1")
            await check(cursor.fetchone())
            await check(cursor.fetchone())
        await check_ready(conn, 1)
        await check(conn.close())
        assert conn.closed
