"""Measures what a tracer costs whose hooks do nothing: ``python -m tests.benchmarks.tracing [--loops LOOP...]``.

A prepared query of one row, `execute()` and `fetchone()`, on connections of one process to one server: one that nobody
watches, one with a tracer that overrides nothing, and one with a tracer whose three hooks of queries do nothing. They
take turns of a few queries, in another order each time, so that what else the machine does falls on all of them alike.
Of each the first quartile counts, as no other turns show what the machine does beside; what is printed is that of the
first connection, and what the others' are more.

`tests.benchmarks.instructions --tracer` has the same in the processor's instructions.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib.util
import statistics
import sys
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import anyio

from .worker import backend
from .workloads import ONE, ONE_ROW

LOOPS = ("asyncio", "uvloop", "trio", "sync")
WARM = 50
"""Queries on each connection before the clock is started."""
QUERIES = 10
"""Queries of a turn."""
TRACERS = ("off", "nothing", "hooks")

# They look for each reply until it comes: those that have learned otherwise, on a busy machine, would differ by that.
_OPTIONS: Any = {"autocommit": True, "busy_wait": 0.005}
_TEXT, _ARGUMENTS = ONE.text(("%s", "%s")), (ONE.argument,)


class Cost(NamedTuple):
    """Microseconds of a query."""

    wall: float
    cpu: float


def tracer_of(name: str) -> Any:
    """Return a tracer; None for `off`.

    anyq is imported here, as which folder it is taken from may have to be decided before.
    """
    from anyq.tracing import TracedQuery, Tracer

    class Nothing(Tracer):
        """Overrides nothing."""

    class Hooks(Tracer):
        """Overrides what is called of queries."""

        def on_query_start(self, query: TracedQuery, /) -> Any:
            pass

        def on_query_end(self, query: TracedQuery, state: Any, /) -> None:
            pass

        def on_query_error(self, query: TracedQuery, state: Any, error: BaseException, /) -> None:
            pass

    return {"off": lambda: None, "nothing": Nothing, "hooks": Hooks}[name]()


async def queries(conn: Any, count: int) -> Cost:
    """Run the query so often, and return what it has cost."""
    row = None
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(count):
        cursor = await conn.execute(_TEXT, _ARGUMENTS)
        row = await cursor.fetchone()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    assert row == ONE_ROW
    return Cost(wall / count * 1e6, cpu / count * 1e6)


def queries_sync(conn: Any, count: int) -> Cost:
    """Run the query so often, and return what it has cost."""
    row = None
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(count):
        row = conn.execute(_TEXT, _ARGUMENTS).fetchone()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    assert row == ONE_ROW
    return Cost(wall / count * 1e6, cpu / count * 1e6)


def _order(number: int) -> list[str]:
    """Return in which order the connections have their turns; each has each place equally often."""
    first = number % len(TRACERS)
    return [*TRACERS[first:], *TRACERS[:first]]


async def turns(dsn: str, rounds: int) -> list[dict[str, Cost]]:
    """Measure on the event loop that runs."""
    import anyq

    async with contextlib.AsyncExitStack() as stack:
        conns = {
            name: await stack.enter_async_context(anyq.AsyncConnection.connect(dsn, **_OPTIONS, tracer=tracer_of(name)))
            for name in TRACERS
        }
        for conn in conns.values():
            await queries(conn, WARM)
        gc.collect()
        return [{name: await queries(conns[name], QUERIES) for name in _order(number)} for number in range(rounds)]


def turns_sync(dsn: str, rounds: int) -> list[dict[str, Cost]]:
    """Measure by the synchronous API."""
    import anyq

    with contextlib.ExitStack() as stack:
        conns = {
            name: stack.enter_context(anyq.sync.Connection.connect(dsn, **_OPTIONS, tracer=tracer_of(name)))
            for name in TRACERS
        }
        for conn in conns.values():
            queries_sync(conn, WARM)
        gc.collect()
        return [{name: queries_sync(conns[name], QUERIES) for name in _order(number)} for number in range(rounds)]


def _usual(costs: list[Cost]) -> Cost:
    """Return what is not exceeded by a fourth of the turns, by the clock and in processor time."""
    return Cost(*[statistics.quantiles(values, n=4)[0] for values in zip(*costs, strict=True)])


def measure(loop: str, dsn: str, rounds: int) -> list[dict[str, Cost]]:
    """Return what each turn has cost, by the connection's tracer."""
    return turns_sync(dsn, rounds) if loop == "sync" else anyio.run(turns, dsn, rounds, **backend(loop))


def shown(loop: str, found: list[dict[str, Cost]]) -> str:
    """Return the line of an event loop."""

    off, *watched = [_usual([costs[name] for costs in found]) for name in TRACERS]
    parts = [f"{loop:8} off {off.wall:6.2f} us, {off.cpu:6.2f} of CPU"]
    for name, cost in zip(TRACERS[1:], watched, strict=True):
        parts.append(f"{name} {cost.wall - off.wall:+5.2f} us, {cost.cpu - off.cpu:+5.2f} of CPU")
    return "; ".join(parts)


def measure_all(loops: Sequence[str], dsn: str, rounds: int) -> None:
    """Measure on each of these event loops, and print it."""
    for loop in loops:
        if loop == "uvloop" and importlib.util.find_spec("uvloop") is None:
            print("uvloop   is not installed", flush=True)
        else:
            print(shown(loop, measure(loop, dsn, rounds)), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.tracing",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--dsn", help="database to use; by default an embedded server")
    parser.add_argument("--loops", nargs="+", default=LOOPS, choices=LOOPS)
    parser.add_argument("--rounds", type=int, default=1000, help="turns of each connection")
    args = parser.parse_args()

    from anyq import __impl__
    from anyq.cli.embedded import EmbeddedServer

    print(f"{__impl__}, {args.rounds} turns of {QUERIES} queries", flush=True)
    if args.dsn is None:
        with EmbeddedServer() as server:
            measure_all(args.loops, server.dsn, args.rounds)
    else:
        measure_all(args.loops, args.dsn, args.rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
