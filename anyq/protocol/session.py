"""ProtocolSession: one connection's conversation with the server, without any input or output.

Bytes received go in through :meth:`ProtocolSession.receive_data`; replies are filed under the request they belong
to, notices and notifications are queued in ``events``. Knows how messages are cut out of bytes, the phase (the tables
of ``state``) and the FIFO of requests; what a message other than a row means is said by the functions of
``handlers``. Must not know sockets, clocks, event loops or how a value becomes a Python object: rows are decoded by
load functions that the request brings along.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable
from typing import Any

from ..errors import Error, LocalProtocolError, OperationalError, RemoteProtocolError
from . import frontend, handlers
from .buffer import HEADER, LARGE_MESSAGE, LargeRow, ReceiveBuffer
from .constants import MAX_AUTH_MESSAGE_LENGTH, MAX_MESSAGE_LENGTH, PROTOCOL_3_0, TransactionStatus
from .constants import BackendCode as B
from .handlers import Notify
from .messages import Authentication, NoticeResponse
from .request import LoadFunctions, Request, TransactionEffect
from .state import ACCEPTS, ENDED, TRANSITIONS, Phase

ReplyTaker = Callable[["ProtocolSession", "deque[Request]", bytes, int, int], int]
"""``take(session, pending, run, pos, end)`` does what the session would do with the messages at `pos`, as far as
they are complete and of the commonest kinds, and returns where they end."""
RowDecoder = Callable[[bytes, int, int, LoadFunctions, "list[tuple[Any, ...]]"], int]
"""``decode(run, pos, end, loads, rows)`` appends the complete rows found at `pos` and returns where they end."""

_DATA_ROW = int(B.DATA_ROW)
_HEADER = struct.Struct("!BI").unpack_from  # code, length
_IDLE = Phase.IDLE
_BUSY = Phase.BUSY
_PROTOCOL_OPTION = "_pq_."  # what names of options of the protocol begin with, in the StartupMessage


class ProtocolSession:
    """The state of one connection and the FIFO of its requests.

    :param decode_rows: the row decoder to use.
    :param take_replies: what is faster for the commonest messages, if there is such a thing.
    :param max_message_size: bytes; a longer message is refused before any of it is kept.
    """

    def __init__(
        self,
        decode_rows: RowDecoder,
        take_replies: ReplyTaker | None = None,
        *,
        max_message_size: int = MAX_MESSAGE_LENGTH,
    ) -> None:
        self.phase = Phase.STARTUP
        self.transaction_status = TransactionStatus.UNKNOWN
        self.parameters: dict[str, str] = {}
        self.parameters_version = 0
        """Rises with each ParameterStatus: what was derived from ``parameters`` is out of date then."""
        self.encoding = "utf-8"
        """Python codec of the client encoding, for the payload of notifications, which is data."""
        self.find_codec: Callable[[str], str] | None = None
        """Gives the Python codec of PostgreSQL's name for an encoding; see :meth:`use_codecs`."""
        self.unmatched_cancels = 0
        """How many CancelRequests were sent that have hit nothing yet, and may hit a request that is at risk."""
        self.protocol_version = PROTOCOL_3_0
        """What is spoken: the version that was asked for, until the server says that it only knows an older one."""
        self.asked_for: frozenset[str] = frozenset()
        """The options of the protocol that the StartupMessage had."""
        self.unknown_options: tuple[str, ...] = ()
        """Which of them the server does not know."""
        self.engaged = False
        """Whether the server has taken the StartupMessage: it has asked for authentication, or let us in."""
        self.backend_pid = 0
        self.secret_key = b""
        self.authentications: deque[Authentication] = deque()
        """What the server has asked for during the start-up; the one who answers takes it out."""
        self.events: deque[NoticeResponse | Notify] = deque()
        self.outgoing = bytearray()
        """What the session itself has to say; the owner of the stream sends it before anything else."""
        self.fatal_error: Error | None = None
        """The error with which the server announced that it closes the connection."""
        self.refused = False
        """Whether the server's last words came before it had let us in."""
        self.pending: deque[Request] = deque()
        """The requests that are not done, the oldest first; for others to look at only."""
        self.decode_rows = decode_rows
        self._take_replies = take_replies
        self.resynchronising = False  # ReadyForQuery counts again after the next CloseComplete
        self._buffer = ReceiveBuffer()
        self.large: LargeRow | None = None
        """A row with a big value that is under way: see :meth:`receive_target`."""
        self._max_message_size = max_message_size
        # Nothing large is due from a server that does not know us yet.
        self.limit = min(MAX_AUTH_MESSAGE_LENGTH, max_message_size)
        self._handlers = _HANDLERS[Phase.STARTUP]
        self._reason = ""
        self._cause: BaseException | None = None

    # -- what the client does

    def use_codecs(self, find: Callable[[str], str]) -> None:
        """Follow the client encoding from now on; `find` returns the Python codec of PostgreSQL's name for one."""
        self.find_codec = find
        self.encoding = find(self.parameters.get("client_encoding", "UTF8"))

    def start(self, parameters: dict[str, str], version: int = PROTOCOL_3_0) -> None:
        """Put the StartupMessage into ``outgoing``."""
        self.protocol_version = version
        self.asked_for = frozenset(name for name in parameters if name.startswith(_PROTOCOL_OPTION))
        frontend.startup(self.outgoing, parameters, version)

    def enqueue(self, request: Request) -> None:
        """Take note that the bytes of `request` are sent after those of all earlier ones.

        :raises LocalProtocolError: the session has not been started, or is over.
        """
        if self.phase is _IDLE:
            # As enter() does; this is so twice for each query, and the table allows it.
            self.phase = _BUSY
            self._handlers = _BUSY_HANDLERS
            request.status_before = self.transaction_status
        elif not self.pending:
            raise LocalProtocolError(f"a request cannot be sent in phase {self.phase.name}")
        self.pending.append(request)

    @property
    def head(self) -> Request | None:
        """The oldest request that is not done."""
        return self.pending[0] if self.pending else None

    def expects_transaction(self) -> bool:
        """Return whether a statement sent now will find a transaction open, judging by what is on its way."""
        if self.pending:
            for request in reversed(self.pending):
                if request.effect is not TransactionEffect.NONE:
                    return request.effect is not TransactionEffect.ENDS
        return self.transaction_status is not TransactionStatus.IDLE

    def begin_in_doubt(self) -> bool:
        """Return whether the transaction that a statement sent now would find needs a BEGIN that may not happen."""
        for request in reversed(self.pending):
            if request.effect is not TransactionEffect.NONE:
                return request.effect is TransactionEffect.MAY_BEGIN
        return False

    def enter(self, phase: Phase) -> None:
        """Go to another phase, if the table allows it."""
        if phase not in TRANSITIONS[self.phase]:
            raise LocalProtocolError(f"no way from phase {self.phase.name} to {phase.name}")
        self.phase = phase
        self._handlers = _HANDLERS[phase]
        if phase is Phase.STARTING:
            self.limit = self._max_message_size

    def fail(self, reason: str, cause: BaseException | None = None) -> None:
        """End the session: every request that is not done fails with the server's last words or with `reason`."""
        if self.phase in (Phase.CLOSED, Phase.FAILED):
            return
        self.enter(Phase.FAILED)
        self.large = None
        self._reason = reason
        self._cause = cause
        while self.pending:
            self.pending.popleft().fail(self.lost())

    def close(self) -> None:
        """End the session in good order; requests still under way fail."""
        if self.phase < Phase.CLOSED:
            self.fail("the connection was closed while the operation was under way")
            self.enter(Phase.CLOSED)

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

    def closed_reason(self) -> str:
        """Return a line for one who uses the session after its end."""
        if self.phase is Phase.CLOSED:
            return "the connection is closed"
        reason = str(self.fatal_error or self._reason)
        return reason if "closed" in reason else f"the connection is closed: {reason}"

    # -- what the server says

    def receive_target(self) -> memoryview | None:
        """Return where to receive the next bytes directly, while a big value is under way; release it after use."""
        return None if self.large is None else self.large.target()

    def received(self, count: int) -> None:
        """Take note that `count` bytes were received into :meth:`receive_target`'s view."""
        assert self.large is not None
        self.large.received(count)
        self._end_large_row()

    def receive_data(self, data: bytes) -> None:
        """Process every complete message in what has been received; keep the rest.

        :raises RemoteProtocolError: the bytes break the protocol; the session is of no use after that.
        """
        pos = 0
        if self.large is not None:
            pos = self.large.feed(data, 0)
            self._end_large_row()
            # More bytes than the row had: then it is at its end.
            if pos == len(data):
                return
        run = self._buffer.feed(data)
        if run is None:
            return
        end = len(run)
        take_replies = self._take_replies
        if take_replies is not None:
            pos = take_replies(self, self.pending, run, pos, end)
            if pos == end:
                return
        while end - pos >= HEADER:
            code, length = _HEADER(run, pos)
            if code == _DATA_ROW and self.pending:
                after = self.receive_rows(run, pos, end)
                if after > pos:
                    pos = after
                    continue
            stop = pos + 1 + length
            if length < 4 or length > self.limit:
                raise self._bad_length(code, length)
            handler = self._handlers.get(code)
            if handler is None:
                if self.phase >= ENDED:
                    return
                # Before any of it is kept: it would be kept for nothing.
                raise self._unexpected(code)
            if stop > end:
                self._keep(run, pos, end, code, length)
                return
            handler(self, run[pos + HEADER : stop])
            pos = stop if take_replies is None else take_replies(self, self.pending, run, stop, end)
        if pos < end:
            self._buffer.keep(run, pos, HEADER)

    def receive_eof(self) -> None:
        """Take note that the server has closed its side."""
        if self.fatal_error is None and self.phase < Phase.IDLE:
            self.fail(
                "the server closed the connection during the start-up; check that host and port are those of "
                "PostgreSQL and that it accepts connections from here (pg_hba.conf)"
            )
        self.fail("the server closed the connection unexpectedly; it may have crashed or been shut down")

    def end_request(self, pending: deque[Request], status: TransactionStatus) -> None:
        """Take note that the head of `pending` is done."""
        self.transaction_status = status
        request = pending.popleft()
        request.current = None
        if pending:
            pending[0].status_before = status
        else:
            # As enter() does; this is so twice for each query, and the table allows it.
            self.phase = _IDLE
            self._handlers = _IDLE_HANDLERS
            self.unmatched_cancels = 0  # a server that is idle ignores them
        request.finish()

    # -- rows

    def receive_rows(self, run: bytes, pos: int, end: int) -> int:
        """Take the DataRow messages that are complete; return where they end."""
        request = self.pending[0]
        result = request.current
        if result is None or self.phase is not _BUSY or result.fields is None and not request.abandoned:
            return pos
        loads = result.loads
        if loads is not None:
            try:
                return self.decode_rows(run, pos, end, loads, result.rows)
            except RemoteProtocolError:
                raise
            except Exception as error:
                # A loader's own failure must not lose the place in the stream: drain first, raise afterwards.
                request.cannot_load(result, error)
        while end - pos >= HEADER and run[pos] == _DATA_ROW:
            stop = pos + 1 + int.from_bytes(run[pos + 1 : pos + HEADER], "big")
            if stop > end or stop < pos + HEADER:
                break
            pos = stop
        return pos

    def _keep(self, run: bytes, pos: int, end: int, code: int, length: int) -> None:
        if code == _DATA_ROW and length > LARGE_MESSAGE and self.phase is Phase.BUSY:
            self.large = LargeRow(length - 4)
            self.large.feed(run, pos + HEADER)
        else:
            self._buffer.keep(run, pos, 1 + length)

    def _end_large_row(self) -> None:
        if self.large is None or not self.large.done:
            return
        values = self.large.finish()
        self.large = None
        request = self.pending[0]
        result = request.current
        if result is None or result.fields is None and not request.abandoned:
            raise handlers.stray_row()
        loads = result.loads
        if loads is None:
            return
        if len(loads) != len(values):
            raise RemoteProtocolError(f"a DataRow message has {len(values)} columns, its description has {len(loads)}")
        try:
            row = tuple(None if v is None else load(v) for load, v in zip(loads, values, strict=True))
        except Exception as error:
            request.cannot_load(result, error)
        else:
            result.rows.append(row)

    # -- what may go wrong

    def _bad_length(self, code: int, length: int) -> RemoteProtocolError:
        if self.phase is Phase.STARTUP and code not in self._handlers:
            return self._unexpected(code)
        return RemoteProtocolError(
            f"the server sent a message {_name(code)} of {length} bytes, where 4 to {self.limit} are allowed"
        )

    def _unexpected(self, code: int) -> RemoteProtocolError:
        if self.phase is Phase.STARTUP:
            return RemoteProtocolError(
                f"the server's first answer was {_name(code)}, which is not PostgreSQL's; check host and port"
            )
        return RemoteProtocolError(f"the server sent {_name(code)} in phase {self.phase.name}")


def _name(code: int) -> str:
    try:
        return B(code).name
    except ValueError:
        return f"a message of unknown type {chr(code)!r}"


_HANDLERS: dict[Phase, dict[int, Callable[[ProtocolSession, bytes], None]]] = {
    phase: {int(code): getattr(handlers, name) for code, name in accepted.items()}
    for phase, accepted in ACCEPTS.items()
}
_IDLE_HANDLERS = _HANDLERS[_IDLE]
_BUSY_HANDLERS = _HANDLERS[_BUSY]
