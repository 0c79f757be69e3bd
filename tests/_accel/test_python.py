"""Rows, in each implementation that is there, against the plainest way to decode them."""

from __future__ import annotations

import importlib
import struct
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyq._accel import python
from anyq.errors import RemoteProtocolError
from anyq.protocol.backend import decode
from anyq.protocol.messages import CommandComplete, DataRow, FieldDescription
from anyq.protocol.request import Result
from tests.support.twins import COMPILED

Decoder = Callable[..., int]


def decoder_of(keep_rows: Callable[..., int], load_rows: Callable[..., None]) -> Decoder:
    """Return what keeps rows and loads them."""

    def decode_rows(
        run: bytes, pos: int, end: int, loads: Sequence[Callable[[bytes], Any]], rows: list[tuple[Any, ...]]
    ) -> int:
        result = Result(tuple([FieldDescription("", 0, 0, 0, 0, 0, 0)] * len(loads)))
        after = keep_rows(result, run, pos, end)
        for kept in result.runs:
            load_rows(*kept[:3], loads, rows)
        assert result.count == sum(kept[3] for kept in result.runs) == len(rows)
        assert result.values() == [list(values) for values in plainly(run[pos:after])]
        return after

    return decode_rows


def plainly(data: bytes) -> list[tuple[bytes | None, ...]]:
    """The values of rows, decoded message by message."""
    rows = []
    while data:
        stop = 1 + int.from_bytes(data[1:5], "big")
        row = decode(ord("D"), data[5:stop])
        assert isinstance(row, DataRow)
        rows.append(row.values)
        data = data[stop:]
    return rows


DECODERS: dict[str, Decoder] = {"python": decoder_of(python.keep_rows, python.load_rows)}
if COMPILED:
    DECODERS["cython"] = decoder_of(
        importlib.import_module("anyq._accel.messages").keep_rows,
        importlib.import_module("anyq._accel.loading").load_rows,
    )


@pytest.fixture(params=list(DECODERS.values()), ids=list(DECODERS))
def decode_rows(request: pytest.FixtureRequest) -> Decoder:
    decoder: Decoder = request.param
    return decoder


def naive(run: bytes, pos: int, end: int, loads: Sequence[Callable[[bytes], Any]]) -> tuple[int, list[Any]]:
    """Decode message by message."""
    rows = []
    while end - pos >= 5 and run[pos] == ord("D"):
        stop = pos + 1 + int.from_bytes(run[pos + 1 : pos + 5], "big")
        if stop > end:
            break
        if stop < pos + 5:
            raise RemoteProtocolError("length")
        row = decode(ord("D"), run[pos + 5 : stop])
        assert isinstance(row, DataRow)
        if len(row.values) != len(loads):
            raise RemoteProtocolError("columns")
        rows.append(tuple(None if v is None else load(v) for load, v in zip(loads, row.values, strict=True)))
        pos = stop
    return pos, rows


def tagging(width: int) -> list[Callable[[bytes], Any]]:
    """Load functions that tell which column they are for, and that they were given bytes."""

    def make(column: int) -> Callable[[bytes], Any]:
        def load(value: bytes) -> Any:
            assert type(value) is bytes
            return column, value

        return load

    return [make(column) for column in range(width)]


columns = st.one_of(st.none(), st.binary(max_size=20))


@st.composite
def runs(draw: st.DrawFn) -> tuple[int, bytes, int, int]:
    """Rows of one width, with something before and something after; also cut anywhere."""
    width = draw(st.integers(0, 4))
    rows = draw(st.lists(st.tuples(*[columns] * width), max_size=6))
    before = draw(st.binary(max_size=5))
    after = draw(st.sampled_from([b"", CommandComplete("SELECT 1").encode(), b"D", b"D\0\0", b"D\0\0\0\x20\0\1"]))
    run = before + b"".join([DataRow(row).encode() for row in rows]) + after
    end = draw(st.one_of(st.just(len(run)), st.integers(len(before), len(run))))
    return width, run, len(before), end


@given(runs())
def test_rows_are_decoded_as_by_the_naive_way(run: tuple[int, bytes, int, int]) -> None:
    width, data, pos, end = run
    expected = naive(data, pos, end, tagging(width))
    for decoder in DECODERS.values():
        rows: list[tuple[Any, ...]] = []
        assert (decoder(data, pos, end, tagging(width), rows), rows) == expected


@given(
    width=st.integers(0, 3),
    parts=st.lists(
        st.one_of(
            st.binary(max_size=12),
            st.builds(
                lambda payload, length: struct.pack("!BI", ord("D"), length & 0xFFFFFFFF) + payload,
                st.one_of(
                    st.binary(max_size=20),
                    st.builds(
                        lambda count, sizes: struct.pack(f"!H{len(sizes)}i", count, *sizes),
                        st.integers(0, 4),
                        st.lists(st.integers(-3, 6), max_size=4),
                    ),
                ),
                st.integers(-5, 40),
            ),
            st.builds(lambda row: DataRow(row).encode(), st.tuples(columns)),
            st.builds(lambda row: DataRow(row).encode(), st.tuples(columns, columns)),
        ),
        max_size=6,
    ),
)
def test_hostile_rows(width: int, parts: list[bytes]) -> None:
    """Only RemoteProtocolError is raised, and no row is made of bytes that are not one."""
    data = b"".join(parts)
    for decoder in DECODERS.values():
        rows: list[tuple[Any, ...]] = []
        try:
            after = decoder(data, 0, len(data), tagging(width), rows)
        except RemoteProtocolError:
            with pytest.raises(RemoteProtocolError):
                naive(data, 0, len(data), tagging(width))
            continue
        assert 0 <= after <= len(data)
        assert naive(data, 0, after, tagging(width)) == (after, rows)


def row(payload: bytes, length: int | None = None) -> bytes:
    return struct.pack("!BI", ord("D"), len(payload) + 4 if length is None else length) + payload


@pytest.mark.parametrize(
    ("width", "data"),
    [
        pytest.param(1, row(b"\0\1" + struct.pack("!i", 5) + b"abcd"), id="value-longer-than-row"),
        pytest.param(1, row(b"\0\1" + struct.pack("!i", 3) + b"abcd"), id="value-shorter-than-row"),
        pytest.param(1, row(b"\0\1" + struct.pack("!i", -2) + b"abcd"), id="negative-length"),
        pytest.param(1, row(b"\0\1" + struct.pack("!i", -1) + b"a"), id="null-with-a-value"),
        pytest.param(1, row(b"\0\2" + struct.pack("!ii", -1, -1)), id="too-many-columns"),
        pytest.param(2, row(b"\0\2" + struct.pack("!i", -1)), id="a-column-is-missing"),
        pytest.param(2, row(b"\0\2" + struct.pack("!ii", -1, 1)), id="a-value-is-missing"),
        pytest.param(2, row(b"\0\2" + struct.pack("!ii", -1, -5)), id="negative-length-2"),
        pytest.param(2, row(b"\0\2" + struct.pack("!ii", 2**31 - 1, 0)), id="length-of-2-GB"),
        pytest.param(2, row(b"\0\2" + struct.pack("!ii", -1, -1) + b"x"), id="a-byte-is-left"),
        pytest.param(2, row(b"\0\1" + struct.pack("!i", -1)), id="too-few-columns"),
        pytest.param(2, row(b"\0\2" + struct.pack("!ii", -1, -1), 0), id="no-length"),
        pytest.param(0, row(b"\0\1"), id="none-expected"),
    ],
)
def test_a_broken_row_is_refused(width: int, data: bytes, decode_rows: Decoder) -> None:
    good = DataRow(tuple([b"x"] * width)).encode()
    rows: list[tuple[Any, ...]] = []
    data = good + data + good
    with pytest.raises(RemoteProtocolError):
        decode_rows(data, 0, len(data), [bytes] * width, rows)


def test_the_next_row_is_not_looked_at_beyond_the_end(decode_rows: Decoder) -> None:
    data = DataRow((b"a",)).encode()
    for end in range(len(data)):
        rows: list[tuple[Any, ...]] = []
        assert decode_rows(data, 0, end, [bytes], rows) == 0
        assert rows == []


@pytest.mark.parametrize("width", [1, 2])
def test_the_error_of_a_load_function_comes_through(width: int, decode_rows: Decoder) -> None:
    class Unloadable(Exception):
        pass

    def load(value: bytes) -> Any:
        if value == b"bad":
            raise Unloadable
        return value

    data = b"".join([DataRow((value,) * width).encode() for value in (b"good", b"bad", b"good")])
    rows: list[tuple[Any, ...]] = []
    with pytest.raises(Unloadable):
        decode_rows(data, 0, len(data), [load] * width, rows)
    assert rows == [(b"good",) * width]


def test_null_is_not_loaded(decode_rows: Decoder) -> None:
    data = DataRow((None, b"")).encode() + DataRow((b"", None)).encode()
    rows: list[tuple[Any, ...]] = []
    assert decode_rows(data, 0, len(data), [len, len], rows) == len(data)
    assert rows == [(None, 0), (0, None)]
