"""What is known about PostgreSQL's types: names, oids, delimiters.

Knows `TypeInfo`, the registry that finds one by name or oid, and how to ask a server's catalogue for another. Must not
know how values are converted, nor a connection: a family of types that follows from every type, as arrays do, says so
by `on_register`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from inspect import iscoroutine
from typing import Any, Protocol, TypeAlias, TypeVar, overload

from ..errors import SyntaxError
from .builtin_types import BUILTIN_TYPES

__all__ = ["TEXT_OID", "TypeInfo", "TypesRegistry", "check_info", "global_types", "on_register", "wrong_context"]

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
    def inner(self) -> _Asking: ...

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

    schema = ""
    """The schema that a fetched type is in, so that SQL names it whatever the search_path is by then; "" if unknown."""
    base_oid = 0
    """Of a fetched domain, the oid of the type that its values are of; 0 of any other type."""

    _extra_columns = ""
    """What else `fetch` asks about a type `t` of pg_type, for `_details`: SQL that begins with a comma."""
    _kind = ""
    """The only `typtype` that `fetch` finds; "" for any."""

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

    @overload
    @classmethod
    def fetch(cls: type[_T], conn: _Asking, name: list[Any]) -> Coroutine[Any, Any, list[_T | None]]: ...

    @overload
    @classmethod
    def fetch(cls: type[_T], conn: _Blocking, name: list[Any]) -> list[_T | None]: ...

    @classmethod
    def fetch(cls: type[_T], conn: Any, name: Any) -> Any:
        """Ask the server what a type is: ``await`` it with an asynchronous connection, and not with a synchronous one.

        Runs one query in a transaction of its own, or in a savepoint if a transaction is open. After a
        cancellation nothing of it is left.

        :param conn: an `AsyncConnection` or a `Connection`.
        :param name: the name as written in SQL, `schema.name` or `"Quoted"`, or a `sql.Identifier`; or a list of
            names, which are all asked for by one query.
        :return: the description, for `register`; None if there is no such type, or if it is one of another kind than
            the class is for. For a list, a list.
        :raises SyntaxError: a name is none as it is written in SQL: it needs quotes.
        :raises Error: the query failed.
        :raises TypeError: `conn` is no connection, or `name` is nothing of these.

        See "System Catalogs: pg_type" in the PostgreSQL manual.
        """
        names = [_name_in_sql(part) for part in (name if isinstance(name, list) else [name])]  # pyright: ignore[reportUnknownVariableType]
        if not hasattr(conn, "inner") and not hasattr(conn, "ask"):
            raise TypeError(f"fetch() asks a connection, not {conn!r}")
        if hasattr(conn, "inner"):
            return conn.calls.call(cls._fetch, conn.inner, names, isinstance(name, list))
        return cls._fetch(conn, names, isinstance(name, list))

    @classmethod
    async def _fetch(cls: type[_T], conn: _Asking, names: list[str], several: bool) -> Any:
        infos: list[_T | None] = [None] * len(names)
        async with conn.transaction():
            try:
                rows = await conn.ask(cls._info_query().encode(), [names])
            except SyntaxError as ex:
                raise _no_name(names, ex) from ex
            for row in rows:
                # With the client encoding SQL_ASCII text comes as bytes.
                place, name, oid, array_oid, regtype, delimiter, schema, base_oid, *details = map(_as_text, row)
                info = cls(name, oid, array_oid, regtype=regtype, **cls._details(*details))
                info.delimiter, info.schema, info.base_oid = delimiter, schema, base_oid or 0
                infos[place - 1] = info
        return infos if several else infos[0]

    @classmethod
    def _info_query(cls) -> str:
        """Return the query that describes types; the names are its one parameter."""
        return (
            "SELECT asked.place, t.typname::text, t.oid, t.typarray, t.oid::pg_catalog.regtype::text, t.typdelim::text,"
            " n.nspname::text, CASE WHEN t.typtype = 'd' THEN ("
            + BASE_OID.format(type="t.oid")
            + f") END{cls._extra_columns}"
            " FROM pg_catalog.unnest($1::pg_catalog.text[]) WITH ORDINALITY AS asked(name, place)"
            " JOIN pg_catalog.pg_type t ON t.oid = pg_catalog.to_regtype(asked.name)"
            " JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace"
            + (f" WHERE t.typtype = '{cls._kind}'" if cls._kind else "")
        )

    @classmethod
    def _details(cls, *details: Any) -> dict[str, Any]:
        """Return arguments of the constructor: what the `_extra_columns` say."""
        return {}

    def register(self, context: _Context | None = None) -> None:
        """Make the type known by name, and arrays of it loaded and dumped as lists.

        :param context: a connection, a cursor or a map; None for all connections that are opened from now on.
        """
        types = global_types if context is None else _types_of(context)
        types.add(self)
        for hook in _register_hooks:
            hook(self, context)

    def added(self, registry: TypesRegistry) -> None:
        """React to being added to a registry. For subclasses that can be found by more than name and oid."""


BASE_OID = (
    "WITH RECURSIVE base(oid, next) AS (SELECT d.oid, d.typbasetype FROM pg_catalog.pg_type d WHERE d.oid = {type}"
    " UNION ALL SELECT d.oid, d.typbasetype FROM base JOIN pg_catalog.pg_type d ON d.oid = base.next)"
    " SELECT base.oid FROM base WHERE base.next = 0"
)
"""SQL for the oid of the type that values of a type are of, which is another one for a domain."""


def wrong_context(context: object) -> TypeError:
    """Return the error for one who registers something for what has no adapters."""
    return TypeError(f"what to register for is a connection, a cursor, a map of adapters or None, not {context!r}")


def _types_of(context: Any) -> TypesRegistry:
    types = getattr(getattr(context, "adapters", None), "types", None)
    if not isinstance(types, TypesRegistry):
        raise wrong_context(context)
    return types


def check_info(info: Any, cls: type[TypeInfo], kind: str) -> None:
    """Refuse what is no information on a type of that kind, before anything is registered.

    :raises TypeError: `info` is None, or of another class.
    """
    if info is None:
        raise TypeError(f"no info passed: {cls.__name__}.fetch() returns None where there is no {kind} of that name")
    if iscoroutine(info):
        info.close()
        raise TypeError(f"{cls.__name__}.fetch() of an asynchronous connection has to be awaited")
    if not isinstance(info, cls):
        raise TypeError(f"what is registered as {kind} has to be fetched by {cls.__name__}.fetch(); this is {info!r}")


def _name_in_sql(name: Any) -> str:
    if isinstance(name, str):
        return name
    if not hasattr(name, "as_string"):
        raise TypeError(
            f"fetch() takes the name of a type, a str or an sql.Identifier, or a list of names, not {name!r}"
        )
    text: str = name.as_string(None)
    return text


def _no_name(names: list[str], ex: SyntaxError) -> SyntaxError:
    """Return the error for a name that the server cannot read, in place of one that shows the query from here."""
    told = ex.diag.context or ex.diag.message_primary or ""
    # Of several names, the one that it shows.
    name = max([name for name in names if name in told], key=len, default=names[0])
    return SyntaxError(
        f"{name!r} is no name of a type as it is written in SQL ({ex.diag.message_primary}): put what is not lower case"
        ' or has other characters in double quotes, as in \'"my schema"."my type"\', or pass'
        ' sql.Identifier("my schema", "my type")'
    )


def _as_text(value: Any) -> Any:
    if isinstance(value, list):
        return [_as_text(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
    return value.decode() if isinstance(value, bytes) else value


_Infos: TypeAlias = "dict[str | int | tuple[type, int], TypeInfo]"


class TypesRegistry:
    """Find types by name (`int4`, `integer`, `int4[]`), oid or oid of the array.

    A registry starts as a copy of its template and shares the template's table until either is written to.
    """

    def __init__(self, template: TypesRegistry | None = None):
        self._infos: _Infos = template.share() if template is not None else {}
        self._own = template is None

    def share(self) -> _Infos:
        """For this class: return the table, which from now on neither registry writes to before it has copied it."""
        self._own = False
        return self._infos

    def add(self, info: TypeInfo) -> None:
        """Add a type; it takes the place of one with the same name or oid.

        One with the oid 0 is found by its name, and by its array: that oid means that a type is not known.
        """
        given: Any = info
        if not isinstance(given, TypeInfo):
            check_info(given, TypeInfo, "type")
        if not self._own:
            self._infos = self._infos.copy()
            self._own = True
        if info.oid:
            self._infos[info.oid] = info
        if info.array_oid:
            self._infos[info.array_oid] = info
        self._infos[info.name] = info
        self._infos[info.regtype] = info
        info.added(self)

    def add_by_subtype(self, info: TypeInfo, subtype_oid: int) -> None:
        """For `TypeInfo.added`: make a type known as the one of its class that is made of a subtype."""
        self._infos[(type(info), subtype_oid)] = info

    def add_builtin(self) -> None:
        """Add the types of every server."""
        for name, oid, array_oid, regtype, delimiter in BUILTIN_TYPES:
            self.add(TypeInfo(name, oid, array_oid, regtype=regtype, delimiter=delimiter))

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

    def get_by_subtype(self, cls: type[_T], subtype: int | str) -> _T | None:
        """Return the type of a class that is made of a subtype, such as the range of a type; None if there is none.

        :param cls: what describes the type: `RangeInfo`, `MultirangeInfo`.
        :param subtype: name or oid of the subtype.
        """
        if isinstance(subtype, str):
            info = self.get(subtype)
            subtype = 0 if info is None else info.array_oid if subtype.endswith("[]") else info.oid
        found: Any = self._infos.get((cls, subtype))
        return found  # type: ignore[no-any-return]  # what add_by_subtype has put there

    def get_oid(self, name: str) -> int:
        """Return the oid of a type by name: of the array if the name ends in `[]`.

        :raises KeyError: there is none.
        """
        info = self[name]
        return info.array_oid if name.endswith("[]") else info.oid


global_types = TypesRegistry()
"""The types of every server, and whatever is registered without a context."""

global_types.add_builtin()

TEXT_OID = global_types["text"].oid
