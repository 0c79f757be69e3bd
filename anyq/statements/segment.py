"""Segments: statements of a pipeline that are sent together, up to one Sync, and what becomes of each.

An error in one of them makes the server skip those behind it, to the Sync. So each statement has an outcome of its own:
a result, its error, or that it was skipped.

Knows the order of statements and of their replies, and prepared statements. Must not know when a segment is sent, or
cursors.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..adapt import Transformer
from ..errors import DataError, Error, NotSupportedError, OperationalError, PipelineAborted
from ..protocol.request import UNDESCRIBED, Description, Result
from .layout import Layouts
from .prepared import Entry, PreparedStatements, StatementKey
from .requests import RowsRequest, StatementRequest
from .statement import Statement, copies, first_word, is_query, past_empty_statements

_STAYS = frozenset(
    b"CREATE ALTER DROP SHOW EXPLAIN LISTEN UNLISTEN NOTIFY LOCK TRUNCATE COMMENT GRANT REVOKE ANALYZE".split()
    + b"BEGIN START SAVEPOINT RELEASE DECLARE FETCH MOVE CLOSE PREPARE DEALLOCATE REFRESH VACUUM REINDEX".split()
)
"""What ends no transaction, and changes no setting, beside queries. (PREPARE TRANSACTION has a second word.)"""


_ODD = (b";", b"/", b"-", b" ", b"\t", b"\n", b"\r", b"\f", b"\v")
"""What empty statements and comments begin with."""

SENT = Statement(b"", (), (), ())
"""What stands for a statement when it is not needed any more: its values may be large."""


class Queued:
    """A statement in a pipeline, with what has become of it."""

    __slots__ = (
        *("binary", "description", "done", "ends", "entry", "error", "foreseen", "number", "prepare"),
        *("query", "reloads", "request", "result", "reused", "statement", "told", "tx"),
    )

    def __init__(self, statement: Statement, tx: Transformer, prepare: bool | None, binary: bool | None) -> None:
        self.statement = statement
        self.tx = tx
        self.prepare = prepare
        self.binary = binary
        sql = statement.sql
        if sql[:1] in _ODD:
            sql = past_empty_statements(sql)
        self.query = query = is_query(sql)
        """Whether it is one, if it is a single statement."""
        if not query and copies(sql):
            raise NotSupportedError(
                "COPY cannot be used in a pipeline block: use it before or behind the block, or in another task"
            )
        self.ends = not query and _ends_segment(sql)
        """Whether nothing may be sent behind it before its reply is there."""
        self.description: Description = UNDESCRIBED
        """What its result is like, where the server is not asked."""
        self.entry: Entry | None = None
        """The statement to be prepared by it."""
        self.number = 0
        """How many Parse messages there are before and with it."""
        self.reused = False
        self.foreseen = False
        self.reloads = False
        """Whether its rows are to be loaded by other adapters than are known here."""
        self.done = False
        """Whether there is a result or an error, and nothing more to come."""
        self.result: Result | None = None
        self.request: RowsRequest | None = None
        """What its result is kept with."""
        self.error: Exception | None = None
        self.told = False
        """Whether the error was raised to somebody."""

    def succeed(self, result: Result, request: RowsRequest) -> None:
        """Have a result."""
        self.result, self.request = result, request
        self.done = True

    def fail(self, error: Exception) -> None:
        """Have an error, if there is no outcome yet."""
        if not self.done:
            self.error = error
            self.done = True

    def raise_error(self) -> None:
        """Raise the error, if there is one; each time without the traceback of the last one."""
        if self.error is not None:
            self.told = True
            raise self.error.with_traceback(None)


def _ends_segment(sql: bytes) -> bool:
    """Return whether a utility statement may change settings, end the transaction, or be a COPY.

    What is bound behind it has to know what has become of that. It is so for any that is not known to do less.
    """
    word = first_word(sql)
    return word not in _STAYS or word == b"PREPARE" and b"transaction" in sql.lower()


class _OneResult(RowsRequest):
    """What the result of one statement is kept with, so that it does not keep those of the others."""

    def __init__(self, result: Result, parameters: Mapping[str, str] | None) -> None:
        super().__init__()
        self.results = [result]
        self.parameters = parameters
        self.done = True


class SegmentRequest(StatementRequest):
    """The request of a segment."""

    def __init__(self, account: PreparedStatements) -> None:
        super().__init__(account)
        self.items: list[Queued] = []
        """Its statements, in their order."""
        self.parses = 0
        """How many Parse messages have been written."""
        self.preparing: dict[StatementKey, Entry] = {}
        """The statements that it prepares: if that fails, whatever is behind it is skipped."""
        self.unnamed: StatementKey | None = None
        """What the unnamed statement is."""
        self.by_name = True
        """Whether statements may be run by their names: not behind one that may drop or change what they stand for."""
        self.completed = 0

    def add_item(self, item: Queued) -> None:
        """Take note of a statement whose messages have been written."""
        if not self.items:
            self.description = item.description
        self.items.append(item)

    def add(self, result: Result) -> None:
        if self.after_begin and not self._begun:
            super().add(result)
            self.description = self.items[0].description
            return
        items, completed = self.items, self.completed
        if completed >= len(items):
            return  # a server that gives more results than it was asked for
        item = items[completed]
        self.completed = completed = completed + 1
        if completed < len(items):
            self.description = items[completed].description
        if item.entry is not None:
            self._settle(item.entry, item, result)
        self.text = None if item.query else item.statement.sql
        super().add(result)

    def _settle(self, entry: Entry, item: Queued, result: Result) -> None:
        if item.query:
            entry.fields = Layouts(result.fields)
        item.entry = None
        self._account.closing += self._account.executed(entry, True)

    def finish(self) -> None:
        for item in self.items:
            if item.entry is not None:
                # What was skipped has not been parsed.
                parsed = self.parsed - self.after_begin >= item.number
                entry, item.entry = item.entry, None
                self._account.closing += self._account.executed(entry, parsed)
        # If it was abandoned, nobody has looked at what its statements have done.
        self.text = next((item.statement.sql for item in self.items if not item.query), None)
        super().finish()

    def failed_item(self) -> Queued | None:
        """Return the statement that failed; None if none did, or what failed is their transaction."""
        # What is refused here is a COPY, behind which there is nothing.
        number = self.completed if self.failure is None else min(self.completed, len(self.items) - 1)
        return self.items[number] if number < len(self.items) else None

    def distribute(self, failure: Exception | None, *, lost: bool = False) -> None:
        """Give each statement its outcome.

        :param failure: that of the statement that failed.
        :param lost: whether that is the end of the connection.
        """
        failed = self.failed_item()
        before = self.parameters_before
        for item, result in zip(self.items, self.results, strict=False):
            if item is failed:
                break
            request = _OneResult(result, self.parameters)
            if before is not None:
                self._find_parameters(item, request, before)
            refusal = no_binary_format(item, result)
            if refusal is None:
                item.succeed(result, request)
            else:
                item.fail(refusal)
        if failed is not None and failure is not None:
            failed.fail(failure)
        for item in self.items:
            if not item.done:
                item.fail(not_received(str(failure)) if lost else skipped(item, failure))

    def _find_parameters(self, item: Queued, request: _OneResult, before: Mapping[str, str]) -> None:
        """Say by which of the server's parameters a result was written, where these have changed in the segment."""
        last = self.items[-1]
        if last.ends and item is not last:
            # What changes settings is the last one of a segment, but for functions that do so.
            request.parameters = before
        elif not last.ends:
            request.parameters_before = before
            if len(self.items) > 1:
                request.results.append(Result())  # there were others, so that it is not known when it was


def skipped(item: Queued, failure: Exception | None) -> PipelineAborted:
    """Return the error of a statement that was not run, as another one failed.

    :param failure: the error of that.
    """
    reason = str(failure).partition("\n")[0] if failure is not None else "the pipeline had failed"
    query = failure.query if isinstance(failure, Error) else None
    where = f" (in {_short(query)})" if query else ""
    error = PipelineAborted(
        f"the statement was not run, as one before it in the pipeline has failed: {reason}{where}. "
        "Call sync() on the pipeline to go on behind an error"
    )
    statement = item.statement
    # Without the values that a client cursor has put into the text.
    sql = statement.query.sql if statement.literals and statement.query is not None else statement.sql
    error.query = sql.decode(item.tx.encoding, "replace")
    error.__cause__ = failure
    return error


def _short(query: str) -> str:
    text = " ".join(query.split())
    return repr(text if len(text) <= 60 else text[:57] + "...")


def not_received(reason: str) -> OperationalError:
    """Return the error of a statement whose reply nobody has got."""
    return OperationalError(f"the result of the statement was not received: {reason}")


def no_binary_format(item: Queued, result: Result) -> DataError | None:
    """Return the error for a column that came in binary format, as was asked for, and cannot be loaded from that."""
    if item.binary:
        for field in result.fields or ():
            if field.format and not item.tx.has_binary_loader(field.type_oid):
                return DataError(
                    f"column {field.name!r} came in binary format, and there is no loader for that (type oid "
                    f"{field.type_oid}): in a pipeline columns are not described before; execute the statement without "
                    "binary=True, or outside of the pipeline"
                )
    return None
