"""psycopg 3 with its C implementation; results as text, its default, or binary."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

import anyio
import psycopg
from psycopg.rows import class_row
from psycopg.types.composite import CompositeInfo, register_composite
from psycopg.types.enum import EnumInfo, register_enum
from psycopg.types.multirange import Multirange
from psycopg.types.range import Range

from ..typed import Values
from ..workloads import CHANNEL, ONE, Query
from .base import Asking, Driver, SyncAsking, SyncDriver, Unsupported, async_copy, queues, sync_copy

STREAM_SIZE = 1000
"""Rows that libpq gives at once, where it has that mode; with psycopg's default of 1 it is slower."""


class PsycopgAsync(Driver):
    style = ("%s", "%s")
    binary = False

    async def connect(self, dsn: str) -> Any:
        return await psycopg.AsyncConnection.connect(dsn, autocommit=True)

    async def close(self, conn: Any) -> None:
        await conn.close()

    async def execute(self, conn: Any, sql: str) -> None:
        await conn.execute(sql)

    def one(self, conn: Any) -> Asking:
        text, parameters, binary = ONE.text(self.style), (ONE.argument,), self.binary

        async def one() -> Any:
            cursor = await conn.execute(text, parameters, binary=binary)
            return await cursor.fetchone()

        return one

    @contextlib.asynccontextmanager
    async def pool(self, dsn: str, size: int) -> AsyncIterator[Callable[[], Any]]:
        kwargs = {"autocommit": True}
        async with pools().AsyncConnectionPool(dsn, min_size=size, kwargs=kwargs, open=False) as pool:
            await pool.wait()
            yield pool.connection

    def many(self, conn: Any, query: Query) -> Asking:
        text, parameters, binary = query.text(self.style), (query.argument,), self.binary

        async def many() -> Any:
            cursor = await conn.execute(text, parameters, binary=binary)
            return await cursor.fetchall()

        return many

    def objects(self, conn: Any, query: Query, cls: Any) -> Asking:
        text, parameters, binary, factory = query.text(self.style), (query.argument,), self.binary, class_row(cls)

        async def objects() -> Any:
            cursor = await conn.cursor(row_factory=factory).execute(text, parameters, binary=binary)
            return await cursor.fetchall()

        return objects

    def pipeline(self, conn: Any, size: int) -> Asking:
        text, parameters, binary = ONE.text(self.style), (ONE.argument,), self.binary

        async def pipeline() -> list[Any]:
            async with conn.pipeline():
                cursors = [await conn.execute(text, parameters, binary=binary) for _ in range(size)]
            return [await cursor.fetchone() for cursor in cursors]

        return pipeline

    async def register(self, conn: Any, kind: Values) -> Values:
        if kind.enum is not None:
            register_enum(await EnumInfo.fetch(conn, kind.name), conn, kind.enum)
        elif kind.kind == "composite":
            info: Any = await CompositeInfo.fetch(conn, kind.name)
            register_composite(info, conn)
            return kind.of_rows(info.python_type)
        elif kind.create and self.binary:
            raise Unsupported  # What is not registered is bytes in binary.
        return kind.of_ranges(Range, Multirange)

    def send(self, conn: Any, text: str, rows: Sequence[tuple[Any, ...]]) -> Asking:
        async def send() -> None:
            async with conn.cursor() as cursor:
                await cursor.executemany(text, rows)

        return send

    def stream(self, conn: Any, query: Query) -> Asking:
        text, parameters, binary, size = query.text(self.style), (query.argument,), self.binary, stream_size()

        async def stream() -> tuple[int, int]:
            count = total = 0
            async with conn.cursor() as cursor:
                async for row in cursor.stream(text, parameters, binary=binary, size=size):
                    count += 1
                    total += row[0]
            return count, total

        return stream

    def cursor(self, conn: Any, query: Query) -> Asking:
        text, parameters, binary = query.text(self.style), (query.argument,), self.binary

        async def cursor() -> tuple[int, int]:
            count = total = 0
            async with conn.transaction(), conn.cursor("bench", binary=binary) as cursor:
                await cursor.execute(text, parameters)
                async for row in cursor:
                    count += 1
                    total += row[0]
            return count, total

        return cursor

    def copy(self, conn: Any, way: str, size: int, where: str) -> Asking:
        return async_copy(conn, way, size, where)

    @contextlib.asynccontextmanager
    async def listen(self, conn: Any, dsn: str, subscribers: int, take: Callable[[], None]) -> AsyncIterator[None]:
        """The generator is one; to have subscribers that are tasks, each notification is put into their queues."""
        await conn.execute(f"LISTEN {CHANNEL}")

        async def distribute() -> None:
            async for notify in conn.notifies():
                for queue in made:
                    queue.put_nowait(notify)

        async with queues(subscribers, take) as made, anyio.create_task_group() as tasks:
            tasks.start_soon(distribute)
            yield
            tasks.cancel_scope.cancel()


class PsycopgAsyncBinary(PsycopgAsync):
    binary = True


class PsycopgSync(SyncDriver):
    binary = False

    def connect(self, dsn: str) -> Any:
        return psycopg.connect(dsn, autocommit=True)

    def execute(self, conn: Any, sql: str) -> None:
        conn.execute(sql)

    def one(self, conn: Any) -> SyncAsking:
        text, parameters, binary = ONE.text(self.style), (ONE.argument,), self.binary
        return lambda: conn.execute(text, parameters, binary=binary).fetchone()

    @contextlib.contextmanager
    def pool(self, dsn: str, size: int) -> Iterator[Callable[[], Any]]:
        with pools().ConnectionPool(dsn, min_size=size, kwargs={"autocommit": True}, open=False) as pool:
            pool.wait()
            yield pool.connection

    def many(self, conn: Any, query: Query) -> SyncAsking:
        text, parameters, binary = query.text(self.style), (query.argument,), self.binary
        return lambda: conn.execute(text, parameters, binary=binary).fetchall()

    def objects(self, conn: Any, query: Query, cls: Any) -> SyncAsking:
        text, parameters, binary, factory = query.text(self.style), (query.argument,), self.binary, class_row(cls)
        return lambda: conn.cursor(row_factory=factory).execute(text, parameters, binary=binary).fetchall()

    def pipeline(self, conn: Any, size: int) -> SyncAsking:
        text, parameters, binary = ONE.text(self.style), (ONE.argument,), self.binary

        def pipeline() -> list[Any]:
            with conn.pipeline():
                cursors = [conn.execute(text, parameters, binary=binary) for _ in range(size)]
            return [cursor.fetchone() for cursor in cursors]

        return pipeline

    def register(self, conn: Any, kind: Values) -> Values:
        if kind.enum is not None:
            register_enum(EnumInfo.fetch(conn, kind.name), conn, kind.enum)
        elif kind.kind == "composite":
            info: Any = CompositeInfo.fetch(conn, kind.name)
            register_composite(info, conn)
            return kind.of_rows(info.python_type)
        elif kind.create and self.binary:
            raise Unsupported  # What is not registered is bytes in binary.
        return kind.of_ranges(Range, Multirange)

    def send(self, conn: Any, text: str, rows: Sequence[tuple[Any, ...]]) -> SyncAsking:
        def send() -> None:
            with conn.cursor() as cursor:
                cursor.executemany(text, rows)

        return send

    def stream(self, conn: Any, query: Query) -> SyncAsking:
        text, parameters, binary, size = query.text(self.style), (query.argument,), self.binary, stream_size()

        def stream() -> tuple[int, int]:
            count = total = 0
            with conn.cursor() as cursor:
                for row in cursor.stream(text, parameters, binary=binary, size=size):
                    count += 1
                    total += row[0]
            return count, total

        return stream

    def cursor(self, conn: Any, query: Query) -> SyncAsking:
        text, parameters, binary = query.text(self.style), (query.argument,), self.binary

        def cursor() -> tuple[int, int]:
            count = total = 0
            with conn.transaction(), conn.cursor("bench", binary=binary) as cursor:
                cursor.execute(text, parameters)
                for row in cursor:
                    count += 1
                    total += row[0]
            return count, total

        return cursor

    def copy(self, conn: Any, way: str, size: int, where: str) -> SyncAsking:
        return sync_copy(conn, way, size, where)

    @contextlib.contextmanager
    def listen(self, conn: Any) -> Iterator[Callable[[int], None]]:
        conn.execute(f"LISTEN {CHANNEL}")

        def receive(size: int) -> None:
            left = size
            while left:
                for _ in conn.notifies(stop_after=left):
                    left -= 1

        yield receive


class PsycopgSyncBinary(PsycopgSync):
    binary = True


def pools() -> Any:
    """Return psycopg_pool.

    :raises Unsupported: it is not installed, as it is a distribution of its own.
    """
    try:
        return importlib.import_module("psycopg_pool")
    except ImportError:
        raise Unsupported from None


def stream_size() -> int:
    return STREAM_SIZE if psycopg.capabilities.has_stream_chunked() else 1
