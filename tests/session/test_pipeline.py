"""PipelineQueue: when a segment is sent, how often, what it prepares, and what it leaves behind when it fails or is
cancelled at any wait.

What a block gives to its user is in tests/test_pipeline.py.
"""

from __future__ import annotations

import datetime
from contextlib import suppress
from typing import Any

import anyio
import pytest

import anyq
from anyq import AsyncConnection, TransactionStatus
from anyq import errors as e
from anyq.pq import Format, PipelineStatus
from anyq.session import pipeline as pipelines
from anyq.session.pipeline import own_pipeline, refuse_if_in_pipeline
from tests.support.activity import held_lock
from tests.support.pipelines import autocommit, conn, content, insert, manual
from tests.support.spying import spy_on_requests
from tests.support.state import pipelining, status
from tests.support.stepping import cancel_at_each_wait
from tests.support.victims import as_victim

__all__ = ["autocommit", "conn", "manual"]

pytestmark = pytest.mark.anyio


class Spy:
    """Counts the requests of a connection, by kind."""

    def __init__(self, conn: AsyncConnection) -> None:
        self._noted = spy_on_requests(conn)

    @property
    def requests(self) -> list[str]:
        return [type(request).__name__ for request in self._noted]

    def clear(self) -> None:
        self._noted.clear()


async def test_one_round_trip_for_all(manual: AsyncConnection) -> None:
    conn = manual
    spy = Spy(conn)
    async with conn.pipeline():
        cursors = [await conn.execute("SELECT %s::int", [i]) for i in range(100)]
        for cursor in cursors:
            await cursor.fetchone()
    assert spy.requests == ["SegmentRequest"]


async def test_in_a_transaction_pieces_are_sent_by_their_size(
    manual: AsyncConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    conn = manual
    monkeypatch.setattr(pipelines, "SEGMENT_BYTES", 1000)
    spy = Spy(conn)
    async with conn.pipeline():
        for _ in range(10):
            await conn.execute("SELECT %s::text", ["x" * 400])
    assert spy.requests == ["SegmentRequest"] * 4
    await conn.rollback()
    await conn.set_autocommit(True)
    spy.clear()
    async with conn.pipeline():
        for _ in range(10):
            await conn.execute("SELECT %s::text", ["x" * 400])
    assert spy.requests == ["SegmentRequest"]


async def test_own_pipeline_is_that_of_the_task(manual: AsyncConnection) -> None:
    conn = manual
    assert own_pipeline(conn.session) is None
    refuse_if_in_pipeline(conn.session, "this")
    async with conn.pipeline() as pipeline:
        assert own_pipeline(conn.session) is pipeline.queue
        with pytest.raises(e.ProgrammingError, match="this cannot be used in a pipeline block"):
            refuse_if_in_pipeline(conn.session, "this")

        async def child() -> None:
            assert own_pipeline(conn.session) is None
            refuse_if_in_pipeline(conn.session, "this")

        async with anyio.create_task_group() as group:
            group.start_soon(child)
    assert own_pipeline(conn.session) is None


async def test_a_queue_that_is_flushed_by_many(manual: AsyncConnection) -> None:
    conn = manual
    async with conn.pipeline() as pipeline:
        queue = pipeline.queue
        assert queue is not None
        cursors = [await conn.execute("SELECT %s::int", [i]) for i in range(3)]
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(queue.flush)
        assert not queue.has_queued
        assert [cursor.rowcount for cursor in cursors] == [1, 1, 1]


@pytest.mark.parametrize("autocommit", [False, True])
@pytest.mark.parametrize("natively", [False, True])
async def test_every_wait_of_a_block_is_cancelled(
    dsn: str, anyio_backend_name: str, autocommit: bool, natively: bool
) -> None:
    if natively and anyio_backend_name != "asyncio":
        pytest.skip("trio has cancel scopes only")
    async with AsyncConnection.connect(dsn, autocommit=autocommit) as conn:
        await conn.execute("CREATE TEMP TABLE t (a int)")
        await conn.commit()

        async def block() -> None:
            async with conn.pipeline() as pipeline:
                await conn.execute("INSERT INTO t VALUES (1)")
                cursor = await conn.execute("SELECT 2")
                assert await cursor.fetchone() == (2,)
                await conn.execute("SET work_mem = '4MB'")
                await pipeline.sync()
                async with conn.transaction():
                    await conn.execute("INSERT INTO t VALUES (3)")
                await conn.cursor().executemany("INSERT INTO t VALUES (%s)", [[4], [5]])
                async with conn.pipeline():
                    await conn.notify("c", "x")
                await conn.commit()

        async def check() -> None:
            assert not conn.closed
            assert not conn.session.transactions.pipelines
            assert not conn.session.wire.protocol.pending
            await conn.rollback()
            assert await (await conn.execute("SELECT 7")).fetchone() == (7,)
            await conn.rollback()
            assert status(conn) is TransactionStatus.IDLE

        with anyio.fail_after(60):
            times = await cancel_at_each_wait(block, check, natively=natively)
        assert times > 10


async def test_a_segment_that_was_a_victim_is_sent_again(dsn: str) -> None:
    """In a transaction of its own, of which nothing is left."""
    async with AsyncConnection.connect(dsn, autocommit=True) as conn:
        await conn.execute("CREATE TEMP TABLE t (a int)")

        async def block(waits: str) -> None:
            async with conn.pipeline():
                await conn.execute("INSERT INTO t VALUES (1)")
                cursor = await conn.execute(f"SELECT {waits}".encode())
                await conn.execute("INSERT INTO t VALUES (2)")
                assert await cursor.fetchone() == ("",)

        await as_victim(conn, dsn, block)
        assert await (await conn.execute("SELECT a FROM t")).fetchall() == [(1,), (2,)]


async def test_a_victim_that_cannot_be_sent_again_says_so(dsn: str) -> None:
    async with AsyncConnection.connect(dsn, autocommit=True) as conn:

        async def block(waits: str) -> None:
            async with conn.pipeline():
                await conn.execute("BEGIN")
                cursor = await conn.execute(f"SELECT {waits}".encode())
                with pytest.raises(e.QueryCanceled):
                    await cursor.fetchone()

        await as_victim(conn, dsn, block)
        assert status(conn) is TransactionStatus.INERROR
        await conn.rollback()


# -- how much there is


async def test_much_in_both_directions_at_once(conn: AsyncConnection) -> None:
    value = "x" * 200_000
    with anyio.fail_after(60):
        async with conn.pipeline():
            cursors = [await conn.execute("SELECT %s::text", [value]) for _ in range(200)]
            # In autocommit mode it is one transaction; otherwise it is sent piece by piece.
            assert sum(cursor.rowcount == -1 for cursor in cursors) == (200 if conn.autocommit else 0)
            for cursor in cursors:
                assert await cursor.fetchone() == (value,)


async def test_an_error_in_one_piece_skips_the_others(manual: AsyncConnection) -> None:
    async with manual.pipeline() as pipeline:
        await insert(manual, 1, 1)
        cursors = [await manual.execute("SELECT %s::text", ["x" * 200_000]) for _ in range(5)]
        rolled_back = await manual.execute("ROLLBACK")
        for cursor in (*cursors, rolled_back):
            with pytest.raises(e.PipelineAborted, match="duplicate key"):
                await cursor.fetchone()
        with pytest.raises(e.UniqueViolation):
            await pipeline.sync()
        assert status(manual) is TransactionStatus.INERROR
        await manual.rollback()


async def test_a_result_does_not_keep_the_others(conn: AsyncConnection) -> None:
    async with conn.pipeline():
        small = await conn.execute("SELECT 1")
        await conn.execute("SELECT repeat('x', 1000000)")
    assert await small.fetchone() == (1,)
    assert small._request is not None
    assert [result.count for result in small._request.results] == [1]


async def test_many_statements_behind_an_error(manual: AsyncConnection, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is remembered of them is bounded."""
    monkeypatch.setattr(pipelines, "MOST_SKIPPED", 3)
    monkeypatch.setattr(pipelines, "SEGMENT_BYTES", 100)
    with pytest.raises(e.PipelineAborted):
        async with manual.pipeline() as pipeline:
            wrong = await manual.execute("SELECT 1 / 0")
            for i in range(100):
                await manual.execute("SELECT %s::text", [str(i) * 20])
            assert pipeline.queue is not None
            assert len(pipeline.queue._skipped) == 3
            with pytest.raises(e.DivisionByZero):
                await wrong.fetchone()


# -- prepared statements


async def test_statements_are_prepared_as_outside(conn: AsyncConnection) -> None:
    statements = conn.session.composer.statements
    async with conn.pipeline() as pipeline:
        cursors = [await conn.execute("SELECT %s::int AS prepared", [i]) for i in range(20)]
        await pipeline.sync()
        assert len(statements) == 1
        assert [await cursor.fetchone() for cursor in cursors] == [(i,) for i in range(20)]
        cursors = [await conn.execute("SELECT %s::int AS prepared", [i]) for i in range(5)]
        names = await conn.execute("SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%AS prepared'")
        assert [await cursor.fetchone() for cursor in cursors] == [(i,) for i in range(5)]
        assert await names.fetchone() == (1,)
        never = await conn.execute("SELECT 1 AS never", prepare=False)
        now = await conn.execute("SELECT 1 AS now", prepare=True)
        assert (await never.fetchone(), await now.fetchone()) == ((1,), (1,))
        assert len(statements) == 2


async def test_what_was_prepared_behind_an_error_is_not_believed(conn: AsyncConnection) -> None:
    statements = conn.session.composer.statements
    await conn.execute("SHOW work_mem")  # the table is older than this, so a failure cannot have undone it
    async with conn.pipeline() as pipeline:
        await conn.execute("SELECT 1 / 0")
        await conn.execute("SELECT 'skipped'", prepare=True)
        with pytest.raises(e.DivisionByZero):
            await pipeline.sync()
        assert len(statements) == 0
        await conn.rollback()
        cursor = await conn.execute("SELECT 'skipped'", prepare=True)
        assert await cursor.fetchone() == ("skipped",)
        assert len(statements) == 1
        wrong = await conn.execute("SELECT %s / 0", [1], prepare=True)  # parsed, and fails
        with pytest.raises(e.DivisionByZero):
            await wrong.fetchone()
        assert len(statements) == 2
        await pipeline.sync()
        await conn.rollback()
        wrong = await conn.execute("SELECT * FROM no_such_table", prepare=True)
        with pytest.raises(e.UndefinedTable):
            await wrong.fetchone()
        assert len(statements) == 2
    await conn.rollback()


async def test_statements_that_drop_or_change_what_was_prepared(conn: AsyncConnection) -> None:
    async with conn.pipeline():
        for _ in range(3):
            await conn.execute("SELECT * FROM t", prepare=True)
            await conn.execute("DEALLOCATE ALL")
            await conn.execute("SELECT * FROM t", prepare=True)
            await conn.execute("ALTER TABLE t ADD b int")
            wide = await conn.execute("SELECT * FROM t", prepare=True)
            await conn.execute("ALTER TABLE t DROP b")
            await conn.execute("DEALLOCATE ALL")
        assert await wide.fetchall() == []
        assert [column.name for column in wide.description or ()] == ["a", "b"]


async def test_a_statement_that_went_stale_is_sent_again(autocommit: AsyncConnection, dsn: str, schema: str) -> None:
    conn = autocommit
    table = f"{schema}.stale"
    async with AsyncConnection.connect(dsn, autocommit=True) as other:
        await other.execute(f"CREATE TABLE {table} (a int)".encode())
        async with conn.pipeline() as pipeline:
            await conn.execute(f"SELECT * FROM {table}".encode(), prepare=True)
            await pipeline.sync()
            await other.execute(f"ALTER TABLE {table} ADD b int".encode())
            await insert(conn, 1)
            cursor = await conn.execute(f"SELECT * FROM {table}".encode(), prepare=True)
            await insert(conn, 2)
            assert await cursor.fetchall() == []
            assert len(cursor.description or ()) == 2
        assert await content(conn) == [1, 2]


async def test_prepare_threshold_none_prepares_nothing(conn: AsyncConnection) -> None:
    conn.prepare_threshold = None
    async with conn.pipeline():
        for _ in range(20):
            await conn.execute("SELECT 1", prepare=True)
    cursor = await conn.execute("SELECT count(*) FROM pg_prepared_statements")
    assert await cursor.fetchone() == (0,)


async def test_more_statements_than_are_kept(conn: AsyncConnection) -> None:
    conn.prepared_max = 3
    async with conn.pipeline():
        for n in range(2):
            cursors = [await conn.execute(f"SELECT {i}, {n}".encode(), prepare=True) for i in range(10)]
            assert [await cursor.fetchone() for cursor in cursors] == [(i, n) for i in range(10)]
    assert len(conn.session.composer.statements) == 3


# -- what a segment's values are loaded by


async def test_adapters_that_are_registered_before_the_result_is_fetched(conn: AsyncConnection) -> None:
    class Loader(anyq.Loader):
        def load(self, data: Any) -> Any:
            return "loaded"

    class BinaryLoader(Loader):
        format = Format.BINARY

    for _ in range(8):  # until it is prepared
        async with conn.pipeline() as pipeline:
            cursor = await conn.execute("SELECT 'x'::text")
            other = await conn.execute("SELECT 'x'::text")
            cursor.adapters.register_loader("text", Loader)
            cursor.adapters.register_loader("text", BinaryLoader)
            await pipeline.sync()
            assert await cursor.fetchone() == ("loaded",)
            assert await other.fetchone() == ("x",)


async def test_settings_that_a_function_changes_leave_values_in_doubt(conn: AsyncConnection) -> None:
    """As in a text of several statements; nothing is loaded by a setting that may be another one."""
    await conn.execute(
        "CREATE FUNCTION pg_temp.change() RETURNS text LANGUAGE sql"
        " AS $$ SELECT set_config('DateStyle', 'SQL, DMY', false) $$"
    )
    await conn.execute("SET DateStyle = 'SQL, MDY'")
    async with conn.pipeline() as pipeline:
        date = await conn.execute("SELECT '2000-02-01'::date")
        number = await conn.execute("SELECT 5")
        await conn.execute("SELECT pg_temp.change()")
        behind = await conn.execute("SELECT '2000-02-01'::date")
        await pipeline.sync()
        assert await number.fetchone() == (5,)
        for cursor in (date, behind):
            with pytest.raises(e.DataError):
                await cursor.fetchone()
        alone = await conn.execute("SELECT '2000-02-01'::date")
        assert await alone.fetchone() == (datetime.date(2000, 2, 1),)
        await conn.execute("SET DateStyle = 'ISO'")


async def test_settings_that_the_servers_function_changes_are_known(conn: AsyncConnection) -> None:
    await conn.execute("SET DateStyle = 'SQL, MDY'")
    async with conn.pipeline():
        before = await conn.execute("SELECT '2000-02-01'::date")
        await conn.execute("SELECT set_config('DateStyle', 'SQL, DMY', false)")
        behind = await conn.execute("SELECT '2000-02-01'::date")
        for cursor in (before, behind):
            assert await cursor.fetchone() == (datetime.date(2000, 2, 1),)
        await conn.execute("SET DateStyle = 'ISO'")


# -- the end of connections, and cancellation


async def terminate(dsn: str, conn: AsyncConnection) -> None:
    async with AsyncConnection.connect(dsn, autocommit=True) as other:
        await other.execute("SELECT pg_terminate_backend(%s, 10000)", [conn.info.backend_pid])


async def test_a_connection_that_is_lost_inside(anyio_backend: object, dsn: str) -> None:
    conn = await AsyncConnection.connect(dsn)
    with pytest.raises(e.OperationalError):
        async with conn.pipeline():
            one = await conn.execute("SELECT 1")
            await terminate(dsn, conn)
            two = await conn.execute("SELECT 2")
    for cursor in (one, two):
        with pytest.raises(e.OperationalError):
            await cursor.fetchone()
    assert conn.closed
    assert not conn.session.transactions.pipelines
    await conn.close()


async def test_the_backend_dies_amid_a_segment(anyio_backend: object, dsn: str) -> None:
    conn = await AsyncConnection.connect(dsn)
    pipeline = await conn.pipeline().__aenter__()
    one = await conn.execute("SELECT 1")
    two = await conn.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    three = await conn.execute("SELECT 3")
    with suppress(e.OperationalError):
        assert await one.fetchone() == (1,)
    for cursor in (two, three):
        with pytest.raises(e.OperationalError) as error:
            await cursor.fetchone()
        assert not isinstance(error.value, e.PipelineAborted)
    with pytest.raises(e.OperationalError):
        await conn.execute("SELECT 4")
    with pytest.raises(e.OperationalError):
        await pipeline.__aexit__(None, None, None)
    await conn.close()


async def test_a_cancelled_fetch(conn: AsyncConnection, dsn: str) -> None:
    async with held_lock(dsn) as lock, conn.pipeline() as pipeline:
        one = await conn.execute("INSERT INTO t VALUES (1) RETURNING a")
        two = await conn.execute(lock.statement.encode())
        three = await conn.execute("SELECT 3")
        async with anyio.create_task_group() as group:

            async def cancel() -> None:
                await lock.until_wanted(conn.info.backend_pid)
                scope.cancel()

            group.start_soon(cancel)
            with anyio.CancelScope() as scope:
                await two.fetchone()
        assert scope.cancelled_caught
        for cursor in (one, two, three):
            with pytest.raises(e.OperationalError, match="cancelled"):
                await cursor.fetchone()
        assert pipelining(pipeline) is PipelineStatus.ABORTED
        with pytest.raises(e.PipelineAborted):
            await (await conn.execute("SELECT 4")).fetchone()
        await pipeline.sync()
        await conn.rollback()
        assert await content(conn) == []


async def test_a_task_that_waits_for_what_another_one_has_sent(autocommit: AsyncConnection, dsn: str) -> None:
    conn = autocommit
    errors: list[Exception] = []
    async with held_lock(dsn) as lock, conn.pipeline():
        cursors = [await conn.execute(lock.statement.encode()) for _ in range(3)]

        async def fetch(i: int) -> None:
            try:
                await cursors[i].fetchone()
            except e.OperationalError as error:
                errors.append(error)

        async with anyio.create_task_group() as group:

            async def first() -> None:
                with scope:
                    await fetch(0)

            scope = anyio.CancelScope()
            group.start_soon(first)
            await lock.until_wanted(conn.info.backend_pid)
            group.start_soon(fetch, 1)
            group.start_soon(fetch, 2)
            await anyio.wait_all_tasks_blocked()
            scope.cancel()
        assert scope.cancelled_caught
        assert len(errors) == 2
    assert await content(conn) == []


async def test_execute_lets_others_run_and_sees_cancellations(conn: AsyncConnection) -> None:
    ran = 0

    async def count() -> None:
        nonlocal ran
        while True:
            ran += 1
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as group:
        group.start_soon(count)
        async with conn.pipeline():
            for i in range(129):
                await conn.execute("SELECT %s::int", [i])
            assert ran >= 2
        with anyio.CancelScope() as scope:
            async with conn.pipeline() as pipeline:
                await conn.execute("SELECT 1")
                scope.cancel()
                await conn.execute("SELECT 2")
        assert scope.cancelled_caught
        assert pipeline.queue is not None
        assert pipeline.queue.count == 1
        group.cancel_scope.cancel()
    await conn.rollback()
