"""What a comparison gave, and the tables made of it."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from .worker import Figures
from .workloads import WORKLOADS

Results = Mapping[str, Mapping[str, Sequence[Figures]]]
"""By workload and driver, the figures of each round."""

OTHER = "@other"
"""What comes behind the name of a driver that is taken from another folder."""


def rate(
    by_driver: Mapping[str, Sequence[Figures]], driver: str, reference: str, of: Literal["wall", "cpu"] = "wall"
) -> float:
    """How many operations a driver does in the time of one of the reference: the median of the rounds' ratios."""
    pairs = zip(by_driver[reference], by_driver[driver], strict=True)
    return statistics.median(base[of] / max(own[of], 1e-3) for base, own in pairs)


def show(results: Results, reference: str) -> None:
    for workload, by_driver in results.items():
        if not any(by_driver.values()):
            continue
        print(f"\n{workload}: {WORKLOADS[workload].title}")
        has_tail = any(figures["tail"] is not None for rounds in by_driver.values() for figures in rounds)
        has_memory = any(figures["memory"] is not None for rounds in by_driver.values() for figures in rounds)
        base = by_driver.get(reference, [])
        head = f"  {'driver':<24}{'us, clock':>12}{'us, CPU':>12}"
        head += f"{'rate against ' + reference:>40}{'CPU against it':>16}" if base else ""
        print(head + (f"{'99 %, us':>12}" if has_tail else "") + (f"{'peak, MB':>12}" if has_memory else ""))
        for driver, rounds in by_driver.items():
            if not rounds:
                continue
            wall = statistics.median(figures["wall"] for figures in rounds)
            cpu = statistics.median(figures["cpu"] for figures in rounds)
            line = f"  {driver:<24}{wall:>12.1f}{cpu:>12.1f}"
            if base:
                load = rate(by_driver, reference, driver, "cpu")
                line += f"{rate(by_driver, driver, reference):>40.2f}{load:>16.2f}"
            tails = [figures["tail"] for figures in rounds if figures["tail"] is not None]
            if tails:
                line += f"{statistics.median(tails):>12.0f}"
            peaks = [figures["memory"] for figures in rounds if figures["memory"] is not None]
            if peaks:
                line += f"{statistics.median(peaks) / 2**20:>12.1f}"
            print(line)


class Change(NamedTuple):
    """How much more time an operation takes here than in another folder: 0.03 is 3 % more."""

    median: float
    low: float
    """A quarter of the rounds are below it..."""
    high: float
    """... and a quarter above this."""


def change(here: Sequence[Figures], other: Sequence[Figures], of: Literal["wall", "cpu"]) -> Change:
    ratios = [mine[of] / max(theirs[of], 1e-3) - 1 for mine, theirs in zip(here, other, strict=True)]
    if len(ratios) == 1:
        return Change(*(ratios * 3))
    low, median, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return Change(median, low, high)


def show_changes(results: Results, folder: str) -> None:
    print(f"\nTime of an operation here against {folder}: median of the rounds' ratios, and the middle half of them")
    print(f"  {'workload':<18}{'driver':<24}{'clock':>8}{'':>20}{'CPU':>8}")
    for workload, by_driver in results.items():
        for driver, rounds in by_driver.items():
            other = by_driver.get(driver + OTHER)
            if not rounds or not other:
                continue
            line = f"  {workload:<18}{driver:<24}"
            for of in ("wall", "cpu"):
                found = change(rounds, other, of)
                line += f"{found.median:>+8.1%}{f'({found.low:+.1%} to {found.high:+.1%})':>20}"
            print(line)
