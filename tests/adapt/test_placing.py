"""Where a value may stand in the text of a query, and what keeps it apart."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import anyq
from anyq import AsyncConnection
from anyq.adapt import Transformer
from anyq.adapt.placing import Inside, Place, interleaved, place_values, uses_standard_strings
from anyq.adapt.placing import _places as places
from anyq.errors import ProgrammingError
from tests.support.values import FakeConnection


def place(*parts: bytes, strict: bool = False, encoding: str = "utf-8", standard_strings: bool = True) -> bytes:
    """Return texts with values between them, which alternate in the arguments, put together."""
    texts, values = list(parts[::2]), list(parts[1::2])
    if len(texts) == len(values):
        texts.append(b"")
    placed = place_values(texts, values, encoding, [strict] * len(values), standard_strings=standard_strings)
    return interleaved(texts, placed)


def inside(text: bytes, standard_strings: bool = True) -> Inside:
    found: Place = places((text, b""), standard_strings)[0]
    return found.inside


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"", "NOTHING"),
        (b"SELECT ", "NOTHING"),
        (b"SELECT 'a''b' ", "NOTHING"),
        (b"SELECT '", "STRING"),
        (b"SELECT 'a''", "STRING"),
        (b"SELECT 'a\\' ", "NOTHING"),
        (b"SELECT E'a\\' ", "ESCAPES"),
        (b"SELECT e'a\\\\' ", "NOTHING"),
        (b"SELECT some'a\\' ", "NOTHING"),  # no E, but the end of a word
        (b"SELECT E'a'\n'\\' ", "ESCAPES"),
        (b"SELECT E'a' -- more\n  '\\' ", "ESCAPES"),
        (b"SELECT E'a' '\\' ", "NOTHING"),  # another string, and an error
        (b"SELECT B'\\' ", "NOTHING"),
        (b"SELECT U&'\\' ", "NOTHING"),
        (b'SELECT "', "NAME"),
        (b'SELECT "a""b" ', "NOTHING"),
        (b'SELECT "\'" ', "NOTHING"),
        (b"SELECT -- it's", "LINE"),
        (b"SELECT -- it's\n", "NOTHING"),
        (b"SELECT -- it's\r", "NOTHING"),
        (b"SELECT 1 - -2 -", "NOTHING"),
        (b"SELECT /* /* ' */ ", "COMMENT"),
        (b"SELECT /* /* ' */ */ ", "NOTHING"),
        (b"SELECT /*/ ", "COMMENT"),
        (b"SELECT $$ ' ", "DOLLARS"),
        (b"SELECT $$ ' $$ ", "NOTHING"),
        (b"SELECT $a$ $$ $b$ ", "DOLLARS"),
        (b"SELECT $a$ $$ $a$ ", "NOTHING"),
        (b"SELECT a$a$ ", "NOTHING"),  # a word with dollars
        (b"SELECT $1$1", "NOTHING"),
        ("SELECT é$é$ ".encode(), "NOTHING"),
        ("SELECT $é$ ' ".encode(), "DOLLARS"),
    ],
)
def test_what_a_text_ends_inside_of(text: bytes, found: str) -> None:
    assert inside(text) is Inside[found]


def test_backslashes_where_they_escape() -> None:
    assert inside(b"SELECT '\\' ", standard_strings=False) is Inside.ESCAPES
    assert inside(b"SELECT B'\\' ", standard_strings=False) is Inside.NOTHING
    assert inside(b"SELECT tab'\\' ", standard_strings=False) is Inside.ESCAPES


def test_whether_they_do() -> None:
    assert uses_standard_strings(None)
    assert uses_standard_strings(FakeConnection())
    for value in ("on", "off"):
        tx = Transformer(FakeConnection(), parameters={"standard_conforming_strings": value})
        assert uses_standard_strings(tx) == (value == "on")


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        # What is apart stays as it is.
        ((b"SELECT ", b"'a'", b", ", b"1", b" FROM t"), b"SELECT 'a', 1 FROM t"),
        ((b"f(", b"'a'", b",", b'"b"', b")"), b"f('a',\"b\")"),
        ((b"", b'"a"', b".", b'"b"'), b'"a"."b"'),
        ((b"x=", b"'a'", b"::text"), b"x='a'::text"),
        ((b"2-", b"(-1)"), b"2-(-1)"),
        # Two of a kind would be one.
        ((b"", b"'a'", b"", b"'b'"), b"'a' 'b'"),
        ((b"'x'", b"'a'", b"'y'"), b"'x' 'a' 'y'"),
        ((b"", b'"a"', b"", b'"b"', b'"c"'), b'"a" "b" "c"'),
        ((b"", b"1", b"", b"2", b"3"), b"1 2 3"),
        ((b"1.", b"5", b".5"), b"1. 5 .5"),
        ((b"LIMIT", b"5", b"OFFSET"), b"LIMIT 5 OFFSET"),
        ((b"", b"true", b"", b"NULL"), b"true NULL"),
        # A prefix of a string, and a parameter.
        ((b"E", b"'a'"), b"E 'a'"),
        ((b"U&", b'"a"'), b'U& "a"'),
        ((b"$", b"1"), b"$ 1"),
        ((b"$", b"true", b"$"), b"$ true $"),
        # What begins a comment.
        ((b"1 -", b"-5"), b"1 - -5"),
        # In another line strings go on.
        ((b"'a'\n", b"'b'"), b"'a'\n('b')"),
        ((b"E'a' --\n ", b"'b'"), b"E'a' --\n ('b')"),
        ((b"", b"'a'", b"\n", b"'b'"), b"('a')\n'b'"),
        ((b"", b"'a'", b"\n'b'"), b"('a')\n'b'"),
        ((b"", b"'a'", b"\n"), b"'a'\n"),
        ((b"", b"'a'", b"\n, ", b"'b'"), b"'a'\n, 'b'"),
        # To the type of a cast nothing is added.
        ((b"", b"'{1}'::int2[]", b"[1]"), b"('{1}'::int2[])[1]"),
        ((b"", b"'(1)'::pair", b" .a"), b"('(1)'::pair) .a"),
        ((b"", b" E'\\\\x00'::bytea", b"[1]"), b"( E'\\\\x00'::bytea)[1]"),
        ((b"", b"'a'", b"[1]"), b"'a'[1]"),
    ],
)
def test_values_stay_apart(parts: tuple[bytes, ...], text: bytes) -> None:
    assert place(*parts) == text
    assert place(*parts, strict=True) == text


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (b"SELECT '", b"'", r"a quoted string: drop the quotes, it gets its own; .*'text' \|\| value"),
        (b"SELECT E'\\'", b"'", "a quoted string with escapes: drop the quotes"),
        (b'SELECT "', b'"', "a quoted name: drop the quotes, and for a name use sql.Identifier"),
        (b"SELECT 1 -- ", b"\n", "a comment: take it out of the comment"),
        (b"SELECT 1 /* ", b" */", r"a comment in /\* \*/: take it out"),
        (b"DO $$BEGIN PERFORM ", b"; END$$", r"a dollar-quoted string: .*: sql.Literal\(text\)"),
    ],
)
def test_no_parameter_inside_of_anything(before: bytes, after: bytes, message: str) -> None:
    for value in (b"1", b"'a'", b"NULL"):
        with pytest.raises(ProgrammingError, match=f"parameter 1 of the query is inside of {message}"):
            place(before, value, after, strict=True)


@pytest.mark.parametrize(
    ("before", "good", "bad"),
    [
        (b"SELECT '", [b"1", b"(-1)", b'"a"."b"'], [b"'a'", b'"it\'s"', b'"\\"', b" E'\\\\'"]),
        (b"SELECT E'", [b"1", b'"a"'], [b"'a'", b'"\\"']),
        (b'SELECT "', [b"1", b"'a'"], [b'"a"', b"'\"'"]),
        (b"SELECT 1 -- ", [b"1", b"'a'"], [b"'a\n'", b"'\r'"]),
        (b"SELECT 1 /* ", [b"1", b"'a'"], [b"'*/'", b"'*'", b"'/'"]),
        (b"DO $$BEGIN PERFORM ", [b"1", b"'a'", b'"a"'], [b"'$$'", b'"$"']),
        (b"DO $a$BEGIN PERFORM '", [b"1"], [b"'a'", b"'$a$'"]),
        (b"DO $a$BEGIN PERFORM $b$", [], [b"1", b"'a'"]),
        (b"DO $a$BEGIN /* /* ", [b"1"], [b"'*/'"]),
    ],
)
def test_other_values_must_not_end_it(before: bytes, good: list[bytes], bad: list[bytes]) -> None:
    for value in good:
        assert place(before, value, b"x") == before + value + b"x"
    for value in bad:
        with pytest.raises(ProgrammingError, match="value 1 of the query is inside of"):
            place(before, value, b"x")


def test_what_goes_on_behind_a_value() -> None:
    """What a text is inside of is remembered beyond the value."""
    assert place(b"DO $$ SELECT ", b"1", b"; SELECT ", b"'a'", b" $$") == b"DO $$ SELECT 1; SELECT 'a' $$"
    for parts in (
        (b"'", b"1", b" days ", b"'a'", b"'"),
        (b"DO $$ '", b"1", b" ", b"'a'", b"' $$"),
        (b"/* /* ", b"1", b" */ ", b"'*/'", b" */"),
        (b"DO $$ /* /* ", b"1", b" */ ", b"'*/'", b" */ $$"),
    ):
        with pytest.raises(ProgrammingError, match="value 2"):
            place(*parts)


def test_characters_with_half_a_backslash() -> None:
    # The second byte is a backslash in SJIS.
    text = "SELECT E'表', ".encode("shift_jis")
    assert place(text, b"'a'", encoding="shift_jis") == text + b"'a'"
    with pytest.raises(ProgrammingError):
        place(text, b"'a'")


@pytest.mark.parametrize("text", ["'", "E'", '"', "$a$", "/*", "'\n--", "--\n", "'a' --", "''", "E'\\", "$$ $a$ "])
def test_the_time_is_linear(text: str) -> None:
    """Nothing is gone through again and again: it would not end."""
    assert isinstance(inside((text * 200_000).encode()), Inside)


#: Parts of texts that mean something, alone or together.
ATOMS = [
    *("'", "''", '"', "\\", "\\'", "E'", "e'", "B'", "x'", "U&'", "n'", "$$", "$a$", "$b$", "$1", "/*", "*/", "--"),
    *("\n", "\r", " ", "\t", "\f", "a", "E", "é", "1", "1e", "$", ",", "(", ")", "::text"),
]


@given(atoms=st.lists(st.sampled_from(ATOMS), max_size=14), standard_strings=st.booleans())
def test_a_server_reads_it_alike(atoms: list[str], standard_strings: bool, reader: Any) -> None:
    text = f"SELECT {''.join(atoms)}"
    place: Place = places((text.encode(), b""), standard_strings)[0]
    outside = place.inside is Inside.NOTHING and not place.continues
    message, position = reader(f"{text} 'canary", standard_strings)
    gap = len(text) + 2
    if outside and 0 < position < gap and not message.startswith("unterminated"):
        return  # the server has not come so far, as what is before is no SQL
    unterminated = message.startswith('unterminated quoted string at or near "\'canary"') and position == gap
    assert unterminated == outside, message


@pytest.fixture(scope="module")
def reader(dsn: str) -> Any:
    """Return what a server says of a text that is wrong, and at which character."""
    with anyq.connect(dsn, autocommit=True) as conn:
        if conn.info.server_version >= 190000:
            pytest.skip("this server has no such setting")
        conn.execute("SET escape_string_warning TO off")

        def read(text: str, standard_strings: bool) -> tuple[str, int]:
            conn.execute(f"SET standard_conforming_strings TO {'on' if standard_strings else 'off'}".encode())
            try:
                conn.execute(text.encode())
            except anyq.Error as error:
                return error.diag.message_primary or "", int(error.diag.statement_position or 0)
            return "", 0

        yield read


@pytest.mark.anyio
async def test_parts_of_arrays_and_of_rows(conn: AsyncConnection[Any]) -> None:
    async with anyq.AsyncClientCursor(conn) as cursor:
        for query in ("SELECT %s[1]", "SELECT %s [1]"):
            await cursor.execute(query, ([7, 8],))
            assert await cursor.fetchone() == (7,)
