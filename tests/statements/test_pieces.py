"""The rows of a cursor on the server that have come, in pieces."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import pytest

from anyq.adapt import AdaptersMap, Loader, Transformer
from anyq.adapt.typeinfo import TypesRegistry
from anyq.errors import ProgrammingError
from anyq.postgres import adapters, types
from anyq.protocol.messages import FieldDescription
from anyq.protocol.request import Fields, Result
from anyq.rows import AsyncRowFactory, scalar_row
from anyq.statements.pieces import PieceHolder
from anyq.statements.requests import RowsRequest

FIELDS = (FieldDescription("n", 0, 0, types["int4"].oid, 4, -1, 0),)


class Picky(Loader):
    """Cannot load what is below zero."""

    def load(self, data: Any) -> int:
        if bytes(data).startswith(b"-"):
            raise ZeroDivisionError
        return int(bytes(data))


class Holder(PieceHolder[Any]):
    """A cursor without a connection."""

    def __init__(self, row_factory: AsyncRowFactory[Any] = scalar_row) -> None:
        super().__init__(row_factory)
        self._behind = deque()
        self.adapters = AdaptersMap(adapters)
        self.adapters.register_loader("int4", Picky)
        self.parameters: dict[str, str] = {}
        self._tx = Transformer(self, parameters=self.parameters)

    def check_open(self) -> None:
        pass

    def _types(self) -> TypesRegistry:
        return types

    def _transformer(self, parameters: Mapping[str, str] | None) -> Transformer:
        return self._tx

    @property
    def connection(self) -> None:
        return None

    def fetch(self, *numbers: int, fields: Fields = FIELDS) -> Holder:
        result = Result(fields)
        result.take([str(number).encode() for number in numbers], 0, len(numbers), len(numbers))
        result.tag = f"FETCH {len(numbers)}"
        request = RowsRequest()
        request.parameters = self.parameters
        request.results = [result]
        self.add_piece(request, result)
        return self


@pytest.fixture
def holder() -> Holder:
    holder = Holder()
    holder.begin_pieces(Result(FIELDS), 0)
    return holder


def test_nothing() -> None:
    holder = Holder()
    assert (holder.rownumber, holder.rowcount, holder.rows_left, holder.nextset()) == (None, -1, 0, None)
    with pytest.raises(ProgrammingError, match="execute a statement first"):
        holder.next_row()
    with pytest.raises(IndexError, match="there is 0"):
        holder.go_to_result(0)


def test_one_piece_after_the_other(holder: Holder) -> None:
    assert (holder.rownumber, holder.rows_left, holder.next_row()) == (0, 0, None)
    holder.fetch(1, 2, 3)
    assert (holder.next_row(), holder.rownumber, holder.rows_left, holder.rowcount) == (1, 1, 2, -1)
    assert holder.next_rows(2) == [2, 3]
    holder.fetch()
    assert (holder.next_row(), holder.rownumber, holder.statusmessage) == (None, 3, "FETCH 0")
    holder.fetch(4)
    assert (holder.next_row(), holder.rownumber) == (4, 4)


def test_pieces_behind_each_other(holder: Holder) -> None:
    holder.fetch(1, 2).fetch(3).fetch().fetch(4, 5, 6)
    assert holder.rows_left == 6
    assert [holder.next_row() for _ in range(3)] == [1, 2, 3]
    assert (holder.rownumber, holder.rows_left) == (3, 3)
    assert list(holder.each_row()) == [4, 5, 6]
    holder.fetch(7, 8).fetch(9)
    assert holder.next_rows(0) == [7]
    assert holder.remaining_rows() == [8, 9]
    assert (holder.rownumber, holder.rows_left) == (9, 0)
    holder.arraysize = 0
    assert holder.next_rows(0) == []


def test_each_row_goes_on_with_what_comes(holder: Holder) -> None:
    holder.fetch(1, 2).fetch(3, 4, 5)
    each = holder.each_row()
    assert (next(each), holder.next_rows(2), next(each), next(each)) == (1, [2, 3], 4, 5)
    assert list(each) == []


@pytest.mark.parametrize("size", [4, 6, None])
def test_a_row_that_cannot_be_loaded_in_a_piece_behind(holder: Holder, size: int | None) -> None:
    holder.fetch(0, 1, 2).fetch(3).fetch(-1, 5).fetch(6)
    assert holder.next_row() == 0
    with pytest.raises(ZeroDivisionError):
        holder.next_rows(size) if size else holder.remaining_rows()
    assert (holder.rownumber, holder.rows_left) == (1, 6)
    assert holder.next_rows(3) == [1, 2, 3]
    with pytest.raises(ZeroDivisionError):
        holder.remaining_rows()
    assert holder.rownumber == 5  # past it, as there are none before it
    assert holder.remaining_rows() == [5, 6]


def test_one_in_the_first_piece(holder: Holder) -> None:
    holder.fetch(1, -2, 3).fetch(4)
    with pytest.raises(ZeroDivisionError):
        holder.remaining_rows()
    assert holder.rownumber == 0
    assert holder.next_row() == 1
    with pytest.raises(ZeroDivisionError):
        holder.next_row()
    assert holder.remaining_rows() == [3, 4]


def test_where_the_cursor_was_is_not_known() -> None:
    holder = Holder()
    holder.begin_pieces(Result(), None)
    holder.fetch(1, 2).fetch(3)
    assert (holder.next_rows(2), holder.next_row(), holder.rownumber) == ([1, 2], 3, None)


def test_what_comes_at_once() -> None:
    """A row that the cursor was moved to, and no others."""
    holder = Holder()
    holder.begin_pieces(Result(FIELDS), 0)
    holder.fetch(1, 2).fetch(3)
    result = Result(FIELDS)
    result.take([b"41"], 0, 1, 1)
    request = RowsRequest()
    request.parameters = {}
    holder.begin_pieces(result, 40, request)
    assert (holder.rownumber, holder.rows_left, holder.next_row(), holder.rownumber) == (40, 1, 41, 41)


def test_there_is_one_result(holder: Holder) -> None:
    holder.fetch(1, 2)
    holder.next_row()
    holder.go_to_result(0)
    holder.go_to_result(-1)
    assert holder.has_results
    assert holder.next_row() == 2
    with pytest.raises(IndexError, match="there is 1"):
        holder.go_to_result(1)


def test_the_row_maker_is_made_once_for_the_same_columns() -> None:
    made = []

    def factory(cursor: Any) -> Any:
        made.append([column.name for column in cursor.description])
        return tuple

    holder = Holder(factory)
    holder.begin_pieces(Result(FIELDS), 0)
    of_a_table = (FieldDescription("n", 16384, 1, types["int4"].oid, 4, -1, 0),)
    holder.fetch(1).fetch(2, fields=of_a_table).fetch(3)
    assert holder.remaining_rows()[0] == (1,)
    assert made == [["n"]]
    holder.fetch(fields=(FIELDS[0]._replace(name="m"),))
    assert made == [["n"], ["m"]]
    holder.forget_results()
    assert (holder.rownumber, holder.rows_left, holder.description) == (None, 0, None)
