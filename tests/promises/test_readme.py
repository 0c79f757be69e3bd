"""The README keeps its promises: two commands of one line each, and an example that runs."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.server import Server

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def section(heading: str) -> str:
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", README, re.MULTILINE | re.DOTALL)
    assert found, f"README.md has no section '## {heading}'"
    return found[1]


def blocks(text: str) -> list[str]:
    return re.findall(r"^```\w*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(("heading", "argument"), [("Try it", "try"), ("Test it", "test")])
def test_a_section_holds_one_command_of_one_line(heading: str, argument: str) -> None:
    (block,) = blocks(section(heading))
    (line,) = block.splitlines()
    python, script, *arguments = shlex.split(line)
    assert python == "python3"
    assert (ROOT / script).is_file()
    assert arguments == [argument]


def test_every_linked_file_is_there() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_example_runs(server: Server, backend: str) -> None:
    example, *_ = blocks(README.partition("## ")[0])
    own = example.replace("dbname=test user=postgres", server.dsn).replace('"trio"', f'"{backend}"')
    assert server.dsn in own
    done = subprocess.run([sys.executable, "-W", "error", "-c", own], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(done.stdout.splitlines()) == ["Mars (2,)", "Neptune (16,)"]
