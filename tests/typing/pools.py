"""The types that pools give."""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from typing import Any

from typing_extensions import assert_type

from anyq import AsyncConnection, AsyncCursor, Connection, Cursor
from anyq.pool import AsyncConnectionPool, AsyncNullConnectionPool, ConnectionPool, NullConnectionPool, run_transaction
from anyq.rows import DictRow, TupleRow, dict_row


class Mine(AsyncConnection[DictRow]):
    pass


class MySync(Connection[DictRow]):
    pass


async def number_of(conn: AsyncConnection[TupleRow]) -> int:
    return len(await (await conn.execute("SELECT 1")).fetchall())


async def for_tasks() -> None:
    async with AsyncConnectionPool("dbname=test", min_size=1) as pool, pool.connection(timeout=1) as conn:
        assert_type(pool, AsyncConnectionPool[AsyncConnection[TupleRow]])
        assert_type(conn, AsyncConnection[TupleRow])
        assert_type(await pool.getconn(), AsyncConnection[TupleRow])
        assert_type(pool.get_stats(), dict[str, int])
        assert_type(await pool.execute("SELECT 1"), AsyncCursor[Any, Any])
        assert_type(await pool.execute("SELECT 1", row_factory=dict_row), AsyncCursor[DictRow, Any])
        assert_type(await pool.executemany("SELECT %s", [[1]], returning=True), AsyncCursor[Any, Any])
        assert_type(await pool.executemany("SELECT %(a)s", ({"a": n} for n in (1, 2))), AsyncCursor[Any, Any])
        assert_type(await run_transaction(pool, number_of), int)
        assert_type(await run_transaction(conn, number_of), int)
        async with pool.transaction(read_only=True) as lent:
            assert_type(lent, AsyncConnection[TupleRow])
    async with AsyncConnectionPool("dbname=test", connection_class=Mine, configure=configure) as mine:
        assert_type(mine, AsyncConnectionPool[Mine])
        async with mine.connection() as own:
            assert_type(own, Mine)
            assert_type(await (await own.execute("SELECT 1")).fetchone(), DictRow | None)
        await mine.putconn(await mine.getconn())
    async with AsyncNullConnectionPool("dbname=test", connection_class=Mine) as null, null.connection() as own:
        assert_type(own, Mine)
    async with AsyncConnectionPool(
        connection_class=AsyncConnection[DictRow], kwargs={"row_factory": dict_row}
    ) as dicts:
        assert_type(await dicts.getconn(), AsyncConnection[DictRow])


async def configure(conn: Mine) -> None:
    await conn.execute("SELECT 1")


def for_threads() -> None:
    with ConnectionPool("dbname=test") as pool, pool.connection() as conn:
        assert_type(conn, Connection[TupleRow])
        assert_type(pool.execute("SELECT 1"), Cursor[Any, Any])
        assert_type(pool.executemany("SELECT 1", [()], row_factory=dict_row), Cursor[DictRow, Any])
        assert_type(pool.executemany("SELECT %s", [(1,), (2,)]), Cursor[Any, Any])
    with ConnectionPool(lambda: "dbname=test", connection_class=MySync) as mine, mine.connection() as own:
        assert_type(own, MySync)
        assert_type(own.execute("SELECT 1").fetchone(), DictRow | None)
    with NullConnectionPool("dbname=test") as null:
        assert_type(null.getconn(), Connection[TupleRow])


async def wrong(pool: AsyncConnectionPool, sync: ConnectionPool) -> None:
    async with pool.connection(timeout="1"):  # type: ignore[arg-type]
        pass
    await pool.executemany("SELECT 1", 1)  # type: ignore[arg-type]
    await pool.putconn(sync)  # type: ignore[arg-type]
    AsyncConnectionPool(configure=1)  # type: ignore[arg-type]
    AsyncConnectionPool(connection_class=Connection, configure=configure)  # type: ignore[arg-type]
