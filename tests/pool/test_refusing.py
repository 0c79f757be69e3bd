"""What a pool refuses to execute without a connection, and what it remembers of texts."""

from __future__ import annotations

import re

import pytest

from anyq import sql
from anyq.pool import AsyncConnectionPool
from anyq.pool.refusing import LONGEST_KNOWN, MOST_CHARACTERS, MOST_KNOWN, KnownTexts, refused, text_of
from tests.support.server import Server
from tests.support.two_phase import need_two_phase


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("SET search_path TO x", "settings"),
        ("  /* why */ set local x.y = 1", "settings"),
        ("RESET ALL", "settings"),
        ("LISTEN a", "notifications"),
        ("begin", "transactions"),
        ("START TRANSACTION", "transactions"),
        ("-- c\nCOMMIT", "transactions"),
        ("SAVEPOINT a", "transactions"),
        ("PREPARE x AS SELECT 1", "prepared statements"),
        ("DECLARE c CURSOR FOR SELECT 1", "named cursors"),
        ("COPY t FROM STDIN", "COPY"),
        ("LOCK TABLE t", "locks"),
        ("PREPARE TRANSACTION 'a'", "transactions of more statements"),
        ("PREPARE prepared AS SELECT 1", "prepared statements"),
        ("COMMIT; COMMIT PREPARED 'a'", "transactions"),
        ("ROLLBACK TO prepared", "transactions"),
        ("COMMIT PREPARED 'a'; SELECT 1", "several statements"),
        ("CREATE TEMP TABLE t (a int)", "temporary tables"),
        ("CREATE GLOBAL TEMPORARY TABLE t AS SELECT 1", "temporary tables"),
        ("SELECT 1 AS a INTO TEMP t", "temporary tables"),
        ("SELECT pg_advisory_lock(1)", "pg_advisory_lock()"),
        ("WITH a AS (SELECT pg_try_advisory_lock_shared (1)) SELECT * FROM a", "pg_try_advisory_lock_shared()"),
        ("SELECT pg_catalog.set_config('a.b', '1', false)", "set_config()"),
        ("SELECT currval('s')", "currval()"),
        ("SELECT 1; SELECT 2", "several statements"),
        ("SELECT ';' ; SELECT 2", "several statements"),
        ("SELECT $a$;$a$ /* ; */; SELECT 2", "several statements"),
        ("CREATE OR REPLACE TEMP VIEW v AS SELECT 1", "temporary tables"),
        ("CREATE TABLE pg_temp.t (a int)", "temporary tables"),
        ('WITH a AS (SELECT 1) SELECT * INTO TEMPORARY TABLE "t" FROM a', "temporary tables"),
    ],
)
def test_what_needs_a_session_is_refused(text: str, reason: str) -> None:
    found = refused(text.encode())
    assert found is not None
    assert reason in found


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1;",
        'SELECT \';\', "a;b" FROM (SELECT 1 AS "a;b") AS t -- ; \n',
        "INSERT INTO t VALUES (1) RETURNING a",
        "DO $$ BEGIN PERFORM 1; PERFORM 2; END $$",
        "SELECT $a$;$a$ /* ; /* ; */ */, E'\\';'",
        "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END",
        "SELECT temp FROM weather WHERE hold",
        "CREATE INDEX ON weather (temp)",
        "INSERT INTO temp (a) VALUES ('into temp t')",
        "INSERT INTO t VALUES ('lastval()')",
        "UPDATE t SET a = 1",
        "SELECT pg_advisory_xact_lock(1)",
        "SELECT nextval('s')",
        "CREATE TABLE t (a int)",
        "VACUUM",
        "COMMIT PREPARED 'a;b'",
        "/* why */ rollback /* ; */ prepared 'set_config('",
        "NOTIFY a",
        "",
    ],
)
def test_what_needs_none_is_not(text: str) -> None:
    assert refused(text.encode()) is None


def test_the_text_of_every_kind_of_query() -> None:
    assert text_of("SET x = 1") == text_of(b"SET x = 1") == text_of(sql.SQL("SET x = 1")) == b"SET x = 1"
    composed = sql.SQL("SELECT {}").format(sql.Identifier("a"))
    assert re.fullmatch(b'SELECT "a"', text_of(composed))
    assert text_of(10**11) == text_of(None) == b""


@pytest.mark.anyio
@pytest.mark.parametrize("ending", ["COMMIT", "ROLLBACK"])
async def test_a_two_phase_transaction_is_ended_without_a_connection(
    anyio_backend: object, server: Server, dsn: str, ending: str, schema: str
) -> None:
    need_two_phase(server)
    async with AsyncConnectionPool(dsn, min_size=1, max_size=1) as pool:
        await pool.execute(f"CREATE TABLE {schema}.ended (a int)")
        async with pool.connection() as conn:
            xid = f"it's a {ending} of {schema}"
            await conn.tpc_begin(xid)
            await conn.execute(f"INSERT INTO {schema}.ended VALUES (1)")
            await conn.tpc_prepare()
        await pool.execute(sql.SQL(ending + " PREPARED {}").format(xid))
        cursor = await pool.execute(f"SELECT count(*) FROM {schema}.ended")
        assert await cursor.fetchone() == (int(ending == "COMMIT"),)
        assert await (await pool.execute("SELECT gid FROM pg_prepared_xacts WHERE gid = %s", [xid])).fetchone() is None


# -- what is remembered


def test_a_text_is_kept_once() -> None:
    known = KnownTexts[int]()
    known.keep("SELECT 1", 1)
    known.keep("SELECT 1", 2)
    assert (known, known.characters) == ({"SELECT 1": 2}, 8)


def test_a_long_text_is_not_kept() -> None:
    known = KnownTexts[None]()
    known.keep("x" * LONGEST_KNOWN, None)
    known.keep("y" * (LONGEST_KNOWN + 1), None)
    assert set(known) == {"x" * LONGEST_KNOWN}


def test_no_more_are_kept_than_there_may_be() -> None:
    known = KnownTexts[None]()
    for number in range(3 * MOST_KNOWN):
        known.keep(str(number), None)
        assert len(known) <= MOST_KNOWN
    assert str(3 * MOST_KNOWN - 1) in known
    assert known.characters == sum(map(len, known))


def test_no_more_characters_are_kept_than_there_may_be() -> None:
    known = KnownTexts[None]()
    for number in range(100):
        known.keep(f"{number:{LONGEST_KNOWN}}", None)
        assert known.characters == len(known) * LONGEST_KNOWN <= MOST_CHARACTERS


@pytest.mark.anyio
async def test_a_pool_does_not_grow_by_generated_texts(anyio_backend: object, dsn: str) -> None:
    async with AsyncConnectionPool(dsn, min_size=1, max_size=1) as pool:
        multiplexer = pool.multiplexer
        for number in range(3):
            await pool.execute(f"SELECT {number} /* {'x' * LONGEST_KNOWN} */")
        assert not multiplexer._allowed
        await pool.execute("SELECT 1")
        assert list(multiplexer._allowed) == ["SELECT 1"]
