"""Request and Result: what was asked of the server, and what has come of it so far.

Knows what the one who waits for replies, and the session that files them, have to tell each other. Must not know
messages, or in which order they come.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from ..errors import DataError, Error
from .backend import FieldDescription
from .constants import TransactionStatus

Fields = tuple[FieldDescription, ...]
LoadFunctions = Sequence[Callable[[bytes], Any]]


class Waiter(Protocol):
    """What a request wakes when it is done; an event of the event loop's."""

    def set(self) -> None: ...


class Result:
    """What one statement gave: its description, its rows as far as they have come, its command tag."""

    tag: str | None = None
    """The command tag, such as ``INSERT 0 1``; None until the statement is complete and for an empty query."""
    suspended = False

    def __init__(self, fields: Fields | None = None, loads: LoadFunctions | None = None) -> None:
        self.fields = fields
        """Description of the columns; None for a statement that returns no rows."""
        self.loads = loads
        """A load function for each column; None to pass over the rows."""
        self.rows: list[tuple[Any, ...]] = []


class Request:
    """What was sent up to one Sync (or as one simple Query), and every reply to it until ReadyForQuery.

    :param plan: gives the load functions for a row description; called when the description arrives.
    """

    # There is one for each query, and most of this is never set: so the defaults are the class's.
    plan: Callable[[Fields], LoadFunctions] | None = None
    extended = True
    current: Result | None = None
    known: tuple[Fields, LoadFunctions | None] | None = None
    """The description that statements bound from now on have, as far as none has been sent by the server."""
    parsed = 0
    """How many Parse messages have succeeded."""
    error: Error | None = None
    """The server's error."""
    failure: Exception | None = None
    """An error on this side: a value that cannot be loaded, a use that is not supported."""
    done = False
    streaming = 0
    """How many rows of the result under way the one who waits wants at least; 0 to have complete results."""
    begins = False
    ends = False
    """Whether it opens or ends a transaction, as far as the sender knows."""
    doubtful = False
    """Whether its BEGIN may not happen: a simple query with an error in its syntax is refused as a whole."""
    abandoned = False
    cancellable = True
    """False for what is over in no time and should happen in any case: abandoned or not, it is not cancelled."""
    counting = False
    """Whether only the tags of results matter, and how many there are of each: :meth:`count` may be called instead."""
    cancel_sent = False
    """Whether a CancelRequest was sent for it."""
    at_risk = False
    """Whether one was sent for a request before it when this one was on its way already."""
    victim = False
    """Whether it was cancelled by one that was meant for another request."""
    status_before = TransactionStatus.UNKNOWN
    waiter: Waiter | None = None

    def __init__(self, plan: Callable[[Fields], LoadFunctions] | None = None, *, extended: bool = True) -> None:
        if plan is not None:
            self.plan = plan
        if not extended:
            self.extended = False
        self.results: list[Result] = []

    def add(self, result: Result) -> None:
        """Take a complete result."""
        self.results.append(result)

    def count(self, tag: str, count: int) -> None:
        """Take so many complete results without rows and with this tag, if it is ``counting``."""
        raise NotImplementedError

    def abandon(self) -> None:
        """Nobody wants the replies any more: they are dropped as they come."""
        self.abandoned = True
        self.streaming = 0
        self.plan = None
        self.known = None
        self.results = []
        if self.current is not None:
            self.current = Result()

    def ready(self) -> bool:
        """Return whether there is something for the one who waits: the end or, when streaming, rows or a failure."""
        if self.done or not self.streaming:
            return self.done
        return self.failure is not None or self.current is not None and len(self.current.rows) >= self.streaming

    def fail(self, error: Error) -> None:
        """End it without a further reply."""
        if self.error is None:
            self.error = error
        self.finish()

    def finish(self) -> None:
        self.done = True
        if self.waiter is not None:
            self.waiter.set()


def give_up(request: Request, result: Result, error: Exception) -> None:
    """Take note that rows could not be loaded: the rest of the result is passed over, and the request fails."""
    if isinstance(error, struct.error):
        cause, error = error, DataError(f"a value of the result has not the length that its type has: {error}")
        error.__cause__ = cause
    request.failure = request.failure or error
    result.loads = None
    result.rows.clear()
