"""What follows from a statement that has succeeded, by its command tag."""

from __future__ import annotations

import pytest

from anyq.statements.consequences import Consequence, changes_session, consequence


@pytest.mark.parametrize(
    ("tag", "text", "expected"),
    [
        (None, "", Consequence.NONE),
        ("SELECT 1", "FETCH ALL FROM c; SELECT 1", Consequence.NONE),
        ("SELECT 1", "EXECUTE s", Consequence.NONE),
        ("SELECT 1", "CREATE TABLE t AS SELECT 1", Consequence.CHANGED),
        ("SELECT 1", "SELECT 1; select a into b", Consequence.CHANGED),
        ("INSERT 0 1", "BEGIN; INSERT INTO t VALUES (1)", Consequence.NONE),
        ("FETCH 5", "FETCH ALL FROM c", Consequence.NONE),
        ("SAVEPOINT", "SAVEPOINT a", Consequence.NONE),
        ("RELEASE", "RELEASE a", Consequence.NONE),
        ("CALL", "CALL p()", Consequence.NONE),
        ("DO", "DO $$ BEGIN END $$", Consequence.CHANGED),
        ("CREATE TABLE", "CREATE TABLE t (a int)", Consequence.CHANGED),
        ("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION f() ...", Consequence.CHANGED),
        ("CREATE INDEX", "CREATE INDEX ON t (a)", Consequence.NONE),
        ("DROP INDEX", "DROP INDEX i", Consequence.NONE),
        ("DROP TYPE", "DROP TYPE t", Consequence.CHANGED),
        ("ALTER TABLE", "ALTER TABLE t ADD a int", Consequence.CHANGED),
        ("IMPORT FOREIGN SCHEMA", "IMPORT FOREIGN SCHEMA ...", Consequence.CHANGED),
        ("A NEW COMMAND", "a new command", Consequence.CHANGED),
        ("SET", "SET search_path TO a", Consequence.CHANGED),
        ("SET", "SET LOCAL Search_Path = a", Consequence.CHANGED),
        ("SET", "SET SCHEMA 'a'", Consequence.CHANGED),
        ("SET", "SET ROLE a", Consequence.CHANGED),
        ("SET", "SET SESSION AUTHORIZATION a", Consequence.CHANGED),
        ("SET", "SET LOCAL statement_timeout TO 5", Consequence.NONE),
        ("RESET", "RESET search_path", Consequence.CHANGED),
        ("RESET", "RESET ALL", Consequence.CHANGED),
        ("RESET", "RESET work_mem", Consequence.NONE),
        ("SET CONSTRAINTS", "SET CONSTRAINTS ALL IMMEDIATE", Consequence.NONE),
        ("COMMIT", "COMMIT", Consequence.UNDONE),
        ("ROLLBACK", "ROLLBACK TO a", Consequence.UNDONE),
        ("COMMIT PREPARED", "COMMIT PREPARED 'x'", Consequence.CHANGED),
        ("DEALLOCATE", "DEALLOCATE s", Consequence.CHANGED),
        ("DEALLOCATE ALL", "DEALLOCATE ALL", Consequence.DROPPED),
        ("DISCARD ALL", "DISCARD ALL", Consequence.DROPPED),
        ("DISCARD PLANS", "DISCARD PLANS", Consequence.NONE),
        ("DISCARD TEMP", "DISCARD TEMP", Consequence.CHANGED),
    ],
)
def test_consequences(tag: str | None, text: str, expected: Consequence) -> None:
    assert consequence(tag, text.encode()) is expected


@pytest.mark.parametrize(
    ("tag", "text", "expected"),
    [
        (None, "", False),
        ("SET", "SET work_mem TO '1MB'", True),
        ("LISTEN", "LISTEN c", True),
        ("DO", "DO $$ BEGIN END $$", True),
        ("SELECT 1", "SELECT 1", False),
        ("SELECT 1", "SELECT set_config('work_mem', '1MB', false)", True),
        ("SELECT 1", "SELECT pg_advisory_xact_lock(1)", False),
        ("INSERT 0 1", "INSERT INTO t SELECT PG_TRY_ADVISORY_LOCK(1)", True),
        ("UPDATE 1", "UPDATE t SET a = set_config('work_mem', '1MB', false)", True),
        ("DELETE 1", "DELETE FROM t WHERE pg_advisory_lock(1) IS NULL", True),
        ("MERGE 1", "MERGE INTO t USING (SELECT pg_advisory_lock_shared(1)) ...", True),
        ("COPY 1", "COPY (SELECT set_config('work_mem', '1MB', false)) TO STDOUT", True),
        ("COPY 1", "COPY t TO STDOUT", False),
        ("EXPLAIN", "EXPLAIN ANALYZE CREATE TEMP TABLE t AS SELECT 1", True),
        ("EXPLAIN", "EXPLAIN ANALYZE SELECT 1", False),
        ("SELECT 1", "EXECUTE s", True),
        ("DECLARE CURSOR", "DECLARE c CURSOR WITH HOLD FOR SELECT 1", True),
        ("DECLARE CURSOR", "DECLARE c CURSOR FOR SELECT 1", False),
        ("CREATE TABLE", "CREATE TABLE pg_temp.t (a int)", True),
        ("CREATE TABLE", "CREATE TABLE t (a int)", False),
    ],
)
def test_what_lasts_as_long_as_the_session(tag: str | None, text: str, expected: bool) -> None:
    assert changes_session(tag, text.encode()) is expected
