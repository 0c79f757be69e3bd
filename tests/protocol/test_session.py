"""The session without any input or output: what a server says comes in, in pieces of every size."""

from __future__ import annotations

import random
import struct
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anyq._accel import keep_rows, python, take_replies
from anyq.errors import (
    AdminShutdown,
    Error,
    LocalProtocolError,
    OperationalError,
    RemoteProtocolError,
    UndefinedTable,
)
from anyq.protocol import buffer, session
from anyq.protocol import messages as be
from anyq.protocol.constants import MAX_MESSAGE_LENGTH as MAX
from anyq.protocol.constants import BackendCode, Format, TransactionStatus
from anyq.protocol.phases import Phase
from anyq.protocol.request import Request, Result
from anyq.protocol.session import ProtocolSession
from anyq.protocol.session_state import Notify
from tests.support.phases import in_phase
from tests.support.sessions import (
    IDLE,
    INERROR,
    INTRANS,
    MB,
    SHUTDOWN,
    WRONG,
    Waker,
    busy,
    columns,
    feed,
    message,
    outcome,
    picture,
    rows_of,
    rows_request,
    wire,
)

# -- in portions


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("most", [1, 2, 7, 1000])
def test_a_chunk_in_portions(most: int, compiled: bool) -> None:
    """What comes of it is the same, however few messages are taken at a time."""
    notices = [be.NoticeResponse({"M": str(number)}) for number in range(20)]
    reply = [*notices[:10], columns("a"), be.DataRow((b"1",)), be.DataRow((b"2",)), be.CommandComplete("SELECT 2")]
    data = wire(*reply, *notices[10:], IDLE, be.NotificationResponse(7, "a", "b"), be.ParameterStatus("x", "y"))
    pictures = []
    for limit in (most, -1):
        request = rows_request()
        proto = ProtocolSession(keep_rows, take_replies if compiled else None)
        proto.start({"user": "test"})
        feed(proto, wire(be.AuthenticationOk(), IDLE))
        proto.enqueue(request)
        calls = 0
        for piece in (data[:150], data[150:-3], data[-3:]):
            proto.receive_data(piece, limit)
            calls += 1
            while proto.behind:
                seen = len(proto.events)
                proto.receive_data(b"", limit)
                calls += 1
                assert limit < 0 or compiled or len(proto.events) - seen <= limit
        assert calls == 3 if limit in (-1, 1000) else calls > 20 // most
        pictures.append(picture(proto, [request]))
    assert pictures[0] == pictures[1]


def test_the_end_leaves_nothing_behind() -> None:
    proto = in_phase(Phase.IDLE)
    proto.receive_data(be.NoticeResponse({"M": "hello"}).encode() * 10, 3)
    assert proto.behind
    assert len(proto.events) == 3
    proto.fail("it failed")
    assert not proto.behind


# -- start-up


def test_a_server_that_closes_at_once() -> None:
    proto = ProtocolSession(keep_rows, take_replies)
    proto.start({"user": "me"})
    proto.receive_eof()
    assert "check that host and port" in str(proto.lost())


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"220 mail.example.com ESMTP\r\n",
        b"\x15\x03\x01\x00\x02\x02\x50",
        b"-ERR unknown command\r\n",
        bytes(100),
        b"\xff" * 100,
    ],
)
def test_a_server_that_is_no_postgresql(data: bytes) -> None:
    proto = ProtocolSession(keep_rows, take_replies)
    proto.start({"user": "me"})
    with pytest.raises(RemoteProtocolError, match="check host and port"):
        proto.receive_data(data)


def test_nothing_can_be_asked_before_the_start_and_after_the_end() -> None:
    proto = ProtocolSession(keep_rows, take_replies)
    with pytest.raises(LocalProtocolError, match="phase NEW"):
        proto.enqueue(Request())
    proto.close()
    with pytest.raises(LocalProtocolError, match="phase CLOSED"):
        proto.enqueue(Request())


# -- replies


def test_a_query() -> None:
    request = rows_request()
    proto = busy(request)
    assert (proto.phase, request.status_before) == (Phase.BUSY, TransactionStatus.IDLE)
    feed(
        proto,
        wire(
            be.ParseComplete(),
            be.BindComplete(),
            columns("a", "b"),
            be.DataRow((b"1", None)),
            be.DataRow((b"", b"2")),
            be.CommandComplete("SELECT 2"),
        ),
    )
    rows = [rows_of(r) for r in request.results]
    assert (request.done, rows) == (False, [[(b"1", None), (b"", b"2")]])
    feed(proto, INTRANS.encode())
    assert request.done
    assert outcome(request) == (
        [(["a", "b"], [(b"1", None), (b"", b"2")], "SELECT 2")],
        [None, None],
        1,
        True,
        TransactionStatus.IDLE,
    )
    assert (proto.phase, proto.transaction_status) == (Phase.IDLE, TransactionStatus.INTRANS)
    assert proto.head is None


def test_several_statements_in_one_query() -> None:
    request = rows_request(extended=False)
    proto = busy(request)
    feed(
        proto,
        wire(
            *(columns("a"), be.DataRow((b"1",)), be.CommandComplete("SELECT 1")),
            be.CommandComplete("BEGIN"),
            be.EmptyQueryResponse(),
            *(columns("b"), be.CommandComplete("SELECT 0")),
            INTRANS,
        ),
    )
    assert outcome(request)[0] == [
        (["a"], [(b"1",)], "SELECT 1"),
        (None, [], "BEGIN"),
        (None, [], None),
        (["b"], [], "SELECT 0"),
    ]


def test_replies_go_to_requests_in_order_and_wake_them() -> None:
    requests = [rows_request() for _ in range(3)]
    waiters = [Waker() for _ in requests]
    proto = busy(*requests)
    for request, waiter in zip(requests, waiters, strict=True):
        request.waiter = waiter
    assert proto.head is requests[0]
    assert list(proto.pending) == requests
    for number, status in enumerate((INTRANS, INERROR, IDLE)):
        assert [waiter.woken for waiter in waiters] == [1] * number + [0] * (3 - number)
        feed(proto, wire(be.CommandComplete(f"SELECT {number}"), status))
    assert [request.results[0].tag for request in requests] == ["SELECT 0", "SELECT 1", "SELECT 2"]
    assert [request.status_before for request in requests] == [
        TransactionStatus.IDLE,
        TransactionStatus.INTRANS,
        TransactionStatus.INERROR,
    ]
    assert [waiter.woken for waiter in waiters] == [1, 1, 1]
    assert proto.phase is Phase.IDLE


def test_an_error_belongs_to_one_request() -> None:
    requests = [rows_request() for _ in range(3)]
    proto = busy(*requests)
    feed(
        proto,
        wire(
            *(columns("a"), be.DataRow((b"1",)), be.CommandComplete("SELECT 1"), IDLE),
            *(be.ParseComplete(), columns("a"), be.DataRow((b"2",)), be.ErrorResponse(WRONG), IDLE),
            *(columns("a"), be.DataRow((b"3",)), be.CommandComplete("SELECT 1"), IDLE),
        ),
    )
    assert [type(request.error) for request in requests] == [type(None), UndefinedTable, type(None)]
    assert requests[1].results == []
    assert requests[1].parsed == 1
    assert [rows_of(requests[i].results[0]) for i in (0, 2)] == [[(b"1",)], [(b"3",)]]


def test_the_servers_fatal_error_is_told_to_everyone() -> None:
    requests = [rows_request() for _ in range(3)]
    proto = busy(*requests)
    feed(proto, wire(be.CommandComplete("SELECT 0"), IDLE, be.ErrorResponse(SHUTDOWN)))
    assert not requests[1].done
    proto.receive_eof()
    assert proto.phase is Phase.FAILED
    assert requests[0].error is None
    for request in requests[1:]:
        assert request.done
        assert isinstance(request.error, AdminShutdown)
    assert requests[1].error is not requests[2].error
    assert proto.head is None


def test_the_end_of_the_stream_in_the_middle() -> None:
    request = rows_request()
    proto = busy(request)
    feed(proto, wire(columns("a"))[:-3])
    proto.receive_eof()
    assert isinstance(request.error, OperationalError)
    assert "unexpectedly" in str(request.error)


def test_closing_fails_what_is_under_way() -> None:
    request = rows_request(waiter=Waker())
    proto = busy(request)
    proto.close()
    assert proto.phase is Phase.CLOSED
    assert isinstance(request.error, OperationalError)
    assert request.waiter.woken == 1  # type: ignore[union-attr]
    proto.close()
    proto.fail("too late")
    assert proto.closed_reason() == "the connection is closed"


# -- any cut

CONVERSATION: tuple[be.BackendMessage, ...] = (
    be.ParseComplete(),
    be.BindComplete(),
    columns("a", "b"),
    be.DataRow((b"1", None)),
    be.NoticeResponse({"S": "NOTICE", "M": "attention"}),
    be.DataRow((b"2" * 50, b"")),
    be.DataRow((None, b"3")),
    be.CommandComplete("SELECT 3"),
    INTRANS,
    columns("single"),
    be.DataRow((b"x",)),
    be.DataRow((None,)),
    be.DataRow((b"y" * 33,)),
    be.ParameterStatus("TimeZone", "Europe/Rome"),
    be.ErrorResponse(WRONG),
    INERROR,
    be.NoData(),
    be.EmptyQueryResponse(),
    be.NotificationResponse(9, "channel", "payload"),
    INERROR,
    be.BindComplete(),
    be.DataRow((b"known", b"description")),
    be.PortalSuspended(),
    be.CommandComplete("ROLLBACK"),
    IDLE,
    be.CopyOutResponse(Format.TEXT, ()),
    be.CopyData(b"some data"),
    be.CopyDone(),
    be.CommandComplete("COPY 1"),
    IDLE,
    be.NotificationResponse(9, "late", ""),
)


def conversation() -> tuple[ProtocolSession, list[Request]]:
    requests = [rows_request() for _ in range(5)]
    requests[3].description = columns("p", "q").fields, [bytes, bytes]
    return busy(*requests), requests


@pytest.fixture(scope="module")
def expected() -> Any:
    proto, requests = conversation()
    feed(proto, wire(*CONVERSATION))
    assert proto.phase is Phase.IDLE
    return picture(proto, requests)


@pytest.fixture
def all_rows_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take all rows apart that are not complete, and receive values from ten bytes on directly."""
    monkeypatch.setattr(session, "LARGE_MESSAGE", 8)
    monkeypatch.setattr(buffer, "LARGE_VALUE", 10)
    monkeypatch.setattr(buffer, "FIRST_GROWTH", 16)


@pytest.mark.parametrize("sizes", [[1], [2], [3, 1], [5], [64], [100, 1]])
def test_pieces_change_nothing(sizes: list[int], expected: Any) -> None:
    proto, requests = conversation()
    feed(proto, wire(*CONVERSATION), sizes)
    assert picture(proto, requests) == expected


def test_no_cut_changes_anything(expected: Any) -> None:
    data = wire(*CONVERSATION)
    for cut in range(len(data)):
        proto, requests = conversation()
        feed(proto, data[:cut])
        feed(proto, data[cut:])
        assert picture(proto, requests) == expected, cut


@pytest.mark.parametrize("directly", [False, True])
def test_no_cut_changes_a_large_row(directly: bool, expected: Any, all_rows_are_large: None) -> None:
    data = wire(*CONVERSATION)
    for cut in range(len(data)):
        proto, requests = conversation()
        feed(proto, data[:cut], directly=directly)
        feed(proto, data[cut:], [7], directly=directly)
        assert picture(proto, requests) == expected, cut


values = st.lists(st.one_of(st.none(), st.binary(max_size=60)), min_size=1, max_size=4)


@st.composite
def answers(draw: st.DrawFn) -> list[be.BackendMessage]:
    """The reply to one request."""
    messages: list[be.BackendMessage] = []
    for width in draw(st.lists(st.integers(0, 3), max_size=3)):
        report = draw(st.sampled_from([None, be.NoticeResponse({"M": "n"}), be.NotificationResponse(1, "c", "p")]))
        if width:
            messages.append(columns(*"abc"[:width]))
            row = st.tuples(*[st.one_of(st.none(), st.binary(max_size=60))] * width)
            messages += map(be.DataRow, draw(st.lists(row, max_size=5)))
        if report is not None:
            messages.append(report)
        messages.append(be.CommandComplete(f"SELECT {width}"))
    if draw(st.booleans()):
        messages.append(be.ErrorResponse(WRONG))
    messages.append(draw(st.sampled_from([IDLE, INTRANS, INERROR])))
    return messages


@settings(deadline=None)
@given(
    replies=st.lists(answers(), min_size=1, max_size=4),
    sizes=st.lists(st.integers(1, 80), min_size=1, max_size=6),
    large=st.booleans(),
    directly=st.booleans(),
)
def test_any_conversation_in_any_pieces(
    replies: list[list[be.BackendMessage]], sizes: list[int], large: bool, directly: bool
) -> None:
    data = wire(*[message for reply in replies for message in reply])
    pictures = []
    for pieces in ([10**9], sizes):
        requests = [rows_request(extended=False) for _ in replies]
        proto = busy(*requests)
        with pytest.MonkeyPatch.context() as patch:
            if large:
                patch.setattr(session, "LARGE_MESSAGE", 8)
                patch.setattr(buffer, "LARGE_VALUE", 10)
                patch.setattr(buffer, "FIRST_GROWTH", 16)
            feed(proto, data, pieces, directly)
        pictures.append(picture(proto, requests))
        for request, reply in zip(requests, replies, strict=True):
            rows = [row for result in request.results for row in rows_of(result)]
            assert rows == [message.values for message in reply if isinstance(message, be.DataRow)]
    assert pictures[0] == pictures[1]


@pytest.mark.skipif(take_replies is None, reason="there is only one implementation")
@settings(deadline=None)
@given(
    replies=st.lists(answers(), min_size=1, max_size=3),
    # A byte in the headers is more often what matters than one anywhere.
    damage=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=2),
    sizes=st.lists(st.integers(1, 80), min_size=1, max_size=6),
    extended=st.booleans(),
)
def test_both_implementations_understand_alike(
    replies: list[list[be.BackendMessage]], damage: list[tuple[int, int]], sizes: list[int], extended: bool
) -> None:
    data = bytearray(wire(*[message for reply in replies for message in reply]))
    for where, value in damage:
        data[where % len(data)] = value
    pictures = []
    for implementation in ((python.keep_rows, None), (keep_rows, take_replies)):
        requests = [rows_request(extended=extended) for _ in replies]
        if extended:
            requests[0].description = columns("a").fields, None
        proto = ProtocolSession(*implementation)
        proto.start({"user": "test"})
        proto.receive_data(wire(be.AuthenticationOk(), IDLE))
        for request in requests:
            proto.enqueue(request)
        error = None
        try:
            feed(proto, bytes(data), sizes)
        except (RemoteProtocolError, LocalProtocolError) as raised:
            error = type(raised), str(raised)
        pictures.append((error, picture(proto, requests)))
    assert pictures[0] == pictures[1]


class Tally(Request):
    """A request that only counts."""

    counting = True

    def __init__(self) -> None:
        super().__init__(description=((), None))
        self.tags: list[str | None] = []

    def add(self, result: Result) -> None:
        self.tags.append(result.tag)

    def count(self, tag: str, count: int) -> None:
        self.tags += [tag] * count


executions = st.lists(
    st.one_of(
        st.builds(
            lambda tag, count: [be.BindComplete(), be.CommandComplete(tag)] * count,
            st.sampled_from(["INSERT 0 1", "INSERT 0 2", "", "\xe9"]),
            st.integers(1, 9),
        ),
        st.just([be.BindComplete(), be.DataRow((b"a",)), be.CommandComplete("SELECT 1")]),
        st.just([be.ParseComplete()]),
        st.just([be.NoticeResponse({"M": "n"})]),
        st.just([be.BindComplete()]),
        st.just([be.CommandComplete("ROLLBACK")]),
        st.just([be.ErrorResponse(WRONG)]),
    ),
    max_size=6,
).map(lambda groups: [message for group in groups for message in group])


@pytest.mark.skipif(take_replies is None, reason="there is only one implementation")
@settings(deadline=None)
@given(
    replies=st.lists(executions, min_size=1, max_size=2),
    damage=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=2),
    sizes=st.lists(st.integers(1, 80), min_size=1, max_size=6),
    abandoned=st.booleans(),
)
def test_both_implementations_count_alike(
    replies: list[list[be.BackendMessage]], damage: list[tuple[int, int]], sizes: list[int], abandoned: bool
) -> None:
    data = bytearray(wire(*[message for reply in replies for message in [*reply, IDLE]]))
    for where, value in damage:
        data[where % len(data)] = value
    pictures = []
    for implementation in ((python.keep_rows, None), (keep_rows, take_replies)):
        requests = [Tally() for _ in replies]
        proto = ProtocolSession(*implementation)
        proto.start({"user": "test"})
        proto.receive_data(wire(be.AuthenticationOk(), IDLE))
        for request in requests:
            proto.enqueue(request)
        if abandoned:
            requests[-1].abandon()
        error = None
        try:
            feed(proto, bytes(data), sizes)
        except (RemoteProtocolError, LocalProtocolError) as raised:
            error = type(raised), str(raised)
        pictures.append((error, [request.tags for request in requests], picture(proto, requests)))
    assert pictures[0] == pictures[1]


# -- large rows as they are


@pytest.mark.parametrize("directly", [False, True])
@pytest.mark.parametrize("sizes", [[65536], [65536, 1, 300_000], [10**9]])
def test_large_rows_among_small_ones(sizes: list[int], directly: bool) -> None:
    big = random.Random(0).randbytes(700_000)
    rows = [(b"1", b"a", None), (b"2", big, b"x"), (None, b"", big[:70_000]), (b"3", big[:200_000], big[:100_000])] * 2
    request, other = rows_request(), rows_request()
    proto = busy(request, other)
    data = wire(columns("a", "b", "c"), *map(be.DataRow, rows), be.CommandComplete("SELECT 8"), IDLE)
    feed(proto, data + data, sizes, directly)
    assert rows_of(request.results[0]) == rows
    assert rows_of(other.results[0]) == rows


def test_abandoned_in_the_middle_of_a_large_row() -> None:
    first, second = rows_request(), rows_request()
    proto = busy(first, second)
    row = be.DataRow((bytes(MB),)).encode()
    feed(proto, columns("a").encode() + row[:300_000], [65536])
    first.abandon()
    end = wire(be.CommandComplete("SELECT 1"), IDLE)
    feed(proto, row[300_000:] + end + columns("a").encode() + row + end, [65536])
    assert first.results == []
    assert rows_of(second.results[0]) == [(bytes(MB),)]


def test_the_session_may_end_in_the_middle_of_a_large_row() -> None:
    request = rows_request()
    proto = busy(request)
    feed(proto, columns("a").encode() + be.DataRow((bytes(MB),)).encode()[:500_000], [65536])
    proto.fail("enough")
    assert proto.receive_target() is None
    assert isinstance(request.error, OperationalError)


@pytest.mark.parametrize("before", [(), (be.BindComplete(),), (be.NoData(),), (columns("a"), be.CommandComplete("S"))])
@pytest.mark.parametrize("size", [10, 300_000])
def test_a_row_without_a_description(before: tuple[be.BackendMessage, ...], size: int) -> None:
    request = rows_request(extended=False)
    proto = busy(request)
    feed(proto, wire(*before))
    with pytest.raises(RemoteProtocolError, match="no row description"):
        feed(proto, be.DataRow((bytes(size),)).encode(), [65536])


@pytest.mark.parametrize("size", [10, 300_000])
@pytest.mark.parametrize("width", [0, 1, 3])
def test_a_row_of_another_width_than_its_description(width: int, size: int) -> None:
    proto = busy(rows_request())
    feed(proto, columns("a", "b").encode())
    row = be.DataRow((bytes(size), *[b""] * (width - 1)) if width else ()).encode()
    with pytest.raises(RemoteProtocolError, match="columns"):
        feed(proto, row, [65536])


# -- hostile servers


LIVE = [phase for phase in Phase if Phase.NEW < phase < Phase.CLOSED]


@pytest.mark.parametrize("phase", LIVE)
@pytest.mark.parametrize("code", [*BackendCode, 0, ord("Q"), 255])
def test_a_message_out_of_turn(phase: Phase, code: int) -> None:
    proto = in_phase(phase)
    if code in proto.row.handlers:
        return
    with pytest.raises(RemoteProtocolError, match=r"in phase|check host and port|no row description"):
        proto.receive_data(message(code, bytes(1000), 2**20 if phase >= Phase.IDLE else 2**15))


@pytest.mark.parametrize("phase", LIVE)
@pytest.mark.parametrize("length", [0, 1, 3, -1, -4, -(2**31), 2**31 - 1, 0x3FFFFFFF])
def test_a_length_that_cannot_be(phase: Phase, length: int) -> None:
    for code in in_phase(phase).row.handlers:
        with pytest.raises(RemoteProtocolError):
            in_phase(phase).receive_data(message(code, bytes(100), length))


@pytest.mark.parametrize("length", [0, 3, -1, 0x3FFFFFFF])
def test_a_row_of_a_length_that_cannot_be(length: int) -> None:
    for wanted in (True, False):
        proto = busy(rows_request(keeps_rows=wanted))
        feed(proto, wire(columns("a"), be.DataRow((b"1",))))
        with pytest.raises(RemoteProtocolError, match=r"DATA_ROW|columns"):
            proto.receive_data(be.DataRow((b"2",)).encode() + message(ord("D"), bytes(100), length))


def test_the_cap_of_a_message() -> None:
    proto = busy(rows_request(), max_message_size=10_000)
    feed(proto, columns("a").encode())
    feed(proto, be.DataRow((bytes(9_990),)).encode())
    with pytest.raises(RemoteProtocolError, match="10001 bytes"):
        proto.receive_data(be.DataRow((bytes(9_991),)).encode()[:20])


@pytest.mark.parametrize("phase", [Phase.STARTUP, Phase.AUTHENTICATING])
def test_a_server_that_does_not_know_us_has_nothing_large_to_say(phase: Phase) -> None:
    for code in b"ERNv" if phase is Phase.STARTUP else b"ERN":
        with pytest.raises(RemoteProtocolError, match="4 to 30000 are allowed"):
            in_phase(phase).receive_data(message(code, bytes(10), 30_001))
        proto = in_phase(phase)
        proto.receive_data(message(code, bytes(10), 30_000))
        assert proto.phase is phase


@pytest.mark.parametrize("code", sorted(BackendCode))
@pytest.mark.parametrize("whole", [False, True], ids=["its-beginning", "in-one-piece"])
def test_only_some_messages_may_be_long(code: int, whole: bool) -> None:
    """Refused before any of it is kept, and just so if all of it is there."""
    longest = {"T": 16 * MB, "E": 16 * MB, "N": 16 * MB, "A": 100_000, "t": 262_146, "D": MAX, "d": MAX, "V": MAX}
    limit = longest.get(chr(code), 30_000)
    for phase in Phase:
        proto = in_phase(phase)
        if code not in proto.row.handlers or phase < Phase.STARTING:
            continue
        assert proto.longest(code) == limit
        if limit == MAX:
            continue
        text = f"of {limit + 1} bytes, where 4 to {limit} are allowed"
        with pytest.raises(RemoteProtocolError, match=text):
            proto.receive_data(message(code, bytes(limit - 3 if whole else 10), limit + 1))


def test_a_long_tag_is_refused_wherever_it_is() -> None:
    """Also behind a row, and behind a BindComplete of which there may be thousands alike."""
    tag = message(ord("C"), b"x" * 30_000 + b"\0")
    for before in (b"", wire(columns("a"), be.DataRow((b"1",))), wire(be.BindComplete())):
        for counting in (False, True):
            with pytest.raises(RemoteProtocolError, match="of 30005 bytes"):
                busy(rows_request(counting=counting)).receive_data(before + tag)


def test_long_messages_that_may_be() -> None:
    request = rows_request()
    proto = busy(request)
    text = "x" * (16 * MB - 100)
    many = columns(*[f"a column with a name of some length, number {n}" for n in range(1600)])
    feed(proto, wire(be.NoticeResponse({"M": text}), be.NotificationResponse(7, "a", "ä" * 48_000), many), [65536])
    feed(proto, wire(be.ParameterDescription(tuple(range(65535))), be.ErrorResponse({"M": text}), IDLE), [65536])
    notice, notify = proto.events
    assert isinstance(notice, be.NoticeResponse)
    assert notice.fields["M"] == text
    assert isinstance(notify, Notify)
    assert notify.payload == "ä" * 48_000
    assert request.error is not None
    assert request.error.diag.message_primary == text


def test_the_parameters_of_a_server_have_limits() -> None:
    """Those that are reported while it starts, and later: how many, and how long."""
    for phase in (Phase.STARTING, Phase.IDLE, Phase.BUSY):
        for size in (0, 1, 1000, 29_000):
            proto = in_phase(phase)
            names = 0
            with pytest.raises(RemoteProtocolError, match="parameters of more than 262144 bytes"):
                while names < 10_000:
                    proto.receive_data(be.ParameterStatus(f"p{names}", "v" * size).encode())
                    names += 1
            assert names == len(proto.parameters) < 2050
            assert sum(len(value) for value in proto.parameters.values()) <= 262_144


def test_parameters_that_change_are_not_more() -> None:
    proto = in_phase(Phase.IDLE)
    proto.use_codecs(str.lower)
    for turn in range(1000):
        for name in ("a", "b", "client_encoding"):
            proto.receive_data(be.ParameterStatus(name, "x" * (turn % 3 * 9_000)).encode())
    assert set(proto.parameters) == {"a", "b", "client_encoding"}


def test_a_parameter_that_is_reported_again_costs_nothing() -> None:
    """Nothing is derived anew of what has not changed, however often it comes."""
    proto = in_phase(Phase.IDLE)
    looked_up: list[str] = []

    def find(name: str) -> str:
        looked_up.append(name)
        return "utf-8"

    proto.use_codecs(find)
    looked_up.clear()
    proto.receive_data(be.ParameterStatus("client_encoding", "LATIN1").encode())
    known = proto.parameters
    proto.receive_data(be.ParameterStatus("client_encoding", "LATIN1").encode() * 1000)
    assert looked_up == ["LATIN1"]
    assert proto.parameters is known


def test_requests_for_authentication_without_waiting_for_the_answer() -> None:
    proto = in_phase(Phase.STARTUP)
    proto.receive_data(wire(be.AuthenticationSASLFinal(b"v="), be.AuthenticationOk()))
    assert len(proto.authentications) == 2
    proto = in_phase(Phase.STARTUP)
    with pytest.raises(RemoteProtocolError, match="again before it has got an answer"):
        proto.receive_data(be.AuthenticationCleartextPassword().encode() * 10_000)
    assert len(proto.authentications) == 2


@pytest.mark.parametrize("code", list(b"DdTEN"))
def test_memory_grows_by_what_arrives_and_not_by_what_is_claimed(code: int) -> None:
    proto = in_phase(Phase.COPY_OUT if code == ord("d") else Phase.BUSY)
    if code == ord("D"):
        feed(proto, columns("a").encode())
    longest = proto.longest(code)
    claim = message(code, b"\0\1" + struct.pack("!i", longest - 14) + bytes(1000), longest)
    tracemalloc.start()
    try:
        feed(proto, claim + bytes(400_000), [65536])
        assert tracemalloc.get_traced_memory()[1] < 2.5 * MB
    finally:
        tracemalloc.stop()


def test_counts_in_a_message_are_only_claims() -> None:
    tracemalloc.start()
    try:
        for code in (ord("T"), ord("t")):
            with pytest.raises(RemoteProtocolError):
                busy(rows_request()).receive_data(message(code, b"\xff\xff" + bytes(20)))
        with pytest.raises(RemoteProtocolError):
            in_phase(Phase.STARTUP).receive_data(message(ord("v"), b"\0\3\0\0\xff\xff\xff\xff" + b"a\0"))
        assert tracemalloc.get_traced_memory()[1] < MB
    finally:
        tracemalloc.stop()


hostile_messages = st.builds(
    message,
    st.one_of(st.sampled_from([int(code) for code in BackendCode]), st.integers(0, 255)),
    st.one_of(
        st.binary(max_size=40),
        st.sampled_from([b"", b"I", b"\0\0\0\0", b"\0\1\0\0\0\1x", b"\0\1\xff\xff\xff\xff", b"\0\0", b"C42P01\0\0"]),
        st.sampled_from([columns("a").encode()[5:], columns("a", "b").encode()[5:], b"\0\0\0", b"SELECT 1\0"]),
    ),
    st.one_of(st.none(), st.none(), st.none(), st.integers(-5, 50)),
)


@settings(deadline=None, max_examples=400)
@given(
    phase=st.sampled_from(LIVE),
    abandoned=st.booleans(),
    parts=st.lists(st.one_of(hostile_messages, st.binary(max_size=30)), max_size=12),
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=4),
    large=st.booleans(),
)
def test_whatever_a_server_says(
    phase: Phase, abandoned: bool, parts: list[bytes], sizes: list[int], large: bool
) -> None:
    proto = in_phase(phase)
    extra = rows_request(streaming=1)
    if phase >= Phase.IDLE:
        proto.enqueue(extra)
    requests = list(proto.pending)
    if abandoned:
        for request in requests:
            request.abandon()
    with pytest.MonkeyPatch.context() as patch:
        if large:
            patch.setattr(session, "LARGE_MESSAGE", 8)
            patch.setattr(buffer, "LARGE_VALUE", 10)
            patch.setattr(buffer, "FIRST_GROWTH", 16)
        try:
            feed(proto, b"".join(parts), sizes)
        except RemoteProtocolError as error:
            proto.fail("broken", error)
    proto.receive_eof()
    assert proto.phase is Phase.FAILED
    for request in requests:
        assert request.done
        assert request.error is None or isinstance(request.error, Error)
        assert all(isinstance(result, Result) for result in request.results)
    assert isinstance(proto.lost(), Error)
