"""Loading: rows as the server sent them become tuples of Python objects, when they are fetched.

Knows runs of rows, the transformer that chooses loaders, and how to say which column's value cannot be loaded. Must not
know cursors, or who fetches.

A run is loaded in one go. Where a value in it cannot be loaded, the rows before it are there, and the error is raised
when that row is the first to be asked for: so each row raises for itself, and a run without such values is not slower
for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .._accel import load_rows
from .._accel.failures import load_failure
from ..adapt import Transformer
from ..errors import DataError, Error
from ..protocol.request import Fields, Run

_OWN = __name__.partition(".")[0]

VALUES_PER_TURN = 16_384
"""Who loads many rows lets others run when so many values have been loaded: a few milliseconds."""


class RowLoads:
    """What loads the rows of one result."""

    __slots__ = ("_fields", "_functions", "_tx", "adapters", "parameters", "version")

    def __init__(self, tx: Transformer, fields: Fields) -> None:
        self._tx = tx
        self._fields = fields
        self._functions = tuple([tx.get_load_function(field.type_oid, field.format) for field in fields])
        self.parameters = tx.parameters
        """The server's parameters that it is for; it is not for others."""
        self.adapters = tx.adapters
        """The adapters that it is for,"""
        self.version = tx.version
        """as long as this is their version."""

    def is_for(self, parameters: Mapping[str, str] | None) -> bool:
        """Return whether it is still what loads rows that were written when the server had these parameters."""
        adapters = self.adapters
        return self.parameters is parameters and self.version == adapters.version

    def load(self, run: tuple[Any, int, int, int], start: int, rows: list[tuple[Any, ...]]) -> int:
        """Load the rows of a run from `start` to its end, or to the first that cannot be loaded.

        :return: where that one begins, or the run's end.
        :raises Exception: what the first of them cannot be loaded for: an anyq.Error if that is not for a loader of the
            user's to say.
        """
        before = len(rows)
        try:
            load_rows(run[0], start, run[2], self._functions, rows)
        except Exception as error:
            for _ in range(len(rows) - before):
                start = Run._make(run).after(start)
            if len(rows) == before:
                self._raise(Run._make(run), start, error)
            return start
        return run[2]

    def _raise(self, run: Run, start: int, error: Exception) -> None:
        for number, value in enumerate(run.values(start, len(self._fields))):
            if value is not None:
                try:
                    self._functions[number](value)
                except Exception as again:
                    explained = self._explained(number, value, again)
                    if explained is again:
                        raise
                    raise explained from again.__cause__ or again
        raise error

    def _explained(self, number: int, value: bytes, error: Exception) -> Exception:
        """Return the error of one column's value, which says of which."""
        field = self._fields[number]
        loader = type(self._tx.get_loader(field.type_oid, field.format))
        failure = load_failure(self._functions[number], value, error)
        if not isinstance(failure, Error) or loader.__module__.partition(".")[0] != _OWN:
            return error
        return type(failure)(f"{failure} (column {field.name!r})")


def loads_or_none(tx: Transformer, fields: Fields) -> RowLoads | None:
    """Return what loads rows with these columns; None if a loader cannot be made: fetching raises then."""
    try:
        return RowLoads(tx, fields)
    except Exception:
        return None


class LoadedAhead:
    """The rows of a result that have been loaded as they came, before anybody fetches them.

    :param loads: what loads them. They are of use as long as the result's rows would be loaded by it.
    """

    __slots__ = ("after", "loads", "rows", "run")

    def __init__(self, loads: RowLoads) -> None:
        self.loads = loads
        self.rows: list[tuple[Any, ...]] = []
        """All from the first one on, up to the first that cannot be loaded."""
        self.run = -1
        """Which run it is that the last of them is in, or that row."""
        self.after = 0
        """Where in that run the next row begins."""

    def go_on(self, runs: Sequence[tuple[Any, int, int, int]], most: int) -> bool:
        """Load runs that have come since, till there are `most` rows more; return whether there is more to load."""
        stop = len(self.rows) + most
        while self.run < 0 or self.after == runs[self.run][2]:
            if self.run + 1 == len(runs):
                return False
            if len(self.rows) >= stop:
                return True
            self.run += 1
            run = runs[self.run]
            self.after = run[1]
            try:
                self.after = self.loads.load(run, run[1], self.rows)
            except Exception:
                break  # its first row raises when it is fetched
        return False


class DoubtfulLoads:
    """What loads the rows of a result of which it is not known by which settings they were written.

    :param possible: what loads them by each. A row that all of them load alike, or only one can load, is no matter of
        doubt.
    """

    def __init__(self, possible: Sequence[RowLoads]) -> None:
        self._possible = possible

    def load(self, run: tuple[Any, int, int, int], start: int, rows: list[tuple[Any, ...]]) -> int:
        """Do what :meth:`RowLoads.load` does.

        :raises DataError: it makes a difference.
        """
        before = len(rows)
        while start < run[2]:
            after = Run._make(run).after(start)
            try:
                rows.append(self._row((run[0], start, after, 1)))
            except Exception:
                if len(rows) == before:
                    raise
                break
            start = after
        return start

    def _row(self, run: tuple[Any, int, int, int]) -> tuple[Any, ...]:
        found: list[tuple[Any, ...]] = []
        error: Exception | None = None
        for loads in self._possible:
            try:
                loads.load(run, run[1], found)
            except Exception as problem:
                error = error or problem
        if not found:
            assert error is not None
            raise error
        if any(row != found[0] for row in found):
            raise DataError(
                "settings changed amid the statement, or the statements of one text, and it is not known by which of "
                "them this row was written; execute the statement that changes them on its own"
            )
        return found[0]
