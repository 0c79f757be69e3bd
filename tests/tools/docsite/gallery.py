"""The gallery of the examples: what each is for, by its own docstring, and its source.

Knows the programs in `examples/`, in the order of the table in docs/index.md. Must not know what they do.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

_INTRODUCTION = """# Examples

Programs to begin with, each to be read in one go. Most start a PostgreSQL server of their own if no other is named, and
end well at Ctrl-C; the test suite runs all of them. They are in the folder `examples/` of a checkout.
"""


def anchor(path: str) -> str:
    """Return the anchor of the section about a file or a folder of `examples/`."""
    name = path.split("/")[1]
    return name.removesuffix(".py").replace("_", "-")


def in_order(root: Path) -> list[Path]:
    """Return the examples in the order of docs/index.md; those that it does not name come last."""
    index = (root / "docs" / "index.md").read_text(encoding="utf-8")
    names = [name for name in re.findall(r"\]\(\.\./examples/([\w.]+)", index)]
    paths = [path for path in (root / "examples").iterdir() if path.suffix == ".py" or any(path.glob("*.py"))]
    return sorted(paths, key=lambda path: (names.index(path.name) if path.name in names else len(names), path.name))


def describe(source: str) -> tuple[str, str]:
    """Return the first sentence or sentences of a program's docstring, and the rest of it."""
    lead, _, rest = (ast.get_docstring(ast.parse(source)) or "").partition("\n\n")
    return " ".join(lead.split()), rest


def page(root: Path) -> str:
    """Return the page, in Markdown."""
    cards, sections = [], []
    for path in in_order(root):
        here = f"examples/{path.name}"
        files = [path] if path.suffix == ".py" else sorted(path.glob("*.py"))
        lead, _ = describe(files[0].read_text(encoding="utf-8"))
        cards.append(f"-   [**{path.name}**](#{anchor(here)})\n\n    {lead}\n")
        sections.append(f"## {path.name} {{ #{anchor(here)} }}\n")
        for file in files:
            sections.extend(section(file, alone=len(files) == 1))
    grid = '<div class="grid cards" markdown>\n\n' + "\n".join(cards) + "\n</div>\n"
    return "\n".join([_INTRODUCTION, grid, *sections])


def section(file: Path, *, alone: bool) -> Iterator[str]:
    """Yield what there is to say about a file, and its source."""
    source = file.read_text(encoding="utf-8")
    lead, rest = describe(source)
    yield f"{lead if alone else f'**{file.name}**: {lead}'}\n"
    if rest:
        yield f"{rest}\n"
    fence = "`" * 4  # there may be three in it
    block = "\n".join(f"    {line}" if line else "" for line in [f"{fence}python", *source.splitlines(), fence])
    yield f'??? example "{file.name}, {len(source.splitlines())} lines"\n\n{block}\n'
