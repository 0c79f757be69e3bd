"""Explanation: which query a server's error is about, where in it the error is, and what is commonly meant instead.

Knows the text that was sent and the placeholders in it. Must not know how it was sent, nor what is done about the
error. Everything here runs only when there is an error.
"""

from __future__ import annotations

from ..adapt.encodings import encoding_to_write
from ..errors import Error, explain
from ..errors.pointing import character_position
from .hints import hint_for
from .statement import Statement

__all__ = ["explained"]


def explained(failure: Exception, statement: Statement, encoding: str, server_encoding: str | None) -> Exception:
    """Return an error, which says which query it is about; if it is none of the driver's, it is returned as it is.

    What it shows of the query has no values: those that a client cursor put into the text are taken out again.

    :param encoding: the Python codec of the connection.
    :param server_encoding: PostgreSQL's name of the database's encoding, as far as it is known.
    """
    if not isinstance(failure, Error):
        return failure
    sql, literals = statement.sql, statement.literals
    codec = encoding_to_write(encoding)
    position = character_position(failure.diag.statement_position)
    if position is not None and server_encoding == "SQL_ASCII":
        # To such a server each byte is a character.
        position = len(_text(sql[: position - 1], codec)) + 1
    if literals and statement.query is not None:
        if position is not None:
            lengths = [len(_text(literal, codec)) for literal in literals]
            position = statement.query.position_in_sql(position, lengths)
        sql = statement.query.sql
    text = _text(sql, codec)
    hint = hint_for(failure, text, position, has_parameters=bool(statement.values), has_literals=bool(literals))
    explain(failure, text, position, hint)
    return failure


def _text(data: bytes, codec: str) -> str:
    # A query given as bytes may be anything.
    return data.decode(codec, "replace")
