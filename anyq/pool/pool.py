"""AsyncConnectionPool: connections that are kept and lent to tasks, with psycopg_pool's arguments and methods.

Knows the parts that it is made of. Must not know how any of them works: `bookkeeping` decides, `engine` has the tasks,
`opening` makes connections, and `lending` gives them to clients and takes them back.
"""

from __future__ import annotations

import warnings
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import count
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic

import anyio
from typing_extensions import Self, TypeVar

from ..backends import Finalizer, uninterrupted
from ..connection import AsyncConnection
from ..errors.arguments import check_ints, check_numbers, check_seconds, check_texts
from ..rows import TupleRow
from ..session.transactions import IsolationLevel
from ..tracing import Tracer
from ..tracing.telling import Running, tracing_of
from .bookkeeping import Books, Place, PlaceState
from .engine import Engine
from .lending import Lender, LendingBlock
from .multiplex import Multiplexer
from .opening import Opener
from .options import Hooks, Options, Sizes, check_others, kept_sizes, null_sizes
from .retrying import PoolTransaction
from .statements import StatementsOfTasks

ConnectionT = TypeVar("ConnectionT", bound=Any, default=AsyncConnection[TupleRow])

_names = count(1)


class PoolPlace(Place):
    """A place that its connection knows."""

    __slots__ = ("checkout", "pool")

    def __init__(self, pool: AsyncConnectionPool[Any], connection: Any, made_at: float, expires_at: float) -> None:
        super().__init__(connection, made_at, expires_at)
        self.pool = pool
        self.checkout: Running | None = None
        """Where somebody watches, the client's that has it."""

    async def instead_of_closing(self, connection: Any) -> bool:
        """For this package: give a connection back that its client closes; return False where it is to be closed."""
        if not self.pool.close_returns or self.state is not PlaceState.OUT or connection.closed:
            return False
        await self.pool.putconn(connection)
        return True


class Lending(LendingBlock, Generic[ConnectionT]):
    """A block that has a connection of a pool; made by :meth:`AsyncConnectionPool.connection`."""

    __slots__ = ()

    if TYPE_CHECKING:

        async def __aenter__(self) -> ConnectionT: ...


@uninterrupted
class AsyncConnectionPool(StatementsOfTasks, Generic[ConnectionT]):
    """Connections that are kept, and lent to one client at a time; to be used as ``async with AsyncConnectionPool()``.

    The block has a task group: it opens connections when they are asked for, keeps `min_size` of them, replaces those
    that were lost and closes those that are not needed. Nothing of it outlives the block.

    :param conninfo: a connection string or URI; or a function, asynchronous or not, that is called for each connection
        that is opened, and returns it.
    :param connection_class: class of the connections; ``AsyncConnection[DictRow]`` tells a type checker of the rows.
    :param kwargs: arguments of its ``connect()``; or a function, as for `conninfo`.
    :param min_size: how many connections are kept open; by default 4.
    :param max_size: how many there may be; by default `min_size`.
    :param open: True to be used without a block, as after :meth:`open`.
    :param configure: called with each new connection, asynchronous or not. It may not leave a transaction open.
    :param check: called with a connection before it is given to a client. What it raises has the connection replaced;
        :meth:`check_connection` is one. Whether a server has closed a connection is seen without it.
    :param reset: called with a connection that is given back, before it is used again.
    :param name: what the pool is called in the log and in errors.
    :param close_returns: whether ``close()`` of a connection gives it back instead.
    :param timeout: seconds that a client waits for a connection by default; and that opening one may take.
    :param max_waiting: how many clients may wait at the same time; 0 for any number.
    :param max_lifetime: seconds after which a connection is closed and replaced; up to 5 percent less, at random.
    :param max_idle: seconds after which a connection beyond `min_size` is closed that nobody has used.
    :param reconnect_timeout: seconds for which it is tried to reach a server, before those who wait are told; the next
        request tries again.
    :param reconnect_failed: called with the pool then, asynchronous or not; for 5 seconds it is not cancelled.
    :param num_workers: has no effect here, where there are no workers.
    :param tracer: is told of clients and of the connections; see :mod:`anyq.tracing`.
    :raises TypeError: an argument of another type.
    :raises ValueError: wrong numbers.
    """

    # For this package: whether connections are kept that nobody needs, and what synchronous pools do otherwise.
    keeps_idle = True
    default_min_size = 4
    hooks_class: type[Hooks] = Hooks

    def __init__(
        self,
        conninfo: str | Callable[[], str | Awaitable[str]] = "",
        *,
        connection_class: type[ConnectionT] = AsyncConnection,  # type: ignore[assignment]
        kwargs: dict[str, Any] | Callable[[], dict[str, Any] | Awaitable[dict[str, Any]]] | None = None,
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
    ) -> None:
        if name is not None:
            check_texts(name=name)
        self.name = name or f"pool-{next(_names)}"
        self.connection_class: type[ConnectionT] = connection_class
        self.close_returns = close_returns
        self.num_workers = num_workers
        sizes = self._sizes(self.default_min_size if min_size is None else min_size, max_size)
        check_ints(0, max_waiting=max_waiting)
        check_ints(1, num_workers=num_workers)
        check_numbers(timeout=timeout, max_lifetime=max_lifetime, max_idle=max_idle)
        check_numbers(reconnect_timeout=reconnect_timeout)
        self._options = Options(
            self.name,
            conninfo,
            kwargs,
            timeout,
            max_lifetime,
            reconnect_timeout,
            configure=configure,
            check=check,
            reset=reset,
            reconnect_failed=reconnect_failed,
            tracer=tracer,
        )
        check_others(self._options, self.hooks_class.base, connection_class)
        # For this package, as what follows: the parts.
        self.hooks = hooks = self.hooks_class(connection_class)
        self.books = Books(*sizes, max_waiting, max_idle=max_idle, keeps_idle=self.keeps_idle)
        self.engine = engine = Engine(self.name, self.books, hooks)
        opener = Opener(self, engine, hooks, self._options, partial(PoolPlace, self))
        self.opener = opener
        engine.open_one = opener.open_one
        self.lender = Lender(engine, opener, hooks, self._options)
        self.multiplexer = Multiplexer(engine, opener, self.lender, hooks, self._options)
        self._if_dropped: Finalizer | None = None
        if open:
            self._begin()

    def _sizes(self, min_size: int, max_size: int | None) -> Sizes:
        return kept_sizes(min_size, max_size) if self.keeps_idle else null_sizes(min_size, max_size)

    def __repr__(self) -> str:
        state = "open" if not self.closed else "closed" if self.engine.was_opened else "not open yet"
        books = self.books
        most = books.max_size or "any number"
        return f"<{type(self).__module__}.{type(self).__qualname__} {self.name!r} [{state}, {books.size} of {most}]>"

    # -- what it is

    @property
    def conninfo(self) -> str | Callable[[], str | Awaitable[str]]:
        """The connection string, or the function that returns it."""
        conninfo: str | Callable[[], str | Awaitable[str]] = self._options.conninfo
        return conninfo

    @property
    def kwargs(self) -> dict[str, Any] | Callable[[], dict[str, Any] | Awaitable[dict[str, Any]]] | None:
        """The arguments of ``connect()``, or the function that returns them."""
        kwargs: dict[str, Any] | None = self._options.kwargs
        return kwargs

    @property
    def timeout(self) -> float:
        """Seconds that a client waits for a connection by default."""
        return self._options.timeout

    @property
    def max_lifetime(self) -> float:
        """Seconds after which a connection is closed and replaced."""
        return self._options.max_lifetime

    @property
    def reconnect_timeout(self) -> float:
        """Seconds for which it is tried to reach a server."""
        return self._options.reconnect_timeout

    @property
    def min_size(self) -> int:
        """How many connections are kept."""
        return self.books.min_size

    @property
    def max_size(self) -> int:
        """How many connections there may be; 0 for any number."""
        return self.books.max_size

    @property
    def max_waiting(self) -> int:
        """How many clients may wait at the same time; 0 for any number."""
        return self.books.max_waiting

    @property
    def max_idle(self) -> float:
        """Seconds after which a connection beyond :attr:`min_size` is closed that nobody has used."""
        return self.books.max_idle

    @property
    def closed(self) -> bool:
        """Whether no connection can be had of it: it is not open yet, or was closed."""
        return not self.books.is_open

    # -- opening and closing

    async def __aenter__(self) -> Self:
        if self.closed:
            self._begin()
        await self.engine.enter_block()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        self._end()
        await self.engine.leave_block()

    async def open(self, wait: bool = False, timeout: float = 30.0) -> None:  # noqa: ASYNC109 - psycopg_pool's
        """Open the pool without a block, which does more.

        Connections are opened and replaced by those who ask for one. So `min_size` is not kept while nobody does, and
        what is idle is closed when the next connection is returned rather than in time. Close it by :meth:`close`.

        :param wait: whether to open `min_size` connections before returning, as :meth:`wait` does.
        :raises PoolClosed: it was closed, and cannot be opened again.
        """
        if self.closed:
            self._begin()
        self.engine.check_here()
        await self.engine.here().checkpoint()
        if wait:
            await self.wait(timeout)

    def _begin(self) -> None:
        tracing = tracing_of(self._options.tracer)
        self.lender.tracing = tracing if tracing is not None and tracing.hears_clients else None
        self.engine.begin()
        self._if_dropped = Finalizer(self, _forgotten, f"the pool {self.name!r}")

    async def close(self, timeout: float = 5.0) -> None:  # noqa: ASYNC109 - psycopg_pool's
        """Close the pool: those who wait are told, idle connections are closed, and each other one when it is returned.

        From another event loop it is closed in its own, as soon as that gets to it.

        :param timeout: has no effect, as nothing is waited for.
        """
        backend = self.engine.here()
        if backend.is_here():
            self._end()
            await backend.checkpoint()
        elif not backend.call_there(self._end):
            self._end()  # where its own has ended nobody else is at work

    def _end(self) -> None:
        if self._if_dropped is not None:
            self._if_dropped.call_off()
        self.engine.end()

    async def wait(self, timeout: float = 30.0) -> None:  # noqa: ASYNC109 - psycopg_pool's
        """Wait until `min_size` connections are open.

        :raises PoolTimeout: they are not in time; the pool is closed then.
        :raises PoolClosed: the pool is not open, or was closed meanwhile.
        """
        check_seconds(timeout=timeout)
        engine, books = self.engine, self.books
        engine.check_here()
        await engine.here().checkpoint()
        with anyio.move_on_after(timeout):
            await engine.wait_until_ready()
        if not books.is_open:
            raise engine.not_open()
        ready = books.ready
        if ready < books.min_size:
            self._end()
            raise self.opener.timed_out(f"had {ready} of its {books.min_size} connections", timeout)

    # -- clients

    def connection(self, timeout: float | None = None) -> Lending[ConnectionT]:
        """Return a block, to be entered by ``async with``, that has a connection of the pool.

        Leaving it commits, or on an exception rolls back, and gives the connection back.

        :param timeout: seconds to wait for one; by default the pool's.
        :raises PoolTimeout: there was none in time.
        :raises PoolClosed: the pool is not open, or was closed meanwhile.
        :raises TooManyRequests: `max_waiting` others wait already.
        :raises InterfaceError: the pool was used in another event loop before.

        A cancellation of what waits costs nobody a turn. One of the block's body is an exception: what was under way
        is cancelled and rolled back, within the connection's grace time, or another connection takes its place.
        """
        return Lending(self.lender, timeout)

    async def getconn(self, timeout: float | None = None) -> ConnectionT:  # noqa: ASYNC109 - psycopg_pool's
        """Return a connection of the pool, to be given back by :meth:`putconn`; see :meth:`connection`."""
        connection: ConnectionT = await self.lender.lend(timeout)
        return connection

    async def putconn(self, conn: ConnectionT) -> None:
        """Give a connection back.

        What was left open on it is undone, and told in the log: a transaction is rolled back, settings are reset. If
        that cannot be done within the connection's grace time, or somebody may go on with what is open (a COPY, a
        pipeline, a two-phase transaction, a subscription), it is closed, and another one opened when it is wanted.

        :raises ValueError: it is none of this pool, or was given back already.

        A cancellation does not keep it from coming back.
        """
        place = getattr(self.hooks.inner(conn), "pooled", None)
        if not isinstance(place, PoolPlace):
            raise ValueError(
                f"putconn() takes a connection that getconn() has returned, and this is of no pool: {conn!r}"
            )
        if place.pool is not self:
            raise ValueError(f"the connection is of the pool {place.pool.name!r}, not of {self.name!r}")
        if place.state is not PlaceState.OUT:
            raise ValueError(f"the connection was given back to the pool {self.name!r} already")
        self.engine.check_here()
        if not self.lender.take_back_at_once(conn):
            await self.lender.take_back(conn)

    def transaction(
        self,
        *,
        isolation_level: IsolationLevel | None = None,
        read_only: bool | None = None,
        deferrable: bool | None = None,
        timeout: float | None = None,
    ) -> PoolTransaction[ConnectionT]:
        """Return a block, to be entered by ``async with``, that has a connection in a transaction.

        :param isolation_level: of the transaction, as `read_only` and `deferrable`; by default the connection's.
        :param timeout: seconds to wait for a connection; see :meth:`connection`, also for what is raised.

        For transactions that may have to be run again there is :func:`run_transaction`.
        """
        return PoolTransaction(self.connection(timeout), isolation_level, read_only, deferrable)

    # -- at any time

    async def check(self) -> None:
        """Look whether each idle connection can be used, by :meth:`check_connection`, and close those that cannot."""
        self.engine.check_here()
        await self.engine.here().checkpoint()
        await self.lender.check_idle_ones(self.hooks.check)

    @staticmethod
    async def check_connection(conn: AsyncConnection[Any]) -> None:
        """Ask the server for a sign of life, without beginning a transaction; for the argument `check`.

        :raises OperationalError: the connection is lost.
        """
        await Hooks.check(conn)

    async def resize(self, min_size: int, max_size: int | None = None) -> None:
        """Change the sizes; connections that are too many are closed when they are idle.

        :param max_size: by default `min_size`.
        :raises TypeError: they are no ints.
        :raises ValueError: they cannot be.
        """
        self.engine.check_here()
        self.books.resize(*self._sizes(min_size, max_size))
        if self.books.is_too_big:
            self.multiplexer.retire()
        self.engine.settle()
        await self.engine.here().checkpoint()

    async def drain(self) -> None:
        """Have every connection that there is closed: at once if it is idle, otherwise when it is returned."""
        self.engine.check_here()
        self.lender.drain()
        await self.engine.here().checkpoint()

    def get_stats(self) -> dict[str, int]:
        """Return what the pool has counted, under psycopg_pool's names; times are in milliseconds.

        ``requests_wait_le_<n>ms`` is how many of the requests that had to wait were served within so many. What begins
        with ``statements_`` is about :meth:`execute`.
        """
        books = self.books
        return {
            "pool_min": books.min_size,
            "pool_max": books.max_size,
            "pool_size": books.size,
            "pool_available": len(books.idle),
            "requests_waiting": books.waiting_number,
            **dict(self.multiplexer.statistics()),
            **dict(books.counters.items()),
        }

    def pop_stats(self) -> dict[str, int]:
        """Do the same, and count from zero again."""
        stats = self.get_stats()
        self.books.counters.reset()
        return stats


class AsyncNullConnectionPool(AsyncConnectionPool[ConnectionT]):
    """A pool that keeps no connections: each is closed when it is returned, unless somebody waits for it.

    It bounds how many there are, and gives the rest of :class:`AsyncConnectionPool`, where something else keeps them: a
    pooler beside the server.

    :param min_size: 0.
    :param max_size: how many there may be; by default, and for 0, any number.
    """

    keeps_idle = False
    default_min_size = 0


def _forgotten(text: str) -> None:
    warnings.warn(f"{text} was never closed; use 'async with' or await its close()", ResourceWarning, stacklevel=2)
