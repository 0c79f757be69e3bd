"""Copying: one COPY under way, its data on the way to the server or from it.

Theory of operation. A COPY is a request that is sent piece by piece: from its statement until its end nothing else is
sent on the connection. Other tasks wait for their turn; the task that has begun the COPY would wait for itself, and is
refused.

*In*: data goes out in messages of some 64 KiB. Whoever sends them waits while more than `MOST_UNSENT` are kept that the
socket has not taken, and looks after each for what the server says, so that its error is raised soon. The end is
CopyDone; or, whatever else happens, CopyFail.

*Out*: data is received when somebody wants it, a chunk at a time, so the server waits for whoever is slow. Left before
its end, the COPY is cancelled and drained. If it is in a transaction, that has failed then; and where the server had
sent everything already, which nobody can know before, it is made to fail, so that the outcome is always the same.

Knows a session, statements and messages. Must not know cursors, rows or how data is written.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import TypeVar

from ..adapt import Transformer
from ..backends import Waiter, uninterrupted
from ..errors import OperationalError, ProgrammingError
from ..protocol import frontend
from ..protocol.constants import TransactionStatus
from ..protocol.request import CopyDirection, Request
from ..statements.copy_data import CopyRequest, compose_copy, copy_failure, wrong_direction
from ..statements.outcome import failure_of
from ..statements.statement import Statement, copies
from .cancelling import was_victim
from .execute import undo_begin
from .session import Session

T = TypeVar("T")

MOST_UNSENT = 128 * 1024
"""Bytes that are kept for a socket that does not take them before the one who sends has to wait."""

_FAILING = b"anyq: a COPY TO STDOUT was left before its end"
"""No SQL, so that the transaction fails in which it is sent."""


@uninterrupted
class Copying:
    """One COPY.

    :param statement: with its parameters in the text.
    :param tx: what has bound it.
    """

    def __init__(self, session: Session, statement: Statement, tx: Transformer) -> None:
        self._session = session
        self._wire = session.wire
        self._statement = statement
        self._encoding = tx.encoding
        self._begin: bytes | None = None
        self._at_work: object = None  # the task that is at a step, or was interrupted when it was over
        self._waiting: list[Waiter] = []
        self.request: CopyRequest | None = None
        """The last one that was sent."""
        self.is_seen = False
        """Whether somebody knows that it has come to its end."""
        self._is_read = False
        self.is_complete = False
        """Whether that was a good one."""

    def disown(self) -> bool:
        """Take note that its task cannot end it any more, and so may wait for its end; return whether there is need.

        For any thread, and to be followed by :meth:`drop` then.
        """
        request = self.request
        if request is None or self.is_seen or request.abandoned:
            return False
        request.task = None
        return True

    async def begin(self) -> CopyRequest:
        """Send the statement; return its request when the server is ready for data, or about to send it.

        :raises ProgrammingError: it is no COPY whose data goes through the connection.
        :raises Error: what the server says.

        A cancellation cancels it.
        """
        session, wire = self._session, self._wire
        while True:
            self._begin = begin = await session.transactions.turn()
            request, data = compose_copy(session.composer, self._statement, begin)
            request.task = wire.backend.current_task()
            self.is_seen = False
            self.request = request  # first, so that it is abandoned whatever interrupts
            try:
                wire.open(request)
                wire.send(data)
                await self._sleep(request, request.has_begun)
            except BaseException:
                await self.give_up()
                raise
            # It may have come to its end by now.
            if request.direction is not None and (request.error is None or not request.done):
                return request
            wire.close_request(request, b"")
            self.is_seen = True
            if not (was_victim(request) and copies(self._statement.sql)):
                raise self._failure(request)
            await undo_begin(session, request)

    async def send(self, messages: Iterable[bytearray]) -> None:
        """Send data, and wait until there is room for more.

        :param messages: made one after the other, as they are sent.
        :raises Error: what the server says meanwhile.

        Several tasks may do so; the messages of one call stay together. A cancellation gives the COPY up.
        """
        await self._alone(partial(self._send, messages))

    async def finish(self, message: bytearray) -> None:
        """Send the last data, if there is any, and wait until the server has taken everything in.

        :raises Error: what the server says.

        A cancellation cancels it, if it is not complete.
        """
        await self._alone(partial(self._finish, message))

    async def receive(self, cut: Callable[[bytes, int, int, int], tuple[T, int]]) -> T | None:
        """Return the next piece of the data, None at its end.

        :param cut: how it is cut out of messages.
        :raises Error: what the server says.

        Several tasks may do so. A cancellation gives the COPY up.
        """
        return await self._alone(partial(self._receive, cut))

    async def _send(self, messages: Iterable[bytearray]) -> None:
        request, wire = self._opened(CopyDirection.IN), self._wire
        for message in messages:
            wire.send(message)
            if self._has_room():
                await wire.backend.checkpoint()
                wire.poll()
            else:
                await self._sleep(request, self._has_room)
            if request.error is not None or request.done:
                await self._end(request)

    async def _finish(self, message: bytearray) -> None:
        request, wire = self._opened(CopyDirection.IN), self._wire
        request.is_sent = True
        wire.close_request(request, message + frontend.COPY_DONE)
        await self._end(request)

    async def _receive(self, cut: Callable[[bytes, int, int, int], tuple[T, int]]) -> T | None:
        if self.is_complete:
            # Another task has come to its end meanwhile.
            return None
        wire = self._wire
        while True:
            request = self._opened(CopyDirection.OUT)
            if request.runs or request.done:
                await wire.backend.checkpoint()
            else:
                await self._sleep(request, request.has_data)
            if request.runs:
                self._is_read = True
                return request.take(cut)
            if self._is_read or not (request.done and was_victim(request)):
                await self._end(request)
                return None
            # Nobody has seen any of it.
            wire.close_request(request, b"")
            await undo_begin(self._session, request)
            await self.begin()

    async def _sleep(self, request: CopyRequest, wanted: Callable[[], bool]) -> None:
        """Wait for what is not so yet, or the end; always a checkpoint."""
        request.wanted = wanted
        await self._wire.wait(request, dry=True)
        request.wanted = None

    async def _alone(self, step: Callable[[], Awaitable[T]]) -> T:
        """Take a step when no other task is at one; the COPY is given up by what it raises."""
        backend = self._wire.backend
        task = backend.current_task()
        try:
            while self._at_work not in (None, task):
                waiter = backend.create_waiter()
                self._waiting.append(waiter)
                try:
                    await waiter.wait()
                finally:
                    if waiter in self._waiting:
                        self._waiting.remove(waiter)
            self._at_work = task
            await backend.checkpoint_if_cancelled()
            return await step()
        except BaseException:
            await self.give_up()
            raise
        finally:
            if self._at_work is task:
                self._let_others()

    def _let_others(self) -> None:
        self._at_work = None
        for waiter in self._waiting:
            waiter.set()

    async def give_up(self, reason: str = "") -> None:
        """End it, if it is not at its end, so that nothing of it takes effect; shielded, within the grace time.

        :param reason: what the server is told, and puts into its log.
        """
        request = self.request
        if request is None or self.is_seen:
            return
        if reason and request.ending:
            request.ending = copy_failure(reason, self._encoding)
        if self._at_work not in (None, self._wire.backend.current_task()):
            # Another task waits for it to go on, and sees to its end instead.
            self.drop()
            return
        try:
            await self._give_up(request)
        finally:
            self._let_others()

    async def _give_up(self, request: CopyRequest) -> None:
        wire = self._wire
        in_transaction = request.status_before is not TransactionStatus.IDLE or request.after_begin
        try:
            if not request.done:
                await wire.abandon(request)
        finally:
            wire.close_request(request, b"")
            self.is_seen = True
        out = request.direction is CopyDirection.OUT
        if out and in_transaction and wire.protocol.transaction_status is TransactionStatus.INTRANS:
            await self._fail_transaction()

    def drop(self) -> None:
        """End it without waiting, in the event loop, unless it is at its end; whoever reads next drains it."""
        request, wire = self.request, self._wire
        if request is not None and not self.is_seen:
            if not request.done:
                wire.drop(request)
            wire.close_request(request, request.ending)
            wire.channel.wake()
        self.is_seen = True

    def drop_from_anywhere(self) -> None:
        """Do the same when nobody has a reference to the COPY any more; in any thread."""
        if self.disown():
            self._wire.backend.call_there(self.drop)

    async def _fail_transaction(self) -> None:
        wire = self._wire
        data = bytearray()
        frontend.query(data, _FAILING)
        request = Request()
        request.extended = False
        if not wire.closed:
            await wire.carry_out(request, data, wait=False)

    def _has_room(self) -> bool:
        request = self.request
        assert request is not None
        return len(self._wire.unsent) <= MOST_UNSENT or request.error is not None

    def _opened(self, direction: CopyDirection) -> CopyRequest:
        """Return the request, if it goes on in this direction."""
        self._wire.backend.check_here()
        request = self.request
        assert request is not None
        if self.is_seen or request.abandoned:
            self._session.check_open()
            raise at_its_end()
        if request.direction is not direction:
            raise wrong_direction(request.direction)
        return request

    async def _end(self, request: CopyRequest) -> None:
        """Wait for the end of the request.

        :raises Error: it has failed.
        """
        wire = self._wire
        if request.done:
            await wire.backend.checkpoint()
        else:
            await wire.wait(request, dry=True)
        dropped = self.is_seen
        wire.close_request(request, b"")
        self.is_seen = True
        if dropped:
            raise at_its_end()
        if request.error is not None or request.failure is not None or not request.results:
            raise self._failure(request)
        self.is_complete = True
        if self._session.settle is not None:
            await self._session.settle()

    def _failure(self, request: CopyRequest) -> Exception:
        if request.error is None and request.failure is None and request.direction is None:
            tag = request.results[-1].tag if request.results else None
            return ProgrammingError(
                "copy() is for COPY ... FROM STDIN and COPY ... TO STDOUT, and the data of this statement does not go "
                f"through the connection (it was executed: {tag}); use execute() for such"
            )
        failure = failure_of(request, self._begin, self._session.composer.statements)
        # Its traceback leads to the COPY: whoever keeps what that holds until it is dropped would keep both for ever.
        request.error = request.failure = None
        return self._session.explained(failure, self._statement, self._encoding)


def at_its_end() -> OperationalError:
    """Return the error for one who goes on with a COPY that cannot succeed any more."""
    return OperationalError("this COPY is at its end: it has failed, or was given up by a cancellation")


def reason_of(exc: BaseException | None) -> str:
    """Return what the server is told about an exception that ends a COPY."""
    if exc is None:
        return ""
    name = type(exc).__qualname__
    try:
        return f"{name}: {exc}"
    except Exception:
        return name  # it cannot say what it is, and something has to be said
