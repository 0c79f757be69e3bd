"""AsyncAnyqDialect: PEP 249's synchronous interface on asynchronous connections, as SQLAlchemy wants it.

SQLAlchemy runs its own, synchronous code in greenlets: what has to be awaited is handed to the task that a greenlet
belongs to. Knows that. Must not know event loops, nor what a statement says.
"""

# SQLAlchemy has no types for dialects.
# pyright: basic

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from sqlalchemy.engine import URL, AdaptedConnection
from sqlalchemy.pool import AsyncAdaptedQueuePool
from sqlalchemy.util.concurrency import await_only

import anyq
from anyq.types import TypeInfo

from .dialect import CommonDialect

T = TypeVar("T")


def await_(awaitable: Awaitable[T]) -> T:
    """Have the task await something, and return what that gives; in a greenlet of SQLAlchemy's."""
    result: T = await_only(awaitable)
    return result


class AdaptedCursor:
    """A cursor whose rows are all there when its statement has been executed."""

    __slots__ = ("_cursor", "_rows")

    server_side = False
    lastrowid = None

    def __init__(self, cursor: anyq.AsyncCursor[Any]) -> None:
        self._cursor = cursor
        self._rows: deque[Any] = deque()

    @property
    def description(self) -> Any:
        """PEP 249's: of each column a sequence, whose first item is its name."""
        return self._cursor.description

    @property
    def rowcount(self) -> int:
        """How many rows the last statement has returned or affected; -1 if that is not known."""
        return self._cursor.rowcount

    @property
    def statusmessage(self) -> str | None:
        """The command tag of the last statement."""
        return self._cursor.statusmessage

    @property
    def arraysize(self) -> int:
        """How many rows ``fetchmany()`` returns by default."""
        return self._cursor.arraysize

    @arraysize.setter
    def arraysize(self, value: int) -> None:
        self._cursor.arraysize = value

    def execute(self, query: Any, params: Any = None) -> None:
        """Execute a statement, and take its rows."""
        self._rows.clear()
        await_(self._execute(query, params))

    async def _execute(self, query: Any, params: Any) -> None:
        await self._cursor.execute(query, params)
        await self._take_rows()

    def executemany(self, query: Any, params_seq: Iterable[Any]) -> None:
        """Execute a statement once for each set of parameters."""
        self._rows.clear()
        await_(self._cursor.executemany(query, params_seq))

    def nextset(self) -> bool | None:
        """Go to the result of the next statement; return None if there is none."""
        self._rows.clear()
        return await_(self._nextset())

    async def _nextset(self) -> bool | None:
        found = self._cursor.nextset()
        if found:
            await self._take_rows()
        return found

    async def _take_rows(self) -> None:
        if self._cursor.description is not None:
            self._rows.extend(await self._cursor.fetchall())

    def fetchone(self) -> Any:
        """Return the next row, None after the last one."""
        return self._rows.popleft() if self._rows else None

    def fetchmany(self, size: int | None = None) -> Sequence[Any]:
        """Return the next rows, as many as are wanted or left."""
        count = min(self.arraysize if size is None else size, len(self._rows))
        return [self._rows.popleft() for _ in range(count)]

    def fetchall(self) -> Sequence[Any]:
        """Return all rows that are left."""
        rows = list(self._rows)
        self._rows.clear()
        return rows

    def __iter__(self) -> Iterator[Any]:
        while self._rows:
            yield self._rows.popleft()

    def setinputsizes(self, *sizes: Any) -> None:
        """Do nothing (PEP 249): sizes are not needed."""

    def setoutputsize(self, *sizes: Any) -> None:
        """Do nothing (PEP 249): sizes are not needed."""

    def close(self) -> None:
        """Forget the rows. The driver's cursor has nothing to do at its end, and what it says of the result stays."""
        self._rows.clear()

    async def _async_soft_close(self) -> None:
        """What SQLAlchemy calls before it hands on a result: rows that are there are to stay."""


class AdaptedServerCursor(AdaptedCursor):
    """A named cursor, whose rows stay on the server until they are fetched."""

    __slots__ = ()

    server_side = True

    @property
    def name(self) -> str:
        """The name that it has on the server."""
        named: Any = self._cursor
        return str(named.name)

    async def _take_rows(self) -> None:
        pass

    def fetchone(self) -> Any:
        """Fetch the next row, None after the last one."""
        return await_(self._cursor.fetchone())

    def fetchmany(self, size: int | None = None) -> Sequence[Any]:
        """Fetch the next rows, as many as are wanted or left."""
        return await_(self._cursor.fetchmany(self.arraysize if size is None else size))

    def fetchall(self) -> Sequence[Any]:
        """Fetch all rows that are left."""
        return await_(self._cursor.fetchall())

    def __iter__(self) -> Iterator[Any]:
        iterator = aiter(self._cursor)
        while True:
            try:
                yield await_(anext(iterator))
            except StopAsyncIteration:
                return

    def close(self) -> None:
        """Close it on the server."""
        await_(self._cursor.close())


class AdaptedAnyqConnection(AdaptedConnection):
    """A connection in an engine's pool. `driver_connection` is the :class:`anyq.AsyncConnection`."""

    __slots__ = ("dbapi",)

    def __init__(self, dbapi: AsyncModule, connection: anyq.AsyncConnection[Any]) -> None:
        self.dbapi = dbapi
        self._connection: anyq.AsyncConnection[Any] = connection  # type: ignore[misc]  # a slot of the base

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def cursor(self, name: str | None = None, **options: Any) -> AdaptedCursor:
        """Return a new cursor, with a name a server-side one."""
        if name is None:
            return AdaptedCursor(self._connection.cursor(**options))
        return AdaptedServerCursor(self._connection.cursor(name, **options))

    def execute(self, query: Any, params: Any = None) -> AdaptedCursor:
        """Execute a statement on a new cursor and return the cursor."""
        cursor = self.cursor()
        cursor.execute(query, params)
        return cursor

    def commit(self) -> None:
        """Commit the transaction."""
        await_(self._connection.commit())

    def rollback(self) -> None:
        """Roll the transaction back."""
        await_(self._connection.rollback())

    def close(self) -> None:
        """Close the connection."""
        await_(self._connection.close())

    def terminate(self) -> None:
        """Close the connection without waiting for anything: from anywhere, the garbage collector too."""
        wire = self._connection.session.wire
        if wire.backend.is_here() or not wire.backend.call_there(wire.close):
            wire.close()

    # -- transactions

    @property
    def autocommit(self) -> bool:
        """Whether each statement is a transaction of its own."""
        return self._connection.autocommit

    @autocommit.setter
    def autocommit(self, value: bool) -> None:
        await_(self._connection.set_autocommit(value))

    @property
    def isolation_level(self) -> anyq.IsolationLevel | None:
        """Of transactions begun from now on; None for the server's default, as for the others."""
        return self._connection.isolation_level

    @isolation_level.setter
    def isolation_level(self, value: anyq.IsolationLevel | None) -> None:
        await_(self._connection.set_isolation_level(value))

    @property
    def read_only(self) -> bool | None:
        """Whether transactions begun from now on may not write."""
        return self._connection.read_only

    @read_only.setter
    def read_only(self, value: bool | None) -> None:
        await_(self._connection.set_read_only(value))

    @property
    def deferrable(self) -> bool | None:
        """Whether serializable, read only transactions begun from now on wait until they cannot fail."""
        return self._connection.deferrable

    @deferrable.setter
    def deferrable(self, value: bool | None) -> None:
        await_(self._connection.set_deferrable(value))

    def tpc_begin(self, xid: anyq.Xid | str) -> None:
        """Begin a two-phase transaction."""
        await_(self._connection.tpc_begin(xid))

    def tpc_prepare(self) -> None:
        """Prepare the two-phase transaction."""
        await_(self._connection.tpc_prepare())

    def tpc_commit(self, xid: anyq.Xid | str | None = None) -> None:
        """Commit the two-phase transaction."""
        await_(self._connection.tpc_commit(xid))

    def tpc_rollback(self, xid: anyq.Xid | str | None = None) -> None:
        """Roll the two-phase transaction back."""
        await_(self._connection.tpc_rollback(xid))

    def tpc_recover(self) -> list[anyq.Xid]:
        """Return the names of all transactions that are prepared on the server."""
        return await_(self._connection.tpc_recover())


class AsyncModule:
    """What the dialect is given as PEP 249's module: ``anyq``, but for its ``connect()``."""

    driver = exceptions_module = anyq

    def __getattr__(self, name: str) -> Any:
        return getattr(anyq, name)

    def connect(self, *args: Any, **kwargs: Any) -> AdaptedAnyqConnection:
        """Connect to a server.

        :param kwargs: those of ``AsyncConnection.connect()``; and `async_creator_fn`, called with all others and
            awaited instead of it.
        """
        creator = kwargs.pop("async_creator_fn", anyq.AsyncConnection.connect)
        return await_(self._connect(creator, args, kwargs))

    async def _connect(self, creator: Any, args: Any, kwargs: Any) -> AdaptedAnyqConnection:
        return AdaptedAnyqConnection(self, await creator(*args, **kwargs))


class AsyncAnyqDialect(CommonDialect):
    """``postgresql+anyq``, as ``create_async_engine()`` uses it; ``postgresql+anyq_async`` is always this."""

    is_async = True
    has_terminate = True
    supports_statement_cache = True
    poolclass = AsyncAdaptedQueuePool

    @classmethod
    def import_dbapi(cls) -> Any:
        """Return what looks like a module, and has PEP 249's names."""
        return AsyncModule()

    @classmethod
    def get_async_dialect_cls(cls, url: URL) -> Any:
        """Return the class itself."""
        return cls

    def get_driver_connection(self, connection: Any) -> Any:
        """Return the connection that an adapted one is made of."""
        return connection.driver_connection

    def do_terminate(self, dbapi_connection: Any) -> None:
        """Close a connection without waiting for anything."""
        dbapi_connection.terminate()

    def _type_info_fetch(self, connection: Any, name: str) -> TypeInfo | None:
        driver_connection: anyq.AsyncConnection[Any] = connection.connection.driver_connection
        return await_(TypeInfo.fetch(driver_connection, name))
