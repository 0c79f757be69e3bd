"""Requests of statements: what they keep account of as their replies come, whoever reads these.

Knows prepared statements and the result of a request. Must not know how a request is written, or who waits for it.
"""

from __future__ import annotations

from .._accel import bind
from ..protocol import frontend
from ..protocol.request import UNDESCRIBED, Description, Request, Result, TransactionEffect
from .layout import Layouts
from .prepared import Entry, PreparedStatements

_FORGETTING = frozenset(("DEALLOCATE ALL", "DISCARD ALL"))
"""Tags of what makes the server forget all prepared statements."""


class StatementRequest(Request):
    """A request that keeps the account of prepared statements; see :class:`Request` for the other parameters."""

    entry: Entry | None = None
    """The statement to be prepared by this request; it has an account to settle when the reply is there."""
    foreseen = False
    """Whether it asks for the result formats that an earlier description of the statement suggests."""
    after_begin = False
    """Whether a BEGIN of ours is run before the statement: the first Parse and the first result are its."""
    _begun = False

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
            return
        if result.tag in _FORGETTING:
            self._account.clear()
        self.results.append(result)

    def finish(self) -> None:
        if self._begun and not (self.extended or self.results or self.error or self.failure):
            # An empty query: after a BEGIN in the same string the server does not mention it.
            self.results.append(Result())
        if self.entry is not None:
            parsed = self.parsed > self.after_begin
            if parsed and self.error is None and not self.abandoned and self.entry.fields is None:
                result = self.results[-1] if self.results else Result()
                self.entry.fields = Layouts(result.fields)
                self.entry.forgets = result.tag in _FORGETTING
            self._account.closing += self._account.executed(self.entry, parsed)
            self.entry = None
        Request.finish(self)


class RememberedRequest(Request):
    """A request of a statement that is prepared already, with nothing before it: there is no account to settle."""

    foreseen = False
    after_begin = False


def add_begin(request: StatementRequest, data: bytearray, begin: bytes) -> None:
    """Append a BEGIN, to be run before what follows up to the Sync; if it fails, nothing of that is run."""
    request.after_begin = True
    if request.effect is TransactionEffect.NONE:
        request.effect = TransactionEffect.BEGINS
    frontend.parse(data, b"", begin, ())
    bind(data, b"", b"", (), (), ())
    data += frontend.EXECUTE
