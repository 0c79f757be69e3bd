"""Types of the system catalogues that are str."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from anyq.adapt import Format, Transformer
from anyq.adapt.copy import RowFormatter
from anyq.errors import DataError
from anyq.postgres import types
from anyq.types.system import _LOADERS
from tests.support.hostile_values import check_hostile
from tests.support.values import FORMATS, FakeConnection, load, transformer

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


@given(byte=st.integers(0, 255))
def test_a_char_is_written_as_it_is_loaded(byte: int) -> None:
    value = load(bytes((byte,)), "char", Format.BINARY)
    assert written(value, "char", Format.BINARY) == bytes((byte,))
    assert written(value, "char", Format.TEXT) == value.encode()
    for version in ("14.9", "15.4 (Debian)"):
        tx = Transformer(FakeConnection(), parameters={"server_version": version})
        if byte > 127:
            with pytest.raises(DataError, match="servers before PostgreSQL 16 read a backslash"):
                written(value, "char", Format.TEXT, tx)
        else:
            assert written(value, "char", Format.TEXT, tx) == value.encode()


@pytest.mark.parametrize("value", ["ab", "é", "\\400", "\\100", "\\x", "\\37", "\\3777", "\ud800"])
def test_what_is_no_char(value: str) -> None:
    """The server would take the first byte of each."""
    for format in FORMATS:
        with pytest.raises(DataError, match="it is one character of ASCII, none, or as"):
            written(value, "char", format)


def written(value: Any, name: str, format: Format, tx: Transformer | None = None) -> bytes:
    data = (tx or transformer()).get_dumper_by_oid(types[name].oid, format).dump(value)
    assert data is not None
    return bytes(data)


@pytest.mark.parametrize(
    ("name", "value", "data"),
    [
        ("pg_lsn", "16/B374D848", "00000016b374d848"),
        ("pg_lsn", "0/0", "0000000000000000"),
        ("pg_lsn", "FFFFFFFF/FFFFFFFF", "ffffffffffffffff"),
        ("tid", "(4294967295,65535)", "ffffffffffff"),
        ("pg_snapshot", "10:20:", "00000000000000000000000a0000000000000014"),
        ("txid_snapshot", "10:20:11", "00000001000000000000000a0000000000000014000000000000000b"),
        ("int2vector", "1 -2", "000000010000000000000015000000020000000000000002000100000002fffe"),
        ("oidvector", "4294967295", "00000001000000000000001a000000010000000000000004ffffffff"),
        ("refcursor", "a cursor", b"a cursor".hex()),
        ("xid", 2**32 - 1, "ffffffff"),
        ("cid", 0, "00000000"),
        ("xid8", 2**64 - 1, "ffffffffffffffff"),
    ],
)
def test_written_in_both_formats(name: str, value: Any, data: str) -> None:
    assert written(value, name, Format.BINARY) == bytes.fromhex(data)
    assert written(value, name, Format.TEXT) == str(value).encode()
    for format in FORMATS:
        assert load(written(value, name, format), name, format) == value


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("pg_lsn", ["", "16", "16/", "/16", "123456789/0", "0/123456789", "x/0", "0/0 ", "-1/0", "0x1/0", "１/0"]),
        ("tid", ["", "(1,2", "(1)", "(4294967296,0)", "(0,65536)", "(-1,0)", "(1,2)\n", f"({'9' * 5000},1)"]),
        ("pg_snapshot", ["", "1:2", "1:2:3,", "1:2:,", f"{2**64}:1:", "1:2:-3"]),
        ("int2vector", ["", "a", "1,2", "32768", "1 2x"]),
        ("oidvector", ["", "-1", "4294967296", "1 2 "[::-1] + "x"]),
    ],
)
def test_what_cannot_be_written_in_binary(name: str, values: list[str]) -> None:
    for value in values:
        with pytest.raises(DataError, match=f"as {name}: it is written as ") as caught:
            written(value, name, Format.BINARY)
        assert len(str(caught.value)) < 200


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(("name", "bits"), [("xid", 32), ("cid", 32), ("oid", 32), ("xid8", 64)])
def test_numbers_without_a_sign(name: str, bits: int, format: Format) -> None:
    """Of some types the server takes what is out of range for another number."""
    for value in (-1, 2**bits):
        formatter = RowFormatter(transformer(), format == Format.BINARY)
        formatter.set_types([name])
        with pytest.raises(DataError, match=f"a value of type int does not fit {name}: it is out of range$"):
            formatter.format_row((value,), bytearray())


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


@pytest.mark.anyio
@pytest.mark.any_loop
async def test_a_char_of_any_byte_is_copied(conn: AsyncConnection[Any]) -> None:
    await conn.execute('CREATE TEMPORARY TABLE chars (a "char")')
    rows = [(load(bytes((byte,)), "char", Format.BINARY),) for byte in range(256)]
    for form in ("binary", "text"):
        chosen = rows if form == "binary" or conn.info.server_version >= 160000 else rows[:128]
        await conn.execute("TRUNCATE chars")
        async with conn.cursor().copy(f"COPY chars FROM STDIN (FORMAT {form})") as copy:
            copy.set_types(["char"])
            for row in chosen:
                await copy.write_row(row)
        assert await (await conn.execute("SELECT a FROM chars")).fetchall() == chosen
