"""Synchronous connections and cursors, as a user's type checker sees them."""

from __future__ import annotations

from typing import Any

from anyio.from_thread import BlockingPortal
from typing_extensions import assert_type

import anyq
from anyq.adapt.typeinfo import TypeInfo
from anyq.pq import PipelineStatus
from anyq.rows import DictRow, TupleRow, class_row, dict_row


class Point:
    def __init__(self, x: int, y: int) -> None: ...


def connections(portal: BlockingPortal) -> None:
    with anyq.connect("") as conn:
        assert_type(conn, anyq.Connection[TupleRow])
        assert_type(conn.cursor(), anyq.Cursor[TupleRow, anyq.Connection[TupleRow]])
        assert_type(conn.cursor().connection, anyq.Connection[TupleRow])
        assert_type(conn.execute("SELECT 1").fetchone(), TupleRow | None)
        assert_type(conn.cursor(row_factory=class_row(Point)).fetchall(), list[Point])
        assert_type(TypeInfo.fetch(conn, "mood"), TypeInfo | None)
        with conn.transaction() as block:
            assert_type(block, anyq.Transaction[anyq.Connection[TupleRow]])
            assert_type(block.connection, anyq.Connection[TupleRow])
            raise anyq.Rollback(block)
    with anyq.Connection.connect("", row_factory=dict_row, portal=portal) as other:
        assert_type(other, anyq.Connection[DictRow])
        for row in other.execute("SELECT 1"):
            assert_type(row, DictRow)
        for row in other.cursor().stream("SELECT 1"):
            assert_type(row, DictRow)
        other.autocommit = True
        other.isolation_level = anyq.IsolationLevel.SERIALIZABLE


def annotated(rows: anyq.Cursor[DictRow], plain: anyq.Cursor, block: anyq.Transaction) -> None:
    """Who writes no class of connections is given any."""
    assert_type(rows.fetchone(), DictRow | None)
    assert_type(plain.fetchone(), TupleRow | None)
    assert_type(rows.execute("SELECT 1"), anyq.Cursor[DictRow])
    rows.connection.commit()
    block.connection.commit()


def kinds_of_cursors(conn: anyq.Connection, dicts: anyq.Connection[DictRow]) -> None:
    annotated(dicts.cursor(), conn.cursor(), conn.transaction())
    anything: list[anyq.Cursor[Any]] = [conn.cursor(), dicts.cursor()]
    for cursor in anything:
        cursor.fetchone()
    assert_type(anyq.ClientCursor(conn), anyq.ClientCursor[TupleRow, anyq.Connection[TupleRow]])
    assert_type(anyq.RawCursor(conn, row_factory=class_row(Point)).fetchone(), Point | None)
    assert_type(anyq.ClientCursor(conn).connection.info, anyq.ConnectionInfo)


def named_cursors(conn: anyq.Connection) -> None:
    assert_type(conn.cursor("c"), anyq.ServerCursor[TupleRow, anyq.Connection[TupleRow]])
    with conn.cursor("c", row_factory=dict_row, withhold=True) as cur:
        assert_type(cur.execute("SELECT 1"), anyq.ServerCursor[DictRow, anyq.Connection[TupleRow]])
        assert_type(list(cur), list[DictRow])
    assert_type(anyq.RawServerCursor(conn, "c"), anyq.RawServerCursor[TupleRow, anyq.Connection[TupleRow]])


class MyConnection(anyq.Connection[DictRow]):
    """A class of a user's."""


class MyCursor(anyq.Cursor[DictRow]):
    """A class of a user's, written before there was a second parameter."""


def classes_of_users(mine: MyConnection, cursor: MyCursor) -> None:
    assert_type(mine.cursor().connection, MyConnection)
    assert_type(mine.execute("SELECT 1").connection, MyConnection)
    assert_type(mine.transaction().connection, MyConnection)
    assert_type(cursor.execute("SELECT 1"), MyCursor)
    anyq.connect("", cursor_factory=MyCursor)


def pipelines(conn: anyq.Connection, mine: MyConnection) -> None:
    with conn.pipeline() as pipeline:
        assert_type(pipeline, anyq.Pipeline[anyq.Connection])
        assert_type(pipeline.status, PipelineStatus)
        assert_type(conn.execute("SELECT 1").fetchone(), TupleRow | None)
        pipeline.sync()
    assert_type(mine.pipeline(), anyq.Pipeline[MyConnection])


def notifications(conn: anyq.Connection) -> None:
    with conn.listen("a") as stream:
        for notify in stream:
            assert_type(notify, anyq.Notify)
    for notify in conn.notifies(timeout=1):
        assert_type(notify, anyq.Notify)
    with anyq.sync.listen("", "a") as listener:
        for event in listener:
            assert_type(event, anyq.Notify | anyq.Gap)


def portals(aconn: anyq.AsyncConnection[DictRow], portal: BlockingPortal) -> None:
    conn = anyq.Connection.from_async(aconn, portal=portal)
    assert_type(conn, anyq.Connection[DictRow])
    assert_type(conn.async_connection, anyq.AsyncConnection[Any])


def bad(conn: anyq.Connection) -> None:
    anyq.Cursor("no connection")  # type: ignore[type-var]
    conn.autocommit = "yes"  # type: ignore[assignment]


def copying(conn: anyq.Connection) -> None:
    with conn.cursor().copy("COPY t TO STDOUT", {"x": 1}) as copy:
        assert_type(copy, anyq.Copy[anyq.Connection])
        assert_type(copy.connection, anyq.Connection)
        assert_type(copy.read(), bytes)
        assert_type(copy.read_row(), tuple[Any, ...] | None)
        for data in copy:
            assert_type(data, bytes)
        for block in copy.blocks():
            assert_type(block, bytes)
        for row in copy.rows():
            assert_type(row, tuple[Any, ...])
