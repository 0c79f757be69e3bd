"""Programs in interpreters of their own, with anyq in the place of psycopg."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

#: Seconds that a program may take; less than a test may, so that it is ended with what it has said.
PATIENCE = 55

#: Seconds that a program of many tests may take, on a machine that is busy. What runs one is marked `timeout`.
LONG_PATIENCE = 150

#: Warnings are errors, but for what packages of others tell each other.
WARNINGS = ("error", "default::DeprecationWarning", "default::PendingDeprecationWarning")


def run_python(*arguments: str, patience: float = PATIENCE, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the interpreter with warnings as errors; `env` is added to the environment."""
    options = [option for warning in WARNINGS for option in ("-W", warning)]
    path = os.pathsep.join([str(ROOT), *([env.pop("PYTHONPATH")] if "PYTHONPATH" in env else [])])
    return subprocess.run(
        [sys.executable, *options, *arguments],
        capture_output=True,
        text=True,
        timeout=patience,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path, **env},
    )


def run_for_psycopg(*arguments: str, patience: float = PATIENCE, **env: str) -> str:
    """Run a program by ``python -m anyq.contrib.psycopg``; return what it printed. It has to succeed."""
    done = run_python("-m", "anyq.contrib.psycopg", *arguments, patience=patience, **env)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def run_checks(name: str, dsn: str, schema: str, **env: str) -> None:
    """Run the tests of a file in `tests/programs`, which are for a process of their own, with anyq in psycopg's place.

    :param schema: an empty one, which is the program's.
    """
    path = ROOT / "tests" / "programs" / f"{name}.py"
    options = [option for warning in WARNINGS for option in ("-W", warning)]
    output = run_for_psycopg(
        *("-m", "pytest", "--quiet", "--noconftest", "-p", "no:cacheprovider", "-c", os.devnull),
        *("--rootdir", str(ROOT), *options, str(path)),
        patience=LONG_PATIENCE,
        ANYQ_PROGRAM_DSN=dsn,
        ANYQ_PROGRAM_SCHEMA=schema,
        PYTEST_DISABLE_PLUGIN_AUTOLOAD="1",
        # That of the test that this is a part of.
        PYTEST_ADDOPTS="",
        **env,
    )
    assert " passed" in output
