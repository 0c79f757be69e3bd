"""Pipeline: a block whose statements are queued and sent together, in synchronous code.

Knows the asynchronous block and how to call it. Must not know how a statement is sent.
"""

from __future__ import annotations

from threading import get_ident
from types import TracebackType
from typing import Generic

from typing_extensions import Self

from ..pipeline import AsyncPipeline
from ..pq import PipelineStatus
from ..session.info import described
from ..session.pipeline import PipelineQueue
from .calls import ConnectionT


class Pipeline(Generic[ConnectionT]):
    """A block, made by :meth:`Connection.pipeline`, in which ``execute()`` does not wait for the server.

    Statements that the thread executes in it are queued, and sent together when a result is fetched, at :meth:`sync`,
    or at the end of the block. It is for the thread that enters it: what others execute on the connection meanwhile
    goes on as usual. A block inside another one of the same thread goes on with its pipeline; the object may be entered
    again for that, and by other threads, too, for blocks of their own.

    Leaving the block sends what is left, also behind an exception; behind Ctrl-C that is dropped.
    """

    def __init__(self, connection: ConnectionT) -> None:
        self._conn = connection
        self._calls = connection.calls
        self._async = AsyncPipeline(connection.inner)
        self._outer: PipelineQueue | None = None
        self._again: list[tuple[int, Pipeline[ConnectionT]]] = []  # thread and block, if it was entered again

    @classmethod
    def is_supported(cls) -> bool:
        """Return True: a pipeline needs nothing but the protocol."""
        return True

    @property
    def status(self) -> PipelineStatus:
        """ON; ABORTED behind an error, until the next sync; OFF outside of the block."""
        return self._async.status

    def __repr__(self) -> str:
        return described(self, self._conn.inner.info.summary())

    def sync(self) -> None:
        """Send what is queued and wait for it; behind an error, go on.

        :raises Error: the first error of a statement that was not raised yet, where its result was fetched.
        :raises InterfaceError: the block is not entered.

        In autocommit mode this ends the transaction of the statements. An interruption cancels those that have been
        sent; what has not been stays queued.
        """
        self._calls.drive(self._async.sync)

    def __enter__(self) -> Self:
        if self._async.entered:
            again = Pipeline(self._conn)
            again.__enter__()
            self._again.append((get_ident(), again))
            return self
        own = self._calls.own
        try:
            self._outer = own.current_pipeline()
            self._calls.drive(self._async.__aenter__)
            own.pipeline = self._async.queue
            return self
        except Exception:
            raise
        except BaseException as error:
            # Ctrl-C, but too late to keep the block from being entered: nobody will leave it.
            self._make_sure(error)
            raise

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        again = self._take_again()
        if again is not None:
            again.__exit__(exc_type, exc_val, exc_tb)
            return
        try:
            try:
                if not self._calls.ended:
                    self._calls.drive(self._async.__aexit__, exc_type, exc_val, exc_tb)
                elif exc_val is None and self._async.has_queued:
                    self._calls.check_open()
            finally:
                self._leave()
        except Exception:
            raise
        except BaseException as error:
            # Ctrl-C, perhaps before it could be left.
            self._make_sure(error)
            raise

    def _take_again(self) -> Pipeline[ConnectionT] | None:
        """Take the block that this thread has entered last of those that were entered again; None for none."""
        for number in reversed(range(len(self._again))):
            if self._again[number][0] == get_ident():
                return self._again.pop(number)[1]
        return None

    def _leave(self) -> None:
        own = self._calls.own
        if own.pipeline is self._async.queue:
            own.pipeline = self._outer
        if self._calls.ended:
            self._async.leave()

    def _make_sure(self, error: BaseException) -> None:
        self._leave()
        if self._async.entered:
            self._calls.drive_unless_ended(self._async.__aexit__, type(error), error, None)
