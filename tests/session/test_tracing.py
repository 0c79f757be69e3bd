"""Statements as those who watch a session are told of them: each once, by whatever way it is run."""

from __future__ import annotations

import gc
import logging
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

import anyq
from anyq import AsyncConnection, errors
from anyq.session.tracing import size_of, text_of
from anyq.sql import SQL, Identifier, Literal
from tests.support.activity import PATIENCE, cancelled_asleep
from tests.support.templates import t
from tests.support.tracers import Recorder, whose

pytestmark = pytest.mark.anyio


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
async def watched(anyio_backend: object, dsn: str, recorder: Recorder) -> AsyncIterator[AsyncConnection]:
    async with AsyncConnection.connect(dsn, autocommit=True, tracer=recorder) as connection:
        recorder.clear()
        yield connection
    recorder.check_closed()


async def test_a_statement_is_told_with_what_it_has_given(watched: AsyncConnection, recorder: Recorder) -> None:
    cursor = await watched.execute("SELECT i, 'ab' FROM generate_series(1, %s) AS t(i)", [3])
    assert [told.hook for told in recorder.told] == ["query_start", "query_end"]
    query = recorder.only("query_end").what
    assert query is recorder.only("query_start").what
    assert (query.kind, query.sql, query.rows, query.tag) == (
        "execute",
        "SELECT i, 'ab' FROM generate_series(1, %s) AS t(i)",
        3,
        "SELECT 3",
    )
    assert query.parameterized and query.parameters() == [3]
    # A letter, a length, how many values; and of each value its length: one as text, and two.
    assert query.bytes == 3 * (7 + 4 + 1 + 4 + 2)
    assert 0 < query.seconds < PATIENCE and query.began > 0
    server = query.server
    info = watched.info
    assert (server.host, server.port, server.dbname, server.user) == (info.host, info.port, info.dbname, info.user)
    assert (server.pid, server.address) == (info.backend_pid, info.hostaddr or None)
    assert await cursor.fetchall() == [(1, "ab"), (2, "ab"), (3, "ab")]


async def test_each_execution_of_a_prepared_statement_is_told(watched: AsyncConnection, recorder: Recorder) -> None:
    for number in range(10):
        await watched.execute("SELECT %s::int", [number])
    assert [query.parameters() for query in recorder.ended()] == [[number] for number in range(10)]
    prepared = await (await watched.execute("SELECT count(*) FROM pg_prepared_statements")).fetchone()
    assert prepared == (1,)


async def test_rows_and_bytes_are_those_of_all_results(watched: AsyncConnection, recorder: Recorder) -> None:
    await watched.execute("CREATE TEMP TABLE t AS SELECT 1 AS i; INSERT INTO t VALUES (2), (3); SELECT i FROM t")
    query = recorder.only("query_end").what
    assert (query.rows, query.tag, query.bytes) == (1 + 2 + 3, "SELECT 3", 3 * 12)
    recorder.clear()
    await watched.execute("")
    assert (recorder.only("query_end").what.rows, recorder.only("query_end").what.tag) == (0, None)


@pytest.mark.parametrize("own", [lambda: None, lambda: anyq.rows.dict_row])
async def test_what_fails_is_told_with_the_error_that_the_program_gets(
    watched: AsyncConnection, recorder: Recorder, own: Any
) -> None:
    cursor = watched.cursor(row_factory=own())
    with pytest.raises(errors.DivisionByZero) as failed:
        await cursor.execute("SELECT 1/%s", [0])
    assert recorder.only("query_error").error is failed.value
    recorder.clear()
    # Not even sent.
    with pytest.raises(errors.ProgrammingError) as refused:
        await cursor.execute("SELECT %s", [])
    assert recorder.only("query_error").error is refused.value


async def test_one_that_is_sent_again_is_told_once(watched: AsyncConnection, recorder: Recorder) -> None:
    """A plan goes stale, and the driver sends the statement once more."""
    await watched.execute("CREATE TEMP TABLE t AS SELECT 1 AS a")
    for _ in range(7):
        await watched.execute("SELECT * FROM t")
    await watched.execute("ALTER TABLE t ADD b int")
    recorder.clear()
    assert await (await watched.execute("SELECT * FROM t")).fetchall() == [(1, None)]
    assert [told.hook for told in recorder.told] == ["query_start", "query_end"]


async def test_a_cancelled_one_is_told_with_its_cancellation(
    watched: AsyncConnection, recorder: Recorder, dsn: str
) -> None:
    await cancelled_asleep(dsn, watched)
    error = recorder.only("query_error").error
    assert isinstance(error, anyio.get_cancelled_exc_class())
    sent = recorder.only("cancellation").what
    assert (sent.asked, sent.error) == (False, None) and sent.server.pid == watched.info.backend_pid
    assert 0 < sent.seconds < PATIENCE
    assert await (await watched.execute("SELECT 1")).fetchall() == [(1,)]


async def test_what_a_user_cancels_is_told(watched: AsyncConnection, recorder: Recorder) -> None:
    async with anyio.create_task_group() as group:

        async def sleep() -> None:
            with pytest.raises(errors.QueryCanceled):
                await watched.execute("SELECT pg_sleep(60)")

        group.start_soon(sleep)
        with anyio.fail_after(PATIENCE):
            # The server forgets one that comes before the statement.
            while not recorder.ended():
                await watched.cancel()
    asked = [told.what for told in recorder.told if told.hook == "cancellation"]
    assert all(one.asked and one.error is None for one in asked) and asked


async def test_texts_are_as_they_were_written(watched: AsyncConnection, recorder: Recorder) -> None:
    await watched.execute(b"SELECT 1")
    await watched.execute(SQL("SELECT {}, {} AS {}, %s").format(Literal("secret"), 5, Identifier("a b")), ["x"])
    await watched.execute(t('SELECT {v}::text, {name:i} FROM (SELECT 1 AS "a b") t', v="secret", name="a b"))
    cursor: Any = anyq.AsyncClientCursor(watched)
    await cursor.execute("SELECT %(a)s", {"a": "secret"})
    raw: Any = anyq.AsyncRawCursor(watched)
    await raw.execute("SELECT $1", ["secret"])
    assert recorder.texts() == [
        "SELECT 1",
        'SELECT ?, ? AS "a b", %s',
        'SELECT $1::text, "a b" FROM (SELECT 1 AS "a b") t',
        "SELECT %(a)s",
        "SELECT $1",
    ]


async def test_a_password_is_told_nowhere(watched: AsyncConnection, recorder: Recorder) -> None:
    with pytest.raises(errors.UndefinedObject):
        await watched.execute("ALTER ROLE anyq_nobody PASSWORD 'hunter2'")
    with pytest.raises(errors.UndefinedObject):
        await watched.change_password("anyq_nobody", "hunter2")
    for query in recorder.ended():
        assert "hunter2" not in query.sql and "SCRAM" not in f"{query.sql}{query.parameters()}"
    assert recorder.texts()[-1] == 'ALTER ROLE "anyq_nobody" PASSWORD %s'


async def test_statements_of_a_pipeline_are_told_when_their_results_are_there(
    watched: AsyncConnection, recorder: Recorder
) -> None:
    async with watched.pipeline() as pipeline:
        first = await watched.execute("SELECT %s::int", [1])
        await watched.execute("SELECT 1/0")
        await watched.execute("SELECT 3")
        assert [told.hook for told in recorder.told] == ["query_start"] * 3
        with pytest.raises(errors.DivisionByZero):
            await pipeline.sync()
        assert await first.fetchall() == [(1,)]
    ends = [told for told in recorder.told if not told.hook.endswith("_start")]
    assert [(told.hook, told.what.sql, told.what.rows) for told in ends] == [
        ("query_end", "SELECT %s::int", 1),
        ("query_error", "SELECT 1/0", -1),
        ("query_error", "SELECT 3", -1),
    ]
    assert isinstance(ends[1].error, errors.DivisionByZero) and isinstance(ends[2].error, errors.PipelineAborted)
    assert {told.what.kind for told in ends} == {"pipeline"}


async def test_hooks_are_called_in_the_context_of_the_task(watched: AsyncConnection, recorder: Recorder) -> None:
    """Whoever reads the replies, and whoever sends what is queued."""

    async def run(name: str) -> None:
        whose.set(name)
        for number in range(3):
            await watched.execute("SELECT %s::text", [f"{name} {number}"])
        async with watched.pipeline():
            await watched.execute("SELECT %s::text", [f"{name} 3"])

    async with anyio.create_task_group() as group:
        for name in "abcdef":
            group.start_soon(run, name)
    assert len(recorder.told) == 2 * 4 * 6
    assert {told.whose == told.what.parameters()[0].split()[0] for told in recorder.told} == {True}


async def test_one_whose_tracer_fails_goes_on(
    dsn: str, caplog: pytest.LogCaptureFixture, anyio_backend: object
) -> None:
    class Failing(anyq.tracing.Tracer):
        def on_query_start(self, query: Any, /) -> Any:
            raise ZeroDivisionError

        def on_query_end(self, query: Any, state: Any, /) -> None:
            raise ZeroDivisionError

        def on_query_error(self, query: Any, state: Any, error: BaseException, /) -> None:
            raise ZeroDivisionError

    async with AsyncConnection.connect(dsn, autocommit=True, tracer=Failing()) as connection:
        assert await (await connection.execute("SELECT 1")).fetchall() == [(1,)]
        with pytest.raises(errors.DivisionByZero):
            await connection.execute("SELECT 1/0")
    assert [record.name for record in caplog.records] == ["anyq.tracing"] * 3
    assert all(record.exc_info for record in caplog.records)


async def test_nobody_who_is_not_watched_is_told_of(conn: AsyncConnection, recorder: Recorder) -> None:
    with anyq.tracing.installed(recorder):
        await conn.execute("SELECT 1")
    assert recorder.told == [] and conn.session.tracing is None


def test_a_run_of_values_has_the_size_of_its_messages() -> None:
    assert size_of((b"x" * 100, 10, 40, 2), 3) == 30
    assert size_of(([b"ab", None, b"", b"abc"], 0, 2, 2), 2) == 2 * 7 + 4 * 4 + 5


def test_what_is_no_query_has_a_text() -> None:
    assert text_of(7) == "(int)"
    assert text_of(SQL("{} {}").format(Literal(object()), Identifier("a"))) == '? "a"'


# -- the other ways


async def test_executemany_is_one_that_is_told_with_its_sets(watched: AsyncConnection, recorder: Recorder) -> None:
    await watched.execute("CREATE TEMP TABLE t (i int)")
    recorder.clear()
    cursor = watched.cursor()
    await cursor.executemany("INSERT INTO t VALUES (%s)", [[number] for number in range(2500)])
    await cursor.executemany("INSERT INTO t SELECT %s WHERE false RETURNING i", ([i] for i in range(3)), returning=True)
    await cursor.executemany("INSERT INTO t VALUES (%s) RETURNING i", [[1], [2]], returning=True)
    await cursor.executemany("INSERT INTO t VALUES (%s)", [])
    told = [(query.kind, query.sets, query.rows, query.tag, query.bytes) for query in recorder.ended()]
    assert told == [
        ("executemany", 2500, 2500, "INSERT 0 1", 0),
        ("executemany", 3, 0, "INSERT 0 0", 0),
        ("executemany", 2, 2, "INSERT 0 1", 2 * 12),
        ("executemany", 0, 0, None, 0),
    ]
    assert {query.parameters() for query in recorder.ended()} == {None}
    recorder.clear()
    with pytest.raises(errors.DivisionByZero) as failed:
        await cursor.executemany("SELECT 1/%s", [[1], [0]])
    assert recorder.only("query_error").error is failed.value
    recorder.clear()

    def sets() -> Any:
        yield [1]
        raise KeyError("mine")

    with pytest.raises(KeyError) as mine:
        await cursor.executemany("SELECT %s", sets())
    assert recorder.only("query_error").error is mine.value


async def test_a_stream_is_told_of_when_it_is_at_its_end(watched: AsyncConnection, recorder: Recorder) -> None:
    cursor = watched.cursor()
    stream = cursor.stream("SELECT i FROM generate_series(10, %s) AS t(i)", [99], size=10)
    assert recorder.told == []
    assert len([row async for row in stream]) == 90
    (query,) = recorder.ended()
    assert (query.kind, query.rows, query.bytes, query.tag) == ("stream", 90, 90 * 13, "SELECT 90")
    assert query.parameters() == [99]
    recorder.clear()
    async with cursor.stream("SELECT i FROM generate_series(1, 1000000) AS t(i)") as rows:
        async for _ in rows:
            break
    (query,) = recorder.ended()
    assert query.tag is None and 0 < query.rows < 1_000_000
    recorder.clear()
    with pytest.raises(errors.DivisionByZero) as failed:
        async for _ in cursor.stream("SELECT 1/(10 - i) FROM generate_series(1, 20) AS t(i)"):
            pass
    assert recorder.only("query_error").error is failed.value
    recorder.clear()
    with pytest.raises(errors.ProgrammingError) as refused:
        async for _ in cursor.stream("SELECT %s", []):
            pass
    assert recorder.only("query_error").error is refused.value


async def test_a_stream_that_is_dropped_is_told_of(watched: AsyncConnection, recorder: Recorder) -> None:
    stream = watched.cursor().stream("SELECT i FROM generate_series(1, 1000000) AS t(i)")
    await anext(stream)
    del stream
    gc.collect()
    assert recorder.only("query_end").what.tag is None
    await watched.execute("SELECT 1")


async def test_a_copy_is_told_with_its_bytes(watched: AsyncConnection, recorder: Recorder) -> None:
    await watched.execute("CREATE TEMP TABLE t (i int)")
    recorder.clear()
    cursor = watched.cursor()
    async with cursor.copy("COPY t FROM STDIN") as copy:
        for number in range(100_000):
            await copy.write_row([number])
    assert [told.hook for told in recorder.told] == ["copy_start", "copy_end"]
    written = recorder.only("copy_end").what
    size = len("".join(f"{number}\n" for number in range(100_000)))
    assert (written.kind, written.sql, written.direction) == ("copy", "COPY t FROM STDIN", "in")
    assert (written.rows, written.tag) == (100_000, "COPY 100000")
    assert size < written.bytes < size + 5 * 20
    recorder.clear()
    async with cursor.copy("COPY (SELECT * FROM t WHERE i < %s) TO STDOUT", [10]) as copy:
        assert len([row async for row in copy]) == 10
    read = recorder.only("copy_end").what
    assert (read.direction, read.rows, read.tag, read.bytes) == ("out", 10, "COPY 10", 10 * 7)
    assert read.parameters() == [10]


async def test_a_copy_that_does_not_succeed_is_told_with_the_reason(
    watched: AsyncConnection, recorder: Recorder
) -> None:
    await watched.execute("CREATE TEMP TABLE t (i int)")
    cursor = watched.cursor()

    def told() -> tuple[str, type[object]]:
        begin, end = [one for one in recorder.told if one.hook != "cancellation"]
        assert begin.hook == "copy_start"
        recorder.clear()
        return end.hook, type(end.error)

    recorder.clear()
    with pytest.raises(KeyError):
        async with cursor.copy("COPY t FROM STDIN") as copy:
            await copy.write_row([1])
            raise KeyError
    assert told() == ("copy_error", KeyError)
    with pytest.raises(errors.InvalidTextRepresentation):
        async with cursor.copy("COPY t FROM STDIN") as copy:
            await copy.write("x\n")
    assert told() == ("copy_error", errors.InvalidTextRepresentation)
    with pytest.raises(errors.UndefinedTable):
        async with cursor.copy("COPY nothing TO STDOUT"):
            pass
    assert told() == ("copy_error", errors.UndefinedTable)
    async with cursor.copy("COPY (SELECT generate_series(1, 1000000)) TO STDOUT") as copy:
        await copy.read()
    assert told() == ("copy_end", type(None))
    dropped = cursor.copy("COPY t FROM STDIN")
    await dropped.__aenter__()
    del dropped
    gc.collect()
    assert told() == ("copy_error", errors.OperationalError)
    assert await (await watched.execute("SELECT count(*) FROM t")).fetchall() == [(0,)]


async def test_of_a_named_cursor_its_query_and_each_fetch_are_told(
    watched: AsyncConnection, recorder: Recorder
) -> None:
    async with watched.transaction(), watched.cursor("a b") as cursor:
        await cursor.execute("SELECT i FROM generate_series(1, %s) AS t(i)", [5])
        assert await cursor.fetchone() == (1,)
        assert len(await cursor.fetchall()) == 4
        with pytest.raises(errors.DivisionByZero):
            async with watched.transaction():
                await cursor.execute("SELECT 1/i FROM generate_series(0, 1) AS t(i)")
                await cursor.fetchone()
    told = [(query.kind, query.sql, query.rows, query.tag) for query in recorder.ended() if query.kind != "command"]
    assert told == [
        ("declare", "SELECT i FROM generate_series(1, %s) AS t(i)", -1, None),
        ("fetch", 'FETCH FORWARD 1 FROM "a b"', 1, "FETCH 1"),
        ("fetch", 'FETCH FORWARD ALL FROM "a b"', 4, "FETCH 4"),
        ("declare", "SELECT 1/i FROM generate_series(0, 1) AS t(i)", -1, None),
        ("fetch", 'FETCH FORWARD 1 FROM "a b"', -1, None),
    ]
    failed = recorder.only("query_error")
    assert failed.what.kind == "fetch" and isinstance(failed.error, errors.DivisionByZero)


async def test_notifications_and_what_asks_for_them_are_told(watched: AsyncConnection, recorder: Recorder) -> None:
    channel = f"c{id(recorder)}"
    async with watched.listen(channel) as stream:
        await watched.notify(channel, "payload")
        await stream.receive()
    told = recorder.only("notification").what
    assert (told.channel, told.payload(), told.pid) == (channel, "payload", watched.info.backend_pid)
    commands = [query.sql for query in recorder.ended() if query.kind == "command"]
    assert commands == [f'LISTEN "{channel}"', f'UNLISTEN "{channel}"']


async def test_statements_are_in_the_log_while_it_is_at_debug(
    dsn: str, caplog: pytest.LogCaptureFixture, anyio_backend: object
) -> None:
    with caplog.at_level(logging.DEBUG, "anyq.query"):
        async with AsyncConnection.connect(dsn, autocommit=True) as connection:
            await connection.execute("SELECT %s", ["secret"])
    lines = [record.getMessage() for record in caplog.records if record.name == "anyq.query"]
    assert len(lines) == 1 and lines[0].endswith(" ms, SELECT 1: SELECT %s")
