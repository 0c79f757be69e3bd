"""asyncpg with its cache of prepared statements, and json decoded as every other driver decodes it."""

from __future__ import annotations

import contextlib
import json
import operator
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import asyncpg

from ..typed import Values
from ..workloads import CHANNEL, COPY_OUT, ONE, Query, copy_chunks, copy_rows
from .addresses import address
from .base import Asking, Driver, Unsupported, queues

PIECE = 100
"""Rows that others fetch at once from a cursor of the server's, by default."""
PREFETCH = 1000
"""Rows that a cursor fetches at once; with asyncpg's default of 50 it waits for the server more often."""


class Asyncpg(Driver):
    queries_while_listening = True

    def options(self, dsn: str) -> dict[str, Any]:
        server = address(dsn)
        tls: Any = server.tls if server.tls is not None else False if server.sslmode == "disable" else None
        return {
            "host": server.host,
            "port": server.port,
            "user": server.user,
            "password": server.password,
            "database": server.dbname,
            "ssl": tls,
        }

    async def connect(self, dsn: str) -> Any:
        return await asyncpg.connect(**self.options(dsn))

    @contextlib.asynccontextmanager
    async def pool(self, dsn: str, size: int) -> AsyncIterator[Callable[[], Any]]:
        async with asyncpg.create_pool(**self.options(dsn), min_size=size, max_size=size) as pool:
            yield pool.acquire

    async def close(self, conn: Any) -> None:
        await conn.close()

    async def execute(self, conn: Any, sql: str) -> None:
        await conn.execute(sql)

    def one(self, conn: Any) -> Asking:
        text, argument = ONE.text(self.style), ONE.argument
        return lambda: conn.fetchrow(text, argument)

    def many(self, conn: Any, query: Query) -> Asking:
        text, argument = query.text(self.style), query.argument
        return lambda: conn.fetch(text, argument)

    async def prepare(self, conn: Any) -> None:
        await conn.set_type_codec("jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads)

    async def register(self, conn: Any, kind: Values) -> Values:
        """Enums are str by themselves; members of a class are had by a codec for them, as its manual shows."""
        if kind.enum is not None:
            schema = await conn.fetchval("SELECT CAST(pg_my_temp_schema() AS regnamespace)::text")
            await conn.set_type_codec(
                kind.name, schema=schema, encoder=operator.attrgetter("name"), decoder=kind.enum.__getitem__
            )
        # Composites are sent as tuples, and multiranges as lists.
        return kind.of_rows(asyncpg.Record, tuple).of_ranges(asyncpg.Range, list)

    def send(self, conn: Any, text: str, rows: Sequence[tuple[Any, ...]]) -> Asking:
        return lambda: conn.executemany(text, rows)

    def stream(self, conn: Any, query: Query) -> Asking:
        text, argument = query.text(self.style), query.argument

        async def stream() -> tuple[int, int]:
            count = total = 0
            async with conn.transaction():
                async for row in conn.cursor(text, argument, prefetch=PREFETCH):
                    count += 1
                    total += row[0]
            return count, total

        return stream

    def cursor(self, conn: Any, query: Query) -> Asking:
        text, argument = query.text(self.style), query.argument

        async def cursor() -> tuple[int, int]:
            count = total = 0
            async with conn.transaction():
                async for row in conn.cursor(text, argument, prefetch=PIECE):
                    count += 1
                    total += row[0]
            return count, total

        return cursor

    def copy(self, conn: Any, way: str, size: int, where: str) -> Asking:
        rows, chunks = copy_rows(size), copy_chunks(size)
        if way == "out_rows":
            raise Unsupported

        async def source() -> AsyncIterator[bytes]:
            for chunk in chunks:
                yield chunk

        async def in_rows() -> None:
            await conn.copy_records_to_table("bench_copied", records=rows, where=where)

        async def in_bytes() -> None:
            await conn.copy_to_table("bench_copied", source=source(), where=where)

        async def out_bytes() -> int:
            pieces: list[bytes] = []

            async def take(data: bytes) -> None:
                pieces.append(data)

            await conn.copy_from_query(COPY_OUT.format(size), output=take)
            return b"".join(pieces).count(b"\n")

        return {"in_rows": in_rows, "in_bytes": in_bytes, "out_bytes": out_bytes}[way]

    @contextlib.asynccontextmanager
    async def listen(self, conn: Any, dsn: str, subscribers: int, take: Callable[[], None]) -> AsyncIterator[None]:
        """A listener is a callback; to have subscribers that are tasks, each puts what it gets into a queue."""
        async with queues(subscribers, take) as made:
            # Each must be a function of its own: the same one is registered once.
            listeners = [lambda *notification, put=queue.put_nowait: put(notification) for queue in made]
            for listener in listeners:
                await conn.add_listener(CHANNEL, listener)
            yield
            for listener in listeners:
                await conn.remove_listener(CHANNEL, listener)
