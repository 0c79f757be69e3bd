"""Imports inside the package point one way, and never in a circle.

Read off the syntax trees, so that nothing has to import. Every import counts for the direction, wherever it
stands (in a function, under TYPE_CHECKING); only those that run with the module count for circles.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "anyq"
#: The package's own name: __init__.py may import everything, and only the command line imports it.
TOP = "anyq"

#: The groups that modules are in. A name stands for everything below it too: `types` for `types.numeric`.
GROUPS: dict[str, tuple[str, ...]] = {
    "errors": ("errors",),
    "abc": ("abc",),
    "protocol": ("protocol",),
    "accel": ("_accel",),
    "options": ("conninfo", "_connstrings", "_hosts", "_passfile", "_service", "_userfiles", "_tls_options"),
    "adaptation": (
        *("adapt", "types", "typeinfo", "postgres", "rows", "sql"),
        *("_adapters_map", "_column", "_queries", "_preparing", "dbapi20"),
    ),
    "backends": ("backends",),
    "streams": ("streams", "_channel", "_foreign", "_tls_stream", "_tls_errors"),
    "dialing": ("dialing", "_peers", "_tls_context"),
    "wire": ("wire", "_cancelling"),
    "objects": (
        *("cursor", "server_cursor", "transaction", "pipeline", "copy", "notifications"),
        *("_execution", "_executemany", "_info", "_notifies", "_results", "_settings", "_streaming"),
        "_subscription",
    ),
    "opening": ("_opening", "_login", "_targets", "_encryption", "_binding"),
    "connection": ("connection",),
    # What uses connections by their public methods, as a user could.
    "users": ("pool", "listener"),
    "sync": ("sync",),
    "package": (TOP,),
    "tools": ("__main__", "_demo", "_embedded", "_listen"),
}

_BELOW_CONNECTION = {
    *("errors", "abc", "protocol", "accel", "options", "adaptation"),
    *("backends", "streams", "dialing", "wire", "objects", "opening"),
}

#: What a group may import besides itself.
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "abc": set(),
    "protocol": {"errors", "abc"},
    # It has twins of functions of the protocol, which does not know of it.
    "accel": {"errors", "protocol"},
    "options": {"errors"},
    # Of the protocol the constants and the description of a column, see PROTOCOL_FOR_ADAPTATION.
    "adaptation": {"errors", "abc", "protocol", "accel"},
    "backends": {"errors"},
    # Of the accelerated loops the one that looks whether a socket is readable.
    "streams": {"errors", "accel", "backends"},
    "dialing": {"errors", "options", "backends", "streams"},
    # The wire joins protocol and streams, and knows no values.
    "wire": {"errors", "protocol", "accel", "backends", "streams"},
    # Of the backends what tasks wait with: sockets are the streams' business.
    "objects": {"errors", "abc", "protocol", "accel", "options", "adaptation", "backends", "wire"},
    "opening": _BELOW_CONNECTION - {"objects", "adaptation"},
    "connection": _BELOW_CONNECTION,
    "users": {"errors", "abc", "options", "adaptation", "backends", "objects", "connection"},
    "sync": {*_BELOW_CONNECTION, "connection", "users"},
    "package": {*_BELOW_CONNECTION, "connection", "users", "sync"},
    "tools": {"package", "errors", "options"},
}

PROTOCOL_FOR_ADAPTATION = {"protocol", "protocol.constants", "protocol.backend"}

_ANNOTATION = "only to annotate the public attribute or parameter: an object knows the connection it is of"

#: Imports that the table forbids, each with its reason.
EXCEPTIONS: dict[tuple[str, str], str] = {
    ("abc", "adapt"): "only to annotate: the protocols speak of the classes that implement them",
    ("abc", "sql"): "only to annotate: composed SQL is one of the forms of a query",
    ("abc", "protocol.constants"): "only to annotate: formats are what dumpers and loaders are told apart by",
    ("_info", "connection"): _ANNOTATION,
    ("cursor", "connection"): _ANNOTATION,
    ("_notifies", "connection"): _ANNOTATION,
    ("notifications", "connection"): _ANNOTATION,
    ("transaction", "connection"): _ANNOTATION,
    ("typeinfo", "connection"): "only to annotate: what is asked for a type is a connection",
}

#: No input, no output, no clock, no event loop: the protocol is bytes in, events out.
NOT_IN_PROTOCOL = {
    *("anyio", "asyncio", "trio", "uvloop", "sniffio"),
    *("socket", "ssl", "select", "selectors", "time", "threading"),
}


@dataclass(frozen=True, slots=True)
class Import:
    """A module of the package importing a module of the package (`own`) or of another."""

    source: str
    target: str
    own: bool
    line: int
    at_run_time: bool

    def __str__(self) -> str:
        return f"{self.source} (line {self.line}) imports {self.target}"


def modules() -> dict[str, Path]:
    """Return every module of the package by its name inside it, "anyq" for the package itself."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts[-1] == "__init__":
            parts = parts[:-1]
        found[".".join(parts) or TOP] = path
    return found


MODULES = modules()


def is_type_checking(test: ast.expr) -> bool:
    name = test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", None)
    return name == "TYPE_CHECKING"


def import_nodes(node: ast.AST, at_run_time: bool = True) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    """Yield every import statement below a node, and whether it runs when the module is imported."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, at_run_time
        elif isinstance(child, ast.If) and is_type_checking(child.test):
            for part, runs in ((child.body, False), (child.orelse, at_run_time)):
                for statement in part:
                    yield from import_nodes(ast.Module([statement], []), runs)
        else:
            is_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from import_nodes(child, at_run_time and not is_function)


def absolute(name: str, path: Path, node: ast.ImportFrom) -> str:
    """Return the full dotted name that a from-import takes names from."""
    if not node.level:
        return node.module or ""
    package = [TOP] if name == TOP else [TOP, *name.split(".")]
    if path.name != "__init__.py":
        package.pop()
    base = package[: len(package) - node.level + 1]
    return ".".join([*base, *([node.module] if node.module else [])])


def imports_of(name: str, path: Path) -> Iterator[Import]:
    """Yield what a module imports: modules of the package by their name in it, others by the full name."""
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    for node, at_run_time in import_nodes(tree):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        else:
            base = absolute(name, path, node)
            # `from . import sql` names a module, `from .sql import SQL` names something in it.
            submodules = [f"{base}.{alias.name}" for alias in node.names]
            targets = [full if inside(full) in MODULES else base for full in submodules]
        for target in dict.fromkeys(targets):
            name_inside = inside(target)
            yield Import(name, name_inside or target, name_inside is not None, node.lineno, at_run_time)


def inside(full: str) -> str | None:
    """Return a module's name inside the package, None for one of another package."""
    if full == TOP:
        return TOP
    return full.removeprefix(f"{TOP}.") if full.startswith(f"{TOP}.") else None


def group_of(name: str) -> str | None:
    """Return the group that a module is in, None if it has no place yet."""
    for group, members in GROUPS.items():
        if any(name == member or name.startswith(f"{member}.") for member in members):
            return group
    return None


ALL = [found for name, path in MODULES.items() for found in imports_of(name, path)]
OWN = [found for found in ALL if found.own]


def test_every_module_has_a_place() -> None:
    homeless = [name for name in MODULES if group_of(name) is None]
    assert not homeless, "add them to a group of GROUPS: it says what they may import"


@pytest.mark.parametrize("group", GROUPS)
def test_direction(group: str) -> None:
    broken = [
        str(found)
        for found in OWN
        if group_of(found.source) == group
        and group_of(found.target) not in {group, *ALLOWED[group]}
        and (found.source, found.target) not in EXCEPTIONS
    ]
    assert not broken


def test_adaptation_knows_no_messages() -> None:
    assert not [
        str(found)
        for found in OWN
        if group_of(found.source) == "adaptation"
        and group_of(found.target) == "protocol"
        and found.target not in PROTOCOL_FOR_ADAPTATION
    ]


def test_exceptions_are_annotations_and_needed() -> None:
    at_run_time = {(found.source, found.target): found.at_run_time for found in OWN}
    assert not [pair for pair in EXCEPTIONS if at_run_time.get(pair, True)]


def test_the_protocol_is_sans_io() -> None:
    assert not [
        str(found)
        for found in ALL
        if group_of(found.source) == "protocol" and found.target.partition(".")[0] in NOT_IN_PROTOCOL
    ]


def test_only_backends_know_event_loops() -> None:
    assert not [
        str(found)
        for found in ALL
        if found.target.partition(".")[0] in {"asyncio", "trio", "uvloop"} and group_of(found.source) != "backends"
    ]


def test_there_is_no_circle() -> None:
    graph: dict[str, list[str]] = {name: [] for name in MODULES}
    for found in OWN:
        if found.at_run_time and found.target in MODULES:
            graph[found.source].append(found.target)
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            circle = " -> ".join([*path[path.index(name) :], name])
            pytest.fail(f"modules import each other in a circle: {circle}", pytrace=False)
        if name not in done:
            for target in graph[name]:
                visit(target, (*path, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_the_reader_of_imports_reads(tmp_path: Path) -> None:
    module = tmp_path / "x.py"
    module.write_text(
        "import os\nfrom typing import TYPE_CHECKING\nfrom . import errors\n"
        "if TYPE_CHECKING:\n    from .errors import Error\nelse:\n    import sys\n"
        "try:\n    import anyq.errors as e\nexcept ImportError:\n    pass\n"
        "def f():\n    from ..errors import Warning\n"
        "import types\n"
    )
    assert [(found.target, found.at_run_time) for found in imports_of("protocol.x", module)] == [
        ("os", True),
        ("typing", True),
        ("protocol", True),
        ("protocol.errors", False),
        ("sys", True),
        ("errors", True),
        ("errors", False),
        ("types", True),
    ]
