"""Outcome: what the end of a statement's request means, for the statement and for whoever reads its error.

Knows errors by their SQLSTATE, command tags and what was foreseen. Must not know what is done about it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum, auto

from ..errors import (
    Error,
    FeatureNotSupported,
    InternalError_,
    InvalidSqlStatementName,
    OperationalError,
    ProtocolViolation,
    error_from_fields,
)
from ..errors.pointing import character_position
from ..protocol.constants import TransactionStatus
from ..protocol.request import Request, Result
from .prepared import PreparedStatements
from .requests import RememberedRequest, StatementRequest

_LOST_STATEMENT = (
    "The statement was prepared on another server connection, as it happens behind a pooler in transaction mode: "
    "connect with prepare_threshold=None, or have the pooler keep prepared statements (max_prepared_statements of "
    "PgBouncer)."
)


class Staleness(Enum):
    """Whether a statement failed because of what was remembered of it."""

    NONE = auto()
    POSSIBLE = auto()
    """As the types of its parameters are those that it was parsed with; or the parameters are wrong."""
    CERTAIN = auto()
    """As its plan, its description or the statement itself is of no use any more; then so are others' perhaps."""


def staleness(request: StatementRequest | RememberedRequest) -> Staleness:
    """Return whether a statement failed because of what was remembered of it."""
    error = request.error
    if request.foreseen and (request.failure is not None or isinstance(error, ProtocolViolation)):
        return Staleness.CERTAIN
    if error is None or not request.reused:
        # Parsed just now: what the server says of an EXECUTE of the user's is for the user.
        return Staleness.NONE
    if isinstance(error, FeatureNotSupported) and error.diag.source_function == "RevalidateCachedQuery":
        # "cached plan must not change result type": the text is translated, the function's name is not.
        return Staleness.CERTAIN
    if isinstance(error, (InvalidSqlStatementName, InternalError_)):
        # The latter is "cache lookup failed for type 16385".
        return Staleness.CERTAIN
    if not request.bound and (error.sqlstate or "")[:2] in _CLASSES_OF_OLD_TYPES:
        return Staleness.POSSIBLE
    return Staleness.NONE


def had_own_transaction(request: Request) -> bool:
    """Return whether no transaction was open before the request, so that its failure took nothing else with it."""
    return request.status_before is TransactionStatus.IDLE


_CLASSES_OF_OLD_TYPES = frozenset(("22", "42"))
"""Classes of errors that come of binding parameters whose types were found when a column had another one: a value that
the old type has not, or an expression that is none any more."""


def failure_of(
    request: StatementRequest | RememberedRequest, begin: bytes | None, statements: PreparedStatements
) -> Exception:
    """Return the error that a request ended in, for the one who asked for it.

    :param begin: the BEGIN that went before the statement in the same text, if one did.
    """
    if request.failure is not None:
        return request.failure
    if request.error is None:
        return OperationalError(
            "the server did not run the statement: a COPY that another task began on this connection was in its way"
        )
    if begin is not None and not request.extended:
        return _without_begin(request.error, begin)
    return _with_advice(request.error, statements)


def _with_advice(error: Error, statements: PreparedStatements) -> Error:
    """Return the server's error, with a hint if it says that a statement is gone which was prepared for us."""
    if isinstance(error, InvalidSqlStatementName) and statements.prefix.decode() in str(error):
        return error_from_fields({**error.diag.fields, "H": _LOST_STATEMENT})
    return error


def _without_begin(error: Error, begin: bytes) -> Error:
    """Return a simple query's error with its position counted in the user's text, not in the one with BEGIN."""
    position = character_position(error.diag.statement_position)
    if position is None:
        return error
    shift = len(begin) + 1
    return error_from_fields({**error.diag.fields, "P": str(max(1, position - shift))})


_SETTING_TAGS = frozenset(("SET", "RESET", "DISCARD ALL", "COMMIT", "ROLLBACK", "CALL", "DO"))
"""Tags of what may set a parameter of the session, besides functions."""


def possible_parameters(request: Request, result: Result) -> Sequence[Mapping[str, str]]:
    """Return the server's parameters when it wrote the rows of a result, or what they may have been.

    It reports new ones at the end of a request, in which there may be several statements: what held between two of them
    that may set any is not known.
    """
    before, after = request.parameters_before, request.parameters
    assert after is not None
    if before is None:
        return (after,)
    if len(request.results) == 1:
        # A function may set some before it gives the first row, which is written then, or between two of them.
        return (after,) if result.count == 1 else (after, before)
    number = request.results.index(result)
    setting = [i for i, other in enumerate(request.results) if other.tag in _SETTING_TAGS]
    if setting and number < setting[0]:
        return (before,)
    if setting and number > setting[-1]:
        return (after,)
    if not setting:
        return (after, before)
    return (after, before, {**after, "DateStyle": "SQL, DMY"}, {**after, "DateStyle": "SQL, MDY"})


_WRITTEN_BY = ("client_encoding", "DateStyle", "IntervalStyle", "TimeZone")
"""Parameters that values are written by."""


def changed_settings(request: Request) -> bool:
    """Return whether the server has begun with a request under other settings than it has ended it, for values."""
    before, after = request.parameters_before, request.parameters
    return before is not None and after is not None and any(before.get(n) != after.get(n) for n in _WRITTEN_BY)


def affected_rows(tag: str | None, default: int = -1) -> int:
    """Return the number at the end of a command tag, which is that of the rows affected or returned."""
    if tag is None:
        return default
    last = tag.rpartition(" ")[2]
    # A count has 64 bits; int() refuses very long texts.
    return int(last) if last.isdecimal() and len(last) <= 20 else default


def no_rows_message(result: Result | None) -> str:
    """Return what to say to somebody who fetches from something that has no rows."""
    if result is None:
        return "no result to fetch from: execute a statement first"
    return f"the last statement returned no rows (command status: {result.tag or 'none'}); there is nothing to fetch"
