"""Both forms of a module that is compiled from its own source can be had in one installation."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

import anyq
from anyq import compiled

PROGRAM = """
import asyncio, inspect, sys
import anyq, anyq.compiled
from anyq import cursor
from anyq.protocol import request
from anyq.session import wire
print(anyq.__impl__, *[module.__file__.rpartition(".")[2] for module in (cursor, request, wire)])
"""


def outcome(implementation: str) -> str:
    environment = os.environ | {"ANYQ_IMPL": implementation}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True)
    return done.stdout.strip() or done.stderr


def test_pure_python_is_had_though_the_other_is_built() -> None:
    assert outcome("python") == "python py py py"


@pytest.mark.skipif(anyq.__impl__ == "python", reason="nothing is built, or chosen")
def test_the_compiled_form_is_had() -> None:
    suffix = EXTENSION_SUFFIXES[0].rpartition(".")[2]
    assert outcome("cython") == outcome("") == f"cython {suffix} {suffix} {suffix}"


def test_anything_else_is_refused() -> None:
    assert "ANYQ_IMPL='pypy' is not known; use 'python', 'cython' or leave it unset" in outcome("pypy")


def test_where_they_lie() -> None:
    finder = compiled.Finder()
    for name in ("anyq.cursor", "anyq.protocol.request"):
        spec = finder.find_spec(name)
        if anyq.__impl__ == "cython":
            assert spec is not None and spec.origin is not None
            folder = Path(compiled.__file__).parent.joinpath(*name.split(".")[1:-1])
            assert Path(spec.origin).parent == folder
    for name in ("anyq", "anyq.protocol", "anyq.errors", "anyq.nothing", "anyqs.cursor", "cursor", "json.decoder"):
        assert finder.find_spec(name) is None


#: Another thread has begun to import a package, and not come to its first line, when a module of it is imported.
BEGUN = """
import importlib.util, sys, threading
import anyq.compiled
begun, go_on = threading.Event(), threading.Event()

class Slow:
    def find_spec(self, name, path, target=None):
        if name != PACKAGE:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        run = spec.loader.exec_module
        def exec_module(module):
            begun.set()
            go_on.wait()
            run(module)
        spec.loader.exec_module = exec_module
        return spec

sys.meta_path.insert(0, Slow())
thread = threading.Thread(target=__import__, args=[PACKAGE])
thread.start()
begun.wait()
try:
    found = importlib.import_module(f"{PACKAGE}.{MODULE}")
    print(found.__file__.rpartition(".")[2])
finally:
    go_on.set()
"""


@pytest.mark.parametrize(
    ("package", "module"), [("statements", "prepared"), ("session", "busy_wait"), ("transport", "socket")]
)
def test_a_package_that_another_thread_has_begun_with(package: str, module: str) -> None:
    program = f"PACKAGE, MODULE = 'anyq.{package}', {module!r}\n{BEGUN}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50)
    wanted = EXTENSION_SUFFIXES[0].rpartition(".")[2] if anyq.__impl__ == "cython" else "py"
    assert (done.stdout.strip(), done.stderr) == (wanted, "")


#: Imports the package as programs do that have it packed into them: its modules have no files.
PACKED = """
import importlib.util, pathlib, sys

class Packed:
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] != "anyq":
            return None
        below = pathlib.Path(FOLDER, *name.split(".")[1:])
        source = below.with_suffix(".py")
        is_package = not source.exists()
        source = below / "__init__.py" if is_package else source
        if not source.exists():
            return None
        spec = importlib.util.spec_from_loader(name, self, is_package=is_package)
        spec.loader_state = source
        return spec

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        source = module.__spec__.loader_state.read_text(encoding="utf-8")
        exec(compile(source, module.__name__, "exec"), vars(module))

sys.meta_path.insert(0, Packed())
import anyq, anyq.compiled
assert not hasattr(anyq, "__file__") and not hasattr(anyq, "nothing")
print(anyq.__impl__, anyq.compiled.Finder().find_spec("anyq.cursor"), anyq.connect.__name__, anyq.pool.__name__)
"""


@pytest.mark.checkout
def test_modules_without_files() -> None:
    program = f"FOLDER = {str(Path(anyq.__file__).parent)!r}\n{PACKED}"
    environment = {name: value for name, value in os.environ.items() if name != "ANYQ_IMPL"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("python None connect anyq.pool", "")


@pytest.mark.checkout
def test_what_has_declarations_has_a_source_and_nothing_compiled_lies_beside_that() -> None:
    """Beside its source it would be imported in its place, whatever is asked for."""
    package = Path(compiled.__file__).parents[1]
    declared = [path for path in package.rglob("*.pxd") if path.parent.name != "_accel"]
    assert declared
    assert all(path.with_suffix(".py").exists() for path in declared)
    beside = [path for path in package.rglob("*.so") if not {"_accel", "compiled"} & set(path.parts)]
    assert beside == []
