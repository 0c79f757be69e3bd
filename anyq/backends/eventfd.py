"""Eventfd: what a thread writes to so that an event loop, which watches it, wakes up (Linux, eventfd(2)).

Knows file descriptors. Must not know event loops.
"""

from __future__ import annotations

import os
import select
from contextlib import suppress

AVAILABLE = hasattr(os, "eventfd")
"""Whether the system has it; otherwise a loop is woken in its own way, which takes longer."""


class Eventfd:
    """A counter in the kernel; readable while it is not zero."""

    __slots__ = ("_owner", "fd")

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        # Closes it when this is freed, without a function in Python that could be interrupted. Not before: another
        # thread may be about to write, and the number could be another file's by then.
        self._owner = select.epoll.fromfd(self.fd)

    def write(self) -> None:
        """Make it readable; for any thread, finalizers and signal handlers. Does not block."""
        os.eventfd_write(self.fd, 1)

    def read(self) -> None:
        """Make it unreadable, which it may be already."""
        with suppress(BlockingIOError):
            os.eventfd_read(self.fd)
