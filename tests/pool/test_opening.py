"""How a pool gets connections while a server cannot be reached, and what `configure` may do."""

from __future__ import annotations

import logging
import sys
from typing import Any

import anyio
import pytest

from anyq import AsyncConnection
from anyq.errors import OperationalError
from anyq.pool import AsyncConnectionPool, PoolTimeout
from anyq.pool import opening as opening_module
from tests.support.activity import PATIENCE
from tests.support.pools import Gate, kill, opened, pid_of, until
from tests.support.server import Server

pytestmark = pytest.mark.anyio

BLOCK = pytest.mark.parametrize("block", [True, False], ids=["block", "open"])


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have attempts follow each other quickly."""
    monkeypatch.setattr(opening_module, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(opening_module, "LONGEST_PAUSE", 0.002)


@BLOCK
async def test_one_tries_again_until_it_succeeds(
    dsn: str, block: bool, quick: None, caplog: pytest.LogCaptureFixture
) -> None:
    gate = Gate(dsn)
    gate.refuses = True
    async with opened(gate.pool(max_size=5), block=block) as pool:
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(pid_of, pool)
            await until(lambda: gate.attempts > 12)
            assert gate.under_way <= 1, "the others wait for it"
            gate.refuses = False
        stats = pool.get_stats()
        assert stats["connections_errors"] >= 8
        assert stats["requests_errors"] == 0
    assert {record.name for record in caplog.records} == {"anyq.pool"}
    assert "could not open a connection: refused" in caplog.text


async def test_pauses_get_longer(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    gate = Gate(dsn)
    gate.refuses = True

    async def slept(seconds: float) -> None:
        pauses.append(seconds)
        gate.refuses = len(pauses) < 8
        await anyio.lowlevel.checkpoint()

    monkeypatch.setattr(anyio, "sleep", slept)
    async with gate.pool(max_size=5) as pool:
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(pid_of, pool)
        assert gate.attempts >= 5 + 8, "all of them were begun at once"
        for pause, longest in zip(pauses, [0.05, 0.1, 0.2, 0.4, 0.5, 0.5, 0.5, 0.5], strict=True):
            assert 0.8 * longest <= pause <= longest
        await pool.resize(0, 1)
        async with pool.connection() as conn:
            await conn.close()
        pauses.clear()
        gate.refuses = True
        await pid_of(pool)
        assert pauses[0] <= 0.05, "it begins anew"


@BLOCK
@pytest.mark.parametrize("is_async", [True, False])
async def test_it_is_given_up(dsn: str, block: bool, is_async: bool, quick: None) -> None:
    """Who waits is told; the next one who asks has it tried again, even while the user's function is still called."""
    gate = Gate(dsn)
    gate.refuses = True
    told: list[object] = []
    over = anyio.Event()

    def failed(pool: object) -> None:
        told.append(pool)

    async def failed_later(pool: object) -> None:
        if block:
            failed(pool)
            await over.wait()
        else:
            await anyio.lowlevel.checkpoint()  # its client has been told, which does not cancel it
            failed(pool)

    kwargs: dict[str, Any] = {"reconnect_failed": failed_later if is_async else failed}
    pool = gate.pool(reconnect_timeout=0.05, name="mine", **kwargs)
    async with opened(pool, block=block):
        async with anyio.create_task_group() as group:

            async def client() -> None:
                with pytest.raises(PoolTimeout, match="'mine' could not reach a server within 0.05 s.*refused") as info:
                    await pool.getconn()
                assert isinstance(info.value.__cause__, OperationalError)

            for _ in range(3):
                group.start_soon(client)
        await until(lambda: told)
        assert told == [pool]
        stats = pool.get_stats()
        assert (stats["pool_size"], stats["requests_waiting"]) == (0, 0)
        before = gate.attempts
        gate.refuses = False
        await pid_of(pool)
        assert gate.attempts == before + 1
        over.set()


@BLOCK
async def test_all_statements_are_told_that_it_is_given_up(dsn: str, block: bool, quick: None) -> None:
    gate = Gate(dsn)
    gate.refuses = True
    told: list[str] = []
    async with opened(gate.pool(timeout=1e9, reconnect_timeout=0), block=block) as pool:

        async def statement() -> None:
            with pytest.raises(PoolTimeout, match="could not reach a server within 0 s.*refused") as info:
                await pool.execute("SELECT 1")
            told.append(str(info.value))

        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as group:
                for _ in range(5):
                    group.start_soon(statement)
        gate.refuses = False
        assert await (await pool.execute("SELECT 1")).fetchone() == (1,)
    assert len(told) == 5


async def test_what_has_failed_long_ago_is_no_reason(dsn: str, quick: None) -> None:
    gate = Gate(dsn)
    gate.refuses = True
    async with gate.pool(max_size=1, reconnect_timeout=0) as pool:
        with pytest.raises(PoolTimeout, match="refused"):
            await pool.getconn()
        gate.refuses = False
        async with pool.connection():
            with pytest.raises(PoolTimeout) as info:
                await pool.getconn(timeout=0)
    assert str(info.value).endswith("within 0 s; clients have 1 of 1")
    assert info.value.__cause__ is None


async def test_min_size_is_filled_up_after_it_was_given_up(dsn: str, quick: None) -> None:
    gate = Gate(dsn)
    gate.refuses = True
    told = anyio.Event()
    async with gate.pool(min_size=3, max_size=3, reconnect_timeout=0, reconnect_failed=lambda pool: told.set()) as pool:
        await told.wait()
        gate.refuses = False
        await pid_of(pool)
        await pool.wait(PATIENCE)
        assert pool.get_stats()["pool_size"] == 3


async def test_a_reconnect_failed_that_fails(dsn: str, quick: None, caplog: pytest.LogCaptureFixture) -> None:
    gate = Gate(dsn)
    gate.refuses = True

    def failed(pool: object) -> None:
        raise ZeroDivisionError

    async with gate.pool(reconnect_timeout=0, reconnect_failed=failed) as pool:
        with pytest.raises(PoolTimeout):
            await pool.getconn()
        await until(lambda: "reconnect_failed of 'pool-" in caplog.text)
        assert "gives up reaching a server after 0 s" in caplog.text


@BLOCK
async def test_an_outage_that_nobody_has_waited_for_to_end(dsn: str, block: bool, quick: None) -> None:
    """It is over when nobody tries any more: who asks hours later has his own `reconnect_timeout`."""
    gate = Gate(dsn)
    gate.refuses = True
    async with opened(gate.pool(reconnect_timeout=60), block=block) as pool:
        async with anyio.create_task_group() as group:
            group.start_soon(pool.getconn)
            await until(lambda: gate.attempts > 2)
            group.cancel_scope.cancel()
        await until(lambda: pool.books.opening == 0)
        pool.opener._last_tried -= 3600
        pool.opener._outage_since -= 3600
        async with anyio.create_task_group() as group:
            before = gate.attempts
            group.start_soon(pid_of, pool)
            await until(lambda: gate.attempts > before + 2)
            gate.refuses = False


@pytest.mark.parametrize("mode", ["fast", pytest.param("immediate", marks=pytest.mark.any_loop)])
async def test_a_restart_under_load(embedded_server: Server, mode: str) -> None:
    """It heals by itself, for clients and for statements, with no more connections than it needs."""
    size, tasks = 5, 50
    left: set[int] = set()
    done = False
    pool = AsyncConnectionPool(embedded_server.dsn, min_size=size, timeout=PATIENCE)

    async def once(number: int) -> None:
        if number % 2:
            await pool.execute("SELECT 1")
            return
        async with pool.connection() as conn:
            await conn.execute("SELECT 1")

    async def client(number: int) -> None:
        while not done:
            try:
                await once(number)
            except OperationalError:
                await anyio.lowlevel.checkpoint()
            else:
                left.discard(number)

    async with pool:
        await pool.wait()
        async with anyio.create_task_group() as group:
            left.update(range(tasks))
            for number in range(tasks):
                group.start_soon(client, number)
            await until(lambda: not left)
            await anyio.to_thread.run_sync(embedded_server.restart, mode)
            left.update(range(tasks))
            await until(lambda: not left)
            done = True
        await pool.wait(PATIENCE)
        stats = pool.get_stats()
        assert stats["pool_size"] == size
        assert stats["connections_num"] - stats["connections_errors"] == 2 * size


async def test_lifetimes_differ(dsn: str) -> None:
    async with AsyncConnectionPool(dsn, min_size=4, max_lifetime=1000) as pool:
        await pool.wait()
        lifetimes = [place.expires_at - place.made_at for place in pool.books.idle]
        assert len(set(lifetimes)) == 4
        assert 950 <= min(lifetimes) <= max(lifetimes) <= 1000


# -- configure


async def test_adapters_for_all_connections(dsn: str) -> None:
    from anyq.types.numeric import FloatLoader

    def configure(conn: AsyncConnection) -> None:
        conn.adapters.register_loader("numeric", FloatLoader)

    pool = AsyncConnectionPool(dsn, min_size=2, configure=configure)
    async with pool, pool.connection() as one, pool.connection() as two:
        for conn in (one, two):
            row = await (await conn.execute("SELECT 1.5")).fetchone()
            assert row == (1.5,)
            assert type(row[0]) is float


@BLOCK
@pytest.mark.parametrize("what", ["raises", "leaves a transaction", "takes too long"])
async def test_a_configure_that_goes_wrong(
    dsn: str, block: bool, what: str, quick: None, caplog: pytest.LogCaptureFixture
) -> None:
    """It is as if the connection could not be opened."""
    conns: list[AsyncConnection] = []

    async def configure(conn: AsyncConnection) -> None:
        conns.append(conn)
        if len(conns) > 1:
            return
        if what == "takes too long":
            await anyio.sleep_forever()
        if what == "raises":
            raise ZeroDivisionError("of the user's")
        await conn.execute("SELECT 1")

    pool = AsyncConnectionPool(dsn, min_size=0, max_size=1, configure=configure, timeout=0.2)
    async with opened(pool, block=block):
        async with pool.connection(PATIENCE) as conn:
            assert conn is conns[1]
        assert conns[0].closed
    messages = {"raises": "of the user's", "leaves a transaction": "configure has left a transaction open (INTRANS)"}
    assert messages.get(what, "TimeoutError") in caplog.text


@BLOCK
async def test_kwargs_that_are_wrong(dsn: str, block: bool, caplog: pytest.LogCaptureFixture) -> None:
    """What cannot succeed is told to who has waited, with the reason."""
    caplog.set_level(logging.CRITICAL)
    pool = AsyncConnectionPool(dsn, min_size=0, max_size=1, kwargs={"no_such_option": 1}, timeout=0.1)
    async with opened(pool, block=block):
        with pytest.raises(PoolTimeout, match="no_such_option"):
            await pool.getconn()


async def test_a_connection_that_dies_in_configure(dsn: str, quick: None) -> None:
    killed: list[int] = []

    async def configure(conn: AsyncConnection) -> None:
        if not killed:
            killed.append(conn.info.backend_pid)
            await kill(dsn, *killed)

    async with AsyncConnectionPool(dsn, min_size=1, configure=configure, timeout=PATIENCE) as pool:
        async with pool.connection() as conn:
            assert not conn.closed
        assert pool.get_stats()["connections_errors"] == 1
    assert sys.exc_info() == (None, None, None)
