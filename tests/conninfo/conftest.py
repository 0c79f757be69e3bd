"""What the tests of connection strings share."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture(scope="module")
def libpq_18(psycopg: Any) -> Any:
    """The keywords and the grammar are those of PostgreSQL 18's libpq."""
    if psycopg.pq.version() // 10000 != 18:
        pytest.skip("libpq is not that of PostgreSQL 18")
    return psycopg
