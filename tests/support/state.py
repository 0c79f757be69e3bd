"""What a connection or a cursor says of itself, asked anew each time.

A type checker takes an attribute that was compared once for settled until it is assigned to, and all that follows the
next comparison for unreachable: it would not look at that at all.
"""

from __future__ import annotations

from typing import Any, Protocol

import anyq
from anyq import AsyncConnection, AsyncPipeline, TransactionStatus
from anyq.pq import PipelineStatus


class Closable(Protocol):
    @property
    def closed(self) -> bool: ...


def is_closed(what: Closable) -> bool:
    """Return whether a connection or a cursor is closed."""
    return what.closed


def status(conn: AsyncConnection[Any] | anyq.Connection[Any]) -> TransactionStatus:
    """Return the status of a connection's transaction."""
    return conn.info.transaction_status


def pipelining(
    what: AsyncPipeline[Any] | anyq.Pipeline[Any] | AsyncConnection[Any] | anyq.Connection[Any],
) -> PipelineStatus:
    """Return the status of a pipeline, or of a connection's pipelines."""
    return what.info.pipeline_status if isinstance(what, AsyncConnection | anyq.Connection) else what.status
