"""Closing: the ``with`` block of the objects that are closed at its end, whatever ends it.

Knows nothing else.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType

from typing_extensions import Self


class Closing(ABC):
    """An object that its ``with`` block closes."""

    @abstractmethod
    def close(self) -> None:
        """Close it; doing so again does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        self.close()
