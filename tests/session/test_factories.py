"""What cannot make cursors is refused where it is set, by words that say why."""

from __future__ import annotations

from typing import Any

import pytest

import anyq
from anyq import AsyncCursor, AsyncServerCursor, Cursor, ServerCursor
from anyq.errors import ProgrammingError
from anyq.session.factories import ChecksFactories, check_cursor_factory


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
