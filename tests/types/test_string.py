"""Text, in every kind of client encoding, and bytes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyq.adapt import Format, PyFormat
from anyq.errors import DataError
from anyq.postgres import types
from anyq.types.string import StrDumper, TextLoader
from tests.support.values import FORMATS, PYFORMATS, FakeConnection, dump, load, there_and_back, transformer

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))

# A character of each with a backslash, a brace or a bar for a second byte, where the encoding has such.
ENCODINGS = {
    "utf-8": "aé表'\\",
    "latin-1": "aé'\\",
    "euc_jp": "a表'\\",
    "shift_jis": "a表ソ'{",
    "gbk": "a表\u8a97'\\",
    "big5": "a功許'\\",
}


class Name(str):
    """A subclass of str."""


@pytest.mark.parametrize("format", PYFORMATS)
@given(value=texts)
def test_str_there_and_back(value: str, format: PyFormat) -> None:
    assert there_and_back(value, format) == value


@pytest.mark.parametrize("format", PYFORMATS)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_str_in_the_encoding_of_the_client(encoding: str, format: PyFormat) -> None:
    tx = transformer(encoding)
    value = ENCODINGS[encoding]
    assert dump(value, format, tx)[0] == value.encode(encoding)
    assert there_and_back(value, format, tx) == value


def test_oids_of_str() -> None:
    assert dump("a", PyFormat.AUTO) == (b"a", 0, Format.TEXT)
    assert dump("a", PyFormat.TEXT) == (b"a", 0, Format.TEXT)
    assert dump("a", PyFormat.BINARY) == (b"a", types["text"].oid, Format.BINARY)
    assert dump(Name("a"), PyFormat.AUTO) == (b"a", 0, Format.TEXT)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", ["text", "varchar", "bpchar", "name"])
def test_str_by_oid(name: str, format: Format) -> None:
    dumper = transformer().get_dumper_by_oid(types[name].oid, format)
    assert dumper.oid == types[name].oid
    assert dumper.format == format
    assert dumper.dump("é") == "é".encode()


def test_str_as_text_if_registered_so() -> None:
    context = FakeConnection()
    context.adapters.register_dumper(str, StrDumper)
    tx = transformer()
    assert dump("a", PyFormat.AUTO, tx)[1] == 0
    tx = type(tx)(context)
    assert dump("a", PyFormat.AUTO, tx)[1] == types["text"].oid


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", ["text", "varchar", "bpchar", "name", "unknown"])
def test_load_the_family(name: str, format: Format) -> None:
    assert load("é表".encode(), name, format) == "é表"


@pytest.mark.parametrize("format", PYFORMATS)
@pytest.mark.parametrize(
    ("value", "message"),
    [("a\0b", "NUL .*index 1"), ("ab\ud800", r"surrogate.*'\\ud800' at index 2"), ("\udcff", "surrogate")],
)
def test_text_that_postgresql_cannot_hold(value: str, message: str, format: PyFormat) -> None:
    tx = transformer()
    with pytest.raises(DataError, match=message):
        dump(value, format, tx)
    with pytest.raises(DataError, match=message):
        tx.as_literal(value)


def test_text_that_the_client_encoding_cannot_hold() -> None:
    with pytest.raises(DataError, match=r"iso8859-1.*\\u8868.*index 1.*client_encoding"):
        dump("a表", PyFormat.AUTO, transformer("latin-1"))


def test_sql_ascii_knows_no_characters() -> None:
    tx = transformer("ascii")
    assert dump("é", PyFormat.AUTO, tx)[0] == "é".encode()
    assert load(b"\xff", "text", Format.TEXT, tx) == b"\xff"
    assert load(b"a", "varchar", Format.BINARY, tx) == b"a"


def test_subclass_of_a_loader_has_its_way() -> None:
    class Shouting(TextLoader):
        def load(self, data: bytes) -> str | bytes:
            return super().load(data).upper()

    context = FakeConnection()
    context.adapters.register_loader("text", Shouting)
    tx = type(transformer())(context)
    assert load(b"abc", "text", Format.TEXT, tx) == "ABC"
    assert load(b"abc", "varchar", Format.TEXT, tx) == "abc"


# Literals


def read_literal(sql: str) -> str:
    """Read a string constant the way the server does, with standard_conforming_strings on."""
    if sql.startswith(" E'"):
        body, out, i = sql[3:-1], "", 0
        while i < len(body):
            assert body[i] != "'" or body[i + 1] == "'"
            i += body[i] in "'\\"
            out += body[i]
            i += 1
        return out
    assert sql[0] == sql[-1] == "'"
    assert "\\" not in sql, "reads differently with standard_conforming_strings off"
    body = sql[1:-1]
    assert "'" not in body.replace("''", "")
    return body.replace("''", "'")


@given(value=texts | st.text("'\\a"))
def test_literal_of_str(value: str) -> None:
    assert read_literal(transformer().as_literal(value).decode()) == value


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(data=st.data())
def test_literal_in_the_encoding_of_the_client(encoding: str, data: st.DataObject) -> None:
    value = data.draw(st.text(ENCODINGS[encoding]))
    tx = transformer(encoding)
    assert read_literal(tx.as_literal(value).decode(encoding)) == value
    # The same through the method that every dumper inherits.
    items = tx.as_literal([value]).decode(encoding)
    assert load(read_literal(items).encode(encoding), "text[]", Format.TEXT, tx) == [value]


# Bytes


@pytest.mark.parametrize("cls", [bytes, bytearray, memoryview])
@pytest.mark.parametrize("format", PYFORMATS)
@given(value=st.binary())
def test_bytes_there_and_back(value: bytes, format: PyFormat, cls: Any) -> None:
    got = there_and_back(cls(value), format)
    assert got == value
    assert type(got) is bytes
    assert dump(cls(value), format)[1] == types["bytea"].oid


def test_memoryview_of_wider_items() -> None:
    value = memoryview(bytes(range(8))).cast("I")
    assert there_and_back(value, PyFormat.BINARY) == bytes(range(8))
    assert there_and_back(value, PyFormat.TEXT) == bytes(range(8))


def test_what_is_sent_does_not_change_with_the_object() -> None:
    value = bytearray(b"abc")
    data = dump(value, PyFormat.BINARY)[0]
    value[0] = 0
    assert data == b"abc"


@given(value=st.binary() | st.text("\\0179x").map(str.encode))
def test_load_bytea_in_escape_format(value: bytes) -> None:
    # byteaout(): printable ASCII as it is, a backslash twice, the rest in octal.
    text = b"".join(
        b"\\\\" if byte == 0x5C else bytes([byte]) if 32 <= byte <= 126 else b"\\%03o" % byte for byte in value
    )
    assert load(text, "bytea", Format.TEXT) == value


def test_literal_of_bytes() -> None:
    assert transformer().as_literal(b"\x00'\\") == b" E'\\\\x00275c'::bytea"
    assert transformer("shift_jis").as_literal(b"\x00'\\") == b" E'\\\\x00275c'::bytea"


# Types without a loader


def test_unknown_types() -> None:
    assert load("é".encode(), 999_999, Format.TEXT) == "é"
    assert load(b"\xff", 999_999, Format.BINARY) == b"\xff"
    assert not transformer().has_binary_loader(999_999)


@pytest.mark.parametrize("encoding", ["euc_jp", "shift_jis"])
def test_a_yen_sign_does_not_end_a_literal(encoding: str) -> None:
    """Python writes a backslash for it: that is what the server reads, so that is what has to be escaped."""
    assert "¥".encode(encoding) == b"\\"
    assert transformer(encoding).as_literal("\\¥'; DROP TABLE t --") == rb" E'\\\\''; DROP TABLE t --'"
    assert transformer(encoding).as_literal("¥") == rb" E'\\'"


def test_a_literal_is_what_a_subclass_dumps() -> None:
    class Null(StrDumper):
        def dump(self, obj: str) -> bytes:
            return super().dump(obj.upper()) if obj else None  # type: ignore[return-value]

    assert Null(str).quote("") == b"NULL"
    assert Null(str).quote("it's \\") == b" E'IT''S \\\\'"
