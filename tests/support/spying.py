"""What goes through a connection, noted: objects put in the place of what the wire holds, as the compiled wire has no
dictionary that a method could be replaced in."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest

from anyq import AsyncConnection
from anyq.sync.direct import Direct


class PassingChannel:
    """The channel of a connection, for methods to be put into the place of those that it has."""

    def __init__(self, channel: Any) -> None:
        self.channel = channel

    def __getattr__(self, name: str) -> Any:
        return getattr(self.channel, name)


def passing(conn: AsyncConnection[Any]) -> Any:
    """Return what is a connection's channel from now on."""
    wire: Any = conn.session.wire
    wire.channel = channel = PassingChannel(wire.channel)
    return channel


class NotingChannel(PassingChannel):
    """The same, which notes what is sent."""

    def __init__(self, channel: Any) -> None:
        super().__init__(channel)
        self.sent: list[bytes] = []

    def try_send(self, data: Any) -> int:
        sent: int = self.channel.try_send(data)
        self.sent.append(bytes(data[:sent]))
        return sent


def spy_on_bytes(conn: AsyncConnection[Any]) -> list[bytes]:
    """Return what is sent from now on, piece by piece: request by request, where one goes out alone."""
    wire: Any = conn.session.wire
    wire.channel = noting = NotingChannel(wire.channel)
    return noting.sent


class NotingDeque(deque[Any]):
    """Requests under way, which notes those that come."""

    def __init__(self, *requests: Any) -> None:
        super().__init__(*requests)
        self.noted: list[Any] = []

    def append(self, request: Any) -> None:
        self.noted.append(request)
        super().append(request)


def spy_on_requests(conn: AsyncConnection[Any]) -> list[Any]:
    """Return the requests that are sent from now on."""
    protocol: Any = conn.session.wire.protocol
    protocol.pending = noting = NotingDeque(protocol.pending)
    return noting.noted


def in_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have each method called that there is in Python; for what is compiled see `tests/_accel/test_driving.py`."""
    monkeypatch.setattr(Direct, "call", Direct.call_in_python)
