"""Ctrl-C at any step of a call: the connection is usable or closed afterwards, and nothing is left behind.

These take some of the steps only, more of them by ANYQ_TEST_STRIDE; `python -m tests.tools.interrupts` takes all, and
more signals.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import anyq
from anyq.session.busy_wait import this_thread
from tests.support.interrupted import ASYNC_CALLS, SYNC_CALLS, AsyncRun, SyncRun
from tests.support.server import Server
from tests.support.two_phase import leave_none, need_two_phase

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.once,
    # What is dropped half-made is closed by the garbage collector, and says so; who is interrupted in a callback of the
    # event loop's leaves a coroutine behind.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::RuntimeWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

#: Every so manieth step; a prime, so that they are other ones of a loop's each time.
STRIDE = int(os.environ.get("ANYQ_TEST_STRIDE", "29"))

ASYNCIO = [
    pytest.param(("asyncio", {"use_uvloop": False}), id="asyncio"),
    pytest.param(
        ("asyncio", {"use_uvloop": True}),
        id="uvloop",
        marks=pytest.mark.skipif(find_spec("uvloop") is None, reason="uvloop is not there"),
    ),
]


_IN_PYTHON = pytest.mark.skipif(
    anyq.__impl__ == "cython", reason="steps are seen in Python only: the same modules, not compiled, have them all"
)


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, logger="anyq")


@pytest.fixture(autouse=True)
def _counted() -> Iterator[None]:
    """Raised between two lines that count a request, an interrupt leaves it too high: nobody looks before waiting.

    That is all it does; but tests of other things in this process count on it.
    """
    before = this_thread.traffic.under_way
    yield
    this_thread.traffic.under_way = before


@pytest.fixture(autouse=True)
def _none_prepared(dsn: str, server: Server, request: pytest.FixtureRequest) -> Iterator[None]:
    two_phase = "two-phase" in request.node.name
    if two_phase:
        need_two_phase(server)
    yield
    if two_phase:
        leave_none(dsn)


@_IN_PYTHON
@pytest.mark.parametrize("kind", [kind for kind in ASYNC_CALLS if kind != "cancelled"])
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
def test_an_exception_at_any_step(anyio_backend: str, kind: str, dsn: str) -> None:
    """Out of nowhere, as without a runner that has something to say about it.

    Not on uvloop, which prints what is raised in a callback, Ctrl-C included, and goes on.
    """
    run = AsyncRun(dsn, kind)
    run.loop(anyio_backend, {}, stride=STRIDE)
    assert not run.wrong
    assert run.outcome.total() >= 3


@_IN_PYTHON
@pytest.mark.parametrize("kind", ASYNC_CALLS)
def test_ctrl_c_at_any_step_on_trio(kind: str, dsn: str) -> None:
    """It waits for the next checkpoint, where it is what a cancellation is: no connection has to be closed for it."""
    run = AsyncRun(dsn, kind, by_signal=True)
    run.loop("trio", {}, stride=STRIDE)
    assert not run.wrong
    assert run.outcome.total() >= 3
    if kind != "cancelled":
        assert set(run.outcome) <= {"usable", "not connected"} or kind == "close"


@_IN_PYTHON
@pytest.mark.parametrize("kind", ["execute", "executemany", "stream", "transaction"])
@pytest.mark.parametrize("anyio_backend", ASYNCIO)
def test_ctrl_c_at_any_step_on_asyncio(anyio_backend: tuple[str, dict[str, Any]], kind: str, dsn: str) -> None:
    """It is a cancellation, wherever it comes."""
    run = AsyncRun(dsn, kind, by_signal=True)
    run.loop(*anyio_backend, stride=5 * STRIDE)
    assert not run.wrong
    assert set(run.outcome) == {"usable"}


@pytest.mark.parametrize("way", ["direct", "portal"])
@pytest.mark.parametrize("kind", SYNC_CALLS)
def test_ctrl_c_at_any_step_in_synchronous_code(kind: str, way: str, dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the portal it may be any exception; what a thread runs itself takes note of Ctrl-C until nothing is torn."""
    monkeypatch.setenv("ANYQ_SYNC", way)
    run = SyncRun(dsn, kind, by_signal=way == "direct")
    # With the portal that stays, and with one that is started and ends.
    for first in (1, 2):
        run.loop(first, STRIDE)
    assert not run.wrong
    assert run.outcome.total() >= 3
    assert set(run.outcome) <= {"usable", "not connected"} or kind == "close"


@_IN_PYTHON
@pytest.mark.parametrize("kind", ["execute", "stream"])
def test_an_exception_at_any_step_of_what_a_thread_runs_itself(kind: str, dsn: str) -> None:
    """As a handler of another signal may raise it; where something is torn by that the connection is closed."""
    run = SyncRun(dsn, kind)
    run.loop(1, 2 * STRIDE)
    assert not run.wrong
    assert run.outcome["usable"] > 3


@pytest.mark.checkout
@pytest.mark.parametrize("loop", ["asyncio", "trio", "sync"])
def test_ctrl_c_at_random_moments(loop: str, dsn: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "tests.tools.interrupts", "signals", "--loop", loop, "--count", "40", "--dsn", dsn],
        cwd=ROOT,
        check=True,
        timeout=120,
    )
