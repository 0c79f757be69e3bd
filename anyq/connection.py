"""AsyncConnection: a session with a PostgreSQL server, for any number of tasks.

Knows how a connection is made, what a transaction costs a statement, and what psycopg's connection can do. Must not
know messages, sockets or types.
"""

from __future__ import annotations

import ssl
import warnings
from collections.abc import Sequence
from functools import partial
from types import TracebackType
from typing import Any, Generic, Protocol, cast, overload

import anyio
import anyio.abc
import anyio.to_thread
from typing_extensions import Self, TypeVar

from .abc import AdaptContext, Params, Query
from .adapt import AdaptersMap
from .adapt.encodings import python_codec
from .backends import Finalizer, uninterrupted
from .connecting import AsyncConnecting
from .conninfo import ConnectOptions, HostSpec, PasswordSource
from .cursor import AsyncClientCursor, AsyncCursor, AsyncRawCursor
from .dbapi20 import ErrorClasses
from .errors import Diagnostic, OperationalError, ProgrammingError
from .errors.arguments import check_optional_ints
from .errors.hiding import without_frames
from .notifications.hub import NotificationHub
from .notifications.limits import check_channel, check_payload
from .notifications.notifying import Notifying
from .notifications.subscription import Notify
from .pipeline import AsyncPipeline
from .postgres import adapters as global_adapters
from .pq import NoLibpq
from .protocol.auth.verifiers import encrypting, reported_iterations
from .protocol.constants import Format
from .protocol.messages import NoticeResponse
from .rows import AsyncRowFactory, TupleRow, check_row_factory, tuple_row
from .server_cursor import FOR_NAMED_CURSORS, AsyncServerCursor
from .session.busy_wait import BUSY_WAIT
from .session.factories import ChecksFactories, check_cursor_factory
from .session.info import ConnectionInfo, described
from .session.notices import HearsNotices
from .session.traced import new_session
from .session.tracing import SessionTracing
from .session.two_phase import TwoPhaseTransaction
from .session.wire import Wire
from .sql import SQL, Identifier
from .startup.parameters import ConnectParameters
from .startup.routes import Dial
from .startup.watched import open_session
from .tracing import Tracer
from .transaction import Transactional
from .two_phase import TwoPhaseCommit

Row = TypeVar("Row", default=TupleRow)
CursorRow = TypeVar("CursorRow")
NewRow = TypeVar("NewRow", default=TupleRow)

GRACE_PERIOD = 5.0
"""Seconds that a cancelled operation has, by default, to leave the connection clean; past them it is closed."""

_EXECUTE = AsyncCursor.execute  # another one is there where a program has put its own in the place of the class's


class Pooled(Protocol):
    """A connection's place in a pool."""

    async def instead_of_closing(self, connection: Any) -> bool:
        """Give it back to the pool; return False where it is to be closed."""
        ...


@uninterrupted
class AsyncConnection(
    ChecksFactories, Transactional, TwoPhaseCommit, Notifying, HearsNotices, ErrorClasses, NoLibpq, Generic[Row]
):
    """A session with a server. Made by :meth:`connect`.

    Any number of tasks may use it at the same time: their statements are pipelined, and share its transactions.
    """

    factory_checks = {
        "row_factory": check_row_factory,
        "prepare_threshold": lambda value: check_optional_ints(0, prepare_threshold=value),
        "prepared_max": lambda value: check_optional_ints(0, prepared_max=value),
        "cursor_factory": partial(check_cursor_factory, wanted=AsyncCursor),
        "server_cursor_factory": partial(check_cursor_factory, wanted=AsyncServerCursor, what="server_cursor_factory"),
    }

    pooled: Pooled | None = None
    """For this package: whose it is, if it is in a pool."""

    def __init__(
        self,
        wire: Wire,
        host: HostSpec,
        options: ConnectOptions,
        tracing: SessionTracing | None = None,
        *,
        autocommit: bool,
        prepare_threshold: int | None,
        row_factory: AsyncRowFactory[Row],
        cursor_factory: type[AsyncCursor[Any]],
        context: AdaptContext | None,
        busy_wait: float,
    ) -> None:
        wire.busy_wait.seconds = busy_wait
        adapters = AdaptersMap(context.adapters if context is not None else global_adapters)
        self.session = new_session(tracing, wire, adapters, self, autocommit, prepare_threshold)
        """For this package: what cursors, blocks and subscriptions work on."""
        self.row_factory: AsyncRowFactory[Row] = row_factory
        """The factory of rows of cursors made from now on."""
        self.cursor_factory = cursor_factory
        """The class of cursors made from now on."""
        self.server_cursor_factory: type[AsyncServerCursor[Any]] = AsyncServerCursor
        """The class of named cursors made from now on."""
        self.info = ConnectionInfo(self.session, options, host)
        """What is known about the connection."""
        self.if_forgotten = Finalizer(self, _forgotten, described(self, self.info.summary("open")))
        """For this package: says so of a connection that is dropped and was never closed."""
        self.notifications = NotificationHub(self.session)
        self.two_phase = TwoPhaseTransaction(self.session)
        self.notice_handlers = ()
        wire.protocol.use_codecs(python_codec)
        wire.on_event = self._on_event
        wire.on_end = self._on_end

    # -- making one

    @classmethod
    def connect(
        cls,
        conninfo: str = "",
        *,
        autocommit: bool = False,
        prepare_threshold: int | None = 5,
        row_factory: AsyncRowFactory[NewRow] | None = None,
        cursor_factory: type[AsyncCursor[Any]] | None = None,
        context: AdaptContext | None = None,
        grace_period: float = GRACE_PERIOD,
        busy_wait: float = BUSY_WAIT,
        stream: anyio.abc.ByteStream | None = None,
        dial: Dial | None = None,
        ssl_context: ssl.SSLContext | None = None,
        password: str | PasswordSource | None = None,
        tracer: Tracer | None = None,
        **kwargs: str | int | float | None,
    ) -> AsyncConnecting[AsyncConnection[NewRow]]:
        """Connect to a server: ``await`` it for the connection, or use it in ``async with`` to close it at the end.

        :param conninfo: a connection string or URI (manual, "Connection Strings").
        :param autocommit: False to begin a transaction with the first statement; True for a transaction a statement.
        :param prepare_threshold: executions of a statement before it is prepared; None to prepare none.
        :param row_factory: makes rows, by default tuples.
        :param cursor_factory: class of cursors, by default AsyncCursor.
        :param context: where adapters are taken from, by default ``anyq.adapters``.
        :param grace_period: seconds that a cancelled operation may take to leave the connection clean; past them the
            connection is closed.
        :param busy_wait: seconds, 0.005 at most, that a query may keep its thread busy looking for the reply, before it
            sleeps; by default 50 microseconds, or 0 where there is a single processor.
        :param stream: an open anyio byte stream to the server to use instead of dialing. There is no second connection
            then, so a cancelled statement is waited for, within the grace period.
        :param dial: called with each :class:`HostSpec` to try, awaited, and has to return an open anyio byte stream to
            that server; takes the place of our own sockets, also for cancelling statements. Where it raises OSError or
            an OperationalError the next host is tried; whatever else it raises is passed on.
        :param ssl_context: a context to use TLS with instead of one made from sslrootcert, sslcert and the like. TLS is
            required then, and the context decides what is verified.
        :param password: the password, or a function that is given the :class:`HostSpec` of the host and returns it. It
            is called when a server asks, once for each attempt to log in: a coroutine function in the event loop,
            any other in a worker thread. What it raises ends ``connect()``.
        :param tracer: is told of what the connection does; see :mod:`anyq.tracing`.
        :param kwargs: connection keywords, which override those of `conninfo`.
        :raises ProgrammingError, TypeError, ValueError: wrong keywords or values.
        :raises OperationalError: no server could be reached, or none let us in; the message has every attempt.

        A cancellation leaves nothing behind; reading files or asking the user database goes on in its worker thread,
        and is forgotten.
        """
        given = ConnectParameters.of(locals())
        return AsyncConnecting(partial(cls.connect_with, given, row_factory, cursor_factory))

    @classmethod
    async def connect_with(
        cls,
        parameters: ConnectParameters,
        row_factory: AsyncRowFactory[Any] | None = None,
        cursor_factory: type[AsyncCursor[Any]] | None = None,
    ) -> AsyncConnection[Any]:
        """For this package: do what :meth:`connect` does."""
        parameters.check()
        row_factory = row_factory or cast(AsyncRowFactory[Any], tuple_row)
        cursor_factory = cursor_factory or AsyncCursor
        check_row_factory(row_factory)
        check_cursor_factory(cursor_factory, AsyncCursor)
        return cls(
            *await open_session(parameters),
            autocommit=parameters.autocommit,
            prepare_threshold=parameters.prepare_threshold,
            row_factory=row_factory,
            cursor_factory=cursor_factory,
            context=parameters.context,
            busy_wait=parameters.busy_wait,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        """Commit, or on an exception roll back, and close the connection."""
        try:
            # A server rolls back what is open when a connection is closed.
            if exc_val is None and not self.closed:
                await self.commit_at_end()
        finally:
            await self._close_at_end(exc_val)

    async def _close_at_end(self, exc_val: BaseException | None) -> None:
        if self.pooled is None:
            await self.session.wire.aclose()
        elif exc_val is not None and not self.closed:
            # The pool that it is of goes on with it.
            await self.session.end_transaction(b"ROLLBACK", cancellable=False)

    def __repr__(self) -> str:
        return described(self, self.info.summary())

    # -- what it is

    @property
    def closed(self) -> bool:
        """Whether the connection is closed, by either side."""
        return self.session.closed

    @property
    def broken(self) -> bool:
        """Whether the connection was lost, or had to be closed; not by :meth:`close`."""
        return self.session.wire.broken

    @property
    def adapters(self) -> AdaptersMap:
        """The adapters of this connection: what is registered here does not change the global ones."""
        return self.session.adaptation.adapters

    @property
    def connection(self) -> AsyncConnection[Row]:
        """The connection itself: it is a context of adaptation."""
        return self

    @property
    def encoding(self) -> str:
        """The Python codec of the client encoding."""
        return self.session.encoding

    @property
    def peer_address(self) -> str | None:
        """The server's IP address; None on a Unix socket or a stream of the caller's."""
        return self.info.hostaddr or None

    def check_open(self) -> None:
        """Raise an OperationalError if the connection is closed."""
        self.session.check_open()

    @property
    def prepare_threshold(self) -> int | None:
        """How many executions of a statement go before it is prepared; 0 for the first, None for never."""
        return self.session.composer.statements.prepare_threshold

    @prepare_threshold.setter
    def prepare_threshold(self, value: int | None) -> None:
        self.session.composer.statements.prepare_threshold = value

    @property
    def prepared_max(self) -> int | None:
        """How many prepared statements are kept on the server; None for any number."""
        return self.session.composer.statements.prepared_max

    @prepared_max.setter
    def prepared_max(self, value: int | None) -> None:
        self.session.composer.statements.prepared_max = value

    def fileno(self) -> int:
        """Return a file descriptor that is readable when the server has said something: to wait on, not to read from.

        :raises OperationalError: the connection is closed.
        """
        self.session.check_open()
        return self.session.wire.channel.fileno()

    # -- executing

    @overload
    def cursor(self, name: None = None, *, binary: bool = False) -> AsyncCursor[Row, Self]: ...

    @overload
    def cursor(
        self, name: None = None, *, binary: bool = False, row_factory: AsyncRowFactory[CursorRow]
    ) -> AsyncCursor[CursorRow, Self]: ...

    @overload
    def cursor(
        self, name: str, *, binary: bool = False, scrollable: bool | None = None, withhold: bool = False
    ) -> AsyncServerCursor[Row, Self]: ...

    @overload
    def cursor(
        self,
        name: str,
        *,
        binary: bool = False,
        row_factory: AsyncRowFactory[CursorRow],
        scrollable: bool | None = None,
        withhold: bool = False,
    ) -> AsyncServerCursor[CursorRow, Self]: ...

    def cursor(
        self,
        name: str | None = None,
        *,
        binary: bool = False,
        row_factory: AsyncRowFactory[Any] | None = None,
        scrollable: bool | None = None,
        withhold: bool = False,
    ) -> AsyncCursor[Any]:
        """Return a new cursor; it does not wait for anything.

        :param name: for an :class:`AsyncServerCursor` of that name, whose rows stay on the server.
        :param binary: True to ask for results in binary format always.
        :param row_factory: makes its rows, by default the connection's.
        :param scrollable: of a named cursor; see there, also for `withhold`.
        """
        cursor: AsyncCursor[Any, Any]
        if name is None:
            if scrollable is not None or withhold:
                raise ProgrammingError(FOR_NAMED_CURSORS)
            make = self.cursor_factory
            # A keyword takes a dictionary of arguments, and its class is known to do without.
            plain = make is AsyncCursor and row_factory is None
            cursor = make(self) if plain else make(self, row_factory=row_factory)
        else:
            cursor = self.server_cursor_factory(
                self, name, row_factory=row_factory, scrollable=scrollable, withhold=withhold
            )
        if binary:
            cursor.format = Format.BINARY
        return cursor

    async def execute(
        self,
        query: Query,
        params: Params | None = None,
        *,
        prepare: bool | None = None,
        binary: bool = False,
    ) -> AsyncCursor[Row, Self]:
        """Execute a statement on a new cursor and return the cursor; see :meth:`AsyncCursor.execute`."""
        cursor = self.cursor(binary=binary)
        if type(cursor) is not AsyncCursor or AsyncCursor.execute is not _EXECUTE or self.session.tracing is not None:
            return await cursor.execute(query, params, prepare=prepare)
        # As that does where nobody watches and nothing was put in its place, but that it is a coroutine less.
        run = cursor.send_remembered(query, params, prepare, None)
        if run is None:
            await cursor.execute_unknown(query, params, prepare, None)
        else:
            await run
            if not cursor.has_arrived():
                await cursor.finish_remembered(query, params)
        return cursor

    def pipeline(self) -> AsyncPipeline[Self]:
        """Return a block to be entered by ``async with``, in which statements are queued and sent together."""
        return AsyncPipeline(self)

    async def ask(self, query: Query, params: Sequence[Any]) -> list[TupleRow]:
        """For this package: execute a query of the driver's own, with ``$1``, and return its rows as tuples.

        What a user has set for cursors, rows and adapters makes no difference. A cancellation is that of
        :meth:`AsyncCursor.execute`.
        """
        cursor = AsyncRawCursor.of_driver(self)
        await cursor.execute(query, params, prepare=False)
        return await cursor.fetchall()

    # -- passwords

    async def change_password(self, user: str, password: str) -> None:
        """Give a role another password, which is hashed here: the server, its log and the network see only the hash.

        By the server's `password_encryption`, with its `scram_iterations`. A statement like others: without
        autocommit it needs a commit().

        :raises DataError: the password has a character that cannot be.
        :raises Error: what the server says; only some roles may change the password of another one.

        A cancellation leaves the old password in place, unless the statement was under way: then, as always, it is not
        known whether it took effect. Manual: "ALTER ROLE", libpq's `PQchangePassword`.
        """
        encrypt = encrypting(password)
        del password
        rows = await self.ask("SELECT pg_catalog.current_setting('password_encryption')", ())
        if len(rows) != 1 or len(rows[0]) != 1:
            raise OperationalError("the server does not say how it encrypts passwords (password_encryption)")
        iterations = reported_iterations(self.info.parameter_status("scram_iterations"))
        hashed = await anyio.to_thread.run_sync(encrypt, user, rows[0][0], iterations, abandon_on_cancel=True)
        try:
            # A utility statement takes no parameters on the server.
            statement = SQL("ALTER ROLE {} PASSWORD %s").format(Identifier(user))
            await AsyncClientCursor.of_driver(self).execute(statement, [hashed])
        except BaseException as error:
            del hashed
            raise without_frames(error)  # noqa: B904  # it is the same one

    # -- the end

    async def close(self) -> None:
        """Close the connection; a transaction that is open is rolled back. Never waits for the server.

        Operations under way in other tasks fail with OperationalError. Closing it again does nothing. In another event
        loop it may be called, too: then its own closes it soon. A pool's is returned to it if that has `close_returns`.
        """
        if self.pooled is not None and await self.pooled.instead_of_closing(self):
            return
        await self.session.wire.aclose()
        await anyio.lowlevel.checkpoint()

    async def cancel(self) -> None:
        """Do what :meth:`cancel_safe` does, with its default timeout."""
        await self.cancel_safe()

    # psycopg's signature; a cancel scope of the caller's would not say which time was over.
    async def cancel_safe(self, *, timeout: float = 30.0) -> None:  # noqa: ASYNC109
        """Ask the server to cancel the statement that it runs now, for whichever task that is.

        :param timeout: seconds to wait for the server to have taken the request.
        :raises CancellationTimeout: the server did not take it in time.
        :raises OperationalError: the server could not be reached.
        :raises InterfaceError: the connection belongs to another event loop.

        On a closed connection there is nothing to do. The statement may be at its end before the server looks. After a
        cancellation, or a timeout, the request may be on its way nevertheless, and hit a later statement. Manual:
        "Canceling Requests in Progress".
        """
        wire = self.session.wire
        wire.backend.check_here()
        if self.closed:
            await wire.backend.checkpoint()
        else:
            await wire.cancelling.cancel_now(timeout)

    def _on_end(self) -> None:
        self.if_forgotten.call_off()
        self.notifications.end()

    def _on_event(self, event: NoticeResponse | Notify) -> None:
        if isinstance(event, Notify):
            self.notifications.deliver(event)
        else:
            self.tell_notice(Diagnostic(event.fields))

    # -- notifications

    async def notify(self, channel: str, payload: str = "") -> None:
        """Send a notification; it is delivered when the transaction is committed, in autocommit mode at once.

        :raises ProgrammingError: a name that no channel can have, or a payload of 8000 bytes or more.

        Manual: "NOTIFY".
        """
        self.session.check_open()
        encodings = self.notifications.encodings()
        check_channel(channel, *encodings)
        check_payload(payload, *encodings)
        cursor = AsyncRawCursor.of_driver(self)
        await cursor.execute("SELECT pg_catalog.pg_notify($1, $2)", (channel, payload))


def _forgotten(text: str) -> None:
    warnings.warn(f"{text} was never closed; use 'async with' or await its close()", ResourceWarning, stacklevel=2)
