"""Booleans.

Knows bool in both formats (PostgreSQL manual, "Boolean Type"). Must not know other types.
"""

from __future__ import annotations

from .._accel import twin
from ..adapt.adapters_map import AdaptContext
from ..adapt.base import Dumper, Loader, plain
from ..adapt.typeinfo import global_types
from ..protocol.constants import Format

_BOOL = global_types["bool"].oid


class BoolDumper(Dumper):
    """Dump bool as text."""

    oid = _BOOL

    @twin("dump_bool_text")
    def dump(self, obj: bool) -> bytes:
        return b"t" if _is_true(obj) else b"f"

    def quote(self, obj: bool) -> bytes:
        return b"true" if obj else b"false"


class BoolBinaryDumper(Dumper):
    """Dump bool as a byte."""

    format = Format.BINARY
    oid = _BOOL

    @twin("dump_bool")
    def dump(self, obj: bool) -> bytes:
        return b"\x01" if _is_true(obj) else b"\x00"


def _is_true(obj: object) -> bool:
    # Found by the oid, the dumper gets what others pass for a bool; and the text "f" would be true.
    if isinstance(obj, str | bytes):
        raise TypeError("text is neither true nor false")
    return bool(obj)


class BoolLoader(Loader):
    """Load bool from text."""

    load = plain(twin("load_bool_text")({b"t": True, b"f": False}.__getitem__))


class BoolBinaryLoader(Loader):
    """Load bool from a byte."""

    format = Format.BINARY
    load = plain(twin("load_bool")({b"\x01": True, b"\x00": False}.__getitem__))


def register_default_adapters(context: AdaptContext) -> None:
    """Register bool."""
    adapters = context.adapters
    adapters.register_dumper(bool, BoolDumper)
    adapters.register_dumper(bool, BoolBinaryDumper)
    adapters.register_loader("bool", BoolLoader)
    adapters.register_loader("bool", BoolBinaryLoader)
