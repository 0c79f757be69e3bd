"""Pools of connections, with psycopg_pool's names: :class:`AsyncConnectionPool` for tasks, and others.

Knows connections and callbacks. Must not know the protocol. Begin reading with ``bookkeeping``, which decides.
"""

from .errors import PoolClosed, PoolTimeout, TooManyRequests
from .pool import AsyncConnectionPool, AsyncNullConnectionPool
from .retrying import run_transaction
from .sync_pool import ConnectionPool, NullConnectionPool

__all__ = [
    "AsyncConnectionPool",
    "AsyncNullConnectionPool",
    "ConnectionPool",
    "NullConnectionPool",
    "PoolClosed",
    "PoolTimeout",
    "TooManyRequests",
    "run_transaction",
]
