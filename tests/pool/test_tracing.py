"""Those who watch a pool are told of its clients, of its connections and of what these run."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from anyq import AsyncConnection
from anyq.pool import AsyncConnectionPool, ConnectionPool, PoolClosed, PoolTimeout
from anyq.tracing import TracedCheckout, TracedQuery, Tracer, installed
from tests.support.activity import PATIENCE
from tests.support.tracers import Recorder, whose

pytestmark = pytest.mark.anyio


async def test_clients_are_told_of(dsn: str) -> None:
    recorder = Recorder()
    async with AsyncConnectionPool(dsn, min_size=1, name="mine", tracer=recorder) as pool:
        await pool.wait()
        assert recorder.only("connect_end").what.pool == "mine"
        recorder.clear()
        whose.set("a client's")
        async with pool.connection() as connection:
            checkout = recorder.only("checkout_end").what
            assert (checkout.pool, checkout.server.pid) == ("mine", connection.info.backend_pid)
            assert 0 <= checkout.seconds < PATIENCE and checkout.held == 0
            await connection.execute("SELECT 1")
            with pytest.raises(PoolTimeout) as late:
                await pool.getconn(timeout=0.01)
            assert recorder.only("checkout_error").error is late.value
        back = recorder.only("checkin").what
        assert back is checkout and 0 < back.held < PATIENCE
        assert {told.whose for told in recorder.told} == {"a client's"}
        assert [query.sql for query in recorder.ended("query")] == ["SELECT 1", "COMMIT"]
    with pytest.raises(PoolClosed):
        await pool.getconn()
    recorder.check_closed()


@pytest.mark.parametrize("leave", ["clean", "in a transaction", "closed"])
async def test_each_that_was_lent_is_told_to_be_back(dsn: str, leave: str) -> None:
    recorder = Recorder()
    async with AsyncConnectionPool(dsn, min_size=1, tracer=recorder) as pool:
        connection = await pool.getconn()
        if leave == "in a transaction":
            await connection.execute("SELECT 1")
        elif leave == "closed":
            await connection.close()
        await pool.putconn(connection)
        assert [told.hook for told in recorder.told if told.hook.startswith("check")] == [
            "checkout_start",
            "checkout_end",
            "checkin",
        ]
        # Another turn is another one.
        async with pool.connection():
            pass
        assert len({id(told.what) for told in recorder.told if told.hook == "checkin"}) == 2


async def test_one_that_waits_is_told_with_how_long(dsn: str) -> None:
    recorder = Recorder()
    async with AsyncConnectionPool(dsn, min_size=1, tracer=recorder) as pool, anyio.create_task_group() as group:
        connection = await pool.getconn()
        recorder.clear()

        async def wait() -> None:
            async with pool.connection():
                pass

        group.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        assert [told.hook for told in recorder.told] == ["checkout_start"]
        await pool.putconn(connection)
    assert recorder.only("checkout_end").what.seconds > 0


async def test_statements_without_a_connection_are_told_once(dsn: str) -> None:
    recorder = Recorder()
    async with AsyncConnectionPool(dsn, min_size=1, max_size=2, tracer=recorder) as pool:

        async def run(name: str) -> None:
            whose.set(name)
            await pool.execute("SELECT %s::text", [name])

        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(run, f"task {number}")
        await pool.executemany("SELECT %s", [[1], [2]])
        ends = [told for told in recorder.told if told.hook == "query_end" and told.what.kind == "execute"]
        assert {told.whose == told.what.parameters()[0] for told in ends} == {True} and len(ends) == 20
        assert [query.sets for query in recorder.ended("query") if query.kind == "executemany"] == [2]
    recorder.check_closed()


async def test_one_that_is_installed_when_a_pool_is_opened_watches_it(dsn: str) -> None:
    recorder = Recorder()
    pool: AsyncConnectionPool = AsyncConnectionPool(dsn, min_size=1)
    with installed(recorder):
        async with pool, pool.connection() as connection:
            await connection.execute("SELECT 1")
    hooks = [told.hook for told in recorder.told]
    assert {"connect_end", "checkout_end", "query_end", "checkin"} <= set(hooks)


async def test_a_connection_may_have_another_one(dsn: str) -> None:
    recorder, own = Recorder(), Recorder()
    pool: AsyncConnectionPool = AsyncConnectionPool(dsn, min_size=1, kwargs={"tracer": own}, tracer=recorder)
    async with pool, pool.connection() as connection:
        await connection.execute("SELECT 1")
    assert "query_end" in [told.hook for told in own.told]
    assert {told.hook for told in recorder.told} == {"checkout_start", "checkout_end", "checkin"}


def test_what_is_no_tracer_is_refused_at_once(dsn: str) -> None:
    wrong: Any = object()
    with pytest.raises(TypeError, match="tracer"):
        AsyncConnectionPool(dsn, tracer=wrong)
    with pytest.raises(TypeError, match="tracer"):
        ConnectionPool(dsn, tracer=wrong, open=False)


def test_a_pool_of_threads_tells_in_their_contexts(dsn: str) -> None:
    recorder = Recorder()
    token = whose.set("a thread's")
    try:
        with ConnectionPool(dsn, min_size=1, tracer=recorder) as pool:
            pool.wait()
            recorder.clear()
            with pool.connection() as connection:
                connection.execute("SELECT 1")
            pool.execute("SELECT 2")
    finally:
        whose.reset(token)
    recorder.check_closed()
    told = [told for told in recorder.told if not told.hook.startswith("connect")]
    assert {one.whose for one in told} == {"a thread's"}
    assert [one.hook for one in told if one.hook.startswith("check")] == ["checkout_start", "checkout_end", "checkin"]
    assert [query.sql for query in recorder.ended("query")] == ["SELECT 1", "COMMIT", "SELECT 2"]


async def test_who_does_not_listen_to_clients_is_told_of_what_they_run(dsn: str) -> None:
    class Hears(Tracer):
        def __init__(self) -> None:
            self.told: list[str] = []

        def on_query_end(self, query: TracedQuery, state: Any, /) -> None:
            self.told.append(query.sql)

    tracer = Hears()
    async with AsyncConnectionPool(dsn, min_size=1, tracer=tracer) as pool:
        assert pool.lender.tracing is None
        async with pool.connection() as connection:
            await connection.execute("SELECT 1")
    assert tracer.told == ["SELECT 1", "COMMIT"]


async def test_who_listens_to_returns_alone_is_told_of_them(dsn: str) -> None:
    class Hears(Tracer):
        def __init__(self) -> None:
            self.told: list[TracedCheckout] = []

        def on_checkin(self, checkout: TracedCheckout, /) -> None:
            self.told.append(checkout)

    tracer = Hears()
    async with AsyncConnectionPool(dsn, min_size=1, tracer=tracer) as pool:
        async with pool.connection():
            assert tracer.told == []
        (checkout,) = tracer.told
        assert checkout.pool == pool.name and checkout.held > 0


async def test_a_pool_that_nobody_watches_says_nothing(dsn: str, caplog: pytest.LogCaptureFixture) -> None:
    """At INFO as well."""
    with caplog.at_level("INFO", "anyq"):
        async with AsyncConnectionPool(dsn, min_size=2) as pool:
            await pool.wait()
            async with pool.connection() as connection:
                await connection.execute("SELECT 1")
            assert isinstance(connection, AsyncConnection) and connection.session.tracing is None
    assert [record for record in caplog.records if record.name.startswith("anyq")] == []
