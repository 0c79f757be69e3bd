"""Literals and identifiers, as they are written in SQL.

Knows quotes and backslashes (PostgreSQL manual, "Lexical Structure"). Must not know which values are written without
quotes: their dumpers do.
"""

from __future__ import annotations

from ..errors import DataError
from .encodings import encode_text, encoding_to_write, is_ascii_safe


def quote_bytes(value: bytes) -> bytes:
    """Return text in an ASCII-safe encoding as a literal of SQL."""
    value = value.replace(b"'", b"''")
    if b"\\" in value:
        # The space keeps the E apart from a word before it.
        return b" E'" + value.replace(b"\\", b"\\\\") + b"'"
    return b"'" + value + b"'"


def quote_str(value: str) -> str:
    """Return text as a literal of SQL, to be encoded."""
    value = value.replace("'", "''")
    if "\\" in value:
        return " E'" + value.replace("\\", "\\\\") + "'"
    return f"'{value}'"


def quote_literal(value: bytes, encoding: str) -> bytes:
    """Return text, in this (normalised) encoding and without NUL, as a literal of SQL."""
    if is_ascii_safe(encoding):
        return quote_bytes(value)
    # What looks like a quote may be half a character.
    return quote_str(value.decode(encoding)).encode(encoding)


def quote_identifier(*parts: str) -> str:
    """Return a name, quoted; several parts make a qualified one: `"schema"."table"`.

    :raises DataError: it has a NUL character.
    """
    for part in parts:
        if "\0" in part:
            raise DataError(f"identifiers cannot contain NUL characters: {part!r}")
    return ".".join(['"' + part.replace('"', '""') + '"' for part in parts])


def identifier_bytes(encoding: str, *parts: str) -> bytes:
    """Return a name, quoted, for a connection with this encoding.

    :raises DataError: it has a NUL character, or one that the encoding does not have.
    """
    return encode_text(quote_identifier(*parts), encoding_to_write(encoding))
