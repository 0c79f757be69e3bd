"""Interrupt calls at every step, and by Ctrl-C at random moments: `python -m tests.tools.interrupts`.

    python -m tests.tools.interrupts steps [--loop trio ...] [--kind execute ...] [--lines] [--by-signal] [--stride 10]
    python -m tests.tools.interrupts signals [--loop trio ...] [--count 300] [--seed 1]

``steps`` interrupts one call of each kind at each bytecode of anyq's that it runs, one after the other, and looks what
is left: the connection has to be usable or closed, and no task, thread or socket may be left. It takes some minutes for
each loop. ``signals`` does the same with the real SIGINT, while a program goes on executing this and that, and also
counts how often the connection had to be closed and how long it took. Both end with status 1 if something was wrong.

The loops are asyncio, uvloop, trio and sync, which is none: synchronous code in the main thread.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import random
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import anyio

import anyq
from anyq import AsyncConnection, TransactionStatus
from tests.support.interrupted import ASYNC_CALLS, GRACE, PATIENCE, SYNC_CALLS, AsyncRun, Run, SyncRun, check
from tests.support.server import open_server

LOOPS: dict[str, tuple[str, dict[str, Any]]] = {
    "asyncio": ("asyncio", {}),
    "uvloop": ("asyncio", {"use_uvloop": True}),
    "trio": ("trio", {}),
    "sync": ("", {}),
}

#: Seconds from the first call to Ctrl-C, at most.
LATEST = 0.025
#: Seconds from Ctrl-C to the end of the call; more is slow.
SLOW = 1.0
#: Shares of the interrupts.
MOST_CLOSED = 0.05
MOST_SLOW = 0.01

TABLE = "interrupted_pairs"


class Outcome(NamedTuple):
    seconds: float
    usable: bool


# -- at each step


def steps(dsn: str, loop: str, kinds: list[str], *, lines: bool, by_signal: bool, stride: int) -> bool:
    """Return whether all was as it has to be."""
    backend, options = LOOPS[loop]
    calls: dict[str, Any] = SYNC_CALLS if loop == "sync" else ASYNC_CALLS
    fine = True
    # In synchronous code what was interrupted at its very end belongs to another run: see SyncRun.loop().
    for kind in kinds or calls:
        run: Run
        if loop == "sync":
            run = sync_run = SyncRun(dsn, kind, opcodes=not lines, by_signal=by_signal)
            sync_run.loop(1, stride)
        elif kind == "cancelled" and not by_signal:
            continue  # it is about a second interrupt, which no code can stand at every bytecode
        else:
            run = async_run = AsyncRun(dsn, kind, opcodes=not lines, by_signal=by_signal)
            async_run.loop(backend, options, 1, stride)
        print(f"{loop:8} {kind:28} {dict(run.outcome)}", flush=True)
        for wrong in run.wrong:
            print("   ", wrong, flush=True)
        fine = fine and not run.wrong
    return fine


# -- by Ctrl-C


def interrupt_soon(chance: random.Random, moment: list[float]) -> None:
    """Have the process interrupted soon, which may be before this returns; `moment` is given the time."""
    delay = chance.uniform(0, LATEST)

    def interrupt() -> None:
        time.sleep(delay)
        moment.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()


def press_again(lost: sys.UnraisableHookArgs) -> None:
    """Press Ctrl-C once more where Python has lost it, in a ``__del__`` of anyio's: for a hook of Python's.

    One that was lost in code of anyq's is not made up for, so that nothing ends then, and the test fails.
    """
    sys.__unraisablehook__(lost)
    where = getattr(lost.object, "__module__", None) or ""
    if lost.exc_type is KeyboardInterrupt and where.partition(".")[0] == "anyio":
        # Not here, where it would be lost as well.
        threading.Timer(LATEST, os.kill, (os.getpid(), signal.SIGINT)).start()


async def work(conn: AsyncConnection, chance: random.Random) -> None:
    """Use a connection in one way or another, until this is interrupted."""
    while True:
        number = chance.randrange(1_000_000)
        match chance.randrange(7):
            case 0:
                cur = await conn.execute("SELECT %s::int", (number,))
                check(await cur.fetchall() == [(number,)], "somebody else's row")
            case 1:
                await conn.cursor().executemany("SELECT %s::int, %s", [(i, "x" * 100) for i in range(2000)])
            case 2:
                last = None
                async for row in conn.cursor().stream("SELECT generate_series(%s, %s::int)", (number, number + 5000)):
                    check(last is None or row[0] == last + 1, "a row was lost")
                    last = row[0]
            case 3:
                async with conn.transaction():
                    await conn.execute(f"INSERT INTO {TABLE} VALUES (%s)", (number,))
                    await conn.execute(f"INSERT INTO {TABLE} VALUES (%s)", (number,))
            case 4:
                async with conn.transaction(), conn.transaction():
                    await conn.execute("SELECT 1")
            case 5:
                async with conn.listen("interrupted") as stream:
                    await conn.notify("interrupted", str(number))
                    check((await stream.receive()).payload == str(number), "another notification")
            case _:
                await conn.execute("SELECT pg_sleep(0.002)")


async def look(conn: AsyncConnection, chance: random.Random) -> bool:
    """Return whether a connection is usable, which it has to be if it is not closed."""
    if conn.closed:
        return False
    with anyio.fail_after(PATIENCE):
        number = chance.randrange(1_000_000)
        cur = await conn.execute("SELECT %s::int", (number,))
        check(await cur.fetchall() == [(number,)], "somebody else's row")
        check(conn.info.transaction_status is TransactionStatus.IDLE, "a transaction is left open")
        cur = await conn.execute(f"SELECT n FROM {TABLE} GROUP BY n HAVING count(*) % 2 <> 0")
        check(await cur.fetchall() == [], "half of a transaction was committed")
    return True


def signals_in_loop(dsn: str, loop: str, count: int, chance: random.Random) -> list[Outcome]:
    backend, options = LOOPS[loop]
    outcomes: list[Outcome] = []

    async def connect() -> AsyncConnection:
        return await AsyncConnection.connect(dsn, autocommit=True, grace_period=GRACE)

    # asyncio's runner cancels the main task at the first Ctrl-C only: each one gets a loop of its own.
    async def main(rounds: int) -> None:
        conn = await connect()
        for _ in range(rounds):
            if conn.closed:
                conn = await connect()
            moment: list[float] = []
            try:
                interrupt_soon(chance, moment)
                await work(conn, chance)
            except (KeyboardInterrupt, asyncio.CancelledError):
                seconds = time.perf_counter() - moment[0]
                task = asyncio.current_task() if backend == "asyncio" else None
                if task is not None and hasattr(task, "uncancel"):
                    task.uncancel()
            outcomes.append(Outcome(seconds, await look(conn, chance)))
        await conn.close()

    while len(outcomes) < count:
        try:
            anyio.run(main, 1 if backend == "asyncio" else count, backend=backend, backend_options=options)
        except KeyboardInterrupt:
            check(backend == "asyncio", "the event loop has ended")
    return outcomes


def sync_work(conn: anyq.Connection[Any], chance: random.Random) -> None:
    """Use a synchronous connection in one way or another, until this is interrupted."""
    while True:
        number = chance.randrange(1_000_000)
        match chance.randrange(8):
            case 0:
                check(conn.execute("SELECT %s::int", (number,)).fetchall() == [(number,)], "somebody else's row")
            case 1:
                conn.cursor().executemany("SELECT %s::int, %s", [(i, "x" * 100) for i in range(2000)])
            case 2:
                conn.cursor().executemany("SELECT %s::int, %s", ((i, "x" * 100) for i in range(3000)))
            case 3:
                last = None
                for row in conn.cursor().stream("SELECT generate_series(%s, %s::int)", (number, number + 5000)):
                    check(last is None or row[0] == last + 1, "a row was lost")
                    last = row[0]
            case 4:
                with conn.transaction():
                    conn.execute(f"INSERT INTO {TABLE} VALUES (%s)", (number,))
                    conn.execute(f"INSERT INTO {TABLE} VALUES (%s)", (number,))
            case 5:
                with conn.transaction(), conn.transaction():
                    conn.execute("SELECT 1")
            case 6:
                with conn.listen("interrupted") as stream:
                    conn.notify("interrupted", str(number))
                    check(stream.receive().payload == str(number), "another notification")
            case _:
                conn.execute("SELECT pg_sleep(0.002)")


def sync_look(conn: anyq.Connection[Any], chance: random.Random) -> bool:
    """As :func:`look`."""
    if conn.closed:
        return False
    with anyq.sync.timeout(PATIENCE):
        number = chance.randrange(1_000_000)
        check(conn.execute("SELECT %s::int", (number,)).fetchall() == [(number,)], "somebody else's row")
        check(conn.info.transaction_status is TransactionStatus.IDLE, "a transaction is left open")
        rows = conn.execute(f"SELECT n FROM {TABLE} GROUP BY n HAVING count(*) % 2 <> 0").fetchall()
        check(rows == [], "half of a transaction was committed")
    return True


def signals_in_sync(dsn: str, count: int, chance: random.Random) -> list[Outcome]:
    outcomes: list[Outcome] = []
    conn = anyq.connect(dsn, autocommit=True, grace_period=GRACE)
    while len(outcomes) < count:
        if conn.closed:
            conn = anyq.connect(dsn, autocommit=True, grace_period=GRACE)
        moment: list[float] = []
        try:
            interrupt_soon(chance, moment)
            sync_work(conn, chance)
        except KeyboardInterrupt:
            seconds = time.perf_counter() - moment[0]
        outcomes.append(Outcome(seconds, sync_look(conn, chance)))
    conn.close()
    return outcomes


def signals(dsn: str, loop: str, count: int, seed: int) -> bool:
    """Return whether all was as it has to be."""
    sys.unraisablehook = press_again
    chance = random.Random(seed)
    with anyq.connect(dsn, autocommit=True) as conn:
        conn.execute(f"DROP TABLE IF EXISTS {TABLE}")
        conn.execute(f"CREATE TABLE {TABLE} (n int)")
    outcomes = signals_in_sync(dsn, count, chance) if loop == "sync" else signals_in_loop(dsn, loop, count, chance)
    with anyq.connect(dsn, autocommit=True) as conn:
        conn.execute(f"DROP TABLE {TABLE}")
    closed = sum(not outcome.usable for outcome in outcomes)
    slow = sum(outcome.seconds > SLOW for outcome in outcomes)
    slowest = max(outcome.seconds for outcome in outcomes)
    print(f"{loop:8} {len(outcomes)} interrupts: {closed} closed, {slow} slow, the slowest {slowest:.3f} s", flush=True)
    return closed <= MOST_CLOSED * count and slow <= MOST_SLOW * count


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.tools.interrupts", description=__doc__)
    parser.add_argument("what", choices=["steps", "signals"])
    parser.add_argument("--dsn", help="a server; by default one is started, or ANYQ_TEST_DSN's is used")
    parser.add_argument("--loop", choices=list(LOOPS), action="append", help="by default all of them")
    parser.add_argument("--kind", action="append", default=[], help="of a call; by default all of them")
    parser.add_argument("--lines", action="store_true", help="interrupt at each line, and not at each bytecode")
    parser.add_argument("--by-signal", action="store_true", help="let the event loop decide what Ctrl-C does there")
    parser.add_argument("--stride", type=int, default=1, help="every n-th step only")
    parser.add_argument("--count", type=int, default=300, help="of signals")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    # What is dropped half-made is closed by the garbage collector, and says so.
    warnings.simplefilter("ignore", ResourceWarning)
    logging.getLogger("anyq").setLevel(logging.ERROR)

    def run(dsn: str) -> int:
        one: Callable[[str], bool]
        if given.what == "steps":

            def one(loop: str) -> bool:
                return steps(dsn, loop, given.kind, lines=given.lines, by_signal=given.by_signal, stride=given.stride)
        else:

            def one(loop: str) -> bool:
                return signals(dsn, loop, given.count, given.seed)

        return 0 if all([one(loop) for loop in given.loop or LOOPS]) else 1

    if given.dsn is not None:
        return run(given.dsn)
    server = open_server()
    try:
        return run(server.dsn)
    finally:
        server.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
