"""Ctrl-C in a call that a thread runs itself: it is noted, and raised as soon as nothing is torn by that.

Python raises KeyboardInterrupt at any bytecode of the main thread: between a message that was sent and the note that it
was, or amid what has been received. A connection would have to be closed then. So while a coroutine runs in the main
thread Python's own handler of SIGINT is replaced by one that takes note; it is put back before the call returns. What
raises is the driver, when the coroutine waits or is at its end. A second Ctrl-C is raised at once, for code of the
user's that runs amid a call and does not come to its end.

A handler that the program has installed is left alone, whatever it raises.

Knows signals of the main thread. Must not know coroutines.
"""

from __future__ import annotations

import importlib
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from .._accel import compiled_driving

# Without the look-ups of enums by which `signal` wraps them: both are called in each call.
try:
    _signals: Any = importlib.import_module("_signal")
except ImportError:
    _signals = signal
_getsignal: Callable[[int], object] = _signals.getsignal
_set: Callable[[int, Any], object] = _signals.signal

_SIGINT = int(signal.SIGINT)
_DEFAULT = signal.default_int_handler


class InterruptsInPython:
    """Ctrl-C in the calls of one thread; made in that thread, and used by one call at a time."""

    __slots__ = ("_handler", "_held", "_main", "may_raise", "pending")

    def __init__(self) -> None:
        self._main = threading.current_thread() is threading.main_thread()
        self._handler = self._note
        self._held = False
        self.pending = False
        """Whether one was noted, which is to be raised."""
        self.may_raise = False
        """Whether the next one is to be raised at once."""

    def hold(self) -> None:
        """Take note of Ctrl-C from now on, if this is the main thread and Python's own handler would raise it."""
        if self._main and _getsignal(_SIGINT) is _DEFAULT:
            self.pending = self.may_raise = False
            self._held = True  # first, so that it is undone whatever interrupts
            try:
                _set(_SIGINT, self._handler)
            except ValueError:
                self._main = self._held = False  # of an interpreter that gets no signals

    def let_go(self) -> None:
        """Put Python's handler back; again, nothing. What is pending stays so."""
        if self._held:
            other = _set(_SIGINT, _DEFAULT)
            if other is not self._handler:
                _set(_SIGINT, other)  # somebody has installed another one amid the call
            self._held = False

    def raise_pending(self) -> None:
        """Raise what was noted."""
        if self.pending:
            self.pending = False
            raise KeyboardInterrupt

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.may_raise or self.pending:
            _DEFAULT(number, frame)
        self.pending = True


Interrupts: type[InterruptsInPython] = InterruptsInPython if compiled_driving is None else compiled_driving.Interrupts
"""The class that there is: compiled or not."""
