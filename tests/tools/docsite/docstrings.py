"""Docstrings as Markdown: an extension of griffe, which reads them for mkdocstrings.

Knows how the docstrings of anyq are written: Sphinx's fields, which griffe understands, and its roles, which it does
not; what a module says about itself for whoever works on it; what is public by its name and not meant for users. Must
not know any of the names.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Any

import griffe

_ROLE = re.compile(r":(?P<kind>attr|class|data|exc|func|meth|mod):`~?(?P<target>[\w.]+)(?:\(\))?`")
# Several exceptions in one field, which griffe takes for one if there are no spaces.
_SEVERAL = re.compile(r"^:raises (\w+(?:, \w+)+):", re.MULTILINE)
_FIELD = re.compile(r":(?:param|raises|returns?|type|rtype)\b")
# What is public by its name only says so at its beginning.
_INTERNAL = re.compile(r"For (?:this (?:package|class|module)|the compiled (?:twin|path))\b")
# Sentences of modules that are for whoever works on them.
_WORKINGS = re.compile(r"\b(?:[Kk]nows?|Must not|must not|[Bb]egin (?:reading )?with|Below it)\b")
_SENTENCE = re.compile(r"(?<=\.)\s+(?=[A-Z`])")


class Docstrings(griffe.Extension):
    """Rewrites the docstrings of a package when all of it is loaded."""

    def on_package(self, *, pkg: griffe.Module, loader: griffe.GriffeLoader, **kwargs: Any) -> None:
        for obj in list(everything(pkg)):
            docstring = obj.docstring
            if docstring is None:
                continue
            if _INTERNAL.match(docstring.value):
                if obj.parent is not None:
                    obj.parent.del_member(obj.name)
                continue
            text = docstring.value
            if obj.is_module:
                text = without_workings(text)
            text = _SEVERAL.sub(lambda found: f":raises {found[1].replace(' ', '')}:", text)
            docstring.value = linked(fields_last(with_code_blocks(text)), obj)
            # Of a dataclass, the parameters are not known yet.
            if obj.is_function or "__init__" in obj.members:
                link_raised(obj)
            if obj.is_class and ":param" not in docstring.value and "__init__" in obj.members:
                # Nobody but the package makes them, or makes them as it makes those that they inherit from.
                obj.del_member("__init__")


def link_raised(obj: griffe.Object) -> None:
    """Make links of the exceptions that a docstring names, which are plain text to griffe."""
    assert obj.docstring is not None
    for section in obj.docstring.parsed:
        if isinstance(section, griffe.DocstringSectionRaises):
            for raised in section.value:
                if isinstance(raised.annotation, str):
                    names = [griffe.ExprName(name, parent=obj.parent) for name in raised.annotation.split(",")]
                    raised.annotation = names[0] if len(names) == 1 else griffe.ExprTuple(names, implicit=True)


def everything(obj: griffe.Object) -> Iterator[griffe.Object]:
    """Yield an object and all that is defined in it."""
    yield obj
    for member in obj.members.values():
        if not member.is_alias:
            yield from everything(member)


def without_workings(text: str) -> str:
    """Leave out of a module's docstring what is said for whoever works on it."""
    paragraphs = []
    for paragraph in text.split("\n\n"):
        if _WORKINGS.search(paragraph):
            sentences = [each for each in _SENTENCE.split(paragraph) if not _WORKINGS.search(each)]
            paragraph = " ".join(sentences)
        if paragraph:
            paragraphs.append(paragraph)
    return "\n\n".join(paragraphs)


def with_code_blocks(text: str) -> str:
    """Make blocks of code of what is indented behind a double colon."""
    lines: list[str] = []
    inside = False
    for line in text.splitlines():
        if inside and line and not line.startswith("    "):
            lines[-1:] = ["```", ""] if not lines[-1] else [lines[-1], "```"]
            inside = False
        if line.endswith("::") and not inside:
            lines += [line.removesuffix(":"), "", "```python"]
            inside = True
        elif inside:
            if line or lines[-1] != "```python":
                lines.append(line.removeprefix("    "))
        else:
            lines.append(line)
    return "\n".join([*lines, "```"] if inside else lines)


def fields_last(text: str) -> str:
    """Put the fields behind all paragraphs: what stands below the last one would be taken for a part of it."""
    prose: list[str] = []
    fields: list[str] = []
    inside = False
    for line in text.splitlines():
        if _FIELD.match(line):
            inside = True
        elif inside and line and not line.startswith(" "):
            inside = False
            prose.append("")
        if inside:
            if line:
                fields.append(line)
        else:
            prose.append(line)
    return "\n".join([*prose, "", *fields]).strip()


def linked(text: str, obj: griffe.Object) -> str:
    """Make links of the roles of Sphinx; where a name has no place in the reference, only its text is there."""

    def replaced(found: re.Match[str]) -> str:
        target = found["target"]
        shown = target + "()" * (found["kind"] in ("meth", "func"))
        path = html.escape(resolved(target, obj))
        return f'<autoref optional identifier="{path}"><code>{html.escape(shown)}</code></autoref>'

    return _ROLE.sub(replaced, text)


def resolved(target: str, obj: griffe.Object) -> str:
    """Return the whole path of a name as the docstring of an object has it."""
    scope: griffe.Object | None = obj
    first, _, rest = target.partition(".")
    while scope is not None:
        if scope.is_class and first in scope.all_members:
            return f"{scope.path}.{target}"
        scope = scope.parent
    try:
        path = obj.resolve(first)
    except griffe.NameResolutionError:
        # As one finds it who has imported anyq.
        path = first if first == "anyq" else f"anyq.{first}"
    return f"{path}.{rest}" if rest else path
