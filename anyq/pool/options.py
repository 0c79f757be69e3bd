"""Options: what a pool is made with, looked at where it is given.

Knows numbers and functions. Must not know a pool.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import isawaitable
from typing import Any, NamedTuple

from ..connection import AsyncConnection
from .results import async_result_class

Callback = Callable[[Any], Any]
"""A function of the user's, asynchronous or not, that is given a connection, or the pool."""


class Sizes(NamedTuple):
    """How many connections a pool has."""

    least: int
    most: int
    """0 for any number."""


class Options(NamedTuple):
    """What the parts of a pool need to know of its arguments."""

    name: str
    conninfo: Any
    kwargs: Any
    timeout: float
    max_lifetime: float
    reconnect_timeout: float
    configure: Callback | None
    check: Callback | None
    reset: Callback | None
    reconnect_failed: Callback | None


class Hooks:
    """What pools of asynchronous connections do, and those of synchronous ones do otherwise.

    :param connection_class: the class of what clients are given.
    """

    def __init__(self, connection_class: Any) -> None:
        self.connection_class = connection_class

    def inner(self, connection: Any) -> AsyncConnection[Any]:
        """Return the asynchronous connection of what clients are given."""
        inner: AsyncConnection[Any] = connection
        return inner

    async def call(self, callback: Callback, argument: Any) -> None:
        """Call a function of the user's."""
        result = callback(argument)
        if isawaitable(result):
            await result

    @staticmethod
    async def check(connection: Any) -> None:
        """Ask the server for a sign of life, without beginning a transaction.

        :raises OperationalError: the connection is lost.
        """
        session = connection.session
        await session.transactions.turn_without_begin()
        await session.send_command(b"")

    async def connect(self, options: Options) -> Any:
        """Open a connection; return what clients are given."""
        conninfo, kwargs = await self.value(options.conninfo), await self.value(options.kwargs)
        return await self.connection_class.connect(conninfo, **(kwargs or {}))

    def result(self, connection: Any, row_factory: Any) -> tuple[Any, Any]:
        """Return a cursor for the result of one statement, and the asynchronous one to run it on."""
        cursor: Any = async_result_class(connection.cursor_factory)(connection, row_factory=row_factory)
        return cursor, cursor

    def emptied(self) -> None:
        """Take note that a closed pool has all its connections back; it may be called again."""

    async def value(self, value: Any) -> Any:
        """Return what was given for `conninfo` or `kwargs`, or what it returns if it is a function."""
        if callable(value):
            value = value()
            if isawaitable(value):
                value = await value
        return value


def kept_sizes(min_size: int, max_size: int | None) -> Sizes:
    """Return the sizes of a pool that keeps connections.

    :param max_size: None for `min_size`.
    :raises ValueError: they cannot be.
    """
    most = min_size if max_size is None else max_size
    if min_size < 0:
        raise ValueError(f"min_size must be 0 or more, not {min_size}")
    if most < min_size:
        raise ValueError(f"max_size ({most}) must be min_size ({min_size}) or more")
    if most == 0:
        raise ValueError("max_size must be given if min_size is 0: a pool has to have connections")
    return Sizes(min_size, most)


def null_sizes(min_size: int, max_size: int | None) -> Sizes:
    """Return the sizes of a pool that keeps none.

    :param max_size: None or 0 for any number.
    :raises ValueError: they cannot be.
    """
    most = max_size or 0
    if min_size != 0:
        raise ValueError(f"min_size must be 0, not {min_size}: a null pool keeps no connections")
    if most < 0:
        raise ValueError(f"max_size must be 0 or more, not {most}")
    return Sizes(0, most)


def check_numbers(**numbers: float) -> None:
    """Check numbers that may not be negative.

    :raises ValueError: one of them is.
    """
    for name, value in numbers.items():
        if not value >= 0:
            raise ValueError(f"{name} must be 0 or more, not {value}")
