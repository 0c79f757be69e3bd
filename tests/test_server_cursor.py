"""AsyncServerCursor: named cursors, from the first row to the last and beyond."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import anyio
import pytest

import anyq
from anyq import AsyncConnection, AsyncCursor, AsyncRawServerCursor, AsyncServerCursor, TransactionStatus
from anyq import errors as e
from anyq.adapt import Loader
from anyq.rows import dict_row, scalar_row
from tests.support.named_cursors import NUMBERS, auto, numbers, open_cursors
from tests.support.spying import spy_on_bytes as spy

__all__ = ["auto"]

pytestmark = pytest.mark.anyio


# -- what it is


async def test_a_cursor_that_has_a_name(conn: AsyncConnection) -> None:
    cur = conn.cursor("one")
    assert type(cur) is AsyncServerCursor
    assert isinstance(cur, AsyncCursor)
    assert (cur.name, cur.scrollable, cur.withhold, cur.itersize, cur.arraysize) == ("one", None, False, 100, 1)
    assert (cur.description, cur.rowcount, cur.rownumber, cur.statusmessage) == (None, -1, None, None)
    other = conn.cursor(name="two", scrollable=False, withhold=True)
    assert (other.name, other.scrollable, other.withhold) == ("two", False, True)
    assert conn.cursor("three", scrollable=True).scrollable is True
    assert "AsyncServerCursor 'one' [no result]" in repr(cur)
    assert conn.info.transaction_status is TransactionStatus.IDLE


async def test_what_is_known_after_execute_and_fetch(conn: AsyncConnection) -> None:
    cur = conn.cursor("one")
    assert await cur.execute("SELECT 1 AS a, 'x' AS b UNION ALL SELECT 2, 'y'") is cur
    assert cur.description is not None
    assert [(column.name, column.type_code) for column in cur.description] == [("a", 23), ("b", 25)]
    assert (cur.rowcount, cur.rownumber, cur.statusmessage) == (-1, 0, "DECLARE CURSOR")
    assert await cur.fetchone() == (1, "x")
    assert (cur.rowcount, cur.rownumber, cur.statusmessage) == (-1, 1, "FETCH 1")
    assert await cur.fetchall() == [(2, "y")]
    assert (cur.rowcount, cur.rownumber, cur.statusmessage) == (-1, 2, "FETCH 1")
    assert await cur.fetchone() is None
    assert await cur.fetchall() == []
    assert (cur.rownumber, cur.nextset()) == (2, None)


async def test_there_is_one_result(conn: AsyncConnection) -> None:
    cur = conn.cursor("one")
    assert [one async for one in cur.results()] == []
    with pytest.raises(IndexError):
        await cur.set_result(0)
    await cur.execute("SELECT 1")
    assert [one async for one in cur.results()] == [cur]
    assert await (await cur.set_result(0)).fetchall() == [(1,)]
    await cur.set_result(-1)
    assert await cur.fetchall() == []
    with pytest.raises(IndexError):
        await cur.set_result(1)


# -- every row once


@pytest.mark.any_loop
@pytest.mark.parametrize("itersize", [1, 2, 7, 64, 100, 1000])
@pytest.mark.parametrize("count", [0, 1, 7, 63, 64, 65, 128, 200, 201])
async def test_iteration_loses_nothing(conn: AsyncConnection, itersize: int, count: int) -> None:
    cur = await numbers(conn, count)
    cur.itersize = itersize
    sent = spy(conn)
    assert [row async for row in cur] == list(range(count))
    assert len(sent) == count // itersize + 1  # a short piece is the last one
    assert (cur.rownumber, cur.rowcount) == (count, -1)
    assert [row async for row in cur] == []
    assert await cur.fetchmany(3) == []


class Model:
    """A cursor over the numbers up to `count`, and what it has to give."""

    def __init__(self, cursor: AsyncServerCursor[Any], count: int, choose: random.Random) -> None:
        self.cursor = cursor
        self.count = count
        self.choose = choose
        self.at: int = 0
        self.known = True

    def expected(self, size: int) -> list[int]:
        first, self.at = self.at, min(self.at + size, self.count)
        return list(range(first, self.at))

    async def one(self) -> None:
        assert await self.cursor.fetchone() == next(iter(self.expected(1)), None)

    async def many(self) -> None:
        size = self.choose.choice([0, 1, 2, 5, 64, 65, 200])
        assert await self.cursor.fetchmany(size) == self.expected(size or self.cursor.arraysize)

    async def default(self) -> None:
        assert await self.cursor.fetchmany() == self.expected(self.cursor.arraysize)

    async def all(self) -> None:
        if self.choose.random() < 0.2:
            assert await self.cursor.fetchall() == self.expected(self.count)

    async def iterate(self) -> None:
        size = self.choose.choice([1, 2, 3, 63, 64, 65, 200])
        seen = []
        async for row in self.cursor:
            seen.append(row)
            if len(seen) == size:
                break
        assert seen == self.expected(size)

    async def relative(self) -> None:
        value = self.choose.randint(-self.at - 2, self.count - self.at + 2)
        await self.scroll(self.at + value, value, "relative")

    async def absolute(self) -> None:
        value = self.choose.randint(-1, self.count + 1)
        await self.scroll(value, value, "absolute")

    async def scroll(self, target: int, value: int, mode: str) -> None:
        if 0 <= target < self.count:
            await self.cursor.scroll(value, mode)
            self.at = target
            self.known |= mode == "absolute"
            return
        was_known = self.known or mode == "absolute"
        with pytest.raises(IndexError):
            await self.cursor.scroll(value, mode)
        if target >= self.count:
            self.at, self.known = self.count, False
        elif not was_known:
            self.at, self.known = 0, True


@pytest.mark.any_loop
@pytest.mark.parametrize("seed", range(12))
async def test_whatever_way_rows_are_taken(conn: AsyncConnection, seed: int) -> None:
    choose = random.Random(seed)
    for _ in range(6):
        count = choose.choice([0, 1, 5, 30, 150])
        cur = await numbers(conn, count, scrollable=True)
        cur.itersize = choose.choice([1, 3, 64, 100])
        cur.arraysize = choose.choice([1, 4])
        model = Model(cur, count, choose)
        ways = [model.one, model.many, model.default, model.all, model.iterate, model.relative, model.absolute]
        for _ in range(40):
            await choose.choice(ways)()
            assert cur.rownumber == (model.at if model.known else None)  # unknown once it was behind the last row
        await cur.close()
    assert await open_cursors(conn) == []


async def test_two_iterations_of_one_cursor(conn: AsyncConnection) -> None:
    cur = await numbers(conn, 250)
    seen = []
    async for row in cur:
        seen.append(row)
        if row == 42:
            break
    seen += [row async for row in cur]
    assert seen == list(range(250))


async def test_rows_that_are_none(conn: AsyncConnection) -> None:
    cur = conn.cursor("nulls", row_factory=scalar_row)
    cur.itersize = 2
    await cur.execute("SELECT NULL FROM generate_series(1, 5)")
    assert [row async for row in cur] == [None] * 5


async def test_no_columns_and_many_columns(conn: AsyncConnection) -> None:
    cur = await conn.cursor("c").execute("SELECT FROM generate_series(1, 3)")
    assert (cur.description, await cur.fetchone(), [row async for row in cur]) == ([], (), [(), ()])
    columns = ", ".join(f"{n} AS c{n}" for n in range(300))
    cur = await conn.cursor("d").execute(f"SELECT {columns}".encode(), binary=True)
    assert await cur.fetchall() == [tuple(range(300))]


@pytest.mark.parametrize("size", [0, None])
async def test_fetchmany_of_the_default_size(conn: AsyncConnection, size: int | None) -> None:
    cur = await numbers(conn, 10)
    sent = spy(conn)
    assert await (cur.fetchmany() if size is None else cur.fetchmany(size)) == [0]
    cur.arraysize = 3
    assert await (cur.fetchmany() if size is None else cur.fetchmany(size)) == [1, 2, 3]
    cur.arraysize = 0
    assert await (cur.fetchmany() if size is None else cur.fetchmany(size)) == []
    assert len(sent) == 2
    assert not any(b"FORWARD 0" in data for data in sent)
    assert await cur.fetchone() == 4


async def test_sizes_that_are_none(conn: AsyncConnection) -> None:
    cur = await numbers(conn, 10)
    sent = spy(conn)
    with pytest.raises(ValueError, match="-1"):
        await cur.fetchmany(-1)
    for size in ("1", 1.5, "1; DROP TABLE t"):
        with pytest.raises(TypeError, match="size must be an int, not"):
            await cur.fetchmany(size)  # type: ignore[arg-type]
    for itersize in (0, -1):
        cur.itersize = itersize
        with pytest.raises(ValueError, match="itersize must be 1 or more"):
            await cur.__anext__()
    with pytest.raises(TypeError, match="value must be an int, not '1'"):
        await cur.scroll("1")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="index must be an int, not '0'"):
        await cur.set_result("0")  # type: ignore[arg-type]
    cur.itersize = cur.arraysize = "1"  # type: ignore[assignment]
    with pytest.raises(TypeError, match="itersize must be an int, not '1'"):
        await cur.__anext__()
    with pytest.raises(TypeError, match="arraysize must be an int, not '1'"):
        await cur.fetchmany()
    cur.itersize = cur.arraysize = 1
    with pytest.raises(ValueError, match="mode"):
        await cur.scroll(1, "sideways")
    with pytest.raises(ValueError, match="2147483647"):
        await cur.scroll(2**31, "absolute")
    assert sent == []
    assert await cur.fetchmany(2**40) == list(range(10))


async def test_going_backwards_where_the_server_does_not(conn: AsyncConnection) -> None:
    cur = await numbers(conn, 10, scrollable=False)
    await cur.fetchmany(5)
    await cur.scroll(2)
    assert await cur.fetchone() == 7
    with pytest.raises(e.ObjectNotInPrerequisiteState, match=r"can only scan forward\nHINT: .*scrollable=True$"):
        await cur.scroll(-1)


async def test_the_current_row_after_scroll(conn: AsyncConnection) -> None:
    await conn.execute("CREATE TEMP TABLE t AS SELECT generate_series(0, 9) AS a")
    cur = await conn.cursor("c", row_factory=scalar_row).execute("SELECT a FROM t FOR UPDATE")
    await cur.scroll(4, "absolute")
    await conn.execute("UPDATE t SET a = 100 WHERE CURRENT OF c")
    assert await cur.fetchone() == 4
    assert await cur.fetchone() == 5
    await conn.execute("UPDATE t SET a = 101 WHERE CURRENT OF c")
    assert await (await conn.execute("SELECT a FROM t WHERE a > 9 ORDER BY a")).fetchall() == [(100,), (101,)]


async def test_a_row_that_cannot_be_loaded(conn: AsyncConnection) -> None:
    class Picky(Loader):
        def load(self, data: Any) -> int:
            if int(bytes(data)) in (3, 7):
                raise ZeroDivisionError
            return int(bytes(data))

    cur = conn.cursor("c", row_factory=scalar_row)
    cur.adapters.register_loader("int4", Picky)
    cur.itersize = 5
    await cur.execute(NUMBERS, [12])
    seen: list[Any] = []
    for _ in range(14):
        try:
            seen.append(await cur.__anext__())
        except ZeroDivisionError:
            seen.append("bad")
        except StopAsyncIteration:
            break
    assert seen == [0, 1, 2, "bad", 4, 5, 6, "bad", *range(8, 12)]
    # Some in memory, the bad one among those that are fetched: nothing is lost.
    await cur.execute(NUMBERS, [12])
    assert await cur.__anext__() == 0
    assert await cur.fetchmany(2) == [1, 2]
    with pytest.raises(ZeroDivisionError):
        await cur.fetchone()
    assert cur.rownumber == 4
    with pytest.raises(ZeroDivisionError):
        await cur.fetchmany(6)
    assert cur.rownumber == 4
    assert await cur.fetchmany(3) == [4, 5, 6]
    with pytest.raises(ZeroDivisionError):
        await cur.fetchall()
    assert await cur.fetchall() == [8, 9, 10, 11]
    assert cur.rownumber == 12


# -- executing


async def test_execute_again(conn: AsyncConnection) -> None:
    cur = conn.cursor("again")
    await cur.execute("SELECT generate_series(1, 500) AS a")
    assert await cur.__anext__() == (1,)
    await cur.execute("SELECT 'x' AS b, generate_series(1, 2)")
    assert cur.description is not None
    assert cur.description[0].name == "b"
    assert (cur.rownumber, await cur.fetchall()) == (0, [("x", 1), ("x", 2)])
    await conn.commit()
    await cur.execute("SELECT 3")  # the one before is gone with its transaction
    assert await cur.fetchall() == [(3,)]
    assert await open_cursors(conn) == ["again"]


@pytest.mark.parametrize(
    "query", ["SELECT 'x'", b"SELECT 'x'", anyq.sql.SQL("SELECT {}").format("x"), "VALUES ('x');", "-- one\nSELECT 'x'"]
)
async def test_kinds_of_queries(conn: AsyncConnection, query: Any) -> None:
    assert await (await conn.cursor("c").execute(query)).fetchall() == [("x",)]


async def test_parameters(conn: AsyncConnection) -> None:
    cur = conn.cursor("c")
    await cur.execute("SELECT %s + 1, %s || 'y', %(z)s".replace("%(z)s", "%s::date"), [41, "x", "2020-02-03"])
    ((number, text, date),) = await cur.fetchall()
    assert (number, text, date.isoformat()) == (42, "xy", "2020-02-03")
    await cur.execute("SELECT %(a)s::text, '100%%', %(a)s", {"a": "'; DROP TABLE t; --"})
    assert await cur.fetchone() == ("'; DROP TABLE t; --", "100%", "'; DROP TABLE t; --")
    await cur.execute("SELECT '%s'")
    assert await cur.fetchone() == ("%s",)
    with pytest.raises(e.ProgrammingError, match="placeholders"):
        await cur.execute("SELECT %s", [1, 2])
    with pytest.raises(e.ProgrammingError, match="no result"):
        await cur.fetchone()
    with pytest.raises(e.AmbiguousFunction):
        await cur.execute("SELECT * FROM generate_series(%s, %s)", ["1", "2"])


async def test_raw_queries(conn: AsyncConnection) -> None:
    cur: AsyncRawServerCursor[Any] = AsyncRawServerCursor(conn, "raw")
    assert await (await cur.execute("SELECT $1::int % 7, '%s'", [10])).fetchall() == [(3, "%s")]


@pytest.mark.parametrize("binary", [None, False, True])
async def test_formats(conn: AsyncConnection, binary: bool | None) -> None:
    query = (
        "SELECT 1::int4, 'x'::text, 1.5::numeric, '2020-01-02 03:04:05.6'::timestamp, ARRAY[1, 2], '{\"a\": 1}'::json"
    )
    wanted = await (await conn.execute(query)).fetchall()
    cur = await conn.cursor("c").execute(query, binary=binary)
    assert await cur.fetchall() == wanted
    assert cur.description is not None
    by_format = await conn.cursor("d", binary=bool(binary)).execute(query)
    assert [row async for row in by_format] == wanted
    other = conn.cursor("e", binary=True)
    assert await (await other.execute("SELECT '\\x01'::bytea, 1::money", binary=binary)).fetchall() == [
        (b"\1", "$1.00")
    ]


async def test_row_factories(conn: AsyncConnection) -> None:
    made: list[list[str]] = []

    def factory(cursor: Any) -> Callable[[Any], Any]:
        made.append([column.name for column in cursor.description])
        return list

    cur = conn.cursor("c", row_factory=factory)
    await cur.execute("SELECT generate_series(1, 5) AS a")
    cur.itersize = 2
    assert [row async for row in cur] == [[1], [2], [3], [4], [5]]
    assert made == [["a"]]  # once for the result, not for each piece
    cur.row_factory = dict_row
    await cur.execute("SELECT generate_series(1, 5) AS a")
    assert await cur.fetchone() == {"a": 1}
    cur.row_factory = scalar_row
    assert await cur.fetchmany(2) == [2, 3]
    conn.row_factory = dict_row  # type: ignore[assignment]
    other: AsyncServerCursor[Any] = conn.cursor("d")
    assert await (await other.execute("SELECT 1 AS b")).fetchone() == {"b": 1}


async def test_adapters_of_the_cursor(conn: AsyncConnection) -> None:
    class Loud(Loader):
        def load(self, data: Any) -> str:
            return bytes(data).decode() + "!"

    cur = await conn.cursor("c").execute("SELECT 'a' FROM generate_series(1, 4)", binary=False)
    assert await cur.__anext__() == ("a",)
    cur.adapters.register_loader("text", Loud)
    assert await cur.fetchone() == ("a!",)
    assert await cur.fetchall() == [("a!",), ("a!",)]
    assert await (await conn.execute("SELECT 'a'")).fetchone() == ("a",)


@pytest.mark.parametrize("encoding", ["UTF8", "LATIN1", "SJIS", "GBK", "SQL_ASCII"])
async def test_client_encodings(conn: AsyncConnection, encoding: str) -> None:
    word, name = {"LATIN1": ("é", "né"), "SJIS": ("表", 'ソ"表'), "GBK": ("乗", '誠"')}.get(encoding, ("é表", "é表"))
    await conn.execute(f"SET client_encoding TO '{encoding}'".encode())
    cur = conn.cursor(name)
    await cur.execute("SELECT %s::text AS a, '%%' FROM generate_series(1, 3)", [word])
    if encoding != "SQL_ASCII":
        assert await cur.fetchone() == (word, "%")
    assert len([row async for row in cur]) == 3 - (encoding != "SQL_ASCII")
    await conn.execute("SET client_encoding TO 'UTF8'")
    assert await open_cursors(conn) == [name]
    await cur.close()
    assert await open_cursors(conn) == []


async def test_settings_that_change_between_two_fetches(conn: AsyncConnection) -> None:
    query = "SELECT '2020-01-02'::date, 'é' FROM generate_series(1, 9)"
    cur = await conn.cursor("c").execute(query, binary=False)
    cur.itersize = 3
    rows = [await cur.__anext__() for _ in range(2)]
    await conn.execute("SET DateStyle TO 'German'")
    rows += [await cur.__anext__() for _ in range(2)]
    await conn.execute("SET client_encoding TO 'LATIN1'")
    rows += [row async for row in cur]
    assert rows == await (await conn.execute(query)).fetchall()


@pytest.mark.parametrize("threshold", [0, 1, None])
async def test_nothing_is_prepared(conn: AsyncConnection, threshold: int | None) -> None:
    conn.prepare_threshold = threshold
    for _ in range(3):
        async with conn.cursor("c", binary=True) as cur:
            cur.itersize = 1
            await cur.execute("SELECT generate_series(1, %s)", [3])
            assert [row async for row in cur] == [(1,), (2,), (3,)]
    conn.prepare_threshold = None
    assert await (await conn.execute("SELECT statement FROM pg_prepared_statements")).fetchall() == []


# -- names


@pytest.mark.any_loop
@pytest.mark.parametrize(
    "name",
    [
        "a",
        "A b",
        'quo"te',
        '""',
        "%s",
        "%(x)s %%",
        "'; DROP TABLE t; --",
        "select",
        "$1",
        "ö" * 31,
        "x" * 63,
        "\n",
        "\\",
    ],
)
async def test_names(conn: AsyncConnection, name: str) -> None:
    async with conn.cursor(name) as cur:
        await cur.execute("SELECT generate_series(1, %s)", [3])
        assert cur.name == name
        assert await open_cursors(conn) == [name]
        assert await cur.fetchmany(2) == [(1,), (2,)]
        await cur.scroll(0)
        assert await cur.fetchall() == [(3,)]
    assert await open_cursors(conn) == []


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("", e.ProgrammingError, "cannot be empty"),
        ("x" * 64, e.ProgrammingError, "63 bytes at most"),
        ("ö" * 32, e.ProgrammingError, "has 64"),
        ("a\0b", e.DataError, "NUL"),
        ("\ud800", e.DataError, "surrogate"),
        (5, TypeError, "not int"),
        (b"c", TypeError, "not bytes"),
    ],
)
async def test_names_that_are_none(conn: AsyncConnection, name: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        conn.cursor(name)
    assert conn.info.transaction_status is TransactionStatus.IDLE


async def test_options_of_a_cursor_without_a_name(conn: AsyncConnection) -> None:
    for options in ({"scrollable": True}, {"scrollable": False}, {"withhold": True}):
        with pytest.raises(e.ProgrammingError, match="named cursors"):
            conn.cursor(**options)  # type: ignore[call-overload]
    assert type(conn.cursor(None)) is AsyncCursor


# -- errors


@pytest.mark.parametrize("params", [None, (), (1,)])
async def test_the_place_of_an_error_is_in_the_query(conn: AsyncConnection, params: Any) -> None:
    query = "SELECT 1,\n  nosuch" + (", %s" if params else "")
    with pytest.raises(e.UndefinedColumn) as caught:
        await conn.cursor('a "long" näme').execute(query.encode(), params)
    assert "LINE 2:   nosuch" in str(caught.value)
    assert "DECLARE" not in str(caught.value)
    assert caught.value.diag.statement_position == "13"
    assert caught.value.query is not None
    assert caught.value.query.startswith("SELECT 1,")


@pytest.mark.parametrize(
    "query", ["INSERT INTO t VALUES (1)", "UPDATE t SET a = 1", "SET x = 1", "", "-- nothing", "COMMIT"]
)
async def test_what_is_no_query(conn: AsyncConnection, query: Any) -> None:
    with pytest.raises(e.SyntaxError, match="a named cursor is for a query"):
        await conn.cursor("c").execute(query)
    assert conn.info.transaction_status is TransactionStatus.INERROR


async def test_several_statements(conn: AsyncConnection) -> None:
    with pytest.raises(e.SyntaxError):
        await conn.cursor("c").execute("SELECT 1; SELECT 2")
    await conn.rollback()
    await conn.execute("CREATE TEMP TABLE t ()")
    with pytest.raises(e.SyntaxError):
        await conn.cursor("c").execute("SELECT 1; DROP TABLE t")


async def test_a_query_that_fails_while_rows_are_fetched(conn: AsyncConnection) -> None:
    cur = await conn.cursor("c").execute("SELECT 100 / (5 - x) FROM generate_series(1, 10) AS x")
    assert await cur.fetchmany(3) == [(25,), (33,), (50,)]
    with pytest.raises(e.DivisionByZero) as caught:
        await cur.fetchmany(5)
    assert caught.value.query is not None
    assert caught.value.query.startswith("SELECT 100")
    with pytest.raises(e.OperationalError, match="rows of cursor 'c' were lost"):
        await cur.fetchone()
    await cur.close()
    await conn.rollback()


async def test_a_savepoint_does_not_bring_a_cursor_back_that_has_failed(conn: AsyncConnection) -> None:
    cur = await conn.cursor("c", scrollable=True).execute("SELECT 100 / (5 - x) FROM generate_series(1, 10) AS x")
    with pytest.raises(e.DivisionByZero):
        async with conn.transaction():
            await cur.fetchall()
    with pytest.raises(e.ObjectNotInPrerequisiteState, match="cannot be run"):
        await cur.scroll(0, "absolute")


async def test_a_cursor_of_that_name_is_there(conn: AsyncConnection) -> None:
    await conn.execute("DECLARE c CURSOR FOR SELECT 1")
    await conn.execute("SAVEPOINT s")
    cur = conn.cursor("c")
    with pytest.raises(e.DuplicateCursor, match="its own name"):
        await cur.execute("SELECT 2")
    await conn.execute("ROLLBACK TO s")
    with pytest.raises(e.ProgrammingError, match="no result"):  # that of another is not taken for it
        await cur.fetchone()
    await cur.close()
    assert await open_cursors(conn) == ["c"]


@pytest.mark.parametrize("how", ["executemany", "stream", "copy", "prepare"])
async def test_what_is_not_for_named_cursors(conn: AsyncConnection, how: str) -> None:
    cur = conn.cursor("c")
    with pytest.raises(e.NotSupportedError, match="named cursor"):
        if how == "executemany":
            await cur.executemany("SELECT %s", [(1,)])
        elif how == "stream":
            cur.stream("SELECT 1")
        elif how == "copy":
            cur.copy("COPY t FROM STDIN")
        else:
            await cur.execute("SELECT 1", prepare=True)
    assert await (await cur.execute("SELECT 1", prepare=False)).fetchall() == [(1,)]


async def test_a_pipeline_goes_on_without_named_cursors(conn: AsyncConnection) -> None:
    before = await conn.cursor("before").execute("SELECT generate_series(1, 3)")
    async with conn.pipeline():
        cur = await conn.execute("SELECT 1")
        uses: list[Callable[[], Any]] = [lambda: conn.cursor("c").execute("SELECT 1"), before.fetchone, before.fetchall]
        for use in uses:
            with pytest.raises(e.ProgrammingError, match="a named cursor cannot be used in a pipeline"):
                await use()
        assert await cur.fetchone() == (1,)
    assert await before.fetchall() == [(1,), (2,), (3,)]


# -- where it lives


async def test_in_autocommit_mode(auto: AsyncConnection) -> None:
    cur = auto.cursor("c")
    with pytest.raises(e.NoActiveSqlTransaction, match=r"transaction\(\) block.*withhold=True"):
        await cur.execute("SELECT 1")
    assert auto.info.transaction_status is TransactionStatus.IDLE
    async with auto.transaction():
        await cur.execute("SELECT 1")
        assert await cur.fetchall() == [(1,)]
    with pytest.raises(e.InvalidCursorName, match="withhold=True"):
        await cur.fetchone()
    await cur.close()


@pytest.mark.parametrize("by", ["commit", "block", "autocommit"])
async def test_a_held_cursor_after_the_commit(conn: AsyncConnection, by: str) -> None:
    if by == "autocommit":
        await conn.set_autocommit(True)
    if by == "block":
        async with conn.transaction():
            cur = await numbers(conn, 300, withhold=True)
            assert await cur.fetchmany(50) == list(range(50))
    else:
        cur = await numbers(conn, 300, withhold=True)
        assert await cur.fetchmany(50) == list(range(50))
        await conn.commit()
    sent = spy(conn)
    assert await cur.fetchone() == 50
    assert [row async for row in cur] == list(range(51, 300))
    assert conn.info.transaction_status is TransactionStatus.IDLE
    await cur.close()
    assert conn.info.transaction_status is TransactionStatus.IDLE
    assert not any(b"BEGIN" in data for data in sent)
    assert await open_cursors(conn) == []


@pytest.mark.parametrize("withhold", [False, True])
@pytest.mark.parametrize("end", ["rollback", "block", "savepoint"])
async def test_closing_after_a_rollback(conn: AsyncConnection, withhold: bool, end: str) -> None:
    if end == "rollback":
        cur = await numbers(conn, 3, withhold=withhold)
        await conn.rollback()
    elif end == "block":
        with pytest.raises(ZeroDivisionError):
            async with conn.transaction():
                cur = await numbers(conn, 3, withhold=withhold)
                raise ZeroDivisionError
    else:
        await conn.execute("SELECT 1")
        async with conn.transaction(force_rollback=True):
            cur = await numbers(conn, 3, withhold=withhold)
    status = conn.info.transaction_status
    with pytest.raises(e.InvalidCursorName):
        await cur.fetchone()
    if end == "savepoint":
        await conn.rollback()
        status = TransactionStatus.IDLE
    await cur.close()
    await cur.close()
    assert (cur.closed, conn.info.transaction_status) == (True, status)


async def test_the_first_error_comes_out(conn: AsyncConnection) -> None:
    with pytest.raises(e.UndefinedColumn):
        async with conn.cursor("c") as cur:
            await cur.execute("SELECT nosuch")
    await conn.rollback()
    with pytest.raises(e.UndefinedTable):
        async with conn.cursor("c") as cur:
            await cur.execute("SELECT 1")
            await conn.execute("SELECT * FROM nosuch")
    assert conn.info.transaction_status is TransactionStatus.INERROR
    await conn.rollback()
    with pytest.raises(e.DivisionByZero):
        async with conn.cursor("c") as cur:
            await cur.execute("SELECT 1 / (2 - x) FROM generate_series(1, 3) AS x")
            async for _ in cur:
                pass
    await conn.rollback()
    with pytest.raises(ZeroDivisionError):
        async with conn.cursor("c") as cur:
            await cur.execute("SELECT 1")
            await conn.close()
            raise ZeroDivisionError


async def test_nothing_is_closed_that_is_not_there(conn: AsyncConnection) -> None:
    sent = spy(conn)
    async with conn.cursor("c"):
        pass
    await conn.cursor("c").close()
    with pytest.raises(e.SyntaxError):
        async with conn.cursor("c") as cur:
            await cur.execute("no query")
    assert len(sent) == 1
    await conn.rollback()


async def test_closing_on_a_closed_connection(conn: AsyncConnection) -> None:
    async with conn.cursor("c") as cur:
        await cur.execute("SELECT generate_series(1, 500)")
        assert await cur.__anext__() == (1,)
        await conn.close()
        assert await cur.fetchmany(99) == [(n,) for n in range(2, 101)]  # they have come
        with pytest.raises(e.OperationalError, match="closed"):
            await cur.fetchone()
    assert cur.closed
    await cur.close()


async def test_a_closed_cursor(conn: AsyncConnection) -> None:
    cur = await numbers(conn, 5)
    await cur.__anext__()
    await cur.close()
    uses: list[Callable[[], Any]] = [
        cur.fetchone,
        cur.fetchall,
        cur.fetchmany,
        cur.__anext__,
        lambda: cur.scroll(1),
        lambda: cur.execute("SELECT 1"),
    ]
    for use in uses:
        with pytest.raises(e.InterfaceError, match="closed"):
            await use()
    with pytest.raises(e.InterfaceError, match="closed"):
        aiter(cur)


async def test_two_objects_of_one_name(conn: AsyncConnection) -> None:
    async with conn.cursor("c") as one:
        await one.execute("SELECT 1")
        await conn.commit()
        other = await conn.cursor("c").execute("SELECT generate_series(1, 3)")
        with pytest.raises(e.ProgrammingError, match="declared anew"):
            await one.fetchone()
    assert await other.fetchall() == [(1,), (2,), (3,)]  # the end of the first one has not closed it


# -- those that somebody else has declared


async def test_a_cursor_declared_by_a_statement(conn: AsyncConnection) -> None:
    await conn.execute("DECLARE c SCROLL CURSOR FOR SELECT generate_series(1, 300)")
    await conn.execute("FETCH 10 FROM c")
    cur = conn.cursor("c", row_factory=scalar_row)
    assert await cur.fetchone() == 11
    assert cur.description is not None
    assert (cur.rownumber, cur.description[0].name) == (None, "generate_series")
    assert await cur.fetchmany(2) == [12, 13]
    await cur.scroll(-3)
    assert [row async for row in cur] == list(range(11, 301))
    await cur.scroll(0, "absolute")
    assert (cur.rownumber, await cur.fetchone(), cur.rownumber) == (0, 1, 1)
    await cur.close()
    assert await open_cursors(conn) == []


@pytest.mark.parametrize("binary", [False, True])
async def test_a_cursor_that_a_function_returns(conn: AsyncConnection, binary: bool) -> None:
    await conn.execute(
        """CREATE FUNCTION pg_temp.numbers() RETURNS refcursor LANGUAGE plpgsql AS $$
           DECLARE c refcursor; BEGIN OPEN c FOR SELECT 1, 1.5 UNION ALL SELECT 2, 2.5; RETURN c; END $$"""
    )
    row = await (await conn.execute("SELECT pg_temp.numbers()")).fetchone()
    assert row is not None
    async with conn.cursor(row[0], binary=binary) as cur:
        assert [tuple(map(float, values)) async for values in cur] == [(1, 1.5), (2, 2.5)]
    assert await open_cursors(conn) == []


@pytest.mark.parametrize("use", ["fetchone", "fetchmany", "fetchall", "__anext__", "scroll"])
async def test_there_is_no_such_cursor(conn: AsyncConnection, use: str) -> None:
    cur = conn.cursor("nosuch")
    with pytest.raises(e.InvalidCursorName, match=r"(?s)nosuch.*execute\(\) declares"):
        await getattr(cur, use)(*[1] * (use == "scroll"))
    assert conn.info.transaction_status is TransactionStatus.IDLE
    await cur.close()


async def test_a_cursor_that_another_object_has_declared(conn: AsyncConnection) -> None:
    one = await numbers(conn, 5)
    async with conn.cursor("numbers") as other:
        assert await other.fetchone() == (0,)
    assert await one.fetchall() == [1, 2, 3, 4]  # it was not the other's to be closed


async def test_another_cursor_of_that_name_by_now(conn: AsyncConnection) -> None:
    cur = await conn.cursor("c").execute("SELECT 1 AS a, 2 AS b FROM generate_series(1, 9)")
    assert await cur.fetchone() == (1, 2)
    await conn.execute("CLOSE c")
    await conn.execute("DECLARE c CURSOR FOR SELECT 'x'::text AS z, 1.5 FROM generate_series(1, 2)")
    cur.row_factory = dict_row  # type: ignore[assignment]
    assert [tuple(map(str, row.values())) async for row in cur] == [("x", "1.5")] * 2  # type: ignore[attr-defined]


# -- others meanwhile


async def test_a_schema_that_changes_between_two_fetches(conn: AsyncConnection) -> None:
    await conn.execute("CREATE TEMP TABLE t AS SELECT x AS a FROM generate_series(1, 9) AS x")
    cur = await conn.cursor("c", withhold=True).execute("SELECT * FROM t")
    assert await cur.fetchmany(2) == [(1,), (2,)]
    with pytest.raises(e.ObjectInUse):
        await conn.execute("ALTER TABLE t ALTER a TYPE text")
    await conn.rollback()
    await conn.set_autocommit(True)
    await conn.execute("CREATE TEMP TABLE t AS SELECT x AS a FROM generate_series(1, 9) AS x")
    await cur.execute("SELECT * FROM t")
    assert await cur.fetchmany(2) == [(1,), (2,)]
    await conn.execute("ALTER TABLE t ALTER a TYPE text")
    await conn.execute("DROP TABLE t")
    assert await cur.fetchall() == [(n,) for n in range(3, 10)]
    await cur.close()


async def test_statements_of_other_tasks(conn: AsyncConnection) -> None:
    results: dict[int, list[Any]] = {}

    async def read(number: int) -> None:
        async with conn.cursor(f"c{number}") as cur:
            cur.itersize = 10
            await cur.execute("SELECT %s::int, x FROM generate_series(1, 95) AS x", [number])
            results[number] = [row async for row in cur]

    async def ask() -> None:
        for number in range(50):
            assert await (await conn.execute("SELECT %s::int", [number])).fetchone() == (number,)

    async with anyio.create_task_group() as group:
        for number in range(8):
            group.start_soon(read, number)
        group.start_soon(ask)
    assert results == {number: [(number, x) for x in range(1, 96)] for number in range(8)}
    assert await open_cursors(conn) == []


async def test_two_tasks_on_one_cursor(conn: AsyncConnection) -> None:
    cur = await numbers(conn, 1000)
    seen: list[int] = []
    refused = 0

    async def read() -> None:
        nonlocal refused
        while True:
            try:
                seen.append(await cur.__anext__())
            except StopAsyncIteration:
                return
            except e.InterfaceError as error:
                assert "another task" in str(error)
                refused += 1
                await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as group:
        group.start_soon(read)
        group.start_soon(read)
    assert sorted(seen) == list(range(1000))
    assert refused


async def test_closing_while_another_task_fetches(conn: AsyncConnection) -> None:
    await conn.execute("SELECT pg_advisory_lock(4711)")
    cur = conn.cursor("c")
    await cur.execute("SELECT pg_sleep(x * 3600) FROM generate_series(0, 1) AS x")
    assert await cur.fetchone() == ("",)
    errors: list[BaseException] = []

    async def fetch() -> None:
        try:
            await cur.fetchone()
        except Exception as error:
            errors.append(error)

    async with anyio.create_task_group() as group:
        group.start_soon(fetch)
        await anyio.wait_all_tasks_blocked()
        group.start_soon(cur.close)
        await anyio.wait_all_tasks_blocked()
        assert cur.closed
        await conn.cancel_safe()
    assert [type(error) for error in errors] == [e.QueryCanceled]


# -- the class


async def test_the_class_of_named_cursors(conn: AsyncConnection) -> None:
    class Mine(AsyncServerCursor[Any]):
        pass

    assert conn.server_cursor_factory is AsyncServerCursor
    conn.server_cursor_factory = Mine
    assert type(conn.cursor("c")) is Mine
    assert type(conn.cursor()) is AsyncCursor
    conn.server_cursor_factory = AsyncRawServerCursor
    assert await (await conn.cursor("c").execute("SELECT $1::int", [1])).fetchall() == [(1,)]


@pytest.mark.parametrize("factory", [AsyncCursor, anyq.ServerCursor, anyq.Cursor, 5, "AsyncServerCursor"])
async def test_what_cannot_make_named_cursors(conn: AsyncConnection, factory: Any) -> None:
    with pytest.raises(e.ProgrammingError, match="server_cursor_factory must be AsyncServerCursor"):
        conn.server_cursor_factory = factory
    assert conn.server_cursor_factory is AsyncServerCursor


async def test_it_does_not_make_those_without_a_name(conn: AsyncConnection, dsn: str) -> None:
    with pytest.raises(e.ProgrammingError, match="cursors with a name"):
        conn.cursor_factory = AsyncServerCursor
    with pytest.raises(e.ProgrammingError, match="cursors with a name"):
        await AsyncConnection.connect(dsn, cursor_factory=AsyncServerCursor)


async def test_it_needs_an_asynchronous_connection() -> None:
    with pytest.raises(e.InterfaceError, match="AsyncConnection"):
        AsyncServerCursor(object(), "c", row_factory=anyq.rows.tuple_row)  # type: ignore[type-var]
