"""The functions that MkDocs calls while it builds the site, as mkdocs.yml says.

Pages that are made of other files come to those of `docs/`: the gallery of the examples, the reference, and the pages
at the top of the checkout. Links that lead out of `docs/`, as code hosts want them, are led to these, and names with
their module or their class before them become links to the reference.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[3]
if str(ROOT) not in sys.path:  # as it is not where the command is `mkdocs`
    sys.path.insert(0, str(ROOT))

from tests.tools.docsite import gallery, reference  # noqa: E402 - found by the line above

AT_THE_TOP = {
    "README.md": "readme.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "RELEASING.md": "releasing.md",
    "LICENSE": "licence.md",
}
"""Files of the checkout that are pages, and the pages' names."""

_FENCE = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<=\]\()([^)\s#:]+)(#[^)\s]*)?(?=\))")
# Such as `anyq.listen()` and `AsyncCursor.execute()`, but not what is in the text of a link.
_NAME = re.compile(r"(?<![\[`])`((?:anyq|[A-Z]\w+)\.[\w.]*\w)(\(\))?`(?![\]`])")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are not in `docs/`."""
    pages = {page: (ROOT / name).read_text(encoding="utf-8") for name, page in AT_THE_TOP.items()}
    pages["licence.md"] = f"# Licence\n\n{pages['licence.md']}"
    pages["examples.md"] = gallery.page(ROOT)
    pages |= reference.pages(ROOT)
    pages["docsite.css"] = Path(__file__).with_name("docsite.css").read_text(encoding="utf-8")
    for name, content in pages.items():
        files.append(File.generated(config, name, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links to files outside of `docs/` to the pages that are made of them, and names to the reference."""
    names = {page: name for name, page in AT_THE_TOP.items()}
    name = names.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    folder, base = os.path.dirname(name), os.path.dirname(page.file.src_uri)

    def replaced(found: re.Match[str]) -> str:
        path, anchor = found[1], found[2] or ""
        target = os.path.normpath(os.path.join(folder, path)).replace(os.sep, "/")
        if target in AT_THE_TOP:
            target = AT_THE_TOP[target]
        elif target.startswith("examples/"):
            target, anchor = "examples.md", f"#{gallery.anchor(target)}"
        elif target.startswith("docs/"):
            target = target.removeprefix("docs/")
        elif target == "docs":
            target = "index.md"
        else:
            return found[0]
        return os.path.relpath(target, base or ".").replace(os.sep, "/") + anchor

    def mended(text: str) -> str:
        return _NAME.sub(linked, _LINK.sub(replaced, text))

    parts, end = [], 0
    for fence in _FENCE.finditer(markdown):
        parts += [mended(markdown[end : fence.start()]), fence[0]]
        end = fence.end()
    return "".join([*parts, mended(markdown[end:])])


def linked(found: re.Match[str]) -> str:
    """Make a link of a name; where it has no place in the reference it stays what it is."""
    name, call = found[1], found[2] or ""
    path = name if name.startswith("anyq.") else f"anyq.{name}"
    return f'<autoref optional identifier="{path}"><code>{name}{call}</code></autoref>'
