"""The compiled half of a call that a thread runs itself: interrupts wherever Python's code is called, and its waits."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import anyq
from anyq._accel import compiled_driving
from anyq.backends.blocking import BlockingBackend
from anyq.sync.direct import Direct
from anyq.sync.portal import Portal
from anyq.transport.socket import SocketStream
from tests.support.activity import PATIENCE

pytestmark = pytest.mark.skipif(compiled_driving is None, reason="nothing is compiled")


@pytest.fixture
def conn(dsn: str) -> Iterator[anyq.Connection]:
    """A connection on which something was executed by this thread."""
    with anyq.connect(dsn, autocommit=True) as connection:
        connection.execute("SELECT 1")
        connection.execute("SELECT 1")
        yield connection


def check(conn: anyq.Connection) -> None:
    """Check that a connection is given back, and can be used directly."""
    direct: Any = conn.calls._direct  # pyright: ignore[reportPrivateUsage]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert direct._driver is None and not direct._calling
    inner: Any = conn.inner
    assert inner.session.wire.backend is direct._own
    assert conn.calls.portal.idle_workers()
    with anyq.sync.timeout(PATIENCE):
        assert conn.execute("SELECT 2").fetchone() == (2,)
    assert conn.execute("SELECT 3").fetchone() == (3,)


@pytest.mark.parametrize("times", [1, 2, 3])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    ("cls", "name"),
    [
        (Portal, "idle_workers"),
        (SocketStream, "lend"),
        (SocketStream, "take_back"),
        (Direct, "_end"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_an_interrupt_of_what_is_called(
    conn: anyq.Connection, monkeypatch: pytest.MonkeyPatch, cls: type, name: str, after: bool, times: int
) -> None:
    """Of a method before its first line, or after its last one, and of each that is called once more."""
    method: Any = getattr(cls, name)
    left = times

    def interrupted(*args: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            return method(*args)
        if after:
            method(*args)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(cls, name, interrupted)
        if name == "_end":
            # It is called where something else was interrupted.
            patched.setattr(SocketStream, "lend", raise_interrupt)
        with pytest.raises(KeyboardInterrupt):
            for _ in range(times + 1):
                conn.execute("SELECT 1")
    check(conn)


def raise_interrupt(*args: object) -> None:
    raise KeyboardInterrupt


def test_ctrl_c_amid_the_coroutine_is_noted(conn: anyq.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint: Any = BlockingBackend.checkpoint
    noted: list[bool] = []

    def interrupt(backend: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        direct: Any = conn.calls._direct  # pyright: ignore[reportPrivateUsage]
        noted.append(direct._driver.interrupts.pending)
        return checkpoint(backend)

    with monkeypatch.context() as patched:
        patched.setattr(BlockingBackend, "checkpoint", interrupt)
        with pytest.raises(KeyboardInterrupt):
            conn.execute("SELECT 1")
    assert noted and noted[0]
    check(conn)


def test_a_bell_that_was_rung_before(conn: anyq.Connection) -> None:
    handle: Any = conn.calls.portal.idle_workers()[-1]
    handle.bell.ring()
    assert conn.execute("SELECT count(*) FROM generate_series(1, 100000)").fetchone() == (100000,)
    check(conn)


@pytest.mark.parametrize("plain", [True, False])
def test_ctrl_c_amid_a_wait(conn: anyq.Connection, dsn: str, plain: bool) -> None:
    """In C, or in Python where somebody has replaced poll()."""
    direct: Any = conn.calls._direct  # pyright: ignore[reportPrivateUsage]
    assert direct._backend.plain
    direct._backend.plain = plain
    main = threading.get_ident()
    with anyq.connect(dsn, autocommit=True) as other:
        query = "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND wait_event = 'PgSleep'"

        def interrupt() -> None:
            while not other.execute(query, [conn.info.backend_pid]).fetchone():
                pass
            signal.pthread_kill(main, signal.SIGINT)

        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            conn.execute("SELECT pg_sleep(60)")
        thread.join()
    check(conn)


def test_what_a_function_raises_before_there_is_a_coroutine(conn: anyq.Connection) -> None:
    drive: Callable[..., Any] = conn.calls.drive

    def no_coroutine() -> Any:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        drive(no_coroutine)
    check(conn)
