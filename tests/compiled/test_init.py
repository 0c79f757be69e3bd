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
    folder = Path(compiled.__file__).parent
    expected = [] if compiled.WANTED == "python" else [str(folder / "protocol")]
    assert compiled.places("anyq.protocol") == expected


@pytest.mark.checkout
def test_what_has_declarations_has_a_source_and_nothing_compiled_lies_beside_that() -> None:
    """Beside its source it would be imported in its place, whatever is asked for."""
    package = Path(compiled.__file__).parents[1]
    declared = [path for path in package.rglob("*.pxd") if path.parent.name != "_accel"]
    assert declared
    assert all(path.with_suffix(".py").exists() for path in declared)
    beside = [path for path in package.rglob("*.so") if not {"_accel", "compiled"} & set(path.parts)]
    assert beside == []
