"""What is told of a statement from its text alone."""

from __future__ import annotations

import pytest

from anyq.statements.statement import Statement, ends_transaction, is_repeatable, may_be_several


@pytest.mark.parametrize(
    "sql",
    [
        b"COMMIT",
        b"commit;",
        b"END",
        b"End work",
        b"ABORT",
        b"ROLLBACK",
        b"rollback work",
        b"ROLLBACK AND CHAIN",
        b"PREPARE TRANSACTION 'x'",
        b"prepare \n transaction 'x'",
    ],
)
def test_it_ends_the_transaction(sql: bytes) -> None:
    assert ends_transaction(sql)


@pytest.mark.parametrize(
    "sql",
    [
        b"",
        b"SELECT 1",
        b"ROLLBACK TO a",
        b"rollback work to savepoint a",
        b"ROLLBACK TRANSACTION TO a",
        b"PREPARE s AS SELECT 1",
        b"COMMITS",
        b"ENDING",
        b"COMMENT ON TABLE t IS 'COMMIT'",
        b"RELEASE a",
    ],
)
def test_it_does_not(sql: bytes) -> None:
    assert not ends_transaction(sql)


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
    ],
)
def test_what_leaves_nothing_behind_when_it_fails(sql: bytes, repeatable: bool) -> None:
    assert is_repeatable(sql) is repeatable


def test_the_key_is_the_text_and_the_types() -> None:
    statement = Statement(b"SELECT $1", [b"1"], (23,), [0])
    assert statement.key == (b"SELECT $1", (23,))
    assert statement.key == Statement(b"SELECT $1", [b"2"], (23,), [1]).key
