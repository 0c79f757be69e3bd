"""Looking for a reply before it is waited for: when, for how long, and how often."""

from __future__ import annotations

import select
from typing import Any

import anyio
import pytest

from anyq import AsyncConnection, errors
from anyq.session import wire
from tests.support.activity import until_sleeping

pytestmark = pytest.mark.anyio

PATIENCE = 20.0
"""Seconds after which a test has failed; no operation is supposed to take them."""


async def ask(conn: AsyncConnection, query: str) -> Any:
    """Return the only value of a query's result."""
    ((answer,),) = await (await conn.execute(query)).fetchall()
    return answer


class _Looking:
    """A channel that counts how often somebody looks for a reply before having waited for it."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self._waited = True
        self.looked = 0
        self.looked_longer = 0
        """How often somebody would have looked for longer than a moment."""
        self.late = True
        """Whether replies are not there when somebody looks; otherwise they always are."""

    def try_send(self, data: Any) -> Any:
        self._waited = False
        return self._channel.try_send(data)

    def try_receive(self, max_bytes: int) -> Any:
        if not self._waited:
            self.looked += 1
            if self.late:
                return None
            select.select([self._channel.fileno()], [], [], PATIENCE)
        return self._channel.try_receive(max_bytes)

    def readable_within(self, seconds: float) -> bool:
        self.looked_longer += seconds > 0
        return False

    async def wait(self, readable: bool, writable: bool) -> None:
        await self._channel.wait(readable, writable)
        self._waited = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._channel, name)


class _Counting:
    """A channel that counts waits."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self.waits = 0

    def wait(self, readable: bool, writable: bool) -> Any:
        self.waits += 1
        return self._channel.wait(readable, writable)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._channel, name)


async def test_how_often_a_reply_is_looked_for_before_it_is_waited_for(conn: AsyncConnection) -> None:
    await conn.set_autocommit(True)
    conn.session.wire.channel = channel = _Looking(conn.session.wire.channel)  # type: ignore[assignment]
    conn.session.wire.skip = 0

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


async def test_a_lone_query_keeps_looking_for_its_reply(dsn: str, anyio_backend: Any) -> None:
    # Half a second, which nobody may ask for, so that the reply comes in time on any machine.
    async with AsyncConnection.connect(dsn, autocommit=True) as conn:
        conn.session.wire.busy_wait = 0.5
        conn.session.wire.channel = channel = _Counting(conn.session.wire.channel)  # type: ignore[assignment]
        for number in range(5):
            assert await ask(conn, f"SELECT {number}") == number
        assert channel.waits == 0
        # The pieces of a reply, too.
        cur = await conn.execute("SELECT repeat('x', 1000) FROM generate_series(1, 500)")
        assert len(await cur.fetchall()) == 500
        assert channel.waits == 0


async def test_a_reply_that_does_not_come_soon_is_waited_for(dsn: str, anyio_backend: Any) -> None:
    async with AsyncConnection.connect(dsn, autocommit=True, busy_wait=0.001) as conn:
        conn.session.wire.channel = channel = _Counting(conn.session.wire.channel)  # type: ignore[assignment]
        conn.session.wire.skip = 0
        await conn.execute("SELECT pg_sleep(0.05)")
        assert channel.waits
        assert conn.session.wire.skip == 1


async def test_where_nothing_is_looked_for_for_longer_than_a_moment(dsn: str, anyio_backend: Any) -> None:
    async def looked_longer(conn: AsyncConnection) -> int:
        channel = conn.session.wire.channel = _Looking(conn.session.wire.channel)  # type: ignore[assignment]
        conn.session.wire.skip = 0
        await conn.execute("SELECT 1")
        conn.session.wire.channel = channel._channel
        return channel.looked_longer

    async with (
        AsyncConnection.connect(dsn, autocommit=True) as conn,
        AsyncConnection.connect(dsn, autocommit=True) as other,
    ):
        conn.session.wire.busy_wait = 0.5
        assert await looked_longer(conn) == 1
        # While something else is under way in this thread,
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(other.execute, "SELECT pg_sleep(60)")
            await until_sleeping(dsn, other.info.backend_pid)
            assert await looked_longer(conn) == 0
            tasks.cancel_scope.cancel()
        assert await looked_longer(conn) == 1
        # and where it was asked not to.
        conn.session.wire.busy_wait = 0
        assert await looked_longer(conn) == 0


@pytest.mark.parametrize("seconds", [-1e-6, 0.006, float("nan")])
async def test_a_busy_wait_has_a_limit(dsn: str, anyio_backend: Any, seconds: float) -> None:
    with pytest.raises(errors.ProgrammingError, match=r"busy_wait must be from 0 to 0\.005 seconds"):
        await AsyncConnection.connect(dsn, busy_wait=seconds)


async def test_cancelled_between_sending_and_looking(dsn: str, anyio_backend: Any) -> None:
    async with AsyncConnection.connect(dsn, autocommit=True) as conn:
        for _ in range(8):  # prepared by the sixth
            assert await ask(conn, "SELECT 1") == 1
        conn.session.wire.busy_wait = 0.5
        channel = conn.session.wire.channel = _Looking(conn.session.wire.channel)  # type: ignore[assignment]
        conn.session.wire.skip = 0
        with anyio.CancelScope() as scope:
            send = channel.try_send

            def cancel(data: Any) -> Any:
                scope.cancel()
                return send(data)

            channel.try_send = cancel  # type: ignore[method-assign]
            await conn.execute("SELECT 1")
        assert scope.cancelled_caught
        conn.session.wire.channel = channel._channel
        # Its checkpoint was before the look, the reply is drained, and the next query is alone again.
        assert channel.looked_longer == 0
        assert await ask(conn, "SELECT 2") == 2
        assert wire._thread.traffic.under_way == 0
