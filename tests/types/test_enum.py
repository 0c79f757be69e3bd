"""Enums: members and labels, and what is neither."""

from __future__ import annotations

import enum
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import anyq
from anyq import AsyncClientCursor, AsyncConnection, AsyncRawCursor, sql
from anyq.adapt import AdaptersMap, Format, PyFormat, Transformer
from anyq.errors import DataError, InvalidTextRepresentation
from anyq.postgres import adapters, types
from anyq.types.enum import EnumInfo, register_enum
from tests.support.values import FORMATS, PYFORMATS, FakeConnection, dump, load, there_and_back

OID, ARRAY_OID = 70_000, 70_001


class Mood(enum.Enum):
    happy = 1
    sad = 2
    SAD = 2
    unheard_of = 3


class Number(enum.IntEnum):
    happy = 10
    sad = 20


class Text(str, enum.Enum):
    happy = "glad"
    sad = "gloomy"


CLASSES = [Mood, Number, Text]


def context(encoding: str = "utf-8") -> FakeConnection:
    return FakeConnection(encoding)


def registered(
    cls: type[enum.Enum] | None = None, labels: list[str] | None = None, encoding: str = "utf-8", **more: Any
) -> tuple[Transformer, EnumInfo]:
    info = EnumInfo("mood", OID, ARRAY_OID, labels or ["happy", "sad"])
    connection = context(encoding)
    register_enum(info, connection, cls, **more)
    return Transformer(connection), info


# -- without a server


@pytest.mark.parametrize("format", PYFORMATS)
@pytest.mark.parametrize("cls", CLASSES)
def test_by_the_names_of_members(cls: Any, format: PyFormat) -> None:
    tx, info = registered(cls)
    assert info.enum == cls
    assert dump(cls.happy, format, tx)[:2] == (b"happy", OID)
    for member in (cls.happy, cls.sad):
        assert there_and_back(member, format, tx) is member
    assert there_and_back([cls.sad, None, cls.happy], format, tx) == [cls.sad, None, cls.happy]
    assert dump([cls.sad], format, tx)[1] == ARRAY_OID
    assert tx.as_literal(cls.sad) == b"'sad'::mood"


@pytest.mark.parametrize("format", FORMATS)
def test_an_alias_is_the_member(format: int) -> None:
    tx, _ = registered(Mood, ["happy", "SAD"])
    assert load(b"SAD", OID, format, tx) is Mood.sad
    assert dump(Mood.sad, PyFormat.TEXT, tx)[0] == b"SAD"
    tx, _ = registered(Mood, ["happy", "SAD", "sad"])
    assert load(b"SAD", OID, format, tx) is load(b"sad", OID, format, tx) is Mood.sad
    assert dump(Mood.sad, PyFormat.TEXT, tx)[0] == b"sad"


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("data", [b"merry", b"", b"\xff", b"\0", b"happy ", b"HAPPY"])
def test_a_label_without_a_member(format: int, data: bytes) -> None:
    tx, _ = registered(Mood)
    for _ in range(2):
        with pytest.raises(DataError, match="Mood has no member for the label") as caught:
            load(data, OID, format, tx)
    shown = data if data == b"\xff" else data.decode()
    assert f"the label {shown!r}: add it" in str(caught.value)


def test_a_member_without_a_label() -> None:
    tx, _ = registered(Mood)
    for format in PYFORMATS:
        for value in (Mood.unheard_of, [Mood.unheard_of]):
            with pytest.raises(
                DataError, match=r"no label for <Mood\.unheard_of: 3>: pass register_enum\(\) a mapping that has it$"
            ):
                dump(value, format, tx)


def test_values_that_are_the_labels() -> None:
    """The usual mistake: what to pass is written out."""

    class State(enum.Enum):
        NEW = "new"

    tx, _ = registered(State, ["new"])
    hint = r"such as \{member: member.value for member in State\}, as labels are names"
    with pytest.raises(DataError, match=f"a mapping that has it {hint}"):
        dump(State.NEW, PyFormat.TEXT, tx)
    with pytest.raises(DataError, match=f"State has no member for the label 'new': add it, .* {hint}; after"):
        load(b"new", OID, Format.TEXT, tx)
    tx, _ = registered(State, ["new"], mapping={member: member.value for member in State})
    assert there_and_back(State.NEW, PyFormat.TEXT, tx) is State.NEW


@pytest.mark.parametrize("pairs", [True, False])
@pytest.mark.parametrize("cls", CLASSES)
def test_mapping(cls: Any, pairs: bool) -> None:
    mapping = {cls.happy: "I'm fine", cls.sad: 'a "b" \\c'}
    tx, _ = registered(cls, list(mapping.values()), mapping=list(mapping.items()) if pairs else mapping)
    for member, label in mapping.items():
        for format in PYFORMATS:
            assert dump(member, format, tx)[0] == label.encode()
            assert there_and_back(member, format, tx) is member
            assert there_and_back([[member]], format, tx) == [[member]]


def test_several_members_of_one_label() -> None:
    mapping = [(Mood.happy, "a"), (Mood.sad, "b"), (Mood.unheard_of, "a")]
    tx, _ = registered(Mood, ["a", "b", "c"], mapping=mapping)
    assert [dump(member, PyFormat.TEXT, tx)[0] for member, _ in mapping] == [b"a", b"b", b"a"]
    assert load(b"a", OID, 0, tx) is Mood.unheard_of
    with pytest.raises(DataError, match="label 'c'"):
        load(b"c", OID, 0, tx)


def test_a_class_is_made() -> None:
    labels = ["a b", "c,d", 'e"', "für"]
    tx, info = registered(labels=labels)
    assert info.enum is not None
    assert info.enum.__name__ == "Mood"
    assert [member.name for member in info.enum] == labels
    for member in info.enum:
        assert there_and_back(member, PyFormat.BINARY, tx) is member


@pytest.mark.parametrize("label", ["mro", "__init__", "_a_"])
def test_a_class_cannot_be_made(label: str) -> None:
    with pytest.raises(ValueError, match="enum mood are not all of them names .* pass an enum"):
        registered(labels=["a", label])
    cls = enum.Enum("cls", ["a", "b"])
    tx, _ = registered(cls, ["a", label], mapping={cls["a"]: "a", cls["b"]: label})
    assert there_and_back(cls["b"], PyFormat.TEXT, tx) is cls["b"]


def test_no_such_enum() -> None:
    missing: Any = None
    with pytest.raises(TypeError, match=r"EnumInfo\.fetch\(\) returns None"):
        register_enum(missing)


@pytest.mark.parametrize(
    ("wrong", "mapping", "message"),
    [
        (dict, None, "subclass of Enum, and <class 'dict'> is none"),
        (Mood.happy, None, "subclass of Enum, and <Mood.happy: 1> is none"),
        (Mood, {"happy": Mood.happy}, r"label of each member, \{Mood.x: 'x'\}; this is \('happy', <Mood.happy: 1>\)"),
        (Mood, "happy", "label of each member, .*; this is 'h'"),
    ],
)
def test_what_is_no_enum(wrong: Any, mapping: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        registered(wrong, ["happy"], mapping=mapping)


def test_members_that_cannot_be_hashed() -> None:
    class Listed(list, enum.Enum):  # type: ignore[type-arg]
        happy = ([1],)
        sad = ([2],)
        __hash__ = None  # type: ignore[assignment]

    tx, _ = registered(Listed)
    assert there_and_back(Listed.happy, PyFormat.TEXT, tx) is Listed.happy


@pytest.mark.parametrize("format", PYFORMATS)
def test_nobody_has_registered_it(format: PyFormat) -> None:
    assert dump(Mood.SAD, format)[:2] == (b"sad", 0)
    assert dump([Mood.happy], format)[1] in (0, types.get_oid("text[]"))
    assert dump(Number.sad, format)[1] == types.get_oid("int2")
    assert dump(Text.sad, PyFormat.TEXT)[0] == b"gloomy"


@pytest.mark.parametrize("format", PYFORMATS)
def test_a_label_for_what_is_found_by_its_oid(format: PyFormat) -> None:
    tx, _ = registered(Mood)
    dumper = tx.get_dumper_by_oid(OID, PyFormat.as_pq(format))
    assert dumper.dump("happy") == dumper.dump(Mood.happy) == b"happy"
    for value in (1, Text.happy, None):
        with pytest.raises(DataError):
            dumper.dump(value)


def test_only_where_it_was_registered() -> None:
    registered(Mood)
    assert types.get(OID) is None
    assert adapters.get_loader(OID, 0) is None
    here = AdaptersMap(adapters)
    register_enum(EnumInfo("mood", OID, ARRAY_OID, ["happy"]), here, Mood)
    assert here.types["mood"].oid == OID


@pytest.mark.parametrize("encoding", ["shift_jis", "gbk", "big5", "gb18030", "euc_jp", "iso8859-1"])
def test_labels_in_other_encodings(encoding: str) -> None:
    text = {"shift_jis": "表", "gbk": "誠", "big5": "功", "gb18030": "誠", "euc_jp": "表", "iso8859-1": "é"}[encoding]
    labels = [text, f'{text}"{{,'.replace("\\", ""), "\\"]
    cls = enum.Enum("cls", ["a", "b", "c"])
    tx, _ = registered(cls, labels, encoding, mapping=dict(zip(cls, labels, strict=True)))
    for member, label in zip(cls, labels, strict=True):
        for format in PYFORMATS:
            assert dump(member, format, tx)[0] == label.encode(encoding)
            assert there_and_back(member, format, tx) is member
            assert there_and_back([member, member], format, tx) == [member, member]


def test_a_label_that_the_encoding_lacks() -> None:
    cls = enum.Enum("cls", ["a", "表"])
    tx, _ = registered(cls, ["a", "表"], "iso8859-1")
    assert there_and_back(cls["a"], PyFormat.TEXT, tx) is cls["a"]
    with pytest.raises(DataError, match="has no character"):
        dump(cls["表"], PyFormat.TEXT, tx)


@given(st.binary(max_size=20))
def test_any_bytes(data: bytes) -> None:
    tx, _ = registered(Mood, ["happy", "sad", "\0"])
    for format in FORMATS:
        with suppress(DataError):
            assert load(data, OID, format, tx) in Mood
        with suppress(DataError):
            load(data, ARRAY_OID, format, tx)


# -- with one


class Odd(enum.Enum):
    plain = "plain"
    quoted = 'it\'s \\ "a"'
    braces = "{},; ()"
    japanese = "表"
    empty = " "


async def odd(conn: AsyncConnection[Any], name: str = 'pg_temp."The, mood"') -> EnumInfo:
    labels = [sql.Literal(member.value) for member in Odd]
    await conn.execute(sql.SQL("CREATE TYPE {} AS ENUM ({})").format(sql.SQL(name), sql.SQL(", ").join(labels)))
    info = await EnumInfo.fetch(conn, name)
    assert info is not None
    register_enum(info, conn, Odd, mapping={member: member.value for member in Odd})
    return info


@pytest.mark.anyio
@pytest.mark.parametrize("encoding", ["UTF8", "SJIS", "EUC_JP", "GBK", "BIG5", "GB18030"])
async def test_round_trip(conn: AsyncConnection[Any], encoding: str) -> None:
    await conn.execute(f"SET client_encoding TO '{encoding}'".encode())
    info = await odd(conn)
    assert info.labels == [member.value for member in Odd]
    members = list(Odd)
    table = sql.SQL("CREATE TEMP TABLE moods (one {0}, many {0}[])").format(sql.SQL('pg_temp."The, mood"'))
    await conn.execute(table)
    for format in PyFormat:
        for binary in (False, True):
            query = f"SELECT %{format.value}, %{format.value}, pg_typeof(%{format.value})::oid"
            cursor = await conn.execute(query, [Odd.braces, [members, members], Odd.plain], binary=binary)
            assert await cursor.fetchone() == (Odd.braces, [members, members], info.oid)
            cursor = await conn.execute(
                f"INSERT INTO moods VALUES (%{format.value}, %{format.value}) RETURNING one, many",
                [Odd.japanese, [None, *members]],
                binary=binary,
            )
            assert await cursor.fetchone() == (Odd.japanese, [None, *members])


@pytest.mark.anyio
async def test_a_name_that_needs_quotes_through_every_cursor(conn: AsyncConnection[Any]) -> None:
    await odd(conn)
    for cursor in (conn.cursor(), AsyncClientCursor(conn), AsyncRawCursor(conn)):
        query = "SELECT $1, $2" if isinstance(cursor, AsyncRawCursor) else "SELECT %s, %s"
        for _ in range(7):
            await cursor.execute(query, [Odd.quoted, [Odd.quoted, Odd.empty]])
            assert await cursor.fetchone() == (Odd.quoted, [Odd.quoted, Odd.empty])
    for standard in ("on", "off"):
        await conn.execute(f"SET standard_conforming_strings TO {standard}".encode())
        literal = sql.SQL("SELECT {}, {}").format(Odd.quoted, list(Odd))
        assert await (await conn.execute(literal)).fetchone() == (Odd.quoted, list(Odd))


@pytest.mark.anyio
async def test_a_literal_means_the_type_that_was_registered(conn: AsyncConnection[Any]) -> None:
    async with conn.transaction(force_rollback=True):
        for schema in ("anyq_one", "anyq_two"):
            await conn.execute(f"CREATE SCHEMA {schema}; CREATE TYPE {schema}.mood AS ENUM ('happy', 'sad')".encode())
        await conn.execute("SET LOCAL search_path TO anyq_one")
        info = await EnumInfo.fetch(conn, "mood")
        assert info is not None
        assert (info.schema, info.regtype) == ("anyq_one", "mood")
        register_enum(info, conn, Number)
        await conn.execute("SET LOCAL search_path TO anyq_two")
        cursor = AsyncClientCursor(conn)
        await cursor.execute("SELECT pg_typeof(%s)::text, pg_typeof(%s)::text", [Number.sad, [Number.sad]])
        assert await cursor.fetchone() == ("anyq_one.mood", "anyq_one.mood[]")
        other = await EnumInfo.fetch(conn, "mood")
        assert other is not None and other.oid != info.oid


@pytest.mark.anyio
async def test_after_it_was_dropped_and_made_again(conn: AsyncConnection[Any]) -> None:
    await odd(conn, "pg_temp.mood")
    await conn.execute("DROP TYPE pg_temp.mood; CREATE TYPE pg_temp.mood AS ENUM ('happy', 'plain')")
    for binary in (False, True):
        cursor = await conn.execute("SELECT 'plain'::pg_temp.mood", binary=binary)
        assert await cursor.fetchone() in (("plain",), (b"plain",))
    info = await EnumInfo.fetch(conn, "pg_temp.mood")
    assert info is not None
    register_enum(info, conn, Mood)
    cursor = await conn.execute("SELECT 'happy'::pg_temp.mood, %s", [[Mood.happy]])
    assert await cursor.fetchone() == (Mood.happy, [Mood.happy])
    # A label that came later is an error of its row alone.
    await conn.execute("ALTER TYPE pg_temp.mood ADD VALUE 'new'")
    await conn.commit()
    cursor = await conn.execute("SELECT unnest('{new,happy}'::pg_temp.mood[])")
    with pytest.raises(DataError, match=r"no member for the label 'new'.*\(column 'unnest'\)"):
        await cursor.fetchone()
    assert await cursor.fetchone() == (Mood.happy,)


@pytest.mark.anyio
async def test_not_registered(conn: AsyncConnection[Any]) -> None:
    await conn.execute("CREATE TYPE pg_temp.mood AS ENUM ('happy')")
    for format in PyFormat:
        cursor = await conn.execute(f"SELECT %{format.value}::pg_temp.mood", [Mood.happy])
        assert await cursor.fetchone() == ("happy",)
    cursor = await conn.execute("SELECT %s::pg_temp.mood[]::text[]", [[Mood.happy, None]])
    assert await cursor.fetchone() == (["happy", None],)
    with pytest.raises(InvalidTextRepresentation):
        await conn.execute("SELECT %s::pg_temp.mood", [Mood.sad])


@pytest.mark.anyio
async def test_fetch(conn: AsyncConnection[Any]) -> None:
    await conn.execute("CREATE TYPE pg_temp.mood AS ENUM ('happy'); CREATE TYPE pg_temp.none AS ENUM ()")
    mood, none, number, missing = await EnumInfo.fetch(
        conn, ["pg_temp.mood", sql.Identifier("pg_temp", "none"), "int4", "missing"]
    )
    assert mood is not None and none is not None
    assert (mood.labels, none.labels) == (["happy"], [])
    assert number is None and missing is None
    await conn.execute("SET client_encoding TO 'SQL_ASCII'")
    info = await EnumInfo.fetch(conn, "pg_temp.mood")
    assert info is not None and info.labels == ["happy"]
    register_enum(info, conn, Mood)
    cursor = await conn.execute("SELECT %s, %s", [Mood.happy, [Mood.happy]])
    assert await cursor.fetchone() == (Mood.happy, [Mood.happy])


def test_fetch_synchronously(dsn: str) -> None:
    with anyq.connect(dsn, autocommit=True) as conn:
        conn.execute("CREATE TYPE pg_temp.mood AS ENUM ('happy')")
        info = EnumInfo.fetch(conn, "pg_temp.mood")
        [again] = EnumInfo.fetch(conn, ["pg_temp.mood"])
        assert info is not None and again is not None
        assert (info.oid, info.labels) == (again.oid, again.labels)
        register_enum(info, conn, Mood)
        assert conn.execute("SELECT %s", [Mood.happy]).fetchone() == (Mood.happy,)


@pytest.mark.anyio
async def test_of_a_cursor_alone(conn: AsyncConnection[Any]) -> None:
    await conn.execute("CREATE TYPE pg_temp.mood AS ENUM ('happy')")
    info = await EnumInfo.fetch(conn, "pg_temp.mood")
    assert info is not None
    cursor = conn.cursor()
    register_enum(info, cursor, Mood)
    await cursor.execute("SELECT 'happy'::pg_temp.mood")
    assert await cursor.fetchone() == (Mood.happy,)
    other = await conn.execute("SELECT 'happy'::pg_temp.mood")
    assert await other.fetchone() == ("happy",)


@pytest.mark.anyio
async def test_domains(conn: AsyncConnection[Any]) -> None:
    await conn.execute("CREATE TYPE pg_temp.mood AS ENUM ('happy', 'sad')")
    await conn.execute("CREATE DOMAIN pg_temp.d AS pg_temp.mood; CREATE DOMAIN pg_temp.e AS pg_temp.d")
    mood = await EnumInfo.fetch(conn, "pg_temp.mood")
    assert mood is not None
    register_enum(mood, conn, Mood)
    for info in await anyq.types.TypeInfo.fetch(conn, ["pg_temp.d", "pg_temp.e"]):
        assert info is not None
        assert info.base_oid == mood.oid
        info.register(conn)
    query = "SELECT 'sad'::pg_temp.e, '{sad}'::pg_temp.d[], '{sad}'::pg_temp.e[]"
    for binary in (False, True):
        cursor = await conn.execute(query, binary=binary)
        assert await cursor.fetchone() == (Mood.sad, [Mood.sad], [Mood.sad])


@pytest.mark.anyio
async def test_flags_have_no_single_name(conn: AsyncConnection[Any]) -> None:
    class Flags(enum.Flag):
        a = 1
        b = 2

    assert await (await conn.execute("SELECT %s::text", [Flags.a])).fetchone() == ("a",)
    # Python 3.10 has no name for it.
    with suppress(DataError):
        cursor = await conn.execute("SELECT %s::text", [Flags.a | Flags.b])
        assert await cursor.fetchone() == ("a|b",)
    assert await (await conn.execute("SELECT 1")).fetchone() == (1,)


@pytest.mark.parametrize("wrong", [3, [3], [b"ab"], b"ab", object()])
def test_a_mapping_that_is_none(wrong: Any) -> None:
    with pytest.raises(TypeError, match="the mapping has the label of each member, {Mood.x: 'x'}"):
        registered(Mood, ["a"], mapping=wrong)
