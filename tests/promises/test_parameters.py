"""What a parameter of each kind of object is sent as: the same as psycopg sends, but where it is said here why not.

One table is run with both drivers, on a server, in each format and as a literal. What psycopg refuses is refused, by an
exception of the same class, and ours says what to do instead.
"""

from __future__ import annotations

import enum
import ipaddress
from array import array
from collections import deque, namedtuple
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, Flag, IntEnum, IntFlag
from fractions import Fraction
from importlib import import_module
from importlib.util import find_spec
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

import pytest

import anyq

UTC = timezone.utc


class Plain(Enum):
    a = 1
    b = "value"


class Number(IntEnum):
    a = 40_000


class Bits(IntFlag):
    a = 1
    b = 2


class Flags(Flag):
    a = 1


class Word(str, Enum):
    a = "value"


class MyInt(int):
    def __repr__(self) -> str:
        return "another"

    __str__ = __repr__


class MyStr(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "another"


class MyFloat(float):
    def __repr__(self) -> str:
        return "another"

    __str__ = __repr__


class MyBytes(bytes):
    pass


class MyDate(date):
    pass


class MyDatetime(datetime):
    pass


class MyTime(time):
    pass


class MyTimedelta(timedelta):
    pass


class MyDecimal(Decimal):
    pass


class MyUUID(UUID):
    pass


class MyDict(dict[str, Any]):
    pass


class MyList(list[Any]):
    pass


@dataclass
class Item:
    name: str
    price: int


Pair = namedtuple("Pair", "a b")

#: By a name for each: the object, or what makes it, as a generator is of use once.
VALUES: dict[str, Any] = {
    **{"None": None, "bool": True, "int2": -5, "int4": 40_000, "int8": 2**40, "numeric": 2**63, "huge": -(10**100)},
    **{"least int2": -(2**15), "below int2": -(2**15) - 1, "least int8": -(2**63), "below int8": -(2**63) - 1},
    **{"float": 0.1, "nan": float("nan"), "inf": float("-inf"), "decimal": Decimal("1.50"), "sNaN": Decimal("sNaN")},
    **{"text": "it's \\ %s", "empty": "", "bytes": b"\0\xff'\\", "bytearray": bytearray(b"ab")},
    **{"memoryview": memoryview(b"ab"), "date": date(2024, 1, 2), "time": time(1, 2), "timetz": time(1, 2, tzinfo=UTC)},
    **{"datetime": datetime(2024, 1, 2), "datetimetz": datetime(2024, 1, 2, tzinfo=UTC), "timedelta": timedelta(-1, 5)},
    **{"uuid": UUID(int=7), "address": ipaddress.ip_address("1.2.3.4"), "network": ipaddress.ip_network("1.0.0.0/8")},
    # Enums
    **{"enum": Plain.a, "enum of str": Plain.b, "int enum": Number.a, "int flag": Bits.a | Bits.b, "flag": Flags.a},
    **{"str enum": Word.a, "list of enum": [Plain.a, None], "list of int enum": [Number.a]},
    # Subclasses
    **{"my int": MyInt(5), "my str": MyStr("abc"), "my float": MyFloat(1.5), "my bytes": MyBytes(b"ab")},
    **{"my date": MyDate(2024, 1, 2), "my datetime": MyDatetime(2024, 1, 2), "my time": MyTime(1, 2)},
    **{"my datetimetz": MyDatetime(2024, 1, 2, tzinfo=UTC), "my timedelta": MyTimedelta(1), "my uuid": MyUUID(int=7)},
    **{
        "my decimal": MyDecimal("1.50"),
        "my list": MyList([1, 2]),
        "my dict": MyDict(a=1),
        "mine": [MyInt(1), MyInt(2)],
    },
    **{"my lists": MyList([MyList([1]), MyList([2])]), "mine and not": [MyInt(1), 2]},
    # Tuples are composites
    **{"tuple": (1, "a", None), "no tuple": (), "named tuple": Pair(1, "a,b"), "list of tuple": [(1, "a"), None]},
    "tuple of all": (True, 1.5, date(2024, 1, 2), [1, 2], (3, None), b"\xff"),
    # Lists
    **{"nothing": [], "nothing in lists": [[]], "Nones": [None, None], "None first": [None, 1], "None last": [1, None]},
    **{"Nones in lists": [[None, 1], [2, None]], "widest": [1, 40_000, None, 2**40], "numerics": [1, 2**63]},
    **{"texts": ["a,b", None, 'q"\\', "NULL", ""], "decimals": [Decimal(1), None], "three": [[[1, 2]], [[3, 4]]]},
    **{"seven": [[[[[[[1]]]]]]], "uneven": [[1], [1, 2]], "list behind": [1, [2]], "list before": [[1], 2]},
    **{"None for a list": [None, [1]], "None behind a list": [[1], None], "addresses": [ipaddress.ip_address("::1")]},
    **{"int and float": [1, 0.5], "bool and int": [True, 1], "int and bool": [1, True], "text and int": ["a", 1]},
    **{"int and decimal": [1, Decimal(1)], "date and datetime": [date(2024, 1, 2), datetime(2024, 1, 2)]},
    **{
        "naive and aware": [datetime(2024, 1, 2), datetime(2024, 1, 2, tzinfo=UTC)],
        "times": [time(1), time(1, tzinfo=UTC)],
    },
    **{"bytes of all kinds": [b"a", bytearray(b"b")], "list of set": [{1}], "list of dict": [{"a": 1}]},
    "kinds of addresses": [ipaddress.ip_address("1.2.3.4"), ipaddress.ip_interface("1.2.3.4/8")],
    # What has no type
    **{"dict": {"a": 1}, "set": {1}, "frozenset": frozenset([1]), "dataclass": Item("a", 1), "range": range(3)},
    **{"array": array("i", [1]), "deque": deque([1]), "keys": {1: 2}.keys(), "values": {1: 2}.values()},
    **{"generator": lambda: (i for i in [1]), "map": lambda: map(int, []), "path": PurePosixPath("/a")},
    **{"complex": 1j, "fraction": Fraction(1, 2), "object": object(), "class": int, "ellipsis": ...},
    # What has a type, and no value of it
    **{"NUL": "a\0b", "surrogate": "\ud800"},
}

if hasattr(enum, "StrEnum"):  # of Python 3.11
    VALUES["StrEnum"] = enum.StrEnum("StrEnum", {"a": "value"})["a"]

if find_spec("numpy"):
    numpy: Any = import_module("numpy")
    VALUES |= {
        **{"numpy int8": numpy.int8(5), "numpy uint16": numpy.uint16(5), "numpy int64": numpy.int64(5)},
        **{"numpy uint64": numpy.uint64(2**64 - 1), "numpy bool": numpy.bool_(True), "numpy str": numpy.str_("a'")},
        **{"numpy float32": numpy.float32(0.1), "numpy NaN": numpy.float32("nan"), "numpy float64": numpy.float64(0.1)},
        **{"numpy datetime64": numpy.datetime64("2024-01-02"), "numpy longdouble": numpy.longdouble(1)},
        **{"numpy array": numpy.array([1]), "list of numpy": [numpy.float32(0.1), None], "numpy -1": numpy.int8(-1)},
    }

#: What psycopg does otherwise, and why it is not so here.
OTHERWISE = {
    **dict.fromkeys(["uneven", "list behind", "list before", "None for a list", "None behind a list"], "a DataError"),
    **dict.fromkeys(
        ["int2", "huge", "least int2", "below int2", "least int8", "below int8", "numpy -1"],
        "psycopg's literal of a negative number is no operand of a cast",
    ),
    "numpy float32": "a literal reads 0.1",
    "numpy NaN": "a literal is real too",
    "seven": "a DataError, before the server has its say",
    "naive and aware": "psycopg lets the server add the session's offset to some",
    "nothing in lists": "{} in a literal too",
    "kinds of addresses": "psycopg has an AttributeError in binary",
    "NUL": "a DataError in binary too",
    "surrogate": "a DataError and no UnicodeEncodeError",
    "list of enum": "psycopg's binary one is text[], which no array of an enum takes",
}

#: What our error says beside that there is no dumper.
HINTS = {
    **dict.fromkeys(["dict", "my dict", "list of dict"], r"Json\(\) or Jsonb\(\)"),
    **dict.fromkeys(
        ["set", "frozenset", "range", "array", "deque", "keys", "values", "generator", "map"], "pass a list"
    ),
    "list of set": "pass a list",
    "dataclass": r"register_composite\(",
    "path": r"str\(path\)",
    **dict.fromkeys(["complex", "fraction", "object", "class", "ellipsis"], "convert the value or register a dumper$"),
    **dict.fromkeys(["uneven", "list behind", "list before", "None for a list"], "fill them up with None"),
    **dict.fromkeys(
        ["int and float", "bool and int", "text and int", "int and decimal"], "convert its items to one type"
    ),
    **dict.fromkeys(["naive and aware", "times"], "make them alike"),
    **{"seven": "at most 6 dimensions", "NUL": "remove it or store bytes", "surrogate": "replace it or store bytes"},
}


def parameter(name: str) -> Any:
    value = VALUES[name]
    return value() if name in ("generator", "map") else value


def outcomes(driver: Any, conn: Any, name: str) -> Iterator[tuple[str, str]]:
    """Yield what becomes of a value, in each format and as a literal: type, and text, or the class of an error."""
    ways = [(conn, letter) for letter in "stb"] + [(driver.ClientCursor(conn), "s")]
    for executing, letter in ways:
        for query in (f"SELECT pg_typeof(%{letter})::text", f"SELECT %{letter}::text"):
            try:
                [text] = executing.execute(query, [parameter(name)]).fetchone()
            except (driver.Error, TypeError, ValueError, AttributeError) as error:
                yield query, type(error).__name__
            else:
                yield query, text


@pytest.fixture(scope="module")
def connections(dsn: str) -> Iterator[tuple[Any, Any]]:
    psycopg = pytest.importorskip("psycopg")
    options = "-c TimeZone=UTC"
    with (
        psycopg.connect(dsn, autocommit=True, options=options) as theirs,
        anyq.connect(dsn, autocommit=True, options=options) as ours,
    ):
        yield ours, theirs


@pytest.mark.parametrize("name", VALUES)
def test_as_psycopg_sends_it(name: str, connections: tuple[Any, Any], psycopg: Any) -> None:
    ours, theirs = connections
    pairs = zip(outcomes(anyq, ours, name), outcomes(psycopg, theirs, name), strict=True)
    differing = [(mine, other) for mine, other in pairs if mine != other]
    assert bool(differing) is (name in OTHERWISE), differing


@pytest.mark.parametrize("name", HINTS)
def test_an_error_says_what_to_do(name: str) -> None:
    for format in (anyq.adapt.PyFormat.AUTO, anyq.adapt.PyFormat.TEXT, anyq.adapt.PyFormat.BINARY):
        with pytest.raises((anyq.ProgrammingError, anyq.DataError), match=HINTS[name]):
            anyq.adapt.Transformer().dump_sequence([parameter(name)], [format])
