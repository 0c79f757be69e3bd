"""Wire: joins one ProtocolSession with one Channel, for any number of tasks, without a task of its own.

Theory of operation.

*Sending.* A request's bytes go out at once, whatever is under way before it; what the socket does not take is kept and
sent by whoever reads. So tasks that use one connection at the same time are pipelined.

*Reading.* Whoever needs a reply reads, for everyone. One task at a time is the reader; replies are filed under the
request at the head of the FIFO whoever that belongs to. A task whose reply is complete stops reading and wakes the
oldest one that waits, which reads on.

*Waiting.* The reply to a short query from a server nearby comes within the time that it takes to go to sleep and to be
woken, and whoever has slept finds the processor's caches used by others. So a task that has sent a request yields once,
looks for the reply, and if nothing else is under way in its thread keeps looking until `busy_wait` has passed since it
was sent. Where it did not come, the next request waits at once, and so do twice as many each time that it was tried in
vain. Either way there is a checkpoint between sending and receiving. The pieces of a long reply are looked for alike.

*Attending.* Who waits for something that is no reply, a notification or the end of the connection, is an attendant: it
reads as well while nobody else does, without any traffic or timer, and steps back from nothing: whoever reads, reads
for it too.

*Cancelling.* The bytes of a request cannot be called back, so a cancelled task leaves an *abandoned* request behind.
If it is at the head, the task itself asks the server to cancel it and drains its reply, shielded, within the grace
time. If it is not, the task leaves at once, and whoever reads when its turn comes does the same on its behalf: a
CancelRequest hits whatever the server runs at that moment, so it is never sent for a request that waits its turn.
While one is under way nothing new is sent. When it is sent, and what it may hit, is in `_cancelling`. Past the grace
time the connection is closed. Nothing in between.

Knows requests and bytes. Must not know SQL, Python types, addresses or how to open a connection.
"""

from __future__ import annotations

import math
import os
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Protocol

import anyio

from ..backends import Backend, Waiter
from ..errors import OperationalError, RemoteProtocolError
from ..protocol import frontend
from ..protocol.handlers import Notify
from ..protocol.messages import NoticeResponse
from ..protocol.request import Request
from ..protocol.request import Waiter as WakeUp
from ..protocol.session import ProtocolSession
from ..protocol.state import ENDED, Phase
from ..transport.socket import Channel
from .cancelling import Cancelling

CHUNK = 127 * 1024
"""Bytes asked for in one receive; a little more, and malloc() would get each one from the system and give it back."""

SMALL_CHUNK = 64 * 1024
"""The same where there are subscribers, for whose buffers all that comes at once must not be too much."""

CHUNKS_PER_CHECKPOINT = 16
"""After so many chunks without having waited the reader lets others run (two megabytes at most, a few milliseconds)."""

MOST_SKIPS = 63
"""How many requests, at most, wait for their reply at once before one looks again whether it comes soon."""


def _processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


BUSY_WAIT = 50e-6 if _processors() > 1 else 0.0
"""Seconds, by default, that a thread may look for a reply without sleeping; 0 where a server may need its processor."""

LONGEST_BUSY_WAIT = 0.005
"""Seconds; nothing that the driver does in an event loop should keep it from all else for longer."""


class _Traffic:
    """What one thread, and so one event loop, is waiting for."""

    __slots__ = ("under_way",)

    def __init__(self) -> None:
        self.under_way = 0
        """Requests, on whatever connection."""


class _Thread(threading.local):
    def __init__(self) -> None:
        self.traffic = _Traffic()


_thread = _Thread()


class Attendant(Protocol):
    """One who waits for something that is no reply; wakes by its waiter."""

    waiter: Waiter | None

    def ready(self) -> bool:
        """Return whether there is no more to wait for; a closed connection is always the end."""
        ...


class Wire:
    """One connection's traffic.

    :param canceller: see :class:`Cancelling`; so for `grace`.
    """

    def __init__(
        self,
        channel: Channel,
        protocol: ProtocolSession,
        backend: Backend,
        *,
        canceller: Callable[[], Awaitable[None]] | None = None,
        grace: float = 5.0,
    ) -> None:
        self.channel = channel
        self.protocol = protocol
        self.backend = backend
        self.cancelling = Cancelling(protocol, canceller, grace)
        self.on_event: Callable[[NoticeResponse | Notify], None] | None = None
        self.on_end: Callable[[], None] | None = None
        """Called once when the connection is closed, whoever closed it."""
        self.back_pressure: Callable[[], Awaitable[None]] | None = None
        """What to await before more is read, while those whom events were given to cannot keep up; mostly None."""
        self.chunk = CHUNK
        """Bytes asked for in one receive."""
        self.busy_wait = 0.0
        """Seconds that the thread may look for a reply without sleeping."""
        self._unsent = bytearray()
        self._send_failed: BaseException | None = None
        self._reader: Request | Attendant | None = None  # for whom the reader reads first of all
        self._gated = False  # a CancelRequest is under way: nothing is sent meanwhile
        self._abandoned = False  # there may be abandoned requests that are not done
        self._sender: Request | None = None  # a request that is sent piece by piece
        self._senders: deque[Waiter] = deque()  # those that wait until it is complete
        self._attendants: list[Attendant] = []
        self.skip = 0  # how many requests from now on do not look whether the reply is there before they wait for it
        self._skips = 0  # how many did last time

    # -- state

    @property
    def closed(self) -> bool:
        return self.protocol.phase >= ENDED

    @property
    def broken(self) -> bool:
        return self.protocol.phase is Phase.FAILED

    @property
    def sending(self) -> bool:
        """Whether a request is being sent piece by piece, so that others have to wait for their turn."""
        return self._sender is not None

    # -- one request

    async def turn(self) -> None:
        """Return when a request may be submitted, which is at once but for one that is sent piece by piece.

        :raises OperationalError: the connection is closed.

        Nothing is sent by a task that is cancelled already. Between this and :meth:`run` or :meth:`submit` nothing
        may be awaited.
        """
        await self.backend.checkpoint_if_cancelled()
        while self._sender is not None:
            await self._wait_for_turn()
        if self.protocol.phase >= ENDED:
            raise OperationalError(self.protocol.closed_reason())

    async def run(self, request: Request, data: bytes | bytearray) -> None:
        """Send a request and return when it is done; look at its ``error`` and ``failure`` then.

        A cancellation abandons it: within the grace time the connection is ready for the next request or closed.
        """
        traffic = _thread.traffic  # not looked up again: a coroutine that is dropped may be closed by another thread
        self.submit(request, data)
        traffic.under_way += 1
        try:
            if self.skip and self._reader is None and self.protocol.pending[0] is request:
                self.skip -= 1
                await self._wait(request, dry=True)
            else:
                deadline = perf_counter() + self.busy_wait
                await self.backend.checkpoint()
                arrived = request.done or self._look(request, deadline if traffic.under_way == 1 else 0.0)
                if request.ready():
                    self._skips = 0
                else:
                    if not arrived:
                        self.skip = self._skips = min(2 * self._skips + 1, MOST_SKIPS)
                    await self._wait(request, dry=not arrived)
            if self._abandoned:
                await self._settle()
        except BaseException:
            if not request.done:
                await self._abandon(request)
            raise
        finally:
            traffic.under_way -= 1

    async def carry_out(self, request: Request, data: bytes | bytearray, *, wait: bool) -> None:
        """Send a request that has to happen, whether the task is cancelled already or not.

        :param wait: False for a task that is on its way out: it waits no longer than an abandoned request would take,
            which is not at all if others are before it.
        :raises OperationalError: the connection is closed.

        A cancellation does not undo it: the reply is drained, by this task or by whoever reads.
        """
        request.cancellable = False
        cancelled: BaseException | None = None
        while wait and self.sending:
            try:
                await self._wait_for_turn()
            except self.backend.cancelled_exc_class as error:
                cancelled, wait = error, False
        if self.sending:
            with anyio.CancelScope(shield=True, deadline=anyio.current_time() + self.cancelling.grace):
                try:
                    while self.sending:
                        await self._wait_for_turn()
                finally:
                    if self.sending:
                        self._abort_after_grace()
        if self.protocol.phase >= ENDED:
            raise cancelled or OperationalError(self.protocol.closed_reason())
        if wait:
            await self.run(request, data)
            return
        self.protocol.enqueue(request)
        self.send(data)
        self.flush()
        await self._abandon(request)
        if cancelled is not None:
            raise cancelled

    async def catch_up(self) -> None:
        """Return when everything is done that was sent before."""
        await self.run(Request(), frontend.SYNC)

    def submit(self, request: Request, data: bytes | bytearray) -> None:
        """Put a request into the FIFO and send it; to be called after :meth:`turn`.

        Behind others it goes out at the caller's next wait, together with what other tasks submit in the same turn of
        the event loop: one packet is cheaper than many, for both sides.
        """
        self.protocol.enqueue(request)
        if len(self.protocol.pending) == 1:
            self.send(data)
        else:
            if self.protocol.outgoing:
                self._take_outgoing()
            self._unsent += data

    def send(self, data: bytes | bytearray) -> None:
        """Send bytes after all others; what the socket does not take is sent by the reader."""
        if self.protocol.outgoing:
            # It answers something that came before, so it goes before.
            self._take_outgoing()
        if self._unsent or self._gated:
            self._unsent += data
            return
        try:
            sent = self.channel.try_send(data)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            # What the server said before it went away is still to be read, and tells more than this.
            self._send_failed = error
            return
        if sent < len(data):
            self._unsent += memoryview(data)[sent:]
            if self._reader is not None:
                # It sleeps until there is something to read; it must watch for room to send as well.
                self.channel.wake()

    def flush(self) -> None:
        """Send what the socket takes of what is not sent yet, which includes what the protocol itself has to say."""
        if self.protocol.outgoing:
            self._take_outgoing()
        if self._gated or self._send_failed is not None:
            return
        try:
            sent = self.channel.try_send(self._unsent)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            self._send_failed = error
            self._unsent.clear()
            return
        del self._unsent[:sent]

    def _take_outgoing(self) -> None:
        # After all the rest, and not before: what is unsent may begin in the middle of a message.
        self._unsent += self.protocol.outgoing
        self.protocol.outgoing.clear()

    async def wait(self, request: Request) -> None:
        """Return when `request` is ready (see :meth:`Request.ready`), reading for everyone if nobody does."""
        await self._wait(request, dry=self._reader is not None and not self._look(request))
        if self._abandoned and request.done:
            await self._settle()

    async def attend(self, attendant: Attendant) -> None:
        """Return when `attendant` is ready, or the connection is closed; reads meanwhile if nobody else does.

        A cancellation leaves the connection as it is.
        """
        self._attendants.append(attendant)
        try:
            if not attendant.ready():
                await self._wait(attendant, dry=False)
        finally:
            self._attendants.remove(attendant)
            if self._abandoned:
                await self._settle()

    def poll(self) -> None:
        """Take what has arrived already, without waiting."""
        self._receive_now()

    async def _wait(self, request: Request | Attendant, *, dry: bool) -> None:
        """Return when `request` is ready.

        :param dry: whether there was nothing to receive a moment ago, so that it need not be tried before waiting.
        """
        try:
            while not request.ready():
                if self._reader is not None:
                    request.waiter = waiter = self.backend.create_waiter()
                    await waiter.wait()
                else:
                    await self._read(request, dry)
                dry = False
        finally:
            request.waiter = None
            if self._reader is None and (self.protocol.pending or self._attendants):
                self._wake_next()

    # -- a request that is sent piece by piece

    async def open(self, request: Request) -> None:
        """Begin a request whose bytes follow by :meth:`send`; others wait until :meth:`close_request`."""
        await self.turn()
        self.submit(request, b"")
        self._sender = request

    def close_request(self, request: Request, data: bytes | bytearray) -> None:
        """Send the last bytes of the request begun by :meth:`open` and let the others send."""
        if self._sender is request:
            self._sender = None
            self.send(data)
            while self._senders:
                self._senders.popleft().set()

    async def abandon(self, request: Request) -> None:
        """Drop a request that is not done, as a cancellation of :meth:`run` does; shielded, within the grace time."""
        if not request.done:
            await self._abandon(request)

    def drop(self, request: Request) -> None:
        """Drop a request from where nothing can be awaited; whoever reads next cancels and drains it."""
        request.abandon()
        self._abandoned = True

    async def _wait_for_turn(self) -> None:
        waiter = self.backend.create_waiter()
        self._senders.append(waiter)
        try:
            await waiter.wait()
        finally:
            if waiter in self._senders:
                self._senders.remove(waiter)

    # -- reading

    async def _read(self, request: Request | Attendant, dry: bool = False) -> None:
        """Read for everyone until `request` is ready or the connection is lost; for `dry` see :meth:`_wait`."""
        chunks = 0
        traffic = _thread.traffic
        self._reader = request
        try:
            while True:
                if self.back_pressure is not None:
                    await self.back_pressure()
                look_again = await self._see_to_abandoned() if self._abandoned else None
                if dry:
                    dry = False
                # What there is more of a reply mostly follows at once.
                elif self._receive(perf_counter() + self.busy_wait if chunks and traffic.under_way == 1 else 0.0):
                    if request.ready():
                        return
                    chunks += 1
                    if chunks % CHUNKS_PER_CHECKPOINT == 0:
                        await self.backend.checkpoint()
                    continue
                if request.ready():
                    return
                if look_again is None:
                    await self.channel.wait(True, bool(self._unsent))
                else:
                    with anyio.CancelScope(deadline=look_again):
                        await self.channel.wait(True, bool(self._unsent))
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream) as error:
            self._lose(error)
        finally:
            self._reader = None

    def _look(self, request: Request, deadline: float = 0.0) -> bool:
        """Do what can be done for a request without sleeping, whoever reads; return whether anything has arrived."""
        pending = self.protocol.pending
        if pending and pending[0] is request:
            if self._reader is None and self.back_pressure is None:
                return self._receive(deadline)
            return self._receive_now(deadline)
        # No reply can have come before that of the head, which is for others to look for.
        if self._unsent and not self.closed:
            self.flush()
            if self._unsent and self._reader is not None:
                self.channel.wake()
        return False

    def _receive(self, deadline: float = 0.0) -> bool:
        """Send and receive what can be without sleeping; return whether anything has arrived, which includes the end.

        :param deadline: on perf_counter()'s clock, until when to look for it.
        """
        protocol = self.protocol
        if self._unsent or protocol.outgoing:
            self.flush()
        if protocol.phase >= ENDED:
            return True
        try:
            target = None if protocol.large is None else protocol.receive_target()
            if target is None:
                data = self.channel.try_receive(self.chunk)
                if data is None:
                    if not deadline or not self.channel.readable_within(deadline - perf_counter()):
                        return False
                    data = self.channel.try_receive(self.chunk)
                    if data is None:
                        return False
                if data:
                    protocol.receive_data(data)
                else:
                    protocol.receive_eof()
            else:
                with target:
                    count = self.channel.try_receive_into(target)
                if count is None:
                    return False
                if count:
                    protocol.received(count)
                else:
                    protocol.receive_eof()
        except RemoteProtocolError as error:
            self._dispatch()  # what came before that
            self.abort(f"the server broke the protocol: {error}", error)
            return True
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream) as error:
            self._lose(error)
            return True
        if protocol.events:
            self._dispatch()
        if protocol.pending:
            # It may be ready without being done, which wakes its task by itself.
            head = protocol.pending[0]
            if head.waiter is not None and head.ready():
                head.waiter.set()
        elif protocol.phase >= ENDED:
            self._release()
        return True

    def _receive_now(self, deadline: float = 0.0) -> bool:
        """Take a chunk that has arrived already; beside the reader, if there is one, which waits at this moment."""
        arrived = False
        if self.protocol.phase < ENDED:
            if self.back_pressure is None:
                arrived = self._receive(deadline)
            else:
                self.flush()
        if self._reader is not None and (self._abandoned or self._unsent or self._reader.ready()):
            self.channel.wake()
        return arrived

    def _lose(self, error: Exception) -> None:
        self.abort(f"the connection was lost: {error.__cause__ or error}", error)

    def _dispatch(self) -> None:
        events, on_event = self.protocol.events, self.on_event
        while events:
            event = events.popleft()
            if on_event is not None:
                on_event(event)

    def _wake_next(self) -> None:
        """Let the oldest request that waits have the socket."""
        waiter = self._waiting()
        if waiter is not None:
            waiter.set()

    def _waiting(self) -> WakeUp | None:
        for request in self.protocol.pending:
            if request.waiter is not None:
                return request.waiter
        for attendant in self._attendants:
            if attendant.waiter is not None:
                return attendant.waiter
        return None

    # -- cancelling

    async def _abandon(self, request: Request) -> None:
        """Leave a request behind after a cancellation, with everything in order or the connection closed."""
        request.abandon()
        self._abandoned = True
        if self._sender is request:
            # What has been sent of it ends in an error, so that nothing of it takes effect.
            data = bytearray()
            frontend.parse(data, b"", _NO_STATEMENT, ())
            self.close_request(request, data + frontend.SYNC)
        if self.protocol.head is request:
            await self._drain(request)
        await self._settle()

    async def _settle(self) -> None:
        """Drain abandoned requests that are next in turn, if nobody else is there to do it."""
        pending = self.protocol.pending
        while self._reader is None and pending and pending[0].abandoned:
            if self._waiting() is not None:
                return
            await self._drain(pending[0])
        self._abandoned = any(request.abandoned for request in pending)

    async def _drain(self, request: Request) -> None:
        """Return when the abandoned request at the head is done: whoever reads sees to that, in the grace time."""
        cancelled: BaseException | None = None
        with anyio.CancelScope(shield=True):
            if self._reader is not None:
                # The reader does not know yet that there is something to cancel.
                self.channel.wake()
            while not request.done:
                try:
                    if self._reader is not None:
                        request.waiter = waiter = self.backend.create_waiter()
                        await waiter.wait()
                    else:
                        await self._read(request)
                except self.backend.cancelled_exc_class as error:
                    # asyncio's task.cancel() does not stop at a shield. It has to wait: the grace time ends this.
                    cancelled = error
                except BaseException:
                    if not request.done:
                        self.abort("the connection was closed: an operation could not be cancelled")
                    raise
            request.waiter = None
            if self._reader is None:
                self._wake_next()
        if cancelled is not None:
            raise cancelled

    async def _see_to_abandoned(self) -> float:
        """See to an abandoned request at the head: cancel it, once more if it goes on, close past the grace time.

        :return: when to look again, on anyio.current_time()'s clock.

        Only the reader does this, so it is done once, whichever task it is.
        """
        head = self.protocol.head
        if head is None or not head.abandoned:
            return math.inf
        cancelling = self.cancelling
        cancelling.turn_to(head)
        now = anyio.current_time()
        if now >= cancelling.give_up_at:
            self._abort_after_grace()
        elif now >= cancelling.cancel_at:
            self._gated = True
            try:
                await cancelling.cancel()
            finally:
                self._gated = False
        return min(cancelling.cancel_at, cancelling.give_up_at)

    def _abort_after_grace(self) -> None:
        grace = self.cancelling.grace
        self.abort(f"the connection was closed: a cancelled operation did not end within the grace time of {grace:g} s")

    # -- the end

    def abort(self, reason: str, cause: BaseException | None = None) -> None:
        """Close at once, without a word to the server; operations under way fail with `reason`."""
        self.protocol.fail(reason, cause)
        self._release()

    def close(self) -> None:
        """Say goodbye and close; never blocks. Operations under way in other tasks fail."""
        self._say_goodbye()
        self.protocol.close()
        self._release()

    async def aclose(self) -> None:
        """Do what :meth:`close` does, and what a stream of the caller's needs besides; otherwise no checkpoint."""
        if self.channel.closes_at_once:
            self.close()
            return
        self._say_goodbye()
        self.protocol.close()
        self._forget()
        await self.channel.aclose()

    def _say_goodbye(self) -> None:
        if not self.closed and not self._unsent and not self._gated and self._sender is None:
            self.send(frontend.TERMINATE)

    def _release(self) -> None:
        self.channel.close_now()
        self._forget()

    def _forget(self) -> None:
        self._unsent.clear()
        self._abandoned = False
        self._sender = None
        while self._senders:
            self._senders.popleft().set()
        if self.on_end is not None:
            on_end, self.on_end = self.on_end, None
            on_end()
        for attendant in self._attendants:
            if attendant.waiter is not None:
                attendant.waiter.set()


_NO_STATEMENT = b"anyq has given executemany() up"
"""No SQL, so that it is an error. Not an Execute of a portal that is none: pgpool-II closes the connection for that."""
