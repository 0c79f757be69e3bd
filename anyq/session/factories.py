"""Factories: what makes the cursors and rows of a connection is looked at where it is set, not where it fails.

Knows classes. Must not know any connection or cursor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import iscoroutinefunction
from typing import Any, ClassVar

from ..errors import ProgrammingError


def check_cursor_factory(factory: object, wanted: type, what: str = "cursor_factory") -> None:
    """Look whether something can make the cursors of a connection, as far as that can be told before it does.

    :param wanted: the class of cursors of such connections.
    :param what: where it is set.
    :raises ProgrammingError: it cannot.
    """
    is_named = getattr(wanted, "is_named", False)
    if isinstance(factory, type):
        if issubclass(factory, wanted) and getattr(factory, "is_named", False) is is_named:
            return
    elif callable(factory):
        return
    name = factory.__qualname__ if isinstance(factory, type) else f"an object of {type(factory).__qualname__}"
    fetch: object = getattr(factory, "fetchone", None)
    if fetch is not None:
        name += f", which is for {'a' * iscoroutinefunction(fetch)}synchronous connections"
        if getattr(factory, "is_named", False) is not is_named:
            name += f" and cursors {'with' * (not is_named)}{'without' * is_named} a name"
    raise ProgrammingError(f"{what} must be {wanted.__qualname__} or a subclass of it, not {name}")


class ChecksFactories:
    """The part of a connection that looks at what makes cursors and rows where it is set, not where it fails."""

    factory_checks: ClassVar[Mapping[str, Callable[[Any], None]]] = {}
    """For this package: what looks at the value of an attribute."""

    def __setattr__(self, name: str, value: object) -> None:
        check = self.factory_checks.get(name)
        if check is not None:
            check(value)
        super().__setattr__(name, value)
