"""Composing SQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyq import sql
from anyq.adapt import AdaptersMap, PyFormat
from anyq.adapt.typeinfo import global_types
from anyq.errors import DataError, ProgrammingError
from anyq.types import none, numeric
from anyq.types import string as text
from tests.support.templates import t

if TYPE_CHECKING:
    from anyq import AsyncConnection


class FakeInfo:
    encoding = "latin-1"

    def parameter_status(self, name: str) -> str | None:
        return None


class FakeConnection:
    info = FakeInfo()


class FakeContext:
    """What literals are adapted for, without a connection or with one in another encoding."""

    def __init__(self, connection: Any = None) -> None:
        self.adapters = AdaptersMap(types=global_types)
        self.connection = connection
        none.register_default_adapters(self)
        numeric.register_default_adapters(self)
        text.register_default_adapters(self)


UTF8 = FakeContext()
LATIN1 = FakeContext(FakeConnection())


class TestSQL:
    def test_as_string(self) -> None:
        assert sql.SQL("SELECT %s").as_string() == "SELECT %s"
        assert sql.SQL("è").as_bytes() == "è".encode()
        assert sql.SQL("è").as_bytes(LATIN1) == b"\xe8"

    def test_only_strings(self) -> None:
        with pytest.raises(TypeError, match="SQL values must be strings, got b'x' instead"):
            sql.SQL(b"x")  # type: ignore[arg-type]

    def test_not_in_the_encoding(self) -> None:
        with pytest.raises(DataError, match="client encoding"):
            sql.SQL("€").as_bytes(LATIN1)

    @pytest.mark.parametrize(
        ("template", "args", "kwargs", "expected"),
        [
            ("SELECT 1", (), {}, "SELECT 1"),
            ("", (), {}, ""),
            ("{}", (sql.SQL("a"),), {}, "a"),
            ("{} {}", (sql.SQL("a"), sql.SQL("b")), {}, "a b"),
            ("{1} {0} {1}", (sql.SQL("a"), sql.SQL("b")), {}, "b a b"),
            ("{b} {a}", (), {"a": sql.SQL("1"), "b": sql.SQL("2")}, "2 1"),
            ("{} {a} {}", (sql.SQL("1"), sql.SQL("2")), {"a": sql.SQL("x")}, "1 x 2"),
            ("{{}} %s {} %%", (sql.SQL("a"),), {}, "{} %s a %%"),
            ("{}", (sql.SQL("{}"),), {}, "{}"),
            ("FROM {}", (sql.Identifier("s", "t"),), {}, 'FROM "s"."t"'),
            ("x", (sql.SQL("unused"),), {"unused": 1}, "x"),
        ],
    )
    def test_format(self, template: Any, args: Any, kwargs: Any, expected: str) -> None:
        composed = sql.SQL(template).format(*args, **kwargs)
        assert isinstance(composed, sql.Composed)
        assert composed.as_string() == expected

    def test_format_values(self) -> None:
        assert sql.SQL("SELECT {}, {x}").format("it's", x=10).as_string(UTF8) == "SELECT 'it''s', 10"

    @pytest.mark.parametrize(
        ("template", "args", "error", "message"),
        [
            ("{}", (), IndexError, "got 0 positional arguments, too few"),
            ("{} {}", (1,), IndexError, "got 1 positional arguments, too few"),
            ("{1}", (1,), IndexError, "too few"),
            ("{a}", (1,), KeyError, "no argument of SQL.format.. for placeholder {a}"),
            ("{a.b}", (1,), KeyError, "placeholder {a.b}"),
            ("{:s}", (1,), ValueError, "no format specification"),
            ("{!r}", (1,), ValueError, "no conversion"),
            ("{} {0}", (1,), ValueError, "cannot mix automatic {} with numbered {0}"),
            ("{0} {}", (1,), ValueError, r"cannot mix numbered \{0\} with automatic"),
            ("{", (1,), ValueError, "[Ss]ingle '{'"),
            ("}", (1,), ValueError, "[Ss]ingle '}'"),
        ],
    )
    def test_bad_format(self, template: Any, args: Any, error: type[Exception], message: str) -> None:
        with pytest.raises(error, match=message):
            sql.SQL(template).format(*args)

    def test_join(self) -> None:
        names = [sql.Identifier("a"), sql.Identifier("b"), sql.Identifier("c")]
        assert sql.SQL(", ").join(names).as_string() == '"a", "b", "c"'
        assert sql.SQL(", ").join(iter(names[:1])).as_string() == '"a"'
        assert sql.SQL(", ").join([]).as_string() == ""
        assert sql.SQL(", ").join([1, "x", None]).as_string(UTF8) == "1, 'x', NULL"

    def test_operators(self) -> None:
        a, b = sql.SQL("a"), sql.SQL("b")
        assert (a + b).as_string() == "ab"
        assert (a * 3).as_string() == "aaa"
        assert (a + b + a + (b + b)).as_string() == "ababb"
        assert (a + (b + a)).as_string() == "aba"
        assert ((a + b) * 2).as_string() == "abab"
        for other in ("x", 1, None):
            with pytest.raises(TypeError):
                a + other  # type: ignore[operator]
            with pytest.raises(TypeError):
                (a + b) + other  # type: ignore[operator]

    def test_equality(self) -> None:
        assert sql.SQL("a") == sql.SQL("a")
        assert hash(sql.SQL("a")) == hash(sql.SQL("a"))
        assert sql.SQL("a") != sql.SQL("b")
        assert sql.SQL("a") != sql.Literal("a")
        assert sql.SQL("a") != "a"

    def test_repr(self) -> None:
        assert repr(sql.SQL("a")) == "SQL('a')"
        assert repr(sql.SQL("{} x").format(1)) == "Composed([Literal(1), SQL(' x')])"


class TestComposed:
    def test_values_become_literals(self) -> None:
        assert list(sql.Composed([sql.SQL("a"), 1])) == [sql.SQL("a"), sql.Literal(1)]

    def test_join(self) -> None:
        parts = sql.Composed([sql.SQL("a"), sql.SQL("b")])
        assert parts.join(", ").as_string() == "a, b"
        assert parts.join(sql.SQL(" AND ")).as_string() == "a AND b"
        with pytest.raises(TypeError, match="takes a string or an SQL, got 1"):
            parts.join(1)  # type: ignore[arg-type]

    def test_encoding(self) -> None:
        parts = sql.Composed([sql.Identifier("è"), sql.SQL(" = "), sql.Literal("è")])
        assert parts.as_bytes(LATIN1) == b"\"\xe8\" = '\xe8'"
        assert parts.as_string(LATIN1) == "\"è\" = 'è'"
        assert parts.as_bytes(UTF8) == "\"è\" = 'è'".encode()

    def test_equality(self) -> None:
        assert sql.Composed([1]) == sql.Composed([sql.Literal(1)])
        assert sql.Composed([1]) != sql.Composed([2])
        with pytest.raises(TypeError, match="unhashable"):
            hash(sql.Composed([1]))


class TestIdentifier:
    @pytest.mark.parametrize(
        ("parts", "expected"),
        [
            (("a",), '"a"'),
            (("A b",), '"A b"'),
            (('a"b',), '"a""b"'),
            (("a.b",), '"a.b"'),
            (("a", "b", "c"), '"a"."b"."c"'),
            (("%s",), '"%s"'),
            (("è",), '"è"'),
        ],
    )
    def test_as_string(self, parts: tuple[str, ...], expected: str) -> None:
        assert sql.Identifier(*parts).as_string() == expected
        assert sql.Identifier(*parts).as_bytes() == expected.encode()

    def test_bad_parts(self) -> None:
        with pytest.raises(TypeError, match="at least one"):
            sql.Identifier()
        with pytest.raises(TypeError, match="must be strings, got 1 instead"):
            sql.Identifier("a", 1)  # type: ignore[arg-type]
        with pytest.raises(DataError, match="NUL"):
            sql.Identifier("a\0b").as_string()

    def test_repr_and_equality(self) -> None:
        assert repr(sql.Identifier("a", "b")) == "Identifier('a', 'b')"
        assert sql.Identifier("a", "b") == sql.Identifier("a", "b")
        assert sql.Identifier("a") != sql.Identifier("a", "b")
        assert len({sql.Identifier("a"), sql.Identifier("a")}) == 1

    @given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
    def test_never_ends_early(self, name: str) -> None:
        quoted = sql.Identifier(name).as_string()
        assert (quoted[0], quoted[-1]) == ('"', '"')
        assert quoted[1:-1].replace('""', "").count('"') == 0
        assert quoted[1:-1].replace('""', '"') == name


class TestLiteral:
    def test_as_string(self) -> None:
        assert sql.Literal(None).as_string(UTF8) == "NULL"
        assert sql.Literal("it's").as_string(UTF8) == "'it''s'"
        assert sql.Literal(42).as_string(UTF8) == "42"

    def test_unknown_type(self) -> None:
        with pytest.raises(ProgrammingError, match="object"):
            sql.Literal(object()).as_string(UTF8)

    def test_repr_and_equality(self) -> None:
        assert repr(sql.Literal("a")) == "Literal('a')"
        assert sql.Literal("a") == sql.Literal("a")
        assert hash(sql.Literal("a")) == hash(sql.Literal("a"))
        with pytest.raises(TypeError):
            hash(sql.Literal([]))

    def test_quote(self) -> None:
        assert sql.quote("it's", UTF8) == "'it''s'"
        assert sql.quote("è", LATIN1) == "'è'"


class TestPlaceholder:
    @pytest.mark.parametrize(
        ("placeholder", "text", "representation"),
        [
            (sql.Placeholder(), "%s", "Placeholder()"),
            (sql.Placeholder("a"), "%(a)s", "Placeholder('a')"),
            (sql.Placeholder(format=PyFormat.TEXT), "%t", "Placeholder(format=TEXT)"),
            (sql.Placeholder("a", format="b"), "%(a)b", "Placeholder('a', format=BINARY)"),
        ],
    )
    def test_as_string(self, placeholder: sql.Placeholder, text: str, representation: str) -> None:
        assert placeholder.as_string() == text
        assert placeholder.as_bytes() == text.encode()
        assert repr(placeholder) == representation

    def test_bad_arguments(self) -> None:
        with pytest.raises(TypeError, match="must be a string, got 1"):
            sql.Placeholder(1)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="cannot contain '\\)'"):
            sql.Placeholder("a)")
        with pytest.raises(ValueError, match="'x' is not a valid PyFormat"):
            sql.Placeholder("a", "x")

    def test_equality(self) -> None:
        assert sql.Placeholder("a") == sql.Placeholder("a")
        assert hash(sql.Placeholder("a")) == hash(sql.Placeholder("a"))
        assert sql.Placeholder("a") != sql.Placeholder("a", "b")
        assert sql.Placeholder("a") != sql.SQL("a")

    def test_many(self) -> None:
        assert sql.SQL(", ").join(sql.Placeholder() * 3).as_string() == "%s, %s, %s"


def test_keywords() -> None:
    assert sql.NULL.as_string() == "NULL"
    assert sql.DEFAULT.as_string() == "DEFAULT"


def test_composable_is_abstract() -> None:
    with pytest.raises(TypeError, match="abstract"):
        sql.Composable(1)  # type: ignore[abstract]


@pytest.mark.anyio
class TestOnServer:
    async def test_identifiers(self, conn: AsyncConnection) -> None:
        table, column = sql.Identifier('my "table" è'), sql.Identifier("100% %s")
        await conn.execute(sql.SQL("CREATE TEMP TABLE {} ({} int)").format(table, column))
        insert = sql.SQL("INSERT INTO {t} VALUES ({p}), (DEFAULT), ({v})")
        await conn.execute(insert.format(t=table, p=sql.Literal(1), v=sql.NULL))
        cur = await conn.execute(sql.SQL("SELECT {} FROM {}").format(column, table))
        assert await cur.fetchall() == [(1,), (None,), (None,)]
        assert cur.description is not None
        assert cur.description[0].name == "100% %s"

    async def test_placeholders(self, conn: AsyncConnection) -> None:
        query = sql.SQL("SELECT {}").format(sql.SQL(", ").join(sql.Placeholder(name) for name in "ab"))
        assert await (await conn.execute(query, {"a": 1, "b": "x"})).fetchone() == (1, "x")

    @pytest.mark.parametrize("conforming", ["on", "off"])
    async def test_literals(self, conn: AsyncConnection, conforming: str) -> None:
        await conn.execute(sql.SQL("SET standard_conforming_strings TO {}").format(sql.SQL(conforming)))
        await conn.execute("SET escape_string_warning TO off")
        values = [
            None,
            1,
            -1,
            1.5,
            "it's",
            "back\\slash",
            "\\'; --",
            "%s",
            "è€",
            b"\x00\xff\\'",
            [1, -2],
        ]
        query = sql.SQL("SELECT {}").format(sql.SQL(", ").join(values))
        assert await (await conn.execute(query)).fetchone() == tuple(values)


def test_of_anything() -> None:
    """As SQL: parts of queries, template strings, and values as literals."""
    template = t("SELECT {a}, {b:t} AS {c:i}, {d:q}", a="it's", b=-1, c="x", d=sql.SQL("%s"))
    for obj, expected in (
        (sql.SQL("a %s"), "a %s"),
        (sql.Identifier("è"), '"è"'),
        (sql.SQL("{}").format(5), "5"),
        (sql.Placeholder("a"), "%(a)s"),
        (template, "SELECT 'it''s', (-1) AS \"x\", %s"),
        (t("SELECT {x}", x="è"), "SELECT 'è'"),
        (5, "5"),
        ("it's", "'it''s'"),
        (None, "NULL"),
    ):
        assert sql.as_string(obj) == expected
        assert sql.as_bytes(obj) == expected.encode()
        assert sql.as_bytes(obj, LATIN1) == expected.encode("latin-1")
        assert sql.as_string(obj, LATIN1) == expected
    with pytest.raises(ProgrammingError, match="cannot adapt type 'object'"):
        sql.as_string(object())
    with pytest.raises(DataError, match="client encoding"):
        sql.as_bytes(t("€"), LATIN1)


@pytest.mark.parametrize("wrong", [None, 3, int])
def test_parts_that_are_no_sequence(wrong: Any) -> None:
    for take in (sql.Composed, sql.SQL(", ").join):
        with pytest.raises(TypeError, match="the parts of SQL are given as a sequence, or another iterable, not"):
            take(wrong)
