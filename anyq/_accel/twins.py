"""Says which functions have a compiled twin, and what they hand over to it.

Knows functions, names and the arguments of twins. Must not know what is built. A function is marked where it is
written; the mark is on the function and not on its class, so a subclass that overrides a method has no twin without
anybody thinking of it. A mark promises that the function's results and errors are what its twin has to give.

A twin that needs to know more than the value asks the dumper or loader, once: `dump_arguments()`, `key_arguments()` or
`load_arguments()` return what is defined here, None where the twin is no good (for an encoding other than UTF-8, say).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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


class DumpEnumArguments(NamedTuple):
    """Those of `dump_enum`."""

    cls: type
    """The class whose members are dumped alike each time."""


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
    item_formats: Mapping[Any, Any]
    """The `PyFormat` of the items by that of the list."""


class LoadTimestamptzArguments(NamedTuple):
    """Those of `load_timestamptz` and `load_timestamptz_text`."""

    zone: tzinfo


class LoadEnumArguments(NamedTuple):
    """Those of `load_enum`."""

    labels: int
    """How many labels have a member."""


class LoadArrayArguments(NamedTuple):
    """Those of `load_array`."""

    tx: Any
    """The `Transformer` of the items."""


class LoadArrayTextArguments(NamedTuple):
    """Those of `load_array_text`."""

    load_item: Callable[[bytes], Any]
    delimiter: bytes


class LoadCompositeArguments(NamedTuple):
    """Those of `load_composite` and `load_composite_text`: also for records of no type, whose fields may be any."""

    find_functions: Callable[..., Sequence[Callable[[bytes], Any]]]
    """Returns the load functions of the fields. Of records in binary format it is given the oids, as they are there; of
    those in text format there is one function for all fields."""
    oids: tuple[int, ...] | None
    """Those that the fields have to have; None for a record."""
    cls: type | None
    """A class of named tuples whose objects are made, with as many fields."""
    factory: Callable[..., Any] | None
    """What is called with the values, if that is None."""
    make_object: Callable[[Sequence[Any], Any], Any] | None
    """What is called with a list of the values and `info` instead. If all of these are None a tuple is made."""
    info: Any


class RangeClasses(NamedTuple):
    """The classes of ranges and multiranges, and the descriptors of their slots."""

    ranges: tuple[type, ...]
    lower: Any
    upper: Any
    bounds: Any
    multiranges: tuple[type, ...]
    items: Any


class LoadRangeArguments(NamedTuple):
    """Those of `load_range`, `load_range_text`, `load_multirange` and `load_multirange_text`."""

    load_bound: Callable[[bytes], Any]
    classes: RangeClasses
    """The first of each is what is made."""


class DumpCompositeArguments(NamedTuple):
    """Those of `dump_composite` and `dump_composite_text`."""

    tx: Any
    """The `Transformer` of the fields."""
    format: Any
    """The `PyFormat` of the fields."""
    info: Any
    """The `CompositeInfo`; None for a tuple of no type."""
    make_sequence: Callable[[Any, Any], Sequence[Any]] | None
    dump_field: Callable[[int, Any], bytes | None] | None
    """Dumps the field of that number, in binary format."""


class DumpRangeArguments(NamedTuple):
    """Those of `dump_range`, `dump_range_text`, `dump_multirange`, `dump_multirange_text` and `key_bounds`."""

    tx: Any
    """The `Transformer` of the bounds."""
    format: Any
    """The `PyFormat` of the bounds."""
    oid: int
    subtype_oid: int
    dump_bound: Callable[[Any], bytes]
    classes: RangeClasses
    """Objects of other classes are for the dumper in Python."""
