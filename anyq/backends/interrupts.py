"""What Ctrl-C does not interrupt in the middle, where the event loop can be told so.

trio raises KeyboardInterrupt in the main task at any bytecode, but in frames that are marked, and in those that they
call, it waits for the task's next checkpoint. Marking is done once for a function, by its code, and costs nothing when
it runs. asyncio cancels the main task instead, and then there is nothing to do; where neither is so, as without its
runner, whoever is interrupted closes the connection if it was in the middle of something.

Knows functions. Must not know any event loop, or what the functions do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any, TypeVar

T = TypeVar("T", bound="type | FunctionType | Callable[..., object]")

Mark = Callable[[Any], object]

_uninterrupted: list[FunctionType] = []
_interruptible: list[FunctionType] = []
_marks: list[tuple[Mark, Mark]] = []


def uninterrupted(what: T) -> T:
    """Mark a function, or all of a class's own: an interrupt waits until one of them waits."""
    for function in _functions(what):
        if function not in _interruptible:
            _uninterrupted.append(function)
            for mark, _ in _marks:
                mark(function)
    return what


def interruptible(what: T) -> T:
    """Mark a function that is called by an uninterrupted one, and calls what may take its time: the user's code."""
    for function in _functions(what):
        _interruptible.append(function)
        for _, mark in _marks:
            mark(function)
    return what


def mark_by(uninterrupted: Mark, interruptible: Mark) -> None:
    """Mark all functions, those that are there and those to come, as an event loop wants it."""
    _marks.append((uninterrupted, interruptible))
    for function in _uninterrupted:
        uninterrupted(function)
    for function in _interruptible:
        interruptible(function)


def alone(error: BaseException) -> BaseException:
    """Return what an exception group has inside, if that is one: a task group puts an interrupt into one."""
    inside: Sequence[BaseException] = getattr(error, "exceptions", ())
    return alone(inside[0]) if len(inside) == 1 else error


def _functions(what: object) -> list[FunctionType]:
    if isinstance(what, FunctionType):
        return [what]
    found: list[FunctionType] = []
    for value in vars(what).values():
        value = getattr(value, "__func__", value)  # of a class method or static method
        value = getattr(value, "fget", value)
        if isinstance(value, FunctionType):
            found.append(value)
    return found
