"""pgvector's package for Python: its adapter for psycopg."""

from __future__ import annotations

import pytest

from tests.support.programs import LONG_PATIENCE, run_checks
from tests.support.server import Server

pytestmark = [pytest.mark.checkout, pytest.mark.timeout(LONG_PATIENCE + 15)]


def test_its_adapter(server: Server, own_schema: str) -> None:
    """What `programs/pgvector_checks.py` has."""
    pytest.importorskip("pgvector", reason="needs the package pgvector")
    pytest.importorskip("numpy", reason="needs numpy")
    if not server.psql("SELECT 1 FROM pg_available_extensions WHERE name = 'vector' AND pg_has_role(10, 'usage')"):
        pytest.skip("needs the extension pgvector on the server, and a superuser")
    run_checks("pgvector_checks", server.dsn, own_schema)
