"""LateHolder: what a cursor shows before its result is there, and finds when it is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from anyq import AsyncConnection
from anyq import errors as e
from anyq.session.late import LateHolder
from anyq.session.pipeline import PipelineQueue

pytestmark = pytest.mark.anyio


@pytest.fixture
async def queued(conn: AsyncConnection) -> AsyncIterator[tuple[PipelineQueue, LateHolder[Any]]]:
    """A cursor whose statement is queued."""
    async with conn.pipeline() as pipeline:
        cursor = await conn.execute("SELECT 1 AS a")
        assert pipeline.queue is not None
        yield pipeline.queue, cursor


def seen(holder: LateHolder[Any]) -> list[Any]:
    description = holder.description
    names = None if description is None else [column.name for column in description]
    return [holder.rowcount, holder.rownumber, holder.statusmessage, names]


@pytest.mark.parametrize("first", range(4))
async def test_whatever_is_asked_first_finds_the_result(
    queued: tuple[PipelineQueue, LateHolder[Any]], first: int
) -> None:
    queue, holder = queued
    assert seen(holder) == [-1, None, None, None]
    assert holder.late is not None
    await queue.flush()
    getattr(holder, ("rowcount", "rownumber", "statusmessage", "description")[first])
    assert holder.late is None
    assert seen(holder) == [1, 0, "SELECT 1", ["a"]]


async def test_a_failure_is_raised_for_as_long_as_the_statement_is_the_last_one(conn: AsyncConnection) -> None:
    async with conn.pipeline() as pipeline:
        cursor = await conn.execute("SELECT 1 / 0")
        for _ in range(3):
            with pytest.raises(e.DivisionByZero) as error:
                await cursor.arrive()
            assert len(error.traceback) < 20
        assert seen(cursor) == [-1, None, None, None]
        await pipeline.sync()
        await conn.rollback()
        await cursor.execute("SELECT 2")
        await cursor.arrive()
        assert await cursor.fetchone() == (2,)
    await cursor.arrive()  # there is nothing to wait for


async def test_what_is_executed_next_is_what_counts(queued: tuple[PipelineQueue, Any]) -> None:
    queue, cursor = queued
    await cursor.execute("SELECT 2 AS b")
    await queue.flush()
    assert seen(cursor)[3] == ["b"]
    assert await cursor.fetchall() == [(2,)]
