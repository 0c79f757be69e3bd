"""Who of those that iterate gets which notification; nothing is received here."""

from __future__ import annotations

import gc
import logging
import tracemalloc
from collections import deque
from collections.abc import Sequence

import pytest

from anyq.errors import NotificationOverflow
from anyq.notifications import generators as generators_module
from anyq.notifications.generators import Generators
from anyq.notifications.subscription import Notify


class Taker:
    """A generator that yields nothing, but tells what it could."""

    def __init__(self) -> None:
        self.received = 0
        self.items: deque[Notify] = deque()

    def put(self, notify: Notify, /) -> None:
        self.received += 1
        self.items.append(notify)

    def put_first(self, notifies: Sequence[Notify], /) -> None:
        self.received += len(notifies)
        self.items.extendleft(reversed(notifies))

    @property
    def payloads(self) -> list[str]:
        return [notify.payload for notify in self.items]


def notify(payload: object) -> Notify:
    return Notify("a", str(payload), 1)


def started(generators: Generators) -> Taker:
    taker = Taker()
    generators.start(taker)
    return taker


def test_each_gets_what_comes_from_its_start_on() -> None:
    generators = Generators()
    elder = started(generators)
    generators.put(notify(1))
    younger = started(generators)
    generators.put(notify(2))
    assert (elder.payloads, younger.payloads) == (["1", "2"], ["2"])


def test_what_nobody_takes_is_for_the_first_that_starts() -> None:
    generators = Generators()
    for number in range(3):
        generators.keep(notify(number))
    first, second = started(generators), started(generators)
    assert (first.payloads, second.payloads) == (["0", "1", "2"], [])
    # While there is one, nothing is kept for later.
    generators.keep(notify(3))
    generators.stop(first, deque())
    generators.stop(second, deque())
    assert started(generators).payloads == []


def test_what_the_last_one_leaves_is_for_a_later_one() -> None:
    generators = Generators()
    only = started(generators)
    for number in range(3):
        generators.put(notify(number))
    only.items.popleft()
    generators.stop(only, only.items)
    generators.keep(notify(3))
    assert started(generators).payloads == ["1", "2", "3"]


@pytest.mark.parametrize(("taken", "handed_on"), [(0, ["0", "1"]), (1, ["1"]), (2, []), (3, [])])
def test_what_one_leaves_is_for_another_that_has_not_got_it(taken: int, handed_on: list[str]) -> None:
    generators = Generators()
    elder = started(generators)
    generators.put(notify(0))
    generators.put(notify(1))
    younger = started(generators)
    generators.put(notify(2))
    for _ in range(taken):
        elder.items.popleft()
    generators.stop(elder, elder.items)
    assert younger.payloads == [*handed_on, "2"]


def test_one_that_is_dropped_gets_nothing_more() -> None:
    generators = Generators()
    dropped, kept = started(generators), started(generators)
    del dropped
    gc.collect()
    generators.put(notify(1))
    assert kept.payloads == ["1"]


def test_the_backlog_has_an_end(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """The latest are kept; the loss is told once, to whoever starts next."""
    monkeypatch.setattr(generators_module, "BACKLOG_SIZE", 2)
    caplog.set_level(logging.WARNING, "anyq")
    generators = Generators()
    for number in range(5):
        generators.keep(notify(number))
    assert len(caplog.records) == 1
    with pytest.raises(NotificationOverflow, match=r"^3 notifications were dropped.*the 2 latest are kept"):
        generators.start(Taker())
    assert started(generators).payloads == ["3", "4"]


@pytest.mark.parametrize("length", [1_000, 8_000, 33_000, 100_000])
@pytest.mark.parametrize("character", ["x", "\xe9", "\u7dd1", "\U0001f600"])
def test_what_nobody_takes_is_dropped_by_its_size_too(
    monkeypatch: pytest.MonkeyPatch, length: int, character: str
) -> None:
    monkeypatch.setattr(generators_module, "BACKLOG_MEMORY", 4 * 1024 * 1024)
    generators = Generators()
    count = 6 * 1024 * 1024 // length
    tracemalloc.start()
    try:
        for number in range(count):
            generators.keep(notify(str(number) + character * length))
        assert tracemalloc.get_traced_memory()[0] < 5 * 1024 * 1024
    finally:
        tracemalloc.stop()
    taker = Taker()
    with pytest.raises(NotificationOverflow, match="notifications were dropped"):
        generators.start(taker)
    generators.start(taker)
    assert taker.payloads[-1].startswith(str(count - 1))
    assert 10 <= len(taker.items) < count


def test_what_a_generator_leaves_behind_is_dropped_by_its_size_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generators_module, "BACKLOG_MEMORY", 10_000)
    generators = Generators()
    taker = started(generators)
    for number in range(10):
        generators.put(notify(str(number) * 2_000))
    generators.stop(taker, taker.items)
    later = Taker()
    with pytest.raises(NotificationOverflow, match="6 notifications were dropped"):
        generators.start(later)
    generators.start(later)
    assert [payload[0] for payload in later.payloads] == ["6", "7", "8", "9"]
    # They have been taken: what comes then has all the room again.
    generators.stop(later, deque())
    generators.keep(notify("x" * 9_000))
    generators.start(later)
