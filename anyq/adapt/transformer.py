"""Conversion of values, planned once and then only run: `Transformer`.

Knows dumpers and loaders, and how they are found in the map. Must not know any type family (`anyq.types`), queries or
connections: of the connection of a context only the encoding is asked, where it was not handed over.

How the hot path works. `Transformer.dump_sequence` keeps a `DumpPlan` for each class of object and placeholder
format: the bound `dump`, the oid, the wire format. Where the class does not decide alone (an int goes by its
magnitude, a list by its items) the plan has a `get_key`, and the plans by key hang on it.
`Transformer.get_load_function` hands out the bound `load` of a loader, which the decoder of rows then calls
for each value; so the work of a loader that is one C function (`int`, `bytes.decode`) runs without a Python
frame. Where the compiled path is in use, it replaces these functions with its own (`anyq._accel`). All of it is
dropped when the map changes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .._accel import DumpPlan, Nesting, compile_dump, compile_key, compile_load, dump_values
from .._accel.failures import dumped_bytes
from ..errors import DataError, InterfaceError, ProgrammingError
from ..protocol.constants import Format
from .adapters_map import (
    AdaptContext,
    AdaptersMap,
    Buffer,
    DumperKey,
    DumperProtocol,
    LoaderProtocol,
    LoadFunc,
    PyFormat,
    adapters_of,
)
from .base import Dumper, Loader
from .encodings import connection_encoding, encode_text, encoding_to_write
from .misfits import OUT_OF_RANGE, UNFIT, misfit
from .quoting import quote_identifier
from .typeinfo import TEXT_OID, TypeInfo

# Oids below are assigned by hand in PostgreSQL's source, so names of these types mean the same in every
# database (src/include/access/transam.h, FirstGenbkiObjectId).
_FIRST_GENERATED_OID = 10_000

MOST_LEVELS = 32
"""How deep a value may be nested whose parts say themselves of which type they are, records in records for example: a
server that goes on and on costs no more than that."""


class Transformer:
    """Convert values of one connection, remembering how.

    What is registered in the map counts at once. A connection makes another one when a parameter changed that dumpers
    or loaders look at; whoever has made one for a connection calls `clear` then.

    :param context: where the map and the connection are from; None for the global map without a connection.
    :param encoding: the normalised name of the codec of the client encoding; by default that of the connection, which
        is asked for it.
    :param parameters: the server's parameters, as they were when it wrote what is to be loaded; by default the
        connection is asked for them.
    """

    encoding: str
    """The codec of the connection's client encoding, `utf-8` without a connection."""

    def __init__(
        self,
        context: AdaptContext | None = None,
        *,
        encoding: str | None = None,
        parameters: Mapping[str, str] | None = None,
    ):
        self.adapters: AdaptersMap = adapters_of(context)
        """The map that dumpers and loaders are looked up in. Not to be changed."""
        self.connection: Any | None = context.connection if context is not None else None
        """The connection, None if there is none. Not to be changed."""
        self._handed_encoding = encoding
        self._level = 0
        self.nesting = Nesting()
        """For dumpers of values that contain values."""
        self.parameters = parameters
        """The server's parameters that were handed over, or None. Not to be changed."""
        self.clear()

    def nested(self) -> Transformer:
        """Return the one for values inside of values: see `MOST_LEVELS`. It remembers on its own.

        :raises DataError: there are more levels than any type has.
        """
        if self._level == MOST_LEVELS:
            raise DataError(f"malformed value: values inside of values, more than {MOST_LEVELS} levels deep")
        inner = Transformer(self, encoding=self.encoding, parameters=self.parameters)
        inner._level = self._level + 1
        return inner

    @staticmethod
    def from_context(context: AdaptContext | None) -> Transformer:
        """Return the context if it is a `Transformer`, else a new one for it."""
        return context if isinstance(context, Transformer) else Transformer(context)

    def clear(self) -> None:
        """Forget every dumper and loader, so that the next ones see the connection as it is now."""
        self.version = self.adapters.version
        """Of the map, when what is remembered was planned."""
        self.encoding = self._handed_encoding or connection_encoding(self.connection)
        self.dump_plans: dict[PyFormat, dict[type, DumpPlan]] = {format: {} for format in PyFormat}
        """For the compiled path: how to dump objects of each class. Another dictionary after each `clear`."""
        self._oid_dumpers: tuple[dict[int, DumperProtocol], ...] = ({}, {})
        self._loaders: tuple[dict[int, LoaderProtocol], ...] = ({}, {})
        self.load_functions: tuple[dict[int, LoadFunc], ...] = ({}, {})
        """For the compiled path: what loads each type, by format. Another tuple after each `clear`."""
        self._has_binary_loader: dict[int, bool] = {}

    def parameter_status(self, name: str) -> str | None:
        """Return the server's value of a reported parameter such as `TimeZone`, None if there is none."""
        if self.parameters is not None:
            return self.parameters.get(name)
        return None if self.connection is None else self.connection.info.parameter_status(name)

    # Dumping

    def dump_sequence(
        self, params: Sequence[object], formats: Sequence[PyFormat]
    ) -> tuple[list[Buffer | None], tuple[int, ...], list[int]]:
        """Return the values, the oids and the wire formats (0 text, 1 binary) of parameters, in their order.

        An oid is 0 where the server is to find the type out.

        :raises ProgrammingError: a parameter is of a type that has no dumper, or there is not one for each format.
        :raises DataError: a parameter has a value that PostgreSQL cannot hold.
        """
        if self.version != self.adapters.version:
            self.clear()
        values: list[Buffer | None] = []
        oids: list[int] = []
        wire: list[int] = []
        if len(params) != len(formats):
            raise ProgrammingError(f"got {len(params)} parameters for {len(formats)} placeholders")
        try:
            dump_values(params, formats, self.dump_plans, self.plan_class, self.plan_key, values, oids, wire)
        except OUT_OF_RANGE as ex:
            obj = params[len(values)]
            dumper = self.get_dumper(obj, formats[len(values)])
            raise self.misfit(dumper, obj, ex, f"parameter {len(values) + 1}: ") from ex
        return values, tuple(oids), wire

    def as_literal(self, obj: Any) -> bytes:
        """Return the object as a literal of SQL, with a cast to its type where the literal does not show it.

        :raises ProgrammingError: the object is of a type that has no dumper.
        :raises DataError: the object has a value that PostgreSQL cannot hold.
        """
        dumper = self.get_dumper(obj, PyFormat.TEXT)
        try:
            literal = dumped_bytes(dumper.quote(obj), dumper.quote)
        except OUT_OF_RANGE as ex:
            raise self.misfit(dumper, obj, ex) from ex
        if literal is None:
            return b"NULL"
        # Bare numbers and keywords need no cast. The last character tells, as the first may be an E.
        if dumper.oid and dumper.oid != TEXT_OID and literal.endswith(b"'"):
            info = self.adapters.types.get(dumper.oid)
            if info is not None:
                literal += b"::" + encode_text(_type_as_sql(info, dumper.oid), encoding_to_write(self.encoding))
        return literal

    def misfit(self, dumper: DumperProtocol, obj: Any, ex: Exception, where: str = "") -> DataError:
        """Return the error for a value that a dumper has raised something of `UNFIT` for.

        :param where: which value it is, unless the error is about a part of one.
        """
        if getattr(dumper, "delegates", False):
            try:
                # A compiled twin does not say which part of the value it is.
                dumper.dump(obj)
            except DataError as told:
                return told
            except UNFIT:
                pass
        return misfit(self.adapters, dumper.oid, obj, ex, where)

    def get_dumper(self, obj: object, format: PyFormat) -> DumperProtocol:
        """Return the dumper of an object; cached, the same for all objects that are dumped alike.

        :raises ProgrammingError: the object is of a type that has no dumper.
        """
        if self.version != self.adapters.version:
            self.clear()
        plan = self.dump_plans[format].get(type(obj))
        if plan is None:
            plan = self.plan_class(obj, format)
        if plan.get_key is not None:
            plan = plan.by_key.get(plan.get_key(obj, format)) or self.plan_key(plan, obj, format)
        dumper: DumperProtocol = plan.dumper
        return dumper

    def get_common_dumper(self, items: Sequence[object], format: PyFormat) -> DumperProtocol:
        """Return one dumper for all of the items: ints go by the largest, others must be of one type.

        :param items: one object at least, and no None.
        :raises ProgrammingError: an object is of a type that has no dumper.
        :raises DataError: the objects are of several types.
        """
        if self.version != self.adapters.version:
            self.clear()
        item = items[0]
        known = self.dump_plans[format]
        plan = known.get(type(item)) or self.plan_class(item, format)
        classes = set(map(type, items))
        if len(classes) > 1:
            for other in items:
                other_plan = known.get(type(other)) or self.plan_class(other, format)
                if type(other_plan.dumper) is not type(plan.dumper):
                    names = ", ".join(sorted(cls.__name__ for cls in classes))
                    raise DataError(f"cannot dump a list of mixed types ({names}): convert its items to one type")
        if plan.get_key is not None and isinstance(plan.dumper, Dumper):
            item = plan.dumper.common_item(items, format)
        return self.get_dumper(item, format)

    def get_dumper_by_oid(self, oid: int, format: int) -> DumperProtocol:
        """Return the dumper that writes a PostgreSQL type; cached.

        :raises ProgrammingError: there is none.
        """
        if self.version != self.adapters.version:
            self.clear()
        dumper = self._oid_dumpers[format].get(oid)
        if dumper is None:
            base_oid = self._base_oid(oid)
            if base_oid and not self.adapters.has_dumper_for(oid, format):
                dumper = self.nested().get_dumper_by_oid(base_oid, format)
            else:
                dumper = self.adapters.get_dumper_by_oid(oid, format)(type(None), self)
            self._oid_dumpers[format][oid] = dumper
        return dumper

    def plan_class(self, obj: object, format: PyFormat) -> DumpPlan:
        """For loops that dump: plan how to dump the objects of a class, and remember it.

        :raises ProgrammingError: the object is of a type that has no dumper.
        """
        cls = type(obj)
        dumper = self.adapters.get_dumper(cls, format)(cls, self)
        get_key: Callable[[Any, PyFormat], DumperKey] | None = compile_key(dumper.get_key)
        # A dumper may be any object of the right shape, so only the method of our base class is known to return
        # the class.
        if getattr(type(dumper), "get_key", None) is Dumper.get_key:
            get_key = None
        plan = DumpPlan(get_key, compile_dump(dumper.dump), dumper.oid, int(dumper.format), dumper)
        self.dump_plans[format][cls] = plan
        return plan

    def plan_key(self, plan: DumpPlan, obj: object, format: PyFormat) -> DumpPlan:
        """For loops that dump: plan how to dump the objects of a key of a class, and remember it."""
        assert plan.get_key is not None
        key = plan.get_key(obj, format)
        dumper = plan.dumper if key is type(obj) else plan.dumper.upgrade(obj, format)
        final = DumpPlan(None, compile_dump(dumper.dump), dumper.oid, int(dumper.format), dumper)
        plan.by_key[key] = final
        return final

    # Loading

    def get_load_function(self, oid: int, format: int) -> LoadFunc:
        """Return what to call with each value of a type; cached.

        A type without a loader is loaded as one of oid 0: as str in text format, as bytes in binary.
        """
        if self.version != self.adapters.version:
            self.clear()
        function = self.load_functions[format].get(oid)
        if function is None:
            function = compile_load(self.get_loader(oid, format).load)
            self.load_functions[format][oid] = function
        return function

    def get_loader(self, oid: int, format: int) -> LoaderProtocol:
        """Return the loader of a type; cached. A type without one gets that of oid 0.

        :raises InterfaceError: not even oid 0 has one: the map was not made from `anyq.adapters`.
        """
        if self.version != self.adapters.version:
            self.clear()
        loader = self._loaders[format].get(oid)
        if loader is None:
            loader_cls = self.adapters.get_loader(oid, format)
            base_oid = self._base_oid(oid) if loader_cls is None else 0
            if base_oid:
                loader = self.nested().get_loader(base_oid, format)
            else:
                loader_cls = loader_cls or self.adapters.get_loader(0, format)
                if loader_cls is None:
                    raise InterfaceError("this map has no loader for unknown types: make it from anyq.adapters")
                loader = loader_cls(oid, self)
            self._loaders[format][oid] = loader
        return loader

    def _base_oid(self, oid: int) -> int:
        """Return of which type the values of a domain are; 0 for another type."""
        info = self.adapters.types.get(oid)
        return info.base_oid if info is not None and info.oid == oid else 0

    def prefers_binary(self, oid: int) -> bool:
        """Return whether values of a type are better asked for in binary format than in text."""
        return self.adapters.get_result_format(oid) == Format.BINARY and self.has_binary_loader(oid)

    def has_binary_loader(self, oid: int) -> bool:
        """Return whether a type can be asked for in binary format: it and its parts have loaders."""
        if self.version != self.adapters.version:
            self.clear()
        found = self._has_binary_loader.get(oid)
        if found is None:
            loader_cls = self.adapters.get_loader(oid, Format.BINARY)
            if not oid:
                found = False  # of a type that is not known nobody knows what it looks like
            elif loader_cls is None:
                base_oid = self._base_oid(oid)
                # As below: where a domain would be its own base, it has none.
                self._has_binary_loader[oid] = False
                found = bool(base_oid) and self.has_binary_loader(base_oid)
            elif issubclass(loader_cls, Loader):
                # The answer for a type that contains itself is the answer for its other parts.
                self._has_binary_loader[oid] = True
                found = loader_cls.is_usable(oid, self)
            else:
                found = True
            self._has_binary_loader[oid] = found
        return found


_OTHERWISE = frozenset(("bit", "char"))
"""Types whose names mean others in SQL, unless they are quoted: those of a single bit and of a single character."""


def _type_as_sql(info: TypeInfo, oid: int) -> str:
    name = info.name
    if name in _OTHERWISE:
        name = quote_identifier(name)
    elif info.oid >= _FIRST_GENERATED_OID:
        # Only the server knows which schema a user's type needs to be found.
        name = quote_identifier(info.schema, info.name) if info.schema else info.regtype
    return f"{name}[]" if oid == info.array_oid else name
