"""Conversion between Python objects and PostgreSQL values.

Knows dumpers, loaders and the `Transformer`, which plans a conversion once for a type and then only runs it.
Must not know any type family (`anyq.types`), queries or connections: a context has an `AdaptersMap` and
perhaps a connection, of which only `info.encoding` is asked here.

How the hot path works. `Transformer.dump_sequence` keeps a *plan* for each class of object and placeholder
format: the bound `dump`, the oid, the wire format. Where the class does not decide alone (an int goes by its
magnitude, a list by its items) the plan has a `get_key`, and the plans by key hang on it.
`Transformer.get_load_function` hands out the bound `load` of a loader, which the decoder of rows then calls
for each value; so the work of a loader that is one C function (`int`, `bytes.decode`) runs without a Python
frame. Where the compiled path is in use, it replaces these functions with its own (`anyq._accel`). All of it is
dropped when the map changes.
"""

from __future__ import annotations

import codecs
import struct
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from .. import abc
from .._accel import compile_dump, compile_key, compile_load, dump_values
from ..abc import AdaptContext, Buffer, DumperKey, LoadFunc
from ..errors import DataError, InterfaceError, ProgrammingError
from ..protocol.constants import Format
from .adapters_map import AdaptersMap, PyFormat, adapters_of, global_adapters
from .typeinfo import TypeInfo, builtin_types

__all__ = [
    "AdaptersMap",
    "Buffer",
    "Dumper",
    "Format",
    "Loader",
    "PyFormat",
    "RecursiveDumper",
    "RecursiveLoader",
    "Transformer",
    "adapters_of",
    "global_adapters",
]

TEXT_OID = builtin_types["text"].oid

# Oids below are assigned by hand in PostgreSQL's source, so names of these types mean the same in every
# database (src/include/access/transam.h, FirstGenbkiObjectId).
_FIRST_GENERATED_OID = 10_000

# Encodings of clients in which the second byte of a character can be an ASCII one, a backslash or a brace for
# example (PostgreSQL manual, "Character Set Support": these are the ones that a server cannot have).
_NOT_ASCII_SAFE = frozenset({"big5", "cp932", "cp949", "gb18030", "gbk", "johab", "shift_jis", "shift_jis_2004"})


def plain(function: Callable[..., Any]) -> Any:
    """Return the function as a method that takes no `self`: a `load` or `dump` that needs no Python frame."""
    return staticmethod(function)


def encoding_of(context: AdaptContext | None) -> str:
    """Return the normalised name of the codec of the context's connection; `utf-8` where there is none."""
    connection = context.connection if context is not None else None
    return codecs.lookup(connection.info.encoding).name if connection is not None else "utf-8"


def is_ascii_safe(encoding: str) -> bool:
    """Return whether every byte below 128 is an ASCII character in this (normalised) encoding."""
    return encoding not in _NOT_ASCII_SAFE


class Dumper:
    """Turn Python objects of one class into what the server reads. Subclasses write `dump`."""

    format: Format = Format.TEXT
    oid: int = 0

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
        """Return the object as a literal of SQL, without a cast.

        The literal reads the same whatever `standard_conforming_strings` is (PostgreSQL manual, "String
        Constants with C-Style Escapes").

        :raises DataError: PostgreSQL has no such value.
        """
        value = self.dump(obj)
        if value is None:
            return b"NULL"
        value = bytes(value)
        if b"\0" in value:
            raise DataError(f"a literal cannot contain NUL bytes: cannot write {self.cls.__name__} as SQL")
        if is_ascii_safe(self._encoding):
            return quote_bytes(value)
        return quote_str(value.decode(self._encoding)).encode(self._encoding)

    def get_key(self, obj: Any, format: PyFormat) -> DumperKey:
        """Return what tells which dumper the object needs: by default its class, so that this one does.

        Whoever overrides it overrides `upgrade` too. Called for every object, so it must be fast.
        """
        return self.cls

    def upgrade(self, obj: Any, format: PyFormat) -> abc.Dumper:
        """Return the dumper for `obj` and every object with the same key; called once for a key."""
        return self

    def common_item(self, items: Sequence[Any], format: PyFormat) -> Any:
        """Return the item whose dumper can dump all the others: how the items of one array find their type.

        :raises DataError: there is none.
        """
        keys = {self.get_key(item, format) for item in items}
        if len(keys) > 1:
            raise DataError(f"cannot dump a list of {self.cls.__name__} of different PostgreSQL types: make them alike")
        return items[0]


class Loader:
    """Turn values of one PostgreSQL type into Python objects. Subclasses write `load`."""

    format: Format = Format.TEXT

    def __init__(self, oid: int, context: AdaptContext | None = None):
        self.oid = oid
        self.connection: Any | None = context.connection if context is not None else None

    def load(self, data: bytes) -> Any:
        """Return the object that the value stands for; never called for NULL.

        :raises DataError: Python has no such value.
        """
        raise NotImplementedError(f"{type(self).__name__} has no load()")

    @classmethod
    def is_usable(cls, oid: int, tx: Transformer) -> bool:
        """Return whether values of `oid` can be loaded: False if that takes a loader that does not exist."""
        return True


class RecursiveDumper(Dumper):
    """Dump objects that contain objects: `self._tx` dumps these."""

    def __init__(self, cls: type, context: AdaptContext | None = None):
        super().__init__(cls, context)
        self._tx = Transformer.from_context(context)


class RecursiveLoader(Loader):
    """Load values that contain values: `self._tx` loads these."""

    def __init__(self, oid: int, context: AdaptContext | None = None):
        super().__init__(oid, context)
        self._tx = Transformer.from_context(context)


def quote_bytes(value: bytes) -> bytes:
    """Return text in an ASCII-safe encoding as a literal of SQL."""
    value = value.replace(b"'", b"''")
    if b"\\" in value:
        # The space keeps the E apart from a word before it.
        return b" E'" + value.replace(b"\\", b"\\\\") + b"'"
    return b"'" + value + b"'"


def quote_str(value: str) -> str:
    """Return text as a literal of SQL, to be encoded."""
    value = value.replace("'", "''")
    if "\\" in value:
        return " E'" + value.replace("\\", "\\\\") + "'"
    return f"'{value}'"


class _Plan(NamedTuple):
    """How to dump the objects of one class, or of one key of a class."""

    get_key: Callable[[Any, PyFormat], DumperKey] | None
    """None where all objects of the class are dumped alike."""
    by_key: dict[DumperKey, _Plan]
    dump: Callable[[Any], Buffer | None]
    oid: int
    format: int
    dumper: abc.Dumper


class Transformer:
    """Convert values of one connection, remembering how.

    Lives as long as its context: what is registered in the map meanwhile counts at once. Whoever owns the
    connection calls `clear` when a parameter changed that dumpers or loaders look at, such as the client
    encoding.

    :param context: where the map and the connection are from; None for the global map without a connection.
    """

    _encoding: str | None

    def __init__(self, context: AdaptContext | None = None):
        self._adapters = adapters_of(context)
        self._connection: Any | None = context.connection if context is not None else None
        self.clear()

    @staticmethod
    def from_context(context: AdaptContext | None) -> Transformer:
        """Return the context if it is a `Transformer`, else a new one for it."""
        return context if isinstance(context, Transformer) else Transformer(context)

    @property
    def adapters(self) -> AdaptersMap:
        """Return the map that dumpers and loaders are looked up in."""
        return self._adapters

    @property
    def connection(self) -> Any | None:
        """Return the connection, None if there is none."""
        return self._connection

    @property
    def encoding(self) -> str:
        """Return the codec of the connection's client encoding, `utf-8` without a connection."""
        if self._encoding is None:
            self._encoding = encoding_of(self)
        return self._encoding

    def clear(self) -> None:
        """Forget every dumper and loader, so that the next ones see the connection as it is now."""
        self._version = self._adapters.version
        self._encoding = None
        self._plans: dict[PyFormat, dict[type, _Plan]] = {format: {} for format in PyFormat}
        self._oid_dumpers: tuple[dict[int, abc.Dumper], ...] = ({}, {})
        self._loaders: tuple[dict[int, abc.Loader], ...] = ({}, {})
        self._load_functions: tuple[dict[int, LoadFunc], ...] = ({}, {})
        self._has_binary_loader: dict[int, bool] = {}

    # Dumping

    def dump_sequence(
        self, params: Sequence[object], formats: Sequence[PyFormat]
    ) -> tuple[list[Buffer | None], tuple[int, ...], list[int]]:
        """Return the values, the oids and the wire formats (0 text, 1 binary) of parameters, in their order.

        An oid is 0 where the server is to find the type out.

        :raises ProgrammingError: a parameter is of a type that has no dumper, or there is not one for each format.
        :raises DataError: a parameter has a value that PostgreSQL cannot hold.
        """
        if self._version != self._adapters.version:
            self.clear()
        values: list[Buffer | None] = []
        oids: list[int] = []
        wire: list[int] = []
        if len(params) != len(formats):
            raise ProgrammingError(f"got {len(params)} parameters for {len(formats)} placeholders")
        try:
            dump_values(params, formats, self._plans, self._plan_class, self._plan_key, values, oids, wire)
        except (struct.error, OverflowError) as ex:
            raise _out_of_range(params[len(values)], f"parameter {len(values) + 1}", ex) from ex
        return values, tuple(oids), wire

    def dump_typed(self, values: Sequence[Any], oids: Sequence[int], format: int) -> list[Buffer | None]:
        """Return the values written as these types: how COPY writes a row once its types are set.

        :raises ProgrammingError: one of the types has no dumper.
        :raises DataError: a value does not fit its type.
        """
        out: list[Buffer | None] = []
        try:
            for obj, oid in zip(values, oids, strict=True):
                out.append(None if obj is None else self.get_dumper_by_oid(oid, format).dump(obj))
        except (struct.error, OverflowError) as ex:
            raise _out_of_range(values[len(out)], f"column {len(out) + 1}", ex) from ex
        return out

    def as_literal(self, obj: Any) -> bytes:
        """Return the object as a literal of SQL, with a cast to its type where the literal does not show it.

        :raises ProgrammingError: the object is of a type that has no dumper.
        :raises DataError: the object has a value that PostgreSQL cannot hold.
        """
        dumper = self.get_dumper(obj, PyFormat.TEXT)
        try:
            literal = bytes(dumper.quote(obj))
        except (struct.error, OverflowError) as ex:
            raise _out_of_range(obj, "literal", ex) from ex
        # Bare numbers and keywords need no cast. The last character tells, as the first may be an E.
        if dumper.oid and dumper.oid != TEXT_OID and literal.endswith(b"'"):
            info = self._adapters.types.get(dumper.oid)
            if info is not None:
                literal += b"::" + _type_as_sql(info, dumper.oid).encode(self.encoding)
        return literal

    def get_dumper(self, obj: object, format: PyFormat) -> abc.Dumper:
        """Return the dumper of an object; cached, the same for all objects that are dumped alike.

        :raises ProgrammingError: the object is of a type that has no dumper.
        """
        if self._version != self._adapters.version:
            self.clear()
        plan = self._plans[format].get(type(obj))
        if plan is None:
            plan = self._plan_class(obj, format)
        if plan.get_key is not None:
            plan = plan.by_key.get(plan.get_key(obj, format)) or self._plan_key(plan, obj, format)
        return plan.dumper

    def get_common_dumper(self, items: Sequence[object], format: PyFormat) -> abc.Dumper:
        """Return one dumper for all of the items: ints go by the largest, others must be of one type.

        :param items: one object at least, and no None.
        :raises ProgrammingError: an object is of a type that has no dumper.
        :raises DataError: the objects are of several types.
        """
        if self._version != self._adapters.version:
            self.clear()
        item = items[0]
        known = self._plans[format]
        plan = known.get(type(item)) or self._plan_class(item, format)
        classes = set(map(type, items))
        if len(classes) > 1:
            for other in items:
                other_plan = known.get(type(other)) or self._plan_class(other, format)
                if type(other_plan.dumper) is not type(plan.dumper):
                    names = ", ".join(sorted(cls.__name__ for cls in classes))
                    raise DataError(f"cannot dump a list of mixed types ({names}): convert its items to one type")
        if plan.get_key is not None and isinstance(plan.dumper, Dumper):
            item = plan.dumper.common_item(items, format)
        return self.get_dumper(item, format)

    def get_dumper_by_oid(self, oid: int, format: int) -> abc.Dumper:
        """Return the dumper that writes a PostgreSQL type; cached.

        :raises ProgrammingError: there is none.
        """
        if self._version != self._adapters.version:
            self.clear()
        dumper = self._oid_dumpers[format].get(oid)
        if dumper is None:
            dumper = self._adapters.get_dumper_by_oid(oid, format)(type(None), self)
            self._oid_dumpers[format][oid] = dumper
        return dumper

    def _plan_class(self, obj: object, format: PyFormat) -> _Plan:
        cls = type(obj)
        dumper = self._adapters.get_dumper(cls, format)(cls, self)
        get_key = compile_key(dumper.get_key)
        plan = _Plan(get_key, {}, compile_dump(dumper.dump), dumper.oid, int(dumper.format), dumper)
        # A dumper may be any object of the right shape, so only the method of our base class is known to return
        # the class.
        if getattr(type(dumper), "get_key", None) is Dumper.get_key:
            plan = plan._replace(get_key=None)
        self._plans[format][cls] = plan
        return plan

    def _plan_key(self, plan: _Plan, obj: object, format: PyFormat) -> _Plan:
        assert plan.get_key is not None
        key = plan.get_key(obj, format)
        dumper = plan.dumper if key is type(obj) else plan.dumper.upgrade(obj, format)
        final = _Plan(None, {}, compile_dump(dumper.dump), dumper.oid, int(dumper.format), dumper)
        plan.by_key[key] = final
        return final

    # Loading

    def get_load_function(self, oid: int, format: int) -> LoadFunc:
        """Return what to call with each value of a type; cached.

        A type without a loader is loaded as one of oid 0: as str in text format, as bytes in binary.
        """
        if self._version != self._adapters.version:
            self.clear()
        function = self._load_functions[format].get(oid)
        if function is None:
            function = compile_load(self.get_loader(oid, format).load)
            self._load_functions[format][oid] = function
        return function

    def get_loader(self, oid: int, format: int) -> abc.Loader:
        """Return the loader of a type; cached. A type without one gets that of oid 0.

        :raises InterfaceError: not even oid 0 has one: the map was not made from `anyq.adapters`.
        """
        if self._version != self._adapters.version:
            self.clear()
        loader = self._loaders[format].get(oid)
        if loader is None:
            loader_cls = self._adapters.get_loader(oid, format) or self._adapters.get_loader(0, format)
            if loader_cls is None:
                raise InterfaceError("this map has no loader for unknown types: make it from anyq.adapters")
            loader = self._loaders[format][oid] = loader_cls(oid, self)
        return loader

    def prefers_binary(self, oid: int) -> bool:
        """Return whether values of a type are better asked for in binary format than in text."""
        return self._adapters.get_result_format(oid) == Format.BINARY and self.has_binary_loader(oid)

    def has_binary_loader(self, oid: int) -> bool:
        """Return whether a type can be asked for in binary format: it and its parts have loaders."""
        if self._version != self._adapters.version:
            self.clear()
        found = self._has_binary_loader.get(oid)
        if found is None:
            loader_cls = self._adapters.get_loader(oid, Format.BINARY)
            if loader_cls is None:
                found = False
            elif issubclass(loader_cls, Loader):
                # The answer for a type that contains itself is the answer for its other parts.
                self._has_binary_loader[oid] = True
                found = loader_cls.is_usable(oid, self)
            else:
                found = True
            self._has_binary_loader[oid] = found
        return found


def _out_of_range(obj: Any, where: str, cause: Exception) -> DataError:
    return DataError(f"{where}: a value of type {type(obj).__name__} does not fit its PostgreSQL type: {cause}")


def _type_as_sql(info: TypeInfo, oid: int) -> str:
    name = info.name
    if info.oid >= _FIRST_GENERATED_OID or name == "char":
        # Only the server knows which schema a user's type needs to be found; and `char` means bpchar unless
        # quoted.
        name = info.regtype
    return f"{name}[]" if oid == info.array_oid else name
