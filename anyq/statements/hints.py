"""Hints: what is commonly meant by what the server, or the driver, did not understand.

Knows PostgreSQL's errors by their SQLSTATE, and where in a statement a parameter cannot be. Must not know how anything
is sent. Only the text of a query is looked at, never a value.
"""

from __future__ import annotations

import re

from ..errors import (
    Error,
    IndeterminateDatatype,
    InternalError_,
    InvalidTextRepresentation,
    SyntaxError,
    UndefinedFunction,
    UndefinedParameter,
)

__all__ = ["hint_for", "hint_for_no_placeholders"]

_NEAR = 200
"""How many characters around the error are looked at."""

_IN_LIST = "a list of values is one parameter: write = ANY(%s) for IN, <> ALL(%s) for NOT IN, and pass a list"
_NAME = (
    "a parameter is a value and cannot stand for a name or another part of a statement: put a name into the text by "
    'sql.SQL("... {} ...").format(sql.Identifier(name)), a word by sql.SQL'
)
_TYPED = "a constant that has its type before it cannot be a parameter: write %s::{type} for {type} %s"
_UTILITY = (
    "{statement} takes no parameters on the server: use a client cursor (AsyncClientCursor, ClientCursor), which puts "
    "values into the text, and sql.Identifier for names"
)
_INSTEAD = {
    "SET": "; or SELECT set_config(%s, %s, false)",
    "NOTIFY": "; or SELECT pg_notify(%s, %s), which is what notify() does",
    "LISTEN": "; or listen()",
}
_SEVERAL = (
    "several statements in one text can have no parameters: execute them one by one, or by a client cursor "
    "(AsyncClientCursor, ClientCursor)"
)
_SEVERAL_PREPARED = (
    "several statements in one text are for execute() outside of a pipeline, without prepare=True and binary=True: "
    "execute them one by one"
)
_NO_BINARY = "a column is of a type that has no binary format: execute the statement without binary=True"
_QUOTED = (
    "a placeholder in quotes is text for the server: write %s without quotes, and to search for a pattern pass the "
    "whole of it as the value"
)
_NO_ARRAY = "what is sent as an array is a list: a tuple is sent as a composite, and a str as it is"
_DROPPED = "a type was dropped, and made anew if it is there: fetch() it again, and register what that returns"
_UNTYPED = "the server cannot tell the type of a parameter from where it is: write %s::text, with the right type"
_PLACEHOLDERS = "placeholders are written %s, or %(name)s with a mapping of parameters"
_COLON = f"{_PLACEHOLDERS}: :name is not known to PostgreSQL"
_QUESTION_MARK = f"{_PLACEHOLDERS}: ? is not known to PostgreSQL"
_DOLLAR = f"{_PLACEHOLDERS}; for $1 there are raw cursors (AsyncRawCursor, RawCursor) and a sequence of parameters"
_BRACES = "braces are replaced only in an f-string, by str.format() or by sql.SQL.format(); for values use %s"
_NOT_PASSED = "no parameters were passed, so placeholders are not replaced: pass them beside the query"

_TAKE_PARAMETERS = frozenset(
    ("SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "VALUES", "WITH", "TABLE", "EXPLAIN", "CALL", "DECLARE")
)
"""What statements begin with that take parameters."""
_TYPES = "interval|date|time|timestamp|timestamptz|timetz|bool|boolean|int|integer|bigint|numeric|json|jsonb|uuid|inet"

# Blanks, parentheses and comments before the first word; what is far from the beginning is not looked for.
_FIRST_WORD = r"(?:[\s(]|--[^\n]*\n|/\*[^*]*\*/)*([A-Za-z]+)"
_BEFORE_LIST = r"(?i)\bin\s*$"
_LIST = r"(?i)in\s*\(\s*\$[0-9]+\s*\)"
_BEFORE_CONSTANT = rf"(?i)\b({_TYPES})\s*$"
_NUMBERED = r"\$[0-9]"
_UNREPLACED = r"%(?:\(|[sbt]\b)"
_NAMED = r":[A-Za-z_]"
_CONSTANT = r"'[^']*'"
_NO_OPERATOR = r"(?:^|[\s=<>(,])\?\s*$"
_LOOSE = r"(?<!:):[A-Za-z_]|(?:^|[\s=<>(,])\?|\$[0-9]|\{\w*\}"


def hint_for(
    error: Error, text: str, position: int | None, *, has_parameters: bool, has_literals: bool = False
) -> str | None:
    """Return what to say to the author of a query besides what the server has said; None for nothing.

    :param text: the query as it was sent, with ``$1``.
    :param position: of the error in it, from 1.
    :param has_parameters: whether the server got parameters.
    :param has_literals: whether these are values in the text instead.
    """
    if isinstance(error, SyntaxError):
        if position is None:
            if ";" not in text.rstrip("; \t\r\n"):
                return None
            return _SEVERAL if has_parameters else _SEVERAL_PREPARED
        return _syntax(text, position - 1, has_parameters, has_literals)
    if isinstance(error, UndefinedParameter):
        return _utility(text) if has_parameters else _DOLLAR if re.search(_NUMBERED, text) else None
    if isinstance(error, UndefinedFunction) and error.diag.source_function == "getTypeBinaryOutputInfo":
        return _NO_BINARY
    if not has_parameters and not has_literals:
        return None
    if isinstance(error, InternalError_) and (error.diag.message_primary or "").startswith(
        "cache lookup failed for type"
    ):
        return _DROPPED
    if isinstance(error, IndeterminateDatatype):
        return _QUOTED if any(re.search(_NUMBERED, found[0]) for found in re.finditer(_CONSTANT, text)) else _UNTYPED
    if isinstance(error, InvalidTextRepresentation) and error.diag.source_function == "array_in":
        return _NO_ARRAY
    if isinstance(error, UndefinedFunction) and position is not None and re.match(_LIST, text[position - 1 :]):
        return _IN_LIST
    return None


def _syntax(text: str, index: int, has_parameters: bool, has_literals: bool) -> str | None:
    if not (has_parameters or has_literals):
        return _not_replaced(text, index)
    if re.match(_NUMBERED, text[index:]) is None:
        return None
    before = text[max(0, index - _NEAR) : index]
    if re.search(_BEFORE_LIST, before):
        return _IN_LIST
    constant = re.search(_BEFORE_CONSTANT, before)
    if constant is not None:
        return _TYPED.format(type=constant[1].lower())
    return (_utility(text) if has_parameters else None) or _NAME


def _utility(text: str) -> str | None:
    """Return the hint for a statement that takes no parameters; None for one that does."""
    first = re.match(_FIRST_WORD, text)
    word = first[1].upper() if first is not None else ""
    if not word or word in _TAKE_PARAMETERS:
        return None
    return _UTILITY.format(statement=word) + _INSTEAD.get(word, "")


def _not_replaced(text: str, index: int) -> str | None:
    """Return the hint for what looks like a placeholder and is none, where there are no parameters."""
    if re.match(_UNREPLACED, text[index:]):
        return _NOT_PASSED
    if re.match(_NAMED, text[index:]):
        return _COLON
    if text.startswith("{", index):
        return _BRACES
    if re.search(_NO_OPERATOR, text[max(0, index - _NEAR) : index]):
        return _QUESTION_MARK
    return None


def hint_for_no_placeholders(text: str) -> str | None:
    """Return what may have been meant as placeholders in a query that has none, though it has parameters."""
    found = re.search(_LOOSE, re.sub(_CONSTANT, "''", text))
    if found is None:
        return None
    return {"$": _DOLLAR, ":": _COLON, "{": _BRACES}.get(found[0][0], _QUESTION_MARK)
