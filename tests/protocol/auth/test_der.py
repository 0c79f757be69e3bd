"""DER, element by element."""

from __future__ import annotations

import pytest

from anyq.protocol.auth.der import element, elements


def test_an_element() -> None:
    assert element(b"\x04\x02abrest", 0x04) == (b"ab", b"rest")
    assert element(b"\x04\x00", 0x04) == (b"", b"")


@pytest.mark.parametrize("length", [b"\x81\x03", b"\x82\x00\x03", b"\x84\x00\x00\x00\x03"])
def test_a_long_length(length: bytes) -> None:
    assert element(b"\x30" + length + b"abcd", 0x30) == (b"abc", b"d")


@pytest.mark.parametrize(
    "data", [b"\x05\x00", b"\x04\x03ab", b"\x04\x80", b"\x04\x85\x00\x00\x00\x00\x00", b"\x04\x84\xff\xff\xff\xff"]
)
def test_no_element(data: bytes) -> None:
    with pytest.raises(ValueError):
        element(data, 0x04)


@pytest.mark.parametrize("data", [b"", b"\x04"])
def test_an_early_end(data: bytes) -> None:
    with pytest.raises(IndexError):
        element(data, 0x04)


def test_elements() -> None:
    assert list(elements(b"")) == []
    assert list(elements(b"\x02\x01\x05\x04\x00")) == [(2, b"\x05"), (4, b"")]
    with pytest.raises(ValueError):
        list(elements(b"\x02\x01\x05\x04\x01"))
