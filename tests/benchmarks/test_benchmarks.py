"""The benchmarks run: every workload of every driver that is installed, once, small and with its results checked.

How fast it is says the benchmark itself, see docs/benchmarks.md; nothing here looks at a clock.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

import anyq
from anyq.sync import set_portal_backend
from tests.benchmarks.chart import Times, draw, shown
from tests.benchmarks.drivers import DRIVERS, Entry
from tests.benchmarks.drivers.base import Unsupported
from tests.benchmarks.results import change
from tests.benchmarks.targets import verdicts
from tests.benchmarks.worker import Figures, measure
from tests.benchmarks.workloads import WORKLOADS
from tests.support.server import Server

pytestmark = pytest.mark.once

SMALL = 4

# The implementation is a matter of the process: drivers that differ in nothing else are one here.
ENTRIES: dict[Entry, str] = {}
for driver, registered in DRIVERS.items():
    ENTRIES.setdefault(registered._replace(implementation=None), driver)


@pytest.fixture(params=[pytest.param(entry, id=name) for entry, name in ENTRIES.items()])
def entry(request: pytest.FixtureRequest) -> Iterator[Entry]:
    entry: Entry = request.param
    try:
        entry.make()
        if entry.loop == "uvloop":
            importlib.import_module("uvloop")
    except ImportError as error:
        pytest.skip(str(error))
    yield entry
    set_portal_backend()


@pytest.mark.parametrize("name", [name for name, workload in WORKLOADS.items() if workload.server != "tls"])
def test_workload(entry: Entry, name: str, server: Server) -> None:
    workload = replace(WORKLOADS[name], size=min(SMALL, WORKLOADS[name].size), warm=1)
    if workload.server == "tcp" and not server.is_embedded:
        pytest.skip("only of the embedded server is known how to log in over TCP")
    if workload.type == "struct":
        pytest.importorskip("msgspec")
    dsn = server.dsn if workload.server == "main" else f"{server.role_dsn('scram-sha-256')} sslmode=disable"
    try:
        figures = measure(entry, workload, dsn, seconds=0)
    except Unsupported:
        # One of several things that other drivers do not have; but ours have everything that their kind can have.
        assert entry.module != "own" or (entry.loop == "none" and workload.kind in ("notify", "tail", "tail_lent"))
    else:
        assert figures["operations"] == 1
        assert figures["wall"] > 0


HERE = Path(__file__).parents[2]


def run(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([sys.executable, "-m", module, *arguments], capture_output=True, text=True, cwd=HERE)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_the_command(dsn: str, tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    chart = tmp_path / "chart.svg"
    options = ["--rounds=2", "--seconds=0", "--targets", f"--json={file}", f"--chart={chart}", f"--dsn={dsn}"]
    drivers = ["socket", "anyq-asyncio-pure", "anyq-sync-pure"]
    workloads = ["one_row", "notify_10", "connect_tls"]
    done = run("tests.benchmarks", *options, "--drivers", *drivers, "--workloads", *workloads)
    assert "left out: connect_tls: needs --tls-dsn" in done.stdout
    assert "rate against socket" in done.stdout
    assert "not measured: anyq-asyncio against asyncpg-asyncio" in done.stdout
    results = json.loads(file.read_text())["results"]
    rounds = {workload: {name: len(found) for name, found in results[workload].items()} for workload in results}
    assert rounds == {"one_row": dict.fromkeys(drivers, 2), "notify_10": {"anyq-asyncio-pure": 2}}
    names = re.findall(r">([\w-]+)</t", chart.read_text(encoding="utf-8"))
    assert names == ["one_row", *drivers, "notify_10", "anyq-asyncio-pure"]


def test_another_anyq_beside_this_one(dsn: str) -> None:
    folder = Path(anyq.__file__).parents[1]
    options = ["--rounds=1", "--seconds=0", f"--against={folder}", f"--dsn={dsn}"]
    done = run("tests.benchmarks", *options, "--drivers", "anyq-asyncio-pure", "--workloads", "one_row")
    assert f"Time of an operation here against {folder}" in done.stdout
    assert "left out" not in done.stdout


def test_another_anyq_must_be_one(dsn: str, tmp_path: Path) -> None:
    options = ["--rounds=1", "--seconds=0", f"--against={tmp_path}", f"--dsn={dsn}"]
    done = run("tests.benchmarks", *options, "--drivers", "anyq-asyncio-pure", "--workloads", "one_row")
    own = Path(anyq.__file__).parents[1]
    assert f"left out: anyq-asyncio-pure@other: anyq was imported from {own} and not from {tmp_path}" in done.stdout


def test_change_is_of_rounds_that_belong_together() -> None:
    here, other = [figures(10), figures(103), figures(20)], [figures(10), figures(100), figures(10)]
    found = change(here, other, "wall")
    assert [round(value, 3) for value in found] == [0.03, 0.015, 0.515]


@pytest.mark.parametrize("implementation", ["cython", "python"])
def test_canned_connection(implementation: str) -> None:
    """What instructions are counted of: it runs without an event loop, so nothing of one is counted."""
    if implementation == "cython" and anyq.__impl__ != "cython":
        pytest.skip("the compiled path is not there")
    script = "from tests.benchmarks.instructions import run; run(20); run(20, 'hooks')"
    done = subprocess.run([sys.executable, "-c", script], cwd=HERE, env=os.environ | {"ANYQ_IMPL": implementation})
    assert done.returncode == 0


def test_tracing(dsn: str) -> None:
    done = run("tests.benchmarks.tracing", f"--dsn={dsn}", "--rounds=2", "--loops", "trio", "sync")
    lines = done.stdout.splitlines()[1:]
    assert [re.findall(r"[a-z]+", line.split(" us")[0]) for line in lines] == [["trio", "off"], ["sync", "off"]]
    assert all(re.search(r"; nothing [+-].* of CPU; hooks [+-].* of CPU$", line) for line in lines)


def test_path(dsn: str) -> None:
    done = run("tests.benchmarks.path", f"--dsn={dsn}", "--calls", "--implementations", "python")
    assert "a prepared, known query: " in done.stdout
    assert "cursor.py: AsyncCursor.execute\n" in done.stdout


def figures(wall: float, memory: int | None = None, tail: float | None = None) -> Figures:
    return {"wall": wall, "cpu": 1, "operations": 1, "tail": tail, "memory": memory}


def test_chart() -> None:
    results = {
        "one_row": {
            "anyq-asyncio": [figures(10), figures(100), figures(20)],
            "asyncpg-asyncio": [figures(40)],
            "socket": [],
        },
        "pg_type": {},
        "stream_1m": {"anyq-sync@other": [figures(1_234_567)]},
    }
    facts = {
        "settings": {"rounds": 3},
        "versions": {"anyq": "1", "asyncpg": "<2>", "trio": "3"},
        "python": "CPython",
        "machine": "R&D",
    }
    svg = ElementTree.fromstring(draw(results, facts))
    space = "{http://www.w3.org/2000/svg}"
    bars = [rect.attrib for rect in svg.iter(f"{space}rect")][1:]
    assert [bar["class"] for bar in bars] == ["own clock", "own", "other clock", "other", "own clock", "own"]
    widths = [float(bar["width"]) for bar in bars]
    assert widths[2] == widths[4] == 2 * widths[0]
    assert widths[1] == widths[3] == pytest.approx(widths[2] / 40, abs=0.1)
    texts = ["".join(text.itertext()) for text in svg.iter(f"{space}text")]
    assert texts[1:5] == ["anyq-asyncio", "20.0 us (1.00)", "asyncpg-asyncio", "40.0 us (1.00)"]
    assert texts[6:8] == ["anyq-sync@other", "1,235 ms (0.00)"]
    assert texts[-2:] == ["CPython; R&D", "asyncpg <2>"]
    # Nothing is below the picture's edge, or asked for from elsewhere.
    assert max(float(text.attrib["y"]) for text in svg.iter(f"{space}text")) < float(svg.attrib["height"])
    assert "http" not in draw(results, facts).replace('xmlns="http://www.w3.org/2000/svg"', "")


def test_times_of_the_chart() -> None:
    assert shown(Times(0.5, 0.123), 100) == "0.50 us (0.12)"
    assert shown(Times(123.4, 45.67), 200) == "123 us (45.7)"
    assert shown(Times(9_999, 9_999), 9_999) == "9,999 us (9,999)"
    assert shown(Times(9_999, 1_234), 10_000) == "10.00 ms (1.23)"


def test_targets() -> None:
    results = {
        "one_row": {
            "anyq-asyncio": [figures(10), figures(100), figures(20)],
            "asyncpg-asyncio": [figures(25), figures(100), figures(30)],
            "anyq-sync": [figures(10)],
            "psycopg-sync": [figures(5)],
            "psycopg-sync-binary": [figures(8)],
        },
        "pool_checkout": {"anyq-asyncio": [figures(6)]},
        "pool_tail_50": {
            "anyq-trio": [figures(1, tail=30), figures(1, tail=60)],
            "psycopg-asyncio": [figures(1, tail=9)],
        },
        "pool_tail_50_lent": {"anyq-trio": [figures(1, tail=10), figures(1, tail=20)]},
        "stream_1m": {"anyq-trio-pure": [figures(1, 5 * 2**20)], "asyncpg-uvloop": [figures(1, 2**30)]},
    }
    found = [(v.workload, v.driver, v.reference, v.found, v.reached, v.missed_by) for v in verdicts(results)]
    assert found == [
        # The median of the ratios of rounds (2.5, 1, 1.5), and not the ratio of the medians.
        ("one_row", "anyq-asyncio", "asyncpg-asyncio", 1.5, False, "25%"),
        # Of one driver's configurations the faster.
        ("one_row", "anyq-sync", "psycopg-sync", 0.5, False, "60%"),
        ("stream_1m", "anyq-trio-pure", "an idle process", 5.0, True, ""),
        # Where less is better.
        ("pool_checkout", "anyq-asyncio", "its processor time", 1, True, ""),
        ("pool_tail_50", "anyq-trio", "its pool_tail_50_lent, 99 %", 3.0, False, "50%"),
    ]
