"""What can be done with results that have arrived, without waiting for anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from anyq.adapt.typeinfo import TypesRegistry
from anyq.errors import InterfaceError, ProgrammingError
from anyq.postgres import types
from anyq.protocol.messages import FieldDescription
from anyq.protocol.request import Result
from anyq.rows import AsyncRowFactory, RowMaker, scalar_row, tuple_row
from anyq.statements.results import ResultHolder

FIELDS = (FieldDescription("n", 0, 0, types["int4"].oid, 4, -1, 0),)


class Holder(ResultHolder[Any]):
    """A cursor without a connection."""

    def __init__(self, row_factory: AsyncRowFactory[Any] = tuple_row) -> None:
        super().__init__(row_factory)

    def check_open(self) -> None:
        if self._closed:
            raise InterfaceError("the cursor is closed")

    def _types(self) -> TypesRegistry:
        return types

    def take(self, results: Sequence[Result]) -> None:
        """Take results as a cursor does."""
        self._results = results
        self._select(results[0], 0)


def rows(*values: int, tag: str | None = None) -> Result:
    result = Result(FIELDS)
    result.rows = [(value,) for value in values]
    result.tag = tag or f"SELECT {len(values)}"
    return result


def command(tag: str) -> Result:
    result = Result()
    result.tag = tag
    return result


def holding(*results: Result, row_factory: AsyncRowFactory[Any] = tuple_row) -> Holder:
    holder = Holder(row_factory)
    holder.take(results)
    return holder


def test_nothing() -> None:
    holder = Holder()
    assert (holder.description, holder.rowcount, holder.rownumber, holder.statusmessage) == (None, -1, None, None)
    assert holder.nextset() is None
    with pytest.raises(ProgrammingError, match="execute a statement first"):
        holder.next_row()


def test_rows() -> None:
    holder = holding(rows(1, 2, 3))
    assert (holder.rowcount, holder.rownumber, holder.statusmessage) == (3, 0, "SELECT 3")
    assert holder.description is not None
    assert [(column.name, column.type_display) for column in holder.description] == [("n", "int4")]
    assert holder.next_row() == (1,)
    position = holder.rownumber
    assert position == 1
    assert holder.remaining_rows() == [(2,), (3,)]
    assert holder.next_row() is None
    assert holder.remaining_rows() == []


def test_each_row() -> None:
    """One at a time: others may fetch in between, or go to another result."""
    holder = holding(rows(1, 2, 3), rows(4))
    assert (holder.has_results, Holder().has_results) == (True, False)
    each = holder.each_row()
    assert next(each) == (1,)
    assert holder.next_row() == (2,)
    assert next(each) == (3,)
    holder.go_to_result(1)
    assert list(each) == [(4,)]
    holder.forget_results()
    with pytest.raises(ProgrammingError, match="execute a statement first"):
        next(holder.each_row())


def test_some_rows() -> None:
    holder = holding(rows(*range(5)))
    assert holder.next_rows(0) == [(0,)]
    holder.arraysize = 2
    assert holder.next_rows(0) == [(1,), (2,)]
    assert holder.next_rows(10) == [(3,), (4,)]
    assert holder.next_rows(1) == []
    with pytest.raises(ValueError, match="-1"):
        holder.next_rows(-1)


def test_moving() -> None:
    holder = holding(rows(*range(5)))
    holder.move(3, "relative")
    holder.move(-1, "relative")
    assert holder.next_row() == (2,)
    holder.move(4, "absolute")
    assert holder.next_row() == (4,)
    for value, mode in ((5, "absolute"), (-1, "absolute"), (1, "relative"), (-6, "relative")):
        with pytest.raises(IndexError, match="out of the result's 5 rows"):
            holder.move(value, mode)
    with pytest.raises(ValueError, match="'backwards'"):
        holder.move(0, "backwards")
    assert holder.rownumber == 5


@pytest.mark.parametrize(
    ("result", "rowcount"),
    [
        (command("INSERT 0 5"), 5),
        (command("CREATE TABLE"), -1),
        (rows(1, tag="SHOW"), 1),
        (rows(tag="INSERT 0 0"), 0),
    ],
)
def test_rowcount(result: Result, rowcount: int) -> None:
    assert holding(result).rowcount == rowcount
    # The same if it is not the first.
    holder = holding(command("BEGIN"), result)
    assert holder.nextset()
    assert holder.rowcount == rowcount


def test_no_rows_to_fetch() -> None:
    holder = holding(command("INSERT 0 1"))
    assert (holder.description, holder.rownumber) == (None, None)
    for fetch in (
        holder.next_row,
        holder.remaining_rows,
        lambda: holder.next_rows(1),
        lambda: holder.move(0, "absolute"),
    ):
        with pytest.raises(ProgrammingError, match="returned no rows.*INSERT 0 1"):
            fetch()


def test_several_results() -> None:
    holder = holding(rows(1, 2), command("SET"), rows(3))
    assert holder.next_row() == (1,)
    assert holder.nextset()
    assert holder.statusmessage == "SET"
    assert holder.nextset()
    assert holder.remaining_rows() == [(3,)]
    assert holder.nextset() is None
    assert holder.statusmessage == "SELECT 1"
    # From its beginning again.
    holder.go_to_result(0)
    assert holder.remaining_rows() == [(1,), (2,)]
    holder.go_to_result(-2)
    assert holder.statusmessage == "SET"
    for index in (3, -4):
        with pytest.raises(IndexError, match="there are 3"):
            holder.go_to_result(index)


def test_row_factories() -> None:
    made: list[Any] = []

    def factory(cursor: Any) -> RowMaker[list[Any]]:
        made.append(cursor)
        return list

    holder = holding(rows(1, 2, 3), rows(4), row_factory=factory)
    assert holder.next_row() == [1]
    holder.row_factory = scalar_row
    assert holder.row_factory is scalar_row
    assert holder.next_row() == 2
    holder.row_factory = tuple_row
    assert holder.next_rows(1) == [(3,)]
    holder.row_factory = factory
    assert holder.nextset()
    assert holder.remaining_rows() == [[4]]
    # Once for each result that it is to make rows of.
    assert made == [holder] * 3


def test_closed() -> None:
    holder = holding(rows(1))
    holder.end()
    assert (holder.description, holder.rowcount, holder.rownumber, holder.statusmessage) == (None, -1, None, None)
    with pytest.raises(InterfaceError, match="the cursor is closed"):
        holder.next_row()


def test_new_results_replace_the_old_ones() -> None:
    holder = holding(rows(1), rows(2))
    assert holder.nextset()
    holder.forget_results()
    assert holder.rowcount == -1
    holder.take([rows(3)])
    assert holder.remaining_rows() == [(3,)]
    assert holder.nextset() is None
