"""Storms of a pool: who waits and is served in which order, who has which connection, and what there is at the end.

Knows the books of a pool, and what a server tells of its processes. Must not know what the clients do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import pytest

from anyq.pool.bookkeeping import Books, Place, Ticket, Todo
from tests.support.activity import SCALE

SIZE = 10
"""Connections."""
TASKS = 200
THREADS = 64
TURNS = 1000 * SCALE
"""How often a connection is lent, or a statement executed: 100,000 times with ANYQ_TEST_SCALE=100."""
KILLED_EVERY = 100
"""After so many of these a connection is killed."""

PROCESSES = (
    "SELECT pid, state FROM pg_stat_activity WHERE application_name = %s AND datname = current_database() ORDER BY pid"
)
LEFT_BEHIND = "SELECT %s::int, current_setting('work_mem'), pg_current_xact_id_if_assigned()::text, pg_backend_pid()"
"""A statement that tells what a connection has been given with: nothing, in ``(number, *NOTHING_LEFT)``."""
NOTHING_LEFT = "4MB", None


class Queue:
    """Who waits, by tickets: it is checked at each step that who came first is served first, and nobody barges."""

    def __init__(self, books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
        self._tickets: list[Ticket] = []
        self._books = books
        self.served = 0
        for method in (
            self.hand_over,
            self.queue,
            self.queue_again,
            self.leave_queue,
            self.given_up,
            self.take,
            self.settle,
        ):
            setattr(self, f"_{method.__name__}", getattr(books, method.__name__))
            monkeypatch.setattr(books, method.__name__, method)

    _hand_over: Any
    _queue: Any
    _queue_again: Any
    _leave_queue: Any
    _given_up: Any
    _take: Any
    _settle: Any

    def queue(self, ticket: Ticket) -> None:
        self._tickets.append(ticket)
        self._queue(ticket)

    def queue_again(self, ticket: Ticket) -> None:
        self._tickets.insert(0, ticket)
        self._queue_again(ticket)

    def leave_queue(self, ticket: Ticket) -> Place | None:
        if ticket in self._tickets:
            self._tickets.remove(ticket)
        place: Place | None = self._leave_queue(ticket)
        return place

    def given_up(self) -> list[Ticket]:
        self._tickets.clear()
        tickets: list[Ticket] = self._given_up()
        return tickets

    def take(self, now: float) -> Place | None:
        place: Place | None = self._take(now)
        assert place is None or not self._tickets, "somebody has barged"
        return place

    def settle(self, now: float) -> Todo | None:
        todo: Todo | None = self._settle(now)
        self._look()
        return todo

    def hand_over(self, place: Place, connection: Any, now: float) -> bool:
        handed_over: bool = self._hand_over(place, connection, now)
        self._look()
        return handed_over

    def _look(self) -> None:
        served = [ticket for ticket in self._tickets if ticket.place is not None]
        assert served == self._tickets[: len(served)], "somebody was served before those who came first"
        assert not (self._tickets[len(served) :] and self._books.idle), "somebody waits, and a connection is idle"
        del self._tickets[: len(served)]
        self.served += len(served)


class Hands:
    """Who has which connection."""

    def __init__(self) -> None:
        self._held: dict[object, object] = {}
        self._numbers = count(1)
        self.turns = 0
        """How often somebody had one."""
        self.outcomes: Counter[str] = Counter()
        """What has become of those who wanted one."""

    def take_turn(self) -> int:
        """Count one who has a connection; return the number of that turn."""
        self.turns = number = next(self._numbers)
        return number

    @contextmanager
    def holding(self, thing: object) -> Iterator[None]:
        """Have a connection, or a process of the server; nobody else may at the same time."""
        mine = object()
        assert self._held.setdefault(thing, mine) is mine, "two have it"  # at once, as there may be threads
        try:
            yield
        finally:
            del self._held[thing]

    def check_empty(self) -> None:
        assert not self._held


def check_books(books: Books) -> None:
    """Check that no connection is lost and nobody waits, when all clients are gone."""
    assert (books.size, len(books.idle), len(books.waiting)) == (SIZE, SIZE, 0)
    assert (len(books.out), books.busy, books.opening) == (0, 0, 0)


def is_whole(books: Books, processes: list[tuple[int, str]], pid_of: Any) -> bool:
    """Return whether the processes of the server are those of the pool's connections, and none is in a transaction."""
    pids = sorted(pid_of(place.connection) for place in books.idle)
    return processes == [(pid, "idle") for pid in pids] and len(pids) == SIZE
