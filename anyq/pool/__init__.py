"""Pools of connections, with psycopg_pool's names: :class:`AsyncConnectionPool` for tasks, and others.

Knows connections and callbacks. Must not know the protocol. Begin reading in `bookkeeping`, which decides; then `pool`.
"""

from __future__ import annotations

from .errors import PoolClosed, PoolTimeout, TooManyRequests
from .pool import AsyncConnectionPool, AsyncNullConnectionPool

__all__ = ["AsyncConnectionPool", "AsyncNullConnectionPool", "PoolClosed", "PoolTimeout", "TooManyRequests"]
