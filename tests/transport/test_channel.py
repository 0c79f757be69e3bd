"""What every channel has, whatever it leads over."""

from __future__ import annotations

import socket

import pytest

from anyq.transport.channel import Channel, TlsState
from anyq.transport.foreign import ForeignStream
from anyq.transport.socket import SocketStream
from anyq.transport.tls import TlsStream


def test_kinds() -> None:
    """Whether close_now() is all there is to do; and nothing is known about TLS that nobody has negotiated."""
    for kind, at_once in [(SocketStream, True), (TlsStream, True), (ForeignStream, False)]:
        assert issubclass(kind, Channel)
        assert kind.closes_at_once is at_once
        assert kind.tls is None


def test_a_channel_that_cannot_tell() -> None:
    """It does not spend time on looking."""
    assert Channel.readable_within(None, 1000.0) is False  # type: ignore[arg-type]


@pytest.mark.anyio
async def test_a_socket_can_tell() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        stream = SocketStream(ours)
        assert not stream.readable_within(0)
        assert not stream.readable_within(-1)
        theirs.send(b"x")
        assert stream.readable_within(1000)
        # Not for nothing, and not at the cost of what has arrived.
        assert not stream.readable_within(0)
        assert stream.try_receive(10) == b"x"
        stream.close_now()


def test_states_are_values() -> None:
    state = TlsState({"protocol": "TLSv1.3"}, b"der", verified=True, certificate_requested=False)
    assert state == TlsState({"protocol": "TLSv1.3"}, b"der", verified=True, certificate_requested=False)
    assert not state.certificate_sent
