"""Notifications in synchronous code: a block that listens, the stream it gives, and the generator.

Knows the asynchronous objects and how to call them. Must not know channels or connections' insides.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from types import TracebackType
from typing import Generic

import anyio
from typing_extensions import Self, TypeVar

from ..errors import Error
from ..notifications.listen import AsyncListen
from ..notifications.notifies import AsyncNotifies
from ..notifications.subscription import ITEMS_PER_CHECKPOINT, Notify
from ..notifications.subscription import NotificationStream as AsyncNotificationStream
from .calls import Calls
from .closing import Closing

EventT = TypeVar("EventT", default=Notify)


class NotificationStream(Closing, Generic[EventT]):
    """The notifications of one ``listen()`` block; iterate over it, or call :meth:`receive`.

    ``clone()`` gives a second receiver of the same subscription, for another thread: each notification goes to one of
    them. Subscribe twice to have it go to both.

    When the subscription ends, a receiver still gets what is in the buffer. Then the iteration ends if the block was
    left; it raises an OperationalError if the connection was closed, or a NotificationOverflow.
    """

    def __init__(self, calls: Calls, owner: object, stream: AsyncNotificationStream[EventT], batch: int) -> None:
        self._calls = calls
        self._owner = owner  # a connection that nobody refers to is closed
        self._stream = stream
        self._batch = batch  # how many to take in one go
        self._taken: deque[EventT] = deque()

    @property
    def missed(self) -> int:
        """How many notifications were dropped because the buffer was full; see `overflow` of ``listen()``."""
        return self._stream.missed

    @property
    def is_closed(self) -> bool:
        """Whether this receiver was closed."""
        return self._stream.is_closed

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> EventT:
        try:
            return self.receive()
        except anyio.EndOfStream:
            raise StopIteration from None

    def receive(self) -> EventT:
        """Wait for the next notification and return it; errors as for :meth:`receive_nowait`."""
        if not self._taken:
            # To where they are when the call is interrupted, too.
            self._calls.call(_receive, self._stream, self._batch, self._taken)
        return self._taken.popleft()

    def receive_nowait(self) -> EventT:
        """Return the next notification if there is one.

        :raises anyio.WouldBlock: there is none.
        :raises anyio.EndOfStream: the block was left.
        :raises OperationalError: the connection is closed.
        :raises NotificationOverflow: the buffer was full.
        """
        if not self._taken:
            self._calls.call(_receive_nowait, self._stream, self._taken)
        return self._taken.popleft()

    def clone(self) -> NotificationStream[EventT]:
        """Return another receiver of the same subscription, to be closed on its own."""
        # What one receiver takes ahead the others cannot have.
        self._batch = 1
        return NotificationStream(self._calls, self._owner, self._calls.call(_clone, self._stream), 1)

    def close(self) -> None:
        """Close this receiver; a thread that waits in it gets ClosedResourceError."""
        self._taken.clear()
        if not self._calls.call_unless_ended(self._stream.aclose):
            self._calls.post(self._stream.close)


async def _receive(stream: AsyncNotificationStream[EventT], limit: int, taken: deque[EventT]) -> None:
    """Wait for a notification and take it with what else has arrived."""
    taken.append(await stream.receive())
    # Nothing more for the moment; or an end, and whoever receives next is told again.
    with suppress(anyio.WouldBlock, anyio.EndOfStream, anyio.ClosedResourceError, Error):
        while len(taken) < limit:
            taken.append(stream.receive_nowait())


async def _receive_nowait(stream: AsyncNotificationStream[EventT], taken: deque[EventT]) -> None:
    taken.append(stream.receive_nowait())


async def _clone(stream: AsyncNotificationStream[EventT]) -> AsyncNotificationStream[EventT]:
    return stream.clone()


class Listen:
    """A block that listens; made by :meth:`Connection.listen`."""

    def __init__(self, calls: Calls, owner: object, listen: AsyncListen) -> None:
        self._calls = calls
        self._owner = owner
        self._listen = listen
        calls.watch(self, listen)
        self._stream: AsyncNotificationStream[Notify] | None = None

    def __enter__(self) -> NotificationStream[Notify]:
        try:
            self._stream = self._calls.call(self._listen.__aenter__)
            # It keeps this block, which is left when it is dropped.
            return NotificationStream(self._calls, self, self._stream, ITEMS_PER_CHECKPOINT)
        except Exception:
            raise
        except BaseException as error:
            self._make_sure(error)
            raise

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        try:
            if not self._calls.call_unless_ended(self._listen.__aexit__, exc_type, exc_val, exc_tb):
                assert self._stream is not None
                self._calls.post(self._stream.close)
        except Exception:
            raise
        except BaseException as error:
            self._make_sure(error)
            raise

    def _make_sure(self, error: BaseException) -> None:
        """See to it that the block is left, after Ctrl-C at whatever moment."""
        if self._listen.under_way:
            self._calls.call_unless_ended(self._listen.__aexit__, type(error), error, None)


class Notifies(Closing):
    """The notifications of a connection as they come; made by :meth:`Connection.notifies`."""

    def __init__(self, calls: Calls, owner: object, notifies: AsyncNotifies) -> None:
        self._calls = calls
        self._owner = owner
        self._notifies = notifies
        calls.watch(self, notifies)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Notify:
        """Return the next notification.

        :raises StopIteration: the time is over, or enough have come, or it is closed.
        :raises OperationalError: the connection is closed.
        """
        notify = self._notifies.take()
        if notify is not None:
            return notify
        try:
            return self._calls.call(self._notifies.__anext__)
        except StopAsyncIteration:
            raise StopIteration from None

    def close(self) -> None:
        """End the iteration; what was not yielded is for a later generator."""
        self._calls.call_unless_ended(self._notifies.aclose)
