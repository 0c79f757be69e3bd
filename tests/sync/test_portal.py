"""Portals and their workers, without a connection."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import anyio
import anyio.to_thread
import pytest
from anyio.from_thread import BlockingPortal

from anyq.errors import InterfaceError
from anyq.sync import portal as _portal

pytestmark = pytest.mark.anyio


async def answer() -> int:
    return 42


async def test_a_worker_that_begins_after_the_end_ends(anyio_backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread may make its first call while the portal is being stopped: its worker is not among those that are told.

    Otherwise the portal would wait for the worker for ever, and the worker for the next call.
    """
    portal = _portal.Portal()
    refused: list[Exception] = []

    def call() -> None:
        try:
            portal.call(1.0, answer)
        except InterfaceError as error:
            refused.append(error)

    spawn: Callable[..., None] = portal.spawn

    def stop_first(func: Any, *args: object) -> None:
        # Between the thread's request for a worker and the worker's first step.
        stopped = threading.Event()
        portal.post(lambda: (portal.end_workers(), stopped.set()))
        assert stopped.wait(30)
        spawn(func, *args)

    monkeypatch.setattr(portal, "spawn", stop_first)
    with anyio.fail_after(30):
        async with BlockingPortal() as blocking:
            portal.attach(blocking)
            await anyio.to_thread.run_sync(call)
            await blocking.stop()
    assert len(refused) == 1
