"""Transactions as a user sees them: blocks, nested by savepoints, and the settings of those that are begun next.

Knows BEGIN, COMMIT, ROLLBACK and savepoints, and how the blocks of a connection are nested. Must not know messages.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Sequence
from enum import Enum
from types import TracebackType
from typing import Any, Generic, NoReturn, Protocol, TypeAlias

from typing_extensions import Self, TypeVar

from .adapt.quoting import identifier_bytes
from .backends import uninterrupted
from .errors import (
    Error,
    InFailedSqlTransaction,
    InterfaceError,
    OperationalError,
    ProgrammingError,
    error_from_fields,
)
from .errors.arguments import check_texts
from .protocol.constants import TransactionStatus
from .session.info import ConnectionInfo, described
from .session.pipeline import own_pipeline
from .session.session import Session
from .session.transactions import Entered, IsolationLevel, TwoPhase, not_committed
from .statements.requests import RowTaker

logger = logging.getLogger("anyq")


class TransactionOwner(Protocol):
    """What a transaction block asks of the connection that made it."""

    @property
    def session(self) -> Session: ...

    @property
    def info(self) -> ConnectionInfo: ...


ConnectionT = TypeVar("ConnectionT", bound=TransactionOwner, default=Any)


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


class BlockStatus(str, Enum):
    """What has become of a ``transaction()`` block; ``Transaction.Status``."""

    NOT_STARTED = "not_started"
    ACTIVE = "active"
    COMMITTED = "committed"
    FAILED = "failed"
    """It could not be entered or left as it should, or a statement has ended it: what it did is not known."""
    ROLLED_BACK_EXPLICITLY = "rolled_back_explicitly"
    """By :class:`Rollback` or `force_rollback`."""
    ROLLED_BACK_WITH_ERROR = "rolled_back_with_error"


_STATUSES = {
    "inactive": BlockStatus.NOT_STARTED,
    "active": BlockStatus.ACTIVE,
    "committed": BlockStatus.COMMITTED,
    "failed": BlockStatus.FAILED,
    "lost": BlockStatus.FAILED,
    "ended by a statement inside it": BlockStatus.FAILED,
    "rolled back (explicit)": BlockStatus.ROLLED_BACK_EXPLICITLY,
    "rolled back": BlockStatus.ROLLED_BACK_WITH_ERROR,
}
"""By what ``repr()`` says."""


@uninterrupted
class AsyncTransaction(Generic[ConnectionT]):
    """A transaction block, made by :meth:`AsyncConnection.transaction`; a savepoint inside another block.

    Entering begins it, leaving commits it; an exception rolls it back. A cancellation is an exception: what the block
    did is rolled back, shielded, within the connection's grace time, or the connection is closed.

    Where a statement of the block has failed and its error was caught, the server commits nothing, and leaving the
    block raises InFailedSqlTransaction: what the block did is rolled back.
    """

    Status: TypeAlias = BlockStatus

    def __init__(
        self, connection: ConnectionT, savepoint_name: str | None = None, force_rollback: bool = False
    ) -> None:
        self._conn = connection
        self._session = connection.session
        if savepoint_name is not None:
            check_texts(savepoint_name=savepoint_name)
        self._savepoint_name = savepoint_name or ""
        self.force_rollback = force_rollback
        """Whether the block is rolled back however it ends."""
        self._state = "inactive"
        self._outer = False
        self._over = False  # it is certain that the server has ended it
        self._takers_before: Sequence[weakref.ref[RowTaker]] = ()

    @property
    def connection(self) -> ConnectionT:
        """The connection the block is on."""
        return self._conn

    @property
    def status(self) -> BlockStatus:
        """What has become of the block."""
        return _STATUSES[self._state]

    @property
    def is_entered(self) -> bool:
        """For this package: whether it is among the blocks of the session that have to be left."""
        return any(entered.block() is self for entered in self._session.transactions.blocks)

    @property
    def savepoint_name(self) -> str | None:
        """The name of the savepoint; None where the block is a whole transaction."""
        return self._savepoint_name or None

    def __repr__(self) -> str:
        name = f"{self._savepoint_name!r} " if self._savepoint_name else ""
        return described(self, f"{name}({self._state}) {self._conn.info.summary()}")

    async def __aenter__(self) -> Self:
        if self._state != "inactive":
            raise InterfaceError("a transaction block can be entered once; make a new one with conn.transaction()")
        session = self._session
        session.check_open()
        await session.transactions.certain_turn()
        session.transactions.check_no_two_phase("a transaction() block cannot be entered")
        stack = session.transactions.blocks
        self._outer = not stack and not session.wire.protocol.expects_transaction()
        if not self._outer and not self._savepoint_name:
            self._savepoint_name = f"_anyq_{len(stack) + 1}"
        statements = [session.transactions.begin_statement()] if self._outer else []
        if self._savepoint_name:
            statements.append(b"SAVEPOINT " + self._identifier())
        try:
            session.transactions.enter(Entered(weakref.ref(self), self._rollback_statements(), self._outer))
            self._takers_before = [weakref.ref(taker) for taker in session.row_takers()]
            self._state = "active"
            # It takes no time, so it is not cancelled half-way: a block that was not entered is rolled back.
            await session.send_command(b";".join(statements), begins=self._outer, cancellable=False)
            return self
        except BaseException as error:
            self._state = "failed"
            self._leave()
            if self._outer and not (isinstance(error, Error) and not self._is_left_open()):
                await self._undo()
            raise

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> bool:
        try:
            return await self._exit(exc_val)
        except Exception:
            raise
        except BaseException as error:
            if not isinstance(error, self._session.wire.backend.cancelled_exc_class):
                await self._make_sure()
            raise

    async def _exit(self, exc_val: BaseException | None) -> bool:
        session = self._session
        if session.closed:
            # The server has rolled back already; the error that closed it is on its way, or comes next.
            self._leave()
            self._state = "lost"
            if exc_val is None:
                raise OperationalError(session.wire.protocol.closed_reason())
            return False
        if session.transactions.pipelines:
            await self._end_pipeline(exc_val)
        if exc_val is None and not self.force_rollback:
            await self._commit()
            return False
        if self.is_entered and not isinstance(
            exc_val, (Exception, session.wire.backend.cancelled_exc_class, type(None))
        ):
            # An interrupt, which may have kept blocks inside from being left.
            session.transactions.leave_inside(self)
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

    async def _end_pipeline(self, exc_val: BaseException | None) -> None:
        """Have what is queued in a pipeline become a part of the block; roll the block back if that fails."""
        pipeline = own_pipeline(self._session)
        if pipeline is None:
            return
        if exc_val is None:
            try:
                await pipeline.sync()
            except BaseException as error:
                await self._exit(error)
                raise
        elif isinstance(exc_val, Exception):
            await pipeline.settle()
        else:
            pipeline.drop("its transaction block was left by a cancellation, and it had not been sent")

    async def _commit(self) -> None:
        self._check_innermost("commit")
        session = self._session
        statements: list[bytes] = []
        if self._savepoint_name:
            statements.append(b"RELEASE " + self._identifier())
        if self._outer:
            statements.append(b"COMMIT")
        self._leave()
        self._state = "failed"
        by_hand = self._outer and session.transaction_status is TransactionStatus.IDLE
        try:
            await session.wire.turn()
        except BaseException:
            # Nothing was sent.
            await self._undo()
            raise
        try:
            tag = await session.send_command(b";".join(statements), ends=self._outer, cancellable=self._outer)
        except BaseException as error:
            # Whether it was committed is not known, but for a block that is still there.
            failed_before = isinstance(error, InFailedSqlTransaction)  # whatever is on its way behind it
            if self._savepoint_name and (failed_before or self._is_left_open()):
                await self._undo()
                if isinstance(error, InFailedSqlTransaction):
                    self._state = "rolled back"
                    raise _with_hint(error) from None
            raise
        if tag == "ROLLBACK":
            self._state = "rolled back"
            raise not_committed()
        self._over = True
        self._state = "ended by a statement inside it" if by_hand else "committed"
        if by_hand:
            logger.warning("%s: what was done may have been rolled back; leave blocks to end the transaction", self)

    async def _rollback(self, exc_val: BaseException | None) -> None:
        self._check_innermost("roll back")
        self._state = "rolled back (explicit)" if isinstance(exc_val, Rollback | None) else "rolled back"
        self._leave()
        self._end_streams()
        # In any case: the block is often left by a cancellation, and it must not leave a transaction open.
        cancelled = isinstance(exc_val, self._session.wire.backend.cancelled_exc_class)
        await self._session.carry_out(self._rollback_statements(), ends=self._outer, wait=not cancelled)
        self._over = True

    async def _make_sure(self) -> None:
        """See to it that the block is left, after an interrupt at whatever moment."""
        self._leave()
        open_ = self._session.wire.protocol.expects_transaction() if self._outer else True
        if open_ and not self._over:
            # Of a savepoint it is not known whether it is there. If it is not, the transaction fails: as it should.
            await self._undo(quietly=not self._outer)

    def _end_streams(self) -> None:
        """End the streams that were begun in the block: the exception may have come out of a loop over one of them.

        Nobody else ends it as long as the exception is alive, and its rows would come before the reply.
        """
        for taker in self._session.row_takers():
            if not any(taker is other() for other in self._takers_before):
                taker.drop()

    def _is_left_open(self) -> bool:
        protocol = self._session.wire.protocol
        if self._outer:
            return not protocol.pending and protocol.transaction_status is not TransactionStatus.IDLE
        return not protocol.pending and protocol.transaction_status is TransactionStatus.INERROR

    async def _undo(self, *, quietly: bool = False) -> None:
        """Roll back a block that could not be entered or left as it should; an error that says so is on its way."""
        if self._session.closed:
            return
        try:
            await self._session.carry_out(self._rollback_statements(), ends=self._outer, wait=False)
        except Error as error:
            level = logging.DEBUG if quietly else logging.WARNING
            logger.log(level, "error ignored in rollback of %s: %s", self, error)

    def _rollback_statements(self) -> bytes:
        if self._outer:
            return b"ROLLBACK"
        name = self._identifier()
        return b"ROLLBACK TO " + name + b";RELEASE " + name

    def _identifier(self) -> bytes:
        return identifier_bytes(self._session.encoding, self._savepoint_name)

    def _check_innermost(self, action: str) -> None:
        inner = self._session.transactions.innermost()
        if inner is self:
            return
        self._state = "failed"
        self._leave()
        raise OutOfOrderTransactionNesting(
            f"transaction blocks are not nested: cannot {action} {self} while {inner} is the innermost; leave blocks "
            "in the reverse order of entering them, and use one connection for each task that has blocks of its own"
        )

    def _leave(self) -> None:
        self._session.transactions.leave(self)


_HINT = (
    "A statement inside failed, and its error was caught there. Leave the block with the error, or put what may fail "
    "into a transaction() block of its own and catch the error outside of that."
)


def _with_hint(error: Error) -> Error:
    """Return the server's error about a block that cannot be committed, with advice."""
    return error_from_fields({**error.diag.fields, "H": _HINT})


class Transactional:
    """The part of a connection that has to do with transactions: how they are begun, and ended."""

    session: Session
    info: ConnectionInfo

    async def commit(self) -> None:
        """Commit the transaction, if one is open.

        :raises ProgrammingError: inside a :meth:`transaction` block, or in a two-phase transaction.
        :raises InFailedSqlTransaction: a statement of the transaction had failed, so the server has rolled it back.

        After a cancellation it is not known whether the transaction was committed.
        """
        self._check_no_block("commit()", "leave the block")
        if await self.session.end_transaction(b"COMMIT", cancellable=True) == "ROLLBACK":
            raise not_committed()

    async def commit_at_end(self) -> None:
        """For this package: do what :meth:`commit` does, at the end of the connection's own block.

        Whoever has caught an error in there has seen that something failed, and often leaves because of that: so it is
        a warning and no second error that the transaction could not be committed. What is prepared stays so.
        """
        if self.session.transactions.two_phase in (TwoPhase.PREPARED, TwoPhase.FAILED):
            return
        try:
            await self.commit()
        except InFailedSqlTransaction as error:
            logger.warning("at the end of %s: %s", self, error)

    async def rollback(self) -> None:
        """Roll back the transaction, if one is open.

        :raises ProgrammingError: inside a :meth:`transaction` block, where :class:`Rollback` is to be raised, or in a
            two-phase transaction.
        """
        self._check_no_block("rollback()", "leave the block, by raising anyq.Rollback")
        for taker in self.session.row_takers():
            taker.drop()
        if self.session.transactions.pipelines:
            pipeline = own_pipeline(self.session)
            if pipeline is not None:
                await pipeline.settle()  # its errors are what is rolled back because of
        # It takes no time, and should happen: it is not cancelled half-way.
        await self.session.end_transaction(b"ROLLBACK", cancellable=False)

    def _check_no_block(self, what: str, instead: str) -> None:
        self.session.check_open()
        self.session.transactions.check_no_two_phase(f"{what} cannot be called")
        if self.session.transactions.innermost() is not None:
            raise ProgrammingError(f"{what} cannot be called inside a transaction() block; {instead}")

    def transaction(self, savepoint_name: str | None = None, force_rollback: bool = False) -> AsyncTransaction[Self]:
        """Return a block to be entered by ``async with``: a transaction, or a savepoint if one is open.

        :param savepoint_name: name of the savepoint, by default a unique one.
        :param force_rollback: roll the block back however it ends.
        """
        return AsyncTransaction(self, savepoint_name, force_rollback)

    # -- how they are begun

    @property
    def autocommit(self) -> bool:
        """Whether each statement is a transaction of its own; change it by :meth:`set_autocommit`."""
        return self.session.transactions.autocommit

    @autocommit.setter
    def autocommit(self, value: bool) -> None:
        _refuse_setting("autocommit")

    async def set_autocommit(self, value: bool) -> None:
        """Set :attr:`autocommit`.

        :raises ProgrammingError: a transaction is open.
        """
        await self._check_setting("autocommit")
        self.session.transactions.autocommit = bool(value)

    @property
    def isolation_level(self) -> IsolationLevel | None:
        """The isolation level of transactions begun from now on; None for the server's default."""
        return self.session.transactions.isolation_level

    @isolation_level.setter
    def isolation_level(self, value: IsolationLevel | None) -> None:
        _refuse_setting("isolation_level")

    async def set_isolation_level(self, value: IsolationLevel | None) -> None:
        """Set :attr:`isolation_level`.

        :raises ProgrammingError: a transaction is open.
        """
        await self._check_setting("isolation_level")
        self.session.transactions.isolation_level = IsolationLevel(value) if value is not None else None

    @property
    def read_only(self) -> bool | None:
        """Whether transactions begun from now on are read only; None for the server's default."""
        return self.session.transactions.read_only

    @read_only.setter
    def read_only(self, value: bool | None) -> None:
        _refuse_setting("read_only")

    async def set_read_only(self, value: bool | None) -> None:
        """Set :attr:`read_only`.

        :raises ProgrammingError: a transaction is open.
        """
        await self._check_setting("read_only")
        self.session.transactions.read_only = bool(value) if value is not None else None

    @property
    def deferrable(self) -> bool | None:
        """Whether transactions begun from now on are deferrable; None for the server's default."""
        return self.session.transactions.deferrable

    @deferrable.setter
    def deferrable(self, value: bool | None) -> None:
        _refuse_setting("deferrable")

    async def set_deferrable(self, value: bool | None) -> None:
        """Set :attr:`deferrable`.

        :raises ProgrammingError: a transaction is open.
        """
        await self._check_setting("deferrable")
        self.session.transactions.deferrable = bool(value) if value is not None else None

    async def _check_setting(self, name: str) -> None:
        session = self.session
        session.check_open()
        session.wire.backend.check_here()
        await session.wire.backend.checkpoint()
        await session.transactions.certain_turn()
        session.transactions.check_none_open(name)


def _refuse_setting(name: str) -> NoReturn:
    raise AttributeError(f"{name!r} cannot be assigned on an asynchronous connection: use await conn.set_{name}()")
