"""Busy waiting: whether a reply is looked for before it is waited for, and how long; how soon others get their turn.

The theory is told by `wire`.

Knows counts and seconds. Must not know requests, or how one looks.
"""

from __future__ import annotations

import os
import threading


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


BUSY_WAIT = 50e-6 if processors() > 1 else 0.0
"""Seconds, by default, that a thread may look for a reply without sleeping; 0 where a server may need its processor."""

LONGEST_BUSY_WAIT = 0.005
"""Seconds; nothing that the driver does in an event loop should keep it from all else for longer."""

MOST_SKIPS = 63
"""How many requests, at most, wait for their reply at once before one looks again whether it comes soon."""

CHUNKS_PER_CHECKPOINT = 16
"""After so many chunks without having waited the reader lets others run (two megabytes at most, a few milliseconds)."""

TURN = 0.002
"""Seconds after which it does so in any case, between two chunks: some take longer than others."""

MOST_MESSAGES = 500
"""Messages of the rarer kinds, of which a chunk has room for 20,000, after which it does so within one: a few
milliseconds."""


class BusyWait:
    """What one connection has learned about looking for replies: where they do not come soon, few requests do."""

    __slots__ = ("last_skips", "seconds", "skip")

    def __init__(self) -> None:
        self.seconds = 0.0
        """How long the thread may look for a reply without sleeping."""
        self.skip = 0
        """How many requests from now on do not look whether the reply is there before they wait for it."""
        self.last_skips = 0
        """How many did last time; 0 as soon as a reply was there."""

    def back_off(self) -> None:
        """Take note that one has looked in vain: twice as many as last time skip it now."""
        self.skip = self.last_skips = min(2 * self.last_skips + 1, MOST_SKIPS)


class Traffic:
    """What one thread, and so one event loop, is waiting for."""

    __slots__ = ("under_way",)

    def __init__(self) -> None:
        self.under_way = 0
        """Requests, on whatever connection."""


class _Thread(threading.local):
    def __init__(self) -> None:
        self.traffic = Traffic()


this_thread = _Thread()
"""Its ``traffic`` is that of the thread that asks. Whoever counts keeps hold of it, and does not look it up again: a
coroutine that is dropped may be closed by another thread."""
