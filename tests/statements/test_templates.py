"""Template strings as queries: parameters, literals, names and queries in their braces, with every cursor."""

from __future__ import annotations

from typing import Any

import pytest

import anyq
from anyq import AsyncClientCursor, AsyncConnection, AsyncCursor, AsyncRawCursor, sql
from anyq.adapt import Format
from anyq.errors import ProgrammingError
from anyq.statements.templates import bind_template, bind_template_as_text
from tests.support.templates import Template, t
from tests.support.values import transformer

pytestmark = pytest.mark.anyio

BAD = "'; DROP TABLE victim; --"
CURSORS = [AsyncCursor, AsyncClientCursor, AsyncRawCursor]


def bound(template: Template, params: Any = None) -> tuple[bytes, list[Any], list[int]]:
    statement = bind_template(template, params, transformer())
    return statement.sql, list(statement.values), list(statement.formats)


def as_text(template: Template) -> bytes:
    return bind_template_as_text(template, None, transformer()).sql


@pytest.mark.parametrize(
    ("template", "sql", "values", "formats"),
    [
        (t("SELECT 1"), b"SELECT 1", [], []),
        (t(""), b"", [], []),
        (t("SELECT {x}", x="a"), b"SELECT $1", [b"a"], [Format.TEXT]),
        (t("SELECT {x:s}, {x:t}, {x:b}", x="a"), b"SELECT $1, $2, $3", [b"a"] * 3, [0, 0, 1]),
        (t("SELECT {x}, {y}, {x}", x="a", y="b"), b"SELECT $1, $2, $3", [b"a", b"b", b"a"], [0, 0, 0]),
        (t("SELECT {x}", x=None), b"SELECT $1", [None], [0]),
        # Placeholders of other queries are none here, and no percent sign is doubled.
        (t("SELECT 5 % 2, '%s %%', {x}", x="%s"), b"SELECT 5 % 2, '%s %%', $1", [b"%s"], [0]),
        (t("SELECT 1 AS {x:i}", x='a"b'), b'SELECT 1 AS "a""b"', [], []),
        (t("SELECT 1 AS {x:i}", x=sql.Identifier("s", "b")), b'SELECT 1 AS "s"."b"', [], []),
        (t("SELECT {x:l}", x=BAD), b"SELECT '''; DROP TABLE victim; --'", [], []),
        (t("SELECT {x:l}", x=sql.Literal(-1)), b"SELECT (-1)", [], []),
        (t("SELECT {x:q}", x=sql.SQL("5 %% 2")), b"SELECT 5 %% 2", [], []),
        (t("SELECT {x:q}", x=sql.SQL("{}, {}").format("a", sql.Identifier("b"))), b"SELECT 'a', \"b\"", [], []),
        (t("{x:q}, {y}", x=t("SELECT {z}", z="a"), y="b"), b"SELECT $1, $2", [b"a", b"b"], [0, 0]),
        # What would merge with its neighbours.
        (t("{x}{x:l}{x:l}{x}1", x="a"), b"$1 'a' 'a'$2 1", [b"a", b"a"], [0, 0]),
    ],
)
def test_bind(template: Template, sql: bytes, values: list[Any], formats: list[int]) -> None:
    assert bound(template) == (sql, values, formats)


def test_bind_as_text() -> None:
    template = t("SELECT {a}, {b:t}, {c:b}, {d:l} AS {e:i}", a="it's", b=-1, c=None, d=2, e="n")
    assert as_text(template) == b"SELECT 'it''s', (-1), NULL, 2 AS \"n\""
    assert as_text(t("{x}{x}", x="a")) == b"'a' 'a'"


def test_deep() -> None:
    template = t("{x}", x=1)
    for _ in range(5000):
        template = t("{y:q}", y=template)
    assert bound(template)[0] == b"$1"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (t("{x:d}", x=1), r"{x:d} in a template string: of formats there are s, t and b"),
        (t("{x:i}", x=1), r"{x:i} in a template string: a name is a str or an sql.Identifier, not int"),
        (t("{x:q}", x="SELECT 1"), "{x:q} .* a piece of a query is .*, not str"),
        (t("{x}", x=sql.SQL("a")), "{x} .* an object of sql.SQL takes the format :q"),
        (t("{x:l}", x=sql.SQL("a")), "sql.SQL takes the format :q"),
        (t("{x:s}", x=sql.Composed([])), "sql.Composed takes the format :q"),
        (t("{x}", x=sql.Identifier("a")), "sql.Identifier takes the format :i"),
        (t("{x:q}", x=sql.Identifier("a")), "sql.Identifier takes the format :i"),
        (t("{x}", x=sql.Literal(1)), "sql.Literal takes the format :l"),
        (t("{x:q}", x=sql.Placeholder()), "a Placeholder has no place here"),
        (t("{x:q}", x=sql.SQL("{}").format(sql.Placeholder("a"))), "Placeholder.'a'. in a template string"),
        (t("{x}", x=t("a")), "a template string inside of another one takes the format :q"),
        (t("{x:l}", x=t("a")), "a template string inside of another one takes the format :q"),
        (t("SELECT '{x}'", x=1), "parameter 1 of the query is inside of a quoted string"),
        (t("SELECT '{x:l}'", x="a"), "value 1 of the query is inside of a quoted string"),
        (t("SELECT {x:l}, -- {x:i}", x="a\n"), "value 2 of the query is inside of a comment"),
    ],
)
def test_what_is_refused(template: Template, message: str) -> None:
    for bind in (bind_template, bind_template_as_text):
        with pytest.raises(ProgrammingError, match=message):
            bind(template, None, transformer())


@pytest.mark.parametrize("params", [(), [1], {}, {"a": 1}])
def test_no_parameters_beside_it(params: Any) -> None:
    for bind in (bind_template, bind_template_as_text):
        with pytest.raises(TypeError, match="a template string has its parameters in it"):
            bind(t("SELECT {x}", x=1), params, transformer())


def test_no_conversion() -> None:
    with pytest.raises(TypeError, match="conversions are not supported"):
        bound(t("SELECT {x!r}", x=1))


@pytest.mark.parametrize("cursor_type", CURSORS)
async def test_execute(conn: AsyncConnection[Any], cursor_type: type[AsyncCursor[Any, Any]]) -> None:
    cursor = cursor_type(conn)
    table = sql.Identifier("some%s")
    await cursor.execute(t("CREATE TEMPORARY TABLE {table:i} (n int, t text)", table=table))
    for n in range(7):  # prepared at last, but by a client cursor
        await cursor.execute(t("INSERT INTO {table:i} VALUES ({n}, {s})", table=table, n=n, s=BAD))
        assert cursor.rowcount == 1
    query = t("SELECT n, t, {one:l} FROM {table:i} WHERE {where:q}", one=1, table=table, where=t("n = {n}", n=5))
    await cursor.execute(query)
    assert await cursor.fetchall() == [(5, BAD, 1)]
    assert [row async for row in cursor.stream(query)] == [(5, BAD, 1)]
    # Several statements, where there are no parameters.
    await cursor.execute(t("SELECT 1; SELECT {two:l}", two=2))
    await cursor.set_result(-1)
    assert await cursor.fetchone() == (2,)


@pytest.mark.parametrize("cursor_type", [AsyncCursor, AsyncRawCursor])
async def test_prepared_and_binary(conn: AsyncConnection[Any], cursor_type: type[AsyncCursor[Any, Any]]) -> None:
    cursor = cursor_type(conn)
    for n in range(3):
        await cursor.execute(t("SELECT {n}", n=n), prepare=True, binary=True)
        assert await cursor.fetchone() == (n,)
        assert cursor.description is not None
    statements = await conn.execute("SELECT count(*) FROM pg_prepared_statements WHERE statement = 'SELECT $1'")
    assert await statements.fetchone() == (1,)


@pytest.mark.parametrize("cursor_type", CURSORS)
async def test_what_is_refused_leaves_the_connection_as_it_was(
    conn: AsyncConnection[Any], cursor_type: type[AsyncCursor[Any, Any]]
) -> None:
    cursor = cursor_type(conn)
    for sets in ([], [()], [(1,)]):
        with pytest.raises(TypeError, match="a template string has its parameters in it"):
            await cursor.executemany(t("SELECT {x}", x=1), sets)
    with pytest.raises(TypeError, match="a template string has its parameters in it"):
        await cursor.execute(t("SELECT {x}", x=1), (1,))
    with pytest.raises(ProgrammingError, match="of formats there are"):
        await cursor.execute(t("SELECT {x:u}", x=1))
    with pytest.raises(anyq.errors.UndefinedColumn):
        await cursor.execute(t("SELECT {x}, foo", x=1))
    await conn.rollback()
    await cursor.execute(t("SELECT {x}", x=1))
    assert await cursor.fetchone() == (1,)


async def test_an_error_is_at_its_place(conn: AsyncConnection[Any]) -> None:
    for cursor_type in CURSORS:
        with pytest.raises(anyq.errors.UndefinedColumn, match=r"\^$") as raised:
            await cursor_type(conn).execute(t("SELECT {x}, foo", x=1))
        line, caret = str(raised.value).split("\n")[1:3]
        assert line[len(caret) - 1 :] == "foo"
        await conn.rollback()


async def test_mogrify(conn: AsyncConnection[Any]) -> None:
    assert AsyncClientCursor(conn).mogrify(t("SELECT {x} AS {y:i}", x="a", y="b")) == "SELECT 'a' AS \"b\""


async def test_on_the_connection(conn: AsyncConnection[Any]) -> None:
    cursor = await conn.execute(t("SELECT {x}", x="a"))
    assert await cursor.fetchone() == ("a",)


def test_synchronously(dsn: str) -> None:
    with anyq.connect(dsn) as conn:
        assert conn.execute(t("SELECT {x}", x="a")).fetchone() == ("a",)
        assert list(conn.cursor().stream(t("SELECT {x}", x="a"))) == [("a",)]
        with pytest.raises(TypeError):
            conn.cursor().executemany(t("SELECT {x}", x="a"), [])


async def test_with_a_named_cursor(conn: AsyncConnection[Any]) -> None:
    async with conn.transaction():
        for name in ("some", "other"):
            cursor = conn.cursor(name)
            await cursor.execute(t("SELECT n, {x:l} FROM generate_series(1, {n}) n WHERE n > {m}", x=BAD, n=4, m=2))
            assert await cursor.fetchall() == [(3, BAD), (4, BAD)]
            await cursor.close()


async def test_with_copy(conn: AsyncConnection[Any]) -> None:
    cursor = conn.cursor()
    async with cursor.copy(t("COPY (SELECT {x}::text, {n:l}) TO STDOUT", x=BAD, n=-1)) as copy:
        assert [row async for row in copy.rows()] == [(BAD, "-1")]
    await conn.execute('CREATE TEMPORARY TABLE "some%s" (t text)')
    async with cursor.copy(t("COPY {table:i} FROM STDIN", table="some%s")) as copy:
        await copy.write_row((BAD,))
    await cursor.execute('SELECT t FROM "some%s"')
    assert await cursor.fetchall() == [(BAD,)]
    with pytest.raises(ProgrammingError, match="inside of a quoted string"):
        async with cursor.copy(t("COPY (SELECT '{x}') TO STDOUT", x=BAD)):
            pytest.fail("it has begun")


async def test_in_a_pipeline(conn: AsyncConnection[Any]) -> None:
    async with conn.pipeline():
        cursors = [await conn.execute(t("SELECT {n}, {x}::text", n=n, x=BAD)) for n in range(3)]
        found = [await cursor.fetchone() for cursor in cursors]
    assert found == [(n, BAD) for n in range(3)]
