"""Books: which connections a pool has, who has them, who waits for one, and what is to be done about it.

Theory of operation. Nothing here waits, opens or closes anything. Whatever happens to a pool is entered by a method
that is not interrupted by other tasks; then :meth:`Books.settle` brings supply and demand together: it gives what is
idle to those who wait, first come, first served, and says which connections are to be closed, and how many attempts to
open one are to begin. Whoever has called it does that. So the books are right at every moment that a task can be
cancelled at.

*Of whom a connection is.* An idle one is the pool's; one that was given away is its client's alone, and the pool has
no reference to it: a client that drops it is noticed. Of all that are open the pool has the :class:`Place`.

*Idle ones.* The one that was used last is used next. So what is not needed stays unused, and is closed when it has
been so for `max_idle`.

*When there are more than there may be*, since somebody has made the pool smaller, those are closed that come back, and
whoever waits goes on waiting until there is room.

*When the server cannot be reached.* One attempt at a time is repeated, by whoever has begun it; when it succeeds the
others begin.

Knows numbers and times. Must not know connections, tasks or event loops.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Collection
from enum import Enum, auto
from typing import Any, Final, NamedTuple, Protocol

from ..errors import Error
from .statistics import Counters


class PlaceState(Enum):
    """Where the connection of a place is."""

    IDLE = auto()
    OUT = auto()
    """With a client."""
    BUSY = auto()
    """The pool itself does something with it."""
    GONE = auto()


IDLE: Final = PlaceState.IDLE
OUT: Final = PlaceState.OUT
BUSY: Final = PlaceState.BUSY
"""These by names that are sooner looked up than an enum's members."""


class Place:
    """One connection's place in a pool."""

    __slots__ = (
        *("connection", "expires_at", "followed", "fresh", "given_at", "idle_since", "key", "made_at", "settings"),
        *("state", "turn"),
    )

    def __init__(self, connection: Any, made_at: float, expires_at: float) -> None:
        self.connection: Any = connection
        """What is given to clients; None while one has it."""
        self.key = object()
        """Stands for it where it must not be kept alive."""
        self.made_at = made_at
        self.expires_at = expires_at
        """When it is closed rather than used again."""
        self.settings: Any = None
        """What a client may have changed, as it was when the connection was configured."""
        self.followed: Any = None
        """What its server has to be; None if any will do."""
        self.state = PlaceState.BUSY
        self.fresh = True
        """Whether no client has had it yet."""
        self.turn = 0
        """How often it was given to a client: by that a client knows whether it is still his."""
        self.idle_since = 0.0
        self.given_at = 0.0


class WakeUp(Protocol):
    """What wakes who waits."""

    def set(self) -> object: ...


class Ticket:
    """One who waits for a connection: served when there is a place or an error, or the time for it is over."""

    __slots__ = ("attempts", "deadline", "error", "is_late", "place", "wake_up", "work")

    is_statement = False
    """Whether it is one of :attr:`Books.statements`."""

    def __init__(self, wake_up: WakeUp) -> None:
        self.wake_up = wake_up
        self.place: Place | None = None
        self.error: Error | None = None
        self.deadline = float("inf")
        """When the time is over."""
        self.is_late = False
        """Whether it is."""
        self.work = 0
        """How many attempts to open a connection whoever waits is to begin: where the pool has no tasks for it."""
        self.attempts = 0
        """How many it was ever told to begin."""

    def take(self) -> Place:
        """Return the place that was given, which is not the ticket's any more.

        :raises Error: that was given instead.
        """
        if self.error is not None:
            raise self.error
        place = self.place
        self.place = None
        assert place is not None
        return place

    def fail(self, error: Error) -> None:
        """Give an error instead of a place."""
        self.error = error
        self.wake_up.set()

    @property
    def is_served(self) -> bool:
        """Whether there is nothing more to wait for."""
        return self.place is not None or self.error is not None or self.is_late


class Todo(NamedTuple):
    """What is to be done now."""

    closing: list[Any]
    """Connections to be closed."""
    opening: int
    """How many attempts to open one are to begin."""


class Books:
    """The account of one pool. Times are those of one clock, in seconds.

    :param max_size: connections; 0 for any number.
    :param max_waiting: those who may wait at the same time; 0 for any number.
    :param keeps_idle: whether connections that nobody needs are kept.
    """

    def __init__(
        self,
        min_size: int,
        max_size: int,
        max_waiting: int = 0,
        *,
        max_idle: float = float("inf"),
        keeps_idle: bool = True,
    ) -> None:
        self.min_size = min_size
        self.max_size = max_size
        self.max_waiting = max_waiting
        self.max_idle = max_idle
        self.keeps_idle = keeps_idle
        self.keeps_min_size = False
        """Whether there is somebody to open connections that nobody waits for."""
        self.is_open = False
        self.idle: deque[Place] = deque()
        self.out: set[object] = set()
        """The keys of the places whose connections clients have."""
        self.busy = 0
        """How many connections the pool itself does something with."""
        self.opening = 0
        """How many attempts to open one are under way."""
        self.retrying = False
        """Whether one of these is repeated, as the server could not be reached."""
        self.gave_up = False
        """Whether that was given up; until somebody asks again."""
        self._drained_at = float("-inf")  # what is older is closed rather than used again
        self._shrinks = False  # whether there may be more than `max_size`
        self.due = float("inf")
        """When there may be idle connections to be closed, if nothing else happens; or later."""
        self.first_deadline = float("inf")
        """When the time of one who waits is over; or later."""
        self.waiting: OrderedDict[Ticket, None] = OrderedDict()
        self.statements: Collection[Ticket] = ()
        """Statements that wait for room on a connection, of which some wait for one of their own, too."""
        self._waiting_for_both = 0
        self.counters = Counters()

    @property
    def size(self) -> int:
        """How many connections there are, or will be if the attempts to open them succeed."""
        return len(self.idle) + len(self.out) + self.busy + self.opening

    @property
    def ready(self) -> int:
        """How many connections there are."""
        return self.size - self.opening

    @property
    def waiting_number(self) -> int:
        """How many wait, clients and statements."""
        return len(self.waiting) + len(self.statements) - self._waiting_for_both

    @property
    def is_full(self) -> bool:
        """Whether there are as many connections as there may be."""
        return 0 < self.max_size <= self.size

    @property
    def is_too_big(self) -> bool:
        """Whether there are more connections than there may be."""
        return 0 < self.max_size < self.size

    def resize(self, min_size: int, max_size: int) -> None:
        """Have other sizes from now on."""
        self.min_size, self.max_size = min_size, max_size
        self._shrinks = True
        self.due = float("-inf")

    # -- clients

    def take(self, now: float) -> Place | None:
        """Return an idle connection if there is one and nobody waits, else None."""
        while self.idle and not self.waiting:
            place = self.idle[-1]
            if place.expires_at <= now:
                return None  # to be closed by settle()
            self.idle.pop()
            self._give(place, now)
            return place
        return None

    def queue(self, ticket: Ticket) -> None:
        """Have somebody wait."""
        self._waiting_for_both += ticket.is_statement and ticket not in self.waiting
        self.waiting[ticket] = None
        self.gave_up = False
        self.first_deadline = min(self.first_deadline, ticket.deadline)

    def queue_again(self, ticket: Ticket) -> None:
        """Have somebody wait before all others: what was given was no good."""
        self._waiting_for_both += ticket.is_statement and ticket not in self.waiting
        self.waiting[ticket] = None
        self.waiting.move_to_end(ticket, last=False)
        self.gave_up = False
        self.first_deadline = min(self.first_deadline, ticket.deadline)

    def expire(self, now: float) -> None:
        """Tell those whose time is over, who wait no longer."""
        if now < self.first_deadline:
            return
        for ticket in [ticket for ticket in self.waiting if ticket.deadline <= now]:
            self.leave_queue(ticket)
            ticket.is_late = True
            ticket.wake_up.set()
        self.first_deadline = min((ticket.deadline for ticket in self.waiting), default=float("inf"))

    def leave_queue(self, ticket: Ticket) -> Place | None:
        """Have somebody wait no longer; return the place that was given at the same moment, to be put back."""
        if ticket in self.waiting:
            del self.waiting[ticket]
            self._waiting_for_both -= ticket.is_statement
        self.opening -= ticket.work
        ticket.work = 0
        place, ticket.place = ticket.place, None
        return place

    def hand_out(self, attempts: int) -> None:
        """Have attempts to open a connection begun by those who wait, as the pool has no tasks of its own.

        They end with the client that has begun them. So that is one who has no other, and will be there for long: of
        those who have come last.
        """
        for _ in range(attempts):
            last = next(reversed(self.waiting))
            ticket = next((ticket for ticket in reversed(self.waiting) if not ticket.attempts), last)
            ticket.work += 1
            ticket.attempts += 1
            ticket.wake_up.set()

    def _give(self, place: Place, now: float) -> None:
        place.state = OUT
        place.given_at = now
        place.turn += 1
        self.out.add(place.key)

    # -- places

    def take_back(self, place: Place, connection: Any, now: float) -> None:
        """Take a connection from its client, to do something with it."""
        self.out.discard(place.key)
        self.counters.usage_time += now - place.given_at
        place.connection = connection
        place.state = BUSY
        place.fresh = False
        self.busy += 1

    def hand_over(self, place: Place, connection: Any, now: float) -> bool:
        """Give a connection that a client has returned to the one who waits first; return False where it is not clear.

        It is what :meth:`take_back`, :meth:`put` and :meth:`settle` come to where nothing else is to be done.
        """
        if (
            not self.waiting
            or self.idle
            or self._shrinks
            or not self.is_open
            or place.expires_at <= now
            or place.made_at <= self._drained_at
        ):
            return False
        self.counters.usage_time += now - place.given_at
        place.connection = connection
        place.fresh = False
        place.idle_since = now
        self._serve_first(place, now)
        return True

    def hold(self, place: Place) -> None:
        """Take an idle connection, to do something with it."""
        self.idle.remove(place)
        place.state = BUSY
        self.busy += 1

    def put(self, place: Place, now: float, *, idle_since: float | None = None) -> None:
        """Enter that a busy connection is ready for a client.

        :param idle_since: when it was last used, if that is not now.
        """
        self.busy -= 1
        place.state = IDLE
        place.idle_since = now if idle_since is None else idle_since
        if place.made_at <= self._drained_at:
            place.expires_at = now
        self.due = now if self._shrinks else min(self.due, place.expires_at, place.idle_since + self.max_idle)
        self.idle.append(place)

    def drain(self, now: float) -> None:
        """Have all connections that there are closed rather than used again."""
        self._drained_at = self.due = now
        for place in self.idle:
            place.expires_at = now

    def drop(self, place: Place) -> Any:
        """Enter that a connection is not used any more; return it, to be closed. A second time it does nothing."""
        if place.state is BUSY:
            self.busy -= 1
        elif place.state is OUT:
            self.out.discard(place.key)
        elif place.state is IDLE:
            self.idle.remove(place)
        place.state = PlaceState.GONE
        connection, place.connection = place.connection, None
        return connection

    def lost(self, key: object) -> bool:
        """Enter that a client has dropped its connection; return whether it had one."""
        if key not in self.out:
            return False
        self.out.discard(key)
        self.counters.connections_lost += 1
        return True

    def opened(self, place: Place, now: float) -> None:
        """Enter that an attempt has succeeded."""
        self.opening -= 1
        self.busy += 1
        self.retrying = self.gave_up = False
        self.put(place, now)

    def given_up(self) -> list[Ticket]:
        """Enter that the server cannot be reached, and nobody tries any more; return those who wait, who are to know.

        They wait no longer.
        """
        self.retrying = False
        self.gave_up = True
        statements = [ticket for ticket in self.statements if not (ticket in self.waiting or ticket.is_served)]
        tickets = [*self.waiting, *statements]
        self.waiting.clear()
        self._waiting_for_both = 0
        return tickets

    # -- supply and demand

    def settle(self, now: float) -> Todo | None:
        """Give what is idle to those who wait, and say what is to be done; None for nothing."""
        closing: list[Any] = []
        if not self.is_open:
            closing = self._empty()
            return Todo(closing, 0) if closing else None
        if self._shrinks:
            while self.idle and self.is_too_big:
                closing.append(self.drop(self.idle[0]))
            self._shrinks = self.is_too_big
        while self.waiting and self.idle:
            place = self.idle[-1]
            if place.expires_at <= now:
                closing.append(self.drop(place))
                continue
            self.idle.pop()
            self._serve_first(place, now)
        if now >= self.due or self.idle and not self.keeps_idle:
            closing += self._superfluous(now)
            self.due = self._next_due()
        opening = self._wanted()
        self.opening += opening
        return Todo(closing, opening) if closing or opening else None

    def _serve_first(self, place: Place, now: float) -> None:
        ticket, _ = self.waiting.popitem(last=False)
        self._waiting_for_both -= ticket.is_statement
        self._give(place, now)
        ticket.place = place
        ticket.wake_up.set()

    def _superfluous(self, now: float) -> list[Any]:
        """Take out of the idle ones what has expired, and what is not needed."""
        if not self.keeps_idle:
            return self._empty()
        closing = [self.drop(place) for place in tuple(self.idle) if place.expires_at <= now]
        while self.idle and self.size > self.min_size:
            if self.idle[0].idle_since + self.max_idle > now:
                break
            closing.append(self.drop(self.idle[0]))
        return closing

    def _empty(self) -> list[Any]:
        return [self.drop(place) for place in tuple(self.idle)]

    def _wanted(self) -> int:
        """Return how many more attempts to open a connection are to begin."""
        if self.gave_up or self.retrying and self.opening:
            return 0
        wanted = len(self.waiting) - self.opening
        if self.keeps_min_size:
            wanted = max(wanted, self.min_size - self.size)
        if self.max_size:
            wanted = min(wanted, self.max_size - self.size)
        if self.retrying:
            wanted = min(wanted, 1)
        return max(0, wanted)

    def wants_more(self) -> bool:
        """Return whether an attempt that has failed is to be repeated."""
        if not self.is_open or self.gave_up:
            return False
        if self.is_too_big:
            return False
        return bool(self.waiting) or self.keeps_min_size and self.size <= self.min_size

    def _next_due(self) -> float:
        due = min((place.expires_at for place in self.idle), default=float("inf"))
        if self.idle and self.size > self.min_size:
            due = min(due, self.idle[0].idle_since + self.max_idle)
        return due
