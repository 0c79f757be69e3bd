"""What is measured: the statements, how much of it, and what must come out.

Knows no driver and no event loop. Every statement that fetches takes one integer, so that each driver prepares it as it
does with the statements of a program.
"""

from __future__ import annotations

import datetime
import hashlib
import importlib
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, make_dataclass
from decimal import Decimal
from typing import Any, NamedTuple

Rows = Sequence[Any]
"""Rows as the driver gives them; each is a sequence."""


class Query(NamedTuple):
    """A statement with one integer as its parameter: ``{0}`` stands for the driver's placeholder."""

    sql: str
    argument: int

    def text(self, style: tuple[str, str]) -> str:
        return self.sql.format(*style)


ONE = Query("SELECT 1 + CAST({0} AS int4)", 5)
ONE_ROW = (6,)

INSERT = "INSERT INTO bench_insert VALUES (CAST({0} AS int4), {1})"
INSERT_TABLE = "CREATE TEMPORARY TABLE bench_insert (id int4, name text)"
INSERT_RESET = "TRUNCATE bench_insert"
INSERT_SUMS = Query("SELECT count(*), CAST(sum(id) AS int8) FROM bench_insert WHERE id >= CAST({0} AS int4)", 0)

CHANNEL = "anyq_bench"
SELECTS = 20
"""Selects of each connection, or client of a pool, in one operation of the concurrent workloads."""
POOL_SIZE = 10
"""Connections of a pool."""
SLOW = "SELECT pg_sleep(0.05)"
"""What one of the tasks runs again and again, where it is measured what that does to the others."""
QUERIES_BESIDE = 100
"""Selects on the listening connection while the notifications arrive."""


def insert_rows(size: int) -> list[tuple[int, str]]:
    return [(number, f"name {number}") for number in range(size)]


COPY_TABLE = "CREATE TEMPORARY TABLE bench_copied (i int4, t text, f float8, at timestamptz)"
COPY_TYPES = ("int4", "text", "float8", "timestamptz")
COPY_COUNT = Query("SELECT count(*) + {0} FROM bench_copied", 0)
COPY_OUT = (
    "SELECT CAST(i AS int4), 'row ' || i, i / 8.0::float8, '2024-01-02 03:04:05+00'::timestamptz + i * '1 s'::interval"
    " FROM generate_series(1, {}) AS s(i)"
)
"""What is copied to the client, with the number of rows."""
COPY_IN = "COPY bench_copied FROM STDIN{} WHERE {}"
"""With the format and a condition: where that is false rows are parsed and not stored, so the table does not grow."""
COPY_CHUNK = 8192


def copy_rows(size: int) -> list[tuple[Any, ...]]:
    at = datetime.datetime(2024, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc)
    return [(i, f"row {i}", i / 8, at + datetime.timedelta(seconds=i)) for i in range(size)]


def copy_chunks(size: int) -> list[bytes]:
    """The same as the server's text, in pieces that are cut anywhere."""
    data = "".join(["\t".join(map(str, row)) + "\n" for row in copy_rows(size)]).encode()
    return [data[start : start + COPY_CHUNK] for start in range(0, len(data), COPY_CHUNK)]


def notify(size: int) -> str:
    """A statement that sends so many notifications in one transaction."""
    return f"SELECT count(pg_notify('{CHANNEL}', i::text)) FROM generate_series(1, {size}) AS t(i)"


# -- the tables that are fetched, and what the drivers must make of them


def no_table(size: int) -> str:
    return ""


def int4_query(size: int) -> Query:
    return Query("SELECT CAST(i AS int4) FROM generate_series(1, CAST({0} AS int4)) AS t(i)", size)


def check_int4(size: int, rows: Rows) -> None:
    assert [tuple(row) for row in rows] == [(number,) for number in range(1, size + 1)]


def pg_type_query(size: int) -> Query:
    return Query(
        "SELECT typname, typnamespace, typowner, typlen, typbyval, typcategory, typispreferred, typisdefined,"
        " typdelim, typrelid, typelem, typarray FROM pg_type WHERE typtypmod = CAST({0} AS int4)",
        -1,
    )


def check_pg_type(size: int, rows: Rows) -> None:
    """Only what is the same in every version of the server: built-in types have had their oids for ever."""
    by_name = {row[0]: row for row in rows}
    assert len(rows) > 500, len(rows)
    assert tuple(by_name["int4"])[3:5] == (4, True)
    assert by_name["text"][3] == -1 and by_name["bool"][11] == 1000 and by_name["_bool"][10] == 16


def bytea_table(size: int) -> str:
    return (
        "CREATE TEMPORARY TABLE bench_bytea AS SELECT CAST(i AS int4) AS id, decode(repeat(lpad(to_hex(mod(i, 256)), 2,"
        f" '0'), 1024), 'hex') AS value FROM generate_series(1, {size}) AS t(i)"
    )


def bytea_query(size: int) -> Query:
    return Query("SELECT value FROM bench_bytea WHERE id <= CAST({0} AS int4)", size)


def check_bytea(size: int, rows: Rows) -> None:
    assert [bytes(row[0]) for row in rows] == [bytes([number % 256]) * 1024 for number in range(1, size + 1)]


def arrays_table(size: int) -> str:
    return (
        "CREATE TEMPORARY TABLE bench_arrays AS SELECT CAST(i AS int4) AS id, ARRAY(SELECT CAST(i * 1000 + j AS int4)"
        f" FROM generate_series(1, 100) AS u(j)) AS value FROM generate_series(1, {size}) AS t(i)"
    )


def arrays_query(size: int) -> Query:
    return Query("SELECT value FROM bench_arrays WHERE id <= CAST({0} AS int4)", size)


def check_arrays(size: int, rows: Rows) -> None:
    expected = [[number * 1000 + item for item in range(1, 101)] for number in range(1, size + 1)]
    assert [list(row[0]) for row in rows] == expected


def mixed_table(size: int) -> str:
    return (
        "CREATE TEMPORARY TABLE bench_mixed AS SELECT CAST(i AS int4) AS id,"
        " CAST(i AS int8) * 10000000000 AS c_int8, CAST(i AS float8) / 7 AS c_float8, i * 1.25 AS c_numeric,"
        " timestamptz '2020-01-01 00:00:00+00' + i * interval '3601 seconds' AS c_timestamptz,"
        " date '2020-01-01' + i AS c_date, CAST(md5(CAST(i AS text)) AS uuid) AS c_uuid,"
        " 'value number ' || i AS c_text, mod(i, 2) = 0 AS c_bool,"
        " jsonb_build_object('id', i, 'tags', jsonb_build_array('a', 'b')) AS c_jsonb"
        f" FROM generate_series(1, {size}) AS t(i)"
    )


def mixed_query(size: int) -> Query:
    return Query(
        "SELECT c_int8, c_float8, c_numeric, c_timestamptz, c_date, c_uuid, c_text, c_bool, c_jsonb"
        " FROM bench_mixed WHERE id <= CAST({0} AS int4)",
        size,
    )


def check_mixed(size: int, rows: Rows) -> None:
    """All of every row; a driver that has no class for uuid gives its text."""
    start = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)
    expected = [
        (
            *(number * 10_000_000_000, number / 7, Decimal(number) * Decimal("1.25")),
            *(start + number * datetime.timedelta(seconds=3601), start.date() + datetime.timedelta(number)),
            *(uuid.UUID(hashlib.md5(str(number).encode()).hexdigest()), f"value number {number}"),
            *(number % 2 == 0, {"id": number, "tags": ["a", "b"]}),
        )
        for number in range(1, size + 1)
    ]
    got = [(*row[:5], uuid.UUID(str(row[5])), *row[6:]) for row in map(tuple, rows)]
    assert got == expected


def stream_query(size: int) -> Query:
    return Query(
        "SELECT CAST(i AS int4), 'row ' || i FROM generate_series(1, CAST({0} AS int4)) AS t(i)",
        size,
    )


def check_stream(size: int, result: Any) -> None:
    """The count of the rows and the sum of their first column."""
    assert result == (size, size * (size + 1) // 2), result


PERSON = {"id": int, "name": str, "email": "str | None", "age": int}
"""The columns of rows that become objects, and what they are."""


def person_class(kind: str) -> Any:
    """Return the class of such objects, the same each time.

    :raises ImportError: msgspec is not installed.
    """
    if kind not in _PERSONS:
        if kind == "dataclass":
            _PERSONS[kind] = make_dataclass("Person", list(PERSON.items()))
        else:
            _PERSONS[kind] = importlib.import_module("msgspec").defstruct("Person", list(PERSON.items()))
    return _PERSONS[kind]


_PERSONS: dict[str, Any] = {}


def people_table(size: int) -> str:
    return (
        "CREATE TEMPORARY TABLE bench_people AS SELECT CAST(i AS int4) AS id, 'person ' || i AS name, CASE WHEN"
        " mod(i, 3) > 0 THEN 'person' || i || '@example.org' END AS email, CAST(mod(i, 80) AS int4) AS age"
        f" FROM generate_series(1, {size}) AS t(i)"
    )


def people_query(size: int) -> Query:
    return Query("SELECT id, name, email, age FROM bench_people WHERE id <= CAST({0} AS int4)", size)


def check_people(size: int, rows: Rows) -> None:
    assert len({type(row) for row in rows}) == 1
    assert [(row.id, row.name, row.email, row.age) for row in rows] == [
        (i, f"person {i}", f"person{i}@example.org" if i % 3 else None, i % 80) for i in range(1, size + 1)
    ]


@dataclass(frozen=True)
class Workload:
    title: str
    kind: str
    """Which function of `operations` makes it of a driver."""
    size: int = 1
    """Rows, connections, statements, notifications: what the kind has a number of."""
    table: Callable[[int], str] = no_table
    query: Callable[[int], Query] = int4_query
    check: Callable[[int, Any], None] = check_int4
    subscribers: int = 1
    beside: int = 0
    """Selects on the connection that listens, meanwhile."""
    type: str = ""
    """Of those that load or dump values of one type, the type: see `typed`. Of those that make objects, their kind."""
    server: str = "main"
    """Which of the connection strings: "main", "tcp" or "tls"."""
    warm: int = 10
    """Operations before the first that counts: more than any driver's threshold for preparing a statement."""
    own_process: bool = False
    """Each measurement in a new process, since its peak of memory is wanted."""
    rounds: int | None = None
    """At most so many rounds, as one of them takes long."""

    @property
    def parts(self) -> int:
        """What the time of an operation is divided by, to give that of one select, or of one turn with a pool's."""
        return (
            self.size * SELECTS
            if self.kind in ("connections", "pool", "selects")
            else (self.size - 1) * SELECTS
            if self.kind.startswith("tail")
            else 1
        )


_TYPED = {
    "enum": "an enum, as members of a class",
    "enum_str": "an enum, as str",
    "inet": "an inet: half of them IPv4 addresses, a quarter IPv6, a quarter with a mask",
    "int4_array": "an array of 10 int4",
    "text_array": "an array of 10 texts that need quotes",
    "composite": "a composite of int4, text, float8 and timestamptz",
    "int4range": "an int4range",
    "tstzrange": "a tstzrange",
    "int4multirange": "an int4multirange of two ranges",
}

WORKLOADS = {
    "one_row": Workload("SELECT 1 + $1, prepared, one after another on one connection", "one"),
    "pg_type": Workload("about 600 rows of 12 columns", "fetch", 0, no_table, pg_type_query, check_pg_type),
    "int4_1000": Workload("1,000 rows of one int4", "fetch", 1000),
    "bytea_100": Workload("100 rows of 1 kB bytea", "fetch", 100, bytea_table, bytea_query, check_bytea),
    "arrays_100": Workload("100 rows of an array of 100 int4", "fetch", 100, arrays_table, arrays_query, check_arrays),
    "mixed_1000": Workload(
        "1,000 rows of int8, float8, numeric, timestamptz, date, uuid, text, bool, jsonb",
        *("fetch", 1000, mixed_table, mixed_query, check_mixed),
    ),
    **{
        f"{name}_1000": Workload(
            f"1,000 rows of two int4 and two texts, as {title}",
            *("objects", 1000, people_table, people_query, check_people),
            type=type,
        )
        for name, type, title in (
            ("structs", "struct", "msgspec's Structs"),
            ("dataclasses", "dataclass", "dataclasses"),
        )
    },
    "executemany_1000": Workload("1,000 INSERTs of two columns in a transaction", "insert", 1000, warm=2),
    "connections_2": Workload("one-row selects on 2 connections at once, the time of one", "connections", 2, warm=1),
    "connections_8": Workload("one-row selects on 8 connections at once, the time of one", "connections", 8, warm=1),
    "connections_10": Workload("one-row selects on 10 connections at once, the time of one", "connections", 10, warm=1),
    "connections_16": Workload("one-row selects on 16 connections at once, the time of one", "connections", 16, warm=1),
    "connections_50": Workload("one-row selects on 50 connections at once, the time of one", "connections", 50, warm=1),
    "pool_checkout": Workload("a connection of a pool, had and given back", "checkout"),
    "pool_one_row_10": Workload("one-row selects by 10 clients of a pool of 10, the time of one", "pool", 10, warm=1),
    "pool_one_row_100": Workload(
        "one-row selects by 100 clients of a pool of 10, the time of one", "pool", 100, warm=1
    ),
    "pool_select_16": Workload(
        "one-row selects by 16 tasks on a pool, as it does them best, the time of one", "selects", 16, warm=1
    ),
    "pool_select_100": Workload(
        "one-row selects by 100 tasks on a pool, as it does them best, the time of one", "selects", 100, warm=1
    ),
    "pool_tail_50": Workload(
        "the same by 49 tasks, beside one that runs statements of 50 ms: the time of one, and the longest of 99 %",
        *("tail", 50),
        warm=10,
    ),
    "pool_tail_50_lent": Workload(
        "the same by 49 clients, and that one, each with a connection of the pool of 10", "tail_lent", 50, warm=10
    ),
    "group_100": Workload(
        "100 one-row selects on one connection: a task group of anyq's, with others one by one", "group", 100, warm=2
    ),
    "pipeline_100": Workload(
        "100 one-row selects in a pipeline block, whose results are fetched at its end", "pipeline", 100, warm=2
    ),
    "connect": Workload("connect and close", "connect", warm=3),
    "connect_tcp": Workload("connect and close over TCP, with the password by SCRAM", "connect", server="tcp", warm=3),
    "connect_tls": Workload("connect and close over TLS, with the password by SCRAM", "connect", server="tls", warm=3),
    "notify_1": Workload("1,000 notifications of one transaction to 1 subscriber", "notify", 1000, warm=3),
    "notify_10": Workload(
        "1,000 notifications of one transaction to 10 subscribers", "notify", 1000, subscribers=10, warm=3
    ),
    "notify_busy": Workload(
        "1,000 notifications, and 100 selects one by one on the connection that listens",
        *("notify", 1000),
        beside=QUERIES_BESIDE,
        warm=3,
    ),
    "notify_latency": Workload("one notification, sent and received", "notify", 1),
    "copy_in_rows": Workload(
        "COPY of 10,000 rows of int4, text, float8, timestamptz, made of Python's values",
        "copy_in_rows",
        10_000,
        warm=2,
    ),
    "copy_in_bytes": Workload("COPY of the same rows, in pieces of 8 kB of text", "copy_in_bytes", 10_000, warm=2),
    "copy_out_rows": Workload("COPY of such rows to the client, to Python's values", "copy_out_rows", 10_000, warm=2),
    "copy_out_bytes": Workload("COPY of such rows to the client, as text", "copy_out_bytes", 10_000, warm=2),
    **{f"load_{type}": Workload(f"1,000 rows of {title}", "load", 1000, type=type) for type, title in _TYPED.items()},
    **{
        f"dump_{type}": Workload(f"1,000 values, {title} each, in rows of 10", "dump", 1000, type=type)
        for type, title in _TYPED.items()
    },
    "cursor_100k": Workload(
        "100,000 rows of int4 and text, from a cursor of the server's in pieces of 100",
        *("cursor", 100_000, no_table, stream_query, check_stream),
        warm=1,
        rounds=5,
    ),
    "stream_100": Workload(
        "100 rows of int4 and text, streamed", *("stream", 100, no_table, stream_query, check_stream), warm=1
    ),
    "stream_20k": Workload(
        "20,000 rows of int4 and text, streamed", *("stream", 20_000, no_table, stream_query, check_stream), warm=1
    ),
    "stream_1m": Workload(
        "1,000,000 rows of int4 and text, streamed",
        *("stream", 1_000_000, no_table, stream_query, check_stream),
        warm=0,
        own_process=True,
        rounds=3,
    ),
}

FETCHES = tuple(name for name, workload in WORKLOADS.items() if workload.kind == "fetch")
LOADS = tuple(name for name, workload in WORKLOADS.items() if workload.kind == "load")
DUMPS = tuple(name for name, workload in WORKLOADS.items() if workload.kind == "dump")
