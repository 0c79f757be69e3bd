"""The two-phase transaction of one session: begun, prepared, and then committed or rolled back, here or elsewhere.

Theory of operation. How far it is changes when the reply to a statement has come, and by what is in it, whoever reads
it: so that is right after a cancellation, too, once the request has been drained. As long as there is such a
transaction and it is not open, no statement finds the BEGIN that it would need (`Transactions.begin_statement`), so
none is executed outside of it.

Knows PREPARE TRANSACTION and its kin (PostgreSQL manual, "Two-Phase Transactions"). Must not know what a user calls.
"""

from __future__ import annotations

import logging

from ..adapt.encodings import encode_text, encoding_to_write, python_codec
from ..adapt.quoting import quote_literal
from ..backends import uninterrupted
from ..errors import Error, InFailedSqlTransaction, ProgrammingError, UndefinedObject
from ..protocol.constants import TransactionStatus
from ..statements.requests import CommandRequest
from .pipeline import own_pipeline
from .session import Session
from .transactions import TwoPhase, not_committed

logger = logging.getLogger("anyq")

MAX_GID = 199
"""Bytes of a gid, in the encoding of the database: the server's GIDSIZE, which counts a NUL."""


@uninterrupted
class TwoPhaseTransaction:
    """A session's two-phase transaction, of which there is one at a time."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._transactions = session.transactions
        self._gid = ""

    @property
    def is_begun(self) -> bool:
        """Whether it was begun, and not ended or prepared."""
        return self._transactions.two_phase is TwoPhase.BEGUN

    async def begin(self, gid: str) -> None:
        """Begin it. After a cancellation it is rolled back."""
        session, transactions = self._session, self._transactions
        self._check_gid(gid)
        await self._certain_turn()
        transactions.check_no_two_phase("another one cannot be begun")
        if transactions.autocommit:
            raise ProgrammingError("tpc_begin() cannot be called in autocommit mode: switch it off before")
        if self._is_open():
            raise ProgrammingError("tpc_begin() cannot be called in a transaction: commit or roll back first")
        command = transactions.begin_statement()
        try:
            transactions.two_phase = TwoPhase.BEGUN
            self._gid = gid
            await session.send_command(command, begins=True, cancellable=False)
        except BaseException as error:
            # The server may have begun one that has failed already.
            protocol = session.wire.protocol
            left_open = not protocol.pending and protocol.transaction_status is not TransactionStatus.IDLE
            await self.undo(certainly=left_open or not isinstance(error, Error))
            raise

    async def undo(self, *, certainly: bool = True) -> None:
        """Leave nothing of what was begun a moment ago; an error that says so is on its way."""
        self._transactions.two_phase = TwoPhase.NONE
        if certainly and not self._session.closed:
            try:
                await self._session.carry_out(b"ROLLBACK", ends=True, wait=False)
            except Error as error:
                logger.warning("error ignored in rollback of a two-phase transaction: %s", error)

    async def prepare(self) -> None:
        """Prepare it."""
        session, transactions = self._session, self._transactions
        await self._certain_turn()
        if transactions.two_phase is not TwoPhase.BEGUN:
            raise ProgrammingError(
                f"tpc_prepare() cannot be called {_WHEN[transactions.two_phase]}: it is for what tpc_begin() has begun"
            )
        self._check_not_ended()
        tag = await session.send_command(
            b"PREPARE TRANSACTION " + self._literal(self._gid), ends=True, on_end=self._prepare_ends
        )
        if tag == "ROLLBACK":
            raise InFailedSqlTransaction(
                "the two-phase transaction was rolled back and not prepared: a statement in it had failed, and its "
                "error was caught. Call tpc_rollback(), after an error instead of tpc_prepare()"
            )

    async def finish(self, *, commit: bool) -> None:
        """Commit it or roll it back, prepared or not."""
        session, transactions = self._session, self._transactions
        pipeline = own_pipeline(session)
        if pipeline is not None and not commit:
            await pipeline.settle()  # its errors are what is rolled back because of
        await self._certain_turn()
        word = b"COMMIT" if commit else b"ROLLBACK"
        match transactions.two_phase:
            case TwoPhase.NONE:
                raise ProgrammingError(
                    f"tpc_{word.decode().lower()}() without an xid cannot be called {_WHEN[TwoPhase.NONE]}: to end "
                    "one that was prepared before, give its xid"
                )
            case TwoPhase.PREPARED:
                # It takes no time, and then it is known what has become of it.
                command = word + b" PREPARED " + self._literal(self._gid)
                await session.send_command(command, cancellable=False, on_end=self._prepared_ends)
            case TwoPhase.FAILED:
                if commit:
                    raise InFailedSqlTransaction(
                        "the two-phase transaction could not be prepared, and was rolled back: call tpc_rollback()"
                    )
                await session.wire.backend.checkpoint()
                transactions.two_phase = TwoPhase.NONE
            case TwoPhase.BEGUN:
                if commit:
                    self._check_not_ended()
                for taker in () if commit else session.row_takers():
                    taker.drop()
                if session.wire.protocol.expects_transaction():
                    tag = await session.send_command(word, ends=True, cancellable=commit, on_end=self._end_ends)
                    if commit and tag == "ROLLBACK":
                        raise not_committed()
                else:
                    await session.wire.backend.checkpoint()
                    transactions.two_phase = TwoPhase.NONE

    async def finish_other(self, gid: str, *, commit: bool) -> None:
        """Commit or roll back one that was prepared before, in whichever session."""
        name, word = ("tpc_commit", b"COMMIT") if commit else ("tpc_rollback", b"ROLLBACK")
        literal = self._literal(gid)
        await self._certain_turn()
        self._transactions.check_no_two_phase(f"{name}() cannot be called with an xid")
        if self._is_open():
            raise ProgrammingError(f"{name}() with an xid cannot be called in a transaction: commit or roll back first")
        await self._session.send_command(word + b" PREPARED " + literal, cancellable=False)

    # -- what the replies say; called by whoever reads

    # A statement that is canceled before it has begun leaves the transaction open, and failed.

    def _prepare_ends(self, request: CommandRequest) -> None:
        if self._is_idle():
            # The tag would say it as well, but where nobody waits for the reply there is none.
            prepared = request.error is None and request.status_before is TransactionStatus.INTRANS
            self._transactions.two_phase = TwoPhase.PREPARED if prepared else TwoPhase.FAILED

    def _end_ends(self, _: CommandRequest) -> None:
        if self._is_idle():
            self._transactions.two_phase = TwoPhase.NONE

    def _prepared_ends(self, request: CommandRequest) -> None:
        # Where there is none of this name somebody else has ended it.
        if request.error is None or isinstance(request.error, UndefinedObject):
            self._transactions.two_phase = TwoPhase.NONE

    def _is_idle(self) -> bool:
        return self._session.wire.protocol.transaction_status is TransactionStatus.IDLE

    # -- what has to be so

    async def _certain_turn(self) -> None:
        """Return when something may be sent, and it is certain how far the transaction is."""
        wire = self._session.wire
        wire.backend.check_here()
        await self._transactions.certain_turn()
        while any(isinstance(request, CommandRequest) and request.on_end for request in wire.protocol.pending):
            await wire.catch_up()
            await self._transactions.certain_turn()

    def _is_open(self) -> bool:
        return bool(self._transactions.blocks) or self._session.wire.protocol.expects_transaction()

    def _check_not_ended(self) -> None:
        if not self._session.wire.protocol.expects_transaction():
            raise ProgrammingError(
                "the two-phase transaction was ended by a statement in it, such as COMMIT: call tpc_rollback(), which "
                "undoes nothing of what that has committed"
            )

    def _check_gid(self, gid: str) -> None:
        self._literal(gid)
        encoding = python_codec(self._session.wire.protocol.parameters.get("server_encoding", "UTF8"))
        size = len(gid.encode(encoding_to_write(encoding), "replace"))
        if size > MAX_GID:
            raise ProgrammingError(f"the text of an xid can have {MAX_GID} bytes, not {size}: {gid[:40]!r}...")

    def _literal(self, gid: str) -> bytes:
        encoding = self._session.encoding
        return quote_literal(encode_text(gid, encoding_to_write(encoding)), encoding)


_WHEN = {
    TwoPhase.NONE: "without a two-phase transaction",
    TwoPhase.PREPARED: "when it is prepared",
    TwoPhase.FAILED: "when it has failed",
}
