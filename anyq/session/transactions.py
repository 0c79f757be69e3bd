"""The transactions of one session: how each is begun, when a BEGIN is due, and which blocks are entered.

Knows autocommit, isolation level, read only, deferrable, and what is on its way on the wire. Must not know messages or
sockets, nor what a block does when it is left.
"""

from __future__ import annotations

from collections.abc import Awaitable
from enum import IntEnum

from ..errors import ProgrammingError
from .wire import Wire


class IsolationLevel(IntEnum):
    """How much a transaction sees of others (manual, "Transaction Isolation")."""

    READ_UNCOMMITTED = 1
    READ_COMMITTED = 2
    REPEATABLE_READ = 3
    SERIALIZABLE = 4


class Transactions:
    """What the transactions of a session are like, and where they begin."""

    def __init__(self, wire: Wire, *, autocommit: bool) -> None:
        self._wire = wire
        self.autocommit = autocommit
        """Whether each statement is a transaction of its own."""
        self.isolation_level: IsolationLevel | None = None
        """Of transactions begun from now on; None for the server's default, as for the others."""
        self.read_only: bool | None = None
        self.deferrable: bool | None = None
        self.blocks: list[object] = []
        """The transaction blocks that are entered, the innermost last."""

    # Not a coroutine function, but what it returns is the coroutine to await: one frame less for most statements.
    def turn(self) -> Awaitable[bytes | None]:
        """Return when a statement may be sent, with the BEGIN that has to go before it, if one is due.

        Until the statement is sent nothing may be awaited.

        :raises OperationalError: the connection is closed.
        """
        return self._wire.turn() if self.autocommit else self._turn_in_transaction()

    async def _turn_in_transaction(self) -> bytes | None:
        wire = self._wire
        await wire.turn()
        if wire.protocol.transaction_in_doubt():
            await self.certain_turn()
        # Autocommit may have been switched on meanwhile.
        if self.autocommit or wire.protocol.expects_transaction():
            return None
        return self.begin_statement()

    async def certain_turn(self) -> None:
        """Return when something may be sent, and it is certain whether it will find a transaction open.

        What is sent behind a statement that may have ended the transaction would be one of its own without a BEGIN,
        and committed; with one, it would be warned of, or begin in the middle of the user's.

        :raises OperationalError: the connection is closed.
        """
        wire = self._wire
        await wire.turn()
        while wire.protocol.transaction_in_doubt():
            await wire.catch_up()
            await wire.turn()

    def begin_statement(self) -> bytes:
        """Return the BEGIN for a new transaction."""
        parts = ["BEGIN"]
        if self.isolation_level is not None:
            parts.append(f"ISOLATION LEVEL {self.isolation_level.name.replace('_', ' ')}")
        if self.read_only is not None:
            parts.append("READ ONLY" if self.read_only else "READ WRITE")
        if self.deferrable is not None:
            parts.append("DEFERRABLE" if self.deferrable else "NOT DEFERRABLE")
        return " ".join(parts).encode()

    def check_none_open(self, setting: str) -> None:
        """Check that a setting may be changed.

        :raises ProgrammingError: a transaction is open.
        """
        if self.blocks or self._wire.protocol.expects_transaction():
            raise ProgrammingError(
                f"{setting} cannot be changed while a transaction is open: commit or roll back first"
            )
