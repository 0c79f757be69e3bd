"""No test sleeps to synchronise, nor races a clock: it waits for a fact.

Read from the syntax trees of `tests/`. What there is to wait for instead: an event, `anyio.wait_all_tasks_blocked()`,
what pg_stat_activity tells or a lock that the test holds (`tests/support/activity.py`), a scripted server that says
when it has got something (`tests/support/fakeserver.py`), trio's MockClock.

Bounds are fine: a time after which the test has failed, whatever the machine, and which a test that succeeds never
waits for. So is a pg_sleep() that only ever ends by being cancelled, and a limit of the driver's own that a test waits
for: connect(connect_timeout=0.1) to a server that says nothing has one outcome.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.once, pytest.mark.checkout]

TESTS = Path(__file__).parents[1]

SHORTEST_BOUND = 1.0
"""Seconds; a shorter time limit is no bound, but a guess how fast a machine is."""

SHORTEST_PG_SLEEP = 30.0
"""Seconds; nobody waits that long for a statement, so it is there to be cancelled."""

CLOCKS = {"perf_counter", "perf_counter_ns", "monotonic", "monotonic_ns", "process_time", "current_time", "time"}
LIMITS = {"move_on_after", "fail_after"}

ALLOWED = {
    "_accel/test_polling.py::test_whether_a_socket_is_readable_soon": "it has to wait as long as it is told, at least",
    "session/test_link.py::test_looking_for_longer": "deadlines are on this clock; one is past, others are far away",
    "session/test_cancelling.py::test_a_server_that_ignores_the_cancel_request": "the grace time has to be over",
    "promises/test_storms.py::test_neighbours_of_cancelled_tasks_notice_nothing": "any length will do",
    "benchmarks/workloads.py::": "how long one statement takes is what is measured",
    "benchmarks/operations.py::beside_a_slow_one": "a benchmark measures time",
    "benchmarks/tracing.py::queries": "a benchmark measures time",
    "benchmarks/tracing.py::queries_sync": "a benchmark measures time",
    "benchmarks/worker.py::run": "a benchmark measures time",
    "benchmarks/worker.py::run_sync": "a benchmark measures time",
    "tools/healing.py::has_succeeded": "it measures how long a pool takes to heal",
    "tools/healing.py::when_it_accepts": "it measures how long a pool takes to heal",
    "tools/interrupts.py::interrupt_soon": "a signal at any moment, and when it came",
    "tools/interrupts.py::signals_in_loop": "it measures how long an interrupted call takes",
    "tools/interrupts.py::signals_in_sync": "it measures how long an interrupted call takes",
    "tools/interrupts.py::work": "any length will do",
    "tools/interrupts.py::sync_work": "any length will do",
    "support/poolers.py::wait_until_it_listens": "that its port is open is the only fact a pooler shows",
}
"""`file::function` and the reason why it may; an entry that nothing needs has to go."""


def offences(source: str) -> Iterator[tuple[str, int, str]]:
    """Yield the outermost function, the line and the words of each offence in a module."""
    yield from _visit(ast.parse(source), "", False)


def _visit(node: ast.AST, function: str, mocked: bool) -> Iterator[tuple[str, int, str]]:
    """:param mocked: the clock is trio's MockClock, which moves when it is told to, so it may be read."""
    for child in ast.iter_child_nodes(node):
        inside, told = function, mocked
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) and not function:
            inside, told = child.name, "MockClock(" in ast.unparse(child)
        words = None
        if isinstance(child, ast.Call):
            words = _call(child, told)
        elif isinstance(child, ast.Constant) and isinstance(child.value, str):
            words = _text(child.value)
        if words is not None:
            yield inside, getattr(child, "lineno", 0), words
        yield from _visit(child, inside, told)


def _call(call: ast.Call, mocked: bool) -> str | None:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if name == "sleep" and call.args:
        return ast.unparse(call)
    if name in CLOCKS and not call.args and not call.keywords and not mocked:
        return ast.unparse(call)
    if name in LIMITS and any(_is_short(argument) for argument in call.args):
        return ast.unparse(call)
    return None


def _is_short(argument: ast.expr) -> bool:
    return (
        isinstance(argument, ast.Constant)
        and isinstance(argument.value, int | float)
        and 0 < argument.value < SHORTEST_BOUND
    )


def _text(text: str) -> str | None:
    for match in re.finditer(r"pg_sleep\(\s*([0-9.]+)\s*\)", text):
        if 0 < float(match[1]) < SHORTEST_PG_SLEEP:
            return match[0]
    return None


def test_nothing_sleeps() -> None:
    found: dict[str, list[str]] = {}
    for path in sorted(TESTS.rglob("*.py")):
        file = path.relative_to(TESTS).as_posix()
        if path == Path(__file__):
            continue
        for function, line, words in offences(path.read_text()):
            found.setdefault(f"{file}::{function}", []).append(f"tests/{file}:{line}: {words}")
    wrong = [line for name, lines in found.items() if name not in ALLOWED for line in lines]
    assert not wrong, "\n".join(["wait for a fact instead:", *wrong])
    assert not set(ALLOWED) - set(found), "no longer needed"


@pytest.mark.parametrize(
    "source",
    [
        "await anyio.sleep(0.1)",
        "sleep(0)",
        "time.sleep(delay)",
        "await conn.execute('SELECT pg_sleep(0.3)')",
        "await conn.execute(f'SELECT pg_sleep(2), {x}')",
        "with anyio.move_on_after(0.05): pass",
        "assert time.monotonic() - before < 1",
        "before = anyio.current_time()",
    ],
)
def test_what_is_refused(source: str) -> None:
    inside = f"async def test() -> None:\n    def inner():\n        pass\n    {source}\n"
    (found,) = offences(inside)
    assert found[:2] == ("test", 4)


@pytest.mark.parametrize(
    "source",
    [
        "await anyio.sleep_forever()",
        "await conn.execute('SELECT pg_sleep(60)')",
        "await conn.execute('SELECT pg_sleep(%s)', [600])",
        "group.start_soon(sleep)",
        "with anyio.fail_after(PATIENCE): pass",
        "with anyio.fail_after(5): pass",
        "with anyio.move_on_after(0): pass",
        "start = trio.current_time(); trio.run(main, clock=MockClock(autojump_threshold=0))",
        "import time",
    ],
)
def test_what_is_not(source: str) -> None:
    assert list(offences(source if source.startswith("import") else f"async def test() -> None:\n    {source}\n")) == []
