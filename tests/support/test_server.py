"""The suite's own server: what the other tests rely on."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from anyq.cli import embedded as _embedded
from anyq.cli.embedded import EmbeddedServer, ServerUnavailable, find_bindir
from tests.support.server import Server, external_dsn

pytestmark = pytest.mark.once

needs_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root runs the server as another user"
)


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


def test_closing_leaves_nothing_behind(server: Server) -> None:
    with EmbeddedServer() as embedded:
        workdir = embedded.datadir.parent
        assert (embedded.datadir / "postmaster.pid").exists()
    assert not workdir.exists()


def test_a_server_that_does_not_start_shows_its_log(server: Server) -> None:
    embedded = EmbeddedServer(settings={"shared_buffers": "nonsense"})
    workdir = embedded.datadir.parent
    with pytest.raises(ServerUnavailable, match="shared_buffers"):
        embedded.__enter__()
    assert not workdir.exists()


@needs_root
def test_root_runs_a_copy_of_an_installation_of_its_own(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    package = find_bindir().parent.parent
    tmp_path.chmod(0o700)
    for path in (package, package.with_name(f"{package.name}.libs")):
        (tmp_path / path.name).symlink_to(path)
    bindir = tmp_path / find_bindir().relative_to(package.parent)
    monkeypatch.setattr(_embedded, "find_bindir", lambda major: bindir)
    with EmbeddedServer() as embedded:
        assert embedded.bindir.is_relative_to(embedded.datadir.parent)


@pytest.mark.skipif(sys.platform == "win32", reason="the watchdog is a shell script")
def test_a_server_does_not_outlive_a_killed_process(server: Server) -> None:
    script = (
        "import os, signal; from anyq.cli.embedded import EmbeddedServer; server = EmbeddedServer().__enter__();"
        "print(server.datadir.parent, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    workdir = Path(done.stdout.strip())
    deadline = time.monotonic() + 30
    # It is not our child, so there is nothing to wait for but its disappearance.
    while workdir.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not workdir.exists()


def test_a_missing_package_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_embedded.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ServerUnavailable, match=r"pip install 'anyq\[demo\]'"):
        find_bindir()


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
