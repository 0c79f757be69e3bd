"""Synchronous connections and cursors, as a user's type checker sees them."""

from __future__ import annotations

from typing import Any

from anyio.from_thread import BlockingPortal
from typing_extensions import assert_type

import anyq
from anyq.adapt.typeinfo import TypeInfo
from anyq.rows import DictRow, TupleRow, class_row, dict_row


class Point:
    def __init__(self, x: int, y: int) -> None: ...


def connections(portal: BlockingPortal) -> None:
    with anyq.connect("") as conn:
        assert_type(conn, anyq.Connection[TupleRow])
        assert_type(conn.cursor(), anyq.Cursor[TupleRow])
        assert_type(conn.execute("SELECT 1").fetchone(), TupleRow | None)
        assert_type(conn.cursor(row_factory=class_row(Point)).fetchall(), list[Point])
        assert_type(TypeInfo.fetch(conn, "mood"), TypeInfo | None)
        with conn.transaction() as block:
            assert_type(block, anyq.Transaction)
            raise anyq.Rollback(block)
    with anyq.Connection.connect("", row_factory=dict_row, portal=portal) as other:
        assert_type(other, anyq.Connection[DictRow])
        for row in other.execute("SELECT 1"):
            assert_type(row, DictRow)
        for row in other.cursor().stream("SELECT 1"):
            assert_type(row, DictRow)
        other.autocommit = True
        other.isolation_level = anyq.IsolationLevel.SERIALIZABLE


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
    conn.autocommit = "yes"  # type: ignore[assignment]
