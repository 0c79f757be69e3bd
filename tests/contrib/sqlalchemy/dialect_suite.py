"""SQLAlchemy's suite of tests for dialects, for its own plugin to collect; test_suite.py runs it."""

from __future__ import annotations

from typing import Any

# The tests are found by their names in this module.
from sqlalchemy.testing.suite import *  # noqa: F403
from sqlalchemy.testing.suite import ServerSideCursorsTest as _ServerSideCursorsTest


class ServerSideCursorsTest(_ServerSideCursorsTest):
    """What a server-side cursor is, SQLAlchemy's tests know of its own drivers only."""

    def _is_server_side(self, cursor: Any) -> bool:
        return bool(getattr(cursor, "name", ""))
