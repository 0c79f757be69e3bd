"""FastAPI with a pool, and notifications as Server-Sent Events: what one client writes, all others see at once.

    pip install fastapi hypercorn
    python examples/web_events.py [--dsn DSN] [--backend asyncio|trio] [--port N]

    curl -N localhost:8000/events &
    curl -X POST localhost:8000/planets -H 'Content-Type: application/json' -d '{"name": "Mars", "moons": 2}'

Requests take connections of the pool. All clients of /events share one more, which listens: each has a subscription of
its own, in which the oldest events make room if the client is slow. If that connection is lost it is made again, and
clients are told that they may have missed something. Ctrl-C ends the streams first, then the server, then the pool.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, cast

import anyio
import hypercorn.asyncio
import hypercorn.trio
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from hypercorn.config import Config
from pydantic import BaseModel
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

import anyq
from anyq.cli.embedded import EmbeddedServer, ServerUnavailable
from anyq.pool import AsyncConnectionPool
from anyq.rows import dict_row

CHANNEL = "planets"


class Planet(BaseModel):
    name: str
    moons: int


class EventStream(Response):
    """A response that goes on until its client is gone, or all is to end."""

    media_type = "text/event-stream"

    def __init__(self, listener: anyq.AsyncListener, closing: anyio.Event) -> None:
        super().__init__()
        del self.headers["content-length"]
        self._listener = listener
        self._closing = closing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Not a generator: the blocks are entered and left by this task, also where it is cancelled.
        async with (
            self._listener.subscribe(CHANNEL, max_buffer_size=100, overflow="drop_oldest") as stream,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(self._end_if_gone, receive, tasks.cancel_scope)
            tasks.start_soon(self._end_at_the_end, tasks.cancel_scope)
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            # The server listens, and whatever is committed from now on is heard of.
            await self._send(send, ": listening\n\n")
            async for event in stream:
                if isinstance(event, anyq.Gap):
                    await self._send(send, f"event: gap\ndata: {event.seconds:.1f}\n\n")
                else:
                    await self._send(send, f"event: planet\ndata: {event.payload}\n\n")
        if self._closing.is_set():
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send(self, send: Send, text: str) -> None:
        await send({"type": "http.response.body", "body": text.encode(), "more_body": True})

    async def _end_if_gone(self, receive: Receive, scope: anyio.CancelScope) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        scope.cancel()

    async def _end_at_the_end(self, scope: anyio.CancelScope) -> None:
        await self._closing.wait()
        scope.cancel()


def create_app(dsn: str, closing: anyio.Event) -> FastAPI:
    """Return the application; `closing` is set when streams are to end, which would go on for ever otherwise."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None, None]:
        async with AsyncConnectionPool(dsn, min_size=2, max_size=10) as pool, anyq.listen(dsn) as listener:
            await pool.execute("CREATE TABLE IF NOT EXISTS planet (name text PRIMARY KEY, moons int NOT NULL)")
            app.state.pool, app.state.listener = pool, listener
            yield

    app = FastAPI(lifespan=lifespan)

    @app.get("/planets")
    async def planets() -> list[Planet]:
        pool: AsyncConnectionPool = app.state.pool
        async with pool.connection() as conn:
            cur = conn.cursor(row_factory=dict_row)
            await cur.execute("SELECT name, moons FROM planet ORDER BY name")
            return [Planet(**row) for row in await cur.fetchall()]

    @app.post("/planets", status_code=201)
    async def add(planet: Planet) -> Planet:
        pool: AsyncConnectionPool = app.state.pool
        # One transaction: nobody hears of a planet that is not there.
        async with pool.connection() as conn:
            await conn.execute("INSERT INTO planet VALUES (%(name)s, %(moons)s)", planet.model_dump())
            await conn.notify(CHANNEL, planet.model_dump_json())
        return planet

    @app.get("/events", response_class=EventStream)
    async def events() -> EventStream:
        return EventStream(app.state.listener, closing)

    @app.exception_handler(anyq.errors.UniqueViolation)
    async def is_there(request: Request, error: anyq.errors.UniqueViolation) -> JSONResponse:
        return JSONResponse({"detail": error.diag.message_detail}, 409)

    return app


async def end_on_signal(closing: anyio.Event) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            closing.set()
            # The next one is no longer waited for, and ends the program at once.
            return


async def main(dsn: str, backend: str, port: int) -> None:
    closing = anyio.Event()
    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    serve = hypercorn.trio.serve if backend == "trio" else hypercorn.asyncio.serve
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(end_on_signal, closing)
        await serve(cast(Any, create_app(dsn, closing)), config, shutdown_trigger=closing.wait)
    print("closed")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--dsn", help="connection string or URI; by default an embedded server is started")
    parser.add_argument("--backend", choices=("asyncio", "trio"), default="asyncio")
    parser.add_argument("--port", type=int, default=8000, help="0 for any that is free")
    arguments = parser.parse_args()
    try:
        if arguments.dsn is not None:
            anyio.run(main, arguments.dsn, arguments.backend, arguments.port, backend=arguments.backend)
        else:
            with EmbeddedServer() as server:
                anyio.run(main, server.dsn, arguments.backend, arguments.port, backend=arguments.backend)
    except ServerUnavailable as error:
        sys.exit(str(error))
