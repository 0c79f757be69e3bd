"""The compiled loaders and dumpers of values that have values inside, against the ones in Python.

Everything below such a value is of the same implementation here, so that what is compared is one with the other, and
errors with them.
"""

from __future__ import annotations

import datetime as dt
import gc
import struct
import weakref
from collections import namedtuple
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from anyq._accel import python
from anyq._accel.failures import load_failure
from anyq.adapt import Loader, PyFormat, Transformer, transformer
from anyq.errors import DataError, ProgrammingError
from anyq.postgres import types
from anyq.types.composite import CompositeInfo, register_composite
from anyq.types.multirange import (
    DateMultirange,
    Int4Multirange,
    Multirange,
    MultirangeInfo,
    NumericMultirange,
    TimestamptzMultirange,
    register_multirange,
)
from anyq.types.numeric import Int4, Int8, IntNumeric
from anyq.types.range import (
    DateRange,
    Int4Range,
    Int8Range,
    NumericRange,
    Range,
    RangeInfo,
    TimestampRange,
    TimestamptzRange,
    register_range,
)
from anyq.types.string import StrDumper
from tests.support.twins import Context, outcome, twin_or_skip

dumping = twin_or_skip("dumping")
loading = twin_or_skip("loading")

INNER, OUTER, MADE, OBJECT, TEXTS, TEXTS_MULTI, EMPTY = range(70_000, 70_014, 2)
"""Oids, each of which has an array with the next one."""
INT4, TEXT, RECORD, RECORDS = (types.get_oid(name) for name in ("int4", "text", "record", "record[]"))


class Pair(NamedTuple):
    number: int | None
    text: str | None


Box = namedtuple("Box", "pair pairs span spans record")


@dataclass
class Thing:
    number: int | None
    text: str | None


def info(oid: int, *types_: int) -> CompositeInfo:
    names = [f"f{number}" for number in range(len(types_))]
    return CompositeInfo(f"t{oid}", oid, oid + 1, field_names=names, field_types=types_)


WITH_ARRAYS = (OUTER, INNER + 1, RECORD, RECORDS, TEXTS + 1)


def context(encoding: str = "utf-8") -> Context:
    made = Context(encoding=encoding)
    register_composite(info(INNER, INT4, TEXT), made, Pair)
    register_composite(info(OUTER, INNER, INNER + 1, TEXTS, types.get_oid("int4range[]"), RECORD), made, Box)
    register_composite(info(MADE, INT4, TEXT), made, make_object=lambda values, info: (info.name, values))
    register_composite(info(OBJECT, INT4, TEXT), made, Thing, make_sequence=lambda thing, _: [thing.number, thing.text])
    register_composite(info(EMPTY), made)
    register_range(RangeInfo("texts", TEXTS, TEXTS + 1, subtype_oid=TEXT), made)
    register_multirange(
        MultirangeInfo("texts_multi", TEXTS_MULTI, TEXTS_MULTI + 1, range_oid=TEXTS, subtype_oid=TEXT), made
    )
    return made


@contextmanager
def implemented(implementation: Any, *names: str) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in names:
            patch.setattr(transformer, name, getattr(implementation, name))
        yield


IN_PYTHON, COMPILED = Transformer(context()), Transformer(context())


def loaded(implementation: Any, tx: Transformer, oid: int, format: int, data: bytes) -> Any:
    """Load a value, as those do that have one to load."""
    with implemented(implementation, "compile_load"):
        load = tx.get_load_function(oid, format)

        def checked(data: bytes) -> Any:
            try:
                return load(data)
            except Exception as ex:
                raise load_failure(load, data, ex) from ex

        return outcome(checked, data)


def same(oid: int, format: int, data: bytes) -> Any:
    expected = loaded(python, IN_PYTHON, oid, format, data)
    got = loaded(loading, COMPILED, oid, format, data)
    if oid in WITH_ARRAYS and expected[0] is DataError:
        # Of several faults in an array either may be told.
        assert got[0] is DataError
    else:
        assert got == expected
    assert type(COMPILED.get_load_function(oid, format)).__name__ == "LoadTwin"
    return expected


# -- values as a server writes them

number = st.integers(-(2**31), 2**31 - 1)
words = st.text(st.sampled_from("ab ,()[]{}\"\\'\xe9"), max_size=4) | st.text(max_size=3)


def field(text: str | None) -> str:
    """What a value looks like inside of another one."""
    if text is None:
        return ""
    return '"' + text.replace("\\", "\\\\").replace('"', '""') + '"' if text == "" or set(text) - set("ab12") else text


def record_text(values: list[str | None]) -> str:
    return "(" + ",".join([field(value) for value in values]) + ")"


def array_text(values: list[str | None]) -> str:
    items = ["NULL" if item is None else '"' + item.replace("\\", "\\\\").replace('"', '\\"') + '"' for item in values]
    return "{" + ",".join(items) + "}"


def optional(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


def listed(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(optional(strategy), max_size=2)


def range_text(bound: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    bounds = st.tuples(st.sampled_from("[("), optional(bound), optional(bound), st.sampled_from("])"))
    return st.just("empty") | bounds.map(lambda part: part[0] + field(part[1]) + "," + field(part[2]) + part[3])


inner_text = st.tuples(optional(number.map(str)), optional(words)).map(lambda pair: record_text(list(pair)))
TEXT_VALUES = {
    INNER: inner_text,
    MADE: inner_text,
    OBJECT: inner_text,
    OUTER: st.tuples(
        optional(inner_text),
        optional(listed(inner_text).map(array_text)),
        optional(range_text(words)),
        optional(listed(range_text(number.map(str))).map(array_text)),
        optional(st.lists(optional(words), min_size=1, max_size=3).map(record_text)),
    ).map(lambda fields: record_text(list(fields))),
    INNER + 1: listed(inner_text).map(array_text),
    RECORD: st.lists(optional(words), min_size=1, max_size=40).map(record_text),
    RECORDS: listed(st.lists(optional(words), min_size=1, max_size=3).map(record_text)).map(array_text),
    TEXTS: range_text(words),
    TEXTS + 1: listed(range_text(words)).map(array_text),
    types["int4range"].oid: range_text(number.map(str)),
    types["daterange"].oid: range_text(st.dates().map(str)),
    TEXTS_MULTI: st.lists(range_text(words), max_size=3).map(lambda ranges: "{" + ",".join(ranges) + "}"),
    types["int4multirange"].oid: st.lists(range_text(number.map(str)), max_size=3).map(
        lambda ranges: "{" + ",".join(ranges) + "}"
    ),
}


def sized(data: bytes | None) -> bytes:
    return struct.pack(">i", -1) if data is None else struct.pack(">i", len(data)) + data


def record_binary(fields: list[tuple[int, bytes | None]]) -> bytes:
    return struct.pack(">i", len(fields)) + b"".join([struct.pack(">I", oid) + sized(data) for oid, data in fields])


def array_binary(oid: int, values: list[bytes | None]) -> bytes:
    return struct.pack(">iiIii", 1, 0, oid, len(values), 1) + b"".join(map(sized, values))


def range_binary(bound: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    bounds = st.tuples(st.sampled_from([0, 2, 4, 6]), optional(bound), optional(bound))
    return st.just(b"\1") | bounds.map(
        lambda part: (
            bytes([part[0] + 8 * (part[1] is None) + 16 * (part[2] is None)])
            + b"".join([sized(data) for data in part[1:] if data is not None])
        )
    )


int4 = number.map(lambda value: struct.pack(">i", value))
words_binary = words.map(str.encode)
inner_binary = st.tuples(optional(int4), optional(words_binary)).map(
    lambda pair: record_binary([(INT4, pair[0]), (TEXT, pair[1])])
)
any_record = st.recursive(
    st.lists(
        st.tuples(st.just(INT4), optional(int4))
        | st.tuples(st.just(TEXT), optional(words_binary))
        | st.tuples(st.just(INNER), inner_binary),
        max_size=3,
    ).map(record_binary),
    lambda inside: st.lists(
        st.tuples(st.just(RECORD), inside)
        | st.tuples(st.just(RECORDS), listed(inside).map(lambda items: array_binary(RECORD, items))),
        max_size=2,
    ).map(record_binary),
    max_leaves=4,
)
BINARY_VALUES = {
    INNER: inner_binary,
    MADE: inner_binary,
    OBJECT: inner_binary,
    OUTER: st.tuples(
        optional(inner_binary),
        optional(listed(inner_binary).map(lambda items: array_binary(INNER, items))),
        optional(range_binary(words_binary)),
        optional(listed(range_binary(int4)).map(lambda items: array_binary(types["int4range"].oid, items))),
        optional(any_record),
    ).map(
        lambda values: record_binary(
            list(zip((INNER, INNER + 1, TEXTS, types.get_oid("int4range[]"), RECORD), values, strict=True))
        )
    ),
    INNER + 1: listed(inner_binary).map(lambda items: array_binary(INNER, items)),
    RECORD: any_record,
    RECORDS: listed(any_record).map(lambda items: array_binary(RECORD, items)),
    TEXTS: range_binary(words_binary),
    TEXTS + 1: listed(range_binary(words_binary)).map(lambda items: array_binary(TEXTS, items)),
    types["int4range"].oid: range_binary(int4),
    TEXTS_MULTI: st.lists(range_binary(words_binary), max_size=3).map(
        lambda items: struct.pack(">i", len(items)) + b"".join(map(sized, items))
    ),
    types["int4multirange"].oid: st.lists(range_binary(int4), max_size=3).map(
        lambda items: struct.pack(">i", len(items)) + b"".join(map(sized, items))
    ),
}


@st.composite
def changed(draw: st.DrawFn, usual: st.SearchStrategy[bytes]) -> bytes:
    """A value as it should be, mostly; or with a byte changed, cut, with something behind; or anything."""
    data = draw(usual)
    how = draw(st.integers(0, 9))
    special = st.sampled_from([bytes([byte]) for byte in b'"\\(),[]{}a1\0\1\x02\xff'])
    if how == 7 and data:
        at = draw(st.integers(0, len(data) - 1))
        data = data[:at] + draw(special) + data[at + draw(st.integers(0, 1)) :]
    elif how == 8:
        data = data[: draw(st.integers(0, len(data)))] + draw(st.binary(max_size=2))
    elif how == 9:
        data = draw(st.lists(special, max_size=20).map(b"".join))
    return data


@pytest.mark.parametrize("oid", sorted(TEXT_VALUES))
def test_from_text(oid: int) -> None:
    @given(changed(TEXT_VALUES[oid].map(str.encode)))
    @example(b"()")
    @example(b"(1)")
    @example(b"(1,2,3)")
    @example(b'("a""b\\c","")')
    @example(b'("a')
    @example(b'("a\\)')
    @example(b'(1,"a"b)')
    @example(b'(1,a"b")')
    @example(b'[1,"2"]')
    @example(b'["",]')
    @example(b"[,)")
    @example(b"empty")
    @example(b"emptyx")
    @example(b"{empty,empty}")
    @example(b"{}")
    @example(b"{,}")
    @example(b"{[1,2),}")
    @example(b"{[1,2)")
    @example(b"(1,\xff)")
    def check(data: bytes) -> None:
        same(oid, 0, data)

    check()


@pytest.mark.parametrize("oid", sorted(BINARY_VALUES))
def test_from_binary(oid: int) -> None:
    @given(changed(BINARY_VALUES[oid]))
    @example(struct.pack(">i", 2**31 - 1))
    @example(struct.pack(">I", 2**31))
    @example(struct.pack(">iIi", 1, INT4, 2**31 - 1))
    @example(record_binary([(TEXT, b"1"), (INT4, struct.pack(">i", 1))]))
    @example(record_binary([(INT4, b"123"), (TEXT, b"\xff")]))
    @example(b"\2" + struct.pack(">iiii", 4, 1, 4, 2**31 - 1))
    @example(b"\0" + struct.pack(">iii", 4, 1, -1))
    @example(b"\1")
    @example(b"\3\0")
    @example(b"")
    def check(data: bytes) -> None:
        same(oid, 1, data)

    check()


# -- what is made of the fields


def made_of(factory: Any, **more: Any) -> Any:
    """What is loaded by both, which has to be the same."""
    found = []
    for implementation in (python, loading):
        where = Context()
        register_composite(info(INNER, INT4, TEXT), where, factory, **more)
        with implemented(implementation, "compile_load"):
            load = Transformer(where).get_load_function(INNER, 0)
            found.append((outcome(load, b"(1,a)"), outcome(load, b"(,)")))
    assert found[0] == found[1]
    return found[0][0]


class WithInit(namedtuple("WithInit", "number text")):
    def __init__(self, number: Any, text: Any) -> None:
        self.shown = f"{number} {text}"

    def __repr__(self) -> str:
        return f"WithInit({self.shown!r})"


class WithNew(namedtuple("WithNew", "number text")):
    __slots__ = ()

    def __new__(cls, number: Any, text: Any) -> Any:
        return super().__new__(cls, text, number)


class WithMethod(Pair):
    def __repr__(self) -> str:
        return f"{self.text}{self.number}"


class Meta(type):
    def __call__(cls, *values: Any) -> Any:
        return "called", values


class WithMeta(Pair, metaclass=Meta):
    pass


@pytest.mark.parametrize(
    ("factory", "shown"),
    [
        (None, "t70000(f0=1, f1='a')"),
        (Pair, "Pair(number=1, text='a')"),
        (Thing, "Thing(number=1, text='a')"),
        (WithInit, "WithInit('1 a')"),
        (WithNew, "WithNew(number='a', text=1)"),
        (WithMethod, "a1"),
        (WithMeta, "('called', (1, 'a'))"),
        (lambda *values: values, "(1, 'a')"),
        (namedtuple("Longer", "a b c", defaults=[5]), "Longer(a=1, b='a', c=5)"),
    ],
)
def test_factories(factory: Any, shown: str) -> None:
    if factory is not None:
        made_of(factory)
    where = Context()
    register_composite(info(INNER, INT4, TEXT), where, factory)
    load = loading.compile_load(Transformer(where).get_loader(INNER, 0).load)
    assert repr(load(b"(1,a)")) == shown
    assert hash(load(b"(1,a)")) == hash(load(b"(1,a)")) if factory is not Thing else True


def test_factories_that_fail() -> None:
    assert made_of(namedtuple("Longer", "a b c"))[0] is TypeError
    assert made_of(lambda *values: values[5]) == (IndexError, "tuple index out of range")
    assert made_of(Pair, make_object=lambda values, info: values.missing)[0] is AttributeError


def test_a_list_of_values_is_what_an_object_is_made_of() -> None:
    given_: list[Any] = []
    made_of(Pair, make_object=lambda values, info: given_.append((type(values), info.name)))
    assert given_ == [(list, "t70000")] * 4


def test_a_loader_of_the_users_inside() -> None:
    class Failing(Loader):
        def load(self, data: bytes) -> Any:
            raise LookupError(type(data).__name__, data)

    for data, oid in ((b"(1,x)", INNER), (b'("1",x)', INNER), (b"[1,2)", types["int4range"].oid), (b"{[1,2)}", 4451)):
        where = context()
        where.adapters.register_loader("int4", Failing)
        load = loading.compile_load(Transformer(where).get_loader(oid, 0).load)
        assert outcome(load, data) == (LookupError, "('bytes', b'1')")


# -- dumping


class Width(Range[Any]):
    """One of a user's."""

    __slots__ = ()


class Backwards(tuple[Any, ...]):
    """A sequence that is not what it looks like."""

    __slots__ = ()

    def __iter__(self) -> Iterator[Any]:
        return iter([*super().__iter__()][::-1])


RANGES = [Range, Range, Int4Range, Int8Range, NumericRange, DateRange, TimestampRange, TimestamptzRange, Width]
MULTIRANGES = [Multirange, Multirange, Int4Multirange, NumericMultirange, DateMultirange, TimestamptzMultirange]
naive = st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2100, 1, 1))
aware = naive.map(lambda moment: moment.replace(tzinfo=dt.timezone.utc))
BOUNDS: list[st.SearchStrategy[Any]] = [
    *(number, st.integers(-100, 2**70), st.decimals(allow_nan=False), st.floats(), words, st.booleans()),
    *(st.dates(), naive, aware, st.times(), st.sampled_from([Int4(5), Int8(5), IntNumeric(7)])),
    *(st.datetimes(timezones=st.just(dt.timezone(dt.timedelta(hours=1)))), st.just("NUL\0"), st.just(object())),
]


def ranges_of(bound: st.SearchStrategy[Any], classes: list[Any]) -> st.SearchStrategy[Any]:
    made = st.builds(
        lambda cls, *bounds, empty: cls(*bounds, empty=empty),
        *(st.sampled_from(classes), optional(bound), optional(bound), st.sampled_from(["[]", "[)", "(]", "()"])),
        empty=st.sampled_from([False] * 9 + [True]),
    )
    return made


def any_range(classes: list[Any]) -> st.SearchStrategy[Any]:
    """Of bounds that are of one type, mostly."""
    kinds = st.sampled_from([*BOUNDS, st.one_of(BOUNDS)])
    return kinds.flatmap(lambda bound: ranges_of(bound, classes))


def any_multirange() -> st.SearchStrategy[Any]:
    kinds = st.sampled_from([*BOUNDS, st.one_of(BOUNDS)])
    items = kinds.flatmap(lambda bound: st.lists(ranges_of(bound, RANGES[:4]), max_size=3))
    return st.builds(lambda cls, items: cls(items), st.sampled_from(MULTIRANGES), items)


pairs = st.builds(Pair, optional(number), optional(words))
scalars = st.one_of([st.none(), *BOUNDS, st.binary(max_size=3)])
RECORDS_OF = st.one_of(
    pairs,
    st.builds(Pair, scalars, scalars),
    st.builds(Thing, optional(number), optional(words)),
    st.builds(Thing, scalars, scalars),
    st.builds(
        Box,
        optional(pairs),
        optional(listed(pairs)),
        any_range([Range]),
        listed(any_range([Int4Range])),
        optional(pairs),
    ),
    st.lists(scalars, max_size=3).map(tuple),
    st.lists(scalars, max_size=3).map(Backwards),
    st.recursive(
        scalars, lambda inside: st.lists(inside, max_size=3).map(tuple) | st.lists(inside, max_size=2), max_leaves=6
    ),
)
VALUES = st.one_of(
    any_range(RANGES),
    any_multirange(),
    RECORDS_OF,
    st.lists(st.none() | any_range([Range]), max_size=3),
    st.lists(ranges_of(number, [Int4Range]), max_size=3),
    st.lists(pairs, max_size=3),
    st.lists(RECORDS_OF, max_size=2),
    st.lists(any_multirange(), max_size=2),
)
NAMES = ("DumpPlan", "compile_dump", "compile_key", "dump_values")


def dumped(implementation: Any, where: Context, values: list[Any], format: PyFormat) -> Any:
    """Dump with a transformer that has only ever used this implementation, twice: by the plans that are there then."""
    tx = Transformer(where)
    with implemented(implementation, *NAMES):
        formats = [format] * len(values)
        once = outcome(tx.dump_sequence, values, formats)
        assert outcome(tx.dump_sequence, values, formats) == once
    return once


WHERE, IN_SJIS = context(), context("shift_jis")
AWARE = dt.datetime(2024, 1, 2, tzinfo=dt.timezone.utc)


@given(st.lists(VALUES, min_size=1, max_size=2), st.sampled_from(PyFormat), st.sampled_from([WHERE] * 9 + [IN_SJIS]))
@example([Range(1, 5)], PyFormat.AUTO, WHERE)
@example([Int4Range(1, 5, "(]")], PyFormat.BINARY, WHERE)
@example([Range(AWARE, dt.datetime(2024, 1, 2))], PyFormat.AUTO, WHERE)
@example([DateRange(AWARE, AWARE)], PyFormat.AUTO, WHERE)
@example([Multirange([Range(AWARE), Range(dt.datetime(2024, 1, 2))])], PyFormat.TEXT, WHERE)
@example([Range("a", 'b"\\,')], PyFormat.AUTO, WHERE)
@example([Range(1, Decimal("1.5"))], PyFormat.AUTO, WHERE)
@example([Pair(1, "")], PyFormat.AUTO, WHERE)
@example([Pair(1, "a"), (1, "a"), Thing(1, 'a"')], PyFormat.BINARY, WHERE)
@example([[Range(1, 2), Range(empty=True)], [Range(empty=True)]], PyFormat.AUTO, WHERE)
def test_dumped_alike(values: list[Any], format: PyFormat, where: Context) -> None:
    assert dumped(dumping, where, values, format) == dumped(python, where, values, format)


def test_which_are_twins() -> None:
    with implemented(dumping, *NAMES):
        tx = Transformer(WHERE)
        values: list[Any] = [
            Pair(1, "a"),
            Thing(1, "a"),
            (1,),
            Int4Range(1, 2),
            Int4Multirange(),
            Range(1),
            Multirange(),
        ]
        for value in values:
            for format in PyFormat:
                if type(value) is tuple and format is PyFormat.BINARY:
                    continue
                tx.dump_sequence([value], [format])
                plan = tx.dump_plans[format][type(value)]
                assert plan.get_key is None or type(plan.get_key).__name__ == "KeyTwin"
                assert type(plan.dump).__name__ == "DumpTwin"


def test_what_is_registered_later_counts() -> None:
    class Loud(StrDumper):
        def dump(self, obj: str) -> bytes:
            return obj.upper().encode()

    where = context()
    tx = Transformer(where)
    with implemented(dumping, *NAMES):
        dumps = [tx.plan_class(value, PyFormat.TEXT).dump for value in (Pair(1, "a"), ("a",))]
        dumps.append(dumping.compile_dump(tx.get_dumper(Range("a"), PyFormat.TEXT).dump))
        values: list[Any] = [Pair(1, "a"), ("a",), Range("a")]
        assert [dump(value) for dump, value in zip(dumps, values, strict=True)] == [b"(1,a)", b"(a)", b"[a,)"]
        where.adapters.register_dumper(str, Loud)
        assert [dump(value) for dump, value in zip(dumps, values, strict=True)] == [b"(1,A)", b"(A)", b"[A,)"]


@pytest.mark.parametrize("format", [PyFormat.TEXT, PyFormat.BINARY])
@pytest.mark.parametrize("implementation", [python, dumping], ids=["python", "compiled"])
def test_nested_too_deeply(implementation: Any, format: PyFormat) -> None:
    values: list[Any] = [("a",), Pair(1, None)]
    for value in values:
        for _ in range(20_000):
            value = (value,) if type(value) is tuple else Pair(None, value)
        with implemented(implementation, *NAMES), pytest.raises((DataError, ProgrammingError)):
            Transformer(WHERE).dump_sequence([value], [format])


# -- hostile values: each ends, in a time that goes with its length, as the suite does

LONG = 1_000_000


@pytest.mark.parametrize("oid", [INNER, RECORD, TEXTS, TEXTS_MULTI, INNER + 1])
@pytest.mark.parametrize(
    "data",
    [
        b"\\" * LONG,
        b'"' * LONG,
        b"(" * LONG,
        b"(" + b'"' * LONG,
        b"(" + b"," * LONG,
        b'("' + b"\\" * LONG,
        b'("' + b"\\" * (LONG + 1) + b'")',
        b"[" + b'"' * LONG,
        b'["' + b"\\" * LONG,
        b'{["' + b"\\" * LONG,
        b"{" + b"[," * LONG,
        b"{" + b"empty," * (LONG // 10),
        b'{"(' + b'\\"' * LONG,
    ],
    ids=range(13),
)
@pytest.mark.parametrize("tx", [IN_PYTHON, COMPILED], ids=["python", "compiled"])
def test_a_long_value(oid: int, data: bytes, tx: Transformer) -> None:
    with implemented(python if tx is IN_PYTHON else loading, "compile_load"):
        load: Callable[[bytes], Any] = tx.get_load_function(oid, 0)
        with pytest.raises(DataError):
            load(data)


def test_long_values_that_are_fine() -> None:
    quotes = '"' * (LONG // 4)
    for text in (quotes, quotes.replace('"', "\\")):
        assert same(INNER, 0, record_text(["1", text]).encode())[0] is Pair
        assert same(TEXTS, 0, f"[{field(text)},)".encode()) == outcome(Range, text, None, "[)")
    fields = same(RECORD, 0, b"(" + b"," * (LONG // 10) + b")")
    assert len(fields[1]) == LONG // 10 + 1


def test_what_the_collector_looks_at() -> None:
    """Only what a cycle may lead through, which is found as before."""
    with implemented(loading, "compile_load"):
        numbers = COMPILED.get_load_function(types["int4range"].oid, 0)(b"[1,2)")
        assert not gc.is_tracked(numbers)
        register_range(RangeInfo("lists", 80_000, 80_001, subtype_oid=types.get_oid("int4[]")), where := context())
        lists = Transformer(where).get_load_function(80_000, 0)(b"[{1},{2}]")
    assert lists == Range([1], [2], "[]")
    assert gc.is_tracked(lists)
    lists.lower.append(lists)
    ended = weakref.ref(Ended := type("Ended", (), {}))
    lists.upper.append(Ended)
    del lists, Ended
    gc.collect()
    assert ended() is None
