from __future__ import annotations

import random
import struct
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anyq.errors import RemoteProtocolError
from anyq.protocol import buffer
from anyq.protocol.buffer import FIRST_GROWTH, HEADER, LARGE_VALUE, LargeRow, ReceiveBuffer
from anyq.protocol.messages import DataRow

MB = 1024 * 1024


def payload(*values: bytes | None) -> bytes:
    return DataRow(values).encode()[5:]


def feed_in_pieces(data: bytes, sizes: list[int], directly: bool) -> LargeRow:
    """Give `data` to a row in pieces of `sizes`, by turns; those of a big value directly, where there is one."""
    row = LargeRow(len(data))
    pos = turn = 0
    while not row.done:
        assert pos < len(data)
        piece = data[pos : pos + sizes[turn % len(sizes)]]
        turn += 1
        target = row.target() if directly else None
        if target is None:
            assert row.feed(piece, 0) == len(piece)
            pos += len(piece)
        else:
            with target:
                count = min(len(target), len(piece))
                target[:count] = piece[:count]
            row.received(count)
            pos += count
    assert pos == len(data)
    return row


# -- runs that begin at a message


def test_what_is_kept_comes_back_when_it_is_long_enough() -> None:
    receive_buffer = ReceiveBuffer()
    receive_buffer.keep(b"..abc", 2, 6)
    assert len(receive_buffer) == 3
    assert receive_buffer.feed(b"d") is None
    assert receive_buffer.feed(b"e") is None
    assert receive_buffer.feed(b"fgh") == b"abcdefgh"
    assert len(receive_buffer) == 0


@given(
    messages=st.lists(st.binary(max_size=40), max_size=8),
    sizes=st.lists(st.integers(1, 50), min_size=1, max_size=8),
)
def test_messages_survive_any_cut(messages: list[bytes], sizes: list[int]) -> None:
    stream = b"".join(struct.pack("!BI", 0, len(message)) + message for message in messages)
    receive_buffer = ReceiveBuffer()
    seen: list[bytes] = []

    def take(run: bytes) -> None:
        start = 0
        while start < len(run):
            length = HEADER + int.from_bytes(run[start + 1 : start + 5], "big") if len(run) - start >= 5 else HEADER
            if len(run) - start < length or length == HEADER and len(run) - start < HEADER:
                receive_buffer.keep(run, start, length)
                break
            seen.append(run[start + HEADER : start + length])
            start += length

    pos = turn = 0
    while pos < len(stream):
        chunk = stream[pos : pos + sizes[turn % len(sizes)]]
        pos += len(chunk)
        turn += 1
        run = receive_buffer.feed(chunk) if receive_buffer.partial else chunk
        if run is not None:
            take(run)
    assert seen == messages


def test_a_long_message_in_small_chunks_takes_linear_time() -> None:
    receive_buffer = ReceiveBuffer()
    length, chunk = 32 * MB, bytes(1024)
    receive_buffer.keep(chunk, 0, length)
    for _ in range(length // 1024 - 2):
        assert receive_buffer.feed(chunk) is None
    run = receive_buffer.feed(chunk)
    assert run is not None
    assert len(run) == length


# -- large rows


@pytest.mark.parametrize("directly", [False, True])
@pytest.mark.parametrize("sizes", [[1], [2, 3], [4096], [65536, 1], [10**9]])
def test_a_large_row_in_pieces(sizes: list[int], directly: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buffer, "LARGE_VALUE", 20)
    monkeypatch.setattr(buffer, "FIRST_GROWTH", 32)
    values = (b"", None, b"small", random.Random(1).randbytes(300), b"x" * 20, b"y" * 21, None, b"end")
    row = feed_in_pieces(payload(*values), sizes, directly)
    assert row.finish() == list(values)


@settings(deadline=None, max_examples=50)
@given(data=st.data())
def test_a_large_row_survives_any_cut(data: st.DataObject) -> None:
    lengths = data.draw(st.lists(st.one_of(st.none(), st.integers(0, 3 * LARGE_VALUE)), min_size=1, max_size=5))
    values = [None if n is None else random.Random(n).randbytes(n) for n in lengths]
    sizes = data.draw(st.lists(st.sampled_from([1, 7, 100, LARGE_VALUE - 1, LARGE_VALUE, 10**6]), max_size=5))
    sizes.append(data.draw(st.integers(2000, 10**5)))
    assert feed_in_pieces(payload(*values), sizes, data.draw(st.booleans())).finish() == values


def test_feeding_stops_at_the_end_of_the_row() -> None:
    data = payload(b"abc", b"de")
    row = LargeRow(len(data))
    assert row.feed(b"##" + data + b"next", 2) == 2 + len(data)
    assert row.done
    assert row.finish() == [b"abc", b"de"]


def test_all_cuts_of_a_row_in_two() -> None:
    values = [b"a", None, b"bcd", b"", b"e" * 10]
    data = payload(*values)
    for cut in range(1, len(data)):
        row = LargeRow(len(data))
        assert row.feed(data[:cut], 0) == cut
        assert not row.done
        assert row.feed(data[cut:], 0) == len(data) - cut
        assert row.finish() == values


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\0\1" + struct.pack("!i", 100) + bytes(99), id="value-longer-than-row"),
        pytest.param(b"\0\1" + struct.pack("!i", 2**31 - 1) + bytes(99), id="value-of-2-GB"),
        pytest.param(b"\0\1" + struct.pack("!i", -2) + bytes(99), id="negative-length"),
        pytest.param(b"\0\1" + struct.pack("!i", -(2**31)) + bytes(99), id="most-negative-length"),
        pytest.param(b"\0\2" + struct.pack("!i", 94) + bytes(94), id="a-column-is-missing"),
        pytest.param(b"\0\1" + struct.pack("!i", 90) + bytes(94), id="bytes-are-left"),
        pytest.param(b"\0\1" + struct.pack("!i", 93) + bytes(94), id="one-byte-is-left"),
        pytest.param(b"\0\0" + bytes(94), id="no-columns"),
        pytest.param(b"\xff\xff" + struct.pack("!i", -1) * 4, id="65535-columns"),
    ],
)
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_a_broken_row_is_refused(data: bytes, size: int) -> None:
    row = LargeRow(len(data))
    with pytest.raises(RemoteProtocolError):
        for pos in range(0, len(data), size):
            row.feed(data[pos : pos + size], 0)
        assert row.done
        row.finish()


@given(st.binary(min_size=6, max_size=200), st.integers(1, 200))
def test_hostile_rows_raise_nothing_else(data: bytes, size: int) -> None:
    row = LargeRow(len(data))
    try:
        for pos in range(0, len(data), size):
            piece = data[pos : pos + size]
            assert row.feed(piece, 0) == len(piece)
        assert row.done
        values = row.finish()
    except RemoteProtocolError:
        return
    assert payload(*values) == data


# -- memory


def test_a_length_is_only_a_claim() -> None:
    tracemalloc.start()
    try:
        row = LargeRow(2**30)
        row.feed(b"\0\1" + struct.pack("!i", 2**30 - 6) + bytes(1000), 0)
        assert tracemalloc.get_traced_memory()[1] < FIRST_GROWTH + 200_000
    finally:
        tracemalloc.stop()


def test_a_big_value_exists_once() -> None:
    """Apart from the moment in which its memory grows."""
    size = 24 * MB
    piece = bytes(256 * 1024)
    tracemalloc.start()
    try:
        row = LargeRow(6 + size)
        row.feed(b"\0\1" + struct.pack("!i", size), 0)
        while not row.done:
            target = row.target()
            assert target is not None
            with target:
                count = min(len(target), len(piece))
                target[:count] = piece[:count]
            row.received(count)
        (value,) = row.finish()
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert value is not None
    assert len(value) == size
    assert held < size + MB
    assert peak < 1.7 * size
