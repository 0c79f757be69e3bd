"""Options: what a pool is made with, looked at where it is given.

Knows numbers and functions. Must not know a pool.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import isawaitable, iscoroutine
from typing import Any, NamedTuple, cast, get_origin

from ..connection import AsyncConnection
from ..errors.arguments import check_ints
from ..tracing import Tracer
from ..tracing.tracer import check_tracer
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
    tracer: Tracer | None


class Hooks:
    """What pools of asynchronous connections do, and those of synchronous ones do otherwise.

    :param connection_class: the class of what clients are given.
    """

    base: type = AsyncConnection
    """What that class is one of."""
    opening = "use it in 'async with', or await its open()"
    """What to do with a pool that is not open."""
    taking = "'async with pool.connection()'"
    """How a connection is had."""

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
        check_connections(connection, AsyncConnection)
        session = connection.session
        await session.transactions.turn_without_begin()
        await session.send_command(b"")

    async def connect(self, options: Options) -> Any:
        """Open a connection; return what clients are given."""
        conninfo, kwargs = await self.value(options.conninfo), await self.value(options.kwargs)
        return await self.connection_class.connect(conninfo, **with_tracer(kwargs or {}, options))

    def result(self, connection: Any, row_factory: Any) -> tuple[Any, Any]:
        """Return a cursor for the result of one statement, and the asynchronous one to run it on."""
        cursor: Any = async_result_class(connection.cursor_factory)(connection, row_factory=row_factory)
        return cursor, cursor

    def returned(self, connection: Any) -> None:
        """Take note that a connection is a client's no more, before anything is done with it."""

    def emptied(self) -> None:
        """Take note that a closed pool has all its connections back; it may be called again."""

    async def value(self, value: Any) -> Any:
        """Return what was given for `conninfo` or `kwargs`, or what it returns if it is a function."""
        if callable(value):
            value = value()
            if isawaitable(value):
                value = await value
        return value


def with_tracer(kwargs: Mapping[str, Any], options: Options) -> Mapping[str, Any]:
    """Return the arguments of ``connect()`` with the pool's tracer, if it has one and they have none."""
    return kwargs if options.tracer is None else {"tracer": options.tracer, **kwargs}


def kept_sizes(min_size: int, max_size: int | None) -> Sizes:
    """Return the sizes of a pool that keeps connections.

    :param max_size: None for `min_size`.
    :raises TypeError: they are no ints.
    :raises ValueError: they cannot be.
    """
    most = min_size if max_size is None else max_size
    check_ints(0, min_size=min_size, max_size=most)
    if most < min_size:
        raise ValueError(f"max_size ({most}) must be min_size ({min_size}) or more")
    if most == 0:
        raise ValueError("max_size must be given if min_size is 0: a pool has to have connections")
    return Sizes(min_size, most)


def null_sizes(min_size: int, max_size: int | None) -> Sizes:
    """Return the sizes of a pool that keeps none.

    :param max_size: None or 0 for any number.
    :raises TypeError: they are no ints.
    :raises ValueError: they cannot be.
    """
    most = 0 if max_size is None else max_size
    check_ints(0, min_size=min_size, max_size=most)
    if min_size != 0:
        raise ValueError(f"min_size must be 0, not {min_size}: a null pool keeps no connections")
    return Sizes(0, most)


def check_others(options: Options, base: Any, connection_class: Any) -> None:
    """Check what is not to be found out when a connection is opened, and tried again, and again.

    :param base: what the class of connections has to be one of.
    :raises TypeError: something is of a type that cannot be.
    """
    if not (isinstance(options.conninfo, str) or callable(options.conninfo)):
        raise TypeError(f"conninfo must be a str, or a function that returns it, not {type(options.conninfo).__name__}")
    if not (options.kwargs is None or isinstance(options.kwargs, Mapping) or callable(options.kwargs)):
        raise TypeError(
            f"kwargs must be a dict of connect()'s arguments, or a function that returns it, not "
            f"{type(options.kwargs).__name__}"
        )
    for name in ("configure", "check", "reset", "reconnect_failed"):
        callback = getattr(options, name)
        if not (callback is None or callable(callback)):
            raise TypeError(f"{name} must be a function, not {callback!r}")
    if options.tracer is not None:
        check_tracer(options.tracer)
    kind: Any = get_origin(connection_class) or connection_class
    if not (isinstance(kind, type) and issubclass(kind, base)):
        raise TypeError(f"the connection_class of this pool must be {base.__name__}, or one of its own, not {kind!r}")
    kind = cast(Any, kind)
    if base is not AsyncConnection and kind.connect.__func__ is not base.connect.__func__:
        raise TypeError(
            f"connect() of {kind.__name__} would not be called, as the pool opens connections in its portal: what it "
            "does to the arguments is for conninfo= and kwargs=, which may be functions, the rest for configure="
        )


def check_connections(connection: object, wanted: type) -> None:
    """Check what check_connection() is called with.

    :raises TypeError: it is no such connection.
    """
    if not isinstance(connection, wanted):
        raise TypeError(f"check_connection() takes a connection of {wanted.__name__}, not {connection!r}")


def called(function: Callable[..., object], *args: object) -> object:
    """Call a function of the user's in a thread, where nobody awaits a coroutine; return what it returns.

    :raises TypeError: that is one, so that nothing was done.
    """
    result = function(*args)
    if iscoroutine(result):
        result.close()
        raise TypeError(
            f"{function!r} is a coroutine function: for synchronous connections it has to be an ordinary one"
        )
    return result
