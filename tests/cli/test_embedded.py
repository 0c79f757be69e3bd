"""The throw-away server: it starts, it says why it does not, and it leaves nothing behind."""

from __future__ import annotations

import importlib.util
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from anyq.cli import embedded as _embedded
from anyq.cli.embedded import EmbeddedServer, ServerUnavailable, find_bindir
from tests.support.activity import PATIENCE
from tests.support.server import Server

pytestmark = pytest.mark.once

needs_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root runs the server as another user"
)


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


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="only Linux tells of the end of another's child")
def test_a_server_does_not_outlive_a_killed_process(server: Server) -> None:
    script = (
        "import sys; from anyq.cli.embedded import EmbeddedServer; server = EmbeddedServer().__enter__();"
        "print(server.datadir.parent, server._watchdog.pid, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        workdir, watchdog = program.stdout.readline().split()
        end_of_watchdog = os.pidfd_open(int(watchdog))
        try:
            assert Path(workdir).exists()
            program.kill()
            assert select.select([end_of_watchdog], [], [], PATIENCE)[0]
        finally:
            os.close(end_of_watchdog)
    assert program.returncode == -signal.SIGKILL
    assert not Path(workdir).exists()


def test_a_missing_package_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ServerUnavailable, match=r"pip install 'anyq\[demo\]'"):
        find_bindir()
