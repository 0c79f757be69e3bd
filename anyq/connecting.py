"""AsyncConnecting: what connect() returns, and what is said where that is taken for the connection.

Knows that a connection is made by a coroutine function and closed by leaving its block. Must not know connections.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Coroutine, Generator
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Generic, NoReturn

from typing_extensions import TypeVar

from .backends import Finalizer

ConnectionT = TypeVar("ConnectionT", bound=AbstractAsyncContextManager[Any, None])


class AsyncConnecting(Generic[ConnectionT]):
    """A connection about to be made: await it to have the connection, or enter it to have it closed at the end."""

    def __init__(self, connect: Callable[[], Coroutine[Any, Any, ConnectionT]]) -> None:
        self._if_dropped = Finalizer(self, _warn)
        self._connect = connect
        self._connection: ConnectionT | None = None

    def __await__(self) -> Generator[Any, Any, ConnectionT]:
        self._if_dropped.call_off()
        return self._connect().__await__()

    async def __aenter__(self) -> ConnectionT:
        self._if_dropped.call_off()
        self._connection = connection = await self._connect()
        await connection.__aenter__()
        return connection

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        assert self._connection is not None
        await self._connection.__aexit__(exc_type, exc_val, exc_tb)

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__qualname__}: {_AWAIT_IT}>"


_AWAIT_IT = "write conn = await connect(...), or async with connect(...) as conn"


def _warn() -> None:
    warnings.warn(f"connect() was called and never awaited: {_AWAIT_IT}", RuntimeWarning, stacklevel=2)


def _not_awaited(connecting: AsyncConnecting[Any], name: str) -> NoReturn:
    """Say what is wrong where somebody uses as a connection what connect() has returned."""
    raise AttributeError(
        f"{type(connecting).__qualname__} has no attribute {name!r}: connect() is to be awaited; {_AWAIT_IT}",
        name=name,
        obj=connecting,
    )


def _not_async(connecting: AsyncConnecting[Any], *args: object) -> NoReturn:
    """Say the same where somebody enters it by ``with``."""
    raise TypeError(f"connect() is asynchronous: {_AWAIT_IT}")


# Not written as methods, since type checkers would then believe that there is every attribute.
for _name, _method in (("__getattr__", _not_awaited), ("__enter__", _not_async), ("__exit__", _not_async)):
    setattr(AsyncConnecting, _name, _method)
