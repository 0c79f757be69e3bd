"""What a pool is made with: numbers that cannot be are refused where they are given."""

from __future__ import annotations

import pytest

from anyq.pool.options import Hooks, check_numbers, kept_sizes, null_sizes


@pytest.mark.parametrize(
    ("given", "sizes"), [((4, None), (4, 4)), ((0, 1), (0, 1)), ((2, 5), (2, 5)), ((3, 3), (3, 3))]
)
def test_sizes(given: tuple[int, int | None], sizes: tuple[int, int]) -> None:
    assert kept_sizes(*given) == sizes


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((-1, 1), "min_size must be 0 or more, not -1"),
        ((2, 1), r"max_size \(1\) must be min_size \(2\) or more"),
        ((0, 0), "max_size must be given if min_size is 0"),
        ((0, None), "max_size must be given if min_size is 0"),
    ],
)
def test_sizes_that_cannot_be(given: tuple[int, int | None], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kept_sizes(*given)


@pytest.mark.parametrize(("most", "expected"), [(None, 0), (0, 0), (3, 3)])
def test_sizes_of_a_null_pool(most: int | None, expected: int) -> None:
    assert null_sizes(0, most) == (0, expected)


@pytest.mark.parametrize(("given", "message"), [((1, 2), "min_size must be 0, not 1"), ((0, -1), "max_size must be 0")])
def test_sizes_that_a_null_pool_cannot_have(given: tuple[int, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        null_sizes(*given)


def test_numbers() -> None:
    check_numbers(timeout=0, max_idle=float("inf"))
    for wrong in (-1, -0.5, float("nan")):
        with pytest.raises(ValueError, match="max_idle must be 0 or more"):
            check_numbers(timeout=1, max_idle=wrong)


@pytest.mark.anyio
async def test_functions_of_both_kinds() -> None:
    called = []

    async def later(argument: object) -> None:
        called.append(("later", argument))

    async def value() -> str:
        return "b"

    hooks = Hooks(None)
    await hooks.call(lambda argument: called.append(("now", argument)), 1)
    await hooks.call(later, 2)
    assert called == [("now", 1), ("later", 2)]
    assert [await hooks.value(given) for given in ("a", value, lambda: "c", None)] == ["a", "b", "c", None]
