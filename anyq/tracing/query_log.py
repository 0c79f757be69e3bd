"""QueryLog: a tracer that writes statements to the logger ``anyq.query``.

Knows levels, and what of a statement may be in a log. Must not know who calls it.
"""

from __future__ import annotations

import logging
from typing import Any

from ..errors.arguments import check_numbers
from .told import TracedQuery
from .tracer import Tracer

query_logger = logging.getLogger("anyq.query")


class QueryLog(Tracer):
    """Writes statements to the logger ``anyq.query``: each at DEBUG, and slow ones at WARNING.

    :param slow: seconds from which on a statement is slow; None for none.

    Connections that are made while DEBUG is enabled for the logger have one of their own.
    """

    def __init__(self, slow: float | None = None) -> None:
        if slow is not None:
            check_numbers(slow=slow)
        self.slow = slow

    def on_query_end(self, query: TracedQuery, state: Any, /) -> None:
        self._log(query, query.tag or ("left before its end" if query.rows < 0 else f"{query.rows} rows"))

    def on_query_error(self, query: TracedQuery, state: Any, error: BaseException, /) -> None:
        # Not what it says: there may be values in it.
        sqlstate = getattr(error, "sqlstate", None)
        self._log(query, f"{type(error).__name__}{f' {sqlstate}' if sqlstate else ''}")

    on_copy_end = on_query_end
    on_copy_error = on_query_error

    def _log(self, query: TracedQuery, outcome: str) -> None:
        if self.slow is not None and query.seconds >= self.slow:
            query_logger.warning("slow: %.3f ms, %s: %s", 1000 * query.seconds, outcome, query.sql)
        elif query_logger.isEnabledFor(logging.DEBUG):
            query_logger.debug("%.3f ms, %s: %s", 1000 * query.seconds, outcome, query.sql)
