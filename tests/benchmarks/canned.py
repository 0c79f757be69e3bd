"""A connection whose server is a table of ready-made replies, and which needs no event loop once it is made.

So it can be measured what the driver itself does for a query, and nothing else: no socket, no scheduler, no server.
Knows the messages of one query (`workloads.ONE`) and where a connection has its channel and its backend. Must import
anyq within functions only: which folder it is taken from is decided before.
"""

from __future__ import annotations

import importlib
import struct
from collections.abc import Awaitable, Coroutine, Generator
from typing import Any

import anyio
from anyio.abc import ByteStream

from .workloads import ONE, ONE_ROW

_TEXT = ONE.text(("%s", "%s"))
_ARGUMENTS = (ONE.argument,)
_INT4 = struct.pack("!I", 23)


def message(code: bytes, payload: bytes = b"") -> bytes:
    return code + struct.pack("!I", len(payload) + 4) + payload


_READY = message(b"Z", b"I")
_LOGIN = (
    message(b"R", bytes(4))
    + message(b"S", b"client_encoding\0UTF8\0")
    + message(b"S", b"standard_conforming_strings\0on\0")
    + message(b"K", struct.pack("!II", 1, 1))
    + _READY
)


class Replies(dict[bytes, bytes]):
    """What the server answers to whole messages, by their bytes; an answer is made once.

    Whether results are in binary format is taken from the last Bind.
    """

    def __missing__(self, sent: bytes) -> bytes:
        self[sent] = reply = b"".join(self._answers(sent))
        return reply

    def _answers(self, sent: bytes) -> Generator[bytes, None, None]:
        pos = 0
        binary = False
        while pos < len(sent):
            code, length = struct.unpack_from("!cI", sent, pos)
            payload = sent[pos + 5 : pos + 1 + length]
            pos += 1 + length
            if code == b"P":
                yield message(b"1")
            elif code == b"B":
                binary = payload.endswith(b"\0\1\0\1")
                yield message(b"2")
            elif code == b"C":
                yield message(b"3")
            elif code == b"D":
                if payload[:1] == b"S":
                    yield message(b"t", struct.pack("!H", 1) + _INT4)
                format = b"\0\1" if binary else b"\0\0"
                column = b"?column?\0" + bytes(6) + _INT4 + struct.pack("!hi", 4, -1) + format
                yield message(b"T", struct.pack("!H", 1) + column)
            elif code == b"E":
                value = struct.pack("!i", *ONE_ROW) if binary else b"%d" % ONE_ROW
                yield message(b"D", struct.pack("!HI", 1, len(value)) + value)
                yield message(b"C", b"SELECT 1\0")
            elif code == b"S":
                yield _READY
            elif code != b"X":
                raise NotImplementedError(f"the canned server has no reply to {code!r}")


class Login(ByteStream):
    """The server while the connection is made."""

    def __init__(self) -> None:
        self._arrived = anyio.Event()

    async def send(self, item: bytes) -> None:
        self._arrived.set()

    async def receive(self, max_bytes: int = 65536) -> bytes:
        await self._arrived.wait()
        self._arrived = anyio.Event()
        return _LOGIN

    async def send_eof(self) -> None:
        pass

    async def aclose(self) -> None:
        pass


class CannedChannel:
    """Takes everything, and has the reply at once. The methods are those of the package's `Channel`."""

    closes_at_once = True
    tls = None

    def __init__(self) -> None:
        self._replies = Replies()
        self._reply: bytes | None = None

    def try_send(self, data: bytes | bytearray) -> int:
        self._reply = self._replies[bytes(data)]
        return len(data)

    def try_receive(self, max_bytes: int) -> bytes | None:
        reply, self._reply = self._reply, None
        return reply

    def linger(self, seconds: float) -> bool:
        return False

    def wait(self, readable: bool, writable: bool) -> Awaitable[None]:
        raise RuntimeError("the driver waits, though all that it can wait for is there")

    def wake(self) -> None:
        pass

    def close_now(self) -> None:
        pass


class _Now:
    """Something to await that is there already."""

    __slots__ = ()

    def __await__(self) -> Generator[Any, None, None]:
        return iter(())  # type: ignore[return-value]  # an empty iterator does, and costs the least


_NOW = _Now()


def canned_backend() -> Any:
    """Return an event loop that never has anything else to do."""
    base: Any = importlib.import_module("anyq.backends.base")

    # What is compiled takes nothing else than what is of these classes; an older anyq, to compare with, has none.
    class Check(getattr(base, "CancellationCheck", object)):  # type: ignore[misc]
        __slots__ = ()

        def passes(self) -> bool:
            return True

    class CannedBackend(getattr(base, "BackendState", object)):  # type: ignore[misc]
        name = "canned"
        cancelled_exc_class = GeneratorExit

        def __init__(self) -> None:
            self.check = Check()
            self.turn = None

        def checkpoint(self) -> Awaitable[None]:
            return _NOW

        checkpoint_if_cancelled = checkpoint

        def may_go_on(self) -> bool:
            return True

    return CannedBackend()


def finish(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that never has to wait; return what it returns."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    coroutine.close()
    raise RuntimeError("the driver waits, though all that it can wait for is there")


def wire_of(conn: Any) -> Any:
    """The object of a connection that has its channel and its backend."""
    return conn.session.wire


class CannedConnection:
    """A connection in autocommit mode that runs one query.

    :param tracer: who watches it; None for nobody.
    :raises RuntimeError: the row is not as it should be, or something had to be waited for.
    """

    def __init__(self, tracer: Any = None) -> None:
        from anyq import AsyncConnection

        async def connect() -> Any:
            dsn = "user=canned dbname=canned"
            return await AsyncConnection.connect(dsn, autocommit=True, stream=Login(), tracer=tracer)

        self._conn: Any = anyio.run(connect)
        self._wire = wire_of(self._conn)
        self._wire.channel = CannedChannel()
        self._wire.backend = canned_backend()

    def query(self) -> None:
        """Execute the query on a cursor, fetch its row, and check that."""
        cursor = self._conn.cursor()
        finish(cursor.execute(_TEXT, _ARGUMENTS))
        row = finish(cursor.fetchone())
        if row != ONE_ROW:
            raise RuntimeError(f"the canned query gave {row!r}")

    def close(self) -> None:
        self._wire.close()
