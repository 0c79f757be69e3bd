"""Every phase of a session and which server message may arrive in it, as tables.

Theory of operation. A client's view of one connection is a *phase*, and everything a server may say is decided by
the phase alone:

    STARTUP --R--> AUTHENTICATING --R(Ok)--> STARTING --Z--> IDLE <--Z-- BUSY
                                                              \\--submit-->/

Requests may be pipelined: the client sends any number of them without waiting, and the server answers each in
order, closing each answer with one ReadyForQuery. So BUSY speaks of the *oldest* request that has not had its
ReadyForQuery, the head of the FIFO; when that arrives, the session is BUSY with the next one, or IDLE. COPY
sub-phases (COPY_IN, COPY_OUT, COPY_BOTH) belong to the head request as well and end in BUSY. FAILED and CLOSED
are final and take nothing.

Three messages may come at any time once the server talks to us: NoticeResponse, and after the start-up
ParameterStatus and NotificationResponse. An ErrorResponse outside a request is the server's last word before it
closes the connection.

Knows phases and the codes of messages. Must not know what is in a message.

A message that is not in the phase's table breaks the protocol; there is no way on from there, since what the
server means by later messages is then unknown. See the manual's "Message Flow" (protocol-flow).
"""

from __future__ import annotations

from enum import IntEnum, auto
from typing import Final

from .constants import BackendCode as B


class Phase(IntEnum):
    STARTUP = auto()
    AUTHENTICATING = auto()
    STARTING = auto()
    IDLE = auto()
    BUSY = auto()
    COPY_IN = auto()
    COPY_OUT = auto()
    COPY_BOTH = auto()
    CLOSED = auto()
    FAILED = auto()


ENDED: Final = Phase.CLOSED
"""From this phase on nothing can be sent or received. (A name of its own, as looking an enum's member up takes longer
than the comparison.)"""

_ANYTIME: Final[dict[int, str]] = {
    B.NOTICE_RESPONSE: "on_notice",
    B.PARAMETER_STATUS: "on_parameter_status",
    B.NOTIFICATION_RESPONSE: "on_notification",
}

#: Which function of ``handlers`` handles a message in a phase. They change the phase; what they change it to is in
#: TRANSITIONS, and :meth:`ProtocolSession.enter` refuses anything else.
ACCEPTS: Final[dict[Phase, dict[int, str]]] = {
    Phase.STARTUP: {
        B.AUTHENTICATION: "on_authentication",
        B.NEGOTIATE_PROTOCOL_VERSION: "on_negotiate_version",
        B.NOTICE_RESPONSE: "on_notice",
        B.ERROR_RESPONSE: "on_fatal_error",
    },
    Phase.AUTHENTICATING: {
        B.AUTHENTICATION: "on_authentication",
        B.NOTICE_RESPONSE: "on_notice",
        B.ERROR_RESPONSE: "on_fatal_error",
    },
    Phase.STARTING: {
        **_ANYTIME,
        B.BACKEND_KEY_DATA: "on_backend_key",
        B.NEGOTIATE_PROTOCOL_VERSION: "on_negotiate_version",
        B.READY_FOR_QUERY: "on_started",
        B.ERROR_RESPONSE: "on_fatal_error",
    },
    Phase.IDLE: {
        **_ANYTIME,
        B.ERROR_RESPONSE: "on_fatal_error",
    },
    Phase.BUSY: {
        **_ANYTIME,
        B.PARSE_COMPLETE: "on_parse_complete",
        B.BIND_COMPLETE: "on_bind_complete",
        B.CLOSE_COMPLETE: "on_close_complete",
        B.PARAMETER_DESCRIPTION: "on_parameter_description",
        B.ROW_DESCRIPTION: "on_row_description",
        B.NO_DATA: "on_no_data",
        B.DATA_ROW: "on_stray_row",
        B.COMMAND_COMPLETE: "on_command_complete",
        B.EMPTY_QUERY_RESPONSE: "on_empty_query",
        B.PORTAL_SUSPENDED: "on_portal_suspended",
        B.ERROR_RESPONSE: "on_error",
        B.COPY_IN_RESPONSE: "on_copy_in",
        B.COPY_OUT_RESPONSE: "on_copy_out",
        B.COPY_BOTH_RESPONSE: "on_copy_both",
        B.FUNCTION_CALL_RESPONSE: "on_function_result",
        B.READY_FOR_QUERY: "on_ready",
    },
    Phase.COPY_IN: {
        **_ANYTIME,
        B.ERROR_RESPONSE: "on_error",
        B.COMMAND_COMPLETE: "on_command_complete",
    },
    Phase.COPY_OUT: {
        **_ANYTIME,
        B.COPY_DATA: "on_copy_data",
        B.COPY_DONE: "on_copy_done",
        B.ERROR_RESPONSE: "on_error",
    },
    Phase.COPY_BOTH: {
        **_ANYTIME,
        B.COPY_DATA: "on_copy_data",
        B.COPY_DONE: "on_copy_done",
        B.COMMAND_COMPLETE: "on_command_complete",
        B.ERROR_RESPONSE: "on_error",
    },
    Phase.CLOSED: {},
    Phase.FAILED: {},
}

_ENDS: Final = {Phase.CLOSED, Phase.FAILED}

TRANSITIONS: Final[dict[Phase, set[Phase]]] = {
    Phase.STARTUP: {Phase.AUTHENTICATING, Phase.STARTING, *_ENDS},
    Phase.AUTHENTICATING: {Phase.AUTHENTICATING, Phase.STARTING, *_ENDS},
    Phase.STARTING: {Phase.IDLE, *_ENDS},
    Phase.IDLE: {Phase.BUSY, *_ENDS},
    Phase.BUSY: {Phase.BUSY, Phase.IDLE, Phase.COPY_IN, Phase.COPY_OUT, Phase.COPY_BOTH, *_ENDS},
    Phase.COPY_IN: {Phase.BUSY, *_ENDS},
    Phase.COPY_OUT: {Phase.BUSY, *_ENDS},
    Phase.COPY_BOTH: {Phase.BUSY, Phase.COPY_OUT, *_ENDS},
    Phase.CLOSED: set(),
    Phase.FAILED: {Phase.CLOSED},
}
