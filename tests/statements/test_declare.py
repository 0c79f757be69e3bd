"""Declare: what is sent for named cursors, whose they are, and what their errors say."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest

from anyq.errors import (
    DataError,
    DuplicateCursor,
    InvalidCursorName,
    NoActiveSqlTransaction,
    ProgrammingError,
    SyntaxError,
    error_from_fields,
)
from anyq.protocol.constants import TransactionStatus
from anyq.protocol.request import Result
from anyq.statements.composer import Composer
from anyq.statements.declare import (
    DeclareRequest,
    NamedCursors,
    Options,
    check_name,
    compose_close,
    compose_declare,
    compose_fetch,
    failure_of_declare,
    failure_of_fetch,
)
from anyq.statements.statement import Statement
from tests.support import frontend_messages as fm
from tests.support.sessions import started

QUERY = Statement(b"SELECT $1", (b"x",), (25,), (0,))


class Server:
    """The driver's side of one connection."""

    def __init__(self) -> None:
        self.protocol = started()
        self.composer = Composer(None, self.protocol)
        self.cursors = NamedCursors(self.composer.statements)

    def declare(
        self, name: str = "c", own: DeclareRequest | None = None
    ) -> tuple[DeclareRequest, list[fm.FrontendMessage]]:
        options = Options(name)
        request, data = compose_declare(self.composer, self.cursors, QUERY, options, "utf-8", None, own)
        return request, fm.read(data)


def succeed(request: DeclareRequest) -> None:
    if not request.abandoned:
        request.add(Result())
    request.finish()


@pytest.mark.parametrize(
    ("options", "head"),
    [
        (Options("c"), b'DECLARE "c" CURSOR FOR '),
        (Options("c", True), b'DECLARE "c" SCROLL CURSOR FOR '),
        (Options("c", False, True), b'DECLARE "c" NO SCROLL CURSOR WITH HOLD FOR '),
        (Options('"; DROP TABLE t', None, True), b'DECLARE """; DROP TABLE t" CURSOR WITH HOLD FOR '),
        (Options("%s $1"), b'DECLARE "%s $1" CURSOR FOR '),
    ],
)
def test_what_goes_before_the_query(options: Options, head: bytes) -> None:
    assert options.head("utf-8") == head


def test_names_are_quoted_as_the_server_reads_them() -> None:
    # The second byte of the character is a backslash in this encoding, and the quote is doubled behind it.
    assert Options('表"').head("anyq_sjis") == b'DECLARE "\x95\\""" CURSOR FOR '


def test_a_declare_is_one_round_trip() -> None:
    request, messages = Server().declare()
    assert messages == [
        fm.Parse(b"", b'DECLARE "c" CURSOR FOR SELECT $1', (25,)),
        fm.Bind(b"", b"", (0,), (b"x",), ()),
        fm.Execute(b"", 0),
        fm.Describe(b"P", b"c"),
        fm.Sync(),
    ]
    assert request.extended


def test_fetch_and_close() -> None:
    server = Server()
    server.composer.statements.closing += ["left", b"statement"]
    request, data = compose_fetch(server.composer, 'a"b', "utf-8", "FORWARD 100", [1])
    assert fm.read(data) == [
        fm.Close(b"S", b"statement"),
        fm.Close(b"P", b"left"),
        fm.Parse(b"", b'FETCH FORWARD 100 FROM "a""b"', ()),
        fm.Bind(b"", b"", (), (), (1,)),
        fm.Describe(b"P", b""),
        fm.Execute(b"", 0),
        fm.Sync(),
    ]
    assert not server.composer.statements.closing
    assert not request.results
    assert fm.read(compose_close('a"b', "utf-8")) == [fm.Close(b"P", b'a"b'), fm.Sync()]


def test_what_is_to_be_closed_and_cannot_be_named() -> None:
    server = Server()
    server.protocol.encoding = "iso8859-1"
    server.composer.statements.closing += ["表", "é"]
    data = bytearray()
    server.composer.close_left(data)
    assert fm.read(data) == [fm.Close(b"P", b"\xe9")]


def test_whose_a_cursor_is() -> None:
    server = Server()
    one, _ = server.declare()
    assert server.cursors.owner("c") is one
    succeed(one)
    other, messages = server.declare()
    assert isinstance(messages[0], fm.Parse)  # it is another object's, which is not closed
    assert server.cursors.owner("c") is other
    other.error = DuplicateCursor()
    other.finish()
    assert server.cursors.owner("c") is one
    again, messages = server.declare(own=one)
    assert messages[0] == fm.Close(b"P", b"c")
    again.error = ProgrammingError()
    again.finish()
    assert server.cursors.owner("c") is None  # the one before was closed for it


def test_one_that_nobody_waits_for_is_closed_later() -> None:
    server = Server()
    one, _ = server.declare()
    one.abandon()
    succeed(one)
    assert server.cursors.owner("c") is None
    assert server.composer.statements.closing == ["c"]


def test_one_that_nobody_waits_for_and_that_failed() -> None:
    server = Server()
    one, _ = server.declare()
    one.abandon()
    one.error = ProgrammingError()
    one.finish()
    assert server.composer.statements.closing == []


def test_one_that_nobody_waits_for_is_not_closed_after_another_has_its_name() -> None:
    server = Server()
    one, _ = server.declare()
    one.abandon()
    other, messages = server.declare()
    assert messages[0] == fm.Close(b"P", b"c")  # it may be there
    succeed(one)
    succeed(other)
    assert server.composer.statements.closing == []
    assert server.cursors.owner("c") is other


def test_closing_what_is_another_ones_by_now() -> None:
    server = Server()
    one, _ = server.declare()
    succeed(one)
    other, _ = server.declare()
    succeed(other)
    server.cursors.close_later("c", one)
    assert not server.cursors.closed("c", one)
    assert server.composer.statements.closing == []
    server.cursors.close_later("c", other)
    assert server.composer.statements.closing == ["c"]


def test_requests_are_not_kept() -> None:
    server = Server()
    requests: list[weakref.ref[DeclareRequest]] = []
    for _ in range(3):
        one, _ = server.declare()
        succeed(one)
        requests.append(weakref.ref(one))
    server.cursors.closed("c", one)
    del one
    gc.collect()
    assert [request() for request in requests] == [None, None, None]


def test_nothing_is_noted_where_nothing_can_be_sent() -> None:
    server = Server()
    bad = Statement(b"SELECT \0", (), (), ())
    with pytest.raises(DataError):
        compose_declare(server.composer, server.cursors, bad, Options("c"), "utf-8", None, None)
    assert server.cursors.owner("c") is None


# -- names


def test_lengths_count_in_the_servers_encoding() -> None:
    check_name("é" * 63, "utf-8", "iso8859-1")
    check_name("é" * 31, "iso8859-1", "utf-8")
    with pytest.raises(ProgrammingError, match="63 bytes"):
        check_name("é" * 32, "iso8859-1", "utf-8")
    check_name("表" * 21, "utf-8", "iso8859-1")  # the server will refuse it
    with pytest.raises(DataError):
        check_name("表", "iso8859-1", "utf-8")


# -- errors


def failed(kind: type[Any], position: str | None = None, **fields: str) -> Any:
    return error_from_fields({"C": kind.sqlstate, "M": "no", **({"P": position} if position else {}), **fields})


@pytest.mark.parametrize(("position", "shown"), [("24", "1"), ("30", "7"), ("23", None), ("1", None), ("x", "x")])
def test_positions(position: str, shown: str | None) -> None:
    head = Options("c").head("utf-8")
    assert len(head) == 23
    error: Any = failure_of_declare(failed(SyntaxError, position), head, QUERY, "utf-8", False)
    assert error.diag.statement_position == shown


def test_positions_count_characters_or_bytes() -> None:
    head = Options("ö").head("utf-8")
    for bytewise, position in ((False, "24"), (True, "25")):
        error: Any = failure_of_declare(failed(SyntaxError, position), head, QUERY, "utf-8", bytewise)
        assert error.diag.statement_position == "1"


def test_advice() -> None:
    head = Options("c").head("utf-8")
    assert "withhold=True" in str(failure_of_declare(failed(NoActiveSqlTransaction), head, QUERY, "utf-8", False))
    insert = QUERY._replace(sql=b"INSERT INTO t")
    assert "is for a query" in str(failure_of_declare(failed(SyntaxError), head, insert, "utf-8", False))
    assert "is for a query" not in str(failure_of_declare(failed(SyntaxError), head, QUERY, "utf-8", False))
    assert "execute() declares" in str(failure_of_fetch(failed(InvalidCursorName)))
    assert "HINT:  the server's" in str(failure_of_fetch(failed(InvalidCursorName, H="the server's")))
    assert "its own name" in str(failure_of_declare(failed(DuplicateCursor), head, QUERY, "utf-8", False))
    for other in (ZeroDivisionError(), failed(DataError)):
        assert failure_of_fetch(other) is other
        assert failure_of_declare(other, head, QUERY, "utf-8", False) is other


def test_a_request_that_the_end_of_the_session_reaches() -> None:
    server = Server()
    request, _ = server.declare()
    request.status_before = TransactionStatus.IDLE
    request.fail(ProgrammingError("lost"))
    assert server.cursors.owner("c") is None
    assert request.done
