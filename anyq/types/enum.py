"""Enums.

Knows PostgreSQL's enums, and that Python has `Enum` for them (PostgreSQL manual, "Enumerated Types"): how labels and
members are matched, and that a member of an `Enum` that is not registered is sent by its name. Must not know other
types.

Both formats of an enum are its label in the client encoding.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, TypeAlias, TypeVar

from .._accel import implementation, twin
from .._accel.failures import shown
from .._accel.twins import DumpEnumArguments, LoadEnumArguments
from ..adapt.adapters_map import AdaptContext, adapters_of
from ..adapt.base import Dumper, Loader
from ..adapt.encodings import encode_text, text_encoding
from ..adapt.typeinfo import TypeInfo, check_info
from ..errors import DataError
from ..errors.arguments import each_of
from ..protocol.constants import Format

__all__ = ["EnumInfo", "register_enum"]

E = TypeVar("E", bound=Enum)

EnumMapping: TypeAlias = "Mapping[E, str] | Sequence[tuple[E, str]] | None"
"""The label of each member."""

_LONGEST_LABEL = 64


class EnumInfo(TypeInfo):
    """Describe a PostgreSQL enum.

    :param labels: in the order of the type.
    """

    enum: type[Enum] | None = None
    """The Python enum it was registered with last."""

    _kind = "e"
    _extra_columns = (
        ", ARRAY(SELECT e.enumlabel::text FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid ORDER BY e.enumsortorder)"
    )

    def __init__(self, name: str, oid: int, array_oid: int, labels: Sequence[str], *, regtype: str = ""):
        super().__init__(name, oid, array_oid, regtype=regtype)
        self.labels = labels

    @classmethod
    def _details(cls, *details: Any) -> dict[str, Any]:
        return {"labels": details[0]}


def register_enum(
    info: EnumInfo,
    context: AdaptContext | None = None,
    enum: type[E] | None = None,
    *,
    mapping: EnumMapping[E] = None,
) -> None:
    """Load an enum as members of a Python `Enum`, and dump these as that type.

    A label that has no member raises `DataError` when it is loaded, and so does a member without a label when it is
    dumped.

    :param info: from `EnumInfo.fetch`.
    :param context: a connection, a cursor or a map; None for all connections that are opened from now on.
    :param enum: the class; by default a new one, which is `info.enum` afterwards, with a member for each label.
    :param mapping: the label of each member: by default its name. Where several members have one label, as pairs, the
        last one is loaded.
    :raises TypeError: `info` is None: there is no such enum; or it is no `EnumInfo`; or `enum` is no `Enum`, or the
        mapping is none of its members.
    :raises ValueError: no `enum` was passed, and Python cannot name members as the labels.
    """
    check_info(info, EnumInfo, "enum")
    given: Any = enum
    if given is not None and not (isinstance(given, type) and issubclass(given, Enum)):
        raise TypeError(f"members are those of a subclass of Enum, and {enum!r} is none")
    cls: type[Enum] = enum if enum is not None else _make_enum(info)
    members, labels = _match(cls, info.labels, mapping)
    info.enum = cls
    adapters = adapters_of(context)
    made: Any
    for dumper in (_EnumBinaryDumper, _EnumDumper):
        attributes = {"oid": info.oid, "enum": cls, "labels": labels}
        made = type(f"{cls.__name__}{dumper.__name__[1:]}", (dumper,), attributes)
        adapters.register_dumper(cls, made)
    for loader in (_EnumLoader, _EnumBinaryLoader):
        made = type(f"{cls.__name__}{loader.__name__[1:]}", (loader,), {"enum": cls, "members": members})
        adapters.register_loader(info.oid, made)
    info.register(context)


def _make_enum(info: EnumInfo) -> type[Enum]:
    make: Any = Enum
    try:
        made: type[Enum] = make(info.name.title(), list(info.labels), module=__name__)
        if list(made.__members__) == list(info.labels):
            return made
    except (ValueError, TypeError):
        pass
    raise ValueError(
        f"the labels of the enum {info.name} are not all of them names that members of an Enum can have: pass an enum,"
        " and the labels of its members as mapping"
    )


def _match(
    enum: type[Enum], labels: Sequence[str], mapping: EnumMapping[Any]
) -> tuple[dict[str, Enum], dict[str, str]]:
    """Return the member of each label, and the label of each member, by its name."""
    if mapping is not None:
        wanted = f"the mapping has the label of each member, {{{enum.__name__}.x: 'x'}}"
        pairs = list(mapping.items() if isinstance(mapping, Mapping) else each_of(mapping, wanted))
        for pair in pairs:
            given: Any = pair
            if isinstance(given, str) or not isinstance(given, Sequence) or not isinstance(pair[0], enum):
                raise TypeError(f"{wanted}; this is {pair!r}")
    else:
        # With aliases, so that two labels can be one member. The name that is its own counts when it is dumped.
        aliases = [(member, name) for name, member in enum.__members__.items() if name in labels]
        pairs = [*aliases, *[(member, name) for member, name in aliases if name == member.name]]
    known = frozenset(labels)
    return {label: member for member, label in pairs if label in known}, {member.name: label for member, label in pairs}


def _of_values(enum: type[Enum]) -> str:
    """Return what to pass where it seems that the values are the labels, and not the names."""
    name = enum.__name__
    of_text = all(isinstance(member.value, str) for member in enum)
    return f" such as {{member: member.value for member in {name}}}, as labels are names" if of_text else ""


class EnumDumper(Dumper):
    """Dump a member of an `Enum` that is not registered: its name, whose type the server finds out.

    A member is dumped as it was the first time, but where its class has a `name` of its own.
    """

    def __init__(self, cls: type, context: AdaptContext | None = None):
        super().__init__(cls, context)
        self._encoding = text_encoding(context)
        self._enum: Any = cls
        self._room: int | None = None
        self._dumped: dict[int, tuple[object, bytes]] = {}  # by identity: an enum hashes its members in Python

    def dump_arguments(self) -> DumpEnumArguments | None:
        """Return what the compiled twin needs to know, None where a name may change from one time to the next."""
        cls = self._enum
        usual = issubclass(cls, Enum) and inspect.getattr_static(cls, "name") is inspect.getattr_static(Enum, "name")
        return DumpEnumArguments(cls) if usual else None

    @twin("dump_enum")
    def dump(self, obj: Enum | str) -> bytes:
        known = self._dumped.get(id(obj))
        if known is not None:
            return known[1]
        data = encode_text(self._label(obj), self._encoding)
        if type(obj) is self._enum and len(self._dumped) < self._most():
            self._dumped[id(obj)] = obj, data
        return data

    def _most(self) -> int:
        """Return of how many members is known what they were dumped as: not of all sums of flags."""
        if self._room is None:
            self._room = 0 if self.dump_arguments() is None else len(self._enum.__members__)
        return self._room

    def _label(self, obj: Any) -> str:
        name: str | None = obj.name
        if name is None:
            raise DataError(f"{obj!r} is no member of {type(obj).__name__}, but several flags: pass its .value")
        return name


class EnumBinaryDumper(EnumDumper):
    """Dump a member of an `Enum` that is not registered in binary format, which is the same."""

    format = Format.BINARY


class _EnumDumper(EnumDumper):
    """Dump a member of the registered `enum`. What is found by the oid may be given labels too."""

    enum: type[Enum]
    labels: Mapping[str, str]

    def __init__(self, cls: type, context: AdaptContext | None = None):
        super().__init__(cls, context)
        self._enum = self.enum

    def _label(self, obj: Any) -> str:
        label = self.labels.get(obj.name) if isinstance(obj, self.enum) else None
        if label is None:
            if type(obj) is not str:
                raise DataError(
                    f"the enum type has no label for {obj!r}: pass register_enum() a mapping that has it"
                    f"{_of_values(self.enum)}"
                )
            label = obj
        return label


class _EnumBinaryDumper(_EnumDumper):
    format = Format.BINARY


class _Members(dict[bytes, Enum]):
    """The members by labels as the server writes them, as they come."""

    def __init__(self, enum: type[Enum], members: Mapping[str, Enum], encoding: str):
        super().__init__()
        self._enum = enum
        self._members = members
        self._encoding = encoding

    def __missing__(self, data: bytes) -> Enum:
        try:
            label = data.decode(self._encoding)
        except UnicodeDecodeError as ex:
            raise self._failure(shown(data)) from ex
        if label not in self._members:
            # A label has 63 bytes; what a server sends may have more.
            raise self._failure(repr(label) if len(data) < _LONGEST_LABEL else shown(data))
        member = self[data] = self._members[label]
        return member

    def _failure(self, label: str) -> DataError:
        return DataError(
            f"{self._enum.__qualname__} has no member for the label {label}: add it, or name it in the mapping of"
            f" register_enum(){_of_values(self._enum)}; after ALTER TYPE fetch the EnumInfo again"
        )


class _EnumLoader(Loader):
    enum: type[Enum]
    members: Mapping[str, Enum]

    def __init__(self, oid: int, context: AdaptContext | None = None):
        super().__init__(oid, context)
        self._found = _Members(self.enum, self.members, text_encoding(context))
        if implementation == "python":
            # One C function for all that was there before.
            self.load = self._found.__getitem__  # type: ignore[assignment, method-assign]

    @twin("load_enum")
    def load(self, data: bytes) -> Enum:
        return self._found[data]

    def load_arguments(self) -> LoadEnumArguments:
        """Return what the compiled twin needs to know."""
        return LoadEnumArguments(len(self.members))


class _EnumBinaryLoader(_EnumLoader):
    format = Format.BINARY


def register_default_adapters(context: AdaptContext) -> None:
    """Register enums that nobody has registered."""
    context.adapters.register_dumper(Enum, EnumBinaryDumper)
    context.adapters.register_dumper(Enum, EnumDumper)
