"""Nothing on the way to a connection blocks the event loop."""

from __future__ import annotations

import os
import pwd
import socket
import sys
import threading
from pathlib import Path

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest

import anyq
from anyq import errors as e
from anyq.conninfo import strings
from tests.support.blocking import calls_that_block
from tests.support.server import Server

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform == "win32", reason="knows the functions of Unix"),
]


PATIENCE = 20.0


@pytest.fixture
async def warm_threads(dsn: str) -> None:
    """Have everything imported, and worker threads started, that is the first time."""
    async with anyq.AsyncConnection.connect(dsn):
        pass
    await anyio.getaddrinfo("localhost", 1)


def look_up(path: Path) -> None:
    pwd.getpwuid(os.geteuid())
    path.exists()
    path.read_text()
    socket.getaddrinfo("localhost", 1)
    socket.getaddrinfo("127.0.0.1", 1)


async def test_the_watch_sees_what_it_should(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("")
    with calls_that_block() as found:
        look_up(path)
    names = {call.partition("()")[0] for call in found}
    assert {"pwd.getpwuid", "posix.stat", "_socket.getaddrinfo"} < names
    assert names & {"_io.open", "io.open"}
    with calls_that_block() as found:
        socket.getaddrinfo("127.0.0.1", 1, flags=socket.AI_NUMERICHOST)
        await anyio.to_thread.run_sync(look_up, path)
    assert found == [], found[0]


async def test_options_from_files(embedded_server: Server, tmp_path: Path, warm_threads: None) -> None:
    """A service file and a password file, a name to look up."""
    role = embedded_server.roles["scram-sha-256"]
    services, passwords = tmp_path / "services", tmp_path / "passwords"
    services.write_text(f"[x]\nhost=localhost\nport={embedded_server.port}\nuser={role.user}\ndbname=postgres\n")
    passwords.write_text(f"*:*:*:*:{role.password}\n")
    passwords.chmod(0o600)
    with calls_that_block() as found:
        async with anyq.AsyncConnection.connect(
            "service=x", servicefile=str(services), passfile=str(passwords), load_balance_hosts="random"
        ):
            pass
    assert found == [], found[0]


async def test_defaults(
    embedded_server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, warm_threads: None
) -> None:
    """No user, no host, no home: the user database and the socket directories are asked."""
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("PGPASSFILE", raising=False)
    with calls_that_block() as found, pytest.raises(e.OperationalError):
        await anyq.AsyncConnection.connect(f"port={embedded_server.port} dbname=no-such-database connect_timeout=5")
    assert found == [], found[0]


async def test_sockets(embedded_server: Server, warm_threads: None) -> None:
    """With the look-up of who is at the other end, and a request to cancel."""
    user = pwd.getpwuid(embedded_server.datadir.stat().st_uid).pw_name
    with calls_that_block() as found:
        async with anyq.AsyncConnection.connect(
            embedded_server.dsn, requirepeer=user, target_session_attrs="primary"
        ) as conn:
            await conn.cancel_safe()
    assert found == [], found[0]


async def test_hosts_that_are_not_there(tmp_path: Path, warm_threads: None) -> None:
    hosts = f"localhost,127.0.0.1,{tmp_path}"
    with calls_that_block() as found, pytest.raises(e.OperationalError):
        await anyq.AsyncConnection.connect(f"host={hosts} port=1 user=u")
    assert found == [], found[0]


async def test_files_that_hang(dsn: str, monkeypatch: pytest.MonkeyPatch, warm_threads: None) -> None:
    """They are read for nobody after a cancellation."""
    reading, enough = anyio.Event(), threading.Event()

    def parse(text: str) -> dict[str, str]:
        anyio.from_thread.run_sync(reading.set)
        enough.wait(PATIENCE)
        return {}

    monkeypatch.setattr(strings, "parse_conninfo", parse)
    try:
        with anyio.fail_after(PATIENCE / 2):
            async with anyio.create_task_group() as group:
                group.start_soon(connect, dsn)
                await reading.wait()
                group.cancel_scope.cancel()
    finally:
        enough.set()


async def connect(dsn: str) -> None:
    await anyq.AsyncConnection.connect(dsn)
