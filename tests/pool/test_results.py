"""Cursors that have a result and execute nothing more, asynchronous and synchronous."""

from __future__ import annotations

import threading
from functools import partial
from typing import Any

import pytest

import anyq
from anyq import AsyncClientCursor, AsyncCursor, ClientCursor, Cursor
from anyq.errors import InterfaceError, ProgrammingError
from anyq.pool import AsyncConnectionPool, ConnectionPool
from anyq.pool.results import async_result_class, result_class
from anyq.rows import dict_row


class OwnCursor(AsyncCursor[Any]):
    """A user's."""


@pytest.mark.parametrize("factory", [AsyncCursor, AsyncClientCursor, OwnCursor])
def test_the_class_is_one_of_the_factory(factory: Any) -> None:
    assert issubclass(async_result_class(factory), factory)
    assert async_result_class(factory) is async_result_class(factory)
    assert async_result_class(factory).__qualname__ == "AsyncResult"


def test_of_a_function_it_is_the_usual_one() -> None:
    def factory(*args: Any, **kwargs: Any) -> AsyncCursor[Any]:
        return OwnCursor(*args, **kwargs)

    assert issubclass(async_result_class(factory), AsyncCursor)
    assert issubclass(result_class(factory), Cursor)


@pytest.mark.anyio
async def test_a_users_class_makes_the_result(anyio_backend: object, dsn: str) -> None:
    async with AsyncConnectionPool(dsn, min_size=1, kwargs={"cursor_factory": AsyncClientCursor}) as pool:
        cursor = await pool.execute("SELECT %s, pg_typeof(%s)::text", [1, "x"])
        assert isinstance(cursor, AsyncClientCursor)
        assert await cursor.fetchall() == [(1, "unknown")]


@pytest.fixture(scope="module")
def pool(dsn: str) -> Any:
    with ConnectionPool(dsn, min_size=1, max_size=2, kwargs={"cursor_factory": ClientCursor}) as pool:
        yield pool


def test_a_thread_gets_rows(pool: ConnectionPool) -> None:
    cursor = pool.execute("SELECT %s AS a, generate_series(1, 2) AS b", [1], row_factory=dict_row)
    assert isinstance(cursor, ClientCursor)
    assert cursor.fetchall() == [{"a": 1, "b": 1}, {"a": 1, "b": 2}]
    assert [row[0] for row in pool.execute("SELECT generate_series(1, 3)")] == [1, 2, 3]
    with pytest.raises(ProgrammingError, match="settings of a session"):
        pool.execute("SET x = 1")
    with pytest.raises(anyq.errors.DivisionByZero):
        pool.execute("SELECT 1 / 0")


def test_a_threads_result_executes_nothing_more(pool: ConnectionPool) -> None:
    cursor = pool.execute("SELECT 1")
    for refusal in (
        partial(cursor.execute, "SELECT 1"),
        partial(cursor.executemany, "SELECT %s", [[1]]),
        partial(cursor.stream, "SELECT 1"),
        partial(cursor.copy, "COPY x TO STDOUT"),
    ):
        with pytest.raises(ProgrammingError, match="call pool.execute\\(\\) again"):
            refusal()
    assert cursor.fetchone() == (1,)
    cursor.close()
    with pytest.raises(InterfaceError, match="closed"):
        cursor.fetchone()


def test_threads_share_connections(pool: ConnectionPool) -> None:
    got: list[Any] = []

    def work(number: int) -> None:
        for _ in range(10):
            row = pool.execute("SELECT %s::int4", [number]).fetchone()
            got.append(row == (number,))

    threads = [threading.Thread(target=work, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [True] * 80
