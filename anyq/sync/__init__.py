"""The synchronous API: psycopg's synchronous objects, by way of an event loop in another thread.

Knows nothing of its own: every object holds its asynchronous counterpart and calls it through a portal (`_portal`), one
hop for each call that has to wait for the server and none for what has arrived. Nothing but ``anyq`` imports it.
"""

from __future__ import annotations

from .connection import Connection
from .cursor import ClientCursor, Cursor, RawCursor, RowStream
from .listener import Listener, listen
from .notifications import Listen, NotificationStream, Notifies
from .portal import set_portal_backend, timeout
from .transaction import Transaction

connect = Connection.connect

__all__ = [
    "ClientCursor",
    "Connection",
    "Cursor",
    "Listen",
    "Listener",
    "Notifies",
    "NotificationStream",
    "RawCursor",
    "RowStream",
    "Transaction",
    "connect",
    "listen",
    "set_portal_backend",
    "timeout",
]
