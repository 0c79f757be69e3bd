"""When a CancelRequest is sent, by a clock of our own, what ends it, and whom it hits that comes too late."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any

import anyio
import anyio.abc
import anyio.lowlevel
import pytest
import trio
import trio.testing

from anyq import AsyncConnection, errors
from anyq._accel import keep_rows, take_replies
from anyq.backends import current_backend
from anyq.protocol import frontend
from anyq.protocol import messages as be
from anyq.protocol.constants import TransactionStatus
from anyq.protocol.request import SimpleRequest
from anyq.protocol.session import ProtocolSession
from anyq.session.cancelling import CANCEL_AGAIN, signals_of_a_cancel_request
from anyq.session.wire import Wire
from anyq.startup.login import next_authentication
from anyq.transport.socket import as_channel
from tests.support import frontend_messages as fm
from tests.support.asking import CANCELED, PATIENCE, ask, ask_in_order, cancel_script, connect, row
from tests.support.fakeserver import READY, FakeClient, fake_server

pytestmark = pytest.mark.anyio


def test_when_a_cancel_request_is_sent_again() -> None:
    """At once, then later and later until the grace time is over."""
    attempts: list[float] = []

    async def main() -> None:
        start = trio.current_time()
        ours, theirs = trio.testing.memory_stream_pair()

        async def canceller(may_send: Callable[[], bool]) -> None:
            assert may_send()
            attempts.append(round(trio.current_time() - start, 6))

        channel = as_channel(_AnyioStream(ours))
        wire = Wire(channel, ProtocolSession(keep_rows, take_replies), current_backend(), canceller=canceller)
        wire.protocol.start({"user": "test"})
        await theirs.send_all(be.AuthenticationOk().encode() + READY.encode())
        while await next_authentication(wire) is not None:
            pass
        data = bytearray()
        frontend.query(data, b"SELECT pg_sleep(1000)")
        with trio.move_on_after(0):
            await wire.run(SimpleRequest(), data)
        assert wire.broken
        assert math.isclose(trio.current_time() - start, 5, abs_tol=1e-3)

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    expected = [0.0]
    while expected[-1] + CANCEL_AGAIN * 2 ** (len(expected) - 1) < 5:
        expected.append(round(expected[-1] + CANCEL_AGAIN * 2 ** (len(expected) - 1), 6))
    assert attempts == expected


@pytest.mark.parametrize(
    ("version", "signals"),
    [
        *[(version, 2) for version in ("9.6.24", "14.0", "15.14 (Debian 15.14-0+deb12u1)", "17beta1", "17.6")],
        *[(version, 1) for version in ("18beta1", "18.0", "18.1 (Ubuntu)", "19devel", "100.1")],
        *[(version, 2) for version in ("", "x", "-18", " 18", "CockroachDB", "\u0661\u0668.0")],
        ("9" * 5000, 1),
    ],
)
def test_how_many_statements_a_cancel_request_may_hit(version: str, signals: int) -> None:
    assert signals_of_a_cancel_request(version) == signals


class _AnyioStream(anyio.abc.ByteStream):
    """A trio stream for anyio."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    async def send(self, item: bytes) -> None:
        await self._stream.send_all(item)

    async def receive(self, max_bytes: int = 65536) -> bytes:
        data = await self._stream.receive_some(max_bytes)
        if not data:
            raise anyio.EndOfStream
        return bytes(data)

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()


# -- a CancelRequest that comes too late

DONE = row("in time")
HIT: list[be.BackendMessage] = [CANCELED, READY]


async def replies_beside_a_cancelled_one(
    version: str, queries: list[str], first: list[list[be.BackendMessage]], again: list[str]
) -> dict[str, Any]:
    """Return what becomes of queries that were sent behind a cancelled one.

    :param first: what the server answers to that one and to each of the others.
    :param again: which of them it is sent once more.
    """
    sent, cancelled = anyio.Event(), anyio.Event()

    async def session(client: FakeClient) -> None:
        await client.accept_startup(parameters={"server_version": version})
        for query in ["SELECT 'doomed'", *queries]:
            await client.expect(fm.Query, sql=query.encode())
        sent.set()
        await cancelled.wait()
        await client.send(*[message for reply in first for message in reply])
        # In any order, as trio runs tasks.
        repeated = [(await client.expect(fm.Query)).sql.decode() for _ in again]
        assert sorted(repeated) == again
        await client.send(*row("unhurt") * len(again))
        await client.expect(fm.Terminate)

    replies: dict[str, Any] = {}
    async with fake_server(session, cancel_script(cancelled)) as server, connect(server) as conn:
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as group, anyio.create_task_group() as doomed:
                doomed.start_soon(ask, conn, "SELECT 'doomed'", replies)
                await anyio.wait_all_tasks_blocked()
                ask_in_order(group, conn, queries, replies)
                await sent.wait()
                doomed.cancel_scope.cancel()
    return replies


@pytest.mark.parametrize(
    ("version", "first", "hit"),
    [
        # The reply was on its way already, so it is the next one that was hit.
        pytest.param("18.0", [DONE, HIT, DONE, DONE], [0], id="too-late"),
        # Servers before 18 signal the process twice.
        pytest.param("17.6", [HIT, HIT, DONE, DONE], [0], id="twice"),
        pytest.param("15.14 (Debian 15.14-0+deb12u1)", [DONE, HIT, HIT, DONE], [0, 1], id="twice-too-late"),
        pytest.param("14beta2", [HIT, DONE, HIT, DONE], [1], id="later"),
        pytest.param("a pooler", [HIT, HIT, DONE, DONE], [0], id="who-knows"),
    ],
)
@pytest.mark.usefixtures("one_cancel_request")
async def test_victims_of_a_cancellation_are_sent_again(
    version: str, first: list[list[be.BackendMessage]], hit: list[int]
) -> None:
    queries = [f"SELECT 'neighbour {number}'" for number in range(3)]
    again = [queries[number] for number in hit]
    replies = await replies_beside_a_cancelled_one(version, queries, first, again)
    assert replies == {query: "unhurt" if query in again else "in time" for query in queries}


@pytest.mark.parametrize(
    ("version", "query", "first"),
    [
        pytest.param("18.0", "CALL do_things()", [DONE, HIT, DONE], id="may-have-committed"),
        pytest.param("18.0", "SELECT 'victim'", [HIT, HIT, DONE], id="another-was-hit"),
        pytest.param("17.6", "SELECT 1; SELECT 2", [HIT, [*row("1")[:-1], *HIT], DONE], id="part-of-it-may-be-done"),
    ],
)
@pytest.mark.usefixtures("one_cancel_request")
async def test_who_is_not_sent_again(version: str, query: str, first: list[list[be.BackendMessage]]) -> None:
    replies = await replies_beside_a_cancelled_one(version, [query, "SELECT 'last'"], first, [])
    assert isinstance(replies.pop(query), errors.QueryCanceled)
    assert replies == {"SELECT 'last'": "in time"}


@pytest.mark.usefixtures("one_cancel_request")
async def test_what_is_left_of_a_cancel_request_is_forgotten() -> None:
    """Signals that have hit nobody while they could are of no account later: the next one is somebody else's."""
    sent = [anyio.Event(), anyio.Event()]
    cancelled = [anyio.Event(), anyio.Event()]

    async def session(client: FakeClient) -> None:
        await client.accept_startup(parameters={"server_version": "17.6"})
        await client.expect(fm.Query, sql=b"SELECT 'doomed'")
        await client.expect(fm.Query, sql=b"SELECT 'first'")
        sent[0].set()
        await cancelled[0].wait()
        await client.send(*row("in spite of it"))
        # So that it is never idle.
        await client.expect(fm.Query, sql=b"SELECT 'also doomed'")
        await client.send(*row("first"))
        await client.expect(fm.Query, sql=b"SELECT 'victim'")
        await client.expect(fm.Query, sql=b"SELECT 'another victim'")
        await client.expect(fm.Query, sql=b"SELECT 'of somebody else'")
        sent[1].set()
        await cancelled[1].wait()
        await client.send(*row("in spite of it"), *HIT, *HIT, *HIT)
        repeated = {(await client.expect(fm.Query)).sql for _ in range(2)}
        assert repeated == {b"SELECT 'victim'", b"SELECT 'another victim'"}
        await client.send(*row("unhurt"), *row("unhurt"))
        await client.expect(fm.Terminate)

    scripts = session, cancel_script(cancelled[0]), cancel_script(cancelled[1])
    replies: dict[str, Any] = {}
    async with fake_server(*scripts) as server, connect(server) as conn:
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as group, anyio.create_task_group() as doomed:
                doomed.start_soon(ask, conn, "SELECT 'doomed'")
                await anyio.wait_all_tasks_blocked()
                group.start_soon(ask, conn, "SELECT 'first'", replies)
                await sent[0].wait()
                doomed.cancel_scope.cancel()
                with anyio.CancelScope(shield=True):
                    await cancelled[0].wait()
                    async with anyio.create_task_group() as also_doomed:
                        also_doomed.start_soon(ask, conn, "SELECT 'also doomed'")
                        await anyio.wait_all_tasks_blocked()
                        others = [f"SELECT '{name}'" for name in ("victim", "another victim", "of somebody else")]
                        ask_in_order(group, conn, others, replies)
                        await sent[1].wait()
                        also_doomed.cancel_scope.cancel()
    assert isinstance(replies.pop("SELECT 'of somebody else'"), errors.QueryCanceled)
    assert replies == {"SELECT 'first'": "first", "SELECT 'victim'": "unhurt", "SELECT 'another victim'": "unhurt"}


async def beside_a_cancelled_one(
    conn: AsyncConnection, sent: anyio.Event, replies: dict[str, Any], neighbour: str
) -> None:
    """Cancel a query when it and one behind it were sent; return when both are done."""
    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as group, anyio.create_task_group() as doomed:
            doomed.start_soon(ask, conn, "SELECT 'doomed'")
            await anyio.wait_all_tasks_blocked()
            group.start_soon(ask, conn, neighbour, replies)
            await sent.wait()
            doomed.cancel_scope.cancel()


@pytest.mark.parametrize("refused", [False, True], ids=["too-late", "refused"])
@pytest.mark.usefixtures("one_cancel_request")
async def test_nobody_is_at_risk_if_no_cancel_request_was_sent(refused: bool) -> None:
    """The reply came while the second connection was made, or that one could not be made."""
    sent, connecting, replied, go_on = (anyio.Event() for _ in range(4))
    asked: list[bool] = []

    async def session(client: FakeClient) -> None:
        await client.accept_startup()
        await client.expect(fm.Query, sql=b"SELECT 'doomed'")
        await client.expect(fm.Query, sql=b"SELECT 'neighbour'")
        sent.set()
        await connecting.wait()
        await client.send(*row("doomed"))
        replied.set()
        await go_on.wait()
        await client.send(*HIT)
        await client.expect(fm.Terminate)

    async def canceller(may_send: Callable[[], bool]) -> None:
        connecting.set()
        await replied.wait()
        go_on.set()
        if refused:
            raise ConnectionRefusedError("no more connections")
        while not asked or asked[-1]:
            # It asks once; here that may be before the bytes are there.
            asked.append(may_send())
            await anyio.lowlevel.checkpoint()

    replies: dict[str, Any] = {}
    async with fake_server(session) as server, connect(server) as conn:
        conn.session.wire.cancelling.canceller = canceller
        await beside_a_cancelled_one(conn, sent, replies, "SELECT 'neighbour'")
        assert not conn.closed
    assert isinstance(replies["SELECT 'neighbour'"], errors.QueryCanceled)


@pytest.mark.parametrize("is_sent", [False, True])
async def test_a_cancel_request_that_comes_to_no_end(is_sent: bool) -> None:
    """If it was sent, it may hit anything from now on; without a connection to send it on nothing has happened."""
    sent, cancelling = anyio.Event(), anyio.Event()

    async def session(client: FakeClient) -> None:
        await client.accept_startup()
        await client.expect(fm.Query, sql=b"SELECT 'doomed'")
        await client.expect(fm.Query, sql=b"SELECT 'neighbour'")
        sent.set()
        await cancelling.wait()
        await client.send(*row("doomed"))
        if is_sent:
            await client.ignore_the_rest()
            return
        await client.expect(fm.Query, sql=b"SELECT 'next'")
        await client.send(*row("neighbour"), *row("next"))
        await client.expect(fm.Terminate)

    async def canceller(may_send: Callable[[], bool]) -> None:
        if is_sent:
            assert may_send()
        cancelling.set()
        await anyio.sleep_forever()

    replies: dict[str, Any] = {}
    async with fake_server(session) as server, connect(server, grace_period=0.2) as conn:
        conn.session.wire.cancelling.canceller = canceller
        async with anyio.create_task_group() as group:
            if not is_sent:
                # Kept for as long as it could be hit.
                async def ask_next() -> None:
                    await cancelling.wait()
                    await ask(conn, "SELECT 'next'", replies)

                group.start_soon(ask_next)
            await beside_a_cancelled_one(conn, sent, replies, "SELECT 'neighbour'")
        assert conn.broken is is_sent
    if is_sent:
        assert "grace time" in str(replies["SELECT 'neighbour'"])
    else:
        assert replies == {"SELECT 'neighbour'": "neighbour", "SELECT 'next'": "next"}


# -- from the CancelRequest to its end


@pytest.mark.usefixtures("one_cancel_request")
async def test_a_cancelled_query_is_cancelled_on_the_server_and_drained() -> None:
    sent, cancelled = anyio.Event(), anyio.Event()

    async def session(client: FakeClient) -> None:
        await client.accept_startup()
        await client.expect(fm.Query, sql=b"slow")
        await client.send(*row("not for anybody")[:2])
        sent.set()
        await cancelled.wait()
        await client.send(CANCELED, READY)
        await client.expect(fm.Query, sql=b"next")
        await client.send(*row("1"))
        await client.expect(fm.Terminate)

    async with fake_server(session, cancel_script(cancelled)) as server, connect(server) as conn:
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as group:
                group.start_soon(ask, conn, "slow")
                await sent.wait()
                group.cancel_scope.cancel()
            assert cancelled.is_set()
            assert conn.info.transaction_status is TransactionStatus.IDLE
            assert await ask(conn, "next") == "1"


async def test_a_cancel_request_that_the_server_forgot_is_sent_again() -> None:
    """As one does that comes before it has begun with the query."""
    sent, forgotten, cancelled = anyio.Event(), anyio.Event(), anyio.Event()

    async def session(client: FakeClient) -> None:
        await client.accept_startup()
        await client.expect(fm.Query, sql=b"slow")
        sent.set()
        await cancelled.wait()
        await client.send(CANCELED, READY)
        await client.expect(fm.Terminate)

    scripts = (session, cancel_script(forgotten), cancel_script(anyio.Event()), cancel_script(cancelled))
    async with fake_server(*scripts) as server, connect(server) as conn:
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as group:
                group.start_soon(ask, conn, "slow")
                await sent.wait()
                group.cancel_scope.cancel()
        assert not conn.closed


async def test_cancelled_before_the_server_has_begun(conn: AsyncConnection) -> None:
    """Many times, as this is a race that the server decides."""
    await conn.set_autocommit(True)

    async def sleep(prepare: bool) -> None:
        await conn.execute("SELECT pg_sleep(1000)", prepare=prepare)

    for turn in range(30):
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as group:
                group.start_soon(sleep, turn % 2 == 0)
                await anyio.lowlevel.checkpoint()
                group.cancel_scope.cancel()
        assert await ask(conn, f"SELECT {turn}") == turn


@pytest.mark.usefixtures("one_cancel_request")
async def test_nothing_is_sent_while_a_cancel_request_is_under_way() -> None:
    """It would be hit. And afterwards all of it is sent, whoever has fallen asleep meanwhile."""
    large = f"SELECT '{'x' * 8 * 1024 * 1024}'"
    sent, cancelling, replied = anyio.Event(), anyio.Event(), anyio.Event()
    seen: list[str] = []

    async def session(client: FakeClient) -> None:
        await client.accept_startup()
        await client.expect(fm.Query, sql=b"slow")
        sent.set()
        await cancelling.wait()
        await client.send(*row("in spite of it"))
        replied.set()
        await client.expect(fm.Query, sql=large.encode())
        seen.append("query")
        await client.send(*row("1"))
        await client.expect(fm.Terminate)

    async def cancel(client: FakeClient) -> None:
        await client.expect(fm.CancelRequest)
        cancelling.set()
        await replied.wait()
        await anyio.wait_all_tasks_blocked()
        seen.append("cancelled")

    replies: dict[str, Any] = {}
    async with fake_server(session, cancel) as server, connect(server) as conn:
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as group, anyio.create_task_group() as doomed:
                doomed.start_soon(ask, conn, "slow")
                await sent.wait()
                doomed.cancel_scope.cancel()
                with anyio.CancelScope(shield=True):
                    await cancelling.wait()
                group.start_soon(ask, conn, large, replies)
    assert replies == {large: "1"}
    assert seen == ["cancelled", "query"]


@pytest.mark.parametrize("unix", [False, True])
@pytest.mark.usefixtures("one_cancel_request")
async def test_a_server_that_ignores_the_cancel_request(unix: bool) -> None:
    sent = anyio.Event()

    async def session(client: FakeClient) -> None:
        await client.accept_startup()
        await client.expect(fm.Query, sql=b"slow")
        sent.set()
        await client.expect_end()

    async def cancel(client: FakeClient) -> None:
        await client.expect(fm.CancelRequest)

    async with fake_server(session, cancel, unix=unix) as server:
        conn = await connect(server, grace_period=0.2)
        before = anyio.current_time()
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as group:
                group.start_soon(ask, conn, "slow")
                await sent.wait()
                group.cancel_scope.cancel()
        # A difference of whole milliseconds, as uvloop's clock gives them, may be a bit less than it is.
        assert round(anyio.current_time() - before, 6) >= 0.2
        assert conn.closed
        assert conn.broken
        with pytest.raises(errors.OperationalError, match=r"grace time of 0\.2 s"):
            await conn.execute("SELECT 1")


async def test_a_server_that_does_not_answer_the_second_connection() -> None:
    sent = anyio.Event()
    replies: dict[str, Any] = {}

    async def session(client: FakeClient) -> None:
        await client.accept_startup()
        await client.expect(fm.Query, sql=b"slow")
        sent.set()
        await client.ignore_the_rest()

    async with fake_server(session, FakeClient.stall) as server:
        conn = await connect(server, grace_period=0.2)
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as group, anyio.create_task_group() as doomed:
                doomed.start_soon(ask, conn, "slow")
                await sent.wait()
                group.start_soon(ask, conn, "behind", replies)
                await anyio.wait_all_tasks_blocked()
                doomed.cancel_scope.cancel()
        assert conn.broken
    assert isinstance(replies["behind"], errors.OperationalError)
    assert "grace time" in str(replies["behind"])


async def test_a_second_connection_that_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    """The query is drained all the same."""
    sent = anyio.Event()
    go_on = anyio.Event()

    async def session(client: FakeClient) -> None:
        await client.accept_startup()
        await client.expect(fm.Query, sql=b"slow")
        sent.set()
        await go_on.wait()
        await client.send(*row("done"))
        await client.expect(fm.Terminate)

    async with fake_server(session) as server, connect(server) as conn:

        async def refuse(may_send: Callable[[], bool]) -> None:
            go_on.set()
            raise ConnectionRefusedError("no more connections")

        conn.session.wire.cancelling.canceller = refuse
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as group:
                group.start_soon(ask, conn, "slow")
                await sent.wait()
                group.cancel_scope.cancel()
        assert not conn.closed
    assert "no more connections" in caplog.text


class Task:
    """A task that asks a query and is cancelled as its event loop does it: natively on asyncio, by a scope on trio."""

    def __init__(self, group: anyio.abc.TaskGroup, conn: AsyncConnection, query: str, loop: str) -> None:
        self._scope = anyio.CancelScope()
        self._future: asyncio.Future[Any] | None = None
        self._replies: dict[str, Any] = {}
        if loop == "asyncio":
            self._future = asyncio.ensure_future(ask(conn, query, self._replies))
        else:
            group.start_soon(self._ask, conn, query)

    async def _ask(self, conn: AsyncConnection, query: str) -> None:
        with self._scope:
            await ask(conn, query, self._replies)

    def cancel(self) -> None:
        if self._future is not None:
            self._future.cancel()
        else:
            self._scope.cancel()

    async def check_cancelled(self) -> None:
        """To be called when the group is left."""
        if self._future is not None:
            with pytest.raises(asyncio.CancelledError):
                await self._future
        assert self._replies == {}


@pytest.mark.parametrize("own", [True, False], ids=["its-own", "for-another"])
@pytest.mark.usefixtures("one_cancel_request")
async def test_a_cancel_request_comes_to_its_end(own: bool, anyio_backend_name: str) -> None:
    """Though its sender is cancelled meanwhile, by asyncio's task.cancel() too, which does not stop at a shield.

    Until then nothing is sent, as it could be hit. Of a request that was cancelled in the queue the sender is the one
    who reads when it is its turn.
    """
    sent, checked, cancelling, replied, ended = (anyio.Event() for _ in range(5))
    seen: list[str] = []
    queries = ["SELECT 'slow'"] if own else ["SELECT 'first'", "SELECT 'slow'", "SELECT 'sender'"]

    async def session(client: FakeClient) -> None:
        await client.accept_startup()
        for query in queries:
            await client.expect(fm.Query, sql=query.encode())
        sent.set()
        await checked.wait()
        if not own:
            await client.send(*row("first"))
        await cancelling.wait()
        await client.send(CANCELED, READY)
        if not own:
            await client.send(*row("sender"))
        replied.set()
        await client.expect(fm.Query, sql=b"SELECT 'next'")
        seen.append("next")
        await client.send(*row("next"))
        await client.expect(fm.Terminate)

    async def cancel(client: FakeClient) -> None:
        await client.expect(fm.CancelRequest)
        cancelling.set()
        await ended.wait()
        seen.append("the end")

    replies: dict[str, Any] = {}
    async with fake_server(session, cancel) as server, connect(server) as conn:
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as group:
                tasks: list[Task] = []
                if not own:
                    group.start_soon(ask, conn, "SELECT 'first'", replies)
                    await anyio.wait_all_tasks_blocked()
                for query in queries[-2:] if not own else queries:
                    tasks.append(Task(group, conn, query, anyio_backend_name))
                    await anyio.wait_all_tasks_blocked()
                await sent.wait()
                tasks[0].cancel()
                checked.set()
                await cancelling.wait()
                # The one who is at it.
                tasks[-1].cancel()
                await replied.wait()
                group.start_soon(ask, conn, "SELECT 'next'", replies)
                await anyio.wait_all_tasks_blocked()
                assert seen == []
                ended.set()
            for task in tasks:
                await task.check_cancelled()
        assert not conn.closed
    assert replies.pop("SELECT 'next'") == "next"
    assert replies == ({} if own else {"SELECT 'first'": "first"})
    assert seen == ["the end", "next"]
