"""Which server `tests/bootstrap.py` is told to test on."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import bootstrap as untyped

bootstrap: Any = untyped
pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    ("given", "server", "left"),
    [
        (["-x", "tests"], None, ["-x", "tests"]),
        (["-x", "--server", "14", "tests"], "14", ["-x", "tests"]),
        (["--server=/some/bin"], "/some/bin", []),
    ],
)
def test_the_option(given: list[str], server: str | None, left: list[str]) -> None:
    assert bootstrap.take_server(given) == server
    assert given == left


def test_an_option_without_a_value() -> None:
    with pytest.raises(SystemExit, match="needs a major version"):
        bootstrap.take_server(["--server"])


def test_a_folder_of_programs(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no PostgreSQL in"):
        bootstrap.find_server(sys.executable, str(tmp_path))
    (tmp_path / "postgres").touch()
    assert bootstrap.find_server(sys.executable, os.path.relpath(tmp_path)) == str(tmp_path)


@pytest.mark.checkout
def test_a_version_that_there_is_not(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="no PostgreSQL 7 to test on"):
        bootstrap.find_server(sys.executable, "7")
    assert "14 to 18" in capfd.readouterr().err
