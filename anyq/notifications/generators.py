"""Generators: who of those that iterate is given which notification, and what is kept for one that is made later.

Knows the order in which generators were started. Must not know channels, nor how notifications are read.
"""

from __future__ import annotations

import logging
import sys
from collections import deque
from collections.abc import Sequence
from typing import Protocol
from weakref import ReferenceType, ref

from ..errors import NotificationOverflow
from .subscription import Notify

logger = logging.getLogger("anyq")

BACKLOG_SIZE = 100_000
"""Notifications that a connection holds for a later ``notifies()``, while nobody takes them."""

BACKLOG_MEMORY = 64 * 1024 * 1024
"""Bytes that they may take; as many as 100,000 of the usual length do not."""


class Generator(Protocol):
    """One of the iterations over the notifications of a connection."""

    received: int
    """How many notifications it was given, yielded or not."""

    def put(self, notify: Notify, /) -> None: ...

    def put_first(self, notifies: Sequence[Notify], /) -> None: ...


class Generators:
    """The generators of one connection, and the notifications that none has yielded."""

    def __init__(self) -> None:
        # By identity, in the order they were started. Weak: one that is dropped amid its notifications hands them on.
        self.running: dict[int, ReferenceType[Generator]] = {}
        self._backlog: deque[Notify] = deque()
        self._backlog_memory = 0
        self._missed = 0

    def put(self, notify: Notify) -> None:
        """Give a notification to every generator."""
        for generator in self._all():
            generator.put(notify)

    def keep(self, notify: Notify) -> None:
        """Keep a notification for a generator that is made later, if there is none."""
        if self.running:
            return
        self._backlog.append(notify)
        self._backlog_memory += _memory(notify)
        self._drop()

    def _drop(self) -> None:
        """Drop the oldest of those that are kept, as far as they are too many or too long."""
        backlog = self._backlog
        while len(backlog) > BACKLOG_SIZE or self._backlog_memory > BACKLOG_MEMORY:
            if not self._missed:
                logger.warning("nobody takes the notifications of a connection: the oldest are dropped")
            self._missed += 1
            self._backlog_memory -= _memory(backlog.popleft())

    def start(self, generator: Generator) -> None:
        """Have a generator take notifications from now on, and those that nobody has taken so far.

        :raises NotificationOverflow: some of them were dropped.
        """
        if self._missed:
            missed, self._missed = self._missed, 0
            raise NotificationOverflow(
                f"{missed} notifications were dropped while nobody took any; the {len(self._backlog)} latest are kept"
            )
        for notify in self._backlog:
            generator.put(notify)
        self._backlog.clear()
        self._backlog_memory = 0
        self.running[id(generator)] = ref(generator)

    @property
    def has_kept(self) -> bool:
        """Whether there are notifications that nobody has taken."""
        return bool(self._backlog or self._missed)

    def forget_kept(self) -> None:
        """Forget the notifications that nobody has taken."""
        self._backlog.clear()
        self._backlog_memory = self._missed = 0

    def stop(self, generator: Generator, left: deque[Notify]) -> None:
        """Take a generator off; what it has not yielded is for one that has not got it, or for a later one."""
        del self.running[id(generator)]
        others = self._all()
        if not others:
            self._backlog.extendleft(reversed(left))
            self._backlog_memory += sum(map(_memory, left))
            self._drop()
        elif len(left) > others[0].received:
            # The oldest of the others began when these had been handed out already.
            others[0].put_first(list(left)[: len(left) - others[0].received])

    def _all(self) -> list[Generator]:
        # A copy: the garbage collector may end a generator at any time.
        references = tuple(self.running.values())
        return [generator for reference in references if (generator := reference()) is not None]


def _memory(notify: Notify) -> int:
    """Return how many bytes a notification takes, but for what all of them do."""
    return sys.getsizeof(notify.channel) + sys.getsizeof(notify.payload)
