"""What a connection's transactions are like: autocommit, isolation level, read only, deferrable.

Knows the BEGIN that goes with each setting, and when one is due. Must not know messages or sockets.
"""

from __future__ import annotations

from collections.abc import Coroutine
from enum import IntEnum
from typing import TYPE_CHECKING, Any, NoReturn

from ..errors import OperationalError, ProgrammingError
from ..protocol.state import ENDED

if TYPE_CHECKING:
    # Blocks are on a connection, which is made of this.
    from ..transaction import AsyncTransaction
    from .wire import Wire


class IsolationLevel(IntEnum):
    """How much a transaction sees of others (manual, "Transaction Isolation")."""

    READ_UNCOMMITTED = 1
    READ_COMMITTED = 2
    REPEATABLE_READ = 3
    SERIALIZABLE = 4


class TransactionSettings:
    """The part of a connection that says how its transactions are begun."""

    wire: Wire
    transactions: list[AsyncTransaction]

    def __init__(self, autocommit: bool) -> None:
        self._autocommit = autocommit
        self._isolation_level: IsolationLevel | None = None
        self._read_only: bool | None = None
        self._deferrable: bool | None = None

    def check_open(self) -> None:
        """Raise an OperationalError if the connection is closed."""
        if self.wire.protocol.phase >= ENDED:
            raise OperationalError(self.wire.protocol.closed_reason())

    @property
    def autocommit(self) -> bool:
        """Whether each statement is a transaction of its own; change it by :meth:`set_autocommit`."""
        return self._autocommit

    @autocommit.setter
    def autocommit(self, value: bool) -> None:
        _refuse_setting("autocommit")

    async def set_autocommit(self, value: bool) -> None:
        """Set :attr:`autocommit`.

        :raises ProgrammingError: a transaction is open.
        """
        await self._check_setting("autocommit")
        self._autocommit = bool(value)

    @property
    def isolation_level(self) -> IsolationLevel | None:
        """The isolation level of transactions begun from now on; None for the server's default."""
        return self._isolation_level

    @isolation_level.setter
    def isolation_level(self, value: IsolationLevel | None) -> None:
        _refuse_setting("isolation_level")

    async def set_isolation_level(self, value: IsolationLevel | None) -> None:
        """Set :attr:`isolation_level`.

        :raises ProgrammingError: a transaction is open.
        """
        await self._check_setting("isolation_level")
        self._isolation_level = IsolationLevel(value) if value is not None else None

    @property
    def read_only(self) -> bool | None:
        """Whether transactions begun from now on are read only; None for the server's default."""
        return self._read_only

    @read_only.setter
    def read_only(self, value: bool | None) -> None:
        _refuse_setting("read_only")

    async def set_read_only(self, value: bool | None) -> None:
        """Set :attr:`read_only`.

        :raises ProgrammingError: a transaction is open.
        """
        await self._check_setting("read_only")
        self._read_only = bool(value) if value is not None else None

    @property
    def deferrable(self) -> bool | None:
        """Whether transactions begun from now on are deferrable; None for the server's default."""
        return self._deferrable

    @deferrable.setter
    def deferrable(self, value: bool | None) -> None:
        _refuse_setting("deferrable")

    async def set_deferrable(self, value: bool | None) -> None:
        """Set :attr:`deferrable`.

        :raises ProgrammingError: a transaction is open.
        """
        await self._check_setting("deferrable")
        self._deferrable = bool(value) if value is not None else None

    async def _check_setting(self, name: str) -> None:
        self.check_open()
        await self.wire.backend.checkpoint()
        if self.transactions or self.wire.protocol.expects_transaction():
            raise ProgrammingError(f"{name} cannot be changed while a transaction is open: commit or roll back first")

    # Not a coroutine function, but what it returns is the coroutine to await: one frame less for most statements.
    def turn(self) -> Coroutine[Any, Any, bytes | None]:
        """Return when a statement may be sent, with the BEGIN that has to go before it, if one is due.

        Until the statement is sent nothing may be awaited.
        """
        return self.wire.turn() if self._autocommit else self._turn_in_transaction()

    async def _turn_in_transaction(self) -> bytes | None:
        wire = self.wire
        await wire.turn()
        while wire.protocol.begin_in_doubt():
            # If it did not happen, what is sent now would be a transaction of its own, and committed.
            await wire.catch_up()
            await wire.turn()
        return self.due_begin()

    def due_begin(self) -> bytes | None:
        """Return the BEGIN that has to go before a statement sent now, if any."""
        if self._autocommit or self.wire.protocol.expects_transaction():
            return None
        return self.begin_statement()

    def begin_statement(self) -> bytes:
        """Return the BEGIN for a new transaction."""
        parts = ["BEGIN"]
        if self._isolation_level is not None:
            parts.append(f"ISOLATION LEVEL {self._isolation_level.name.replace('_', ' ')}")
        if self._read_only is not None:
            parts.append("READ ONLY" if self._read_only else "READ WRITE")
        if self._deferrable is not None:
            parts.append("DEFERRABLE" if self._deferrable else "NOT DEFERRABLE")
        return " ".join(parts).encode()


def _refuse_setting(name: str) -> NoReturn:
    raise AttributeError(f"{name!r} cannot be assigned on an asynchronous connection: use await conn.set_{name}()")
