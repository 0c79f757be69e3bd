"""The types that executing and fetching give."""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from typing_extensions import LiteralString, assert_type

from anyq import (
    AsyncClientCursor,
    AsyncConnection,
    AsyncCopy,
    AsyncCursor,
    AsyncRawCursor,
    AsyncRawServerCursor,
    AsyncRowStream,
    AsyncServerCursor,
    Column,
    sql,
)
from anyq.rows import (
    DictRow,
    TupleRow,
    args_row,
    class_row,
    dict_row,
    kwargs_row,
    namedtuple_row,
    scalar_row,
    tuple_row,
)


@dataclass
class Person:
    name: str
    age: int = 0


def count(**values: object) -> int:
    return len(values)


async def cursors(conn: AsyncConnection) -> None:
    assert_type(conn.cursor(), AsyncCursor[TupleRow, AsyncConnection])
    assert_type(conn.cursor(binary=True), AsyncCursor[TupleRow, AsyncConnection])
    assert_type(conn.cursor(row_factory=tuple_row), AsyncCursor[TupleRow, AsyncConnection])
    assert_type(conn.cursor(row_factory=dict_row), AsyncCursor[DictRow, AsyncConnection])
    assert_type(conn.cursor(row_factory=namedtuple_row), AsyncCursor[NamedTuple, AsyncConnection])
    assert_type(conn.cursor(row_factory=scalar_row, binary=True), AsyncCursor[Any, AsyncConnection])
    assert_type(conn.cursor(row_factory=class_row(Person)), AsyncCursor[Person, AsyncConnection])
    assert_type(conn.cursor(row_factory=args_row(Person)), AsyncCursor[Person, AsyncConnection])
    assert_type(conn.cursor(row_factory=kwargs_row(count)), AsyncCursor[int, AsyncConnection])
    async with conn.cursor() as cur:
        assert_type(cur, AsyncCursor[TupleRow, AsyncConnection])
    async with conn.cursor(row_factory=class_row(Person)) as people:
        assert_type(people, AsyncCursor[Person, AsyncConnection])


async def named(conn: AsyncConnection, people: AsyncConnection[Person]) -> None:
    assert_type(conn.cursor("c"), AsyncServerCursor[TupleRow, AsyncConnection])
    assert_type(conn.cursor(name="c", scrollable=True), AsyncServerCursor[TupleRow, AsyncConnection])
    assert_type(people.cursor("c", binary=True).connection, AsyncConnection[Person])
    async with conn.cursor("c", row_factory=class_row(Person), withhold=True) as cur:
        assert_type(cur, AsyncServerCursor[Person, AsyncConnection])
        assert_type(await cur.execute("SELECT 1"), AsyncServerCursor[Person, AsyncConnection])
        assert_type([person async for person in cur], list[Person])
        assert_type(await cur.fetchone(), Person | None)
        assert_type(await cur.fetchmany(2), list[Person])
        assert_type((cur.name, cur.scrollable, cur.withhold, cur.itersize), tuple[str, bool | None, bool, int])
    assert_type(AsyncRawServerCursor(conn, "c", row_factory=dict_row), AsyncRawServerCursor[DictRow, AsyncConnection])
    any_cursor: AsyncCursor[TupleRow] = conn.cursor("c")
    conn.server_cursor_factory = AsyncRawServerCursor
    conn.server_cursor_factory = AsyncCursor  # type: ignore[assignment]
    conn.cursor(scrollable=True)  # type: ignore[call-overload]
    conn.cursor(5)  # type: ignore[call-overload]
    await any_cursor.fetchall()


async def connections(conn: AsyncConnection, people: AsyncConnection[Person]) -> None:
    assert_type(conn.cursor().connection, AsyncConnection)
    assert_type(people.cursor().connection, AsyncConnection[Person])
    assert_type(people.transaction().connection, AsyncConnection[Person])


async def copying(conn: AsyncConnection, people: AsyncConnection[Person]) -> None:
    async with conn.cursor().copy("COPY t FROM STDIN") as copy:
        assert_type(copy, AsyncCopy[AsyncConnection])
        assert_type(await copy.write("x"), None)
        assert_type(await copy.write_row((1, "x")), None)
    async with people.cursor().copy(sql.SQL("COPY t TO STDOUT"), (1,)) as copied:
        assert_type(copied.connection, AsyncConnection[Person])
        copied.set_types(["int4", 25])
        assert_type(await copied.read(), bytes)
        assert_type(await copied.read_row(), tuple[Any, ...] | None)
        async for data in copied:
            assert_type(data, bytes)
        async for block in copied.blocks():
            assert_type(block, bytes)
        async for row in copied.rows():
            assert_type(row, tuple[Any, ...])


async def fetching(conn: AsyncConnection) -> None:
    cur = conn.cursor()
    assert_type(await cur.execute("SELECT 1"), AsyncCursor[TupleRow, AsyncConnection])
    assert_type(await cur.fetchone(), tuple[Any, ...] | None)
    assert_type(await cur.fetchmany(), list[tuple[Any, ...]])
    assert_type(await cur.fetchall(), list[tuple[Any, ...]])
    async for row in cur:
        assert_type(row, tuple[Any, ...])
    async for row in cur.stream("SELECT 1"):
        assert_type(row, tuple[Any, ...])
    async for result in cur.results():
        assert_type(result, AsyncCursor[TupleRow, AsyncConnection])
    assert_type(await cur.set_result(0), AsyncCursor[TupleRow, AsyncConnection])

    people = conn.cursor(row_factory=class_row(Person))
    assert_type(await people.execute("SELECT * FROM people"), AsyncCursor[Person, AsyncConnection])
    assert_type(await people.fetchone(), Person | None)
    assert_type(await people.fetchmany(5), list[Person])
    assert_type(await people.fetchall(), list[Person])
    assert_type([person.age async for person in people], list[int])
    async with people.stream("SELECT * FROM people") as stream:
        assert_type(stream, AsyncRowStream[Person])
        async for person in stream:
            assert_type(person, Person)
    print((await people.fetchone()).name)  # type: ignore[union-attr]

    dicts = conn.cursor(row_factory=dict_row)
    assert_type(await dicts.fetchone(), dict[str, Any] | None)
    values = conn.cursor(row_factory=scalar_row)
    value: int | None = await values.fetchone()
    assert_type(value, int | None)


async def attributes(cur: AsyncCursor) -> None:
    assert_type(cur.description, list[Column] | None)
    assert_type(cur.rowcount, int)
    assert_type(cur.rownumber, int | None)
    assert_type(cur.statusmessage, str | None)
    assert_type(cur.nextset(), bool | None)
    if cur.description is not None:
        assert_type(cur.description[0].name, str)
        assert_type(cur.description[0].type_code, int)


async def queries(conn: AsyncConnection, literal: LiteralString, text: str) -> None:
    await conn.execute("SELECT %s", [1])
    await conn.execute("SELECT %s", (1, "x", None))
    await conn.execute("SELECT %(a)s", {"a": 1})
    await conn.execute(literal)
    await conn.execute(b"SELECT 1")
    await conn.execute(sql.SQL("SELECT {}").format(sql.Identifier("a")))
    # A query that is put together from strings is where an injection comes from.
    # mypy does not tell a literal from another string.
    await conn.execute(text)  # pyright: ignore[reportArgumentType]
    await conn.execute(f"SELECT {text}")  # pyright: ignore[reportArgumentType]
    await conn.execute("SELECT %s", 1)  # type: ignore[arg-type]
    await conn.execute("SELECT %s", {1})  # type: ignore[arg-type]
    cur = conn.cursor()
    await cur.executemany("SELECT %s", [(1,), [2]])
    await cur.executemany("SELECT %s", ((n,) for n in range(3)), returning=True)
    await cur.executemany("SELECT %(a)s", [{"a": 1}])
    await cur.executemany("SELECT %s", [1, 2])  # type: ignore[list-item]
    cur.stream("SELECT %s", [1], binary=True, size=10)


async def kinds_of_cursors(conn: AsyncConnection) -> None:
    client = AsyncClientCursor(conn)
    assert_type(client.mogrify("SELECT %s", [1]), str)
    assert_type(await AsyncClientCursor(conn, row_factory=dict_row).fetchone(), dict[str, Any] | None)
    assert_type(await AsyncRawCursor(conn, row_factory=class_row(Person)).fetchall(), list[Person])


def own_factory(cursor: AsyncCursor[Any]) -> Callable[[Sequence[Any]], list[str]]:
    return lambda values: [str(value) for value in values]


async def factories(conn: AsyncConnection) -> None:
    assert_type(await conn.cursor(row_factory=own_factory).fetchone(), list[str] | None)
    conn.cursor(row_factory=len)  # type: ignore[arg-type]
    conn.cursor(row_factory=own_factory).row_factory = own_factory
    conn.cursor().row_factory = dict_row  # type: ignore[assignment]
