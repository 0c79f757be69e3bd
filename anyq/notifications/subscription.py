"""Subscription: one subscriber's buffer of notifications, its overflow policy, and the stream at its end.

Knows when a subscription has something to take and how it ends. Must not know where notifications come from: whoever
feeds it also says how a task waits for more.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, Literal

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from typing_extensions import TypeVar

from ..backends import Backend, Waiter
from ..errors import NotificationOverflow
from ..protocol.session_state import Notify as Notify

Overflow = Literal["error", "drop_oldest", "drop_newest"]
"""What happens to a subscription whose buffer is full."""

BUFFER_SIZE = 10_000
"""Notifications that a subscription holds by default while its subscriber does something else."""

ITEMS_PER_CHECKPOINT = 64
"""``async for`` over notifications that have arrived lets other tasks run once for so many."""

EventT = TypeVar("EventT", default="Notify")


class Receiver(ABC):
    """A task that waits for something that is no reply; see ``wire.Attendant``."""

    __slots__ = ("is_interrupted", "waiter")

    def __init__(self) -> None:
        self.waiter: Waiter | None = None
        self.is_interrupted: Callable[[], bool] | None = None
        """Whether there is something else for it to do before it waits on."""

    @abstractmethod
    def is_satisfied(self) -> bool:
        """Return whether it has what it waits for."""

    def ready(self) -> bool:
        return self.is_satisfied() or (self.is_interrupted is not None and self.is_interrupted())


class _SubscriptionReceiver(Receiver):
    __slots__ = ("_stream",)

    def __init__(self, stream: NotificationStream[Any]) -> None:
        super().__init__()
        self._stream = stream

    def is_satisfied(self) -> bool:
        return self._stream.subscription.has_news or self._stream.is_closed


class Subscription(Generic[EventT]):
    """One subscriber: its channels, its buffer, and how it ends.

    :param attend: waits until a receiver is ready; called by the task that receives.
    :param nudge: makes whoever reads look whether what it waits for is there; waking its waiter does not reach it.
    """

    def __init__(
        self,
        channels: Sequence[str],
        max_buffer_size: float,
        overflow: Overflow,
        backend: Backend,
        attend: Callable[[Receiver], Awaitable[None]],
        nudge: Callable[[], None],
    ) -> None:
        self.channels: Sequence[str] = tuple(dict.fromkeys(channels))
        self.backend = backend
        self._attend = attend
        self._nudge = nudge
        self.missed = 0
        self._overflow = overflow
        self._size = max_buffer_size
        # What one more receive may bring still fits into a buffer of the default size.
        self._many = int(min(max_buffer_size, BUFFER_SIZE)) // 4
        self._send: MemoryObjectSendStream[EventT]
        # The limit is kept here and not by the stream: there are events that a full buffer must still take.
        self._send, receive = anyio.create_memory_object_stream[EventT](math.inf)
        # The only way to the buffer itself; tests/promises/test_private_parts.py tells when anyio changes it.
        self._state = receive._state  # noqa: SLF001 - see above  # pyright: ignore[reportPrivateUsage]
        self._buffer = self._state.buffer
        self.stream: NotificationStream[EventT] = NotificationStream(self._state)
        self.stream.subscription = self
        receive.close()
        self._receivers: list[Receiver] = []
        self._ended = False
        self._error: Callable[[], Exception] | None = None

    @property
    def has_news(self) -> bool:
        """Whether there is something to take, or nothing more will come."""
        return bool(self._buffer) or self._ended

    @property
    def surplus(self) -> int:
        """How many events more there are to take than should be before more are read; 0 or less for none."""
        return 0 if self._ended else len(self._buffer) - self._many

    def put(self, event: EventT, *, force: bool = False) -> bool:
        """Take an event for the subscriber, as far as there is room; or, by `force`, in any case.

        :return: whether there is a surplus.
        """
        if self._ended or not self._state.open_receive_channels:
            return False
        if len(self._buffer) >= self._size and not force:
            if self._overflow == "error":
                size = self._size
                self.end(
                    lambda: NotificationOverflow(
                        f"the subscription to {', '.join(self.channels)} has ended: its buffer of {size:g} "
                        "notifications was full; take them faster, or use a larger max_buffer_size or another overflow="
                    )
                )
                return False
            self.missed += 1
            if self._overflow == "drop_newest" or not self._drop_oldest():
                return True
        # Past the sending stream: no task waits in anyio's way, and this is done for each notification.
        self._buffer.append(event)
        if self._receivers:
            self.wake()
        return len(self._buffer) > self._many

    def _drop_oldest(self) -> bool:
        """Drop the oldest notification; events of other kinds stay. Return False if there is none."""
        for index, event in enumerate(self._buffer):
            if isinstance(event, Notify):
                del self._buffer[index]
                return True
        return False

    def wake(self) -> None:
        """Wake one of the tasks that wait for something to take."""
        for receiver in self._receivers:
            if receiver.waiter is not None:
                receiver.waiter.set()
                return

    def end(self, error: Callable[[], Exception] | None) -> None:
        """Take nothing more; who has taken all that is there gets `error`, or the end of the stream."""
        if self._ended:
            return
        self._ended = True
        self._error = error
        self._send.close()
        self.wake_all()

    def wake_all(self) -> None:
        """Have every task that waits look whether it should go on."""
        for receiver in self._receivers:
            if receiver.waiter is not None:
                receiver.waiter.set()

    def closed_one(self) -> None:
        """Take note that one of the streams was closed."""
        self.wake_all()
        self._nudge()

    def leave(self) -> None:
        """End it on behalf of its subscriber: whoever waits in it gets the end of the stream."""
        self.end(None)
        self.stream.close()

    def ending(self) -> Exception:
        """Return what to raise at the end."""
        return anyio.EndOfStream() if self._error is None else self._error()

    async def wait(self, stream: NotificationStream[EventT]) -> None:
        """Return when there may be something to take."""
        receiver = _SubscriptionReceiver(stream)
        self._receivers.append(receiver)
        try:
            await self._attend(receiver)
        finally:
            self._receivers.remove(receiver)
            if self._buffer:
                # Woken, but cancelled before it could take it; or there is enough for one more.
                self.wake()


class NotificationStream(MemoryObjectReceiveStream[EventT], Generic[EventT]):
    """The notifications of one ``listen()`` block; iterate over it, or call :meth:`receive`.

    ``clone()`` gives a second receiver of the same subscription: each notification goes to one of them. Subscribe twice
    to have it go to both.

    When the subscription ends, a receiver still gets what is in the buffer. Then it gets the end of the stream if the
    block was left; an OperationalError, of the class of what the server said, if the connection was closed; or a
    NotificationOverflow.
    """

    subscription: Subscription[EventT]
    _taken = 0

    @property
    def is_closed(self) -> bool:
        """Whether this receiver was closed."""
        return self._closed

    @property
    def missed(self) -> int:
        """How many notifications were dropped because the buffer was full; see `overflow` of ``listen()``."""
        return self.subscription.missed

    def clone(self) -> NotificationStream[EventT]:
        """Return another receiver of the same subscription, to be closed on its own."""
        if self._closed:
            raise anyio.ClosedResourceError
        stream: NotificationStream[EventT] = NotificationStream(self._state)
        stream.subscription = self.subscription
        return stream

    def receive_nowait(self) -> EventT:
        """Return the next notification if there is one.

        :raises anyio.WouldBlock: there is none.
        :raises anyio.EndOfStream: the block was left.
        :raises OperationalError: the connection is closed.
        :raises NotificationOverflow: the buffer was full.
        """
        try:
            return super().receive_nowait()
        except anyio.EndOfStream:
            raise self.subscription.ending() from None

    async def receive(self) -> EventT:
        """Wait for the next notification and return it; errors as for :meth:`receive_nowait`.

        A cancellation loses nothing: a notification that is there then is for the next one who receives.
        """
        self.subscription.backend.check_here()
        await self.subscription.backend.checkpoint()
        while True:
            try:
                return self.receive_nowait()
            except anyio.WouldBlock:
                await self.subscription.wait(self)

    async def __anext__(self) -> EventT:
        self._taken += 1
        buffer = self._state.buffer
        if buffer and self._taken % ITEMS_PER_CHECKPOINT and not self._closed:
            return buffer.popleft()
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    def close(self) -> None:
        """Close this receiver; a task that waits in it gets ClosedResourceError."""
        super().close()
        self.subscription.closed_one()
