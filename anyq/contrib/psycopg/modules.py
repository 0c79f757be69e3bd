"""Modules: what psycopg's and psycopg_pool's have, and where that is in anyq.

Knows names. Must not know how modules are imported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from types import ModuleType
from typing import Any, NoReturn

import anyq
from anyq import pool
from anyq.copy import AsyncWriter, FileWriter, Writer

from .connections import BaseConnection, Capabilities, capabilities
from .cursors import ClientCursorMixin

PSYCOPG_VERSION = "3.3.9"
"""The release of psycopg that names and behaviour follow, for programs that ask which one they have."""
POOL_VERSION = "3.3.3"
"""That of psycopg_pool."""

PACKAGES = {"psycopg": PSYCOPG_VERSION, "psycopg_pool": POOL_VERSION}
"""The packages that anyq stands in for, and their versions."""

SAME = {"abc", "adapt", "conninfo", "dbapi20", "errors", "postgres", "pq", "rows", "sql", "types"}
"""Modules of psycopg that have the same name in anyq."""

MADE: dict[str, Mapping[str, Any]] = {
    "psycopg": {
        **{name: getattr(anyq, name) for name in anyq.__all__},
        "BaseConnection": BaseConnection,
        "Capabilities": Capabilities,
        "capabilities": capabilities,
        "__version__": PSYCOPG_VERSION,
    },
    "psycopg.client_cursor": {
        "AsyncClientCursor": anyq.AsyncClientCursor,
        "ClientCursor": anyq.ClientCursor,
        "ClientCursorMixin": ClientCursorMixin,
    },
    "psycopg.connection": {"Connection": anyq.Connection},
    "psycopg.connection_async": {"AsyncConnection": anyq.AsyncConnection},
    "psycopg.copy": {
        "AsyncCopy": anyq.AsyncCopy,
        "AsyncWriter": AsyncWriter,
        "Copy": anyq.Copy,
        "FileWriter": FileWriter,
        "Writer": Writer,
    },
    "psycopg.cursor": {"Cursor": anyq.Cursor},
    "psycopg.cursor_async": {"AsyncCursor": anyq.AsyncCursor},
    "psycopg.raw_cursor": {
        "AsyncRawCursor": anyq.AsyncRawCursor,
        "AsyncRawServerCursor": anyq.AsyncRawServerCursor,
        "RawCursor": anyq.RawCursor,
        "RawServerCursor": anyq.RawServerCursor,
    },
    "psycopg.transaction": {
        "AsyncTransaction": anyq.AsyncTransaction,
        "OutOfOrderTransactionNesting": anyq.OutOfOrderTransactionNesting,
        "Rollback": anyq.Rollback,
        "Transaction": anyq.Transaction,
    },
    "psycopg.version": {"__version__": PSYCOPG_VERSION},
    "psycopg_pool": {**{name: getattr(pool, name) for name in pool.__all__}, "__version__": POOL_VERSION},
    "psycopg_pool.errors": {
        "PoolClosed": pool.PoolClosed,
        "PoolTimeout": pool.PoolTimeout,
        "TooManyRequests": pool.TooManyRequests,
    },
    "psycopg_pool.null_pool": {"NullConnectionPool": pool.NullConnectionPool},
    "psycopg_pool.null_pool_async": {"AsyncNullConnectionPool": pool.AsyncNullConnectionPool},
    "psycopg_pool.pool": {"ConnectionPool": pool.ConnectionPool},
    "psycopg_pool.pool_async": {"AsyncConnectionPool": pool.AsyncConnectionPool},
    "psycopg_pool.version": {"__version__": POOL_VERSION},
}
"""Modules that are made, as anyq's are cut otherwise: what they have."""

REASONS = {
    "psycopg.crdb": "CockroachDB is not supported",
    "psycopg.generators": "there is no libpq to wait for",
    "psycopg.waiting": "there is no libpq to wait for",
}
"""Why a module is not here."""


def origin(name: str) -> str | None:
    """Return the name of the module of anyq's that a module of psycopg's is; None for one that is made.

    :raises ModuleNotFoundError: there is no such module.
    """
    if name in MADE:
        return None
    package, _, inside = name.partition(".")
    if package == "psycopg":
        if inside in SAME:
            return f"anyq.{inside}"
        types, _, family = inside.partition(".")
        if types == "types" and family.isidentifier() and family[0] != "_" and find_spec(f"anyq.types.{family}"):
            return f"anyq.types.{family}"
    reason = REASONS.get(name)
    raise ModuleNotFoundError(
        f"No module named {name!r}: {package} is anyq here, by anyq.contrib.psycopg, which has none of that name"
        + (f", as {reason}" if reason else ""),
        name=name,
    )


def children(package: str) -> list[str]:
    """Return the modules that are there once a package is imported, by their full names."""
    made = [name for name in MADE if name.startswith(f"{package}.")]
    return [*made, *(f"psycopg.{name}" for name in sorted(SAME))] if package == "psycopg" else made


def fill(module: ModuleType, name: str) -> None:
    """Give a new module what it has.

    :param name: a key of :data:`MADE`.
    """
    names = MADE[name]
    module.__dict__.update(names)
    module.__doc__ = f"{name} for programs that import it; it is anyq, by anyq.contrib.psycopg."
    module.__file__ = __file__
    module.__dict__["__all__"] = [each for each in names if not each.startswith("_")]
    module.__dict__["__getattr__"] = _refusing(name)


def _refusing(module: str) -> Callable[[str], NoReturn]:
    """Return what is called for a name that a module has not."""

    def refuse(name: str) -> NoReturn:
        raise AttributeError(
            f"module {module!r} has no attribute {name!r}: it is anyq here, by anyq.contrib.psycopg, "
            "and docs/migrating.md lists what that has not",
            name=name,
        )

    return refuse
