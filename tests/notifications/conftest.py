"""Fixtures of tests of notifications."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from anyq import AsyncConnection


@pytest.fixture
async def auto(anyio_backend: object, dsn: str) -> AsyncIterator[AsyncConnection]:
    """A connection in autocommit mode, to listen on."""
    async with AsyncConnection.connect(dsn, autocommit=True) as connection:
        yield connection


@pytest.fixture
async def other(anyio_backend: object, dsn: str) -> AsyncIterator[AsyncConnection]:
    """A second one, to send notifications by."""
    async with AsyncConnection.connect(dsn, autocommit=True) as connection:
        yield connection
