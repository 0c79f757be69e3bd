"""Where in a text an error is, shown as libpq shows it: the line, and a caret below the character.

Knows characters and how wide a terminal shows them. Must not know errors, nor which text it is that is shown.
"""

from __future__ import annotations

import unicodedata

__all__ = ["character_position", "pointer"]

_WIDTH = 60
"""Columns of a line that are shown at most, as by libpq."""
_RIGHT = 10
"""Columns that are shown behind the character at least, if there are as many."""
_MAX_DIGITS = 10
"""Of a position; no text that can be sent is longer."""


def character_position(text: str | None) -> int | None:
    """Return the position, from 1, that a field of a server's report has; None if it has none that can be."""
    if text is None or len(text) > _MAX_DIGITS or not (text.isascii() and text.isdecimal()):
        return None
    return int(text) or None


def pointer(text: str, position: int) -> str | None:
    """Return the line of a character and the line with the caret below it; None if there is no such character.

    :param position: of the character, from 1. One past the last one is the end of the text.
    """
    index = position - 1
    if not 0 <= index <= len(text):
        return None
    # A line ends in \n, \r or both.
    begin = max(text.rfind("\n", 0, index), text.rfind("\r", 0, index)) + 1
    number = 1 + text.count("\n", 0, begin) + text.count("\r", 0, begin) - text.count("\r\n", 0, begin)
    ends = [end for end in (text.find("\n", index), text.find("\r", index)) if end >= 0]
    end = min(ends, default=len(text))
    # What is farther away than this is not shown, whatever is between. So a long line costs no more than a short one.
    near = max(begin, index - 2 * _WIDTH)
    cut_left, cut_right = near > begin, end > index + 2 * _WIDTH
    line = text[near : index + 2 * _WIDTH if cut_right else end]
    line = "".join([character if character.isprintable() else " " for character in line])
    widths = [_width(character) for character in line]
    at = index - near
    first, last = _shorten(widths, at, cut_left, cut_right)
    head = f"LINE {number}: " + "..." * (cut_left or first > 0)
    tail = "..." * (cut_right or last < len(line))
    return f"{head}{line[first:last]}{tail}\n{' ' * (len(head) + sum(widths[first:at]))}^"


def _shorten(widths: list[int], at: int, cut_left: bool, cut_right: bool) -> tuple[int, int]:
    """Return which part of a line is shown around a character.

    :param cut_left: whether something before the line is missing already, so that it does not begin with it.
    """
    first, last = 0, len(widths)
    total = sum(widths)
    if total <= _WIDTH and not (cut_left or cut_right):
        return first, last
    before = sum(widths[:at])
    if not cut_left and before + _RIGHT <= _WIDTH:
        # Enough of it is seen if it is cut on the right only.
        while total > _WIDTH:
            last -= 1
            total -= widths[last]
        return first, last
    behind = total - before
    while behind > _RIGHT:
        last -= 1
        behind -= widths[last]
    total = before + behind
    while total > _WIDTH:
        total -= widths[first]
        first += 1
    return first, last


def _width(character: str) -> int:
    """Return how many columns a character takes."""
    if character < "\x7f":
        return 1
    if unicodedata.east_asian_width(character) in "WF":
        return 2
    # An accent stands on the letter before it.
    return 0 if unicodedata.category(character) in ("Mn", "Me") else 1
