"""AsyncListen: a block that listens to channels.

Knows how a subscription is entered and left. Must not know what LISTEN costs a transaction: that is the hub's.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

from ..backends import uninterrupted
from ..errors import ProgrammingError
from .hub import NotificationHub
from .limits import check_options
from .subscription import NotificationStream, Notify, Overflow, Subscription


@uninterrupted
class AsyncListen:
    """A block that listens; made by :meth:`AsyncConnection.listen`."""

    def __init__(
        self, hub: NotificationHub, channels: Sequence[str], max_buffer_size: float, overflow: Overflow
    ) -> None:
        check_options(channels, max_buffer_size, overflow, *hub.encodings())
        self._hub = hub
        self._channels = channels
        self._max_buffer_size = max_buffer_size
        self._overflow: Overflow = overflow
        self._subscription: Subscription[Notify] | None = None
        self._is_left = False

    async def __aenter__(self) -> NotificationStream[Notify]:
        if self._subscription is not None:
            raise ProgrammingError("a listen() block can be entered once; call listen() again")
        hub = self._hub
        hub.session.check_open()
        wire = hub.session.wire
        wire.backend.check_here()
        try:
            self._subscription = Subscription(
                self._channels, self._max_buffer_size, self._overflow, wire.backend, hub.attend, wire.channel.wake
            )
            hub.add(self._subscription)
            await hub.listen(self._subscription.channels)
            return self._subscription.stream
        except BaseException:
            await self._leave(wait=False)
            raise

    @property
    def under_way(self) -> bool:
        """For this package: whether it was entered and not left."""
        return self._subscription is not None and not self._is_left

    def drop(self) -> None:
        """For this package: leave it without waiting; the server is told by who comes by."""
        if self._subscription is not None:
            self._subscription.leave()
            self._hub.forget(self._subscription)
            self._is_left = True

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        try:
            await self._leave(wait=exc_val is None)
        except BaseException:
            # An interrupt may have come anywhere: the same again, which does what is left of it.
            if self.under_way and not self._hub.session.closed:
                await self._leave(wait=False)
            raise

    async def _leave(self, *, wait: bool) -> None:
        subscription = self._subscription
        if subscription is None:
            return
        self._hub.session.wire.backend.check_here()
        subscription.leave()
        await self._hub.leave(subscription, wait=wait)
        self._is_left = True
