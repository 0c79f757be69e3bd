"""MD5 and SASLprep."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyq.errors import DataError
from anyq.protocol.auth.passwords import md5_password, password_bytes, saslprep


def test_md5_password() -> None:
    inner = hashlib.md5(b"secretme").hexdigest().encode()
    expected = b"md5" + hashlib.md5(inner + b"\1\2\3\4").hexdigest().encode()
    assert md5_password("me", "secret", b"\1\2\3\4") == expected


def test_password_bytes() -> None:
    assert password_bytes("päss") == b"p\xc3\xa4ss"
    # Bytes that are no UTF-8, as Python reads them from the environment or a file.
    assert password_bytes(b"p\xe4ss".decode("utf-8", "surrogateescape")) == b"p\xe4ss"
    with pytest.raises(DataError) as caught:
        password_bytes("hunter2\ud800")
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None and caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("text", "prepared"),
    [
        # RFC 4013, 3.
        ("I\u00adX", "IX"),
        ("user", "user"),
        ("USER", "USER"),
        ("\u00aa", "a"),
        ("\u2168", "IX"),
        # Prohibited, so taken as they are: a control character, mixed directions.
        ("\x07", "\x07"),
        ("\u06271", "\u06271"),
        ("\u00e9\x07", "\u00e9\x07"),
        # Other spaces become a space; nothing is left of only mapped ones, so they stay.
        ("a\u00a0b", "a b"),
        ("\u00ad", "\u00ad"),
        ("", ""),
        # Right-to-left all through is allowed, with digits only inside.
        ("\u06271\u0628", "\u06271\u0628"),
        ("\u0627a\u0628", "\u0627a\u0628"),
        # Unassigned in Unicode 3.2, and private: prohibited before normalization is looked at.
        ("\U0001f100", "\U0001f100"),
        ("\u0340\ue000", "\u0340\ue000"),
        ("e\u0301", "\u00e9"),
    ],
)
def test_saslprep(text: str, prepared: str) -> None:
    assert saslprep(text) == prepared


@given(st.text())
def test_saslprep_takes_any_text(text: str) -> None:
    assert saslprep(text) or not text
