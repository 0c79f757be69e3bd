"""Link: joins one ProtocolSession with one Channel. Bytes out, bytes in, and the end; nothing here ever waits.

Theory of operation.

*Sending.* What the socket does not take is kept, and goes out before anything else. Whoever leaves bytes behind wakes
the task that waits at the channel, so that it watches for room to send as well. While a CancelRequest is in progress
nothing goes out, as it may hit what the server gets to see meanwhile.

*Receiving.* There is one way in, :meth:`Link.receive`: a chunk, as it comes, is given to the protocol, which files
replies under their requests. What is no reply is handed on at once, and what the protocol answers is sent at once.

Whatever goes wrong meanwhile, an interrupt or a lack of memory, may have come amid a chunk: then the connection is
closed, as nothing that follows could be told from what somebody has stored. The same is so while sending. Both are
done by an ``except`` around the whole, which costs nothing until then.

*The end.* Whether the server, the network or this side ends the connection, the session is over first, so that every
request has its error, and then the channel is closed.

Knows bytes and requests. Must not know tasks: who reads, who waits, and what a cancellation does, is told by `wire`.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from time import perf_counter
from typing import Final

import anyio

from ..backends import uninterrupted
from ..errors import Error, RemoteProtocolError
from ..protocol import frontend
from ..protocol.messages import NoticeResponse
from ..protocol.phases import Phase
from ..protocol.request import Request
from ..protocol.session import ProtocolSession
from ..protocol.session_state import Notify
from ..transport.channel import Channel
from ..transport.socket import plain_socket

CHUNK = 127 * 1024
"""Bytes asked for in one receive; a little more, and malloc() would get each one from the system and give it back."""

SMALL_CHUNK = 64 * 1024
"""The same where there are subscribers, for whose buffers all that comes at once must not be too much."""


class Received(Enum):
    """What an attempt to receive has come to."""

    NOTHING = auto()
    """It would block."""
    SOMETHING = auto()
    """Bytes have been processed: whoever waits may be ready."""
    END = auto()
    """The connection is closed: whoever waits is ready, and there is no more to come."""


# Names of their own, as looking an enum's member up takes longer than the comparison.
NOTHING: Final = Received.NOTHING
SOMETHING: Final = Received.SOMETHING
END: Final = Received.END

TORN = "the connection was closed: it was interrupted while something was being sent"
"""Why it is closed where nobody knows how much of a message the server has got, or whether somebody waits for it."""

TORN_RECEIVING = "the connection was closed: it was interrupted while something was being received"
"""The same where nobody knows how much of what has come was taken in."""

INTERRUPTED = "the connection was closed: an operation could not be cancelled, as that was interrupted"

LOST = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream)
"""What a channel raises when the connection is gone."""


class Link:
    """One connection's bytes."""

    def __init__(self, channel: Channel, protocol: ProtocolSession) -> None:
        self.channel = channel
        self.protocol: Final = protocol
        """What the server has said, and the requests that are not done; for others to look at only."""
        self.on_event: Callable[[NoticeResponse | Notify], None] | None = None
        """Called with each notice and notification; must not raise."""
        self.on_end: Callable[[], None] | None = None
        """Called once when the connection is closed, whoever closed it."""
        self.chunk = CHUNK
        """Bytes asked for in one receive."""
        self.in_pieces: Request | None = None
        """The request that is being sent piece by piece, between which nothing else may come."""
        self.unsent = bytearray()
        """What the socket has not taken yet; for others to look at only."""
        self.cancel_in_progress = False
        """Whether a CancelRequest is on its way: everything is kept meanwhile."""
        self._send_failed = False

    @property
    def channel(self) -> Channel:
        """For others to ask for facts, and to wake who waits there."""
        return self._channel

    @channel.setter
    def channel(self, channel: Channel) -> None:
        self._channel = channel
        # The shortest way to it, where there is nothing between.
        self._socket = plain_socket(channel)

    @property
    def closed(self) -> bool:
        """Whether nothing can be sent or received any more."""
        return self.protocol.over

    @property
    def broken(self) -> bool:
        """Whether that is not because it was closed in good order."""
        return self.protocol.phase is Phase.FAILED

    # -- sending

    def send(self, data: bytes | bytearray) -> None:
        """Send bytes after all others; what the socket does not take is kept."""
        try:
            if self.unsent or self.cancel_in_progress or self.protocol.outgoing:
                self.put(data)
                return
            plain = self._socket
            sent = self._channel.try_send(data) if plain is None else plain.put(data)
            if sent < len(data):
                self.unsent += memoryview(data)[sent:]
                self._channel.wake()
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            # What the server said before it went away is still to be read, and tells more than this.
            self._send_failed = True
        except BaseException:
            self.abort(TORN)
            raise

    def put(self, data: bytes | bytearray) -> None:
        """Have bytes sent after all others by the next :meth:`flush`."""
        if self.protocol.outgoing:
            # It answers something that came before, so it goes before.
            self._take_outgoing()
        self.unsent += data

    def flush(self) -> None:
        """Send what the socket takes of what is kept, which includes what the protocol itself has to say."""
        try:
            if self.protocol.outgoing:
                self._take_outgoing()
            if self.cancel_in_progress or self._send_failed:
                return
            sent = self._channel.try_send(self.unsent)
            del self.unsent[:sent]
            if self.unsent:
                self._channel.wake()
            self._wake_head()
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            self._send_failed = True
            self.unsent.clear()
        except BaseException:
            self.abort(TORN)
            raise

    def _take_outgoing(self) -> None:
        # After all the rest, and not before: what is unsent may begin in the middle of a message.
        self.unsent += self.protocol.outgoing
        self.protocol.outgoing.clear()

    # -- receiving

    def receive(self, deadline: float = 0.0, most: int = -1) -> Received:
        """Send and receive what can be without waiting, and process it.

        :param deadline: on perf_counter()'s clock, until when to look for something; 0 to try but once.
        :param most: see :meth:`ProtocolSession.receive_data`; the rest is processed by the next call.
        """
        protocol = self.protocol
        if protocol.over:
            return END
        try:
            if self.unsent:
                self.flush()
            if protocol.large is None and not protocol.behind:
                plain = self._socket
                data = self._channel.try_receive(self.chunk) if plain is None else plain.take(self.chunk)
                if data is None and (not deadline or (data := self._look_until(deadline)) is None):
                    return NOTHING
                if data:
                    protocol.receive_data(data, most)
                else:
                    protocol.receive_eof()
            elif not self._receive_rest(most):
                return NOTHING
            if protocol.events or protocol.outgoing:
                self._dispatch()
            if self.protocol.over:
                self._release()
                return END
            self._wake_head()
        except Exception as error:
            self.fail(error)
            return END
        except BaseException:
            # Nobody knows how much of it was taken in.
            try:
                self.abort(TORN_RECEIVING)
            except BaseException:
                self.abort(TORN_RECEIVING)  # interrupted before it had begun
                raise
            raise
        return SOMETHING

    def _wake_head(self) -> None:
        # It may be ready without being done, which wakes its task by itself.
        pending = self.protocol.pending
        if pending and pending[0].waiter is not None and pending[0].ready():
            pending[0].waiter.set()

    def _look_until(self, deadline: float) -> bytes | None:
        readable = self._channel.readable_within(deadline - perf_counter())
        return self._channel.try_receive(self.chunk) if readable else None

    def _receive_rest(self, most: int) -> bool:
        """Go on with a chunk or a big value; return whether there was more of it, or the end."""
        protocol = self.protocol
        if protocol.behind:
            protocol.receive_data(b"", most)
            return True
        # Most of a big value has its place already, and the rest comes in chunks like everything else.
        target = protocol.receive_target()
        if target is None:
            data = self._channel.try_receive(self.chunk)
            count = None if data is None else len(data)
            if data:
                protocol.receive_data(data, most)
        else:
            with target:
                count = self._channel.try_receive_into(target)
            if count:
                protocol.received(count)
        if count == 0:
            protocol.receive_eof()
        return count is not None

    def _dispatch(self) -> None:
        """Hand on what was received that is no reply, and send what the protocol answers by itself."""
        if self.protocol.outgoing:
            # At once, as the server waits for it, and the one who reads may be asleep.
            self.flush()
        events, on_event = self.protocol.events, self.on_event
        while events:
            event = events.popleft()
            if on_event is not None:
                on_event(event)

    # -- the end

    def fail(self, error: Exception) -> None:
        """Close after an error of the channel's, or of the protocol's, or any other that came amid what was received.

        What is left of a chunk would be taken for messages from somewhere in its middle: there is no way on.
        """
        if isinstance(error, RemoteProtocolError):
            self._dispatch()  # what came before that
            self.abort(f"the server broke the protocol: {error}", error)
        elif isinstance(error, LOST):
            self.protocol.heed_farewell()
            self.abort(f"the connection was lost: {error.__cause__ or error}", error)
        else:
            what = error if isinstance(error, Error) else repr(error)
            self.abort(f"the connection was closed, as what the server sent could not be taken in: {what}", error)

    def abort(self, reason: str, cause: BaseException | None = None) -> None:
        """Close at once, without a word to the server; operations under way fail with `reason`."""
        try:
            self.protocol.fail(reason, cause)
            self._release()
        except BaseException:
            # Interrupted amid it: the same again, which does what is left of it.
            self.protocol.fail(reason, cause)
            self._release()
            raise

    def close(self) -> None:
        """Say goodbye and close; never blocks. Operations under way in other tasks fail."""
        try:
            self._say_goodbye()
            self._release()
        except BaseException:
            self.abort(TORN)
            raise

    async def aclose(self) -> None:
        """Do what :meth:`close` does, and what a stream of the caller's needs besides; otherwise no checkpoint."""
        if self._channel.closes_at_once:
            self.close()
            return
        try:
            self._say_goodbye()
            self._ended()
        finally:
            await self._channel.aclose()

    def _say_goodbye(self) -> None:
        # Not in the middle of something else.
        if not (self.closed or self.unsent or self.cancel_in_progress or self.in_pieces):
            self.send(frontend.TERMINATE)
        self.protocol.close()

    def _release(self) -> None:
        self._channel.close_now()
        self._ended()

    def _ended(self) -> None:
        """Take note that the connection is closed, and tell those who wait for that; idempotent."""
        self.unsent.clear()
        self.in_pieces = None
        if self.on_end is not None:
            self.on_end()
            self.on_end = None


uninterrupted(Link)
