"""How a server reads a text in a client encoding: a model of it, for tests without one.

PostgreSQL takes the bytes of a query apart by the lead byte of each character (src/common/wchar.c, pg_encoding_mblen),
converts the characters to the encoding of the database, which is UTF-8 here, and only then looks for quotes
(src/backend/parser/scan.l).
"""

from __future__ import annotations

from collections.abc import Iterator

#: What stands for a character that is none of ASCII.
OTHER = "\ufffd"

_CODES_THAT_ARE_ASCII = {b"\x81\x5f": "\\", b"\x81\xb0": "~"}  # in SHIFT_JIS_2004


class Refused(Exception):
    """The server would refuse the text: a character is cut, or cannot be."""


def length_of(encoding: str, data: bytes) -> int:
    """Return how many bytes the first character of some text has."""
    first = data[0]
    if encoding == "UTF8":
        return 2 if first < 0xE0 else 3 if first < 0xF0 else 4
    if encoding in ("SJIS", "SHIFT_JIS_2004"):
        return 1 if 0xA1 <= first <= 0xDF else 2
    if encoding in ("BIG5", "GBK", "UHC", "EUC_CN"):
        return 2
    if encoding == "GB18030":
        return 4 if len(data) > 1 and 0x30 <= data[1] <= 0x39 else 2
    if encoding == "EUC_TW":
        return {0x8E: 4, 0x8F: 3}.get(first, 2)
    if encoding == "JOHAB" or encoding.startswith("EUC_"):
        return 3 if first == 0x8F else 2
    return 1


def characters(encoding: str, data: bytes) -> Iterator[str]:
    """Yield the ASCII characters of a text, and `OTHER` for each of the others."""
    start = 0
    while start < len(data):
        if data[start] < 0x80:
            yield chr(data[start])
            start += 1
            continue
        length = length_of(encoding, data[start : start + 2])
        character = data[start : start + length]
        start += length
        if len(character) < length:
            raise Refused("a character is cut")
        if length == 1:
            yield OTHER
            continue
        # In an encoding that a server can have all bytes are high ones; and no encoding has less than a digit.
        least = 0x30 if encoding in ("SJIS", "SHIFT_JIS_2004", "BIG5", "GBK", "UHC", "GB18030") else 0x80
        if min(character[1:]) < least:
            raise Refused("half a character")
        yield _CODES_THAT_ARE_ASCII.get(character, OTHER) if encoding == "SHIFT_JIS_2004" else OTHER


def read_literal(encoding: str, sql: bytes, *, conforming: bool) -> str:
    """Return the text of a literal, in which all that is not ASCII is `OTHER`.

    :param conforming: the setting `standard_conforming_strings`.
    :raises AssertionError: there is something behind it, or it has no end.
    """
    text = "".join(characters(encoding, sql)).lstrip(" ")
    escapes = not conforming
    if text.startswith("E'"):
        text, escapes = text[1:], True
    assert text.startswith("'"), sql
    return _quoted(text, "'", escapes, sql)


def read_identifier(encoding: str, sql: bytes) -> str:
    """Return a name that is quoted, as `read_literal`."""
    text = "".join(characters(encoding, sql))
    assert text.startswith('"'), sql
    return _quoted(text, '"', False, sql)


def _quoted(text: str, quote: str, escapes: bool, sql: bytes) -> str:
    found: list[str] = []
    rest = iter(text[1:])
    for character in rest:
        if character == "\\" and escapes:
            found.append(next(rest, ""))
        elif character == quote:
            following = next(rest, None)
            if following is None:
                return "".join(found)
            assert following == quote, sql
            found.append(quote)
        else:
            found.append(character)
    raise AssertionError(f"no end: {sql!r}")
