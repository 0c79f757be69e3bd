"""Codecs of the server's encodings, each character compared with what a server makes of it."""

from __future__ import annotations

import codecs
from typing import Any

import pytest

from anyq import AsyncConnection
from anyq.adapt.encodings import python_codec
from anyq.adapt.server_codecs import NO_CODEC
from anyq.errors import NotSupportedError
from tests.adapt.test_quoting import ENCODINGS, encodable

DIFFERENT = ["BIG5", "EUC_JP", "EUC_JIS_2004", "EUC_KR", "SHIFT_JIS_2004", "SJIS"]


@pytest.mark.parametrize("encoding", DIFFERENT)
def test_what_is_written_is_read_back(encoding: str) -> None:
    codec = python_codec(encoding)
    assert codecs.lookup(codec).name == codec
    text = "".join(encodable(encoding))
    assert text.encode(codec).decode(codec) == text
    assert str(memoryview(text.encode(codec)), codec) == text
    for code in range(128):
        assert chr(code).encode(codec) == bytes([code])
        assert bytes([code]).decode(codec) == chr(code)


@pytest.mark.parametrize(
    ("encoding", "refused"),
    [("EUC_JP", "\xa5\u203e\u301c"), ("SJIS", "\xa5\u301c\xa2"), ("EUC_KR", "\uac02\ud7a3"), ("BIG5", "\u2574")],
)
def test_what_the_server_would_take_for_something_else(encoding: str, refused: str) -> None:
    for character in refused:
        text = f"ab{character}c"
        with pytest.raises(UnicodeEncodeError) as caught:
            text.encode(python_codec(encoding))
        assert (caught.value.object, caught.value.start, caught.value.end) == (text, 2, 3)


def test_bytes_that_are_no_text_come_back_as_they_were() -> None:
    for encoding in DIFFERENT:
        codec = python_codec(encoding)
        for data in (b"a\xff\x80'b", b"\xa1\xc5 \xa1\xb1", b"\x81\x5f"):
            text = data.decode(codec, "surrogateescape")
            assert text.encode(codec, "surrogateescape").decode(codec, "surrogateescape") == text


@pytest.mark.parametrize(("codec", "name"), NO_CODEC.items())
def test_an_encoding_that_python_has_not(codec: str, name: str) -> None:
    assert codecs.lookup(codec).name == codec
    assert ("SELECT 1".encode(codec), b"SELECT 1".decode(codec)) == (b"SELECT 1", "SELECT 1")
    with pytest.raises(NotSupportedError, match=f"no codec for the client encoding {name}.*'UTF8'"):
        "é".encode(codec)
    with pytest.raises(NotSupportedError, match=name):
        b"\xa4\xa4".decode(codec)
    # A message of the server's is shown as well as it goes.
    assert b"a\xa4".decode(codec, "replace") == "a\ufffd"
    assert b"a\xa4".decode(codec, "surrogateescape").encode(codec, "surrogateescape") == b"a\xa4"


@pytest.mark.anyio
@pytest.mark.parametrize("encoding", [name for name in ENCODINGS if name not in ("UTF8", "JOHAB")])
async def test_the_server_takes_them_for_the_same(conn: AsyncConnection[Any], encoding: str) -> None:
    """What a codec writes for a character is that character for the server, or the server refuses it."""
    await conn.execute(
        """
        CREATE FUNCTION pg_temp.read_as(data bytea, encoding text) RETURNS text LANGUAGE plpgsql AS $$
        BEGIN RETURN convert_from(data, encoding); EXCEPTION WHEN OTHERS THEN RETURN NULL; END $$
        """
    )
    codec = python_codec(encoding)
    characters = encodable(encoding)
    if len(characters) > 1000:
        characters = [c for c in characters if c < "\u3100"] + [c for c in characters if c >= "\u3100"][::5]
    cursor = await conn.execute(
        "SELECT pg_temp.read_as(d, %s) FROM unnest(%s::bytea[]) WITH ORDINALITY AS u(d, n) ORDER BY n",
        (encoding, [c.encode(codec) for c in characters]),
    )
    read = [text for (text,) in await cursor.fetchall()]
    assert [(c, text) for c, text in zip(characters, read, strict=True) if text not in (None, c)] == []
    assert sum(text is None for text in read) * 4 < len(read)


@pytest.mark.anyio
async def test_a_connection_with_such_an_encoding(conn: AsyncConnection[Any]) -> None:
    encoding = "EUC_TW"
    await conn.set_autocommit(True)
    await conn.execute(f"SET client_encoding TO {encoding}".encode())
    cursor = await conn.execute("SELECT %s, 1 AS n", ("a",))
    assert await cursor.fetchone() == ("a", 1)
    with pytest.raises(NotSupportedError, match=encoding):
        await conn.execute("SELECT %s", ("功",))
    with pytest.raises(NotSupportedError, match=encoding):
        await conn.execute("SELECT '功'")
    with pytest.raises(NotSupportedError, match=encoding):
        await conn.execute('LISTEN "功"')
    await conn.execute("SET client_encoding TO UTF8")
    cursor = await conn.execute("SELECT %s", ("功",))
    assert await cursor.fetchone() == ("功",)
