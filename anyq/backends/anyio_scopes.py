"""Whether anyio has cancelled a task of asyncio's: what its `checkpoint_if_cancelled()` finds out, without a coroutine.

There is no public function for it. Where asyncio or anyio keep what is looked at otherwise than it is known here to be
kept, the answer is that the task may be cancelled, and anyio's own function is asked.

Knows how asyncio keeps its current tasks, and anyio their cancel scopes. Must not know anything else of either.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any
from weakref import getweakrefs, ref

from . import looked_at
from .base import CancellationCheck

try:
    from anyio._backends import _asyncio

    _states: Any = getattr(_asyncio, "_task_states", None)
except ImportError:
    _states = None


def _dict_or_none(found: Any) -> dict[Any, Any] | None:
    return found if isinstance(found, dict) else None  # pyright: ignore[reportUnknownVariableType] - of anything


_data = _dict_or_none(getattr(_states, "data", None))
"""What anyio knows of each task, by a weak reference to it; None where it keeps that otherwise."""

_current = _dict_or_none(getattr(asyncio.tasks, "_current_tasks", None))
"""The task that each event loop runs at this moment. It is empty, or there is none, where that is asked otherwise."""


_thread = looked_at.Thread()

_forks = 0
"""How often this process was forked off: to a child its parent's tasks seem to run."""


def _count_fork() -> None:
    global _forks
    _forks += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_count_fork)


def _own_key(task: Any, other: ref[Any]) -> ref[Any]:
    """Return the reference to a task by which anyio knows it; the other one, which is equal, if it does not."""
    key: ref[Any]
    for key in getweakrefs(task):
        if getattr(key, "__callback__", None) is _states._remove:  # noqa: SLF001
            return key
    return other


class AnyioCheck(CancellationCheck):
    """Looks for one event loop: the one that runs in this thread now."""

    __slots__ = ("_by_own_key", "_forks", "_ident", "_loop", "_task")

    def __init__(self, loop: object) -> None:
        self._loop = loop
        self._ident = _thread.ident
        self._forks = _forks
        # The one that asked last: mostly it is the same again.
        self._task: ref[Any] | None = None
        # Whether that is the very key of what is known of it, which is found without a comparison.
        self._by_own_key = False

    def passes(self) -> bool:
        # If the loop runs a task, and it is the loop of this thread, then that one asks. Which loop is running in it
        # need not be asked, for which Python asks the system each time for the process.
        task = None if _current is None else _current.get(self._loop)
        if task is None or _data is None or _forks != self._forks or _thread.ident != self._ident:
            return False
        if self._task is None or self._task() is not task:
            self._task = ref(task)
            self._by_own_key = False
        elif not self._by_own_key:
            self._task = _own_key(task, self._task)
            self._by_own_key = True
        state = _data.get(self._task)
        if state is None:
            # It was in no scope yet.
            return True
        try:
            scope = state.cancel_scope
            while scope is not None:
                if scope._cancel_called:  # noqa: SLF001 - the properties are functions in Python
                    return False
                if scope._shield:  # noqa: SLF001
                    break
                scope = scope._parent_scope  # noqa: SLF001
        except AttributeError:
            return False
        return True
