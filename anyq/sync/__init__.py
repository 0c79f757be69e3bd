"""The synchronous API: psycopg's synchronous objects, by way of an event loop in another thread.

Knows threads. Must not know anything that the asynchronous classes know: every object holds its asynchronous
counterpart and calls it. The calling thread runs that itself, as far as it needs no event loop (`direct`); what does is
one hop, and what has arrived is none. Nothing but ``anyq`` imports it.

Begin with `connection`; `calls` is what all its objects share. How a thread calls is, from the bottom, `interrupts`
(Ctrl-C in what it runs itself), `worker` (the two sides of a call), `timeout`, `portal` (the way into an event loop),
`direct` and `shared_portal` (a process's own event loop).

`anyq.sync.timeout` is the function, which hides the module of its name: within the package, import from that.
"""

from __future__ import annotations

from .connection import Connection
from .copy import Copy
from .cursor import ClientCursor, Cursor, RawCursor, RowStream
from .listener import Listener, listen
from .notifications import Listen, NotificationStream, Notifies
from .pipeline import Pipeline
from .server_cursor import RawServerCursor, ServerCursor
from .shared_portal import set_portal_backend
from .timeout import timeout
from .transaction import Transaction

connect = Connection.connect

__all__ = [
    "ClientCursor",
    "Connection",
    "Copy",
    "Cursor",
    "Listen",
    "Listener",
    "Notifies",
    "NotificationStream",
    "Pipeline",
    "RawCursor",
    "RawServerCursor",
    "RowStream",
    "ServerCursor",
    "Transaction",
    "connect",
    "listen",
    "set_portal_backend",
    "timeout",
]
