"""Types: the registry, and the catalogue of a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from anyq import sql
from anyq.adapt import AdaptersMap
from anyq.adapt.typeinfo import TypeInfo, TypesRegistry
from anyq.postgres import adapters, types

if TYPE_CHECKING:
    from anyq import AsyncConnection


@pytest.mark.parametrize("key", ["int4", "integer", 23, 1007, "int4[]", "integer[]"])
def test_find(key: str | int) -> None:
    info = types[key]
    assert types.get(key) is info
    assert (info.name, info.oid, info.array_oid, info.regtype, info.delimiter) == ("int4", 23, 1007, "integer", ",")


def test_find_nothing() -> None:
    assert types.get("int5") is None
    assert types.get(0) is None
    with pytest.raises(KeyError, match=r"no type 'int5': TypeInfo\.fetch\(\) it"):
        types["int5"]
    with pytest.raises(KeyError, match=r"no type 'int5\[\]'"):
        types.get_oid("int5[]")


def test_oid() -> None:
    assert types.get_oid("int4") == 23
    assert types.get_oid("int4[]") == 1007
    assert types.get_oid("timestamp with time zone") == 1184
    assert types["box"].delimiter == ";"


def test_iterate() -> None:
    registry = TypesRegistry()
    infos = [TypeInfo("a", 1, 2), TypeInfo("b", 3, 0, regtype="x.b")]
    for info in infos:
        registry.add(info)
    assert list(registry) == infos
    registry.clear()
    assert list(registry) == []


def test_copies_do_not_see_each_others_changes() -> None:
    parent = TypesRegistry(types)
    before = TypesRegistry(parent)
    parent.add(TypeInfo("a", 60_000, 60_001))
    after = TypesRegistry(parent)
    after.add(TypeInfo("b", 60_002, 0))
    assert before.get("a") is parent.get("b") is types.get("a") is None
    assert after["a"] is parent["a"]


def test_the_last_one_of_a_name_counts() -> None:
    registry = TypesRegistry(types)
    registry.add(TypeInfo("int4", 60_000, 60_001))
    assert registry["int4"].oid == 60_000
    assert registry[23].name == "int4"


def test_repr() -> None:
    assert repr(types["int4"]) == "<TypeInfo: int4 (oid: 23, array oid: 1007)>"


def test_register_globally() -> None:
    info = TypeInfo("int4", 23, 1007, regtype="integer")
    before = types["int4"]
    version = adapters.version
    info.register()
    assert types["int4"] is info
    assert adapters.version > version
    before.register()


@pytest.mark.anyio
@pytest.mark.parametrize(
    "name",
    ["anyq_mood", '"anyq_mood"', "pg_temp.anyq_mood", sql.Identifier("pg_temp", "anyq_mood")],
    ids=["bare", "quoted", "with schema", "identifier"],
)
async def test_fetch(conn: AsyncConnection[Any], name: str | sql.Identifier) -> None:
    await conn.execute("CREATE TYPE pg_temp.anyq_mood AS ENUM ('fine')")
    info = await TypeInfo.fetch(conn, name)
    assert info is not None
    assert info.name == "anyq_mood"
    names = ["pg_temp.anyq_mood", "pg_temp.anyq_mood[]"]
    cursor = await conn.execute("SELECT %s::regtype::oid, %s::regtype::oid", names)
    assert (info.oid, info.array_oid) == await cursor.fetchone()

    info.register(conn)
    assert conn.adapters.types["anyq_mood"] is info
    assert types.get("anyq_mood") is None
    for binary in (False, True):
        cursor = await conn.execute("SELECT array['fine', null]::pg_temp.anyq_mood[]", binary=binary)
        assert await cursor.fetchone() == (["fine", None],)


@pytest.mark.anyio
async def test_fetch_what_is_not_there(conn: AsyncConnection[Any]) -> None:
    assert await TypeInfo.fetch(conn, "no_such_type") is None
    assert await TypeInfo.fetch(conn, "no_such_schema.t") is None
    cursor = await conn.execute("SELECT 1")
    assert await cursor.fetchone() == (1,)


@pytest.mark.anyio
async def test_fetch_with_any_row_factory_and_encoding(conn: AsyncConnection[Any]) -> None:
    await conn.execute("SET client_encoding TO 'SQL_ASCII'")
    conn.row_factory = lambda cursor: lambda values: {"made": values}
    info = await TypeInfo.fetch(conn, "text")
    assert info is not None
    assert (info.name, info.oid, info.regtype) == ("text", 25, "text")
    info.register(AdaptersMap(adapters))
