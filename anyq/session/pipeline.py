"""Pipelines: statements of one task that are queued, and sent together when somebody wants a result, or the end.

Theory of operation. ``execute()`` in a pipeline block binds a statement and puts it into a queue; nothing is sent. A
*flush* sends all that is queued as one request, a *segment*, which ends with a Sync, and waits for its end. So the
statements of a block never get mixed up with those of other tasks, which are requests of their own before or behind a
segment, and while a block is entered nobody has to wait for it.

*Where segments end.* With a flush, which a fetch causes as well; behind a statement that may change settings or end
the transaction, as what is bound or sent after it depends on that; and in a transaction, where it makes no difference,
when so many bytes have come together that they should not be kept. In autocommit mode a segment is a transaction, and
as long as the user makes it.

*Errors.* The server skips what is behind an error up to the Sync. Here what is queued is skipped up to the user's
``sync()``, so that it makes no difference where segments end. An error is raised where the result is fetched and, if
that has not been done, where the pipeline is synced. If the error has been seen there, but statements were skipped
whose results nobody has asked for, that is what the sync raises.

*Whose statements.* A pipeline belongs to the task that has entered the block. Whatever else that task does with the
connection has the pipeline flushed or synced before: see `Transactions.turn`. Other tasks may wait for its results.

Knows the session and the queue. Must not know cursors, nor whether whoever executes is a task or another thread:
putting into the queue is safe in any.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Awaitable
from typing import NoReturn

from ..backends import Waiter, uninterrupted
from ..errors import Error, OperationalError, PipelineAborted, ProgrammingError
from ..pq import PipelineStatus
from ..protocol import frontend
from ..protocol.constants import TransactionStatus
from ..statements.outcome import failure_of
from ..statements.segment import SENT, Queued, SegmentRequest, not_received, skipped
from ..statements.statement import is_repeatable
from .execute import forget_if_stale, may_repeat
from .session import Session

SEGMENT_BYTES = 256 * 1024
"""In a transaction what is queued is sent when it has so many bytes, at the latest."""

MOST_SKIPPED = 1000
"""Statements that were skipped of which is known whether anybody has asked about them."""

STATEMENTS_PER_CHECKPOINT = 64
"""After so many statements that were only queued, ``execute()`` lets other tasks run."""


def own_pipeline(session: Session) -> PipelineQueue | None:
    """Return the pipeline of the task that runs now, if it is in a block of the session."""
    pipeline = session.transactions.own_pipeline()
    return pipeline if isinstance(pipeline, PipelineQueue) else None


def refuse_in_pipeline(what: str) -> NoReturn:
    """Refuse what cannot be a part of a pipeline."""
    raise ProgrammingError(
        f"{what} cannot be used in a pipeline block, as it is more than one statement and its result: use it before or "
        "behind the block, or in another task"
    )


def refuse_if_in_pipeline(session: Session, what: str) -> None:
    """Do the same if the task that runs now is in a block; elsewhere than in the event loop nothing is refused.

    :raises ProgrammingError: it is.
    """
    if session.transactions.pipelines and session.wire.backend.is_here() and own_pipeline(session) is not None:
        refuse_in_pipeline(what)


@uninterrupted
class PipelineQueue:
    """The statements of one pipeline, and what has become of them.

    :param block: the outermost one that the user holds.
    """

    def __init__(self, session: Session, block: object) -> None:
        self.session = session
        self._block = weakref.ref(block)  # weakly, as the session does with transaction blocks
        self.level = 0
        """How many blocks are entered, one inside the other."""
        self.count = 0
        """How many statements there have been."""
        self._queued: deque[Queued] = deque()
        self._size = 0
        self._sending: list[Queued] = []
        self._runner: object | None = None  # the task that flushes now
        self._waiters: list[Waiter] = []
        self._failure: Exception | None = None  # the first error since the last sync
        self._failed: Queued | None = None  # whose it is
        self._whole = False  # whether it is that of a whole segment, and nobody has seen it
        self._skipped: list[Queued] = []  # what was not run because of it

    # -- for any thread

    @property
    def status(self) -> PipelineStatus:
        """ON, or ABORTED behind an error, until the next sync; OFF at the end."""
        if not self.level:
            return PipelineStatus.OFF
        return PipelineStatus.ON if self._failure is None else PipelineStatus.ABORTED

    def is_lost(self) -> bool:
        """Return whether nobody can leave the block any more; what is queued is dropped then."""
        if self._block() is not None:
            return False
        self.drop("its pipeline block was not left as it should be")
        return True

    @property
    def has_queued(self) -> bool:
        """Whether there are statements that have not been sent."""
        return bool(self._queued)

    def add(self, item: Queued) -> bool:
        """Queue a statement; return whether :meth:`flush` is to be called now."""
        self._queued.append(item)
        self.count += 1
        size = len(item.statement.sql)
        for value in item.statement.values:
            if value is not None:
                size += len(value)
        self._size = size = self._size + size
        return item.ends or size > SEGMENT_BYTES and self._in_transaction()

    def _in_transaction(self) -> bool:
        # What is on its way cannot be looked at here, which may be another thread.
        transactions = self.session.transactions
        return not transactions.autocommit or bool(transactions.blocks)

    # -- for tasks

    def checkpoint(self) -> Awaitable[None]:
        """Check for cancellation, and now and then let others run; before a statement is queued."""
        backend = self.session.wire.backend
        return backend.checkpoint_if_cancelled() if self.count % STATEMENTS_PER_CHECKPOINT else backend.checkpoint()

    async def bring(self, item: Queued) -> None:
        """Wait for the outcome of a statement; for any task.

        :raises Error: it has failed.

        A cancellation cancels the statements that are under way, if it is this task that has sent them.
        """
        if item.done:
            await self.session.wire.backend.checkpoint()
        while not item.done:
            await self.flush()
        item.raise_error()
        self._raise_whole()

    async def go_before(self, *, syncs: bool) -> None:
        """Do what has to come before anything else that the task sends.

        :param syncs: whether it is something that syncs.
        :raises Error: of a statement that has failed.
        """
        if syncs:
            await self.sync()
            return
        await self.flush()
        if self._failure is not None:
            self._raise_untold()
            raise aborted(self._failure)

    async def sync(self) -> None:
        """Send what is queued, wait for it, and have the pipeline go on behind an error.

        :raises Error: the first error that nobody has seen yet.

        A cancellation cancels the statements that were sent by it; what is queued stays so.
        """
        await self.flush()
        try:
            self._raise_untold()
        finally:
            self._forget_failure()

    async def sync_at_end(self) -> None:
        """Do the same at the end of a block, in which the connection may have been closed in good order."""
        session = self.session
        if session.closed and not session.wire.broken and not self._queued:
            await session.wire.backend.checkpoint()
            return
        session.check_open()
        await self.sync()

    async def settle(self) -> Error | None:
        """Do what :meth:`sync` does where another error is on its way: return the error instead of raising it."""
        try:
            await self.sync()
        except Error as error:
            return error
        return None

    def drop(self, reason: str) -> None:
        """Send nothing of what is queued."""
        while self._queued:
            self._queued.popleft().fail(not_received(reason))
        self._size = 0
        self._forget_failure()

    async def flush(self) -> None:
        """Send what is queued, and wait for it; also for what another task is sending.

        :raises OperationalError: the connection is closed.

        A cancellation cancels the statements that were sent by it.
        """
        backend = self.session.wire.backend
        me = backend.current_task()
        if self._runner is None and not self._queued:
            await backend.checkpoint()
        while True:
            if self._runner is not None and self._runner is not me:
                await self._wait_for_runner()
                continue
            # An interrupt at whatever moment may have left something of an earlier flush of this task.
            self._end_sending()
            if not self._queued:
                return
            try:
                self._runner = me
                if self._failure is None:
                    await self._send()
                else:
                    await backend.checkpoint()
                    self._skip_queued()
            except OperationalError as error:
                if self.session.closed:
                    self.drop(str(error))
                raise
            finally:
                self._end_sending()

    async def _wait_for_runner(self) -> None:
        waiter = self.session.wire.backend.create_waiter()
        self._waiters.append(waiter)
        try:
            await waiter.wait()
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    # -- one segment

    async def _send(self) -> None:
        """Send a segment, again where that is the driver's own business, and wait for its end."""
        session = self.session
        while True:
            try:
                begin = await session.transactions.turn_of_pipeline()
            except ProgrammingError as error:
                # Of a two-phase transaction that is not open.
                self._refuse(self._queued.popleft(), error)
                return
            request, data, refusal = self._compose(begin)
            if request.items:
                await session.wire.run(request, data)
                if await self._may_repeat(request):
                    self._queued.extendleft(reversed(self._sending))
                    self._sending = []
                    continue
                self._end_segment(request)
            if refusal is not None:
                self._refuse(self._sending[-1], refusal)
            self._sending = []
            if session.settle is not None:
                await session.settle()
            return

    def _compose(self, begin: bytes | None) -> tuple[SegmentRequest, bytearray, Error | None]:
        """Return a segment and its bytes, with the error of the statement behind it, if that cannot be sent."""
        session = self.session
        composer = session.composer
        closing = composer.statements.closing[:]
        data = bytearray()
        request = composer.begin_segment(data, begin)
        cut = begin is not None or session.wire.protocol.expects_transaction()
        refusal: Error | None = None
        self._size = 0
        while self._queued:
            item = self._queued[0]
            self._sending.append(item)  # first, so that it has an outcome whatever interrupts
            self._queued.popleft()
            if item.done:
                continue
            try:
                composer.add_to_segment(request, data, item)
            except Error as error:
                refusal = error
                break
            if item.ends or cut and len(data) > SEGMENT_BYTES:
                break
        if not request.items:
            composer.statements.closing += closing  # for the next one
        data += frontend.SYNC
        return request, data, refusal

    async def _may_repeat(self, request: SegmentRequest) -> bool:
        """Return whether a segment is to be sent again: nothing of it is left, and its failure is not the user's."""
        failed = request.failed_item()
        if failed is None or request.error is None or self.session.closed:
            return False
        request.reused, request.foreseen = failed.reused, failed.foreseen
        # One may have begun a transaction that is there still.
        undone = request.after_begin or self.session.wire.protocol.transaction_status is TransactionStatus.IDLE
        if undone and all(is_repeatable(item.statement.sql) for item in request.items):
            return await may_repeat(self.session, request, failed.statement)
        forget_if_stale(self.session, request, failed.statement)
        return False

    def _end_segment(self, request: SegmentRequest) -> None:
        """Give the statements of a segment their outcomes."""
        session = self.session
        failed = request.failed_item()
        if request.parameters is None:
            request.parameters = session.wire.protocol.parameters  # it was lost
        if failed is None and request.error is None:
            request.distribute(None)
        else:
            failure = failure_of(request, None, session.composer.statements)
            if failed is not None:
                failure = session.explained(failure, failed.statement, failed.tx.encoding)
            request.distribute(failure, lost=session.closed)
            self._failure, self._failed = failure, failed
            self._whole = failed is None
            self._skipped = [item for item in request.items if item.error is not None and item is not failed]
            del self._skipped[MOST_SKIPPED:]
        for item in request.items:
            if item.foreseen and item.error is not None:
                session.composer.forget(item.statement.key)
            item.statement = SENT

    def _refuse(self, item: Queued, refusal: Error) -> None:
        """Have a statement fail that was not sent."""
        if self._failure is None:
            item.fail(refusal)
            self._failure, self._failed = refusal, item
        else:
            item.fail(skipped(item, self._failure))
            self._skipped.append(item)

    def _skip_queued(self) -> None:
        while self._queued:
            item = self._queued.popleft()
            item.fail(skipped(item, self._failure))
            item.statement = SENT
            if len(self._skipped) < MOST_SKIPPED:
                self._skipped.append(item)
        self._size = 0

    def _end_sending(self) -> None:
        """See to it that what was sent has an outcome, whatever has ended that, and let others send."""
        lost = [item for item in self._sending if not item.done]
        self._sending = []
        for item in lost:
            item.fail(not_received("the task that had sent it was cancelled or interrupted"))
        if lost:
            # Who has cancelled it knows.
            self._failure, self._failed, self._whole = lost[0].error, None, False
        self._runner = None
        for waiter in self._waiters:
            waiter.set()

    # -- errors

    def _forget_failure(self) -> None:
        self._failure = self._failed = None
        self._whole = False
        self._skipped = []

    def _raise_whole(self) -> None:
        """Raise the error that a segment has ended in behind its last statement, if nobody has seen it."""
        if self._whole and self._failure is not None:
            self._whole = False
            raise self._failure.with_traceback(None)

    def _raise_untold(self) -> None:
        """Raise the first error that nobody has seen; it tells of the others as well."""
        self._raise_whole()
        untold = [item for item in (self._failed, *self._skipped) if item is not None and not item.told]
        for item in untold:
            item.told = True
        for item in untold:
            item.raise_error()


def aborted(failure: Exception) -> PipelineAborted:
    """Return the error for what cannot be done behind an error in the pipeline."""
    error = PipelineAborted(
        f"the pipeline is aborted, as a statement in it has failed: {str(failure).partition(chr(10))[0]}. Call sync() "
        "on the pipeline to go on behind an error"
    )
    error.__cause__ = failure
    return error
