"""Looking for a reply before it is waited for: when, for how long, and how often."""

from __future__ import annotations

import select
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import pytest

from anyq import AsyncConnection, errors
from anyq.session.busy_wait import LONGEST_BUSY_WAIT, MOST_SKIPS, BusyWait, this_thread
from anyq.session.link import CHUNK
from anyq.transport.channel import Buffer, Channel
from tests.support.activity import held_lock, until_sleeping
from tests.support.spying import passing

PATIENCE = 20.0
"""Seconds after which a test has failed; no operation is supposed to take them."""


async def ask(conn: AsyncConnection, query: str) -> Any:
    """Return the only value of a query's result."""
    ((answer,),) = await (await conn.execute(query)).fetchall()
    return answer


class Looking:
    """Counts how often somebody looks for a reply at a channel before having waited there."""

    def __init__(self, channel: Channel, monkeypatch: pytest.MonkeyPatch) -> None:
        self._channel = channel
        self._try_send, self._try_receive, self._wait = channel.try_send, channel.try_receive, channel.wait
        self._waited = True
        self.looked = 0
        self.looked_for_longer = 0
        """How often somebody would have looked for longer than a moment."""
        self.late = True
        """Whether replies are not there when somebody looks; otherwise they always are."""
        self.on_send: Callable[[], object] | None = None
        for name in ("try_send", "try_receive", "readable_within", "wait"):
            monkeypatch.setattr(channel, name, getattr(self, name))

    def try_send(self, data: Buffer) -> int:
        self._waited = False
        if self.on_send is not None:
            self.on_send()
        return self._try_send(data)

    def try_receive(self, max_bytes: int) -> bytes | None:
        if not self._waited:
            self.looked += 1
            if self.late:
                return None
            select.select([self._channel.fileno()], [], [], PATIENCE)
        return self._try_receive(max_bytes)

    def readable_within(self, seconds: float) -> bool:
        self.looked_for_longer += seconds > 0
        return False

    async def wait(self, readable: bool, writable: bool) -> None:
        await self._wait(readable, writable)
        self._waited = True


def look_until_there_is_something(channel: Channel, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Have nothing be there at first sight; return a list to which the seconds are added that are looked for longer.

    Which is as long as it takes, on any machine.
    """
    looks: list[float] = []
    there = False
    try_receive, wait = channel.try_receive, channel.wait

    def receive(max_bytes: int) -> bytes | None:
        nonlocal there
        if not there:
            return None
        there = False
        return try_receive(max_bytes)

    def look(seconds: float) -> bool:
        nonlocal there
        looks.append(seconds)
        there = bool(select.select([channel.fileno()], [], [], PATIENCE)[0])
        return there

    async def sleep(readable: bool, writable: bool) -> None:
        nonlocal there
        await wait(readable, writable)
        there = True

    monkeypatch.setattr(channel, "try_receive", receive)
    monkeypatch.setattr(channel, "readable_within", look)
    monkeypatch.setattr(channel, "wait", sleep)
    return looks


def count_waits(channel: Channel, monkeypatch: pytest.MonkeyPatch) -> list[tuple[bool, bool]]:
    """Return a list to which every wait at a channel is added."""
    waits: list[tuple[bool, bool]] = []
    original = channel.wait

    def wait(readable: bool, writable: bool) -> Awaitable[None]:
        waits.append((readable, writable))
        return original(readable, writable)

    monkeypatch.setattr(channel, "wait", wait)
    return waits


@pytest.mark.anyio
async def test_how_often_a_reply_is_looked_for_before_it_is_waited_for(
    conn: AsyncConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await conn.set_autocommit(True)
    channel = Looking(passing(conn), monkeypatch)
    conn.session.wire.busy_wait.skip = conn.session.wire.busy_wait.last_skips = 0

    async def looks(count: int) -> str:
        looks = ""
        for number in range(count):
            before = channel.looked
            assert await ask(conn, f"SELECT {number}") == number
            looks += str(channel.looked - before)
        return looks

    # Each time in vain, so ever less often,
    assert await looks(12) == "1" + "01" + "0001" + "00000"
    assert await looks(120) == "001" + "0" * 15 + "1" + "0" * 31 + "1" + "0" * 63 + "1" + "0" * 5
    channel.late = False
    # but as soon as one is there for all of them.
    assert await looks(63) == "0" * 58 + "11111"
    channel.late = True
    assert await looks(4) == "1" + "01" + "0"


@pytest.mark.anyio
async def test_a_lone_query_keeps_looking_for_its_reply(
    dsn: str, anyio_backend: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with AsyncConnection.connect(dsn, autocommit=True, busy_wait=LONGEST_BUSY_WAIT) as conn:
        waits = count_waits(passing(conn), monkeypatch)
        looks = look_until_there_is_something(passing(conn), monkeypatch)
        for number in range(5):
            assert await ask(conn, f"SELECT {number}") == number
        assert not waits
        assert len(looks) == 5
        assert all(0 < seconds < LONGEST_BUSY_WAIT for seconds in looks)


@pytest.mark.anyio
async def test_the_pieces_of_a_reply_are_looked_for_alike(
    dsn: str, anyio_backend: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with AsyncConnection.connect(dsn, autocommit=True, busy_wait=LONGEST_BUSY_WAIT) as conn:
        waits = count_waits(passing(conn), monkeypatch)
        looks = look_until_there_is_something(passing(conn), monkeypatch)
        cur = await conn.execute("SELECT repeat('x', 1000) FROM generate_series(1, 500)")
        assert len(await cur.fetchall()) == 500
        # But for the second piece, which may be waited for.
        assert len(waits) == 1
        assert len(looks) >= 500_000 // CHUNK


class Dripping:
    """Lets a few bytes of what has arrived through, and then nothing at first sight, before each piece."""

    def __init__(self, channel: Channel, monkeypatch: pytest.MonkeyPatch) -> None:
        self._try_receive, self._wait = channel.try_receive, channel.wait
        self._there = False
        self.late = True
        """Whether a piece has to be waited for; otherwise it comes while it is looked for."""
        self.looks = ""
        """For each piece that was waited for: 1 if it was looked for, 0 if not."""
        self._looked = False
        for name in ("try_receive", "readable_within", "wait"):
            monkeypatch.setattr(channel, name, getattr(self, name))

    def try_receive(self, max_bytes: int) -> bytes | None:
        if not self._there:
            return None
        self._there = False
        return self._try_receive(16)

    def readable_within(self, seconds: float) -> bool:
        self._looked = seconds > 0
        self._there = not self.late
        return self._there

    async def wait(self, readable: bool, writable: bool) -> None:
        self.looks += str(int(self._looked))
        self._looked = False
        await self._wait(readable, writable)
        self._there = True


@pytest.mark.anyio
async def test_pieces_that_do_not_come_soon_are_looked_for_ever_less_often(
    dsn: str, anyio_backend: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = "SELECT n, 'some more' FROM generate_series(1, 20) n"
    async with AsyncConnection.connect(dsn, autocommit=True, busy_wait=LONGEST_BUSY_WAIT) as conn:
        conn.session.wire.busy_wait.skip = MOST_SKIPS  # what comes before the first piece is no matter here
        with monkeypatch.context() as patch:
            channel = Dripping(passing(conn), patch)
            assert len(await (await conn.execute(query)).fetchall()) == 20
            # The first wait is for the first piece.
            assert channel.looks.startswith("0" + "1" + "01" + "0001" + "00000001" + "0" * 15 + "1")
            channel.looks, channel.late = "", False
            before = conn.session.wire.busy_wait.pieces.skip
            assert len(await (await conn.execute(query)).fetchall()) == 20
            # As soon as one has come while it was looked for, all are looked for.
            assert channel.looks == "0" * (1 + before)


@pytest.mark.anyio
async def test_a_reply_that_does_not_come_soon_is_waited_for(
    dsn: str, anyio_backend: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with held_lock(dsn) as lock, AsyncConnection.connect(dsn, autocommit=True) as conn:
        waits = count_waits(passing(conn), monkeypatch)
        conn.session.wire.busy_wait.skip = conn.session.wire.busy_wait.last_skips = 0
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(conn.execute, lock.statement)
                await anyio.wait_all_tasks_blocked()  # it has looked
                await lock.until_wanted(conn.info.backend_pid)
                await lock.release()
        assert waits
        assert conn.session.wire.busy_wait.skip == 1


@pytest.mark.anyio
async def test_where_nothing_is_looked_for_for_longer_than_a_moment(
    dsn: str, anyio_backend: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def looked_for_longer(conn: AsyncConnection) -> int:
        conn.session.wire.busy_wait.skip = conn.session.wire.busy_wait.last_skips = 0
        with monkeypatch.context() as patch:
            channel = Looking(passing(conn), patch)
            await conn.execute("SELECT 1")
        return channel.looked_for_longer

    async with (
        AsyncConnection.connect(dsn, autocommit=True) as conn,
        AsyncConnection.connect(dsn, autocommit=True) as other,
    ):
        conn.session.wire.busy_wait.seconds = PATIENCE
        assert await looked_for_longer(conn) == 1
        # While something else is under way in this thread,
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(other.execute, "SELECT pg_sleep(1000)")
            await until_sleeping(dsn, other.info.backend_pid)
            assert await looked_for_longer(conn) == 0
            tasks.cancel_scope.cancel()
        assert await looked_for_longer(conn) == 1
        # and where it was asked not to.
        conn.session.wire.busy_wait.seconds = 0
        assert await looked_for_longer(conn) == 0


@pytest.mark.parametrize("seconds", [-1e-6, 0.006, float("nan")])
@pytest.mark.anyio
async def test_a_busy_wait_has_a_limit(dsn: str, anyio_backend: Any, seconds: float) -> None:
    with pytest.raises(errors.ProgrammingError, match=r"busy_wait must be from 0 to 0\.005 seconds"):
        await AsyncConnection.connect(dsn, busy_wait=seconds)


@pytest.mark.anyio
async def test_cancelled_between_sending_and_looking(
    dsn: str, anyio_backend: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with AsyncConnection.connect(dsn, autocommit=True) as conn:
        for _ in range(8):  # prepared by the sixth
            assert await ask(conn, "SELECT 1") == 1
        conn.session.wire.busy_wait.seconds = PATIENCE
        conn.session.wire.busy_wait.skip = conn.session.wire.busy_wait.last_skips = 0
        with monkeypatch.context() as patch, anyio.CancelScope() as scope:
            channel = Looking(passing(conn), patch)
            channel.on_send = scope.cancel
            await conn.execute("SELECT 1")
        assert scope.cancelled_caught
        # Its checkpoint was before the look, the reply is drained, and the next query is alone again.
        assert channel.looked_for_longer == 0
        assert await ask(conn, "SELECT 2") == 2
        assert this_thread.traffic.under_way == 0


def test_how_one_backs_off() -> None:
    busy_wait = BusyWait()
    skips = []
    for _ in range(8):
        busy_wait.back_off()
        skips.append(busy_wait.skip)
    assert skips == [1, 3, 7, 15, 31, 63, 63, 63]
    assert skips[-1] == MOST_SKIPS
    busy_wait.last_skips = 0
    busy_wait.back_off()
    assert busy_wait.skip == 1


def test_every_thread_counts_for_itself() -> None:
    this_thread.traffic.under_way += 1
    try:
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(lambda: this_thread.traffic.under_way).result() == 0
    finally:
        this_thread.traffic.under_way -= 1
