"""What a synchronous connection can do about notices and notifications.

Knows what the asynchronous connection can do, and how to call it. Must not know how either of them arrives.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..connection import AsyncConnection
from ..notifications.subscription import BUFFER_SIZE, Notify, Overflow
from ..session.notices import NoticeHandler
from .calls import Calls
from .notifications import Listen, Notifies


class Notifying:
    """The part of a connection that has to do with notices and notifications."""

    _async: AsyncConnection[Any]
    calls: Calls

    # -- notices

    def add_notice_handler(self, callback: NoticeHandler) -> None:
        """Have `callback` called with the :class:`Diagnostic` of each notice that the server sends.

        It is called amid a call, in the thread that makes it or in that of the portal's event loop, so it should be
        quick, and cannot use this connection; what it raises is logged.
        """
        self._async.add_notice_handler(callback)

    def remove_notice_handler(self, callback: NoticeHandler) -> None:
        """Remove a callback that was added.

        :raises ValueError: it was not.
        """
        self._async.remove_notice_handler(callback)

    # -- notifications

    def listen(self, *channels: str, max_buffer_size: float = BUFFER_SIZE, overflow: Overflow = "error") -> Listen:
        """Listen to channels for as long as a block lasts: ``with conn.listen("a") as stream:``.

        The block gives a :class:`NotificationStream`, to be iterated over. The connection can be used meanwhile, by the
        same thread and by others. The names of channels are taken as they are written: capitals stay capitals.

        :param max_buffer_size: notifications kept while nobody takes them; ``math.inf`` for any number.
        :param overflow: what happens when there is no more room: "error" ends the subscription with a
            NotificationOverflow, "drop_oldest" and "drop_newest" drop a notification and count it in ``stream.missed``.
        :raises ProgrammingError: a name that no channel can have.

        Where a transaction is open, listening begins when it is committed, as PostgreSQL has it; if it is rolled back,
        listening begins then.
        """
        inner = self._async.listen(*channels, max_buffer_size=max_buffer_size, overflow=overflow)
        return Listen(self.calls, self, inner)

    def notify(self, channel: str, payload: str = "") -> None:
        """Send a notification; it is delivered when the transaction is committed, in autocommit mode at once.

        :raises ProgrammingError: a name that no channel can have, or a payload of 8000 bytes or more.

        Manual: "NOTIFY".
        """
        self.calls.drive(self._async.notify, channel, payload)

    def notifies(self, *, timeout: float | None = None, stop_after: int | None = None) -> Notifies:
        """Iterate over the notifications of all channels that the connection listens to, as they come.

        The iteration does not hold the connection: it may execute statements meanwhile. It begins with those that have
        come before, if nobody has taken them. :meth:`listen` does more.

        :param timeout: seconds after which it ends; None to go on for ever, 0 for what is there.
        :param stop_after: how many notifications to yield.
        """
        return Notifies(self.calls, self, self._async.notifies(timeout=timeout, stop_after=stop_after))

    def add_notify_handler(self, callback: Callable[[Notify], None]) -> None:
        """Have `callback` called with each :class:`Notify` when it is read.

        It is read while any thread waits for the server, and called in that thread or in the one of the portal's event
        loop, so it should be quick, and cannot use this connection; what it raises is logged.
        """
        self._async.add_notify_handler(callback)

    def remove_notify_handler(self, callback: Callable[[Notify], None]) -> None:
        """Remove a callback that was added.

        :raises ValueError: it was not.
        """
        self._async.remove_notify_handler(callback)

    def wait_disconnected(self) -> None:
        """Return as soon as the connection is closed, by whichever side; look at ``broken`` and ``info.error_message``.

        There is no traffic and no timer: the operating system tells. A server that vanishes without a word is noticed
        by keepalives only (see the ``keepalives`` keywords).
        """
        self.calls.call_unless_ended(self._async.wait_disconnected)
