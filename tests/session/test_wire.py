"""Many tasks on one connection: who sends, who reads, what a cancellation does to the others."""

from __future__ import annotations

import select
from typing import Any

import anyio
import anyio.abc
import anyio.lowlevel
import pytest

from anyq import AsyncConnection, errors
from anyq.protocol import messages as be
from anyq.protocol.constants import Format, TransactionStatus
from tests.support import frontend_messages as fm
from tests.support.activity import held_lock, until_sleeping
from tests.support.asking import CANCELED, PATIENCE, ask, ask_in_order, cancel_script, connect, row
from tests.support.fakeserver import READY, FakeClient, fake_server
from tests.support.spying import passing

pytestmark = pytest.mark.anyio

MB = 1024 * 1024
SHUTDOWN = be.ErrorResponse({"S": "FATAL", "V": "FATAL", "C": "57P01", "M": "terminating connection"})


# -- sending and reading


async def test_every_task_gets_its_own_reply(conn: AsyncConnection) -> None:
    async def client(number: int) -> None:
        for turn in range(5):
            value = f"{number}.{turn}"
            cursor = await conn.execute("SELECT %s, generate_series(1, %s)", (value, number))
            assert await cursor.fetchall() == [(value, i) for i in range(1, number + 1)]

    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as group:
            for number in range(40):
                group.start_soon(client, number)


async def test_requests_go_out_before_the_first_reply() -> None:
    queries = [f"SELECT {number}" for number in range(10)]

    async def script(client: FakeClient) -> None:
        await client.accept_startup()
        for query in queries:
            await client.expect(fm.Query, sql=query.encode())
        for query in queries:
            await client.send(*row(query))
        await client.expect(fm.Terminate)

    replies: dict[str, Any] = {}
    async with fake_server(script) as server, connect(server) as conn:
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as group:
                ask_in_order(group, conn, queries, replies)
    assert replies == {query: query for query in queries}


async def test_a_large_request_goes_out_before_the_first_reply() -> None:
    """More than the socket takes, while the task that reads waits for something else."""
    large = f"SELECT '{'x' * 8 * MB}'"
    waiting = anyio.Event()

    async def script(client: FakeClient) -> None:
        await client.accept_startup()
        await client.expect(fm.Query, sql=b"first")
        waiting.set()
        await client.expect(fm.Query, sql=large.encode())
        await client.send(*row("1"), *row("2"))
        await client.expect(fm.Terminate)

    replies: dict[str, Any] = {}
    async with fake_server(script) as server, connect(server) as conn:
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as group:
                group.start_soon(ask, conn, "first", replies)
                await waiting.wait()
                group.start_soon(ask, conn, large, replies)
    assert replies == {"first": "1", large: "2"}


async def test_a_large_request_while_somebody_waits_for_the_end(conn: AsyncConnection) -> None:
    """The one who reads waits for no reply at all, so it must not be left to it when to send."""
    async with anyio.create_task_group() as group:
        group.start_soon(conn.wait_disconnected)
        await anyio.wait_all_tasks_blocked()
        with anyio.fail_after(PATIENCE):
            cursor = await conn.execute("SELECT length(%s)", ("x" * 20 * MB,))
            assert await cursor.fetchone() == (20 * MB,)
        group.cancel_scope.cancel()


async def test_large_requests_and_large_replies_at_the_same_time(dsn: str) -> None:
    """Client and server must never sit blocked writing to each other."""
    size = 20 * MB

    async def client(number: int) -> None:
        cursor = await conn.execute("SELECT length(%s), repeat(%s, %s)", ("x" * size, str(number), size))
        (row,) = await cursor.fetchall()
        assert row[0] == len(row[1]) == size
        assert row[1][-1] == str(number)

    async with AsyncConnection.connect(dsn, autocommit=True) as conn:
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as group:
                for number in range(3):
                    group.start_soon(client, number)


async def test_bytes_go_out_at_once_on_a_stream_of_the_callers() -> None:
    """Such a stream sends only while somebody waits at it, and the one who waits has gone to sleep before."""
    waiting = anyio.Event()

    async def script(client: FakeClient) -> None:
        await client.accept_startup()
        await client.expect(fm.Query, sql=b"first")
        waiting.set()
        await client.expect(fm.Query, sql=b"second")
        await client.send(*row("1"), *row("2"))
        await client.expect(fm.Terminate)

    replies: dict[str, Any] = {}
    async with fake_server(script) as server:
        stream = await anyio.connect_tcp(server.host, server.port)
        async with connect(server, stream=stream) as conn:
            with anyio.fail_after(PATIENCE):
                async with anyio.create_task_group() as group:
                    group.start_soon(ask, conn, "first", replies)
                    await waiting.wait()
                    await anyio.wait_all_tasks_blocked()
                    group.start_soon(ask, conn, "second", replies)
    assert replies == {"first": "1", "second": "2"}


async def test_the_answer_to_a_copy_goes_between_requests() -> None:
    """And not into the middle of one that the socket has taken only a part of."""
    large = f"SELECT '{'x' * 8 * MB}'"
    sent_in_part = anyio.Event()
    hidden = "DO ''; COPY t TO STDOUT"  # by itself it would not be sent

    async def script(client: FakeClient) -> None:
        await client.accept_startup()
        await client.expect(fm.Query, sql=hidden.encode())
        await sent_in_part.wait()
        await client.send(be.CommandComplete("DO"))
        await client.send(be.CopyOutResponse(Format.TEXT, ()), be.CopyDone(), be.CommandComplete("COPY 0"), READY)
        await client.expect(fm.Query, sql=large.encode())
        # One that comes out of the blue, for the request that has just arrived.
        await client.send(be.CopyInResponse(Format.TEXT, ()))
        await client.expect(fm.CopyFail)
        await client.send(CANCELED, READY)
        await client.expect(fm.Terminate)

    replies: dict[str, Any] = {}
    async with fake_server(script) as server, connect(server) as conn:
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as group:
                group.start_soon(ask, conn, hidden, replies)
                await anyio.wait_all_tasks_blocked()
                group.start_soon(ask, conn, large, replies)
                await anyio.wait_all_tasks_blocked()
                sent_in_part.set()
        assert not conn.closed
    assert all(isinstance(error, errors.ProgrammingError) for error in replies.values())


async def test_a_copy_before_other_requests_closes_the_connection() -> None:
    """Its server would take them for data. No statement of ours is answered so; a server may do it all the same."""
    queries = ["SELECT 'copy'", "SELECT 1", "SELECT 2"]

    async def script(client: FakeClient) -> None:
        await client.accept_startup()
        for query in queries:
            await client.expect(fm.Query, sql=query.encode())
        await client.send(be.CopyInResponse(Format.TEXT, ()))
        await client.expect_end()

    replies: dict[str, Any] = {}
    async with fake_server(script) as server, connect(server) as conn:
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as group:
                ask_in_order(group, conn, queries, replies)
        assert conn.closed
    assert isinstance(replies[queries[0]], errors.ProgrammingError)
    for query in queries[1:]:
        assert isinstance(replies[query], errors.OperationalError)
        assert "COPY FROM STDIN" in str(replies[query])


async def test_a_copy_while_the_one_who_reads_is_asleep(conn: AsyncConnection, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server waits for an answer that no request is the reason for."""
    await conn.set_autocommit(True)
    await conn.execute("CREATE TEMPORARY TABLE copied (a int)")
    channel = passing(conn)
    try_receive = channel.try_receive

    def receive(max_bytes: int) -> bytes | None:
        # Whoever looks for the reply, finds it.
        select.select([channel.fileno()], [], [], PATIENCE)
        received: bytes | None = try_receive(max_bytes)
        return received

    async with anyio.create_task_group() as group:
        group.start_soon(conn.wait_disconnected)
        await anyio.wait_all_tasks_blocked()
        with monkeypatch.context() as patch:
            patch.setattr(channel, "try_receive", receive)
            with anyio.fail_after(PATIENCE), pytest.raises(errors.ProgrammingError, match="STDIN"):
                await conn.execute("COPY copied FROM STDIN")
        group.cancel_scope.cancel()
    assert await ask(conn, "SELECT 'alive'") == "alive"


async def test_a_copy_alone_leaves_the_connection_usable(conn: AsyncConnection) -> None:
    await conn.execute("CREATE TEMPORARY TABLE copied (a int)")
    await conn.commit()
    for prepare in (False, True):
        with pytest.raises(errors.ProgrammingError, match="STDIN"):
            await conn.execute("COPY copied FROM STDIN", prepare=prepare)
        await conn.rollback()
        with pytest.raises(errors.ProgrammingError, match="STDOUT"):
            await conn.execute("COPY copied TO STDOUT", prepare=prepare)
        assert await ask(conn, "SELECT 'alive'") == "alive"


# -- cancelling


async def test_the_reader_is_cancelled_and_the_others_go_on(conn: AsyncConnection, dsn: str) -> None:
    await conn.set_autocommit(True)
    replies: dict[str, Any] = {}
    others = [f"SELECT '{number}'" for number in range(5)]
    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as group, anyio.create_task_group() as reader:
            reader.start_soon(ask, conn, "SELECT pg_sleep(1000)")
            await until_sleeping(dsn, conn.info.backend_pid)
            for query in others:
                group.start_soon(ask, conn, query, replies)
            await anyio.wait_all_tasks_blocked()
            assert replies == {}
            reader.cancel_scope.cancel()
    assert replies == {query: query[8:-1] for query in others}


@pytest.mark.usefixtures("one_cancel_request")
async def test_a_queued_request_is_left_at_once_and_cancelled_in_its_turn() -> None:
    sent, cancelled, checked = anyio.Event(), anyio.Event(), anyio.Event()

    async def session(client: FakeClient) -> None:
        await client.accept_startup()
        for query in (b"first", b"second", b"third"):
            await client.expect(fm.Query, sql=query)
        sent.set()
        await checked.wait()
        await client.send(*row("1"))
        await cancelled.wait()
        await client.send(CANCELED, READY, *row("3"))
        await client.expect(fm.Terminate)

    replies: dict[str, Any] = {}
    async with fake_server(session, cancel_script(cancelled)) as server, connect(server) as conn:
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as group:
                group.start_soon(ask, conn, "first", replies)
                await anyio.wait_all_tasks_blocked()
                async with anyio.create_task_group() as doomed:
                    doomed.start_soon(ask, conn, "second", replies)
                    await anyio.wait_all_tasks_blocked()
                    group.start_soon(ask, conn, "third", replies)
                    await sent.wait()
                    doomed.cancel_scope.cancel()
                # The block was left, and nobody has been told anything yet.
                assert replies == {}
                await anyio.wait_all_tasks_blocked()
                assert not cancelled.is_set()
                assert len(server.clients) == 1
                checked.set()
    assert replies == {"first": "1", "third": "3"}


@pytest.mark.usefixtures("one_cancel_request")
async def test_a_queued_request_that_nobody_waits_behind_is_drained_by_the_one_before() -> None:
    sent, cancelled, checked = anyio.Event(), anyio.Event(), anyio.Event()

    async def session(client: FakeClient) -> None:
        await client.accept_startup()
        await client.expect(fm.Query, sql=b"first")
        await client.expect(fm.Query, sql=b"second")
        sent.set()
        await checked.wait()
        await client.send(*row("1"))
        await cancelled.wait()
        await client.send(CANCELED, READY)
        await client.expect(fm.Terminate)

    replies: dict[str, Any] = {}
    async with fake_server(session, cancel_script(cancelled)) as server, connect(server) as conn:
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as group:
                group.start_soon(ask, conn, "first", replies)
                await anyio.wait_all_tasks_blocked()
                async with anyio.create_task_group() as doomed:
                    doomed.start_soon(ask, conn, "second", replies)
                    await sent.wait()
                    doomed.cancel_scope.cancel()
                checked.set()
            assert conn.info.transaction_status is TransactionStatus.IDLE
    assert replies == {"first": "1"}


@pytest.mark.usefixtures("one_cancel_request")
async def test_a_queued_request_that_the_server_does_not_cancel() -> None:
    """The task behind it has nothing to do with the cancellation, and yet the grace time is kept."""
    sent, checked = anyio.Event(), anyio.Event()

    async def session(client: FakeClient) -> None:
        await client.accept_startup()
        for query in (b"first", b"second", b"third"):
            await client.expect(fm.Query, sql=query)
        sent.set()
        await checked.wait()
        await client.send(*row("1"))
        await client.expect_end()

    async def cancel(client: FakeClient) -> None:
        await client.expect(fm.CancelRequest)

    replies: dict[str, Any] = {}
    async with fake_server(session, cancel) as server:
        conn = await connect(server, grace_period=0.2)
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as group:
                group.start_soon(ask, conn, "first", replies)
                await anyio.wait_all_tasks_blocked()
                async with anyio.create_task_group() as doomed:
                    doomed.start_soon(ask, conn, "second", replies)
                    await anyio.wait_all_tasks_blocked()
                    group.start_soon(ask, conn, "third", replies)
                    await sent.wait()
                    doomed.cancel_scope.cancel()
                checked.set()
        assert conn.broken
    assert replies["first"] == "1"
    assert "grace time" in str(replies["third"])


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (1, 2, 0)])
async def test_all_are_cancelled_one_after_the_other(order: tuple[int, ...], conn: AsyncConnection, dsn: str) -> None:
    """Whoever goes last leaves a connection that is ready, and nothing runs on the server."""
    await conn.set_autocommit(True)
    scopes = [anyio.CancelScope() for _ in order]

    async def client(number: int) -> None:
        with scopes[number]:
            await conn.execute("SELECT pg_sleep(1000)")

    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as group:
            for number in range(3):
                group.start_soon(client, number)
            await until_sleeping(dsn, conn.info.backend_pid)
            for number in order:
                scopes[number].cancel()
                for _ in range(number):
                    await anyio.lowlevel.checkpoint()
    assert conn.info.transaction_status is TransactionStatus.IDLE
    assert await ask(conn, "SELECT 1") == 1


async def test_all_are_cancelled_at_once(conn: AsyncConnection, dsn: str) -> None:
    await conn.set_autocommit(True)
    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(conn.execute, "SELECT pg_sleep(1000)")
            await until_sleeping(dsn, conn.info.backend_pid)
            group.cancel_scope.cancel()
    assert conn.info.transaction_status is TransactionStatus.IDLE
    assert await ask(conn, "SELECT 1") == 1


async def test_the_one_who_waits_for_no_reply_drains_too(conn: AsyncConnection, dsn: str) -> None:
    """What is left of a cancelled task is seen to by whoever reads, and by nobody else if that one goes as well."""
    await conn.set_autocommit(True)
    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as group:
            group.start_soon(conn.wait_disconnected)
            await anyio.wait_all_tasks_blocked()
            async with anyio.create_task_group() as doomed:
                for _ in range(3):
                    doomed.start_soon(conn.execute, "SELECT pg_sleep(1000)")
                await until_sleeping(dsn, conn.info.backend_pid)
                doomed.cancel_scope.cancel()
            assert await ask(conn, "SELECT 1") == 1
            for _ in range(3):
                group.start_soon(conn.execute, "SELECT pg_sleep(1000)")
            await until_sleeping(dsn, conn.info.backend_pid)
            group.cancel_scope.cancel()
    assert conn.info.transaction_status is TransactionStatus.IDLE
    assert await ask(conn, "SELECT 1") == 1


# -- servers that go away or go mad


@pytest.mark.parametrize(
    ("reply", "kind", "text"),
    [
        pytest.param(b"", errors.OperationalError, "closed the connection unexpectedly", id="nothing"),
        pytest.param(b"".join(m.encode() for m in row("1"))[:30], errors.OperationalError, "unexpectedly", id="torn"),
        pytest.param(b"nonsense", errors.RemoteProtocolError, "broke the protocol", id="nonsense"),
        pytest.param(b"HTTP/1.1 500 Oops\r\n", errors.RemoteProtocolError, "broke the protocol", id="http"),
        pytest.param(SHUTDOWN.encode(), errors.AdminShutdown, "terminating connection", id="fatal"),
        pytest.param(be.AuthenticationOk().encode(), errors.RemoteProtocolError, "AUTHENTICATION", id="out-of-turn"),
    ],
)
async def test_a_server_that_ends_the_connection(reply: bytes, kind: type[Exception], text: str) -> None:
    sent = anyio.Event()

    async def session(client: FakeClient) -> None:
        await client.accept_startup()
        await client.expect(fm.Query)
        await client.expect(fm.Query)
        sent.set()
        await client.send_raw(reply)

    replies: dict[str, Any] = {}
    async with fake_server(session) as server:
        conn = await connect(server)
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as group:
                ask_in_order(group, conn, ["SELECT 1", "SELECT 2"], replies)
        assert conn.closed
        assert conn.broken
        for error in replies.values():
            assert type(error) is kind
            assert text in str(error)
        assert replies["SELECT 1"] is not replies["SELECT 2"]
        with pytest.raises(errors.OperationalError, match="closed") as caught:
            await conn.execute("SELECT 3")
        assert text in str(caught.value)
        await conn.close()
        assert conn.broken


async def test_a_server_that_resets_the_connection() -> None:
    async def session(client: FakeClient) -> None:
        await client.accept_startup()
        await client.expect(fm.Query)
        await client.abort()

    async with fake_server(session) as server:
        conn = await connect(server)
        with anyio.fail_after(PATIENCE), pytest.raises(errors.OperationalError, match="lost|closed"):
            await ask(conn, "SELECT 1")
        assert conn.broken


async def test_what_the_server_said_before_it_went_away() -> None:
    """It tells more than that the next request could not be sent."""
    connected, gone = anyio.Event(), anyio.Event()

    async def session(client: FakeClient) -> None:
        await client.accept_startup()
        await connected.wait()
        await client.send(SHUTDOWN)
        await client.close()
        gone.set()

    async with fake_server(session) as server:
        conn = await connect(server)
        connected.set()
        await gone.wait()
        for _ in range(2):
            with anyio.fail_after(PATIENCE), pytest.raises(errors.OperationalError, match="terminating connection"):
                await ask(conn, "SELECT 1")


async def test_what_came_before_nonsense_is_not_lost() -> None:
    async def session(client: FakeClient) -> None:
        await client.accept_startup()
        await client.expect(fm.Query)
        await client.send_raw(be.NoticeResponse({"S": "NOTICE", "M": "farewell"}).encode() + b"nonsense")

    notices: list[str | None] = []
    async with fake_server(session) as server:
        conn = await connect(server)
        conn.add_notice_handler(lambda diagnostic: notices.append(diagnostic.message_primary))
        with anyio.fail_after(PATIENCE), pytest.raises(errors.RemoteProtocolError):
            await ask(conn, "SELECT 1")
    assert notices == ["farewell"]


async def test_closing_fails_what_is_under_way_in_other_tasks(dsn: str) -> None:
    replies: dict[str, Any] = {}
    conn = await AsyncConnection.connect(dsn, autocommit=True)
    with anyio.fail_after(PATIENCE):
        async with held_lock(dsn) as lock, anyio.create_task_group() as group:
            ask_in_order(group, conn, [lock.statement, "SELECT 2"], replies)
            await lock.until_wanted(conn.info.backend_pid)
            while len(conn.session.wire.protocol.pending) < 2:
                await anyio.lowlevel.checkpoint()
            await conn.close()
    assert len(replies) == 2
    for error in replies.values():
        assert "was closed while the operation was under way" in str(error)
    assert not conn.broken


# -- somebody else in the place of the event loop


async def test_idle(conn: AsyncConnection) -> None:
    wire = conn.session.wire
    assert wire.idle()
    seen: list[bool] = []
    async with anyio.create_task_group() as group, conn.listen("a") as stream:
        group.start_soon(stream.receive)
        await anyio.wait_all_tasks_blocked()
        seen.append(wire.idle())  # a subscriber reads
        group.cancel_scope.cancel()
    assert seen == [False]
    assert wire.idle()
    async with anyio.create_task_group() as group:
        group.start_soon(conn.execute, "SELECT pg_sleep(60)")
        await anyio.wait_all_tasks_blocked()
        seen.append(wire.idle())
        group.cancel_scope.cancel()
    assert seen == [False, False]
    await conn.rollback()
    assert wire.idle()
    # Between two of its pieces nobody is at work on a stream.
    async with conn.cursor().stream("SELECT generate_series(1, 100000)") as rows:
        await rows.__anext__()
        assert wire.idle()
    await conn.close()
    assert not wire.idle()
