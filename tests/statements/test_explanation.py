"""Which query a server's error is about, and where in it: without the values of its parameters."""

from __future__ import annotations

import pickle

import pytest

from anyq import errors as e
from anyq.errors import error_from_fields
from anyq.statements.explanation import explained
from anyq.statements.placeholders import convert
from anyq.statements.statement import Statement

WRONG = {"S": "ERROR", "V": "ERROR", "C": "42703", "M": 'column "foo" does not exist', "D": "detail", "W": "context"}


def explain(sql: bytes, position: str | None, encoding: str = "utf-8", server: str | None = "UTF8") -> e.Error:
    error = error_from_fields(WRONG if position is None else {**WRONG, "P": position})
    assert explained(error, Statement(sql, (), (), ()), encoding, server) is error
    return error


def test_line_and_query() -> None:
    error = explain(b"SELECT\n foo", "9")
    assert error.query == "SELECT\n foo"
    assert str(error).split("\n") == [
        'column "foo" does not exist',
        "LINE 2:  foo",
        "         ^",
        "DETAIL:  detail",
        "CONTEXT:  context",
    ]
    assert error.diag.statement_position == "9"


@pytest.mark.parametrize("position", [None, "0", "-1", "99", "9" * 9, "9" * 100, "x", "", "1.5", "٣", "1\n"])
def test_a_position_that_cannot_be(position: str | None) -> None:
    error = explain(b"SELECT foo", position)
    assert error.query == "SELECT foo"
    assert "LINE" not in str(error)
    assert error.diag.statement_position == position


def test_it_pickles() -> None:
    error = explain("SELECT 'é', foo".encode(), "13")
    loaded = pickle.loads(pickle.dumps(error))
    assert (loaded.query, str(loaded), loaded.diag) == (error.query, str(error), error.diag)


def test_an_error_of_our_own_has_the_query_only() -> None:
    error = e.OperationalError("the connection was lost")
    explained(error, Statement(b"SELECT 1", (), (), ()), "utf-8", None)
    assert (str(error), error.query) == ("the connection was lost", "SELECT 1")


def test_an_error_of_others_is_left_alone() -> None:
    error = ValueError("a loader's")
    assert explained(error, Statement(b"SELECT 1", (), (), ()), "utf-8", None) is error
    assert vars(error) == {}


@pytest.mark.parametrize("encoding", ["utf-8", "iso8859-1", "cp1252", "euc_jp", "shift_jis", "gb18030", "big5"])
def test_characters_are_those_of_the_encoding(encoding: str) -> None:
    text = "é" if encoding in ("iso8859-1", "cp1252") else "日" if encoding != "utf-8" else "日é\U0001f600"
    error = explain(f"SELECT '{text}', foo".encode(encoding), str(12 + len(text)), encoding)
    assert error.query == f"SELECT '{text}', foo"
    line, caret = str(error).split("\n")[1:3]
    assert line == f"LINE 1: SELECT '{text}', foo"
    assert len(caret) == line.index("foo") + 1 + sum(character != "é" for character in text)


@pytest.mark.parametrize(("client", "shown"), [("utf-8", "é"), ("ascii", "é")])
def test_a_server_without_an_encoding_counts_bytes(client: str, shown: str) -> None:
    error = explain("SELECT 'é', foo".encode(), "14", client, "SQL_ASCII")
    assert f"LINE 1: SELECT '{shown}', foo\n{' ' * 20}^" in str(error)
    assert error.diag.statement_position == "13"


def test_bytes_that_are_no_text() -> None:
    error = explain(b"SELECT '\xff', foo", "13")
    assert error.query == "SELECT '\ufffd', foo"


SECRETS = [b"'hunter2'", b" '-1'", b"NULL", "E'日\\\\'".encode(), b""]


@pytest.mark.parametrize("literal", SECRETS)
@pytest.mark.parametrize(
    "text", ["SELECT %s, foo", "SELECT %(a)s0, %(b)s, foo, %(a)s", "%s foo", "SELECT %s\n, %s foo"]
)
def test_literals_are_not_shown(text: str, literal: bytes) -> None:
    query = convert(text.encode())
    sent, literals = query.interpolate([literal] * query.nparams)
    for word in (b"foo", b"SELECT"):
        if word not in sent:
            continue
        position = len(sent[: sent.index(word)].decode()) + 1
        error = error_from_fields({**WRONG, "P": str(position)})
        explained(error, Statement(sent, (), (), (), True, True, query, literals), "utf-8", "UTF8")
        assert error.query == query.sql.decode()
        assert "hunter2" not in f"{error}{error!r}{vars(error)}"
        line, caret = str(error).split("\n")[1:3]
        assert line[len(caret) - 1 :].startswith(word.decode())
        assert error.query[int(error.diag.statement_position or 0) - 1 :].startswith(word.decode())


@pytest.mark.parametrize("inside", [1, 4, 9])
def test_an_error_inside_a_literal_is_at_its_placeholder(inside: int) -> None:
    query = convert(b"SELECT 1, %s, %s, foo")
    sent, literals = query.interpolate([b"'hunter2'", b"'hunter3'"])
    position = sent.index(b"'hunter3'") + inside
    error = error_from_fields({**WRONG, "P": str(position)})
    explained(error, Statement(sent, (), (), (), True, True, query, literals), "utf-8", "UTF8")
    assert f"LINE 1: SELECT 1, $1, $2, foo\n{' ' * 22}^" in str(error)


def test_an_internal_query_has_a_line_of_its_own() -> None:
    """What a function runs, whose position takes no part in what was sent."""
    error = error_from_fields({**WRONG, "p": "12", "q": "SELECT 1,\n foo", "W": "PL/pgSQL function"})
    lines = [
        'column "foo" does not exist',
        "LINE 2:  foo",
        "         ^",
        "DETAIL:  detail",
        "QUERY:  SELECT 1,",
        " foo",
        "CONTEXT:  PL/pgSQL function",
    ]
    assert str(error).split("\n") == lines
    explained(error, Statement(b"SELECT f()", (), (), ()), "utf-8", "UTF8")
    assert str(error).split("\n") == lines
    assert error.query == "SELECT f()"


@pytest.mark.parametrize("fields", [{"p": "12"}, {"q": "SELECT foo"}, {"q": "SELECT foo", "p": "-7"}])
def test_half_of_an_internal_position(fields: dict[str, str]) -> None:
    assert "LINE" not in str(error_from_fields({**WRONG, **fields}))


def test_our_hint_stands_beside_the_servers() -> None:
    error = error_from_fields({"C": "42601", "M": "Syntaxfehler", "H": "theirs", "W": "context", "P": "19"})
    explained(error, Statement(b"SELECT 1 WHERE IN $1", [b""], (), ()), "utf-8", "UTF8")
    assert [line.partition(":")[0] for line in str(error).split("\n")[3:]] == ["HINT", "HINT", "CONTEXT"]
    assert error.diag.message_hint == "theirs"
