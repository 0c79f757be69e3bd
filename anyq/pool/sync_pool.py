"""ConnectionPool: a pool for threads, which is an asynchronous one in the event loop of a portal.

Knows the asynchronous pool (`in_portal`) and how to call it. Must not know how connections are kept or lent.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Any, Generic, cast
from weakref import WeakSet, ref

from anyio.from_thread import BlockingPortal
from typing_extensions import Self, TypeVar

from ..backends import Finalizer
from ..connection import GRACE_PERIOD
from ..errors import ProgrammingError
from ..errors.arguments import check_seconds
from ..rows import TupleRow
from ..session.transactions import IsolationLevel
from ..sync.closing import Closing
from ..sync.connection import Connection
from ..sync.direct import is_wanted
from ..sync.portal import Portal
from ..sync.shared_portal import leave_portal, open_portal
from ..tracing import Tracer
from .in_portal import NullPoolInPortal, PoolInPortal, SyncHooks, check_connection
from .retrying import SyncPoolTransaction
from .statements import StatementsOfThreads

ConnectionT = TypeVar("ConnectionT", bound=Connection[Any], default=Connection[TupleRow])


class Lent(Generic[ConnectionT]):
    """A block that has a connection of a pool; made by :meth:`ConnectionPool.connection`."""

    __slots__ = ("_connection", "_pool", "_timeout", "_turn")

    def __init__(self, pool: ConnectionPool[ConnectionT], timeout: float | None) -> None:
        self._pool = pool
        self._timeout = timeout
        self._connection: ConnectionT | None = None

    def __enter__(self) -> ConnectionT:
        if self._connection is not None:
            raise ProgrammingError("the block was entered already; make a new one with pool.connection()")
        self._connection = connection = self._pool.getconn(self._timeout)
        self._turn = self._pool.turn_of(connection)
        return connection

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._pool.end_lending(connection, self._turn, exc_val)


class ConnectionPool(StatementsOfThreads, Closing, Generic[ConnectionT]):
    """Connections that are kept, and lent to one client at a time; any number of threads may use it.

    Its tasks run in the event loop of a portal: they keep `min_size` connections, replace what was lost and close what
    is not needed. A process that was forked from one that has a pool has an empty one, of its own.

    :param connection_class: :class:`Connection`, or a subclass.
    :param open: False not to open it at once; :meth:`open` and its ``with`` block do. Either way it is to be closed.
    :param configure: called with each new connection, in a worker thread; so for `check`, `reset` and
        `reconnect_failed`.
    :param portal: the event loop to work in, by default that of the portal that the process shares.
    :raises TypeError: an argument of another type.
    :raises ValueError: wrong numbers.

    The others are those of :class:`AsyncConnectionPool`.
    """

    _inner_class: type[PoolInPortal] = PoolInPortal
    _inner: PoolInPortal

    def __init__(
        self,
        conninfo: str | Callable[[], str] = "",
        *,
        connection_class: type[ConnectionT] = Connection,  # type: ignore[assignment]
        kwargs: dict[str, Any] | Callable[[], dict[str, Any]] | None = None,
        min_size: int | None = None,
        max_size: int | None = None,
        open: bool | None = None,
        configure: Callable[[ConnectionT], Any] | None = None,
        check: Callable[[ConnectionT], Any] | None = None,
        reset: Callable[[ConnectionT], Any] | None = None,
        name: str | None = None,
        close_returns: bool = False,
        timeout: float = 30.0,
        max_waiting: int = 0,
        max_lifetime: float = 60 * 60.0,
        max_idle: float = 10 * 60.0,
        reconnect_timeout: float = 5 * 60.0,
        reconnect_failed: Callable[[Any], Any] | None = None,
        num_workers: int = 3,
        tracer: Tracer | None = None,
        portal: BlockingPortal | None = None,
    ) -> None:
        self._make = partial(
            self._inner_class,
            conninfo,
            connection_class=connection_class,
            kwargs=kwargs,
            min_size=min_size,
            max_size=max_size,
            configure=configure,
            check=check,
            reset=reset,
            name=name,
            close_returns=close_returns,
            timeout=timeout,
            max_waiting=max_waiting,
            max_lifetime=max_lifetime,
            max_idle=max_idle,
            reconnect_timeout=reconnect_timeout,
            reconnect_failed=reconnect_failed,
            num_workers=num_workers,
            tracer=tracer,
        )
        self._blocking = portal
        self._begin_anew()
        _pools.add(self)
        if open is None or open:
            self.open()

    def _begin_anew(self) -> None:
        # One that can be entered twice: Ctrl-C may come as it is left, and before that is done.
        self._lock = threading.RLock()
        self._user = object()  # what the portal knows this by
        self._inner = inner = self._make()
        self._portal: Portal | None = None
        self._ended = threading.Event()
        self._if_dropped: Finalizer | None = None
        self._reopens = False
        hooks = cast(SyncHooks, inner.hooks)
        hooks.owner = ref(self)
        hooks.reachable = self._blocking is not None
        self._hooks = hooks

    def after_fork(self) -> None:
        """For this package: be another pool, in a process that was forked; the connections are the parent's."""
        was_open = not self._inner.closed
        if self._if_dropped is not None:
            self._if_dropped.call_off()
        self._begin_anew()
        self._reopens = was_open

    def __repr__(self) -> str:
        return (
            repr(self._inner)
            .replace(type(self._inner).__qualname__, type(self).__qualname__)
            .replace(type(self._inner).__module__, type(self).__module__)
        )

    # -- what it is

    @property
    def name(self) -> str:
        """What the pool is called in the log and in errors."""
        return self._inner.name

    @property
    def conninfo(self) -> Any:
        """The connection string, or the function that returns it."""
        return self._inner.conninfo

    @property
    def kwargs(self) -> Any:
        """The arguments of ``connect()``, or the function that returns them."""
        return self._inner.kwargs

    @property
    def min_size(self) -> int:
        """How many connections are kept."""
        return self._inner.min_size

    @property
    def max_size(self) -> int:
        """How many connections there may be; 0 for any number."""
        return self._inner.max_size

    @property
    def timeout(self) -> float:
        """Seconds that a client waits for a connection by default."""
        return self._inner.timeout

    @property
    def max_waiting(self) -> int:
        """How many clients may wait at the same time; 0 for any number."""
        return self._inner.max_waiting

    @property
    def max_idle(self) -> float:
        """Seconds after which a connection beyond :attr:`min_size` is closed that nobody has used."""
        return self._inner.max_idle

    @property
    def max_lifetime(self) -> float:
        """Seconds after which a connection is closed and replaced."""
        return self._inner.max_lifetime

    @property
    def reconnect_timeout(self) -> float:
        """Seconds for which it is tried to reach a server."""
        return self._inner.reconnect_timeout

    @property
    def close_returns(self) -> bool:
        """Whether ``close()`` of a connection gives it back instead."""
        return self._inner.close_returns

    @property
    def num_workers(self) -> int:
        """What was given; it has no effect."""
        return self._inner.num_workers

    @property
    def closed(self) -> bool:
        """Whether no connection can be had of it: it is not open yet, or was closed."""
        return self._inner.closed and not self._reopens

    # -- opening and closing

    def __enter__(self) -> Self:
        if self.closed:
            self.open()
        return self

    def open(self, wait: bool = False, timeout: float = 30.0) -> None:
        """Open the pool, and have its tasks run.

        :param wait: whether to wait until `min_size` connections are open, as :meth:`wait` does.
        :raises PoolClosed: it was closed, and cannot be opened again.
        """
        with self._lock:
            if self._inner.closed:
                self._open()
        if wait:
            self.wait(timeout)

    def _open(self) -> None:
        is_wanted()  # raises here what there is to raise, and not at each attempt to open a connection
        inner, user = self._inner, self._user
        portal: Portal | None = None
        try:
            portal = self._hooks.portal = open_portal(self._blocking, user)
            portal.call(GRACE_PERIOD, inner.open)
            portal.spawn(_hold, inner, self._ended)
            self._if_dropped = Finalizer(self, _forgotten, portal, user, inner, f"the pool {inner.name!r}")
            self._portal = portal
            self._reopens = False
        except BaseException:
            if portal is not None:
                # Interrupted: what it has begun has to end, for which the portal waits.
                self._end(portal)
            leave_portal(self._blocking, user)
            raise

    def close(self, timeout: float = 5.0) -> None:
        """Close the pool: those who wait are told, idle connections are closed, and each other one when it is returned.

        :param timeout: seconds to wait for the end of what the pool does itself, at most.
        """
        check_seconds(timeout=timeout)
        with self._lock:
            portal: Portal | None = None
            try:
                portal, self._portal = self._portal, None
                if portal is not None:
                    self._close(portal, timeout)
            except BaseException:
                if portal is not None:
                    # Interrupted: the rest of it happens by itself.
                    self._hooks.let_go = partial(portal.forget, self._user)
                    self._end(portal)
                raise

    def _close(self, portal: Portal, timeout: float) -> None:
        if self._if_dropped is not None:
            self._if_dropped.call_off()
        portal.call(GRACE_PERIOD, self._inner.close)
        self._ended.wait(timeout)
        self._leave(portal)

    def _end(self, portal: Portal) -> None:
        """Have the pool closed if it is open, without waiting."""
        self._portal = None
        if self._if_dropped is not None:
            self._if_dropped.call_off()
        portal.post(partial(_end_if_open, self._inner))

    def _leave(self, portal: Portal) -> None:
        """Need the portal no more, as soon as no thread has a connection."""
        books = self._inner.books
        if books.out or books.busy:
            self._hooks.let_go = partial(portal.forget, self._user)
            portal.post(self._inner.engine.settle_from_outside)
        else:
            portal.release(self._user)

    def opened(self) -> Portal:
        """For this package: return the way into the pool's event loop.

        :raises PoolClosed: it is not open.
        """
        if self._reopens:
            self.open()
        portal = self._portal
        if portal is None:
            raise self._inner.engine.not_open()
        return portal

    def wait(self, timeout: float = 30.0) -> None:
        """Wait until `min_size` connections are open.

        :raises PoolTimeout: they are not in time; the pool is closed then.
        :raises PoolClosed: the pool is not open, or was closed meanwhile.
        """
        portal = self.opened()
        try:
            portal.call(GRACE_PERIOD, self._inner.wait, timeout)
        except BaseException:
            if self._inner.closed:
                self.close()
            raise

    # -- clients

    def connection(self, timeout: float | None = None) -> Lent[ConnectionT]:
        """Return a block, to be entered by ``with``, that has a connection of the pool.

        Leaving it commits, or on an exception rolls back, and gives the connection back.

        :param timeout: seconds to wait for one; by default the pool's.
        :raises PoolTimeout: there was none in time.
        :raises PoolClosed: the pool is not open, or was closed meanwhile.
        :raises TooManyRequests: `max_waiting` others wait already.
        """
        return Lent(self, timeout)

    def getconn(self, timeout: float | None = None) -> ConnectionT:
        """Return a connection of the pool, to be given back by :meth:`putconn`; see :meth:`connection`."""
        portal, inner = self.opened(), self._inner
        got: list[ConnectionT] = []

        async def get() -> None:
            got.append(await inner.getconn(timeout))
            got[0].calls.resume()  # it is this thread's, and no task's

        try:
            portal.call(GRACE_PERIOD, get)
            return got.pop()  # the portal may keep the list until it is called again
        except BaseException:
            # Ctrl-C may come when it was given already.
            for connection in got:
                connection.calls.post(partial(inner.lender.take_back_unused, connection))
            raise

    def putconn(self, conn: ConnectionT) -> None:
        """Give a connection back.

        What is left on it is dealt with as :meth:`AsyncConnectionPool.putconn` says.

        :raises ValueError: it is none of this pool, or was given back already.
        """
        if not _portal_of(conn).inherited:
            self._return(conn, self.turn_of(conn), self._inner.putconn, conn)

    def turn_of(self, connection: ConnectionT) -> int:
        """For this package: return which turn of lending a connection is in."""
        return self._inner.lender.turn_of(connection)

    def end_lending(self, connection: ConnectionT, turn: int, exc: BaseException | None) -> None:
        """For this package: end the block of a client."""
        if not _portal_of(connection).inherited:
            self._return(connection, turn, self._inner.lender.end, connection, turn, exc)

    def _return(self, connection: ConnectionT, turn: int, func: Any, *args: object) -> None:
        lender, calls = self._inner.lender, connection.calls
        try:
            calls.call_always(func, *args)
        except Exception:
            raise
        except BaseException:
            # Ctrl-C may have come before that was begun.
            calls.post(partial(lender.close_lent, connection, turn))
            raise

    def transaction(
        self,
        *,
        isolation_level: IsolationLevel | None = None,
        read_only: bool | None = None,
        deferrable: bool | None = None,
        timeout: float | None = None,
    ) -> SyncPoolTransaction[ConnectionT]:
        """Return a block, to be entered by ``with``, that has a connection in a transaction.

        :param isolation_level: of the transaction, as `read_only` and `deferrable`; by default the connection's.
        :param timeout: seconds to wait for a connection; see :meth:`connection`, also for what is raised.

        For transactions that may have to be run again there is :func:`run_transaction`.
        """
        return SyncPoolTransaction(self.connection(timeout), isolation_level, read_only, deferrable)

    # -- at any time

    def check(self) -> None:
        """Look whether each idle connection can be used, by :meth:`check_connection`, and close those that cannot."""
        self.opened().call(GRACE_PERIOD, self._inner.check)

    check_connection = staticmethod(check_connection)

    def resize(self, min_size: int, max_size: int | None = None) -> None:
        """Change the sizes; connections that are too many are closed when they are idle.

        :param max_size: by default `min_size`.
        :raises ValueError: they cannot be.
        """
        self.opened().call(GRACE_PERIOD, self._inner.resize, min_size, max_size)

    def drain(self) -> None:
        """Have every connection that there is closed: at once if it is idle, otherwise when it is returned."""
        self.opened().call(GRACE_PERIOD, self._inner.drain)

    def get_stats(self) -> dict[str, int]:
        """Return what the pool has counted, under psycopg_pool's names; times are in milliseconds."""
        return self._inner.get_stats()

    def pop_stats(self) -> dict[str, int]:
        """Do the same, and count from zero again."""
        return self._inner.pop_stats()


class NullConnectionPool(ConnectionPool[ConnectionT]):
    """A pool that keeps no connections: each is closed when it is returned, unless somebody waits for it.

    :param min_size: 0.
    :param max_size: how many there may be; by default, and for 0, any number.
    """

    _inner_class = NullPoolInPortal


async def _hold(inner: PoolInPortal, ended: threading.Event) -> None:
    """Be in the pool's block until the pool is closed: the body of the task that has it."""
    try:
        if not inner.closed:
            async with inner:
                await inner.engine.wait_until_closed()
    finally:
        ended.set()


def _end_if_open(inner: PoolInPortal) -> None:
    if inner.engine.was_opened:
        inner.engine.end()


def _portal_of(connection: Any) -> Portal:
    if not isinstance(connection, Connection):
        raise ValueError(f"putconn() takes a connection that getconn() has returned, not {connection!r}")
    return connection.calls.portal


def _forgotten(portal: Portal, user: object, inner: PoolInPortal, text: str) -> None:
    portal.post(inner.engine.end)
    portal.forget(user)
    if not portal.inherited:
        warnings.warn(f"{text} was never closed; use 'with' or call its close()", ResourceWarning, stacklevel=2)


_pools: WeakSet[ConnectionPool[Any]] = WeakSet()


def _after_fork() -> None:
    for pool in tuple(_pools):
        pool.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
