"""The programs in examples/ run, on both event loops where they are for both."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

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


# --- programs that run until they are interrupted


@contextmanager
def running(program: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run an example in a process of its own; what it prints comes in one stream."""
    with subprocess.Popen(
        [sys.executable, "-u", ROOT / "examples" / program, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def read_until(process: subprocess.Popen[str], pattern: str) -> re.Match[str]:
    """Read lines until one matches; return the match."""
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line)
        if found := re.search(pattern, line):
            return found
    raise AssertionError(f"{pattern} was not printed: {lines}")


def interrupt(process: subprocess.Popen[str]) -> str:
    """Interrupt a program, which has to end well; return what it has printed since."""
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0, out
    assert "Traceback" not in out
    return out


@pytest.fixture
def database(dsn: str) -> Iterator[str]:
    """A place for the tables of a program."""
    schema = f"example_{secrets.token_hex(6)}"
    with anyq.connect(dsn, autocommit=True) as conn:
        conn.execute(f"CREATE SCHEMA {schema}".encode())
        yield f"{dsn} options='-c search_path={schema}'"
        conn.execute(f"DROP SCHEMA {schema} CASCADE".encode())


PLANETS = [{"name": "Mars", "moons": 2}, {"name": "Neptune", "moons": 16}]


def ask(url: str, body: object = None) -> object:
    data = None if body is None else json.dumps(body).encode()
    with urlopen(Request(url, data, {"Content-Type": "application/json"}), timeout=30) as reply:
        answer: object = json.load(reply)
        return answer


def need(*packages: str) -> None:
    for package in packages:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")


def test_work_queue(dsn: str) -> None:
    """Each job is done once; the one that always fails is put aside, and the program ends with the last one."""
    with running("work_queue.py", "--dsn", dsn, "--jobs", "20", "--workers", "3") as program:
        out, _ = program.communicate(timeout=30)
    assert program.returncode == 0, out
    done = dict(re.findall(r"job (\d+) gives (\d+)", out))
    assert {int(number): int(square) for number, square in done.items()} == {
        number: number**2 for number in range(1, 21) if number not in (7, 17)
    }
    assert len(re.findall(r"gives", out)) == 18
    assert out.count("I cannot do 7") == out.count("I cannot do 17") == 3
    assert out.endswith("18 of 20 jobs done\n")


def test_work_queue_is_interrupted(dsn: str) -> None:
    """What was taken is finished: as many jobs are done as it has told of, and no table is left."""
    with running("work_queue.py", "--dsn", dsn, "--jobs", "1000000") as program:
        read_until(program, "job 5 gives 25")
        out = interrupt(program)
    found = int(re.findall(r"^(\d+) of \d+ jobs done$", out, re.MULTILINE)[0])
    assert found >= 5
    with anyq.connect(dsn) as conn:
        assert conn.execute("SELECT to_regnamespace('queue')").fetchone() == (None,)


@pytest.mark.once
@pytest.mark.parametrize("backend", BACKENDS)
def test_web_events(database: str, backend: str) -> None:
    need("fastapi", "hypercorn")
    with running("web_events.py", "--dsn", database, "--backend", backend, "--port", "0") as program:
        url = read_until(program, r"Running on (http://\S+)")[1]
        with urlopen(f"{url}/events", timeout=30) as first, urlopen(f"{url}/events", timeout=30) as second:
            assert first.headers["content-type"].startswith("text/event-stream")
            for stream in (first, second):
                assert stream.readline() == b": listening\n"
            for planet in PLANETS:
                assert ask(f"{url}/planets", planet) == planet
            assert ask(f"{url}/planets") == PLANETS
            for stream in (first, second):
                events = [stream.readline().decode().strip() for _ in range(7)]
                assert [json.loads(line[5:]) for line in events if line.startswith("data:")] == PLANETS
                assert events.count("event: planet") == 2
            with pytest.raises(HTTPError, match="409"):
                ask(f"{url}/planets", PLANETS[0])
            second.close()
            out = interrupt(program)
            # The stream has come to its end, as any other response does.
            assert first.read() == b""
    assert out.endswith("closed\n")


@pytest.mark.once
def test_flask_threads(database: str) -> None:
    need("flask")
    with running("flask_threads.py", "--dsn", database, "--port", "0") as program:
        url = read_until(program, r"^(http://\S+)/planets$")[1]
        planets = [{"name": f"planet {number:02}", "moons": number} for number in range(20)]
        threads = [threading.Thread(target=ask, args=(f"{url}/planets", planet)) for planet in planets]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert ask(f"{url}/planets") == planets
        assert ask(f"{url}/moons") == [sum(range(20))]
        with pytest.raises(HTTPError, match="409"):
            ask(f"{url}/planets", planets[0])
        assert interrupt(program).endswith("closed\n")


@pytest.mark.once
def test_pytest_fixtures(dsn: str) -> None:
    program = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "examples/pytest_fixtures",
    ]
    # Such as the server of this suite's workers, which the example's tests are not to know of.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        program, cwd=ROOT, env={**environ, "DATABASE_URL": dsn}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "7 passed" in done.stdout
    with anyq.connect(dsn) as conn:
        assert conn.execute("SELECT to_regnamespace('shop')").fetchone() == (None,)


@pytest.mark.checkout
def test_every_example_is_in_the_index() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    for path in (ROOT / "examples").iterdir():
        if path.name != "__pycache__":
            assert f"](../examples/{path.name}" in index, path
