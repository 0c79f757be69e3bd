"""The binary format of COPY: header, rows and trailer, cut anywhere and malformed."""

from __future__ import annotations

import struct
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyq.adapt.copy_binary import BINARY_HEADER, BINARY_TRAILER, SIGNATURE, BinarySplitter
from anyq.errors import DataError


def row(*values: bytes | None) -> bytes:
    parts = [struct.pack("!h", len(values))]
    for value in values:
        parts.append(struct.pack("!i", -1) if value is None else struct.pack("!i", len(value)) + value)
    return b"".join(parts)


def header(flags: int = 0, extension: bytes = b"", size: int | None = None) -> bytes:
    return SIGNATURE + struct.pack("!Ii", flags, len(extension) if size is None else size) + extension


def split(chunks: list[bytes], columns: int | None = None) -> tuple[list[object], str | None]:
    splitter = BinarySplitter(columns)
    records: deque[list[bytes | None]] = deque()
    for chunk in chunks:
        splitter.split(chunk, records)
    return list(records), splitter.missing()


ROWS: list[list[bytes | None]] = [[b"a", None], [b"", b"\xff\xff"], [None, bytes(50)]]
DATA = header(0x1234, b"extension") + b"".join([row(*values) for values in ROWS]) + BINARY_TRAILER


@given(st.lists(st.integers(0, len(DATA))))
def test_it_may_be_cut_anywhere(cuts: list[int]) -> None:
    at = [0, *sorted(cuts), len(DATA)]
    assert split([DATA[a:b] for a, b in zip(at, at[1:], strict=False)]) == (ROWS, None)


def test_single_bytes() -> None:
    assert split([bytes((byte,)) for byte in DATA]) == (ROWS, None)


@given(st.integers(0, len(DATA) - 1))
def test_truncated(size: int) -> None:
    assert split([DATA[:size]])[1] is not None


def test_where_it_ends() -> None:
    assert split([])[1] == split([BINARY_HEADER[:-1]])[1] == split([header(0, b"ab")[:-1]])[1] == "within its header"
    assert split([BINARY_HEADER])[1] == "without its trailer"
    assert split([BINARY_HEADER + b"\xff"])[1] == split([BINARY_HEADER + row(b"a")[:-1]])[1] == "within a row"
    assert split([BINARY_HEADER + row(b"a", b"b")[:-5]])[1] == "within a row"


def test_no_rows_and_no_columns() -> None:
    assert split([BINARY_HEADER + BINARY_TRAILER], 3) == ([], None)
    assert split([BINARY_HEADER + row() + row() + BINARY_TRAILER], 0) == ([[], []], None)


@pytest.mark.parametrize(
    "data",
    [
        b"PGCOPY\n\xff\n\r\0" + bytes(8),
        b"a\tb\n" * 10,
        header(1 << 16),
        header(1 << 31),
        header(size=-1),
        header(size=-(2**31)),
        BINARY_HEADER + b"\xff\xfe",
        BINARY_HEADER + b"\x80\x00",
        BINARY_HEADER + b"\x7f\xff",
        BINARY_HEADER + row(b"a", b"b", b"c"),
        BINARY_HEADER + row(b"a"),
        BINARY_HEADER + row(),
        BINARY_HEADER + row(b"a", b"b") + row(b"a"),
        BINARY_HEADER + b"\0\2\xff\xff\xff\xfe",
        BINARY_HEADER + b"\0\2\x80\0\0\0",
        BINARY_HEADER + BINARY_TRAILER + b"\0",
        BINARY_HEADER + BINARY_TRAILER + BINARY_TRAILER,
        BINARY_HEADER + row(b"a", b"b") + BINARY_TRAILER + row(b"a", b"b"),
    ],
    ids=range(18),
)
@pytest.mark.parametrize("whole", [True, False])
def test_malformed(data: bytes, whole: bool) -> None:
    with pytest.raises(DataError, match="malformed data of a COPY"):
        split([data] if whole else [bytes((byte,)) for byte in data], 2)


def test_rows_before_what_is_malformed() -> None:
    splitter = BinarySplitter(None)
    records: deque[list[bytes | None]] = deque()
    with pytest.raises(DataError, match="a row of 1 columns, expected 2"):
        splitter.split(BINARY_HEADER + row(b"a", b"b") + row(b"c"), records)
    assert list(records) == [[b"a", b"b"]]
    with pytest.raises(DataError, match="a row of -2 columns, expected 0"):
        split([BINARY_HEADER + b"\xff\xfe"])


def test_lengths_that_lie_take_no_memory() -> None:
    """Neither a row that says how many values it has, nor a value that says how long it is, nor an extension."""
    assert split([BINARY_HEADER + b"\x7f\xff" + bytes(8)]) == ([], "within a row")
    assert split([BINARY_HEADER + b"\0\1\x7f\xff\xff\xff" + bytes(8)]) == ([], "within a row")
    assert split([header(size=0x7FFF_FFFF) + bytes(8)]) == ([], "within its header")


def test_it_is_told_where_it_is() -> None:
    splitter = BinarySplitter(None)
    records: deque[list[bytes | None]] = deque()
    where: list[int] = []
    for number, byte in enumerate(header(0, b"x") + row(b"a") + row(None) + BINARY_TRAILER, 1):
        splitter.split(bytes((byte,)), records)
        if splitter.is_between_rows:
            where.append(number)
    assert where == [20, 27, 33]
