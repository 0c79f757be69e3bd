"""Cursors: executing crosses to the event loop once, fetching what has arrived does not."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from itertools import count, islice
from typing import Any

import pytest

import anyq
from anyq import rows
from anyq.rows import class_row, dict_row

pytestmark = pytest.mark.every_way


def test_one_hop_for_execute_and_none_for_fetching(conn: anyq.Connection, hops: list[str]) -> None:
    cursor = conn.execute("SELECT i FROM generate_series(1, 10) AS t(i)")
    assert hops == ["execute"]
    assert cursor.fetchone() == (1,)
    assert cursor.fetchmany(2) == [(2,), (3,)]
    assert next(cursor) == (4,)
    for row in cursor:
        assert row == (5,)
        break
    cursor.scroll(-1)
    assert cursor.rownumber == 4
    assert list(cursor) == [(i,) for i in range(5, 11)]
    assert cursor.fetchone() is None and cursor.fetchall() == []
    with pytest.raises(StopIteration):
        next(cursor)
    cursor.scroll(0, mode="absolute")
    assert len(cursor.fetchall()) == 10
    cursor.close()
    assert cursor.closed
    assert hops == ["execute"]


def test_what_a_cursor_knows(conn: anyq.Connection) -> None:
    with conn.cursor(binary=True) as cursor:
        assert cursor.connection is conn
        assert cursor.format == 1
        assert (cursor.description, cursor.rowcount, cursor.rownumber, cursor.statusmessage) == (None, -1, None, None)
        cursor.execute("SELECT 1 AS one, 'x' AS two")
        assert [column.name for column in cursor.description or ()] == ["one", "two"]
        assert (cursor.rowcount, cursor.rownumber, cursor.statusmessage) == (1, 0, "SELECT 1")
        assert repr(cursor).startswith("<anyq.sync.cursor.Cursor [SELECT 1] [INTRANS] (host=")
        cursor.arraysize = 5
        assert cursor.arraysize == 5 and cursor.fetchmany() == [(1, "x")]
        cursor.adapters.register_loader("int4", anyq.adapters.get_loader(25, 0))  # type: ignore[arg-type]
        cursor.format = 0  # type: ignore[assignment]
        assert cursor.execute("SELECT 1").fetchone() == ("1",)
        cursor.setinputsizes([])
        cursor.setoutputsize(1)
    with pytest.raises(anyq.InterfaceError, match="the cursor is closed"):
        cursor.execute("SELECT 1")
    with pytest.raises(anyq.InterfaceError, match="the cursor is closed"):
        cursor.fetchone()


def test_wrong_use(conn: anyq.Connection) -> None:
    cursor = conn.cursor()
    with pytest.raises(anyq.ProgrammingError, match="no result"):
        cursor.fetchone()
    with pytest.raises(anyq.ProgrammingError, match="no result"):
        next(iter(cursor))
    cursor.execute("CREATE TEMP TABLE t (i int)")
    with pytest.raises(anyq.ProgrammingError, match="returned no rows"):
        cursor.fetchall()
    with pytest.raises(anyq.errors.UndefinedTable):
        cursor.execute("SELECT * FROM no_such_table")
    with pytest.raises(anyq.errors.InFailedSqlTransaction):
        cursor.execute("SELECT 1")
    conn.rollback()
    cursor.execute("SELECT 1")
    with pytest.raises(IndexError):
        cursor.scroll(1)
    with pytest.raises(ValueError, match="mode must be"):
        cursor.scroll(0, mode="sideways")
    with pytest.raises(ValueError, match="size must be"):
        cursor.fetchmany(-1)


def test_row_factories_are_given_the_users_cursor(conn: anyq.Connection) -> None:
    seen = []

    def factory(cursor: anyq.Cursor[Any]) -> Any:
        seen.append((cursor, cursor.connection, cursor.description is not None))
        return list

    cursor = conn.cursor(row_factory=factory)
    assert cursor.execute("SELECT 1, 2").fetchone() == [1, 2]
    assert seen == [(cursor, conn, True)]
    cursor.row_factory = dict_row
    assert cursor.row_factory is dict_row
    cursor.scroll(0, mode="absolute")
    assert cursor.fetchone() == {"?column?": 2}

    class Point:
        def __init__(self, x: int, y: int) -> None:
            self.x, self.y = x, y

    point = conn.cursor(row_factory=class_row(Point)).execute("SELECT 1 AS x, 2 AS y").fetchone()
    assert point is not None and (point.x, point.y) == (1, 2)
    conn.row_factory = dict_row  # type: ignore[assignment]
    rows: list[Any] = conn.execute("SELECT 1 AS one").fetchall()
    assert rows == [{"one": 1}]


def test_several_results(conn: anyq.Connection) -> None:
    cursor = conn.execute("SELECT 1; SELECT 2; SELECT 3")
    assert [result.fetchone() for result in cursor.results()] == [(1,), (2,), (3,)]
    assert cursor.nextset() is None
    assert cursor.set_result(0) is cursor
    assert cursor.nextset() and cursor.fetchone() == (2,)
    assert cursor.set_result(-1).fetchone() == (3,)
    with pytest.raises(IndexError):
        cursor.set_result(3)


def test_client_cursor(conn: anyq.Connection) -> None:
    cursor = anyq.ClientCursor(conn)
    assert cursor.mogrify("SELECT %s", ["it's"]) == "SELECT 'it''s'"
    assert cursor.execute("SELECT %s", ["it's"]).fetchone() == ("it's",)


def test_raw_cursor(conn: anyq.Connection) -> None:
    assert anyq.RawCursor(conn).execute("SELECT $1::int, '%s'", [1]).fetchone() == (1, "%s")


# -- executemany


@pytest.fixture
def table(conn: anyq.Connection) -> anyq.Connection:
    conn.autocommit = True
    conn.execute("CREATE TEMP TABLE numbers (i int CHECK (i <> 2500))")
    return conn


@pytest.mark.any_loop
@pytest.mark.parametrize("kind", [list, iter], ids=["list", "iterator"])
@pytest.mark.parametrize("number", [0, 1, 999, 1000, 1001, 2000, 2300])
def test_executemany(table: anyq.Connection, kind: Callable[[Any], Any], number: int) -> None:
    cursor = table.cursor()
    cursor.executemany("INSERT INTO numbers VALUES (%s)", kind([(i,) for i in range(number)]))
    assert cursor.rowcount == number
    row = table.execute("SELECT count(*), sum(i) FROM numbers").fetchone()
    assert row == (number, sum(range(number)) if number else None)


def test_executemany_crosses_once_for_each_batch(table: anyq.Connection, hops: list[str]) -> None:
    cursor = table.cursor()
    cursor.executemany("INSERT INTO numbers VALUES (%s)", [(i,) for i in range(2000)])
    assert hops == ["executemany"]
    hops.clear()
    cursor.executemany("INSERT INTO numbers VALUES (%s)", ((i,) for i in range(2300)))
    assert hops == ["feed"] * 3


def test_executemany_returning(conn: anyq.Connection) -> None:
    cursor = conn.cursor()
    cursor.executemany("SELECT %s::int * 2", ((i,) for i in range(1500)), returning=True)
    assert [result.fetchone() for result in cursor.results()] == [(2 * i,) for i in range(1500)]


def test_executemany_stops_taking_after_an_error(table: anyq.Connection) -> None:
    numbers = count()
    with pytest.raises(anyq.errors.CheckViolation):
        table.cursor().executemany("INSERT INTO numbers VALUES (%s)", ((i,) for i in numbers))
    assert next(numbers) < 10_000
    assert table.execute("SELECT count(*) FROM numbers").fetchone() == (0,)


def test_executemany_whose_generator_fails(table: anyq.Connection) -> None:
    def sets() -> Iterator[tuple[int]]:
        for i in range(2400):
            yield (i,)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        table.cursor().executemany("INSERT INTO numbers VALUES (%s)", sets())
    assert table.execute("SELECT count(*) FROM numbers").fetchone() == (0,)


def test_executemany_whose_generator_uses_the_connection(table: anyq.Connection, observer: anyq.Connection) -> None:
    def sets(source: anyq.Connection) -> Iterator[tuple[int]]:
        for i in range(2400):
            row = source.execute("SELECT %s::int", [i]).fetchone()
            assert row is not None
            yield row

    with pytest.raises(anyq.ProgrammingError, match="on the same connection"):
        table.cursor().executemany("INSERT INTO numbers VALUES (%s)", sets(table))
    assert table.execute("SELECT count(*) FROM numbers").fetchone() == (0,)
    cursor = table.cursor()
    cursor.executemany("INSERT INTO numbers VALUES (%s)", sets(observer))
    assert cursor.rowcount == 2400


# -- stream


def test_stream(conn: anyq.Connection, hops: list[str]) -> None:
    cursor = conn.cursor()
    rows = cursor.stream("SELECT i FROM generate_series(1, %s) AS t(i)", [20_000], size=1000)
    assert list(rows) == [(i,) for i in range(1, 20_001)]
    assert cursor.rowcount == 20_000
    assert len(hops) < 50


@pytest.mark.parametrize("how", ["close", "block", "forget"])
def test_a_stream_that_is_left_early(conn: anyq.Connection, how: str) -> None:
    conn.autocommit = True
    stream: Any = conn.cursor().stream("SELECT i, pg_sleep(0) FROM generate_series(1, 1000000) AS t(i)")
    assert list(islice(stream, 2)) == [(1, ""), (2, "")]
    if how == "close":
        stream.close()
        assert list(stream) == []
    elif how == "block":
        with pytest.raises(ZeroDivisionError), stream:
            raise ZeroDivisionError
    else:
        del stream
        gc.collect()
    with anyq.sync.timeout(30):
        assert conn.execute("SELECT 1").fetchone() == (1,)


def test_a_stream_of_something_else(conn: anyq.Connection) -> None:
    with pytest.raises(anyq.ProgrammingError, match="returned no rows"):
        next(conn.cursor().stream("CREATE TEMP TABLE t ()"))
    with pytest.raises(ValueError, match="size must be 1 or more, not 0"):
        conn.cursor().stream("SELECT 1", size=0)


def test_a_streams_rows_are_made_by_the_factory(conn: anyq.Connection) -> None:
    cursor = conn.cursor(row_factory=dict_row)
    assert [row for row in cursor.stream("SELECT 1 AS one")] == [{"one": 1}]


def test_a_cursor_is_freed_with_its_rows_at_once(conn: anyq.Connection) -> None:
    import weakref

    gc.disable()
    try:
        cursor: Any = conn.cursor(row_factory=dict_row).execute("SELECT 1 AS one")
        dead = weakref.ref(cursor)
        del cursor
        assert dead() is None
    finally:
        gc.enable()


# -- classes of the other interface


async def _coroutine_row(cursor: object) -> Any:
    return tuple


@pytest.mark.parametrize("factory", [anyq.AsyncCursor, anyq.Cursor, _coroutine_row, dict, "dict_row", rows.class_row])
def test_wrong_row_factories(factory: Any, conn: anyq.Connection) -> None:
    with pytest.raises(anyq.ProgrammingError, match="wrong row_factory"):
        anyq.connect("host=/nowhere", row_factory=factory)
    with pytest.raises(anyq.ProgrammingError, match="wrong row_factory"):
        conn.row_factory = factory
    assert conn.row_factory is rows.tuple_row
    with pytest.raises(anyq.ProgrammingError, match="wrong row_factory"):
        conn.cursor(row_factory=factory)
    cursor = conn.cursor()
    with pytest.raises(anyq.ProgrammingError, match="wrong row_factory"):
        cursor.row_factory = factory
    assert cursor.row_factory is rows.tuple_row


@pytest.mark.parametrize("factory", [anyq.AsyncCursor, anyq.AsyncRawCursor, dict, "Cursor", rows])
def test_wrong_cursor_factories(factory: Any, conn: anyq.Connection) -> None:
    with pytest.raises(anyq.ProgrammingError, match="cursor_factory must be Cursor") as caught:
        anyq.connect("host=/nowhere", cursor_factory=factory)
    assert ("for asynchronous connections" in str(caught.value)) == (factory in (anyq.AsyncCursor, anyq.AsyncRawCursor))
    with pytest.raises(anyq.ProgrammingError, match="cursor_factory must be Cursor"):
        conn.cursor_factory = factory
    assert conn.cursor_factory is anyq.Cursor


def test_cursors_of_the_other_connection(conn: anyq.Connection) -> None:
    inner: Any = conn.inner
    outer: Any = conn
    with pytest.raises(anyq.InterfaceError, match="Cursor needs a Connection, not an AsyncConnection"):
        anyq.Cursor(inner)
    with pytest.raises(anyq.InterfaceError, match="AsyncCursor needs an AsyncConnection, not a Connection"):
        anyq.AsyncCursor(outer)


# -- rows that fail


def test_a_value_that_cannot_be_loaded_raises_when_its_row_is_fetched(conn: anyq.Connection) -> None:
    query: Any = "SELECT CASE x WHEN 1 THEN 'infinity' ELSE '2020-01-01'::date + x END AS d FROM generate_series(0,2) x"
    fetches: list[Any] = [anyq.Cursor.fetchone, next, lambda cursor: next(iter(cursor))]
    for fetch in fetches:
        cursor: Any = conn.execute(query)
        assert fetch(cursor)[0].day == 1
        with pytest.raises(anyq.DataError, match="infinity.*column 'd'"):
            fetch(cursor)
        assert fetch(cursor)[0].day == 3
    cursor = conn.execute(query)
    for _ in range(2):
        with pytest.raises(anyq.DataError, match="infinity"):
            cursor.fetchall()
    assert cursor.rownumber == 0
    seen = []
    with pytest.raises(anyq.DataError, match="infinity"):
        for (day,) in conn.cursor().stream(query):
            seen.append(day.day)
    assert seen == [1]
    assert conn.execute("SELECT 1").fetchone() == (1,)


ENDLESS = "SELECT generate_series(1, 1000000000000)"
"""An operation that waits for its end hangs, and the time limit of the suite shows it."""


@pytest.mark.parametrize("fails", ["row maker", "body"])
def test_an_exception_out_of_a_stream_ends_it(conn: anyq.Connection, fails: str) -> None:
    def factory(cursor: Any) -> Any:
        return lambda values: 1 // (values[0] - 3) if fails == "row maker" else values[0]

    with pytest.raises(ZeroDivisionError):  # noqa: SIM117 (the exception is alive while the block is left)
        with conn.transaction():
            for row in conn.cursor(row_factory=factory).stream(ENDLESS):
                if fails == "body" and row == 3:
                    raise ZeroDivisionError
    with anyq.sync.timeout(30):
        assert conn.execute("SELECT 1").fetchone() == (1,)


def test_ctrl_c_behind_a_call_ends_the_stream(conn: anyq.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is raised when rows have come, and the traceback keeps the stream alive."""
    conn.autocommit = True
    calls: Any = conn.calls
    drive = calls.drive

    def interrupted(func: Any, *args: Any) -> Any:
        drive(func, *args)
        monkeypatch.undo()
        raise KeyboardInterrupt

    stream = conn.cursor().stream(ENDLESS)
    monkeypatch.setattr(calls, "drive", interrupted)
    with pytest.raises(KeyboardInterrupt):
        next(stream)
    with pytest.raises(StopIteration):
        next(stream)
    assert conn.execute("SELECT 1").fetchone() == (1,)


def test_the_end_of_a_cursor_ends_its_stream(conn: anyq.Connection) -> None:
    conn.autocommit = True
    with conn.cursor() as cursor:
        stream = cursor.stream(ENDLESS)
        assert next(stream) == (1,)
    with anyq.sync.timeout(30):
        assert conn.execute("SELECT 1").fetchone() == (1,)
    with pytest.raises(anyq.OperationalError, match="its cursor was closed"):
        list(stream)


# -- several threads


def test_a_second_thread_that_waits_for_rows_of_a_stream_is_refused(conn: anyq.Connection) -> None:
    stream = conn.cursor().stream("SELECT generate_series(1, 200000)")
    seen: list[int] = []
    errors: list[BaseException] = []

    def iterate() -> None:
        try:
            for (number,) in stream:
                seen.append(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=iterate) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(type(error) is anyq.InterfaceError and "thread" in str(error) for error in errors), errors
    assert sorted(seen) == list(range(1, 200_001))
    assert conn.execute("SELECT 1").fetchone() == (1,)


def test_a_row_class_that_uses_its_connection(conn: anyq.Connection) -> None:
    """Rows are made while the class runs other queries, fetches from their cursor and changes how values are loaded."""

    class Row:
        made = 0

        def __init__(self, n: Any, name: str) -> None:
            Row.made += 1
            self.n, self.name = n, name
            (self.other,) = conn.execute("SELECT %s || 'x'", [name]).fetchone() or ()
            if Row.made == 3:
                self.rest = cursor.fetchmany(2)
                cursor.adapters.register_loader("int4", anyq.adapters.get_loader(25, 0))  # type: ignore[arg-type]

    cursor = conn.cursor(row_factory=class_row(Row))
    cursor.execute("SELECT n, 'name ' || n AS name FROM generate_series(1, 10) AS t(n)")
    made = cursor.fetchmany(4) + cursor.fetchall()
    assert [row.name for row in made] == [f"name {n}" for n in (1, 2, 3, 4, 7, 8, 9, 10)]
    assert [row.name for row in made[2].rest] == ["name 5", "name 6"]
    assert [row.other for row in made] == [row.name + "x" for row in made]
    assert [row.n for row in made] == [1, 2, 3, 4, "7", "8", "9", "10"]


# -- arguments of no use


@pytest.mark.parametrize("wrong", [None, 3, int])
def test_executemany_of_what_has_no_sets(conn: anyq.Connection, wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"executemany\(\) takes a sequence of sets of parameters"):
        conn.cursor().executemany("SELECT 1", wrong)
    assert conn.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.parametrize("wrong", ["1", 1.5, float("nan"), int])
def test_numbers_of_rows_that_are_none(conn: anyq.Connection, wrong: Any) -> None:
    cur = conn.execute("SELECT generate_series(0, 9)")
    with pytest.raises(TypeError, match="size must be an int, not"):
        cur.fetchmany(wrong)
    with pytest.raises(TypeError, match="value must be an int, not"):
        cur.scroll(wrong)
    with pytest.raises(TypeError, match="index must be an int, not"):
        cur.set_result(wrong)
    with pytest.raises(TypeError, match="size must be an int, not"):
        conn.cursor().stream("SELECT 1", size=wrong)
    cur.arraysize = wrong
    with pytest.raises(TypeError, match="arraysize must be an int, not"):
        cur.fetchmany()
    cur.arraysize = 2
    assert cur.fetchmany(None) == [(0,), (1,)]  # type: ignore[arg-type]
