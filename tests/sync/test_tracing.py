"""Those who watch are told of a thread's calls in the context of the thread, wherever they are run."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextvars import copy_context
from typing import Any

import pytest

import anyq
from anyq import errors
from tests.support.tracers import Recorder, whose

pytestmark = pytest.mark.every_way


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def watched(dsn: str, recorder: Recorder, way: str, portal_backend: Any) -> Iterator[anyq.Connection]:
    with anyq.connect(dsn, autocommit=True, tracer=recorder) as connection:
        connection.execute("CREATE TEMP TABLE t (i int)")
        recorder.clear()
        yield connection
    recorder.check_closed()


def failing() -> list[int]:
    raise KeyError


def use_every_way(connection: anyq.Connection) -> None:
    cursor = connection.cursor()
    cursor.execute("SELECT %s", [1])
    with pytest.raises(errors.DivisionByZero):
        cursor.execute("SELECT 1/0")
    cursor.executemany("INSERT INTO t VALUES (%s)", [[1], [2]])
    cursor.executemany("INSERT INTO t VALUES (%s)", ([i] for i in range(2000)))
    with pytest.raises(KeyError):
        cursor.executemany("INSERT INTO t VALUES (%s)", (failing() for _ in range(2)))
    with cursor.copy("COPY t FROM STDIN") as copy:
        copy.write_row([1])
    with cursor.copy("COPY t TO STDOUT") as copy:
        copy.read()
    assert len(list(cursor.stream("SELECT * FROM generate_series(1, 10)"))) == 10
    with connection.pipeline():
        connection.execute("SELECT 2")
        connection.execute("SELECT 3")
    with connection.transaction(), connection.cursor("c") as named:
        named.execute("SELECT 4")
        named.fetchall()


WAYS = [
    *("execute", "execute", "executemany", "executemany", "executemany", "copy", "copy", "stream"),
    *("pipeline", "pipeline", "command", "declare", "fetch", "command"),
]


def test_hooks_are_called_in_the_context_of_the_thread(watched: anyq.Connection, recorder: Recorder) -> None:
    token = whose.set("the caller's")
    try:
        use_every_way(watched)
    finally:
        whose.reset(token)
    told = [told for told in recorder.told if told.hook != "cancellation"]
    assert {one.whose for one in told} == {"the caller's"}
    assert [query.kind for query in recorder.ended()] == WAYS


def test_each_thread_has_its_own(watched: anyq.Connection, recorder: Recorder) -> None:
    def run(name: str) -> None:
        whose.set(name)
        for number in range(10):
            watched.execute("SELECT %s::text", [f"{name} {number}"])

    threads = [threading.Thread(target=copy_context().run, args=(run, name)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(recorder.told) == 2 * 4 * 10
    assert {told.whose == told.what.parameters()[0].split()[0] for told in recorder.told} == {True}


def test_what_a_start_leaves_in_its_context_an_end_finds(dsn: str, way: str, portal_backend: Any) -> None:
    """As whoever attaches something to the context, and detaches it with a token."""

    class Attaching(anyq.tracing.Tracer):
        def __init__(self) -> None:
            self.detached = 0

        def on_query_start(self, query: Any, /) -> Any:
            return whose.set("attached")

        def on_query_end(self, query: Any, state: Any, /) -> None:
            assert whose.get() == "attached"
            whose.reset(state)
            self.detached += 1

    tracer = Attaching()
    with anyq.connect(dsn, autocommit=True, tracer=tracer) as connection:
        connection.execute("SELECT 1")
        list(connection.cursor().stream("SELECT 1"))
        with connection.pipeline():
            connection.execute("SELECT 1")
    assert tracer.detached == 3 and whose.get() == "nobody's"


def test_connecting_is_told(dsn: str, recorder: Recorder, way: str, portal_backend: Any) -> None:
    token = whose.set("the caller's")
    try:
        with anyq.connect(dsn, tracer=recorder) as connection:
            assert recorder.only("connect_end").what.server.pid == connection.info.backend_pid
        assert [told.whose for told in recorder.told] == ["the caller's"] * 2
        with pytest.raises(errors.OperationalError) as failed:
            anyq.connect("host=/nowhere", tracer=recorder)
    finally:
        whose.reset(token)
    told = recorder.only("connect_error")
    assert told.error is failed.value and told.whose == "the caller's"
