"""PEP 249's globals, constructors and type objects by themselves; with a connection: tests/sync/test_pep249.py."""

from __future__ import annotations

import array
import datetime as dt
import time

import pytest

import anyq
from anyq import dbapi20, errors


def test_globals() -> None:
    assert (anyq.apilevel, anyq.threadsafety, anyq.paramstyle) == ("2.0", 2, "pyformat")


def test_error_classes_are_attributes() -> None:
    names = [name for name in vars(dbapi20.ErrorClasses) if not name.startswith("_")]
    assert len(names) == 10
    for name in names:
        assert getattr(dbapi20.ErrorClasses, name) is getattr(errors, name)


def test_constructors_from_ticks() -> None:
    ticks = time.mktime((2002, 12, 25, 13, 45, 30, 0, 0, -1))
    assert anyq.DateFromTicks(ticks) == dt.date(2002, 12, 25)
    assert anyq.TimeFromTicks(ticks) == dt.time(13, 45, 30)
    assert anyq.TimeFromTicks(ticks + 0.25) == dt.time(13, 45, 30, 250_000)
    instant = dt.datetime(2023, 11, 14, 22, 13, 20, tzinfo=dt.timezone.utc)
    assert anyq.TimestampFromTicks(1_700_000_000) == instant
    assert anyq.TimestampFromTicks(1_700_000_000.123456) == instant.replace(microsecond=123456)
    assert anyq.TimestampFromTicks(1_700_000_000).utcoffset() == dt.timedelta(0)
    assert anyq.TimestampFromTicks(-0.5) == dt.datetime(1969, 12, 31, 23, 59, 59, 500_000, tzinfo=dt.timezone.utc)


@pytest.mark.anyio
async def test_an_instant_is_stored_as_it_is(conn: anyq.AsyncConnection) -> None:
    """Whatever the zones of this process and of the session are."""
    await conn.execute("SET TIME ZONE 'Asia/Tokyo'")
    cursor = await conn.execute("SELECT extract(epoch FROM %s::timestamptz)::float8", (anyq.TimestampFromTicks(1.7e9),))
    assert await cursor.fetchone() == (1.7e9,)


def test_binary() -> None:
    assert anyq.Binary(b"x") == b"x"
    assert bytes(anyq.Binary(bytearray(b"x"))) == b"x"
    assert bytes(anyq.Binary(array.array("B", [1, 2]))) == b"\1\2"
    with pytest.raises(TypeError, match="encode"):
        anyq.Binary("x")


def test_type_objects_by_themselves() -> None:
    assert anyq.STRING == 25 and anyq.STRING != 23 and anyq.STRING != anyq.NUMBER and anyq.STRING == anyq.STRING
    assert repr(anyq.STRING) == "anyq.dbapi20.STRING"
    with pytest.raises(TypeError, match="unhashable"):
        hash(anyq.STRING)
