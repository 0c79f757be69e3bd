"""The command line: arguments, exit codes, and what is imported for what."""

from __future__ import annotations

import subprocess
import sys

import pytest

import anyq
from anyq.__main__ import main
from anyq.cli import demo, doctor, listen


def imported_by(*arguments: str) -> set[str]:
    """Return the modules that `python -m anyq` imports."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "anyq", *arguments], capture_output=True, text=True, check=True
    )
    return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}


@pytest.mark.parametrize(
    "arguments", [[], ["dance"], ["listen"], ["listen", "a", "--backend", "curio"], ["doctor", "a", "b"]]
)
def test_bad_arguments(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: anyq" in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"anyq {anyq.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        (["demo"], {"dsn": None}),
        (["demo", "--dsn", "dbname=x"], {"dsn": "dbname=x"}),
        (["doctor"], {"dsn": "", "as_json": False, "backend": "asyncio"}),
        (["doctor", "dbname=x", "--json", "--backend=trio"], {"dsn": "dbname=x", "as_json": True, "backend": "trio"}),
        (["listen", "a", "B"], {"channels": ["a", "B"], "dsn": "", "backend": "asyncio"}),
        (["listen", "a", "--dsn=x", "--backend=trio"], {"channels": ["a"], "dsn": "x", "backend": "trio"}),
    ],
)
def test_a_command_is_given_its_arguments(
    arguments: list[str], given: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[object] = []

    def run(**values: object) -> int:
        seen.append(values)
        return 7

    command = {"demo": demo, "doctor": doctor, "listen": listen}[arguments[0]]
    monkeypatch.setattr(command, "main", run)
    assert main(arguments) == 7
    assert seen == [given]


@pytest.mark.parametrize(
    "arguments", [["--version"], ["--help"], ["demo", "--help"], ["doctor", "--help"], ["listen", "--help"]]
)
def test_what_a_command_needs_is_imported_when_it_runs(arguments: list[str]) -> None:
    found = imported_by(*arguments)
    assert "anyq" in found
    assert not {name for name in found if name.startswith("anyq.cli")}
