"""Engine: brings about what the books of a pool say, and lets clients wait for it.

Theory of operation. All accounts are kept by `bookkeeping`, at once and without waiting. What takes time is done by
three kinds of tasks: a *client* waits for its turn; an *opener* makes one connection (`opening`); the *keeper* closes
what is not needed any more when it is time, and tells clients whose time is over: a timer for each of them would cost
as much as all the rest of their waiting. Openers and the keeper belong to the ``async with`` block of the pool.
Without a block openers run inside of the clients that wait, each with its timer, and there is no keeper.

Knows tasks and event loops. Must not know how connections are opened, cleaned or given to clients.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import monotonic

import anyio
import anyio.abc

from ..backends import Backend, Waiter, current_backend, uninterrupted
from ..errors import InterfaceError, ProgrammingError
from .bookkeeping import Books, Ticket, Todo
from .errors import PoolClosed
from .options import Hooks

GRAIN = 0.01
"""Seconds that clients are told later at most, so that many of them are told at once."""


class Request(Ticket):
    """A client that waits in an event loop."""

    __slots__ = ("waiter",)

    def __init__(self, waiter: Waiter) -> None:
        super().__init__(waiter)
        self.waiter = waiter

    def renew(self, waiter: Waiter) -> None:
        """Be woken by another one: each wakes once."""
        self.waiter = self.wake_up = waiter


class Engine:
    """The tasks of one pool.

    :param name: that of the pool.
    """

    def __init__(self, name: str, books: Books, hooks: Hooks) -> None:
        self.name = name
        self.books = books
        self.open_one: Callable[[], Awaitable[None]]
        """What an opener does; set by who makes it."""
        self.retire: Callable[[], object]
        """Has connections come back that statements follow each other on; set by who has them."""
        self.was_opened = False
        self.round_trip = float("inf")
        """Seconds to the server and back, at best; infinity as long as there was no connection."""
        self._hooks = hooks
        self._backend: Backend | None = None
        self._block: anyio.abc.TaskGroup | None = None
        self._group: anyio.abc.TaskGroup | None = None  # where openers run
        self._scopes: set[anyio.CancelScope] = set()  # of the openers and the keeper
        self._keeper_due = float("-inf")
        self._keeper: Waiter | None = None
        self.keeps_time = False
        """Whether the keeper tells those whose time is over."""
        self._deadline_known = float("-inf")  # the first one that it knows of
        self._at_end: Waiter | None = None
        self._watchers: list[Waiter] = []  # of those who wait until the pool has its connections

    def here(self) -> Backend:
        """Return the event loop of the pool, which is that of the first use."""
        if self._backend is None:
            self._backend = current_backend()
        return self._backend

    def check_here(self) -> None:
        """Check that this is the event loop of the pool: nothing of it may be touched elsewhere.

        :raises InterfaceError: it is another one.
        """
        if not (self._backend or self.here()).is_here():
            raise InterfaceError(
                f"the pool {self.name!r} belongs to another event loop, and can be used by the tasks of that only: "
                "make a pool in each event loop; for threads there is ConnectionPool"
            )

    # -- opening and closing

    def begin(self) -> None:
        """Open the pool.

        :raises PoolClosed: it was closed.
        """
        if self.was_opened:
            raise PoolClosed(f"the pool {self.name!r} was closed, and cannot be opened again: make a new one")
        self.books.is_open = self.was_opened = True

    async def enter_block(self) -> None:
        """Begin to have a task group, and the keeper in it."""
        if self._block is not None:
            raise ProgrammingError(f"the block of the pool {self.name!r} was entered already")
        self.check_here()
        group = anyio.create_task_group()
        await group.__aenter__()
        self._block = group
        self._use(group)
        self.keeps_time = True
        group.start_soon(self._in_scope, self._keep, group)

    def _use(self, group: anyio.abc.TaskGroup | None) -> None:
        """Have openers run in a task group, or in none from now on."""
        self._group = group
        self.books.keeps_min_size = group is not None and self.books.keeps_idle
        if group is None and self.keeps_time:
            self._keep_no_time()
        self.settle()

    async def leave_block(self) -> None:
        """Close the pool, and end its tasks."""
        group, self._block, self._group = self._block, None, None
        assert group is not None
        self.end()
        # Ending the tasks takes no time; a cancellation in between would replace the body's exception.
        group.cancel_scope.shield = True
        group.cancel_scope.cancel()
        # The body's exception is none of the group's: it goes on as it is, not in an exception group.
        await group.__aexit__(None, None, None)

    def end(self) -> None:
        """Close the pool: who waits is told, and what is idle is closed."""
        books = self.books
        books.is_open = books.keeps_min_size = False
        self.retire()
        for ticket in books.given_up():
            ticket.fail(self.not_open())
        for scope in tuple(self._scopes):
            scope.cancel()
        self.settle()
        self._tell_watchers()
        if self._at_end is not None:
            self._at_end.set()

    def not_open(self) -> PoolClosed:
        """Return the error for one who asks for a connection of a pool that is not open."""
        if self.was_opened:
            return PoolClosed(f"the pool {self.name!r} is closed")
        return PoolClosed(f"the pool {self.name!r} is not open yet: {self._hooks.opening}")

    # -- what the books say

    def settle(self) -> None:
        """Do what is to be done."""
        books = self.books
        todo = books.settle(monotonic())
        if todo is not None:
            self._do(todo)
        if self._keeper is not None and (books.due < self._keeper_due or books.first_deadline < self._deadline_known):
            self._keeper.set()
        if self._watchers and books.ready >= books.min_size:
            self._tell_watchers()
        if not (books.is_open or books.out or books.busy):
            self._hooks.emptied()

    def settle_from_outside(self) -> None:
        """Do so in the event loop, but in no task: these are begun by tasks only."""
        if self._group is None:
            self.settle()
        else:
            if self._keeper is not None:
                self._keeper.set()
            self._tell_watchers()

    def settle_waiting(self) -> None:
        """Do so after somebody has begun to wait, unless there can be nothing for him yet."""
        books = self.books
        if books.idle or not books.is_full or books.first_deadline < self._deadline_known:
            self.settle()

    def settle_soon(self, now: float) -> None:
        """Do so after a connection was put back, unless nobody waits for one and nothing is to be closed yet."""
        books = self.books
        if (
            books.waiting
            or now >= books.due
            or books.due < self._keeper_due
            or not (books.is_open and books.keeps_idle)
        ):
            self.settle()

    def _do(self, todo: Todo) -> None:
        for connection in todo.closing:
            self.close(connection)
        if self._group is None:
            self.books.hand_out(todo.opening)
            return
        for _ in range(todo.opening):
            self._group.start_soon(self._in_scope, self.open_one, self._group)

    def close(self, connection: object) -> None:
        """Close a connection, without waiting."""
        self._hooks.inner(connection).session.wire.close()

    async def _in_scope(self, func: Callable[[], Awaitable[None]], group: anyio.abc.TaskGroup) -> None:
        with anyio.CancelScope() as scope:
            self._scopes.add(scope)
            try:
                await func()
            except BaseException:
                if self._in_use(group):
                    # It was cancelled, from outside: no more tasks of the pool's, until its block is left.
                    self._use(None)
                raise
            finally:
                self._scopes.discard(scope)

    async def _keep(self) -> None:
        backend, books = self.here(), self.books
        try:
            while books.is_open:
                now = monotonic()
                books.expire(now)
                self.settle()
                self._deadline_known = books.first_deadline
                self._keeper_due = min(books.due, max(books.first_deadline, now + GRAIN))
                self._keeper = waiter = backend.create_waiter()
                with anyio.move_on_after(max(0.0, self._keeper_due - monotonic())):
                    await waiter.wait()
        finally:
            self._keep_no_time()

    def _keep_no_time(self) -> None:
        """Have those who wait see to their time themselves."""
        self.keeps_time = False
        for ticket in self.books.waiting:
            ticket.wake_up.set()

    # -- waiting

    async def wait(self, request: Request) -> None:
        """Wait until a client is served, or its time is over; it may have to open connections meanwhile."""
        while not request.is_served:
            if self.keeps_time:
                # Then it has tasks that open connections, too.
                await request.waiter.wait()
                if not request.is_served:
                    request.renew(self.here().create_waiter())
                continue
            with anyio.move_on_after(max(0.0, request.deadline - monotonic())) as scope:
                await self._wait_or_open(request)
            request.is_late = scope.cancelled_caught

    async def _wait_or_open(self, request: Request) -> None:
        if request.work:
            await self._open_for(request)
            return
        await request.waiter.wait()
        if not request.is_served:
            request.renew(self.here().create_waiter())

    async def _open_for(self, request: Request) -> None:
        """Open connections in the task of a client that waits, until it is served."""
        async with anyio.create_task_group() as group:
            while not request.is_served:
                request.renew(self.here().create_waiter())
                while request.work:
                    request.work -= 1
                    group.start_soon(self._in_scope, self.open_one, group)
                await request.waiter.wait()
            group.cancel_scope.cancel()

    async def wait_until_ready(self) -> None:
        """Wait until `min_size` connections are open, or the pool is closed."""
        while self.books.is_open and self.books.ready < self.books.min_size:
            if self._group is None:
                await self._open_all()
            else:
                await self._watch()

    async def _open_all(self) -> None:
        """Open connections in the task of one who waits for them, as there is no block."""
        async with anyio.create_task_group() as group:
            self._use(group)
            try:
                await self._watch()
            finally:
                if self._in_use(group):
                    self._use(None)
                self._tell_watchers()
                group.cancel_scope.cancel()

    def _in_use(self, group: anyio.abc.TaskGroup) -> bool:
        return self._group is group

    async def _watch(self) -> None:
        waiter = self.here().create_waiter()
        self._watchers.append(waiter)
        await waiter.wait()

    async def wait_until_closed(self) -> None:
        """Wait until the pool is closed."""
        if self.books.is_open:
            self._at_end = waiter = self.here().create_waiter()
            await waiter.wait()

    def _tell_watchers(self) -> None:
        while self._watchers:
            self._watchers.pop().set()


uninterrupted(Engine)
