"""What values of one type are loaded and dumped: how the server makes them, and what they are in Python.

Knows no driver. A workload that loads fetches rows of one value; one that dumps sends rows of `COLUMNS` values, so that
what a statement costs is a small part, to a statement that stores none of them.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from enum import Enum
from ipaddress import ip_address, ip_interface
from typing import Any, NamedTuple

from .workloads import Query

COLUMNS = 10
"""Values of a row that is sent."""


class Mood(Enum):
    sad = 1
    ok = 2
    happy = 3
    glad = 4


def as_it_is(value: Any) -> Any:
    return value


class Values(NamedTuple):
    name: str
    """How SQL calls it."""
    expression: str
    """What the server makes of the number of a row, `i`."""
    value: Callable[[int], Any]
    """The same in Python."""
    create: str = ""
    """The statement that makes the type."""
    enum: type[Enum] | None = None
    """The class of its members, where it has one: for the driver to register."""
    kind: str = ""
    """"composite", "range" or "multirange", whose values are of a class of the driver's: a tuple here, or a list of
    tuples, until the driver says what that is."""
    make: Callable[[Any], Any] = as_it_is
    """What a driver sends for a value."""
    plain: Callable[[Any], Any] = as_it_is
    """What a driver's value is here."""

    def of_rows(self, cls: Any, make: Callable[[Any], Any] | None = None) -> Values:
        """Return it with composites that are objects of a class; it is called with the fields unless `make` is."""
        if self.kind != "composite":
            return self

        def plain(value: Any) -> Any:
            assert type(value) is cls or type(value) is tuple, value
            return tuple(value)

        return self._replace(make=make or (lambda fields: cls(*fields)), plain=plain)

    def of_ranges(self, range: Any, multirange: Any) -> Values:
        """Return it with ranges or multiranges of these classes."""

        def plain(value: Any) -> Any:
            assert type(value) is range and value.lower_inc and not value.upper_inc, value
            return value.lower, value.upper

        if self.kind == "range":
            return self._replace(make=lambda bounds: range(*bounds), plain=plain)
        if self.kind == "multirange":
            return self._replace(
                make=lambda items: multirange([range(*bounds) for bounds in items]),
                plain=lambda value: [plain(item) for item in value],
            )
        return self

    def values(self, size: int) -> list[Any]:
        return [self.value(number) for number in range(size)]

    def rows(self, size: int) -> list[tuple[Any, ...]]:
        """So many values as they are sent, in rows of `COLUMNS`."""
        values = [self.make(value) for value in self.values(size)]
        return [tuple(values[start : start + COLUMNS]) for start in range(0, size, COLUMNS)]

    def of_number(self, number: str) -> str:
        """The select of one value, of a number that is an expression of SQL itself."""
        return f"SELECT CAST({self.expression} AS {self.name}) FROM (SELECT CAST({number} AS int4)) AS t(i)"

    def stored(self, size: int) -> str:
        """The statement that makes a table of so many values, in the order of their numbers."""
        return (
            f"CREATE TEMPORARY TABLE bench_values AS SELECT i AS id, CAST({self.expression} AS {self.name}) AS value"
            f" FROM generate_series(0, {size - 1}) AS t(i)"
        )

    def sent(self, style: tuple[str, str], columns: int, where: str) -> str:
        """The statement that takes a row; where the condition is false none is stored."""
        places = [style[0] if style[0] == style[1] else f"${number}" for number in range(1, columns + 1)]
        casts = ", ".join([f"CAST({place} AS {self.name})" for place in places])
        return f"INSERT INTO bench_sent SELECT {casts} WHERE {where}"

    def sent_table(self, columns: int) -> str:
        names = ", ".join([f"c{number} {self.name}" for number in range(columns)])
        return f"CREATE TEMPORARY TABLE bench_sent ({names})"


LOAD = "SELECT value FROM bench_values WHERE id < CAST({0} AS int4)"


def load_query(size: int) -> Query:
    return Query(LOAD, size)


SENT = Query("SELECT * FROM bench_sent WHERE CAST({0} AS int4) = 1", 1)


def are_loaded(kind: Values, size: int, rows: Any) -> None:
    got = [kind.plain(row[0]) for row in rows]
    assert got == kind.values(size), got[:5]
    assert list(map(type, got)) == list(map(type, kind.values(size)))


def are_sent(kind: Values, size: int, rows: Any) -> None:
    got = sorted([[kind.plain(value) for value in row] for row in rows], key=repr)
    sent = [[kind.plain(value) for value in row] for row in kind.rows(size)]
    assert got == sorted(sent, key=repr), got[:2]


_AT = datetime.datetime(2024, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc)

_ADDRESSES: list[Callable[[int], Any]] = [
    lambda i: ip_address("10.0.0.0") + i,
    lambda i: ip_address("192.168.0.0") + i,
    lambda i: ip_address("2001:db8::") + i,
    lambda i: ip_interface((int(ip_address("10.0.0.0")) + i, 24)),
]

TYPES = {
    "enum": Values(
        *("bench_mood", "(enum_range(NULL::bench_mood))[1 + mod(i, 4)]", lambda i: Mood(1 + i % 4)),
        create=f"CREATE TYPE pg_temp.bench_mood AS ENUM ({', '.join(repr(name) for name in Mood.__members__)})",
        enum=Mood,
    ),
    "enum_str": Values(
        *("bench_mood", "(enum_range(NULL::bench_mood))[1 + mod(i, 4)]", lambda i: Mood(1 + i % 4).name),
        create=f"CREATE TYPE pg_temp.bench_mood AS ENUM ({', '.join(repr(name) for name in Mood.__members__)})",
    ),
    "inet": Values(
        "inet",
        "CASE mod(i, 4) WHEN 0 THEN inet '10.0.0.0' WHEN 1 THEN inet '192.168.0.0' WHEN 2 THEN inet '2001:db8::'"
        " ELSE inet '10.0.0.0/24' END + i",
        lambda i: _ADDRESSES[i % 4](i),
    ),
    "int4_array": Values(
        *("int4[]", "ARRAY(SELECT i * 1000 + j FROM generate_series(1, 10) AS u(j))"),
        lambda i: [i * 1000 + item for item in range(1, 11)],
    ),
    "text_array": Values(
        *("text[]", "ARRAY(SELECT 'value ' || i || ', ' || j FROM generate_series(1, 10) AS u(j))"),
        lambda i: [f"value {i}, {item}" for item in range(1, 11)],
    ),
    "composite": Values(
        "bench_row",
        "ROW(i, 'row ' || i, i / 8.0::float8, timestamptz '2024-01-02 03:04:05+00' + i * interval '1 second')",
        lambda i: (i, f"row {i}", i / 8, _AT + datetime.timedelta(seconds=i)),
        create="CREATE TYPE pg_temp.bench_row AS (i int4, t text, f float8, at timestamptz)",
        kind="composite",
    ),
    "int4range": Values("int4range", "int4range(i, i + 10)", lambda i: (i, i + 10), kind="range"),
    "tstzrange": Values(
        "tstzrange",
        "tstzrange(timestamptz '2024-01-02 03:04:05+00' + i * interval '1 second', timestamptz '2025-01-01 00:00+00')",
        lambda i: (_AT + datetime.timedelta(seconds=i), datetime.datetime(2025, 1, 1, tzinfo=datetime.timezone.utc)),
        kind="range",
    ),
    "int4multirange": Values(
        *("int4multirange", "int4multirange(int4range(i, i + 10), int4range(i + 20, i + 30))"),
        lambda i: [(i, i + 10), (i + 20, i + 30)],
        kind="multirange",
    ),
}
"""By the end of the names of the workloads."""
