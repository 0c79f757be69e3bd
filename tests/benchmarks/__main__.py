"""Compares anyq with other drivers, side by side: ``python -m tests.benchmarks``.

Every driver runs in a process of its own. A round runs each workload once on every driver, one after the other and
every other round backwards, so that what the machine does meanwhile falls on all of them alike; a figure is the median
over the rounds, a ratio the median of the rounds' ratios. Both the time on the clock and the processor time of the
client's process are shown. docs/benchmarks.md says what each workload and each driver is.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import select
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from anyq.cli.embedded import EmbeddedServer

from .chart import draw
from .drivers import DRIVERS, OWN
from .results import OTHER, show, show_changes
from .targets import show_targets
from .worker import Figures
from .workloads import WORKLOADS

#: The connections of a workload, and some to spare.
_SETTINGS = {"max_connections": "200"}
#: Seconds that a driver may take for a measurement before it is said to hang.
_PATIENCE = 120
_PACKAGES = (
    "anyq",
    "asyncpg",
    "fastpg",
    "psycopg",
    "psycopg-pool",
    "psycopg2-binary",
    "pg8000",
    "psqlpy",
    "msgspec",
    "anyio",
    "trio",
    "uvloop",
)


# As glibc's malloc() sets them by itself once a process has given back a block of 32 MB. Until something like that
# happens, what is received into a big buffer may cost a driver two system calls and fresh pages each time, or may not,
# by what was allocated before, and no two runs would agree.
_MALLOC = {"MALLOC_MMAP_THRESHOLD_": str(32 * 1024 * 1024), "MALLOC_TRIM_THRESHOLD_": str(64 * 1024 * 1024)}


class Process:
    """A driver in a process of its own that runs workloads when it is told to.

    :param name: a driver's, or that of a driver of anyq and :data:`OTHER` behind it, for the other folder.
    """

    def __init__(self, name: str, other: Path | None) -> None:
        self.driver = name
        driver = name.removesuffix(OTHER)
        env = {name: value for name, value in os.environ.items() if name != "ANYQ_IMPL"} | _MALLOC
        implementation = DRIVERS[driver].implementation
        if implementation is not None:
            env["ANYQ_IMPL"] = implementation
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.benchmarks.worker", driver),
                *([str(other)] if other is not None and name.endswith(OTHER) else []),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=env,
        )
        self.missing: str | None = self._read("starting").get("missing")

    def _read(self, what: str) -> dict[str, Any]:
        stdout = self._process.stdout
        assert stdout is not None
        # Each answer is one line, so nothing of it can be in the file's buffer already.
        line = stdout.readline() if select.select([stdout], [], [], _PATIENCE)[0] else ""
        if not line:
            self._process.kill()
            raise SystemExit(f"the process of {self.driver} died or hung: {what}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def ask(self, workload: str, dsn: str, seconds: float) -> dict[str, Any]:
        """Run a workload for about so many seconds; return the worker's answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"workload": workload, "dsn": dsn, "seconds": seconds}) + "\n")
        self._process.stdin.flush()
        return self._read(workload)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)


class Comparison:
    """The processes of all drivers, and what they have given so far."""

    def __init__(self, args: argparse.Namespace, dsns: dict[str, str]) -> None:
        self.dsns = dsns
        self.other: Path | None = args.against
        self.failures = 0
        self.results: dict[str, dict[str, list[Figures]]] = {name: {} for name in args.workloads}
        self._processes: dict[str, Process] = {}
        self._drivers: list[str] = []
        for driver in args.drivers:
            self._drivers.append(driver)
            if self.other is not None and driver in OWN:
                self._drivers.append(driver + OTHER)
        #: Workloads that a driver does not have, or failed in.
        self._out: set[tuple[str, str]] = set()

    def __enter__(self) -> Comparison:
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self) -> None:
        for driver in self._drivers:
            process = Process(driver, self.other)
            if process.missing is not None:
                print(f"left out: {driver}: {process.missing}")
                process.close()
            else:
                self._processes[driver] = process
        for workload in list(self.results):
            server = WORKLOADS[workload].server
            if server not in self.dsns:
                print(f"left out: {workload}: needs --{server}-dsn")
                del self.results[workload]
            else:
                self.results[workload] = {driver: [] for driver in self._processes}

    def __exit__(self, *exc: object) -> None:
        for process in self._processes.values():
            process.close()

    def round(self, number: int, seconds: float) -> None:
        """Run each workload once on each driver; the round 0 is not counted."""
        processes = list(self._processes.values())
        if number % 2:
            processes.reverse()
        for name, by_driver in self.results.items():
            workload = WORKLOADS[name]
            if workload.rounds is not None and not 0 < number <= workload.rounds:
                continue
            for process in processes:
                if (name, process.driver) in self._out:
                    continue
                figures = self._ask(process, name, seconds if number else seconds / 4)
                if figures is not None and number:
                    by_driver[process.driver].append(figures)

    def _ask(self, process: Process, name: str, seconds: float) -> Figures | None:
        workload = WORKLOADS[name]
        if workload.own_process:
            process = Process(process.driver, self.other)
        answer = process.ask(name, self.dsns[workload.server], seconds)
        if workload.own_process:
            process.close()
        if "wall" not in answer:
            self._out.add((name, process.driver))
            self.results[name].pop(process.driver)
            if "error" in answer:
                self.failures += 1
                print(f"FAILED: {name} with {process.driver}: {answer['error']}")
            return None
        return Figures(
            wall=answer["wall"],
            cpu=answer["cpu"],
            operations=answer["operations"],
            tail=answer["tail"],
            memory=answer["memory"],
        )


@contextlib.contextmanager
def servers(args: argparse.Namespace) -> Iterator[dict[str, str]]:
    """The connection strings to use, by the name that workloads have for them."""
    given = {"main": args.dsn, "tcp": args.tcp_dsn, "tls": args.tls_dsn}
    dsns = {name: dsn for name, dsn in given.items() if dsn is not None}
    if args.dsn is not None:
        yield dsns
    else:
        with EmbeddedServer(tcp=True, settings=_SETTINGS) as embedded:
            # Without sslmode some drivers would ask for TLS first, in one round trip more, and others not.
            yield {"main": embedded.dsn, "tcp": f"{embedded.tcp_dsn} sslmode=disable", **dsns}


def processor() -> str:
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def environment(args: argparse.Namespace) -> dict[str, Any]:
    versions: dict[str, str] = {}
    for name in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return {
        "machine": f"{platform.machine()}, {processor()}, {os.cpu_count()} CPUs, {platform.system()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "versions": versions,
        "settings": {"rounds": args.rounds, "seconds": args.seconds, "server": args.dsn or "embedded"},
    }


def load() -> str:
    """Other programs' share is part of every figure, so say how much of it there is."""
    return f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="workloads:\n" + "\n".join(f"  {name:<18}{workload.title}" for name, workload in WORKLOADS.items()),
    )
    parser.add_argument("--dsn", help="database to use, by a role without password; by default an embedded server")
    parser.add_argument("--tcp-dsn", help="for connecting over TCP; by default the embedded server's")
    parser.add_argument("--tls-dsn", help="for connecting over TLS (sslmode=require or stricter); none by default")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.3, help="for one workload on one driver in one round")
    parser.add_argument("--drivers", nargs="+", choices=DRIVERS, metavar="DRIVER")
    parser.add_argument("--workloads", nargs="+", choices=WORKLOADS, default=list(WORKLOADS), metavar="WORKLOAD")
    parser.add_argument("--reference", choices=DRIVERS, default="socket", metavar="DRIVER", help="to compare with")
    parser.add_argument(
        "--against",
        type=lambda path: Path(path).resolve(),
        metavar="FOLDER",
        help="a folder with another anyq: each of anyq's drivers is measured from there as well",
    )
    parser.add_argument("--targets", action="store_true", help="say which of the project's targets are reached")
    parser.add_argument("--chart", metavar="FILE", help="draw the medians there, as SVG")
    parser.add_argument("--json", metavar="FILE", help="write every round's figures there")
    parser.epilog = f"drivers:\n  {' '.join(DRIVERS)}\n\n{parser.epilog}"
    args = parser.parse_args()
    if args.drivers is None:
        args.drivers = list(DRIVERS if args.against is None else OWN)
    return args


def main() -> int:
    args = parse()
    facts = environment(args)
    for name, value in facts.items():
        text = ", ".join(f"{key} {item}" for key, item in value.items()) if isinstance(value, dict) else value
        print(f"{name}: {text}")
    print(f"load before: {load()}", flush=True)
    with servers(args) as dsns, Comparison(args, dsns) as comparison:
        for number in range(args.rounds + 1):
            print(f"round {number} of {args.rounds}" if number else "warming up", file=sys.stderr, flush=True)
            comparison.round(number, args.seconds)
    print(f"load after: {load()}")
    show(comparison.results, args.reference)
    if args.against:
        show_changes(comparison.results, str(args.against))
    if args.targets:
        show_targets(comparison.results)
    if args.chart:
        Path(args.chart).write_text(draw(comparison.results, facts), encoding="utf-8")
    if args.json:
        with open(args.json, "w") as file:
            json.dump({"environment": facts, "results": comparison.results}, file, indent=1)
    return 1 if comparison.failures else 0


if __name__ == "__main__":
    sys.exit(main())
