"""Encodings: PostgreSQL's names of them, which one a context has, and text as the server takes it.

Knows what Python's codecs are called, and what is special about SQL_ASCII. Must not know types of values.
"""

from __future__ import annotations

import codecs
from typing import Any

from ..errors import DataError
from .adapters_map import AdaptContext

UTF8 = codecs.lookup("utf-8").name
SQL_ASCII = codecs.lookup("ascii").name
"""The codec of connections with the client encoding SQL_ASCII: the server takes bytes for what they are."""

#: PostgreSQL's names of client encodings whose Python codec has another one (manual, "Character Set Support").
_CODECS = {
    "EUCJIS2004": "euc_jis_2004",
    "EUCCN": "gb2312",
    "EUCJP": "euc_jp",
    "EUCKR": "euc_kr",
    "ISO88595": "iso8859-5",
    "ISO88596": "iso8859-6",
    "ISO88597": "iso8859-7",
    "ISO88598": "iso8859-8",
    "KOI8R": "koi8-r",
    "KOI8U": "koi8-u",
    "LATIN1": "iso8859-1",
    "LATIN2": "iso8859-2",
    "LATIN3": "iso8859-3",
    "LATIN4": "iso8859-4",
    "LATIN5": "iso8859-9",
    "LATIN6": "iso8859-10",
    "LATIN7": "iso8859-13",
    "LATIN8": "iso8859-14",
    "LATIN9": "iso8859-15",
    "LATIN10": "iso8859-16",
    "SHIFTJIS2004": "shift_jis_2004",
    "SJIS": "shift_jis",
    "SQLASCII": "ascii",
    "UHC": "cp949",
    "UNICODE": "utf-8",
    "UTF8": "utf-8",
    "WIN": "cp1251",
    "WIN866": "cp866",
    "WIN874": "cp874",
    "WIN1250": "cp1250",
    "WIN1251": "cp1251",
    "WIN1252": "cp1252",
    "WIN1253": "cp1253",
    "WIN1254": "cp1254",
    "WIN1255": "cp1255",
    "WIN1256": "cp1256",
    "WIN1257": "cp1257",
    "WIN1258": "cp1258",
}


def python_codec(client_encoding: str) -> str:
    """Return the Python codec of a client encoding; utf-8 for one that is not known."""
    name = "".join(c for c in client_encoding.upper() if c.isalnum())
    try:
        return codecs.lookup(_CODECS.get(name, client_encoding)).name
    except LookupError:
        return "utf-8"


# Encodings of clients in which the second byte of a character can be an ASCII one, a backslash or a brace for
# example (PostgreSQL manual, "Character Set Support": these are the ones that a server cannot have).
_NOT_ASCII_SAFE = frozenset({"big5", "cp932", "cp949", "gb18030", "gbk", "johab", "shift_jis", "shift_jis_2004"})


def connection_encoding(connection: Any | None) -> str:
    """Return the normalised name of a connection's codec; `utf-8` without a connection."""
    return UTF8 if connection is None else codecs.lookup(connection.info.encoding).name


def encoding_of(context: AdaptContext | None) -> str:
    """Return the normalised name of the codec of a context; `utf-8` where there is no connection."""
    # A `Transformer` was told, and a connection knows.
    encoding: str | None = getattr(context, "encoding", None)
    if encoding is not None:
        return codecs.lookup(encoding).name
    return connection_encoding(context.connection if context is not None else None)


def is_ascii_safe(encoding: str) -> bool:
    """Return whether every byte below 128 is an ASCII character in this (normalised) encoding."""
    return encoding not in _NOT_ASCII_SAFE


def encoding_to_write(encoding: str) -> str:
    """Return the codec to write text with: that of the connection, but UTF-8 where the server does not look.

    With the client encoding SQL_ASCII the server takes bytes for what they are (PostgreSQL manual, "Character
    Set Support"), and nothing else is as likely to be understood.
    """
    return UTF8 if encoding == SQL_ASCII else encoding


def text_encoding(context: AdaptContext | None) -> str:
    """Return the codec to write text with for a context: see `encoding_to_write`."""
    return encoding_to_write(encoding_of(context))


def encode_text(text: str, encoding: str) -> bytes:
    """Return text as the server will take it.

    :raises DataError: it has a NUL character, a lone surrogate, or a character that the encoding does not
        have.
    """
    if "\0" in text:
        raise DataError(
            "text in PostgreSQL cannot contain NUL (0x00) characters:"
            f" there is one at index {text.index(chr(0))}; remove it or store bytes"
        )
    try:
        return text.encode(encoding)
    except UnicodeEncodeError as ex:
        character = text[ex.start]
        if "\ud800" <= character <= "\udfff":
            raise DataError(
                "text in PostgreSQL cannot contain lone surrogates:"
                f" there is {character!a} at index {ex.start}; replace it or store bytes"
            ) from ex
        raise DataError(
            f"the client encoding ({encoding}) has no character {character!a}, at index {ex.start}:"
            " SET client_encoding TO 'UTF8'"
        ) from ex
