"""AsyncPipeline: a block whose statements are queued and sent together.

Knows blocks and the task that enters them. Must not know how a statement is sent.
"""

from __future__ import annotations

import logging
from types import TracebackType
from typing import Any, Generic, Protocol

from typing_extensions import Self, TypeVar

from .backends import uninterrupted
from .errors import InterfaceError
from .pq import PipelineStatus
from .session.info import ConnectionInfo, described
from .session.pipeline import PipelineQueue, own_pipeline
from .session.session import Session

logger = logging.getLogger("anyq")


class PipelineOwner(Protocol):
    """What a pipeline asks of the connection that made it."""

    @property
    def session(self) -> Session: ...

    @property
    def info(self) -> ConnectionInfo: ...


ConnectionT = TypeVar("ConnectionT", bound=PipelineOwner, default=Any)


@uninterrupted
class AsyncPipeline(Generic[ConnectionT]):
    """A block, made by :meth:`AsyncConnection.pipeline`, in which ``execute()`` does not wait for the server.

    Statements that the task executes in it are queued, and sent together when a result is fetched, at :meth:`sync`, or
    at the end of the block. It is for the task that enters it: what others execute on the connection meanwhile goes on
    as usual. A block inside another one of the same task goes on with its pipeline; the object may be entered again for
    that, and by other tasks, too, for blocks of their own.

    Leaving the block sends what is left, also behind an exception; behind a cancellation that is dropped.
    """

    def __init__(self, connection: ConnectionT) -> None:
        self._conn = connection
        self._session = connection.session
        self._task: object = None
        self.entered = False
        """For this package: whether the block is entered."""
        self.queue: PipelineQueue | None = None
        """For this package: the statements."""
        self._again: list[tuple[object, AsyncPipeline[ConnectionT]]] = []  # task and block, if it was entered again

    @classmethod
    def is_supported(cls) -> bool:
        """Return True: a pipeline needs nothing but the protocol."""
        return True

    @property
    def status(self) -> PipelineStatus:
        """ON; ABORTED behind an error, until the next sync; OFF outside of the block."""
        return self.queue.status if self.queue is not None and self.entered else PipelineStatus.OFF

    def __repr__(self) -> str:
        return described(self, self._conn.info.summary())

    async def sync(self) -> None:
        """Send what is queued and wait for it; behind an error, go on.

        :raises Error: the first error of a statement that was not raised yet, where its result was fetched.
        :raises InterfaceError: the block is not entered.

        In autocommit mode this ends the transaction of the statements. A cancellation cancels those that have been
        sent; what has not been stays queued.
        """
        if self.queue is None or not self.entered:
            raise InterfaceError("the pipeline is not entered: enter its block, and call sync() inside")
        await self.queue.sync()

    async def __aenter__(self) -> Self:
        if self.entered:
            again = AsyncPipeline(self._conn)
            await again.__aenter__()
            self._again.append((self._session.wire.backend.current_task(), again))
            return self
        session = self._session
        session.check_open()
        queue = own_pipeline(session)
        if queue is None:
            await session.wire.backend.checkpoint()
            queue = PipelineQueue(session, self)
        else:
            await queue.sync()
        try:
            self.queue = queue
            self._task = session.wire.backend.current_task()
            self.entered = True
            queue.level += 1
            session.transactions.pipelines[self._task] = queue
            return self
        except BaseException:
            self.leave()
            raise

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        again = self._take_again()
        if again is not None:
            await again.__aexit__(exc_type, exc_val, exc_tb)
            return
        queue = self.queue
        if queue is None or not self.entered:
            return
        try:
            if exc_val is None:
                await queue.sync_at_end()
            elif isinstance(exc_val, Exception):
                # What was executed before the exception takes effect, as it does without a pipeline.
                error = await queue.settle()
                if error is not None:
                    logger.warning("error ignored at the end of %r: %s", self, error)
        finally:
            self.leave()

    def _take_again(self) -> AsyncPipeline[ConnectionT] | None:
        """Take the block that this task has entered last of those that were entered again; None for none."""
        if self._again:
            task = self._session.wire.backend.current_task()
            for number in reversed(range(len(self._again))):
                if self._again[number][0] is task:
                    return self._again.pop(number)[1]
        return None

    @property
    def has_queued(self) -> bool:
        """For this package: whether there are statements that have not been sent."""
        return self.queue is not None and self.queue.has_queued

    def leave(self) -> None:
        """For this package: leave the block without sending anything."""
        queue = self.queue
        if queue is None or not self.entered:
            return
        self.entered = False
        queue.level -= 1
        queue.drop("its pipeline block was left by a cancellation, and it had not been sent")
        if not queue.level:
            self._session.transactions.pipelines.pop(self._task, None)
