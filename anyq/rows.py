"""Row factories: the form in which the rows of a result are given to the user.

Knows: how the values of a row, and the names of its columns, become one Python object. Must not know: where
the values come from. A factory is called once for each result, with the cursor that has it; the row maker
that it returns is called once for each row.

A factory of one's own is any function that takes a cursor and returns a function that takes a sequence of
values::

    def upper_dict_row(cursor: AsyncCursor[Any]) -> RowMaker[dict[str, Any]]:
        names = [column.name.upper() for column in cursor.description or ()]
        return lambda values: dict(zip(names, values))
"""

from __future__ import annotations

import keyword
import re
import unicodedata
from collections import namedtuple
from collections.abc import Callable, Sequence
from functools import lru_cache
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE, iscoroutinefunction
from types import FunctionType
from typing import Any, Final, NamedTuple, NoReturn, Protocol

from typing_extensions import TypeVar

from ._accel import args_maker, dict_maker, kwargs_maker, namedtuple_maker
from .errors import InterfaceError, ProgrammingError

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

TupleRow = tuple[Any, ...]
"""The type of the rows that `tuple_row` makes."""

DictRow = dict[str, Any]
"""The type of the rows that `dict_row` makes."""

Row = TypeVar("Row", covariant=True, default=TupleRow)
"""The type of the rows that a cursor or a connection returns."""


_COROUTINE = CO_COROUTINE | CO_ASYNC_GENERATOR


class RowMaker(Protocol[T_co]):
    """A function that makes a row of the values of its columns."""

    def __call__(self, values: Sequence[Any], /) -> T_co: ...


class RowFactory(Protocol[T_co]):
    """A function that makes the row maker of a result; for the cursors of synchronous connections.

    The parameter is of any type so that one's own factory may name the class of cursor that it wants. It is
    called with a cursor.
    """

    def __call__(self, cursor: Any, /) -> RowMaker[T_co]: ...


class AsyncRowFactory(Protocol[T_co]):
    """A function that makes the row maker of a result; for the cursors of asynchronous connections."""

    def __call__(self, cursor: Any, /) -> RowMaker[T_co]: ...


class BaseRowFactory(Protocol[T_co]):
    """A function that makes the row maker of a result, for any cursor, as those of this module do."""

    def __call__(self, cursor: Any, /) -> RowMaker[T_co]: ...


class _NamedColumn(Protocol):
    @property
    def name(self) -> str: ...


class _Described(Protocol):
    """What the factories here ask of a cursor."""

    @property
    def description(self) -> Sequence[_NamedColumn] | None: ...


def check_row_factory(factory: object) -> None:
    """Look whether something can be a row factory, as far as that can be told without a result.

    :raises ProgrammingError: it cannot; the message says what to give instead.
    """
    # What most are, first: this is done for each cursor that is given one.
    if type(factory) is FunctionType and not factory.__code__.co_flags & _COROUTINE:
        if factory not in _OF_A_CLASS:
            return
        why = f"{factory.__name__} takes the class, or function, of the rows: write {factory.__name__}(...)"
    elif isinstance(factory, type):
        if any("__call__" in vars(base) for base in factory.__mro__):
            return
        if hasattr(factory, "fetchone"):
            why = f"{factory.__qualname__} is a class of cursors: give it as cursor_factory"
        else:
            why = f"for rows that are objects of {factory.__qualname__} write class_row({factory.__qualname__})"
    elif not callable(factory):
        why = f"it is called with a cursor, and {type(factory).__qualname__} cannot be called"
    elif iscoroutinefunction(factory):
        why = "it is not awaited, so it cannot be a coroutine function"
    else:
        return
    raise ProgrammingError(f"wrong row_factory: {why}")


def no_result(values: Sequence[Any]) -> NoReturn:
    """Be the row maker of a cursor that has no rows to make.

    :raises InterfaceError: always.
    """
    raise InterfaceError("the cursor doesn't have a result: run a query that returns rows before you fetch them")


def tuple_row(cursor: _Described) -> RowMaker[TupleRow]:
    """Make rows that are tuples of the values. This is the default."""
    # Not `tuple.__new__`: rows that are tuples already are returned as they are.
    return tuple if _names(cursor) is not None else no_result


def dict_row(cursor: _Described) -> RowMaker[DictRow]:
    """Make rows that are dictionaries from column names to values.

    Where columns share a name the last one wins: give them aliases.
    """
    names = _names(cursor)
    return no_result if names is None else dict_maker(names)


def namedtuple_row(cursor: _Described) -> RowMaker[NamedTuple]:
    """Make rows that are named tuples.

    A column whose name is not a Python identifier gets one: other characters become underscores, and "f" goes
    before an underscore or a digit at the start ("?column?" is ``f_column_``).

    :raises ProgrammingError: two columns with the same field name, or one that is a Python keyword.
    """
    names = _names(cursor)
    if names is None:
        return no_result
    make: RowMaker[NamedTuple] = _namedtuple_maker(tuple(names))
    return make


def class_row(cls: type[T]) -> BaseRowFactory[T]:
    """Make rows that are objects of a class: values are keyword arguments named after the columns."""
    return kwargs_row(cls)


def args_row(func: Callable[..., T]) -> BaseRowFactory[T]:
    """Make rows of what a function returns, called with the values as positional arguments."""

    _check_maker(func)

    def args_row_factory(cursor: _Described) -> RowMaker[T]:
        return no_result if _names(cursor) is None else args_maker(func)

    return args_row_factory


def kwargs_row(func: Callable[..., T]) -> BaseRowFactory[T]:
    """Make rows of what a function returns: values are keyword arguments named after the columns."""

    _check_maker(func)

    def kwargs_row_factory(cursor: _Described) -> RowMaker[T]:
        names = _names(cursor)
        return no_result if names is None else kwargs_maker(func, names)

    return kwargs_row_factory


def _check_maker(func: object) -> None:
    if not callable(func):
        raise TypeError(f"what makes rows must be a class or a function, not {func!r}")


def scalar_row(cursor: _Described) -> RowMaker[Any]:
    """Make "rows" that are the value of the first column.

    :raises ProgrammingError: the result has no columns.
    """
    names = _names(cursor)
    if names is None:
        return no_result
    if not names:
        raise ProgrammingError("scalar_row needs a result with at least one column")
    return _first


def _first(values: Sequence[Any]) -> Any:
    return values[0]


def _names(cursor: _Described) -> list[str] | None:
    # A cursor of this package has them without descriptions of columns, which would be made for each query.
    names: list[str] | None = getattr(cursor, "column_names", None)
    if names is not None:
        return names
    description = cursor.description
    return None if description is None else [column.name for column in description]


@lru_cache(512)
def _namedtuple_maker(names: tuple[str, ...]) -> RowMaker[NamedTuple]:
    # Cached because creating a class takes hundreds of microseconds, and so that equal results have the same
    # class.
    fields: dict[str, str] = {}
    for name in names:
        field = _identifier(name)
        if keyword.iskeyword(field):
            raise ProgrammingError(
                f"namedtuple_row cannot make a field of column {name!r}, which is a Python keyword:"
                f" use an alias (AS {name}_) or another row factory"
            )
        if field in fields:
            other = f" and {fields[field]!r}" if fields[field] != name else ""
            raise ProgrammingError(
                f"namedtuple_row cannot make two fields named {field!r} of columns {name!r}{other}:"
                " use different aliases (AS) or another row factory"
            )
        fields[field] = name
    make_class: Any = namedtuple  # type checkers only take fields that they can see
    return namedtuple_maker(make_class("Row", list(fields)))


def _identifier(name: str) -> str:
    # Letters and digits of any script are allowed by both Python and PostgreSQL.
    field = name if name.isidentifier() else re.sub(r"\W", "_", name)
    if not field or field[0] == "_" or not field[0].isidentifier():
        field = f"f{field}"
    # What Unicode calls a digit or a letter and Python's identifiers do not (such as a superscript two).
    field = field if field.isidentifier() else re.sub(r"[^0-9A-Za-z_]", "_", field)
    # In the form in which Python reads names, and compares them (PEP 3131).
    field = unicodedata.normalize("NFKC", field)
    return f"f{field}" if field[0] == "_" else field


# Factories of factories, which are easily given as they are.
_OF_A_CLASS: Final = (class_row, args_row, kwargs_row)
