"""psycopg2, which prepares nothing by itself and has no batches but those of its extras."""

from __future__ import annotations

import contextlib
import select
from collections.abc import Callable, Iterator
from typing import Any

import psycopg2
import psycopg2.extras

from ..workloads import CHANNEL, INSERT, ONE, Query
from .base import SyncAsking, SyncDriver


class Psycopg2(SyncDriver):
    def connect(self, dsn: str) -> Any:
        conn = psycopg2.connect(dsn)
        conn.autocommit = True
        psycopg2.extras.register_uuid(conn_or_curs=conn)
        return conn

    def execute(self, conn: Any, sql: str) -> None:
        with conn.cursor() as cursor:
            cursor.execute(sql)

    def one(self, conn: Any) -> SyncAsking:
        text, parameters = ONE.text(self.style), (ONE.argument,)

        def one() -> Any:
            with conn.cursor() as cursor:
                cursor.execute(text, parameters)
                return cursor.fetchone()

        return one

    def many(self, conn: Any, query: Query) -> SyncAsking:
        text, parameters = query.text(self.style), (query.argument,)

        def many() -> Any:
            with conn.cursor() as cursor:
                cursor.execute(text, parameters)
                return cursor.fetchall()

        return many

    def insert(self, conn: Any, rows: list[tuple[int, str]]) -> SyncAsking:
        """The same INSERTs in texts of a hundred, which is faster than its executemany()."""
        text = INSERT.format(*self.style)

        def insert() -> None:
            with conn.cursor() as cursor:
                cursor.execute("BEGIN")
                psycopg2.extras.execute_batch(cursor, text, rows, page_size=100)
                cursor.execute("COMMIT")

        return insert

    def stream(self, conn: Any, query: Query) -> SyncAsking:
        text, parameters = query.text(self.style), (query.argument,)

        def stream() -> tuple[int, int]:
            count = total = 0
            # In autocommit mode its named cursors must be WITH HOLD, and the server would keep all rows first.
            conn.autocommit = False
            with conn.cursor(name="bench") as cursor:
                cursor.execute(text, parameters)
                for row in cursor:
                    count += 1
                    total += row[0]
            conn.commit()
            conn.autocommit = True
            return count, total

        return stream

    @contextlib.contextmanager
    def listen(self, conn: Any) -> Iterator[Callable[[int], None]]:
        self.execute(conn, f"LISTEN {CHANNEL}")

        def receive(size: int) -> None:
            while len(conn.notifies) < size:
                select.select([conn], [], [])
                conn.poll()
            del conn.notifies[:size]

        yield receive
