"""One query that a scripted server gets, and its reply; several tasks that ask in an order that is known."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio

from anyq import AsyncConnection, errors
from anyq.protocol import messages as be
from anyq.protocol.messages import FieldDescription
from tests.support import frontend_messages as fm
from tests.support.fakeserver import READY, FakeClient

PATIENCE = 20.0
"""Seconds after which a test has failed; no operation is supposed to take them."""

CANCELED = be.ErrorResponse({"S": "ERROR", "V": "ERROR", "C": "57014", "M": "canceling statement due to user request"})


def row(value: str) -> list[be.BackendMessage]:
    """The reply to a query that gives one text."""
    fields = (FieldDescription("value", 0, 0, 25, -1, -1, 0),)
    return [be.RowDescription(fields), be.DataRow((value.encode(),)), be.CommandComplete("SELECT 1"), READY]


def connect(server: Any, **kwargs: Any) -> Any:
    return AsyncConnection.connect(server.conninfo, autocommit=True, **kwargs)


async def ask(conn: AsyncConnection, query: str, replies: dict[str, Any] | None = None) -> Any:
    """Return the only value of a query's result; file it, or the error, under the query, if `replies` are given."""
    try:
        ((answer,),) = await (await conn.execute(query)).fetchall()
    except errors.Error as error:
        if replies is None:
            raise
        answer = error
    if replies is not None:
        replies[query] = answer
    return answer


def ask_in_order(group: Any, conn: AsyncConnection, queries: list[str], replies: dict[str, Any]) -> None:
    """Have a task for each query ask it, all in one turn and in this order: trio starts tasks in any order."""
    turns = [anyio.Event() for _ in queries]

    async def client(number: int) -> None:
        if number:
            await turns[number].wait()
        # This task goes on to send its query before the next one runs.
        if number + 1 < len(turns):
            turns[number + 1].set()
        await ask(conn, queries[number], replies)

    for number in range(len(queries)):
        group.start_soon(client, number)


def cancel_script(event: anyio.Event) -> Callable[[FakeClient], Awaitable[None]]:
    async def cancel(client: FakeClient) -> None:
        await client.expect(fm.CancelRequest, pid=4242, secret=b"\1\2\3\4")
        event.set()

    return cancel
