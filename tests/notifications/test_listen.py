"""listen(): how a block is entered and left."""

from __future__ import annotations

from typing import Any

import anyio
import anyio.to_thread
import pytest

import anyq
from anyq import AsyncConnection, Notify
from anyq import errors as e
from anyq.sql import Identifier
from tests.support.activity import PATIENCE, held_lock
from tests.support.notifying import is_heard, listened_to, receive, send, terminate
from tests.support.queries import one
from tests.support.stepping import cancel_at_each_wait

pytestmark = pytest.mark.anyio


# -- LISTEN and UNLISTEN


async def test_a_block_listens_and_leaves(auto: AsyncConnection, other: AsyncConnection) -> None:
    async with auto.listen("a", "b") as stream:
        assert await listened_to(auto) == {"a", "b"}
        await send(other, "b", "hello")
        await send(other, "a", "")
        assert await stream.receive() == Notify("b", "hello", other.info.backend_pid)
        assert await stream.receive() == Notify("a", "", other.info.backend_pid)
        with pytest.raises(anyio.WouldBlock):
            stream.receive_nowait()
    assert await listened_to(auto) == set()
    with pytest.raises(anyio.ClosedResourceError):
        await stream.receive()


async def test_channels_are_counted(auto: AsyncConnection) -> None:
    async with auto.listen("a", "b", "a"):
        async with auto.listen("b", "c"):
            async with auto.listen("b"):
                assert await listened_to(auto) == {"a", "b", "c"}
            assert await listened_to(auto) == {"a", "b", "c"}
        assert await listened_to(auto) == {"a", "b"}
    assert await listened_to(auto) == set()


async def test_blocks_need_not_be_nested(auto: AsyncConnection, other: AsyncConnection) -> None:
    first, second = auto.listen("a"), auto.listen("a")
    await first.__aenter__()
    stream = await second.__aenter__()
    await first.__aexit__(None, None, None)
    assert await listened_to(auto) == {"a"}
    await send(other, "a", 1)
    assert await receive(stream) == ["1"]
    await second.__aexit__(None, None, None)
    assert await listened_to(auto) == set()


async def test_the_server_is_asked_once(auto: AsyncConnection) -> None:
    async with auto.listen("a"):
        await auto.execute("UNLISTEN a")
        async with auto.listen("a"):
            # No second LISTEN for a channel that is listened to already.
            assert await listened_to(auto) == set()


NAMES = [
    "Capital",
    'quo"ted',
    '"',
    "it's",
    "a b; UNLISTEN *",
    "select",
    "%s %(x)s {}",
    "ünï",
    "通知",
    "\N{PILE OF POO}",
    "\n",
    "x" * 63,
    "é" * 31 + "x",
]


@pytest.mark.any_loop
@pytest.mark.parametrize("name", NAMES)
async def test_any_name_is_a_channel(auto: AsyncConnection, other: AsyncConnection, name: str) -> None:
    async with auto.listen(name, "beside") as stream:
        assert await listened_to(auto) == {name, "beside"}
        await other.notify(name, "by function")
        await other.execute(b"NOTIFY " + Identifier(name).as_bytes(other) + b", 'by statement'")
        pid = other.info.backend_pid
        assert [await stream.receive() for _ in range(2)] == [
            Notify(name, "by function", pid),
            Notify(name, "by statement", pid),
        ]
    assert await listened_to(auto) == set()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("x" * 64, "63 bytes at most, and 'xxx.*' has 64"),
        ("é" * 32, "63 bytes at most, and 'é.*' has 64"),
        ("", "cannot be empty"),
        ("a\0b", "cannot contain NUL"),
        ("\ud800", "cannot be sent in the client encoding"),
    ],
)
async def test_names_that_no_channel_can_have(auto: AsyncConnection, name: str, message: str) -> None:
    with pytest.raises(e.ProgrammingError, match=message):
        auto.listen("a", name)
    with pytest.raises(e.ProgrammingError, match=message):
        await auto.notify(name)
    assert await listened_to(auto) == set()


async def test_what_listen_refuses(auto: AsyncConnection) -> None:
    with pytest.raises(TypeError, match="at least one channel"):
        auto.listen()
    with pytest.raises(TypeError, match="a str, not list"):
        auto.listen(["a", "b"])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="overflow must be"):
        auto.listen("a", overflow="ignore")  # type: ignore[arg-type]
    for size in (0, -1, 1.5, None):
        with pytest.raises(ValueError, match="max_buffer_size must be"):
            auto.listen("a", max_buffer_size=size)  # type: ignore[arg-type]
    block = auto.listen("a")
    async with block:
        with pytest.raises(e.ProgrammingError, match="entered once"):
            await block.__aenter__()
    unused = auto.listen("a")
    await auto.close()
    with pytest.raises(e.OperationalError, match="closed"):
        auto.listen("a")
    with pytest.raises(e.OperationalError, match="closed"):
        await unused.__aenter__()


async def test_another_client_encoding(other: AsyncConnection, dsn: str) -> None:
    async with AsyncConnection.connect(dsn, autocommit=True, client_encoding="LATIN1") as latin:
        # In the server's encoding, which counts, it has 64 bytes.
        if await one(latin, "SHOW server_encoding") == "UTF8":
            with pytest.raises(e.ProgrammingError, match="has 64"):
                latin.listen("é" * 32)
        with pytest.raises(e.ProgrammingError, match="client encoding"):
            await latin.notify("a", "通知")
        async with latin.listen("é" * 31) as stream:
            await other.notify("é" * 31, "naïve")
            assert await stream.receive() == Notify("é" * 31, "naïve", other.info.backend_pid)
            await latin.execute("SET client_encoding TO UTF8")
            await other.notify("é" * 31, "通知")
            assert await receive(stream) == ["通知"]


# -- leaving the block


async def test_leaving_by_an_error(auto: AsyncConnection) -> None:
    with pytest.raises(ZeroDivisionError):
        async with auto.listen("a"):
            raise ZeroDivisionError
    assert await listened_to(auto) == set()


async def test_leaving_by_a_cancellation(auto: AsyncConnection) -> None:
    with anyio.CancelScope() as scope:
        async with auto.listen("a") as stream:
            scope.cancel()
            await stream.receive()
    assert scope.cancelled_caught
    assert await listened_to(auto) == set()


async def test_leaving_while_cancelled(auto: AsyncConnection) -> None:
    """The cancellation comes after the last wait of the block: it must not keep the block from being left."""
    with anyio.CancelScope() as scope:
        async with auto.listen("a"):
            scope.cancel()
    assert scope.cancelled_caught
    assert await listened_to(auto) == set()


@pytest.fixture(params=[False, True], ids=["scope", "task.cancel"])
def natively(request: pytest.FixtureRequest, anyio_backend: tuple[str, Any]) -> bool:
    if request.param and anyio_backend[0] == "trio":
        pytest.skip("trio has no such thing")
    return bool(request.param)


async def test_cancelled_at_every_wait(auto: AsyncConnection, other: AsyncConnection, natively: bool) -> None:
    async def block() -> None:
        async with auto.listen("a") as stream:
            await send(other, "a", "x")
            assert await stream.receive() == Notify("a", "x", other.info.backend_pid)

    async def check() -> None:
        assert await listened_to(auto) == set()
        # It does not answer to what somebody else asked for.
        assert await one(auto, "SELECT 42") == 42

    assert await cancel_at_each_wait(block, check, natively=natively) > 3


async def test_cancelled_at_every_wait_in_a_transaction(conn: AsyncConnection, natively: bool) -> None:
    async def block() -> None:
        async with conn.transaction(), conn.listen("a"):
            await conn.execute("SELECT 1")

    async def check() -> None:
        await conn.rollback()
        assert not await is_heard(conn, "a")

    assert await cancel_at_each_wait(block, check, natively=natively) > 3


async def test_leaving_on_a_dead_connection(dsn: str, other: AsyncConnection) -> None:
    async with AsyncConnection.connect(dsn, autocommit=True) as auto:
        with pytest.raises(e.AdminShutdown):
            async with auto.listen("a") as stream, auto.listen("b"):
                await terminate(auto, other)
                await receive(stream)
        assert auto.closed
        with pytest.raises(anyio.ClosedResourceError):
            stream.receive_nowait()
    # Left before anybody has noticed.
    async with AsyncConnection.connect(dsn, autocommit=True) as auto:
        async with auto.listen("a"):
            await terminate(auto, other)
            with anyio.fail_after(PATIENCE):
                while await one(other, "SELECT count(*) FROM pg_stat_activity WHERE pid = %s", auto.info.backend_pid):
                    pass
        assert auto.broken


async def test_closing_the_connection_inside_the_block(auto: AsyncConnection, other: AsyncConnection) -> None:
    async with auto.listen("a") as stream:
        await send(other, "a", 1)
        await auto.execute("SELECT 1")
        await auto.close()
        # What has come is not lost.
        assert await receive(stream) == ["1"]
        for _ in range(2):
            with pytest.raises(e.OperationalError, match="the connection is closed"):
                await stream.receive()
        with pytest.raises(e.OperationalError, match="the connection is closed"):
            async for _ in stream:
                pass


async def test_entering_on_a_dead_connection(auto: AsyncConnection, other: AsyncConnection) -> None:
    await terminate(auto, other)
    with pytest.raises(e.OperationalError):
        async with auto.listen("a"):
            pytest.fail("it was entered")
    assert auto.broken


@pytest.mark.parametrize("cancelled", [False, True])
async def test_leaving_while_a_query_runs(dsn: str, other: AsyncConnection, cancelled: bool) -> None:
    """It does not wait for the query, or can be cancelled; and the query goes on, longer than the grace time."""
    results: list[Any] = []
    # No grace time at all, so that any wait is longer.
    async with AsyncConnection.connect(dsn, autocommit=True, grace_period=0) as auto, held_lock(dsn) as lock:

        async def query() -> None:
            results.append(await one(auto, lock.statement + "::text"))

        leaving, left, scope = anyio.Event(), anyio.Event(), anyio.CancelScope()

        async def listen() -> None:
            with scope:
                async with auto.listen("a"):
                    tasks.start_soon(query)
                    await lock.until_wanted(auto.info.backend_pid)
                    leaving.set()
                    if cancelled:
                        scope.cancel()
                        await anyio.sleep_forever()
            left.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listen)
            await leaving.wait()
            await anyio.wait_all_tasks_blocked()
            assert left.is_set() is cancelled
            scope.cancel()
            with anyio.fail_after(PATIENCE):
                await left.wait()
            assert not auto.closed
            # The query that reads may now take its time for the reply to UNLISTEN.
            auto.session.wire.cancelling.grace = PATIENCE
            await lock.release()
        assert results == [""]
        assert await listened_to(auto) == set()


async def test_leaving_while_another_task_sends(dsn: str, other: AsyncConnection) -> None:
    """While executemany() has the connection, UNLISTEN waits for its turn; nobody waits for UNLISTEN."""
    # No grace time at all, so that any wait is longer.
    async with AsyncConnection.connect(dsn, autocommit=True, grace_period=0) as auto:

        async def many() -> None:
            await auto.cursor().executemany("SELECT pg_advisory_xact_lock(1, %s)", [(number,) for number in [3] * 3001])

        await other.execute("SELECT pg_advisory_lock(1, 3)")
        async with anyio.create_task_group() as tasks:
            with anyio.CancelScope() as scope:
                async with auto.listen("a"):
                    tasks.start_soon(many)
                    await anyio.wait_all_tasks_blocked()
                    assert auto.session.wire.sending
                    scope.cancel()
                    await anyio.sleep_forever()
            await anyio.wait_all_tasks_blocked()
            assert not auto.closed
            await other.execute("SELECT pg_advisory_unlock(1, 3)")
        # Executing anything would do as well; executemany() has done it.
        assert await listened_to(auto) == set()


async def test_whoever_waits_learns_that_the_block_is_left(auto: AsyncConnection) -> None:
    """Also the one that reads, though no traffic comes: another block listens to the same channel."""
    ended: list[str] = []

    async def wait(stream: anyq.NotificationStream) -> None:
        async with stream:
            async for _ in stream:
                pass
            ended.append("end of stream")

    with anyio.fail_after(PATIENCE):
        async with auto.listen("a"), anyio.create_task_group() as tasks, auto.listen("a") as stream:
            tasks.start_soon(wait, stream.clone())
            tasks.start_soon(wait, stream.clone())
            await anyio.wait_all_tasks_blocked()
    assert ended == ["end of stream"] * 2


async def test_closing_a_stream_that_a_task_waits_in(auto: AsyncConnection) -> None:
    async def wait(stream: anyq.NotificationStream) -> None:
        with pytest.raises(anyio.ClosedResourceError):
            await stream.receive()

    with anyio.fail_after(PATIENCE):
        async with auto.listen("a") as stream, anyio.create_task_group() as tasks:
            clones = [stream.clone() for _ in range(2)]
            for clone in clones:
                tasks.start_soon(wait, clone)
            await anyio.wait_all_tasks_blocked()
            for clone in clones:
                clone.close()
