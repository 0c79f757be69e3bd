"""Makes an operation that can be repeated and timed of a workload and a driver.

Each function here is a block: it connects, makes the tables, gives the operation, and closes. So every measurement has
connections of its own, and nothing of a driver is open while another one is measured.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from time import perf_counter
from typing import Any, NamedTuple

import anyio

from .drivers.base import Asking, Driver, SyncAsking, SyncDriver, Unsupported
from .typed import SENT, TYPES, are_loaded, are_sent, load_query
from .workloads import (
    COPY_COUNT,
    COPY_TABLE,
    INSERT_RESET,
    INSERT_SUMS,
    INSERT_TABLE,
    ONE_ROW,
    POOL_SIZE,
    SELECTS,
    Workload,
    insert_rows,
    notify,
    person_class,
)


class Operation(NamedTuple):
    run: Asking
    check: Callable[[Any], Awaitable[None]]
    """Given what an operation returned: raises AssertionError if that is not right."""
    latencies: list[float] | None = None
    """Where it has parts whose longest times are wanted: the seconds of each."""


class SyncOperation(NamedTuple):
    run: SyncAsking
    check: Callable[[Any], None]


def is_one_row(row: Any) -> None:
    assert tuple(row) == ONE_ROW, row


def are_one_row(rows: list[Any], size: int) -> None:
    assert [tuple(row) for row in rows] == [ONE_ROW] * size, rows


def class_of(workload: Workload) -> Any:
    """Return the class of the objects to be made."""
    try:
        return person_class(workload.type)
    except ImportError as error:
        raise Unsupported from error


def are_inserted(rows: Any, size: int) -> None:
    assert [tuple(row) for row in rows] == [(size, size * (size - 1) // 2)], rows


# -- with an event loop


@contextlib.asynccontextmanager
async def connected(driver: Driver, dsn: str, size: int = 1) -> AsyncIterator[list[Any]]:
    conns: list[Any] = []
    try:
        for _ in range(size):
            conns.append(await driver.connect(dsn))
        yield conns
    finally:
        for conn in conns:
            await driver.close(conn)


@contextlib.asynccontextmanager
async def one(driver: Driver, workload: Workload, dsn: str) -> AsyncIterator[Operation]:
    async with connected(driver, dsn) as (conn,):

        async def check(row: Any) -> None:
            is_one_row(row)

        yield Operation(driver.one(conn), check)


@contextlib.asynccontextmanager
async def fetch(driver: Driver, workload: Workload, dsn: str) -> AsyncIterator[Operation]:
    async with connected(driver, dsn) as (conn,):
        await driver.prepare(conn)
        if table := workload.table(workload.size):
            await driver.execute(conn, table)

        async def check(rows: Any) -> None:
            workload.check(workload.size, rows)

        yield Operation(driver.many(conn, workload.query(workload.size)), check)


@contextlib.asynccontextmanager
async def objects(driver: Driver, workload: Workload, dsn: str) -> AsyncIterator[Operation]:
    cls = class_of(workload)
    async with connected(driver, dsn) as (conn,):
        await driver.execute(conn, workload.table(workload.size))

        async def check(rows: Any) -> None:
            workload.check(workload.size, rows)

        yield Operation(driver.objects(conn, workload.query(workload.size), cls), check)


@contextlib.asynccontextmanager
async def group(driver: Driver, workload: Workload, dsn: str) -> AsyncIterator[Operation]:
    async with connected(driver, dsn) as (conn,):

        async def check(rows: Any) -> None:
            are_one_row(rows, workload.size)

        yield Operation(driver.group(conn, workload.size), check)


@contextlib.asynccontextmanager
async def pipeline(driver: Driver, workload: Workload, dsn: str) -> AsyncIterator[Operation]:
    async with connected(driver, dsn) as (conn,):

        async def check(rows: Any) -> None:
            are_one_row(rows, workload.size)

        yield Operation(driver.pipeline(conn, workload.size), check)


def at_once(asking: list[Asking]) -> Operation:
    """Return that each is asked `SELECTS` times in a task of its own, all at the same time."""

    async def repeat(one: Asking, results: list[Any]) -> None:
        row = None
        for _ in range(SELECTS):
            row = await one()
        results.append(row)

    async def run() -> list[Any]:
        results: list[Any] = []
        async with anyio.create_task_group() as tasks:
            for one in asking:
                tasks.start_soon(repeat, one, results)
        return results

    async def check(rows: Any) -> None:
        are_one_row(rows, len(asking))

    return Operation(run, check)


@contextlib.asynccontextmanager
async def connections(driver: Driver, workload: Workload, dsn: str) -> AsyncIterator[Operation]:
    async with connected(driver, dsn, workload.size) as conns:
        yield at_once([driver.one(conn) for conn in conns])


@contextlib.asynccontextmanager
async def checkout(driver: Driver, workload: Workload, dsn: str) -> AsyncIterator[Operation]:
    async with driver.pool(dsn, POOL_SIZE) as acquire:

        async def run() -> None:
            async with acquire():
                pass

        async def check(nothing: Any) -> None:
            async with acquire() as conn:
                is_one_row(await driver.one(conn)())

        yield Operation(run, check)


@contextlib.asynccontextmanager
async def pool(driver: Driver, workload: Workload, dsn: str) -> AsyncIterator[Operation]:
    async with driver.pool(dsn, POOL_SIZE) as acquire:

        async def one() -> Any:
            async with acquire() as conn:
                return await driver.one(conn)()

        yield at_once([one] * workload.size)


@contextlib.asynccontextmanager
async def selects(driver: Driver, workload: Workload, dsn: str) -> AsyncIterator[Operation]:
    async with driver.selecting(dsn, POOL_SIZE) as (one, _):
        yield at_once([one] * workload.size)


def beside_a_slow_one(lent: bool) -> Callable[[Driver, Workload, str], AbstractAsyncContextManager[Operation]]:
    """:param lent: whether each statement has a connection of the pool."""

    @contextlib.asynccontextmanager
    async def tail(driver: Driver, workload: Workload, dsn: str) -> AsyncIterator[Operation]:
        latencies: list[float] = []
        block = driver.lending if lent else driver.selecting
        async with block(dsn, POOL_SIZE) as (one, slow), anyio.create_task_group() as beside:

            async def timed() -> Any:
                began = perf_counter()
                row = await one()
                latencies.append(perf_counter() - began)
                return row

            async def go_on() -> None:
                while True:
                    await slow()

            beside.start_soon(go_on)
            yield at_once([timed] * (workload.size - 1))._replace(latencies=latencies)
            beside.cancel_scope.cancel()

    return tail


@contextlib.asynccontextmanager
async def insert(driver: Driver, workload: Workload, dsn: str) -> AsyncIterator[Operation]:
    async with connected(driver, dsn) as (conn,):
        await driver.execute(conn, INSERT_TABLE)
        run, count = driver.insert(conn, insert_rows(workload.size)), driver.many(conn, INSERT_SUMS)

        async def check(nothing: Any) -> None:
            await driver.execute(conn, INSERT_RESET)
            await run()
            are_inserted(await count(), workload.size)

        yield Operation(run, check)


@contextlib.asynccontextmanager
async def connect(driver: Driver, workload: Workload, dsn: str) -> AsyncIterator[Operation]:
    async def run() -> None:
        await driver.close(await driver.connect(dsn))

    async def check(nothing: Any) -> None:
        async with connected(driver, dsn) as (conn,):
            is_one_row(await driver.one(conn)())

    yield Operation(run, check)


class Arrivals:
    """Counts what subscribers take, until it is all."""

    def expect(self, number: int) -> None:
        self.left = number
        self._event = anyio.Event()

    def take(self) -> None:
        self.left -= 1
        if not self.left:
            self._event.set()

    async def wait(self) -> None:
        await self._event.wait()


@contextlib.asynccontextmanager
async def notifications(driver: Driver, workload: Workload, dsn: str) -> AsyncIterator[Operation]:
    if workload.beside and not driver.queries_while_listening:
        raise Unsupported
    arrivals, text = Arrivals(), notify(workload.size)
    async with (
        connected(driver, dsn, 2) as (conn, sender),
        driver.listen(conn, dsn, workload.subscribers, arrivals.take),
    ):
        beside = driver.one(conn)

        async def run() -> int:
            arrivals.expect(workload.size * workload.subscribers)
            await driver.execute(sender, text)
            await arrivals.wait()
            return arrivals.left

        async def query() -> None:
            for _ in range(workload.beside):
                await beside()

        async def run_beside() -> int:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(query)
                left = await run()
            return left

        async def check(left: int) -> None:
            # Each must come once: one too many would be taken for one of the next.
            if driver.queries_while_listening:
                await driver.execute(conn, "SELECT 1")
            assert left == arrivals.left == 0, left

        yield Operation(run_beside if workload.beside else run, check)


@contextlib.asynccontextmanager
async def stream(driver: Driver, workload: Workload, dsn: str) -> AsyncIterator[Operation]:
    async with connected(driver, dsn) as (conn,):

        async def check(result: Any) -> None:
            workload.check(workload.size, result)

        yield Operation(driver.stream(conn, workload.query(workload.size)), check)


@contextlib.asynccontextmanager
async def cursor(driver: Driver, workload: Workload, dsn: str) -> AsyncIterator[Operation]:
    async with connected(driver, dsn) as (conn,):

        async def check(result: Any) -> None:
            workload.check(workload.size, result)

        yield Operation(driver.cursor(conn, workload.query(workload.size)), check)


def copying(way: str) -> Callable[[Driver, Workload, str], AbstractAsyncContextManager[Operation]]:
    @contextlib.asynccontextmanager
    async def copy(driver: Driver, workload: Workload, dsn: str) -> AsyncIterator[Operation]:
        async with connected(driver, dsn) as (conn,):
            await driver.execute(conn, COPY_TABLE)
            run = driver.copy(conn, way, workload.size, "false")
            keep, count = driver.copy(conn, way, workload.size, "true"), driver.many(conn, COPY_COUNT)

            async def check(rows: Any) -> None:
                if way.startswith("out"):
                    assert rows == workload.size
                else:
                    await keep()
                    assert [tuple(row) for row in await count()] == [(workload.size,)]
                    await driver.execute(conn, "TRUNCATE bench_copied")

            yield Operation(run, check)

    return copy


@contextlib.asynccontextmanager
async def load(driver: Driver, workload: Workload, dsn: str) -> AsyncIterator[Operation]:
    kind, size = TYPES[workload.type], workload.size
    async with connected(driver, dsn) as (conn,):
        if kind.create:
            await driver.execute(conn, kind.create)
        kind = await driver.register(conn, kind)
        await driver.execute(conn, kind.stored(size))

        async def check(rows: Any) -> None:
            are_loaded(kind, size, rows)

        yield Operation(driver.many(conn, load_query(size)), check)


@contextlib.asynccontextmanager
async def dump(driver: Driver, workload: Workload, dsn: str) -> AsyncIterator[Operation]:
    kind, size = TYPES[workload.type], workload.size
    async with connected(driver, dsn) as (conn,):
        if kind.create:
            await driver.execute(conn, kind.create)
        kind = await driver.register(conn, kind)
        rows = kind.rows(size)
        await driver.execute(conn, kind.sent_table(len(rows[0])))
        run = driver.send(conn, kind.sent(driver.style, len(rows[0]), "false"), rows)
        keep = driver.send(conn, kind.sent(driver.style, len(rows[0]), "true"), rows)
        sent = driver.many(conn, SENT)

        async def check(nothing: Any) -> None:
            await driver.execute(conn, "TRUNCATE bench_sent")
            await keep()
            are_sent(kind, size, await sent())

        yield Operation(run, check)


COPIES = ("in_rows", "in_bytes", "out_rows", "out_bytes")
"""The ways to copy."""

KINDS: dict[str, Callable[[Driver, Workload, str], AbstractAsyncContextManager[Operation]]] = {
    "one": one,
    "fetch": fetch,
    "objects": objects,
    "group": group,
    "pipeline": pipeline,
    "connections": connections,
    "checkout": checkout,
    "pool": pool,
    "selects": selects,
    "tail": beside_a_slow_one(lent=False),
    "tail_lent": beside_a_slow_one(lent=True),
    "insert": insert,
    "connect": connect,
    "notify": notifications,
    "stream": stream,
    "cursor": cursor,
    "load": load,
    "dump": dump,
    **{f"copy_{way}": copying(way) for way in COPIES},
}


# -- without one


@contextlib.contextmanager
def sync_connected(driver: SyncDriver, dsn: str, size: int = 1) -> Iterator[list[Any]]:
    conns: list[Any] = []
    try:
        for _ in range(size):
            conns.append(driver.connect(dsn))
        yield conns
    finally:
        for conn in conns:
            driver.close(conn)


@contextlib.contextmanager
def sync_one(driver: SyncDriver, workload: Workload, dsn: str) -> Iterator[SyncOperation]:
    with sync_connected(driver, dsn) as (conn,):
        yield SyncOperation(driver.one(conn), driver.checks(is_one_row))


@contextlib.contextmanager
def sync_fetch(driver: SyncDriver, workload: Workload, dsn: str) -> Iterator[SyncOperation]:
    with sync_connected(driver, dsn) as (conn,):
        if table := workload.table(workload.size):
            driver.execute(conn, table)
        yield SyncOperation(
            driver.many(conn, workload.query(workload.size)),
            driver.checks(lambda rows: workload.check(workload.size, rows)),
        )


@contextlib.contextmanager
def sync_objects(driver: SyncDriver, workload: Workload, dsn: str) -> Iterator[SyncOperation]:
    cls = class_of(workload)
    with sync_connected(driver, dsn) as (conn,):
        driver.execute(conn, workload.table(workload.size))
        yield SyncOperation(
            driver.objects(conn, workload.query(workload.size), cls),
            driver.checks(lambda rows: workload.check(workload.size, rows)),
        )


@contextlib.contextmanager
def sync_group(driver: SyncDriver, workload: Workload, dsn: str) -> Iterator[SyncOperation]:
    with sync_connected(driver, dsn) as (conn,):
        one = driver.one(conn)
        yield SyncOperation(
            lambda: [one() for _ in range(workload.size)],
            driver.checks(lambda rows: are_one_row(rows, workload.size)),
        )


@contextlib.contextmanager
def sync_pipeline(driver: SyncDriver, workload: Workload, dsn: str) -> Iterator[SyncOperation]:
    with sync_connected(driver, dsn) as (conn,):
        yield SyncOperation(
            driver.pipeline(conn, workload.size), driver.checks(lambda rows: are_one_row(rows, workload.size))
        )


@contextlib.contextmanager
def sync_at_once(driver: SyncDriver, asking: list[SyncAsking]) -> Iterator[SyncOperation]:
    """Each is asked in a thread of its own; the threads stay, so that only the selects are timed."""

    def repeat(one: SyncAsking) -> Any:
        row = None
        for _ in range(SELECTS):
            row = one()
        return row

    with ThreadPoolExecutor(len(asking)) as threads:
        yield SyncOperation(
            lambda: list(threads.map(repeat, asking)), driver.checks(lambda rows: are_one_row(rows, len(asking)))
        )


@contextlib.contextmanager
def sync_connections(driver: SyncDriver, workload: Workload, dsn: str) -> Iterator[SyncOperation]:
    with (
        sync_connected(driver, dsn, workload.size) as conns,
        sync_at_once(driver, [driver.one(conn) for conn in conns]) as operation,
    ):
        yield operation


@contextlib.contextmanager
def sync_checkout(driver: SyncDriver, workload: Workload, dsn: str) -> Iterator[SyncOperation]:
    with driver.pool(dsn, POOL_SIZE) as acquire:

        def run() -> None:
            with acquire():
                pass

        def check(nothing: Any) -> None:
            with acquire() as conn:
                is_one_row(driver.one(conn)())

        yield SyncOperation(run, driver.checks(check))


@contextlib.contextmanager
def sync_pool(driver: SyncDriver, workload: Workload, dsn: str) -> Iterator[SyncOperation]:
    with driver.pool(dsn, POOL_SIZE) as acquire:

        def one() -> Any:
            with acquire() as conn:
                return driver.one(conn)()

        with sync_at_once(driver, [one] * workload.size) as operation:
            yield operation


@contextlib.contextmanager
def sync_selects(driver: SyncDriver, workload: Workload, dsn: str) -> Iterator[SyncOperation]:
    with (
        driver.selecting(dsn, POOL_SIZE) as one,
        sync_at_once(driver, [one] * workload.size) as operation,
    ):
        yield operation


@contextlib.contextmanager
def sync_insert(driver: SyncDriver, workload: Workload, dsn: str) -> Iterator[SyncOperation]:
    with sync_connected(driver, dsn) as (conn,):
        driver.execute(conn, INSERT_TABLE)
        run, count = driver.insert(conn, insert_rows(workload.size)), driver.many(conn, INSERT_SUMS)

        def check(nothing: Any) -> None:
            driver.execute(conn, INSERT_RESET)
            run()
            are_inserted(count(), workload.size)

        yield SyncOperation(run, driver.checks(check))


@contextlib.contextmanager
def sync_connect(driver: SyncDriver, workload: Workload, dsn: str) -> Iterator[SyncOperation]:
    def check(nothing: Any) -> None:
        with sync_connected(driver, dsn) as (conn,):
            is_one_row(driver.one(conn)())

    yield SyncOperation(lambda: driver.close(driver.connect(dsn)), driver.checks(check))


@contextlib.contextmanager
def sync_notifications(driver: SyncDriver, workload: Workload, dsn: str) -> Iterator[SyncOperation]:
    """One subscriber: several would be as many threads, and then it is them that are measured."""
    if workload.subscribers > 1 or workload.beside:
        raise Unsupported
    text = notify(workload.size)
    with sync_connected(driver, dsn, 2) as (conn, sender), driver.listen(conn) as receive:

        def run() -> None:
            driver.execute(sender, text)
            receive(workload.size)

        # It would not have come back if one were missing.
        yield SyncOperation(run, lambda nothing: None)


@contextlib.contextmanager
def sync_stream(driver: SyncDriver, workload: Workload, dsn: str) -> Iterator[SyncOperation]:
    with sync_connected(driver, dsn) as (conn,):
        yield SyncOperation(
            driver.stream(conn, workload.query(workload.size)),
            driver.checks(lambda result: workload.check(workload.size, result)),
        )


@contextlib.contextmanager
def sync_cursor(driver: SyncDriver, workload: Workload, dsn: str) -> Iterator[SyncOperation]:
    with sync_connected(driver, dsn) as (conn,):
        yield SyncOperation(
            driver.cursor(conn, workload.query(workload.size)),
            driver.checks(lambda result: workload.check(workload.size, result)),
        )


def sync_copying(way: str) -> Callable[[SyncDriver, Workload, str], AbstractContextManager[SyncOperation]]:
    @contextlib.contextmanager
    def copy(driver: SyncDriver, workload: Workload, dsn: str) -> Iterator[SyncOperation]:
        with sync_connected(driver, dsn) as (conn,):
            driver.execute(conn, COPY_TABLE)
            run = driver.copy(conn, way, workload.size, "false")
            keep, count = driver.copy(conn, way, workload.size, "true"), driver.many(conn, COPY_COUNT)

            def check(rows: Any) -> None:
                if way.startswith("out"):
                    assert rows == workload.size
                else:
                    keep()
                    assert [tuple(row) for row in count()] == [(workload.size,)]
                    driver.execute(conn, "TRUNCATE bench_copied")

            yield SyncOperation(run, driver.checks(check))

    return copy


@contextlib.contextmanager
def sync_load(driver: SyncDriver, workload: Workload, dsn: str) -> Iterator[SyncOperation]:
    kind, size = TYPES[workload.type], workload.size
    with sync_connected(driver, dsn) as (conn,):
        if kind.create:
            driver.execute(conn, kind.create)
        kind = driver.register(conn, kind)
        driver.execute(conn, kind.stored(size))
        yield SyncOperation(
            driver.many(conn, load_query(size)), driver.checks(lambda rows: are_loaded(kind, size, rows))
        )


@contextlib.contextmanager
def sync_dump(driver: SyncDriver, workload: Workload, dsn: str) -> Iterator[SyncOperation]:
    kind, size = TYPES[workload.type], workload.size
    with sync_connected(driver, dsn) as (conn,):
        if kind.create:
            driver.execute(conn, kind.create)
        kind = driver.register(conn, kind)
        rows = kind.rows(size)
        driver.execute(conn, kind.sent_table(len(rows[0])))
        run = driver.send(conn, kind.sent(driver.style, len(rows[0]), "false"), rows)
        keep = driver.send(conn, kind.sent(driver.style, len(rows[0]), "true"), rows)
        sent = driver.many(conn, SENT)

        def check(nothing: Any) -> None:
            driver.execute(conn, "TRUNCATE bench_sent")
            keep()
            are_sent(kind, size, sent())

        yield SyncOperation(run, driver.checks(check))


SYNC_KINDS: dict[str, Callable[[SyncDriver, Workload, str], AbstractContextManager[SyncOperation]]] = {
    "one": sync_one,
    "fetch": sync_fetch,
    "objects": sync_objects,
    "group": sync_group,
    "pipeline": sync_pipeline,
    "connections": sync_connections,
    "checkout": sync_checkout,
    "pool": sync_pool,
    "selects": sync_selects,
    "insert": sync_insert,
    "connect": sync_connect,
    "notify": sync_notifications,
    "stream": sync_stream,
    "cursor": sync_cursor,
    "load": sync_load,
    "dump": sync_dump,
    **{f"copy_{way}": sync_copying(way) for way in COPIES},
}
