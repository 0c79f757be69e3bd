"""What psycopg has beside its two classes of connections."""

from __future__ import annotations

from typing import Any

import pytest

import anyq
from anyq.contrib.psycopg.connections import BaseConnection, Capabilities, capabilities
from tests.tools.psycopg_names import names_of_class


def test_both_kinds_are_connections(dsn: str) -> None:
    assert issubclass(anyq.Connection, BaseConnection)
    assert issubclass(anyq.AsyncConnection, BaseConnection)
    assert not issubclass(anyq.Cursor, BaseConnection)
    assert BaseConnection[Any] is not None
    with anyq.connect(dsn) as conn:
        assert isinstance(conn, BaseConnection)
        assert isinstance(conn.async_connection, BaseConnection)


def test_what_can_be_done() -> None:
    found = {name: getattr(capabilities, name)() for name in dir(Capabilities) if name.startswith("has_")}
    assert {name for name, value in found.items() if not value} == {"has_set_trace_flags", "has_used_gssapi"}
    assert all(getattr(capabilities, name)(check=True) for name, value in found.items() if value)
    with pytest.raises(anyq.NotSupportedError, match="anyq, which stands in for psycopg here, has no GSSAPI"):
        capabilities.has_used_gssapi(check=True)


def test_what_may_be_asked(psycopg: Any) -> None:
    names = {name for name in names_of_class(psycopg.Capabilities) if name.startswith("has_")}
    assert {name for name in dir(Capabilities) if name.startswith("has_")} == names
