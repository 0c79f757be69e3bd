"""SQLAlchemy, on the dialect that it has for psycopg."""

from __future__ import annotations

import pytest

from tests.support.programs import LONG_PATIENCE, run_checks

pytestmark = [pytest.mark.checkout, pytest.mark.timeout(LONG_PATIENCE + 15)]


def test_its_dialect(dsn: str, own_schema: str) -> None:
    """What `programs/sqlalchemy_checks.py` has."""
    pytest.importorskip("sqlalchemy", reason="needs SQLAlchemy")
    pytest.importorskip("greenlet", reason="needs greenlet, for SQLAlchemy's asynchronous engines")
    run_checks("sqlalchemy_checks", dsn, own_schema)
