"""transaction() blocks: what is committed, what is rolled back, and what is left behind when things go wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from anyq import (
    AsyncClientCursor,
    AsyncConnection,
    AsyncTransaction,
    IsolationLevel,
    OutOfOrderTransactionNesting,
    Rollback,
    TransactionStatus,
)
from anyq import errors as e
from tests.support.activity import held_lock
from tests.support.server import Server
from tests.support.spying import passing
from tests.support.state import status

pytestmark = pytest.mark.anyio


class Oops(Exception):
    pass


@pytest.fixture(params=[True, False], ids=["autocommit", "manual"])
async def conn(anyio_backend: object, dsn: str, request: pytest.FixtureRequest) -> AsyncIterator[AsyncConnection]:
    """A connection with an empty table `t`, in either mode; nobody has begun a transaction."""
    async with AsyncConnection.connect(dsn, autocommit=request.param) as connection:
        await connection.execute("CREATE TEMPORARY TABLE t (a int)")
        await connection.commit()
        yield connection
        if not connection.closed:
            assert connection.session.transactions.blocks == []


async def insert(conn: AsyncConnection, value: int) -> None:
    await conn.execute("INSERT INTO t VALUES (%s)", [value])


async def kept(conn: AsyncConnection) -> list[int]:
    """What is in the table, after all that is not committed was rolled back."""
    assert conn.session.transactions.blocks == []
    await conn.rollback()
    cursor = await conn.execute("SELECT a FROM t ORDER BY a")
    values = [row[0] for row in await cursor.fetchall()]
    await conn.rollback()
    return values


# -- one block


async def test_the_end_of_a_block_commits(conn: AsyncConnection) -> None:
    async with conn.transaction() as block:
        assert isinstance(block, AsyncTransaction)
        assert block.connection is conn
        assert block.savepoint_name is None
        assert status(conn) is TransactionStatus.INTRANS
        await insert(conn, 1)
    assert status(conn) is TransactionStatus.IDLE
    assert await kept(conn) == [1]


async def test_an_error_rolls_back(conn: AsyncConnection) -> None:
    with pytest.raises(Oops):
        async with conn.transaction():
            await insert(conn, 1)
            raise Oops
    assert status(conn) is TransactionStatus.IDLE
    assert await kept(conn) == []


async def test_an_error_of_the_server_rolls_back(conn: AsyncConnection) -> None:
    with pytest.raises(e.UndefinedTable):
        async with conn.transaction():
            await insert(conn, 1)
            await conn.execute("SELECT * FROM nosuch")
    assert status(conn) is TransactionStatus.IDLE
    assert await kept(conn) == []


async def test_blocks_one_after_the_other(conn: AsyncConnection) -> None:
    for value in range(3):
        async with conn.transaction(force_rollback=value == 1):
            await insert(conn, value)
    assert await kept(conn) == [0, 2]


async def test_a_commit_that_fails(conn: AsyncConnection) -> None:
    await conn.execute("CREATE TEMPORARY TABLE r (id int PRIMARY KEY)")
    await conn.execute("CREATE TEMPORARY TABLE f (id int REFERENCES r DEFERRABLE INITIALLY DEFERRED)")
    await conn.commit()
    with pytest.raises(e.ForeignKeyViolation):
        async with conn.transaction() as block:
            await conn.execute("INSERT INTO f VALUES (1)")
    assert "(failed)" in repr(block)
    assert status(conn) is TransactionStatus.IDLE
    await insert(conn, 1)
    await conn.commit()
    assert await kept(conn) == [1]


async def test_force_rollback(conn: AsyncConnection) -> None:
    async with conn.transaction(force_rollback=True) as block:
        assert block.force_rollback
        await insert(conn, 1)
    assert await kept(conn) == []
    with pytest.raises(Oops):
        async with conn.transaction(force_rollback=True):
            raise Oops


async def test_a_block_is_entered_once(conn: AsyncConnection) -> None:
    block = conn.transaction()
    async with block:
        with pytest.raises(e.InterfaceError, match="entered once"):
            await block.__aenter__()
    with pytest.raises(e.InterfaceError, match="entered once"):
        await block.__aenter__()


@pytest.mark.parametrize("name", ["commit", "rollback"])
async def test_the_connection_is_not_committed_inside(name: str, conn: AsyncConnection) -> None:
    async with conn.transaction():
        await insert(conn, 1)
        with pytest.raises(e.ProgrammingError, match=rf"{name}\(\) cannot be called inside a transaction\(\) block"):
            await getattr(conn, name)()
    assert await kept(conn) == [1]


def status_of(block: AsyncTransaction) -> AsyncTransaction.Status:
    return block.status


async def test_the_status_of_a_block(conn: AsyncConnection) -> None:
    """By psycopg's names."""
    Status = AsyncTransaction.Status
    block = conn.transaction()
    assert status_of(block) is Status.NOT_STARTED
    async with block:
        assert status_of(block) is Status.ACTIVE
    assert status_of(block) is Status.COMMITTED
    async with conn.transaction(force_rollback=True) as block:
        pass
    assert status_of(block) is Status.ROLLED_BACK_EXPLICITLY
    async with conn.transaction() as block:
        raise Rollback
    assert status_of(block) is Status.ROLLED_BACK_EXPLICITLY
    with pytest.raises(Oops):
        async with conn.transaction() as block:
            raise Oops
    assert status_of(block) is Status.ROLLED_BACK_WITH_ERROR
    # psycopg says COMMITTED here.
    with pytest.raises(e.InFailedSqlTransaction):
        async with conn.transaction() as block:
            await fail(conn)
    assert status_of(block) is Status.ROLLED_BACK_WITH_ERROR
    if conn.autocommit:
        async with conn.transaction() as block:
            await conn.execute("COMMIT")
        assert status_of(block) is Status.FAILED
    with pytest.raises(e.OperationalError):
        async with conn.transaction() as block:
            await conn.close()
    assert status_of(block) is Status.FAILED


async def test_repr(conn: AsyncConnection) -> None:
    block = conn.transaction("it's")
    assert '"it\'s" (inactive)' in repr(block)
    async with block:
        assert "(active)" in repr(block)
    assert "(committed)" in repr(block)
    async with conn.transaction(force_rollback=True) as block:
        pass
    assert "(rolled back (explicit))" in repr(block)
    async with conn.transaction() as block:
        raise Rollback
    assert "(rolled back (explicit))" in repr(block)
    assert repr(block) in repr(Rollback(block))


# -- blocks in blocks


async def test_nested_blocks(conn: AsyncConnection) -> None:
    async with conn.transaction():
        await insert(conn, 1)
        with pytest.raises(Oops):
            async with conn.transaction() as inner:
                assert inner.savepoint_name is not None
                await insert(conn, 2)
                async with conn.transaction() as innermost:
                    assert innermost.savepoint_name not in (None, inner.savepoint_name)
                    await insert(conn, 3)
                raise Oops
        async with conn.transaction():
            await insert(conn, 4)
    assert await kept(conn) == [1, 4]


async def test_an_outer_block_takes_the_inner_ones_with_it(conn: AsyncConnection) -> None:
    with pytest.raises(Oops):
        async with conn.transaction():
            async with conn.transaction():
                await insert(conn, 1)
            raise Oops
    assert await kept(conn) == []


@pytest.mark.any_loop
@pytest.mark.parametrize("name", ["simple", "Mixed Case", 'with "quotes"', "ünï", "x" * 63])
async def test_names_of_savepoints(name: str, conn: AsyncConnection) -> None:
    async with conn.transaction(name) as outer:
        assert outer.savepoint_name == name
        async with conn.transaction(name):
            await insert(conn, 1)
        async with conn.transaction(name, force_rollback=True):
            await insert(conn, 2)
    assert status(conn) is TransactionStatus.IDLE
    assert await kept(conn) == [1]


async def test_a_savepoint_name_that_cannot_be(conn: AsyncConnection) -> None:
    with pytest.raises(e.DataError):
        async with conn.transaction("a\0b"):
            pass
    assert status(conn) is TransactionStatus.IDLE
    assert await kept(conn) == []


async def fail(conn: AsyncConnection, way: str = "execute") -> None:
    """Have a statement fail, and catch its error."""
    with pytest.raises(e.DatabaseError):
        if way == "executemany":
            await conn.cursor().executemany("INSERT INTO nosuch VALUES (%s)", [(1,)])
        elif way == "stream":
            async for _ in conn.cursor().stream("SELECT 1 / (3 - n) FROM generate_series(1, 10) n"):
                pass
        elif way == "client":
            await AsyncClientCursor(conn).execute("SELECT %s FROM nosuch", (1,))
        else:
            await conn.execute("SELECT * FROM nosuch")


@pytest.mark.parametrize("way", ["execute", "executemany", "stream", "client"])
async def test_an_error_that_is_caught_inside_an_inner_block(way: str, conn: AsyncConnection) -> None:
    """The server releases no savepoint of a transaction that has failed; what the block did is gone, and it says so."""
    async with conn.transaction() as outer:
        await insert(conn, 1)
        with pytest.raises(e.InFailedSqlTransaction, match="its error was caught") as caught:
            async with conn.transaction() as inner:
                await insert(conn, 2)
                await fail(conn, way)
        assert caught.value.sqlstate == "25P02"
        assert "(rolled back)" in repr(inner)
        # Like any other error that leaves it: the outer block goes on.
        assert status(conn) is TransactionStatus.INTRANS
        await insert(conn, 3)
    assert "(committed)" in repr(outer)
    assert await kept(conn) == [1, 3]


async def test_an_error_that_is_caught_inside_the_innermost_of_three_blocks(conn: AsyncConnection) -> None:
    with pytest.raises(e.InFailedSqlTransaction):
        async with conn.transaction() as outer, conn.transaction() as inner:
            await insert(conn, 1)
            async with conn.transaction() as innermost:
                await fail(conn)
    assert all("(rolled back)" in repr(block) for block in (outer, inner, innermost))
    assert status(conn) is TransactionStatus.IDLE
    assert await kept(conn) == []


@pytest.mark.any_loop
@pytest.mark.parametrize("savepoint_name", [None, "name"])
@pytest.mark.parametrize("way", ["execute", "executemany", "stream", "client"])
async def test_an_error_that_is_caught_inside_an_outer_block(
    way: str, savepoint_name: str | None, conn: AsyncConnection
) -> None:
    """The server answers the COMMIT with a ROLLBACK and without an error; the block does not end as a success."""
    with pytest.raises(e.InFailedSqlTransaction, match="its error was caught") as caught:
        async with conn.transaction(savepoint_name) as block:
            await insert(conn, 1)
            await fail(conn, way)
    assert caught.value.sqlstate == "25P02"
    assert "(rolled back)" in repr(block)
    assert status(conn) is TransactionStatus.IDLE
    assert await kept(conn) == []


@pytest.mark.parametrize("savepoint_name", [None, "name"])
async def test_a_block_that_is_rolled_back_anyway(savepoint_name: str | None, conn: AsyncConnection) -> None:
    async with conn.transaction(savepoint_name, force_rollback=True) as block:
        await fail(conn)
    assert "(rolled back (explicit))" in repr(block)
    async with conn.transaction(savepoint_name) as block:
        await fail(conn)
        raise Rollback
    assert status(conn) is TransactionStatus.IDLE


async def test_an_error_that_is_not_caught_is_the_one_to_know_about(conn: AsyncConnection) -> None:
    with pytest.raises(Oops):
        async with conn.transaction(), conn.transaction():
            await fail(conn)
            raise Oops
    assert status(conn) is TransactionStatus.IDLE


async def test_a_failed_transaction_is_not_committed(conn: AsyncConnection) -> None:
    if conn.autocommit:
        await conn.execute("BEGIN")
    await insert(conn, 1)
    await fail(conn)
    with pytest.raises(e.InFailedSqlTransaction, match="rolled back and not committed"):
        await conn.commit()
    assert status(conn) is TransactionStatus.IDLE
    # There is nothing left to commit or to complain of.
    await conn.commit()
    await insert(conn, 2)
    await conn.commit()
    assert await kept(conn) == [2]


async def test_a_failed_transaction_is_rolled_back(conn: AsyncConnection) -> None:
    if conn.autocommit:
        await conn.execute("BEGIN")
    await fail(conn)
    await conn.rollback()
    assert status(conn) is TransactionStatus.IDLE


async def test_a_rollback_to_a_savepoint_makes_a_transaction_good_again(conn: AsyncConnection) -> None:
    async with conn.transaction() as block:
        await insert(conn, 1)
        await conn.execute("SAVEPOINT s")
        await fail(conn)
        await conn.execute("ROLLBACK TO s")
    assert "(committed)" in repr(block)
    assert await kept(conn) == [1]


async def test_a_failed_transaction_at_the_end_of_the_connections_block(
    dsn: str, schema: str, caplog: pytest.LogCaptureFixture, anyio_backend: object
) -> None:
    """Whoever leaves because of an error that was caught is not given another one, but it is not silent."""
    async with AsyncConnection.connect(dsn) as conn:
        await conn.execute(f"CREATE TABLE {schema}.t (a int)")
        await fail(conn)
    assert conn.closed
    assert "rolled back and not committed" in caplog.text


async def test_a_block_in_a_failed_transaction(conn: AsyncConnection) -> None:
    with pytest.raises(e.InFailedSqlTransaction):
        async with conn.transaction():
            with pytest.raises(e.UndefinedTable):
                await conn.execute("SELECT * FROM nosuch")
            async with conn.transaction():
                raise AssertionError("a block was entered that cannot be")
    assert status(conn) is TransactionStatus.IDLE


async def test_a_block_in_a_transaction_that_was_begun_before(conn: AsyncConnection) -> None:
    """It is a savepoint, and does not end the transaction."""
    if conn.autocommit:
        await conn.execute("BEGIN")
    await insert(conn, 1)
    async with conn.transaction() as block:
        assert block.savepoint_name is not None
        await insert(conn, 2)
    with pytest.raises(Oops):
        async with conn.transaction():
            await insert(conn, 3)
            raise Oops
    assert status(conn) is TransactionStatus.INTRANS
    await conn.commit()
    assert await kept(conn) == [1, 2]


# -- Rollback


async def test_rollback_leaves_the_block(conn: AsyncConnection) -> None:
    async with conn.transaction():
        await insert(conn, 1)
        raise Rollback
    assert await kept(conn) == []


@pytest.mark.parametrize("target", ["innermost", "inner", "outer"])
async def test_rollback_of_a_block(target: str, conn: AsyncConnection) -> None:
    reached = []
    async with conn.transaction() as outer:
        await insert(conn, 1)
        async with conn.transaction() as inner:
            await insert(conn, 2)
            async with conn.transaction() as innermost:
                await insert(conn, 3)
                raise Rollback({"innermost": None, "inner": inner, "outer": outer}[target])
            reached.append("inner")
        reached.append("outer")
    assert "rolled back" in repr(innermost)
    expected: dict[str, tuple[list[str], list[int]]] = {
        "innermost": (["inner", "outer"], [1, 2]),
        "inner": (["outer"], [1]),
        "outer": ([], []),
    }
    assert (reached, await kept(conn)) == expected[target]


async def test_rollback_of_a_block_that_is_not_there(conn: AsyncConnection) -> None:
    other = conn.transaction()
    with pytest.raises(Rollback):
        async with conn.transaction():
            await insert(conn, 1)
            raise Rollback(other)
    assert await kept(conn) == []


# -- a connection that is lost


async def test_a_connection_that_is_closed_inside(conn: AsyncConnection) -> None:
    with pytest.raises(e.OperationalError, match="the connection is closed"):
        async with conn.transaction() as block:
            await conn.close()
    assert "(lost)" in repr(block)
    assert conn.session.transactions.blocks == []


async def test_an_error_in_a_block_whose_connection_is_closed(conn: AsyncConnection) -> None:
    with pytest.raises(Oops):
        async with conn.transaction():
            await conn.close()
            raise Oops


@pytest.mark.parametrize("force_rollback", [False, True])
async def test_a_connection_that_is_lost_inside(force_rollback: bool, conn: AsyncConnection, server: Server) -> None:
    with pytest.raises(e.AdminShutdown):
        async with conn.transaction(force_rollback=force_rollback):
            server.psql(f"SELECT pg_terminate_backend({conn.info.backend_pid})")
    assert conn.broken
    with pytest.raises(e.OperationalError, match="the connection is closed"):
        async with conn.transaction():
            pass


async def test_the_first_error_counts(conn: AsyncConnection, server: Server, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(Oops):
        async with conn.transaction():
            server.psql(f"SELECT pg_terminate_backend({conn.info.backend_pid})")
            raise Oops
    assert "error ignored in rollback" in caplog.text


# -- two tasks


async def test_blocks_of_two_tasks_that_are_nested(conn: AsyncConnection) -> None:
    entered, left = anyio.Event(), anyio.Event()

    async def inner() -> None:
        await entered.wait()
        async with conn.transaction() as block:
            assert block.savepoint_name is not None
            await insert(conn, 2)
        left.set()

    async with anyio.create_task_group() as group:
        group.start_soon(inner)
        async with conn.transaction():
            entered.set()
            await insert(conn, 1)
            await left.wait()
    assert await kept(conn) == [1, 2]


@pytest.mark.parametrize("force_rollback", [False, True])
async def test_blocks_of_two_tasks_that_are_not_nested(force_rollback: bool, conn: AsyncConnection) -> None:
    entered, also_entered, left = anyio.Event(), anyio.Event(), anyio.Event()

    async def inner() -> None:
        await entered.wait()
        async with conn.transaction():
            also_entered.set()
            await left.wait()

    async with anyio.create_task_group() as group:
        group.start_soon(inner)
        with pytest.raises(OutOfOrderTransactionNesting, match="one connection for each task"):
            async with conn.transaction(force_rollback=force_rollback) as outer:
                entered.set()
                await also_entered.wait()
        assert "(failed)" in repr(outer)
        left.set()
    await conn.rollback()
    assert await kept(conn) == []


@pytest.mark.parametrize("behind", [0, 1], ids=["last", "not-last"])
async def test_an_inner_block_that_ends_behind_the_error_of_another_task(
    behind: int, conn: AsyncConnection, dsn: str
) -> None:
    """Its RELEASE was sent before the error was known: the inner block is gone, the outer one is usable."""
    async with held_lock(dsn) as lock, conn.transaction():
        await insert(conn, 1)
        async with anyio.create_task_group() as group:

            async def other() -> None:
                with pytest.raises(e.DivisionByZero):
                    await conn.execute(f"SELECT 1 / length(({lock.statement})::text)")

            async def inner() -> None:
                with pytest.raises(e.InFailedSqlTransaction):
                    async with conn.transaction():
                        await insert(conn, 2)
                        group.start_soon(other)
                        await lock.until_wanted(conn.info.backend_pid)

            async def last() -> None:
                with pytest.raises(e.InFailedSqlTransaction):
                    await insert(conn, 3)

            group.start_soon(inner)
            await lock.until_wanted(conn.info.backend_pid)
            await anyio.wait_all_tasks_blocked()
            for _ in range(behind):
                group.start_soon(last)
            await anyio.wait_all_tasks_blocked()
            await lock.release()
        assert status(conn) is TransactionStatus.INTRANS
        await insert(conn, 4)
    assert await kept(conn) == [1, 4]


async def test_blocks_that_are_left_in_the_wrong_order(conn: AsyncConnection) -> None:
    outer, inner = conn.transaction(), conn.transaction()
    await outer.__aenter__()
    await inner.__aenter__()
    with pytest.raises(OutOfOrderTransactionNesting):
        await outer.__aexit__(None, None, None)
    await inner.__aexit__(None, None, None)
    await conn.rollback()
    assert status(conn) is TransactionStatus.IDLE


async def test_statements_of_other_tasks_are_part_of_the_block(conn: AsyncConnection) -> None:
    async with conn.transaction(force_rollback=True), anyio.create_task_group() as group:
        for value in range(10):
            group.start_soon(insert, conn, value)
    assert await kept(conn) == []


async def test_begin_and_savepoint_go_out_together(dsn: str) -> None:
    pieces: list[Any] = []
    async with AsyncConnection.connect(dsn, autocommit=True) as conn:
        channel = passing(conn)
        send = channel.try_send
        channel.try_send = lambda data: pieces.append(bytes(data)) or send(data)  # type: ignore[func-returns-value]
        async with conn.transaction("name"):
            pass
    for piece, words in ((pieces[0], (b"BEGIN", b"SAVEPOINT")), (pieces[1], (b"RELEASE", b"COMMIT"))):
        assert all(word in piece for word in words)


@pytest.mark.parametrize("ending", ["ROLLBACK", "/* x */ COMMIT", "ROLLBACK AND NO CHAIN"])
async def test_a_transaction_that_a_statement_has_ended_is_not_called_committed(
    ending: str, conn: AsyncConnection, caplog: pytest.LogCaptureFixture
) -> None:
    async with conn.transaction() as block:
        await insert(conn, 1)
        await conn.execute(ending.encode())
    assert "(ended by a statement inside it)" in repr(block)
    assert "may have been rolled back" in caplog.text
    assert await kept(conn) == ([1] if "COMMIT" in ending else [])


# -- arguments of no use


@pytest.mark.parametrize("wrong", [3, b"name", [], object()])
async def test_a_name_that_is_none(conn: AsyncConnection, wrong: Any) -> None:
    with pytest.raises(TypeError, match="savepoint_name must be a str, not"):
        conn.transaction(wrong)


@pytest.mark.parametrize("wrong", ["serializable", 0, 5, object()])
async def test_an_isolation_level_that_is_none(conn: AsyncConnection, wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"must be one of IsolationLevel.READ_UNCOMMITTED, .*; not "):
        await conn.set_isolation_level(wrong)
    assert conn.isolation_level is None
    await conn.set_isolation_level(IsolationLevel.SERIALIZABLE.value)  # type: ignore[arg-type]
    assert conn.isolation_level is IsolationLevel.SERIALIZABLE
