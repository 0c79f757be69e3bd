"""Handlers of notifications, called by whoever reads."""

from __future__ import annotations

import logging
from typing import Any

import anyio
import pytest

from anyq import AsyncConnection, Notify
from tests.support.activity import PATIENCE
from tests.support.notifying import send
from tests.support.queries import one


async def test_handlers(auto: AsyncConnection, other: AsyncConnection, caplog: pytest.LogCaptureFixture) -> None:
    got: list[tuple[int, str]] = []

    def first(notify: Notify) -> None:
        got.append((1, notify.payload))

    def failing(notify: Notify) -> None:
        raise ZeroDivisionError

    def last(notify: Notify) -> None:
        got.append((2, notify.payload))

    def once(notify: Notify) -> None:
        auto.remove_notify_handler(once)
        got.append((3, notify.payload))

    for handler in (once, first, failing, last):
        auto.add_notify_handler(handler)
    await auto.execute("LISTEN a")
    await send(other, "a", "x", "y")
    with caplog.at_level(logging.ERROR, "anyq"):
        assert await one(auto, "SELECT 1") == 1
        await auto.execute("SELECT 1")
    assert got == [(3, "x"), (1, "x"), (2, "x"), (1, "y"), (2, "y")]
    assert [record.exc_info is not None for record in caplog.records] == [True, True]
    for handler in (first, failing, last):
        auto.remove_notify_handler(handler)
    with pytest.raises(ValueError):
        auto.remove_notify_handler(first)
    await send(other, "a", "z")
    await auto.execute("SELECT 1")
    assert len(got) == 5


async def test_handlers_beside_a_waiting_subscriber(auto: AsyncConnection, other: AsyncConnection) -> None:
    """They are called as soon as any task waits for anything."""
    got = anyio.Event()
    auto.add_notify_handler(lambda notify: got.set())
    await auto.execute("LISTEN a")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(auto.wait_disconnected)
        await send(other, "a", "")
        with anyio.fail_after(PATIENCE):
            await got.wait()
        tasks.cancel_scope.cancel()


async def coroutine_function(*args: object) -> None: ...


async def test_arguments_of_no_use(auto: AsyncConnection) -> None:
    wrong: Any
    for wrong in (None, "x", 3, coroutine_function):
        with pytest.raises(TypeError, match="callback .*must be a.* function"):
            auto.add_notify_handler(wrong)
    for wrong in ("x", [], int):
        with pytest.raises(TypeError, match="timeout must be a number of seconds, or None, not"):
            auto.notifies(timeout=wrong)
    for wrong in ("x", 1.5, []):
        with pytest.raises(TypeError, match="stop_after must be an int, not"):
            auto.notifies(stop_after=wrong)
    with pytest.raises(ValueError, match="stop_after must be 0 or more, not -1"):
        auto.notifies(stop_after=-1)
