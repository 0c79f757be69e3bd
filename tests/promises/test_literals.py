"""What each dumper writes as a literal is read as the value, in each client encoding, whatever strings conform to.

All dumpers of the map take part, by a class and by an oid; of a new one a value is missed.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from importlib import import_module
from importlib.util import find_spec
from typing import Any, TypeVar
from uuid import UUID

import pytest

from anyq import AsyncClientCursor, AsyncConnection, sql
from anyq.adapt import AdaptersMap, Dumper, Format, PyFormat
from anyq.errors import FeatureNotSupported
from anyq.postgres import adapters
from anyq.types import TypeInfo
from anyq.types.composite import CompositeInfo, register_composite
from anyq.types.enum import EnumInfo, register_enum
from anyq.types.geometric import Box, Circle, Line, Lseg, Path, Point, Polygon
from anyq.types.infinity import InfiniteDate, InfiniteDatetime, register_infinity
from anyq.types.interval import Interval, register_interval
from anyq.types.json import Json, Jsonb
from anyq.types.multirange import (
    DateMultirange,
    Int4Multirange,
    Int8Multirange,
    Multirange,
    MultirangeInfo,
    NumericMultirange,
    TimestampMultirange,
    TimestamptzMultirange,
    register_multirange,
)
from anyq.types.numeric import Float4, Float8, Int2, Int4, Int8, IntNumeric, Oid
from anyq.types.range import (
    DateRange,
    Int4Range,
    Int8Range,
    NumericRange,
    Range,
    RangeInfo,
    TimestampRange,
    TimestamptzRange,
    register_range,
)
from tests.promises.test_every_type import BOUNDS, SAMPLES

RANGES = {
    **{"int4range": "int4", "int8range": "int8", "numrange": "numeric", "daterange": "date", "tsrange": "timestamp"},
    "tstzrange": "timestamptz",
}

#: A value of each type, as the server reads it.
SAMPLES_BY_NAME = {
    **SAMPLES,
    **{name: f"[{BOUNDS[subtype]})" for name, subtype in RANGES.items()},
    **{name.replace("range", "multirange"): f"{{[{BOUNDS[subtype]})}}" for name, subtype in RANGES.items()},
}

pytestmark = [pytest.mark.anyio, pytest.mark.any_loop]

#: Characters that an encoding has, whose second byte is a backslash, quote or brace where there are such.
ENCODINGS = {
    **{"UTF8": "é表😀", "LATIN1": "é\xff", "WIN1251": "ж", "EUC_JP": "表ソ", "EUC_KR": "가", "SJIS": "表ソボ"},
    **{"SHIFT_JIS_2004": "表ソ", "GBK": "誠功縗", "GB18030": "誠功㐀", "BIG5": "功許蓋", "UHC": "가똠"},
}

UTC = timezone.utc
NAIVE, AWARE = datetime(2024, 1, 2, 3, 4, 5, 6), datetime(2024, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
DAY, NEXT = date(2024, 1, 2), date(2024, 1, 3)


Info = TypeVar("Info", bound=TypeInfo)


class Mood(Enum):
    happy = 1


def values(text: str) -> Iterator[tuple[Any, str, Any]]:
    """Yield values, the casts of those that have no type, and what is read back."""
    odd = f"it's \\{text}\\' \"{text}\" {{{text},}}%s $1 :a ?"
    same = [
        *(None, True, False, 0, -1, 40_000, -(2**31), 2**40, -(2**63), 2**63, -(10**40)),
        *(Int2(-5), Int4(-(2**31)), Int8(-(2**63)), IntNumeric(-5), Oid(2**32 - 1), 1.5, -1e300, 5e-324, float("-inf")),
        *(Float4(0.5), Float8(-0.5), Decimal("-1.50"), Decimal("1E-20"), Decimal("Infinity")),
        *(b"", b"\0\xff'\\", bytearray(b"\\'"), memoryview(b"'\\")),
        *(
            UUID(int=7),
            DAY,
            time(1, 2, 3, 4),
            time(1, 2, tzinfo=timezone(timedelta(hours=-5, minutes=-30))),
            NAIVE,
            AWARE,
        ),
        *(ipaddress.ip_address("1.2.3.4"), ipaddress.ip_address("::1"), ipaddress.ip_interface("1.2.3.4/8")),
        *(ipaddress.ip_interface("::1/8"), ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("::/64")),
        *(Point(-1, 2.5), Line(1, -2, 3), Lseg(Point(1, 2), Point(-3, 4)), Box(Point(3, 4), Point(-1, 2))),
        *(Path((Point(1, 2), Point(3, -4)), closed=False), Path((Point(1, 2),), closed=True)),
        *(Polygon((Point(1, 2), Point(-3, 4))), Circle(Point(1, -2), 3)),
        *(Int4Range(-5, 5), Int8Range(None, -5), NumericRange(Decimal("-1.5"), None), DateRange(DAY, NEXT)),
        *(TimestampRange(NAIVE, None), TimestamptzRange(None, AWARE), Int4Range(empty=True)),
        *(
            Int4Multirange([Range(-3, -1), Range(5, None)]),
            Int8Multirange([]),
            NumericMultirange([Range(Decimal(1), None)]),
        ),
        *(DateMultirange([Range(DAY, NEXT)]), TimestampMultirange([Range(NAIVE, None)])),
        *(TimestamptzMultirange([Range(None, AWARE)]), Range(DAY, NEXT), Multirange([Range(DAY, NEXT)])),
        *([-1, None], [[-1], [2**63]], [Decimal("-1.5")], [True, None], [b"\\'\0"], [NAIVE], [Int4Range(-1, 1)]),
        *([Point(-1, 2), None], [Box(Point(3, 4), Point(1, 2)), None], [UUID(int=7)], [1.5, float("nan")][:1]),
        *([Int4Multirange([Range(-1, 1)]), None], [ipaddress.ip_address("::1")]),
        # Registered below
        *(Mood.happy, [Mood.happy, None], InfiniteDate("-infinity"), InfiniteDatetime("infinity")),
        *(InfiniteDatetime("-infinity", tzinfo=UTC), Interval(-1, 2, -3), [Interval(1, -2, 3), None]),
    ]
    yield from ((value, "", value) for value in same)
    yield timedelta(-1, 5, 6), "", Interval(days=-1, microseconds=5_000_006)
    for some in (odd, text, "\\", "'", "\\'", "", "NULL", " ", "\t\n", "--", "/*"):
        yield some, "::text", some
        yield [some, None, text], "::text[]", [some, None, text]
        yield Jsonb({some: [some, -1, None]}), "", {some: [some, -1, None]}
        yield Json({some: some}), "", {some: some}
        yield Range(some, f"{some}~", "[]"), "::words", Range(some, f"{some}~", "[]")
        yield (some, -1), "::pair", (some, -1)
        yield [(some, None)], "::pair[]", [(some, None)]
        yield Multirange([Range(some, None)]), "::multiwords", Multirange([Range(some, None)])
    if find_spec("numpy"):
        numpy: Any = import_module("numpy")
        for name in [key[6:] for key in dumpers_of(adapters, PyFormat.TEXT) if isinstance(key, str)]:
            if hasattr(numpy, name):
                scalar = getattr(numpy, name)(1)
                yield scalar, "", scalar.item()


def dumpers_of(context: AdaptersMap, format: PyFormat) -> dict[Any, Any]:
    return context._dumpers[format]


def found(info: Info | None) -> Info:
    assert info is not None
    return info


async def prepare(conn: AsyncConnection[Any]) -> None:
    await conn.execute("SET escape_string_warning TO off; SET TIME ZONE 'UTC'; SET intervalstyle TO postgres")
    await conn.execute('CREATE SCHEMA "odd \'\\schema"; SET search_path TO "odd \'\\schema", public')
    await conn.execute("CREATE TYPE mood AS ENUM ('happy'); CREATE TYPE pair AS (a text, b int)")
    await conn.execute(
        'CREATE TYPE words AS RANGE (subtype = text, collation = "C", multirange_type_name = multiwords)'
    )
    register_enum(found(await EnumInfo.fetch(conn, "mood")), conn, Mood)
    register_composite(found(await CompositeInfo.fetch(conn, "pair")), conn)
    register_range(found(await RangeInfo.fetch(conn, "words")), conn)
    register_multirange(found(await MultirangeInfo.fetch(conn, "multiwords")), conn)
    register_infinity(conn)
    register_interval(conn)


def alike(value: Any) -> Any:
    """Return what can be compared: a bytearray and a memoryview are loaded as bytes."""
    return bytes(value) if isinstance(value, bytearray | memoryview) else value


async def test_every_class(conn: AsyncConnection[Any]) -> None:
    await prepare(conn)
    seen: set[type] = set()
    for encoding, text in ENCODINGS.items():
        await conn.execute(f"SET client_encoding TO {encoding}".encode())
        cursor = AsyncClientCursor(conn)
        expected = list(values(text))
        seen.update(type(value) for value, _, _ in expected)
        for conforming in ("on", "off") if conn.info.server_version < 190000 else ("on",):
            await conn.execute(f"SET standard_conforming_strings TO {conforming}".encode())
            # As the parameters of a client cursor, and as parts of a composed query.
            bound = ", ".join(f"%s{cast}" for _, cast, _ in expected)
            await cursor.execute(f"SELECT {bound}".encode(), [value for value, _, _ in expected])
            rows = [await cursor.fetchone()]
            parts = sql.SQL(", ").join(sql.SQL(f"{{}}{cast}").format(value) for value, cast, _ in expected)
            await cursor.execute(sql.SQL("SELECT {}").format(parts))
            rows.append(await cursor.fetchone())
            for row in rows:
                for (value, cast, wanted), got in zip(expected, row or (), strict=True):
                    assert got == alike(wanted), (encoding, conforming, value, cast)
    registered = {cls for cls in dumpers_of(adapters, PyFormat.TEXT) if isinstance(cls, type)}
    assert {cls.__name__ for cls in registered if not any(issubclass(one, cls) for one in seen)} == set()


async def test_every_oid(conn: AsyncConnection[Any]) -> None:
    """Of a type's own values, as they are loaded, its dumper makes literals that are equal to them."""
    await conn.execute("SET escape_string_warning TO off; SET TIME ZONE 'UTC'")
    checked = 0
    for oid, dumper_cls in dict(adapters._dumpers_by_oid[Format.TEXT]).items():
        info = adapters.types[oid]
        if oid != info.oid:
            continue  # arrays
        checked += 1
        sample = SAMPLES_BY_NAME[info.name]
        query = sql.SQL("SELECT {}::text::{}").format(sample, sql.Identifier(info.name))
        try:
            async with conn.transaction():
                [[value]] = await (await conn.execute(query)).fetchall()
        except FeatureNotSupported:
            assert info.name == "xml"  # a server may be built without it
            continue
        dumper = dumper_cls(type(value), conn)
        assert isinstance(dumper, Dumper)
        for conforming in ("on", "off") if conn.info.server_version < 190000 else ("on",):
            await conn.execute(f"SET standard_conforming_strings TO {conforming}".encode())
            literal = sql.SQL(dumper.quote(value).decode())
            query = sql.SQL("SELECT {0}::{1}, ARRAY[{0}]::{1}[]").format(literal, sql.Identifier(info.name))
            assert await (await conn.execute(query)).fetchone() == (value, [value])
    assert checked > 40


async def test_digits_after_the_point(conn: AsyncConnection[Any]) -> None:
    """As the value has them, in a literal as in both formats, and from both."""
    client = AsyncClientCursor(conn)
    for text, shown in (("0.00", "0.00"), ("0E-5", "0.00000"), ("1.50", "1.50"), ("-0.10", "-0.10"), ("1E+3", "1000")):
        value = Decimal(text)
        for cursor, letter, binary in ((client, "s", False), (conn, "t", False), (conn, "b", True)):
            query = f"SELECT %{letter}::text, %{letter}::numeric".encode()
            found = await cursor.execute(query, (value, value), binary=binary)
            [[written, loaded]] = await found.fetchall()
            assert (written, str(loaded)) == (shown, shown)
