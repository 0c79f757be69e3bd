"""procrastinate, a task queue on asynchronous pools and LISTEN."""

from __future__ import annotations

import pytest

from tests.support.programs import LONG_PATIENCE, run_checks

pytestmark = [pytest.mark.checkout, pytest.mark.timeout(LONG_PATIENCE + 15)]


def test_its_connectors(dsn: str, own_schema: str) -> None:
    """What `programs/procrastinate_checks.py` has."""
    pytest.importorskip("procrastinate", reason="needs procrastinate")
    run_checks("procrastinate_checks", dsn, own_schema)
