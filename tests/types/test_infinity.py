"""Infinite dates and timestamps."""

from __future__ import annotations

import copy
import pickle
from datetime import date, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from anyq import sql
from anyq.adapt import Format, PyFormat, Transformer
from anyq.errors import DataError
from anyq.postgres import types
from anyq.types.infinity import InfiniteDate, InfiniteDatetime, register_infinity
from tests.support.hostile_values import check_hostile
from tests.support.values import FORMATS, PYFORMATS, FakeConnection, dump, load, there_and_back, transformer

if TYPE_CHECKING:
    from anyq import AsyncConnection

UTC = timezone.utc
TEXTS = ["infinity", "-infinity"]
NAMES = ["date", "timestamp", "timestamptz"]


def infinite(name: str, text: str) -> Any:
    if name == "date":
        return InfiniteDate(text)
    return InfiniteDatetime(text, UTC if name == "timestamptz" else None)


def finite(name: str) -> Any:
    if name == "date":
        return date(2024, 2, 29)
    return datetime(2024, 2, 29, 12, 34, 56, 789, UTC if name == "timestamptz" else None)


def registered() -> Transformer:
    context = FakeConnection()
    register_infinity(context)
    return Transformer(context)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("format", PYFORMATS)
def test_there_and_back(name: str, text: str, format: PyFormat) -> None:
    tx = registered()
    value = infinite(name, text)
    assert there_and_back(value, format, tx) == value
    assert dump(value, format, tx)[1] == types[name].oid
    assert dump(value, format)[1] == types[name].oid
    # Finite ones are what they were, alone and in a list with others.
    for items in ([value, finite(name), None], [finite(name), value], [[finite(name)], [value]]):
        assert there_and_back(items, format, tx) == items
    assert there_and_back(finite(name), format, tx) == finite(name)
    assert tx.as_literal(value) == f"'{text}'::{types[name].name}".encode()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("format", PYFORMATS)
def test_only_where_it_is_registered(name: str, format: PyFormat) -> None:
    data, oid, wire = dump(infinite(name, "infinity"), format)
    with pytest.raises(DataError, match="infinity"):
        load(bytes(data or b""), oid, wire)
    with pytest.raises(DataError, match="mixed types"):
        dump([infinite(name, "infinity"), finite(name)], format)
    plain = transformer().get_dumper_by_oid(types[name].oid, Format.BINARY)
    assert type(plain).__module__ == "anyq.types._datetime_dumpers"


@pytest.mark.parametrize("format", FORMATS)
def test_one_of_another_type(format: Format) -> None:
    tx = registered()
    for name in NAMES:
        dumper = tx.get_dumper_by_oid(types[name].oid, format)
        for other in NAMES:
            if other == name:
                assert dumper.dump(infinite(other, "infinity"))
            else:
                with pytest.raises(DataError, match="of another type"):
                    dumper.dump(infinite(other, "infinity"))


def test_order() -> None:
    for name in NAMES:
        first, last = infinite(name, "-infinity"), infinite(name, "infinity")
        values = [last, finite(name), first, type(finite(name)).max.replace(**_zone(name))]
        assert sorted(values) == [first, finite(name), values[3], last]
        assert first < finite(name) < last
        assert first <= first < last
        assert last >= last > values[3]
        assert max(values) is last
        assert first != last != finite(name)
        assert {first, last, infinite(name, "infinity")} == {first, last}
    # In which zone is no matter, as it is none for a datetime.
    tokyo = InfiniteDatetime("infinity", timezone(timedelta(hours=9)))
    assert tokyo == infinite("timestamptz", "infinity")
    assert tokyo <= infinite("timestamptz", "infinity") <= tokyo
    assert {tokyo: 1} == {infinite("timestamptz", "infinity"): 1}
    for one, other in (
        (InfiniteDate(), datetime(2024, 1, 1)),
        (InfiniteDate(), InfiniteDatetime()),
        (InfiniteDatetime(), date(2024, 1, 1)),
        (InfiniteDatetime(), datetime(2024, 1, 1, tzinfo=UTC)),
        (InfiniteDatetime("infinity", UTC), datetime(2024, 1, 1)),
        (InfiniteDate(), 1),
    ):
        with pytest.raises(TypeError):
            assert one < other
        assert one != other


def _zone(name: str) -> dict[str, Any]:
    return {"tzinfo": UTC} if name == "timestamptz" else {}


def test_what_they_are() -> None:
    for name in NAMES:
        for text in TEXTS:
            value = infinite(name, text)
            assert str(value) == text
            assert copy.deepcopy(value) == pickle.loads(pickle.dumps(value)) == value
            assert not isinstance(value, date)
    with pytest.raises(ValueError, match="not 'Infinity'"):
        InfiniteDate("Infinity")
    with pytest.raises(TypeError):
        assert InfiniteDate() + timedelta(1)  # type: ignore[operator]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("format", FORMATS)
@given(data=st.binary(max_size=10) | st.text("-infnity0123456789:+ BC", max_size=24).map(str.encode))
@example(data=b"-infinity ")
@example(data=b"INFINITY")
def test_hostile_bytes(data: bytes, name: str, format: Format) -> None:
    check_hostile(data, name, format, registered())


@pytest.mark.anyio
async def test_a_server_gives_them_back(conn: AsyncConnection[Any]) -> None:
    register_infinity(conn)
    await conn.execute(b"SET TIME ZONE 'Asia/Tokyo'")
    for style in ("ISO", "German", "SQL, DMY", "Postgres"):
        await conn.execute(f"SET DateStyle TO '{style}'".encode())
        for format in PyFormat:
            for binary in (False, True):
                for name in NAMES:
                    for text in TEXTS:
                        value = infinite(name, text)
                        query = f"SELECT %{format.value}, %{format.value}, '{text}'::{name}".encode()
                        items = [value, None, finite(name)]
                        cursor = await conn.execute(query, [value, items], binary=binary)
                        assert await cursor.fetchone() == (value, items, value)
    values = [infinite(name, text) for name in NAMES for text in TEXTS]
    cursor = await conn.execute(sql.SQL("SELECT {}").format(sql.SQL(", ").join(map(sql.Literal, values))))
    assert await cursor.fetchone() == tuple(values)
