"""The hot loops, in each implementation that is there, against the plainest way to write them."""

from __future__ import annotations

import importlib.util
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyq._accel import python
from anyq.errors import DataError, LocalProtocolError, RemoteProtocolError
from anyq.protocol import frontend
from anyq.protocol.backend import decode
from anyq.protocol.messages import CommandComplete, DataRow

Decoder = Callable[..., int]


DECODERS: dict[str, Decoder] = {"python": python.decode_rows}
if importlib.util.find_spec("anyq._accel.loading") is not None:
    DECODERS["cython"] = importlib.import_module("anyq._accel.loading").decode_rows

BINDS: dict[str, Callable[..., None]] = {"python": frontend.bind}
if importlib.util.find_spec("anyq._accel.messages") is not None:
    BINDS["cython"] = importlib.import_module("anyq._accel.messages").bind


READABLE: dict[str, Callable[[int, float], bool]] = {"python": python.readable_within}
if importlib.util.find_spec("anyq._accel.polling") is not None:
    READABLE["cython"] = importlib.import_module("anyq._accel.polling").readable_within


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
    # The ones before are there: whoever has the list may use them.
    assert rows == [(b"x",) * width]


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


def start(implementation: str, code: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "ANYQ_IMPL": implementation}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)


def test_an_implementation_that_nobody_knows_is_named() -> None:
    done = start("fortran", "import anyq._accel")
    assert done.returncode == 1
    assert "ANYQ_IMPL='fortran'" in done.stderr


NOT_BUILT = "import sys; sys.modules['anyq._accel.loading'] = None; import anyq; print(anyq.__impl__)"


def test_without_the_compiled_path_the_pure_one_runs() -> None:
    assert start("", NOT_BUILT).stdout == "python\n"


def test_who_asks_for_what_is_not_built_is_told_how_to_build_it() -> None:
    done = start("cython", NOT_BUILT)
    assert done.returncode == 1
    assert "ANYQ_BUILD=cython" in done.stderr


@pytest.mark.parametrize("implementation", DECODERS)
def test_the_implementation_is_told(implementation: str) -> None:
    assert start(implementation, "import anyq; print(anyq.__impl__)").stdout == f"{implementation}\n"


lists = st.one_of(st.lists(st.integers(0, 1), max_size=4), st.tuples(st.integers(-1, 2)), st.just(()))


@given(
    portal=st.sampled_from([b"", b"p", b"p\0"]),
    statement=st.sampled_from([b"", b"_anyq_1", b"\0"]),
    formats=lists,
    values=st.lists(
        st.one_of(st.none(), *[st.builds(kind, st.binary()) for kind in (bytes, bytearray, memoryview)]),
        max_size=4,
    ),
    result_formats=lists,
    after=st.sampled_from([b"", b"S\0\0\0\4"]),
)
def test_bind(**arguments: Any) -> None:
    outcomes = []
    for bind in BINDS.values():
        out = bytearray(b"before")
        try:
            bind(out, **arguments)
        except LocalProtocolError as error:
            outcomes.append(str(error))
        else:
            outcomes.append(bytes(out))  # type: ignore[arg-type]
    assert all(outcome == outcomes[0] for outcome in outcomes)


@pytest.mark.parametrize("bind", BINDS.values(), ids=BINDS)
def test_bind_refuses_what_is_too_much(bind: Callable[..., None]) -> None:
    with pytest.raises(DataError, match="65536 parameters"):
        bind(bytearray(), b"", b"", (), [None] * 65536, ())
    # As many as there may be; more than a signed number of 16 bits holds.
    out = bytearray()
    bind(out, b"", b"", (), [None] * 65535, ())
    assert out[9:11] == b"\xff\xff"
    assert len(out) == 1 + int.from_bytes(out[1:5], "big") == 13 + 4 * 65535


@pytest.mark.parametrize("readable_within", READABLE.values(), ids=READABLE)
def test_whether_a_socket_is_readable_soon(readable_within: Callable[[int, float], bool]) -> None:
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            start = time.perf_counter()
            assert not readable_within(ours.fileno(), 0.01)
            assert time.perf_counter() - start >= 0.01
            # Other threads run meanwhile, so this one is not waited for in vain.
            sending = threading.Thread(target=theirs.send, args=(b"x",))
            sending.start()
            assert readable_within(ours.fileno(), 20)
            sending.join()
            # There already, and whatever the time is.
            assert readable_within(ours.fileno(), 0)
            assert ours.recv(10) == b"x"
            assert not readable_within(ours.fileno(), 0)
        # Its end is something to read.
        assert readable_within(ours.fileno(), 20)
