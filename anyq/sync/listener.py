"""Listener in synchronous code: notifications from a server that may go away and come back.

Knows the asynchronous listener, and that its block has to be entered and left by one task. Must not know connections
or channels.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import anyio
from anyio.from_thread import BlockingPortal
from typing_extensions import Self

from ..connection import GRACE_PERIOD
from ..errors import InterfaceError
from ..errors.hiding import hiding
from ..listener import MAX_DELAY, AsyncListener, Event
from ..listener import listen as async_listen
from ..notifications.subscription import BUFFER_SIZE, ITEMS_PER_CHECKPOINT, Overflow
from ..rows import TupleRow
from .calls import Calls
from .connection import Connection
from .notifications import NotificationStream
from .shared_portal import open_portal


class Listener:
    """Listens on a connection of its own, which it makes again when it is lost; made by :func:`listen`.

    Iterate over it for the events of the channels it was made with, and call :meth:`subscribe` for others.
    """

    def __init__(self, listener: AsyncListener, has_channels: bool, portal: BlockingPortal | None) -> None:
        self._listener = listener
        self._has_channels = has_channels
        self._portal_given = portal
        self._calls: Calls | None = None
        self._stream: NotificationStream[Event] | None = None
        self._entered: anyio.Event
        self._left: anyio.Event
        self._ended: anyio.Event
        self._error: BaseException | None = None

    @property
    def connection(self) -> Connection[TupleRow] | None:
        """The connection of the moment, None while there is none. It may be used for statements, in autocommit mode."""
        connection = self._listener.connection
        if connection is None or self._calls is None:
            return None
        return Connection.on_portal(connection, self._calls.portal)

    # -- the block

    def __enter__(self) -> Self:
        if self._calls is not None:
            raise InterfaceError("a listener can be entered once; call anyq.sync.listen() again")
        self._calls = calls = Calls(open_portal(self._portal_given, self), self, GRACE_PERIOD, _check_nothing)
        try:
            calls.call(self._begin)
            calls.portal.spawn(self._hold)
            calls.call(self._wait_entered)
        except BaseException:
            self._leave(calls)
            raise
        if self._error is not None:
            self._leave(calls)
            raise self._error
        if self._has_channels:
            self._stream = NotificationStream(calls, self, self._listener.stream, ITEMS_PER_CHECKPOINT)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        assert self._calls is not None
        self._leave(self._calls)
        if self._error is not None and exc_type is None:
            raise self._error

    def _leave(self, calls: Calls) -> None:
        try:
            calls.call(self._finish)
        finally:
            calls.portal.release(self)

    async def _begin(self) -> None:
        self._entered = anyio.Event()
        self._left = anyio.Event()
        self._ended = anyio.Event()

    async def _wait_entered(self) -> None:
        await self._entered.wait()

    async def _finish(self) -> None:
        self._left.set()
        await self._ended.wait()

    async def _hold(self) -> None:
        """Enter the block, and leave it when told to: the body of the task that has it."""
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._watch, group.cancel_scope)
                try:
                    async with self._listener:
                        self._entered.set()
                        await self._left.wait()
                except Exception as error:
                    self._error = error
                self._left.set()
        finally:
            self._entered.set()
            self._ended.set()

    async def _watch(self, scope: anyio.CancelScope) -> None:
        await self._left.wait()
        if not self._entered.is_set():
            # The thread was interrupted while the block was being entered.
            scope.cancel()

    # -- events

    def __iter__(self) -> Iterator[Event]:
        return iter(self.stream)

    @property
    def stream(self) -> NotificationStream[Event]:
        """The stream of the channels that the listener was made with.

        :raises InterfaceError: it was made with none.
        """
        if self._stream is None:
            if self._has_channels:
                raise InterfaceError(_NOT_ENTERED)
            raise InterfaceError("the listener has no channels of its own; iterate over what its subscribe() gives")
        return self._stream

    @contextmanager
    def subscribe(
        self, *channels: str, max_buffer_size: float = BUFFER_SIZE, overflow: Overflow = "error"
    ) -> Generator[NotificationStream[Event], None, None]:
        """Listen to channels for as long as a block lasts; parameters as for :meth:`Connection.listen`.

        While there is no connection, entering the block waits until there is one.

        :raises OperationalError: the listener has given up.
        """
        calls = self._calls
        if calls is None:
            raise InterfaceError(_NOT_ENTERED)
        block = self._listener.subscribe(*channels, max_buffer_size=max_buffer_size, overflow=overflow)
        stream = calls.call(block.__aenter__)
        try:
            yield NotificationStream(calls, self, stream, ITEMS_PER_CHECKPOINT)
        finally:
            # The block only cleans up: which error is on its way does not matter to it.
            calls.call(block.__aexit__, None, None, None)


def _check_nothing() -> None:
    """The listener's connections come and go, and none of them is what is called."""


_NOT_ENTERED = "enter the listener first: with anyq.sync.listen(...) as listener"


@hiding
def listen(
    conninfo: str = "",
    *channels: str,
    max_buffer_size: float = BUFFER_SIZE,
    overflow: Overflow = "error",
    give_up_after: float | None = None,
    max_delay: float = MAX_DELAY,
    portal: BlockingPortal | None = None,
    **kwargs: Any,
) -> Listener:
    """Listen on a connection of its own, made again when it is lost: ``with anyq.sync.listen(dsn, "a") as listener``.

    Iterating over the listener gives :class:`Notify` and, each time after the connection was made again, a
    :class:`Gap`.

    :param max_buffer_size: events kept for a subscriber while it does something else.
    :param overflow: what happens when there is no more room; see :meth:`Connection.listen`. A Gap has always room.
    :param give_up_after: seconds without a connection after which the block ends with the last error; None for never.
    :param max_delay: seconds between two attempts to connect, at most; they begin with a tenth of a second, and each
        waits about twice as long as the one before, with some jitter.
    :param portal: the event loop to work in, by default that of the portal that the process shares.
    :param kwargs: connection keywords and parameters of :meth:`AsyncConnection.connect`.
    :raises OperationalError: the first connection could not be made; or, from the block, the listener has given up.
    """

    listener = async_listen(
        conninfo,
        *channels,
        max_buffer_size=max_buffer_size,
        overflow=overflow,
        give_up_after=give_up_after,
        max_delay=max_delay,
        **kwargs,
    )
    return Listener(listener, bool(channels), portal)
