"""A pool for threads: what is different from one for tasks, with Ctrl-C at every step, and fork."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast

import anyio
import anyio.to_thread
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

import anyq
from anyq import errors as e
from anyq.pool import (
    AsyncConnectionPool,
    ConnectionPool,
    NullConnectionPool,
    PoolClosed,
    PoolTimeout,
    TooManyRequests,
    run_transaction,
)
from anyq.rows import dict_row
from tests.support import interrupting
from tests.support.activity import PATIENCE
from tests.support.interrupting import interrupt_at_each_step
from tests.support.pools import kill_by, pid_of_sync, wait_until
from tests.sync.conftest import Background, conn, observer, portal_backend, pytest_generate_tests, way

__all__ = ["conn", "observer", "portal_backend", "pytest_generate_tests", "way"]

ROOT = Path(__file__).parents[2]


@pytest.fixture
def pool(portal_backend: object, dsn: str) -> Iterator[ConnectionPool]:
    """A pool of two connections."""
    with ConnectionPool(dsn, min_size=0, max_size=2, timeout=PATIENCE) as pool:
        yield pool


def until_the_portal_has_ended() -> None:
    """Return when its thread has, which does not happen in the call of a thread that returns the last connection."""
    wait_until(lambda: not [thread for thread in threading.enumerate() if thread.name == "anyq portal"])


# -- opening and closing


def test_a_block(portal_backend: object, dsn: str) -> None:
    with ConnectionPool(dsn, min_size=2, name="mine") as pool:
        pool.wait()
        assert repr(pool) == "<anyq.pool.sync_pool.ConnectionPool 'mine' [open, 2 of 2]>"
        with pool.connection() as one, pool.connection() as two:
            assert type(one) is type(two) is anyq.Connection
            assert one.execute("SELECT 1").fetchone() == (1,)
    assert pool.closed
    assert one.closed
    for asking in (pool.getconn, pool.wait, pool.check, pool.drain, lambda: pool.resize(1)):
        with pytest.raises(PoolClosed, match="'mine' is closed"):
            asking()
    with pytest.raises(PoolClosed, match="cannot be opened again"):
        pool.open()
    pool.close()


def test_told_how_threads_have_a_connection(pool: ConnectionPool) -> None:
    with pytest.raises(e.ProgrammingError, match="settings of a session: take a connection, by 'with pool.connection"):
        pool.execute("SET a.b TO 1")


def test_sizes_that_are_no_ints(pool: ConnectionPool) -> None:
    with pytest.raises(TypeError, match="min_size must be an int, not 1.5"):
        pool.resize(1.5)  # type: ignore[arg-type]
    assert pool.execute("SELECT 1").fetchone() == (1,)


def test_functions_that_nobody_awaits(pool: ConnectionPool) -> None:
    """They would be as good as not called, and nobody would know."""

    async def later(conn: object) -> None:
        raise AssertionError("this is not called")

    with pytest.raises(TypeError, match="later at .* is a coroutine function: for synchronous connections"):
        run_transaction(pool, cast(Any, later))
    refused = pytest.raises(PoolTimeout, match="opening one has failed: .* is a coroutine function")
    with ConnectionPool(pool.conninfo, min_size=1, configure=later) as other, refused:
        wait_until(lambda: other.get_stats().get("connections_errors"))
        other.getconn(timeout=0.02)


def test_opened_later(portal_backend: object, dsn: str) -> None:
    pool = ConnectionPool(dsn, min_size=1, open=False)
    assert pool.closed
    with pytest.raises(PoolClosed, match="is not open yet: use it in 'with', or call its open"):
        pool.getconn()
    pool.close()
    pool.open(wait=True)
    pool.open()
    assert pool.get_stats()["pool_size"] == 1
    pool.close()
    with ConnectionPool(dsn, min_size=1, open=False) as pool:
        assert pid_of_sync(pool)


def test_waiting_in_vain_closes_it(portal_backend: object, dsn: str) -> None:
    pool = ConnectionPool("host=/nowhere", min_size=1)
    with pytest.raises(PoolTimeout, match="had 0 of its 1 connections within 0.1 s; opening one has failed"):
        pool.wait(0.1)
    assert pool.closed


def test_what_threads_have_when_it_is_closed(pool: ConnectionPool) -> None:
    """They go on, and so does the portal until the last of them is back."""
    mine = pool.getconn()
    pool.close()
    assert mine.execute("SELECT 1").fetchone() == (1,)
    mine.rollback()
    pool.putconn(mine)
    assert mine.closed
    until_the_portal_has_ended()


def test_a_thread_that_waits_is_told(pool: ConnectionPool) -> None:
    held = [pool.getconn(), pool.getconn()]
    waiting = Background(pool.getconn)
    wait_until(lambda: pool.get_stats()["requests_waiting"])
    pool.close()
    with pytest.raises(PoolClosed):
        waiting.result()
    for mine in held:
        pool.putconn(mine)
    until_the_portal_has_ended()


def test_the_callers_portal(dsn: str) -> None:
    with start_blocking_portal("trio") as portal, ConnectionPool(dsn, min_size=1, portal=portal) as pool:
        assert pid_of_sync(pool) == pid_of_sync(pool)
        with pytest.raises(e.InterfaceError, match="thread of its own portal's event loop"):
            portal.call(pool.getconn)


@pytest.mark.anyio
async def test_beside_a_pool_for_tasks(anyio_backend: object, dsn: str) -> None:
    """In an application's own portal: its threads have one pool and its tasks another, in the same event loop."""
    from_tasks: list[Any] = []
    from_threads: list[Any] = []
    async with BlockingPortal() as portal, AsyncConnectionPool(dsn, min_size=1, max_size=2) as pool:

        def in_threads() -> None:
            with ConnectionPool(dsn, min_size=1, max_size=2, portal=portal) as others:

                def work(number: int) -> None:
                    from_threads.extend(others.execute("SELECT %s::int4", [number]).fetchall())
                    with others.connection() as conn:
                        from_threads.extend(conn.execute("SELECT %s::int4", [number]).fetchall())

                for worker in [Background(partial(work, number)) for number in range(5)]:
                    worker.result()

        async def in_task(number: int) -> None:
            from_tasks.extend(await (await pool.execute("SELECT %s::int4", [number])).fetchall())
            async with pool.connection() as conn:
                from_tasks.extend(await (await conn.execute("SELECT %s::int4", [number])).fetchall())

        async with anyio.create_task_group() as group:
            group.start_soon(anyio.to_thread.run_sync, in_threads)
            for number in range(5):
                group.start_soon(in_task, number)
    assert sorted(from_tasks) == sorted(from_threads) == sorted([(number,) for number in range(5)] * 2)


def test_one_that_was_never_closed_warns(portal_backend: object, dsn: str) -> None:
    pool = ConnectionPool(dsn, min_size=1, name="forgotten")
    pid_of_sync(pool)
    with pytest.warns(ResourceWarning, match="the pool 'forgotten' was never closed"):
        del pool
        gc.collect()
    until_the_portal_has_ended()


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="max_size"):
        ConnectionPool("", min_size=2, max_size=1)
    assert not [thread for thread in threading.enumerate() if thread.name == "anyq portal"]


# -- clients


def test_a_block_commits_or_rolls_back(pool: ConnectionPool, observer: anyq.Connection) -> None:
    observer.execute("CREATE TABLE sync_pooled (n int)")
    try:
        with pool.connection() as mine:
            mine.execute("INSERT INTO sync_pooled VALUES (1)")
        with pytest.raises(ZeroDivisionError), pool.connection() as mine:
            mine.execute("INSERT INTO sync_pooled VALUES (2)")
            _ = 1 / 0
        assert observer.execute("SELECT n FROM sync_pooled").fetchall() == [(1,)]
        assert pool.get_stats()["connections_num"] == 1
    finally:
        observer.execute("DROP TABLE sync_pooled")


def test_getconn_and_putconn(pool: ConnectionPool, conn: anyq.Connection, dsn: str) -> None:
    mine = pool.getconn()
    with mine:
        mine.execute("SELECT 1")
    assert not mine.closed
    pool.putconn(mine)
    with pytest.raises(ValueError, match="was given back to the pool 'pool-.*' already"):
        pool.putconn(mine)
    with pytest.raises(ValueError, match="is of no pool"):
        pool.putconn(conn)
    with pytest.raises(ValueError, match="putconn\\(\\) takes a connection that getconn\\(\\) has returned, not None"):
        pool.putconn(None)  # type: ignore[arg-type]
    refused = pytest.raises(ValueError, match="is of the pool 'pool-.*', not of 'other'")
    with ConnectionPool(dsn, min_size=1, name="other") as other, pool.connection() as mine, refused:
        other.putconn(mine)


@pytest.mark.parametrize("closes", [True, False])
def test_given_back_inside_of_the_block(portal_backend: object, dsn: str, closes: bool) -> None:
    with ConnectionPool(dsn, min_size=1, close_returns=closes) as pool:
        assert pool.close_returns is closes
        with pool.connection() as mine:
            mine.close() if closes else pool.putconn(mine)
            others = pool.getconn()
            assert others is mine
            others.execute("SELECT 1")
        assert others.info.transaction_status.name == "INTRANS"
        others.rollback()
        pool.putconn(others)


def test_closed_by_a_client(pool: ConnectionPool) -> None:
    with pool.connection() as mine:
        mine.close()
    assert mine.closed
    assert pool.get_stats()["pool_size"] == 0
    assert pid_of_sync(pool)


def test_limits(portal_backend: object, dsn: str) -> None:
    with ConnectionPool(dsn, min_size=1, max_waiting=1, timeout=PATIENCE) as pool:
        block = pool.connection()
        with block:
            with pytest.raises(e.ProgrammingError, match="was entered already"):
                block.__enter__()
            with pytest.raises(PoolTimeout, match="had no connection within 0.01 s"):
                pool.getconn(0.01)
            waiting = Background(lambda: pid_of_sync(pool))
            wait_until(lambda: pool.get_stats()["requests_waiting"])
            with pytest.raises(TooManyRequests):
                pool.getconn()
        assert waiting.result()
        with pool.connection(), pytest.raises(e.OperationTimeout), anyq.sync.timeout(0.01):
            pool.getconn()
        assert pool.get_stats()["requests_waiting"] == 0


def test_a_connection_that_was_dropped(pool: ConnectionPool) -> None:
    conns = [pool.getconn() for _ in range(2)]
    with pytest.warns(ResourceWarning) as warned:
        del conns[0]
        gc.collect()
        conns.append(pool.getconn())
    assert any("a connection of the pool 'pool-" in str(warning.message) for warning in warned)
    assert pool.get_stats()["connections_lost"] == 1
    for mine in conns:
        pool.putconn(mine)


def test_many_killed_connections_and_more_users(portal_backend: object, dsn: str, observer: anyq.Connection) -> None:
    """With a check nobody has an error, and there are as many new connections as were killed."""
    size, users = 20, 100
    with ConnectionPool(dsn, min_size=size, check=ConnectionPool.check_connection, timeout=PATIENCE) as pool:
        pool.wait()
        conns = [pool.getconn() for _ in range(size)]
        pids = [conn.info.backend_pid for conn in conns]
        for conn in conns:
            pool.putconn(conn)
        kill_by(observer, *pids)
        threads = [Background(lambda: pid_of_sync(pool)) for _ in range(users)]
        assert not {thread.result() for thread in threads} & set(pids)
        stats = pool.get_stats()
    assert (stats["connections_num"], stats["connections_lost"], stats["pool_size"]) == (2 * size, size, size)
    assert stats["requests_errors"] == 0


def test_what_is_left_is_undone(pool: ConnectionPool) -> None:
    with pool.connection() as mine:
        mine.autocommit = True
        mine.row_factory = dict_row  # type: ignore[assignment]
        mine.cursor_factory = anyq.RawCursor
        mine.prepare_threshold = None
        mine.execute("SET work_mem TO '1234kB'")
    with pool.connection() as again:
        assert again is mine
        assert again.execute("SHOW work_mem").fetchone() == ("4MB",)
        assert not again.autocommit
        assert again.cursor_factory is anyq.Cursor
        assert again.prepare_threshold == 5


@pytest.mark.parametrize("leaves", ["break", "raise"])
def test_a_stream_that_is_dropped_costs_no_connection(pool: ConnectionPool, leaves: str) -> None:
    """An exception keeps it alive while the block is left; then nobody can go on with it."""
    with pytest.raises(ZeroDivisionError), pool.connection() as conn:
        for _ in conn.cursor().stream("SELECT generate_series(1, 1000000000000)"):
            if leaves == "break":
                break
            raise ZeroDivisionError
        raise ZeroDivisionError
    assert pool.execute("SELECT 1").fetchone() == (1,)
    assert pool.get_stats()["returns_bad"] == 0


def test_at_any_time(pool: ConnectionPool, observer: anyq.Connection) -> None:
    with pool.connection() as one, pool.connection() as two:
        pids = one.info.backend_pid, two.info.backend_pid
        ConnectionPool.check_connection(one)
    kill_by(observer, pids[0])
    pool.check()
    assert pool.get_stats()["pool_size"] == 1
    pool.resize(1, 3)
    assert (pool.min_size, pool.max_size) == (1, 3)
    assert pid_of_sync(pool) == pids[1]
    pool.drain()
    assert pid_of_sync(pool) != pids[1]
    assert pool.pop_stats()["requests_num"] == 4
    assert pool.get_stats()["requests_num"] == 0


def test_a_null_pool(portal_backend: object, dsn: str) -> None:
    with NullConnectionPool(dsn, max_size=1, timeout=PATIENCE) as pool:
        with pool.connection() as mine:
            assert mine.execute("SELECT 1").fetchone() == (1,)
        assert mine.closed
        assert pool.get_stats()["pool_size"] == 0
        with pytest.raises(ValueError, match="a null pool"):
            NullConnectionPool(dsn, min_size=1)


# -- Ctrl-C, fork; many threads are in `test_storms`


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # of connections that nobody has any more
def test_interrupted_at_any_step(portal_backend: object, dsn: str) -> None:
    """By Ctrl-C: no connection is lost for good, and none is given to two."""
    with ConnectionPool(dsn, min_size=1, timeout=PATIENCE) as pool:

        def use() -> None:
            with pool.connection() as mine:
                mine.execute("SELECT 1")

        def check(where: str) -> None:
            assert pid_of_sync(pool), where
            assert pool.get_stats()["pool_size"] == 1, where

        use()
        assert interrupt_at_each_step(use, check) > 100


@pytest.mark.any_loop
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # of pools that nobody has any more
@pytest.mark.parametrize("part", ["open", "close", "both"])
def test_its_end_interrupted_at_any_step(
    portal_backend: object, dsn: str, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By Ctrl-C, in the pool's own part of it: nothing runs on, and who closes it once more is not told of anything."""
    monkeypatch.setattr(interrupting, "PACKAGE", f"{interrupting.PACKAGE}pool{os.sep}sync_pool.py")
    pools = [ConnectionPool(dsn, min_size=1, open=False)]

    def use() -> None:
        if part == "both":
            with ConnectionPool(dsn, min_size=1):
                pass
        else:
            getattr(pools[-1], part)()

    def check(where: str) -> None:
        pools.pop().close()
        until_the_portal_has_ended()
        pools.append(ConnectionPool(dsn, min_size=1, open=part == "close"))

    check("")
    assert interrupt_at_each_step(use, check) > 10
    check("")
    pools.pop().close()


@pytest.mark.any_loop
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # of connections that nobody has any more
@pytest.mark.parametrize("kind", ["at once", "slow", "check", "few", "many", "iterator"])
def test_a_statement_interrupted_at_any_step(portal_backend: object, dsn: str, kind: str) -> None:
    """By Ctrl-C: no line, turn or place is left, and the next statement has its own result."""
    check_connection = ConnectionPool.check_connection if kind == "check" else None
    with ConnectionPool(dsn, min_size=1, max_size=1, timeout=PATIENCE, check=check_connection) as pool:
        books, multiplexer = pool._inner.books, pool._inner.multiplexer
        text = "SELECT %s::int4"

        def execute() -> None:
            if kind in ("at once", "slow", "check"):
                assert pool.execute(text, [1]).fetchall() == [(1,)]
            else:
                # An iterator's are sent by this thread itself, so that each of them is many steps.
                sets: Any = [[1]] * (300 if kind == "many" else 3)
                assert pool.executemany(text, iter(sets) if kind == "iterator" else sets).rowcount == len(sets)

        def check(where: str) -> None:
            assert pool.execute("SELECT 2").fetchall() == [(2,)], where
            wait_until(lambda: len(books.idle) == 1)
            assert not (multiplexer.running() or multiplexer.waiting), where
            assert (multiplexer._alone_running, multiplexer._alone_waiting) == (0, 0), where
            assert (len(books.out), books.busy) == (0, 0), where
            # A generator's sets have a connection in this thread, which is dropped if that comes as it is entered.
            assert kind == "iterator" or books.counters.connections_num == 1, where

        execute()
        if kind == "slow":
            multiplexer._durations[text] = 1e9
        assert interrupt_at_each_step(execute, check) > 20
        with pool.connection() as mine:
            assert not mine.autocommit


def run_program(source: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a process of its own, which ends without an error."""
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(source)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert ended.returncode == 0, ended.stderr
    return ended


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_fork(portal_backend: Any, dsn: str) -> None:
    """The child has an empty pool of its own, and whatever it does to it the parent's sessions live."""
    source = f"""
        import gc, os, sys, warnings
        warnings.simplefilter("error")
        import anyq
        from anyq.pool import ConnectionPool
        anyq.sync.set_portal_backend(*{portal_backend!r})

        def pid_of(pool):
            with pool.connection() as conn:
                return conn.execute("SELECT pg_backend_pid()").fetchone()[0]

        pool = ConnectionPool({dsn!r}, min_size=2)
        pool.wait()
        mine = pool.getconn()
        parents = mine.info.backend_pid, pid_of(pool)
        child = os.fork()
        if not child:
            status = 1
            try:
                assert not pool.closed
                assert pid_of(pool) not in parents
                pool.putconn(mine)  # the parent's: nothing is to be done here
                del mine
                gc.collect()
                pool.close()
                assert pool.closed
                status = 0
            finally:
                sys.stdout.flush()
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert mine.execute("SELECT 1").fetchone() == (1,)
        assert pid_of(pool) == parents[1]
        mine.rollback()
        pool.putconn(mine)
        pool.close()
        print("well")
    """
    assert run_program(source).stdout == "well\n"


@pytest.mark.any_loop
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_fork_while_threads_wait(portal_backend: Any, dsn: str) -> None:
    """Neither those who wait for a connection nor who is about to open one keep anything locked in the child."""
    source = f"""
        import os, sys, threading, warnings
        warnings.simplefilter("error")
        # Python 3.12 warns of what is done here.
        warnings.filterwarnings("ignore", message=".*fork.*", category=DeprecationWarning)
        import anyq
        from anyq.pool import ConnectionPool
        anyq.sync.set_portal_backend(*{portal_backend!r})
        go_on = threading.Event()

        def dsn():
            # In a thread of the pool's own, which the child has not.
            if pool.get_stats()["connections_num"] == 2:
                go_on.wait()
            return {dsn!r}

        pool = ConnectionPool(dsn, min_size=1, max_size=2)
        held = pool.getconn()
        got = []

        def work():
            got.append(pool.execute("SELECT 1").fetchone())
            with pool.connection() as conn:
                got.append(conn.execute("SELECT 1").fetchone())

        threads = [threading.Thread(target=work) for _ in range(5)]
        for thread in threads:
            thread.start()
        while pool.get_stats()["requests_waiting"] < 5 or pool.get_stats()["connections_num"] < 2:
            pass
        child = os.fork()
        if not child:
            status = 1
            try:
                assert (pool.get_stats()["pool_size"], pool.get_stats()["requests_waiting"]) == (0, 0)
                assert pool.execute("SELECT 1").fetchone() == (1,)
                with pool.connection() as conn:
                    assert conn.execute("SELECT 2").fetchone() == (2,)
                pool.close()
                status = 0
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        go_on.set()
        held.rollback()
        pool.putconn(held)
        for thread in threads:
            thread.join()
        assert got == [(1,)] * 10
        pool.close()
        print("well")
    """
    assert run_program(source).stdout == "well\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_fork_with_a_pool_for_tasks(dsn: str) -> None:
    """It is its event loop's, and so its process': a child is told, and the parent's sessions live."""
    source = f"""
        import asyncio, gc, os
        import anyq
        from anyq.pool import AsyncConnectionPool

        async def child_of(pool):
            for call in (pool.getconn, pool.close):
                try:
                    await call()
                except anyq.InterfaceError as error:
                    assert "make a pool in each event loop" in str(error)
            async with AsyncConnectionPool({dsn!r}, min_size=1) as other:
                assert await (await other.execute("SELECT 1")).fetchone() == (1,)

        async def main():
            async with AsyncConnectionPool({dsn!r}, min_size=2) as pool:
                await pool.wait()
                held = await pool.getconn()
                child = os.fork()
                if not child:
                    status = 1
                    try:
                        asyncio.events._set_running_loop(None)
                        asyncio.run(child_of(pool))
                        del held
                        gc.collect()
                        status = 0
                    finally:
                        os._exit(status)
                assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
                assert await (await held.execute("SELECT 1")).fetchone() == (1,)
                await held.rollback()
                await pool.putconn(held)
                async with pool.connection(), pool.connection() as conn:
                    await conn.execute("SELECT 1")
                assert pool.get_stats()["connections_num"] == 2
            print("well")

        asyncio.run(main())
    """
    assert run_program(source).stdout == "well\n"


def test_the_end_of_the_interpreter(portal_backend: Any, dsn: str) -> None:
    """Whoever forgets to close a pool is told, and the process ends."""
    source = f"""
        from anyq.pool import ConnectionPool
        pool = ConnectionPool({dsn!r}, min_size=1)
        pool.wait()
        mine = pool.getconn()
    """
    run_program(source)


# -- arguments of no use


@pytest.mark.parametrize("wrong", ["x", [], int], ids=["str", "list", "class"])
def test_times_that_are_none(pool: ConnectionPool, wrong: Any) -> None:
    message = "timeout must be a number of seconds, or None, not"
    with pytest.raises(TypeError, match=message):
        pool.getconn(wrong)
    with pytest.raises(TypeError, match=message), pool.connection(wrong):
        raise AssertionError
    with pytest.raises(TypeError, match=message):
        pool.wait(wrong)
    with pytest.raises(TypeError, match=message):
        pool.close(wrong)
    with pool.connection() as conn:
        assert conn.execute("SELECT 1").fetchone() == (1,)
