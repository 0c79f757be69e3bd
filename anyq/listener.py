"""AsyncListener: notifications from a server that may go away and come back; ``anyq.listen()``.

Knows when to connect again and what to tell subscribers then, in a task that its ``async with`` block owns.
Must not know what the server listens to: that is the connection's account, and made anew on the next one.
"""

from __future__ import annotations

import logging
import math
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, NamedTuple

import anyio
import anyio.abc
from typing_extensions import Self

from .backends import Backend, current_backend
from .connection import AsyncConnection
from .errors import Error, InterfaceError, OperationalError
from .errors.arguments import check_numbers, check_seconds
from .errors.hiding import hiding
from .notifications.hub import NotificationHub
from .notifications.limits import check_options
from .notifications.subscription import BUFFER_SIZE, NotificationStream, Notify, Overflow, Receiver, Subscription

logger = logging.getLogger("anyq.listener")

FIRST_DELAY = 0.1
"""Seconds before the first attempt to connect again; each further one waits twice as long."""

MAX_DELAY = 30.0
"""Seconds between two attempts at most."""


class Gap(NamedTuple):
    """An event in the stream: the connection was lost and made again, and notifications may have been missed.

    It comes after the server has been told to listen again: whoever reads the state of things from the database when
    getting it misses nothing.
    """

    reason: str
    """Why the connection was lost."""
    seconds: float
    """How long it took to listen again."""


Event = Notify | Gap


class _StableSubscription:
    """Leads the notifications of the connection of the moment into a subscription that outlives it."""

    def __init__(self, subscription: Subscription[Event]) -> None:
        self.subscription = subscription
        self.channels = subscription.channels
        self.hub: NotificationHub | None = None
        self.lost: tuple[str, float] | None = None
        """Why and when the connection was lost, as long as its subscriber has not been told."""

    @property
    def surplus(self) -> int:
        return self.subscription.surplus

    def put(self, event: Notify) -> bool:
        # The first of a new connection may come together with the reply to LISTEN, before anybody has seen that.
        self.tell_gap()
        return self.subscription.put(event)

    def tell_gap(self) -> None:
        if self.lost is not None:
            (reason, lost_at), self.lost = self.lost, None
            self.subscription.put(Gap(reason, anyio.current_time() - lost_at), force=True)

    def attach(self, hub: NotificationHub) -> None:
        if self.hub is not hub:
            self.hub = hub
            hub.add(self)

    def end(self, error: Callable[[], Exception] | None) -> None:
        # That the connection is closed is a gap, not the end; anything else is.
        if self.hub is None or not self.hub.session.closed:
            self.subscription.end(error)


class AsyncListener:
    """Listens on a connection of its own, which it makes again when it is lost; made by :func:`listen`.

    Iterate over it for the events of the channels it was made with, and call :meth:`subscribe` for others.
    """

    def __init__(
        self,
        conninfo: str,
        channels: Sequence[str],
        max_buffer_size: float,
        overflow: Overflow,
        give_up_after: float | None,
        max_delay: float,
        options: dict[str, Any],
    ) -> None:
        if channels:
            check_options(channels, max_buffer_size, overflow, "utf-8", "utf-8")
        check_seconds(give_up_after=give_up_after)
        check_numbers(max_delay=max_delay)
        self._conninfo = conninfo
        self._channels = channels
        self._max_buffer_size = max_buffer_size
        self._overflow: Overflow = overflow
        self._give_up_after = math.inf if give_up_after is None else give_up_after
        self._max_delay = max_delay
        self._options = options
        self._subscriptions: list[_StableSubscription] = []
        self._own: _StableSubscription | None = None
        self._connection: AsyncConnection[Any] | None = None
        self._connected = anyio.Event()
        self._lost: tuple[str, float] | None = None
        self._error: Error | None = None
        self._left = False
        self._group: anyio.abc.TaskGroup | None = None
        self._backend: Backend

    @property
    def connection(self) -> AsyncConnection[Any] | None:
        """The connection of the moment, None while there is none. It may be used for statements, in autocommit mode."""
        return self._connection

    # -- the block

    async def __aenter__(self) -> Self:
        if self._group is not None:
            raise InterfaceError("a listener can be entered once; call anyq.listen() again")
        self._backend = current_backend()
        group = anyio.create_task_group()
        if self._channels:
            self._own = self._add(self._channels, self._max_buffer_size, self._overflow)
        # The first failure is more likely a mistake than an outage, so it is not tried again.
        try:
            await self._connect()
        except BaseException:
            self._end(None)
            raise
        self._group = await group.__aenter__()
        group.start_soon(self._keep_connected)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        assert self._group is not None
        gave_up = self._error
        self._left = True
        self._end(None)
        # Ending the task takes no time; a cancellation in between would replace the body's exception.
        self._group.cancel_scope.shield = True
        self._group.cancel_scope.cancel()
        try:
            # The body's exception is none of the group's: it goes on as it is, not in an exception group.
            await self._group.__aexit__(None, None, None)
        finally:
            if self._connection is not None:
                connection, self._connection = self._connection, None
                await _close(connection)
        if gave_up is not None and exc_val is None:
            raise _copy(gave_up)

    def __aiter__(self) -> AsyncIterator[Event]:
        return self.stream.__aiter__()

    @property
    def stream(self) -> NotificationStream[Event]:
        """The stream of the channels that the listener was made with.

        :raises InterfaceError: it was made with none, or its block has not been entered.
        """
        if self._own is None:
            if self._channels:
                raise InterfaceError(_NOT_ENTERED)
            raise InterfaceError("the listener has no channels of its own; iterate over what its subscribe() gives")
        return self._own.subscription.stream

    @asynccontextmanager
    async def subscribe(
        self, *channels: str, max_buffer_size: float = BUFFER_SIZE, overflow: Overflow = "error"
    ) -> AsyncGenerator[NotificationStream[Event], None]:
        """Listen to channels for as long as a block lasts; parameters as for :meth:`AsyncConnection.listen`.

        While there is no connection, entering the block waits until there is one.

        :raises OperationalError: the listener has given up.
        """
        if self._group is None:
            raise InterfaceError(_NOT_ENTERED)
        check_options(channels, max_buffer_size, overflow, "utf-8", "utf-8")
        stable = self._add(channels, max_buffer_size, overflow)
        try:
            await self._listen(stable)
            yield stable.subscription.stream
        finally:
            if stable in self._subscriptions:
                self._subscriptions.remove(stable)
            stable.subscription.leave()
            if stable.hub is not None:
                await stable.hub.leave(stable, wait=False)

    # -- subscriptions

    def _add(self, channels: Sequence[str], max_buffer_size: float, overflow: Overflow) -> _StableSubscription:
        subscription: Subscription[Event] = Subscription(
            channels, max_buffer_size, overflow, self._backend, self._park, lambda: None
        )
        stable = _StableSubscription(subscription)
        stable.lost = self._lost
        self._subscriptions.append(stable)
        return stable

    async def _park(self, receiver: Receiver) -> None:
        """Wait for an event; the listener's own task reads."""
        receiver.waiter = waiter = self._backend.create_waiter()
        try:
            if not receiver.ready():
                await waiter.wait()
        finally:
            receiver.waiter = None

    async def _listen(self, stable: _StableSubscription) -> None:
        """Have the server of the moment send what a new subscription wants."""
        while True:
            await self._connected.wait()
            if self._error is not None:
                raise _copy(self._error)
            connection = self._connection
            if connection is None:
                if self._left:
                    raise InterfaceError("the listener's block has been left")
                # Lost between the event and this task's turn.
                continue
            stable.attach(connection.notifications)
            try:
                await connection.notifications.listen(stable.channels)
                return
            except OperationalError:
                if not connection.closed:
                    raise
                # Noticed here before the task that keeps the connection has had its turn.
                if self._connection is connection and self._connected.is_set():
                    self._connected = anyio.Event()

    def _end(self, error: Error | None) -> None:
        for stable in self._subscriptions:
            stable.subscription.end(None if error is None else lambda: _copy(error))
        if self._own is not None and error is None:
            self._own.subscription.stream.close()
        # Whoever waits for a connection learns that there will be none.
        self._error = self._error or error
        self._connected.set()

    # -- the connection

    async def _connect(self) -> None:
        connection = await AsyncConnection.connect(self._conninfo, autocommit=True, **self._options)
        try:
            for stable in self._subscriptions:
                stable.attach(connection.notifications)
            channels = sorted({channel for stable in self._subscriptions for channel in stable.channels})
            if channels:
                await connection.notifications.listen(channels)
        except BaseException:
            await _close(connection)
            raise
        self._connection = connection
        self._connected.set()

    async def _keep_connected(self) -> None:
        """Wait for the end of the connection and make it again, until there is no use in it."""
        while True:
            connection = self._connection
            assert connection is not None
            await connection.wait_disconnected()
            lost_at = anyio.current_time()
            reason = str(connection.session.wire.protocol.lost_error())
            await _close(connection)
            if self._connected.is_set():
                self._connected = anyio.Event()
            self._connection = None
            self._lost = (reason, lost_at)
            for stable in self._subscriptions:
                stable.lost = self._lost
            logger.warning("the listener's connection was lost: %s", reason)
            error = await self._reconnect(lost_at, OperationalError(reason))
            if error is not None:
                self._end(error)
                return
            self._lost = None
            for stable in self._subscriptions:
                stable.tell_gap()

    async def _reconnect(self, lost_at: float, error: Error) -> Error | None:
        """Connect and listen again; return the last error when the time for it is over."""
        delay = FIRST_DELAY
        give_up_at = lost_at + self._give_up_after
        while True:
            left = give_up_at - anyio.current_time()
            if left <= 0:
                return error
            # Jitter keeps the listeners of many processes from coming back in step.
            await anyio.sleep(min(left, min(delay, self._max_delay) * random.uniform(0.5, 1.0)))
            delay *= 2
            try:
                with anyio.CancelScope(deadline=give_up_at):
                    await self._connect()
                    return None
            except Error as failed:
                # Whatever it is: a server that starts up, or that is a standby for now, may do so tomorrow.
                logger.info("the listener could not connect: %s", failed)
                error = failed


_NOT_ENTERED = "enter the listener first: async with anyq.listen(...) as listener"


async def _close(connection: AsyncConnection[Any]) -> None:
    """Close a connection, cancelled or not: what a caller's dial() has opened can only be closed by awaiting."""
    with anyio.move_on_after(connection.session.wire.cancelling.grace, shield=True):
        await connection.session.wire.aclose()


def _copy(error: Error) -> OperationalError:
    """Return a new error for each task that is told: they must not share one and its traceback."""
    copy = OperationalError(*error.args)
    copy.__cause__ = error
    return copy


@hiding
def listen(
    conninfo: str = "",
    *channels: str,
    max_buffer_size: float = BUFFER_SIZE,
    overflow: Overflow = "error",
    give_up_after: float | None = None,
    max_delay: float = MAX_DELAY,
    **kwargs: Any,
) -> AsyncListener:
    """Listen on a connection of its own, made again when it is lost: ``async with anyq.listen(dsn, "a") as listener``.

    Iterating over the listener gives :class:`Notify` and, each time after the connection was made again, a
    :class:`Gap`.

    :param max_buffer_size: events kept for a subscriber while it does something else.
    :param overflow: what happens when there is no more room; see :meth:`AsyncConnection.listen`. A Gap has always room.
    :param give_up_after: seconds without a connection after which every subscriber gets the last error; None for never.
    :param max_delay: seconds between two attempts to connect, at most; they begin with a tenth of a second, and each
        waits about twice as long as the one before, with some jitter.
    :param kwargs: connection keywords and parameters of :meth:`AsyncConnection.connect`; no `stream`, which could not
        be opened again, and no `autocommit`, which is on.
    :raises OperationalError: the first connection could not be made; or, to a subscriber that has taken all there is
        and when the block is left, the listener has given up.
    """
    for name in ("autocommit", "stream"):
        if name in kwargs:
            raise TypeError(f"listen() takes no {name!r}: it makes its connections by itself, in autocommit mode")
    return AsyncListener(conninfo, channels, max_buffer_size, overflow, give_up_after, max_delay, kwargs)
