"""What values of one type are loaded and dumped: how the server makes them, and what they are in Python.

Knows no driver. A workload that loads fetches rows of one value; one that dumps sends rows of `COLUMNS` values, so that
what a statement costs is a small part, to a statement that stores none of them.
"""

from __future__ import annotations

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

    def values(self, size: int) -> list[Any]:
        return [self.value(number) for number in range(size)]

    def rows(self, size: int) -> list[tuple[Any, ...]]:
        """So many values, in rows of `COLUMNS`."""
        values = self.values(size)
        return [tuple(values[start : start + COLUMNS]) for start in range(0, size, COLUMNS)]

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
    got = [row[0] for row in rows]
    assert got == kind.values(size), got[:5]
    assert list(map(type, got)) == list(map(type, kind.values(size)))


def are_sent(kind: Values, size: int, rows: Any) -> None:
    got = sorted([list(row) for row in rows], key=repr)
    assert got == sorted(map(list, kind.rows(size)), key=repr), got[:2]


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
}
"""By the end of the names of the workloads."""
