"""The families of PostgreSQL types: one module each, with its dumpers, its loaders and one
`register_default_adapters`.

Knows where `TypeInfo` is, for those who look for it here. Must not import a family: `anyq.postgres` does
that.

Begin with `uuid`, which is short and whole.
"""

from __future__ import annotations

from ..adapt.typeinfo import TypeInfo, TypesRegistry

__all__ = ["TypeInfo", "TypesRegistry"]
