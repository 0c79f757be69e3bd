"""Named cursors as a session has them: declared, described, fetched from, closed.

Knows the session and when a statement of a cursor may be sent. Must not know what becomes of rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ..adapt import Transformer
from ..adapt.quoting import quote_identifier
from ..backends import uninterrupted
from ..errors import Error, InvalidCursorName, OperationalError
from ..protocol.request import Fields, Request, Result
from ..statements.declare import (
    DeclareRequest,
    Options,
    compose_close,
    compose_declare,
    compose_describe,
    compose_fetch,
    failure_of_declare,
    failure_of_fetch,
)
from ..statements.layout import Layouts, changed_format
from ..statements.outcome import failure_of
from ..statements.requests import RowsRequest
from ..statements.statement import Statement
from .cancelling import was_victim
from .execute import undo_begin
from .session import Session
from .tracing import end_with


class Piece(NamedTuple):
    """Rows that have been fetched together."""

    request: RowsRequest
    result: Result


@uninterrupted
async def declare(
    session: Session,
    statement: Statement,
    tx: Transformer,
    options: Options,
    own: DeclareRequest | None,
    begun: Callable[[DeclareRequest], None],
) -> DeclareRequest:
    """Declare a cursor for a query; the request that is returned has its columns.

    :param own: what the same object has declared before, which is closed.
    :param begun: called with the request before it is sent.
    :raises Error: what the server says.

    A cancellation cancels it; if it was too late for that, the cursor is closed with the next statement.
    """
    while True:
        begin = await session.transactions.turn()
        request, data = compose_declare(session.composer, session.cursors, statement, options, tx.encoding, begin, own)
        begun(request)
        await session.wire.run(request, data)
        if request.error is None and request.failure is None and request.results:
            return request
        if not was_victim(request):
            break
        own = None
        await undo_begin(session, request)
    failure = failure_of(request, None, session.composer.statements)
    bytewise = session.wire.protocol.parameters.get("server_encoding") == "SQL_ASCII"
    failure = failure_of_declare(failure, options.head(tx.encoding), statement, tx.encoding, bytewise)
    raise session.explained(failure, statement, tx.encoding)


@uninterrupted
async def describe(session: Session, name: str, tx: Transformer) -> Fields | None:
    """Return the columns of a cursor that somebody else has declared.

    :raises Error: there is none of that name.
    """
    while True:
        await session.transactions.turn_without_begin()
        request, data = compose_describe(session.composer, name, tx.encoding)
        await session.wire.run(request, data)
        if not was_victim(request):
            break
    if request.error is not None or request.failure is not None:
        raise failure_of_fetch(request.failure or request.error or AssertionError())
    return request.description[0]


@uninterrupted
class Fetching:
    """Fetches from one cursor, and knows whether it is known where that is.

    :param layouts: of the columns.
    :param statement: the query; None if somebody else has declared the cursor.
    """

    def __init__(self, session: Session, name: str, layouts: Layouts, statement: Statement | None) -> None:
        self._session = session
        self._name = name
        self._layouts = layouts
        self._statement = statement
        self.lost = False
        """Whether the server may have gone on in the cursor without anybody having got the rows."""

    def described(self, result: Result) -> Result:
        """Return a result without rows that has the columns."""
        result.fields = self._layouts.fields
        return result

    async def fetch(self, direction: str, tx: Transformer, binary: bool | None) -> Piece:
        """Fetch rows.

        :param direction: such as ``FORWARD 100``.
        :raises Error: what the server says.

        After a cancellation when it was under way, and after an error of the query, rows are :attr:`lost`.
        """
        tracing = self._session.query_tracing
        if tracing is None:
            return await self._fetch(direction, tx, binary)
        running = tracing.begin("fetch", f"FETCH {direction} FROM {quote_identifier(self._name)}")
        try:
            piece = await self._fetch(direction, tx, binary)
        except BaseException as error:
            running.fail(error)
            raise
        end_with(running, (piece.result,))
        return piece

    async def _fetch(self, direction: str, tx: Transformer, binary: bool | None) -> Piece:
        session = self._session
        await session.transactions.turn_without_begin()
        layout = self._layouts.get(tx, binary)
        request, data = compose_fetch(session.composer, self._name, tx.encoding, direction, list(layout.result_formats))
        request.tx = tx
        self.lost = True
        await session.wire.run(request, data)
        error = request.error
        if error is not None and (not request.bound or isinstance(error, InvalidCursorName)):
            self.lost = False  # nothing of it was run
        if error is None and request.failure is None:
            request.failure = changed_format(tx, request.description[0] or ())
        if error is not None or request.failure is not None or not request.results:
            failure = failure_of_fetch(request.failure or error or OperationalError("the server did not run a FETCH"))
            if self._statement is not None:
                failure = session.explained(failure, self._statement, tx.encoding)
            raise failure
        if session.settle is not None:
            await session.settle()
        return Piece(request, request.results[0])


@uninterrupted
async def close(session: Session, name: str, *, wait: bool) -> None:
    """Close a cursor, if it is there; nothing is to be done about it where the session is at its end.

    :param wait: False for a task that is on its way out; see :meth:`Wire.carry_out`.

    A cancellation does not undo it.
    """
    if session.closed:
        return
    request = Request()
    try:
        await session.wire.carry_out(request, compose_close(name, session.encoding), wait=wait)
    except OperationalError:
        if not session.closed:
            raise
    error: Error | None = request.error
    if error is not None and not session.closed:
        raise error
