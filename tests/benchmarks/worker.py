"""The process of one driver: ``python -m tests.benchmarks.worker DRIVER [FOLDER]``; anyq is taken from there.

Says in its first line what it is or why it cannot be. Then it reads one request a line and answers each in a line:
microseconds an operation, or that the driver has no such thing, or the error.
"""

from __future__ import annotations

import gc
import importlib
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any, TypedDict

import anyio

from . import other_anyq
from .drivers import DRIVERS, NO_LOOP, Entry
from .drivers.base import Driver, SyncDriver, Unsupported
from .operations import KINDS, SYNC_KINDS, Operation, SyncOperation
from .workloads import WORKLOADS, Workload

STATUS = Path("/proc/self/status")


class Figures(TypedDict):
    wall: float
    """Microseconds on the clock."""
    cpu: float
    """Microseconds of the process, all its threads together."""
    operations: int
    tail: float | None
    """Microseconds within which 99 of 100 parts of an operation were done, where these are measured."""
    memory: int | None
    """Bytes by which the peak of the process is above what it had before, where the process is a new one."""


def memory(name: str) -> int:
    """Return a line of the kernel's account of this process, in bytes; 0 where there is none.

    `ru_maxrss` would not do: it begins with the peak of the process that started this one.
    """
    if not STATUS.exists():
        return 0
    (line,) = [line for line in STATUS.read_text().splitlines() if line.startswith(f"{name}:")]
    return int(line.split()[1]) * 1024


def more(count: int, wall: float, seconds: float) -> int:
    """How many operations to try next, when so many did not take long enough."""
    return max(count * 2, int(count * seconds / max(wall, 1e-6)))


def figures(wall: float, cpu: float, count: int) -> Figures:
    return {"wall": wall / count * 1e6, "cpu": cpu / count * 1e6, "operations": count, "tail": None, "memory": None}


async def run(operation: Operation, warm: int, count: int, seconds: float) -> Figures:
    """Run an operation again and again for about so many seconds, first without counting, and check what it returns."""
    for _ in range(warm):
        await operation.check(await operation.run())
    gc.collect()
    repeated = operation.run
    latencies = operation.latencies
    while True:
        if latencies is not None:
            latencies.clear()
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(count):
            result = await repeated()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        if wall >= seconds / 2:
            await operation.check(result)
            found = figures(wall, cpu, count)
            if latencies is not None:
                found["tail"] = statistics.quantiles(latencies, n=100)[98] * 1e6
            return found
        count = more(count, wall, seconds)


def run_sync(operation: SyncOperation, warm: int, count: int, seconds: float) -> Figures:
    """Do the same with an operation that is called without an event loop."""
    for _ in range(warm):
        operation.check(operation.run())
    gc.collect()
    repeated = operation.run
    while True:
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(count):
            result = repeated()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        if wall >= seconds / 2:
            operation.check(result)
            return figures(wall, cpu, count)
        count = more(count, wall, seconds)


def backend(loop: str) -> dict[str, Any]:
    """The arguments of `anyio.run` for the event loop of that name."""
    if loop == "trio":
        return {"backend": "trio"}
    return {"backend": "asyncio", "backend_options": {"use_uvloop": loop == "uvloop"}}


def measure(entry: Entry, workload: Workload, dsn: str, seconds: float, count: int = 1) -> Figures:
    """Connect, measure, and close.

    :param count: how many operations to begin with.
    :raises Unsupported: the driver does not have it.
    """
    driver = entry.make()
    before = 0

    async def in_loop() -> Figures:
        assert isinstance(driver, Driver)
        nonlocal before
        async with KINDS[workload.kind](driver, workload, dsn) as operation:
            before = memory("VmRSS")
            return await run(operation, workload.warm, count, seconds)

    if entry.loop != NO_LOOP:
        found = anyio.run(in_loop, **backend(entry.loop))
    else:
        assert isinstance(driver, SyncDriver)
        if workload.kind not in SYNC_KINDS:
            raise Unsupported
        with SYNC_KINDS[workload.kind](driver, workload, dsn) as operation:
            before = memory("VmRSS")
            found = run_sync(operation, workload.warm, count, seconds)
    found["wall"] /= workload.parts
    found["cpu"] /= workload.parts
    if workload.own_process and before:
        found["memory"] = memory("VmHWM") - before
    return found


def main(name: str, folder: str | None = None) -> None:
    entry = DRIVERS[name]
    try:
        if folder is not None:
            other_anyq.use(Path(folder))
        entry.make()
        if entry.loop == "uvloop":
            importlib.import_module("uvloop")
    except ImportError as error:
        print(json.dumps({"missing": str(error)}), flush=True)
        return
    print(json.dumps({}), flush=True)
    counts: dict[str, int] = {}
    for line in sys.stdin:
        request = json.loads(line)
        workload = request["workload"]
        answer: dict[str, Any]
        try:
            answer = dict(
                measure(entry, WORKLOADS[workload], request["dsn"], request["seconds"], counts.get(workload, 1))
            )
            counts[workload] = answer["operations"]
        except Unsupported:
            answer = {"unsupported": True}
        except Exception as error:
            # Told to whoever compares, who says so and fails: the other figures are still wanted.
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
