"""The array of each basic type, the range and multirange over it, and the composite that has all of them.

Through a server from text and from binary comes the same, and it is what was sent; a COPY with the types that are set
does the same. With the synchronous connection, as nothing here depends on an event loop. Of bytes that no server sends
each loader makes a DataError, and nothing else.
"""

from __future__ import annotations

import copy
import datetime as dt
import pickle
import random
from collections.abc import Callable, Iterator
from enum import Enum
from ipaddress import ip_network
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import anyq
from anyq.adapt import Format, PyFormat
from anyq.postgres import adapters, types
from anyq.types import TypeInfo
from anyq.types.composite import CompositeInfo, register_composite
from anyq.types.enum import EnumInfo, register_enum
from anyq.types.geometric import Box, Circle, Line, Lseg, Path, Point, Polygon
from anyq.types.hstore import register_hstore
from anyq.types.json import Json, Jsonb
from anyq.types.multirange import Multirange, MultirangeInfo, register_multirange
from anyq.types.range import Range, RangeInfo, register_range
from tests.support.hostile_values import check_hostile
from tests.support.values import FORMATS, transformer

EXAMPLES = 4
"""Of each type: the tests without a server have many more."""

ZONE = dt.timezone(dt.timedelta(hours=5, minutes=30))
moments = st.datetimes(dt.datetime(1, 1, 2), dt.datetime(9999, 12, 30))
points = st.builds(Point, *[st.floats(allow_nan=False)] * 2)
text = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0") | st.sampled_from('(),"\\{}[] '), max_size=6
)


class Kind(NamedTuple):
    values: st.SearchStrategy[Any]
    range: str | None
    """The type of ranges; "" for one that is made, None for none."""
    sent: Callable[[Any], Any] = lambda value: value
    text_only: bool = False
    """Whether nothing writes it in binary."""
    key: Callable[[Any], Any] = lambda value: value
    """What the server sorts by."""


def integers(bits: int) -> st.SearchStrategy[int]:
    # A range has to have an end that can be written: what is included becomes what is not, and one more.
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 2)


def boxes(x: float, y: float, width: float, height: float) -> Box:
    return Box(Point(x + width, y + height), Point(x, y))


def lsn(number: int) -> str:
    return f"{number >> 32:X}/{number & 0xFFFFFFFF:X}"


def cents(money: str) -> int:
    return int("".join(filter("-0123456789".__contains__, money)))


def snapshot(xids: set[int]) -> str:
    first, *others, last = sorted(xids)
    return f"{first}:{last}:{','.join(map(str, [first, *others]))}"


small = st.integers(-(10**6), 10**6).map(float)
documents = st.dictionaries(text, st.none() | st.booleans() | text | st.lists(text, max_size=2), max_size=2)
letters = st.characters(min_codepoint=1, max_codepoint=127)


class Pair(NamedTuple):
    a: int
    b: bytes


class Mood(Enum):
    """In the order of the type."""

    happy = "happy"
    odd = "it's {,\"}"
    fair = "so (so)"
    null = "null"
    empty = ""


KINDS = {
    "bool": Kind(st.booleans(), ""),
    "int2": Kind(integers(16), ""),
    "int4": Kind(integers(32), "int4range"),
    "int8": Kind(integers(64), "int8range"),
    "oid": Kind(st.integers(0, 2**32 - 1), ""),
    "numeric": Kind(st.decimals(-(10**20), 10**20, places=5), "numrange"),
    "float4": Kind(st.floats(allow_nan=False, width=32), ""),
    "float8": Kind(st.floats(allow_nan=False), ""),
    "text": Kind(text, ""),
    "varchar": Kind(text, None),
    "bytea": Kind(st.binary(max_size=5), ""),
    "uuid": Kind(st.uuids(), ""),
    "date": Kind(st.dates(dt.date(1, 1, 2), dt.date(9999, 12, 30)), "daterange"),
    "time": Kind(st.times(), ""),
    "timetz": Kind(st.times(timezones=st.just(ZONE)), None),
    "timestamp": Kind(moments, "tsrange"),
    "timestamptz": Kind(moments.map(lambda moment: moment.replace(tzinfo=dt.timezone.utc)), "tstzrange"),
    "interval": Kind(st.timedeltas(dt.timedelta(days=-(10**6)), dt.timedelta(days=10**6)), ""),
    "inet": Kind(st.ip_addresses(v=4), ""),
    "cidr": Kind(st.ip_addresses(v=4).map(ip_network), None),
    "bit(5)": Kind(st.text("01", min_size=5, max_size=5), None),
    "varbit": Kind(st.text("01", max_size=9), ""),
    "macaddr": Kind(st.binary(min_size=6, max_size=6).map(lambda data: data.hex(":")), ""),
    "macaddr8": Kind(st.binary(min_size=8, max_size=8).map(lambda data: data.hex(":")), ""),
    "name": Kind(st.text(letters, max_size=9), ""),
    "bpchar(3)": Kind(st.text(letters, min_size=3, max_size=3), None),
    '"char"': Kind(letters | st.just(""), ""),  # for other bytes see test_system
    "pg_temp.mood": Kind(st.sampled_from(Mood), "", key=list(Mood).index),
    "pg_temp.small": Kind(st.integers(-(2**31), 6), ""),
    "hstore": Kind(st.dictionaries(text, st.none() | text, max_size=2), None),
    "pg_temp.pair": Kind(st.builds(Pair, st.integers(-(2**31), 6), st.binary(max_size=3)), ""),
    "xid": Kind(st.integers(0, 2**32 - 1), None, str),
    "cid": Kind(st.integers(0, 2**32 - 1), None, str),
    "xid8": Kind(st.integers(0, 2**64 - 1), "", str),
    "pg_lsn": Kind(
        st.integers(0, 2**64 - 1).map(lsn), "", key=lambda value: [int(part, 16) for part in value.split("/")]
    ),
    "tid": Kind(st.builds("({},{})".format, st.integers(0, 2**32 - 1), st.integers(0, 2**16 - 1)), None),
    "pg_snapshot": Kind(st.sets(st.integers(3, 2**32 - 1), min_size=2, max_size=5).map(snapshot), None),
    "txid_snapshot": Kind(st.sets(st.integers(3, 2**32 - 1), min_size=2, max_size=5).map(snapshot), None),
    "int2vector": Kind(st.lists(integers(16), min_size=1, max_size=3).map(lambda n: " ".join(map(str, n))), None),
    "oidvector": Kind(
        st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=3).map(lambda n: " ".join(map(str, n))), None
    ),
    "refcursor": Kind(text, None),
    "regtype": Kind(st.sampled_from(["integer", "time with time zone", "int4range[]", '"char"']), None, text_only=True),
    "money": Kind(
        st.sampled_from(["$0.00", "-$1,234.50", "$92,233,720,368,547,758.07"]), "", text_only=True, key=cents
    ),
    "tsvector": Kind(st.sampled_from(["", "'a' 'fat':2,4A", "'\\\\' 'it''s':1 '{,}'"]), None, text_only=True),
    "tsquery": Kind(st.sampled_from(["", "'a' & !'b'", "'a':*A <-> ( 'it''s' | '(,)' )"]), None, text_only=True),
    "jsonpath": Kind(st.sampled_from(["$", '$."a"[*]', '$."{,} \\\\ é"']), None),
    "xml": Kind(st.sampled_from(["<a/>", "text &amp; é", '<?xml version="1.1"?><a b="{,}"/>']), None),
    "json": Kind(documents, None, Json),
    "point": Kind(points, None),
    "line": Kind(st.builds(Line, st.floats(1, 9), small, small), None),
    "box": Kind(st.builds(boxes, small, small, st.integers(0, 9), st.integers(0, 9)), None),
    "lseg": Kind(st.builds(Lseg, points, points), None),
    "path": Kind(st.builds(Path, st.tuples(points, points), st.booleans()), None),
    "polygon": Kind(st.builds(Polygon, st.tuples(points, points)), None),
    "circle": Kind(st.builds(Circle, points, st.floats(0, 1e9)), None),
    "jsonb": Kind(documents, None, Jsonb),
}


@pytest.fixture(scope="module")
def connection(dsn: str) -> Iterator[anyq.Connection[Any]]:
    with anyq.connect(dsn, autocommit=True) as connection:
        connection.execute(
            "SET TIME ZONE 'UTC'; SET lc_monetary TO 'C'; CREATE DOMAIN pg_temp.small AS int4 CHECK (VALUE < 7);"
            """CREATE TYPE pg_temp.mood AS ENUM ('happy', 'it''s {,"}', 'so (so)', 'null', '')"""
        )
        mood = EnumInfo.fetch(connection, "pg_temp.mood")
        small = TypeInfo.fetch(connection, "pg_temp.small")
        assert mood is not None
        assert small is not None
        register_enum(mood, connection, Mood, mapping={member: member.value for member in Mood})
        small.register(connection)
        connection.execute("CREATE TYPE pg_temp.pair AS (a pg_temp.small, b bytea)")
        pair = CompositeInfo.fetch(connection, "pg_temp.pair")
        assert pair is not None
        register_composite(pair, connection, Pair)
        yield connection


def same(value: Any) -> Any:
    return value


class Types:
    """The types that are made of one, registered on a cursor: so that a range of str is not that of another test."""

    def __init__(self, connection: anyq.Connection[Any], name: str, kind: Kind) -> None:
        self.cursor = connection.cursor()
        self.key = kind.key
        self.made = "pg_temp.of_" + "".join(filter(str.isalnum, name))
        self.has_ranges = kind.range is not None
        if name == "hstore":
            make_hstore(connection, self.cursor)
        spans: tuple[str, ...] = ()
        if kind.range == "":
            spans = self.make_ranges(connection, name)
        elif kind.range is not None:
            spans = (kind.range, kind.range.replace("range", "multirange"))
        fields = [name, f"{name}[]", *(more for span in spans for more in (span, f"{span}[]"))]
        columns = ", ".join(f"f{i} {field}" for i, field in enumerate(fields))
        connection.execute(f"CREATE TYPE {self.made} AS ({columns})".encode())
        composite = CompositeInfo.fetch(connection, self.made)
        assert composite is not None
        register_composite(composite, self.cursor)
        self.names = [name.partition("(")[0].strip('"').removeprefix("pg_temp."), composite.name, f"{composite.name}[]"]
        self.holder: Any = composite.python_type
        self.sql = [*fields[1:], self.made, f"{self.made}[]"]

    def make_ranges(self, connection: anyq.Connection[Any], name: str) -> tuple[str, str]:
        """Make and register the types of ranges and multiranges over a type; return their names."""
        of_range, of_ranges = f"{self.made}_range", f"{self.made}_ranges"
        collation = ', COLLATION = "C"' if name in ("text", "name") else ""
        options = f"SUBTYPE = {name}{collation}, MULTIRANGE_TYPE_NAME = {of_ranges}"
        connection.execute(f"CREATE TYPE {of_range} AS RANGE ({options})")
        info = RangeInfo.fetch(connection, of_range)
        multi = MultirangeInfo.fetch(connection, of_ranges)
        assert info is not None
        assert multi is not None
        register_range(info, self.cursor)
        register_multirange(multi, self.cursor)
        return of_range, of_ranges

    def fields(self, first: Any, second: Any, sent: Callable[[Any], Any]) -> list[Any]:
        items = [sent(first), None, sent(second)]
        fields = [items[0], items]
        if self.has_ranges:
            lower, upper = map(sent, sorted([first, second], key=self.key))
            span = Range(lower, upper) if lower != upper else Range(empty=True)
            several = Multirange([span] if span else [])
            fields += [span, [span, Range(lower, None), None]]
            fields += [several, [several, None, Multirange([Range(None, upper)])]]
        return fields

    def values(self, first: Any, second: Any, sent: Callable[[Any], Any]) -> list[Any]:
        """Return values of the types `sql`."""
        # Fields have types, so that nothing has to be said.
        fields = self.fields(first, second, sent if sent is not str else same)
        holder = self.holder(*fields)
        return [*self.fields(first, second, sent)[1:], holder, [holder, None, self.holder(*[None] * len(fields))]]


def make_hstore(connection: anyq.Connection[Any], cursor: anyq.Cursor[Any]) -> None:
    try:
        connection.execute("CREATE EXTENSION IF NOT EXISTS hstore")
    except (anyq.errors.FeatureNotSupported, anyq.errors.UndefinedFile, anyq.errors.InsufficientPrivilege):
        pytest.skip("this server has no hstore")
    info = TypeInfo.fetch(connection, "hstore")
    assert info is not None
    register_hstore(info, cursor)


def skip_without_xml(connection: anyq.Connection[Any]) -> None:
    try:
        connection.execute("SELECT '<a/>'::xml")
    except anyq.errors.FeatureNotSupported:
        pytest.skip("this server is built without libxml")


@pytest.mark.parametrize("name", KINDS)
def test_array_range_and_composite(connection: anyq.Connection[Any], name: str) -> None:
    kind = KINDS[name]
    if name == "xml":
        skip_without_xml(connection)
    with connection.transaction(force_rollback=True):
        check_values(Types(connection, name, kind), kind)


def check_values(types: Types, kind: Kind) -> None:
    cursor = types.cursor

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(kind.values, kind.values)
    def check(first: Any, second: Any) -> None:
        expected = types.values(first, second, same)
        row: Any = None
        for format in PyFormat:
            if format is PyFormat.BINARY and kind.text_only:
                # Nothing of it is sent.
                with pytest.raises(anyq.ProgrammingError, match=r"no dumper for type .* use text"):
                    cursor.execute("SELECT %b", (expected[-2],))
                continue
            query = "SELECT " + ", ".join([f"%{format.value}::{type}" for type in types.sql])
            for binary in (False, True):
                row = cursor.execute(query, types.values(first, second, kind.sent), binary=binary).fetchone()
                assert row == tuple(expected)
                assert type(row[-2]) is types.holder
        # What was loaded can be copied, pickled and, but for lists and the like, hashed, as what was sent.
        for value in row[:-2]:
            for again in (copy.copy(value), copy.deepcopy(value), pickle.loads(pickle.dumps(value))):
                assert again == value
                assert repr(again) == repr(value)
        assert copy.deepcopy(row) == row

    check()


@pytest.mark.parametrize("name", KINDS)
def test_copy(connection: anyq.Connection[Any], name: str) -> None:
    kind = KINDS[name]
    if name == "xml":
        skip_without_xml(connection)
    with connection.transaction(force_rollback=True):
        check_copy(Types(connection, name, kind), kind, name)


def check_copy(types: Types, kind: Kind, name: str) -> None:
    cursor = types.cursor
    wrapped = kind.sent if kind.sent is not str else same

    @settings(max_examples=1, deadline=None, suppress_health_check=list(HealthCheck))
    @given(kind.values, kind.values)
    def check(first: Any, second: Any) -> None:
        rows = [(wrapped(first), *types.values(first, second, wrapped)[-2:]), (wrapped(second), None, None)]
        expected = [(first, *types.values(first, second, same)[-2:]), (second, None, None)]
        for form in ("text",) if kind.text_only else ("text", "binary"):
            cursor.execute(f"CREATE TEMPORARY TABLE copied (a {name}, b {types.made}, c {types.made}[])")
            with cursor.copy(f"COPY copied FROM STDIN (FORMAT {form})") as copy:
                copy.set_types(types.names)
                for row in rows:
                    copy.write_row(row)
            with cursor.copy(f"COPY copied TO STDOUT (FORMAT {form})") as copy:
                copy.set_types(types.names)
                assert list(copy.rows()) == expected
            cursor.execute("DROP TABLE copied")

    check()


# -- bytes that no server sends


def spoilt(data: bytes, rng: random.Random) -> Iterator[bytes]:
    """Yield bytes that are like a value, cut, longer and with others in them."""
    yield data[: rng.randrange(len(data) + 1)]
    yield data[rng.randrange(len(data) + 1) :]
    yield data + rng.choice([b"\0", b"\xff", b"x", b")", data])
    for _ in range(3):
        place = rng.randrange(len(data) + 1)
        yield (
            data[:place]
            + rng.choice([b"\0", b"\xff", b"\x7f\xff\xff\xff", b"{", b'"', b"\\", b"9"])
            + data[place + 1 :]
        )
    yield rng.randbytes(rng.randrange(24))


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("encoding", ["utf-8", "shift_jis", "ascii"])
def test_hostile_bytes(format: Format, encoding: str) -> None:
    rng = random.Random(f"{format} {encoding}")
    tx = transformer(encoding)
    seeds = [b"", b"\0\0\0\1", b"{1,2}", b"(1,2)", b"[1,2)", b"empty", b"1 day", b"2024-01-02 03:04:05+06", b"-1.5e5"]
    seeds += [b"\0\0\0\1\0\0\0\0\0\0\0\x17\0\0\0\1\0\0\0\1\0\0\0\4\0\0\0\7", b"\2\0\0\0\4\0\0\0\1\0\0\0\4\0\0\0\5"]
    seeds += [b"\2\x20\0\4\x7f\0\0\1", b"\0\2\0\0\0\0\0\1\0\1\x13\x88", b"08:00:2b:01:02:03", b"16/B374D848"]
    loaders = dict(adapters._loaders[format])
    assert len(loaders) > 140
    for oid in loaders:
        for seed in seeds:
            for data in spoilt(seed, rng):
                check_hostile(data, oid, format, tx)


@pytest.mark.parametrize("name", [name for name in KINDS if not name.startswith(("pg_temp.", "hstore"))])
def test_values_that_were_spoilt(name: str) -> None:
    """What is written of good values, with its bytes changed: each loader takes it, or says a DataError."""
    kind = KINDS[name]
    info = types[name.partition("(")[0].strip('"')]
    tx = transformer()

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(kind.values, st.integers())
    def check(value: Any, seed: int) -> None:
        rng = random.Random(seed)
        for format in FORMATS[: 1 if kind.text_only else 2]:
            for oid, obj in ((info.oid, value), (info.array_oid, [value, None])):
                data = tx.get_dumper_by_oid(oid, format).dump(obj)
                assert data is not None
                for bad in spoilt(bytes(data), rng):
                    check_hostile(bad, oid, format, tx)

    check()
