"""Ranges and multiranges: SQLAlchemy's classes to ours and back.

Knows what the classes of both have. Must not know connections.
"""

# SQLAlchemy has no types for dialects.
# pyright: basic

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy.dialects.postgresql import ranges

from anyq.types.multirange import Multirange
from anyq.types.range import Range


class RangeType(ranges.AbstractSingleRangeImpl):
    """Any type of ranges."""

    def bind_processor(self, dialect: Any) -> Callable[[Any], Any]:
        """Return what makes a value one that the driver takes; a str is left to the server, and None is NULL."""
        return _sent

    def result_processor(self, dialect: Any, coltype: object) -> Callable[[Any], Any]:
        """Return what makes a value of the driver's one of SQLAlchemy's."""
        return _received


class MultirangeType(ranges.AbstractMultiRangeImpl):
    """Any type of multiranges."""

    def bind_processor(self, dialect: Any) -> Callable[[Any], Any]:
        """Return what makes a value one that the driver takes: of anything that has ranges, a multirange."""

        def process(value: Any) -> Any:
            if value is None or isinstance(value, str | Multirange):
                return value
            return Multirange([_sent(item) for item in value])

        return process

    def result_processor(self, dialect: Any, coltype: object) -> Callable[[Any], Any]:
        """Return what makes a value of the driver's one of SQLAlchemy's."""

        def process(value: Any) -> Any:
            return None if value is None else ranges.MultiRange(_received(item) for item in value)

        return process


def _sent(value: Any) -> Any:
    if isinstance(value, ranges.Range):
        return Range(value.lower, value.upper, value.bounds, value.empty)
    return value


def _received(value: Any) -> Any:
    if value is None:
        return None
    return ranges.Range(value.lower, value.upper, bounds=value.bounds or "[)", empty=value.isempty)
