"""Settings of transactions: properties that can be assigned, since there is nothing to await."""

from __future__ import annotations

from typing import Any

import pytest

import anyq


def test_settings_are_plain_properties(conn: anyq.Connection) -> None:
    conn.autocommit = True
    assert conn.autocommit
    conn.autocommit = False
    conn.isolation_level = anyq.IsolationLevel.SERIALIZABLE
    conn.read_only = True
    conn.deferrable = True
    row = conn.execute(
        "SELECT current_setting('transaction_isolation'), current_setting('transaction_read_only'),"
        " current_setting('transaction_deferrable')"
    ).fetchone()
    assert row == ("serializable", "on", "on")
    conn.rollback()
    conn.read_only = conn.deferrable = conn.isolation_level = None
    assert (conn.read_only, conn.deferrable, conn.isolation_level) == (None, None, None)


SETTINGS: list[tuple[str, Any]] = [
    ("autocommit", True),
    ("isolation_level", anyq.IsolationLevel.REPEATABLE_READ),
    ("read_only", True),
    ("deferrable", True),
]


@pytest.mark.parametrize(("name", "value"), SETTINGS)
def test_setters_do_the_same(name: str, value: Any, conn: anyq.Connection) -> None:
    getattr(conn, f"set_{name}")(value)
    assert getattr(conn, name) == getattr(conn.async_connection, name) == value


@pytest.mark.parametrize(("name", "value"), SETTINGS)
def test_not_in_a_transaction(name: str, value: Any, conn: anyq.Connection) -> None:
    before = getattr(conn, name)
    conn.execute("SELECT 1")
    with pytest.raises(anyq.ProgrammingError, match="while a transaction is open"):
        setattr(conn, name, value)
    assert getattr(conn, name) == before
