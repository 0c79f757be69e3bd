"""The examples that show psycopg's users how to work synchronously, with the name of the package replaced."""

from __future__ import annotations

import logging
import selectors
import sys
from collections.abc import Iterator

import pytest

import anyq

logger = logging.getLogger(__name__)


def test_with_blocks(portal_backend: object, dsn: str) -> None:
    with anyq.connect(dsn) as conn:
        with conn.cursor() as cur:
            cur.execute("SELECT 1")
        assert cur.closed
        # the cursor is closed upon leaving the context
    # the transaction is committed, the connection closed
    assert conn.closed


def test_the_basic_calls(conn: anyq.Connection, capsys: pytest.CaptureFixture[str]) -> None:
    with conn.cursor() as cur:
        cur.execute("CREATE TEMP TABLE test (id serial PRIMARY KEY, num int, data text)")
        cur.execute("INSERT INTO test (num, data) VALUES (%s, %s)", (100, "abc'def"))
        cur.execute("SELECT * FROM test")
        assert cur.fetchone() == (1, 100, "abc'def")
        cur.execute("SELECT * FROM test")
        for record in cur:
            print(record)
    assert capsys.readouterr().out == '(1, 100, "abc\'def")\n'


@pytest.fixture
def autocommit_conn(portal_backend: object, dsn: str) -> Iterator[anyq.Connection]:
    conn = anyq.connect(dsn, autocommit=True)
    yield conn
    conn.close()


def test_notifications_by_the_generator(
    autocommit_conn: anyq.Connection, observer: anyq.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    conn = autocommit_conn
    conn.cursor().execute("LISTEN mychan")
    # meanwhile in psql...
    for payload in ("hello", "hey", "stop", "never printed"):
        observer.execute("SELECT pg_notify('mychan', %s)", [payload])
    gen = conn.notifies()
    for notify in gen:
        print(notify)
        if notify.payload == "stop":
            gen.close()
    print("there, I stopped")
    pid = observer.info.backend_pid
    assert capsys.readouterr().out.splitlines() == [
        *(f"Notify(channel='mychan', payload={payload!r}, pid={pid})" for payload in ("hello", "hey", "stop")),
        "there, I stopped",
    ]
    assert conn.execute("SELECT 1").fetchone() == (1,)


def test_notifications_by_a_handler(
    autocommit_conn: anyq.Connection, observer: anyq.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    conn = autocommit_conn
    conn.execute("LISTEN mychan")
    conn.add_notify_handler(lambda n: print(f"got this: {n}"))
    # meanwhile in psql...
    observer.execute("NOTIFY mychan, 'hey'")
    print(conn.cursor().execute("SELECT 1").fetchone())
    pid = observer.info.backend_pid
    assert capsys.readouterr().out == f"got this: Notify(channel='mychan', payload='hey', pid={pid})\n(1,)\n"


def test_detecting_disconnections(
    conn: anyq.Connection, observer: anyq.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    sel = selectors.DefaultSelector()
    sel.register(conn, selectors.EVENT_READ)
    waits = 0

    def watch() -> None:
        nonlocal waits
        while True:
            # In the example a minute, of which nobody wants to wait for the first here.
            if not sel.select(timeout=60.0 if waits else 0):
                waits += 1
                # What the example waits for.
                observer.execute("SELECT pg_terminate_backend(%s)", [conn.info.backend_pid])
                continue  # No FD activity detected in one minute

            # Activity detected. Is the connection still ok?
            try:
                conn.execute("SELECT 1")
            except anyq.OperationalError:
                # You were disconnected: do something useful such as panicking
                logger.error("we lost our database!")
                sys.exit(1)

    with pytest.raises(SystemExit):
        watch()
    sel.close()
    assert [record.message for record in caplog.records] == ["we lost our database!"]
    assert waits == 1
