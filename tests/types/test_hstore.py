"""hstore: with the extension where the server has it, and with a type of the same name that keeps what it is given."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import anyq
from anyq import errors, sql
from anyq.adapt import AdaptersMap, Format, PyFormat, Transformer
from anyq.errors import DataError, ProgrammingError
from anyq.rows import dict_row
from anyq.types import TypeInfo
from anyq.types.hstore import Hstore, register_hstore
from anyq.types.json import Jsonb
from tests.support.hostile_values import check_hostile
from tests.support.values import FORMATS, PYFORMATS, FakeConnection, dump, load, there_and_back

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from anyq import AsyncConnection

INFO = TypeInfo("hstore", 70_001, 70_002, regtype='"odd schema".hstore')

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
hstores = st.dictionaries(texts, texts | st.none())

#: What looks like something else, and characters whose second byte is a backslash, quote or brace somewhere.
VALUES: list[Hstore] = [
    {},
    {"": ""},
    {"": None},
    {"a": "b", "c": None, "NULL": "NULL", "null": "null"},
    {'"': '"', "\\": "\\", '\\"': '"\\', "=>": "=>", ", ": ", ", "'": "'", "{}": "{,}"},
    {" a\n": "\tb\r\n", "%s": "%", "$1": "é"},
]
MULTIBYTE = {"SJIS": "表ソボ", "GBK": "誠功", "BIG5": "功許", "EUC_JP": "表", "LATIN1": "é", "UTF8": "表é😀"}
CODECS = {"SJIS": "anyq_sjis", "GBK": "gbk", "BIG5": "anyq_big5", "GB18030": "gb18030"}


def registered(encoding: str = "utf-8") -> Transformer:
    context = FakeConnection(encoding)
    register_hstore(INFO, context)
    return Transformer(context)


@pytest.mark.parametrize("format", PYFORMATS)
@given(value=hstores)
def test_there_and_back(value: Hstore, format: PyFormat) -> None:
    tx = registered()
    assert there_and_back(value, format, tx) == value
    assert there_and_back([value, None], format, tx) == [value, None]
    assert dump(value, format, tx)[1] == INFO.oid
    assert dump([value], format, tx)[1] == INFO.array_oid


@pytest.mark.parametrize("encoding", CODECS)
@pytest.mark.parametrize("format", PYFORMATS)
def test_by_characters(encoding: str, format: PyFormat) -> None:
    tx = registered(CODECS[encoding])
    text = MULTIBYTE.get(encoding, "表功㐀")
    for value in ({text: text}, {f'"{text}\\': f'\\{text}"', f"{text},": None}):
        assert there_and_back(value, format, tx) == value
        assert there_and_back([[value], [None]], format, tx) == [[value], [None]]


def test_text_of_the_server() -> None:
    tx = registered()
    text = rb'"a"=>"1", "b"=>NULL, "\"\\"=>"NULL", ""=>""'
    assert load(text, INFO.oid, Format.TEXT, tx) == {"a": "1", "b": None, '"\\': "NULL", "": ""}


def test_sql_ascii_is_utf8() -> None:
    tx = registered("ascii")
    for format in PYFORMATS:
        assert there_and_back({"é": "表"}, format, tx) == {"é": "表"}


@pytest.mark.parametrize("format", PYFORMATS)
@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({1: "a"}, "keys of an hstore are str, not int"),
        ({None: "a"}, "keys of an hstore are str, not NoneType"),
        ({b"a": "a"}, "keys of an hstore are str, not bytes"),
        ({"a": 1}, "values of an hstore are str or None, not int"),
        ({"a": {}}, "values of an hstore are str or None, not dict"),
        ({"a": "\0"}, "NUL"),
        ({"a\0": None}, "NUL"),
        ({"\ud800": None}, "surrogate"),
    ],
)
def test_what_cannot_be_dumped(value: Any, message: str, format: PyFormat) -> None:
    with pytest.raises(DataError, match=message):
        dump(value, format, registered())


def test_literal() -> None:
    assert registered().as_literal({"it's": None}) == b"'\"it''s\"=>NULL'::\"odd schema\".hstore"


def test_only_where_it_is_registered() -> None:
    registered()
    with pytest.raises(ProgrammingError, match=r"Json\(\) or Jsonb\(\).*register_hstore\(\)"):
        dump({"a": "b"}, PyFormat.AUTO)
    # And a wrapper is what it was.
    assert there_and_back(Jsonb({"a": 1}), PyFormat.AUTO, registered()) == {"a": 1}


def test_no_info() -> None:
    with pytest.raises(TypeError, match="CREATE EXTENSION hstore"):
        register_hstore(None, AdaptersMap(anyq.adapters))  # type: ignore[arg-type]


@pytest.mark.parametrize("format", FORMATS)
@given(
    data=st.binary(max_size=30)
    | st.text('"\\=>, NULa', max_size=24).map(str.encode)
    | st.lists(st.sampled_from([-1, 0, 1, 2, 2**31 - 1, -(2**31)]), max_size=8).map(
        lambda numbers: struct.pack(f"!{len(numbers)}i", *numbers)
    )
)
@example(data=b'"a"=>"b", ')
@example(data=b'"a"=>"b"x"c"=>"d"')
@example(data=struct.pack("!ii", 1, -1))
@example(data=struct.pack("!iii", 1, -1, -1))
def test_hostile_bytes(data: bytes, format: Format) -> None:
    check_hostile(data, INFO.oid, format, registered())
    check_hostile(data, INFO.oid, format, registered("anyq_sjis"))


MALFORMED = ['"a"', '"a"=>', '"a"=>b', '"a"=>"b",', '"a"=>"b", ', 'a=>"b"', '"a"=>"b', '"a"=>null']


@pytest.mark.parametrize("text", MALFORMED)
def test_malformed_text(text: str) -> None:
    with pytest.raises(DataError, match="malformed hstore"):
        load(text.encode(), INFO.oid, Format.TEXT, registered())


def test_malformed_text_takes_linear_time() -> None:
    for text in ('"' + "\\" * 400_000, '"' + "a\\b" * 200_000, '"a"=>"b", ' * 100_000 + '"'):
        with pytest.raises(DataError, match="malformed hstore"):
            load(text.encode(), INFO.oid, Format.TEXT, registered())


# -- with a server


_STAND_IN = b"""
    SET LOCAL search_path TO "odd ""schema";
    CREATE TYPE hstore;
    CREATE FUNCTION hin(cstring) RETURNS hstore LANGUAGE internal IMMUTABLE STRICT AS 'textin';
    CREATE FUNCTION hout(hstore) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';
    CREATE TYPE hstore (INPUT = hin, OUTPUT = hout, LIKE = text);
    SET LOCAL search_path TO DEFAULT
"""


@pytest.fixture
async def is_real(conn: AsyncConnection[Any]) -> AsyncIterator[bool]:
    """Whether there is the extension in a schema outside of the path, or a stand-in that keeps text as it is."""
    await conn.execute(b'CREATE SCHEMA "odd ""schema"')
    try:
        async with conn.transaction():
            await conn.execute(b'CREATE EXTENSION hstore SCHEMA "odd ""schema"')
        is_real = True
    except (errors.FeatureNotSupported, errors.UndefinedFile):
        await conn.execute(_STAND_IN)
        is_real = False
    except errors.InsufficientPrivilege:
        pytest.skip("needs a superuser")
    yield is_real
    await conn.rollback()


@pytest.mark.anyio
@pytest.mark.parametrize("encoding", MULTIBYTE)
async def test_a_server_gives_them_back(conn: AsyncConnection[Any], is_real: bool, encoding: str) -> None:
    assert await TypeInfo.fetch(conn, "hstore") is None
    conn.row_factory = dict_row
    if not is_real:
        # A prepared statement would be asked for binary, which the stand-in has not.
        conn.prepare_threshold = None
    info = await TypeInfo.fetch(conn, sql.Identifier('odd "schema', "hstore"))
    assert info is not None
    assert info.regtype == '"odd ""schema".hstore'
    register_hstore(info, conn)
    await conn.execute(f"SET client_encoding TO '{encoding}'".encode())
    text = MULTIBYTE[encoding]
    values = [
        *[value for value in VALUES if encoding in ("UTF8", "LATIN1") or "é" not in value.values()],
        {text: text, f'"{text}\\': f"{text}'", f"{text}}}": None},
    ]
    for format in PyFormat:
        for binary in (False, True):
            if not is_real and (binary or format is PyFormat.BINARY):
                continue
            for value in values:
                query = f"SELECT %{format.value} AS one, %{format.value} AS many".encode()
                cursor = await conn.execute(query, [value, [value, None]], binary=binary)
                assert await cursor.fetchone() == {"one": value, "many": [value, None]}
    for standard in ("on", "off"):
        await conn.execute(f"SET standard_conforming_strings TO {standard}; SET escape_string_warning TO off".encode())
        for value in values:
            cursor = await conn.execute(sql.SQL("SELECT {} AS one, {} AS many").format(value, [value, None]))
            row = await cursor.fetchone()
            assert row == {"one": value, "many": [value, None]}


@pytest.mark.parametrize(
    ("server_encoding", "codec", "usable"),
    [
        ("UTF8", "utf-8", True),
        ("LATIN1", "iso8859-1", True),
        ("SQL_ASCII", "ascii", True),
        ("UTF8", "anyq_sjis", False),
        ("LATIN1", "utf-8", False),
    ],
)
def test_binary_only_where_the_server_converts_no_text(server_encoding: str, codec: str, usable: bool) -> None:
    # Otherwise the lengths that it sends are not those of what it sends.
    context = FakeConnection(codec)
    register_hstore(INFO, context)
    tx = Transformer(context, parameters={"server_encoding": server_encoding})
    assert tx.has_binary_loader(INFO.oid) is usable
    assert tx.has_binary_loader(INFO.array_oid) is usable


def test_info_of_another_class() -> None:
    with pytest.raises(TypeError, match=r"has to be fetched by TypeInfo\.fetch\(\); this is 'hstore'"):
        register_hstore("hstore", AdaptersMap(anyq.adapters))  # type: ignore[arg-type]
