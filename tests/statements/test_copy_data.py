"""What is told from the text of a COPY, and its request as replies come."""

from __future__ import annotations

import tracemalloc

import pytest

from anyq import errors as e
from anyq.protocol import messages as be
from anyq.protocol.copy_data import join_copy_data, split_copy_data
from anyq.protocol.phases import Phase
from anyq.protocol.request import CopyDirection, Result
from anyq.statements.composer import Composer
from anyq.statements.copy_data import (
    PIECE,
    CopyRequest,
    check_copy,
    compose_copy,
    copy_failure,
    with_types_hint,
)
from anyq.statements.prepared import PreparedStatements
from anyq.statements.statement import Statement
from tests.support import frontend_messages as fm
from tests.support.phases import in_phase


def statement(text: str, encoding: str = "utf-8") -> Statement:
    return Statement(text.encode(encoding), (), (), ())


@pytest.mark.parametrize(
    "text",
    [
        "COPY t FROM STDIN",
        "copy t (a, b) to stdout ;\n; ",
        "/* ; /* ; */ ; */ COPY t FROM STDIN -- ; SELECT 1",
        "COPY t FROM STDIN (DELIMITER ';')",
        "COPY t FROM STDIN (DELIMITER E'\\'', NULL ';')",
        "COPY (SELECT $$;$$, $a$ ' ; $b$ $a$, ';''', \"a;b\", E'\\';') TO STDOUT",
        'COPY "a;""b" TO STDOUT',
    ],
)
def test_one_statement(text: str) -> None:
    check_copy(statement(text), "utf-8")


@pytest.mark.parametrize(
    "text",
    [
        "COPY t FROM STDIN; SELECT 1",
        "COPY t FROM STDIN;;SELECT 1;",
        "COPY t FROM STDIN (DELIMITER ';'); SELECT ';'",
        "COPY t FROM STDIN /* ' */ ; SELECT ' '",
        "COPY t FROM STDIN -- '\n; SELECT ' '",
        "COPY (SELECT E'\\'') TO STDOUT; SELECT '",
        "COPY (SELECT '\\') TO STDOUT; SELECT '",
        "COPY (SELECT $$ ' $$) TO STDOUT; SELECT ' '",
    ],
)
def test_several_statements(text: str) -> None:
    with pytest.raises(e.ProgrammingError, match="no other statement"):
        check_copy(statement(text), "utf-8")


@pytest.mark.parametrize("text", ["", ";", "SELECT 1", "-- COPY", "COPYING", "'COPY t FROM STDIN'", "WITH x COPY"])
def test_no_copy(text: str) -> None:
    with pytest.raises(e.ProgrammingError, match=r"use execute\(\)"):
        check_copy(statement(text), "utf-8")


def test_characters_whose_second_byte_is_ascii() -> None:
    check_copy(statement("COPY (SELECT '表') TO STDOUT", "shift_jis"), "shift_jis")
    with pytest.raises(e.ProgrammingError, match="no other statement"):
        check_copy(statement("COPY (SELECT E'表') TO STDOUT; SELECT ''", "shift_jis"), "shift_jis")


@pytest.mark.parametrize(
    ("text", "csv", "other", "encoding"),
    [
        ("COPY t FROM STDIN", False, False, None),
        ("COPY csv (csv, null_) FROM STDIN (FORMAT text)", False, False, None),
        ("COPY (SELECT 'csv', NULL AS delimiter FROM csv) TO STDOUT (FORMAT binary)", False, False, None),
        ("COPY t FROM STDIN CSV", True, False, None),
        ("COPY t FROM STDIN WITH (HEADER, format Csv)", True, False, None),
        ("COPY t FROM STDIN (FORMAT 'csv')", True, False, None),
        ('COPY t FROM STDIN (FORMAT /* x */ "csv")', True, False, None),
        ("COPY t FROM STDIN (NULL 'csv')", False, True, None),
        ("COPY t FROM STDIN DELIMITER '|'", False, True, None),
        ("COPY t FROM STDIN USING DELIMITERS '|'", False, True, None),
        ("COPY stdout TO STDOUT (ENCODING 'latin1', HEADER)", False, False, "latin1"),
        ("COPY t TO STDOUT ENCODING E'SQL_ASCII'", False, False, "SQL_ASCII"),
        ("COPY t FROM '/stdin.csv' (FORMAT text)", False, False, None),
        ("COPY t FROM STDIN (ENCODING latin1)", False, False, "latin1"),
        ("COPY t FROM STDIN (ENCODING'latin1',\"null\" 'x')", False, True, "latin1"),
        ('COPY t FROM STDIN ("encoding" "latin1")', False, False, "latin1"),
        ("COPY t FROM STDIN (ENCODING $a$latin-1$a$)", False, False, "latin1"),
        ("COPY t FROM STDIN (ENCODING U&'latin 1')", False, False, "latin1"),
        ("COPY t FROM STDIN (FORMAT'csv')", True, False, None),
        ("COPY t FROM STDIN (FORMAT $$csv$$)", True, False, None),
        ("COPY t FROM STDIN (\"format\" 'csv')", True, False, None),
        ("COPY t FROM STDIN (\"delimiter\" ';')", False, True, None),
        ("COPY t FROM STDIN (DEFAULT 'null', DEFAULT 'csv', DEFAULT 'encoding', DEFAULT 'where') ", False, False, None),
        ("COPY t FROM STDIN WHERE csv IS NOT NULL AND encoding = 'latin1'", False, False, None),
        ("COPY t FROM STDIN (NULL 'where', FORMAT csv) WHERE stdin IS DISTINCT FROM stdin", True, True, None),
        ("COPY (SELECT a FROM stdin WHERE a IS NULL) TO STDOUT (ENCODING latin1)", False, False, "latin1"),
        ('COPY t FROM STDIN WHERE "to stdout" IS NULL', False, False, None),
    ],
)
def test_options(text: str, csv: bool, other: bool, encoding: str | None) -> None:
    assert check_copy(statement(text), "utf-8") == (csv, other, encoding)


def test_backslashes_in_strings_are_as_the_server_is_set() -> None:
    text = statement(r"COPY (SELECT '\'; SELECT 1 --') TO STDOUT")
    check_copy(text, "utf-8", standard_strings=False)
    with pytest.raises(e.ProgrammingError, match="no other statement"):
        check_copy(text, "utf-8")


def test_what_does_not_end_is_for_the_server_to_refuse() -> None:
    for begin in ("'", "E'", '"', "/* /* */", "$a$ $b$", "--"):
        assert check_copy(statement(f"COPY t FROM STDIN {begin} ; SELECT"), "utf-8") == (False, False, None)


@pytest.mark.parametrize("content", ["a", "''", '""', r"\\", "$", "/*-"])
@pytest.mark.parametrize("before", ["'", "E'", '"', "/*", "$b$"])
def test_a_large_constant_takes_little_memory(before: str, content: str) -> None:
    made = statement(
        f"COPY (SELECT {before}{content * (1_000_000 // len(content))}{before[::-1].rstrip('E')}) TO STDOUT"
    )
    tracemalloc.start()
    try:
        check_copy(made, "utf-8")
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def request(**kwargs: object) -> CopyRequest:
    return CopyRequest(PreparedStatements(5), b"COPY t FROM STDIN", False)


def test_a_begin_goes_before_it() -> None:
    composer = Composer(5, in_phase(Phase.IDLE))
    account = composer.statements
    account.closing.append(b"old")
    made, data = compose_copy(composer, statement("COPY t TO STDOUT"), b"BEGIN")
    stream = fm.FrontendStream()
    stream.feed(b"\0\0\0\x09\0\3\0\0\0")  # a start-up, for what follows to be read
    stream.next_message()
    stream.feed(data)
    close, query = stream.next_message(), stream.next_message()
    assert isinstance(close, fm.Close)
    assert query == fm.Query(b"BEGIN;COPY t TO STDOUT")
    assert made.after_begin
    assert not account.closing


def test_data_is_taken_in_pieces() -> None:
    made = request()
    made.begin_copy(CopyDirection.OUT, False, 1)
    made.wanted = made.has_data
    assert not made.ready()
    run = be.CopyData(b"x" * 100).encode() * 2000
    made.take_copy_data(run, 0, len(run))
    made.take_copy_data(run, 0, 105)
    assert made.ready()
    sizes: list[int] = []
    while made.has_data():
        sizes.append(len(made.take(join_copy_data)) if len(sizes) % 2 else sum(map(len, made.take(split_copy_data))))
    assert sum(sizes) == 2001 * 100
    assert max(sizes) <= PIECE


def test_what_a_server_may_not_say() -> None:
    made = request()
    made.begin_copy(CopyDirection.IN, False, 1)
    with pytest.raises(e.RemoteProtocolError, match="twice"):
        made.begin_copy(CopyDirection.OUT, False, 1)
    with pytest.raises(e.RemoteProtocolError, match="still being sent"):
        made.add(Result())
    made.is_sent = True
    made.add(Result())


def test_given_up() -> None:
    made = request()
    made.begin_copy(CopyDirection.OUT, False, 1)
    made.take_copy_data(be.CopyData(b"x").encode(), 0, 6)
    made.wanted = made.has_data
    made.abandon()
    assert not made.ready()
    assert not made.has_data()


@pytest.mark.parametrize(("reason", "encoding"), [("x", "ascii"), ("ä", "utf-8"), ("表", "utf-8"), ("表", "shift_jis")])
def test_a_reason_is_cut(reason: str, encoding: str) -> None:
    """Between two characters, as the server has to read it."""
    data = copy_failure(reason * 20_000, encoding)
    assert 7990 <= len(data) < 10_000
    assert set(data[5:-1].decode(encoding)) == {reason}


@pytest.mark.parametrize("reason", ["\0", "\ud800", "表", ""])
def test_a_reason_that_cannot_be_said(reason: str) -> None:
    assert copy_failure(reason)[:1] == b"f"


def test_hints() -> None:
    error = e.InvalidBinaryRepresentation("wrong", fields={"M": "wrong"})
    assert "set_types" in (with_types_hint(error).diag.message_hint or "")
    hinted = e.InvalidBinaryRepresentation("wrong", fields={"M": "wrong", "H": "else"})
    assert with_types_hint(hinted) is hinted
    other = e.UniqueViolation("wrong")
    assert with_types_hint(other) is other
