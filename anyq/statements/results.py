"""ResultHolder: the results that a cursor has, and what can be done with them without waiting for anything.

Knows results, rows and positions in them. Must not know connections or how a statement is executed, so that the
asynchronous cursor and the synchronous one fetch alike.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from typing import Any, Generic

from typing_extensions import TypeVar

from ..adapt.typeinfo import TypesRegistry
from ..errors import ProgrammingError
from ..protocol.request import Result
from ..rows import AsyncRowFactory, RowMaker, TupleRow, tuple_row
from .column import Column
from .outcome import affected_rows, no_rows_message

Row = TypeVar("Row", default=TupleRow)


class ResultHolder(ABC, Generic[Row]):
    """What has arrived for a cursor."""

    # Cursors are made for one statement, mostly: so the defaults are the class's.
    arraysize = 1
    """How many rows :meth:`fetchmany` returns if it is not told (PEP 249)."""
    _closed = False
    _results: Sequence[Result] = ()
    _index = 0
    _result: Result | None = None
    _position = 0
    _rowcount = -1
    _make_row: RowMaker[Any] | None = None

    def __init__(self, row_factory: AsyncRowFactory[Any]) -> None:
        self._row_factory: AsyncRowFactory[Any] = row_factory

    @abstractmethod
    def check_open(self) -> None:
        """For this package: raise if the cursor cannot be used."""

    @abstractmethod
    def _types(self) -> TypesRegistry:
        """Return the registry that knows the types of the columns."""

    # -- what the last statement gave

    @property
    def row_factory(self) -> AsyncRowFactory[Row]:
        """The factory of the rows that are fetched; a new one takes effect on the next row fetched."""
        return self._row_factory

    @row_factory.setter
    def row_factory(self, row_factory: AsyncRowFactory[Row]) -> None:
        self._row_factory = row_factory
        if self._result is not None:
            self._make_row = None if row_factory is tuple_row else row_factory(self)

    @property
    def description(self) -> list[Column] | None:
        """The columns of the result; None if there is no result, or it has no rows."""
        result = self._result
        if result is None or result.fields is None:
            return None
        types = self._types()
        return [Column(field, types) for field in result.fields]

    @property
    def rowcount(self) -> int:
        """How many rows the last statement affected or returned; -1 where that is not known."""
        return self._rowcount

    @property
    def rownumber(self) -> int | None:
        """The index, from 0, of the row that would be fetched next; None if there are none to fetch."""
        return self._position if self._result is not None and self._result.fields is not None else None

    @property
    def statusmessage(self) -> str | None:
        """The command tag of the last statement, such as ``INSERT 0 1``."""
        return self._result.tag if self._result is not None else None

    def nextset(self) -> bool | None:
        """Go to the result of the next statement; return True if there is one, None if there is not."""
        if self._index + 1 >= len(self._results):
            return None
        self._select(self._results[self._index + 1], self._index + 1)
        return True

    # -- fetching: what both kinds of cursors are made of, which have psycopg's names for it

    def next_row(self) -> Row | None:
        """For this package: return the next row, None after the last one."""
        result = self._result
        rows = self._rows() if result is None or result.fields is None or self._closed else result.rows
        position = self._position
        if position >= len(rows):
            return None
        self._position = position + 1
        row = rows[position]
        make = self._make_row
        return row if make is None else make(row)  # type: ignore[return-value]

    def next_rows(self, size: int) -> list[Row]:
        """For this package: return the next `size` rows, 0 for `arraysize`, or as many as are left."""
        rows = self._rows()
        if size < 0:
            raise ValueError(f"size must be a number of rows, or 0 for arraysize, not {size}")
        start = self._position
        self._position = stop = min(len(rows), start + (size or self.arraysize))
        return self._made(rows[start:stop])

    def remaining_rows(self) -> list[Row]:
        """For this package: return all rows that are left."""
        rows = self._rows()
        start, self._position = self._position, len(rows)
        return self._made(rows[start:])

    def each_row(self) -> Generator[Row, None, None]:
        """For this package: yield the rows that are left, each as it is asked for."""
        # A generator: for a row that is there, each step more of the way would take longer than the row.
        while True:
            rows = self._rows()
            position = self._position
            if position >= len(rows):
                return
            self._position = position + 1
            row = rows[position]
            yield row if self._make_row is None else self._make_row(row)  # type: ignore[misc]

    def move(self, value: int, mode: str) -> None:
        """For this package: go to another row, by `value` rows or, if `mode` is "absolute", to that one."""
        rows = self._rows()
        if mode not in ("relative", "absolute"):
            raise ValueError(f"mode must be 'relative' or 'absolute', not {mode!r}")
        position = value if mode == "absolute" else self._position + value
        if not 0 <= position < len(rows):
            raise IndexError(f"position {position} is out of the result's {len(rows)} rows")
        self._position = position

    @property
    def has_results(self) -> bool:
        """For this package: whether there is any result, with rows or without."""
        return bool(self._results)

    def go_to_result(self, index: int) -> None:
        """For this package: go to the result of one of several statements."""
        if not -len(self._results) <= index < len(self._results):
            raise IndexError(f"result {index} does not exist: there are {len(self._results)}")
        index %= len(self._results)
        self._select(self._results[index], index)

    # -- taking

    def end(self) -> None:
        """For this package: close the cursor."""
        self._closed = True
        self.forget_results()

    def forget_results(self) -> None:
        """For this package: have no results."""
        self._results = ()
        self._result = None
        self._index = self._position = 0
        self._rowcount = -1
        self._make_row = None

    def _select(self, result: Result, index: int) -> None:
        self._index = index
        self._position = 0
        self._result = result
        # Not every tag of a statement that returns rows has their number: SHOW, EXPLAIN.
        self._rowcount = affected_rows(result.tag) if result.fields is None else len(result.rows)
        factory = self._row_factory
        self._make_row = None if factory is tuple_row else factory(self)

    def _rows(self) -> list[tuple[Any, ...]]:
        result = self._result
        if result is None or result.fields is None or self._closed:
            self.check_open()
            raise ProgrammingError(no_rows_message(result))
        return result.rows

    def _made(self, rows: list[tuple[Any, ...]]) -> list[Row]:
        make = self._make_row
        return rows if make is None else [make(row) for row in rows]  # type: ignore[return-value]
