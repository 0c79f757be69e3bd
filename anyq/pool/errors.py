"""The errors of pools, under psycopg_pool's names.

Knows nothing else.
"""

from __future__ import annotations

from ..errors import OperationalError


class PoolClosed(OperationalError):
    """A connection was asked for of a pool that is not open."""


class PoolTimeout(OperationalError):
    """No connection could be had of a pool within the time given."""


class TooManyRequests(OperationalError):
    """A connection was asked for while as many as `max_waiting` wait for one."""
