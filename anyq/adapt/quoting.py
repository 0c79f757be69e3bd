"""Literals and identifiers, as they are written in SQL.

Knows quotes and backslashes (PostgreSQL manual, "Lexical Structure"). Must not know which values are written without
quotes: their dumpers do.
"""

from __future__ import annotations

import re

from ..errors import DataError
from .encodings import backslashes, encode_text, encoding_to_write, is_ascii_safe


def quote_bytes(value: bytes) -> bytes:
    """Return text in an ASCII-safe encoding as a literal of SQL."""
    value = value.replace(b"'", b"''")
    if b"\\" in value:
        # The space keeps the E apart from a word before it.
        return b" E'" + value.replace(b"\\", b"\\\\") + b"'"
    return b"'" + value + b"'"


def quote_literal(value: bytes, encoding: str) -> bytes:
    """Return text, in this (normalised) encoding and without NUL, as a literal of SQL.

    It is escaped as the server is going to read it, whoever wrote it.

    :raises DataError: the bytes are no text in this encoding.
    """
    if is_ascii_safe(encoding) or value.isascii():
        return quote_bytes(value)
    # A quote is half of no character in any encoding, and a backslash may be.
    value = value.replace(b"'", b"''")
    escaped = backslashes(encoding).sub(_escape, value)
    return b" E'" + escaped + b"'" if escaped != value else b"'" + value + b"'"


def _escape(match: re.Match[bytes]) -> bytes:
    if match["torn"]:
        raise DataError(f"text for a literal has half a character of the client encoding: {match['torn']!r}")
    return match[0] * 2 if match["backslash"] else match[0]


def quote_identifier(*parts: str) -> str:
    """Return a name, quoted; several parts make a qualified one: `"schema"."table"`.

    :raises DataError: it has a NUL character.
    """
    for part in parts:
        _check_identifier(part)
    return ".".join(['"' + part.replace('"', '""') + '"' for part in parts])


def identifier_bytes(encoding: str, *parts: str) -> bytes:
    """Return a name, quoted, for a connection with this encoding.

    :raises DataError: it has a NUL character, or one that the encoding does not have.
    """
    for part in parts:
        _check_identifier(part)
    # Encoded first: what is escaped is what the server reads.
    encoding = encoding_to_write(encoding)
    return b".".join([b'"' + encode_text(part, encoding).replace(b'"', b'""') + b'"' for part in parts])


def _check_identifier(part: str) -> None:
    if "\0" in part:
        raise DataError(f"identifiers cannot contain NUL characters: {part!r}")
