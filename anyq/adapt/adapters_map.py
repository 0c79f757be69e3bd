"""The map that says which dumper serves a Python class, and which loader a PostgreSQL type.

Knows the formats that a placeholder can ask for, and the shapes of dumpers, loaders and contexts (which name the map,
and which the map names: so they are here). Must not know how a dumper or a loader is made or run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Set, ValuesView
from dataclasses import is_dataclass
from enum import Enum
from typing import Any, Protocol, TypeAlias

from ..errors import ProgrammingError
from ..protocol.constants import Format
from .typeinfo import TypesRegistry, global_types, wrong_context

Buffer: TypeAlias = bytes | bytearray | memoryview
"""What can be sent as the value of a parameter."""

LoadFunc: TypeAlias = Callable[[bytes], Any]
"""What turns one value that the server sent, never NULL, into a Python object."""

DumperKey: TypeAlias = "type | tuple[Any, ...]"
"""What a dumper is cached by: the class of the object, or a tuple that starts with it."""


UNWRITTEN: list[object] = []
"""The methods of base classes that subclasses have to write."""


class PyFormat(str, Enum):
    """How the query asks for a parameter to be sent: the letter of its placeholder."""

    AUTO = "s"
    TEXT = "t"
    BINARY = "b"

    # Enum's own is a Python function, and these are keys that are looked up for every parameter.
    __hash__ = str.__hash__

    @classmethod
    def from_pq(cls, fmt: int) -> PyFormat:
        """Return the placeholder format that asks for the wire format."""
        return cls.BINARY if fmt == Format.BINARY else cls.TEXT

    @classmethod
    def as_pq(cls, fmt: PyFormat) -> Format:
        """Return the wire format that the placeholder format asks for, text for AUTO."""
        return Format.BINARY if fmt is cls.BINARY else Format.TEXT


class ConnectionInfo(Protocol):
    """What dumpers and loaders may ask about a connection."""

    @property
    def encoding(self) -> str:
        """Return the Python codec of the client encoding: `utf-8`, ..., and `ascii` for SQL_ASCII."""
        ...

    def parameter_status(self, name: str, /) -> str | None:
        """Return the server's value of a reported parameter such as `TimeZone`, None if it reported none."""
        ...


class AdaptContext(Protocol):
    """Anything that says how to convert values: a map, a connection, a cursor, a `Transformer`."""

    @property
    def adapters(self) -> AdaptersMap:
        """Return the map that dumpers and loaders are looked up in."""
        ...

    @property
    def connection(self) -> Any | None:
        """Return the connection, whose `info` is a `ConnectionInfo`, or None where there is none."""
        ...


class DumperProtocol(Protocol):
    """What turns Python objects of one class into what the server reads."""

    format: Format
    oid: int

    def __init__(self, cls: type, context: AdaptContext | None = None) -> None: ...

    def dump(self, obj: Any) -> Buffer | None:
        """Return the value of a parameter, None for NULL."""
        ...

    def quote(self, obj: Any) -> Buffer:
        """Return the object as a literal of SQL."""
        ...

    def get_key(self, obj: Any, format: PyFormat) -> DumperKey:
        """Return what tells which dumper the object needs: the class of the object where any will do."""
        ...

    def upgrade(self, obj: Any, format: PyFormat) -> DumperProtocol:
        """Return the dumper for `obj` and every object with the same key."""
        ...


class LoaderProtocol(Protocol):
    """What turns values of one PostgreSQL type into Python objects."""

    format: Format

    def __init__(self, oid: int, context: AdaptContext | None = None) -> None: ...

    def load(self, data: bytes) -> Any:
        """Return the object that the value stands for."""
        ...


_Dumpers: TypeAlias = dict[PyFormat, dict["type | str", type[DumperProtocol]]]
_DumpersByOid: TypeAlias = list[dict[int, type[DumperProtocol]]]
_Loaders: TypeAlias = list[dict[int, type[LoaderProtocol]]]
_ResultFormats: TypeAlias = dict[int, Format]


class Versioned:
    """What is asked of adapters for each query."""

    __slots__ = ("version",)

    version: int
    """Changes with every registration: what was looked up in the map before may be out of date."""


class AdaptersMap(Versioned):
    """Say which dumper serves a Python class, and which loader a PostgreSQL type.

    A map starts as a copy of its template and shares the template's tables until either is written to. It is
    a context itself, so that everything that registers something takes a map, a connection or a cursor alike.

    :param template: the map to start from; what is registered there later is not seen here.
    :param types: the types that are known by name; by default a copy of the template's.
    """

    def __init__(self, template: AdaptersMap | None = None, types: TypesRegistry | None = None):
        if template is not None:
            template = adapters_of(template)
        if types is None:
            types = TypesRegistry(template.types if template is not None else None)
        self.types: TypesRegistry = types
        self.version = 0
        self.before_change: Callable[[], None] | None = None
        """For this package: what is called before each registration."""
        self._own_dumpers = self._own_loaders = template is None
        if template is None:
            self._dumpers: _Dumpers = {f: {} for f in PyFormat}
            self._dumpers_by_oid: _DumpersByOid = [{}, {}]
            self._loaders: _Loaders = [{}, {}]
            self._result_formats: _ResultFormats = {}
        else:
            self._dumpers, self._dumpers_by_oid, self._loaders, self._result_formats = template.share()

    def share(self) -> tuple[_Dumpers, _DumpersByOid, _Loaders, _ResultFormats]:
        """For this class: return the tables, which from now on neither map writes to before it has copied them."""
        self._own_dumpers = self._own_loaders = False
        return self._dumpers, self._dumpers_by_oid, self._loaders, self._result_formats

    @property
    def adapters(self) -> AdaptersMap:
        """Return the map itself: it is a context."""
        return self

    @property
    def connection(self) -> None:
        """Return None: a map belongs to no connection."""
        return None

    def register_dumper(self, cls: type | str | None, dumper: type[DumperProtocol]) -> None:
        """Make a dumper serve a class and its subclasses, for AUTO and for the dumper's own format.

        Whichever dumper was registered last serves AUTO, so register the preferred one last.

        :param cls: the class, or its full name (`package.module.Class`) so that it need not be imported, or
            None for a dumper that is only found by its oid.
        :raises TypeError: the dumper is no class, or has no `dump`.
        :raises ValueError: the name of a class is without its module.
        """
        if cls is not None and not isinstance(cls, (type, str)):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"a dumper serves a class or the name of one, not {cls!r}")
        if isinstance(cls, str) and "." not in cls:
            raise ValueError(f"the name of a class has its module: 'package.module.Class', not {cls!r}")
        if not isinstance(dumper, type) or not hasattr(dumper, "format"):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"a dumper is a class, as a subclass of anyq.adapt.Dumper is, not {dumper!r}")
        _check_method(dumper, "dump")
        if self.before_change is not None:
            self.before_change()
        if not self._own_dumpers:
            self._dumpers = {format: table.copy() for format, table in self._dumpers.items()}
            self._dumpers_by_oid = [table.copy() for table in self._dumpers_by_oid]
            self._own_dumpers = True
        if cls is not None:
            for format in (PyFormat.AUTO, PyFormat.from_pq(dumper.format)):
                self._dumpers[format][cls] = dumper
        if dumper.oid:
            self._dumpers_by_oid[dumper.format][dumper.oid] = dumper
        self.version += 1

    def register_loader(self, oid: int | str, loader: type[LoaderProtocol]) -> None:
        """Make a loader serve a type, in the loader's format.

        Where the choice of the format is free, values are asked for in that of the loader registered last.

        :param oid: the oid of the type, or its name if the registry `types` knows it (`int4`, `int4[]`).
        :raises KeyError: `types` knows no type of this name.
        :raises TypeError: the loader is no class, or has no `load`.
        """
        if isinstance(oid, str):
            oid = self.types.get_oid(oid)
        if not isinstance(oid, int):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"a loader serves an oid or the name of a type, not {oid!r}")
        if not isinstance(loader, type) or not hasattr(loader, "format"):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"a loader is a class, as a subclass of anyq.adapt.Loader is, not {loader!r}")
        _check_method(loader, "load")
        if self.before_change is not None:
            self.before_change()
        if not self._own_loaders:
            self._loaders = [table.copy() for table in self._loaders]
            self._result_formats = self._result_formats.copy()
            self._own_loaders = True
        self._loaders[loader.format][oid] = loader
        self._result_formats[oid] = loader.format
        self.version += 1

    def get_dumper(self, cls: type, format: PyFormat) -> type[DumperProtocol]:
        """Return the dumper of a class or of the nearest base class that has one.

        :raises ProgrammingError: there is none.
        """
        table = self._dumpers[format]
        for base in cls.__mro__:
            dumper = table.get(base) or table.get(f"{base.__module__}.{base.__qualname__}")
            if dumper is not None:
                return dumper
        raise ProgrammingError(
            f"cannot adapt type '{cls.__name__}' using placeholder '%{format.value}' (format: {format.name}):"
            f" convert the value or register a dumper{self._what_to_do(cls)}"
        )

    def _what_to_do(self, cls: type[Any]) -> str:
        """Return what else helps who has passed an object of a class that has no dumper."""
        if issubclass(cls, dict):
            return "; to store a dict, wrap it in Json() or Jsonb(); for hstore, register_hstore() first"
        if any(base in other for base in cls.__mro__ for other in self._dumpers.values()):
            return "; another format of placeholder works"
        if cls.__module__ == "numpy":
            if cls.__name__ == "ndarray":
                return "; register_numpy_arrays() of anyq.types.numpy makes it an array, and its tolist() is a list"
            return "; what its item() returns may have one"
        if cls.__module__.partition(".")[0] == "shapely":
            return "; register_shapely() of anyq.types.shapely makes it a geometry of PostGIS"
        if hasattr(cls, "__fspath__"):
            return "; a path is stored as text: str(path)"
        if issubclass(cls, Sequence | Set | ValuesView | Iterator):
            return "; several values are one list: pass a list, with = ANY(%s) in place of IN %s"
        if is_dataclass(cls):
            return (
                "; to store it as a composite, register_composite(info, conn, factory=...), as JSON Jsonb(asdict(...))"
            )
        return ""

    def get_dumper_by_oid(self, oid: int, format: int) -> type[DumperProtocol]:
        """Return the dumper that writes a PostgreSQL type.

        :raises ProgrammingError: there is none.
        """
        dumper = self._dumpers_by_oid[format].get(oid)
        if dumper is None:
            info = self.types.get(oid)
            name = f"type {info.name} (oid {oid})" if info is not None else f"the unknown type of oid {oid}"
            raise ProgrammingError(
                f"there is no dumper for {name} in format {Format(format).name}: register one"
                + (", or use text format" if format and self.has_dumper_for(oid, Format.TEXT) else "")
            )
        return dumper

    def has_dumper_for(self, oid: int, format: int) -> bool:
        """Return whether there is a dumper that writes a PostgreSQL type."""
        return oid in self._dumpers_by_oid[format]

    def get_result_format(self, oid: int) -> Format:
        """Return the format to ask for a type's values where the choice is free."""
        return self._result_formats.get(oid, Format.TEXT)

    def get_loader(self, oid: int, format: int) -> type[LoaderProtocol] | None:
        """Return the loader of a type, None if it has none in this format."""
        return self._loaders[format].get(oid)


global_adapters = AdaptersMap(types=global_types)
"""The map that every connection starts from; `anyq.postgres` fills it."""


def _check_method(cls: Any, name: str) -> None:
    """Refuse a class whose objects could not do what they are registered for: it would be found out at each value."""
    method = getattr(cls, name, None)
    if method is None or any(method is one for one in UNWRITTEN):
        raise TypeError(f"{cls.__name__} cannot be registered: it has no {name}(), write that method")


def parameter_of(context: AdaptContext | None, name: str) -> str | None:
    """Return the server's value of a reported parameter such as `TimeZone`, None if there is none."""
    # A `Transformer` may have been handed those of another time.
    status: Callable[[str], str | None] | None = getattr(context, "parameter_status", None)
    if status is not None:
        return status(name)
    connection = context.connection if context is not None else None
    value: str | None = connection.info.parameter_status(name) if connection is not None else None
    return value


def adapters_of(context: AdaptContext | None) -> AdaptersMap:
    """Return the map to register in: the context's, or the global one for None.

    :raises TypeError: the context is something else.
    """
    if context is None:
        return global_adapters
    adapters = getattr(context, "adapters", None)
    if not isinstance(adapters, AdaptersMap):
        raise wrong_context(context)
    return adapters
