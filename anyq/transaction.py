"""AsyncTransaction: a block of statements that takes effect as a whole, or not at all; nested by savepoints.

Knows BEGIN, COMMIT, ROLLBACK and savepoints, and how the blocks of a connection are nested. Must not know messages.
"""

from __future__ import annotations

import logging
from types import TracebackType
from typing import TYPE_CHECKING, Any

from typing_extensions import Self

from .adapt.quoting import identifier_bytes
from .errors import Error, InterfaceError, OperationalError, ProgrammingError
from .protocol.constants import TransactionStatus

if TYPE_CHECKING:
    # A connection makes transactions, so it imports this module.
    from .connection import AsyncConnection

logger = logging.getLogger("anyq")


class OutOfOrderTransactionNesting(ProgrammingError):
    """A ``transaction()`` block ended before a block that was entered inside it, or after one outside it."""


class Rollback(Exception):
    """Leave a ``transaction()`` block and roll it back, without an error.

    :param transaction: the block to leave, with all that are inside it; by default the innermost.
    """

    def __init__(self, transaction: object | None = None) -> None:
        super().__init__()
        self.transaction = transaction

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.transaction!r})"


class AsyncTransaction:
    """A transaction block, made by :meth:`AsyncConnection.transaction`; a savepoint inside another block.

    Entering begins it, leaving commits it; an exception rolls it back. A cancellation is an exception: what the block
    did is rolled back, shielded, within the connection's grace time, or the connection is closed.
    """

    def __init__(
        self, connection: AsyncConnection[Any], savepoint_name: str | None = None, force_rollback: bool = False
    ) -> None:
        self._conn = connection
        self._savepoint_name = savepoint_name or ""
        self.force_rollback = force_rollback
        """Whether the block is rolled back however it ends."""
        self._state = "inactive"
        self._outer = False

    @property
    def connection(self) -> AsyncConnection[Any]:
        """The connection the block is on."""
        return self._conn

    @property
    def savepoint_name(self) -> str | None:
        """The name of the savepoint; None where the block is a whole transaction."""
        return self._savepoint_name or None

    def __repr__(self) -> str:
        name = f" {self._savepoint_name!r}" if self._savepoint_name else ""
        return f"<{type(self).__module__}.{type(self).__qualname__}{name} ({self._state}) at 0x{id(self):x}>"

    async def __aenter__(self) -> Self:
        if self._state != "inactive":
            raise InterfaceError("a transaction block can be entered once; make a new one with conn.transaction()")
        conn = self._conn
        conn.check_open()
        await conn.wire.turn()
        stack = conn.transactions
        self._outer = not stack and not conn.wire.protocol.expects_transaction()
        if not self._outer and not self._savepoint_name:
            self._savepoint_name = f"_anyq_{len(stack) + 1}"
        statements = [conn.begin_statement()] if self._outer else []
        if self._savepoint_name:
            statements.append(b"SAVEPOINT " + self._identifier())
        stack.append(self)
        self._state = "active"
        try:
            # It takes no time, so it is not cancelled half-way: a block that was not entered is rolled back.
            await conn.send_command(b";".join(statements), begins=self._outer, cancellable=False)
        except BaseException as error:
            self._state = "failed"
            self._leave()
            if self._outer and not (isinstance(error, Error) and not self._is_left_open()):
                await self._undo()
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> bool:
        conn = self._conn
        if conn.closed:
            # The server has rolled back already; the error that closed it is on its way, or comes next.
            self._leave()
            self._state = "lost"
            if exc_val is None:
                raise OperationalError(conn.wire.protocol.closed_reason())
            return False
        if exc_val is None and not self.force_rollback:
            await self._commit()
            return False
        try:
            await self._rollback(exc_val)
        except OutOfOrderTransactionNesting:
            raise
        except Exception as error:
            if exc_val is None:
                raise
            # The first error is the one to know about.
            logger.warning("error ignored in rollback of %s: %s", self, error)
            return False
        if isinstance(exc_val, Rollback):
            return exc_val.transaction is None or exc_val.transaction is self
        return False

    async def _commit(self) -> None:
        self._check_innermost("commit")
        conn = self._conn
        if not self._outer and conn.info.transaction_status is TransactionStatus.INERROR:
            # A statement of the block failed and its error was caught: there is nothing to release.
            await self._rollback(None)
            return
        statements: list[bytes] = []
        if self._savepoint_name:
            statements.append(b"RELEASE " + self._identifier())
        if self._outer:
            statements.append(b"COMMIT")
        self._leave()
        self._state = "failed"
        try:
            await conn.wire.turn()
        except BaseException:
            # Nothing was sent.
            await self._undo()
            raise
        try:
            await conn.send_command(b";".join(statements), ends=self._outer, cancellable=self._outer)
        except BaseException:
            # Whether it was committed is not known, but for a block that is still there.
            if self._savepoint_name and self._is_left_open():
                await self._undo()
            raise
        self._state = "committed"

    async def _rollback(self, exc_val: BaseException | None) -> None:
        self._check_innermost("roll back")
        self._state = "rolled back (explicit)" if isinstance(exc_val, Rollback) else "rolled back"
        self._leave()
        # In any case: the block is often left by a cancellation, and it must not leave a transaction open.
        cancelled = isinstance(exc_val, self._conn.wire.backend.cancelled_exc_class)
        await self._conn.carry_out(self._rollback_statements(), ends=self._outer, wait=not cancelled)

    def _is_left_open(self) -> bool:
        session = self._conn.wire.protocol
        if self._outer:
            return not session.pending and session.transaction_status is not TransactionStatus.IDLE
        return not session.pending and session.transaction_status is TransactionStatus.INERROR

    async def _undo(self) -> None:
        """Roll back a block that could not be entered or left as it should; an error that says so is on its way."""
        if self._conn.closed:
            return
        try:
            await self._conn.carry_out(self._rollback_statements(), ends=self._outer, wait=False)
        except Error as error:
            logger.warning("error ignored in rollback of %s: %s", self, error)

    def _rollback_statements(self) -> bytes:
        if self._outer:
            return b"ROLLBACK"
        name = self._identifier()
        return b"ROLLBACK TO " + name + b";RELEASE " + name

    def _identifier(self) -> bytes:
        return identifier_bytes(self._conn.encoding, self._savepoint_name)

    def _check_innermost(self, action: str) -> None:
        stack = self._conn.transactions
        if stack and stack[-1] is self:
            return
        self._state = "failed"
        inner = stack[-1] if stack else None
        if self in stack:
            stack.remove(self)
        raise OutOfOrderTransactionNesting(
            f"transaction blocks are not nested: cannot {action} {self} while {inner} is the innermost; leave blocks "
            "in the reverse order of entering them, and use one connection for each task that has blocks of its own"
        )

    def _leave(self) -> None:
        stack = self._conn.transactions
        if self in stack:
            stack.remove(self)
