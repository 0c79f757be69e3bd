"""What is interrupted between the FIFO and the socket closes the connection: no reply would ever come."""

from __future__ import annotations

from typing import Any

import pytest

from anyq import AsyncConnection
from anyq import errors as e
from anyq.protocol import frontend
from anyq.protocol.request import Request
from anyq.session.link import TORN
from tests.support.state import is_closed

pytestmark = pytest.mark.anyio


def interrupt(*args: object) -> Any:
    raise KeyboardInterrupt


@pytest.mark.parametrize("what", ["enqueue", "try_send", "put"])
async def test_interrupted_while_a_request_is_sent(
    conn: AsyncConnection, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    wire = conn.session.wire
    await conn.execute("SELECT 1")
    if what == "put":
        wire.submit(Request(), frontend.SYNC)
    monkeypatch.setattr(
        wire.protocol if what == "enqueue" else wire.channel if what == "try_send" else wire, what, interrupt
    )
    with pytest.raises(KeyboardInterrupt):
        await conn.execute("SELECT 2")
    assert is_closed(conn)
    with pytest.raises(e.OperationalError, match=TORN):
        await conn.execute("SELECT 3")


async def test_interrupted_when_a_request_in_pieces_ends(
    conn: AsyncConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire = conn.session.wire
    request = Request()
    await wire.turn()
    wire.open(request)
    monkeypatch.setattr(wire.channel, "try_send", interrupt)
    with pytest.raises(KeyboardInterrupt):
        wire.close_request(request, frontend.SYNC)
    assert is_closed(conn)
    assert request.done
    assert not wire.sending


async def test_a_session_that_is_over_is_not_interrupted(conn: AsyncConnection) -> None:
    await conn.close()
    with pytest.raises(e.LocalProtocolError):
        conn.session.wire.submit(Request(), frontend.SYNC)
    with pytest.raises(e.OperationalError, match="the connection is closed"):
        await conn.session.wire.turn()
