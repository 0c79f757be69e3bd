"""Literals and identifiers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyq import AsyncConnection
from anyq.adapt.quoting import identifier_bytes, quote_bytes, quote_identifier, quote_literal, quote_str
from anyq.errors import DataError


@pytest.mark.parametrize(
    ("text", "literal"),
    [("", "''"), ("a", "'a'"), ("it's", "'it''s'"), ("a\\b", r" E'a\\b'"), ("\\'", r" E'\\'''")],
)
def test_literals(text: str, literal: str) -> None:
    assert quote_str(text) == literal
    assert quote_bytes(text.encode()) == quote_literal(text.encode(), "utf-8") == literal.encode()


@given(st.text(alphabet=st.sampled_from("表ソ'\\a"), max_size=8))
def test_half_a_character_is_no_quote(text: str) -> None:
    """In GBK the second byte of a character may be a backslash."""
    text = text.replace("表", "誠").replace("ソ", "功")
    assert quote_literal(text.encode("gbk"), "gbk").decode("gbk") == quote_str(text)


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
    with pytest.raises(DataError, match="identifiers cannot contain NUL"):
        quote_identifier("a", "b\0")


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
