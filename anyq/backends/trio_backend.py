"""trio. Imported only when trio is running.

Knows: trio's low-level API. Must not know: anything above `base`.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Awaitable, Callable, Generator
from contextlib import suppress
from typing import Any

import anyio
import trio

from . import eventfd
from .base import Backend, CancellationCheck, SocketWaiter, Waiter, Waker
from .interrupts import alone, mark_by, uninterrupted

__all__ = ["TrioBackend"]


mark_by(trio.lowlevel.enable_ki_protection, trio.lowlevel.disable_ki_protection)


def _shielded_turn() -> object:
    """Return what trio's `cancel_shielded_checkpoint()` yields to its scheduler."""
    coro = trio.lowlevel.cancel_shielded_checkpoint()  # noqa: ASYNC105 - it is never run to its end
    try:
        return coro.send(None)
    finally:
        coro.close()


class _Checkpoint:
    """The two halves of trio's `checkpoint()`, the first of which is not run through coroutines each time."""

    __slots__ = ()

    def __await__(self) -> Generator[Any, Any, None]:
        yield _SHIELDED_TURN
        yield from trio.lowlevel.checkpoint_if_cancelled().__await__()  # noqa: ASYNC105 - it is awaited


_SHIELDED_TURN = _shielded_turn()
_CHECKPOINT = _Checkpoint()


class TrioCheck(CancellationCheck):
    """Does what trio's `checkpoint_if_cancelled()` does first, but that this is nothing to be awaited.

    There is no public way to what is looked at; without it that function is awaited.
    """

    __slots__ = ("_token",)

    def __init__(self, token: trio.lowlevel.TrioToken) -> None:
        self._token = token

    def passes(self) -> bool:
        try:
            # As trio.lowlevel.current_task() does.
            task = _context.task
            runner = task._runner  # noqa: SLF001
            return runner.trio_token is self._token and not (
                task._cancel_status.effectively_cancelled  # noqa: SLF001
                or (task is runner.main_task and runner.ki_pending)
            )
        except AttributeError:
            return False


_context: Any = getattr(sys.modules.get("trio._core._run"), "GLOBAL_RUN_CONTEXT", None)
"""Where trio has what runs in each thread."""


class TrioBackend(Backend):
    """trio, in a normal run or in guest mode."""

    __slots__ = ("_token",)

    name = "trio"
    cancelled_exc_class = trio.Cancelled

    def __init__(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        super().__init__(TrioCheck(self._token), _CHECKPOINT)

    def checkpoint(self) -> Awaitable[None]:
        return _CHECKPOINT

    def checkpoint_if_cancelled(self) -> Awaitable[None]:
        if not self.is_here():
            self.check_here()
        return trio.lowlevel.checkpoint_if_cancelled()  # noqa: ASYNC105 - whoever calls this awaits it

    def is_here(self) -> bool:
        try:
            return trio.lowlevel.current_trio_token() is self._token
        except RuntimeError:
            return False

    def current_task(self) -> object:
        return trio.lowlevel.current_task()

    def call_there(self, callback: Callable[[], object]) -> bool:
        try:
            self._token.run_sync_soon(callback)
        except trio.RunFinishedError:
            return False
        return True

    def create_waiter(self) -> Waiter:
        return _TrioWaiter()

    def create_waker(self) -> Waker:
        return _EventfdWaker() if eventfd.AVAILABLE else _TrioWaker()

    def thread_waker(self) -> Callable[[Callable[[], object]], object]:
        return trio.lowlevel.current_trio_token().run_sync_soon

    def socket_waiter(self, sock: socket.socket) -> SocketWaiter:
        return _TrioSocketWaiter(sock)


class _TrioWaiter(Waiter):
    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = trio.Event()

    def set(self) -> None:
        self._event.set()

    async def wait(self) -> None:
        await self._event.wait()


class _TrioWaker(Waker):
    """An event that other threads set through trio's own queue, which takes a turn of its own."""

    __slots__ = ("_run_sync_soon", "_woken", "_task")

    def __init__(self) -> None:
        self._run_sync_soon = trio.lowlevel.current_trio_token().run_sync_soon
        self._woken = False
        self._task: trio.lowlevel.Task | None = None

    def wake(self) -> None:
        self._run_sync_soon(self._wake)

    def _wake(self) -> None:
        self._woken = True
        if self._task is not None:
            task, self._task = self._task, None
            trio.lowlevel.reschedule(task)

    async def wait(self) -> None:
        if not self._woken:
            self._task = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._cancelled)
        self._woken = False

    def _cancelled(self, _: object) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED

    def close(self) -> None:
        """Nothing is registered."""


class _EventfdWaker(Waker):
    """An eventfd that the task waits for."""

    __slots__ = ("_eventfd",)

    def __init__(self) -> None:
        self._eventfd = eventfd.Eventfd()

    def wake(self) -> None:
        self._eventfd.write()

    async def wait(self) -> None:
        await trio.lowlevel.wait_readable(self._eventfd.fd)
        self._eventfd.read()

    def close(self) -> None:
        """Nothing is registered while nobody waits."""


@uninterrupted
class _TrioSocketWaiter(SocketWaiter):
    """By trio's wait_readable() and wait_writable().

    A wait for one state is interrupted by notify_closing(), which wakes the tasks that wait for a descriptor
    and forgets its registration, whether or not it is closed afterwards. A cancel scope around each wait
    would do as well, but would cost something in every wait, while wake() is rare.
    """

    __slots__ = ("_closed", "_scope", "_sock", "_waiting")

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._waiting = False
        self._scope: anyio.CancelScope | None = None
        """Around a wait for both states: its two tasks may not have started when wake() is called."""
        self._closed = False

    async def wait(self, readable: bool, writable: bool) -> None:
        if self._waiting:
            raise anyio.BusyResourceError("waiting for")
        if self._closed:
            raise anyio.ClosedResourceError
        try:
            try:
                self._waiting = True
                if readable and writable:
                    await self._wait_both()
                elif readable:
                    await trio.lowlevel.wait_readable(self._sock)
                elif writable:
                    await trio.lowlevel.wait_writable(self._sock)
                else:
                    raise ValueError("nothing to wait for: ask for readable, writable or both")
            except trio.ClosedResourceError:
                # By wake() or close(): nobody else knows the descriptor.
                pass
            finally:
                self._waiting = False
        except BaseException:
            self._waiting = False  # that may have been interrupted
            raise
        if self._closed:
            raise anyio.ClosedResourceError

    async def _wait_both(self) -> None:
        # anyio's task group rather than trio's nursery: it never wraps Cancelled in an exception group.
        try:
            async with anyio.create_task_group() as group:
                self._scope = group.cancel_scope
                group.start_soon(self._wait_one, trio.lowlevel.wait_readable, group.cancel_scope)
                group.start_soon(self._wait_one, trio.lowlevel.wait_writable, group.cancel_scope)
        except BaseException as error:
            raise alone(error) from None
        finally:
            self._scope = None

    async def _wait_one(self, wait: Callable[[socket.socket], Awaitable[None]], scope: anyio.CancelScope) -> None:
        if not scope.cancel_called:
            with suppress(trio.ClosedResourceError):
                await wait(self._sock)
            scope.cancel()

    def wake(self) -> None:
        if self._scope is not None:
            self._scope.cancel()
        elif self._waiting:
            trio.lowlevel.notify_closing(self._sock)

    def close(self) -> None:
        if not self._closed:
            if self._waiting:
                # Also for a wait for both states: a cancelled scope ends its tasks after the socket is
                # closed.
                trio.lowlevel.notify_closing(self._sock)
                self.wake()
            self._closed = True
