"""Chooses the implementation of the hot loops: ``ANYQ_IMPL=python`` or, where it is built, ``cython``.

Knows which implementations exist. Must not hold any logic of its own.
"""

from __future__ import annotations

import os

from .python import decode_rows

__all__ = ["decode_rows", "implementation"]

implementation = "python"

_wanted = os.environ.get("ANYQ_IMPL", "")
if _wanted not in ("", implementation):
    raise ImportError(f"ANYQ_IMPL={_wanted!r} is not available in this build of anyq; use 'python' or leave it unset")
