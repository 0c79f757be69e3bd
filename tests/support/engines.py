"""Engines of SQLAlchemy on the tests' server: the same synchronous function runs on each kind of them.

What SQLAlchemy does for `AsyncEngine` is its synchronous code in a greenlet, so that a function that is given an
`Engine` can be run in one as well, and nothing need be written twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import URL, create_engine
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.util import greenlet_spawn

from anyq.conninfo import conninfo_to_dict

T = TypeVar("T")

WAYS = ["sync", "asyncio", "uvloop"]


def url_of(dsn: str, driver: str = "anyq") -> URL:
    """Return the URL of a connection string."""
    options: dict[str, Any] = dict(conninfo_to_dict(dsn))
    url: URL = URL.create(
        f"postgresql+{driver}",
        username=options.pop("user", None),
        password=options.pop("password", None),
        database=options.pop("dbname", None),
        query={name: str(value) for name, value in options.items()},
    )
    return url


class Runner:
    """Runs functions on engines.

    :param way: "sync", or the event loop.
    """

    def __init__(self, way: str, dsn: str) -> None:
        self.way = way
        self.dsn = dsn
        self.url = url_of(dsn)

    @property
    def is_async(self) -> bool:
        return self.way != "sync"

    def __call__(self, function: Callable[[Any], T], url: object = None, **options: Any) -> T:
        """Return what a function returns that is given an `Engine`, which is disposed of afterwards."""
        url = self.url if url is None else url
        if not self.is_async:
            engine = create_engine(url, **options)
            try:
                return function(engine)
            finally:
                engine.dispose()

        async def main() -> T:
            engine: AsyncEngine = create_async_engine(url, **options)
            try:
                result: T = await greenlet_spawn(function, engine.sync_engine)
                return result
            finally:
                await engine.dispose()

        returned: T = run_in(self.way, main)
        return returned

    def connection(self, function: Callable[[Any], T], **options: Any) -> T:
        """Return what a function returns that is given a `Connection`, in a transaction that is rolled back."""

        def main(engine: Any) -> T:
            with engine.connect() as conn:
                return function(conn)

        return self(main, **options)


def run_in(way: str, main: Callable[[], Any]) -> Any:
    """Run a coroutine function in an event loop of its own."""
    if way == "uvloop":
        import uvloop

        loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    else:
        loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(main())
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
