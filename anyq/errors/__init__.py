"""Every exception of the driver: PEP 249's tree and one class for each SQLSTATE.

Knows how a server's error report becomes an exception. Must not know how the report arrived. Begin with `_base`.

The exceptions to catch are named after PostgreSQL's conditions (``UniqueViolation``,
``SerializationFailure``); the table is in the PostgreSQL manual, Appendix A, "PostgreSQL Error Codes". Their
base classes follow the first two characters of the code: ``except IntegrityError`` takes every constraint
violation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from . import _base, _sqlstates
from ._base import *  # noqa: F403
from ._base import DatabaseError, Error
from ._sqlstates import *  # noqa: F403
from .arguments import check_texts
from .pointing import character_position, pointer

__all__ = ["class_for", "error_from_fields", "explain", "lookup"]
__all__ += _base.__all__
__all__ += _sqlstates.__all__


def _index() -> tuple[dict[str, type[Error]], dict[str, type[Error]]]:
    by_code: dict[str, type[Error]] = {}
    by_name: dict[str, type[Error]] = {}
    for name in _base.__all__:
        # Tracebacks and pickles name the public module, so the private ones can change.
        getattr(_base, name).__module__ = __name__
    for name in _sqlstates.__all__:
        cls = getattr(_sqlstates, name)
        cls.__module__ = __name__
        by_code[cls.sqlstate] = cls
        by_name[re.sub(r"(?<=.)(?=[A-Z])", "_", name).upper().rstrip("_")] = cls
    return by_code, by_name


_by_code, _by_name = _index()


def lookup(sqlstate: str) -> type[Error]:
    """Return the class of a SQLSTATE (``"42P01"``) or of a condition name (``"UNDEFINED_TABLE"``).

    :raises KeyError: there is no such code or name. Use `class_for` to get a base class instead.
    """
    check_texts(sqlstate=sqlstate)
    key = sqlstate.upper()
    cls = _by_code.get(key) or _by_name.get(key)
    if cls is None:
        raise KeyError(sqlstate)
    return cls


def class_for(sqlstate: str | None) -> type[Error]:
    """Return the class to raise for a SQLSTATE, whether or not it is known.

    An unknown code gets the PEP 249 class of its first two characters, and `DatabaseError` if those are
    unknown as well: extensions and ``RAISE ... USING ERRCODE`` make up their own.
    """
    if sqlstate is None:
        return DatabaseError
    return _by_code.get(sqlstate) or _sqlstates.BASES.get(sqlstate[:2], DatabaseError)


# What follows the primary message in an error's text, in libpq's order and wording.
_MESSAGE_PARTS = (("D", "DETAIL"), ("H", "HINT"), ("q", "QUERY"), ("W", "CONTEXT"))


def error_from_fields(fields: Mapping[str, str]) -> Error:
    """Return (not raise) the exception for an ErrorResponse.

    Its message is the primary message, where in an internal query the error is, and a line for each of detail, hint,
    internal query and context that the server sent.

    :param fields: one-letter field code to text.
    """
    return class_for(fields.get("C"))(_message(fields, None, None), fields=fields)


def explain(error: Error, query: str, position: int | None, hint: str | None) -> None:
    """Add to an error which query it is about, and if it is a server's, the line of it and a hint to its message.

    :param query: the text without values.
    :param position: of the error in it, which may be another one than in what was sent.
    """
    error.query = query
    fields = dict(error.diag.fields)
    if position is not None:
        fields["P"] = str(position)
    if fields:
        error.say(_message(fields, query, hint), fields)


def _message(fields: Mapping[str, str], query: str | None, hint: str | None) -> str:
    """Return the message of an error report as libpq has it."""
    lines = [fields.get("M") or "the server sent an error without a message"]
    # One or the other: an error in what a function runs has no position in what was sent.
    text, position = query, character_position(fields.get("P"))
    if position is None:
        text, position = fields.get("q"), character_position(fields.get("p"))
    where = pointer(text, position) if text is not None and position is not None else None
    lines += [where] if where is not None else []
    lines += [f"{label}:  {fields[code]}" for code, label in _MESSAGE_PARTS[:2] if fields.get(code)]
    lines += [f"HINT:  {hint}"] if hint is not None else []
    lines += [f"{label}:  {fields[code]}" for code, label in _MESSAGE_PARTS[2:] if fields.get(code)]
    return "\n".join(lines)
