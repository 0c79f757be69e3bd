"""Chooses which of two forms is imported of each module that is compiled from its own source: ``ANYQ_IMPL`` says so.

The source is the module in Python, with a ``.pxd`` beside it that says what the compiler may know of its classes. What
is built of it lies below this folder, under the path of the module: beside its source it would stand before that, and
nobody could choose any more. Whoever imports a module of the package is given what lies here, if something does.

Knows folders and one environment variable. Must not know any module.

Begin with `anyq.protocol`, which has such modules.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import ModuleSpec, PathFinder

WANTED = os.environ.get("ANYQ_IMPL", "")
"""``python``, ``cython`` or, for compiled code where there is some, nothing."""

if WANTED not in ("", "python", "cython"):
    raise ImportError(f"ANYQ_IMPL={WANTED!r} is not known; use 'python', 'cython' or leave it unset")


class Finder:
    """Finds the compiled form of a module.

    It is asked before a package's own folder is looked into, and not by way of the package: another thread may have
    begun to import that, and not come to its first line yet.
    """

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Return where it lies; None for all that is not compiled."""
        package, *below = name.split(".")
        if package != __name__.partition(".")[0] or not below:
            return None
        # Not where this file is: what is packed into a program has none.
        spec = PathFinder.find_spec(name, [os.path.join(folder, *below[:-1]) for folder in __path__])
        # A package is not compiled, but a folder here has its name.
        return spec if spec is not None and spec.has_location else None


if WANTED != "python":
    sys.meta_path.insert(0, Finder())
