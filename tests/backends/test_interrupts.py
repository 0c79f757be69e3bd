"""Marks for what is not interrupted: found in classes and functions, before and after there is somebody to tell."""

from __future__ import annotations

import signal
from types import FunctionType

import pytest
import trio

import anyq.backends.trio_backend  # noqa: F401  # it marks them, once it is there
from anyq.backends import interruptible, interrupts, uninterrupted


def test_marks_reach_those_who_come_later_and_earlier(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupts, "_uninterrupted", [])
    monkeypatch.setattr(interrupts, "_interruptible", [])
    monkeypatch.setattr(interrupts, "_marks", [])

    @uninterrupted
    class Before:
        constant = 1

        def method(self) -> None: ...

        @classmethod
        def of_class(cls) -> None: ...

        @staticmethod
        def static() -> None: ...

        @property
        def attribute(self) -> None: ...

        @interruptible
        def slow(self) -> None: ...

    kept: list[str] = []
    let_in: list[str] = []

    def keep(function: FunctionType) -> None:
        kept.append(function.__name__)

    def let(function: FunctionType) -> None:
        let_in.append(function.__name__)

    interrupts.mark_by(keep, let)
    assert kept == ["method", "of_class", "static", "attribute"]
    assert let_in == ["slow"]

    @uninterrupted
    async def after() -> None: ...

    interruptible(after)
    assert kept[-1] == let_in[-1] == "after"


def test_an_interrupt_waits_for_a_checkpoint_in_trio() -> None:
    happened: list[str] = []

    @uninterrupted
    async def work() -> None:
        signal.raise_signal(signal.SIGINT)
        happened.append("went on")
        await trio.lowlevel.checkpoint()
        happened.append("not so far")

    with pytest.raises(KeyboardInterrupt):
        trio.run(work)
    assert happened == ["went on"]


def test_what_takes_its_time_is_interrupted_in_trio() -> None:
    happened: list[str] = []

    @interruptible
    def generate() -> None:
        signal.raise_signal(signal.SIGINT)
        happened.append("went on")

    @uninterrupted
    async def work() -> None:
        generate()

    with pytest.raises(KeyboardInterrupt):
        trio.run(work)
    assert not happened
