"""Where a cursor is in its results: which row comes next, in which run it is, and what if it cannot be loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from anyq._accel import keep_rows
from anyq.adapt import Transformer
from anyq.errors import DataError, ProgrammingError
from anyq.postgres import types
from anyq.protocol.constants import Format
from anyq.protocol.messages import DataRow, FieldDescription
from anyq.protocol.request import Result
from anyq.rows import dict_row, tuple_row
from anyq.statements.fetching import FetchState
from anyq.statements.requests import RowsRequest
from tests.support.values import FakeConnection


class Holder(FetchState):
    description = None

    def check_open(self) -> None:
        if self._closed:
            raise ProgrammingError("closed")

    def _transformer(self, parameters: Mapping[str, str] | None) -> Transformer:
        return Transformer(FakeConnection(), parameters=parameters or {})


def holder_of(*runs: tuple[bytes, ...], tag: str = "SELECT") -> Holder:
    """A cursor with one column of int4, as text, in runs as they came."""
    request = RowsRequest()
    request.parameters = {}
    result = Result((FieldDescription("n", 0, 0, types["int4"].oid, -1, -1, Format.TEXT),))
    for run in runs:
        data = b"".join(DataRow((value,)).encode() for value in run)
        keep_rows(result, data, 0, len(data))
    result.tag = tag
    request.add(result)
    holder = Holder(tuple_row)
    holder.take_request(request)
    return holder


def rest(holder: Holder) -> list[Any]:
    rows: list[Any] = []
    while (row := holder.next_row()) is not None:
        rows.append(row[0])
    return rows


def test_rows_come_in_order_from_run_to_run() -> None:
    holder = holder_of((b"1", b"2"), (b"3",), (b"4", b"5", b"6"))
    assert rest(holder) == [1, 2, 3, 4, 5, 6]
    assert holder.next_row() is None
    assert holder._rowcount == 6


@pytest.mark.parametrize("position", range(6))
def test_from_anywhere(position: int) -> None:
    holder = holder_of((b"0", b"1"), (b"2",), (b"3", b"4", b"5"))
    rest(holder)
    holder._position = position
    assert rest(holder) == list(range(position, 6))


def test_a_row_that_cannot_be_loaded_raises_for_itself() -> None:
    holder = holder_of((b"1", b"x", b"3"), (b"y",), (b"5",))
    assert holder.next_row() == (1,)
    with pytest.raises(DataError):
        holder.next_row()
    assert holder.next_row() == (3,)
    with pytest.raises(DataError):
        holder.next_row()
    assert rest(holder) == [5]


def test_no_rows() -> None:
    holder = Holder(tuple_row)
    with pytest.raises(ProgrammingError, match="no result to fetch from"):
        holder.next_row()
    holder._closed = True
    with pytest.raises(ProgrammingError, match="closed"):
        holder.next_row()
    assert holder_of().next_row() is None


def test_what_is_forgotten() -> None:
    holder = holder_of((b"1", b"2"))
    holder.next_row()
    holder.forget_loaded()
    assert holder.next_row() == (2,)
    holder.forget_results()
    assert (holder._result, holder._position, holder._rowcount, holder._results) == (None, 0, -1, ())


def test_rows_are_made_by_the_factory() -> None:
    request = RowsRequest()
    request.parameters = {}
    request.add(Result())
    holder = Holder(dict_row)
    holder.take_request(request)
    assert holder._make_row is not None
