"""Bit strings: bit and varbit, which are str of `0` and `1`, as the server writes them.

Knows both formats (PostgreSQL manual, "Bit String Types"; src/backend/utils/adt/varbit.c). Must not know other types.
"""

from __future__ import annotations

from struct import Struct

from .._accel.failures import shown_object
from ..adapt.adapters_map import AdaptContext
from ..adapt.base import Dumper, Loader
from ..adapt.typeinfo import global_types
from ..errors import DataError
from ..protocol.constants import Format
from .string import AsciiLoader

__all__ = [
    "BitBinaryDumper",
    "BitBinaryLoader",
    "BitDumper",
    "VarbitBinaryDumper",
    "VarbitDumper",
    "register_default_adapters",
]

_length = Struct("!i")  # bits; they follow, the first of them the highest of the first byte


def _check(obj: str) -> None:
    if obj.count("0") + obj.count("1") != len(obj):
        raise DataError(f"cannot dump {shown_object(obj)}: a bit string is written with 0 and 1")


class BitDumper(Dumper):
    """Dump the str of a bit string, in text: found by the oid, as where the types of columns are known."""

    oid = global_types["bit"].oid

    def dump(self, obj: str) -> bytes:
        _check(obj)
        return obj.encode()


class BitBinaryDumper(Dumper):
    """Dump the str of a bit string, in binary: found by the oid, as where the types of columns are known."""

    format = Format.BINARY
    oid = global_types["bit"].oid

    def dump(self, obj: str) -> bytes:
        _check(obj)
        length = len(obj)
        size = (length + 7) // 8
        return _length.pack(length) + int(obj.ljust(size * 8, "0") or "0", 2).to_bytes(size, "big")


class VarbitDumper(BitDumper):
    """Dump the str of a varbit, in text: found by the oid."""

    oid = global_types["varbit"].oid


class VarbitBinaryDumper(BitBinaryDumper):
    """Dump the str of a varbit, in binary: found by the oid."""

    oid = global_types["varbit"].oid


class BitBinaryLoader(Loader):
    """Load bit or varbit from binary, as str: `101`."""

    format = Format.BINARY

    def load(self, data: bytes) -> str:
        (length,) = _length.unpack_from(data)
        size = len(data) - _length.size
        if length < 0 or size != (length + 7) // 8:
            raise ValueError("it has not the length that it says")
        return format(int.from_bytes(data[_length.size :], "big"), f"0{size * 8}b")[:length]


def register_default_adapters(context: AdaptContext) -> None:
    """Register bit and varbit."""
    adapters = context.adapters
    for dumper in (BitDumper, BitBinaryDumper, VarbitDumper, VarbitBinaryDumper):
        adapters.register_dumper(None, dumper)
    # The last one is preferred: text is what it becomes.
    for name in ("bit", "varbit"):
        adapters.register_loader(name, BitBinaryLoader)
        adapters.register_loader(name, AsciiLoader)
