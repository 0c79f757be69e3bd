"""When a CancelRequest is sent, by a clock of our own; what it does is in test_wire and the promise of cancellation."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import anyio
import anyio.abc
import pytest
import trio
import trio.testing

from anyq._accel import keep_rows, take_replies
from anyq.backends import current_backend
from anyq.protocol import frontend
from anyq.protocol import messages as be
from anyq.protocol.request import SimpleRequest
from anyq.protocol.session import ProtocolSession
from anyq.session.cancelling import CANCEL_AGAIN, signals_of_a_cancel_request
from anyq.session.wire import Wire
from anyq.startup.login import next_authentication
from anyq.transport.socket import as_channel
from tests.support.fakeserver import READY


def test_when_a_cancel_request_is_sent_again() -> None:
    """At once, then later and later until the grace time is over."""
    attempts: list[float] = []

    async def main() -> None:
        start = trio.current_time()
        ours, theirs = trio.testing.memory_stream_pair()

        async def canceller(may_send: Callable[[], bool]) -> None:
            assert may_send()
            attempts.append(round(trio.current_time() - start, 6))

        channel = as_channel(_AnyioStream(ours))
        wire = Wire(channel, ProtocolSession(keep_rows, take_replies), current_backend(), canceller=canceller)
        wire.protocol.start({"user": "test"})
        await theirs.send_all(be.AuthenticationOk().encode() + READY.encode())
        while await next_authentication(wire) is not None:
            pass
        data = bytearray()
        frontend.query(data, b"SELECT pg_sleep(1000)")
        with trio.move_on_after(0):
            await wire.run(SimpleRequest(), data)
        assert wire.broken
        assert math.isclose(trio.current_time() - start, 5, abs_tol=1e-3)

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    expected = [0.0]
    while expected[-1] + CANCEL_AGAIN * 2 ** (len(expected) - 1) < 5:
        expected.append(round(expected[-1] + CANCEL_AGAIN * 2 ** (len(expected) - 1), 6))
    assert attempts == expected


@pytest.mark.parametrize(
    ("version", "signals"),
    [
        *[(version, 2) for version in ("9.6.24", "14.0", "15.14 (Debian 15.14-0+deb12u1)", "17beta1", "17.6")],
        *[(version, 1) for version in ("18beta1", "18.0", "18.1 (Ubuntu)", "19devel", "100.1")],
        *[(version, 2) for version in ("", "x", "-18", " 18", "CockroachDB", "\u0661\u0668.0")],
        ("9" * 5000, 1),
    ],
)
def test_how_many_statements_a_cancel_request_may_hit(version: str, signals: int) -> None:
    assert signals_of_a_cancel_request(version) == signals


class _AnyioStream(anyio.abc.ByteStream):
    """A trio stream for anyio."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    async def send(self, item: bytes) -> None:
        await self._stream.send_all(item)

    async def receive(self, max_bytes: int = 65536) -> bytes:
        data = await self._stream.receive_some(max_bytes)
        if not data:
            raise anyio.EndOfStream
        return bytes(data)

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()
