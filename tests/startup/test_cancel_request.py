"""How a CancelRequest is sent, and that it goes no other way than the session."""

from __future__ import annotations

from typing import Any

import anyio
import anyio.to_thread
import pytest
from anyio.from_thread import BlockingPortal

from tests.support.certificates import Certificates
from tests.support.server import Server
from tests.support.tlsproxies import Proxy
from tests.support.tlsproxy import tls_proxy

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("home")]


@pytest.mark.parametrize("negotiation", ["postgres", "direct"])
async def test_cancel_over_tls(negotiation: str, proxy: Proxy, connect: Any, certificates: Certificates) -> None:
    running = proxy()
    options = {"sslmode": "verify-full", "sslrootcert": certificates.root, "sslnegotiation": negotiation}
    way = "direct" if negotiation == "direct" else "tls"
    async with connect(running, autocommit=True, **options) as conn:
        async with anyio.create_task_group() as group:
            group.start_soon(conn.execute, "SELECT pg_sleep(60)")
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()
        cursor = await conn.execute("SELECT 1")
        assert await cursor.fetchone() == (1,)
    assert running.log[:3] == [way, way, "cancel"]
    assert set(running.log[3:]) <= {way, "cancel"}  # if the first came too early, it was sent again
    # By the same name.
    assert set(running.names) == {"localhost"}


async def test_cancel_key_is_not_sent_in_clear(
    embedded_server: Server, tls_portal: BlockingPortal, connect: Any, certificates: Certificates
) -> None:
    context = certificates.server_context("right")
    with tls_proxy(tls_portal, embedded_server.port, context) as running:
        async with connect(running, sslmode="prefer", grace_period=0.5) as conn:
            # From now on the server claims that it has no TLS.
            running.deny_tls()
            with anyio.CancelScope() as scope:
                scope.cancel()
                await conn.execute("SELECT 1")
            async with anyio.create_task_group() as group:
                group.start_soon(conn.execute, "SELECT pg_sleep(60)")
                await anyio.wait_all_tasks_blocked()
                group.cancel_scope.cancel()
            assert conn.broken
        assert "cancel" not in running.log
