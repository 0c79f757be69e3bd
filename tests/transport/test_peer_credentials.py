"""requirepeer: who has to be at the other end of a Unix-domain socket."""

from __future__ import annotations

import os
import pwd
import socket
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

import anyq
from anyq import errors as e
from anyq.transport import peer_credentials as _peers
from tests.support.fakeserver import FakeClient, fake_server
from tests.support.listeners import dial
from tests.support.server import Server
from tests.support.sockets import open_sockets
from tests.support.stepping import cancel_at_each_wait

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform not in ("linux", "darwin"), reason="only these systems tell"),
]


def user_of(server: Server) -> str:
    """The user that the embedded server runs as."""
    return pwd.getpwuid(Path(server.datadir).stat().st_uid).pw_name


async def test_the_right_one(embedded_server: Server) -> None:
    async with anyq.AsyncConnection.connect(embedded_server.dsn, requirepeer=user_of(embedded_server)) as conn:
        # Over another socket, of which the same is required.
        await conn.cancel_safe()


async def test_another_one(embedded_server: Server) -> None:
    text = f'requirepeer wants a server of the user "nemo", and this one runs as "{user_of(embedded_server)}"'
    with pytest.raises(e.OperationalError, match=text) as caught:
        await anyq.AsyncConnection.connect(embedded_server.dsn, requirepeer="nemo")
    assert str(caught.value).endswith(text)


async def test_nothing_is_sent_to_another_one() -> None:
    async def script(client: FakeClient) -> None:
        await client.expect_end()

    async with fake_server(script, unix=True) as server:
        with pytest.raises(e.OperationalError, match="requirepeer"):
            await anyq.AsyncConnection.connect(server.conninfo, requirepeer="nemo", password="x")


async def test_a_user_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(uid: int) -> Any:
        raise KeyError(uid)

    async def script(client: FakeClient) -> None:
        await client.expect_end()

    async with fake_server(script, unix=True) as server:
        options = anyq.conninfo.resolve(server.conninfo, {"requirepeer": "nemo"}, {})
        monkeypatch.setattr(pwd, "getpwuid", unknown)
        with pytest.raises(e.OperationalError, match=f"runs as the user number {os.geteuid()}, who has no name"):
            await dial(options)


async def test_the_next_host_is_tried(embedded_server: Server) -> None:
    """A socket that somebody else listens at is as good as none."""

    async def script(client: FakeClient) -> None:
        await client.expect_end()

    user = user_of(embedded_server)
    if user == pwd.getpwuid(os.geteuid()).pw_name:
        pytest.skip("the tests and the server run as the same user")
    dsn = anyq.conninfo.conninfo_to_dict(embedded_server.dsn)
    async with fake_server(script, unix=True) as server:
        hosts: dict[str, Any] = {"host": f"{server.host},{dsn['host']}", "port": f"{server.port},{dsn['port']}"}
        conn = await anyq.AsyncConnection.connect(embedded_server.dsn, requirepeer=user, **hosts)
        assert conn.info.host == dsn["host"]
        await conn.close()


async def test_tcp_has_no_peer(embedded_server: Server) -> None:
    async with anyq.AsyncConnection.connect(embedded_server.tcp_dsn, requirepeer="nemo"):
        pass


async def test_systems_that_do_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair()
    monkeypatch.setattr(sys, "platform", "win32")
    with ours, theirs, pytest.raises(OSError, match="not supported on this platform"):
        await _peers.check_peer(ours, "postgres")


async def test_cancelled_at_each_wait(embedded_server: Server, warm_loop: None) -> None:
    before = open_sockets()

    async def connect() -> None:
        async with anyq.AsyncConnection.connect(embedded_server.dsn, requirepeer=user_of(embedded_server)):
            pass

    async def check() -> None:
        assert open_sockets() <= before

    # Worker threads that a cancellation has left alone would only go on.
    assert await cancel_at_each_wait(connect, check) > 3
    await anyio.lowlevel.checkpoint()
