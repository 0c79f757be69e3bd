"""The types and the adapters that every connection starts from.

Knows which families of types there are and registers each of them in the global map. Must not know how one
works.
"""

from __future__ import annotations

from .adapt import AdaptersMap
from .adapt import global_adapters as adapters
from .adapt.adapters_map import AdaptContext
from .adapt.typeinfo import TypesRegistry
from .types import (
    array,
    bit,
    bool,
    composite,
    datetime,
    enum,
    fulltext,
    geometric,
    infinity,
    interval,
    json,
    multirange,
    net,
    none,
    numeric,
    numpy,
    range,
    system,
    uuid,
    xml,
)
from .types import string as text

__all__ = ["adapters", "register_default_adapters", "register_default_types", "types"]

types = adapters.types
"""What is known about PostgreSQL's types: see `TypesRegistry`."""

# What is found by an oid is what was registered for it last: so Python's numbers after numpy's, plain dates and
# intervals after infinite ones and those with months; and arrays after all others, for each type that is known by then,
# but for composites, which arrange arrays of records.
_FAMILIES = (
    *(numpy, none, bool, numeric, text, uuid, json, infinity, interval, datetime),
    *(net, bit, geometric, xml, fulltext, system),
    *(enum, range, multirange, array, composite),
)


def register_default_adapters(context: AdaptContext) -> None:
    """Register what every connection starts from: in a map that was changed, or made of nothing."""
    for family in _FAMILIES:
        family.register_default_adapters(context)


def register_default_types(registry: TypesRegistry) -> None:
    """Add the types of every server: to a registry that was changed, or made of nothing."""
    registry.add_builtin()


register_default_adapters(adapters)

pristine_adapters = AdaptersMap(adapters)
"""The same as they were at first, whatever a program registers: for queries of the driver's own."""
