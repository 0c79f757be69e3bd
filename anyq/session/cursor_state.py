"""CursorState: an asynchronous cursor without what is awaited, and the shortest way from a query to its rows.

Knows the session, and where a cursor is in its results. Must not know how a query is executed that has anything special
about it. Compiled, it is kept without a dictionary.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, Final

from ..abc import Params, Query
from ..errors import InterfaceError
from ..protocol.constants import Format
from ..rows import AsyncRowFactory, check_row_factory, tuple_row
from ..statements.binders import SERVER_SIDE, Binder
from ..statements.fetching import FetchState
from ..statements.requests import RowsRequest
from ..tracing.telling import Running
from .session import Session
from .tracing import end_with

_TEXT: Final = Format.TEXT
NOTHING_SENT: Final = (None, None)


def _other_api(cursor: object, connection: object, error: AttributeError) -> InterfaceError:
    name = type(connection).__qualname__
    # What is only on its way to a connection says what to do, behind what it is that it has not.
    advice = str(error).partition(": ")[2] or "use its cursor()"
    return InterfaceError(f"{type(cursor).__qualname__} needs an AsyncConnection, not a {name}: {advice}")


class CursorState(FetchState):
    """What an asynchronous cursor has besides results. Compiled, it is kept without a dictionary."""

    _binder: Binder = SERVER_SIDE

    # The only __init__ of all that a cursor is, so that the compiled one is called without another around it.
    def __init__(self, connection: Any, *, row_factory: AsyncRowFactory[Any] | None = None) -> None:
        if row_factory is not None and row_factory is not tuple_row:
            check_row_factory(row_factory)
        try:
            self._set_up(connection.row_factory if row_factory is None else row_factory)
            self._conn = connection
            self._session: Session = connection.session
        except AttributeError as error:
            raise _other_api(self, connection, error) from None
        if self._session.wire.protocol.over:
            self._session.check_open()
        self._held = self._session.held
        self._rested = False
        """Whether `execute()` has let others run, and nothing was fetched since."""
        self._sent: tuple[Any, Any] = NOTHING_SENT
        """The request of a remembered query that is under way, or has failed, and its messages."""
        self._format = _TEXT
        self._running: Running | None = None
        """What those who watch are to be told the end of."""

    def may_fetch(self) -> bool:
        """For this package: return whether `execute()` has just let others run, and the task is not cancelled: once."""
        if self._rested and self.late is None and self._session.wire.backend.check.passes():
            self._rested = False
            return True
        return False

    def send_remembered(
        self, query: Query, params: Params | None, prepare: bool | None, binary: bool | None
    ) -> Awaitable[None] | None:
        """For this package: send a query that is known by its text; return what waits for its reply.

        None, if there is anything special about it, or about the connection: nothing has been done then, but that those
        who watch may have been told.
        """
        self._running = None
        session, held = self._session, self._held
        if (
            prepare is None
            and binary is None
            and not self._format
            and type(query) is str
            and held.adaptation is None
            and not session.transactions.pipelines
            and not self._closed
            and (self._binder is SERVER_SIDE or self._binder.remembers)
            and session.transactions.at_once
        ):
            wire = session.wire
            known = session.remembered.get((query,) if params is None else query)
            if known is not None and wire.may_send():
                self.begin()
                tracing = session.query_tracing
                if tracing is not None:
                    self._running = tracing.begin("execute", query, params)
                composed = known.compose(params, wire.protocol.parameters, None)
                if composed is not None:
                    self._sent = composed
                    return wire.run(composed[0], composed[1])
        return None

    def has_arrived(self) -> bool:
        """For this package: take what has come of :meth:`send_remembered`; return whether nothing is left to do."""
        request: Any = self._sent[0]
        if not request.succeeded():
            return False
        self._sent = NOTHING_SENT
        self.take_executed(request)
        return self._session.settle is None

    def take_executed(self, request: RowsRequest) -> None:
        """For this package: have the results of a request that `execute()` has waited for."""
        self.take_request(request)
        self._rested = True
        if self._running is not None:
            running, self._running = self._running, None
            end_with(running, request.results)

    def begin(self) -> None:
        """For this package: get ready for a statement.

        :raises Error: the cursor is closed, or its connection is.
        """
        if self._closed or self._session.wire.protocol.over:
            self.check_open()
        if self._result is not None or self._rowcount >= 0 or self.late is not None:
            self.forget_results()
