"""Transactions of a pool's connections, and those that are run again where the server asks for it.

Knows connections, pools and two SQLSTATEs. Must not know how either works.
"""

from __future__ import annotations

import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    AsyncExitStack,
    ExitStack,
    asynccontextmanager,
    contextmanager,
)
from inspect import isawaitable
from types import TracebackType
from typing import Any, Generic, Protocol, TypeVar, cast, overload

import anyio

from ..connection import AsyncConnection
from ..errors import Error, ProgrammingError
from ..errors.arguments import check_ints, check_numbers
from ..protocol.constants import TransactionStatus
from ..session.transactions import IsolationLevel, Transactions
from ..sync.connection import Connection
from ..sync.transaction import Transaction
from ..transaction import AsyncTransaction
from .options import called

T = TypeVar("T")
ConnectionT = TypeVar("ConnectionT")

RETRIED = frozenset(("40001", "40P01"))
"""SQLSTATEs of a serialization failure and a deadlock: nothing of the transaction is left, and it may be run again."""
LONGEST_PAUSE = 1.0
"""Seconds."""


class AsyncSource(Protocol):
    """What lends asynchronous connections: a pool."""

    def connection(self) -> AbstractAsyncContextManager[Any]: ...


class Source(Protocol):
    """What lends synchronous connections: a pool."""

    def connection(self) -> AbstractContextManager[Any]: ...


@overload
def run_transaction(
    owner: AsyncConnection[Any] | AsyncSource,
    fn: Callable[[Any], Awaitable[T]],
    *,
    isolation_level: IsolationLevel | None = None,
    retries: int = 10,
    backoff: float = 0.01,
) -> Coroutine[Any, Any, T]: ...


@overload
def run_transaction(
    owner: Connection[Any] | Source,
    fn: Callable[[Any], T],
    *,
    isolation_level: IsolationLevel | None = None,
    retries: int = 10,
    backoff: float = 0.01,
) -> T: ...


def run_transaction(
    owner: Any,
    fn: Callable[[Any], Any],
    *,
    isolation_level: IsolationLevel | None = None,
    retries: int = 10,
    backoff: float = 0.01,
) -> Any:
    """Run a function in a transaction, and again after a serialization failure or a deadlock.

    It is called with the connection, and must do nothing beside the transaction that cannot be done twice. What it
    returns is returned when the transaction is committed; where it raises :class:`anyq.Rollback`, None is.

    :param owner: a connection, on which no transaction is open; or a pool, of which one is taken for each attempt.
    :param fn: a coroutine function for an asynchronous one, which is to be awaited then.
    :param isolation_level: of the transaction; by default the connection's.
    :param retries: how often it is run again at most.
    :param backoff: seconds before the second attempt; then twice as long each time, up to a second, and at random.
    :raises ProgrammingError: a transaction is open.
    :raises TypeError, ValueError: an argument of another type, or in another's place; wrong numbers. A coroutine
        function for a synchronous owner, or none for an asynchronous one: then the transaction is rolled back.
    :raises Error: of the last attempt; and at once what is neither SQLSTATE 40001 nor 40P01, by the function or the
        COMMIT. So it is after a lost connection: the transaction may have been committed.

    A cancellation rolls the transaction back. Manual: "Serialization Failure Handling".
    """
    if isinstance(owner, type) or not hasattr(owner, "connection") or not callable(fn):
        raise TypeError(
            "run_transaction() takes a connection or a pool, and then a function that is called with a connection; not "
            f"{owner!r} and {fn!r}"
        )
    check_ints(0, retries=retries)
    check_numbers(backoff=backoff)
    if isolation_level is not None:
        isolation_level = IsolationLevel(isolation_level)
    if hasattr(owner, "__aenter__"):
        return _run_async(owner, fn, isolation_level, retries, backoff)
    return _run_sync(owner, fn, isolation_level, retries, backoff)


async def _run_async(
    owner: Any, fn: Callable[[Any], Awaitable[T]], level: IsolationLevel | None, retries: int, backoff: float
) -> T:
    attempt = 0
    while True:
        try:
            async with _async_connection(owner) as connection:
                _check_idle(connection)
                transaction: AsyncTransaction[Any] = connection.transaction()
                async with with_settings(connection, level), transaction:
                    return await _awaitable(fn, connection)
                return cast(T, None)  # by Rollback
        except Exception as error:
            if attempt >= retries or not is_retried(error):
                raise
        await anyio.sleep(_pause(attempt, backoff))
        attempt += 1


def _run_sync(owner: Any, fn: Callable[[Any], T], level: IsolationLevel | None, retries: int, backoff: float) -> T:
    attempt = 0
    while True:
        try:
            with _connection(owner) as connection:
                _check_idle(connection.inner)
                transaction: Transaction[Any] = connection.transaction()
                with with_settings_sync(connection, level), transaction:
                    return cast(T, called(fn, connection))
                return cast(T, None)  # by Rollback
        except Exception as error:
            if attempt >= retries or not is_retried(error):
                raise
        time.sleep(_pause(attempt, backoff))
        attempt += 1


def _awaitable(fn: Callable[[Any], Awaitable[T]], connection: Any) -> Awaitable[T]:
    awaitable = fn(connection)
    if not isawaitable(awaitable):
        raise TypeError(
            f"{fn!r} has returned an object of {type(awaitable).__name__}, which cannot be awaited: for asynchronous "
            "connections it has to be a coroutine function"
        )
    return awaitable


def is_retried(error: BaseException) -> bool:
    """Return whether a transaction that has failed may be run again; of a group, whether all that is in it says so."""
    inside: tuple[BaseException, ...] = getattr(error, "exceptions", ())
    if inside:
        return all(map(is_retried, inside))
    return isinstance(error, Error) and error.sqlstate in RETRIED


def _pause(attempt: int, backoff: float) -> float:
    return min(backoff * 2.0 ** min(attempt, 30), LONGEST_PAUSE) * random.uniform(0.5, 1.0)


def _check_idle(connection: AsyncConnection[Any]) -> None:
    if connection.session.transaction_status is not TransactionStatus.IDLE:
        raise ProgrammingError(
            "run_transaction() is for a whole transaction, and one is open on the connection already: end that before"
        )


@asynccontextmanager
async def _async_connection(owner: Any) -> AsyncGenerator[Any, None]:
    if isinstance(owner, AsyncConnection):
        yield owner  # pyright: ignore[reportUnknownVariableType]
    else:
        async with cast(AsyncSource, owner).connection() as connection:
            yield connection


@contextmanager
def _connection(owner: Any) -> Generator[Any, None, None]:
    if isinstance(owner, Connection):
        yield owner  # pyright: ignore[reportUnknownVariableType]
    else:
        with cast(Source, owner).connection() as connection:
            yield connection


class PoolTransaction(Generic[ConnectionT]):
    """A block that has a connection of a pool in a transaction; made by :meth:`AsyncConnectionPool.transaction`."""

    def __init__(self, lending: AbstractAsyncContextManager[ConnectionT], *settings: Any) -> None:
        self._lending = lending
        self._settings = settings
        self._blocks = AsyncExitStack()

    async def __aenter__(self) -> ConnectionT:
        async with AsyncExitStack() as blocks:
            connection = await blocks.enter_async_context(self._lending)
            lent: Any = connection
            await blocks.enter_async_context(with_settings(lent, *self._settings))
            await blocks.enter_async_context(lent.transaction())
            self._blocks = blocks.pop_all()
            return connection
        raise AssertionError("what is raised in there is not caught")

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> bool:
        return bool(await self._blocks.__aexit__(exc_type, exc_val, exc_tb))


class SyncPoolTransaction(Generic[ConnectionT]):
    """The same in a thread; made by :meth:`ConnectionPool.transaction`."""

    def __init__(self, lending: AbstractContextManager[ConnectionT], *settings: Any) -> None:
        self._lending = lending
        self._settings = settings
        self._blocks = ExitStack()

    def __enter__(self) -> ConnectionT:
        with ExitStack() as blocks:
            connection = blocks.enter_context(self._lending)
            lent: Any = connection
            blocks.enter_context(with_settings_sync(lent, *self._settings))
            blocks.enter_context(lent.transaction())
            self._blocks = blocks.pop_all()
            return connection
        raise AssertionError("what is raised in there is not caught")

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> bool:
        return bool(self._blocks.__exit__(exc_type, exc_val, exc_tb))


@asynccontextmanager
async def with_settings(
    connection: AsyncConnection[Any],
    isolation_level: IsolationLevel | None = None,
    read_only: bool | None = None,
    deferrable: bool | None = None,
) -> AsyncGenerator[None, None]:
    """Have transactions begun with some settings in a block; None leaves one as it is."""
    with _kept(connection.session.transactions):
        if isolation_level is not None:
            await connection.set_isolation_level(isolation_level)
        if read_only is not None:
            await connection.set_read_only(read_only)
        if deferrable is not None:
            await connection.set_deferrable(deferrable)
        yield


@contextmanager
def with_settings_sync(
    connection: Connection[Any],
    isolation_level: IsolationLevel | None = None,
    read_only: bool | None = None,
    deferrable: bool | None = None,
) -> Generator[None, None, None]:
    """Do the same in a thread."""
    with _kept(connection.inner.session.transactions):
        if isolation_level is not None:
            connection.set_isolation_level(isolation_level)
        if read_only is not None:
            connection.set_read_only(read_only)
        if deferrable is not None:
            connection.set_deferrable(deferrable)
        yield


@contextmanager
def _kept(transactions: Transactions) -> Generator[None, None, None]:
    """Have the settings of transactions after a block be what they were before it."""
    before = transactions.isolation_level, transactions.read_only, transactions.deferrable
    try:
        try:
            yield
        finally:
            transactions.isolation_level, transactions.read_only, transactions.deferrable = before
    except BaseException:
        # Ctrl-C may have come before that was done.
        transactions.isolation_level, transactions.read_only, transactions.deferrable = before
        raise
