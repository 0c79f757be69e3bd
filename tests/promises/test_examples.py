"""The programs in examples/ run, on both event loops where they are for both."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import anyq

ROOT = Path(__file__).parents[2]
FAN_OUT = ROOT / "examples" / "fan_out.py"
BACKENDS = ("asyncio", "trio")


def start(backend: str, dsn: str, orders: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-u", "-W", "error", FAN_OUT, "--dsn", dsn, "--backend", backend, "--orders", str(orders)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_fan_out(dsn: str, backend: str) -> None:
    program = start(backend, dsn, 20)
    out, err = program.communicate(timeout=30)
    assert program.returncode == 0, err
    # Each order went to one worker, and was worked off.
    assert sorted(map(int, re.findall(r"order (\d+) costs", out))) == list(range(1, 21))
    assert out.count("heard: open for business") == out.count("heard: closing time") == 3
    assert out.endswith("20 orders done, by 3 workers on one connection\n")


@pytest.mark.parametrize("backend", BACKENDS)
def test_fan_out_is_interrupted(dsn: str, backend: str) -> None:
    """Ctrl-C is a graceful end: what was taken is finished, and everybody is told."""
    program = start(backend, dsn, 10**9)
    assert program.stdout is not None
    while "order 5 costs" not in program.stdout.readline():
        pass
    program.send_signal(signal.SIGINT)
    out, err = program.communicate(timeout=30)
    assert program.returncode == 0, err
    assert out.count("heard: closing time") == 3
    assert re.search(r"^\d+ orders done", out, re.MULTILINE)


@pytest.mark.parametrize("backend", BACKENDS)
def test_copy_table(dsn: str, backend: str) -> None:
    with anyq.connect(dsn, autocommit=True) as conn:
        conn.execute("CREATE SCHEMA copied")
        try:
            conn.execute("CREATE TABLE copied.t AS SELECT n, repeat('x', n) AS x FROM generate_series(1, 3000) AS n")
            program = [sys.executable, "-W", "error", str(ROOT / "examples" / "copy_table.py"), dsn, dsn, "copied.t"]
            done = subprocess.run(
                [*program, "--backend", backend],
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                capture_output=True,
                text=True,
                timeout=30,
            )
            assert (done.returncode, done.stdout) == (0, "3000 rows copied\n"), done.stderr
            assert conn.execute("SELECT count(*), count(DISTINCT t) FROM copied.t").fetchone() == (6000, 3000)
        finally:
            conn.execute("DROP SCHEMA copied CASCADE")


def test_transfers(dsn: str) -> None:
    """A program for trio: what is printed was committed, once, and heard of by all."""
    program = [sys.executable, "-W", "error", str(ROOT / "examples" / "transfers.py"), "--dsn", dsn]
    done = subprocess.run(
        [*program, "--clerks", "3", "--transfers", "10"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"^\d from \d to \d$", done.stdout, re.MULTILINE)) == 30
    assert re.search(r"^30 transfers over [1-5] connections, 400 in the bank$", done.stdout, re.MULTILINE)
