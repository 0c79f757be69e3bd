"""The drivers that are compared, each with the workloads it has, behind one small interface."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Any

import anyio
import anyio.abc

ONE_ROW = "SELECT 1 + {}::int4"
INT4_1000 = "SELECT i::int4 FROM generate_series(1, {}::int4) AS t(i)"
ROWS = 1000
GROUP = 100
NOTIFICATIONS = 1000
SEND = f"SELECT pg_notify('bench', i::text) FROM generate_series(1, {NOTIFICATIONS}) AS t(i)"
SEND_ONE = "SELECT pg_notify('bench', '')"


class Driver:
    """A connected driver; a workload that it does not have is not there as a method."""

    async def open(self, dsn: str) -> None: ...

    async def close(self) -> None: ...


class SyncDriver:
    """A driver without an event loop: its methods are functions."""

    def open(self, dsn: str) -> None: ...

    def close(self) -> None: ...


class BlockingSocket(Driver):
    """No driver: ready-made bytes through a blocking socket, and nobody looks at the answer. The limit for all."""

    async def open(self, dsn: str) -> None:
        from anyq.conninfo import resolve

        options = resolve(dsn, {}, {})
        host = options.hosts[0]
        path = host.socket_path
        if path is not None:
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.connect(path)
        else:
            self._socket = socket.create_connection((host.host, host.port))
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pairs = b"".join(b"%s\0%s\0" % (k.encode(), v.encode()) for k, v in options.startup_parameters().items())
        self._ask(struct.pack("!ii", len(pairs) + 9, 196608) + pairs + b"\0")
        self._ask(_message(b"P", b"one\0" + ONE_ROW.format("$1").encode() + b"\0\0\0") + _message(b"S", b""))
        self._one_row = self._bound(b"one", 5)

    def _bound(self, name: bytes, value: int) -> bytes:
        bind = b"\0" + name + b"\0" + struct.pack("!HHHiiHH", 1, 1, 1, 4, value, 1, 1)
        return _message(b"B", bind) + _message(b"E", b"\0\0\0\0\0") + _message(b"S", b"")

    def _ask(self, data: bytes) -> None:
        self._socket.sendall(data)
        answer = b""
        while answer[-6:-1] != b"Z\0\0\0\x05":
            answer += self._socket.recv(65536)

    async def close(self) -> None:
        self._socket.close()

    async def one_row(self) -> None:
        self._socket.sendall(self._one_row)
        self._socket.recv(65536)


def _message(code: bytes, payload: bytes) -> bytes:
    return code + struct.pack("!i", len(payload) + 4) + payload


class Anyq(Driver):
    async def open(self, dsn: str) -> None:
        import anyq

        self._conn = await anyq.AsyncConnection.connect(dsn, autocommit=True)
        self._sender = await anyq.AsyncConnection.connect(dsn, autocommit=True)

    async def close(self) -> None:
        await self._conn.close()
        await self._sender.close()

    async def group_100(self) -> None:
        async with anyio.create_task_group() as group:
            for _ in range(GROUP):
                group.start_soon(self.one_row)

    async def _subscribe(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        left = NOTIFICATIONS
        async with self._conn.listen("bench") as stream:
            task_status.started()
            async for _ in stream:
                left -= 1
                if not left:
                    return

    async def _notify(self, subscribers: int) -> None:
        async with anyio.create_task_group() as group:
            for _ in range(subscribers):
                await group.start(self._subscribe)
            await self._sender.execute(SEND)

    async def notify_1(self) -> None:
        await self._notify(1)

    async def notify_10(self) -> None:
        await self._notify(10)

    async def notify_latency(self) -> None:
        async with self._conn.listen("bench") as stream:
            await self._sender.execute(SEND_ONE)
            await stream.receive()

    async def _fetch(self, query: Any, value: int) -> int:
        cursor = await self._conn.execute(query, (value,))
        return len(await cursor.fetchall())

    async def one_row(self) -> None:
        cursor = await self._conn.execute("SELECT 1 + %s::int4", (5,))
        assert await cursor.fetchone() == (6,)

    async def int4_1000(self) -> None:
        assert await self._fetch("SELECT i::int4 FROM generate_series(1, %s::int4) AS t(i)", ROWS) == ROWS


class PsycopgAsync(Driver):
    binary = False

    async def open(self, dsn: str) -> None:
        import psycopg

        self._conn = await psycopg.AsyncConnection.connect(dsn, autocommit=True)
        self._sender = await psycopg.AsyncConnection.connect(dsn, autocommit=True)

    async def close(self) -> None:
        await self._conn.close()
        await self._sender.close()

    async def group_100(self) -> None:
        for _ in range(GROUP):
            await self.one_row()

    async def _notify(self, subscribers: int) -> None:
        """The generator is one; to have several subscribers, its notifications are put into a queue for each."""
        queues: list[asyncio.Queue[Any]] = [asyncio.Queue() for _ in range(subscribers)]

        async def take(queue: asyncio.Queue[Any]) -> None:
            for _ in range(NOTIFICATIONS):
                await queue.get()

        await self._conn.execute("LISTEN bench")
        async with anyio.create_task_group() as group:
            for queue in queues:
                group.start_soon(take, queue)
            await self._sender.execute(SEND)
            async for notify in self._conn.notifies(stop_after=NOTIFICATIONS):
                for queue in queues:
                    queue.put_nowait(notify)
        await self._conn.execute("UNLISTEN bench")

    async def notify_1(self) -> None:
        await self._notify(1)

    async def notify_10(self) -> None:
        await self._notify(10)

    async def notify_latency(self) -> None:
        await self._conn.execute("LISTEN bench")
        await self._sender.execute(SEND_ONE)
        async for _ in self._conn.notifies(stop_after=1):
            pass
        await self._conn.execute("UNLISTEN bench")

    async def one_row(self) -> None:
        cursor = await self._conn.execute("SELECT 1 + %s::int4", (5,), binary=self.binary)
        assert await cursor.fetchone() == (6,)

    async def int4_1000(self) -> None:
        cursor = await self._conn.execute(
            "SELECT i::int4 FROM generate_series(1, %s::int4) AS t(i)", (ROWS,), binary=self.binary
        )
        assert len(await cursor.fetchall()) == ROWS


class PsycopgAsyncBinary(PsycopgAsync):
    binary = True


class Asyncpg(Driver):
    async def open(self, dsn: str) -> None:
        import asyncpg

        from anyq.conninfo import resolve

        # asyncpg takes URIs only.
        options = resolve(dsn, {}, {})
        host = options.hosts[0]
        where = {"host": host.host, "port": host.port, "user": options.user, "database": options.dbname}
        self._conn = await asyncpg.connect(**where, password=options.password)
        self._sender = await asyncpg.connect(**where, password=options.password)

    async def close(self) -> None:
        await self._conn.close()
        await self._sender.close()

    async def group_100(self) -> None:
        for _ in range(GROUP):
            await self.one_row()

    async def _notify(self, subscribers: int, notifications: int, query: str) -> None:
        """A listener is a callback; to have a subscriber that is a task, each puts what it gets into a queue."""
        queues: list[asyncio.Queue[Any]] = [asyncio.Queue() for _ in range(subscribers)]

        async def take(queue: asyncio.Queue[Any]) -> None:
            for _ in range(notifications):
                await queue.get()

        def listener(queue: asyncio.Queue[Any]) -> Callable[..., None]:
            return lambda *notification: queue.put_nowait(notification)

        listeners = [listener(queue) for queue in queues]
        for callback in listeners:
            await self._conn.add_listener("bench", callback)
        async with anyio.create_task_group() as group:
            for queue in queues:
                group.start_soon(take, queue)
            await self._sender.execute(query)
        for callback in listeners:
            await self._conn.remove_listener("bench", callback)

    async def notify_1(self) -> None:
        await self._notify(1, NOTIFICATIONS, SEND)

    async def notify_10(self) -> None:
        await self._notify(10, NOTIFICATIONS, SEND)

    async def notify_latency(self) -> None:
        await self._notify(1, 1, SEND_ONE)

    async def one_row(self) -> None:
        assert tuple(await self._conn.fetchrow(ONE_ROW.format("$1"), 5)) == (6,)

    async def int4_1000(self) -> None:
        assert len(await self._conn.fetch(INT4_1000.format("$1"), ROWS)) == ROWS


class AnyqSync(SyncDriver):
    portal: tuple[str, dict[str, Any]] = ("asyncio", {})

    def open(self, dsn: str) -> None:
        import anyq

        anyq.sync.set_portal_backend(*self.portal)
        self._conn = anyq.connect(dsn, autocommit=True)

    def close(self) -> None:
        self._conn.close()

    def one_row(self) -> None:
        assert self._conn.execute("SELECT 1 + %s::int4", (5,)).fetchone() == (6,)

    def int4_1000(self) -> None:
        cursor = self._conn.execute("SELECT i::int4 FROM generate_series(1, %s::int4) AS t(i)", (ROWS,))
        assert len(cursor.fetchall()) == ROWS


class AnyqSyncUvloop(AnyqSync):
    portal = ("asyncio", {"use_uvloop": True})


class AnyqSyncTrio(AnyqSync):
    portal = ("trio", {})


class PsycopgSync(SyncDriver):
    def open(self, dsn: str) -> None:
        import psycopg

        self._conn = psycopg.connect(dsn, autocommit=True)

    def close(self) -> None:
        self._conn.close()

    def one_row(self) -> None:
        assert self._conn.execute("SELECT 1 + %s::int4", (5,)).fetchone() == (6,)

    def int4_1000(self) -> None:
        cursor = self._conn.execute("SELECT i::int4 FROM generate_series(1, %s::int4) AS t(i)", (ROWS,))
        assert len(cursor.fetchall()) == ROWS


class Psycopg2(SyncDriver):
    """It prepares nothing by itself."""

    _conn: Any

    def open(self, dsn: str) -> None:
        import psycopg2

        self._conn = psycopg2.connect(dsn)
        self._conn.autocommit = True

    def close(self) -> None:
        self._conn.close()

    def one_row(self) -> None:
        with self._conn.cursor() as cursor:
            cursor.execute("SELECT 1 + %s::int4", (5,))
            assert cursor.fetchone() == (6,)

    def int4_1000(self) -> None:
        with self._conn.cursor() as cursor:
            cursor.execute("SELECT i::int4 FROM generate_series(1, %s::int4) AS t(i)", (ROWS,))
            assert len(cursor.fetchall()) == ROWS


class Pg8000(SyncDriver):
    """Its prepared statements are its native interface's."""

    _conn: Any

    def open(self, dsn: str) -> None:
        import pg8000.native

        from anyq.conninfo import resolve

        options = resolve(dsn, {}, {})
        host = options.hosts[0]
        path = host.socket_path
        where = {"host": host.host, "port": host.port} if path is None else {"unix_sock": path}
        self._conn = pg8000.native.Connection(
            options.user, database=options.dbname, password=options.password, **where
        )
        self._one_row = self._conn.prepare("SELECT 1 + CAST(:n AS int4)")
        self._int4_1000 = self._conn.prepare("SELECT CAST(i AS int4) FROM generate_series(1, CAST(:n AS int4)) AS t(i)")

    def close(self) -> None:
        self._conn.close()

    def one_row(self) -> None:
        assert self._one_row.run(n=5) == [[6]]

    def int4_1000(self) -> None:
        assert len(self._int4_1000.run(n=ROWS)) == ROWS


NO_LOOP = "none"

DRIVERS: dict[str, tuple[type[Driver] | type[SyncDriver], str]] = {
    "socket": (BlockingSocket, "asyncio"),
    "anyq-asyncio": (Anyq, "asyncio"),
    "anyq-uvloop": (Anyq, "uvloop"),
    "anyq-trio": (Anyq, "trio"),
    "psycopg-asyncio": (PsycopgAsync, "asyncio"),
    "psycopg-asyncio-binary": (PsycopgAsyncBinary, "asyncio"),
    "asyncpg-asyncio": (Asyncpg, "asyncio"),
    "asyncpg-uvloop": (Asyncpg, "uvloop"),
    "anyq-sync": (AnyqSync, NO_LOOP),
    "anyq-sync-uvloop": (AnyqSyncUvloop, NO_LOOP),
    "anyq-sync-trio": (AnyqSyncTrio, NO_LOOP),
    "psycopg-sync": (PsycopgSync, NO_LOOP),
    "psycopg2-sync": (Psycopg2, NO_LOOP),
    "pg8000-sync": (Pg8000, NO_LOOP),
}
"""Each driver with the event loop it is called from."""
