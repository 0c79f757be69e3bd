"""Composites: objects and their fields, records of no type, and whatever else may arrive."""

from __future__ import annotations

import enum
from collections import namedtuple
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, timezone
from decimal import Decimal
from struct import pack
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

import anyq
from anyq import AsyncClientCursor, AsyncConnection, sql
from anyq.adapt import PyFormat, Transformer
from anyq.errors import DataError, ProgrammingError
from anyq.postgres import types
from anyq.types._record_formats import parse_record
from anyq.types.composite import MOST_NESTED, CompositeInfo, TupleDumper, register_composite
from anyq.types.enum import EnumInfo, register_enum
from anyq.types.range import Range
from tests.support.values import FORMATS, PYFORMATS, FakeConnection, dump, load, there_and_back, transformer

OID, ARRAY_OID = 70_000, 70_001
INT4, TEXT, TIMESTAMP = (types[name].oid for name in ("int4", "text", "timestamp"))


class Pair(NamedTuple):
    a: Any
    b: Any


@dataclass
class Thing:
    """No sequence."""

    a: Any
    b: Any


def fields_of(thing: Thing, info: CompositeInfo) -> list[Any]:
    return [getattr(thing, name) for name in info.field_names]


def pair_info(*field_types: int) -> CompositeInfo:
    return CompositeInfo("pair", OID, ARRAY_OID, field_names=["a", "b"], field_types=field_types or [INT4, TEXT])


def registered(
    factory: Any = Pair, encoding: str = "utf-8", info: CompositeInfo | None = None, **more: Any
) -> Transformer:
    connection = FakeConnection(encoding)
    register_composite(info or pair_info(), connection, factory, **more)
    return Transformer(connection)


# -- without a server


@pytest.mark.parametrize("format", PYFORMATS)
def test_there_and_back(format: PyFormat) -> None:
    tx = registered()
    for value in (Pair(1, "x"), Pair(None, ""), Pair(-5, 'a "b" \\c (),'), Pair(None, None), Pair(7, None)):
        assert dump(value, format, tx)[1] == OID
        for obj in (value, [value, None], [[value], [value]]):
            got = there_and_back(obj, format, tx)
            assert got == obj
        assert type(there_and_back(value, format, tx)) is Pair


def test_text() -> None:
    tx = registered()
    assert dump(Pair(1, "x"), PyFormat.TEXT, tx)[0] == b"(1,x)"
    assert dump(Pair(None, ""), PyFormat.TEXT, tx)[0] == b'(,"")'
    assert dump(Pair(1, 'a"\\ '), PyFormat.TEXT, tx)[0] == b'(1,"a""\\\\ ")'
    assert tx.as_literal(Pair(1, "x")) == b"'(1,x)'::pair"
    assert tx.as_literal([Pair(1, "x")]) == b"'{\"(1,x)\"}'::pair[]"


def test_binary() -> None:
    data = dump(Pair(1, None), PyFormat.BINARY, registered())[0]
    assert data == pack(">iIiiIi", 2, INT4, 4, 1, TEXT, -1)


@pytest.mark.parametrize("format", PYFORMATS)
def test_null_fields_and_null(format: PyFormat) -> None:
    tx = registered()
    assert there_and_back(Pair(None, None), format, tx) == Pair(None, None)
    assert there_and_back([None, Pair(None, None)], format, tx) == [None, Pair(None, None)]


def test_one_field_that_is_null() -> None:
    one = namedtuple("one", "a")
    info = CompositeInfo("one", OID, ARRAY_OID, field_names=["a"], field_types=[INT4])
    tx = registered(one, info=info)
    assert load(b"()", OID, 0, tx) == one(None)
    for format in PYFORMATS:
        assert there_and_back(one(None), format, tx) == one(None)
        assert there_and_back([one(None), one(1)], format, tx) == [one(None), one(1)]


def test_no_field() -> None:
    info = CompositeInfo("none", OID, ARRAY_OID, field_names=[], field_types=[])
    tx = registered(lambda: "made", info=info)
    assert load(b"()", OID, 0, tx) == load(pack(">i", 0), OID, 1, tx) == "made"
    assert load(b"()", "record", 0) == (None,)
    assert load(pack(">i", 0), "record", 1) == ()


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("count", [0, 1, 3])
def test_other_fields_than_were_registered(count: int, format: int) -> None:
    tx = registered()
    text = b"(" + b",".join([b"1"] * count) + b")"
    data = text if format == 0 else pack(">i", count) + pack(">Iii", INT4, 4, 1) * count
    with pytest.raises(DataError, match=r"pair has \d fields, and had 2 .*\(a, b\): fetch the CompositeInfo again"):
        load(data, OID, format, tx)


def test_a_field_of_another_type_by_now() -> None:
    tx = registered()
    data = pack(">iIi", 2, TEXT, 1) + b"x" + pack(">Iii", INT4, 4, 7)
    assert load(data, OID, 1, tx) == Pair("x", 7)
    with pytest.raises(DataError):
        load(b"(x,7)", OID, 0, tx)


def test_a_class_is_made() -> None:
    names = ["id", "class", "two words", "1st", "_x", "ﬁ", "fi", "id"]
    info = CompositeInfo("my type", OID, ARRAY_OID, field_names=names, field_types=[INT4] * len(names))
    connection = FakeConnection()
    register_composite(info, connection)
    tx = Transformer(connection)
    made = load(b"(1,2,3,4,5,6,7,8)", OID, 0, tx)
    assert made == tuple(range(1, 9))
    assert type(made) is info.python_type
    assert type(made).__name__ == "my_type"
    made_class: Any = type(made)
    assert made_class._fields[:5] == ("id", "_1", "two_words", "f1st", "f_x")
    assert dump(made, PyFormat.TEXT, tx)[:2] == (b"(1,2,3,4,5,6,7,8)", OID)


@pytest.mark.parametrize("format", PYFORMATS)
def test_objects_that_are_no_sequences(format: PyFormat) -> None:
    tx = registered(Thing, make_sequence=fields_of)
    assert there_and_back(Thing(1, "x"), format, tx) == Thing(1, "x")
    assert there_and_back([Thing(None, "x")], format, tx) == [Thing(None, "x")]
    tx = registered(Thing, make_object=lambda values, info: dict(zip(info.field_names, values, strict=True)))
    assert load(b"(1,x)", OID, 0, tx) == {"a": 1, "b": "x"}
    for value in (Thing(1, "x"), [Thing(1, "x")]):
        with pytest.raises(ProgrammingError, match="Thing as the composite type pair: it is no sequence .* make_seq"):
            dump(value, format, tx)


def test_a_factory_that_is_no_class() -> None:
    info = pair_info()
    tx = registered(lambda a, b: {a: b}, info=info)
    assert info.python_type is None
    assert load(b"(1,x)", OID, 0, tx) == {1: "x"}
    # A tuple is no object of it.
    assert dump((1, "x"), PyFormat.TEXT, tx)[:2] == (b"(1,x)", 0)
    assert tx.get_dumper_by_oid(OID, 1).dump((1, "x")) == dump(Pair(1, "x"), PyFormat.BINARY, registered())[0]


def test_what_a_factory_raises() -> None:
    def fail(*values: Any) -> Any:
        raise ValueError("mine")

    tx = registered(fail)
    for data, format in ((b"(1,x)", 0), (pack(">iIiIi", 2, INT4, -1, TEXT, -1), 1)):
        with pytest.raises(ValueError, match="^mine$"):
            load(data, OID, format, tx)


@pytest.mark.parametrize("format", PYFORMATS)
def test_the_wrong_number_of_values(format: PyFormat) -> None:
    for values in ([], [1], [1, 2, 3]):
        tx = registered(Thing, make_sequence=lambda _, __, values=values: values)
        with pytest.raises(DataError, match=rf"pair has 2 fields \(a, b\), and list has {len(values)}"):
            dump(Thing(1, 2), format, tx)


def test_values_of_another_type_than_the_field() -> None:
    tx = registered()
    # In text the server reads them; in binary there is no doubt, or an error.
    assert dump(Pair("5", 5), PyFormat.TEXT, tx)[0] == b"(5,5)"
    for value in (Pair("5", "x"), Pair(1, 5), Pair(2**40, "x"), Pair(1.5, "x"), Pair([1], "x"), Pair(1, (2,))):
        with pytest.raises(DataError, match="as the field (a|b) of pair in binary format"):
            dump(value, PyFormat.BINARY, tx)
    assert there_and_back(Pair(True, "x"), PyFormat.BINARY, tx) == Pair(1, "x")


@pytest.mark.parametrize("format", PYFORMATS)
def test_nothing_is_lost(format: PyFormat) -> None:
    tx = registered(info=pair_info(TIMESTAMP, types["date"].oid))
    now = datetime(2024, 1, 2, 3, 4)
    assert there_and_back(Pair(now, date(2024, 1, 2)), format, tx) == Pair(now, date(2024, 1, 2))
    for value in (Pair(now.replace(tzinfo=timezone.utc), None), Pair(now, now)):
        with pytest.raises(DataError, match="would lose its time"):
            dump(value, format, tx)


@pytest.mark.parametrize("format", PYFORMATS)
@pytest.mark.parametrize(
    ("encoding", "characters"),
    [("utf-8", "é表"), ("shift_jis", "表ソボ|"), ("gbk", "誠功|"), ("big5", "功許|"), ("gb18030", "誠功|")],
)
def test_fields_of_text(encoding: str, characters: str, format: PyFormat) -> None:
    tx = registered(encoding=encoding, info=pair_info(TEXT, types["text"].array_oid))
    texts = st.none() | st.text(characters + 'a (),"\\{}') | st.just("NULL")

    @given(texts, st.none() | st.lists(texts, max_size=3))
    def check(a: Any, b: Any) -> None:
        value = Pair(a, b)
        for obj in (value, [value], [[value, None]]):
            assert there_and_back(obj, format, tx) == obj

    check()


@given(
    st.recursive(st.none() | st.text('a(),"\\ {}'), lambda inner: st.lists(inner, min_size=1, max_size=3).map(tuple))
)
def test_tuples_in_tuples(value: Any) -> None:
    """In text, where each level is a text of the next one."""

    def read(value: Any, data: bytes | None) -> Any:
        if isinstance(value, tuple):
            assert data is not None
            return tuple(read(*pair) for pair in zip(value, parse_record(data), strict=True))
        return None if data is None else data.decode()

    data = dump((value,), PyFormat.TEXT)[0]
    assert read((value,), bytes(data or b"")) == (value,)


@pytest.mark.parametrize("data", [b"(a,,)", b'("a",,)', b'(a,"",)'])
def test_records_in_text(data: bytes) -> None:
    assert load(data, "record", 0) == ("a", "" if b'""' in data else None, None)
    for encoding, text in (("shift_jis", "表"), ("gbk", "誠")):
        tx = Transformer(FakeConnection(encoding))
        assert load(f'("{text} ",{text},"\\\\")'.encode(encoding), "record", 0, tx) == (text + " ", text, "\\")


def test_records_in_binary() -> None:
    one = pack(">iIiiIi", 2, INT4, 4, 1, TEXT, 1) + b"x"
    two = pack(">iIi", 1, types["bool"].oid, 1) + b"\1"
    assert load(one, "record", 1) == (1, "x")
    assert load(two, "record", 1) == (True,)
    inner = pack(">iIi", 2, types["record"].oid, len(one)) + one + pack(">Ii", types["record"].oid, -1)
    assert load(inner, "record", 1) == ((1, "x"), None)


def test_which_tuples() -> None:
    assert dump((1, "a", None), PyFormat.AUTO)[:3] == (b"(1,a,)", 0, 0)
    assert dump(("", " "), PyFormat.AUTO)[0] == b'(""," ")'
    assert dump(((1, "a"), [1, None], Range(1, 2)), PyFormat.TEXT)[0] == b'("(1,a)","{1,NULL}","[1,2)")'
    assert dump([(1, 2), (3, 4)], PyFormat.AUTO)[:2] == (b'{"(1,2)","(3,4)"}', 0)
    assert dump((), PyFormat.AUTO)[0] == b"()"
    assert dump(Pair(1, 2), PyFormat.AUTO)[:2] == (b"(1,2)", 0)
    assert transformer().as_literal((1, "it's")) == b"'(1,it''s)'"
    with pytest.raises(
        ProgrammingError, match="cannot adapt type 'tuple' using placeholder '%b'.*another format of placeholder works"
    ):
        dump((1, 2), PyFormat.BINARY)


class Inner(tuple[Any, ...]):
    """Has a dumper of its own."""


@pytest.mark.parametrize("wrap", [tuple, lambda inner: [tuple(inner)], Inner], ids=["tuple", "list", "both"])
def test_a_tuple_without_end(wrap: Callable[[list[Any]], Any]) -> None:
    """Its text would double with each level."""
    value: Any = ("\\",)
    for _ in range(MOST_NESTED - 1):
        value = (value,)
    text = dump(value, PyFormat.AUTO)[0]
    assert isinstance(text, bytes)
    assert text.count(b"\\") == 2 ** (MOST_NESTED - 1) * 2
    for levels in (1, 30, 5_000):
        for _ in range(levels):
            value = (wrap([value]),)
        with pytest.raises(DataError, match="nested too deeply: more than 16 levels.*use %b"):
            dump(value, PyFormat.AUTO)
    assert dump((1, 2), PyFormat.AUTO)[0] == b"(1,2)"


def test_a_dumper_of_ones_own() -> None:
    class Reversed(TupleDumper):
        def dump(self, obj: tuple[Any, ...]) -> bytes:
            return super().dump(obj[::-1])

    connection = FakeConnection()
    connection.adapters.register_dumper(tuple, Reversed)
    assert dump((1, 2), PyFormat.AUTO, Transformer(connection))[0] == b"(2,1)"


def test_a_dumper_that_says_null() -> None:
    class Nothing:
        pass

    class NothingDumper(anyq.Dumper):
        def dump(self, obj: Any) -> None:
            return None

    class NothingBinaryDumper(NothingDumper):
        format = anyq.adapt.Format.BINARY
        oid = INT4

    connection = FakeConnection()
    for dumper in (NothingBinaryDumper, NothingDumper):
        connection.adapters.register_dumper(Nothing, dumper)
    register_composite(pair_info(), connection, Pair)
    tx = Transformer(connection)
    for format in PYFORMATS:
        assert there_and_back(Pair(Nothing(), "x"), format, tx) == Pair(None, "x")


def test_no_such_composite() -> None:
    missing: Any = None
    with pytest.raises(TypeError, match=r"CompositeInfo\.fetch\(\) returns None"):
        register_composite(missing)


@pytest.mark.parametrize("name", ["factory", "make_object", "make_sequence"])
def test_what_cannot_be_called(name: str) -> None:
    wrong: Any = {name: 3}
    with pytest.raises(TypeError, match=f"{name} is called with what is in a composite, and 3 cannot be"):
        register_composite(pair_info(), FakeConnection(), **wrong)


# -- whatever else may arrive

ONE = pack(">iIiiIi", 2, INT4, 4, 1, TEXT, 1) + b"x"
MALFORMED = {
    0: [
        b"",
        b"(",
        b")",
        b"1,x",
        b"(1,x",
        b"(1,(x)",
        b'(1,"x)',
        b'(1,"x"y)',
        b'(1,x"y")',
        b'(1,"x\\")',
        b"((1,x))",
        b"(\\,)",
    ],
    1: [
        b"",
        b"\0",
        ONE[:-1],
        ONE + b"\0",
        pack(">i", -1),
        pack(">i", 2**31 - 1) + b"\0" * 16,
        pack(">iIi", 1, INT4, 2**31 - 1),
        pack(">iIi", 2, INT4, -1),
    ],
}


@pytest.mark.parametrize("format", FORMATS)
def test_malformed(format: int) -> None:
    tx = registered()
    for data in MALFORMED[format]:
        for name in (OID, types["record"].oid):
            with pytest.raises(DataError):
                load(data, name, format, tx)


@given(st.sampled_from(FORMATS), st.data())
def test_any_bytes(format: int, data: st.DataObject) -> None:
    record, records = types["record"].oid, types["record"].array_oid
    pieces = [b"(", b")", b",", b'"', b"\\", b"1", b"{", b"}", pack(">i", 1), pack(">Ii", INT4, 4), ONE, b"\xff"]
    pieces += [pack(">Ii", record, len(ONE)) + ONE, pack(">iiIii", 1, 0, record, 1, 1)]
    value = data.draw(st.binary(max_size=30) | st.lists(st.sampled_from(pieces), max_size=10).map(b"".join))
    for tx in (registered(), registered(encoding="shift_jis")):
        for oid in (OID, ARRAY_OID, record, records):
            with suppress(DataError):
                load(value, oid, format, tx)


@pytest.mark.parametrize("depth", [10, 31, 33, 2_000, 30_000])
@pytest.mark.parametrize("arrays", [False, True])
@pytest.mark.parametrize("innermost", [ONE, b"\0"])
def test_records_in_records(depth: int, arrays: bool, innermost: bytes) -> None:
    """A server that goes on and on has a limit, and no level is loaded twice."""
    record, records = types["record"].oid, types["record"].array_oid
    data = innermost
    for level in range(depth):
        if arrays:
            data = pack(">iiIiii", 1, 0, record, 1, 1, len(data)) + data
        data = pack(">iIi", 1, records if arrays else record, len(data)) + data
        if len(data) > 100_000 and level > 100:
            break
    if depth > 31:
        with pytest.raises(DataError, match="more than 32 levels"):
            load(data, record, 1)
    elif innermost == ONE:
        value = load(data, record, 1)
        for _ in range(depth):
            [value] = value[0] if arrays else value
        assert value == (1, "x")
    else:
        with pytest.raises(DataError, match="malformed composite"):
            load(data, record, 1)


def test_a_composite_of_itself_ends() -> None:
    tx = registered(info=pair_info(OID, OID))
    data = b"(,)"
    assert load(data, OID, 0, tx) == Pair(None, None)
    for _ in range(4):
        data = b'("%b",)' % data.replace(b'"', b'""')
    value = load(data, OID, 0, tx)
    for _ in range(4):
        value = value.a
    assert value == Pair(None, None)
    data = pack(">iIiIi", 2, OID, -1, OID, -1)
    for _ in range(100):
        data = pack(">iIi", 2, OID, len(data)) + data + pack(">Ii", OID, -1)
    with pytest.raises(DataError, match="more than 32 levels"):
        load(data, OID, 1, tx)


# -- with a server


class Mood(enum.Enum):
    happy = 1
    sad = 2


@dataclass
class Box:
    name: str | None
    pairs: list[Any] | None
    mood: Mood | None
    span: Range[int] | None
    price: Decimal | None
    inner: Any


async def boxes(conn: AsyncConnection[Any]) -> tuple[Any, Any]:
    """Create and register a composite of arrays of composites, an enum, a range, a domain and another composite."""
    await conn.execute(
        "CREATE TYPE pg_temp.mood AS ENUM ('happy', 'sad');"
        'CREATE TYPE pg_temp."a, pair" AS (a int4, "B,b" text);'
        "CREATE DOMAIN pg_temp.price AS numeric; CREATE DOMAIN pg_temp.good_price AS pg_temp.price CHECK (VALUE > 0);"
        'CREATE TYPE pg_temp.box_ AS (name text, dropped int8, pairs pg_temp."a, pair"[], mood pg_temp.mood,'
        ' span int4range, price pg_temp.good_price, inside pg_temp."a, pair");'
        "ALTER TYPE pg_temp.box_ DROP ATTRIBUTE dropped"
    )
    mood = await EnumInfo.fetch(conn, "pg_temp.mood")
    pair, box = await CompositeInfo.fetch(conn, ['pg_temp."a, pair"', "pg_temp.box_"])
    assert mood is not None and pair is not None and box is not None
    register_enum(mood, conn, Mood)
    register_composite(pair, conn)
    register_composite(box, conn, Box, make_sequence=lambda box, _: list(vars(box).values()))
    assert pair.python_type is not None
    return pair.python_type, box


@pytest.mark.anyio
async def test_three_levels(conn: AsyncConnection[Any]) -> None:
    pair, info = await boxes(conn)
    assert info.field_names == ("name", "pairs", "mood", "span", "price", "inside")
    assert info.field_types[4] != info.base_types[4] == types["numeric"].oid
    values = [
        Box(
            'a "b", \\ (c)',
            [pair(1, "x, y"), None, pair(None, '"')],
            Mood.sad,
            Range(1, 5),
            Decimal("1.50"),
            pair(7, ""),
        ),
        Box(None, None, None, None, None, None),
        Box("", [], Mood.happy, Range(empty=True), None, pair(None, None)),
        Box("NULL", [pair(None, None)], None, Range(), Decimal(3), None),
    ]
    client = AsyncClientCursor(conn)
    for value in values:
        for format in PyFormat:
            for binary in (False, True):
                p = f"%{format.value}"
                query = f"SELECT {p}, {p}, ({p}).pairs, ({p}).inside, pg_typeof({p})::oid"
                cursor = await conn.execute(query, [value, [value, None], value, value, value], binary=binary)
                assert await cursor.fetchone() == (value, [value, None], value.pairs, value.inner, info.oid)
        await client.execute("SELECT %s, %s, (%s).mood", [value, [[value]], value])
        assert await client.fetchone() == (value, [[value]], value.mood)
        cursor = await conn.execute(sql.SQL("SELECT {}, {}").format(value, [value]))
        assert await cursor.fetchone() == (value, [value])


@pytest.mark.anyio
@pytest.mark.parametrize("encoding", ["UTF8", "SJIS", "EUC_JP", "GBK", "BIG5", "GB18030", "LATIN1"])
async def test_encodings(conn: AsyncConnection[Any], encoding: str) -> None:
    pair, _ = await boxes(conn)
    await conn.execute(f"SET client_encoding TO '{encoding}'".encode())
    text = {"LATIN1": "é", "UTF8": "é", "SJIS": "表", "EUC_JP": "表", "BIG5": "功"}.get(encoding, "誠")
    value = Box(text, [pair(1, f'{text}\\"{text}'), pair(2, text + " ")], None, None, None, pair(3, f"{text}("))
    for format in PyFormat:
        for binary in (False, True):
            query = f"SELECT %{format.value}, %{format.value}"
            cursor = await conn.execute(query, [value, [value]], binary=binary)
            assert await cursor.fetchone() == (value, [value])
    cursor = await conn.execute("SELECT row(%s::text, %s::text)", [text, f'{text}"\\'])
    assert await cursor.fetchone() == ((text, f'{text}"\\'),)
    cursor = await conn.execute(sql.SQL("SELECT {}").format([value]))
    assert await cursor.fetchone() == ([value],)


@pytest.mark.anyio
async def test_null_and_rows_of_nulls(conn: AsyncConnection[Any]) -> None:
    await conn.execute("CREATE TYPE pg_temp.pair AS (a int4, b text); CREATE TYPE pg_temp.one AS (a int4)")
    for name in ("pair", "one"):
        info = await CompositeInfo.fetch(conn, f"pg_temp.{name}")
        assert info is not None
        register_composite(info, conn)
    for binary in (False, True):
        cursor = await conn.execute(
            "SELECT row(null, null)::pg_temp.pair, null::pg_temp.pair, row(null)::pg_temp.one, row('', '')::record",
            binary=binary,
        )
        assert await cursor.fetchone() == ((None, None), None, (None,), ("", ""))


@pytest.mark.anyio
async def test_when_the_type_changes(conn: AsyncConnection[Any]) -> None:
    await conn.execute("CREATE TYPE pg_temp.pair AS (a int4, b text)")
    info = await CompositeInfo.fetch(conn, "pg_temp.pair")
    assert info is not None
    register_composite(info, conn, Pair)
    await conn.execute("ALTER TYPE pg_temp.pair ADD ATTRIBUTE c text")
    for binary in (False, True):
        cursor = await conn.execute("SELECT row(1, 'x', 'y')::pg_temp.pair", binary=binary)
        with pytest.raises(DataError, match=r"pair has 3 fields, and had 2 when it was registered.*\(column 'row'\)"):
            await cursor.fetchone()
    await conn.execute("ALTER TYPE pg_temp.pair DROP ATTRIBUTE a")
    again = await CompositeInfo.fetch(conn, "pg_temp.pair")
    assert again is not None
    assert again.field_names == ("b", "c")
    register_composite(again, conn, Pair)
    for format in PyFormat:
        for binary in (False, True):
            cursor = await conn.execute(
                f"SELECT %{format.value}, ('(x,)')::pg_temp.pair", [Pair("b", "c")], binary=binary
            )
            assert await cursor.fetchone() == (Pair("b", "c"), Pair("x", None))


@pytest.mark.anyio
async def test_rows_of_a_table(conn: AsyncConnection[Any]) -> None:
    await conn.execute("CREATE TEMP TABLE things (id int4, gone text, name text); ALTER TABLE things DROP COLUMN gone")
    info = await CompositeInfo.fetch(conn, "things")
    assert info is not None
    register_composite(info, conn)
    await conn.execute("INSERT INTO things SELECT (%s::things).*", [(1, "a")])
    for binary in (False, True):
        cursor = await conn.execute("SELECT things, array_agg(things) FROM things GROUP BY things", binary=binary)
        row = await cursor.fetchone()
        assert row is not None
        one, several = row
        assert (one.id, one.name) == (1, "a")
        assert several == [one]


@pytest.mark.anyio
async def test_records_of_no_type(conn: AsyncConnection[Any]) -> None:
    query = (
        "SELECT * FROM (VALUES (row(1, 'a', null)), (row('2000-01-01'::date, 2)), (row(row(true), array[row(1)]))) v"
    )
    text = [("1", "a", None), ("2000-01-01", "2"), ("(t)", "{(1)}")]
    # Whether it is prepared makes no difference.
    for _ in range(7):
        cursor = await conn.execute(query, ())
        assert [row[0] for row in await cursor.fetchall()] == text
    cursor = await conn.execute(query, (), binary=True)
    assert [row[0] for row in await cursor.fetchall()] == [(1, "a", None), (date(2000, 1, 1), 2), ((True,), [(1,)])]
    for _ in range(7):
        cursor = await conn.execute("SELECT array[row(1, 'x y'), null]", ())
        assert await cursor.fetchone() == ([("1", "x y"), None],)
    cursor = await conn.execute("SELECT array[row(1, 'x y'), null]", (), binary=True)
    assert await cursor.fetchone() == ([(1, "x y"), None],)


@pytest.mark.anyio
async def test_tuples(conn: AsyncConnection[Any]) -> None:
    await conn.execute("CREATE TYPE pg_temp.pair AS (a int4, b text)")
    cursor = await conn.execute("SELECT (%s::pg_temp.pair).b, (%s::pg_temp.pair).a", [(1, " x "), (None, "")])
    assert await cursor.fetchone() == (" x ", None)
    cursor = await conn.execute("SELECT count(*) FROM unnest(%s::pg_temp.pair[]) WHERE b = '\"'", [[(1, '"'), (2, "")]])
    assert await cursor.fetchone() == (1,)
    client = AsyncClientCursor(conn)
    await client.execute("SELECT (%s::pg_temp.pair).b", [(1, "'\\\"")])
    assert await client.fetchone() == ("'\\\"",)


@pytest.mark.anyio
async def test_fetch(conn: AsyncConnection[Any]) -> None:
    await conn.execute("CREATE TYPE pg_temp.nothing AS (); CREATE DOMAIN pg_temp.d AS int4")
    nothing, number, missing, domain = await CompositeInfo.fetch(
        conn, ["pg_temp.nothing", "int4", "missing", "pg_temp.d"]
    )
    assert nothing is not None
    assert (nothing.field_names, nothing.field_types) == ((), ())
    assert number is missing is domain is None


def test_fetch_synchronously(dsn: str) -> None:
    with anyq.connect(dsn, autocommit=True) as conn:
        conn.execute("CREATE TYPE pg_temp.pair AS (a int4, b text)")
        info = CompositeInfo.fetch(conn, "pg_temp.pair")
        assert info is not None
        register_composite(info, conn, Pair)
        assert conn.execute("SELECT %s", [Pair(1, "x")]).fetchone() == (Pair(1, "x"),)


@pytest.mark.anyio
async def test_executemany(conn: AsyncConnection[Any]) -> None:
    pair, _ = await boxes(conn)
    await conn.execute('CREATE TEMP TABLE rows_ (a pg_temp."a, pair", b pg_temp."a, pair"[], m pg_temp.mood)')
    rows: list[tuple[Any, ...]] = [
        (pair(1, "x"), [pair(2, None), None], Mood.sad),
        (None, [], None),
        (pair(None, None), None, Mood.happy),
    ] * 3
    for format in PyFormat:
        cursor = conn.cursor()
        p = f"%{format.value}"
        await cursor.executemany(f"INSERT INTO rows_ VALUES ({p}, {p}, {p})", rows)
        assert await (await conn.execute("DELETE FROM rows_ RETURNING *")).fetchall() == rows
    # A tuple that has no type beside an object that has.
    for _ in range(7):
        for value in ((1, "x"), pair(1, "x")):
            row = await (await conn.execute('SELECT (%s::pg_temp."a, pair")."B,b"', [value])).fetchone()
            assert row == ("x",)


@pytest.mark.anyio
async def test_fetch_with_any_encoding(conn: AsyncConnection[Any]) -> None:
    await conn.execute('CREATE TYPE pg_temp.pair AS ("é" int4, b text)')
    await conn.execute("SET client_encoding TO 'SQL_ASCII'")
    info = await CompositeInfo.fetch(conn, "pg_temp.pair")
    assert info is not None
    assert (info.name, info.field_names) == ("pair", ("é", "b"))
    register_composite(info, conn, Pair)
    for format in PyFormat:
        for binary in (False, True):
            cursor = await conn.execute(f"SELECT %{format.value}", [Pair(1, "é")], binary=binary)
            assert await cursor.fetchone() == ((1, "é".encode()),)


@pytest.mark.anyio
@pytest.mark.any_loop
async def test_fields_that_are_plain_tuples(conn: AsyncConnection[Any]) -> None:
    """The type of the field says what they are, in arrays and at any depth; in binary, too."""
    await conn.execute(
        "CREATE TYPE pg_temp.one AS (x int8, t text); CREATE TYPE pg_temp.two AS (o pg_temp.one, os pg_temp.one[]);"
        "CREATE TYPE pg_temp.three AS (w pg_temp.two, ws pg_temp.two[], r int4range)"
    )
    made: dict[str, Any] = {}
    for name in ("one", "two", "three"):
        info = await CompositeInfo.fetch(conn, f"pg_temp.{name}")
        assert info is not None
        register_composite(info, conn)
        made[name] = info.python_type
    one, two, three = made.values()
    ones = [(1, 'a,"( '), None, (2, "")]
    twos: list[Any] = [((None, None), []), None, (one(3, None), ones)]
    value = three((ones[0], ones), twos, Range(1, 5))
    loaded = [one(1, 'a,"( '), None, one(2, "")]
    expected = three(two(loaded[0], loaded), [two(one(None, None), []), None, two(one(3, None), loaded)], Range(1, 5))
    for letter in "stb":
        for binary in (False, True):
            query = f"SELECT %{letter}, %{letter}".encode()
            cur = await conn.execute(query, (value, [value, None]), binary=binary)
            row = await cur.fetchone()
            assert row == (expected, [expected, None])
            assert type(row[0].w.os[2]) is one
    for bad, why in (
        (two((1,), []), r"the composite type one has 2 fields \(x, t\), and tuple has 1"),
        (two(None, [(1, "a", 3)]), r"the composite type one has 2 fields \(x, t\), and tuple has 3"),
        (two((2**63, "a"), []), "as the field x of one in binary format: it is out of range"),
        (two(("x", "a"), []), "as the field x of one in binary format: convert it to int first"),
        (two("x", []), "cannot dump str as the composite type one: it is no sequence"),
        (two(None, "x"), "a value of type str is no array"),
    ):
        with pytest.raises((DataError, ProgrammingError), match=why):
            await conn.execute(b"SELECT %b", (bad,))
    assert conn.info.transaction_status.name == "INTRANS"
