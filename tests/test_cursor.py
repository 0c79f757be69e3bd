"""AsyncCursor: executing statements and fetching what they give."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from datetime import date
from typing import Any

import anyio
import anyio.lowlevel
import pytest

import anyq
from anyq import AsyncConnection, AsyncCursor, TransactionStatus
from anyq import errors as e
from anyq.adapt import Loader
from anyq.protocol.constants import Format
from anyq.rows import args_row, dict_row, kwargs_row, scalar_row, tuple_row
from tests.support.state import is_closed

pytestmark = pytest.mark.anyio

TEN = "SELECT generate_series(0, 9)"


# -- before anything was executed


async def test_a_new_cursor_has_no_result(conn: AsyncConnection) -> None:
    cur = conn.cursor()
    assert cur.connection is conn
    assert not cur.closed
    assert cur.description is None
    assert (cur.rowcount, cur.rownumber, cur.statusmessage, cur.arraysize) == (-1, None, None, 1)
    assert cur.nextset() is None
    assert [one async for one in cur.results()] == []
    assert conn.info.transaction_status is TransactionStatus.IDLE


@pytest.mark.any_loop
@pytest.mark.parametrize("fetch", ["fetchone", "fetchmany", "fetchall", "scroll", "iterate"])
@pytest.mark.parametrize("statement", [None, "CREATE TEMP TABLE nothing ()", "", "-- only a comment"])
async def test_nothing_to_fetch(conn: AsyncConnection, statement: Any, fetch: str) -> None:
    cur = conn.cursor()
    if statement is not None:
        await cur.execute(statement)
    with pytest.raises(e.ProgrammingError, match="fetch"):
        await fetch_by(cur, fetch)


async def fetch_by(cur: AsyncCursor[Any], how: str) -> Any:
    if how == "iterate":
        return [row async for row in cur]
    if how == "scroll":
        return await cur.scroll(0)
    return await getattr(cur, how)()


# -- execute


async def test_execute_returns_the_cursor(conn: AsyncConnection) -> None:
    cur = conn.cursor()
    assert await cur.execute("SELECT 1") is cur
    assert await (await cur.execute("SELECT 2")).fetchall() == [(2,)]
    assert await (await conn.execute("SELECT %s::int", [3])).fetchone() == (3,)


@pytest.mark.parametrize(
    "query", ["SELECT 'x'", b"SELECT 'x'", anyq.sql.SQL("SELECT {}").format("x")], ids=["str", "bytes", "sql"]
)
async def test_kinds_of_queries(conn: AsyncConnection, query: Any) -> None:
    assert await (await conn.execute(query)).fetchall() == [("x",)]


@pytest.mark.parametrize("query", [5, None, ["SELECT 1"]])
async def test_what_is_not_a_query(conn: AsyncConnection, query: Any) -> None:
    with pytest.raises(TypeError, match="should be a string"):
        await conn.execute(query)


async def test_results_replace_each_other(conn: AsyncConnection) -> None:
    cur = await conn.execute("SELECT 1 AS a; SELECT 2 AS b")
    await cur.execute("SELECT 'x' AS c")
    assert cur.description is not None and [column.name for column in cur.description] == ["c"]
    assert await cur.fetchall() == [("x",)]
    assert cur.nextset() is None


async def test_cursors_keep_their_results_apart(conn: AsyncConnection) -> None:
    one = await conn.execute("SELECT 1 UNION ALL SELECT 2")
    other = await conn.execute("SELECT 3")
    assert await one.fetchone() == (1,)
    assert await other.fetchall() == [(3,)]
    assert await one.fetchall() == [(2,)]


async def test_cursors_of_many_tasks(conn: AsyncConnection) -> None:
    results: dict[int, list[Any]] = {}

    async def run(number: int) -> None:
        cur = conn.cursor()
        for _ in range(5):
            await cur.execute("SELECT %s::int, x FROM generate_series(1, 100) AS x", [number])
            results[number] = await cur.fetchall()

    async with anyio.create_task_group() as tasks:
        for number in range(20):
            tasks.start_soon(run, number)
    assert results == {number: [(number, x) for x in range(1, 101)] for number in range(20)}


@pytest.mark.any_loop
@pytest.mark.parametrize("query", ["", ";", "  ", "-- only a comment", "/* and */ ;"])
@pytest.mark.parametrize("params", [None, ()])
@pytest.mark.parametrize("autocommit", [True, False])
async def test_an_empty_query(conn: AsyncConnection, query: Any, params: Any, autocommit: bool) -> None:
    await conn.set_autocommit(autocommit)
    cur = await conn.execute(query, params)
    assert (cur.description, cur.rowcount, cur.rownumber, cur.statusmessage) == (None, -1, None, None)
    # The transaction that it began is there as after any other.
    assert conn.info.transaction_status is (TransactionStatus.IDLE if autocommit else TransactionStatus.INTRANS)
    assert await (await conn.execute("SELECT 1")).fetchall() == [(1,)]


async def test_an_error_leaves_no_result(conn: AsyncConnection) -> None:
    await conn.set_autocommit(True)
    cur = await conn.execute("SELECT 1")
    with pytest.raises(e.UndefinedColumn):
        await cur.execute("SELECT wrong")
    assert (cur.description, cur.rowcount, cur.rownumber, cur.statusmessage) == (None, -1, None, None)
    with pytest.raises(e.ProgrammingError):
        await cur.fetchone()
    assert await (await cur.execute("SELECT 2")).fetchone() == (2,)


@pytest.mark.parametrize("query", ["SELECT 1; SELECT wrong", "SELECT %s::int, wrong"])
@pytest.mark.parametrize("autocommit", [True, False])
async def test_the_position_of_an_error_is_that_in_the_query(
    conn: AsyncConnection, query: Any, autocommit: bool
) -> None:
    await conn.set_autocommit(autocommit)
    params = [1] if "%" in query else None
    with pytest.raises(e.UndefinedColumn) as caught:
        await conn.execute(query, params)
    sent = query.replace("%s", "$1")
    assert caught.value.diag.statement_position == str(sent.index("wrong") + 1)


async def test_an_error_in_one_of_several_statements(conn: AsyncConnection) -> None:
    await conn.set_autocommit(True)
    await conn.execute("CREATE TEMP TABLE t (a int)")
    with pytest.raises(e.DivisionByZero):
        await conn.execute("INSERT INTO t VALUES (1); SELECT 1 / 0; INSERT INTO t VALUES (2)")
    assert await (await conn.execute("SELECT * FROM t")).fetchall() == []


async def test_copy_is_refused_and_leaves_the_connection_usable(conn: AsyncConnection) -> None:
    await conn.set_autocommit(True)
    await conn.execute("CREATE TEMP TABLE t (a int)")
    for params in (None, ()):
        with pytest.raises(e.ProgrammingError, match="COPY TO STDOUT"):
            await conn.execute("COPY (SELECT generate_series(1, 10000)) TO STDOUT", params)
        with pytest.raises(e.ProgrammingError, match="COPY FROM STDIN"):
            await conn.execute("COPY t FROM STDIN", params, prepare=False)
        assert await (await conn.execute("SELECT count(*) FROM t")).fetchone() == (0,)


# -- a failed transaction


async def test_a_failed_transaction(conn: AsyncConnection) -> None:
    with pytest.raises(e.DivisionByZero):
        await conn.execute("SELECT 1 / 0")
    for params in (None, ()):
        with pytest.raises(e.InFailedSqlTransaction) as caught:
            await conn.execute("SELECT 1", params)
        assert caught.value.sqlstate == "25P02"
    with pytest.raises(e.InFailedSqlTransaction):
        await conn.execute("SELECT %s::int", [1], binary=True)
    await conn.rollback()
    assert await (await conn.execute("SELECT 1")).fetchone() == (1,)


# -- parameters


async def test_positional_parameters(conn: AsyncConnection) -> None:
    for params in ([1, "a", None], (1, "a", None), range(3)):
        cur = await conn.execute("SELECT %s::text, %s::text, %s::text", [None if p is None else str(p) for p in params])
        assert await cur.fetchone() == tuple(None if p is None else str(p) for p in params)


async def test_named_parameters(conn: AsyncConnection) -> None:
    cur = await conn.execute("SELECT %(b)s::int - %(a)s::int, %(b)s::int", {"a": 1, "b": 10, "unused": object()})
    assert await cur.fetchone() == (9, 10)
    anything: defaultdict[str, int] = defaultdict(lambda: 7)
    assert await (await conn.execute("SELECT %(x)s::int", anything)).fetchone() == (7,)


@pytest.mark.any_loop
@pytest.mark.parametrize("placeholder", ["%s", "%b", "%t"])
@pytest.mark.parametrize("value", [0, 2**40, 1.5, True, b"\x00\xff", [1, None, 3]])
async def test_formats_of_parameters(conn: AsyncConnection, placeholder: str, value: Any) -> None:
    query: Any = f"SELECT {placeholder}, pg_typeof({placeholder})::text"
    row = await (await conn.execute(query, [value, value])).fetchone()
    assert row is not None and row[0] == value
    # The type that the server sees does not depend on the format.
    auto = await (await conn.execute("SELECT pg_typeof(%s)::text", [value])).fetchone()
    assert auto is not None and row[1] == auto[0]


async def test_none_in_any_format(conn: AsyncConnection) -> None:
    cur = await conn.execute("SELECT %s::int, %b::text, %t::bytea", [None, None, None])
    assert await cur.fetchone() == (None, None, None)


async def test_formats_of_named_parameters(conn: AsyncConnection) -> None:
    cur = await conn.execute("SELECT %(a)s, %(b)b, %(c)t, %(b)b", {"a": 1, "b": 2, "c": 3})
    assert await cur.fetchone() == (1, 2, 3, 2)


@pytest.mark.parametrize(("query", "params"), [("SELECT '%%', %s::int", [1]), ("SELECT '%%', %(a)s::int", {"a": 1})])
async def test_a_doubled_percent_sign(conn: AsyncConnection, query: Any, params: Any) -> None:
    assert await (await conn.execute(query, params)).fetchone() == ("%", 1)


async def test_percent_signs_mean_nothing_without_parameters(conn: AsyncConnection) -> None:
    assert await (await conn.execute("SELECT '%%', '%s', 5 % 3")).fetchone() == ("%%", "%s", 2)
    assert await (await conn.execute("SELECT '%%', 5 %% 3", ())).fetchone() == ("%", 2)


@pytest.mark.any_loop
@pytest.mark.parametrize(
    ("query", "params", "error", "match"),
    [
        ("SELECT %s", (), e.ProgrammingError, "1 placeholders but 0 parameters"),
        ("SELECT %s", (1, 2), e.ProgrammingError, "1 placeholders but 2 parameters"),
        ("SELECT 1", (1,), e.ProgrammingError, "0 placeholders but 1 parameters"),
        ("SELECT %(a)s, %(b)s", {"b": 1, "c": 2}, e.ProgrammingError, "parameter missing: a"),
        ("SELECT %s", {"a": 1}, TypeError, "require a sequence"),
        ("SELECT %(a)s", (1,), TypeError, "require a mapping"),
        ("SELECT %(a)s, %s", {"a": 1}, e.ProgrammingError, "cannot be mixed"),
        ("SELECT 5 % 3", (), e.ProgrammingError, "double it"),
        ("SELECT %d", (1,), e.ProgrammingError, "'%d'"),
        ("SELECT '%", (), e.ProgrammingError, "double it"),
        ("SELECT %(a)", {"a": 1}, e.ProgrammingError, "incomplete placeholder"),
        ("SELECT %s", "x", TypeError, r"write \(value,\)"),
        ("SELECT %s", b"x", TypeError, r"write \(value,\)"),
        ("SELECT %s", 5, TypeError, "should be a sequence or a mapping"),
        ("SELECT %s", {1}, TypeError, "should be a sequence or a mapping"),
        ("SELECT %s", iter([1]), TypeError, "should be a sequence or a mapping"),
        ("SELECT %s", [object()], e.ProgrammingError, "cannot adapt type 'object'"),
        ("SELECT %s", [{}], e.ProgrammingError, "Json"),
        ("SELECT %s", ["a\0b"], e.DataError, "NUL"),
    ],
)
async def test_wrong_parameters(
    conn: AsyncConnection, query: Any, params: Any, error: type[Exception], match: str
) -> None:
    cur = conn.cursor()
    with pytest.raises(error, match=match):
        await cur.execute(query, params)
    # Nothing was sent, so nothing is to be rolled back.
    assert conn.info.transaction_status is TransactionStatus.IDLE
    assert await (await cur.execute("SELECT 1")).fetchone() == (1,)


async def test_several_statements_take_no_parameters(conn: AsyncConnection) -> None:
    with pytest.raises(e.SyntaxError) as caught:
        await conn.execute("SELECT %s::int; SELECT 2", [1])
    assert caught.value.sqlstate == "42601"
    await conn.rollback()
    # An empty list of parameters is none, except for the percent signs.
    cur = await conn.execute("SELECT 1; SELECT '%%'", ())
    assert [await result.fetchall() async for result in cur.results()] == [[(1,)], [("%",)]]


async def test_a_statement_that_takes_no_parameters(conn: AsyncConnection) -> None:
    with pytest.raises(e.UndefinedParameter):
        await conn.execute("CREATE TABLE t (a int DEFAULT %s)", [1])


# -- formats of results

EVERYTHING = (
    "SELECT 1::int2, -1::int4, 2::int8, 1.5::float4, -1e300::float8, 12.34::numeric, true, 'text'::text, 'c'::char(3),"
    " '\\x00ff'::bytea, '2020-02-29'::date, '12:34:56.789'::time, '2020-02-29 12:34:56.789'::timestamp,"
    " '2020-02-29 12:34:56.789+00'::timestamptz, '1 day 2 s'::interval, '{1,2,NULL}'::int[], '{{a,b},{c,d}}'::text[],"
    " '{\"a\": [1, null]}'::json, '{\"a\": 1.5}'::jsonb, '12345678-1234-5678-1234-567812345678'::uuid, NULL::int,"
    " '(1,2)'::point, 'pg_class'::regclass"
)


async def test_text_and_binary_results_are_equal(conn: AsyncConnection) -> None:
    query: Any = EVERYTHING
    default = await (await conn.execute(query)).fetchall()
    text = await (await conn.execute(query, binary=False)).fetchall()
    binary = await (await conn.execute(query, binary=True)).fetchall()
    again = await (await conn.execute(query, binary=True)).fetchall()
    prepared = await (await conn.execute(query, prepare=True)).fetchall()
    prepared_again = await (await conn.execute(query, prepare=True)).fetchall()
    prepared_text = await (await conn.execute(query, prepare=True, binary=False)).fetchall()
    assert default == text == binary == again == prepared == prepared_again == prepared_text
    assert [type(value) for value in text[0]] == [type(value) for value in binary[0]]


async def test_a_binary_cursor(conn: AsyncConnection) -> None:
    cur = conn.cursor(binary=True)
    assert cur.format is Format.BINARY
    assert await (await cur.execute("SELECT %s::int4, 'x'", [2])).fetchone() == (2, "x")
    # It is one statement, as it is described first.
    with pytest.raises(e.SyntaxError):
        await cur.execute("SELECT 1; SELECT 2")
    await conn.rollback()
    assert await (await cur.execute("SELECT 1; SELECT 2", binary=False)).fetchone() == (1,)
    await cur.execute("CREATE TEMP TABLE t (a int)")
    assert (cur.description, cur.statusmessage) == (None, "CREATE TABLE")


async def test_a_binary_result_of_a_table_that_changes(conn: AsyncConnection) -> None:
    await conn.set_autocommit(True)
    await conn.execute("CREATE TEMP TABLE t (a int, b text); INSERT INTO t VALUES (1, 'x')")
    cur = conn.cursor(binary=True)
    assert await (await cur.execute("SELECT * FROM t")).fetchall() == [(1, "x")]
    await conn.execute("ALTER TABLE t ADD c regclass DEFAULT 'pg_am'")
    assert await (await cur.execute("SELECT * FROM t")).fetchall() == [(1, "x", "pg_am")]
    assert await (await cur.execute("SELECT * FROM t")).fetchall() == [(1, "x", "pg_am")]
    await conn.set_autocommit(False)
    await conn.execute("ALTER TABLE t DROP b")
    # In a transaction the first attempt would be the last one; but the change was seen.
    assert await (await cur.execute("SELECT * FROM t")).fetchall() == [(1, "pg_am")]
    await conn.rollback()
    assert await (await cur.execute("SELECT * FROM t")).fetchall() == [(1, "x", "pg_am")]


async def test_a_binary_result_of_a_column_that_changes(conn: AsyncConnection) -> None:
    await conn.set_autocommit(True)
    await conn.execute("CREATE TEMP TABLE t (a text); INSERT INTO t VALUES ('pg_am')")
    cur = conn.cursor(binary=True)
    assert await (await cur.execute("SELECT * FROM t")).fetchall() == [("pg_am",)]
    change = (
        "CREATE FUNCTION pg_temp.change() RETURNS void LANGUAGE sql AS"
        " 'ALTER TABLE t ALTER a TYPE regclass USING a::regclass'"
    )
    await conn.execute(change)
    assert await (await cur.execute("SELECT * FROM t")).fetchall() == [("pg_am",)]
    # Inside of a function, where it is not seen.
    await conn.execute("SELECT pg_temp.change()")
    # There is no loader for the binary format, and better no value than a wrong one.
    with pytest.raises(e.DataError, match="result has changed .*'a'"):
        await cur.execute("SELECT * FROM t")
    assert await (await cur.execute("SELECT * FROM t")).fetchall() == [("pg_am",)]


# -- what a statement gave


@pytest.mark.any_loop
@pytest.mark.parametrize(
    ("query", "tag", "rowcount"),
    [
        ("CREATE TEMP TABLE other (a int)", "CREATE TABLE", -1),
        ("INSERT INTO t VALUES (4), (5)", "INSERT 0 2", 2),
        ("INSERT INTO t VALUES (4), (5) RETURNING a", "INSERT 0 2", 2),
        ("UPDATE t SET a = a + 1 WHERE a > 1", "UPDATE 2", 2),
        ("DELETE FROM t WHERE a > 100", "DELETE 0", 0),
        ("SELECT * FROM t", "SELECT 3", 3),
        ("SELECT * FROM t WHERE false", "SELECT 0", 0),
        ("VALUES (1), (2)", "SELECT 2", 2),
        ("SHOW work_mem", "SHOW", 1),
        ("SET LOCAL work_mem = '1MB'", "SET", -1),
        ("SELECT FROM generate_series(1, 3)", "SELECT 3", 3),
    ],
)
@pytest.mark.parametrize("params", [None, ()])
async def test_rowcount_and_statusmessage(
    conn: AsyncConnection, query: Any, tag: str, rowcount: int, params: Any
) -> None:
    await conn.execute("CREATE TEMP TABLE t (a int); INSERT INTO t VALUES (1), (2), (3)")
    cur = await conn.execute(query, params, prepare=params is not None)
    assert (cur.statusmessage, cur.rowcount) == (tag, rowcount)
    has_rows = tag.startswith(("SELECT", "SHOW")) or "RETURNING" in query
    assert (cur.description is not None, cur.rownumber) == (has_rows, 0 if has_rows else None)


async def test_rows_without_columns(conn: AsyncConnection) -> None:
    cur = await conn.execute("SELECT FROM generate_series(1, 3)")
    assert cur.description == []
    assert await cur.fetchall() == [(), (), ()]


async def test_description(conn: AsyncConnection) -> None:
    cur = await conn.execute("SELECT 1 AS one, 'x' AS \"tw o\"")
    assert cur.description is not None
    assert [column.name for column in cur.description] == ["one", "tw o"]
    assert [column.type_code for column in cur.description] == [23, 25]


# -- fetching


async def test_fetchone(conn: AsyncConnection) -> None:
    cur = await conn.execute("SELECT generate_series(1, 2)")
    assert [await cur.fetchone(), cur.rownumber] == [(1,), 1]
    assert [await cur.fetchone(), cur.rownumber] == [(2,), 2]
    assert [await cur.fetchone(), await cur.fetchone(), cur.rownumber] == [None, None, 2]


async def test_fetchmany(conn: AsyncConnection) -> None:
    cur = await conn.execute(TEN)
    assert await cur.fetchmany() == [(0,)]
    assert await cur.fetchmany(3) == [(1,), (2,), (3,)]
    cur.arraysize = 2
    assert await cur.fetchmany() == [(4,), (5,)]
    assert await cur.fetchmany(0) == [(6,), (7,)]
    assert await cur.fetchmany(size=5) == [(8,), (9,)]
    assert await cur.fetchmany(5) == []
    with pytest.raises(ValueError, match="size"):
        await cur.fetchmany(-1)
    assert cur.rownumber == 10


async def test_fetchall(conn: AsyncConnection) -> None:
    cur = await conn.execute(TEN)
    await cur.fetchmany(8)
    assert await cur.fetchall() == [(8,), (9,)]
    assert await cur.fetchall() == []
    # What was handed out is the caller's.
    await cur.scroll(0, "absolute")
    rows = await cur.fetchall()
    rows.clear()
    await cur.scroll(0, "absolute")
    assert len(await cur.fetchall()) == 10


async def test_iterating(conn: AsyncConnection) -> None:
    cur = await conn.execute("SELECT x, x::text FROM generate_series(1, 1000) AS x")
    await cur.fetchone()
    seen = []
    async for row in cur:
        seen.append(row)
        if len(seen) == 500:
            break
    assert cur.rownumber == 501
    seen += [row async for row in cur]
    assert seen == [(x, str(x)) for x in range(2, 1001)]
    assert [row async for row in cur] == []


async def test_scroll(conn: AsyncConnection) -> None:
    cur = await conn.execute(TEN)
    await cur.scroll(2)
    assert cur.rownumber == 2
    assert await cur.fetchone() == (2,)
    await cur.scroll(-3)
    assert await cur.fetchone() == (0,)
    await cur.scroll(9, mode="absolute")
    assert await cur.fetchone() == (9,)
    for value, mode in [(10, "absolute"), (-1, "absolute"), (0, "relative"), (-11, "relative")]:
        with pytest.raises(IndexError):
            await cur.scroll(value, mode)
        assert cur.rownumber == 10
    with pytest.raises(ValueError, match="'relative' or 'absolute'"):
        await cur.scroll(1, "sideways")
    await cur.scroll(0, "absolute")
    assert len(await cur.fetchall()) == 10


async def test_null_is_none_and_empty_is_not(conn: AsyncConnection) -> None:
    assert await (await conn.execute("SELECT NULL::text, '', ''::bytea, NULL::int")).fetchone() == (None, "", b"", None)


# -- rows


async def test_row_factory_of_the_cursor(conn: AsyncConnection) -> None:
    cur: Any = conn.cursor()
    assert cur.row_factory is tuple_row
    await cur.execute("SELECT x AS a, -x AS b FROM generate_series(1, 4) AS x; SELECT 'z' AS c")
    assert await cur.fetchone() == (1, -1)
    # It takes effect on the next row, and on the next result.
    cur.row_factory = dict_row
    assert await cur.fetchone() == {"a": 2, "b": -2}
    cur.row_factory = scalar_row
    assert await cur.fetchmany(1) == [3]
    cur.row_factory = tuple_row
    assert await cur.fetchall() == [(4, -4)]
    cur.row_factory = dict_row
    assert cur.nextset()
    assert [row async for row in cur] == [{"c": "z"}]


async def test_row_factory_of_the_connection(conn: Any) -> None:
    before = conn.cursor()
    conn.row_factory = dict_row
    assert await (await conn.execute("SELECT 1 AS a")).fetchone() == {"a": 1}
    assert await (await before.execute("SELECT 1 AS a")).fetchone() == (1,)
    assert await (await conn.cursor(row_factory=scalar_row).execute("SELECT 1 AS a")).fetchone() == 1


async def test_row_factory_is_called_once_for_a_result(conn: AsyncConnection) -> None:
    seen: list[list[str] | None] = []

    def factory(cursor: AsyncCursor[Any]) -> Callable[[Any], Any]:
        seen.append(None if cursor.description is None else [column.name for column in cursor.description])
        return list

    cur = conn.cursor(row_factory=factory)
    await cur.execute("SELECT 1 AS a UNION ALL SELECT 2; SELECT 3 AS b; CREATE TEMP TABLE t ()")
    assert await cur.fetchall() == [[1], [2]]
    cur.nextset()
    assert await cur.fetchall() == [[3]]
    cur.nextset()
    assert seen == [["a"], ["b"], None]


async def test_a_row_maker_that_raises(conn: AsyncConnection) -> None:
    def factory(cursor: AsyncCursor[Any]) -> Callable[[Any], Any]:
        return lambda values: 1 // values[0]

    cur = conn.cursor(row_factory=factory)
    await cur.execute("SELECT x FROM (VALUES (1), (0), (1)) AS v (x)")
    assert await cur.fetchone() == 1
    with pytest.raises(ZeroDivisionError):
        await cur.fetchone()
    assert await cur.fetchone() == 1


# -- several results


async def test_nextset(conn: AsyncConnection) -> None:
    cur = await conn.execute("SELECT 1 AS a; CREATE TEMP TABLE t (a int); INSERT INTO t VALUES (5), (6); TABLE t")
    assert await cur.fetchall() == [(1,)]
    assert cur.nextset() is True
    assert (cur.statusmessage, cur.rowcount, cur.description) == ("CREATE TABLE", -1, None)
    assert cur.nextset() is True
    assert (cur.statusmessage, cur.rowcount) == ("INSERT 0 2", 2)
    assert cur.nextset() is True
    assert (cur.statusmessage, cur.rownumber) == ("SELECT 2", 0)
    assert await cur.fetchone() == (5,)
    assert cur.nextset() is None
    # Past the end the last result stays.
    assert await cur.fetchone() == (6,)


async def test_results(conn: AsyncConnection) -> None:
    cur = await conn.execute("SELECT 1; SELECT 2; SELECT 3")
    assert [await result.fetchall() async for result in cur.results()] == [[(1,)], [(2,)], [(3,)]]
    # From where the cursor is, and that is the last one by now.
    assert [await result.fetchall() async for result in cur.results()] == [[]]
    await cur.set_result(1)
    seen = []
    async for result in cur.results():
        assert result is cur
        seen.append(await result.fetchone())
    assert seen == [(2,), (3,)]


async def test_set_result(conn: AsyncConnection) -> None:
    cur = await conn.execute("SELECT 1; SELECT 2; SELECT 3")
    assert await cur.set_result(2) is cur
    assert await cur.fetchall() == [(3,)]
    assert cur.nextset() is None
    assert await (await cur.set_result(-3)).fetchall() == [(1,)]
    # Coming back, one starts at the first row.
    assert await (await cur.set_result(0)).fetchall() == [(1,)]
    for index in (3, -4):
        with pytest.raises(IndexError):
            await cur.set_result(index)
    assert cur.nextset() is True
    assert await cur.fetchall() == [(2,)]


async def test_an_empty_statement_among_others(conn: AsyncConnection) -> None:
    cur = await conn.execute("SELECT 1; ; SELECT 2;")
    assert [await result.fetchall() async for result in cur.results()] == [[(1,)], [(2,)]]


async def test_statements_that_end_the_transaction(conn: AsyncConnection) -> None:
    cur = await conn.execute("CREATE TEMP TABLE t (a int); COMMIT; INSERT INTO t VALUES (1); ROLLBACK")
    assert [result.statusmessage async for result in cur.results()] == [
        "CREATE TABLE",
        "COMMIT",
        "INSERT 0 1",
        "ROLLBACK",
    ]
    assert conn.info.transaction_status is TransactionStatus.IDLE


# -- the end


async def test_close(conn: AsyncConnection) -> None:
    cur = await conn.execute("SELECT 1; SELECT 2")
    assert not is_closed(cur)
    await cur.close()
    await cur.close()
    assert is_closed(cur)
    assert "closed" in repr(cur)
    assert (cur.description, cur.rowcount, cur.rownumber, cur.statusmessage) == (None, -1, None, None)
    assert cur.nextset() is None
    for how in ("fetchone", "fetchmany", "fetchall", "scroll", "iterate"):
        with pytest.raises(e.InterfaceError, match="cursor is closed"):
            await fetch_by(cur, how)
    with pytest.raises(e.InterfaceError, match="cursor is closed"):
        await cur.execute("SELECT 1")
    with pytest.raises(e.InterfaceError, match="cursor is closed"):
        await cur.executemany("SELECT %s", [(1,)])
    with pytest.raises(e.InterfaceError, match="cursor is closed"):
        cur.stream("SELECT 1")
    assert await (await conn.execute("SELECT 1")).fetchone() == (1,)


async def test_a_cursor_as_a_context(conn: AsyncConnection) -> None:
    async with conn.cursor() as cur:
        await cur.execute("SELECT 1")
        assert not is_closed(cur)
    assert is_closed(cur)
    assert not conn.closed
    with pytest.raises(ZeroDivisionError):
        async with conn.cursor() as cur:
            raise ZeroDivisionError
    assert cur.closed


async def test_the_connection_is_closed(conn: AsyncConnection) -> None:
    cur = await conn.execute("SELECT 1 UNION ALL SELECT 2")
    await conn.close()
    with pytest.raises(e.OperationalError, match="connection is closed"):
        await cur.execute("SELECT 1")
    with pytest.raises(e.OperationalError, match="connection is closed"):
        await cur.executemany("SELECT %s", [(1,)])
    with pytest.raises(e.OperationalError, match="connection is closed"):
        cur.stream("SELECT 1")
    with pytest.raises(e.OperationalError, match="connection is closed"):
        conn.cursor()
    with pytest.raises(e.OperationalError, match="connection is closed"):
        await conn.execute("SELECT 1")
    # What has been fetched by the server stays there to be taken.
    assert await cur.fetchall() == [(1,), (2,)]
    await cur.close()


async def test_repr(conn: AsyncConnection) -> None:
    cur = conn.cursor()
    assert "AsyncCursor [no result]" in repr(cur)
    await cur.execute("SELECT 1")
    assert "AsyncCursor [SELECT 1]" in repr(cur)


async def test_formalities(conn: AsyncConnection) -> None:
    cur = conn.cursor()
    cur.setinputsizes([1, None])
    cur.setoutputsize(10)
    cur.setoutputsize(10, 1)
    assert await (await cur.execute("SELECT 1")).fetchone() == (1,)


async def test_a_cursor_class_of_ones_own(conn: AsyncConnection) -> None:
    class Counting(AsyncCursor[Any]):
        executed = 0

        async def execute(self, *args: Any, **kwargs: Any) -> Any:
            type(self).executed += 1
            return await super().execute(*args, **kwargs)

    conn.cursor_factory = Counting
    assert type(conn.cursor()) is Counting
    assert await (await conn.execute("SELECT 1")).fetchone() == (1,)
    assert Counting.executed == 1


async def test_results_are_those_of_when_they_are_asked_for(conn: AsyncConnection) -> None:
    cur = conn.cursor()
    results = cur.results()
    await cur.execute("SELECT 1; SELECT 2")
    assert [await result.fetchone() async for result in results] == [(1,), (2,)]


# -- values that cannot be loaded

FIVE_DATES: Any = (
    "SELECT CASE WHEN x = ANY(%s) THEN 'infinity' ELSE '2020-01-01'::date + x END AS d FROM generate_series(0, 4) x"
)


@pytest.mark.any_loop
@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("bad", [[0], [2], [4], [1, 2], [0, 1, 2, 3, 4]], ids=str)
@pytest.mark.parametrize("how", ["fetchone", "iterate", "returning", "prepared"])
async def test_a_value_that_cannot_be_loaded_raises_when_its_row_is_fetched(
    conn: AsyncConnection, how: str, bad: list[int], binary: bool
) -> None:
    cur = conn.cursor(binary=binary)
    if how == "returning":
        await cur.executemany(FIVE_DATES, [[bad]], returning=True)
    else:
        await cur.execute(FIVE_DATES, [bad], prepare=how == "prepared")
    assert (cur.rowcount, cur.statusmessage) == (5, "SELECT 5")
    for number in range(5):
        assert cur.rownumber == number
        try:
            row = await (anext(cur) if how == "iterate" else cur.fetchone())
            assert (number in bad, row) == (False, (date(2020, 1, 1 + number),))
        except e.DataError as error:
            assert number in bad
            assert "infinity" in str(error) and "column 'd'" in str(error)
    assert await cur.fetchone() is None
    # It ran, and nothing is wrong with the connection or the transaction.
    assert conn.info.transaction_status is TransactionStatus.INTRANS
    assert await (await conn.execute("SELECT 1")).fetchone() == (1,)


async def test_many_rows_of_which_one_cannot_be_loaded(conn: AsyncConnection) -> None:
    cur = await conn.execute(FIVE_DATES, [[2]])
    for fetch in (cur.fetchall, cur.fetchall, lambda: cur.fetchmany(3)):
        with pytest.raises(e.DataError, match="infinity"):
            await fetch()
        assert cur.rownumber == 0
    assert len(await cur.fetchmany(2)) == 2
    with pytest.raises(e.DataError, match="infinity"):
        await cur.fetchall()
    assert await cur.fetchall() == [(date(2020, 1, 4),), (date(2020, 1, 5),)]


@pytest.mark.parametrize("prepare", [None, True])
async def test_loaders_registered_after_execute(conn: AsyncConnection, prepare: bool | None) -> None:
    class Text(anyq.Loader):
        def load(self, data: bytes) -> str:
            return data.decode()

    class Binary(Text):
        format = Format.BINARY

        def load(self, data: bytes) -> str:
            return data.hex()

    cur = conn.cursor()
    await cur.execute(FIVE_DATES, [[1, 3]], prepare=prepare)
    assert await cur.fetchone() == (date(2020, 1, 1),)
    cur.adapters.register_loader("date", Text)
    cur.adapters.register_loader("date", Binary)
    assert await cur.fetchone() in (("infinity",), ("7fffffff",))
    assert len(await cur.fetchall()) == 3
    # Of the other cursors none is concerned.
    with pytest.raises(e.DataError):
        await (await conn.execute(FIVE_DATES, [[1, 3]])).fetchall()


@pytest.mark.parametrize(
    "factory",
    [lambda cursor: lambda values: 10 // values[0], args_row(lambda x: 10 // x), kwargs_row(lambda x: 10 // x)],
    ids=["own", "args_row", "kwargs_row"],
)
async def test_a_row_maker_that_fails_concerns_its_row_only(conn: AsyncConnection, factory: Any) -> None:
    cur = conn.cursor(row_factory=factory)
    await cur.execute("SELECT x - 2 AS x FROM generate_series(0, 4) AS x")
    assert [await cur.fetchone() for _ in range(2)] == [-5, -10]
    with pytest.raises(ZeroDivisionError):
        await cur.fetchone()
    assert await cur.fetchall() == [10, 5]
    await cur.scroll(-5)
    with pytest.raises(ZeroDivisionError):
        await cur.fetchall()
    assert await cur.fetchmany(2) == [-5, -10]


# -- several tasks


@pytest.mark.parametrize("count", [1, 63, 64, 65, 10_000, 40_000])
@pytest.mark.parametrize("tasks", [2, 3])
async def test_tasks_that_iterate_one_cursor_share_its_rows(conn: AsyncConnection, count: int, tasks: int) -> None:
    cur = await conn.execute("SELECT generate_series(1, %s::int), repeat('x', 10)", [count])
    seen: list[int] = []

    async def iterate() -> None:
        async for number, _ in cur:
            seen.append(number)
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as tg:
        for _ in range(tasks):
            tg.start_soon(iterate)
    assert sorted(seen) == list(range(1, count + 1))


async def test_tasks_that_fetch_from_one_cursor_share_its_rows(conn: AsyncConnection) -> None:
    cur = await conn.execute("SELECT generate_series(1, 20000)")
    seen: list[int] = []

    async def ones() -> None:
        while (row := await cur.fetchone()) is not None:
            seen.append(row[0])

    async def some() -> None:
        while rows := await cur.fetchmany(7):
            seen.extend(row[0] for row in rows)

    async with anyio.create_task_group() as tg:
        for fetch in (ones, some, some):
            tg.start_soon(fetch)
    assert sorted(seen) == list(range(1, 20_001))


async def test_the_first_fetch_does_not_let_others_run_again(conn: AsyncConnection) -> None:
    """`execute()` has just let them."""
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as tg:
        tg.start_soon(other)
        while not turns:  # trio may let this task run first
            await anyio.lowlevel.checkpoint()
        for fetch in (AsyncCursor.fetchone, AsyncCursor.fetchmany, AsyncCursor.fetchall, AsyncCursor.__anext__):
            cur = await conn.execute("SELECT generate_series(1, 200)")
            before = turns
            await fetch(cur)
            assert turns == before
            for _ in range(3):  # trio may let this task run first once, and last the next time
                await cur.scroll(0, "absolute")
                await fetch(cur)
            assert turns > before
        tg.cancel_scope.cancel()


async def test_rows_are_loaded_while_more_are_waited_for(conn: AsyncConnection, dsn: str) -> None:
    """The server waits for a lock with the last row, till the first has been loaded."""
    other = await AsyncConnection.connect(dsn, autocommit=True)
    await other.execute("SELECT pg_advisory_lock(77, 1)")
    loaded = anyio.Event()

    class Tells(Loader):
        def load(self, data: bytes) -> int:
            loaded.set()
            return int(data)

    async def unlock() -> None:
        await loaded.wait()
        await other.execute("SELECT pg_advisory_unlock(77, 1)")

    conn.adapters.register_loader("int4", Tells)
    async with anyio.create_task_group() as tg:
        tg.start_soon(unlock)
        cur = await conn.execute(
            "SELECT i, CASE WHEN i = 5000 THEN pg_advisory_xact_lock(77, 1)::text END FROM generate_series(1, 5000) i",
            binary=False,
        )
    assert [row[0] for row in await cur.fetchall()] == list(range(1, 5001))
    await other.close()


async def test_many_rows_are_fetched_in_turns(conn: AsyncConnection) -> None:
    """Loading takes a moment, and others run meanwhile; a cancellation loses nothing."""
    cur = await conn.execute("SELECT generate_series(1, 100000), repeat('x', 20)")
    _ = cur.adapters  # which may change: so what has been loaded while the rows were waited for is of no use
    turns: list[int] = []

    async def other() -> None:
        while True:
            await anyio.lowlevel.checkpoint()
            turns.append(1)

    async with anyio.create_task_group() as tg:
        tg.start_soon(other)
        assert len(await cur.fetchall()) == 100_000
        tg.cancel_scope.cancel()
    assert len(turns) > 5
    await cur.scroll(0, "absolute")
    with anyio.CancelScope() as scope:
        while True:
            scope.cancel()
            await cur.fetchall()
    assert cur.rownumber == 0
    assert len(await cur.fetchall()) == 100_000


# -- arguments of no use


async def sets() -> AsyncIterator[tuple[int]]:
    yield (1,)


@pytest.mark.parametrize("cursor_class", [AsyncCursor, anyq.AsyncClientCursor, anyq.AsyncRawCursor])
@pytest.mark.parametrize("wrong", [None, 3, int, sets], ids=["None", "int", "class", "asynchronous"])
async def test_executemany_of_what_has_no_sets(conn: AsyncConnection, cursor_class: Any, wrong: Any) -> None:
    cur = cursor_class(conn)
    given, hint = (wrong(), "collect an asynchronous one first") if wrong is sets else (wrong, "")
    with pytest.raises(TypeError, match=rf"executemany\(\) takes a sequence of sets of parameters.*{hint}"):
        await cur.executemany("SELECT 1", given)
    assert conn.info.transaction_status is TransactionStatus.IDLE
    async with conn.pipeline():
        with pytest.raises(TypeError, match=r"executemany\(\) takes a sequence of sets of parameters"):
            await cur.executemany("SELECT 1", None)
    assert await (await conn.execute("SELECT 1")).fetchone() == (1,)


@pytest.mark.parametrize("wrong", [[3], "ab", [None]])
async def test_executemany_of_sets_that_are_none(conn: AsyncConnection, wrong: Any) -> None:
    with pytest.raises((TypeError, e.ProgrammingError), match=r"parameters"):
        await conn.cursor().executemany("SELECT %s", wrong)
    assert await (await conn.execute("SELECT 1")).fetchone() == (1,)


@pytest.mark.parametrize("wrong", ["1", 1.5, float("nan"), object(), int])
async def test_numbers_of_rows_that_are_none(conn: AsyncConnection, wrong: Any) -> None:
    cur = await conn.execute(TEN)
    with pytest.raises(TypeError, match="size must be an int, not"):
        await cur.fetchmany(wrong)
    with pytest.raises(TypeError, match="value must be an int, not"):
        await cur.scroll(wrong)
    with pytest.raises(TypeError, match="value must be an int, not"):
        await cur.scroll(wrong, "absolute")
    with pytest.raises(TypeError, match="index must be an int, not"):
        await cur.set_result(wrong)
    with pytest.raises(TypeError, match="size must be an int, not"):
        conn.cursor().stream(TEN, size=wrong)
    cur.arraysize = wrong
    with pytest.raises(TypeError, match="arraysize must be an int, not"):
        await cur.fetchmany()
    assert cur.rownumber == 0
    assert await cur.fetchmany(2) == [(0,), (1,)]


async def test_as_many_rows_as_arraysize_says(conn: AsyncConnection) -> None:
    """None is no wish for all of them."""
    cur = await conn.execute(TEN)
    cur.arraysize = 2
    assert await cur.fetchmany(None) == [(0,), (1,)]  # type: ignore[arg-type]
    assert await cur.fetchmany(0) == [(2,), (3,)]
    cur.arraysize = -1
    with pytest.raises(ValueError, match="arraysize must be 0 or more, not -1"):
        await cur.fetchmany()


async def test_a_cursor_of_no_connection() -> None:
    none: Any = (3, None, "x")
    for wrong in none:
        with pytest.raises(e.InterfaceError, match="AsyncCursor needs an AsyncConnection, not a"):
            AsyncCursor(wrong)


async def test_a_format_that_is_none(conn: AsyncConnection) -> None:
    cur = conn.cursor()
    with pytest.raises(ValueError, match="'x' is not a valid Format"):
        cur.format = "x"  # type: ignore[assignment]
    cur.format = 1  # type: ignore[assignment]
    assert cur.format is Format.BINARY
