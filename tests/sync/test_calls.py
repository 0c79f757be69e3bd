"""Calls: what is called, what is refused and why, without a connection."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from anyio.from_thread import start_blocking_portal

from anyq.errors import InterfaceError, OperationalError, ProgrammingError
from anyq.sync.calls import Calls
from anyq.sync.portal import Portal
from tests.support.activity import PATIENCE


class Called:
    """Something to call, in an event loop, that may be closed."""

    def __init__(self) -> None:
        self.closed = threading.Event()
        self.threads: list[int] = []

    async def ask(self, number: int) -> int:
        self.threads.append(threading.get_ident())
        return 2 * number

    def close(self) -> None:
        self.closed.set()

    def check_open(self) -> None:
        if self.closed.is_set():
            raise OperationalError("it is closed")


class NotedPortal(Portal):
    """Notes which users are gone."""

    def __init__(self) -> None:
        super().__init__()
        self.gone: list[tuple[str, object]] = []

    def release(self, user: object) -> None:
        self.gone.append(("release", user))

    def forget(self, user: object) -> None:
        self.gone.append(("forget", user))


@pytest.fixture(params=["asyncio", "trio"])
def portal(request: pytest.FixtureRequest) -> Iterator[NotedPortal]:
    with start_blocking_portal(request.param) as blocking:
        made = NotedPortal()
        blocking.call(made.attach, blocking)
        yield made
        blocking.call(made.end_workers)


@pytest.fixture
def called() -> Called:
    return Called()


@pytest.fixture
def calls(portal: NotedPortal, called: Called) -> Calls:
    return Calls(portal, "user", 1.0, called.check_open)


def test_calling(calls: Calls, called: Called) -> None:
    assert calls.call(called.ask, 21) == 42
    assert calls.call_unless_ended(called.ask, number=1)
    assert called.threads[0] == called.threads[1] != threading.get_ident()
    calls.check_open()


def test_the_end(calls: Calls, called: Called, portal: NotedPortal) -> None:
    calls.end(called.close)
    calls.end(lambda: pytest.fail("it is closed twice"))
    assert calls.ended
    # In the event loop, as soon as that comes to it.
    assert called.closed.wait(PATIENCE)
    assert portal.gone == [("release", "user")]
    for refused in (lambda: calls.call(called.ask, 1), calls.check_open):
        with pytest.raises(OperationalError, match="it is closed"):
            refused()
    assert not calls.call_unless_ended(called.ask, 1)
    assert called.threads == []


def test_the_end_of_what_is_closed_already(calls: Calls, portal: NotedPortal) -> None:
    calls.end(None)
    assert portal.gone == [("release", "user")]


def test_finalizers(calls: Calls, portal: NotedPortal) -> None:
    calls.forget()
    assert portal.gone == [("forget", "user")]


def test_the_loop_has_stopped(calls: Calls, called: Called, portal: NotedPortal) -> None:
    portal.end_workers()
    for refused in (lambda: calls.call(called.ask, 1), calls.check_open):
        with pytest.raises(InterfaceError, match="has stopped"):
            refused()
    assert not calls.call_unless_ended(called.ask, 1)
    # The better reason.
    called.close()
    with pytest.raises(OperationalError, match="it is closed"):
        calls.call(called.ask, 1)


def test_the_loop_stops_at_the_last_moment(calls: Calls, called: Called, monkeypatch: pytest.MonkeyPatch) -> None:
    call: Callable[..., Any] = calls.portal.call

    def too_late(*args: Any, **kwargs: Any) -> Any:
        calls.portal.end_workers()
        return call(*args, **kwargs)

    monkeypatch.setattr(calls.portal, "call", too_late)
    assert not calls.call_unless_ended(called.ask, 1)


def test_a_child_of_fork(calls: Calls, called: Called, portal: NotedPortal) -> None:
    portal.after_fork()
    for refused in (lambda: calls.call(called.ask, 1), calls.check_open):
        with pytest.raises(InterfaceError, match="before fork"):
            refused()
    calls.end(lambda: pytest.fail("what is the parent's is closed"))
    with pytest.raises(InterfaceError, match="before fork"):
        calls.call(called.ask, 1)


def test_parameters_cannot_be_made_by_calls(
    calls: Calls, called: Called, background: Callable[[Callable[[], Any]], Any]
) -> None:
    calls.begin_feeding()
    with pytest.raises(ProgrammingError, match="on the same connection"):
        calls.call(called.ask, 1)
    # Another thread only waits for its turn.
    assert background(lambda: calls.call(called.ask, 2)).result() == 4
    # What ends the feeding must be possible.
    assert calls.call_unless_ended(called.ask, 1)
    calls.end_feeding()
    assert calls.call(called.ask, 3) == 6
