"""What a load function raises and a dump function returns, and what is raised for it."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from anyq._accel import compile_load, load_rows
from anyq._accel.failures import dumped_bytes, load_failure, shown
from anyq.adapt import Dumper, Format, Loader, PyFormat, Transformer
from anyq.adapt.copy import RowFormatter
from anyq.errors import DataError, NotSupportedError, ProgrammingError
from anyq.postgres import types
from anyq.types import TypeInfo
from anyq.types.composite import CompositeInfo, register_composite
from anyq.types.json import set_json_loads
from anyq.types.range import Range, RangeInfo, register_range
from tests.support.twins import Context

#: Values that are malformed, of each type that has a loader.
MALFORMED: dict[tuple[str, int], list[bytes]] = {
    ("bool", 0): [b"", b"x", b"true"],
    ("bool", 1): [b"", b"\2", b"\0\0"],
    ("text", 0): [b"\xff", b"a\xc3", b"\xed\xa0\x80"],
    ("text", 1): [b"\xff"],
    ("bytea", 0): [b"\\x1", b"\\xzz", b"\\x\xff\xff"],
    ("int4", 0): [b"", b"x", b"\xd9\xa1", b"1" * 5001, b"\xff"],
    ("int2", 1): [b"", b"\0", b"\0\0\0"],
    ("int4", 1): [b"", b"\0\0\0", b"\0\0\0\0\0"],
    ("int8", 1): [b"\0"],
    ("oid", 1): [b"\0"],
    ("xid8", 1): [b"\0"],
    ("float4", 0): [b"", b"x", b"1e40", b"\xff"],
    ("float8", 0): [b"", b"1,5"],
    ("float4", 1): [b"\0"],
    ("float8", 1): [b"\0"],
    ("numeric", 0): [b"", b"1-2", b"x", b"\xff", b"1e99999999999999999999"],
    ("numeric", 1): [
        b"",
        b"\0\1\0\0\0\0\0\0",
        b"\0\0\0\0\1\0\0\0",
        b"\0\0\0\0\0\0\xff\xff",
        b"\0\1\0\0\0\0\0\0\x7f\xff",
        b"\0" * 9,
        b"\0" * 6 + b"\x7f\0",
    ],
    ("uuid", 0): [b"", b"g" * 32, b"0" * 33, b"\xff" * 36, b"0" * 100_000],
    ("uuid", 1): [b"", b"0" * 15, b"0" * 17],
    ("inet", 0): [b"", b"1.2.3.256", b"1.2.3.4/33", b"1.2.3.4.5", b"01.2.3.4", b"::g", b"\xff", b"1" * 100_000],
    ("inet", 1): [b"", b"\2\x20\0\4\0\0\0", b"\3\x20\0\4\0\0\0\0", b"\2\x21\0\4\0\0\0\0"],
    ("cidr", 0): [b"", b"10.0.0.1/8", b"::%1/0"],
    ("cidr", 1): [b"", b"\2\x08\1\4\1\2\3\4"],
    ("macaddr", 0): [b"\xff"],
    ("macaddr", 1): [b"", b"\0" * 7],
    ("bit", 1): [b"", b"\0\0\0\1", b"\x80\0\0\0", b"\0\0\0\x09\0"],
    ("point", 0): [b"", b"(1,2", b"(1,2)" * 10_000, b"(a,b)", b"(1,%b)" % (b"a" * 10_000)],
    ("point", 1): [b"", b"\0" * 15],
    ("line", 0): [b"", b"{1,2}"],
    ("line", 1): [b"", b"\0" * 23],
    ("lseg", 0): [b"", b"[(1,2)]"],
    ("lseg", 1): [b"", b"\0" * 31],
    ("box", 0): [b"", b"(1,2)"],
    ("box", 1): [b"", b"\0" * 31],
    ("path", 0): [b"", b"[(1,2))", b"((1,2),)"],
    ("path", 1): [b"", b"\1\0\0\0\1", b"\1\x7f\xff\xff\xff"],
    ("polygon", 0): [b"", b"[(1,2)]"],
    ("polygon", 1): [b"", b"\0\0\0\1", b"\xff\xff\xff\xff"],
    ("circle", 0): [b"", b"<1,2,3>"],
    ("circle", 1): [b"", b"\0" * 23],
    ("char", 0): [b"\xc3\xa9"],
    ("char", 1): [b"", b"ab"],
    ("tid", 1): [b"", b"\0" * 7],
    ("pg_lsn", 1): [b"", b"\0" * 7],
    ("pg_snapshot", 1): [b"", b"\xff" * 20, b"\0" * 21, b"\0\0\0\2" + b"\0" * 24],
    ("oidvector", 1): [b"", b"\0\0\0\1\0\0\0\0\0\0\0\x17" + b"\0" * 8],
    ("void", 1): [b"\xff"],
    ("tsvector", 1): [b"", b"\0\0\0\1a", b"\0\0\0\1a\0\0\1", b"\x7f\xff\xff\xff"],
    ("tsquery", 1): [b"", b"\0\0\0\1\3", b"\0\0\0\1\2\1", b"\0\0\0\2\1\0\0a\0\1\0\0a\0"],
    ("jsonpath", 1): [b"", b"\2$"],
    ("xml", 1): [b"\xff"],
    ("json", 0): [
        b"",
        b"{",
        b"\xff",
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b"1" * 5001,
        b"\xef\xbb\xbf1",
        b'"\\ud"',
    ],
    ("json", 1): [b"", b"nul"],
    ("jsonb", 0): [b"", b"1 2"],
    ("jsonb", 1): [b"", b"\2{}", b"\1", b"\1\xff", b"\1" + b"9" * 5001, b"\1" + b'{"a":' * 4000],
    ("date", 0): [b"", b"\xff", b"2000-13-01", b"9" * 5000 + b"-01-01", b"9" * 100_000, b"2000-01-01" * 1000],
    ("date", 1): [b"", b"\x7f\xff\xff\xff"],
    ("time", 0): [b"", b"25:00:00", b"24:00:00", b"\xff"],
    ("time", 1): [b"", b"\xff" * 8],
    ("timetz", 0): [b"", b"10:00:00+99", b"\xff"],
    ("timetz", 1): [b"", b"\0" * 8 + b"\x7f\xff\xff\xff", b"\0" * 8 + b"\0\1\x51\x80"],
    ("timestamp", 0): [b"", b"10000-01-01 00:00:00", b"9" * 5000 + b"-01-01 00:00:00"],
    ("timestamp", 1): [b"", b"\x7f" + b"\xff" * 7],
    ("timestamptz", 0): [b"", b"2000-01-01 00:00:00+9", b"2000-01-01 00:00:00 XYZ"],
    ("timestamptz", 1): [b"", b"\x7f" + b"\xff" * 7],
    ("interval", 0): [b"", b"x", b"9" * 5000 + b" days", b"1" * 4000 + b" years", b"P" + b"1" * 5000 + b"Y"],
    ("interval", 1): [b"", b"\0" * 15, b"\0" * 8 + b"\x7f\xff\xff\xff" * 2],
    ("int4[]", 0): [b"", b"{", b"{1,x}", b"{1" * 100, b'{"\xff"}', b"[1:2", b'{"' + b'\\"' * 5000],
    ("int4[]", 1): [b"", b"\0\0\0\1" + b"\0" * 7, b"\0\0\0\1\0\0\0\0\0\0\0\x17\x7f\xff\xff\xff\0\0\0\1"],
    ("text[]", 0): [b"{\xff}", b'{"a'],
    ("jsonb[]", 0): [b'{"{"}', b'{"' + b"[" * 10_000 + b'"}'],
    ("record", 0): [b"", b"(", b"(1", b'("', b"(1)x", b'("a"b")', b"(" + b'"' * 9999],
    ("record", 1): [b"", b"\0\0\0\1", b"\xff" * 4, b"\0\0\0\1\0\0\0\x17\0\0\0\4\0", b"\0\0\0\0\0"],
}
for _name in ("int4", "int8", "num", "date", "ts", "tstz"):
    MALFORMED[f"{_name}range", 0] = [b"", b"[", b"[x,)", b"[,", b'["', b"empt", b"[,))", b"[,,)", b"[" + b'"' * 9999]
    MALFORMED[f"{_name}range", 1] = [b"", b"\2", b"\2\0\0\0\1", b"\2\x7f\xff\xff\xff\0", b"\1\0", b"\x18\0"]
    MALFORMED[f"{_name}multirange", 0] = [b"", b"{", b"{x}", b"{[,)", b"{[,),}", b"{}}", b"{,}", b"{" + b"[" * 9999]
    MALFORMED[f"{_name}multirange", 1] = [b"", b"\0\0\0\1", b"\xff" * 4, b"\0\0\0\1\0\0\0\1\2", b"\0\0\0\0\0"]


def load_row(load: Callable[[bytes], Any], *values: bytes | None) -> Any:
    """Return what the first value of a row is loaded as."""
    rows: list[tuple[Any, ...]] = []
    try:
        load_rows([*values], 0, 1, [load] * len(values), rows)
    except Exception as ex:
        raise load_failure(load, values[0] or b"", ex)  # noqa: B904 (it has its cause, if it is another one)
    return rows[0][0]


def row_of(load: Callable[[bytes], Any], data: bytes) -> Any:
    return load_row(load, data, None)


def alone(load: Callable[[bytes], Any], data: bytes) -> Any:
    return load_row(load, data)


@pytest.mark.parametrize(("name", "format"), sorted(MALFORMED))
def test_a_malformed_value_is_a_data_error(name: str, format: int) -> None:
    load = Transformer(Context()).get_load_function(types.get_oid(name), format)
    for data in MALFORMED[name, format]:
        for way in (row_of, alone):
            with pytest.raises(DataError) as caught:
                way(load, data)
            # A message, and not the value.
            assert 10 < len(str(caught.value)) < 400


def test_every_type_has_malformed_values() -> None:
    tx = Transformer(Context())
    families = {type(tx.get_loader(types.get_oid(name), format)).__name__ for name, format in MALFORMED}
    used = {
        type(tx.get_loader(info.oid, format)).__name__
        for info in types
        for format in Format
        if tx.adapters.get_loader(info.oid, format) is not None
    }
    # Any bytes are text in SQL_ASCII and bytea in binary.
    assert used - families <= {"ByteaBinaryLoader"}


@pytest.mark.parametrize(
    ("encoding", "data"),
    [("gbk", b"\xff"), ("anyq_sjis", b"\x85\x40"), ("anyq_euc_jp", b"\xff"), ("iso8859-6", b"\xa1")],
)
@pytest.mark.parametrize("name", ["text", "json", "jsonb", "text[]", "json[]"])
def test_text_that_is_not_in_the_encoding(encoding: str, data: bytes, name: str) -> None:
    load = Transformer(Context(encoding=encoding)).get_load_function(types.get_oid(name), 0)
    with pytest.raises(DataError, match="codec can't decode"):
        alone(load, b'{"' + data + b'"}' if name.endswith("[]") else data)


def test_what_can_be_read_and_not_written_is_read_in_an_array() -> None:
    tx = Transformer(Context(encoding="anyq_big5"))
    assert alone(tx.get_load_function(types.get_oid("text[]"), 0), b'{"\xa1\x5a\\""}') == ['\u2574"']


@pytest.mark.parametrize("name", ["text", "json", "text[]"])
def test_text_in_an_encoding_without_a_codec(name: str) -> None:
    load = Transformer(Context(encoding="anyq_euc_tw")).get_load_function(types.get_oid(name), 0)
    with pytest.raises(NotSupportedError, match="EUC_TW"):
        alone(load, b'{"\xa4\xa4"}')


class Odd(Exception):
    """An exception of a user's."""


def test_an_exception_of_a_users_loader_is_left_alone() -> None:
    class Picky(Loader):
        def load(self, data: bytes) -> Any:
            raise error

    class PickyBinary(Picky):
        format = Format.BINARY

    context = Context()
    for loader in (Picky, PickyBinary):
        context.adapters.register_loader("int4", loader)
    tx = Transformer(context)
    array = b"\0\0\0\1\0\0\0\0\0\0\0\x17\0\0\0\1\0\0\0\1\0\0\0\4\0\0\0\7"
    for name, format, data in (("int4", 0, b"7"), ("int4[]", 0, b"{7}"), ("int4[]", 0, b"{{7}}"), ("int4[]", 1, array)):
        for error in (Odd(), ValueError("odd"), KeyError("odd"), UnicodeError("odd"), MemoryError(), RecursionError()):
            load = tx.get_load_function(types.get_oid(name), format)
            for way in (row_of, alone):
                with pytest.raises(type(error)) as caught:
                    way(load, data)
                assert caught.value is error


@pytest.mark.parametrize("name", ["json", "jsonb", "json[]"])
def test_an_exception_of_a_users_parser_is_left_alone(name: str) -> None:
    def loads(text: str) -> Any:
        raise error

    context = Context()
    set_json_loads(loads, context)
    load = Transformer(context).get_load_function(types.get_oid(name), 0)
    for error in (Odd(), ValueError("odd"), RecursionError()):
        with pytest.raises(type(error)) as caught:
            alone(load, b"{1}")
        assert caught.value is error
    with pytest.raises(DataError, match="cannot load"):
        alone(load, b"{\xff}")


def test_it_keeps_its_cause() -> None:
    load = Transformer(Context()).get_load_function(types.get_oid("float8"), 0)
    with pytest.raises(DataError, match="cannot load the value b'x'.*could not convert") as caught:
        alone(load, b"x")
    assert isinstance(caught.value.__cause__, ValueError)


def test_what_is_left_as_it_is() -> None:
    memory, data_error = MemoryError(), DataError("known")
    assert load_failure(int, b"", memory) is memory
    assert load_failure(int, b"", data_error) is data_error
    other = ValueError()
    assert load_failure(lambda data: data, b"", other) is other
    assert load_failure(compile_load(bytes.decode), b"", other) is other or compile_load(bytes.decode) is bytes.decode
    assert type(load_failure(bytes.decode, b"", other)) is DataError


def test_a_value_is_not_shown_whole() -> None:
    assert shown(b"ab") == "b'ab'"
    assert shown(b"a" * 1000) == f"b'{'a' * 40}' ... (1000 bytes)"


class Thing:
    pass


THING, RANGE, PAIR = 70_010, 70_020, 70_030


class ThingDumper(Dumper):
    oid = THING
    result: Any = None

    def dump(self, obj: Thing) -> Any:
        return self.result


class ThingBinaryDumper(ThingDumper):
    format = Format.BINARY


def with_things(result: Any) -> Transformer:
    """For objects whose dumpers return that."""
    context = Context()
    for dumper in (ThingDumper, ThingBinaryDumper):
        for cls in (Thing, None):
            context.adapters.register_dumper(cls, type(dumper.__name__, (dumper,), {"result": result}))
    TypeInfo("thing", THING, THING + 1).register(context)
    register_range(RangeInfo("things", RANGE, RANGE + 1, subtype_oid=THING), context)
    register_composite(CompositeInfo("pair", PAIR, PAIR + 1, field_names=["a"], field_types=[THING]), context, Pair)
    return Transformer(context)


class Pair(NamedTuple):
    a: Any


WAYS: dict[str, Callable[[Transformer], Any]] = {
    "parameter": lambda tx: tx.dump_sequence([Thing()], [PyFormat.TEXT]),
    "binary parameter": lambda tx: tx.dump_sequence([Thing()], [PyFormat.BINARY]),
    "array": lambda tx: tx.dump_sequence([[Thing()]], [PyFormat.TEXT]),
    "binary array": lambda tx: tx.dump_sequence([[Thing()]], [PyFormat.BINARY]),
    "nested array": lambda tx: tx.dump_sequence([[[Thing()], [Thing()]]], [PyFormat.TEXT]),
    "tuple": lambda tx: tx.dump_sequence([(Thing(),)], [PyFormat.TEXT]),
    "composite": lambda tx: tx.dump_sequence([Pair(Thing())], [PyFormat.TEXT]),
    "binary composite": lambda tx: tx.dump_sequence([Pair(Thing())], [PyFormat.BINARY]),
    "range": lambda tx: tx.dump_sequence([Range(Thing(), None)], [PyFormat.TEXT]),
    "binary range": lambda tx: tx.dump_sequence([Range(Thing(), None)], [PyFormat.BINARY]),
    "literal": lambda tx: tx.as_literal(Thing()),
    "literal of an array": lambda tx: tx.as_literal([Thing()]),
    "copy": lambda tx: RowFormatter(tx, binary=False).format_row([Thing()], bytearray()),
    "binary copy": lambda tx: RowFormatter(tx, binary=True).format_row([Thing()], bytearray()),
    "copy by type": lambda tx: copy_by_type(tx, binary=False),
    "binary copy by type": lambda tx: copy_by_type(tx, binary=True),
}
"""Each place where a dumper is asked for bytes."""


def copy_by_type(tx: Transformer, binary: bool) -> None:
    formatter = RowFormatter(tx, binary)
    formatter.set_types([THING])
    formatter.format_row([Thing()], bytearray())


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("result", "advice"), [("text", "text.encode"), (5, "as the server reads"), ([1], "as the ")])
def test_a_dumper_that_returns_no_bytes_is_named(way: str, result: Any, advice: str) -> None:
    """And an int is not taken for a number of bytes, nor a list for their values."""
    tx = with_things(result)
    message = rf"Thing(Binary)?Dumper\.dump\(\) returned {type(result).__name__}, and has to return bytes: .*{advice}"
    with pytest.raises(ProgrammingError, match=message):
        WAYS[way](tx)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("result", [b"value", bytearray(b"value"), memoryview(b"value"), array("h", [0x3132, 0x3334])])
def test_a_dumper_may_return_whatever_is_like_bytes(way: str, result: Any) -> None:
    WAYS[way](with_things(result))


def test_binary_values_from_a_view_of_wide_items() -> None:
    """Which are not as many as its bytes."""
    view = memoryview(array("h", [0x3132, 0x3334]))
    for value in ([Thing()], Pair(Thing()), Range(Thing(), None)):
        assert with_things(view).dump_sequence([value], [PyFormat.BINARY]) == with_things(bytes(view)).dump_sequence(
            [value], [PyFormat.BINARY]
        )


def test_a_quote_that_returns_no_bytes_is_named() -> None:
    class Quoting(ThingDumper):
        result = b"value"

        def quote(self, obj: Thing) -> Any:
            return "'value'"

    context = Context()
    context.adapters.register_dumper(Thing, Quoting)
    with pytest.raises(ProgrammingError, match=r"Quoting\.quote\(\) returned str, and has to return bytes"):
        Transformer(context).as_literal(Thing())


def test_a_dump_function_without_an_object_is_named() -> None:
    class Plain(ThingDumper):
        @staticmethod
        def dump(obj: Thing) -> Any:
            return "text"

    with pytest.raises(ProgrammingError, match=r"Plain\.dump\(\) returned str"):
        dumped_bytes(Plain(Thing).dump(Thing()), Plain(Thing).dump)
