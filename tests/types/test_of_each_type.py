"""The array of each basic type, the range over it, and the composite that has all of them, through a server.

From text and from binary comes the same, and it is what was sent. With the synchronous connection, as nothing here
depends on an event loop.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from ipaddress import ip_network
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import anyq
from anyq.adapt import PyFormat
from anyq.types.composite import CompositeInfo, register_composite
from anyq.types.geometric import Circle, Lseg, Path, Point, Polygon
from anyq.types.json import Jsonb
from anyq.types.range import Range, RangeInfo, register_range

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


def integers(bits: int) -> st.SearchStrategy[int]:
    # A range has to have an end that can be written: what is included becomes what is not, and one more.
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 2)


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
    "varbit": Kind(st.text("01", max_size=9), None),
    "macaddr": Kind(st.binary(min_size=6, max_size=6).map(lambda data: data.hex(":")), None),
    "macaddr8": Kind(st.binary(min_size=8, max_size=8).map(lambda data: data.hex(":")), None),
    "point": Kind(points, None),
    "lseg": Kind(st.builds(Lseg, points, points), None),
    "path": Kind(st.builds(Path, st.tuples(points, points), st.booleans()), None),
    "polygon": Kind(st.builds(Polygon, st.tuples(points, points)), None),
    "circle": Kind(st.builds(Circle, points, st.floats(0, 1e9)), None),
    "jsonb": Kind(
        st.dictionaries(text, st.none() | st.booleans() | text | st.lists(text, max_size=2), max_size=2), None, Jsonb
    ),
}


@pytest.fixture(scope="module")
def connection(dsn: str) -> Iterator[anyq.Connection[Any]]:
    with anyq.connect(dsn, autocommit=True) as connection:
        connection.execute("SET TIME ZONE 'UTC'")
        yield connection


@pytest.mark.parametrize("name", KINDS)
def test_array_range_and_composite(connection: anyq.Connection[Any], name: str) -> None:
    kind = KINDS[name]
    ranges = kind.range
    if ranges == "":
        ranges = f"pg_temp.{name}_range"
        collation = ', COLLATION = "C"' if name == "text" else ""
        connection.execute(f"CREATE TYPE {ranges} AS RANGE (SUBTYPE = {name}{collation})")
        info = RangeInfo.fetch(connection, ranges)
        assert info is not None
        register_range(info, connection)
    holder = f"pg_temp.{name}_holder"
    more = f", span {ranges}, spans {ranges}[]" if ranges else ""
    connection.execute(f"CREATE TYPE {holder} AS (item {name}, items {name}[]{more})")
    composite = CompositeInfo.fetch(connection, holder)
    assert composite is not None
    register_composite(composite, connection)
    made: Any = composite.python_type

    def values(first: Any, second: Any, sent: Callable[[Any], Any]) -> list[Any]:
        items = [sent(first), None, sent(second)]
        fields = [items[0], items]
        if ranges:
            lower, upper = sorted([first, second])
            span = Range(lower, upper) if lower != upper else Range(empty=True)
            fields += [span, [span, Range(lower, None), None]]
        return [items, *fields[2:], made(*fields), [made(*fields), None, made(*[None] * len(fields))]]

    types = [f"{name}[]", *([ranges, f"{ranges}[]"] if ranges else []), holder, f"{holder}[]"]

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(kind.values, kind.values)
    def check(first: Any, second: Any) -> None:
        expected = values(first, second, lambda value: value)
        for format in PyFormat:
            query = "SELECT " + ", ".join([f"%{format.value}::{type}" for type in types])
            for binary in (False, True):
                row = connection.execute(query, values(first, second, kind.sent), binary=binary).fetchone()
                assert row == tuple(expected)
                assert type(row[-2]) is made

    check()
