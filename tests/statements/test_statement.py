"""What is told of a statement from its text alone."""

from __future__ import annotations

import pytest

from anyq.statements.statement import (
    Statement,
    copies,
    first_word,
    is_query,
    is_repeatable,
    may_be_several,
    past_empty_statements,
)


@pytest.mark.parametrize(
    ("sql", "word"),
    [
        (b"", b""),
        (b"   ", b""),
        (b"commit", b"COMMIT"),
        (b"COMMIT;", b"COMMIT"),
        (b"\n\t\r\f\v Commit work", b"COMMIT"),
        (b"/* x */ COMMIT", b"COMMIT"),
        (b"/**/commit", b"COMMIT"),
        (b"/***/commit", b"COMMIT"),
        (b"/*/ select */ commit", b"COMMIT"),
        (b"/* ' */commit", b"COMMIT"),
        (b"-- x\nCOMMIT", b"COMMIT"),
        (b"-- SELECT\r/* SELECT */--\n--\n  ((COMMIT", b"COMMIT"),
        (b"/* a /* SELECT */ SELECT */ COMMIT", b"COMMIT"),
        (b"/* a /* /* */ */ SELECT", b""),
        (b"/* SELECT", b""),
        (b"-- SELECT", b""),
        (b"/", b""),
        (b"/ * SELECT", b""),
        (b"- SELECT", b""),
        (b"(SELECT 1) UNION (SELECT 2)", b"SELECT"),
        (b"((\n(/* a */values (1)", b"VALUES"),
        (b"selections", b"SELECTIONS"),
        (b"select_1", b"SELECT_1"),
        (b"select\xc3\xa9", b"SELECT\xc3\xa9"),
        (b"select$a", b"SELECT$A"),
        (b'select"a"', b"SELECT"),
        (b"select'a'", b"SELECT"),
        (b"select/**/1", b"SELECT"),
        (b"; COMMIT", b""),
        (b"\xc2\xa0SELECT", b"\xc2\xa0SELECT"),
        (b"1", b""),
    ],
)
def test_the_first_word(sql: bytes, word: bytes) -> None:
    assert first_word(sql) == word


@pytest.mark.parametrize("text", [b"/*", b"/**/", b"(", b" ", b"--", b"--\n", b"/", b"*/", b"/* ", b"-- ("])
def test_the_first_word_takes_time_in_proportion(text: bytes) -> None:
    """A thousand times the text is no more than read: what looks back at it would not come to an end."""
    assert first_word(text * 100_000) == b""


@pytest.mark.parametrize(
    "sql",
    [
        *(b"SELECT 1", b"select\t1", b"insert into t values (1)", b"Update t set a = 1", b"DELETE FROM t"),
        *(
            b"MERGE INTO t",
            b"VALUES (1)",
            b"WITH x AS (SELECT 1) SELECT",
            b"TABLE t",
            b"/* c */ SELECT 1",
            b"(SELECT 1)",
        ),
    ],
)
def test_queries(sql: bytes) -> None:
    assert is_query(sql)


@pytest.mark.parametrize(
    "sql",
    [
        *(b"", b"FETCH ALL FROM c", b"EXECUTE s", b"SHOW a", b"EXPLAIN SELECT 1", b"CALL p()", b"DO $$ $$", b"COMMIT"),
        *(b"/* SELECT */ COMMIT", b"-- SELECT\nCOMMIT", b"; SELECT 1", b"DECLARE c CURSOR FOR SELECT 1", b"selects 1"),
        *(b"CREATE TABLE t AS SELECT 1", b"SET a TO b", b"PREPARE s AS SELECT 1", b"COPY t FROM STDIN", b"SELECTA 1"),
    ],
)
def test_utility_statements(sql: bytes) -> None:
    assert not is_query(sql)


@pytest.mark.parametrize(
    ("sql", "direction"),
    [
        (b"COPY t FROM STDIN", b"FROM"),
        (b"copy t from\nstdin with (format csv)", b"FROM"),
        (b"/* a */ COPY t (a, b) FROM STDIN", b"FROM"),
        (b"COPY t FROM STDOUT", b"FROM"),
        (b'COPY "from stdin" TO STDOUT', b"TO"),
        (b"COPY (SELECT a FROM stdin) TO STDOUT", b"TO"),
        (b"COPY (SELECT (1), ')' FROM t) TO STDOUT (FORMAT binary)", b"TO"),
        (b"COPY BINARY t TO stdout", b"TO"),
        (b"COPY t FROM STDIN WHERE a IS DISTINCT FROM b", b"FROM"),
        (b"COPY t FROM '/tmp/stdin'", b""),
        (b"COPY t FROM 'STDIN'", b""),
        (b"COPY t FROM PROGRAM 'echo stdin'", b""),
        (b"COPY (SELECT a FROM stdin) TO '/tmp/x'", b""),
        (b"COPY t (stdin) FROM '/tmp/x'", b""),
        (b"COPY t FROM", b""),
        (b"COPY", b""),
        (b"SELECT 'COPY t FROM STDIN'", b""),
        (b"COPYT FROM STDIN", b""),
        (b"", b""),
    ],
)
def test_which_copies_need_the_connection(sql: bytes, direction: bytes) -> None:
    assert copies(sql) == direction


@pytest.mark.parametrize(
    ("sql", "several"),
    [
        (b"", False),
        (b";", False),
        (b"SELECT 1", False),
        (b"SELECT 1; \n;\t", False),
        (b"SELECT 1; SELECT 2", True),
        (b"SELECT ';'", True),  # it may; the text is not parsed
    ],
)
def test_several_statements(sql: bytes, several: bool) -> None:
    assert may_be_several(sql) is several


@pytest.mark.parametrize(
    ("sql", "repeatable"),
    [
        (b"SELECT 1", True),
        (b"  \n(select 1) union (select 2)", True),
        (b"with x as (select 1) insert into t select * from x", True),
        (b"INSERT INTO t VALUES (1)", True),
        (b"CALL p()", False),
        (b"DO $$ BEGIN COMMIT; END $$", False),
        (b"VACUUM", False),
        (b"CREATE INDEX CONCURRENTLY i ON t (a)", False),
        (b"", False),
        *(
            (sql, True)
            for sql in (b"/* CALL */ SELECT 1", b"-- DO\nSHOW a", b"SET a TO b", b"explain analyze select 1")
        ),
        *(
            (sql, True)
            for sql in (b"EXPLAIN SELECT 1", b"EXECUTE s", b"TRUNCATE t", b"NOTIFY a", b"BEGIN", b"START TRANSACTION")
        ),
        *((sql, True) for sql in (b"CREATE TABLE t (a int)", b"create index i on t (a)", b"ALTER TABLE t ADD a int")),
        *((sql, True) for sql in (b"DROP TABLE t", b"GRANT a TO b", b"REFRESH MATERIALIZED VIEW CONCURRENTLY v")),
        *((sql, False) for sql in (b"DROP INDEX\nConcurrently i", b"ALTER TABLE t DETACH PARTITION p CONCURRENTLY")),
        *((sql, False) for sql in (b"CREATE DATABASE d", b"ALTER SYSTEM SET a TO b", b"DROP TABLESPACE t")),
        *((sql, False) for sql in (b"CREATE SUBSCRIPTION s", b"CLUSTER", b"REINDEX TABLE CONCURRENTLY t", b"ANALYZE")),
        *((sql, False) for sql in (b"FETCH 1 FROM c", b"MOVE c", b"PREPARE s AS SELECT 1", b"COPY t TO PROGRAM 'x'")),
        *((sql, False) for sql in (b"COMMIT", b"COMMIT PREPARED 'x'", b"/* SELECT */ CALL p()", b"unheard of")),
    ],
)
def test_what_leaves_nothing_behind_when_it_fails(sql: bytes, repeatable: bool) -> None:
    assert is_repeatable(sql) is repeatable


def test_the_key_is_the_text_and_the_types() -> None:
    statement = Statement(b"SELECT $1", [b"1"], (23,), [0])
    assert statement.key == (b"SELECT $1", (23,))
    assert statement.key == Statement(b"SELECT $1", [b"2"], (23,), [1]).key


@pytest.mark.parametrize(
    ("sql", "rest"),
    [
        *((b"SELECT 1", b"SELECT 1"), (b";SELECT 1", b"SELECT 1"), (b" ; /* ; */ ;-- ;\n\t;COMMIT;", b"COMMIT;")),
        *(
            (b"/* /* ; */ */;x", b"x"),
            (b"", b""),
            (b";;", b""),
            (b"/* never closed", b""),
            (b"(SELECT 1)", b"(SELECT 1)"),
        ),
    ],
)
def test_past_empty_statements(sql: bytes, rest: bytes) -> None:
    assert past_empty_statements(sql) == rest


def test_many_empty_statements_take_linear_time() -> None:
    assert past_empty_statements(b";/**/" * 200_000 + b"x") == b"x"
