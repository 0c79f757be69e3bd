"""ResultHolder: the results that a cursor has, and what can be done with them without waiting for anything.

Knows results, rows and positions in them. Must not know connections or how a statement is executed, so that the
asynchronous cursor and the synchronous one fetch alike. Begin with `fetching`, which has the state.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator, Mapping
from operator import index, length_hint
from typing import TYPE_CHECKING, Any, Generic

from typing_extensions import TypeVar

from .._accel import make_rows
from ..adapt import Transformer
from ..adapt.typeinfo import TypesRegistry
from ..errors.arguments import check_ints, int_of
from ..rows import AsyncRowFactory, TupleRow, check_row_factory, tuple_row
from .column import Column
from .fetching import FetchState
from .loading import VALUES_PER_TURN

Row = TypeVar("Row", default=TupleRow)


class ResultHolder(FetchState, ABC, Generic[Row]):
    """What has arrived for a cursor."""

    arraysize = 1
    """How many rows :meth:`fetchmany` returns if it is not told (PEP 249)."""

    @abstractmethod
    def check_open(self) -> None:
        """For this package: raise if the cursor cannot be used."""

    @abstractmethod
    def _types(self) -> TypesRegistry:
        """Return the registry that knows the types of the columns."""

    @abstractmethod
    def _transformer(self, parameters: Mapping[str, str] | None) -> Transformer:
        """Return the transformer for what was written when the server had these parameters."""

    # -- what the last statement gave

    @property
    def row_factory(self) -> AsyncRowFactory[Row]:
        """The factory of the rows that are fetched; a new one takes effect on the next row fetched."""
        return self._row_factory

    @row_factory.setter
    def row_factory(self, row_factory: AsyncRowFactory[Row]) -> None:
        check_row_factory(row_factory)
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
    def column_names(self) -> list[str] | None:
        """For this package: the names of the columns, where the description has some."""
        result = self._result
        return None if result is None or result.fields is None else [field.name for field in result.fields]

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

    if TYPE_CHECKING:

        def next_row(self) -> Row | None:
            """For this package: see :class:`FetchState`."""

    # -- fetching: what both kinds of cursors are made of, which have psycopg's names for it

    def next_rows(self, size: int) -> list[Row]:
        """For this package: return the next `size` rows, 0 for `arraysize`, or as many as are left."""
        return _at_once(self.take_rows(size or 0))

    def remaining_rows(self) -> list[Row]:
        """For this package: return all rows that are left."""
        return _at_once(self.take_rows(None))

    def take_rows(self, size: int | None) -> Generator[None, None, list[Row]]:
        """For this package: return the next `size` rows, 0 for `arraysize`, None for all; yield now and then.

        Whoever else fetches meanwhile gets the rows behind these. If one of them cannot be loaded the position goes
        back to where it was, so that those before it are not lost; or past that one, if there are none.
        """
        result = self._with_rows()
        if size is not None and (type(size) is not int or size < 1):
            size = self.check_size(size)
        start = position = self._position
        stop = result.count if size is None else min(result.count, start + size)
        self._position = stop
        taken: list[Any] = []
        values = 0
        part: list[Any] = []
        left: Iterator[tuple[Any, ...]] = iter(())
        try:
            while position < stop:
                if values >= VALUES_PER_TURN:
                    values = 0
                    yield
                part = self._part(position, stop)
                values += len(part) * len(result.fields or ())
                make = self._make_row
                if make is not None:
                    left = iter(part)
                    part = make_rows(make, part, left)
                position += len(part)
                if taken:
                    taken += part
                else:
                    taken = part
        except BaseException as error:
            if self._position == stop:
                # Either it cannot be loaded, or it is the last that was taken to be made.
                failed = position + (len(part) - length_hint(left) - 1 if length_hint(left) else 0)
                self._position = start + (failed == start and isinstance(error, Exception))
            raise
        return taken

    def check_size(self, size: int) -> int:
        """For this package: return how many rows fetchmany() is to return."""
        check_ints(0, size=size or 0, arraysize=self.arraysize)
        return index(size or self.arraysize)

    def _part(self, position: int, stop: int) -> list[tuple[Any, ...]]:
        """Return rows from `position` on, up to `stop` or less; each time another list, which is the caller's."""
        number = position - self._window_start
        if not 0 <= number < len(self._window):
            self._load(position)
            number = position - self._window_start
        window = self._window
        if number or len(window) > stop - position or not isinstance(window, list):
            return list(window[number : number + stop - position])
        # It is not copied, but given away: if somebody goes back to these rows, they are loaded once more.
        self._window, self._window_start = (), position + len(window)
        if self._result is not None:
            self._result.ahead = None
        return window

    def each_row(self) -> Generator[Row, None, None]:
        """For this package: yield the rows that are left, each as it is asked for."""
        # A generator: for a row that is there, each step more of the way would take longer than the row.
        while True:
            position = self._position
            number = position - self._window_start
            row = self._window[number] if 0 <= number < len(self._window) else self._load(position)
            if row is None:
                return
            self._position = position + 1
            yield row if self._make_row is None else self._make_row(row)  # type: ignore[misc]

    def move(self, value: int, mode: str) -> None:
        """For this package: go to another row, by `value` rows or, if `mode` is "absolute", to that one."""
        count = self._with_rows().count
        if mode not in ("relative", "absolute"):
            raise ValueError(f"mode must be 'relative' or 'absolute', not {mode!r}")
        value = int_of("value", value)
        position = value if mode == "absolute" else self._position + value
        if not 0 <= position < count:
            raise IndexError(f"position {position} is out of the result's {count} rows")
        self._position = position

    @property
    def has_results(self) -> bool:
        """For this package: whether there is any result, with rows or without."""
        return bool(self._results)

    def go_to_result(self, index: int) -> None:
        """For this package: go to the result of one of several statements."""
        index = int_of("index", index)
        if not -len(self._results) <= index < len(self._results):
            raise IndexError(f"result {index} does not exist: there are {len(self._results)}")
        index %= len(self._results)
        self._select(self._results[index], index)

    # -- taking

    def end(self) -> None:
        """For this package: close the cursor."""
        self._closed = True
        self.forget_results()


def _at_once(taking: Generator[None, None, list[Row]]) -> list[Row]:
    """Return what is taken, without letting anybody else run."""
    while True:
        try:
            next(taking)
        except StopIteration as end:
            rows: list[Row] = end.value
            return rows


HolderT = TypeVar("HolderT", bound=ResultHolder[Any])


class ResultsIterator(AsyncIterator[HolderT]):
    """What :meth:`AsyncCursor.results` iterates by. An object and not a generator, so that it may be left early."""

    def __init__(self, cursor: HolderT, checkpoint: Callable[[], Awaitable[None]]) -> None:
        self._cursor = cursor
        self._checkpoint = checkpoint
        self._started = False

    async def __anext__(self) -> HolderT:
        await self._checkpoint()
        more = self._cursor.nextset() if self._started else self._cursor.has_results
        self._started = True
        if not more:
            raise StopAsyncIteration
        return self._cursor
