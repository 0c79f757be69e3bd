"""What a `with` block closes: however it ends, and once is enough."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import anyq
from anyq.sync.closing import Closing

MADE: dict[str, Callable[[anyq.Connection], Any]] = {
    "Cursor": lambda conn: conn.cursor(),
    "RowStream": lambda conn: conn.cursor().stream("SELECT 1"),
    "Notifies": lambda conn: conn.notifies(timeout=0),
    "NotificationStream": lambda conn: conn.listen("a").__enter__(),
}


class Noted(Closing):
    def __init__(self) -> None:
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


def test_the_block_closes() -> None:
    with Noted() as one:
        assert one.closed == 0
    assert one.closed == 1
    with pytest.raises(ZeroDivisionError), one:
        raise ZeroDivisionError
    assert one.closed == 2


@pytest.mark.parametrize("name", MADE)
def test_twice_is_once(name: str, conn: anyq.Connection) -> None:
    conn.autocommit = True
    made = MADE[name](conn)
    assert type(made).__name__ == name and isinstance(made, Closing)
    with made as entered:
        assert entered is made
    made.close()
    assert conn.execute("SELECT 1").fetchone() == (1,)
