"""Bit strings."""

from __future__ import annotations

import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from anyq.adapt import Format
from anyq.errors import DataError
from anyq.postgres import types
from tests.support.hostile_values import check_hostile
from tests.support.values import FORMATS, load, transformer

NAMES = ["bit", "varbit"]


@pytest.mark.parametrize("name", NAMES)
@given(value=st.text("01", max_size=70))
def test_there_and_back_by_oid(name: str, value: str) -> None:
    tx = transformer()
    for format in FORMATS:
        dumped = tx.get_dumper_by_oid(types[name].oid, format).dump(value)
        assert load(bytes(dumped or b""), name, format) == value
        array = tx.get_dumper_by_oid(types[name].array_oid, format).dump([[value, None]])
        assert load(bytes(array or b""), f"{name}[]", format, tx) == [[value, None]]


@pytest.mark.parametrize("value", ["2", "01 ", "0b1", "1_0", "é", "٠"])
def test_what_is_no_bit_string(value: str) -> None:
    for format in FORMATS:
        with pytest.raises(DataError, match="a bit string is written with 0 and 1"):
            transformer().get_dumper_by_oid(types["varbit"].oid, format).dump(value)


def test_long_ones_take_linear_time() -> None:
    value = "01" * 2_000_000
    dumped = transformer().get_dumper_by_oid(types["varbit"].oid, Format.BINARY).dump(value)
    assert load(bytes(dumped or b""), "varbit", Format.BINARY) == value


@pytest.mark.parametrize("format", FORMATS)
@given(data=st.binary(max_size=12) | st.integers(-9, 70).map(lambda n: struct.pack("!i", n) + b"\xff" * 4))
@example(data=b"\0\0\0\0")
@example(data=b"\x80\0\0\0")
@example(data=b"\0\0\0\1")
def test_hostile_bytes(data: bytes, format: Format) -> None:
    check_hostile(data, "varbit", format)
