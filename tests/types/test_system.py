"""Types of the system catalogues that are str."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from anyq.adapt import Format
from anyq.types.system import _LOADERS
from tests.support.hostile_values import check_hostile
from tests.support.values import FORMATS, load, transformer

if TYPE_CHECKING:
    from anyq import AsyncConnection


@given(byte=st.integers(0, 255))
def test_a_char_is_the_same_in_both_formats(byte: int) -> None:
    expected = "" if byte == 0 else chr(byte) if byte < 128 else f"\\{byte:o}"
    assert load(bytes((byte,)), "char", Format.BINARY) == expected
    # As PostgreSQL writes it before 16, and since.
    assert load(bytes((byte,) if byte else ()), "char", Format.TEXT) == expected
    assert load(expected.encode(), "char", Format.TEXT) == expected


@given(number=st.integers(0, 2**64 - 1))
def test_lsn(number: int) -> None:
    text = f"{number >> 32:X}/{number & 0xFFFFFFFF:X}"
    assert load(struct.pack("!Q", number), "pg_lsn", Format.BINARY) == text
    assert load(text.encode(), "pg_lsn", Format.TEXT) == text


@pytest.mark.parametrize("name", [name for name, *_ in _LOADERS])
@pytest.mark.parametrize("format", FORMATS)
@given(data=st.binary(max_size=40))
@example(data=b"")
@example(data=struct.pack("!iiIii", 1, 0, 21, 1, 0) + struct.pack("!iI", 2, 1))
@example(data=struct.pack("!iiIii", 1, 0, 21, 2**31 - 1, 0))
@example(data=struct.pack("!iQQ", -1, 1, 2))
def test_hostile_bytes(data: bytes, name: str, format: Format) -> None:
    check_hostile(data, name, format)
    check_hostile(data, name, format, transformer("anyq_sjis"))


@pytest.mark.anyio
async def test_every_char_of_a_server(conn: AsyncConnection[Any]) -> None:
    for encoding in ("UTF8", "SQL_ASCII"):
        await conn.execute(f"SET client_encoding TO '{encoding}'".encode())
        columns = b", ".join(b'(%d)::"char"' % number for number in range(-128, 128))
        rows: list[Any] = []
        for binary in (False, True):
            rows.append(await (await conn.execute(b"SELECT " + columns, (), binary=binary)).fetchone())
        assert rows[0] == rows[1] == tuple(f"\\{256 + n:o}" if n < 0 else chr(n) if n else "" for n in range(-128, 128))
