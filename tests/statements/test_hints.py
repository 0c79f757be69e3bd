"""What is commonly meant by what a server does not understand, on a server; the texts of its messages do not matter."""

from __future__ import annotations

from enum import Enum
from typing import Any

import pytest

from anyq import AsyncClientCursor, AsyncConnection, AsyncRawCursor
from anyq import errors as e
from anyq.errors import error_from_fields
from anyq.statements.hints import hint_for, hint_for_no_placeholders
from anyq.types.enum import EnumInfo, register_enum

pytestmark = pytest.mark.anyio


def hint(error: e.Error) -> str:
    """The driver's own hint, which is the last one."""
    hints = [line for line in str(error).split("\n") if line.startswith("HINT:  ")]
    return hints[-1].removeprefix("HINT:  ") if hints and hints[-1][7:] != error.diag.message_hint else ""


@pytest.fixture
async def table(conn: AsyncConnection) -> AsyncConnection:
    await conn.set_autocommit(True)
    await conn.execute("CREATE TEMP TABLE t (a int, b text)")
    return conn


@pytest.mark.parametrize(
    ("query", "params", "part"),
    [
        ("SELECT * FROM t WHERE a IN %s", [[1]], "= ANY(%s)"),
        ("SELECT * FROM t WHERE a not in %s", [[1]], "<> ALL(%s)"),
        ("SELECT * FROM t WHERE a IN (%s)", [[1]], "= ANY(%s)"),
        ("SELECT * FROM t WHERE a IN\n%(a)s", {"a": [1]}, "= ANY(%s)"),
        ("SELECT interval %s", ["1 day"], "%s::interval"),
        ("SELECT now() + INTERVAL %s day", [1], "%s::interval"),
        ("SELECT date %(d)s", {"d": "2020-01-01"}, "%s::date"),
        ("SELECT timestamptz %s", ["now"], "%s::timestamptz"),
        ("SET search_path TO %s", ["x"], "set_config(%s, %s, false)"),
        ("SET LOCAL work_mem = %s", ["x"], "AsyncClientCursor"),
        ("SET TIME ZONE %s", ["x"], "AsyncClientCursor"),
        ("NOTIFY a, %s", ["x"], "pg_notify(%s, %s)"),
        ("LISTEN %s", ["x"], "listen()"),
        ("CREATE TABLE %s (a int)", ["x"], "sql.Identifier"),
        ("CREATE TEMP TABLE x (a int DEFAULT %s)", [1], "CREATE takes no parameters"),
        ("CREATE TEMP VIEW v AS SELECT %s", [1], "CREATE takes no parameters"),
        ("-- a comment\n/* and another */ ALTER TABLE t ADD c int DEFAULT %s", [1], "ALTER takes no parameters"),
        ("ALTER ROLE someone PASSWORD %s", ["x"], "ALTER takes no parameters"),
        ("drop table %s", ["t"], "DROP takes no parameters"),
        ("GRANT SELECT ON t TO %s", ["x"], "sql.Identifier"),
        ("COMMENT ON TABLE t IS %s", ["x"], "AsyncClientCursor"),
        ("DO %s", ["x"], "AsyncClientCursor"),
        ("VACUUM %s", ["x"], "sql.Identifier"),
        ("SELECT * FROM %s", ["t"], "sql.Identifier"),
        ("SELECT * FROM t ORDER BY a %s", ["DESC"], "sql.SQL"),
        ("INSERT INTO %s VALUES (1)", ["t"], "sql.Identifier"),
        ("INSERT INTO t (%s) VALUES (1)", ["a"], "sql.Identifier"),
        ("UPDATE %s SET a = 1", ["t"], "sql.Identifier"),
        ("WITH x AS (SELECT 1) SELECT * FROM %s", ["x"], "sql.Identifier"),
        ("EXPLAIN SELECT * FROM %s", ["x"], "sql.Identifier"),
        ("SELECT 1; SELECT %s", [1], "execute them one by one"),
        ("SELECT '%s'", ["x"], "without quotes"),
        ("SELECT * FROM t WHERE b LIKE '%%%s%%'", ["x"], "without quotes"),
        ("SELECT %s IS NULL", [None], "%s::text"),
        ("SELECT concat(%s, 'x')", ["a"], "%s::text"),
        ("SELECT %s::int[]", [(1, 2)], "is a list"),
        ("SELECT 1 = ANY(%s)", [(1, 2)], "is a list"),
        ("SELECT :name", {"name": 1}, "%(name)s"),
        ("SELECT * FROM t WHERE a = :a", None, "%(name)s"),
        ("SELECT $1", {"name": 1}, "AsyncRawCursor"),
        ("SELECT $1", None, "AsyncRawCursor"),
        ("SELECT ?", None, "not known to PostgreSQL"),
        ("SELECT * FROM t WHERE a = ? AND b = ?", None, "not known to PostgreSQL"),
        ("SELECT %s", None, "no parameters were passed"),
        ("SELECT * FROM t WHERE a = %(a)s", None, "no parameters were passed"),
        ("SELECT {}", None, "f-string"),
        ("SELECT {name}", {"name": 1}, "f-string"),
    ],
)
async def test_wrong_turns(query: Any, params: Any, part: str, table: AsyncConnection) -> None:
    with pytest.raises((e.ProgrammingError, e.InvalidTextRepresentation)) as caught:
        await table.execute(query, params)
    assert part in hint(caught.value)


@pytest.mark.parametrize(
    ("query", "params"),
    [
        ("SELECT nothing", None),
        ("SELEC 1", None),
        ("SELECT 1 +", None),
        ("SELECT %s WHERE 1 +", [1]),
        ("SELECT 'a' ? 'b' +", None),
        ("SELECT a FROM nowhere WHERE a = %s", [1]),
        ("SELECT 1; SELECT nothing", None),
        ("SELECT a::text FROM t WHERE b = ", None),
        ("CREATE TABLE", None),
        ("SELECT 7 % (3 +", None),
    ],
)
async def test_nothing_to_say(query: Any, params: Any, table: AsyncConnection) -> None:
    with pytest.raises(e.ProgrammingError) as caught:
        await table.execute(query, params)
    assert hint(caught.value) == ""


async def test_a_type_that_was_dropped(table: AsyncConnection) -> None:
    """Its oid is sent until another one is registered."""
    mood = Enum("mood", ["x"])
    await table.execute("CREATE TYPE pg_temp.mood AS ENUM ('x')")
    info = await EnumInfo.fetch(table, "pg_temp.mood")
    assert info is not None
    register_enum(info, table, mood)
    await table.execute("DROP TYPE pg_temp.mood")
    with pytest.raises(e.InternalError_) as caught:
        await table.execute("SELECT %s", [mood["x"]])
    assert (
        hint(caught.value)
        == "a type was dropped, and made anew if it is there: fetch() it again, and register what that returns"
    )


async def test_a_client_cursor_is_not_sent_to_a_client_cursor(table: AsyncConnection) -> None:
    with pytest.raises(e.SyntaxError) as caught:
        await AsyncClientCursor(table).execute("CREATE TABLE %s (a int)", ["x"])
    assert "sql.Identifier" in hint(caught.value) and "client cursor" not in hint(caught.value)
    with pytest.raises(e.SyntaxError) as caught:
        await AsyncClientCursor(table).execute("SELECT 1 WHERE 1 IN %s", [[1]])
    assert "= ANY(%s)" in hint(caught.value)


async def test_raw_cursor(table: AsyncConnection) -> None:
    with pytest.raises(e.SyntaxError) as caught:
        await AsyncRawCursor(table).execute("SET search_path = $1", ["x"])
    assert "set_config" in hint(caught.value)


async def test_executemany_and_stream(table: AsyncConnection) -> None:
    with pytest.raises(e.SyntaxError) as caught:
        await table.cursor().executemany("SELECT 1 WHERE 1 IN %s", [([1],), ([2],)])
    assert "= ANY(%s)" in hint(caught.value)
    with pytest.raises(e.SyntaxError) as caught:
        await table.cursor().stream("SELECT 1 WHERE 1 IN %s", [[1]]).__anext__()
    assert "= ANY(%s)" in hint(caught.value)


async def test_several_statements_where_there_can_be_one(table: AsyncConnection) -> None:
    async def queue() -> None:
        async with table.pipeline():
            await table.execute("SELECT 1; SELECT 2")

    async def named() -> None:
        async with table.transaction(), table.cursor("several") as cur:
            await cur.execute("SELECT 1; SELECT 2")

    for several in (
        queue,
        named,
        lambda: table.execute("SELECT 1; SELECT 2", prepare=True),
        lambda: table.execute("SELECT 1; SELECT 2", binary=True),
        lambda: table.cursor().executemany("SELECT 1; SELECT 2", [(), ()]),
        table.cursor().stream("SELECT 1; SELECT 2").__anext__,
    ):
        with pytest.raises(e.SyntaxError) as caught:
            await several()
        assert "execute them one by one" in hint(caught.value)


async def test_a_type_without_binary_format_in_a_pipeline(table: AsyncConnection) -> None:
    """Which is not described before, as it is elsewhere."""
    query = "SELECT 'pg_monitor=r/pg_monitor'::aclitem"
    cur = await table.execute(query, binary=True)
    assert await cur.fetchone() == ("pg_monitor=r/pg_monitor",)
    async with table.pipeline():
        cur = await table.execute(query + " AS other", binary=True)
        with pytest.raises(e.UndefinedFunction) as caught:
            await cur.fetchone()
    assert "without binary=True" in hint(caught.value)


@pytest.mark.parametrize(
    ("query", "part"),
    [
        ("SELECT $1", "AsyncRawCursor"),
        ("SELECT * FROM t WHERE a=?", "? is not known"),
        ("SELECT ?", "? is not known"),
        ("INSERT INTO t VALUES (?, ?)", "? is not known"),
        ("SELECT :name", ":name is not known"),
        ("INSERT INTO t VALUES (:a,:b)", ":name is not known"),
        ("SELECT {}", "f-string"),
        ("SELECT {name}", "f-string"),
    ],
)
async def test_parameters_and_no_placeholders(query: Any, part: str, conn: AsyncConnection) -> None:
    assert part in (hint_for_no_placeholders(query) or "")
    with pytest.raises(e.ProgrammingError, match="0 placeholders but 1 parameters") as caught:
        await conn.execute(query, ["hunter2"])
    assert part in str(caught.value) and "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "query", ["SELECT 1", "SELECT 'a ? :b $1 {}'", "SELECT a::int", "SELECT '{1}'", "SELECT a[1:2]"]
)
def test_no_placeholders_and_nothing_like_them(query: str) -> None:
    assert hint_for_no_placeholders(query) is None


@pytest.mark.parametrize("text", ["", "$1", "(" * 100_000 + "$1", "-- " * 50_000, "/*" * 50_000 + "$1", "'" * 100_000])
@pytest.mark.parametrize("position", [None, 1, 2, 99_999, 10**9])
@pytest.mark.parametrize("sqlstate", ["42601", "42P02", "42P18", "42883", "08P01", "XX000"])
def test_any_text_and_any_position(text: str, position: int | None, sqlstate: str) -> None:
    for has_parameters in (True, False):
        found = hint_for(error_from_fields({"C": sqlstate}), text, position, has_parameters=has_parameters)
        assert found is None or found.startswith(("a ", "the ", "placeholders ", "several ", "no ", "INTERVAL "))
