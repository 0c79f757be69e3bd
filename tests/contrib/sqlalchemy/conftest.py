"""Fixtures of the tests of SQLAlchemy's dialects: without SQLAlchemy they are skipped."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest

if importlib.util.find_spec("sqlalchemy") is None:
    collect_ignore_glob = ["test_*.py"]


# What differs between asyncio's own loops and uvloop is below what a dialect is made of.
@pytest.fixture(params=["sync", "asyncio"])
def run(request: pytest.FixtureRequest, dsn: str) -> Any:
    """What runs a function that is given an engine: on a synchronous one, and in a greenlet of an asynchronous one."""
    pytest.importorskip("sqlalchemy")
    from tests.support.engines import Runner

    return Runner(request.param, dsn)
