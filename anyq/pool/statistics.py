"""Statistics: what a pool counts, ready for a dashboard.

Knows names and numbers. Must not know what a pool is.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate

#: The upper bounds of the histogram of waiting, in seconds. What waited longer is in none.
WAIT_BOUNDS = (0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0)


class Counters:
    """What is counted since a pool was made, or since the last look. Times are in seconds.

    The names in what :meth:`items` gives are psycopg_pool's, whose times are whole milliseconds; those of the histogram
    and of statements without a connection are ours.
    """

    __slots__ = (
        "connections_errors",
        "connections_lost",
        "connections_num",
        "connections_time",
        "requests_errors",
        "requests_num",
        "requests_queued",
        "requests_wait_time",
        "returns_bad",
        "statements_alone",
        "statements_num",
        "statements_repeated",
        "usage_time",
        "waits",
    )

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Count from zero."""
        self.usage_time = 0.0
        self.requests_num = 0
        self.requests_queued = 0
        self.requests_wait_time = 0.0
        self.requests_errors = 0
        self.returns_bad = 0
        self.connections_num = 0
        self.connections_time = 0.0
        self.connections_errors = 0
        self.connections_lost = 0
        self.statements_num = 0
        self.statements_alone = 0
        self.statements_repeated = 0
        self.waits = [0] * (len(WAIT_BOUNDS) + 1)  # of those above the bound before, the last one's without end

    def waited(self, seconds: float, *, served: bool = True) -> None:
        """Count a request that had to wait."""
        self.requests_wait_time += seconds
        if not served:
            return
        self.waits[bisect_left(WAIT_BOUNDS, seconds)] += 1

    def items(self) -> Iterator[tuple[str, int]]:
        """Yield the name and the value of each of them."""
        yield "usage_ms", _milliseconds(self.usage_time)
        yield "requests_num", self.requests_num
        yield "requests_queued", self.requests_queued
        yield "requests_wait_ms", _milliseconds(self.requests_wait_time)
        yield "requests_errors", self.requests_errors
        yield "returns_bad", self.returns_bad
        yield "connections_num", self.connections_num
        yield "connections_ms", _milliseconds(self.connections_time)
        yield "connections_errors", self.connections_errors
        yield "connections_lost", self.connections_lost
        yield "statements_num", self.statements_num
        yield "statements_alone", self.statements_alone
        yield "statements_repeated", self.statements_repeated
        for bound, count in zip(WAIT_BOUNDS, accumulate(self.waits), strict=False):
            yield f"requests_wait_le_{_milliseconds(bound)}ms", count


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
