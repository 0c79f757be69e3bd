"""Template strings for every version of Python: what a `t"..."` of PEP 750 makes since 3.14, or looks like it."""

from __future__ import annotations

import string
import sys
from typing import Any, NamedTuple


class Interpolation(NamedTuple):
    value: Any
    expression: str = ""
    conversion: str | None = None
    format_spec: str = ""


class Template:
    """Looks like a `string.templatelib.Template`."""

    def __init__(self, strings: tuple[str, ...], interpolations: tuple[Interpolation, ...]) -> None:
        self.strings = strings
        self.interpolations = interpolations


def t(text: str, /, **names: Any) -> Any:
    """Return what `t"..."` does, or would, with the values of the names in its braces."""
    if sys.version_info >= (3, 14):
        return eval(f"t{text!r}", names)
    strings = [""]
    interpolations: list[Interpolation] = []
    for literal, name, spec, conversion in string.Formatter().parse(text):
        strings[-1] += literal
        if name is not None:
            interpolations.append(Interpolation(names[name], name, conversion, spec or ""))
            strings.append("")
    return Template(tuple(strings), tuple(interpolations))
