"""Cancelling: when a CancelRequest is sent for an abandoned request, and which request it has hit.

Theory of operation. A CancelRequest travels on a connection of its own and names a server process, not a statement:
it hits whatever that process runs when it arrives. So one is sent only for the request at the head of the FIFO.

A server forgets a CancelRequest that comes before it has begun with the query, or between two messages of it, so it is
sent again while there is no reply, after a time that doubles. Past the grace time the request is given up.

If the reply was already on its way, the CancelRequest may hit the next request that had been sent before. Those are
marked as *at risk*, and the protocol counts how many CancelRequests have hit nothing yet: an error that says "canceled"
then tells whom one has hit (`protocol.handlers`). A request that was not meant is a *victim*, and its owner sends it
again where that is safe.

Knows requests, the clock and how to call for a CancelRequest. Must not know who reads, or how the connection is closed.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable

import anyio

from ..errors import Error, QueryCanceled
from ..protocol.constants import TransactionStatus
from ..protocol.request import Cancellation, Request
from ..protocol.session import ProtocolSession

logger = logging.getLogger("anyq")

CANCEL_AGAIN = 0.05
"""Seconds after a CancelRequest until the next one is sent, if there is no reply; then twice as long each time."""


class Cancelling:
    """What is done about one abandoned request after the other, each when it is at the head.

    :param canceller: opens a second connection, sends the CancelRequest and returns when the server has closed it;
        None where no second connection can be made.
    :param grace: seconds that a cancelled operation may take to leave the connection clean.
    """

    def __init__(
        self, protocol: ProtocolSession, canceller: Callable[[], Awaitable[None]] | None, grace: float
    ) -> None:
        self.canceller = canceller
        self.grace = grace
        self.cancel_at = math.inf
        """When the next CancelRequest is due, on anyio.current_time()'s clock; inf for never."""
        self.give_up_at = math.inf
        """When the grace time is over."""
        self._protocol = protocol
        self._request: Request | None = None  # what these times are about
        self._delay = CANCEL_AGAIN

    def turn_to(self, request: Request) -> None:
        """Begin with a request that is abandoned and at the head; nothing is changed if this has been done."""
        if request is not self._request:
            now = anyio.current_time()
            self._request = request
            self.give_up_at = now + self.grace
            self.cancel_at = now if request.cancellable and self.canceller is not None else math.inf
            self._delay = CANCEL_AGAIN

    async def cancel(self) -> None:
        """Send a CancelRequest; shielded, as long as the grace time lasts. Nothing else may be sent meanwhile."""
        request, canceller = self._request, self.canceller
        assert request is not None
        assert canceller is not None
        request.cancel_is_sent()
        self._protocol.unmatched_cancels += 1
        for other in self._protocol.pending:
            if other is not request:
                other.cancel_is_sent_for_another()
        with anyio.CancelScope(shield=True, deadline=self.give_up_at):
            try:
                await canceller()
            except (OSError, Error) as error:
                # The reply is drained all the same; only the query runs to its end, or the grace time.
                logger.warning("a running query could not be cancelled: %s", error)
        self.cancel_at = anyio.current_time() + self._delay
        self._delay *= 2


def was_victim(request: Request) -> bool:
    """Return whether a CancelRequest meant for the request before hit this one, which had a transaction of its own."""
    return (
        request.cancellation is Cancellation.VICTIM
        and isinstance(request.error, QueryCanceled)
        and request.status_before is TransactionStatus.IDLE
        and (not request.results or request.streaming > 0)
    )
