"""Cancelling a coroutine at a chosen one of its waits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any

import anyio

Operation = Callable[[], Coroutine[Any, Any, object]]

MANY = 1000
"""More waits than anything that is tried here has: a coroutine that reaches this goes round in circles."""


class CancelAt:
    """Awaits `operation`, and calls `cancel` when it waits for the n-th time, counted from 1."""

    def __init__(self, operation: Awaitable[Any], n: int, cancel: Callable[[], object]) -> None:
        self._operation = operation
        self._n = n
        self._cancel = cancel
        self.waits = 0

    def __await__(self) -> Generator[Any, Any, Any]:
        generator = self._operation.__await__()
        step: Callable[[], Any] = generator.__next__
        while True:
            try:
                waiting_for = step()
            except StopIteration as end:
                return end.value
            self.waits += 1
            if self.waits == self._n:
                self._cancel()
            try:
                sent = yield waiting_for
            except BaseException as error:
                step = _thrower(generator, error)
            else:
                step = _sender(generator, sent)


def _thrower(generator: Any, error: BaseException) -> Callable[[], Any]:
    return lambda: generator.throw(error)


def _sender(generator: Any, value: Any) -> Callable[[], Any]:
    return lambda: generator.send(value)


async def cancelled_at(wait: int, operation: Operation, *, natively: bool = False) -> bool:
    """Run an operation and cancel it when it waits for the `wait`-th time; return whether it came to that.

    :param natively: by asyncio's `task.cancel()`, in a task of its own, instead of by a cancel scope.
    """
    if natively:

        async def in_task() -> int:
            current = asyncio.current_task()
            assert current is not None
            attempt = CancelAt(operation(), wait, current.cancel)
            await attempt
            return attempt.waits

        task = asyncio.ensure_future(in_task())
        try:
            return await task >= wait
        except asyncio.CancelledError:
            return True
    with anyio.CancelScope() as scope:
        attempt = CancelAt(operation(), wait, scope.cancel)
        await attempt
        return attempt.waits >= wait
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
