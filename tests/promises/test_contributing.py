"""CONTRIBUTING.md and RELEASING.md keep their promises: commands that can be run, paths that are there."""

from __future__ import annotations

import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

pytestmark = [pytest.mark.once, pytest.mark.checkout]

ROOT = Path(__file__).parents[2]
PAGES = {name: (ROOT / name).read_text(encoding="utf-8") for name in ("CONTRIBUTING.md", "RELEASING.md")}
CONTRIBUTING = PAGES["CONTRIBUTING.md"]

_BLOCK = re.compile(r"^ *```sh\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_PATH = re.compile(r"`((?:anyq|tests|docs|examples|\.ci)/[\w./]*|[\w]+\.(?:md|toml|py))`")
_NOT_BUILT = "### Not built yet\n"


class Command(NamedTuple):
    page: str
    line: str

    @property
    def words(self) -> list[str]:
        """The program and its arguments, without what is put into the environment before them."""
        words = shlex.split(self.line)
        while re.match(r"\w+=", words[0]):
            words.pop(0)
        return words


COMMANDS = [
    Command(page, line.strip())
    for page, text in PAGES.items()
    for block in _BLOCK.findall(text)
    for line in block.splitlines()
]


def not_built() -> str:
    """The section about what is not there yet."""
    return CONTRIBUTING.partition(_NOT_BUILT)[2].partition("\n## ")[0]


def paths(text: str) -> set[str]:
    return set(_PATH.findall(text))


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: f"{command.page}: {command.line}")
def test_a_command_can_be_run(command: Command) -> None:
    program, *arguments = command.words
    if program == ".":
        assert re.fullmatch(r"\.venv/cpython-3\.\d+/bin/activate", arguments[0])
    elif program in ("python", "python3"):
        runs_module, *_ = arguments
        if runs_module == "-m":
            assert importlib.util.find_spec(arguments[1]) is not None
        else:
            assert (ROOT / runs_module).is_file()
    else:
        assert shutil.which(program, path=str(Path(sys.executable).parent)), f"{program} is not in the environment"


def test_the_tests_that_are_shown_are_there() -> None:
    shown = [command.words[3:] for command in COMMANDS if command.words[1:3] == ["-m", "pytest"]]
    assert len(shown) > 3
    chosen = {word for words in shown for word in words if word.startswith("tests/")}
    assert all((ROOT / word.partition("::")[0]).exists() for word in chosen)
    # Collecting all the others as well would take seconds.
    named = sorted(word for word in chosen if "::" in word)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", *named],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", PAGES)
def test_paths_are_there(page: str) -> None:
    text = PAGES[page].replace(not_built(), "")
    assert {path for path in paths(text) if not (ROOT / path).exists()} == set()


def test_what_is_not_built_yet_is_not_there() -> None:
    """Whoever builds one of them moves its line into the other table."""
    inside = {path for path in paths(not_built()) if re.search(r"\.py$|/\w+/$", path)}
    folders = {"anyq/protocol/", "anyq/session/", "anyq/statements/"}
    assert {path for path in inside - folders if (ROOT / path).exists()} == set()
    assert inside


def test_every_folder_has_its_place() -> None:
    named = {path.split("/")[1] for path in paths(CONTRIBUTING.replace(not_built(), "")) if path.startswith("anyq/")}
    folders = {path.parent.name for path in (ROOT / "anyq").glob("*/__init__.py")}
    assert folders - named == set()


def test_ways_that_the_release_script_has_are_told() -> None:
    script = (ROOT / "tests" / "tools" / "release.py").read_text(encoding="utf-8")
    for option in re.findall(r"`(--[\w-]+)", PAGES["RELEASING.md"]):
        assert f'"{option}"' in script or option == "--no-binary", option
