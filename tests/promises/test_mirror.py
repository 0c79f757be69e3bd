"""`tests/` is a mirror of the package, and each file and folder of the package says what it is for.

Whoever looks for the tests of a module finds them where the module is, and under its name; what cuts across is in
`tests/promises/`. Read from files and syntax trees: nothing is imported.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.once, pytest.mark.checkout]

TESTS = Path(__file__).parents[1]
PACKAGE = TESTS.parent / "anyq"

ELSEWHERE = {
    "__main__": ("cli/test_demo.py", "it does what the commands do"),
    "abc": ("typing/cursors.py", "it has types to annotate with, which only a type checker sees"),
    "contrib.psycopg.__main__": ("contrib/psycopg/test_running.py", "it runs `running`"),
    "postgres": ("types/test_roundtrip.py", "it registers the families of types, and these are tested there"),
    "errors._base": ("errors/test_errors.py", "a part of `errors`"),
    "errors._sqlstates": ("errors/test_errors.py", "a table"),
    "protocol.messages": ("protocol/test_backend.py", "they are decoded by `backend`, and what is encoded comes back"),
    "types._inside": ("types/test_range.py", "what `range` and `composite` have in common"),
    "types._range_bounds": ("types/test_range.py", "what `range` and `multirange` have in common"),
    "types._range_formats": ("types/test_range.py", "what `range` and `multirange` have in common"),
    "types._range_values": ("types/test_range.py", "the classes of `range` and `multirange`"),
    "types._record_formats": ("types/test_composite.py", "a part of `composite`"),
    "types._datestyle": ("types/test_datetime.py", "a part of `datetime`"),
    "types._datetime_dumpers": ("types/test_datetime.py", "a part of `datetime`"),
    "types._numeric_binary": ("types/test_numeric.py", "a part of `numeric`"),
}
"""Modules without a test file of their name: where their tests are, and why."""

NO_MIRROR = {
    "benchmarks": "programs that measure",
    "programs": "programs written for psycopg, which tests run with anyq in its place",
    "promises": "what cuts across",
    "support": "helpers of tests",
    "tools": "programs that write files of the package, and what makes a site of the documentation",
    "typing": "programs for type checkers",
}
"""Folders of tests that no folder of the package stands behind."""

MOST_LINES = 500

LONG = {
    "errors/_sqlstates.py": "a table that is generated",
}
"""Files that may have more, and why."""


def modules(package: Path) -> list[str]:
    """Return the modules of a package by their names in it, compiled ones too; not the packages themselves."""
    paths = [path.relative_to(package) for suffix in ("py", "pyx") for path in package.rglob(f"*.{suffix}")]
    return sorted(".".join(path.with_suffix("").parts) for path in paths if path.stem != "__init__")


def expected_test(module: str) -> str:
    """Return the path in `tests/` where a module's tests are looked for."""
    *folders, name = module.split(".")
    return "/".join([*folders, f"test_{name}.py"])


def folders(root: Path) -> set[str]:
    """Return the folders with Python files below `root`."""
    return {path.parent.relative_to(root).as_posix() for path in root.rglob("*.py")}


def docstring(path: Path) -> str:
    """Return the docstring of a module, in one line."""
    return " ".join((ast.get_docstring(ast.parse(path.read_text())) or "").split())


def missing_from(text: str, *, folder: bool) -> list[str]:
    """Return what a docstring does not say."""
    missing = []
    if not re.search(r"\bknows?\b", text, re.IGNORECASE):
        missing.append("what it knows")
    if not re.search(r"\bmust not\b|\bknows nothing\b", text, re.IGNORECASE):
        missing.append("what it must not know")
    if folder and not re.search(r"\bbegin (?:reading )?with `", text, re.IGNORECASE):
        missing.append("where to begin reading")
    return missing


def test_each_module_has_a_test_file_of_its_name() -> None:
    missing = [
        f"anyq/{module.replace('.', '/')}.py: no tests/{expected_test(module)}"
        for module in modules(PACKAGE)
        if module not in ELSEWHERE and not (TESTS / expected_test(module)).exists()
    ]
    assert not missing, "\n".join(missing)


@pytest.mark.parametrize("module", ELSEWHERE)
def test_the_modules_that_have_none(module: str) -> None:
    """The list says nothing that is not so."""
    where, _ = ELSEWHERE[module]
    assert module in modules(PACKAGE)
    assert (TESTS / where).exists()
    assert not (TESTS / expected_test(module)).exists()


def test_one_folder_for_one() -> None:
    tested = {name for name in folders(TESTS) if name.split("/")[0] not in NO_MIRROR}
    assert tested == folders(PACKAGE)


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_docstring_says_what_is_known(path: Path) -> None:
    assert missing_from(docstring(path), folder=path.stem == "__init__") == []


@pytest.mark.parametrize("init", sorted(PACKAGE.rglob("__init__.py")), ids=lambda path: path.parent.name)
def test_where_to_begin_reading_is_there(init: Path) -> None:
    names = re.findall(r"[Bb]egin (?:reading )?with `+([\w.]+)`+", docstring(init))
    assert names
    for name in names:
        path = PACKAGE / name.removeprefix("anyq.") if name.startswith("anyq.") else init.parent / name
        assert path.with_suffix(".py").exists() or path.is_dir(), name


def too_long(package: Path) -> Iterator[str]:
    for path in sorted(package.rglob("*")):
        name = path.relative_to(package).as_posix()
        if path.suffix in (".py", ".pyx", ".pxi", ".pxd") and name not in LONG:
            lines = len(path.read_text().splitlines())
            if lines > MOST_LINES:
                yield f"anyq/{name} has {lines} lines: look for the second thing that it does"


def test_no_module_is_too_long() -> None:
    assert list(too_long(PACKAGE)) == []
    for name in LONG:
        assert len((PACKAGE / name).read_text().splitlines()) > MOST_LINES, f"{name} need not be named any more"


def test_what_is_wrong_is_found(tmp_path: Path) -> None:
    package = tmp_path / "package"
    (package / "inner").mkdir(parents=True)
    (package / "inner" / "__init__.py").write_text('"""Knows this. Must not know that."""')
    (package / "inner" / "some.py").write_text('"""Does something."""\n' * (MOST_LINES + 1))
    assert modules(package) == ["inner.some"]
    assert expected_test("inner.some") == "inner/test_some.py"
    assert folders(package) == {"inner"}
    assert [missing_from(docstring(path), folder=True) for path in sorted(package.rglob("*.py"))] == [
        ["where to begin reading"],
        ["what it knows", "what it must not know", "where to begin reading"],
    ]
    assert list(too_long(package)) == ["anyq/inner/some.py has 501 lines: look for the second thing that it does"]
