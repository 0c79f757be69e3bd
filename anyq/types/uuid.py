"""UUIDs.

Knows uuid in both formats (PostgreSQL manual, "UUID Type"; RFC 9562). Must not know other types.
"""

from __future__ import annotations

from uuid import UUID, SafeUUID

from .._accel import twin
from ..adapt.adapters_map import AdaptContext
from ..adapt.base import Dumper, Loader
from ..adapt.typeinfo import global_types
from ..protocol.constants import Format

_UUID = global_types["uuid"].oid

_new = UUID.__new__
_set = object.__setattr__
_unknown = SafeUUID.unknown


class UUIDDumper(Dumper):
    """Dump UUID as text."""

    oid = _UUID

    @twin("dump_uuid_text")
    def dump(self, obj: UUID) -> bytes:
        return str(obj).encode()


class UUIDBinaryDumper(Dumper):
    """Dump UUID as its 16 bytes."""

    format = Format.BINARY
    oid = _UUID

    @twin("dump_uuid")
    def dump(self, obj: UUID) -> bytes:
        return obj.bytes


class UUIDLoader(Loader):
    """Load UUID from text."""

    @twin("load_uuid_text")
    def load(self, data: bytes) -> UUID:
        digits = data.replace(b"-", b"")
        if len(digits) != 32:
            raise ValueError("a UUID has 32 digits")
        return _make(int(digits, 16))


class UUIDBinaryLoader(Loader):
    """Load UUID from its 16 bytes."""

    format = Format.BINARY

    @twin("load_uuid")
    def load(self, data: bytes) -> UUID:
        if len(data) != 16:
            raise ValueError("a UUID has 16 bytes")
        return _make(int.from_bytes(data, "big"))


def _make(value: int) -> UUID:
    # The constructor checks and converts what the server has checked and we have converted, in three times
    # the time.
    uuid = _new(UUID)
    _set(uuid, "int", value)
    _set(uuid, "is_safe", _unknown)
    return uuid


def register_default_adapters(context: AdaptContext) -> None:
    """Register uuid."""
    adapters = context.adapters
    adapters.register_dumper(UUID, UUIDDumper)
    adapters.register_dumper(UUID, UUIDBinaryDumper)
    adapters.register_loader("uuid", UUIDLoader)
    adapters.register_loader("uuid", UUIDBinaryLoader)
