"""The compiled loaders and dumpers of values that have values inside, against the ones in Python.

Everything below such a value is of the same implementation here, so that what is compared is one with the other, and
errors with them.
"""

from __future__ import annotations

import struct
from collections import namedtuple
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from anyq._accel import python
from anyq._accel.failures import load_failure
from anyq.adapt import Loader, Transformer, transformer
from anyq.errors import DataError
from anyq.postgres import types
from anyq.types.composite import CompositeInfo, register_composite
from anyq.types.multirange import MultirangeInfo, register_multirange
from anyq.types.range import Range, RangeInfo, register_range
from tests.support.twins import Context, outcome

loading = pytest.importorskip("anyq._accel.loading", reason="the compiled path is not built")

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


# -- hostile values: each ends, in a time that goes with its length, as the suite does

LONG = 1_000_000


@pytest.mark.parametrize("oid", [INNER, RECORD, TEXTS, TEXTS_MULTI, types["int4range"].oid, INNER + 1, RECORDS])
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
