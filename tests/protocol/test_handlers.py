"""What single messages mean to a session and its requests."""

from __future__ import annotations

from typing import Any

import pytest

from anyq._accel import keep_rows, take_replies
from anyq.errors import AdminShutdown, ProgrammingError, RemoteProtocolError
from anyq.protocol import messages as be
from anyq.protocol.constants import PROTOCOL_3_0, PROTOCOL_3_2, Format, TransactionStatus
from anyq.protocol.phases import Phase
from anyq.protocol.request import Cancellation, Request
from anyq.protocol.session import ProtocolSession
from anyq.protocol.session_state import Notify
from tests.support import frontend_messages as fm
from tests.support.sessions import (
    IDLE,
    SHUTDOWN,
    WRONG,
    busy,
    columns,
    feed,
    message,
    outcome,
    rows_of,
    rows_request,
    sent,
    started,
    wire,
)

# -- the start-up


def test_the_start() -> None:
    proto = ProtocolSession(keep_rows, take_replies)
    phases = [proto.phase]
    proto.start({"user": "me", "database": "db"})
    phases.append(proto.phase)
    assert sent(proto, started=False) == [fm.Startup(196608, {"user": "me", "database": "db"})]
    feed(proto, wire(be.AuthenticationMD5Password(b"salt")))
    phases.append(proto.phase)
    feed(proto, wire(be.AuthenticationOk()))
    phases.append(proto.phase)
    assert list(proto.authentications) == [be.AuthenticationMD5Password(b"salt"), be.AuthenticationOk()]
    feed(proto, wire(be.ParameterStatus("TimeZone", "UTC"), be.BackendKeyData(77, b"abcd")))
    assert (proto.parameters, proto.backend_pid, proto.secret_key) == ({"TimeZone": "UTC"}, 77, b"abcd")
    feed(proto, IDLE.encode())
    phases.append(proto.phase)
    assert phases == [Phase.NEW, Phase.STARTUP, Phase.AUTHENTICATING, Phase.STARTING, Phase.IDLE]
    assert proto.transaction_status is TransactionStatus.IDLE


@pytest.mark.parametrize("newest", [PROTOCOL_3_0, 0])
def test_the_version_that_the_server_speaks(newest: int) -> None:
    proto = ProtocolSession(keep_rows, take_replies)
    proto.start({"user": "me", "_pq_.new": "1", "_pq_.known": "1"}, PROTOCOL_3_2)
    assert proto.protocol_version == PROTOCOL_3_2
    feed(proto, wire(be.NegotiateProtocolVersion(newest, ("_pq_.new",)), be.AuthenticationOk(), IDLE))
    assert proto.protocol_version == PROTOCOL_3_0
    assert proto.unknown_options == ("_pq_.new",)


@pytest.mark.parametrize(
    ("newest", "unknown", "text"),
    [
        (PROTOCOL_3_2 + 1, (), "version 3.3 of the protocol, where 3.2 was asked for"),
        (PROTOCOL_3_0 + 1, (), "version 3.1 of the protocol"),
        (2 << 16, (), "version 2.0 of the protocol"),
        (PROTOCOL_3_0, ("_pq_.other",), "options of the protocol that were not asked for"),
        (PROTOCOL_3_0, ("user",), "options of the protocol that were not asked for"),
    ],
)
def test_a_negotiation_that_makes_no_sense(newest: int, unknown: tuple[str, ...], text: str) -> None:
    proto = ProtocolSession(keep_rows, take_replies)
    proto.start({"user": "me", "_pq_.new": "1"}, PROTOCOL_3_2)
    with pytest.raises(RemoteProtocolError, match=text):
        feed(proto, wire(be.NegotiateProtocolVersion(newest, unknown)))


@pytest.mark.parametrize("before", [(), (be.AuthenticationCleartextPassword(),), (be.AuthenticationOk(),)])
def test_a_refusal_is_the_last_word(before: tuple[be.BackendMessage, ...]) -> None:
    proto = ProtocolSession(keep_rows, take_replies)
    proto.start({"user": "me"})
    feed(proto, wire(*before, be.ErrorResponse({**SHUTDOWN, "C": "28P01", "M": "wrong password"})))
    assert proto.fatal_error is not None
    proto.receive_eof()
    assert proto.phase is Phase.FAILED
    assert str(proto.lost()) == "wrong password"
    assert proto.lost() is not proto.lost()
    assert "wrong password" in proto.closed_reason()


# -- messages at any time


def test_reports_come_at_any_time() -> None:
    notice, notification = be.NoticeResponse({"M": "hint"}), be.NotificationResponse(5, "chan", "pay")
    request = rows_request()
    proto = started()
    before = proto.parameters
    feed(proto, wire(notice, be.ParameterStatus("a", "1"), notification))
    proto.enqueue(request)
    feed(proto, wire(columns("x"), notification, be.DataRow((b"1",)), be.ParameterStatus("a", "2"), notice))
    feed(proto, wire(be.DataRow((b"2",)), be.CommandComplete("SELECT 2"), notification, IDLE))
    notify = Notify("chan", "pay", 5)
    assert list(proto.events) == [notice, notify, notify, notice, notify]
    assert proto.parameters == {"a": "2"}
    assert (before, request.parameters_before, request.parameters) == ({}, {"a": "1"}, {"a": "2"})
    assert rows_of(request.results[0]) == [(b"1",), (b"2",)]


def test_a_fatal_error_outside_a_request() -> None:
    proto = started()
    feed(proto, wire(be.ErrorResponse(SHUTDOWN)))
    request = Request()
    proto.enqueue(request)
    proto.receive_eof()
    assert isinstance(request.error, AdminShutdown)


def test_what_a_fatal_error_is_told_by_is_nobodys() -> None:
    """Whoever waits for the reply raises an error of its own, whose traceback the session does not keep."""
    request = rows_request()
    proto = busy(request)
    feed(proto, wire(be.ErrorResponse(SHUTDOWN)))
    proto.receive_eof()
    assert isinstance(request.error, AdminShutdown)
    assert isinstance(proto.fatal_error, AdminShutdown)
    assert request.error is not proto.fatal_error


# -- the replies to a request


@pytest.mark.parametrize(
    ("reply", "result"),
    [
        ((be.NoData(), be.CommandComplete("INSERT 0 1")), (None, [], "INSERT 0 1")),
        ((be.NoData(), be.EmptyQueryResponse()), (None, [], None)),
        ((be.EmptyQueryResponse(),), (None, [], None)),
        ((columns("a"), be.PortalSuspended()), (["a"], [], None)),
        ((columns(), *[be.DataRow(())] * 2, be.CommandComplete("SELECT 2")), ([], [(), ()], "SELECT 2")),
        ((be.ParameterDescription((23,)), columns("a"), be.CommandComplete("SHOW")), (["a"], [], "SHOW")),
        ((be.CloseComplete(), be.NoData(), be.CommandComplete("SET")), (None, [], "SET")),
    ],
)
def test_the_forms_of_a_reply(reply: tuple[be.BackendMessage, ...], result: Any) -> None:
    request = rows_request()
    feed(busy(request), wire(be.ParseComplete(), be.BindComplete(), *reply, IDLE))
    assert outcome(request)[0] == [result]


def test_a_description_that_is_known_is_used_for_each_execution() -> None:
    fields = columns("a").fields
    request = Request()
    request.description = fields, None
    one = wire(be.BindComplete(), be.DataRow((b"12",)), be.CommandComplete("SELECT 1"))
    feed(busy(request), one + one + IDLE.encode())
    assert [rows_of(result) for result in request.results] == [[(b"12",)], [(b"12",)]]
    assert request.results[0].fields is fields


def test_a_description_from_the_server_counts_from_then_on() -> None:
    request = rows_request()
    bound = wire(be.BindComplete(), be.DataRow((b"x",)), be.CommandComplete("SELECT 1"))
    described = wire(be.BindComplete(), columns("a"), be.DataRow((b"w",)), be.CommandComplete("SELECT 1"))
    undescribed = wire(be.BindComplete(), be.NoData(), be.CommandComplete("SET"), be.BindComplete())
    feed(busy(request), described + bound + undescribed + wire(be.CommandComplete("SET"), IDLE))
    assert [(r.fields is not None, rows_of(r)) for r in request.results] == [
        (True, [(b"w",)]),
        (True, [(b"x",)]),
        (False, []),
        (False, []),
    ]


def test_the_first_of_two_errors_counts() -> None:
    request = rows_request()
    feed(busy(request), wire(be.ErrorResponse(WRONG), be.ErrorResponse({**WRONG, "M": "another"}), IDLE))
    assert str(request.error) == "no such table"


@pytest.mark.parametrize("first_is_hit", [False, True])
def test_which_request_was_hit_by_a_cancel_request(first_is_hit: bool) -> None:
    """The second one is a victim if nothing else can have been hit, and if it was on its way at that time."""
    canceled = be.ErrorResponse({"S": "ERROR", "V": "ERROR", "C": "57014", "M": "canceled"})
    requests = [rows_request() for _ in range(3)]
    proto = busy(*requests)
    requests[0].cancel_is_sent()
    requests[1].cancel_is_sent_for_another()
    proto.unmatched_cancels = 1
    feed(proto, wire(*([canceled] if first_is_hit else [be.CommandComplete("SET")]), IDLE))
    assert proto.unmatched_cancels == (0 if first_is_hit else 1)
    feed(proto, wire(canceled, IDLE, canceled))
    assert [request.cancellation is Cancellation.VICTIM for request in requests] == [False, not first_is_hit, False]
    feed(proto, IDLE.encode())
    # A server that is idle forgets those that come.
    assert proto.unmatched_cancels == 0


def test_cancel_requests_that_hit_later_ones() -> None:
    """The first one comes too late and hits the second request, whose own then hits the third."""
    canceled = be.ErrorResponse({"S": "ERROR", "V": "ERROR", "C": "57014", "M": "canceled"})
    requests = [rows_request() for _ in range(3)]
    proto = busy(*requests)
    requests[0].cancel_is_sent()
    requests[1].cancel_is_sent_for_another()
    proto.unmatched_cancels += 1
    feed(proto, wire(be.CommandComplete("SET"), IDLE))
    requests[1].cancel_is_sent()
    requests[2].cancel_is_sent_for_another()
    proto.unmatched_cancels += 1
    feed(proto, wire(canceled, IDLE, canceled, IDLE))
    assert [request.cancellation is Cancellation.VICTIM for request in requests] == [False, False, True]


def test_a_transaction_status_that_is_unknown() -> None:
    for payload in (b"", b"X", b"II"):
        with pytest.raises(RemoteProtocolError, match="transaction status"):
            busy(rows_request()).receive_data(message(ord("Z"), payload))


def test_a_function_call_that_nobody_made() -> None:
    with pytest.raises(RemoteProtocolError, match="FUNCTION_CALL_RESPONSE"):
        busy(rows_request()).receive_data(wire(be.FunctionCallResponse(b"1")))


# -- COPY


def test_copy_in_is_refused() -> None:
    request = rows_request(extended=False)
    proto = busy(request)
    feed(proto, wire(be.CopyInResponse(Format.TEXT, (Format.TEXT,))))
    before = proto.phase
    (answer,) = sent(proto)
    assert isinstance(answer, fm.CopyFail)
    feed(proto, wire(be.ErrorResponse({**WRONG, "C": "57014"}), IDLE))
    assert isinstance(request.failure, ProgrammingError)
    assert "FROM STDIN" in str(request.failure)
    assert (before, proto.phase) == (Phase.COPY_IN, Phase.IDLE)


@pytest.mark.parametrize("times", [1, 2])
def test_copy_in_by_the_extended_protocol_needs_another_sync(times: int) -> None:
    """The manual, "COPY Operations": Sync is ignored in COPY mode, and an error then waits for one.

    But not if the error was there first: then there is a ReadyForQuery for each.
    """
    request, other = rows_request(), rows_request()
    proto = busy(request)
    feed(proto, wire(be.CloseComplete(), be.ParseComplete(), be.BindComplete(), be.CopyInResponse(Format.TEXT, ())))
    assert [type(message) for message in sent(proto)] == [fm.CopyFail, fm.Sync, fm.Close, fm.Sync]
    proto.enqueue(other)
    feed(proto, wire(be.ErrorResponse({**WRONG, "C": "57014"}), *[IDLE] * times))
    assert [request.done, other.done] == [False, False]
    feed(proto, wire(be.CloseComplete(), IDLE))
    assert [request.done, other.done] == [True, False]
    feed(proto, wire(be.CloseComplete(), be.CommandComplete("SET"), IDLE))
    assert other.results[0].tag == "SET"


def test_copy_in_before_other_requests_ends_the_session() -> None:
    """The server takes the next request for data; by later versions it has lost its place in the stream then."""
    requests = [rows_request(extended=False) for _ in range(3)]
    proto = busy(*requests)
    feed(proto, wire(be.CopyInResponse(Format.TEXT, ()), be.ErrorResponse(WRONG), IDLE))
    assert proto.phase is Phase.FAILED
    assert all(request.done for request in requests)
    assert isinstance(requests[0].failure, ProgrammingError)
    assert "COPY FROM STDIN" in str(requests[2].error)
    assert not proto.outgoing


def test_copy_out_is_drained() -> None:
    request, other = rows_request(), rows_request()
    proto = busy(request, other)
    feed(proto, wire(be.CopyOutResponse(Format.TEXT, (Format.TEXT,)), be.CopyData(b"1\n")))
    assert proto.phase is Phase.COPY_OUT
    feed(proto, wire(be.CopyData(b"2\n"), be.CopyDone(), be.CommandComplete("COPY 2"), IDLE))
    assert isinstance(request.failure, ProgrammingError)
    assert not proto.outgoing
    feed(proto, wire(be.CommandComplete("SET"), IDLE))
    assert other.failure is None
    assert other.results[0].tag == "SET"


def test_copy_both_is_ended() -> None:
    request = rows_request(extended=False)
    proto = busy(request)
    feed(proto, wire(be.CopyBothResponse(Format.TEXT, ()), be.CopyData(b"w")))
    assert [type(message) for message in sent(proto)] == [fm.CopyDone]
    feed(proto, wire(be.CopyData(b"w"), be.CopyDone(), be.CommandComplete("COPY 0"), IDLE))
    assert isinstance(request.failure, ProgrammingError)
    assert proto.phase is Phase.IDLE


@pytest.mark.parametrize("reply", [be.CopyInResponse, be.CopyOutResponse, be.CopyBothResponse])
def test_an_error_ends_every_kind_of_copy(reply: Any) -> None:
    proto = busy(rows_request(extended=False))
    feed(proto, wire(reply(Format.TEXT, ()), be.ErrorResponse(WRONG), IDLE))
    assert proto.phase is Phase.IDLE
