"""PieceHolder: the rows of a cursor on the server that have come, in pieces, and are not taken yet.

Knows how many rows each FETCH gave, and where in the whole result they are. Must not know how they are fetched.

There is one piece at a time, mostly, which is what a :class:`ResultHolder` has as its result; there are more where rows
of one are left when another comes. Whoever takes rows of several and finds one that cannot be loaded goes back to where
he was, so none is lost.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from typing import Any

from typing_extensions import TypeVar

from ..errors.arguments import int_of
from ..protocol.request import Fields, Result
from ..rows import TupleRow, tuple_row
from .requests import RowsRequest
from .results import ResultHolder

Row = TypeVar("Row", default=TupleRow)


class PieceHolder(ResultHolder[Row]):
    """What has been fetched from a cursor on the server."""

    _before: int | None = 0
    """How many rows of the whole result are before the piece; None where that is not known."""
    _made_for: Fields | None = None
    """The columns that the row maker was made for."""
    _behind: deque[tuple[RowsRequest, Result]]
    """The pieces behind the one that rows are taken from; mostly none."""

    @property
    def rowcount(self) -> int:
        """How many rows the last statement affected or returned; -1 where that is not known.

        It is not known of a cursor on the server.
        """
        return -1

    @property
    def rownumber(self) -> int | None:
        """The index, from 0, of the row that would be fetched next; None if there are none to fetch.

        It is not known, and None, where somebody else has declared the cursor or it was moved behind its last row: not
        before it goes to a row by ``scroll(..., "absolute")``.
        """
        return None if self._result is None or self._before is None else self._before + self._position

    @property
    def rows_left(self) -> int:
        """For this package: how many rows have come that are not taken."""
        left = 0 if self._result is None else self._result.count - self._position
        return left + sum([result.count for _, result in self._behind]) if self._behind else left

    def nextset(self) -> bool | None:
        """Go to the result of the next statement; return True if there is one, None if there is not."""
        return None

    def go_to_result(self, index: int) -> None:
        if int_of("index", index) not in (0, -1) or self._result is None:
            raise IndexError(f"result {index} does not exist: there is {0 if self._result is None else 1}")

    # -- pieces

    def begin_pieces(self, result: Result, before: int | None, request: RowsRequest | None = None) -> None:
        """For this package: have the rows of a result, which may be none, and no others.

        :param before: how many rows the cursor has passed before these; None if that is not known.
        :param request: that of the result, if it has rows.
        """
        self._behind.clear()
        self._have_piece(request, result, before)

    def add_piece(self, request: RowsRequest, result: Result) -> None:
        """For this package: take rows, which are behind those that are there."""
        self._behind.append((request, result))
        self._go_on()

    def _go_on(self) -> None:
        """Go to the next piece if all rows of this one are taken, and there is one."""
        while self._behind and self._result is not None and self._position >= self._result.count:
            self._next_piece()

    def _next_piece(self) -> None:
        result = self._result
        assert result is not None
        before = None if self._before is None else self._before + result.count
        self._have_piece(*self._behind.popleft(), before)

    def _have_piece(self, request: RowsRequest | None, result: Result, before: int | None) -> None:
        old = self._result
        if old is not None and result.fields == old.fields and result.loads is None:
            result.loads = old.loads
        self._request = request
        self._results = (result,)
        self._result = result
        self._position = 0
        self._before = before
        self.forget_loaded()
        fields = result.fields
        if self._made_for is not fields:
            if self._made_for is None or fields is None or _names(fields) != _names(self._made_for):
                self._make_row = None if self._row_factory is tuple_row else self._row_factory(self)
            self._made_for = fields

    def forget_results(self) -> None:
        super().forget_results()
        self._behind.clear()
        self._before = 0
        self._made_for = None

    # -- taking

    def next_row(self) -> Row | None:
        if self._behind:
            self._go_on()
        return super().next_row()

    def each_row(self) -> Generator[Row, None, None]:
        while self.rows_left:
            yield from super().each_row()
            self._go_on()

    def take_rows(self, size: int | None) -> Generator[None, None, list[Row]]:
        size = self.arraysize if size == 0 else size
        taken: list[Row] = []
        passed: list[tuple[Any, Result, int | None, int]] = []
        try:
            while size != 0:
                start = self._position
                taken += yield from super().take_rows(None if size is None else size - len(taken))
                if not self._behind or len(taken) == size:
                    break
                if taken:
                    assert self._result is not None
                    passed.append((self._request, self._result, self._before, start))
                self._next_piece()
            self._go_on()
            return taken
        except BaseException:
            if passed:
                assert self._result is not None
                assert self._request is not None
                self._behind.appendleft((self._request, self._result))
                while len(passed) > 1:
                    request, result, _, _ = passed.pop()
                    self._behind.appendleft((request, result))
                request, result, before, start = passed[0]
                self._have_piece(request, result, before)
                self._position = start
            raise


def _names(fields: Fields) -> list[tuple[str, int]]:
    return [(field.name, field.type_oid) for field in fields]
