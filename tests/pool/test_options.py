"""What a pool is made with: numbers that cannot be are refused where they are given."""

from __future__ import annotations

from typing import Any, cast

import pytest

from anyq import AsyncConnection, Connection
from anyq.pool import AsyncConnectionPool, ConnectionPool
from anyq.pool.options import Hooks, kept_sizes, null_sizes


@pytest.mark.parametrize(
    ("given", "sizes"), [((4, None), (4, 4)), ((0, 1), (0, 1)), ((2, 5), (2, 5)), ((3, 3), (3, 3))]
)
def test_sizes(given: tuple[int, int | None], sizes: tuple[int, int]) -> None:
    assert kept_sizes(*given) == sizes


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((-1, 1), "min_size must be 0 or more, not -1"),
        ((2, 1), r"max_size \(1\) must be min_size \(2\) or more"),
        ((0, 0), "max_size must be given if min_size is 0"),
        ((0, None), "max_size must be given if min_size is 0"),
    ],
)
def test_sizes_that_cannot_be(given: tuple[int, int | None], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kept_sizes(*given)


@pytest.mark.parametrize(("most", "expected"), [(None, 0), (0, 0), (3, 3)])
def test_sizes_of_a_null_pool(most: int | None, expected: int) -> None:
    assert null_sizes(0, most) == (0, expected)


@pytest.mark.parametrize(("given", "message"), [((1, 2), "min_size must be 0, not 1"), ((0, -1), "max_size must be 0")])
def test_sizes_that_a_null_pool_cannot_have(given: tuple[int, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        null_sizes(*given)


@pytest.mark.anyio
async def test_functions_of_both_kinds() -> None:
    called = []

    async def later(argument: object) -> None:
        called.append(("later", argument))

    async def value() -> str:
        return "b"

    hooks = Hooks(None)
    await hooks.call(lambda argument: called.append(("now", argument)), 1)
    await hooks.call(later, 2)
    assert called == [("now", 1), ("later", 2)]
    assert [await hooks.value(given) for given in ("a", value, lambda: "c", None)] == ["a", "b", "c", None]


@pytest.mark.parametrize(
    ("given", "message"),
    [((1.5, 2), "min_size must be an int, not 1.5"), ((1, "3"), "max_size must be an int, not '3'")],
)
def test_sizes_that_are_no_ints(given: tuple[Any, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        kept_sizes(*given)
    with pytest.raises(TypeError, match=message):
        null_sizes(given[0] if given[0] != 1 else 0, given[1])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"conninfo": None}, "conninfo must be a str, or a function that returns it, not NoneType"),
        ({"kwargs": [("autocommit", True)]}, "kwargs must be a dict"),
        ({"configure": 3}, "configure must be a function"),
        ({"check": True}, "check must be a function"),
        ({"reset": "DISCARD ALL"}, "reset must be a function"),
        ({"reconnect_failed": "log"}, "reconnect_failed must be a function"),
        ({"connection_class": int}, "connection_class of this pool must be {}Connection"),
        ({"max_lifetime": "1h"}, "max_lifetime must be a number"),
        ({"num_workers": "3"}, "num_workers must be an int, not '3'"),
        ({"max_waiting": 1.5}, "max_waiting must be an int, not 1.5"),
        ({"name": 3}, "name must be a str, not 3"),
        ({"max_idle": None}, "max_idle must be a number, not None"),
    ],
)
def test_what_a_pool_cannot_be_made_with(wrong: dict[str, Any], message: str) -> None:
    for kind, prefix in ((AsyncConnectionPool, "Async"), (ConnectionPool, "")):
        with pytest.raises(TypeError, match=message.format(prefix)):
            kind(**{"open": False, **wrong})
    for kind, other in ((AsyncConnectionPool, Connection), (ConnectionPool, AsyncConnection)):
        with pytest.raises(TypeError, match="connection_class of this pool must be"):
            kind(open=False, connection_class=cast(Any, other))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"timeout": -1}, "timeout must be 0 or more, not -1"),
        ({"max_lifetime": float("nan")}, "max_lifetime must be 0 or more, not nan"),
        ({"max_waiting": -1}, "max_waiting must be 0 or more, not -1"),
        ({"num_workers": 0}, "num_workers must be 1 or more, not 0"),
    ],
)
def test_numbers_that_cannot_be(wrong: dict[str, Any], message: str) -> None:
    for kind in (AsyncConnectionPool, ConnectionPool):
        with pytest.raises(ValueError, match=message):
            kind(**{"open": False, **wrong})


@pytest.mark.anyio
async def test_checks_of_what_is_no_connection() -> None:
    for wrong in (3, None, AsyncConnection):
        with pytest.raises(TypeError, match=r"check_connection\(\) takes a connection of AsyncConnection, not"):
            await AsyncConnectionPool.check_connection(cast(Any, wrong))
        with pytest.raises(TypeError, match=r"check_connection\(\) takes a connection of Connection, not"):
            ConnectionPool.check_connection(cast(Any, wrong))


def test_a_class_that_connects_by_itself() -> None:
    """As one that gets a password before: it would not be called, and a connection fail for no reason that is told."""

    class Own(AsyncConnection[Any]):
        @classmethod
        def connect(cls, *args: Any, **kwargs: Any) -> Any:
            raise NotImplementedError

    class OwnSync(Connection[Any]):
        @classmethod
        def connect(cls, *args: Any, **kwargs: Any) -> Any:
            raise NotImplementedError

    class Another(Connection[Any]):
        pass

    with pytest.raises(TypeError, match=r"connect\(\) of OwnSync would not be called, .* for conninfo= and kwargs="):
        ConnectionPool(open=False, connection_class=OwnSync)
    AsyncConnectionPool(connection_class=Own)
    ConnectionPool(open=False, connection_class=Another)
