"""Cleaning: what a client has left on a connection that it returns, and how the next one is kept from it.

Three kinds of things are told apart. What belongs to somebody who may go on with it (an open COPY, a pipeline or
transaction block, a two-phase transaction, a subscription, statements of other tasks) is never undone: the connection
is closed, and another one takes its place. What the server or this side can undo is undone: a transaction is rolled
back, what SET has changed is reset, LISTEN is ended, attributes of the connection get the values that they had. What
stays is what does the next client no harm: prepared statements, and adapters that were registered on the connection.

Knows sessions and connections. Must not know pools.
"""

from __future__ import annotations

from typing import Any, Final

from ..connection import AsyncConnection
from ..protocol.constants import TransactionStatus
from ..protocol.phases import ENDED
from ..session.transactions import TwoPhase

RESET_SESSION = (
    b"RESET SESSION AUTHORIZATION; RESET ALL; UNLISTEN *; CLOSE ALL; DISCARD TEMP; SELECT pg_advisory_unlock_all()"
)
"""What undoes the statements that change a session and whose tag tells so."""


_IDLE: Final = TransactionStatus.IDLE
_NO_TWO_PHASE: Final = TwoPhase.NONE
"""Members of enums by names that are sooner looked up."""


class Settings:
    """What a client may set of a connection, and the next one would not expect."""

    __slots__ = (
        *("autocommit", "cursor_factory", "deferrable", "isolation_level", "notice_handlers", "notify_handlers"),
        *("prepare_threshold", "prepared_max", "read_only", "row_factory", "server_cursor_factory"),
    )

    def __init__(self, connection: AsyncConnection[Any], given: Any) -> None:
        """:param given: what clients are given of the connection: itself, or a synchronous one."""
        session = connection.session
        transactions, statements = session.transactions, session.composer.statements
        self.autocommit = transactions.autocommit
        self.isolation_level = transactions.isolation_level
        self.read_only = transactions.read_only
        self.deferrable = transactions.deferrable
        self.prepare_threshold = statements.prepare_threshold
        self.prepared_max = statements.prepared_max
        self.notice_handlers = connection.notice_handlers
        self.notify_handlers = list(connection.notifications.handlers)
        self.row_factory = given.row_factory
        self.cursor_factory = given.cursor_factory
        self.server_cursor_factory = given.server_cursor_factory


def restore(connection: AsyncConnection[Any], given: Any, settings: Settings) -> None:
    """Set them as they were; no transaction may be open."""
    session = connection.session
    transactions, statements = session.transactions, session.composer.statements
    transactions.autocommit = settings.autocommit
    transactions.isolation_level = settings.isolation_level
    transactions.read_only = settings.read_only
    transactions.deferrable = settings.deferrable
    statements.prepare_threshold = settings.prepare_threshold
    statements.prepared_max = settings.prepared_max
    connection.notice_handlers = settings.notice_handlers
    connection.notifications.handlers[:] = settings.notify_handlers
    given.row_factory = settings.row_factory
    given.cursor_factory = settings.cursor_factory
    given.server_cursor_factory = settings.server_cursor_factory


def is_clean(connection: AsyncConnection[Any], given: Any, settings: Settings) -> bool:
    """Return whether a connection can be used by somebody else as it is: that there is nothing to do, as mostly."""
    session = connection.session
    wire, transactions, statements = session.wire, session.transactions, session.composer.statements
    protocol = wire.protocol
    notifications = connection.notifications
    return not (
        protocol.transaction_status is not _IDLE
        or protocol.pending
        or protocol.phase >= ENDED
        or session.settle is not None
        or wire.in_pieces is not None
        or transactions.blocks
        or transactions.pipelines
        or transactions.two_phase is not _NO_TWO_PHASE
        or statements.changes_session
        or notifications.has_users
        or notifications.generators.has_kept
        # What Settings has.
        or transactions.autocommit is not settings.autocommit
        or transactions.isolation_level is not settings.isolation_level
        or transactions.read_only is not settings.read_only
        or transactions.deferrable is not settings.deferrable
        or statements.prepare_threshold != settings.prepare_threshold
        or statements.prepared_max != settings.prepared_max
        or connection.notice_handlers is not settings.notice_handlers
        or notifications.handlers != settings.notify_handlers
        or given.row_factory is not settings.row_factory
        or given.cursor_factory is not settings.cursor_factory
        or given.server_cursor_factory is not settings.server_cursor_factory
    )


def left_open(connection: AsyncConnection[Any]) -> str | None:
    """Return what is on a connection that somebody may go on with, None if there is nothing."""
    session = connection.session
    transactions = session.transactions
    if session.wire.in_pieces is not None:
        return "a COPY was open"
    if any(not request.abandoned for request in session.wire.protocol.pending):
        return "a statement was under way"
    if any(not pipeline.is_lost() for pipeline in tuple(transactions.pipelines.values())):
        return "a pipeline block was entered"
    if transactions.innermost() is not None:
        return "a transaction block was entered"
    if transactions.two_phase is not TwoPhase.NONE:
        return "there was a two-phase transaction"
    if connection.notifications.has_users:
        return "somebody was listening"
    return None


async def clean(connection: AsyncConnection[Any], given: Any, settings: Settings) -> bool:
    """Undo what can be undone on a connection that nothing is left open of.

    :return: whether what SET and the like had changed was reset, so that it is to be configured and restored again.
    :raises Error: it cannot be undone.

    A cancellation leaves it as it is, half done.
    """
    session = connection.session
    session.transactions.pipelines.clear()
    if session.wire.protocol.pending:
        await session.wire.catch_up()
    await session.end_transaction(b"ROLLBACK", cancellable=False)
    connection.notifications.generators.forget_kept()
    reset = session.composer.statements.changes_session
    if reset:
        await session.transactions.turn_without_begin()
        await session.send_command(RESET_SESSION)
    restore(connection, given, settings)
    return reset
