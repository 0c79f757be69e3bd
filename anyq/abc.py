"""The types that the adaptation layer and its users agree on.

Knows names and shapes only: aliases and protocols, to annotate with. Must not know how anything is adapted,
queried or sent, and imports nothing of the package at run time, so that every module may import it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    # Names in annotations only: this module describes what the modules below are made of.
    from typing_extensions import LiteralString

    from . import sql
    from .adapt import AdaptersMap, PyFormat
    from .protocol.constants import Format

Buffer: TypeAlias = bytes | bytearray | memoryview
"""What can be sent as the value of a parameter."""

Query: TypeAlias = "LiteralString | bytes | sql.SQL | sql.Composed"
"""What can be executed: literal strings, so that a type checker refuses one made from values."""

Params: TypeAlias = Sequence[Any] | Mapping[str, Any]
"""The arguments of a query: a sequence for `%s`, a mapping for `%(name)s`."""

LoadFunc: TypeAlias = Callable[[bytes], Any]
"""What turns one value that the server sent, never NULL, into a Python object."""

DumperKey: TypeAlias = "type | tuple[Any, ...]"
"""What a dumper is cached by: the class of the object, or a tuple that starts with it."""


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


class Dumper(Protocol):
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

    def upgrade(self, obj: Any, format: PyFormat) -> Dumper:
        """Return the dumper for `obj` and every object with the same key."""
        ...


class Loader(Protocol):
    """What turns values of one PostgreSQL type into Python objects."""

    format: Format

    def __init__(self, oid: int, context: AdaptContext | None = None) -> None: ...

    def load(self, data: bytes) -> Any:
        """Return the object that the value stands for."""
        ...
