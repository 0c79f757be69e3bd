"""What a driver must be able to do, so that `operations` can make the workloads of it.

A method that gives a function has prepared everything: that function is what is timed, and it does the driver's work
and nothing else. Must not import anyq, which may be missing in the implementation that is asked for.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, NamedTuple

import anyio

from ..typed import Values
from ..workloads import COPY_IN, COPY_OUT, COPY_TYPES, INSERT, SLOW, Query, copy_chunks, copy_rows

Asking = Callable[[], Awaitable[Any]]
SyncAsking = Callable[[], Any]


class Unsupported(Exception):
    """The driver has no such thing."""


class Selecting(NamedTuple):
    """What runs statements on a pool."""

    one: Asking
    """The query of one row; gives that row."""
    slow: Asking
    """The statement that takes long."""


class Driver:
    """A driver with an event loop."""

    style = ("$1", "$2")
    """Its placeholders for a first and a second parameter."""
    queries_while_listening = False
    """Whether the connection that listens can be queried meanwhile."""

    async def connect(self, dsn: str) -> Any:
        """Return a connection in autocommit mode."""
        raise NotImplementedError

    async def close(self, conn: Any) -> None:
        raise NotImplementedError

    async def execute(self, conn: Any, sql: str) -> None:
        """Run one statement without parameters."""
        raise NotImplementedError

    def one(self, conn: Any) -> Asking:
        """A function that runs the query of one row and gives that row."""
        raise NotImplementedError

    def pool(self, dsn: str, size: int) -> AbstractAsyncContextManager[Callable[[], AbstractAsyncContextManager[Any]]]:
        """A block that has a pool of so many open connections, and gives a function: a block that has one of them."""
        raise Unsupported

    @contextlib.asynccontextmanager
    async def lending(self, dsn: str, size: int) -> AsyncIterator[Selecting]:
        """A block that has a pool, and gives what runs statements with a connection of it."""
        async with self.pool(dsn, size) as acquire:

            async def one() -> Any:
                async with acquire() as conn:
                    return await self.one(conn)()

            async def slow() -> None:
                async with acquire() as conn:
                    await self.execute(conn, SLOW)

            yield Selecting(one, slow)

    def selecting(self, dsn: str, size: int) -> AbstractAsyncContextManager[Selecting]:
        """A block that has a pool, and gives what runs statements on it as that does it best."""
        return self.lending(dsn, size)

    async def prepare(self, conn: Any) -> None:
        """Have values decoded as the other drivers do it, where that is not the driver's default."""

    def many(self, conn: Any, query: Query) -> Asking:
        """A function that runs a query and gives all rows."""
        raise NotImplementedError

    def objects(self, conn: Any, query: Query, cls: Any) -> Asking:
        """A function that runs a query and gives all rows as objects of a class, whose fields are named as the columns.

        By default each is made of what `many()` gives, as a program would do it.
        """
        many = self.many(conn, query)

        async def objects() -> list[Any]:
            return [cls(*row) for row in await many()]

        return objects

    def group(self, conn: Any, size: int) -> Asking:
        """A function that runs so many queries of one row, in the way that is best for one connection."""
        one = self.one(conn)

        async def group() -> list[Any]:
            return [await one() for _ in range(size)]

        return group

    def pipeline(self, conn: Any, size: int) -> Asking:
        """A function that runs so many queries of one row in one task, without waiting in between."""
        raise Unsupported

    def insert(self, conn: Any, rows: list[tuple[int, str]]) -> Asking:
        """A function that inserts rows one by one in a transaction."""
        send = self.send(conn, INSERT.format(*self.style), rows)

        async def insert() -> None:
            async with conn.transaction():
                await send()

        return insert

    async def register(self, conn: Any, kind: Values) -> Values:
        """Have values of a type loaded and dumped as what they are to be in Python; return it with its classes."""
        raise Unsupported

    def send(self, conn: Any, text: str, rows: Sequence[tuple[Any, ...]]) -> Asking:
        """A function that runs a statement with each of the rows; what it returns does not count."""
        raise Unsupported

    def stream(self, conn: Any, query: Query) -> Asking:
        """A function that takes rows as they arrive; gives their number and the sum of the first column."""
        raise NotImplementedError

    def cursor(self, conn: Any, query: Query) -> Asking:
        """A function that takes rows from a cursor of the server, in pieces of 100; gives what it does for a stream."""
        raise Unsupported

    def copy(self, conn: Any, way: str, size: int, where: str) -> Asking:
        """A function that copies so many rows; gives how many rows there were, where a driver tells.

        :param way: in_rows, in_bytes, out_rows or out_bytes.
        :param where: the condition for rows on their way in.
        """
        raise Unsupported

    def listen(
        self, conn: Any, dsn: str, subscribers: int, take: Callable[[], None]
    ) -> AbstractAsyncContextManager[None]:
        """A block in which as many tasks take every notification, each by itself, and say so."""
        raise Unsupported


class SyncDriver:
    """A driver without an event loop; its methods mean the same."""

    style = ("%s", "%s")
    decodes = True
    """Whether results are values that can be checked."""

    def checks(self, check: Callable[[Any], None]) -> Callable[[Any], None]:
        return check if self.decodes else lambda result: None

    def connect(self, dsn: str) -> Any:
        raise NotImplementedError

    def close(self, conn: Any) -> None:
        conn.close()

    def execute(self, conn: Any, sql: str) -> None:
        raise NotImplementedError

    def one(self, conn: Any) -> SyncAsking:
        raise NotImplementedError

    @contextlib.contextmanager
    def selecting(self, dsn: str, size: int) -> Iterator[SyncAsking]:
        """A block that has a pool, and gives a function that runs the query of one row on it and gives that row."""
        with self.pool(dsn, size) as acquire:

            def one() -> Any:
                with acquire() as conn:
                    return self.one(conn)()

            yield one

    def pool(self, dsn: str, size: int) -> AbstractContextManager[Callable[[], AbstractContextManager[Any]]]:
        raise Unsupported

    def many(self, conn: Any, query: Query) -> SyncAsking:
        raise NotImplementedError

    def objects(self, conn: Any, query: Query, cls: Any) -> SyncAsking:
        many = self.many(conn, query)
        return lambda: [cls(*row) for row in many()]

    def pipeline(self, conn: Any, size: int) -> SyncAsking:
        raise Unsupported

    def insert(self, conn: Any, rows: list[tuple[int, str]]) -> SyncAsking:
        send = self.send(conn, INSERT.format(*self.style), rows)

        def insert() -> None:
            with conn.transaction():
                send()

        return insert

    def register(self, conn: Any, kind: Values) -> Values:
        raise Unsupported

    def send(self, conn: Any, text: str, rows: Sequence[tuple[Any, ...]]) -> SyncAsking:
        raise Unsupported

    def stream(self, conn: Any, query: Query) -> SyncAsking:
        raise Unsupported

    def cursor(self, conn: Any, query: Query) -> SyncAsking:
        raise Unsupported

    def copy(self, conn: Any, way: str, size: int, where: str) -> SyncAsking:
        raise Unsupported

    def listen(self, conn: Any) -> AbstractContextManager[Callable[[int], None]]:
        """A block that gives a function, which waits for so many notifications."""
        raise Unsupported


@contextlib.asynccontextmanager
async def queues(subscribers: int, take: Callable[[], None]) -> AsyncIterator[list[asyncio.Queue[Any]]]:
    """A queue and a task for each subscriber, for drivers that have a callback or only one generator."""
    made: list[asyncio.Queue[Any]] = [asyncio.Queue() for _ in range(subscribers)]

    async def taking(queue: asyncio.Queue[Any]) -> None:
        while True:
            await queue.get()
            take()

    async with anyio.create_task_group() as tasks:
        for queue in made:
            tasks.start_soon(taking, queue)
        yield made
        tasks.cancel_scope.cancel()


def async_copy(conn: Any, way: str, size: int, where: str) -> Asking:
    """Return what :meth:`Driver.copy` does, for psycopg and those that have its objects; rows in binary format."""
    rows, chunks = copy_rows(size), copy_chunks(size)
    binary = " (FORMAT binary)" if way.endswith("rows") else ""

    async def copy_in() -> int:
        async with conn.cursor() as cursor:
            async with cursor.copy(COPY_IN.format(binary, where)) as copy:
                if binary:
                    copy.set_types(COPY_TYPES)
                    for row in rows:
                        await copy.write_row(row)
                else:
                    for chunk in chunks:
                        await copy.write(chunk)
            return int(cursor.rowcount)

    async def copy_out() -> int:
        async with conn.cursor() as cursor, cursor.copy(f"COPY ({COPY_OUT.format(size)}) TO STDOUT{binary}") as copy:
            if binary:
                copy.set_types(COPY_TYPES)
                return len([row async for row in copy.rows()])
            blocks = copy.blocks() if hasattr(copy, "blocks") else copy
            return b"".join([data async for data in blocks]).count(b"\n")

    return copy_in if way.startswith("in") else copy_out


def sync_copy(conn: Any, way: str, size: int, where: str) -> SyncAsking:
    """Return the same without an event loop."""
    rows, chunks = copy_rows(size), copy_chunks(size)
    binary = " (FORMAT binary)" if way.endswith("rows") else ""

    def copy_in() -> int:
        with conn.cursor() as cursor:
            with cursor.copy(COPY_IN.format(binary, where)) as copy:
                if binary:
                    copy.set_types(COPY_TYPES)
                    for row in rows:
                        copy.write_row(row)
                else:
                    for chunk in chunks:
                        copy.write(chunk)
            return int(cursor.rowcount)

    def copy_out() -> int:
        with conn.cursor() as cursor, cursor.copy(f"COPY ({COPY_OUT.format(size)}) TO STDOUT{binary}") as copy:
            if binary:
                copy.set_types(COPY_TYPES)
                return len(list(copy.rows()))
            return b"".join(copy.blocks() if hasattr(copy, "blocks") else copy).count(b"\n")

    return copy_in if way.startswith("in") else copy_out
