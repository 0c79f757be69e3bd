"""A schema for programs that have tables."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from tests.support.server import Server


@pytest.fixture
def own_schema(server: Server) -> Iterator[str]:
    """The name of a new schema, dropped after the test with all its content."""
    name = f"anyq_test_{secrets.token_hex(6)}"
    server.psql(f"CREATE SCHEMA {name}")
    yield name
    server.psql(f"SET client_min_messages = error; DROP SCHEMA {name} CASCADE")
