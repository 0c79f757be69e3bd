"""timeout(): how long each call of a thread may take.

Knows one context variable. Must not know what is called, or how a call is ended when its time is over (`worker`).
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

from ..errors.arguments import check_numbers

time_limit: ContextVar[float | None] = ContextVar("anyq.sync.timeout", default=None)
"""Seconds for each call that is made in this context; None for no limit."""


@contextmanager
def timeout(seconds: float | None) -> Generator[None, None, None]:
    """Limit the time of each call that this thread makes inside the block, to any synchronous object.

    A call that takes longer is cancelled as a task is: the statement is cancelled on the server, and the connection can
    be used at once, or is closed at the end of the grace time. Fetching what has arrived is no such call.

    :param seconds: for each call; None for no limit, as outside of any block.
    :raises OperationTimeout: from the call.
    """
    if seconds is not None:
        check_numbers(seconds=seconds)
    token = time_limit.set(seconds)
    try:
        yield
    finally:
        time_limit.reset(token)
