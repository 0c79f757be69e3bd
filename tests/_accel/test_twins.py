"""The compiled loaders and dumpers against the ones in Python: equal values of equal types, or equal errors.

Both run in one process, so this is of use whichever implementation is chosen, as long as the compiled one is built.
"""

from __future__ import annotations

import datetime as dt
import enum
import json
import math
import pickle
import struct
import uuid
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from anyq._accel import python
from anyq.adapt import AdaptersMap, Format, Loader, PyFormat, Transformer, transformer
from anyq.postgres import adapters, types
from anyq.protocol.frontend import bind
from anyq.protocol.messages import DataRow
from anyq.session import executemany as _executemany
from anyq.statements.binders import SERVER_SIDE
from anyq.types.json import set_json_loads
from anyq.types.numeric import Float4, Int2, Int4, Int8, IntNumeric, Oid
from anyq.types.string import StrDumper

loading = pytest.importorskip("anyq._accel.loading", reason="the compiled path is not built")
dumping = pytest.importorskip("anyq._accel.dumping", reason="the compiled path is not built")

NAMED = ["Europe/Berlin", "America/New_York", "Africa/Monrovia"]
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "<+05:30>-05:30", "Africa/Monrovia"]


class Colour(enum.IntEnum):
    RED = 1


class Text(str):
    pass


class Number(float):
    pass


class Info:
    def __init__(self, zone: str, encoding: str = "utf-8") -> None:
        self.zone = zone
        self.encoding = encoding

    def parameter_status(self, name: str) -> str | None:
        return {"TimeZone": self.zone, "DateStyle": "ISO, DMY"}.get(name)


class Context:
    """A connection that is connected to nothing."""

    def __init__(self, zone: str = "UTC", encoding: str = "utf-8") -> None:
        self.info = Info(zone, encoding)
        self.adapters = AdaptersMap(adapters)

    @property
    def connection(self) -> Context:
        return self


TRANSFORMERS = {zone: Transformer(Context(zone)) for zone in ZONES}


def outcome(function: Callable[..., Any], *args: Any) -> Any:
    """Return what can be compared: all of a value, or the class and the message of an error."""
    try:
        return whole(function(*args))
    except RecursionError:
        return RecursionError
    except Exception as ex:
        return type(ex), str(ex)


def whole(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value), [whole(item) for item in value]
    if isinstance(value, float):
        return type(value), "nan" if math.isnan(value) else struct.pack("d", value)
    if isinstance(value, uuid.UUID):
        return type(value), value, hash(value), value.is_safe, str(value), value == pickle.loads(pickle.dumps(value))
    if isinstance(value, (dt.datetime, dt.time)):
        return type(value), repr(value.replace(tzinfo=None)), value.fold, value.utcoffset(), value.tzname()
    return type(value), repr(value)


def pair(oid: int, format: int, zone: str = "UTC") -> tuple[Callable[[bytes], Any], Callable[[bytes], Any]]:
    """Return the load function of a type in Python, and its twin."""
    tx = TRANSFORMERS[zone]
    pure = tx.get_loader(oid, format).load
    return pure, loading.compile_load(pure)


def row_with(load: Callable[[bytes], Any], data: bytes) -> Any:
    """Load a value as part of a row: by a pointer into a larger piece of memory."""
    rows: list[tuple[Any, ...]] = []
    message = DataRow((data, data)).encode()
    loading.decode_rows(message, 0, len(message), [load, load], rows)
    return rows[0][1]


# Values as a server writes them, in the format of each type, and changed a little.

int64 = st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(-1000, 1000))
usecs_of_day = st.one_of(st.integers(0, 86_400_000_000), int64)
days = st.one_of(st.integers(-800_000, 3_000_000), st.integers(-(2**31), 2**31 - 1))
usecs = st.one_of(st.integers(-(64 * 10**15), 260 * 10**15), int64)
offsets = st.one_of(st.integers(-90_000, 90_000), st.sampled_from([0, 3600, -19_800, 2**31 - 1, -(2**31)]))
digits = st.lists(st.one_of(st.integers(0, 9999), st.sampled_from([0, 1, 9999])), max_size=12)
text = st.text(max_size=12).map(str.encode)
clock = st.from_regex(r"\A[0-2]\d:[0-6]\d:[0-6]\d(\.\d{1,7})?\Z")
date = st.one_of(
    st.dates().map(str), st.from_regex(r"\A\d{4,5}-[01]\d-[0-3]\d( BC)?\Z"), st.sampled_from(["infinity", "-infinity"])
)
offset = st.from_regex(r"\A[-+][012]\d(:[0-6]\d(:[0-6]\d)?)?\Z")
number = st.one_of(
    st.integers().map(str),
    st.floats().map(str),
    st.decimals().map(str),
    st.from_regex(r"\A-?\d{0,20}(\.\d{0,5})?(e[-+]\d\d?)?\Z"),
    st.sampled_from(["NaN", "Infinity", "-Infinity", "1e400", "3.5e38", "-0", "+1", "1_0", " 1", "", "-", "1e-400"]),
)
jsons = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=6,
).map(json.dumps)


def packed(layout: str, *values: st.SearchStrategy[Any]) -> st.SearchStrategy[bytes]:
    return st.tuples(*values).map(lambda fields: struct.pack(layout, *fields))


def joined(*parts: st.SearchStrategy[str] | str) -> st.SearchStrategy[bytes]:
    strategies = [st.just(part) if isinstance(part, str) else part for part in parts]
    return st.tuples(*strategies).map("".join).map(str.encode)


binary_numeric = st.builds(
    lambda group, weight, sign, scale, more: struct.pack(
        f">HhHH{len(group)}H", max(0, len(group) + more), weight, sign, scale, *group
    ),
    st.one_of(digits, st.lists(st.integers(0, 65_535), max_size=4)),
    st.one_of(st.integers(-8, 8), st.integers(-(2**15), 2**15 - 1)),
    st.sampled_from([0, 0, 0, 0x4000, 0x4000, 0xC000, 0xD000, 0xF000, 1]),
    st.one_of(st.integers(0, 20), st.integers(0, 2**16 - 1)),
    st.sampled_from([0, 0, 0, 0, 1, -1]),
)
interval = st.one_of(
    joined(
        st.from_regex(
            r"\A(-?\d{1,4} years? ?)?(-?\d{1,10} mons? ?)?([-+]?\d{1,11} days? ?)?"
            r"([-+]?\d\d\d?:\d\d:\d\d(\.\d{1,6})?)?\Z"
        )
    ),
    st.sampled_from([b"", b"1 day ", b" 1 day", b"1 days 2 days", b"00:00:00", b"P1Y2M3DT4H", b"@ 1 day", b"infinity"]),
)
uuids = st.one_of(st.uuids().map(str).map(str.encode), joined(st.from_regex(r"\A[0-9a-fA-Fg-]{36}\Z")))


def braced(items: list[str]) -> str:
    return "{" + ",".join(items) + "}"


item = st.from_regex(r'\A(NULL|-?\d{1,4}|[a-z ]{1,3}|"([^"\\]|\\.){0,4}")\Z', fullmatch=True)
text_array: st.SearchStrategy[str] = st.recursive(
    st.lists(item, max_size=4).map(braced),
    lambda inner: st.lists(inner, max_size=3).map(braced),
    max_leaves=6,
)

USUAL: dict[tuple[str, int], st.SearchStrategy[bytes]] = {
    ("bool", 0): st.sampled_from([b"t", b"f"]),
    ("bool", 1): st.sampled_from([b"\0", b"\1", b"\2"]),
    ("text", 0): text,
    ("text", 1): text,
    ("name", 0): text,
    ("unknown", 0): text,
    ("bytea", 0): st.one_of(
        st.binary(max_size=20).map(lambda data: b"\\x" + data.hex().encode()),
        st.sampled_from([b"", b"\\x", b"\\x1", b"\\x0g", b"\\\\x", b"a\\001", b"\\xAb", b"\\x a"]),
    ),
    ("bytea", 1): st.binary(max_size=20),
    ("date", 0): joined(date),
    ("date", 1): packed(">i", days),
    ("time", 0): joined(clock),
    ("time", 1): packed(">q", usecs_of_day),
    ("timetz", 0): joined(clock, offset),
    ("timetz", 1): packed(">qi", usecs_of_day, offsets),
    ("timestamp", 0): joined(date, " ", clock, st.sampled_from(["", "", "", " BC"])),
    ("timestamp", 1): packed(">q", usecs),
    ("timestamptz", 0): joined(date, " ", clock, offset, st.sampled_from(["", "", "", " BC"])),
    ("timestamptz", 1): packed(">q", usecs),
    ("interval", 0): interval,
    ("interval", 1): packed(
        ">qii", int64, st.integers(-(2**31), 2**31 - 1), st.one_of(st.just(0), st.integers(-(2**31), 2**31 - 1))
    ),
    ("uuid", 0): uuids,
    ("uuid", 1): st.binary(min_size=16, max_size=16),
    ("json", 0): jsons.map(str.encode),
    ("json", 1): jsons.map(str.encode),
    ("jsonb", 0): jsons.map(lambda document: (" " + document + " ").encode()),
    ("jsonb", 1): jsons.map(lambda document: b"\1" + document.encode()),
    ("numeric", 1): binary_numeric,
    ("float4", 1): packed(">f", st.floats(width=32)),
    ("float8", 1): packed(">d", st.floats()),
    ("int2", 1): packed(">h", st.integers(-(2**15), 2**15 - 1)),
    ("int4", 1): packed(">i", st.integers(-(2**31), 2**31 - 1)),
    ("int8", 1): packed(">q", int64),
    ("oid", 1): packed(">I", st.integers(0, 2**32 - 1)),
    ("xid8", 1): packed(">Q", st.integers(0, 2**64 - 1)),
}
for _name in ("int2", "int4", "int8", "oid", "xid8", "float4", "float8", "numeric"):
    USUAL[_name, 0] = joined(number)


@st.composite
def changed(draw: st.DrawFn, usual: st.SearchStrategy[bytes]) -> bytes:
    """A value as it should be, mostly; or with a byte changed, cut, with something behind; or anything."""
    data = draw(usual)
    how = draw(st.integers(0, 9))
    if how == 7 and data:
        at = draw(st.integers(0, len(data) - 1))
        data = data[:at] + draw(st.binary(min_size=1, max_size=2)) + data[at + 1 :]
    elif how == 8:
        data = data[: draw(st.integers(0, len(data)))] + draw(st.binary(max_size=2))
    elif how == 9:
        data = draw(st.binary(max_size=24))
    return data


@st.composite
def binary_arrays(draw: st.DrawFn, usual: st.SearchStrategy[bytes], oid: int) -> bytes:
    dims = draw(st.lists(st.integers(0, 3), max_size=3))
    out = struct.pack(">iiI", len(dims), 0, oid)
    out += b"".join(struct.pack(">ii", length, 1) for length in dims)
    for _ in range(math.prod(dims) if dims else 0):
        value = draw(st.one_of(st.none(), changed(usual)))
        out += struct.pack(">i", -1) if value is None else struct.pack(">i", len(value)) + value
    return out


def same(oid: int, format: int, data: bytes, zone: str = "UTC") -> None:
    pure, compiled = pair(oid, format, zone)
    expected = outcome(pure, data)
    assert outcome(compiled, data) == expected
    assert outcome(row_with, compiled, data) == expected


@pytest.mark.parametrize(("name", "format"), sorted(USUAL))
def test_a_compiled_loader_gives_what_the_one_in_python_gives(name: str, format: int) -> None:
    oid = types.get_oid(name)
    assert type(pair(oid, format)[1]).__name__ == "LoadTwin"
    zones = st.sampled_from(ZONES) if name == "timestamptz" else st.just("UTC")

    @given(changed(USUAL[name, format]), zones)
    def check(data: bytes, zone: str) -> None:
        same(oid, format, data, zone)

    check()


@pytest.mark.parametrize("name", ["int4", "text", "numeric", "timestamptz", "jsonb"])
def test_binary_arrays(name: str) -> None:
    oid = types.get_oid(name)

    @given(changed(binary_arrays(USUAL[name, 1], oid)))
    @example(struct.pack(">iiI", 0, 0, oid))
    @example(struct.pack(">iiI", 1, 0, oid) + struct.pack(">ii", 2**31 - 1, 1))
    @example(struct.pack(">iiI", 6, 0, oid) + struct.pack(">ii", 2**31 - 1, 1) * 6)
    @example(struct.pack(">iiI", 2, 0, oid) + struct.pack(">ii", -1, 1) * 2)
    @example(struct.pack(">iiI", 2, 0, oid) + struct.pack(">iiii", 0, 1, 2**31 - 1, 1))
    @example(struct.pack(">iiI", 7, 0, oid) + struct.pack(">ii", 1, 1) * 7)
    @example(struct.pack(">iiI", 1, 0, oid) + struct.pack(">iii", 1, 1, 2**31 - 1))
    @example(struct.pack(">iiI", 1, 0, oid) + struct.pack(">iii", 1, 1, -7))
    def check(data: bytes) -> None:
        same(types.get_oid(f"{name}[]"), 1, data)

    check()


@pytest.mark.parametrize("name", ["int4", "text", "bytea"])
def test_text_arrays(name: str) -> None:
    @given(changed(text_array.map(str.encode)))
    @example(b"[1:2]={1,2}")
    @example(b"{{{{{{{1}}}}}}}")
    @example(b"{{{{{{1}}}}}}")
    @example(b"{1,}")
    @example(b"{,}")
    @example(b'{"a')
    @example(b'{"a\\')
    @example(b"{1}}")
    @example(b"{{1}{2}}")
    @example(b'{"NULL",NULL,null}')
    def check(data: bytes) -> None:
        same(types.get_oid(f"{name}[]"), 0, data)

    check()


# Whole rows


@given(
    st.lists(st.sampled_from(sorted(USUAL)), max_size=4).flatmap(
        lambda columns: st.tuples(
            st.just(columns),
            st.lists(st.tuples(*[st.one_of(st.none(), changed(USUAL[column])) for column in columns]), max_size=3),
        )
    ),
    st.lists(st.tuples(st.integers(0, 300), st.integers(0, 255)), max_size=2),
    st.integers(0, 300),
)
@example(([("date", 1)], [(b"\0\0\0\0",)]), [(10, 0)], 0)
def test_rows(
    columns_and_rows: tuple[list[tuple[str, int]], list[tuple[bytes | None, ...]]],
    changes: list[tuple[int, int]],
    cut: int,
) -> None:
    columns, values = columns_and_rows
    run = bytearray(b"".join([DataRow(row).encode() for row in values]))
    for at, byte in changes:
        if at < len(run):
            run[at] = byte
    pairs = [pair(types.get_oid(name), format) for name, format in columns]
    pure, compiled = [one for one, _ in pairs], [other for _, other in pairs]
    for end in {len(run), min(cut, len(run))}:
        assert decoded(loading.decode_rows, run, end, compiled) == decoded(python.decode_rows, run, end, pure)


def decoded(decode_rows: Callable[..., int], run: bytearray, end: int, loads: Sequence[Callable[[bytes], Any]]) -> Any:
    rows: list[tuple[Any, ...]] = []
    return outcome(decode_rows, bytes(run), 0, end, loads, rows), whole(rows)


def test_rows_outside_of_their_bytes_are_refused() -> None:
    for pos, end in ((-1, 4), (0, 12), (5, 2**62)):
        with pytest.raises(IndexError):
            loading.decode_rows(bytes(11), pos, end, [bytes], [])


def test_rows_of_any_buffer() -> None:
    run = DataRow((b"1", None)).encode()
    for buffer in (run, bytearray(run), memoryview(bytearray(run))):
        rows: list[tuple[Any, ...]] = []
        assert loading.decode_rows(buffer, 0, len(run), [int, int], rows) == len(run)
        assert rows == [(1, None)]


@given(st.lists(st.sampled_from("abcd")), st.lists(st.integers(), max_size=5))
def test_dictionaries(names: list[str], values: list[int]) -> None:
    for row in (tuple(values), values, tuple(range(len(names)))):
        expected = python.dict_maker(names)(row)
        assert list(loading.dict_maker(names)(row).items()) == list(expected.items())


# Dumping

OBJECTS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**65), 2**65),
    st.sampled_from(
        [sign * 2**bits - less for bits in (15, 16, 31, 32, 63, 64) for sign in (1, -1) for less in (0, 1)]
    ),
    st.floats(),
    st.text(alphabet=st.characters(exclude_categories=[]), max_size=6),
    st.sampled_from(["NULL", "null", "", "a b", 'a"b', "a\\b", "{", "a,b", "\xa0", "nul", "\0", "\ud800"]),
    st.binary(max_size=6),
    st.binary(max_size=6).map(bytearray),
    st.decimals(allow_nan=True),
    st.sampled_from([Decimal(text) for text in ("NaN", "-NaN12", "sNaN3", "-Infinity", "1E+5", "0E-7", "-0", "1E-7")]),
    st.uuids(),
    st.dates(),
    st.times(),
    st.datetimes(),
    st.datetimes(
        timezones=st.sampled_from([dt.timezone.utc, dt.timezone(dt.timedelta(seconds=1)), *map(ZoneInfo, NAMED)])
    ),
    st.times(timezones=st.just(dt.timezone(dt.timedelta(hours=-5)))),
    st.timedeltas(),
    st.sampled_from([Int2(7), Int4(7), Int8(7), IntNumeric(7), Oid(7), Float4(0.1), Colour.RED, Text("a"), Number(3)]),
)
LISTS = st.one_of(
    st.lists(st.one_of(st.none(), st.integers(-(2**64), 2**64)), max_size=5),
    st.lists(st.one_of(st.none(), st.integers(-70_000, 70_000)), max_size=5),
    st.lists(st.one_of(st.none(), st.text(max_size=4)), max_size=4),
    st.lists(
        st.sampled_from(["NULL", "nULl", "", "a b", 'a"b', "a\\b", "{}", "a,b", "\xa0", "nul", "\0", "\v"]), max_size=4
    ),
    st.lists(st.one_of(st.none(), st.floats()), max_size=4),
    st.lists(st.one_of(st.none(), st.booleans()), max_size=4),
    st.lists(st.decimals(), max_size=3),
    st.lists(st.uuids(), max_size=3),
    st.lists(st.dates(), max_size=3),
    st.lists(st.datetimes(), max_size=3),
    st.lists(st.binary(max_size=4), max_size=3),
    st.lists(OBJECTS, max_size=3),
    st.lists(st.lists(st.integers(0, 3), max_size=2), max_size=2),
)


def dumped(implementation: Any, params: Sequence[object], formats: Sequence[PyFormat]) -> Any:
    """Dump with a transformer that has only ever used this implementation."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("DumpPlan", "compile_dump", "compile_key", "dump_values"):
            patch.setattr(transformer, name, getattr(implementation, name))
        tx = Transformer(Context())
        once = outcome(tx.dump_sequence, params, formats)
        # And again, by the plans that are there now.
        assert outcome(tx.dump_sequence, params, formats) == once
        return once


@given(st.lists(st.tuples(st.one_of(OBJECTS, LISTS), st.sampled_from(PyFormat)), max_size=3))
def test_parameters(params: list[tuple[object, PyFormat]]) -> None:
    objects, formats = [one for one, _ in params], [other for _, other in params]
    assert dumped(dumping, objects, formats) == dumped(python, objects, formats)


COLUMNS = [OBJECTS, LISTS, st.integers(0, 100_000), st.one_of(st.none(), st.text(max_size=5)), st.floats(), st.dates()]


@st.composite
def many_sets(draw: st.DrawFn) -> tuple[str, list[Any]]:
    """A query and sets of parameters for it, most of which are like each other."""
    columns = draw(st.lists(st.sampled_from(COLUMNS), max_size=3))
    query = ", ".join([draw(st.sampled_from(["%s", "%b", "%t"])) for _ in columns])
    usual = st.one_of(st.tuples(*columns), st.tuples(*columns).map(list))
    sets = draw(st.lists(usual, max_size=8))
    if draw(st.booleans()):
        sets.insert(draw(st.integers(0, len(sets))), draw(st.sampled_from([(), (1,), [2, "x"], {"a": 1}, "ab", 5])))
    return query, sets


def bound(implementation: Any, query: str, sets: Sequence[Any], meddle: Callable[[Transformer], None]) -> Any:
    """Return the batches that these sets make; `meddle` is called in the middle."""
    batches: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        for name in ("DumpPlan", "compile_dump", "compile_key", "dump_values"):
            patch.setattr(transformer, name, getattr(implementation, name))
        patch.setattr(_executemany, "bind_sets", implementation.bind_sets)
        patch.setattr(_executemany, "BATCH_SETS", 3)
        patch.setattr(_executemany, "BATCH_BYTES", 150)
        tx = Transformer(Context())

        def feed() -> Iterator[Any]:
            for index, params in enumerate(sets):
                if index == len(sets) // 2:
                    meddle(tx)
                yield params

        many: Any = _executemany._Sets(query, SERVER_SIDE, tx, False)
        many.refill(feed())
        more = True
        while more:
            result = outcome(many.batch)
            batches.append((result, many.previous))
            more = result[0] is tuple and result[1][1] == (bool, "True")
    return batches


@given(many_sets())
@example(("%s, %s", [(1, None), (2, None), (3, "a"), (None, "b"), (40_000, "c")] * 3))
def test_sets_of_parameters(case: tuple[str, list[Any]]) -> None:
    assert bound(dumping, *case, lambda tx: None) == bound(python, *case, lambda tx: None)


def bound_alike(implementation: Any, formats: Any, like: Any, params: Any) -> Any:
    """What comes of binding parameters to a statement that was prepared for others."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("DumpPlan", "compile_dump", "compile_key", "dump_values"):
            patch.setattr(transformer, name, getattr(implementation, name))
        tx = Transformer(Context())
        try:
            _, oids, wire = tx.dump_sequence(like, formats)
        except Exception:
            assume(False)
        alike = implementation.Alike(tx, formats, oids, wire, b"a_name", (1, 0, 1), b"behind")
        out = bytearray(b"before")
        try:
            taken = alike.bind(out, params)
        except Exception:
            # Who executes gets it from the dumpers, which are tried next.
            taken = False
        return taken, bytes(out)


@given(st.data())
def test_one_set_bound_like_another(data: st.DataObject) -> None:
    columns = st.tuples(*data.draw(st.lists(st.sampled_from(COLUMNS), max_size=3)))
    like, params = data.draw(columns), data.draw(columns | st.sampled_from([(), [1], "ab", 5, {"a": 1}]))
    formats = tuple(data.draw(st.sampled_from(PyFormat)) for _ in like)
    taken, out = bound_alike(dumping, formats, like, params)
    # It may leave what is not usual to others, of which there is nothing to be seen then.
    assert out == b"before" if not taken else (taken, out) == bound_alike(python, formats, like, params)


@pytest.mark.parametrize("implementation", [python, dumping], ids=["python", "cython"])
def test_a_set_bound_like_another_is_what_bind_makes_of_it(
    implementation: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DumpPlan", "compile_dump", "compile_key", "dump_values"):
        monkeypatch.setattr(transformer, name, getattr(implementation, name))
    tx = Transformer(Context())
    formats = (PyFormat.AUTO, PyFormat.TEXT)
    values, oids, wire = tx.dump_sequence((7, "x"), formats)
    plain = bytearray()
    bind(plain, b"", b"a_name", wire, values, (1,), b"behind")
    alike = implementation.Alike(tx, formats, oids, wire, b"a_name", (1,), b"behind")
    out = bytearray()
    assert alike.bind(out, [7, "x"])
    assert out == plain
    assert alike.bind(bytearray(), (8, ""))
    assert not alike.bind(out, [70_000, "x"])
    assert not alike.bind(out, [None, "x"])
    tx.adapters.register_dumper(str, StrDumper)
    assert not alike.bind(out, [7, "x"])
    assert out == plain


def test_a_dumper_that_is_registered_between_two_sets_counts() -> None:
    class Louder(StrDumper):
        def dump(self, obj: str) -> bytes:
            return obj.upper().encode()

    def register(tx: Transformer) -> None:
        tx.adapters.register_dumper(str, Louder)

    case = "%s", [("a",), ("b",), ("c",), ("d",)]
    batches = bound(dumping, *case, register)
    assert batches == bound(python, *case, register)
    assert b"b" in eval(batches[0][0][1][0][1])
    assert b"C" in eval(batches[0][0][1][0][1])


def test_sets_of_parameters_that_end_in_an_error() -> None:
    def fail(tx: Transformer) -> None:
        raise LookupError("the generator's own")

    case = "%s", [(1,), (2,), (3,), (4,)]
    assert bound(dumping, *case, fail) == [((LookupError, "the generator's own"), 0)]


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "shift_jis"])
def test_other_encodings(encoding: str) -> None:
    tx = Transformer(Context(encoding=encoding))
    value = "\xe9" if encoding == "latin-1" else "a"
    for name in ("text", "text[]", "json"):
        pure = tx.get_loader(types.get_oid(name), 0).load
        data = {"text[]": "{" + value + "}", "json": f'"{value}"'}.get(name, value).encode(encoding)
        assert outcome(loading.compile_load(pure), data) == outcome(pure, data)
    for obj in (value, [value]):
        pure_dump = tx.get_dumper(obj, PyFormat.TEXT).dump
        assert dumping.compile_dump(pure_dump)(obj) == pure_dump(obj)


# What has no twin


def test_a_loader_of_the_users_is_called_with_bytes() -> None:
    class MyInt(type(TRANSFORMERS["UTC"].get_loader(23, 1))):  # type: ignore[misc]
        def load(self, data: bytes) -> Any:
            return type(data), super().load(data)

    context = Context()
    context.adapters.register_loader("int4", MyInt)
    load = Transformer(context).get_load_function(23, 1)
    assert loading.compile_load(load) == load
    rows: list[tuple[Any, ...]] = []
    run = DataRow((b"\0\0\0\1",)).encode()
    loading.decode_rows(run, 0, len(run), [load], rows)
    assert rows == [((bytes, 1),)]


def test_an_item_loader_that_is_registered_later_counts() -> None:
    context = Context()
    tx = Transformer(context)
    array = struct.pack(">iiIiiii", 1, 0, 23, 1, 1, 4, 7)
    load = loading.compile_load(tx.get_loader(types.get_oid("int4[]"), 1).load)
    assert load(array) == [7]

    class Doubled(Loader):
        format = Format.BINARY

        def load(self, data: bytes) -> int:
            return 2 * int.from_bytes(data, "big")

    context.adapters.register_loader("int4", Doubled)
    assert load(array) == [14]


def test_json_loads_may_be_set_at_any_time() -> None:
    context = Context()
    load = loading.compile_load(Transformer(context).get_loader(types.get_oid("jsonb"), 1).load)
    assert load(b'\1{"a": 1}') == {"a": 1}
    set_json_loads(str.upper)
    try:
        assert load(b'\1{"a": 1}') == '{"A": 1}'
    finally:
        set_json_loads(json.loads)


def test_callables_that_cannot_be_marked() -> None:
    class Callable_:
        __hash__ = None  # type: ignore[assignment]

        def __call__(self, data: bytes) -> bytes:
            return data * 2

    load = Callable_()
    assert loading.compile_load(load) is load
    assert dumping.compile_dump(load) is load
    assert dumping.compile_key(load) is load


def test_a_big_value_is_not_copied() -> None:
    value = bytes(100_000)
    assert loading.compile_load(bytes)(value) is value
    assert dumping.compile_dump(bytes)(value) is value
