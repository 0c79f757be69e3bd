"""Two-phase transactions of tests: a server that has them, and none left behind."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest

import anyq
from anyq import AsyncConnection
from anyq import errors as e
from tests.support.server import Server


def need_two_phase(server: Server) -> None:
    """Skip a test where the server that was named has two-phase commit switched off."""
    if server.psql("SHOW max_prepared_transactions") == "0":
        pytest.skip("the server that was named has max_prepared_transactions = 0")


def prepared_here(conn: anyq.Connection[Any]) -> list[anyq.Xid]:
    """Return what is prepared in the connection's database."""
    return [xid for xid in conn.tpc_recover() if xid.database == conn.info.dbname]


def leave_none(dsn: str) -> int:
    """Roll back what is prepared in the database of a test; return how many transactions that were."""
    with anyq.connect(dsn) as conn:
        xids = prepared_here(conn)
        for xid in xids:
            with suppress(e.UndefinedObject):
                conn.tpc_rollback(xid)
        return len(xids)


async def leave_none_async(dsn: str) -> int:
    """Do the same in an event loop."""
    async with AsyncConnection.connect(dsn) as conn:
        texts = await prepared(conn)
        for text in texts:
            await conn.tpc_rollback(text)
        return len(texts)


async def prepared(conn: AsyncConnection[Any]) -> list[str]:
    """Return the texts of what is prepared in the connection's database."""
    return [str(xid) for xid in await conn.tpc_recover() if xid.database == conn.info.dbname]
