"""Runs of CopyData messages are found and cut out, in Python and compiled alike."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyq import _accel
from anyq.protocol import copy_data

IMPLEMENTATIONS = [copy_data, _accel]


def message(data: bytes) -> bytes:
    return b"d" + struct.pack("!I", 4 + len(data)) + data


@pytest.fixture(params=IMPLEMENTATIONS, ids=["python", "accel"])
def module(request: pytest.FixtureRequest) -> Any:
    return request.param


@given(
    data=st.lists(st.binary(max_size=20)),
    before=st.binary(max_size=5),
    after=st.binary(max_size=12).filter(lambda after: not after.startswith(b"d")),
    most=st.integers(1, 200),
)
@pytest.mark.parametrize("module", IMPLEMENTATIONS, ids=["python", "accel"])
def test_what_was_put_in(module: Any, data: list[bytes], before: bytes, after: bytes, most: int) -> None:
    run = before + b"".join(map(message, data)) + after
    start, stop = len(before), len(run) - len(after)
    assert module.end_of_copy_data(run, start, len(run)) == stop
    found: list[bytes] = []
    joined = b""
    pos = start
    while pos < stop:
        part, end = module.split_copy_data(run, pos, stop, most)
        assert module.join_copy_data(run, pos, stop, most) == (b"".join(part), end)
        assert pos < end <= stop
        assert end - pos < most + max(len(message(one)) for one in data)
        found += part
        joined += b"".join(part)
        pos = end
    assert found == [one for one in data if one]
    assert joined == b"".join(data)


def test_what_is_not_complete(module: Any) -> None:
    run = message(b"abc") + message(b"defg")
    for end in range(len(run)):
        assert module.end_of_copy_data(run, 0, end) == (0 if end < 8 else 8)
    assert module.end_of_copy_data(run, 0, len(run)) == len(run)


@pytest.mark.parametrize("length", [0, 3, 100, 2**31, 2**32 - 1])
def test_lengths_that_lie(module: Any, length: int) -> None:
    run = message(b"abc") + b"d" + struct.pack("!I", length) + b"abc"
    assert module.end_of_copy_data(run, 0, len(run)) == 8


@given(run=st.binary(max_size=40), pos=st.integers(-5, 45), end=st.integers(-5, 45), most=st.integers(-5, 50))
def test_no_access_outside(run: bytes, pos: int, end: int, most: int) -> None:
    """Whatever it is asked: compiled code reads nothing that is not there."""
    for call in (
        lambda: _accel.end_of_copy_data(run, pos, end),
        lambda: _accel.split_copy_data(run, pos, end, most),
        lambda: _accel.join_copy_data(run, pos, end, most),
    ):
        try:
            call()
        except IndexError:
            continue
