"""Connections of a pool for threads: a client's thread runs its calls itself, and the pool's tasks never meet it."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from anyio.from_thread import start_blocking_portal

import anyq
from anyq import errors as e
from anyq.pool import ConnectionPool, NullConnectionPool
from tests.support.activity import PATIENCE, SCALE
from tests.support.interrupting import interrupt_at_each_step
from tests.sync.conftest import (
    background,
    conn,
    crossings,
    observer,
    portal_backend,
    pytest_generate_tests,
    until_active,
    way,
)
from tests.sync.test_threads import ask

__all__ = [
    "background",
    "conn",
    "crossings",
    "observer",
    "portal_backend",
    "pytest_generate_tests",
    "until_active",
    "way",
]


@pytest.fixture
def pool(way: str, portal_backend: object, dsn: str) -> Iterator[ConnectionPool]:
    """A pool of one connection that is made directly."""
    if way != "direct":
        pytest.skip("it is about what is run directly")
    with ConnectionPool(dsn, min_size=1, max_size=1, timeout=PATIENCE) as pool:
        pool.wait()
        yield pool


def test_a_clients_calls_cross_to_no_thread(pool: ConnectionPool, crossings: list[str]) -> None:
    for _ in range(2):
        with pool.connection() as conn:
            assert crossings.pop() == "get"
            assert conn.execute("SELECT %s::int", [1]).fetchone() == (1,)
            conn.rollback()
            with conn.transaction():
                conn.cursor().executemany("SELECT %s::int", [[1], [2]])
            with conn.pipeline():
                assert conn.execute("SELECT 2").fetchone() == (2,)
            assert crossings == []
        assert crossings.pop() == "end"
    with pool.transaction() as conn:
        crossings.clear()
        conn.execute("SELECT 1")
        assert crossings == []
    crossings.clear()
    assert pool.execute("SELECT 3").fetchone() == (3,)
    assert crossings == ["execute"]


def test_who_still_has_a_connection_goes_by_the_portal(pool: ConnectionPool, crossings: list[str]) -> None:
    """It is the pool's, whose tasks use it: to run a statement of `pool.execute()`, say."""
    conn = pool.getconn()
    pool.putconn(conn)
    crossings.clear()
    assert conn.execute("SELECT 1").fetchone() == (1,)
    conn.rollback()
    assert crossings == ["execute", "rollback"]
    with pool.connection() as again:
        assert again is conn
        crossings.clear()
        assert conn.execute("SELECT 3").fetchone() == (3,)
        assert crossings == []


def test_returned_while_another_thread_drives(
    pool: ConnectionPool, until_active: Callable[..., None], background: Callable[..., Any]
) -> None:
    """Its statement is handed over first; then the pool sees it, and closes the connection."""
    conn = pool.getconn()
    begun = threading.Event()

    def use() -> None:
        conn.execute("SELECT 1")  # a thread's first call is the portal's
        begun.set()
        conn.execute("SELECT pg_sleep(60)")

    query = background(use)
    assert begun.wait(PATIENCE)
    until_active(conn)
    pool.putconn(conn)
    with pytest.raises(e.OperationalError):
        query.result()
    assert conn.closed
    with pool.connection() as other:
        assert other.execute("SELECT 1").fetchone() == (1,)
    assert pool.get_stats()["returns_bad"] == 1


def test_one_that_is_not_this_pools_stays_with_its_client(
    pool: ConnectionPool, portal_backend: object, dsn: str, crossings: list[str]
) -> None:
    with ConnectionPool(dsn, min_size=0, max_size=1) as other, other.connection() as conn:
        with pytest.raises(ValueError):
            pool.putconn(conn)
        crossings.clear()
        assert conn.execute("SELECT 1").fetchone() == (1,)
        assert crossings == []


def test_close_that_returns(way: str, portal_backend: object, dsn: str, crossings: list[str]) -> None:
    if way != "direct":
        pytest.skip("it is about what is run directly")
    with ConnectionPool(dsn, min_size=1, max_size=1, close_returns=True) as pool:
        for _ in range(2):
            conn = pool.getconn()
            crossings.clear()
            with conn:
                conn.execute("SELECT 1")
            conn.close()
            assert crossings == ["__aexit__", "instead_of_closing"]
            assert conn.execute("SELECT 1").fetchone() == (1,)
            assert crossings.pop() == "execute"
            conn.rollback()


def test_functions_of_the_users(way: str, portal_backend: object, dsn: str, crossings: list[str]) -> None:
    """They have the connection while it is the pool's, in other threads, and leave it to the loop."""

    def use(conn: anyq.Connection) -> None:
        for i in range(3):  # a thread's first call would go there anyhow
            assert conn.execute("SELECT %s::int", [i]).fetchone() == (i,)
        conn.rollback()

    with ConnectionPool(dsn, min_size=1, max_size=1, configure=use, check=use, reset=use) as pool:
        pool.wait()
        crossings.clear()
        with pool.connection():
            pass
        assert sorted(crossings) == ["end", *["execute"] * 6, "get", *["rollback"] * 2]


def test_reading_async_connection_lets_tasks_in(pool: ConnectionPool, crossings: list[str]) -> None:
    """For as long as the connection is open: whoever has got hold of it may still have it."""
    for _ in range(2):
        with pool.connection() as conn:
            assert conn.async_connection
            crossings.clear()
            conn.execute("SELECT 1")
            assert crossings == ["execute"]


def test_in_the_callers_portal_nothing_is_driven(dsn: str) -> None:
    with (
        start_blocking_portal("asyncio") as portal,
        ConnectionPool(dsn, min_size=1, portal=portal) as pool,
        pool.connection() as conn,
    ):
        assert conn.calls._direct is None  # pyright: ignore[reportPrivateUsage]
        assert conn.execute("SELECT 1").fetchone() == (1,)


def test_the_environment_has_a_wrong_value(portal_backend: object, dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is told at once, and not by a pool that cannot open connections."""
    monkeypatch.setenv("ANYQ_SYNC", "protal")
    with pytest.raises(anyq.ProgrammingError, match="ANYQ_SYNC must be 'direct' or 'portal', not 'protal'"):
        ConnectionPool(dsn)
    monkeypatch.setenv("ANYQ_SYNC", "portal")
    with ConnectionPool(dsn, min_size=1) as pool, pool.connection() as conn:
        assert conn.calls._direct is None  # pyright: ignore[reportPrivateUsage]


@pytest.mark.any_loop
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # of connections that nobody has any more
def test_a_clients_statements_interrupted_at_any_step(way: str, portal_backend: object, dsn: str) -> None:
    """By Ctrl-C: the connection comes back, clean, or is closed; and the next client drives again."""
    with ConnectionPool(dsn, min_size=1, max_size=1, timeout=PATIENCE) as pool:
        books = pool._inner.books
        pool.wait()

        def use() -> None:
            with pool.connection() as conn:
                assert conn.execute("SELECT %s::int", [1]).fetchone() == (1,)

        def check(where: str) -> None:
            with pool.connection() as conn:
                assert conn.info.transaction_status == anyq.pq.TransactionStatus.IDLE, where
                assert conn.execute("SELECT 3").fetchone() == (3,), where
                direct: Any = conn.calls._direct
                assert direct is None or direct._driver is None and not direct._paused, where
            assert (len(books.out), books.busy) == (0, 0), where

        check("before")
        assert interrupt_at_each_step(use, check) > 100


@pytest.mark.parametrize("cls", [ConnectionPool, NullConnectionPool])
def test_many_threads(
    way: str, portal_backend: object, dsn: str, background: Callable[..., Any], cls: type[ConnectionPool]
) -> None:
    """Clients, statements without a connection, and checks, at the same time: each has its own answers."""
    pool: ConnectionPool

    def work(seed: int) -> None:
        dice = random.Random(seed)
        for number in range(10 * SCALE):
            value = 1000 * seed + number
            kind = dice.randrange(12)
            if kind < 5:
                with pool.connection() as conn:
                    conn.autocommit = True
                    ask(conn, value, 3)
            elif kind < 9:
                with pool.connection() as conn:
                    assert conn.execute("SELECT %s::int", [value]).fetchone() == (value,)
            elif kind < 11:
                assert pool.execute("SELECT %s::int8", [value]).fetchone() == (value,)
            elif seed % 2:
                pool.check()
            else:
                pool.drain()

    with cls(dsn, max_size=4, timeout=PATIENCE, max_lifetime=0.2) as pool:
        for worker in [background(lambda seed=seed: work(seed)) for seed in range(8)]:
            worker.result()
        assert not pool._inner.books.out
        assert not pool.get_stats().get("returns_bad")
