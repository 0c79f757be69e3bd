"""AsyncNotifies: the generator of psycopg's ``conn.notifies()``.

Knows its time, its count and what it was given. Must not know channels, nor how notifications are read.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Literal

import anyio
from typing_extensions import Self

from ..errors import ProgrammingError
from .hub import NotificationHub
from .subscription import ITEMS_PER_CHECKPOINT, Notify, Receiver


class AsyncNotifies(Receiver):
    """The notifications of a connection as they come; made by :meth:`AsyncConnection.notifies`."""

    # There already if what makes one is interrupted by Ctrl-C, for the finalizer.
    _state: Literal["new", "running", "closed"] = "new"

    def __init__(self, hub: NotificationHub, timeout: float | None, stop_after: int | None) -> None:
        super().__init__()
        self._hub = hub
        self._wire = hub.session.wire
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
        wire = self._wire
        wire.backend.check_here()
        await wire.backend.checkpoint()
        self._begin()
        self._look_at_the_time()
        if not self._items and self._left > 0 and self._state == "running" and not wire.closed:
            self._waits = True
            try:
                with anyio.CancelScope(deadline=self._deadline):
                    await self._hub.attend(self)
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
            self._hub.generators.start(self)
            self._state = "running"
            if self._timeout is not None:
                self._deadline = anyio.current_time() + self._timeout

    def _look_at_the_time(self) -> None:
        """When the time is over, take what has arrived by now, and no more."""
        if self._deadline < math.inf and self._state == "running" and anyio.current_time() >= self._deadline:
            self._wire.poll()
            self._left = min(self._left, len(self._items))
            self._deadline = math.inf

    def _wake(self) -> None:
        if self.waiter is not None:
            self.waiter.set()
        elif self._waits:
            # It reads for everyone.
            self._wire.channel.wake()

    def close(self) -> None:
        """End the iteration; what was not yielded is for a later generator."""
        was_running, self._state = self._state == "running", "closed"
        items, self._items = self._items, deque()
        if was_running:
            self._hub.generators.stop(self, items)
        self._wake()

    @property
    def under_way(self) -> bool:
        """For this package: whether notifications are kept for it."""
        return self._state == "running"

    def drop(self) -> None:
        """For this package: do what :meth:`close` does."""
        self.close()

    async def aclose(self) -> None:
        """End the iteration; what was not yielded is for a later generator."""
        self.close()
        await self._wire.backend.checkpoint()

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
