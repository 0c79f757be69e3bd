"""Fixtures of the tests of SQLAlchemy's dialects: without SQLAlchemy they are skipped."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest

_HAS_UVLOOP = importlib.util.find_spec("uvloop") is not None


@pytest.fixture(
    params=[
        "sync",
        "asyncio",
        pytest.param("uvloop", marks=pytest.mark.skipif(not _HAS_UVLOOP, reason="there is no uvloop")),
    ]
)
def run(request: pytest.FixtureRequest, dsn: str) -> Any:
    """What runs a function that is given an engine: on a synchronous one, and in a greenlet of an asynchronous one."""
    pytest.importorskip("sqlalchemy")
    from tests.support.engines import Runner

    return Runner(request.param, dsn)
