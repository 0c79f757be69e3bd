"""None and NULL.

Knows how NULL is written as SQL. Must not know parameters: as one, NULL has no value to dump, and `Transformer` deals
with it by itself.
"""

from __future__ import annotations

from ..adapt.adapters_map import AdaptContext
from ..adapt.base import Dumper


class NoneDumper(Dumper):
    """Write None as a literal."""

    def dump(self, obj: None) -> None:
        return None


def register_default_adapters(context: AdaptContext) -> None:
    """Register the dumper of None."""
    context.adapters.register_dumper(type(None), NoneDumper)
