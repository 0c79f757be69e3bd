"""FetchState: where a cursor is in the results that it has, and the row that comes next.

Knows results, what loads their rows, and positions in them. Must not know what else a cursor can do. Compiled it keeps
what is read and written for each query, and each row, without a dictionary.

Rows are loaded when they are fetched, a run at a time: the *window* holds those of the run that was loaded last. A row
that cannot be loaded ends the window before it, and raises when it is asked for itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..adapt import Transformer
from ..errors import ProgrammingError
from ..protocol.request import Result, Run
from ..rows import AsyncRowFactory, RowMaker, tuple_row
from .loading import DoubtfulLoads, LoadedAhead, RowLoads
from .outcome import affected_rows, no_rows_message, possible_parameters
from .requests import RowsRequest

_Plain = tuple[Any, int, int, int]  # a Run


class FetchState:
    """What has arrived for a cursor, and how much of it has been fetched."""

    def __init__(self, row_factory: AsyncRowFactory[Any]) -> None:
        self._set_up(row_factory)

    def _set_up(self, row_factory: AsyncRowFactory[Any]) -> None:
        self._row_factory: AsyncRowFactory[Any] = row_factory
        self._closed = False
        self._request: RowsRequest | None = None
        self._results: Sequence[Result] = ()
        self._index = 0
        self._result: Result | None = None
        self._position = 0
        self._rowcount = -1
        self._window: Sequence[tuple[Any, ...]] = ()
        self._window_start = 0
        """The number of the first row in the window."""
        self._run = 0
        """Which run it is that the window ends in."""
        self._after = 0
        """Where in that run the window ends. Neither says anything before there has been a window."""
        self._make_row: RowMaker[Any] | None = None

        self.late: Any = None
        """For this package: what is queued in a pipeline, whose result is not taken yet; see :class:`LateHolder`."""

    def check_open(self) -> None:
        """For this package: raise if the cursor cannot be used."""
        raise NotImplementedError

    def _transformer(self, parameters: Mapping[str, str] | None) -> Transformer:
        """Return the transformer for what was written when the server had these parameters."""
        raise NotImplementedError

    def next_row(self) -> Any:
        """For this package: return the next row, None after the last one."""
        position = self._position
        number = position - self._window_start
        row = self._window[number] if 0 <= number < len(self._window) else self._load(position)
        if row is None:
            return None
        self._position = position + 1
        make = self._make_row
        return row if make is None else make(row)

    def forget_results(self) -> None:
        """For this package: have no results."""
        self._request = None
        self._results = ()
        self._result = None
        self._index = self._position = 0
        self._rowcount = -1
        self._make_row = None
        # As forget_loaded() does; this is so for each query.
        self._window = ()
        self._window_start = 0

    def forget_loaded(self) -> None:
        """For this package: load again what is fetched from now on, as adapters may be others."""
        self._window = ()
        self._window_start = 0

    def take_request(self, request: RowsRequest) -> None:
        """For this package: have the results of a request, of which there is one at least, and go to the first."""
        self._request = request
        self._results = results = request.results
        # As _select() does; this is so for each query.
        self._result = result = results[0]
        # Not every tag of a statement that returns rows has their number: SHOW, EXPLAIN.
        self._rowcount = affected_rows(result.tag) if result.fields is None else result.count
        if self._row_factory is not tuple_row:
            self._make_row = self._row_factory(self)

    def _select(self, result: Result, index: int) -> None:
        self._index = index
        self._position = 0
        self._result = result
        self._rowcount = affected_rows(result.tag) if result.fields is None else result.count
        factory = self._row_factory
        self._make_row = None if factory is tuple_row else factory(self)
        self.forget_loaded()

    def _with_rows(self) -> Result:
        result = self._result
        if result is None or result.fields is None or self._closed:
            self.check_open()
            raise ProgrammingError(no_rows_message(result))
        return result

    def _load(self, position: int) -> tuple[Any, ...] | None:
        """Load rows from `position` on; return that one, which is in the window then, or None past the last.

        :raises Exception: it cannot be loaded. If nobody has moved on from it, the position is behind it then.
        """
        result = self._result
        if result is None or result.fields is None or self._closed:
            result = self._with_rows()
        if position >= result.count:
            return None
        request: Any = self._request
        known: RowLoads | None = result.loads
        loads: Any = known
        if known is None or not known.is_for(request.parameters):
            loads = self._find_loads(result)
        if not position and result.ahead is None:
            run, self._run = result.runs[0], 0
            start = run[1]
        else:
            ahead: LoadedAhead | None = result.ahead
            if ahead is not None and ahead.loads is loads and position < len(ahead.rows):
                self._window, self._window_start = ahead.rows, 0
                self._run, self._after = ahead.run, ahead.after
                return ahead.rows[position]
            run, start = self._seek(result, position)
        window: list[tuple[Any, ...]] = []
        try:
            if known is not None and loads is known:
                self._after = known.load(run, start, window)
            else:
                self._after = loads.load(run, start, window)
        except Exception:
            self._after = Run._make(run).after(start)
            self._window, self._window_start = (), position + 1
            if self._position == position:
                self._position = position + 1
            raise
        self._window = window
        self._window_start = position
        return window[0]

    def _find_loads(self, result: Result) -> RowLoads | DoubtfulLoads:
        """Find what loads the rows of a result, and keep it if there is no doubt."""
        request, fields = self._request, result.fields
        assert request is not None
        assert fields is not None
        possible = [RowLoads(self._transformer(p), fields) for p in possible_parameters(request, result)]
        if len(possible) > 1:
            return DoubtfulLoads(possible)
        result.loads = possible[0]
        return possible[0]

    def _seek(self, result: Result, position: int) -> tuple[_Plain, int]:
        """Return the run that a row is in, and where in it the row begins."""
        if not position or position != self._window_start + len(self._window):
            return self._seek_from_first(result, position)
        run = result.runs[self._run]
        if self._after < run[2]:
            return run, self._after
        self._run += 1
        run = result.runs[self._run]
        return run, run[1]

    def _seek_from_first(self, result: Result, position: int) -> tuple[_Plain, int]:
        first = number = 0
        run = result.runs[0]
        while position >= first + run[3]:
            first += run[3]
            number += 1
            run = result.runs[number]
        self._run = number
        start = run[1]
        for _ in range(position - first):
            start = Run._make(run).after(start)
        return run, start
