"""Column: what `description` says about each column of a result."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from anyq import AsyncConnection, Column
from anyq.adapt.typeinfo import TypeInfo

pytestmark = pytest.mark.anyio


async def describe(conn: AsyncConnection, expression: str) -> Column:
    cur = await conn.execute(f"SELECT {expression}".encode())
    assert cur.description is not None
    (column,) = cur.description
    return column


@pytest.mark.parametrize(
    ("expression", "oid", "display", "display_size", "internal_size", "precision", "scale"),
    [
        ("1", 23, "int4", None, 4, None, None),
        ("1::int8", 20, "int8", None, 8, None, None),
        ("true", 16, "bool", None, 1, None, None),
        ("'x'::text", 25, "text", None, None, None, None),
        ("'x'::varchar", 1043, "varchar", None, None, None, None),
        ("'x'::varchar(42)", 1043, "varchar(42)", 42, None, None, None),
        ("'x'::char(3)", 1042, "bpchar(3)", 3, None, None, None),
        ("b'101'::bit(3)", 1560, "bit(3)", 3, None, None, None),
        ("b'101'::varbit(9)", 1562, "varbit(9)", 9, None, None, None),
        ("1::numeric", 1700, "numeric", None, None, None, None),
        ("1::numeric(10, 2)", 1700, "numeric(10,2)", None, None, 10, 2),
        ("1::numeric(10)", 1700, "numeric(10,0)", None, None, 10, 0),
        ("1::numeric(5, -2)", 1700, "numeric(5,-2)", None, None, 5, -2),
        ("0.001::numeric(3, 5)", 1700, "numeric(3,5)", None, None, 3, 5),
        ("now()::timestamp", 1114, "timestamp", None, 8, None, None),
        ("now()::timestamp(0)", 1114, "timestamp(0)", None, 8, 0, None),
        ("now()::timestamptz(3)", 1184, "timestamptz(3)", None, 8, 3, None),
        ("now()::time(6)", 1083, "time(6)", None, 8, 6, None),
        ("now()::timetz(1)", 1266, "timetz(1)", None, 12, 1, None),
        ("'1 s'::interval", 1186, "interval", None, 16, None, None),
        ("'1 s'::interval(3)", 1186, "interval(3)", None, 16, 3, None),
        ("'1 s'::interval second(2)", 1186, "interval(2)", None, 16, 2, None),
        ("'1 day'::interval day", 1186, "interval", None, 16, None, None),
        ("'{1}'::int[]", 1007, "int4[]", None, None, None, None),
        ("'{x}'::varchar(3)[]", 1015, "varchar(3)[]", 3, None, None, None),
        ("'{1}'::numeric(4, 1)[]", 1231, "numeric(4,1)[]", None, None, 4, 1),
        ("NULL", 25, "text", None, None, None, None),
    ],
)
async def test_types_and_their_modifiers(
    conn: AsyncConnection,
    expression: str,
    oid: int,
    display: str,
    display_size: int | None,
    internal_size: int | None,
    precision: int | None,
    scale: int | None,
) -> None:
    if "(3, 5)" in expression or "-2" in expression:
        await need_modern_numeric(conn)
    column = await describe(conn, f"{expression} AS c")
    assert (column.name, column.type_code, column.type_display) == ("c", oid, display)
    assert (column.display_size, column.internal_size) == (display_size, internal_size)
    assert (column.precision, column.scale, column.null_ok) == (precision, scale, None)
    # PEP 249 has it as a sequence.
    items = ("c", oid, display_size, internal_size, precision, scale, None)
    assert tuple(column) == items
    assert len(column) == 7
    assert [column[index] for index in range(7)] == list(items)
    assert (column[-1], column[1:3]) == (None, items[1:3])
    with pytest.raises(IndexError):
        column[7]
    assert repr(column) == f"<Column 'c', type: {display} (oid: {oid})>"


async def need_modern_numeric(conn: AsyncConnection) -> None:
    if conn.info.server_version < 150000:
        pytest.skip("PostgreSQL allows a scale outside the precision from version 15 on")


@pytest.mark.parametrize("how", ["simple", "extended", "prepared", "binary"])
async def test_however_it_is_executed(conn: AsyncConnection, how: str) -> None:
    query: Any = "SELECT 'x'::varchar(42) AS c"
    options: dict[str, Any] = {
        "simple": {},
        "extended": {"prepare": True},
        "prepared": {"prepare": True},
        "binary": {"binary": True},
    }[how]
    for _ in range(2):
        cur = (
            await conn.execute(query, (), **options)
            if how == "prepared"
            else await conn.cursor().execute(query, None, **options)
        )
        assert cur.description is not None
        assert repr(cur.description) == "[<Column 'c', type: varchar(42) (oid: 1043)>]"


async def test_the_table_that_a_column_comes_from(conn: AsyncConnection) -> None:
    cur = await conn.execute("SELECT relname, 1 AS one, oid FROM pg_class LIMIT 1")
    assert cur.description is not None
    relname, one, _ = cur.description
    oids = await (await conn.execute("SELECT 'pg_class'::regclass::oid")).fetchone()
    assert oids is not None
    assert (relname.table_oid, relname.table_column) == (oids[0], 2)
    assert (one.table_oid, one.table_column) == (None, None)


async def test_a_type_that_is_not_known(conn: AsyncConnection) -> None:
    await conn.execute("CREATE TYPE pg_temp.mood AS ENUM ('happy')")
    column = await describe(conn, "'happy'::pg_temp.mood AS c")
    assert column.type_display == str(column.type_code)
    info = await TypeInfo.fetch(conn, "pg_temp.mood")
    assert info is not None
    cur = conn.cursor()
    info.register(cur)
    await cur.execute("SELECT 'happy'::pg_temp.mood AS c, '{happy}'::pg_temp.mood[] AS d")
    assert cur.description is not None
    assert [column.type_display for column in cur.description] == ["mood", "mood[]"]
    # It is known on that cursor only.
    assert (await describe(conn, "'happy'::pg_temp.mood AS c")).type_display == str(info.oid)


async def test_equality_and_pickling(conn: AsyncConnection) -> None:
    column = await describe(conn, "1::numeric(10, 2) AS c")
    again = await describe(conn, "2::numeric(10, 2) AS c")
    other = await describe(conn, "1::numeric(10, 3) AS c")
    assert column == again and hash(column) == hash(again)
    assert column != other and column != tuple(column)
    copy = pickle.loads(pickle.dumps(column))
    assert copy == column
    assert repr(copy) == repr(column)


async def test_attributes_are_read_only(conn: AsyncConnection) -> None:
    column: Any = await describe(conn, "1 AS c")
    with pytest.raises(AttributeError):
        column.name = "d"
    with pytest.raises(TypeError):
        column[0] = "d"


async def test_names_of_any_kind(conn: AsyncConnection) -> None:
    assert (await describe(conn, "1 AS \"ünï 'x' %s\"")).name == "ünï 'x' %s"
    assert (await describe(conn, "1")).name == "?column?"
