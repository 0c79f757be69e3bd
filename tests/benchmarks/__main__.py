"""Compares anyq with other drivers, side by side: ``python -m tests.benchmarks``.

Every driver runs in a process of its own. A round runs each workload once on every driver, one after the other, so
that what the machine does meanwhile falls on all of them alike; a figure is the median over the rounds, a ratio the
median of the rounds' ratios. Both the time on the clock and the processor time of the client's process are shown.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from typing import Any

from anyq._embedded import EmbeddedServer

from .drivers import DRIVERS
from .workloads import WORKLOADS


class Process:
    """A driver in a process of its own that runs workloads when it is told to."""

    def __init__(self, driver: str, dsn: str) -> None:
        self.driver = driver
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.worker", driver, dsn],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, workload: str, seconds: float) -> dict[str, float] | None:
        """Run a workload for about so many seconds; return microseconds an operation, None if it has none."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps([workload, seconds]) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"the process of {self.driver} died in {workload}")
        answer: dict[str, float] | None = json.loads(line)
        return answer

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)


@contextlib.contextmanager
def server(dsn: str | None) -> Iterator[str]:
    if dsn is not None:
        yield dsn
    else:
        with EmbeddedServer() as embedded:
            yield embedded.dsn


def measure(
    dsn: str, drivers: list[str], workloads: list[str], rounds: int, seconds: float
) -> dict[str, dict[str, list[dict[str, float]]]]:
    """Return, by workload and driver, what each round gave."""
    results: dict[str, dict[str, list[dict[str, float]]]] = {w: {d: [] for d in drivers} for w in workloads}
    processes = [Process(driver, dsn) for driver in drivers]
    try:
        for number in range(rounds + 1):
            print(f"round {number} of {rounds}" if number else "warming up", file=sys.stderr, flush=True)
            for workload in workloads:
                for process in processes:
                    figures = process.ask(workload, seconds if number else seconds / 4)
                    if number and figures is not None:
                        results[workload][process.driver].append(figures)
    finally:
        for process in processes:
            process.close()
    return results


def show(results: dict[str, dict[str, list[dict[str, float]]]], reference: str) -> None:
    for workload, by_driver in results.items():
        print(f"\n{workload}: {WORKLOADS[workload].title}")
        against = f"rate against {reference}"
        print(f"  {'driver':<22}{'us, clock':>12}{'us, CPU':>12}{against:>30}{'CPU against it':>16}")
        base = by_driver.get(reference, [])
        for driver, rounds in by_driver.items():
            if not rounds:
                continue
            wall = statistics.median(r["wall"] for r in rounds)
            cpu = statistics.median(r["cpu"] for r in rounds)
            line = f"  {driver:<22}{wall:>12.1f}{cpu:>12.1f}"
            if base:
                rate = statistics.median(b["wall"] / r["wall"] for b, r in zip(base, rounds, strict=True))
                load = statistics.median(r["cpu"] / b["cpu"] for b, r in zip(base, rounds, strict=True))
                line += f"{rate:>30.2f}{load:>16.2f}"
            print(line)


def environment() -> dict[str, Any]:
    versions: dict[str, str] = {}
    for name in ("anyq", "asyncpg", "psycopg", "psycopg2-binary", "pg8000", "anyio", "trio", "uvloop"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return {"python": platform.python_version(), "machine": platform.machine(), "cpus": os.cpu_count(), **versions}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--dsn", help="database to use; by default an embedded server")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.3, help="for one workload on one driver in one round")
    parser.add_argument("--drivers", nargs="+", choices=DRIVERS, default=list(DRIVERS))
    parser.add_argument("--workloads", nargs="+", choices=WORKLOADS, default=list(WORKLOADS))
    parser.add_argument("--reference", choices=DRIVERS, default="socket", help="the driver to compare with")
    parser.add_argument("--json", metavar="FILE", help="write every round's figures there")
    args = parser.parse_args()
    facts = environment()
    print(", ".join(f"{name} {value}" for name, value in facts.items()))
    with server(args.dsn) as dsn:
        results = measure(dsn, args.drivers, args.workloads, args.rounds, args.seconds)
    show(results, args.reference)
    if args.json:
        with open(args.json, "w") as file:
            json.dump({"environment": facts, "results": results}, file, indent=1)


if __name__ == "__main__":
    main()
