"""The types that a user's type checker sees.

The programs in tests/typing say themselves what they expect: `assert_type` for what a thing is, a `type: ignore` for
what must not pass. That is an error in turn where it is not needed.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

import anyq

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[2]
PROGRAMS = sorted(path for path in (ROOT / "tests" / "typing").glob("*.py") if path.name != "__init__.py")


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *arguments], capture_output=True, text=True, cwd=ROOT)


@pytest.mark.skipif(importlib.util.find_spec("mypy") is None, reason="mypy is not installed")
@pytest.mark.timeout(300)
def test_programs_of_users_by_mypy() -> None:
    assert PROGRAMS
    # What is wrong in the package itself is found elsewhere.
    done = run("mypy", "--strict", "--follow-imports=silent", *PROGRAMS)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(importlib.util.find_spec("pyright") is None, reason="pyright is not installed")
@pytest.mark.timeout(300)
def test_programs_of_users_by_pyright() -> None:
    if run("pyright", "--version").returncode != 0:
        pytest.skip("pyright does not run: it may not have found a Node.js")
    done = run("pyright", "--pythonpath", sys.executable, *PROGRAMS)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_package_says_that_it_is_typed() -> None:
    assert Path(anyq.__file__).with_name("py.typed").is_file()
