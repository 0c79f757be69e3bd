"""What the driver sends by itself is told of as well, where somebody watches."""

from __future__ import annotations

from typing import Any

import pytest

from anyq import AsyncConnection, errors
from anyq.pool import AsyncConnectionPool, PoolTimeout
from anyq.session.session import Session
from anyq.session.traced import TracedSession
from anyq.tracing import TracedCopy, TracedNotification, Tracer, installed
from anyq.tracing.tracer import NOTHING
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


class Silent(Tracer):
    """Overrides nothing."""


class HearsOthers(Silent):
    """Overrides what has to do with no statement."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def on_copy_end(self, copy: TracedCopy, state: Any, /) -> None:
        self.told.append(copy.sql)

    def on_notification(self, notification: TracedNotification, /) -> None:
        self.told.append(notification.payload())


async def test_a_session_to_whose_statements_nobody_listens_is_a_plain_one(dsn: str) -> None:
    kinds: list[Any] = []
    for tracer in (None, Silent(), HearsOthers(), Recorder()):
        async with AsyncConnection.connect(dsn, tracer=tracer) as connection:
            kinds.append(type(connection.session))
    assert kinds == [Session, Session, Session, TracedSession]


async def test_who_does_not_listen_to_statements_is_told_of_the_rest(dsn: str) -> None:
    tracer = HearsOthers()
    async with AsyncConnection.connect(dsn, autocommit=True, tracer=tracer) as connection:
        async with connection.cursor().copy("COPY (SELECT 1) TO STDOUT") as copy:
            assert await copy.read()
        async with connection.listen("c") as stream:
            await connection.notify("c", "payload")
            await stream.receive()
    assert tracer.told == ["COPY (SELECT 1) TO STDOUT", "payload"]


async def _do_all(dsn: str, tracer: Tracer) -> None:
    """Do what there are hooks for, each thing by several ways."""
    async with AsyncConnection.connect(dsn, tracer=tracer) as connection:
        cursor = connection.cursor()
        await cursor.execute("CREATE TEMP TABLE t (i int)")
        await cursor.executemany("INSERT INTO t VALUES (%s)", [[1], [2]])
        async with cursor.copy("COPY t FROM STDIN") as copy:
            await copy.write_row([3])
        assert [row async for row in cursor.stream("SELECT i FROM t ORDER BY i")] == [(1,), (2,), (3,)]
        async with connection.pipeline():
            await cursor.execute("SELECT 4")
        assert await cursor.fetchone() == (4,)
        async with connection.cursor("named") as named:
            await named.execute("SELECT i FROM t ORDER BY i")
            assert await named.fetchall() == [(1,), (2,), (3,)]
        with pytest.raises(errors.DataError):
            async with cursor.copy("COPY t FROM STDIN") as copy:
                await copy.write("x")
        await connection.rollback()
        with pytest.raises(errors.DivisionByZero):
            await cursor.execute("SELECT 1/0")
        await connection.rollback()
        async with connection.listen("c") as stream:
            await connection.notify("c", "payload")
            await connection.commit()
            await stream.receive()
    async with AsyncConnection.connect(dsn, tracer=tracer) as connection:
        await connection.cancel()
    async with AsyncConnectionPool(dsn, tracer=tracer, min_size=1, max_size=1, name="p") as pool:
        await pool.wait()
        async with pool.connection():
            with pytest.raises(PoolTimeout):
                await pool.getconn(timeout=0.001)
        await pool.execute("SELECT 5")
    with pytest.raises(errors.OperationalError):
        await AsyncConnection.connect(dsn, dbname="no such database", tracer=tracer)


async def test_whatever_is_done_works_with_a_tracer_that_listens_to_nothing(dsn: str) -> None:
    await _do_all(dsn, Silent())


async def test_who_has_one_hook_is_told_by_it_what_others_are(dsn: str) -> None:
    """As one of several, and alone."""
    recorder = Recorder()
    await _do_all(dsn, recorder)
    told = {name: [_facts(one.what) for one in recorder.told if f"on_{one.hook}" == name] for name in NOTHING}
    assert all(told.values())
    for name in NOTHING:
        heard: list[Any] = []
        alone = Silent()
        setattr(alone, name, lambda what, *_, heard=heard: heard.append(_facts(what)))
        await _do_all(dsn, alone)
        assert (name, heard[:]) == (name, told[name])
        heard.clear()
        with installed(Silent()), installed(alone):
            await _do_all(dsn, HearsOthers())
        assert (name, heard) == (name, told[name])


def _facts(what: Any) -> tuple[Any, ...]:
    names = "kind", "sql", "channel", "asked", "pool"
    return tuple(getattr(what, name, None) for name in names)
