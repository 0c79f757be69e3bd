"""Composer: from a statement to the bytes of one request, for one connection.

Knows which messages run a statement: simple or extended protocol, prepared or not, in which formats, with the BEGIN
that it may need. In three steps: *choose* a delivery, *write* it, *remember* it. Must not know cursors, event loops, or
how values are adapted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from .._accel import bind
from ..adapt import Transformer
from ..adapt.encodings import encode_text, encoding_to_write
from ..errors import DataError, ProgrammingError
from ..protocol import frontend
from ..protocol.constants import Format
from ..protocol.handlers import copy_refusal
from ..protocol.request import UNDESCRIBED, Fields, TransactionEffect
from ..protocol.session_state import SessionState
from .layout import Descriptions, Layout
from .prepared import Entry, PreparedStatements, StatementKey
from .remembered import MAX_REMEMBERED, QueryKey, RememberedQuery
from .requests import StatementRequest, add_begin
from .segment import Queued, SegmentRequest
from .statement import Statement, copies, is_query, may_be_several

_TEXT = (Format.TEXT,)
_BINARY = (Format.BINARY,)
_MEANINGS = ("search_path", "client_encoding", "DateStyle", "IntervalStyle", "TimeZone", "standard_conforming_strings")
"""Parameters of the session that a text's meaning depends on: names, characters and constants in it. Servers before 18
do not report search_path."""


class Delivery(NamedTuple):
    """How a statement is going to be sent."""

    entry: Entry | None = None
    """The prepared statement that it is, or becomes; None to run it without a name."""
    simple: bool = False
    """By the simple protocol, which takes several statements, and no parameters."""
    layout: Layout | None = None
    """What its result is like, where the server is not asked for a description."""
    result_formats: Sequence[int] = _TEXT
    foreseen: bool = False
    """Whether these are what an earlier description suggests, while the server is asked for another one."""


class Composer:
    """Composes requests for one connection and remembers what the server has prepared for it.

    :param session: asked for the parameters that the server reports.
    """

    def __init__(self, prepare_threshold: int | None, session: SessionState) -> None:
        self.statements = PreparedStatements(prepare_threshold)
        """The account of prepared statements."""
        self.remembered: dict[QueryKey, RememberedQuery] = {}
        """What is known of queries by their text."""
        self._descriptions = Descriptions()
        self._described_at = self.statements.renewals
        self._session = session
        self._parameters = session.parameters
        self._meanings = self._read_meanings()

    def compose(
        self,
        statement: Statement,
        tx: Transformer,
        begin: bytes | None,
        *,
        prepare: bool | None,
        binary: bool | None,
        remember: tuple[QueryKey, Mapping[str, str]] | None = None,
    ) -> tuple[StatementRequest, bytearray]:
        """Return a request and its bytes, to be sent without another one in between.

        :param begin: the BEGIN to run first, if one is due.
        :param prepare: as for ``execute()``: None leaves it to the threshold.
        :param binary: True or False for all results in that format; None for binary where the statement is prepared.
        :param remember: what to remember the query by, with the server's parameters.
        :raises ProgrammingError: the statement is a COPY whose data goes through the connection.
        """
        if self._session.parameters is not self._parameters:
            self._parameters_changed()
        query = is_query(statement.sql)
        if not query:
            refuse_copy(statement.sql)
        delivery = self._choose(statement, statement.simple, query, tx, begin, prepare, binary)
        request, data = self._write(statement, delivery, query, tx, begin)
        if remember is not None and delivery.layout is not None:
            self._remember(statement, delivery.entry, delivery.layout, *remember)
        return request, data

    def _choose(
        self,
        statement: Statement,
        simple: bool,
        query: bool,
        tx: Transformer,
        begin: bytes | None,
        prepare: bool | None,
        binary: bool | None,
    ) -> Delivery:
        sql = statement.sql
        entry: Entry | None = None
        # What has no plan is prepared only if somebody insists.
        if prepare or query and (not simple or b";" not in sql):
            entry = self.statements.lookup((sql, statement.oids), prepare)
        if entry is not None and entry.prepared and entry.fields is not None:
            layout: Layout = entry.fields.get(tx, binary)
            return Delivery(entry, False, layout, layout.result_formats)
        if entry is None and simple and not binary and (begin is None or statement.only_simple or may_be_several(sql)):
            return Delivery(simple=True)
        if binary:
            layouts = self._known_descriptions().find(statement.key)
            fields = layouts.get(tx, True).description[0] if layouts is not None else None
            if fields is not None:
                # One for each, so that the server refuses them if there are more columns by now, or less (but
                # where there was a single one, as that would stand for all).
                return Delivery(entry, False, None, [field.format for field in fields], True)
        return Delivery(entry)

    def _write(
        self, statement: Statement, delivery: Delivery, query: bool, tx: Transformer, begin: bytes | None
    ) -> tuple[StatementRequest, bytearray]:
        sql, values, oids, formats, *_ = statement
        entry, simple, layout, result_formats, foreseen = delivery
        data = bytearray()
        self.close_left(data)
        query = query and not (simple and may_be_several(sql))
        effect = TransactionEffect.NONE if query else TransactionEffect.UNCERTAIN
        if simple:
            if begin is not None:
                # Refused as a whole if there is an error in the syntax.
                effect = TransactionEffect.UNCERTAIN
            request = StatementRequest(self.statements, extended=False, effect=effect)
            request.tx = tx
            request.after_begin = begin is not None
            request.text = None if query else sql
            # BEGIN in the same string: if it fails, what follows does not run outside a transaction.
            frontend.query(data, sql if begin is None else begin + b";" + sql)
            return request, data
        if layout is not None:
            request = StatementRequest(self.statements, layout.description, effect=effect)
        else:
            request = StatementRequest(self.statements, effect=effect)
            request.tx = tx
        if not query:
            request.text = sql
        if begin is not None:
            # Its Execute comes before the statement's Parse: there is a transaction even if that fails.
            add_begin(request, data, begin)
        name = b"" if entry is None else entry.name
        if layout is not None:
            request.reused = True
            bind(data, b"", name, formats, values, result_formats, frontend.EXECUTE_SYNC)
            return request, data
        if entry is None or not entry.prepared:
            frontend.parse(data, name, sql, oids)
        else:
            # By a request that had no description of it, or whose reply nobody looked at: so it is described now.
            request.reused = True
        request.foreseen = foreseen
        request.entry = entry
        bind(data, b"", name, formats, values, result_formats, frontend.DESCRIBE_EXECUTE_SYNC)
        return request, data

    def _remember(
        self, statement: Statement, entry: Entry | None, layout: Layout, key: QueryKey, parameters: Mapping[str, str]
    ) -> None:
        if entry is None or statement.query is None:
            return
        known = self.remembered.get(key)
        if known is None or known.is_outdated():
            if len(self.remembered) >= MAX_REMEMBERED:
                self.remembered.clear()
            self.remembered[key] = RememberedQuery(
                self.statements, statement, statement.query, entry, layout, parameters
            )

    def catch_up(self, data: bytearray) -> None:
        """Take note of what the server has reported, and append the messages that close what is not wanted any more."""
        if self._session.parameters is not self._parameters:
            self._parameters_changed()
        self.close_left(data)

    def begin_segment(self, data: bytearray, begin: bytes | None) -> SegmentRequest:
        """Return a request for statements of a pipeline, and append what goes before the first one."""
        self.catch_up(data)
        request = SegmentRequest(self.statements)
        if begin is not None:
            add_begin(request, data, begin)
        return request

    def add_to_segment(self, request: SegmentRequest, data: bytearray, item: Queued) -> None:
        """Append the messages of one statement; if it raises, it has appended nothing.

        :raises DataError: they would be too long for the server.
        """
        statement, tx, query = item.statement, item.tx, item.query
        key = statement.key
        if not request.by_name:
            delivery = Delivery()
        elif item.prepare is not False and key in request.preparing:
            delivery = Delivery(request.preparing[key])
        else:
            delivery = self._choose(statement, False, query, tx, None, item.prepare, item.binary)
        entry, _, layout, result_formats, item.foreseen = delivery
        item.description, item.entry = UNDESCRIBED, None
        name = b"" if entry is None else entry.name
        item.reused = entry is not None and entry.prepared
        mark = len(data)
        try:
            if layout is not None:
                item.description = layout.description
                bind(data, b"", name, statement.formats, statement.values, result_formats, frontend.EXECUTE)
            else:
                parse = key != request.unnamed if entry is None else not (entry.prepared or key in request.preparing)
                if parse:
                    frontend.parse(data, name, statement.sql, statement.oids)
                if item.binary and not item.foreseen:
                    result_formats = _BINARY
                bind(data, b"", name, statement.formats, statement.values, result_formats, frontend.DESCRIBE_EXECUTE)
                if parse:
                    request.parses += 1
                    if entry is None:
                        request.unnamed = key
                    else:
                        item.entry = request.preparing[key] = entry
                        item.number = request.parses
                elif entry is not None and entry.prepared:
                    item.entry = entry  # for its description
        except BaseException:
            del data[mark:]
            if entry is not None and not entry.prepared and key not in request.preparing:
                self.statements.executed(entry, False)
            raise
        if not query:
            # It may change what others were parsed against, or drop them.
            request.effect = TransactionEffect.UNCERTAIN
            request.by_name, request.unnamed = False, None
        request.add_item(item)

    def compose_describe(self, statement: Statement, begin: bytes | None) -> tuple[StatementRequest, bytearray] | None:
        """Return the request that describes a statement for binary results; None if its description is known.

        :raises ProgrammingError: the statement is a COPY whose data goes through the connection.
        """
        if not is_query(statement.sql):
            # It may have another result each time.
            refuse_copy(statement.sql)
        elif self._known_descriptions().find(statement.key) is not None:
            return None
        request = _DescribeRequest(self, statement)
        data = bytearray()
        if begin is not None:
            add_begin(request, data, begin)
        frontend.parse(data, b"", statement.sql, statement.oids)
        frontend.describe(data, b"S", b"")
        data += frontend.SYNC
        return request, data

    def described(self, statement: StatementKey, fields: Fields | None) -> None:
        """Remember the description that was asked for by :meth:`compose_describe`."""
        self._known_descriptions().add(statement, fields)

    def forget(self, statement: StatementKey) -> None:
        """Forget what is known of a statement: it may have gone stale."""
        self.statements.closing += self.statements.discard(statement)
        self._descriptions.discard(statement)

    def _known_descriptions(self) -> Descriptions:
        """Return the descriptions that may still be right."""
        if self._described_at != self.statements.renewals:
            self._described_at = self.statements.renewals
            self._descriptions = Descriptions()
        return self._descriptions

    def _parameters_changed(self) -> None:
        """Look whether the server has reported a change that gives texts another meaning."""
        self._parameters = self._session.parameters
        meanings = self._read_meanings()
        if meanings != self._meanings:
            self._meanings = meanings
            self.statements.renew()

    def _read_meanings(self) -> list[str | None]:
        return [self._parameters.get(name) for name in _MEANINGS]

    def close_left(self, data: bytearray) -> None:
        """Append the messages that close what is not wanted any more: prepared statements, and named cursors."""
        closing = self.statements.closing
        while closing:  # a finalizer in another thread may add to it
            name = closing.pop()
            if isinstance(name, bytes):
                frontend.close(data, b"S", name)
                continue
            with suppress(DataError):  # the client encoding is one by now that has no such name
                frontend.close(data, b"P", encode_text(name, encoding_to_write(self._session.encoding)))


class _DescribeRequest(StatementRequest):
    """Gives the composer a description as soon as it is there: a change that comes after it makes it out of date."""

    def __init__(self, composer: Composer, statement: Statement) -> None:
        super().__init__(composer.statements)
        self._composer = composer
        self._key = statement.key

    def finish(self) -> None:
        if self.error is None and self.failure is None and not self.abandoned:
            self._composer.described(self._key, self.description[0])
        super().finish()


def refuse_copy(sql: bytes) -> None:
    """Refuse a COPY whose data would go through the connection, before anything is sent.

    :raises ProgrammingError: it is one.
    """
    direction = copies(sql)
    if direction:
        raise ProgrammingError(copy_refusal("FROM STDIN" if direction == b"FROM" else "TO STDOUT"))
