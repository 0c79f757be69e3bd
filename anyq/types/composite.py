"""Composites: composite types, and records of no type.

Knows the two formats of a row inside a value (PostgreSQL manual, "Composite Types"; src/backend/utils/adt/rowtypes.c),
and which Python object a composite type is. Must not know the types of the fields: it finds their dumpers and loaders
in the map.

Of a record of no type only the binary format says of which types its fields are. In text they are str.
"""

from __future__ import annotations

import re
import unicodedata
from collections import namedtuple
from collections.abc import Callable, Sequence
from functools import partial
from struct import Struct
from typing import Any, TypeAlias, TypeVar

from .._accel import twin
from .._accel.failures import dumped_bytes, load_failure
from .._accel.twins import DumpCompositeArguments, LoadCompositeArguments
from ..adapt.adapters_map import AdaptContext, LoadFunc, PyFormat, adapters_of
from ..adapt.base import BinaryLoaders
from ..adapt.encodings import encoding_of, is_ascii_safe
from ..adapt.misfits import OUT_OF_RANGE, UNFIT, reason
from ..adapt.recursive import RecursiveDumper, RecursiveLoader
from ..adapt.transformer import Transformer
from ..adapt.typeinfo import BASE_OID, TEXT_OID, TypeInfo, check_info, global_types
from ..errors import DataError, ProgrammingError
from ..protocol.constants import Format
from ._inside import by_characters, quote, refuse_loss
from ._record_formats import parse_record, parse_record_binary
from .array import ArrayBinaryLoader, ArrayLoader

__all__ = ["CompositeInfo", "register_composite"]

T = TypeVar("T")

ObjectMaker: TypeAlias = "Callable[[Sequence[Any], CompositeInfo], T]"
"""What makes an object of the values of the fields."""
SequenceMaker: TypeAlias = "Callable[[T, CompositeInfo], Sequence[Any]]"
"""What makes the values of the fields of an object."""


class CompositeInfo(TypeInfo):
    """Describe a composite type, or the type of the rows of a table. Fields that were dropped are not among its fields.

    :param field_names: in the order of the type.
    :param field_types: their oids.
    :param base_types: the same, with the base types in place of domains. By default `field_types`.
    """

    python_type: type | None = None
    """The class it was registered with last; None if that was another callable."""

    _kind = "c"
    _fields = "FROM pg_catalog.pg_attribute a WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped"
    _extra_columns = (
        f", (SELECT pg_catalog.array_agg(a.attname::text ORDER BY a.attnum) {_fields})"
        f", (SELECT pg_catalog.array_agg(a.atttypid ORDER BY a.attnum) {_fields})"
        f", (SELECT pg_catalog.array_agg(({BASE_OID.format(type='a.atttypid')}) ORDER BY a.attnum) {_fields})"
    )

    def __init__(
        self,
        name: str,
        oid: int,
        array_oid: int,
        *,
        regtype: str = "",
        field_names: Sequence[str],
        field_types: Sequence[int],
        base_types: Sequence[int] | None = None,
    ):
        super().__init__(name, oid, array_oid, regtype=regtype)
        self.field_names = tuple(field_names)
        self.field_types = tuple(field_types)
        self.base_types = self.field_types if base_types is None else tuple(base_types)

    @classmethod
    def _details(cls, *details: Any) -> dict[str, Any]:
        names, types, base_types = (column or () for column in details)
        return {"field_names": names, "field_types": types, "base_types": base_types}


def register_composite(
    info: CompositeInfo,
    context: AdaptContext | None = None,
    factory: Callable[..., T] | None = None,
    *,
    make_object: ObjectMaker[T] | None = None,
    make_sequence: SequenceMaker[T] | None = None,
) -> None:
    """Load a composite type as objects, and dump these as that type.

    :param info: from `CompositeInfo.fetch`.
    :param context: a connection, a cursor or a map; None for all connections that are opened from now on.
    :param factory: is called with the values of the fields, as positional arguments. If it is a class, its objects are
        dumped. By default a new class of named tuples, which is `info.python_type` afterwards.
    :param make_object: makes the object in place of the factory: is called with a sequence of values and `info`.
    :param make_sequence: returns the values of the fields of an object; needed for a class that is no sequence. It is
        called with the object and `info`.
    :raises TypeError: `info` is None: there is no such composite type; or it is no `CompositeInfo`; or
        what is to be called cannot be.
    """
    check_info(info, CompositeInfo, "composite")
    for name, given in (("factory", factory), ("make_object", make_object), ("make_sequence", make_sequence)):
        if given is not None and not callable(given):
            raise TypeError(f"{name} is called with what is in a composite, and {given!r} cannot be")
    made: Any = factory if factory is not None else _make_class(info)
    adapters = adapters_of(context)
    info.python_type = made if isinstance(made, type) else None
    attributes: dict[str, Any] = {"info": info}
    if make_sequence is not None:
        attributes["make_sequence"] = staticmethod(make_sequence)
    cls: Any
    for dumper in (_CompositeBinaryDumper, _CompositeDumper):
        cls = type(dumper.__name__[1:], (dumper,), {**attributes, "oid": info.oid})
        adapters.register_dumper(info.python_type, cls)
    attributes = {"info": info, "factory": staticmethod(made)}
    if make_object is not None:
        attributes["make_object"] = staticmethod(make_object)
    for loader in (_CompositeLoader, _CompositeBinaryLoader):
        cls = type(loader.__name__[1:], (loader,), attributes)
        adapters.register_loader(info.oid, cls)
    info.register(context)


def _make_class(info: CompositeInfo) -> type:
    make: Any = namedtuple
    made: type = make(_identifier(info.name), [_identifier(name) for name in info.field_names], rename=True)
    made.__module__ = __name__
    return made


def _identifier(name: str) -> str:
    # Python takes names that look alike for one (NFKC).
    name = re.sub(r"\W", "_", unicodedata.normalize("NFKC", name))
    return name if name.isidentifier() and not name.startswith("_") else f"f{name}"


# Dumping

MOST_NESTED = 16
"""Levels of records inside of records in text format, whose length doubles with each."""


class TupleDumper(RecursiveDumper):
    """Dump a tuple as a record of no type, which the server takes for that of the place where it stands."""

    def __init__(self, cls: type, context: AdaptContext | None = None):
        super().__init__(cls, context)
        self._encoding = encoding_of(self._tx)

    @twin("dump_composite_text")
    def dump(self, obj: tuple[Any, ...]) -> bytes:
        return self._write(obj)

    def _write(self, values: Sequence[Any], types: Sequence[int] = ()) -> bytes:
        nesting = self._tx.nesting
        if nesting.level == MOST_NESTED:
            raise DataError(
                f"cannot dump a tuple that is nested too deeply: more than {MOST_NESTED} levels; quotes inside of it "
                "are doubled at each. Register the composite types, and use %b"
            )
        nesting.level += 1
        try:
            return b"(%b)" % b",".join(self._parts(values, types))
        finally:
            nesting.level -= 1

    def _parts(self, values: Sequence[Any], types: Sequence[int]) -> list[bytes]:
        parts: list[bytes] = []
        get_dumper = self._tx.get_dumper
        for value in values:
            data = None
            if value is not None:
                dumper = get_dumper(value, PyFormat.TEXT)
                if types:
                    refuse_loss(value, dumper.oid, types[len(parts)])
                try:
                    data = dumped_bytes(dumper.dump(value), dumper.dump)
                except OUT_OF_RANGE as ex:
                    raise self._tx.misfit(dumper, value, ex) from ex
            parts.append(b"" if data is None else quote(data, self._encoding))
        return parts

    def dump_arguments(self) -> DumpCompositeArguments | None:
        """Return what the compiled twin needs to know, None where it is no good."""
        usable = self.format == Format.BINARY or is_ascii_safe(self._encoding)
        return self._dump_arguments() if usable else None

    def _dump_arguments(self) -> DumpCompositeArguments:
        return DumpCompositeArguments(self._tx, PyFormat.TEXT, None, None, None)


class _CompositeBase(TupleDumper):
    info: CompositeInfo
    make_sequence: SequenceMaker[Any] | None = None

    def _values(self, obj: Any) -> Sequence[Any]:
        """Return the values of the fields.

        :raises DataError: there are more of them than fields, or less.
        :raises ProgrammingError: nobody has said how to find them.
        """
        # What is found by the oid may be given a tuple as well.
        cls: Any = type(obj)  # pyright: ignore[reportUnknownVariableType]
        if self.make_sequence is not None and cls is not tuple:
            obj = self.make_sequence(obj, self.info)
        if not _is_sequence(obj):
            raise ProgrammingError(
                f"cannot dump {type(obj).__name__} as the composite type {self.info.name}: it is no sequence of its"
                " fields; pass make_sequence to register_composite()"
            )
        values: Sequence[Any] = obj
        if len(values) != len(self.info.field_names):
            raise DataError(
                f"the composite type {self.info.name} has {len(self.info.field_names)} fields"
                f" ({', '.join(self.info.field_names)}), and {type(obj).__name__} has {len(values)}"
            )
        return values

    def _dump_arguments(self) -> DumpCompositeArguments:
        dump_field = getattr(self, "_dump_field", None)
        return DumpCompositeArguments(
            self._tx, PyFormat.from_pq(self.format), self.info, self.make_sequence, dump_field
        )


def _is_sequence(obj: object) -> bool:
    return isinstance(obj, Sequence) and not isinstance(obj, str | bytes)


class _CompositeDumper(_CompositeBase):
    @twin("dump_composite_text")
    def dump(self, obj: Any) -> bytes:
        return self._write(self._values(obj), self.info.base_types)


_pack_count = Struct(">i").pack
_pack_field = Struct(">Ii").pack


class _CompositeBinaryDumper(_CompositeBase):
    format = Format.BINARY

    @twin("dump_composite")
    def dump(self, obj: Any) -> bytes:
        info = self.info
        values = self._values(obj)
        out = [_pack_count(len(values))]
        for i, value in enumerate(values):
            data = None if value is None else self._dump_field(i, value)
            out.append(_pack_field(info.field_types[i], -1 if data is None else len(data)))
            if data is not None:
                out.append(data)
        return b"".join(out)

    def _dump_field(self, i: int, value: Any) -> bytes | None:
        info = self.info
        oid = info.base_types[i]
        dumper: Any = None
        try:
            dumper = self._tx.get_dumper(value, PyFormat.BINARY)
            refuse_loss(value, dumper.oid, oid)
        except ProgrammingError:
            pass  # such as a tuple, whose types only the field says
        unfit: tuple[type[Exception], ...] = OUT_OF_RANGE
        if dumper is None or dumper.format != Format.BINARY or dumper.oid not in (oid, info.field_types[i]):
            dumper = self._tx.get_dumper_by_oid(oid, Format.BINARY)
            unfit = UNFIT
        try:
            data = dumper.dump(value)
        except unfit as ex:
            raise DataError(
                f"cannot dump {type(value).__name__} as the field {info.field_names[i]} of {info.name} in binary"
                f" format: {reason(self._tx.adapters, dumper.oid, value, ex)}, or use %t"
            ) from ex
        return dumped_bytes(data, dumper.dump)


# Loading


def _load_fields(functions: Sequence[LoadFunc], parts: Sequence[bytes | None]) -> list[Any]:
    values: list[Any] = []
    try:
        for function, part in zip(functions, parts, strict=True):
            values.append(None if part is None else function(part))
    except Exception as ex:
        place = len(values)
        raise load_failure(functions[place], parts[place] or b"", ex)  # noqa: B904 (it has its cause, if another one)
    return values


class _TextLoader(RecursiveLoader):
    def __init__(self, oid: int, context: AdaptContext | None = None):
        super().__init__(oid, context)
        self._encoding = encoding_of(self._tx)
        self._ascii_safe = is_ascii_safe(self._encoding)

    def _parse(self, data: bytes) -> list[bytes | None]:
        if self._ascii_safe:
            return parse_record(data)
        parts: list[bytes | None] = by_characters(data, self._encoding, parse_record)
        return parts

    def _field_functions(self) -> list[LoadFunc]:
        raise NotImplementedError

    def load_arguments(self) -> LoadCompositeArguments | None:
        """Return what the compiled twin needs to know, None where it is no good."""
        return _load_arguments(self, self._field_functions) if self._ascii_safe else None


class RecordLoader(_TextLoader):
    """Load a record of no type from text format: a tuple of str, and None for NULL.

    A record without fields cannot be told from one of a single NULL, and is taken for that.
    """

    @twin("load_composite_text")
    def load(self, data: bytes) -> tuple[Any, ...]:
        parts = self._parse(data)
        return tuple(_load_fields(self._field_functions() * len(parts), parts))

    def _field_functions(self) -> list[LoadFunc]:
        return [self._tx.get_load_function(TEXT_OID, Format.TEXT)]


class _BinaryLoader(RecursiveLoader):
    format = Format.BINARY

    def __init__(self, oid: int, context: AdaptContext | None = None):
        super().__init__(oid, context)
        self._inner: Transformer | None = None
        self._plans: dict[tuple[int, ...], list[LoadFunc]] = {}

    def _functions(self, oids: tuple[int, ...]) -> list[LoadFunc]:
        """Return what loads fields of these types."""
        plan = self._plans.get(oids)
        if plan is None:
            if self._inner is None:
                self._inner = self._tx.nested()
            if len(self._plans) >= _MOST_PLANS:
                self._plans.clear()
            plan = self._plans[oids] = [self._inner.get_load_function(oid, Format.BINARY) for oid in oids]
        return plan

    def load_arguments(self) -> LoadCompositeArguments:
        """Return what the compiled twin needs to know."""
        return _load_arguments(self, self._functions)


_MOST_PLANS = 100
"""Records of so many shapes are remembered by one loader."""


class RecordBinaryLoader(_BinaryLoader):
    """Load a record of no type from binary format: a tuple of the values that its fields say they are."""

    @twin("load_composite")
    def load(self, data: bytes) -> tuple[Any, ...]:
        oids, parts = parse_record_binary(data)
        return tuple(_load_fields(self._functions(oids), parts))


class _Made:
    """What is made of the values of the fields of a composite that is registered."""

    info: CompositeInfo
    factory: Callable[..., Any]
    make_object: ObjectMaker[Any] | None = None

    def _make(self, values: list[Any]) -> Any:
        return self.factory(*values) if self.make_object is None else self.make_object(values, self.info)


class _CompositeLoader(_Made, _TextLoader):
    def __init__(self, oid: int, context: AdaptContext | None = None):
        super().__init__(oid, context)
        self._functions: list[LoadFunc] | None = None

    @twin("load_composite_text")
    def load(self, data: bytes) -> Any:
        parts = self._parse(data)
        count = len(self.info.field_types)
        if len(parts) != count:
            if count or parts != [None]:
                raise _other_fields(self.info, len(parts))
            parts = []
        return self._make(_load_fields(self._field_functions(), parts))

    def _field_functions(self) -> list[LoadFunc]:
        if self._functions is None:
            inner = self._tx.nested()
            self._functions = [inner.get_load_function(oid, Format.TEXT) for oid in self.info.base_types]
        return self._functions


class _CompositeBinaryLoader(_Made, _BinaryLoader):
    @twin("load_composite")
    def load(self, data: bytes) -> Any:
        oids, parts = parse_record_binary(data)
        info = self.info
        if oids == info.field_types:
            # Domains are loaded as what they are made of.
            oids = info.base_types
        elif len(parts) != len(info.field_types):
            raise _other_fields(info, len(parts))
        return self._make(_load_fields(self._functions(oids), parts))

    @classmethod
    def is_usable(cls, oid: int, tx: BinaryLoaders) -> bool:
        return all([tx.has_binary_loader(oid) for oid in cls.info.base_types])


def _load_arguments(loader: Any, find_functions: Callable[..., list[LoadFunc]]) -> LoadCompositeArguments:
    if not isinstance(loader, _Made):
        return LoadCompositeArguments(find_functions, None, None, None, None, None)
    info = loader.info
    if isinstance(loader, _BinaryLoader):
        find_functions = partial(find_functions, info.base_types)
    cls = None if loader.make_object is not None else _plain_tuple(loader.factory, len(info.field_types))
    return LoadCompositeArguments(find_functions, info.field_types, cls, loader.factory, loader.make_object, info)


def _plain_tuple(factory: Any, count: int) -> type | None:
    """Return it if it is a class of named tuples, which puts so many values together and does nothing else."""
    cls = factory
    if type(factory) is not type or not issubclass(factory, tuple):
        return None
    new: Any = cls.__new__
    tuple_new = tuple.__new__  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]  # tuples of what
    plain = cls.__init__ is object.__init__ and getattr(new, "__globals__", {}).get("_tuple_new") is tuple_new
    return cls if plain and new.__code__.co_argcount == 1 + count else None


def _other_fields(info: CompositeInfo, count: int) -> DataError:
    return DataError(
        f"the composite type {info.name} has {count} fields, and had {len(info.field_names)} when it was registered"
        f" ({', '.join(info.field_names)}): fetch the CompositeInfo again and register it"
    )


def register_default_adapters(context: AdaptContext) -> None:
    """Register tuples and records, after arrays of every type: arrays of records are arranged here."""
    adapters = context.adapters
    adapters.register_dumper(tuple, TupleDumper)
    record = global_types["record"]
    # Text is preferred: which format is asked for depends on whether a statement is prepared, and these differ.
    for oid, loaders in (
        (record.oid, (RecordBinaryLoader, RecordLoader)),
        (record.array_oid, (ArrayBinaryLoader, ArrayLoader)),
    ):
        for loader in loaders:
            adapters.register_loader(oid, loader)
