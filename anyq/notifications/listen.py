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

    async def __aenter__(self) -> NotificationStream[Notify]:
        if self._subscription is not None:
            raise ProgrammingError("a listen() block can be entered once; call listen() again")
        hub = self._hub
        hub.session.check_open()
        wire = hub.session.wire
        wire.backend.check_here()
        self._subscription = Subscription(
            self._channels, self._max_buffer_size, self._overflow, wire.backend, hub.attend, wire.channel.wake
        )
        hub.add(self._subscription)
        try:
            await hub.listen(self._subscription.channels)
        except BaseException:
            await self._leave(wait=False)
            raise
        return self._subscription.stream

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        await self._leave(wait=exc_val is None)

    async def _leave(self, *, wait: bool) -> None:
        assert self._subscription is not None
        self._hub.session.wire.backend.check_here()
        self._subscription.leave()
        await self._hub.leave(self._subscription, wait=wait)
