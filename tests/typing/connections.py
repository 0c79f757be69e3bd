"""The types that connecting gives."""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from typing_extensions import assert_type

import anyq
from anyq import AsyncConnecting, AsyncConnection, AsyncCursor, AsyncPipeline, AsyncTransaction
from anyq.pq import PipelineStatus
from anyq.rows import DictRow, TupleRow, class_row, dict_row, scalar_row, tuple_row


@dataclass
class Person:
    name: str
    age: int


async def by_default() -> None:
    assert_type(anyq.AsyncConnection.connect(), AsyncConnecting[AsyncConnection[TupleRow]])
    assert_type(await anyq.AsyncConnection.connect("dbname=test"), AsyncConnection[TupleRow])
    assert_type(await anyq.AsyncConnection.connect(host="localhost", port=5432, row_factory=None), AsyncConnection)
    async with anyq.AsyncConnection.connect("dbname=test", autocommit=True, prepare_threshold=None) as conn:
        assert_type(conn, AsyncConnection[tuple[Any, ...]])
        assert_type(conn.cursor(), AsyncCursor[tuple[Any, ...], AsyncConnection])
    async with await anyq.AsyncConnection.connect("dbname=test", connect_timeout=1.5) as conn:
        assert_type(conn, AsyncConnection[TupleRow])


async def with_a_row_factory() -> None:
    assert_type(await AsyncConnection.connect(row_factory=tuple_row), AsyncConnection[TupleRow])
    assert_type(await AsyncConnection.connect(row_factory=dict_row), AsyncConnection[DictRow])
    assert_type(await AsyncConnection.connect(row_factory=scalar_row), AsyncConnection[Any])
    assert_type(await AsyncConnection.connect("", row_factory=class_row(Person)), AsyncConnection[Person])
    async with AsyncConnection.connect(row_factory=class_row(Person)) as people:
        assert_type(people, AsyncConnection[Person])
        assert_type(people.cursor(), AsyncCursor[Person, AsyncConnection[Person]])
        assert_type(await people.execute("SELECT * FROM people"), AsyncCursor[Person, AsyncConnection[Person]])
        assert_type(await (await people.execute("SELECT * FROM people")).fetchone(), Person | None)
        assert_type(people.cursor(row_factory=dict_row), AsyncCursor[DictRow, AsyncConnection[Person]])
    async with await AsyncConnection.connect(row_factory=dict_row) as dicts:
        assert_type(await (await dicts.execute("SELECT 1 AS a")).fetchall(), list[dict[str, Any]])


async def annotated(plain: AsyncConnection, dicts: AsyncConnection[DictRow], anything: AsyncConnection[Any]) -> None:
    assert_type(await (await plain.execute("SELECT 1")).fetchone(), tuple[Any, ...] | None)
    assert_type(await (await dicts.execute("SELECT 1")).fetchone(), dict[str, Any] | None)
    wanted: AsyncConnection[DictRow] = await AsyncConnection.connect(row_factory=dict_row)
    assert_type(wanted.row_factory(anything.cursor())([1]), DictRow)
    await AsyncConnection.connect(autocommit="yes")  # type: ignore[arg-type]
    await AsyncConnection.connect(row_factory=Person)  # type: ignore[arg-type]


async def pipelines(plain: AsyncConnection) -> None:
    assert_type(plain.pipeline(), AsyncPipeline[AsyncConnection])
    async with plain.pipeline() as pipeline:
        assert_type(pipeline, AsyncPipeline[AsyncConnection])
        assert_type(pipeline.status, PipelineStatus)
        assert_type(await pipeline.sync(), None)
        assert_type(await plain.execute("SELECT 1"), AsyncCursor[TupleRow, AsyncConnection])
    assert_type(AsyncPipeline.is_supported(), bool)
    assert_type(plain.info.pipeline_status, PipelineStatus)


async def in_two_phases(conn: AsyncConnection, sync_conn: anyq.Connection) -> None:
    xid = conn.xid(1, "global", "branch")
    assert_type(xid, anyq.Xid)
    assert_type(tuple(xid), tuple[int | str | None, ...])
    assert_type(xid.gtrid, str)
    await conn.tpc_begin(xid)
    await conn.tpc_commit("text")
    await conn.tpc_begin(b"bytes")  # type: ignore[arg-type]
    assert_type(await conn.tpc_recover(), list[anyq.Xid])
    assert_type(sync_conn.tpc_recover(), list[anyq.Xid])


async def what_is_known(conn: AsyncConnection, sync_conn: anyq.Connection, parameters: anyq.abc.ConnMapping) -> None:
    assert_type(conn.info.summary(), str)
    assert_type(conn.info.get_parameters(), dict[str, str])
    assert_type(conn.transaction().status, AsyncTransaction.Status)
    assert_type(sync_conn.transaction().status, anyq.Transaction.Status)
    assert_type(parameters["port"], anyq.abc.ConnParam)
