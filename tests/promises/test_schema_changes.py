"""What was prepared, or described, goes on being right when the schema has changed since, in one's own session or not.

The theory is in docs/prepared-statements.md. The account by itself is tested in tests/statements.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anyio
import pytest

from anyq import AsyncClientCursor, AsyncConnection, AsyncRawCursor, TransactionStatus
from anyq import errors as e
from anyq.adapt import Dumper
from anyq.rows import dict_row
from anyq.session.executemany import BATCH_SETS
from tests.support.state import status

pytestmark = [pytest.mark.anyio, pytest.mark.any_loop]

TIMES = 7
"""Executions after which a statement has been prepared, and is remembered by its text."""


@pytest.fixture(params=[True, False], ids=["autocommit", "manual"])
async def conn(
    anyio_backend: object, dsn: str, schema: str, request: pytest.FixtureRequest
) -> AsyncIterator[AsyncConnection]:
    """A connection that works in a schema of its own, in either mode; in a transaction where it can be."""
    async with AsyncConnection.connect(dsn, autocommit=request.param, options=f"-csearch_path={schema}") as connection:
        yield connection
        await connection.rollback()


async def rows(conn: AsyncConnection, query: str, params: Any = None, **options: Any) -> list[Any]:
    cursor = conn.cursor()
    await cursor.execute(query, params, **options)
    return await cursor.fetchall()


async def often(conn: AsyncConnection, query: str, params: Any = None, **options: Any) -> list[Any]:
    for _ in range(TIMES):
        result = await rows(conn, query, params, **options)
    return result


async def many(conn: AsyncConnection, query: str, *values: Any, count: int = 2) -> list[Any]:
    """Execute for so many sets of the first value, and one of each of the others."""
    cursor = conn.cursor()
    sets = [(values[0],)] * count + [(value,) for value in values[1:]] if values else [()] * count
    await cursor.executemany(query, sets, returning=True)
    return [await result.fetchall() async for result in cursor.results()]


async def run(conn: AsyncConnection, *statements: str) -> None:
    for statement in statements:
        await conn.execute(statement)


# -- a utility statement has another result each time


@pytest.mark.parametrize("prepare", [True, False, None])
@pytest.mark.parametrize("binary", [True, False, None])
@pytest.mark.parametrize("query", ["FETCH ALL FROM cur", "/* c */ fetch forward 1 from cur"])
async def test_fetch(conn: AsyncConnection, query: str, prepare: bool | None, binary: bool | None) -> None:
    shapes: list[tuple[str, dict[str, Any]]] = [
        ("1::int8 AS id", {"id": 1}),
        ("2.5::float8 AS price", {"price": 2.5}),
        ("'x' AS a, NULL AS b, ARRAY[1] AS c", {"a": "x", "b": None, "c": [1]}),
        ("3::int2 AS id", {"id": 3}),
        ("'pg_class'::regclass AS x", {"x": "pg_class"}),
        ("1::int8 AS id", {"id": 1}),
    ]
    async with conn.transaction():
        for shape, expected in [shapes[0]] * TIMES + shapes:
            await conn.execute(f"DECLARE cur CURSOR FOR SELECT {shape}")
            cursor = conn.cursor(row_factory=dict_row)
            await cursor.execute(query, prepare=prepare, binary=binary)
            assert await cursor.fetchall() == [expected]
            assert cursor.description is not None
            assert [column.name for column in cursor.description] == list(expected)
            await conn.execute("CLOSE cur")


async def test_fetch_as_a_stream(conn: AsyncConnection) -> None:
    async with conn.transaction():
        for shape, expected in (("1::int8", (1,)), ("2.5::float8", (2.5,)), ("'pg_am'::regclass, 1", ("pg_am", 1))) * 2:
            await conn.execute(f"DECLARE cur SCROLL CURSOR FOR SELECT {shape}")
            for binary in (None, True):
                await conn.execute("MOVE BACKWARD ALL FROM cur")
                stream = conn.cursor().stream("FETCH ALL FROM cur", binary=binary)
                assert [row async for row in stream] == [expected]
            await conn.execute("CLOSE cur")


@pytest.mark.parametrize("prepare", [True, None])
async def test_execute(conn: AsyncConnection, prepare: bool | None) -> None:
    shapes = [("1::int8", (1,)), ("2.5::float8", (2.5,)), ("'x'::text, 7", ("x", 7))]
    for shape, expected in [shapes[0]] * TIMES + shapes:
        await conn.execute(f"PREPARE mine AS SELECT {shape}")
        assert await rows(conn, "EXECUTE mine", prepare=prepare) == [expected]
        await conn.execute("DEALLOCATE mine")


@pytest.mark.parametrize("prepare", [True, None])
async def test_call(conn: AsyncConnection, prepare: bool | None) -> None:
    for kind, expected in (("int8", 7), ("float8", 7.0), ("text", "7")) * 2:
        await run(
            conn,
            "DROP PROCEDURE IF EXISTS p",
            f"CREATE PROCEDURE p(INOUT a {kind}) LANGUAGE plpgsql AS 'BEGIN a := 7; END'",
        )
        for _ in range(3):
            ((value,),) = await rows(conn, "CALL p(NULL)", prepare=prepare)
            assert (type(value), value) == (type(expected), expected)


async def test_show_and_explain(conn: AsyncConnection) -> None:
    for _ in range(TIMES):
        assert await rows(conn, "SHOW work_mem", prepare=True) != []
        assert await rows(conn, "EXPLAIN SELECT 1", prepare=True) != []
        (((plan,),),) = [await rows(conn, "EXPLAIN (FORMAT JSON) SELECT 1", prepare=True)]
        assert plan[0]["Plan"]["Node Type"] == "Result"


# -- one's own session changes the schema


@pytest.fixture(params=["execute", "several", "do", "client"])
def change(request: pytest.FixtureRequest) -> Callable[..., Awaitable[None]]:
    """Run statements that change the schema, in one of the ways in which that can be seen."""

    async def changes(conn: AsyncConnection, *statements: str) -> None:
        if request.param == "several":
            await conn.execute("; ".join(statements) + "; SELECT 1")
        elif request.param == "do":
            body = "; ".join(statements)
            await conn.execute(f"DO $do$ BEGIN {body}; END $do$")
        elif request.param == "client":
            for statement in statements:
                await AsyncClientCursor(conn).execute(statement)
        else:
            await run(conn, *statements)

    return changes


async def test_a_type_that_is_made_again(conn: AsyncConnection, change: Any) -> None:
    await run(conn, "CREATE TYPE mood AS ENUM ('good', 'bad')")
    for _ in range(3):
        assert await often(conn, "SELECT 'good'::mood") == [("good",)]
        assert await often(conn, "SELECT %s::mood", ["bad"]) == [("bad",)]
        await change(conn, "DROP TYPE mood", "CREATE TYPE mood AS ENUM ('bad', 'good')")
        assert await rows(conn, "SELECT 'good'::mood") == [("good",)]
        assert await rows(conn, "SELECT %s::mood", ["bad"]) == [("bad",)]


@pytest.mark.parametrize(
    ("before", "value", "after", "other", "stored"),
    [
        ("int", "1", "text", "abc", "abc"),
        ("int", "1", "int8", str(2**40), 2**40),
        ("int", "1", "numeric", "1.5", None),
        ("date", "2020-01-02", "timestamp", "2020-01-02 03:04:05", None),
        ("uuid", "12345678-1234-1234-1234-123456789abc", "text", "x", "x"),
        ("text", "x", "bool", "t", True),
    ],
)
async def test_a_column_whose_type_is_altered(
    conn: AsyncConnection, change: Any, before: str, value: str, after: str, other: str, stored: Any
) -> None:
    """Of a parameter whose type the server has found when the statement was parsed; the value is not cut down to it."""
    await run(conn, f"CREATE TABLE t (a {before})")
    insert = "INSERT INTO t VALUES (%s) RETURNING a::text"
    await often(conn, insert, [value])
    await run(conn, "DELETE FROM t")
    await change(conn, f"ALTER TABLE t ALTER a TYPE {after} USING NULL")
    assert await rows(conn, insert, [other]) == [(str(other) if stored is not True else "true",)]
    if stored is not None:
        assert await rows(conn, "SELECT a FROM t") == [(stored,)]


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM t",
        "INSERT INTO t DEFAULT VALUES RETURNING *",
        "TABLE t",
        "WITH x AS (SELECT * FROM t) SELECT * FROM x",
    ],
)
@pytest.mark.parametrize("binary", [True, None])
async def test_a_column_that_is_added(conn: AsyncConnection, change: Any, query: str, binary: bool | None) -> None:
    await run(conn, "CREATE TABLE t (a int DEFAULT 1, j json DEFAULT '{}')", "INSERT INTO t DEFAULT VALUES")
    assert (await often(conn, query, binary=binary))[0] == (1, {})
    await change(conn, "ALTER TABLE t ADD b text DEFAULT 'x'")
    assert (await rows(conn, query, binary=binary))[0] == (1, {}, "x")
    await change(conn, "ALTER TABLE t DROP a")
    assert (await rows(conn, query, binary=binary))[0] == ({}, "x")
    if status(conn) is TransactionStatus.INTRANS:
        await conn.rollback()


@pytest.mark.parametrize("binary", [True, None])
@pytest.mark.parametrize("undo", ["rollback", "ROLLBACK", "block", "failed commit", "several"])
async def test_a_rollback_that_undoes_it(dsn: str, schema: str, undo: str, binary: bool | None) -> None:
    """Whichever way it comes; what was parsed against the table that is gone is not used for the next of that name."""
    async with AsyncConnection.connect(dsn, autocommit=True, options=f"-csearch_path={schema}") as conn:
        for kind, value in (("int", 1), ("text", "1"), ("float8", 1.0)) * 2:
            create = f"CREATE TABLE t (a {kind} DEFAULT 1, b int UNIQUE DEFERRABLE INITIALLY DEFERRED)"
            if undo == "block":
                async with conn.transaction(force_rollback=True):
                    await run(conn, create, "INSERT INTO t DEFAULT VALUES")
                    assert await often(conn, "SELECT a FROM t WHERE a = %s", ["1"], binary=binary) == [(value,)]
                continue
            await conn.execute("BEGIN")
            await run(conn, create, "INSERT INTO t DEFAULT VALUES")
            assert await often(conn, "SELECT a FROM t WHERE a = %s", ["1"], binary=binary) == [(value,)]
            if undo == "rollback":
                await conn.rollback()
            elif undo == "failed commit":
                await conn.execute("INSERT INTO t (b) VALUES (1), (1)")
                with pytest.raises(e.UniqueViolation):
                    await conn.execute("COMMIT")
            elif undo == "several":
                await conn.execute("SELECT 1; ROLLBACK; SELECT 2")
            else:
                await conn.execute("/* all of it */ ROLLBACK")
            assert status(conn) is TransactionStatus.IDLE


@pytest.mark.parametrize("way", ["block", "statement"])
async def test_a_rollback_to_a_savepoint_that_undoes_it(conn: AsyncConnection, way: str) -> None:
    async with conn.transaction():
        for kind, value in (("int", 1), ("text", "1"), ("float8", 1.0)):
            create = f"CREATE TABLE t (a {kind} DEFAULT 1)"
            if way == "block":
                async with conn.transaction(force_rollback=True):
                    await run(conn, create, "INSERT INTO t DEFAULT VALUES")
                    assert await often(conn, "SELECT a FROM t WHERE a = %s", ["1"]) == [(value,)]
            else:
                await run(conn, "SAVEPOINT s", create, "INSERT INTO t DEFAULT VALUES")
                assert await often(conn, "SELECT a FROM t WHERE a = %s", ["1"]) == [(value,)]
                await conn.execute("ROLLBACK TO s")


async def test_a_rollback_alone_has_nothing_parsed_again(conn: AsyncConnection) -> None:
    """Else an application that ends its reading transactions so would have nothing prepared."""
    await often(conn, "SELECT %s::int", [1])
    names = "SELECT name FROM pg_prepared_statements ORDER BY 1"
    before = await rows(conn, names, prepare=False)
    assert len(before) == 1
    for _ in range(3):
        async with conn.transaction(force_rollback=True):
            assert await rows(conn, "SELECT %s::int", [1]) == [(1,)]
        await rows(conn, "SELECT %s::int", [1])
        await conn.rollback()
        await conn.execute("SET LOCAL statement_timeout TO 0")
        await conn.commit()
    assert await rows(conn, names, prepare=False) == before


async def test_what_is_parsed_again_is_prepared_again(conn: AsyncConnection) -> None:
    await often(conn, "SELECT %s::int", [1])
    await run(conn, "CREATE TABLE t (a int)")
    await rows(conn, "SELECT %s::int", [1])
    assert await rows(conn, "SELECT statement FROM pg_prepared_statements", prepare=False) == [("SELECT $1::int",)]


@pytest.mark.parametrize("masks", ["CREATE TEMP TABLE t", "SELECT INTO", "CREATE TABLE AS"])
async def test_a_table_that_hides_another(conn: AsyncConnection, masks: str) -> None:
    """A prepared statement would go on with the one that it was parsed with, which an unprepared one does not."""
    await run(conn, "CREATE TABLE t (a int)", "INSERT INTO t VALUES (1)")
    assert await often(conn, "SELECT * FROM t") == [(1,)]
    if masks == "CREATE TEMP TABLE t":
        await run(conn, "CREATE TEMP TABLE t (a int)", "INSERT INTO pg_temp.t VALUES (2)")
    elif masks == "CREATE TABLE AS":
        await run(conn, "CREATE TEMP TABLE t AS SELECT 2 AS a")
    else:
        await run(conn, "SELECT 2 AS a INTO TEMP t; SELECT 1")
    assert await rows(conn, "SELECT * FROM t") == [(2,)]
    await run(conn, "DISCARD TEMP" if conn.autocommit else "DROP TABLE pg_temp.t")
    assert await rows(conn, "SELECT * FROM t") == [(1,)]


@pytest.mark.parametrize(
    ("there", "back"),
    [
        ("SET search_path TO {0}_b", "SET search_path TO {0}"),
        ("SET LOCAL search_path TO {0}_b", "SET LOCAL search_path TO {0}"),
        ("SET SCHEMA '{0}_b'", "RESET search_path"),
        ("SELECT 1; SET search_path = {0}_b; SELECT 2", "RESET ALL"),
        ("SET LOCAL search_path TO {0}_b", "COMMIT"),
        ("SET LOCAL search_path TO {0}_b", "ROLLBACK"),
    ],
)
async def test_another_search_path(dsn: str, schema: str, anyio_backend: object, there: str, back: str) -> None:
    async with AsyncConnection.connect(dsn, autocommit=True, options=f"-csearch_path={schema}") as conn:
        await run(conn, f"CREATE TABLE {schema}.t (a int)", f"CREATE SCHEMA {schema}_b")
        try:
            await run(conn, f"CREATE TABLE {schema}_b.t (a text, b int)")
            if "LOCAL" in there:
                await conn.execute("BEGIN")
            insert = "INSERT INTO t (a) VALUES (%s) RETURNING *"
            assert await often(conn, insert, ["1"]) == [(1,)]
            await conn.execute(there.format(schema))
            assert await often(conn, insert, ["abc"]) == [("abc", None)]
            await conn.execute(back.format(schema))
            assert await often(conn, insert, ["1"]) == [(1,)]
            await conn.rollback()
        finally:
            await conn.rollback()
            await conn.execute(f"DROP SCHEMA {schema}_b CASCADE")


async def test_another_role(conn: AsyncConnection, schema: str) -> None:
    """ "$user" in the search_path is the role's name."""
    role = f"{schema}_role"
    async with conn.transaction(force_rollback=True):
        await run(conn, f"CREATE ROLE {role}", f"GRANT CREATE, USAGE ON SCHEMA {schema} TO {role}")
        await run(conn, f"CREATE SCHEMA {role} AUTHORIZATION {role}", 'SET LOCAL search_path TO "$user", ' + schema)
        await run(conn, "CREATE TABLE t (a int)", f"GRANT ALL ON t TO {role}", f"CREATE TABLE {role}.t (a text)")
        await run(conn, f"GRANT ALL ON {role}.t TO {role}")
        assert await often(conn, "INSERT INTO t VALUES (%s) RETURNING a", ["1"]) == [(1,)]
        await run(conn, f"SET LOCAL ROLE {role}")
        assert await rows(conn, "INSERT INTO t VALUES (%s) RETURNING a", ["abc"]) == [("abc",)]
        await run(conn, "RESET ROLE")
        assert await rows(conn, "INSERT INTO t VALUES (%s) RETURNING a", ["1"]) == [(1,)]


async def test_settings_that_constants_depend_on(conn: AsyncConnection) -> None:
    """The server reports these; a constant was read when the statement was parsed."""
    async with conn.transaction(force_rollback=True):
        for style, month in (("MDY", 1), ("DMY", 2), ("MDY", 1)):
            await conn.execute(f"SET LOCAL DateStyle TO 'ISO, {style}'")
            ((value,),) = await often(conn, "SELECT '01/02/2003'::date")
            assert value.month == month
        for zone, hour in (("UTC", 12), ("Etc/GMT-3", 9)):
            await conn.execute(f"SET LOCAL TimeZone TO '{zone}'")
            assert await often(
                conn, "SELECT extract(hour FROM '2003-01-01 12:00'::timestamptz AT TIME ZONE 'UTC')::int"
            ) == [(hour,)]


async def test_the_same_bytes_in_another_encoding(conn: AsyncConnection) -> None:
    assert await often(conn, "SELECT '\xe9'") == [("\xe9",)]
    await conn.execute("SET client_encoding TO LATIN1")
    assert await rows(conn, "SELECT '\xc3\xa9'") == [("\xc3\xa9",)]


@pytest.mark.parametrize("binary", [True, None])
async def test_by_tasks_that_pipeline(conn: AsyncConnection, binary: bool | None) -> None:
    """Whoever sends behind the change, and before anybody has heard of it, gets the new columns or the old ones."""
    await run(conn, "CREATE TABLE t (a int)", "INSERT INTO t VALUES (1)")
    await conn.commit()
    await often(conn, "SELECT * FROM t", binary=binary)
    await conn.commit()
    seen: list[Any] = []

    async def read() -> None:
        seen.extend(await rows(conn, "SELECT * FROM t", binary=binary))

    for column in "bcd":
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(read)
            group.start_soon(conn.execute, f"ALTER TABLE t ADD {column} text DEFAULT '{column}'")
            for _ in range(5):
                group.start_soon(read)
        await conn.commit()
    assert set(seen) <= {(1,), (1, "b"), (1, "b", "c"), (1, "b", "c", "d")}
    assert await rows(conn, "SELECT * FROM t", binary=binary) == [(1, "b", "c", "d")]


async def test_a_change_whose_task_is_cancelled(conn: AsyncConnection) -> None:
    """Nobody has heard of it, and it may have taken effect."""
    await run(conn, "CREATE TABLE t (a int)", "INSERT INTO t VALUES (1)")
    await often(conn, "SELECT * FROM t")
    await conn.commit()
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(conn.execute, "ALTER TABLE t ADD b int")
            await anyio.lowlevel.checkpoint()
            scope.cancel()
    await conn.rollback()
    async with conn.transaction():
        assert len((await rows(conn, "SELECT * FROM t"))[0]) in (1, 2)


# -- another session changes it, or a function


@pytest.fixture
async def other(dsn: str, schema: str, anyio_backend: object) -> AsyncIterator[AsyncConnection]:
    """Another connection, whose changes nobody tells of."""
    async with AsyncConnection.connect(dsn, autocommit=True, options=f"-csearch_path={schema}") as connection:
        yield connection


CHANGES: list[Any] = [
    pytest.param("CREATE TABLE t (a int)", "SELECT * FROM t", None, "ALTER TABLE t ADD b int", id="column added"),
    pytest.param(
        "CREATE TABLE t (a int)", "SELECT a FROM t", None, "ALTER TABLE t ALTER a TYPE text", id="column altered"
    ),
    pytest.param(
        "CREATE TABLE t (a int)",
        "INSERT INTO t VALUES (%s) RETURNING 1",
        ("1", "abc"),
        "ALTER TABLE t ALTER a TYPE text",
        id="parameter's type",
    ),
    pytest.param(
        "CREATE TABLE t (a int)",
        "SELECT 1 FROM t WHERE a = %s",
        ("1", "abc"),
        "ALTER TABLE t ALTER a TYPE text",
        id="operator",
    ),
    pytest.param(
        "CREATE TYPE mood AS ENUM ('good')",
        "SELECT 'good'::mood",
        None,
        "DROP TYPE mood; CREATE TYPE mood AS ENUM ('good')",
        id="constant's type",
    ),
    pytest.param(
        "CREATE TYPE mood AS ENUM ('good')",
        "SELECT %s::mood",
        ("good", "good"),
        "DROP TYPE mood; CREATE TYPE mood AS ENUM ('good')",
        id="type made again",
    ),
]


@pytest.mark.parametrize(("create", "query", "params", "change"), CHANGES)
async def test_changed_by_another_session(
    conn: AsyncConnection, other: AsyncConnection, create: str, query: str, params: Any, change: str
) -> None:
    """Where nothing else is lost with it, the statement is parsed again and sent again."""
    before, after = ([value] if value is not None else None for value in params or (None, None))
    await other.execute(create)
    await often(conn, query, before)
    await conn.commit()
    await other.execute(change)
    await often(conn, query, after)


@pytest.mark.parametrize(("create", "query", "params", "change"), CHANGES)
async def test_changed_by_another_session_during_a_transaction(
    conn: AsyncConnection, other: AsyncConnection, create: str, query: str, params: Any, change: str
) -> None:
    """The server has failed the transaction; but it is so once, and not for ever, nor for each statement."""
    before, after = ([value] if value is not None else None for value in params or (None, None))
    await other.execute(create)
    await often(conn, query, before)
    await often(conn, query + " -- another", before)
    await conn.commit()
    await other.execute(change)
    await conn.execute("BEGIN" if conn.autocommit else "SELECT 1")
    with pytest.raises(e.DatabaseError):
        await rows(conn, query, after)
    await conn.rollback()
    await conn.execute("BEGIN" if conn.autocommit else "SELECT 1")
    await often(conn, query, after)
    if change.startswith("DROP TYPE") or "ADD" in change:
        await often(conn, query + " -- another", after)
    await conn.rollback()


@pytest.mark.parametrize("count", [1, BATCH_SETS, 2 * BATCH_SETS + 1])
@pytest.mark.parametrize(("create", "query", "params", "change"), CHANGES)
async def test_changed_by_another_session_for_executemany(
    conn: AsyncConnection, other: AsyncConnection, create: str, query: str, params: Any, change: str, count: int
) -> None:
    """All sets are sent again, as they were made: none is dumped again, and each has one result."""
    await other.execute(create)
    for _ in range(TIMES):
        await many(conn, query, *(params or ())[:1])
    await conn.commit()
    await other.execute(change)
    for _ in range(2):
        assert len(await many(conn, query, *(params or ())[1:], count=count)) == count
        assert status(conn) is (TransactionStatus.IDLE if conn.autocommit else TransactionStatus.INTRANS)
        await conn.commit()
    assert len(await rows(conn, "SELECT 1 FROM pg_prepared_statements", prepare=False)) == 1


@pytest.mark.parametrize(("create", "query", "params", "change"), CHANGES)
async def test_changed_by_another_session_for_executemany_in_a_transaction(
    conn: AsyncConnection, other: AsyncConnection, create: str, query: str, params: Any, change: str
) -> None:
    await other.execute(create)
    for _ in range(TIMES):
        await many(conn, query, *(params or ())[:1])
    await conn.commit()
    await other.execute(change)
    await conn.execute("BEGIN" if conn.autocommit else "SELECT 1")
    with pytest.raises(e.DatabaseError):
        await many(conn, query, *(params or ())[1:])
    await conn.rollback()
    await conn.execute("BEGIN" if conn.autocommit else "SELECT 1")
    assert len(await many(conn, query, *(params or ())[1:])) == 2
    await conn.rollback()


async def test_what_executemany_has_sent_too_much_of_is_not_sent_again(
    conn: AsyncConnection, other: AsyncConnection
) -> None:
    """A value that the old type has not, behind so many that it has: it is told, once."""
    await other.execute("CREATE TABLE t (a int)")
    query = "INSERT INTO t VALUES (%s) RETURNING 1"
    for _ in range(TIMES):
        await many(conn, query, "1")
    await conn.commit()
    await other.execute("ALTER TABLE t ALTER a TYPE text; TRUNCATE t")
    with pytest.raises(e.InvalidTextRepresentation, match="abc"):
        await many(conn, query, "1", "abc", count=5 * BATCH_SETS)
    await conn.rollback()
    await many(conn, query, "1", "abc", count=5 * BATCH_SETS)
    assert await rows(conn, "SELECT count(*) FROM t") == [(5 * BATCH_SETS + 1,)]


async def test_what_executemany_has_prepared_is_dropped_unseen(conn: AsyncConnection) -> None:
    """By a function, of which nothing is known; and what it had to parse meanwhile is not left behind."""
    await run(conn, "CREATE FUNCTION drops() RETURNS void LANGUAGE plpgsql AS 'BEGIN EXECUTE ''DEALLOCATE ALL''; END'")
    await conn.commit()
    for _ in range(TIMES):
        assert await many(conn, "SELECT %s::int + 1", 1, None) == [[(2,)], [(2,)], [(None,)]]
    await rows(conn, "SELECT drops()")
    await conn.commit()
    for _ in range(2):
        assert await many(conn, "SELECT %s::int + 1", 1, None) == [[(2,)], [(2,)], [(None,)]]
        await conn.commit()
    assert len(await rows(conn, "SELECT 1 FROM pg_prepared_statements", prepare=False)) == 2


async def test_what_executemany_comes_to_late_need_not_be_there(conn: AsyncConnection) -> None:
    """When its first sets are not kept any more, a statement of other types is parsed as if it were new."""
    await run(
        conn,
        "CREATE FUNCTION drops() RETURNS void LANGUAGE plpgsql AS 'BEGIN EXECUTE ''DEALLOCATE '' || quote_ident((SELECT"
        " name FROM pg_prepared_statements ORDER BY prepare_time DESC LIMIT 1)); END'",
    )
    await conn.commit()
    conn.prepare_threshold = 0
    await many(conn, "SELECT %s::int + 1", 1)
    await many(conn, "SELECT %s::int + 1", None)
    await conn.commit()
    await rows(conn, "SELECT drops()", prepare=False)
    await conn.commit()
    results = await many(conn, "SELECT %s::int + 1", 1, None, count=3 * BATCH_SETS)
    assert results == [*[[(2,)]] * (3 * BATCH_SETS), [(None,)]]


async def test_changed_by_a_function(conn: AsyncConnection) -> None:
    await run(
        conn,
        "CREATE TABLE t (a int)",
        "CREATE FUNCTION change() RETURNS void LANGUAGE plpgsql AS 'BEGIN ALTER TABLE t ADD b int; END'",
    )
    await often(conn, "SELECT * FROM t")
    await conn.commit()
    await rows(conn, "SELECT change()")
    await conn.commit()
    assert await rows(conn, "SELECT * FROM t") == []


async def test_a_wrong_parameter_is_an_error_all_the_same(conn: AsyncConnection) -> None:
    """It may have been the type that is out of date; when it was not, the error is that of the second attempt."""
    await run(conn, "CREATE TABLE t (a int)")
    await conn.commit()
    query = "INSERT INTO t VALUES (%s) RETURNING a"
    await often(conn, query, ["1"])
    await conn.commit()
    for _ in range(3):
        with pytest.raises(e.InvalidTextRepresentation, match='"abc"'):
            await rows(conn, query, ["abc"])
        await conn.rollback()
        assert await rows(conn, query, ["2"]) == [(2,)]
        await conn.commit()


async def test_what_may_have_taken_effect_is_not_sent_again(conn: AsyncConnection) -> None:
    """CALL commits as it likes; an internal error after that is no reason to do it twice."""
    await conn.set_autocommit(True)
    await run(
        conn,
        "CREATE TABLE t (a int)",
        "CREATE PROCEDURE p(fails bool) LANGUAGE plpgsql AS "
        "'BEGIN INSERT INTO t VALUES (1); COMMIT; IF fails THEN RAISE SQLSTATE ''XX000''; END IF; END'",
    )
    for _ in range(3):
        await conn.execute("CALL p(%s)", [False], prepare=True)
    await run(conn, "TRUNCATE t")
    with pytest.raises(e.InternalError_):
        await conn.execute("CALL p(%s)", [True], prepare=True)
    assert await rows(conn, "SELECT count(*) FROM t") == [(1,)]


# -- binary results of what is not prepared


@pytest.mark.parametrize("way", ["execute", "stream"])
async def test_a_column_that_has_no_binary_format_any_more(
    conn: AsyncConnection, other: AsyncConnection, way: str
) -> None:
    """Described before the change and run after it: it is told once, and right from then on."""

    async def read() -> list[Any]:
        if way == "stream":
            return [row async for row in conn.cursor().stream("SELECT a, b FROM t", binary=True)]
        return await rows(conn, "SELECT a, b FROM t", binary=True, prepare=False)

    await other.execute("CREATE TABLE t (a int, b int); INSERT INTO t VALUES (1, 2)")
    for _ in range(2):
        assert await read() == [(1, 2)]
    await conn.commit()
    await other.execute("ALTER TABLE t ALTER b TYPE regclass USING 'pg_am'")
    with pytest.raises(e.DataError, match="execute it again"):
        await read()
    await conn.rollback()
    for _ in range(2):
        assert await read() == [(1, "pg_am")]


@pytest.mark.parametrize("way", ["execute", "stream"])
@pytest.mark.parametrize("kind", ["point", "text", "json", "float8[]"])
async def test_a_column_that_has_another_type_by_ones_own_hand(conn: AsyncConnection, way: str, kind: str) -> None:
    async def read() -> int:
        if way == "stream":
            return len([row async for row in conn.cursor().stream("SELECT a, b FROM t", binary=True)])
        return len(await rows(conn, "SELECT a, b FROM t", binary=True, prepare=False))

    await run(conn, "CREATE TABLE t (a int, b int)", "INSERT INTO t VALUES (1, 2)")
    for _ in range(2):
        assert await read() == 1
    await run(conn, f"ALTER TABLE t ALTER b TYPE {kind} USING NULL")
    assert await read() == 1


# -- parameters are dumped once


class Once(Dumper):
    """Dumps each object once, as if from an iterator."""

    dumped: list[str]

    def dump(self, obj: str) -> bytes:
        if obj in self.dumped:
            raise LookupError("dumped twice")
        self.dumped.append(obj)
        return obj.encode()


@pytest.fixture
def dumps(conn: AsyncConnection) -> list[str]:
    """What was dumped of the connection's strings, each at most once."""

    class Mine(Once):
        dumped: list[str] = []

    conn.adapters.register_dumper(str, Mine)
    return Mine.dumped


@pytest.mark.parametrize(
    "way", ["execute", "prepared", "binary", "raw", "client", "executemany", "returning", "stream"]
)
async def test_parameters_of_a_statement_that_fails(conn: AsyncConnection, dumps: list[str], way: str) -> None:
    query = "SELECT 1 / %s::int"

    async def execute(divisor: str) -> None:
        if way in ("executemany", "returning"):
            await conn.cursor().executemany(query, [(divisor,)], returning=way == "returning")
        elif way == "stream":
            async for _ in conn.cursor().stream(query, (divisor,)):
                pass
        elif way == "raw":
            await AsyncRawCursor(conn).execute("SELECT 1 / $1::int", (divisor,))
        elif way == "client":
            await AsyncClientCursor(conn).execute("SELECT 1 / %s::int", (divisor,))
        else:
            await rows(conn, query, (divisor,), binary=True if way == "binary" else None)

    if way == "prepared":
        conn.prepare_threshold = 0
    good = [f"{n}" for n in range(1, TIMES)]
    if way == "client":
        # Literals are quoted by a dumper of the class's own.
        good = []
    for divisor in good:
        await execute(divisor)
    before = list(dumps)
    with pytest.raises(e.DivisionByZero):
        await execute("0")
    assert dumps == [*before, "0"]
    await conn.rollback()


@pytest.mark.parametrize("way", ["execute", "stream", "executemany"])
async def test_parameters_of_a_statement_that_is_sent_again(
    conn: AsyncConnection, other: AsyncConnection, dumps: list[str], way: str
) -> None:
    await other.execute("CREATE TABLE t (a int); INSERT INTO t VALUES (1)")
    query = "SELECT t.*, %s::int FROM t"
    for number in range(TIMES):
        await rows(conn, query, (f"1{number}",))
    await conn.commit()
    await other.execute("ALTER TABLE t ADD b int")
    if way == "executemany":
        assert await many(conn, query, "2", count=1) == [[(1, None, 2)]]
    else:
        assert await rows(conn, query, ("2",)) == [(1, None, 2)]
    assert dumps[-1] == "2"
    assert len(dumps) == len(set(dumps))


@pytest.mark.anyio
@pytest.mark.parametrize("autocommit", [False, True])
@pytest.mark.parametrize(
    "statement",
    ["SELECT 'temp' AS a INTO TEMP pt", "/* x */ WITH x AS (SELECT 'temp' AS a) SELECT * INTO TEMP pt FROM x"],
)
async def test_select_into_gives_a_name_another_meaning(
    conn: AsyncConnection, statement: str, autocommit: bool
) -> None:
    await conn.execute("CREATE SCHEMA elsewhere; CREATE TABLE elsewhere.pt AS SELECT 'there' AS a")
    try:
        await conn.execute("SET search_path TO elsewhere; CREATE TEMP TABLE other ()")
        await conn.commit()
        await conn.set_autocommit(autocommit)
        for _ in range(7):
            assert await (await conn.execute("SELECT a FROM pt")).fetchall() == [("there",)]
        await conn.execute(statement.encode())
        for _ in range(7):
            assert await (await conn.execute("SELECT a FROM pt")).fetchall() == [("temp",)]
    finally:
        await conn.rollback()
        await conn.execute("DROP SCHEMA elsewhere CASCADE")
        await conn.commit()
