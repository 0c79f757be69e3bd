"""Whatever a server sends: others get their turn, limits hold, and what comes of it is an `anyq.Error` or a result.

What is in no message that a server should send is made by hypothesis: real conversations, damaged at random.
"""

from __future__ import annotations

import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from anyio.abc import ByteStream
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import anyq
from anyq.protocol import messages as be
from anyq.protocol.constants import BackendCode, Format
from anyq.protocol.messages import FieldDescription
from anyq.session.busy_wait import MOST_MESSAGES
from tests.support import frontend_messages as fm
from tests.support.deadlines import LIMIT, Deadlines, deadlines
from tests.support.fakeserver import DEFAULT_PARAMETERS, READY, FakeClient, fake_server

__all__ = ["deadlines"]

PATIENCE = 20.0
"""Seconds after which something is taken to hang."""

GRACE = 0.3


# -- floods


NOTICE = be.NoticeResponse({"M": "no"})
FLOODS: dict[str, Callable[[int], bytes]] = {
    "notices": lambda number: NOTICE.encode(),
    "notifications": lambda number: be.NotificationResponse(7, "a", "b").encode(),
    "parameters": lambda number: be.ParameterStatus("TimeZone", str(number)).encode(),
    "encodings": lambda number: be.ParameterStatus("client_encoding", ("UTF8", "LATIN1")[number % 2]).encode(),
    "names of encodings": lambda number: be.ParameterStatus("client_encoding", f"no such thing {number}").encode(),
}
"""What may come at any time, as often as the server likes."""


async def flood(client: FakeClient, what: str, after: Callable[[], object] = lambda: None) -> None:
    """Send it until the client has gone; `after` is called once much of it has been sent."""
    make = FLOODS[what]
    with anyio.CancelScope() as sending:

        async def listen() -> None:
            while await client.receive() is not None:
                pass
            sending.cancel()

        async with anyio.create_task_group() as group:
            group.start_soon(listen)
            for turn in range(1_000_000):
                await client.send_raw(b"".join([make(number) for number in range(turn, turn + 3000)]))
                if turn == 2:
                    after()
                await anyio.lowlevel.checkpoint()


@pytest.mark.anyio
@pytest.mark.parametrize("what", FLOODS)
async def test_the_start_up_has_its_limit(what: str, deadlines: Deadlines) -> None:
    async def script(client: FakeClient) -> None:
        await client.expect(fm.Startup)
        await client.send(be.AuthenticationOk())
        await flood(client, what, deadlines.pass_now)

    async with fake_server(script) as server:
        with anyio.fail_after(PATIENCE), pytest.raises(anyq.ConnectionTimeout):
            await anyq.AsyncConnection.connect(server.conninfo, connect_timeout=LIMIT)


@pytest.mark.anyio
@pytest.mark.parametrize("what", FLOODS)
async def test_a_cancelled_query_has_its_limit(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # One CancelRequest, for which there is a script.
    monkeypatch.setattr("anyq.session.cancelling.CANCEL_AGAIN", 1000.0)
    asked = anyio.Event()

    async def script(client: FakeClient) -> None:
        await client.accept_startup()
        await client.expect(fm.Query)
        await flood(client, what, asked.set)

    async def cancel(client: FakeClient) -> None:
        await client.expect(fm.CancelRequest)

    async with fake_server(script, cancel) as server:
        conn = await anyq.AsyncConnection.connect(server.conninfo, autocommit=True, grace_period=GRACE)

        async def ask() -> None:
            await conn.execute("SELECT pg_sleep(60)")

        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as group:
                group.start_soon(ask)
                await asked.wait()
                group.cancel_scope.cancel()
        assert conn.closed
        assert "grace time" in conn.info.error_message


@pytest.mark.anyio
async def test_others_get_their_turn_amid_a_chunk() -> None:
    """Of the messages that cost most there are 20,000 in one."""
    most = count = 0
    over = anyio.Event()

    async def script(client: FakeClient) -> None:
        await client.accept_startup()
        await client.expect(fm.Query)
        await client.send_raw(NOTICE.encode() * 30_000)
        await client.send(be.CommandComplete("SELECT 0"), READY)
        await client.expect(fm.Terminate)

    def handle(diagnostic: anyq.errors.Diagnostic) -> None:
        nonlocal count, most
        count += 1
        most = max(most, count)

    async def take_turns() -> None:
        nonlocal count
        while not over.is_set():
            await anyio.lowlevel.checkpoint()
            count = 0

    async with fake_server(script) as server, anyq.AsyncConnection.connect(server.conninfo, autocommit=True) as conn:
        conn.add_notice_handler(handle)
        async with anyio.create_task_group() as group:
            group.start_soon(take_turns)
            await conn.execute("SELECT 1")
            over.set()
    # On asyncio one that waits for the socket and one that does not take turns as they come.
    assert 0 < most <= 4 * MOST_MESSAGES


# -- anything else


class Scripted(ByteStream):
    """A server in memory: whenever something is sent to it, there is one more piece of what it has to say."""

    def __init__(self, pieces: list[bytes], size: int) -> None:
        self._pieces = pieces
        self._size = size
        self._said = bytearray()

    async def send(self, item: bytes) -> None:
        await anyio.lowlevel.checkpoint()
        if self._pieces:
            self._said += self._pieces.pop(0)

    async def receive(self, max_bytes: int = 65536) -> bytes:
        await anyio.lowlevel.checkpoint()
        count = min(max_bytes, self._size)
        data = bytes(self._said[:count])
        del self._said[:count]
        if not data:
            raise anyio.EndOfStream
        return data

    async def send_eof(self) -> None:
        await anyio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        await anyio.lowlevel.checkpoint()


def columns(*types: int, name: str = "c") -> be.RowDescription:
    return be.RowDescription(tuple(FieldDescription(name, 0, 0, oid, -1, -1, 0) for oid in types))


TYPES = (23, 25, 1700, 1184, 1007, 3802, 2950, 17)
ROW = (b"1", b"text", b"1.5", b"2020-01-01 00:00:00+00", b"{1,2}", b'{"a": 1}', bytes(16).hex().encode(), rb"\x00")
ERROR = be.ErrorResponse({"S": "ERROR", "V": "ERROR", "C": "42601", "M": "syntax error", "P": "8", "H": "try"})

LOGIN: list[be.BackendMessage] = [
    be.AuthenticationOk(),
    *[be.ParameterStatus(name, value) for name, value in DEFAULT_PARAMETERS.items()],
    be.BackendKeyData(4242, b"\1\2\3\4"),
    READY,
]
REPLIES: list[list[be.BackendMessage]] = [
    [be.ParseComplete(), be.BindComplete(), columns(*TYPES), be.DataRow(ROW), be.CommandComplete("SELECT 1"), READY],
    [columns(23), be.DataRow((b"1",)), NOTICE, be.CommandComplete("SELECT 1"), READY],
    [be.ParseComplete(), be.BindComplete(), be.NoData(), be.CommandComplete("UPDATE 3"), READY],
    [be.ParseComplete(), ERROR, be.ParameterStatus("TimeZone", "Asia/Tokyo"), READY],
    [be.NotificationResponse(7, "a", "b"), be.CommandComplete("LISTEN"), READY],
    [be.CopyInResponse(Format.TEXT, ()), ERROR, READY],
    [be.CopyOutResponse(Format.TEXT, ()), be.CopyData(b"1"), be.CopyDone(), be.CommandComplete("COPY 1"), READY],
    [be.ErrorResponse({"S": "FATAL", "V": "FATAL", "C": "57P01", "M": "terminating connection"})],
]
AUTHENTICATIONS: list[list[be.BackendMessage]] = [
    [be.AuthenticationCleartextPassword()],
    [be.AuthenticationMD5Password(b"salt")],
    [be.AuthenticationSASL(("SCRAM-SHA-256",))],
    [be.NegotiateProtocolVersion(3 << 16), be.AuthenticationCleartextPassword()],
    [be.AuthenticationGSS()],
    [],
]

ODD_TEXTS = ["", "9" * 5000, "\u0661\u0662", "1e9", "\u00b2", "\x1b[2J", "hex", "idna", "a\u0130"]
"""What is no number, no version, no encoding, or looks like one."""


def odd_messages(text: str) -> list[be.BackendMessage]:
    """Return messages with a text in all places where there is one."""
    return [
        *[be.ParameterStatus(name, text) for name in PARAMETERS],
        be.ErrorResponse({"M": text, "P": text, "C": text, "S": text, "q": text, "p": text}),
        be.ErrorResponse({"M": text, "P": text, "C": "57014", "V": "ERROR", "D": text, "H": text, "W": text}),
        be.NoticeResponse({"M": text, "P": text, "C": text, "S": text}),
        be.CommandComplete(text),
        be.CommandComplete(f"SELECT {text}"),
        be.NotificationResponse(7, text, text),
        columns(*TYPES, name=text),
        be.AuthenticationSASL((text,) if text else ()),
        be.AuthenticationSASLContinue(f"r={text},s={text},i={text}".encode()),
        be.AuthenticationSASLFinal(f"v={text}".encode()),
        be.NegotiateProtocolVersion(3 << 16, (text,)),
    ]


PARAMETERS = [*DEFAULT_PARAMETERS, "scram_iterations", "in_hot_standby", "default_transaction_read_only"]


@st.composite
def damaged(draw: st.DrawFn, messages: list[be.BackendMessage]) -> bytes:
    """Return messages as a server that is broken, or means it, sends them."""
    pieces = [message.encode() for message in messages]
    for _ in range(draw(st.integers(0, 3))):
        pieces = [piece for piece in pieces if piece]
        if not pieces:
            break
        at = draw(st.integers(0, len(pieces) - 1))
        piece = bytearray(pieces[at])
        match draw(st.sampled_from(["byte", "cut", "length", "drop", "twice", "swap", "kind", "insert", "report"])):
            case "byte":
                piece[draw(st.integers(0, len(piece) - 1))] = draw(st.integers(0, 255))
            case "cut":
                del piece[draw(st.integers(0, len(piece))) :]
            case "length":
                length = draw(st.one_of(st.integers(0, 50), st.integers(0, 2**32 - 1)))
                piece[1:5] = struct.pack("!I", length)
            case "drop":
                piece.clear()
            case "twice":
                piece *= draw(st.integers(2, 5))
            case "swap":
                other = draw(st.integers(0, len(pieces) - 1))
                pieces[other], piece = bytes(piece), bytearray(pieces[other])
            case "kind":
                piece[:1] = bytes([draw(st.sampled_from(sorted(BackendCode)))])
            case "insert":
                piece += draw(st.binary(max_size=20))
            case _:
                text = draw(st.sampled_from(ODD_TEXTS))
                piece = bytearray(draw(st.sampled_from(odd_messages(text))).encode()) + piece
        pieces[at] = bytes(piece)
    return b"".join(pieces)


@st.composite
def conversations(draw: st.DrawFn) -> list[bytes]:
    """Return what a server says, piece by piece: to the start-up, to the password, to each query."""
    said: list[bytes] = []
    authentication = draw(st.sampled_from(AUTHENTICATIONS))
    if authentication:
        said.append(draw(damaged(authentication)))
    said.append(draw(damaged(LOGIN)))
    for _ in range(draw(st.integers(1, 4))):
        said.append(draw(damaged(draw(st.sampled_from(REPLIES)))))
    return said


async def fetch(conn: anyq.AsyncConnection, cursor: anyq.AsyncCursor[Any, Any]) -> None:
    if cursor.description is not None:
        for _ in range(cursor.rowcount if 0 < cursor.rowcount < 10 else 3):
            with suppress(anyq.Error):
                await cursor.fetchone()


async def ask_for_facts(conn: anyq.AsyncConnection) -> None:
    info = conn.info
    assert isinstance(info.server_version, int)
    assert info.encoding
    assert repr(conn)
    assert repr(info.timezone)
    conn.info.get_parameters()


async def execute(conn: anyq.AsyncConnection, query: str, *args: Any, **kwargs: Any) -> None:
    await fetch(conn, await conn.execute(query, *args, **kwargs))


async def listen(conn: anyq.AsyncConnection) -> None:
    async with conn.listen("a"):
        pass


OPERATIONS: dict[str, Callable[[anyq.AsyncConnection], Awaitable[object]]] = {
    "simple": lambda conn: execute(conn, "SELECT 1"),
    "parameters": lambda conn: execute(conn, "SELECT %s", ("a",)),
    "prepared": lambda conn: execute(conn, "SELECT %s, 1", (1,), prepare=True),
    "binary": lambda conn: execute(conn, "SELECT %s, 2", (1,), binary=True),
    "many": lambda conn: conn.cursor().executemany("INSERT INTO t VALUES (%s)", [(1,), (2,)]),
    "commit": lambda conn: conn.commit(),
    "facts": ask_for_facts,
    "password": lambda conn: conn.change_password("test", "other"),
    "listen": listen,
}


async def converse(said: list[bytes], size: int, names: list[str], autocommit: bool) -> None:
    conninfo = "host=localhost user=test password=secret dbname=test"
    with anyio.fail_after(PATIENCE):
        with suppress(anyq.Error):
            conn = await anyq.AsyncConnection.connect(
                conninfo, stream=Scripted(said, size), autocommit=autocommit, grace_period=0.01
            )
            with suppress(anyq.Error):
                await ask_for_facts(conn)
            for name in names:
                try:
                    await OPERATIONS[name](conn)
                except anyq.Error as error:
                    assert str(error)
                    assert "secret" not in str(error)
            with suppress(anyq.Error):
                await conn.close()


def encoded(*messages: be.BackendMessage) -> bytes:
    return b"".join([message.encode() for message in messages])


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("text", ODD_TEXTS, ids=lambda text: ascii(text[:10]))
def test_odd_texts_in_every_place(backend: str, text: str) -> None:
    async def test_each() -> None:
        for message in odd_messages(text):
            await converse([encoded(message, *LOGIN)], 65536, ["facts"], True)
            await converse([encoded(AUTHENTICATIONS[2][0]), encoded(message), encoded(*LOGIN)], 65536, ["facts"], True)
            await converse([encoded(*LOGIN[:-1], message, READY), *[encoded(*REPLIES[1])] * 2], 65536, ["simple"], True)
            if isinstance(message, be.ParameterStatus):
                continue
            for name in sorted(OPERATIONS):
                reply = [encoded(message, *reply) for reply in REPLIES[:5]]
                await converse([encoded(*LOGIN), *reply], 65536, [name] * 3, True)

    anyio.run(test_each, backend=backend)


# The stream is in memory, and so the loop's ways of waiting for sockets are all the same.
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    said=conversations(),
    size=st.sampled_from([1, 7, 65536]),
    names=st.lists(st.sampled_from(sorted(OPERATIONS)), min_size=1, max_size=4),
    autocommit=st.booleans(),
)
def test_a_damaged_conversation(backend: str, said: list[bytes], size: int, names: list[str], autocommit: bool) -> None:
    """It ends in an error of the driver's or in a result, and it ends."""
    anyio.run(converse, said, size, names, autocommit, backend=backend)
