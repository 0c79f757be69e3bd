"""Calls to be interrupted at every step, on an event loop or in synchronous code, and what has to be so afterwards."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from typing import Any

import anyio
import anyio.lowlevel
import trio

import anyq
from anyq import AsyncConnection, TransactionStatus
from anyq.backends import current_backend
from anyq.session.transactions import TwoPhase
from tests.support.interrupting import Interrupt
from tests.support.stepping import cancelled_at
from tests.support.two_phase import leave_none, leave_none_async

#: Seconds; an interrupted call may not take longer, nor may what is checked after it.
GRACE = 1.0
PATIENCE = 10.0


class Wrong(AssertionError):
    """Something is not as it has to be after an interrupt."""


# -- on an event loop

AsyncCall = Callable[[AsyncConnection], Awaitable[object]]


async def _execute(conn: AsyncConnection) -> None:
    cur = await conn.execute("SELECT generate_series(1, %s)", (3,))
    assert await cur.fetchall() == [(1,), (2,), (3,)]


async def _executemany(conn: AsyncConnection) -> None:
    sets = ((i, "x" * 70_000) for i in range(4))  # each is a batch
    await conn.cursor().executemany("SELECT %s::int, %s", sets)


async def _stream(conn: AsyncConnection) -> None:
    async with conn.cursor().stream("SELECT generate_series(1, %s)", (1000,)) as rows:
        async for row in rows:
            if row == (30,):
                break


async def _named_cursor(conn: AsyncConnection) -> None:
    async with conn.cursor("c", withhold=True) as cur:
        cur.itersize = 20
        await cur.execute("SELECT generate_series(1, %s)", (30,))
        assert await cur.fetchone() == (1,)
        assert [row async for row in cur] == [(number,) for number in range(2, 31)]


async def _copy_in(conn: AsyncConnection) -> None:
    await conn.execute("CREATE TEMPORARY TABLE IF NOT EXISTS copied (n int)")
    async with conn.cursor().copy("COPY copied FROM STDIN") as copy:
        for number in range(3):
            await copy.write_row((number,))


async def _copy_out(conn: AsyncConnection) -> None:
    async with conn.cursor().copy("COPY (SELECT generate_series(1, 1000)) TO STDOUT") as copy:
        async for row in copy.rows():
            if row == ("30",):
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


async def _pipeline(conn: AsyncConnection) -> None:
    async with conn.pipeline() as pipeline:
        cur = await conn.execute("SELECT %s::int", (1,))
        await conn.execute("SELECT 2")
        assert await cur.fetchone() == (1,)
        await conn.execute("SELECT 3")
        await pipeline.sync()


async def _pipelined_transaction(conn: AsyncConnection) -> None:
    async with conn.pipeline(), conn.transaction():
        await conn.execute("SELECT 1")


async def _listen(conn: AsyncConnection) -> None:
    async with conn.listen("interrupted") as stream:
        await conn.notify("interrupted", "x")
        assert (await stream.receive()).payload == "x"


async def _commit(conn: AsyncConnection) -> None:
    await conn.commit()


async def _rollback(conn: AsyncConnection) -> None:
    await conn.rollback()


async def _two_phase(conn: AsyncConnection) -> None:
    await conn.tpc_begin(f"interrupted {conn.info.backend_pid}")
    await conn.tpc_prepare()
    await conn.tpc_commit()


async def _close(conn: AsyncConnection) -> None:
    await conn.close()


async def _nothing() -> None:
    pass


async def _cancelled(conn: AsyncConnection) -> None:
    await cancelled_at(1, lambda: conn.execute("SELECT pg_sleep(60)"))


ASYNC_CALLS: dict[str, AsyncCall | None] = {
    "execute": _execute,
    "executemany": _executemany,
    "stream": _stream,
    "named cursor": _named_cursor,
    "copy in": _copy_in,
    "copy out": _copy_out,
    "transaction": _transaction,
    "savepoint": _savepoint,
    "rolled back": _rolled_back,
    "pipeline": _pipeline,
    "pipelined transaction": _pipelined_transaction,
    "listen": _listen,
    "commit": _commit,
    "rollback": _rollback,
    "two-phase": _two_phase,
    "cancelled": _cancelled,
    "close": _close,
    "connect": None,
}
IN_TRANSACTION = {"commit", "rollback"}
MANUAL = {*IN_TRANSACTION, "two-phase"}


class Run:
    """What has become of one kind of call that was interrupted at one step after the other."""

    def __init__(self, dsn: str, kind: str, *, opcodes: bool = False) -> None:
        self.dsn = dsn
        self.kind = kind
        self.opcodes = opcodes
        #: How often a connection was usable after it, or closed.
        self.outcome: Counter[str] = Counter()
        #: What was not as it has to be, with the step and where that is.
        self.wrong: list[str] = []

    @property
    def options(self) -> dict[str, Any]:
        return {"autocommit": self.kind not in MANUAL, "grace_period": GRACE}

    def blame(self, interrupt: Interrupt, what: object) -> None:
        self.wrong.append(f"{self.kind}, step {interrupt.step} at {interrupt.where}: {what}")


class AsyncRun(Run):
    """On an event loop, in the main task.

    :param by_signal: see :class:`Interrupt`.
    """

    def __init__(self, dsn: str, kind: str, *, opcodes: bool = False, by_signal: bool = False) -> None:
        super().__init__(dsn, kind, opcodes=opcodes)
        self.by_signal = by_signal
        self._conn: AsyncConnection | None = None
        self._step = 1
        self._finished = False

    def loop(self, backend: str, options: dict[str, Any], first: int = 1, stride: int = 1) -> None:
        """Interrupt at steps `first`, `first + stride`, and so on, until the call is at its end before that."""
        self._step = first
        # asyncio's runner cancels the main task at the first SIGINT only, and raises KeyboardInterrupt from then on.
        many = not (self.by_signal and backend == "asyncio")
        while not self._finished:
            try:
                anyio.run(self._run, stride, many, backend=backend, backend_options=options)
            except KeyboardInterrupt:
                # The event loop itself was interrupted, or its runner says what it has cancelled the task for.
                if many:
                    self.outcome["the loop has ended"] += 1

    async def _run(self, stride: int, many: bool) -> None:
        before = _tasks()
        files = _files()
        self._conn = None
        try:
            while await self._one() and many:
                if _tasks() != before:
                    self.wrong.append(f"{self.kind}, before step {self._step}: a task is left")
                self._step += stride
            self._step += stride
        finally:
            with anyio.CancelScope(shield=True):
                await self._close()
            gc.collect()
            if _files() > files:
                self.wrong.append(f"{self.kind}, before step {self._step}: a socket is left")

    async def _close(self) -> None:
        conn, self._conn = self._conn, None
        if conn is not None and not conn.closed:
            await conn.close()

    async def _one(self) -> bool:
        """Interrupt at a step; return whether the event loop goes on, and the call was interrupted."""
        call = ASYNC_CALLS[self.kind]
        if call is not None and (self._conn is None or self._conn.closed):
            self._conn = await self._connect()
        if self.kind in IN_TRANSACTION:
            assert self._conn is not None
            await self._conn.execute("SELECT 1")
        interrupt = Interrupt(self._step, opcodes=self.opcodes, by_signal=self.by_signal)
        ended = False
        try:
            await self._call(call, interrupt)
        except KeyboardInterrupt:
            pass
        except BaseException as error:
            ended = type(error).__name__ in ("Cancelled", "CancelledError")
            if not ended:
                self.blame(interrupt, f"{error!r} came out")
        else:
            if interrupt.where is not None:
                self.blame(interrupt, "it was lost")
        if interrupt.where is None:
            self._finished = True
            return False
        task = asyncio.current_task() if ended else None
        if task is not None and hasattr(task, "uncancel"):
            task.uncancel()
        try:
            with anyio.fail_after(PATIENCE):
                self.outcome[await self._look_at_all()] += 1
        except Exception as error:
            self.blame(interrupt, repr(error))
            if self._conn is not None:
                self._conn.session.wire.abort("something is wrong")
        return not ended

    async def _call(self, call: AsyncCall | None, interrupt: Interrupt) -> None:
        with interrupt:
            if call is None:
                self._conn = await self._connect()
            else:
                assert self._conn is not None
                await call(self._conn)
        if self.by_signal:
            # It may come as late as that.
            await anyio.lowlevel.checkpoint()

    async def _connect(self) -> AsyncConnection:
        return await AsyncConnection.connect(self.dsn, **self.options)

    async def _look_at_all(self) -> str:
        found = await self._look()
        if self.kind == "two-phase":
            check_prepared(await leave_none_async(self.dsn), found)
        return found

    async def _look(self) -> str:
        conn = self._conn
        if conn is None or self.kind == "connect":
            if conn is not None:
                await conn.close()
            return "not connected"
        if conn.closed:
            return "closed"
        session = conn.session
        if session.transactions.two_phase is not TwoPhase.NONE:
            await conn.tpc_rollback()
        if self.kind not in MANUAL:
            await conn.execute("SELECT 1")
            check(session.transaction_status is TransactionStatus.IDLE, "a transaction is left open")
        number = self._step
        cur = await conn.execute("SELECT generate_series(%s, %s::int)", (number, number + 1))
        check(await cur.fetchall() == [(number,), (number + 1,)], "somebody else's rows")
        await conn.rollback()
        check(session.transaction_status is TransactionStatus.IDLE, "a transaction is open after rollback()")
        async with conn.transaction():
            cur = await conn.execute("SELECT %s::text", (str(number),))
            check(await cur.fetchone() == (str(number),), "somebody else's row")
        if self.by_signal:
            # An exception may also come when the block is about to be left, and none of its code has run.
            cur = await conn.execute("SELECT * FROM pg_listening_channels()")
            check(await cur.fetchall() == [], "it listens")
            await conn.rollback()
        wire = session.wire
        cur = await conn.execute("SELECT name FROM pg_cursors WHERE name <> ''")
        check(await cur.fetchall() == [], "a cursor is left")
        await conn.rollback()
        check(not (wire.protocol.pending or wire.sending or wire.unsent), "something is left to be sent or received")
        return "usable"


def _tasks() -> int:
    if current_backend().name == "trio":
        return trio.lowlevel.current_statistics().tasks_living
    return len(asyncio.all_tasks())


def _files() -> int:
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


def check(fact: object, what: str) -> None:
    if not fact:
        raise Wrong(what)


def check_prepared(left: int, found: str) -> None:
    """Check that no transaction was left prepared but by a connection that had to be closed: that is for others to end.

    A server has room for few of them, and each step may leave one.
    """
    check(not left or found == "closed" and left == 1, "a transaction is left prepared")


# -- in synchronous code

SyncCall = Callable[["anyq.Connection[Any]"], object]


def _sync_execute(conn: anyq.Connection[Any]) -> None:
    assert conn.execute("SELECT generate_series(1, %s)", (3,)).fetchall() == [(1,), (2,), (3,)]


def _sync_executemany(conn: anyq.Connection[Any]) -> None:
    conn.cursor().executemany("SELECT %s::int, %s", [(i, "x") for i in range(10)])


def _sync_executemany_generator(conn: anyq.Connection[Any]) -> None:
    conn.cursor().executemany("SELECT %s::int, %s", ((i, "x" * 70_000) for i in range(4)))


def _sync_stream(conn: anyq.Connection[Any]) -> None:
    with conn.cursor().stream("SELECT generate_series(1, %s)", (1000,), size=400) as rows:
        for row in rows:
            if row == (900,):
                break


def _sync_named_cursor(conn: anyq.Connection[Any]) -> None:
    with conn.cursor("c", withhold=True) as cur:
        cur.itersize = 20
        cur.execute("SELECT generate_series(1, %s)", (30,))
        assert cur.fetchone() == (1,)
        assert list(cur) == [(number,) for number in range(2, 31)]


def _sync_stream_dropped(conn: anyq.Connection[Any]) -> None:
    for _ in conn.cursor().stream("SELECT generate_series(1, %s)", (1000,)):
        break


def _sync_copy_in(conn: anyq.Connection[Any]) -> None:
    conn.execute("CREATE TEMPORARY TABLE IF NOT EXISTS copied (n int)")
    with conn.cursor().copy("COPY copied FROM STDIN") as copy:
        for number in range(3):
            copy.write_row((number,))


def _sync_copy_out(conn: anyq.Connection[Any]) -> None:
    with conn.cursor().copy("COPY (SELECT generate_series(1, 1000)) TO STDOUT") as copy:
        for row in copy.rows():
            if row == ("30",):
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


def _sync_pipeline(conn: anyq.Connection[Any]) -> None:
    with conn.pipeline() as pipeline:
        cur = conn.execute("SELECT %s::int", (1,))
        conn.execute("SELECT 2")
        assert cur.fetchone() == (1,)
        conn.execute("SELECT 3")
        pipeline.sync()


def _sync_pipelined_transaction(conn: anyq.Connection[Any]) -> None:
    with conn.pipeline(), conn.transaction():
        conn.execute("SELECT 1")


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


def _sync_two_phase(conn: anyq.Connection[Any]) -> None:
    conn.tpc_begin(f"interrupted {conn.info.backend_pid}")
    conn.tpc_prepare()
    conn.tpc_commit()


def _sync_close(conn: anyq.Connection[Any]) -> None:
    conn.close()


SYNC_CALLS: dict[str, SyncCall | None] = {
    "execute": _sync_execute,
    "executemany": _sync_executemany,
    "executemany of a generator": _sync_executemany_generator,
    "stream": _sync_stream,
    "named cursor": _sync_named_cursor,
    "stream that is dropped": _sync_stream_dropped,
    "copy in": _sync_copy_in,
    "copy out": _sync_copy_out,
    "transaction": _sync_transaction,
    "savepoint": _sync_savepoint,
    "rolled back": _sync_rolled_back,
    "pipeline": _sync_pipeline,
    "pipelined transaction": _sync_pipelined_transaction,
    "listen": _sync_listen,
    "notifies": _sync_notifies,
    "commit": _sync_commit,
    "rollback": _sync_rollback,
    "two-phase": _sync_two_phase,
    "close": _sync_close,
    "connect": None,
}


class SyncRun(Run):
    """In synchronous code, in the main thread.

    :param by_signal: see :class:`Interrupt`.
    """

    def __init__(self, dsn: str, kind: str, *, opcodes: bool = False, by_signal: bool = False) -> None:
        super().__init__(dsn, kind, opcodes=opcodes)
        self.by_signal = by_signal

    def loop(self, first: int = 1, stride: int = 1) -> None:
        """Interrupt at steps `first`, `first + stride`, and so on, until the call is at its end before that."""
        call = SYNC_CALLS[self.kind]
        step = first
        conn: anyq.Connection[Any] | None = None
        # The portal's end belongs to what is interrupted in every other run.
        with nullcontext() if self.kind in ("close", "connect") and first % 2 else self._connect():
            while True:
                if call is not None and (conn is None or conn.closed):
                    conn = self._connect()
                interrupt, conn = self._one(step, call, conn)
                if interrupt.where is None:
                    break
                try:
                    with anyq.sync.timeout(PATIENCE):
                        found = self._look(conn, step)
                        self.outcome[found] += 1
                        if self.kind == "two-phase":
                            check_prepared(leave_none(self.dsn), found)
                except Exception as error:
                    self.blame(interrupt, repr(error))
                    if conn is not None:
                        conn.close()
                step += stride
            if conn is not None:
                conn.close()
        conn = None
        gc.collect()
        for thread in threading.enumerate():
            if thread.name == "anyq portal":
                thread.join(PATIENCE)
                check(not thread.is_alive(), "the portal's thread is left")

    def _connect(self) -> anyq.Connection[Any]:
        return anyq.connect(self.dsn, **self.options)

    def _one(
        self, step: int, call: SyncCall | None, conn: anyq.Connection[Any] | None
    ) -> tuple[Interrupt, anyq.Connection[Any] | None]:
        if self.kind in IN_TRANSACTION:
            assert conn is not None
            conn.execute("SELECT 1")
        interrupt = Interrupt(step, opcodes=self.opcodes, by_signal=self.by_signal)
        try:
            with interrupt:
                if call is None:
                    conn = self._connect()
                else:
                    assert conn is not None
                    call(conn)
        except KeyboardInterrupt:
            pass
        except BaseException as error:
            self.blame(interrupt, f"{error!r} came out")
        else:
            if interrupt.where is not None:
                self.blame(interrupt, "it was lost")
        return interrupt, conn

    def _look(self, conn: anyq.Connection[Any] | None, step: int) -> str:
        if conn is None or self.kind == "connect":
            if conn is not None:
                conn.close()
            return "not connected"
        if conn.closed:
            return "closed"
        if conn.inner.session.transactions.two_phase is not TwoPhase.NONE:
            conn.tpc_rollback()
        if self.kind not in MANUAL:
            conn.execute("SELECT 1")
            check(conn.info.transaction_status is TransactionStatus.IDLE, "a transaction is left open")
        rows = conn.execute("SELECT generate_series(%s, %s::int)", (step, step + 1)).fetchall()
        check(rows == [(step,), (step + 1,)], "somebody else's rows")
        conn.rollback()
        check(conn.info.transaction_status is TransactionStatus.IDLE, "a transaction is open after rollback()")
        with conn.transaction():
            check(conn.execute("SELECT %s::text", (str(step),)).fetchone() == (str(step),), "somebody else's row")
        conn.cursor().executemany("SELECT %s::int", iter([(1,), (2,)]))
        check(conn.execute("SELECT * FROM pg_listening_channels()").fetchall() == [], "it listens")
        check(conn.execute("SELECT name FROM pg_cursors WHERE name <> ''").fetchall() == [], "a cursor is left")
        conn.rollback()
        check(not conn.inner.session.wire.protocol.pending, "a request is left")
        return "usable"
