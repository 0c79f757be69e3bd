"""Cursors: how classes of cursors are mixed that programs of psycopg make for themselves.

Knows which class is inside a synchronous cursor, and what puts parameters into a statement. Must not know how.
"""

from __future__ import annotations

from typing import Any

from typing_extensions import TypeVar

from anyq import AsyncClientCursor, AsyncServerCursor, Transformer
from anyq.abc import Params, Query
from anyq.cursor import ConnectionT
from anyq.rows import TupleRow
from anyq.statements.binders import CLIENT_SIDE
from anyq.statements.placeholders import ParsedQuery
from anyq.statements.statement import Statement

Row = TypeVar("Row", default=TupleRow)


class NotingBinder:
    """Puts parameters into statements as literals, and notes in a cursor what came of it.

    :param cursor: which gets the attribute ``noted``, the text of the last statement.
    """

    extended = CLIENT_SIDE.extended
    remembers = CLIENT_SIDE.remembers

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    def bind(self, query: Query, params: Params | None, tx: Transformer) -> Statement:
        statement = CLIENT_SIDE.bind(query, params, tx)
        self._cursor.noted = statement.sql
        return statement

    def parse(self, query: Query, tx: Transformer) -> ParsedQuery | None:
        return CLIENT_SIDE.parse(query, tx)


class AsyncClientServerCursor(AsyncServerCursor[Row, ConnectionT]):
    """A named cursor whose query has its parameters as literals."""

    _binder: Any = property(NotingBinder)


class ClientCursorMixin:
    """Has a class of cursors put parameters into statements as literals, named cursors too.

    As the first base, as in ``class Cursor(ClientCursorMixin, ServerCursor)``; of asynchronous cursors, too.
    """

    # Each kind of cursor looks at one of them.
    async_class: Any = AsyncClientCursor
    _named_class: Any = AsyncClientServerCursor
    _binder: Any = property(NotingBinder)

    def mogrify(self, query: Query, params: Params | None = None) -> str:
        """Return the statement with its parameters as it would be sent."""
        inner: Any = getattr(self, "async_cursor", self)
        return AsyncClientCursor.mogrify(inner, query, params)
