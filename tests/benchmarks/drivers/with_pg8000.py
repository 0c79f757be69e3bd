"""pg8000 by its native interface, the one that has prepared statements."""

from __future__ import annotations

from typing import Any

import pg8000.native

from ..workloads import INSERT, ONE, Query
from .addresses import address
from .base import SyncAsking, SyncDriver

FETCH = 1000


class Pg8000(SyncDriver):
    style = (":a", ":b")

    def connect(self, dsn: str) -> Any:
        server = address(dsn)
        where: dict[str, Any] = {"host": server.host, "port": server.port, "ssl_context": server.tls}
        if server.socket is not None:
            where = {"unix_sock": server.socket}
        return pg8000.native.Connection(server.user, database=server.dbname, password=server.password, **where)

    def execute(self, conn: Any, sql: str) -> None:
        conn.run(sql)

    def one(self, conn: Any) -> SyncAsking:
        statement, argument = conn.prepare(ONE.text(self.style)), ONE.argument
        return lambda: statement.run(a=argument)[0]

    def many(self, conn: Any, query: Query) -> SyncAsking:
        statement, argument = conn.prepare(query.text(self.style)), query.argument
        return lambda: statement.run(a=argument)

    def insert(self, conn: Any, rows: list[tuple[int, str]]) -> SyncAsking:
        statement = conn.prepare(INSERT.format(*self.style))

        def insert() -> None:
            conn.run("BEGIN")
            for number, text in rows:
                statement.run(a=number, b=text)
            conn.run("COMMIT")

        return insert

    def stream(self, conn: Any, query: Query) -> SyncAsking:
        """By a cursor of the server, as its manual says: it has no other way to take rows in parts."""
        declare = "DECLARE bench CURSOR FOR " + query.sql.format(query.argument)

        def stream() -> tuple[int, int]:
            count = total = 0
            conn.run("BEGIN")
            conn.run(declare)
            while rows := conn.run(f"FETCH FORWARD {FETCH} FROM bench"):
                for row in rows:
                    count += 1
                    total += row[0]
            conn.run("COMMIT")
            return count, total

        return stream
