"""Pipeline: blocks in synchronous code, where queueing a statement crosses no thread."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import anyq
from anyq import TransactionStatus
from anyq import errors as e
from anyq.pq import PipelineStatus
from tests.support.activity import PATIENCE
from tests.support.state import pipelining, status


@pytest.fixture(params=[False, True], ids=["manual", "autocommit"])
def table(conn: anyq.Connection, request: pytest.FixtureRequest) -> Iterator[anyq.Connection]:
    conn.execute("CREATE TEMP TABLE t (a int PRIMARY KEY)")
    conn.commit()
    conn.autocommit = request.param
    yield conn
    assert conn.closed or not conn.inner.session.transactions.pipelines
    assert conn.calls.own.pipeline is None


def insert(conn: anyq.Connection, *values: int) -> None:
    for value in values:
        conn.execute("INSERT INTO t VALUES (%s)", [value])


def content(conn: anyq.Connection) -> list[int]:
    return [a for (a,) in conn.execute("SELECT a FROM t ORDER BY a")]


def test_what_a_pipeline_says_of_itself(table: anyq.Connection) -> None:
    assert anyq.Pipeline.is_supported()
    pipeline = table.pipeline()
    assert pipelining(pipeline) is PipelineStatus.OFF
    with pytest.raises(e.InterfaceError, match="not entered"):
        pipeline.sync()
    with pipeline as entered:
        assert entered is pipeline
        assert (pipelining(pipeline), pipelining(table)) == (PipelineStatus.ON, PipelineStatus.ON)
        assert repr(pipeline).startswith("<anyq.sync.pipeline.Pipeline [IDLE, pipeline=ON] (host=")
        assert "[IDLE, pipeline=ON]" in repr(table)
        assert pipelining(pipeline) is PipelineStatus.ON
    assert (pipelining(pipeline), pipelining(table)) == (PipelineStatus.OFF, PipelineStatus.OFF)


def test_a_block_that_is_entered_again(table: anyq.Connection) -> None:
    """By its own thread it goes on with the pipeline, and by another one it is a block of that."""
    table.autocommit = True
    with table.pipeline() as pipeline:
        insert(table, 1)
        with pipeline as again:
            assert again is pipeline
            insert(table, 2)
            with pipeline:
                insert(table, 3)
            insert(table, 4)
        assert pipelining(pipeline) is PipelineStatus.ON
        entered, left = threading.Event(), threading.Event()

        def other() -> None:
            with pipeline:
                insert(table, 5)
                entered.set()
                assert left.wait(PATIENCE)
                insert(table, 6)
            assert table.calls.own.pipeline is None

        thread = threading.Thread(target=other)
        thread.start()
        assert entered.wait(PATIENCE)
        with pytest.raises(e.UniqueViolation), pipeline:
            insert(table, 1)
        left.set()
        thread.join()
        insert(table, 7)
    assert pipelining(table) is PipelineStatus.OFF
    assert content(table) == [1, 2, 3, 4, 5, 6, 7]


def test_queueing_crosses_no_thread(table: anyq.Connection, hops: list[str]) -> None:
    with table.pipeline():
        hops.clear()
        cursors = [table.execute("SELECT %s::int, generate_series(1, 2)", [i]) for i in range(10)]
        assert hops == []
        assert [cursor.rowcount for cursor in cursors] == [-1] * 10
        assert cursors[3].fetchone() == (3, 1)
        assert hops == ["arrive"]
        assert [cursor.rowcount for cursor in cursors] == [2] * 10
        assert cursors[4].fetchall() == [(4, 1), (4, 2)]
        assert cursors[5].fetchmany(1) == [(5, 1)]
        assert list(cursors[6]) == [(6, 1), (6, 2)]
        assert next(cursors[7]) == (7, 1)
        cursors[8].scroll(1)
        assert cursors[8].fetchone() == (8, 2)
        assert [cursor.fetchall() for cursor in cursors[9].results()] == [[(9, 1), (9, 2)]]
        assert cursors[2].set_result(0).fetchone() == (2, 1)
        assert not cursors[1].nextset()
        assert hops == ["arrive"]


@pytest.mark.any_loop
@pytest.mark.parametrize(
    "fetch",
    [
        lambda cursor: [cursor.fetchone()],
        lambda cursor: cursor.fetchmany(1),
        lambda cursor: cursor.fetchall(),
        list,
        lambda cursor: [next(cursor)],
        lambda cursor: [row for one in cursor.results() for row in one],
        lambda cursor: cursor.set_result(0).fetchall(),
        lambda cursor: cursor.scroll(0) or [cursor.fetchone()],
    ],
    ids=["one", "many", "all", "iter", "next", "results", "set_result", "scroll"],
)
def test_every_way_to_fetch_waits_for_the_result(table: anyq.Connection, fetch: Callable[[Any], Any]) -> None:
    with table.pipeline() as pipeline:
        assert fetch(table.execute("SELECT 1")) == [(1,)]
        with pytest.raises(e.DivisionByZero):
            fetch(table.execute("SELECT 1 / 0"))
        with pytest.raises(e.PipelineAborted):
            fetch(table.execute("SELECT 2"))
        pipeline.sync()
        table.rollback()


def test_an_error_aborts_up_to_the_next_sync(table: anyq.Connection) -> None:
    with table.pipeline() as pipeline:
        one = table.execute("SELECT 1")
        wrong = table.execute("SELECT * FROM no_such_table")
        two = table.execute("SELECT 2")
        assert one.fetchone() == (1,)
        assert pipelining(pipeline) is PipelineStatus.ABORTED
        for _ in range(2):
            with pytest.raises(e.UndefinedTable, match="LINE 1"):
                wrong.fetchone()
            with pytest.raises(e.PipelineAborted, match="no_such_table"):
                two.fetchone()
        pipeline.sync()
        table.rollback()
        assert table.execute("SELECT 3").fetchone() == (3,)
        insert(table, 1, 1)
        with pytest.raises(e.UniqueViolation):
            pipeline.sync()
        table.rollback()
    with pytest.raises(e.UniqueViolation), table.pipeline():
        insert(table, 2, 2)
    table.rollback()
    with pytest.raises(ZeroDivisionError), table.pipeline():
        insert(table, 2, 2)
        raise ZeroDivisionError
    table.rollback()
    assert content(table) == []


def test_transactions(table: anyq.Connection) -> None:
    with table.pipeline():
        with pytest.raises(e.UniqueViolation), table.transaction():
            insert(table, 1, 1)
        with table.transaction():
            insert(table, 5)
        with table.transaction():
            insert(table, 6)
            with pytest.raises(e.UniqueViolation), table.transaction():
                insert(table, 7, 7)
            insert(table, 8)
    assert status(table) is TransactionStatus.IDLE
    assert content(table) == [5, 6, 8]
    table.rollback()
    with table.pipeline():
        insert(table, 9)
        table.commit()
        assert status(table) is TransactionStatus.IDLE
        table.autocommit = not table.autocommit
        insert(table, 10)
        table.commit()
        table.rollback()
        table.autocommit = not table.autocommit
        insert(table, 11, 11)
        table.rollback()
        assert content(table) == [5, 6, 8, 9, 10]


def test_a_deferred_constraint_raises_from_commit(table: anyq.Connection) -> None:
    table.execute("CREATE TEMP TABLE d (a int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
    table.commit()
    with table.pipeline():
        if not table.autocommit:
            table.execute("INSERT INTO d VALUES (1)")
            table.execute("INSERT INTO d VALUES (1)")
            with pytest.raises(e.UniqueViolation):
                table.commit()
        with pytest.raises(e.UniqueViolation), table.transaction():
            table.execute("INSERT INTO d VALUES (2)")
            table.execute("INSERT INTO d VALUES (2)")


def test_executemany_keeps_its_place_and_its_results(table: anyq.Connection) -> None:
    with table.pipeline():
        insert(table, 1)
        for sets in ([[1], [1]], ([1] for _ in range(2))):
            cursor = table.cursor()
            cursor.executemany("INSERT INTO t SELECT max(a) + %s FROM t RETURNING a", sets, returning=True)
            last = table.execute("SELECT max(a) FROM t").fetchone()
            assert last is not None
            assert [cur.fetchone() for cur in cursor.results()] == [(last[0] - 1,), last]
        with pytest.raises(e.UniqueViolation):
            cursor.executemany("INSERT INTO t VALUES (%s)", ([1] for _ in range(2)))
        table.rollback()


def test_what_is_refused(table: anyq.Connection) -> None:
    with table.pipeline():
        one = table.execute("SELECT 1")
        with pytest.raises(e.NotSupportedError, match="COPY.*pipeline"):
            table.execute("/* c */ ; COPY t FROM STDIN")
        with pytest.raises(e.ProgrammingError, match="stream.*pipeline"):
            table.cursor().stream("SELECT 1")
        with pytest.raises(e.ProgrammingError, match="named cursor.*pipeline"):
            table.cursor("named").execute("SELECT 1")
        with pytest.raises(e.ProgrammingError):
            table.execute("SELECT %s", [])
        assert one.fetchone() == (1,)
        with pytest.raises(e.Error, match="COPY"):
            table.execute("COPY t FROM/**/STDIN").fetchone()
        table.rollback()
        assert table.execute("SELECT 2").fetchone() == (2,)


def test_cursors_of_other_kinds(table: anyq.Connection) -> None:
    with table.pipeline():
        client = anyq.ClientCursor(table)
        raw = anyq.RawCursor(table)
        client.execute("SELECT %s", ["it's"])
        raw.execute("SELECT $1::int", [5])
        assert (client.fetchone(), raw.fetchone()) == (("it's",), (5,))


def test_nested_blocks(table: anyq.Connection) -> None:
    with table.pipeline():
        insert(table, 1)
        with table.pipeline():
            cursor = table.execute("SELECT count(*) FROM t")
            assert cursor.rowcount == -1
        insert(table, 2)
        with pytest.raises(e.UniqueViolation), table.pipeline():
            insert(table, 2)
        table.rollback()
        assert pipelining(table) is PipelineStatus.ON
    assert cursor.fetchone() == (1,)


def test_each_thread_has_its_own_pipeline(
    table: anyq.Connection, background: Callable[[Callable[[], Any]], Any]
) -> None:
    table.rollback()

    def work(n: int) -> None:
        for _ in range(5):
            with table.pipeline():
                cursors = [table.execute("SELECT %s::int", [100 * n + i]) for i in range(20)]
                assert [cursor.fetchone() for cursor in cursors] == [(100 * n + i,) for i in range(20)]

    threads = [background(lambda n=n: work(n)) for n in range(4)]  # type: ignore[misc]
    for thread in threads:
        thread.result()


def test_two_threads_on_one_pipeline_lose_nothing(
    table: anyq.Connection, background: Callable[[Callable[[], Any]], Any]
) -> None:
    """One executes, the other syncs and fetches."""
    cursors: list[anyq.Cursor[Any]] = []
    done = threading.Event()

    def fetch() -> int:
        fetched = 0
        while not done.is_set() or fetched < len(cursors):
            pipeline.sync()
            while fetched < len(cursors):
                assert cursors[fetched].fetchone() == (fetched,)
                fetched += 1
        return fetched

    with table.pipeline() as pipeline:
        other = background(fetch)
        for i in range(500):
            cursors.append(table.execute("SELECT %s::int", [i]))  # the other one takes them meanwhile
        done.set()
        assert other.result() == 500


def test_a_statement_that_is_queued_while_others_are_taken(
    table: anyq.Connection, background: Callable[[Callable[[], Any]], Any]
) -> None:
    """At either moment: another thread's sync has looked at the first one, or has removed it."""
    reached, queued = threading.Event(), threading.Event()
    pauses = iter(range(2))

    class Slow(deque[Any]):
        def __getitem__(self, index: Any) -> Any:
            return self.pause(super().__getitem__(index))

        def popleft(self) -> Any:
            return self.pause(super().popleft())

        def pause(self, item: Any) -> Any:
            if next(pauses, None) is not None:
                reached.set()
                assert queued.wait(PATIENCE)
                queued.clear()
            return item

    with table.pipeline() as pipeline:
        cursors = [table.execute("SELECT 0")]
        queue: Any = pipeline._async.queue
        queue._queued = Slow(queue._queued)
        other = background(pipeline.sync)
        for query in (b"SELECT 1", b"SELECT 2"):
            assert reached.wait(PATIENCE)
            reached.clear()
            cursors.append(table.execute(query))
            queued.set()
        other.result()
        assert [cur.fetchone() for cur in cursors] == [(0,), (1,), (2,)]


def test_a_thread_in_no_block_goes_on_as_usual(
    table: anyq.Connection, background: Callable[[Callable[[], Any]], Any]
) -> None:
    with table.pipeline():
        insert(table, 1)
        assert background(lambda: content(table)).result() == []
    assert content(table) == [1]


def test_much_in_both_directions_at_once(table: anyq.Connection) -> None:
    value = "x" * 200_000
    with anyq.sync.timeout(60), table.pipeline():
        cursors = [table.execute("SELECT %s::text", [value]) for _ in range(200)]
        assert all(cursor.fetchone() == (value,) for cursor in cursors)


def test_a_connection_that_is_closed_inside(portal_backend: object, dsn: str) -> None:
    conn = anyq.connect(dsn)
    with conn.pipeline():
        conn.close()
    conn = anyq.connect(dsn)
    with pytest.raises(e.OperationalError, match="closed"), conn.pipeline():
        cursor = conn.execute("SELECT 1")
        conn.close()
    with pytest.raises(e.OperationalError):
        cursor.fetchone()
    with pytest.raises(e.OperationalError), conn.pipeline():
        pass


def test_a_connection_that_is_lost_inside(portal_backend: object, dsn: str, observer: anyq.Connection) -> None:
    conn = anyq.connect(dsn)
    with pytest.raises(e.OperationalError), conn.pipeline():
        cursor = conn.execute("SELECT 1")
        observer.execute("SELECT pg_terminate_backend(%s, 10000)", [conn.info.backend_pid])
    with pytest.raises(e.OperationalError):
        cursor.fetchone()
    conn.close()


def test_ctrl_c_inside_drops_what_is_queued(table: anyq.Connection) -> None:
    with pytest.raises(KeyboardInterrupt), table.pipeline():
        cursor = table.execute("INSERT INTO t VALUES (1)")
        raise KeyboardInterrupt
    with pytest.raises(e.OperationalError, match="not been sent"):
        cursor.fetchone()
    assert content(table) == []


def test_a_timeout_while_a_result_is_waited_for(table: anyq.Connection, observer: anyq.Connection) -> None:
    observer.execute("SELECT pg_advisory_lock(33, 1)")
    with table.pipeline() as pipeline:
        one = table.execute("SELECT 1")
        two = table.execute("SELECT pg_advisory_xact_lock(33, 1)")
        with pytest.raises(e.OperationTimeout), anyq.sync.timeout(1):
            two.fetchone()
        with pytest.raises(e.OperationalError):
            one.fetchone()
        pipeline.sync()
        table.rollback()
        insert(table, 1)
    assert content(table) == [1]
