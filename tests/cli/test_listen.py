"""`anyq listen`: one JSON object a line, gaps included, until Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

import anyq

ROOT = Path(__file__).parents[2]
NAME = "anyq listen test"


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "anyq", "listen", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1", "PGAPPNAME": NAME},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def execute(dsn: str) -> Callable[..., None]:
    """Run one statement on a connection of its own."""

    def run(query: str, *params: object) -> None:
        async def main() -> None:
            async with anyq.AsyncConnection.connect(dsn, autocommit=True) as conn:
                await conn.execute(query.encode(), params)

        anyio.run(main)

    return run


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_listen(dsn: str, execute: Callable[..., None], backend: str) -> None:
    # Names of this test alone: several workers may share a server.
    channel = f"Listen {os.getpid()}"
    program = start(channel, "other", "--dsn", f"{dsn} application_name='{NAME} {os.getpid()}'", "--backend", backend)
    assert program.stdout is not None and program.stderr is not None
    try:
        assert "listening to" in program.stderr.readline()
        execute("SELECT pg_notify(%s, %s)", channel, "straße")
        first = json.loads(program.stdout.readline())
        assert first == {"channel": channel, "payload": "straße", "pid": first["pid"]}
        execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s",
            f"{NAME} {os.getpid()}",
        )
        gap = json.loads(program.stdout.readline())
        assert "administrator command" in gap["gap"]
        assert gap["seconds"] > 0
        execute("SELECT pg_notify(%s, %s)", channel, "again")
        assert json.loads(program.stdout.readline())["payload"] == "again"
        program.send_signal(signal.SIGINT)
        out, err = program.communicate(timeout=20)
    finally:
        program.kill()
        program.wait()
    assert program.returncode == 0, err
    assert out == ""
    assert "Traceback" not in err


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.skipif(sys.platform == "win32", reason="pipes end in another way")
def test_whoever_reads_the_lines_has_enough(dsn: str, execute: Callable[..., None], backend: str) -> None:
    channel = f"Listen enough {os.getpid()}"
    program = start(channel, "--dsn", dsn, "--backend", backend)
    assert program.stdout is not None and program.stderr is not None
    try:
        assert "listening to" in program.stderr.readline()
        program.stdout.close()
        execute("SELECT pg_notify(%s, 'x')", channel)
        assert program.wait(20) == 0
        assert program.stderr.read() == ""
    finally:
        program.kill()
        program.wait()
        program.stderr.close()


def test_no_server() -> None:
    program = start("a", "--dsn", "host=/nonexistent")
    out, err = program.communicate(timeout=20)
    assert program.returncode == 2
    assert out == ""
    assert err.startswith("anyq listen: connection failed for user ")
    assert err.count("\n") == 1


def test_a_name_that_no_channel_can_have(dsn: str) -> None:
    program = start("x" * 64, "--dsn", dsn)
    _, err = program.communicate(timeout=20)
    assert program.returncode == 2
    assert "63 bytes at most" in err
    assert err.count("\n") == 1
