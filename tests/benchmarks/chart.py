"""The chart of a comparison: an SVG of bars, one for each driver in each workload, with the medians beside them.

A bar is as long as the time on the clock; the full part of it is the processor time of the client.

Knows no library for that, and needs none. It has colours of its own for readers who prefer dark ones, and a background,
so that it can be read on a page of either kind.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, NamedTuple

from .drivers import OWN
from .results import OTHER, Results
from .workloads import WORKLOADS

_WIDTH = 640
_MARGIN = 16
_LEFT = 184  # where bars begin, behind the names
_RIGHT = 128  # what is left for the figures behind them
_BAR = 14
_STEP = 20
_HEAD = 30  # the line above a workload's bars
_GAP = 14  # what is free below them

_STYLE = """
svg { font: 13px system-ui, sans-serif; }
.page { fill: #ffffff; }
text { fill: #24292f; }
.quiet { fill: #57606a; }
.head { font-weight: 600; }
.own { fill: #3f51b5; }
.other { fill: #7d8798; }
.clock { fill-opacity: 0.4; }
@media (prefers-color-scheme: dark) {
  .page { fill: #1e2129; }
  text { fill: #e2e4e9; }
  .quiet { fill: #a3a9b5; }
  .own { fill: #8c9eff; }
  .other { fill: #8b95a5; }
}
"""


class Times(NamedTuple):
    """Medians, in microseconds: on the clock, and of the client's processor time."""

    wall: float
    cpu: float


def medians(results: Results) -> dict[str, dict[str, Times]]:
    """Return the times by workload and driver, without what was not measured."""
    found = {
        workload: {
            driver: Times(
                statistics.median(figures["wall"] for figures in rounds),
                statistics.median(figures["cpu"] for figures in rounds),
            )
            for driver, rounds in by_driver.items()
            if rounds
        }
        for workload, by_driver in results.items()
    }
    return {workload: by_driver for workload, by_driver in found.items() if by_driver}


def shown(times: Times, longest: float) -> str:
    """Return times as they are read best: three digits each, or all before the point.

    :param longest: the longest time beside them, which has the same unit.
    """
    unit, divisor = ("us", 1) if longest < 10_000 else ("ms", 1000)
    values = [time / divisor for time in times]
    wall, cpu = (f"{value:,.{2 if value < 10 else 1 if value < 100 else 0}f}" for value in values)
    return f"{wall} {unit} ({cpu})"


def draw(results: Results, facts: Mapping[str, Any]) -> str:
    """Return the chart as SVG.

    :param facts: the settings, the machine and the versions, as the command prints them.
    """
    measured = medians(results)
    lines: list[str] = []
    top = _MARGIN
    for workload, by_driver in measured.items():
        lines += _workload(workload, by_driver, top)
        top += _HEAD + _STEP * len(by_driver) + _GAP
    for line in _foot(facts):
        lines.append(f'<text class="quiet" x="{_MARGIN}" y="{top + _BAR}">{escape(line)}</text>')
        top += _STEP
    height = top + _MARGIN
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}"'
            f' height="{height}" role="img" aria-labelledby="title">',
            '<title id="title">How long an operation takes with each driver; shorter is better</title>',
            f"<style>{_STYLE}</style>",
            f'<rect class="page" width="{_WIDTH}" height="{height}" rx="6"/>',
            *lines,
            "</svg>\n",
        ]
    )


def _workload(name: str, by_driver: Mapping[str, Times], top: int) -> Iterator[str]:
    yield (
        f'<text y="{top + _BAR}"><tspan class="head" x="{_MARGIN}">{escape(name)}</tspan>'
        f'<tspan class="quiet" dx="8">{escape(WORKLOADS[name].title)}</tspan></text>'
    )
    longest = max(times.wall for times in by_driver.values())
    scale = (_WIDTH - _LEFT - _RIGHT) / longest
    for number, (driver, times) in enumerate(by_driver.items()):
        y = top + _HEAD + number * _STEP
        kind = "own" if driver.removesuffix(OTHER) in OWN else "other"
        baseline = y + _BAR - 3
        yield f'<text x="{_LEFT - 10}" y="{baseline}" text-anchor="end">{escape(driver)}</text>'
        # Of several threads the processor time may be more.
        for part, time in ((f"{kind} clock", times.wall), (kind, min(times.cpu, times.wall))):
            yield f'<rect class="{part}" x="{_LEFT}" y="{y}" width="{time * scale:.1f}" height="{_BAR}"/>'
        end = _LEFT + times.wall * scale + 8
        yield f'<text class="quiet" x="{end:.1f}" y="{baseline}">{shown(times, longest)}</text>'


def _foot(facts: Mapping[str, Any]) -> list[str]:
    settings, versions = facts["settings"], facts["versions"]
    drivers = [f"{name} {version}" for name, version in versions.items() if name in _DRIVERS]
    return [
        f"Time of an operation on the clock, medians of {settings['rounds']} rounds; shorter is better.",
        "Full colour, and in brackets: the client's processor time for it.",
        f"{facts['python']}; {facts['machine']}",
        ", ".join(drivers),
    ]


_DRIVERS = ("asyncpg", "fastpg", "psycopg", "psycopg2-binary", "pg8000", "psqlpy")
