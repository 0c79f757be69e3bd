"""Event loops for tests of the modules that touch sockets.

Those run on one more kind of loop than the rest: one that cannot watch sockets, like Windows' Proactor loop.
"""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Awaitable
from typing import Any, Protocol

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


class Waits(Protocol):
    """A channel, or what waits for a socket."""

    def wait(self, readable: bool, writable: bool) -> Awaitable[None]: ...


async def waits(for_what: Waits, readable: bool, writable: bool) -> None:
    """Wait; a coroutine function, to be started in a task."""
    await for_what.wait(readable, writable)
