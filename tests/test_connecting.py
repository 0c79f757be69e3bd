"""What connect() returns, awaited, entered or forgotten."""

from __future__ import annotations

import copy
import gc
import warnings
from typing import Any

import pytest

import anyq
from anyq import AsyncConnection

pytestmark = pytest.mark.anyio


async def test_await_it_or_enter_it(dsn: str) -> None:
    conn = await AsyncConnection.connect(dsn)
    assert isinstance(conn, AsyncConnection)
    await conn.close()
    async with AsyncConnection.connect(dsn) as conn:
        assert isinstance(conn, AsyncConnection)
    assert conn.closed


async def test_awaited_and_then_entered(dsn: str) -> None:
    async with await AsyncConnection.connect(dsn) as conn:
        assert isinstance(conn, AsyncConnection)
    assert conn.closed


@pytest.mark.parametrize("name", ["execute", "cursor", "transaction", "close", "info", "no_such_thing"])
async def test_used_as_a_connection(name: str, dsn: str) -> None:
    conn: Any = AsyncConnection.connect(dsn)
    with pytest.raises(AttributeError, match=rf"no attribute '{name}': connect\(\) is to be awaited") as caught:
        getattr(conn, name)
    assert caught.value.name == name
    assert not hasattr(conn, name)
    # It is as good as before.
    await (await conn).close()


async def test_given_to_what_needs_a_connection(dsn: str) -> None:
    conn: Any = AsyncConnection.connect(dsn)
    for use in (
        lambda: anyq.AsyncCursor(conn),
        lambda: anyq.adapt.AdaptersMap(conn.adapters),
        lambda: anyq.sync.Connection.from_async(conn, portal=None),  # type: ignore[arg-type]
    ):
        with pytest.raises((AttributeError, anyq.InterfaceError), match=r"to be awaited|portal"):
            use()
    await (await conn).close()


async def test_entered_without_async(dsn: str) -> None:
    conn: Any = AsyncConnection.connect(dsn)
    with pytest.raises(TypeError, match=r"async with connect\(...\) as conn"), conn:
        pass
    await (await conn).close()


@pytest.mark.parametrize("given", ["", "host=hunter2 password=hunter2"])
async def test_never_awaited(given: str) -> None:
    with pytest.warns(RuntimeWarning, match=r"connect\(\) was called and never awaited: write conn = await") as caught:
        AsyncConnection.connect(given)
        gc.collect()
    assert "hunter2" not in str(caught[0].message)


async def test_awaited_in_vain(dsn: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        connecting = AsyncConnection.connect(dsn, no_such_keyword=1)
        with pytest.raises(anyq.ProgrammingError):
            await connecting
        del connecting
        gc.collect()


async def test_repr_and_copies(dsn: str) -> None:
    connecting = AsyncConnection.connect(dsn, password="hunter2")
    assert "await connect(...)" in repr(connecting)
    assert "hunter2" not in repr(connecting)
    same = copy.copy(connecting)
    for each in (connecting, same):
        await (await each).close()
