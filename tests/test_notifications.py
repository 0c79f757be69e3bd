"""Notifications: listen(), notifies(), handlers and notify(), beside everything else a connection does."""

from __future__ import annotations

import asyncio
import gc
import logging
import math
import resource
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import contextmanager
from typing import Any

import anyio
import pytest
import sniffio
import trio

import anyq
from anyq import AsyncConnection, Notify, TransactionStatus, _notifies
from anyq import errors as e
from anyq.sql import Identifier
from tests.activity import PATIENCE, until_sleeping
from tests.stepping import cancel_at_each_wait

pytestmark = pytest.mark.anyio


@pytest.fixture
async def auto(anyio_backend: object, dsn: str) -> AsyncIterator[AsyncConnection]:
    """A connection in autocommit mode, to listen on."""
    async with AsyncConnection.connect(dsn, autocommit=True) as connection:
        yield connection


@pytest.fixture
async def other(anyio_backend: object, dsn: str) -> AsyncIterator[AsyncConnection]:
    """A second one, to send notifications by."""
    async with AsyncConnection.connect(dsn, autocommit=True) as connection:
        yield connection


async def listened_to(conn: AsyncConnection) -> set[str]:
    """Return the channels that the server says the session listens to."""
    return {row[0] for row in await (await conn.execute("SELECT pg_listening_channels()")).fetchall()}


async def one(conn: AsyncConnection, query: Any, *params: object) -> Any:
    row = await (await conn.execute(query, params or None)).fetchone()
    assert row is not None
    return row[0]


async def send(conn: AsyncConnection, channel: str, *payloads: object) -> None:
    """Send notifications, all in one transaction."""
    await conn.execute("SELECT pg_notify(%s, x) FROM unnest(%s::text[]) AS x", [channel, [str(p) for p in payloads]])


async def receive(stream: anyq.NotificationStream, count: int = 1) -> list[str]:
    """Return the payloads of the next notifications."""
    with anyio.fail_after(PATIENCE):
        return [(await stream.receive()).payload for _ in range(count)]


async def terminate(conn: AsyncConnection, by: AsyncConnection) -> None:
    assert await one(by, "SELECT pg_terminate_backend(%s)", conn.info.backend_pid)


def tasks_living() -> int:
    if sniffio.current_async_library() == "trio":
        return trio.lowlevel.current_statistics().tasks_living
    return len(asyncio.all_tasks())


# -- LISTEN and UNLISTEN


async def test_a_block_listens_and_leaves(auto: AsyncConnection, other: AsyncConnection) -> None:
    async with auto.listen("a", "b") as stream:
        assert await listened_to(auto) == {"a", "b"}
        await send(other, "b", "hello")
        await send(other, "a")
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


# -- who gets what


async def test_subscribing_twice_is_a_broadcast(auto: AsyncConnection, other: AsyncConnection) -> None:
    async with auto.listen("a") as first, auto.listen("a", "b") as second, auto.listen("b") as third:
        await send(other, "a", 1, 2)
        await send(other, "b", 3)
        assert await receive(second, 3) == ["1", "2", "3"]
        assert await receive(first, 2) == ["1", "2"]
        assert await receive(third) == ["3"]


async def test_clones_compete(auto: AsyncConnection, other: AsyncConnection) -> None:
    got: dict[int, list[str]] = {0: [], 1: [], 2: []}

    async def work(number: int, stream: anyq.NotificationStream) -> None:
        async with stream:
            async for notify in stream:
                got[number].append(notify.payload)
                # As a worker does: meanwhile the others take the rest.
                await auto.execute("SELECT 1")

    async with anyio.create_task_group() as tasks:
        async with auto.listen("a") as stream:
            for number in got:
                tasks.start_soon(work, number, stream.clone())
            await anyio.wait_all_tasks_blocked()
            await send(other, "a", *range(300))
            with anyio.fail_after(PATIENCE):
                while sum(map(len, got.values())) < 300:
                    await auto.execute("SELECT 1")
        # The block is left: the workers come to the end of the stream.
    assert sorted(int(p) for payloads in got.values() for p in payloads) == list(range(300))
    for payloads in got.values():
        assert payloads and payloads == sorted(payloads, key=int)


async def test_a_clone_of_a_closed_stream(auto: AsyncConnection) -> None:
    async with auto.listen("a") as stream:
        stream.close()
        with pytest.raises(anyio.ClosedResourceError):
            stream.clone()


async def test_closing_the_stream_inside_the_block(auto: AsyncConnection, other: AsyncConnection) -> None:
    async with auto.listen("a", max_buffer_size=1) as stream, auto.listen("a") as second:
        await stream.aclose()
        await send(other, "a", *range(100))
        assert await receive(second, 100) == [str(x) for x in range(100)]
    assert await listened_to(auto) == set()


async def test_order(auto: AsyncConnection, other: AsyncConnection, dsn: str) -> None:
    async with AsyncConnection.connect(dsn, autocommit=True) as third, auto.listen("a", "b") as stream:

        async def sender(conn: AsyncConnection, channel: str) -> None:
            for start in range(0, 1000, 50):
                await send(conn, channel, *range(start, start + 50))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(sender, other, "a")
            tasks.start_soon(sender, third, "b")
            got = [await stream.receive() for _ in range(2000)]
    for channel in "ab":
        assert [int(n.payload) for n in got if n.channel == channel] == list(range(1000))


async def test_one_sends_to_oneself(auto: AsyncConnection) -> None:
    async with auto.listen("a") as stream:
        await auto.notify("a", "myself")
        assert stream.receive_nowait() == Notify("a", "myself", auto.info.backend_pid)


# -- beside everything else


async def test_everything_at_once_on_one_connection(auto: AsyncConnection, other: AsyncConnection) -> None:
    """Queries, transactions, blocks that come and go, generators: everyone gets what is theirs."""
    count = 400
    done: list[str] = []

    async def subscribe(name: str) -> None:
        async with auto.listen("all") as stream:
            ready.append(name)
            assert await receive(stream, count) == [str(x) for x in range(count)]
            done.append(name)

    async def generate() -> None:
        ready.append("generator")
        got = [int(n.payload) async for n in auto.notifies(stop_after=count) if n.channel == "all"]
        # Those of the blocks that come and go are in between.
        assert got == list(range(len(got)))
        done.append("generator")

    async def query(number: int) -> None:
        for x in range(100):
            assert await one(auto, "SELECT %s::int", number * x) == number * x
        done.append("query")

    async def transact() -> None:
        for x in range(20):
            async with auto.transaction(force_rollback=bool(x % 2)):
                await auto.execute("SELECT 1")
        done.append("transaction")

    async def come_and_go() -> None:
        for _ in range(20):
            async with auto.listen("own", "all"):
                await auto.execute("SELECT 1")
        done.append("block")

    ready: list[str] = []
    with anyio.fail_after(PATIENCE):
        async with auto.listen("all"), anyio.create_task_group() as tasks:
            for name in ("s1", "s2", "s3"):
                tasks.start_soon(subscribe, name)
            tasks.start_soon(generate)
            while len(ready) < 4:
                await auto.execute("SELECT 1")
            for number in range(3):
                tasks.start_soon(query, number)
            tasks.start_soon(transact)
            tasks.start_soon(come_and_go)
            for start in range(0, count, 20):
                await send(other, "all", *range(start, start + 20))
    assert sorted(done) == sorted(["s1", "s2", "s3", "generator", *["query"] * 3, "transaction", "block"])
    assert await listened_to(auto) == set()


async def test_notifications_come_while_a_query_runs(auto: AsyncConnection, other: AsyncConnection, dsn: str) -> None:
    async with auto.listen("a") as stream, anyio.create_task_group() as tasks:
        tasks.start_soon(auto.execute, "SELECT pg_sleep(60)")
        await until_sleeping(dsn, auto.info.backend_pid)
        # The server holds notifications back while a statement runs, and sends them at its end.
        await send(other, "a", "late")
        await auto.cancel_safe()
        with pytest.raises(BaseExceptionGroup) if False else _nothing():  # noqa: RUF100
            pass
        tasks.cancel_scope.cancel()
    assert stream.statistics().current_buffer_used >= 0


@contextmanager
def _nothing() -> Any:
    yield
