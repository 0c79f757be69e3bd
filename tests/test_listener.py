"""anyq.listen(): a listener that outlives its connections."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import anyio.to_thread
import pytest

import anyq
from anyq import AsyncConnection, Gap, Notify
from anyq import errors as e
from anyq.cli.embedded import EmbeddedServer
from anyq.protocol import messages as be
from tests.support import frontend_messages as fm
from tests.support.activity import PATIENCE
from tests.support.fakeserver import READY, FakeClient, fake_server
from tests.support.notifying import listened_to, send, terminate
from tests.support.queries import one
from tests.support.server import Server, another_server
from tests.support.stepping import cancel_at_each_wait

pytestmark = pytest.mark.anyio


@pytest.fixture
async def other(anyio_backend: object, dsn: str) -> AsyncIterator[AsyncConnection]:
    async with AsyncConnection.connect(dsn, autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="module")
def spare_server(server: Server) -> Iterator[EmbeddedServer]:
    if not server.is_embedded:
        pytest.skip("needs the embedded server")
    with another_server() as running:
        yield running


@pytest.fixture
def own_server(spare_server: EmbeddedServer) -> Iterator[EmbeddedServer]:
    """A server of this test's own, to be shut down."""
    yield spare_server
    spare_server.restart("immediate")


async def take(stream: anyq.NotificationStream[Any], count: int = 1) -> list[Any]:
    """Return the next events: payloads, and gaps as they are."""
    with anyio.fail_after(PATIENCE):
        events = [await stream.receive() for _ in range(count)]
    return [event.payload if isinstance(event, Notify) else event for event in events]


def connection_of(listener: anyq.AsyncListener) -> AsyncConnection:
    assert listener.connection is not None
    return listener.connection


async def test_events_of_its_own_channels(dsn: str, other: AsyncConnection) -> None:
    async with anyq.listen(dsn, "a", 'B "b"') as listener:
        await other.notify("a", "one")
        await other.notify('B "b"', "two")
        await other.notify("elsewhere", "three")
        await other.notify("a", "four")
        events = []
        with anyio.fail_after(PATIENCE):
            async for event in listener:
                events.append(event)
                if len(events) == 3:
                    break
    assert [(event.channel, event.payload) for event in events if isinstance(event, Notify)] == [
        ("a", "one"),
        ('B "b"', "two"),
        ("a", "four"),
    ]
    assert connection_gone(listener)


def connection_gone(listener: anyq.AsyncListener) -> bool:
    return listener.connection is None


async def test_a_lost_connection_is_made_again(dsn: str, other: AsyncConnection) -> None:
    """Every subscriber is told, once it is listened again; nothing is lost from then on."""
    async with anyq.listen(dsn, "a") as listener, listener.subscribe("a", "b") as second:
        first = listener.stream
        await other.notify("a", "before")
        assert await take(first) == await take(second) == ["before"]
        lost = connection_of(listener)
        await terminate(lost, other)
        for stream in (first, second):
            (gap,) = await take(stream)
            assert isinstance(gap, Gap)
            assert "administrator command" in gap.reason
            assert gap.seconds > 0
        assert connection_of(listener) is not lost
        assert await listened_to(connection_of(listener)) == {"a", "b"}
        await other.notify("a", "after")
        await other.notify("b", "too")
        assert await take(first) == ["after"]
        assert await take(second, 2) == ["after", "too"]


async def test_many_losses(dsn: str, other: AsyncConnection) -> None:
    async with anyq.listen(dsn, "a") as listener:
        for number in range(3):
            await terminate(connection_of(listener), other)
            assert isinstance((await take(listener.stream))[0], Gap)
            await other.notify("a", str(number))
            assert await take(listener.stream) == [str(number)]


async def test_subscribing_and_leaving_while_it_runs(dsn: str, other: AsyncConnection) -> None:
    async with anyq.listen(dsn) as listener:
        conn = connection_of(listener)
        assert await listened_to(conn) == set()
        async with listener.subscribe("a") as one:
            async with listener.subscribe("a", "b") as two:
                assert await listened_to(conn) == {"a", "b"}
                await other.notify("a", "both")
                assert await take(one) == await take(two) == ["both"]
            assert await listened_to(conn) == {"a"}
        assert await listened_to(conn) == set()
        with pytest.raises(e.InterfaceError, match="no channels of its own"):
            async for _ in listener:
                pass


async def test_leaving_in_a_cancellation(dsn: str, other: AsyncConnection) -> None:
    async with anyq.listen(dsn) as listener:
        async with anyio.create_task_group() as group, listener.subscribe("a") as stream:

            async def cancel() -> None:
                await anyio.wait_all_tasks_blocked()
                group.cancel_scope.cancel()

            group.start_soon(cancel)
            await stream.receive()
            pytest.fail("something was received")
        assert await listened_to(connection_of(listener)) == set()


async def test_a_restart(own_server: EmbeddedServer) -> None:
    """Subscribers come and go while there is no server; who comes waits until there is one."""
    async with anyq.listen(own_server.dsn, "a", max_delay=0.1) as listener:
        await anyio.to_thread.run_sync(own_server.stop, "fast")
        entered: list[str] = []

        async def subscribe() -> None:
            async with listener.subscribe("late") as stream:
                entered.append("late")
                # It was subscribed already when the connection was made again.
                gap, hello = await take(stream, 2)
                assert isinstance(gap, Gap)
                assert hello == "hello"

        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as group:
                await connection_lost(listener)
                group.start_soon(subscribe)
                await anyio.wait_all_tasks_blocked()
                assert not entered
                await anyio.to_thread.run_sync(own_server.start)
                assert isinstance((await take(listener.stream))[0], Gap)
                async with AsyncConnection.connect(own_server.dsn, autocommit=True) as conn:
                    while "late" not in await listened_to(connection_of(listener)):
                        await anyio.wait_all_tasks_blocked()
                    await conn.notify("late", "hello")
        assert entered == ["late"]


async def connection_lost(listener: anyq.AsyncListener) -> None:
    """Return when the listener knows that its connection is lost."""
    conn = listener.connection
    if conn is not None:
        await conn.wait_disconnected()


async def test_it_gives_up(own_server: EmbeddedServer) -> None:
    """After the time that the caller sets, with the last error, and not in an exception group."""
    with pytest.raises(e.OperationalError, match="connection failed"):
        async with anyq.listen(own_server.dsn, "a", give_up_after=0.3) as listener:
            await anyio.to_thread.run_sync(own_server.stop, "immediate")
            with anyio.fail_after(PATIENCE):
                async for _ in listener:
                    pass


async def test_a_block_that_does_not_receive_learns_at_its_end(own_server: EmbeddedServer) -> None:
    with pytest.raises(e.OperationalError, match="connection failed"):
        async with anyq.listen(own_server.dsn, "a", give_up_after=0.2) as listener:
            await anyio.to_thread.run_sync(own_server.stop, "immediate")
            with pytest.raises(e.OperationalError), anyio.fail_after(PATIENCE):
                await listener.stream.receive()
            with pytest.raises(e.OperationalError):
                async with listener.subscribe("b"):
                    pass


async def test_the_first_failure_is_not_tried_again(anyio_backend: object) -> None:
    with anyio.fail_after(PATIENCE), pytest.raises(e.OperationalError, match="no such socket"):
        async with anyq.listen("host=/nonexistent", "a"):
            pass


async def test_an_error_in_the_block_is_not_wrapped(dsn: str) -> None:
    with pytest.raises(ZeroDivisionError):
        async with anyq.listen(dsn, "a"):
            raise ZeroDivisionError


async def test_cancelling_leaves_nothing_open(dsn: str, other: AsyncConnection) -> None:
    listener = anyq.listen(dsn, "a", application_name="cancelled listener")
    with anyio.CancelScope() as scope:
        async with listener:
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert connection_gone(listener)
    query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'cancelled listener'"
    with anyio.fail_after(PATIENCE):
        while await (await other.execute(query)).fetchone() != (0,):
            pass


async def test_overflow(dsn: str, other: AsyncConnection) -> None:
    """A subscriber that is too slow is told, the others go on; a gap has always room."""
    async with (
        anyq.listen(dsn, "a", max_buffer_size=2, overflow="drop_oldest") as listener,
        listener.subscribe("a", max_buffer_size=2) as strict,
        listener.subscribe("a") as patient,
    ):
        for number in range(4):
            await other.notify("a", str(number))
        assert await take(patient, 4) == ["0", "1", "2", "3"]
        assert listener.stream.missed == 2
        await terminate(connection_of(listener), other)
        assert isinstance((await take(patient))[0], Gap)
        events = await take(listener.stream, 3)
        assert events[:2] == ["2", "3"]
        assert isinstance(events[2], Gap)
        assert await take(strict, 2) == ["0", "1"]
        with pytest.raises(e.NotificationOverflow):
            await strict.receive()


async def test_wrong_use(dsn: str) -> None:
    with pytest.raises(e.ProgrammingError, match="63 bytes"):
        async with anyq.listen(dsn, "x" * 64):
            pass
    with pytest.raises(ValueError, match="overflow"):
        async with anyq.listen(dsn, "a", overflow="loudly"):  # type: ignore[arg-type]
            pass
    listener = anyq.listen(dsn, "a")
    with pytest.raises(e.InterfaceError, match="enter the listener first"):
        async with listener.subscribe("b"):
            pass
    async with listener:
        with pytest.raises(e.InterfaceError, match="entered once"):
            async with listener:
                pass


async def test_attempts_wait_longer_each_time(own_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice as long as before, with jitter, up to the limit."""
    delays: list[float] = []
    stopped = anyio.Event()

    async def record(delay: float) -> None:
        await stopped.wait()
        delays.append(delay)
        if len(delays) == 6:
            await anyio.to_thread.run_sync(own_server.start)
        await anyio.lowlevel.checkpoint()

    async with anyq.listen(own_server.dsn, "a", max_delay=0.5) as listener:
        monkeypatch.setattr("anyio.sleep", record)
        await anyio.to_thread.run_sync(own_server.stop, "immediate")
        stopped.set()
        assert isinstance((await take(listener.stream))[0], Gap)
    full = [0.1, 0.2, 0.4, 0.5, 0.5, 0.5]
    for delay, most in zip(delays, full, strict=False):
        assert most / 2 <= delay <= most
    assert len({round(delay / most, 6) for delay, most in zip(delays, full, strict=False)}) > 1


# -- amid other things


@pytest.fixture(params=[False, True], ids=["scope", "task.cancel"])
def natively(request: pytest.FixtureRequest, anyio_backend: tuple[str, Any]) -> bool:
    if request.param and anyio_backend[0] == "trio":
        pytest.skip("trio has no such thing")
    return bool(request.param)


async def until_nobody_is_called(other: AsyncConnection, name: str) -> None:
    with anyio.fail_after(PATIENCE):
        while await one(other, "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s", name):
            pass


async def test_cancelled_at_every_wait(dsn: str, other: AsyncConnection, natively: bool) -> None:
    async def whole_life() -> None:
        async with anyq.listen(dsn, "a", application_name="stepwise") as listener, listener.subscribe("b") as stream:
            await send(other, "b", 1)
            await stream.receive()

    async def check() -> None:
        await until_nobody_is_called(other, "stepwise")

    assert await cancel_at_each_wait(whole_life, check, natively=natively) > 5


async def test_an_error_in_the_block_outlasts_a_cancellation(dsn: str) -> None:
    with anyio.CancelScope() as scope, pytest.raises(ZeroDivisionError):
        async with anyq.listen(dsn, "a"):
            scope.cancel()
            raise ZeroDivisionError


async def test_subscribing_just_as_the_connection_is_lost(dsn: str, other: AsyncConnection) -> None:
    """They notice before the listener does, and wait like all others."""
    got: list[str] = []

    async def subscribe(name: str) -> None:
        async with listener.subscribe(name) as stream:
            while True:
                got.extend(event for event in await take(stream) if not isinstance(event, Gap))
                if got.count(name):
                    return

    async with anyq.listen(dsn, "a") as listener, anyio.create_task_group() as tasks:
        await terminate(connection_of(listener), other)
        for name in ("x", "y", "z"):
            tasks.start_soon(subscribe, name)
        with anyio.fail_after(PATIENCE):
            while len(set(got)) < 3:
                for name in ("x", "y", "z"):
                    await send(other, name, name)


async def test_nothing_is_lost_after_a_gap(dsn: str, other: AsyncConnection) -> None:
    """Whoever reads the state of things when the gap is told has all that is sent from then on."""
    sent = 0
    events: list[Any] = []

    async def sender() -> None:
        nonlocal sent
        while True:
            await send(other, "a", sent + 1)
            sent += 1

    async with anyq.listen(dsn, "a") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(sender)
        latest_first = 1
        for _ in range(4):
            for _ in range(50):
                events += await take(listener.stream)
            await terminate(connection_of(listener), other)
            while not isinstance(events[-1], Gap):
                events += await take(listener.stream)
            # One more may have been sent before, its reply being on the way.
            events.append(sent + 2)
        for _ in range(50):
            events += await take(listener.stream)
        tasks.cancel_scope.cancel()
    last: int | None = None
    for event in events:
        if isinstance(event, Gap):
            last = None
        elif isinstance(event, int):
            latest_first = event
        elif last is None:
            last = int(event)
            assert last <= latest_first
        else:
            last += 1
            assert last == int(event)


async def test_a_gap_is_not_dropped(dsn: str, other: AsyncConnection) -> None:
    async with (
        anyq.listen(dsn, "a", max_buffer_size=1, overflow="drop_oldest") as listener,
        listener.subscribe("a") as second,
    ):
        await terminate(connection_of(listener), other)
        assert isinstance((await take(second))[0], Gap)
        await send(other, "a", 1, 2, 3)
        assert await take(second, 3) == ["1", "2", "3"]
        (gap,) = await take(listener.stream)
        assert isinstance(gap, Gap)
        # There was no room beside the gap.
        assert listener.stream.missed == 3
        await send(other, "a", 4)
        assert await take(listener.stream) == ["4"]


async def test_a_transaction_that_is_rolled_back_on_its_connection(dsn: str, other: AsyncConnection) -> None:
    async with anyq.listen(dsn) as listener:
        conn = connection_of(listener)
        async with conn.transaction(force_rollback=True):
            block = listener.subscribe("a")
            stream = await block.__aenter__()
        assert await listened_to(conn) == {"a"}
        await send(other, "a", 1)
        assert await take(stream) == ["1"]
        await block.__aexit__(None, None, None)
        assert await listened_to(conn) == set()


LISTENED = be.CommandComplete("LISTEN")


async def test_leaving_while_it_connects_again() -> None:
    """The server is told that it need not listen to what was left meanwhile."""
    listening, left = anyio.Event(), anyio.Event()

    async def first(client: FakeClient) -> None:
        await client.accept_startup()
        for name in (b"a", b"b"):
            await client.expect(fm.Query, sql=b'LISTEN "%s"' % name)
            await client.send(LISTENED, READY)

    async def second(client: FakeClient) -> None:
        await client.accept_startup()
        await client.expect(fm.Query, sql=b'LISTEN "a";LISTEN "b"')
        listening.set()
        await left.wait()
        await client.send(LISTENED, LISTENED, READY)
        await client.expect(fm.Query, sql=b'UNLISTEN "b"')
        await client.send(be.CommandComplete("UNLISTEN"), READY)
        await client.ignore_the_rest()

    with anyio.fail_after(PATIENCE):
        async with fake_server(first, second) as server, anyq.listen(server.conninfo, "a") as listener:
            async with listener.subscribe("b"):
                await listening.wait()
            left.set()
            assert isinstance((await take(listener.stream))[0], Gap)


async def test_a_server_that_refuses_for_now(anyio_backend: object, caplog: pytest.LogCaptureFixture) -> None:
    """One that starts up, or has become a standby, is asked again; the log says why it took so long."""
    caplog.set_level(logging.INFO, logger="anyq")
    starting = {"S": "FATAL", "V": "FATAL", "C": "57P03", "M": "the database system is starting up"}
    standby = {"S": "ERROR", "V": "ERROR", "C": "25006", "M": "cannot execute LISTEN during recovery"}

    async def good(client: FakeClient) -> None:
        await client.accept_startup()
        await client.expect(fm.Query, sql=b'LISTEN "a"')
        await client.send(LISTENED, READY)

    async def starts_up(client: FakeClient) -> None:
        await client.expect(fm.Startup)
        await client.send(be.ErrorResponse(starting))

    async def is_standby(client: FakeClient) -> None:
        await client.accept_startup()
        await client.expect(fm.Query, sql=b'LISTEN "a"')
        await client.send(be.ErrorResponse(standby), READY)
        await client.ignore_the_rest()

    async def stays(client: FakeClient) -> None:
        await good(client)
        await client.ignore_the_rest()

    with anyio.fail_after(PATIENCE):
        async with (
            fake_server(good, starts_up, is_standby, stays) as server,
            anyq.listen(server.conninfo, "a", max_delay=0.01) as listener,
        ):
            gap = await listener.stream.receive()
            assert isinstance(gap, Gap)
            assert "closed the connection unexpectedly" in gap.reason
    failures = [record.getMessage() for record in caplog.records if "could not connect" in record.getMessage()]
    assert len(failures) == 2
    assert "starting up" in failures[0] and "during recovery" in failures[1]


@pytest.mark.parametrize("name", ["autocommit", "stream"])
async def test_what_makes_no_sense_to_a_listener(name: str) -> None:
    arguments: dict[str, Any] = {name: None}
    with pytest.raises(TypeError, match=f"no '{name}'"):
        anyq.listen("", "a", **arguments)


async def test_times_that_are_none(dsn: str) -> None:
    with pytest.raises(TypeError, match="give_up_after must be a number of seconds, or None, not 'x'"):
        anyq.listen(dsn, "a", give_up_after="x")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="max_delay must be a number, not None"):
        anyq.listen(dsn, "a", max_delay=None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="max_delay must be 0 or more, not -1"):
        anyq.listen(dsn, "a", max_delay=-1)
