"""Routes to a server: streams that a function of the caller's opens, and one that the caller has opened."""

from __future__ import annotations

import logging
import socket
from typing import Any

import anyio
import anyio.abc
import pytest
from anyio.abc import ByteStream

import anyq
from anyq import errors as e
from anyq.conninfo import HostSpec
from anyq.protocol import messages as be
from anyq.protocol.constants import PROTOCOL_3_0, PROTOCOL_3_2
from anyq.transport.socket import SocketStream
from tests.support import frontend_messages as fm
from tests.support.activity import held_lock, until_sleeping
from tests.support.deadlines import LIMIT, Deadlines
from tests.support.fakeserver import FakeClient, fake_server
from tests.support.sockets import open_sockets
from tests.support.stepping import cancel_at_each_wait

pytestmark = pytest.mark.anyio

PATIENCE = 20.0


class Dialler:
    """Dials as anybody would, and remembers."""

    def __init__(self) -> None:
        self.asked: list[HostSpec] = []

    async def __call__(self, host: HostSpec) -> ByteStream:
        self.asked.append(host)
        if host.socket_path is not None:
            return await anyio.connect_unix(host.socket_path)
        return await anyio.connect_tcp(host.hostaddr or host.host, host.port)


async def test_a_session(dsn: str) -> None:
    dial = Dialler()
    async with anyq.AsyncConnection.connect(dsn, dial=dial) as conn:
        cur = await conn.execute("SELECT 1")
        assert await cur.fetchone() == (1,)
        (host,) = dial.asked
        assert (conn.info.host, conn.info.port) == (host.host, host.port)
        assert conn.fileno() >= 0


async def test_a_statement_is_cancelled_over_another_stream(dsn: str) -> None:
    dial = Dialler()
    async with anyq.AsyncConnection.connect(dsn, dial=dial, autocommit=True) as conn:
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as group:
                group.start_soon(conn.execute, "SELECT pg_sleep(1000)")
                await until_sleeping(dsn, conn.info.backend_pid)
                group.cancel_scope.cancel()
            cur = await conn.execute("SELECT 1")
            assert await cur.fetchone() == (1,)
            await conn.cancel_safe()
        assert len(dial.asked) >= 3
        assert len(set(dial.asked)) == 1


def test_the_synchronous_connection(dsn: str) -> None:
    dial = Dialler()
    with anyq.connect(dsn, dial=dial) as conn:
        assert conn.execute("SELECT 1").fetchone() == (1,)
    assert len(dial.asked) == 1


async def test_a_listener(dsn: str) -> None:
    dial = Dialler()
    async with anyq.listen(dsn, "anyq_test_dial", dial=dial) as listener:
        assert listener.connection is not None
        await listener.connection.notify("anyq_test_dial", "x")
        event = await listener.stream.receive()
        assert isinstance(event, anyq.Notify) and event.payload == "x"
    assert len(dial.asked) == 1


@pytest.mark.parametrize("error", [OSError("no way"), e.OperationalError("no way")])
async def test_the_next_host_after_a_failure(error: Exception, dsn: str) -> None:
    good = Dialler()

    async def dial(host: HostSpec) -> ByteStream:
        if host.host == "bad":
            raise error
        return await good(host)

    host = anyq.conninfo.resolve(dsn, {}, {}).hosts[0]
    hosts: dict[str, Any] = {"host": f"bad,{host.host}", "port": f"1,{host.port}"}
    async with anyq.AsyncConnection.connect(dsn, dial=dial, **hosts) as conn:
        assert conn.info.host == host.host
    with pytest.raises(e.OperationalError) as caught:
        await anyq.AsyncConnection.connect(dsn, dial=dial, host="bad,bad", port="1,2")
    assert str(caught.value).splitlines()[1:] == [f'- host "bad", port {port}: no way' for port in (1, 2)]
    assert caught.value.__cause__ is error


async def test_other_errors_are_the_callers() -> None:
    async def dial(host: HostSpec) -> ByteStream:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await anyq.AsyncConnection.connect("host=a,b user=u", dial=dial)


async def test_what_is_no_stream() -> None:
    async def dial(host: HostSpec) -> Any:
        return object()

    with pytest.raises(TypeError, match=r"expected an anyio\.abc\.ByteStream, not object"):
        await anyq.AsyncConnection.connect("host=a user=u", dial=dial)


async def test_a_dial_that_takes_too_long(deadlines: Deadlines) -> None:
    async def dial(host: HostSpec) -> ByteStream:
        deadlines.pass_now()
        await anyio.sleep_forever()
        raise AssertionError

    with pytest.raises(e.ConnectionTimeout, match=r'host "a", port 5432: dial\(\) did not open .* connect_timeout'):
        await anyq.AsyncConnection.connect("host=a user=u", connect_timeout=LIMIT, dial=dial)


async def test_a_stream_and_a_dial(dsn: str) -> None:
    send, receive = anyio.create_memory_object_stream[bytes](1)
    stream = MemoryStream(send, receive)
    with pytest.raises(e.ProgrammingError, match="exclude each other"):
        await anyq.AsyncConnection.connect(dsn, stream=stream, dial=Dialler())
    assert stream.closed


class MemoryStream(ByteStream):
    """A stream whose end can be seen."""

    def __init__(self, send: Any, receive: Any) -> None:
        self._ends = [send, receive]
        self.closed = False

    async def receive(self, max_bytes: int = 65536) -> bytes:
        raise anyio.EndOfStream

    async def send(self, item: bytes) -> None:
        pass

    async def send_eof(self) -> None:
        pass

    async def aclose(self) -> None:
        self.closed = True
        for end in self._ends:
            end.close()


async def test_a_dial_that_fails_when_a_statement_is_cancelled(dsn: str, caplog: pytest.LogCaptureFixture) -> None:
    """The statement goes on to its end, in the grace time; the caller's error goes nowhere else than into the log."""
    good = Dialler()

    async def dial(host: HostSpec) -> ByteStream:
        if good.asked:
            failed.set()
            raise ZeroDivisionError("broken")
        return await good(host)

    failed = anyio.Event()

    async with anyq.AsyncConnection.connect(dsn, dial=dial, autocommit=True) as conn, held_lock(dsn) as lock:
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as group:
                group.start_soon(conn.execute, lock.statement)
                await lock.until_wanted(conn.info.backend_pid)
                group.cancel_scope.cancel()
                with anyio.CancelScope(shield=True):
                    await failed.wait()
                    await lock.release()
            cur = await conn.execute("SELECT 1")
            assert await cur.fetchone() == (1,)
            with pytest.raises(e.OperationalError, match="could not open another stream: ZeroDivisionError"):
                await conn.cancel_safe()
    assert any(
        record.levelno == logging.WARNING and "could not open another stream" in record.getMessage()
        for record in caplog.records
    )


async def test_an_old_server_is_dialled_again() -> None:
    async def refuse(client: FakeClient) -> None:
        await client.expect(fm.Startup, version=PROTOCOL_3_2)
        await client.send(be.ErrorResponse({"S": "FATAL", "C": "08P01", "M": "bad packet"}))

    async def accept(client: FakeClient) -> None:
        startup = await client.accept_startup()
        assert startup.version == PROTOCOL_3_0
        await client.expect(fm.Terminate)

    dial = Dialler()
    async with fake_server(refuse, accept) as server:
        conn = await anyq.AsyncConnection.connect(server.conninfo, dial=dial)
        await conn.close()
    assert len(dial.asked) == 2


async def test_a_login_that_fails_closes_the_stream(dsn: str, warm_loop: None) -> None:
    before = open_sockets()
    with pytest.raises(e.OperationalError):
        await anyq.AsyncConnection.connect(dsn, dial=Dialler(), dbname="no such database")
    assert open_sockets() <= before


class PlainStream(ByteStream):
    """A stream that is nothing but one."""

    def __init__(self, stream: SocketStream) -> None:
        self._stream = stream

    async def receive(self, max_bytes: int = 65536) -> bytes:
        return await self._stream.receive(max_bytes)

    async def send(self, item: bytes) -> None:
        await self._stream.send(item)

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()


@pytest.mark.parametrize("natively", [False, True])
async def test_cancelled_at_each_wait(dsn: str, warm_loop: None, natively: bool, anyio_backend_name: str) -> None:
    if natively and anyio_backend_name != "asyncio":
        pytest.skip("only asyncio cancels tasks")
    before = open_sockets()

    async def dial(host: HostSpec) -> ByteStream:
        # It waits before there is a socket, and not after: what a cancelled dial() leaves behind is not ours.
        await anyio.lowlevel.checkpoint()
        if host.socket_path is None:
            sock = socket.create_connection((host.hostaddr or host.host, host.port))
        else:
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(host.socket_path)
        return PlainStream(SocketStream(sock))

    async def connect() -> None:
        async with anyq.AsyncConnection.connect(dsn, dial=dial):
            pass

    async def check() -> None:
        assert open_sockets() <= before

    assert await cancel_at_each_wait(connect, check, natively=natively) > 3
