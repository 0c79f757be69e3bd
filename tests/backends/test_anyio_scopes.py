"""Whether a task is cancelled: without a coroutine the answer is that of anyio's own function, on every event loop."""

from __future__ import annotations

import asyncio
import math
import os
import threading
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from anyq.backends import anyio_scopes, current_backend

Scopes = tuple[tuple[bool, bool], ...]
"""From the outermost to the innermost: whether it is cancelled, and whether it shields."""

SCOPES: list[Scopes] = [
    (),
    ((False, False),),
    ((True, False),),
    ((True, True),),
    ((False, True),),
    ((True, False), (False, False)),
    ((True, False), (False, True)),
    ((True, False), (True, True)),
    ((True, False), (False, True), (False, False)),
    ((True, False), (False, False), (False, False), (False, False)),
    ((False, False), (True, False), (False, True), (True, False)),
]


async def is_cancelled() -> bool:
    """What anyio says."""
    try:
        await anyio.lowlevel.checkpoint_if_cancelled()
    except anyio.get_cancelled_exc_class():
        return True
    return False


@pytest.mark.anyio
@pytest.mark.parametrize("scopes", SCOPES)
async def test_it_is_as_anyio_says(scopes: Scopes) -> None:
    backend = current_backend()
    with ExitStack() as stack:
        entered = [stack.enter_context(anyio.CancelScope(shield=shield)) for _, shield in scopes]
        assert backend.may_go_on()
        for scope, (cancelled, _) in zip(entered, scopes, strict=True):
            if cancelled:
                scope.cancel()
        expected = not backend.may_go_on()
        assert expected is await is_cancelled()


@pytest.mark.anyio
async def test_tasks_of_a_group_one_after_the_other() -> None:
    """What was found out of one task is not said of another one, nor of the same one in another scope."""
    backend = current_backend()
    seen: list[tuple[str, bool]] = []

    async def look(name: str) -> None:
        seen.append((name, backend.may_go_on()))
        with anyio.CancelScope() as scope:  # noqa: ASYNC100 - nothing is to be waited for
            scope.cancel()
            seen.append((f"{name}, cancelled", backend.may_go_on()))
        seen.append((f"{name}, afterwards", backend.may_go_on()))

    async with anyio.create_task_group() as group:
        for name in ("a", "b"):
            group.start_soon(look, name)
    await look("c")
    assert sorted(seen) == [
        (f"{name}{when}", when != ", cancelled") for name in "abc" for when in ("", ", afterwards", ", cancelled")
    ]


@pytest.mark.anyio
async def test_a_deadline_that_has_passed_counts_when_the_loop_has_said_so() -> None:
    backend = current_backend()
    with anyio.CancelScope(deadline=-math.inf):
        assert backend.may_go_on() is not await is_cancelled()


@pytest.mark.anyio
async def test_it_is_for_the_tasks_of_its_loop_only() -> None:
    backend = current_backend()
    seen: list[bool] = []
    for run in (lambda: seen.append(backend.may_go_on()), lambda: anyio.run(in_other_loop)):

        async def in_other_loop() -> None:
            seen.append(backend.may_go_on())

        thread = threading.Thread(target=run)
        thread.start()
        await anyio.to_thread.run_sync(thread.join)
    assert seen == [False, False]


def test_tasks_that_anyio_does_not_know() -> None:
    async def main() -> list[bool]:
        backend = current_backend()
        seen: list[bool] = []

        async def plain() -> None:
            seen.append(backend.may_go_on())
            with anyio.CancelScope() as scope:  # noqa: ASYNC100
                seen.append(backend.may_go_on())
                scope.cancel()
                seen.append(backend.may_go_on())
            seen.append(backend.may_go_on())

        await asyncio.create_task(plain())
        done = asyncio.Event()
        # No task runs then.
        asyncio.get_running_loop().call_soon(lambda: seen.append(backend.may_go_on()))
        asyncio.get_running_loop().call_soon(done.set)
        await done.wait()
        return seen

    assert asyncio.run(main()) == [True, True, False, True, False]


@pytest.mark.skipif(
    "anyio_scopes.__file__.endswith('.py') is False", reason="a compiled module keeps what it has found"
)
@pytest.mark.parametrize(
    "spoil",
    [
        lambda patch: patch.setattr(anyio_scopes, "_current", {}),
        lambda patch: patch.setattr(anyio_scopes, "_current", None),
        lambda patch: patch.setattr(anyio_scopes, "_data", None),
    ],
)
def test_where_it_cannot_be_known_anyio_is_asked(spoil: Callable[[Any], object]) -> None:
    async def main() -> bool:
        with pytest.MonkeyPatch.context() as patch:
            spoil(patch)
            return current_backend().may_go_on()

    assert asyncio.run(main()) is False


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_in_a_forked_child_nothing_is_certain() -> None:
    """The task that has forked seems to run there, whatever event loop does."""

    async def main() -> list[int]:
        backend = current_backend()
        assert backend.may_go_on()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # that there are other threads, which are not used here
            child = os.fork()
        if not child:
            os._exit(backend.may_go_on())
        return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), backend.may_go_on()]  # noqa: ASYNC222 - it ends at once

    assert asyncio.run(main()) == [False, True]


@pytest.mark.anyio
async def test_what_it_rests_on_is_there() -> None:
    """Without it everything works, and each query takes longer: then there is something to look for anew."""
    context: AbstractContextManager[object] = anyio.CancelScope()
    with context:
        assert current_backend().may_go_on()


@pytest.mark.anyio
async def test_the_classes_of_scopes_may_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where an attribute was the last time is not where it is looked for when its class has been changed."""
    backend = current_backend()
    with anyio.CancelScope() as scope:  # noqa: ASYNC100
        assert backend.may_go_on()
        cls: Any = type(scope)
        if not hasattr(cls, "_cancel_called"):
            pytest.skip("its attributes are not in slots, or it is trio's")
        monkeypatch.setattr(cls, "_cancel_called", property(lambda self: True))
        assert not backend.may_go_on()
        monkeypatch.undo()
        assert backend.may_go_on()
        monkeypatch.setattr(cls, "_shield", property(lambda self: [].attribute))  # type: ignore[attr-defined]
        assert not backend.may_go_on()  # nothing is known then
        monkeypatch.undo()
        assert backend.may_go_on()


@pytest.mark.anyio
async def test_scopes_of_another_class() -> None:
    class Scope(anyio.CancelScope):
        pass

    backend = current_backend()
    with anyio.CancelScope(), Scope() as scope, anyio.CancelScope():  # noqa: ASYNC100
        for _ in range(2):
            assert backend.may_go_on()
        scope.cancel()
        assert not backend.may_go_on()
