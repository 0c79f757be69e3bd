"""In a portal: the asynchronous pool inside of one for threads, whose clients are given synchronous connections.

Knows what it does otherwise: the user's functions are called in worker threads. Must not know who calls it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import ref

import anyio
import anyio.to_thread

from ..connection import AsyncConnection
from ..sync.connection import Connection
from ..sync.portal import Portal
from .options import Callback, Hooks, Options, called, check_connections, with_tracer
from .pool import AsyncConnectionPool
from .results import result_class


def check_connection(conn: Connection[Any]) -> None:
    """Ask the server for a sign of life, without beginning a transaction; for the argument `check`.

    :raises OperationalError: the connection is lost.
    """
    check_connections(conn, Connection)
    conn.calls.call(Hooks.check, conn.inner)


class SyncHooks(Hooks):
    """What a pool does whose clients are given synchronous connections."""

    base = Connection
    opening = "use it in 'with', or call its open()"
    taking = "'with pool.connection()'"
    portal: Portal
    """Where the connections are; set before the pool is used."""
    reachable = True
    """Whether the portal is the caller's, whose tasks may get hold of the connections."""
    owner: ref[Any]
    """The pool that threads hold."""
    let_go: Callable[[], None] | None = None
    """What to do when a closed pool has all its connections back."""

    def inner(self, connection: Any) -> AsyncConnection[Any]:
        inner: AsyncConnection[Any] = connection.inner
        return inner

    async def call(self, callback: Callback, argument: Any) -> None:
        """Call a function of the user's in a worker thread, where it can use the connection."""
        if callback in (Hooks.check, check_connection):
            await Hooks.check(self.inner(argument))
            return
        if isinstance(argument, AsyncConnectionPool):
            argument = self.owner()
        try:
            await anyio.to_thread.run_sync(called, callback, argument, abandon_on_cancel=True)
        except anyio.get_cancelled_exc_class():
            if isinstance(argument, Connection):
                # The thread goes on with it.
                self.inner(argument).session.wire.close()
            raise

    async def connect(self, options: Options) -> Any:
        conninfo, kwargs = await self.value(options.conninfo), await self.value(options.kwargs)
        kwargs = dict(with_tracer(kwargs or {}, options))
        row_factory, cursor_factory = kwargs.pop("row_factory", None), kwargs.pop("cursor_factory", None)
        inner = await AsyncConnection.connect(conninfo, **kwargs)
        try:
            facade = self.connection_class.on_portal(inner, self.portal, cursor_factory, reachable=self.reachable)
            facade.calls.pause()  # it is the pool's
            if row_factory is not None:
                facade.row_factory = row_factory
        except BaseException:
            inner.session.wire.close()
            raise
        return facade

    async def value(self, value: Any) -> Any:
        return await anyio.to_thread.run_sync(called, value, abandon_on_cancel=True) if callable(value) else value

    def result(self, connection: Any, row_factory: Any) -> tuple[Any, Any]:
        cursor: Any = result_class(connection.cursor_factory)(connection, row_factory=row_factory)
        return cursor, cursor.async_cursor

    def returned(self, connection: Any) -> None:
        # What follows is done by tasks of the loop, and in no call of the connection's.
        connection.calls.pause()

    def emptied(self) -> None:
        let_go, self.let_go = self.let_go, None
        if let_go is not None:
            let_go()


class PoolInPortal(AsyncConnectionPool[Any]):
    """The pool inside of a synchronous one."""

    hooks_class = SyncHooks


class NullPoolInPortal(PoolInPortal):
    """The same that keeps no connections."""

    keeps_idle = False
    default_min_size = 0
