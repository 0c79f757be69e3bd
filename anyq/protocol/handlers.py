"""What each message of the server means: a function for each, which changes the session and the request at its head.

Which of them is called for a message is in the tables of ``state``; rows are not among them, as the session takes a
run of them at once. Knows what a message says of the session, of the request and of the phase to come. Must not know
how messages are cut out of bytes, or what their values mean to a user.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from ..errors import Error, NotSupportedError, QueryCanceled, RemoteProtocolError, error_from_fields
from . import backend, frontend
from .constants import PROTOCOL_3_0, TransactionStatus, show_version
from .messages import AuthenticationOk
from .request import UNDESCRIBED, Fields, LoadFunctions, Request, Result
from .state import Phase

if TYPE_CHECKING:
    from .session import ProtocolSession

_STATUS = {
    ord("I"): TransactionStatus.IDLE,
    ord("T"): TransactionStatus.INTRANS,
    ord("E"): TransactionStatus.INERROR,
}
_BUSY = Phase.BUSY
_NO_STATEMENT = b"_anyq_none"
_CACHED_DESCRIPTION = 16 * 1024  # bytes; longer row descriptions are decoded anew each time


class Notify(NamedTuple):
    """A notification: its channel, its payload, and the process id of the server process that sent it."""

    channel: str
    payload: str
    pid: int


# -- messages at any time


def on_notice(session: ProtocolSession, payload: bytes) -> None:
    session.events.append(backend.decode_notice_response(payload))


def on_notification(session: ProtocolSession, payload: bytes) -> None:
    message = backend.decode_notification_response(payload, session.encoding)
    session.events.append(Notify(message.channel, message.payload, message.pid))


def on_parameter_status(session: ProtocolSession, payload: bytes) -> None:
    message = backend.decode_parameter_status(payload)
    session.parameters[message.name] = message.value
    session.parameters_version += 1
    if message.name == "client_encoding" and session.find_codec is not None:
        session.encoding = session.find_codec(message.value)


def on_fatal_error(session: ProtocolSession, payload: bytes) -> None:
    session.fatal_error = _error(payload)
    session.refused = session.phase < Phase.STARTING


# -- the start-up


def on_authentication(session: ProtocolSession, payload: bytes) -> None:
    message = backend.decode_authentication(payload)
    session.engaged = True
    if isinstance(message, AuthenticationOk):
        session.enter(Phase.STARTING)
    elif session.phase is Phase.STARTUP:
        session.enter(Phase.AUTHENTICATING)
    session.authentications.append(message)


def on_negotiate_version(session: ProtocolSession, payload: bytes) -> None:
    message = backend.decode_negotiate_protocol_version(payload)
    # There has never been a 3.1.
    if not PROTOCOL_3_0 <= message.version <= session.protocol_version or message.version == PROTOCOL_3_0 + 1:
        raise RemoteProtocolError(
            f"the server wants to speak version {show_version(message.version)} of the protocol, where "
            f"{show_version(session.protocol_version)} was asked for"
        )
    if not session.asked_for.issuperset(message.unrecognized):
        raise RemoteProtocolError("the server does not know options of the protocol that were not asked for")
    session.protocol_version = message.version
    session.unknown_options = message.unrecognized


def on_backend_key(session: ProtocolSession, payload: bytes) -> None:
    message = backend.decode_backend_key_data(payload)
    session.backend_pid = message.pid
    session.secret_key = message.secret


def on_started(session: ProtocolSession, payload: bytes) -> None:
    session.transaction_status = _status(payload)
    session.enter(Phase.IDLE)


# -- the replies to a request


def on_parse_complete(session: ProtocolSession, payload: bytes) -> None:
    session.pending[0].parsed += 1


def on_bind_complete(session: ProtocolSession, payload: bytes) -> None:
    request = session.pending[0]
    request.current = Result(*request.description)


def on_parameter_description(session: ProtocolSession, payload: bytes) -> None:
    # Nothing asks what the server made of the parameters; the message is only checked.
    backend.decode_parameter_description(payload)


def on_row_description(session: ProtocolSession, payload: bytes) -> None:
    request = session.pending[0]
    fields = _fields(payload) if len(payload) > _CACHED_DESCRIPTION else _cached_fields(payload)
    loads: LoadFunctions | None = None
    if request.choose_loads is not None:
        try:
            loads = request.choose_loads(fields)
        except Exception as error:
            request.failure = request.failure or error
    request.description = (fields, loads)
    request.current = Result(fields, loads)


def on_no_data(session: ProtocolSession, payload: bytes) -> None:
    request = session.pending[0]
    request.description = UNDESCRIBED
    request.current = Result()


def on_stray_row(session: ProtocolSession, payload: bytes) -> None:
    raise stray_row()


def on_command_complete(session: ProtocolSession, payload: bytes) -> None:
    request = session.pending[0]
    if session.phase is not _BUSY:
        session.enter(_BUSY)
    result = request.current or Result()
    result.tag = payload[:-1].decode("utf-8", "replace")
    _complete(request, result)


def on_empty_query(session: ProtocolSession, payload: bytes) -> None:
    request = session.pending[0]
    _complete(request, request.current or Result())


def on_portal_suspended(session: ProtocolSession, payload: bytes) -> None:
    request = session.pending[0]
    _complete(request, request.current or Result())


def on_function_result(session: ProtocolSession, payload: bytes) -> None:
    raise RemoteProtocolError("the server answered a function call that was not made")


def on_error(session: ProtocolSession, payload: bytes) -> None:
    request = session.pending[0]
    error = _error(payload)
    if (error.diag.severity_nonlocalized or error.diag.severity) in ("FATAL", "PANIC"):
        session.fatal_error = error
    if request.error is None:
        request.error = error
    if session.unmatched_cancels and isinstance(error, QueryCanceled) and request.cancelled():
        session.unmatched_cancels -= 1
    if request.streaming and request.current is not None and request.current.rows:
        # Whether they came with the error or in a chunk before it makes no difference to the one who streams.
        request.add(request.current)
    request.current = None
    if session.phase is not _BUSY:
        session.enter(_BUSY)


def on_close_complete(session: ProtocolSession, payload: bytes) -> None:
    # Nothing is expected of those before a COPY.
    session.resynchronising = False


def on_ready(session: ProtocolSession, payload: bytes) -> None:
    status = _status(payload)
    if session.resynchronising:
        session.transaction_status = status
    else:
        session.end_request(session.pending, status)


def _complete(request: Request, result: Result) -> None:
    request.current = None
    if not request.abandoned:
        request.add(result)


# -- COPY: not asked for by any request, so it is brought to its end


def on_copy_in(session: ProtocolSession, payload: bytes) -> None:
    request = session.pending[0]
    _refuse_copy(request, "FROM STDIN")
    if len(session.pending) > 1:
        # The server takes the next request for data, and then has lost its place in the stream.
        session.fail(
            "the connection had to be closed: a COPY FROM STDIN was run by execute() while other statements were "
            "already on their way behind it"
        )
        return
    session.enter(Phase.COPY_IN)
    frontend.copy_fail(session.outgoing, b"COPY FROM STDIN was not started by a copy operation")
    if request.extended:
        # A server in COPY mode ignores the Sync that was sent with the statement, unless an error of its own, such
        # as a cancellation, comes first. So there will be one ReadyForQuery for that and this one, or two: the
        # answer to a Close tells where they end.
        session.outgoing += frontend.SYNC
        frontend.close(session.outgoing, b"S", _NO_STATEMENT)
        session.outgoing += frontend.SYNC
        session.resynchronising = True


def on_copy_out(session: ProtocolSession, payload: bytes) -> None:
    _refuse_copy(session.pending[0], "TO STDOUT")
    session.enter(Phase.COPY_OUT)


def on_copy_both(session: ProtocolSession, payload: bytes) -> None:
    _refuse_copy(session.pending[0], "BOTH")
    session.enter(Phase.COPY_BOTH)
    session.outgoing += frontend.COPY_DONE


def on_copy_data(session: ProtocolSession, payload: bytes) -> None:
    pass


def on_copy_done(session: ProtocolSession, payload: bytes) -> None:
    session.enter(Phase.BUSY)


def _refuse_copy(request: Request, direction: str) -> None:
    request.failure = NotSupportedError(
        f"COPY {direction} cannot be run by execute(): its data would have nowhere to go"
    )


# -- what several of them need


def stray_row() -> RemoteProtocolError:
    """Return the error for a row that nothing has been said about."""
    return RemoteProtocolError("the server sent a DataRow that is torn or belongs to no row description")


def _status(payload: bytes) -> TransactionStatus:
    status = _STATUS.get(payload[0]) if len(payload) == 1 else None
    if status is None:
        raise RemoteProtocolError(f"the server sent an unknown transaction status {payload[:8]!r}")
    return status


def _error(payload: bytes) -> Error:
    return error_from_fields(backend.decode_error_response(payload).fields)


def _fields(payload: bytes) -> Fields:
    return backend.decode_row_description(payload).fields


# The description of a statement that is run again is the same to the byte; decoding it costs more than the round trip.
_cached_fields = lru_cache(maxsize=512)(_fields)
