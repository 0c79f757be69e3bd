"""Batches: sets of parameters for one statement, and whether they are too many to be sent between others' statements.

Knows parameters. Must not know pools.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, islice
from typing import Any

from ..abc import Params
from ..session.executemany import sets_of

MOST_SETS = 100
"""Sets of parameters that are sent where others send theirs; with more a connection is taken for them."""
MOST_BYTES = 32_000
"""So for the length of the values, as far as it can be told at once."""

_LONG: Any = (str, bytes, bytearray, list, tuple, dict)


class Batch:
    """The sets of parameters of one executemany().

    :param params_seq: of an iterator so many are taken at once that it is known whether there are few, and no more.
    :param returning: whether results are kept.
    """

    def __init__(self, params_seq: Iterable[Params], returning: bool) -> None:
        self.returning = returning
        self.sets: Iterable[Any] = params_seq
        """All of them."""
        self.is_repeatable = isinstance(params_seq, list | tuple)
        """Whether they can be gone through again."""
        if not self.is_repeatable:
            rest = sets_of(params_seq)
            self.sets = first = list(islice(rest, MOST_SETS + 1))
            self.is_repeatable = len(first) <= MOST_SETS
            if not self.is_repeatable:
                self.sets = chain(first, rest)
        self.is_long = not self.is_repeatable or _is_long(self.sets)
        """Whether others are not to wait for it."""


def _is_long(sets: Any) -> bool:
    if len(sets) > MOST_SETS:
        return True
    length = 0
    for params in sets:
        length += sum(len(value) for value in _values_of(params) if isinstance(value, _LONG))
        if length > MOST_BYTES:
            return True
    return False


def _values_of(params: Any) -> Iterable[Any]:
    given: Any = params  # of no type that a check narrows
    values: Iterable[Any] = ()  # what cannot be parameters is told by who binds them
    if isinstance(params, Mapping):
        values = given.values()
    elif isinstance(params, Sequence) and not isinstance(params, str | bytes):
        values = given
    return values
