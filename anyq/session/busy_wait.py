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
"""How many requests, or pieces, at most, are waited for at once before one looks again whether they come soon."""

CHUNKS_PER_CHECKPOINT = 16
"""After so many chunks without having waited the reader lets others run (two megabytes at most, a few milliseconds)."""

TURN = 0.002
"""Seconds after which it does so in any case, between two chunks: some take longer than others."""

MOST_MESSAGES = 500
"""Messages of the rarer kinds, of which a chunk has room for 20,000, after which it does so within one: a few
milliseconds."""


class Looks:
    """What one connection has learned about looking for something: where it does not come soon, few do."""

    __slots__ = ("last_skips", "skip")

    def __init__(self) -> None:
        self.skip = 0
        """How many from now on do not look whether it is there before they wait for it."""
        self.last_skips = 0
        """How many did last time; 0 as soon as it was there."""

    def may_look(self) -> bool:
        """Return whether to look this time."""
        if not self.skip:
            return True
        self.skip -= 1
        return False

    def has_looked(self, found: bool) -> None:
        """Take note of whether it came meanwhile."""
        if found:
            self.last_skips = 0
        else:
            self.back_off()

    def back_off(self) -> None:
        """Take note that one has looked in vain: twice as many as last time skip it now."""
        self.skip = self.last_skips = min(2 * self.last_skips + 1, MOST_SKIPS)


class BusyWait(Looks):
    """Requests that look for their replies."""

    __slots__ = ("pieces", "seconds")

    def __init__(self) -> None:
        super().__init__()
        self.pieces = Looks()
        """The looks for the next piece of a reply."""
        self.seconds = 0.0
        """How long the thread may look without sleeping."""


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
