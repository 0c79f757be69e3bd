"""When transactions begin, and what they are like."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any

import anyio
import pytest

from anyq import AsyncClientCursor, AsyncConnection, IsolationLevel, TransactionStatus
from anyq import errors as e
from tests.support.activity import held_lock
from tests.support.queries import one
from tests.support.spying import passing
from tests.support.state import status

pytestmark = pytest.mark.anyio


class Sends:
    """What a connection hands to its socket, a piece for each attempt to send."""

    def __init__(self, conn: AsyncConnection) -> None:
        self.pieces: list[bytes] = []
        channel = passing(conn)
        self._send = channel.try_send
        channel.try_send = self._record

    def _record(self, data: Any) -> int:
        sent: int = self._send(data)
        self.pieces.append(bytes(data[:sent]))
        return sent


# -- transactions without blocks


async def test_begin_travels_with_the_first_statement(conn: AsyncConnection) -> None:
    sends = Sends(conn)
    await conn.execute("SELECT 1")
    assert conn.info.transaction_status is TransactionStatus.INTRANS
    (piece,) = sends.pieces
    assert b"BEGIN" in piece
    assert b"SELECT 1" in piece
    await conn.execute("SELECT 2")
    assert b"BEGIN" not in sends.pieces[1]
    await conn.commit()
    assert status(conn) is TransactionStatus.IDLE
    await conn.execute("SELECT %s", [3])
    assert b"BEGIN" in sends.pieces[3]
    assert len(sends.pieces) == 4


@pytest.mark.parametrize("query", ["SELECT 1", "SELECT 1;", "SELECT 1; SELECT 2"])
async def test_no_begin_in_autocommit_mode(query: str, conn: AsyncConnection) -> None:
    await conn.set_autocommit(True)
    sends = Sends(conn)
    await conn.execute(query)
    assert conn.info.transaction_status is TransactionStatus.IDLE
    assert b"BEGIN" not in b"".join(sends.pieces)


async def test_commit_and_rollback(conn: AsyncConnection) -> None:
    sends = Sends(conn)
    await conn.commit()
    await conn.rollback()
    assert sends.pieces == []
    await conn.execute("CREATE TEMPORARY TABLE kept (a int)")
    await conn.commit()
    await conn.execute("INSERT INTO kept VALUES (1)")
    await conn.rollback()
    assert await one(conn, "SELECT count(*) FROM kept") == 0


@pytest.mark.parametrize("query", ["SELEC 1", "SELECT * FROM nosuch", "SELECT 1/0", "SELECT 1; SELEC 1"])
async def test_an_error_leaves_the_transaction_failed(query: str, conn: AsyncConnection) -> None:
    """Also one in the syntax: the transaction was begun before the statement was looked at."""
    with pytest.raises(e.DatabaseError):
        await conn.execute(query)
    if ";" not in query:
        assert conn.info.transaction_status is TransactionStatus.INERROR
        with pytest.raises(e.InFailedSqlTransaction):
            await conn.execute("SELECT 1")
    await conn.rollback()
    assert await one(conn, "SELECT 1") == 1


@pytest.mark.parametrize("first", ["SELEC 1", "SELEC 1; SELECT 2", "SELECT 1; SELECT 1/0"])
async def test_nobody_is_left_without_a_transaction(first: str, dsn: str, schema: str) -> None:
    """A statement that was sent behind one that failed must not be committed on its own."""
    async with AsyncConnection.connect(dsn) as conn:
        await conn.execute(f"CREATE TABLE {schema}.t (a int)".encode())
        await conn.commit()
        failures: list[type] = []
        ready = anyio.Event()

        async def fail() -> None:
            ready.set()
            try:
                await conn.execute(first)
            except e.DatabaseError as error:
                failures.append(type(error))

        async def insert() -> None:
            await ready.wait()
            try:
                await conn.execute(f"INSERT INTO {schema}.t VALUES (1)".encode())
            except e.InFailedSqlTransaction as error:
                failures.append(type(error))

        async with anyio.create_task_group() as group:
            group.start_soon(fail)
            group.start_soon(insert)
        assert failures
        await conn.rollback()
        assert await one(conn, f"SELECT count(*) FROM {schema}.t") == 0


ENDS = [
    *("COMMIT", "rollback", "END", "Abort work", " COMMIT", "/* x */ COMMIT", "-- x\nCOMMIT", "/* a /* b */ */ end"),
    *("\t\r\n\f commit;", "INSERT INTO t VALUES (2); COMMIT", "SELECT 1;rollback", "; COMMIT", "COMMIT; SELECT 1"),
    *("/* INSERT */ INSERT INTO t VALUES (2); /* ; */ COMMIT", "COMMIT AND CHAIN", "ROLLBACK AND CHAIN"),
    *("COMMIT; BEGIN", "CALL p()", "DO $$ BEGIN COMMIT; END $$", "SELECT nosuch; COMMIT", "COMMIT; SELEC"),
]


@pytest.mark.any_loop
@pytest.mark.parametrize("way", ["execute", "executemany", "stream", "binary", "client", "prepared", "block"])
@pytest.mark.parametrize("end", ENDS)
async def test_nobody_is_left_without_a_transaction_by_a_statement_that_ends_it(
    end: str, way: str, dsn: str, schema: str
) -> None:
    """What is sent behind it, before anybody has heard of it, is in a transaction and can be rolled back."""
    async with AsyncConnection.connect(dsn, options=f"-csearch_path={schema}") as conn:
        await conn.execute("CREATE TABLE t (a int)")
        # As a procedure can commit only outside of a transaction that somebody has begun, this one cannot.
        await conn.execute("CREATE PROCEDURE p() LANGUAGE plpgsql AS 'BEGIN COMMIT; END'")
        await conn.commit()
        for _ in range(7 if way == "prepared" else 0):
            await conn.execute("INSERT INTO t VALUES (%s)", (1,))
        await conn.rollback()
        seen: list[TransactionStatus] = []

        async def insert() -> None:
            cursor = conn.cursor()
            # The server refuses it, where it finds the transaction failed.
            with suppress(e.InFailedSqlTransaction):
                if way == "executemany":
                    await cursor.executemany("INSERT INTO t VALUES (%s)", [(1,), (1,)])
                elif way == "stream":
                    assert [r async for r in cursor.stream("INSERT INTO t VALUES (1) RETURNING a")] == [(1,)]
                elif way == "client":
                    await AsyncClientCursor(conn).execute("INSERT INTO t VALUES (%s)", (1,))
                elif way == "block":
                    async with conn.transaction(force_rollback=True):
                        await conn.execute("INSERT INTO t VALUES (1)")
                        seen.append(status(conn))
                else:
                    await cursor.execute("INSERT INTO t VALUES (%s) RETURNING 1", (1,), binary=way == "binary" or None)

        async def finish() -> None:
            with suppress(e.DatabaseError):
                await conn.execute(end)

        async with held_lock(dsn) as lock, anyio.create_task_group() as group:
            # Both go out before the reply to the first of all has come.
            for task in (partial(conn.execute, lock.statement), finish, insert):
                group.start_soon(task)
                await anyio.wait_all_tasks_blocked()
            await lock.release()
        await conn.rollback()
        assert await one(conn, "SELECT count(*) FROM t WHERE a = 1") == 0
        assert status(conn) is TransactionStatus.INTRANS


async def test_queries_do_not_wait_for_each_other(conn: AsyncConnection, dsn: str) -> None:
    """Only behind what may have ended the transaction has one to wait, and for no longer than the reply to that."""
    async with held_lock(dsn) as lock:
        sends = Sends(conn)
        async with anyio.create_task_group() as group:
            group.start_soon(conn.execute, lock.statement)
            await lock.until_wanted(conn.info.backend_pid)
            for query in ("SELECT 'first'", "/* c */ (VALUES ('second'))", "WITH x AS (SELECT 'third') TABLE x"):
                group.start_soon(conn.execute, query)
                await anyio.wait_all_tasks_blocked()
                assert query.encode() in sends.pieces[-1]
            for query in ("COMMIT", "SELECT 'behind'"):
                group.start_soon(conn.execute, query)
                await anyio.wait_all_tasks_blocked()
            sent = b"".join(sends.pieces)
            assert b"COMMIT" in sent
            assert b"behind" not in sent
            await lock.release()
    sent = b"".join(sends.pieces)
    assert sent.count(b"BEGIN") == 2
    assert sent.rindex(b"BEGIN") < sent.index(b"behind")


async def in_order(conn: AsyncConnection, dsn: str, *operations: Callable[[], Coroutine[Any, Any, Any]]) -> None:
    """Begin each operation before there is a reply to anything that was sent before it."""
    async with held_lock(dsn) as lock, anyio.create_task_group() as group:
        group.start_soon(conn.execute, lock.statement)
        await anyio.wait_all_tasks_blocked()
        for operation in operations:
            group.start_soon(operation)
            await anyio.wait_all_tasks_blocked()
        await lock.release()


async def test_a_statement_that_ends_the_transaction_in_front_of_its_end(conn: AsyncConnection, dsn: str) -> None:
    """Nothing is left to commit, so there is no warning of the server's."""
    notices: list[Any] = []
    conn.add_notice_handler(notices.append)
    await in_order(conn, dsn, partial(conn.execute, "-- end\nCOMMIT"), conn.commit)
    assert notices == []
    assert status(conn) is TransactionStatus.IDLE


async def test_settings_behind_a_statement_that_ends_the_transaction(conn: AsyncConnection, dsn: str) -> None:
    await in_order(conn, dsn, partial(conn.execute, "/* end */ COMMIT"), partial(conn.set_autocommit, True))
    assert conn.autocommit


async def test_rollback_to_a_savepoint_does_not_end_the_transaction(conn: AsyncConnection) -> None:
    notices: list[Any] = []
    conn.add_notice_handler(notices.append)
    for statement in ("SAVEPOINT a", "ROLLBACK TO a", "ROLLBACK WORK TO SAVEPOINT a", "SELECT 1"):
        await conn.execute(statement)
        assert conn.info.transaction_status is TransactionStatus.INTRANS
    assert notices == []


# -- settings


def modes(conn: AsyncConnection) -> tuple[bool, TransactionStatus]:
    return conn.autocommit, status(conn)


async def test_autocommit(dsn: str) -> None:
    async with AsyncConnection.connect(dsn, autocommit=True) as conn:
        assert modes(conn) == (True, TransactionStatus.IDLE)
        await conn.execute("SELECT 1")
        assert modes(conn) == (True, TransactionStatus.IDLE)
        await conn.set_autocommit(False)
        assert modes(conn) == (False, TransactionStatus.IDLE)
        await conn.execute("SELECT 1")
        assert modes(conn) == (False, TransactionStatus.INTRANS)


async def test_the_settings_of_transactions(conn: AsyncConnection) -> None:
    assert (conn.isolation_level, conn.read_only, conn.deferrable) == (None, None, None)

    async def on_the_server() -> list[str]:
        names = ("isolation", "read_only", "deferrable")
        shown = [await one(conn, f"SHOW transaction_{name}") for name in names]
        await conn.rollback()
        return shown

    assert await on_the_server() == ["read committed", "off", "off"]
    for level in IsolationLevel:
        await conn.set_isolation_level(level)
        assert conn.isolation_level is level
        assert (await on_the_server())[0] == level.name.lower().replace("_", " ")
    await conn.set_read_only(True)
    await conn.set_deferrable(True)
    assert await on_the_server() == ["serializable", "on", "on"]
    await conn.execute("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY, DEFERRABLE")
    await conn.commit()
    await conn.set_isolation_level(2)  # type: ignore[arg-type]
    await conn.set_read_only(False)
    await conn.set_deferrable(False)
    assert conn.isolation_level is IsolationLevel.READ_COMMITTED
    assert await on_the_server() == ["read committed", "off", "off"]
    await conn.set_isolation_level(None)
    await conn.set_read_only(None)
    await conn.set_deferrable(None)
    assert await on_the_server() == ["read committed", "on", "on"]


async def test_the_settings_count_for_blocks_too(conn: AsyncConnection) -> None:
    await conn.set_autocommit(True)
    await conn.set_isolation_level(IsolationLevel.SERIALIZABLE)
    await conn.set_read_only(True)
    async with conn.transaction():
        assert await one(conn, "SHOW transaction_isolation") == "serializable"
        with pytest.raises(e.ReadOnlySqlTransaction):
            async with conn.transaction():
                await conn.execute("CREATE TABLE never (a int)")


async def test_a_wrong_isolation_level(conn: AsyncConnection) -> None:
    with pytest.raises(ValueError, match="17"):
        await conn.set_isolation_level(17)  # type: ignore[arg-type]


SETTINGS = ["autocommit", "isolation_level", "read_only", "deferrable"]


@pytest.mark.parametrize("name", SETTINGS)
async def test_settings_are_not_assigned(name: str, conn: AsyncConnection) -> None:
    before = getattr(conn, name)
    with pytest.raises(AttributeError, match=f"use await conn.set_{name}"):
        setattr(conn, name, True)
    assert getattr(conn, name) is before


@pytest.mark.parametrize("name", SETTINGS)
async def test_settings_do_not_change_in_a_transaction(name: str, conn: AsyncConnection) -> None:
    change = getattr(conn, f"set_{name}")
    await conn.execute("SELECT 1")
    with pytest.raises(e.ProgrammingError, match=f"{name} cannot be changed while a transaction is open"):
        await change(True)
    await conn.rollback()
    async with conn.transaction():
        with pytest.raises(e.ProgrammingError, match="transaction is open"):
            await change(True)
    with pytest.raises(e.UndefinedTable):
        await conn.execute("SELECT * FROM nosuch")
    with pytest.raises(e.ProgrammingError, match="transaction is open"):
        await change(True)
    await conn.rollback()
    await change(True)


@pytest.mark.any_loop
@pytest.mark.parametrize("statement", ["COMMIT", "ROLLBACK", "/* by hand */ END", "SELECT 1; COMMIT"])
@pytest.mark.parametrize("name", SETTINGS)
async def test_settings_do_not_change_in_a_block_without_a_transaction(
    name: str, statement: Any, conn: AsyncConnection
) -> None:
    """A statement by hand has ended it; the block is still to be left, and the next statement begins another one."""
    block = conn.transaction()
    await block.__aenter__()
    await conn.execute(statement)
    assert status(conn) is TransactionStatus.IDLE
    with pytest.raises(e.ProgrammingError, match="transaction is open"):
        await getattr(conn, f"set_{name}")(True)
    await block.__aexit__(ValueError, ValueError(), None)
    await getattr(conn, f"set_{name}")(True)


async def test_settings_do_not_change_while_a_transaction_is_on_its_way(conn: AsyncConnection) -> None:
    ready = anyio.Event()

    async def begin() -> None:
        ready.set()
        await conn.execute("SELECT 1")

    async def change() -> None:
        await ready.wait()
        with pytest.raises(e.ProgrammingError, match="transaction is open"):
            await conn.set_autocommit(True)

    async with anyio.create_task_group() as group:
        group.start_soon(begin)
        group.start_soon(change)
