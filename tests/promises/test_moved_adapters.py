"""Programs that change how psycopg adapts values run on anyq with the import changed.

Each is given the driver as `psycopg`, and a connection in autocommit mode. It is run with both drivers, so what it
asserts is what psycopg does too, where that is installed.
"""

# Classes of a driver that is only known at run time.
# mypy: disable-error-code="misc"

from __future__ import annotations

import enum
import importlib
import json
import math
from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any, TypeAlias
from uuid import UUID
from xml.etree import ElementTree

import pytest

Program: TypeAlias = Callable[[Any, Any], None]
PROGRAMS: list[Program] = []


def program(function: Program) -> Program:
    PROGRAMS.append(function)
    return function


def value(context: Any, query: Any, params: Any = None, **how: Any) -> Any:
    return context.execute(query, params, **how).fetchone()[0]


@pytest.mark.parametrize("driver", ["anyq", "psycopg"])
@pytest.mark.parametrize("moved", PROGRAMS, ids=[function.__name__ for function in PROGRAMS])
def test_moved(moved: Program, driver: str, dsn: str) -> None:
    psycopg: Any = pytest.importorskip(driver)
    for family in (
        *("string", "numeric", "datetime", "json", "array", "uuid", "bool", "none"),
        *("enum", "composite", "range", "multirange", "hstore"),
    ):
        importlib.import_module(f"{driver}.types.{family}")
    with psycopg.connect(dsn, autocommit=True) as conn:
        moved(psycopg, conn)


# -- classes of one's own


@program
def xml_elements(psycopg: Any, conn: Any) -> None:
    class ElementDumper(psycopg.adapt.Dumper):
        oid = psycopg.adapters.types["varchar"].oid

        def dump(self, obj: Any) -> bytes:
            return ElementTree.tostring(obj)

    class ElementLoader(psycopg.adapt.Loader):
        def load(self, data: Any) -> Any:
            return ElementTree.fromstring(bytes(data).decode())

    conn.adapters.register_dumper(ElementTree.Element, ElementDumper)
    conn.adapters.register_loader("varchar", ElementLoader)
    element = ElementTree.fromstring("<a b='it&apos;s \\'><c/></a>")
    for cursor in (conn.cursor(), psycopg.ClientCursor(conn)):
        assert value(cursor, "SELECT %s::text", [element]) == """<a b="it's \\"><c /></a>"""
        found = value(cursor, "SELECT %s", [element])
        assert (found.tag, found.get("b"), len(found)) == ("a", "it's \\", 1)
        assert [e.tag for e in value(cursor, "SELECT %s", [[element, element]])] == ["a", "a"]
    assert psycopg.sql.Literal(element).as_string(conn).endswith("::varchar")


@program
def dates_that_are_infinite(psycopg: Any, conn: Any) -> None:
    class InfinityDumper(psycopg.types.datetime.DateDumper):
        def dump(self, obj: date) -> Any:
            return b"infinity" if obj == date.max else super().dump(obj)

    class InfinityLoader(psycopg.types.datetime.DateLoader):
        def load(self, data: Any) -> date:
            return date.max if data == b"infinity" else super().load(data)

    cursor = conn.cursor()
    cursor.adapters.register_dumper(date, InfinityDumper)
    cursor.adapters.register_loader("date", InfinityLoader)
    for prepare in (None, True):
        assert value(cursor, "SELECT %s::text", [date.max], prepare=prepare) == "infinity"
        assert value(cursor, "SELECT %s::text", [date(2024, 5, 6)], prepare=prepare) == "2024-05-06"
        assert value(cursor, "SELECT 'infinity'::date", prepare=prepare) == date.max
        # A server gives it as the first item of an array as well.
        row = cursor.execute("SELECT %s", [[date(2024, 5, 6), date.max]], prepare=prepare).fetchone()
        assert row == ([date(2024, 5, 6), date.max],)


@program
def empty_strings_that_are_null(psycopg: Any, conn: Any) -> None:
    class NullStrDumper(psycopg.types.string.StrDumper):
        def dump(self, obj: str) -> Any:
            return super().dump(obj) if obj.strip() else None

    conn.adapters.register_dumper(str, NullStrDumper)
    conn.execute("CREATE TEMPORARY TABLE words (word text)")
    conn.cursor().executemany("INSERT INTO words VALUES (%s)", [("a",), ("",), (" ",), ("b",)])
    assert conn.execute("SELECT word FROM words").fetchall() == [("a",), (None,), (None,), ("b",)]
    assert value(conn, "SELECT %s", [["a", "", "b"]]) == ["a", None, "b"]
    assert value(psycopg.ClientCursor(conn), "SELECT %s", [""]) is None
    assert psycopg.sql.Literal("").as_string(conn) == "NULL"


@program
def numbers_as_float(psycopg: Any, conn: Any) -> None:
    conn.adapters.register_loader("numeric", psycopg.types.numeric.FloatLoader)
    for _ in range(7):
        found = conn.execute("SELECT 1.5::numeric, '{2.5,NULL}'::numeric[], 'NaN'::numeric").fetchone()
        assert found[:2] == (1.5, [2.5, None])
        assert isinstance(found[0], float)
        assert math.isnan(found[2])


@program
def text_of_any_type(psycopg: Any, conn: Any) -> None:
    for name in ("date", "numeric", "timestamptz", "uuid"):
        conn.adapters.register_loader(name, psycopg.types.string.TextLoader)
    assert value(conn, "SELECT '2024-01-02'::date") == "2024-01-02"
    assert value(conn, "SELECT ARRAY['2024-01-02'::date]") == ["2024-01-02"]
    assert value(conn, "SELECT 1.50") == "1.50"


@program
def dicts_as_json(psycopg: Any, conn: Any) -> None:
    conn.adapters.register_dumper(dict, psycopg.types.json.JsonbDumper)
    for cursor in (conn.cursor(), psycopg.ClientCursor(conn)):
        assert value(cursor, "SELECT %s", [{"a": [1, None, "it's \\"]}]) == {"a": [1, None, "it's \\"]}
        assert value(cursor, "SELECT pg_typeof(%s)::text", [{}]) == "jsonb"
        assert value(cursor, "SELECT %s", [[{"a": 1}, {}]]) == [{"a": 1}, {}]
    conn.adapters.register_dumper(dict, psycopg.types.json.JsonDumper)
    assert value(conn, "SELECT pg_typeof(%s)::text", [{}]) == "json"


@program
def another_library_for_json(psycopg: Any, conn: Any) -> None:
    def dumps(obj: Any) -> str:
        return json.dumps(obj, default=str)

    def loads(data: Any) -> Any:
        return json.loads(data, parse_float=Decimal)

    cursor = conn.cursor()
    psycopg.types.json.set_json_dumps(dumps, cursor)
    psycopg.types.json.set_json_loads(loads, conn)
    Json, Jsonb = psycopg.types.json.Json, psycopg.types.json.Jsonb
    for wrapper in (Json, Jsonb):
        assert value(cursor, "SELECT %s", [wrapper(UUID(int=7))]) == str(UUID(int=7))
        with pytest.raises(TypeError):
            conn.execute("SELECT %s", [wrapper(UUID(int=7))])
        assert value(conn, "SELECT %s", [wrapper([UUID(int=7)], dumps=dumps)]) == [str(UUID(int=7))]
    assert value(conn, """SELECT '{"a": 0.10}'::jsonb""") == {"a": Decimal("0.10")}
    assert value(cursor, """SELECT '{"a": 0.5}'::jsonb""") == {"a": 0.5}


class Kind(enum.Enum):
    ONE = 1
    TWO = 2


@program
def a_class_by_its_name(psycopg: Any, conn: Any) -> None:
    class KindDumper(psycopg.adapt.Dumper):
        def dump(self, obj: Kind) -> bytes:
            return obj.name.lower().encode()

    conn.adapters.register_dumper(f"{Kind.__module__}.{Kind.__qualname__}", KindDumper)
    assert value(conn, "SELECT %s::text", [Kind.TWO]) == "two"
    assert value(conn, "SELECT %s::text[]", [[Kind.TWO, None, Kind.ONE]]) == ["two", None, "one"]


@program
def subclasses(psycopg: Any, conn: Any) -> None:
    class Name(str):
        __slots__ = ()

    class NameDumper(psycopg.types.string.StrDumper):
        oid = psycopg.adapters.types["name"].oid

    class Length(float):
        pass

    conn.adapters.register_dumper(Name, NameDumper)
    assert value(conn, "SELECT pg_typeof(%s)::text", [Name("a")]) == "name"
    assert value(conn, "SELECT pg_typeof(%s)::text", [Length(1)]) == "double precision"
    assert value(conn, "SELECT %s::text", ["a"]) == "a"


@program
def one_class_of_several_types(psycopg: Any, conn: Any) -> None:
    class Money:
        def __init__(self, cents: int) -> None:
            self.cents = cents

    class MoneyDumper(psycopg.adapt.Dumper):
        def get_key(self, obj: Money, format: Any) -> Any:
            return (self.cls, obj.cents > 1_000_000)

        def upgrade(self, obj: Money, format: Any) -> Any:
            if obj.cents <= 1_000_000:
                return self
            dumper = MoneyDumper(self.cls)
            dumper.oid = psycopg.adapters.types["numeric"].oid
            return dumper

        def dump(self, obj: Money) -> bytes:
            return f"{obj.cents}".encode()

    MoneyDumper.oid = psycopg.adapters.types["int4"].oid
    conn.adapters.register_dumper(Money, MoneyDumper)
    kinds = "SELECT pg_typeof(%s)::text, pg_typeof(%s)::text, pg_typeof(%s)::text"
    for _ in range(7):
        row = conn.execute(kinds, [Money(5), Money(10**7), Money(6)]).fetchone()
        assert row == ("integer", "numeric", "integer")


@program
def values_in_values(psycopg: Any, conn: Any) -> None:
    class Pair:
        def __init__(self, *items: Any) -> None:
            self.items = items

    class PairDumper(psycopg.adapt.RecursiveDumper):
        oid = psycopg.adapters.types["jsonb"].oid

        def dump(self, obj: Pair) -> bytes:
            parts = [self._tx.get_dumper(item, psycopg.adapt.PyFormat.TEXT).dump(item) for item in obj.items]
            return b'["' + b'","'.join([bytes(part) for part in parts]) + b'"]'

    class PairLoader(psycopg.adapt.RecursiveLoader):
        def load(self, data: Any) -> Any:
            load = self._tx.get_loader(psycopg.adapters.types["int4"].oid, psycopg.pq.Format.TEXT).load
            return tuple([load(item.encode()) for item in json.loads(bytes(data))])

    conn.adapters.register_dumper(Pair, PairDumper)
    conn.adapters.register_loader("jsonb", PairLoader)
    assert value(conn, "SELECT %s", [Pair(1, 20)]) == (1, 20)
    assert value(conn, "SELECT %s", [[Pair(1, 20), Pair(3, 4)]]) == [(1, 20), (3, 4)]


@program
def binary_formats(psycopg: Any, conn: Any) -> None:
    class CelsiusDumper(psycopg.adapt.Dumper):
        format = psycopg.pq.Format.BINARY
        oid = psycopg.adapters.types["int4"].oid

        def dump(self, obj: Any) -> bytes:
            return int(obj.real).to_bytes(4, "big", signed=True)

    class CelsiusLoader(psycopg.adapt.Loader):
        format = psycopg.pq.Format.BINARY

        def load(self, data: Any) -> Any:
            return complex(int.from_bytes(bytes(data), "big", signed=True))

    conn.adapters.register_dumper(complex, CelsiusDumper)
    conn.adapters.register_loader("int4", CelsiusLoader)
    for query in ("SELECT %s", "SELECT %b"):
        assert value(conn, query, [complex(-5)], binary=True) == complex(-5)
    assert value(conn, "SELECT %b", [[complex(1), complex(2)]], binary=True) == [complex(1), complex(2)]
    assert value(conn, "SELECT 1", binary=False) == 1
    with pytest.raises(psycopg.ProgrammingError):
        conn.execute("SELECT %t", [complex(1)])


# -- where they are registered


@program
def maps_that_are_copies(psycopg: Any, conn: Any) -> None:
    class Loud(psycopg.types.string.TextLoader):
        def load(self, data: Any) -> Any:
            return super().load(data).upper()

    mine = psycopg.adapt.AdaptersMap(psycopg.adapters)
    mine.register_loader("text", Loud)
    before = conn.cursor()
    conn.adapters.register_loader("varchar", Loud)
    after = conn.cursor()
    after.adapters.register_loader("name", Loud)
    query = "SELECT 'a'::text, 'a'::varchar, 'a'::name"
    assert conn.execute(query).fetchone() == ("a", "A", "a")
    assert before.execute(query).fetchone() == ("a", "a", "a")
    assert after.execute(query).fetchone() == ("a", "A", "A")
    with psycopg.connect(conn.info.dsn, context=mine) as other:
        assert other.execute(query).fetchone() == ("A", "a", "a")
        assert other.adapters is not mine
    assert psycopg.adapters.get_loader(psycopg.adapters.types["text"].oid, psycopg.pq.Format.TEXT) is not Loud
    assert mine.get_loader(mine.types["text"].oid, psycopg.pq.Format.TEXT) is Loud


@program
def what_is_registered(psycopg: Any, conn: Any) -> None:
    Format, PyFormat = psycopg.pq.Format, psycopg.adapt.PyFormat
    adapters, types = psycopg.adapters, psycopg.adapters.types
    numeric, string = psycopg.types.numeric, psycopg.types.string
    # Where there is a C class of the same name, that is the one.
    for found, expected in (
        (adapters.get_dumper(int, PyFormat.TEXT), numeric.IntDumper),
        (adapters.get_dumper(int, PyFormat.AUTO), numeric.IntBinaryDumper),
        (adapters.get_dumper(str, PyFormat.AUTO), string.StrDumperUnknown),
        (adapters.get_dumper_by_oid(types["varchar"].oid, Format.TEXT), string.StrDumperVarchar),
        (adapters.get_dumper_by_oid(types["numeric"].oid, Format.TEXT), numeric.NumericDumper),
        (adapters.get_dumper_by_oid(types["numeric"].oid, Format.BINARY), numeric.NumericBinaryDumper),
        (adapters.get_loader(types["int8"].oid, Format.BINARY), numeric.Int8BinaryLoader),
    ):
        assert found.__name__ == expected.__name__
    assert adapters.get_loader(999_999, Format.TEXT) is None
    with pytest.raises(psycopg.ProgrammingError):
        adapters.get_dumper(object, PyFormat.AUTO)
    with pytest.raises(psycopg.ProgrammingError):
        adapters.get_dumper_by_oid(999_999, Format.TEXT)
    assert types["int4"].oid == types["integer"].oid == types.get_oid("int4") == types[23].oid == 23
    assert types.get_oid("int4[]") == types["int4"].array_oid == 1007
    assert types.get("nothing") is None
    with pytest.raises(KeyError):
        types["nothing"]
    # A map of its own, with the same.
    mine = psycopg.adapt.AdaptersMap()
    psycopg.postgres.register_default_types(mine.types)
    psycopg.postgres.register_default_adapters(mine)
    assert mine.get_dumper(int, PyFormat.TEXT).__name__ == "IntDumper"
    assert mine.types["text"].oid == 25


@program
def types_that_are_fetched(psycopg: Any, conn: Any) -> None:
    conn.execute("CREATE TYPE pg_temp.mood AS ENUM ('sad', 'happy')")
    info = psycopg.types.TypeInfo.fetch(conn, "mood")
    assert (info.name, info.delimiter) == ("mood", ",")
    info.register(conn)
    assert conn.adapters.types["mood"].oid == info.oid
    assert conn.adapters.types.get_oid("mood[]") == info.array_oid
    assert psycopg.adapters.types.get(info.oid) is None
    assert value(conn, "SELECT ARRAY['sad', 'happy']::mood[]") == ["sad", "happy"]
    assert psycopg.types.TypeInfo.fetch(conn, "nothing_of_the_kind") is None
    conn.adapters.register_loader("mood", type("L", (psycopg.adapt.Loader,), {"load": lambda self, data: len(data)}))
    assert value(conn, "SELECT ARRAY['sad', 'happy']::mood[]") == [3, 5]
    psycopg.types.array.register_array(info, conn)
    assert value(conn, "SELECT ARRAY['sad', 'happy']::mood[]") == [3, 5]


# -- which type each dumper writes


@program
def kinds_of_strings(psycopg: Any, conn: Any) -> None:
    string = psycopg.types.string
    for dumper, name in (
        (string.StrDumper, "text"),
        (string.StrDumperVarchar, "varchar"),
        (string.StrDumperName, "name"),
        (string.StrBinaryDumper, "text"),
        (string.StrBinaryDumperVarchar, "varchar"),
        (string.StrBinaryDumperName, "name"),
    ):
        cursor = conn.cursor()
        cursor.adapters.register_dumper(str, dumper)
        oid = psycopg.adapters.types[name].oid
        assert dumper.oid == oid
        assert value(cursor, "SELECT pg_typeof(%s)::oid", ["it's"]) == oid
        assert value(cursor, "SELECT %s", ["it's \\ é"]) == "it's \\ é"
        if dumper.format == psycopg.pq.Format.TEXT:
            assert value(cursor, "SELECT %s", [["it's", None]]) == ["it's", None]
    assert string.StrDumperUnknown.oid == 0
    # Without a type the server finds it out, or says that it cannot.
    assert value(conn, "SELECT %s + 1", ["4"]) == 5
    with pytest.raises(psycopg.errors.IndeterminateDatatype):
        conn.execute("SELECT pg_typeof(%s)", ["a"])


@program
def kinds_of_numbers(psycopg: Any, conn: Any) -> None:
    numeric = psycopg.types.numeric
    for wrapper, name, number in (
        (numeric.Int2, "int2", 7),
        (numeric.Int4, "int4", -7),
        (numeric.Int8, "int8", 7),
        (numeric.IntNumeric, "numeric", 7),
        (numeric.Oid, "oid", 7),
        (numeric.Float4, "float4", 1.5),
        (numeric.Float8, "float8", -1.5),
    ):
        wrapped = wrapper(number)
        assert wrapped == number
        assert wrapped + 1 == number + 1
        assert type(wrapped + 1) is type(number)
        assert (str(wrapped), repr(wrapped)) == (str(number), f"{wrapper.__name__}({number})")
        oid = psycopg.adapters.types[name].oid
        for query in ("SELECT %s", "SELECT %t", "SELECT %b") if wrapper is not numeric.IntNumeric else ("SELECT %s",):
            cursor = conn.execute(query, [wrapped])
            assert (cursor.description[0].type_code, cursor.fetchone()) == (oid, (number,))
        if wrapper is not numeric.IntNumeric:
            cursor = conn.execute("SELECT %s", [[wrapped, None, wrapped]])
            assert cursor.description[0].type_code == psycopg.adapters.types[name].array_oid
            assert cursor.fetchone() == ([number, None, number],)
        assert value(psycopg.ClientCursor(conn), "SELECT %s", [wrapped]) == number


@program
def dumpers_of_one_width(psycopg: Any, conn: Any) -> None:
    numeric = psycopg.types.numeric
    for dumper, name in (
        (numeric.Int2Dumper, "int2"),
        (numeric.Int4Dumper, "int4"),
        (numeric.Int8Dumper, "int8"),
        (numeric.IntNumericDumper, "numeric"),
        (numeric.OidDumper, "oid"),
        (numeric.Int2BinaryDumper, "int2"),
        (numeric.Int4BinaryDumper, "int4"),
        (numeric.Int8BinaryDumper, "int8"),
        (numeric.OidBinaryDumper, "oid"),
        (numeric.NumericDumper, "numeric"),
        (numeric.NumericBinaryDumper, "numeric"),
    ):
        cursor = conn.cursor()
        cursor.adapters.register_dumper(int, dumper)
        cursor.execute("SELECT %s", [7])
        assert cursor.description[0].type_code == psycopg.adapters.types[name].oid
        assert cursor.fetchone() == (7,)
    for dumper, name in ((numeric.FloatDumper, "float8"), (numeric.Float4Dumper, "float4")):
        cursor = conn.cursor()
        cursor.adapters.register_dumper(float, dumper)
        cursor.execute("SELECT %s", [1.5])
        assert cursor.description[0].type_code == psycopg.adapters.types[name].oid
        assert cursor.fetchone() == (1.5,)


@program
def dumpers_of_times(psycopg: Any, conn: Any) -> None:
    times = psycopg.types.datetime
    utc = timezone.utc
    for cls, dumper, values in (
        (datetime, times.DatetimeDumper, {"timestamptz": datetime(2024, 1, 2, tzinfo=utc)}),
        (datetime, times.DatetimeDumper, {"timestamp": datetime(2024, 1, 2)}),
        (datetime, times.DatetimeBinaryDumper, {"timestamptz": datetime(2024, 1, 2, tzinfo=utc)}),
        (datetime, times.DatetimeBinaryDumper, {"timestamp": datetime(2024, 1, 2)}),
        (time, times.TimeDumper, {"time": time(1, 2), "timetz": time(1, 2, tzinfo=utc)}),
        (time, times.TimeBinaryDumper, {"time": time(1, 2), "timetz": time(1, 2, tzinfo=utc)}),
        (date, times.DateBinaryDumper, {"date": date(2024, 1, 2)}),
        (timedelta, times.TimedeltaDumper, {"interval": timedelta(days=-1, seconds=3)}),
        (timedelta, times.TimedeltaBinaryDumper, {"interval": timedelta(days=-1, seconds=3)}),
    ):
        cursor = conn.cursor()
        cursor.execute("SET TIME ZONE UTC")
        cursor.adapters.register_dumper(cls, dumper)
        for name, obj in values.items():
            cursor.execute("SELECT %s", [obj])
            assert cursor.description[0].type_code == psycopg.adapters.types[name].oid
            assert cursor.fetchone() == (obj,)


@program
def dumpers_and_loaders_of_both_formats(psycopg: Any, conn: Any) -> None:
    Format = psycopg.pq.Format
    for module, names in (
        ("string", "StrBinaryDumper TextBinaryLoader BytesBinaryDumper ByteaBinaryLoader"),
        ("numeric", "IntBinaryDumper Int4BinaryLoader FloatBinaryDumper Float8BinaryLoader NumericBinaryLoader"),
        ("numeric", "Float4BinaryDumper Float4BinaryLoader DecimalBinaryDumper OidBinaryLoader IntNumericBinaryDumper"),
        ("datetime", "DateBinaryLoader TimeBinaryLoader TimetzBinaryLoader TimestampBinaryLoader IntervalBinaryLoader"),
        ("datetime", "TimestamptzBinaryLoader TimeTzBinaryDumper DatetimeNoTzBinaryDumper"),
        ("bool", "BoolBinaryDumper BoolBinaryLoader"),
        ("uuid", "UUIDBinaryDumper UUIDBinaryLoader"),
        ("json", "JsonBinaryDumper JsonbBinaryDumper JsonBinaryLoader JsonbBinaryLoader"),
        ("array", "ListBinaryDumper ArrayBinaryLoader"),
    ):
        for name in names.split():
            family = getattr(psycopg.types, module)
            assert getattr(family, name).format == Format.BINARY
            text = {
                **{"Int4BinaryLoader": "IntLoader", "OidBinaryLoader": "IntLoader"},
                **{"Float4BinaryLoader": "FloatLoader", "Float8BinaryLoader": "FloatLoader"},
            }.get(name, name.replace("Binary", ""))
            assert getattr(family, text).format == Format.TEXT
    assert issubclass(psycopg.types.array.ListDumper, psycopg.types.array.BaseListDumper)
    assert psycopg.types.none.NoneDumper(type(None)).quote(None) == b"NULL"


# -- literals


@program
def literals_bind_as_values_do(psycopg: Any, conn: Any) -> None:
    cursor = psycopg.ClientCursor(conn)
    nan, infinity = float("nan"), float("inf")
    for query, param, expected in (
        ("SELECT 1-%s", -1, 2),
        ("SELECT %s", infinity, infinity),
        ("SELECT %s", -infinity, -infinity),
        ("SELECT %s", Decimal("-Infinity"), Decimal("-Infinity")),
        ("SELECT pg_typeof(%s)::text", nan, "double precision"),
        ("SELECT pg_typeof(%s)::text", Decimal("NaN"), "numeric"),
        ("SELECT %s::text", True, "true"),
        ("SELECT %s", b"'\\\0\xff", b"'\\\0\xff"),
        ("SELECT %s", "it's \\ é", "it's \\ é"),
        ("SELECT %s", date(2024, 1, 2), date(2024, 1, 2)),
        ("SELECT %s", timedelta(days=-3, seconds=7), timedelta(days=-3, seconds=7)),
        ("SELECT %s", UUID(int=7), UUID(int=7)),
        ("SELECT %s", [1, None], [1, None]),
        ("SELECT %s::text[]", ["a'", 'b"\\'], ["a'", 'b"\\']),
        ("SELECT %s", psycopg.types.json.Jsonb({"a": "'\\"}), {"a": "'\\"}),
        ("SELECT %s IS NULL", None, True),
    ):
        assert value(cursor, query, [param]) == expected, (query, param)
        literal = psycopg.sql.quote(param, conn)
        assert value(conn, query.replace("%s", literal.replace("%", "%%"))) == expected
        assert psycopg.sql.SQL("{}").format(param).as_string(conn) == literal
        assert psycopg.sql.Literal(param).as_bytes(conn).decode() == literal
    assert math.isnan(value(cursor, "SELECT %s", [nan]))


@program
def composing(psycopg: Any, conn: Any) -> None:
    sql = psycopg.sql
    query = sql.SQL("SELECT {} AS {}, {name}").format(5, sql.Identifier('a"b'), name=sql.Placeholder("n"))
    assert query.as_string() == 'SELECT 5 AS "a""b", %(n)s'
    assert query.as_bytes(conn) == b'SELECT 5 AS "a""b", %(n)s'
    assert conn.execute(query, {"n": "x"}).fetchone() == (5, "x")
    both = sql.SQL("a") + sql.SQL("b")
    assert both.as_string() == "ab"
    assert both.join(", ").as_string() == "a, b"
    assert (sql.SQL("a") * 3).join(sql.SQL("-")).as_string() == "a-a-a"
    assert sql.SQL(", ").join([sql.Identifier("a", "b"), 1, "x"]).as_string() == '"a"."b", 1, \'x\''
    assert sql.Placeholder(format=psycopg.adapt.PyFormat.BINARY).as_string() == "%b"
    assert sql.Placeholder("a", "t").as_string() == "%(a)t"
    assert repr(sql.Identifier("a", "b")) == "Identifier('a', 'b')"
    assert [type(part).__name__ for part in query] == ["SQL", "Literal", "SQL", "Identifier", "SQL", "Placeholder"]
    assert sql.SQL("a") == sql.SQL("a") != sql.Identifier("a")
    assert sql.as_string("it's") == "'it''s'"
    assert sql.as_bytes(sql.NULL) == b"NULL"


# -- types that a database has made


@program
def enums(psycopg: Any, conn: Any) -> None:
    types = psycopg.types.enum
    conn.execute("""CREATE TYPE pg_temp."My ""Mood" AS ENUM ('a', 'b c', 'q''"\\,{}')""")
    info = types.EnumInfo.fetch(conn, psycopg.sql.Identifier("pg_temp", 'My "Mood'))
    assert (info.name, list(info.labels)) == ('My "Mood', ["a", "b c", "q'\"\\,{}"])
    types.register_enum(info, conn)
    assert info.enum.__name__
    assert value(conn, """SELECT 'a'::pg_temp."My ""Mood\"""") is info.enum["a"]

    class ByNumber(enum.IntEnum):
        one = 1
        two = 2
        three = 3

    pairs = dict(zip(ByNumber, info.labels, strict=True))
    for mapping in (pairs, list(pairs.items())):
        types.register_enum(info, conn, ByNumber, mapping=mapping)
        for cursor in (conn.cursor(), psycopg.ClientCursor(conn)):
            for member in ByNumber:
                assert value(cursor, "SELECT %s", [member]) is member
                assert value(cursor, "SELECT %s::text", [member]) == pairs[member]
            assert value(cursor, "SELECT %s", [[*ByNumber, None]]) == [*ByNumber, None]

    # What was not registered goes by its name.
    class Fewer(enum.Enum):
        a = 1

    assert value(conn, "SELECT %s::text", [Fewer.a]) == "a"
    types.register_enum(info, conn, Fewer)
    with pytest.raises(psycopg.DataError):
        value(conn, """SELECT 'b c'::pg_temp."My ""Mood\"""")
    with pytest.raises(TypeError):
        types.register_enum(None, conn)


@program
def composites(psycopg: Any, conn: Any) -> None:
    types = psycopg.types.composite
    conn.execute("CREATE TYPE pg_temp.pair AS (x int, y text); CREATE TYPE pg_temp.pairs AS (one pair, many pair[])")
    info, outer = (types.CompositeInfo.fetch(conn, f"pg_temp.{name}") for name in ("pair", "pairs"))
    assert (list(info.field_names), list(info.field_types)) == (["x", "y"], [23, 25])
    for one in (info, outer):
        types.register_composite(one, conn)
    assert info.python_type._fields == ("x", "y")
    pair, pairs = info.python_type, outer.python_type
    for binary in (False, True):
        for letter in "tb":
            for wanted in (
                pair(1, 'a,("\\'),
                pair(None, ""),
                pairs(pair(1, "a"), [pair(2, None), None]),
                pairs(None, []),
            ):
                assert value(conn, f"SELECT %{letter}", [wanted], binary=binary) == wanted
                assert value(conn, f"SELECT %{letter}", [[wanted, None]], binary=binary) == [wanted, None]
        assert value(conn, "SELECT NULL::pg_temp.pair", binary=binary) is None
        assert value(conn, "SELECT row(1, NULL)::pg_temp.pair", binary=binary).y is None
    assert value(conn, "SELECT %s::pg_temp.pair", [(1, "x")]) == pair(1, "x")
    assert value(psycopg.ClientCursor(conn), "SELECT %s", [pair(-1, "it's")]) == pair(-1, "it's")

    class Thing:
        def __init__(self, **fields: Any) -> None:
            self.fields = fields

    types.register_composite(
        info,
        conn,
        Thing,
        make_object=lambda values, info: Thing(**dict(zip(info.field_names, values, strict=True))),
        make_sequence=lambda thing, info: [thing.fields.get(name) for name in info.field_names],
    )
    for letter in "tb":
        assert value(conn, f"SELECT %{letter}", [Thing(x=1, y="a")]).fields == {"x": 1, "y": "a"}
        assert value(conn, f"SELECT %{letter}", [Thing(y="b")]).fields == {"x": None, "y": "b"}
    assert info.python_type is Thing
    with pytest.raises(TypeError):
        types.register_composite(None, conn)


@program
def ranges_and_multiranges(psycopg: Any, conn: Any) -> None:
    ranges, multiranges = psycopg.types.range, psycopg.types.multirange
    conn.execute("CREATE TYPE pg_temp.span AS RANGE (subtype = float8, multirange_type_name = pg_temp.spans)")
    info = ranges.RangeInfo.fetch(conn, "pg_temp.span")
    many = multiranges.MultirangeInfo.fetch(conn, "pg_temp.spans")
    assert (info.subtype_oid, many.range_oid, many.subtype_oid) == (701, info.oid, 701)
    ranges.register_range(info, conn)
    multiranges.register_multirange(many, conn)
    assert conn.adapters.types.get_by_subtype(ranges.RangeInfo, "float8").oid == info.oid
    assert conn.adapters.types.get_by_subtype(multiranges.MultirangeInfo, 701).oid == many.oid
    for binary in (False, True):
        for letter in "stb":
            for bounds in ("[)", "(]", "()", "[]"):
                one = ranges.Range(1.5, 2.5, bounds)
                assert value(conn, f"SELECT %{letter}", [one], binary=binary) == one
                assert value(conn, f"SELECT %{letter}", [[one, None]], binary=binary) == [one, None]
                wanted = multiranges.Multirange([one, ranges.Range(5.0, None)])
                assert value(conn, f"SELECT %{letter}", [wanted], binary=binary) == wanted
        assert value(conn, "SELECT %s::pg_temp.span", [ranges.Range(empty=True)], binary=binary).isempty
        assert value(conn, "SELECT '{}'::pg_temp.spans", binary=binary) == multiranges.Multirange()
        assert value(conn, "SELECT '(,)'::int4range", binary=binary) == ranges.Range(None, None, "()")
        days = ranges.Range(date(2024, 1, 2), date(2024, 1, 4), "[]")
        assert value(conn, "SELECT %s", [days], binary=binary) == ranges.Range(date(2024, 1, 2), date(2024, 1, 5))
    with pytest.raises(TypeError):
        ranges.register_range(None, conn)
