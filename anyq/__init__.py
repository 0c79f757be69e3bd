"""anyq: a PostgreSQL driver for structured concurrency, on trio and asyncio.

This module has the public names, and knows nothing. Most are imported when they are first asked for, and most of the
modules as well: a program pays for what it uses. Begin reading with `connection`, or with `sync`.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

# The first, as it says which form is imported of the others.
from . import compiled as compiled  # isort: skip

# The types and adapters that everything starts from; and what PEP 249 wants a module to have, but for connect():
# some programs copy the dictionary of a driver.
from . import adapt, errors, postgres, types
from .dbapi20 import (
    BINARY,
    DATETIME,
    NUMBER,
    ROWID,
    STRING,
    Binary,
    Date,
    DateFromTicks,
    Time,
    TimeFromTicks,
    Timestamp,
    TimestampFromTicks,
    apilevel,
    paramstyle,
    threadsafety,
)
from .errors import (
    ConnectionTimeout,
    DatabaseError,
    DataError,
    Diagnostic,
    Error,
    IntegrityError,
    InterfaceError,
    InternalError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
    Warning,
)
from .postgres import adapters

# What type checkers see; _NAMES says the same for a run.
if TYPE_CHECKING:
    from . import abc, conninfo, pq, rows, sql, sync, tracing
    from ._accel import implementation as __impl__
    from .adapt import AdaptersMap, Dumper, Loader, PyFormat, Transformer
    from .connecting import AsyncConnecting
    from .connection import AsyncConnection
    from .copy import AsyncCopy
    from .cursor import AsyncClientCursor, AsyncCursor, AsyncRawCursor
    from .listener import AsyncListener, Gap, listen
    from .notifications.subscription import NotificationStream, Notify
    from .pipeline import AsyncPipeline
    from .protocol.auth.verifiers import encrypt_password
    from .protocol.constants import TransactionStatus
    from .row_stream import AsyncRowStream
    from .server_cursor import AsyncRawServerCursor, AsyncServerCursor
    from .session.info import ConnectionInfo
    from .session.transactions import IsolationLevel
    from .statements.column import Column
    from .sync import (
        ClientCursor,
        Connection,
        Copy,
        Cursor,
        Listener,
        Pipeline,
        RawCursor,
        RawServerCursor,
        RowStream,
        ServerCursor,
        Transaction,
        connect,
    )
    from .transaction import AsyncTransaction, OutOfOrderTransactionNesting, Rollback
    from .xid import Xid

#: The one place that has it: pyproject.toml reads it here.
__version__ = "0.1.0"

__all__ = [
    "AdaptersMap",
    "AsyncClientCursor",
    "AsyncConnecting",
    "AsyncConnection",
    "AsyncCopy",
    "AsyncCursor",
    "AsyncListener",
    "AsyncPipeline",
    "AsyncRawCursor",
    "AsyncRawServerCursor",
    "AsyncRowStream",
    "AsyncServerCursor",
    "AsyncTransaction",
    "BINARY",
    "Binary",
    "ClientCursor",
    "Column",
    "Connection",
    "ConnectionInfo",
    "ConnectionTimeout",
    "Copy",
    "Cursor",
    "DATETIME",
    "DataError",
    "DatabaseError",
    "Date",
    "DateFromTicks",
    "Diagnostic",
    "Dumper",
    "Error",
    "Gap",
    "IntegrityError",
    "InterfaceError",
    "InternalError",
    "IsolationLevel",
    "Listener",
    "Loader",
    "NUMBER",
    "NotSupportedError",
    "NotificationStream",
    "Notify",
    "OperationalError",
    "OutOfOrderTransactionNesting",
    "Pipeline",
    "ProgrammingError",
    "PyFormat",
    "ROWID",
    "RawCursor",
    "RawServerCursor",
    "Rollback",
    "RowStream",
    "STRING",
    "ServerCursor",
    "Time",
    "TimeFromTicks",
    "Timestamp",
    "TimestampFromTicks",
    "Transaction",
    "TransactionStatus",
    "Transformer",
    "Warning",
    "Xid",
    "__impl__",
    "__version__",
    "abc",
    "adapt",
    "adapters",
    "apilevel",
    "connect",
    "conninfo",
    "copy",
    "encrypt_password",
    "errors",
    "listen",
    "paramstyle",
    "postgres",
    "pq",
    "rows",
    "sql",
    "sync",
    "threadsafety",
    "tracing",
    "types",
]

#: The modules, each with the public names that come from there.
_NAMES = {
    "_accel": "__impl__",
    "adapt": "AdaptersMap Dumper Loader PyFormat Transformer",
    "connecting": "AsyncConnecting",
    "connection": "AsyncConnection",
    "copy": "AsyncCopy",
    "cursor": "AsyncClientCursor AsyncCursor AsyncRawCursor",
    "listener": "AsyncListener Gap listen",
    "notifications.subscription": "NotificationStream Notify",
    "pipeline": "AsyncPipeline",
    "protocol.auth.verifiers": "encrypt_password",
    "protocol.constants": "TransactionStatus",
    "row_stream": "AsyncRowStream",
    "server_cursor": "AsyncRawServerCursor AsyncServerCursor",
    "session.info": "ConnectionInfo",
    "session.transactions": "IsolationLevel",
    "statements.column": "Column",
    "sync": "ClientCursor Connection Copy Cursor Listener Pipeline RawCursor RawServerCursor RowStream ServerCursor"
    " Transaction connect",
    "transaction": "AsyncTransaction OutOfOrderTransactionNesting Rollback",
    "xid": "Xid",
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names.split()}

# Type checkers would take it that the package has every name.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Return a public name or a module of the package: it is imported now, and found from then on."""
        if name not in _MODULES:
            return _module(name)  # which the import has made an attribute
        found = getattr(import_module(f"{__name__}.{_MODULES[name]}"), {"__impl__": "implementation"}.get(name, name))
        # Of what a test has put there for a while nothing stays here; functions, which cannot be told from that, are
        # looked up each time.
        if isinstance(found, type) and found.__module__.partition(".")[0] == __name__:
            globals()[name] = found
        return found

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})


def _module(name: str) -> ModuleType:
    try:
        if name.isidentifier() and not name.startswith("_"):
            return import_module(f"{__name__}.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"{__name__}.{name}":
            raise
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name, obj=sys.modules[__name__])
