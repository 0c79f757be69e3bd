"""Tests that use the fixtures of conftest.py, which is what there is to see here.

    python -m pytest examples/pytest_fixtures

Each begins with empty tables, whatever the others have done.
"""

from __future__ import annotations

import anyio
import pytest

import anyq


def count(conn: anyq.Connection) -> int:
    row = conn.execute("SELECT count(*) FROM shop.stock").fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize("item", ["nails", "screws"])
def test_in_synchronous_code(conn: anyq.Connection, item: str) -> None:
    assert count(conn) == 0
    conn.execute("INSERT INTO shop.stock VALUES (%s, 100)", (item,))
    assert count(conn) == 1


def test_an_error_that_is_expected(conn: anyq.Connection) -> None:
    conn.execute("INSERT INTO shop.stock VALUES ('nails', 1)")
    # In a block of its own: otherwise the whole transaction would have failed.
    with pytest.raises(anyq.errors.CheckViolation), conn.transaction():
        conn.execute("UPDATE shop.stock SET pieces = pieces - 2")
    assert conn.execute("SELECT pieces FROM shop.stock").fetchone() == (1,)


@pytest.mark.anyio
async def test_in_asynchronous_code(async_conn: anyq.AsyncConnection) -> None:
    await async_conn.execute("INSERT INTO shop.stock VALUES ('nails', 100)")
    cur = await async_conn.execute("SELECT pieces FROM shop.stock")
    assert await cur.fetchall() == [(100,)]


@pytest.mark.anyio
async def test_tasks_that_share_the_connection(async_conn: anyq.AsyncConnection) -> None:
    async def insert(item: str) -> None:
        await async_conn.execute("INSERT INTO shop.stock VALUES (%s, 1)", (item,))

    async with anyio.create_task_group() as tasks:
        for item in ("nails", "screws", "bolts"):
            tasks.start_soon(insert, item)
    cur = await async_conn.execute("SELECT count(*) FROM shop.stock")
    assert await cur.fetchall() == [(3,)]
