"""The phases of one connection's conversation, and the table of every transition between them.

Theory of operation. A client's view of one connection is a *phase*, and everything a server may say is decided by the
phase alone:

    NEW --start--> STARTUP --R--> AUTHENTICATING --R(Ok)--> STARTING --Z--> IDLE <--Z(last)-- BUSY
                                                                             \\-----enqueue----/

Requests may be pipelined: the client sends any number of them without waiting, and the server answers each in order,
closing each answer with one ReadyForQuery. So BUSY speaks of the *oldest* request that has not had its ReadyForQuery,
the head of the FIFO; when that arrives, the session is BUSY with the next one, or IDLE. The phases of COPY belong to
the head request as well and end in BUSY. FAILED and CLOSED are final and take nothing.

Three messages may come at any time once the server talks to us: NoticeResponse, and after the start-up ParameterStatus
and NotificationResponse. An ErrorResponse outside a request is the server's last word before it closes the connection.

All transitions are in :data:`TABLE`: for each phase, which messages and which events of another kind may come, and to
which phase they lead. A message that is not in the phase's row breaks the protocol; there is no way on from there,
since what the server means by later messages is then unknown. An event that is not in the row is a mistake of ours.
See the manual's "Message Flow" (protocol-flow).

Knows names. Must not know what is in a message, nor who acts on it (`session_state`, `handlers`).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, IntEnum, auto
from typing import Final, NamedTuple

from .constants import BackendCode as B


class Phase(IntEnum):
    """In the order of a conversation: what is less than IDLE comes before requests, from CLOSED on it is over."""

    NEW = auto()
    """Nothing has been sent."""
    STARTUP = auto()
    """The StartupMessage has been sent."""
    AUTHENTICATING = auto()
    """The server wants to know who we are."""
    STARTING = auto()
    """The server has let us in, and reports what the session is like."""
    IDLE = auto()
    BUSY = auto()
    COPY_IN = auto()
    """The head request, a simple query, has begun a COPY FROM STDIN. It wants that, or it has been refused."""
    COPY_IN_EXTENDED = auto()
    """An extended query has begun one, which has been refused; its Sync the server may or may not have ignored."""
    AFTER_COPY_IN = auto()
    """That COPY has failed, as it was to; there will be one ReadyForQuery or two before the answer to a Close."""
    COPY_OUT = auto()
    COPY_BOTH = auto()
    CLOSED = auto()
    FAILED = auto()


ENDED: Final = Phase.CLOSED
"""From this phase on nothing can be sent or received. (A name of its own, as looking an enum's member up takes longer
than the comparison.)"""


class Event(Enum):
    """What changes the phase, beside messages whose first byte says it all."""

    # Of the client's.
    START = auto()
    ENQUEUE = auto()
    FAIL = auto()
    CLOSE = auto()
    # What a message turns out to say.
    AUTHENTICATION_REQUESTED = auto()
    AUTHENTICATED = auto()
    LAST_REQUEST_ENDED = auto()
    """A ReadyForQuery, where no other request is on its way."""
    COPY_IN_BEGAN = auto()
    COPY_IN_BEGAN_EXTENDED = auto()


class Step(NamedTuple):
    """What happens on a message or event."""

    handler: str = ""
    """The function of ``handlers`` that says what a message means; events have none."""
    phase: Phase | None = None
    """The next phase. None for the same; the handler may find that the message is another event."""


_ANYTIME: Final[dict[B | Event, Step]] = {
    B.NOTICE_RESPONSE: Step("on_notice"),
    B.PARAMETER_STATUS: Step("on_parameter_status"),
    B.NOTIFICATION_RESPONSE: Step("on_notification"),
}
_ENDS: Final[dict[B | Event, Step]] = {
    Event.FAIL: Step(phase=Phase.FAILED),
    Event.CLOSE: Step(phase=Phase.CLOSED),
}
_MORE: Final[dict[B | Event, Step]] = {
    **_ANYTIME,
    **_ENDS,
    Event.ENQUEUE: Step(),
}

TABLE: Final[Mapping[Phase, Mapping[B | Event, Step]]] = {
    Phase.NEW: {
        **_ENDS,
        Event.START: Step(phase=Phase.STARTUP),
    },
    Phase.STARTUP: {
        **_ENDS,
        B.AUTHENTICATION: Step("on_authentication"),
        Event.AUTHENTICATION_REQUESTED: Step(phase=Phase.AUTHENTICATING),
        Event.AUTHENTICATED: Step(phase=Phase.STARTING),
        B.NEGOTIATE_PROTOCOL_VERSION: Step("on_negotiate_version"),
        B.NOTICE_RESPONSE: Step("on_notice"),
        B.ERROR_RESPONSE: Step("on_fatal_error"),
    },
    Phase.AUTHENTICATING: {
        **_ENDS,
        B.AUTHENTICATION: Step("on_authentication"),
        Event.AUTHENTICATION_REQUESTED: Step(),
        Event.AUTHENTICATED: Step(phase=Phase.STARTING),
        B.NOTICE_RESPONSE: Step("on_notice"),
        B.ERROR_RESPONSE: Step("on_fatal_error"),
    },
    Phase.STARTING: {
        **_ANYTIME,
        **_ENDS,
        B.BACKEND_KEY_DATA: Step("on_backend_key"),
        B.NEGOTIATE_PROTOCOL_VERSION: Step("on_negotiate_version"),
        B.READY_FOR_QUERY: Step("on_started", Phase.IDLE),
        B.ERROR_RESPONSE: Step("on_fatal_error"),
    },
    Phase.IDLE: {
        **_ANYTIME,
        **_ENDS,
        B.ERROR_RESPONSE: Step("on_fatal_error"),
        Event.ENQUEUE: Step(phase=Phase.BUSY),
    },
    Phase.BUSY: {
        **_MORE,
        B.PARSE_COMPLETE: Step("on_parse_complete"),
        B.BIND_COMPLETE: Step("on_bind_complete"),
        B.CLOSE_COMPLETE: Step("on_close_complete"),
        B.PARAMETER_DESCRIPTION: Step("on_parameter_description"),
        B.ROW_DESCRIPTION: Step("on_row_description"),
        B.NO_DATA: Step("on_no_data"),
        # Rows that are described do not come this far: the session takes a run of them at once.
        B.DATA_ROW: Step("on_unexpected_row"),
        B.COMMAND_COMPLETE: Step("on_command_complete"),
        B.EMPTY_QUERY_RESPONSE: Step("on_empty_query"),
        B.PORTAL_SUSPENDED: Step("on_portal_suspended"),
        B.ERROR_RESPONSE: Step("on_error"),
        B.COPY_IN_RESPONSE: Step("on_copy_in"),
        Event.COPY_IN_BEGAN: Step(phase=Phase.COPY_IN),
        Event.COPY_IN_BEGAN_EXTENDED: Step(phase=Phase.COPY_IN_EXTENDED),
        B.COPY_OUT_RESPONSE: Step("on_copy_out", Phase.COPY_OUT),
        B.COPY_BOTH_RESPONSE: Step("on_copy_both", Phase.COPY_BOTH),
        B.READY_FOR_QUERY: Step("on_ready"),
        Event.LAST_REQUEST_ENDED: Step(phase=Phase.IDLE),
    },
    Phase.COPY_IN: {
        **_MORE,
        B.ERROR_RESPONSE: Step("on_error", Phase.BUSY),
        B.COMMAND_COMPLETE: Step("on_command_complete", Phase.BUSY),
    },
    Phase.COPY_IN_EXTENDED: {
        **_MORE,
        B.ERROR_RESPONSE: Step("on_error", Phase.AFTER_COPY_IN),
        B.COMMAND_COMPLETE: Step("on_command_complete", Phase.AFTER_COPY_IN),
    },
    Phase.AFTER_COPY_IN: {
        **_MORE,
        B.ERROR_RESPONSE: Step("on_error"),
        B.READY_FOR_QUERY: Step("on_ready_again"),
        B.CLOSE_COMPLETE: Step("on_close_complete", Phase.BUSY),
    },
    Phase.COPY_OUT: {
        **_MORE,
        B.COPY_DATA: Step("on_copy_data"),
        B.COPY_DONE: Step("on_copy_done", Phase.BUSY),
        B.ERROR_RESPONSE: Step("on_error", Phase.BUSY),
    },
    Phase.COPY_BOTH: {
        **_MORE,
        B.COPY_DATA: Step("on_copy_data"),
        B.COPY_DONE: Step("on_copy_done", Phase.BUSY),
        B.COMMAND_COMPLETE: Step("on_command_complete", Phase.BUSY),
        B.ERROR_RESPONSE: Step("on_error", Phase.BUSY),
    },
    Phase.CLOSED: {
        Event.FAIL: Step(),
        Event.CLOSE: Step(),
    },
    Phase.FAILED: {
        Event.FAIL: Step(),
        Event.CLOSE: Step(),
    },
}
