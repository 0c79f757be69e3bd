"""What psycopg's modules have, and where it is."""

from __future__ import annotations

import pkgutil
from typing import Any

import pytest

from anyq.contrib.psycopg.modules import MADE, PSYCOPG_VERSION, REASONS, SAME, children, origin
from tests.tools import psycopg_names

STORED = psycopg_names.stored()

pytestmark = pytest.mark.checkout


def test_every_public_name_of_psycopg_s_own_is_there() -> None:
    """What modules have that are anyq's by another name, is compared by tests/promises/test_psycopg_names.py."""
    assert set(STORED[""]) <= set(MADE["psycopg"])


def test_the_version_is_the_one_that_names_were_compared_with() -> None:
    assert STORED["version"] == [PSYCOPG_VERSION]


def test_every_public_module_of_psycopg_s(psycopg: Any) -> None:
    """They are here, or it is said why not."""
    missing = set()
    for module in pkgutil.walk_packages(psycopg.__path__, "psycopg."):
        if not any(part.startswith("_") for part in module.name.split(".")) and not module.name.startswith(
            "psycopg.pq."
        ):
            try:
                origin(module.name)
            except ModuleNotFoundError:
                missing.add(module.name)
    assert {name for name in missing if not name.startswith("psycopg.crdb.")} == set(REASONS)


def test_where_they_are() -> None:
    assert origin("psycopg") is None
    assert origin("psycopg.rows") == "anyq.rows"
    assert origin("psycopg.types.json") == "anyq.types.json"
    assert set(children("psycopg")) == {name for name in MADE if name.startswith("psycopg.")} | {
        f"psycopg.{name}" for name in SAME
    }
    assert "psycopg_pool.pool" in children("psycopg_pool")
    for name in (
        "psycopg.types.",
        "psycopg.types._inside",
        "psycopg.types.json.more",
        "psycopg.rows.more",
        "psycopg_pool.rows",
    ):
        with pytest.raises(ModuleNotFoundError) as caught:
            origin(name)
        assert caught.value.name == name
