"""Chooses which of two forms is imported of each module that is compiled from its own source: ``ANYQ_IMPL`` says so.

The source is the module in Python, with a ``.pxd`` beside it that says what the compiler may know of its classes. What
is built of it lies below this folder, under the path of the module: beside its source it would stand before that, and
nobody could choose any more. A package with such modules has its place here put before its own folder.

Knows folders and one environment variable. Must not know any module.

Begin with `anyq.protocol`, which is such a package.
"""

from __future__ import annotations

import os

WANTED = os.environ.get("ANYQ_IMPL", "")
"""``python``, ``cython`` or, for compiled code where there is some, nothing."""

if WANTED not in ("", "python", "cython"):
    raise ImportError(f"ANYQ_IMPL={WANTED!r} is not known; use 'python', 'cython' or leave it unset")


def places(package: str) -> list[str]:
    """Return the folders to look into for a package's modules before its own."""
    if WANTED == "python":
        return []
    # Not where this file is: what is packed into a program has none.
    return [os.path.join(folder, *package.split(".")[1:]) for folder in __path__]
