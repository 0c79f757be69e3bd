"""Signals amid what a thread runs itself: what their handlers use the connection for, and what they raise."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest

import anyq
from anyq.sync.direct import Direct
from tests.support.activity import PATIENCE
from tests.support.spying import NotingChannel, in_python

POSIX = pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="signals are those of POSIX")


def interrupt_a_wait(driven: anyq.Connection, observer: anyq.Connection, use: Callable[[], object]) -> None:
    """Have a signal handler called amid a call that waits for a lock; it ends that wait, and uses the connection."""
    driven.execute("SELECT 1")
    driven.commit()
    key = driven.info.backend_pid
    observer.execute("SELECT pg_advisory_lock(%s)", [key])

    def handler(number: int, frame: object) -> None:
        observer.execute("SELECT pg_advisory_unlock(%s)", [key])
        use()

    before = signal.signal(signal.SIGUSR1, handler)
    other = anyq.connect(str(observer.info.dsn), autocommit=True)
    main = threading.main_thread().ident
    assert main is not None

    def interrupt() -> None:
        query = "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND wait_event = 'advisory'"
        while not other.execute(query, [key]).fetchone():
            pass
        signal.pthread_kill(main, signal.SIGUSR1)

    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        assert driven.execute("SELECT pg_advisory_xact_lock(%s)", [key]).fetchone() == ("",)
    finally:
        thread.join()
        other.close()
        signal.signal(signal.SIGUSR1, before)


@POSIX
@pytest.mark.any_loop
def test_a_signal_handler_uses_the_connection_while_it_waits(
    driven: anyq.Connection, observer: anyq.Connection, crossings: list[str]
) -> None:
    """The call that it interrupts goes on in the portal, and the handler's statement behind it."""
    seen: list[Any] = []
    interrupt_a_wait(driven, observer, lambda: seen.append(driven.execute("SELECT 2").fetchone()))
    assert seen == [(2,)]
    assert crossings.count("_go_on") >= 1
    assert driven.execute("SELECT 1").fetchone() == (1,)


@POSIX
@pytest.mark.any_loop
def test_a_signal_handler_goes_on_when_the_call_that_it_interrupts_is_over(
    driven: anyq.Connection, observer: anyq.Connection, crossings: list[str]
) -> None:
    """The thread is still in that one's wait, where no other call can wait: they all go by the portal."""
    seen: list[Any] = []

    def use() -> None:
        seen.extend(driven.execute("SELECT %s::int", [i]).fetchone() for i in range(5))

    interrupt_a_wait(driven, observer, use)
    assert seen == [(i,) for i in range(5)]
    crossings.clear()
    assert driven.execute("SELECT 1").fetchone() == (1,)
    assert crossings == []


@POSIX
@pytest.mark.any_loop
def test_a_signal_handler_comes_amid_another_ones(
    driven: anyq.Connection, observer: anyq.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While that has the call that it interrupts handed over: only one of the two does so."""
    give_back: Any = Direct._give_back
    seen: list[Any] = []

    def use() -> None:
        try:
            seen.append(driven.execute("SELECT 2").fetchone())
        except anyq.InterfaceError:
            seen.append("refused")

    def interrupted(self: Direct, turn: Any) -> None:
        if turn.coro is not None and turn.job is None:
            monkeypatch.setattr(Direct, "_give_back", give_back)
            use()
        give_back(self, turn)

    def use_amid() -> None:
        monkeypatch.setattr(Direct, "_give_back", interrupted)
        use()

    interrupt_a_wait(driven, observer, use_amid)
    assert seen == ["refused", (2,)]
    assert driven.execute("SELECT 1").fetchone() == (1,)


@POSIX
@pytest.mark.any_loop
def test_a_signal_handler_that_is_interrupted_amid_the_hand_over(
    driven: anyq.Connection, observer: anyq.Connection, crossings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has not interrupted anything as far as the call is concerned, if it comes to its end."""
    give_back: Any = Direct._give_back

    def interrupted(self: Direct, turn: Any) -> None:
        amid = turn.coro is not None and turn.job is None
        if amid:
            monkeypatch.setattr(Direct, "_give_back", give_back)
        give_back(self, turn)
        if amid:
            raise ZeroDivisionError

    def use() -> None:
        monkeypatch.setattr(Direct, "_give_back", interrupted)
        with pytest.raises(ZeroDivisionError):
            driven.execute("SELECT 2")

    interrupt_a_wait(driven, observer, use)
    assert crossings.count("_go_on") >= 2
    for _ in range(3):
        assert driven.execute("SELECT 1").fetchone() == (1,)
    crossings.clear()
    assert driven.execute("SELECT 1").fetchone() == (1,)
    assert crossings == []


@POSIX
@pytest.mark.any_loop
def test_what_a_signal_handler_raises_while_it_waits(driven: anyq.Connection, observer: anyq.Connection) -> None:
    """Whatever it is, the statement is cancelled."""
    driven.execute("SELECT 1")
    key = driven.info.backend_pid

    def handler(number: int, frame: object) -> None:
        raise ZeroDivisionError

    before = signal.signal(signal.SIGUSR1, handler)
    main = threading.main_thread().ident
    assert main is not None

    def interrupt() -> None:
        query = "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND wait_event = 'PgSleep'"
        while not observer.execute(query, [key]).fetchone():
            pass
        signal.pthread_kill(main, signal.SIGUSR1)

    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        with pytest.raises(ZeroDivisionError):
            driven.execute("SELECT pg_sleep(60)")
    finally:
        thread.join()
        signal.signal(signal.SIGUSR1, before)
    assert not driven.closed
    driven.rollback()
    assert driven.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.any_loop
def test_an_interrupt_of_what_a_call_is_handed_over_for(
    driven: anyq.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second Ctrl-C comes when the worker has its job, and was not woken."""

    class Waker:
        def wake(self) -> None:
            worker._waker = waker
            raise KeyboardInterrupt

    def interrupt(self: Direct, turn: Any, events: int) -> bool:
        raise KeyboardInterrupt

    driven.execute("SELECT 1")
    worker: Any = driven.calls.portal.idle_workers()[-1].worker
    waker = worker._waker
    with monkeypatch.context() as patched:
        in_python(patched)
        patched.setattr(Direct, "_wait", interrupt)
        worker._waker = Waker()
        with pytest.raises(KeyboardInterrupt):
            while True:  # a reply may be there at once
                driven.execute("SELECT 1")
    assert worker._waker is waker
    with anyq.sync.timeout(PATIENCE):
        driven.rollback()
        assert driven.execute("SELECT 2").fetchone() == (2,)


@pytest.mark.any_loop
def test_an_interrupt_of_the_end_of_a_call_and_of_what_is_done_about_it(
    driven: anyq.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    end: Any = Direct._end

    def interrupted(*args: Any) -> None:
        monkeypatch.setattr(Direct, "_end", end)
        raise KeyboardInterrupt

    in_python(monkeypatch)
    monkeypatch.setattr(Direct, "_end", interrupted)
    monkeypatch.setattr(Direct, "_surely_end", interrupted)
    with pytest.raises(KeyboardInterrupt):
        driven.execute("SELECT 1")
    assert driven.execute("SELECT 2").fetchone() == (2,)


@pytest.mark.any_loop
def test_an_interrupt_amid_what_was_received_and_of_what_is_done_about_it(
    driven: anyq.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection is closed then at once: nobody waits for what was lost."""
    wire: Any = driven.inner.session.wire
    channel = wire.channel
    closing: list[str] = []

    class Interrupted(NotingChannel):
        def try_receive(self, max_bytes: int) -> bytes:
            raise KeyboardInterrupt

        def close_now(self) -> None:
            closing.append("now")
            if len(closing) == 1:
                raise KeyboardInterrupt
            channel.close_now()

    wire.channel = Interrupted(channel)
    with pytest.raises(KeyboardInterrupt):
        driven.execute("SELECT 1")
    assert len(closing) > 1
    with pytest.raises(anyq.OperationalError, match="while something was being received"):
        driven.execute("SELECT 1")


@POSIX
@pytest.mark.any_loop
def test_a_signal_handlers_call_is_interrupted(
    driven: anyq.Connection, observer: anyq.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the call that the handler has come amid was handed over for it: that one does not sleep on."""
    hand_over: Any = Direct._hand_over

    def interrupted(self: Direct, turn: Any) -> None:
        monkeypatch.setattr(Direct, "_hand_over", hand_over)
        hand_over(self, turn)
        raise KeyboardInterrupt

    def use() -> None:
        monkeypatch.setattr(Direct, "_hand_over", interrupted)
        with pytest.raises(KeyboardInterrupt):
            driven.execute("SELECT 1")

    interrupt_a_wait(driven, observer, use)
    assert driven.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.any_loop
def test_interrupts_one_after_the_other(driven: anyq.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them comes before anything was done about the one before; the connection is given back all the same."""
    before = signal.getsignal(signal.SIGINT)
    give_up: Any = Direct._give_up
    came: list[object] = []

    def interrupt(self: Direct, turn: Any, events: int) -> bool:
        raise KeyboardInterrupt

    def interrupted(self: Direct, turn: Any, grace: float) -> None:
        came.append(turn)
        if len(came) < 4:
            raise KeyboardInterrupt
        give_up(self, turn, grace)

    driven.execute("SELECT 1")
    with monkeypatch.context() as patched:
        in_python(patched)
        patched.setattr(Direct, "_wait", interrupt)
        patched.setattr(Direct, "_give_up", interrupted)
        with pytest.raises(KeyboardInterrupt):
            while True:  # a reply may be there at once
                driven.execute("SELECT 1")
    assert len(came) == 4
    assert signal.getsignal(signal.SIGINT) is before
    with anyq.sync.timeout(PATIENCE):
        driven.rollback()
        assert driven.execute("SELECT 2").fetchone() == (2,)
