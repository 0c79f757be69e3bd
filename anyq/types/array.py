"""Arrays of every type.

Knows the two formats of arrays and that Python has lists for them, nested for more than one dimension
(PostgreSQL manual, "Arrays"; src/backend/utils/adt/arrayfuncs.c). Must not know the types of the items: it
finds their dumpers and loaders in the map, and their names, oids and delimiters in the registry of types.
Tuples are composites, not arrays.

The lower bounds of an array are not kept: a list starts at 0.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from math import prod
from struct import Struct
from struct import error as StructError
from typing import Any

from .._accel import implementation, twin
from .._accel.failures import dumped_bytes, load_failure, shown
from .._accel.twins import DumpListArguments, KeyListArguments, LoadArrayArguments, LoadArrayTextArguments
from ..adapt.adapters_map import AdaptContext, DumperKey, DumperProtocol, LoadFunc, PyFormat, adapters_of
from ..adapt.base import BinaryLoaders
from ..adapt.encodings import encoding_of, is_ascii_safe
from ..adapt.misfits import OUT_OF_RANGE, UNFIT, is_own_dumper
from ..adapt.recursive import RecursiveDumper, RecursiveLoader
from ..adapt.transformer import Transformer
from ..adapt.typeinfo import TEXT_OID, TypeInfo, check_info, global_types, on_register
from ..errors import DataError
from ..protocol.constants import Format

# src/include/utils/array.h: MAXDIM
_MAX_DIMENSIONS = 6

_pack_header = Struct(">iiI").pack
_unpack_header = Struct(">iiI").unpack_from
_pack_dimension = Struct(">ii").pack
_unpack_dimension = Struct(">ii").unpack_from
_pack_length = Struct(">i").pack
_unpack_length = Struct(">i").unpack_from
_NULL_LENGTH = _pack_length(-1)


# Types whose text has no special characters, looks like no NULL and is not empty.
_NEVER_QUOTED = frozenset(
    global_types[name].oid
    for name in ("bool", "int2", "int4", "int8", "oid", "float4", "float8", "numeric", "uuid", "date")
)


def _flatten(obj: list[Any]) -> tuple[list[int], list[Any]]:
    """Return the length of each dimension and the items, those of the last dimension next to each other.

    :raises DataError: the lists of one dimension have different lengths, or PostgreSQL has not so many
        dimensions.
    """
    if type(obj) is not list and not _is_sequence(obj):
        raise DataError(f"a value of type {type(obj).__name__} is no array: convert it to a list")
    dims = [len(obj)]
    items = obj
    while items and isinstance(items[0], list):
        if len(dims) == _MAX_DIMENSIONS:
            raise DataError(f"an array has at most {_MAX_DIMENSIONS} dimensions, and the list is nested deeper")
        length = len(items[0])  # pyright: ignore[reportUnknownArgumentType]
        for item in items:
            if not isinstance(item, list) or len(item) != length:  # pyright: ignore[reportUnknownArgumentType]
                raise DataError(_RAGGED)
        items = [item for part in items for item in part]
        dims.append(length)
    for cls in set(map(type, items)):
        if issubclass(cls, list):
            raise DataError(_RAGGED)
    return dims, items


def _is_sequence(obj: Any) -> bool:
    return isinstance(obj, Sequence) and not isinstance(obj, str | bytes | bytearray)


_RAGGED = "the lists of one dimension of an array must have the same length: fill them up with None"


class BaseListDumper(RecursiveDumper):
    """Dump a list as an array of the type that its items have in common.

    Registered for `list` it has no oid and makes an upgraded dumper for each type of item; found by the oid
    of an array it is a subclass that knows the type of its items.
    """

    element_oid = 0

    def __init__(self, cls: type, context: AdaptContext | None = None):
        super().__init__(cls, context)
        self._sub_dumper: DumperProtocol | None = None
        self._delimiter = b","
        self._item_formats = dict.fromkeys(PyFormat, PyFormat.from_pq(self.format))
        if type(self) is ListDumper:
            # Where any will do, items have the one that they have on their own.
            self._item_formats[PyFormat.AUTO] = PyFormat.AUTO
        self._ascii_safe = is_ascii_safe(self._encoding)
        self._never_quoted = False
        if self.element_oid:
            self.sub_dumper = self._tx.get_dumper_by_oid(self.element_oid, self.format)

    @property
    def sub_dumper(self) -> DumperProtocol | None:
        """What dumps the items; None if that is not known yet: then the items of a list say it. May be set."""
        return self._sub_dumper

    @sub_dumper.setter
    def sub_dumper(self, dumper: DumperProtocol | None) -> None:
        self._sub_dumper = dumper
        if dumper is None:
            return
        self.element_oid = self.element_oid or dumper.oid
        self._never_quoted = {self.element_oid, dumper.oid} <= _NEVER_QUOTED
        info = self._tx.adapters.types.get(self.element_oid)
        if info is not None:
            self.oid = self.oid or info.array_oid
            self._delimiter = info.delimiter.encode()

    @twin("key_list")
    def get_key(self, obj: list[Any], format: PyFormat) -> DumperKey:
        # A subclass that says of which type its arrays are writes each list.
        return self.cls if self.oid else (self.cls, self._find_sub_dumper(obj, format))

    def upgrade(self, obj: list[Any], format: PyFormat) -> DumperProtocol:
        sub_dumper = self._find_sub_dumper(obj, format)
        if sub_dumper is None:
            # The server finds out what type it is that there is nothing of.
            return ListDumper(self.cls, self._tx)
        # An array has the format of its items: an item whose type the server finds out is text, for example.
        others = ListBinaryDumper if sub_dumper.format == Format.BINARY else ListDumper
        dumper = (type(self) if sub_dumper.format == self.format else others)(self.cls, self._tx)
        dumper.sub_dumper = sub_dumper
        return dumper

    def _find_sub_dumper(self, obj: list[Any], format: PyFormat) -> DumperProtocol | None:
        return self._common_dumper(_flatten(obj)[1], self._item_formats[format])

    def _common_dumper(self, items: list[Any], format: PyFormat) -> DumperProtocol | None:
        items = [item for item in items if item is not None]
        return self._tx.get_common_dumper(items, format) if items else None

    def dump_arguments(self) -> DumpListArguments | None:
        """Return what the compiled twin needs to know, None where it is no good."""
        dumper = self.sub_dumper
        if not self._ascii_safe or dumper is not None and dumper.format != self.format:
            return None
        dump_item = dumper.dump if dumper is not None else None
        return DumpListArguments(dump_item, self.element_oid or TEXT_OID, self._delimiter, self._never_quoted)

    def key_arguments(self) -> KeyListArguments | None:
        """Return what the compiled twin needs to know, None where it is no good."""
        return None if self.oid else KeyListArguments(self.cls, self._tx, self._item_formats)

    def _type(self) -> str:
        info = self._tx.adapters.types.get(self.element_oid)
        return "the array" if info is None else f"{info.name}[]"

    def _dump_items(self, items: list[Any]) -> tuple[int, list[bytes | None]]:
        """Return the oid of the items, 0 if that is not known, and what they are dumped as."""
        dumper = self.sub_dumper or self._common_dumper(items, PyFormat.from_pq(self.format))
        if dumper is None:
            return self.element_oid, [None] * len(items)
        if dumper.format != self.format:
            raise DataError(
                f"{type(self).__name__} cannot take what {type(dumper).__name__} writes: the formats differ"
            )
        dump = dumper.dump
        values: list[bytes | None] = []
        try:
            for item in items:
                values.append(None if item is None else dumped_bytes(dump(item), dump))
        except UNFIT as ex:
            # What was found by the class of the items has been given no other one.
            if not isinstance(ex, OUT_OF_RANGE) and not (type(self).element_oid and is_own_dumper(dumper)):
                raise
            failure = self._tx.misfit(dumper, items[len(values)], ex)
            raise DataError(
                f"a value of type list does not fit {self._type()}: convert its items first ({failure})"
            ) from ex
        return self.element_oid or dumper.oid, values


class ListDumper(BaseListDumper):
    """Dump a list as an array in text format."""

    @twin("dump_list_text")
    def dump(self, obj: list[Any]) -> bytes:
        dims, items = _flatten(obj)
        if not items:
            return b"{}"
        _, values = self._dump_items(items)
        transcode = not self._ascii_safe
        if transcode:
            values = [value and value.decode(self._encoding).encode() for value in values]
        if self._never_quoted:
            tokens = [b"NULL" if value is None else value for value in values]
        else:
            needs_quotes = _needs_quotes(self._delimiter).search
            tokens = [
                b"NULL"
                if value is None
                else b'"%b"' % _special.sub(rb"\\\g<0>", value)
                if needs_quotes(value)
                else value
                for value in values
            ]
        for length in reversed(dims[1:]):
            tokens = [self._join(tokens[i : i + length]) for i in range(0, len(tokens), length)]
        text = self._join(tokens)
        return text.decode().encode(self._encoding) if transcode else text

    def _join(self, tokens: list[bytes]) -> bytes:
        return b"{%b}" % self._delimiter.join(tokens)


class ListBinaryDumper(BaseListDumper):
    """Dump a list as an array in binary format."""

    format = Format.BINARY

    @twin("dump_list")
    def dump(self, obj: list[Any]) -> bytes:
        dims, items = _flatten(obj)
        if not items:
            return _pack_header(0, 0, self.element_oid or TEXT_OID)
        element_oid, values = self._dump_items(items)
        out = [_pack_header(len(dims), None in values, element_oid or TEXT_OID)]
        out += [_pack_dimension(length, 1) for length in dims]
        for value in values:
            if value is None:
                out.append(_NULL_LENGTH)
            else:
                out.append(_pack_length(len(value)))
                out.append(value)
        return b"".join(out)


_special = re.compile(rb'["\\]')


@lru_cache
def _needs_quotes(delimiter: bytes) -> re.Pattern[bytes]:
    return re.compile(rb'[{}"\\\s%b]|\A\Z|\A(?i:null)\Z' % re.escape(delimiter))


class ArrayLoader(RecursiveLoader):
    """Load an array in text format as a list."""

    def __init__(self, oid: int, context: AdaptContext | None = None):
        super().__init__(oid, context)
        info = self._tx.adapters.types.get(oid)
        self._delimiter = info.delimiter.encode() if info is not None else b","
        self._load_item = _item_function(self._tx, info.oid if info is not None else 0, Format.TEXT)
        self._encoding = encoding_of(context)
        self._ascii_safe = is_ascii_safe(self._encoding)

    @twin("load_array_text")
    def load(self, data: bytes) -> list[Any]:
        load_item = self._load_item
        try:
            if self._ascii_safe:
                return parse_array(data, load_item, self._delimiter)
            encoding = self._encoding
            # What looks like a brace may be half a character. What is read is written back, in any case.
            return parse_array(
                self._decode(data).encode(),
                lambda item: load_item(item.decode().encode(encoding, "surrogateescape")),
                self._delimiter,
            )
        except Exception as ex:
            raise load_failure(load_item, data, ex)  # noqa: B904 (it has its cause, if it is another one)

    def _decode(self, data: bytes) -> str:
        try:
            return data.decode(self._encoding)
        except UnicodeDecodeError as ex:
            raise DataError(f"cannot load the array {shown(data)}: {ex}") from ex

    def load_arguments(self) -> LoadArrayTextArguments | None:
        """Return what the compiled twin needs to know, None where it is no good."""
        return LoadArrayTextArguments(self._load_item, self._delimiter) if self._ascii_safe else None


def parse_array(data: bytes, load_item: LoadFunc, delimiter: bytes = b",") -> list[Any]:
    """Return the list of an array in text format.

    :param data: in an encoding in which ASCII bytes are ASCII characters.
    :raises DataError: it is malformed.
    """
    # The lower bounds of the dimensions: [1:2][0:1]={{...}}
    if data.startswith(b"["):
        data = data[data.find(b"=") + 1 :]
    body = data[1:-1]
    if b'"' in body or b"{" in body or b"\\" in body or data[:1] + data[-1:] != b"{}" or b"}" in body:
        return _parse_nested(data, load_item, delimiter)
    if not body:
        return []
    items = body.split(delimiter)
    if b"" in items:
        raise _malformed(data)
    if b"NULL" in body:
        return [None if item == b"NULL" else load_item(item) for item in items]
    return list(map(load_item, items))


def _parse_nested(data: bytes, load_item: LoadFunc, delimiter: bytes) -> list[Any]:
    outside: list[Any] = []
    stack = [outside]
    before_item = True
    for match in _tokens(delimiter).finditer(data):
        kind = match.lastindex
        if kind in (_QUOTED, _UNQUOTED):
            item = match[kind]
            if not before_item or len(stack) == 1:
                raise _malformed(data)
            if kind == _QUOTED:
                stack[-1].append(load_item(_escaped.sub(rb"\1", item) if b"\\" in item else item))
            else:
                stack[-1].append(None if item == b"NULL" else load_item(item))
            before_item = False
        elif kind == _DELIMITER:
            if before_item or len(stack) == 1:
                raise _malformed(data)
            before_item = True
        elif kind == _OPEN:
            if not before_item or len(stack) > _MAX_DIMENSIONS:
                raise _malformed(data)
            part: list[Any] = []
            stack[-1].append(part)
            stack.append(part)
        elif kind == _CLOSE:
            # Nothing but an empty array may end where an item is due.
            if len(stack) == 1 or (before_item and stack[-1]):
                raise _malformed(data)
            stack.pop()
            before_item = False
        else:
            raise _malformed(data)
    if len(stack) != 1 or len(outside) != 1:
        raise _malformed(data)
    array: list[Any] = outside[0]
    return array


_OPEN, _CLOSE, _DELIMITER, _QUOTED, _UNQUOTED = range(1, 6)


@lru_cache
def _tokens(delimiter: bytes) -> re.Pattern[bytes]:
    delimiter = re.escape(delimiter)
    # The last one is what is none of them. Without it the end of an unclosed quote would be looked for at each place.
    return re.compile(
        rb'(\{)|(\})|(%b)|"([^"\\]*(?:\\.[^"\\]*)*)"|([^{}"\\%b]+)|(.)' % (delimiter, delimiter), re.DOTALL
    )


_escaped = re.compile(rb"\\(.)", re.DOTALL)


def _malformed(data: bytes) -> DataError:
    return DataError(f"malformed array: {shown(data)}")


def _item_function(tx: Transformer, oid: int, format: Format) -> LoadFunc:
    """Return the load function of the items of an array.

    :raises DataError: they are arrays, which PostgreSQL's never are. A server that says so could go on for ever.
    """
    loader = tx.adapters.get_loader(oid, format)
    if isinstance(loader, type) and issubclass(loader, ArrayLoader | ArrayBinaryLoader):
        raise DataError(f"malformed array: its items are said to be of type {oid}, which is an array itself")
    return tx.get_load_function(oid, format)


class ArrayBinaryLoader(RecursiveLoader):
    """Load an array in binary format as a list."""

    format = Format.BINARY

    @twin("load_array")
    def load(self, data: bytes) -> list[Any]:
        try:
            ndim, _, oid = _unpack_header(data)
            if ndim == 0:
                return []
            if not 0 < ndim <= _MAX_DIMENSIONS:
                raise _malformed(data)
            dims: list[int] = [_unpack_dimension(data, 12 + 8 * i)[0] for i in range(ndim)]
            position = 12 + 8 * ndim
            count = prod(dims)
            if min(dims) < 0 or count * 4 > len(data) - position:
                raise _malformed(data)
            values: list[bytes | None] = []
            for _ in range(count):
                length = _unpack_length(data, position)[0]
                position += 4
                if length < 0:
                    values.append(None)
                else:
                    start = position
                    position += length
                    values.append(data[start:position])
        except StructError as ex:
            raise _malformed(data) from ex
        if position != len(data):
            raise _malformed(data)
        if not values:
            return []
        load_item = _item_function(self._tx, oid, Format.BINARY)
        try:
            items: list[Any] = [None if value is None else load_item(value) for value in values]
        except Exception as ex:
            raise load_failure(load_item, data, ex)  # noqa: B904 (it has its cause, if it is another one)
        for length in reversed(dims[1:]):
            items = [items[i : i + length] for i in range(0, len(items), length)]
        return items

    def load_arguments(self) -> LoadArrayArguments:
        """Return what the compiled twin needs to know."""
        return LoadArrayArguments(self._tx)

    @classmethod
    def is_usable(cls, oid: int, tx: BinaryLoaders) -> bool:
        info = tx.adapters.types.get(oid)
        return info is not None and tx.has_binary_loader(info.oid)


def register_array(info: TypeInfo, context: AdaptContext | None = None) -> None:
    """Register the loaders of the arrays of a type, and dumpers to be found by the oid of the array.

    Their items go through whatever is registered for the type by then.

    :param context: a connection, a cursor or a map; None for all connections that are opened from now on.
    :raises ValueError: the type has no arrays.
    """
    given: Any = info
    if not isinstance(given, TypeInfo):
        check_info(given, TypeInfo, "array")
    if not info.array_oid:
        raise ValueError(f"the type {info.name} has no array type")
    adapters = adapters_of(context)
    # The last one is preferred: in Python, taking an array apart is faster in text.
    loaders = (ArrayLoader, ArrayBinaryLoader) if implementation == "cython" else (ArrayBinaryLoader, ArrayLoader)
    for loader in loaders:
        adapters.register_loader(info.array_oid, loader)
    known = {"oid": info.array_oid, "element_oid": info.oid}
    for base in (ListDumper, ListBinaryDumper):
        dumper: Any = type(base.__name__, (base,), known)
        adapters.register_dumper(None, dumper)


def register_default_adapters(context: AdaptContext) -> None:
    """Register lists, and the arrays of all types of the registry."""
    adapters = context.adapters
    adapters.register_dumper(list, ListBinaryDumper)
    adapters.register_dumper(list, ListDumper)
    register_all_arrays(context)
    on_register(_register_array_if_any)


def register_all_arrays(context: AdaptContext) -> None:
    """Register the arrays of all types of the registry: see `register_array`."""
    for info in context.adapters.types:
        _register_array_if_any(info, context)


def _register_array_if_any(info: TypeInfo, context: AdaptContext | None) -> None:
    if info.array_oid:
        register_array(info, context)
