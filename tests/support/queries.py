"""Asking a server in one line."""

from __future__ import annotations

from typing import Any

from anyq import AsyncConnection


async def one(conn: AsyncConnection, query: Any, *params: object) -> Any:
    """Return the one value that a query gives."""
    ((value,),) = await (await conn.execute(query, params or None)).fetchall()
    return value
