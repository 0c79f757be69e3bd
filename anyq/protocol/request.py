"""Request and Result: what was asked of the server, and what has come of it so far.

Knows what the one who waits for replies, and the session that files them, have to tell each other. Must not know
messages, or in which order they come.

One request is looked at by four: who makes it says what it is, the session files the replies, the one who waits sets
what it waits for, and the one who cancels notes whom a CancelRequest may hit. The attributes stand in this order.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from typing import Any, Final, NamedTuple, Protocol

from ..errors import Error
from .constants import TransactionStatus
from .messages import FieldDescription

Fields = tuple[FieldDescription, ...]
Description = tuple[Fields | None, Any]
"""What a :class:`Result` is made with: the columns of a statement, and what its maker knows about loading them."""

UNDESCRIBED: Description = (None, None)
"""Of a statement that returns no rows, or of which nothing is known."""


UNKNOWN: Final = TransactionStatus.UNKNOWN
"""The status by a name that is sooner looked up than an enum's member."""


class Waiter(Protocol):
    """What a request wakes when it is done; an event of the event loop's."""

    def set(self) -> None: ...


class TransactionEffect(Enum):
    """What a request does to the transaction of the session, as far as its maker knows."""

    NONE = auto()
    BEGINS = auto()
    UNCERTAIN = auto()
    """It may begin or end one; only the reply tells. What runs code of the user's, or is not known to do less."""
    ENDS = auto()
    """It leaves none open, whether it has begun one itself or not."""


class Cancellation(Enum):
    """What CancelRequests may have to do with a request: they name a server process, and hit what it runs then."""

    NONE = auto()
    AT_RISK = auto()
    """One was sent for a request before it when this one was on its way already, and may hit it."""
    SENT = auto()
    """One was sent for it."""
    VICTIM = auto()
    """It was cancelled by one that was meant for another request."""


class CopyDirection(Enum):
    """Which way the data of a COPY goes."""

    IN = "in"
    """From the client: COPY FROM STDIN."""
    OUT = "out"
    """To the client: COPY TO STDOUT."""


class Run(NamedTuple):
    """Complete rows that have arrived together, as the server sent them."""

    data: bytes | list[bytes | None]
    """DataRow messages; or the values that were in them, those of one row behind those of the other."""
    start: int
    """Where in it the first row begins: the offset of its message or, among values, the number of the row."""
    stop: int
    """Where the last one ends."""
    rows: int
    """How many there are."""

    def after(self, start: int) -> int:
        """Return where the row ends that begins at `start`."""
        if isinstance(self.data, list):
            return start + 1
        return start + 1 + int.from_bytes(self.data[start + 1 : start + 5], "big")

    def values(self, start: int, columns: int) -> list[bytes | None]:
        """Return the values of the row that begins at `start`, NULL as None."""
        data = self.data
        if isinstance(data, list):
            return data[start * columns : (start + 1) * columns]
        values: list[bytes | None] = []
        start += 7
        for _ in range(columns):
            size = int.from_bytes(data[start : start + 4], "big", signed=True)
            start += 4
            values.append(None if size < 0 else data[start : start + size])
            start += max(size, 0)
        return values


class Result:
    """What one statement gave: its description, its rows as far as they have come, its command tag.

    Rows are kept as the server sent them. What the values mean is looked at when they are fetched, by the one whom it
    concerns, and never on the way in.
    """

    __slots__ = ("ahead", "count", "fields", "loads", "runs", "tag")

    def __init__(self, fields: Fields | None = None, loads: Any = None) -> None:
        self.fields = fields
        """Description of the columns; None for a statement that returns no rows."""
        self.loads = loads
        """What the maker of the request knows about loading them, None for nothing yet; of no concern here."""
        self.ahead: Any = None
        """What that has come to before anybody fetches them; of no concern here either."""
        self.runs: list[tuple[Any, int, int, int]] = []
        """The rows, each item with what a :class:`Run` has; but plain, as that is made and read for each query."""
        self.count = 0
        """How many there are."""
        self.tag: str | None = None
        """The command tag, such as ``INSERT 0 1``; None until the statement is complete and for an empty query."""

    def take(self, data: bytes | list[bytes | None], start: int, stop: int, count: int) -> None:
        """Take a run of rows."""
        self.runs.append((data, start, stop, count))
        self.count += count

    def values(self) -> list[list[bytes | None]]:
        """Return the values of each row, as the server sent them."""
        rows: list[list[bytes | None]] = []
        for run in map(Run._make, self.runs):
            start = run.start
            while start < run.stop:
                rows.append(run.values(start, len(self.fields or ())))
                start = run.after(start)
        return rows


class Request:
    """What was sent up to one Sync (or as one simple Query), and every reply to it until ReadyForQuery.

    :param description: what statements bound from now on return, as far as the server has not described another.
    """

    # There is one for each query, and most of this is never set nor read: so the defaults are the class's. What is read
    # for each query is set for each: it is found sooner there, and the compiled form keeps it without a dictionary.

    # -- what its maker says
    extended = True
    """False for a simple Query."""
    cancellable = True
    """False for what is over in no time and should happen in any case: abandoned or not, no CancelRequest is sent."""
    effect = TransactionEffect.NONE
    counting: bool
    """Whether only the tags of results matter, and how many there are of each: :meth:`count` may be called instead."""
    keeps_rows: bool
    """Whether rows are wanted; otherwise they are passed over, whether they have been described or not."""
    copies = False
    """Whether it is one COPY whose data is sent or taken, so that :meth:`begin_copy` and the like are called."""
    ending = b""
    """What to send if it is given up while it is being sent piece by piece: with that nothing of it takes effect."""
    cancel_after = 0.0
    """Seconds from when it is given up until a CancelRequest is sent: for one that its ``ending`` should have ended."""
    task: object = None
    """The task that has to end it before it may use the connection otherwise; None for no such task."""

    # -- what the session files
    description: Description
    """What a Bind that succeeds from now on leads to."""
    current: Result | None
    """The result under way."""
    parsed: int
    """How many Parse messages have succeeded."""
    results: list[Result]
    """The complete ones."""
    error: Error | None
    """The server's error."""
    bound = False
    """Whether the statement that failed had been bound: if not, nothing of it was run."""
    failure: Exception | None
    """An error on this side: a use that is not supported."""
    done: bool
    status_before: TransactionStatus
    """The transaction status in which the server began with it."""
    parameters: Mapping[str, str] | None
    """The server's parameters when it had come to its end."""
    parameters_before: Mapping[str, str] | None = None
    """Those before it, if the server has reported others since."""

    # -- what the one who waits sets
    streaming: int
    """How many rows of the result under way it wants at least; 0 to have complete results."""
    waiter: Waiter | None
    """What to wake when it is done."""
    abandoned: bool
    """Whether nobody wants the replies any more; see :meth:`abandon`."""

    # -- what the one who cancels notes
    cancellation = Cancellation.NONE

    def __init__(self, description: Description = UNDESCRIBED) -> None:
        self.set_up(description)

    def set_up(self, description: Description) -> None:
        """Be as one that was just made."""
        self.description = description
        self.results = []
        self.done = self.abandoned = self.counting = False
        self.keeps_rows = True
        self.current = self.error = self.failure = self.waiter = self.parameters = None
        self.streaming = self.parsed = 0
        self.status_before = UNKNOWN

    def add(self, result: Result) -> None:
        """Take a complete result."""
        self.results.append(result)

    def count(self, tag: str, count: int) -> None:
        """Take so many complete results without rows and with this tag, if it is ``counting``."""
        raise NotImplementedError

    def begin_copy(self, direction: CopyDirection, binary: bool, columns: int) -> None:
        """Take note that the server is ready for the data of its COPY, or about to send it, if it ``copies``.

        :raises RemoteProtocolError: it has begun before.
        """
        raise NotImplementedError

    def take_copy_data(self, run: bytes, start: int, stop: int) -> None:
        """Take a run of CopyData messages, if it ``copies``."""
        raise NotImplementedError

    def abandon(self) -> None:
        """Nobody wants the replies any more: they are dropped as they come."""
        self.abandoned = True
        self.streaming = 0
        self.keeps_rows = False
        self.description = UNDESCRIBED
        self.results = []
        if self.current is not None:
            self.current = Result()

    def meanwhile(self) -> bool:
        """Do a piece of what can be done with what has come so far; return whether there is more of it.

        Called by the one who waits, while nothing comes: so it takes a few milliseconds at most.
        """
        return False

    def ready(self) -> bool:
        """Return whether there is something for the one who waits: the end or, when streaming, rows or a failure."""
        if self.done or not self.streaming:
            return self.done
        return self.failure is not None or self.current is not None and self.current.count >= self.streaming

    def succeeded(self) -> bool:
        """Return whether it has a result, now that it is done, and nothing is wrong with it."""
        return self.error is None and self.failure is None and bool(self.results)

    def cancel_is_sent(self) -> None:
        """Take note that a CancelRequest is sent for it."""
        self.cancellation = Cancellation.SENT

    def cancel_is_sent_for_another(self) -> None:
        """Take note that one is sent for a request before it, which may come too late for that and hit this one."""
        if self.cancellation is Cancellation.NONE:
            self.cancellation = Cancellation.AT_RISK

    def cancelled(self) -> bool:
        """Take note that the server says it was cancelled; return whether a CancelRequest of ours explains that."""
        if self.cancellation is Cancellation.AT_RISK:
            self.cancellation = Cancellation.VICTIM
        return self.cancellation is not Cancellation.NONE

    def fail(self, error: Error) -> None:
        """End it without a further reply."""
        if self.error is None:
            self.error = error
        self.finish()

    def finish(self) -> None:
        """Take note that there is nothing more to come."""
        self.done = True
        if self.waiter is not None:
            self.waiter.set()


class SimpleRequest(Request):
    """A simple Query: statements without parameters, as text.

    :param cancellable: see :attr:`Request.cancellable`; so for `effect`.
    """

    extended = False

    def __init__(self, *, cancellable: bool = True, effect: TransactionEffect = TransactionEffect.NONE) -> None:
        super().__init__()
        self.cancellable = cancellable
        self.effect = effect
