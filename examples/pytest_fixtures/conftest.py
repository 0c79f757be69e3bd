"""Fixtures for the tests of a program that uses anyq: one server, one schema, and a transaction for each test.

The server is started once for the whole run, or is the one that DATABASE_URL names. The tables are made once. Each test
gets a connection in a transaction that is rolled back, so no test sees what another has written, and nothing has to be
deleted. There is one for synchronous tests, and one for asynchronous ones, which run on asyncio and trio by the pytest
plugin that comes with anyio.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator

import pytest

import anyq
from anyq.cli.embedded import EmbeddedServer

TABLES = """
CREATE SCHEMA shop;
CREATE TABLE shop.stock (item text PRIMARY KEY, pieces int NOT NULL CHECK (pieces >= 0));
"""


@pytest.fixture(scope="session")
def dsn() -> Iterator[str]:
    """The connection string of a database with the tables in it."""
    if url := os.environ.get("DATABASE_URL"):
        yield from with_tables(url)
    else:
        with EmbeddedServer() as server:
            yield from with_tables(server.dsn)


def with_tables(url: str) -> Iterator[str]:
    with anyq.connect(url, autocommit=True) as conn:
        conn.execute(TABLES)
        yield url
        conn.execute("DROP SCHEMA shop CASCADE")


@pytest.fixture
def conn(dsn: str) -> Iterator[anyq.Connection]:
    """A connection for a synchronous test, whose changes are rolled back."""
    with anyq.connect(dsn) as connection, connection.transaction(force_rollback=True):
        yield connection


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """The event loops that asynchronous tests run on. A program that runs on one of them names that one."""
    backend: str = request.param
    return backend


@pytest.fixture
async def async_conn(dsn: str, anyio_backend: str) -> AsyncIterator[anyq.AsyncConnection]:
    """A connection for an asynchronous test, whose changes are rolled back."""
    async with anyq.AsyncConnection.connect(dsn) as connection, connection.transaction(force_rollback=True):
        yield connection
