"""Which messages a statement is sent as, and what is learned from the reply; the server is a script of messages."""

from __future__ import annotations

from typing import Any

import pytest

from anyq.adapt import Transformer
from anyq.errors import ProgrammingError
from anyq.postgres import types
from anyq.protocol import messages as be
from anyq.protocol.messages import FieldDescription
from anyq.protocol.request import TransactionEffect
from anyq.statements.binders import CLIENT_SIDE, SERVER_SIDE
from anyq.statements.composer import Composer
from anyq.statements.requests import StatementRequest
from anyq.statements.statement import Statement
from tests.support import frontend_messages as fm
from tests.support.sessions import IDLE, INTRANS, WRONG, busy, feed, rows_of, started, wire
from tests.support.values import transformer

INT2, INT4 = types["int2"].oid, types["int4"].oid
BEGIN = b"BEGIN"
BEGIN_MESSAGES = [fm.Parse(b"", BEGIN, ()), fm.Bind(b"", b"", (), (), ()), fm.Execute(b"", 0)]
RUN = [fm.Describe(b"P", b""), fm.Execute(b"", 0), fm.Sync()]
AGAIN = [fm.Execute(b"", 0), fm.Sync()]
ONE = be.RowDescription((FieldDescription("one", 0, 0, INT4, 4, -1, 0),))
ONE_BINARY = be.RowDescription((FieldDescription("one", 0, 0, INT4, 4, -1, 1),))


@pytest.fixture
def tx() -> Transformer:
    return transformer()


class Composed:
    """A composer whose requests are answered at once."""

    def __init__(self, tx: Transformer, threshold: int | None = 5) -> None:
        self.session = started()
        self.composer = Composer(threshold, self.session)
        self._tx = tx

    def statement(self, query: str, params: Any = None, *, literals: bool = False) -> Statement:
        return (CLIENT_SIDE if literals else SERVER_SIDE).bind(query, params, self._tx)

    def compose(
        self, query: str | Statement, params: Any = None, begin: bytes | None = None, **options: Any
    ) -> tuple[StatementRequest, list[fm.FrontendMessage]]:
        statement = self.statement(query, params) if isinstance(query, str) else query
        wishes = {"prepare": None, "binary": None, **options}
        request, data = self.composer.compose(statement, self._tx, begin, **wishes)
        return request, fm.read(data)

    def prepare(self, query: str, params: Any = None, *, row: be.RowDescription | be.NoData = ONE) -> bytes:
        """Have a statement prepared; return the name it has got."""
        request, messages = self.compose(query, params, prepare=True)
        parse = messages[-5]
        assert isinstance(parse, fm.Parse)
        self.answer(request, be.ParseComplete(), be.BindComplete(), row, be.CommandComplete("SELECT 0"))
        return parse.name

    @staticmethod
    def answer(request: StatementRequest, *replies: be.BackendMessage) -> None:
        feed(busy(request), wire(*replies, IDLE))
        assert request.done


@pytest.fixture
def composed(tx: Transformer) -> Composed:
    return Composed(tx)


# -- which protocol


@pytest.mark.parametrize("query", ["SELECT 1", "SELECT 1; SELECT 2", ""])
def test_without_parameters_by_the_simple_protocol(query: str, composed: Composed) -> None:
    _, messages = composed.compose(query)
    assert messages == [fm.Query(query.encode())]


def test_with_parameters_by_the_extended_protocol(composed: Composed) -> None:
    _, messages = composed.compose("SELECT %s", [1])
    assert messages == [
        fm.Parse(b"", b"SELECT $1", (INT2,)),
        fm.Bind(b"", b"", (1,), (b"\0\1",), (0,)),
        *RUN,
    ]


def test_a_begin_goes_before_it_in_messages_of_its_own(composed: Composed) -> None:
    """So that an error in the statement's syntax does not keep the transaction from being begun."""
    for query, params in (("SELECT %s", [1]), ("SELECT 1", None)):
        _, messages = composed.compose(query, params, BEGIN)
        assert messages[:3] == BEGIN_MESSAGES
        assert messages[-3:] == RUN


def test_a_begin_goes_before_several_statements_in_the_same_text(composed: Composed) -> None:
    _, messages = composed.compose("SELECT 1; SELECT 2", None, BEGIN)
    assert messages == [fm.Query(b"BEGIN;SELECT 1; SELECT 2")]


def test_literals_go_by_the_simple_protocol_in_any_case(composed: Composed) -> None:
    _, messages = composed.compose(composed.statement("SELECT %s", [1], literals=True), begin=BEGIN)
    assert messages == [fm.Query(b"BEGIN;SELECT 1")]


# -- prepared statements


def test_prepared_at_the_threshold(tx: Transformer) -> None:
    composed = Composed(tx, 2)
    for _ in range(2):
        request, messages = composed.compose("SELECT %s", [1])
        assert messages[0] == fm.Parse(b"", b"SELECT $1", (INT2,))
        composed.answer(request, be.ParseComplete(), be.BindComplete(), ONE, be.CommandComplete("SELECT 0"))
    request, messages = composed.compose("SELECT %s", [1])
    (parse, *_) = messages
    assert isinstance(parse, fm.Parse) and parse.name.startswith(composed.composer.statements.prefix)
    composed.answer(request, be.ParseComplete(), be.BindComplete(), ONE, be.CommandComplete("SELECT 0"))
    # Nothing to parse, nothing to describe; in binary, as that is faster for an int.
    _, messages = composed.compose("SELECT %s", [2])
    assert messages == [fm.Bind(b"", parse.name, (1,), (b"\0\2",), (1,)), *AGAIN]


@pytest.mark.parametrize(("binary", "formats"), [(None, (1,)), (True, (1,)), (False, (0,))])
def test_the_formats_of_a_prepared_statement(binary: bool | None, formats: tuple[int, ...], composed: Composed) -> None:
    name = composed.prepare("SELECT %s", [1])
    _, messages = composed.compose("SELECT %s", [1], binary=binary)
    assert messages == [fm.Bind(b"", name, (1,), (b"\0\1",), formats), *AGAIN]


def test_prepared_in_a_new_transaction(composed: Composed) -> None:
    name = composed.prepare("SELECT 1")
    request, messages = composed.compose("SELECT 1", None, BEGIN)
    assert messages == [*BEGIN_MESSAGES, fm.Bind(b"", name, (), (), (1,)), *AGAIN]
    begun = (be.ParseComplete(), be.BindComplete(), be.CommandComplete("BEGIN"))
    feed(
        busy(request),
        wire(*begun, be.BindComplete(), be.DataRow((b"\0\0\0\1",)), be.CommandComplete("SELECT 1"), INTRANS),
    )
    assert [rows_of(result) for result in request.results] == [[(b"\0\0\0\1",)]]


def test_prepared_without_rows(composed: Composed) -> None:
    name = composed.prepare("INSERT INTO t VALUES (%s)", [1], row=be.NoData())
    request, messages = composed.compose("INSERT INTO t VALUES (%s)", [2])
    assert messages == [fm.Bind(b"", name, (1,), (b"\0\2",), ()), *AGAIN]
    composed.answer(request, be.BindComplete(), be.CommandComplete("INSERT 0 1"))
    assert [(result.fields, result.tag) for result in request.results] == [(None, "INSERT 0 1")]


def test_not_prepared_when_it_is_not_to_be(composed: Composed) -> None:
    composed.prepare("SELECT %s", [1])
    _, messages = composed.compose("SELECT %s", [1], prepare=False)
    assert messages[0] == fm.Parse(b"", b"SELECT $1", (INT2,))


def test_several_statements_are_prepared_only_if_the_user_insists(tx: Transformer) -> None:
    composed = Composed(tx, 0)
    _, messages = composed.compose("SELECT 1; SELECT 2")
    assert messages == [fm.Query(b"SELECT 1; SELECT 2")]
    _, messages = composed.compose("SELECT 1; SELECT 2", prepare=True)
    assert isinstance(messages[0], fm.Parse)


def test_one_that_nobody_has_looked_at_is_described(composed: Composed) -> None:
    """It was prepared by a request that was abandoned: it has a name, but what its result is like is not known."""
    request, messages = composed.compose("SELECT %s", [1], prepare=True)
    assert isinstance(messages[0], fm.Parse)
    name = messages[0].name
    proto = busy(request)
    request.abandon()
    feed(proto, wire(be.ParseComplete(), be.BindComplete(), ONE, be.CommandComplete("SELECT 0"), IDLE))
    # Once: that execution is looked at.
    request, messages = composed.compose("SELECT %s", [1])
    assert messages == [fm.Bind(b"", name, (1,), (b"\0\1",), (0,)), *RUN]
    composed.answer(request, be.BindComplete(), ONE, be.CommandComplete("SELECT 0"))
    _, messages = composed.compose("SELECT %s", [1])
    assert messages == [fm.Bind(b"", name, (1,), (b"\0\1",), (1,)), *AGAIN]
    assert len(composed.composer.statements) == 1


def test_one_that_nobody_has_looked_at_and_that_fails_is_described_again(composed: Composed) -> None:
    entry = composed.composer.statements.lookup((b"SELECT $1", (INT2,)), True)
    assert entry is not None
    composed.composer.statements.executed(entry, True)
    for _ in range(2):
        request, messages = composed.compose("SELECT %s", [1])
        assert messages == [fm.Bind(b"", entry.name, (1,), (b"\0\1",), (0,)), *RUN]
        composed.answer(request, be.BindComplete(), ONE, be.ErrorResponse(WRONG))


def test_statements_are_closed_with_the_next_request(composed: Composed) -> None:
    composed.composer.statements.prepared_max = 1
    name = composed.prepare("SELECT 1")
    composed.prepare("SELECT 2")
    _, messages = composed.compose("SELECT 3")
    assert messages == [fm.Close(b"S", name), fm.Query(b"SELECT 3")]
    _, messages = composed.compose("SELECT 3")
    assert messages == [fm.Query(b"SELECT 3")]


def test_a_forgotten_statement_is_closed_and_begins_again(composed: Composed) -> None:
    name = composed.prepare("SELECT %s", [1])
    composed.composer.forget((b"SELECT $1", (INT2,)))
    _, messages = composed.compose("SELECT %s", [1])
    assert messages[0] == fm.Close(b"S", name)
    assert isinstance(messages[1], fm.Parse)
    assert (messages[1].name not in (b"", name), messages[1].sql) == (True, b"SELECT $1")


@pytest.mark.parametrize("query", ["FETCH ALL FROM c", "EXECUTE s", "CALL p()", "/* SELECT */ SHOW a"])
def test_what_has_no_plan_is_prepared_if_somebody_insists(query: str, tx: Transformer) -> None:
    """It is described each time, as the server would not refuse it for having another result."""
    composed = Composed(tx, 0)
    for _ in range(2):
        _, messages = composed.compose(query)
        assert messages == [fm.Query(query.encode())]
    name = composed.prepare(query)
    for binary in (None, False):
        _, messages = composed.compose(query, prepare=True, binary=binary)
        assert messages == [fm.Bind(b"", name, (), (), (0,)), *RUN]


@pytest.mark.parametrize(
    ("name", "renewed"),
    [
        ("search_path", True),
        ("client_encoding", True),
        ("DateStyle", True),
        ("IntervalStyle", True),
        ("TimeZone", True),
        ("standard_conforming_strings", True),
        ("application_name", False),
    ],
)
def test_parameters_of_the_session_that_texts_depend_on(name: str, renewed: bool, composed: Composed) -> None:
    statement = composed.prepare("SELECT 1")
    feed(composed.session, wire(be.ParameterStatus(name, "LATIN1")))
    _, messages = composed.compose("SELECT 1")
    assert (messages[0] == fm.Close(b"S", statement)) is renewed
    feed(composed.session, wire(be.ParameterStatus(name, "LATIN1")))
    _, messages = composed.compose("SELECT 1")
    assert not any(isinstance(message, fm.Close) for message in messages)


# -- what it may do to the transaction


@pytest.mark.parametrize(
    ("query", "params", "begin", "effect"),
    [
        ("SELECT 1", None, None, TransactionEffect.NONE),
        ("SELECT 1", None, BEGIN, TransactionEffect.BEGINS),
        ("/* x */ INSERT INTO t VALUES (%s)", [1], None, TransactionEffect.NONE),
        ("/* x */ INSERT INTO t VALUES (%s)", [1], BEGIN, TransactionEffect.BEGINS),
        ("SELECT 1;", None, None, TransactionEffect.NONE),
        ("SELECT 1; COMMIT", None, None, TransactionEffect.UNCERTAIN),
        ("SELECT 1; SELECT 2", None, BEGIN, TransactionEffect.UNCERTAIN),
        ("SELECT ';' || %s", [1], None, TransactionEffect.NONE),
        ("COMMIT", None, None, TransactionEffect.UNCERTAIN),
        ("COMMIT", None, BEGIN, TransactionEffect.UNCERTAIN),
        ("ROLLBACK TO a", None, None, TransactionEffect.UNCERTAIN),
        ("-- SELECT\n commit", None, None, TransactionEffect.UNCERTAIN),
        ("CALL p(%s)", [1], None, TransactionEffect.UNCERTAIN),
        ("DO $$ BEGIN COMMIT; END $$", None, None, TransactionEffect.UNCERTAIN),
        ("", None, None, TransactionEffect.UNCERTAIN),
    ],
)
def test_what_it_may_do_to_the_transaction(
    query: str, params: Any, begin: bytes | None, effect: TransactionEffect, composed: Composed
) -> None:
    request, _ = composed.compose(query, params, begin)
    assert request.effect is effect
    assert (request.text is None) is (effect in (TransactionEffect.NONE, TransactionEffect.BEGINS))


@pytest.mark.parametrize("literals", [True, False])
@pytest.mark.parametrize("prepare", [True, False, None])
def test_a_copy_is_refused(literals: bool, prepare: bool | None, composed: Composed, tx: Transformer) -> None:
    for query, direction in (("COPY t FROM STDIN", "FROM STDIN"), ("/* */ copy t to stdout", "TO STDOUT")):
        statement = composed.statement(query, literals=literals)
        with pytest.raises(ProgrammingError, match=f"COPY {direction} cannot be run by"):
            composed.compose(statement, prepare=prepare)
        with pytest.raises(ProgrammingError, match=f"COPY {direction} cannot be run by"):
            composed.composer.compose_describe(statement, None)
    _, messages = composed.compose("COPY t FROM '/tmp/stdin'")
    assert messages == [fm.Query(b"COPY t FROM '/tmp/stdin'")]


# -- binary results of statements that are not prepared


def test_described_first(composed: Composed, tx: Transformer) -> None:
    statement = composed.statement("SELECT %s", [1])
    described = composed.composer.compose_describe(statement, BEGIN)
    assert described is not None
    request, data = described
    assert fm.read(data) == [
        *BEGIN_MESSAGES,
        fm.Parse(b"", b"SELECT $1", (INT2,)),
        fm.Describe(b"S", b""),
        fm.Sync(),
    ]
    assert isinstance(ONE, be.RowDescription)
    composed.composer.described(statement.key, ONE.fields)
    assert composed.composer.compose_describe(statement, None) is None
    request, messages = composed.compose(statement, binary=True)
    # Described all the same: it may have changed.
    assert messages == [
        fm.Parse(b"", b"SELECT $1", (INT2,)),
        fm.Bind(b"", b"", (1,), (b"\0\1",), (1,)),
        *RUN,
    ]
    composed.answer(
        request,
        be.ParseComplete(),
        be.BindComplete(),
        ONE_BINARY,
        be.DataRow((b"\0\0\0\7",)),
        be.CommandComplete("SELECT 1"),
    )
    assert [rows_of(result) for result in request.results] == [[(b"\0\0\0\7",)]]
    composed.composer.forget(statement.key)
    assert composed.composer.compose_describe(statement, None) is not None
    composed.composer.described(statement.key, ONE.fields)
    assert composed.composer.compose_describe(statement, None) is None
    composed.composer.statements.renew()
    assert composed.composer.compose_describe(statement, None) is not None


def test_what_has_no_plan_is_described_each_time(composed: Composed, tx: Transformer) -> None:
    statement = composed.statement("FETCH 1 FROM c")
    assert isinstance(ONE, be.RowDescription)
    for _ in range(2):
        assert composed.composer.compose_describe(statement, None) is not None
        composed.composer.described(statement.key, ONE.fields)
        _, messages = composed.compose(statement, binary=True)
        assert fm.Bind(b"", b"", (), (), (1,)) in messages


# -- what is remembered of queries


def remembered(composed: Composed, query: str, params: Any) -> bool:
    key = (query,) if params is None else query
    composed.compose(query, params, remember=(key, 7))
    return key in composed.composer.remembered


def test_a_query_is_remembered_once_it_is_prepared(composed: Composed) -> None:
    assert not remembered(composed, "SELECT %s", [1])
    composed.prepare("SELECT %s", [1])
    assert remembered(composed, "SELECT %s", [1])
    assert ("SELECT %s",) not in composed.composer.remembered


@pytest.mark.parametrize("query", ["DEALLOCATE ALL", "COMMIT", "FETCH 1 FROM c"])
def test_what_has_no_plan_is_not_remembered(query: str, composed: Composed) -> None:
    composed.prepare(query, row=be.NoData())
    assert not remembered(composed, query, None)


def test_an_error_is_the_requests(composed: Composed) -> None:
    request, _ = composed.compose("SELECT %s", [1])
    composed.answer(request, be.ErrorResponse(WRONG))
    assert request.error is not None
    assert request.results == []
