"""Rows of COPY: written by `RowFormatter`, read by `RowParser`.

Knows the text format and the binary format (PostgreSQL manual, "COPY", "File Formats"), and the `Transformer` that
dumps and loads their values. Must not know requests, connections, or what of a COPY is in which message: what is read
may be cut anywhere. CSV is for neither of them; whoever knows the statement refuses it.

Rows that are as usual are for the compiled twins, if there are any: `compile_format` and `compile_parse` return what
hands over to `format_pure` and `parse_pure` whatever is not. These are the ones that say what is right.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from struct import Struct
from typing import Any

from .._accel import compile_format, compile_parse, dump_values
from .._accel.failures import dumped_bytes, load_failure
from ..errors import DataError, Error, ProgrammingError
from ..protocol.constants import Format
from .adapters_map import Buffer, DumperProtocol, LoadFunc, PyFormat
from .copy_binary import BINARY_HEADER, BINARY_TRAILER, BinarySplitter
from .copy_text import NULL, TextSplitter, escape, unescape
from .encodings import is_ascii_safe
from .misfits import OUT_OF_RANGE, UNFIT, is_own_dumper
from .transformer import Transformer

__all__ = ["BINARY_HEADER", "BINARY_TRAILER", "RowFormatter", "RowParser"]

_MOST_COLUMNS = 0x7FFF
_MOST_BYTES = 0x7FFF_FFFF
_pack_count = Struct("!h").pack
_pack_length = Struct("!i").pack
_NULL_LENGTH = _pack_length(-1)

_EXACT = (tuple, list)  # what values can be taken from without a look at their class

_PACKAGE = __name__.partition(".")[0] + "."


class RowFormatter:
    """Write rows for a COPY FROM STDIN.

    Values are dumped as parameters are that ask for text (`%t`) or binary (`%b`), or as values of the types that were
    set. Text is written for the default DELIMITER and NULL.

    :param tx: what dumps the values.
    :param binary: whether the COPY is in binary format; text if not.
    :param columns: how many the COPY has, if that is known; so that a row with another number is refused.
    :param enough: how many bytes may be collected.
    """

    def __init__(self, tx: Transformer, binary: bool, columns: int | None = None, enough: int = sys.maxsize) -> None:
        self.tx = tx
        self.binary = binary
        self.columns = columns
        """How many values each row must have, None for any number."""
        self._given = columns
        self.enough = enough
        self.format = Format.BINARY if binary else Format.TEXT
        self.types: tuple[int, ...] | None = None
        """The oids that were set,"""
        self.dumpers: tuple[DumperProtocol, ...] | None = None
        """and the dumpers of these types."""
        self.py_format = PyFormat.from_pq(self.format)
        self.by_characters = not is_ascii_safe(tx.encoding)
        """Whether half a character may look like a backslash."""
        self._current: bytearray | None = None  # what a row is being appended to
        self.format_row: Callable[[Sequence[Any], bytearray], bool] = compile_format(self)
        """Append a row to the bytes that will be sent, and return whether they are more than enough.

        They are as before if it raises.
        It raises DataError for a value that PostgreSQL cannot hold and for a row of another width, ProgrammingError for
        a value that nothing dumps, TypeError for what is no sequence of values, and what dumpers of the user's raise.
        """

    def set_types(self, types: Sequence[int | str]) -> None:
        """Dump the values of each column as this type's, from the next row on, by the dumpers registered now.

        :param types: names or oids.
        :raises ProgrammingError: one is not in the registry of types or has no dumper in this format, or the COPY has
            another number of columns.
        """
        oids = _oids_of(self.tx, types, self._given)
        self.dumpers = tuple([self.tx.get_dumper_by_oid(oid, self.format) for oid in oids])
        self.types = oids
        self.columns = len(oids)
        self.format_row = compile_format(self)

    def is_writing(self, out: bytearray) -> bool:
        """Return whether a row is being appended to these bytes: by another thread, or one whose dumper calls this."""
        writer = getattr(self.format_row, "__self__", self)
        return self._current is out or writer is not self and writer.is_writing(out)

    @staticmethod
    def amid_row() -> ProgrammingError:
        """For the compiled twin: return the error for one who comes upon that."""
        return ProgrammingError(
            "a row is being written to this COPY by another thread, or by what its dumper calls: a COPY is for one "
            "thread at a time, and needs a lock around each call if threads share it"
        )

    def format_pure(self, row: Sequence[Any], out: bytearray) -> bool:
        """For the compiled twin: do what `format_row` does, for whatever row."""
        before = self._current
        if before is out:
            raise self.amid_row()
        self._current = out
        try:
            return self._append(row, out)
        finally:
            self._current = before

    def _append(self, row: Sequence[Any], out: bytearray) -> bool:
        objects = row if type(row) in _EXACT else _values_of(row)
        if self.columns is not None and len(objects) != self.columns:
            raise DataError(f"the row has {len(objects)} values, and the COPY {self.columns} columns")
        values = self._dump(objects)
        if self.binary:
            if len(values) > _MOST_COLUMNS:
                raise DataError(f"the row has {len(values):,} values: no table has so many columns")
            parts = [_pack_count(len(values))]
            for number, value in enumerate(values):
                if value is None:
                    parts.append(_NULL_LENGTH)
                    continue
                if len(value) > _MOST_BYTES:
                    raise DataError(f"column {number + 1}: the value has {len(value):,} bytes, and may have 1 GB")
                parts += (_pack_length(len(value)), value)
            out += b"".join(parts)
        else:
            fields: list[bytes] = []
            try:
                for value in values:
                    fields.append(NULL if value is None else self.escape_field(value))
            except DataError as ex:
                raise _with_column(ex, len(fields)) from None
            out += b"\t".join(fields) + b"\n"
        return len(out) > self.enough

    def escape_field(self, value: bytes) -> bytes:
        """For the compiled twin: return a value as it stands in text.

        :raises DataError: text cannot have what is in it.
        """
        return escape(value, self.tx.encoding)

    def _dump(self, row: Sequence[Any]) -> list[bytes | None]:
        """Return the values of a row; so many have been dumped when it raises."""
        tx = self.tx
        if tx.version != tx.adapters.version:
            tx.clear()
        values: list[Buffer | None] = []
        try:
            if self.dumpers is None:
                formats = [self.py_format] * len(row)
                dump_values(row, formats, tx.dump_plans, tx.plan_class, tx.plan_key, values, [], [])
            else:
                for obj, dumper in zip(row, self.dumpers, strict=True):
                    values.append(None if obj is None else dumped_bytes(dumper.dump(obj), dumper.dump))
        except Exception as ex:
            failure = self.failure(len(values), row[len(values)], ex)
            if failure is ex:
                raise
            raise failure from failure.__cause__
        return [value if value is None or type(value) is bytes else bytes(value) for value in values]

    def failure(self, number: int, obj: Any, ex: Exception, dumped: bool = False) -> Exception:
        """For the compiled twin: return what to raise where a dumper has raised something for a value.

        :param number: of the column, from 0.
        :param dumped: whether it was not the dumper, but what was done with the value that it returned.
        """
        if dumped:
            return _with_column(ex, number) if isinstance(ex, DataError) else ex
        dumper: Any = None
        try:
            dumper = self._dumper(number, obj)
        except Exception as missing:
            return _with_column(missing, number) if isinstance(missing, Error) else missing
        own = is_own_dumper(dumper)
        if isinstance(ex, Error):
            return _with_column(ex, number) if own else ex
        if not isinstance(ex, OUT_OF_RANGE if self.dumpers is None or not own else UNFIT):
            return ex
        return _with_column(self.tx.misfit(dumper, obj, ex), number)

    def _dumper(self, number: int, obj: Any) -> Any:
        return self.tx.get_dumper(obj, self.py_format) if self.dumpers is None else self.dumpers[number]


class RowParser:
    """Read the rows of a COPY TO STDOUT.

    Without types that were set, values are str in text format, and bytes in binary format, which does not say what they
    are. Text is read as it is written with the default DELIMITER and NULL.

    :param tx: what loads the values.
    :param binary: whether the COPY is in binary format; text if not.
    :param columns: how many the COPY has, if that is known. Otherwise the first row tells.
    """

    def __init__(self, tx: Transformer, binary: bool, columns: int | None = None) -> None:
        self.tx = tx
        self.binary = binary
        self.format = Format.BINARY if binary else Format.TEXT
        self.types: tuple[int, ...] | None = None
        """The oids that were set."""
        self.loads: tuple[LoadFunc, ...] | None = None
        """What loads each column; None before that is known."""
        self.version = tx.adapters.version
        """Of the map that `loads` is for."""
        self.by_characters = not is_ascii_safe(tx.encoding)
        """Whether half a character may look like a backslash."""
        self.splitter = BinarySplitter(columns) if binary else TextSplitter(tx.encoding, columns)
        """For the compiled twin: what knows where a row ends."""
        self._records: deque[list[bytes | None]] = deque()
        """Rows that are complete and have not been loaded."""
        self._error: Exception | None = None
        """Why the row before these could not be loaded."""
        self._broken: DataError | None = None
        """Why nothing can be read any more behind these."""
        self.parse: Callable[[bytes], list[tuple[Any, ...]]] = compile_parse(self)
        """Take more of the data, and return the rows that are complete by it.

        It raises for a value that cannot be loaded once the rows before that one have been returned: DataError, or what
        a loader of the user's raises. The next call returns the rows behind it. Where the data is malformed it raises
        DataError at each call from then on, and ProgrammingError where a row has not as many columns as types were set.
        """

    def set_types(self, types: Sequence[int | str]) -> None:
        """Load the values of each column as this type's, from the next call of `parse` on.

        :param types: names or oids.
        :raises ProgrammingError: one is not in the registry of types, or the COPY has another number of columns.
        """
        oids = _oids_of(self.tx, types, self.splitter.columns)
        for oid in oids:
            if self.tx.adapters.types.get(oid) is None and self.tx.adapters.get_loader(oid, self.format) is None:
                raise _unknown_type(oid)
        self.types = oids
        self.loads = None
        self.parse = compile_parse(self)

    def finish(self) -> list[tuple[Any, ...]]:
        """Say that there is no more data, and return rows that are left: those behind one that could not be loaded.

        To be called until there are none.

        :raises DataError: the data is not complete; and what `parse` raises.
        """
        rows = self.parse_pure(b"")
        missing = self.splitter.missing()
        if missing is not None and not rows:
            raise DataError(f"the data of the COPY is truncated: it ends {missing}")
        return rows

    def parse_pure(self, chunk: bytes) -> list[tuple[Any, ...]]:
        """For the compiled twin: do what `parse` does, for whatever data."""
        self.keep(chunk)
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        rows: list[tuple[Any, ...]] = []
        while self._records:
            try:
                rows.append(self._load(self._records.popleft()))
            except Exception as ex:
                if not rows:
                    raise
                self._error = ex
                break
        if not rows and self._broken is not None:
            raise self._broken
        return rows

    def keep(self, chunk: bytes) -> None:
        """For the compiled twin: take more of the data, for later."""
        if chunk and self._broken is None:
            try:
                self.splitter.split(bytes(chunk), self._records)
            except DataError as ex:
                self._broken = ex

    @property
    def is_idle(self) -> bool:
        """For the compiled twin: whether the next byte begins a row, and nothing is left to do for those before it."""
        return self.splitter.is_between_rows and not self._records and self._error is self._broken is None

    def unescape_field(self, field: bytes) -> bytes:
        """For the compiled twin: return the value that a field of text stands for.

        :raises DataError: it stands for none.
        """
        return unescape(field, self.tx.encoding)

    def _load(self, fields: list[bytes | None]) -> tuple[Any, ...]:
        """Return a row.

        :raises DataError: a value cannot be loaded.
        """
        loads = self.get_loads(len(fields))
        if len(fields) != len(loads):
            raise ProgrammingError(f"the rows of the COPY have {len(fields)} columns, and set_types() got {len(loads)}")
        row: list[Any] = []
        try:
            for load, value in zip(loads, fields, strict=True):
                row.append(None if value is None else load(value))
        except Exception as ex:
            number = len(row)
            value = fields[number]
            assert value is not None
            failure = load_failure(loads[number], value, ex)
            loader = self.tx.get_loader(self.types[number] if self.types else 0, self.format)
            if isinstance(failure, Error) and str(type(loader).__module__).startswith(_PACKAGE):
                failure = _with_column(failure, number)
            if failure is ex:
                raise
            raise failure from failure.__cause__
        return tuple(row)

    def get_loads(self, columns: int) -> tuple[LoadFunc, ...]:
        """For the compiled twin: return what loads each column.

        :param columns: how many a row has.
        """
        if self.loads is None or self.version != self.tx.adapters.version:
            types = (0,) * columns if self.types is None else self.types
            self.loads = tuple([self.tx.get_load_function(oid, self.format) for oid in types])
            self.version = self.tx.adapters.version
        return self.loads


def _values_of(row: Any) -> list[Any]:
    # A string is a sequence of strings, and always a forgotten comma.
    if not issubclass(type(row), _NO_ROWS) and issubclass(type(row), Iterable):
        return list(row)
    raise TypeError(
        f"a row of a COPY should be a sequence of values, got {type(row).__name__}: write (value,) for a single one"
    )


_NO_ROWS = (str, bytes, bytearray, memoryview, Mapping, Set)


def _oids_of(tx: Transformer, types: Sequence[int | str], columns: int | None) -> tuple[int, ...]:
    """Return the oids of types."""
    if not isinstance(types, Iterable) or isinstance(types, str | bytes):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"set_types() takes a sequence of names and oids of types, got {types!r}")
    oids: list[int] = []
    for one in types:
        if not isinstance(one, int | str) or isinstance(one, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"set_types() takes names and oids of types, got {one!r}")
        try:
            oids.append(tx.adapters.types.get_oid(one) if isinstance(one, str) else one)
        except KeyError:
            raise _unknown_type(one) from None
    if columns is not None and columns != len(oids):
        raise ProgrammingError(f"set_types() got {len(oids)} types, and the COPY has {columns} columns")
    return tuple(oids)


def _unknown_type(name: int | str) -> ProgrammingError:
    return ProgrammingError(
        f"set_types() got {name!r}, which is no type that is known: TypeInfo.fetch() it and register() it"
    )


def _with_column(ex: Exception, number: int) -> Exception:
    failure = type(ex)(f"column {number + 1}: {ex}")
    failure.__cause__ = ex.__cause__
    return failure
