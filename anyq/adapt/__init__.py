"""Adaptation: Python values to what the server reads, and back.

Knows dumpers, loaders, the map that they are registered in, and the `Transformer` that plans a conversion once and then
only runs it. Must not know any family of types (`anyq.types`), queries or connections.

Begin with `transformer`.
"""

from .adapters_map import AdaptersMap, PyFormat, adapters_of, global_adapters
from .transformer import Buffer, Dumper, Format, Loader, RecursiveDumper, RecursiveLoader, Transformer

__all__ = [
    "AdaptersMap",
    "Buffer",
    "Dumper",
    "Format",
    "Loader",
    "PyFormat",
    "RecursiveDumper",
    "RecursiveLoader",
    "Transformer",
    "adapters_of",
    "global_adapters",
]
