"""Encodings: PostgreSQL's names of them, which one a context has, and text as the server takes it.

Knows what Python's codecs are called, and what is special about SQL_ASCII. Must not know types of values.
"""

from __future__ import annotations

import codecs
import re
from functools import lru_cache
from typing import Any

from ..errors import DataError
from .adapters_map import AdaptContext
from .server_codecs import UNKNOWN

UTF8 = codecs.lookup("utf-8").name
SQL_ASCII = codecs.lookup("ascii").name
"""The codec of connections with the client encoding SQL_ASCII: the server takes bytes for what they are."""

# By PostgreSQL's names of client encodings, without what is no letter or digit: its own, and the aliases that it takes
# (manual, "Character Set Support"; src/common/encnames.c).
_CODECS = {
    **{"UTF8": "utf-8", "UNICODE": "utf-8", "SQLASCII": "ascii"},
    **dict.fromkeys(("BIG5", "WIN950", "WINDOWS950"), "anyq_big5"),
    **dict.fromkeys(("UHC", "WIN949", "WINDOWS949"), "cp949"),
    **dict.fromkeys(("GBK", "WIN936", "WINDOWS936"), "gbk"),
    **dict.fromkeys(("SJIS", "SHIFTJIS", "MSKANJI", "WIN932", "WINDOWS932"), "anyq_sjis"),
    **{"EUCCN": "gb2312", "EUCJP": "anyq_euc_jp", "EUCKR": "anyq_euc_kr", "EUCTW": "anyq_euc_tw"},
    **{"EUCJIS2004": "anyq_euc_jis_2004", "SHIFTJIS2004": "anyq_shift_jis_2004"},
    **{"GB18030": "gb18030", "JOHAB": "johab", "MULEINTERNAL": "anyq_mule_internal"},
    **{"KOI8": "koi8-r", "KOI8R": "koi8-r", "KOI8U": "koi8-u"},
    **{"WIN": "cp1251", "ALT": "cp866", "ABC": "cp1258", "TCVN": "cp1258", "TCVN5712": "cp1258", "VSCII": "cp1258"},
    **{f"{name}{page}": f"cp{page}" for name in ("WIN", "WINDOWS") for page in (866, 874, *range(1250, 1259))},
    **{f"LATIN{n}": f"iso8859-{part}" for n, part in enumerate((1, 2, 3, 4, 9, 10, 13, 14, 15, 16), 1)},
    **{f"ISO8859{part}": f"iso8859-{part}" for part in (*range(1, 11), 13, 14, 15, 16)},
}


def python_codec(client_encoding: str) -> str:
    """Return the Python codec of a client encoding, whatever the name is that a server says.

    For an encoding that Python has not it is a codec that knows ASCII, and raises NotSupportedError for all else.
    """
    name = "".join([c for c in client_encoding[:_LONGEST_NAME].upper() if c.isalnum()])
    return _CODECS.get(name, UNKNOWN)


_LONGEST_NAME = 64

# Encodings of clients in which the second byte of a character can be an ASCII one, a backslash or a brace for example
# (PostgreSQL manual, "Character Set Support": these are the ones that a server cannot have): which bytes are the first
# of several, and what comes behind it (src/common/wchar.c).
_MULTIBYTE = {
    **dict.fromkeys(("anyq_big5", "big5", "cp949", "gbk", "johab"), (rb"[\x80-\xff]", rb"[\x30-\xff]")),
    **dict.fromkeys(
        ("anyq_sjis", "anyq_shift_jis_2004", "cp932", "shift_jis", "shift_jis_2004"),
        (rb"[\x80-\xa0\xe0-\xff]", rb"[\x30-\xff]"),
    ),
    "gb18030": (rb"[\x80-\xff]", rb"(?:[0-9][\x30-\xff]{2}|[\x3a-\xff])"),
}


def is_ascii_safe(encoding: str) -> bool:
    """Return whether every byte below 128 is an ASCII character in this (normalised) encoding."""
    return encoding not in _MULTIBYTE


def multibyte(encoding: str) -> tuple[bytes, bytes]:
    """Return patterns for an encoding that is not ASCII-safe: of the first byte of several, and of those behind it."""
    return _MULTIBYTE[encoding]


@lru_cache
def backslashes(encoding: str) -> re.Pattern[bytes]:
    """Return what finds the backslashes of text in an encoding that is not ASCII-safe.

    It matches each `backslash` or several, runs of up to 1,000 characters of several bytes (a longer one would take
    memory for each), and what is left of a `torn` one.
    """
    first, rest = multibyte(encoding)
    # The server takes the backslash of double width for the other one, in this encoding alone.
    wide = rb"|\x81\x5f" if encoding.endswith("shift_jis_2004") else b""
    more = rb"(?!\x81\x5f)" if wide else b""
    return re.compile(
        rb"(?P<backslash>\\+%b)|(?:%b%b%b){1,1000}|(?P<torn>%b.{0,3})" % (wide, more, first, rest, first), re.DOTALL
    )


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
    # Looked for in anything else, such as an iterator, it could take for ever.
    if "\0" in str.__str__(text):
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
        name = encoding.removeprefix("anyq_")
        raise DataError(
            f"the client encoding ({name}) has no character {character!a}, at index {ex.start}:"
            " SET client_encoding TO 'UTF8'"
        ) from ex
