"""Sessions in every phase, brought there by real bytes and real calls."""

from __future__ import annotations

from anyq._accel import keep_rows, take_replies
from anyq.protocol import messages as be
from anyq.protocol.constants import BackendCode, Format
from anyq.protocol.phases import TABLE, Event, Phase
from anyq.protocol.session import ProtocolSession
from tests.support.sessions import IDLE, WRONG, columns, feed, rows_request, wire

COPY_IN = be.CopyInResponse(Format.TEXT, ())
#: A message of each code.
SAMPLES: dict[BackendCode, be.BackendMessage] = {
    sample.code: sample
    for sample in (
        be.AuthenticationMD5Password(b"salt"),
        be.BackendKeyData(7, b"1234"),
        be.BindComplete(),
        be.CloseComplete(),
        be.CommandComplete("SELECT 1"),
        be.CopyBothResponse(Format.TEXT, ()),
        be.CopyData(b"data"),
        be.CopyDone(),
        COPY_IN,
        be.CopyOutResponse(Format.TEXT, ()),
        be.DataRow((b"1",)),
        be.EmptyQueryResponse(),
        be.ErrorResponse(WRONG),
        be.FunctionCallResponse(b"1"),
        be.NegotiateProtocolVersion(3 << 16),
        be.NoData(),
        be.NoticeResponse({"M": "hint"}),
        be.NotificationResponse(5, "channel", "payload"),
        be.ParameterDescription((23,)),
        be.ParameterStatus("TimeZone", "UTC"),
        be.ParseComplete(),
        be.PortalSuspended(),
        IDLE,
        columns("a"),
    )
}


def do(proto: ProtocolSession, what: BackendCode | Event) -> None:
    """Have a message come, or an event happen, the way it really does."""
    if isinstance(what, BackendCode):
        feed(proto, wire(SAMPLES[what]))
        return
    match what:
        case Event.START:
            proto.start({"user": "me"})
        case Event.ENQUEUE:
            proto.enqueue(rows_request())
        case Event.FAIL:
            proto.fail("it failed")
        case Event.CLOSE:
            proto.close()
        case Event.AUTHENTICATION_REQUESTED:
            feed(proto, wire(be.AuthenticationMD5Password(b"salt")))
        case Event.AUTHENTICATED:
            feed(proto, wire(be.AuthenticationOk()))
        case Event.LAST_REQUEST_ENDED:
            feed(proto, wire(IDLE))
        case Event.COPY_IN_BEGAN:
            proto.pending[0].extended = False
            feed(proto, wire(COPY_IN))
        case Event.COPY_IN_BEGAN_EXTENDED:
            feed(proto, wire(COPY_IN))


def ways() -> dict[Phase, list[BackendCode | Event]]:
    """The shortest way to each phase, by the table."""
    found: dict[Phase, list[BackendCode | Event]] = {Phase.NEW: []}
    todo = [Phase.NEW]
    while todo:
        phase = todo.pop(0)
        for key, step in TABLE[phase].items():
            if step.phase is not None and step.phase not in found:
                found[step.phase] = [*found[phase], key]
                todo.append(step.phase)
    return found


WAYS = ways()


def in_phase(phase: Phase, compiled: bool = True) -> ProtocolSession:
    """A session in a phase; `compiled` says whether it uses what is faster, if there is such a thing."""
    proto = ProtocolSession(keep_rows, take_replies if compiled else None)
    for step in WAYS[phase]:
        do(proto, step)
    assert proto.phase is phase
    return proto
