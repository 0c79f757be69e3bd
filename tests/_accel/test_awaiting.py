"""The coroutine that is over when it is awaited, in each implementation."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Coroutine
from importlib.metadata import version
from typing import Any

import anyio
import pytest

from anyq._accel import python
from tests.support.twins import COMPILED

ANYIO = tuple(map(int, version("anyio").split(".")[:2]))
DONE: dict[str, Coroutine[Any, Any, Any]] = {"python": python.DONE}
if COMPILED:
    DONE["cython"] = importlib.import_module("anyq._accel.awaiting").DONE

each = pytest.mark.parametrize("done", DONE.values(), ids=DONE)


@each
@pytest.mark.anyio
async def test_for_whoever_takes_a_coroutine(done: Coroutine[Any, Any, Any], anyio_backend_name: str) -> None:
    results = [await done, await done]
    if anyio_backend_name == "trio" or ANYIO >= (4, 14):
        # Before, it takes the coroutines of coroutine functions only, on asyncio.
        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(lambda: done)
    if anyio_backend_name == "asyncio":
        results += [await asyncio.create_task(done), *await asyncio.gather(done, asyncio.wait_for(done, 20))]
        task = asyncio.create_task(done)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        results.append(await done)
    assert not any(results)


@each
def test_by_hand(done: Coroutine[Any, Any, Any]) -> None:
    assert isinstance(done, Coroutine)
    for _ in range(2):
        with pytest.raises(StopIteration) as caught:
            done.send(None)
        assert caught.value.value is None
        assert list(done.__await__()) == []
        done.close()
    for thrown in (KeyError, KeyError("x")):
        with pytest.raises(KeyError):
            done.throw(thrown)
