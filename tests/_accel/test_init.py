"""Which implementation is chosen, and what is said where it cannot be."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import pytest


def start(implementation: str, code: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "ANYQ_IMPL": implementation}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)


def test_an_implementation_that_nobody_knows_is_named() -> None:
    done = start("fortran", "import anyq._accel")
    assert done.returncode == 1
    assert "ANYQ_IMPL='fortran'" in done.stderr


NOT_BUILT = "import sys; sys.modules['anyq._accel.loading'] = None; import anyq; print(anyq.__impl__)"


def test_without_the_compiled_path_the_pure_one_runs() -> None:
    assert start("", NOT_BUILT).stdout == "python\n"


def test_who_asks_for_what_is_not_built_is_told_how_to_build_it() -> None:
    done = start("cython", NOT_BUILT)
    assert done.returncode == 1
    assert "ANYQ_BUILD=cython" in done.stderr


BUILT = importlib.util.find_spec("anyq._accel.loading") is not None


@pytest.mark.parametrize("implementation", ["python", "cython"] if BUILT else ["python"])
def test_the_implementation_is_told(implementation: str) -> None:
    assert start(implementation, "import anyq; print(anyq.__impl__)").stdout == f"{implementation}\n"
