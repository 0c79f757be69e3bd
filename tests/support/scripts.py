"""Scripts of servers that several folders' tests are told by."""

from __future__ import annotations

import anyq
from anyq.protocol import messages as be
from tests.support import frontend_messages as fm
from tests.support.fakeserver import FakeClient, FakeServer, Script


async def in_recovery(conn: anyq.AsyncConnection) -> bool:
    cur = await conn.execute("SELECT pg_is_in_recovery()")
    row = await cur.fetchone()
    assert row is not None
    return bool(row[0])


HOT_STANDBY = {"in_hot_standby": "on", "default_transaction_read_only": "off"}


PRIMARY = {"in_hot_standby": "off", "default_transaction_read_only": "off"}


READ_ONLY = {"in_hot_standby": "off", "default_transaction_read_only": "on"}


def session(parameters: dict[str, str]) -> Script:
    """A server that reports these parameters, and that the client takes leave of."""

    async def script(client: FakeClient) -> None:
        await client.accept_startup(parameters=parameters)
        await client.expect(fm.Terminate)
        await client.expect_end()

    return script


def refusing(code: str, message: str = "go away") -> Script:
    async def script(client: FakeClient) -> None:
        await client.expect(fm.Startup)
        await client.send(be.ErrorResponse({"S": "FATAL", "V": "FATAL", "C": code, "M": message}))

    return script


def several(server: FakeServer, count: int) -> str:
    return f"{server.conninfo} host={','.join([server.host] * count)}"
