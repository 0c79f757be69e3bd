"""Which statements are prepared, kept and closed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from anyq.statements.prepared import MIN_COUNTED, Entry, PreparedStatements, StatementKey

if TYPE_CHECKING:
    from anyq import AsyncConnection


def key(n: int) -> StatementKey:
    return b"SELECT %d" % n, ()


def prepare(statements: PreparedStatements, n: int) -> tuple[Entry, list[bytes]]:
    entry = statements.lookup(key(n), True)
    assert entry is not None
    assert not entry.prepared
    return entry, statements.executed(entry, True)


def test_threshold() -> None:
    statements = PreparedStatements()
    assert [statements.lookup(key(1)) for _ in range(5)] == [None] * 5
    entry = statements.lookup(key(1))
    assert entry is not None
    assert not entry.prepared
    assert entry.name == statements.prefix + b"0"
    assert len(statements) == 0
    assert statements.executed(entry, True) == []
    again = statements.lookup(key(1))
    assert again is entry
    assert again.prepared
    assert len(statements) == 1


def test_types_are_part_of_the_key() -> None:
    statements = PreparedStatements(0)
    first = statements.lookup((b"SELECT $1", (20,)))
    second = statements.lookup((b"SELECT $1", (21,)))
    assert first is not None
    assert second is not None
    assert first.name != second.name


def test_threshold_zero() -> None:
    entry = PreparedStatements(0).lookup(key(1))
    assert entry is not None


@pytest.mark.parametrize("statements", [PreparedStatements(None), PreparedStatements(5, 0)])
@pytest.mark.parametrize("wish", [None, True, False])
def test_never(statements: PreparedStatements, wish: bool | None) -> None:
    assert [statements.lookup(key(1), wish) for _ in range(10)] == [None] * 10


def test_prepare_at_once() -> None:
    prepare(PreparedStatements(), 1)


def test_prepare_not_this_time() -> None:
    statements = PreparedStatements()
    assert [statements.lookup(key(1), False) for _ in range(10)] == [None] * 10
    # Which does not count.
    assert [statements.lookup(key(1)) for _ in range(5)] == [None] * 5
    entry, _ = prepare(statements, 2)
    assert statements.lookup(key(2), False) is None
    assert statements.lookup(key(2)) is entry


def test_changed_threshold() -> None:
    statements = PreparedStatements(2)
    assert [statements.lookup(key(1)) for _ in range(2)] == [None, None]
    statements.prepare_threshold = None
    assert statements.lookup(key(1)) is None
    statements.prepare_threshold = 1
    assert statements.lookup(key(1)) is not None


def test_others_run_it_unprepared_meanwhile() -> None:
    statements = PreparedStatements()
    entry = statements.lookup(key(1), True)
    assert entry is not None
    assert statements.lookup(key(1)) is None
    assert statements.lookup(key(1), True) is None
    statements.executed(entry, True)
    assert statements.lookup(key(1)) is entry


def test_failure() -> None:
    statements = PreparedStatements()
    entry = statements.lookup(key(1), True)
    assert entry is not None
    assert statements.executed(entry, False) == []
    assert len(statements) == 0
    again = statements.lookup(key(1))
    assert again is not None
    assert again.name != entry.name


def test_fields() -> None:
    statements = PreparedStatements()
    entry, _ = prepare(statements, 1)
    assert entry.fields is None
    entry.fields = ["description"]
    found = statements.lookup(key(1))
    assert found is not None
    assert found.fields == ["description"]


def test_eviction_of_the_least_recently_used() -> None:
    statements = PreparedStatements(5, 2)
    assert prepare(statements, 0)[1] == []
    assert prepare(statements, 1)[1] == []
    assert statements.lookup(key(0)) is not None
    assert prepare(statements, 2)[1] == [statements.prefix + b"1"]
    assert statements.lookup(key(1)) is None
    assert len(statements) == 2
    assert prepare(statements, 3)[1] == [statements.prefix + b"0"]


def test_eviction_after_the_limit_was_lowered() -> None:
    statements = PreparedStatements(5, 10)
    for n in range(10):
        prepare(statements, n)
    statements.prepared_max = 2
    assert prepare(statements, 10)[1] == [b"%b%d" % (statements.prefix, n) for n in range(9)]


def test_no_limit() -> None:
    statements = PreparedStatements(5, None)
    for n in range(1000):
        assert prepare(statements, n)[1] == []
    assert len(statements) == 1000


def test_pending_ones_are_not_evicted() -> None:
    statements = PreparedStatements(5, 1)
    pending = statements.lookup(key(0), True)
    assert pending is not None
    assert prepare(statements, 1)[1] == []
    assert statements.executed(pending, True) == [statements.prefix + b"1"]


def test_counts_are_bounded() -> None:
    statements = PreparedStatements(2, 10)
    for n in range(MIN_COUNTED):
        statements.lookup(key(n))
    statements.lookup(key(0))
    # Pushes out the one that was not run for the longest time.
    statements.lookup(key(MIN_COUNTED))
    assert statements.lookup(key(0)) is not None
    assert [statements.lookup(key(1)) for _ in range(2)] == [None, None]


def test_discard() -> None:
    statements = PreparedStatements()
    prepare(statements, 1)
    assert statements.discard(key(1)) == [statements.prefix + b"0"]
    assert statements.discard(key(1)) == []
    # It has been executed often enough.
    newer = statements.lookup(key(1))
    assert newer is not None
    assert newer.name == statements.prefix + b"1"


def test_what_was_never_prepared_is_not_after_it_is_discarded() -> None:
    statements = PreparedStatements()
    assert statements.discard(key(1)) == []
    assert [statements.lookup(key(1)) for _ in range(5)] == [None] * 5


@pytest.mark.parametrize("threshold", [5, 0])
def test_all_are_parsed_again(threshold: int) -> None:
    statements = PreparedStatements(threshold)
    entries = [prepare(statements, n)[0] for n in range(3)]
    pending = statements.lookup(key(3), True)
    assert pending is not None
    assert statements.lookup(key(4), False) is None
    statements.renew()
    assert statements.renewals == 1
    assert statements.closing == [entry.name for entry in entries]
    assert len(statements) == 0
    assert not any(entry.prepared for entry in entries)
    for n in range(3):
        again = statements.lookup(key(n))
        assert again is not None
        assert not again.prepared
        assert again.name != entries[n].name
    # Its reply comes later, so it was parsed later.
    assert statements.executed(pending, True) == []
    assert statements.lookup(key(3)) is pending


def test_none_is_prepared_again_where_none_is_to_be() -> None:
    statements = PreparedStatements()
    prepare(statements, 1)
    statements.prepare_threshold = None
    statements.renew()
    assert statements.lookup(key(1)) is None


@pytest.mark.parametrize("unsettled", [True, False])
def test_what_a_rollback_undoes(unsettled: bool) -> None:
    statements = PreparedStatements()
    prepare(statements, 1)
    statements.unsettled = unsettled
    statements.undo()
    assert len(statements) == int(not unsettled)


def test_discard_while_pending() -> None:
    statements = PreparedStatements()
    entry = statements.lookup(key(1), True)
    assert entry is not None
    assert statements.discard(key(1)) == []
    newer, _ = prepare(statements, 1)
    assert statements.executed(entry, True) == [entry.name]
    assert statements.lookup(key(1)) is newer


def test_clear() -> None:
    statements = PreparedStatements()
    prepare(statements, 1)
    pending = statements.lookup(key(2), True)
    assert pending is not None
    statements.clear()
    assert len(statements) == 0
    assert statements.lookup(key(1)) is None
    # Its reply comes after that of the DEALLOCATE ALL, so it was parsed afterwards.
    assert statements.executed(pending, True) == []
    assert statements.lookup(key(2)) is pending


class AgainstServer(RuleBasedStateMachine):
    """What the cache believes that the server holds, against what it would hold."""

    def __init__(self) -> None:
        super().__init__()
        self.statements = PreparedStatements(2, 3)
        self.held: set[bytes] = set()
        self.pending: list[Entry] = []

    @rule(n=st.integers(0, 6), wish=st.sampled_from([None, None, True, False]))
    def run(self, n: int, wish: bool | None) -> None:
        entry = self.statements.lookup(key(n), wish)
        if entry is not None and entry.prepared:
            assert entry.name in self.held
            assert entry.key == key(n)
        elif entry is not None:
            self.pending.append(entry)

    @precondition(lambda self: self.pending)
    @rule(parsed=st.booleans())
    def reply(self, parsed: bool) -> None:
        entry = self.pending.pop(0)
        assert entry.name not in self.held
        if parsed:
            self.held.add(entry.name)
        for name in self.statements.executed(entry, parsed):
            self.held.remove(name)

    @rule(n=st.integers(0, 6))
    def discard(self, n: int) -> None:
        for name in self.statements.discard(key(n)):
            self.held.remove(name)

    @rule()
    def deallocate_all(self) -> None:
        self.held.clear()
        self.statements.clear()

    @invariant()
    def nothing_is_forgotten(self) -> None:
        assert len(self.statements) == len(self.held) <= 3


TestAgainstServer = AgainstServer.TestCase
TestAgainstServer.settings = settings(max_examples=100, deadline=None)


@pytest.mark.anyio
async def test_on_server(conn: AsyncConnection) -> None:
    counts: list[int] = []
    for _ in range(10):
        cur = await conn.execute("SELECT count(*) FROM pg_prepared_statements WHERE name <> %s", ("",))
        row = await cur.fetchone()
        assert row is not None
        counts.append(row[0])
    assert counts == [0] * 5 + [1] * 5


def test_names_differ_among_connections() -> None:
    """So that behind a pooler nobody runs what another one has prepared under the same name."""
    prefixes = {PreparedStatements().prefix for _ in range(10)}
    assert len(prefixes) == 10
    assert all(prefix.startswith(b"_anyq_") for prefix in prefixes)
