"""Literals and identifiers: as a model of the server reads each character of each encoding, and as one does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyq import AsyncClientCursor, AsyncConnection, sql
from anyq.adapt import Transformer
from anyq.adapt.encodings import encode_text, python_codec
from anyq.adapt.quoting import identifier_bytes, quote_bytes, quote_identifier, quote_literal
from anyq.errors import DataError
from tests.support.scanner import OTHER, Refused, read_identifier, read_literal

# PostgreSQL manual, "Character Set Support", without those that Python has no codec for.
ENCODINGS = [
    *["BIG5", "EUC_CN", "EUC_JP", "EUC_JIS_2004", "EUC_KR", "GB18030", "GBK", "ISO_8859_5", "ISO_8859_6", "ISO_8859_7"],
    *["ISO_8859_8", "JOHAB", "KOI8R", "KOI8U", *[f"LATIN{n}" for n in range(1, 11)], "SJIS", "SHIFT_JIS_2004", "UHC"],
    *["UTF8", "WIN866", "WIN874", *[f"WIN{n}" for n in range(1250, 1259)]],
]
UNSAFE = ["BIG5", "GB18030", "GBK", "JOHAB", "SHIFT_JIS_2004", "SJIS", "UHC"]


def codes() -> Iterator[int]:
    """Yield all of the BMP that are characters, and some beyond."""
    yield from range(1, 0xD800)
    yield from range(0xE000, 0x10000)
    yield from range(0x10000, 0x2A6E0, 97)


@lru_cache(None)
def encodable(encoding: str) -> list[str]:
    """Return the characters that a connection with this encoding can send."""
    codec = python_codec(encoding)
    found: list[str] = []
    for code in codes():
        try:
            chr(code).encode(codec)
        except UnicodeEncodeError:
            continue
        found.append(chr(code))
    return found


def as_read(text: str) -> str:
    return "".join([c if c.isascii() else OTHER for c in text])


@pytest.mark.parametrize(
    ("text", "literal"),
    [("", "''"), ("a", "'a'"), ("it's", "'it''s'"), ("a\\b", r" E'a\\b'"), ("\\'", r" E'\\'''")],
)
def test_literals(text: str, literal: str) -> None:
    for encoding in ("utf-8", "gbk", "anyq_shift_jis_2004", "anyq_euc_tw"):
        assert quote_literal(text.encode(), encoding) == quote_bytes(text.encode()) == literal.encode()


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_character_is_read_as_itself(encoding: str) -> None:
    tx = Transformer(encoding=python_codec(encoding))
    characters = encodable(encoding)
    # In JOHAB a server up to 18 refuses each character that has an ASCII byte.
    size = 1 if encoding == "JOHAB" else 100
    for start in range(0, len(characters), size):
        some = characters[start : start + size]
        # Behind a backslash, before a quote, and at the end.
        for text in ("".join([f"\\{c}'" for c in some]), "".join([f"'{c}" for c in some])):
            literal = tx.as_literal(text)
            try:
                for conforming in (True, False):
                    assert read_literal(encoding, literal, conforming=conforming) == as_read(text)
            except Refused:
                assert encoding == "JOHAB"
        name = '"'.join(some)
        with suppress(*[Refused] if encoding == "JOHAB" else []):
            assert read_identifier(encoding, identifier_bytes(tx.encoding, name)) == as_read(name)


@pytest.mark.parametrize("encoding", UNSAFE)
@given(data=st.data())
def test_bytes_of_any_kind_end_no_literal(encoding: str, data: st.DataObject) -> None:
    """A dumper of a user's may return what is no text at all."""
    some = st.sampled_from([b"\\", b"'", b"\x81", b"\x5f", b"\xb0", b"\x30", b"\x95", b"\xa1", b"\xff", b"\xe0", b"a"])
    value = b"".join(data.draw(st.lists(some, max_size=12)))
    try:
        literal = quote_literal(value, python_codec(encoding))
    except DataError as ex:
        assert "half a character" in str(ex)
        return
    for conforming in (True, False):
        try:
            read_literal(encoding, literal, conforming=conforming)
        except Refused:
            return


@pytest.mark.parametrize(("encoding", "character"), [("EUC_JP", "\xa5"), ("SJIS", "\xa5"), ("SHIFT_JIS_2004", "\xa5")])
def test_what_would_be_a_backslash_is_refused(encoding: str, character: str) -> None:
    codec = python_codec(encoding)
    for refuse in (Transformer(encoding=codec).as_literal, lambda text: identifier_bytes(codec, text)):
        with pytest.raises(DataError, match=f"client encoding .{encoding.lower()}. has no character"):
            refuse(f"\\{character}'; DROP TABLE victim; --")


@pytest.mark.parametrize(
    ("parts", "quoted"),
    [(["a"], '"a"'), (['a"b'], '"a""b"'), (["A b", "c.d"], '"A b"."c.d"'), ([""], '""')],
)
def test_identifiers(parts: list[str], quoted: str) -> None:
    assert quote_identifier(*parts) == quoted
    assert identifier_bytes("utf-8", *parts) == quoted.encode()


def test_identifiers_in_the_encoding_of_the_connection() -> None:
    assert identifier_bytes("iso8859-1", "é") == b'"\xe9"'
    assert identifier_bytes("ascii", "é") == '"é"'.encode()
    with pytest.raises(DataError, match="client encoding"):
        identifier_bytes("iso8859-1", "表")


def test_identifiers_without_nul() -> None:
    for quote in (quote_identifier, lambda *parts: identifier_bytes("utf-8", *parts)):
        with pytest.raises(DataError, match="identifiers cannot contain NUL"):
            quote("a", "b\0")


@pytest.mark.anyio
async def test_the_server_reads_them_back(conn: AsyncConnection[Any]) -> None:
    for conforming in ("on", "off"):
        if conforming == "off" and conn.info.server_version >= 190000:
            continue
        await conn.execute(f"SET standard_conforming_strings TO {conforming}".encode())
        for text in ("it's", "a\\b", "\\'", "'\\", '"', "é表"):
            query = b"SELECT " + quote_literal(text.encode(), "utf-8") + b" AS " + identifier_bytes("utf-8", text)
            cursor = await conn.execute(query)
            assert cursor.description is not None
            assert (cursor.description[0].name, await cursor.fetchone()) == (text, (text,))


@pytest.mark.anyio
@pytest.mark.parametrize("encoding", [name for name in ENCODINGS if name != "JOHAB"])
async def test_the_server_reads_each_character_as_itself(conn: AsyncConnection[Any], encoding: str) -> None:
    await conn.set_autocommit(True)
    await conn.execute("SET client_encoding TO UTF8")
    if (await (await conn.execute("SHOW server_encoding")).fetchone()) != ("UTF8",):
        pytest.skip("the database has another encoding")
    await conn.execute(f"SET client_encoding TO {encoding}".encode())
    step = 500 if len(encodable(encoding)) > 1000 else 50
    cursor = AsyncClientCursor(conn)
    for conforming in ("on", "off"):
        if conforming == "off" and conn.info.server_version >= 190000:
            continue
        await conn.execute(f"SET standard_conforming_strings TO {conforming}".encode())
        # Some of those that there are very many of: each of these queries has as many characters as it has.
        some = encodable(encoding)[:: 1 if step == 50 else 7]
        for start in range(0, len(some), step):
            text = "".join([f"\\{c}'" for c in some[start : start + step]])
            await compare(cursor, text)


async def compare(cursor: AsyncClientCursor[Any], text: str) -> None:
    """Check that what the server reads is a text, or that it refuses it."""
    try:
        await cursor.execute("SELECT convert_to(%s, 'UTF8')", (text,))
    except DataError:
        if len(text) > 3:
            middle = len(text) // 6 * 3
            await compare(cursor, text[:middle])
            await compare(cursor, text[middle:])
        return
    row = await cursor.fetchone()
    assert row is not None
    assert row[0].decode() == text


def test_a_query_of_the_users_composes_what_the_server_reads() -> None:
    """`quote()`, `Literal` and `Identifier` go the same way."""
    tx = Transformer(encoding="anyq_shift_jis_2004")
    text = "\\表ソ'"
    assert sql.Literal(text).as_bytes(tx) == tx.as_literal(text)
    assert read_literal("SHIFT_JIS_2004", tx.as_literal(text), conforming=False) == as_read(text)
    assert sql.quote(text, tx) == r" E'\\表ソ'''"
    assert encode_text(sql.Identifier(text, '"').as_string(tx), tx.encoding) == sql.Identifier(text, '"').as_bytes(tx)
