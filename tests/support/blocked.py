"""anyio's `wait_all_tasks_blocked()` for asyncio, without the tenth of a second that it sleeps there between two looks.

Knows how asyncio keeps what a task waits for, as anyio does. Knows nothing of anyq.
"""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
from anyio._backends._asyncio import AsyncIOBackend

TURNS = 3
"""For so many turns of the event loop in succession all tasks have to wait: what wakes one may take two of them."""


async def wait_all_tasks_blocked(_: Any = None) -> None:
    """Return when all other tasks have waited for something for some turns of the event loop.

    As on trio: for what comes from elsewhere, such as a reply, nobody waits here.
    """
    this_task = asyncio.current_task()
    blocked = 0
    while blocked < TURNS:
        await anyio.lowlevel.checkpoint()
        waiters = [getattr(task, "_fut_waiter", None) for task in asyncio.all_tasks() if task is not this_task]
        blocked = blocked + 1 if all(waiter is not None and not waiter.done() for waiter in waiters) else 0


def install() -> None:
    """Put it in the place of anyio's for this process."""
    AsyncIOBackend.wait_all_tasks_blocked = classmethod(wait_all_tasks_blocked)  # type: ignore[method-assign,assignment]
