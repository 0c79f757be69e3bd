"""A connection is for one event loop: elsewhere it is refused before a byte is sent, and its owner works on.

Elsewhere is another thread's loop at the same time, whether the owner is busy or idle; a later loop in the same thread;
a loop of another library; and the loop of one's own, for the connection inside a synchronous one.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

import anyq
from anyq import AsyncConnection, TransactionStatus
from anyq import errors as e
from tests.support.activity import held_lock
from tests.support.state import is_closed, status

pytestmark = pytest.mark.anyio

LOOPS: list[tuple[str, dict[str, Any]]] = [("asyncio", {}), ("trio", {})]


async def _execute(conn: AsyncConnection) -> None:
    await conn.execute("SELECT 'stranger'")


async def _executemany(conn: AsyncConnection) -> None:
    await conn.cursor().executemany("SELECT %s", [("stranger",), ("again",)])


async def _stream(conn: AsyncConnection) -> None:
    async for _ in conn.cursor().stream("SELECT 'stranger'"):
        pass


async def _transaction(conn: AsyncConnection) -> None:
    async with conn.transaction():
        pass


async def _commit(conn: AsyncConnection) -> None:
    await conn.commit()


async def _listen(conn: AsyncConnection) -> None:
    async with conn.listen("stranger"):
        pass


async def _notifies(conn: AsyncConnection) -> None:
    async for _ in conn.notifies():
        pass


async def _wait_disconnected(conn: AsyncConnection) -> None:
    await conn.wait_disconnected()


async def _cancel_safe(conn: AsyncConnection) -> None:
    await conn.cancel_safe()


async def _cancel(conn: AsyncConnection) -> None:
    await conn.cancel()


Use = Callable[[AsyncConnection], Awaitable[None]]
USES: list[Use] = [
    _execute,
    _executemany,
    _stream,
    _transaction,
    _commit,
    _listen,
    _notifies,
    _wait_disconnected,
    _cancel_safe,
    _cancel,
]


async def refused(conn: AsyncConnection, use: Use, match: str) -> None:
    for _ in range(2):
        with pytest.raises(e.InterfaceError, match=match):
            await use(conn)


@pytest.fixture(params=LOOPS, ids=["from asyncio", "from trio"])
def elsewhere(request: pytest.FixtureRequest) -> Any:
    """Run a coroutine function in an event loop in this thread, whatever else is there, in none of a test's tasks."""
    backend, options = request.param

    def run(function: Callable[..., Awaitable[Any]], *args: object) -> Any:
        return anyio.run(function, *args, backend=backend, backend_options=options)

    return run


@pytest.mark.parametrize("use", USES)
async def test_while_the_owner_is_idle(
    conn: AsyncConnection, use: Use, elsewhere: Any, anyio_backend_name: str
) -> None:
    match = f"belongs to the {anyio_backend_name} event loop of thread '{threading.current_thread().name}'"
    await anyio.to_thread.run_sync(elsewhere, refused, conn, use, match)
    cur = await conn.execute("SELECT 'owner'")
    assert await cur.fetchall() == [("owner",)]


async def test_while_the_owner_is_busy(conn: AsyncConnection, dsn: str, elsewhere: Any) -> None:
    async def owner() -> None:
        cur = await conn.execute(lock.statement)
        assert await cur.fetchall() == [("",)]
        done.append(True)

    done: list[bool] = []
    async with held_lock(dsn) as lock, anyio.create_task_group() as tasks:
        tasks.start_soon(owner)
        await lock.until_wanted(conn.info.backend_pid)
        for use in USES:
            await anyio.to_thread.run_sync(elsewhere, refused, conn, use, "belongs to the")
        assert not done
        await lock.release()
    assert done
    assert status(conn) is TransactionStatus.INTRANS


def test_in_a_later_loop_of_the_same_thread(dsn: str, anyio_backend: Any, elsewhere: Any) -> None:
    """It is not moved there: what belongs to the first loop, such as tasks that wait, has ended with that."""
    name, options = anyio_backend if isinstance(anyio_backend, tuple) else (anyio_backend, {})

    async def connect() -> AsyncConnection:
        return await AsyncConnection.connect(dsn)

    async def use_it() -> None:
        for use in USES:
            await refused(conn, use, f"the {name} event loop of thread .*, which has ended, and can")
        assert not is_closed(conn)
        await conn.close()
        assert is_closed(conn)

    conn = anyio.run(connect, backend=name, backend_options=options)
    elsewhere(use_it)


async def test_a_stream_is_not_continued_elsewhere(conn: AsyncConnection, elsewhere: Any) -> None:
    async def go_on() -> None:
        with pytest.raises(e.InterfaceError, match="belongs to the"):
            while True:
                await rows.__anext__()

    rows = conn.cursor().stream("SELECT generate_series(1, 100000)")
    assert await rows.__anext__() == (1,)
    await anyio.to_thread.run_sync(elsewhere, go_on)
    cur = await conn.execute("SELECT 'owner'")
    assert await cur.fetchall() == [("owner",)]


async def test_closing_elsewhere(conn: AsyncConnection, elsewhere: Any) -> None:
    """The owner is told as if it had been closed by another of its own tasks."""

    async def close() -> None:
        await conn.close()

    async def wait() -> None:
        await conn.wait_disconnected()
        told.append(True)

    told: list[bool] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        await anyio.to_thread.run_sync(elsewhere, close)
    assert told
    assert is_closed(conn)
    assert not conn.broken


async def test_leaving_its_block_elsewhere(conn: AsyncConnection, elsewhere: Any) -> None:
    async def leave() -> None:
        async with conn:
            pass

    with pytest.raises(e.InterfaceError, match="belongs to the"):
        await anyio.to_thread.run_sync(elsewhere, leave)
    await conn.wait_disconnected()
    assert is_closed(conn)


def test_the_connection_inside_a_synchronous_one(dsn: str, elsewhere: Any) -> None:
    async def use_it() -> None:
        for use in USES:
            await refused(conn.async_connection, use, "of thread 'anyq portal'")

    with anyq.connect(dsn) as conn:
        elsewhere(use_it)
        assert conn.execute("SELECT 'owner'").fetchall() == [("owner",)]


async def test_a_stream_is_not_ended_from_elsewhere(conn: AsyncConnection, elsewhere: Any) -> None:
    stream = conn.cursor().stream("SELECT generate_series(1, 200000)")
    assert await anext(stream) == (1,)
    await anyio.to_thread.run_sync(elsewhere, refused, conn, lambda _: stream.aclose(), "belongs to the")
    assert [row async for row in stream][-1] == (200_000,)
