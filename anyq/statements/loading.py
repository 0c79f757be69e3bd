"""Loading: rows as the server sent them become tuples of Python objects, when they are fetched.

Knows runs of rows, the transformer that chooses loaders, and how to say which column's value cannot be loaded. Must not
know cursors, or who fetches.

A run is loaded in one go. Where a value in it cannot be loaded, the rows before it are there, and the error is raised
when that row is the first to be asked for: so each row raises for itself, and a run without such values is not slower
for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._accel import load_rows
from .._accel.failures import load_failure
from ..adapt import AdaptersMap, Transformer
from ..errors import Error
from ..protocol.request import Fields, Run

_OWN = __name__.partition(".")[0]


class RowLoads:
    """What loads the rows of one result."""

    __slots__ = ("_adapters", "_fields", "_functions", "_parameters", "_tx", "_version")

    def __init__(self, tx: Transformer, fields: Fields) -> None:
        self._tx = tx
        self._adapters = tx.adapters
        self._parameters = tx.parameters
        self._fields = fields
        self._functions = tuple([tx.get_load_function(field.type_oid, field.format) for field in fields])
        self._version = tx.version

    def serves(self, adapters: AdaptersMap, parameters: Mapping[str, str] | None) -> bool:
        """Return whether it does what one would do that is made now for these."""
        return self._parameters is parameters and self._adapters is adapters and self._version == adapters.version

    def load(self, run: Run, start: int, rows: list[tuple[Any, ...]]) -> int:
        """Load the rows of a run from `start` to its end, or to the first that cannot be loaded.

        :return: where that one begins, or the run's end.
        :raises Exception: what the first of them cannot be loaded for: an anyq.Error if that is not for a loader of the
            user's to say.
        """
        before = len(rows)
        try:
            load_rows(run.data, start, run.stop, self._functions, rows)
        except Exception as error:
            for _ in range(len(rows) - before):
                start = run.after(start)
            if len(rows) == before:
                self._raise(run, start, error)
            return start
        return run.stop

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
