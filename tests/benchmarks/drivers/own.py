"""anyq with its defaults, in autocommit mode."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

import anyio
import anyio.abc

import anyq
from anyq.pool import AsyncConnectionPool, ConnectionPool
from anyq.rows import class_row
from anyq.types.composite import CompositeInfo, register_composite
from anyq.types.enum import EnumInfo, register_enum
from anyq.types.multirange import Multirange
from anyq.types.range import Range

from ..typed import Values
from ..workloads import CHANNEL, ONE, SLOW, Query
from .base import Asking, Driver, Selecting, SyncAsking, SyncDriver, async_copy, sync_copy


class Anyq(Driver):
    style = ("%s", "%s")
    queries_while_listening = True

    async def connect(self, dsn: str) -> Any:
        return await anyq.AsyncConnection.connect(dsn, autocommit=True)

    async def close(self, conn: Any) -> None:
        await conn.close()

    async def execute(self, conn: Any, sql: str) -> None:
        await conn.execute(sql)

    def one(self, conn: Any) -> Asking:
        text, parameters = ONE.text(self.style), (ONE.argument,)

        async def one() -> Any:
            cursor = await conn.execute(text, parameters)
            return await cursor.fetchone()

        return one

    @contextlib.asynccontextmanager
    async def pool(self, dsn: str, size: int) -> AsyncIterator[Callable[[], Any]]:
        async with AsyncConnectionPool(dsn, min_size=size, kwargs={"autocommit": True}) as pool:
            await pool.wait()
            yield pool.connection

    @contextlib.asynccontextmanager
    async def selecting(self, dsn: str, size: int) -> AsyncIterator[Selecting]:
        text, parameters = ONE.text(self.style), (ONE.argument,)
        async with AsyncConnectionPool(dsn, min_size=size) as pool:
            await pool.wait()

            async def one() -> Any:
                cursor = await pool.execute(text, parameters)
                return await cursor.fetchone()

            yield Selecting(one, lambda: pool.execute(SLOW))

    def many(self, conn: Any, query: Query) -> Asking:
        text, parameters = query.text(self.style), (query.argument,)

        async def many() -> Any:
            cursor = await conn.execute(text, parameters)
            return await cursor.fetchall()

        return many

    def objects(self, conn: Any, query: Query, cls: Any) -> Asking:
        text, parameters, factory = query.text(self.style), (query.argument,), class_row(cls)

        async def objects() -> Any:
            cursor = conn.cursor(row_factory=factory)
            await cursor.execute(text, parameters)
            return await cursor.fetchall()

        return objects

    def group(self, conn: Any, size: int) -> Asking:
        one = self.one(conn)

        async def put(results: list[Any]) -> None:
            results.append(await one())

        async def group() -> list[Any]:
            results: list[Any] = []
            async with anyio.create_task_group() as tasks:
                for _ in range(size):
                    tasks.start_soon(put, results)
            return results

        return group

    def pipeline(self, conn: Any, size: int) -> Asking:
        text, parameters = ONE.text(self.style), (ONE.argument,)

        async def pipeline() -> list[Any]:
            async with conn.pipeline():
                cursors = [await conn.execute(text, parameters) for _ in range(size)]
            return [await cursor.fetchone() for cursor in cursors]

        return pipeline

    async def register(self, conn: Any, kind: Values) -> Values:
        if kind.enum is not None:
            register_enum(await EnumInfo.fetch(conn, kind.name), conn, kind.enum)
        elif kind.kind == "composite":
            info: Any = await CompositeInfo.fetch(conn, kind.name)
            register_composite(info, conn)
            return kind.of_rows(info.python_type)
        return kind.of_ranges(Range, Multirange)

    def send(self, conn: Any, text: str, rows: Sequence[tuple[Any, ...]]) -> Asking:
        return lambda: conn.cursor().executemany(text, rows)

    def stream(self, conn: Any, query: Query) -> Asking:
        text, parameters = query.text(self.style), (query.argument,)

        async def stream() -> tuple[int, int]:
            count = total = 0
            async for row in conn.cursor().stream(text, parameters):
                count += 1
                total += row[0]
            return count, total

        return stream

    def cursor(self, conn: Any, query: Query) -> Asking:
        text, parameters = query.text(self.style), (query.argument,)

        async def cursor() -> tuple[int, int]:
            count = total = 0
            async with conn.transaction(), conn.cursor("bench") as cursor:
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
        async def taking(*, task_status: anyio.abc.TaskStatus[None]) -> None:
            async with conn.listen(CHANNEL) as stream:
                task_status.started()
                async for _ in stream:
                    take()

        async with anyio.create_task_group() as tasks:
            for _ in range(subscribers):
                await tasks.start(taking)
            yield
            tasks.cancel_scope.cancel()


class AnyqSync(SyncDriver):
    portal: tuple[str, dict[str, Any]] = ("asyncio", {})

    def __init__(self) -> None:
        anyq.sync.set_portal_backend(*self.portal)

    def connect(self, dsn: str) -> Any:
        return anyq.connect(dsn, autocommit=True)

    def execute(self, conn: Any, sql: str) -> None:
        conn.execute(sql)

    def one(self, conn: Any) -> SyncAsking:
        text, parameters = ONE.text(self.style), (ONE.argument,)
        return lambda: conn.execute(text, parameters).fetchone()

    @contextlib.contextmanager
    def pool(self, dsn: str, size: int) -> Iterator[Callable[[], Any]]:
        with ConnectionPool(dsn, min_size=size, kwargs={"autocommit": True}) as pool:
            pool.wait()
            yield pool.connection

    @contextlib.contextmanager
    def selecting(self, dsn: str, size: int) -> Iterator[SyncAsking]:
        text, parameters = ONE.text(self.style), (ONE.argument,)
        with ConnectionPool(dsn, min_size=size) as pool:
            pool.wait()
            yield lambda: pool.execute(text, parameters).fetchone()

    def many(self, conn: Any, query: Query) -> SyncAsking:
        text, parameters = query.text(self.style), (query.argument,)
        return lambda: conn.execute(text, parameters).fetchall()

    def objects(self, conn: Any, query: Query, cls: Any) -> SyncAsking:
        text, parameters, factory = query.text(self.style), (query.argument,), class_row(cls)
        return lambda: conn.cursor(row_factory=factory).execute(text, parameters).fetchall()

    def pipeline(self, conn: Any, size: int) -> SyncAsking:
        text, parameters = ONE.text(self.style), (ONE.argument,)

        def pipeline() -> list[Any]:
            with conn.pipeline():
                cursors = [conn.execute(text, parameters) for _ in range(size)]
            return [cursor.fetchone() for cursor in cursors]

        return pipeline

    def register(self, conn: Any, kind: Values) -> Values:
        if kind.enum is not None:
            register_enum(EnumInfo.fetch(conn, kind.name), conn, kind.enum)
        elif kind.kind == "composite":
            info: Any = CompositeInfo.fetch(conn, kind.name)
            register_composite(info, conn)
            return kind.of_rows(info.python_type)
        return kind.of_ranges(Range, Multirange)

    def send(self, conn: Any, text: str, rows: Sequence[tuple[Any, ...]]) -> SyncAsking:
        return lambda: conn.cursor().executemany(text, rows)

    def stream(self, conn: Any, query: Query) -> SyncAsking:
        text, parameters = query.text(self.style), (query.argument,)

        def stream() -> tuple[int, int]:
            count = total = 0
            for row in conn.cursor().stream(text, parameters):
                count += 1
                total += row[0]
            return count, total

        return stream

    def cursor(self, conn: Any, query: Query) -> SyncAsking:
        text, parameters = query.text(self.style), (query.argument,)

        def cursor() -> tuple[int, int]:
            count = total = 0
            with conn.transaction(), conn.cursor("bench") as cursor:
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
        with conn.listen(CHANNEL) as stream:

            def receive(size: int) -> None:
                for _ in range(size):
                    next(stream)

            yield receive


class AnyqSyncUvloop(AnyqSync):
    portal = ("asyncio", {"use_uvloop": True})


class AnyqSyncTrio(AnyqSync):
    portal = ("trio", {})
