"""Requests of statements: what they keep account of as their replies come, whoever reads these.

Knows prepared statements, the result of a request and what it means for them. Must not know how a request is written,
or who waits for it.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Protocol

from .._accel import bind
from ..adapt import Transformer
from ..protocol import frontend
from ..protocol.constants import TransactionStatus
from ..protocol.request import UNDESCRIBED, Description, Request, Result, TransactionEffect
from .consequences import SELECT_INTO, Consequence, changes_session, consequence
from .layout import Layouts
from .loading import VALUES_PER_TURN, LoadedAhead, loads_or_none
from .prepared import Entry, PreparedStatements
from .statement import Statement


class Known(Protocol):
    """What is remembered of a query by its text."""

    encoding: str

    def statement(self, data: bytearray) -> Statement: ...


class RowsRequest(Request):
    """A request whose rows are loaded while more of them are waited for, as the server is at work meanwhile."""

    known: Known | None
    """What it was composed of, if the query was known by its text."""
    tx: Transformer | None = None
    """What the rows are loaded by that nothing is known about; None not to load them."""

    def meanwhile(self) -> bool:
        result = self.current
        if result is None or result.fields is None or not result.runs or self.streaming:
            return False
        if result.ahead is None:
            if result.loads is None and self.tx is not None:
                result.loads = loads_or_none(self.tx, result.fields)
            if result.loads is None:
                return False
            result.ahead = LoadedAhead(result.loads)
        more: bool = result.ahead.go_on(result.runs, VALUES_PER_TURN // (len(result.fields) or 1))
        return more


class RowTaker(Protocol):
    """Who takes the rows of a query as they arrive."""

    def drop(self) -> None:
        """Take no more of them, without waiting; nothing if there are no more."""
        ...


class StatementRequest(RowsRequest):
    """A request that keeps the account of prepared statements; see :class:`Request` for the other parameters."""

    entry: Entry | None = None
    """The statement to be prepared or described by this request; its account is settled when the reply is there."""
    foreseen = False
    """Whether it asks for the result formats that an earlier description of the statement suggests."""
    after_begin = False
    """Whether a BEGIN of ours is run before the statement: the first Parse and the first result are its."""
    reused = False
    """Whether it runs a statement that an earlier request has prepared."""
    taker: weakref.ref[RowTaker] | None = None
    """Who takes its rows as they arrive, if anybody does."""
    text: bytes | None = None
    """The text, unless it is one query, which changes nothing that others depend on."""
    _begun = False
    _dropped = False

    def __init__(
        self,
        account: PreparedStatements,
        description: Description = UNDESCRIBED,
        extended: bool = True,
        effect: TransactionEffect = TransactionEffect.NONE,
    ) -> None:
        super().__init__(description)
        self._account = account
        self.extended = extended
        self.effect = effect

    def add(self, result: Result) -> None:
        if self.after_begin and not self._begun:
            self._begun = True
            self._account.unsettled = False
            return
        if self.text is not None:
            self.hear(result.tag, self.text)
        elif result.fields is None and result.tag is not None and result.tag.startswith("SELECT"):
            self.hear(result.tag, SELECT_INTO)  # it gives no rows
        self.results.append(result)

    def hear(self, tag: str | None, text: bytes) -> None:
        """Draw the consequences of a statement that has succeeded."""
        account = self._account
        if not account.changes_session and changes_session(tag, text):
            account.changes_session = True
        if self.status_before is TransactionStatus.IDLE and not self.results:
            account.unsettled = False
        match consequence(tag, text):
            case Consequence.DROPPED:
                account.clear()
                self._dropped = True
            case Consequence.CHANGED:
                account.renew()
                account.unsettled = True
            case Consequence.UNDONE:
                account.undo()
            case Consequence.NONE:
                pass

    def finish(self) -> None:
        if self._begun and not (self.extended or self.results or self.error or self.failure):
            # An empty query: after a BEGIN in the same string the server does not mention it.
            self.results.append(Result())
        if self.entry is not None:
            parsed = (self.reused or self.parsed > self.after_begin) and not self._dropped
            # The server refuses a query whose result is another by now. Any other statement is described each time.
            if parsed and self.text is None and self.error is None and not self.abandoned:
                result = self.results[-1] if self.results else Result()
                self.entry.fields = Layouts(result.fields)
            self._account.closing += self._account.executed(self.entry, parsed)
            self.entry = None
        if self.text is not None and self.abandoned:
            # Nobody has looked at what it has done.
            self._account.renew()
            self._account.unsettled = self._account.changes_session = True
        elif self.error is not None:
            # Maybe that of a COMMIT, or of a text that was a transaction.
            self._account.undo()
        Request.finish(self)


class RememberedRequest(RowsRequest):
    """A request of a statement that is prepared already, with nothing before it: there is no account to settle."""

    foreseen = False
    after_begin = False
    reused = True


class CommandRequest(Request):
    """BEGIN, COMMIT, ROLLBACK and what has to do with savepoints, run by the driver itself by the simple protocol.

    :param undoes: whether it may undo what was done before it.
    :param cancellable: see :attr:`Request.cancellable`; so for `effect`.
    :param on_end: called with the request at its end, by whoever reads that.
    """

    extended = False

    def __init__(
        self,
        account: PreparedStatements,
        *,
        undoes: bool,
        cancellable: bool = True,
        effect: TransactionEffect,
        on_end: Callable[[CommandRequest], object] | None = None,
    ) -> None:
        super().__init__()
        self._account = account
        self._undoes = undoes
        self.cancellable = cancellable
        self.effect = effect
        self.on_end = on_end

    @property
    def tag(self) -> str | None:
        """The command tag of the last statement that has succeeded."""
        return self.results[-1].tag if self.results else None

    def finish(self) -> None:
        if self.on_end is not None:
            self.on_end(self)
        if self._undoes or self.error is not None:
            self._account.undo()
        if self.effect is not TransactionEffect.NONE:
            self._account.unsettled = False
        Request.finish(self)


def add_begin(request: StatementRequest, data: bytearray, begin: bytes) -> None:
    """Append a BEGIN, to be run before what follows up to the Sync; if it fails, nothing of that is run."""
    request.after_begin = True
    if request.effect is TransactionEffect.NONE:
        request.effect = TransactionEffect.BEGINS
    frontend.parse(data, b"", begin, ())
    bind(data, b"", b"", (), (), ())
    data += frontend.EXECUTE
