"""Arguments of no use: what is refused, by which error, and what may be given."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest

from anyq.errors.arguments import (
    check_callables,
    check_functions,
    check_ints,
    check_numbers,
    check_optional_ints,
    check_seconds,
    check_texts,
    each_of,
    int_of,
)


class Whole:
    """A number of another library."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __index__(self) -> int:
        return self.number


async def coroutine_function() -> None: ...


class Broken:
    def __iter__(self) -> Any:
        raise TypeError("mine")


async def asynchronous() -> Any:
    yield 1


def ints(**numbers: object) -> None:
    check_ints(1, **numbers)


def optional_ints(**numbers: object) -> None:
    check_optional_ints(1, **numbers)


@pytest.mark.parametrize(
    ("check", "values"),
    [
        (check_numbers, (0, 1.5, True, math.inf, Fraction(1, 2))),
        (check_seconds, (None, -1, 0, 1.5, math.inf)),
        (ints, (1, True, Whole(2))),
        (optional_ints, (1, None)),
        (check_callables, (print, int, coroutine_function)),
        (check_functions, (print, int, [].append)),
        (check_texts, ("", "a")),
    ],
)
def test_what_may_be_given(check: Callable[..., None], values: tuple[object, ...]) -> None:
    for value in values:
        check(one=value, other=value)


@pytest.mark.parametrize(
    ("check", "wrong", "message"),
    [
        (check_numbers, "1h", "it must be a number, not '1h'"),
        (check_numbers, None, "it must be a number, not None"),
        (check_numbers, 1j, "it must be a number, not 1j"),
        (check_seconds, "x", "it must be a number of seconds, or None, not 'x'"),
        (check_seconds, int, "it must be a number of seconds, or None, not <class 'int'>"),
        (ints, 1.0, r"it must be an int, not 1\.0"),
        (ints, "1", "it must be an int, not '1'"),
        (ints, None, "it must be an int, not None"),
        (optional_ints, "1", "it must be an int, not '1'"),
        (check_callables, 3, "it must be a function, not 3"),
        (check_functions, None, "it must be a function, not None"),
        (check_functions, coroutine_function, "it is not awaited, so it must be a plain function, not the coroutine"),
        (check_texts, b"a", "it must be a str, not b'a'"),
    ],
)
def test_a_value_of_another_type(check: Callable[..., None], wrong: object, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        check(it=wrong)


@pytest.mark.parametrize(
    ("check", "wrong", "message"),
    [
        (check_numbers, -0.5, "it must be 0 or more, not -0.5"),
        (check_numbers, math.nan, "it must be 0 or more, not nan"),
        (check_seconds, math.nan, "it must be a number of seconds, not nan"),
        (ints, 0, "it must be 1 or more, not 0"),
        (optional_ints, -1, "it must be 1 or more, not -1"),
    ],
)
def test_a_wrong_number(check: Callable[..., None], wrong: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check(it=wrong)


def test_a_whole_number() -> None:
    assert int_of("it", Whole(-3)) == -3
    with pytest.raises(TypeError, match=r"it must be an int, not 1\.5"):
        int_of("it", 1.5)


def test_what_is_iterated_over() -> None:
    assert list(each_of((1, 2), "it has items")) == [1, 2]
    with pytest.raises(TypeError, match="^it has items, not int$"):
        each_of(3, "it has items")
    with pytest.raises(TypeError, match="not async_generator: collect an asynchronous one first"):
        each_of(asynchronous(), "it has items")
    with pytest.raises(TypeError, match="^mine$"):
        each_of(Broken(), "it has items")
