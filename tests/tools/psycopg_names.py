"""The public names of psycopg: which there are, written down for where psycopg is not installed.

Run it with psycopg installed to write them anew: ``python -m tests.tools.psycopg_names``. Names are read off syntax
trees: what a module defines itself, or has in its ``__all__``; what instances of a documented class have. Nothing but
names is taken from psycopg.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import pkgutil
from collections.abc import Iterator
from contextlib import suppress
from enum import EnumMeta
from pathlib import Path
from types import ModuleType
from typing import Any

STORED = Path(__file__).with_suffix(".json")

#: Modules that psycopg documents, by what comes behind its name; of pq the enumerations only, as the rest is libpq.
MODULES = ("", "abc", "adapt", "conninfo", "crdb", "errors", "postgres", "pq", "rows", "sql", "types")

#: What a module has for itself, and nobody imports; constants in capitals are taken for such, but for those of sql.
INTERNAL = {
    *("T", "E", "RV", "NoneType", "logger", "re_escape", "re_space", "utc", "ip_address"),
    *("fail_dump", "make_bound_dump", "dump_range_binary", "dump_range_text", "load_range_binary", "load_range_text"),
    *("dump_decimal_to_numeric_binary", "dump_decimal_to_text", "dump_int_to_numeric_binary", "shapely_version"),
}

#: Classes that psycopg documents whose attributes are names as well.
CLASSES = (
    *("AsyncConnection", "Connection", "ConnectionInfo", "Column", "Notify", "Xid", "Error", "errors.Diagnostic"),
    *("AsyncCursor", "Cursor", "AsyncClientCursor", "ClientCursor", "AsyncRawCursor", "RawCursor"),
    *("AsyncServerCursor", "ServerCursor", "AsyncRawServerCursor", "RawServerCursor"),
    *("AsyncTransaction", "Transaction", "Rollback", "AsyncPipeline", "Pipeline", "AsyncCopy", "Copy"),
    *("adapt.AdaptersMap", "adapt.Dumper", "adapt.Loader", "adapt.PyFormat", "types.TypeInfo", "types.TypesRegistry"),
    *("sql.Composable", "sql.SQL", "sql.Identifier", "sql.Literal", "sql.Placeholder", "sql.Composed"),
)


def modules() -> list[str]:
    """Return the documented modules of psycopg, by what comes behind its name."""
    types = importlib.import_module("psycopg.types")
    inside = sorted(f"types.{found.name}" for found in pkgutil.iter_modules(types.__path__) if found.name[0] != "_")
    return [*MODULES, *inside]


def names_of_module(module: ModuleType) -> set[str]:
    """Return the public names of a module: those it says, else those it defines."""
    said = getattr(module, "__all__", None)
    tree = ast.parse(inspect.getsource(module))
    names = set(said) if said is not None else {name for node in _statements(tree) for name in _defined(node)}
    if module.__name__.endswith(".pq"):
        # The rest is libpq.
        names = {name for name in names if isinstance(getattr(module, name), EnumMeta)}
    elif said is None and not module.__name__.endswith(".sql"):
        names = {name for name in names if not name.isupper()}
    return {name for name in names - INTERNAL if not name.startswith("_")}


def _statements(tree: ast.Module) -> Iterator[ast.stmt]:
    for node in tree.body:
        yield node
        if isinstance(node, ast.If):
            yield from (*node.body, *node.orelse)


def _defined(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        yield node.name
    elif isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        yield from (target.id for target in targets if isinstance(target, ast.Name))


def names_of_class(cls: type[Any]) -> set[str]:
    """Return the public attributes of a class and of its instances."""
    names = set(getattr(cls, "__members__", ()))
    for base in cls.__mro__:
        if base.__module__ in ("builtins", "enum", "typing", "abc"):
            continue  # what those have depends on the version of Python
        names |= set(vars(base))
        names |= set(base.__dict__.get("__annotations__", {}))
        for member in vars(base).values():
            names |= _attributes_set_by(inspect.unwrap(getattr(member, "__func__", getattr(member, "fget", member))))
    # What a descriptor only says is not there.
    return {name for name in names if not name.startswith("_") and not _is_refused(cls, name)}


def _attributes_set_by(function: Any) -> set[str]:
    """Return what a method sets of its object. The source of a class may be another's, where its module was changed."""
    if not (inspect.isfunction(function) or type(function).__name__ == "cython_function_or_method"):
        return set()
    try:
        source = inspect.getsource(function)
    except OSError:
        return set()  # made by namedtuple()
    except TypeError:
        tree = _source_of_compiled(function)
    else:
        tree = ast.parse(f"if True:\n{source}" if source[0].isspace() else source)
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)]
    return {node.attr for node in nodes if _is_self(node.value)}


def _source_of_compiled(function: Any) -> ast.Module:
    """Return a function that is compiled from its own source; nothing where that is not so."""
    package, *rest = (getattr(function, "__module__", None) or "").split(".")
    folder = Path(importlib.import_module(package).__file__ or "").parent if rest else None
    found = None if folder is None else folder.joinpath(*rest).with_suffix(".py")
    empty = ast.Module([], [])
    if found is None or not found.exists():
        return empty
    scope: Any = ast.parse(found.read_text("utf-8"))
    for name in function.__qualname__.split("."):
        inside = [node for node in scope.body if getattr(node, "name", None) == name]
        if not inside:
            return empty
        scope = inside[-1]
    return ast.Module([scope], [])


def _is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "self"


def _is_refused(cls: type[Any], name: str) -> bool:
    member = inspect.getattr_static(cls, name, None)
    return type(member).__name__ == "Libpq"


def find(package: str, dotted: str) -> Any:
    """Return what has a name in a package, such as ``sql.SQL``; None if it is not there."""
    module, _, name = dotted.rpartition(".")
    try:
        return getattr(importlib.import_module(f"{package}.{module}" if module else package), name, None)
    except ImportError:
        return None


def read() -> dict[str, list[str]]:
    """Return psycopg's names, of each module and class by its own name, and its version."""
    psycopg = importlib.import_module("psycopg")
    found: dict[str, list[str]] = {"version": [psycopg.__version__]}
    for name in modules():
        # One of them needs something that is not installed.
        with suppress(ImportError):
            module = importlib.import_module(f"psycopg.{name}" if name else "psycopg")
            found[name] = sorted(names_of_module(module))
    for name in CLASSES:
        found[name] = sorted(names_of_class(find("psycopg", name)))
    return found


def stored() -> dict[str, list[str]]:
    """Return the names that were written down."""
    names: dict[str, list[str]] = json.loads(STORED.read_text("utf-8"))
    return names


if __name__ == "__main__":
    STORED.write_text(json.dumps(read(), indent=1) + "\n", "utf-8")
