"""Wire: one connection for any number of tasks, without a task of its own.

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
vain. Either way there is a checkpoint between sending and receiving. The pieces of a long reply are looked for alike,
and between two of them the request at the head prepares what has come of it (`Request.meanwhile`), as the server is at
work on the rest. Where pieces do not come soon either, few of them are looked for.

*Attending.* Who waits for something that is no reply, a notification or the end of the connection, is an attendant: it
reads as well while nobody else does, without any traffic or timer, and steps back from nothing: whoever reads, reads
for it too.

*Cancelling.* The bytes of a request cannot be called back, so a cancelled task leaves an *abandoned* request behind.
If it is at the head, the task itself asks the server to cancel it and drains its reply, shielded, within the grace
time. If it is not, the task leaves at once, and whoever reads when its turn comes does the same on its behalf: a
CancelRequest hits whatever the server runs at that moment, so it is never sent for a request that waits its turn.
While one is in progress nothing new is sent. When it is sent, and what it may hit, is told by `cancelling`. Past the
grace time the connection is closed. Nothing in between.

Knows requests and the tasks that wait for their replies; whose turn it is to send is told by `sending`, and bytes are
left to `link`. Must not know SQL, Python types, addresses or how to open a connection.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Final, Protocol

import anyio

from ..backends import Backend, Waiter, uninterrupted
from ..protocol import frontend
from ..protocol.constants import TransactionStatus
from ..protocol.request import Request
from ..protocol.request import Waiter as WakeUp
from ..protocol.session import ProtocolSession
from ..transport.channel import Channel
from .busy_wait import CHUNKS_PER_CHECKPOINT, MOST_MESSAGES, TURN, BusyWait, this_thread
from .cancelling import Canceller, Cancelling, was_hit
from .link import END, INTERRUPTED, NOTHING, SOMETHING, Received
from .sending import Sending


class Attendant(Protocol):
    """One who waits for something that is no reply; wakes by its waiter."""

    waiter: Waiter | None

    def ready(self) -> bool:
        """Return whether there is no more to wait for; a closed connection is always the end."""
        ...


class Wire(Sending):
    """One connection's traffic.

    :param canceller: see :class:`Cancelling`; so for `grace`.
    """

    def __init__(
        self,
        channel: Channel,
        protocol: ProtocolSession,
        backend: Backend,
        *,
        canceller: Canceller | None = None,
        grace: float = 5.0,
    ) -> None:
        super().__init__(channel, protocol, backend)
        self.cancelling: Final = Cancelling(protocol, canceller, grace)
        """How a running query is cancelled, and the grace time."""
        self.busy_wait: Final = BusyWait()
        """For how long replies are looked for before they are waited for."""
        self.traffic = this_thread.traffic
        """What is under way in the thread that reads."""
        self.back_pressure: Callable[[], Awaitable[None]] | None = None
        """What to await before more is read, while those whom events were given to cannot keep up; mostly None."""
        self._reader: Request | Attendant | None = None  # for whom the reader reads first of all
        self._abandoned = False  # there may be abandoned requests that are not done
        self._unattended: list[Request] = []  # those of them that have to happen, and whose tasks have left
        self._attendants: list[Attendant] = []

    def idle(self) -> bool:
        """Return whether no task is at work here, so that something else than the event loop may take its place."""
        busy = self._reader is not None or self._attendants or self._waiting_for_turn or self.cancel_in_progress
        return not busy and not self.protocol.over

    # -- one request

    async def run(self, request: Request, data: bytes | bytearray) -> None:
        """Send a request and return when it is done; look at its ``error`` and ``failure`` then.

        A cancellation abandons it: within the grace time the connection is ready for the next request or closed.
        """
        traffic = self.traffic
        traffic.under_way += 1
        try:
            try:
                sent = self.submit(request, data)  # the same one, of which the compiled form knows the class
                busy_wait = self.busy_wait
                if busy_wait.skip and self._reader is None and self.protocol.pending[0] is request:
                    busy_wait.skip -= 1
                    await self._wait(request, dry=True)
                else:
                    deadline = perf_counter() + busy_wait.seconds
                    turn = self.backend.turn
                    await (self.backend.checkpoint() if turn is None else turn)
                    received = None if sent.done else self._look(sent, deadline if traffic.under_way == 1 else 0.0)
                    if sent.done:
                        busy_wait.last_skips = 0
                    else:
                        if received is NOTHING:
                            busy_wait.back_off()
                        await self._wait(request, dry=received is NOTHING)
                if self._abandoned:
                    await self._drain_abandoned()
            except BaseException:
                await self.abandon(request)
                raise
        except BaseException:
            # Interrupted again, before that could begin.
            if not (request.done or request.abandoned):
                self.abort(INTERRUPTED)
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
        self.backend.check_here()
        request.cancellable = False
        cancelled: BaseException | None = None
        open_ = self.in_pieces
        if open_ is not None and self.is_own(open_):
            # Its block is never left, or not before this: it ends here.
            self.drop(open_)
            self.close_request(open_, open_.ending)
        if wait:
            try:
                await self._wait_for_turn()
            except self.backend.cancelled_exc_class as error:
                cancelled, wait = error, False
        if self.sending:
            await self.backend.in_loop()
            with anyio.CancelScope(shield=True, deadline=anyio.current_time() + self.cancelling.grace):
                try:
                    await self._wait_for_turn()
                finally:
                    if self.sending:
                        self._abort_after_grace()
        if self.protocol.over:
            raise cancelled or self.protocol.closed_error()
        if wait:
            await self.run(request, data)
            return
        self.submit(request, data)
        self.flush()
        await self.abandon(request)
        if cancelled is not None:
            raise cancelled

    async def catch_up(self) -> None:
        """Return when everything is done that was sent before."""
        await self.run(Request(), frontend.SYNC)

    async def wait(self, request: Request, *, dry: bool = False) -> None:
        """Return when `request` is ready (see :meth:`Request.ready`), reading for everyone if nobody does.

        :param dry: whether to sleep before looking for what has arrived, so that this is a checkpoint if it is not
            ready yet.
        """
        try:
            if self._reader is not None or dry and self.protocol.behind:
                if dry:
                    dry = False
                    await self.backend.checkpoint()
                self._look(request)
            if not request.ready():
                await self._wait(request, dry=dry)
            if self._abandoned and request.done:
                await self._drain_abandoned()
        except BaseException:
            self._step_back(request)
            raise

    # -- what is no reply

    async def attend(self, attendant: Attendant) -> None:
        """Return when `attendant` is ready, or the connection is closed; reads meanwhile if nobody else does.

        A cancellation leaves the connection as it is.
        """
        self.backend.check_here()
        try:
            self._attendants.append(attendant)
            if not attendant.ready():
                await self._wait(attendant)
        except BaseException:
            self._step_back(attendant)
            raise
        finally:
            if attendant in self._attendants:
                self._attendants.remove(attendant)
            if self._abandoned:
                await self._drain_abandoned()

    def poll(self, deadline: float = 0.0) -> Received:
        """Take a chunk that has arrived already; beside the reader, if there is one, which waits at this moment.

        :param deadline: see :meth:`receive`.
        """
        if self.back_pressure is None:
            received = self.receive(deadline)
        else:
            self.flush()
            received = NOTHING
        reader = self._reader
        if reader is not None and (self._abandoned or reader.ready()):
            self._channel.wake()
        return received

    # -- reading

    async def _wait(self, request: Request | Attendant, *, dry: bool = False) -> None:
        """Return when `request`, which is not ready, is: read for everyone if nobody does, otherwise sleep.

        :param dry: whether there was nothing to receive a moment ago, so that it need not be tried before sleeping.
        """
        try:
            while self._reader is not None:
                request.waiter = waiter = self.backend.create_waiter()
                await waiter.wait()
                if request.ready():
                    return
                dry = False
            await self._read(request, dry)
        finally:
            request.waiter = None
            if self._reader is None and (self.protocol.pending or self._attendants):
                self._wake_next()

    async def _read(self, request: Request | Attendant, dry: bool) -> None:
        """Read for everyone until `request` is ready; for `dry` see :meth:`_wait`."""
        chunks = 0
        more = not dry  # whether there may be something to do with what has come
        came = False  # whether a piece has come since the last wait, so that the next one may follow at once
        pieces = self.busy_wait.pieces
        turn_ends = perf_counter() + TURN
        traffic = self.traffic
        try:
            self._reader = request
            while True:
                look_again: float | None = None
                if self._abandoned or self.back_pressure is not None:
                    await self.backend.in_loop()
                    if self.back_pressure is not None:
                        await self.back_pressure()
                    look_again = await self._cancel_abandoned()
                    dry = False
                if not dry:
                    looks = came and not more and traffic.under_way == 1 and pieces.may_look()
                    received = self.receive(perf_counter() + self.busy_wait.seconds if looks else 0.0, MOST_MESSAGES)
                    if looks:
                        pieces.has_looked(received is not NOTHING)
                    # Where there was nothing, another task may have received it.
                    if received is END or request.ready() and not self.protocol.behind:
                        return
                    if received is SOMETHING or more:
                        chunks += received is SOMETHING
                        came = came or received is SOMETHING
                        # The server is at work on the rest meanwhile.
                        head = self.protocol.head
                        more = head is not None and head is request and head.meanwhile()
                        many = (chunks + 1) % CHUNKS_PER_CHECKPOINT == 0
                        if many or self.protocol.behind or perf_counter() >= turn_ends:
                            await self.backend.checkpoint()
                            turn_ends = perf_counter() + TURN
                        continue
                dry = False
                if look_again is None:
                    await self._channel.wait(True, bool(self.unsent))
                else:
                    with anyio.CancelScope(deadline=look_again):
                        await self._channel.wait(True, bool(self.unsent))
                came = False
                turn_ends = perf_counter() + TURN
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream) as error:
            self.fail(error)
        finally:
            self._reader = None

    def _look(self, request: Request, deadline: float = 0.0) -> Received:
        """Do what can be done for a request without sleeping, whoever reads."""
        protocol = self.protocol
        pending = protocol.pending
        if pending and pending[0] is request:
            if self._reader is None and self.back_pressure is None:
                received = self.receive(deadline, MOST_MESSAGES)
                if protocol.behind and request.done:
                    # There may be nobody to come back for it.
                    self.receive()
                return received
            return self.poll(deadline)
        # No reply can have come before that of the head, which is for others to look for.
        if self.unsent:
            self.flush()
        return NOTHING

    def _wake_next(self) -> None:
        """Let the oldest request that waits have the socket."""
        waiter = self._next_waiter()
        if waiter is not None:
            waiter.set()

    def _next_waiter(self) -> WakeUp | None:
        for request in self.protocol.pending:
            if request.waiter is not None:
                return request.waiter
        for attendant in self._attendants:
            if attendant.waiter is not None:
                return attendant.waiter
        return None

    async def aclose(self) -> None:
        """Close, as a link does; from another event loop have that done there, as soon as it gets to it."""
        if self.backend.is_here():
            await super().aclose()
        elif not self.backend.call_there(self.close):
            self.close()  # where its own has ended nobody else is at work

    # -- dropping requests

    def drop(self, request: Request) -> None:
        """Leave a request behind from where nothing can be awaited; whoever reads next cancels and drains it."""
        request.abandon()
        self._abandoned = True

    async def abandon(self, request: Request) -> None:
        """Leave a request behind that is not done, as a cancellation of :meth:`run` does.

        Shielded, within the grace time: everything is in order then, or the connection closed. Where nothing can be
        awaited it is left to whoever reads next.
        """
        if not self.backend.is_here():
            self.drop(request)
            return
        if _is_being_closed():
            if not request.done:
                self.drop(request)
                self.close_request(request, request.ending)
            return
        try:
            self._step_back(request)
            if request.done:
                return
            self.drop(request)
            # What has been sent of it in pieces ends in an error, so that nothing of it takes effect.
            self.close_request(request, request.ending)
            if self.protocol.head is request:
                await self._drain(request)
            if not (request.done or request.cancellable):
                self._unattended.append(request)
            await self._drain_abandoned()
        except self.backend.cancelled_exc_class:
            raise
        except BaseException:
            if not request.done:
                self.abort(INTERRUPTED)
            raise

    def _step_back(self, who: Request | Attendant) -> None:
        """Leave the reading to others after an exception, which may be an interrupt at whatever moment."""
        if self._reader is who or self._reader is None and self.cancel_in_progress:
            self.abort(INTERRUPTED)
        elif self._reader is None:
            self._wake_next()

    async def _drain_abandoned(self) -> None:
        """Drain abandoned requests that are next in turn, if nobody else is there to do it."""
        pending = self.protocol.pending
        if _is_being_closed():
            return
        while self._reader is None and pending and pending[0].abandoned:
            waiter = self._next_waiter()
            if waiter is not None:
                waiter.set()
                return
            await self._drain(pending[0])
        self._abandoned = any(request.abandoned for request in pending)
        if self._unattended:
            self._look_after_unattended()

    def _look_after_unattended(self) -> None:
        """Close the connection if what had to happen has not, and nobody is left who would send it again.

        That was a ROLLBACK, and the transaction that it should end is still open.
        """
        done = [request for request in self._unattended if request.done]
        self._unattended = [request for request in self._unattended if not request.done]
        for request in done:
            if was_hit(request) and request.status_before is not TransactionStatus.IDLE:
                self.abort("the connection was closed: a CancelRequest for another statement has hit a ROLLBACK")

    async def _drain(self, request: Request) -> None:
        """Return when the abandoned request at the head is done: whoever reads sees to that, in the grace time."""
        held: BaseException | None = None
        await self.backend.in_loop()
        with anyio.CancelScope(shield=True):
            # A reader that is asleep does not know yet that there is something to cancel.
            self._channel.wake()
            while not request.done:
                try:
                    await self._wait(request)
                except self.backend.cancelled_exc_class as error:
                    # asyncio's task.cancel() does not stop at a shield. It has to wait: the grace time ends this.
                    held = held or error
                except Exception as error:
                    self.fail(error)  # of no use to a task that is on its way out
                except GeneratorExit:
                    raise
                except BaseException as error:
                    # Nor does Ctrl-C. If the server were not told to cancel, it would go on for nobody.
                    held = error
                    self._step_back(request)
        if held is not None:
            raise held

    async def _cancel_abandoned(self) -> float | None:
        """Have the server cancel an abandoned request at the head, once more if it goes on; close past the grace time.

        :return: when to look again, on anyio.current_time()'s clock; None if there is no such request.

        Only the reader does this, so it is done once, whichever task it is.
        """
        head = self.protocol.head
        if head is None or not head.abandoned:
            return None
        cancelling = self.cancelling
        cancelling.turn_to(head)
        now = anyio.current_time()
        if now >= cancelling.give_up_at:
            self._abort_after_grace()
        elif now >= cancelling.cancel_at:
            try:
                self.cancel_in_progress = True
                await cancelling.cancel(self._look_beside)
            finally:
                self.cancel_in_progress = False
                if cancelling.under_way:
                    # The request may be done, but whatever comes next could be hit.
                    self._abort_after_grace()
        return min(cancelling.cancel_at, cancelling.give_up_at)

    def _look_beside(self) -> None:
        """Take what has arrived while the reader is busy otherwise."""
        if self.back_pressure is None:
            self.receive()

    def _abort_after_grace(self) -> None:
        grace = self.cancelling.grace
        self.abort(f"the connection was closed: a cancelled operation did not end within the grace time of {grace:g} s")

    def _ended(self) -> None:
        """Take note that the connection is closed, and wake everyone who waits for something else than a reply."""
        super()._ended()
        self._abandoned = False
        self._give_turn()
        for attendant in self._attendants:
            if attendant.waiter is not None:
                attendant.waiter.set()


uninterrupted(Wire)


def _is_being_closed() -> bool:
    """Return whether the coroutine that asks was dropped halfway, so that it must not await anything any more."""
    return isinstance(sys.exc_info()[1], GeneratorExit)
