"""Numbers.

Knows the integer types, oid, float4, float8 and numeric in both formats, and how a Python int finds its
type (PostgreSQL manual, "Numeric Types", "Object Identifier Types"). Must not know other types.

Text and binary format give equal objects. So a float4 is loaded from text as the number that it is, not as the shortest
decimal that is rounded to it: `0.1::float4` is 0.10000000149011612, as it is when the server casts it to float8. And a
Decimal has as many digits after the point as the server shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from math import isfinite
from operator import index
from struct import Struct
from typing import Any

from .._accel import twin
from ..adapt.adapters_map import AdaptContext, DumperKey, PyFormat
from ..adapt.base import Dumper, Loader, plain
from ..adapt.quoting import quote_bytes
from ..adapt.typeinfo import global_types
from ..errors import DataError
from ..protocol.constants import Format
from ._numeric_binary import decimal_of_int, pack_numeric, unpack_numeric

__all__ = ["Float4", "Float8", "Int2", "Int4", "Int8", "IntNumeric", "Oid"]

_int2 = Struct(">h")
_int4 = Struct(">i")
_int8 = Struct(">q")
_uint4 = Struct(">I")
_float4 = Struct(">f")
_float8 = Struct(">d")

# Loaders call these for each value: a global is found faster than an attribute.
_unpack_int2 = _int2.unpack
_unpack_int4 = _int4.unpack
_unpack_int8 = _int8.unpack
_unpack_uint4 = _uint4.unpack
_pack_float4 = _float4.pack
_unpack_float4 = _float4.unpack
_unpack_float8 = _float8.unpack


class _ForcedInt(int):
    __slots__ = ()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({int.__repr__(self)})"

    # Without one str() would use the repr.
    def __str__(self) -> str:
        return int.__repr__(self)


class Int2(_ForcedInt):
    """Force an int to be sent as int2."""

    __slots__ = ()


class Int4(_ForcedInt):
    """Force an int to be sent as int4."""

    __slots__ = ()


class Int8(_ForcedInt):
    """Force an int to be sent as int8."""

    __slots__ = ()


class IntNumeric(_ForcedInt):
    """Force an int to be sent as numeric."""

    __slots__ = ()


class Oid(_ForcedInt):
    """Force an int to be sent as oid."""

    __slots__ = ()


class _ForcedFloat(float):
    __slots__ = ()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({float.__repr__(self)})"

    def __str__(self) -> str:
        return float.__repr__(self)


class Float4(_ForcedFloat):
    """Force a float to be sent as float4."""

    __slots__ = ()


class Float8(_ForcedFloat):
    """Force a float to be sent as float8."""

    __slots__ = ()


def _bare(number: bytes) -> bytes:
    # A minus binds weaker than a cast behind it, two of them start a comment, and after a number it subtracts.
    return b"(" + number + b")" if number.startswith(b"-") else number


def _quoted(number: bytes, oid: int) -> bytes:
    info = global_types.get(oid)
    return quote_bytes(number) + (b"::" + info.name.encode() if info is not None else b"")


# The least of an integer type: without their sign these are numbers of the next type, or numeric.
_LEAST = frozenset((b"-2147483648", b"-9223372036854775808"))


# Integers


class _IntTextDumper(Dumper):
    @twin("dump_int_text")
    def dump(self, obj: int) -> bytes:
        try:
            # Not str(), which an enum can change.
            return int.__repr__(index(obj)).encode()
        except ValueError as ex:
            raise DataError(f"an int of {obj.bit_length()} bits does not fit its PostgreSQL type") from ex

    _write = dump
    """What a literal is made of where `dump` is for the binary format."""

    def quote(self, obj: int) -> bytes:
        value = self._write(obj) if self.format else self.dump(obj)
        return _quoted(value, self.oid) if value in _LEAST else _bare(value)


class Int2Dumper(_IntTextDumper):
    """Dump int as int2, as text."""

    oid = global_types["int2"].oid


class Int4Dumper(_IntTextDumper):
    """Dump int as int4, as text."""

    oid = global_types["int4"].oid


class Int8Dumper(_IntTextDumper):
    """Dump int as int8, as text."""

    oid = global_types["int8"].oid


class OidDumper(_IntTextDumper):
    """Dump int as oid, as text."""

    oid = global_types["oid"].oid
    pack: Any = plain(_uint4.pack)

    def dump(self, obj: int) -> bytes:
        # The server takes what is below 0 for what is so far below the end, and of some types what is beyond it, too.
        self.pack(obj)
        return super().dump(obj)

    _write = dump


class IntNumericDumper(_IntTextDumper):
    """Dump int of any size as numeric, as text."""

    oid = global_types["numeric"].oid

    def dump(self, obj: int) -> bytes:
        # Python refuses to write an int of thousands of digits, but not a Decimal.
        return str(decimal_of_int(obj)).encode()

    _write = dump


class Int2BinaryDumper(Int2Dumper):
    """Dump int as int2."""

    format = Format.BINARY
    dump = plain(twin("dump_int2")(_int2.pack))


class Int4BinaryDumper(Int4Dumper):
    """Dump int as int4."""

    format = Format.BINARY
    dump = plain(twin("dump_int4")(_int4.pack))


class Int8BinaryDumper(Int8Dumper):
    """Dump int as int8."""

    format = Format.BINARY
    dump = plain(twin("dump_int8")(_int8.pack))


class OidBinaryDumper(OidDumper):
    """Dump int as oid."""

    format = Format.BINARY
    dump = plain(_uint4.pack)


class IntNumericBinaryDumper(IntNumericDumper):
    """Dump int of any size as numeric."""

    format = Format.BINARY

    def dump(self, obj: int) -> bytes:
        return pack_numeric(decimal_of_int(obj))


class IntDumper(_IntTextDumper):
    """Dump int as text, as the first of int2, int4, int8 and numeric that it fits in."""

    _dumpers: dict[DumperKey, type[Dumper]] = {
        Int2: Int2Dumper,
        Int4: Int4Dumper,
        Int8: Int8Dumper,
        IntNumeric: IntNumericDumper,
    }

    @twin("key_int")
    def get_key(self, obj: int, format: PyFormat) -> DumperKey:
        if -0x8000 <= obj <= 0x7FFF:
            return Int2
        if -0x8000_0000 <= obj <= 0x7FFF_FFFF:
            return Int4
        if -0x8000_0000_0000_0000 <= obj <= 0x7FFF_FFFF_FFFF_FFFF:
            return Int8
        return IntNumeric

    def upgrade(self, obj: int, format: PyFormat) -> Dumper:
        return self._dumpers[self.get_key(obj, format)](self.cls)

    def quote(self, obj: int) -> bytes:
        return self.upgrade(obj, PyFormat.TEXT).quote(obj)

    @twin("common_int")
    def common_item(self, items: Sequence[int], format: PyFormat) -> int:
        low, high = min(items), max(items)  # the range of each type has one negative number more
        return high if high >= ~low else low


class IntBinaryDumper(IntDumper):
    """Dump int as the first of int2, int4, int8 and numeric that it fits in."""

    format = Format.BINARY
    _dumpers = {
        Int2: Int2BinaryDumper,
        Int4: Int4BinaryDumper,
        Int8: Int8BinaryDumper,
        IntNumeric: IntNumericBinaryDumper,
    }


class IntLoader(Loader):
    """Load int from text."""

    load = plain(twin("load_int_text")(int))


class Int2BinaryLoader(Loader):
    """Load int from int2."""

    format = Format.BINARY

    @twin("load_int2")
    def load(self, data: bytes) -> int:
        number: int = _unpack_int2(data)[0]
        return number


class Int4BinaryLoader(Loader):
    """Load int from int4."""

    format = Format.BINARY

    @twin("load_int4")
    def load(self, data: bytes) -> int:
        number: int = _unpack_int4(data)[0]
        return number


class Int8BinaryLoader(Loader):
    """Load int from int8."""

    format = Format.BINARY

    @twin("load_int8")
    def load(self, data: bytes) -> int:
        number: int = _unpack_int8(data)[0]
        return number


class OidBinaryLoader(Loader):
    """Load int from oid, or another type of 32 bits without a sign."""

    format = Format.BINARY

    @twin("load_oid")
    def load(self, data: bytes) -> int:
        number: int = _unpack_uint4(data)[0]
        return number


# Floats


_NOT_FINITE = {b"nan": b"NaN", b"inf": b"Infinity", b"-inf": b"-Infinity"}  # as PostgreSQL writes them


class FloatDumper(Dumper):
    """Dump float as float8, as text."""

    oid = global_types["float8"].oid

    @twin("dump_float_text")
    def dump(self, obj: float) -> bytes:
        return repr(float(obj)).encode()

    _write = dump

    def quote(self, obj: float) -> bytes:
        value = self._write(obj) if self.format else self.dump(obj)
        # Without quotes it is a numeric, of which zero has no sign, and 1e+300 is written in 300 digits.
        bare = isfinite(obj) and value != b"-0.0" and b"e" not in value
        return _bare(value) if bare else _quoted(_NOT_FINITE.get(value, value), self.oid)


class Float4Dumper(FloatDumper):
    """Dump float as float4, as text."""

    oid = global_types["float4"].oid


class FloatBinaryDumper(FloatDumper):
    """Dump float as float8."""

    format = Format.BINARY
    dump = plain(twin("dump_float8")(_float8.pack))


class Float4BinaryDumper(Float4Dumper):
    """Dump float as float4, rounded to it."""

    format = Format.BINARY
    dump = plain(_float4.pack)


class FloatLoader(Loader):
    """Load float from the text of a float8."""

    load = plain(twin("load_float8_text")(float))


class Float4Loader(Loader):
    """Load float from the text of a float4: the number that it is, as in binary format."""

    @twin("load_float4_text")
    def load(self, data: bytes) -> float:
        number: float = _unpack_float4(_pack_float4(float(data)))[0]
        return number


class Float4BinaryLoader(Loader):
    """Load float from float4."""

    format = Format.BINARY

    @twin("load_float4")
    def load(self, data: bytes) -> float:
        number: float = _unpack_float4(data)[0]
        return number


class Float8BinaryLoader(Loader):
    """Load float from float8."""

    format = Format.BINARY

    @twin("load_float8")
    def load(self, data: bytes) -> float:
        number: float = _unpack_float8(data)[0]
        return number


# Numeric


class DecimalDumper(Dumper):
    """Dump Decimal as numeric, as text; also int and float where the type is given."""

    oid = global_types["numeric"].oid

    @twin("dump_decimal_text")
    def dump(self, obj: Decimal | int | float) -> bytes:
        number = obj if isinstance(obj, Decimal) else _as_decimal(obj)
        if number.is_finite():
            return str(number).encode()
        if number.is_nan():
            return b"NaN"
        return b"Infinity" if number > 0 else b"-Infinity"

    _write = dump

    def quote(self, obj: Decimal | int | float) -> bytes:
        value = self._write(obj) if self.format else self.dump(obj)
        return _quoted(value, self.oid) if value[-1:].isalpha() else _bare(value)


class DecimalBinaryDumper(DecimalDumper):
    """Dump Decimal as numeric; also int and float where the type is given."""

    format = Format.BINARY

    @twin("dump_decimal")
    def dump(self, obj: Decimal | int | float) -> bytes:
        return pack_numeric(obj if isinstance(obj, Decimal) else _as_decimal(obj))


NumericDumper = DecimalDumper
NumericBinaryDumper = DecimalBinaryDumper
"""By the names that they are found by in psycopg, for any number as numeric."""


class NumericLoader(Loader):
    """Load Decimal from text."""

    @twin("load_numeric_text")
    def load(self, data: bytes) -> Decimal:
        return Decimal(data.decode())


class NumericBinaryLoader(Loader):
    """Load Decimal from numeric."""

    format = Format.BINARY

    @twin("load_numeric")
    def load(self, data: bytes) -> Decimal:
        return unpack_numeric(data)


def _as_decimal(number: int | float) -> Decimal:
    # A float stands for its shortest decimal, as it does where PostgreSQL casts it to numeric.
    return Decimal(float.__repr__(number)) if isinstance(number, float) else decimal_of_int(index(number))


def register_default_adapters(context: AdaptContext) -> None:
    """Register the numbers."""
    adapters = context.adapters

    # The last one of a class serves AUTO; also numeric by oid, and a Decimal is faster to write and to read as text.
    for cls, *dumpers in (
        (Int2, Int2Dumper, Int2BinaryDumper),
        (Int4, Int4Dumper, Int4BinaryDumper),
        (Int8, Int8Dumper, Int8BinaryDumper),
        (IntNumeric, IntNumericDumper, IntNumericBinaryDumper),
        (Oid, OidDumper, OidBinaryDumper),
        (int, IntDumper, IntBinaryDumper),
        (float, FloatDumper, FloatBinaryDumper),
        (Float4, Float4Dumper, Float4BinaryDumper),
        (Float8, FloatDumper, FloatBinaryDumper),
        (Decimal, DecimalBinaryDumper, DecimalDumper),
    ):
        for dumper in dumpers:
            adapters.register_dumper(cls, dumper)

    for name, *loaders in (
        ("int2", IntLoader, Int2BinaryLoader),
        ("int4", IntLoader, Int4BinaryLoader),
        ("int8", IntLoader, Int8BinaryLoader),
        ("oid", IntLoader, OidBinaryLoader),
        ("float4", Float4Loader, Float4BinaryLoader),
        ("float8", FloatLoader, Float8BinaryLoader),
        ("numeric", NumericBinaryLoader, NumericLoader),
    ):
        for loader in loaders:
            adapters.register_loader(name, loader)
