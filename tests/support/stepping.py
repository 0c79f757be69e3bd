"""Cancelling a coroutine at a chosen one of its waits."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any

import anyio

Operation = Callable[[], Coroutine[Any, Any, object]]

MANY = 1000
"""More waits than anything that is tried here has: a coroutine that reaches this goes round in circles."""


@types.coroutine
def _stepped(coroutine: Coroutine[Any, Any, object], at: int, cancel: Callable[[], object]) -> Generator[Any, Any, int]:
    """Run `coroutine`, call `cancel` when it waits for the `at`-th time, return how often it has waited."""
    waits = 0
    resume: Callable[[], Any] = lambda: coroutine.send(None)  # noqa: E731
    while True:
        try:
            waited_for = resume()
        except StopIteration:
            return waits
        waits += 1
        if waits == at:
            cancel()
        try:
            value = yield waited_for
        except BaseException as error:
            # A name for the lambda: `error` is gone when this block is left.
            thrown = error
            resume = lambda: coroutine.throw(thrown)  # noqa: E731, B023
        else:
            resume = lambda: coroutine.send(value)  # noqa: E731, B023


async def cancelled_at(wait: int, operation: Operation, *, natively: bool = False) -> bool:
    """Run an operation and cancel it when it waits for the `wait`-th time; return whether it came to that.

    :param natively: by asyncio's `task.cancel()`, in a task of its own, instead of by a cancel scope.
    """
    if natively:

        async def in_task() -> int:
            current = asyncio.current_task()
            assert current is not None
            return await _stepped(operation(), wait, current.cancel)

        task = asyncio.ensure_future(in_task())
        try:
            return await task >= wait
        except asyncio.CancelledError:
            return True
    with anyio.CancelScope() as scope:
        return await _stepped(operation(), wait, scope.cancel) >= wait
    return True


async def cancel_at_each_wait(
    operation: Operation, check: Callable[[], Awaitable[object]], *, natively: bool = False
) -> int:
    """Cancel an operation at its first wait, its second, and so on until it comes to its end; `check` after each.

    :return: how often it was cancelled.
    """
    for wait in range(1, MANY):
        cancelled = await cancelled_at(wait, operation, natively=natively)
        await check()
        if not cancelled:
            return wait - 1
    raise AssertionError(f"it has waited {MANY} times, and is not at its end")


async def cancel_when_blocked(operation: Callable[[], Awaitable[object]]) -> None:
    """Run an operation until every task of the event loop waits for something, and cancel it then.

    :raises AssertionError: it came to its end by itself.
    """
    ended = False

    async def run() -> None:
        nonlocal ended
        await operation()
        ended = True

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    assert not ended, "it does not wait"
