"""The table of all transitions, walked with real bytes and real calls."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path

import pytest

import anyq
from anyq.errors import LocalProtocolError, RemoteProtocolError
from anyq.protocol import messages as be
from anyq.protocol.constants import BackendCode, TransactionStatus
from anyq.protocol.phases import ENDED, TABLE, Event, Phase
from anyq.protocol.request import Request, TransactionEffect
from anyq.protocol.session import ProtocolSession
from anyq.protocol.session_state import make_rows
from tests.support.phases import COPY_IN, SAMPLES, do, in_phase
from tests.support.sessions import IDLE, INTRANS, busy, feed, message, started, wire


def test_only_transitions_change_the_phase() -> None:
    """No other module assigns it."""
    package = Path(anyq.__file__).parent
    found: set[str] = set()
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            for target in targets:
                for part in target.elts if isinstance(target, ast.Tuple) else [target]:
                    if isinstance(part, ast.Attribute) and part.attr == "phase":
                        found.add(path.relative_to(package).as_posix())
    assert found == {"protocol/session_state.py"}
    assert not [path for path in package.rglob("*.pyx") if ".phase =" in path.read_text(encoding="utf-8")]


def test_a_handler_that_is_missing_is_noticed_at_once() -> None:
    with pytest.raises(KeyError, match="on_"):
        make_rows({})


# -- the walk


def outcomes() -> dict[str, tuple[BackendCode, Event | None, Callable[[ProtocolSession], None]]]:
    """Every message in every meaning that it may have: its code, the event that it is, what makes it come."""

    def comes(sample: be.BackendMessage, *behind: Request, extended: bool = True) -> Callable[[ProtocolSession], None]:
        def come(proto: ProtocolSession) -> None:
            if proto.pending:
                proto.pending[0].extended = extended
                for request in behind:
                    proto.enqueue(request)
            proto.receive_data(wire(sample))

        return come

    found: dict[str, tuple[BackendCode, Event | None, Callable[[ProtocolSession], None]]] = {
        code.name: (code, None, comes(sample)) for code, sample in SAMPLES.items()
    }
    found["AUTHENTICATION"] = (
        BackendCode.AUTHENTICATION,
        Event.AUTHENTICATION_REQUESTED,
        comes(be.AuthenticationCleartextPassword()),
    )
    found["AUTHENTICATION, ok"] = (BackendCode.AUTHENTICATION, Event.AUTHENTICATED, comes(be.AuthenticationOk()))
    found["READY_FOR_QUERY"] = (BackendCode.READY_FOR_QUERY, Event.LAST_REQUEST_ENDED, comes(INTRANS))
    found["READY_FOR_QUERY, others"] = (BackendCode.READY_FOR_QUERY, None, comes(INTRANS, Request()))
    found["COPY_IN_RESPONSE"] = (
        BackendCode.COPY_IN_RESPONSE,
        Event.COPY_IN_BEGAN_EXTENDED,
        comes(COPY_IN),
    )
    found["COPY_IN_RESPONSE, simple"] = (
        BackendCode.COPY_IN_RESPONSE,
        Event.COPY_IN_BEGAN,
        comes(COPY_IN, extended=False),
    )
    found["COPY_IN_RESPONSE, others"] = (BackendCode.COPY_IN_RESPONSE, Event.FAIL, comes(COPY_IN, Request()))
    return found


OUTCOMES = outcomes()


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("name", OUTCOMES)
@pytest.mark.parametrize("phase", Phase)
def test_messages(phase: Phase, name: str, compiled: bool) -> None:
    """Every message in every phase leads where the table says, or breaks the protocol."""
    code, event, come = OUTCOMES[name]
    row = TABLE[phase]
    proto = in_phase(phase, compiled)
    if phase >= ENDED:
        come(proto)
        assert proto.phase is phase
    elif code not in row or row[code].handler == "on_unexpected_row":
        with pytest.raises(RemoteProtocolError):
            come(proto)
        assert proto.phase is phase
    else:
        step = row[event] if event is not None and event in row else row[code]
        come(proto)
        assert proto.phase is (step.phase or phase)
        assert bool(proto.pending) == (Phase.IDLE < proto.phase < Phase.CLOSED)


@pytest.mark.parametrize("phase", Phase)
def test_bytes_that_begin_no_message(phase: Phase) -> None:
    for code in set(range(256)) - set(BackendCode):
        proto = in_phase(phase)
        if phase >= ENDED:
            proto.receive_data(message(code))
        else:
            with pytest.raises(RemoteProtocolError):
                proto.receive_data(message(code))
        assert proto.phase is phase


@pytest.mark.parametrize("event", Event)
@pytest.mark.parametrize("phase", Phase)
def test_events(phase: Phase, event: Event) -> None:
    """Every event in every phase leads where the table says, or is refused."""
    proto = in_phase(phase)
    if event in TABLE[phase]:
        proto.happened(event)
        assert proto.phase is (TABLE[phase][event].phase or phase)
    else:
        with pytest.raises(LocalProtocolError, match=f"phase {phase.name}$"):
            proto.happened(event)
        assert proto.phase is phase


LOCAL: dict[Event, Callable[[ProtocolSession], None]] = {
    Event.START: lambda proto: do(proto, Event.START),
    Event.ENQUEUE: lambda proto: do(proto, Event.ENQUEUE),
    Event.LAST_REQUEST_ENDED: lambda proto: proto.end_request(proto.pending, TransactionStatus.INTRANS),
    Event.FAIL: lambda proto: do(proto, Event.FAIL),
    Event.CLOSE: lambda proto: do(proto, Event.CLOSE),
}


@pytest.mark.parametrize("event", LOCAL)
@pytest.mark.parametrize("phase", Phase)
def test_what_the_client_does(phase: Phase, event: Event) -> None:
    """The same by the methods that are called for it, of which two take a short cut through the table."""
    proto = in_phase(phase)
    outgoing, pending = bytes(proto.outgoing), list(proto.pending)
    if event in TABLE[phase]:
        LOCAL[event](proto)
        assert proto.phase is (TABLE[phase][event].phase or phase)
        assert proto.row.phase is proto.phase
    else:
        with pytest.raises(LocalProtocolError, match=f"phase {phase.name}$"):
            LOCAL[event](proto)
        assert (proto.phase, bytes(proto.outgoing), list(proto.pending)) == (phase, outgoing, pending)


@pytest.mark.parametrize("end", [Event.FAIL, Event.CLOSE])
@pytest.mark.parametrize("phase", Phase)
def test_the_end_is_the_end_of_every_request(phase: Phase, end: Event) -> None:
    proto = in_phase(phase)
    requests = list(proto.pending)
    do(proto, end)
    assert not proto.pending
    assert all(request.done and request.error is not None for request in requests)


def test_the_phase_stays_while_there_are_other_requests() -> None:
    proto = started()
    for _ in range(2):
        proto.enqueue(Request())
    proto.end_request(proto.pending, TransactionStatus.INTRANS)
    phases = [proto.phase]
    assert proto.pending[0].status_before is TransactionStatus.INTRANS
    proto.end_request(proto.pending, TransactionStatus.IDLE)
    assert [*phases, proto.phase] == [Phase.BUSY, Phase.IDLE]


# -- whether a request may have been run


def ends(request: Request) -> bool:
    assert request.error is not None
    return request.error.never_run


TOLD = {"S": "FATAL", "V": "FATAL", "C": "57P01", "M": "told to", "F": "postgres.c", "L": "1", "R": "ProcessInterrupts"}


@pytest.mark.parametrize(
    ("fields", "certain"),
    [
        (TOLD, True),
        ({**TOLD, "C": "57P05"}, True),
        ({**TOLD, "C": "25P03"}, True),
        ({**TOLD, "C": "08P01"}, False),
        ({**TOLD, "C": "XX000"}, False),
        ({name: value for name, value in TOLD.items() if name != "R"}, False),  # a pooler's
    ],
    ids=lambda value: value["C"] + value.get("R", "")[:1] if isinstance(value, dict) else "",
)
@pytest.mark.parametrize("warned", [True, False], ids=["warned", "fatal"])
def test_what_is_behind_the_first_was_not_begun(fields: dict[str, str], certain: bool, warned: bool) -> None:
    """If the server process says that it was told to end; what others say is not certain."""
    requests = [Request() for _ in range(3)]
    proto = busy(*requests)
    if warned:
        proto.receive_data(wire(be.NoticeResponse({**fields, "S": "WARNING", "V": "WARNING"})))
    else:
        proto.receive_data(wire(be.ErrorResponse(fields)))
    proto.receive_eof()
    expected = certain and (not warned or fields["C"] == "57P01")  # nobody is warned of the others
    assert [ends(request) for request in requests] == [False, expected, expected]


def test_what_has_come_to_its_end_is_none_that_is_behind() -> None:
    """The second one has become the first, with which the process may have begun."""
    first, second, third = (Request() for _ in range(3))
    proto = busy(first, second, third)
    proto.receive_data(wire(be.CommandComplete("SELECT 0"), IDLE, be.ErrorResponse(TOLD)))
    proto.receive_eof()
    assert first.error is None
    assert [ends(request) for request in (second, third)] == [False, True]


def test_nothing_is_certain_where_the_connection_breaks() -> None:
    requests = [Request() for _ in range(2)]
    proto = busy(*requests)
    proto.receive_eof()
    assert [ends(request) for request in requests] == [False, False]
    requests = [Request() for _ in range(2)]
    proto = busy(*requests)
    proto.close()
    assert [ends(request) for request in requests] == [False, False]


def test_what_comes_after_the_end_was_not_begun() -> None:
    proto = started()
    proto.close()
    assert proto.closed_error().never_run


# -- what others ask


def test_whether_a_transaction_is_to_be_expected() -> None:
    def request(effect: TransactionEffect = TransactionEffect.NONE) -> Request:
        request = Request()
        request.effect = effect
        return request

    proto = started()
    assert not proto.expects_transaction()
    proto.enqueue(request())
    assert not proto.expects_transaction()
    proto.enqueue(request(TransactionEffect.BEGINS))
    proto.enqueue(request())
    assert proto.expects_transaction()
    assert not proto.transaction_in_doubt()
    proto.enqueue(request(TransactionEffect.ENDS))
    assert not proto.expects_transaction()
    proto.enqueue(request(TransactionEffect.UNCERTAIN))
    assert proto.expects_transaction()
    assert proto.transaction_in_doubt()
    proto.enqueue(request(TransactionEffect.ENDS))
    assert not proto.expects_transaction()
    assert not proto.transaction_in_doubt()
    for _ in range(6):
        feed(proto, INTRANS.encode())
    assert proto.expects_transaction()
