"""What is known about PostgreSQL's types: names, oids, delimiters.

Knows `TypeInfo`, the registry that finds one by name or oid, and how to ask a server's catalogue for another. Must not
know how values are converted, nor a connection: a family of types that follows from every type, as arrays do, says so
by `on_register`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeAlias, TypeVar, overload

from ..errors import ProgrammingError
from .builtin_types import BUILTIN_TYPES

__all__ = ["TEXT_OID", "TypeInfo", "TypesRegistry", "global_types", "on_register"]

_T = TypeVar("_T", bound="TypeInfo")


class _Identifier(Protocol):
    """A `sql.Identifier`."""

    def as_string(self, context: Any = None) -> str: ...


class _Asking(Protocol):
    """An `AsyncConnection`: what is asked of one here."""

    async def ask(self, query: bytes, params: Sequence[Any]) -> list[tuple[Any, ...]]: ...

    def transaction(self) -> AbstractAsyncContextManager[object, bool | None]: ...


class _Calls(Protocol):
    def call(self, func: Callable[..., Awaitable[Any]], /, *args: Any) -> Any: ...


class _Blocking(Protocol):
    """A synchronous `Connection`, which is around an asynchronous one."""

    @property
    def async_connection(self) -> _Asking: ...

    @property
    def calls(self) -> _Calls: ...


class _Adapters(Protocol):
    @property
    def types(self) -> TypesRegistry: ...


class _Context(Protocol):
    """An `AdaptContext`: an `AdaptersMap`, or what has one."""

    @property
    def adapters(self) -> _Adapters: ...


RegisterHook: TypeAlias = "Callable[[TypeInfo, Any], None]"
"""What is called with a type that is registered, and with the context that it is registered in."""

_register_hooks: list[RegisterHook] = []


def on_register(hook: RegisterHook) -> None:
    """Have a function called with each type that is registered from now on; once, however often this is called."""
    if hook not in _register_hooks:
        _register_hooks.append(hook)


class TypeInfo:
    """Describe one PostgreSQL type and the arrays of it.

    :param name: the name in the catalogue, without a schema.
    :param array_oid: the oid of the type's array, 0 if it has none.
    :param regtype: the name to write in SQL: with a schema and quotes where it needs them. By default `name`.
    :param delimiter: what stands between the items of an array in text format.
    """

    def __init__(self, name: str, oid: int, array_oid: int, *, regtype: str = "", delimiter: str = ","):
        self.name = name
        self.oid = oid
        self.array_oid = array_oid
        self.regtype = regtype or name
        self.delimiter = delimiter

    def __repr__(self) -> str:
        return f"<{type(self).__qualname__}: {self.name} (oid: {self.oid}, array oid: {self.array_oid})>"

    @overload
    @classmethod
    def fetch(cls: type[_T], conn: _Asking, name: str | _Identifier) -> Coroutine[Any, Any, _T | None]: ...

    @overload
    @classmethod
    def fetch(cls: type[_T], conn: _Blocking, name: str | _Identifier) -> _T | None: ...

    @classmethod
    def fetch(cls: type[_T], conn: Any, name: str | _Identifier) -> Any:
        """Ask the server what a type is: ``await`` it with an asynchronous connection, and not with a synchronous one.

        Runs one query in a transaction of its own, or in a savepoint if a transaction is open. After a
        cancellation nothing of it is left.

        :param conn: an `AsyncConnection` or a `Connection`.
        :param name: the name as written in SQL, `schema.name` or `"Quoted"`, or a `sql.Identifier`.
        :return: the description, for `register`; None if there is no such type.
        :raises Error: the query failed.

        See "System Catalogs: pg_type" in the PostgreSQL manual.
        """
        if not isinstance(name, str):
            name = name.as_string(None)
        if hasattr(conn, "async_connection"):
            return conn.calls.call(cls._fetch, conn.async_connection, name)
        return cls._fetch(conn, name)

    @classmethod
    async def _fetch(cls: type[_T], conn: _Asking, name: str) -> _T | None:
        async with conn.transaction():
            rows = await conn.ask(cls._info_query().encode(), [name])
        return cls._from_rows(name, rows)

    @classmethod
    def _info_query(cls) -> str:
        """Return the query that describes a type; the name is its one parameter. Subclasses ask for more."""
        return (
            "SELECT t.typname, t.oid, t.typarray, t.oid::regtype::text, t.typdelim::text"
            " FROM pg_catalog.pg_type t WHERE t.oid = to_regtype($1)"
        )

    @classmethod
    def _from_rows(cls: type[_T], name: str, rows: Sequence[tuple[Any, ...]]) -> _T | None:
        """Return what the rows of `_info_query` describe, None if there are none."""
        if not rows:
            return None
        if len(rows) > 1:
            raise ProgrammingError(f"{len(rows)} different types are named {name}: add the schema")
        # With the client encoding SQL_ASCII text comes as bytes.
        typname, oid, array_oid, regtype, delimiter = map(_as_text, rows[0])
        return cls(typname, oid, array_oid, regtype=regtype, delimiter=delimiter)

    def register(self, context: _Context | None = None) -> None:
        """Make the type known by name, and arrays of it loaded and dumped as lists.

        :param context: a connection, a cursor or a map; None for all connections that are opened from now on.
        """
        types = context.adapters.types if context is not None else global_types
        types.add(self)
        for hook in _register_hooks:
            hook(self, context)

    def added(self, registry: TypesRegistry) -> None:
        """React to being added to a registry. For subclasses that can be found by more than name and oid."""


def _as_text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


class TypesRegistry:
    """Find types by name (`int4`, `integer`, `int4[]`), oid or oid of the array.

    A registry starts as a copy of its template and shares the template's table until either is written to.
    """

    def __init__(self, template: TypesRegistry | None = None):
        self._infos: dict[str | int, TypeInfo] = template.share() if template is not None else {}
        self._own = template is None

    def share(self) -> dict[str | int, TypeInfo]:
        """For this class: return the table, which from now on neither registry writes to before it has copied it."""
        self._own = False
        return self._infos

    def add(self, info: TypeInfo) -> None:
        """Add a type; it takes the place of one with the same name or oid."""
        if not self._own:
            self._infos = self._infos.copy()
            self._own = True
        self._infos[info.oid] = info
        if info.array_oid:
            self._infos[info.array_oid] = info
        self._infos[info.name] = info
        self._infos[info.regtype] = info
        info.added(self)

    def clear(self) -> None:
        """Forget every type."""
        self._infos = {}
        self._own = True

    def __iter__(self) -> Iterator[TypeInfo]:
        """Iterate over the types, each once."""
        return iter({id(info): info for info in self._infos.values()}.values())

    def __getitem__(self, key: str | int) -> TypeInfo:
        """Return a type by name or oid; for an array the type of its items.

        :raises KeyError: there is none.
        """
        info = self.get(key)
        if info is None:
            raise KeyError(f"the types registry has no type {key!r}: TypeInfo.fetch() it and register() it")
        return info

    def get(self, key: str | int) -> TypeInfo | None:
        """Return a type by name or oid, None if there is none; for an array the type of its items."""
        if isinstance(key, str) and key.endswith("[]"):
            key = key[:-2]
        return self._infos.get(key)

    def get_oid(self, name: str) -> int:
        """Return the oid of a type by name: of the array if the name ends in `[]`.

        :raises KeyError: there is none.
        """
        info = self[name]
        return info.array_oid if name.endswith("[]") else info.oid


global_types = TypesRegistry()
"""The types of every server, and whatever is registered without a context."""

for _name, _oid, _array_oid, _regtype, _delimiter in BUILTIN_TYPES:
    global_types.add(TypeInfo(_name, _oid, _array_oid, regtype=_regtype, delimiter=_delimiter))

TEXT_OID = global_types["text"].oid
