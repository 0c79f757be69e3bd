"""The books of a pool, without a loop, a connection or a clock: what is decided, and that it always adds up."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from types import FrameType
from typing import Any

import pytest

import anyq
from anyq.errors import OperationalError
from anyq.pool import bookkeeping
from anyq.pool.bookkeeping import Books, Place, PlaceState, Ticket

FOREVER = float("inf")


class WakeUp:
    """Who is woken, and how often."""

    def __init__(self) -> None:
        self.times = 0

    def set(self) -> None:
        self.times += 1


class Connection:
    """What a place is for."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __repr__(self) -> str:
        return f"#{self.number}"


class Desk:
    """Books, with somebody who does what they say; so a test reads as what clients do."""

    def __init__(self, min_size: int = 0, max_size: int = 1, max_waiting: int = 0, **kwargs: Any) -> None:
        self.books = Books(min_size, max_size, max_waiting, **kwargs)
        self.books.is_open = True
        self.now = 0.0
        self.attempts = 0
        self.closed: list[Connection] = []
        self._made = 0

    def settle(self) -> None:
        todo = self.books.settle(self.now)
        if todo is not None:
            assert todo.closing or todo.opening, "nothing is None"
            self.closed += todo.closing
            self.attempts += todo.opening

    def ask(self) -> Ticket:
        ticket = Ticket(WakeUp())
        place = self.books.take(self.now)
        if place is not None:
            ticket.place = place
        else:
            self.books.queue(ticket)
            self.settle()
        return ticket

    def succeed(self, expires_at: float = FOREVER) -> Place:
        assert self.attempts
        self.attempts -= 1
        self._made += 1
        place = Place(Connection(self._made), self.now, expires_at)
        self.books.opened(place, self.now)
        self.settle()
        return place

    def give_back(self, place: Place, connection: Any) -> None:
        self.books.take_back(place, connection, self.now)
        self.books.put(place, self.now)
        self.settle()

    def filled(self, number: int, expires_at: Iterable[float] = ()) -> list[Connection]:
        """Have so many idle connections."""
        ends = list(expires_at) or [FOREVER] * number
        tickets = [self.ask() for _ in range(number)]
        for end in ends:
            self.succeed(end)
        places = [ticket.take() for ticket in tickets]
        connections = [taken(place) for place in places]
        for place, connection in zip(places, connections, strict=True):
            self.give_back(place, connection)
        return connections


def taken(place: Place) -> Connection:
    """Return the connection of a place, as a client takes it."""
    connection, place.connection = place.connection, None
    assert isinstance(connection, Connection)
    return connection


# -- clients


def test_the_first_gets_the_first() -> None:
    desk = Desk(max_size=2)
    tickets = [desk.ask() for _ in range(4)]
    assert desk.attempts == 2
    places = [desk.succeed(), desk.succeed()]
    assert [ticket.place for ticket in tickets] == [*places, None, None]
    connection = taken(tickets[1].take())
    desk.give_back(places[1], connection)
    assert tickets[2].place is places[1]
    assert not tickets[3].is_served


def test_nobody_barges() -> None:
    """Not even one who asks at the moment when a connection is idle and another one has not been given it yet."""
    desk = Desk()
    first = desk.ask()
    place = desk.succeed()
    second = desk.ask()
    desk.books.take_back(place, taken(first.take()), desk.now)
    desk.books.put(place, desk.now)
    third = desk.ask()  # which settles
    assert second.place is place
    assert not third.is_served


def test_what_comes_back_is_handed_over_in_order() -> None:
    """As by taking it back, putting it and settling; the one who has waited longest has it, in another turn."""
    desk = Desk()
    first, second, third = (desk.ask() for _ in range(3))
    place = desk.succeed()
    connection = taken(first.take())
    desk.now = 3.0
    assert desk.books.hand_over(place, connection, desk.now)
    assert (second.place, second.wake_up.times) == (place, 1)  # type: ignore[attr-defined]
    assert (place.turn, place.state, place.fresh, place.idle_since) == (2, PlaceState.OUT, False, 3.0)
    assert desk.books.counters.usage_time == 3.0
    assert desk.books.hand_over(place, taken(second.take()), desk.now)
    connection = taken(third.take())
    assert desk.books.size == len(desk.books.out) == 1
    assert not desk.books.hand_over(place, connection, desk.now), "nobody waits"
    assert place.state is PlaceState.OUT


@pytest.mark.parametrize("why", ["old", "drained", "too many", "closed", "another is idle"])
def test_what_is_not_to_be_used_again_is_not_handed_over(why: str) -> None:
    desk = Desk(max_size=2)
    first, _, second, waits = (desk.ask() for _ in range(4))
    place = desk.succeed(expires_at=5.0)
    other = desk.succeed()
    if why == "old":
        desk.now = 5.0
    elif why == "drained":
        desk.books.drain(desk.now)
    elif why == "too many":
        desk.books.resize(0, 1)
    elif why == "closed":
        desk.books.is_open = False
    else:
        desk.books.take_back(other, other.connection, desk.now)
        desk.books.put(other, desk.now)
    assert not desk.books.hand_over(place, taken(first.take()), desk.now)
    assert not (second.is_served or waits.is_served)


def test_those_whose_time_is_over_are_told_and_wait_no_longer() -> None:
    desk = Desk()
    tickets = [Ticket(WakeUp()) for _ in range(4)]
    for ticket, deadline in zip(tickets, (7.0, 3.0, 5.0, FOREVER), strict=True):
        ticket.deadline = deadline
        desk.books.queue(ticket)
    books = desk.books
    assert books.first_deadline == 3.0
    books.expire(2.9)
    assert len(books.waiting) == 4
    books.expire(5.0)
    assert [ticket.is_late for ticket in tickets] == [False, True, True, False]
    assert [ticket.is_served for ticket in tickets] == [False, True, True, False]
    assert [ticket.wake_up.times for ticket in tickets] == [0, 1, 1, 0]  # type: ignore[attr-defined]
    assert (list(books.waiting), books.first_deadline) == ([tickets[0], tickets[3]], 7.0)
    books.leave_queue(tickets[0])
    books.expire(7.0)
    assert (list(books.waiting), books.first_deadline) == ([tickets[3]], FOREVER)
    tickets[1].deadline = 1.0
    books.queue_again(tickets[1])
    assert books.first_deadline == 1.0


def test_the_one_used_last_is_used_next() -> None:
    desk = Desk(max_size=3)
    connections = desk.filled(3)
    assert taken(desk.ask().take()) is connections[2]


def test_one_who_leaves_the_queue_leaves_what_was_given_in_the_same_moment() -> None:
    desk = Desk()
    first, second = desk.ask(), desk.ask()
    place = desk.succeed()
    assert desk.books.leave_queue(first) is place
    assert desk.books.leave_queue(first) is None
    desk.give_back(place, place.connection)
    assert second.place is place


def test_one_who_leaves_the_queue_is_not_waited_for() -> None:
    desk = Desk(max_size=2)
    first, second = desk.ask(), desk.ask()
    assert desk.books.leave_queue(first) is None
    assert list(desk.books.waiting) == [second]
    place = desk.succeed()
    assert second.take() is place
    desk.succeed()
    assert len(desk.books.idle) == 1


def test_what_is_no_good_has_the_client_wait_before_all_others() -> None:
    desk = Desk(max_size=2)
    first, second, third = desk.ask(), desk.ask(), desk.ask()
    place = desk.succeed()
    assert first.take() is place
    desk.books.drop(place)
    desk.books.queue_again(first)
    desk.settle()
    assert list(desk.books.waiting) == [first, second, third]
    assert desk.attempts == 2
    place = desk.succeed()
    assert first.take() is place


def test_an_error_instead_of_a_place() -> None:
    ticket = Ticket(WakeUp())
    before = ticket.is_served
    ticket.fail(OperationalError("x"))
    assert (before, ticket.is_served) == (False, True)
    with pytest.raises(OperationalError, match="x"):
        ticket.take()


def test_each_turn_is_another_one() -> None:
    desk = Desk()
    ticket = desk.ask()
    place = desk.succeed()
    turns = []
    for _ in range(3):
        turns.append(place.turn)
        desk.give_back(place, taken(ticket.take()))
        ticket = desk.ask()
    assert len(set(turns)) == 3


def test_what_a_client_had_is_not_fresh_and_its_time_is_counted() -> None:
    desk = Desk()
    ticket = desk.ask()
    place = desk.succeed()
    fresh = [place.fresh]
    desk.now = 2.0
    desk.give_back(place, taken(ticket.take()))
    assert [*fresh, place.fresh] == [True, False]
    desk.now = 3.0
    again = desk.ask().take()
    desk.now = 3.5
    desk.give_back(again, taken(again))
    assert desk.books.counters.usage_time == 2.5


def test_a_dropped_connection_frees_its_place_once() -> None:
    desk = Desk()
    desk.ask()
    place = desk.succeed()
    waiting = desk.ask()
    assert desk.books.lost(place.key)
    assert not desk.books.lost(place.key)
    desk.settle()
    assert desk.books.counters.connections_lost == 1
    place = desk.succeed()
    assert waiting.take() is place


# -- attempts to open


def test_no_more_attempts_than_there_is_room_for() -> None:
    desk = Desk(max_size=3)
    for _ in range(10):
        desk.ask()
    assert desk.attempts == desk.books.opening == desk.books.size == 3


def test_any_number() -> None:
    desk = Desk(max_size=0)
    for _ in range(10):
        desk.ask()
    assert desk.attempts == 10


def test_min_size_is_kept_where_there_is_somebody_for_it() -> None:
    desk = Desk(min_size=2, max_size=4)
    desk.settle()
    assert desk.attempts == 0
    desk.books.keeps_min_size = True
    desk.settle()
    assert desk.attempts == 2
    place = desk.succeed()
    desk.succeed()
    desk.books.hold(place)
    desk.books.drop(place)
    desk.settle()
    assert desk.attempts == 1


def test_while_one_tries_again_no_other_begins() -> None:
    desk = Desk(max_size=3)
    desk.ask()
    desk.books.retrying = True
    desk.ask()
    assert desk.attempts == 1
    desk.succeed()
    assert not desk.books.retrying
    assert desk.attempts == 1


def test_when_it_is_given_up_all_are_told_and_the_next_has_it_tried_again() -> None:
    desk = Desk(min_size=1, max_size=3)
    desk.books.keeps_min_size = True
    tickets = [desk.ask() for _ in range(3)]
    desk.books.opening -= 3  # they have failed
    desk.attempts = 0
    assert desk.books.given_up() == tickets
    desk.settle()
    assert desk.attempts == 0
    assert not desk.books.wants_more()
    desk.ask()
    assert desk.attempts == 1


def test_whether_to_repeat_an_attempt() -> None:
    desk = Desk(min_size=1, max_size=2)
    ticket = desk.ask()
    assert desk.books.wants_more()
    desk.books.leave_queue(ticket)
    assert not desk.books.wants_more()
    desk.books.keeps_min_size = True
    assert desk.books.wants_more()
    desk.books.is_open = False
    assert not desk.books.wants_more()
    desk.books.is_open = True
    desk.ask(), desk.ask(), desk.ask()
    assert desk.books.wants_more()
    desk.books.resize(1, 1)
    assert not desk.books.wants_more(), "there are two attempts, and room for one connection"


def test_attempts_are_spread_over_those_who_wait() -> None:
    """An attempt ends with the client that has begun it: so the one that is served first has none for others."""
    desk = Desk(max_size=3)
    tickets = []
    for _ in range(5):
        before = desk.attempts
        tickets.append(desk.ask())
        desk.books.hand_out(desk.attempts - before)
    assert [ticket.work for ticket in tickets] == [1, 1, 1, 0, 0]
    desk.books.leave_queue(tickets[1])
    assert desk.books.opening == 2
    desk.settle()
    desk.books.hand_out(1)
    assert [ticket.work for ticket in tickets] == [1, 0, 1, 0, 1]
    desk.books.leave_queue(tickets[3])
    desk.books.opening -= 1  # one has failed; all have begun some
    desk.settle()
    desk.books.hand_out(1)
    assert [ticket.work for ticket in tickets] == [1, 0, 1, 0, 2]


def test_several_attempts_at_a_time_are_begun_by_as_many() -> None:
    desk = Desk(max_size=4)
    tickets = [desk.ask() for _ in range(3)]
    desk.books.hand_out(2)
    assert [ticket.work for ticket in tickets] == [0, 1, 1]
    desk.books.hand_out(2)
    assert [ticket.work for ticket in tickets] == [1, 1, 2], "all have begun one: the last is there for longest"


# -- time


def test_what_has_expired_is_not_given() -> None:
    desk = Desk(max_size=2)
    old, new = desk.filled(2, [10.0, 20.0])
    desk.now = 15.0
    assert taken(desk.ask().take()) is new
    ticket = desk.ask()
    assert not ticket.is_served
    assert desk.closed == [old]
    assert desk.attempts == 1


def test_what_has_expired_is_closed_when_it_is_due() -> None:
    desk = Desk(min_size=2, max_size=2)
    old, _ = desk.filled(2, [10.0, 20.0])
    desk.books.keeps_min_size = True
    assert desk.books.due == 10.0
    desk.now = 10.0
    desk.settle()
    assert desk.closed == [old]
    assert desk.attempts == 1
    assert desk.books.due == 20.0


def test_what_nobody_has_used_is_closed_down_to_min_size() -> None:
    desk = Desk(min_size=1, max_size=3, max_idle=10.0)
    connections = desk.filled(3)
    assert desk.books.due == 10.0
    desk.now = 5.0
    ticket = desk.ask()
    place = ticket.take()
    desk.give_back(place, taken(place))
    desk.now = 10.0
    desk.settle()
    assert desk.closed == connections[:2]
    assert desk.books.due == FOREVER
    desk.now = 100.0
    desk.settle()
    assert len(desk.books.idle) == 1


def test_a_look_at_a_connection_is_no_use_of_it() -> None:
    desk = Desk(max_size=1, max_idle=10.0)
    desk.filled(1)
    desk.now = 9.0
    place = desk.books.idle[0]
    desk.books.hold(place)
    desk.books.put(place, desk.now, idle_since=place.idle_since)
    desk.settle()
    assert desk.books.due == 10.0
    desk.now = 10.0
    desk.settle()
    assert len(desk.closed) == 1


def test_it_is_not_due_for_ever() -> None:
    """Else whoever waits until something is due would go round in circles while all connections are with clients."""
    desk = Desk(max_size=1, max_idle=10.0)
    desk.filled(1)
    desk.ask().take()
    desk.now = 10.0
    desk.settle()
    assert desk.books.due == FOREVER


def test_a_drain() -> None:
    desk = Desk(max_size=3)
    connections = desk.filled(3)
    place = desk.ask().take()
    out = taken(place)
    desk.now = 1.0
    desk.books.drain(desk.now)
    desk.settle()
    assert desk.closed == connections[:2]
    desk.give_back(place, out)
    assert desk.closed == [*connections[:2], out]
    ticket = desk.ask()
    desk.now = 2.0
    place = desk.succeed()
    desk.give_back(place, taken(ticket.take()))
    assert list(desk.books.idle) == [place], "what was opened later stays"


# -- sizes


def test_a_larger_pool_serves_who_waits() -> None:
    desk = Desk(max_size=1)
    desk.ask(), desk.ask(), desk.ask()
    desk.books.resize(0, 2)
    desk.settle()
    assert desk.attempts == 2


def test_a_smaller_pool_closes_what_is_idle() -> None:
    desk = Desk(max_size=3)
    connections = desk.filled(3)
    desk.books.resize(0, 1)
    desk.settle()
    assert desk.closed == connections[:2]


@pytest.mark.parametrize("others_wait", [False, True])
def test_a_smaller_pool_closes_what_comes_back(others_wait: bool) -> None:
    """Also if somebody waits for it: under load it would never get smaller."""
    desk = Desk(max_size=3)
    tickets = [desk.ask() for _ in range(3)]
    for _ in range(3):
        desk.succeed()
    waiting = [desk.ask() for _ in range(3)] if others_wait else []
    desk.books.resize(0, 1)
    desk.settle()
    for ticket in tickets[:2]:
        place = ticket.take()
        desk.now += 1
        desk.give_back(place, taken(place))
        assert desk.now < desk.books.due
    assert len(desk.closed) == 2
    assert not any(ticket.is_served for ticket in waiting)
    place = tickets[2].take()
    desk.give_back(place, taken(place))
    assert desk.books.size == 1
    assert [ticket.is_served for ticket in waiting] == [True, False, False][: len(waiting)]


def test_a_return_is_due_while_a_pool_gets_smaller() -> None:
    """Who returns a connection looks at what is due only."""
    desk = Desk(max_size=2)
    tickets = [desk.ask(), desk.ask()]
    places = [desk.succeed(), desk.succeed()]
    desk.books.resize(0, 1)
    desk.settle()
    assert all(ticket.is_served for ticket in tickets)
    desk.books.take_back(places[0], Connection(0), desk.now)
    desk.books.put(places[0], desk.now)
    assert desk.books.due <= desk.now


# -- pools that keep none


def test_a_null_pool_closes_what_nobody_waits_for() -> None:
    desk = Desk(max_size=1, keeps_idle=False)
    first, second = desk.ask(), desk.ask()
    place = desk.succeed()
    connection = taken(first.take())
    desk.give_back(place, connection)
    assert second.take() is place
    desk.give_back(place, taken(place))
    assert desk.closed == [connection]
    assert desk.books.size == 0


# -- the end


def test_a_closed_pool_closes_what_comes_back() -> None:
    desk = Desk(max_size=2)
    connections = desk.filled(2)
    ticket = desk.ask()
    place = ticket.take()
    connection = taken(place)
    desk.books.is_open = False
    desk.settle()
    assert desk.closed == [connections[0]]
    desk.give_back(place, connection)
    assert desk.closed == connections
    assert desk.books.size == 0


def test_a_place_is_dropped_once() -> None:
    desk = Desk(max_size=3)
    desk.filled(2)
    idle, place = desk.books.idle
    desk.books.hold(place)
    connection = place.connection
    for _ in range(2):
        assert desk.books.drop(place) is connection
        connection = None
    desk.books.drop(idle)
    desk.books.drop(idle)
    assert desk.books.size == 0


# -- many who wait


def work_of(count: int, leave: str) -> int:
    """Return how many lines of the books are run, by so many who come and leave without having been served."""
    books = Books(0, 10)
    books.is_open = True
    lines = 0

    def trace(frame: FrameType, event: str, arg: object) -> Any:
        nonlocal lines
        if frame.f_code.co_filename != bookkeeping.__file__:
            return None
        lines += event == "line"
        return trace

    tickets = [Ticket(WakeUp()) for _ in range(count)]
    sys.settrace(trace)
    try:
        for ticket in tickets:
            books.queue(ticket)
            todo = books.settle(0.0)
            books.hand_out(0 if todo is None else todo.opening)
        for ticket in tickets if leave == "in order" else reversed(tickets):
            books.leave_queue(ticket)
            todo = books.settle(0.0)
            books.hand_out(0 if todo is None else todo.opening)
    finally:
        sys.settrace(None)
    assert books.size == 0
    return lines


@pytest.mark.skipif(anyq.__impl__ != "python", reason="compiled code has no lines to count; it is the same")
@pytest.mark.parametrize("leave", ["in order", "the last first"])
def test_work_is_in_proportion_to_those_who_wait(leave: str) -> None:
    assert work_of(2000, leave) < 2.2 * work_of(1000, leave)
