"""A request, as the one who waits for it sees it."""

from __future__ import annotations

import pytest

from anyq.protocol import messages as be
from tests.support.sessions import IDLE, busy, columns, feed, rows_of, rows_request, wire


@pytest.mark.parametrize("cut", range(6))
def test_an_abandoned_request_keeps_nothing(cut: int) -> None:
    messages = (
        be.ParseComplete(),
        be.BindComplete(),
        columns("a"),
        be.DataRow((b"1",)),
        be.DataRow((b"2",)),
        be.CommandComplete("SELECT 2"),
    )
    request, other = rows_request(), rows_request()
    proto = busy(request, other)
    feed(proto, wire(*messages[:cut]))
    request.abandon()
    feed(proto, wire(*messages[cut:], IDLE))
    assert request.done
    assert request.results == []
    feed(proto, wire(*messages, IDLE))
    assert rows_of(other.results[0]) == [(b"1",), (b"2",)]


def test_a_streaming_request_is_ready_when_there_are_enough_rows() -> None:
    request = rows_request(streaming=2)
    proto = busy(request)
    feed(proto, wire(columns("a"), be.DataRow((b"1",))))
    assert not request.ready()
    feed(proto, wire(be.DataRow((b"2",))))
    assert request.ready()
    assert request.current is not None
    request.current.count = 0
    assert not request.ready()
    feed(proto, wire(be.CommandComplete("SELECT 2"), IDLE))
    assert request.ready()
