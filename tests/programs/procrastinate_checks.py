"""procrastinate, a task queue, on its connectors for psycopg: pools of both kinds, and LISTEN.

Tests of an inner pytest, which `tests/contrib/psycopg/test_procrastinate.py` runs. The schema is empty before.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from typing import Any

import psycopg_pool
import pytest
from procrastinate import App, JobContext, PsycopgConnector, RetryStrategy, SyncPsycopgConnector, exceptions

import anyq
from anyq.pool import AsyncConnectionPool, ConnectionPool

SCHEMA = os.environ["ANYQ_PROGRAM_SCHEMA"]
CONNECTION: dict[str, Any] = {
    "conninfo": os.environ["ANYQ_PROGRAM_DSN"],
    "kwargs": {"options": f"-c search_path={SCHEMA}", "application_name": SCHEMA},
}
HOURS = 3600 * 10.0
"""How often a worker asks on its own, which is never: what wakes it is a notification."""
LISTENING = "SELECT pid FROM pg_stat_activity WHERE application_name = %s AND query LIKE 'LISTEN %%' AND state = 'idle'"


@pytest.fixture
def queue() -> Iterator[Any]:
    """An application whose tables are there, and empty."""
    app = App(connector=PsycopgConnector(**CONNECTION, min_size=1, max_size=4))
    with app.open():
        app.schema_manager.apply_schema()
    yield app
    with anyq.connect(CONNECTION["conninfo"], autocommit=True) as conn:
        conn.execute(f"DROP SCHEMA {SCHEMA} CASCADE".encode())
        conn.execute(f"CREATE SCHEMA {SCHEMA}".encode())


async def states(app: Any) -> list[tuple[int, str, int]]:
    jobs = await app.job_manager.list_jobs_async()
    return sorted((job.id, job.status, job.attempts) for job in jobs)


def test_it_is_anyq(queue: Any) -> None:
    assert psycopg_pool.AsyncConnectionPool is AsyncConnectionPool
    with queue.open():
        assert type(queue.connector.get_sync_connector().pool) is ConnectionPool


def test_jobs(queue: Any) -> None:
    done: list[Any] = []

    @queue.task(name="add", retry=RetryStrategy(max_attempts=3), pass_context=True)
    async def add(context: JobContext, numbers: list[float], text: str) -> None:
        done.append((sum(numbers), text, context.job.attempts))
        if text == "again" and context.job.attempts == 0:
            raise ZeroDivisionError

    @queue.task(name="sync")
    def sync(value: Any) -> None:
        done.append(value)

    async def main() -> None:
        async with queue.open_async():
            assert type(queue.connector.pool) is AsyncConnectionPool
            await add.defer_async(numbers=[1, 2.5], text="it's")
            await add.defer_async(numbers=[], text="again")
            await sync.defer_async(value={"deep": [None, True, "ä"]})
            await add.configure(queueing_lock="one").defer_async(numbers=[7], text="locked")
            with pytest.raises(exceptions.AlreadyEnqueued):
                await add.configure(queueing_lock="one").defer_async(numbers=[8], text="locked")
            await add.batch_defer_async(*({"numbers": [number], "text": "many"} for number in range(20)))
            await queue.run_worker_async(wait=False, concurrency=4, listen_notify=False, install_signal_handlers=False)
            assert {status for _, status, _ in await states(queue)} == {"succeeded"}
            assert (2, "succeeded", 2) in await states(queue)

    asyncio.run(main())
    values: list[Any] = [
        (3.5, "it's", 0),
        (0, "again", 0),
        (0, "again", 1),
        {"deep": [None, True, "ä"]},
        (7, "locked", 0),
    ]
    values += [(number, "many", 0) for number in range(20)]
    assert sorted(done, key=repr) == sorted(values, key=repr)


def test_a_worker_that_listens(queue: Any) -> None:
    """It has nothing but notifications to go by; those of other processes, and after its connection was lost."""
    done: asyncio.Queue[str] = asyncio.Queue()

    @queue.task(name="greet")
    async def greet(name: str) -> None:
        done.put_nowait(name)

    def elsewhere(name: str) -> None:
        # As a web application defers, which has no event loop.
        with queue.with_connector(SyncPsycopgConnector(**CONNECTION, min_size=1)).open() as app:
            app.configure_task("greet").defer(name=name)

    async def listening(conn: Any, but: int | None = None) -> int:
        """Wait until a connection listens, and it is not the one that is known."""
        while True:
            pids = [row[0] for row in await (await conn.execute(LISTENING, [SCHEMA])).fetchall() if row[0] != but]
            if pids:
                return int(pids[0])

    async def main() -> None:
        async with queue.open_async(), anyq.AsyncConnection.connect(CONNECTION["conninfo"], autocommit=True) as conn:
            worker = asyncio.create_task(
                queue.run_worker_async(
                    fetch_job_polling_interval=HOURS, abort_job_polling_interval=HOURS, install_signal_handlers=False
                )
            )
            pid = await listening(conn)
            await greet.defer_async(name="one")
            assert await done.get() == "one"
            await asyncio.to_thread(elsewhere, "two")
            assert await done.get() == "two"
            await conn.execute("SELECT pg_terminate_backend(%s, 10000)", [pid])
            await listening(conn, but=pid)
            await greet.defer_async(name="three")
            assert await done.get() == "three"
            worker.cancel()
            with pytest.raises(asyncio.CancelledError):
                await worker
            assert [status for _, status, _ in await states(queue)] == ["succeeded"] * 3

    asyncio.run(main())


@pytest.mark.parametrize("pool_class", ["AsyncConnectionPool", "AsyncNullConnectionPool"])
def test_a_pool_of_the_program_s_own(queue: Any, pool_class: str) -> None:
    @queue.task(name="nothing")
    async def nothing() -> None:
        pass

    async def main() -> None:
        pool = getattr(psycopg_pool, pool_class)(**CONNECTION, open=False, max_size=4)
        async with pool, queue.open_async(pool):
            await nothing.defer_async()
            await queue.run_worker_async(wait=False, install_signal_handlers=False)
            assert await states(queue) == [(1, "succeeded", 1)]

    asyncio.run(main())
