"""COPY through the connection is refused, whichever way it comes, and the connection goes on.

Where it can be told from the text nothing is sent, so that a transaction goes on as well. Which texts these are, is
tested by tests/statements/test_statement.py, what the protocol does about others by tests/protocol/test_handlers.py.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

import anyq
from anyq import AsyncClientCursor, AsyncConnection, AsyncRawCursor, TransactionStatus
from anyq import errors as e
from tests.support.activity import PATIENCE
from tests.support.queries import one
from tests.support.state import status

pytestmark = pytest.mark.anyio

COPIES = [
    ("COPY t FROM STDIN", "FROM STDIN"),
    ("/* a /* b */ */ copy t (a) from stdin with (format csv)", "FROM STDIN"),
    ("-- c\nCOPY t TO STDOUT", "TO STDOUT"),
    ("COPY (SELECT generate_series(1, 10000)) TO STDOUT (FORMAT binary)", "TO STDOUT"),
]
WAYS = [
    *("execute", "parameters", "prepare", "binary", "raw", "client", "stream", "binary stream"),
    *("executemany", "returning", "client many", "raw many", "bytes"),
]


@pytest.fixture
async def table(conn: AsyncConnection) -> AsyncIterator[AsyncConnection]:
    """A connection with an empty table t, whose only column is a."""
    await conn.execute("CREATE TEMPORARY TABLE t (a int)")
    await conn.commit()
    yield conn


async def copy(conn: AsyncConnection, query: Any, way: str) -> None:
    cursor = conn.cursor()
    sets = [() for _ in range(3)]
    if way == "parameters":
        await cursor.execute(query, ())
    elif way == "prepare":
        await cursor.execute(query, prepare=True)
    elif way == "binary":
        await cursor.execute(query, binary=True)
    elif way == "raw":
        await AsyncRawCursor(conn).execute(query)
    elif way == "client":
        await AsyncClientCursor(conn).execute(query)
    elif way in ("stream", "binary stream"):
        assert [row async for row in cursor.stream(query, binary=way != "stream")] == []
    elif way in ("executemany", "returning"):
        await cursor.executemany(query, sets, returning=way == "returning")
    elif way == "client many":
        await AsyncClientCursor(conn).executemany(query, sets)
    elif way == "raw many":
        await AsyncRawCursor(conn).executemany(query, sets)
    elif way == "bytes":
        await cursor.execute(query.encode())
    else:
        await cursor.execute(query)


@pytest.mark.any_loop
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("query", "direction"), COPIES)
@pytest.mark.parametrize("state", ["autocommit", "none", "open"])
async def test_every_way(table: AsyncConnection, query: str, direction: str, way: str, state: str) -> None:
    await table.set_autocommit(state == "autocommit")
    if state == "open":
        await table.execute("INSERT INTO t VALUES (1)")
    with anyio.fail_after(PATIENCE):
        for _ in range(3):
            with pytest.raises(e.ProgrammingError, match=f"COPY {direction} cannot be run by .*; use cursor.copy"):
                await copy(table, query, way)
        # Nothing was sent, so there is no transaction that was not there before, and none that has failed.
        assert status(table) is (TransactionStatus.INTRANS if state == "open" else TransactionStatus.IDLE)
        assert await one(table, "SELECT count(*) FROM t") == int(state == "open")
        await table.commit()


@pytest.mark.any_loop
@pytest.mark.parametrize("way", ["execute", "client", "bytes"])
@pytest.mark.parametrize(
    "query",
    [
        "SELECT 1; COPY t FROM STDIN",
        "COPY t FROM E'\\'' ; COPY t FROM STDIN; SELECT 1",
        "SELECT 1; COPY (SELECT generate_series(1, 10000)) TO STDOUT",
        "INSERT INTO t VALUES (1); COPY t TO STDOUT; SELECT 1 / 0",
    ],
)
@pytest.mark.parametrize("autocommit", [True, False])
async def test_hidden_among_others(table: AsyncConnection, query: str, way: str, autocommit: bool) -> None:
    await table.set_autocommit(autocommit)
    with anyio.fail_after(PATIENCE):
        for _ in range(2):
            with pytest.raises(e.Error):
                await copy(table, query, way)
            await table.rollback()
        assert await one(table, "SELECT count(*) FROM t") == 0


async def test_beside_other_tasks(table: AsyncConnection) -> None:
    await table.set_autocommit(True)
    seen: list[Any] = []

    async def select(number: int) -> None:
        seen.append(await one(table, "SELECT %s::int", number))

    async def refused(way: str, query: str) -> None:
        with pytest.raises(e.ProgrammingError):
            await copy(table, query, way)

    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as group:
            for number, way in enumerate(WAYS):
                group.start_soon(select, number)
                group.start_soon(refused, way, COPIES[number % len(COPIES)][0])
    assert sorted(seen) == list(range(len(WAYS)))


async def test_a_file_of_the_servers_is_no_business_of_the_drivers(table: AsyncConnection) -> None:
    await table.set_autocommit(True)
    with pytest.raises(e.UndefinedFile):
        await table.execute("COPY t FROM '/no/such/folder/stdin'")
    assert await one(table, "SELECT 1") == 1


@pytest.mark.parametrize(("query", "direction"), COPIES)
def test_in_synchronous_code(dsn: str, query: Any, direction: str) -> None:
    with anyq.connect(dsn) as conn:
        conn.execute("CREATE TEMPORARY TABLE t (a int)")
        for run in (
            lambda: conn.execute(query),
            lambda: conn.cursor().executemany(query, [(), ()]),
            lambda: list(conn.cursor().stream(query)),
            lambda: anyq.ClientCursor(conn).execute(query),
        ):
            with pytest.raises(e.ProgrammingError, match=f"COPY {direction} cannot be run by"):
                run()
        assert conn.execute("SELECT count(*) FROM t").fetchone() == (0,)
