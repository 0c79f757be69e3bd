"""Values are loaded by the settings that they were written by, whenever these change and whoever fetches when."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from typing import Any

import anyio
import pytest

from anyq import AsyncConnection
from anyq import errors as e

pytestmark = [pytest.mark.anyio, pytest.mark.any_loop]

FIRST_OF_FEBRUARY = date(2003, 2, 1)


async def results_of(conn: AsyncConnection, query: Any, **options: Any) -> list[Any]:
    """The first value of each result that has rows."""
    cur = await conn.execute(query, **options)
    return [(await cur.fetchone() or ("no row",))[0] async for cur in cur.results() if cur.description is not None]


# -- amid a request


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("SET client_encoding TO LATIN1; SELECT chr(233)", ["\xe9"]),
        ("SELECT chr(233); SET client_encoding TO LATIN1; SELECT chr(233)", ["\xe9", "\xe9"]),
        ("SET client_encoding TO WIN1252; SELECT chr(8364)", ["\u20ac"]),
        ("SELECT chr(8364); SET client_encoding TO EUC_JP; SELECT chr(26085)", ["\u20ac", "\u65e5"]),
        ("SET DateStyle TO 'SQL, DMY'; SELECT '2003-02-01'::date", [FIRST_OF_FEBRUARY]),
        ("SET DateStyle TO 'SQL, MDY'; SELECT '2003-02-01'::date", [FIRST_OF_FEBRUARY]),
        ("SELECT '2003-02-01'::date; SET DateStyle TO 'SQL, DMY'; SELECT '2003-02-01'::date", [FIRST_OF_FEBRUARY] * 2),
        ("SET IntervalStyle TO sql_standard; SELECT '1 day 2 hours'::interval", [timedelta(days=1, hours=2)]),
    ],
)
async def test_a_text_of_several_statements(conn: AsyncConnection, query: str, expected: list[Any]) -> None:
    assert await results_of(conn, query) == expected


@pytest.mark.parametrize("order", ["DMY", "MDY"])
@pytest.mark.parametrize("prepare", [None, True])
async def test_a_function_that_sets(conn: AsyncConnection, order: str, prepare: bool | None) -> None:
    await conn.execute(f"SET DateStyle TO 'SQL, {'MDY' if order == 'DMY' else 'DMY'}'")
    query: Any = f"SELECT '2003-02-01'::date, set_config('DateStyle', 'SQL, {order}', false)"
    # As text, since only then the style counts.
    assert await results_of(conn, query, binary=False, prepare=prepare) == [FIRST_OF_FEBRUARY]


async def test_the_time_zone(conn: AsyncConnection) -> None:
    for zone, hours in (("Asia/Tokyo", 9), ("UTC", 0), ("Asia/Kolkata", 5.5)):
        query: Any = f"SET TIME ZONE '{zone}'; SELECT '2020-01-01 12:00+00'::timestamptz"
        (value,) = await results_of(conn, query)
        assert value.utcoffset() == timedelta(hours=hours)
        assert value == datetime(2020, 1, 1, 12, tzinfo=timezone.utc)


async def test_what_cannot_be_known_is_an_error(conn: AsyncConnection) -> None:
    """The server tells only the last of the settings, and where these came from it does not tell at all."""
    await conn.execute("SET DateStyle TO 'SQL, MDY'")
    query: Any = (
        "SET DateStyle TO 'SQL, DMY'; SELECT '2003-02-01'::date;"
        "SET DateStyle TO 'German, MDY'; SELECT '2003-02-13'::date"
    )
    cur = await conn.execute(query)
    assert await cur.set_result(1)
    with pytest.raises(e.DataError, match="settings changed amid"):
        await cur.fetchone()
    assert await cur.set_result(3)
    assert await cur.fetchone() == (date(2003, 2, 13),)


async def test_a_setting_that_changes_between_the_rows_of_one_statement(conn: AsyncConnection) -> None:
    """What was written before it cannot be told from what was written after it, but by what it looks like."""
    cur = await conn.execute(
        "SELECT CASE i WHEN 3 THEN set_config('client_encoding', 'LATIN1', false) END, chr(i + 231), i"
        " FROM generate_series(1, 4) AS i"
    )
    for number in (1, 2):
        assert cur.rownumber == number - 1
        with pytest.raises(e.DataError, match="settings changed amid"):
            await cur.fetchone()
    # These are no UTF-8.
    assert await cur.fetchall() == [("LATIN1", "\xea", 3), (None, "\xeb", 4)]
    cur = await conn.execute("SELECT i, set_config('client_encoding', 'UTF8', false) FROM generate_series(1, 2) AS i")
    assert await cur.fetchall() == [(1, "UTF8"), (2, "UTF8")]


async def test_a_stream_says_when_its_rows_were_written_by_other_settings(conn: AsyncConnection) -> None:
    await conn.execute("SET DateStyle TO 'SQL, MDY'")
    query: Any = (
        "SELECT '2003-02-01'::date, repeat('x', 10000),"
        " CASE x WHEN 200 THEN set_config('DateStyle', 'SQL, DMY', false) END FROM generate_series(1, 200) AS x"
    )
    with pytest.raises(e.DataError, match="changed settings by which its rows are written"):
        async for _ in conn.cursor().stream(query, binary=False):
            pass
    assert await results_of(conn, "SELECT '2003-02-01'::date") == [FIRST_OF_FEBRUARY]


# -- between executing and fetching


@pytest.mark.parametrize("prepare", [None, True])
async def test_they_change_before_the_rows_are_fetched(conn: AsyncConnection, prepare: bool | None) -> None:
    await conn.execute("SET DateStyle TO 'SQL, DMY'")
    query: Any = "SELECT '2003-02-01'::date, chr(233), '2020-01-01 00:00+00'::timestamptz"
    cur = await conn.execute(query, binary=False, prepare=prepare)
    await conn.execute("SET DateStyle TO 'SQL, MDY'; SET client_encoding TO LATIN1; SET TIME ZONE 'Asia/Tokyo'")
    row = await cur.fetchone()
    assert row is not None
    assert row[:2] == (FIRST_OF_FEBRUARY, "\xe9")
    assert row[2].utcoffset() != timedelta(hours=9)
    cur = await conn.execute(query, binary=False, prepare=prepare)
    row = await cur.fetchone()
    assert row is not None
    assert row[:2] == (FIRST_OF_FEBRUARY, "\xe9")
    assert row[2].utcoffset() == timedelta(hours=9)


async def test_tasks_that_set_and_fetch_on_one_connection(dsn: str) -> None:
    """What comes behind a statement in the same packet is none of its business."""
    async with await AsyncConnection.connect(dsn, autocommit=True) as conn:

        async def reads(number: int) -> None:
            for _ in range(20):
                cur = await conn.execute("SELECT '2003-02-01'::date, chr(233)", binary=False)
                assert await cur.fetchone() == (FIRST_OF_FEBRUARY, "\xe9"), number

        async def sets() -> None:
            for _ in range(20):
                for style, encoding in (("SQL, DMY", "LATIN1"), ("SQL, MDY", "UTF8"), ("ISO", "WIN1252")):
                    await conn.execute(f"SET DateStyle TO '{style}'; SET client_encoding TO {encoding}")

        async with anyio.create_task_group() as tg:
            for number in range(4):
                tg.start_soon(reads, number)
            tg.start_soon(sets)


# -- text that is not UTF-8


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("LATIN9", "caf\xe9 \u20ac"),
        ("WIN1252", "caf\xe9 \u20ac"),
        ("LATIN1", "caf\xe9"),
        ("KOI8R", "\u043a\u0430\u0444\u0435"),
        ("EUC_JP", "\u65e5\u672c"),
        ("SJIS", "\u65e5\u672c\u8868"),
        ("GBK", "\u4e2d\u6587"),
        ("BIG5", "\u4e2d\u6587"),
        ("UHC", "\ud55c\uad6d"),
        ("GB18030", "\u4e2d\u6587"),
    ],
)
async def test_what_the_server_says_in_other_encodings(conn: AsyncConnection, encoding: str, text: str) -> None:
    notices: list[str] = []
    conn.add_notice_handler(lambda diag: notices.append(diag.message_primary or ""))
    await conn.set_autocommit(True)
    await conn.execute(f"SET client_encoding TO {encoding}")
    for prepare in (None, True, True):
        cur = await conn.execute(f'SELECT 1 AS "{text}"', prepare=prepare)
        assert cur.description is not None
        assert cur.description[0].name == text
    with pytest.raises(e.UndefinedTable) as info:
        await conn.execute(f'SELECT * FROM "{text}"')
    assert f'"{text}"' in str(info.value)
    assert text in (info.value.diag.message_primary or "")
    await conn.execute(f"DO $$ BEGIN RAISE NOTICE '%', '{text}'; END $$")
    assert notices == [text]
