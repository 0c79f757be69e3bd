"""Arguments: what is of no use is refused where it is given, and told what to give instead.

A bool is taken for a number, as in Python; and whatever is given for a yes or no counts by its truth.

Knows kinds of values. Must not know what they are for. Not for what is called with every statement or row: there, look
at what was given when it has failed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from inspect import iscoroutinefunction
from numbers import Real
from operator import index
from typing import Any

__all__ = [
    "check_callables",
    "check_functions",
    "check_ints",
    "check_numbers",
    "check_optional_ints",
    "check_seconds",
    "check_texts",
    "each_of",
    "int_of",
]


def check_numbers(**numbers: Any) -> None:
    """Check numbers that may not be negative.

    :raises TypeError: one of them is no number.
    :raises ValueError: one of them is.
    """
    for name, value in numbers.items():
        if not _is_number(value):
            raise TypeError(f"{name} must be a number, not {value!r}")
        if not value >= 0:
            raise ValueError(f"{name} must be 0 or more, not {value}")


def _is_number(value: object) -> bool:
    return isinstance(value, Real)


def check_seconds(**times: Any) -> None:
    """Check for how long something may be waited for: None for any time, negative where the time is over.

    :raises TypeError: one of them is no number.
    :raises ValueError: one of them is NaN.
    """
    for name, value in times.items():
        if value is None:
            continue
        if not _is_number(value):
            raise TypeError(f"{name} must be a number of seconds, or None, not {value!r}")
        if value != value:
            raise ValueError(f"{name} must be a number of seconds, not {value}")


def check_ints(least: int, /, **numbers: Any) -> None:
    """Check numbers that are whole, and not less than one.

    :raises TypeError: one of them is no int.
    :raises ValueError: one of them is less.
    """
    for name, value in numbers.items():
        if int_of(name, value) < least:
            raise ValueError(f"{name} must be {least} or more, not {value}")


def check_optional_ints(least: int, /, **numbers: Any) -> None:
    """Do the same for numbers that may be None."""
    for name, value in numbers.items():
        if value is not None:
            check_ints(least, **{name: value})


def int_of(name: str, value: Any) -> int:
    """Return a number that has to be whole, of whatever type.

    :raises TypeError: it is none.
    """
    try:
        return index(value)
    except TypeError:
        raise TypeError(f"{name} must be an int, not {value!r}") from None


def check_callables(**functions: object) -> None:
    """Check what is going to be called.

    :raises TypeError: it cannot be.
    """
    for name, value in functions.items():
        if not callable(value):
            raise TypeError(f"{name} must be a function, not {value!r}")


def check_functions(**functions: object) -> None:
    """Check what is going to be called, and not awaited.

    :raises TypeError: it cannot be.
    """
    check_callables(**functions)
    for name, value in functions.items():
        if iscoroutinefunction(value):
            raise TypeError(
                f"{name} is not awaited, so it must be a plain function, not the coroutine function {value!r}"
            )


def check_texts(**texts: object) -> None:
    """Check what has to be text.

    :raises TypeError: it is not.
    """
    for name, value in texts.items():
        if not isinstance(value, str):
            raise TypeError(f"{name} must be a str, not {value!r}")


def each_of(values: Any, what: str) -> Iterator[Any]:
    """Return what iterates over an argument.

    :param what: what it has to be, with its name.
    :raises TypeError: it cannot be iterated over.
    """
    try:
        return iter(values)
    except TypeError:
        if isinstance(values, Iterable):
            raise  # it is its own that has failed
        hint = ""
        if hasattr(values, "__aiter__"):
            hint = ": collect an asynchronous one first, [value async for value in ...]"
        raise TypeError(f"{what}, not {type(values).__name__}{hint}") from None
