"""No driver: ready-made bytes through a blocking socket, and the answer is not looked at. The limit for all."""

from __future__ import annotations

import itertools
import socket
import struct
from collections.abc import Sequence
from typing import Any

from ..typed import Values
from ..workloads import COPY_IN, COPY_OUT, INSERT, ONE, Query, copy_chunks
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
        return lambda: drain(conn, data)

    def objects(self, conn: socket.socket, query: Query, cls: Any) -> SyncAsking:
        return self.many(conn, query)

    def insert(self, conn: Any, rows: list[tuple[int, str]]) -> SyncAsking:
        name = next(self._names)
        ask(conn, parse(name, INSERT.format(*self.style), INT4, TEXT) + SYNC)
        values = [struct.pack(f"!iii{len(text)}s", 4, number, len(text), text.encode()) for number, text in rows]
        # One Sync, so one transaction.
        data = b"".join(bind(name, value, 2) for value in values) + SYNC
        return lambda: ask(conn, data)

    def register(self, conn: Any, kind: Values) -> Values:
        """Values are what the server itself writes in binary format, with the length before it."""
        ask(conn, parse(name := next(self._names), kind.of_number("$1"), INT4) + SYNC)

        def value(number: int) -> bytes:
            (row,) = messages(ask(conn, bind(name, struct.pack("!ii", 4, number), 1) + SYNC), b"D")
            return row[2:]

        return kind._replace(value=value)

    def send(self, conn: Any, text: str, rows: Sequence[tuple[bytes, ...]]) -> SyncAsking:
        name = next(self._names)
        ask(conn, parse(name, text) + SYNC)
        data = b"".join([bind(name, b"".join(row), len(row)) for row in rows]) + SYNC
        return lambda: drain(conn, data)

    def stream(self, conn: Any, query: Query) -> SyncAsking:
        name = next(self._names)
        ask(conn, parse(name, query.text(self.style), INT4) + SYNC)
        data = bind(name, struct.pack("!ii", 4, query.argument), 1) + SYNC

        return lambda: drain(conn, data)

    def copy(self, conn: Any, way: str, size: int, where: str) -> SyncAsking:
        binary = " (FORMAT binary)" if way.endswith("rows") else ""
        out = message(b"Q", f"COPY ({COPY_OUT.format(size)}) TO STDOUT{binary}\0".encode())
        if way.startswith("out"):

            def copy_out() -> int:
                drain(conn, out)
                return size

            return copy_out
        data = b"".join(messages(ask(conn, out), b"d")) if binary else b"".join(copy_chunks(size))
        begin = message(b"Q", COPY_IN.format(binary, where).encode() + b"\0")
        pieces = [message(b"d", data[start : start + ENOUGH]) for start in range(0, len(data), ENOUGH)]

        def copy_in() -> int:
            conn.sendall(begin)
            conn.recv(ENOUGH)
            for piece in pieces:
                conn.sendall(piece)
            ask(conn, COPY_DONE)
            return size

        return copy_in


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


def drain(conn: socket.socket, data: bytes) -> None:
    """Do the same and keep nothing of the answer."""
    conn.sendall(data)
    tail = b""
    while tail[-6:-1] != READY:
        tail = tail[-6:] + conn.recv(ENOUGH)


def messages(answer: bytes, code: bytes) -> list[bytes]:
    """Return what is in the messages of one kind of an answer."""
    found: list[bytes] = []
    start = 0
    while start < len(answer):
        stop = start + 1 + int.from_bytes(answer[start + 1 : start + 5], "big")
        if answer[start : start + 1] == code:
            found.append(answer[start + 5 : stop])
        start = stop
    return found


def message(code: bytes, payload: bytes) -> bytes:
    return code + struct.pack("!i", len(payload) + 4) + payload


def parse(name: bytes, sql: str, *types: int) -> bytes:
    return message(b"P", name + b"\0" + sql.encode() + b"\0" + struct.pack(f"!H{len(types)}i", len(types), *types))


def bind(name: bytes, values: bytes, count: int) -> bytes:
    """Bind and Execute a statement, all values and results binary."""
    head = b"\0" + name + b"\0" + struct.pack("!HHH", 1, BINARY, count)
    return message(b"B", head + values + struct.pack("!HH", 1, BINARY)) + message(b"E", b"\0\0\0\0\0")


SYNC = message(b"S", b"")
COPY_DONE = message(b"c", b"")
