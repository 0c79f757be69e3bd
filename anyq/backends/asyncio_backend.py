"""asyncio: its own loops, uvloop, and loops that cannot watch sockets (Windows' Proactor loop).

Knows: every difference between those. Must not know: anything above `base`.

How the socket is watched
-------------------------
`loop.add_reader()` and `loop.remove_reader()` around each wait cost two system calls, and more time than all
the rest of it: a wait for data that is there takes 17 us with them and 9 us without (uvloop: 12 and 5). So
the reader stays registered from one wait to the next. The event loop reports a readable socket again in each
of its turns until it is read, hence two rules:

- Data that arrives while nobody waits must not spin the loop: the reader is then unregistered, and the next
  wait registers it again and hears of the data at once.
- The task that waits is run by the report itself (see `_ReusableFuture`), and not in the loop's next turn: the loop
  would poll the socket once more before the task could read.

The writer is registered only while a task waits for it: a socket is writable nearly always.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Generator
from contextlib import suppress
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import anyio
import anyio.lowlevel

from . import eventfd
from .anyio_scopes import AnyioCheck
from .base import ONE_TURN, Backend, SocketWaiter, Waiter, Waker

__all__ = ["AsyncioBackend"]

_watching_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, bool] = WeakKeyDictionary()
"""Whether a loop has a working add_reader(): found out once for each loop."""

_RECHECK_SECONDS = 1.0
"""After so long a wait that relies on anyio's thread returns for no reason, as every wait may."""


class AsyncioBackend(Backend):
    """asyncio with any event loop."""

    __slots__ = ("_loop",)

    name = "asyncio"
    cancelled_exc_class = asyncio.CancelledError

    def __init__(self) -> None:
        """:raises RuntimeError: no event loop of asyncio's is running in this thread."""
        self._loop = asyncio.get_running_loop()
        super().__init__(AnyioCheck(self._loop), ONE_TURN)

    # A bare yield is what asyncio.sleep(0) boils down to: the loop runs the task again in its next turn, and
    # a cancellation (native or of an anyio scope) is thrown in at the yield.
    def checkpoint(self) -> Awaitable[None]:
        return ONE_TURN

    def checkpoint_if_cancelled(self) -> Awaitable[None]:
        if _running_loop() is not self._loop:
            self.check_here()
        return (_anyio_functions or _find_anyio_functions()).checkpoint_if_cancelled()

    def is_here(self) -> bool:
        return _running_loop() is self._loop

    def current_task(self) -> object:
        return asyncio.current_task()

    def call_there(self, callback: Callable[[], object]) -> bool:
        if not self._loop.is_running():
            return False
        try:
            self._loop.call_soon_threadsafe(callback)
        except RuntimeError:  # closed since then
            return False
        return True

    def create_waiter(self) -> Waiter:
        return _AsyncioWaiter()

    def create_waker(self) -> Waker:
        loop = asyncio.get_running_loop()
        if eventfd.AVAILABLE:
            made = eventfd.Eventfd()
            if _can_watch(loop, made.fd):
                return _EventfdWaker(loop, made)
        return _AsyncioWaker(loop)

    def thread_waker(self) -> Callable[[Callable[[], object]], object]:
        return asyncio.get_running_loop().call_soon_threadsafe

    def socket_waiter(self, sock: socket.socket) -> SocketWaiter:
        loop = asyncio.get_running_loop()
        return _WatchingSocketWaiter(loop, sock) if _can_watch(loop, sock.fileno()) else _ThreadSocketWaiter(sock)


class _AnyioFunctions(Protocol):
    def checkpoint_if_cancelled(self) -> Awaitable[None]: ...


_anyio_functions: _AnyioFunctions | None = None
"""anyio's own functions for asyncio, where its tokens lead to them. Its public ones ask each time which event loop is
running, which takes them longer than all the rest."""


def _find_anyio_functions() -> _AnyioFunctions:
    global _anyio_functions
    # Before anyio 4.11 a token was the event loop itself; then the public functions have to do.
    found: _AnyioFunctions = getattr(anyio.lowlevel.current_token(), "backend_class", anyio.lowlevel)
    _anyio_functions = found
    return found


def _can_watch(loop: asyncio.AbstractEventLoop, fd: int) -> bool:
    """Return False for loops without add_reader(), of which the Proactor loop is the best known."""
    watches = _watching_loops.get(loop)
    if watches is None:
        try:
            loop.add_reader(fd, _nothing)
        except NotImplementedError:
            watches = False
        else:
            loop.remove_reader(fd)
            watches = True
        _watching_loops[loop] = watches
    return watches


def _nothing() -> None:
    """Take the probe's callback; never called, as the loop has no turn in between."""


_running_loop = asyncio._get_running_loop  # noqa: SLF001 - a public name, that of get_running_loop() without an error


class _AsyncioWaiter(Waiter):
    """One future for each waiting task: one that tasks share would be cancelled with the first of them."""

    __slots__ = ("_futures", "_set")

    def __init__(self) -> None:
        self._set = False
        self._futures: list[asyncio.Future[None]] = []

    def set(self) -> None:
        if not self._set:
            for future in self._futures:
                if not future.done():
                    try:  # noqa: SIM105 - suppress() takes as long as all the rest
                        future.set_result(None)
                    except RuntimeError:
                        pass  # its loop has been closed under the task that waits
            self._futures.clear()
            self._set = True

    async def wait(self) -> None:
        if self._set:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._futures.append(future)
        try:
            await future
        except BaseException:
            if not self._set:
                self._futures.remove(future)
            raise


class _ReusableFuture(asyncio.Future[None]):
    """A future that never has a result, and that a task awaits again and again.

    A usual one would run the task in the loop's next turn, and a turn costs as much as all the rest of a short wait.
    This one can run it in the turn that hears of the event, where nothing else is running.

    It is a future, and keeps the task where a future does, for the sake of interrupts: what a task calls to be woken
    must not be a function in Python, where Ctrl-C may be raised, as nobody would run the task any more. For the same
    reason the task is forgotten when it runs, and not before.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self._error: BaseException | None = None
        self.waited_for = False
        """Whether a task waits that nobody has woken."""

    def resume_now(self) -> None:
        """Run the task that waits, if one does; to be called by the event loop, not by another task.

        It may run for no reason: a signal handler may cancel it at any moment, also here, and then it runs twice.
        """
        callbacks = self._callbacks
        if callbacks:
            wakeup, context = callbacks[0]
            context.run(wakeup, self)

    def resume_soon(self) -> None:
        """Run the task that waits, if one does, in the loop's next turn."""
        if self.waited_for:
            self._loop.call_soon(self.resume_now)
            self.waited_for = False

    def fail(self, error: BaseException) -> None:
        """Raise in the task that waits, if one does, in the loop's next turn."""
        if self.waited_for:
            self._error = error
            self.resume_soon()

    def _forget(self) -> None:
        """Forget the task that runs now, which has waited longest."""
        self.waited_for = False
        callbacks = self._callbacks
        if callbacks:
            self.remove_done_callback(callbacks[0][0])

    # -- what a task expects of a future

    def __await__(self) -> Generator[Any, None, None]:
        try:
            self.waited_for = self._asyncio_future_blocking = True
            yield self
        except asyncio.CancelledError:
            raise
        except BaseException:
            # An interrupt, which may have come in result().
            self._error = None
            if self.waited_for:
                self._forget()
            raise

    def done(self) -> bool:
        return not self.waited_for

    def result(self) -> None:
        """Called by the task when it is run; what is raised here is raised in it."""
        self._forget()
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def cancel(self, msg: object = None) -> bool:
        if not self.waited_for:
            return False
        # anyio tells its own cancellations by their message.
        self.fail(asyncio.CancelledError() if msg is None else asyncio.CancelledError(msg))
        return True


class _AsyncioWaker(Waker):
    """An event that other threads set through the event loop's own queue."""

    __slots__ = ("_future", "_loop", "_woken")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._future = _ReusableFuture(loop)
        self._woken = False

    def wake(self) -> None:
        self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        self._woken = True
        self._future.resume_now()

    async def wait(self) -> None:
        if not self._woken:
            await self._future
        self._woken = False

    def close(self) -> None:
        """Nothing is registered."""


class _EventfdWaker(_AsyncioWaker):
    """The same by an eventfd that the loop watches: half the system calls, and a third less time for a hop."""

    __slots__ = ("_eventfd",)

    def __init__(self, loop: asyncio.AbstractEventLoop, watched: eventfd.Eventfd) -> None:
        super().__init__(loop)
        self._eventfd = watched
        loop.add_reader(watched.fd, self._wake)

    def wake(self) -> None:
        if self._loop.is_closed():
            raise RuntimeError("Event loop is closed")
        self._eventfd.write()

    def _wake(self) -> None:
        self._eventfd.read()
        super()._wake()

    def close(self) -> None:
        if not self._loop.is_closed():
            self._loop.remove_reader(self._eventfd.fd)


class _WatchingSocketWaiter(SocketWaiter):
    """By add_reader() and add_writer(); see the head of this module.

    It holds the descriptor's number and not the socket: the loop holds on to its callbacks, and with them it
    would keep a forgotten stream's socket open for ever.
    """

    __slots__ = (
        "_closed",
        "_fd",
        "_future",
        "_loop",
        "_reading",
        "_registered",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
        self._fd = sock.fileno()
        self._loop = loop
        self._future = _ReusableFuture(loop)
        self._reading = False
        """The current wait is (also) for readability."""
        self._registered = False
        self._closed = False

    def wait(self, readable: bool, writable: bool) -> Awaitable[None]:
        future = self._future
        if not (self._registered and readable) or writable or future.waited_for:
            return self._wait(readable, writable)
        # Nearly always so, and then there is nothing to do before the wait, or behind it.
        self._reading = True
        return future

    async def _wait(self, readable: bool, writable: bool) -> None:
        if self._future.waited_for:
            raise anyio.BusyResourceError("waiting for")
        if self._closed:
            raise anyio.ClosedResourceError
        if not (readable or writable):
            raise ValueError("nothing to wait for: ask for readable, writable or both")
        loop = self._loop
        self._reading = readable
        try:
            if readable and not self._registered:
                loop.add_reader(self._fd, self._on_readable)
                self._registered = True
            if writable:
                loop.add_writer(self._fd, self._future.resume_now)
            await self._future
        finally:
            # After close() the number may belong to another socket.
            if writable and not self._closed:
                loop.remove_writer(self._fd)

    def _on_readable(self) -> None:
        if self._reading and self._future.waited_for:
            self._future.resume_now()
        else:
            self._unregister()

    def _unregister(self) -> None:
        try:
            if not self._loop.is_closed():
                self._loop.remove_reader(self._fd)
            self._registered = False
        except BaseException:
            self._registered = False
            raise

    def wake(self) -> None:
        self._future.resume_soon()

    def close(self) -> None:
        if not self._closed:
            # Whether or not it is thought to be registered: an interrupt may have come between the two.
            self._unregister()
            if self._future.waited_for and not self._loop.is_closed():
                self._loop.remove_writer(self._fd)
                self._future.fail(anyio.ClosedResourceError())
            self._closed = True

    def abandon(self, sock: socket.socket) -> None:
        loop = self._loop
        if self._registered and loop.is_running() and loop is not _running_loop():
            # Loops are not to be touched from other threads; and the socket must outlive its registration.
            try:
                loop.call_soon_threadsafe(super().abandon, sock)
                return
            except RuntimeError:  # the loop was closed in the meantime, and its registrations went with it
                self._registered = False
        super().abandon(sock)


class _ThreadSocketWaiter(SocketWaiter):
    """For loops that cannot watch sockets: anyio watches them for us in a selector thread of its own.

    anyio's thread tells its callbacks apart by their descriptor alone. So each direction has a descriptor of its
    own, duplicates of the socket's; and after a wait that was interrupted another set is used, since a callback
    may still be on its way and would end the registration of the next wait. A number that another socket has had
    until now may be hit by such a callback all the same, so no wait trusts its registration for long.
    """

    __slots__ = ("_closed", "_handles", "_scope", "_set", "_sock")

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._handles: dict[tuple[bool, int], socket.socket] = {}
        """The duplicates by direction and set; the socket itself is that for reading in the first set."""
        self._set = 0
        self._scope: anyio.CancelScope | None = None
        self._closed = False

    async def wait(self, readable: bool, writable: bool) -> None:
        if self._scope is not None:
            raise anyio.BusyResourceError("waiting for")
        if self._closed:
            raise anyio.ClosedResourceError
        if not (readable or writable):
            raise ValueError("nothing to wait for: ask for readable, writable or both")
        ready = False

        async def wait_one(wait: Callable[[socket.socket], Awaitable[None]], handle: socket.socket) -> None:
            nonlocal ready
            if not self._closed:
                # ClosedResourceError comes from close().
                with suppress(anyio.ClosedResourceError):
                    await wait(handle)
                ready = True
                self.wake()

        with anyio.move_on_after(_RECHECK_SECONDS) as scope:
            self._scope = scope
            try:
                if not writable:
                    await wait_one(anyio.wait_readable, self._handle(False))
                elif not readable:
                    await wait_one(anyio.wait_writable, self._handle(True))
                else:
                    async with anyio.create_task_group() as group:
                        group.start_soon(wait_one, anyio.wait_readable, self._handle(False))
                        group.start_soon(wait_one, anyio.wait_writable, self._handle(True))
            finally:
                self._scope = None
                if not ready or (readable and writable):
                    self._set ^= 1
        if self._closed:
            raise anyio.ClosedResourceError

    def _handle(self, writing: bool) -> socket.socket:
        if not writing and self._set == 0:
            return self._sock
        key = (writing, self._set)
        if key not in self._handles:
            self._handles[key] = self._sock.dup()
        return self._handles[key]

    def wake(self) -> None:
        if self._scope is not None:
            self._scope.cancel()

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            handles = self._handles.values()
            if self._scope is not None:
                # The scope is cancelled only when the loop turns; the thread must let go of the socket at
                # once.
                for handle in (self._sock, *handles):
                    anyio.notify_closing(handle)
                self.wake()
            for handle in handles:
                handle.close()
