"""What each message of the server means: a function for each, which changes the state and the request at its head.

Which of them is called for a message, and which phase comes after it, is in the table of ``phases``; a function
whose message may be one of several events there says which one it is. Rows are not among them, as the session takes a
run of them at once. Must not know how messages are cut out of bytes, or what their values mean to a user.
"""

from __future__ import annotations

from functools import lru_cache

from ..errors import Error, ProgrammingError, QueryCanceled, RemoteProtocolError, error_from_fields
from . import backend, frontend
from .constants import PROTOCOL_3_0, BackendCode, TransactionStatus, show_version
from .messages import STATUS_LETTERS, AuthenticationOk
from .phases import Event, Phase
from .request import UNDESCRIBED, CopyDirection, Fields, Request, Result
from .session_state import Notify, SessionState

_STATUS = {letter: status for status, letter in STATUS_LETTERS.items()}
_NO_STATEMENT = b"_anyq_none"
_MOST_REQUESTS = 2  # the end of a SASL exchange and AuthenticationOk, which need no answer, may come in one piece
_CACHED_DESCRIPTION = 16 * 1024  # bytes; longer row descriptions are decoded anew each time


# -- messages at any time


_FAREWELLS = ("57P01", "57P02")
"""What a server says, as a warning, that has no time for more: an immediate shutdown, a crash of another process."""


def on_notice(state: SessionState, payload: bytes) -> None:
    message = backend.decode_notice_response(payload, state.text_encoding)
    state.events.append(message)
    if message.fields.get("C") in _FAREWELLS:
        state.farewell = error_from_fields(message.fields), state.head


def on_notification(state: SessionState, payload: bytes) -> None:
    message = backend.decode_notification_response(payload, state.encoding)
    state.events.append(Notify(message.channel, message.payload, message.pid))


def on_parameter_status(state: SessionState, payload: bytes) -> None:
    message = backend.decode_parameter_status(payload)
    state.report(message.name, message.value)


def on_fatal_error(state: SessionState, payload: bytes) -> None:
    state.fatal_error = _error(state, payload)
    state.refused = state.phase < Phase.STARTING


# -- the start-up


def on_authentication(state: SessionState, payload: bytes) -> None:
    message = backend.decode_authentication(payload)
    if len(state.authentications) == _MOST_REQUESTS:
        raise RemoteProtocolError("the server asks for authentication again before it has got an answer")
    state.startup_accepted = True
    state.authentications.append(message)
    if isinstance(message, AuthenticationOk):
        state.happened(Event.AUTHENTICATED)
    else:
        state.happened(Event.AUTHENTICATION_REQUESTED)


def on_negotiate_version(state: SessionState, payload: bytes) -> None:
    message = backend.decode_negotiate_protocol_version(payload)
    # There has never been a 3.1.
    if not PROTOCOL_3_0 <= message.version <= state.protocol_version or message.version == PROTOCOL_3_0 + 1:
        raise RemoteProtocolError(
            f"the server wants to speak version {show_version(message.version)} of the protocol, where "
            f"{show_version(state.protocol_version)} was asked for"
        )
    if not state.asked_for.issuperset(message.unrecognized):
        raise RemoteProtocolError("the server does not know options of the protocol that were not asked for")
    state.protocol_version = message.version
    state.unknown_options = message.unrecognized


def on_backend_key(state: SessionState, payload: bytes) -> None:
    message = backend.decode_backend_key_data(payload)
    state.backend_pid = message.pid
    state.secret_key = message.secret


def on_started(state: SessionState, payload: bytes) -> None:
    state.transaction_status = _status(payload)


# -- the replies to a request


def on_parse_complete(state: SessionState, payload: bytes) -> None:
    state.pending[0].parsed += 1


def on_bind_complete(state: SessionState, payload: bytes) -> None:
    request = state.pending[0]
    request.current = Result(*request.description)


def on_parameter_description(state: SessionState, payload: bytes) -> None:
    # Nothing asks what the server made of the parameters; the message is only checked.
    backend.decode_parameter_description(payload)


def on_row_description(state: SessionState, payload: bytes) -> None:
    request = state.pending[0]
    fields = (_fields if len(payload) > _CACHED_DESCRIPTION else _cached_fields)(payload, state.text_encoding)
    request.description = (fields, None)
    request.current = Result(fields)


def on_no_data(state: SessionState, payload: bytes) -> None:
    request = state.pending[0]
    request.description = UNDESCRIBED
    request.current = Result()


def on_unexpected_row(state: SessionState, payload: bytes) -> None:
    raise unexpected_row()


def on_command_complete(state: SessionState, payload: bytes) -> None:
    request = state.pending[0]
    result = request.current or Result()
    result.tag = payload[:-1].decode("utf-8", "replace")
    _complete(request, result)


def on_empty_query(state: SessionState, payload: bytes) -> None:
    request = state.pending[0]
    _complete(request, request.current or Result())


def on_portal_suspended(state: SessionState, payload: bytes) -> None:
    request = state.pending[0]
    _complete(request, request.current or Result())


def on_error(state: SessionState, payload: bytes) -> None:
    request = state.pending[0]
    error = _error(state, payload)
    if (error.diag.severity_nonlocalized or error.diag.severity) in ("FATAL", "PANIC"):
        # One of its own, since the other will be raised: its traceback would keep whatever used the connection then.
        state.fatal_error = _error(state, payload)
    if request.error is None:
        request.error = error
        request.bound = request.current is not None
    if state.unmatched_cancels and isinstance(error, QueryCanceled) and request.cancelled():
        state.unmatched_cancels -= 1
    if request.streaming and request.current is not None and request.current.count:
        # Whether they came with the error or in a chunk before it makes no difference to the one who streams.
        request.add(request.current)
    request.current = None


def on_close_complete(state: SessionState, payload: bytes) -> None:
    """It only says where the server is, which matters to the phase after a COPY that was refused."""


def on_ready(state: SessionState, payload: bytes) -> None:
    status = _STATUS.get(payload)
    if status is None:
        raise _unknown_status(payload)
    state.end_request(state.pending, status)


def on_ready_again(state: SessionState, payload: bytes) -> None:
    # The request has not come to its end: see on_copy_in().
    state.transaction_status = _status(payload)


def _complete(request: Request, result: Result) -> None:
    request.current = None
    if not request.abandoned:
        request.add(result)


# -- COPY: if no request asked for it, it is brought to its end


def on_copy_in(state: SessionState, payload: bytes) -> None:
    request = state.pending[0]
    if request.copies:
        state.happened(Event.COPY_IN_BEGAN)
        request.begin_copy(CopyDirection.IN, *backend.decode_copy_response(BackendCode.COPY_IN_RESPONSE, payload))
        return
    _refuse_copy(request, "FROM STDIN")
    if len(state.pending) > 1:
        # The server takes the next request for data, and then has lost its place in the stream.
        state.fail(
            "the connection had to be closed: a COPY FROM STDIN was run by execute() while other statements were "
            "already on their way behind it"
        )
        return
    frontend.copy_fail(state.outgoing, b"COPY FROM STDIN was not started by a copy operation")
    if request.extended:
        # A server in COPY mode ignores the Sync that was sent with the statement, unless an error of its own, such
        # as a cancellation, comes first. So there will be one ReadyForQuery for that and this one, or two: the
        # answer to a Close tells where they end.
        state.outgoing += frontend.SYNC
        frontend.close(state.outgoing, b"S", _NO_STATEMENT)
        state.outgoing += frontend.SYNC
        state.happened(Event.COPY_IN_BEGAN_EXTENDED)
    else:
        state.happened(Event.COPY_IN_BEGAN)


def on_copy_out(state: SessionState, payload: bytes) -> None:
    request = state.pending[0]
    if request.copies:
        request.begin_copy(CopyDirection.OUT, *backend.decode_copy_response(BackendCode.COPY_OUT_RESPONSE, payload))
        return
    _refuse_copy(request, "TO STDOUT")


def on_copy_both(state: SessionState, payload: bytes) -> None:
    if state.pending[0].copies:
        raise RemoteProtocolError("the server wants to copy both ways, where a COPY was to be run")
    _refuse_copy(state.pending[0], "BOTH")
    state.outgoing += frontend.COPY_DONE


def on_copy_data(state: SessionState, payload: bytes) -> None:
    """Nobody wants it: where somebody does, the session takes a run of these at once."""


def on_copy_done(state: SessionState, payload: bytes) -> None:
    """The phase is all there is to it."""


def copy_refusal(direction: str) -> str:
    """Return what to say to somebody who has executed a COPY whose data goes through the connection."""
    where = "come from nowhere" if direction == "FROM STDIN" else "have nowhere to go"
    return (
        f"COPY {direction} cannot be run by execute(), executemany() or stream(): its data would {where}; "
        "use cursor.copy()"
    )


def _refuse_copy(request: Request, direction: str) -> None:
    request.failure = ProgrammingError(copy_refusal(direction))


# -- what several of them need


def unexpected_row() -> RemoteProtocolError:
    """Return the error for a row that nothing has been said about."""
    return RemoteProtocolError("the server sent a DataRow that is torn or belongs to no row description")


def torn_row() -> RemoteProtocolError:
    """Return the error for a row whose values do not fit into it."""
    return RemoteProtocolError("the columns of a DataRow message do not add up to its length")


def wrong_number(columns: int, described: int) -> RemoteProtocolError:
    """Return the error for a row with more or less columns than were described."""
    return RemoteProtocolError(f"a DataRow message has {columns} columns, its description has {described}")


def _status(payload: bytes) -> TransactionStatus:
    status = _STATUS.get(payload)
    if status is None:
        raise _unknown_status(payload)
    return status


def _unknown_status(payload: bytes) -> RemoteProtocolError:
    return RemoteProtocolError(f"the server sent an unknown transaction status {payload[:8]!r}")


def _error(state: SessionState, payload: bytes) -> Error:
    return error_from_fields(backend.decode_error_response(payload, state.text_encoding).fields)


def _fields(payload: bytes, encoding: str) -> Fields:
    return backend.decode_row_description(payload, encoding).fields


# The description of a statement that is run again is the same to the byte; decoding it costs more than the round trip.
_cached_fields = lru_cache(maxsize=512)(_fields)
