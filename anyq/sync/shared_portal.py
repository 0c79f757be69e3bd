"""The portal that a process shares: a thread with an event loop, which is there for as long as somebody uses it.

Knows who uses it, fork and the end of the interpreter. Must not know what is called, or how (`portal`).
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections import deque
from contextlib import suppress
from typing import Any

import anyio
from anyio.from_thread import BlockingPortal

from ..backends import Waiter
from ..errors import NotSupportedError, ProgrammingError
from .portal import Portal, portal_of

EXIT_PATIENCE = 10.0
"""Seconds that the end of the interpreter waits for the shared portal's thread."""

GEVENT = (
    "anyq does not work where gevent has replaced the standard library's threads, queues or select(): its event loop "
    "runs in a thread, and would wait for ever. Call gevent.monkey.patch_all(thread=False, queue=False, select=False), "
    "which has each call block all greenlets of its thread, or use a driver that gevent knows"
)

# asyncio's debug mode, which `python -X dev` switches on, makes each call take three times as long; it is for finding
# mistakes in coroutines, and no others than the driver's run here.
_DEFAULTS: dict[str, dict[str, Any]] = {"asyncio": {"debug": False}, "trio": {}}


def _check_not_patched() -> None:
    # Where gevent was not imported it has replaced nothing.
    monkey: Any = sys.modules.get("gevent.monkey")
    if monkey is not None and any(map(monkey.is_module_patched, ("threading", "queue", "select"))):
        raise NotSupportedError(GEVENT)


class SharedPortal(Portal):
    """A portal with a thread and an event loop of its own, for all who do not say which they want."""

    def __init__(self, account: _Account, backend: str, backend_options: dict[str, Any]) -> None:
        _check_not_patched()
        super().__init__()
        self._account = account
        self._cancel = False
        self._unwanted = False
        self._stopping: Waiter
        started: list[BaseException | None] = []
        ready = threading.Event()

        async def main() -> None:
            async with BlockingPortal() as blocking:
                self.attach(blocking)
                self._stopping = self._backend.create_waiter()
                started.append(None)
                ready.set()
                if not self._unwanted:
                    await self._stopping.wait()
                self.end_workers()
                await blocking.stop(self._cancel)

        def run() -> None:
            try:
                anyio.run(main, backend=backend, backend_options={**_DEFAULTS[backend], **backend_options})
            except BaseException as error:
                if started:
                    raise
                started.append(error)
                ready.set()

        # A daemon, since the interpreter would otherwise wait for it before our atexit function is called.
        self._runner = threading.Thread(target=run, name="anyq portal", daemon=True)
        try:
            self._runner.start()
            ready.wait()
            if started[0] is not None:
                raise started[0]
            account.portal = self
        except BaseException:
            # Where it was interrupted, nobody gets to know of it.
            self._unwanted = True
            self.stop(cancel=True)
            raise

    def release(self, user: object) -> None:
        self._account.leave(user, wait=True)

    def forget(self, user: object) -> None:
        self._account.drop(user)

    def stop(self, *, cancel: bool) -> None:
        """Have the thread end, with what is under way cancelled or not; does not wait for it."""
        if self.attached:
            with suppress(RuntimeError):
                self._post(lambda: self._stop(cancel))

    def _stop(self, cancel: bool) -> None:
        self._cancel = cancel
        self._stopping.set()

    def join(self, seconds: float | None = None) -> None:
        """Wait for the end of the thread."""
        if self._runner is not threading.current_thread():
            self._runner.join(seconds)


class _Account:
    """Who uses the shared portal: it is there while it has users."""

    def __init__(self) -> None:
        self._backend = "asyncio"
        self._options: dict[str, Any] = {}
        self._clear()

    def _clear(self) -> None:
        self.portal: SharedPortal | None = None  # which enters itself, so that there is no moment between
        self._stopping: list[SharedPortal] = []  # stopping, and not waited for
        # Finalizers come here, in whatever this thread is doing: so it can be entered twice, and changes to the set
        # are all that has to be right.
        self._lock = threading.RLock()
        self._users: set[object] = set()
        self._dropped: deque[object] = deque()  # those that have still to leave: see drop()

    def join(self, user: object) -> SharedPortal:
        """Return the portal for a new user, started if it is the first."""
        try:
            with self._lock:
                self._users.add(user)
                if self.portal is None:
                    SharedPortal(self, self._backend, self._options)
                assert self.portal is not None
                portal = self.portal
            self._drop_all()
            return portal
        except BaseException:
            self.leave(user, wait=False)
            raise

    def leave(self, user: object, *, wait: bool) -> None:
        """Stop the portal if this was its last user."""
        try:
            self._leave(user, wait=wait)
        finally:
            self._drop_all()

    def drop(self, user: object) -> None:
        """Leave on behalf of a user that is gone; for finalizers, which must not wait for the lock.

        They run in whatever thread, and that may be the one of a portal that is starting, for which another thread
        waits with the lock in its hands. Then it is for that one to do when it gives the lock back.
        """
        self._dropped.append(user)
        self._drop_all()

    def _drop_all(self) -> None:
        while self._dropped and self._lock.acquire(blocking=False):
            try:
                user = self._dropped.popleft()
            except IndexError:
                return  # by a finalizer that has come between
            else:
                self._leave(user, wait=False)
            finally:
                self._lock.release()

    def _leave(self, user: object, *, wait: bool) -> None:
        with self._lock:
            self._users.discard(user)
            portal = self.portal
            if self._users or portal is None:
                return
            try:
                self.portal = None
                portal.stop(cancel=False)
                if not wait:
                    self._stopping.append(portal)
            except BaseException:
                # Interrupted: the same again.
                portal.stop(cancel=False)
                raise
        if wait:
            portal.join()

    def configure(self, backend: str, options: dict[str, Any]) -> None:
        """Choose the event loop of portals that are started from now on."""
        with self._lock:
            if self.portal is not None:
                raise ProgrammingError(
                    "the shared portal is running: choose its backend before the first connection is opened, or after "
                    "the last one was closed"
                )
            self._backend = backend
            self._options = options

    def exit(self) -> None:
        """Leave no thread behind, whoever has forgotten to close what."""
        portals = [*self._stopping, *([self.portal] if self.portal is not None else [])]
        for portal in portals:
            portal.stop(cancel=True)
        for portal in portals:
            portal.join(EXIT_PATIENCE)

    def after_fork(self) -> None:
        """Start anew in the child: the threads of the parent are not there, and the lock may be held for ever."""
        self._clear()


_shared = _Account()


def set_portal_backend(backend: str = "asyncio", backend_options: dict[str, Any] | None = None) -> None:
    """Choose the event loop of the shared portal, for all connections that are opened without ``portal=``.

    :param backend: "asyncio" or "trio".
    :param backend_options: as for ``anyio.run()``; for instance ``{"use_uvloop": True}``. By default asyncio's debug
        mode is off, also under ``python -X dev``; ``{"debug": True}`` switches it on.
    :raises ProgrammingError: the portal is running, because a connection is open.
    """
    if backend not in ("asyncio", "trio"):
        raise ValueError(f"backend must be 'asyncio' or 'trio', not {backend!r}")
    _shared.configure(backend, dict(backend_options or {}))


def leave_portal(blocking: BlockingPortal | None, user: object) -> None:
    """Undo :func:`open_portal`, whether it came to its end or was interrupted."""
    if blocking is None:
        _shared.leave(user, wait=True)


def open_portal(blocking: BlockingPortal | None, user: object) -> Portal:
    """Return the way into the caller's portal, or into the shared one for a new user of it.

    :raises InterfaceError: this is the portal's own thread, or the portal is not running.
    """
    return _shared.join(user) if blocking is None else portal_of(blocking)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_shared.after_fork)
atexit.register(_shared.exit)
