"""What is used of other libraries without being promised by them: when one of these fails, the module it names is next.

Each test says what the module relies on, in as few words as it takes to see what has changed.
"""

from __future__ import annotations

import asyncio
import math
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from anyio.streams.memory import MemoryObjectReceiveStream

from anyq.backends import asyncio_backend, current_backend
from anyq.transport import tls
from tests.support.certificates import Certificates

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_anyios_token_leads_to_its_checkpoint(anyio_backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """backends/asyncio_backend.py, checkpoint_if_cancelled(): without the token, the slower public one."""
    monkeypatch.setattr(asyncio_backend, "_anyio_functions", None)
    await current_backend().checkpoint_if_cancelled()
    found: Any = asyncio_backend._anyio_functions
    token: Any = anyio.lowlevel.current_token()
    if isinstance(token, asyncio.AbstractEventLoop):
        assert found is anyio.lowlevel  # before anyio 4.11
    else:
        assert found is token.backend_class, "the cancellation check has become slower: it asks for the event loop"
        check: Callable[[], Awaitable[None]] = found.checkpoint_if_cancelled
        with anyio.CancelScope() as scope:
            scope.cancel()
            await check()
        assert scope.cancelled_caught


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_asyncio_takes_what_looks_like_a_future(anyio_backend: str) -> None:
    """backends/asyncio_backend.py, _ReusableFuture."""
    made: Any = asyncio_backend._ReusableFuture(asyncio.get_running_loop())
    takes: Callable[[object], bool] = asyncio.isfuture
    assert takes(made)
    resumed = 0

    async def wait() -> None:
        nonlocal resumed
        for _ in range(2):
            await made
            resumed += 1

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        for number in range(2):
            await anyio.wait_all_tasks_blocked()
            assert resumed == number
            made.resume_soon()


def test_anyios_memory_stream_shows_its_state() -> None:
    """notifications/subscription.py, Subscription and NotificationStream."""
    send, receive = anyio.create_memory_object_stream[int](math.inf)
    state: Any = receive._state
    another: MemoryObjectReceiveStream[int] = MemoryObjectReceiveStream(state)
    assert state.open_receive_channels == 2
    state.buffer.append(1)
    assert another.receive_nowait() == 1
    another.close()
    assert another._closed
    receive.close()
    assert state.open_receive_channels == 0
    send.close()


@pytest.mark.parametrize("asks", [False, True])
def test_python_tells_of_messages_in_the_handshake(asks: bool, certificates: Certificates) -> None:
    """transport/tls.py, watch_certificate_requests(): sslcertmode=require is refused where this cannot be told."""
    server_context = certificates.server_context("right", verify=asks)
    context = ssl.create_default_context(cafile=str(certificates.root))
    assert tls.watch_certificate_requests(context), "ssl.SSLContext has no _msg_callback any more"
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(to_client, to_server, server_hostname="localhost")
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    with pytest.raises(ssl.SSLWantReadError):
        server.do_handshake()
    client.do_handshake()
    assert isinstance(client, tls.WatchedObject)
    assert client.certificate_requested is asks
