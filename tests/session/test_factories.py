"""What cannot make cursors or rows is refused where it is set, by words that say why."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import pytest

import anyq
from anyq import AsyncClientCursor, AsyncConnection, AsyncCursor, AsyncServerCursor, Cursor, ServerCursor, rows
from anyq import errors as e
from anyq.errors import ProgrammingError
from anyq.session.factories import ChecksFactories, check_cursor_factory

pytestmark = [pytest.mark.anyio, pytest.mark.any_loop]


class Mine(AsyncCursor[Any]):
    pass


@pytest.mark.parametrize(
    ("factory", "wanted"),
    [
        (AsyncCursor, AsyncCursor),
        (Mine, AsyncCursor),
        (lambda connection, **options: None, AsyncCursor),
        (AsyncServerCursor, AsyncServerCursor),
        (anyq.AsyncRawServerCursor, AsyncServerCursor),
        (ServerCursor, ServerCursor),
    ],
)
def test_what_can(factory: Any, wanted: Any) -> None:
    check_cursor_factory(factory, wanted)


@pytest.mark.parametrize(
    ("factory", "wanted", "message"),
    [
        (Cursor, AsyncCursor, "not Cursor, which is for synchronous connections"),
        (Mine, Cursor, "not Mine, which is for asynchronous connections"),
        (ServerCursor, Cursor, "not ServerCursor, which is for synchronous connections and cursors with a name"),
        (AsyncCursor, AsyncServerCursor, "not AsyncCursor, which is for asynchronous .* cursors without a name"),
        (int, AsyncCursor, "not int$"),
        (5, AsyncServerCursor, "not an object of int"),
    ],
)
def test_what_cannot(factory: Any, wanted: Any, message: str) -> None:
    with pytest.raises(ProgrammingError, match=f"this must be {wanted.__name__} or a subclass.*{message}"):
        check_cursor_factory(factory, wanted, "this")


def test_attributes_are_looked_at_when_they_are_set() -> None:
    def check(value: str) -> None:
        int(value)

    class Owner(ChecksFactories):
        factory_checks = {"size": check}
        size: Any

    owner = Owner()
    owner.size = "5"
    with pytest.raises(ValueError, match="invalid literal"):
        owner.size = "x"
    assert owner.size == "5"


# -- set on a connection


class _NoRows:
    def __init__(self, cursor: object) -> None:
        pass


async def _coroutine_row(cursor: object) -> Any:
    return tuple


WRONG_ROW_FACTORIES: list[Any] = [
    *(AsyncCursor, anyq.sync.Cursor, _coroutine_row, _NoRows, dict, tuple, "dict_row", 7),
    *(rows.class_row, rows.args_row, rows.kwargs_row),
]


@pytest.mark.parametrize("factory", WRONG_ROW_FACTORIES)
async def test_wrong_row_factories(factory: Any, dsn: str, conn: AsyncConnection) -> None:
    """They are refused before anything is sent, and what was set before stays."""
    with pytest.raises(e.ProgrammingError, match="wrong row_factory"):
        await AsyncConnection.connect("host=/nowhere", row_factory=factory)
    with pytest.raises(e.ProgrammingError, match="wrong row_factory"):
        conn.row_factory = factory
    assert conn.row_factory is rows.tuple_row
    with pytest.raises(e.ProgrammingError, match="wrong row_factory"):
        conn.cursor(row_factory=factory)
    with pytest.raises(e.ProgrammingError, match="wrong row_factory"):
        AsyncClientCursor(conn, row_factory=factory)
    cursor = conn.cursor()
    with pytest.raises(e.ProgrammingError, match="wrong row_factory"):
        cursor.row_factory = factory
    assert cursor.row_factory is rows.tuple_row


class _Callable:
    def __call__(self, cursor: object) -> Any:
        return list


class _ListMaker:
    def __init__(self, cursor: object) -> None:
        pass

    def __call__(self, values: Sequence[Any]) -> list[Any]:
        return list(values)


@pytest.mark.parametrize(
    "factory", [lambda cursor: list, _Callable(), _Callable().__call__, _ListMaker, functools.partial(lambda c: list)]
)
async def test_row_factories_of_all_kinds(factory: Any, dsn: str) -> None:
    async with AsyncConnection.connect(dsn, row_factory=factory) as conn:
        assert await (await conn.execute("SELECT 1")).fetchall() == [[1]]
        assert await (await conn.cursor(row_factory=factory).execute("SELECT 1")).fetchall() == [[1]]


WRONG_CURSOR_FACTORIES: list[Any] = [anyq.sync.Cursor, anyq.sync.RawCursor, dict, object, "AsyncCursor", rows]


@pytest.mark.parametrize("factory", WRONG_CURSOR_FACTORIES)
async def test_wrong_cursor_factories(factory: Any, conn: AsyncConnection) -> None:
    with pytest.raises(e.ProgrammingError, match="cursor_factory must be AsyncCursor") as caught:
        await AsyncConnection.connect("host=/nowhere", cursor_factory=factory)
    assert ("for synchronous connections" in str(caught.value)) == (factory in WRONG_CURSOR_FACTORIES[:2])
    with pytest.raises(e.ProgrammingError, match="cursor_factory must be AsyncCursor"):
        conn.cursor_factory = factory
    assert conn.cursor_factory is AsyncCursor


async def test_cursor_factories_of_all_kinds(conn: AsyncConnection) -> None:
    class Mine(AsyncClientCursor[Any]):
        pass

    makers: list[Any] = [Mine, lambda conn, **options: Mine(conn, **options), functools.partial(Mine)]
    for maker in makers:
        conn.cursor_factory = maker
        assert type(conn.cursor()) is Mine


async def test_a_cursor_of_something_else() -> None:
    class Other:
        row_factory = rows.tuple_row

    other: Any = Other()
    with pytest.raises(e.InterfaceError, match="AsyncCursor needs an AsyncConnection, not a .*Other: use its cursor"):
        AsyncCursor(other)
