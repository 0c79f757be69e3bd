"""The process of one driver: reads ``[workload, seconds]`` lines, answers each with microseconds an operation."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import anyio

from .drivers import DRIVERS, NO_LOOP, Driver, SyncDriver
from .workloads import WORKLOADS


async def run(operation: Callable[[], Awaitable[None]], seconds: float) -> dict[str, float]:
    """Run an operation again and again for about so many seconds."""
    count = 1
    while True:
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(count):
            await operation()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        if wall >= seconds / 2:
            return {"wall": wall / count * 1e6, "cpu": cpu / count * 1e6, "operations": count}
        count = max(count * 2, int(count * seconds / max(wall, 1e-6)))


def run_sync(operation: Callable[[], None], seconds: float) -> dict[str, float]:
    """Do the same with an operation that is called without an event loop."""
    count = 1
    while True:
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(count):
            operation()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        if wall >= seconds / 2:
            return {"wall": wall / count * 1e6, "cpu": cpu / count * 1e6, "operations": count}
        count = max(count * 2, int(count * seconds / max(wall, 1e-6)))


def main_sync(name: str, dsn: str) -> None:
    driver = DRIVERS[name][0]()
    assert isinstance(driver, SyncDriver)
    driver.open(dsn)
    for line in sys.stdin:
        workload, seconds = json.loads(line)
        operation: Any = getattr(driver, WORKLOADS[workload].method, None)
        answer = None if operation is None else run_sync(operation, seconds)
        print(json.dumps(answer), flush=True)
    driver.close()


async def main(name: str, dsn: str) -> None:
    driver = DRIVERS[name][0]()
    assert isinstance(driver, Driver)
    await driver.open(dsn)
    # Reading a line blocks the loop; nothing else runs on it meanwhile.
    for line in sys.stdin:
        workload, seconds = json.loads(line)
        operation: Any = getattr(driver, WORKLOADS[workload].method, None)
        answer = None if operation is None else await run(operation, seconds)
        print(json.dumps(answer), flush=True)
    await driver.close()


if __name__ == "__main__":
    driver_name, dsn = sys.argv[1:]
    loop = DRIVERS[driver_name][1]
    if loop == NO_LOOP:
        main_sync(driver_name, dsn)
        sys.exit()
    anyio.run(
        main,
        driver_name,
        dsn,
        backend="trio" if loop == "trio" else "asyncio",
        backend_options={"use_uvloop": True} if loop == "uvloop" else {},
    )
