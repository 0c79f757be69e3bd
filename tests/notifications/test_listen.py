"""listen(): notifications as streams, beside everything else a connection does."""

from __future__ import annotations

import asyncio
import contextlib
import math
import queue
import select
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anyio
import anyio.to_thread
import pytest
import sniffio
import trio

import anyq
from anyq import AsyncConnection, Notify, TransactionStatus
from anyq import errors as e
from anyq.notifications.subscription import BUFFER_SIZE
from anyq.protocol import messages as be
from anyq.sql import Identifier
from tests.support import frontend_messages as fm
from tests.support.activity import PATIENCE, held_lock
from tests.support.fakeserver import IN_TRANSACTION, READY, FakeClient, fake_server
from tests.support.notifying import listened_to, one, receive, send, terminate
from tests.support.stepping import MANY, cancel_at_each_wait, cancelled_at

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


def tasks_living() -> int:
    if sniffio.current_async_library() == "trio":
        return trio.lowlevel.current_statistics().tasks_living
    return len(asyncio.all_tasks())


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

    async with anyio.create_task_group() as tasks, auto.listen("a") as stream:
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


async def test_a_notification_amid_the_reply_to_a_query() -> None:
    """Whoever reads hands it out at once, whatever the query does next."""
    received = anyio.Event()

    async def script(client: FakeClient) -> None:
        await client.accept_startup()
        await client.expect(fm.Query, sql=b'LISTEN "a"')
        await client.send(be.CommandComplete("LISTEN"), READY)
        await client.expect(fm.Query, sql=b"SLOW")
        await client.send(be.NotificationResponse(7, "a", "early"))
        await received.wait()
        await client.send(be.CommandComplete("SELECT 0"), READY)
        await client.expect(fm.Query, sql=b'UNLISTEN "a"')
        await client.send(be.CommandComplete("UNLISTEN"), READY)
        await client.ignore_the_rest()

    with anyio.fail_after(PATIENCE):
        async with (
            fake_server(script) as server,
            AsyncConnection.connect(server.conninfo, autocommit=True) as conn,
            conn.listen("a") as stream,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(conn.session.send_command, b"SLOW")
            assert await stream.receive() == Notify("a", "early", 7)
            received.set()


# -- transactions


async def test_listen_takes_effect_at_commit(conn: AsyncConnection, other: AsyncConnection) -> None:
    async with conn.transaction():
        async with conn.listen("a") as stream:
            assert await listened_to(conn) == set()
            await send(other, "a", "before")
            await conn.execute("SELECT 1")
            with pytest.raises(anyio.WouldBlock):
                stream.receive_nowait()
            # Left before it has begun.
        async with conn.listen("a") as stream:
            pass
        block = conn.listen("a")
        stream = await block.__aenter__()
    await send(other, "a", "after")
    assert await receive(stream) == ["after"]
    await block.__aexit__(None, None, None)
    assert await listened_to(conn) == set()
    await conn.rollback()


async def test_listening_opens_no_transaction(conn: AsyncConnection, other: AsyncConnection) -> None:
    async with conn.listen("a") as stream:
        assert conn.info.transaction_status is TransactionStatus.IDLE
        await send(other, "a", 1)
        assert await receive(stream) == ["1"]
        assert conn.info.transaction_status is TransactionStatus.IDLE
    assert conn.info.transaction_status is TransactionStatus.IDLE


async def by_rollback(conn: AsyncConnection, enter: Callable[[], Awaitable[None]]) -> None:
    await conn.execute("SELECT 1")
    await enter()
    await conn.rollback()


async def by_statement(conn: AsyncConnection, enter: Callable[[], Awaitable[None]]) -> None:
    await conn.execute("SELECT 1")
    await enter()
    await conn.execute("ROLLBACK")


async def by_exception(conn: AsyncConnection, enter: Callable[[], Awaitable[None]]) -> None:
    with pytest.raises(ZeroDivisionError):
        async with conn.transaction():
            await enter()
            raise ZeroDivisionError


async def by_rollback_exception(conn: AsyncConnection, enter: Callable[[], Awaitable[None]]) -> None:
    async with conn.transaction():
        await enter()
        raise anyq.Rollback


async def by_failure_and_commit(conn: AsyncConnection, enter: Callable[[], Awaitable[None]]) -> None:
    await conn.execute("SELECT 1")
    await enter()
    with pytest.raises(e.DivisionByZero):
        await conn.execute("SELECT 1/0")
    await conn.commit()


async def by_failing_commit(conn: AsyncConnection, enter: Callable[[], Awaitable[None]]) -> None:
    await conn.execute("CREATE TEMPORARY TABLE t (x int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
    await conn.execute("INSERT INTO t VALUES (1), (1)")
    await enter()
    with pytest.raises(e.UniqueViolation):
        await conn.commit()


async def by_savepoint(conn: AsyncConnection, enter: Callable[[], Awaitable[None]]) -> None:
    async with conn.transaction():
        await conn.execute("SELECT 1")
        async with conn.transaction():
            await enter()
            raise anyq.Rollback


async def by_cancellation(conn: AsyncConnection, enter: Callable[[], Awaitable[None]]) -> None:
    with anyio.CancelScope() as scope:
        async with conn.transaction():
            await enter()
            scope.cancel()
            await anyio.sleep_forever()


async def by_chain(conn: AsyncConnection, enter: Callable[[], Awaitable[None]]) -> None:
    await conn.execute("SELECT 1")
    await conn.execute("COMMIT AND CHAIN")
    await enter()
    await conn.rollback()


ROLLBACKS = [
    by_rollback,
    by_statement,
    by_exception,
    by_rollback_exception,
    by_failure_and_commit,
    by_failing_commit,
    by_savepoint,
    by_cancellation,
    by_chain,
]


@pytest.mark.parametrize("roll_back", ROLLBACKS)
async def test_listening_goes_on_after_a_rollback(
    conn: AsyncConnection, other: AsyncConnection, roll_back: Callable[..., Awaitable[None]]
) -> None:
    block = conn.listen("a")
    streams: list[anyq.NotificationStream] = []

    async def enter() -> None:
        streams.append(await block.__aenter__())

    await roll_back(conn, enter)

    # The task that waits for notifications sees to what the one that rolled back could not: nobody else does anything.
    got: list[str] = []

    async def subscriber() -> None:
        got.extend(await receive(streams[0]))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(subscriber)
        await anyio.wait_all_tasks_blocked()
        with anyio.fail_after(PATIENCE):
            while not got:
                await send(other, "a", "heard")
    assert got == ["heard"]
    await block.__aexit__(None, None, None)
    await conn.rollback()
    assert await listened_to(conn) == set()


async def is_heard(conn: AsyncConnection, channel: str) -> bool:
    """Return whether the session listens to a channel, for a connection that is not in autocommit mode."""
    heard = channel in await listened_to(conn)
    await conn.rollback()
    return heard


async def test_a_subscriber_that_waits_is_not_deaf_after_a_rollback(
    auto: AsyncConnection, other: AsyncConnection
) -> None:
    """The transaction of its LISTEN ends by a cancellation, which has no time for LISTEN; nobody executes anything."""
    got: list[str] = []

    async def subscriber(entered: anyio.Event) -> None:
        async with auto.listen("a") as stream:
            entered.set()
            got.extend(await receive(stream))

    async with anyio.create_task_group() as tasks:
        with anyio.CancelScope() as scope:
            async with auto.transaction():
                entered = anyio.Event()
                tasks.start_soon(subscriber, entered)
                await entered.wait()
                await anyio.wait_all_tasks_blocked()
                scope.cancel()
                await anyio.sleep_forever()
        await anyio.wait_all_tasks_blocked()
        # The subscriber has sent LISTEN; once it is in effect it gets this.
        with anyio.fail_after(PATIENCE):
            while not got:
                await send(other, "a", "heard")
    assert got == ["heard"]


@pytest.mark.parametrize("how", ["commit", "rollback"])
async def test_leaving_inside_a_transaction(conn: AsyncConnection, other: AsyncConnection, how: str) -> None:
    async with conn.listen("a", "b") as stream, conn.listen("b"):
        await conn.execute("SELECT 1")
        await send(other, "a", 1)
    # UNLISTEN is not part of the transaction, which could undo it.
    assert await listened_to(conn) == {"a", "b"}
    await (conn.commit() if how == "commit" else conn.rollback())
    assert await listened_to(conn) == set()
    with pytest.raises(anyio.ClosedResourceError):
        stream.receive_nowait()


async def test_coming_back_inside_a_transaction(conn: AsyncConnection, other: AsyncConnection) -> None:
    async with conn.listen("a"):
        await conn.execute("SELECT 1")
    async with conn.listen("a") as stream:
        await conn.rollback()
        assert await is_heard(conn, "a")
        await send(other, "a", 1)
        assert await receive(stream) == ["1"]
    assert not await is_heard(conn, "a")


async def test_inside_a_failed_transaction(conn: AsyncConnection, other: AsyncConnection) -> None:
    async with conn.listen("a") as stream:
        with pytest.raises(e.DivisionByZero):
            await conn.execute("SELECT 1/0")
        with pytest.raises(e.InFailedSqlTransaction):
            async with conn.listen("b"):
                pytest.fail("the server does not listen")
        async with conn.listen("a"):
            pass
    assert conn.info.transaction_status is TransactionStatus.INERROR
    await conn.rollback()
    assert await listened_to(conn) == set()
    async with conn.listen("b") as stream:
        await conn.rollback()
        await send(other, "b", 1)
        assert await receive(stream) == ["1"]


async def test_a_failure_to_listen_again_is_told(auto: AsyncConnection) -> None:
    """By a server that refuses, as one that has become a standby does: nobody waits for what does not come."""
    refusal = {"S": "ERROR", "V": "ERROR", "C": "25006", "M": "cannot execute LISTEN during recovery"}

    async def script(client: FakeClient) -> None:
        await client.accept_startup()
        await client.expect(fm.Query, sql=b"BEGIN")
        await client.send(be.CommandComplete("BEGIN"), IN_TRANSACTION)
        await client.expect(fm.Query, sql=b'LISTEN "a"')
        await client.send(be.CommandComplete("LISTEN"), IN_TRANSACTION)
        await client.expect(fm.Query, sql=b"ROLLBACK")
        await client.send(be.CommandComplete("ROLLBACK"), READY)
        await client.expect(fm.Query, sql=b'LISTEN "a"')
        await client.send(be.ErrorResponse(refusal), READY)
        await client.expect(fm.Query, sql=b'UNLISTEN "a"')
        await client.send(be.CommandComplete("UNLISTEN"), READY)
        await client.ignore_the_rest()

    async with (
        fake_server(script) as server,
        AsyncConnection.connect(server.conninfo, autocommit=True) as conn,
    ):
        async with conn.transaction(force_rollback=True):
            block = conn.listen("a")
            stream = await block.__aenter__()
        with pytest.raises(e.ReadOnlySqlTransaction, match="during recovery"):
            await stream.receive()
        await block.__aexit__(None, None, None)


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
            await auto.cursor().executemany("SELECT pg_advisory_xact_lock(1, %s)", [(number,) for number in [3] * 3000])

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


# -- cancelled receivers


async def test_a_cancelled_receive_loses_nothing(auto: AsyncConnection, other: AsyncConnection) -> None:
    """Cancelled at each of its waits, with a notification on its way."""
    got: list[str] = []
    async with auto.listen("a") as stream:

        async def take() -> None:
            got.append((await stream.receive()).payload)

        for wait in range(1, MANY):
            await send(other, "a", wait)
            cancelled = await cancelled_at(wait, take)
            # Whatever has been read is there for the next one.
            await auto.execute("SELECT 1")
            await auto.execute("SELECT 1")
            with contextlib.suppress(anyio.WouldBlock):
                while True:
                    got.append(stream.receive_nowait().payload)
            if not cancelled:
                break
    assert got == [str(x) for x in range(1, wait + 1)]
    assert wait > 1


async def test_what_a_cancelled_receiver_was_woken_for_goes_to_another(
    auto: AsyncConnection, other: AsyncConnection
) -> None:
    for victim in range(3):
        got: list[str] = []
        scopes = [anyio.CancelScope() for _ in range(3)]

        async def take(scope: anyio.CancelScope, stream: anyq.NotificationStream) -> None:
            with scope, stream:
                got.append((await stream.receive()).payload)  # noqa: B023

        def cancel(notify: Notify) -> None:
            # In the moment between being woken and taking it.
            scopes[victim].cancel()  # noqa: B023

        auto.add_notify_handler(cancel)
        with anyio.fail_after(PATIENCE):
            async with auto.listen("a") as stream, anyio.create_task_group() as tasks:
                for scope in scopes:
                    tasks.start_soon(take, scope, stream.clone())
                await anyio.wait_all_tasks_blocked()
                await send(other, "a", 1, 2)
                while len(got) < 2:
                    await anyio.lowlevel.checkpoint()
                tasks.cancel_scope.cancel()
        assert sorted(got) == ["1", "2"]
        auto.remove_notify_handler(cancel)


# -- a full buffer


async def test_overflow_ends_the_subscription(auto: AsyncConnection, other: AsyncConnection) -> None:
    async with auto.listen("a") as others, auto.listen("a", max_buffer_size=3) as stream:
        await send(other, "a", *range(5))
        assert await receive(others, 5) == ["0", "1", "2", "3", "4"]
        assert await receive(stream, 3) == ["0", "1", "2"]
        for _ in range(2):
            with pytest.raises(e.NotificationOverflow, match="subscription to a has ended: its buffer of 3 "):
                await stream.receive()
        with pytest.raises(e.NotificationOverflow):
            async for _ in stream:
                pass
        assert stream.missed == 0
        # The others and the connection go on, and one may subscribe again.
        async with auto.listen("a") as again:
            await send(other, "a", 5)
            assert await receive(again) == await receive(others) == ["5"]


@pytest.mark.parametrize(("overflow", "kept"), [("drop_oldest", ["7", "8", "9"]), ("drop_newest", ["0", "1", "2"])])
async def test_overflow_drops(auto: AsyncConnection, other: AsyncConnection, overflow: Any, kept: list[str]) -> None:
    async with (
        auto.listen("a", max_buffer_size=3, overflow=overflow) as stream,
        auto.listen("a", max_buffer_size=math.inf) as others,
    ):
        await send(other, "a", *range(10))
        assert await receive(others, 10) == [str(x) for x in range(10)]
        assert await receive(stream, 3) == kept
        assert stream.missed == 7
        await send(other, "a", 10)
        assert await receive(stream) == ["10"]
        assert stream.missed == 7


async def test_a_buffer_that_is_just_full(auto: AsyncConnection, other: AsyncConnection) -> None:
    async with auto.listen("a", max_buffer_size=3) as stream, auto.listen("a") as others:
        for start in (0, 3, 6):
            await send(other, "a", *range(start, start + 3))
            await receive(others, 3)
            assert await receive(stream, 3) == [str(x) for x in range(start, start + 3)]


@pytest.mark.parametrize("count", [20_000, pytest.param(100_000, marks=pytest.mark.once)])
async def test_subscribers_that_take_lose_nothing(auto: AsyncConnection, other: AsyncConnection, count: int) -> None:
    """A flood of notifications does not overrun those that take them as fast as they can, whoever reads."""
    in_order = 0
    queries = 0

    async def iterate(stream: anyq.NotificationStream) -> None:
        nonlocal in_order
        expected = 0
        async for notify in stream:
            assert int(notify.payload) == expected
            expected += 1
            if expected == count:
                break
        in_order += 1

    async def take(stream: anyq.NotificationStream) -> None:
        nonlocal in_order
        for expected in range(count):
            assert int((await stream.receive()).payload) == expected
        in_order += 1

    async def query() -> None:
        nonlocal queries
        while in_order < 10:
            assert await one(auto, "SELECT %s::int", queries) == queries
            queries += 1

    async with contextlib.AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(auto.listen("a")) for _ in range(10)]
        with anyio.fail_after(3 * PATIENCE):
            async with anyio.create_task_group() as tasks:
                for number, stream in enumerate(streams):
                    tasks.start_soon(iterate if number % 2 else take, stream)
                tasks.start_soon(query)
                await other.execute("SELECT pg_notify('a', i::text) FROM generate_series(0, %s) AS i", [count - 1])
    assert queries > 0


async def test_one_who_takes_nothing_holds_up_nobody(auto: AsyncConnection, other: AsyncConnection) -> None:
    async with auto.listen("a", overflow="drop_newest") as idle, auto.listen("a") as stream:
        with anyio.fail_after(PATIENCE):
            for start in range(0, 50_000, 10_000):
                await send(other, "a", *range(start, start + 10_000))
                assert await one(auto, "SELECT 1") == 1
                assert await receive(stream, 10_000) == [str(x) for x in range(start, start + 10_000)]
        assert idle.missed == 40_000
        assert await receive(idle, 10_000) == [str(x) for x in range(10_000)]


async def test_cancelled_while_others_catch_up(
    auto: AsyncConnection, other: AsyncConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The task that reads is cancelled where it gives subscribers time: whoever reads next goes on."""
    hub = auto.notifications
    let_catch_up = hub._let_catch_up
    interrupted = 0

    async def watched() -> None:
        nonlocal interrupted
        try:
            await let_catch_up()
        except BaseException:
            interrupted += 1
            raise

    monkeypatch.setattr(hub, "_let_catch_up", watched)

    async def query() -> None:
        await send(other, "a", "again")
        assert select.select([auto], [], [], PATIENCE)[0], "the notification does not come"
        await auto.execute("SELECT 1")

    async def check() -> None:
        assert await one(auto, "SELECT 7") == 7

    with anyio.fail_after(PATIENCE):
        async with auto.listen("a", max_buffer_size=8, overflow="drop_newest") as idle:
            # A receive brings one notification at most, and not the reply that comes after it.
            auto.session.wire.chunk = 16
            await send(other, "a", *range(20))
            await check()
            await cancel_at_each_wait(query, check)
            assert interrupted > 0
            assert await receive(idle, 8) == [str(x) for x in range(8)]


# -- no task, no timer


async def test_no_task_is_started(auto: AsyncConnection, other: AsyncConnection) -> None:
    before = tasks_living()
    async with auto.listen("a") as stream, auto.listen("b"):
        await send(other, "a", 1)
        await receive(stream)
        async with auto.notifies(timeout=0) as generator:
            assert [n async for n in generator] == []
        assert tasks_living() == before
    assert tasks_living() == before


async def next_deadline() -> float:
    """Return how many seconds the event loop would sleep now if nothing came; infinity if it has no timer at all."""
    await anyio.wait_all_tasks_blocked()
    if sniffio.current_async_library() == "trio":
        return trio.lowlevel.current_statistics().seconds_to_next_deadline
    loop: Any = asyncio.get_running_loop()
    selector = loop._selector
    look = selector.select
    sleeps: queue.SimpleQueue[float | None] = queue.SimpleQueue()

    def telling(timeout: float | None = None) -> Any:
        sleeps.put(timeout)
        return look(timeout)

    def longest() -> float:
        while (seconds := sleeps.get(timeout=PATIENCE)) == 0:
            pass
        return math.inf if seconds is None else seconds

    selector.select = telling
    try:
        return await anyio.to_thread.run_sync(longest)
    finally:
        del selector.select


async def test_an_idle_connection_has_no_timer(
    auto: AsyncConnection, other: AsyncConnection, anyio_backend: tuple[str, dict[str, Any]]
) -> None:
    """Whatever waits for it: the event loop sleeps until the socket becomes readable."""
    if anyio_backend[1].get("use_uvloop"):
        pytest.skip("uvloop does not tell its timers")
    got: list[str] = []

    async def subscribe(stream: anyq.NotificationStream) -> None:
        got.append((await stream.receive()).payload)

    async def generate() -> None:
        got.extend([n.payload async for n in auto.notifies(stop_after=1)])

    async with auto.listen("a") as stream, auto.listen("a") as second, anyio.create_task_group() as tasks:
        tasks.start_soon(auto.wait_disconnected)
        async with anyio.create_task_group() as takers:
            takers.start_soon(subscribe, stream)
            takers.start_soon(subscribe, second)
            takers.start_soon(generate)
            assert await next_deadline() == math.inf
            with anyio.move_on_after(PATIENCE):
                assert await next_deadline() <= PATIENCE
            await send(other, "a", "at once")
        tasks.cancel_scope.cancel()
    assert got == ["at once"] * 3


async def test_all_that_one_receive_may_bring_fits_into_a_buffer(auto: AsyncConnection) -> None:
    shortest = be.NotificationResponse(1, "a", "").encode()
    before = auto.session.wire.chunk
    async with auto.listen("a"):
        assert auto.session.wire.chunk < before
        assert auto.session.wire.chunk / len(shortest) < BUFFER_SIZE - BUFFER_SIZE / 4
