"""Sending notifications past what is tested, and taking them from it."""

from __future__ import annotations

import anyio

import anyq
from anyq import AsyncConnection
from tests.support.activity import PATIENCE
from tests.support.queries import one


async def listened_to(conn: AsyncConnection) -> set[str]:
    """Return the channels that the server says the session listens to."""
    return {row[0] for row in await (await conn.execute("SELECT pg_listening_channels()")).fetchall()}


async def send(conn: AsyncConnection, channel: str, *payloads: object) -> None:
    """Send notifications, all in one transaction."""
    await conn.execute("SELECT pg_notify(%s, x) FROM unnest(%s::text[]) AS x", [channel, [str(p) for p in payloads]])


async def receive(stream: anyq.NotificationStream, count: int = 1) -> list[str]:
    """Return the payloads of the next notifications."""
    with anyio.fail_after(PATIENCE):
        return [(await stream.receive()).payload for _ in range(count)]


async def terminate(conn: AsyncConnection, by: AsyncConnection) -> None:
    """Have the server end a session, as an administrator does."""
    assert await one(by, "SELECT pg_terminate_backend(%s)", conn.info.backend_pid)


async def is_heard(conn: AsyncConnection, channel: str) -> bool:
    """Return whether the session listens to a channel, for a connection that is not in autocommit mode."""
    heard = channel in await listened_to(conn)
    await conn.rollback()
    return heard
