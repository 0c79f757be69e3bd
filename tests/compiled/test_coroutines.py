"""What event loops and task groups take for coroutines: the compiled ones are not the interpreter's own."""

from __future__ import annotations

import asyncio
import gc
import inspect
import sys
from collections.abc import Coroutine

import anyio
import pytest

from anyq import AsyncConnection
from anyq.errors import DivisionByZero
from tests.support.named_cursors import auto

__all__ = ["auto"]

pytestmark = pytest.mark.anyio


async def test_they_are_started_by_task_groups(auto: AsyncConnection) -> None:
    cursor = auto.cursor()
    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            group.start_soon(auto.execute, "SELECT 1")
            group.start_soon(cursor.execute, "SELECT 2")
    assert await cursor.fetchone() == (2,)


async def test_they_are_made_tasks_of_asyncios(auto: AsyncConnection, anyio_backend_name: str) -> None:
    if anyio_backend_name != "asyncio":
        pytest.skip("it is about asyncio's own functions")
    one = await asyncio.create_task(auto.execute("SELECT 1"))
    two = await asyncio.wait_for(auto.execute("SELECT 2"), 10)
    three, four = await asyncio.gather(auto.execute("SELECT 3"), auto.execute("SELECT 4"))
    assert [await cursor.fetchone() for cursor in (one, two, three, four)] == [(1,), (2,), (3,), (4,)]


async def test_what_they_are(auto: AsyncConnection) -> None:
    coroutine = auto.execute("SELECT 1")
    assert isinstance(coroutine, Coroutine)
    assert inspect.isawaitable(coroutine)
    assert asyncio.iscoroutine(coroutine)
    assert inspect.iscoroutinefunction(auto.execute)
    await coroutine


async def test_a_traceback_has_the_lines_in_python(auto: AsyncConnection) -> None:
    with pytest.raises(DivisionByZero) as error:
        await auto.execute("SELECT 1 / %s", (0,))
    lines = [(str(entry.path).rpartition("anyq")[2], entry.lineno) for entry in error.traceback]
    assert any(path.endswith("connection.py") and number > 0 for path, number in lines)
    assert any(path.endswith("cursor.py") and number > 0 for path, number in lines)


async def test_nothing_is_left_of_a_query(auto: AsyncConnection) -> None:
    """Neither references to what it was given, nor objects that the collector has to find."""
    query, parameters = "SELECT %s::text", ["x" * 100]
    for _ in range(20):
        await (await auto.execute(query, parameters)).fetchone()
    gc.collect()
    references, objects = sys.getrefcount(parameters[0]), len(gc.get_objects())
    gc.disable()
    try:
        for _ in range(500):
            await (await auto.execute(query, parameters)).fetchone()
        # Five hundred queries, and not even ten of what each has had.
        assert sys.getrefcount(parameters[0]) - references < 10
        assert len(gc.get_objects()) - objects < 100
    finally:
        gc.enable()
