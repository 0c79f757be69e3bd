"""Statements that a pool executes without a client's having a connection, for tasks and for threads.

Knows how they are called. Must not know how they get to a server: that is `multiplex`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

from typing_extensions import TypeVar

from ..abc import Params, Query
from ..connection import GRACE_PERIOD
from ..cursor import AsyncCursor
from ..rows import AsyncRowFactory, RowFactory
from ..sync.cursor import Cursor
from ..sync.portal import Portal
from .batches import Batch
from .multiplex import Multiplexer
from .results import result_class

R = TypeVar("R", default=Any)
"""Rows, of which a type checker knows what a factory that is given makes."""


class StatementsOfTasks:
    """The methods of a pool for tasks."""

    multiplexer: Multiplexer
    """For this package: what sends them."""

    async def execute(
        self,
        query: Query,
        params: Params | None = None,
        *,
        prepare: bool | None = None,
        binary: bool = False,
        row_factory: AsyncRowFactory[R] | None = None,
        timeout: float | None = None,
    ) -> AsyncCursor[R]:
        """Execute one statement, which is a transaction of its own, without having a connection.

        Statements of many tasks share few connections, pipelined, and cost a fraction of what a connection for each of
        them would. One that takes long does not keep the others waiting.

        :param prepare: see :meth:`AsyncCursor.execute`; so for `binary`.
        :param row_factory: makes the rows; by default that of the connections.
        :param timeout: seconds to wait for a connection; by default the pool's.
        :return: a cursor with the result, all of which has arrived.
        :raises ProgrammingError: several statements, or one that needs a session: SET, LISTEN, BEGIN, COPY, temporary
            tables, advisory locks, named cursors. Use :meth:`connection` for them.
        :raises PoolTimeout: there was no connection in time; see :meth:`connection` for others.
        :raises Error: what the server says.

        A cancellation cancels this statement, and none of the others. If a connection is lost, what had not been begun
        there is sent again; otherwise it is not known whether the statement took effect.
        """
        cursor: AsyncCursor[R] = await self.multiplexer.execute(
            query, params, prepare=prepare, binary=binary, row_factory=row_factory, timeout=timeout
        )
        return cursor

    async def executemany(
        self,
        query: Query,
        params_seq: Iterable[Params],
        *,
        returning: bool = False,
        row_factory: AsyncRowFactory[R] | None = None,
        timeout: float | None = None,
    ) -> AsyncCursor[R]:
        """Execute one statement for each set of parameters, all in one transaction, without having a connection.

        All sets take effect or none does, as with :meth:`AsyncCursor.executemany` in autocommit mode.

        :param params_seq: the sets of parameters. A few are sent on a connection that others use, too; with more than
            100 sets or 32,000 bytes it has one of its own, and a generator is consumed as they are sent.
        :param returning: keep the results, one for each set: see :meth:`AsyncCursor.results` and `nextset()`.
        :param row_factory: makes the rows; by default that of the connections.
        :param timeout: seconds to wait for a connection; by default the pool's.
        :return: a cursor with the results, all of which have arrived; its ``rowcount`` is the sum over all sets.
        :raises ProgrammingError: a statement that needs a session, as for :meth:`execute`.
        :raises Error: at the first set that fails; nothing has taken effect then, unless the statement itself commits.

        A cancellation cancels all of them; whether they took effect is not known then. So it is if the connection is
        lost; where none had been begun they are sent again, unless they came from a generator that was consumed.
        """
        cursor: AsyncCursor[R] = await self.multiplexer.execute(
            query, Batch(params_seq, returning), row_factory=row_factory, timeout=timeout
        )
        return cursor


class StatementsOfThreads(ABC):
    """The same of a pool for threads."""

    connection: Any
    _inner: Any

    @abstractmethod
    def opened(self) -> Portal:
        """For this package: return the way into the event loop."""

    def execute(
        self,
        query: Query,
        params: Params | None = None,
        *,
        prepare: bool | None = None,
        binary: bool = False,
        row_factory: RowFactory[R] | None = None,
        timeout: float | None = None,
    ) -> Cursor[R]:
        """Execute one statement, which is a transaction of its own, without having a connection.

        Statements of many threads share few connections, pipelined; see :meth:`AsyncConnectionPool.execute`.

        :return: a cursor with the result, all of which has arrived.
        """
        cursor: Cursor[R] = self.opened().call(
            GRACE_PERIOD,
            self._inner.multiplexer.execute,
            query,
            params,
            prepare=prepare,
            binary=binary,
            row_factory=row_factory,
            timeout=timeout,
        )
        return cursor

    def executemany(
        self,
        query: Query,
        params_seq: Iterable[Params],
        *,
        returning: bool = False,
        row_factory: RowFactory[R] | None = None,
        timeout: float | None = None,
    ) -> Cursor[R]:
        """Execute one statement for each set of parameters, all in one transaction, without having a connection.

        See :meth:`AsyncConnectionPool.executemany`.

        :param params_seq: the sets of parameters; a generator runs in this thread.
        :return: a cursor with the results, all of which have arrived; its ``rowcount`` is the sum over all sets.
        """
        multiplexer: Multiplexer = self._inner.multiplexer
        batch = Batch(params_seq, returning)
        if batch.is_long and not batch.is_repeatable:
            # A generator is consumed in this thread, as the sets are sent: so the connection is this thread's, too.
            multiplexer.check(query, "executemany")
            multiplexer.count_alone()
            with self.connection(timeout) as connection:
                connection.autocommit = True
                cursor: Any = result_class(connection.cursor_factory)(connection, row_factory=row_factory)
                cursor.run_many(query, batch.sets, returning=returning)
        else:
            cursor = self.opened().call(
                GRACE_PERIOD, multiplexer.execute, query, batch, row_factory=row_factory, timeout=timeout
            )
        result: Cursor[Any] = cursor
        return result
