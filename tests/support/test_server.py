"""The suite's own server: what the other tests rely on. How it starts and ends is in tests/cli/test_embedded.py."""

from __future__ import annotations

import socket

import pytest

from tests.support.server import Server, external_dsn

pytestmark = pytest.mark.once


def test_answers(server: Server) -> None:
    assert server.psql("SELECT 1 + 1") == "2"


def test_roles_use_their_authentication_method(embedded_server: Server) -> None:
    stored = embedded_server.psql("SELECT rolname, left(rolpassword, 3) FROM pg_authid WHERE rolcanlogin")
    prefixes = dict(line.split("|") for line in stored.splitlines())
    assert prefixes[embedded_server.roles["md5"].user] == "md5"
    assert prefixes[embedded_server.roles["scram-sha-256"].user] == "SCR"
    stored = embedded_server.psql("SELECT user_name[1], auth_method FROM pg_hba_file_rules ORDER BY line_number")
    rules = [tuple(line.split("|")) for line in stored.splitlines()]
    expected = [(role.user, method) for method, role in embedded_server.roles.items()]
    assert rules[: len(expected)] == expected


def test_a_restart_keeps_socket_and_port(embedded_server: Server) -> None:
    port, dsn = embedded_server.port, embedded_server.dsn
    try:
        embedded_server.stop()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port)).close()
    finally:
        embedded_server.start()
    assert (embedded_server.port, embedded_server.dsn) == (port, dsn)
    assert embedded_server.psql("SELECT 1") == "1"


def test_no_external_server_unless_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ANYQ_TEST_DSN", "PGHOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PGDATABASE", "precious")
    assert external_dsn() is None
    monkeypatch.setenv("PGHOST", "it's here")
    monkeypatch.delenv("PGPORT", raising=False)
    monkeypatch.delenv("PGUSER", raising=False)
    assert external_dsn() == r"host='it\'s here' dbname='precious'"
    monkeypatch.setenv("ANYQ_TEST_DSN", "dbname=test")
    assert external_dsn() == "dbname=test"
