"""What programs read of libpq's objects."""

from __future__ import annotations

import os
from typing import Any

import pytest

import anyq
from anyq.contrib.psycopg.libpq import PGconn, result_of_cursor
from anyq.pq import ConnStatus, ExecStatus, TransactionStatus


def test_a_connection(dsn: str) -> None:
    with anyq.connect(dsn) as conn:
        libpq = PGconn(conn)
        info = conn.info
        assert (libpq.status, libpq.transaction_status) == (ConnStatus.OK, TransactionStatus.IDLE)
        conn.execute("SELECT 1")
        assert libpq.transaction_status == TransactionStatus.INTRANS
        assert (libpq.server_version, libpq.backend_pid) == (info.server_version, info.backend_pid)
        assert (libpq.db, libpq.user, libpq.host) == (info.dbname.encode(), info.user.encode(), info.host.encode())
        assert (libpq.port, libpq.error_message) == (str(info.port).encode(), b"")
        assert libpq.parameter_status(b"client_encoding") == b"UTF8"
        assert libpq.parameter_status(b"nothing") is None
        os.fstat(libpq.socket)
        with pytest.raises(AttributeError, match="pgconn has no attribute 'exec_', as there is no libpq"):
            libpq.exec_  # noqa: B018 - that it is asked for is what is tested


def test_a_closed_connection(dsn: str) -> None:
    """Libpq says so, and raises nothing."""
    conn = anyq.connect(dsn)
    conn.close()
    libpq = PGconn(conn)
    assert (libpq.status, libpq.transaction_status) == (ConnStatus.BAD, TransactionStatus.UNKNOWN)
    assert (libpq.server_version, libpq.backend_pid) == (0, 0)


@pytest.mark.anyio
async def test_an_asynchronous_connection(conn: anyq.AsyncConnection) -> None:
    libpq = PGconn(conn)
    await conn.execute("SELECT 1")
    assert (libpq.transaction_status, libpq.backend_pid) == (TransactionStatus.INTRANS, conn.info.backend_pid)


@pytest.mark.anyio
async def test_results(conn: anyq.AsyncConnection) -> None:
    cursor: Any = conn.cursor()
    assert result_of_cursor(cursor) is None
    await cursor.execute("SELECT * FROM generate_series(1, 3)")
    assert result_of_cursor(cursor) == (ExecStatus.TUPLES_OK, 3, 1, b"SELECT 3")
    await cursor.execute("SET LOCAL work_mem = '64MB'")
    assert result_of_cursor(cursor) == (ExecStatus.COMMAND_OK, 0, 0, b"SET")
    async with conn.cursor("named") as named:
        await named.execute("SELECT 1 WHERE false")
        found = result_of_cursor(named)
        assert found is not None
        assert found[:3] == (ExecStatus.TUPLES_OK, 0, 1)
