"""Cancelling: when a CancelRequest is sent for an abandoned request, and which request it has hit.

Theory of operation. A CancelRequest travels on a connection of its own and names a server process, not a statement:
it hits whatever that process runs when it arrives. So one is sent only for the request at the head of the FIFO, and not
at all if the reply has come while that connection was made.

A server forgets a CancelRequest that comes before it has begun with the query, or between two messages of it, so it is
sent again while there is no reply, after a time that doubles. Past the grace time the request is given up.

*Whom it may hit.* The server turns a CancelRequest into a signal to the process; servers before 18 signal the process
and then its process group, which is the same process again, so that one request may hit two statements: the one that
was meant, and the one that the process has begun meanwhile. Only when the signals are on their way does the server
close the connection of the CancelRequest, and the process forgets one that finds it waiting for a message. So what is
sent after that end cannot be hit, and nothing is sent before it (`Link.cancel_in_progress`). What had been sent before
is *at risk*, until its reply is there.

*Whom it has hit.* An error that says "canceled" tells, if the request was at risk and a signal is left that has hit
nobody yet, which the protocol counts (`protocol.handlers`). Such a request is a *victim*, and its owner sends it again
where that is safe. This time it is sent after the end of the CancelRequest, so it is never a victim of the same one
twice. Who cancels by other means, such as statement_timeout or pg_cancel_backend(), is taken for ourselves only while
a signal is left.

*Certainty.* All of that depends on seeing the end of a CancelRequest once the first byte of it was sent. It is awaited
in a task of its own, which a `task.cancel()` of asyncio does not reach; if the grace time is over before, the
connection is closed, even if the request that was to be cancelled is done.

Knows requests, the clock and how to call for a CancelRequest. Must not know who reads, or how the connection is closed.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Awaitable, Callable
from time import perf_counter

import anyio

from ..backends import alone, uninterrupted
from ..errors import CancellationTimeout, Error, NotSupportedError, QueryCanceled
from ..errors.arguments import check_seconds
from ..protocol.constants import TransactionStatus
from ..protocol.request import Cancellation, Request
from ..protocol.session import ProtocolSession

logger = logging.getLogger("anyq")

CANCEL_AGAIN = 0.05
"""Seconds after a CancelRequest until the next one is sent, if there is no reply; then twice as long each time."""

Canceller = Callable[[Callable[[], bool]], Awaitable[None]]
"""``await cancel(may_send)`` opens a second connection, asks `may_send` just before the first byte goes out, and gives
up if that is False; else it sends the CancelRequest and returns when the server has closed the connection."""

_MAJOR_VERSION = re.compile("[0-9]{1,6}").match
_SIGNALLED_ONCE = 18
"""Since this version a CancelRequest is one signal; it was two before."""


@uninterrupted
class Cancelling:
    """What is done about one abandoned request after the other, each when it is at the head.

    :param canceller: None where no second connection can be made.
    :param grace: seconds that a cancelled operation may take to leave the connection clean.
    """

    def __init__(self, protocol: ProtocolSession, canceller: Canceller | None, grace: float) -> None:
        self.canceller = canceller
        self.grace = grace
        self.cancel_at = math.inf
        """When the next CancelRequest is due, on anyio.current_time()'s clock; inf for never."""
        self.give_up_at = math.inf
        """When the grace time is over."""
        self.under_way = False
        """Whether a CancelRequest was sent whose end has not been seen, so that it may hit anything."""
        self.on_sent: Callable[[bool, float, BaseException | None], object] | None = None
        """Called when one was sent, or could not be: with whether a user has asked for it, seconds, and the error."""
        self._protocol = protocol
        self._request: Request | None = None  # what these times are about
        self._delay = CANCEL_AGAIN

    def turn_to(self, request: Request) -> None:
        """Begin with a request that is abandoned and at the head; nothing is changed if this has been done."""
        if request is not self._request:
            now = anyio.current_time()
            self.give_up_at = now + self.grace
            cancellable = request.cancellable and self.canceller is not None
            self.cancel_at = now + request.cancel_after if cancellable else math.inf
            self._delay = CANCEL_AGAIN
            self._request = request  # at last: an interrupt must not leave the times of another one

    async def cancel(self, look: Callable[[], object]) -> None:
        """Send a CancelRequest; shielded, as long as the grace time lasts. Nothing else may be sent meanwhile.

        :param look: takes what has arrived, which may be the reply.

        It is over then, unless it is still :attr:`under_way`. A cancellation of any kind is raised at that moment.
        """
        interrupted: BaseException | None = None

        async def send() -> None:
            nonlocal interrupted
            try:
                await self._send(look)
            except BaseException as error:
                # As it is, and not in a group.
                interrupted = error

        try:
            async with anyio.create_task_group() as group:
                group.start_soon(send)
        except BaseException as error:
            raise alone(error) from None
        finally:
            self.cancel_at = anyio.current_time() + self._delay
            self._delay *= 2
        if interrupted is not None:
            raise interrupted

    async def cancel_now(self, timeout: float) -> None:  # noqa: ASYNC109
        """Send a CancelRequest for whatever the server runs, for a user; whoever is at work on the connection.

        :raises CancellationTimeout: the server did not take it within `timeout` (seconds).
        :raises NotSupportedError: no second connection can be made.
        """
        check_seconds(timeout=timeout)
        if self.canceller is None:
            raise NotSupportedError("a connection on a stream of the caller's cannot send a cancel request")
        began = perf_counter()
        try:
            with anyio.move_on_after(timeout) as scope:
                await self.canceller(lambda: True)
            if scope.cancelled_caught:
                raise CancellationTimeout(f"the server did not take the cancel request within {timeout:g} s")
        except BaseException as error:
            self._tell(True, began, error)
            raise
        self._tell(True, began, None)

    def _tell(self, asked: bool, began: float, error: BaseException | None) -> None:
        if self.on_sent is not None:
            self.on_sent(asked, perf_counter() - began, error)

    async def _send(self, look: Callable[[], object]) -> None:
        request, canceller = self._request, self.canceller
        assert request is not None
        assert canceller is not None

        def may_send() -> bool:
            look()
            if not request.done:
                self.under_way = True
                self._is_sent_for(request)
            return self.under_way

        began = perf_counter()
        with anyio.CancelScope(shield=True, deadline=self.give_up_at):
            failure: Exception | None = None
            try:
                await canceller(may_send)
            except (OSError, Error) as error:
                # The reply is drained all the same; only the query runs to its end, or the grace time.
                logger.warning("a running query could not be cancelled: %s", error)
                failure = error
            if self.under_way or failure is not None:
                self._tell(False, began, failure)
            self.under_way = False

    def _is_sent_for(self, request: Request) -> None:
        """Take note that a CancelRequest goes out now, and of everyone whom it may hit."""
        protocol = self._protocol
        pending = protocol.pending
        if all(other.cancellation is Cancellation.NONE for other in pending):
            # What was left of earlier ones can hit nobody any more.
            protocol.unmatched_cancels = 0
        protocol.unmatched_cancels += signals_of_a_cancel_request(protocol.parameters.get("server_version", ""))
        request.cancel_is_sent()
        for other in pending:
            if other is not request:
                other.cancel_is_sent_for_another()


def signals_of_a_cancel_request(server_version: str) -> int:
    """Return how many statements one CancelRequest may hit, by what a server says of its version."""
    major = _MAJOR_VERSION(server_version)
    return 1 if major is not None and int(major[0]) >= _SIGNALLED_ONCE else 2


def was_hit(request: Request) -> bool:
    """Return whether a CancelRequest that was meant for a request before it has made this one fail."""
    return request.cancellation is Cancellation.VICTIM and isinstance(request.error, QueryCanceled)


def was_victim(request: Request) -> bool:
    """Return whether a request was hit by a CancelRequest meant for another one, and nothing of it is left.

    It had a transaction of its own, which was rolled back as a whole. Of a text with several statements some may have
    been committed before, if the hit one is not the first; those that the extended protocol joins never are.
    """
    return (
        was_hit(request)
        and request.status_before is TransactionStatus.IDLE
        and (request.extended or not request.results)
    )
