"""Types of the system: numbers of transactions, which are int, and those that are str as the server writes them.

Knows how the server writes "char", tid, pg_lsn, int2vector and others as text, and makes the same of their binary
format, so that they can be in arrays and composites of either (PostgreSQL manual, "Object Identifier Types", "pg_lsn
Type"; src/backend/utils/adt/{char,tid,pg_lsn,xid8funcs,int,oid}.c). Dumpers are found by the oids of these types: a str
or an int is something else unless it is said what it is. Must not know types that Python has classes for.

Some have no loader of their own and are str, always asked for as text, and have a dumper for text alone: money, which
only the server's locale can read, regclass and the like, whose binary format is a number and not the name, aclitem.
"""

from __future__ import annotations

import re
from struct import Struct
from struct import error as StructError
from typing import Any, ClassVar

from .._accel import twin
from .._accel.failures import shown_object
from ..adapt.adapters_map import AdaptContext, parameter_of
from ..adapt.base import Dumper, Loader, plain
from ..adapt.quoting import quote_bytes
from ..adapt.typeinfo import global_types
from ..errors import DataError
from ..protocol.constants import Format
from .numeric import IntLoader, OidBinaryLoader, OidDumper
from .string import (
    AsciiBinaryLoader,
    AsciiLoader,
    StrBinaryDumper,
    StrDumperUnknown,
    TextBinaryLoader,
    TextLoader,
)

__all__ = [
    "CharBinaryDumper",
    "CharBinaryLoader",
    "CharDumper",
    "LsnBinaryDumper",
    "LsnBinaryLoader",
    "SnapshotBinaryDumper",
    "SnapshotBinaryLoader",
    "TidBinaryDumper",
    "TidBinaryLoader",
    "VectorBinaryDumper",
    "VectorBinaryLoader",
    "Xid8BinaryDumper",
    "Xid8BinaryLoader",
    "Xid8Dumper",
    "XidBinaryDumper",
    "XidDumper",
    "register_default_adapters",
]

_xid8 = Struct("!Q")
_tid = Struct("!IH")  # block, offset
_lsn = Struct("!II")
_snapshot = Struct("!iQQ")  # number of transactions in progress, xmin, xmax
_unpack_xid8 = _xid8.unpack
_unpack_xids = _xid8.iter_unpack
_vector = Struct("!iiIii")  # dimensions, whether there are NULLs, oid of the items, their number, the lower bound
# The length of an item, and the item, by the oid of its type: int2, oid.
_VECTOR_ITEMS = {21: Struct("!ih"), 26: Struct("!iI")}


class XidDumper(OidDumper):
    """Dump int as xid or cid, in text: found by the oid."""

    oid = global_types["xid"].oid

    def quote(self, obj: int) -> bytes:
        # Nothing casts a number to it.
        return quote_bytes(self._write(obj))


class XidBinaryDumper(XidDumper):
    """Dump int as xid or cid, in binary: found by the oid."""

    format = Format.BINARY
    dump = XidDumper.pack


class Xid8Dumper(XidDumper):
    """Dump int as xid8, in text: found by the oid."""

    oid = global_types["xid8"].oid
    pack = plain(_xid8.pack)


class Xid8BinaryDumper(Xid8Dumper):
    """Dump int as xid8, in binary: found by the oid."""

    format = Format.BINARY
    dump = plain(_xid8.pack)


class Xid8BinaryLoader(Loader):
    """Load int from xid8."""

    format = Format.BINARY

    @twin("load_xid8")
    def load(self, data: bytes) -> int:
        number: int = _unpack_xid8(data)[0]
        return number


class CharDumper(Dumper):
    """Dump the str of a "char", in text, as it is loaded: found by the oid."""

    oid = global_types["char"].oid

    def __init__(self, cls: type, context: AdaptContext | None = None):
        super().__init__(cls, context)
        version = parameter_of(context, "server_version") or ""
        self._is_old = version[:2] in ("14", "15")

    def dump(self, obj: str) -> bytes:
        if _byte(obj) > b"\x7f" and self._is_old:
            raise DataError(
                f'cannot dump {shown_object(obj)} as a "char" in text: servers before PostgreSQL 16 read a backslash '
                "there; use binary format"
            )
        return obj.encode()


class CharBinaryDumper(Dumper):
    """Dump the str of a "char", in binary, as it is loaded: found by the oid."""

    format = Format.BINARY
    oid = global_types["char"].oid

    def dump(self, obj: str) -> bytes:
        return _byte(obj)


_octal = re.compile(r"\\[2-3][0-7][0-7]").fullmatch


def _byte(obj: str) -> bytes:
    if len(obj) < 2 and obj.isascii():
        return obj.encode() or b"\0"
    if not _octal(obj):
        # The server would take the first byte of it.
        raise DataError(f'cannot dump {shown_object(obj)} as a "char": it is one character of ASCII, none, or as \\377')
    return bytes((int(obj[1:], 8),))


class CharLoader(Loader):
    """Load "char" from text: a character of ASCII, an empty str for the byte 0, and `\\377` for a byte above 127."""

    def load(self, data: bytes) -> str:
        # Before PostgreSQL 16 a byte above 127 is not escaped, and half a character in most encodings.
        if len(data) == 1:
            return _one_char(data[0])
        return data.decode("ascii")


class CharBinaryLoader(Loader):
    """Load "char" from its byte, as it is loaded from text."""

    format = Format.BINARY

    def load(self, data: bytes) -> str:
        (byte,) = data
        return _one_char(byte)


def _one_char(byte: int) -> str:
    if byte > 127:
        return f"\\{byte:o}"
    return chr(byte) if byte else ""


class _ReadDumper(Dumper):
    """Dump a str that is read here, to be written in binary. Subclasses say what it looks like, and its name."""

    format = Format.BINARY
    name: ClassVar[str]
    example: ClassVar[str]
    pattern: ClassVar[str]

    def dump(self, obj: str) -> bytes:
        match = re.fullmatch(self.pattern, obj)
        if match is not None:
            try:
                return self.pack(*match.groups())
            except (StructError, ValueError):
                # Numbers that are too large, or that have more digits than Python reads.
                pass
        raise DataError(f"cannot dump {shown_object(obj)} as {self.name}: it is written as {self.example}")

    def pack(self, *parts: str) -> bytes:
        raise NotImplementedError


class TidBinaryDumper(_ReadDumper):
    """Dump the str of a tid, in binary: found by the oid."""

    oid = global_types["tid"].oid
    name, example = "tid", "(0,1)"
    pattern = r"\(([0-9]+),([0-9]+)\)"

    def pack(self, *parts: str) -> bytes:
        return _tid.pack(*map(int, parts))


class TidBinaryLoader(Loader):
    """Load tid from binary, as str: `(0,1)`."""

    format = Format.BINARY

    def load(self, data: bytes) -> str:
        block, offset = _tid.unpack(data)
        return f"({block},{offset})"


class LsnBinaryDumper(_ReadDumper):
    """Dump the str of a pg_lsn, in binary: found by the oid."""

    oid = global_types["pg_lsn"].oid
    name, example = "pg_lsn", "16/B374D848"
    pattern = r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})"

    def pack(self, *parts: str) -> bytes:
        return _lsn.pack(*[int(part, 16) for part in parts])


class LsnBinaryLoader(Loader):
    """Load pg_lsn from binary, as str: `16/B374D848`."""

    format = Format.BINARY

    def load(self, data: bytes) -> str:
        high, low = _lsn.unpack(data)
        return f"{high:X}/{low:X}"


class SnapshotBinaryDumper(_ReadDumper):
    """Dump the str of a pg_snapshot, in binary: found by the oid."""

    oid = global_types["pg_snapshot"].oid
    name, example = "pg_snapshot", "10:20:10,14"
    pattern = r"([0-9]+):([0-9]+):((?:[0-9]+(?:,[0-9]+)*)?)"

    def pack(self, *parts: str) -> bytes:
        xmin, xmax, in_progress = parts
        xids = list(map(int, in_progress.split(","))) if in_progress else []
        return _snapshot.pack(len(xids), int(xmin), int(xmax)) + Struct(f"!{len(xids)}Q").pack(*xids)


class SnapshotBinaryLoader(Loader):
    """Load pg_snapshot or txid_snapshot from binary, as str: `10:20:10,14,15`."""

    format = Format.BINARY

    def load(self, data: bytes) -> str:
        count, xmin, xmax = _snapshot.unpack_from(data)
        in_progress = [xid for (xid,) in _unpack_xids(data[_snapshot.size :])]
        if len(in_progress) != count:
            raise ValueError("it has not the length that it says")
        return f"{xmin}:{xmax}:{','.join(map(str, in_progress))}"


class VectorBinaryDumper(_ReadDumper):
    """Dump the str of an int2vector, in binary: found by the oid."""

    oid = global_types["int2vector"].oid
    name, example = "int2vector", "1 2"
    item_oid = global_types["int2"].oid
    pattern = r" *(-?[0-9]+(?: +-?[0-9]+)*) *"

    def pack(self, *parts: str) -> bytes:
        item = _VECTOR_ITEMS[self.item_oid]
        numbers = parts[0].split()
        # Their arrays begin at 0.
        head = _vector.pack(1, 0, self.item_oid, len(numbers), 0)
        return head + b"".join([item.pack(item.size - 4, int(number)) for number in numbers])


class OidvectorBinaryDumper(VectorBinaryDumper):
    """Dump the str of an oidvector, in binary: found by the oid."""

    oid = global_types["oidvector"].oid
    name, example = "oidvector", "1 2"
    item_oid = global_types["oid"].oid


class VectorBinaryLoader(Loader):
    """Load int2vector or oidvector from binary, as str: `1 2`."""

    format = Format.BINARY

    def load(self, data: bytes) -> str:
        ndim, has_null, oid, count, _ = _vector.unpack_from(data)
        if ndim != 1 or has_null or oid not in _VECTOR_ITEMS:
            raise ValueError("it is no vector")
        item = _VECTOR_ITEMS[oid]
        items = list(item.iter_unpack(data[_vector.size :]))
        if len(items) != count or any(length != item.size - 4 for length, _ in items):
            raise ValueError("it has not the length that it says")
        return " ".join([str(number) for _, number in items])


def register_default_adapters(context: AdaptContext) -> None:
    """Register the types of the system."""
    adapters = context.adapters
    made: Any
    for base, names in _DUMPERS:
        for name in names:
            made = type(base.__name__, (base,), {"oid": global_types[name].oid})
            adapters.register_dumper(None, made)
    for name, *loaders in _LOADERS:
        for loader in loaders:
            adapters.register_loader(name, loader)


_REGISTERED = (
    *("regclass", "regcollation", "regconfig", "regdictionary", "regnamespace", "regoper", "regoperator", "regproc"),
    *("regprocedure", "regrole", "regtype"),
)
_DUMPERS: tuple[tuple[type[Dumper], tuple[str, ...]], ...] = (
    (XidDumper, ("xid", "cid")),
    (XidBinaryDumper, ("xid", "cid")),
    (Xid8Dumper, ("xid8",)),
    (Xid8BinaryDumper, ("xid8",)),
    (CharDumper, ("char",)),
    (CharBinaryDumper, ("char",)),
    (StrDumperUnknown, ("tid", "pg_lsn", "pg_snapshot", "txid_snapshot", "int2vector", "oidvector", "refcursor")),
    (StrDumperUnknown, (*_REGISTERED, "money", "aclitem")),
    (StrBinaryDumper, ("refcursor",)),
    (TidBinaryDumper, ("tid",)),
    (LsnBinaryDumper, ("pg_lsn",)),
    (SnapshotBinaryDumper, ("pg_snapshot", "txid_snapshot")),
    (VectorBinaryDumper, ("int2vector",)),
    (OidvectorBinaryDumper, ("oidvector",)),
)

# The last one of a type is preferred: text is what it becomes, but for numbers.
_LOADERS: tuple[tuple[str, type[Loader], type[Loader]], ...] = (
    ("xid", IntLoader, OidBinaryLoader),
    ("cid", IntLoader, OidBinaryLoader),
    ("xid8", IntLoader, Xid8BinaryLoader),
    ("char", CharBinaryLoader, CharLoader),
    ("tid", TidBinaryLoader, AsciiLoader),
    ("pg_lsn", LsnBinaryLoader, AsciiLoader),
    ("pg_snapshot", SnapshotBinaryLoader, AsciiLoader),
    ("txid_snapshot", SnapshotBinaryLoader, AsciiLoader),
    ("int2vector", VectorBinaryLoader, AsciiLoader),
    ("oidvector", VectorBinaryLoader, AsciiLoader),
    ("void", AsciiBinaryLoader, AsciiLoader),
    ("cstring", TextBinaryLoader, TextLoader),
    ("refcursor", TextBinaryLoader, TextLoader),
    ("pg_node_tree", TextBinaryLoader, TextLoader),
)
