"""No driver: ready-made bytes through a blocking socket, and the answer is not looked at. The limit for all."""

from __future__ import annotations

import itertools
import socket
import struct
from typing import Any

from ..workloads import INSERT, ONE, Query
from .addresses import address
from .base import SyncAsking, SyncDriver, Unsupported

PROTOCOL_3_0 = 196608
INT4, TEXT = 23, 25
BINARY = 1
READY = b"Z\0\0\0\x05"
ENOUGH = 65536


class BlockingSocket(SyncDriver):
    style = ("$1", "$2")
    decodes = False

    def __init__(self) -> None:
        self._names = (b"bench%d" % number for number in itertools.count())

    def connect(self, dsn: str) -> Any:
        server = address(dsn)
        if server.password is not None:
            # It would have to log in, and that is a driver's work.
            raise Unsupported
        if server.socket is not None:
            conn = socket.socket(socket.AF_UNIX)
            conn.connect(server.socket)
        else:
            conn = socket.create_connection((server.host, server.port))
            conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pairs = f"user\0{server.user}\0database\0{server.dbname}\0\0".encode()
        ask(conn, struct.pack("!ii", len(pairs) + 8, PROTOCOL_3_0) + pairs)
        return conn

    def execute(self, conn: Any, sql: str) -> None:
        ask(conn, message(b"Q", sql.encode() + b"\0"))

    def one(self, conn: Any) -> SyncAsking:
        return self.many(conn, ONE)

    def many(self, conn: Any, query: Query) -> SyncAsking:
        name = next(self._names)
        ask(conn, parse(name, query.text(self.style), INT4) + SYNC)
        data = bind(name, struct.pack("!ii", 4, query.argument), 1) + SYNC
        return lambda: ask(conn, data)

    def insert(self, conn: Any, rows: list[tuple[int, str]]) -> SyncAsking:
        name = next(self._names)
        ask(conn, parse(name, INSERT.format(*self.style), INT4, TEXT) + SYNC)
        values = [struct.pack(f"!iii{len(text)}s", 4, number, len(text), text.encode()) for number, text in rows]
        # One Sync, so one transaction.
        data = b"".join(bind(name, value, 2) for value in values) + SYNC
        return lambda: ask(conn, data)

    def stream(self, conn: Any, query: Query) -> SyncAsking:
        name = next(self._names)
        ask(conn, parse(name, query.text(self.style), INT4) + SYNC)
        data = bind(name, struct.pack("!ii", 4, query.argument), 1) + SYNC

        def stream() -> None:
            conn.sendall(data)
            tail = b""
            while tail[-6:-1] != READY:
                tail = tail[-6:] + conn.recv(ENOUGH)

        return stream


def ask(conn: socket.socket, data: bytes) -> bytes:
    """Send, and receive up to ReadyForQuery."""
    conn.sendall(data)
    answer = conn.recv(ENOUGH)
    while answer[-6:-1] != READY:
        more = conn.recv(ENOUGH)
        if not more:
            raise ConnectionError("the server closed the connection")
        answer += more
    if answer[:1] == b"E":
        raise RuntimeError(answer)
    return answer


def message(code: bytes, payload: bytes) -> bytes:
    return code + struct.pack("!i", len(payload) + 4) + payload


def parse(name: bytes, sql: str, *types: int) -> bytes:
    return message(b"P", name + b"\0" + sql.encode() + b"\0" + struct.pack(f"!H{len(types)}i", len(types), *types))


def bind(name: bytes, values: bytes, count: int) -> bytes:
    """Bind and Execute a statement, all values and results binary."""
    head = b"\0" + name + b"\0" + struct.pack("!HHH", 1, BINARY, count)
    return message(b"B", head + values + struct.pack("!HH", 1, BINARY)) + message(b"E", b"\0\0\0\0\0")


SYNC = message(b"S", b"")
