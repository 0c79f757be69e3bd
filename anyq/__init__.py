"""anyq: a PostgreSQL driver for structured concurrency, on trio and asyncio.

This module has the public names, and knows nothing. Begin reading with `connection`, or with `sync`.
"""

from __future__ import annotations

from .compiled import places

__path__[:0] = places(__name__)

# ruff: noqa: E402 - from where it has just been said
from . import abc, adapt, conninfo, errors, postgres, pq, rows, sql, sync, tracing, types
from ._accel import implementation as __impl__
from .adapt import AdaptersMap, Dumper, Loader, PyFormat, Transformer
from .connecting import AsyncConnecting
from .connection import AsyncConnection
from .copy import AsyncCopy
from .cursor import AsyncClientCursor, AsyncCursor, AsyncRawCursor
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
from .listener import AsyncListener, Gap, listen
from .notifications.subscription import NotificationStream, Notify
from .pipeline import AsyncPipeline
from .postgres import adapters
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
