"""What differs between event loops, and nothing else.

Knows: yielding to the scheduler, one-shot events, waiting for a socket, whether the caller runs in the same loop. Must
not know: the wire protocol, streams, DNS, TLS, or any event loop (each has its own module beside this one, imported
when that loop is seen running).
"""

from __future__ import annotations

import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Generator
from typing import Any

from ..errors import InterfaceError

__all__ = [
    "DONE",
    "ONE_TURN",
    "Backend",
    "BackendState",
    "CancellationCheck",
    "SocketWaiter",
    "Waiter",
    "Waker",
    "Yields",
]


class Waiter(ABC):
    """An event that can be set once, by the event loop's thread."""

    __slots__ = ()

    @abstractmethod
    def set(self) -> None:
        """Wake all waiting tasks, now and in future; setting it again does nothing."""

    @abstractmethod
    async def wait(self) -> None:
        """Wait until the event is set; always a checkpoint.

        A cancellation leaves nothing behind: the event may be waited for again.
        """


class Waker(ABC):
    """Wakes one task, which comes back to it again and again, from any thread."""

    __slots__ = ()

    @abstractmethod
    def wake(self) -> None:
        """Wake the task, by the event loop; does not wait for it. For any thread, also finalizers and signal handlers.

        :raises RuntimeError: the loop has ended, where that can be told.
        """

    @abstractmethod
    async def wait(self) -> None:
        """Wait until it is woken; return at once if it was since the last time. May also return for no reason.

        A cancellation leaves nothing behind.
        """

    @abstractmethod
    def close(self) -> None:
        """Forget every registration, in the event loop's thread; waking does nothing any more."""


class SocketWaiter(ABC):
    """Waits until a non-blocking socket can be read or written; one task at a time.

    Made by `Backend.socket_waiter()` inside the event loop that will wait. All methods but `abandon()` belong
    to that event loop's thread.
    """

    __slots__ = ()

    # Not a coroutine function, so that the fastest form will do; what it returns is to be awaited at once.
    @abstractmethod
    def wait(self, readable: bool, writable: bool) -> Awaitable[None]:
        """Wait until the socket is in any of the states asked for.

        May also return for no reason: try the operation, and wait again if it would still block. Always a
        checkpoint. A cancellation (also an asyncio `task.cancel()`) leaves the socket as it was.

        :param readable: wait for data, end of file or an error.
        :param writable: wait for room to send, the end of a connection attempt or an error.
        :raises anyio.BusyResourceError: another task is waiting here.
        :raises anyio.ClosedResourceError: `close()` was called, before or meanwhile.
        :raises ValueError: neither state was asked for.
        """

    @abstractmethod
    def wake(self) -> None:
        """Make the wait of the moment return at once; does nothing if nobody waits."""

    @abstractmethod
    def close(self) -> None:
        """Forget every registration; call it before closing the socket. Wakes the waiter, idempotent."""

    def abandon(self, sock: socket.socket) -> None:
        """Forget every registration and close `sock`, from a finalizer, which may run in any thread.

        Nobody waits at that time: the waiting task would keep the stream alive.
        """
        self.close()
        sock.close()


class Yields:
    """Yields values to whoever runs the coroutine that awaits it, one after the other."""

    __slots__ = ("_values",)

    def __init__(self, *values: object) -> None:
        self._values = values

    def __await__(self) -> Generator[Any, Any, None]:
        values: Any = iter(self._values)  # all that `await` asks of a generator, and sooner made
        return values  # type: ignore[no-any-return]


DONE = Yields()
"""Is over when it is awaited."""

ONE_TURN = Yields(None)
"""Yields once: where that means to the event loop that it runs the task again in its next turn."""


class CancellationCheck:
    """Looks whether the task that runs now is cancelled, which takes no time."""

    __slots__ = ()

    def passes(self) -> bool:
        """Do what :meth:`Backend.may_go_on` does."""
        return False


class BackendState:
    """What a backend has for each query."""

    __slots__ = ("check", "turn")

    def __init__(self, check: CancellationCheck, turn: Awaitable[None] | None = None) -> None:
        self.check = check
        """For its event loop."""
        self.turn = turn
        """What :meth:`Backend.checkpoint` returns, if that is always the same."""


class Backend(BackendState, ABC):
    """One event loop, that which runs when this is made, and the library that it is of."""

    __slots__ = ("_thread",)

    def __init__(self, check: CancellationCheck, turn: Awaitable[None] | None = None) -> None:
        super().__init__(check, turn)
        self._thread = threading.current_thread().name

    name: str
    """The library's name as anyio spells it: "asyncio" or "trio"."""

    cancelled_exc_class: type[BaseException]
    """The exception that a cancelled task sees."""

    @abstractmethod
    def checkpoint(self) -> Awaitable[None]:
        """Yield to the scheduler once, and raise if the task is cancelled.

        Returns an awaitable to be awaited at once; not necessarily a coroutine, so that the fastest form will
        do.
        """

    @abstractmethod
    def checkpoint_if_cancelled(self) -> Awaitable[None]:
        """Raise if the current scope is cancelled already; otherwise return without yielding.

        :raises InterfaceError: at once, as :meth:`check_here`.
        """

    def may_go_on(self) -> bool:
        """Return whether :meth:`checkpoint_if_cancelled` would find that the task is not cancelled, in no time.

        False says nothing: it may be another thread that asks, or there is no such way to know. Then that one is to be
        awaited.
        """
        return self.check.passes()

    def in_loop(self) -> Awaitable[None]:
        """Return what to await before anyio's clock, cancel scopes, other tasks or another connection are needed.

        In an event loop that is nothing, and no checkpoint. A thread that runs a coroutine without one stops there, and
        the event loop goes on with it (see `blocking`).
        """
        return DONE

    @abstractmethod
    def is_here(self) -> bool:
        """Return whether this is the event loop that runs in this thread now."""

    @abstractmethod
    def current_task(self) -> object:
        """Return the task that runs now, in this event loop."""

    def check_here(self) -> None:
        """Check that the caller runs in this event loop, for what is neither for other threads nor for other loops.

        :raises InterfaceError: it does not; the message says which loop this is.
        """
        if not self.is_here():
            ended = "" if self.call_there(_nothing) else ", which has ended"
            raise InterfaceError(
                f"this connection belongs to the {self.name} event loop of thread {self._thread!r}{ended}, and can be "
                "used by its tasks only: open a connection in each event loop; for other threads there are "
                "anyq.connect(), whose connections any thread may use, and anyq.Connection.from_async()"
            )

    @abstractmethod
    def call_there(self, callback: Callable[[], object]) -> bool:
        """Have a function called soon in this event loop, from anywhere; return False if it does not run any more."""

    @abstractmethod
    def create_waiter(self) -> Waiter:
        """Return a new one-shot event."""

    @abstractmethod
    def create_waker(self) -> Waker:
        """Return a waker for a task of the event loop that is running now."""

    @abstractmethod
    def thread_waker(self) -> Callable[[Callable[[], object]], object]:
        """Return a function that has a function called soon in the event loop that is running now.

        It may be called by any thread, by finalizers and by signal handlers; it does not wait, and raises
        RuntimeError once the loop has ended.
        """

    @abstractmethod
    def socket_waiter(self, sock: socket.socket) -> SocketWaiter:
        """Return the waiter for a non-blocking, open socket that nobody else waits for.

        The waiter must be closed before the socket is.
        """


def _nothing() -> None:
    """Only find out whether it would be called."""
