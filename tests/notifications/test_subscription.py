"""One subscriber: its buffer, its receivers, and how it ends."""

from __future__ import annotations

import contextlib
import gc
import math
from collections.abc import AsyncIterator
from typing import Any

import anyio
import anyio.to_thread
import pytest

import anyq
from anyq import AsyncConnection, Notify
from anyq import errors as e
from anyq.backends import current_backend
from anyq.errors import NotificationOverflow, OperationalError
from anyq.notifications.subscription import BUFFER_SIZE, NotificationStream, Overflow, Receiver, Subscription
from tests.support.activity import PATIENCE
from tests.support.notifying import listened_to, receive, send
from tests.support.stepping import MANY, cancelled_at

pytestmark = pytest.mark.anyio


class Reader:
    """What reads for all who wait, and has to be told when it is to look again."""

    def __init__(self) -> None:
        self.waiting: list[Receiver] = []
        self.nudged = 0
        self.subscriptions: list[Subscription[Any]] = []
        self.clones: list[NotificationStream[Any]] = []

    def clone(self, stream: NotificationStream[Any]) -> NotificationStream[Any]:
        """Clone a stream; the test need not close it."""
        clone = stream.clone()
        self.clones.append(clone)
        return clone

    async def attend(self, receiver: Receiver) -> None:
        self.waiting.append(receiver)
        try:
            while not receiver.ready():
                waiter = receiver.waiter = current_backend().create_waiter()
                await waiter.wait()
        finally:
            receiver.waiter = None
            self.waiting.remove(receiver)

    def nudge(self) -> None:
        self.nudged += 1


@pytest.fixture
async def reader(anyio_backend: object) -> AsyncIterator[Reader]:
    reader = Reader()
    yield reader
    for one in reader.subscriptions:
        one.leave()
    for clone in reader.clones:
        clone.close()


def subscription(reader: Reader, size: float = 3, overflow: Overflow = "error") -> Subscription[Any]:
    one = Subscription[Any](["a", "b", "a"], size, overflow, current_backend(), reader.attend, reader.nudge)
    reader.subscriptions.append(one)
    return one


def notify(payload: object) -> Notify:
    return Notify("a", str(payload), 1)


def taken(stream: NotificationStream[Any]) -> list[str]:
    """Take what has come."""
    payloads = []
    while True:
        try:
            payloads.append(stream.receive_nowait().payload)
        except anyio.WouldBlock:
            return payloads


async def test_channels_are_named_once(reader: Reader) -> None:
    assert subscription(reader).channels == ("a", "b")


async def test_in_order(reader: Reader) -> None:
    one = subscription(reader)
    for number in range(3):
        one.put(notify(number))
    assert one.has_news
    assert taken(one.stream) == ["0", "1", "2"]
    assert not one.has_news


@pytest.mark.parametrize(("overflow", "kept"), [("drop_oldest", ["2", "3", "4"]), ("drop_newest", ["0", "1", "2"])])
async def test_a_full_buffer_drops(reader: Reader, overflow: Overflow, kept: list[str]) -> None:
    one = subscription(reader, overflow=overflow)
    for number in range(5):
        one.put(notify(number))
    assert one.missed == one.stream.missed == 2
    assert taken(one.stream) == kept


async def test_a_full_buffer_ends_it(reader: Reader) -> None:
    """What is in it can still be taken."""
    one = subscription(reader)
    for number in range(5):
        one.put(notify(number))
    assert [(await one.stream.receive()).payload for _ in range(3)] == ["0", "1", "2"]
    for _ in range(2):
        with pytest.raises(NotificationOverflow, match="a, b has ended: its buffer of 3"):
            await one.stream.receive()
    assert one.missed == 0


@pytest.mark.parametrize("overflow", ["error", "drop_oldest", "drop_newest"])
async def test_an_event_that_must_not_be_lost(reader: Reader, overflow: Overflow) -> None:
    """It goes into a full buffer, and nothing pushes it out."""
    one = subscription(reader, 1, overflow)
    one.put("told", force=True)
    one.put("told again", force=True)
    one.put(notify(1))
    assert [one.stream.receive_nowait() for _ in range(2)] == ["told", "told again"]


async def test_the_surplus(reader: Reader) -> None:
    """A quarter of the buffer's size is none, for a buffer that is no larger than the default."""
    one = subscription(reader, 8)
    assert [one.put(notify(number)) for number in range(4)] == [False, False, True, True]
    assert one.surplus == 2
    assert len(taken(one.stream)) == 4
    assert one.surplus == -2
    endless = subscription(reader, math.inf)
    assert endless.surplus == -(BUFFER_SIZE // 4)
    one.put(notify(1))
    one.end(None)
    assert one.surplus == 0


async def test_left(reader: Reader) -> None:
    one = subscription(reader)
    clone = reader.clone(one.stream)
    one.put(notify(1))
    one.leave()
    assert not one.put(notify(2))
    with pytest.raises(anyio.ClosedResourceError):
        await one.stream.receive()
    assert [event.payload async for event in clone] == ["1"]
    with pytest.raises(anyio.EndOfStream):
        await clone.receive()


async def test_ended_by_an_error(reader: Reader) -> None:
    """Each time a new one; only the first ending counts."""
    one = subscription(reader)
    one.put(notify(1))
    one.end(lambda: OperationalError("lost"))
    one.end(None)
    assert [(await one.stream.receive()).payload] == ["1"]
    seen = []
    for _ in range(2):
        with pytest.raises(OperationalError, match="lost") as caught:
            await one.stream.receive()
        seen.append(caught.value)
    assert seen[0] is not seen[1]


async def waiting(count: int, reader: Reader) -> None:
    """Return when so many tasks wait."""
    await anyio.wait_all_tasks_blocked()
    assert len(reader.waiting) == count


async def test_one_of_those_that_wait_gets_it(reader: Reader) -> None:
    one = subscription(reader)
    got: list[str] = []

    async def take(stream: Any) -> None:
        got.append((await stream.receive()).payload)

    async with anyio.create_task_group() as group:
        for stream in (one.stream, reader.clone(one.stream)):
            group.start_soon(take, stream)
        await waiting(2, reader)
        one.put(notify(1))
        await waiting(1, reader)
        assert got == ["1"]
        one.put(notify(2))
    assert got == ["1", "2"]


def receivers_alive() -> int:
    gc.collect()
    return sum(isinstance(thing, Receiver) for thing in gc.get_objects())


async def test_who_waits_no_longer_is_not_kept(reader: Reader) -> None:
    """Neither one who has received, nor one who was cancelled, nor one whose stream was closed."""
    one = subscription(reader, size=math.inf)
    clone = one.stream.clone()
    before = receivers_alive()

    async def take(stream: Any, scope: anyio.CancelScope) -> None:
        with scope, contextlib.suppress(anyio.ClosedResourceError):
            await stream.receive()

    for ending in ("receives", "cancelled", "closed"):
        scope = anyio.CancelScope()
        async with anyio.create_task_group() as group:
            group.start_soon(take, clone, scope)
            await waiting(1, reader)
            if ending == "receives":
                one.put(notify(1))
            elif ending == "cancelled":
                scope.cancel()
            else:
                clone.close()
    assert receivers_alive() == before


async def test_one_that_is_cancelled_when_it_was_woken_wakes_another(reader: Reader) -> None:
    one = subscription(reader)
    got: list[str] = []
    scope = anyio.CancelScope()

    async def doomed() -> None:
        with scope:
            await one.stream.receive()
            pytest.fail("it was cancelled before it could take anything")

    async def take() -> None:
        got.append((await one.stream.receive()).payload)

    async with anyio.create_task_group() as group:
        group.start_soon(doomed)
        await waiting(1, reader)
        group.start_soon(take)
        await waiting(2, reader)
        # The first that waits is woken, and cancelled before it runs.
        scope.cancel()
        one.put(notify(1))
    assert got == ["1"]


@pytest.mark.parametrize("how", ["leave", "end"])
async def test_the_end_wakes_everybody(reader: Reader, how: str) -> None:
    one = subscription(reader)
    ended = 0

    async def take(stream: Any) -> None:
        nonlocal ended
        async for _ in stream:
            pytest.fail("there was nothing to take")
        ended += 1

    clones = [reader.clone(one.stream) for _ in range(2)]
    async with anyio.create_task_group() as group:
        for clone in clones:
            group.start_soon(take, clone)
        await waiting(2, reader)
        if how == "leave":
            one.leave()
        else:
            one.end(None)
    assert ended == 2


async def test_a_receiver_that_is_closed_learns_of_it(reader: Reader) -> None:
    """By its waker, and by whoever reads: the task that waits may be the one that reads."""
    one = subscription(reader)

    async def take() -> None:
        with pytest.raises(anyio.ClosedResourceError):
            await one.stream.receive()

    async with anyio.create_task_group() as group:
        group.start_soon(take)
        await waiting(1, reader)
        one.stream.close()
        assert reader.nudged == 1
    assert one.stream.is_closed
    with pytest.raises(anyio.ClosedResourceError):
        one.stream.clone()


async def test_nothing_is_put_where_no_receiver_is_open(reader: Reader) -> None:
    one = subscription(reader)
    one.stream.close()
    assert not one.put(notify(1))
    assert not one.has_news


# -- on a connection


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


async def test_closing_the_stream_inside_the_block(auto: AsyncConnection, other: AsyncConnection) -> None:
    async with auto.listen("a", max_buffer_size=1) as stream, auto.listen("a") as second:
        await stream.aclose()
        await send(other, "a", *range(100))
        assert await receive(second, 100) == [str(x) for x in range(100)]
    assert await listened_to(auto) == set()


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
                got.append((await stream.receive()).payload)  # noqa: B023 - of this round, which it does not outlive

        def cancel(notify: Notify) -> None:
            # In the moment between being woken and taking it.
            scopes[victim].cancel()  # noqa: B023 - of this round, which it does not outlive

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
