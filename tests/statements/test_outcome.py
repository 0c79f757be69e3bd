"""What the end of a statement's request means."""

from __future__ import annotations

import pytest

from anyq import errors as e
from anyq.errors import error_from_fields
from anyq.protocol import messages as be
from anyq.protocol.request import Result
from anyq.statements.outcome import (
    Staleness,
    affected_rows,
    failure_of,
    had_own_transaction,
    no_rows_message,
    staleness,
)
from anyq.statements.prepared import PreparedStatements
from anyq.statements.requests import StatementRequest
from tests.support.sessions import IDLE, INTRANS, WRONG, busy, feed, wire

CACHED_PLAN = {"S": "ERROR", "V": "ERROR", "C": "0A000", "M": "wie auch immer", "R": "RevalidateCachedQuery"}
OTHERWISE_UNSUPPORTED = {**CACHED_PLAN, "R": "transformSomething"}
GONE = {"S": "ERROR", "V": "ERROR", "C": "26000", "M": 'prepared statement "x" does not exist'}
OTHER_COLUMNS = {"S": "ERROR", "V": "ERROR", "C": "08P01", "M": "bind message has 2 result formats"}


LOOKUP = {"S": "ERROR", "V": "ERROR", "C": "XX000", "M": "cache lookup failed for type 16385"}
BAD_VALUE = {"S": "ERROR", "V": "ERROR", "C": "22P02", "M": "invalid input syntax for type integer"}
NO_OPERATOR = {"S": "ERROR", "V": "ERROR", "C": "42883", "M": "operator does not exist: text = integer"}
NO_TABLE = WRONG
VIOLATION = {"S": "ERROR", "V": "ERROR", "C": "23505", "M": "duplicate key"}

NONE, POSSIBLE, CERTAIN = Staleness.NONE, Staleness.POSSIBLE, Staleness.CERTAIN


def ended(
    fields: dict[str, str] | None = None, *, foreseen: bool = False, reused: bool = False, bound: bool = False
) -> StatementRequest:
    request = StatementRequest(PreparedStatements())
    request.foreseen = foreseen
    request.reused = reused
    request.bound = bound
    if fields is not None:
        request.error = error_from_fields(fields)
    return request


@pytest.mark.parametrize(
    ("fields", "stale"),
    [(None, NONE), (WRONG, NONE), (CACHED_PLAN, NONE), (GONE, NONE), (LOOKUP, NONE), (OTHER_COLUMNS, CERTAIN)],
)
def test_formats_that_were_foreseen(fields: dict[str, str] | None, stale: Staleness) -> None:
    assert staleness(ended(fields, foreseen=True)) is stale


@pytest.mark.parametrize(
    "fields", [None, WRONG, CACHED_PLAN, OTHERWISE_UNSUPPORTED, GONE, OTHER_COLUMNS, LOOKUP, BAD_VALUE, NO_OPERATOR]
)
def test_a_statement_that_was_parsed_just_now_is_not_stale(fields: dict[str, str] | None) -> None:
    """What the server says of an EXECUTE of the user's is for the user."""
    assert staleness(ended(fields)) is NONE


@pytest.mark.parametrize(
    ("fields", "before_bind", "after_bind"),
    [
        (None, NONE, NONE),
        (NO_TABLE, POSSIBLE, NONE),
        (CACHED_PLAN, CERTAIN, CERTAIN),
        (OTHERWISE_UNSUPPORTED, NONE, NONE),
        (GONE, CERTAIN, CERTAIN),
        (LOOKUP, CERTAIN, CERTAIN),
        (BAD_VALUE, POSSIBLE, NONE),
        (NO_OPERATOR, POSSIBLE, NONE),
        (VIOLATION, NONE, NONE),
        (OTHER_COLUMNS, NONE, NONE),
    ],
)
def test_a_statement_that_was_parsed_earlier(
    fields: dict[str, str] | None, before_bind: Staleness, after_bind: Staleness
) -> None:
    assert staleness(ended(fields, reused=True)) is before_bind
    assert staleness(ended(fields, reused=True, bound=True)) is after_bind


@pytest.mark.parametrize("foreseen", [True, False])
def test_a_result_that_cannot_be_loaded_is_stale_if_its_formats_were_foreseen(foreseen: bool) -> None:
    request = ended(foreseen=foreseen)
    request.failure = e.DataError("the result has changed")
    assert staleness(request) is (CERTAIN if foreseen else NONE)


@pytest.mark.parametrize("before", [IDLE, INTRANS])
def test_whether_it_had_a_transaction_of_its_own(before: be.ReadyForQuery) -> None:
    first, request = StatementRequest(PreparedStatements()), StatementRequest(PreparedStatements())
    done = (be.BindComplete(), be.NoData(), be.CommandComplete("SET"))
    feed(busy(first, request), wire(*done, before, be.ErrorResponse(WRONG), before))
    assert had_own_transaction(request) is (before is IDLE)


def test_the_error_is_the_servers() -> None:
    request = ended(WRONG)
    assert failure_of(request, None, PreparedStatements()) is request.error


def test_a_failure_on_this_side_comes_before_it() -> None:
    request = ended(WRONG)
    request.failure = ValueError("a loader's")
    assert failure_of(request, None, PreparedStatements()) is request.failure


def test_neither_error_nor_result() -> None:
    assert "COPY that another task began" in str(failure_of(ended(), None, PreparedStatements()))


@pytest.mark.parametrize(("position", "expected"), [("10", "4"), ("6", "1")])
def test_a_position_counts_in_the_users_text(position: str, expected: str) -> None:
    """BEGIN went before it in the same string."""
    request = ended({**WRONG, "P": position})
    request.extended = False
    error = failure_of(request, b"BEGIN", PreparedStatements())
    assert isinstance(error, e.UndefinedTable)
    assert error.diag.statement_position == expected


def test_a_position_in_a_text_of_its_own_is_right() -> None:
    request = ended({**WRONG, "P": "10"})
    error = failure_of(request, b"BEGIN", PreparedStatements())
    assert isinstance(error, e.Error)
    assert error.diag.statement_position == "10"


@pytest.mark.parametrize("ours", [True, False])
def test_advice_where_a_statement_is_lost_that_was_prepared_for_us(ours: bool) -> None:
    account = PreparedStatements()
    name = account.prefix.decode() + "0" if ours else "theirs"
    error = failure_of(ended({**GONE, "M": f'prepared statement "{name}" does not exist'}), None, account)
    assert isinstance(error, e.InvalidSqlStatementName)
    assert ("prepare_threshold=None" in (error.diag.message_hint or "")) is ours


@pytest.mark.parametrize(
    ("tag", "rows"),
    [
        (None, -1),
        ("INSERT 0 5", 5),
        ("UPDATE 0", 0),
        ("SELECT 100", 100),
        ("CREATE TABLE", -1),
        ("BEGIN", -1),
        ("", -1),
    ],
)
def test_affected_rows(tag: str | None, rows: int) -> None:
    assert affected_rows(tag) == rows


def test_nothing_to_fetch() -> None:
    assert "execute a statement first" in no_rows_message(None)
    result = Result()
    assert "command status: none" in no_rows_message(result)
    result.tag = "INSERT 0 1"
    assert "command status: INSERT 0 1" in no_rows_message(result)
