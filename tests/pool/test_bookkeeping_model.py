"""The books of a pool under whatever happens, in any order: they always add up."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from anyq.pool.bookkeeping import Books, Place, PlaceState, Ticket
from tests.pool.test_bookkeeping import Connection, WakeUp, taken


class Machine(RuleBasedStateMachine):
    """Clients, openers and time do what they like, in any order; the books always add up."""

    def __init__(self) -> None:
        super().__init__()
        self.books = Books(1, 3, max_idle=30.0)
        self.books.is_open = self.books.keeps_min_size = True
        self.now = 0.0
        self.most = 3
        self.attempts = 0
        self.queue: list[Ticket] = []
        self.served: list[Ticket] = []
        self.held: dict[Place, Connection] = {}
        self.busy: list[Place] = []
        self.closed: set[Connection] = set()
        self.made = 0
        self.settle()

    def settle(self) -> None:
        todo = self.books.settle(self.now)
        closing, opening = todo if todo is not None else ([], 0)
        assert len(closing) == len(set(closing))
        assert not self.closed.intersection(closing), "closed twice"
        assert not set(self.held.values()).intersection(closing), "a client has it"
        self.closed.update(closing)
        self.attempts += opening
        served = [ticket for ticket in self.queue if ticket.is_served]
        assert served == self.queue[: len(served)], "somebody was passed over"
        self.served += served
        del self.queue[: len(served)]
        if not self.books.is_too_big:
            self.most = self.books.max_size

    @rule()
    def ask(self) -> None:
        place = self.books.take(self.now)
        if place is not None:
            assert not self.queue
            assert place.expires_at > self.now
            self.held[place] = taken(place)
            return
        ticket = Ticket(WakeUp())
        self.books.queue(ticket)
        self.queue.append(ticket)
        self.settle()

    @precondition(lambda self: self.served)
    @rule(data=st.data())
    def receive(self, data: st.DataObject) -> None:
        ticket = self.served.pop(data.draw(st.integers(0, len(self.served) - 1)))
        place = ticket.take()
        assert place.state is PlaceState.OUT
        self.books.leave_queue(ticket)
        self.held[place] = taken(place)
        self.settle()

    @precondition(lambda self: self.served)
    @rule()
    def receive_what_is_no_good(self) -> None:
        ticket = self.served.pop(0)
        self.closed.add(self.books.drop(ticket.take()))
        self.books.queue_again(ticket)
        self.queue.insert(0, ticket)
        self.settle()

    @precondition(lambda self: self.queue or self.served)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        everybody = self.queue + self.served
        ticket = everybody[data.draw(st.integers(0, len(everybody) - 1))]
        (self.served if ticket in self.served else self.queue).remove(ticket)
        place = self.books.leave_queue(ticket)
        if place is not None:
            self.books.take_back(place, place.connection, self.now)
            self.books.put(place, self.now)
        self.settle()

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        place = data.draw(st.sampled_from(sorted(self.held, key=lambda place: self.held[place].number)))
        self.books.take_back(place, self.held.pop(place), self.now)
        self.busy.append(place)

    @precondition(lambda self: self.books.idle)
    @rule()
    def hold(self) -> None:
        place = self.books.idle[0]
        self.books.hold(place)
        self.busy.append(place)

    @precondition(lambda self: self.busy)
    @rule(good=st.booleans())
    def be_done(self, good: bool) -> None:
        place = self.busy.pop()
        if good:
            self.books.put(place, self.now)
        else:
            self.closed.add(self.books.drop(place))
        self.settle()

    @precondition(lambda self: self.held)
    @rule()
    def lose(self) -> None:
        place, connection = self.held.popitem()
        self.closed.add(connection)
        assert self.books.lost(place.key)
        self.settle()

    @precondition(lambda self: self.attempts)
    @rule(lifetime=st.integers(1, 100))
    def succeed(self, lifetime: int) -> None:
        self.attempts -= 1
        self.made += 1
        self.books.opened(Place(Connection(self.made), self.now, self.now + lifetime), self.now)
        self.settle()

    @precondition(lambda self: self.attempts)
    @rule()
    def fail(self) -> None:
        """And try again after a pause, unless another one does."""
        if not self.books.retrying and self.books.wants_more():
            self.books.retrying = True
            return
        if self.attempts == 1:
            self.books.retrying = False
        self.attempts -= 1
        self.books.opening -= 1
        self.settle()

    @precondition(lambda self: self.attempts == 1)
    @rule()
    def give_up(self) -> None:
        self.attempts -= 1
        self.books.opening -= 1
        assert self.books.given_up() == self.queue
        self.queue.clear()
        self.settle()

    @rule(seconds=st.integers(1, 40))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds
        if self.now >= self.books.due:
            self.settle()

    @rule(least=st.integers(0, 3), more=st.integers(1, 3))
    def resize(self, least: int, more: int) -> None:
        self.books.resize(least, least + more)
        self.settle()

    @rule()
    def drain(self) -> None:
        self.books.drain(self.now)
        self.settle()
        assert not self.books.idle

    @invariant()
    def it_adds_up(self) -> None:
        books = self.books
        given = [ticket.place for ticket in self.served]
        assert list(books.waiting) == self.queue
        assert books.out == {place.key for place in (*given, *self.held) if place is not None}
        assert books.busy == len(self.busy)
        assert books.opening == self.attempts >= 0
        assert len(self.made_and_open) == books.ready

    @property
    def made_and_open(self) -> set[Connection]:
        """All connections that somebody has, each in one hand only."""
        places = [*self.books.idle, *self.busy, *(ticket.place for ticket in self.served if ticket.place)]
        everywhere = [*self.held.values(), *(place.connection for place in places)]
        assert len(everywhere) == len(set(everywhere)), "two have it"
        assert not self.closed.intersection(everywhere), "a closed one"
        return set(everywhere)

    @invariant()
    def there_are_not_too_many(self) -> None:
        assert self.books.size <= max(self.books.max_size, self.most)

    @invariant()
    def nobody_waits_for_nothing(self) -> None:
        books = self.books
        if self.queue:
            assert not books.idle
            assert not books.gave_up
            room = books.max_size - (books.size - books.opening)
            assert books.opening >= min(1 if books.retrying else len(self.queue), room)
        if not books.gave_up and not books.retrying:
            assert books.size >= books.min_size

    @invariant()
    def something_is_due_in_time(self) -> None:
        books = self.books
        assert all(books.due <= place.expires_at for place in books.idle)
        if books.idle and books.size > books.min_size:
            assert books.due <= books.idle[0].idle_since + books.max_idle


TestMachine = Machine.TestCase
TestMachine.settings = settings(stateful_step_count=40, suppress_health_check=[HealthCheck.too_slow], deadline=None)
