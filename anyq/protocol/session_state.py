"""SessionState: what is known of one connection's conversation, and the transitions that it makes.

Which there are is in the table of ``phases``. Knows requests and what the session has learned. Must not know how
messages are cut out of bytes (``session`` does), nor what is in them (``handlers`` do, which change what is here).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from ..errors import Error, LocalProtocolError, OperationalError, RemoteProtocolError
from . import frontend
from .constants import (
    LONG_MESSAGES,
    MAX_REPORTED_PARAMETERS,
    MAX_SHORT_MESSAGE_LENGTH,
    PROTOCOL_3_0,
    TransactionStatus,
)
from .messages import Authentication, NoticeResponse
from .phases import ENDED, TABLE, Event, Phase
from .request import Request, TransactionEffect

Handler = Callable[["SessionState", bytes], None]


class Row:
    """One phase's row of the table, made ready to be used."""

    __slots__ = ("after", "after_enqueue", "after_last_request", "handlers", "over", "phase")

    def __init__(self, phase: Phase) -> None:
        self.phase = phase
        self.over = phase >= ENDED
        self.handlers: dict[int, Handler] = {}
        """What to call for each message, by its first byte."""
        self.after: dict[Event, Row] = {}
        """The row that each event leads to."""
        # The same for the two that there are for every query.
        self.after_enqueue: Row | None = None
        self.after_last_request: Row | None = None


def make_rows(handlers: Mapping[str, Handler]) -> dict[Phase, Row]:
    """Return the table with the functions of its handlers."""
    rows = {phase: Row(phase) for phase in TABLE}
    for phase, row in rows.items():
        for key, step in TABLE[phase].items():
            after = row if step.phase is None else rows[step.phase]
            if isinstance(key, Event):
                row.after[key] = after
            else:
                handler = handlers[step.handler]
                row.handlers[int(key)] = handler if after is row else _and_go_to(handler, after)
        row.after_enqueue = row.after.get(Event.ENQUEUE)
        row.after_last_request = row.after.get(Event.LAST_REQUEST_ENDED)
    return rows


def _and_go_to(handler: Handler, after: Row) -> Handler:
    def handle(state: SessionState, payload: bytes) -> None:
        handler(state, payload)
        state.go_to(after)

    return handle


class Notify(NamedTuple):
    """A notification: its channel, its payload, and the process id of the server process that sent it."""

    channel: str
    payload: str
    pid: int


_PARAMETER = 128  # bytes that it takes to keep a parameter, beside its name and value
_PROTOCOL_OPTION = "_pq_."  # what names of options of the protocol begin with, in the StartupMessage


class SessionState:
    """What is known of one connection, and the FIFO of its requests.

    :param rows: the table, made ready by :func:`make_rows`.
    :param max_message_size: bytes; a longer message is refused.
    """

    __slots__ = (
        *("row", "phase", "over", "transaction_status", "parameters", "encoding", "text_encoding", "find_codec"),
        *("events", "outgoing", "pending", "unmatched_cancels", "limit", "_max_message_size", "_parameters_size"),
        *("protocol_version", "asked_for", "unknown_options", "startup_accepted", "authentications"),
        *("backend_pid", "secret_key", "fatal_error", "refused", "farewell", "_reason", "_cause"),
    )

    def __init__(self, rows: Mapping[Phase, Row], max_message_size: int) -> None:
        self.row = rows[Phase.NEW]
        """The table's row for this phase; like ``phase``, it is changed by transitions only."""
        self.phase = self.row.phase
        self.over = False
        """Whether it is the last phase, or the other last one."""
        self.transaction_status = TransactionStatus.UNKNOWN
        self.parameters: dict[str, str] = {}
        """What the server has reported. Another one after each change, so that it tells what was at its time."""
        self.encoding = "utf-8"
        """Python codec of the client encoding, for the payload of notifications, which is data."""
        self.text_encoding = "utf-8"
        """The codec for what the server says itself, names of columns and texts of errors: as well as it can be."""
        self.find_codec: Callable[[str], str] | None = None
        """Gives the Python codec of PostgreSQL's name for an encoding; see :meth:`use_codecs`."""
        self.unmatched_cancels = 0
        """How many signals of CancelRequests have hit nothing yet, and may hit a request that is at risk."""
        self.events: deque[NoticeResponse | Notify] = deque()
        self.outgoing = bytearray()
        """What the session itself has to say; the owner of the stream sends it before anything else."""
        self.pending: deque[Request] = deque()
        """The requests that are not done, the oldest first; for others to look at only."""
        self.limit = min(MAX_SHORT_MESSAGE_LENGTH, max_message_size)
        """The longest message that is taken whatever it is; for a longer one :meth:`longest` has to be asked."""
        self._max_message_size = max_message_size
        self._parameters_size = 0

        # -- what the start-up tells
        self.protocol_version = PROTOCOL_3_0
        """What is spoken: the version that was asked for, until the server says that it only knows an older one."""
        self.asked_for: frozenset[str] = frozenset()
        """The options of the protocol that the StartupMessage had."""
        self.unknown_options: tuple[str, ...] = ()
        """Which of them the server does not know."""
        self.startup_accepted = False
        """Whether the server has taken the StartupMessage: it has asked for authentication, or let us in."""
        self.authentications: deque[Authentication] = deque()
        """What the server has asked for during the start-up; the one who answers takes it out."""
        self.backend_pid = 0
        self.secret_key = b""

        # -- what the end was
        self.fatal_error: Error | None = None
        """The error with which the server announced that it closes the connection."""
        self.refused = False
        """Whether that came before it had let us in."""
        self.farewell: tuple[Error, Request | None] | None = None
        """The warning that it is about to go away, and the request that was the oldest one then."""
        self._reason = ""
        self._cause: BaseException | None = None

    # -- transitions

    def happened(self, event: Event) -> None:
        """Go to the phase that an event leads to.

        :raises LocalProtocolError: it cannot be in this phase.
        """
        after = self.row.after.get(event)
        if after is None:
            raise self._impossible(event)
        self.go_to(after)

    def go_to(self, row: Row) -> None:
        """Go to the phase of a row of the table."""
        self.row = row
        self.phase = row.phase
        self.over = row.over

    def start(self, parameters: dict[str, str], version: int = PROTOCOL_3_0) -> None:
        """Put the StartupMessage into ``outgoing``.

        :raises LocalProtocolError: that has been done.
        """
        self.happened(Event.START)
        self.protocol_version = version
        self.asked_for = frozenset(name for name in parameters if name.startswith(_PROTOCOL_OPTION))
        frontend.startup(self.outgoing, parameters, version)

    def enqueue(self, request: Request) -> None:
        """Take note that the bytes of `request` are sent after those of all earlier ones.

        :raises LocalProtocolError: the session has not been started, or is over.
        """
        # As happened() does, without the call: once for each query.
        after = self.row.after_enqueue
        if after is None:
            raise self._impossible(Event.ENQUEUE)
        self.row, self.phase = after, after.phase
        if not self.pending:
            request.status_before = self.transaction_status
        self.pending.append(request)

    def end_request(self, pending: deque[Request], status: TransactionStatus) -> None:
        """Take note that the head of `pending`, which is the session's, is done.

        :raises LocalProtocolError: none is under way.
        """
        after = self.row.after_last_request
        if after is None:
            raise self._impossible(Event.LAST_REQUEST_ENDED)
        request, self.transaction_status = pending[0], status
        try:
            pending.popleft()
            request.current = None
            request.parameters = self.parameters
            if pending:
                pending[0].status_before = status
            else:
                self.row, self.phase = after, after.phase
                if self.unmatched_cancels:
                    self.unmatched_cancels = 0  # a server that is idle ignores them
            request.finish()
        except BaseException:
            request.finish()  # it is not among those any more that an end of the session reaches
            raise

    def fail(self, reason: str, cause: BaseException | None = None) -> None:
        """End the session: every request that is not done fails with its fatal error or with `reason`."""
        self._end(Event.FAIL, reason, cause)

    def close(self) -> None:
        """End the session in good order; requests still under way fail."""
        self._end(Event.CLOSE, "the connection was closed while the operation was under way", None)

    def _end(self, event: Event, reason: str, cause: BaseException | None) -> None:
        if self.phase < ENDED:
            self._reason, self._cause = reason, cause
        self.happened(event)
        not_begun = False
        while self.pending:
            error = self.lost()
            error.never_run = not_begun
            self.pending[0].fail(error)  # first, as an interrupt may come, and this is called again
            self.pending.popleft()
            # A process that was told to end was at the first one.
            not_begun = self.fatal_error is not None and _is_of_the_process(self.fatal_error)

    def _impossible(self, event: Event) -> LocalProtocolError:
        return LocalProtocolError(f"{_IMPOSSIBLE[event]} in phase {self.phase.name}")

    # -- what the server reports

    def report(self, name: str, value: str) -> None:
        """Take note of the value of a parameter.

        :raises RemoteProtocolError: there are too many, or they are too long.
        """
        before = self.parameters.get(name)
        if before == value:
            return
        self._parameters_size += len(value) - (-_PARAMETER - len(name) if before is None else len(before))
        if self._parameters_size > MAX_REPORTED_PARAMETERS:
            raise RemoteProtocolError(
                f"the server reports parameters of more than {MAX_REPORTED_PARAMETERS} bytes; the last one is {name!r}"
            )
        if self.phase >= Phase.IDLE:
            self._keep_parameters()
        self.parameters[name] = value
        if name == "client_encoding":
            self.set_encoding(value)

    def _keep_parameters(self) -> None:
        """Leave the dictionary as it is for what was written before, and go on with another one."""
        if self.pending:
            if self.pending[0].parameters_before is not None:
                return
            self.pending[0].parameters_before = self.parameters
        self.parameters = self.parameters.copy()

    # -- what others ask

    def longest(self, code: int) -> int:
        """Return how long a message that begins with `code` may be; nothing large is due before we are let in."""
        if self.phase < Phase.STARTING:
            return self.limit
        return min(LONG_MESSAGES.get(code, MAX_SHORT_MESSAGE_LENGTH), self._max_message_size)

    def use_codecs(self, find: Callable[[str], str]) -> None:
        """Follow the client encoding from now on; `find` returns the Python codec of PostgreSQL's name for one."""
        self.find_codec = find
        self.set_encoding(self.parameters.get("client_encoding", "UTF8"))

    def set_encoding(self, client_encoding: str) -> None:
        """Take note of the client encoding, by PostgreSQL's name."""
        if self.find_codec is not None:
            self.encoding = self.find_codec(client_encoding)
            # SQL_ASCII: the server does not know itself.
            self.text_encoding = "utf-8" if self.encoding == "ascii" else self.encoding

    @property
    def head(self) -> Request | None:
        """The oldest request that is not done."""
        return self.pending[0] if self.pending else None

    def expects_transaction(self) -> bool:
        """Return whether a statement sent now may find a transaction open, judging by what is on its way."""
        if self.pending:
            for request in reversed(self.pending):
                if request.effect is not TransactionEffect.NONE:
                    return request.effect is not TransactionEffect.ENDS
        return self.transaction_status is not TransactionStatus.IDLE

    def transaction_in_doubt(self) -> bool:
        """Return whether only replies that are on their way tell if a statement sent now finds a transaction."""
        for request in reversed(self.pending):
            if request.effect is not TransactionEffect.NONE:
                return request.effect is TransactionEffect.UNCERTAIN
        return False

    def lost(self) -> Error:
        """Return a new error that says why the session came to its end."""
        words = self.fatal_error
        if words is not None:
            return type(words)(*words.args, fields=words.diag.fields)
        kind = RemoteProtocolError if isinstance(self._cause, RemoteProtocolError) else OperationalError
        error = kind(self._reason)
        error.__cause__ = self._cause
        return error

    def lost_error(self) -> Error:
        """Return a new error for one who waits for something that cannot come any more."""
        return self.lost() if self.phase is Phase.FAILED else OperationalError(self.closed_reason())

    def closed_error(self) -> OperationalError:
        """Return a new error for one who uses the session after its end."""
        error = OperationalError(self.closed_reason())
        error.never_run = True
        return error

    def closed_reason(self) -> str:
        """Return a line for one who uses the session after its end."""
        if self.phase is Phase.CLOSED:
            return "the connection is closed"
        reason = str(self.fatal_error or self._reason)
        return reason if "closed" in reason else f"the connection is closed: {reason}"


def _is_of_the_process(error: Error) -> bool:
    """Return whether it is certain that an error was told by the server process itself, on its orderly way out.

    A pooler says similar things, of a process that may go on with what it was sent; but it has no functions of the
    server's to name.
    """
    return error.diag.source_function is not None and (error.sqlstate or "").startswith(_TOLD_TO_END)


_TOLD_TO_END: Final = "57P", "25P03", "25P04"
"""SQLSTATEs: told to by somebody, or by a time limit of the session or its transaction."""

_IMPOSSIBLE: Final = {
    Event.START: "a session cannot be started",
    Event.ENQUEUE: "a request cannot be sent",
    Event.LAST_REQUEST_ENDED: "no request can be at its end",
    Event.AUTHENTICATION_REQUESTED: "authentication cannot be asked for",
    Event.AUTHENTICATED: "authentication cannot be complete",
    Event.COPY_IN_BEGAN: "no COPY can begin",
    Event.COPY_IN_BEGAN_EXTENDED: "no COPY can begin",
}
"""What to say of an event that is not in a phase's row. FAIL and CLOSE are in all."""
