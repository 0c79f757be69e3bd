"""Session: what is built on a connection works on; the connection that a user holds is a facade on it.

Knows the wire, the account of prepared statements, the transactions, the adapters of one server session, and how
commands without a result are run. Must not know cursors, blocks, subscriptions or how a session is opened.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from ..adapt import AdaptersMap, Transformer
from ..adapt.encodings import python_codec
from ..backends import uninterrupted
from ..protocol import frontend
from ..protocol.constants import TransactionStatus
from ..protocol.request import TransactionEffect
from ..protocol.session import ProtocolSession
from ..statements.composer import Composer
from ..statements.declare import NamedCursors
from ..statements.explanation import explained
from ..statements.remembered import QueryKey, RememberedQuery
from ..statements.requests import CommandRequest, RowTaker, StatementRequest
from ..statements.statement import Statement
from .cancelling import was_hit, was_victim
from .tracing import SessionTracing
from .transactions import Transactions
from .wire import Wire


class Adaptation:
    """The adapters of a session, or of a cursor that has its own, with the transformer made of them."""

    __slots__ = ("_protocol", "_tx", "adapters", "connection")

    def __init__(self, adapters: AdaptersMap, protocol: ProtocolSession, connection: Any) -> None:
        self.adapters = adapters
        self.connection = connection
        """The connection that dumpers and loaders are given."""
        self._protocol = protocol
        self._tx: Transformer | None = None

    def copy(self) -> Adaptation:
        """Return one with a map of its own, which begins as a copy."""
        return self.with_adapters(self.adapters)

    def with_adapters(self, adapters: AdaptersMap) -> Adaptation:
        """Return one with a map of its own, which begins as a copy of another one."""
        return Adaptation(AdaptersMap(adapters), self._protocol, self.connection)

    def transformer(self, parameters: Mapping[str, str] | None = None) -> Transformer:
        """Return the transformer for these adapters.

        :param parameters: the server's parameters when it wrote what is to be loaded; by default as they are now.
        """
        tx = self._tx
        if parameters is None:
            parameters = self._protocol.parameters
        if tx is None or tx.parameters is not parameters:
            now = parameters is self._protocol.parameters
            encoding = self._protocol.encoding if now else python_codec(parameters.get("client_encoding", "UTF8"))
            self._tx = tx = Transformer(self, encoding=encoding, parameters=parameters)
        return tx


class Held:
    """What cursors hold of the adapters of a session, so that they keep those that they were made with.

    It is one object for all cursors that are made until the session's adapters change.
    """

    __slots__ = ("adaptation", "private")

    def __init__(self, adaptation: Adaptation | None = None, *, private: bool = False) -> None:
        self.adaptation = adaptation
        """The adapters, as they were before they changed; None as long as they are the session's."""
        self.private = private
        """Whether it is of one cursor, which may register what it likes."""


class Session:
    """One server session, shared by any number of tasks.

    :param connection: the connection that a user holds, for those who are given it: dumpers and loaders.
    """

    def __init__(
        self, wire: Wire, adapters: AdaptersMap, connection: Any, *, autocommit: bool, prepare_threshold: int | None
    ) -> None:
        self.wire = wire
        """The traffic."""
        self.transactions = Transactions(wire, self.carry_out, autocommit=autocommit)
        """How transactions are begun, and which blocks are entered."""
        self.composer = Composer(prepare_threshold, wire.protocol)
        """How statements are sent, and what the server has prepared."""
        self.remembered: dict[QueryKey, RememberedQuery] = self.composer.remembered
        """What is known of queries by their text; the composer's, at hand for each query."""
        self.cursors = NamedCursors(self.composer.statements)
        """Which named cursors have been declared, and by what."""
        self.adaptation = Adaptation(adapters, wire.protocol, connection)
        """How values are converted, unless a cursor has adapters of its own."""
        self.held = Held()
        """What a cursor that is made now holds of it."""
        adapters.before_change = self._keep_for_cursors
        self.settle: Callable[[], Awaitable[None]] | None = None
        """What to await when a statement is at its end, as something waits for there to be no transaction; or None."""
        self.tracing: SessionTracing | None = None
        """Who watches."""
        self.query_tracing: SessionTracing | None = None
        """The same where somebody listens to what statements are run; who executes one looks."""

    @property
    def closed(self) -> bool:
        """Whether the session is at its end, by either side."""
        return self.wire.closed

    def _keep_for_cursors(self) -> None:
        """Keep the adapters as they are, for the cursors that there are: they are about to change."""
        self.held.adaptation = self.adaptation.copy()
        self.held = Held()

    def row_takers(self) -> list[RowTaker]:
        """Return who takes the rows of queries under way as they arrive."""
        takers = [request.taker for request in self.wire.protocol.pending if isinstance(request, StatementRequest)]
        found = [taker() for taker in takers if taker is not None]
        return [taker for taker in found if taker is not None]

    @property
    def encoding(self) -> str:
        """The Python codec of the client encoding."""
        return self.wire.protocol.encoding

    @property
    def transaction_status(self) -> TransactionStatus:
        """IDLE, INTRANS, INERROR; ACTIVE while a statement is under way; UNKNOWN at the session's end."""
        protocol = self.wire.protocol
        if protocol.over:
            return TransactionStatus.UNKNOWN
        return TransactionStatus.ACTIVE if protocol.pending else protocol.transaction_status

    def check_open(self) -> None:
        """Raise an OperationalError if the session is at its end."""
        protocol = self.wire.protocol
        if protocol.over:
            raise protocol.closed_error()

    def transformer(self) -> Transformer:
        """Return the transformer for the session's adapters, as its parameters are now."""
        return self.adaptation.transformer()

    def explained(self, failure: Exception, statement: Statement, encoding: str) -> Exception:
        """Return the error of a statement, which says which one it is and where in it the error is.

        :param encoding: the Python codec of the client encoding when it was sent: a failure may have changed it back.
        """
        return explained(failure, statement, encoding, self.wire.protocol.parameters.get("server_encoding"))

    async def send_command(
        self,
        command: bytes,
        *,
        begins: bool = False,
        ends: bool = False,
        cancellable: bool = True,
        on_end: Callable[[CommandRequest], object] | None = None,
    ) -> str | None:
        """Run statements that have no result; to be called after ``wire.turn()`` without an await in between.

        :param on_end: see :class:`CommandRequest`.
        :return: the command tag of the last one.
        """
        effect = TransactionEffect.ENDS if ends else TransactionEffect.BEGINS if begins else TransactionEffect.NONE
        while True:
            data = bytearray()
            self.composer.close_left(data)  # a COMMIT would have the server compute what a cursor holds
            frontend.query(data, command)
            request = CommandRequest(
                self.composer.statements,
                undoes=ends or b"ROLLBACK" in command,
                cancellable=cancellable,
                effect=effect,
                on_end=on_end,
            )
            await self.wire.run(request, data)
            if request.error is None:
                if ends and self.settle is not None:
                    await self.settle()
                return request.tag
            # A ROLLBACK that was hit has left nothing behind either, whatever it was to end.
            if not (was_victim(request) or was_hit(request) and command.startswith(b"ROLLBACK")):
                raise request.error
            await self.wire.turn()

    async def carry_out(self, command: bytes, *, ends: bool = False, wait: bool = True) -> None:
        """Run statements that have no result, in any case: cancelled or not. See :meth:`Wire.carry_out`."""
        data = bytearray()
        frontend.query(data, command)
        effect = TransactionEffect.ENDS if ends else TransactionEffect.NONE
        while True:
            request = CommandRequest(self.composer.statements, undoes=True, effect=effect)
            await self.wire.carry_out(request, data, wait=wait)
            if request.error is None:
                break
            if not was_hit(request):
                raise request.error
        if wait and ends and self.settle is not None:
            await self.settle()

    async def end_transaction(self, command: bytes, *, cancellable: bool, behind_pipeline: bool = True) -> str | None:
        """Run COMMIT or ROLLBACK if a transaction is open, or will be when what is on its way has been run.

        :param behind_pipeline: False for what is not to be behind what the task has in a pipeline.
        :return: the command tag; None if there was nothing to end.
        """
        await self.transactions.certain_turn(behind_pipeline=behind_pipeline)
        self.transactions.check_no_two_phase("the transaction cannot be ended")
        if self.wire.protocol.expects_transaction():
            return await self.send_command(command, ends=True, cancellable=cancellable)
        await self.wire.backend.checkpoint()
        if self.settle is not None:
            await self.settle()
        return None


uninterrupted(Session)
