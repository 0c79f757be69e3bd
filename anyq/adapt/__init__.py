"""Adaptation: Python values to what the server reads, and back.

Knows dumpers, loaders, the map that they are registered in, and the `Transformer` that plans a conversion once and then
only runs it. Must not know any family of types (`anyq.types`), queries or connections.

Begin with `transformer`. Below it are `base` (dumpers and loaders), `adapters_map` and `typeinfo`; `quoting`,
`encodings` and `timezones` are for others as well. `recursive` is for values that contain values, and
`copy` for rows of COPY.
"""

from ..protocol.constants import Format
from .adapters_map import AdaptersMap, Buffer, PyFormat, adapters_of, global_adapters
from .base import Dumper, Loader
from .recursive import RecursiveDumper, RecursiveLoader
from .transformer import Transformer
from .typeinfo import TypeInfo, global_types

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
    "TypeInfo",
    "adapters_of",
    "global_adapters",
    "global_types",
]
