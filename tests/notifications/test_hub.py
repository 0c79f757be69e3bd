"""Channels and who listens to them, beside everything else that a connection does."""

from __future__ import annotations

import asyncio
import contextlib
import math
import queue
import select
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
import sniffio
import trio

import anyq
from anyq import AsyncConnection, Notify, TransactionStatus
from anyq import errors as e
from anyq.notifications.subscription import BUFFER_SIZE
from anyq.protocol import messages as be
from tests.support import frontend_messages as fm
from tests.support.activity import PATIENCE
from tests.support.fakeserver import IN_TRANSACTION, READY, FakeClient, fake_server
from tests.support.notifying import is_heard, listened_to, receive, send
from tests.support.queries import one
from tests.support.stepping import cancel_at_each_wait

pytestmark = pytest.mark.anyio


def tasks_living() -> int:
    if sniffio.current_async_library() == "trio":
        return trio.lowlevel.current_statistics().tasks_living
    return len(asyncio.all_tasks())


# -- who gets what


async def test_subscribing_twice_is_a_broadcast(auto: AsyncConnection, other: AsyncConnection) -> None:
    async with auto.listen("a") as first, auto.listen("a", "b") as second, auto.listen("b") as third:
        await send(other, "a", 1, 2)
        await send(other, "b", 3)
        assert await receive(second, 3) == ["1", "2", "3"]
        assert await receive(first, 2) == ["1", "2"]
        assert await receive(third) == ["3"]


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


async def query_often(conn: AsyncConnection, done: list[str], number: int) -> None:
    for x in range(100):
        assert await one(conn, "SELECT %s::int", number * x) == number * x
    done.append("query")


async def transact_often(conn: AsyncConnection, done: list[str]) -> None:
    for x in range(20):
        async with conn.transaction(force_rollback=bool(x % 2)):
            await conn.execute("SELECT 1")
    done.append("transaction")


async def come_and_go(conn: AsyncConnection, done: list[str]) -> None:
    for _ in range(20):
        async with conn.listen("own", "all"):
            await conn.execute("SELECT 1")
    done.append("block")


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

    ready: list[str] = []
    with anyio.fail_after(PATIENCE):
        async with auto.listen("all"), anyio.create_task_group() as tasks:
            for name in ("s1", "s2", "s3"):
                tasks.start_soon(subscribe, name)
            tasks.start_soon(generate)
            while len(ready) < 4:
                await auto.execute("SELECT 1")
            for number in range(3):
                tasks.start_soon(query_often, auto, done, number)
            tasks.start_soon(transact_often, auto, done)
            tasks.start_soon(come_and_go, auto, done)
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
    with pytest.raises(e.InFailedSqlTransaction):
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


async def test_a_failure_to_listen_again_is_told_to_those_whom_it_concerns() -> None:
    """Not to one who has entered meanwhile, and was listened for after that."""
    refusal = {"S": "ERROR", "V": "ERROR", "C": "25006", "M": "cannot execute LISTEN during recovery"}
    sent = anyio.Event()

    async def script(client: FakeClient) -> None:
        await client.accept_startup()
        await client.expect(fm.Query, sql=b"BEGIN")
        await client.send(be.CommandComplete("BEGIN"), IN_TRANSACTION)
        await client.expect(fm.Query, sql=b'LISTEN "a"')
        await client.send(be.CommandComplete("LISTEN"), IN_TRANSACTION)
        await client.expect(fm.Query, sql=b"ROLLBACK")
        await client.send(be.CommandComplete("ROLLBACK"), READY)
        await client.expect(fm.Query, sql=b'LISTEN "a"')
        await client.expect(fm.Query, sql=b'UNLISTEN "a"')
        await client.expect(fm.Query, sql=b'LISTEN "a"')
        sent.set()
        await client.send(be.ErrorResponse(refusal), READY)
        await client.send(be.CommandComplete("UNLISTEN"), READY)
        await client.send(be.CommandComplete("LISTEN"), READY)
        await client.send(be.NotificationResponse(1, "a", "for the second"))
        await client.expect(fm.Query, sql=b'UNLISTEN "a"')
        await client.send(be.CommandComplete("UNLISTEN"), READY)
        await client.expect(fm.Terminate)

    got: list[str] = []

    async with (
        fake_server(script) as server,
        AsyncConnection.connect(server.conninfo, autocommit=True) as conn,
    ):
        first, second = conn.listen("a"), conn.listen("a")

        async def leave_and_enter() -> None:
            # The LISTEN of the rollback is under way; on the way out of an error nobody waits.
            await first.__aexit__(ValueError, ValueError(), None)
            stream = await second.__aenter__()
            got.append((await stream.receive()).payload)

        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as tasks, conn.transaction(force_rollback=True):
                await first.__aenter__()
                tasks.start_soon(_when_listening_again, conn, leave_and_enter)
        await second.__aexit__(None, None, None)
    assert sent.is_set()
    assert got == ["for the second"]


async def _when_listening_again(conn: AsyncConnection, operation: Callable[[], Awaitable[None]]) -> None:
    """Run an operation when a block has been left by a rollback, and its channels are listened to again."""
    while conn.session.transactions.blocks or not conn.session.wire.protocol.pending:
        await anyio.lowlevel.checkpoint()
    while conn.session.wire.protocol.expects_transaction() or conn.session.settle is not None:
        await anyio.lowlevel.checkpoint()
    await operation()


async def test_a_failure_to_leave_does_not_make_deaf_who_comes_back() -> None:
    """UNLISTEN is run again, as it has failed, but not if the channel was entered again meanwhile."""
    refusal = {"S": "ERROR", "V": "ERROR", "C": "25006", "M": "cannot execute UNLISTEN during recovery"}
    leaving = anyio.Event()

    async def script(client: FakeClient) -> None:
        await client.accept_startup()
        await client.expect(fm.Query, sql=b'LISTEN "a";LISTEN "b"')
        await client.send(be.CommandComplete("LISTEN"), be.CommandComplete("LISTEN"), READY)
        await client.expect(fm.Query, sql=b'UNLISTEN "a";UNLISTEN "b"')
        leaving.set()
        await client.expect(fm.Query, sql=b'LISTEN "a"')
        await client.send(be.ErrorResponse(refusal), READY, be.CommandComplete("LISTEN"), READY)
        await client.expect(fm.Query, sql=b'LISTEN "c"')
        await client.send(be.CommandComplete("LISTEN"), READY)
        # With the next one that is left.
        await client.expect(fm.Query, sql=b'UNLISTEN "b";UNLISTEN "c"')
        await client.send(be.CommandComplete("UNLISTEN"), be.CommandComplete("UNLISTEN"), READY)
        await client.expect(fm.Query, sql=b'UNLISTEN "a"')
        await client.send(be.CommandComplete("UNLISTEN"), READY)
        await client.expect(fm.Terminate)

    async with fake_server(script) as server:
        conn = await AsyncConnection.connect(server.conninfo, autocommit=True)
        first, second = conn.listen("a", "b"), conn.listen("a")

        async def enter_again() -> None:
            await leaving.wait()
            await second.__aenter__()

        with anyio.fail_after(PATIENCE):
            await first.__aenter__()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(enter_again)
                await first.__aexit__(None, None, None)
            async with conn.listen("c"):
                pass
            await second.__aexit__(None, None, None)
        await conn.close()


async def test_a_second_subscription_sends_nothing() -> None:
    """Also none that the server would take for an empty query."""

    async def script(client: FakeClient) -> None:
        await client.accept_startup()
        await client.expect(fm.Query, sql=b'LISTEN "a"')
        await client.send(be.CommandComplete("LISTEN"), READY)
        await client.expect(fm.Query, sql=b'LISTEN "b"')
        await client.send(be.CommandComplete("LISTEN"), READY)
        await client.expect(fm.Query, sql=b'UNLISTEN "b"')
        await client.send(be.CommandComplete("UNLISTEN"), READY)
        await client.expect(fm.Query, sql=b'UNLISTEN "a"')
        await client.send(be.CommandComplete("UNLISTEN"), READY)
        await client.expect(fm.Terminate)

    async with fake_server(script) as server:
        conn = await AsyncConnection.connect(server.conninfo, autocommit=True)
        with anyio.fail_after(PATIENCE):
            async with conn.listen("a"), conn.listen("a"), conn.listen("a", "b"):
                pass
        await conn.close()


# -- those who take, and one who does not


@pytest.mark.parametrize("count", [20_000, pytest.param(100_000, marks=[pytest.mark.once, pytest.mark.any_loop])])
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
