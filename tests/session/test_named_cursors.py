"""Named cursors as a session has them, below the objects that a user holds; and what is left of them when these are
cancelled or dropped.

What they give to their user is in tests/test_server_cursor.py.
"""

from __future__ import annotations

import gc

import anyio
import pytest

from anyq import AsyncConnection, TransactionStatus
from anyq import errors as e
from anyq.session.named_cursors import Fetching, close, declare, describe
from anyq.session.session import Session
from anyq.statements.binders import SERVER_SIDE
from anyq.statements.declare import DeclareRequest, Options
from anyq.statements.layout import Layouts
from tests.support.named_cursors import auto, numbers, open_cursors
from tests.support.spying import spy_on_bytes as spy
from tests.support.stepping import cancel_at_each_wait, cancel_when_blocked, cancelled_at

__all__ = ["auto"]

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


# -- cancellation, of what a user holds


@pytest.mark.parametrize("withhold", [False, True])
async def test_execute_cancelled_anywhere_leaves_no_cursor(conn: AsyncConnection, withhold: bool) -> None:
    await conn.set_autocommit(withhold)

    async def execute() -> None:
        await conn.cursor("c", withhold=withhold).execute("SELECT generate_series(1, %s)", [5])
        gc.collect()

    async def check() -> None:
        assert not conn.closed
        if conn.info.transaction_status is TransactionStatus.INERROR:
            await conn.rollback()
        assert await open_cursors(conn) == []
        await conn.rollback()

    assert await cancel_at_each_wait(execute, check) > 0


async def test_one_object_executes_again_after_a_cancellation(auto: AsyncConnection) -> None:
    cur = auto.cursor("c", withhold=True)
    for wait in range(1, 20):
        cancelled = await cancelled_at(wait, lambda: cur.execute("SELECT generate_series(1, 3)"))
        await cur.execute("SELECT generate_series(4, 6)")
        assert await auto.cursor().execute("SELECT 1")
        assert await cur.fetchall() == [(4,), (5,), (6,)]
        if not cancelled:
            break
    await cur.close()
    assert await open_cursors(auto) == []


@pytest.mark.parametrize("how", ["fetchone", "fetchmany", "fetchall", "__anext__", "scroll"])
@pytest.mark.parametrize("held", [False, True])
async def test_a_fetch_cancelled_anywhere(conn: AsyncConnection, how: str, held: bool) -> None:
    for wait in range(1, 30):
        cur = await numbers(conn, 1000, scrollable=True, withhold=True)
        assert await cur.fetchmany(3) == [0, 1, 2]
        if held:
            await conn.commit()
        arguments: list[int] = {"fetchmany": [5], "scroll": [7]}.get(how, [])
        cancelled = await cancelled_at(wait, lambda: getattr(cur, how)(*arguments))  # noqa: B023
        if not cancelled:
            break
        assert not conn.closed
        if conn.info.transaction_status is TransactionStatus.INERROR:
            await conn.rollback()
        else:
            # Either nothing has happened, or it is known that it is not known.
            assert cur.rownumber == 3
            try:
                assert await cur.fetchone() == 3
            except e.OperationalError as error:
                assert "were lost" in str(error)
                try:
                    await cur.scroll(3, "absolute")
                except e.ObjectNotInPrerequisiteState:
                    assert held  # a fetch that fails is the end of a held one, which no rollback undoes
                else:
                    assert await cur.fetchmany(2) == [3, 4]
        await cur.close()
        await conn.rollback()
        assert await open_cursors(conn) == []
        await conn.rollback()
    else:
        pytest.fail("it has waited too often")
    await conn.rollback()


async def test_a_fetch_that_takes_long_is_cancelled_on_the_server(conn: AsyncConnection) -> None:
    cur = await conn.cursor("c").execute("SELECT pg_sleep(x * 3600) FROM generate_series(0, 5) AS x")
    assert await cur.fetchone() == ("",)
    await cancel_when_blocked(cur.fetchone)
    assert conn.info.transaction_status is TransactionStatus.INERROR
    with pytest.raises(e.OperationalError, match="were lost"):
        await cur.fetchone()
    await cur.close()
    await conn.rollback()


@pytest.mark.parametrize("withhold", [False, True])
@pytest.mark.parametrize("by", ["close", "block"])
async def test_closing_happens_whatever_is_cancelled(conn: AsyncConnection, withhold: bool, by: str) -> None:
    async def close() -> None:
        if by == "close":
            await cur.close()
        else:
            async with cur:
                pass

    for wait in range(1, 20):
        cur = await conn.cursor("c", withhold=withhold).execute("SELECT 1")
        if withhold:
            await conn.commit()
        cancelled = await cancelled_at(wait, close)
        assert cur.closed
        assert await open_cursors(conn) == []
        await conn.rollback()
        if not cancelled:
            break


async def test_a_block_that_is_cancelled(conn: AsyncConnection) -> None:
    with anyio.CancelScope() as scope:
        async with conn.cursor("c", withhold=True) as cur:
            await cur.execute("SELECT 1")
            await conn.commit()
            scope.cancel()
            await cur.fetchone()
    assert scope.cancelled_caught
    assert await open_cursors(conn) == []


# -- dropped


async def test_a_cursor_that_is_dropped(auto: AsyncConnection, recwarn: pytest.WarningsRecorder) -> None:
    for number in range(3):
        await auto.cursor(f"c{number}", withhold=True).execute("SELECT generate_series(1, 1000)")
    gc.collect()
    sent = spy(auto)
    assert await open_cursors(auto) == []
    assert len(sent) == 1  # closed with that, no round trip of its own
    assert not auto.session.composer.statements.closing
    assert [warning for warning in recwarn if "never closed" in str(warning.message)] == []


async def test_one_that_is_dropped_before_a_commit(conn: AsyncConnection) -> None:
    await conn.execute("CREATE TEMP SEQUENCE s")
    await conn.cursor("c", withhold=True).execute("SELECT nextval('s') FROM generate_series(1, 100)")
    gc.collect()
    await conn.commit()  # would run the query, if it were not closed before
    assert await (await conn.execute("SELECT is_called FROM s")).fetchone() == (False,)


async def test_one_of_the_name_is_declared_before_the_dropped_one_is_closed(auto: AsyncConnection) -> None:
    await auto.cursor("c", withhold=True).execute("SELECT 1")
    gc.collect()
    cur = await auto.cursor("c", withhold=True).execute("SELECT 2")
    assert await open_cursors(auto) == ["c"]
    assert await cur.fetchall() == [(2,)]
    await cur.close()


async def test_iteration_that_is_left(conn: AsyncConnection) -> None:
    async for row in await numbers(conn, 1000):
        if row == 3:
            break
    gc.collect()
    assert await open_cursors(conn) == []
