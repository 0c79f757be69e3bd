"""psqlpy: the driver of Rust's tokio, whose own threads do the work.

Its notifications are left out: with psqlpy 0.13.1 a listener did not end with its block, and the next one hung.
"""

from __future__ import annotations

from typing import Any

import psqlpy

from ..workloads import INSERT, ONE, Query
from .addresses import address
from .base import Asking, Driver

FETCH = 1000


class Psqlpy(Driver):
    async def connect(self, dsn: str) -> Any:
        return await psqlpy.connect(**where(dsn))

    async def close(self, conn: Any) -> None:
        conn.close()

    async def execute(self, conn: Any, sql: str) -> None:
        await conn.execute_batch(sql)

    def one(self, conn: Any) -> Asking:
        text, parameters = ONE.text(self.style), [ONE.argument]

        async def one() -> Any:
            result = await conn.fetch_row(text, parameters)
            return result.result(as_tuple=True)

        return one

    def many(self, conn: Any, query: Query) -> Asking:
        text, parameters = query.text(self.style), [query.argument]

        async def many() -> Any:
            result = await conn.fetch(text, parameters)
            return result.result(as_tuple=True)

        return many

    def insert(self, conn: Any, rows: list[tuple[int, str]]) -> Asking:
        text, parameters = INSERT.format(*self.style), [list(row) for row in rows]

        async def insert() -> None:
            async with conn.transaction() as transaction:
                await transaction.execute_many(text, parameters)

        return insert

    def stream(self, conn: Any, query: Query) -> Asking:
        text, parameters = query.text(self.style), [query.argument]

        async def stream() -> tuple[int, int]:
            count = total = 0
            async with conn.transaction() as transaction, transaction.cursor(text, parameters, FETCH) as cursor:
                async for result in cursor:
                    for row in result.result(as_tuple=True):
                        count += 1
                        total += row[0]
            return count, total

        return stream


def where(dsn: str) -> dict[str, Any]:
    server = address(dsn)
    modes = {
        "disable": psqlpy.SslMode.Disable,
        "require": psqlpy.SslMode.Require,
        "verify-ca": psqlpy.SslMode.VerifyCa,
        "verify-full": psqlpy.SslMode.VerifyFull,
    }
    return {
        "host": server.host,
        "port": server.port,
        "username": server.user,
        "password": server.password,
        "db_name": server.dbname,
        "ssl_mode": modes.get(server.sslmode or "disable"),
        "ca_file": server.sslrootcert,
    }
