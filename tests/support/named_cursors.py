"""What tests of named cursors have in common: cursors of numbers, what is open in the session, and what is sent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from anyq import AsyncConnection, AsyncServerCursor
from anyq.rows import scalar_row

NUMBERS = "SELECT * FROM generate_series(0, %s::int - 1)"


@pytest.fixture
async def auto(anyio_backend: object, dsn: str) -> AsyncIterator[AsyncConnection]:
    """A connection in autocommit mode."""
    async with AsyncConnection.connect(dsn, autocommit=True) as connection:
        yield connection


async def open_cursors(conn: AsyncConnection) -> list[str]:
    """The names of the cursors that the session has, asked for without a transaction being left open by that."""
    cur = await conn.execute("SELECT name FROM pg_cursors WHERE name <> '' ORDER BY name")
    return [name for (name,) in await cur.fetchall()]


async def numbers(conn: AsyncConnection, count: int, **options: Any) -> AsyncServerCursor[Any]:
    cur = conn.cursor("numbers", row_factory=scalar_row, **options)
    return await cur.execute(NUMBERS, [count])
