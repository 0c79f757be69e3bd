"""What requests keep account of while their replies come: the server's side is a script of messages."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from anyq.protocol import messages as be
from anyq.protocol.request import TransactionEffect
from anyq.statements.prepared import Entry, PreparedStatements
from anyq.statements.requests import CommandRequest, RememberedRequest, StatementRequest, add_begin
from tests.support import frontend_messages as fm
from tests.support.sessions import IDLE, INTRANS, WRONG, busy, columns, feed, outcome, rows_of, wire

KEY = (b"SELECT 1", ())
BEGUN = (be.ParseComplete(), be.BindComplete(), be.CommandComplete("BEGIN"))
ONE_ROW = (be.BindComplete(), columns("a"), be.DataRow((b"1",)), be.CommandComplete("SELECT 1"))


@pytest.fixture
def account() -> PreparedStatements:
    return PreparedStatements(0)


def preparing(account: PreparedStatements) -> tuple[StatementRequest, Entry]:
    request = StatementRequest(account)
    request.entry = entry = account.lookup(KEY)
    assert entry is not None
    return request, entry


def answer(request: StatementRequest | RememberedRequest, *replies: be.BackendMessage) -> None:
    feed(busy(request), wire(*replies))
    assert request.done


def test_a_statement_that_is_prepared(account: PreparedStatements) -> None:
    request, entry = preparing(account)
    answer(request, be.ParseComplete(), *ONE_ROW, IDLE)
    assert entry.prepared
    assert entry.fields is not None
    assert account.lookup(KEY) is entry
    assert [rows_of(result) for result in request.results] == [[(b"1",)]]


@pytest.mark.parametrize(
    ("replies", "prepared"),
    [
        ([be.ErrorResponse(WRONG)], False),
        ([be.ParseComplete(), be.ErrorResponse(WRONG)], True),
        ([be.ParseComplete(), be.BindComplete(), columns("a"), be.ErrorResponse(WRONG)], True),
    ],
    ids=["by Parse", "by Bind", "by Execute"],
)
def test_a_statement_that_fails(
    replies: Sequence[be.BackendMessage], prepared: bool, account: PreparedStatements
) -> None:
    """The server keeps what it has parsed, whatever comes of it; its description is not known."""
    request, entry = preparing(account)
    answer(request, *replies, IDLE)
    assert entry.prepared is prepared
    assert entry.fields is None
    assert request.error is not None


def test_the_parse_of_a_begin_is_not_the_statements(account: PreparedStatements) -> None:
    request, entry = preparing(account)
    add_begin(request, bytearray(), b"BEGIN")
    answer(request, *BEGUN, be.ErrorResponse(WRONG), INTRANS)
    assert not entry.prepared
    assert request.results == []


def test_the_result_of_a_begin_is_left_out(account: PreparedStatements) -> None:
    request, entry = preparing(account)
    add_begin(request, bytearray(), b"BEGIN")
    answer(request, *BEGUN, be.ParseComplete(), *ONE_ROW, INTRANS)
    assert [result.tag for result in request.results] == ["SELECT 1"]
    assert entry.prepared


def test_an_abandoned_request_settles_its_account(account: PreparedStatements) -> None:
    """The server has prepared the statement, but nobody has looked at what its result is like."""
    request, entry = preparing(account)
    proto = busy(request)
    request.abandon()
    feed(proto, wire(be.ParseComplete(), *ONE_ROW, IDLE))
    assert entry.prepared
    assert entry.fields is None


def holding(account: PreparedStatements) -> Entry:
    """An entry that the server holds."""
    entry = account.lookup(KEY)
    assert entry is not None
    account.executed(entry, True)
    assert len(account) == 1
    return entry


def utility(account: PreparedStatements, text: bytes) -> StatementRequest:
    request = StatementRequest(account)
    request.text = text
    return request


def tags(*names: str) -> list[be.BackendMessage]:
    return [message for name in names for message in (be.BindComplete(), be.NoData(), be.CommandComplete(name))]


@pytest.mark.parametrize("tag", ["DEALLOCATE ALL", "DISCARD ALL"])
def test_the_server_forgets_all(tag: str, account: PreparedStatements) -> None:
    holding(account)
    answer(utility(account, tag.encode()), *tags(tag), IDLE)
    assert len(account) == 0
    assert account.closing == []


@pytest.mark.parametrize("tag", ["DEALLOCATE ALL", "DISCARD ALL"])
def test_a_statement_that_makes_the_server_forget_is_forgotten_with_the_others(
    tag: str, account: PreparedStatements
) -> None:
    request, entry = preparing(account)
    request.text = tag.encode()
    answer(request, be.ParseComplete(), *tags(tag), IDLE)
    assert not entry.prepared
    assert account.closing == []
    again = account.lookup(KEY)
    assert again is not None
    assert not again.prepared


def test_the_description_of_a_utility_statement_is_not_kept(account: PreparedStatements) -> None:
    request, entry = preparing(account)
    request.text = b"FETCH ALL FROM c"
    answer(request, be.ParseComplete(), *ONE_ROW, INTRANS)
    assert entry.prepared
    assert entry.fields is None


@pytest.mark.parametrize("before", [IDLE, INTRANS])
def test_a_change_has_all_parsed_again(before: be.ReadyForQuery, account: PreparedStatements) -> None:
    entry = holding(account)
    first, request = StatementRequest(account), utility(account, b"SELECT 1; ALTER TABLE t ADD a int")
    feed(busy(first, request), wire(*tags("SELECT 1"), before, *tags("SELECT 1", "ALTER TABLE"), INTRANS))
    assert (account.closing, account.unsettled) == ([entry.name], True)


@pytest.mark.parametrize("begins", ["BEGIN", None])
def test_what_a_transaction_has_changed_is_settled_when_the_next_one_begins(
    begins: str | None, account: PreparedStatements
) -> None:
    account.unsettled = True
    if begins is None:
        request = StatementRequest(account)
        add_begin(request, bytearray(), b"BEGIN")
        answer(request, *BEGUN, *ONE_ROW, INTRANS)
    else:
        first, request = StatementRequest(account), utility(account, b"BEGIN")
        feed(busy(first, request), wire(*tags("SELECT 1"), IDLE, *tags("BEGIN"), INTRANS))
    assert not account.unsettled


@pytest.mark.parametrize("unsettled", [True, False])
@pytest.mark.parametrize("tag", ["COMMIT", "ROLLBACK"])
def test_what_may_undo_a_change(tag: str, unsettled: bool, account: PreparedStatements) -> None:
    entry = holding(account)
    account.unsettled = unsettled
    first, request = StatementRequest(account), utility(account, tag.encode())
    feed(busy(first, request), wire(*tags("INSERT 0 1"), INTRANS, *tags(tag), INTRANS))
    assert entry.prepared is not unsettled


@pytest.mark.parametrize("unsettled", [True, False])
def test_an_error_may_undo_a_change(unsettled: bool, account: PreparedStatements) -> None:
    entry = holding(account)
    account.unsettled = unsettled
    answer(utility(account, b"COMMIT"), be.ErrorResponse(WRONG), IDLE)
    assert entry.prepared is not unsettled


@pytest.mark.parametrize(("text", "kept"), [(b"ALTER TABLE t ADD a int", False), (None, True)])
def test_nobody_has_looked_at_what_an_abandoned_request_has_done(
    text: bytes | None, kept: bool, account: PreparedStatements
) -> None:
    entry = holding(account)
    request = StatementRequest(account)
    request.text = text
    proto = busy(request)
    request.abandon()
    feed(proto, wire(*tags("ALTER TABLE"), INTRANS))
    assert (entry.prepared, account.unsettled) == (kept, not kept)


@pytest.mark.parametrize(
    ("undoes", "effect", "error", "kept", "unsettled"),
    [
        (False, TransactionEffect.NONE, False, True, True),  # SAVEPOINT
        (True, TransactionEffect.NONE, False, False, True),  # ROLLBACK TO
        (True, TransactionEffect.ENDS, False, False, False),
        (True, TransactionEffect.ENDS, True, False, False),
        (False, TransactionEffect.BEGINS, False, True, False),
    ],
)
def test_commands_of_the_drivers_own(
    undoes: bool, effect: TransactionEffect, error: bool, kept: bool, unsettled: bool, account: PreparedStatements
) -> None:
    entry = holding(account)
    account.unsettled = True
    request = CommandRequest(account, undoes=undoes, effect=effect)
    feed(busy(request), wire(be.ErrorResponse(WRONG) if error else be.CommandComplete("SAVEPOINT"), IDLE))
    assert (entry.prepared, account.unsettled) == (kept, unsettled)


def test_an_empty_query_has_a_result(account: PreparedStatements) -> None:
    request = StatementRequest(account)
    answer(request, be.BindComplete(), be.NoData(), be.EmptyQueryResponse(), IDLE)
    assert [result.tag for result in request.results] == [None]


def test_statements_that_have_to_go_are_closed_later() -> None:
    account = PreparedStatements(0, prepared_max=1)
    names = []
    for number in range(2):
        request = StatementRequest(account)
        request.entry = entry = account.lookup((b"SELECT %d" % number, ()))
        assert entry is not None
        names.append(entry.name)
        answer(request, be.ParseComplete(), *ONE_ROW, IDLE)
    assert account.closing == names[:1]


def test_begin_goes_before() -> None:
    data = bytearray()
    request = StatementRequest(PreparedStatements())
    add_begin(request, data, b"BEGIN READ ONLY")
    assert fm.read(data) == [
        fm.Parse(b"", b"BEGIN READ ONLY", ()),
        fm.Bind(b"", b"", (), (), ()),
        fm.Execute(b"", 0),
    ]


def test_a_remembered_request_knows_its_result() -> None:
    fields = columns("a").fields
    request = RememberedRequest(description=(fields, None))
    answer(request, be.BindComplete(), be.DataRow((b"7",)), be.CommandComplete("SELECT 1"), IDLE)
    results, problems, *_ = outcome(request)
    assert [(names, rows) for names, rows, *_ in results] == [(["a"], [(b"7",)])]
    assert problems == [None, None]
