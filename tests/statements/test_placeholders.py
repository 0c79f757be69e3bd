"""Placeholders to $n, and parameters into their order."""

from __future__ import annotations

from collections import OrderedDict, UserDict, UserList, defaultdict
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyq import sql
from anyq.adapt import PyFormat
from anyq.errors import ProgrammingError
from anyq.statements import placeholders as _queries
from anyq.statements.placeholders import ParsedQuery, convert, convert_raw, parse_query

if TYPE_CHECKING:
    from anyq import AsyncConnection

AUTO, TEXT, BINARY = PyFormat.AUTO, PyFormat.TEXT, PyFormat.BINARY


@pytest.mark.parametrize(
    ("query", "expected", "formats", "names"),
    [
        (b"", b"", (), None),
        (b"SELECT 1", b"SELECT 1", (), None),
        (b"SELECT %s", b"SELECT $1", (AUTO,), None),
        (b"%s", b"$1", (AUTO,), None),
        (b"SELECT %s, %b, %t", b"SELECT $1, $2, $3", (AUTO, BINARY, TEXT), None),
        (b"%s%s", b"$1$2", (AUTO, AUTO), None),
        (b"SELECT %s::text || 's'", b"SELECT $1::text || 's'", (AUTO,), None),
        (b"SELECT 5 %% 2", b"SELECT 5 % 2", (), None),
        (b"SELECT '%%s', %s", b"SELECT '%s', $1", (AUTO,), None),
        (b"%%%s%%", b"%$1%", (AUTO,), None),
        (b"%%%%", b"%%", (), None),
        (b"SELECT %(a)s", b"SELECT $1", (AUTO,), ("a",)),
        (b"%(a)s, %(b)b, %(c)t", b"$1, $2, $3", (AUTO, BINARY, TEXT), ("a", "b", "c")),
        (b"%(b)s, %(a)s, %(b)s", b"$1, $2, $1", (AUTO, AUTO), ("b", "a")),
        (b"%(a b.c\n)s", b"$1", (AUTO,), ("a b.c\n",)),
        (b"%((a)s", b"$1", (AUTO,), ("(a",)),
        ("%(café)s → €".encode(), "$1 → €".encode(), (AUTO,), ("café",)),
        (b"-- 100%%\n%(a)s", b"-- 100%\n$1", (AUTO,), ("a",)),
        (b"%(a)b %(b)s %(a)t %(a)b", b"$1 $2 $3 $1", (BINARY, AUTO, TEXT), ("a", "b", "a")),
    ],
)
def test_convert(query: bytes, expected: bytes, formats: tuple[PyFormat, ...], names: Any) -> None:
    plan = convert(query)
    assert plan.sql == expected
    assert plan.formats == formats
    assert plan.names == names
    assert plan.nparams == len(formats)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (b"SELECT 5 % 2", "only '%s', '%b', '%t' are allowed as placeholders, got '% '"),
        (b"LIKE 'a%'", "got '%'';"),
        (b"SELECT %x", "got '%x'"),
        (b"SELECT %S", "got '%S'"),
        (b"SELECT %\n", "got '%\n'"),
        (b"SELECT 100%", "got '%'"),
        (b"%%%", "got '%'"),
        (b"%(a)d", "only '%(name)s', '%(name)b', '%(name)t' are allowed as placeholders, got '%(a)d'"),
        (b"%(a", "incomplete placeholder: '%(a'"),
        (b"%(a)", "incomplete placeholder: '%(a)'"),
        (b"%()s", "incomplete placeholder: '%()s'"),
        (b"%(" + b"x" * 1000, "incomplete placeholder: '%(" + "x" * 38 + "...'"),
        (b"%(" + b"x" * 38, "incomplete placeholder: '%(" + "x" * 38 + "'"),
        (b"%s %(a)s", "cannot be mixed"),
        (b"%(a)s %s", "cannot be mixed"),
    ],
)
def test_bad_placeholder(query: bytes, message: str) -> None:
    with pytest.raises(ProgrammingError) as error:
        convert(query)
    assert message in str(error.value)


def test_bad_percent_says_what_to_do() -> None:
    with pytest.raises(ProgrammingError, match="double it, i.e. write '%%'"):
        convert(b"SELECT * FROM t WHERE a LIKE 'x%'")


@pytest.mark.parametrize("params", [(1, "b"), [1, "b"], UserList([1, "b"])])
def test_bind_sequence(params: Any) -> None:
    assert list(convert(b"%s, %s").bind_params(params)) == [1, "b"]


@pytest.mark.parametrize("kind", [dict, OrderedDict, UserDict])
def test_bind_mapping(kind: Any) -> None:
    assert list(convert(b"%(b)s, %(a)s, %(b)s").bind_params(kind({"a": 1, "b": 2, "c": 3}))) == [2, 1]
    assert list(convert(b"%(a)s").bind_params(kind({"a": 1, "b": 2}))) == [1]


def test_bind_default_dict() -> None:
    assert convert(b"%(a)s").bind_params(defaultdict(lambda: 42)) == [42]


@pytest.mark.parametrize("params", [(), [], {}, {"a": 1}, None])
def test_bind_nothing(params: Any) -> None:
    assert list(convert(b"SELECT 1").bind_params(params)) == []


@pytest.mark.parametrize(
    ("query", "params", "error", "message"),
    [
        (b"%s, %s", (1,), ProgrammingError, "the query has 2 placeholders but 1 parameters were passed"),
        (b"%s", (), ProgrammingError, "the query has 1 placeholders but 0 parameters were passed"),
        (b"SELECT 1", [1, 2], ProgrammingError, "the query has 0 placeholders but 2 parameters were passed"),
        (b"%(a)s", (), ProgrammingError, "the query has 1 placeholders but 0 parameters were passed"),
        (b"%s", None, ProgrammingError, "the query has 1 placeholders but no parameters were passed"),
        (b"%(c)s %(a)s %(b)s %(c)b", {"a": 1}, ProgrammingError, "query parameter missing: b, c"),
        (b"%(c)s %(a)s", UserDict(a=1), ProgrammingError, "query parameter missing: c"),
        (b"%s", {"a": 1}, TypeError, "positional placeholders (%s) require a sequence of parameters, got dict"),
        (b"%(a)s", (1,), TypeError, "named placeholders, such as %(a)s, require a mapping of parameters"),
        (b"%s", "a", TypeError, "should be a sequence or a mapping, got str: write (value,) or [value]"),
        (b"%s", b"a", TypeError, "should be a sequence or a mapping, got bytes"),
        (b"%s", 1, TypeError, "should be a sequence or a mapping, got int"),
        (b"%s", {1}, TypeError, "should be a sequence or a mapping, got set"),
    ],
)
def test_bad_params(query: bytes, params: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as raised:
        convert(query).bind_params(params)
    assert message in str(raised.value)


def test_interpolate() -> None:
    assert convert(b"a %s b %% %s").interpolate([b"1", b"'$2'"]) == (b"a 1 b % '$2'", [b"1", b"'$2'"])
    assert convert(b"%(x)s %(y)s %(x)s").interpolate([b"1", b"2"]) == (b"1 2 1", [b"1", b"2", b"1"])
    assert convert(b"SELECT 1").interpolate([]) == (b"SELECT 1", [])
    # What would merge with a neighbour has a space between; for errors it belongs to the literal.
    assert convert(b"%s%s1").interpolate([b"'a'", b"'b'"]) == (b"'a' 'b'1", [b"'a'", b" 'b'"])
    with pytest.raises(ProgrammingError, match="parameter 2 of the query is inside of a quoted string"):
        convert(b"SELECT %s, '%s'").interpolate([b"1", b"'b'"])


def test_raw() -> None:
    plan = convert_raw(b"SELECT $1 % 2, $2, '%s'", [1, 2])
    assert plan.sql == b"SELECT $1 % 2, $2, '%s'"
    assert plan.formats == (AUTO, AUTO)
    assert plan.bind_params([1, 2]) == [1, 2]
    assert convert_raw(b"SELECT 5 % 2", None).nparams == 0
    assert convert_raw(b"SELECT $1", UserList([1])).nparams == 1


@pytest.mark.parametrize(
    ("params", "message"),
    [({"a": 1}, "raw queries.*sequence of parameters, got dict"), ("a", "got str"), (1, "got int")],
)
def test_raw_bad_params(params: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        convert_raw(b"SELECT $1", params)


@pytest.mark.parametrize(
    "query", ["SELECT %s", b"SELECT %s", sql.SQL("SELECT %s"), sql.SQL("{} %s").format(sql.SQL("SELECT"))]
)
def test_forms_of_query(query: Any) -> None:
    assert parse_query(query, (1,), None, "utf-8").sql == b"SELECT $1"
    assert parse_query(query, (), None, "utf-8").sql == b"SELECT $1"
    assert parse_query(query, None, None, "utf-8").sql == b"SELECT %s"


def test_not_a_query() -> None:
    for params in (None, ()):
        with pytest.raises(
            TypeError, match="should be a string, a template string, bytes, or an object of the anyq.sql module.* int"
        ):
            parse_query(1, params, None, "utf-8")  # type: ignore[arg-type]


def test_encoding() -> None:
    assert parse_query("%s è", (1,), None, "latin-1").sql == b"$1 \xe8"
    assert parse_query("%(è)s", {"è": 1}, None, "latin-1").names == ("è",)
    assert convert(b"%(\xe8)s \xe8", "latin-1").names == ("è",)
    # The same text in two encodings is two plans.
    assert parse_query("%s è", (1,), None, "utf-8").sql == "$1 è".encode()


def test_bytes_that_do_not_decode_are_kept() -> None:
    plan = convert(b"\xff %s \xfe", "ascii")
    assert plan.sql == b"\xff $1 \xfe"
    assert plan.interpolate([b"1"])[0] == b"\xff 1 \xfe"


def test_cache() -> None:
    assert convert(b"SELECT %s -- cached") is convert(b"SELECT %s -- cached")
    text = "SELECT %s -- cached"
    assert parse_query(text, (1,), None, "utf-8") is parse_query(text, (2,), None, "utf-8")


@pytest.mark.parametrize("query", ["x" * _queries.MAX_CACHED_QUERY + "%s", b"x" * _queries.MAX_CACHED_QUERY + b"%s"])
def test_long_queries_are_not_kept(query: Any) -> None:
    plan = parse_query(query, (1,), None, "utf-8")
    assert plan.sql.endswith(b"x$1")
    assert plan is not parse_query(query, (1,), None, "utf-8")


_text = st.text(st.characters(exclude_categories=["Cs", "Nd"], exclude_characters="%$"), max_size=5)
_name = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=")"), min_size=1, max_size=3)


def test_a_digit_behind_a_placeholder_is_not_part_of_it() -> None:
    assert convert(b"SELECT %s0, %s1").sql == b"SELECT $1 0, $2 1"


@given(st.lists(st.tuples(_text, st.sampled_from("sbt"))), _text)
def test_any_positional(placeholders: list[tuple[str, str]], tail: str) -> None:
    query = "".join(f"{text}%{letter}" for text, letter in placeholders) + tail
    plan = convert(query.encode())
    expected = "".join(f"{text}${n}" for n, (text, _) in enumerate(placeholders, 1)) + tail
    assert plan.sql == expected.encode()
    assert plan.formats == tuple(PyFormat(letter) for _, letter in placeholders)
    values = list(range(len(placeholders)))
    assert list(plan.bind_params(values)) == values


@given(st.lists(st.tuples(_text, _name), min_size=1), _text)
def test_any_named(placeholders: list[tuple[str, str]], tail: str) -> None:
    plan = convert(("".join(f"{text}%({name})s" for text, name in placeholders) + tail).encode())
    values = {name: f"<{n}>" for n, (_, name) in enumerate(placeholders)}
    bound = plan.bind_params(values)
    expected = "".join(text + values[name] for text, name in placeholders) + tail
    if not set(expected) & set("'\"-/"):
        assert plan.interpolate([value.encode() for value in bound])[0] == expected.encode()
    # From the end, so that $1 is not found in $12.
    numbered = plan.sql.decode()
    for n in range(len(bound), 0, -1):
        numbered = numbered.replace(f"${n}", bound[n - 1])
    assert numbered == expected


@given(st.binary())
def test_any_bytes(query: bytes) -> None:
    try:
        plan: ParsedQuery | None = convert(query)
    except ProgrammingError:
        plan = None
    if plan is not None and b"%" not in query:
        assert plan.sql == query


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_doubling_percent_signs_always_works(text: str) -> None:
    assert convert(text.replace("%", "%%").encode()).sql == text.encode()


@pytest.mark.anyio
async def test_on_server(conn: AsyncConnection) -> None:
    cur = await conn.execute("SELECT %s::int + %s::int, 7 %% 4, '%%s'", (1, 2))
    assert await cur.fetchone() == (3, 3, "%s")
    cur = await conn.execute("SELECT %(a)s::text || %(b)s::text || %(a)s::text, %(n)b", {"a": "x", "b": "y", "n": 5})
    assert await cur.fetchone() == ("xyx", 5)
    cur = await conn.execute("SELECT 7 % 4, '%s'")
    assert await cur.fetchone() == (3, "%s")
