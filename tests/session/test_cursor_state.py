"""The shortest way from a query to its rows: when it is taken, and what is left to do at its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest

from anyq import AsyncClientCursor, AsyncConnection, AsyncCursor, TransactionStatus
from anyq import errors as e
from anyq.pq import Format
from tests.support.state import status

pytestmark = pytest.mark.anyio

QUERY = "SELECT 12 / %s"


@pytest.fixture
async def auto(conn: AsyncConnection) -> AsyncConnection:
    """The connection, in autocommit mode, where the query is known by its text."""
    await conn.set_autocommit(True)
    conn.prepare_threshold = 0
    for _ in range(2):
        await conn.execute(QUERY, (1,))
    return conn


async def test_it_is_taken_where_nothing_is_special(auto: AsyncConnection) -> None:
    cur = auto.cursor()
    run = cur.send_remembered(QUERY, (4,), None, None)
    assert run is not None
    await run
    assert cur.has_arrived()
    assert cur.may_fetch()
    assert not cur.may_fetch()  # once
    assert await cur.fetchall() == [(3,)]


class Text(str):
    """What may be looked at in a way of its own."""


def in_binary(cur: AsyncCursor[Any]) -> None:
    cur.format = Format.BINARY


def with_own_adapters(cur: AsyncCursor[Any]) -> None:
    assert cur.adapters


@pytest.mark.parametrize(
    ("query", "params", "prepare", "binary"),
    [
        ("SELECT 13 / %s", (4,), None, None),
        (QUERY.encode(), (4,), None, None),
        (Text(QUERY), (4,), None, None),
        (QUERY, (4,), True, None),
        (QUERY, (4,), False, None),
        (QUERY, (4,), None, True),
        (QUERY, (4,), None, False),
        (QUERY, (4.0,), None, None),
        (QUERY, None, None, None),
    ],
)
async def test_another_query_goes_another_way(
    auto: AsyncConnection, query: Any, params: Any, prepare: bool | None, binary: bool | None
) -> None:
    assert auto.cursor().send_remembered(query, params, prepare, binary) is None
    assert auto.info.transaction_status is TransactionStatus.IDLE


@pytest.mark.parametrize("change", [in_binary, with_own_adapters])
async def test_a_special_cursor_goes_another_way(
    auto: AsyncConnection, change: Callable[[AsyncCursor[Any]], None]
) -> None:
    cur = auto.cursor()
    change(cur)
    assert cur.send_remembered(QUERY, (4,), None, None) is None
    assert await (await cur.execute(QUERY, (4,))).fetchone() == (3,)


async def test_where_the_connection_is_in_another_state(auto: AsyncConnection) -> None:
    cur = auto.cursor()
    client = AsyncClientCursor(auto)
    assert client.send_remembered(QUERY, (4,), None, None) is None
    async with auto.pipeline():
        assert cur.send_remembered(QUERY, (4,), None, None) is None
    async with auto.transaction():
        assert cur.send_remembered(QUERY, (4,), None, None) is None
    with anyio.CancelScope() as scope:  # noqa: ASYNC100 - there is none
        scope.cancel()
        assert cur.send_remembered(QUERY, (4,), None, None) is None
    await cur.close()
    assert cur.send_remembered(QUERY, (4,), None, None) is None
    await auto.close()
    with pytest.raises(e.OperationalError, match="closed"):
        auto.cursor()
    with pytest.raises(e.OperationalError, match="closed"):
        AsyncCursor(auto)


async def test_an_error_leaves_nothing_behind(auto: AsyncConnection) -> None:
    cur = await auto.execute(QUERY, (4,))
    with pytest.raises(e.DivisionByZero):
        await cur.execute(QUERY, (0,))
    with pytest.raises(e.ProgrammingError, match="no result"):
        await cur.fetchone()
    assert await (await cur.execute(QUERY, (6,))).fetchone() == (2,)


async def test_what_waits_for_the_end_of_a_transaction_is_awaited(auto: AsyncConnection) -> None:
    times = 0

    async def settle() -> None:
        nonlocal times
        times += 1

    auto.session.settle = settle
    cur = await auto.execute(QUERY, (4,))
    assert times == 1
    assert await cur.fetchone() == (3,)
    auto.session.settle = None


async def test_a_cancellation_amid_it(auto: AsyncConnection) -> None:
    query = "SELECT pg_sleep(%s)"
    for _ in range(2):
        await auto.execute(query, (0,))
    cur = auto.cursor()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(cur.execute, query, (60,))
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    assert status(auto) is TransactionStatus.IDLE
    assert await (await cur.execute(QUERY, (4,))).fetchone() == (3,)
