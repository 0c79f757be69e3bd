"""Programs run as the interpreter runs them, with anyq in psycopg's place."""

from __future__ import annotations

import subprocess
import zipfile
from pathlib import Path

import pytest

from anyq.contrib.psycopg.running import USAGE, main
from tests.support.programs import run_for_psycopg, run_python

pytestmark = pytest.mark.checkout

PROGRAM = """\
import sys, pickle, psycopg, psycopg_pool
class Thing: pass
print(psycopg.Connection.__module__, __name__, sys.argv[1:], __file__ == sys.argv[0])
assert type(pickle.loads(pickle.dumps(Thing()))) is Thing is sys.modules["__main__"].Thing
"""
OUTPUT = "anyq.sync.connection __main__ ['a', '-b', '--help'] True\n"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return run_python("-m", "anyq.contrib.psycopg", *arguments)


def test_a_script(tmp_path: Path) -> None:
    """Modules beside it are found."""
    script = tmp_path / "script.py"
    script.write_text(f"import beside\n{PROGRAM}")
    (tmp_path / "beside.py").write_text("from psycopg import AsyncConnection")
    assert run_for_psycopg(str(script), "a", "-b", "--help") == OUTPUT


def test_a_script_in_another_encoding(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_bytes("# coding: latin-1\nprint(ascii('ä'))".encode("latin-1"))
    assert run_for_psycopg(str(script)) == "'\\xe4'\n"


@pytest.mark.parametrize("archived", [False, True])
def test_a_folder_and_an_archive(tmp_path: Path, archived: bool) -> None:
    (tmp_path / "__main__.py").write_text(
        "import sys, psycopg, beside\nprint(psycopg.Connection.__module__, sys.argv[1:])"
    )
    (tmp_path / "beside.py").touch()
    path = tmp_path
    if archived:
        path = tmp_path / "program.pyz"
        with zipfile.ZipFile(path, "w") as archive:
            for name in ("__main__.py", "beside.py"):
                archive.write(tmp_path / name, name)
    assert run_for_psycopg(str(path), "a") == "anyq.sync.connection ['a']\n"


def test_a_module(tmp_path: Path) -> None:
    package = tmp_path / "package_of_the_test"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(PROGRAM)
    output = run_for_psycopg("-m", package.name, "a", "-b", "--help", PYTHONPATH=str(tmp_path))
    assert output == OUTPUT


def test_a_command() -> None:
    output = run_for_psycopg("-c", "import sys, psycopg\nprint(__name__, sys.argv, psycopg.__version__ > '3')", "-x")
    assert output == "__main__ ['-c', '-x'] True\n"


def test_the_exit_code_is_the_program_s() -> None:
    assert run("-c", "raise SystemExit(3)").returncode == 3


def test_a_traceback_shows_the_program(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("def fail():\n    raise LookupError('where')\nfail()")
    done = run(str(script))
    error = done.stderr
    assert done.returncode == 1
    assert f'File "{script}", line 2, in fail' in error
    assert "raise LookupError('where')" in error


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ([], "there is nothing to run"),
        (["-m"], "-m needs an argument"),
        (["-c"], "-c needs an argument"),
        (["-x", "script.py"], "there is no option -x"),
    ],
)
def test_what_cannot_be_run(arguments: list[str], why: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    output, error = capsys.readouterr()
    assert output == ""
    assert error == f"{why}\n{USAGE}\n"


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert capsys.readouterr() == (f"{USAGE}\n", "")


def test_a_script_that_is_not_there(tmp_path: Path) -> None:
    done = run(str(tmp_path / "nothing.py"))
    assert done.returncode == 1
    assert "FileNotFoundError" in done.stderr
