"""Event loops for tests of the modules that touch sockets.

Those run on one more kind of loop than the rest: one that cannot watch sockets, like Windows' Proactor loop.
"""

from __future__ import annotations

import asyncio
import importlib.util
from typing import Any

import pytest


class BlindLoop(asyncio.SelectorEventLoop):
    """A loop without add_reader(), as far as others can see."""

    def add_reader(self, *args: Any) -> Any:
        raise NotImplementedError

    remove_reader = add_writer = remove_writer = add_reader


ALL_LOOPS = [
    pytest.param(("asyncio", {"use_uvloop": False}), id="asyncio"),
    pytest.param(
        ("asyncio", {"use_uvloop": True}),
        id="uvloop",
        marks=pytest.mark.skipif(importlib.util.find_spec("uvloop") is None, reason="uvloop is not there"),
    ),
    pytest.param(("asyncio", {"loop_factory": BlindLoop}), id="blind"),
    pytest.param(("trio", {}), id="trio"),
]
