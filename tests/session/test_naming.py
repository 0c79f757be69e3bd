"""Which statements of an executemany() have names, whichever of them the server has by then."""

from __future__ import annotations

import pytest

from anyq.session.naming import MOST_NAMES, Names
from anyq.statements.composer import Composer
from anyq.statements.prepared import PreparedStatements, StatementKey
from tests.support import frontend_messages as fm
from tests.support.sessions import started

INTS: StatementKey = (b"INSERT INTO t VALUES ($1)", (21,))
NULLS: StatementKey = (b"INSERT INTO t VALUES ($1)", (0,))


class Account:
    """The account of a connection, of which each statement is prepared when it has been parsed so many times."""

    def __init__(self, threshold: int | None = 0) -> None:
        self.composer = Composer(threshold, started())
        self.statements: PreparedStatements = self.composer.statements

    def names(self, *, by_name: bool = True) -> Names:
        return Names(self.composer, by_name=by_name)

    def prepare(self, key: StatementKey) -> bytes:
        """Have a statement prepared by an executemany(); return its name."""
        names = self.names()
        name, parse = names.find(key)
        assert name and parse and not names.relies
        names.settle(1)
        return name

    def closed(self) -> list[bytes | str]:
        """What is to be closed by now, which it is then."""
        closing, self.statements.closing[:] = self.statements.closing[:], []
        return closing


def opened(names: Names) -> list[fm.FrontendMessage]:
    data = bytearray()
    names.open(data)
    return fm.read(data)


def test_each_parse_counts_and_not_each_set() -> None:
    account = Account(2)
    for _ in range(2):
        names = account.names()
        # All sets that follow find it where it is.
        assert [names.find(INTS) for _ in range(10)] == [(b"", True)] + [(b"", False)] * 9
        names.settle(1)
    name = account.prepare(INTS)
    names = account.names()
    assert (names.find(INTS), names.relies) == ((name, False), True)


@pytest.mark.parametrize(
    ("threshold", "by_name", "sql"), [(None, True, b"SELECT"), (0, False, b"SELECT"), (0, True, b"CALL p()")]
)
def test_what_is_never_prepared(threshold: int | None, by_name: bool, sql: bytes) -> None:
    account = Account(threshold)
    for _ in range(9):
        assert account.names(by_name=by_name).find((sql, ())) == (b"", True)


def test_types_that_alternate_are_parsed_again_until_they_have_names() -> None:
    account = Account(2)
    names = account.names()
    found = [names.find(key) for _ in range(4) for key in (INTS, NULLS)]
    name, _ = found[4]
    # As soon as one of them has, the other one stays where it is.
    assert found == [(b"", True)] * 4 + [(name, True), (b"", False), (name, False), (b"", False)]
    assert name


def test_what_stays_unnamed_is_not_parsed_again_behind_what_has_a_name() -> None:
    account = Account(5)
    account.statements.lookup(INTS, True)  # by another request, whose Parse may fail: so nobody else relies on it
    names = account.names()
    assert names.find(INTS) == (b"", True)
    account.statements.prepare_threshold = 0
    assert names.find(NULLS)[1]
    assert names.find(INTS) == (b"", False)


@pytest.mark.parametrize("parsed", [0, 1, 2, 3])
def test_what_the_server_has_not_parsed_is_prepared_by_the_next_one(parsed: int) -> None:
    account = Account()
    names = account.names()
    keys: list[StatementKey] = [(b"SELECT %d" % number, ()) for number in range(3)]
    found = [names.find(key)[0] for key in keys]
    names.settle(parsed)
    names.settle(0)  # and only once
    again = account.names()
    assert [again.find(key) for key in keys[:parsed]] == [(name, False) for name in found[:parsed]]
    assert all(again.find(key)[1] for key in keys[parsed:])
    assert not account.closed()


def test_not_each_of_many_statements_has_a_name() -> None:
    account = Account()
    names = account.names()
    found = [names.find((b"SELECT $1", (number,)))[0] for number in range(2 * MOST_NAMES)]
    assert len(set(found[:MOST_NAMES]) - {b""}) == MOST_NAMES
    assert set(found[MOST_NAMES:]) == {b""}
    # Those that have one keep it.
    assert names.find((b"SELECT $1", (0,))) == (found[0], False)


def test_closed_it_relies_on_no_others() -> None:
    account = Account()
    account.prepare(NULLS)
    names = account.names()
    name, _ = names.find(INTS)
    names.close()
    assert names.find(NULLS) == (b"", True)
    assert names.find(INTS) == (name, False)
    assert not names.relies


@pytest.mark.parametrize("gone", ["renewed", "cleared", "discarded"])
def test_what_is_forgotten_before_it_is_sent_is_parsed_under_that_name_and_closed(gone: str) -> None:
    account = Account()
    name = account.prepare(INTS)
    names = account.names()
    assert names.find(INTS) == (name, False)
    new, _ = names.find(NULLS)
    if gone == "renewed":
        account.statements.renew()
    elif gone == "cleared":
        account.statements.clear()
    else:
        account.composer.forget(INTS)
    assert account.closed() == ([] if gone == "cleared" else [name])
    assert opened(names) == [fm.Parse(name, *INTS)]
    # One for that, and one of its own.
    names.settle(2)
    assert account.closed() == [name]
    again = account.names()
    assert again.find(NULLS) == (new, False)
    other, parse = again.find(INTS)
    assert parse and other != name


def test_nothing_goes_before_what_is_there() -> None:
    account = Account()
    account.prepare(INTS)
    names = account.names()
    names.find(INTS)
    names.find(NULLS)
    assert opened(names) == []


@pytest.mark.parametrize("parsed", [0, 1])
def test_the_same_bytes_once_more(parsed: int) -> None:
    """The server is rid of all their names first, gets a Parse for what they do not parse, and is rid of it again."""
    account = Account()
    old = account.prepare(INTS)
    names = account.names()
    assert names.find(INTS) == (old, False)
    new, _ = names.find(NULLS)
    assert opened(names) == []
    names.settle(parsed)
    names.forget()
    assert not names.relies
    assert sorted(map(str, account.closed())) == sorted(map(str, [old, new][: 1 + parsed]))
    assert opened(names) == [fm.Parse(old, *INTS)]
    # Nothing else is prepared by it.
    assert names.find((b"SELECT 1", ())) == (b"", True)
    names.settle(9)
    assert sorted(map(str, account.closed())) == sorted(map(str, [old, new]))
    assert len(account.statements) == 0
    assert account.prepare(INTS) not in (old, new)
