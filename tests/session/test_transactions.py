"""When transactions begin, and what they are like."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from anyq import AsyncConnection, IsolationLevel, TransactionStatus
from anyq import errors as e
from tests.support.queries import one
from tests.support.state import status

pytestmark = pytest.mark.anyio


class Sends:
    """What a connection hands to its socket, a piece for each attempt to send."""

    def __init__(self, conn: AsyncConnection) -> None:
        self.pieces: list[bytes] = []
        self._send = conn.session.wire.channel.try_send
        conn.session.wire.channel.try_send = self._record  # type: ignore[method-assign]

    def _record(self, data: Any) -> int:
        sent = self._send(data)
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


@pytest.mark.parametrize("end", ["COMMIT", "rollback", "END", "Abort work"])
async def test_nobody_is_left_without_a_transaction_by_a_statement_that_ends_it(
    end: str, dsn: str, schema: str
) -> None:
    async with AsyncConnection.connect(dsn) as conn:
        await conn.execute(f"CREATE TABLE {schema}.t (a int)".encode())
        await conn.commit()
        await conn.execute("SELECT 1")
        ready = anyio.Event()

        async def finish() -> None:
            ready.set()
            await conn.execute(end)

        async def insert() -> None:
            await ready.wait()
            await conn.execute(f"INSERT INTO {schema}.t VALUES (1)".encode())

        async with anyio.create_task_group() as group:
            group.start_soon(finish)
            group.start_soon(insert)
        await conn.rollback()
        assert await one(conn, f"SELECT count(*) FROM {schema}.t") == 0


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
