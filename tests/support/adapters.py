"""The map that every connection starts from, for tests that write to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import anyq
from anyq.adapt import AdaptersMap


@contextmanager
def global_map_restored() -> Iterator[AdaptersMap]:
    """Give the global map; what is registered there inside of the block is undone."""
    adapters = anyq.adapters
    # A map that is made from it shares its tables, so that they are copied before they are written to.
    AdaptersMap(adapters)
    names = [name for name in vars(adapters) if name != "version"]
    before = {name: getattr(adapters, name) for name in names}
    types = dict(vars(adapters.types))
    AdaptersMap(adapters)
    try:
        yield adapters
    finally:
        vars(adapters).update(before)
        vars(adapters.types).update(types)
        AdaptersMap(adapters)
        adapters.version += 1
