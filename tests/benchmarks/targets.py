"""What anyq wants to reach against other drivers, as ratios of rates, and the table of what it does.

Nothing fails here: figures depend on the machine.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import NamedTuple

from .results import OTHER, Results, rate
from .workloads import DUMPS, FETCHES, LOADS, WORKLOADS

MEMORY = 20 * 1024 * 1024
"""Bytes that streaming may add to an idle process."""

STREAMED = ("stream_1m",)
AT_ONCE = ("one_row", "connections_10", "connections_50")
CHECKOUT = 5.0
"""Microseconds of processor time for having a connection of a pool and giving it back, on asyncio."""
TAIL = 2.0
"""How many times longer the longest of 99 in 100 statements may take on shared connections, beside a slow one."""

POOLED = "pool_select_16", "pool_select_100"
LENT = "pool_one_row_10", "pool_one_row_100"
EVERY = tuple(WORKLOADS)
OBJECTS = "structs_1000", "dataclasses_1000"
COPIES = tuple(name for name in EVERY if name.startswith("copy"))
NOTIFICATIONS = tuple(name for name in EVERY if name.startswith("notify"))
ASYNCPG = "asyncpg-asyncio", "asyncpg-uvloop"
RIVALS = "asyncpg-uvloop", "fastpg-uvloop"
BESIDE_FASTPG = {"uvloop": 1.3, "asyncio": 1.2, "trio": 1.1}
"""How many times its rate anyq is to have on each event loop, by 16 tasks on connections of their own."""
PSYCOPG_ASYNCIO = "psycopg-asyncio", "psycopg-asyncio-binary"
PSYCOPG = "psycopg-sync", "psycopg-sync-binary"


class Target(NamedTuple):
    driver: str
    references: tuple[str, ...]
    """The best of these counts."""
    ratio: float
    workloads: tuple[str, ...]


TARGETS = [
    Target("anyq-asyncio", ASYNCPG[:1], 2.0, AT_ONCE),
    Target("anyq-asyncio", ASYNCPG[:1], 1.3, FETCHES),
    *(Target(f"anyq-{loop}", ASYNCPG[1:], 1.0, EVERY) for loop in ("asyncio", "uvloop", "trio")),
    *(Target(f"anyq-{loop}", RIVALS[1:], ratio, ("connections_16",)) for loop, ratio in BESIDE_FASTPG.items()),
    *(Target(f"anyq-{loop}", RIVALS[1:], 1.0, OBJECTS) for loop in BESIDE_FASTPG),
    Target("anyq-asyncio", (ASYNCPG[0], *PSYCOPG_ASYNCIO), 1.3, (*LOADS, *DUMPS)),
    Target("anyq-asyncio", ASYNCPG[:1], 4.0, ("group_100",)),
    Target("anyq-uvloop", ASYNCPG[1:], 4.0, ("group_100",)),
    Target("anyq-trio", ASYNCPG[1:], 4.0, ("group_100",)),
    Target("anyq-asyncio", PSYCOPG_ASYNCIO, 1.0, (*NOTIFICATIONS, "connect_tls")),
    Target("anyq-sync", PSYCOPG, 1.1, FETCHES),
    Target("anyq-sync", PSYCOPG, 1.0, ("connect_tls",)),
    Target("anyq-sync", ("anyq-asyncio",), 0.9, ("int4_1000", "mixed_1000")),
    Target("anyq-sync", PSYCOPG, 1.25, ("one_row",)),
    Target("anyq-sync", ("psycopg2-sync",), 1.0, ("one_row",)),
    Target("anyq-sync", PSYCOPG, 1.1, ("connections_2", "connections_8", "connections_10")),
    Target("anyq-sync", PSYCOPG, 1.0, ("stream_100",)),
    Target("anyq-sync", PSYCOPG, 2.0, ("stream_20k",)),
    Target("anyq-sync", PSYCOPG, 2.5, ("executemany_1000",)),
    Target("anyq-asyncio", (*ASYNCPG[:1], "psycopg-asyncio"), 1.3, COPIES),
    Target("anyq-sync", PSYCOPG[:1], 1.3, COPIES),
    Target("anyq-asyncio", PSYCOPG_ASYNCIO[:1], 1.0, ("pipeline_100", "cursor_100k")),
    Target("anyq-sync", PSYCOPG[:1], 1.0, ("pipeline_100", "cursor_100k")),
    Target("anyq-uvloop", RIVALS, 2.0, POOLED),
    *(Target(f"anyq-{loop}", RIVALS, 1.5, POOLED) for loop in ("asyncio", "trio")),
    *(Target(f"anyq-{loop}", ASYNCPG[1:], 1.3, LENT) for loop in ("asyncio", "uvloop", "trio")),
    *(Target(f"anyq-{loop}", PSYCOPG_ASYNCIO, 2.0, LENT) for loop in ("asyncio", "uvloop", "trio")),
    *(Target(f"anyq-{loop}-pure", ("pg8000-sync",), 2.0, EVERY) for loop in ("asyncio", "trio", "sync")),
]


class Verdict(NamedTuple):
    workload: str
    driver: str
    reference: str
    wanted: float
    found: float
    unit: str = ""
    by_cpu: float | None = None
    """The same ratio by processor time of the clients: it says more on a machine that does other things too."""

    @property
    def reached(self) -> bool:
        return self.found <= self.wanted if self.unit else self.found >= self.wanted

    @property
    def missed_by(self) -> str:
        """How far it is from there, as a part of the target."""
        return "" if self.reached else f"{abs(self.found / self.wanted - 1):.0%}"


def verdicts(results: Results) -> Iterator[Verdict]:
    """Yield every target that both drivers have been measured for."""
    for target in TARGETS:
        for workload in target.workloads:
            by_driver = results.get(workload, {})
            rates = {
                reference: rate(by_driver, target.driver, reference)
                for reference in target.references
                if by_driver.get(reference) and by_driver.get(target.driver)
            }
            if rates:
                reference = min(rates, key=lambda name: rates[name])
                by_cpu = rate(by_driver, target.driver, reference, "cpu")
                yield Verdict(workload, target.driver, reference, target.ratio, rates[reference], "", by_cpu)
    for workload in STREAMED:
        for driver, rounds in results.get(workload, {}).items():
            peaks = [figures["memory"] for figures in rounds if figures["memory"] is not None]
            if driver.startswith("anyq") and not driver.endswith(OTHER) and peaks:
                found = statistics.median(peaks) / 2**20
                yield Verdict(workload, driver, "an idle process", MEMORY / 2**20, found, "MB")
    yield from _of_pools(results)


def _of_pools(results: Results) -> Iterator[Verdict]:
    """Yield the targets that are no ratios of rates."""
    rounds = results.get("pool_checkout", {}).get("anyq-asyncio")
    if rounds:
        found = statistics.median(figures["cpu"] for figures in rounds)
        yield Verdict("pool_checkout", "anyq-asyncio", "its processor time", CHECKOUT, found, "us")
    for driver, shared in results.get("pool_tail_50", {}).items():
        lent = results.get("pool_tail_50_lent", {}).get(driver)
        if driver.startswith("anyq") and shared and lent:
            found = statistics.median(
                (one["tail"] or 0.0) / (other["tail"] or 1.0) for one, other in zip(shared, lent, strict=True)
            )
            yield Verdict("pool_tail_50", driver, "its pool_tail_50_lent, 99 %", TAIL, found, "x")


def show_targets(results: Results) -> None:
    found = list(verdicts(results))
    print(f"\nTargets: {sum(verdict.reached for verdict in found)} of {len(found)} reached")
    print(f"  {'workload':<18}{'driver':<24}{'against':<24}{'target':>8}{'found':>8}{'by CPU':>8}  verdict")
    for verdict in found:
        wanted, measured = f"{verdict.wanted:.2f}{verdict.unit}", f"{verdict.found:.2f}{verdict.unit}"
        says = "reached" if verdict.reached else f"missed by {verdict.missed_by}"
        by_cpu = "" if verdict.by_cpu is None else f"{verdict.by_cpu:.2f}"
        line = f"  {verdict.workload:<18}{verdict.driver:<24}{verdict.reference:<24}{wanted:>8}{measured:>8}"
        print(f"{line}{by_cpu:>8}  {says}")
    measured_for = {(verdict.driver, verdict.reference, verdict.wanted) for verdict in found}
    for target in TARGETS:
        if measured_for.isdisjoint((target.driver, reference, target.ratio) for reference in target.references):
            print(f"  not measured: {target.driver} against {' or '.join(target.references)}, {target.ratio}")
