"""Servers, and those in between, that cheat while TLS is being made: what tests of them share."""

from __future__ import annotations

import ssl
from typing import Any

import anyio
import pytest

from anyq import AsyncConnection
from anyq import errors as e
from anyq.protocol import messages as be
from tests.support import frontend_messages as fm
from tests.support.fakeserver import FakeClient, FakeServer, Script, fake_server

PATIENCE = 20.0


FORGED = "call this number to have your password restored"
"""What somebody in between would have shown to the user."""

SECRET = "s3cr3t"


async def connect_to(server: FakeServer, **kwargs: Any) -> AsyncConnection[Any]:
    """Connect with the password, which must be in no message."""
    with anyio.fail_after(PATIENCE):
        return await AsyncConnection.connect(server.conninfo, **{"password": SECRET, **kwargs})


async def let_in(client: FakeClient) -> None:
    await client.accept_startup()
    await client.expect(fm.Terminate)


def refusal(code: str, text: str = "no") -> be.ErrorResponse:
    return be.ErrorResponse({"S": "FATAL", "V": "FATAL", "C": code, "M": text})


async def refused(*scripts: Script, **kwargs: Any) -> str:
    """Connect, expect an error, return its message."""
    async with fake_server(*scripts) as server:
        with pytest.raises(e.OperationalError) as caught:
            await connect_to(server, **kwargs)
    assert SECRET not in str(caught.value)
    return str(caught.value)


def answer(*pieces: bytes) -> Script:
    """Return the script of a server that answers SSLRequest with these bytes, in packets of their own."""

    async def script(client: FakeClient) -> None:
        await client.expect(fm.SSLRequest)
        for piece in pieces:
            await client.send_raw(piece)
        await client.expect_end()

    return script


def refusing_for_two_reasons(context: ssl.SSLContext) -> tuple[Script, Script]:
    """Return what a server does that refuses with TLS for one reason, and without for another."""

    async def with_tls(client: FakeClient) -> None:
        await client.start_tls(context)
        await client.expect(fm.Startup)
        await client.send(refusal("28P01", "wrong password"))

    async def in_clear(client: FakeClient) -> None:
        await client.expect(fm.Startup)
        await client.send(refusal("28000", "no entry"))

    return with_tls, in_clear
