"""The transactions of one session: how each is begun, when a BEGIN is due, and which blocks are entered.

Knows autocommit, isolation level, read only, deferrable, and what is on its way on the wire. Must not know messages or
sockets, nor what a block does when it is left.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import Enum, IntEnum, auto
from typing import NamedTuple, Protocol
from weakref import ref

from ..errors import Error, InFailedSqlTransaction, ProgrammingError
from ..pq import PipelineStatus
from .wire import Wire


class IsolationLevel(IntEnum):
    """How much a transaction sees of others (manual, "Transaction Isolation")."""

    READ_UNCOMMITTED = 1
    READ_COMMITTED = 2
    REPEATABLE_READ = 3
    SERIALIZABLE = 4

    @classmethod
    def _missing_(cls, value: object) -> IsolationLevel:
        members = ", ".join(f"{cls.__name__}.{level.name}" for level in cls)
        raise ValueError(f"the isolation level must be one of {members}, or None for the server's; not {value!r}")


class TwoPhase(Enum):
    """How far a two-phase transaction is; which changes when the server says so, whoever reads that."""

    NONE = auto()
    BEGUN = auto()
    PREPARED = auto()
    FAILED = auto()
    """It could not be prepared, and the server has rolled it back."""


_NO_STATEMENT = {
    TwoPhase.BEGUN: "it is not open on the server any more",
    TwoPhase.PREPARED: "it is prepared",
    TwoPhase.FAILED: "it could not be prepared, and was rolled back",
}
"""Why a statement cannot be executed in a two-phase transaction, if it would begin a transaction."""


class Entered(NamedTuple):
    """A transaction block that was entered and not left."""

    block: ref[object]
    """Weakly: where an interrupt keeps a block from being left, it is dropped, and that is how it is known."""
    undo: bytes
    """The statements that roll it back."""
    outer: bool
    """Whether it is the whole transaction."""


class Pipeline(Protocol):
    """Statements of one task that are sent together, later: before anything else of that task is."""

    @property
    def status(self) -> PipelineStatus: ...

    def is_lost(self) -> bool:
        """Return whether nobody can leave its block any more, as an interrupt has kept it from being left."""
        ...

    async def flush(self) -> None: ...

    async def go_before(self, *, syncs: bool) -> None: ...


class Transactions:
    """What the transactions of a session are like, and where they begin.

    :param carry_out: ``await carry_out(statements, ends=)`` runs them in any case.
    """

    def __init__(self, wire: Wire, carry_out: Callable[..., Awaitable[None]], *, autocommit: bool) -> None:
        self._wire = wire
        self._carry_out = carry_out
        self._autocommit = autocommit
        self.at_once = autocommit
        """Whether statements need not look at what has been begun: in autocommit mode, outside of all blocks."""
        self.isolation_level: IsolationLevel | None = None
        """Of transactions begun from now on; None for the server's default, as for the others."""
        self.read_only: bool | None = None
        self.deferrable: bool | None = None
        self.two_phase = TwoPhase.NONE
        """How far the two-phase transaction is, if there is one."""
        self.blocks: list[Entered] = []
        """The transaction blocks that are entered, the innermost last; for others to look at only."""
        self.pipelines: dict[object, Pipeline] = {}
        """The pipelines of tasks that are in a pipeline block."""

    @property
    def autocommit(self) -> bool:
        """Whether each statement is a transaction of its own."""
        return self._autocommit

    @autocommit.setter
    def autocommit(self, value: bool) -> None:
        self._autocommit = value
        self.at_once = value and not self.blocks

    # -- blocks

    def innermost(self) -> object | None:
        """Return the block that has to be left before all others; None if there is none, or nobody can leave it."""
        return self.blocks[-1].block() if self.blocks else None

    def enter(self, entered: Entered) -> None:
        """Take note of a block that is entered."""
        self.at_once = False
        self.blocks.append(entered)

    def leave(self, block: object) -> None:
        """Take note that a block is left, if that has not been done."""
        self.blocks[:] = [entered for entered in self.blocks if entered.block() is not block]
        self.at_once = self._autocommit and not self.blocks

    def leave_inside(self, block: object) -> None:
        """Take note that the blocks inside of this one will not be left: what ends it ends them too."""
        while self.blocks and self.innermost() is not block:
            self.blocks.pop()

    async def end_lost_blocks(self) -> None:
        """Roll back the innermost blocks that nobody can leave any more: their end was interrupted before it began."""
        while self.blocks and self.blocks[-1].block() is None:
            entered = self.blocks.pop()
            self.at_once = self._autocommit and not self.blocks
            await self._carry_out(entered.undo, ends=entered.outer)

    # -- when a statement may be sent

    # Not a coroutine function, but what it returns is the coroutine to await: one frame less for most statements.
    def turn(self) -> Awaitable[bytes | None]:
        """Return when a statement may be sent, with the BEGIN that has to go before it, if one is due.

        Until the statement is sent nothing may be awaited. What the task has in a pipeline goes before it.

        :raises OperationalError: the connection is closed.
        :raises Error: of a statement of the pipeline.
        """
        return self._turn_behind_pipeline() if self.pipelines else self.turn_of_pipeline()

    async def _turn_behind_pipeline(self) -> bytes | None:
        await self._let_pipeline_go(syncs=False)
        return await self.turn_of_pipeline()

    async def _let_pipeline_go(self, *, syncs: bool) -> None:
        pipeline = self.own_pipeline()
        if pipeline is not None:
            await pipeline.go_before(syncs=syncs)

    async def flush_pipeline(self) -> None:
        """Send what the task that runs now has in a pipeline, and wait for it; errors are raised elsewhere."""
        pipeline = self.own_pipeline()
        if pipeline is not None:
            await pipeline.flush()

    def own_pipeline(self) -> Pipeline | None:
        """Return the pipeline of the task that runs now, if it is in a block."""
        task = self._wire.backend.current_task()
        pipeline = self.pipelines.get(task)
        if pipeline is not None and pipeline.is_lost():
            del self.pipelines[task]
            return None
        return pipeline

    def turn_of_pipeline(self) -> Awaitable[bytes | None]:
        """Do what :meth:`turn` does, for a pipeline itself."""
        if self._autocommit and (not self.blocks or self.blocks[-1].block() is not None):
            return self._wire.turn()
        return self._turn_in_transaction()

    async def _turn_in_transaction(self) -> bytes | None:
        wire = self._wire
        if self.blocks:
            await self.end_lost_blocks()
        await wire.turn()
        if wire.protocol.transaction_in_doubt():
            await self._certain_turn()
        # Autocommit may have been switched on meanwhile.
        if self.autocommit or wire.protocol.expects_transaction():
            return None
        return self.begin_statement()

    async def turn_without_begin(self) -> None:
        """Return when something may be sent that needs no transaction, and begins none."""
        if self.blocks:
            await self.end_lost_blocks()
        await self._wire.turn()

    async def certain_turn(self, *, behind_pipeline: bool = True) -> None:
        """Return when something may be sent, and it is certain whether it will find a transaction open.

        What is sent behind a statement that may have ended the transaction would be one of its own without a BEGIN,
        and committed; with one, it would be warned of, or begin in the middle of the user's.

        :param behind_pipeline: whether a pipeline of the task's is synced before.
        :raises OperationalError: the connection is closed.
        :raises Error: of a statement of the pipeline.
        """
        if self.pipelines and behind_pipeline:
            await self._let_pipeline_go(syncs=True)
        await self._certain_turn()

    async def _certain_turn(self) -> None:
        wire = self._wire
        await self.end_lost_blocks()
        await wire.turn()
        while wire.protocol.transaction_in_doubt():
            await wire.catch_up()
            await wire.turn()

    def begin_statement(self) -> bytes:
        """Return the BEGIN for a new transaction.

        :raises ProgrammingError: there is a two-phase transaction, and it is not open.
        """
        if self.two_phase is not TwoPhase.NONE:
            raise ProgrammingError(
                f"no statement can be executed in the two-phase transaction, as {_NO_STATEMENT[self.two_phase]}: end "
                "it by tpc_commit() or tpc_rollback()"
            )
        parts = ["BEGIN"]
        if self.isolation_level is not None:
            parts.append(f"ISOLATION LEVEL {self.isolation_level.name.replace('_', ' ')}")
        if self.read_only is not None:
            parts.append("READ ONLY" if self.read_only else "READ WRITE")
        if self.deferrable is not None:
            parts.append("DEFERRABLE" if self.deferrable else "NOT DEFERRABLE")
        return " ".join(parts).encode()

    def check_no_two_phase(self, what: str) -> None:
        """Check that something may be done that cannot be in a two-phase transaction.

        :raises ProgrammingError: there is one.
        """
        if self.two_phase is not TwoPhase.NONE:
            raise ProgrammingError(f"{what} in a two-phase transaction: end it by tpc_commit() or tpc_rollback() first")

    def check_none_open(self, setting: str) -> None:
        """Check that a setting may be changed.

        :raises ProgrammingError: a transaction is open.
        """
        self.check_no_two_phase(f"{setting} cannot be changed")
        if self.blocks or self._wire.protocol.expects_transaction():
            raise ProgrammingError(
                f"{setting} cannot be changed while a transaction is open: commit or roll back first"
            )


def not_committed() -> Error:
    """Return the error for a COMMIT that the server has answered with a ROLLBACK, without an error of its own."""
    return InFailedSqlTransaction(
        "the transaction was rolled back and not committed: a statement in it had failed, and its error was caught. "
        "Call rollback() after an error; or put what may fail into a transaction() block of its own, and catch the "
        "error outside of that"
    )
