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


def told_by(error: BaseException) -> str:
    """Return what an error says, or what it is called if it says nothing, as TimeoutError does."""
    return str(error) or type(error).__name__
