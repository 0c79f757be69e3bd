"""What the driver sends by itself is told of as well, where somebody watches."""

from __future__ import annotations

from typing import Any

import pytest

from anyq import AsyncConnection, errors
from anyq.pool import AsyncConnectionPool
from anyq.session.session import Session
from anyq.session.traced import TracedSession
from tests.support.tracers import Recorder

pytestmark = pytest.mark.anyio


async def test_commands_are_told(dsn: str) -> None:
    recorder = Recorder()
    async with AsyncConnection.connect(dsn, tracer=recorder) as connection:
        await connection.execute("SELECT 1")
        await connection.commit()
        async with connection.transaction():
            with pytest.raises(errors.DivisionByZero):
                async with connection.transaction():
                    await connection.execute("SELECT 1/0")
        await connection.rollback()
    recorder.check_closed()
    assert [(query.kind, query.sql, query.tag) for query in recorder.ended()] == [
        ("execute", "SELECT 1", "SELECT 1"),
        ("command", "COMMIT", "COMMIT"),
        ("command", "BEGIN", "BEGIN"),
        ("command", 'SAVEPOINT "_anyq_2"', "SAVEPOINT"),
        ("execute", "SELECT 1/0", None),
        ("command", 'ROLLBACK TO "_anyq_2";RELEASE "_anyq_2"', None),
        ("command", "COMMIT", "COMMIT"),
    ]


async def test_a_command_that_fails_is_told_with_its_error(dsn: str) -> None:
    recorder = Recorder()
    async with AsyncConnection.connect(dsn, autocommit=True, tracer=recorder) as connection:
        await connection.execute(
            "CREATE TEMP TABLE t (i int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED); INSERT INTO t VALUES (1)"
        )
        with pytest.raises(errors.UniqueViolation) as failed:
            async with connection.transaction():
                await connection.execute("INSERT INTO t VALUES (1)")
    told = recorder.only("query_error")
    assert told.error is failed.value and told.what.sql == "COMMIT"


async def test_a_sign_of_life_is_not_told(dsn: str) -> None:
    recorder = Recorder()
    async with AsyncConnection.connect(dsn, tracer=recorder) as connection:
        await AsyncConnectionPool.check_connection(connection)
    assert recorder.ended() == []


async def test_a_session_that_nobody_watches_is_a_plain_one(dsn: str) -> None:
    kinds: list[Any] = []
    for tracer in (None, Recorder()):
        async with AsyncConnection.connect(dsn, tracer=tracer) as connection:
            kinds.append(type(connection.session))
    assert kinds == [Session, TracedSession]
