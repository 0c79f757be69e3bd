"""Three ways from a query and its parameters to a statement."""

from __future__ import annotations

from typing import Any

import pytest

from anyq.adapt import Format, Transformer
from anyq.errors import DataError, ProgrammingError
from anyq.postgres import types
from anyq.statements.binders import CLIENT_SIDE, RAW, SERVER_SIDE, Binder
from tests.support.values import transformer

INT2, TEXT = types["int2"].oid, types["text"].oid


@pytest.fixture
def tx() -> Transformer:
    return transformer()


def test_server_side(tx: Transformer) -> None:
    statement = SERVER_SIDE.bind("SELECT %(a)s, %(b)t, %(a)s", {"b": "x", "a": 1}, tx)
    assert statement.sql == b"SELECT $1, $2, $1"
    assert [bytes(value) for value in statement.values if value is not None] == [b"\0\1", b"x"]
    assert statement.oids[0] == INT2
    assert list(statement.formats) == [Format.BINARY, Format.TEXT]
    assert not statement.simple
    assert not statement.only_simple


@pytest.mark.parametrize("params", [None, ()])
def test_server_side_without_parameters(params: Any, tx: Transformer) -> None:
    """It may be several statements, which only the simple protocol takes."""
    query = "SELECT 1 %% 2; SELECT 2"
    statement = SERVER_SIDE.bind(query, params, tx)
    assert statement.sql == (query if params is None else query.replace("%%", "%")).encode()
    assert statement.simple and not statement.only_simple
    assert statement.key == (statement.sql, ())


def test_server_side_keeps_what_the_parameters_were_brought_into_order_by(tx: Transformer) -> None:
    first, second = (SERVER_SIDE.bind("SELECT %s", [value], tx) for value in (1, 2))
    assert first.query is second.query is SERVER_SIDE.parse("SELECT %s", tx)


def test_raw(tx: Transformer) -> None:
    statement = RAW.bind("SELECT $1 % 2, '%s'", [7], tx)
    assert statement.sql == b"SELECT $1 % 2, '%s'"
    assert len(statement.values) == len(statement.oids) == 1
    assert not statement.simple
    assert RAW.bind("SELECT 1", None, tx).simple
    assert RAW.parse("SELECT $1", tx) is None


def test_client_side(tx: Transformer) -> None:
    statement = CLIENT_SIDE.bind("SELECT %s, %s, 5 %% 2", [1, "it's"], tx)
    assert statement.sql == b"SELECT 1, 'it''s', 5 % 2"
    assert not statement.values
    assert statement.only_simple
    assert CLIENT_SIDE.bind("SELECT '%s'", None, tx).sql == b"SELECT '%s'"
    assert CLIENT_SIDE.parse("SELECT %s", tx) is None


@pytest.mark.parametrize(
    ("binder", "extended", "remembers"), [(SERVER_SIDE, True, True), (RAW, True, False), (CLIENT_SIDE, False, False)]
)
def test_what_they_say_of_themselves(binder: Binder, extended: bool, remembers: bool) -> None:
    assert (binder.extended, binder.remembers) == (extended, remembers)


@pytest.mark.parametrize("binder", [SERVER_SIDE, CLIENT_SIDE])
def test_wrong_parameters(binder: Binder, tx: Transformer) -> None:
    with pytest.raises(ProgrammingError, match="1 placeholders but 2 parameters"):
        binder.bind("SELECT %s", [1, 2], tx)
    with pytest.raises(ProgrammingError, match="object"):
        binder.bind("SELECT %s", [object()], tx)


@pytest.mark.parametrize(
    ("binder", "query"), [(SERVER_SIDE, "SELECT %s"), (CLIENT_SIDE, "SELECT %s"), (RAW, "SELECT $1")]
)
def test_a_value_that_postgresql_cannot_hold(binder: Binder, query: str, tx: Transformer) -> None:
    with pytest.raises(DataError):
        binder.bind(query, ["\0"], tx)
