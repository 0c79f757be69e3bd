"""Says which functions have a compiled twin: the names that loaders and dumpers and the compiled path agree on.

Knows functions and names. Must not know what is built. A function is marked where it is written; the mark is on the
function and not on its class, so a subclass that overrides a method has no twin without anybody thinking of it. A mark
promises that the function's results and errors are what its twin has to give.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

names: dict[Callable[..., Any], str] = {}
"""The name of each function that is marked."""


def twin(name: str) -> Callable[[F], F]:
    """Mark a function or method: where the compiled path knows this name, it runs that instead."""

    def mark(function: F) -> F:
        names[function] = name
        return function

    return mark


def name_of(function: Callable[..., Any]) -> str | None:
    """Return the mark of a function or bound method, None if it has none."""
    try:
        return names.get(getattr(function, "__func__", function))
    except TypeError:
        # A callable of the user's that cannot be hashed.
        return None
