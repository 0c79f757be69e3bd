"""Calls: how the synchronous objects of one connection call the asynchronous ones, and when they refuse to.

Knows portals, and the ways that a connection ends: closed, its event loop stopped, inherited by fork(). Must not know
what is called.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Protocol
from weakref import ref

from typing_extensions import ParamSpec, TypeVar

from ..connection import AsyncConnection
from ..errors import InterfaceError, ProgrammingError
from ..rows import RowFactory
from ..session.pipeline import PipelineQueue
from .direct import Direct
from .portal import FORKED, Portal
from .worker import PortalStopped

P = ParamSpec("P")
T = TypeVar("T")


class Droppable(Protocol):
    """What goes on in the event loop until it is ended."""

    @property
    def under_way(self) -> bool: ...

    def drop(self) -> None: ...


class _Watched(ref[Any]):
    """A synchronous object, and what it holds."""

    __slots__ = ("what",)
    what: Droppable


class _Own(threading.local):
    """What each thread has for itself."""

    pipeline: PipelineQueue | None = None
    """The pipeline that it is in a block of."""

    def current_pipeline(self) -> PipelineQueue | None:
        """Return that, unless an interrupt has kept its block from being left."""
        if self.pipeline is not None and self.pipeline.is_lost():
            self.pipeline = None
        return self.pipeline


class Calls:
    """The way of a connection, or of a listener, into its event loop; all that is made of it shares this.

    :param user: what the portal knows this by.
    :param grace: seconds that a cancelled call may take to leave everything clean.
    :param check_open: raises what is to be raised where what is called was closed.
    :param direct: runs calls in the thread that makes them; None to run all of them in the portal.
    """

    def __init__(
        self,
        portal: Portal,
        user: object,
        grace: float,
        check_open: Callable[[], None],
        direct: Direct | None = None,
    ) -> None:
        self.portal = portal
        self._direct = direct
        self._user = user
        self._grace = grace
        self._check_open = check_open
        self.own = _Own()
        """What the thread that asks has for itself."""
        self._ended = False
        self._released = False
        self._feeding: int | None = None  # the thread that makes parameters for executemany()
        self._refusing = False  # either of the two
        self._watched: dict[int, _Watched] = {}
        self._dropped: deque[ref[Any]] = deque()

    @property
    def ended(self) -> bool:
        """Whether this was ended, so that nothing can be called."""
        return self._ended

    def check_open(self) -> None:
        """Raise an OperationalError if what is called was closed, an InterfaceError if nothing can be called."""
        self._check_open()
        if self.portal.failure is not None:
            raise InterfaceError(self.portal.failure)

    def check_callable(self) -> None:
        """Raise what :meth:`call` would raise before it calls."""
        if self._refusing:
            self._refuse()

    def call(self, func: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a coroutine function in the event loop, and return what it returns.

        :raises InterfaceError: this is the loop's own thread, or there is no loop any more.
        :raises ProgrammingError: this thread makes parameters for executemany().
        """
        if self._refusing:
            self._refuse()
        if self._dropped:
            self._clean_up()
        try:
            return self._call(func, args, kwargs)
        except PortalStopped:
            # Another thread has closed it meanwhile, and it was the portal's last.
            self._check_open()
            raise

    def _call(self, func: Callable[..., Awaitable[T]], args: tuple[Any, ...], kwargs: dict[str, Any]) -> T:
        direct = self._direct
        if direct is None:
            return self.portal.call(self._grace, func, *args, **kwargs)
        result: T = direct.call_in_loop(self._grace, func, args, kwargs)
        return result

    def call_always(self, func: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Do the same also where calls are refused: for what has to be done with a connection that was closed."""
        # What is posted may come after a call.
        return (
            self._call(self._without_dropped, (func, *args), kwargs)
            if self._dropped
            else self._call(func, args, kwargs)
        )

    async def _without_dropped(self, func: Callable[..., Awaitable[T]], *args: Any, **kwargs: Any) -> T:
        for what in self._take_dropped():
            what.drop()
        return await func(*args, **kwargs)

    def call_unless_ended(self, func: Callable[P, Awaitable[object]], /, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Do the same for what closes something; return False if all has ended before, and nothing was called."""
        if self._ended or self.portal.failure is not None:
            return False
        try:
            self._call(func, args, kwargs)
        except PortalStopped:
            return False
        return True

    def drive(self, func: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Do what :meth:`call` does, in this thread as far as possible: for what waits for nothing but the server.

        :raises InterfaceError: it is called amid another call of this thread on the connection.
        """
        direct = self._direct
        if direct is None:
            return self.call(func, *args, **kwargs)
        if self._refusing:
            self._refuse()
        if self._dropped:
            self._clean_up()
        try:
            result: T = direct.call(self._grace, func, args, kwargs)
            return result
        except PortalStopped:
            self._check_open()
            raise

    def drive_unless_ended(self, func: Callable[P, Awaitable[object]], /, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Do the same for what closes something; return False if all has ended before, and nothing was called."""
        if self._direct is None:
            return self.call_unless_ended(func, *args, **kwargs)
        if self._ended or self.portal.failure is not None:
            return False
        try:
            self._direct.call(self._grace, func, args, kwargs)
        except PortalStopped:
            return False
        return True

    def call_beside(self, func: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Do what :meth:`call` does for what does not touch the connection, whatever any thread does with that."""
        return self.portal.call(self._grace, func, *args, **kwargs)

    def post(self, callback: Callable[[], object]) -> None:
        """Have a function called in the event loop, without waiting; for finalizers too."""
        if self._direct is None:
            self.portal.post(callback)
        else:
            self._direct.post(callback)

    def is_amid_call(self) -> bool:
        """Return whether this thread is at work on the connection, and something of the user's has come between."""
        return self._direct is not None and self._direct.is_amid_call()

    def let_tasks_in(self) -> None:
        """Run everything in the event loop from now on, as tasks there may use the connection as well."""
        if self._direct is not None and not self._ended and self.portal.failure is None:
            self._direct.switch_off(self._grace)

    def pause(self) -> None:
        """Run everything in the event loop until :meth:`resume`: in a call there, or where no thread can call."""
        if self._direct is not None:
            self._direct.pause()

    def resume(self) -> None:
        """Undo that, in the event loop, as no task there uses the connection any more."""
        if self._direct is not None:
            self._direct.resume()

    def watch(self, owner: object, what: Droppable) -> None:
        """Have what a synchronous object holds dropped after that, in the loop, by whoever calls next.

        Nothing of Python's runs when it is dropped: what is raised then would be lost, and Ctrl-C may be.
        """
        watched = _Watched(owner, self._dropped.append)
        watched.what = what
        self._watched[id(watched)] = watched

    def _clean_up(self) -> None:
        for what in self._take_dropped():
            self.post(what.drop)

    def _take_dropped(self) -> Iterator[Droppable]:
        while self._dropped:
            what = self._watched.pop(id(self._dropped.popleft())).what
            if what.under_way:
                yield what

    def begin_feeding(self) -> None:
        """Refuse this thread's calls, which would wait for what it is about to make."""
        self._feeding = threading.get_ident()
        self._refusing = True

    def end_feeding(self) -> None:
        """Let this thread call again."""
        self._feeding = None
        self._refusing = self._ended

    def end(self, close: Callable[[], object] | None) -> None:
        """Refuse all calls from now on, and do without the portal.

        :param close: to be called in the event loop before.
        """
        if self._released:
            return
        try:
            self._end(close)
        except BaseException:
            # Interrupted: the same again, which does what is left of it.
            self._end(close)
            raise

    def _end(self, close: Callable[[], object] | None) -> None:
        self._ended = self._refusing = True
        if close is not None:
            self.post(close)
        self.portal.release(self._user)
        self._released = True

    def forget(self) -> None:
        """Do without the portal: from a finalizer, without waiting for anything."""
        self.portal.forget(self._user)

    def _refuse(self) -> None:
        if self._ended:
            if self.portal.inherited:
                raise InterfaceError(FORKED)
            self.check_open()
        if self._feeding == threading.get_ident():
            raise ProgrammingError(
                "the parameters of executemany() cannot be made by statements on the same connection: its statement is "
                "under way meanwhile; use another connection for one of the two, or give executemany() a list"
            )


class CallsOwner(Protocol):
    """What cursors and blocks ask of the connection that made them."""

    @property
    def calls(self) -> Calls:
        """The way into the event loop."""
        ...

    @property
    def inner(self) -> AsyncConnection[Any]:
        """The asynchronous connection inside."""
        ...

    @property
    def closed(self) -> bool:
        """Whether the connection is closed, by either side."""
        ...

    @property
    def row_factory(self) -> RowFactory[Any]:
        """The factory of rows of cursors that have none of their own."""
        ...


ConnectionT = TypeVar("ConnectionT", bound=CallsOwner, default=Any, covariant=True)
"""The class of an object's connection; where it is not given nothing is checked about it."""
