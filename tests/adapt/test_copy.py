"""Rows of COPY: what is written for them, and what is read."""

from __future__ import annotations

import datetime as dt
import re
import struct
from collections import OrderedDict, namedtuple
from collections.abc import Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from anyq.adapt import Dumper, Loader, Transformer
from anyq.adapt.copy import BINARY_HEADER, BINARY_TRAILER, RowFormatter, RowParser
from anyq.errors import DataError, ProgrammingError
from anyq.postgres import types
from anyq.types.json import Jsonb
from anyq.types.numeric import Int2, Int4
from tests.support.values import transformer

UTC = dt.timezone.utc


def text(*rows: Any, types: Sequence[int | str] | None = None, tx: Transformer | None = None) -> bytes:
    return written(False, rows, types, tx)


def binary(*rows: Any, types: Sequence[int | str] | None = None, tx: Transformer | None = None) -> bytes:
    return written(True, rows, types, tx)


def written(
    binary: bool, rows: Sequence[Any], types: Sequence[int | str] | None = None, tx: Transformer | None = None
) -> bytes:
    formatter = RowFormatter(tx or transformer(), binary)
    if types is not None:
        formatter.set_types(types)
    out = bytearray()
    for row in rows:
        formatter.format_row(row, out)
    return bytes(out)


def read(
    chunks: Sequence[bytes],
    binary: bool = False,
    types: Sequence[int | str] | None = None,
    tx: Transformer | None = None,
    columns: int | None = None,
) -> list[Any]:
    parser = RowParser(tx or transformer(), binary, columns)
    if types is not None:
        parser.set_types(types)
    rows: list[Any] = []
    for chunk in chunks:
        rows += parser.parse(chunk)
    assert parser.finish() == []
    return rows


# -- writing


def test_text() -> None:
    assert text((1, "a", None, True, 1.5), (2, "b\tc", 'd"', False, -0.0)) == (
        b'1\ta\t\\N\tt\t1.5\n2\tb\\tc\td"\tf\t-0.0\n'
    )
    assert text((dt.date(2020, 1, 2), dt.timedelta(1), UUID(int=1), b"\0\\", Decimal("1E-7"))) == (
        b"2020-01-02\t+1 days +0 seconds +0 microseconds\t00000000-0000-0000-0000-000000000001\t\\\\x005c\t1E-7\n"
    )
    assert text(([1, None, 3], ["a,b", "\\", "\n"])) == b'{1,NULL,3}\t{"a,b","\\\\\\\\","\\n"}\n'


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ("\\N", b"\\\\N"),
        ("\\.", b"\\\\."),
        (None, b"\\N"),
        ("", b""),
        ("\t\n\r\b\v\f\\", b"\\t\\n\\r\\b\\v\\f\\\\"),
        ("a\r\nb", b"a\\r\\nb"),
        ("\\x41\\101", b"\\\\x41\\\\101"),
        ("\x01\x7f\x1f\x0e", b"\x01\x7f\x1f\x0e"),
        ("\xe9\u20ac\U0001f418\\\xe9", "\xe9\u20ac\U0001f418\\\\\xe9".encode()),
        ("abcdefg\\hijklmnopqrstuvwxyz\n", b"abcdefg\\\\hijklmnopqrstuvwxyz\\n"),
    ],
)
def test_text_is_escaped(value: str | None, field: bytes) -> None:
    assert text((value,)) == field + b"\n"
    assert text((1, value, value)) == b"1\t" + field + b"\t" + field + b"\n"
    assert text((value,), types=["text"]) == field + b"\n"
    assert read([field + b"\n"]) == [(value,)]


def test_binary() -> None:
    assert binary((1, "a", None)) == b"\0\3" + b"\0\0\0\2\0\1" + b"\0\0\0\1a" + b"\xff\xff\xff\xff"
    assert binary((1, "a", None), types=["int8", "varchar", "bool"]) == (
        b"\0\3" + b"\0\0\0\x08" + bytes(7) + b"\1" + b"\0\0\0\1a" + b"\xff\xff\xff\xff"
    )
    assert binary(([1],)) == b"\0\1" + b"\0\0\0\x1a" + struct.pack("!iiIiiih", 1, 0, types["int2"].oid, 1, 1, 2, 1)


@pytest.mark.parametrize(
    "number", ["0.0001", "0.0000", "1e-20", "NaN", "0", "1.50", "-123456789.000001", "1e20", "10000", "9999.9999", "-0"]
)
def test_numeric(number: str) -> None:
    value = Decimal(number)
    for column in (value, [value, None]):
        name = "numeric[]" if isinstance(column, list) else "numeric"
        data = BINARY_HEADER + binary((column,)) + BINARY_TRAILER
        assert data == BINARY_HEADER + binary((column,), types=[name]) + BINARY_TRAILER
        for back in (read([data], True, [name]), read([text((column,))], False, [name])):
            assert repr(back).replace("'-0'", "'0'").replace("1E+20", "1" + "0" * 20) == repr([(column,)]).replace(
                "'-0'", "'0'"
            ).replace("1E+20", "1" + "0" * 20)


@pytest.mark.parametrize("form", [text, binary])
def test_no_columns(form: Any) -> None:
    assert form((), []) == {text: b"\n\n", binary: b"\0\0\0\0"}[form]
    assert form((), types=[]) == {text: b"\n", binary: b"\0\0"}[form]


Pair = namedtuple("Pair", "a b")


@pytest.mark.parametrize(
    "row", [[1, "a"], Pair(1, "a"), iter((1, "a")), (x for x in (1, "a")), OrderedDict({1: 0, "a": 0}).keys()], ids=type
)
def test_what_is_a_row(row: Any) -> None:
    if isinstance(row, type({}.keys())):
        row = list(row)
    assert text(row) == b"1\ta\n"


@pytest.mark.parametrize("row", ["ab", b"ab", bytearray(b"ab"), memoryview(b"ab"), {"a": 1}, {1, 2}, 5, None, object()])
@pytest.mark.parametrize("form", [text, binary])
def test_what_is_no_row(form: Any, row: Any) -> None:
    with pytest.raises(TypeError, match="a row of a COPY should be a sequence of values, got"):
        form(row)


@pytest.mark.parametrize("is_binary", [False, True])
@pytest.mark.parametrize("row", [(), (1,), (1, 2, 3)])
def test_rows_of_another_width(is_binary: bool, row: tuple[Any, ...]) -> None:
    formatter = RowFormatter(transformer(), is_binary, 2)
    out = bytearray(b"before")
    with pytest.raises(DataError, match=rf"the row has {len(row)} values, and the COPY 2 columns"):
        formatter.format_row(row, out)
    formatter = RowFormatter(transformer(), is_binary)
    formatter.set_types(["int4", "int4"])
    with pytest.raises(DataError, match=rf"the row has {len(row)} values, and the COPY 2 columns"):
        formatter.format_row(row, out)
    assert out == b"before"


def test_more_columns_than_there_are() -> None:
    with pytest.raises(DataError, match="no table has so many"):
        binary((None,) * 0x8000)


@pytest.mark.parametrize("is_binary", [False, True])
@pytest.mark.parametrize("value", ["a\0b", "\0", "\ud800", "a" * 100 + "\0", "\xe9\0", "\u20ac\udc80"])
def test_text_that_cannot_be(is_binary: bool, value: str) -> None:
    for types_ in (None, ["int4", "text"]):
        formatter = RowFormatter(transformer(), is_binary)
        if types_ is not None:
            formatter.set_types(types_)
        out = bytearray(b"before")
        with pytest.raises(DataError, match=r"column 2: text in PostgreSQL cannot contain (NUL|lone)"):
            formatter.format_row((1, value), out)
        assert out == b"before"
        formatter.format_row((1, "a"), out)
        assert len(out) > 8


@pytest.mark.parametrize(
    ("type", "value"),
    [
        *[(f"int{size}", sign * 2 ** (8 * size - 1) - (sign < 0)) for size in (2, 4, 8) for sign in (1, -1)],
        ("int2", 70_000),
        ("oid", -1),
        ("oid", 2**32),
        ("int4", 1.5),
        ("int4", "5"),
        ("int4", b"5"),
        ("int8", Decimal(1)),
        ("float8", "1.5"),
        ("float8", 10**400),
        ("float4", 1e300),
        ("text", 5),
        ("text", b"a"),
        ("bytea", "a"),
        ("bytea", 5),
        ("bool", "f"),
        ("bool", b"t"),
        ("date", "2020-01-01"),
        ("date", 5),
        ("date", dt.datetime(2020, 1, 1, tzinfo=UTC)),
        ("time", dt.date(2020, 1, 1)),
        ("timestamp", dt.datetime(2020, 1, 1, tzinfo=UTC)),
        ("timestamptz", dt.datetime(2020, 1, 1)),
        ("timestamptz", dt.date(2020, 1, 1)),
        ("interval", 5),
        ("uuid", "00000000-0000-0000-0000-000000000001"),
        ("numeric", "1"),
        ("int4[]", [2**31]),
        ("int4[]", 5),
        ("int4[]", ["a"]),
        ("int4[]", [[1], [2, 3]]),
    ],
)
def test_values_that_do_not_fit_the_type_that_was_set(type: str, value: Any) -> None:
    formatter = RowFormatter(transformer(), True)
    formatter.set_types(["text", type])
    out = bytearray(b"before")
    with pytest.raises(DataError, match=r"^column 2: "):
        formatter.format_row(("a", value), out)
    assert out == b"before"
    formatter.format_row(("a", None), out)
    assert out == b"before" + b"\0\2" + b"\0\0\0\1a" + b"\xff\xff\xff\xff"


def test_values_that_fit_no_type() -> None:
    """Without types that were set."""
    for value, form in ((Int2(70_000), binary), (Int4(2**31), binary), (Int2(70_000), binary)):
        with pytest.raises(DataError, match=r"column 2: a value of type Int\d does not fit int\d: it is out of range$"):
            form((None, value))
    with pytest.raises(ProgrammingError, match=r"column 1: cannot adapt type 'dict'"):
        text(({},))
    with pytest.raises(DataError, match=r"column 3: .*mixed types"):
        text((1, 2, [1, "a"]))


def test_what_to_do_about_a_value_that_does_not_fit() -> None:
    for type, value in (("int2", 2**15), ("int4", -(2**31) - 1), ("int8", 2**63), ("oid", -1)):
        with pytest.raises(DataError, match=f"a value of type int does not fit {type}: it is out of range$"):
            binary((value,), types=[type])
    wrong: Any
    for type, wrong, right in (("uuid", "x", "UUID"), ("text", 1, "str"), ("date", "x", "date"), ("int4", "x", "int")):
        for form in (text, binary):
            if (type, form) != ("uuid", text):
                with pytest.raises(DataError, match=f"does not fit {type}: convert it to {right} first$"):
                    form((wrong,), types=[type])
    for type, wrong, what in (
        ("bytea", "x", "it to bytes first"),
        ("inet", 5, "it to ip_address() or ip_interface() first"),
        ("cidr", "x", "it to ip_network() first"),
        ("text", ["x"], "it to str first"),
        ("int4range", 5, "it to Range first"),
        ("text[]", [5], "its items first (a value of type int does not fit text: convert it to str first)"),
        ("int4[]", [[1], [2**31]], "its items first (a value of type int does not fit int4: it is out of range)"),
        ("oid[]", [-1], "its items first (a value of type int does not fit oid: it is out of range)"),
    ):
        with pytest.raises(DataError, match=rf"does not fit {re.escape(type)}: convert {re.escape(what)}$"):
            binary((wrong,), types=[type])
    for wrong in (5, "12", b"12", {1: 2}, {1}, None.__class__):
        with pytest.raises(
            DataError, match=rf"a value of type {wrong.__class__.__name__} is no array: convert it to a"
        ):
            binary((wrong,), types=["int4[]"])


def test_integers_go_by_their_size() -> None:
    sizes = [
        struct.unpack_from("!i", binary((value,)), 2)[0]
        for value in (0, 2**15 - 1, -(2**15), 2**15, -(2**15) - 1, 2**31, -(2**31), 2**31 - 1, 2**63 - 1, -(2**63))
    ]
    assert sizes == [2, 2, 2, 4, 4, 8, 4, 4, 8, 8]
    assert binary((2**63,)) == binary((Decimal(2**63),))
    assert text((2**63, -(2**200))) == f"{2**63}\t{-(2**200)}\n".encode()


def test_set_types() -> None:
    assert binary((1, [1]), types=["int4", "int4[]"]) == binary((Int4(1), [Int4(1)]))
    assert binary((1, [1]), types=[types["int4"].oid, types["int4"].array_oid]) == binary((Int4(1), [Int4(1)]))
    assert binary((1, 1.0, 2), types=["numeric", "numeric", "float8"]) == binary((Decimal(1), Decimal("1.0"), 2.0))
    assert binary(({"a": 1},), types=["jsonb"]) == binary((Jsonb({"a": 1}),))
    assert text(({"a": "\n"},), types=["jsonb"]) == b'{"a": "\\\\n"}\n'
    formatter = RowFormatter(transformer(), True, 2)
    formatter.set_types(["int4", "int4"])
    formatter.set_types(["int8", "int2"])
    out = bytearray()
    formatter.format_row((1, 1), out)
    assert len(out) == 2 + 12 + 6


@pytest.mark.parametrize("side", [RowFormatter, RowParser])
@pytest.mark.parametrize("is_binary", [False, True])
def test_types_that_cannot_be_set(side: Any, is_binary: bool) -> None:
    for unknown in (["int4", "nonsense"], ["nonsense[]", "int4"], [4_000_000_000, "int4"], [-1, "int4"]):
        with pytest.raises(ProgrammingError, match="unknown|no type that is known"):
            side(transformer(), is_binary).set_types(unknown)
    for wrong in ("int4", b"int4", 5, None, [None], [True], [int], [1.5]):
        with pytest.raises(TypeError, match=r"set_types\(\) takes"):
            side(transformer(), is_binary).set_types(wrong)
    for number in ([], ["int4"], ["int4"] * 3):
        one = side(transformer(), is_binary, 2)
        with pytest.raises(ProgrammingError, match=rf"set_types\(\) got {len(number)} types, and the COPY has 2 col"):
            one.set_types(number)


def test_dumpers_of_the_users() -> None:
    tx = transformer()

    class Loud(Dumper):
        def dump(self, obj: str) -> bytes | bytearray | memoryview | None:
            if obj == "error":
                raise KeyError("mine")
            loud = obj.upper().encode()
            return {"null": None, "view": memoryview(loud), "array": bytearray(loud)}.get(obj, loud)

    out = bytearray()
    formatter = RowFormatter(tx, False)
    formatter.format_row(("a", 1), out)
    tx.adapters.register_dumper(str, Loud)
    formatter.format_row(("a\n", 1), out)
    formatter.format_row(("null", "view", "array"), out)
    assert out == b"a\t1\nA\\n\t1\n\\N\tVIEW\tARRAY\n"
    with pytest.raises(KeyError, match="mine"):
        formatter.format_row((1, "error"), out)
    assert out == b"a\t1\nA\\n\t1\n\\N\tVIEW\tARRAY\n"


def test_dumpers_run_once_for_a_value() -> None:
    tx = transformer()
    seen: list[str] = []

    class Counting(Dumper):
        def dump(self, obj: str) -> bytes:
            seen.append(obj)
            return obj.encode()

    tx.adapters.register_dumper(str, Counting)
    for is_binary in (False,):
        with pytest.raises(ProgrammingError, match="column 3"):
            RowFormatter(tx, is_binary).format_row(("a", "b", {}), bytearray())
    assert seen == ["a", "b"]


@pytest.mark.parametrize("encoding", ["latin-1", "shift_jis", "gbk", "big5", "gb18030", "euc_jp", "ascii"])
def test_encodings(encoding: str) -> None:
    tx = transformer(encoding)
    value = {"latin-1": "\xe9\\", "ascii": "\\"}.get(encoding, "\u8868\\\n\u80fd\u529f\xd7\t\\N")
    data = text((value, "a\\", [value]), tx=tx)
    assert value.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t").encode(encoding) in data
    expected = (value.encode(), b"a\\", [value.encode()]) if encoding == "ascii" else (value, "a\\", [value])
    assert read([data], types=["text", "text", "text[]"], tx=tx) == [expected]
    data = BINARY_HEADER + binary((value,), tx=tx) + BINARY_TRAILER
    assert read([data], True, ["text"], tx=tx) == [expected[:1]]


def test_a_character_that_the_encoding_has_not() -> None:
    for form in (text, binary):
        with pytest.raises(DataError, match="column 2: the client encoding .* has no character"):
            form((1, "\u20ac"), tx=transformer("latin-1"))


# -- reading


def test_text_is_str_and_binary_is_bytes() -> None:
    assert read([b"1\ta\t\\N\n", b"2\tb\tc\n"]) == [("1", "a", None), ("2", "b", "c")]
    assert read([BINARY_HEADER, binary((1, None)), binary((2, "b")) + BINARY_TRAILER], True) == [
        (b"\0\1", None),
        (b"\0\2", b"b"),
    ]
    assert read([]) == read([b""]) == []
    assert read([BINARY_HEADER + BINARY_TRAILER], True) == []
    # Of a type that has none, too: what it says is not how the server writes it as text.
    data = BINARY_HEADER + binary((1, 2)) + BINARY_TRAILER
    assert read([data], True, types=["money", "regclass"]) == [(b"\0\1", b"\0\2")]


def test_columns_that_there_are_none_of() -> None:
    assert read([b"\n", b"\n\n"], columns=0) == read([b"\n\n\n"], types=[], columns=0) == [(), (), ()]
    assert read([b"\n"], columns=1) == read([b"\n"]) == [("",)]
    assert read([BINARY_HEADER, b"\0\0", b"\0\0" + BINARY_TRAILER], True) == [(), ()]


VALUES = (
    -(2**31),
    "a\\\t\n\u20ac\U0001f418\\N",
    None,
    dt.datetime(2020, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC),
    1e-20,
    Decimal("0.0001"),
    [1, None],
    ["\\", '"', "\n,"],
    b"\0\\\xff",
    True,
    dt.date(1, 1, 1),
    UUID(int=2**127),
    dt.timedelta(days=-1, microseconds=1),
)
TYPES = ["int4", "text", "text", "timestamptz", "float8", "numeric", "int4[]", "text[]"]
TYPES += ["bytea", "bool", "date", "uuid", "interval"]


@pytest.mark.parametrize("is_binary", [False, True])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 50, 1000])
def test_there_and_back_in_pieces(is_binary: bool, size: int) -> None:
    data = written(is_binary, [VALUES, VALUES, (None,) * len(VALUES)], TYPES)
    if is_binary:
        data = BINARY_HEADER + data + BINARY_TRAILER
    elif TYPES[-1] == "interval":
        # What the server writes and what it reads are not the same for this type.
        data = data.replace(b"+-1 days +0 seconds +1 microseconds", b"").replace(
            b"-1 days +0 seconds +1 microseconds", b"-1 days +00:00:00.000001"
        )
    chunks = [data[i : i + size] for i in range(0, len(data), size)]
    assert read(chunks, is_binary, TYPES) == [VALUES, VALUES, (None,) * len(VALUES)]


@pytest.mark.parametrize("is_binary", [False, True])
def test_a_value_that_cannot_be_loaded(is_binary: bool) -> None:
    """The rows before it come first, then its error, and then those behind it."""
    parser = RowParser(transformer(), is_binary)
    parser.set_types(["int4", "date"])
    bad = (1, dt.date(2020, 1, 1))
    rows = written(is_binary, [bad], ["int4", "date"])
    if is_binary:
        wrong = b"\0\2" + b"\0\0\0\4" + bytes(4) + b"\0\0\0\3abc"
        data = BINARY_HEADER + rows + wrong + rows + wrong + wrong + rows + BINARY_TRAILER
    else:
        data = rows + b"1\tabc\n" + rows + b"1\tabc\n" * 2 + rows
    assert parser.parse(data) == [bad]
    with pytest.raises(DataError, match=r"cannot load the value b'abc'.*|column 2"):
        parser.parse(b"")
    assert parser.parse(b"") == [bad]
    for _ in range(2):
        with pytest.raises(DataError, match="column 2"):
            parser.parse(b"")
    assert parser.finish() == [bad]
    assert parser.finish() == []


@pytest.mark.parametrize("is_binary", [False, True])
def test_a_value_that_cannot_be_loaded_comes_last_or_alone(is_binary: bool) -> None:
    parser = RowParser(transformer(), is_binary)
    parser.set_types(["int4"])
    wrong = b"\0\1\0\0\0\1a" if is_binary else b"a\n"
    good = written(is_binary, [(5,)], ["int4"])
    for chunk in (BINARY_HEADER, good, b"") if is_binary else (good, b""):
        assert parser.parse(chunk) == ([(5,)] if chunk == good else [])
    for _ in range(2):
        with pytest.raises(DataError, match="column 1"):
            parser.parse(wrong)
    assert parser.parse(good + wrong) == [(5,)]
    with pytest.raises(DataError, match="column 1"):
        parser.parse(good)
    assert parser.parse(BINARY_TRAILER if is_binary else b"") == [(5,)]
    assert parser.finish() == []


def test_loaders_of_the_users() -> None:
    tx = transformer()

    class Odd(Loader):
        def load(self, data: bytes) -> Any:
            if data == b"error":
                raise KeyError("mine")
            return ("odd", data)

    parser = RowParser(tx, False)
    parser.set_types(["text", "int4"])
    assert parser.parse(b"a\t1\n") == [("a", 1)]
    tx.adapters.register_loader("text", Odd)
    assert parser.parse(b"a\t1\nb\\\\\t\\N\n") == [(("odd", b"a"), 1), (("odd", b"b\\"), None)]
    assert parser.parse(b"a\t1\nerror\t5\nc\t7\n") == [(("odd", b"a"), 1)]
    with pytest.raises(KeyError, match="mine"):
        parser.parse(b"d\t8\n")
    assert parser.parse(b"") == [(("odd", b"c"), 7), (("odd", b"d"), 8)]


def test_types_for_another_number_of_columns() -> None:
    for data, is_binary in ((b"1\t2\n", False), (BINARY_HEADER + binary((1, 2)), True)):
        parser = RowParser(transformer(), is_binary)
        parser.set_types(["int4"])
        with pytest.raises(ProgrammingError, match=r"the rows of the COPY have 2 columns, and set_types\(\) got 1"):
            parser.parse(data)
        with pytest.raises(ProgrammingError, match=r"set_types\(\) got 1 types, and the COPY has 2 columns"):
            parser.set_types(["int4"])
        parser.set_types(["int2", "int2"])
        assert parser.parse(data.removeprefix(BINARY_HEADER)) == [(1, 2)]


@pytest.mark.parametrize(
    ("data", "is_binary", "where"),
    [
        (b"a\tb", False, "within a row"),
        (b"a\nb\\", False, "within a row"),
        (b"", True, "within its header"),
        (BINARY_HEADER[:-1], True, "within its header"),
        (BINARY_HEADER, True, "without its trailer"),
        (BINARY_HEADER + b"\0", True, "within a row"),
        (BINARY_HEADER + b"\0\1\0\0\0\5abc", True, "within a row"),
        (BINARY_HEADER + b"\0\1\0\0\0\3abc", True, "without its trailer"),
        (BINARY_HEADER + b"\x7f\xff" + bytes(50), True, "within a row"),
    ],
)
def test_truncated(data: bytes, is_binary: bool, where: str) -> None:
    for chunks in ([data], [bytes((byte,)) for byte in data]):
        with pytest.raises(DataError, match=f"truncated: it ends {where}"):
            read(chunks, is_binary)


@pytest.mark.parametrize("size", [1, 1000])
def test_malformed_is_told_behind_the_rows_and_again(size: int) -> None:
    for data, is_binary in (
        (b"a\tb\nc\nd\te\n", False),
        (b"a\tb\n\\.\nd\te\n", False),
        (b"a\tb\nd\te\\\n", False),
        (BINARY_HEADER + binary(("a", "b")) + BINARY_TRAILER + b"\0", True),
        (BINARY_HEADER + binary(("a", "b")) + b"\0\2\xff\xff\xff\xfe", True),
        (BINARY_HEADER + binary(("a", "b"), ("c",)), True),
    ):
        parser = RowParser(transformer(), is_binary)
        parser.set_types(["text", "text"])
        rows: list[Any] = []
        with pytest.raises(DataError, match=r"malformed|escape"):
            for i in range(0, len(data), size):
                rows += parser.parse(data[i : i + size])
            parser.parse(b"")
        assert rows == [("a", "b")]
        for _ in range(2):
            with pytest.raises(DataError, match=r"malformed|escape"):
                parser.parse(b"a\tb\n")
            with pytest.raises(DataError, match=r"malformed|escape"):
                parser.finish()


def test_text_that_is_not_in_the_encoding() -> None:
    with pytest.raises(DataError, match="column 2"):
        read([b"a\t\xff\n"])
    with pytest.raises(DataError, match="NUL"):
        read([b"a\t\\000\n"])


def test_a_field_of_many_backslashes() -> None:
    """Of 1 MB here: it is the time that would tell if it took its square."""
    value = "\\" * 1_000_000
    data = text((value, 1))
    assert data == b"\\" * 2_000_000 + b"\t1\n"
    for size in (len(data), 4096):
        assert read([data[i : i + size] for i in range(0, len(data), size)]) == [(value, "1")]
    wide = transformer("shift_jis")
    data = text(("\u8868" + value,), tx=wide)
    assert read([data], tx=wide) == [("\u8868" + value,)]
    assert read([b"\\x41" * 100_000 + b"\n"]) == [("A" * 100_000,)]


def test_a_long_value_in_single_bytes() -> None:
    value = "abc\\" * 10_000
    for is_binary in (False, True):
        data = written(is_binary, [(value, None)])
        if is_binary:
            data = BINARY_HEADER + data + BINARY_TRAILER
        chunks = [bytes((byte,)) for byte in data]
        assert read(chunks, is_binary, ["text", "text"]) == [(value, None)]


def test_many_columns_in_single_bytes() -> None:
    row = tuple(["a"] * 1600)
    for is_binary in (False, True):
        data = written(is_binary, [row] * 3)
        if is_binary:
            data = BINARY_HEADER + data + BINARY_TRAILER
        assert read([bytes((byte,)) for byte in data], is_binary, ["text"] * 1600) == [row] * 3
