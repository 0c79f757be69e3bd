"""timeout(): calls that take longer are cancelled, and everything is usable afterwards."""

from __future__ import annotations

import socket
import threading

import pytest

import anyq
from anyq.sync.timeout import time_limit
from tests.support.activity import PATIENCE


def test_blocks_nest() -> None:
    assert time_limit.get() is None
    with anyq.sync.timeout(5):
        with anyq.sync.timeout(None):
            assert time_limit.get() is None
        with pytest.raises(ZeroDivisionError), anyq.sync.timeout(0):
            assert time_limit.get() == 0
            raise ZeroDivisionError
        assert time_limit.get() == 5
    assert time_limit.get() is None


def test_a_limit_is_the_threads() -> None:
    seen: list[float | None] = []
    with anyq.sync.timeout(5):
        thread = threading.Thread(target=lambda: seen.append(time_limit.get()), name="no context of its parent's")
        thread.start()
        thread.join()
    assert seen in ([None], [5])  # By Python 3.14's option thread_inherit_context.


@pytest.mark.parametrize("seconds", [-1, float("nan")])
def test_bad_timeouts(seconds: float) -> None:
    with pytest.raises(ValueError, match="0 or more"), anyq.sync.timeout(seconds):
        pass


def test_the_connection_is_usable_afterwards(conn: anyq.Connection) -> None:
    conn.autocommit = True
    # However long it takes until the server sleeps: it sleeps longer.
    with anyq.sync.timeout(0.05), pytest.raises(anyq.errors.OperationTimeout, match=r"within the 0\.05 s"):
        conn.execute("SELECT pg_sleep(60)")
    assert issubclass(anyq.errors.OperationTimeout, anyq.OperationalError)
    with anyq.sync.timeout(PATIENCE):
        for _ in range(100):
            assert conn.execute("SELECT 1").fetchone() == (1,)


def test_no_limit_inside_of_one(conn: anyq.Connection) -> None:
    with anyq.sync.timeout(0):
        with pytest.raises(anyq.errors.OperationTimeout, match=r"within the 0 s"):
            conn.execute("SELECT 1")
        with anyq.sync.timeout(None):
            cursor = conn.execute("SELECT 1")
        # What has arrived waits for nothing.
        assert cursor.fetchone() == (1,)


def test_in_a_transaction(conn: anyq.Connection) -> None:
    with pytest.raises(anyq.errors.OperationTimeout), conn.transaction():
        conn.execute("CREATE TEMP TABLE gone ()")
        with anyq.sync.timeout(0.05):
            conn.execute("SELECT pg_sleep(60)")
    assert conn.info.transaction_status == anyq.TransactionStatus.IDLE
    assert conn.execute("SELECT to_regclass('gone')").fetchone() == (None,)


def test_in_connect(portal_backend: object) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, anyq.sync.timeout(0.05):
        port = silent.getsockname()[1]
        with pytest.raises(anyq.errors.OperationTimeout):
            anyq.connect(f"host=127.0.0.1 port={port} user=x sslmode=disable")


def test_a_time_that_is_none() -> None:
    with pytest.raises(TypeError, match="seconds must be a number, not '5'"), anyq.sync.timeout("5"):  # type: ignore[arg-type]
        pass
