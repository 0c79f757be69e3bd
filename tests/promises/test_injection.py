"""A value stays a value, and a name a name: whatever is in it, however the query is put together, in any encoding."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Context, Decimal
from typing import Any

import pytest

from anyq import AsyncClientCursor, AsyncConnection, AsyncCursor, AsyncRawCursor, TransactionStatus, sql
from anyq.errors import DataError, ProgrammingError, SyntaxError
from anyq.sql import SQL, Composed, Identifier, Literal, Placeholder
from anyq.statements.placeholders import parse_query

pytestmark = [pytest.mark.anyio, pytest.mark.any_loop]

BAD = "; DROP TABLE victim; --"
CURSORS = [AsyncCursor, AsyncClientCursor]

#: Values and names that look like placeholders, and other things that mean something.
ODD = ["%s", "%(b)s", "%%", "100%", "%b%t", "$1", "%(b", "a%", "'%s'", '"%(b)s"', "\\%s", "é%s", "%s'; --", "{}", ":b"]


@pytest.mark.parametrize("cursor_type", CURSORS)
@pytest.mark.parametrize("odd", ODD)
async def test_a_literal_is_not_read_for_placeholders(
    conn: AsyncConnection[Any], cursor_type: type[AsyncCursor[Any, Any]], odd: str
) -> None:
    cursor = cursor_type(conn)
    literal, name = Literal(odd), Identifier(odd)
    ways = [
        SQL("SELECT {} AS {}, %(b)s AS b").format(literal, name),
        SQL("SELECT {}, {} AS b").format(SQL("{} AS {}").format(literal, name), Placeholder("b")),
        SQL("SELECT ") + literal + SQL(" AS ") + name + SQL(", %(b)s AS b"),
        SQL(", ").join([SQL("SELECT ") + literal + SQL(" AS ") + name, Composed([Placeholder("b"), SQL(" AS b")])]),
        Composed(
            [Composed([SQL("SELECT ")]), Composed([literal, SQL(" AS ")]), name, SQL(", %({})s AS b").format(SQL("b"))]
        ),
    ]
    for query in ways:
        await cursor.execute(query, {"b": BAD})
        assert await cursor.fetchone() == (odd, BAD)
        assert [column.name for column in cursor.description or []] == [odd, "b"]
    # Without parameters nothing is a placeholder.
    await cursor.execute(SQL("SELECT {} AS {}, '%s'").format(literal, name))
    assert await cursor.fetchone() == (odd, "%s")
    await cursor.execute(SQL("SELECT {} AS {}, %s").format(literal, name), [BAD])
    assert await cursor.fetchone() == (odd, BAD)
    rows = [row async for row in cursor.stream(SQL("SELECT {} AS {}, %s").format(literal, name), [BAD])]
    assert rows == [(odd, BAD)]
    # A value with a placeholder in it is none either, and a list of them.
    await cursor.execute(SQL("SELECT {}::text[], %s, %s::text[]").format([odd, odd]), [odd, [odd]])
    assert await cursor.fetchone() == ([odd, odd], odd, [odd])


@pytest.mark.parametrize("cursor_type", CURSORS)
async def test_executemany_reads_no_literals(
    conn: AsyncConnection[Any], cursor_type: type[AsyncCursor[Any, Any]]
) -> None:
    await conn.execute('CREATE TEMPORARY TABLE "%s" (a text, "%(b)s" text)')
    query = SQL("INSERT INTO {} VALUES ({}, %(b)s)").format(Identifier("%s"), "%(b)s")
    await cursor_type(conn).executemany(query, [{"b": n} for n in ("%s", BAD)])
    cursor = await conn.execute('SELECT * FROM "%s"')
    assert await cursor.fetchall() == [("%(b)s", "%s"), ("%(b)s", BAD)]


async def test_a_raw_cursor_reads_no_literals(conn: AsyncConnection[Any]) -> None:
    cursor = AsyncRawCursor(conn)
    for odd in ODD:
        await cursor.execute(SQL("SELECT $1, {} AS {}").format(odd, Identifier(odd)), [BAD])
        assert await cursor.fetchone() == (BAD, odd)


def test_only_what_the_program_says_is_read() -> None:
    def parsed(query: Any) -> tuple[bytes, Any]:
        plan = parse_query(query, (), None, "utf-8")
        return plan.sql, plan.names or plan.nparams

    assert parsed(SQL("{} %s {}").format("%s", SQL("%%"))) == (b"'%s' $1 %", 1)
    # Parts that stand together belong together, with nothing of a value between.
    assert parsed(SQL("%({})s").format(SQL("a"))) == (b"$1", ("a",))
    assert parsed(SQL("%") + SQL("s")) == (b"$1", 1)
    for query in (SQL("%") + Literal("s"), SQL("%(") + Identifier("a") + SQL(")s"), SQL("%({})s").format("a")):
        with pytest.raises(ProgrammingError, match="placeholder"):
            parsed(query)
    # A digit of a value does not become part of the number of a parameter.
    assert parsed(Placeholder() + Literal(5)) == (b"$1 5", 1)
    assert parsed(Literal("%s")) == (b"'%s'", 0)
    deep: sql.Composable = Literal("%s")
    for _ in range(5000):
        deep = Composed([deep])
    assert parsed(deep + Placeholder()) == (b"'%s'$1", 1)
    # Remembered by all of it: two queries with the same text are not the same query.
    assert parsed(Literal("%s") + SQL("x")) != parsed(SQL("'%s'x"))


def test_text_made_by_as_string_is_the_users_own() -> None:
    text = SQL("SELECT {}").format("%(b)s").as_string()
    assert parse_query(text, {}, None, "utf-8").names == ("b",)


@pytest.mark.parametrize(
    ("encoding", "value"),
    [("EUC_JP", "\\\xa5'" + BAD), ("SJIS", "\\\xa5'" + BAD), ("SHIFT_JIS_2004", "\\\xa5'" + BAD)],
)
async def test_a_character_that_is_written_as_a_backslash(
    conn: AsyncConnection[Any], encoding: str, value: str
) -> None:
    await conn.execute(f"SET client_encoding TO {encoding}".encode())
    for execute in (AsyncClientCursor(conn).execute, AsyncCursor(conn).execute):
        for query, params in (
            ("SELECT %s", (value,)),
            (SQL("SELECT {}").format(value), None),
            (SQL("SELECT 1 AS {}").format(Identifier(value)), None),
        ):
            with pytest.raises(DataError, match=f"client encoding .{encoding.lower()}. has no character"):
                await execute(query, params)
    with pytest.raises(DataError, match="has no character"):
        async with conn.transaction(savepoint_name=value):
            pass


@pytest.mark.parametrize("encoding", ["SHIFT_JIS_2004", "SJIS", "BIG5", "GBK", "GB18030", "UHC", "EUC_JP"])
@pytest.mark.parametrize("conforming", ["on", "off"])
async def test_names_with_half_a_quote(conn: AsyncConnection[Any], encoding: str, conforming: str) -> None:
    if conforming == "off" and conn.info.server_version >= 190000:
        pytest.skip("this server has no such setting")
    half = {"UHC": "뎉", "BIG5": "功", "GBK": "昞", "GB18030": "昞"}.get(encoding, "表")
    name = f"{half}\\\"'{half}"
    await conn.execute(f"SET client_encoding TO {encoding}".encode())
    await conn.execute(f"SET standard_conforming_strings TO {conforming}".encode())
    cursor = await AsyncClientCursor(conn).execute(
        SQL("SELECT {}, %s, {}::text[], %s::text[] AS {}").format(name, [name], Identifier(name)), (name, [name, half])
    )
    assert await cursor.fetchone() == (name, name, [name], [name, half])
    assert cursor.description is not None
    async with conn.transaction(savepoint_name=name):
        await conn.execute("SELECT 1")
    await conn.commit()
    await conn.set_autocommit(True)
    async with conn.listen(name) as stream:
        await conn.notify(name, name)
        notify = await stream.receive()
    assert (notify.channel, notify.payload) == (name, name)


# Numbers bind as parameters do.

EXACT = Context(prec=100)

NEGATIVE = [
    *[-1, -32768, -(2**31), -(2**63), -(2**63) - 1, -(10**30), -1.5, -0.0, -1e300, Decimal("-1.50"), Decimal("-1E+5")],
    *[Decimal("-0.001")],
]


@pytest.mark.parametrize("value", NEGATIVE)
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("SELECT %s::text", None),
        ("SELECT %s::numeric * 2", lambda v: Decimal(str(v)) * 2),
        ("SELECT - %s::numeric", lambda v: -Decimal(str(v))),
        ("SELECT -%s::numeric", lambda v: -Decimal(str(v))),
        ("SELECT 2-%s::numeric", lambda v: EXACT.subtract(2, Decimal(str(v)))),
        ("SELECT 2 * - %s::numeric", lambda v: 2 * -Decimal(str(v))),
        ("SELECT (ARRAY[1,2])[2+%s::numeric::int8/10::int8*0]", lambda v: 2),
        ("SELECT abs(%s::numeric)", lambda v: abs(Decimal(str(v)))),
        ("SELECT @%s::numeric", lambda v: abs(Decimal(str(v)))),
        ("SELECT %s::numeric BETWEEN %s AND 0", None),
    ],
)
async def test_negative_numbers(
    conn: AsyncConnection[Any], value: Any, query: str, expected: Callable[[Any], Any] | None
) -> None:
    params = [value] * query.count("%s")
    if "int8" in query and (value < -(2**63) or value == -(2**63)):
        pytest.skip("does not fit")
    found = await (await AsyncClientCursor(conn).execute(query, params)).fetchone()
    bound = await (await conn.execute(query, params)).fetchone()
    assert found is not None
    assert found == bound
    if expected is not None and not isinstance(value, float):
        assert found == (expected(value),)


@pytest.mark.parametrize(
    ("type_name", "value"),
    [("int2", -32768), ("int4", -(2**31)), ("int8", -(2**63)), ("float8", -0.0), ("interval", -1)],
)
async def test_the_least_of_each_type(conn: AsyncConnection[Any], type_name: str, value: Any) -> None:
    given = timedelta(days=-1) if type_name == "interval" else value
    cursor = await AsyncClientCursor(conn).execute(f"SELECT %s::{type_name}, %s".encode(), (given, given))
    row = await cursor.fetchone()
    assert row is not None
    assert repr(row) == repr((given, given))
    if type_name != "int2":  # a small number without quotes is an int4
        same = await conn.execute(SQL("SELECT pg_typeof({}) = {}::regtype").format(given, type_name))
        assert await same.fetchone() == (True,)


async def test_a_power_of_a_negative_number(conn: AsyncConnection[Any]) -> None:
    for value, query, expected in ((-2, "SELECT %s ^ 2", 4.0), (-3, "SELECT 2 - %s", 5), (-3, "SELECT 2 -%s", 5)):
        cursor = await AsyncClientCursor(conn).execute(query, (value,))
        assert await cursor.fetchone() == (expected,)
    # A forgotten operator or comma is an error, as it is with a positive number.
    with pytest.raises(SyntaxError):
        await AsyncClientCursor(conn).execute("SELECT 2 %s", (-3,))


async def test_arrays_of_negative_numbers(conn: AsyncConnection[Any]) -> None:
    for value in ([-1, -2], [-1.5], [Decimal("-1.5")], [[-1], [-2]], [-(2**63)]):
        cursor = await AsyncClientCursor(conn).execute("SELECT %s, (%s)[1]", (value, value))
        row = await cursor.fetchone()
        assert row is not None
        assert row[0] == value


async def test_one_name_in_two_formats(conn: AsyncConnection[Any]) -> None:
    for cursor_type in CURSORS:
        cursor = await cursor_type(conn).execute("SELECT %(a)b, %(a)t, %(a)s, %(a)b", {"a": 5})
        assert await cursor.fetchone() == (5, 5, 5, 5)


@pytest.mark.parametrize(
    "query",
    [
        *("SELECT '%s'", "SELECT E'\\'%s'", 'SELECT "%s"', "SELECT 1 -- %s", "SELECT /* %s */ 1", "SELECT $$ %s $$"),
        *("SELECT %s, '%s'", "SELECT E'a'\n'\\'%s'", "SELECT $a$ %s $a$", "SELECT '%(a)s'"),
    ],
)
@pytest.mark.parametrize("value", ["a", "'", "*/ 1", "\n1", "$$", 1, -1, None])
async def test_no_parameter_inside_of_quotes(conn: AsyncConnection[Any], query: str, value: Any) -> None:
    """The quotes of the literal would end them; where the server binds, there is no parameter in there."""
    params: Any = {"a": value} if "(a)" in query else (value,) * query.count("%s")
    with pytest.raises(ProgrammingError, match="parameter . of the query is inside of a"):
        await AsyncClientCursor(conn).execute(query, params)
    with pytest.raises(ProgrammingError, match="parameter . of the query is inside of a"):
        await AsyncClientCursor(conn).executemany(query, [params])
    assert conn.info.transaction_status == TransactionStatus.IDLE


@pytest.mark.parametrize("conforming", ["on", "off"])
async def test_where_a_string_ends_depends_on_a_setting(conn: AsyncConnection[Any], conforming: str) -> None:
    if conforming == "off" and conn.info.server_version >= 190000:
        pytest.skip("this server has no such setting")
    await conn.execute(f"SET standard_conforming_strings TO {conforming}".encode())
    cursor = AsyncClientCursor(conn)
    # With it off these are one string up to the comma, then a parameter, and the other way round.
    one, other = r"SELECT 'a\', %s", r"SELECT 'a\', %s, ' || '"
    if conforming == "on":
        await cursor.execute(one, (BAD,))
        assert await cursor.fetchone() == ("a\\", BAD)
        await cursor.execute(SQL(one.replace("%s", "{}")).format(BAD))
        assert await cursor.fetchone() == ("a\\", BAD)
    else:
        for query in (one, other):
            with pytest.raises(ProgrammingError, match="inside of a quoted string"):
                await cursor.execute(query, (BAD,))
            with pytest.raises(ProgrammingError, match="inside of a quoted string"):
                await cursor.execute(SQL(query.replace("%s", "{}")).format(BAD))


@pytest.mark.parametrize("cursor_type", CURSORS)
async def test_no_literal_inside_of_quotes(conn: AsyncConnection[Any], cursor_type: Any) -> None:
    cursor = cursor_type(conn)
    for text in ("SELECT '{}'", "SELECT E'{}'", "SELECT $$'{}'$$", "SELECT '%%', '{}'"):
        for params in (None, ()):
            with pytest.raises(ProgrammingError, match="value 1 of the query is inside of a"):
                await cursor.execute(SQL(text).format(BAD), params)
    with pytest.raises(ProgrammingError, match="value 1 of the query is inside of a quoted name"):
        SQL('SELECT "{}"').format(Identifier("a")).as_string(conn)
    # What cannot end a string may be in one.
    await cursor.execute(SQL("SELECT '{} days'::interval, '{}'::regclass::oid > 0").format(2, Identifier("pg_class")))
    assert await cursor.fetchone() == (timedelta(days=2), True)
    # Names of placeholders are no text.
    query = SQL("SELECT {}, '{}'").format(Placeholder("a'b"), "x")
    with pytest.raises(ProgrammingError, match="inside of a quoted string"):
        await cursor.execute(query, {"a'b": 1})
    await cursor.execute(SQL("SELECT {}, {}").format(Placeholder("a'b"), "x"), {"a'b": 1})
    assert await cursor.fetchone() == (1, "x")


async def test_literals_do_not_merge(conn: AsyncConnection[Any]) -> None:
    """Side by side they would be one string with a quote in it, and one number."""
    cursor = AsyncClientCursor(conn)
    for query, params in (
        ("SELECT %s%s", ("a", "b")),
        ("SELECT %s\n%s", ("a", "b")),
        ("SELECT 'a'%s", ("b",)),
        ("SELECT %s'b'", ("a",)),
        (SQL("SELECT {}{}").format("a", "b"), None),
        (SQL("SELECT ") + Literal("a") + Literal("b"), None),
        (SQL("SELECT {}\n{}").format("a", "b"), None),
        (SQL("SELECT {}{}").format(1, 2), None),
    ):
        for executing in (cursor, AsyncCursor(conn)):
            if params is None or executing is cursor:
                with pytest.raises(SyntaxError):
                    await executing.execute(query, params)
                await conn.rollback()
    assert (Identifier("a") + Identifier("b")).as_string() == '"a" "b"'
