"""Undocumented: attributes of psycopg's objects that it keeps for itself, or that are libpq's, and that programs use.

Knows which programs use what. They are set on anyq's classes while it stands in, and are not there otherwise. Must not
know more of what is inside of those objects than these programs ask for.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from anyq import AsyncClientCursor, AsyncConnection, AsyncCursor, Connection, Cursor
from anyq.pool import AsyncConnectionPool

from .cursors import NotingBinder
from .libpq import PGconn, result_of_cursor


class Sent(NamedTuple):
    """What a client cursor has sent."""

    query: bytes


def _pool_of_connection(connection: Any) -> Any:
    """Return the pool that a connection is of, None for none."""
    place = connection.pooled
    return None if place is None else place.pool


def _pool_of_sync_connection(connection: Any) -> Any:
    place = connection.inner.pooled
    return None if place is None else place.pool.hooks.owner()


async def _conninfo_of_pool(pool: Any) -> str:
    """Return the connection string that a pool would use now."""
    conninfo: str = await pool.hooks.value(pool.conninfo)
    return conninfo


async def _kwargs_of_pool(pool: Any) -> dict[str, Any]:
    """Return the arguments that a pool would connect with now."""
    return dict(await pool.hooks.value(pool.kwargs) or {})


def _query_of_cursor(cursor: Any) -> Sent | None:
    """Return what a client cursor has sent last; None if nothing, and for other cursors."""
    sql: bytes | None = getattr(getattr(cursor, "async_cursor", cursor), "noted", None)
    return None if sql is None else Sent(sql)


def _close_cursor(cursor: Any) -> None:
    """Close an asynchronous cursor without waiting."""
    cursor.drop_stream()
    cursor.end()


NAMES: dict[tuple[type[Any], str], Any] = {
    # Django returns connections to the pool that they are of.
    (AsyncConnection, "_pool"): property(_pool_of_connection),
    (Connection, "_pool"): property(_pool_of_sync_connection),
    # Django shows what was sent, in its log of queries and in errors' pages.
    (AsyncClientCursor, "_binder"): property(NotingBinder),
    (AsyncCursor, "_query"): property(_query_of_cursor),
    (Cursor, "_query"): property(_query_of_cursor),
    # procrastinate listens on a connection of its own, made as the pool makes them.
    (AsyncConnectionPool, "_resolve_conninfo"): _conninfo_of_pool,
    (AsyncConnectionPool, "_resolve_kwargs"): _kwargs_of_pool,
    # SQLAlchemy's asynchronous dialect of psycopg asks whether there are rows, and closes without waiting.
    (AsyncCursor, "pgresult"): property(result_of_cursor),
    (Cursor, "pgresult"): property(result_of_cursor),
    (AsyncCursor, "_close"): _close_cursor,
    # peewee asks for the server's version, and whether a transaction is open.
    (AsyncConnection, "pgconn"): property(PGconn),
    (Connection, "pgconn"): property(PGconn),
}
"""What is set on which class, under which name."""

_before: dict[tuple[type[Any], str], Any] = {}
"""What was there."""


def add_names() -> None:
    """Set them."""
    for (cls, name), value in NAMES.items():
        if name in vars(cls):
            _before[cls, name] = vars(cls)[name]
        setattr(cls, name, value)


def remove_names() -> None:
    """Put back what was there."""
    for cls, name in NAMES:
        if (cls, name) in _before:
            setattr(cls, name, _before.pop((cls, name)))
        else:
            delattr(cls, name)
