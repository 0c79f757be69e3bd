"""Every type that a fresh server knows loads in both formats, alone, in arrays and NULL, and both give the same."""

from __future__ import annotations

from typing import Any

import pytest

from anyq import AsyncConnection, AsyncCursor
from anyq.errors import FeatureNotSupported
from anyq.sql import SQL, Identifier, Literal

pytestmark = [pytest.mark.anyio, pytest.mark.any_loop]

#: A value of each type, as a literal; of ranges and multiranges see below.
SAMPLES = {
    "aclitem": "postgres=arwdDxt/postgres",
    "bit": "1",
    "bool": "t",
    "box": "(3,4),(1,2.5)",
    "bpchar": "ab ",
    "bytea": "\\x00ff5c",
    "cardinal_number": "7",
    "char": "x",
    "character_data": "text",
    "cid": "4294967295",
    "cidr": "10.0.0.0/8",
    "circle": "<(1,2),0.1>",
    "date": "2024-02-29",
    "float4": "0.1",
    "float8": "-1e-300",
    "inet": "10.0.0.1/8",
    "int2": "-32768",
    "int2vector": "1 2",
    "int4": "-2147483648",
    "int8": "-9223372036854775808",
    "interval": "1 year 2 mons -3 days 04:05:06.7",
    "json": '{"a": [1, null]}',
    "jsonb": '{"a": [1, null]}',
    "jsonpath": "$.a[*]",
    "line": "{1,-1,0}",
    "lseg": "[(1,2),(3,4)]",
    "macaddr": "08:00:2b:01:02:03",
    "macaddr8": "08:00:2b:01:02:03:04:05",
    "money": "1.50",
    "name": "a name",
    "numeric": "-0.00100",
    "oid": "4294967295",
    "oidvector": "1 4294967295",
    "path": "[(1,2),(3,4)]",
    "pg_lsn": "16/B374D848",
    "pg_snapshot": "10:20:10,14",
    "point": "(1,-Infinity)",
    "polygon": "((1,2),(3,4))",
    "refcursor": "a cursor",
    "regclass": "pg_class",
    "regcollation": '"C"',
    "regconfig": "simple",
    "regdictionary": "simple",
    "regnamespace": "pg_catalog",
    "regoper": "pg_catalog.||/",
    "regoperator": "+(int4,int4)",
    "regproc": "boolin",
    "regprocedure": "abs(int4)",
    "regrole": "pg_monitor",
    "regtype": "time with time zone",
    "sql_identifier": "a name",
    "text": "text é",
    "tid": "(4294967295,65535)",
    "time": "12:34:56.789",
    "time_stamp": "2024-02-29 12:34:56+00",
    "timestamp": "2024-02-29 12:34:56.789",
    "timestamptz": "2024-02-29 12:34:56.789+00",
    "timetz": "12:34:56.789+05:30",
    "tsquery": "a & !(b | c:*A)",
    "tsvector": "a:1A b:2,3",
    "txid_snapshot": "10:20:10,14",
    "uuid": "00000000-0000-0000-0000-000000000007",
    "varbit": "101",
    "varchar": "text",
    "xid": "4294967295",
    "xid8": "18446744073709551615",
    "xml": "<a/>",
    "yes_or_no": "YES",
}

#: Bounds of ranges and multiranges, by the subtype.
BOUNDS = {
    "date": "2024-02-28,2024-02-29",
    "int4": "-7,7",
    "int8": "-7,9223372036854775806",
    "numeric": "0.50,1.5",
    "timestamp": "2024-02-28 01:00,2024-02-29 12:34:56.789",
    "timestamptz": "2024-02-28 01:00+00,2024-02-29 12:34:56.789+00",
}

#: Types that no literal makes.
ELSEWHERE = {
    "gtsvector": "only in indexes, and not shown",
    "pg_brin_bloom_summary": "only in indexes",
    "pg_brin_minmax_multi_summary": "only in indexes",
    "pg_dependencies": "of the catalogue, below",
    "pg_mcv_list": "of the catalogue, below",
    "pg_ndistinct": "of the catalogue, below",
    "pg_node_tree": "of the catalogue, below",
}

TYPES = """
    SELECT n.nspname::text, t.typname::text, t.typtype::text, t.typarray::int8, s.typname::text AS subtype
    FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
    LEFT JOIN pg_range r ON t.oid IN (r.rngtypid, r.rngmultitypid) LEFT JOIN pg_type s ON s.oid = r.rngsubtype
    WHERE t.typtype = ANY('{b,d,r,m,e}') AND n.nspname IN ('pg_catalog', 'information_schema')
        AND NOT EXISTS (SELECT FROM pg_type item WHERE item.typarray = t.oid)
    ORDER BY t.typname
"""


async def in_both_formats(conn: AsyncConnection, query: Any) -> list[Any]:
    """Return the rows, which are the same in text and binary, and as those of a prepared statement."""
    text, *others = [
        await (await conn.execute(query, (), **how)).fetchall()
        for how in ({"binary": False}, {"binary": True}, {"prepare": True}, {"prepare": True})
    ]
    for other in others:
        assert other == text
        assert repr(other) == repr(text)
    return text


async def test_every_type(conn: AsyncConnection) -> None:
    await conn.set_autocommit(True)
    await conn.execute("SET TIME ZONE 'UTC'")
    types = await (await conn.execute(TYPES)).fetchall()
    assert len(types) > 80
    seen: set[str] = set()
    for schema, name, kind, has_array, subtype in types:
        type_name = Identifier(schema, name)
        assert await in_both_formats(conn, SQL("SELECT NULL::{}").format(type_name)) == [(None,)]
        seen.add(name)
        if name in ELSEWHERE:
            continue
        samples = [SAMPLES[name]] if subtype is None else [f"[{BOUNDS[subtype]})", "empty", "(,)"]
        if kind == "m":
            samples = [f"{{{sample}}}" for sample in samples if sample != "empty"] + ["{}"]
        for sample in samples:
            value = SQL("{}::text::{}").format(Literal(sample), type_name)
            try:
                rows = await in_both_formats(conn, SQL("SELECT {}").format(value))
            except FeatureNotSupported:
                assert name == "xml"  # a server may be built without it
                continue
            assert rows[0][0] is not None
            if has_array:
                query = SQL("SELECT ARRAY[{0}, NULL], array_fill({0}, '{{2,1}}', '{{-1,3}}'), ARRAY[NULL::{1}]")
                [(items, filled, nulls)] = await in_both_formats(conn, query.format(value, type_name))
                if schema == "pg_catalog":
                    assert items == [rows[0][0], None]
                    assert filled == [[rows[0][0]], [rows[0][0]]]
                    assert nulls == [None]
    assert set(SAMPLES) | set(ELSEWHERE) <= seen, "types that no server has any more"


async def test_every_row_type_of_the_catalogue(conn: AsyncConnection) -> None:
    relations = await (
        await conn.execute(
            "SELECT relnamespace::regnamespace::text, relname::text, relkind::text FROM pg_class"
            " WHERE relkind = ANY('{r,v}') AND relnamespace IN ('pg_catalog'::regnamespace,"
            " 'information_schema'::regnamespace) ORDER BY 1, 2"
        )
    ).fetchall()
    assert len(relations) > 200
    for schema, name, kind in relations:
        relation = Identifier(schema, name)
        assert await in_both_formats(conn, SQL("SELECT NULL::{}").format(relation)) == [(None,)]
        # What views of the server's state have is another thing for each statement.
        if kind == "r" or schema == "information_schema":
            await in_both_formats(conn, SQL("SELECT r, ARRAY[r] FROM {} r LIMIT 1").format(relation))
            await in_both_formats(conn, SQL("SELECT * FROM {} LIMIT 1").format(relation))


async def test_types_of_statistics(conn: AsyncConnection) -> None:
    await conn.execute("CREATE TABLE pg_temp.t AS SELECT i % 7 AS a, i % 7 AS b FROM generate_series(1, 100) i")
    await conn.execute("CREATE STATISTICS pg_temp.s (ndistinct, dependencies, mcv) ON a, b FROM pg_temp.t")
    await conn.execute("ANALYZE pg_temp.t")
    query = "SELECT stxdndistinct, stxddependencies, stxdmcv FROM pg_statistic_ext_data"
    rows = await in_both_formats(conn, query)
    assert [type(value) for value in rows[-1]] == [str, str, str]
    [(tree,)] = await in_both_formats(conn, "SELECT ev_action FROM pg_rewrite LIMIT 1")
    assert tree.startswith("({QUERY")


async def test_a_binary_cursor_takes_what_has_no_binary_format(conn: AsyncConnection) -> None:
    cursor: AsyncCursor[Any] = conn.cursor(binary=True)
    for name in ("money", "aclitem", "regclass"):
        query = SQL("SELECT {}::text::{}").format(Literal(SAMPLES[name]), Identifier(name))
        await cursor.execute(query)
        [(value,)] = await cursor.fetchall()
        assert type(value) is str
