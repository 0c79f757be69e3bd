"""Arrays: which type a list takes, both formats, and whatever else may arrive."""

from __future__ import annotations

import enum
from decimal import Decimal
from struct import pack
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyq import AsyncConnection
from anyq.abc import AdaptContext
from anyq.adapt import AdaptersMap, Dumper, Format, Loader, PyFormat, Transformer
from anyq.adapt.typeinfo import TypeInfo
from anyq.errors import DataError, ProgrammingError
from anyq.postgres import adapters, types
from anyq.types import geometric
from anyq.types.array import ListBinaryDumper, ListDumper, parse_array, register_array
from anyq.types.json import Jsonb
from anyq.types.numeric import Int2Dumper, Int4, Int4Dumper, Int8
from anyq.types.string import StrDumper
from tests.support.values import FORMATS, PYFORMATS, FakeConnection, dump, load, transformer


class Colour(enum.IntEnum):
    RED = 1


def name_of(value: list[Any], format: PyFormat = PyFormat.AUTO) -> str:
    oid = dump(value, format)[1]
    return f"{types[oid].name}[]" if oid else "unknown"


def nested(items: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    """Arrays of one to four dimensions."""

    @st.composite
    def draw_array(draw: st.DrawFn) -> list[Any]:
        dims = draw(st.lists(st.integers(1, 3), min_size=1, max_size=4))

        def build(dims: list[int]) -> Any:
            return [build(dims[1:]) for _ in range(dims[0])] if dims else draw(items)

        array: list[Any] = build(dims)
        return array

    return st.just([]) | draw_array()


def array_out(array: list[Any], delimiter: str = ",") -> str:
    """Write an array of str as the server does (src/backend/utils/adt/arrayfuncs.c, array_out)."""

    def item_out(item: Any) -> str:
        if isinstance(item, list):
            return array_out(item, delimiter)
        if item is None:
            return "NULL"
        special = any(c in '{}"\\ \t\n\r\v\f' + delimiter for c in item)
        if not item or special or item.upper() == "NULL":
            item = '"' + item.replace("\\", "\\\\").replace('"', '\\"') + '"'
        text: str = item
        return text

    return "{" + delimiter.join(map(item_out, array)) + "}"


texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])) | st.text('{},;"\\ NULnula')


# Which type


@pytest.mark.parametrize("format", PYFORMATS)
@pytest.mark.parametrize(
    ("value", "name"),
    [
        ([1], "int2[]"),
        ([None, 1, None], "int2[]"),
        ([1, 100_000], "int4[]"),
        ([-(2**15), 1], "int2[]"),
        ([-(2**15) - 1, 1], "int4[]"),
        ([[1, 2], [2**40, None]], "int8[]"),
        ([1, 10**30], "numeric[]"),
        ([1, Colour.RED], "int2[]"),
        ([Colour.RED, 70_000], "int4[]"),
        ([Int8(1)], "int8[]"),
        ([1.5], "float8[]"),
        ([Decimal(1)], "numeric[]"),
        ([True], "bool[]"),
        ([b"a"], "bytea[]"),
        ([Jsonb(1)], "jsonb[]"),
    ],
)
def test_type_of_list(value: list[Any], name: str, format: PyFormat) -> None:
    assert name_of(value, format) == name


@pytest.mark.parametrize("format", PYFORMATS)
@pytest.mark.parametrize("value", [[], [None], [None, None], [[None]], [[]], [[], []]])
def test_list_of_nothing_is_of_unknown_type(value: list[Any], format: PyFormat) -> None:
    data, oid, wire_format = dump(value, format)
    assert (oid, wire_format) == (0, Format.TEXT)
    assert data is not None
    expected: list[Any] = value if value and value[0] != [] else []
    assert load(bytes(data), "int4[]", Format.TEXT) == expected


def test_list_of_str() -> None:
    assert dump(["a"], PyFormat.AUTO) == (b"{a}", 0, Format.TEXT)
    assert name_of(["a"], PyFormat.BINARY) == "text[]"


@pytest.mark.parametrize("format", PYFORMATS)
@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1, "a"], r"mixed types \(int, str\)"),
        ([True, 1], r"mixed types \(bool, int\)"),
        ([1, 1.5], r"mixed types \(float, int\)"),
        ([1, Int4(1)], r"mixed types \(Int4, int\)"),
        ([[1], [2, 3]], "same length"),
        ([[1], []], "same length"),
        ([[], [1]], "same length"),
        ([1, [2]], "same length"),
        ([[1], 2], "same length"),
        ([[1], None], "same length"),
        ([None, [1]], "same length"),
        ([[[[[[[1]]]]]]], "at most 6 dimensions"),
    ],
)
def test_list_that_is_no_array(value: list[Any], message: str, format: PyFormat) -> None:
    with pytest.raises(DataError, match=message):
        dump(value, format)


def test_list_that_contains_itself() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(DataError, match="dimensions"):
        dump(value, PyFormat.AUTO)


def test_list_of_what_has_no_dumper() -> None:
    with pytest.raises(ProgrammingError, match="cannot adapt type 'dict'"):
        dump([{}], PyFormat.AUTO)


def test_the_dumper_is_chosen_for_each_list() -> None:
    tx = transformer()
    for value, name in [([1], "int2"), ([2**40], "int8"), (["a"], None), ([None], None), ([1, 2], "int2")]:
        assert dump(value, PyFormat.AUTO, tx)[1] == (types[name].array_oid if name else 0)


# There and back


@pytest.mark.parametrize("format", PYFORMATS)
@pytest.mark.parametrize(
    "items",
    [st.integers(), st.floats(allow_nan=False), st.binary(), st.booleans(), st.uuids(), st.decimals(allow_nan=False)],
    ids=["int", "float", "bytes", "bool", "uuid", "Decimal"],
)
@given(data=st.data())
def test_there_and_back(items: st.SearchStrategy[Any], format: PyFormat, data: st.DataObject) -> None:
    value = data.draw(nested(st.none() | items))
    dumped, oid, wire_format = dump(value, format)
    assert dumped is not None
    # The server would find out what a list of nothing is.
    assert load(bytes(dumped), oid or "int4[]", wire_format) == value


@pytest.mark.parametrize("format", PYFORMATS)
@given(value=nested(st.none() | texts))
def test_str_there_and_back(value: list[Any], format: PyFormat) -> None:
    data, _, wire_format = dump(value, format)
    assert data is not None
    assert load(bytes(data), "text[]", wire_format) == value


@pytest.mark.parametrize("format", PYFORMATS)
@pytest.mark.parametrize("encoding", ["shift_jis", "gbk", "big5", "latin-1"])
def test_str_in_the_encoding_of_the_client(encoding: str, format: PyFormat) -> None:
    # Characters whose second byte is a backslash, a brace or a bar.
    of_encoding = {"shift_jis": ["表", "ソ}", "ボ"], "gbk": ["\u8a97", "誠"], "big5": ["功", "許"], "latin-1": ["é"]}
    value = of_encoding[encoding]
    tx = transformer(encoding)
    data, _, wire_format = dump(value, format, tx)
    assert data is not None
    assert load(bytes(data), "text[]", wire_format, tx) == value
    if wire_format == Format.TEXT:
        # As characters, which is how the server reads it, it is what is sent in UTF-8.
        assert bytes(data).decode(encoding) == bytes(dump(value, format)[0] or b"").decode()


@pytest.mark.parametrize("format", FORMATS)
@given(value=nested(st.none() | st.integers(-(2**31), 2**31 - 1)))
def test_by_oid(value: list[Any], format: Format) -> None:
    tx = transformer()
    oid = types["int4"].array_oid
    data = tx.get_dumper_by_oid(oid, format).dump(value)
    assert data is not None
    assert tx.get_dumper_by_oid(oid, format).oid == oid
    assert load(bytes(data), oid, format) == value


def test_by_oid_without_a_dumper_of_the_items() -> None:
    with pytest.raises(
        ProgrammingError, match=r"no dumper for type regclass .* in format BINARY: .*, or use text format"
    ):
        transformer().get_dumper_by_oid(types["regclass"].array_oid, Format.BINARY)
    with pytest.raises(ProgrammingError, match=r"no dumper for type gtsvector .* in format TEXT: register one$"):
        transformer().get_dumper_by_oid(types["gtsvector"].array_oid, Format.TEXT)


# Text


@given(value=nested(st.none() | texts))
def test_load_what_the_server_writes(value: list[Any]) -> None:
    assert load(array_out(value).encode(), "text[]", Format.TEXT) == value


@given(value=nested(st.none() | texts))
def test_load_with_lower_bounds(value: list[Any]) -> None:
    if value:
        assert load(b"[2:5][-1:3]=" + array_out(value).encode(), "text[]", Format.TEXT) == value


@given(value=nested(st.none() | texts))
def test_the_delimiter_of_the_type(value: list[Any]) -> None:
    assert parse_array(array_out(value, ";").encode(), bytes.decode, b";") == value


def test_boxes() -> None:
    one, other = geometric.Box((3, 4), (1, 2)), geometric.Box((1, 1), (0, 0))  # type: ignore[arg-type]
    assert load(b"{(3,4),(1,2);NULL;(1,1),(0,0)}", "box[]", Format.TEXT) == [one, None, other]
    assert load(b"{{(3,4),(1,2)};{(1,1),(0,0)}}", "box[]", Format.TEXT) == [[one], [other]]


@given(value=nested(st.none() | texts))
def test_what_is_quoted(value: list[Any]) -> None:
    assert dump(value, PyFormat.TEXT)[0] == array_out(value).encode()


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"{", b"}", b"a", b"{a", b"a}", b"{}}", b"{{}", b"{}{}", b"{a}{b}", b"{a},{b}", b"{a}b", b"a{b}"),
        *(b"{,}", b"{a,}", b"{,a}", b"{a,,b}", b'{"a}', b'{"a"b}', b'{a"b"}', b'{"a""b"}', b"{a\\}", b"{{a}b}"),
        *(b"{{a}{b}}", b"{a{b}}", b"[1:2]", b"[1:2]={", b"[", b"{{{{{{{a}}}}}}}", b"{" * 100_000),
    ],
)
def test_malformed_text(data: bytes) -> None:
    with pytest.raises(DataError, match="malformed array"):
        load(data, "text[]", Format.TEXT)


@given(data=st.binary() | st.text('[]={},"\\aN1').map(str.encode))
def test_any_text(data: bytes) -> None:
    try:
        got = parse_array(data, bytes)
    except DataError:
        return
    assert isinstance(got, list)


# Binary


def header(*dims: int, oid: int, null: int = 0) -> bytes:
    return pack(f">iiI{len(dims) * 2}i", len(dims), null, oid, *(n for d in dims for n in (d, 7)))


def test_binary_format() -> None:
    assert dump([[1, None], [3, 4]], PyFormat.BINARY)[0] == (
        pack(">iiIiiii", 2, 1, types["int2"].oid, 2, 1, 2, 1)
        + pack(">ih", 2, 1)
        + pack(">i", -1)
        + pack(">ih", 2, 3)
        + pack(">ih", 2, 4)
    )


def test_binary_lower_bounds_and_type_of_the_items() -> None:
    data = header(1, 2, oid=types["int4"].oid) + pack(">iiii", 4, 5, 4, 6)
    assert load(data, "int4[]", Format.BINARY) == [[5, 6]]
    # What the array says of itself counts.
    assert load(data, "int8[]", Format.BINARY) == [[5, 6]]
    assert load(header(oid=23), "int4[]", Format.BINARY) == []
    assert load(header(0, oid=23), "int4[]", Format.BINARY) == []


@pytest.mark.parametrize(
    "data",
    [
        b"",
        header(oid=17)[:-1],
        pack(">iiI", -1, 0, 17),
        header(*[1] * 7, oid=17),
        header(-1, oid=17),
        header(-1, -1, oid=17) + pack(">i", 0),
        header(1, oid=17),
        header(2**31 - 1, 2**31 - 1, oid=17),
        header(1, oid=17) + pack(">i", 5) + b"abc",
        header(1, oid=17) + pack(">i", 1) + b"abc",
    ],
)
def test_malformed_binary(data: bytes) -> None:
    with pytest.raises(DataError, match="malformed array"):
        load(data, "bytea[]", Format.BINARY)


@given(data=st.binary(max_size=80), dims=st.lists(st.integers(0, 3), max_size=3))
def test_any_binary(data: bytes, dims: list[int]) -> None:
    try:
        got = load(header(*dims, oid=17) + data, "bytea[]", Format.BINARY)
    except DataError:
        return
    assert isinstance(got, list)


# Types of users


class Point:
    def __init__(self, text: str):
        self.text = text


class PointDumper(Dumper):
    oid = 77_000

    def dump(self, obj: Point) -> bytes:
        return obj.text.encode()


class PointLoader(Loader):
    def load(self, data: bytes) -> str:
        return f"point {data.decode()}"


def test_arrays_of_a_registered_type() -> None:
    context = AdaptersMap(adapters)
    TypeInfo("my point", 77_000, 77_001, regtype='"my point"', delimiter=";").register(context)
    context.register_dumper(Point, PointDumper)
    tx = Transformer(context)

    value = [Point("1;2"), None]
    assert dump(value, PyFormat.AUTO, tx) == (b'{"1;2";NULL}', 77_001, Format.TEXT)
    assert tx.as_literal(value) == b'\'{"1;2";NULL}\'::"my point"[]'
    assert tx.get_dumper_by_oid(77_001, Format.TEXT).dump(value) == b'{"1;2";NULL}'

    assert load(b'{"1;2";NULL}', 77_001, Format.TEXT, tx) == ["1;2", None]
    context.register_loader("my point", PointLoader)
    assert load(b'{"1;2";NULL}', 77_001, Format.TEXT, tx) == ["point 1;2", None]
    assert not tx.has_binary_loader(77_001)
    assert adapters.get_loader(77_001, Format.TEXT) is None


def test_a_type_without_arrays() -> None:
    with pytest.raises(ValueError, match="no array type"):
        register_array(TypeInfo("lonely", 77_002, 0))


def test_binary_only_if_the_items_have_a_loader() -> None:
    tx = transformer()
    assert tx.has_binary_loader(types["int4"].array_oid)
    assert not tx.has_binary_loader(types["regclass"].array_oid)
    assert not tx.has_binary_loader(types["money"].array_oid)


# Dumpers of lists of one's own


class Tags(list[Any]):
    pass


class Upper(StrDumper):
    def dump(self, obj: str) -> bytes:
        return super().dump(obj.upper())


class TagsDumper(ListDumper):
    """Says of which type the arrays are, and not what their items are."""

    oid = types["text"].array_oid


class UpperTagsDumper(TagsDumper):
    def __init__(self, cls: type, context: AdaptContext | None = None):
        super().__init__(cls, context)
        self.sub_dumper = Upper(str, context)


class LongsDumper(ListDumper):
    oid, element_oid = types["int8"].array_oid, types["int8"].oid


class LongsBinaryDumper(ListBinaryDumper):
    oid, element_oid = types["int8"].array_oid, types["int8"].oid


@pytest.mark.parametrize(
    ("dumper", "value", "text"),
    [
        (TagsDumper, Tags(["a", 'b "c"']), b'{a,"b \\"c\\""}'),
        (TagsDumper, Tags([1, 70_000]), b"{1,70000}"),
        (TagsDumper, Tags(), b"{}"),
        (TagsDumper, Tags([None]), b"{NULL}"),
        (UpperTagsDumper, Tags([["a", None], ["b c", "null"]]), b'{{A,NULL},{"B C","NULL"}}'),
        (UpperTagsDumper, Tags(), b"{}"),
        (LongsDumper, Tags([1, None]), b"{1,NULL}"),
        (LongsDumper, [1], b"{1}"),
        (LongsDumper, [], b"{}"),
    ],
)
def test_a_subclass_says_the_type_of_its_arrays(dumper: type[ListDumper], value: list[Any], text: bytes) -> None:
    """Whatever is in the list, and if nothing is."""
    tx = transformer()
    tx.adapters.register_dumper(type(value), dumper)
    for format in (PyFormat.AUTO, PyFormat.TEXT):
        assert dump(value, format, tx) == (text, dumper.oid, Format.TEXT)
    name = b"::int8[]" if dumper is LongsDumper else b"::text[]"
    assert tx.as_literal(value).endswith(name)


def test_a_binary_subclass_writes_items_of_its_type() -> None:
    tx = transformer()
    tx.adapters.register_dumper(Tags, LongsBinaryDumper)
    for value in (Tags([1, None, 2**40]), Tags(), Tags([None])):
        data, oid, format = dump(value, PyFormat.AUTO, tx)
        assert (oid, format) == (types["int8"].array_oid, Format.BINARY)
        assert load(bytes(data or b""), "int8[]", Format.BINARY) == value
    data, _, _ = dump(Tags([1]), PyFormat.AUTO, tx)
    assert data == pack(">iiIiiiq", 1, 0, types["int8"].oid, 1, 1, 8, 1)


def test_sub_dumper() -> None:
    context = FakeConnection()
    dumper = ListDumper(list, context)
    assert dumper.sub_dumper is None
    # Not known yet: the items say it, of each list.
    assert dumper.dump([1, None]) == b"{1,NULL}"
    assert dumper.dump(["a b"]) == b'{"a b"}'
    assert dumper.dump([None]) == b"{NULL}"
    assert ListBinaryDumper(list, context).dump([1]) == pack(">iiIiiih", 1, 0, types["int2"].oid, 1, 1, 2, 1)
    upper = Upper(str, context)
    dumper.sub_dumper = upper
    assert dumper.sub_dumper is upper
    assert dumper.dump(["a", 'b "c']) == b'{A,"B \\"C"}'
    assert dumper.quote(["a"]) == b"'{A}'"
    # What is upgraded has the one of its items.
    upgraded = ListDumper(list, context).upgrade([1], PyFormat.TEXT)
    assert isinstance(upgraded, ListDumper)
    assert isinstance(upgraded.sub_dumper, Int2Dumper)
    assert upgraded.oid == types["int2"].array_oid


def test_another_sub_dumper_quotes_what_it_writes() -> None:
    class Ints(ListDumper):
        oid, element_oid = types["int4"].array_oid, types["int4"].oid

    dumper = Ints(list)
    assert isinstance(dumper.sub_dumper, Int4Dumper)
    dumper.sub_dumper = Upper(str)
    assert dumper.dump(["a,b"]) == b'{"A,B"}'
    dumper.sub_dumper = None
    assert dumper.dump([5]) == b"{5}"


def test_a_sub_dumper_of_the_other_format_is_refused() -> None:
    dumper = ListBinaryDumper(list)
    dumper.sub_dumper = Int4Dumper(int)
    with pytest.raises(DataError, match="ListBinaryDumper cannot take what Int4Dumper writes: the formats differ"):
        dumper.dump([1])


@pytest.mark.anyio
async def test_arrays_of_subclasses_on_the_server(conn: AsyncConnection[Any]) -> None:
    for dumper, value, expected in (
        (TagsDumper, Tags(["a", 'b "c']), ["a", 'b "c']),
        (TagsDumper, Tags(), []),
        (UpperTagsDumper, Tags(["a"]), ["A"]),
        (LongsBinaryDumper, Tags([1, None]), [1, None]),
    ):
        conn.adapters.register_dumper(Tags, dumper)
        cur = await conn.execute("select pg_typeof(%s)::text, %s", (value, value))
        name = "bigint[]" if dumper is LongsBinaryDumper else "text[]"
        assert await cur.fetchone() == (name, expected)


@pytest.mark.parametrize("wrong", [None, 3, "int4"])
def test_no_info(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"TypeInfo\.fetch\(\)"):
        register_array(wrong, AdaptersMap(adapters))
