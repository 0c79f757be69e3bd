"""Says which functions have a compiled twin, and what they hand over to it.

Knows functions, names and the arguments of twins. Must not know what is built. A function is marked where it is
written; the mark is on the function and not on its class, so a subclass that overrides a method has no twin without
anybody thinking of it. A mark promises that the function's results and errors are what its twin has to give.

A twin that needs to know more than the value asks the dumper or loader, once: `dump_arguments()`, `key_arguments()` or
`load_arguments()` return what is defined here, None where the twin is no good (for an encoding other than UTF-8, say).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import tzinfo
from typing import Any, NamedTuple, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

names: dict[Callable[..., Any], str] = {}
"""The name of each function that is marked."""


def twin(name: str) -> Callable[[F], F]:
    """Mark a function or method: where the compiled path knows this name, it runs that instead."""

    def mark(function: F) -> F:
        names[function] = name
        return function

    return mark


def name_of(function: Callable[..., Any]) -> str | None:
    """Return the mark of a function or bound method, None if it has none."""
    try:
        return names.get(getattr(function, "__func__", function))
    except TypeError:
        # A callable of the user's that cannot be hashed.
        return None


class NoArguments(NamedTuple):
    """Those of a twin that only has to know whether it is any good: `dump_text`, `load_json` and `load_jsonb`."""


class DumpListArguments(NamedTuple):
    """Those of `dump_list` and `dump_list_text`."""

    dump_item: Callable[[Any], Any] | None
    """None where there is no item but None."""
    item_oid: int
    delimiter: bytes
    never_quoted: bool


class KeyListArguments(NamedTuple):
    """Those of `key_list`."""

    cls: type
    tx: Any
    """The `Transformer` of the items."""
    item_format: Any


class LoadTimestamptzArguments(NamedTuple):
    """Those of `load_timestamptz` and `load_timestamptz_text`."""

    zone: tzinfo


class LoadArrayArguments(NamedTuple):
    """Those of `load_array`."""

    tx: Any
    """The `Transformer` of the items."""


class LoadArrayTextArguments(NamedTuple):
    """Those of `load_array_text`."""

    load_item: Callable[[bytes], Any]
    delimiter: bytes
