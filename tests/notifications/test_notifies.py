"""notifies(), notify() and handlers: what psycopg has for notifications."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator

import anyio
import pytest

from anyq import AsyncConnection, Notify
from anyq import errors as e
from anyq.notifications import generators
from anyq.notifications.notifies import AsyncNotifies
from tests.support.activity import PATIENCE
from tests.support.notifying import receive, send, terminate
from tests.support.queries import one
from tests.support.stepping import MANY, cancel_when_blocked, cancelled_at

pytestmark = pytest.mark.anyio


# -- notifies()


async def numbers(generator: AsyncIterator[Notify]) -> list[int]:
    with anyio.fail_after(PATIENCE):
        return [int(n.payload) async for n in generator]


async def test_stop_after(auto: AsyncConnection, other: AsyncConnection) -> None:
    await auto.execute("LISTEN a; LISTEN b")
    await send(other, "a", 1, 2)
    await send(other, "b", 3, 4, 5)
    assert await numbers(auto.notifies(stop_after=2)) == [1, 2]
    assert await numbers(auto.notifies(stop_after=1)) == [3]
    assert await numbers(auto.notifies(stop_after=0)) == []
    assert await numbers(auto.notifies(stop_after=2, timeout=PATIENCE)) == [4, 5]
    generator = auto.notifies(stop_after=1)
    await send(other, "a", 6, 7)
    assert await numbers(generator) == [6]
    # It is at its end for good.
    assert await numbers(generator) == []
    assert await numbers(auto.notifies(timeout=0)) == [7]


async def test_timeout(auto: AsyncConnection, other: AsyncConnection) -> None:
    await auto.execute("LISTEN a")
    assert await numbers(auto.notifies(timeout=0)) == []
    assert await numbers(auto.notifies(timeout=0.01)) == []
    await send(other, "a", 1, 2)
    await auto.execute("SELECT 1")
    assert await numbers(auto.notifies(timeout=0)) == [1, 2]


async def test_the_time_runs_from_the_first_step(
    auto: AsyncConnection, other: AsyncConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await auto.execute("LISTEN a")
    generator = auto.notifies(timeout=PATIENCE, stop_after=1)
    clock = anyio.current_time
    monkeypatch.setattr(anyio, "current_time", lambda: clock() + 2 * PATIENCE)
    got: list[int] = []

    async def take() -> None:
        got.extend(await numbers(generator))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(take)
        await anyio.wait_all_tasks_blocked()
        await send(other, "a", 1)
    assert got == [1]


async def test_time_is_over_though_more_keep_coming(auto: AsyncConnection) -> None:
    await auto.execute("LISTEN a")
    await auto.notify("a", "0")
    seen = 0
    with anyio.fail_after(PATIENCE):
        async for _ in auto.notifies(timeout=0.1):
            seen += 1
            # Two for one that is taken.
            await auto.execute("SELECT pg_notify('a', x::text) FROM generate_series(1, 2) AS x")
    assert seen > 0


async def test_other_tasks_use_the_connection_meanwhile(auto: AsyncConnection, other: AsyncConnection) -> None:
    await auto.execute("LISTEN a")

    async def query() -> None:
        for x in range(50):
            assert await one(auto, "SELECT %s::int", x) == x
        await send(other, "a", 1)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(query)
        assert await numbers(auto.notifies(stop_after=1)) == [1]


async def test_leaving_early_loses_nothing(auto: AsyncConnection, other: AsyncConnection) -> None:
    await auto.execute("LISTEN a")
    await send(other, "a", *range(10))
    async for notify in auto.notifies():
        assert notify.payload == "0"
        break
    gc.collect()
    async with auto.notifies() as generator:
        assert (await generator.__anext__()).payload == "1"
    generator = auto.notifies()
    assert (await generator.__anext__()).payload == "2"
    await generator.aclose()
    await generator.aclose()
    with pytest.raises(StopAsyncIteration):
        await generator.__anext__()
    assert await numbers(auto.notifies(stop_after=2)) == [3, 4]
    # And those that come while there is none.
    await send(other, "a", 10)
    await auto.execute("SELECT 1")
    assert await numbers(auto.notifies(timeout=0)) == [5, 6, 7, 8, 9, 10]


async def test_a_generator_that_is_cancelled_loses_nothing(auto: AsyncConnection, other: AsyncConnection) -> None:
    await auto.execute("LISTEN a")
    got: list[int] = []
    generator = auto.notifies()

    async def take() -> None:
        got.append(int((await generator.__anext__()).payload))

    for wait in range(1, MANY):
        await send(other, "a", wait)
        if not await cancelled_at(wait, take):
            break
    await generator.aclose()
    await auto.execute("SELECT 1")
    await auto.execute("SELECT 1")
    got += await numbers(auto.notifies(timeout=0))
    assert got == list(range(1, wait + 1))
    assert wait > 1


async def test_two_generators(auto: AsyncConnection, other: AsyncConnection) -> None:
    await auto.execute("LISTEN a")
    elder, younger, youngest = auto.notifies(), auto.notifies(), auto.notifies()
    await send(other, "a", 1, 2, 3)
    assert (await elder.__anext__()).payload == "1"
    # They start now; 2 and 3 are the elder's.
    for generator in (younger, youngest):
        await cancel_when_blocked(generator.__anext__)
    await send(other, "a", 4, 5)
    assert (await younger.__anext__()).payload == "4"
    assert (await elder.__anext__()).payload == "2"
    # What it leaves is for one that has not had it.
    await elder.aclose()
    assert [(await younger.__anext__()).payload for _ in range(2)] == ["3", "5"]
    assert [(await youngest.__anext__()).payload for _ in range(2)] == ["4", "5"]
    await youngest.aclose()
    await younger.aclose()
    assert await numbers(auto.notifies(timeout=0)) == []


async def test_one_generator_for_two_tasks(auto: AsyncConnection) -> None:
    generator = auto.notifies()

    async def wait() -> None:
        with pytest.raises(StopAsyncIteration):
            await generator.__anext__()

    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(e.ProgrammingError, match="another task waits"):
                await generator.__anext__()
            # Closing it ends the wait, of the task that reads as well.
            generator.close()


async def test_a_generator_on_a_lost_connection(auto: AsyncConnection, other: AsyncConnection) -> None:
    await auto.execute("LISTEN a")
    await send(other, "a", 1)
    generator = auto.notifies()
    assert (await generator.__anext__()).payload == "1"
    await send(other, "a", 2)
    await terminate(auto, other)
    with pytest.raises(e.AdminShutdown):
        while True:
            assert (await generator.__anext__()).payload == "2"
    with pytest.raises(StopAsyncIteration):
        await generator.__anext__()
    with pytest.raises(e.OperationalError):
        auto.notifies()


async def test_a_backlog_that_nobody_takes(
    auto: AsyncConnection, other: AsyncConnection, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(generators, "BACKLOG_SIZE", 3)
    await auto.execute("LISTEN a")
    await send(other, "a", *range(10))
    await auto.execute("SELECT 1")
    await auto.execute("SELECT 1")
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    generator = auto.notifies(timeout=0)
    with pytest.raises(e.NotificationOverflow, match="7 notifications were dropped"):
        await generator.__anext__()
    assert await numbers(generator) == [7, 8, 9]


async def test_what_somebody_takes_is_not_kept(auto: AsyncConnection, other: AsyncConnection) -> None:
    async with auto.listen("a") as stream:
        await send(other, "a", 1)
        assert await receive(stream) == ["1"]
    await auto.execute("LISTEN a")
    auto.add_notify_handler(print)
    await send(other, "a", 2)
    await auto.execute("SELECT 1")
    auto.remove_notify_handler(print)
    assert await numbers(auto.notifies(timeout=0)) == []


# -- notify()


async def test_payloads(auto: AsyncConnection) -> None:
    async with auto.listen("a") as stream:
        for payload in ("", "x" * 7999, "é" * 3999 + "x", "\\ ' \" %s\n"):
            await auto.notify("a", payload)
            assert await receive(stream) == [payload]
        for payload, size in (("x" * 8000, 8000), ("é" * 4000, 8000), ("x" * 1_000_000, 1_000_000)):
            with pytest.raises(e.ProgrammingError, match=f"7999 bytes at most, and this one has {size}"):
                await auto.notify("a", payload)
        with pytest.raises(e.ProgrammingError, match="cannot contain NUL"):
            await auto.notify("a", "a\0b")
        with pytest.raises(TypeError, match="a str, not dict"):
            await auto.notify("a", {"x": 1})  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="a str, not bytes"):
            await auto.notify(b"a")  # type: ignore[arg-type]
        with pytest.raises(anyio.WouldBlock):
            stream.receive_nowait()


async def test_notify_takes_effect_at_commit(conn: AsyncConnection, other: AsyncConnection) -> None:
    async with other.listen("a") as stream:
        await conn.notify("a", "rolled back")
        await conn.rollback()
        async with conn.transaction():
            await conn.notify("a", "committed")
            await other.execute("SELECT 1")
            with pytest.raises(anyio.WouldBlock):
                stream.receive_nowait()
        assert await receive(stream) == ["committed"]


# -- as psycopg has it


def test_how_a_notification_looks() -> None:
    assert repr(Notify("mychan", "hello", 961823)) == "Notify(channel='mychan', payload='hello', pid=961823)"


async def test_the_generator_of_the_manual(
    auto: AsyncConnection, other: AsyncConnection, capsys: pytest.CaptureFixture[str]
) -> None:
    conn = auto
    await conn.cursor().execute("LISTEN mychan")
    gen = conn.notifies()
    for payload in ("hello", "hey", "stop", "unheard"):
        await other.execute(b"NOTIFY mychan, '%s'" % payload.encode())
    async for notify in gen:
        print(notify)
        if notify.payload == "stop":
            await gen.aclose()
    print("there, I stopped")
    pid = other.info.backend_pid
    assert capsys.readouterr().out.splitlines() == [
        *(f"Notify(channel='mychan', payload='{payload}', pid={pid})" for payload in ("hello", "hey", "stop")),
        "there, I stopped",
    ]


async def test_the_handler_of_the_manual(
    auto: AsyncConnection, other: AsyncConnection, capsys: pytest.CaptureFixture[str]
) -> None:
    conn = auto
    await conn.cursor().execute("LISTEN mychan")
    conn.add_notify_handler(lambda n: print(f"got this: {n}"))
    await other.execute("NOTIFY mychan, 'hey'")
    print(await (await conn.cursor().execute("SELECT 1")).fetchone())
    pid = other.info.backend_pid
    # The server sends it before or after the reply, as it pleases; here it has come before.
    lines = capsys.readouterr().out.splitlines()
    expected = [f"got this: Notify(channel='mychan', payload='hey', pid={pid})", "(1,)"]
    assert lines in (expected, expected[1:], expected[::-1])


async def test_one_that_was_not_made_to_its_end_is_finalized_without_an_error() -> None:
    """Ctrl-C may come in the middle of ``__init__``."""
    generator = AsyncNotifies.__new__(AsyncNotifies)
    generator.__del__()
