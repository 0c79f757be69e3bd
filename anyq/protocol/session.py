"""ProtocolSession: one connection's conversation with the server, without any input or output.

Bytes received go in through :meth:`ProtocolSession.receive_data`; replies are filed under the request they belong
to, notices and notifications are queued in ``events``. Knows the order in which messages come (the tables of
``state``) and the FIFO of requests. Must not know sockets, clocks, event loops or how a value becomes a Python
object: rows are decoded by load functions that the request brings along.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from ..errors import (
    DataError,
    Error,
    LocalProtocolError,
    NotSupportedError,
    OperationalError,
    QueryCanceled,
    RemoteProtocolError,
    error_from_fields,
)
from . import backend, frontend
from .backend import Authentication, FieldDescription, NoticeResponse, NotificationResponse
from .buffer import HEADER, LARGE_MESSAGE, LargeRow, ReceiveBuffer
from .constants import MAX_AUTH_MESSAGE_LENGTH, MAX_MESSAGE_LENGTH, PROTOCOL_3_0, TransactionStatus
from .constants import BackendCode as B
from .state import ACCEPTS, ENDED, TRANSITIONS, Phase

Fields = tuple[FieldDescription, ...]
LoadFunctions = Sequence[Callable[[bytes], Any]]
ReplyTaker = Callable[["ProtocolSession", "deque[Request]", bytes, int, int], int]
"""``take(session, pending, run, pos, end)`` does what the session would do with the messages at `pos`, as far as
they are complete and of the commonest kinds, and returns where they end."""
RowDecoder = Callable[[bytes, int, int, LoadFunctions, "list[tuple[Any, ...]]"], int]
"""``decode(run, pos, end, loads, rows)`` appends the complete rows found at `pos` and returns where they end."""

_DATA_ROW = int(B.DATA_ROW)
_HEADER = struct.Struct("!BI").unpack_from  # code, length
_STATUS = {
    ord("I"): TransactionStatus.IDLE,
    ord("T"): TransactionStatus.INTRANS,
    ord("E"): TransactionStatus.INERROR,
}
_IDLE = Phase.IDLE
_BUSY = Phase.BUSY
_NO_STATEMENT = b"_anyq_none"
_PROTOCOL_OPTION = "_pq_."  # what names of options of the protocol begin with, in the StartupMessage
_CACHED_DESCRIPTION = 16 * 1024  # bytes; longer row descriptions are decoded anew each time


class Notify(NamedTuple):
    """A notification: its channel, its payload, and the process id of the server process that sent it."""

    channel: str
    payload: str
    pid: int


class Waiter(Protocol):
    """What a request wakes when it is done; an event of the event loop's."""

    def set(self) -> None: ...


class Result:
    """What one statement gave: its description, its rows as far as they have come, its command tag."""

    tag: str | None = None
    """The command tag, such as ``INSERT 0 1``; None until the statement is complete and for an empty query."""
    suspended = False

    def __init__(self, fields: Fields | None = None, loads: LoadFunctions | None = None) -> None:
        self.fields = fields
        """Description of the columns; None for a statement that returns no rows."""
        self.loads = loads
        """A load function for each column; None to pass over the rows."""
        self.rows: list[tuple[Any, ...]] = []


class Request:
    """What was sent up to one Sync (or as one simple Query), and every reply to it until ReadyForQuery.

    :param plan: gives the load functions for a row description; called when the description arrives.
    """

    # There is one for each query, and most of this is never set: so the defaults are the class's.
    plan: Callable[[Fields], LoadFunctions] | None = None
    extended = True
    current: Result | None = None
    known: tuple[Fields, LoadFunctions | None] | None = None
    """The description that statements bound from now on have, as far as none has been sent by the server."""
    parsed = 0
    """How many Parse messages have succeeded."""
    error: Error | None = None
    """The server's error."""
    failure: Exception | None = None
    """An error on this side: a value that cannot be loaded, a use that is not supported."""
    done = False
    streaming = 0
    """How many rows of the result under way the one who waits wants at least; 0 to have complete results."""
    begins = False
    ends = False
    """Whether it opens or ends a transaction, as far as the sender knows."""
    doubtful = False
    """Whether its BEGIN may not happen: a simple query with an error in its syntax is refused as a whole."""
    abandoned = False
    cancellable = True
    """False for what is over in no time and should happen in any case: abandoned or not, it is not cancelled."""
    counting = False
    """Whether only the tags of results matter, and how many there are of each: :meth:`count` may be called instead."""
    cancel_sent = False
    """Whether a CancelRequest was sent for it."""
    at_risk = False
    """Whether one was sent for a request before it when this one was on its way already."""
    victim = False
    """Whether it was cancelled by one that was meant for another request."""
    status_before = TransactionStatus.UNKNOWN
    waiter: Waiter | None = None

    def __init__(self, plan: Callable[[Fields], LoadFunctions] | None = None, *, extended: bool = True) -> None:
        if plan is not None:
            self.plan = plan
        if not extended:
            self.extended = False
        self.results: list[Result] = []

    def add(self, result: Result) -> None:
        """Take a complete result."""
        self.results.append(result)

    def count(self, tag: str, count: int) -> None:
        """Take so many complete results without rows and with this tag, if it is ``counting``."""
        raise NotImplementedError

    def abandon(self) -> None:
        """Nobody wants the replies any more: they are dropped as they come."""
        self.abandoned = True
        self.streaming = 0
        self.plan = None
        self.known = None
        self.results = []
        if self.current is not None:
            self.current = Result()

    def ready(self) -> bool:
        """Return whether there is something for the one who waits: the end or, when streaming, rows or a failure."""
        if self.done or not self.streaming:
            return self.done
        return self.failure is not None or self.current is not None and len(self.current.rows) >= self.streaming

    def fail(self, error: Error) -> None:
        """End it without a further reply."""
        if self.error is None:
            self.error = error
        self.finish()

    def finish(self) -> None:
        self.done = True
        if self.waiter is not None:
            self.waiter.set()


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
        self._find_codec: Callable[[str], str] | None = None
        self.strays = 0
        """How many CancelRequests were sent that have hit nothing yet, and may hit a request that is at risk."""
        self.protocol_version = PROTOCOL_3_0
        """What is spoken: the version that was asked for, until the server says that it only knows an older one."""
        self._asked_for: frozenset[str] = frozenset()  # the options of the protocol that the StartupMessage had
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
        self.last_words: Error | None = None
        self.refused = False
        """Whether the server's last words came before it had let us in."""
        """The error with which the server announced that it closes the connection."""
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
        self._find_codec = find
        self.encoding = find(self.parameters.get("client_encoding", "UTF8"))

    def start(self, parameters: dict[str, str], version: int = PROTOCOL_3_0) -> None:
        """Put the StartupMessage into ``outgoing``."""
        self.protocol_version = version
        self._asked_for = frozenset(name for name in parameters if name.startswith(_PROTOCOL_OPTION))
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
                if request.ends:
                    return False
                if request.begins:
                    return True
        return self.transaction_status is not TransactionStatus.IDLE

    def begin_in_doubt(self) -> bool:
        """Return whether the transaction that a statement sent now would find needs a BEGIN that may not happen."""
        for request in reversed(self.pending):
            if request.ends or request.begins:
                return request.doubtful and not request.ends
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
        words = self.last_words
        if words is not None:
            return type(words)(*words.args, fields=words.diag.fields)
        kind = RemoteProtocolError if isinstance(self._cause, RemoteProtocolError) else OperationalError
        error = kind(self._reason)
        error.__cause__ = self._cause
        return error

    def lost_error(self) -> Error:
        """Return a new error for one who waits for something that cannot come any more."""
        return self.lost() if self.phase is Phase.FAILED else OperationalError(self.epitaph())

    def epitaph(self) -> str:
        """Return a line for one who uses the session after its end."""
        if self.phase is Phase.CLOSED:
            return "the connection is closed"
        reason = str(self.last_words or self._reason)
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
        while end - pos >= HEADER:
            if take_replies is not None:
                pos = take_replies(self, self.pending, run, pos, end)
                if end - pos < HEADER:
                    break
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
            pos = stop
        if pos < end:
            self._buffer.keep(run, pos, HEADER)

    def receive_eof(self) -> None:
        """Take note that the server has closed its side."""
        if self.last_words is None and self.phase < Phase.IDLE:
            self.fail(
                "the server closed the connection during the start-up; check that host and port are those of "
                "PostgreSQL and that it accepts connections from here (pg_hba.conf)"
            )
        self.fail("the server closed the connection unexpectedly; it may have crashed or been shut down")

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
                give_up(request, result, error)
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
            raise _stray_row()
        loads = result.loads
        if loads is None:
            return
        if len(loads) != len(values):
            raise RemoteProtocolError(
                f"a DataRow message has {len(values)} columns, its description has {len(loads)}"
            )
        try:
            row = tuple(None if v is None else load(v) for load, v in zip(loads, values, strict=True))
        except Exception as error:
            give_up(request, result, error)
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

    # -- handlers of messages at any time (see state.ACCEPTS)

    def on_notice(self, payload: bytes) -> None:
        message = backend.decode(B.NOTICE_RESPONSE, payload)
        assert isinstance(message, NoticeResponse)
        self.events.append(message)

    def on_notification(self, payload: bytes) -> None:
        message = backend.decode(B.NOTIFICATION_RESPONSE, payload, self.encoding)
        assert isinstance(message, NotificationResponse)
        self.events.append(Notify(message.channel, message.payload, message.pid))

    def on_parameter_status(self, payload: bytes) -> None:
        message = backend.decode(B.PARAMETER_STATUS, payload)
        assert isinstance(message, backend.ParameterStatus)
        self.parameters[message.name] = message.value
        self.parameters_version += 1
        if message.name == "client_encoding" and self._find_codec is not None:
            self.encoding = self._find_codec(message.value)

    def on_fatal_error(self, payload: bytes) -> None:
        self.last_words = _error(payload)
        self.refused = self.phase < Phase.STARTING

    # -- handlers of the start-up

    def on_authentication(self, payload: bytes) -> None:
        message = backend.decode(B.AUTHENTICATION, payload)
        assert isinstance(message, Authentication)
        self.engaged = True
        if isinstance(message, backend.AuthenticationOk):
            self.enter(Phase.STARTING)
        elif self.phase is Phase.STARTUP:
            self.enter(Phase.AUTHENTICATING)
        self.authentications.append(message)

    def on_negotiate_version(self, payload: bytes) -> None:
        message = backend.decode(B.NEGOTIATE_PROTOCOL_VERSION, payload)
        assert isinstance(message, backend.NegotiateProtocolVersion)
        # There has never been a 3.1.
        if not PROTOCOL_3_0 <= message.version <= self.protocol_version or message.version == PROTOCOL_3_0 + 1:
            raise RemoteProtocolError(
                f"the server wants to speak version {show_version(message.version)} of the protocol, where "
                f"{show_version(self.protocol_version)} was asked for"
            )
        if not self._asked_for.issuperset(message.unrecognized):
            raise RemoteProtocolError("the server does not know options of the protocol that were not asked for")
        self.protocol_version = message.version
        self.unknown_options = message.unrecognized

    def on_backend_key(self, payload: bytes) -> None:
        message = backend.decode(B.BACKEND_KEY_DATA, payload)
        assert isinstance(message, backend.BackendKeyData)
        self.backend_pid = message.pid
        self.secret_key = message.secret

    def on_started(self, payload: bytes) -> None:
        self.transaction_status = _status(payload)
        self.enter(Phase.IDLE)

    # -- handlers of the replies to a request

    def on_parse_complete(self, payload: bytes) -> None:
        self.pending[0].parsed += 1

    def on_bind_complete(self, payload: bytes) -> None:
        request = self.pending[0]
        known = request.known
        request.current = Result() if known is None else Result(known[0], known[1])

    def on_parameter_description(self, payload: bytes) -> None:
        # Nothing asks what the server made of the parameters; the message is only checked.
        backend.decode(B.PARAMETER_DESCRIPTION, payload)

    def on_row_description(self, payload: bytes) -> None:
        request = self.pending[0]
        fields = _fields(payload) if len(payload) > _CACHED_DESCRIPTION else _cached_fields(payload)
        loads: LoadFunctions | None = None
        if request.plan is not None:
            try:
                loads = request.plan(fields)
            except Exception as error:
                request.failure = request.failure or error
        request.known = (fields, loads)
        request.current = Result(fields, loads)

    def on_no_data(self, payload: bytes) -> None:
        request = self.pending[0]
        request.known = None
        request.current = Result()

    def on_stray_row(self, payload: bytes) -> None:
        raise _stray_row()

    def on_command_complete(self, payload: bytes) -> None:
        request = self.pending[0]
        if self.phase is not _BUSY:
            self.enter(_BUSY)
        result = request.current or Result()
        result.tag = payload[:-1].decode("utf-8", "replace")
        self._complete(request, result)

    def on_empty_query(self, payload: bytes) -> None:
        request = self.pending[0]
        self._complete(request, request.current or Result())

    def on_portal_suspended(self, payload: bytes) -> None:
        request = self.pending[0]
        result = request.current or Result()
        result.suspended = True
        self._complete(request, result)

    def on_function_result(self, payload: bytes) -> None:
        raise RemoteProtocolError("the server answered a function call that was not made")

    def on_error(self, payload: bytes) -> None:
        request = self.pending[0]
        error = _error(payload)
        if (error.diag.severity_nonlocalized or error.diag.severity) in ("FATAL", "PANIC"):
            self.last_words = error
        if request.error is None:
            request.error = error
        if self.strays and isinstance(error, QueryCanceled) and (request.cancel_sent or request.at_risk):
            self.strays -= 1
            request.victim = not request.cancel_sent
        if request.streaming and request.current is not None and request.current.rows:
            # Whether they came with the error or in a chunk before it makes no difference to the one who streams.
            request.add(request.current)
        request.current = None
        if self.phase is not _BUSY:
            self.enter(_BUSY)

    def on_close_complete(self, payload: bytes) -> None:
        # Nothing is expected of those before a COPY.
        self.resynchronising = False

    def on_ready(self, payload: bytes) -> None:
        status = _status(payload)
        if self.resynchronising:
            self.transaction_status = status
        else:
            self.end_request(self.pending, status)

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
            self.strays = 0  # a server that is idle ignores them
        request.finish()

    def _complete(self, request: Request, result: Result) -> None:
        request.current = None
        if not request.abandoned:
            request.add(result)

    # -- COPY: not asked for by any request, so it is brought to its end

    def on_copy_in(self, payload: bytes) -> None:
        request = self.pending[0]
        self._refuse_copy(request, "FROM STDIN")
        if len(self.pending) > 1:
            # The server takes the next request for data, and then has lost its place in the stream.
            self.fail(
                "the connection had to be closed: a COPY FROM STDIN was run by execute() while other statements were "
                "already on their way behind it"
            )
            return
        self.enter(Phase.COPY_IN)
        frontend.copy_fail(self.outgoing, b"COPY FROM STDIN was not started by a copy operation")
        if request.extended:
            # A server in COPY mode ignores the Sync that was sent with the statement, unless an error of its own, such
            # as a cancellation, comes first. So there will be one ReadyForQuery for that and this one, or two: the
            # answer to a Close tells where they end.
            frontend.sync(self.outgoing)
            frontend.close(self.outgoing, b"S", _NO_STATEMENT)
            frontend.sync(self.outgoing)
            self.resynchronising = True

    def on_copy_out(self, payload: bytes) -> None:
        self._refuse_copy(self.pending[0], "TO STDOUT")
        self.enter(Phase.COPY_OUT)

    def on_copy_both(self, payload: bytes) -> None:
        self._refuse_copy(self.pending[0], "BOTH")
        self.enter(Phase.COPY_BOTH)
        frontend.copy_done(self.outgoing)

    def on_copy_data(self, payload: bytes) -> None:
        pass

    def on_copy_done(self, payload: bytes) -> None:
        self.enter(Phase.BUSY)

    def _refuse_copy(self, request: Request, direction: str) -> None:
        request.failure = NotSupportedError(
            f"COPY {direction} cannot be run by execute(): its data would have nowhere to go"
        )


def show_version(version: int) -> str:
    """Return a version of the protocol as people write it."""
    return f"{version >> 16}.{version & 0xFFFF}"


def give_up(request: Request, result: Result, error: Exception) -> None:
    """Take note that rows could not be loaded: the rest of the result is passed over, and the request fails."""
    if isinstance(error, struct.error):
        cause, error = error, DataError(f"a value of the result has not the length that its type has: {error}")
        error.__cause__ = cause
    request.failure = request.failure or error
    result.loads = None
    result.rows.clear()


def _stray_row() -> RemoteProtocolError:
    return RemoteProtocolError("the server sent a DataRow that is torn or belongs to no row description")


def _status(payload: bytes) -> TransactionStatus:
    status = _STATUS.get(payload[0]) if len(payload) == 1 else None
    if status is None:
        raise RemoteProtocolError(f"the server sent an unknown transaction status {payload[:8]!r}")
    return status


def _error(payload: bytes) -> Error:
    message = backend.decode(B.ERROR_RESPONSE, payload)
    assert isinstance(message, backend.ErrorResponse)
    return error_from_fields(message.fields)


def _fields(payload: bytes) -> Fields:
    message = backend.decode(B.ROW_DESCRIPTION, payload)
    assert isinstance(message, backend.RowDescription)
    return message.fields


# The description of a statement that is run again is the same to the byte; decoding it costs more than the round trip.
_cached_fields = lru_cache(maxsize=512)(_fields)


def _name(code: int) -> str:
    try:
        return B(code).name
    except ValueError:
        return f"a message of unknown type {chr(code)!r}"


_HANDLERS: dict[Phase, dict[int, Callable[[ProtocolSession, bytes], None]]] = {
    phase: {int(code): getattr(ProtocolSession, name) for code, name in accepted.items()}
    for phase, accepted in ACCEPTS.items()
}
_IDLE_HANDLERS = _HANDLERS[_IDLE]
_BUSY_HANDLERS = _HANDLERS[_BUSY]
