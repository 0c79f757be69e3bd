"""The demo behind `anyq demo`: a tour of the driver that says what it does.

Knows the driver's public names, and the embedded server for those who have no other. It must not reach below
the public names: what it shows is what a user can write.
"""

from __future__ import annotations

import datetime as dt
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from uuid import UUID

import anyio

import anyq
from anyq import conninfo

from .embedded import EmbeddedServer, ServerUnavailable

#: Seconds to wait for a server that does not answer, where the connection string does not say.
_CONNECT_TIMEOUT = 10

#: Queries in the step about concurrency, and rows in the step about executemany.
_QUERIES = 200
_ROWS = 1000

#: Tasks that share notifications, and how many there are to share.
_WORKERS = 3
_ORDERS = 12

_SHOWN = (
    "connections on asyncio and on trio, by the same code",
    "parameters and results as Python objects",
    "transactions, and savepoints inside them",
    "batches with executemany()",
    "many tasks on one connection, pipelined without asking",
    "a cancelled query, and the connection ready for the next one",
    "notifications as streams, shared out among tasks or given to each, on the connection that the tasks query",
)


class _CannotConnect(Exception):
    """The demo's database cannot be reached."""


def main(dsn: str | None) -> int:
    """Run the demo on a database, or on an embedded server if that is None. Return the exit code."""
    try:
        if dsn is not None:
            _run(dsn)
        else:
            print("Starting a PostgreSQL server of our own in a temporary folder.", flush=True)
            with EmbeddedServer() as server:
                _run(server.dsn)
            print("The server is stopped and its folder removed.")
    except (_CannotConnect, ServerUnavailable) as error:
        print(f"anyq demo: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("anyq demo: interrupted", file=sys.stderr)
        return 130
    return 0


def _run(dsn: str) -> None:
    for backend in ("asyncio", "trio"):
        print(f"\n=== On {backend} ===", flush=True)
        anyio.run(_tour, dsn, backend=backend)
    print("\nWhat this showed, on asyncio and on trio alike:")
    for line in _SHOWN:
        print(f"  - {line}")


async def _connect(dsn: str) -> anyq.AsyncConnection:
    try:
        options = conninfo.conninfo_to_dict(dsn)
        options.setdefault("connect_timeout", _CONNECT_TIMEOUT)
        return await anyq.AsyncConnection.connect(autocommit=True, **options)
    except anyq.Error as error:
        reason = " ".join(str(error).split())
        raise _CannotConnect(f"cannot connect: {reason}") from error


async def _tour(dsn: str) -> None:
    step = _counter()

    step("Connect")
    async with await _connect(dsn) as conn:
        cur = await conn.execute("SELECT current_setting('server_version'), pg_backend_pid()")
        row = await cur.fetchone()
        assert row is not None
        print(f"   PostgreSQL {row[0]}, our backend has process id {row[1]}")

        step("Create a temporary table")
        await conn.execute("CREATE TEMPORARY TABLE demo (id int PRIMARY KEY, name text NOT NULL)")
        await _show_parameters(conn, step)
        await _show_transactions(conn, step)
        await _show_executemany(conn, step)
        await _show_tasks(conn, step)
        await _show_cancellation(conn, step)
        await _show_fan_out(conn, step)


def _counter() -> Callable[[str], None]:
    number = 0

    def step(title: str) -> None:
        nonlocal number
        number += 1
        print(f"{number}. {title}", flush=True)

    return step


async def _count(conn: anyq.AsyncConnection) -> int:
    row = await (await conn.execute("SELECT count(*) FROM demo")).fetchone()
    assert row is not None
    return int(row[0])


async def _show_parameters(conn: anyq.AsyncConnection, step: Callable[[str], None]) -> None:
    step("Insert with parameters: positional, then named")
    await conn.execute("INSERT INTO demo (id, name) VALUES (%s, %s)", (1, "O'Reilly"))
    named = {"id": 2, "name": "100 % Käse"}
    await conn.execute("INSERT INTO demo (id, name) VALUES (%(id)s, %(name)s)", named)
    for id_, name in await (await conn.execute("SELECT id, name FROM demo ORDER BY id")).fetchall():
        print(f"   {id_}: {name}")

    step("Values of many types go there and come back as Python objects")
    sent = {
        "bool": True,
        "int8": 2**40,
        "numeric": Decimal("3.14159"),
        "text": "naïve",
        "bytea": b"\x00\xff",
        "date": dt.date(2026, 2, 28),
        "timestamptz": dt.datetime(2026, 2, 28, 12, 30, tzinfo=dt.timezone.utc),
        "uuid": UUID("12345678-1234-5678-1234-567812345678"),
        "int4[]": [1, 2, None],
    }
    query = "SELECT " + ", ".join(f"%s::{type_}" for type_ in sent)
    received = await (await conn.execute(query.encode(), list(sent.values()))).fetchone()
    assert received is not None
    for (type_, value), result in zip(sent.items(), received, strict=True):
        print(f"   {type_:<12} {result!r}{'' if result == value else '  (differs!)'}")


async def _show_transactions(conn: anyq.AsyncConnection, step: Callable[[str], None]) -> None:
    step("A transaction, and a savepoint inside it that fails")
    async with conn.transaction():
        await conn.execute("INSERT INTO demo VALUES (3, 'kept')")
        try:
            async with conn.transaction():
                await conn.execute("INSERT INTO demo VALUES (4, 'rolled back')")
                await conn.execute("INSERT INTO demo VALUES (1, 'a duplicate')")
        except anyq.errors.UniqueViolation as error:
            print(f"   the inner block raised {type(error).__name__}: {error.diag.message_primary}")
    rows = await (await conn.execute("SELECT id FROM demo ORDER BY id")).fetchall()
    print(f"   after commit the table has the ids {[row[0] for row in rows]}: the inner block left nothing")


async def _show_executemany(conn: anyq.AsyncConnection, step: Callable[[str], None]) -> None:
    step(f"executemany(): {_ROWS} rows")
    rows = [(number, f"row {number}") for number in range(1001, 1001 + _ROWS)]
    started = time.perf_counter()
    async with conn.cursor() as cur:
        await cur.executemany("INSERT INTO demo VALUES (%s, %s)", rows)
    elapsed = (time.perf_counter() - started) * 1000
    print(f"   took {elapsed:.1f} ms; the table has {await _count(conn)} rows now")


async def _show_tasks(conn: anyq.AsyncConnection, step: Callable[[str], None]) -> None:
    step(f"{_QUERIES} queries on this one connection: one after the other, then each in a task of its own")
    results: list[int] = []

    async def ask(number: int) -> None:
        row = await (await conn.execute("SELECT %s::int4 * 2", (number,))).fetchone()
        assert row is not None
        results.append(row[0])

    started = time.perf_counter()
    for number in range(_QUERIES):
        await ask(number)
    in_turn = (time.perf_counter() - started) * 1000

    started = time.perf_counter()
    async with anyio.create_task_group() as group:
        for number in range(_QUERIES):
            group.start_soon(ask, number)
    at_once = (time.perf_counter() - started) * 1000

    assert sorted(results) == sorted(number * 2 for number in range(_QUERIES) for _ in range(2))
    print(f"   one after the other: {in_turn:.1f} ms; in tasks: {at_once:.1f} ms")
    print("   every task got its own answer; pipelining saves round trips, which matter most over a network")


async def _show_cancellation(conn: anyq.AsyncConnection, step: Callable[[str], None]) -> None:
    step("Cancel a query that would take a minute, after 0.2 seconds")
    started = time.perf_counter()
    with anyio.move_on_after(0.2) as scope:
        await conn.execute("SELECT pg_sleep(60)")
    elapsed = time.perf_counter() - started
    print(f"   cancelled: {scope.cancelled_caught}, after {elapsed:.2f} s")
    row = await (await conn.execute("SELECT 'ready for the next query'")).fetchone()
    assert row is not None
    print(f"   the same connection is {row[0]}")


async def _show_fan_out(conn: anyq.AsyncConnection, step: Callable[[str], None]) -> None:
    step(f"Notifications: {_ORDERS} orders shared out among {_WORKERS} workers, and an audience that hears all of them")
    # No other program should hear or disturb this, whatever database it runs on.
    channel = f"anyq_demo_{conn.info.backend_pid}"
    taken = [0] * _WORKERS
    heard: list[str] = []

    async def work(number: int, orders: anyq.NotificationStream) -> None:
        async with orders:
            async for order in orders:
                # A query on the connection that the orders come from.
                await conn.execute("SELECT %s::int * 2", (order.payload,))
                # The rest of the work; without any, one worker may have done it all before another has woken up.
                await anyio.sleep(0.002)
                taken[number] += 1

    # The listen() blocks are left first, which ends their streams: the workers finish what they have and end too.
    async with (
        anyio.create_task_group() as workers,
        conn.listen(channel) as orders,
        conn.listen(channel) as audience,
    ):
        for number in range(_WORKERS):
            workers.start_soon(work, number, orders.clone())
        for order in range(_ORDERS):
            await conn.notify(channel, str(order))
        async for order_heard in audience:
            heard.append(order_heard.payload)
            if len(heard) == _ORDERS:
                break
    shares = " + ".join(map(str, taken))
    print(f"   the workers took {shares} = {sum(taken)}, the audience heard {len(heard)}, in order")
    assert sum(taken) == _ORDERS and heard == [str(order) for order in range(_ORDERS)]
