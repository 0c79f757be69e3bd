"""What a pool for threads does otherwise inside: the user's functions are called in worker threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

import anyq
from anyq import errors as e
from anyq.pool import ConnectionPool, PoolTimeout
from anyq.rows import dict_row
from tests.support.activity import PATIENCE
from tests.support.pools import kill_by, pid_of_sync, wait_until
from tests.sync.conftest import conn, observer, portal_backend, pytest_generate_tests, way

__all__ = ["conn", "observer", "portal_backend", "pytest_generate_tests", "way"]


class Mine(anyq.Connection[Any]):
    """A class of the user's."""


def test_arguments(portal_backend: object, dsn: str) -> None:
    """Functions of the user's are called in worker threads, where they may use the connection."""
    called: list[tuple[str, object]] = []

    def callback(what: str) -> Callable[[Any], None]:
        def call(mine: Mine) -> None:
            assert threading.current_thread().name != "anyq portal"
            assert mine.execute("SELECT 1 AS n").fetchone() == {"n": 1}
            mine.rollback()
            called.append((what, type(mine)))

        return call

    with ConnectionPool(
        lambda: dsn,
        min_size=1,
        connection_class=Mine,
        kwargs=lambda: {"row_factory": dict_row, "cursor_factory": anyq.ClientCursor},
        configure=callback("configure"),
        check=callback("check"),
        reset=callback("reset"),
    ) as pool:
        with pool.connection() as mine:
            assert type(mine) is Mine
            assert type(mine.cursor()) is anyq.ClientCursor
        with pool.connection():
            pass
    names = ["configure", "check", "reset", "check", "reset"]
    assert called == [(name, Mine) for name in names]


def test_reconnect_failed_is_given_the_pool(portal_backend: object) -> None:
    told: list[object] = []
    pool: ConnectionPool
    with ConnectionPool(
        "host=/nowhere", min_size=1, reconnect_timeout=0, reconnect_failed=told.append, open=False
    ) as pool:
        with pytest.raises(PoolTimeout):
            pool.getconn()
        wait_until(lambda: told)
        assert told[0] is pool


def test_check_connection_as_a_check(portal_backend: object, dsn: str, observer: anyq.Connection) -> None:
    with ConnectionPool(dsn, min_size=1, check=ConnectionPool.check_connection) as pool:
        pid = pid_of_sync(pool)
        kill_by(observer, pid)
        assert pid_of_sync(pool) != pid
        assert pool.get_stats()["requests_errors"] == 0


def test_a_check_that_takes_too_long(portal_backend: object, dsn: str) -> None:
    """Its thread goes on with the connection, which is therefore nobody else's any more."""
    over = threading.Event()
    seen: list[Any] = []

    def check(mine: anyq.Connection[Any]) -> None:
        seen.append(mine)
        if len(seen) == 1:
            over.wait(PATIENCE)
            with suppress(e.Error):
                mine.execute("SET work_mem TO '1234kB'")
            seen.append(None)

    with ConnectionPool(dsn, min_size=1, check=check) as pool:
        with pytest.raises(PoolTimeout):
            pool.getconn(0.5)
        assert seen[0].closed
        with pool.connection(PATIENCE) as mine:
            assert mine is not seen[0]
            over.set()
            wait_until(lambda: seen[-1] is None)
            assert mine.execute("SHOW work_mem").fetchone() == ("4MB",)
