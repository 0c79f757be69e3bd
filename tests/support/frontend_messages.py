"""Client messages as a server reads them: one dataclass each, and a strict parser.

For tests only. Written from the PostgreSQL manual, "Message Formats", and not from the writers in
``anyq.protocol.frontend``, so that the one can be held against the other.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar


class BadMessage(ValueError):
    """The client sent something that is no message."""


@dataclass(frozen=True)
class FrontendMessage:
    """Base of all messages of a client."""


@dataclass(frozen=True)
class Startup(FrontendMessage):
    version: int
    params: dict[str, str]


@dataclass(frozen=True)
class SSLRequest(FrontendMessage):
    pass


@dataclass(frozen=True)
class GSSENCRequest(FrontendMessage):
    pass


@dataclass(frozen=True)
class CancelRequest(FrontendMessage):
    pid: int
    secret: bytes


@dataclass(frozen=True)
class Answer(FrontendMessage):
    """Any of the four messages with the letter p, which nothing on the wire tells apart."""

    payload: bytes


@dataclass(frozen=True)
class PasswordMessage(FrontendMessage):
    password: bytes


@dataclass(frozen=True)
class SASLInitialResponse(FrontendMessage):
    mechanism: str
    data: bytes | None


@dataclass(frozen=True)
class SASLResponse(FrontendMessage):
    data: bytes


@dataclass(frozen=True)
class GSSResponse(FrontendMessage):
    data: bytes


@dataclass(frozen=True)
class Query(FrontendMessage):
    sql: bytes


@dataclass(frozen=True)
class Parse(FrontendMessage):
    name: bytes
    sql: bytes
    oids: tuple[int, ...]


@dataclass(frozen=True)
class Bind(FrontendMessage):
    portal: bytes
    statement: bytes
    formats: tuple[int, ...]
    values: tuple[bytes | None, ...]
    result_formats: tuple[int, ...]


@dataclass(frozen=True)
class Describe(FrontendMessage):
    kind: bytes
    name: bytes


@dataclass(frozen=True)
class Execute(FrontendMessage):
    portal: bytes
    max_rows: int


@dataclass(frozen=True)
class Close(FrontendMessage):
    kind: bytes
    name: bytes


@dataclass(frozen=True)
class Sync(FrontendMessage):
    pass


@dataclass(frozen=True)
class Flush(FrontendMessage):
    pass


@dataclass(frozen=True)
class Terminate(FrontendMessage):
    pass


@dataclass(frozen=True)
class CopyData(FrontendMessage):
    data: bytes


@dataclass(frozen=True)
class CopyDone(FrontendMessage):
    pass


@dataclass(frozen=True)
class CopyFail(FrontendMessage):
    reason: bytes


@dataclass(frozen=True)
class FunctionCall(FrontendMessage):
    oid: int
    formats: tuple[int, ...]
    values: tuple[bytes | None, ...]
    result_format: int


M = TypeVar("M", bound=FrontendMessage)


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.pos = 0

    def take(self, count: int) -> bytes:
        if count < 0 or self.pos + count > len(self.data):
            raise BadMessage(f"{count} bytes are wanted at {self.pos} of {self.data!r}")
        self.pos += count
        return self.data[self.pos - count : self.pos]

    def rest(self) -> bytes:
        return self.take(len(self.data) - self.pos)

    def number(self, layout: str) -> int:
        value: int = struct.unpack(layout, self.take(struct.calcsize(layout)))[0]
        return value

    def string(self) -> bytes:
        end = self.data.find(b"\0", self.pos)
        if end < 0:
            raise BadMessage(f"a string has no end: {self.data[self.pos :]!r}")
        return self.take(end + 1 - self.pos)[:-1]

    def numbers(self, layout: str) -> tuple[int, ...]:
        return tuple([self.number(layout) for _ in range(self.number(">H"))])

    def values(self) -> tuple[bytes | None, ...]:
        return tuple([self.value() for _ in range(self.number(">H"))])

    def value(self) -> bytes | None:
        length = self.number(">i")
        return None if length == -1 else self.take(length)

    def kind(self) -> bytes:
        kind = self.take(1)
        if kind not in (b"S", b"P"):
            raise BadMessage(f"{kind!r} is neither S nor P")
        return kind

    def end(self, message: M) -> M:
        if self.pos != len(self.data):
            raise BadMessage(f"{message} is followed by {self.data[self.pos :]!r}")
        return message


def parse_first(payload: bytes) -> FrontendMessage:
    """Return the message that opens a connection, from what follows its length word."""
    reader = _Reader(payload)
    code = reader.number(">I")
    if code == 80877103:
        return reader.end(SSLRequest())
    if code == 80877104:
        return reader.end(GSSENCRequest())
    if code == 80877102:
        return CancelRequest(reader.number(">i"), reader.rest())
    if code >> 16 != 3:
        raise BadMessage(f"there is no protocol version {code >> 16}.{code & 0xFFFF}")
    params: dict[str, str] = {}
    while name := reader.string():
        if name.decode() in params:
            raise BadMessage(f"parameter {name!r} comes twice")
        params[name.decode()] = reader.string().decode()
    return reader.end(Startup(code, params))


_PARSERS: dict[str, Callable[[_Reader], FrontendMessage]] = {
    "p": lambda r: Answer(r.rest()),
    "Q": lambda r: Query(r.string()),
    "P": lambda r: Parse(r.string(), r.string(), r.numbers(">I")),
    "B": lambda r: Bind(r.string(), r.string(), r.numbers(">H"), r.values(), r.numbers(">H")),
    "D": lambda r: Describe(r.kind(), r.string()),
    "E": lambda r: Execute(r.string(), r.number(">i")),
    "C": lambda r: Close(r.kind(), r.string()),
    "S": lambda r: Sync(),
    "H": lambda r: Flush(),
    "X": lambda r: Terminate(),
    "d": lambda r: CopyData(r.rest()),
    "c": lambda r: CopyDone(),
    "f": lambda r: CopyFail(r.string()),
    "F": lambda r: FunctionCall(r.number(">I"), r.numbers(">H"), r.values(), r.number(">H")),
}
"""What follows the length word, by the message's first byte."""


def parse(code: int, payload: bytes) -> FrontendMessage:
    """Return the message with `code` as its first byte, from what follows its length word."""
    parser = _PARSERS.get(chr(code))
    if parser is None:
        raise BadMessage(f"there is no message {chr(code)!r}")
    reader = _Reader(payload)
    return reader.end(parser(reader))


def as_kind(message: FrontendMessage, kind: type[M]) -> FrontendMessage:
    """Return an :class:`Answer` read as `kind`, which nothing on the wire tells; others as they are."""
    if not isinstance(message, Answer):
        return message
    reader = _Reader(message.payload)
    if kind is PasswordMessage:
        return reader.end(PasswordMessage(reader.string()))
    if kind is SASLInitialResponse:
        return reader.end(SASLInitialResponse(reader.string().decode("ascii"), reader.value()))
    if kind is SASLResponse:
        return SASLResponse(reader.rest())
    if kind is GSSResponse:
        return GSSResponse(reader.rest())
    return message


class FrontendStream:
    """Cuts what a client sends into messages."""

    def __init__(self) -> None:
        self.buffer = bytearray()
        self.started = False
        """Whether StartupMessage has come: from then on messages have a letter."""

    def feed(self, data: bytes) -> None:
        self.buffer += data

    def next_message(self) -> FrontendMessage | None:
        """Return the next whole message, None if it has not all come."""
        head = 1 if self.started else 0
        if len(self.buffer) < head + 4:
            return None
        length = int.from_bytes(self.buffer[head : head + 4], "big")
        if not 4 <= length <= 1 << 30:
            raise BadMessage(f"a message of {length} bytes")
        if len(self.buffer) < head + length:
            return None
        payload = bytes(self.buffer[head + 4 : head + length])
        code = self.buffer[0]
        del self.buffer[: head + length]
        if self.started:
            return parse(code, payload)
        message = parse_first(payload)
        self.started = isinstance(message, Startup)
        return message


def read(data: bytes | bytearray) -> list[FrontendMessage]:
    """Return the messages that a client sends in a connection that is open already; they have to be whole."""
    stream = FrontendStream()
    stream.started = True
    stream.feed(bytes(data))
    messages: list[FrontendMessage] = []
    while (message := stream.next_message()) is not None:
        messages.append(message)
    if stream.buffer:
        raise BadMessage(f"{len(stream.buffer)} bytes are left")
    return messages
