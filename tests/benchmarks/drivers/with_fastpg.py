"""fastpg, whose protocol is written in Rust, and whose pool sends statements of many tasks on one connection, too.

It is for CPython 3.13 and later. What it is here for are its pool, queries of one row, and rows that become objects.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import fastpg

from ..workloads import ONE, SLOW, Query, person_class
from .base import Asking, Driver, Selecting, Unsupported


class Fastpg(Driver):
    async def connect(self, dsn: str) -> Any:
        return await fastpg.connect(dsn)

    async def close(self, conn: Any) -> None:
        await conn.close()

    async def execute(self, conn: Any, sql: str) -> None:
        await conn.execute_script(sql)

    def one(self, conn: Any) -> Asking:
        text, argument = ONE.text(self.style), ONE.argument
        return lambda: conn.select_one(text, argument)

    @contextlib.asynccontextmanager
    async def pool(self, dsn: str, size: int) -> AsyncIterator[Callable[[], Any]]:
        async with await fastpg.create_pool(dsn, min_size=size, max_size=size) as pool:
            yield pool.acquire

    @contextlib.asynccontextmanager
    async def selecting(self, dsn: str, size: int) -> AsyncIterator[Selecting]:
        text, argument = ONE.text(self.style), ONE.argument
        async with await fastpg.create_pool(dsn, min_size=size, max_size=size) as pool:
            yield Selecting(lambda: pool.select_one(text, argument), lambda: pool.execute(SLOW))

    def many(self, conn: Any, query: Query) -> Asking:
        raise Unsupported

    def objects(self, conn: Any, query: Query, cls: Any) -> Asking:
        """Have Structs made, which is what it is for; it has no dataclasses, so they are compared with these, too."""
        text, argument, cls = query.text(self.style), query.argument, person_class("struct")
        return lambda: conn.select_many(text, argument, into=cls)

    def stream(self, conn: Any, query: Query) -> Asking:
        raise Unsupported
