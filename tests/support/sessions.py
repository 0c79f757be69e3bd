"""Sessions for tests, what they are given and what has become of them."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from anyq._accel import keep_rows, take_replies
from anyq.protocol import messages as be
from anyq.protocol.constants import TransactionStatus
from anyq.protocol.messages import FieldDescription
from anyq.protocol.request import Request, Result
from anyq.protocol.session import ProtocolSession
from tests.support import frontend_messages as fm

IDLE = be.ReadyForQuery(TransactionStatus.IDLE)
INTRANS = be.ReadyForQuery(TransactionStatus.INTRANS)
INERROR = be.ReadyForQuery(TransactionStatus.INERROR)
WRONG = {"S": "ERROR", "V": "ERROR", "C": "42P01", "M": "no such table"}
SHUTDOWN = {"S": "FATAL", "V": "FATAL", "C": "57P01", "M": "going down"}
MB = 1024 * 1024


def columns(*names: str) -> be.RowDescription:
    return be.RowDescription(tuple(FieldDescription(name, 0, 0, 25, -1, -1, 0) for name in names))


def rows_request(**settings: Any) -> Request:
    request = Request()
    for name, value in settings.items():
        setattr(request, name, value)
    return request


def rows_of(result: Result) -> list[tuple[bytes | None, ...]]:
    """The rows of a result, as the server sent them."""
    return [tuple(values) for values in result.values()]


def wire(*messages: be.BackendMessage) -> bytes:
    return b"".join([message.encode() for message in messages])


def message(code: int, payload: bytes = b"", length: int | None = None) -> bytes:
    return struct.pack("!BI", code, len(payload) + 4 if length is None else length & 0xFFFFFFFF) + payload


def started(**kwargs: Any) -> ProtocolSession:
    """A session that is ready for requests."""
    proto = ProtocolSession(keep_rows, take_replies, **kwargs)
    proto.start({"user": "test"})
    proto.outgoing.clear()
    proto.receive_data(wire(be.AuthenticationOk(), be.BackendKeyData(7, b"1234"), IDLE))
    proto.authentications.clear()
    return proto


def busy(*requests: Request, **kwargs: Any) -> ProtocolSession:
    proto = started(**kwargs)
    for request in requests:
        proto.enqueue(request)
    return proto


def sent(proto: ProtocolSession, started: bool = True) -> list[fm.FrontendMessage]:
    """What the session has to say itself."""
    stream = fm.FrontendStream()
    stream.started = started
    stream.feed(bytes(proto.outgoing))
    messages: list[fm.FrontendMessage] = []
    while (message := stream.next_message()) is not None:
        messages.append(message)
    assert not stream.buffer
    return messages


def feed(proto: ProtocolSession, data: bytes, sizes: Sequence[int] = (10**9,), directly: bool = True) -> None:
    """Give `data` to a session in pieces of `sizes`, by turns, as a wire does that gets no more at a time."""
    pos = turn = 0
    while pos < len(data):
        size = sizes[turn % len(sizes)]
        turn += 1
        target = proto.receive_target() if directly else None
        if target is None:
            piece = data[pos : pos + size]
            proto.receive_data(piece)
            pos += len(piece)
        else:
            with target:
                piece = data[pos : pos + min(size, len(target))]
                target[: len(piece)] = piece
            proto.received(len(piece))
            pos += len(piece)


def outcome(request: Request) -> Any:
    """All there is to know of a request in a form that can be compared."""
    results = [(None if r.fields is None else [f.name for f in r.fields], rows_of(r), r.tag) for r in request.results]
    problems = [None if e is None else (type(e), str(e)) for e in (request.error, request.failure)]
    return results, problems, request.parsed, request.done, request.status_before


def picture(proto: ProtocolSession, requests: Sequence[Request]) -> Any:
    return (
        [outcome(request) for request in requests],
        list(proto.events),
        proto.parameters,
        proto.phase,
        proto.transaction_status,
        bytes(proto.outgoing),
    )


class Waker:
    woken = 0

    def set(self) -> None:
        self.woken += 1
