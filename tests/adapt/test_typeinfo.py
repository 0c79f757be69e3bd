"""Types: the registry, and the catalogue of a server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import anyq
from anyq import AsyncClientCursor, AsyncConnection, AsyncCursor, AsyncRawCursor, TransactionStatus, sql
from anyq import errors as e
from anyq.adapt import AdaptersMap, Dumper, Loader, Transformer
from anyq.adapt.typeinfo import TypeInfo, TypesRegistry, check_info
from anyq.postgres import adapters, types
from anyq.protocol.constants import Format
from anyq.rows import tuple_row
from anyq.types.enum import EnumInfo
from tests.support.values import FakeConnection, load


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


def test_information_of_another_kind() -> None:
    check_info(EnumInfo("a", 1, 2, ["x"]), EnumInfo, "enum")
    with pytest.raises(TypeError, match=r"EnumInfo\.fetch\(\) returns None where there is no enum"):
        check_info(None, EnumInfo, "enum")
    with pytest.raises(TypeError, match=r"has to be fetched by EnumInfo\.fetch\(\); this is <TypeInfo: a "):
        check_info(TypeInfo("a", 1, 2), EnumInfo, "enum")


def test_information_that_was_not_awaited() -> None:
    async def fetch() -> None:
        raise AssertionError("this is not awaited")

    with pytest.raises(TypeError, match=r"EnumInfo\.fetch\(\) of an asynchronous connection has to be awaited"):
        check_info(fetch(), EnumInfo, "enum")


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


def test_a_type_of_which_only_the_array_is_known() -> None:
    """The oid 0 means that a type is not known, and goes on to mean that."""
    registry = TypesRegistry(types)
    registry.add(TypeInfo("citext", 0, 60_001))
    assert registry.get(0) is None
    assert registry[60_001].name == registry["citext[]"].name == "citext"
    context = FakeConnection()
    TypeInfo("citext", 0, 60_001).register(context)
    assert load(b"{a,NULL}", 60_001, Format.TEXT, Transformer(context)) == ["a", None]
    # Its items would be bytes in binary, so it is not asked for.
    assert not Transformer(context).has_binary_loader(60_001)


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


# -- whatever a user has set


class _NoCursor(AsyncCursor[Any]):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise AssertionError("the driver has queries of its own")


def _no_rows(cursor: object) -> Any:
    raise AssertionError("the driver has rows of its own")


def _spoil(context: Any) -> None:
    """Register what makes everything that the driver asks for, and with, useless."""

    class NoLoader(Loader):
        def load(self, data: Any) -> Any:
            raise AssertionError("the driver has adapters of its own")

    class BinaryNoLoader(NoLoader):
        format = Format.BINARY

    class NoDumper(Dumper):
        def dump(self, obj: Any) -> bytes:
            raise AssertionError("the driver has adapters of its own")

    for name in ("oid", "text", "name", "char", '"char"', "int4"):
        if context.adapters.types.get(name) is not None:
            context.adapters.register_loader(name, NoLoader)
            context.adapters.register_loader(name, BinaryNoLoader)
    context.adapters.register_dumper(str, NoDumper)


@pytest.mark.anyio
@pytest.mark.parametrize("autocommit", [True, False])
@pytest.mark.parametrize("factory", [AsyncRawCursor, AsyncClientCursor, _NoCursor])
async def test_fetch_needs_nothing_of_the_users(factory: type[AsyncCursor[Any]], autocommit: bool, dsn: str) -> None:
    async with AsyncConnection.connect(
        dsn, cursor_factory=factory, row_factory=_no_rows, autocommit=autocommit, prepare_threshold=0
    ) as conn:
        _spoil(conn)
        for _ in range(7):
            info = await TypeInfo.fetch(conn, "pg_catalog.int8")
            assert info is not None
            assert (info.name, info.oid, info.array_oid, info.regtype) == ("int8", 20, 1016, "bigint")
        assert await TypeInfo.fetch(conn, "no_such_type") is None
        # No transaction is open that was not, and no statement is prepared.
        assert conn.info.transaction_status is TransactionStatus.IDLE
        conn.row_factory = tuple_row
        cursor = await AsyncRawCursor(conn).execute("SELECT count(*) FROM pg_prepared_statements", prepare=False)
        assert await cursor.fetchone() == (0,)


@pytest.mark.anyio
async def test_fetch_in_a_transaction(conn: AsyncConnection[Any]) -> None:
    async with conn.transaction():
        await conn.execute("CREATE TYPE pg_temp.anyq_mood AS ENUM ('fine')")
        assert await TypeInfo.fetch(conn, "anyq_mood") is not None
        assert conn.info.transaction_status is TransactionStatus.INTRANS
    assert conn.info.transaction_status is TransactionStatus.IDLE
    assert await TypeInfo.fetch(conn, "anyq_mood") is not None
    assert conn.info.transaction_status is TransactionStatus.IDLE


@pytest.mark.anyio
@pytest.mark.parametrize("autocommit", [True, False])
async def test_fetch_that_fails_leaves_no_transaction(autocommit: bool, conn: AsyncConnection[Any]) -> None:
    await conn.set_autocommit(autocommit)
    with pytest.raises(e.SyntaxError):
        await TypeInfo.fetch(conn, '"')
    assert conn.info.transaction_status is TransactionStatus.IDLE


@pytest.mark.anyio
async def test_fetch_in_a_failed_transaction(conn: AsyncConnection[Any]) -> None:
    with pytest.raises(e.UndefinedColumn):
        await conn.execute("SELECT nothing")
    with pytest.raises(e.InFailedSqlTransaction):
        await TypeInfo.fetch(conn, "int8")
    assert conn.info.transaction_status is TransactionStatus.INERROR


@pytest.fixture
def odd_names(dsn: str) -> Iterator[anyq.Connection[Any]]:
    with anyq.connect(dsn) as conn:
        conn.execute(
            """CREATE SCHEMA "My ""Schema"; CREATE TYPE "My ""Schema"."my type" AS ENUM ('a');
            SET LOCAL search_path TO "My ""Schema"; CREATE TYPE "a.b" AS ENUM ('a'); CREATE TYPE "MyType" AS ENUM ('a');
            CREATE TYPE "'é\\%s" AS ENUM ('a')"""
        )
        yield conn
        assert conn.execute("SELECT 1").fetchone() == (1,)
        conn.rollback()


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ('"my type"', "my type"),
        ('"My ""Schema"."my type"', "my type"),
        (sql.Identifier('My "Schema', "my type"), "my type"),
        ('"a.b"', "a.b"),
        (sql.Identifier("a.b"), "a.b"),
        ("a.b", None),
        ('"MyType"', "MyType"),
        (sql.Identifier("MyType"), "MyType"),
        ("MyType", None),
        (sql.Identifier("int4[]"), None),
        ("int4[]", "_int4"),
        (sql.Identifier("'é\\%s"), "'é\\%s"),
        ("timestamp(3) with time zone", "timestamptz"),
        ("numeric(10, 2)", "numeric"),
        (sql.Identifier("integer"), None),
    ],
)
def test_names_that_need_quotes(odd_names: anyq.Connection[Any], name: str | sql.Identifier, found: str | None) -> None:
    info = TypeInfo.fetch(odd_names, name)
    assert (info and info.name) == found
    if info is None or not info.array_oid:
        return
    # As what it says of itself, and by its name, it is found again.
    for again in (info.regtype, sql.Identifier(info.schema, info.name)):
        other = TypeInfo.fetch(odd_names, again)
        assert other is not None
        assert other.oid == info.oid
    info.register(odd_names)
    assert odd_names.adapters.types[info.name].oid == info.oid
    assert odd_names.adapters.types.get_oid(f"{info.name}[]") == info.array_oid
    if found not in ("timestamptz", "numeric"):
        query = sql.SQL("SELECT ARRAY[{}::{}]").format("a", sql.Identifier(info.schema, info.name))
        assert odd_names.execute(query).fetchone() == (["a"],)


@pytest.mark.parametrize(
    "name", ["my type", 'My "Schema.my type', 'we"ird', "int4 int4", "a.b.c.d", "'; drop", "$1", "varchar(", "a%type"]
)
def test_names_that_are_none(odd_names: anyq.Connection[Any], name: str) -> None:
    """What is said is about the name, and not about a query of the driver's."""
    for asked in (name, ["int4", name, '"MyType"']):
        with pytest.raises(e.SyntaxError) as caught:
            TypeInfo.fetch(odd_names, asked)
        text = str(caught.value)
        assert text.startswith(f"{name!r} is no name of a type as it is written in SQL (")
        assert 'or pass sql.Identifier("my schema", "my type")' in text
        assert "SELECT" not in text


def test_fetch_synchronously(dsn: str) -> None:
    with anyq.connect(dsn, cursor_factory=anyq.RawCursor, row_factory=_no_rows, autocommit=True) as conn:
        _spoil(conn)
        info = TypeInfo.fetch(conn, "int8")
        assert info is not None and info.oid == 20
        assert conn.info.transaction_status is TransactionStatus.IDLE


@pytest.mark.anyio
async def test_what_was_registered_for_all_connections(dsn: str) -> None:
    spoilt = AdaptersMap(adapters)
    _spoil(spoilt)
    async with AsyncConnection.connect(dsn, context=spoilt) as conn:
        assert await TypeInfo.fetch(conn, "int8") is not None


@pytest.mark.parametrize("name", [7, None, ("int4", "text"), b"int4", ["int4", 7]])
def test_fetch_takes_names(name: Any) -> None:
    conn: Any = None
    with pytest.raises(TypeError, match="or a list of names, not"):
        TypeInfo.fetch(conn, name)


def test_fetch_asks_a_connection() -> None:
    with pytest.raises(TypeError, match="asks a connection, not None"):
        TypeInfo.fetch(None, "int4")  # type: ignore[call-overload]


@pytest.mark.parametrize("wrong", [3, "x", object()])
def test_registering_for_what_has_no_adapters(wrong: Any) -> None:
    with pytest.raises(TypeError, match="what to register for is a connection, a cursor, a map of adapters or None"):
        TypeInfo("unknown_to_all", 60_001, 60_002).register(wrong)
    assert types.get("unknown_to_all") is None


@pytest.mark.parametrize("wrong", [None, 3, "int4"])
def test_adding_what_is_no_type(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"TypeInfo\.fetch\(\)"):
        TypesRegistry().add(wrong)
