"""How an examination is shown."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path

import pytest

from anyq.cli.doctor_report import JsonReport, TextReport, wants_colours
from anyq.cli.doctor_steps import FAILED, OK, WARNING, Step


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({}, True),
        ({"NO_COLOR": ""}, True),
        ({"NO_COLOR": "1"}, False),
        ({"TERM": "xterm"}, True),
        ({"TERM": "dumb"}, False),
    ],
)
def test_colours_are_for_terminals(environ: dict[str, str], wanted: bool) -> None:
    assert wants_colours(Terminal(), environ) is wanted
    assert not wants_colours(io.StringIO(), environ)


def steps() -> list[Step]:
    good = Step("options", "options", seconds=0.0123)
    good.add("port", "5433", "environment variable PGPORT")
    good.add("in use", True)
    good.add("addresses", ["192.0.2.1", "::1"])
    good.add("told by", ["it is far away", "it is slow"])
    bad = Step("login", "login", FAILED, error="no\nDETAIL:  never", notes=["A note."], advice=["do this", "do that"])
    return [good, bad]


def text(colours: bool = False, connected: bool = False) -> str:
    out = io.StringIO()
    report = TextReport(out, colours=colours)
    report.begin({"anyq": "1.0", "Python": "3.11"})
    for step in steps():
        report.step(step)
    report.end(connected, "")
    return out.getvalue()


def test_text() -> None:
    lines = [line.rstrip() for line in text().splitlines()]
    assert lines[0] == "anyq doctor: anyq 1.0, Python 3.11"
    assert lines[2].startswith("ok        options ")
    assert lines[2].endswith(" 12.3 ms")
    assert lines[3:] == [
        "          port                  5433  (environment variable PGPORT)",
        "          in use                yes",
        "          addresses             192.0.2.1, ::1",
        "          told by               it is far away",
        "                                it is slow",
        "",
        lines[9],
        "          no",
        "          DETAIL:  never",
        "          A note.",
        "          -> do this",
        "          -> do that",
        "",
        "There is no connection.",
    ]
    assert lines[9].startswith("failed    login ")


def test_colours() -> None:
    coloured = text(colours=True)
    assert "\x1b[32mok      \x1b[0m" in coloured
    assert "\x1b[31mfailed  \x1b[0m" in coloured
    for code in ("32", "31", "0"):
        coloured = coloured.replace(f"\x1b[{code}m", "")
    assert coloured == text()


def test_long_lines_are_wrapped() -> None:
    out = io.StringIO()
    step = Step("x", "x", notes=["word " * 50], advice=["word " * 50])
    TextReport(out, colours=False).step(step)
    assert max(map(len, out.getvalue().splitlines())) <= 100
    assert "\n             word" in out.getvalue()


def test_what_a_terminal_would_obey_is_written_out() -> None:
    evil = "\x1b]0;title\x07\x1b[2J\u202e"
    out = io.StringIO()
    step = Step(evil, evil, FAILED, error=evil, notes=[evil], advice=[evil])
    step.add("name", evil)
    report = TextReport(out, colours=False)
    report.step(step)
    report.end(False, evil)
    assert out.getvalue().isprintable() or set(out.getvalue()) & {"\x1b", "\x07", "\u202e"} == set()
    assert "\\x1b]0;title\\x07" in out.getvalue()
    out = io.StringIO()
    machine = JsonReport(out)
    machine.step(step)
    machine.end(False, evil)
    assert not set(out.getvalue()) & {"\x1b", "\x07", "\u202e"}
    assert json.loads(out.getvalue())["steps"][0]["error"] == evil


def test_json() -> None:
    out = io.StringIO()
    report = JsonReport(out)
    report.begin({"anyq": "1.0"})
    for step in steps():
        report.step(step)
    assert out.getvalue() == ""
    report.end(False, "")
    found = json.loads(out.getvalue())
    assert (found["anyq"], found["connected"], found["error"]) == ("1.0", False, None)
    assert found["steps"][0] == {
        "step": "options",
        "title": "options",
        "status": OK,
        "seconds": 0.0123,
        "facts": {
            "port": {"value": "5433", "from": "environment variable PGPORT"},
            "in use": True,
            "addresses": ["192.0.2.1", "::1"],
            "told by": ["it is far away", "it is slow"],
        },
        "error": None,
        "notes": [],
        "advice": [],
    }
    assert found["steps"][1]["advice"] == ["do this", "do that"]


def test_a_warning_changes_nothing_of_a_failure() -> None:
    step = Step("x", "x")
    step.warn("a")
    assert step.status == WARNING
    step.status = FAILED
    step.warn("b")
    assert (step.status, step.notes) == (FAILED, ["a", "b"])


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo terminals")
@pytest.mark.parametrize("no_color", ["", "1"])
def test_on_a_terminal(no_color: str) -> None:
    import pty

    def child() -> None:
        os.execve(
            sys.executable,
            [sys.executable, "-m", "anyq", "doctor", "hots=x"],
            {**os.environ, "TERM": "xterm", "NO_COLOR": no_color, "PYTHONPATH": str(Path(__file__).parents[2])},
        )

    pid, descriptor = pty.fork()
    if pid == 0:
        child()
    shown = b""
    try:
        while piece := os.read(descriptor, 1024):
            shown += piece
    except OSError:
        pass  # the other end is closed
    finally:
        os.close(descriptor)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 2
    assert b"did you mean 'host'?" in shown
    assert (b"\x1b[31mfailed" in shown) is not bool(no_color)
