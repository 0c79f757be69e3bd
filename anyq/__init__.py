"""anyq: a PostgreSQL driver for structured concurrency, on trio and asyncio.

This module has the public names.
"""

from __future__ import annotations

from . import adapt, errors, rows, sql, types
from ._accel import implementation as __impl__
from ._column import Column
from ._info import ConnectionInfo
from ._settings import IsolationLevel
from ._streaming import AsyncRowStream
from ._subscription import NotificationStream, Notify
from .adapt import AdaptersMap, Dumper, Loader, PyFormat, Transformer
from .connection import AsyncConnecting, AsyncConnection
from .cursor import AsyncClientCursor, AsyncCursor, AsyncRawCursor
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
from .postgres import adapters
from .protocol.constants import TransactionStatus
from .transaction import AsyncTransaction, OutOfOrderTransactionNesting, Rollback

__version__ = "0.1.0"

__all__ = [
    "AdaptersMap",
    "AsyncClientCursor",
    "AsyncConnecting",
    "AsyncConnection",
    "AsyncCursor",
    "AsyncListener",
    "AsyncRawCursor",
    "AsyncRowStream",
    "AsyncTransaction",
    "Column",
    "ConnectionInfo",
    "ConnectionTimeout",
    "DataError",
    "DatabaseError",
    "Diagnostic",
    "Dumper",
    "Error",
    "Gap",
    "IntegrityError",
    "InterfaceError",
    "InternalError",
    "IsolationLevel",
    "Loader",
    "NotSupportedError",
    "NotificationStream",
    "Notify",
    "OperationalError",
    "OutOfOrderTransactionNesting",
    "ProgrammingError",
    "PyFormat",
    "Rollback",
    "TransactionStatus",
    "Transformer",
    "Warning",
    "__impl__",
    "__version__",
    "adapt",
    "adapters",
    "errors",
    "listen",
    "rows",
    "sql",
    "types",
]
