"""The event loop this task runs on: `current_backend()`.

Knows: how to tell asyncio from trio. Must not know: anything that one of them does; and it never imports
one of them, unless that is already running.

Begin with `base`, which says what differs between event loops.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable

from .base import Backend, SocketWaiter, Waiter, Waker
from .finalizers import Finalizer
from .interrupts import alone, interruptible, uninterrupted

__all__ = [
    "Backend",
    "Finalizer",
    "Waker",
    "SocketWaiter",
    "Waiter",
    "alone",
    "current_backend",
    "interruptible",
    "uninterrupted",
]

_trio: Callable[[], Backend] | None = None
_asyncio: Callable[[], Backend] | None = None

_NO_LOOP = (
    "no event loop is running in this thread: call this from a coroutine that runs under asyncio.run(), trio.run() or "
    "anyio.run(), or use the synchronous classes (anyq.connect())"
)


def current_backend() -> Backend:
    """Return a backend of the event loop that runs the calling task.

    :raises RuntimeError: no event loop of a supported kind is running in this thread.
    """
    # trio is asked first: in guest mode its tasks run on top of another library's loop, in the same thread.
    # in_trio_task is missing while another thread is in the middle of importing trio; then trio runs nowhere.
    lowlevel = sys.modules.get("trio.lowlevel")
    in_trio_task = getattr(lowlevel, "in_trio_task", None)
    if in_trio_task is not None and in_trio_task():
        global _trio
        if _trio is None:
            # By its name: whoever has no trio, or runs on asyncio, must not need this module.
            imported: Callable[[], Backend] = importlib.import_module(f"{__name__}.trio_backend").TrioBackend
            _trio = imported
        return _trio()
    global _asyncio
    if _asyncio is None:
        # Where asyncio was never imported, no loop of it can be running.
        if "asyncio" not in sys.modules:
            raise RuntimeError(_NO_LOOP)
        imported = importlib.import_module(f"{__name__}.asyncio_backend").AsyncioBackend
        _asyncio = imported
    try:
        return _asyncio()
    except RuntimeError:
        raise RuntimeError(_NO_LOOP) from None
