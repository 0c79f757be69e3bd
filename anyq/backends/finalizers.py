"""Finalizers: what is done for an object that is dropped before it was closed.

None is a `__del__`: that runs for each object, whether there is something to do or not, at whatever moment garbage is
collected, and what is raised in it is printed and lost; Ctrl-C would be. A finalizer is called off when the object is
closed, and nothing runs for it from then on.

Knows weak references. Must not know what is finalized. Nothing that a finalizer is given may refer to its object.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any
from weakref import ref


class _Watch(ref[Any]):
    __slots__ = ("args", "func")
    func: Callable[..., object]
    args: tuple[Any, ...]


_pending: dict[int, _Watch] = {}


class Finalizer:
    """Calls `func(*args)` when `owner` is dropped, in whatever thread that happens; once at most."""

    __slots__ = ("_watch",)

    def __init__(self, owner: object, func: Callable[..., object], *args: object) -> None:
        watch = _Watch(owner, _call)
        watch.func = func
        watch.args = args
        _pending[id(watch)] = watch
        self._watch: _Watch | None = watch

    def call_off(self) -> None:
        """Do nothing when it is dropped; to be called when it is closed, any number of times."""
        if self._watch is not None:
            _pending.pop(id(self._watch), None)
            self._watch = None


if hasattr(os, "register_at_fork"):
    # A forked child's copies are not to be closed as they were: event loops and sockets are the parent's too.
    os.register_at_fork(after_in_child=_pending.clear)


# What is global may be gone when the interpreter exits.
def _call(watch: ref[Any], pending: dict[int, _Watch] = _pending) -> None:
    due = pending.pop(id(watch), None)
    if due is not None:
        due.func(*due.args)
