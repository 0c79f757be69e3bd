"""The server goes away: who is told, when, and how; and that nothing stays behind."""

from __future__ import annotations

import asyncio
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import anyio
import anyio.to_thread
import pytest
import sniffio
import trio

import anyq
from anyq import AsyncConnection
from anyq import errors as e
from anyq.cli.embedded import EmbeddedServer
from anyq.protocol import messages as be
from tests.support import frontend_messages as fm
from tests.support.activity import PATIENCE, until_sleeping
from tests.support.fakeserver import READY, FakeClient, fake_server
from tests.support.notifying import send, terminate
from tests.support.queries import one
from tests.support.server import another_server
from tests.support.sockets import open_sockets

pytestmark = pytest.mark.anyio


@pytest.fixture
async def conn(anyio_backend: object, dsn: str) -> AsyncIterator[AsyncConnection]:
    """The one that is lost."""
    async with AsyncConnection.connect(dsn, autocommit=True) as connection:
        yield connection


@pytest.fixture
async def other(anyio_backend: object, dsn: str) -> AsyncIterator[AsyncConnection]:
    async with AsyncConnection.connect(dsn, autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="module")
def own_server(request: pytest.FixtureRequest) -> Iterator[EmbeddedServer]:
    """A server that may be shut down."""
    request.getfixturevalue("server")  # says clearly if there is none
    with another_server(tcp=True) as server:
        yield server


@pytest.fixture
def running_server(own_server: EmbeddedServer) -> Iterator[EmbeddedServer]:
    yield own_server
    own_server.restart("immediate")


def tasks_living() -> int:
    if sniffio.current_async_library() == "trio":
        return trio.lowlevel.current_statistics().tasks_living
    return len(asyncio.all_tasks())


class Everyone:
    """One of each who may wait for a connection, and what each of them is told."""

    def __init__(self, conn: AsyncConnection) -> None:
        self.conn = conn
        self.told: dict[str, BaseException | None] = {}

    async def _told(self, name: str, wait: Callable[[], Awaitable[object]]) -> None:
        try:
            await wait()
        except e.Error as error:
            self.told[name] = error
        else:
            self.told[name] = None

    async def start(self, tasks: anyio.abc.TaskGroup, *, listen: bool = True) -> None:
        conn = self.conn

        async def generate() -> None:
            async for _ in conn.notifies():
                pass

        if listen:
            await conn.execute("LISTEN a")
            for number in range(3):
                subscribed = anyio.Event()
                tasks.start_soon(self._told, f"subscriber {number}", lambda s=subscribed: self._subscribe(s))
                await subscribed.wait()
        tasks.start_soon(self._told, "generator", generate)
        for number in range(2):
            tasks.start_soon(self._told, f"waiter {number}", conn.wait_disconnected)
        await anyio.wait_all_tasks_blocked()

    async def _subscribe(self, subscribed: anyio.Event) -> None:
        async with self.conn.listen("a") as stream:
            subscribed.set()
            await stream.receive()

    def query(self, tasks: anyio.abc.TaskGroup, name: str, query: Any) -> None:
        tasks.start_soon(self._told, name, lambda: self.conn.execute(query))


# -- pg_terminate_backend()


async def test_everyone_learns_at_once(conn: AsyncConnection, other: AsyncConnection, dsn: str) -> None:
    everyone = Everyone(conn)
    files = open_sockets()
    before = tasks_living()
    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as tasks:
            await everyone.start(tasks)
            everyone.query(tasks, "query", "SELECT pg_sleep(60)")
            await until_sleeping(dsn, conn.info.backend_pid)
            everyone.query(tasks, "next query", "SELECT 1")
            everyone.query(tasks, "last query", "SELECT 2")
            await anyio.wait_all_tasks_blocked()
            assert everyone.told == {}
            await terminate(conn, other)
    assert tasks_living() == before
    waiters = ["waiter 0", "waiter 1"]
    assert [everyone.told.pop(name) for name in waiters] == [None, None]
    assert len(everyone.told) == 7
    for error in everyone.told.values():
        assert type(error) is e.AdminShutdown
        assert error.sqlstate == "57P01" and error.diag.severity_nonlocalized == "FATAL"
    # Each has an error of its own.
    assert len(set(map(id, everyone.told.values()))) == 7
    assert conn.closed and conn.broken
    assert "terminating connection due to administrator command" in conn.info.error_message
    # The connection's socket is closed, and no other is open.
    assert len(files - open_sockets()) == (sys.platform == "linux")
    assert open_sockets() <= files
    with pytest.raises(e.OperationalError, match="the connection is closed: terminating connection due to admin"):
        await conn.execute("SELECT 1")
    with pytest.raises(e.OperationalError):
        conn.fileno()
    await conn.wait_disconnected()
    await conn.close()


async def test_while_nobody_waits(conn: AsyncConnection, other: AsyncConnection) -> None:
    await terminate(conn, other)
    # Not noticed before somebody looks; then it is the server's own words.
    assert not conn.closed
    with anyio.fail_after(PATIENCE):
        await conn.wait_disconnected()
    assert conn.broken
    async with anyio.create_task_group():
        await conn.wait_disconnected()


async def test_a_query_learns_it_in_the_servers_words(conn: AsyncConnection, other: AsyncConnection) -> None:
    await terminate(conn, other)
    with pytest.raises(e.AdminShutdown):
        await conn.execute("SELECT 1")
    assert conn.broken


async def in_transaction(conn: AsyncConnection) -> None:
    async with conn.transaction(), conn.transaction():
        await conn.execute("SELECT pg_sleep(60)")


async def in_stream(conn: AsyncConnection) -> None:
    async for _ in conn.cursor().stream("SELECT pg_sleep(x) FROM generate_series(0, 60, 60) AS x"):
        pass


async def in_executemany(conn: AsyncConnection) -> None:
    await conn.cursor().executemany("SELECT pg_sleep(%s)", [(60,)] * 3000)


@pytest.mark.parametrize("operation", [in_transaction, in_stream, in_executemany])
async def test_amid_operations(
    conn: AsyncConnection, other: AsyncConnection, dsn: str, operation: Callable[..., Awaitable[None]]
) -> None:
    async def end() -> None:
        await until_sleeping(dsn, conn.info.backend_pid)
        await terminate(conn, other)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(end)
        with pytest.raises(e.AdminShutdown):
            await operation(conn)
    assert conn.broken


async def test_a_cancelled_wait_leaves_the_connection_as_it_is(conn: AsyncConnection) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await conn.wait_disconnected()
    assert scope.cancelled_caught
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(conn.wait_disconnected)
        await anyio.wait_all_tasks_blocked()
        assert await one(conn, "SELECT 1") == 1
        tasks.cancel_scope.cancel()
    assert await one(conn, "SELECT 2") == 2


async def test_one_closes_it_oneself(conn: AsyncConnection) -> None:
    everyone = Everyone(conn)
    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as tasks:
            await everyone.start(tasks)
            await conn.close()
    assert conn.closed and not conn.broken
    assert [everyone.told.pop(name) for name in ("waiter 0", "waiter 1")] == [None, None]
    assert [str(error) for error in everyone.told.values()] == ["the connection is closed"] * 4


# -- the server is shut down


async def test_smart_shutdown(running_server: EmbeddedServer) -> None:
    """The server lets its sessions come to their end, and says nothing to them."""
    async with AsyncConnection.connect(running_server.dsn, autocommit=True) as conn:
        everyone = Everyone(conn)
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(anyio.to_thread.run_sync, running_server.stop, "smart")
                with pytest.raises(e.OperationalError, match="is shutting down"):
                    while True:
                        async with AsyncConnection.connect(running_server.dsn):
                            pass
                await everyone.start(tasks)
                assert await one(conn, "SELECT 1") == 1
                assert everyone.told == {}
                await conn.close()
    assert not conn.broken


async def test_fast_shutdown(running_server: EmbeddedServer) -> None:
    async with (
        AsyncConnection.connect(running_server.dsn, autocommit=True) as conn,
        AsyncConnection.connect(running_server.tcp_dsn, autocommit=True) as busy,
    ):
        everyone, working = Everyone(conn), Everyone(busy)
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as tasks:
                await everyone.start(tasks)
                working.query(tasks, "query", "SELECT pg_sleep(60)")
                await until_sleeping(running_server.dsn, busy.info.backend_pid)
                await anyio.to_thread.run_sync(running_server.stop, "fast")
        for name, error in {**everyone.told, **working.told}.items():
            assert type(error) is (e.AdminShutdown if "waiter" not in name else type(None))
        assert len(everyone.told) == 6 and len(working.told) == 1
        assert conn.broken and busy.broken


async def test_immediate_shutdown(running_server: EmbeddedServer) -> None:
    """The server gives notice in a warning, and is gone."""
    async with AsyncConnection.connect(running_server.tcp_dsn, autocommit=True) as conn:
        everyone = Everyone(conn)
        notices: list[str | None] = []
        conn.add_notice_handler(lambda diagnostic: notices.append(diagnostic.message_primary))
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as tasks:
                await everyone.start(tasks)
                await anyio.to_thread.run_sync(running_server.stop, "immediate")
        for name, error in everyone.told.items():
            assert type(error) is (e.AdminShutdown if "waiter" not in name else type(None))
            assert "immediate shutdown" in str(error) or "waiter" in name
        assert conn.broken
        assert [notice for notice in notices if notice and "immediate shutdown" in notice]


@pytest.mark.parametrize("way", ["socket", "address"])
async def test_immediate_shutdown_while_idle(way: str, running_server: EmbeddedServer) -> None:
    """Nobody reads until the next statement is sent, which may fail before what the server said has been read."""
    dsn = running_server.dsn if way == "socket" else running_server.tcp_dsn
    async with AsyncConnection.connect(dsn, autocommit=True) as conn, AsyncConnection.connect(dsn) as blocked:
        await conn.execute("SELECT 1")
        await blocked.execute("SELECT 1")
        await anyio.to_thread.run_sync(running_server.stop, "immediate")
        for connection in (conn, blocked):
            with pytest.raises(
                e.AdminShutdown, match="terminating connection due to immediate shutdown command"
            ) as caught:
                await connection.execute("SELECT 2")
            assert caught.value.query == "SELECT 2"
            assert connection.closed and connection.broken
            with pytest.raises(e.OperationalError, match="closed: terminating connection due to immediate shutdown"):
                await connection.execute("SELECT 3")
            assert "immediate shutdown" in connection.info.error_message


async def test_the_crash_of_another_process(running_server: EmbeddedServer) -> None:
    async with (
        AsyncConnection.connect(running_server.dsn, autocommit=True) as conn,
        AsyncConnection.connect(running_server.tcp_dsn, autocommit=True) as busy,
        AsyncConnection.connect(running_server.dsn, autocommit=True) as victim,
    ):
        told: list[BaseException] = []

        async def sleep() -> None:
            with pytest.raises(e.CrashShutdown) as caught:
                await busy.execute("SELECT pg_sleep(60)")
            told.append(caught.value)

        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(sleep)
                await until_sleeping(running_server.dsn, busy.info.backend_pid)
                os.kill(victim.info.backend_pid, signal.SIGKILL)
            # The postmaster tells one after the other; who has not been told yet would serve once more.
            for connection in (conn, victim):
                await anyio.wait_readable(connection)
            # The one that was killed could not say anything.
            with pytest.raises(e.OperationalError, match="it may have crashed|connection was lost") as caught:
                await victim.execute("SELECT 1")
            assert caught.value.sqlstate is None
            with pytest.raises(e.CrashShutdown, match="because of crash of another server process"):
                await conn.execute("SELECT 1")
        assert "because of crash of another server process" in str(told[0])


def test_immediate_shutdown_in_synchronous_code(running_server: EmbeddedServer) -> None:
    with anyq.connect(running_server.dsn, autocommit=True) as conn:
        conn.execute("SELECT 1")
        running_server.stop("immediate")
        with pytest.raises(e.AdminShutdown, match="immediate shutdown"):
            conn.execute("SELECT 1")


FAREWELL = {"S": "WARNUNG", "V": "WARNING", "C": "57P01", "M": "immediate shutdown"}


@pytest.mark.parametrize("code", ["57P01", "57P02"])
@pytest.mark.parametrize("ends", ["closed", "reset"])
async def test_a_farewell_before_the_end(ends: str, code: str) -> None:
    async def script(client: FakeClient) -> None:
        await client.accept_startup()
        await client.expect(fm.Query)
        await client.send(be.NoticeResponse({**FAREWELL, "C": code}))
        if ends == "reset":
            await client.abort()

    async with fake_server(script) as server, AsyncConnection.connect(server.conninfo, autocommit=True) as conn:
        with pytest.raises(e.OperationalError) as caught:
            await conn.execute("SELECT 1")
    # A reset may overtake what was sent before it.
    if ends == "closed" or caught.value.sqlstate is not None:
        assert (caught.value.sqlstate, str(caught.value)) == (code, "immediate shutdown")


async def test_a_farewell_that_was_none() -> None:
    """Anybody can have a server warn, and it goes on: that is no reason for what happens later."""

    async def script(client: FakeClient) -> None:
        await client.accept_startup()
        await client.expect(fm.Query)
        await client.send(be.NoticeResponse(FAREWELL), be.CommandComplete("DO"), READY)
        await client.expect(fm.Query)

    async with fake_server(script) as server, AsyncConnection.connect(server.conninfo, autocommit=True) as conn:
        await conn.execute("DO ''")
        with pytest.raises(e.OperationalError, match="closed the connection unexpectedly|was lost") as caught:
            await conn.execute("SELECT 1")
    assert caught.value.sqlstate is None


async def test_a_restart(running_server: EmbeddedServer) -> None:
    async with AsyncConnection.connect(running_server.dsn) as conn:
        await anyio.to_thread.run_sync(running_server.restart)
        await conn.wait_disconnected()
        async with AsyncConnection.connect(running_server.dsn) as again:
            assert await one(again, "SELECT 1") == 1


# -- the network fails


async def reset(client: FakeClient) -> None:
    await client.abort()


async def reset_amid_a_message(client: FakeClient) -> None:
    await client.send_raw(be.NotificationResponse(1, "b", "x" * 100).encode()[:50])
    await client.abort()


async def end_of_file(client: FakeClient) -> None:
    await client.close()


async def end_of_file_amid_a_message(client: FakeClient) -> None:
    await client.send_raw(be.NotificationResponse(1, "b", "x" * 100).encode()[:50])
    await client.close()


async def end_of_file_amid_a_header(client: FakeClient) -> None:
    await client.send_raw(b"A\0\0")
    await client.close()


async def nonsense(client: FakeClient) -> None:
    await client.send_raw(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    await client.ignore_the_rest()


async def other_error(client: FakeClient) -> None:
    fields = {"S": "FATAL", "V": "FATAL", "C": "57P05", "M": "terminating connection due to idle-session timeout"}
    await client.send(be.ErrorResponse(fields))
    await client.close()


FAILURES: list[tuple[Callable[[FakeClient], Awaitable[None]], type[Exception], str]] = [
    (reset, e.OperationalError, "the connection was lost: .*reset"),
    (reset_amid_a_message, e.OperationalError, "the connection was lost: .*reset"),
    (end_of_file, e.OperationalError, "the server closed the connection unexpectedly"),
    (end_of_file_amid_a_message, e.OperationalError, "the server closed the connection unexpectedly"),
    (end_of_file_amid_a_header, e.OperationalError, "the server closed the connection unexpectedly"),
    (nonsense, e.RemoteProtocolError, "the server broke the protocol"),
    (other_error, e.IdleSessionTimeout, "idle-session timeout"),
]


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
@pytest.mark.parametrize(("fail", "kind", "message"), FAILURES, ids=[failure[0].__name__ for failure in FAILURES])
async def test_failures_of_the_network(
    fail: Callable[[FakeClient], Awaitable[None]], kind: type[Exception], message: str, busy: bool
) -> None:
    ready = anyio.Event()

    async def script(client: FakeClient) -> None:
        await client.accept_startup()
        await client.expect(fm.Query, sql=b'LISTEN "a"')
        await client.send(be.CommandComplete("LISTEN"), READY)
        if busy:
            await client.expect(fm.Query, sql=b"SLOW")
            await client.expect(fm.Query, sql=b"NEXT")
        await ready.wait()
        await fail(client)

    files, before = open_sockets(), tasks_living()
    with anyio.fail_after(PATIENCE):
        async with fake_server(script) as server:
            conn = await AsyncConnection.connect(server.conninfo, autocommit=True)
            everyone = Everyone(conn)
            async with conn.listen("a") as stream, anyio.create_task_group() as tasks:
                await everyone.start(tasks, listen=False)
                tasks.start_soon(everyone._told, "subscriber", stream.receive)
                if busy:
                    tasks.start_soon(everyone._told, "query", lambda: conn.session.send_command(b"SLOW"))
                    await anyio.wait_all_tasks_blocked()
                    tasks.start_soon(everyone._told, "next query", lambda: conn.session.send_command(b"NEXT"))
                await anyio.wait_all_tasks_blocked()
                ready.set()
            assert conn.closed and conn.broken
            await conn.close()
            assert conn.broken
    assert [everyone.told.pop(name) for name in ("waiter 0", "waiter 1")] == [None, None]
    assert len(everyone.told) == 2 + 2 * busy
    for error in everyone.told.values():
        assert type(error) is kind
        with pytest.raises(kind, match=message):
            raise error
    assert open_sockets() <= files
    assert tasks_living() == before


# -- the manual's own ways


async def test_selectors(conn: AsyncConnection, other: AsyncConnection) -> None:
    """The manual's example, with its blocking wait in a thread."""
    sel = selectors.DefaultSelector()
    sel.register(conn, selectors.EVENT_READ)
    rounds = 0
    await conn.execute("LISTEN a")
    await send(other, "a", 1)
    with anyio.fail_after(PATIENCE):
        while True:
            if not await anyio.to_thread.run_sync(sel.select, 60.0):
                continue  # No FD activity detected in one minute

            # Activity detected. Is the connection still ok?
            try:
                await conn.execute("SELECT 1")
            except anyq.OperationalError:
                break
            rounds += 1
            if rounds == 1:
                await terminate(conn, other)
    sel.close()
    assert rounds >= 1 and conn.broken


async def test_nothing_is_to_be_read_while_nothing_happens(conn: AsyncConnection, other: AsyncConnection) -> None:
    sel = selectors.DefaultSelector()
    sel.register(conn, selectors.EVENT_READ)
    for _ in range(10):
        await conn.execute("SELECT 1")
        assert sel.select(0) == []
    await conn.execute("LISTEN a")
    await send(other, "a", 1)
    with anyio.fail_after(PATIENCE):
        while not sel.select(0):
            await anyio.lowlevel.checkpoint()
    # What made it readable is not lost.
    assert [n.payload async for n in conn.notifies(timeout=0)] == ["1"]
    assert sel.select(0) == []
    sel.close()


async def test_add_reader(conn: AsyncConnection, other: AsyncConnection) -> None:
    if sniffio.current_async_library() != "asyncio":
        pytest.skip("asyncio has add_reader()")
    ev = asyncio.Event()
    loop = asyncio.get_running_loop()
    fd = conn.fileno()
    loop.add_reader(fd, ev.set)
    rounds = 0
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(terminate, conn, other)
        while True:
            try:
                await asyncio.wait_for(ev.wait(), 60.0)
            except asyncio.TimeoutError:
                continue  # No FD activity detected in one minute

            # Activity detected. Is the connection still ok?
            try:
                await conn.execute("SELECT 1")
            except anyq.OperationalError:
                # Guess what happened
                break
            rounds += 1
    assert rounds == 0 and conn.broken
    loop.remove_reader(fd)


async def test_wait_readable(conn: AsyncConnection, other: AsyncConnection) -> None:
    """The same on trio, and by anyio on every loop."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(terminate, conn, other)
        with anyio.fail_after(PATIENCE):
            await anyio.wait_readable(conn.fileno())
        with pytest.raises(e.AdminShutdown):
            await conn.execute("SELECT 1")


def test_a_program_that_ends_with_a_dead_connection(dsn: str, anyio_backend: tuple[str, dict[str, Any]]) -> None:
    """No warning, no traceback beside the one of the error."""
    program = """
import sys, anyio, anyq
async def main():
    async with anyq.AsyncConnection.connect(sys.argv[1], autocommit=True) as conn, conn.listen("a") as stream:
        async with anyq.AsyncConnection.connect(sys.argv[1], autocommit=True) as other:
            await other.execute("SELECT pg_terminate_backend(%s)", [conn.info.backend_pid])
        await stream.receive()
try:
    anyio.run(main, backend=sys.argv[2], backend_options=eval(sys.argv[3]))
except anyq.errors.AdminShutdown:
    print("told")
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, dsn, anyio_backend[0], repr(anyio_backend[1])],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "told\n", "")
