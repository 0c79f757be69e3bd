"""Notifications: who listens to which channel, and how each notification gets to every one of them.

Knows channels, subscriptions and what to do when one of them is full. Must not know messages; it reads from the
connection only through ``Wire.attend``, so that there is no task behind it: a subscriber that waits reads for everyone.

Manual: "LISTEN", "NOTIFY", "Asynchronous Operations" (protocol-flow).
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

import anyio
from typing_extensions import Self

from ._subscription import (
    ITEMS_PER_CHECKPOINT,
    NotificationStream,
    Notify,
    Overflow,
    Receiver,
    Subscription,
)
from .backends import Waiter
from .errors import Error, NotificationOverflow, ProgrammingError
from .sql import Identifier

if TYPE_CHECKING:
    # A connection has subscriptions, so it imports this module.
    from .connection import AsyncConnection

logger = logging.getLogger("anyq")

MAX_CHANNEL = 63
"""Bytes of a channel's name (NAMEDATALEN - 1); the server would cut a longer one without an error."""

MAX_PAYLOAD = 7999
"""Bytes of a payload: it must be shorter than 8000 (manual, "NOTIFY")."""

BACKLOG_SIZE = 100_000
"""Notifications that a connection holds for a later ``notifies()``, while nobody takes them."""


class AsyncListen:
    """A block that listens; made by :meth:`AsyncConnection.listen`."""

    def __init__(
        self, connection: AsyncConnection[Any], channels: Sequence[str], max_buffer_size: float, overflow: Overflow
    ) -> None:
        check_options(channels, max_buffer_size, overflow, connection.encoding)
        self._connection = connection
        self._channels = channels
        self._max_buffer_size = max_buffer_size
        self._overflow: Overflow = overflow
        self._subscription: Subscription[Notify] | None = None

    async def __aenter__(self) -> NotificationStream[Notify]:
        if self._subscription is not None:
            raise ProgrammingError("a listen() block can be entered once; call listen() again")
        self._connection.check_open()
        hub = self._connection.notifications
        wire = self._connection.wire
        self._subscription = Subscription(
            self._channels, self._max_buffer_size, self._overflow, wire.backend, wire.attend
        )
        hub.add(self._subscription)
        try:
            await hub.listen(self._subscription.channels)
        except BaseException:
            hub.remove(self._subscription)
            self._subscription.stream.close()
            await hub.settle_shielded()
            raise
        return self._subscription.stream

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        assert self._subscription is not None
        hub = self._connection.notifications
        hub.remove(self._subscription)
        self._subscription.stream.close()
        await hub.settle_shielded()


class NotificationHub:
    """All that listens on one connection.

    LISTEN and UNLISTEN are part of the transaction that they are run in. So a channel is *tentative* until the
    transaction of its LISTEN has ended, and listened to again if that was rolled back; and a channel that nobody
    subscribes to any more is *stale* until no transaction is open, and UNLISTEN is run.
    """

    def __init__(self, connection: AsyncConnection[Any]) -> None:
        self._connection = connection
        self._subscriptions: dict[str, list[Subscription[Notify]]] = {}
        self._listening: set[str] = set()
        self._tentative: set[str] = set()
        self._stale: set[str] = set()
        self._rollbacks = 0
        self._generators: list[AsyncNotifies] = []
        self._backlog: deque[Notify] = deque()
        self._backlog_missed = 0
        self.handlers: list[Callable[[Notify], None]] = []
        self.unsettled = False
        """Whether there is something to do when no transaction is open."""

    # -- delivering

    def deliver(self, notify: Notify) -> None:
        """Give a notification to everyone who should have it."""
        subscriptions = self._subscriptions.get(notify.channel, ())
        for subscription in tuple(subscriptions):
            subscription.put(notify)
        for handler in tuple(self.handlers):
            try:
                handler(notify)
            except Exception:
                logger.exception("a notify handler failed: %r", handler)
        for generator in self._generators:
            generator.put(notify)
        if not subscriptions and not self.handlers and not self._generators:
            self._keep(notify)

    def _keep(self, notify: Notify) -> None:
        if len(self._backlog) >= BACKLOG_SIZE:
            if not self._backlog_missed:
                logger.warning("nobody takes the notifications of %r: the oldest are dropped", self._connection)
            self._backlog_missed += 1
            self._backlog.popleft()
        self._backlog.append(notify)

    def end(self) -> None:
        """Tell everyone that the connection is closed."""
        session = self._connection.wire.session
        for subscriptions in tuple(self._subscriptions.values()):
            for subscription in tuple(subscriptions):
                subscription.end(session.lost_error)
        self.unsettled = False

    # -- subscriptions

    def add(self, subscription: Subscription[Notify]) -> None:
        """Deliver to a subscription from now on."""
        for channel in subscription.channels:
            self._subscriptions.setdefault(channel, []).append(subscription)

    def remove(self, subscription: Subscription[Notify]) -> None:
        """Deliver to it no longer; channels that it was the last one of are to be left."""
        for channel in subscription.channels:
            subscriptions = self._subscriptions[channel]
            subscriptions.remove(subscription)
            if not subscriptions:
                del self._subscriptions[channel]
                self._listening.discard(channel)
                self._tentative.discard(channel)
                self._stale.add(channel)
                self.unsettled = True
        subscription.end(None)

    async def listen(self, channels: Sequence[str]) -> None:
        """Have the server send the notifications of these channels, in the transaction that is open if one is."""
        conn = self._connection
        await conn.wire.turn()
        self._stale.difference_update(channels)
        new = [channel for channel in channels if channel not in self._listening]
        if not new:
            await conn.wire.backend.checkpoint()
            return
        in_transaction = conn.wire.session.expects_transaction()
        if in_transaction and not self._tentative:
            self._rollbacks = conn.wire.session.rollbacks
        await conn.send_command(self._statements(b"LISTEN ", new))
        # Only those that somebody still subscribes to: blocks may have been left meanwhile.
        for channel in new:
            if channel in self._subscriptions:
                (self._tentative if in_transaction else self._listening).add(channel)
        self.unsettled = self.unsettled or in_transaction

    async def settle(self) -> None:
        """Make the server listen to what is subscribed to and nothing else, if no transaction is open."""
        conn = self._connection
        if not self.unsettled or conn.closed or conn.wire.session.expects_transaction():
            return
        await conn.wire.turn()
        if conn.wire.session.expects_transaction():
            return
        undone = self._rollbacks != conn.wire.session.rollbacks
        again = sorted(self._tentative) if undone else []
        stale = sorted(self._stale)
        statements = [s for s in (self._statements(b"LISTEN ", again), self._statements(b"UNLISTEN ", stale)) if s]
        if statements:
            await conn.send_command(b";".join(statements))
        self._stale.difference_update(stale)
        self._listening |= self._tentative
        self._tentative.clear()
        self.unsettled = bool(self._stale)

    async def settle_shielded(self) -> None:
        """Do the same where a cancellation must not get in between; within the grace time."""
        wire = self._connection.wire
        with anyio.CancelScope(shield=True, deadline=anyio.current_time() + wire.grace) as scope:
            try:
                await self.settle()
            except Error as error:
                # The connection is closed, or UNLISTEN failed in a way that is said by the next statement too.
                logger.debug("could not leave channels: %s", error)
        if scope.cancelled_caught and not wire.closed:
            wire.abort("the connection was closed: UNLISTEN did not end within the grace time")

    def _statements(self, command: bytes, channels: Sequence[str]) -> bytes:
        return b";".join(command + Identifier(channel).as_bytes(self._connection) for channel in channels)

    # -- generators

    def start(self, generator: AsyncNotifies) -> None:
        """Have a generator take notifications from now on, and those that nobody has taken so far.

        :raises NotificationOverflow: some of them were dropped.
        """
        if self._backlog_missed:
            missed, self._backlog_missed = self._backlog_missed, 0
            raise NotificationOverflow(
                f"{missed} notifications were dropped while nobody took any; the {len(self._backlog)} latest are kept"
            )
        for notify in self._backlog:
            generator.put(notify)
        self._backlog.clear()
        self._generators.append(generator)

    def stop(self, generator: AsyncNotifies, left: deque[Notify]) -> None:
        """Take a generator off; what it has not yielded is kept for the next one."""
        self._generators.remove(generator)
        if not self._generators:
            self._backlog.extendleft(reversed(left))


class AsyncNotifies:
    """The notifications of a connection as they come; made by :meth:`AsyncConnection.notifies`."""

    def __init__(
        self, connection: AsyncConnection[Any], timeout: float | None, stop_after: int | None
    ) -> None:
        self._connection = connection
        self._timeout = timeout
        self._stop_after = stop_after
        self._deadline = math.inf
        self._state: Literal["new", "running", "closed"] = "new"
        self._items: deque[Notify] = deque()
        self._yielded = 0
        self._receiver = Receiver(lambda: bool(self._items) or self._state == "closed" or connection.closed)

    def put(self, notify: Notify) -> None:
        """Take a notification to be yielded."""
        self._items.append(notify)
        if self._receiver.waiter is not None:
            self._receiver.waiter.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Notify:
        """Return the next notification.

        :raises StopAsyncIteration: the time is over, or enough have come, or it is closed.
        :raises OperationalError: the connection is closed.

        A cancellation loses nothing; the iteration may go on.
        """
        wire = self._connection.wire
        if self._yielded % ITEMS_PER_CHECKPOINT == 0 or not self._items:
            await wire.backend.checkpoint()
        if self._state == "new":
            self._connection.notifications.start(self)
            self._state = "running"
            if self._timeout is not None:
                self._deadline = anyio.current_time() + self._timeout
        if self._stop_after is not None and self._yielded >= self._stop_after:
            self.close()
        if not self._items and self._state == "running" and not wire.closed:
            wire.poll()
        if not self._items and self._state == "running" and not wire.closed:
            with anyio.CancelScope(deadline=self._deadline):
                await wire.attend(self._receiver)
        if not self._items or self._state == "closed":
            lost = wire.closed and self._state == "running"
            self.close()
            if lost:
                raise wire.session.lost_error()
            raise StopAsyncIteration
        self._yielded += 1
        return self._items.popleft()

    def close(self) -> None:
        """End the iteration; what was not yielded is for a later generator."""
        if self._state == "running":
            self._connection.notifications.stop(self, self._items)
        self._state = "closed"
        self._items = deque()
        if self._receiver.waiter is not None:
            self._receiver.waiter.set()

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
        self.close()


class Disconnection:
    """One who waits for the end of the connection; see ``wire.Attendant``."""

    def __init__(self, connection: AsyncConnection[Any]) -> None:
        self._connection = connection
        self.waiter: Waiter | None = None

    def ready(self) -> bool:
        return self._connection.closed


def check_channel(channel: str, encoding: str) -> bytes:
    """Return a channel's name in the connection's encoding.

    :raises ProgrammingError: it is no name that a channel can have.
    """
    if not isinstance(channel, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"the name of a channel is a str, not {type(channel).__name__}")
    name = channel.encode(encoding)
    if not name:
        raise ProgrammingError("the name of a channel cannot be empty")
    if b"\0" in name:
        raise ProgrammingError("the name of a channel cannot contain NUL characters")
    if len(name) > MAX_CHANNEL:
        raise ProgrammingError(
            f"the name of a channel has {MAX_CHANNEL} bytes at most, and {channel!r} has {len(name)}: the server would "
            "cut it"
        )
    return name


def check_payload(payload: str, encoding: str) -> None:
    """Check that a payload can be sent.

    :raises ProgrammingError: it is too long.
    """
    size = len(payload.encode(encoding))
    if size > MAX_PAYLOAD:
        raise ProgrammingError(
            f"the payload of a notification has {MAX_PAYLOAD} bytes at most, and this one has {size}: store the data "
            "in a table and send its key"
        )



def check_options(channels: Sequence[str], max_buffer_size: float, overflow: str, encoding: str) -> None:
    """Check what a subscription is asked for.

    :raises ProgrammingError: a name that no channel can have.
    """
    if overflow not in ("error", "drop_oldest", "drop_newest"):
        raise ValueError(f"overflow must be 'error', 'drop_oldest' or 'drop_newest', not {overflow!r}")
    if not (isinstance(max_buffer_size, int) or max_buffer_size == math.inf) or max_buffer_size < 1:
        raise ValueError(f"max_buffer_size must be a positive int or math.inf, not {max_buffer_size!r}")
    if not channels:
        raise TypeError("the name of at least one channel is needed")
    for channel in channels:
        check_channel(channel, encoding)
