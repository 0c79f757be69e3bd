"""Connection: the synchronous shell around the asynchronous one."""

from __future__ import annotations

import gc
import selectors
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from anyio.from_thread import start_blocking_portal

import anyq
from anyq import errors as e
from anyq.adapt.typeinfo import TypeInfo
from anyq.rows import dict_row


def test_a_block_commits_and_closes(portal_backend: object, dsn: str) -> None:
    with anyq.connect(dsn) as conn:
        assert conn.execute("SELECT 1").fetchone() == (1,)
    assert conn.closed and not conn.broken
    conn.close()


def test_a_block_rolls_back_on_an_error(observer: anyq.Connection, dsn: str) -> None:
    with pytest.raises(ZeroDivisionError), anyq.connect(dsn) as conn:
        conn.execute("CREATE TABLE anyq_sync_rolled_back ()")
        raise ZeroDivisionError
    assert observer.execute("SELECT to_regclass('anyq_sync_rolled_back')").fetchone() == (None,)


def test_what_a_closed_connection_says(portal_backend: object, dsn: str) -> None:
    conn = anyq.connect(dsn)
    cursor = conn.execute("SELECT 1")
    stream = conn.cursor().stream("SELECT 1")
    conn.close()
    for use in (
        lambda: conn.execute("SELECT 1"),
        conn.commit,
        conn.cursor,
        conn.fileno,
        conn.notifies,
        lambda: conn.listen("a"),
        lambda: conn.notify("a"),
        lambda: cursor.execute("SELECT 1"),
        lambda: cursor.executemany("SELECT %s", [(1,)]),
        lambda: next(stream),
        lambda: conn.transaction().__enter__(),
        lambda: conn.set_autocommit(True),
    ):
        with pytest.raises(anyq.OperationalError, match="closed"):
            use()
    conn.wait_disconnected()


def test_commit_and_rollback(conn: anyq.Connection) -> None:
    conn.execute("CREATE TEMP TABLE t (i int)")
    conn.commit()
    conn.execute("INSERT INTO t VALUES (1)")
    conn.rollback()
    assert conn.execute("SELECT count(*) FROM t").fetchone() == (0,)


def test_factories(portal_backend: object, dsn: str) -> None:
    class MyCursor(anyq.Cursor[Any]):
        pass

    with anyq.connect(dsn, row_factory=dict_row, cursor_factory=MyCursor, prepare_threshold=0) as conn:
        cursor = conn.execute("SELECT 1 AS one")
        assert isinstance(cursor, MyCursor)
        assert cursor.fetchone() == {"one": 1}
        assert conn.prepare_threshold == 0
        conn.prepare_threshold = None
        conn.prepared_max = 3
        assert (conn.prepare_threshold, conn.prepared_max) == (None, 3)


def test_what_is_known(conn: anyq.Connection) -> None:
    assert conn.info.server_version > 90000
    assert conn.info.transaction_status == anyq.TransactionStatus.IDLE
    assert conn.encoding == "utf-8"
    assert conn.connection is conn
    assert repr(conn).startswith("<anyq.sync.connection.Connection [IDLE] (host=")
    assert anyq.sql.SQL("{}").format(anyq.sql.Identifier("a b")).as_string(conn) == '"a b"'


def test_connecting_fails_as_it_does_elsewhere(portal_backend: object) -> None:
    with pytest.raises(anyq.OperationalError):
        anyq.connect("host=/nowhere")
    with pytest.raises(anyq.ProgrammingError):
        anyq.connect("nonsense=1")


def test_cancel_from_another_thread(
    conn: anyq.Connection, background: Callable[..., Any], until_active: Callable[..., None]
) -> None:
    query = background(lambda: conn.execute("SELECT pg_sleep(30)"))
    until_active(conn)
    conn.cancel()
    with pytest.raises(anyq.errors.QueryCanceled):
        query.result()
    conn.rollback()
    conn.cancel_safe(timeout=5)
    assert conn.execute("SELECT 1").fetchone() == (1,)


def test_fileno_can_be_waited_on(conn: anyq.Connection, observer: anyq.Connection) -> None:
    with selectors.DefaultSelector() as selector:
        selector.register(conn, selectors.EVENT_READ)
        assert not selector.select(timeout=0)
        observer.execute("SELECT pg_terminate_backend(%s)", [conn.info.backend_pid])
        assert selector.select(timeout=30)
        with pytest.raises(anyq.OperationalError, match="terminating connection"):
            conn.execute("SELECT 1")
    assert conn.closed and conn.broken


def test_closing_interrupts_other_threads(
    conn: anyq.Connection, background: Callable[..., Any], until_active: Callable[..., None]
) -> None:
    query = background(lambda: conn.execute("SELECT pg_sleep(30)"))
    until_active(conn)
    conn.close()
    with pytest.raises(anyq.OperationalError, match="closed"):
        query.result()


def test_a_forgotten_connection_is_told_and_lets_the_portal_go(portal_backend: object, dsn: str) -> None:
    conn: Any = anyq.connect(dsn)
    portal = conn.calls.portal
    with pytest.warns(ResourceWarning, match=r"anyq\.sync\.connection\.Connection .* was never closed"):
        del conn
        gc.collect()
    portal.join(30)


# -- portals


def test_the_shared_portal_is_there_while_it_is_used(portal_backend: tuple[str, Any], dsn: str) -> None:
    def threads() -> list[str]:
        return [thread.name for thread in threading.enumerate() if thread.name == "anyq portal"]

    assert threads() == []
    for _ in range(2):
        first, second = anyq.connect(dsn), anyq.connect(dsn)
        assert threads() == ["anyq portal"]
        with pytest.raises(anyq.ProgrammingError, match="the shared portal is running"):
            anyq.sync.set_portal_backend("trio")
        first.close()
        assert second.execute("SELECT 1").fetchone() == (1,)
        second.close()
        assert threads() == []


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_portal_of_the_callers(backend: str, dsn: str) -> None:
    with start_blocking_portal(backend) as portal:
        with anyq.connect(dsn, portal=portal) as conn:
            assert conn.execute("SELECT 1").fetchone() == (1,)
            assert conn.async_connection.session.wire.backend.name == backend
        left = anyq.connect(dsn, portal=portal)
        assert not any(thread.name == "anyq portal" for thread in threading.enumerate())
    with pytest.raises(anyq.InterfaceError, match="has stopped"):
        left.execute("SELECT 1")
    assert left.closed
    with pytest.raises(anyq.InterfaceError, match="has stopped"):
        anyq.connect(dsn, portal=portal)
    with warnings.catch_warnings():
        # Its loop has ended before it.
        warnings.simplefilter("ignore", ResourceWarning)
        left.close()
        del left, conn
        gc.collect()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_threads_of_an_application_share_its_connection(backend: str, dsn: str) -> None:
    async def main() -> None:
        async with (
            anyq.AsyncConnection.connect(dsn, row_factory=dict_row) as aconn,
            anyio.from_thread.BlockingPortal() as portal,
        ):

            def work(number: int) -> Any:
                conn = anyq.Connection.from_async(aconn, portal=portal)
                assert conn.async_connection is aconn
                return conn.execute("SELECT %s::int AS n", [number]).fetchone()

            results: list[Any] = []

            async def run(number: int) -> None:
                results.append(await anyio.to_thread.run_sync(work, number))

            async with anyio.create_task_group() as group:
                for number in range(10):
                    group.start_soon(run, number)
                await aconn.execute("SELECT 1")
            assert sorted(row["n"] for row in results) == list(range(10))
            with pytest.raises(anyq.InterfaceError, match="its own portal's event loop"):
                anyq.Connection.from_async(aconn, portal=portal)
            conn = await anyio.to_thread.run_sync(lambda: anyq.Connection.from_async(aconn, portal=portal))
            with pytest.raises(anyq.InterfaceError, match="its own portal's event loop"):
                conn.execute("SELECT 1")
            with pytest.raises(anyq.InterfaceError, match="its own portal's event loop"):
                anyq.connect(dsn, portal=portal)
            del conn
        assert aconn.closed

    anyio.run(main, backend=backend)


@pytest.mark.every_way
def test_handlers_cannot_use_the_connection(way: str, conn: anyq.Connection, caplog: pytest.LogCaptureFixture) -> None:
    threads = []

    def handler(diagnostic: object) -> None:
        threads.append(threading.current_thread().name)
        conn.commit()

    conn.add_notice_handler(handler)
    conn.execute("DO $$ BEGIN RAISE NOTICE 'hello'; END $$")
    (record,) = caplog.records
    # At the first look for it, the notice may be there.
    here = way == "direct" or way == "waits" and threads != ["anyq portal"]
    assert threads == [threading.current_thread().name if here else "anyq portal"]
    reason = "amid a call of the same thread" if here else "its own portal's event loop"
    assert reason in str(record.exc_info)
    assert conn.execute("SELECT 1").fetchone() == (1,)


def test_inside_a_loop_that_is_not_the_portals(portal_backend: object, dsn: str) -> None:
    async def main() -> Any:
        with anyq.connect(dsn) as conn:
            return conn.execute("SELECT 1").fetchone()

    assert anyio.run(main) == (1,)


def test_types_are_fetched(conn: anyq.Connection) -> None:
    conn.execute("CREATE TYPE pg_temp.anyq_mood AS ENUM ('fine')")
    info = TypeInfo.fetch(conn, "pg_temp.anyq_mood")
    assert info is not None
    info.register(conn)
    assert conn.execute("SELECT array['fine', null]::pg_temp.anyq_mood[]").fetchone() == (["fine", None],)
    assert TypeInfo.fetch(conn, "no_such_type") is None
    conn.close()
    with pytest.raises(e.OperationalError, match="closed"):
        TypeInfo.fetch(conn, "text")


# -- at the end of the program


@pytest.mark.any_loop
@pytest.mark.parametrize(
    "body",
    [
        "kept = anyq.connect(sys.argv[1])",
        "kept = anyq.connect(sys.argv[1]); kept.execute('SELECT 1')",
        "kept = anyq.connect(sys.argv[1]).execute('SELECT 1')",
        "kept = anyq.connect(sys.argv[1]); kept.itself = kept",
        "kept = anyq.connect(sys.argv[1]); kept.itself = kept; del kept",
        "kept = anyq.connect(sys.argv[1]).transaction(); kept.__enter__()",
        "kept = []; t = threading.Thread(target=lambda: kept.append(anyq.connect(sys.argv[1]))); t.start(); t.join()",
        "anyq.kept = anyq.connect(sys.argv[1])",
    ],
)
def test_a_connection_that_is_open_at_the_end_of_the_program(body: str, portal_backend: Any, dsn: str) -> None:
    """It is told of in the words of this interface, once."""
    program = f"import sys, threading, anyq\nanyq.sync.set_portal_backend(*eval(sys.argv[2]))\n{body}"
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", program, dsn, repr(portal_backend)],
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert done.stderr.count(b"was never closed") == 1
    assert b"anyq.sync.connection.Connection [" in done.stderr and b"use 'with' or call its close()" in done.stderr
    assert b"AsyncConnection" not in done.stderr and b"async with" not in done.stderr
    assert b"[closed]" not in done.stderr
    assert b"Exception ignored" not in done.stderr


@pytest.mark.parametrize(
    "body", ["kept = anyq.connect(sys.argv[1]); kept.close()", "with anyq.connect(sys.argv[1]) as k: pass"]
)
def test_a_connection_that_is_closed_before_the_end_of_the_program(body: str, dsn: str) -> None:
    program = f"import sys, anyq\n{body}"
    done = subprocess.run([sys.executable, "-W", "always", "-c", program, dsn], capture_output=True, timeout=60)
    assert b"never closed" not in done.stderr
