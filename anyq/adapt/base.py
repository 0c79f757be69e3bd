"""The base classes of dumpers and loaders.

Knows what one of them has to be able to do, and does what most of them do alike. Must not know how they are found.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from .._accel import twin
from .._accel.failures import dumped_bytes
from ..errors import DataError
from ..protocol.constants import Format
from .adapters_map import UNWRITTEN, AdaptContext, AdaptersMap, Buffer, DumperKey, DumperProtocol, PyFormat
from .encodings import encoding_of
from .quoting import quote_literal


def plain(function: Callable[..., Any]) -> Any:
    """Return the function as a method that takes no `self`: a `load` or `dump` that needs no Python frame."""
    return staticmethod(function)


class Dumper:
    """Turn Python objects of one class into what the server reads. Subclasses write `dump`."""

    format: Format = Format.TEXT
    oid: int = 0
    delegates = False
    """Whether `dump` runs other dumpers, and says itself which part of a value does not fit."""

    def __init__(self, cls: type, context: AdaptContext | None = None):
        self.cls = cls
        self.connection: Any | None = context.connection if context is not None else None
        self._encoding = encoding_of(context)

    def dump(self, obj: Any) -> Buffer | None:
        """Return the value of a parameter, None for NULL.

        :raises DataError: PostgreSQL has no such value.
        """
        raise NotImplementedError(f"{type(self).__name__} has no dump()")

    def quote(self, obj: Any) -> bytes:
        """Return the object as a literal of SQL. Only a number that has to be in quotes has a cast.

        The literal reads the same whatever `standard_conforming_strings` is (PostgreSQL manual, "String
        Constants with C-Style Escapes").

        :raises DataError: PostgreSQL has no such value.
        """
        value = dumped_bytes(self.dump(obj), self.dump)
        if value is None:
            return b"NULL"
        if b"\0" in value:
            raise DataError(f"a literal cannot contain NUL bytes: cannot write {self.cls.__name__} as SQL")
        return quote_literal(value, self._encoding)

    def get_key(self, obj: Any, format: PyFormat) -> DumperKey:
        """Return what tells which dumper the object needs: by default its class, so that this one does.

        Whoever overrides it overrides `upgrade` too. Called for every object, so it must be fast.
        """
        return self.cls

    def upgrade(self, obj: Any, format: PyFormat) -> DumperProtocol:
        """Return the dumper for `obj` and every object with the same key; called once for a key."""
        return self

    @twin("common_alike")
    def common_item(self, items: Sequence[Any], format: PyFormat) -> Any:
        """Return the item whose dumper can dump all the others: how the items of one array find their type.

        :raises DataError: there is none.
        """
        keys = {self.get_key(item, format) for item in items}
        if len(keys) > 1:
            raise DataError(f"cannot dump a list of {self.cls.__name__} of different PostgreSQL types: make them alike")
        return items[0]


class BinaryLoaders(Protocol):
    """What knows which types can be loaded from binary format: a `Transformer`."""

    @property
    def adapters(self) -> AdaptersMap:
        """Return the map that loaders are looked up in."""
        ...

    def has_binary_loader(self, oid: int) -> bool:
        """Return whether a type can be asked for in binary format: it and its parts have loaders."""
        ...

    @property
    def encoding(self) -> str:
        """Return the normalised name of the codec of the client encoding."""
        ...

    def parameter_status(self, name: str, /) -> str | None:
        """Return the server's value of a reported parameter, None if there is none."""
        ...


class Loader:
    """Turn values of one PostgreSQL type into Python objects. Subclasses write `load`."""

    format: Format = Format.TEXT
    delegates = False
    """Whether `load` runs what others have written, so that not every exception of it is about the value."""

    def __init__(self, oid: int, context: AdaptContext | None = None):
        self.oid = oid
        self.connection: Any | None = context.connection if context is not None else None

    def load(self, data: bytes) -> Any:
        """Return the object that the value stands for; never called for NULL.

        :raises DataError: Python has no such value.
        """
        raise NotImplementedError(f"{type(self).__name__} has no load()")

    @classmethod
    def is_usable(cls, oid: int, tx: BinaryLoaders) -> bool:
        """Return whether values of `oid` can be loaded: False if that takes a loader that does not exist."""
        return True


UNWRITTEN.extend((Dumper.dump, Loader.load))
