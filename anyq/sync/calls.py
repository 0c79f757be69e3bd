"""Calls: how a synchronous connection calls the asynchronous one, and when it refuses to.

Knows portals, and the ways that a connection ends: closed, its event loop stopped, inherited by fork(). Must not know
what is called.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from typing import Any

from typing_extensions import ParamSpec, TypeVar

from ..connection import AsyncConnection
from ..errors import InterfaceError, ProgrammingError
from .portal import FORKED, Portal
from .worker import PortalStopped

P = ParamSpec("P")
T = TypeVar("T")


class Calls:
    """A connection's way into its event loop.

    :param user: what the portal knows this by.
    """

    def __init__(self, async_connection: AsyncConnection[Any], portal: Portal, user: object) -> None:
        self._async = async_connection
        self._portal = portal
        self._user = user
        self._grace = async_connection.wire.cancelling.grace
        self._ended = False
        self._feeding: int | None = None  # the thread that makes parameters for executemany()
        self._barred = False  # either of the two

    def check_open(self) -> None:
        """Raise an OperationalError if the connection is closed."""
        self._async.check_open()
        if self._portal.failure is not None:
            raise InterfaceError(self._portal.failure)

    @property
    def ended(self) -> bool:
        """For this package: whether this object was closed, so that nothing can be called."""
        return self._ended

    def call(self, func: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """For this package: run a coroutine function in the event loop, and return what it returns."""
        if self._barred:
            self._refuse()
        try:
            return self._portal.call(self._grace, func, *args, **kwargs)
        except PortalStopped:
            # Another thread has closed it meanwhile, and it was the portal's last.
            self._async.check_open()
            raise

    def leave(self, func: Callable[P, Awaitable[object]], /, *args: P.args, **kwargs: P.kwargs) -> bool:
        """For this package: do the same for the end of something; return False if the connection ended before."""
        if self._ended or self._portal.failure is not None:
            return False
        try:
            self._portal.call(self._grace, func, *args, **kwargs)
        except PortalStopped:
            return False
        return True

    def post(self, callback: Callable[[], object]) -> None:
        """For this package: have a function called in the event loop, without waiting; for finalizers too."""
        self._portal.post(callback)

    def begin_feeding(self) -> None:
        """For this package: refuse this thread's calls, which would wait for what it is about to make."""
        self._feeding = threading.get_ident()
        self._barred = True

    def end_feeding(self) -> None:
        """For this package: let this thread call again."""
        self._feeding = None
        self._barred = self._ended

    def _refuse(self) -> None:
        if self._ended:
            if self._portal.inherited:
                raise InterfaceError(FORKED)
            self.check_open()
        if self._feeding == threading.get_ident():
            raise ProgrammingError(
                "the parameters of executemany() cannot be made by statements on the same connection: its statement is "
                "under way meanwhile; use another connection for one of the two, or give executemany() a list"
            )

    def _end(self) -> None:
        if self._ended:
            return
        self._ended = self._barred = True
        if not self._async.closed:
            # The call that should have closed it was interrupted, or the loop has stopped.
            self._portal.post(self._async.wire.close)
        self._portal.release(self._user)
