"""The compiled loaders against the ones in Python: equal values of equal types, or equal errors.

Both run in one process, so this is of use whichever implementation is chosen, as long as the compiled one is built.
"""

from __future__ import annotations

import enum
import gc
import json
import math
import struct
import weakref
from collections.abc import Callable, Sequence
from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from anyq._accel import python
from anyq._accel.failures import load_failure
from anyq.adapt import Format, Loader, Transformer
from anyq.errors import RemoteProtocolError
from anyq.postgres import types
from anyq.protocol.messages import DataRow, FieldDescription
from anyq.protocol.request import Result
from anyq.types.enum import EnumInfo, register_enum
from anyq.types.json import set_json_loads
from tests.support.twins import Context, outcome, twin_or_skip, whole

loading = twin_or_skip("loading")
messages = twin_or_skip("messages")

NAMED = ["Europe/Berlin", "America/New_York", "Africa/Monrovia"]
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "<+05:30>-05:30", "Africa/Monrovia"]


TRANSFORMERS = {zone: Transformer(Context(zone)) for zone in ZONES}


def pair(oid: int, format: int, zone: str = "UTC") -> tuple[Callable[[bytes], Any], Callable[[bytes], Any]]:
    """Return the load function of a type in Python, and its twin."""
    tx = TRANSFORMERS[zone]
    pure = tx.get_loader(oid, format).load
    return pure, loading.compile_load(pure)


def checked(load: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """Return what calls a load function as those do that have a value to load."""

    def load_checked(data: bytes) -> Any:
        try:
            return load(data)
        except Exception as ex:
            raise load_failure(load, data, ex) from ex

    return load_checked


def row_with(load: Callable[[bytes], Any], data: bytes) -> Any:
    """Load a value as part of a row: by a pointer into a larger piece of memory."""
    rows: list[tuple[Any, ...]] = []
    message = DataRow((data, data)).encode()
    loading.load_rows(message, 0, len(message), [load, load], rows)
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

addresses = st.one_of(
    st.ip_addresses().map(str).map(str.encode),
    joined(st.from_regex(r"\A\d{1,3}\.\d{1,3}\.\d{1,4}\.\d{1,3}(/\d\d?)?\Z")),
)
binary_addresses = st.one_of(
    st.ip_addresses(v=4).map(lambda address: b"\2\x20\0\4" + address.packed),
    st.ip_addresses(v=6).map(lambda address: b"\3\x80\0\x10" + address.packed),
    st.tuples(st.integers(0, 32), st.binary(min_size=4, max_size=4)).map(lambda it: bytes((2, it[0], 0, 4)) + it[1]),
    st.tuples(st.integers(0, 128), st.binary(min_size=16, max_size=16)).map(
        lambda it: bytes((3, it[0], 0, 16)) + it[1]
    ),
)


def network(address: Any, bits: int) -> Any:
    return ip_network((int(address), min(bits, address.max_prefixlen)), strict=False)


networks = st.one_of(
    st.builds(network, st.ip_addresses(), st.integers(0, 128)).map(str).map(str.encode),
    joined(st.from_regex(r"\A\d{1,3}\.\d{1,3}\.0\.0/[0-3]?\d\Z")),
)
binary_networks = st.one_of(
    st.builds(network, st.ip_addresses(v=4), st.integers(0, 32)).map(
        lambda net: bytes((2, net.prefixlen, 1, 4)) + net.network_address.packed
    ),
    st.builds(network, st.ip_addresses(v=6), st.integers(0, 128)).map(
        lambda net: bytes((3, net.prefixlen, 1, 16)) + net.network_address.packed
    ),
)


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
    ("inet", 0): addresses,
    ("inet", 1): binary_addresses,
    ("cidr", 0): networks,
    ("cidr", 1): binary_networks,
    ("macaddr", 1): st.binary(min_size=6, max_size=6),
    ("macaddr8", 1): st.binary(min_size=8, max_size=8),
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
    expected = outcome(checked(pure), data)
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


@pytest.mark.parametrize("name", ["int4", "text", "numeric", "timestamptz", "jsonb", "inet"])
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


def array_of_texts(items: list[bytes | None], *sizes: int) -> bytes:
    """An array in binary format; `sizes` is what it says of its last items, whatever they have."""
    said = [-1 if item is None else len(item) for item in items]
    said[len(said) - len(sizes) :] = sizes
    lengths = [struct.pack(">i", size) for size in said]
    out = struct.pack(">iiIii", 1, 0, types["text"].oid, len(items), 1)
    return out + b"".join([length + (item or b"") for length, item in zip(lengths, items, strict=True)])


def test_texts_of_any_length_with_any_character_at_any_place() -> None:
    """What is not ASCII may be in the last bytes, which are looked at together with those before them."""
    letters = "abcdefghijklmnopqrstuvw"
    texts = [letters[:size] for size in range(20)]
    for size in range(1, 20):
        texts += [letters[:at] + other + letters[at + 1 : size] for at in range(size) for other in "é\x7f"]
    array: list[bytes | None] = [text.encode() for text in texts]
    array.insert(30, None)
    for data in array:
        if data is not None:
            same(types["text"].oid, 1, data)
    same(types.get_oid("text[]"), 1, array_of_texts(array))
    _, load = pair(types.get_oid("text[]"), 1)
    assert load(array_of_texts(array)) == [None if data is None else data.decode() for data in array]


@pytest.mark.parametrize("last", [b"", b"a", b"\xff", b"abcdefgh", b"abcdefg\xff", b"abcdefghijkl"])
@pytest.mark.parametrize("size", [-(2**31), -2, -1, 0, 1, 2, 7, 8, 9, 12, 13, 0xFFFFFF, 2**24, 2**31 - 1])
def test_the_last_text_of_an_array_that_says_it_has_another_length(last: bytes, size: int) -> None:
    data = array_of_texts([b"first text", last], size)
    for stop in range(len(data) - len(last) - 4, len(data) + 1):
        same(types.get_oid("text[]"), 1, data[:stop])


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


class Mood(enum.Enum):
    sad = 1
    ok = 2
    oké = 3
    fine = 2


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "shift_jis"])
@pytest.mark.parametrize("format", [0, 1])
def test_enums(encoding: str, format: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In any order, so that the table of labels is seen in every state."""
    # In pure Python a loader has a method of dict's instead of its own, which is the one that has a twin.
    monkeypatch.setattr("anyq.types.enum.implementation", "cython")
    context = Context(encoding=encoding)
    info = EnumInfo("mood", 99_000, 99_001, ["sad", "ok", "oké", "fine", "other"])
    register_enum(info, context, Mood)
    label = st.sampled_from([*info.labels, "", "sa", "sadd", "OK"]).map(lambda text: text.encode(encoding, "replace"))

    @given(st.lists(st.one_of(changed(label), label), max_size=20))
    def check(labels: list[bytes]) -> None:
        pure = Transformer(context).get_loader(info.oid, format).load
        compiled = loading.compile_load(pure)
        assert type(compiled).__name__ == "LoadTwin"
        for data in labels:
            expected = outcome(checked(pure), data)
            assert outcome(compiled, data) == expected
            assert outcome(row_with, compiled, data) == expected

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
    pure, compiled = [checked(one) for one, _ in pairs], [other for _, other in pairs]
    for end in {len(run), min(cut, len(run))}:
        assert decoded(messages.keep_rows, loading.load_rows, run, end, compiled) == decoded(
            python.keep_rows, python.load_rows, run, end, pure
        )


def decoded(
    keep_rows: Callable[..., int],
    load_rows: Callable[..., None],
    run: bytearray,
    end: int,
    loads: Sequence[Callable[[bytes], Any]],
) -> Any:
    result = Result(tuple([FieldDescription("", 0, 0, 0, 0, 0, 0)] * len(loads)))
    after = outcome(keep_rows, result, bytes(run), 0, end)
    rows: list[tuple[Any, ...]] = []
    loaded = [outcome(load_rows, *kept[:3], loads, rows) for kept in result.runs]
    return after, result.count, loaded, whole(rows)


def test_rows_outside_of_their_bytes_are_refused() -> None:
    result = Result(())
    for pos, end in ((-1, 4), (0, 12), (5, 2**62)):
        with pytest.raises(IndexError):
            messages.keep_rows(result, bytes(11), pos, end)
        with pytest.raises(IndexError):
            loading.load_rows(bytes(11), pos, end, [bytes], [])
        with pytest.raises(IndexError):
            loading.load_rows([b"a"], pos, end, [bytes], [])


@pytest.mark.parametrize("length", [0, 5, 6, 7, 13, 100, 2**31])
def test_what_was_never_looked_at_is_refused(length: int) -> None:
    """Loading is only asked for rows that were kept, but it reads memory."""
    row = bytearray(DataRow((b"1", b"2")).encode())
    row[1:5] = struct.pack("!I", length)
    with pytest.raises(RemoteProtocolError):
        loading.load_rows(bytes(row), 0, len(row), [int, int], [])


def test_rows_that_are_values() -> None:
    for load_rows in (loading.load_rows, python.load_rows):
        rows: list[tuple[Any, ...]] = []
        load_rows([b"1", None, b"2", b"3", None, b"4"], 1, 3, [int, float], rows)
        assert rows == [(2, 3.0), (None, 4.0)]


def test_a_loader_that_raises_stop_iteration_loses_no_rows() -> None:
    def load(data: bytes) -> int:
        if data == b"2":
            raise StopIteration
        return int(data)

    result = Result((FieldDescription("", 0, 0, 0, 0, 0, 0),))
    run = b"".join(DataRow((b"%d" % n,)).encode() for n in range(4))
    for keep_rows, load_rows in ((messages.keep_rows, loading.load_rows), (python.keep_rows, python.load_rows)):
        result.runs.clear()
        keep_rows(result, run, 0, len(run))
        rows: list[tuple[Any, ...]] = []
        with pytest.raises((RuntimeError, StopIteration)):
            load_rows(*result.runs[0][:3], [load], rows)
        assert rows == [(0,), (1,)]


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
    loading.load_rows(run, 0, len(run), [load], rows)
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


# -- the garbage collector


def rows_of(load: Callable[[bytes], Any], *values: bytes | None) -> list[tuple[Any, ...]]:
    """Load rows of one value."""
    rows: list[tuple[Any, ...]] = [(1,)]
    run = b"".join([DataRow((value,)).encode() for value in values])
    loading.load_rows(run, 0, len(run), [load], rows)
    return rows[1:]


LISTS = b"{1,2}", None, b"{{3},{4}}", b"{}"


def test_rows_of_lists_are_collected() -> None:
    """They are looked after once all are there, so that a cycle through one of them is found."""
    rows = rows_of(pair(types.get_oid("int4[]"), 0)[1], *LISTS)
    assert rows == [([1, 2],), (None,), ([[3], [4]],), ([],)]
    assert [gc.is_tracked(row) for row in rows] == [True, False, True, True]
    assert all(gc.is_tracked(row[0]) for row in rows if row[0] is not None)
    ended = weakref.ref(Ended := type("Ended", (), {}))
    rows[0][0].append(rows[0])
    rows[0][0].append(Ended)
    del rows, Ended
    gc.collect()
    assert ended() is None


def test_a_collection_while_rows_are_loaded() -> None:
    shared: list[Any] = [[]]

    def load(data: bytes) -> Any:
        gc.collect()
        if data == b"bad":
            raise ZeroDivisionError
        return shared if data == b"shared" else [[data], {"a": [data]}]

    rows = rows_of(load, b"a", b"shared", None, b"shared", b"b")
    assert rows == [([[b"a"], {"a": [b"a"]}],), (shared,), (None,), (shared,), ([[b"b"], {"a": [b"b"]}],)]
    assert rows[1][0] is rows[3][0] is shared
    assert [gc.is_tracked(row) for row in rows] == [True, True, False, True, True]
    assert all(gc.is_tracked(row[0]) for row in rows if row[0] is not None)
    # Also those that were there when it failed.
    rows = []
    run = b"".join([DataRow((value, value)).encode() for value in (b"a", b"shared", b"bad")])
    with pytest.raises(ZeroDivisionError):
        loading.load_rows(run, 0, len(run), [load, load], rows)
    assert len(rows) == 2
    assert all(gc.is_tracked(row) and all(map(gc.is_tracked, row)) for row in rows)
