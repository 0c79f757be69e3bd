"""What a connection can do about notifications beside sending one.

Knows the hub of a connection, and what can be made of it. Must not know how a notification is sent.
"""

from __future__ import annotations

from collections.abc import Callable

from ..errors.arguments import check_functions, check_optional_ints, check_seconds
from ..session.session import Session
from .hub import Disconnection, NotificationHub
from .listen import AsyncListen
from .notifies import AsyncNotifies
from .subscription import BUFFER_SIZE, Notify, Overflow


class Notifying:
    """The part of a connection that has to do with notifications, and with its end, which comes in the same way."""

    session: Session
    notifications: NotificationHub
    """For this package: who listens to what."""

    def listen(self, *channels: str, max_buffer_size: float = BUFFER_SIZE, overflow: Overflow = "error") -> AsyncListen:
        """Listen to channels for as long as a block lasts: ``async with conn.listen("a") as stream:``.

        The block gives a :class:`NotificationStream`, an anyio memory object stream of :class:`Notify`. The connection
        can be used meanwhile, by the same task and by others. The names of channels are taken as they are written:
        capitals stay capitals.

        :param max_buffer_size: notifications kept while nobody takes them; ``math.inf`` for any number.
        :param overflow: what happens when there is no more room: "error" ends the subscription with a
            NotificationOverflow, "drop_oldest" and "drop_newest" drop a notification and count it in ``stream.missed``.
        :raises ProgrammingError: a name that no channel can have.

        Where a transaction is open, listening begins when it is committed, as PostgreSQL has it; if it is rolled back,
        listening begins then. A cancellation while the block is entered or left leaves nothing listening.
        """
        self.session.check_open()
        return AsyncListen(self.notifications, channels, max_buffer_size, overflow)

    def notifies(self, *, timeout: float | None = None, stop_after: int | None = None) -> AsyncNotifies:
        """Iterate over the notifications of all channels that the connection listens to, as they come.

        The iteration does not hold the connection: other tasks may execute statements meanwhile. It begins with those
        that have come before, if nobody has taken them. :meth:`listen` does more.

        :param timeout: seconds after which it ends; None to go on for ever, 0 for what is there.
        :param stop_after: how many notifications to yield.
        """
        self.session.check_open()
        check_seconds(timeout=timeout)
        check_optional_ints(0, stop_after=stop_after)
        return AsyncNotifies(self.notifications, timeout, stop_after)

    def add_notify_handler(self, callback: Callable[[Notify], None]) -> None:
        """Have `callback` called with each :class:`Notify` when it is read.

        It is read while any task waits for the server, and called by that task, so it should be quick; what it raises
        is logged.
        """
        check_functions(callback=callback)
        self.notifications.handlers.append(callback)

    def remove_notify_handler(self, callback: Callable[[Notify], None]) -> None:
        """Remove a callback that was added.

        :raises ValueError: it was not.
        """
        self.notifications.handlers.remove(callback)

    async def wait_disconnected(self) -> None:
        """Return as soon as the connection is closed, by whichever side; look at ``broken`` and ``info.error_message``.

        There is no traffic and no timer: the operating system tells. A server that vanishes without a word is noticed
        by keepalives only (see the ``keepalives`` keywords). A cancellation leaves the connection as it is.
        """
        backend = self.session.wire.backend
        backend.check_here()
        await backend.checkpoint()
        if not self.session.closed:
            await self.notifications.attend(Disconnection())
