"""Passwords with the synchronous connection: a function that gives one, and changing it."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator

import anyio.lowlevel
import pytest

import anyq
from anyq.conninfo import HostSpec, make_conninfo
from tests.support.server import Role, Server


@pytest.mark.parametrize("kind", ["sync", "asynchronous"])
def test_a_function(kind: str, portal_backend: object, embedded_server: Server) -> None:
    """Neither kind runs in this thread: that waits for the connection."""
    role = embedded_server.roles["scram-sha-256"]
    asked: list[tuple[HostSpec, int]] = []

    def sync(host: HostSpec) -> str:
        asked.append((host, threading.get_ident()))
        return role.password

    async def asynchronous(host: HostSpec) -> str:
        await anyio.lowlevel.checkpoint()
        return sync(host)

    dsn = f"host=127.0.0.1 port={embedded_server.port} user={role.user} dbname=postgres"
    with anyq.connect(dsn, password=sync if kind == "sync" else asynchronous) as conn:
        assert conn.info.password == ""
    ((host, thread),) = asked
    assert host == HostSpec("127.0.0.1", None, embedded_server.port)
    assert thread != threading.get_ident()


def test_a_function_that_fails(portal_backend: object, embedded_server: Server) -> None:
    def broken(host: HostSpec) -> str:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        anyq.connect(embedded_server.role_dsn("md5"), password=broken)


@pytest.fixture
def role(embedded_server: Server) -> Iterator[Role]:
    made = Role(f"anyq_{secrets.token_hex(4)}", "old")
    embedded_server.psql(f"CREATE ROLE {made.user} LOGIN PASSWORD 'old'")
    yield made
    embedded_server.psql(f"DROP ROLE {made.user}")


def test_change_password(portal_backend: object, role: Role, embedded_server: Server) -> None:
    dsn = make_conninfo(embedded_server.tcp_dsn, user=role.user)
    with anyq.connect(dsn, password="old") as conn:
        conn.change_password(role.user, "new")
    with anyq.connect(dsn, password="new") as conn:
        assert conn.info.password == "new"
    with pytest.raises(anyq.errors.InvalidPassword):
        anyq.connect(dsn, password="old")
