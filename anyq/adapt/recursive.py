"""The base classes of dumpers and loaders of values that contain values.

Knows that these go through the same `Transformer`. Must not know what contains what.
"""

from __future__ import annotations

from .adapters_map import AdaptContext
from .base import Dumper, Loader
from .transformer import Transformer


class RecursiveDumper(Dumper):
    """Dump objects that contain objects: `self._tx` dumps these."""

    delegates = True

    def __init__(self, cls: type, context: AdaptContext | None = None):
        super().__init__(cls, context)
        self._tx = Transformer.from_context(context)


class RecursiveLoader(Loader):
    """Load values that contain values: `self._tx` loads these.

    An exception for one of them is to be raised as what `load_failure` makes of it.
    """

    delegates = True

    def __init__(self, oid: int, context: AdaptContext | None = None):
        super().__init__(oid, context)
        self._tx = Transformer.from_context(context)
