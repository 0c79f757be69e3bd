"""Every public name of psycopg's is here, or docs/migrating.md says why it is not; and what it says is so."""

from __future__ import annotations

import importlib
import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from tests.tools import psycopg_names

pytestmark = [pytest.mark.once, pytest.mark.checkout]

PAGE = Path(__file__).parents[2] / "docs" / "migrating.md"
STORED = psycopg_names.stored()


def missing() -> set[str]:
    """Return the names of psycopg's that anyq has not; of a module or class that is not there, only its own."""
    found: set[str] = set()
    for owner, names in STORED.items():
        if owner == "version":
            continue
        if owner in psycopg_names.CLASSES:
            cls: Any = psycopg_names.find("anyq", owner)
            if cls is not None:
                found |= {f"{owner}.{name}" for name in set(names) - psycopg_names.names_of_class(cls)}
            continue
        try:
            module = importlib.import_module(f"anyq.{owner}" if owner else "anyq")
        except ImportError:
            found.add(owner)
        else:
            found |= {f"{owner}.{name}".lstrip(".") for name in names if not hasattr(module, name)}
    return found


def listed() -> list[str]:
    """Return the names, and patterns of names, that the page lists as not here."""
    section = PAGE.read_text("utf-8").split("### Names that are not here\n")[1].split("\n#")[0]
    cells = re.findall(r"^\| (.*?) \| .* \|$", section, re.MULTILINE)[1:]
    return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


def test_a_name_that_is_not_here_is_listed() -> None:
    patterns = listed()
    assert not sorted(name for name in missing() if not any(fnmatchcase(name, pattern) for pattern in patterns))


def test_a_name_that_is_listed_is_not_here() -> None:
    names = missing()
    assert not [pattern for pattern in listed() if not any(fnmatchcase(name, pattern) for name in names)]


def test_the_names_that_are_written_down_are_psycopgs(psycopg: Any) -> None:
    if psycopg.__version__ != STORED["version"][0]:
        pytest.skip(f"they are those of psycopg {STORED['version'][0]}")
    here = psycopg_names.read()
    # Its module for shapely cannot be read where that is not installed.
    assert here == {owner: names for owner, names in STORED.items() if owner in here or owner != "types.shapely"}


def test_the_names_of_a_class() -> None:
    assert {"cursor", "info", "row_factory", "tpc_begin"} <= set(STORED["AsyncConnection"])
    assert {"savepoint_name", "connection", "status"} <= set(STORED["Transaction"])
    assert {"SQL", "NULL", "quote"} <= set(STORED["sql"])
    assert "ConnStatus" in STORED["pq"]
    assert "PGconn" not in STORED["pq"]
