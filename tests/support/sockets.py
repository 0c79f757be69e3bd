"""The sockets that this process has open: what a connection that was given up must not leave behind."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from pathlib import Path

import pytest

FDS = Path("/proc/self/fd")

needs_proc = pytest.mark.skipif(not FDS.exists(), reason="open files are counted in Linux' /proc")


def open_sockets() -> Counter[str]:
    """Return the sockets of this process, by the number that the system gives each, and how many descriptors each has.

    None where nothing tells.
    """
    found = Counter[str]()
    for path in FDS.iterdir() if FDS.exists() else ():
        with contextlib.suppress(OSError):
            name = os.readlink(path)
            if name.startswith("socket:"):
                found[name] += 1
    return found
