"""Connection: an asynchronous connection for threads that have no event loop.

Knows the asynchronous connection and how to call it. Must not know the protocol, SQL or event loops.
"""

from __future__ import annotations

import ssl
import warnings
from functools import partial
from types import TracebackType
from typing import Any, Generic, cast, overload
from weakref import ref

import anyio.abc
from anyio.from_thread import BlockingPortal
from typing_extensions import Self, TypeVar

from ..abc import AdaptContext, Params, Query
from ..adapt import AdaptersMap
from ..backends import Finalizer
from ..connection import GRACE_PERIOD, AsyncConnection
from ..conninfo import PasswordSource
from ..dbapi20 import ErrorClasses
from ..errors import ProgrammingError
from ..pq import NoLibpq
from ..protocol.constants import Format
from ..rows import RowFactory, TupleRow, check_row_factory, tuple_row
from ..server_cursor import FOR_NAMED_CURSORS
from ..session.busy_wait import BUSY_WAIT
from ..session.factories import ChecksFactories, check_cursor_factory
from ..session.info import ConnectionInfo, described
from ..session.wire import Wire
from ..startup.parameters import ConnectParameters
from ..startup.routes import Dial
from ..tracing import Tracer
from .calls import Calls
from .cursor import Cursor
from .direct import direct_of
from .notifying import Notifying
from .pipeline import Pipeline
from .portal import Portal
from .server_cursor import ServerCursor
from .shared_portal import leave_portal, open_portal
from .transaction import Transaction
from .transactions import TransactionSettings
from .two_phase import TwoPhaseCommit

Row = TypeVar("Row", default=TupleRow)
CursorRow = TypeVar("CursorRow")
NewRow = TypeVar("NewRow", default=TupleRow)


class Connection(ChecksFactories, TransactionSettings, TwoPhaseCommit, Notifying, ErrorClasses, NoLibpq, Generic[Row]):
    """A session with a server. Made by :meth:`connect`.

    Any number of threads may use it at the same time: their statements are pipelined, and share its transactions. A
    cursor is for one thread at a time.
    """

    factory_checks = {
        "row_factory": check_row_factory,
        "cursor_factory": partial(check_cursor_factory, wanted=Cursor),
        "server_cursor_factory": partial(check_cursor_factory, wanted=ServerCursor, what="server_cursor_factory"),
    }

    def __init__(
        self,
        async_connection: AsyncConnection[Any],
        portal: Portal,
        user: object,
        *,
        owner: bool,
        reachable: bool = True,
        row_factory: RowFactory[Row],
        cursor_factory: type[Cursor[Any]],
    ) -> None:
        session = async_connection.session
        if session.tracing is not None:
            session.tracing.for_threads = True
        direct = None if reachable else direct_of(session.wire, portal)
        calls = Calls(portal, user, session.wire.cancelling.grace, session.check_open, direct)
        super().__init__(async_connection, calls)
        self._if_forgotten: Finalizer | None = None
        if owner:
            async_connection.if_forgotten.call_off()  # this one says it
            wire = ref(session.wire)
            self._if_forgotten = Finalizer(
                self, _forgotten, portal, user, wire, described(self, self.info.summary("open"))
            )
        self.row_factory: RowFactory[Row] = row_factory
        """The factory of rows of cursors made from now on."""
        self.cursor_factory = cursor_factory
        """The class of cursors made from now on."""
        self.server_cursor_factory: type[ServerCursor[Any]] = ServerCursor
        """The class of named cursors made from now on."""

    # -- making one

    @classmethod
    def connect(
        cls,
        conninfo: str = "",
        *,
        autocommit: bool = False,
        prepare_threshold: int | None = 5,
        row_factory: RowFactory[NewRow] | None = None,
        cursor_factory: type[Cursor[Any]] | None = None,
        context: AdaptContext | None = None,
        grace_period: float = GRACE_PERIOD,
        busy_wait: float = BUSY_WAIT,
        stream: anyio.abc.ByteStream | None = None,
        dial: Dial | None = None,
        ssl_context: ssl.SSLContext | None = None,
        password: str | PasswordSource | None = None,
        tracer: Tracer | None = None,
        portal: BlockingPortal | None = None,
        **kwargs: str | int | float | None,
    ) -> Connection[NewRow]:
        """Connect to a server; use the connection in ``with`` to close it at the end.

        :param conninfo: a connection string or URI (manual, "Connection Strings").
        :param autocommit: False to begin a transaction with the first statement; True for a transaction a statement.
        :param prepare_threshold: executions of a statement before it is prepared; None to prepare none.
        :param row_factory: makes rows, by default tuples.
        :param cursor_factory: class of cursors, by default Cursor.
        :param context: where adapters are taken from, by default ``anyq.adapters``.
        :param grace_period: seconds that a cancelled operation may take to leave the connection clean; past them the
            connection is closed.
        :param busy_wait: seconds that the thread may be kept busy with looking for a reply, if no other one waits for
            one; see :meth:`AsyncConnection.connect`.
        :param stream: an open anyio byte stream of the portal's event loop to use instead of dialing; see
            :meth:`AsyncConnection.connect`.
        :param dial: opens streams to hosts, in the portal's event loop; see :meth:`AsyncConnection.connect`.
        :param password: the password, or a function that is given the :class:`HostSpec` of the host and returns it. It
            is called when a server asks, once for each attempt to log in: a coroutine function in the portal's event
            loop, any other in a worker thread. What it raises ends ``connect()``.
        :param tracer: is told of what the connection does; see :mod:`anyq.tracing`.
        :param portal: the event loop to work in, by default that of the portal that the process shares.
        :param ssl_context: a context to use TLS with instead of one made from sslrootcert, sslcert and the like. TLS is
            required then, and the context decides what is verified.
        :param kwargs: connection keywords, which override those of `conninfo`.
        :raises ProgrammingError, TypeError, ValueError: wrong keywords or values.
        :raises OperationalError: no server could be reached, or none let us in; the message has every attempt.
        :raises InterfaceError: this is the thread of the portal's event loop, or the portal is not running.
        """
        given = ConnectParameters.of(locals())
        # What shows the local variables of a traceback would show what is in them.
        del conninfo, password, kwargs
        given.check()
        check_row_factory(row_factory or tuple_row)
        check_cursor_factory(cursor_factory or Cursor, Cursor)
        user = object()
        made: list[AsyncConnection[Any]] = []

        async def make() -> None:
            made.append(await AsyncConnection.connect_with(given))

        try:
            opened = open_portal(portal, user)
            opened.call(grace_period, make)
            connection = cls(
                made[0],
                opened,
                user,
                owner=True,
                reachable=any(one is not None for one in (portal, stream, dial)),
                row_factory=cast(RowFactory[Any], row_factory or tuple_row),
                cursor_factory=cursor_factory or Cursor,
            )
            # Of the rows that its factory makes, whatever this class was parametrised with.
            return cast("Connection[NewRow]", connection)
        except BaseException:
            # Ctrl-C may come when it has been made.
            for one in made:
                opened.post(one.session.wire.close)  # pyright: ignore[reportPossiblyUnboundVariable]  # it was made by that
            leave_portal(portal, user)
            raise

    @classmethod
    def from_async(
        cls,
        connection: AsyncConnection[CursorRow],
        *,
        portal: BlockingPortal,
        cursor_factory: type[Cursor[Any]] | None = None,
    ) -> Connection[CursorRow]:
        """Return a synchronous connection for an asynchronous one, which other threads can use meanwhile.

        Both are the same session: closing one closes the other. Forgetting the synchronous one does nothing. The way
        back is :attr:`async_connection`.

        :param portal: a portal of the event loop in which `connection` was opened.
        :param cursor_factory: class of cursors, by default Cursor.
        :raises InterfaceError: this is the thread of the portal's event loop, or the portal is not running.
        """
        _ = connection.session  # what is no connection yet says so before it counts as a user of the portal
        return cls.on_portal(connection, open_portal(portal, connection), cursor_factory)

    @classmethod
    def on_portal(
        cls,
        connection: AsyncConnection[CursorRow],
        portal: Portal,
        cursor_factory: type[Cursor[Any]] | None = None,
        *,
        reachable: bool = True,
    ) -> Connection[CursorRow]:
        """For this package: do the same on a portal that somebody else keeps open.

        :param reachable: whether tasks may use the connection at any time.
        """
        make: Any = cls
        made: Connection[CursorRow] = make(
            connection,
            portal,
            object(),
            owner=False,
            reachable=reachable,
            row_factory=connection.row_factory,
            cursor_factory=cursor_factory or Cursor,
        )
        return made

    @property
    def async_connection(self) -> AsyncConnection[Any]:
        """The asynchronous connection inside, for tasks of the portal's event loop.

        From then on each call of this connection goes by that event loop, where those tasks are.
        """
        self.calls.let_tasks_in()
        return self._async

    @property
    def inner(self) -> AsyncConnection[Any]:
        """For this package: the asynchronous connection inside."""
        return self._async

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        """Commit, or on an exception roll back, and close the connection."""
        try:
            try:
                self.calls.call_unless_ended(self._async.__aexit__, exc_type, exc_val, exc_tb)
            finally:
                self._end_unless_pooled()
        except BaseException:
            self._end_unless_pooled()  # once more, as that may have been interrupted
            raise

    def _end_unless_pooled(self) -> None:
        if self._async.pooled is None:
            self._end()

    def __repr__(self) -> str:
        return described(self, self.info.summary("closed" if self.closed else None))

    # -- what it is

    @property
    def closed(self) -> bool:
        """Whether the connection is closed, by either side."""
        return self.calls.ended or self._async.closed or self.calls.portal.failure is not None

    @property
    def broken(self) -> bool:
        """Whether the connection was lost, or had to be closed; not by :meth:`close`."""
        return self._async.broken

    @property
    def info(self) -> ConnectionInfo:
        """What is known about the connection."""
        return self._async.info

    @property
    def adapters(self) -> AdaptersMap:
        """The adapters of this connection: what is registered here does not change the global ones."""
        return self._async.adapters

    @property
    def connection(self) -> Connection[Row]:
        """The connection itself: it is a context of adaptation."""
        return self

    @property
    def encoding(self) -> str:
        """The Python codec of the client encoding."""
        return self._async.encoding

    @property
    def peer_address(self) -> str | None:
        """The server's IP address; None on a Unix socket or a stream of the caller's."""
        return self._async.peer_address

    @property
    def prepare_threshold(self) -> int | None:
        """How many executions of a statement go before it is prepared; 0 for the first, None for never."""
        return self._async.prepare_threshold

    @prepare_threshold.setter
    def prepare_threshold(self, value: int | None) -> None:
        self._async.prepare_threshold = value

    @property
    def prepared_max(self) -> int | None:
        """How many prepared statements are kept on the server; None for any number."""
        return self._async.prepared_max

    @prepared_max.setter
    def prepared_max(self, value: int | None) -> None:
        self._async.prepared_max = value

    def check_open(self) -> None:
        """Raise an OperationalError if the connection is closed."""
        self.calls.check_open()

    def fileno(self) -> int:
        """Return a file descriptor that is readable when the server has said something: to wait on, not to read from.

        :raises OperationalError: the connection is closed.
        """
        self.calls.check_open()
        return self._async.fileno()

    # -- executing

    @overload
    def cursor(self, name: None = None, *, binary: bool = False) -> Cursor[Row, Self]: ...

    @overload
    def cursor(
        self, name: None = None, *, binary: bool = False, row_factory: RowFactory[CursorRow]
    ) -> Cursor[CursorRow, Self]: ...

    @overload
    def cursor(
        self, name: str, *, binary: bool = False, scrollable: bool | None = None, withhold: bool = False
    ) -> ServerCursor[Row, Self]: ...

    @overload
    def cursor(
        self,
        name: str,
        *,
        binary: bool = False,
        row_factory: RowFactory[CursorRow],
        scrollable: bool | None = None,
        withhold: bool = False,
    ) -> ServerCursor[CursorRow, Self]: ...

    def cursor(
        self,
        name: str | None = None,
        *,
        binary: bool = False,
        row_factory: RowFactory[Any] | None = None,
        scrollable: bool | None = None,
        withhold: bool = False,
    ) -> Cursor[Any, Self]:
        """Return a new cursor; it does not wait for anything.

        :param name: for a :class:`ServerCursor` of that name, whose rows stay on the server.
        :param binary: True to ask for results in binary format always.
        :param row_factory: makes its rows, by default the connection's.
        :param scrollable: of a named cursor; see there, also for `withhold`.
        """
        self.calls.check_open()
        cursor: Cursor[Any, Self]
        if name is None:
            if scrollable is not None or withhold:
                raise ProgrammingError(FOR_NAMED_CURSORS)
            cursor = self.cursor_factory(self, row_factory=row_factory)
        else:
            cursor = self.server_cursor_factory(
                self, name, row_factory=row_factory, scrollable=scrollable, withhold=withhold
            )
        if binary:
            cursor.format = Format.BINARY
        return cursor

    def execute(
        self,
        query: Query,
        params: Params | None = None,
        *,
        prepare: bool | None = None,
        binary: bool = False,
    ) -> Cursor[Row, Self]:
        """Execute a statement on a new cursor and return the cursor; see :meth:`Cursor.execute`."""
        cursor = self.cursor(binary=binary)
        return cursor.execute(query, params, prepare=prepare)

    # -- transactions

    def commit(self) -> None:
        """Commit the transaction, if one is open.

        :raises ProgrammingError: inside a :meth:`transaction` block.

        After an interruption it is not known whether the transaction was committed.
        """
        self.calls.drive(self._async.commit)

    def rollback(self) -> None:
        """Roll back the transaction, if one is open.

        :raises ProgrammingError: inside a :meth:`transaction` block; raise :class:`Rollback` there.
        """
        self.calls.drive(self._async.rollback)

    def transaction(self, savepoint_name: str | None = None, force_rollback: bool = False) -> Transaction[Self]:
        """Return a block to be entered by ``with``: a transaction, or a savepoint if one is open.

        :param savepoint_name: name of the savepoint, by default a unique one.
        :param force_rollback: roll the block back however it ends.
        """
        return Transaction(self, savepoint_name, force_rollback)

    def pipeline(self) -> Pipeline[Self]:
        """Return a block to be entered by ``with``, in which statements are queued and sent together."""
        return Pipeline(self)

    # -- passwords

    def change_password(self, user: str, password: str) -> None:
        """Give a role another password, which is hashed here: the server, its log and the network see only the hash.

        By the server's `password_encryption`, with its `scram_iterations`. A statement like others: without
        autocommit it needs a commit().

        :raises DataError: the password has a character that cannot be.
        :raises Error: what the server says; only some roles may change the password of another one.
        """
        self.calls.call(self._async.change_password, user, password)

    # -- the end

    def close(self) -> None:
        """Close the connection; a transaction that is open is rolled back. Never waits for the server.

        Operations under way in other threads fail with OperationalError. Closing it again does nothing; nor does
        closing one that the process has inherited by fork(), which is the parent's. One of a pool with `close_returns`
        is returned to that instead.
        """
        pooled = self._async.pooled
        if pooled is not None and not self.closed and self.calls.call(pooled.instead_of_closing, self):
            return
        try:
            try:
                if self.calls.is_amid_call():
                    self._async.session.wire.close()
                else:
                    self.calls.call_unless_ended(self._async.close)
            finally:
                self._end()
        except BaseException:
            self._end()  # once more, as that may have been interrupted
            raise

    def _end(self) -> None:
        # It is closed already but where the call that should have done so was interrupted, or the loop has stopped.
        self.calls.end(None if self._async.closed else self._async.session.wire.close)
        if self._if_forgotten is not None:
            self._if_forgotten.call_off()

    def cancel(self) -> None:
        """Do what :meth:`cancel_safe` does, with its default timeout."""
        self.cancel_safe()

    def cancel_safe(self, *, timeout: float = 30.0) -> None:
        """Ask the server to cancel the statement that it runs now, for whichever thread that is.

        :param timeout: seconds to wait for the server to have taken the request.
        :raises CancellationTimeout: the server did not take it in time.
        :raises OperationalError: the server could not be reached.

        On a closed connection there is nothing to do. The statement may be at its end before the server looks. Manual:
        "Canceling Requests in Progress".
        """
        if not self.closed:
            self.calls.call_beside(self._async.session.wire.cancelling.cancel_now, timeout)


def _forgotten(portal: Portal, user: object, wire: ref[Wire], text: str) -> None:
    """Close a connection that was dropped without having been closed, in the event loop, without waiting for it."""
    left = wire()
    if left is None or not left.closed:
        # When the interpreter exits its event loop may have been stopped: it was not closed before, all the same.
        if left is not None and portal.failure is None:
            portal.post(left.close)
        if not portal.inherited:
            warnings.warn(f"{text} was never closed; use 'with' or call its close()", ResourceWarning, stacklevel=2)
    portal.forget(user)
