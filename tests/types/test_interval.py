"""Intervals with months."""

from __future__ import annotations

import copy
import pickle
import struct
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from anyq import sql
from anyq.adapt import Format, PyFormat, Transformer
from anyq.errors import DataError
from anyq.postgres import types
from anyq.types.interval import Interval, register_interval
from tests.support.hostile_values import check_hostile, load_checked
from tests.support.values import FORMATS, PYFORMATS, FakeConnection, dump, there_and_back, transformer

if TYPE_CHECKING:
    from anyq import AsyncConnection

_int32 = st.integers(-(2**31), 2**31 - 1)
intervals = st.builds(Interval, _int32, _int32, st.integers(-(2**63), 2**63 - 1))
INFINITE = [Interval(2**31 - 1, 2**31 - 1, 2**63 - 1), Interval(-(2**31), -(2**31), -(2**63))]


def registered() -> Transformer:
    context = FakeConnection()
    register_interval(context)
    return Transformer(context)


@given(value=intervals)
def test_copied_hashed_and_compared(value: Interval) -> None:
    loaded = there_and_back(value, PyFormat.BINARY, registered())
    for again in (loaded, copy.copy(loaded), copy.deepcopy(value), pickle.loads(pickle.dumps(loaded))):
        assert again == value
        assert (hash(again), repr(again)) == (hash(value), repr(value))
    with pytest.raises(TypeError):
        value < loaded  # noqa: B015


@given(value=intervals)
def test_binary_there_and_back(value: Interval) -> None:
    tx = registered()
    assert there_and_back(value, PyFormat.BINARY, tx) == value
    assert there_and_back([value, None], PyFormat.BINARY, tx) == [value, None]
    assert dump(value, PyFormat.TEXT)[1] == types["interval"].oid


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("00:00:00", Interval()),
        ("1 year 2 mons -3 days +04:05:06.7", Interval(14, -3, 14_706_700_000)),
        ("@ 1 year 2 mons -3 days 4 hours", Interval(14, -3, 14_400_000_000)),
        ("P1Y2M-3DT4H", Interval(14, -3, 14_400_000_000)),
        ("+1-2 -3 +4:00:00", Interval(14, -3, 14_400_000_000)),
        ("infinity", INFINITE[0]),
        ("-infinity", INFINITE[1]),
    ],
)
def test_text_of_every_style(text: str, value: Interval) -> None:
    assert load_checked(text.encode(), "interval", Format.TEXT, registered()) == value


@pytest.mark.parametrize("format", PYFORMATS)
@pytest.mark.parametrize("value", [Interval(2**31), Interval(0, -(2**31) - 1), Interval(0, 0, 2**63), Interval("1")])  # type: ignore[arg-type]
def test_what_does_not_fit(value: Interval, format: PyFormat) -> None:
    for parameter in (value, [value]):
        with pytest.raises(DataError, match="months and days of 32 bits"):
            dump(parameter, format)


@pytest.mark.parametrize("format", FORMATS)
@given(data=st.binary(max_size=18) | st.text("0123456789-+:.PYMDTH ago@days", max_size=24).map(str.encode))
@example(data=b"99999999999 years")
@example(data=struct.pack("!qii", 2**63 - 1, 0, 0))
def test_hostile_bytes(data: bytes, format: Format) -> None:
    check_hostile(data, "interval", format, registered())


def test_only_where_it_is_registered() -> None:
    assert there_and_back(Interval(0, 1, 0), PyFormat.BINARY) == timedelta(days=1)
    tx = registered()
    assert there_and_back(timedelta(days=1), PyFormat.BINARY, tx) == Interval(0, 1, 0)
    # What is found by the oid dumps a timedelta as before.
    dumper = transformer().get_dumper_by_oid(types["interval"].oid, Format.BINARY)
    assert dumper.dump(timedelta(days=1)) == struct.pack("!qii", 0, 1, 0)
    assert [value.is_infinite for value in (*INFINITE, Interval(1))] == [True, True, False]


@pytest.mark.anyio
@pytest.mark.parametrize("style", ["postgres", "postgres_verbose", "sql_standard", "iso_8601"])
async def test_a_server_gives_them_back(conn: AsyncConnection[Any], style: str) -> None:
    register_interval(conn)
    await conn.execute(f"SET IntervalStyle TO {style}".encode())
    values = [
        Interval(),
        Interval(14, -3, 14_706_700_001),
        Interval(-14, 3, -14_706_700_001),
        Interval(0, -1, 1),
        Interval(1, 0, -1),
        Interval(-1, -1, -1),
        Interval(2**31 - 1, -(2**31) + 1, 2**53 + 1),
    ]
    if conn.info.server_version >= 170000:
        values += INFINITE
    for format in PyFormat:
        for binary in (False, True):
            for value in values:
                query = f"SELECT %{format.value}, %{format.value}".encode()
                cursor = await conn.execute(query, [value, [value, None]], binary=binary)
                assert await cursor.fetchone() == (value, [value, None])
    for value in values:
        cursor = await conn.execute(sql.SQL("SELECT {}").format(value))
        assert await cursor.fetchone() == (value,)
    cursor = await conn.execute(b"SELECT '2024-01-31'::date + %s, '1 month'::interval", [Interval(1)])
    assert [str(value) for value in await cursor.fetchone() or ()][0] == "2024-02-29 00:00:00"
