"""Two-phase commit in synchronous code."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import anyq
from anyq import TransactionStatus
from anyq import errors as e
from tests.support.server import Server
from tests.support.state import status
from tests.support.two_phase import leave_none, need_two_phase, prepared_here


@pytest.fixture(autouse=True)
def _two_phase(server: Server) -> Iterator[None]:
    need_two_phase(server)
    yield
    leave_none(server.dsn)


def test_both_phases(conn: anyq.Connection, observer: anyq.Connection) -> None:
    xid = conn.xid(1, "it's", "\\")
    conn.tpc_begin(xid)
    with pytest.raises(e.ProgrammingError, match="two-phase"):
        conn.autocommit = True
    with pytest.raises(e.ProgrammingError, match="two-phase"), conn.transaction():
        pass
    conn.tpc_prepare()
    (found,) = prepared_here(observer)
    assert found == xid
    assert (found.owner, found.database) == (conn.info.user, conn.info.dbname)
    with pytest.raises(e.ProgrammingError, match="it is prepared"):
        conn.execute("SELECT 1")
    conn.tpc_commit()
    assert prepared_here(observer) == []
    assert conn.execute("SELECT 1").fetchone() == (1,)


def test_recovery(portal_backend: object, dsn: str, observer: anyq.Connection) -> None:
    with anyq.connect(dsn) as conn:
        conn.tpc_begin("anyq test")
        conn.tpc_prepare()
    (xid,) = prepared_here(observer)
    observer.tpc_rollback(xid)
    assert prepared_here(observer) == []


def test_a_failed_transaction(conn: anyq.Connection) -> None:
    conn.tpc_begin("anyq test")
    with pytest.raises(e.DivisionByZero):
        conn.execute("SELECT 1/0")
    with pytest.raises(e.InFailedSqlTransaction):
        conn.tpc_prepare()
    conn.tpc_rollback()
    assert status(conn) is TransactionStatus.IDLE


def test_beginning_that_is_interrupted_too_late(conn: anyq.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has begun, but the caller was interrupted: nobody would end it."""
    call = conn.calls.call

    def interrupted(*args: object) -> None:
        call(*args)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    monkeypatch.setattr(conn.calls, "call", interrupted)
    with pytest.raises(KeyboardInterrupt):
        conn.tpc_begin("anyq test")
    monkeypatch.undo()
    assert status(conn) is TransactionStatus.IDLE
    conn.tpc_begin("anyq test")
    conn.tpc_rollback()


def test_a_closed_connection(conn: anyq.Connection) -> None:
    conn.close()
    for call in (conn.tpc_prepare, conn.tpc_commit, conn.tpc_recover):
        with pytest.raises(e.OperationalError, match="closed"):
            call()
