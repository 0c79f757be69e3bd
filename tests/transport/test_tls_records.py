"""Slices of records, without TLS; and what comes of servers that send records without data."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyq.errors import RemoteProtocolError
from anyq.transport.tls import TlsStream
from anyq.transport.tls_records import Records
from tests.support.certificates import Certificates
from tests.support.crafted_tls import (
    ALERT,
    DATA,
    HANDSHAKE,
    HELLO_REQUEST,
    TICKET,
    WARNING,
    Records12,
    Records13,
    crafted_ends,
)
from tests.support.loops import ALL_LOOPS

TLS_1_2, TLS_1_3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


@pytest.fixture(scope="module", params=ALL_LOOPS)
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param


# -- slices


def record(length: int, kind: int = DATA) -> bytes:
    return struct.pack("!BHH", kind, 0x0303, length) + bytes(length)


def slices(records: Records, data: bytes) -> list[bytes]:
    """Return what becomes of data that arrives."""
    taken = [bytes(records.put(data))]
    while records.pending:
        taken.append(bytes(records.take()))
        assert taken[-1]
    return taken


@given(
    lengths=st.lists(st.sampled_from([0, 1, 17, 100, 4096, 16384, 16640]), max_size=80),
    cuts=st.lists(st.integers(1, 60_000), max_size=10),
)
def test_whatever_arrives_is_handed_out_in_order(lengths: list[int], cuts: list[int]) -> None:
    data = b"".join([record(length) for length in lengths])
    records = Records()
    handed_out = b""
    begun = pos = 0
    for size in [*cuts, len(data)]:
        chunk = data[pos : pos + size]
        if not chunk:
            break
        pos += size
        piece = bytes(records.put(chunk))
        while True:
            assert records.begun <= 32
            assert len(piece) < 32 * 1024 + 16640 + 5
            begun += records.begun
            handed_out += piece
            if not records.pending:
                break
            piece = bytes(records.take())
            assert piece
    assert handed_out == data
    assert begun == len(lengths)


@pytest.mark.parametrize("lengths", [(0,), (100,), (16640,), (100, 8192)])
def test_a_chunk_that_is_a_slice_is_not_copied(lengths: tuple[int, ...]) -> None:
    chunk = b"".join(map(record, lengths))
    records = Records()
    assert records.put(chunk) is chunk
    assert records.begun == len(lengths)
    assert not records.pending
    assert records.take() == b""


def test_a_slice_has_few_records_and_few_bytes() -> None:
    records = Records()
    assert [len(piece) // 27 for piece in slices(records, record(22) * 100)] == [32, 32, 32, 4]
    assert [len(piece) // 8197 for piece in slices(records, record(8192) * 10)] == [4, 4, 2]


def test_a_part_of_a_header_waits_for_the_rest() -> None:
    records = Records()
    data = record(3) + record(4)
    assert slices(records, data[:12]) == [data[:8]]
    assert slices(records, data[12:13]) == [data[8:13]]
    assert slices(records, data[13:]) == [data[13:]]
    assert slices(records, data[:2]) == [b""]
    assert slices(records, data[2:4]) == [b""]
    assert slices(records, data[4:]) == [data]


@pytest.mark.parametrize("kind", [0, 20, HANDSHAKE, 24, 255])
def test_what_cannot_come_after_the_handshake(kind: int) -> None:
    records = Records()
    assert slices(records, record(4, kind)) == [record(4, kind)]
    records.established = True
    for before in (b"", record(10), record(2, ALERT)):
        with pytest.raises(RemoteProtocolError, match="another TLS handshake"):
            records.put(before + record(4, kind))
        records = Records()
        records.established = True


# -- servers that send what has no data


pytestmark = pytest.mark.anyio

Crafted = Callable[[ssl.TLSVersion], Any]


@pytest.fixture
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    theirs.settimeout(20)
    with ours, theirs:
        yield ours, theirs


@pytest.fixture
def ends(sockets: tuple[socket.socket, socket.socket], certificates: Certificates, tmp_path: Path) -> Crafted:
    return partial(crafted_ends, *sockets, certificates, tmp_path)


def flood(records: Any, what: str, count: int) -> bytes:
    """Return so many records without data, in TLS 1.3."""
    match what:
        case "keys":
            return b"".join([records.new_keys(answer=False) for _ in range(count)])
        case "keys to be answered":
            return b"".join([records.new_keys(answer=True) for _ in range(count)])
        case "tickets":
            return b"".join([records.record(HANDSHAKE, TICKET) for _ in range(count)])
        case _:
            return b"".join([records.record(HANDSHAKE, TICKET * 800) for _ in range(count)])


async def received_by(stream: TlsStream, theirs: socket.socket, data: bytes) -> tuple[bytes, int, str]:
    """Send `data` to our end, which receives until there is no more: what it got, how often others had their turn."""
    turns = 0
    got = bytearray()
    why = ""

    async def take_turns() -> None:
        nonlocal turns
        while True:
            await anyio.lowlevel.checkpoint()
            turns += 1

    def send() -> None:
        try:
            theirs.sendall(data)
            theirs.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # our end has closed

    with anyio.fail_after(60):
        async with anyio.create_task_group() as group:
            group.start_soon(take_turns)
            group.start_soon(anyio.to_thread.run_sync, send)
            try:
                while True:
                    piece = stream.try_receive(127 * 1024)
                    if piece is None:
                        await stream.wait(True, False)
                    elif piece:
                        got += piece
                        await anyio.lowlevel.checkpoint()
                    else:
                        break
            except anyio.BrokenResourceError as error:
                why = str(error)
            stream.close_now()
            group.cancel_scope.cancel()
    return bytes(got), turns, why


@pytest.mark.parametrize("what", ["keys", "keys to be answered", "tickets", "big records of tickets"])
async def test_records_without_data(ends: Crafted, sockets: tuple[socket.socket, socket.socket], what: str) -> None:
    stream, records = await ends(TLS_1_3)
    assert isinstance(records, Records13)
    count = 12 if what.startswith("big") else 4000
    got, turns, why = await received_by(
        stream, sockets[1], records.record(DATA, b"hello") + flood(records, what, count)
    )
    assert got == b"hello"
    assert "records that have no data" in why
    # One for a slice, until there were too many.
    assert turns >= (2 if what.startswith("big") else 25)


async def test_records_without_data_between_others(ends: Crafted, sockets: tuple[socket.socket, socket.socket]) -> None:
    """Everything arrives, and nobody waits for long: there were 32 of them at a time."""
    stream, records = await ends(TLS_1_3)
    data = b"".join([records.new_keys(answer=False) + records.record(DATA, b"x") for _ in range(3000)])
    got, turns, why = await received_by(stream, sockets[1], data)
    assert (got, why) == (b"x" * 3000, "")
    assert turns >= 3000 // 40


@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3])
async def test_small_records_with_data_are_taken_at_once(
    ends: Crafted, sockets: tuple[socket.socket, socket.socket], version: ssl.TLSVersion
) -> None:
    """As many as have arrived: afterwards the socket tells whether there is more."""
    stream, records = await ends(version)
    sockets[1].sendall(b"".join([records.record(DATA, b"%04d" % number) for number in range(500)]))
    got = b""
    while len(got) < 2000:
        piece = stream.try_receive(127 * 1024)
        if piece is None:
            await stream.wait(True, False)
        else:
            got += piece
            # What one look at the socket has brought is not left behind.
            assert not stream._records.pending
    assert got == b"".join([b"%04d" % number for number in range(500)])
    stream.close_now()


async def test_a_few_records_without_data_are_nothing_special(
    ends: Crafted, sockets: tuple[socket.socket, socket.socket]
) -> None:
    """Two tickets, new keys, and in between the data: for as long as anybody likes."""
    stream, records = await ends(TLS_1_3)
    data = b""
    for _ in range(200):
        data += flood(records, "tickets", 2) + records.new_keys(answer=False) + records.record(DATA, b"x" * 1000)
    got, _, why = await received_by(stream, sockets[1], data)
    assert (len(got), why) == (200_000, "")


@pytest.mark.parametrize("size", [1, 1000])
async def test_another_handshake(ends: Crafted, sockets: tuple[socket.socket, socket.socket], size: int) -> None:
    """HelloRequest, which OpenSSL would answer each time, and go on."""
    stream, records = await ends(TLS_1_2)
    assert isinstance(records, Records12)
    data = records.record(DATA, b"hello") + records.record(HANDSHAKE, HELLO_REQUEST * size) * 100
    got, _, why = await received_by(stream, sockets[1], data)
    assert got in (b"hello", b"")
    assert "another TLS handshake" in why


@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3])
@pytest.mark.parametrize(("kind", "content"), [(ALERT, WARNING), (DATA, b"")], ids=["warnings", "nothing"])
async def test_what_openssl_itself_counts(
    ends: Crafted, sockets: tuple[socket.socket, socket.socket], version: ssl.TLSVersion, kind: int, content: bytes
) -> None:
    stream, records = await ends(version)
    data = b"".join([records.record(kind, content) for _ in range(2000)])
    got, _, why = await received_by(stream, sockets[1], data)
    assert got == b""
    assert why


async def test_answers_that_nobody_takes(
    ends: Crafted, sockets: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anyq.transport.tls._MOST_ANSWERS", 10_000)
    sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    stream, records = await ends(TLS_1_3)
    data = b"".join([records.new_keys(answer=True) + records.record(DATA, b"x") for _ in range(5000)])
    _, _, why = await received_by(stream, sockets[1], data)
    assert "takes no answers" in why
