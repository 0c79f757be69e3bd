"""Calls to be interrupted at every step, on an event loop or in synchronous code, and what has to be so afterwards."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import anyio.lowlevel

import anyq
from anyq import AsyncConnection, TransactionStatus
from tests.support.interrupting import Interrupt

#: Seconds; an interrupted call may not take longer, nor may what is checked after it.
GRACE = 1.0
PATIENCE = 10.0

Outcome = Counter[str]


class Wrong(AssertionError):
    """Something is not as it has to be after an interrupt."""


# -- on an event loop

AsyncCall = Callable[[AsyncConnection], Awaitable[object]]


async def _execute(conn: AsyncConnection) -> None:
    cur = await conn.execute("SELECT generate_series(1, %s)", (3,))
    assert await cur.fetchall() == [(1,), (2,), (3,)]


async def _executemany(conn: AsyncConnection) -> None:
    sets = ((i, "x" * 10) for i in range(2500))
    await conn.cursor().executemany("SELECT %s::int, %s", sets)


async def _stream(conn: AsyncConnection) -> None:
    async with conn.cursor().stream("SELECT generate_series(1, %s)", (1000,)) as rows:
        async for row in rows:
            if row == (900,):
                break


async def _transaction(conn: AsyncConnection) -> None:
    async with conn.transaction():
        await _nothing()


async def _savepoint(conn: AsyncConnection) -> None:
    async with conn.transaction(), conn.transaction():
        await conn.execute("SELECT 1")


async def _rolled_back(conn: AsyncConnection) -> None:
    async with conn.transaction(force_rollback=True):
        await _nothing()


async def _listen(conn: AsyncConnection) -> None:
    async with conn.listen("interrupted") as stream:
        await conn.notify("interrupted", "x")
        assert (await stream.receive()).payload == "x"


async def _commit(conn: AsyncConnection) -> None:
    await conn.commit()


async def _rollback(conn: AsyncConnection) -> None:
    await conn.rollback()


async def _close(conn: AsyncConnection) -> None:
    await conn.close()


async def _nothing() -> None:
    pass


async def _cancelled(conn: AsyncConnection) -> None:
    with anyio.move_on_after(0.001):
        await conn.execute("SELECT pg_sleep(60)")


ASYNC_CALLS: dict[str, AsyncCall | None] = {
    "execute": _execute,
    "executemany": _executemany,
    "stream": _stream,
    "transaction": _transaction,
    "savepoint": _savepoint,
    "rolled back": _rolled_back,
    "listen": _listen,
    "commit": _commit,
    "rollback": _rollback,
    "cancelled": _cancelled,
    "close": _close,
    "connect": None,
}
IN_TRANSACTION = {"commit", "rollback"}


class AsyncRun:
    """Interrupts one kind of call at one step after the other."""

    def __init__(self, dsn: str, kind: str, *, opcodes: bool, by_signal: bool) -> None:
        self.dsn = dsn
        self.kind = kind
        self.opcodes = opcodes
        self.by_signal = by_signal
        self.outcome: Outcome = Counter()
        self.wrong: list[str] = []
        self._conn: AsyncConnection | None = None

    def loop(self, backend: str, options: dict[str, Any], first: int, stride: int) -> None:
        """Interrupt at steps `first`, `first + stride`, and so on, until the call is at its end before that."""
        step = first
        sys.setrecursionlimit(2000)
        while True:
            run: dict[str, Any] = {}
            try:
                anyio.run(self._many, step, stride, run, backend=backend, backend_options=options)
            except KeyboardInterrupt:
                # The event loop itself was interrupted, and has ended.
                self.outcome["out of the loop"] += 1
            if run.get("finished"):
                return
            step = run["step"] + stride

    async def _many(self, step: int, stride: int, run: dict[str, Any]) -> None:
        before = self._tasks()
        self._conn = None
        fds = len(os.listdir("/proc/self/fd"))
        try:
            while True:
                run["step"] = step
                fired, alive = await self._once(step)
                if not fired:
                    run["finished"] = True
                    return
                if self._tasks() != before:
                    self.wrong.append(f"{self.kind} {step}: tasks are left: {self._tasks()}")
                if not alive:
                    return
                step += stride
        finally:
            with anyio.CancelScope(shield=True):
                if self._conn is not None and not self._conn.closed:
                    await self._conn.close()
            self._conn = None
            if len(os.listdir("/proc/self/fd")) > fds + 2:
                self.wrong.append(f"{self.kind}: descriptors are left")

    def _tasks(self) -> int:
        if "trio" in sys.modules and sys.modules["trio"].lowlevel.in_trio_run():
            return int(sys.modules["trio"].lowlevel.current_statistics().tasks_living)
        return len(asyncio.all_tasks())

    async def _connect(self) -> AsyncConnection:
        return await AsyncConnection.connect(
            self.dsn, autocommit=self.kind not in IN_TRANSACTION, grace_period=GRACE, application_name="interrupted"
        )

    async def _once(self, step: int) -> tuple[bool, bool]:
        """Return whether it was interrupted, and whether the event loop goes on."""
        call = ASYNC_CALLS[self.kind]
        conn = self._conn
        if call is not None and (conn is None or conn.closed):
            self._conn = conn = await self._connect()
        if self.kind in IN_TRANSACTION:
            assert conn is not None
            await conn.execute("SELECT 1")
        interrupt = Interrupt(step, opcodes=self.opcodes, by_signal=self.by_signal)
        came_out = alive = True
        try:
            with interrupt:
                if call is None:
                    self._conn = conn = await self._connect()
                else:
                    assert conn is not None
                    await call(conn)
            if self.by_signal:
                await anyio.lowlevel.checkpoint()
            came_out = False
        except KeyboardInterrupt:
            pass
        except BaseException as error:
            if "Cancelled" not in type(error).__name__:
                self.wrong.append(f"{self.kind} {step} at {interrupt.where}: {error!r} came out")
            alive = "Cancelled" not in type(error).__name__ or self.by_signal
            task = asyncio.current_task() if "Cancelled" in type(error).__name__ else None
            if task is not None and hasattr(task, "uncancel"):
                task.uncancel()
        if interrupt.where is None:
            return False, True
        if not came_out:
            self.wrong.append(f"{self.kind} {step} at {interrupt.where}: the interrupt was lost")
        try:
            with anyio.fail_after(PATIENCE):
                self.outcome[await self._look(conn, step)] += 1
        except BaseException as error:
            self.wrong.append(f"{self.kind} {step} at {interrupt.where}: {error!r}")
            if os.environ.get("DEBUG"):
                raise
            if conn is not None:
                conn.session.wire.abort("wrong")
            if not isinstance(error, Exception):
                raise
        return True, alive

    async def _look(self, conn: AsyncConnection | None, step: int) -> str:
        if conn is None or self.kind == "connect":
            return "not connected"
        if conn.closed:
            return "closed"
        session = conn.session
        check(not session.transactions.blocks, "a block is left")
        if self.kind not in IN_TRANSACTION:
            await session.wire.catch_up()
            check(session.transaction_status is TransactionStatus.IDLE, "a transaction is left open")
        for more in range(2):
            number = step * 10 + more
            cur = await conn.execute("SELECT generate_series(%s, %s::int)", (number, number + 1))
            check(await cur.fetchall() == [(number,), (number + 1,)], "somebody else's rows")
        await conn.rollback()
        check(session.transaction_status is TransactionStatus.IDLE, "a transaction is open after rollback()")
        async with conn.transaction():
            cur = await conn.execute("SELECT %s::text", (str(step),))
            check(await cur.fetchone() == (str(step),), "somebody else's row")
        cur = await conn.execute("SELECT * FROM pg_listening_channels()")
        check(await cur.fetchall() == [], "it listens")
        await conn.rollback()
        wire = session.wire
        check(not wire.protocol.pending, "a request is left")
        check(not wire.sending, "something is being sent")
        check(not wire.unsent, "something was not sent")
        return "usable"


def check(fact: object, what: str) -> None:
    if not fact:
        raise Wrong(what)


# -- in synchronous code

SyncCall = Callable[["anyq.Connection[Any]"], object]


def _sync_execute(conn: anyq.Connection[Any]) -> None:
    assert conn.execute("SELECT generate_series(1, %s)", (3,)).fetchall() == [(1,), (2,), (3,)]


def _sync_executemany(conn: anyq.Connection[Any]) -> None:
    conn.cursor().executemany("SELECT %s::int, %s", [(i, "x") for i in range(10)])


def _sync_executemany_generator(conn: anyq.Connection[Any]) -> None:
    conn.cursor().executemany("SELECT %s::int, %s", ((i, "x" * 10) for i in range(2500)))


def _sync_stream(conn: anyq.Connection[Any]) -> None:
    with conn.cursor().stream("SELECT generate_series(1, %s)", (1000,), size=400) as rows:
        for row in rows:
            if row == (900,):
                break


def _sync_stream_dropped(conn: anyq.Connection[Any]) -> None:
    for _ in conn.cursor().stream("SELECT generate_series(1, %s)", (1000,)):
        break


def _sync_transaction(conn: anyq.Connection[Any]) -> None:
    with conn.transaction():
        pass


def _sync_savepoint(conn: anyq.Connection[Any]) -> None:
    with conn.transaction(), conn.transaction():
        pass


def _sync_rolled_back(conn: anyq.Connection[Any]) -> None:
    with conn.transaction(force_rollback=True):
        pass


def _sync_listen(conn: anyq.Connection[Any]) -> None:
    with conn.listen("interrupted") as stream:
        conn.notify("interrupted", "x")
        assert stream.receive().payload == "x"


def _sync_notifies(conn: anyq.Connection[Any]) -> None:
    assert list(conn.notifies(timeout=0)) == []


def _sync_commit(conn: anyq.Connection[Any]) -> None:
    conn.commit()


def _sync_rollback(conn: anyq.Connection[Any]) -> None:
    conn.rollback()


def _sync_close(conn: anyq.Connection[Any]) -> None:
    conn.close()


SYNC_CALLS: dict[str, SyncCall | None] = {
    "execute": _sync_execute,
    "executemany": _sync_executemany,
    "executemany of a generator": _sync_executemany_generator,
    "stream": _sync_stream,
    "stream that is dropped": _sync_stream_dropped,
    "transaction": _sync_transaction,
    "savepoint": _sync_savepoint,
    "rolled back": _sync_rolled_back,
    "listen": _sync_listen,
    "notifies": _sync_notifies,
    "commit": _sync_commit,
    "rollback": _sync_rollback,
    "close": _sync_close,
    "connect": None,
}


class SyncRun:
    """Interrupts one kind of synchronous call at one step after the other."""

    def __init__(self, dsn: str, kind: str, *, opcodes: bool) -> None:
        self.dsn = dsn
        self.kind = kind
        self.opcodes = opcodes
        self.outcome: Outcome = Counter()
        self.wrong: list[str] = []

    def _connect(self) -> anyq.Connection[Any]:
        return anyq.connect(
            self.dsn, autocommit=self.kind not in IN_TRANSACTION, grace_period=GRACE, application_name="interrupted"
        )

    def loop(self, first: int, stride: int) -> None:
        """As of :class:`AsyncRun`."""
        step = first
        # Another one, so that the portal stays; but not where its end belongs to what is interrupted.
        keep = None if self.kind in ("close", "connect") and step % 2 else self._connect()
        conn: anyq.Connection[Any] | None = None
        call = SYNC_CALLS[self.kind]
        while True:
            if call is not None and (conn is None or conn.closed):
                conn = self._connect()
            if self.kind in IN_TRANSACTION:
                assert conn is not None
                conn.execute("SELECT 1")
            interrupt = Interrupt(step, opcodes=self.opcodes)
            came_out = True
            try:
                with interrupt:
                    if call is None:
                        conn = self._connect()
                    else:
                        assert conn is not None
                        call(conn)
                came_out = False
            except KeyboardInterrupt:
                pass
            except BaseException as error:
                self.wrong.append(f"{self.kind} {step} at {interrupt.where}: {error!r} came out")
            if interrupt.where is None:
                break
            if not came_out:
                self.wrong.append(f"{self.kind} {step} at {interrupt.where}: the interrupt was lost")
            try:
                with anyq.sync.timeout(PATIENCE):
                    self.outcome[self._look(conn, step)] += 1
            except BaseException as error:
                self.wrong.append(f"{self.kind} {step} at {interrupt.where}: {error!r}")
                if os.environ.get("DEBUG"):
                    raise
                if conn is not None:
                    conn.close()
            if self.kind == "connect" and conn is not None:
                conn.close()
                conn = None
            step += stride
        if conn is not None:
            conn.close()
        if keep is not None:
            keep.close()
        left = [thread for thread in threading.enumerate() if thread.name == "anyq portal"]
        for thread in left:
            thread.join(5)
        if any(thread.is_alive() for thread in left):
            self.wrong.append(f"{self.kind}: the portal's thread is left")

    def _look(self, conn: anyq.Connection[Any] | None, step: int) -> str:
        if conn is None or self.kind == "connect":
            return "not connected"
        if conn.closed:
            return "closed"
        for more in range(2):
            number = step * 10 + more
            rows = conn.execute("SELECT generate_series(%s, %s::int)", (number, number + 1)).fetchall()
            check(rows == [(number,), (number + 1,)], "somebody else's rows")
            if self.kind not in IN_TRANSACTION:
                check(conn.info.transaction_status is TransactionStatus.IDLE, "a transaction is left open")
        check(not conn.async_connection.session.transactions.blocks, "a block is left")
        conn.rollback()
        check(conn.info.transaction_status is TransactionStatus.IDLE, "a transaction is open after rollback()")
        with conn.transaction():
            check(conn.execute("SELECT %s::text", (str(step),)).fetchone() == (str(step),), "somebody else's row")
        conn.cursor().executemany("SELECT %s::int", iter([(1,), (2,)]))
        check(conn.execute("SELECT * FROM pg_listening_channels()").fetchall() == [], "it listens")
        conn.rollback()
        wire = conn.async_connection.session.wire
        check(not wire.protocol.pending, "a request is left")
        return "usable"
