"""Tracing: what is told to those who watch queries, connections and pools, and how they are asked for it.

A tracer is an object with the methods of :class:`Tracer`. It watches the connections and pools that it is given to
(``connect(tracer=)``, ``AsyncConnectionPool(tracer=)``), or all that are made after :func:`install`. A connection that
nobody watches, or to whose queries nobody listens, pays one look at an attribute for a query.

Knows what is told, and by which methods. Must not know statements, connections or event loops. Begin reading with
`tracer`.
"""

from __future__ import annotations

from .query_log import QueryLog
from .told import (
    Server,
    TracedCancellation,
    TracedCheckout,
    TracedConnect,
    TracedCopy,
    TracedNotification,
    TracedQuery,
)
from .tracer import Tracer, install, installed, uninstall

__all__ = [
    "QueryLog",
    "Server",
    "TracedCancellation",
    "TracedCheckout",
    "TracedConnect",
    "TracedCopy",
    "TracedNotification",
    "TracedQuery",
    "Tracer",
    "install",
    "installed",
    "uninstall",
]
