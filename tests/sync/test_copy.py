"""`cursor.copy()` in synchronous code. What does not depend on that is in tests/test_copy.py."""

from __future__ import annotations

import gc
import io
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

import anyq
from anyq import TransactionStatus
from anyq import errors as e
from anyq.adapt import Dumper, Format
from anyq.adapt.copy import BINARY_HEADER, BINARY_TRAILER
from anyq.copy import AsyncWriter, FileWriter, Writer
from anyq.types.numeric import Int4
from tests.support.activity import PATIENCE
from tests.support.state import status

IDLE, INTRANS, INERROR = TransactionStatus.IDLE, TransactionStatus.INTRANS, TransactionStatus.INERROR
MANY = "COPY (SELECT generate_series(1, 1000000)) TO STDOUT"
THREE = "COPY (SELECT generate_series(1, 3)) TO STDOUT"


class Slow:
    """What its dumper waits for."""

    def __init__(self) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()


class SlowDumper(Dumper):
    oid = 25

    def dump(self, obj: Slow) -> bytes:
        obj.begun.set()
        assert obj.go_on.wait(PATIENCE)
        return b"slow"


class SlowBinaryDumper(SlowDumper):
    format = Format.BINARY


@pytest.fixture
def table(portal_backend: object, dsn: str) -> Iterator[anyq.Connection]:
    """A connection in autocommit mode, with an empty table t of two columns."""
    with anyq.connect(dsn, autocommit=True) as conn:
        conn.execute("CREATE TEMPORARY TABLE t (a int, b text)")
        yield conn


def content(conn: anyq.Connection) -> list[tuple[Any, ...]]:
    return conn.execute("SELECT a, b FROM t ORDER BY a").fetchall()


@pytest.mark.parametrize("options", ["", " (FORMAT binary)"])
def test_rows(table: anyq.Connection, options: str) -> None:
    rows = [(i, None if i % 7 == 0 else f"{i}\tä") for i in range(20_000)]
    cur = table.cursor()
    with cur.copy(f"COPY t FROM STDIN{options}".encode()) as copy:
        copy.set_types(["int4", "text"])
        for row in rows:
            copy.write_row(row)
    assert (cur.rowcount, cur.statusmessage) == (20_000, "COPY 20000")
    assert content(table) == rows
    with cur.copy(f"COPY (SELECT * FROM t ORDER BY a) TO STDOUT{options}".encode()) as copy:
        copy.set_types(["int4", "text"])
        assert copy.read_row() == rows[0]
        assert list(copy.rows()) == rows[1:]
        assert copy.read_row() is None
    assert cur.rowcount == 20_000


def test_data(table: anyq.Connection) -> None:
    with table.cursor().copy("COPY t FROM STDIN") as copy:
        copy.write("1\tä\n")
        copy.write(b"")
        copy.write(memoryview(b"2\tx\n" * 100_000))
    with table.cursor().copy("COPY (SELECT * FROM t ORDER BY a) TO STDOUT") as copy:
        assert copy.read() == "1\tä\n".encode()
        assert next(iter(copy)) == b"2\tx\n"
        assert sum(1 for _ in copy) == 99_999
        assert copy.read() == b""


def test_blocks(table: anyq.Connection) -> None:
    with table.cursor().copy("COPY (SELECT generate_series(1, 50000)) TO STDOUT") as copy:
        first = copy.read()
        blocks = [first, *copy.blocks()]
        assert list(copy.blocks()) == []
    assert b"".join(blocks) == b"".join(b"%d\n" % i for i in range(1, 50001))
    assert all(block.endswith(b"\n") for block in blocks)
    with table.cursor().copy("COPY t FROM STDIN") as copy, pytest.raises(e.ProgrammingError, match="FROM STDIN"):
        copy.blocks()


def test_most_calls_cross_no_thread(table: anyq.Connection, hops: list[str]) -> None:
    with table.cursor().copy("COPY t FROM STDIN") as copy:
        for i in range(5000):
            copy.write_row((i, "x" * 20))
    with table.cursor().copy("COPY t TO STDOUT") as copy:
        assert sum(1 for _ in copy.rows()) == 5000
    assert len(hops) < 30
    hops.clear()
    with table.cursor().copy("COPY t FROM STDIN") as copy:
        for _ in range(8):
            copy.write(b"1\tx\n" * (32 * 1024))
            for _ in range(1024):
                copy.write_row((1, "x" * 126))
    assert len(hops) < 20  # for two megabytes


class Oops(Exception):
    pass


@pytest.mark.parametrize("autocommit", [True, False])
@pytest.mark.parametrize("rows", [0, 5000])
def test_an_exception_gives_it_up(table: anyq.Connection, autocommit: bool, rows: int) -> None:
    table.autocommit = autocommit
    oops = Oops("x" * 9990)
    with pytest.raises(Oops) as raised, table.cursor().copy("COPY t FROM STDIN") as copy:
        for i in range(rows):
            copy.write_row((i, "x" * 30))
        raise oops
    assert raised.value is oops
    assert status(table) is (IDLE if autocommit else INERROR)
    table.rollback()
    assert content(table) == []
    table.rollback()


@pytest.mark.parametrize("statement", [THREE, MANY])
@pytest.mark.parametrize("error", [False, True])
@pytest.mark.parametrize("autocommit", [True, False])
def test_left_early(table: anyq.Connection, statement: Any, error: bool, autocommit: bool) -> None:
    table.autocommit = autocommit
    try:
        with table.cursor().copy(statement) as copy:
            for _ in copy.rows():
                if error:
                    raise Oops
                break
    except Oops:
        assert error
    assert status(table) is (IDLE if autocommit else INERROR)
    table.rollback()
    assert content(table) == []
    table.rollback()


def test_all_data_read_is_the_end(table: anyq.Connection) -> None:
    table.autocommit = False
    with table.cursor().copy(THREE) as copy:
        assert [copy.read() for _ in range(3)] == [b"1\n", b"2\n", b"3\n"]
    assert status(table) is INTRANS
    table.rollback()


def test_errors_of_the_server(table: anyq.Connection) -> None:
    with pytest.raises(e.InvalidTextRepresentation), table.cursor().copy("COPY t FROM STDIN") as copy:
        copy.write("wrong\tx\n")
    with pytest.raises(e.InvalidTextRepresentation), table.cursor().copy("COPY t FROM STDIN") as copy:
        for _ in range(1000):
            copy.write("wrong\tx\n" * 20_000)
    with pytest.raises(e.ProgrammingError, match="use execute"), table.cursor().copy("SELECT 1"):
        raise AssertionError("the block was entered")
    assert content(table) == []


def test_statements_of_the_same_thread_are_refused(table: anyq.Connection) -> None:
    with table.cursor().copy("COPY t FROM STDIN") as copy:
        for run in (
            lambda: table.execute("SELECT 1"),
            lambda: table.cursor().executemany("SELECT %s", [(1,)]),
            lambda: table.cursor().copy(THREE).__enter__(),
            lambda: next(table.cursor().stream("SELECT 1")),
        ):
            with pytest.raises(e.ProgrammingError, match="COPY of this task is open"):
                run()
        copy.write("1\tx\n")
    assert content(table) == [(1, "x")]


def test_statements_of_another_thread_wait(table: anyq.Connection) -> None:
    seen: list[Any] = []
    thread = threading.Thread(target=lambda: seen.append(content(table)))
    with table.cursor().copy("COPY t FROM STDIN") as copy:
        thread.start()
        copy.write("1\tx\n" * 50_000)
        copy.write("2\tx\n")
        assert seen == []
    thread.join(PATIENCE)
    assert len(seen[0]) == 50_001


def test_outside_of_the_block(table: anyq.Connection) -> None:
    copy = table.cursor().copy("COPY t FROM STDIN")
    assert "anyq.sync.copy.Copy [not begun, IDLE]" in repr(copy)
    with pytest.raises(e.ProgrammingError, match="block"):
        copy.write("1\tx\n")
    with copy:
        assert "[in, open, ACTIVE]" in repr(copy)
        assert copy.connection is table
        copy.write_row((1, "x"))
        with pytest.raises(e.ProgrammingError, match="written"):
            copy.read()
        with pytest.raises(e.ProgrammingError, match="written"):
            copy.rows()
        with pytest.raises(e.ProgrammingError, match="written"):
            iter(copy)
        with pytest.raises(e.InterfaceError, match="entered once"):
            copy.__enter__()
    with pytest.raises(e.ProgrammingError, match="block"):
        copy.write_row((1, "x"))
    copy.finish()
    with pytest.raises(e.InterfaceError, match="entered once"), copy:
        pass
    assert content(table) == [(1, "x")]


def test_a_copy_that_is_dropped(table: anyq.Connection) -> None:
    copy = table.cursor().copy("COPY t FROM STDIN")
    copy.__enter__()
    copy.write_row((1, "x"))
    del copy
    assert content(table) == []


@pytest.mark.parametrize(
    ("statement", "data"),
    [
        ("COPY t_nowhere FROM STDIN", ""),
        ("COPY t FROM STDIN", "x\ty\n"),
        ("COPY t FROM STDIN", "x\ty\n" * 200_000),
        ("COPY (SELECT 1 / (90000 - g) FROM generate_series(1, 100000) g) TO STDOUT", None),
    ],
    ids=["beginning", "end", "writing", "reading"],
)
def test_the_error_of_a_copy_is_not_kept(table: anyq.Connection, statement: str, data: str | None) -> None:
    # Its traceback has the frames of whoever made the COPY, and all that is in them.
    def fail() -> weakref.ref[Oops]:
        held = Oops()
        try:
            with table.cursor().copy(statement) as copy:
                if data is None:
                    list(copy)
                else:
                    copy.write(data)
        except e.Error:
            return weakref.ref(held)
        raise AssertionError("it has not failed")

    left = fail()
    gc.collect()
    assert left() is None
    assert content(table) == []


def test_the_connection_is_closed_within(table: anyq.Connection, dsn: str) -> None:
    with pytest.raises(e.OperationalError, match="closed"), table.cursor().copy("COPY t FROM STDIN"):
        table.close()
    with pytest.raises(Oops), anyq.connect(dsn) as other, other.cursor().copy(THREE):
        other.close()
        raise Oops


class Kept(Writer):
    def __init__(self, fails: str = "") -> None:
        self.data = b""
        self.ended: list[BaseException | None] = []
        self.fails = fails

    def write(self, data: Any) -> None:
        self.data += data
        if self.fails == "write":
            raise Oops

    def finish(self, exc: BaseException | None = None) -> None:
        self.ended.append(exc)
        if self.fails == "finish":
            raise Oops


def test_a_writer_instead_of_the_server(table: anyq.Connection) -> None:
    kept, cur, thread = Kept(), table.cursor(), threading.current_thread()
    with cur.copy("COPY t FROM STDIN", writer=kept) as copy:
        copy.write("1\tx\n")
        copy.write_row((2, None))
        for _ in range(50_000):
            copy.write_row((3, "y"))
        assert threading.current_thread() is thread
    assert kept.data == b"1\tx\n2\t\\N\n" + b"3\ty\n" * 50_000
    assert kept.ended == [None]
    assert (cur.rowcount, content(table)) == (0, [])


def test_a_file_of_binary_rows(table: anyq.Connection) -> None:
    file, other = io.BytesIO(), io.BytesIO()
    with table.cursor().copy("COPY t FROM STDIN (FORMAT binary)", writer=FileWriter(file)) as copy:
        copy.set_types(["int4", "text"])
        copy.write_row((1, "x"))
    with anyq.Copy(table.cursor(), binary=True, writer=FileWriter(other)) as copy:
        copy.set_types(["int4", "text"])
        copy.write_row((1, "x"))
    data = file.getvalue()
    assert data == other.getvalue()
    assert data.startswith(BINARY_HEADER)
    assert data.endswith(BINARY_TRAILER)
    with table.cursor().copy("COPY t FROM STDIN (FORMAT binary)") as copy:
        copy.write(data)
    assert content(table) == [(1, "x")]


@pytest.mark.parametrize("fails", ["write", "finish"])
def test_a_writer_that_fails(table: anyq.Connection, fails: str) -> None:
    with pytest.raises(Oops), table.cursor().copy("COPY t FROM STDIN", writer=Kept(fails)) as copy:
        copy.write_row((1, "x"))
    assert status(table) is IDLE
    assert content(table) == []


class Other(AsyncWriter):
    async def write(self, data: Any) -> None:
        pass


@pytest.mark.parametrize("writer", [5, io.BytesIO(), Other()])
def test_what_is_no_writer(table: anyq.Connection, writer: Any) -> None:
    with pytest.raises(TypeError, match=r"write\(data\) and finish\(exc\), which are functions.*FileWriter"):
        table.cursor().copy("COPY t FROM STDIN", writer=writer)


# -- threads


@pytest.mark.parametrize("options", ["", " (FORMAT binary)"])
def test_what_another_thread_writes_amid_a_row_is_refused(table: anyq.Connection, options: str) -> None:
    """A dumper lets other threads run; nothing is torn or lost, and neither thread's row comes to harm."""
    for dumper in (SlowDumper, SlowBinaryDumper):
        table.adapters.register_dumper(Slow, dumper)
    slow = Slow()
    with table.cursor().copy(f"COPY t FROM STDIN{options}".encode()) as copy:
        copy.write_row((Int4(1), "before"))
        other = threading.Thread(target=lambda: copy.write_row((Int4(2), slow)))
        other.start()
        assert slow.begun.wait(PATIENCE)
        message = "being written to this COPY by another thread"
        with pytest.raises(e.ProgrammingError, match=message):
            copy.write_row((Int4(3), "x" * 100_000))
        for size in (1, 100_000):
            with pytest.raises(e.ProgrammingError, match=message):
                copy.write(b"4\tx\n" * size)
        slow.go_on.set()
        other.join(PATIENCE)
        copy.write_row((Int4(5), "behind"))
    assert content(table) == [(1, "before"), (2, "slow"), (5, "behind")]


def test_the_end_amid_a_row_of_another_thread(table: anyq.Connection) -> None:
    table.adapters.register_dumper(Slow, SlowDumper)
    slow = Slow()
    with pytest.raises(e.ProgrammingError, match="by another thread"), table.cursor().copy("COPY t FROM STDIN") as copy:
        other = threading.Thread(target=lambda: copy.write_row((2, slow)))
        other.start()
        assert slow.begun.wait(PATIENCE)
    slow.go_on.set()
    other.join(PATIENCE)
    assert content(table) == []
