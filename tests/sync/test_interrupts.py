"""Ctrl-C while a thread runs a call itself: noted, raised later, and the handler is Python's again afterwards."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from anyq._accel import compiled_driving
from anyq.sync.interrupts import InterruptsInPython


@pytest.fixture(params=["python", "cython"])
def Interrupts(request: pytest.FixtureRequest) -> Any:
    """The class, in each implementation."""
    if request.param == "python":
        return InterruptsInPython
    if compiled_driving is None:
        pytest.skip("nothing is compiled")
    return compiled_driving.Interrupts


@pytest.fixture(autouse=True)
def default_handler() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_it_is_noted_and_raised_later(Interrupts: Any) -> None:
    interrupts = Interrupts()
    interrupts.hold()
    signal.raise_signal(signal.SIGINT)
    assert interrupts.pending
    interrupts.let_go()
    interrupts.let_go()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with pytest.raises(KeyboardInterrupt):
        interrupts.raise_pending()
    interrupts.raise_pending()
    interrupts.hold()
    interrupts.let_go()
    interrupts.raise_pending()


def test_it_is_raised_at_once_where_it_may_be(Interrupts: Any) -> None:
    interrupts = Interrupts()
    interrupts.hold()
    interrupts.may_raise = True
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    interrupts.let_go()
    assert not interrupts.pending


def test_the_second_one_is_raised_at_once(Interrupts: Any) -> None:
    interrupts = Interrupts()
    interrupts.hold()
    signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    interrupts.let_go()


def test_a_handler_of_the_programs_is_left_alone(Interrupts: Any) -> None:
    seen: list[int] = []

    def handler(number: int, frame: object) -> None:
        seen.append(number)

    signal.signal(signal.SIGINT, handler)
    interrupts = Interrupts()
    interrupts.hold()
    signal.raise_signal(signal.SIGINT)
    interrupts.let_go()
    assert signal.getsignal(signal.SIGINT) is handler
    assert seen == [signal.SIGINT] and not interrupts.pending


def test_a_handler_that_is_installed_meanwhile_stays(Interrupts: Any) -> None:
    def handler(number: int, frame: object) -> None:
        """Do nothing."""

    interrupts = Interrupts()
    interrupts.hold()
    signal.signal(signal.SIGINT, handler)
    interrupts.let_go()
    assert signal.getsignal(signal.SIGINT) is handler


def test_calls_inside_of_one(Interrupts: Any) -> None:
    """Of a signal handler: the outer one has Ctrl-C."""
    outer, inner = Interrupts(), Interrupts()
    outer.hold()
    inner.hold()
    inner.let_go()
    signal.raise_signal(signal.SIGINT)
    outer.let_go()
    assert outer.pending and not inner.pending


def test_other_threads_have_no_signals(Interrupts: Any, background: Callable[[Callable[[], Any]], Any]) -> None:
    def work() -> bool:
        interrupts = Interrupts()
        interrupts.hold()
        unchanged = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        interrupts.let_go()
        return unchanged and threading.current_thread() is not threading.main_thread()

    assert background(work).result()
