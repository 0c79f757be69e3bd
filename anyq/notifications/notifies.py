"""AsyncNotifies: the generator of psycopg's ``conn.notifies()``, and what is kept for one that is made later.

Knows who has been given which notification. Must not know channels, nor how notifications are read.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal
from weakref import ReferenceType, ref

import anyio
from typing_extensions import Self

from ..errors import NotificationOverflow, ProgrammingError
from .subscription import ITEMS_PER_CHECKPOINT, Notify, Receiver

if TYPE_CHECKING:
    # A connection makes generators, so it imports this module.
    from ..connection import AsyncConnection

logger = logging.getLogger("anyq")

BACKLOG_SIZE = 100_000
"""Notifications that a connection holds for a later ``notifies()``, while nobody takes them."""


class Generators:
    """The generators of one connection, and the notifications that none has yielded."""

    def __init__(self) -> None:
        # By identity, in the order they were started. Weak: one that is dropped amid its notifications hands them on.
        self.running: dict[int, ReferenceType[AsyncNotifies]] = {}
        self._backlog: deque[Notify] = deque()
        self._missed = 0

    def put(self, notify: Notify) -> None:
        """Give a notification to every generator."""
        for generator in self._all():
            generator.put(notify)

    def keep(self, notify: Notify) -> None:
        """Keep a notification for a generator that is made later, if there is none."""
        if self.running:
            return
        if len(self._backlog) >= BACKLOG_SIZE:
            if not self._missed:
                logger.warning("nobody takes the notifications of a connection: the oldest are dropped")
            self._missed += 1
            self._backlog.popleft()
        self._backlog.append(notify)

    def start(self, generator: AsyncNotifies) -> None:
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
        self.running[id(generator)] = ref(generator)

    def stop(self, generator: AsyncNotifies, left: deque[Notify]) -> None:
        """Take a generator off; what it has not yielded is for one that has not got it, or for a later one."""
        del self.running[id(generator)]
        others = self._all()
        if not others:
            self._backlog.extendleft(reversed(left))
        elif len(left) > others[0].received:
            # The oldest of the others began when these had been handed out already.
            others[0].put_first(list(left)[: len(left) - others[0].received])

    def _all(self) -> list[AsyncNotifies]:
        # A copy: the garbage collector may end a generator at any time.
        references = tuple(self.running.values())
        return [generator for reference in references if (generator := reference()) is not None]


class AsyncNotifies(Receiver):
    """The notifications of a connection as they come; made by :meth:`AsyncConnection.notifies`."""

    # There already if what makes one is interrupted by Ctrl-C, for the finalizer.
    _state: Literal["new", "running", "closed"] = "new"

    def __init__(self, connection: AsyncConnection[Any], timeout: float | None, stop_after: int | None) -> None:
        super().__init__()
        self._connection = connection
        self._timeout = timeout
        self._left = math.inf if stop_after is None else stop_after
        self._deadline = math.inf
        self._items: deque[Notify] = deque()
        self._yielded = 0
        self._waits = False
        self.received = 0
        """How many notifications it was given, yielded or not."""

    def is_satisfied(self) -> bool:
        return bool(self._items) or self._state == "closed"

    def put(self, notify: Notify) -> None:
        """Take a notification to be yielded."""
        self.received += 1
        self._items.append(notify)
        if self.waiter is not None:
            self.waiter.set()

    def put_first(self, notifies: Sequence[Notify]) -> None:
        """Take notifications that came before all others that it has got."""
        self.received += len(notifies)
        self._items.extendleft(reversed(notifies))
        self._wake()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Notify:
        """Return the next notification.

        :raises StopAsyncIteration: the time is over, or enough have come, or it is closed.
        :raises OperationalError: the connection is closed.

        A cancellation loses nothing; the iteration may go on.
        """
        notify = self.take()
        if notify is not None:
            return notify
        if self._waits:
            raise ProgrammingError("another task waits for this generator's next notification; make one for each task")
        wire = self._connection.wire
        await wire.backend.checkpoint()
        self._begin()
        self._look_at_the_time()
        if not self._items and self._left > 0 and self._state == "running" and not wire.closed:
            self._waits = True
            try:
                with anyio.CancelScope(deadline=self._deadline):
                    await self._connection.notifications.attend(self)
            finally:
                self._waits = False
        if self._items and self._left > 0:
            return self._pop()
        lost = wire.closed and self._left > 0 and self._state == "running"
        self.close()
        if lost:
            raise wire.protocol.lost_error()
        raise StopAsyncIteration

    def take(self) -> Notify | None:
        """Return a notification that has arrived; None if there is none, or it is time for a checkpoint.

        May be called by another thread, in turn with :meth:`__anext__`.
        """
        if self._yielded % ITEMS_PER_CHECKPOINT and self._left > 0:
            with suppress(IndexError):
                return self._pop()
        return None

    def _pop(self) -> Notify:
        notify = self._items.popleft()
        self._yielded += 1
        self._left -= 1
        return notify

    def _begin(self) -> None:
        if self._state == "new":
            self._connection.notifications.generators.start(self)
            self._state = "running"
            if self._timeout is not None:
                self._deadline = anyio.current_time() + self._timeout

    def _look_at_the_time(self) -> None:
        """When the time is over, take what has arrived by now, and no more."""
        if self._deadline < math.inf and self._state == "running" and anyio.current_time() >= self._deadline:
            self._connection.wire.poll()
            self._left = min(self._left, len(self._items))
            self._deadline = math.inf

    def _wake(self) -> None:
        if self.waiter is not None:
            self.waiter.set()
        elif self._waits:
            # It reads for everyone.
            self._connection.wire.channel.wake()

    def close(self) -> None:
        """End the iteration; what was not yielded is for a later generator."""
        was_running, self._state = self._state == "running", "closed"
        items, self._items = self._items, deque()
        if was_running:
            self._connection.notifications.generators.stop(self, items)
        self._wake()

    async def aclose(self) -> None:
        """End the iteration; what was not yielded is for a later generator."""
        self.close()
        await self._connection.wire.backend.checkpoint()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if self._state == "running":
            self.close()
