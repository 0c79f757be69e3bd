"""ServerCursor: named cursors in synchronous code; what they do is tested with the asynchronous ones."""

from __future__ import annotations

import gc
import threading
from typing import Any

import pytest

import anyq
from anyq import Connection, Cursor, RawServerCursor, ServerCursor, TransactionStatus
from anyq import errors as e
from anyq.rows import dict_row, scalar_row

NUMBERS = "SELECT * FROM generate_series(0, %s::int - 1)"


def numbers(conn: Connection[Any], count: int, **options: Any) -> ServerCursor[Any]:
    return conn.cursor("numbers", row_factory=scalar_row, **options).execute(NUMBERS, [count])


def open_cursors(conn: Connection[Any]) -> list[str]:
    cur = conn.execute("SELECT name FROM pg_cursors WHERE name <> '' ORDER BY name")
    return [name for (name,) in cur.fetchall()]


def test_what_it_is(conn: Connection) -> None:
    cur = conn.cursor("c", scrollable=True, withhold=True)
    assert type(cur) is ServerCursor
    assert isinstance(cur, Cursor)
    assert (cur.name, cur.scrollable, cur.withhold, cur.itersize, cur.arraysize) == ("c", True, True, 100, 1)
    assert (cur.description, cur.rowcount, cur.rownumber, cur.statusmessage) == (None, -1, None, None)
    assert cur.execute("SELECT 1 AS a") is cur
    assert cur.description is not None
    assert cur.description[0].name == "a"
    assert (cur.rowcount, cur.rownumber, cur.statusmessage) == (-1, 0, "DECLARE CURSOR")
    assert list(cur.results()) == [cur]
    assert cur.set_result(0).fetchone() == (1,)
    assert "ServerCursor 'c' [FETCH 1]" in repr(cur)


@pytest.mark.any_loop
@pytest.mark.parametrize("itersize", [1, 64, 100, 1000])
@pytest.mark.parametrize("count", [0, 1, 64, 100, 200, 201])
def test_iteration_has_one_hop_for_a_piece(conn: Connection, hops: list[str], itersize: int, count: int) -> None:
    cur = numbers(conn, count)
    cur.itersize = itersize
    hops.clear()
    assert list(cur) == list(range(count))
    assert len(hops) in (count // itersize + 1, count // itersize + 2)
    assert list(cur) == []


def test_rows_of_a_piece_are_taken_in_the_calling_thread(conn: Connection, hops: list[str]) -> None:
    cur = numbers(conn, 1000)
    threads: set[int] = set()

    def factory(cursor: Any) -> Any:
        def make(values: Any) -> Any:
            threads.add(threading.get_ident())
            return values[0]

        return make

    cur.row_factory = factory
    assert next(cur) == 0
    hops.clear()
    rows = iter(cur)
    assert [next(rows) for _ in range(50)] == list(range(1, 51))
    assert (cur.fetchone(), cur.fetchmany(9), next(rows)) == (51, list(range(52, 61)), 61)
    assert hops == []
    assert cur.fetchmany(100) == list(range(62, 162))
    assert len(hops) == 1
    assert [next(rows), *rows] == list(range(162, 1000))
    assert threads == {threading.get_ident()}


def test_mixed_ways(conn: Connection) -> None:
    cur = numbers(conn, 300, scrollable=True)
    seen = []
    for row in cur:
        seen.append(row)
        if row % 7 == 0:
            seen.append(cur.fetchone())
        if row % 50 == 0:
            seen += cur.fetchmany(120)
    assert [row for row in seen if row is not None] == list(range(300))
    cur.scroll(5, "absolute")
    assert (cur.fetchone(), cur.rownumber) == (5, 6)
    cur.scroll(-3)
    assert cur.fetchmany(2) == [3, 4]
    cur.scroll(2)
    assert cur.fetchall() == list(range(7, 300))
    with pytest.raises(IndexError):
        cur.scroll(0)
    with pytest.raises(IndexError):
        cur.scroll(-1, "absolute")
    with pytest.raises(StopIteration):
        next(cur)


def test_rows_that_are_none(conn: Connection) -> None:
    cur = conn.cursor("nulls", row_factory=scalar_row).execute("SELECT NULL FROM generate_series(1, 5)")
    cur.itersize = 2
    assert [next(cur), *cur] == [None] * 5


def test_sizes(conn: Connection) -> None:
    cur = numbers(conn, 10)
    assert (cur.fetchmany(), cur.fetchmany(0)) == ([0], [1])
    cur.arraysize = 0
    assert cur.fetchmany(0) == []
    with pytest.raises(ValueError, match="-1"):
        cur.fetchmany(-1)
    cur.itersize = 0
    with pytest.raises(ValueError, match="itersize"):
        next(cur)


def test_parameters_formats_and_rows(conn: Connection) -> None:
    with conn.cursor("c", binary=True, row_factory=dict_row) as cur:
        cur.execute("SELECT %(a)s + 1 AS a, %(b)s AS b", {"a": 1, "b": "x"})
        assert list(cur) == [{"a": 2, "b": "x"}]
    raw: RawServerCursor[Any] = RawServerCursor(conn, "raw")
    assert raw.execute("SELECT $1::text", ["%s"]).fetchall() == [("%s",)]
    assert open_cursors(conn) == ["raw"]


def test_a_held_cursor(conn: Connection) -> None:
    cur = numbers(conn, 300, withhold=True)
    assert cur.fetchone() == 0
    conn.commit()
    assert list(cur) == list(range(1, 300))
    assert conn.info.transaction_status is TransactionStatus.IDLE
    cur.close()
    assert conn.info.transaction_status is TransactionStatus.IDLE
    assert open_cursors(conn) == []


def test_in_autocommit_mode(observer: Connection) -> None:
    with pytest.raises(e.NoActiveSqlTransaction, match="withhold=True"):
        observer.cursor("c").execute("SELECT 1")
    with observer.transaction(), observer.cursor("c") as cur:
        assert cur.execute("SELECT 1").fetchall() == [(1,)]


def test_closing(conn: Connection, hops: list[str]) -> None:
    with pytest.raises(e.UndefinedColumn), conn.cursor("c") as cur:
        cur.execute("SELECT nosuch")
    conn.rollback()
    hops.clear()
    with conn.cursor("c"):
        pass
    assert hops == []
    with conn.cursor("c", withhold=True) as cur:
        cur.execute("SELECT 1")
        conn.rollback()
    cur.close()
    assert cur.closed
    for use in (cur.fetchone, cur.fetchall, cur.fetchmany, lambda: next(cur), lambda: iter(cur), lambda: cur.scroll(0)):
        with pytest.raises(e.InterfaceError, match="closed"):
            use()
    cur = conn.cursor("c").execute("SELECT generate_series(1, 3)")
    assert next(cur) == (1,)
    conn.close()
    assert list(cur.fetchmany(2)) == [(2,), (3,)]
    with pytest.raises(e.OperationalError, match="closed"):
        cur.fetchone()
    cur.close()


def test_one_that_is_dropped(observer: Connection) -> None:
    for row in observer.cursor("c", withhold=True).execute("SELECT generate_series(1, 1000)"):
        if row == (3,):
            break
    del row
    gc.collect()
    assert open_cursors(observer) == []


def test_a_cursor_of_somebody_else(conn: Connection) -> None:
    conn.execute("DECLARE c CURSOR FOR SELECT generate_series(1, 250)")
    with conn.cursor("c") as cur:
        assert cur.fetchone() == (1,)
        assert len(list(cur)) == 249
    assert open_cursors(conn) == []
    with pytest.raises(e.InvalidCursorName, match="execute"):
        conn.cursor("nosuch").fetchone()


def test_what_is_not_for_named_cursors(conn: Connection) -> None:
    cur = conn.cursor("c")
    with pytest.raises(e.NotSupportedError, match="named cursors"):
        cur.executemany("SELECT %s", [(1,)])
    with pytest.raises(e.NotSupportedError, match="named cursors"):
        cur.stream("SELECT 1")
    with pytest.raises(e.NotSupportedError, match="named cursors"):
        cur.copy("COPY t FROM STDIN")
    with pytest.raises(e.ProgrammingError, match="named cursors"):
        conn.cursor(withhold=True)  # type: ignore[call-overload]
    with pytest.raises(e.ProgrammingError, match="empty"):
        conn.cursor("")


def test_a_pipeline_goes_on_without_named_cursors(conn: Connection) -> None:
    before = conn.cursor("before").execute("SELECT generate_series(1, 3)")
    with conn.pipeline():
        cur = conn.execute("SELECT 1")
        with pytest.raises(e.ProgrammingError, match="a named cursor cannot be used in a pipeline"):
            conn.cursor("c").execute("SELECT 1")
        with pytest.raises(e.ProgrammingError, match="a named cursor cannot be used in a pipeline"):
            before.fetchone()
        assert cur.fetchone() == (1,)
    assert before.fetchall() == [(1,), (2,), (3,)]


def test_a_time_limit_cancels_a_fetch(conn: Connection) -> None:
    cur = conn.cursor("c").execute("SELECT pg_sleep(x * 3600) FROM generate_series(0, 3) AS x")
    assert cur.fetchone() == ("",)
    with pytest.raises(e.OperationalError), anyq.sync.timeout(0.05):
        cur.fetchone()
    with pytest.raises(e.OperationalError, match="were lost"):
        cur.fetchone()
    cur.close()
    conn.rollback()


def test_the_class_of_named_cursors(conn: Connection) -> None:
    class Mine(ServerCursor[Any]):
        pass

    conn.server_cursor_factory = Mine
    assert type(conn.cursor("c")) is Mine
    for wrong in (Cursor, anyq.AsyncServerCursor, None):
        with pytest.raises(e.ProgrammingError, match="server_cursor_factory must be ServerCursor"):
            conn.server_cursor_factory = wrong  # type: ignore[assignment]
    with pytest.raises(e.ProgrammingError, match="cursors with a name"):
        conn.cursor_factory = ServerCursor
