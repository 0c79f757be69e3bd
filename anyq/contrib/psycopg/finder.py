"""Finder: has the import system find anyq's modules under psycopg's names.

Knows the import system. Must not know what is in which module.

Theory of operation. A module of anyq's gets a second name in ``sys.modules`` and stays what it is, its ``__spec__`` as
well: the loader puts it there in place of the new module that it was given to fill, as a module may do itself while it
is executed (Python's reference, "Loading").
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
from importlib.metadata import Distribution, DistributionFinder
from os import PathLike
from pathlib import Path
from types import ModuleType

from .modules import PACKAGES, children, fill, origin


class _Loader(Loader):
    """Loads one module."""

    def __init__(self, name: str, source: str | None) -> None:
        self._name = name
        self._source = source

    def exec_module(self, module: ModuleType) -> None:
        if self._source is not None:
            sys.modules[self._name] = import_module(self._source)
            return
        fill(module, self._name)
        for child in children(self._name):
            import_module(child)


class _Metadata(Distribution):
    """What ``importlib.metadata`` says of a package that anyq stands in for."""

    def __init__(self, name: str) -> None:
        self._name = name

    def read_text(self, filename: str) -> str | None:
        if filename != "METADATA":
            return None
        return f"Metadata-Version: 2.1\nName: {self._name}\nVersion: {PACKAGES[self._name]}\n"

    def locate_file(self, path: str | PathLike[str]) -> Path:
        return Path(__file__).parent / path


class Finder(DistributionFinder):
    """Finds psycopg, psycopg_pool and their modules, before anything else does."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] not in PACKAGES:
            return None
        source = origin(fullname)
        is_package = fullname in PACKAGES or fullname == "psycopg.types"
        return ModuleSpec(fullname, _Loader(fullname, source), origin=source or "anyq", is_package=is_package)

    def find_distributions(
        self,
        context: DistributionFinder.Context = DistributionFinder.Context(),  # noqa: B008 - as the base class has it
    ) -> Iterable[Distribution]:
        """Yield what there is to say of a package that is asked for by name."""
        name = (context.name or "").lower().replace("-", "_")
        return [_Metadata(name)] if name in PACKAGES else []


FINDER = Finder()
"""The one that is put into ``sys.meta_path``."""


def is_standing_in(module: ModuleType) -> bool:
    """Return whether a module that is imported under psycopg's name is one of these."""
    return module.__spec__ is not None and isinstance(module.__spec__.loader, _Loader)
