"""Bytes out, bytes in and the end, against a channel that follows a script: no event loop, no socket, no clock."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import Any

import anyio
import pytest

from anyq import errors
from anyq.protocol import frontend
from anyq.protocol import messages as be
from anyq.protocol.constants import Format
from anyq.protocol.request import Request, SimpleRequest
from anyq.protocol.session_state import Notify
from anyq.session.link import CHUNK, END, NOTHING, SOMETHING, Link
from anyq.transport.channel import Buffer, Channel
from tests.support.sessions import IDLE, MB, SHUTDOWN, columns, rows_of, rows_request, started, wire


class ScriptedChannel(Channel):
    """Takes as much as it has room for; gives what it was told to."""

    def __init__(self) -> None:
        self.room = 10**9
        self.sent = bytearray()
        self.arrivals: deque[bytes | None | BaseException] = deque()
        """What comes, attempt by attempt; None for an attempt that finds nothing, as is any when there is no more."""
        self.incoming = bytearray()
        """What comes after that, as much as is asked for."""
        self.received_into = 0
        self.send_error: Exception | None = None
        self.readable_soon = False
        self.wakes = 0
        self.closes = 0

    def try_send(self, data: Buffer) -> int:
        if self.send_error is not None:
            raise self.send_error
        taken = min(len(data), self.room)
        self.room -= taken
        self.sent += memoryview(data)[:taken]
        return taken

    def try_receive(self, max_bytes: int) -> bytes | None:
        arrival = self.arrivals.popleft() if self.arrivals else None
        if isinstance(arrival, BaseException):
            raise arrival
        if arrival is None and self.incoming:
            arrival = bytes(self.incoming[:max_bytes])
            del self.incoming[:max_bytes]
        assert arrival is None or len(arrival) <= max_bytes
        return arrival

    def try_receive_into(self, view: memoryview) -> int | None:
        arrival = self.try_receive(len(view))
        if arrival is None:
            return None
        view[: len(arrival)] = arrival
        self.received_into += len(arrival)
        return len(arrival)

    def readable_within(self, seconds: float) -> bool:
        return seconds > 0 and self.readable_soon

    async def wait(self, readable: bool, writable: bool) -> None:
        raise AssertionError("a link does not wait")

    def wake(self) -> None:
        self.wakes += 1

    def fileno(self) -> int:
        raise OSError("there is no socket")

    def close_now(self) -> None:
        self.closes += 1

    async def aclose(self) -> None:
        self.closes += 1


class _Waiter:
    def __init__(self) -> None:
        self.woken = False

    def set(self) -> None:
        self.woken = True


@pytest.fixture
def channel() -> ScriptedChannel:
    return ScriptedChannel()


@pytest.fixture
def link(channel: ScriptedChannel) -> Link:
    """One that is ready for requests."""
    return Link(channel, started())


def enqueue(link: Link, request: Request) -> Request:
    link.protocol.enqueue(request)
    return request


# -- sending


def test_what_the_socket_does_not_take_goes_before_the_rest(link: Link, channel: ScriptedChannel) -> None:
    channel.room = 3
    link.send(b"first")
    # The one who waits at the channel is to watch for room to send.
    assert channel.wakes == 1
    link.send(b" second")
    assert channel.sent == b"fir"
    channel.room = 4
    link.flush()
    assert channel.sent == b"first s"
    assert channel.wakes == 2
    channel.room = 100
    assert link.receive() is NOTHING
    assert channel.sent == b"first second"
    assert not link.unsent
    assert channel.wakes == 2


def test_what_is_put_is_sent_with_the_next_flush(link: Link, channel: ScriptedChannel) -> None:
    link.put(b"first")
    link.put(b" second")
    assert channel.sent == b""
    link.flush()
    assert channel.sent == b"first second"


@pytest.mark.parametrize("put", [False, True])
def test_what_the_protocol_says_goes_between_requests(link: Link, channel: ScriptedChannel, put: bool) -> None:
    channel.room = 3
    link.send(b"first")
    link.protocol.outgoing += b" answer"
    (link.put if put else link.send)(b" second")
    channel.room = 100
    link.flush()
    assert channel.sent == b"first answer second"
    assert not link.protocol.outgoing


@pytest.mark.parametrize("put", [False, True])
def test_what_the_protocol_says_goes_before_new_data(link: Link, channel: ScriptedChannel, put: bool) -> None:
    """Though nothing is left over, and the socket takes all of it."""
    link.protocol.outgoing += b"answer"
    (link.put if put else link.send)(b" request")
    assert channel.sent == b""
    link.flush()
    assert channel.sent == b"answer request"
    link.send(b" next")
    assert channel.sent == b"answer request next"


def test_nothing_is_sent_while_a_cancel_request_is_in_progress(link: Link, channel: ScriptedChannel) -> None:
    link.cancel_in_progress = True
    link.send(b"first")
    link.flush()
    link.protocol.outgoing += b" answer"
    assert link.receive() is NOTHING
    link.flush()
    assert channel.sent == b""
    link.cancel_in_progress = False
    assert link.receive() is NOTHING
    assert channel.sent == b"first answer"


@pytest.mark.parametrize("error", [anyio.BrokenResourceError(), anyio.ClosedResourceError()])
@pytest.mark.parametrize("at_once", [True, False])
def test_what_the_server_said_before_sending_failed(
    link: Link, channel: ScriptedChannel, error: Exception, at_once: bool
) -> None:
    request = enqueue(link, Request())
    channel.send_error = error
    if at_once:
        link.send(b"query")
    else:
        link.put(b"query")
        link.flush()
    link.flush()
    assert not request.done
    channel.arrivals += [wire(be.ErrorResponse(SHUTDOWN)), b""]
    assert link.receive() is SOMETHING
    assert link.receive() is END
    assert "going down" in str(request.error)


# -- receiving


def test_a_reply(link: Link, channel: ScriptedChannel) -> None:
    request = enqueue(link, rows_request())
    reply = wire(columns("a"), be.DataRow((b"1",)), be.CommandComplete("SELECT 1"), IDLE)
    channel.arrivals += [None, reply[:20], reply[20:]]
    assert link.receive() is NOTHING
    assert link.receive() is SOMETHING
    assert not request.done
    assert link.receive() is SOMETHING
    assert link.receive() is NOTHING
    assert rows_of(request.results[0]) == [(b"1",)]


def test_looking_for_longer(link: Link, channel: ScriptedChannel) -> None:
    notice = wire(be.NoticeResponse({"M": "hello"}))
    channel.readable_soon = True
    channel.arrivals += [None, notice]
    # Not asked to, and too late,
    assert link.receive() is NOTHING
    channel.arrivals.appendleft(None)
    assert link.receive(perf_counter() - 1) is NOTHING
    # in time,
    channel.arrivals.appendleft(None)
    assert link.receive(perf_counter() + 1000) is SOMETHING
    # and half a record of TLS.
    channel.arrivals += [None, None]
    assert link.receive(perf_counter() + 1000) is NOTHING


def test_big_values_are_received_to_where_they_belong(link: Link, channel: ScriptedChannel) -> None:
    request = enqueue(link, rows_request())
    row = b"x" * MB, b"short", b"y" * MB
    channel.incoming += wire(columns("a", "b", "c"), be.DataRow(row), be.CommandComplete("SELECT 1"), IDLE)
    while not request.done:
        assert link.receive() is SOMETHING
    assert link.receive() is NOTHING
    assert rows_of(request.results[0]) == [row]
    # Most of it, but not what is between the values.
    assert channel.received_into > 1.5 * MB


def test_the_end_in_the_middle_of_a_big_value(link: Link, channel: ScriptedChannel) -> None:
    request = enqueue(link, rows_request())
    channel.arrivals += [wire(columns("a"), be.DataRow((b"x" * MB,)))[:CHUNK], b""]
    assert link.receive() is SOMETHING
    assert link.receive() is END
    assert request.error is not None


def test_a_chunk_in_portions(link: Link, channel: ScriptedChannel) -> None:
    """Nothing more is taken from the channel before all of it is processed."""
    events: list[be.NoticeResponse | Notify] = []
    link.on_event = events.append
    notices = wire(*[be.NoticeResponse({"M": str(number)}) for number in range(25)])
    channel.arrivals += [notices[:-3], notices[-3:], b""]
    counts = []
    while link.receive(0.0, 10) is not END:
        counts.append(len(events))
    assert counts == [10, 20, 24, 25]
    assert link.closed


def test_the_head_is_woken_when_it_is_ready(link: Link, channel: ScriptedChannel) -> None:
    request = enqueue(link, rows_request(streaming=2))
    waiter = request.waiter = _Waiter()
    channel.arrivals += [wire(columns("a"), be.DataRow((b"1",))), wire(be.DataRow((b"2",)))]
    assert link.receive() is SOMETHING
    assert not waiter.woken
    assert link.receive() is SOMETHING
    assert waiter.woken


def test_what_is_no_reply_is_handed_on(link: Link, channel: ScriptedChannel) -> None:
    events: list[be.NoticeResponse | Notify] = []
    link.on_event = events.append
    channel.arrivals += [wire(be.NotificationResponse(7, "news", "one"), be.NotificationResponse(7, "news", "two"))]
    assert link.receive() is SOMETHING
    assert [event.payload for event in events if isinstance(event, Notify)] == ["one", "two"]
    # Where nobody wants it, it is not kept.
    link.on_event = None
    channel.arrivals += [wire(be.NotificationResponse(7, "news", "three"))]
    assert link.receive() is SOMETHING
    assert not link.protocol.events


def test_what_the_protocol_answers_is_sent_at_once(link: Link, channel: ScriptedChannel) -> None:
    enqueue(link, SimpleRequest())
    channel.arrivals.append(wire(be.CopyInResponse(Format.TEXT, ())))
    assert link.receive() is SOMETHING
    assert channel.sent[:1] == b"f"
    assert not link.protocol.outgoing


# -- the end


@pytest.mark.parametrize(
    ("arrival", "kind", "text"),
    [
        pytest.param(b"", errors.OperationalError, "closed the connection unexpectedly", id="end-of-file"),
        pytest.param(anyio.EndOfStream(), errors.OperationalError, "was lost", id="end-of-stream"),
        pytest.param(anyio.BrokenResourceError("reset"), errors.OperationalError, "was lost: reset", id="broken"),
        pytest.param(b"nonsense", errors.RemoteProtocolError, "broke the protocol", id="nonsense"),
    ],
)
def test_the_server_or_the_network_ends_it(
    link: Link, channel: ScriptedChannel, arrival: bytes | Exception, kind: type[Exception], text: str
) -> None:
    ends: list[str] = []
    link.on_end = lambda: ends.append("end")
    requests = [enqueue(link, Request()), enqueue(link, Request())]
    link.put(b"query")
    channel.room = 0
    channel.arrivals.append(arrival)
    assert link.receive() is END
    assert link.receive() is END
    assert link.broken
    assert channel.closes
    assert ends == ["end"]
    assert not link.unsent
    for request in requests:
        assert type(request.error) is kind
        assert text in str(request.error)


def test_what_came_before_nonsense_is_handed_on(link: Link, channel: ScriptedChannel) -> None:
    events: list[be.NoticeResponse | Notify] = []
    link.on_event = events.append
    channel.arrivals.append(wire(be.NotificationResponse(7, "news", "last")) + b"nonsense")
    assert link.receive() is END
    assert len(events) == 1


# -- what goes wrong amid a chunk


BOMB = wire(
    columns("a"),
    be.DataRow((b"1",)),
    be.CommandComplete("SELECT 1"),
    be.ParameterStatus("client_encoding", "bomb"),
    IDLE,
)
"""A reply with something that goes wrong before its end."""

FORGED = wire(be.CommandComplete("UPDATE 1000"), IDLE)
"""What somebody has stored, and what follows in the stream of bytes."""


class _Interrupt(BaseException):
    """As Ctrl-C is one."""


def explode(error: BaseException) -> Callable[[object], str]:
    def raise_it(argument: object) -> str:
        raise error

    return raise_it


ODD = [
    MemoryError(),
    LookupError("unknown encoding: EUC_TW"),
    RecursionError("too deep"),
    UnicodeDecodeError("a", b"", 0, 1, "x"),
]


def closed_by(link: Link, channel: ScriptedChannel, requests: list[Request], ends: list[str]) -> None:
    """Everyone has been told, and nothing that follows is looked at."""
    assert link.broken
    assert channel.closes
    assert ends == ["end"]
    channel.arrivals.append(FORGED)
    assert link.receive() is END
    assert channel.arrivals
    for request in requests:
        assert request.done
        assert type(request.error) is errors.OperationalError
        assert not request.results or request.results[0].tag == "SELECT 1"


@pytest.mark.parametrize("error", ODD, ids=repr)
@pytest.mark.parametrize("where", ["codec", "event"])
def test_any_error_amid_a_chunk_closes(link: Link, channel: ScriptedChannel, error: Exception, where: str) -> None:
    ends: list[str] = []
    link.on_end = lambda: ends.append("end")
    requests = [enqueue(link, rows_request()), enqueue(link, Request())]
    if where == "codec":
        link.protocol.find_codec = explode(error)
        channel.arrivals.append(BOMB)
    else:
        link.on_event = explode(error)  # type: ignore[assignment]
        channel.arrivals.append(wire(be.NotificationResponse(7, "news", "one")) + BOMB[:20])
    assert link.receive() is END
    closed_by(link, channel, requests, ends)
    for request in requests:
        assert "could not be taken in" in str(request.error)
        assert repr(error) in str(request.error)
        assert request.error is not None
        assert request.error.__cause__ is error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), _Interrupt(), SystemExit()], ids=repr)
@pytest.mark.parametrize("where", ["channel", "codec", "event", "waiter"])
def test_an_interrupt_amid_a_chunk_closes_and_is_passed_on(
    link: Link, channel: ScriptedChannel, error: BaseException, where: str
) -> None:
    ends: list[str] = []
    link.on_end = lambda: ends.append("end")
    requests = [enqueue(link, rows_request()), enqueue(link, Request())]
    channel.arrivals.append(wire(be.NotificationResponse(7, "news", "one")) + BOMB[:70])
    match where:
        case "channel":
            channel.arrivals.appendleft(error)
        case "codec":
            link.protocol.find_codec = explode(error)
            channel.arrivals = deque([BOMB])
        case "event":
            link.on_event = explode(error)  # type: ignore[assignment]
        case _:
            link.protocol.pending[0].ready = lambda: bool(explode(error)(None))  # type: ignore[method-assign]
            link.protocol.pending[0].waiter = _Waiter()
    with pytest.raises(type(error)) as caught:
        link.receive()
    assert caught.value is error
    closed_by(link, channel, requests, ends)
    assert "interrupted" in str(requests[0].error)


def test_a_value_without_memory(link: Link, channel: ScriptedChannel, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says which, and closes: nobody can have the rest of such a row."""

    class Narrow(io.BytesIO):
        def write(self, data: Any) -> int:
            if self.tell() > 2 * MB:
                raise MemoryError
            return super().write(data)

    monkeypatch.setattr("anyq.protocol.buffer.io.BytesIO", Narrow)
    request = enqueue(link, rows_request())
    channel.incoming += wire(
        columns("a", "b"), be.DataRow((b"small", b"x" * (3 * MB))), be.CommandComplete("SELECT 1"), IDLE
    )
    while link.receive() is SOMETHING:
        pass
    assert link.broken
    assert f"no memory for a value of {3 * MB:,} bytes, in column 2 of a row" in str(request.error)


# -- closing


def test_closing_says_goodbye(link: Link, channel: ScriptedChannel) -> None:
    request = enqueue(link, Request())
    link.close()
    assert channel.sent == frontend.TERMINATE
    assert channel.closes
    assert link.closed
    assert not link.broken
    assert "was closed while the operation was under way" in str(request.error)
    link.close()
    assert channel.sent == frontend.TERMINATE


def test_no_goodbye_in_the_middle_of_something(link: Link, channel: ScriptedChannel) -> None:
    channel.room = 3
    link.send(b"query")
    channel.room = 100
    link.close()
    assert channel.sent == b"que"


@pytest.mark.parametrize("what", ["pieces", "cancel"])
def test_no_goodbye_while_nothing_else_may_be_sent(link: Link, channel: ScriptedChannel, what: str) -> None:
    request = enqueue(link, Request())
    if what == "pieces":
        link.in_pieces = request
    else:
        link.cancel_in_progress = True
    link.close()
    assert channel.sent == b""
    assert link.in_pieces is None


def test_aborting_says_nothing(link: Link, channel: ScriptedChannel) -> None:
    link.abort("the reason")
    assert channel.sent == b""
    assert link.broken
    assert "the reason" in link.protocol.closed_reason()


@pytest.mark.anyio
@pytest.mark.parametrize("at_once", [True, False])
async def test_closing_a_stream_of_the_callers(link: Link, channel: ScriptedChannel, at_once: bool) -> None:
    ends: list[str] = []
    link.on_end = lambda: ends.append("end")
    channel.closes_at_once = at_once
    await link.aclose()
    assert channel.sent == frontend.TERMINATE
    assert channel.closes == 1
    assert ends == ["end"]
    assert not link.broken
