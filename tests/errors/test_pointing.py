"""Where in a text an error is: the lines are libpq's, as psycopg 3.3 shows them."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyq.errors.pointing import character_position, pointer

ONES = "1, " * 40


@pytest.mark.parametrize(
    ("text", "position", "line", "caret"),
    [
        ("SELECT foo", 8, "LINE 1: SELECT foo", 15),
        ("SELECT 1 +", 11, "LINE 1: SELECT 1 +", 18),
        ("SELECT\n1,\n  foo\nFROM t", 13, "LINE 3:   foo", 10),
        ("SELECT\r\n1,\r\n\tfoo,\r\n2", 14, "LINE 3:  foo,", 9),
        ("SELECT 1,\r\rfoo", 12, "LINE 3: foo", 8),
        ("\n\n\n  SELECT foo\n\n", 13, "LINE 4:   SELECT foo", 17),
        ("SELECT (\n", 10, "LINE 2: ", 8),
        ("SELECT\t1,\tfoo", 11, "LINE 1: SELECT 1, foo", 18),
        ("SELECT 'é', foo", 13, "LINE 1: SELECT 'é', foo", 20),
        ("SELECT '日本語', foo", 15, "LINE 1: SELECT '日本語', foo", 25),
        ("SELECT '\U0001f600', foo", 13, "LINE 1: SELECT '\U0001f600', foo", 21),
        ("SELECT '\uff76\uff9e', foo", 14, "LINE 1: SELECT '\uff76\uff9e', foo", 21),
        ("SELECT '\u200b', foo", 13, "LINE 1: SELECT ' ', foo", 20),
        ("SELECT '\x1b[2J', foo", 16, "LINE 1: SELECT ' [2J', foo", 23),
        # Where libpq has the caret one to the right of the character.
        ("SELECT 'e\u0301', foo", 14, "LINE 1: SELECT 'e\u0301', foo", 20),
        # Cut on the left, on the right and on both sides.
        (
            f"SELECT {ONES}foo",
            128,
            "LINE 1: ...1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, foo",
            68,
        ),
        (
            f"SELECT foo, {ONES}1",
            8,
            "LINE 1: SELECT foo, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, ...",
            15,
        ),
        (
            f"SELECT {ONES}foo, {ONES}1",
            128,
            "LINE 1: ..., 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, foo, 1, 1,...",
            61,
        ),
        (
            "SELECT " + "'日', " * 20 + "foo" + ", '本'" * 20,
            108,
            "LINE 1: ..., '日', '日', '日', '日', '日', '日', '日', '日', foo, '本',...",
            61,
        ),
    ],
)
def test_as_libpq_shows_it(text: str, position: int, line: str, caret: int) -> None:
    assert pointer(text, position) == f"{line}\n{' ' * caret}^"


@pytest.mark.parametrize("ones", [14, 16, 17, 18])
def test_a_line_that_is_just_too_long(ones: int) -> None:
    text = "SELECT " + "1, " * ones + "foo" + ", 1" * (20 - ones)
    shown = pointer(text, text.index("foo") + 1)
    assert shown is not None
    line, caret = shown.split("\n")
    assert line[caret.index("^") :].startswith("foo")
    assert 60 <= len(line.removeprefix("LINE 1: ").replace("...", "")) <= 61


@pytest.mark.parametrize("position", [-1, 0, 12, 10**9])
def test_nothing_is_there(position: int) -> None:
    assert pointer("SELECT foo", position) is None


@given(st.text(), st.integers(-3, 40))
def test_any_text(text: str, position: int) -> None:
    shown = pointer(text, position)
    assert (shown is not None) == (1 <= position <= len(text) + 1)
    if shown is not None:
        line, caret = shown.split("\n")
        assert line.isprintable() and caret.strip() == "^"
        number = int(line.removeprefix("LINE ").partition(":")[0])
        assert number == text[: position - 1].replace("\r\n", "\n").replace("\r", "\n").count("\n") + 1


@given(st.text("aé日\U0001f600e\u0301", min_size=1, max_size=300), st.data())
def test_the_caret_is_below_the_character(text: str, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(text) - 1))
    shown = pointer(f"{text[:index]}X{text[index:]}", index + 1)
    assert shown is not None
    line, caret = shown.split("\n")
    column = 0
    for character in line[: line.index("X")]:
        column += 0 if unicodedata.combining(character) else 2 if character in "日\U0001f600" else 1
    assert caret.index("^") == column
    assert column <= 8 + 3 + 60 + 1


def test_a_long_line_costs_no_more_than_it_shows() -> None:
    """The text of a dump may be one line of megabytes, in which combining characters take no room."""
    shown = pointer("e\u0301" * 1_000_000 + "X" + "\u0301" * 1_000_000, 2_000_001)
    assert shown is not None and "X" in shown and len(shown) < 600


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("1", 1),
        ("0042", 42),
        ("2147483647", 2147483647),
        *[
            (each, None)
            for each in (None, "", "0", "-1", "+1", "1.5", "x", "1_0", " 1", "٣", "²", "9" * 11, "9" * 5000)
        ],
    ],
)
def test_position(text: str | None, position: int | None) -> None:
    assert character_position(text) == position
