"""Sets of parameters: whether there are few of them, and what is taken of an iterator to know."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from anyq.pool.batches import MOST_BYTES, MOST_SETS, Batch


class Counting:
    """An iterator that knows how much was taken of it."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.taken = 0

    def __iter__(self) -> Iterator[list[int]]:
        while self.taken < self.most:
            self.taken += 1
            yield [self.taken]


@pytest.mark.parametrize("kind", [list, tuple])
@pytest.mark.parametrize("count", [0, 1, MOST_SETS, MOST_SETS + 1])
def test_a_sequence_can_be_gone_through_again(kind: Any, count: int) -> None:
    sets = kind([[number] for number in range(count)])
    batch = Batch(sets, False)
    assert batch.sets is sets
    assert batch.is_repeatable
    assert batch.is_long == (count > MOST_SETS)


@pytest.mark.parametrize(("count", "taken"), [(0, 0), (3, 3), (MOST_SETS, MOST_SETS), (10**9, MOST_SETS + 1)])
def test_of_an_iterator_no_more_is_taken_than_has_to_be(count: int, taken: int) -> None:
    source = Counting(count)
    batch = Batch(iter(source), True)
    assert source.taken == taken
    assert batch.is_repeatable == (count <= MOST_SETS)
    assert batch.is_long == (count > MOST_SETS)
    rest = iter(batch.sets)
    assert [next(rest) for _ in range(taken)] == [[number + 1] for number in range(taken)]
    if count > MOST_SETS:
        assert next(rest) == [taken + 1], "and what was not taken follows"


@pytest.mark.parametrize(
    "value",
    ["x" * MOST_BYTES, b"x" * MOST_BYTES, bytearray(MOST_BYTES), [1] * MOST_BYTES, (1,) * MOST_BYTES],
    ids=lambda value: type(value).__name__,
)
def test_long_values_are_too_much(value: Any) -> None:
    assert not Batch([[value]], False).is_long
    assert Batch([[value], ["y"]], False).is_long
    assert Batch([{"a": value, "b": "y"}], False).is_long
    assert Batch([(1, value, "y")], False).is_long


def test_what_cannot_be_parameters_is_for_others_to_tell() -> None:
    assert not Batch([1, None, "x" * MOST_BYTES * 2, {1, 2}], False).is_long  # type: ignore[list-item]


def test_what_is_no_iterable_is_told() -> None:
    for wrong in (None, 3, int):
        with pytest.raises(TypeError, match=r"executemany\(\) takes a sequence of sets of parameters, .* not"):
            Batch(wrong, False)  # type: ignore[arg-type]
