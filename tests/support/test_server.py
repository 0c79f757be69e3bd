"""The suite's own server: what the other tests rely on. How it starts and ends is in tests/cli/test_embedded.py."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

import anyq
from anyq.cli.embedded import ServerUnavailable
from tests.support.server import Server, client_program, external_dsn, open_server

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


# -- a server that the caller named


@pytest.fixture
def named(embedded_server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """The embedded server, as if the caller had named it, with a database that somebody needs."""
    embedded_server.psql("CREATE DATABASE precious")
    monkeypatch.setenv("ANYQ_TEST_DSN", f"{embedded_server.dsn} dbname=precious")
    yield embedded_server
    embedded_server.psql("DROP DATABASE precious")


def databases(server: Server) -> set[str]:
    return set(server.psql("SELECT datname FROM pg_database").split())


def test_each_process_has_a_database_of_its_own(named: Server) -> None:
    before = databases(named)
    one, other = open_server(), open_server()
    try:
        names = [server.psql("SELECT current_database()") for server in (one, other)]
        assert databases(named) == before.union(names)
        assert len(set(names)) == 2 and all(name.startswith("anyq_test_") for name in names)
        assert one.psql("SHOW timezone; SHOW lc_messages; SHOW server_encoding").split() == ["UTC", "C", "UTF8"]
        # The driver connects there as psql does.
        with anyq.connect(one.dsn) as conn, anyq.connect(other.dsn, autocommit=True) as elsewhere:
            assert conn.info.dbname == names[0]
            conn.execute("LISTEN channel")
            conn.commit()
            elsewhere.execute("NOTIFY channel")
            assert list(conn.notifies(timeout=0)) == []
    finally:
        one.close()
        other.close()
    assert databases(named) == before


def test_a_database_is_dropped_though_somebody_is_in_it(named: Server) -> None:
    before = databases(named)
    server = open_server()
    with anyq.connect(server.dsn) as conn:
        server.close()
        with pytest.raises(anyq.OperationalError):
            conn.execute("SELECT 1")
    assert databases(named) == before


def test_a_user_without_the_right_to_make_one(embedded_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    before = databases(embedded_server)
    monkeypatch.setenv("ANYQ_TEST_DSN", embedded_server.role_dsn("scram-sha-256"))
    with pytest.raises(ServerUnavailable, match="CREATEDB"):
        open_server()
    assert databases(embedded_server) == before


def test_a_user_who_is_no_superuser(named: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    role = named.roles["scram-sha-256"]
    before = databases(named)
    named.psql(f"ALTER ROLE {role.user} CREATEDB")
    try:
        monkeypatch.setenv("ANYQ_TEST_DSN", named.role_dsn("scram-sha-256"))
        server = open_server()
        assert server.psql("SHOW timezone") == "UTC"
        server.close()
    finally:
        named.psql(f"ALTER ROLE {role.user} NOCREATEDB")
    assert databases(named) == before


def test_a_client_program_that_is_nowhere() -> None:
    with pytest.raises(ServerUnavailable, match="there is no nonesuch"):
        client_program("nonesuch")
