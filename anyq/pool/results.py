"""Results: cursors that have the result of a statement which a pool has executed, and execute nothing more.

Knows the classes of cursors, asynchronous and synchronous. Must not know pools.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NoReturn

from ..cursor import AsyncCursor
from ..errors import InterfaceError, ProgrammingError
from ..sync.cursor import Cursor


def _refuse(self: object, *args: object, **kwargs: object) -> NoReturn:
    raise ProgrammingError(
        "this is the result of a pool's statement, whose connection is others' by now: call pool.execute() again"
    )


@lru_cache
def async_result_class(factory: Any) -> type[Any]:
    """Return the class of results for a connection's `cursor_factory`."""
    cursor_class: Any = factory if isinstance(factory, type) else AsyncCursor

    class AsyncResult(cursor_class):  # type: ignore[misc]
        """The result of a statement that a pool has executed."""

        run, run_many = cursor_class.execute, cursor_class.executemany
        execute = executemany = stream = copy = _refuse

        def check_open(self) -> None:
            if self._closed:
                raise InterfaceError("the cursor is closed")

    AsyncResult.__qualname__ = AsyncResult.__name__  # as its repr() has it
    return AsyncResult


@lru_cache
def result_class(factory: Any) -> type[Any]:
    """Do the same for a synchronous connection."""
    cursor_class: Any = factory if isinstance(factory, type) else Cursor

    class Result(cursor_class):  # type: ignore[misc]
        """The result of a statement that a pool has executed."""

        async_class = async_result_class(cursor_class.async_class)
        run_many = cursor_class.executemany
        execute = executemany = stream = copy = _refuse

    Result.__qualname__ = Result.__name__
    return Result
