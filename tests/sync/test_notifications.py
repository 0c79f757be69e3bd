"""Notifications in synchronous code."""

from __future__ import annotations

import gc
import math
import queue
import weakref
from collections.abc import Callable
from typing import Any

import anyio
import pytest

import anyq
from tests.support.activity import PATIENCE


@pytest.fixture
def listening(conn: anyq.Connection) -> anyq.Connection:
    conn.autocommit = True
    conn.execute("LISTEN a")
    return conn


def test_notifies_that_have_come(listening: anyq.Connection, observer: anyq.Connection) -> None:
    for i in range(3):
        observer.notify("a", str(i))
    notifies = listening.notifies(timeout=30, stop_after=2)
    assert [n.payload for n in notifies] == ["0", "1"]
    assert next(listening.notifies(timeout=30)) == anyq.Notify("a", "2", observer.info.backend_pid)
    assert list(listening.notifies(timeout=0)) == []


def test_notifies_crosses_once_for_what_has_come(
    listening: anyq.Connection, observer: anyq.Connection, hops: list[str]
) -> None:
    observer.execute("SELECT pg_notify('a', i::text) FROM generate_series(1, 150) AS i")
    hops.clear()
    with listening.notifies(timeout=30, stop_after=100) as notifies:
        assert [int(n.payload) for n in notifies] == list(range(1, 101))
    # At the first, at every checkpoint, and for the end.
    assert hops == ["__anext__"] * 3 + ["aclose"]
    # What had come and was not yielded is for the next one.
    with listening.notifies(timeout=30, stop_after=50) as notifies:
        assert [int(n.payload) for n in notifies] == list(range(101, 151))


def test_a_generator_closed_early_leaves_the_connection_usable(
    listening: anyq.Connection, observer: anyq.Connection
) -> None:
    observer.notify("a", "one")
    observer.notify("a", "two")
    generator = listening.notifies()
    for notify in generator:
        assert notify.payload == "one"
        assert listening.execute("SELECT 1").fetchone() == (1,)
        generator.close()
    assert listening.execute("SELECT 1").fetchone() == (1,)
    with listening.notifies(stop_after=1) as rest:
        assert [n.payload for n in rest] == ["two"]
    for _ in listening.notifies(timeout=0):
        pytest.fail("there is nothing left")
    observer.notify("a", "three")
    for notify in listening.notifies():
        assert notify.payload == "three"
        break
    assert listening.execute("SELECT 1").fetchone() == (1,)


def test_the_connection_works_while_a_thread_waits(
    listening: anyq.Connection, observer: anyq.Connection, background: Callable[..., Any]
) -> None:
    waiting = background(lambda: next(listening.notifies(timeout=30)))
    for _ in range(10):
        assert listening.execute("SELECT 1").fetchone() == (1,)
    observer.notify("a", "hello")
    assert waiting.result().payload == "hello"


def test_listen(conn: anyq.Connection, observer: anyq.Connection) -> None:
    conn.autocommit = True
    with conn.listen("b", "c") as stream:
        for i in range(200):
            observer.notify("b" if i % 2 else "c", str(i))
        for i in range(200):
            assert stream.receive().payload == str(i)
        with pytest.raises(anyio.WouldBlock):
            stream.receive_nowait()
        conn.notify("b", "self")
        for notify in stream:
            assert (notify.channel, notify.payload) == ("b", "self")
            break
        assert conn.execute("SELECT count(*) FROM pg_listening_channels()").fetchone() == (2,)
    assert conn.execute("SELECT count(*) FROM pg_listening_channels()").fetchone() == (0,)
    assert stream.is_closed


def test_receivers_compete(conn: anyq.Connection, observer: anyq.Connection, background: Callable[..., Any]) -> None:
    conn.autocommit = True
    got: queue.Queue[str] = queue.Queue()

    def receive(stream: anyq.sync.NotificationStream) -> None:
        with stream:
            for notify in stream:
                got.put(notify.payload)

    with conn.listen("b", max_buffer_size=math.inf) as stream:
        clones = [stream.clone() for _ in range(4)]
        threads = [background(lambda s=clone: receive(s)) for clone in clones]
        for i in range(100):
            observer.notify("b", str(i))
        payloads = [got.get(timeout=PATIENCE) for _ in range(100)]
    for thread in threads:
        thread.result()
    assert got.empty()
    assert sorted(payloads, key=int) == [str(i) for i in range(100)]


def test_overflow(conn: anyq.Connection, observer: anyq.Connection) -> None:
    conn.autocommit = True
    dropping = conn.listen("b", max_buffer_size=1, overflow="drop_oldest")
    with conn.listen("b", max_buffer_size=1) as strict, dropping as s:
        observer.notify("b", "one")
        observer.notify("b", "two")
        conn.execute("SELECT 1")
        assert s.receive().payload == "two"
        assert s.missed == 1
        assert strict.receive().payload == "one"
        with pytest.raises(anyq.errors.NotificationOverflow):
            strict.receive()


def test_closing_ends_a_thread_that_waits(conn: anyq.Connection, background: Callable[..., Any]) -> None:
    conn.autocommit = True
    with conn.listen("b") as stream:
        waiting = background(lambda: list(stream))
        waiting_too = background(lambda: list(conn.notifies()))
        conn.close()
        for thread in (waiting, waiting_too):
            with pytest.raises(anyq.OperationalError, match="closed"):
                thread.result()


def test_wrong_use(conn: anyq.Connection) -> None:
    with pytest.raises(anyq.ProgrammingError):
        conn.notify("")
    with pytest.raises(TypeError):
        conn.listen()
    block = conn.listen("a")
    with block:
        pass
    with pytest.raises(anyq.ProgrammingError, match="once"), block:
        pass


def test_what_listens_keeps_its_connection(dsn: str) -> None:
    """Nobody else refers to it: it is not closed, as it would be if it were forgotten."""
    conn = anyq.connect(dsn, autocommit=True)
    conn.execute("LISTEN keep_a")
    conn.execute("NOTIFY keep_a, 'first'")
    notifies = conn.notifies(timeout=PATIENCE, stop_after=1)
    block = conn.listen("keep_b")
    owner = weakref.ref(conn)
    del conn
    gc.collect()
    assert [notify.payload for notify in notifies] == ["first"]
    del notifies
    with block as stream:
        del block
        gc.collect()
        connection = owner()
        assert connection is not None
        connection.notify("keep_b", "second")
        assert stream.receive().payload == "second"
    connection.close()
