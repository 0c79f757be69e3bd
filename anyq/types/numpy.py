"""Scalars of numpy, and on request its arrays.

Knows which PostgreSQL type a scalar or the items of an array are ("Scalars" and "Data type objects" in the reference of
numpy), and how an array is laid out in binary format (src/backend/utils/adt/arrayfuncs.c, array_send). Must not import
numpy before it is there: a scalar's class is known by its name, and `register_numpy_arrays` is for those who have it.

Each integer type has the smallest type of PostgreSQL that holds all of its values. Scalars that are not listed, such as
`datetime64` and `longdouble`, have no dumper: their `item()` may have one.
"""

from __future__ import annotations

from importlib import import_module
from itertools import chain
from math import prod
from struct import Struct
from struct import error as StructError
from typing import Any

from .._accel.failures import shown
from ..adapt.adapters_map import AdaptContext, DumperKey, DumperProtocol, PyFormat, adapters_of
from ..adapt.base import Dumper
from ..adapt.recursive import RecursiveDumper
from ..adapt.typeinfo import global_types
from ..errors import DataError
from ..protocol.constants import Format
from .array import ArrayBinaryLoader, ArrayLoader, ListBinaryDumper, ListDumper
from .bool import BoolBinaryDumper, BoolDumper
from .numeric import (
    Float4BinaryDumper,
    Float4Dumper,
    FloatBinaryDumper,
    FloatDumper,
    Int2BinaryDumper,
    Int2Dumper,
    Int4BinaryDumper,
    Int4Dumper,
    Int8BinaryDumper,
    Int8Dumper,
    IntNumericBinaryDumper,
    IntNumericDumper,
)

# -- scalars


class _AsInt(Dumper):
    def dump(self, obj: Any) -> Any:
        return super().dump(int(obj))

    def quote(self, obj: Any) -> bytes:
        return super().quote(int(obj))


class NPInt16Dumper(_AsInt, Int2Dumper):
    """Dump an integer scalar as int2, as text."""


class NPInt32Dumper(_AsInt, Int4Dumper):
    """Dump an integer scalar as int4, as text."""


class NPInt64Dumper(_AsInt, Int8Dumper):
    """Dump an integer scalar as int8, as text."""


class NPNumericDumper(_AsInt, IntNumericDumper):
    """Dump an integer scalar as numeric, as text."""


class NPInt16BinaryDumper(_AsInt, Int2BinaryDumper):
    """Dump an integer scalar as int2."""


class NPInt32BinaryDumper(_AsInt, Int4BinaryDumper):
    """Dump an integer scalar as int4."""


class NPInt64BinaryDumper(_AsInt, Int8BinaryDumper):
    """Dump an integer scalar as int8."""


class NPNumericBinaryDumper(_AsInt, IntNumericBinaryDumper):
    """Dump an integer scalar as numeric."""


class _Float32Dumper(Float4Dumper):
    def dump(self, obj: Any) -> bytes:
        # The shortest decimal that is rounded to it, which of a float16 is longer than its own.
        return str(obj.astype("float32")).encode() if hasattr(obj, "astype") else super().dump(obj)


def register_default_adapters(context: AdaptContext) -> None:
    """Register scalars of numpy, by the names of their classes."""
    adapters = context.adapters
    for names, text, binary in (
        (("bool", "bool_"), BoolDumper, BoolBinaryDumper),
        (("int8", "int16", "uint8"), NPInt16Dumper, NPInt16BinaryDumper),
        (("int32", "intc", "uint16"), NPInt32Dumper, NPInt32BinaryDumper),
        (("int64", "longlong", "uint32", "uintc"), NPInt64Dumper, NPInt64BinaryDumper),
        (("uint64", "ulonglong"), NPNumericDumper, NPNumericBinaryDumper),
        (("float16", "float32"), _Float32Dumper, Float4BinaryDumper),
        (("float64",), FloatDumper, FloatBinaryDumper),
    ):
        for name in names:
            adapters.register_dumper(f"numpy.{name}", text)
            adapters.register_dumper(f"numpy.{name}", binary)


# -- arrays

_TYPES = {
    **{"b1": "bool", "i1": "int2", "i2": "int2", "i4": "int4", "i8": "int8"},
    **{"u1": "int2", "u2": "int4", "u4": "int8", "u8": "numeric", "f2": "float4", "f4": "float4", "f8": "float8"},
}
"""The type of the items of an array, by the letter of numpy's type and its size in bytes."""

_LOADED = {"bool": "b1", "int2": "i2", "int4": "i4", "int8": "i8", "float4": "f4", "float8": "f8"}
"""Types whose arrays are loaded, and numpy's type of the same layout."""

_MAX_DIMENSIONS = 6  # src/include/utils/array.h: MAXDIM
_header = Struct(">iiI")
_dimension = Struct(">ii")


def _slots(code: str) -> list[tuple[str, str]]:
    """Return the fields of a structured type of numpy: an item as arrays have it in binary format."""
    return [("length", ">i4"), ("value", f">{code}")]


class NdarrayDumper(RecursiveDumper):
    """Dump an ndarray as an array, as text; made for a class, it makes an upgraded one for each type of items."""

    _list_dumper: type[ListDumper | ListBinaryDumper] = ListDumper

    def __init__(self, cls: type, context: AdaptContext | None = None):
        super().__init__(cls, context)
        self.as_list: ListDumper | ListBinaryDumper | None = None

    def get_key(self, obj: Any, format: PyFormat) -> DumperKey:
        return (self.cls, _code(obj))

    def upgrade(self, obj: Any, format: PyFormat) -> DumperProtocol:
        code = _code(obj)
        if code not in _TYPES:
            raise DataError(
                f"there is no type of PostgreSQL for the items of an ndarray of dtype {obj.dtype}: convert it with"
                " astype(), or pass its tolist()"
            )
        info = global_types[_TYPES[code]]
        dumper = type(self)(self.cls, self._tx)
        dumper.oid = info.array_oid
        dumper.as_list = self._list_dumper(list, self._tx)
        dumper.as_list.sub_dumper = self._tx.get_dumper_by_oid(info.oid, self.format)
        return dumper

    def common_item(self, items: Any, format: PyFormat) -> Any:
        raise DataError("cannot dump a list of ndarrays: make them one with numpy.stack(), or pass their tolist()")

    def dump(self, obj: Any) -> Any:
        _check_dimensions(obj)
        assert self.as_list is not None
        # Of a masked array, what is masked is None.
        return self.as_list.dump(obj.tolist())


class NdarrayBinaryDumper(NdarrayDumper):
    """Dump an ndarray as an array: in one copy, unless items are masked or numeric."""

    format = Format.BINARY
    _list_dumper = ListBinaryDumper

    def dump(self, obj: Any) -> Any:
        _check_dimensions(obj)
        code = _LOADED.get(_TYPES[_code(obj)])
        if not obj.size or code is None or getattr(obj, "mask", False) is not False:
            return super().dump(obj)
        numpy = import_module("numpy")
        start = _header.size + _dimension.size * obj.ndim
        slots = numpy.dtype(_slots(code))
        data = bytearray(start + slots.itemsize * obj.size)
        _header.pack_into(data, 0, obj.ndim, 0, global_types[_TYPES[_code(obj)]].oid)
        for i, length in enumerate(obj.shape):
            _dimension.pack_into(data, _header.size + _dimension.size * i, length, 1)
        items = numpy.frombuffer(data, slots, offset=start).reshape(obj.shape)
        items["length"] = slots.itemsize - 4
        items["value"] = obj
        return data


def _as_list(obj: Any) -> Any:
    return obj if isinstance(obj, list) else obj.tolist()  # pyright: ignore[reportUnknownVariableType]


class _ArrayDumper(ListDumper):
    def dump(self, obj: Any) -> bytes:
        return super().dump(_as_list(obj))


class _ArrayBinaryDumper(ListBinaryDumper):
    def dump(self, obj: Any) -> bytes:
        return super().dump(_as_list(obj))


def _code(obj: Any) -> str:
    return f"{obj.dtype.kind}{obj.dtype.itemsize}"


def _check_dimensions(obj: Any) -> None:
    if not obj.ndim:
        raise DataError("an ndarray without dimensions is no array: pass its item()")
    if obj.ndim > _MAX_DIMENSIONS:
        raise DataError(f"an array has at most {_MAX_DIMENSIONS} dimensions, and the ndarray has {obj.ndim}")


class NdarrayLoader(ArrayLoader):
    """Load an array in text format as an ndarray; `register_numpy_arrays` makes the subclasses that have a type."""

    code = ""
    masked = False

    def load(self, data: bytes) -> Any:
        return _from_list(data, super().load(data), self.code, self.masked)


class NdarrayBinaryLoader(ArrayBinaryLoader):
    """Load an array in binary format as an ndarray, in one copy unless items are NULL."""

    code = ""
    masked = False

    def load(self, data: bytes) -> Any:
        numpy = import_module("numpy")
        slots = numpy.dtype(_slots(self.code))
        try:
            ndim = _header.unpack_from(data)[0]
            if 0 < ndim <= _MAX_DIMENSIONS:
                start = _header.size + _dimension.size * ndim
                shape = [_dimension.unpack_from(data, _header.size + _dimension.size * i)[0] for i in range(ndim)]
                # Where the lengths do not add up there are NULLs, or it is malformed.
                if min(shape) > 0 and start + prod(shape) * slots.itemsize == len(data):
                    items = numpy.frombuffer(data, slots, offset=start)
                    if (items["length"] == slots.itemsize - 4).all():
                        return items["value"].astype(self.code).reshape(shape)
        except StructError as ex:
            raise DataError(f"malformed array: {shown(data)}") from ex
        return _from_list(data, super().load(data), self.code, self.masked)


def _from_list(data: bytes, items: list[Any], code: str, masked: bool) -> Any:
    numpy = import_module("numpy")
    shape = [len(items)]
    while items and isinstance(items[0], list):
        shape.append(len(items[0]))  # pyright: ignore[reportUnknownArgumentType]
        items = list(chain.from_iterable(items))
    nulls = [item is None for item in items]
    if any(nulls) and not masked:
        raise DataError(
            "the array has items that are NULL, which an ndarray has not: replace them in the query, or have"
            " register_numpy_arrays(masked=True) give masked arrays"
        )
    try:
        values = numpy.array([0 if item is None else item for item in items], code).reshape(shape)
    except (TypeError, ValueError, OverflowError) as ex:
        raise DataError(f"malformed array: {shown(data)}") from ex
    return numpy.ma.array(values, mask=numpy.reshape(nulls, shape)) if masked and any(nulls) else values


def register_numpy_arrays(context: AdaptContext | None = None, *, masked: bool = False) -> None:
    """Dump every ndarray as an array, and load arrays of bool, integers and floats as ndarrays.

    The items of an ndarray are bool, integers or floats; those that are masked in a masked array are NULL. An array
    without items is loaded with one dimension.

    :param context: a connection, a cursor or a map; None for all connections that are opened from now on.
    :param masked: whether an array with items that are NULL is loaded as a masked array; otherwise it is a `DataError`.
    :raises ImportError: numpy is not installed.
    """
    try:
        ndarray = import_module("numpy").ndarray
    except ImportError as ex:
        raise ImportError("register_numpy_arrays() is for numpy, which is not installed: install anyq[numpy]") from ex
    adapters = adapters_of(context)
    adapters.register_dumper(ndarray, NdarrayDumper)
    adapters.register_dumper(ndarray, NdarrayBinaryDumper)
    for name in set(_TYPES.values()):
        # What is found by the oid of an array, as in COPY and for fields of composites, gets lists as well.
        oids = {"oid": global_types[name].array_oid, "element_oid": global_types[name].oid}
        for by_oid in (_ArrayDumper, _ArrayBinaryDumper):
            dumper: Any = type(by_oid.__name__, (by_oid,), oids)
            adapters.register_dumper(None, dumper)
    for name, code in _LOADED.items():
        known = {"code": code, "masked": masked}
        # The last ones are preferred.
        for base in (NdarrayLoader, NdarrayBinaryLoader):
            loader: Any = type(base.__name__, (base,), known)
            adapters.register_loader(global_types[name].array_oid, loader)
