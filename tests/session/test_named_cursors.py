"""Named cursors as a session has them, below the objects that a user holds."""

from __future__ import annotations

import anyio
import pytest

from anyq import AsyncConnection, TransactionStatus
from anyq import errors as e
from anyq.session.named_cursors import Fetching, close, declare, describe
from anyq.session.session import Session
from anyq.statements.binders import SERVER_SIDE
from anyq.statements.declare import DeclareRequest, Options
from anyq.statements.layout import Layouts
from tests.support.stepping import cancel_when_blocked

pytestmark = pytest.mark.anyio


async def declared(session: Session, query: str, options: Options, own: DeclareRequest | None = None) -> DeclareRequest:
    tx = session.transformer()
    begun: list[DeclareRequest] = []
    request = await declare(session, SERVER_SIDE.bind(query.encode(), None, tx), tx, options, own, begun.append)
    assert begun == [request]
    return request


def fetching(session: Session, request: DeclareRequest) -> Fetching:
    return Fetching(session, request.name, Layouts(request.description[0]), None)


async def test_from_declare_to_close(conn: AsyncConnection) -> None:
    session = conn.session
    request = await declared(session, "SELECT 1 AS a, 'x'::text AS b", Options("c"))
    assert request.description[0] is not None
    assert [field.name for field in request.description[0]] == ["a", "b"]
    assert session.cursors.owner("c") is request
    piece = await fetching(session, request).fetch("FORWARD 10", session.transformer(), None)
    assert (piece.result.tag, piece.result.count) == ("FETCH 1", 1)
    await close(session, "c", wait=True)
    await close(session, "c", wait=False)
    with pytest.raises(e.InvalidCursorName):
        await describe(session, "c", session.transformer())


async def test_the_columns_of_a_cursor_declared_by_a_statement(conn: AsyncConnection) -> None:
    await conn.execute("DECLARE c CURSOR FOR SELECT 1 AS a")
    fields = await describe(conn.session, "c", conn.session.transformer())
    assert fields is not None
    assert [field.name for field in fields] == ["a"]


async def test_what_a_fetch_has_lost(conn: AsyncConnection) -> None:
    session = conn.session
    tx = session.transformer()
    request = await declared(session, "SELECT pg_sleep(x * 3600) FROM generate_series(0, 5) AS x", Options("c"))
    cursor = fetching(session, request)
    await cursor.fetch("FORWARD 1", tx, None)
    cursor.lost = False  # they have been taken
    await cancel_when_blocked(lambda: cursor.fetch("FORWARD 1", tx, None))
    assert cursor.lost
    await conn.rollback()
    cursor.lost = False
    with pytest.raises(e.InvalidCursorName):
        await cursor.fetch("FORWARD 1", tx, None)
    assert not cursor.lost  # nothing was run
    with anyio.CancelScope() as scope:
        scope.cancel()
        await cursor.fetch("FORWARD 1", tx, None)
    assert not cursor.lost


async def test_a_fetch_in_a_transaction_that_has_failed(conn: AsyncConnection) -> None:
    session = conn.session
    cursor = fetching(session, await declared(session, "SELECT generate_series(1, 3)", Options("c")))
    await conn.execute("SAVEPOINT s")
    with pytest.raises(e.UndefinedTable):
        await conn.execute("SELECT * FROM nosuch")
    with pytest.raises(e.InFailedSqlTransaction):
        await cursor.fetch("FORWARD 1", session.transformer(), None)
    assert not cursor.lost
    await conn.execute("ROLLBACK TO s")
    piece = await cursor.fetch("FORWARD 9", session.transformer(), None)
    assert piece.result.count == 3


async def test_closing_in_a_transaction_that_has_failed(conn: AsyncConnection) -> None:
    session = conn.session
    await conn.set_autocommit(True)
    await declared(session, "SELECT 1", Options("held", withhold=True))
    await conn.execute("BEGIN")
    with pytest.raises(e.UndefinedTable):
        await conn.execute("SELECT * FROM nosuch")
    await close(session, "held", wait=True)
    assert conn.info.transaction_status is TransactionStatus.INERROR
    await conn.rollback()
    cur = await conn.execute("SELECT name FROM pg_cursors WHERE name <> ''")
    assert await cur.fetchall() == []


async def test_declaring_again(conn: AsyncConnection) -> None:
    session = conn.session
    one = await declared(session, "SELECT 1", Options("c"))
    with pytest.raises(e.DuplicateCursor):
        await declared(session, "SELECT 2", Options("c"))
    assert session.cursors.owner("c") is one
    await conn.rollback()
    one = await declared(session, "SELECT 1", Options("c"))
    other = await declared(session, "SELECT 2", Options("c"), one)
    assert session.cursors.owner("c") is other


async def test_closing_when_all_has_ended(conn: AsyncConnection) -> None:
    await conn.close()
    await close(conn.session, "c", wait=True)
    assert conn.closed


async def test_a_declare_of_a_task_that_is_cancelled_while_it_waits_for_others(conn: AsyncConnection) -> None:
    await conn.set_autocommit(True)
    async with anyio.create_task_group() as group:
        group.start_soon(conn.execute, "SELECT pg_advisory_lock(815), pg_sleep(0)")
        with anyio.CancelScope() as scope:
            scope.cancel()
            await declared(conn.session, "SELECT 1", Options("c", withhold=True))
    cur = await conn.execute("SELECT name FROM pg_cursors WHERE name <> ''")
    assert await cur.fetchall() == []
    assert conn.session.cursors.owner("c") is None
