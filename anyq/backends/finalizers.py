"""Finalizers: what is done for an object that is dropped before it was closed.

None is a `__del__`: that runs for each object, whether there is something to do or not, at whatever moment garbage is
collected, and what is raised in it is printed and lost; Ctrl-C would be. A finalizer is called off when the object is
closed, and nothing runs for it from then on.

Knows weak references. Must not know what is finalized. Nothing that a finalizer is given may refer to its object.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import ref

_pending: dict[int, Finalizer] = {}


class Finalizer(ref[Any]):
    """Calls `func(*args)` when `owner` is dropped, in whatever thread that happens; once at most."""

    __slots__ = ("_args", "_func")
    _func: Callable[..., object]
    _args: tuple[Any, ...]

    def __new__(cls, owner: object, func: Callable[..., object], *args: object) -> Finalizer:
        self = super().__new__(cls, owner, _call)
        self._func = func
        self._args = args
        _pending[id(self)] = self
        return self

    def __init__(self, owner: object, func: Callable[..., object], *args: object) -> None:
        super().__init__(owner, _call)  # type: ignore[call-arg]  # which the stubs lack

    def call_off(self) -> None:
        """Do nothing when it is dropped; to be called when it is closed, any number of times."""
        _pending.pop(id(self), None)

    def run(self) -> None:
        """Do what is to be done."""
        self._func(*self._args)


# What is global may be gone when the interpreter exits.
def _call(finalizer: ref[Any], pending: dict[int, Finalizer] = _pending) -> None:
    due = pending.pop(id(finalizer), None)
    if due is not None:
        due.run()
