"""What tests of COPY have in common: statements, what is in their table, and the state that a COPY leaves."""

from __future__ import annotations

from typing import Any

from anyq import AsyncConnection, TransactionStatus
from tests.support.queries import one
from tests.support.state import status

MANY = "COPY (SELECT generate_series(1, 1000000)) TO STDOUT"
THREE = "COPY (SELECT generate_series(1, 3)) TO STDOUT"


async def content(conn: AsyncConnection) -> list[tuple[Any, ...]]:
    """Return the rows of the table t, whose columns are a and b."""
    return await (await conn.execute("SELECT a, b FROM t ORDER BY a")).fetchall()


async def check_usable(conn: AsyncConnection, after: TransactionStatus = TransactionStatus.IDLE) -> None:
    """Look at the state that a COPY has left, and that the connection works."""
    assert status(conn) is after
    await conn.rollback()
    assert await one(conn, "SELECT 42") == 42
    await conn.rollback()
