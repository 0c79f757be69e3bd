"""Full text search: what is made of the binary formats is what the server writes."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from anyq.adapt import Format
from tests.support.hostile_values import check_hostile
from tests.support.values import load, transformer

if TYPE_CHECKING:
    from random import Random

    from anyq import AsyncConnection

_WORDS = ["a", "b:*", "'it''s':AB", "'\\\\ é表':*D", "c:ABCD", '"{}']


def _query(rng: Random, depth: int) -> str:
    kind = rng.randrange(6) if depth else 0
    if kind == 0:
        return rng.choice(_WORDS)
    if kind == 1:
        return f"!({_query(rng, depth - 1)})"
    return f"({_query(rng, depth - 1)}{rng.choice([' & ', ' | ', ' <-> ', ' <3> '])}{_query(rng, depth - 1)})"


@pytest.mark.anyio
async def test_queries_of_a_server(conn: AsyncConnection[Any]) -> None:
    import random

    rng = random.Random(7)
    queries = [_query(rng, rng.randrange(7)) for _ in range(300)]
    cursor = await conn.execute(
        b"SELECT q::tsquery, q::tsquery::text, ARRAY[q::tsquery], ARRAY[q::tsquery]::text[] FROM unnest(%s::text[]) q",
        [queries],
        binary=True,
    )
    async for query, text, array, texts in cursor:
        assert query == text
        assert array == texts


@pytest.mark.anyio
@pytest.mark.parametrize("encoding", ["UTF8", "SJIS", "SQL_ASCII"])
async def test_words_of_every_encoding(conn: AsyncConnection[Any], encoding: str) -> None:
    await conn.execute(f"SET client_encoding TO '{encoding}'".encode())
    # The second byte of this character is a backslash in Shift JIS.
    expressions = [
        b"(U&'\\8868:1A ''it''''s'' ''\\005C\\005C''')::tsvector",
        b"(U&'\\8868:* & ''\\005C\\005C''')::tsquery",
        b"(U&'$.\"\\8868\"')::jsonpath",
    ]
    for expression in expressions:
        rows: list[Any] = []
        for binary in (False, True):
            cursor = await conn.execute(b"SELECT %b, ARRAY[%b]" % (expression, expression), None, binary=binary)
            rows.append(await cursor.fetchone())
        assert rows[0] == rows[1]
        assert type(rows[0][0]) is type(rows[1][0]) is (bytes if encoding == "SQL_ASCII" else str)


def test_deep_and_long_ones_take_linear_time_and_no_stack() -> None:
    word = b"\1\0\0a\0"
    deep = 100_000
    data = struct.pack("!i", deep + 1) + b"\2\1" * deep + word
    assert load(data, "tsquery", Format.BINARY) == "!" * deep + "'a'"
    data = struct.pack("!i", 2 * deep + 1) + b"\2\3" * deep + word * (deep + 1)
    assert load(data, "tsquery", Format.BINARY) == " | ".join(["'a'"] * (deep + 1))
    data = struct.pack("!i", 2 * deep + 1) + (b"\2\4\0\1" + word) * deep + word
    text = load(data, "tsquery", Format.BINARY)
    assert text.startswith("'a' <-> 'a' <-> 'a'")
    data = struct.pack("!i", 2 * deep + 1) + (b"\2\4\0\1") * deep + word * (deep + 1)
    assert load(data, "tsquery", Format.BINARY).endswith(" )" * (deep - 1))


@st.composite
def _items(draw: st.DrawFn) -> bytes:
    kinds = [b"\1\0\0a\0", b"\1\xff\1b\0", b"\2\1", b"\2\2", b"\2\3", b"\2\4\0\1", b"\2\5", b"\3", b"\1"]
    items = draw(st.lists(st.sampled_from(kinds), max_size=6))
    return struct.pack("!i", draw(st.integers(-1, 7) | st.just(len(items)))) + b"".join(items)


@given(data=_items() | st.binary(max_size=30))
@example(data=b"")
@example(data=b"\x7f\xff\xff\xff")
def test_hostile_queries(data: bytes) -> None:
    check_hostile(data, "tsquery", Format.BINARY)
    check_hostile(data, "tsquery", Format.BINARY, transformer("anyq_sjis"))


@given(data=st.binary(max_size=30) | st.binary(max_size=9).map(lambda data: b"\0\0\0\1a\0" + data))
@example(data=b"\0\0\0\1a\0\xff\xff\0\1")
@example(data=b"\x80\0\0\0")
def test_hostile_vectors(data: bytes) -> None:
    check_hostile(data, "tsvector", Format.BINARY)
    check_hostile(data, "tsvector", Format.BINARY, transformer("ascii"))
    check_hostile(data, "tsvector", Format.TEXT)
