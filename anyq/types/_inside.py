"""Values inside of values: what composites and ranges have in common.

Knows what is quoted in text format, and that this goes by characters: in some client encodings a byte that looks like
a backslash is half a character (PostgreSQL manual, "Composite Type Input and Output Syntax", "Range Input/Output").
Knows which types would lose something of a value. Must not know how values are converted.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from .._accel.failures import shown
from ..adapt.encodings import is_ascii_safe
from ..adapt.typeinfo import global_types
from ..errors import DataError

QUOTED = rb'"([^"\\]*(?:(?:\\.|"")[^"\\]*)*)"'
"""For a regular expression with DOTALL: a value in quotes, which `unquote` takes without them."""

_needs_quotes = re.compile(rb'["\\\s(),\[\]]|\A\Z').search
_escape = re.compile(rb'(["\\])').sub
_unescape = re.compile(rb'\\(.)|""', re.DOTALL).sub


def quote(value: bytes, encoding: str) -> bytes:
    """Return a value as it is written inside of another one.

    :param value: in this (normalised) encoding.
    """
    if value.isascii() or is_ascii_safe(encoding):
        return b'"%b"' % _escape(rb"\1\1", value) if _needs_quotes(value) else value
    text = value.decode(encoding).replace("\\", "\\\\").replace('"', '""')
    return b'"%b"' % text.encode(encoding)


def unquote(value: bytes) -> bytes:
    """Return the value that was in quotes."""
    if b"\\" not in value and b'"' not in value:
        return value
    return _unescape(lambda match: match[1] or b'"', value)


def by_characters(data: bytes, encoding: str, parse: Callable[[bytes, Callable[[bytes], bytes] | None], Any]) -> Any:
    """Return what `parse` makes of a value that contains values, in an encoding that is not ASCII-safe.

    :param parse: gets the value in an encoding in which ASCII bytes are ASCII characters; and, if it is another one,
        what turns a part of it into the client encoding.
    :raises DataError: the value is not in this encoding.
    """
    if data.isascii():
        return parse(data, None)
    try:
        text = data.decode(encoding).encode()
    except UnicodeDecodeError as ex:
        raise DataError(f"cannot load the value {shown(data)}: {ex}") from ex

    def recode(part: bytes) -> bytes:
        try:
            return part.decode().encode(encoding)
        except UnicodeEncodeError as ex:
            raise DataError(f"cannot load the value {shown(data)}: {ex}") from ex

    return parse(text, recode)


_PRECISION = {global_types[name].oid: i for i, name in enumerate(("date", "timestamp", "timestamptz"), 1)}


def refuse_loss(value: Any, oid: int, into: int) -> None:
    """Refuse a value of the type `oid` inside of one whose part is of the type `into`.

    :raises DataError: the server would drop its time, or its offset from UTC, without a word.
    """
    if _PRECISION.get(oid, 0) > _PRECISION.get(into, len(_PRECISION)):
        raise DataError(
            f"cannot dump {value!r} as a part that is a date, or a timestamp without time zone: it would lose its time,"
            " or its offset from UTC; convert it first"
        )
