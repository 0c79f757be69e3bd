"""Which mutations a module has, and that a draw is the same each time."""

from __future__ import annotations

import pytest

from tests.tools.mutations import draw, mutations

pytestmark = pytest.mark.once


def changed(line: str, *, before: str = "") -> list[str]:
    """Return what becomes of a line in a function by each mutation that it has."""
    source = f"def f(a, b, x=None):\n{before}    {line}\n"
    at = source.index(line)
    end = at + len(line)
    found = [it for it in mutations(source, "m.py") if at <= it.start < end]
    return [it.apply(source)[at : len(it.apply(source)) - 1] for it in found]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("return a <= b", {"return (a < b)", "return None"}),
        ("return a is not b", {"return (a is b)", "return None"}),
        ("return a not in b", {"return (a in b)", "return None"}),
        ("return a and b or 'é'", {"return ((a and b) and 'é')", "return (a or b) or 'é'", "return None"}),
        ("return not a", {"return a", "return None"}),
        ("return a + 1", {"return (a - 1)", "return a + 2", "return a + 0", "return None"}),
        ("return True", {"return False", "return None"}),
        ("return", set()),
        ("return None", set()),
        ("return f(a, b, x)", {"return f(b, a, x)", "return None"}),
        ("return f(*a, b)", {"return None"}),
        ("a.b = x", {"pass"}),
        ("a += b", {"pass"}),
        ("a = b", {"pass"}),
        ("name = b", set()),
        ("name: str = b", set()),
        ("name: int", set()),
        ("del a", {"pass"}),
        ("raise a", {"pass"}),
        ("await a", {"pass"}),
        ("assert a == b", set()),
        ("'a docstring'", set()),
        ("return 'é' + a", {"return None"}),
        ("return f'{a == 1}'", {"return None"}),
        ("return a if b else x", {"return a if True else x", "return a if False else x", "return None"}),
    ],
)
def test_what_becomes_of_a_line(line: str, expected: set[str]) -> None:
    assert set(changed(line)) == expected


def test_blocks() -> None:
    source = (
        "def f():\n    while g():\n        try:\n            continue\n"
        "        except ValueError:\n            return\n        except OSError:\n            raise\n"
    )
    assert {(it.line, it.operator, it.text) for it in mutations(source, "m.py")} == {
        (2, "condition", "True"),
        (2, "condition", "False"),
        (4, "break, continue", "break"),
        (6, "exception not caught", "raise"),
        (8, "statement removed", "pass"),
    }


def test_what_only_checkers_read_is_left_out() -> None:
    source = (
        "if TYPE_CHECKING:\n    LIMIT = 3\n"
        "@overload\ndef f(a: int | None = 1) -> int: ...\n"
        "@cache(maxsize=3)\ndef g(a: 'int | str', b: Literal[3]) -> Literal[4]: ...\n"
        "NAMES = LEFT | RIGHT\n"
        "LIMIT = 2\n"
    )
    assert [(it.line, it.text) for it in mutations(source, "m.py")] == [(8, "1"), (8, "3")]


def test_an_endless_loop_has_no_condition() -> None:
    assert [it.text for it in mutations("def f():\n    while True:\n        g()\n", "m.py")] == ["False", "pass"]


def test_a_draw_depends_on_its_seed_only() -> None:
    sources = {"b.py": "def f(a):\n    return a == 1\n", "a.py": "def g(a):\n    return a and not a\n"}
    drawn = draw(sources, 4, 7)
    assert drawn == draw(dict(reversed(sources.items())), 4, 7)
    assert len(set(drawn)) == 4
    assert {tuple(draw(sources, 4, seed)) for seed in range(10)} != {tuple(drawn)}
    # There are no more than these, whatever is asked for.
    assert len(draw(sources, 100, 7)) == 7


def test_what_is_no_program_is_not_drawn() -> None:
    source = "def f(a):\n    match a:\n        case {0: b}:\n            pass\n"
    assert {it.text for it in mutations(source, "m.py")} == {"1", "(-1)"}
    assert [it.text for it in draw({"m.py": source}, 2, 1)] == ["1"]
