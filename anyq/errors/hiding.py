"""Hiding: exceptions without the frames of those who have seen a secret.

Tools that report errors show the local variables of every frame of a traceback. So what handles a password is called
such that its frames are in none.

Knows exceptions and tracebacks. Must not know what is secret.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

__all__ = ["hiding", "without_frames"]

P = ParamSpec("P")
T = TypeVar("T")
ErrorT = TypeVar("ErrorT", bound=BaseException)


def without_frames(error: ErrorT) -> ErrorT:
    """Take the frames out of an exception and of all that it came from; return it."""
    todo: list[BaseException | None] = [error]
    seen: set[int] = set()
    while todo:
        each = todo.pop()
        if each is not None and id(each) not in seen:
            seen.add(id(each))
            each.__traceback__ = None
            todo += [each.__cause__, each.__context__]
    return error


def hiding(func: Callable[P, T]) -> Callable[P, T]:
    """Make a function of which no frame is in the traceback of what it raises, and so none of its arguments."""

    @wraps(func)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return func(*args, **kwargs)
        except BaseException as error:
            failure = without_frames(error)
        del args, kwargs
        try:
            raise failure
        finally:
            # Otherwise the frame would keep the exception, and the exception the frame.
            del failure

    return call
