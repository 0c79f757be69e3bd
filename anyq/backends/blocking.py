"""No event loop: a thread that runs one coroutine by itself, for as long as that waits for nothing but one socket.

Theory of operation. The coroutine is one that was written for an event loop, and the backend of that loop stands
behind this one. The thread runs it by `coro.send(None)`. Its checkpoints do not yield, as there is nobody to yield to,
unless it is to stop, for somebody else or for Ctrl-C: where the server always has more it may never wait.
Where it waits for the socket it yields what it waits for, a mask of poll()'s, and the thread waits: outside of the
coroutine, so that what a signal handler raises meanwhile is not raised in there. Where it needs what only an event loop
has, it yields `HANDOVER`.

Then the thread stops, and the event loop goes on with the same coroutine: to its tasks it makes no difference by whom a
coroutine was begun. Every method here does what the event loop's backend does while no thread runs anything, so
it does not matter either if somebody has got hold of this backend before.

Knows poll() and what is yielded. Must not know whose coroutine it is, nor when it may be run so.
"""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import BuiltinFunctionType
from typing import Any

from . import eventfd
from .base import DONE, Backend, CancellationCheck, SocketWaiter, Waiter, Waker, Yields
from .finalizers import Finalizer

__all__ = ["HANDOVER", "Bell", "BlockingBackend", "available", "most_to_wait"]

HANDOVER = 0
"""What a coroutine yields where it needs an event loop to go on."""

# As they are everywhere (POSIX leaves that open, and no system has others).
_READABLE, _WRITABLE = 1, 4


def available() -> bool:
    """Return whether there is poll(), which Windows lacks."""
    return hasattr(select, "poll")


LOOK_FOR_SIGNALS = 100
"""Milliseconds after which the main thread looks for signals amid its wait: one that comes just before that begins, or
to another thread, does not end it."""


def most_to_wait() -> int | None:
    """Return for how many milliseconds this thread may wait without looking for signals; None for any time."""
    return LOOK_FOR_SIGNALS if threading.get_ident() == threading.main_thread().ident else None


_HAND_OVER = Yields(HANDOVER)
_WAIT_READABLE = Yields(_READABLE)
_WAIT_WRITABLE = Yields(_WRITABLE)
_WAIT_BOTH = Yields(_READABLE | _WRITABLE)


class Bell:
    """What other threads ring to have a thread return from its wait; for any number of connections."""

    __slots__ = ("__weakref__", "_eventfd", "_pair", "fd")

    def __init__(self) -> None:
        self._eventfd: eventfd.Eventfd | None = None
        self._pair: tuple[socket.socket, socket.socket] | None = None
        if eventfd.AVAILABLE:
            self._eventfd = eventfd.Eventfd()
            self.fd = self._eventfd.fd
        else:
            self._pair = ours, theirs = socket.socketpair()
            ours.setblocking(False)
            theirs.setblocking(False)
            self.fd = ours.fileno()
            Finalizer(self, _close, ours, theirs)

    def ring(self) -> None:
        """Have the wait return, the next one if there is none now; from any thread, without waiting."""
        if self._eventfd is not None:
            self._eventfd.write()
        elif self._pair is not None:
            with suppress(BlockingIOError):
                self._pair[1].send(b"\0")

    def hush(self) -> None:
        """Forget that it was rung."""
        if self._eventfd is not None:
            self._eventfd.read()
        elif self._pair is not None:
            with suppress(BlockingIOError):
                self._pair[0].recv(4096)


def _close(*pair: socket.socket) -> None:
    for end in pair:
        end.close()


def _never() -> bool:
    return False


class ThreadCheck(CancellationCheck):
    """Looks for the thread that runs a coroutine, or for the event loop."""

    __slots__ = ("_own", "thread_id")

    def __init__(self, own: CancellationCheck) -> None:
        self._own = own
        self.thread_id: int | None = None
        """As the backend's."""

    def passes(self) -> bool:
        return self._own.passes() if self.thread_id is None else self.thread_id == threading.get_ident()


class BlockingBackend(Backend):
    """Takes the place of an event loop's backend for one socket.

    :param own: the event loop's.
    :param sock: what its coroutines may wait for.
    """

    __slots__ = (
        "_bell",
        "_events",
        "_own",
        "_poll",
        "cancelled_exc_class",
        "fd",
        "is_to_stop",
        "name",
        "plain",
        "task",
        "thread_id",
        "waiter",
        "waiting",
    )

    def __init__(self, own: Backend, sock: socket.socket) -> None:
        super().__init__(ThreadCheck(own.check))
        self._own = own
        self.check: ThreadCheck
        self.name = own.name
        self.cancelled_exc_class = own.cancelled_exc_class
        self.thread_id: int | None = None
        """The thread that runs a coroutine, if one does; as what follows, see :meth:`begin`."""
        self.task: object = None
        self.is_to_stop: Callable[[], bool] = _never
        self.fd = sock.fileno()
        """What is waited for."""
        self._poll = select.poll()
        poll: Any = select.poll
        self.plain = isinstance(poll, BuiltinFunctionType)
        """Whether poll() is the system's, and nobody has put another one into its place, as gevent does."""
        self._events = 0
        self._bell: Bell | None = None
        self.waiter: SocketWaiter = _YieldingWaiter()
        """What to lend the socket's stream to."""
        self.waiting = False
        """Whether a thread waits here, perhaps in a signal handler by now, so that no other call can."""

    # -- for the thread

    def begin(self, thread_id: int, task: object, is_to_stop: Callable[[], bool] = _never) -> None:
        """Take the event loop's place.

        :param task: what goes on with the coroutine if it is handed over.
        :param is_to_stop: whether it is to be, at its next checkpoint.
        """
        self.task = task
        self.is_to_stop = is_to_stop
        self.thread_id = self.check.thread_id = thread_id

    def end(self) -> None:
        """Give the place back."""
        self.is_to_stop = _never
        self.thread_id = self.check.thread_id = None

    def wait(self, events: int, bell: Bell) -> bool:
        """Wait until what was yielded is so; return False if the bell was rung.

        Signals are handled meanwhile, and what their handlers raise is raised.
        """
        try:
            self.waiting = True
            # Whatever interrupts it, what is noted as watched is watched.
            if bell is not self._bell:
                self._bell = None
                self._poll = select.poll()
                self._poll.register(self.fd, events)
                self._poll.register(bell.fd, _READABLE)
                self._events = events
                self._bell = bell
            elif events != self._events:
                self._events = 0
                self._poll.modify(self.fd, events)
                self._events = events
            most = most_to_wait()
            ready = self._poll.poll(most)
            while not ready:
                ready = self._poll.poll(most)
        finally:
            self.waiting = False
        if len(ready) == 1 and ready[0][0] == self.fd:
            return True
        bell.hush()
        return False

    # -- for the coroutine

    def checkpoint(self) -> Awaitable[None]:
        if self.thread_id is None:
            return self._own.checkpoint()
        return _HAND_OVER if self.is_to_stop() else DONE

    def checkpoint_if_cancelled(self) -> Awaitable[None]:
        if self.thread_id is None:
            return self._own.checkpoint_if_cancelled()
        if self.thread_id != threading.get_ident():
            self.check_here()
        return DONE

    def in_loop(self) -> Awaitable[None]:
        return DONE if self.thread_id is None else _HAND_OVER

    def is_here(self) -> bool:
        return self._own.is_here() if self.thread_id is None else self.thread_id == threading.get_ident()

    def current_task(self) -> object:
        return self._own.current_task() if self.thread_id is None else self.task

    def call_there(self, callback: Callable[[], object]) -> bool:
        return self._own.call_there(callback)

    def create_waiter(self) -> Waiter:
        return _WaiterOfLoop(self, self._own.create_waiter())

    def create_waker(self) -> Waker:
        return self._own.create_waker()

    def thread_waker(self) -> Callable[[Callable[[], object]], object]:
        return self._own.thread_waker()

    def socket_waiter(self, sock: socket.socket) -> SocketWaiter:
        return self._own.socket_waiter(sock)


class _WaiterOfLoop(Waiter):
    """What others set is waited for in the event loop."""

    __slots__ = ("_backend", "_waiter")

    def __init__(self, backend: Backend, waiter: Waiter) -> None:
        self._backend = backend
        self._waiter = waiter

    def set(self) -> None:
        self._waiter.set()

    async def wait(self) -> None:
        await self._backend.in_loop()
        await self._waiter.wait()


class _YieldingWaiter(SocketWaiter):
    """Leaves the wait to whoever runs the coroutine; if that is another one by then, it was for no reason."""

    __slots__ = ()

    def wait(self, readable: bool, writable: bool) -> Awaitable[None]:
        if not writable:
            return _WAIT_READABLE
        return _WAIT_BOTH if readable else _WAIT_WRITABLE

    def wake(self) -> None:
        """Nobody else runs who could."""

    def close(self) -> None:
        """Nothing is registered."""
