"""COPY's text format: where each value is, and what is escaped in it.

Knows lines, tabs and backslashes, and the encodings in which half a character looks like one of these (PostgreSQL
manual, "COPY", "Text Format"). Must not know types or connections. Everything takes a time that is linear in the length
of the data.
"""

from __future__ import annotations

import re
from collections import deque
from functools import lru_cache

from ..errors import DataError
from .encodings import backslashes, is_ascii_safe, multibyte

NULL = b"\\N"
"""A field that is NULL. Text of these characters has two backslashes."""

# The letters of C for control characters, 8 to 13. The delimiters of fields and rows are among them.
_CONTROLS = tuple([(bytes((code,)), b"\\%c" % letter) for code, letter in enumerate(b"btnvfr", 8)])

_special = re.compile(rb"[\0\b-\r\\]")
_other = rb"(?s)\\(?:([0-7]{1,3})|x([0-9A-Fa-f]{1,2})|(.)|)"


def escape(value: bytes, encoding: str) -> bytes:
    """Return a value, in this (normalised) encoding, as a field.

    :raises DataError: it has a NUL byte, or, in an encoding in which backslashes cannot be told otherwise, half a
        character.
    """
    if is_ascii_safe(encoding) or value.isascii():
        if _special.search(value) is None:
            return value
        value = value.replace(b"\\", b"\\\\")
    else:
        value = backslashes(encoding).sub(_double, value)
    if b"\0" in value:
        raise DataError("text in PostgreSQL cannot contain NUL (0x00) bytes: remove them or store bytea")
    for control, escaped in _CONTROLS:
        # They are half of no character in any encoding.
        if control in value:
            value = value.replace(control, escaped)
    return value


def _double(match: re.Match[bytes]) -> bytes:
    if match["torn"]:
        raise DataError(f"text has half a character of the client encoding: {match['torn']!r}")
    return match[0] * 2 if match["backslash"] else match[0]


def unescape(field: bytes, encoding: str) -> bytes:
    """Return the value that a field stands for, which is not NULL.

    :raises DataError: it ends within an escape, or stands for text with a NUL byte.
    """
    if b"\\" not in field:
        return field
    if not is_ascii_safe(encoding) and not field.isascii():
        return _by_characters(encoding).sub(_replace_character, field)
    # A NUL stands for a backslash until the other escapes are done.
    if b"\0" in field:
        raise _nul()
    field = field.replace(b"\\\\", b"\0")
    if b"\\" in field:
        for control, escaped in _CONTROLS:
            field = field.replace(escaped, control)
        if b"\\" in field:
            field = re.sub(_other, _replace, field)
    return field.replace(b"\0", b"\\")


def _replace(match: re.Match[bytes]) -> bytes:
    octal, hexadecimal, itself = match.groups()
    if itself:
        return bytes(itself)
    if not octal and not hexadecimal:
        raise DataError("a field of a COPY ends within an escape")
    code = int(octal, 8) & 255 if octal else int(hexadecimal, 16)
    if not code:
        raise _nul()
    return bytes((code,))


def _nul() -> DataError:
    return DataError("a field of a COPY has a NUL (0x00) byte, which text in PostgreSQL cannot contain")


_PLAIN = {escaped: control for control, escaped in _CONTROLS}


def _replace_character(match: re.Match[bytes]) -> bytes:
    if match["run"]:
        return match[0][: len(match[0]) // 2]
    if match["wide"] or match["torn"]:
        # Half a character is for the loader to refuse.
        return match[0]
    if match[0][1:] > b"\x7f":
        return match[0][1:]
    return _PLAIN.get(match[0]) or re.sub(_other, _replace, match[0])


@lru_cache
def _by_characters(encoding: str) -> re.Pattern[bytes]:
    """Return what finds the escapes of fields in an encoding that is not ASCII-safe."""
    first, rest = multibyte(encoding)
    character = first + rest
    return re.compile(
        rb"(?P<wide>(?:%b){1,1000})|(?P<run>(?:\\\\){1,1000})|(?P<torn>%b)|\\(?:[0-7]{1,3}|x[0-9A-Fa-f]{1,2}|%b|.|)"
        % (character, first, character),
        re.DOTALL,
    )


_END = b"\\."
"""A line that ends the data. Servers do not send it any more."""


class TextSplitter:
    """Split text, which may be cut anywhere, into the values of its rows.

    It keeps no more than the row that is not complete.

    :param encoding: the (normalised) codec that it is written in.
    :param columns: how many each row has, None for as many as the first.
    """

    def __init__(self, encoding: str, columns: int | None) -> None:
        self.encoding = encoding
        self.columns = columns
        """How many each row has, None as long as nobody knows."""
        self._rest: bytearray = bytearray()
        self._ended = False

    @property
    def is_between_rows(self) -> bool:
        """Whether the next byte begins a row."""
        return not self._rest and not self._ended

    def missing(self) -> str | None:
        """Return where the data ends, None if that is where it should."""
        return "within a row" if self._rest else None

    def split(self, chunk: bytes, records: deque[list[bytes | None]]) -> None:
        """Take more of the data, and append the values of each row that is complete.

        :raises DataError: the data is malformed. The rows before that have been appended.
        """
        # The server writes control characters as escapes, so these are always the delimiters.
        if b"\n" not in chunk:
            self._rest.extend(chunk)
            lines: list[bytes] = []
        else:
            if self._rest:
                chunk = bytes(self._rest) + chunk
                self._rest.clear()
            lines = chunk.split(b"\n")
            self._rest.extend(lines.pop())
        for line in lines:
            if self._ended:
                break
            if line == _END:
                self._ended = True
                continue
            fields: list[bytes | None] = []
            if line or self.columns != 0:
                fields += [None if field == NULL else unescape(field, self.encoding) for field in line.split(b"\t")]
            if self.columns is None:
                self.columns = len(fields)
            if len(fields) != self.columns:
                raise DataError(f"malformed data of a COPY: a row of {len(fields)} columns, expected {self.columns}")
            records.append(fields)
        else:
            if not (self._ended and self._rest):
                return
        self._rest.clear()
        raise DataError("malformed data of a COPY: it goes on behind its end")
