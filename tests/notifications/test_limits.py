"""What can be a channel and a payload, and what a subscription can be asked for."""

from __future__ import annotations

import math
from typing import Any

import pytest

from anyq.errors import ProgrammingError
from anyq.notifications.limits import MAX_CHANNEL, MAX_PAYLOAD, check_channel, check_options, check_payload


@pytest.mark.parametrize("name", ["a", " ", '"', "é" * (MAX_CHANNEL // 2), "x" * MAX_CHANNEL])
def test_channels(name: str) -> None:
    check_channel(name, "utf-8", "utf-8")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "empty"),
        ("a\0b", "NUL"),
        ("x" * (MAX_CHANNEL + 1), "has 64"),
        ("é" * 32, "has 64"),
        ("\ud800", "client encoding"),
    ],
)
def test_what_is_no_channel(name: str, message: str) -> None:
    with pytest.raises(ProgrammingError, match=message):
        check_channel(name, "utf-8", "utf-8")


@pytest.mark.parametrize("wrong", [None, b"a", 1])
def test_what_is_no_text(wrong: Any) -> None:
    with pytest.raises(TypeError, match=f"not {type(wrong).__name__}"):
        check_channel(wrong, "utf-8", "utf-8")
    with pytest.raises(TypeError, match=f"not {type(wrong).__name__}"):
        check_payload(wrong, "utf-8", "utf-8")


def test_the_length_counts_in_the_servers_encoding() -> None:
    check_channel("é" * MAX_CHANNEL, "utf-8", "iso8859-1")
    check_payload("é" * MAX_PAYLOAD, "utf-8", "iso8859-1")
    with pytest.raises(ProgrammingError, match="has 64"):
        check_channel("é" * 32, "iso8859-1", "utf-8")
    # A server without an encoding takes the bytes as they come.
    with pytest.raises(ProgrammingError, match="has 64"):
        check_channel("é" * 32, "utf-8", "ascii")


def test_payloads() -> None:
    check_payload("", "utf-8", "utf-8")
    check_payload("x" * MAX_PAYLOAD, "utf-8", "utf-8")
    with pytest.raises(ProgrammingError, match=f"has {MAX_PAYLOAD + 1}"):
        check_payload("x" * (MAX_PAYLOAD + 1), "utf-8", "utf-8")
    with pytest.raises(ProgrammingError, match="NUL"):
        check_payload("\0", "utf-8", "utf-8")
    with pytest.raises(ProgrammingError, match="client encoding"):
        check_payload("€", "iso8859-1", "utf-8")


@pytest.mark.parametrize("overflow", ["error", "drop_oldest", "drop_newest"])
@pytest.mark.parametrize("size", [1, 10_000, math.inf])
def test_options(overflow: str, size: float) -> None:
    check_options(["a", "b"], size, overflow, "utf-8", "utf-8")


@pytest.mark.parametrize(
    ("channels", "size", "overflow", "error", "message"),
    [
        (["a"], 0, "error", ValueError, "max_buffer_size"),
        (["a"], -1, "error", ValueError, "max_buffer_size"),
        (["a"], 1.5, "error", ValueError, "max_buffer_size"),
        (["a"], math.nan, "error", ValueError, "max_buffer_size"),
        (["a"], 1, "block", ValueError, "overflow"),
        ([], 1, "error", TypeError, "at least one channel"),
        (["a", ""], 1, "error", ProgrammingError, "empty"),
    ],
)
def test_wrong_options(channels: list[str], size: float, overflow: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        check_options(channels, size, overflow, "utf-8", "utf-8")
