"""Event loops for tests of the modules that touch sockets.

Those run on one more kind of loop than the rest: one that cannot watch sockets, like Windows' Proactor loop.
"""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import anyio
import pytest
from typing_extensions import TypeVarTuple, Unpack

Ts = TypeVarTuple("Ts")
"""The arguments of a callback."""


class BlindLoop(asyncio.SelectorEventLoop):
    """A loop without add_reader(), as far as others can see."""

    def add_reader(self, fd: Any, callback: Callable[[Unpack[Ts]], Any], *args: Unpack[Ts]) -> None:
        raise NotImplementedError

    def add_writer(self, fd: Any, callback: Callable[[Unpack[Ts]], Any], *args: Unpack[Ts]) -> None:
        raise NotImplementedError

    def remove_reader(self, fd: Any) -> bool:
        raise NotImplementedError

    def remove_writer(self, fd: Any) -> bool:
        raise NotImplementedError


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


async def is_readable(fd: int) -> None:
    """Wait until a descriptor is readable, as the application may; a coroutine function, to be started in a task."""
    await anyio.wait_readable(fd)


async def waits(for_what: Waits, readable: bool, writable: bool) -> None:
    """Wait; a coroutine function, to be started in a task."""
    await for_what.wait(readable, writable)
