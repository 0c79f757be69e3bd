"""What `import anyq` gives: names, and psycopg's public modules under the names that they have there."""

from __future__ import annotations

import ast
import importlib
import pickle
import pkgutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import anyq

#: The modules that psycopg's documentation names, without the package's name.
MODULES = [
    *("abc", "adapt", "conninfo", "copy", "errors", "postgres", "pq", "rows", "sql", "types"),
    *("types.array", "types.bool", "types.composite", "types.datetime", "types.enum", "types.hstore", "types.json"),
    *("types.multirange", "types.net", "types.none", "types.numeric", "types.numpy", "types.range", "types.shapely"),
    *("types.string", "types.uuid"),
]

#: Those that are not here, and why.
MISSING = {
    "crdb": "no adapters of CockroachDB",
}


@pytest.mark.parametrize("name", MODULES)
def test_public_modules_of_psycopg(name: str, psycopg: Any) -> None:
    importlib.import_module(f"anyq.{name}")
    if name == "types.shapely":
        pytest.importorskip("shapely")
    importlib.import_module(f"psycopg.{name}")


@pytest.mark.parametrize("name", MISSING)
def test_modules_that_are_missing(name: str) -> None:
    """Whoever adds one moves it to the list of those that are there."""
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(f"anyq.{name}")


def test_no_type_of_psycopgs_is_forgotten(psycopg: Any) -> None:
    import psycopg.types as theirs

    found = {f"types.{module.name}" for module in pkgutil.iter_modules(theirs.__path__)}
    assert found <= {*MODULES, *MISSING}


def test_modules_are_attributes() -> None:
    """By `import anyq` alone."""
    names = [name for name in MODULES if "." not in name]
    program = f"import anyq; print(*[getattr(anyq, name).__name__ for name in {names}])"
    found = subprocess.check_output([sys.executable, "-c", program], text=True).split()
    assert found == [f"anyq.{name}" for name in names]
    assert set(names) <= set(anyq.__all__)


def test_modules_without_a_public_name_are_attributes_as_well() -> None:
    program = "import anyq; print(anyq.pool.ConnectionPool.__name__, anyq.cursor.__name__, anyq.types.range.__name__)"
    found = subprocess.check_output([sys.executable, "-c", program], text=True).split()
    assert found == ["ConnectionPool", "anyq.cursor", "anyq.types.range"]


#: What is imported when somebody asks for it, or runs on it, and not by `import anyq`.
UNASKED = [
    *("asyncio", "trio", "uvloop", "multiprocessing", "email", "unittest", "importlib.metadata"),
    *("numpy", "opentelemetry", "psycopg", "psycopg_pool", "shapely", "sqlalchemy", "greenlet"),
    *("anyq.backends.asyncio_backend", "anyq.backends.trio_backend", "anyq.cli", "anyq.contrib", "anyq.pool"),
    *("anyio", "ssl", "anyq.connection", "anyq.sync", "anyq.session", "anyq.conninfo", "anyq.startup"),
]


def imported_by(program: str) -> set[str]:
    """Return which of UNASKED, or what is below them, a program imports."""
    program = f"""
import sys
before = set(sys.modules)
{program}
found = set(sys.modules) - before
print(*[name for name in {UNASKED} if any((module + ".").startswith(name + ".") for module in found)])
"""
    return set(subprocess.check_output([sys.executable, "-c", program], text=True).split())


def test_nothing_is_imported_unasked() -> None:
    assert imported_by("import anyq") == set()


@pytest.mark.parametrize(("loop", "other"), [("asyncio", "trio"), ("trio", "asyncio")])
def test_who_runs_on_one_loop_need_not_import_the_other(loop: str, other: str) -> None:
    program = f"""
import {loop}
import anyq
from anyq.backends import current_backend

async def main():
    assert current_backend().name == "{loop}"

{loop}.run(main{"()" if loop == "asyncio" else ""})
"""
    found = imported_by(program)
    assert {loop, f"anyq.backends.{loop}_backend"} <= found
    assert not {other, f"anyq.backends.{other}_backend"} & found


def test_every_public_name_is_there() -> None:
    assert sorted(set(anyq.__all__)) == sorted(anyq.__all__)
    for name in anyq.__all__:
        assert hasattr(anyq, name)
        assert name in dir(anyq)


def test_each_name_is_what_type_checkers_take_it_for() -> None:
    """What is imported when it is asked for is what the imports say that nobody makes."""
    tree = ast.parse(Path(anyq.__file__).read_text(encoding="utf-8"))
    (checked,) = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    names = set()
    for node in checked.body:
        assert isinstance(node, ast.ImportFrom)
        for alias in node.names:
            names.add(alias.asname or alias.name)
            module = importlib.import_module(f"anyq.{node.module or alias.name}")
            wanted = getattr(module, alias.name) if node.module else module
            assert getattr(anyq, alias.asname or alias.name) is wanted
    assert names - set(anyq.__all__) == set()
    assert set(anyq.__all__) - names - set(vars(anyq)) == set()


@pytest.mark.parametrize(
    "name", ["Connection", "AsyncConnection", "connect", "listen", "AsyncCursor", "sync", "sql", "abc"]
)
def test_a_name_is_found_without_any_other(name: str) -> None:
    """In a process of its own, each way of asking for it."""
    program = f"import anyq; found = anyq.{name}; from anyq import {name}; assert found is {name} is anyq.{name}"
    subprocess.check_call([sys.executable, "-c", program])


def test_what_copies_the_dictionary_gets_what_pep_249_says() -> None:
    names = [
        *("apilevel", "threadsafety", "paramstyle", "Warning", "Error", "InterfaceError", "DatabaseError", "DataError"),
        *("OperationalError", "IntegrityError", "InternalError", "ProgrammingError", "NotSupportedError"),
        *("Date", "Time", "Timestamp", "DateFromTicks", "TimeFromTicks", "TimestampFromTicks", "Binary"),
        *("STRING", "BINARY", "NUMBER", "DATETIME", "ROWID"),
    ]
    program = f"import anyq; copied = dict(vars(anyq)); print(*[name for name in {names} if name not in copied])"
    assert subprocess.check_output([sys.executable, "-c", program], text=True).split() == []


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match=r"module 'anyq' has no attribute 'conect'$") as caught:
        anyq.conect  # type: ignore[attr-defined]  # noqa: B018
    assert (caught.value.name, caught.value.obj) == ("conect", anyq)
    for name in ("_connect", "", "errors.Error", "..", ".errors", "a b"):
        assert not hasattr(anyq, name)
    with pytest.raises(ImportError, match="cannot import name 'conect'"):
        from anyq import conect  # type: ignore[attr-defined]  # noqa: F401


def test_what_a_module_misses_is_not_taken_for_a_name_that_is_not_there() -> None:
    program = "import sys; sys.modules['anyio'] = None; import anyq; print(hasattr(anyq, 'Connection'))"
    done = subprocess.run([sys.executable, "-c", program], text=True, capture_output=True)
    assert done.returncode == 1
    assert "No module named 'anyio.abc'" in done.stderr


def test_what_was_put_in_the_place_of_a_name_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    other: Any = object()
    with monkeypatch.context() as patch:
        patch.setattr(anyq, "connect", other)
        assert anyq.connect is other
    assert anyq.connect is anyq.sync.connect


IN_ITS_PLACE = """
from unittest import mock
with mock.patch("anyq.connect") as put:
    import anyq
    assert anyq.connect is put is not anyq.sync.connect
assert anyq.connect == anyq.sync.connect
with mock.patch("anyq.pool.ConnectionPool") as put:
    assert anyq.pool.ConnectionPool is put
"""

ELSEWHERE_IN_ITS_PLACE = """
import sys
from unittest import mock
import anyq
class Other: pass
with mock.patch("anyq.sync.connect"), mock.patch("anyq.listener.listen", autospec=True):
    anyq.connect, anyq.listen
with mock.patch("anyq.connection.AsyncConnection"), mock.patch("anyq.cursor.AsyncCursor", Other):
    anyq.AsyncConnection, anyq.AsyncCursor
with mock.patch.dict(sys.modules, {"anyq.pool": mock.Mock()}):
    anyq.pool
assert anyq.connect == anyq.sync.Connection.connect
assert anyq.listen is anyq.listener.listen and not hasattr(anyq.listen, "mock")
assert [anyq.AsyncConnection.__name__, anyq.AsyncCursor.__name__] == ["AsyncConnection", "AsyncCursor"]
assert anyq.pool.ConnectionPool.__name__ == "ConnectionPool"
assert anyq.AsyncCursor is vars(anyq)["AsyncCursor"]  # a class is looked up once
"""

RELOADED = """
import importlib, anyq
before = [anyq.Error, anyq.adapters, anyq.connect, anyq.AsyncConnection, anyq.sql, list(anyq.__path__)]
importlib.reload(anyq)
assert before == [anyq.Error, anyq.adapters, anyq.connect, anyq.AsyncConnection, anyq.sql, list(anyq.__path__)]
"""

STAR = """
from anyq import *
import anyq
assert not [name for name in anyq.__all__ if globals()[name] is not getattr(anyq, name)]
"""

MEMBERS = """
import inspect, pydoc, anyq
assert set(anyq.__all__) <= set(dict(inspect.getmembers(anyq)))
assert "class AsyncConnection" in pydoc.render_doc(anyq, renderer=pydoc.plaintext)
"""

THREADS = """
import sys, threading
sys.setswitchinterval(1e-6)
import anyq
names = [*anyq.__all__, "pool", "connection", "listener", "cursor"]
found, together = {}, threading.Barrier(8)

def ask(number):
    start = number * len(names) // 8
    together.wait()
    found[number] = {name: getattr(anyq, name) for name in names[start:] + names[:start]}

threads = [threading.Thread(target=ask, args=[number]) for number in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert [found[number] == {name: getattr(anyq, name) for name in names} for number in range(8)] == [True] * 8
"""

SECOND_TIME = """
import sys, anyq

class Fails:
    def find_spec(self, name, path, target=None):
        if name in failing:
            raise failing.pop(name)

failing = {"anyq.sync.connection": KeyboardInterrupt(), "anyq.listener": ImportError("not now")}
failing["anyq.pool.errors"] = MemoryError()
sys.meta_path.insert(0, Fails())
for name, error in [("listen", ImportError), ("connect", KeyboardInterrupt), ("pool", MemoryError)]:
    for _ in range(2):
        try:
            getattr(anyq, name)
        except error:
            assert name not in vars(anyq)
assert not failing and anyq.connect == anyq.sync.connect and anyq.listen is anyq.listener.listen
assert anyq.pool.ConnectionPool and not [name for name in anyq.__all__ if not hasattr(anyq, name)]
"""


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(IN_ITS_PLACE, id="in its place"),
        pytest.param(ELSEWHERE_IN_ITS_PLACE, id="elsewhere in its place"),
        pytest.param(RELOADED, id="reloaded"),
        pytest.param(STAR, id="star"),
        pytest.param(MEMBERS, id="members"),
        pytest.param(THREADS, id="threads"),
        pytest.param(SECOND_TIME, id="second time"),
    ],
)
def test_names_that_come_late_are_as_those_that_are_there(program: str) -> None:
    """To whoever asks in another way: each in a process of its own, in which nobody has asked before."""
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)


def test_what_comes_late_is_unpickled_where_nobody_has_asked() -> None:
    wanted = [anyq.connect, anyq.AsyncConnection, anyq.Xid, anyq.IsolationLevel.SERIALIZABLE]
    program = f"import pickle; print(*[getattr(it, '__name__', it) for it in pickle.loads({pickle.dumps(wanted)!r})])"
    found = subprocess.check_output([sys.executable, "-c", program], text=True).split()
    assert found[:3] == ["connect", "AsyncConnection", "Xid"] and len(found) == 4


def test_the_version_is_in_one_place() -> None:
    project = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    assert 'dynamic = ["version"]' in project
    assert 'attr = "anyq.__version__"' in project
    assert anyq.__version__ not in project
