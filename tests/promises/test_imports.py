"""Imports inside the package point one way, and never in a circle: not of files, and not of folders.

Read off the syntax trees, so that nothing has to be imported. Every import counts, wherever it stands: in a function,
under TYPE_CHECKING, in a stub, in a Cython module. There are no exceptions.
"""

from __future__ import annotations

import ast
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

pytestmark = [pytest.mark.once, pytest.mark.checkout]

PACKAGE = Path(__file__).parents[2] / "anyq"

#: The package itself: its __init__ imports what a user is given, and only the command line imports it.
TOP = "anyq"

#: The rooms of the house, each with those it may import: a folder, or a file at the top. What a room may import, those
#: may that may import it.
ROOMS: dict[str, tuple[str, ...]] = {
    # the ground
    "compiled": (),
    "errors": (),
    "backends": ("errors",),
    "protocol": ("errors",),
    "conninfo": ("errors",),
    "_accel": ("compiled", "protocol"),
    "dbapi20": ("errors",),
    "pq": ("protocol",),
    "xid": ("errors",),
    "tracing": ("compiled", "errors"),
    # values
    "adapt": ("_accel",),
    "types": ("adapt",),
    "sql": ("adapt",),
    "abc": ("sql",),
    "postgres": ("types",),
    "rows": ("_accel",),
    # statements and sessions
    "transport": ("_accel", "backends", "conninfo"),
    "statements": ("abc", "rows"),
    "session": ("statements", "transport", "pq", "tracing"),
    "startup": ("session",),
    # what a user holds
    "notifications": ("session",),
    "transaction": ("session",),
    "row_stream": ("session",),
    "pipeline": ("session",),
    "copy": ("session",),
    "cursor": ("copy", "row_stream", "postgres"),
    "server_cursor": ("cursor",),
    "connecting": ("backends",),
    "two_phase": ("cursor", "xid"),
    "connection": (
        "connecting",
        "server_cursor",
        "two_phase",
        "transaction",
        "pipeline",
        "notifications",
        "startup",
        "dbapi20",
    ),
    "listener": ("connection",),
    "sync": ("listener",),
    "pool": ("sync",),
    TOP: ("compiled", "sync", "pq"),
    "cli": (TOP,),
    "contrib": (TOP, "pool"),
    "__main__": ("cli",),
}

#: No input, no output, no clock, no event loop: the protocol and statements are bytes in, events out.
SANS_IO = {"protocol", "statements", "adapt", "types", "sql", "rows"}
INPUT_OUTPUT = {"anyio", "asyncio", "trio", "uvloop", "sniffio", "socket", "ssl", "select", "selectors", "threading"}
EVENT_LOOPS = {"asyncio", "trio", "uvloop"}


@dataclass(frozen=True, slots=True)
class Import:
    """A module of the package importing a module of the package (`own`) or of another."""

    source: str
    target: str
    own: bool
    line: int

    def __str__(self) -> str:
        return f"{self.source} (line {self.line}) imports {self.target}"


class House:
    """A package in a folder: its modules, and what each imports."""

    def __init__(self, folder: Path) -> None:
        self.modules = dict(self._modules(folder))
        self.imports = [
            found for name, paths in self.modules.items() for path in paths for found in self.read(name, path)
        ]
        self.own = [found for found in self.imports if found.own]

    @staticmethod
    def _modules(folder: Path) -> Iterator[tuple[str, list[Path]]]:
        """Yield every module by its name inside the package, with its files: a Cython module has a stub as well."""
        found: dict[str, list[Path]] = {}
        for path in sorted(folder.rglob("*.py*")):
            if path.suffix not in (".py", ".pyi", ".pyx", ".pxi", ".pxd"):
                continue
            parts = path.relative_to(folder).with_suffix("").parts
            if parts[-1] == "__init__":
                parts = parts[:-1]
            found.setdefault(".".join(parts) or TOP, []).append(path)
        yield from found.items()

    def read(self, name: str, path: Path) -> Iterator[Import]:
        """Yield what a file imports: modules of the package by their name in it, others by their full name."""
        for line, level, module, names in _statements(path.read_text(encoding="utf-8"), path.suffix):
            if not level:
                targets = [module] if names is None else self._of_from(module, names)
            else:
                package = [TOP] if name == TOP else [TOP, *name.split(".")]
                if path.stem != "__init__":
                    package.pop()
                base = ".".join([*package[: len(package) - level + 1], *([module] if module else [])])
                targets = self._of_from(base, names or [])
            for target in dict.fromkeys(targets):
                inside = _inside(target)
                yield Import(name, inside or target, inside is not None, line)

    def _of_from(self, base: str, names: list[str]) -> list[str]:
        """`from . import sql` names a module, `from .sql import SQL` names something in it."""
        return [full if _inside(full) in self.modules else base for full in (f"{base}.{name}" for name in names)]


_CYTHON_FROM = r"^[ \t]*from[ \t]+(\.*)([\w.]*)[ \t]+c?import[ \t]+(\([^)]*\)|[^\n#]*)"
_CYTHON_IMPORT = r"^[ \t]*c?import[ \t]+([\w.][^\n#]*)"


def _inside(full: str) -> str | None:
    """Return a module's name inside the package, None for one of another package."""
    if full == TOP:
        return TOP
    return full.removeprefix(f"{TOP}.") if full.startswith(f"{TOP}.") else None


@cache
def _statements(text: str, suffix: str) -> list[tuple[int, int, str, list[str] | None]]:
    """Return line, level, module and names (None for a plain import) of each import statement in a file.

    Copies of the package have the same files but for one, so they are not read again.
    """
    found: list[tuple[int, int, str, list[str] | None]] = []
    if suffix in (".py", ".pyi"):
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                found += [(node.lineno, 0, alias.name, None) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                found.append((node.lineno, node.level, node.module or "", [alias.name for alias in node.names]))
        return found
    # Cython's own syntax is read by lines. Its includes and its cimports are imports as well.
    for match in re.finditer(_CYTHON_FROM, text, re.MULTILINE):
        names = [name.split()[0] for name in match[3].strip("() \n").replace("\n", " ").split(",") if name.strip()]
        found.append((text.count("\n", 0, match.start()) + 1, len(match[1]), match[2], names))
    for match in re.finditer(_CYTHON_IMPORT, text, re.MULTILINE):
        line = text.count("\n", 0, match.start()) + 1
        found += [(line, 0, name.split()[0], None) for name in match[1].split(",")]
    return found


def hidden_imports(path: Path) -> list[str]:
    """Return where a file of Python imports what is the package's own for type checkers only, or in a function.

    Such an import is there because something is in the way.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = []
    for branch in ast.walk(tree):
        if isinstance(branch, ast.If) and "TYPE_CHECKING" in ast.unparse(branch.test):
            # There may be a method with types that the compiled one cannot have.
            imports = [node for node in ast.walk(branch) if isinstance(node, ast.Import | ast.ImportFrom)]
            found += ["an import for type checkers"] * len(imports)
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for node in ast.walk(function):
                modules: list[str] = []
                if isinstance(node, ast.Import):
                    modules = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom):
                    modules = [TOP if node.level else node.module or ""]
                if any(_inside(module) is not None for module in modules):
                    found.append(f"an import in {function.name}()")
    return found


def room_of(name: str) -> str:
    """Return the room that a module is in: its folder, or itself where it stands at the top."""
    return name.partition(".")[0]


def reach(rooms: Mapping[str, tuple[str, ...]], room: str) -> set[str]:
    """Return every room that one may import."""
    found: set[str] = set()
    todo = list(rooms[room])
    while todo:
        other = todo.pop()
        if other not in found:
            found.add(other)
            todo += rooms[other]
    return found


def circle(edges: Iterator[tuple[str, str]]) -> list[str] | None:
    """Return a circle that there is among these, None if there is none."""
    graph: dict[str, set[str]] = {}
    for source, target in edges:
        if source != target:
            graph.setdefault(source, set()).add(target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        found: list[str] = error.args[1]
        return found
    return None


def problems(house: House) -> list[str]:
    """Return what is wrong with the imports of a package, a line each."""
    found: list[str] = []
    for room in sorted({room_of(name) for name in house.modules} ^ set(ROOMS)):
        found.append(f"{room}: ROOMS and the package do not agree on whether there is such a room")
    for one in house.own:
        source, target = room_of(one.source), room_of(one.target)
        if source in ROOMS and target != source and target not in reach(ROOMS, source):
            found.append(f"{one}, which the table of rooms does not allow")
    # What a package's __init__ imports from its own modules, they do not get back through it.
    files = circle((one.source, one.target) for one in house.own)
    if files is not None:
        found.append("a circle of files: " + " -> ".join(files))
    rooms = circle((room_of(one.source), room_of(one.target)) for one in house.own)
    if rooms is not None:
        found.append("a circle of folders: " + " -> ".join(rooms))
    return found


HOUSE = House(PACKAGE)


def test_imports_point_one_way() -> None:
    assert problems(HOUSE) == []


def test_the_table_of_rooms_is_no_circle() -> None:
    assert circle((room, other) for room, others in ROOMS.items() for other in others) is None


def test_no_import_hides() -> None:
    """But for those of the package itself, which are made when a name is asked for."""
    files = [
        (name, path)
        for name, paths in HOUSE.modules.items()
        for path in paths
        if path.suffix in (".py", ".pyi") and name != TOP
    ]
    assert [f"{name}: {place}" for name, path in files for place in hidden_imports(path)] == []


@pytest.mark.parametrize("room", sorted(SANS_IO))
def test_no_input_and_no_output(room: str) -> None:
    assert not [str(one) for one in HOUSE.imports if room_of(one.source) == room and _outside(one) in INPUT_OUTPUT]


def test_only_backends_know_event_loops() -> None:
    assert not [str(one) for one in HOUSE.imports if room_of(one.source) != "backends" and _outside(one) in EVENT_LOOPS]


def _outside(one: Import) -> str:
    return "" if one.own else one.target.partition(".")[0]


# -- the test can fail


@pytest.mark.parametrize(
    "module, line, complaint",
    [
        ("errors/_base.py", "from ..protocol import constants", "a circle of folders"),
        ("rows.py", "if TYPE_CHECKING:\n    from .connection import AsyncConnection", "a circle of files"),
        ("session/wire.py", "def f():\n    from ..cursor import AsyncCursor", "does not allow"),
        ("protocol/buffer.py", "from .session import ProtocolSession", "a circle of files"),
        ("_accel/messages.pyx", "from ..rows import tuple_row", "does not allow"),
        ("session/wire.py", "from anyq import connect", "does not allow"),
        ("_accel/polling.pyx", "cimport anyq.connection", "does not allow"),
        ("_accel/polling.pyx", "import anyq.connection as c", "a circle of files"),
        ("_accel/polling.pyi", "import anyq.connection", "a circle of folders"),
    ],
)
def test_a_planted_circle_is_found(module: str, line: str, complaint: str, tmp_path: Path) -> None:
    """In a copy of the package, one line more."""
    copy = tmp_path / "anyq"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    file = copy / module
    file.write_text(f"{file.read_text(encoding='utf-8')}\n{line}\n", encoding="utf-8")
    assert any(complaint in problem for problem in problems(House(copy)))


@pytest.mark.parametrize(
    "text",
    [
        "def f():\n    from . import errors\n",
        "def f():\n    from anyq.errors import Error\n",
        "async def f():\n    if True:\n        import os, anyq.protocol\n",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .errors import Error\n",
    ],
)
def test_an_import_that_hides_is_found(text: str, tmp_path: Path) -> None:
    module = tmp_path / "x.py"
    module.write_text(text)
    assert len(hidden_imports(module)) == 1
    module.write_text("import anyq.errors\ndef f():\n    import os\n")
    assert hidden_imports(module) == []


def test_a_room_that_nobody_planned_is_found(tmp_path: Path) -> None:
    copy = tmp_path / "anyq"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    (copy / "helpers.py").write_text("")
    assert problems(House(copy)) == ["helpers: ROOMS and the package do not agree on whether there is such a room"]


def test_the_reader_of_imports_reads(tmp_path: Path) -> None:
    python, cython = tmp_path / "x.py", tmp_path / "y.pyx"
    python.write_text(
        "import os\nfrom typing import TYPE_CHECKING\nfrom . import errors\n"
        "if TYPE_CHECKING:\n    from .errors import Error\n"
        "try:\n    import anyq.errors as e\nexcept ImportError:\n    pass\n"
        "def f():\n    from ..errors import Warning\n"
        "import types\n"
    )
    cython.write_text("from .calendar cimport (\n    days,\n    months as m,\n)\nfrom ..errors import Error\n")
    found = sorted(one.target for one in HOUSE.read("protocol.x", python))
    assert found == sorted(["os", "typing", "protocol", "protocol.errors", "errors", "errors", "types"])
    assert [one.target for one in HOUSE.read("_accel.y", cython)] == ["_accel.calendar", "errors"]
