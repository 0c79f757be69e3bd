"""The Python classes for ranges and multiranges.

Knows what a range has, contains and comes before. Must not know how one is sent.
"""

from __future__ import annotations

from collections.abc import Iterable, MutableSequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Generic, TypeVar, overload

from .._accel.twins import RangeClasses
from ..errors import ProgrammingError
from ..errors.arguments import each_of

T = TypeVar("T")

_BOUNDS = frozenset(("[]", "[)", "(]", "()"))


C = TypeVar("C", bound=type)


def _told_if_uninitialised(cls: C) -> C:
    """Have a subclass told that forgets to call `super().__init__()`. Type checkers should not see this, and do not."""

    def __getattr__(self: object, name: str) -> Any:
        own = type(self).__name__
        if name in ("_bounds", "_lower", "_upper", "_ranges"):
            raise ProgrammingError(f"this {own} has no bounds: {own}.__init__() has to call super()'s")
        raise AttributeError(f"{own!r} object has no attribute {name!r}")

    setattr(cls, __getattr__.__name__, __getattr__)
    return cls


@_told_if_uninitialised
class Range(Generic[T]):
    """All values from a lower bound to an upper one. Cannot be changed; can be hashed if the bounds can.

    Ranges are equal that have the same bounds, and are in the order that PostgreSQL has them in: the empty one first,
    then by the lower bound.

    :param lower: None for no bound.
    :param upper: None for no bound.
    :param bounds: whether the bounds belong to the range: `[` and `]` that they do, `(` and `)` that they do not.
    :param empty: whether it is the empty range, which has no bounds.
    :raises ValueError: `bounds` is something else.
    """

    __slots__ = ("_bounds", "_lower", "_upper")

    def __init__(self, lower: T | None = None, upper: T | None = None, bounds: str = "[)", empty: bool = False):
        if bounds not in _BOUNDS:
            raise ValueError(f"the bounds of a range are '[]', '[)', '(]' or '()', not {bounds!r}")
        if empty:
            lower = upper = None
            bounds = ""
        else:
            # What has no end does not contain its end.
            if lower is None:
                bounds = "(" + bounds[1]
            if upper is None:
                bounds = bounds[0] + ")"
        self._lower = lower
        self._upper = upper
        self._bounds = bounds

    @property
    def lower(self) -> T | None:
        """Return the lower bound, None if there is none."""
        return self._lower

    @property
    def upper(self) -> T | None:
        """Return the upper bound, None if there is none."""
        return self._upper

    @property
    def bounds(self) -> str:
        """Return which bounds belong to the range, as `[)`; "" for the empty one."""
        return self._bounds

    @property
    def isempty(self) -> bool:
        """Return whether it is the empty range."""
        return not self._bounds

    @property
    def lower_inf(self) -> bool:
        """Return whether it has no lower bound."""
        return self._lower is None and bool(self._bounds)

    @property
    def upper_inf(self) -> bool:
        """Return whether it has no upper bound."""
        return self._upper is None and bool(self._bounds)

    @property
    def lower_inc(self) -> bool:
        """Return whether the lower bound belongs to it."""
        return self._bounds[:1] == "["

    @property
    def upper_inc(self) -> bool:
        """Return whether the upper bound belongs to it."""
        return self._bounds[1:] == "]"

    def __contains__(self, value: T) -> bool:
        if not self._bounds:
            return False
        below: Any = self._lower
        above: Any = self._upper
        if below is not None and (value < below or (value == below and not self.lower_inc)):
            return False
        return above is None or not (value > above or (value == above and not self.upper_inc))

    def __bool__(self) -> bool:
        return bool(self._bounds)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Range):
            return NotImplemented
        bounds: Any = (other._lower, other._upper, other._bounds)  # pyright: ignore[reportUnknownMemberType]
        equal: bool = (self._lower, self._upper, self._bounds) == bounds
        return equal

    def __hash__(self) -> int:
        return hash((self._lower, self._upper, self._bounds))

    def _order(self, other: Range[Any]) -> int:
        """Return a number below, above or equal to 0, as this one comes before the other, after it, or neither."""
        if not self._bounds or not other._bounds:
            return bool(self._bounds) - bool(other._bounds)
        lower: Any = self._lower
        if lower is None or other._lower is None:
            order = (lower is not None) - (other._lower is not None)
        elif lower == other._lower:
            order = other.lower_inc - self.lower_inc
        else:
            order = -1 if lower < other._lower else 1
        if order:
            return order
        upper: Any = self._upper
        if upper is None or other._upper is None:
            return (upper is None) - (other._upper is None)
        if upper == other._upper:
            return self.upper_inc - other.upper_inc
        return -1 if upper < other._upper else 1

    def __lt__(self, other: Any) -> bool:
        return self._order(other) < 0 if _is_a(Range, other) else NotImplemented

    def __le__(self, other: Any) -> bool:
        return self._order(other) <= 0 if _is_a(Range, other) else NotImplemented

    def __gt__(self, other: Any) -> bool:
        return self._order(other) > 0 if _is_a(Range, other) else NotImplemented

    def __ge__(self, other: Any) -> bool:
        return self._order(other) >= 0 if _is_a(Range, other) else NotImplemented

    def __repr__(self) -> str:
        name = type(self).__name__
        if not self._bounds:
            return f"{name}(empty=True)"
        return f"{name}({self._lower!r}, {self._upper!r}, {self._bounds!r})"

    def __str__(self) -> str:
        return f"{self._bounds[0]}{self._lower}, {self._upper}{self._bounds[1]}" if self._bounds else "empty"


def loaded_range(lower: Any, upper: Any, bounds: str) -> Range[Any]:
    """Return a range whose bounds are known to be right: the constructor checks them, in three times the time."""
    made: Any = _new(Range)  # pyright: ignore[reportUnknownVariableType]
    _set(made, "_lower", lower)
    _set(made, "_upper", upper)
    _set(made, "_bounds", bounds)
    return made  # type: ignore[no-any-return]


_new = object.__new__
_set = object.__setattr__


class Int4Range(Range[int]):
    """A `Range` that is sent as int4range."""

    __slots__ = ()


class Int8Range(Range[int]):
    """A `Range` that is sent as int8range."""

    __slots__ = ()


class NumericRange(Range[Decimal | int]):
    """A `Range` that is sent as numrange."""

    __slots__ = ()


class DateRange(Range[date]):
    """A `Range` that is sent as daterange."""

    __slots__ = ()


class TimestampRange(Range[datetime]):
    """A `Range` that is sent as tsrange."""

    __slots__ = ()


class TimestamptzRange(Range[datetime]):
    """A `Range` that is sent as tstzrange."""

    __slots__ = ()


@_told_if_uninitialised
class Multirange(MutableSequence[Range[T]]):
    """Ranges, in a sequence that can be changed.

    The server joins ranges that overlap or touch, leaves out empty ones, and sorts: what comes back need not be what
    was sent. Multiranges are in the order of their ranges.

    :raises TypeError: an item is no `Range`.
    """

    __slots__ = ("_ranges",)

    def __init__(self, items: Iterable[Range[T]] = ()):
        self._ranges: list[Range[T]] = [_checked(item) for item in each_of(items, "a Multirange is made of ranges")]

    def __copy__(self) -> Multirange[T]:
        made: Multirange[T] = object.__new__(type(self))
        if hasattr(self, "__dict__"):
            made.__dict__.update(self.__dict__)
        # Either can be changed without the other.
        made._ranges = self._ranges.copy()
        return made

    @overload
    def __getitem__(self, index: int) -> Range[T]: ...

    @overload
    def __getitem__(self, index: slice) -> Multirange[T]: ...

    def __getitem__(self, index: int | slice) -> Range[T] | Multirange[T]:
        if isinstance(index, slice):
            return type(self)(self._ranges[index])
        return self._ranges[index]

    @overload
    def __setitem__(self, index: int, value: Range[T]) -> None: ...

    @overload
    def __setitem__(self, index: slice, value: Iterable[Range[T]]) -> None: ...

    def __setitem__(self, index: Any, value: Any) -> None:
        self._ranges[index] = [_checked(item) for item in value] if isinstance(index, slice) else _checked(value)

    def __delitem__(self, index: int | slice) -> None:
        del self._ranges[index]

    def __len__(self) -> int:
        return len(self._ranges)

    def insert(self, index: int, value: Range[T]) -> None:
        """Insert a range before an index."""
        self._ranges.insert(index, _checked(value))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Multirange):
            return NotImplemented
        return self._ranges == other._ranges  # pyright: ignore[reportUnknownMemberType]

    __hash__ = None  # type: ignore[assignment]  # as of a list

    def __lt__(self, other: Any) -> bool:
        return self._ranges < other._ranges if _is_a(Multirange, other) else NotImplemented

    def __le__(self, other: Any) -> bool:
        return self._ranges <= other._ranges if _is_a(Multirange, other) else NotImplemented

    def __gt__(self, other: Any) -> bool:
        return self._ranges > other._ranges if _is_a(Multirange, other) else NotImplemented

    def __ge__(self, other: Any) -> bool:
        return self._ranges >= other._ranges if _is_a(Multirange, other) else NotImplemented

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._ranges!r})"

    def __str__(self) -> str:
        return f"{{{', '.join(map(str, self._ranges))}}}"


def _is_a(cls: type, other: Any) -> bool:
    return isinstance(other, cls)


def _checked(item: Any) -> Any:
    if not isinstance(item, Range):
        raise TypeError(f"a Multirange is a sequence of Range, and {item!r} is none")
    return item  # pyright: ignore[reportUnknownVariableType]


class Int4Multirange(Multirange[int]):
    """A `Multirange` that is sent as int4multirange."""


class Int8Multirange(Multirange[int]):
    """A `Multirange` that is sent as int8multirange."""


class NumericMultirange(Multirange[Decimal | int]):
    """A `Multirange` that is sent as nummultirange."""


class DateMultirange(Multirange[date]):
    """A `Multirange` that is sent as datemultirange."""


class TimestampMultirange(Multirange[datetime]):
    """A `Multirange` that is sent as tsmultirange."""


class TimestamptzMultirange(Multirange[datetime]):
    """A `Multirange` that is sent as tstzmultirange."""


CLASSES = RangeClasses(
    (Range, Int4Range, Int8Range, NumericRange, DateRange, TimestampRange, TimestamptzRange),
    *(vars(Range)["_lower"], vars(Range)["_upper"], vars(Range)["_bounds"]),
    (
        *(Multirange, Int4Multirange, Int8Multirange, NumericMultirange),
        *(DateMultirange, TimestampMultirange, TimestamptzMultirange),
    ),
    vars(Multirange)["_ranges"],
)
"""For the compiled path."""
