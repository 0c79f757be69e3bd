"""Values in the text of a statement: where one may stand, and what keeps it apart from its neighbours.

Knows where strings, quoted names and comments begin and end (PostgreSQL manual, "Lexical Structure";
src/backend/parser/scan.l). Must not know how a value is quoted, nor placeholders.

A literal is a token of its own. Written inside of quotes it would end them, and a value would become SQL; written
against another literal it would become a part of it: `'a''b'` is one string.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum
from functools import lru_cache
from typing import NamedTuple

from ..errors import ProgrammingError
from .adapters_map import AdaptContext, parameter_of
from .encodings import is_ascii_safe


class Inside(Enum):
    """What a part of a text is inside of."""

    NOTHING = "nothing"
    STRING = "a quoted string"
    ESCAPES = "a quoted string with escapes"
    NAME = "a quoted name"
    LINE = "a comment"
    COMMENT = "a comment in /* */"
    DOLLARS = "a dollar-quoted string"


class Place(NamedTuple):
    """Where a part of a text ends."""

    inside: Inside = Inside.NOTHING
    depth: int = 0
    """Of nested comments."""
    tag: bytes = b""
    """Of a dollar-quoted string."""
    code: Place | None = None
    """Where it ends in the text of that string, which is mostly code: the body of a function."""
    continues: bool = False
    """Whether a string that follows would be a part of the one before it, which is in another line."""


class Part(NamedTuple):
    """A string, a quoted name or a comment in a text."""

    inside: Inside
    begin: int
    """Where it begins, with an E before it or the tag of a dollar-quoted string."""
    start: int
    """Where its content begins."""
    stop: int
    """Where that ends, behind the quote or the end of the comment; but before the tag of a dollar-quoted string."""
    end: int
    """Where it ends itself."""


_OUTSIDE = Place()
_AFTER_STRING = Place(continues=True)
_STRINGS = (Inside.STRING, Inside.ESCAPES)
# A word is passed over as a whole, as it may have dollars in it; and E before a quote is no word.
_begins = re.compile(rb"[A-Za-z_\x80-\xff][\w$\x80-\xff]*|'|\"|--|/\*|\$(?:[A-Za-z_\x80-\xff][\w\x80-\xff]*)?\$").search
_BEGINNINGS = {b'"': Inside.NAME, b"--": Inside.LINE, b"/*": Inside.COMMENT}
_PREFIXES = {b"E": Inside.ESCAPES, b"e": Inside.ESCAPES, **dict.fromkeys((b"B", b"b", b"X", b"x"), Inside.STRING)}
# What is looked at on the way to an end, which is the first of a single byte; one by one, as a repeated group of a
# regular expression takes memory for each time.
_MARKS = {
    Inside.STRING: re.compile(rb"''|'").finditer,
    Inside.ESCAPES: re.compile(rb"\\.|''|'", re.DOTALL).finditer,
    Inside.NAME: re.compile(rb'""|"').finditer,
    Inside.LINE: re.compile(rb"[\n\r]").finditer,
}
# A string goes on in the next line, with the escapes that it began with.
_LINE_BREAK = rb"(?:[ \t\f\v]|--[^\n\r]*(?=[\n\r]))*[\n\r](?:[ \t\n\r\f\v]|--[^\n\r]*[\n\r])*"
_goes_on = re.compile(_LINE_BREAK + rb"'").match
_may_go_on = re.compile(_LINE_BREAK + rb"\Z").match
_comments = re.compile(rb"/\*|\*/").finditer


def _walk(text: bytes, place: Place, standard_strings: bool, in_code: bool = False) -> Place:
    """Return where a text ends that begins at a place.

    :param in_code: of a dollar-quoted string; then those in it are looked into no further.
    """
    position = 0
    while True:
        if place.inside is Inside.NOTHING:
            begin = _begins(text, position)
            if begin is None:
                return place
            position, place = _entered(text, begin, standard_strings)
            continue
        start = position
        position = _left(text, start, place)
        if position >= 0:
            if place.inside in _STRINGS and _may_go_on(text, position):
                return _AFTER_STRING
            place = _OUTSIDE
        elif place.inside is Inside.COMMENT:
            marks = [mark[0] for mark in _comments(text, start)]
            return place._replace(depth=place.depth + marks.count(b"/*") - marks.count(b"*/"))
        elif place.inside is Inside.DOLLARS and not in_code:
            return place._replace(code=_walk(text[start:], place.code or _OUTSIDE, standard_strings, True))
        else:
            return place


def quoted_parts(text: bytes, encoding: str, *, standard_strings: bool) -> tuple[bytes, list[Part]]:
    """Return a text, in UTF-8 where its encoding has ASCII in other characters, and its strings, names and comments."""
    if not is_ascii_safe(encoding):
        text = _as_utf8(text, encoding)
    parts: list[Part] = []
    position = 0
    while (begin := _begins(text, position)) is not None:
        position, place = _entered(text, begin, standard_strings)
        if place.inside is not Inside.NOTHING:
            start, position = position, _left(text, position, place)
            if position < 0:
                position = len(text)
            parts.append(Part(place.inside, begin.start(), start, position - len(place.tag), position))
    return text, parts


def _entered(text: bytes, begin: re.Match[bytes], standard_strings: bool) -> tuple[int, Place]:
    """Return where a text goes on behind a token, and at which place."""
    position, token = begin.end(), begin[0]
    if token == b"'":
        return position, Place(Inside.STRING if standard_strings else Inside.ESCAPES)
    if token in _PREFIXES and text.startswith(b"'", position):
        return position + 1, Place(_PREFIXES[token])
    if token in _BEGINNINGS:
        return position, Place(_BEGINNINGS[token], 1)
    return position, Place(Inside.DOLLARS, 0, token) if token.startswith(b"$") else _OUTSIDE


def _left(text: bytes, position: int, place: Place) -> int:
    """Return where in a text what it is inside of has ended, -1 if it does not end there."""
    inside = place.inside
    if inside is Inside.DOLLARS:
        end = text.find(place.tag, position)
        return end if end < 0 else end + len(place.tag)
    if inside is Inside.COMMENT:
        depth = place.depth
        for mark in _comments(text, position):
            depth += 1 if mark[0] == b"/*" else -1
            if not depth:
                return mark.end()
        return -1
    while True:
        position = next((mark.end() for mark in _MARKS[inside](text, position) if len(mark[0]) == 1), -1)
        if position < 0:
            return -1
        more = _goes_on(text, position) if inside in _STRINGS else None
        if more is None:
            return position
        position = more.end()


def _places(texts: tuple[bytes, ...], standard_strings: bool) -> tuple[Place, ...]:
    """Return where each of the texts ends, which are one behind the other with values between them."""
    places: list[Place] = []
    place = _OUTSIDE
    for text in texts:
        if place.continues:
            place = _OUTSIDE
        place = _walk(text, place, standard_strings)
        places.append(place)
    return tuple(places)


# As many as there are queries that are remembered, of the same length.
_cached_places = lru_cache(512)(_places)
_MAX_CACHED = 8192


def _could_end(place: Place, value: bytes) -> bool:
    """Return whether a value, put inside of something, could end it."""
    inside = place.inside
    if inside is Inside.NOTHING:
        return False
    if inside is Inside.DOLLARS:
        return place.code is None or b"$" in value or _could_end(place.code, value)
    if inside is Inside.NAME:
        return b'"' in value
    if inside is Inside.LINE:
        return b"\n" in value or b"\r" in value
    if inside is Inside.COMMENT:
        return b"*" in value or b"/" in value
    return b"'" in value or b"\\" in value


def uses_standard_strings(context: AdaptContext | None) -> bool:
    """Return whether a backslash in a string is a character like any other, as far as that is known."""
    return parameter_of(context, "standard_conforming_strings") != "off"


def place_values(
    texts: Sequence[bytes],
    values: Sequence[bytes],
    encoding: str,
    strict: Sequence[bool],
    *,
    standard_strings: bool = True,
) -> list[bytes]:
    """Return the values as they are to be written between the texts: with spaces where they would merge with those.

    :param texts: one more than there are values.
    :param encoding: the normalised codec of the texts.
    :param strict: for each value, whether it is a parameter's, which may be inside of nothing, whatever it is. Others
        must not be able to end what they are inside of: a number may stand in a string, and a name.
    :raises ProgrammingError: a value is where it may not be.
    """
    readable = tuple(texts) if is_ascii_safe(encoding) else tuple([_as_utf8(text, encoding) for text in texts])
    find = _cached_places if sum(map(len, readable)) <= _MAX_CACHED else _places
    placed: list[bytes] = []
    before = texts[0]
    places = find(readable, standard_strings)[:-1]
    for value, parameter, after, place in zip(values, strict, texts[1:], places, strict=True):
        number = len(placed) + 1
        if place.inside is Inside.NOTHING:
            value = _kept_apart(value, before, after, place, last=number == len(values))
        elif parameter or _could_end(place, value):
            raise _misplaced(place.inside, "parameter" if parameter else "value", number)
        placed.append(value)
        before = after or value
    return placed


def _kept_apart(value: bytes, before: bytes, after: bytes, place: Place, *, last: bool) -> bytes:
    """Return a value with what keeps it from becoming one with its neighbours: spaces, or parentheses.

    Of a value that comes next, it is that one which keeps away.
    """
    merges_behind = value.endswith(b"'") and (_goes_on(after) or not last and _may_go_on(after))
    if place.continues or merges_behind or (_binds_tighter(after) and _has_cast(value)):
        value = b"(" + value + b")"
    if before and _merges(before[-1:] + value[:1]):
        value = b" " + value
    if after and _merges(value[-1:] + after[:1]):
        value += b" "
    return value


def interleaved(texts: Sequence[bytes], values: Sequence[bytes]) -> bytes:
    """Return the texts with the values between them."""
    parts = [texts[0]]
    for value, text in zip(values, texts[1:], strict=True):
        parts += (value, text)
    return b"".join(parts)


def _misplaced(inside: Inside, what: str, number: int) -> ProgrammingError:
    """Return the error for a parameter or another value that is inside of something."""
    if inside in (Inside.LINE, Inside.COMMENT):
        advice = "take it out of the comment, which has its end where the value says"
    elif inside is Inside.DOLLARS:
        advice = "make the whole string one value: sql.Literal(text)"
    elif inside is Inside.NAME:
        advice = "drop the quotes, and for a name use sql.Identifier"
    else:
        advice = "drop the quotes, it gets its own; to make it a part of a string, join them: 'text' || value"
    return ProgrammingError(f"{what} {number} of the query is inside of {inside.value}: {advice}")


def _as_utf8(text: bytes, encoding: str) -> bytes:
    return text if text.isascii() else text.decode(encoding, "surrogateescape").encode("utf-8", "surrogateescape")


# The last character of one and the first of the other, where both could be one token, or another one than each is:
# two strings, two names, two numbers or words, an E before a string, 1 and .5, two that begin a comment.
_merges = re.compile(rb"''|\"\"|[\w$&\x80-\xff]['\"]|[\w$\x80-\xff][\w$\x80-\xff]|[0-9]\.|\.[0-9]|--|/\*").match
_has_cast = re.compile(rb" ?E?'[^'\\]*(?:(?:''|\\.)[^'\\]*)*'::[^',()]*\Z", re.DOTALL).match
# What would belong to the type of the cast: x::int[][1].
_binds_tighter = re.compile(rb"\s*[\[(.]").match
