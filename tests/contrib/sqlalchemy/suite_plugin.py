"""The plugin for pytest that SQLAlchemy's suite of tests runs with: its own, with what our servers need besides.

Not for this project's tests: they run the suite in a process of its own.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import text

# The hooks are found by their names in this module.
from sqlalchemy.testing.plugin.pytestplugin import *  # noqa: F403
from sqlalchemy.testing.provision import post_configure_engine

# Imported first, as it registers what is replaced here.
import sqlalchemy.dialects.postgresql.provision  # noqa: F401  # isort: skip


def make_extensions(url: Any, engine: Any, follower_ident: Any) -> None:
    """Make the extensions that tests are about, where the server has them. SQLAlchemy's own supposes that it has."""
    with engine.connect() as conn:
        for name in ("citext", "hstore"):
            there = text("SELECT count(*) FROM pg_available_extensions WHERE name = :name")
            if conn.scalar(there, {"name": name}):
                conn.execute(text(f"CREATE EXTENSION IF NOT EXISTS {name}"))
                conn.commit()


post_configure_engine.for_db("postgresql")(make_extensions)
