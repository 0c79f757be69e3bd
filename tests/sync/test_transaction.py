"""Transaction: blocks in synchronous code."""

from __future__ import annotations

import pytest

import anyq

pytestmark = pytest.mark.every_way


@pytest.fixture
def table(conn: anyq.Connection) -> anyq.Connection:
    conn.autocommit = True
    conn.execute("CREATE TEMP TABLE t (i int)")
    return conn


def content(conn: anyq.Connection) -> list[int]:
    return [i for (i,) in conn.execute("SELECT i FROM t ORDER BY i")]


def test_commit_and_rollback(table: anyq.Connection) -> None:
    with table.transaction() as block:
        assert block.connection is table
        assert block.savepoint_name is None
        assert "(active)" in repr(block)
        table.execute("INSERT INTO t VALUES (1)")
    with pytest.raises(ZeroDivisionError), table.transaction():
        table.execute("INSERT INTO t VALUES (2)")
        raise ZeroDivisionError
    assert content(table) == [1]


def test_nested_blocks_are_savepoints(table: anyq.Connection) -> None:
    with table.transaction() as outer:
        table.execute("INSERT INTO t VALUES (1)")
        with pytest.raises(anyq.errors.UndefinedTable), table.transaction("inner") as inner:
            assert inner.savepoint_name == "inner"
            table.execute("SELECT * FROM no_such_table")
        with table.transaction(force_rollback=True) as tried:
            assert tried.force_rollback
            table.execute("INSERT INTO t VALUES (2)")
        with table.transaction() as undone:
            undone.force_rollback = True
            table.execute("INSERT INTO t VALUES (3)")
        with pytest.raises(anyq.ProgrammingError, match="inside a transaction"):
            table.commit()
    assert repr(outer).startswith("<anyq.sync.transaction.Transaction (committed) [IDLE] (host=")
    assert content(table) == [1]


def test_rollback_leaves_the_block_it_names(table: anyq.Connection) -> None:
    with table.transaction() as outer:
        table.execute("INSERT INTO t VALUES (1)")
        with table.transaction():
            table.execute("INSERT INTO t VALUES (2)")
            raise anyq.Rollback(outer)
        pytest.fail("the outer block goes on")
    with table.transaction():
        table.execute("INSERT INTO t VALUES (3)")
        with table.transaction():
            raise anyq.Rollback
    assert content(table) == [3]


def test_blocks_left_out_of_order(table: anyq.Connection) -> None:
    outer, inner = table.transaction(), table.transaction()
    outer.__enter__()
    inner.__enter__()
    with pytest.raises(anyq.OutOfOrderTransactionNesting):
        outer.__exit__(None, None, None)


def test_a_block_whose_connection_was_closed_inside(portal_backend: object, dsn: str) -> None:
    conn = anyq.connect(dsn)
    with pytest.raises(anyq.OperationalError, match="closed"), conn.transaction():
        conn.close()
    conn = anyq.connect(dsn)
    with pytest.raises(ZeroDivisionError), conn.transaction():
        conn.close()
        raise ZeroDivisionError
