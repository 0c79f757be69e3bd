"""A work queue in a table, on trio: jobs are taken by FOR UPDATE SKIP LOCKED, and LISTEN tells of new ones.

    python examples/work_queue.py [--dsn DSN] [--workers N] [--jobs N]

Each worker takes a job in a transaction and keeps its row locked while it works, so that no other worker sees it, in
this process or in another. The result is committed with the job's end. A worker that fails, or dies, rolls back, and
the job is there again for somebody else; one that has failed too often is put aside. Idle workers wait for a
notification, and ask for nothing meanwhile.

Ctrl-C, or the last job, ends it: what has been taken is finished, and nothing new is taken. A second Ctrl-C cancels
what is under way, and its jobs are free again.
"""

from __future__ import annotations

import argparse
import signal
import sys
from typing import NamedTuple

import trio

import anyq
from anyq.cli.embedded import EmbeddedServer, ServerUnavailable
from anyq.pool import AsyncConnectionPool

MOST_ATTEMPTS = 3

TABLE = """
CREATE SCHEMA queue;
CREATE TABLE queue.job (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    number int NOT NULL,
    result int,
    failures int NOT NULL DEFAULT 0,
    finished_at timestamptz
);
CREATE INDEX ON queue.job (id) WHERE finished_at IS NULL
"""

TAKE = """
SELECT id, number FROM queue.job
WHERE finished_at IS NULL AND failures < %s
ORDER BY id FOR UPDATE SKIP LOCKED LIMIT 1
"""


class Job(NamedTuple):
    id: int
    number: int


class Queue:
    """What the workers of this process share."""

    def __init__(self, pool: AsyncConnectionPool, wanted: int) -> None:
        self.pool = pool
        self.wanted = wanted
        self.done = 0
        self.closing = trio.Event()
        self.news = trio.Event()
        """Is set when there may be a job, and another one made then."""

    def wake(self) -> None:
        self.news.set()
        self.news = trio.Event()

    def close(self) -> None:
        self.closing.set()
        self.wake()

    def count(self) -> None:
        self.done += 1
        if self.done == self.wanted:
            self.close()


async def square(job: Job) -> int:
    """Do the work. Jobs whose number ends in 7 fail, always."""
    await trio.lowlevel.checkpoint()
    if job.number % 10 == 7:
        raise ValueError(f"I cannot do {job.number}")
    return job.number**2


async def take_one(queue: Queue, name: str) -> bool:
    """Take a job, and do it; return whether there was one."""
    async with queue.pool.connection() as conn, conn.transaction():
        row = await (await conn.execute(TAKE, (MOST_ATTEMPTS,))).fetchone()
        if row is None:
            return False
        job = Job(*row)
        try:
            # What the work has written before it fails is rolled back to here, and the row stays locked.
            async with conn.transaction():
                result = await square(job)
                await conn.execute(
                    "UPDATE queue.job SET result = %s, finished_at = now() WHERE id = %s", (result, job.id)
                )
            over, text = True, f"gives {result}"
        except ValueError as error:
            cur = await conn.execute(
                "UPDATE queue.job SET failures = failures + 1 WHERE id = %s RETURNING failures = %s",
                (job.id, MOST_ATTEMPTS),
            )
            over, text = bool((await cur.fetchall())[0][0]), f"has failed: {error}"
    # Behind the block, and so behind the commit.
    print(f"{name}: job {job.number} {text}")
    if over:
        queue.count()
    return True


async def work(queue: Queue, name: str) -> None:
    while not queue.closing.is_set():
        # Before it looks: a job that comes between the look and the wait is not missed.
        news = queue.news
        if not await take_one(queue, name):
            await news.wait()


async def listen(dsn: str, queue: Queue, task_status: trio.TaskStatus[None]) -> None:
    """Wake the workers when there is something to do. After a lost connection there may be, too: then comes a Gap."""
    async with anyq.listen(dsn, "jobs") as events:
        task_status.started()
        async for _ in events:
            queue.wake()


async def end_on_signal(queue: Queue, workers: trio.CancelScope) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            if queue.closing.is_set():
                workers.cancel()
            queue.close()


async def send(dsn: str, count: int) -> None:
    """Be the rest of the world: put jobs into the queue."""
    async with anyq.AsyncConnection.connect(dsn, autocommit=True) as conn:
        for number in range(1, count + 1):
            async with conn.transaction():
                await conn.execute("INSERT INTO queue.job (number) VALUES (%s)", (number,))
                # It is sent when the transaction is committed, and so when there is a job to be seen.
                await conn.notify("jobs")


async def main(dsn: str, workers: int, jobs: int) -> None:
    async with AsyncConnectionPool(dsn, min_size=1, max_size=workers) as pool:
        for statement in TABLE.split(";"):
            await pool.execute(statement)
        queue = Queue(pool, jobs)
        try:
            async with trio.open_nursery() as helpers:
                await helpers.start(listen, dsn, queue)
                helpers.start_soon(send, dsn, jobs)
                async with trio.open_nursery() as crew:
                    helpers.start_soon(end_on_signal, queue, crew.cancel_scope)
                    for number in range(workers):
                        crew.start_soon(work, queue, f"worker {number}")
                helpers.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True):
                cur = await pool.execute("SELECT count(finished_at), count(*) FROM queue.job")
                print("{} of {} jobs done".format(*(await cur.fetchall())[0]))
                await pool.execute("DROP SCHEMA queue CASCADE")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--dsn", help="connection string or URI; by default an embedded server is started")
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=10)
    arguments = parser.parse_args()
    try:
        if arguments.dsn is not None:
            trio.run(main, arguments.dsn, arguments.workers, arguments.jobs)
        else:
            with EmbeddedServer() as server:
                trio.run(main, server.dsn, arguments.workers, arguments.jobs)
    except ServerUnavailable as error:
        sys.exit(str(error))
