"""From a bound statement to the bytes of one request, and what its reply means for later ones.

Knows: which messages run a statement (simple or extended protocol, prepared or not, with the BEGIN it may need), result
formats, prepared statements on this connection. Must not know cursors, event loops, or how values are adapted.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from .._accel import Alike, bind
from ..abc import Buffer, Params
from ..adapt import Transformer
from ..errors import (
    DataError,
    Error,
    FeatureNotSupported,
    InvalidSqlStatementName,
    ProtocolViolation,
    error_from_fields,
)
from ..protocol import frontend
from ..protocol.constants import Format, TransactionStatus
from ..protocol.request import UNDESCRIBED, Fields, LoadFunctions, Request, Result, TransactionEffect
from .placeholders import QueryPlan
from .prepared import Entry, PreparedStatements

MAX_DESCRIBED = 100
"""How many statements that asked for binary results without being prepared have their description remembered."""

_TEXT = (Format.TEXT,)


class Statement(NamedTuple):
    """A statement with its parameters, ready to be sent."""

    sql: bytes
    values: Sequence[Buffer | None]
    oids: tuple[int, ...]
    formats: Sequence[int]
    simple: bool = False
    """It may hold several statements, so it goes by the simple protocol unless it is prepared."""
    only_simple: bool = False
    """It must go by the simple protocol."""
    plan: QueryPlan | None = None
    """What its parameters were brought into order by; None where that is not known."""


def messages(append: Callable[[bytearray], None]) -> bytes:
    """Return what a function appends."""
    data = bytearray()
    append(data)
    return bytes(data)


_SYNC = messages(frontend.sync)
_EXECUTE = messages(lambda out: frontend.execute(out, b""))
_DESCRIBE = messages(lambda out: frontend.describe(out, b"P", b""))
_EXECUTE_SYNC = _EXECUTE + _SYNC
_DESCRIBE_EXECUTE_SYNC = _DESCRIBE + _EXECUTE_SYNC


class Layout:
    """The result of a statement whose description is known before it runs: what to ask for, and how to load it.

    One for each combination of the statement, the transformer and whether binary results are wanted.
    """

    __slots__ = ("adapters", "description", "result_formats", "tx", "version")

    def __init__(self, fields: Fields | None, tx: Transformer, binary: bool | None) -> None:
        self.tx = tx
        self.adapters = tx.adapters
        self.version = self.adapters.version
        self.description = UNDESCRIBED
        self.result_formats: Sequence[int] = ()
        if fields is not None:
            wanted = [int(_wants_binary(tx, field.type_oid, binary)) for field in fields]
            fields = tuple(field._replace(format=f) for field, f in zip(fields, wanted, strict=True))
            self.description = fields, load_functions(tx, fields)
            # One code stands for all columns.
            self.result_formats = wanted[:1] if len(set(wanted)) == 1 else wanted


class Layouts:
    """The layouts of one statement, made from its description when they are first needed."""

    __slots__ = ("_fields", "_made")

    def __init__(self, fields: Fields | None) -> None:
        self._fields = fields
        self._made: dict[bool | None, Layout] = {}

    def get(self, tx: Transformer, binary: bool | None) -> Layout:
        layout = self._made.get(binary)
        if layout is None or layout.tx is not tx or layout.version != layout.adapters.version:
            layout = self._made[binary] = Layout(self._fields, tx, binary)
        return layout


def _wants_binary(tx: Transformer, oid: int, binary: bool | None) -> bool:
    """Return whether to ask for a column in binary format; None leaves it to what is faster."""
    return tx.prefers_binary(oid) if binary is None else binary and tx.has_binary_loader(oid)


def load_functions(tx: Transformer, fields: Fields) -> LoadFunctions:
    """Return the load function of each column.

    :raises DataError: a column came in binary that should not have, because there was another when it was described.
    """
    for field in fields:
        if field.format and not tx.has_binary_loader(field.type_oid):
            raise DataError(
                f"the result has changed since the statement was described (column {field.name!r}); execute it again"
            )
    return [tx.get_load_function(field.type_oid, field.format) for field in fields]


QueryKey = tuple[str, bool]
"""The query as the user wrote it, and whether it came without parameters."""

MAX_REPEATS = 512
"""How many queries are known by their text at most."""

MISSES = 16
"""How often a query comes with other kinds of parameters before these are taken for those that it mostly has."""


class RememberedQuery:
    """How a statement was bound that is prepared: enough to bind it again to parameters that are alike."""

    __slots__ = ("alike", "description", "entry", "missed", "plan", "version")

    def __init__(self, statement: Statement, plan: QueryPlan, entry: Entry, layout: Layout, version: int) -> None:
        self.plan = plan
        self.entry = entry
        self.description = layout.description
        self.version = version
        self.alike = Alike(
            *(layout.tx, plan.formats, statement.oids, statement.formats, entry.name, layout.result_formats),
            _EXECUTE_SYNC,
        )
        self.missed = 0
        """How often it could not be used."""


_FORGETTING = frozenset(("DEALLOCATE ALL", "DISCARD ALL"))
"""Tags of what makes the server forget all prepared statements."""


class StatementRequest(Request):
    """A request that keeps the connection's account of prepared statements, whoever reads its reply."""

    executor: Executor
    """Whose account that is: to be set by whoever makes it. (Not by a constructor: one that calls another is slow.)"""
    entry: Entry | None = None
    """The statement to be prepared by this request; it has an account to settle when the reply is there."""
    foreseen = False
    """Whether it asks for the result formats that an earlier description of the statement suggests."""
    after_begin = False
    """Whether a BEGIN of ours is run before the statement: the first Parse and the first result are its; see
    :func:`add_begin`."""
    _begun = False

    def add(self, result: Result) -> None:
        if self.after_begin and not self._begun:
            self._begun = True
            return
        if result.tag in _FORGETTING:
            self.executor.statements.clear()
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
            self.executor.closing += self.executor.statements.executed(self.entry, parsed)
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
    data += _EXECUTE


class Executor:
    """Composes requests for one connection and remembers what the server has prepared for it."""

    def __init__(self, prepare_threshold: int | None) -> None:
        self.statements = PreparedStatements(prepare_threshold)
        self.closing: list[bytes] = []  # names of statements to close with the next request
        self.remembered: dict[QueryKey, RememberedQuery] = {}
        self._described: OrderedDict[tuple[bytes, tuple[int, ...]], Layouts] = OrderedDict()

    def compose(
        self,
        statement: Statement,
        tx: Transformer,
        begin: bytes | None,
        prepare: bool | None,
        binary: bool | None,
        key: QueryKey | None = None,
        version: int = 0,
    ) -> tuple[StatementRequest, bytearray]:
        """Return a request and its bytes, to be sent without another one in between.

        :param begin: the BEGIN to run first, if one is due.
        :param prepare: as for ``execute()``: None leaves it to the threshold.
        :param binary: True or False for all results in that format; None for binary where the statement is prepared.
        :param key: what to remember it by in ``remembered``.
        :param version: that of the connection's parameters.
        """
        sql, values, oids, formats, simple, only_simple, plan = statement
        entry: Entry | None = None
        if not simple or prepare or b";" not in sql:
            entry = self.statements.lookup((sql, oids), prepare)
        data = bytearray()
        if self.closing:
            self._close_statements(data)
        if entry is not None and entry.prepared and entry.fields is not None:
            layout: Layout = entry.fields.get(tx, binary)
            request = StatementRequest(None, layout.description)
            request.executor = self
            if ends_transaction(sql):
                request.effect = TransactionEffect.ENDS
            elif key is not None and plan is not None and not entry.forgets:
                known = self.remembered.get(key)
                if known is None or known.missed % MISSES == 0:
                    if len(self.remembered) >= MAX_REPEATS:
                        self.remembered.clear()
                    self.remembered[key] = RememberedQuery(statement, plan, entry, layout, version)
            if begin is not None:
                add_begin(request, data, begin)
            bind(data, b"", entry.name, formats, values, layout.result_formats, _EXECUTE_SYNC)
            return request, data
        request = StatementRequest(partial(load_functions, tx))
        request.executor = self
        if ends_transaction(sql):
            request.effect = TransactionEffect.ENDS
        if entry is None and simple and not binary and (begin is None or only_simple or b";" in sql.rstrip(_BLANKS)):
            request.extended = False
            # BEGIN in the same string: if it fails, what follows does not run outside a transaction.
            frontend.query(data, sql if begin is None else begin + b";" + sql)
            if begin is not None:
                request.after_begin = True
                if request.effect is TransactionEffect.NONE:
                    request.effect = TransactionEffect.MAY_BEGIN
            return request, data
        if begin is not None:
            # Its Execute comes before the statement's Parse: there is a transaction even if that fails.
            add_begin(request, data, begin)
        name = b"" if entry is None else entry.name
        if entry is None or not entry.prepared:
            frontend.parse(data, name, sql, oids)
        result_formats: Sequence[int] = _TEXT
        if binary:
            layouts: Layouts | None = self._described.get((sql, oids))
            fields = layouts.get(tx, True).description[0] if layouts is not None else None
            if fields is not None:
                # One for each, so that the server refuses them if there are more columns by now, or less (but
                # where there was a single one, as that would stand for all).
                result_formats = [field.format for field in fields]
                request.foreseen = True
        bind(data, b"", name, formats, values, result_formats, _DESCRIBE_EXECUTE_SYNC)
        # If it is prepared, that was by a request whose reply nobody looked at: describe it now, and settle nothing.
        if entry is not None and not entry.prepared:
            request.entry = entry
        return request, data

    def compose_again(
        self, repeat: RememberedQuery, params: Params | None, version: int, begin: bytes | None
    ) -> tuple[StatementRequest | RememberedRequest, bytearray] | None:
        """Do what :meth:`compose` does for a query that is prepared, None if it has to be called.

        The shortest way from a query to its bytes, for parameters of the same kinds as last time.

        :param version: that of the connection's parameters.
        """
        if version != repeat.version or not repeat.entry.prepared:
            repeat.missed = 0  # there will be another one
            return None
        if self.closing:
            return None
        if params is None:
            params = ()
        elif repeat.plan.names is not None:
            params = repeat.plan.bind_params(params)
        data = bytearray()
        request: StatementRequest | RememberedRequest
        if begin is None:
            request = RememberedRequest(None, repeat.description)
        else:
            request = StatementRequest(None, repeat.description)
            request.executor = self
            add_begin(request, data, begin)
        if not repeat.alike.bind(data, params):
            repeat.missed += 1
            return None
        self.statements.use(repeat.entry)
        return request, data

    def compose_describe(
        self, statement: Statement, tx: Transformer, begin: bytes | None
    ) -> tuple[StatementRequest, bytearray] | None:
        """Return the request that describes a statement for binary results; None if its description is known."""
        key = (statement.sql, statement.oids)
        if key in self._described:
            self._described.move_to_end(key)
            return None
        request = StatementRequest(partial(load_functions, tx))
        request.executor = self
        data = bytearray()
        if begin is not None:
            add_begin(request, data, begin)
        frontend.parse(data, b"", statement.sql, statement.oids)
        frontend.describe(data, b"S", b"")
        data += _SYNC
        return request, data

    def described(self, statement: Statement, fields: Fields | None) -> None:
        """Remember the description that was asked for by :meth:`compose_describe`."""
        self._described[statement.sql, statement.oids] = Layouts(fields)
        if len(self._described) > MAX_DESCRIBED:
            self._described.popitem(last=False)

    def forget(self, statement: Statement) -> None:
        """Forget what is known of a statement: its description has changed, or the server has lost it."""
        key = (statement.sql, statement.oids)
        self.closing += self.statements.discard(key)
        self._described.pop(key, None)

    def _close_statements(self, data: bytearray) -> None:
        for name in self.closing:
            frontend.close(data, b"S", name)
        self.closing.clear()


def went_stale(request: StatementRequest | RememberedRequest) -> bool:
    """Return whether a statement's plan or description went stale, or the statement itself is gone from the server."""
    error = request.error
    if request.foreseen and (request.failure is not None or isinstance(error, ProtocolViolation)):
        return True
    if isinstance(error, FeatureNotSupported):
        # "cached plan must not change result type": the text is translated, the function's name is not.
        return error.diag.source_function == "RevalidateCachedQuery"
    return isinstance(error, InvalidSqlStatementName)


def with_advice(error: Error, statements: PreparedStatements) -> Error:
    """Return the server's error, with a hint if it says that a statement is gone which was prepared for us."""
    if isinstance(error, InvalidSqlStatementName) and statements.prefix.decode() in str(error):
        return error_from_fields({**error.diag.fields, "H": _LOST_STATEMENT})
    return error


_LOST_STATEMENT = (
    "The statement was prepared on another server connection, as it happens behind a pooler in transaction mode: "
    "connect with prepare_threshold=None, or have the pooler keep prepared statements (max_prepared_statements of "
    "PgBouncer)."
)


def had_own_transaction(request: Request) -> bool:
    """Return whether no transaction was open before the request, so that its failure took nothing else with it."""
    return request.status_before is TransactionStatus.IDLE


def without_begin(error: Error, begin: bytes) -> Error:
    """Return a simple query's error with its position counted in the user's text, not in the one with BEGIN."""
    position = error.diag.statement_position
    if position is None:
        return error
    shift = len(begin) + 1
    return error_from_fields({**error.diag.fields, "P": str(max(1, int(position) - shift))})


_ENDS_TRANSACTION = re.compile(
    rb"(?:commit|end|abort|rollback(?!\s+(?:(?:work|transaction)\s+)?to\b)|prepare\s+transaction)\b", re.IGNORECASE
).match


def ends_transaction(sql: bytes) -> bool:
    """Return whether a statement is one that ends the transaction, so that the next one needs a BEGIN."""
    return sql[:1] in _ENDING_LETTERS and _ENDS_TRANSACTION(sql) is not None


_ENDING_LETTERS = frozenset(letter.encode() for letter in "CcEeAaRrPp")
_BLANKS = b"; \t\r\n"

_REPEATABLE = (b"SELECT", b"INSERT", b"UPDATE", b"DELETE", b"MERGE", b"VALUES", b"WITH", b"TABLE", b"SHOW")


def is_repeatable(sql: bytes) -> bool:
    """Return whether a statement that failed in a transaction of its own has certainly left nothing behind.

    CALL and DO may commit, VACUUM and CREATE INDEX CONCURRENTLY work outside transactions, and so on.
    """
    return sql.lstrip(b" \t\r\n(").upper().startswith(_REPEATABLE)


def affected_rows(tag: str | None, default: int = -1) -> int:
    """Return the number at the end of a command tag, which is that of the rows affected or returned."""
    if tag is None:
        return default
    last = tag.rpartition(" ")[2]
    return int(last) if last.isdecimal() else default


def no_rows_message(result: Result | None) -> str:
    """Return what to say to somebody who fetches from something that has no rows."""
    if result is None:
        return "no result to fetch from: execute a statement first"
    return f"the last statement returned no rows (command status: {result.tag or 'none'}); there is nothing to fetch"
