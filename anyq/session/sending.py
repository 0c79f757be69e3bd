"""Sending: whose turn it is to send a request, and how a request gets into the FIFO as its bytes go out.

Theory of operation. Requests are sent at once, whatever is under way before them, but for one: while a request is sent
piece by piece, with waits between the pieces, the others wait for their turn. A request is in the FIFO before its bytes
are sent; if an interrupt comes between the two, or amid the bytes, the connection is closed.

Knows requests, and the tasks that wait to send. Must not know who reads, or what a cancellation does (`wire`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable

from ..backends import Backend, Waiter, uninterrupted
from ..errors import LocalProtocolError, ProgrammingError
from ..protocol.request import Request
from ..protocol.session import ProtocolSession
from ..transport.channel import Channel
from .link import TORN, Link


class Sending(Link):
    """One connection's requests on their way out."""

    def __init__(self, channel: Channel, protocol: ProtocolSession, backend: Backend) -> None:
        super().__init__(channel, protocol)
        self.backend = backend
        """The event loop's, or that of a thread which has taken its place for a call."""
        self._waiting_for_turn: deque[Waiter] = deque()

    @property
    def sending(self) -> bool:
        """Whether a request is being sent piece by piece, so that others have to wait for their turn."""
        return self.in_pieces is not None

    # Not a coroutine function, but what it returns is to be awaited at once: mostly it is the check for cancellation
    # alone, which yields to no other task.
    def turn(self) -> Awaitable[None]:
        """Return when a request may be submitted, which is at once but for one that is sent piece by piece.

        :raises OperationalError: the connection is closed.

        Nothing is sent by a task that is cancelled already. Between this and :meth:`run` or :meth:`submit` nothing
        may be awaited.
        """
        if self.in_pieces is None and not self.protocol.over:
            return self.backend.checkpoint_if_cancelled()
        return self._turn()

    def may_send(self) -> bool:
        """Return whether :meth:`turn` need not be awaited: it would return at once."""
        return self.in_pieces is None and not self.protocol.over and self.backend.check.passes()

    async def _turn(self) -> None:
        await self.backend.checkpoint_if_cancelled()
        await self._wait_for_turn()
        if self.protocol.over:
            raise self.protocol.closed_error()

    def submit(self, request: Request, data: bytes | bytearray) -> Request:
        """Put a request into the FIFO and send it; to be called after :meth:`turn`.

        Behind others it goes out at the caller's next wait, together with what other tasks submit in the same turn of
        the event loop: one packet is cheaper than many, for both sides.

        :return: the request itself.
        """
        try:
            self.protocol.enqueue(request)
            if len(self.protocol.pending) == 1:
                self.send(data)
            else:
                self.put(data)
        except LocalProtocolError:
            raise
        except BaseException:
            # It may be in the FIFO without having been sent, so that no reply will come.
            self.abort(TORN)
            raise
        return request

    # -- a request that is sent piece by piece

    def open(self, request: Request) -> None:
        """Begin a request whose bytes follow by :meth:`send`, after :meth:`turn`.

        Others wait until :meth:`close_request`.
        """
        try:
            self.submit(request, b"")
            self.in_pieces = request
        except BaseException:
            self.abort(TORN)
            raise

    def close_request(self, request: Request, data: bytes | bytearray) -> None:
        """Send the last bytes of the request begun by :meth:`open` and let the others send."""
        if self.in_pieces is request:
            try:
                self.in_pieces = None
                self.send(data)
                self._give_turn()
            except BaseException:
                self.abort(TORN)
                raise

    async def _wait_for_turn(self) -> None:
        """Return when no request is being sent piece by piece, which may be at once.

        :raises ProgrammingError: it is for this task to end it.
        """
        while self.in_pieces is not None:
            if self.is_own(self.in_pieces):
                raise ProgrammingError(
                    "a COPY of this task is open on this connection, which can be used for nothing else until it is at "
                    "its end: leave its block before, or use another connection"
                )
            waiter = self.backend.create_waiter()
            self._waiting_for_turn.append(waiter)
            try:
                await waiter.wait()
            finally:
                if waiter in self._waiting_for_turn:
                    self._waiting_for_turn.remove(waiter)

    def is_own(self, request: Request) -> bool:
        """Return whether it is for the task that asks to end a request that is sent piece by piece."""
        return request.task is not None and request.task is self.backend.current_task()

    def _give_turn(self) -> None:
        while self._waiting_for_turn:
            self._waiting_for_turn.popleft().set()


uninterrupted(Sending)
