"""How an examination is shown: as text for people, step by step, or as one JSON object for programs.

Knows terminals, as far as colours go. Must not know what is examined. What comes from a server is shown without control
characters, which a terminal would obey.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from .doctor_steps import FAILED, OK, UNUSED, WARNING, Fact, Step

__all__ = ["JsonReport", "TextReport", "wants_colours"]

_COLOURS: Mapping[str, str] = {OK: "32", WARNING: "33", FAILED: "31", UNUSED: "2"}
"""Codes of ECMA-48's "select graphic rendition": green, yellow, red, faint."""

_WIDTH = 100
"""Columns of a line: longer ones are hard to read."""

_INDENT = " " * 10
_NAME_COLUMN = 22


def wants_colours(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Return whether to use colours: on a terminal that has them, unless NO_COLOR is set (https://no-color.org)."""
    return stream.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


class TextReport:
    """Prints each step as it ends."""

    def __init__(self, stream: TextIO, *, colours: bool) -> None:
        self._stream = stream
        self._colours = colours

    def begin(self, about: Mapping[str, str]) -> None:
        """Print what is examined with what."""
        self._print("anyq doctor: " + ", ".join(f"{name} {value}" for name, value in about.items()))

    def step(self, step: Step) -> None:
        """Print a step."""
        self._print("")
        took = f"{step.seconds * 1000:.1f} ms"
        title = _plain(step.title)
        self._print(f"{self._paint(f'{step.status:<8}', step.status)}  {title:<{_WIDTH - 22}}{took:>12}".rstrip())
        for fact in step.facts:
            self._print_fact(fact)
        for line in step.error.splitlines():
            self._print_wrapped(line)
        for note in step.notes:
            self._print_wrapped(note)
        for advice in step.advice:
            self._print_wrapped(advice, "-> ")

    def end(self, connected: bool, error: str) -> None:
        """Print what has come of it.

        :param error: what the connection has failed with, if that is not among the steps.
        """
        self._print("")
        for line in error.splitlines():
            self._print_wrapped(line)
        if connected:
            self._print(self._paint("The connection can be used.", OK))
        else:
            self._print(self._paint("There is no connection.", FAILED))

    def _print_fact(self, fact: Fact) -> None:
        origin = f"  ({fact.origin})" if fact.origin else ""
        name = fact.name
        for value in _in_words(fact.value):
            self._print_wrapped(f"{name:<{_NAME_COLUMN}}{value}{origin}", hanging=_NAME_COLUMN)
            name = ""

    def _print_wrapped(self, text: str, first: str = "", hanging: int = 0) -> None:
        wrapped = textwrap.wrap(
            _plain(text),
            _WIDTH,
            initial_indent=_INDENT + first,
            subsequent_indent=_INDENT + " " * (hanging or len(first)),
            break_long_words=False,
            break_on_hyphens=False,
            drop_whitespace=True,
        )
        for line in wrapped:
            self._print(line)

    def _print(self, line: str) -> None:
        print(line, file=self._stream, flush=True)

    def _paint(self, text: str, status: str) -> str:
        return f"\x1b[{_COLOURS[status]}m{text}\x1b[0m" if self._colours else text


class JsonReport:
    """Prints one JSON object when all is over."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._about: Mapping[str, str] = {}
        self._steps: list[dict[str, Any]] = []

    def begin(self, about: Mapping[str, str]) -> None:
        """Remember what is examined with what."""
        self._about = about

    def step(self, step: Step) -> None:
        """Remember a step."""
        self._steps.append(
            {
                "step": step.kind,
                "title": step.title,
                "status": step.status,
                "seconds": round(step.seconds, 6),
                "facts": _as_dict(step.facts),
                "error": step.error or None,
                "notes": step.notes,
                "advice": step.advice,
            }
        )

    def end(self, connected: bool, error: str) -> None:
        """Print the object."""
        report = {"connected": connected, "error": error or None, **self._about, "steps": self._steps}
        # Without other than ASCII, and so without what a terminal would obey.
        print(json.dumps(report, indent=2), file=self._stream, flush=True)


def _as_dict(facts: Sequence[Fact]) -> dict[str, Any]:
    return {fact.name: {"value": fact.value, "from": fact.origin} if fact.origin else fact.value for fact in facts}


def _in_words(value: str | int | float | bool | list[str]) -> list[str]:
    """Return a value in one line, or sentences in one each."""
    match value:
        case bool():
            return ["yes" if value else "no"]
        case list() if any(" " in item for item in value):
            return value
        case list():
            return [", ".join(value) or "none"]
        case _:
            return [str(value)]


def _plain(text: str) -> str:
    """Return a text with what a terminal would obey written out."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
