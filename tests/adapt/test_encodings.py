"""Encodings: their names, which one a context has, and which text a server takes."""

from __future__ import annotations

import codecs
from types import SimpleNamespace
from typing import Any

import pytest

from anyq import AsyncConnection
from anyq.adapt import Transformer
from anyq.adapt.encodings import (
    encode_text,
    encoding_of,
    encoding_to_write,
    is_ascii_safe,
    python_codec,
    text_encoding,
)
from anyq.errors import DataError, NotSupportedError
from tests.support.values import FakeConnection

# PostgreSQL manual, "Character Set Support".
NAMES = {
    "UTF8": "utf-8",
    "SQL_ASCII": "ascii",
    "LATIN1": "iso8859-1",
    "LATIN9": "iso8859-15",
    "ISO_8859_5": "iso8859-5",
    "WIN1252": "cp1252",
    "KOI8R": "koi8-r",
    "EUC_CN": "gb2312",
    # Where Python's own differ from the server's, and those that Python has not.
    "EUC_JP": "anyq_euc_jp",
    "EUC_JIS_2004": "anyq_euc_jis_2004",
    "EUC_KR": "anyq_euc_kr",
    "SJIS": "anyq_sjis",
    "SHIFT_JIS_2004": "anyq_shift_jis_2004",
    "BIG5": "anyq_big5",
    "MULE_INTERNAL": "anyq_mule_internal",
    "EUC_TW": "anyq_euc_tw",
    "GBK": "gbk",
    "GB18030": "gb18030",
    "JOHAB": "johab",
    "UHC": "cp949",
    # Other ways to write them, which a server takes as well.
    "utf-8": "utf-8",
    "unicode": "utf-8",
    "latin1": "iso8859-1",
    "Win_932": "anyq_sjis",
    "iso-8859-15": "iso8859-15",
    "WINDOWS-1251": "cp1251",
    "TCVN": "cp1258",
    # What Python knows and PostgreSQL does not, and what nobody knows.
    "rot13": "anyq_unknown",
    "unicode_escape": "anyq_unknown",
    "utf-16": "anyq_unknown",
    "a\0b": "anyq_unknown",
    "\ud800é": "anyq_unknown",
    "UTF8" * 1000: "anyq_unknown",
    "": "anyq_unknown",
}


@pytest.mark.parametrize(("name", "codec"), NAMES.items())
def test_the_codec_of_a_client_encoding(name: str, codec: str) -> None:
    assert python_codec(name) == codec == codecs.lookup(codec).name


@pytest.mark.anyio
async def test_a_server_encodes_as_the_codec_does(conn: AsyncConnection[Any]) -> None:
    for name in ("LATIN1", "WIN1252", "KOI8R", "EUC_JP", "SJIS", "UHC", "GBK", "BIG5"):
        text = {"LATIN1": "é", "WIN1252": "€", "KOI8R": "я", "UHC": "가"}.get(name, "功")
        cursor = await conn.execute("SELECT convert_to(%s, %s)", (text, name))
        assert await cursor.fetchone() == (text.encode(python_codec(name)),)


def test_the_encoding_of_a_context() -> None:
    latin = FakeConnection("Latin-1")
    assert encoding_of(None) == encoding_of(latin.adapters) == "utf-8"
    assert encoding_of(latin) == encoding_of(Transformer(latin)) == "iso8859-1"
    # One that was told does not ask, and says so in the usual spelling.
    assert encoding_of(Transformer(latin, encoding="koi8-r")) == "koi8-r"
    told: Any = SimpleNamespace(adapters=latin.adapters, connection=latin, encoding="UTF8")
    assert encoding_of(told) == "utf-8"


def test_text_is_written_in_utf_8_where_the_server_does_not_look() -> None:
    assert [encoding_to_write(name) for name in ("ascii", "utf-8", "gbk")] == ["utf-8", "utf-8", "gbk"]
    assert text_encoding(FakeConnection("ascii")) == "utf-8"
    assert text_encoding(FakeConnection("latin-1")) == "iso8859-1"


@pytest.mark.parametrize("codec", sorted(set(NAMES.values())))
def test_whether_ascii_bytes_are_ascii_characters(codec: str) -> None:
    """Tried with every character."""
    hidden = False
    for code in range(128, 0x10000):
        try:
            data = chr(code).encode(codec)
        except (UnicodeEncodeError, NotSupportedError):
            continue
        # A single one is what the server takes it for, such as the backslash that Python writes for a yen sign.
        hidden = hidden or len(data) > 1 and min(data) < 128
    assert is_ascii_safe(codec) == (not hidden)


@pytest.mark.parametrize(
    ("text", "encoding", "message"),
    [
        ("a\0b", "utf-8", "NUL .*index 1"),
        ("ab\ud800", "utf-8", r"surrogate.*'\\ud800' at index 2"),
        ("a表", "iso8859-1", r"iso8859-1.*\\u8868.*index 1.*client_encoding"),
    ],
)
def test_text_that_a_server_does_not_take(text: str, encoding: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        encode_text(text, encoding)
    assert encode_text("é", "latin-1") == b"\xe9"
