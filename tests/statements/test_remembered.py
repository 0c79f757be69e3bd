"""A query that is remembered by its text is bound again in one call, or not at all."""

from __future__ import annotations

from typing import Any

import pytest

from anyq.adapt import Transformer
from anyq.errors import ProgrammingError
from anyq.postgres import types
from anyq.protocol import messages as be
from anyq.protocol.messages import FieldDescription
from anyq.statements.binders import SERVER_SIDE
from anyq.statements.layout import Layouts
from anyq.statements.prepared import Entry, PreparedStatements
from anyq.statements.remembered import MISSES, RememberedQuery
from anyq.types.string import StrDumper
from tests.support import frontend_messages as fm
from tests.support.sessions import IDLE, INTRANS, busy, feed, rows_of, wire
from tests.support.values import FakeConnection

PARAMETERS = {"TimeZone": "UTC"}
FIELDS = (FieldDescription("one", 0, 0, types["int4"].oid, 4, -1, 0),)
BEGIN_MESSAGES = [fm.Parse(b"", b"BEGIN", ()), fm.Bind(b"", b"", (), (), ()), fm.Execute(b"", 0)]


@pytest.fixture
def account() -> PreparedStatements:
    return PreparedStatements(0)


@pytest.fixture
def tx() -> Transformer:
    return Transformer(FakeConnection())


def remember(account: PreparedStatements, tx: Transformer, query: str, params: Any) -> tuple[RememberedQuery, Entry]:
    """Return what is remembered of a query that was prepared and executed with these parameters."""
    statement = SERVER_SIDE.bind(query, params, tx)
    entry = account.lookup(statement.key)
    assert entry is not None and statement.query is not None
    account.executed(entry, True)
    layout = Layouts(FIELDS).get(tx, None)
    return RememberedQuery(account, statement, statement.query, entry, layout, PARAMETERS), entry


def test_bound_again(account: PreparedStatements, tx: Transformer) -> None:
    query, entry = remember(account, tx, "SELECT %s", [1])
    composed = query.compose([2], PARAMETERS, None)
    assert composed is not None
    request, data = composed
    assert fm.read(data) == [
        fm.Bind(b"", entry.name, (1,), (b"\0\2",), (1,)),
        fm.Execute(b"", 0),
        fm.Sync(),
    ]
    feed(busy(request), wire(be.BindComplete(), be.DataRow((b"\0\0\0\2",)), be.CommandComplete("SELECT 1"), IDLE))
    assert [rows_of(result) for result in request.results] == [[(b"\0\0\0\2",)]]


def test_names_are_brought_into_order(account: PreparedStatements, tx: Transformer) -> None:
    query, entry = remember(account, tx, "SELECT %(b)s, %(a)s", {"a": 1, "b": 2})
    composed = query.compose({"b": 4, "a": 3}, PARAMETERS, None)
    assert composed is not None
    assert fm.read(composed[1])[0] == fm.Bind(b"", entry.name, (1, 1), (b"\0\4", b"\0\3"), (1,))


def test_without_parameters(account: PreparedStatements, tx: Transformer) -> None:
    query, entry = remember(account, tx, "SELECT 1", None)
    composed = query.compose(None, PARAMETERS, None)
    assert composed is not None
    assert fm.read(composed[1])[0] == fm.Bind(b"", entry.name, (), (), (1,))


def test_with_a_begin(account: PreparedStatements, tx: Transformer) -> None:
    query, entry = remember(account, tx, "SELECT %s", [1])
    composed = query.compose([2], PARAMETERS, b"BEGIN")
    assert composed is not None
    request, data = composed
    assert fm.read(data)[:4] == [*BEGIN_MESSAGES, fm.Bind(b"", entry.name, (1,), (b"\0\2",), (1,))]
    begun = (be.ParseComplete(), be.BindComplete(), be.CommandComplete("BEGIN"))
    row = (be.BindComplete(), be.DataRow((b"\0\0\0\2",)), be.CommandComplete("SELECT 1"))
    feed(busy(request), wire(*begun, *row, INTRANS))
    assert [rows_of(result) for result in request.results] == [[(b"\0\0\0\2",)]]


@pytest.mark.parametrize("params", [["x"], [2**40], [None], [1, 2], [], (2.5,), "1"])
def test_parameters_of_other_kinds(params: Any, account: PreparedStatements, tx: Transformer) -> None:
    query, _ = remember(account, tx, "SELECT %s", [1])
    assert query.compose(params, PARAMETERS, None) is None


def test_a_missing_name_is_an_error(account: PreparedStatements, tx: Transformer) -> None:
    query, _ = remember(account, tx, "SELECT %(a)s", {"a": 1})
    with pytest.raises(ProgrammingError, match="query parameter missing: a"):
        query.compose({"b": 1}, PARAMETERS, None)


def test_another_version_of_the_connections_parameters(account: PreparedStatements, tx: Transformer) -> None:
    query, _ = remember(account, tx, "SELECT %s", [1])
    assert query.compose([1], {}, None) is None


def test_a_statement_that_is_gone(account: PreparedStatements, tx: Transformer) -> None:
    query, _ = remember(account, tx, "SELECT %s", [1])
    account.discard(query.statement(composed(query, [1])).key)
    assert query.compose([1], PARAMETERS, None) is None


def composed(query: RememberedQuery, params: Any, begin: bytes | None = None) -> bytearray:
    request = query.compose(params, PARAMETERS, begin)
    assert request is not None
    return request[1]


@pytest.mark.parametrize("begin", [None, b"BEGIN"])
@pytest.mark.parametrize(
    "params",
    [(), (1,), (None,), ("", None, b"\0\1", b"B\0\0\0\4"), tuple(range(300))],
    ids=["none", "one", "null", "some", "many"],
)
def test_the_statement_of_a_request(
    begin: bytes | None, params: Any, account: PreparedStatements, tx: Transformer
) -> None:
    """Told from the bytes of the request, so that nothing is dumped again to send it once more."""
    text = "SELECT " + ", ".join(["%s"] * len(params))
    query, _ = remember(account, tx, text, params)
    statement = query.statement(composed(query, params, begin))
    expected = SERVER_SIDE.bind(text, params, tx)
    assert (statement.sql, list(statement.values), statement.oids) == (
        expected.sql,
        [v if v is None else bytes(v) for v in expected.values],
        expected.oids,
    )
    assert [int(f) for f in statement.formats] == [int(f) for f in expected.formats]
    assert (statement.simple, statement.only_simple) == (expected.simple, expected.only_simple)


def test_a_statement_that_has_to_be_closed_first(account: PreparedStatements, tx: Transformer) -> None:
    query, _ = remember(account, tx, "SELECT %s", [1])
    account.closing.append(b"other")
    assert query.compose([1], PARAMETERS, None) is None
    account.closing.clear()
    assert query.compose([1], PARAMETERS, None) is not None


def test_a_dumper_that_is_registered_later(account: PreparedStatements, tx: Transformer) -> None:
    query, _ = remember(account, tx, "SELECT %s", [1])
    tx.adapters.register_dumper(int, StrDumper)
    assert query.compose([1], PARAMETERS, None) is None


def test_it_counts_as_a_use(account: PreparedStatements, tx: Transformer) -> None:
    query, entry = remember(account, tx, "SELECT %s", [1])
    before = entry.used
    assert query.compose([1], PARAMETERS, None) is not None
    assert entry.used > before


def test_outdated_after_many_parameters_of_other_kinds(account: PreparedStatements, tx: Transformer) -> None:
    query, _ = remember(account, tx, "SELECT %s", [1])
    for _ in range(MISSES - 1):
        assert query.compose(["x"], PARAMETERS, None) is None
        assert not query.is_outdated()
    assert query.compose(["x"], PARAMETERS, None) is None
    assert query.is_outdated()


@pytest.mark.parametrize("gone", [True, False])
def test_outdated_at_once_where_it_cannot_be_used_again(
    gone: bool, account: PreparedStatements, tx: Transformer
) -> None:
    query, _ = remember(account, tx, "SELECT %s", [1])
    assert query.compose(["x"], PARAMETERS, None) is None
    assert not query.is_outdated()
    if gone:
        account.clear()
    assert query.compose([1], PARAMETERS if gone else {}, None) is None
    assert query.is_outdated()
