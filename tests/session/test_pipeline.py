"""PipelineQueue: when a segment is sent, how often, and what it leaves behind when it is cancelled at any wait."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from anyq import AsyncConnection, TransactionStatus
from anyq import errors as e
from anyq.session import pipeline as pipelines
from anyq.session.pipeline import own_pipeline, refuse_if_in_pipeline
from tests.support.state import status
from tests.support.stepping import cancel_at_each_wait
from tests.support.victims import as_victim

pytestmark = pytest.mark.anyio


class Spy:
    """Counts the requests of a connection, by kind."""

    def __init__(self, conn: AsyncConnection, monkeypatch: pytest.MonkeyPatch) -> None:
        self.requests: list[str] = []
        wire = conn.session.wire
        run: Any = wire.run

        async def spy(request: Any, data: Any) -> None:
            self.requests.append(type(request).__name__)
            await run(request, data)

        monkeypatch.setattr(wire, "run", spy)


async def test_one_round_trip_for_all(conn: AsyncConnection, monkeypatch: pytest.MonkeyPatch) -> None:
    spy = Spy(conn, monkeypatch)
    async with conn.pipeline():
        cursors = [await conn.execute("SELECT %s::int", [i]) for i in range(100)]
        for cursor in cursors:
            await cursor.fetchone()
    assert spy.requests == ["SegmentRequest"]


async def test_in_a_transaction_pieces_are_sent_by_their_size(
    conn: AsyncConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipelines, "SEGMENT_BYTES", 1000)
    spy = Spy(conn, monkeypatch)
    async with conn.pipeline():
        for _ in range(10):
            await conn.execute("SELECT %s::text", ["x" * 400])
    assert spy.requests == ["SegmentRequest"] * 4
    await conn.rollback()
    await conn.set_autocommit(True)
    spy.requests.clear()
    async with conn.pipeline():
        for _ in range(10):
            await conn.execute("SELECT %s::text", ["x" * 400])
    assert spy.requests == ["SegmentRequest"]


async def test_own_pipeline_is_that_of_the_task(conn: AsyncConnection) -> None:
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


async def test_a_queue_that_is_flushed_by_many(conn: AsyncConnection) -> None:
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
